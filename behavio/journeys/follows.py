"""The directly-follows graph: how often one activity comes right after another, and after how long."""

from __future__ import annotations

from dataclasses import dataclass, replace
from html import escape

import numpy as np
import polars as pl

from behavio.engine import Count, Encoded, Engine
from behavio.engine.local import LocalEngine
from behavio.errors import LogError
from behavio.kernels import graph as kernel
from behavio.kernels.arrays import group_quantiles, readonly, take_groups
from behavio.sequences import SequenceSet, Vocabulary

TABLE_LIMIT = 1_024
"""More activities than this are never looked up in a square table."""

SHARES = (0.1, 0.5, 0.9)

EDGE_SCHEMA: dict[str, pl.DataType] = {
    "source": pl.String(),
    "target": pl.String(),
    "frequency": pl.Int64(),
    "cases": pl.Int64(),
    "median_s": pl.Float64(),
    "mean_s": pl.Float64(),
    "p90_s": pl.Float64(),
    "p10_s": pl.Float64(),
}

ACTIVITY_SCHEMA: dict[str, pl.DataType] = {
    "activity": pl.String(),
    "frequency": pl.Int64(),
    "cases": pl.Int64(),
    "starts": pl.Int64(),
    "last_seen": pl.Int64(),
    "rework_cases": pl.Int64(),
}


@dataclass(frozen=True, slots=True, eq=False)
class Waits:
    """Waiting times of one shard (int64, µs), grouped by the edges `keys`, in log order within an edge."""

    keys: np.ndarray
    offsets: np.ndarray
    values: np.ndarray


@dataclass(frozen=True, slots=True, eq=False)
class GraphTally:
    """What shards add up to.

    keys        int64 (n_edges,)      source id * size + target id, rising
    frequency   int64 (n_edges,)      how often the target came right after the source
    cases       int64 (n_edges,)      in how many cases
    activities  int64 (5, size)       frequency, cases, starts, last seen, rework cases
    waits       one part per shard: exact quantiles need every waiting time
    settled     float64 (n_edges, 4)  p10, median, p90 and mean in seconds, once every waiting time was there
    """

    keys: np.ndarray
    frequency: np.ndarray
    cases: np.ndarray
    activities: np.ndarray
    waits: tuple[Waits, ...]
    settled: np.ndarray | None = None

    @classmethod
    def empty(cls, size: int) -> GraphTally:
        """The answer of no case at all, for a vocabulary of this size."""
        none = np.zeros(0, dtype=np.int64)
        return cls(none, none, none, np.zeros((5, size), dtype=np.int64), ())


def tally(sequences: SequenceSet) -> GraphTally:
    """Count one shard of whole cases."""
    size = len(sequences.vocabulary)
    tokens = readonly(sequences.tokens, np.int32)
    offsets = readonly(sequences.offsets, np.int64)
    if size <= TABLE_LIMIT and size * size <= max(1 << 16, 4 * sequences.n_events):
        numbers, counts = kernel.edges_by_table(tokens, offsets, size)
        order = keys = np.flatnonzero(counts)
        rank = np.zeros(size * size, dtype=np.int64)
    else:
        numbers, keys = kernel.edges_by_hash(tokens, offsets, size)
        order = np.argsort(keys)
        rank, keys = np.empty(len(keys), dtype=np.int64), keys[order]
    rank[order] = np.arange(len(keys))
    times = readonly(sequences.times, np.int64)
    frequency, cases, ends, values = kernel.tally_edges(numbers, rank, len(keys), offsets, times)
    activities = np.stack(kernel.tally_activities(tokens, offsets, size))
    waits = (Waits(keys, ends, values),) if sequences.timed else ()
    return GraphTally(keys, frequency, cases, activities, waits)


def merge(a: GraphTally, b: GraphTally) -> GraphTally:
    """Join two answers over the same vocabulary; waiting times stay in shard order."""
    keys = np.union1d(a.keys, b.keys)
    frequency, cases = np.zeros(len(keys), dtype=np.int64), np.zeros(len(keys), dtype=np.int64)
    settled = None if a.settled is None and b.settled is None else np.full((len(keys), 4), np.nan)
    for part in (a, b):
        where = np.searchsorted(keys, part.keys)
        frequency[where] += part.frequency
        cases[where] += part.cases
        if settled is not None and part.settled is not None:
            settled[where] = part.settled
    return GraphTally(keys, frequency, cases, a.activities + b.activities, a.waits + b.waits, settled)


def split(answer: GraphTally, n: int) -> list[GraphTally]:
    """The answer in n parts: each edge, with all its waiting times, in one; activities in the first."""
    parts = []
    for part in range(n):
        mine = answer.keys % n == part
        waits = tuple(Waits(w.keys[own], *take_groups(w.values, w.offsets, np.flatnonzero(own))[::-1])
                      for w in answer.waits for own in [w.keys % n == part])  # fmt: skip
        activities = answer.activities if part == 0 else np.zeros_like(answer.activities)
        parts.append(
            GraphTally(answer.keys[mine], answer.frequency[mine], answer.cases[mine], activities, waits)
        )
    return parts


