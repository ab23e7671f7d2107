"""Another brand where the first one may not be spoken of: what is refused is told, the next best is asked.

A candidate speaks of the brand of its case. Where that brand is refused (consent per product), is not for the
specialty, or had each of its messages shown often enough, the same action is asked the same rules with the
best message of every other brand. The first one allowed takes the place; every brand refused before it is
recorded with its rule. What another rule forbids is forbidden with any brand, nothing is tried then. Other
channels are candidates of their own.
"""

from __future__ import annotations

from collections.abc import Callable

import polars as pl

from behavio.suggest.messages import CHOICES, tired_of
from behavio.suggest.settings import SuggestSettings, microseconds
from behavio.suggest.timeline import Timeline, as_texts

ABOUT_BRAND = (
    ((pl.col("rule") == "no_consent") & pl.col("consent_product"))
    | pl.col("rule").is_in(["wrong_specialty", "fatigue"])
).fill_null(False)
"""True where another brand could be allowed."""

CHOICE = ("message", "brand", "message_n", "message_score", "messages")
KEY = ("case", "action")


def brand_lists(scores: pl.DataFrame, t: Timeline, settings: SuggestSettings) -> pl.DataFrame:
    """action and CHOICE: the messages of each brand that may still be used, at most CHOICES, best first.

    `scores` are those of `message_scores`. An action that never carried a message speaks of the brands its
    contacts were about, without one; the share of its contacts is the score.
    """
    usable = (
        (pl.col("last_us") > t.as_of - microseconds(settings.message_fresh))
        & ~pl.col("message").is_in(settings.expired_messages)
        & pl.col("brand").is_not_null()
    )
    best = scores.filter(usable).sort(["action", "score", "message"], descending=[False, True, False])
    named = best.group_by("action", "brand", maintain_order=True).head(CHOICES)
    named = named.with_columns(
        messages=pl.len().over("action", "brand").cast(pl.Int64), message_n="n", message_score="score"
    )
    touches = t.events.select("activity", "brand", "team")[t.touches.position]
    promoting = (pl.col("team") != "medical").fill_null(True) & pl.col("brand").is_not_null()
    carried = touches.filter(promoting).group_by(pl.col("activity").alias("action"), "brand").len("message_n")
    carried = as_texts(carried).join(scores.select("action").unique(), on="action", how="anti")
    share = pl.col("message_n") / pl.col("message_n").sum().over("action")
    silent = carried.with_columns(
        message=pl.lit(None, dtype=pl.String), message_score=share, messages=pl.lit(0)
    )
    columns = ("action", *CHOICE)
    kinds = [pl.col("message_n", "messages").cast(pl.Int64), pl.col("message_score").cast(pl.Float64)]
    return pl.concat([f.select(columns).with_columns(kinds) for f in (named, silent)]).sort("action", "brand")


def instead(
    chosen: pl.DataFrame,
    judge: Callable[[pl.DataFrame], pl.DataFrame],
    lists: pl.DataFrame,
    shown: pl.DataFrame,
    unwanted: pl.DataFrame,
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """The candidates after `judge`, each with the first brand that is allowed, and the rows refused for it.

    `chosen` is what `choose_messages` returns, `shown` what its cases were shown, `unwanted` (case, message)
    what a rep turned down. A candidate with no allowed brand stays as it was judged; the other brands refused
    stand among the refused too.
    """
    judged = judge(chosen)
    stuck = judged.filter(ABOUT_BRAND)
    tries = stuck.select(*KEY, first="brand").join(lists, on="action", how="inner")
    tries = tries.filter(pl.col("brand").ne_missing(pl.col("first"))).drop("first")
    if tries.height == 0:
        return judged, judged.head(0)
    spent = pl.concat([f.select("case", "message") for f in (as_texts(tired_of(shown)), unwanted)])
    tries = tries.join(spent, on=["case", "message"], how="anti")
    tries = tries.sort(
        [*KEY, "message_score", "brand", "message"], descending=[False, False, True, False, False]
    )
    tries = tries.unique([*KEY, "brand"], keep="first", maintain_order=True)
    tries = tries.with_columns(place=pl.int_range(pl.len()).over(KEY))
    rows = tries.join(chosen.drop(CHOICE), on=KEY, how="left", maintain_order="left")
    told = judge(rows.select(*chosen.columns, "place"))
    free = told.filter(pl.col("rule").is_null()).unique(KEY, keep="first", maintain_order=True)
    taken = free.select(*KEY, taken="place")
    others = told.filter(ABOUT_BRAND).join(taken, on=KEY, how="left", maintain_order="left")
    before = others.filter(pl.col("taken").is_null() | (pl.col("place") < pl.col("taken")))
    replaced = stuck.join(taken, on=KEY, how="semi", maintain_order="left")
    kept = judged.join(taken, on=KEY, how="anti", maintain_order="left")
    final = pl.concat([kept, free.select(judged.columns)]).sort(KEY)
    return final, pl.concat([replaced, before.select(judged.columns)])
