"""What a case answers to: shrunken shares with an interval, per case and channel, and per kind of content."""

from __future__ import annotations

import numpy as np
import polars as pl

from behavio.suggest.scoring import strength
from behavio.suggest.settings import SuggestSettings
from behavio.suggest.situations import observed_until
from behavio.suggest.timeline import Timeline

AFFINITY_SCHEMA: dict[str, pl.DataType] = {
    "case_id": pl.String(),
    "channel": pl.String(),
    "contacts": pl.Int64(),
    "responses": pl.Int64(),
    "affinity": pl.Float64(),
    "low": pl.Float64(),
    "high": pl.Float64(),
    "usual": pl.Float64(),
    "counted": pl.String(),
}
"""affinity is the shrunken share of contacts answered within the window, low–high its 95 % interval,
usual the share over all cases; counted says whether an answer had to come on the same channel."""


CONTENT_SCHEMA: dict[str, pl.DataType] = {
    "case_id": pl.String(),
    "content": pl.String(),
    "reactions": pl.Int64(),
    "positive": pl.Int64(),
    "affinity": pl.Float64(),
    "low": pl.Float64(),
    "high": pl.Float64(),
    "usual": pl.Float64(),
}
"""affinity is the shrunken share of recorded reactions to this kind of content that were positive."""


def content_affinity(events: pl.DataFrame, settings: SuggestSettings) -> pl.DataFrame:
    """CONTENT_SCHEMA, one row per case and kind of content (category of a message) with a recorded reaction.

    What the medical team heard is left out. Beta-binomial empirical Bayes towards the share of all cases.
    """
    if not {"content", "reaction"} <= set(events.columns):
        return pl.DataFrame(schema=CONTENT_SCHEMA)
    noted = pl.col("content").is_not_null() & pl.col("reaction").is_not_null()
    if "team" in events.columns:
        noted &= (pl.col("team") != "medical").fill_null(True)
    liked = pl.col("reaction").cast(pl.String).str.to_lowercase().str.starts_with("positiv")
    counts = (
        events.filter(noted)
        .group_by(pl.col("case_id", "content").cast(pl.String))
        .agg(pl.len().cast(pl.Int64).alias("reactions"), liked.sum().cast(pl.Int64).alias("positive"))
        .sort("content", "case_id")
    )
    parts = []
    for _, group in counts.group_by("content", maintain_order=True):
        n, k = group["reactions"].to_numpy(), group["positive"].to_numpy()
        usual, values = shrunken(n, k)
        parts.append(group.with_columns(**{c: pl.Series(v) for c, v in values.items()}, usual=pl.lit(usual)))
    table = pl.concat(parts) if parts else pl.DataFrame(schema=CONTENT_SCHEMA)
    return table.select(pl.col(c).cast(t) for c, t in CONTENT_SCHEMA.items()).sort("case_id", "content")


def shrunken(n: np.ndarray, k: np.ndarray) -> tuple[float, dict[str, np.ndarray]]:
    """The usual share, and the share of each row shrunken towards it: affinity, low, high (95 %)."""
    from scipy.special import betaincinv

    usual = float(k.sum() / n.sum()) if n.sum() else 0.0
    centre = np.clip(usual, 1e-3, 1 - 1e-3)
    prior = strength(k.astype(float), n.astype(float), np.full(len(n), centre)) if len(n) else 1.0
    # few distinct (n, k) pairs stand for many cases: the slow quantiles are taken once each
    pairs, which = np.unique(np.stack([n, k], axis=1), axis=0, return_inverse=True)
    a, b = prior * centre + pairs[:, 1], prior * (1 - centre) + pairs[:, 0] - pairs[:, 1]
    which = which.reshape(-1)
    low, high = betaincinv(a, b, 0.025), betaincinv(a, b, 0.975)
    return usual, {"affinity": (a / (a + b))[which], "low": low[which], "high": high[which]}


def channel_affinity(timeline: Timeline, settings: SuggestSettings) -> pl.DataFrame:
    """AFFINITY_SCHEMA, one row per case and channel with at least one contact whose window is over.

    An answer is an inbound event on the channel of the contact; where a channel has none in the whole
    log, any inbound event counts. Beta-binomial empirical Bayes towards the share of all cases.
    """
    touches = timeline.of(timeline.touches, "channel", "team")
    # what the medical team hears stays with the medical team
    touch_channel = touches.select(
        pl.when((pl.col("team") != "medical").fill_null(True)).then("channel")
    ).to_series()
    came = np.zeros(timeline.events.height, dtype=bool)
    came[timeline.inbound.position] = True
    parts = []
    for channel in touch_channel.drop_nulls().unique().sort().to_list():
        on_channel = (timeline.events["channel"] == channel).fill_null(False).to_numpy()
        same = bool((came & on_channel).any())
        answers = timeline.moments(pl.Series(came & on_channel if same else came))
        position = timeline.touches.position[(touch_channel == channel).fill_null(False).to_numpy()]
        case, end = timeline.case[position], timeline.time[position] + settings.window_us
        over = end <= observed_until(timeline)
        answered = answers.rank(case, end) > answers.ahead(position)
        n = np.bincount(case[over], minlength=timeline.n_cases)
        k = np.bincount(case[over], answered[over], minlength=timeline.n_cases).astype(np.int64)
        parts.append(_shrunken(timeline, channel, n, k, "same channel" if same else "any response"))
    table = pl.concat(parts) if parts else pl.DataFrame(schema=AFFINITY_SCHEMA)
    return table.sort("case_id", "channel")


def _shrunken(timeline: Timeline, channel: str, n: np.ndarray, k: np.ndarray, counted: str) -> pl.DataFrame:
    contacted = np.flatnonzero(n)
    n, k = n[contacted], k[contacted]
    usual, values = shrunken(n, k)
    return pl.DataFrame(
        {
            "case_id": timeline.case_ids.gather(contacted),
            "channel": pl.Series([channel] * len(n), dtype=pl.String),
            "contacts": n,
            "responses": k,
            **values,
            "usual": np.full(len(n), usual),
            "counted": pl.Series([counted] * len(n), dtype=pl.String),
        },
        schema=AFFINITY_SCHEMA,
    )
