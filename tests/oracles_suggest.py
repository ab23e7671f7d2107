"""Small logs by hand, and the slow, obvious way to count what a suggestion says."""

from __future__ import annotations

import datetime as dt
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import polars as pl

from behavio.log import (
    ATTRIBUTES,
    CONSENT_SCHEMA,
    EVENT_SCHEMA,
    REJECTED_SCHEMA,
    TIME,
    EventLog,
    SourceCount,
    SourceEvents,
    empty,
)

START = dt.datetime(2025, 1, 6, tzinfo=dt.UTC)  # a Monday
DAY = dt.timedelta(days=1)

KINDS: dict[str, tuple[str, str | None, str | None]] = {
    "call_f2f": ("outbound", "f2f", "sales"),
    "call_video": ("outbound", "video", "sales"),
    "email_sent": ("outbound", "email", "marketing"),
    "message_shown": ("outbound", "f2f", "sales"),
    "msl_visit": ("outbound", "f2f", "medical"),
    "msl_question": ("inbound", "f2f", "medical"),
    "reaction_positive": ("inbound", "f2f", "sales"),
    "reaction_neutral": ("inbound", "f2f", "sales"),
    "email_open": ("inbound", "email", None),
    "portal_visit": ("inbound", "portal", None),
}
"""direction, channel, team of the activities used here."""


def log_of(
    events: Sequence[tuple[Any, ...]],
    cases: pl.DataFrame | None = None,
    consents: Sequence[Mapping[str, Any]] = (),
    timed: bool = True,
) -> EventLog:
    """A log of (case, day, activity[, attributes]) tuples; days count from START and may be fractions."""
    rows = []
    for number, (case, day, activity, *more) in enumerate(events, start=1):
        direction, channel, team = KINDS.get(activity, (None, None, None))
        row: dict[str, Any] = dict.fromkeys(ATTRIBUTES)
        row |= {"case_id": case, "activity": activity, "timestamp": START + dt.timedelta(days=day)}
        row |= {"direction": direction, "channel": channel, "team": team}
        row |= {"actor_id": "rep" if team == "sales" else None, "source": "hand", "source_row": number}
        rows.append(row | (more[0] if more else {}))
    schema = {k: v for k, v in EVENT_SCHEMA.items() if k != "event_index"} | ATTRIBUTES
    frame = pl.DataFrame(rows, schema=schema)
    count = SourceCount("hand", "table", "hand.csv", len(rows), len(rows), 0, 0)
    source = SourceEvents(count, frame, empty(REJECTED_SCHEMA), timed)
    said = [{**dict.fromkeys(CONSENT_SCHEMA), **c} for c in consents]
    return EventLog.assemble([source], cases, pl.DataFrame(said, schema=CONSENT_SCHEMA))


def opt_in(case: str, day: float = 0.0, **more: Any) -> dict[str, Any]:
    """An email opt-in of a case; `more` overrides its columns."""
    when = pl.Series([START + dt.timedelta(days=day)], dtype=TIME)[0]
    return {"case_id": case, "channel": "email", "state": "opt_in", "timestamp": when, **more}


