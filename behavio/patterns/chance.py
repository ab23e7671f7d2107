"""What stands out: support against the same cases shuffled, and one group of cases against the rest."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np

from behavio.kernels import matching, mining
from behavio.kernels.arrays import readonly
from behavio.patterns.mine import Patterns, Rules
from behavio.sequences import SequenceSet

CHUNKS = 8
"""Into how many parts the cases are dealt; fixed, so that sums are added in one order."""
Z95 = 1.959963984540054
WORK = 1e9
"""Steps that comparing with chance may take: some seconds."""
LEAST_P = 1e-300


@dataclass(frozen=True, slots=True, eq=False)
class Matcher:
    """Patterns ready to be counted in any cases of the same vocabulary."""

    trie: tuple[np.ndarray, np.ndarray, np.ndarray]
    node_of: np.ndarray  # int64 (n_patterns,)
    code: np.ndarray  # int32 (n_activities,): item of the trie behind each activity, -1 for none
    rules: Rules

    @classmethod
    def of(cls, patterns: Patterns, n_activities: int) -> Matcher:
        """Build the trie; patterns must be in lexicographic order, as `frequent` gives them."""
        used = np.unique(patterns.tokens)
        code = np.full(n_activities, -1, dtype=np.int32)
        code[used] = np.arange(len(used), dtype=np.int32)
        tokens = readonly(code[patterns.tokens], np.int32)
        item, depth, after, node_of = matching.build_trie(tokens, readonly(patterns.offsets, np.int64))
        return cls((item, depth, after), node_of, code, patterns.rules)

    @property
    def n_nodes(self) -> int:
        """Size of the trie."""
        return len(self.trie[0])

    def encode(self, sequences: SequenceSet) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Items, offsets and windows of a log for the kernels."""
        offsets = readonly(sequences.offsets, np.int64)
        times = readonly(sequences.times, np.int64)
        window = mining.reach(offsets, times, self.rules.max_gap, self.rules.within)
        return readonly(self.code[sequences.tokens], np.int32), offsets, window

    def count(self, sequences: SequenceSet, group: np.ndarray, n_groups: int) -> np.ndarray:
        """Cases of each group that hold each pattern, int64 (n_patterns, n_groups); group -1 is left out."""
        items, offsets, window = self.encode(sequences)
        own = readonly(group, np.int64)
        n_codes = max(int(self.code.max(initial=-1)) + 1, 1)
        nodes = matching.count_by_group(items, offsets, window, self.trie, n_codes, own, n_groups)
        return nodes[self.node_of]


@dataclass(frozen=True, slots=True, eq=False)
class Chance:
    """Support against chance, one value per pattern.

    n_cases    cases that hold it
    expected   cases that hold it when the activities of each case are shuffled among its places and times
    lift       n_cases ÷ expected, with its 95 % interval low–high
    p_value    two-sided: how often shuffled cases would differ from `expected` at least as much
    """

    n_cases: np.ndarray
    expected: np.ndarray
    lift: np.ndarray
    low: np.ndarray
    high: np.ndarray
    p_value: np.ndarray
    n_shuffles: int


def affordable_shuffles(sequences: SequenceSet, n_nodes: int, wanted: int) -> int:
    """How many shuffles of every case stay within a fixed amount of work, from 4 up to `wanted`.

    Cases average out among themselves, so a log of many cases needs few shuffles of each.
    """
    words = (sequences.lengths + 63) // 64
    per_shuffle = float(
        (sequences.lengths * 12 + np.minimum(n_nodes, sequences.lengths**2) * (words + 4)).sum()
    )
    return int(np.clip(WORK / max(per_shuffle, 1.0), min(4, wanted), wanted))


