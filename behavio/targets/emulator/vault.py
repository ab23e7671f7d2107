"""The emulated Vault CRM: sign-in, metadata, object rows, VQL. HTTP says 200 even when it refuses."""

from __future__ import annotations

import csv
import io
import re
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from behavio.targets.emulator.core import Emulator
from behavio.targets.emulator.faults import Schedule
from behavio.targets.emulator.schema import SHIPPED, VAULT, FieldSpec, load_schema
from behavio.targets.emulator.soql import Query, QueryError, read_query
from behavio.targets.emulator.store import Store
from behavio.targets.emulator.triggers import VAULT_TRIGGERS
from behavio.targets.emulator.values import RowError
from behavio.targets.emulator.web import Answer, Request, say

API = re.compile(r"/api/v(\d+\.\d)/(.+)")
MOST = 500
PAGE = 1000
BURST = 2000
TYPES = {
    "text": "String",
    "longtext": "LongText",
    "number": "Number",
    "boolean": "Boolean",
    "date": "Date",
    "datetime": "DateTime",
    "picklist": "Picklist",
    "reference": "Object",
    "id": "ID",
}


@dataclass(frozen=True)
class Login:
    """Who may sign in."""

    username: str = "loader@example.com"
    password: str = field(default="emulator", repr=False)


class Refusal(Exception):
    """The whole request is refused; `kind` as Vault names it."""

    def __init__(self, kind: str, message: str) -> None:
        super().__init__(message)
        self.kind = kind


