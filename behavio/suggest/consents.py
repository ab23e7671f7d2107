"""Who may be contacted through which channel, and about which product.

The latest statement counts, "never" counts for ever. A statement may be about one product: then it is kept
apart from those about every product. Without a statement of its own a product goes by those about every
product. What a person said about a product closes it, whatever she said about the others; an opt-in for it
opens it as long as nothing later closes every product.
"""

from __future__ import annotations

import polars as pl

COVERS: dict[str, tuple[str, ...]] = {"call": ("f2f", "video", "phone"), "approved_email": ("email",)}
"""Channels of consents that stand for several channels of events."""

EVERY = "*"
CLOSED = ("refused", "never", "expired", "pending")
"""States that close a channel."""


def spoken_of(consents: pl.DataFrame) -> tuple[str, ...]:
    """The event channels for which somebody's opt-in was asked: there everybody needs one.

    A mere refusal (do not call) does not make a channel one that needs an opt-in.
    """
    asked = consents.filter(pl.col("state").str.to_lowercase().is_in(["opt_in", "pending"]))
    names = asked["channel"].drop_nulls().unique().sort().to_list()
    return tuple(sorted({c for n in names if n != EVERY for c in COVERS.get(n, (n,))}))


def consent_states(consents: pl.DataFrame, channels: list[str], as_of: int, until: int) -> pl.DataFrame:
    """The state of every (case, channel) with a statement about all products: case_id, channel, consent,
    stated.

    `as_of` and `until` are µs: statements after `as_of` are unknown, an opt-in must last past `until`.
    consent is granted, expired, pending, refused or never; an undated statement counts as the oldest.
    """
    found = _states(consents, channels, as_of, until).filter(pl.col("brand").is_null())
    return found.drop("brand")


def product_states(consents: pl.DataFrame, channels: list[str], as_of: int, until: int) -> pl.DataFrame:
    """The state of every (case, channel, brand) with a statement about that product: case_id, channel, brand,
    product_consent. Moments and states as in `consent_states`."""
    found = _states(consents, channels, as_of, until)
    whole = found.filter(pl.col("brand").is_null()).drop("brand")
    whole = whole.rename({"consent": "general", "stated": "general_stated"})
    own = found.filter(pl.col("brand").is_not_null())
    both = own.join(whole, on=["case_id", "channel"], how="left", maintain_order="left")
    closed = pl.col("general").is_in(CLOSED) & (pl.col("general_stated") > pl.col("stated"))
    closed = (closed | (pl.col("general") == "never")).fill_null(False)
    open_one = pl.col("consent") == "granted"
    return both.select(
        "case_id",
        "channel",
        "brand",
        product_consent=pl.when(open_one & closed).then("general").otherwise("consent"),
    )


def about_product(frame: pl.DataFrame, states: pl.DataFrame) -> pl.DataFrame:
    """Where a case said something about the brand of a row, that is its `consent`; adds `consent_product`.

    `frame` has case_id, channel, brand and consent; `states` is what `product_states` returns.
    """
    out = frame.join(states, on=["case_id", "channel", "brand"], how="left", maintain_order="left")
    said = pl.col("product_consent").is_not_null()
    never = (pl.col("consent") == "never").fill_null(False)
    known = pl.when(never).then("consent").otherwise(pl.coalesce("product_consent", "consent"))
    return out.with_columns(consent=known, consent_product=said & ~never).drop("product_consent")


def _states(consents: pl.DataFrame, channels: list[str], as_of: int, until: int) -> pl.DataFrame:
    """case_id, channel, brand, consent, stated; brand is null for statements about every product."""
    kinds = {n: pl.String() for n in ("case_id", "channel", "brand", "consent")} | {"stated": pl.Int64()}
    if consents.height == 0 or not channels:
        return pl.DataFrame(schema=kinds)
    if "brand" not in consents.columns:  # a log written before statements named products
        consents = consents.with_columns(brand=pl.lit(None, dtype=pl.String))
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
    last = said.sort("case_id", "for", "brand", "stated", "strict", "consent").group_by(
        "case_id", "for", "brand", maintain_order=True
    )
    states = last.agg(pl.col("consent", "stated").last(), pl.col("never").any())
    consent = pl.when("never").then(pl.lit("never")).otherwise(pl.col("consent"))
    return states.select(
        pl.col("case_id").cast(pl.String),
        pl.col("for").alias("channel"),
        pl.col("brand").cast(pl.String),
        consent.alias("consent"),
        "stated",
    )
