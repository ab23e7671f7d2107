"""The state of the emulated CRM: one SQLite table per object, rules on every row, triggers that matter."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from behavio.targets.emulator.schema import SALESFORCE, FieldSpec, Names, ObjectSpec, field_of, object_of
from behavio.targets.emulator.values import RowError, canonical, long_id, numbered_id, stamp

KINDS = {"number": "REAL", "boolean": "INTEGER NOT NULL DEFAULT 0"}
Trigger = Callable[["Store", ObjectSpec, dict[str, Any], str | None], None]


class Store:
    """Rows of every object, in memory or in one file that a later start goes on with."""

    def __init__(
        self,
        schema: Mapping[str, ObjectSpec],
        names: Names = SALESFORCE,
        path: Path | None = None,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self.schema = dict(schema)
        self.names = names
        self.clock = clock
        self.lock = threading.RLock()
        self.triggers: list[Trigger] = []
        self.sql = sqlite3.connect(str(path or ":memory:"), check_same_thread=False, isolation_level=None)
        self.sql.execute("PRAGMA journal_mode = MEMORY")
        self.sql.execute("PRAGMA synchronous = OFF")
        self._last: dict[str, int] = {}
        for (name,) in self.query("SELECT name FROM sqlite_master WHERE type = 'table'"):
            self.schema.setdefault(name, object_of(name, {"prefix": f"x{len(self.schema):02d}"}, names))
        for one in self.schema.values():
            self._create(one)
        for one in list(self.schema.values()):
            for kind in one.record_types:
                self._record_type(one, kind)

    def close(self) -> None:
        """Close the file."""
        self.sql.close()

    # what there is -------------------------------------------------------------------------------

    def spec(self, object: str) -> ObjectSpec:
        """The object by name; raises KeyError."""
        return self.schema[object]

    def query(self, text: str, values: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """Rows of a SQL question."""
        with self.lock:
            return self.sql.execute(text, values).fetchall()

    def find(self, object: str, field: str, value: Any) -> list[str]:
        """Ids of living rows with this value."""
        alive = f' AND "{self.names.deleted}" = 0' if self.names.deleted else ""
        text = f'SELECT "{self.names.id}" FROM "{object}" WHERE "{field}" = ?{alive}'
        return [str(row[0]) for row in self.query(text, (value,))]

    def row(self, object: str, id: str) -> dict[str, Any] | None:
        """One row with all its columns, or None."""
        columns = list(self.schema[object].fields)
        listed = ", ".join(f'"{c}"' for c in columns)
        found = self.query(f'SELECT {listed} FROM "{object}" WHERE "{self.names.id}" = ?', (id,))
        return dict(zip(columns, found[0], strict=True)) if found else None

    def rows(self, object: str) -> list[dict[str, Any]]:
        """Every row, in order of ids: what tests look at."""
        columns = list(self.schema[object].fields)
        listed = ", ".join(f'"{c}"' for c in columns)
        found = self.query(f'SELECT {listed} FROM "{object}" ORDER BY "{self.names.id}"')
        return [dict(zip(columns, row, strict=True)) for row in found]

    # writing -------------------------------------------------------------------------------------

    def save(
        self, object: str, values: Mapping[str, Any], *, key: str = "", id: str = "", only: str = ""
    ) -> tuple[str, bool]:
        """Write one row, found by `id` or by the value of `key`; its id and whether it is new.

        `only` is "insert" or "update" where nothing else is wanted. Raises RowError.
        """
        with self.lock:
            spec = self.schema[object]
            values = self._resolved(spec, values)
            id = long_id(id) if id else self._found(spec, values, key)
            if not id and only == "update":
                raise RowError("NOT_FOUND", f"no row of {object} has this {key or 'id'}")
            if id and only != "insert":
                return self._update(spec, id, values, key), False
            return self._insert(spec, values), True

    def delete(self, object: str, id: str) -> None:
        """Delete a row: marked where the system keeps a bin, gone otherwise. Raises RowError."""
        with self.lock:
            names, now = self.names, stamp(self.clock())
            if not self.find(object, names.id, long_id(id)):
                raise RowError("ENTITY_IS_DELETED", "entity is deleted")
            if not names.deleted:
                self.sql.execute(f'DELETE FROM "{object}" WHERE "{names.id}" = ?', (id,))
                return
            text = ", ".join(f'"{n}" = ?' for n in (names.deleted, *names.modified))
            values = [1, *[now] * len(names.modified), long_id(id)]
            self.sql.execute(f'UPDATE "{object}" SET {text} WHERE "{names.id}" = ?', values)

    def load(self, object: str, rows: Iterable[Mapping[str, str]]) -> int:
        """Rows as an export holds them, ids and times kept, unknown columns made as text; how many."""
        count = 0
        with self.lock:
            self.sql.execute("BEGIN")
            for row in rows:
                if not count:
                    self._widen(object, [c for c in row if "." not in c])
                spec = self.schema[object]
                kept = {c: v for c, v in row.items() if c in spec.fields and v != ""}
                clean = {c: _loose(spec.fields[c], v) for c, v in kept.items()}
                before = self.row(object, str(clean.get(self.names.id, "")))
                last = self.names.modified[-1]
                if before is not None:  # an export may hold older versions of a row
                    if str(before[last] or "") > str(clean.get(last, "")):
                        continue
                    self.sql.execute(
                        f'DELETE FROM "{object}" WHERE "{self.names.id}" = ?', (before[self.names.id],)
                    )
                self._put(spec, clean)
                count += before is None
            self.sql.execute("COMMIT")
        return count

    # inside --------------------------------------------------------------------------------------

    def _found(self, spec: ObjectSpec, values: Mapping[str, Any], key: str) -> str:
        """The id of the row that `values` mean by their key, "" where there is none."""
        if not key:
            return ""
        value = values.get(key)
        if value in (None, ""):
            raise RowError("MISSING_ARGUMENT", f"{key} not specified", (key,))
        ids = self.find(spec.name, key, canonical(spec.fields[key], value))
        if len(ids) > 1:
            raise RowError(
                "DUPLICATE_EXTERNAL_ID", f"{key}: more than one record found for external id", (key,)
            )
        if not ids and key == self.names.id:
            raise RowError("INVALID_CROSS_REFERENCE_KEY", "invalid cross reference id", (key,))
        return ids[0] if ids else ""

    def _resolved(self, spec: ObjectSpec, values: Mapping[str, Any]) -> dict[str, Any]:
        """The values, references by another object's key made ids."""
        found: dict[str, Any] = {}
        for name, value in values.items():
            if "." not in name:
                found[name] = value
                continue
            reference, there = reference_of(spec, name)
            if value in (None, ""):
                found[reference.name] = None
                continue
            ids = self.find(reference.to, there, value)
            if reference.to == "RecordType":
                ids = [i for i in ids if (self.row("RecordType", i) or {}).get("SobjectType") == spec.name]
            if len(ids) != 1:
                code = "INVALID_FIELD" if not ids else "DUPLICATE_EXTERNAL_ID"
                raise RowError(
                    code, f"Foreign key external ID: {value} not found for field {there} in {reference.to}"
                )
            found[reference.name] = ids[0]
        return found

    def _checked(
        self, spec: ObjectSpec, values: Mapping[str, Any], *, new: bool, key: str = ""
    ) -> dict[str, Any]:
        """Values as they are kept. Raises RowError for what the org would refuse."""
        found: dict[str, Any] = {}
        for name, value in values.items():
            field = spec.fields.get(name)
            if field is None:
                raise RowError("INVALID_FIELD", f"No such column '{name}' on entity '{spec.name}'", (name,))
            barred = field.readonly or (field.fixed and not new)
            if barred and not (name == self.names.id and not new):
                raise RowError(
                    "INVALID_FIELD_FOR_INSERT_UPDATE",
                    f"Unable to create/update fields: {name}. Please check the security settings",
                    (name,),
                )
            found[name] = canonical(field, value)
            if field.to and found[name] is not None and not self.find(field.to, self.names.id, found[name]):
                raise RowError("INVALID_CROSS_REFERENCE_KEY", f"invalid cross reference id: {name}", (name,))
        if new:
            lacking = [n for n, f in spec.fields.items() if f.required and found.get(n) is None]
            if lacking:
                raise RowError(
                    "REQUIRED_FIELD_MISSING",
                    f"Required fields are missing: [{', '.join(lacking)}]",
                    tuple(lacking),
                )
        return found

    def _insert(self, spec: ObjectSpec, values: Mapping[str, Any]) -> str:
        clean = self._checked(spec, values, new=True)
        for trigger in self.triggers:
            trigger(self, spec, clean, None)
        clean[self.names.id] = self._next(spec)
        now = stamp(self.clock())
        self._put(spec, {**clean, **dict.fromkeys((self.names.created, *self.names.modified), now)})
        return str(clean[self.names.id])

    def _update(self, spec: ObjectSpec, id: str, values: Mapping[str, Any], key: str) -> str:
        if not self.find(spec.name, self.names.id, id):
            raise RowError("ENTITY_IS_DELETED", "entity is deleted")
        clean = self._checked(spec, values, new=False)
        clean.pop(self.names.id, None)
        if key != self.names.id:
            clean.pop(key, None)
        for trigger in self.triggers:
            trigger(self, spec, clean, id)
        self.set(spec.name, id, clean)
        return id

    def set(self, object: str, id: str, values: Mapping[str, Any]) -> None:
        """Set clean values of a row, its times with them: for triggers."""
        with self.lock:
            values = {**values, **dict.fromkeys(self.names.modified, stamp(self.clock()))}
            text = ", ".join(f'"{c}" = ?' for c in values)
            try:
                self.sql.execute(
                    f'UPDATE "{object}" SET {text} WHERE "{self.names.id}" = ?', [*values.values(), id]
                )
            except sqlite3.IntegrityError as problem:
                raise RowError("DUPLICATE_VALUE", f"duplicate value found: {problem}") from None

    def _put(self, spec: ObjectSpec, values: Mapping[str, Any]) -> None:
        columns = ", ".join(f'"{c}"' for c in values)
        marks = ", ".join("?" * len(values))
        try:
            self.sql.execute(f'INSERT INTO "{spec.name}" ({columns}) VALUES ({marks})', list(values.values()))
        except sqlite3.IntegrityError as problem:
            raise RowError("DUPLICATE_VALUE", f"duplicate value found: {problem}") from None

    def _next(self, spec: ObjectSpec) -> str:
        """A new id; above the rows that a file already held."""
        number = self._last.get(spec.name)
        if number is None:
            number = self.query(f'SELECT count(*) FROM "{spec.name}"')[0][0]
        number += 1
        self._last[spec.name] = number
        return numbered_id(spec.prefix, 1_000_000 + number)

    def _create(self, spec: ObjectSpec) -> None:
        names = self.names
        columns = ", ".join(
            f'"{f.name}" {"TEXT PRIMARY KEY" if f.name == names.id else KINDS.get(f.kind, "TEXT")}'
            for f in spec.fields.values()
        )
        self.sql.execute(f'CREATE TABLE IF NOT EXISTS "{spec.name}" ({columns}) WITHOUT ROWID')
        for row in self.query(f'PRAGMA table_info("{spec.name}")'):  # columns that an export brought
            spec.fields.setdefault(row[1], field_of(row[1], "longtext"))
        alive = f' WHERE "{names.deleted}" = 0' if names.deleted else ""
        for f in spec.fields.values():
            if f.key:
                unique = "UNIQUE " if f.unique else ""
                index = f'"{spec.name}.{f.name}" ON "{spec.name}" ("{f.name}"){alive}'
                self.sql.execute(f"CREATE {unique}INDEX IF NOT EXISTS {index}")

    def _record_type(self, spec: ObjectSpec, kind: str) -> None:
        known = self.schema.get("RecordType")
        if known is None or any(
            (self.row("RecordType", i) or {}).get("SobjectType") == spec.name
            for i in self.find("RecordType", "DeveloperName", kind)
        ):
            return
        self._insert(known, {"Name": kind, "DeveloperName": kind, "SobjectType": spec.name})

    def _widen(self, object: str, columns: Sequence[str]) -> None:
        """Make an object, or columns it lacks, for rows of an export."""
        if object not in self.schema:
            number = f"x{len(self.schema):02d}"
            self.schema[object] = object_of(object, {"prefix": number}, self.names)
            self._create(self.schema[object])
        spec = self.schema[object]
        for column in columns:
            if column not in spec.fields:
                spec.fields[column] = field_of(column, "longtext")
                self.sql.execute(f'ALTER TABLE "{object}" ADD COLUMN "{column}" TEXT')


def _loose(field: FieldSpec, value: str) -> Any:
    """A value of an export: as its kind where it reads so, else as the text it is."""
    try:
        return canonical(field, value)
    except RowError:
        return value


def reference_of(spec: ObjectSpec, name: str) -> tuple[FieldSpec, str]:
    """The reference field behind `Account_vod__r.ID_vod__c`, `Owner.Name`, `account__v.external_id__v`."""
    relation, _, there = name.partition(".")
    near = relation[:-1] + "c" if relation.endswith("__r") else relation
    for candidate in (near, f"{relation}Id", relation.replace("__vr", "__v")):
        found = spec.fields.get(candidate)
        if found is not None and found.to:
            return found, there
    raise RowError("INVALID_FIELD", f"Field name not found : {name}", (name,))
