"""OCEL 2.0 logs, one object type chosen as the case: one row for each event of each case object.

The three official forms are read: JSON, XML and SQLite (source: OCEL 2.0 specification, ocel-standard.org).
An event of several objects of the type stands in the case of each; an event of none is left out and
counted. Columns: case_id (the object), activity (event type), timestamp, ocel_event (event id),
ocel_qualifier (how the event names the object), ocel_<type> (ids of the event's other objects), the event's
own attributes, and case_<attribute> as it stood when the event happened. The row number is the event's.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import polars as pl

from behavio.errors import LogError
from behavio.sources.inputs import Input
from behavio.sources.settings import nearest
from behavio.sources.text import Lines
from behavio.sources.times import read_times

NUMBERS: Mapping[str, tuple[pl.DataType, str]] = {
    "integer": (pl.Int64(), r"^-?\d{1,18}$"),
    "float": (pl.Float64(), r"^-?\d+(\.\d+)?([eE][+-]?\d+)?$"),
}


@dataclass(slots=True)
class Event:
    """One event as it stands in the file; `row` is its 1-based number there."""

    row: int
    id: str | None
    type: str | None
    time: str | None
    attributes: dict[str, str | None]
    objects: list[tuple[str, str]] = field(default_factory=list)  # id, qualifier


@dataclass(slots=True)
class ObjectLog:
    """What an OCEL file says, whatever its form.

    types    object type of each object id
    values   (object id, attribute) → (time, value) of each time it was set
    kinds    declared type of each event attribute; "" where event types differ
    """

    events: list[Event] = field(default_factory=list)
    types: dict[str, str] = field(default_factory=dict)
    values: dict[tuple[str, str], list[tuple[str, str | None]]] = field(default_factory=dict)
    kinds: dict[str, str] = field(default_factory=dict)
    wrong: list[tuple[int, str, str, str]] = field(default_factory=list)
    n_between: int = 0  # relations between objects

    def declare(self, attribute: str, kind: str) -> None:
        """Note the declared type of an event attribute."""
        known = self.kinds.setdefault(attribute, kind)
        self.kinds[attribute] = kind if known == kind else ""


def read_ocel(data: bytes, item: Input, object_type: str | None) -> Lines:
    """Rows of the cases of one object type, and what was left out.

    Raises LogError when the file is damaged or no OCEL 2.0, or the object type is not there (it lists them).
    """
    from behavio.sources.ocel_forms import from_json, from_sqlite, from_xml

    if data[:6] == b"SQLite":
        log = from_sqlite(data, item)
    elif data.lstrip(b"\xef\xbb\xbf \t\r\n")[:1] == b"<":
        log = from_xml(data, item)
    else:
        log = from_json(data, item)
    if not log.events and not log.wrong:
        raise LogError(f"{item.shown} holds no event", hint="give a log with at least one event")
    case = _case_type(log, item, object_type)
    return _lines(log, case)


def _case_type(log: ObjectLog, item: Input, named: str | None) -> str:
    """The object type that is the case: the named one, or the only one."""
    counted = Counter(log.types.values())
    listed = ", ".join(f"{t} ({n:,})" for t, n in counted.most_common())
    if named is None and len(counted) == 1:
        return next(iter(counted))
    if not counted:
        raise LogError(f"{item.shown} holds no object", hint="give a log with objects")
    if named is None:
        raise LogError(
            f"{item.shown} is an OCEL log: one of its object types must be the case",
            hint=f'object_type = "{counted.most_common(1)[0][0]}" (--object-type); it has: {listed}',
        )
    if named not in counted:
        near = nearest(named, list(counted))
        hint = f"did you mean {near!r}? " if near else ""
        raise LogError(f"{item.shown} has no object of type {named!r}", hint=f"{hint}it has: {listed}")
    return named


def _lines(log: ObjectLog, case: str) -> Lines:
    rows: list[tuple[Event, str, str]] = []
    left_out: Counter[str] = Counter()
    n_shared = n_unknown = 0
    for event in log.events:
        own = [(o, q) for o, q in event.objects if log.types.get(o) == case]
        n_unknown += sum(o not in log.types for o, _ in event.objects)
        once = dict(reversed(own))
        if len(own) > len(once):
            left_out["the event names the same object a second time"] += len(own) - len(once)
        if not once:
            left_out[f"no {case} takes part in the event"] += 1
        n_shared += len(once) > 1
        rows += [(event, o, once[o]) for o in dict.fromkeys(o for o, _ in own)]
    notes = [f"cases are the objects of type {case}"]
    if n_shared:
        notes.append(f"{n_shared:,} events belong to several {case} objects: each counts once in every one")
    if n_unknown:
        notes.append(f"{n_unknown:,} relations name an object that the log does not hold")
    if log.n_between:
        notes.append(f"{log.n_between:,} relations between objects are not read")
    numbers = pl.Series([e.row for e, _, _ in rows], dtype=pl.Int64)
    return Lines(_frame(log, case, rows), numbers, log.wrong, notes, dict(left_out))


def _frame(log: ObjectLog, case: str, rows: list[tuple[Event, str, str]]) -> pl.DataFrame:
    columns: dict[str, pl.Series] = {
        "case_id": _text(o for _, o, _ in rows),
        "activity": _text(e.type for e, _, _ in rows),
        "timestamp": _text(e.time for e, _, _ in rows),
        "ocel_event": _text(e.id for e, _, _ in rows),
    }
    if any(q for _, _, q in rows):
        columns["ocel_qualifier"] = _text(q or None for _, _, q in rows)
    others = sorted({t for t in log.types.values() if t != case})
    for kind in others:
        ids = [
            ", ".join(dict.fromkeys(o for o, _ in e.objects if log.types.get(o) == kind)) for e, _, _ in rows
        ]
        if any(ids):
            columns[_free(f"ocel_{kind}", columns)] = _text(v or None for v in ids)
    for name in dict.fromkeys(a for e, _, _ in rows for a in e.attributes):
        texts = _text(e.attributes.get(name) for e, _, _ in rows)
        columns[_free(name, columns)] = _numbers(texts, log.kinds.get(name, ""))
    columns |= _case_attributes(log, case, rows, columns)
    return pl.DataFrame([s.alias(n) for n, s in columns.items()])


def _case_attributes(
    log: ObjectLog, case: str, rows: list[tuple[Event, str, str]], taken: Mapping[str, pl.Series]
) -> dict[str, pl.Series]:
    """Attributes of the case object as they stood at the event; before the first statement, empty."""
    names = dict.fromkeys(a for o, a in log.values if log.types.get(o) == case)
    if not names:
        return {}
    said = {k: v for k, v in log.values.items() if log.types.get(k[0]) == case}
    at = _micros(e.time for e, _, _ in rows)
    stated = iter(_micros(t for v in said.values() for t, _ in v))
    history: dict[tuple[str, str], tuple[list[int], list[str | None]]] = {}
    for key, values in said.items():
        dated = sorted(((next(stated), value) for _, value in values), key=lambda v: v[0])
        history[key] = [t for t, _ in dated], [v for _, v in dated]
    found: dict[str, pl.Series] = {}
    for name in names:
        texts = []
        for (_, object_id, _), time in zip(rows, at, strict=True):
            times, values_ = history.get((object_id, name), ([], []))
            place = bisect_right(times, time)
            texts.append(values_[place - 1] if place else None)
        found[_free(f"case_{name}", {**taken, **found})] = _text(texts)
    return found


def _micros(times: Iterable[str | None]) -> list[int]:
    """Times as microseconds; one that cannot be read lies before all others."""
    text = _text(times)
    if text.len() == 0:
        return []
    return read_times(text).utc.dt.epoch("us").fill_null(-(2**62)).to_list()


def _free(name: str, taken: Mapping[str, pl.Series]) -> str:
    """A column name that is not taken."""
    while name in taken:
        name += "_source"
    return name


def _text(values: Iterable[str | None]) -> pl.Series:
    return pl.Series("", list(values), dtype=pl.String)


def _numbers(texts: pl.Series, kind: str) -> pl.Series:
    """Attributes declared as numbers, when every value is one."""
    if kind not in NUMBERS:
        return texts
    number, shape = NUMBERS[kind]
    return texts.cast(number) if texts.drop_nulls().str.contains(shape).all() else texts
