"""The why of a suggestion, in two or three sentences made of rows of the log and counts of contacts.

Every fact in a reason can be found again: what the case did stands in `evidence_rows`, the counts and
shares in the columns evidence_n, responses, share, base_n and base_probability of the same suggestion.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from typing import Any

import numpy as np
import polars as pl

from behavio.durations import seconds
from behavio.suggest.proof import FAMILY_LEVEL
from behavio.suggest.scoring import FALSE_SHARE
from behavio.suggest.settings import DAY_US, SuggestSettings
from behavio.suggest.situations import OTHER, SILENT, UNASSIGNED, Situations
from behavio.suggest.timeline import Moments, as_texts
from behavio.words import duration, percent, shorten, touchpoint

MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
TOLD_US = 90 * DAY_US
"""What the case did is told in detail when it is no older than this."""

PHRASES: dict[str, str] = {
    "email_open": "opened {what}",
    "email_click": "clicked in {what}",
    "portal_visit": "visited the portal",
    "portal_download": "downloaded {what}",
    "event_attended": "attended an event",
    "reaction_positive": "reacted positively to {what}",
    "reaction_neutral": "reacted neutrally to {what}",
    "reaction_negative": "reacted negatively to {what}",
    "email_unsubscribe": "unsubscribed from emails",
}
NAMELESS = {"email_open": "an email", "email_click": "an email", "portal_download": "a file"}


def date(day: dt.date) -> str:
    """A day as people write it: 12 Nov 2025."""
    return f"{day.day} {MONTHS[day.month - 1]} {day.year}"


def contact_name(action: str) -> str:
    """An action as a thing one gets: "rep visit", "email"."""
    return touchpoint(action).removesuffix(" sent")


def article(noun: str) -> str:
    """The noun with "a" or "an"."""
    return f"{'an' if noun[:1].lower() in 'aeio' else 'a'} {noun}"


def did(activity: str, message: str | None) -> str:
    """What a case did, in the past tense; activities of other logs keep their name."""
    phrase = PHRASES.get(activity)
    if phrase is None:
        name = f"“{shorten(touchpoint(activity), 48)}”"
        return f"{name} ({shorten(message, 48)})" if message else name
    what = f"“{shorten(message, 48)}”" if message else NAMELESS.get(activity, "a message")
    return phrase.format(what=what)


def row_name(event: dict[str, Any]) -> str:
    """Where an event came from: source:row, or its place in the log when no source is known."""
    if event["source"] is not None and event["source_row"] is not None:
        return f"{event['source']}:{event['source_row']}"
    return f"event:{event['event_index']}"


def add_reasons(
    plan: pl.DataFrame, cases: tuple[int, int], situations: Situations, settings: SuggestSettings
) -> pl.DataFrame:
    """Add `reason` and `evidence_rows` to suggestions, all of cases from the first to before the second."""
    t = situations.timeline
    kept = ["case", "activity", "message", "timestamp", "source", "source_row", "event_index", "position"]

    def of(moments: Moments) -> pl.DataFrame:
        first, last = np.searchsorted(moments.case, cases)
        return as_texts(t.events.select(*kept, "team")[moments.position[first:last]])

    came = of(t.inbound).select(kept)
    # medical contacts are no argument in a sales reason
    done = of(t.touches).filter((pl.col("team") != "medical").fill_null(True)).select(kept)
    # by activity, so that the two newest kinds of answers are at hand
    newest = came.group_by("case", "activity").last().sort("case", "position", descending=[False, True])
    answers = _by_case(newest.group_by("case", maintain_order=True).head(2))
    last = done.group_by("case", "activity").last()
    contacts = {(row["case"], row["activity"]): row for row in last.iter_rows(named=True)}
    latest = {row["case"]: row for row in done.group_by("case").last().iter_rows(named=True)}
    reasons, rows = [], []
    for s in plan.iter_rows(named=True):
        told = [e for e in answers.get(s["case"], ()) if _us(e["timestamp"]) > t.as_of - TOLD_US]
        told = sorted(told, key=lambda e: e["position"])
        contact = contacts.get((s["case"], s["action"]))
        if told:
            said, shown = _did(told), told
        else:
            said, shown = _silence(answers.get(s["case"], ()), latest.get(s["case"]))
        name = contact_name(s["action"])
        since = f"no {name} since {date(contact['timestamp'].date())}" if contact else f"no {name} so far"
        told_parts = (f"{said}; {since}.", _standing(s), _evidence(s, situations, settings))
        reasons.append(" ".join(p for p in told_parts if p))
        rows.append(list(dict.fromkeys(row_name(e) for e in ([*shown, contact] if contact else shown))))
    return plan.with_columns(
        reason=pl.Series(reasons, dtype=pl.String), evidence_rows=pl.Series(rows, dtype=pl.List(pl.String))
    )


def _us(when: dt.datetime) -> int:
    return (when - dt.datetime(1970, 1, 1, tzinfo=dt.UTC)) // dt.timedelta(microseconds=1)


def _by_case(frame: pl.DataFrame) -> dict[int, list[dict[str, Any]]]:
    out: dict[int, list[dict[str, Any]]] = {}
    for row in frame.iter_rows(named=True):
        out.setdefault(row["case"], []).append(row)
    return out


def _did(told: Sequence[dict[str, Any]]) -> str:
    """What the case did last."""
    did_what = " and ".join(
        f"{did(e['activity'], e['message'])} on {date(e['timestamp'].date())}" for e in told
    )
    return f"{did_what[0].upper()}{did_what[1:]}"


def _silence(
    ever: Sequence[dict[str, Any]], latest: dict[str, Any] | None
) -> tuple[str, list[dict[str, Any]]]:
    """Since when nothing was heard, or after which contact, and the event that shows it."""
    if ever:
        newest = max(ever, key=lambda e: e["position"])
        what = f"{did(newest['activity'], newest['message'])} on {date(newest['timestamp'].date())}"
        return f"Nothing heard in the last 90 days, last {what}", [newest]
    if latest is not None:
        name, day = contact_name(latest["activity"]), date(latest["timestamp"].date())
        return f"Nothing heard so far, not even after {article(name)} on {day}", [latest]
    return "Nothing heard so far", []


def _standing(s: dict[str, Any]) -> str:
    """The stage, the contacts against the band of the group, and the users' rule that asks for this."""
    parts = []
    if s.get("stage") is not None:
        since = s["stage_since"]
        when = f" since {date(since.date())}" if since is not None else ""
        parts.append(f"Stage: {s['stage']} ({percent(s['stage_sure'])} sure){when}.")
    if s.get("band_high") is not None:
        band = f"{s['band_low']:.1f}–{s['band_high']:.1f}"
        where = "below" if s["contacts"] < s["band_low"] else "within"
        some = f"{s['contacts']} contact{'' if s['contacts'] == 1 else 's'}"
        parts.append(f"{some} lately, {where} the {band} this group answers best.")
    if s.get("trigger") is not None:
        parts.append(f"Rule “{s['trigger']}” holds.")
    return " ".join(parts)


