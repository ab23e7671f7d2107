"""What stands out: support against the same cases shuffled, and one group of cases against the rest."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np

from behavio.kernels import matching
from behavio.patterns.matcher import Matcher
from behavio.patterns.mine import Patterns
from behavio.sequences import SequenceSet

CHUNKS = 8
"""Into how many parts the cases are dealt; fixed, so that sums are added in one order."""
Z95 = 1.959963984540054
WORK = 2e9
"""Steps that comparing with chance may take: some seconds."""
LEAST_P = 1e-300


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
    """How many shuffles of every case stay within a fixed amount of work, from 8 up to `wanted`.

    Cases average out among themselves, so a log of many cases needs few shuffles of each.
    """
    words = (sequences.lengths + 63) // 64
    per_shuffle = float(
        (sequences.lengths * 12 + np.minimum(n_nodes, sequences.lengths**2) * (words + 4)).sum()
    )
    return int(np.clip(WORK / max(per_shuffle, 1.0), min(8, wanted), wanted))


def against_chance(sequences: SequenceSet, patterns: Patterns, n_shuffles: int, seed: int) -> Chance:
    """Compare each pattern's support with the same cases, their events shuffled within the case.

    Under the hypothesis that order does not matter, support is a sum of independent yes-or-no draws, one per
    case, whose chances are estimated from n_shuffles (at least 2) shuffles of it. The p-value is two-sided
    from the translated Poisson law with that mean and variance (Röllin 2007), which is close to the normal
    law where many cases vary and keeps its skew where few do. The interval of the lift treats cases as drawn
    independently (delta method for a ratio of means, on the log scale) plus the error of the shuffles.
    """
    seen, expected, variance, squares, both = chance_sums(sequences, patterns, n_shuffles, seed)
    floor = 0.5 / n_shuffles  # nothing found in n shuffles is not never
    mean = np.maximum(expected, floor)
    lift = seen / mean
    spread = np.maximum(seen - 2 * lift * both + lift**2 * squares, 0.0) / np.maximum(seen, 0.5) ** 2
    spread = spread + variance / n_shuffles / mean**2
    half = np.exp(Z95 * np.sqrt(spread))
    p_value = two_sided(seen, mean, variance * (1 + 1 / n_shuffles) + floor)
    return Chance(seen.astype(np.int64), expected, lift, lift / half, lift * half, p_value, n_shuffles)


def chance_sums(sequences: SequenceSet, patterns: Patterns, n_shuffles: int, seed: int) -> np.ndarray:
    """Sums over the cases that `against_chance` reads, float64 (5, n_patterns); those of parts add up.

    Cases that hold the pattern, what shuffling expects, its variance, squares, products
    (kernels.matching.count_by_chance).
    """
    matcher = Matcher.of(patterns, len(sequences.vocabulary))
    log, reach = matcher.encode(sequences)
    cuts = np.searchsorted(log[2], np.linspace(0, sequences.n_events, CHUNKS + 1)[1:-1])
    bounds = [0, *(int(c) for c in cuts), sequences.n_cases]

    def part(k: int) -> np.ndarray:
        span, spanned = (bounds[k], bounds[k + 1]), patterns.rules.spanned
        return matching.count_by_chance(
            log, reach, matcher.trie, matcher.n_codes, span, n_shuffles, seed, spanned
        )

    with ThreadPoolExecutor(2) as pool:
        sums = sum(pool.map(part, range(CHUNKS)), start=np.zeros((5, matcher.n_nodes)))
    return np.asarray(sums[:, matcher.node_of])


def beyond_mix(inside: np.ndarray, outside: np.ndarray, n_shuffles: int) -> np.ndarray:
    """p-values: does a pattern exceed its own chance in one group more, or less, than in the rest?

    inside, outside  `chance_sums` of the group and of the others. A group that has more of an activity, or is
    faster, holds more patterns with it in any order: chance has those too, so they do not count. Under the
    hypothesis that both hold the pattern the same number of times as often as by chance, the group has the
    share of all holders that it has of those expected. What it has beyond that is judged by its variance,
    the larger of that seen among the cases and that of independent draws, and by the skew of a count, so
    that nobody where a few are expected is no wonder (`two_sided`).
    """
    floor = 0.5 / n_shuffles  # nothing found in n shuffles is not never
    expected = [np.maximum(group[1], floor) for group in (inside, outside)]
    whole = expected[0] + expected[1]
    lift = (inside[0] + outside[0]) / whole
    share = expected[0] / whole
    beyond = (1 - share) * inside[0] - share * outside[0]
    spread = np.zeros(len(share))
    for (seen, _, variance, squares, both), mean, weight in zip(
        (inside, outside), expected, (1 - share, share), strict=True
    ):
        drawn = seen - 2 * lift * both + lift**2 * squares
        by_chance = np.maximum(lift * mean - lift**2 * squares, 0.0)
        error = lift**2 * np.maximum(variance, floor) / n_shuffles
        spread += weight**2 * (np.maximum(drawn, by_chance) + error)
    unit = np.maximum(share, 1 - share)
    return two_sided(beyond / unit, np.zeros(len(share)), spread / unit**2)


def two_sided(seen: np.ndarray, mean: np.ndarray, variance: np.ndarray) -> np.ndarray:
    """Translated Poisson: a Poisson with the given variance, shifted by a whole number to the given mean.

    Its upper tail, which bounds that of such a sum (Bennett 1962), is taken on both sides.
    """
    from scipy.stats import poisson

    def tail(count: np.ndarray, middle: np.ndarray) -> np.ndarray:
        shift = np.floor(middle - variance)
        return poisson.sf(count - shift - 1, middle - shift)

    upper, lower = tail(seen, mean), tail(-seen, -mean)
    return np.clip(2 * np.minimum(upper, lower), LEAST_P, 1.0)


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
