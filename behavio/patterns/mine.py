"""Frequent and closed sequential patterns of a log, exactly."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace

import numpy as np

from behavio.kernels import mining
from behavio.kernels.arrays import readonly, take_groups
from behavio.kernels.traces import distinct_traces
from behavio.sequences import SequenceSet

PARTS = 4
"""Into how many parts the first items are dealt; the answer does not depend on it."""


@dataclass(frozen=True, slots=True)
class Rules:
    """What counts as a pattern.

    min_cases     cases that must hold it
    max_length    events in it; 0: any number
    max_gap       each event at most so many places after the one before (1: right after); 0: anywhere later
    within        and at most so many µs after it; negative: any time
    closed        leave out patterns that lie in a pattern one event longer with the same cases
    max_patterns  when more turn up, min_cases is raised until they fit; 0: never
    """

    min_cases: int
    max_length: int = 5
    max_gap: int = 3
    within: int = -1
    closed: bool = True
    max_patterns: int = 0

    @property
    def anywhere(self) -> bool:
        """True when any later event may come next."""
        return self.max_gap == 0 and self.within < 0


@dataclass(frozen=True, slots=True, eq=False)
class Patterns:
    """Patterns in lexicographic order of their activity ids, flat, with the cases that hold them.

    tokens   int32, pattern i is tokens[offsets[i]:offsets[i + 1]]
    offsets  int64 (n_patterns + 1,)
    cases    int64 (n_patterns,)
    rules    the rules as they were kept, min_cases and max_length as they had to be changed
    """

    tokens: np.ndarray
    offsets: np.ndarray
    cases: np.ndarray
    rules: Rules

    def __len__(self) -> int:
        return len(self.cases)

    def __getitem__(self, i: int) -> np.ndarray:
        return self.tokens[self.offsets[i] : self.offsets[i + 1]]

    @property
    def lengths(self) -> np.ndarray:
        """int64 (n_patterns,): events in each pattern."""
        return np.diff(self.offsets)

    def select(self, keep: np.ndarray) -> Patterns:
        """The patterns where this mask is true."""
        index = np.flatnonzero(keep)
        tokens, offsets = take_groups(self.tokens, self.offsets, index)
        return Patterns(tokens, offsets, self.cases[index], self.rules)


def frequent(sequences: SequenceSet, rules: Rules) -> Patterns:
    """Every pattern the rules allow, single events included.

    When patterns with the highest possible support alone are more than max_patterns, max_length is lowered;
    what came of the rules is in the answer's rules.
    """
    longest = int(sequences.lengths.max())
    length = min(rules.max_length or longest, longest)
    while True:
        found = _frequent(sequences, replace(rules, max_length=length))
        if length == 1 or found.rules.min_cases <= sequences.n_cases:
            return found
        length -= 1


def _frequent(sequences: SequenceSet, rules: Rules) -> Patterns:
    items, offsets, window, weights, names = _prepare(sequences, rules)
    rare = len(names)
    limits = (rare, rules.min_cases, rules.max_length, rules.max_patterns)

    def part(k: int) -> tuple[np.ndarray, np.ndarray, np.ndarray, int]:
        roots = np.arange(k, rare, n_parts)
        return mining.mine(items, offsets, window, weights, roots, limits, rules.anywhere)

    n_parts = min(PARTS, rare)
    if n_parts == 0:
        none = np.zeros(0, dtype=np.int64)
        return Patterns(none.astype(np.int32), np.zeros(1, dtype=np.int64), none, rules)
    with ThreadPoolExecutor(n_parts) as pool:
        parts = list(pool.map(part, range(n_parts)))
    tokens = names[np.concatenate([p[0] for p in parts])]
    lengths = np.concatenate([np.diff(p[1]) for p in parts])
    cases = np.concatenate([p[2] for p in parts])
    reached = _raised(cases, max(p[3] for p in parts), rules.max_patterns)
    ends = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    found = Patterns(tokens, ends, cases, replace(rules, min_cases=reached)).select(cases >= reached)
    if rules.closed and len(found):
        found = found.select(mining.closed(found.tokens, found.offsets, found.cases))
    return _sorted(found)


def _raised(cases: np.ndarray, least: int, max_patterns: int) -> int:
    """The smallest number of cases from `least` up that at most max_patterns patterns have."""
    if max_patterns == 0 or (cases >= least).sum() <= max_patterns:
        return least
    top = np.sort(cases)[::-1]
    return int(top[max_patterns]) + 1


def _sorted(found: Patterns) -> Patterns:
    width = int(found.lengths.max(initial=1))
    table = np.full((len(found), width), -1, dtype=np.int32)
    rows = np.repeat(np.arange(len(found)), found.lengths)
    table[rows, np.arange(len(found.tokens)) - np.repeat(found.offsets[:-1], found.lengths)] = found.tokens
    order = np.lexsort(table.T[::-1])
    tokens, offsets = take_groups(found.tokens, found.offsets, order)
    return Patterns(tokens, offsets, found.cases[order], found.rules)


def _prepare(
    sequences: SequenceSet, rules: Rules
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Items for the kernel: equal traces once where time does not matter, infrequent activities as one."""
    tokens, offsets = readonly(sequences.tokens, np.int32), readonly(sequences.offsets, np.int64)
    times, weights = readonly(sequences.times, np.int64), np.ones(sequences.n_cases, dtype=np.int64)
    if rules.within < 0:
        firsts, group = distinct_traces(tokens, offsets)
        weights = np.bincount(group, minlength=len(firsts))
        times, _ = take_groups(times, offsets, firsts)
        tokens, offsets = take_groups(tokens, offsets, firsts)
    cases = mining.item_cases(
        readonly(tokens, np.int32), readonly(offsets, np.int64), weights, len(sequences.vocabulary)
    )
    names = np.argsort(-cases, kind="stable")[: int((cases >= rules.min_cases).sum())].astype(np.int32)
    code = np.full(len(cases), len(names), dtype=np.int32)
    code[names] = np.arange(len(names), dtype=np.int32)
    items = code[tokens]
    if rules.max_gap == 0:  # places do not count: infrequent events may go
        keep = items < len(names)
        ends = np.concatenate([[0], np.cumsum(keep)]).astype(np.int64)
        items, times, offsets = items[keep], times[keep], ends[offsets]
    items, offsets = readonly(items, np.int32), readonly(offsets, np.int64)
    window = mining.reach(offsets, readonly(times, np.int64), rules.max_gap, rules.within)
    return items, offsets, window, weights, names
