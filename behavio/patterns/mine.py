"""Frequent, closed and most frequent sequential patterns of a log, exactly."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace

import numpy as np

from behavio.kernels import closed, followers, mining
from behavio.kernels.arrays import readonly, take_groups
from behavio.kernels.traces import distinct_traces
from behavio.patterns.rules import Moments, Rules
from behavio.sequences import SequenceSet

PARTS = 4
"""Into how many parts the first items are dealt; the answer does not depend on it."""
BITS_PAY = 2
"""Bit sets are used where a list is on average at least so many times as long as the words of a set."""
MOST_FOLLOWERS = 200_000_000
"""Entries of follower lists that are kept in memory; a log with more is walked instead."""


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
        """The patterns where this mask is true, or at these indices in this order."""
        index = np.flatnonzero(keep) if keep.dtype == bool else keep
        tokens, offsets = take_groups(self.tokens, self.offsets, index)
        return Patterns(tokens, offsets, self.cases[index], self.rules)

    def named(self, names: tuple[str, ...]) -> list[list[str]]:
        """The activities of every pattern."""
        return [[names[t] for t in self[i]] for i in range(len(self))]


def frequent(sequences: SequenceSet, rules: Rules, weights: np.ndarray | None = None) -> Patterns:
    """Every pattern the rules allow, single events included.

    weights  int64 (n_cases,): how many cases each trace stands for; None: one each
    When patterns with the highest possible support alone are more than max_patterns, max_length is lowered;
    what came of the rules is in the answer's rules.
    """
    longest = int(sequences.lengths.max())
    length = min(rules.max_length or longest, longest)
    prepared = _prepare(sequences, rules, weights)
    while True:
        found = _frequent(prepared, replace(rules, max_length=length), (rules.max_patterns, False), 1)
        if length == 1 or found.rules.min_cases <= prepared.n_cases:
            return found
        length -= 1


def most_frequent(sequences: SequenceSet, k: int, rules: Rules, min_length: int = 2) -> Patterns:
    """The k patterns of at least min_length events that most cases hold, and those as good as the last.

    With rules.closed the k most frequent closed ones. Most cases first, then shorter, then in the order of
    their activity ids. min_cases of the rules stays the least support there is to have.
    """
    longest = int(sequences.lengths.max())
    rules = replace(rules, max_length=min(rules.max_length or longest, longest))
    lowest, least, wanted = rules.min_cases, sequences.n_cases, k
    prepared = _prepare(sequences, rules, None)
    while True:  # from a high support down, so that no walk goes deeper than it must
        least = max(least // 2, lowest)
        found = _frequent(prepared, replace(rules, min_cases=least), (wanted, True), min_length)
        raised = found.rules.min_cases > least
        found = found.select(found.lengths >= min_length)
        if len(found) >= k or (least == lowest and not raised):
            break
        if raised:  # some of those wanted were not closed
            wanted *= 2
            least *= 2
    if len(found) > k:
        border = np.sort(found.cases)[::-1][k - 1]
        found = found.select(found.cases >= border)
    order = np.lexsort((np.arange(len(found)), found.lengths, -found.cases))
    return found.select(order)


@dataclass(frozen=True, slots=True, eq=False)
class _Prepared:
    """A log as the kernel takes it."""

    log: tuple[np.ndarray, ...]
    lists: tuple[np.ndarray, ...]
    rooted: tuple[np.ndarray, ...]
    names: np.ndarray  # int32: activity behind each item, most cases first
    way: int
    n_cases: int


def _frequent(prepared: _Prepared, rules: Rules, top: tuple[int, bool], counted: int) -> Patterns:
    rare = len(prepared.names)
    n_parts = min(PARTS, rare)
    if n_parts == 0:
        none = np.zeros(0, dtype=np.int64)
        return Patterns(none.astype(np.int32), np.zeros(1, dtype=np.int64), none, rules)
    limits = (rare, rules.min_cases, rules.max_length, counted)

    def part(k: int) -> tuple[np.ndarray, np.ndarray, np.ndarray, int]:
        roots = np.arange(k, rare, n_parts)
        return mining.mine(prepared.log, prepared.lists, prepared.rooted, roots, limits, top, prepared.way)

    with ThreadPoolExecutor(n_parts) as pool:
        parts = list(pool.map(part, range(n_parts)))
    tokens = prepared.names[np.concatenate([p[0] for p in parts])]
    lengths = np.concatenate([np.diff(p[1]) for p in parts])
    cases = np.concatenate([p[2] for p in parts])
    reached = _raised(cases[lengths >= counted], max(p[3] for p in parts), top)
    ends = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    found = Patterns(tokens, ends, cases, replace(rules, min_cases=reached))
    if (cases < reached).any():
        found = found.select(cases >= reached)
    if rules.closed and len(found):
        found = found.select(closed.closed(found.tokens, found.offsets, found.cases))
    return _sorted(found)


def _raised(cases: np.ndarray, least: int, top: tuple[int, bool]) -> int:
    """The smallest number of cases from `least` up that enough patterns have; see `mining.mine`."""
    wanted, ties = top
    if wanted == 0 or (cases >= least).sum() <= wanted:
        return least
    best = np.sort(cases)[::-1]
    return int(best[wanted - 1]) if ties else int(best[wanted]) + 1


def _sorted(found: Patterns) -> Patterns:
    width = int(found.lengths.max(initial=1))
    table = np.full((len(found), width), -1, dtype=np.int32)
    rows = np.repeat(np.arange(len(found)), found.lengths)
    table[rows, np.arange(len(found.tokens)) - np.repeat(found.offsets[:-1], found.lengths)] = found.tokens
    order = np.lexsort(table.T[::-1])
    tokens, offsets = take_groups(found.tokens, found.offsets, order)
    return Patterns(tokens, offsets, found.cases[order], found.rules)


def _prepare(sequences: SequenceSet, rules: Rules, weights: np.ndarray | None) -> _Prepared:
    """Items for the kernel: equal traces once where time does not matter, infrequent activities as one."""
    tokens, offsets = readonly(sequences.tokens, np.int32), readonly(sequences.offsets, np.int64)
    when = Moments.of(sequences, rules)
    own = np.ones(sequences.n_cases, dtype=np.int64) if weights is None else weights.astype(np.int64)
    if not rules.timed and not when.several:  # equal traces are equal in everything that counts
        firsts, group = distinct_traces(tokens, offsets)
        own = np.bincount(group, weights=own, minlength=len(firsts)).astype(np.int64)
        tokens, offsets = take_groups(tokens, offsets, firsts)
        when = Moments.apart(offsets, rules)
    n_names = len(sequences.vocabulary)
    cases = mining.item_cases(readonly(tokens, np.int32), readonly(offsets, np.int64), own, n_names)
    names = np.argsort(-cases, kind="stable")[: int((cases >= rules.min_cases).sum())].astype(np.int32)
    code = np.full(n_names, len(names), dtype=np.int32)
    code[names] = np.arange(len(names), dtype=np.int32)
    items = code[tokens]
    if rules.anywhere:  # places do not count: infrequent events may go
        keep = items < len(names)
        ends = np.concatenate([[0], np.cumsum(keep)]).astype(np.int64)
        items, offsets, when = items[keep], ends[offsets], when.keep(keep)
    items, offsets = readonly(items, np.int32), readonly(offsets, np.int64)
    log = (items, *when.places(), readonly(own, np.int64))
    lists, way = _followers(items, offsets, log[1], len(names), rules.anywhere)
    rooted = mining.places_of_items(items, offsets, len(names) + 1, rules.anywhere)
    known = np.append(cases[names], 0).astype(np.int64)
    return _Prepared(log, lists, (*rooted, known), names, way, int(own.sum()))


def _followers(
    items: np.ndarray, offsets: np.ndarray, first: np.ndarray, n_names: int, anywhere: bool
) -> tuple[tuple[np.ndarray, ...], int]:
    """The lists of followers, and by which way to count: bit sets where the lists would be longer."""
    none = np.zeros(0, dtype=np.int32)
    no_bits = np.zeros((0, 1), dtype=np.uint64)
    nothing = (np.zeros(2, dtype=np.int64), none, none, no_bits, none)
    if not anywhere or not len(items):
        return nothing, mining.WINDOWS
    starts = followers.count_followers(items, offsets, n_names + 1)
    if starts[-1] > MOST_FOLLOWERS:
        return nothing, mining.WINDOWS
    after = followers.lists_after(first, offsets)
    item_at, list_at = followers.followers(items, offsets, starts, after)
    words = (n_names + 63) // 64
    if BITS_PAY * words * len(items) > starts[-1]:
        return (starts, item_at, list_at, no_bits, after), mining.LISTS
    bits = followers.follower_bits(item_at, starts, words)
    return (starts, item_at, list_at, bits, after), mining.BITS
