"""What must hold before a suggestion leaves, each rule once, in the order they are asked.

A rule is a function of the settings that returns a `Verdict` over the candidate table (columns in
`candidates.py`): when it forbids, and what to tell. The first rule that forbids is the one recorded.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import polars as pl

from behavio.suggest.scoring import FALSE_SHARE
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
    """The latest statement for the channel is no valid opt-in, or there is none where one is needed."""
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


def contact_cap(settings: SuggestSettings) -> Verdict:
    """As many contacts in 28 days as one person should get, by all teams together."""
    full = pl.col("touches_28d") >= pl.col("cap")
    return Verdict(full, pl.format("{} contacts in 28 days, the cap is {}", "touches_28d", "cap"))


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


def fatigue(settings: SuggestSettings) -> Verdict:
    """Every message that could be sent was shown three times and did not work the last time."""
    tired = (pl.col("messages") > 0) & pl.col("message").is_null()
    return Verdict(
        tired, pl.format("each of {} messages was shown {} times or more", "messages", pl.lit(TIRED_AFTER))
    )


def no_evidence(settings: SuggestSettings) -> Verdict:
    """Too few similar contacts, or no gain over doing nothing that chance cannot explain."""
    few = pl.col("level").is_null()
    unsure = (pl.col("gain_low") <= 0) | (pl.col("q_value") > FALSE_SHARE)
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
    return Verdict(few | unsure.fill_null(True), told.otherwise(after))


RULES: tuple[Rule, ...] = (
    inactive_account,
    privacy_opt_out,
    no_consent,
    do_not_call,
    medical_firewall,
    holdout,
    not_enough_history,
    no_evidence,
    contact_cap,
    stacking,
    cooldown,
    ignored_channel,
    fatigue,
)


def apply_rules(candidates: pl.DataFrame, settings: SuggestSettings) -> pl.DataFrame:
    """Add `rule` (name of the first rule that forbids, null when none does) and `detail`."""
    rule, detail = pl.lit(None, dtype=pl.String), pl.lit(None, dtype=pl.String)
    for check in reversed(RULES):
        verdict = check(settings)
        rule = pl.when(verdict.forbids).then(pl.lit(check.__name__)).otherwise(rule)
        detail = pl.when(verdict.forbids).then(verdict.detail).otherwise(detail)
    return candidates.with_columns(rule=rule, detail=detail)
