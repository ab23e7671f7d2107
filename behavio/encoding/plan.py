"""Which columns of a plain table a stream needs, decided as the careful path decides it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import polars as pl

from behavio.encoding.pieces import Unfit
from behavio.log import REJECTED_SCHEMA
from behavio.sequences import FIELDS
from behavio.sources.guess import plain
from behavio.sources.mapping import Field, SourceMapping
from behavio.sources.named import with_settings
from behavio.sources.privacy import OPT_OUT
from behavio.sources.settings import SourceSettings
from behavio.sources.tabular import FILE, ROW, RawTable


@dataclass(frozen=True, slots=True)
class Plan:
    """What to read of a plain table.

    mapping   the whole mapping, as the careful path has it
    fields    attribute ← column, for the attributes that are coded beside the activity
    complete  no other column exists, so equal rows can be told from what is read
    carried   other columns, which would travel along with the events
    """

    mapping: SourceMapping
    case_id: str
    activity: str
    timestamp: str
    fields: Mapping[str, str]
    complete: bool
    renamed: Mapping[str, str]
    carried: tuple[str, ...]
    keep_text: bool

    @property
    def columns(self) -> list[str]:
        """Columns to read, each once."""
        return list(dict.fromkeys([self.case_id, self.activity, self.timestamp, *self.fields.values()]))


def can_stream(settings: SourceSettings) -> bool:
    """True when nothing in the settings asks for what only the careful path does."""
    careful = (settings.mapping, settings.order, settings.encoding, settings.url)
    plain = settings.kind == "table" and all(c is None for c in careful) and not settings.joins
    named = all(n == "activity" and not isinstance(v, str) for n, v in settings.values.items())
    return plain and named and settings.repeats == "keep"


def plan_of(columns: Sequence[str], shown: str, settings: SourceSettings, *, keep_text: bool) -> Plan:
    """The plan for a table with these columns. Raises LogError where a column is missing, Unfit where the
    careful path has to look."""
    if len(set(columns)) < len(columns) or any(c.startswith("__") for c in columns):
        raise Unfit("column names")
    if any(plain(c) in OPT_OUT for c in columns):
        raise Unfit("people who opted out")
    empty = pl.DataFrame(schema={**dict.fromkeys(columns, pl.String()), ROW: pl.Int64(), FILE: pl.Int32()})
    none = pl.DataFrame(schema=REJECTED_SCHEMA).drop("source")
    mapping = with_settings(SourceMapping(), settings, RawTable(empty, (shown,), none), plain=True)
    if mapping.order or not mapping.timestamp.needs:
        raise Unfit("an order without a clock")
    fields = {a: _column(f) for a, f in mapping.attributes.items() if a in FIELDS}
    named = [c for c in mapping.keep if c != "*"]
    if any(c not in columns for c in named):
        raise Unfit("a column to keep is missing")
    case_id, activity, timestamp = (
        _column(f) for f in (mapping.case_id, mapping.activity, mapping.timestamp)
    )
    used = {case_id, activity, timestamp, *fields.values()}
    renamed = settings.values.get("activity", {})
    assert not isinstance(renamed, str)
    asked = {*mapping.needs, *mapping.keep}
    carried = tuple(c for c in columns if c not in asked) if "*" in mapping.keep else ()
    complete = set(columns) <= used
    return Plan(mapping, case_id, activity, timestamp, fields, complete, dict(renamed), carried, keep_text)


def _column(field: Field) -> str:
    """The one column of a field; Unfit for templates and mapped values."""
    if field != Field(column=field.column) or len(field.column) != 1:
        raise Unfit("a template")
    return field.column[0]
