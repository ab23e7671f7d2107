"""Variants: distinct traces, how many cases follow each, and how long they take."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import polars as pl

from behavio.engine import Count, Encoded, Engine
from behavio.engine.local import LocalEngine
from behavio.errors import LogError
from behavio.kernels.arrays import group_quantiles, readonly, take_groups
from behavio.kernels.traces import distinct_traces, order_traces
from behavio.log import TIME
from behavio.sequences import SequenceSet

ARROW = " → "

VARIANT_SCHEMA: dict[str, pl.DataType] = {
    "rank": pl.Int64(),
    "variant": pl.String(),
    "activities": pl.List(pl.String()),
    "cases": pl.Int64(),
    "share": pl.Float64(),
    "cumulative_share": pl.Float64(),
    "length": pl.Int64(),
    "median_duration_s": pl.Float64(),
}


@dataclass(frozen=True, slots=True, eq=False)
class VariantTally:
    """What shards add up to: distinct traces and which of them each case follows.

    tokens, offsets  the distinct traces, flat
    cases            int64 (n_variants,)
    of_case          int64 (n_cases,)   the variant of each case, cases in shard order
    durations        int64 (n_cases,)   µs from first to last event
    median_s         float64 (n_variants,) instead of of_case and durations, once every case was there
    """

    tokens: np.ndarray
    offsets: np.ndarray
    cases: np.ndarray
    of_case: np.ndarray
    durations: np.ndarray
    median_s: np.ndarray | None = None

    @classmethod
    def empty(cls) -> VariantTally:
        """The answer of no case at all."""
        none = np.zeros(0, dtype=np.int64)
        return cls(np.zeros(0, dtype=np.int32), np.zeros(1, dtype=np.int64), none, none, none)


def tally(sequences: SequenceSet) -> VariantTally:
    """Variants of one shard of whole cases."""
    tokens, offsets = readonly(sequences.tokens, np.int32), readonly(sequences.offsets, np.int64)
    firsts, of_case = distinct_traces(tokens, offsets)
    own, ends = take_groups(tokens, offsets, firsts)
    durations = sequences.times[offsets[1:] - 1] - sequences.times[offsets[:-1]]
    return VariantTally(own, ends, np.bincount(of_case, minlength=len(firsts)), of_case, durations)


def merge(a: VariantTally, b: VariantTally) -> VariantTally:
    """Join two answers; a's variants keep their numbers."""
    tokens = np.concatenate([a.tokens, b.tokens])
    offsets = np.concatenate([a.offsets, a.offsets[-1] + b.offsets[1:]])
    firsts, group = distinct_traces(readonly(tokens, np.int32), readonly(offsets, np.int64))
    own, ends = take_groups(tokens, offsets, firsts)
    cases = np.zeros(len(firsts), dtype=np.int64)
    np.add.at(cases, group, np.concatenate([a.cases, b.cases]))
    shifted = np.concatenate([a.of_case, b.of_case + len(a.cases)])
    settled = [t.median_s for t in (a, b) if t.median_s is not None]  # of different variants, a's first
    return VariantTally(
        own,
        ends,
        cases,
        group[shifted],
        np.concatenate([a.durations, b.durations]),
        np.concatenate(settled) if settled else None,
    )


def split(answer: VariantTally, n: int) -> list[VariantTally]:
    """The answer in n parts: each variant, with all its cases, in the one its activities say."""
    lengths = np.diff(answer.offsets)
    place = np.arange(len(answer.tokens)) - np.repeat(answer.offsets[:-1], lengths)
    mixed = np.concatenate([[0], np.cumsum(answer.tokens.astype(np.int64) * (2 * place + 1))])
    part_of = (mixed[answer.offsets[1:]] - mixed[answer.offsets[:-1]]) % n
    number = np.zeros(len(part_of), dtype=np.int64)
    parts = []
    for part in range(n):
        mine = np.flatnonzero(part_of == part)
        number[mine] = np.arange(len(mine))
        own = part_of[answer.of_case] == part
        traces = take_groups(answer.tokens, answer.offsets, mine)
        parts.append(
            VariantTally(*traces, answer.cases[mine], number[answer.of_case[own]], answer.durations[own])
        )
    return parts


def settle(answer: VariantTally) -> VariantTally:
    """Median durations instead of every case's: those of the cases are gone."""
    none = np.zeros(0, dtype=np.int64)
    return replace(answer, of_case=none, durations=none, median_s=_medians(answer))


def _medians(answer: VariantTally) -> np.ndarray:
    """Median duration of each variant in seconds."""
    by_variant = answer.durations[np.argsort(answer.of_case, kind="stable")]
    ends = np.concatenate([[0], np.cumsum(answer.cases)]).astype(np.int64)
    return group_quantiles(by_variant, ends, np.array([0.5]))[:, 0] / 1e6


VARIANTS: Count[VariantTally] = Count(of=tally, merge=merge, split=split, settle=settle)


