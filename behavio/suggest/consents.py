"""Who may be contacted through which channel: the latest statement counts, "never" counts for ever."""

from __future__ import annotations

import polars as pl

COVERS: dict[str, tuple[str, ...]] = {"call": ("f2f", "video", "phone"), "approved_email": ("email",)}
"""Channels of consents that stand for several channels of events."""

EVERY = "*"


def spoken_of(consents: pl.DataFrame) -> tuple[str, ...]:
    """The event channels for which somebody's opt-in was asked: there everybody needs one.

    A mere refusal (do not call) does not make a channel one that needs an opt-in.
    """
    asked = consents.filter(pl.col("state").str.to_lowercase().is_in(["opt_in", "pending"]))
    names = asked["channel"].drop_nulls().unique().sort().to_list()
    return tuple(sorted({c for n in names if n != EVERY for c in COVERS.get(n, (n,))}))


def consent_states(consents: pl.DataFrame, channels: list[str], as_of: int, until: int) -> pl.DataFrame:
    """The state of every (case, channel) that has a statement: case_id, channel, consent, stated.

    `as_of` and `until` are µs: statements after `as_of` are unknown, an opt-in must last past `until`.
    consent is granted, expired, pending, refused or never; an undated statement counts as the oldest.
    """
    kinds = {"case_id": pl.String(), "channel": pl.String(), "consent": pl.String(), "stated": pl.Int64()}
    if consents.height == 0 or not channels:
        return pl.DataFrame(schema=kinds)
    covers = {c: {c, EVERY, *(k for k, v in COVERS.items() if c in v)} for c in channels}
    pairs = [(name, channel) for channel, names in covers.items() for name in sorted(names)]
    table = pl.DataFrame({"said": [p[0] for p in pairs], "for": [p[1] for p in pairs]})
    stated = pl.col("timestamp").dt.epoch("us").fill_null(-(2**62))
    ends = pl.col("expires").dt.epoch("us")
    state = pl.col("state").str.to_lowercase()
    said = (
        consents.with_columns(stated=stated, ends=ends, state=state)
        .filter(pl.col("stated") <= as_of)
        .join(table, left_on="channel", right_on="said", how="inner")
    )
    opted = (
        pl.when((pl.col("ends") <= until).fill_null(False))
        .then(pl.lit("expired"))
        .otherwise(pl.lit("granted"))
    )
    meaning = (
        pl.when(pl.col("state") == "opt_in")
        .then(opted)
        .when(pl.col("state") == "pending")
        .then(pl.lit("pending"))
    )
    said = said.with_columns(
        consent=meaning.otherwise(pl.lit("refused")),
        # of two statements made at one moment the stricter one counts
        strict=(pl.col("state") != "opt_in"),
        never=(pl.col("state") == "never"),
    )
    last = said.sort("case_id", "for", "stated", "strict", "consent").group_by(
        "case_id", "for", maintain_order=True
    )
    states = last.agg(pl.col("consent", "stated").last(), pl.col("never").any())
    consent = pl.when("never").then(pl.lit("never")).otherwise(pl.col("consent"))
    return states.select(
        pl.col("case_id").cast(pl.String), pl.col("for").alias("channel"), consent.alias("consent"), "stated"
    )
