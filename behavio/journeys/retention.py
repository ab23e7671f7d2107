"""Who stays: cohorts by first month, and lifecycle states (new, active, returned, dormant, lost)."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import numpy as np
import polars as pl

from behavio.durations import seconds
from behavio.engine import Count, Encoded, Engine
from behavio.engine.local import LocalEngine
from behavio.errors import JobError
from behavio.journeys.funnel import members
from behavio.journeys.span import SPAN
from behavio.kernels.arrays import readonly
from behavio.kernels.calendar import active_months, states_at
from behavio.log import TIME
from behavio.sequences import SequenceSet

STATES = ("new", "active", "returned", "dormant", "lost")

RETENTION_SCHEMA: dict[str, pl.DataType] = {
    "cohort": pl.Date(),
    "months_since": pl.Int64(),
    "cohort_cases": pl.Int64(),
    "cases": pl.Int64(),
    "share": pl.Float64(),
    "whole": pl.Boolean(),
}

LIFECYCLE_SCHEMA: dict[str, pl.DataType] = {
    "date": TIME,
    "state": pl.String(),
    "cases": pl.Int64(),
    "share": pl.Float64(),
}


def month_bounds(first: int, last: int) -> np.ndarray:
    """int64 µs: the beginnings of the calendar months (UTC) from that of `first` to the one after `last`."""
    begin = np.datetime64(first, "us").astype("datetime64[M]")
    end = np.datetime64(last, "us").astype("datetime64[M]") + 2
    return np.arange(begin, end).astype("datetime64[us]").astype(np.int64)


def tally_months(sequences: SequenceSet, counted: np.ndarray, bounds: np.ndarray) -> np.ndarray:
    """int64 (n_months, n_months) of one shard of whole cases: cohort by months since."""
    return active_months(
        readonly(sequences.tokens, np.int32),
        readonly(sequences.offsets, np.int64),
        readonly(sequences.times, np.int64),
        counted,
        bounds,
    )


def months_count(counted: np.ndarray, bounds: np.ndarray) -> Count[np.ndarray]:
    """The question about these activities (bool (size,)) and months (µs)."""
    return Count(of=partial(tally_months, counted=counted, bounds=bounds), merge=np.add)


def retention(
    sequences: Encoded, activities: Sequence[str] | frozenset[str] | None = None, engine: Engine | None = None
) -> pl.DataFrame:
    """Cases by the month of their first event, and how many are active so many months later.

    activities  what counts as being active: names or patterns such as "portal_*"; None: every event.
                What a company sends says nothing about who stays; name what the customer does.
    Columns as RETENTION_SCHEMA, a row for every month a cohort can be seen in, months without anybody
    included. share is of the cohort; whole is false for the log's last month, which may not be over.
    """
    counted = _counted(sequences, activities)
    engine = LocalEngine() if engine is None else engine
    bounds = month_bounds(*engine.run(SPAN, sequences))
    found = engine.run(months_count(counted, bounds), sequences)
    n = len(bounds) - 1
    cohort, since = np.nonzero(np.triu(np.ones((n, n), dtype=bool))[:, ::-1])
    filled = found[cohort, 0] > 0
    cohort, since = cohort[filled], since[filled]
    dates = bounds[:-1].astype("datetime64[us]")
    return pl.DataFrame(
        {
            "cohort": pl.Series(dates[cohort]).cast(pl.Date),
            "months_since": since,
            "cohort_cases": found[cohort, 0],
            "cases": found[cohort, since],
            "share": found[cohort, since] / np.maximum(found[cohort, 0], 1),
            "whole": cohort + since < n - 1,
        },
        schema=RETENTION_SCHEMA,
    ).sort("cohort", "months_since")


def retention_matrix(found: pl.DataFrame) -> pl.DataFrame:
    """The table of `retention` laid out to be read: a row per cohort, a column per month since, shares."""
    return found.pivot("months_since", index=["cohort", "cohort_cases"], values="share").sort("cohort")


def tally_states(
    sequences: SequenceSet, counted: np.ndarray, dates: np.ndarray, dormant: int, lost: int
) -> tuple[np.ndarray, np.ndarray]:
    """States of one shard of whole cases: int64 (n_dates, 5), and each case's last one, int8 (n_cases,)."""
    return states_at(
        readonly(sequences.tokens, np.int32),
        readonly(sequences.offsets, np.int64),
        readonly(sequences.times, np.int64),
        counted,
        dates,
        dormant,
        lost,
    )


