"""A flow as often as it was begun: a campaign of many waves is walked many times by one case."""

from __future__ import annotations

import numpy as np
import polars as pl

from behavio.conformance.choose import Chooser
from behavio.conformance.findings import capped, ratio
from behavio.conformance.flows import DAY, fits_of, limits_of
from behavio.conformance.plan import Flow, moment
from behavio.kernels import walks
from behavio.kernels.arrays import readonly
from behavio.log import TIME

OCCURRENCE_SCHEMA: dict[str, pl.DataType] = {
    "case_id": pl.String(),
    "plan": pl.String(),
    "occurrence": pl.Int64(),
    "began": TIME,
    "last": TIME,
    "state": pl.String(),
    "reached": pl.String(),
    "next": pl.String(),
    "duration_s": pl.Float64(),
}
"""One row each time a case began a flow, counted from 1. state: finished (every required step was taken),
stopped (the next one did not come in its time, or the case is over), open. reached is the last step taken,
next the required one that has not come, null when finished; duration_s from the first to the last step of a
finished one. Times are null without a clock."""
OCCURRENCE_STEP_SCHEMA: dict[str, pl.DataType] = {
    "plan": pl.String(),
    "place": pl.Int64(),
    "step": pl.String(),
    "cases": pl.Int64(),
    "occurrences": pl.Int64(),
    "share": pl.Float64(),
    "low": pl.Float64(),
    "high": pl.Float64(),
    "stopped": pl.Int64(),
    "open": pl.Int64(),
    "median_s": pl.Float64(),
}
"""One row per step: cases and occurrences that came to it, share of those begun with its 95 % interval (the
spread taken between cases), how many got no further than it and stopped, or are open, and the median time
from the first step."""
STATES = ("open", "finished", "stopped")


def occurrences(chooser: Chooser, flow: Flow, still: np.ndarray) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Every walk through a flow (OCCURRENCE_SCHEMA) and its steps (OCCURRENCE_STEP_SCHEMA).

    still  bool (n_cases,): cases that may go on after the newest event of the log
    Each event that may be the first required step begins the flow anew, unless an occurrence of it already
    waits for that very event; every other event goes to the newest occurrence that waits for it in time. What
    fits none belongs to none and is judged per case (`check_flow`).
    """
    s = chooser.sequences
    times = readonly(s.times, np.int64)
    least, most = (np.array(c, dtype=np.int64) for c in zip(*(p.times for p in flow.step), strict=True))
    opener = int(np.flatnonzero(least)[0]) if least.any() else 0
    limits = limits_of(flow)
    fits, offsets = fits_of(chooser, flow), readonly(s.offsets, np.int64)
    case, state, step, due, last, taken = walks.walk(fits, offsets, times, least, most, limits, opener)
    now = int(np.asarray(times).max())
    if flow.end is not None:
        still = still & (now < moment(flow.end) + DAY)
    limit = np.where((due >= 0) & (due != step), limits[due], -1)
    over = ~still[case] | ((limit >= 0) & (now > np.asarray(times)[last] + limit))
    gone = (state == walks.RUNNING) & over
    state = np.where(gone, walks.STOPPED, state)
    names = pl.Series([p.shown for p in flow.step], dtype=pl.String)
    number = np.arange(len(case)) - np.searchsorted(case, case) + 1
    began, ended = taken[:, opener], np.asarray(times)[last]
    finished = state == walks.FINISHED

    table = pl.DataFrame(
        {
            "case_id": s.case_ids.gather(pl.Series(case)).cast(pl.String),
            "plan": pl.Series([flow.name] * len(case), dtype=pl.String),
            "occurrence": number,
            "began": pl.Series(began, dtype=pl.Int64).cast(pl.Datetime("us", "UTC")),
            "last": pl.Series(ended, dtype=pl.Int64).cast(pl.Datetime("us", "UTC")),
            "state": pl.Series(np.array(STATES, dtype=object)[state].tolist(), dtype=pl.String),
            "reached": names.gather(pl.Series(step)),
            "next": names.gather(pl.Series(np.maximum(due, 0))),
            "duration_s": (ended - began) / 1e6,
        },
        schema=OCCURRENCE_SCHEMA,
    ).with_columns(
        pl.when(pl.Series(~finished)).then("next").alias("next"),
        pl.when(pl.Series(finished)).then("duration_s").alias("duration_s"),
    )
    if not s.timed:
        empty = {"began": pl.lit(None, TIME), "last": pl.lit(None, TIME)}
        table = table.with_columns(**empty, duration_s=pl.lit(None, pl.Float64))
    return table, _steps(flow, case, state, step, taken, began, s.n_cases, s.timed)


def _steps(
    flow: Flow,
    case: np.ndarray,
    state: np.ndarray,
    step: np.ndarray,
    taken: np.ndarray,
    began: np.ndarray,
    n_cases: int,
    timed: bool,
) -> pl.DataFrame:
    size = len(flow.step)
    began_by = np.bincount(case, minlength=n_cases)
    who = np.flatnonzero(began_by)
    came = [np.bincount(case[taken[:, k] >= 0], minlength=n_cases)[who] for k in range(size)]
    group = np.repeat(np.arange(size), len(who))
    reach, begun = np.concatenate(came).astype(float), np.tile(began_by[who], size).astype(float)
    _, low, high = capped(group, reach, begun, size)
    counts = (taken >= 0).sum(axis=0)
    medians = [np.nan] * size
    for k in range(size):
        there = taken[:, k] >= 0
        if timed and there.any():
            medians[k] = float(np.median(taken[there, k] - began[there])) / 1e6
    return pl.DataFrame(
        {
            "plan": [flow.name] * size,
            "place": np.arange(1, size + 1),
            "step": [p.shown for p in flow.step],
            "cases": np.array([int((c > 0).sum()) for c in came]),
            "occurrences": counts,
            "share": ratio(counts.astype(float), np.full(size, float(len(case)))),
            "low": low,
            "high": high,
            "stopped": np.bincount(step[state == walks.STOPPED], minlength=size),
            "open": np.bincount(step[state == walks.RUNNING], minlength=size),
            "median_s": medians,
        },
        schema=OCCURRENCE_STEP_SCHEMA,
    ).with_columns(pl.col(pl.Float64).fill_nan(None))
