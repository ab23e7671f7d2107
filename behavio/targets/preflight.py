"""Does the mapping fit the system? Everything that does not is found at once, before the first write."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date
from difflib import get_close_matches

from behavio.errors import JobError
from behavio.targets.crm import Crm, Field
from behavio.targets.mapping import Column, CrmMapping, ObjectMapping

NUMBERS = ("strength", "rating", "affinity", "rank", "score", "probability", "segment_id")
DAYS = ("expires_on", "posted", "due_from", "due_to", "consent_checked_at")


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that does not fit."""

    object: str
    column: str
    problem: str
    hint: str = ""


def preflight(mapping: CrmMapping, crm: Crm) -> list[Finding]:
    """What does not fit, in the order of the mapping; empty when all does. Only reads."""
    if mapping.system != crm.system:
        text = f"the mapping is for {mapping.system}, the target is {crm.system}"
        return [Finding("", "", text, "choose another mapping")]
    return [found for one in mapping.objects for found in _object(one, crm)]


def check(mapping: CrmMapping, crm: Crm) -> None:
    """Raise JobError that lists all that does not fit."""
    found = preflight(mapping, crm)
    if found:
        lines = "\n".join(
            f"  {f.object}.{f.column}: {f.problem}" + (f" ({f.hint})" if f.hint else "") for f in found
        )
        raise JobError(
            f"the mapping {mapping.name} does not fit {crm.address}, nothing was written:\n{lines}",
            hint="change the mapping, or ask the admin for the fields and permissions (docs/guides/crm.md)",
        )


def _object(mapping: ObjectMapping, crm: Crm) -> Iterator[Finding]:
    object, fields = mapping.object, crm.fields(mapping.object)
    if not fields:
        yield Finding(object, "", "there is no such object, or the user may not see it")
        return
    for column in mapping.columns:
        if "." in column.name:
            yield from _related(object, column, fields, crm)
        elif column.name not in fields:
            yield _unknown(object, column.name, fields)
        else:
            yield from _column(mapping, column, fields[column.name], crm)
    key = fields.get(mapping.key)
    if key is not None and not key.key:
        yield Finding(object, mapping.key, "rows cannot be found by it", "make it an external id, unique")
    if mapping.operation == "update" and mapping.key != crm.id and crm.system == "salesforce":
        yield Finding(object, mapping.key, "updates find rows by Id only", f'key = "{crm.id}"')
    read = [p.partition(":")[0] for p in mapping.protect] + [mapping.dismissed, mapping.changed]
    yield from (_unknown(object, name, fields) for name in dict.fromkeys(read) if name and name not in fields)
    if mapping.operation == "upsert":
        given = {c.partition(".")[0] for c in mapping.names}
        given |= {r[0].name for c in mapping.names if (r := crm.refers(fields, c)) is not None}
        for name, field in fields.items():
            if field.required and field.create and name not in given:
                yield Finding(object, name, "the system requires it, the mapping does not fill it")


def _unknown(object: str, name: str, fields: dict[str, Field]) -> Finding:
    near = get_close_matches(name, fields, 1, 0.6)
    hint = f"did you mean {near[0]}?" if near else "make it, or take it out of the mapping"
    return Finding(object, name, "there is no such field, or the user may not see it", hint)


def _related(object: str, column: Column, fields: dict[str, Field], crm: Crm) -> Iterator[Finding]:
    found = crm.refers(fields, column.name)
    if found is None:
        yield Finding(object, column.name, "there is no such reference, or the user may not see it")
        return
    reference, there = found
    other = crm.fields(reference.refers[0]) if reference.refers else {}
    if there not in other:
        yield _unknown(reference.refers[0] if reference.refers else object, there, other)
    elif not other[there].key:
        yield Finding(object, column.name, f"{there} is no external id: rows cannot be found by it")


def _column(mapping: ObjectMapping, column: Column, field: Field, crm: Crm) -> Iterator[Finding]:
    object, name = mapping.object, column.name
    by_id = name == mapping.key == crm.id
    if not field.create and not field.update and not by_id:
        yield Finding(object, name, "the user may not write it", "field-level security: edit access")
    constants = [column.source] if not column.names else []
    written = list(column.values.values()) or constants
    if field.kind == "picklist":
        for value in written:
            if value not in field.values:
                yield Finding(
                    object,
                    name,
                    f"{value!r} is no value of the picklist",
                    f"values: {', '.join(field.values)}",
                )
    for value in constants:
        if field.length and len(value) > field.length:
            yield Finding(object, name, f"{len(value)} characters, {field.length} fit")
        if not _reads(value, field.kind):
            yield Finding(object, name, f"{value!r} is no {field.kind}")
    if column.names and not column.values:
        yield from _type(object, column, field)
    if column.resolve is not None:
        there, by = column.resolve
        if by not in crm.fields(there):
            yield Finding(object, name, f"resolve: there is no {there}.{by}, or the user may not see it")


def _type(object: str, column: Column, field: Field) -> Iterator[Finding]:
    """What our names hold against what the field takes."""
    alone = column.source == f"{{{column.names[0]}}}"
    kind = (
        "number"
        if alone and column.names[0] in NUMBERS
        else "date"
        if alone and column.names[0] in DAYS
        else "text"
    )
    wants = field.kind
    fits = {
        "number": kind == "number",
        "boolean": False,
        "date": kind == "date",
        "datetime": kind == "date",
    }
    if not fits.get(wants, True):
        yield Finding(object, column.name, f"{column.source} is {kind}, the field takes {wants}")
    if wants == "reference" and kind != "text":
        yield Finding(object, column.name, f"{column.source} is {kind}, the field takes an id")


def _reads(value: str, kind: str) -> bool:
    if kind == "boolean":
        return value.lower() in ("true", "false")
    try:
        if kind == "number":
            float(value)
        elif kind == "date":
            date.fromisoformat(value)
    except ValueError:
        return False
    return True


def rows_of(found: Sequence[Finding]) -> list[dict[str, str]]:
    """Findings as rows of a table."""
    return [{"object": f.object, "column": f.column, "problem": f.problem, "hint": f.hint} for f in found]
