"""The queue of the medical team: who asked something and waits, kept apart from all that is commercial.

Nothing here is ranked by what it brings: whoever has waited longest comes first. A row rests on the medical
team's own contacts and on what the case asked, never on a chance of an answer, a brand or a key message; and
no row of it stands in the tables that reps, brand teams and deliveries read.
"""

from __future__ import annotations

import datetime as dt
from typing import Any

import numpy as np
import polars as pl

from behavio.durations import seconds
from behavio.kernels.agenda import first_days
from behavio.log import EventLog
from behavio.suggest.candidates import Offers, last_hours
from behavio.suggest.consents import consent_states, spoken_of
from behavio.suggest.plan import day_of, suggestion_id, working_days
from behavio.suggest.reasons import contact_name, date, did, row_name
from behavio.suggest.rules import (
    apply_rules,
    cooldown,
    do_not_call,
    inactive_account,
    no_consent,
    privacy_opt_out,
    stacking,
)
from behavio.suggest.settings import DAY_US, SuggestSettings, microseconds
from behavio.suggest.timeline import Timeline
from behavio.suggest.triggers import holding

MEDICAL_SCHEMA: dict[str, pl.DataType] = {
    "suggestion_id": pl.String(),
    "case_id": pl.String(),
    "action": pl.String(),
    "channel": pl.String(),
    "due_from": pl.Date(),
    "due_to": pl.Date(),
    "expires_on": pl.Date(),
    "asked_at": pl.Datetime("us", "UTC"),
    "waiting_days": pl.Int64(),
    "reason": pl.String(),
    "evidence_rows": pl.List(pl.String()),
    "owner_id": pl.String(),
    "trigger": pl.String(),
}
"""medical.parquet, the longest waiting first. There is no column of chances, gains, brands or messages."""

MEDICAL_HELD_SCHEMA: dict[str, pl.DataType] = {
    "case_id": pl.String(),
    "action": pl.String(),
    "channel": pl.String(),
    "reason": pl.String(),
    "detail": pl.String(),
}
"""medical_suppressed.parquet: `reason` is the name of the rule."""

MEDICAL_RULES = (inactive_account, privacy_opt_out, no_consent, do_not_call, stacking, cooldown)
"""Rules that guard people. Those about promotion (caps, bands, evidence, variety) say nothing about an answer
that is owed; stacking and cooldown hold for what a trigger asks, not for a question."""

ANSWER = "medical_answer"
"""How an action is called where the medical team has not made contact with anybody yet."""

TOLD = 2
"""Open questions that a reason names."""


def has_medical(t: Timeline, settings: SuggestSettings) -> bool:
    """Whether the log or the job knows a medical team."""
    if any(rule.queue == "medical" for rule in settings.trigger) or settings.requests is not None:
        return True
    return bool((t.events["team"] == "medical").any())


