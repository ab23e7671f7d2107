"""The directly-follows graph: how often one activity comes right after another, and after how long."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from html import escape

import numpy as np
import polars as pl

from behavio.engine import Count, Encoded, Engine
from behavio.engine.local import LocalEngine
from behavio.errors import LogError
from behavio.journeys.waits import TIME_COLUMNS, StepTally, merge_steps, tally_steps, time_columns
from behavio.sequences import Vocabulary

EDGE_SCHEMA: dict[str, pl.DataType] = {
    "source": pl.String(),
    "target": pl.String(),
    "frequency": pl.Int64(),
    "cases": pl.Int64(),
    "median_s": pl.Float64(),
    "mean_s": pl.Float64(),
    "p90_s": pl.Float64(),
    "p10_s": pl.Float64(),
    "min_s": pl.Float64(),
    "max_s": pl.Float64(),
    "std_s": pl.Float64(),
}

LATER = ("ends", "min_s", "max_s", "std_s")
"""Columns that graphs written by earlier versions lack."""

ACTIVITY_SCHEMA: dict[str, pl.DataType] = {
    "activity": pl.String(),
    "frequency": pl.Int64(),
    "cases": pl.Int64(),
    "starts": pl.Int64(),
    "last_seen": pl.Int64(),
    "ends": pl.Int64(),
    "rework_cases": pl.Int64(),
}


DIRECTLY_FOLLOWS: Count[StepTally] = Count(of=tally_steps, merge=merge_steps, exact=True)
"""Edges with frequency, cases and exact sums of their times: one pass."""


@dataclass(frozen=True, slots=True, eq=False)
class DirectlyFollowsGraph:
    """Edges with frequency, distinct cases and waiting times; activities with their place in the cases.

    edges       EDGE_SCHEMA, most frequent first; times in seconds, null for a log without a clock;
                std_s null for a step taken once
    activities  ACTIVITY_SCHEMA, most frequent first; last_seen counts cases whose newest event it is,
                ends only those that are over: a case that is still open has no end
    """

    edges: pl.DataFrame
    activities: pl.DataFrame

    def __post_init__(self) -> None:
        for frame, schema in ((self.edges, EDGE_SCHEMA), (self.activities, ACTIVITY_SCHEMA)):
            missing = [name for name in schema if name not in frame.columns and name not in LATER]
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
        return self.edges["mean_s"].null_count() < self.edges.height

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


def finish(
    answer: StepTally, vocabulary: Vocabulary, times: Mapping[str, np.ndarray | list[None]] | None = None
) -> DirectlyFollowsGraph:
    """Names instead of ids, everything in its final order; `times` are TIME_COLUMNS of the edges."""
    size = len(vocabulary)
    names = pl.Series(vocabulary.names, dtype=pl.String)
    n = len(answer.keys)
    columns = {name: [None] * n for name in TIME_COLUMNS} if times is None else times
    edges = pl.DataFrame(
        {
            "source": names.gather(pl.Series(answer.keys // size)),
            "target": names.gather(pl.Series(answer.keys % size)),
            "frequency": answer.frequency,
            "cases": answer.cases,
            **columns,
        },
        schema=EDGE_SCHEMA,
    ).with_columns(pl.col(TIME_COLUMNS).fill_nan(None))
    activities = pl.DataFrame(
        {"activity": names, **dict(zip(list(ACTIVITY_SCHEMA)[1:], answer.activities, strict=True))},
        schema=ACTIVITY_SCHEMA,
    ).filter(pl.col("frequency") > 0)
    return DirectlyFollowsGraph(
        edges.sort("frequency", "source", "target", descending=[True, False, False]),
        activities.sort("frequency", "activity", descending=[True, False]),
    )


def directly_follows(
    sequences: Encoded, engine: Engine | None = None, quantiles: bool = True
) -> DirectlyFollowsGraph:
    """Directly-follows graph of a log (van der Aalst, Process Mining, 2016, section 6.2).

    quantiles  False: only mean times, in one pass; True: also p10, median, p90 (exact, interpolated
               linearly), least, largest and standard deviation (of the sample) on every edge
    Every case counts as it is: the newest event of an open case is seen last, but it is no end.
    """
    engine = LocalEngine() if engine is None else engine
    answer = engine.run(DIRECTLY_FOLLOWS, sequences)
    times = time_columns(sequences, answer, "edge", engine, quantiles)
    return finish(answer, sequences.vocabulary, times)
