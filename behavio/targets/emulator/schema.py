"""What the emulated CRM knows: objects, fields, record types, read from a TOML file."""

from __future__ import annotations

import re
import tomllib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from behavio.errors import JobError

KINDS = ("text", "longtext", "number", "boolean", "date", "datetime", "picklist", "reference", "id")
FLAGS = ("required", "external", "unique", "readonly", "fixed")
FORM = re.compile(r"(\w+)(?:\(([^)]*)\))?((?: \w+)*)")
SHIPPED = Path(__file__).parent / "schemas"


@dataclass(frozen=True, slots=True)
class FieldSpec:
    """One field: `length` in characters (0: none), `values` of a picklist, `to` the object it refers to.

    A fixed one is set when the row is made and never again: the parent in a master-detail relationship.
    """

    name: str
    kind: str
    length: int = 0
    values: tuple[str, ...] = ()
    to: str = ""
    required: bool = False
    external: bool = False
    unique: bool = False
    readonly: bool = False
    fixed: bool = False

    @property
    def key(self) -> bool:
        """Whether rows may be found by it."""
        return self.external or self.unique


@dataclass(frozen=True, slots=True)
class Names:
    """What a system calls its own columns; `modified` are all set on every write."""

    id: str
    created: str
    modified: tuple[str, ...]
    deleted: str
    name: str
    record_type: str


SALESFORCE = Names(
    "Id", "CreatedDate", ("LastModifiedDate", "SystemModstamp"), "IsDeleted", "Name", "RecordTypeId"
)
VAULT = Names("id", "created_date__v", ("modified_date__v",), "", "name__v", "object_type__v")


@dataclass(frozen=True, slots=True)
class ObjectSpec:
    """One object; `prefix` begins the ids of its rows."""

    name: str
    prefix: str
    fields: dict[str, FieldSpec] = field(default_factory=dict)
    record_types: tuple[str, ...] = ()


def load_schema(path: Path, names: Names) -> dict[str, ObjectSpec]:
    """Objects of a schema file, with the system's own columns. JobError for a form it does not know."""
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, tomllib.TOMLDecodeError) as problem:
        raise JobError(
            f"the schema {path} cannot be read: {problem}", hint="see docs/guides/crm.md"
        ) from None
    return {name: object_of(name, one, names) for name, one in table.items()}


def object_of(name: str, table: dict, names: Names) -> ObjectSpec:
    """One object of a schema file."""
    kinds = tuple(table.get("record_types", ()))
    fields = {f.name: f for f in system_fields(names, bool(kinds))}
    for one, text in table.get("fields", {}).items():
        fields[one] = field_of(one, str(text))
    return ObjectSpec(name, str(table.get("prefix", "a99")), fields, kinds)


def system_fields(names: Names, typed: bool) -> list[FieldSpec]:
    """Columns every object has."""
    found = [FieldSpec(names.id, "id", 18, readonly=True), FieldSpec(names.name, "text", 255)]
    found += [FieldSpec(n, "datetime", readonly=True) for n in (names.created, *names.modified)]
    if names.deleted:
        found.append(FieldSpec(names.deleted, "boolean", readonly=True))
    if typed:
        to = "RecordType" if names.record_type == "RecordTypeId" else ""
        found.append(FieldSpec(names.record_type, "reference" if to else "text", 80, to=to))
    return found


def field_of(name: str, text: str) -> FieldSpec:
    """Read "picklist(a|b) required" and its like."""
    found = FORM.fullmatch(text.strip())
    flags = found[3].split() if found else []
    if found is None or found[1] not in KINDS or set(flags) - set(FLAGS):
        raise JobError(
            f"the field {name} = {text!r} has an unknown form",
            hint=f"kinds: {', '.join(KINDS)}; flags: {', '.join(FLAGS)}",
        )
    kind, given = found[1], found[2] or ""
    marks: dict[str, Any] = dict.fromkeys(flags, True)
    if kind == "picklist":
        return FieldSpec(name, kind, 255, values=tuple(given.split("|")), **marks)
    if kind == "reference":
        return FieldSpec(name, kind, 18, to=given, **marks)
    return FieldSpec(name, kind, int(given or (255 if kind == "text" else 0)), **marks)