def medical_queue(
    t: Timeline, log: EventLog, offers: Offers, settings: SuggestSettings
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """MEDICAL_SCHEMA and MEDICAL_HELD_SCHEMA: open questions and what medical triggers ask for.

    A question is an event of `requests` (else an inbound event of the medical team that is no reaction) of
    the last `request_open` after which the medical team has not been in contact.
    """
    contacts = _contacts(t)
    asked = pl.concat(
        [_questions(t, contacts, settings), _triggered(t, log, settings)], how="diagonal_relaxed"
    )
    # a question comes before a trigger; one row per case
    asked = asked.sort(["case", "trigger", "asked_at"], nulls_last=False).unique(
        "case", keep="first", maintain_order=True
    )
    asked = _with_action(asked, contacts, t)
    ruled = apply_rules(_with_facts(asked, t, log, offers, settings), settings, MEDICAL_RULES)
    free = _with_days(ruled.filter(pl.col("rule").is_null()), t, settings)
    late = free.filter(pl.col("due_from").is_null())
    told = pl.format("the owner has {} on every working day of the week", pl.lit(settings.max_per_owner_day))
    late = late.with_columns(rule=pl.lit("max_per_owner_day"), detail=told)
    held = pl.concat(
        [ruled.filter(pl.col("rule").is_not_null()), late.drop("due_from")], how="diagonal_relaxed"
    )
    held = held.sort("case").rename({"rule": "reason"})
    made = _told(free.filter(pl.col("due_from").is_not_null()), contacts, t, settings)
    return made, held.select(pl.col(c).cast(k) for c, k in MEDICAL_HELD_SCHEMA.items())


def _contacts(t: Timeline) -> pl.DataFrame:
    """Every contact of the medical team, in the order of the log."""
    columns = ["case", "activity", "channel", "actor_id", "team", "timestamp", "position"]
    rows = t.of(t.touches, *columns, "source", "source_row", "event_index", "message", "content")
    return rows.filter(pl.col("team") == "medical")


def _questions(t: Timeline, contacts: pl.DataFrame, settings: SuggestSettings) -> pl.DataFrame:
    """case, asked_at (the oldest open question), questions (the newest TOLD as rows)."""
    if settings.requests is not None:
        own = pl.col("activity").is_in(list(settings.requests))
    else:
        own = (
            (pl.col("team") == "medical") & (pl.col("direction") == "inbound") & pl.col("reaction").is_null()
        )
        own &= ~pl.col("activity").is_in(settings.refusals)
    fresh = pl.col("timestamp").dt.epoch("us") > t.as_of - microseconds(settings.request_open)
    found = t.moments(t.events.select((own & fresh).fill_null(False)).to_series())
    columns = ("case", "activity", "message", "content", "timestamp", "position")
    rows = t.of(found, *columns, "source", "source_row", "event_index")
    last = contacts.group_by("case").agg(pl.col("position").max().alias("answered"))
    rows = rows.join(last, on="case", how="left", maintain_order="left")
    rows = rows.filter(pl.col("answered").is_null() | (pl.col("position") > pl.col("answered")))
    return (
        rows.group_by("case", maintain_order=True)
        .agg(
            pl.col("timestamp").min().alias("asked_at"),
            pl.struct(pl.exclude("case", "answered")).tail(TOLD).alias("questions"),
        )
        .with_columns(trigger=pl.lit(None, dtype=pl.String), wanted=pl.lit(None, dtype=pl.String))
    )


def _triggered(t: Timeline, log: EventLog, settings: SuggestSettings) -> pl.DataFrame:
    """case, trigger, wanted (its action) for every trigger of the medical queue."""
    numbers = (
        t.case_ids.to_frame("case_id").with_row_index("case").with_columns(pl.col("case").cast(pl.Int64))
    )
    kinds = {"case": pl.Int64(), "trigger": pl.String(), "wanted": pl.String()}
    parts = [pl.DataFrame(schema=kinds)]
    for rule in settings.trigger:
        if rule.queue == "medical":
            own = holding(log, t, rule).join(numbers, on="case_id", how="inner")
            named = {"trigger": pl.lit(rule.name or rule.when), "wanted": pl.lit(rule.action)}
            parts.append(own.select("case", **named))
    return pl.concat(parts)


def _with_action(asked: pl.DataFrame, contacts: pl.DataFrame, t: Timeline) -> pl.DataFrame:
    """Add action, channel and owner_id: what the medical team last did here, else what it mostly does."""
    last = contacts.group_by("case", maintain_order=True).agg(
        pl.col("activity").last().alias("done"), pl.col("actor_id").drop_nulls().last().alias("owner_id")
    )
    usual = contacts["activity"].mode().sort().to_list()
    media = contacts.group_by(pl.col("activity").alias("action")).agg(
        pl.col("channel").drop_nulls().mode().sort().first()
    )
    out = asked.join(last, on="case", how="left", maintain_order="left")
    out = out.with_columns(action=pl.coalesce("wanted", "done", pl.lit(usual[0] if usual else ANSWER)))
    out = out.join(media, on="action", how="left", maintain_order="left")
    return out.with_columns(case_id=t.case_ids.gather(out["case"]))


def _with_facts(
    asked: pl.DataFrame, t: Timeline, log: EventLog, offers: Offers, settings: SuggestSettings
) -> pl.DataFrame:
    """Add what the rules ask for."""
    flags = offers.cases.select(
        "case", "inactive", "status", "privacy_opt_out", "do_not_call", "email_opt_type"
    )
    out = asked.join(flags, on="case", how="left", maintain_order="left")
    # whose contact is "own" differs from the rep's: the medical owner's
    hours = last_hours(t, asked.select("case", "owner_id"))
    out = out.join(hours, on="case", how="left", maintain_order="left")
    known = log.consents.filter(
        pl.col("timestamp").is_null() | (pl.col("timestamp").dt.epoch("us") <= t.as_of)
    )
    channels = out["channel"].drop_nulls().unique().sort().to_list()
    states = consent_states(known, channels, t.as_of, t.as_of + microseconds(settings.expires))
    out = out.join(states.drop("stated"), on=["case_id", "channel"], how="left", maintain_order="left")
    needed = spoken_of(known) if settings.needs_consent is None else settings.needs_consent
    never = (pl.col("email_opt_type") == "never") & (pl.col("channel") == "email")
    question = pl.col("asked_at").is_not_null()
    return out.with_columns(
        consent=pl.when(never.fill_null(False)).then(pl.lit("never")).otherwise("consent"),
        consent_needed=pl.col("channel").is_in(list(needed)).fill_null(False),
        consent_product=pl.lit(False),
        brand=pl.lit(None, dtype=pl.String),
        cooldown_h=pl.lit(seconds(settings.cooldown) / 3600),
        hours_since_own=pl.when(~question).then("hours_since_own"),
        hours_since_other=pl.when(~question).then("hours_since_other"),
    )


def _with_days(free: pl.DataFrame, t: Timeline, settings: SuggestSettings) -> pl.DataFrame:
    """Add due_from, null where the week of the owner is full: whoever has waited longest comes first."""
    free = free.sort(["asked_at", "case"], nulls_last=True)
    days = working_days(t.as_of)
    epoch = dt.date(1970, 1, 1)
    found = first_days(
        free["owner_id"].rank("dense").cast(pl.Int64).fill_null(0).to_numpy() - 1,
        np.arange(free.height),
        np.array([(d - epoch).days for d in days], dtype=np.int64),
        settings.max_per_owner_day,
        1,
    )
    due = pl.Series(found, dtype=pl.Int64).replace(-1, None).cast(pl.Int32).cast(pl.Date)
    return free.with_columns(due_from=due)


def _told(free: pl.DataFrame, contacts: pl.DataFrame, t: Timeline, settings: SuggestSettings) -> pl.DataFrame:
    """Add the reason, the rows it rests on, the last days and the id."""
    last = {row["case"]: row for row in contacts.group_by("case").last().iter_rows(named=True)}
    reasons, rows, ids = [], [], []
    for s in free.iter_rows(named=True):
        said, shown = _reason(s, last.get(s["case"]))
        reasons.append(said)
        rows.append(shown)
        ids.append(suggestion_id(s["case_id"], s["action"], s["trigger"], day_of(t.as_of)))
    ends = working_days(t.as_of)[-1]
    waited = (pl.lit(t.as_of) - pl.col("asked_at").dt.epoch("us")) // DAY_US
    out = free.with_columns(
        suggestion_id=pl.Series(ids, dtype=pl.String),
        reason=pl.Series(reasons, dtype=pl.String),
        evidence_rows=pl.Series(rows, dtype=pl.List(pl.String)),
        waiting_days=waited,
        due_to=pl.lit(ends),
        expires_on=pl.lit(max(day_of(t.as_of + microseconds(settings.expires)), ends)),
    )
    return out.select(pl.col(c).cast(k) for c, k in MEDICAL_SCHEMA.items())


def _reason(s: dict[str, Any], contact: dict[str, Any] | None) -> tuple[str, list[str]]:
    """What was asked or which rule holds, and since when the medical team has been silent."""
    shown, parts = [], []
    for question in s["questions"] or []:
        said = did(question["activity"], question["message"] or question["content"])
        parts.append(f"{said} on {date(question['timestamp'].date())}")
        shown.append(row_name(question))
    if contact is None:
        since = "no contact by the medical team so far"
    else:
        done = contact_name(contact["activity"])
        since = f"last contact by the medical team: {done} on {date(contact['timestamp'].date())}"
        shown.append(row_name(contact))
    asked = f"Asked: {' and '.join(parts)}, not answered yet; " if parts else ""
    rule = f"Rule “{s['trigger']}” holds; " if s["trigger"] is not None else ""
    told = f"{asked}{rule}{since}."
    return f"{told[0].upper()}{told[1:]}", shown