def against_chance(sequences: SequenceSet, patterns: Patterns, n_shuffles: int, seed: int) -> Chance:
    """Compare each pattern's support with the same cases, their events shuffled within the case.

    Under the hypothesis that order does not matter, support is a sum of independent yes-or-no draws, one per
    case, whose chances are estimated from n_shuffles (at least 2) shuffles of it. The p-value is two-sided
    from the translated Poisson law with that mean and variance (Röllin 2007), which is close to the normal
    law where many cases vary and keeps its skew where few do. The interval of the lift treats cases as drawn
    independently (delta method for a ratio of means, on the log scale) plus the error of the shuffles.
    """
    matcher = Matcher.of(patterns, len(sequences.vocabulary))
    items, offsets, window = matcher.encode(sequences)
    n_codes = max(int(matcher.code.max(initial=-1)) + 1, 1)
    cuts = np.searchsorted(offsets, np.linspace(0, sequences.n_events, CHUNKS + 1)[1:-1])
    bounds = [0, *(int(c) for c in cuts), sequences.n_cases]

    def part(k: int) -> np.ndarray:
        span = (bounds[k], bounds[k + 1])
        trie = matcher.trie
        return matching.count_by_chance(items, offsets, window, trie, n_codes, span, n_shuffles, seed)

    with ThreadPoolExecutor(2) as pool:
        sums = sum(pool.map(part, range(CHUNKS)), start=np.zeros((5, matcher.n_nodes)))
    seen, expected, variance, squares, both = sums[:, matcher.node_of]
    floor = 0.5 / n_shuffles  # nothing found in n shuffles is not never
    mean = np.maximum(expected, floor)
    lift = seen / mean
    spread = np.maximum(seen - 2 * lift * both + lift**2 * squares, 0.0) / np.maximum(seen, 0.5) ** 2
    spread = spread + variance / n_shuffles / mean**2
    half = np.exp(Z95 * np.sqrt(spread))
    p_value = _two_sided(seen, mean, variance * (1 + 1 / n_shuffles) + floor)
    return Chance(seen.astype(np.int64), expected, lift, lift / half, lift * half, p_value, n_shuffles)


def _two_sided(seen: np.ndarray, mean: np.ndarray, variance: np.ndarray) -> np.ndarray:
    """Translated Poisson: a Poisson with the given variance, shifted by a whole number to the given mean."""
    from scipy.stats import poisson

    shift = np.floor(mean - variance)
    rate = mean - shift
    upper = poisson.sf(seen - shift - 1, rate)
    lower = poisson.cdf(seen - shift, rate)
    return np.clip(2 * np.minimum(upper, lower), LEAST_P, 1.0)


def false_discovery(p_value: np.ndarray) -> np.ndarray:
    """q-values: the smallest false discovery rate at which each would count (Benjamini & Hochberg 1995)."""
    n = len(p_value)
    order = np.argsort(p_value, kind="stable")
    scaled = p_value[order] * n / np.arange(1, n + 1)
    q = np.empty(n)
    q[order] = np.minimum(np.minimum.accumulate(scaled[::-1])[::-1], 1.0)
    return q


@dataclass(frozen=True, slots=True, eq=False)
class Difference:
    """Support in one group of cases against all others, one value per pattern.

    lift is support ÷ support in the rest, with its 95 % interval; p_value is Fisher's exact test, two-sided
    by doubling the smaller tail.
    """

    n_cases: np.ndarray
    support: np.ndarray
    lift: np.ndarray
    low: np.ndarray
    high: np.ndarray
    p_value: np.ndarray


def against_rest(inside: np.ndarray, n_inside: int, outside: np.ndarray, n_outside: int) -> Difference:
    """Compare how many cases hold each pattern: inside of n_inside against outside of n_outside cases.

    A pattern nobody outside holds counts as half a case there, so that its lift stays a number; the interval
    is Katz's (1978) on the log scale.
    """
    from scipy.stats import hypergeom

    a, b = inside.astype(float), outside.astype(float)
    part, rest = np.maximum(a, 0.5) / n_inside, np.maximum(b, 0.5) / n_outside
    lift = part / rest
    spread = 1 / np.maximum(a, 0.5) - 1 / n_inside + 1 / np.maximum(b, 0.5) - 1 / n_outside
    half = np.exp(Z95 * np.sqrt(np.maximum(spread, 0.0)))
    total, held = n_inside + n_outside, inside + outside
    upper = hypergeom.sf(inside - 1, total, held, n_inside)
    lower = hypergeom.cdf(inside, total, held, n_inside)
    p_value = np.clip(2 * np.minimum(upper, lower), LEAST_P, 1.0)
    return Difference(inside, a / n_inside, lift, lift / half, lift * half, p_value)
