"""Where a case stands: stage, pressure band, contacts by channel, team and country, what she turned down."""

from __future__ import annotations

from dataclasses import replace
from difflib import get_close_matches

import polars as pl

from behavio.errors import JobError
from behavio.log import EventLog
from behavio.suggest.candidates import Offers
from behavio.suggest.feedback import dismissals
from behavio.suggest.found import Found
from behavio.suggest.rules import CALLS
from behavio.suggest.settings import DAY_US, SuggestSettings
from behavio.suggest.timeline import PRESSURE_DAYS, Timeline


def add_standing(
    offers: Offers,
    t: Timeline,
    log: EventLog,
    settings: SuggestSettings,
    found: Found,
    feedback: pl.DataFrame,
) -> Offers:
    """Add to every candidate: stage, stage_sure, stage_since, stage_evidence; contacts, band_low, band_high;
    channel_28d, channel_cap, team_28d, team_cap, calls_365d, country, country_cap; in_a_row; specialty;
    sales_derived; dismissed, dismissed_days, unwanted, executed_days, ignored."""
    cases = _band(_stage(offers.cases, found.stages), found.pressure)
    cases = _of_case(cases, log, settings)
    calls, recent = _contacts(t)
    cases = cases.join(calls, on="case", how="left", maintain_order="left")
    lookups = (
        *recent,
        (_runs(t), ["case", "action"]),
        (dismissals(feedback, offers.actions, t.as_of), ["case_id", "action"]),
    )
    won = t.of(t.success, "direction")["direction"]
    sales = bool(t.objective.names) and not bool((won == "inbound").fill_null(False).all())
    counts = ("channel_28d", "team_28d", "calls_365d", "in_a_row", "dismissed", "ignored")
    finish = {c: pl.col(c).fill_null(0) for c in counts} | {
        "unwanted": pl.col("unwanted").fill_null(False),
        "sales_derived": pl.lit(sales),
        "channel_cap": _cap("channel", dict(settings.channel_caps)),
        "team_cap": _cap("team", dict(settings.team_caps)),
    }
    return replace(offers, cases=cases, lookups=(*offers.lookups, *lookups), finish=(*offers.finish, finish))


def _cap(column: str, caps: dict[str, int]) -> pl.Expr:
    """The cap that a column names; null without one."""
    none = pl.lit(None, dtype=pl.Int64)
    return pl.col(column).replace_strict(caps, default=None, return_dtype=pl.Int64) if caps else none


def _stage(frame: pl.DataFrame, stages: pl.DataFrame | None) -> pl.DataFrame:
    names = {
        "stage": "stage",
        "probability": "stage_sure",
        "since": "stage_since",
        "evidence": "stage_evidence",
    }
    if stages is None:
        kinds = (pl.String(), pl.Float64(), pl.Datetime("us", "UTC"), pl.String())
        return frame.with_columns(
            pl.lit(None, dtype=k).alias(n) for n, k in zip(names.values(), kinds, strict=True)
        )
    own = stages.select(pl.col("case_id").cast(pl.String), *names).rename(names)
    own = own.unique("case_id", keep="first", maintain_order=True)
    return frame.join(own, on="case_id", how="left", maintain_order="left")


def _band(frame: pl.DataFrame, pressure: pl.DataFrame | None) -> pl.DataFrame:
    if pressure is None:
        none = pl.lit(None, dtype=pl.Float64)
        return frame.with_columns(contacts=pl.lit(None, dtype=pl.Int64), band_low=none, band_high=none)
    own = pressure.select(
        pl.col("case_id").cast(pl.String),
        pl.col("contacts").cast(pl.Int64),
        band_low=pl.col("low"),
        band_high=pl.col("high"),
    ).unique("case_id", keep="first", maintain_order=True)
    return frame.join(own, on="case_id", how="left", maintain_order="left")


def _contacts(t: Timeline) -> tuple[pl.DataFrame, tuple[tuple[pl.DataFrame, list[str]], ...]]:
    """Calls of a year per case; recent contacts by channel and by team."""
    touches = t.of(t.touches, "case", "channel", "team", "timestamp")
    us = pl.col("timestamp").dt.epoch("us")
    recent = touches.filter(us > t.as_of - PRESSURE_DAYS * DAY_US)
    n = pl.len().cast(pl.Int64)
    by_channel = recent.group_by("case", "channel").agg(n.alias("channel_28d"))
    by_team = recent.group_by("case", "team").agg(n.alias("team_28d"))
    calls = touches.filter(pl.col("channel").is_in(CALLS) & (us > t.as_of - 365 * DAY_US))
    return calls.group_by("case").agg(n.alias("calls_365d")), (
        (by_channel, ["case", "channel"]),
        (by_team, ["case", "team"]),
    )


def _of_case(frame: pl.DataFrame, log: EventLog, settings: SuggestSettings) -> pl.DataFrame:
    """Country and specialty of the case where the settings ask for them."""
    asked = {
        "country": (settings.country_column, bool(settings.country_caps)),
        "specialty": (settings.specialty_column, bool(settings.specialties)),
    }
    columns = {}
    for name, (column, wanted) in asked.items():
        if wanted and column not in log.cases.columns:
            near = get_close_matches(column, log.cases.columns, 1, 0.4)
            hint = f"did you mean {near[0]!r}?" if near else f"columns: {', '.join(log.cases.columns)}"
            raise JobError(f"the cases have no column {column!r}", hint=hint)
        columns[name] = (pl.col(column) if wanted else pl.lit(None)).cast(pl.String)
    own = log.cases.unique("case_id", keep="first", maintain_order=True)
    own = own.select(pl.col("case_id").cast(pl.String), **columns)
    frame = frame.join(own, on="case_id", how="left", maintain_order="left")
    return frame.with_columns(country_cap=_cap("country", dict(settings.country_caps)))


def _runs(t: Timeline) -> pl.DataFrame:
    """case, action, in_a_row: contacts since the last answer, where they were all this one action."""
    touches = t.of(t.touches, "case", "position", "activity").rename({"activity": "action"})
    came = t.of(t.inbound, "case", "position").group_by("case").agg(pl.col("position").max().alias("heard"))
    since = touches.join(came, on="case", how="left").filter(
        pl.col("heard").is_null() | (pl.col("position") > pl.col("heard"))
    )
    runs = since.group_by("case").agg(
        pl.col("action").first(),
        pl.len().cast(pl.Int64).alias("in_a_row"),
        pl.col("action").n_unique().alias("k"),
    )
    return runs.filter(pl.col("k") == 1).drop("k")
