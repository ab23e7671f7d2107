"""XES event logs (IEEE 1849) by r4pm: one row per event, in the order of the file.

`concept:name` becomes activity, `time:timestamp` timestamp, the trace's name case_id, other trace
attributes `case_…`, `lifecycle:transition` lifecycle, `org:resource` resource, `org:group` group.
"""

from __future__ import annotations

import re
import tempfile
from pathlib import Path

import polars as pl

from behavio.errors import LogError
from behavio.sources.inputs import Input

NAMES = {
    "case:concept:name": "case_id",
    "concept:name": "activity",
    "time:timestamp": "timestamp",
    "lifecycle:transition": "lifecycle",
    "org:resource": "resource",
    "org:group": "group",
}
COMMENT = re.compile(rb"<!--.*?-->", re.DOTALL)
NAIVE = re.compile(rb"<date\b[^>]*\bvalue\s*=\s*[\"'][\d-]{10}(?:[T ][\d:.]*)?[\"']")
ZONED = re.compile(rb"<date\b[^>]*\bvalue\s*=\s*[\"'][^\"']{10,}(?:Z|[+-]\d\d:?\d\d)[\"']")
EVENT, TRACE = re.compile(rb"<event[\s>/]"), re.compile(rb"<trace[\s>/]")


def read_xes(data: bytes, item: Input) -> tuple[pl.DataFrame, list[str]]:
    """Events of unpacked XES text, and notes.

    Raises LogError when the text is no XES or holds more events than could be read (the parser stops
    silently at damage, so the events are counted in the text).
    """
    from r4pm import df

    if b"<log" not in data[:20_000]:
        raise LogError(f"{item.shown} is no XES log: it has no <log>", hint="give an event log")
    with tempfile.TemporaryDirectory() as folder:  # the parser takes paths only, and trusts their ending
        draft = Path(folder) / "log.xes"
        draft.write_bytes(data)
        try:
            frame, _ = df.import_xes(str(draft))
        except Exception as problem:  # r4pm raises plain Exception
            raise LogError(f"{item.shown} is no readable XES log: {problem}", hint="fetch it again") from None
    text = COMMENT.sub(b"", data) if b"<!--" in data else data
    n_events, n_traces = len(EVENT.findall(text)), len(TRACE.findall(text))
    if b"</log>" not in data[-2_000:]:
        raise LogError(
            f"{item.shown} is cut off: it ends after {n_events:,} events without </log>",
            hint="fetch it again",
        )
    if frame.height != n_events:
        raise LogError(
            f"{item.shown} is damaged: {n_events:,} events stand in it, {frame.height:,} could be read",
            hint="the XML is not well-formed; fetch it again",
        )
    if frame.height == 0:
        raise LogError(f"{item.shown} holds no event", hint="give a log with at least one event")
    frame = pl.DataFrame(frame).rename(_names(frame.columns))
    first = [c for c in NAMES.values() if c in frame.columns]
    frame = frame.select(*first, *sorted(c for c in frame.columns if c not in first))  # r4pm has no order
    frame, notes = _zoned(frame, text)
    with_events = frame["case_id"].n_unique() if "case_id" in frame.columns else 0
    if n_traces > with_events:
        notes.append(
            f"{n_traces:,} traces, {with_events:,} names with an event: the rest is empty or shares a name"
        )
    return frame, notes


def _zoned(frame: pl.DataFrame, text: bytes) -> tuple[pl.DataFrame, list[str]]:
    """r4pm gives UTC without saying so; where no time carries a zone, the job's zone shall place them."""
    naive = NAIVE.search(text) is not None
    if naive and ZONED.search(text) is None:
        return frame, []
    times = [n for n, t in frame.schema.items() if isinstance(t, pl.Datetime) and t.time_zone is None]
    frame = frame.with_columns(pl.col(times).dt.replace_time_zone("UTC"))
    return frame, ["times without a zone are taken as UTC"] if naive else []


def _names(columns: list[str]) -> dict[str, str]:
    """New name of each column; where a name is taken already, the raw one stays."""
    names: dict[str, str] = {}
    taken = {c for c in columns if c not in NAMES and not c.startswith("case:")}
    for column in columns:
        new = NAMES.get(column, f"case_{column[5:]}" if column.startswith("case:") else column)
        names[column] = column if new != column and new in taken else new
        taken.add(names[column])
    return names
