"""Times between events, counted exactly in up to three passes over shards of whole cases.

The first pass adds up (frequency, cases, sum of the times), the second takes a histogram in logarithmic
buckets of 3 %, the third fetches only the buckets that quantiles lie in. So quantiles are exact and shards
hand over little, however long the log.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial, reduce
from typing import Literal

import numpy as np

from behavio.engine import Count, Encoded, Engine
from behavio.kernels import graph as kernel
from behavio.kernels.arrays import readonly
from behavio.sequences import SequenceSet

Kind = Literal["edge", "activity"]
"""What a waiting time belongs to: the pair of two events, or the later event alone."""

SHARES = (0.1, 0.5, 0.9)
HEAVY = 4_096
"""Steps taken less often need no histogram: all their times are fetched."""

TABLE_LIMIT = 4_096
"""Pairs of activities up to this number are always looked up in a square table."""

TIME_COLUMNS = ("median_s", "mean_s", "p90_s", "p10_s", "min_s", "max_s", "std_s")
LARGEST = 2.0**62
"""Sums of one shard above this might not fit 64 bits; such a shard is cut in two."""


@dataclass(frozen=True, slots=True, eq=False)
class Numbering:
    """Steps as the kernels take them: codes[i - 1] * stride + codes[i] is the number of a step.

    keys  int64 of each number, None where the number is the key
    """

    codes: np.ndarray
    stride: int
    n_steps: int
    keys: np.ndarray | None = None

    @classmethod
    def of(cls, sequences: SequenceSet, kind: Kind) -> Numbering:
        """A key is an activity's id, or source id * size + target id."""
        size = len(sequences.vocabulary)
        tokens = readonly(sequences.tokens, np.int32)
        if kind == "activity":
            return cls(tokens, 0, size)
        if size * size <= max(TABLE_LIMIT, sequences.n_events // 4):
            return cls(tokens, size, size * size)
        numbers, keys = kernel.edges_by_hash(tokens, readonly(sequences.offsets, np.int64), size)
        return cls(readonly(numbers, np.int32), 0, len(keys), keys)

    def rows(self, keys: np.ndarray) -> np.ndarray:
        """int32 (n_steps,): where the key of each step that occurs stands in `keys`, which hold all."""
        if self.keys is None:
            row = np.zeros(self.n_steps, dtype=np.int32)
            row[keys] = np.arange(len(keys), dtype=np.int32)
            return row
        order = np.argsort(keys)
        place = np.searchsorted(keys[order], self.keys)
        return order[place].astype(np.int32)


@dataclass(frozen=True, slots=True, eq=False)
class StepTally:
    """What shards add up to.

    keys        int64 (n_steps,)     rising
    frequency   int64 (n_steps,)     how often the step was taken
    cases       int64 (n_steps,)     in how many cases
    high, low   int64 (n_steps,)     sum of the waiting times in µs, high * 2**32 + low: exact and unbounded
    activities  int64 (6, size)      frequency, cases, starts, last seen, ends, cases that come back to it
    timed       False when times only count positions
    """

    keys: np.ndarray
    frequency: np.ndarray
    cases: np.ndarray
    high: np.ndarray
    low: np.ndarray
    activities: np.ndarray
    timed: bool = True

    @classmethod
    def empty(cls, size: int) -> StepTally:
        """The answer of no case at all, for a vocabulary of this size."""
        none = np.zeros(0, dtype=np.int64)
        return cls(none, none, none, none, none, np.zeros((6, size), dtype=np.int64))

    @property
    def mean_us(self) -> np.ndarray:
        """float64 (n_steps,): mean waiting time in µs."""
        return (self.high * 2.0**32 + self.low) / self.frequency


def open_cases(sequences: SequenceSet) -> np.ndarray:
    """bool (n_cases,): which cases may still go on; all of them where nothing says they are over."""
    if sequences.running is None:
        return np.ones(sequences.n_cases, dtype=bool)
    return np.asarray(sequences.running.open, dtype=bool)


def tally_steps(sequences: SequenceSet, kind: Kind = "edge") -> StepTally:
    """Count one shard of whole cases."""
    offsets, times = readonly(sequences.offsets, np.int64), readonly(sequences.times, np.int64)
    tokens, open_ = readonly(sequences.tokens, np.int32), readonly(open_cases(sequences), np.bool_)
    size = len(sequences.vocabulary)
    number = Numbering.of(sequences, kind)
    codes, stride, sizes = number.codes, number.stride, (number.n_steps, size)
    if size <= 64:  # the codes are the activities then
        steps, activities, total = kernel.sum_steps_of_few(tokens, stride, offsets, times, open_, sizes)
    else:
        steps, activities, total = kernel.sum_steps(codes, stride, tokens, offsets, times, open_, sizes)
    if total >= LARGEST and sequences.n_cases > 1:
        halves = np.array_split(np.arange(sequences.n_cases), 2)
        return reduce(merge_steps, (tally_steps(sequences.select(half), kind) for half in halves))
    taken = np.flatnonzero(steps[:, 0])
    keys = taken if number.keys is None else number.keys[taken]
    order = np.argsort(keys) if number.keys is not None else slice(None)
    frequency, _, cases, sums = steps[taken[order]].T
    cases_of, _, rework, starts, last, ends, *_ = activities.T
    into = np.bincount(keys[order] % size, weights=frequency, minlength=size).astype(np.int64) + starts
    return StepTally(
        keys[order],
        frequency.copy(),
        cases.copy(),
        sums >> 32,
        sums & 0xFFFFFFFF,
        np.stack([into, cases_of, starts, last, ends, rework]),
        sequences.timed,
    )


def merge_steps(a: StepTally, b: StepTally) -> StepTally:
    """Join two answers over the same vocabulary."""
    keys = np.union1d(a.keys, b.keys)
    sums = np.zeros((4, len(keys)), dtype=np.int64)
    for part in (a, b):
        where = np.searchsorted(keys, part.keys)
        sums[:, where] += np.stack([part.frequency, part.cases, part.high, part.low])
    frequency, cases, high, low = sums
    high, low = high + (low >> 32), low & 0xFFFFFFFF
    return StepTally(keys, frequency, cases, high, low, a.activities + b.activities, a.timed and b.timed)


@dataclass(frozen=True, slots=True, eq=False)
class Spread:
    """The second pass: least and largest waiting time, squares around the mean, histogram of heavy steps."""

    low: np.ndarray
    high: np.ndarray
    squares: np.ndarray
    histogram: np.ndarray


def tally_spread(
    sequences: SequenceSet, kind: Kind, keys: np.ndarray, mean: np.ndarray, n_heavy: int
) -> Spread:
    """Spread of one shard around the mean of the whole log; the first n_heavy keys get a histogram."""
    number = Numbering.of(sequences, kind)
    offsets, times = readonly(sequences.offsets, np.int64), readonly(sequences.times, np.int64)
    extremes, squares, histogram = kernel.spread_steps(
        number.codes, number.stride, offsets, times, number.rows(keys), mean, n_heavy
    )
    return Spread(extremes[:, 0], extremes[:, 1], squares, histogram.astype(np.int64))


def merge_spread(a: Spread, b: Spread) -> Spread:
    """Join two answers about the same keys."""
    low, high = np.minimum(a.low, b.low), np.maximum(a.high, b.high)
    return Spread(low, high, a.squares + b.squares, a.histogram + b.histogram)


Fetched = tuple[tuple[np.ndarray, np.ndarray], ...]
"""The third pass: one pair of groups and waiting times per shard."""


def fetch(
    sequences: SequenceSet, kind: Kind, keys: np.ndarray, wanted: np.ndarray, groups: np.ndarray
) -> Fetched:
    """Waiting times of one shard in the wanted buckets."""
    number = Numbering.of(sequences, kind)
    offsets, times = readonly(sequences.offsets, np.int64), readonly(sequences.times, np.int64)
    return (
        kernel.gather_steps(number.codes, number.stride, offsets, times, number.rows(keys), wanted, groups),
    )


def join(a: Fetched, b: Fetched) -> Fetched:
    """Join two answers, shards in order."""
    return a + b


def time_columns(
    sequences: Encoded, found: StepTally, kind: Kind, engine: Engine, quantiles: bool = True
) -> dict[str, np.ndarray | list[None]]:
    """TIME_COLUMNS in seconds for the steps found; nulls for a log without a clock.

    quantiles  False: only the mean, which costs no further pass; the others are null
    """
    columns: dict[str, np.ndarray | list[None]] = {n: [None] * len(found.keys) for n in TIME_COLUMNS}
    if not found.timed or len(found.keys) == 0:
        return columns
    columns["mean_s"] = found.mean_us / 1e6
    if not quantiles:
        return columns
    order = np.argsort(-found.frequency, kind="stable")
    back = np.argsort(order)
    keys, frequency = found.keys[order], found.frequency[order]
    n_heavy = int(np.searchsorted(-frequency, -HEAVY, side="right"))
    ask = partial(tally_spread, kind=kind, keys=keys, mean=found.mean_us[order], n_heavy=n_heavy)
    spread = engine.run(Count(of=ask, merge=merge_spread), sequences)
    columns["min_s"], columns["max_s"] = spread.low[back] / 1e6, spread.high[back] / 1e6
    with np.errstate(invalid="ignore", divide="ignore"):  # one wait alone has no deviation
        columns["std_s"] = np.sqrt(spread.squares / (frequency - 1))[back] / 1e6
    p10, median, p90 = _quantiles(sequences, kind, keys, frequency, spread, engine)[back].T / 1e6
    return columns | {"p10_s": p10, "median_s": median, "p90_s": p90}


def _quantiles(
    sequences: Encoded,
    kind: Kind,
    keys: np.ndarray,
    frequency: np.ndarray,
    spread: Spread,
    engine: Engine,
) -> np.ndarray:
    """float64 (n_keys, 3) in µs: type 7 of Hyndman & Fan (1996), numpy's default."""
    n_heavy, n_buckets = spread.histogram.shape
    place = np.array(SHARES) * (frequency[:, None] - 1)
    below = place.astype(np.int64)
    both = np.stack([below, np.minimum(below + 1, frequency[:, None] - 1)], axis=2).reshape(len(keys), -1)
    turn = np.argsort(both, axis=1, kind="stable")
    rank = np.take_along_axis(both, turn, axis=1)
    until = spread.histogram.cumsum(axis=1)
    bucket = np.empty((n_heavy, rank.shape[1]), dtype=np.int64)
    for row in range(n_heavy):
        bucket[row] = np.searchsorted(until[row], rank[row], side="right")
    rows = np.arange(n_heavy)[:, None]
    cells, group = np.unique(rows * n_buckets + bucket, return_inverse=True)
    wanted = np.full((n_heavy, n_buckets), -1, dtype=np.int32)
    wanted.ravel()[cells] = np.arange(len(cells))
    rank[:n_heavy] -= until[rows, bucket] - spread.histogram[rows, bucket]
    groups = np.full(len(keys), -1, dtype=np.int32)
    groups[n_heavy:] = len(cells) + np.arange(len(keys) - n_heavy)
    ask = partial(fetch, kind=kind, keys=keys, wanted=wanted, groups=groups)
    parts = engine.run(Count(of=ask, merge=join), sequences)
    values, ends = kernel.by_group(
        np.concatenate([g for g, _ in parts]),
        np.concatenate([v for _, v in parts]),
        len(cells) + len(keys) - n_heavy,
    )
    light = np.repeat(groups[n_heavy:, None].astype(np.int64), rank.shape[1], axis=1)
    asked = np.concatenate([group.reshape(bucket.shape), light])
    found = kernel.order_statistics(values, ends, asked.ravel(), rank.ravel()).reshape(rank.shape)
    answer = np.empty_like(found)
    np.put_along_axis(answer, turn, found, axis=1)
    low, high = answer[:, 0::2].astype(float), answer[:, 1::2].astype(float)
    return low + (place - below) * (high - low)
