"""Which column is which, by the names people and tools usually give them."""

from __future__ import annotations

import re
from collections.abc import Sequence

from behavio.errors import LogError
from behavio.sources.settings import nearest

USUAL: dict[str, tuple[str, ...]] = {
    "case_id": (
        "case_id", "case:concept:name", "case", "caseid", "case id", "case_key", "account_id", "hcp_id",
        "account", "hcp", "account_vod__c", "customer_id", "client_id", "member_id", "patient_id",
        "person_id", "subject_id", "household_id", "user_id", "visitor_id", "contact_id",
        "customer", "user", "patient", "ticket_id", "order_id", "trace_id", "trace", "npi", "sid", "id",
    ),
    "activity": (
        "activity", "concept:name", "activity_name", "event", "event_name", "event_type", "activity_type",
        "action", "task", "step", "touchpoint", "interaction", "interaction_type", "channel_action", "type",
        "name",
    ),
    "timestamp": (
        "timestamp", "time:timestamp", "event_timestamp", "time", "datetime", "date_time", "event_time",
        "event_datetime", "activity_time", "activity_date", "complete_timestamp", "completetime", "end_time",
        "occurred_at", "created_at", "start_timestamp", "start_time", "event_date", "date", "day", "ts",
    ),
    "order": ("position", "order", "seq", "sequence", "step_number", "event_index", "rank"),
    "channel": ("channel", "channel_value"),
    "state": ("state", "opt_type", "consent", "status"),
    "brand": ("brand", "product", "product_name"),
    "goal": ("goal", "planned", "plan", "target", "planned_touches", "planned_calls", "n_planned"),
    "start": ("start", "start_date", "valid_from", "from", "period_start", "since"),
    "end": ("end", "end_date", "valid_to", "until", "to", "period_end", "valid_until"),
    "account_id": ("account_id", "parent_id", "parent_account_id", "institution_id", "institution",
                   "hospital_id", "hospital", "organisation_id", "organization_id", "hco_id", "hco"),
    "role": ("role", "function", "position", "relationship"),
    "influence": ("influence", "strength", "relationship_strength"),
    "question": ("question", "question_text", "item", "perception", "attribute", "statement"),
    "answer": ("answer", "response", "rating", "score", "value", "answer_text"),
    "rater": ("rater", "rated_by", "interviewer", "rep", "rep_id", "owner_id", "user_id"),
    "expires": ("expires", "expiration_date", "valid_until", "expiry"),
}  # fmt: skip
"""Names looked for, best first; case, spaces, dots, dashes and underscores are ignored."""


def plain(name: str) -> str:
    """A name without case and separators."""
    return re.sub(r"[\s_.:\-]+", "", name).lower()


def guess(what: str, columns: Sequence[str]) -> str | None:
    """The column whose name usually means `what`, or None."""
    known = {plain(c): c for c in reversed(columns)}
    return next((known[plain(n)] for n in USUAL[what] if plain(n) in known), None)


def named_or_guessed(what: str, named: str | None, columns: Sequence[str], shown: str) -> str:
    """The named column, or the usual one. Raises LogError that offers the nearest column."""
    if named is not None:
        if named in columns:
            return named
        near = nearest(named, list(columns))
        hint = f"did you mean {near!r}? " if near else ""
        raise LogError(f"{shown} has no column {named!r} for {what}", hint=hint + _listed(columns))
    found = guess(what, columns)
    if found is None:
        near = nearest(what, list(columns))
        like = f"perhaps {near!r}? " if near else ""
        option = what.replace("_", "-")
        raise LogError(
            f"{shown} has no column that looks like {what}",
            hint=f'{like}name it with {what}="…" (--{option} on the command line); {_listed(columns)}',
        )
    return found


def _listed(columns: Sequence[str]) -> str:
    more = f" and {len(columns) - 30} more" if len(columns) > 30 else ""
    return f"it has: {', '.join(columns[:30])}{more}"