class Recount:
    """Counts, event by event, what stands behind every suggestion: no arrays, no binary search.

    A success is any inbound event of a commercial team that is no refusal.
    """

    def __init__(self, log: EventLog, window_days: float, segments: Mapping[str, str] | None = None) -> None:
        self.window = dt.timedelta(days=window_days)
        self.segments = segments or {}
        self.traces: dict[str, list[dict[str, Any]]] = {}
        for event in log.events.iter_rows(named=True):
            self.traces.setdefault(event["case_id"], []).append(event)
        self.end = max(e["timestamp"] for trace in self.traces.values() for e in trace)
        recent = [
            sum(self.is_touch(f) and f["timestamp"] > e["timestamp"] - 28 * DAY for f in trace[:i])
            for trace in self.traces.values()
            for i, e in enumerate(trace)
            if self.is_touch(e)
        ]
        positive = sorted(r for r in recent if r > 0)
        thirds = [positive[int((len(positive) - 1) * q / 3)] for q in (1, 2)] if positive else [1]
        self.cuts = sorted(set(thirds))

    @staticmethod
    def is_touch(event: Mapping[str, Any]) -> bool:
        return event["direction"] == "outbound" and event["activity"] != "message_shown"

    @staticmethod
    def is_heard(event: Mapping[str, Any]) -> bool:
        return event["direction"] == "inbound" and event["team"] != "medical"

    def is_success(self, event: Mapping[str, Any]) -> bool:
        refusals = ("email_unsubscribe", "reaction_negative", "reaction_neutral")
        return self.is_heard(event) and event["activity"] not in refusals

    def situation(
        self, case: str, before: Sequence[Mapping[str, Any]], now: dt.datetime
    ) -> tuple[str, int, str]:
        """Segment, bucket of contacts in 28 days, last thing heard within the window."""
        n = sum(self.is_touch(e) and e["timestamp"] > now - 28 * DAY for e in before)
        bucket = 0 if n == 0 else 1 + sum(n > cut for cut in self.cuts)
        heard = [e for e in before if self.is_heard(e)]
        fresh = heard and heard[-1]["timestamp"] > now - self.window
        return self.segments.get(case, "unassigned"), bucket, heard[-1]["activity"] if fresh else ""

    def contacts(self, action: str) -> list[tuple[str, tuple[str, int, str], bool]]:
        """(case, situation, response) of every contact whose window is over."""
        out = []
        for case, trace in self.traces.items():
            for i, event in enumerate(trace):
                end = event["timestamp"] + self.window
                if event["activity"] == action and end <= self.end:
                    won = any(self.is_success(e) and e["timestamp"] <= end for e in trace[i + 1 :])
                    out.append((case, self.situation(case, trace[:i], event["timestamp"]), won))
        return out

    def quiet(self, action: str) -> list[tuple[str, tuple[str, int, str], bool]]:
        """(case, situation, response) of every grid window without the action."""
        out = []
        for case, trace in self.traces.items():
            start = self.end - self.window
            while start >= trace[0]["timestamp"]:
                inside = [e for e in trace if start < e["timestamp"] <= start + self.window]
                if not any(e["activity"] == action for e in inside):
                    before = [e for e in trace if e["timestamp"] <= start]
                    won = any(self.is_success(e) for e in inside)
                    out.append((case, self.situation(case, before, start), won))
                start -= self.window
        return out

    def numbers(self, suggestion: Mapping[str, Any]) -> tuple[int, int, int, float]:
        """n, responses, base_n and base_share of a suggestion, at the level it was counted at."""
        wanted = (suggestion["segment"], suggestion["pressure"], suggestion["seen"])
        depth = {"action": 0, "segment": 1, "situation": 3}[suggestion["level"]]
        contacts, quiet = self.contacts(suggestion["action"]), self.quiet(suggestion["action"])
        windows = {case: [won for c, _, won in quiet if c == case] for case, _, _ in quiet}
        own = {case: sum(won) / len(won) for case, won in windows.items()}
        touched = {case for case, _, _ in contacts}
        quiet = [q for q in quiet if q[0] in touched]
        counted = [c for c in contacts if c[0] in own]
        here = [c for c in counted if c[1][:depth] == wanted[:depth]]
        free = [q for q in quiet if q[1][:depth] == wanted[:depth]]
        usual = sum(own[case] for case, _, _ in here) / len(here)
        many = Counter(where for _, where, _ in counted)
        room = Counter(where for _, where, _ in quiet)
        weights = [many[where] / room[where] for _, where, _ in free]
        moved = sum(w * (won - own[case]) for w, (case, _, won) in zip(weights, free, strict=True))
        same = [won for _, where, won in contacts if where[:depth] == wanted[:depth]]
        share = min(max(usual + moved / sum(weights), 0.0), 1.0)
        return len(same), sum(same), len(free), share