@dataclass(frozen=True, slots=True, eq=False)
class Variants:
    """All variants, most frequent first, ties in alphabetical order of their activities.

    tokens, offsets    the distinct traces, flat
    cases              int64 (n_variants,)
    of_case            int64 (n_cases,)    index of each case's variant (its rank − 1)
    median_duration_s  float64 (n_variants,)
    sequences          the log they come from
    """

    tokens: np.ndarray
    offsets: np.ndarray
    cases: np.ndarray
    of_case: np.ndarray
    median_duration_s: np.ndarray
    sequences: SequenceSet

    def __len__(self) -> int:
        return len(self.cases)

    def to_frame(self, top: int | None = None) -> pl.DataFrame:
        """VARIANT_SCHEMA, the `top` most frequent; shares are always of all cases."""
        n = len(self) if top is None else min(top, len(self))
        tokens = self.tokens[: self.offsets[n]]
        names = pl.Series(self.sequences.vocabulary.names, dtype=pl.String)
        lengths = np.diff(self.offsets)[:n]
        total = self.cases.sum()
        rows = pl.DataFrame(
            {"rank": np.repeat(np.arange(1, n + 1), lengths), "name": names.gather(pl.Series(tokens))}
        )
        lists = rows.group_by("rank", maintain_order=True).agg(pl.col("name").alias("activities"))
        timed = self.sequences.timed
        return lists.with_columns(
            pl.col("activities").list.join(ARROW).alias("variant"),
            pl.Series("cases", self.cases[:n], dtype=pl.Int64),
            pl.Series("share", self.cases[:n] / total),
            pl.Series("cumulative_share", np.cumsum(self.cases)[:n] / total),
            pl.Series("length", lengths, dtype=pl.Int64),
            pl.Series("median_duration_s", self.median_duration_s[:n] if timed else [None] * n, pl.Float64),
        ).select(pl.col(name).cast(kind) for name, kind in VARIANT_SCHEMA.items())

    def _repr_html_(self) -> str:
        return str(self.to_frame(20)._repr_html_())


def variants(sequences: SequenceSet, engine: Engine | None = None, whole: Encoded | None = None) -> Variants:
    """Variants of a log, compared token by token: no hash collision can merge two.

    `whole` is the log on a cluster that is counted; `of_case` then ranks the cases of `sequences`, which
    are a part of it under the same vocabulary.
    """
    engine = LocalEngine() if engine is None else engine
    answer = engine.run(VARIANTS, sequences if whole is None else whole)
    order = order_traces(readonly(answer.tokens, np.int32), readonly(answer.offsets, np.int64), answer.cases)
    rank = np.empty(len(order), dtype=np.int64)
    rank[order] = np.arange(len(order))
    tokens, offsets = take_groups(answer.tokens, answer.offsets, order)
    median = (_medians(answer) if answer.median_s is None else answer.median_s)[order]
    of_case = rank[answer.of_case] if whole is None else _ranks(tokens, offsets, sequences)
    return Variants(tokens, offsets, answer.cases[order], of_case, median, sequences)


def _ranks(tokens: np.ndarray, offsets: np.ndarray, sequences: SequenceSet) -> np.ndarray:
    """Which of these distinct traces each case follows, int64 (n_cases,)."""
    joined = np.concatenate([tokens, sequences.tokens]).astype(np.int32)
    ends = np.concatenate([offsets, offsets[-1] + sequences.offsets[1:]])
    _, group = distinct_traces(readonly(joined, np.int32), readonly(ends, np.int64))
    found = group[len(offsets) - 1 :]
    if (found >= len(offsets) - 1).any():
        raise LogError("the encoded log is no part of the log that was counted", hint="run with --from log")
    return found


def distinct(sequences: SequenceSet) -> tuple[SequenceSet, np.ndarray]:
    """Identical traces kept once, with the number of cases that follow each, int64 (n_variants,).

    The kept case is the first that follows the variant; its times are its own.
    """
    firsts, group = distinct_traces(
        readonly(sequences.tokens, np.int32), readonly(sequences.offsets, np.int64)
    )
    return sequences.select(firsts), np.bincount(group, minlength=len(firsts))


def case_table(sequences: SequenceSet, found: Variants | None = None) -> pl.DataFrame:
    """One row per case: case_id, events, variant_rank, first, last (UTC), duration_s.

    The three times are null for a log without a clock.
    """
    found = variants(sequences) if found is None else found
    starts, ends = sequences.offsets[:-1], sequences.offsets[1:] - 1
    first, last = np.asarray(sequences.times[starts]), np.asarray(sequences.times[ends])
    frame = pl.DataFrame(
        {
            "case_id": sequences.case_ids,
            "events": sequences.lengths,
            "variant_rank": found.of_case + 1,
            "first": pl.Series(first).cast(pl.Datetime("us")).dt.replace_time_zone("UTC"),
            "last": pl.Series(last).cast(pl.Datetime("us")).dt.replace_time_zone("UTC"),
            "duration_s": (last - first) / 1e6,
        }
    )
    if sequences.timed:
        return frame
    kinds = {"first": TIME, "last": TIME, "duration_s": pl.Float64()}
    return frame.with_columns(pl.lit(None, kind).alias(name) for name, kind in kinds.items())
