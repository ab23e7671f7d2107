"""Variants of a log too large for one machine: answers cut by variant, settled where they are counted."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from behavio.engine import Count, Encoded, Engine
from behavio.errors import LogError
from behavio.journeys import traces
from behavio.journeys.traces import Variants, VariantTally
from behavio.kernels.arrays import group_quantiles, readonly, take_groups
from behavio.kernels.graph import by_group
from behavio.kernels.traces import distinct_traces, order_traces
from behavio.sequences import SequenceSet


@dataclass(frozen=True, slots=True, eq=False)
class TimedTally:
    """Variants with the duration of every case, or, once every case was there, with their medians.

    variants   distinct traces, their cases, and which trace each case follows
    durations  int64 (n_cases,)      µs from first to last event, cases in the order of variants.of_case
    median_s   float64 (n_variants,) instead of of_case and durations
    """

    variants: VariantTally
    durations: np.ndarray
    median_s: np.ndarray | None = None


def tally(sequences: SequenceSet) -> TimedTally:
    """Variants and durations of one shard of whole cases."""
    times, offsets = sequences.times, sequences.offsets
    durations = np.asarray(times[offsets[1:] - 1]) - np.asarray(times[offsets[:-1]])
    return TimedTally(traces.tally(sequences), durations)


def merge(a: TimedTally, b: TimedTally) -> TimedTally:
    """Join two answers; settled ones are of different variants, a's come first."""
    settled = [t.median_s for t in (a, b) if t.median_s is not None]
    return TimedTally(
        traces.merge(a.variants, b.variants),
        np.concatenate([a.durations, b.durations]),
        np.concatenate(settled) if settled else None,
    )


def split(answer: TimedTally, n: int) -> list[TimedTally]:
    """The answer in n parts: each variant, with all its cases, in the one its activities say."""
    found, of_case = answer.variants, _of_case(answer.variants)
    lengths = np.diff(found.offsets)
    place = np.arange(len(found.tokens)) - np.repeat(found.offsets[:-1], lengths)
    mixed = np.concatenate([[0], np.cumsum(found.tokens.astype(np.int64) * (2 * place + 1))])
    part_of = (mixed[found.offsets[1:]] - mixed[found.offsets[:-1]]) % n
    number = np.zeros(len(part_of), dtype=np.int64)
    parts = []
    for part in range(n):
        mine = np.flatnonzero(part_of == part)
        number[mine] = np.arange(len(mine))
        own = part_of[of_case] == part
        tokens, offsets = take_groups(found.tokens, found.offsets, mine)
        kept = VariantTally(tokens, offsets, found.cases[mine], (number[of_case[own]],))
        parts.append(TimedTally(kept, answer.durations[own]))
    return parts


def settle(answer: TimedTally) -> TimedTally:
    """Median durations instead of those of every case."""
    found = answer.variants
    values, ends = by_group(_of_case(found), answer.durations, len(found.cases))
    median = group_quantiles(values, ends, np.array([0.5]))[:, 0] / 1e6
    return TimedTally(replace(found, of_case=()), answer.durations[:0], median)


def _of_case(found: VariantTally) -> np.ndarray:
    return np.concatenate([np.zeros(0, dtype=np.int64), *found.of_case])


TIMED_VARIANTS: Count[TimedTally] = Count(of=tally, merge=merge, split=split, settle=settle)


def variants_of(whole: Encoded, engine: Engine, sequences: SequenceSet) -> Variants:
    """Variants of all of a log with exact medians; `of_case` ranks the cases of `sequences`.

    `sequences` are a part of the log, or all of it, under the same vocabulary. Raises LogError otherwise.
    """
    answer = engine.run(TIMED_VARIANTS, whole)
    answer = answer if answer.median_s is not None else settle(answer)
    found, median = answer.variants, answer.median_s
    assert median is not None
    order = order_traces(readonly(found.tokens, np.int32), readonly(found.offsets, np.int64), found.cases)
    tokens, offsets = take_groups(found.tokens, found.offsets, order)
    ranks = _ranks(tokens, offsets, sequences)
    return Variants(tokens, offsets, found.cases[order], ranks, sequences, median[order])


def _ranks(tokens: np.ndarray, offsets: np.ndarray, sequences: SequenceSet) -> np.ndarray:
    """Which of these distinct traces each case follows, int64 (n_cases,)."""
    joined = np.concatenate([tokens, sequences.tokens]).astype(np.int32)
    ends = np.concatenate([offsets, offsets[-1] + sequences.offsets[1:]])
    _, group = distinct_traces(readonly(joined, np.int32), readonly(ends, np.int64))
    found = group[len(offsets) - 1 :]
    if (found >= len(offsets) - 1).any():
        raise LogError("the encoded log is no part of the log that was counted", hint="run with --from log")
    return found
