"""Small logs by hand, and the slow, obvious way to count what a suggestion says."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
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
    own = sorted({k for row in rows for k in row} - set(schema))
    frame = pl.DataFrame(rows, schema=schema | dict.fromkeys(own, pl.String()))
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
        self.known: dict[str, Any] = {}
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

    def contacts(self, action: str) -> list[dict[str, Any]]:
        """Every contact whose window is over: case, time, where (situation), response."""
        out = []
        for case, trace in self.traces.items():
            for i, event in enumerate(trace):
                end = event["timestamp"] + self.window
                if event["activity"] == action and end <= self.end:
                    won = any(self.is_success(e) and e["timestamp"] <= end for e in trace[i + 1 :])
                    where = self.situation(case, trace[:i], event["timestamp"])
                    out.append({"case": case, "time": event["timestamp"], "where": where, "won": won})
        return out

    def controls(self, action: str) -> list[dict[str, Any]]:
        """The free windows drawn for the contacts: as above, and the contact they stand against."""
        contacts, out = self.contacts(action), []
        pool = sorted({c["case"] for c in contacts})
        for j, contact in enumerate(contacts):
            for r in range(2):
                for k in range(12):
                    step = (j * 7_919 + r * 104_729 + k * 1_299_709) % (len(pool) - 1)
                    case = pool[(pool.index(contact["case"]) + 1 + step) % len(pool)]
                    at, trace = contact["time"], self.traces[case]
                    window = [e for e in trace if at <= e["timestamp"] <= at + self.window]
                    if trace[0]["timestamp"] <= at and not any(e["activity"] == action for e in window):
                        before = [e for e in trace if e["timestamp"] <= at]
                        won = any(self.is_success(e) and e["timestamp"] > at for e in window)
                        where = self.situation(case, before, at)
                        out.append({"case": case, "time": at, "where": where, "won": won, "contact": j})
                        break
        return out

    def running(self, action: str, window: Mapping[str, Any]) -> bool:
        """True when a contact of the action was made in the window before, not at the moment itself."""
        first, last = window["time"] - self.window, window["time"]
        return any(
            first < e["timestamp"] < last for e in self.traces[window["case"]] if e["activity"] == action
        )

    def base(self, action: str) -> dict[int, float]:
        """The base of every contact that can be compared: least squares on dummies, no sparse matrix."""
        contacts, controls = self.contacts(action), self.controls(action)
        drawn, free = {c["contact"] for c in controls}, {c["case"] for c in controls}
        kept = [j for j, c in enumerate(contacts) if j in drawn and c["case"] in free]

        def effects(w: Mapping[str, Any]) -> list[tuple[str, Any]]:
            day, (_, pressure, seen) = w["time"].date(), w["where"]
            named = {"case": w["case"], "day": day, "pressure": pressure, "seen": seen}
            return [*named.items(), ("recent", self.running(action, w))]

        rows = [effects(w) for w in [*controls, *(contacts[j] for j in kept)]]
        names = {name: i for i, name in enumerate(dict.fromkeys(e for row in rows for e in row))}
        design = np.zeros((len(rows), len(names)))
        for i, row in enumerate(rows):
            design[i, [names[e] for e in row]] = 1
        won = np.array([w["won"] for w in controls], dtype=float)
        fit = np.linalg.lstsq(design[: len(controls)], won - won.mean(), rcond=None)[0]
        return dict(zip(kept, won.mean() + design[len(controls) :] @ fit, strict=True))

    def numbers(self, suggestion: Mapping[str, Any]) -> tuple[int, int, int, float]:
        """n, responses, base_n and base_share of a suggestion, at the level it was counted at."""
        wanted = (suggestion["segment"], suggestion["pressure"], suggestion["seen"])
        depth = {"action": 0, "segment": 1, "situation": 3}[suggestion["level"]]
        action = suggestion["action"]
        if action not in self.known:
            self.known[action] = (self.contacts(action), self.controls(action), self.base(action))
        contacts, controls, base = self.known[action]
        same = [j for j in base if contacts[j]["where"][:depth] == wanted[:depth]]
        drawn = sum(c["contact"] in same for c in controls)
        share = min(max(sum(base[j] for j in same) / len(same), 0.0), 1.0)
        return len(same), sum(contacts[j]["won"] for j in same), drawn, share
