"""Measures of contact and response, counted from the events of an HCP log.

Definitions
  contact       a call (face to face, video, phone) or an email sent; a message shown is part of its call
  reached       has at least one contact
  opened        an email with at least one open before the next email of the same HCP, within 30 days; by the
                email's own id where the log carries one
  net reaction  (positive − negative) / all recorded reactions
Intervals are 95 %, from the spread between HCPs (one HCP's contacts are not independent).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import polars as pl

from behavio.report.run_tables import EMAIL_KEYS

VISITS = ("call_f2f", "call_video", "call_phone")
CONTACTS = (*VISITS, "email_sent")
REACTIONS = {"reaction_positive": 1, "reaction_neutral": 0, "reaction_negative": -1}
OPEN_WITHIN = timedelta(days=30)
Z = 1.959963984540054


@dataclass(frozen=True, slots=True)
class Estimate:
    """A value with its 95 % interval and how many it stands on."""

    value: float
    low: float
    high: float
    n: int


@dataclass(frozen=True, slots=True)
class Ratio:
    """Two rates and how many times one is the other."""

    times: Estimate
    rate: float
    n: int
    other_rate: float
    other_n: int
    cases: int


def newest(events: pl.DataFrame) -> Any:
    """Time of the newest event."""
    return events["timestamp"].max()


def window(events: pl.DataFrame, start: datetime, end: datetime) -> pl.DataFrame:
    """Events from `start` up to and without `end`."""
    return events.filter((pl.col("timestamp") >= start) & (pl.col("timestamp") < end))


def contacts(events: pl.DataFrame) -> pl.DataFrame:
    """The contacts of a log."""
    return events.filter(pl.col("activity").is_in(CONTACTS))


def reached(events: pl.DataFrame) -> int:
    """Cases with at least one contact."""
    return int(contacts(events)["case_id"].n_unique())


def emails(events: pl.DataFrame) -> pl.DataFrame:
    """One row an email: case_id, timestamp, opened (bool)."""
    sent = events.filter(pl.col("activity") == "email_sent")
    opens = events.filter(pl.col("activity") == "email_open")
    for key in EMAIL_KEYS:
        if key in events.columns and opens.height and opens[key].null_count() == 0:
            hit = opens.select("case_id", key).unique().with_columns(opened=pl.lit(True))
            joined = sent.join(hit, on=["case_id", key], how="left")
            return joined.select("case_id", "timestamp", pl.col("opened").fill_null(False))
    # an open on the same second as the next email belongs to the earlier one only if that is nearer: backward
    sent = sent.select("case_id", "timestamp").with_row_index("email")
    last = (
        opens.select("case_id", pl.col("timestamp").alias("at"))
        .sort("at")
        .join_asof(
            sent.sort("timestamp"),
            left_on="at",
            right_on="timestamp",
            by="case_id",
            tolerance=OPEN_WITHIN,
            check_sortedness=False,
        )
    )
    hit = last.select("email").drop_nulls().unique().with_columns(opened=pl.lit(True))
    return sent.join(hit, on="email", how="left").select(
        "case_id", "timestamp", pl.col("opened").fill_null(False)
    )


def open_rate(mails: pl.DataFrame) -> Estimate | None:
    """Emails opened at least once, of those sent; None without emails."""
    return _rate(mails.group_by("case_id").agg(y=pl.col("opened").sum(), n=pl.len()))


def net_reaction(events: pl.DataFrame) -> Estimate | None:
    """Positive minus negative, over recorded reactions; None without reactions."""
    marked = events.filter(pl.col("activity").is_in(list(REACTIONS)))
    score = pl.col("activity").replace_strict(REACTIONS, return_dtype=pl.Int64)
    return _rate(marked.group_by("case_id").agg(y=score.sum(), n=pl.len()))


def _rate(by_case: pl.DataFrame) -> Estimate | None:
    """Sum of y over sum of n, its interval from the residuals of cases (ratio estimator)."""
    if by_case.height == 0:
        return None
    total = int(by_case["n"].sum())
    value = float(by_case["y"].sum()) / total
    left = (by_case["y"] - value * by_case["n"]).to_list()
    spread = math.fsum(r * r for r in left) * by_case.height / max(by_case.height - 1, 1)
    error = Z * math.sqrt(spread) / total
    return Estimate(value, max(value - error, -1.0), min(value + error, 1.0), total)


def opened_after_visit(
    events: pl.DataFrame, mails: pl.DataFrame, within: timedelta = timedelta(days=10)
) -> Ratio | None:
    """How often an email is opened when a visit came in the days before it, against when none did."""
    calls = events.filter(pl.col("activity").is_in(VISITS)).select(
        "case_id", pl.col("timestamp").alias("call")
    )
    if calls.height == 0 or mails.height == 0:
        return None
    marked = mails.sort("timestamp").join_asof(
        calls.sort("call"),
        left_on="timestamp",
        right_on="call",
        by="case_id",
        tolerance=within,
        check_sortedness=False,
    )
    after = pl.col("call").is_not_null()
    by_case = (
        marked.group_by("case_id")
        .agg(
            y1=(pl.col("opened") & after).sum(),
            n1=after.sum(),
            y0=(pl.col("opened") & ~after).sum(),
            n0=(~after).sum(),
        )
        .sort("case_id")
    )
    y1, n1, y0, n0 = (int(by_case[c].sum()) for c in ("y1", "n1", "y0", "n0"))
    if min(y1, y0) == 0 or min(n1, n0) == 0:
        return None
    p1, p0 = y1 / n1, y0 / n0
    pull = (by_case["y1"] - p1 * by_case["n1"]) / y1 - (by_case["y0"] - p0 * by_case["n0"]) / y0
    error = Z * math.sqrt(math.fsum(d * d for d in pull.to_list()))
    times = p1 / p0
    estimate = Estimate(times, times * math.exp(-error), times * math.exp(error), n1)
    return Ratio(estimate, p1, n1, p0, n0, by_case.filter(pl.col("n1") > 0).height)


def followed_up(events: pl.DataFrame, within: timedelta = timedelta(days=10)) -> Estimate | None:
    """Visits followed by an email within the days, of the visits that have so many days behind them."""
    end = newest(events)
    calls = events.filter(pl.col("activity").is_in(VISITS)).select("case_id", "timestamp")
    calls = calls.filter(pl.col("timestamp") <= end - within)
    sent = events.filter(pl.col("activity") == "email_sent").select(
        "case_id", pl.col("timestamp").alias("mail")
    )
    if calls.height == 0 or sent.height == 0:
        return None
    marked = calls.sort("timestamp").join_asof(
        sent.sort("mail"),
        left_on="timestamp",
        right_on="mail",
        by="case_id",
        strategy="forward",
        tolerance=within,
        check_sortedness=False,
    )
    followed = pl.col("mail").is_not_null()
    return _rate(marked.group_by("case_id").agg(y=followed.sum(), n=pl.len()).sort("case_id"))


def silent(events: pl.DataFrame, known: pl.Series, days: int = 60) -> pl.Series:
    """Cases without any contact in the last days of the log, sorted."""
    end = newest(events)
    recent = contacts(events).filter(pl.col("timestamp") > end - timedelta(days=days))
    heard = recent["case_id"].unique()
    return known.filter(~known.is_in(heard.implode())).unique().sort()


def visited_portal(events: pl.DataFrame) -> int:
    """Cases with at least one portal visit."""
    seen = events.filter(pl.col("activity").is_in(["portal_visit", "portal_download"]))
    return int(seen["case_id"].n_unique())