def settle(answer: GraphTally) -> GraphTally:
    """Quantiles and means instead of the waiting times they come from; not to be merged by edge any more."""
    if not answer.waits:
        return answer
    return replace(answer, waits=(), settled=_waits_s(answer))


DIRECTLY_FOLLOWS: Count[GraphTally] = Count(of=tally, merge=merge, split=split, settle=settle)


@dataclass(frozen=True, slots=True, eq=False)
class DirectlyFollowsGraph:
    """Edges with frequency, distinct cases and waiting times; activities with their place in the cases.

    edges       EDGE_SCHEMA, most frequent first; times in seconds, null for a log without a clock
    activities  ACTIVITY_SCHEMA, most frequent first; last_seen counts cases whose newest event it is
                (a case that is still open has no end)
    """

    edges: pl.DataFrame
    activities: pl.DataFrame

    def __post_init__(self) -> None:
        for frame, schema in ((self.edges, EDGE_SCHEMA), (self.activities, ACTIVITY_SCHEMA)):
            missing = [name for name in schema if name not in frame.columns]
            if missing:
                raise LogError(
                    f"a directly-follows graph needs the columns {', '.join(missing)}",
                    hint="read graph.parquet and activities.parquet of one run",
                )

    @property
    def n_cases(self) -> int:
        """Cases counted: each starts once."""
        return int(self.activities["starts"].sum())

    @property
    def n_events(self) -> int:
        """Events counted."""
        return int(self.activities["frequency"].sum())

    @property
    def timed(self) -> bool:
        """False when no edge has a time."""
        return self.edges["median_s"].null_count() < self.edges.height

    def to_frame(self) -> pl.DataFrame:
        """Edges as a table with the columns of graph.parquet."""
        return self.edges

    def activities_frame(self) -> pl.DataFrame:
        """Activities as a table with the columns of activities.parquet."""
        return self.activities

    def _repr_html_(self) -> str:
        from behavio.journeys.map import process_map

        said = f"{self.n_cases:,} cases, {self.n_events:,} events, {self.edges.height:,} edges"
        return f"<figure>{process_map(self)}<figcaption>{escape(said)}</figcaption></figure>"


def finish(answer: GraphTally, vocabulary: Vocabulary) -> DirectlyFollowsGraph:
    """Names instead of ids, waiting times as quantiles, everything in its final order."""
    size = len(vocabulary)
    names = pl.Series(vocabulary.names, dtype=pl.String)
    edges = pl.DataFrame(
        {
            "source": names.gather(pl.Series(answer.keys // size)),
            "target": names.gather(pl.Series(answer.keys % size)),
            "frequency": answer.frequency,
            "cases": answer.cases,
            **_wait_columns(answer),
        },
        schema=EDGE_SCHEMA,
    ).sort("frequency", "source", "target", descending=[True, False, False])
    activities = (
        pl.DataFrame(
            {"activity": names, **dict(zip(list(ACTIVITY_SCHEMA)[1:], answer.activities, strict=True))},
            schema=ACTIVITY_SCHEMA,
        )
        .filter(pl.col("frequency") > 0)
        .sort("frequency", "activity", descending=[True, False])
    )
    return DirectlyFollowsGraph(edges, activities)


def _wait_columns(answer: GraphTally) -> dict[str, np.ndarray | list[None]]:
    """p10, median, mean and p90 of every edge in seconds; nulls when the log has no clock."""
    answer = settle(answer)
    if answer.settled is None:
        return {n: [None] * len(answer.keys) for n in ("median_s", "mean_s", "p90_s", "p10_s")}
    p10, median, p90, mean = answer.settled.T
    return {"median_s": median, "mean_s": mean, "p90_s": p90, "p10_s": p10}


def _waits_s(answer: GraphTally) -> np.ndarray:
    """p10, median, p90 and mean of every edge in seconds, float64 (n_edges, 4)."""
    ends = np.concatenate([[0], np.cumsum(answer.frequency)]).astype(np.int64)
    if len(answer.waits) == 1:
        values = answer.waits[0].values.copy()
    else:
        values, cursor = np.empty(ends[-1], dtype=np.int64), ends[:-1].copy()
        for part in answer.waits:
            where = np.searchsorted(answer.keys, part.keys)
            kernel.append_groups(part.values, part.offsets, where, cursor, values)
    mean = kernel.group_sums(values, ends) / answer.frequency / 1e6
    return np.column_stack([group_quantiles(values, ends, np.array(SHARES)) / 1e6, mean])


def directly_follows(sequences: Encoded, engine: Engine | None = None) -> DirectlyFollowsGraph:
    """Directly-follows graph of a log (van der Aalst, Process Mining, 2016, section 6.2).

    Every case counts as it is: the newest event of an open case is no end. Quantiles are exact and
    interpolated linearly.
    """
    engine = LocalEngine() if engine is None else engine
    return finish(engine.run(DIRECTLY_FOLLOWS, sequences), sequences.vocabulary)