def join_states(
    a: tuple[np.ndarray, np.ndarray], b: tuple[np.ndarray, np.ndarray]
) -> tuple[np.ndarray, np.ndarray]:
    """Join two answers, cases in shard order."""
    return a[0] + b[0], np.concatenate([a[1], b[1]])


def states_count(
    counted: np.ndarray, dates: np.ndarray, dormant: int, lost: int
) -> Count[tuple[np.ndarray, np.ndarray]]:
    """The question about these activities, dates (µs) and silences (µs)."""
    ask = partial(tally_states, counted=counted, dates=dates, dormant=dormant, lost=lost)
    return Count(of=ask, merge=join_states)


def lifecycle(
    sequences: Encoded,
    dormant: str = "90d",
    lost: str = "365d",
    activities: Sequence[str] | frozenset[str] | None = None,
    engine: Engine | None = None,
) -> pl.DataFrame:
    """How many cases are new, active, returned, dormant and lost at the end of each month, and now.

    dormant     silence after which a case is dormant; a case is new for so long after its first event, and
                returned for so long after an event that ended such a silence
    lost        silence after which it is lost
    activities  what counts as being heard of: names or patterns; None: every event
    Columns as LIFECYCLE_SCHEMA, a row per date and state; the last date is just after the newest event.
    share is of the cases that have begun by then.
    """
    dates, found, _ = _states(sequences, dormant, lost, activities, engine)
    n = len(STATES)
    frame = pl.DataFrame(
        {
            "date": pl.Series(np.repeat(dates, n)).cast(pl.Datetime("us")).dt.replace_time_zone("UTC"),
            "state": list(STATES) * len(dates),
            "cases": found.ravel(),
            "share": (found / np.maximum(found.sum(axis=1, keepdims=True), 1)).ravel(),
        },
        schema=LIFECYCLE_SCHEMA,
    )
    return frame


def lifecycle_states(
    sequences: SequenceSet,
    dormant: str = "90d",
    lost: str = "365d",
    activities: Sequence[str] | frozenset[str] | None = None,
    engine: Engine | None = None,
) -> pl.DataFrame:
    """The state of each case just after the newest event of the log: case_id, state.

    Settings as for `lifecycle`; state is null for a case without any of the activities.
    """
    *_, final = _states(sequences, dormant, lost, activities, engine)
    names = pl.Series([None, *STATES], dtype=pl.String)
    return pl.DataFrame(
        {"case_id": sequences.case_ids, "state": names.gather(pl.Series(final.astype(int) + 1))}
    )


def _states(
    sequences: Encoded,
    dormant: str,
    lost: str,
    activities: Sequence[str] | frozenset[str] | None,
    engine: Engine | None,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    counted = _counted(sequences, activities)
    limits = [round(seconds(text) * 1e6) for text in (dormant, lost)]
    if not 0 < limits[0] < limits[1]:
        raise JobError(
            f"dormant after {dormant} and lost after {lost}", hint="lost takes longer than dormant"
        )
    engine = LocalEngine() if engine is None else engine
    oldest, newest = engine.run(SPAN, sequences)
    bounds = month_bounds(oldest, newest + 1)[1:]
    dates = np.append(bounds[bounds <= newest], newest + 1)
    found, final = engine.run(states_count(counted, dates, *limits), sequences)
    return dates, found, final


def _counted(sequences: Encoded, activities: Sequence[str] | frozenset[str] | None) -> np.ndarray:
    """bool (n_activities,): what counts; a frozenset holds names as they are, without patterns."""
    if not sequences.timed:
        raise JobError("this log has no clock", hint="retention and lifecycle need times")
    if activities is None:
        return np.ones(len(sequences.vocabulary), dtype=bool)
    if isinstance(activities, frozenset):
        return np.array([name in activities for name in sequences.vocabulary.names])
    return np.asarray(members(sequences.vocabulary, activities).any(axis=0))
