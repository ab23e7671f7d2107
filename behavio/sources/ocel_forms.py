"""The three official forms of an OCEL 2.0 log, each read into the same `ObjectLog`."""

from __future__ import annotations

import io
import json
import sqlite3
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from behavio.errors import LogError
from behavio.sources.inputs import WAIT, Input
from behavio.sources.ocel import Event, ObjectLog

TABLES = ("event", "object", "event_object", "event_map_type", "object_map_type")


def from_json(data: bytes, item: Input) -> ObjectLog:
    """The log of a JSON text: objectTypes, eventTypes, objects, events."""
    try:
        whole = json.loads(data, parse_constant=lambda _: None)
    except (ValueError, RecursionError) as problem:
        raise LogError(f"{item.shown} is no valid JSON: {problem}", hint="fetch it again") from None
    if not isinstance(whole, dict) or not isinstance(whole.get("events"), list):
        raise LogError(f"{item.shown} is no OCEL 2.0 log: it has no list of events", hint="fetch it again")
    log = ObjectLog()
    for kind in _dicts(whole.get("eventTypes")):
        for attribute in _dicts(kind.get("attributes")):
            log.declare(str(attribute.get("name")), str(attribute.get("type")))
    for thing in _dicts(whole.get("objects")):
        object_id = str(thing.get("id"))
        log.types[object_id] = str(thing.get("type"))
        for value in _dicts(thing.get("attributes")):
            history = log.values.setdefault((object_id, str(value.get("name"))), [])
            history.append((_said(value.get("time")) or "", _said(value.get("value"))))
        log.n_between += len(_dicts(thing.get("relationships")))
    for row, entry in enumerate(whole["events"], start=1):
        if not isinstance(entry, dict):
            log.wrong.append((row, "the event is no JSON object", "write {…}", json.dumps(entry)))
            continue
        attributes = {str(a.get("name")): _said(a.get("value")) for a in _dicts(entry.get("attributes"))}
        event = Event(
            row, _said(entry.get("id")), _said(entry.get("type")), _said(entry.get("time")), attributes
        )
        for relation in _dicts(entry.get("relationships")):
            event.objects.append((str(relation.get("objectId")), _said(relation.get("qualifier")) or ""))
        log.events.append(event)
    return log


def from_xml(data: bytes, item: Input) -> ObjectLog:
    """The log of an XML text: object-types, event-types, objects, events."""
    if b"<!ENTITY" in data[:100_000]:
        raise LogError(f"{item.shown} defines XML entities, which are not read", hint="export it again")
    log = ObjectLog()
    try:
        for _, element in ET.iterparse(io.BytesIO(data)):
            if element.tag == "event-type":
                for attribute in element.iter("attribute"):
                    log.declare(attribute.get("name", ""), attribute.get("type", ""))
            elif element.tag == "object" and element.get("id") is not None:
                _xml_object(log, element)
                element.clear()
            elif element.tag == "event":
                row = len(log.events) + 1
                attributes = {a.get("name", ""): a.text for a in element.iter("attribute")}
                event = Event(row, element.get("id"), element.get("type"), element.get("time"), attributes)
                event.objects += [(o, r.get("qualifier", "")) for o, r in _relations(element)]
                log.events.append(event)
                element.clear()
    except (ET.ParseError, ValueError, LookupError) as problem:
        raise LogError(
            f"{item.shown} is cut off or damaged XML: {problem}",
            hint="fetch it again; " + WAIT,
        ) from None
    return log


def _xml_object(log: ObjectLog, element: ET.Element) -> None:
    object_id = element.get("id", "")
    log.types[object_id] = element.get("type", "")
    for value in element.iter("attribute"):
        history = log.values.setdefault((object_id, value.get("name", "")), [])
        history.append((value.get("time", ""), value.text))
    log.n_between += sum(1 for _ in _relations(element))


def _relations(element: ET.Element) -> Iterator[tuple[str, ET.Element]]:
    """Related object ids; the standard writes <relationship>, some tools <relobj> or <object>."""
    for tag in ("relationship", "relobj", "object"):
        for relation in element.iter(tag):
            if (object_id := relation.get("object-id")) is not None:
                yield object_id, relation


