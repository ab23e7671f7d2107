"""Slow, obvious readers the fast ones are compared with."""

from __future__ import annotations

import csv
import io
import json
from datetime import datetime, timezone

Event = tuple[str, str, datetime]


def csv_text(rows: list[list[str]], delimiter: str = ",") -> str:
    """Rows as delimited text, quoted where needed."""
    out = io.StringIO()
    csv.writer(out, delimiter=delimiter, lineterminator="\n").writerows(rows)
    return out.getvalue()


def slow_csv(text: str, delimiter: str) -> list[Event]:
    """Events of sound delimited text with the header case_id, activity, timestamp, in log order."""
    rows = list(csv.DictReader(io.StringIO(text), delimiter=delimiter))
    return in_order([(r["case_id"], r["activity"], moment(r["timestamp"])) for r in rows])


def slow_json_lines(text: str) -> list[Event]:
    rows = [json.loads(line) for line in text.split("\n") if line.strip()]
    return in_order([(r["case_id"], r["activity"], moment(r["timestamp"])) for r in rows])


def moment(text: str) -> datetime:
    """ISO text as UTC; without a zone it is UTC already."""
    time = datetime.fromisoformat(text)
    return time.replace(tzinfo=timezone.utc) if time.tzinfo is None else time.astimezone(timezone.utc)  # noqa: UP017


def in_order(events: list[Event]) -> list[Event]:
    """By case (as bytes, like the log), then time, then as read."""
    numbered = sorted(enumerate(events), key=lambda e: (e[1][0].encode(), e[1][2], e[0]))
    return [event for _, event in numbered]
