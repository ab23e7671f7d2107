"""What must hold before a suggestion leaves, each rule once, in the order they are asked.

A rule is a function of the settings that returns a `Verdict` over the candidate table (columns in
`candidates.py`): when it forbids, and what to tell. The first rule that forbids is the one recorded.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import polars as pl

from behavio.durations import seconds
from behavio.suggest.scoring import SURE
from behavio.suggest.settings import SuggestSettings

CALLS = ("f2f", "video", "phone", "call")
"""Channels that a do-not-call flag closes."""

TIRED_AFTER = 3
"""How often a message may be shown without a positive reaction before it is left alone."""

IGNORED_AFTER = 5
"""How many contacts without any answer make a channel an ignored one."""


@dataclass(frozen=True)
class Verdict:
    """`forbids` is true where the candidate may not leave; `detail` says why in words (strings)."""

    forbids: pl.Expr
    detail: pl.Expr


Rule = Callable[[SuggestSettings], Verdict]


def inactive_account(settings: SuggestSettings) -> Verdict:
    """The account is inactive, closed, merged or deceased."""
    return Verdict(pl.col("inactive"), pl.format("the account is {}", pl.col("status").fill_null("inactive")))


def privacy_opt_out(settings: SuggestSettings) -> Verdict:
    """The person objected to the use of personal data."""
    return Verdict(pl.col("privacy_opt_out"), pl.lit("objected to the use of personal data"))


def no_consent(settings: SuggestSettings) -> Verdict:
    """The latest statement for channel and product is no valid opt-in, or one is needed and missing."""
    consent = pl.col("consent")
    refused = consent.is_in(["refused", "never", "expired", "pending"])
    missing = consent.is_null() & pl.col("consent_needed")
    words = {
        "refused": "opted out",
        "never": "must never be contacted this way",
        "expired": "the opt-in ends before the suggestion would",
        "pending": "the opt-in is not confirmed yet",
    }
    told = consent.replace_strict(words, default="no opt-in on record", return_dtype=pl.String)
    own = pl.col("consent_product").fill_null(False)
    told = pl.when(own).then(pl.format("{} for {}", told, "brand")).otherwise(told)
    return Verdict(refused.fill_null(False) | missing, told)


def do_not_call(settings: SuggestSettings) -> Verdict:
    """The account asks not to be called, and the action is a call."""
    forbids = pl.col("do_not_call") & pl.col("channel").is_in(CALLS).fill_null(False)
    return Verdict(forbids, pl.lit("the account is marked do not call"))


def medical_firewall(settings: SuggestSettings) -> Verdict:
    """The action belongs to the medical team, or only the medical team knows the case."""
    told = pl.when("action_medical").then(pl.lit("an action of the medical team"))
    return Verdict(
        pl.col("action_medical") | pl.col("only_medical"),
        told.otherwise(pl.lit("only the medical team is in contact")),
    )


def holdout(settings: SuggestSettings) -> Verdict:
    """The case is in the randomised group that is left alone so that effects can be measured."""
    return Verdict(pl.col("holdout"), pl.lit("in the randomised holdout group"))


def not_enough_history(settings: SuggestSettings) -> Verdict:
    """Fewer events than `min_history`."""
    short = pl.col("n_events") < settings.min_history
    return Verdict(short, pl.format("{} of the {} events needed", "n_events", pl.lit(settings.min_history)))


def pdrp_opt_out(settings: SuggestSettings) -> Verdict:
    """The prescriber opted out of showing sales data to the field, and the score rests on sales."""
    return Verdict(
        pl.col("pdrp_opt_out") & pl.col("sales_derived"),
        pl.lit("opted out of showing prescriber-level data (PDRP), which this score rests on"),
    )


def channel_policy(settings: SuggestSettings) -> Verdict:
    """The channel policy names other channels for this value and behaviour."""
    told = pl.format("the policy for {} names {}", "policy_cell", pl.col("policy_channels"))
    return Verdict(pl.col("policy_forbids"), told)


def wrong_specialty(settings: SuggestSettings) -> Verdict:
    """The brand is not for the specialty of the case."""
    forbids, told = pl.lit(False), pl.lit("")
    for brand, names in sorted(settings.specialties.items()):
        here = pl.col("brand") == brand
        other = ~pl.col("specialty").is_in(list(names)).fill_null(False)
        forbids = forbids | (here & other).fill_null(False)
        said = pl.format(
            "{} is for {}, not {}", pl.lit(brand), pl.lit(", ".join(names)), _or_none("specialty")
        )
        told = pl.when(here).then(said).otherwise(told)
    return Verdict(forbids, told)


def dismissed_for_good(settings: SuggestSettings) -> Verdict:
    """The rep turned this action down again and again, or once for good."""
    often = pl.col("dismissed") >= settings.dismissals
    told = pl.when("unwanted").then(pl.lit("turned down for good by the rep"))
    return Verdict(
        pl.col("unwanted") | often, told.otherwise(pl.format("turned down {} times by the rep", "dismissed"))
    )


def dismissed_lately(settings: SuggestSettings) -> Verdict:
    """The rep turned this action down less than `dismissal_rest` ago."""
    rest = seconds(settings.dismissal_rest) / 86_400
    lately = (pl.col("dismissed_days") < rest).fill_null(False)
    return Verdict(
        lately,
        pl.format("turned down by the rep {} days ago", pl.col("dismissed_days").floor().cast(pl.Int64)),
    )


def executed_lately(settings: SuggestSettings) -> Verdict:
    """The suggestion of this action was followed less than `executed_rest` ago: its answer may still come."""
    rest = seconds(settings.executed_rest) / 86_400
    lately = (pl.col("executed_days") < rest).fill_null(False)
    return Verdict(
        lately,
        pl.format("suggested and done {} days ago", pl.col("executed_days").floor().cast(pl.Int64)),
    )


def contact_cap(settings: SuggestSettings) -> Verdict:
    """As many contacts in 28 days as one person should get, by all teams together."""
    full = pl.col("touches_28d") >= pl.col("cap")
    return Verdict(full, pl.format("{} contacts in 28 days, the cap is {}", "touches_28d", "cap"))


def pressure_band(settings: SuggestSettings) -> Verdict:
    """One more contact would be more than answers of the case's group hold up to."""
    over = (pl.col("contacts") + 1 > pl.col("band_high")).fill_null(False)
    told = pl.format(
        "{} contacts lately; answers of this group hold up to {}",
        pl.col("contacts").fill_null(0),
        pl.col("band_high").round(1),
    )
    return Verdict(over, told)