def _evidence(s: dict[str, Any], situations: Situations, settings: SuggestSettings) -> str:
    """The counts behind the suggestion, what they were counted over, and what they are not."""
    if s["level"] is None:
        return f"Fewer than {settings.min_evidence} similar contacts so far: no evidence yet."
    window = duration(seconds(settings.response_window))
    name = contact_name(s["action"])
    similar = {"situation": "similar contacts", "segment": "contacts in this group", "action": "contacts"}[
        s["level"]
    ]
    success = situations.timeline.objective.words
    return (
        f"After {article(name)}, {percent(s['share'])} of {s['n']:,} {similar} were followed by {success} "
        f"within {window}; without one an estimated "
        f"{percent(s['base_probability'])} ({s['base_n']:,} periods compared). "
        f"{_similar(s, situations, settings)}{_doubt(s)}"
    )


def _doubt(s: dict[str, Any]) -> str:
    """What a users' rule asks for is suggested without a proven gain too, but says so."""
    unsure = s["gain_low"] <= 0 or s["q_value"] is None or s["q_value"] > FALSE_SHARE
    unsure = unsure or s["family_p"] is None or s["family_p"] > FAMILY_LEVEL
    return " The difference may be chance." if unsure else ""


def _similar(s: dict[str, Any], situations: Situations, settings: SuggestSettings) -> str:
    """What "similar" means for this suggestion."""
    group = "" if s["segment"] == UNASSIGNED else f"group “{s['segment']}”"
    if s["level"] == "action":
        return "Counted over all groups."
    if s["level"] == "segment":
        return f"Counted over {group}." if group else "Counted over all cases without a group."
    before = f"{situations.bucket_names()[s['pressure']]} in the 28 days before"
    window = duration(seconds(settings.response_window))
    seen = {
        SILENT: f"nothing heard in the {window} before",
        OTHER: f"something rare heard last, within {window} before",
    }.get(s["seen"], f"heard last, within {window} before: {touchpoint(s['seen'])}")
    return f"Similar: {', '.join(p for p in (group, before, seen) if p)}."
