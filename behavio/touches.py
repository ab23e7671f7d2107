"""Contacts of a log and whether they were answered, with intervals whose uncertainty comes from the cases."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence

import numpy as np
import polars as pl

from behavio.contrasts import RatioSums, Z, wilson
from behavio.durations import seconds
from behavio.errors import JobError, LogError

REFUSALS = ("email_unsubscribe",)
PARTS = ("message_shown",)
"""Outbound activities that belong to another contact and are none of their own."""
SMALLEST = 10
"""No figure is told of fewer cases."""


def columns_of(events: pl.DataFrame) -> pl.DataFrame:
    """case_id, activity, timestamp, event_index, channel, direction, reaction; null where one is missing."""
    text = ("channel", "direction", "reaction")
    missing = [pl.lit(None, dtype=pl.String).alias(c) for c in text if c not in events.columns]
    return events.with_columns(missing).select(
        pl.col("case_id", "activity", *text).cast(pl.String), "timestamp", "event_index"
    )


def is_answer(answers: Sequence[str] = ()) -> pl.Expr:
    """Events that answer: these activities, or inbound ones, no reaction in a contact and no refusal."""
    if answers:
        return pl.col("activity").is_in(list(answers))
    inbound = (pl.col("direction") == "inbound").fill_null(False)
    return inbound & pl.col("reaction").is_null() & ~pl.col("activity").is_in(REFUSALS)


def touches(events: pl.DataFrame, within: str, answers: Sequence[str] = ()) -> pl.DataFrame:
    """Every contact: case_id, activity, channel, timestamp, answered, settled.

    within    an answer counts so long after the contact, as a duration
    answers   activities that answer, see `is_answer`
    settled   the log goes on for as long, so that no answer can still come
    Raises LogError for a log without outbound events, JobError for an answer that is no activity.
    """
    known = columns_of(events)
    unknown = [a for a in answers if a not in set(known["activity"].unique())]
    if unknown:
        names = ", ".join(known["activity"].unique().sort().to_list()[:20])
        raise JobError(f"the answer {unknown[0]!r} is no activity of the log", hint=f"activities: {names}")
    contact = (pl.col("direction") == "outbound").fill_null(False) & ~pl.col("activity").is_in(PARTS)
    own = known.filter(contact).sort("timestamp", "case_id", "event_index")
    if own.height == 0:
        raise LogError("the log holds no outbound contact", hint="contacts need the column direction")
    came = known.filter(is_answer(answers)).select("case_id", "timestamp", answer="timestamp")
    both = own.join_asof(
        came.sort("timestamp"), on="timestamp", by="case_id", strategy="forward", check_sortedness=False
    )
    limit = dt.timedelta(seconds=seconds(within))
    newest = known["timestamp"].max()
    return both.select(
        "case_id",
        "activity",
        "channel",
        "timestamp",
        answered=(pl.col("answer") - pl.col("timestamp") <= limit).fill_null(False),
        settled=pl.col("timestamp") + limit <= newest,
    ).sort("case_id", "timestamp", maintain_order=True)


def sums_of(x: np.ndarray, n: np.ndarray) -> RatioSums:
    """What a ratio Σx / Σn and its variance between cases come from; x, n float64 (cases,), n > 0."""
    sums = (x.sum(), n.sum(), (x * x).sum(), (x * n).sum(), (n * n).sum(), len(n), (x > 0).sum())
    a, b, aa, ab, bb, cases, hits = (np.array([v]) for v in sums)
    return RatioSums(a, b, aa, ab, bb, cases, hits)


def ratio(x: np.ndarray, n: np.ndarray) -> tuple[float, float, float]:
    """Σx / Σn over cases and its 95 % interval; NaN without any n.

    x, n  float64 (cases,). Where cases do not differ, the interval is Wilson's over the cases (shares only).
    """
    keep = n > 0
    x, n = x[keep].astype(float), n[keep].astype(float)
    if not len(n):
        return float("nan"), float("nan"), float("nan")
    sums = sums_of(x, n)
    value, wide = float(sums.value[0]), Z * float(np.sqrt(sums.variance[0]))
    if wide > 1e-12:
        return value, max(value - wide, 0.0), value + wide
    low, high = wilson(np.array([min(max(value, 0.0), 1.0) * len(n)]), np.array([len(n)]))
    return value, min(float(low[0]), value), max(float(high[0]), value)


def mean(y: np.ndarray) -> tuple[float, float, float]:
    """Mean over cases and its 95 % interval."""
    value = float(y.mean()) if len(y) else float("nan")
    wide = Z * float(y.std(ddof=1) / np.sqrt(len(y))) if len(y) > 1 else float("nan")
    return value, value - wide, value + wide
