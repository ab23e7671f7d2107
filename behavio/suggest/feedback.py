"""What became of earlier suggestions: executed, turned down (and why), ignored, or still open.

Feedback comes back as events of the log (`suggestion_actioned`, `suggestion_dismissed`, …). They name their
suggestion by `suggestion_id`; what it was is looked up in the suggestions of the earlier run. Without that
the record type in `content` ("Call_vod") or the `channel` of the event says which actions are meant, and
where nothing does every action of the case is. A suggestion whose action was done between its first and its
last day was executed, whoever noted it.
"""

from __future__ import annotations

import polars as pl

from behavio.suggest.rules import CALLS
from behavio.suggest.settings import SuggestSettings
from behavio.suggest.timeline import Timeline

FEEDBACK_SCHEMA: dict[str, pl.DataType] = {
    "case_id": pl.String(),
    "suggestion_id": pl.String(),
    "action": pl.String(),
    "channel": pl.String(),
    "message": pl.String(),
    "owner_id": pl.String(),
    "state": pl.String(),
    "reason": pl.String(),
    "meaning": pl.String(),
    "at": pl.Datetime("us", "UTC"),
    "ignored": pl.Int64(),
}
"""feedback.parquet: one row per earlier suggestion or act of feedback. state is executed, dismissed, ignored
or open; ignored counts how often in a row the action has been ignored for this case, this time included."""

MEDIUM = {"call": CALLS, "email": ("email",)}


def read_feedback(
    timeline: Timeline, settings: SuggestSettings, previous: pl.DataFrame | None
) -> pl.DataFrame:
    """FEEDBACK_SCHEMA, in order of cases, actions and time."""
    said = _said(timeline, settings)
    if previous is None or previous.height == 0:
        return _shaped(said.with_columns(action=pl.lit(None, dtype=pl.String)))
    known = previous.select(
        pl.col("suggestion_id", "action", "message").cast(pl.String),
        pl.col("case_id").cast(pl.String).alias("of_case"),
        pl.col("channel").cast(pl.String).alias("its_channel"),
        pl.col("owner_id").cast(pl.String),
        "due_from",
        "expires_on",
        (pl.col("ignored") if "ignored" in previous.columns else pl.lit(0)).cast(pl.Int64).alias("before"),
    ).unique("suggestion_id", keep="first", maintain_order=True)
    linked = said.join(known, on="suggestion_id", how="left", maintain_order="left")
    linked = linked.with_columns(channel=pl.coalesce("its_channel", "channel"))
    last = linked.filter(pl.col("of_case").is_not_null()).sort("at").group_by("suggestion_id").last()
    rest = known.join(last.select("suggestion_id"), on="suggestion_id", how="anti", maintain_order="left")
    rest = _unsaid(rest, timeline)
    return _shaped(pl.concat([linked, rest], how="diagonal_relaxed"))


def _said(t: Timeline, settings: SuggestSettings) -> pl.DataFrame:
    """The acts of feedback in the log."""
    acts = t.moments(t.events["activity"].is_in([*settings.executed, *settings.dismissed]))
    columns = t.events.columns
    events = t.of(acts, *columns, "case_id")
    text = {
        n: (pl.col(n) if n in columns else pl.lit(None)).cast(pl.String)
        for n in ("suggestion_id", "content", "channel", settings.dismissal_column)
    }
    reason = text[settings.dismissal_column]
    table = events.select(
        "case_id",
        suggestion_id=text["suggestion_id"],
        channel=text["channel"],
        medium=text["content"].str.to_lowercase().str.extract(r"^(call|email)"),
        reason=reason,
        at="timestamp",
        state=pl.when(pl.col("activity").is_in(settings.dismissed))
        .then(pl.lit("dismissed"))
        .otherwise(pl.lit("executed")),
    )
    meanings = {k.lower(): v for k, v in settings.dismissal_reasons.items()}
    meaning = pl.lit("rest")
    for said, meant in sorted(meanings.items()):
        meaning = pl.when(pl.col("reason").str.to_lowercase() == said).then(pl.lit(meant)).otherwise(meaning)
    return table.with_columns(
        channel=pl.coalesce("channel", "medium"),
        meaning=pl.when(pl.col("state") == "dismissed").then(meaning),
    )