def channel_cap(settings: SuggestSettings) -> Verdict:
    """As many contacts in 28 days as this channel may have."""
    full = (pl.col("channel_28d") >= pl.col("channel_cap")).fill_null(False)
    told = pl.format("{} contacts by {} in 28 days, the cap is {}", "channel_28d", "channel", "channel_cap")
    return Verdict(full, told)


def team_cap(settings: SuggestSettings) -> Verdict:
    """As many contacts in 28 days as this team may make."""
    full = (pl.col("team_28d") >= pl.col("team_cap")).fill_null(False)
    told = pl.format("{} contacts by {} in 28 days, the cap is {}", "team_28d", "team", "team_cap")
    return Verdict(full, told)


def country_cap(settings: SuggestSettings) -> Verdict:
    """As many calls in a year as the country allows."""
    full = (pl.col("calls_365d") >= pl.col("country_cap")) & pl.col("channel").is_in(CALLS)
    told = pl.format("{} calls in a year, the cap of {} is {}", "calls_365d", "country", "country_cap")
    return Verdict(full.fill_null(False), told)


def stacking(settings: SuggestSettings) -> Verdict:
    """Somebody else of the company was in contact within `cooldown`."""
    close = (pl.col("hours_since_other") < pl.col("cooldown_h")).fill_null(False)
    return Verdict(
        close,
        pl.format("a contact by a colleague {} h ago", pl.col("hours_since_other").floor().cast(pl.Int64)),
    )


