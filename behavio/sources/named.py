"""What a job names: columns that win over those of the mapping, and guesses for plain tables."""

from __future__ import annotations

from dataclasses import replace

from behavio.log import ATTRIBUTES
from behavio.sources.guess import guess, named_or_guessed
from behavio.sources.mapping import Field, SourceMapping
from behavio.sources.settings import SourceSettings
from behavio.sources.tabular import RawTable
from behavio.sources.twins import PLACE


def with_settings(
    mapping: SourceMapping, settings: SourceSettings, table: RawTable, *, plain: bool
) -> SourceMapping:
    """The mapping with what the job names, and for plain tables what can be guessed."""
    joined = [f"{name}.{column}" for name, join in mapping.join.items() for column in join.columns]
    columns, shown = [*table.columns, *joined], table.files[0]
    changes: dict[str, object] = {}
    wanted = {"case_id": settings.case_id, "activity": settings.activity, "timestamp": settings.timestamp}
    for what, named in wanted.items():
        if named is not None and PLACE.search(named):
            changes[what] = Field(template=named)
        elif named is not None or plain:
            if what == "timestamp" and named is None and _without_clock(table, settings):
                continue
            changes[what] = Field(column=(named_or_guessed(what, named, columns, shown),))
    if settings.timestamp_format is not None:
        changes["timestamp_format"] = settings.timestamp_format
    if settings.order is not None:
        changes["order"] = (settings.order,)
    attributes = dict(mapping.attributes)
    if plain:
        taken = {f.column[0] for f in changes.values() if isinstance(f, Field) and f.column}
        attributes |= {a: Field(column=(a,)) for a in _own_attributes() if a in columns and a not in taken}
    for attribute, column in settings.columns.items():
        attributes[attribute] = Field(column=(named_or_guessed(attribute, column, columns, shown),))
    keep = (*mapping.keep, *(settings.keep or (("*",) if plain else ())))
    return replace(mapping, attributes=attributes, keep=keep, **changes)  # type: ignore[arg-type]


def named_columns(settings: SourceSettings) -> list[str]:
    """Columns the job names: they stay even where the mapping drops them."""
    written = (settings.case_id, settings.activity, settings.timestamp, settings.order)
    return [*(c for c in written if c), *settings.columns.values(), *settings.keep]


def _own_attributes() -> list[str]:
    return [a for a in ATTRIBUTES if a not in ("source", "source_file", "source_row")]


def _without_clock(table: RawTable, settings: SourceSettings) -> bool:
    """True when no column looks like a time, but one orders the events."""
    return guess("timestamp", table.columns) is None and (
        settings.order is not None or guess("order", table.columns) is not None
    )
