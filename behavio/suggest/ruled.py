"""Every candidate asked the rules and ranked, part by part: only what a later step needs is kept."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from behavio.suggest.candidates import Offers
from behavio.suggest.channels import add_policy, read_policy
from behavio.suggest.consents import about_product
from behavio.suggest.cycle import fresh_messages, missing_messages, watch_list
from behavio.suggest.feedback import unwanted_messages
from behavio.suggest.instead import brand_lists, instead
from behavio.suggest.messages import choose_messages
from behavio.suggest.offpolicy import STANDING_RULES
from behavio.suggest.plan import rank_within
from behavio.suggest.rules import apply_rules
from behavio.suggest.scoring import SITUATION
from behavio.suggest.settings import SuggestSettings
from behavio.suggest.tables import Keep
from behavio.suggest.timeline import Timeline, as_categories, as_texts

PART = 25_000
"""Cases whose candidates, reasons and messages stand in memory at once."""

CASE = ("case", "owner_id", "case_brand", "waiting", "stage", "stage_sure", "stage_since")
LIMITS = ("touches_28d", "cap", "contacts", "band_low", "band_high", "channel_28d", "channel_cap")
CAPS = ("team_28d", "team_cap", "calls_365d", "country_cap")
OFFER = (
    "action",
    "channel",
    "message",
    "brand",
    "trigger",
    "policy_place",
    "cost",
    "ignored",
    "rank",
    "gain",
)
RULED = (*SITUATION, "rule", "detail")
PLANNED = (*CASE, *LIMITS, *CAPS, *OFFER, *RULED)
"""Columns of an allowed candidate that the plan, its reasons and its tables need; its evidence is that of its
action and situation (`Offers.cells`)."""

BOUND = ("case_id", "policy_cell", "policy_channels")
NARROW = ("case", "action", "channel", *RULED)


@dataclass(frozen=True, eq=False)
class Ruled:
    """Candidates after the rules; texts as categories.

    ranked     those no rule forbids, in the order of each case (PLANNED)
    forbidden  the others, narrow
    n_instead  brands refused beside the one a candidate is about in the end; they are among the forbidden
    closed     case, action of those closed for good (STANDING_RULES)
    bound      case_id, policy_cell, policy_channels of cases bound by the channel policy
    watch      see `cycle`
    """

    ranked: pl.DataFrame
    forbidden: pl.DataFrame
    closed: pl.DataFrame
    bound: pl.DataFrame
    watch: pl.DataFrame
    n_instead: int


def ask_rules(
    offers: Offers,
    shown: pl.DataFrame,
    scores: pl.DataFrame,
    feedback: pl.DataFrame,
    t: Timeline,
    settings: SuggestSettings,
    progress: Callable[[str, float], None],
    keep: Keep,
) -> Ruled:
    """Ask the rules, part by part; the table `missing` is kept at once."""
    cells = read_policy(Path(settings.policy)) if settings.policy is not None else ()
    usable = fresh_messages(scores, t.as_of, settings)
    numbers = offers.cases.select("case", "case_id")
    unwanted = unwanted_messages(feedback).join(numbers, on="case_id", how="inner").select("case", "message")
    brands = brand_lists(scores, t, settings)

    def judge(frame: pl.DataFrame) -> pl.DataFrame:
        return apply_rules(about_product(frame, offers.products), settings)

    found: list[tuple[pl.DataFrame, ...]] = []
    n_instead = 0
    for start, inside in parts_of(offers.cases.height):
        progress("asking the rules", start / offers.cases.height)
        own = as_texts(shown.filter(inside))
        frame = add_policy(offers.part(start, start + PART), cells)
        frame = choose_messages(frame, own, t.as_of, settings, unwanted, scores)
        frame, refused = instead(frame, judge, brands, own, unwanted)
        n_instead += refused.height
        ranked = rank_within(frame.filter(pl.col("rule").is_null()), settings).select(PLANNED)
        conflicts = (pl.col("rule") == "conflicting").fill_null(False)
        forbidden = (frame.filter(pl.col("rule").is_not_null()), refused, ranked.filter(conflicts))
        closed = pl.col("rule").is_in(STANDING_RULES).fill_null(False)
        bound = frame.filter(pl.col("policy_cell").is_not_null())
        keep.add("missing", missing_messages(offers.cases.slice(start, PART), own, usable))
        found.append(
            (
                as_categories(ranked.filter(~conflicts), "detail"),
                as_categories(pl.concat([f.select(NARROW) for f in forbidden]), "detail"),
                frame.filter(closed).select("case", "action"),
                bound.select(BOUND).unique("case_id", maintain_order=True),
                watch_list(frame, t, settings),
            )
        )
    ranked, held, closed, bound, watch = (pl.concat(tables) for tables in zip(*found, strict=True))
    return Ruled(ranked, held, closed, bound, watch, n_instead)


def parts_of(n_cases: int) -> Iterator[tuple[int, pl.Expr]]:
    """The first case of every part, and what is true for its cases."""
    for start in range(0, n_cases, PART):
        yield start, pl.col("case").is_between(start, start + PART - 1)