def _unsaid(rest: pl.DataFrame, t: Timeline) -> pl.DataFrame:
    """Suggestions nobody commented: executed when the action was done, else ignored or still open."""
    rest = rest.rename({"of_case": "case_id", "its_channel": "channel"})
    done = t.of(t.touches, "case_id", "activity", "timestamp")
    done = done.rename({"activity": "action", "timestamp": "done"})
    both = rest.join(done, on=["case_id", "action"], how="inner")
    day = pl.col("done").dt.date()
    inside = both.filter((day >= pl.col("due_from")) & (day <= pl.col("expires_on")))
    first = inside.group_by("suggestion_id").agg(pl.col("done").min())
    rest = rest.join(first, on="suggestion_id", how="left", maintain_order="left")
    today = pl.lit(t.as_of).cast(pl.Datetime("us")).dt.date()
    state = (
        pl.when(pl.col("done").is_not_null())
        .then(pl.lit("executed"))
        .when(pl.col("expires_on") >= today)
        .then(pl.lit("open"))
        .otherwise(pl.lit("ignored"))
    )
    return rest.with_columns(state=state, at=pl.col("done"))


def _shaped(rows: pl.DataFrame) -> pl.DataFrame:
    before = pl.col("before") if "before" in rows.columns else pl.lit(0)
    rows = rows.with_columns(
        ignored=pl.when(pl.col("state") == "ignored").then(before.fill_null(0) + 1).otherwise(0)
    )
    missing = [pl.lit(None).alias(c) for c in FEEDBACK_SCHEMA if c not in rows.columns]
    rows = rows.with_columns(missing).select(pl.col(c).cast(t) for c, t in FEEDBACK_SCHEMA.items())
    return rows.sort("case_id", "action", "at", "suggestion_id", "state", nulls_last=True)


def dismissals(feedback: pl.DataFrame, actions: pl.DataFrame, as_of: int) -> pl.DataFrame:
    """Per case and action with any feedback: dismissed (times), dismissed_days (since the last one),
    unwanted (turned down for good), executed_days (since one was last followed), ignored (times in a row)."""
    named = feedback.filter(pl.col("action").is_not_null()).drop("channel")
    vague = feedback.filter(pl.col("action").is_null()).drop("action")
    meant = actions.select("action", media=pl.col("channel"))
    call = pl.col("media").is_in(CALLS) & (pl.col("channel") == "call")
    both = vague.join(meant, how="cross").filter(
        pl.col("channel").is_null() | call | (pl.col("media") == pl.col("channel"))
    )
    # turned down for its channel: every other action of the channel is meant too
    wide = feedback.filter(pl.col("action").is_not_null() & (pl.col("meaning") == "channel"))
    others = wide.rename({"action": "own"}).join(meant, how="cross")
    others = others.filter((pl.col("media") == pl.col("channel")) & (pl.col("action") != pl.col("own")))
    rows = pl.concat([named, both, others], how="diagonal_relaxed")
    turned_down = (pl.col("state") == "dismissed") & (pl.col("meaning") != "none")
    days = (pl.lit(as_of) - pl.col("at").dt.epoch("us")) / 86_400_000_000
    return rows.group_by("case_id", "action").agg(
        turned_down.sum().cast(pl.Int64).alias("dismissed"),
        days.filter(turned_down).min().alias("dismissed_days"),
        (turned_down & pl.col("meaning").is_in(["never", "channel"])).any().alias("unwanted"),
        days.filter(pl.col("state") == "executed").min().alias("executed_days"),
        pl.col("ignored").max(),
    )


def unwanted_messages(feedback: pl.DataFrame) -> pl.DataFrame:
    """(case_id, message) that was turned down for its message."""
    meant = (pl.col("meaning") == "message") & pl.col("message").is_not_null()
    return feedback.filter(meant).select("case_id", "message").unique().sort("case_id", "message")


def adherence(feedback: pl.DataFrame) -> pl.DataFrame:
    """Per owner, and over all (owner_id null): n, executed, dismissed, ignored, open, adherence.

    adherence is the share executed or dismissed among those no longer open; null where all are open.
    """
    states = ("executed", "dismissed", "ignored", "open")
    counts = [(pl.col("state") == s).sum().cast(pl.Int64).alias(s) for s in states]
    told = feedback.filter(pl.col("suggestion_id").is_not_null())
    own = told.filter(pl.col("owner_id").is_not_null()).group_by("owner_id").agg(pl.len().alias("n"), *counts)
    whole = told.select(pl.len().alias("n"), *counts).with_columns(owner_id=pl.lit(None, dtype=pl.String))
    table = pl.concat([whole.select(own.columns), own.sort("owner_id")], how="vertical_relaxed")
    over = pl.col("n") - pl.col("open")
    share = (pl.col("executed") + pl.col("dismissed")) / over
    return table.with_columns(pl.col("n").cast(pl.Int64), adherence=pl.when(over > 0).then(share))
