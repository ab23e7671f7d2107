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
from behavio.kernels import contexts, tables
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
PERIOD_BITS = kernel.PERIODS.bit_length() - 1
ARRAYS = ("words", "count", "names")


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
    """Which steps there were, each with its context and period, and how often: see behavio.kernels.contexts.

    words  uint64 (n_words, n), sorted   count  int64 (n,)
    names  int64 (n_tags,): the tags that contexts have, rising
    """

    view: str
    orders: int
    vocabulary: Vocabulary
    grid: Grid
    words: np.ndarray
    count: np.ndarray
    names: np.ndarray

    @property
    def tagged(self) -> bool:
        """True when contexts have a tag after the last activity."""
        return self.view != "plain"

    @property
    def levels(self) -> int:
        """Longest context in symbols."""
        return self.orders + int(self.tagged)

    @property
    def layout(self) -> contexts.Layout:
        """How its steps are packed."""
        return layout_of(self.view, self.orders, self.vocabulary, self.names)

    @property
    def newest(self) -> int:
        """The newest period that was counted, 0 where nothing was."""
        return int((self.words[-1] & np.uint64(kernel.PERIODS - 1)).max(initial=0))

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
        periods = grid.of(coded, steps) if periods is None else periods
        if view == "plain":
            codes = names = NO_TAGS
        else:
            tags = tags_of(view, coded) if tags is None else tags
            codes, names = contexts.ranked(tags, steps.ends)
        layout = layout_of(view, orders, coded.vocabulary, names)
        packed = packed_steps(coded, steps, orders, layout, codes, periods)
        return cls(view, orders, coded.vocabulary, grid, *contexts.distinct(packed), names)

    def recode(self, vocabulary: Vocabulary, names: np.ndarray | None = None) -> Tally:
        """The same counts under a larger vocabulary, and with more tags; what was sorted stays sorted."""
        names = self.names if names is None else names
        if vocabulary == self.vocabulary and len(names) == len(self.names):
            return self
        ids = {name: i for i, name in enumerate(vocabulary.names)}
        if any(n not in ids for n in self.vocabulary.names):
            raise ModelError("a tally can only be recoded to a vocabulary that holds its own", hint="")
        old, new = self.layout, layout_of(self.view, self.orders, vocabulary, names)
        words = contexts.laid_anew(
            readonly(self.words, np.uint64),
            *old.where,
            old.target,
            old.period_bits,
            new.word,
            new.shift,
            new.n_words,
            np.array([ids[n] for n in self.vocabulary.names], dtype=np.int64),
            np.searchsorted(names, self.names),
            self.orders,
        )
        return replace(self, vocabulary=vocabulary, words=words, names=names)

    def merge(self, other: Tally) -> Tally:
        """The tally of both, in the bytes it would have had if all events had been counted at once."""
        if (self.view, self.orders, self.grid) != (other.view, other.orders, other.grid):
            raise ModelError(
                "tallies of different views, orders or periods do not merge",
                hint="count all shards with one grid: Grid.over(the whole log)",
            )
        vocabulary = Vocabulary.of([*self.vocabulary.activities, *other.vocabulary.activities])
        names = np.union1d(self.names, other.names)
        a, b = self.recode(vocabulary, names), other.recode(vocabulary, names)
        words, count = contexts.merged(
            readonly(a.words, np.uint64),
            readonly(a.count, np.int64),
            readonly(b.words, np.uint64),
            readonly(b.count, np.int64),
        )
        return replace(a, words=words, count=count)

    def packed(self, coded: SequenceSet, steps: Prefixes, tags: np.ndarray) -> np.ndarray:
        """uint64 (n_words, n): these steps with their contexts, without periods."""
        codes = np.searchsorted(self.names, tags[np.asarray(steps.ends) - 1]) if self.tagged else NO_TAGS
        return packed_steps(coded, steps, self.orders, self.layout, codes, NO_TAGS)

    def asked(self, packed: np.ndarray) -> np.ndarray:
        """uint64 (n_words, m): the contexts of packed steps, sorted and each once; see `tables`."""
        contexts_only = packed.copy()
        contexts_only[-1] &= ~np.uint64(self.layout.target)
        return contexts.distinct(contexts_only)[0]

    def tables(self, weights: np.ndarray, asked: np.ndarray | None = None) -> list[Table]:
        """Counts with each period times its weight, for each way to weigh them.

        weights  float64 (ways, at most PERIODS); 0 forgets a period, and must be 0 in all ways or in none
        asked    contexts that will be asked for (see `asked`), where not all are
        """
        child, symbol, start, activity, counts, totals, _ = self._built(weights, asked, False)
        return [
            Table(self, child, symbol, start, activity, count, total)
            for count, total in zip(counts, totals, strict=True)
        ]

    def kneser_ney(self, weights: np.ndarray, asked: np.ndarray | None = None) -> Table:
        """Continuation counts below the longest contexts, and one discount for each level; weights 0 or 1.

        Source: Kneser and Ney (1995), interpolated as in Chen and Goodman (1998); discount n1 / (n1 + 2 n2).
        """
        child, symbol, start, activity, counts, totals, times = self._built(weights[None], asked, True)
        discounts = [once / (once + 2 * twice) if once else 0.5 for once, twice in times.tolist()]
        return Table(self, child, symbol, start, activity, counts[0], totals[0], np.array(discounts))

    def _built(
        self, weights: np.ndarray, asked: np.ndarray | None, continued: bool
    ) -> tuple[np.ndarray, ...]:
        full = np.zeros((len(weights), kernel.PERIODS))
        full[:, : weights.shape[1]] = weights
        layout, words = self.layout, readonly(self.words, np.uint64)
        deep, shared = contexts.compared(words, layout.level_at)
        wanted = deep if asked is None else tables.levels_asked(words, shared, asked, *layout.where)
        names, count = readonly(self.names, np.int64), readonly(self.count, np.int64)
        found: tuple[np.ndarray, ...] = tables.build(
            words,
            count,
            deep,
            shared,
            wanted,
            *layout.where,
            names,
            layout.target,
            full,
            len(self.vocabulary),
            continued,
        )
        return found


