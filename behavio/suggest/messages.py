"""Which message a contact should carry: what was shown, how it was taken, what a case has had enough of.

A message counts as shown by an action when the contact itself names it, or when a part of the contact (a
message shown, a recorded reaction) names it within two hours on the same channel. It worked when the
recorded reaction is positive or, where none is recorded, when a response follows in the response window.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import polars as pl

from behavio.suggest.rules import TIRED_AFTER
from behavio.suggest.scoring import strength
from behavio.suggest.settings import SuggestSettings, microseconds
from behavio.suggest.situations import Situations, observed_until
from behavio.suggest.timeline import as_categories, as_texts

SAME_CONTACT_US = 2 * 3_600_000_000
"""Parts of a contact come within two hours of it."""

PART = 500_000
"""Events whose messages are matched at once."""

CHOICES = 12
"""Messages considered per action and brand."""


def shown_messages(situations: Situations, actions: Sequence[str], settings: SuggestSettings) -> pl.DataFrame:
    """Every message shown: case, action, message, brand, us, position, worked (null: open).

    Texts stand as categories, rows in the order of the log.
    """
    t = situations.timeline
    columns = ["case", "activity", "channel", "team", "message", "brand", "reaction", "position"]
    slim = t.events.select(*columns, us=pl.col("timestamp").dt.epoch("us"))
    parts = []
    for start in range(0, max(slim.height, 1), PART):
        # whole cases only
        first, stop = (np.searchsorted(t.case, t.case[start]), start + PART) if slim.height else (0, 0)
        stop = slim.height if stop >= slim.height else int(np.searchsorted(t.case, t.case[stop]))
        parts.append(as_categories(_shown(as_texts(slim[int(first) : stop]), situations, actions, settings)))
    return pl.concat(parts)


def _shown(
    events: pl.DataFrame, situations: Situations, actions: Sequence[str], settings: SuggestSettings
) -> pl.DataFrame:
    """`shown_messages` of some whole cases."""
    t = situations.timeline
    named = pl.col("message").is_not_null() & (pl.col("team") != "medical").fill_null(True)
    part = pl.col("activity").is_in(settings.parts_of_contact) | pl.col("reaction").is_not_null()
    frame = events.filter(named)
    own = frame.filter(pl.col("activity").is_in(list(actions))).with_columns(action=pl.col("activity"))
    inside = frame.filter(part & ~pl.col("activity").is_in(list(actions))).sort("us", "position")
    touches = events.select("case", "us", "channel", "position", action="activity")
    touches = touches.filter(pl.col("action").is_in(list(actions))).sort("us", "position")
    matched = inside.join_asof(
        touches.select("case", "us", "channel", "action"),
        on="us",
        by=["case", "channel"],
        tolerance=SAME_CONTACT_US,
        check_sortedness=False,
    ).filter(pl.col("action").is_not_null())
    shown = pl.concat([own, matched], how="diagonal_relaxed").sort("position")
    case, time, position = (shown[c].to_numpy() for c in ("case", "us", "position"))
    end = time + situations.window_us
    answered = t.success.rank(case, end) > t.success.rank(case, time)
    reaction = pl.col("reaction").str.to_lowercase()
    later = pl.when(pl.Series(end <= observed_until(t))).then(pl.Series(answered))
    worked = pl.when(reaction.is_not_null()).then(reaction == "positive").otherwise(later)
    columns = ["case", "action", "message", "brand", "us"]
    return shown.select(*columns, pl.Series("position", position), worked=worked)


def message_scores(shown: pl.DataFrame) -> pl.DataFrame:
    """Per action and message: n, k, score (share that worked, shrunken to the action's), brand, last_us."""
    known = pl.col("worked").is_not_null()
    scores = (
        shown.group_by("action", "message")
        .agg(
            known.sum().cast(pl.Int64).alias("n"),
            pl.col("worked").sum().cast(pl.Int64).alias("k"),
            pl.col("brand").drop_nulls().mode().sort().first().alias("brand"),
            pl.col("us").max().alias("last_us"),
        )
        .sort("action", "message")
    )
    scores = as_texts(scores)
    parts = []
    for (_,), group in scores.group_by("action", maintain_order=True):
        k, n = group["k"].to_numpy().astype(float), group["n"].to_numpy().astype(float)
        mean = np.full(len(k), (k.sum() + 0.5) / (n.sum() + 1))
        prior = strength(k, n, mean)
        parts.append(group.with_columns(score=(k + prior * mean) / (n + prior)))
    return pl.concat(parts) if parts else scores.with_columns(score=pl.lit(0.0))


def tired_of(shown: pl.DataFrame) -> pl.DataFrame:
    """(case, message) shown three times or more that did not work the last time, and how often."""
    once = shown.unique(["case", "message", "position"], keep="first").sort("position")
    times = once.group_by("case", "message").agg(
        pl.len().cast(pl.Int64).alias("times"),
        pl.col("worked").drop_nulls().last().alias("pleased"),
    )
    pleased = pl.col("pleased").fill_null(False)
    return times.filter((pl.col("times") >= TIRED_AFTER) & ~pleased).select("case", "message", "times")


def choose_messages(
    candidates: pl.DataFrame,
    shown: pl.DataFrame,
    as_of: int,
    settings: SuggestSettings,
    unwanted: pl.DataFrame | None = None,
    scores: pl.DataFrame | None = None,
) -> pl.DataFrame:
    """Add message, brand, message_n, message_score, messages (how many were considered) and messages_ever.

    `candidates` has case, action, case_brand; `unwanted` (case, message) was turned down by a rep; `scores`
    are those over all cases where `candidates` and `shown` are a part of them. Messages of the case's own
    brand come first, then by score, then by name; what the case is tired of is left out. An action that never
    named a message gets none.
    """
    scores = message_scores(shown) if scores is None else scores
    ever = scores.group_by("action").agg(pl.len().cast(pl.Int64).alias("messages_ever"))
    scores = scores.filter(
        (pl.col("last_us") > as_of - microseconds(settings.message_fresh))
        & ~pl.col("message").is_in(settings.expired_messages)
    )
    scores = scores.sort(["action", "score", "message"], descending=[False, True, False])
    overall = scores.group_by("action", maintain_order=True).head(CHOICES).with_columns(wanted=pl.lit(""))
    branded = scores.filter(pl.col("brand").is_not_null()).with_columns(wanted=pl.col("brand"))
    branded = branded.group_by("action", "brand", maintain_order=True).head(CHOICES).select(overall.columns)
    lists = pl.concat([overall, branded])
    has_list = branded.select("action", "wanted").unique().with_columns(found=pl.lit(True))
    keys = candidates.select("case", "action", wanted=pl.col("case_brand").fill_null(""))
    keys = keys.join(has_list, on=["action", "wanted"], how="left")
    keys = keys.with_columns(wanted=pl.when("found").then("wanted").otherwise(pl.lit(""))).drop("found")
    offers = keys.join(lists, on=["action", "wanted"], how="inner").with_columns(
        messages=pl.len().over("case", "action").cast(pl.Int64)
    )
    fresh = offers.join(as_texts(tired_of(shown)), on=["case", "message"], how="anti")
    if unwanted is not None:
        fresh = fresh.join(unwanted, on=["case", "message"], how="anti")
    fresh = fresh.sort(["case", "action", "score", "message"], descending=[False, False, True, False])
    best = fresh.unique(["case", "action"], keep="first", maintain_order=True).select(
        "case",
        "action",
        "message",
        pl.col("brand").alias("message_brand"),
        pl.col("n").alias("message_n"),
        pl.col("score").alias("message_score"),
    )
    counts = offers.select("case", "action", "messages").unique()
    out = candidates.join(counts, on=["case", "action"], how="left", maintain_order="left")
    out = out.join(best, on=["case", "action"], how="left", maintain_order="left")
    out = out.join(ever, on="action", how="left", maintain_order="left")
    return out.with_columns(
        pl.col("messages", "messages_ever").fill_null(0), brand=pl.coalesce("message_brand", "case_brand")
    ).drop("message_brand")