def from_sqlite(data: bytes, item: Input) -> ObjectLog:
    """The log of an SQLite database: event, object, event_object and one table per type."""
    beside = Path(f"{item.path}-wal")
    if beside.is_file() and beside.stat().st_size:
        raise LogError(f"{item.shown} is in use: {beside.name} holds changes of it", hint=WAIT)
    base = sqlite3.connect(":memory:")
    base.text_factory = lambda raw: raw.decode("utf-8", "replace")
    try:
        # A write-ahead database cannot be opened in memory; without its -wal file it is an ordinary one.
        base.deserialize(data[:18] + b"\x01\x01" + data[20:])
        have = [name for (name,) in base.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        missing = [t for t in TABLES if t not in have]
        if missing:
            raise LogError(
                f"{item.shown} is an SQLite database, no OCEL 2.0 log: it has no table {missing[0]!r}",
                hint=f'kind = "sql", url = "sqlite:///{item.shown}", table = …; it has: {", ".join(have)}',
            )
        return _from_tables(base)
    except (sqlite3.Error, OverflowError) as problem:
        raise LogError(f"{item.shown} is a damaged database: {problem}", hint="fetch it again") from None
    finally:
        base.close()


def _from_tables(base: sqlite3.Connection) -> ObjectLog:
    log = ObjectLog()
    types = {str(i): str(t) for i, t in base.execute("SELECT ocel_id, ocel_type FROM object")}
    log.types.update(types)
    details: dict[str, tuple[str | None, dict[str, str | None]]] = {}
    for table in _maps(base, "event_map_type"):
        for attribute, declared in _columns(base, f"event_{table}"):
            log.declare(attribute, declared)
        for event_id, time, values in _rows(base, f"event_{table}"):
            details[event_id] = (time, values)
    related: dict[str, list[tuple[str, str]]] = {}
    for event_id, object_id, qualifier in base.execute(
        "SELECT ocel_event_id, ocel_object_id, ocel_qualifier FROM event_object ORDER BY rowid"
    ):
        related.setdefault(str(event_id), []).append((str(object_id), _said(qualifier) or ""))
    for row, (event_id, kind) in enumerate(
        base.execute("SELECT ocel_id, ocel_type FROM event ORDER BY rowid"), start=1
    ):
        time, values = details.get(str(event_id), (None, {}))
        objects = related.get(str(event_id), [])
        log.events.append(Event(row, _said(event_id), _said(kind), time, values, objects))
    for table in _maps(base, "object_map_type"):
        for object_id, time, values in _rows(base, f"object_{table}"):
            changed = values.pop("ocel_changed_field", None)
            for name, value in values.items():
                if name == changed or (changed is None and value is not None):
                    log.values.setdefault((object_id, name), []).append((time or "", value))
    if base.execute("SELECT 1 FROM sqlite_master WHERE name = 'object_object'").fetchone():
        log.n_between = base.execute("SELECT count(*) FROM object_object").fetchone()[0]
    return log


def _maps(base: sqlite3.Connection, table: str) -> list[str]:
    return [str(name) for (name,) in base.execute(f"SELECT ocel_type_map FROM {table}")]


def _columns(base: sqlite3.Connection, table: str) -> list[tuple[str, str]]:
    """Name and declared type, in the words of the other forms, of the attribute columns of a table."""
    kinds = {"INTEGER": "integer", "REAL": "float"}
    found = base.execute(f"PRAGMA table_info({_quoted(table)})").fetchall()
    return [(n, kinds.get(t.upper(), "string")) for _, n, t, *_ in found if not n.startswith("ocel_")]


def _rows(base: sqlite3.Connection, table: str) -> Iterator[tuple[str, str | None, dict[str, str | None]]]:
    """Id, time and the other columns of each row."""
    cursor = base.execute(f"SELECT * FROM {_quoted(table)}")
    names = [d[0] for d in cursor.description]
    for values in cursor:
        row = {n: _said(v) for n, v in zip(names, values, strict=True)}
        yield row.pop("ocel_id", None) or "", row.pop("ocel_time", None), row


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def _dicts(value: Any) -> list[dict[str, Any]]:
    """The objects of a JSON list; what is no list has none."""
    return [v for v in value if isinstance(v, dict)] if isinstance(value, list) else []


def _said(value: Any) -> str | None:
    """A value as text: true and false as JSON writes them."""
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    return str(value) if type(value) in (int, float) else json.dumps(value)