def layout_of(view: str, orders: int, vocabulary: Vocabulary, names: np.ndarray) -> contexts.Layout:
    """How the steps of a view are packed where contexts have these tags."""
    tags = None if view == "plain" else len(names)
    return contexts.Layout.of(orders, len(vocabulary), PERIOD_BITS, tags)


def packed_steps(
    coded: SequenceSet,
    steps: Prefixes,
    orders: int,
    layout: contexts.Layout,
    codes: np.ndarray,
    periods: np.ndarray,
) -> np.ndarray:
    """uint64 (n_words, n): the steps with their contexts; `codes` are the ranks of their tags."""
    at = np.asarray(steps.ends)
    given = [readonly(x, np.int64) for x in (codes, at, at - steps.starts(coded), periods)]
    packed: np.ndarray = contexts.pack(
        readonly(coded.tokens, np.int32),
        *given,
        layout.period_bits,
        layout.word,
        layout.shift,
        layout.n_words,
        orders,
    )
    return packed


@dataclass(frozen=True, slots=True, eq=False)
class Table:
    """A tally with its periods weighed: what probabilities are made of. See behavio.kernels.tables.

    child     int64 (n_nodes + 1,)   symbol    int64 (n_nodes,)
    start     int64 (n_nodes + 1,)   activity  int32 (n_pairs,)
    count     float64 (n_pairs,)     total     float64 (n_nodes,)
    discounts float64 (levels + 1,), only of Kneser-Ney's counts
    """

    tally: Tally
    child: np.ndarray
    symbol: np.ndarray
    start: np.ndarray
    activity: np.ndarray
    count: np.ndarray
    total: np.ndarray
    discounts: np.ndarray = field(default_factory=lambda: np.zeros(0))

    @property
    def arrays(self) -> tuple[np.ndarray, ...]:
        """As the kernels take them."""
        return self.child, self.symbol, self.start, self.activity, self.count, self.total
