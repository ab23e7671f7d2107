"""Variants: distinct traces, how many cases follow each, and how long they take."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import polars as pl

from behavio.engine import Count, Engine
from behavio.engine.local import LocalEngine
from behavio.kernels.arrays import group_quantiles, readonly, take_groups
from behavio.kernels.graph import by_group
from behavio.kernels.traces import distinct_traces, match_traces, order_traces
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
    of_case          one int64 array per shard: the variant of each case
    """

    tokens: np.ndarray
    offsets: np.ndarray
    cases: np.ndarray
    of_case: tuple[np.ndarray, ...]

    @classmethod
    def empty(cls) -> VariantTally:
        """The answer of no case at all."""
        none = np.zeros(0, dtype=np.int64)
        return cls(np.zeros(0, dtype=np.int32), np.zeros(1, dtype=np.int64), none, ())


def tally(sequences: SequenceSet) -> VariantTally:
    """Variants of one shard of whole cases."""
    tokens, offsets = readonly(sequences.tokens, np.int32), readonly(sequences.offsets, np.int64)
    firsts, of_case = distinct_traces(tokens, offsets)
    own, ends = take_groups(tokens, offsets, firsts)
    return VariantTally(own, ends, np.bincount(of_case, minlength=len(firsts)), (of_case,))


def merge(a: VariantTally, b: VariantTally) -> VariantTally:
    """Join two answers; a's variants keep their numbers, what only b has follows in b's order."""
    mine = readonly(a.tokens, np.int32), readonly(a.offsets, np.int64)
    number = match_traces(*mine, readonly(b.tokens, np.int32), readonly(b.offsets, np.int64))
    new = np.flatnonzero(number < 0)
    number[new] = len(a.cases) + np.arange(len(new))
    tokens, offsets = mine
    if len(new):
        own, ends = take_groups(b.tokens, b.offsets, new)
        tokens, offsets = np.concatenate([tokens, own]), np.concatenate([offsets, offsets[-1] + ends[1:]])
    cases = np.concatenate([a.cases, np.zeros(len(new), dtype=np.int64)])
    cases[number] += b.cases  # b's variants are distinct: no place is met twice
    return VariantTally(tokens, offsets, cases, (*a.of_case, *(number[part] for part in b.of_case)))


VARIANTS: Count[VariantTally] = Count(of=tally, merge=merge)


@dataclass(frozen=True, slots=True, eq=False)
class Variants:
    """All variants, most frequent first, ties in alphabetical order of their activities.

    tokens, offsets    the distinct traces, flat
    cases              int64 (n_variants,)
    of_case            int64 (n_cases,)    index of each case's variant (its rank − 1)
    sequences          the log they come from, or a part of it
    medians            float64 (n_variants,) where they were counted elsewhere, over all of the log
    """

    tokens: np.ndarray
    offsets: np.ndarray
    cases: np.ndarray
    of_case: np.ndarray
    sequences: SequenceSet
    medians: np.ndarray | None = None

    @property
    def median_duration_s(self) -> np.ndarray:
        """float64 (n_variants,): median time from first to last event, worked out when asked for."""
        if self.medians is not None:
            return self.medians
        log = self.sequences
        durations = np.asarray(log.times[log.offsets[1:] - 1]) - log.times[log.offsets[:-1]]
        sorted_, ends = by_group(self.of_case, durations, len(self))
        return group_quantiles(sorted_, ends, np.array([0.5]))[:, 0] / 1e6

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


def variants(sequences: SequenceSet, engine: Engine | None = None) -> Variants:
    """Variants of a log, compared token by token: no hash collision can merge two."""
    engine = LocalEngine() if engine is None else engine
    answer = engine.run(VARIANTS, sequences)
    order = order_traces(readonly(answer.tokens, np.int32), readonly(answer.offsets, np.int64), answer.cases)
    rank = np.empty(len(order), dtype=np.int64)
    rank[order] = np.arange(len(order))
    of_case = np.empty(sum(map(len, answer.of_case)), dtype=np.int64)
    done = 0
    for part in answer.of_case:  # straight into its place: millions of cases are not copied twice
        np.take(rank, part, out=of_case[done : done + len(part)], mode="clip")
        done += len(part)
    tokens, offsets = take_groups(answer.tokens, answer.offsets, order)
    return Variants(tokens, offsets, answer.cases[order], of_case, sequences)


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