def cooldown(settings: SuggestSettings) -> Verdict:
    """The owner was in contact within `cooldown`."""
    close = (pl.col("hours_since_own") < pl.col("cooldown_h")).fill_null(False)
    return Verdict(
        close, pl.format("the owner's own contact {} h ago", pl.col("hours_since_own").floor().cast(pl.Int64))
    )


def variety(settings: SuggestSettings) -> Verdict:
    """The same action again and again, without an answer in between."""
    same = pl.col("in_a_row") >= settings.variety
    return Verdict(same, pl.format("the last {} contacts were all this one, unanswered", "in_a_row"))


def ignored_channel(settings: SuggestSettings) -> Verdict:
    """Contact after contact through a channel that never answers, while another one does."""
    ignored = (
        pl.col("channel_answers_anybody")
        & (pl.col("channel_touches") >= IGNORED_AFTER)
        & (pl.col("channel_answers") == 0)
        & (pl.col("other_answers") > 0)
    )
    told = pl.format(
        "{} contacts by {} and no answer there", "channel_touches", pl.col("channel").fill_null("?")
    )
    return Verdict(ignored.fill_null(False), told)


def expired_message(settings: SuggestSettings) -> Verdict:
    """The action carries a message, and none that it carried may still be used."""
    stale = (pl.col("messages") == 0) & (pl.col("messages_ever") > 0)
    return Verdict(stale, pl.format("each of its {} messages has expired", "messages_ever"))


def fatigue(settings: SuggestSettings) -> Verdict:
    """Every message that could be sent was shown three times and did not work the last time."""
    tired = (pl.col("messages") > 0) & pl.col("message").is_null()
    return Verdict(
        tired, pl.format("each of {} messages was shown {} times or more", "messages", pl.lit(TIRED_AFTER))
    )


def no_evidence(settings: SuggestSettings) -> Verdict:
    """Too few similar contacts, or no gain over doing nothing that chance cannot explain."""
    few = pl.col("level").is_null()
    told = pl.when(few).then(
        pl.format(
            "{} of the {} similar contacts needed", pl.col("n").fill_null(0), pl.lit(settings.min_evidence)
        )
    )
    after = pl.format(
        "{} % responded after it, {} % without it, from {} contacts: it may be chance",
        (pl.col("probability") * 100).round(0).cast(pl.Int64),
        (pl.col("base_probability") * 100).round(0).cast(pl.Int64),
        "n",
    )
    # what a trigger of the users asks for needs no evidence, and says so
    asked = pl.col("trigger").is_not_null()
    return Verdict(~SURE.fill_null(False) & ~asked, told.otherwise(after))


def _or_none(column: str) -> pl.Expr:
    return pl.col(column).fill_null("none known")


RULES: tuple[Rule, ...] = (
    inactive_account,
    privacy_opt_out,
    no_consent,
    do_not_call,
    medical_firewall,
    pdrp_opt_out,
    holdout,
    channel_policy,
    wrong_specialty,
    dismissed_for_good,
    dismissed_lately,
    executed_lately,
    not_enough_history,
    no_evidence,
    contact_cap,
    pressure_band,
    channel_cap,
    team_cap,
    country_cap,
    stacking,
    cooldown,
    variety,
    ignored_channel,
    expired_message,
    fatigue,
)


def apply_rules(
    candidates: pl.DataFrame, settings: SuggestSettings, rules: tuple[Rule, ...] = RULES
) -> pl.DataFrame:
    """Add `rule` (name of the first of the rules that forbids, null when none does) and `detail`."""
    rule, detail = pl.lit(None, dtype=pl.String), pl.lit(None, dtype=pl.String)
    for check in reversed(rules):
        verdict = check(settings)
        rule = pl.when(verdict.forbids).then(pl.lit(check.__name__)).otherwise(rule)
        detail = pl.when(verdict.forbids).then(verdict.detail).otherwise(detail)
    return candidates.with_columns(rule=rule, detail=detail)
