"""Numbers per activity and per case: waiting times, rework and loops, durations."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

import numpy as np
import polars as pl

from behavio.engine import Count, Encoded, Engine
from behavio.engine.local import LocalEngine
from behavio.journeys.waits import TIME_COLUMNS, StepTally, merge_steps, open_cases, tally_steps, time_columns
from behavio.kernels.arrays import readonly
from behavio.kernels.orders import count_repeats
from behavio.sequences import SequenceSet

WAITING_SCHEMA: dict[str, pl.DataType] = {
    "activity": pl.String(),
    "waits": pl.Int64(),
    "cases": pl.Int64(),
    **{name: pl.Float64() for name in TIME_COLUMNS},
    "share": pl.Float64(),
}

REWORK = "frequency cases rework_cases self_loops self_loop_cases two_loops two_loop_cases".split()
REWORK_SCHEMA: dict[str, pl.DataType] = {
    "activity": pl.String(),
    **{name: pl.Int64() for name in REWORK},
    "rework_share": pl.Float64(),
    "extra_events": pl.Int64(),
}

DURATION_SCHEMA: dict[str, pl.DataType] = {
    "state": pl.String(),
    "cases": pl.Int64(),
    **{f"{name}_s": pl.Float64() for name in ("mean", "min", "p10", "p25", "median", "p75", "p90", "max")},
}

WAITING: Count[StepTally] = Count(of=partial(tally_steps, kind="activity"), merge=merge_steps)
"""Waits before each activity: exact sums in one pass."""


def waiting_times(sequences: Encoded, engine: Engine | None = None) -> pl.DataFrame:
    """How long each activity was waited for: time since the event before it in its case, as WAITING_SCHEMA.

    First events of cases have not been waited for. share is the activity's part of all waiting time of the
    log: where the time goes. Quantiles are exact; all times are null for a log without a clock.
    """
    engine = LocalEngine() if engine is None else engine
    found = engine.run(WAITING, sequences)
    times: Mapping[str, np.ndarray | list[None]] = time_columns(sequences, found, "activity", engine)
    names = pl.Series(sequences.vocabulary.names, dtype=pl.String)
    total = found.mean_us * found.frequency if len(found.keys) else np.zeros(0)
    share = total / total.sum() if found.timed and total.sum() > 0 else [None] * len(found.keys)
    columns = {"waits": found.frequency, "cases": found.cases, **times, "share": share}
    frame = pl.DataFrame({"activity": names.gather(pl.Series(found.keys)), **columns}, schema=WAITING_SCHEMA)
    return frame.with_columns(pl.col(TIME_COLUMNS).fill_nan(None)).sort(
        "share", "waits", "activity", descending=[True, True, False], nulls_last=True
    )


def tally_repeats(sequences: SequenceSet) -> np.ndarray:
    """int64 (size, 7), columns REWORK, of one shard of whole cases."""
    return count_repeats(
        readonly(sequences.tokens, np.int32), readonly(sequences.offsets, np.int64), len(sequences.vocabulary)
    )[:, :7]


REPEATS: Count[np.ndarray] = Count(of=tally_repeats, merge=np.add, exact=True)


def rework(sequences: Encoded, engine: Engine | None = None) -> pl.DataFrame:
    """How often cases come back to an activity, as REWORK_SCHEMA, most repeated first.

    rework_cases  cases that have it more than once; rework_share, of the cases that have it
    self_loops    it came right after itself; two_loops: with exactly one other activity in between (a b a)
    extra_events  events beyond the first of each case
    """
    engine = LocalEngine() if engine is None else engine
    found = engine.run(REPEATS, sequences)
    frame = pl.DataFrame(
        {
            "activity": pl.Series(sequences.vocabulary.names, dtype=pl.String),
            **dict(zip(REWORK, found.T, strict=True)),
        }
    ).filter(pl.col("frequency") > 0)
    return (
        frame.with_columns(
            rework_share=pl.col("rework_cases") / pl.col("cases"),
            extra_events=pl.col("frequency") - pl.col("cases"),
        )
        .select(pl.col(n).cast(k) for n, k in REWORK_SCHEMA.items())
        .sort("extra_events", "frequency", "activity", descending=[True, True, False])
    )


def tally_durations(sequences: SequenceSet) -> tuple[np.ndarray, np.ndarray]:
    """µs from first to last event of each case (int64), and which cases may still go on (bool)."""
    offsets = sequences.offsets
    spans = np.asarray(sequences.times[offsets[1:] - 1]) - sequences.times[offsets[:-1]]
    return spans, open_cases(sequences)


def join_durations(
    a: tuple[np.ndarray, np.ndarray], b: tuple[np.ndarray, np.ndarray]
) -> tuple[np.ndarray, np.ndarray]:
    """Join two answers, cases in shard order."""
    return np.concatenate([a[0], b[0]]), np.concatenate([a[1], b[1]])


DURATIONS: Count[tuple[np.ndarray, np.ndarray]] = Count(of=tally_durations, merge=join_durations)


def durations(sequences: Encoded, engine: Engine | None = None) -> pl.DataFrame:
    """How long cases take from first to last event, as DURATION_SCHEMA.

    state  "over" (the case has ended), "open" (so far: it goes on) or "all"; states no case is in are left
           out, and a log without a clock has no row
    """
    engine = LocalEngine() if engine is None else engine
    spans, still = engine.run(DURATIONS, sequences)
    rows = []
    for state, chosen in (("all", np.ones(len(still), dtype=bool)), ("over", ~still), ("open", still)):
        values = spans[chosen] / 1e6
        if not sequences.timed or not len(values):
            continue
        quantiles = np.quantile(values, [0, 0.1, 0.25, 0.5, 0.75, 0.9, 1])
        rows.append((state, len(values), float(values.mean()), *map(float, quantiles)))
    return pl.DataFrame(rows, schema=DURATION_SCHEMA, orient="row")