class VaultEmulator(Emulator):
    """One vault."""

    def __init__(
        self, store: Store | None = None, schedule: Schedule | None = None, *, login: Login | None = None
    ) -> None:
        super().__init__(store or new_store(), schedule)
        self.login = login or Login()
        self.calls = 0
        self.cursors: dict[str, tuple[Query, list[tuple[Any, ...]]]] = {}
        self.store.triggers += VAULT_TRIGGERS

    def busy(self, status: int) -> Answer:
        """Too many requests, or a server that is down: a gateway says this in plain HTTP."""
        more = {"Retry_After": "1"} if status == 429 else {}
        return say(
            {
                "responseStatus": "EXCEPTION",
                "errors": [{"type": "SERVER_ERROR", "message": "try again later"}],
            },
            status,
            **more,
        )

    def handle(self, request: Request) -> Answer:
        """Sign in, or the API behind a session."""
        found = API.fullmatch(request.path.rstrip("/"))
        if found is None:
            return say(
                {
                    "responseStatus": "FAILURE",
                    "errors": [{"type": "MALFORMED_URL", "message": "unknown path"}],
                },
                404,
            )
        self.calls += 1
        try:
            answer = self._route(request, found[2].split("/"))
        except Refusal as problem:
            answer = refuse(problem.kind, str(problem))
        except QueryError as problem:
            answer = refuse(
                "MALFORMED_QUERY" if problem.code == "MALFORMED_QUERY" else "INVALID_DATA", str(problem)
            )
        except ValueError as problem:
            answer = refuse("INVALID_DATA", str(problem))
        left = BURST - self.calls % BURST
        head = {"X-VaultAPI-BurstLimit": str(BURST), "X-VaultAPI-BurstLimitRemaining": str(left)}
        return Answer(answer.status, answer.body, {**answer.headers, **head})

    def _route(self, request: Request, parts: list[str]) -> Answer:
        if parts == ["auth"]:
            return self._auth(request)
        if request.headers.get("authorization", "").removeprefix("Bearer ") not in self.sessions:
            raise Refusal("INVALID_SESSION_ID", "Invalid or expired session ID.")
        if parts[0] == "query":
            return self._query(request, parts[1:])
        if parts[:2] == ["metadata", "vobjects"]:
            return self._metadata(parts[2:])
        if parts[:2] == ["objects", "picklists"] and len(parts) == 3:
            return self._picklist(parts[2])
        if parts[0] == "vobjects" and len(parts) in (2, 3):
            if parts[1] not in self.store.schema:
                raise Refusal("INVALID_DATA", f"The object {parts[1]} does not exist")
            if len(parts) == 3:
                return self._one(request, parts[1], parts[2])
            return self._write(request, parts[1])
        raise Refusal("MALFORMED_URL", "unknown path")

    def _auth(self, request: Request) -> Answer:
        form = request.form()
        if (form.get("username"), form.get("password")) != (self.login.username, self.login.password):
            raise Refusal("USERNAME_OR_PASSWORD_INCORRECT", "Authentication failed")
        return success(
            sessionId=self.issue("VS"),
            userId=1,
            vaultId=1,
            vaultIds=[{"id": 1, "name": "Emulated", "url": "/api"}],
        )

    def _metadata(self, parts: list[str]) -> Answer:
        if not parts:
            return success(objects=[{"name": n} for n in self.store.schema])
        spec = self.store.schema.get(parts[0])
        if spec is None:
            raise Refusal("INVALID_DATA", f"The object {parts[0]} does not exist")
        fields = [described(spec.name, f) for f in spec.fields.values()]
        return success(
            object={
                "name": spec.name,
                "fields": fields,
                "object_types": [{"name": n} for n in spec.record_types],
            }
        )

    def _picklist(self, name: str) -> Answer:
        object, _, column = name.partition(".")
        field = self.store.schema[object].fields.get(column) if object in self.store.schema else None
        if field is None:
            raise Refusal("INVALID_DATA", f"The picklist {name} does not exist")
        return success(picklistValues=[{"name": v, "label": v, "status": "active"} for v in field.values])

    # rows ----------------------------------------------------------------------------------------

    def _one(self, request: Request, object: str, id: str) -> Answer:
        row = self.store.row(object, id)
        if row is None:
            raise Refusal("INVALID_DATA", f"The resource [{id}] does not exist")
        spec = self.store.spec(object)
        return success(data={c: told(spec.fields[c].kind, v) for c, v in row.items()})

    def _write(self, request: Request, object: str) -> Answer:
        rows = self._rows(request)
        key = request.query.get("idParam", "")
        spec = self.store.spec(object)
        if key and (key not in spec.fields or not spec.fields[key].key):
            raise Refusal("INVALID_DATA", f"The field {key} is not a unique field of {object}")
        if len(rows) > MOST:
            raise Refusal("INVALID_DATA", f"more than {MOST} records in one request")
        if request.method == "PUT" or key:
            seen = Counter(str(r.get(key or "id")) for r in rows)
            if doubled := [v for v, n in seen.items() if n > 1]:
                raise Refusal(
                    "INVALID_DATA", f"duplicate values of {key or 'id'} in one request: {doubled[0]}"
                )
        fault, answers = self.spoiled(), []
        with self.store.lock:
            self.store.sql.execute("BEGIN")
            for row in rows:
                try:
                    self.strike(fault)
                    answers.append(self._written(request.method, object, dict(row), key))
                except RowError as problem:
                    kind = (
                        "INVALID_DATA"
                        if problem.code not in ("SERVER_UNAVAILABLE", "UNABLE_TO_LOCK_ROW")
                        else "OPERATION_NOT_ALLOWED"
                    )
                    kind = "RECORD_LOCKED" if problem.code == "UNABLE_TO_LOCK_ROW" else kind
                    answers.append(
                        {
                            "responseStatus": "FAILURE",
                            "errors": [{"type": kind, "message": f"{problem.code}: {problem.message}"}],
                        }
                    )
            self.store.sql.execute("COMMIT")
        return success(data=answers)

    def _written(self, method: str, object: str, row: dict[str, Any], key: str) -> dict[str, Any]:
        id = str(row.pop("id", "") or "")
        if method == "DELETE":
            ids = [id] if id else self.store.find(object, key, row.get(key))
            if not ids:
                raise RowError("NOT_FOUND", "the record does not exist")
            self.store.delete(object, ids[0])
            return {"responseStatus": "SUCCESS", "data": {"id": ids[0]}}
        if method == "PUT":
            found, new = self.store.save(object, row, key=key, id=id, only="update")
        else:
            found, new = self.store.save(object, row, key=key, only="" if key else "insert")
        return {
            "responseStatus": "SUCCESS",
            "event": "created" if new else "updated",
            "data": {"id": found, "url": f"/api/vobjects/{object}/{found}"},
        }

    def _rows(self, request: Request) -> list[dict[str, Any]]:
        kind = request.headers.get("content-type", "").partition(";")[0].strip()
        if kind == "text/csv":
            return [dict(r) for r in csv.DictReader(io.StringIO(request.body.decode("utf-8"), newline=""))]
        given = request.json()
        if not isinstance(given, list):
            raise Refusal("INVALID_DATA", "a list of records is needed")
        return given

    # VQL -----------------------------------------------------------------------------------------

    def _query(self, request: Request, parts: list[str]) -> Answer:
        start = 0
        if parts:
            if parts[0] not in self.cursors:
                raise Refusal("INVALID_DATA", "the query has expired")
            cursor = parts[0]
            query, rows = self.cursors[cursor]
            start = int(request.query.get("pageoffset", 0))
        else:
            text = request.form().get("q", "") or request.query.get("q", "")
            query = read_query(self.store, text)
            rows = self.store.query(query.sql, query.values)
            cursor = f"q{len(self.cursors):08d}"
        size = PAGE if query.page == 0 else max(query.page, 0)
        end = min(start + size, len(rows))
        details: dict[str, Any] = {
            "pagesize": size,
            "pageoffset": start,
            "size": end - start,
            "total": len(rows),
        }
        if size and end < len(rows):
            self.cursors[cursor] = (query, rows)
            version = API.fullmatch(request.path.rstrip("/"))
            details["next_page"] = (
                f"/api/v{version[1] if version else '24.3'}/query/{cursor}?pagesize={size}&pageoffset={end}"
            )
        data = [
            {n: told(k, v) for n, k, v in zip(query.columns, query.kinds, row, strict=True)}
            for row in rows[start:end]
        ]
        return success(responseDetails=details, data=data)


