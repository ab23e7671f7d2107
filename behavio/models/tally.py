"""Tables of counts that can be merged, added to and weighted by age: what the counting model keeps.

A tally holds integers only, by period of time, in a form that does not depend on how they were gathered:
tallies of two shards merge to the bytes of one tally of both, and new events are added by merging their own.
Symbols that are not activities (tags) are numbers made from names, so that they agree between logs.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from hashlib import blake2b
from typing import Self

import numpy as np

from behavio.errors import ModelError
from behavio.kernels import contexts
from behavio.kernels import tally as kernel
from behavio.kernels.arrays import readonly
from behavio.models.base import Prefixes, drawn
from behavio.models.ngram import NO_TAGS
from behavio.sequences import SequenceSet, Vocabulary

GAPS_S = (0.5, 60.0, 3_600.0, 43_200.0, 259_200.0, 1_209_600.0, 5_184_000.0)
"""Edges of the steps of the wait before the last event: half a second to sixty days."""
BINS = 32
"""Periods the span of a log is cut into."""
STRIDE, MASK = 0x9E3779B97F4A7C1, (1 << 62) - 1
ARRAYS = ("child", "symbol", "start", "key", "count")


@dataclass(frozen=True, slots=True)
class Grid:
    """Periods of equal length: a step's period is its time since `origin` over `width` (µs), cut at the ends.

    by  the time of a step: "events" when it happened, "cases" when its case began; "any": a number drawn from
        the id of its case, for logs without a clock and where time is no guide
    """

    origin: int
    width: int
    by: str = "events"

    @classmethod
    def over(cls, sequences: SequenceSet) -> Self:
        """Thirty-two periods over the middle 99 % of the times of a log."""
        by = sequences.ahead if sequences.timed else "any"
        times = cls(0, 1, by).times(sequences, Prefixes.of_cases(sequences, 0))
        if by == "any" or len(times) == 0:
            return cls(0, 1, by)
        low, high = np.quantile(times, [0.005, 0.995], method="nearest")
        return cls(int(low), max(int(high - low) // BINS + 1, 1), by)

    def times(self, sequences: SequenceSet, steps: Prefixes) -> np.ndarray:
        """int64 (n,): the time of each step."""
        if self.by == "any":
            result: np.ndarray = (drawn(sequences) * BINS >> 32)[steps.cases]
            return result
        at = steps.starts(sequences) if self.by == "cases" else steps.ends
        return np.asarray(sequences.times)[at]

    def of(self, sequences: SequenceSet, steps: Prefixes) -> np.ndarray:
        """int64, 0 to 255: the period of each step."""
        since = self.times(sequences, steps) - self.origin
        return np.clip(since // self.width, 0, kernel.PERIODS - 1)


def number(name: str) -> int:
    """A name as 62 bits that stay the same in every log."""
    return int.from_bytes(blake2b(name.encode(), digest_size=8).digest(), "big") >> 2


def numbers(names: Sequence[str]) -> np.ndarray:
    """`number` of each name, int64."""
    return np.array([number(n) for n in names], dtype=np.int64)


def tags_of(view: str, coded: SequenceSet, known: dict[str, np.ndarray] | None = None) -> np.ndarray:
    """int64 (n_events,), none below 0: what a view knows of each event beside the activity.

    plain: nothing (an empty array) · gap: the wait before it, coarsely · set: which activities the case has
    had · gap+set: both · hour: of the day, in steps of three · length: how many events, in powers of two ·
    field:NAME: the latest known value of that attribute.
    `known` holds tags of this log that are there already, and is given these.
    """
    known = {} if known is None else known
    if view == "plain":
        return NO_TAGS
    if view not in known:
        if view == "gap+set":
            both = tags_of("set", coded, known) ^ (tags_of("gap", coded, known) + 1) * STRIDE
            known[view] = both & MASK
        else:
            known[view] = _tags_of(view, coded)
    return known[view]


def _tags_of(view: str, coded: SequenceSet) -> np.ndarray:
    """`tags_of` one thing."""
    offsets = readonly(coded.offsets, np.int64)
    if view == "gap":
        return kernel.steps_of(coded.gaps_s, np.array(GAPS_S), offsets)
    if view == "set":
        return kernel.seen_sets(readonly(coded.tokens, np.int32), offsets, numbers(coded.vocabulary.names))
    if view == "hour":
        return np.asarray(coded.times) // (3 * 3_600_000_000) % 8
    if view == "length":
        place = np.arange(coded.n_events) - np.repeat(offsets[:-1], coded.lengths)
        return np.log2(place + 1).astype(np.int64)
    name = view.removeprefix("field:")
    if name not in coded.fields:
        return np.zeros(coded.n_events, dtype=np.int64)
    attribute = coded.fields[name]
    known = kernel.carried(readonly(attribute.codes, np.int32), offsets)
    return np.concatenate([[0, 1], numbers(attribute.vocabulary.activities)])[known]


@dataclass(frozen=True, slots=True, eq=False)
class Tally:
    """What followed which context in which period, see behavio.kernels.contexts.

    child, start  int64 (n_nodes + 1,)   symbol  int64 (n_nodes,)
    key           int64 (n_pairs,)       count   int64 (n_pairs,)
    """

    view: str
    orders: int
    vocabulary: Vocabulary
    grid: Grid
    child: np.ndarray
    symbol: np.ndarray
    start: np.ndarray
    key: np.ndarray
    count: np.ndarray

    @property
    def tagged(self) -> bool:
        """True when contexts have a tag after the last activity."""
        return self.view != "plain"

    @property
    def levels(self) -> int:
        """Longest context in symbols."""
        return self.orders + int(self.tagged)

    @classmethod
    def of(
        cls,
        coded: SequenceSet,
        steps: Prefixes,
        view: str,
        orders: int,
        grid: Grid,
        tags: np.ndarray | None = None,
        periods: np.ndarray | None = None,
    ) -> Self:
        """Count what came at `steps.ends`; contexts reach back to the start of the case.

        `tags` (n_events,) and `periods` (n_steps,) are those of the view and the grid, where they are known.
        """
        at = np.asarray(steps.ends)
        depth = np.minimum(at - steps.starts(coded), orders)
        periods = grid.of(coded, steps) if periods is None else periods
        bits = int(periods.max(initial=0)).bit_length()
        if view == "plain":
            tags = None
        elif tags is None:
            tags = tags_of(view, coded)
        child, symbol, start, target, count = contexts.count_contexts(
            np.asarray(coded.tokens), at, depth, orders, len(coded.vocabulary), tags, periods, bits
        )
        key = (target >> bits) * kernel.PERIODS + (target & (1 << bits) - 1)
        return cls(view, orders, coded.vocabulary, grid, child, symbol, start, key, count)

    @property
    def level_start(self) -> np.ndarray:
        """int64 (levels + 2,): the nodes of level k are level_start[k]:level_start[k + 1]."""
        bounds = [0, 1]
        for _ in range(self.levels):
            bounds.append(int(self.child[bounds[-1]]))
        return np.array(bounds)

    def recode(self, vocabulary: Vocabulary) -> Tally:
        """The same counts under a larger vocabulary: ids keep their order, so nothing has to be sorted."""
        if vocabulary == self.vocabulary:
            return self
        ids = {name: i for i, name in enumerate(vocabulary.names)}
        if any(n not in ids for n in self.vocabulary.names):
            raise ModelError("a tally can only be recoded to a vocabulary that holds its own", hint="")
        table = np.array([ids[n] for n in self.vocabulary.names], dtype=np.int64)
        symbol, bounds = self.symbol.copy(), self.level_start
        for level in range(1, self.levels + 1):
            if not (self.tagged and level == 2):
                part = slice(bounds[level], bounds[level + 1])
                symbol[part] = table[symbol[part]]
        key = table[self.key // kernel.PERIODS] * kernel.PERIODS + self.key % kernel.PERIODS
        return replace(self, vocabulary=vocabulary, symbol=symbol, key=key)

    def merge(self, other: Tally) -> Tally:
        """The tally of both, in the bytes it would have had if all events had been counted at once."""
        if (self.view, self.orders, self.grid) != (other.view, other.orders, other.grid):
            raise ModelError(
                "tallies of different views, orders or periods do not merge",
                hint="count all shards with one grid: Grid.over(the whole log)",
            )
        vocabulary = Vocabulary.of([*self.vocabulary.activities, *other.vocabulary.activities])
        a, b = self.recode(vocabulary), other.recode(vocabulary)
        found = kernel.merge_tallies(*(getattr(a, n) for n in ARRAYS), *(getattr(b, n) for n in ARRAYS))
        return Tally(a.view, a.orders, vocabulary, a.grid, *found)

    def weighted(self, weights: np.ndarray, asked: np.ndarray | None = None) -> Table:
        """Counts with each period times its weight (float64, one per period); 0 forgets a period.

        asked  bool (n_nodes,): the contexts that will be asked for, where not all are
        """
        full = np.zeros(kernel.PERIODS)
        full[: len(weights)] = weights
        wanted = np.zeros(0, dtype=np.bool_) if asked is None else asked
        start, activity, count, total = kernel.weigh(self.start, self.key, self.count, full, wanted)
        return Table(self, start, activity, count, total)


@dataclass(frozen=True, slots=True, eq=False)
class Table:
    """A tally with its periods weighed: what probabilities are made of.

    start     int64 (n_nodes + 1,)   activity  int32 (n_pairs,)
    count     float64 (n_pairs,)     total     float64 (n_nodes,)
    discounts float64 (levels + 1,), only of Kneser-Ney's counts
    """

    tally: Tally
    start: np.ndarray
    activity: np.ndarray
    count: np.ndarray
    total: np.ndarray
    discounts: np.ndarray = field(default_factory=lambda: np.zeros(0))

    @property
    def arrays(self) -> tuple[np.ndarray, ...]:
        """As the kernels take them."""
        return self.tally.child, self.tally.symbol, self.start, self.activity, self.count, self.total

    def kneser_ney(self) -> Table:
        """Continuation counts below the longest contexts, and one discount for each level.

        Source: Kneser and Ney (1995), interpolated as in Chen and Goodman (1998); discount n1 / (n1 + 2 n2).
        """
        size = len(self.tally.vocabulary)
        count, total = kernel.continuations(self.tally.child, self.start, self.activity, self.count, size)
        discounts, bounds = [], self.tally.level_start
        for level in range(self.tally.levels + 1):
            some = count[self.start[bounds[level]] : self.start[bounds[level + 1]]]
            once, twice = int((some == 1).sum()), int((some == 2).sum())
            discounts.append(once / (once + 2 * twice) if once else 0.5)
        return replace(self, count=count, total=total, discounts=np.array(discounts))