def new_store(schema: Any = None, **more: Any) -> Store:
    """A store with the shipped objects, or those of a schema file."""
    path = SHIPPED / "vault.toml" if schema is None else schema
    return Store(load_schema(path, VAULT), VAULT, **more)


def success(**more: Any) -> Answer:
    """An answer that went well."""
    return say({"responseStatus": "SUCCESS", **more})


def refuse(kind: str, message: str) -> Answer:
    """A refusal, in HTTP 200."""
    return say(
        {
            "responseStatus": "FAILURE",
            "responseMessage": message,
            "errors": [{"type": kind, "message": message}],
        }
    )


def described(object: str, f: FieldSpec) -> dict[str, Any]:
    """One field as the metadata tells it."""
    found: dict[str, Any] = {
        "name": f.name,
        "label": f.name,
        "type": TYPES[f.kind],
        "required": f.required,
        "unique": f.unique,
        "editable": not f.readonly,
        "status": ["active"],
    }
    if f.kind in ("text", "longtext"):
        found["max_length"] = f.length or 32_000
    if f.kind == "picklist":
        found["picklist"] = f"{object}.{f.name}"
    if f.to:
        found["object"] = {"name": f.to, "url": f"/api/metadata/vobjects/{f.to}"}
    return found


def told(kind: str, value: Any) -> Any:
    """A value in JSON as Vault writes it: picklists are lists."""
    if value is None:
        return None
    if kind == "boolean":
        return bool(value)
    return [value] if kind == "picklist" else value
