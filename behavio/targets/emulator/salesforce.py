"""The emulated Salesforce org: sign-in, describe, rows, collections, queries, jobs, limits."""

from __future__ import annotations

import base64
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from behavio.targets.emulator.core import Emulator
from behavio.targets.emulator.faults import Schedule
from behavio.targets.emulator.jobs import RESULTS, Jobs, Refused
from behavio.targets.emulator.rows import Rows
from behavio.targets.emulator.schema import SALESFORCE, SHIPPED, FieldSpec, load_schema
from behavio.targets.emulator.soql import Query, QueryError, read_query
from behavio.targets.emulator.store import Store
from behavio.targets.emulator.triggers import SALESFORCE_TRIGGERS
from behavio.targets.emulator.values import RowError
from behavio.targets.emulator.web import Answer, Request, say

DATA = re.compile(r"/services/data/v(\d+\.\d)(/.*)?")
JWT = "urn:ietf:params:oauth:grant-type:jwt-bearer"
AUDIENCES = ("https://login.salesforce.com", "https://test.salesforce.com")
PAGE = 2000
TYPES = {
    "text": "string",
    "longtext": "textarea",
    "number": "double",
    "boolean": "boolean",
    "date": "date",
    "datetime": "datetime",
    "picklist": "picklist",
    "reference": "reference",
    "id": "id",
}


@dataclass(frozen=True)
class Keys:
    """Who may sign in: a client with a secret, or one whose assertions this public key (PEM) verifies."""

    client_id: str = "behavio"
    secret: str = field(default="emulator", repr=False)
    public_key: str = ""
    username: str = "loader@example.com"


class SalesforceEmulator(Emulator):
    """One org. `daily` is its API allowance; `latency` the requests a job needs for each state."""

    def __init__(
        self,
        store: Store | None = None,
        schedule: Schedule | None = None,
        *,
        keys: Keys | None = None,
        daily: int = 100_000_000,
        latency: int = 1,
    ) -> None:
        super().__init__(store or new_store(), schedule)
        self.keys = keys or Keys()
        self.daily = daily
        self.used = 0
        self.jobs = Jobs(self, latency)
        self.rows = Rows(self)
        self.cursors: dict[str, tuple[Query, list[tuple[Any, ...]]]] = {}
        self.store.triggers += SALESFORCE_TRIGGERS

    def tick(self) -> None:
        """Jobs go on."""
        self.jobs.tick()

    def trouble(self, kind: str) -> None:
        """Faults of jobs."""
        self.jobs.trouble(kind)

    def busy(self, status: int) -> Answer:
        """Too many requests, or a server that is down."""
        more = {"Retry_After": "1"} if status == 429 else {}
        return refuse(
            "REQUEST_LIMIT_EXCEEDED" if status == 429 else "SERVER_UNAVAILABLE",
            "try again later",
            status,
            **more,
        )

    def handle(self, request: Request) -> Answer:
        """Sign in, or the API behind a session."""
        if request.path == "/services/oauth2/token":
            return self._token(request)
        if request.path.rstrip("/") == "/services/data":
            return say(
                [
                    {"label": "Emulated", "url": f"/services/data/v{v}", "version": v}
                    for v in ("59.0", "64.0", "65.0")
                ]
            )
        found = DATA.fullmatch(request.path)
        if found is None:
            return refuse("NOT_FOUND", "The requested resource does not exist", 404)
        scheme, _, token = request.headers.get("authorization", "").partition(" ")
        if scheme not in ("Bearer", "OAuth") or token not in self.sessions:
            return refuse("INVALID_SESSION_ID", "Session expired or invalid", 401)
        self.used += 1
        if self.used > self.daily:
            return refuse("REQUEST_LIMIT_EXCEEDED", "TotalRequests Limit exceeded.", 403)
        try:
            answer = self._route(request, found[1], (found[2] or "/").rstrip("/") or "/")
        except (Refused, QueryError) as problem:
            answer = refuse(problem.code, str(problem), getattr(problem, "status", 400))
        except RowError as problem:
            status = 404 if problem.code in ("NOT_FOUND", "ENTITY_IS_DELETED") else 400
            answer = say(
                [{"message": problem.message, "errorCode": problem.code, "fields": list(problem.fields)}],
                status,
            )
        except ValueError as problem:
            answer = refuse("JSON_PARSER_ERROR", str(problem), 400)
        head = {**answer.headers, "Sforce-Limit-Info": f"api-usage={self.used}/{self.daily}"}
        return Answer(answer.status, answer.body, head)

    # signing in ----------------------------------------------------------------------------------

    def _token(self, request: Request) -> Answer:
        form = request.form()
        grant = form.get("grant_type", "")
        if grant == "client_credentials":
            if client_of(request, form) != (self.keys.client_id, self.keys.secret):
                return say(
                    {"error": "invalid_client", "error_description": "invalid client credentials"}, 400
                )
        elif grant == JWT:
            problem = self._assertion(form.get("assertion", ""), request)
            if problem:
                return say({"error": "invalid_grant", "error_description": problem}, 400)
        else:
            return say(
                {"error": "unsupported_grant_type", "error_description": "grant type not supported"}, 400
            )
        return say(
            {
                "access_token": self.issue("00D"),
                "instance_url": address(request),
                "id": f"{address(request)}/id/00D/005",
                "token_type": "Bearer",
                "scope": "api",
            }
        )

    def _assertion(self, text: str, request: Request) -> str:
        """What is wrong with a signed assertion; "" when it holds."""
        import jwt

        if not self.keys.public_key:
            return "no certificate is registered for this app"
        try:
            claims = jwt.decode(
                text,
                self.keys.public_key,
                algorithms=["RS256"],
                audience=[*AUDIENCES, address(request)],
                options={"require": ["exp", "iss", "sub", "aud"]},
            )
        except jwt.PyJWTError as problem:
            return f"invalid assertion: {problem}"
        if claims["iss"] != self.keys.client_id or claims["sub"] != self.keys.username:
            return "user hasn't approved this consumer"
        return ""

    # the API -------------------------------------------------------------------------------------

    def _route(self, request: Request, version: str, path: str) -> Answer:
        method, parts = request.method, path.strip("/").split("/")
        routes: dict[str, Callable[[], Answer]] = {
            "limits": lambda: say(self._limits()),
            "query": lambda: self._query(request, version, parts[1:], deleted=False),
            "queryAll": lambda: self._query(request, version, parts[1:], deleted=True),
            "sobjects": lambda: self._sobjects(request, parts[1:]),
            "composite": lambda: self.rows.composite(request, parts[1:]),
            "jobs": lambda: self._jobs(method, request, parts[1:]),
        }
        if parts == [""]:
            return say({name: f"/services/data/v{version}/{name}" for name in routes})
        if parts[0] not in routes:
            raise Refused("NOT_FOUND", "The requested resource does not exist", 404)
        return routes[parts[0]]()

    def _limits(self) -> dict[str, Any]:
        left = max(self.daily - self.used, 0)
        bulk = 15_000
        return {
            "DailyApiRequests": {"Max": self.daily, "Remaining": left},
            "DailyBulkApiBatches": {"Max": bulk, "Remaining": bulk - len(self.jobs.all)},
            "DailyBulkV2QueryJobs": {"Max": 10_000, "Remaining": 10_000 - len(self.jobs.all)},
            "DataStorageMB": {"Max": 1024, "Remaining": 1000},
        }

    def _sobjects(self, request: Request, parts: list[str]) -> Answer:
        if not parts:
            return say({"sobjects": [{"name": n, "custom": n.endswith("__c")} for n in self.store.schema]})
        if parts[0] not in self.store.schema:
            raise Refused("NOT_FOUND", "The requested resource does not exist", 404)
        if parts[1:] == ["describe"]:
            return say(self.describe(parts[0]))
        return self.rows.one(request, parts[0], parts[1:])

    def describe(self, object: str) -> dict[str, Any]:
        """The object as the API describes it."""
        spec = self.store.spec(object)
        kinds = [
            {"name": n, "developerName": n, "active": True, "available": True, "recordTypeId": i}
            for n in spec.record_types
            for i in self.store.find("RecordType", "DeveloperName", n)
            if (self.store.row("RecordType", i) or {}).get("SobjectType") == object
        ]
        return {
            "name": object,
            "label": object,
            "keyPrefix": spec.prefix,
            "custom": object.endswith("__c"),
            "createable": True,
            "updateable": True,
            "queryable": True,
            "deletable": True,
            "recordTypeInfos": kinds,
            "fields": [described(f) for f in spec.fields.values()],
        }

    def _query(self, request: Request, version: str, parts: list[str], *, deleted: bool) -> Answer:
        start = 0
        if parts:
            cursor, _, at = parts[0].rpartition("-")
            if cursor not in self.cursors:
                raise Refused("INVALID_QUERY_LOCATOR", "invalid query locator")
            query, rows = self.cursors[cursor]
            start = int(at)
        else:
            query = read_query(self.store, request.query.get("q", ""), deleted=deleted)
            rows = self.store.query(query.sql, query.values)
            if query.count:
                return say({"totalSize": rows[0][0], "done": True, "records": []})
            cursor = f"01g{len(self.cursors):012d}AAA"
        end = min(start + PAGE, len(rows))
        answer: dict[str, Any] = {
            "totalSize": len(rows),
            "done": end == len(rows),
            "records": [record(query, row, version) for row in rows[start:end]],
        }
        if end < len(rows):
            self.cursors[cursor] = (query, rows)
            answer["nextRecordsUrl"] = f"/services/data/v{version}/query/{cursor}-{end}"
        return say(answer)

    def _jobs(self, method: str, request: Request, parts: list[str]) -> Answer:
        kind = parts[0] if parts else ""
        if kind not in ("ingest", "query") or len(parts) > 3:
            raise Refused("NOT_FOUND", "The requested resource does not exist", 404)
        asks = kind == "query"
        if len(parts) == 1:
            if method == "GET":
                kept = [j.facts() for j in self.jobs.all.values() if (j.query is not None) == asks]
                return say({"done": True, "records": kept, "nextRecordsUrl": None})
            job = self.jobs.ask(request.json()) if asks else self.jobs.create(request.json())
            where = {} if asks else {"contentUrl": f"{request.path.lstrip('/').rstrip('/')}/{job.id}/batches"}
            return say({**job.facts(), **where})
        job = self.jobs.find(parts[1], query=asks)
        if len(parts) == 2:
            return self._job(method, request, job.id)
        if parts[2] == "batches" and method == "PUT":
            self.jobs.upload(job, request.body)
            return Answer(201)
        if parts[2] in RESULTS and not asks:
            return Answer(200, self.jobs.results(job, parts[2]), {"Content-Type": "text/csv"})
        if parts[2] == "results" and asks:
            body, rows, locator = self.jobs.page(
                job, request.query.get("locator", ""), int(request.query.get("maxRecords", 250_000))
            )
            head = {
                "Sforce-Locator": locator,
                "Sforce-NumberOfRecords": str(rows),
                "Content-Type": "text/csv",
            }
            return Answer(200, body, head)
        raise Refused("NOT_FOUND", "The requested resource does not exist", 404)

    def _job(self, method: str, request: Request, id: str) -> Answer:
        job = self.jobs.all[id]
        if method == "PATCH":
            self.jobs.change(job, str(request.json().get("state", "")))
        elif method == "DELETE":
            if job.state not in ("JobComplete", "Failed", "Aborted"):
                raise Refused("INVALIDJOBSTATE", f"the job is {job.state}")
            del self.jobs.all[id]
            return Answer(204)
        return say(job.facts())


def new_store(schema: Any = None, **more: Any) -> Store:
    """A store with the shipped objects, or those of a schema file."""
    path = SHIPPED / "salesforce.toml" if schema is None else schema
    return Store(load_schema(path, SALESFORCE), SALESFORCE, **more)


def address(request: Request) -> str:
    """Where the client found us."""
    host = request.headers.get("host", "127.0.0.1")
    near = host.startswith(("127.", "localhost"))
    return f"{'http' if near else 'https'}://{host}"


def client_of(request: Request, form: dict[str, str]) -> tuple[str, str]:
    """Id and secret of a client: from the form, or from a Basic header."""
    scheme, _, text = request.headers.get("authorization", "").partition(" ")
    if scheme != "Basic":
        return form.get("client_id", ""), form.get("client_secret", "")
    name, _, secret = base64.b64decode(text).decode("utf-8", "replace").partition(":")
    return name, secret


def refuse(code: str, message: str, status: int = 400, **headers: str) -> Answer:
    """An error as the API words it."""
    return say([{"message": message, "errorCode": code}], status, **headers)


def described(f: FieldSpec) -> dict[str, Any]:
    """One field as the API describes it."""
    relation = None
    if f.to:
        relation = f.name[:-1] + "r" if f.name.endswith("__c") else f.name.removesuffix("Id")
    return {
        "name": f.name,
        "label": f.name,
        "type": TYPES[f.kind],
        "length": f.length
        if f.kind in ("text", "picklist", "reference", "id")
        else (f.length or 131_072)
        if f.kind == "longtext"
        else 0,
        "nillable": not f.required and f.kind not in ("boolean", "id"),
        "createable": not f.readonly,
        "updateable": not (f.readonly or f.fixed),
        "defaultedOnCreate": f.kind in ("boolean", "id"),
        "externalId": f.external,
        "unique": f.unique,
        "idLookup": f.key or f.kind == "id",
        "filterable": f.kind != "longtext",
        "restrictedPicklist": f.kind == "picklist",
        "picklistValues": [{"value": v, "label": v, "active": True} for v in f.values],
        "referenceTo": [f.to] if f.to else [],
        "relationshipName": relation,
        "custom": f.name.endswith("__c"),
    }


def spoken(kind: str, value: Any) -> Any:
    """A value in JSON as the API writes it."""
    if value is None:
        return None
    if kind == "boolean":
        return bool(value)
    if kind == "datetime" and isinstance(value, str):
        return value.replace("Z", "+0000")
    return value


def record(query: Query, row: tuple[Any, ...], version: str) -> dict[str, Any]:
    """One record of a query's answer; columns of other rows nest."""
    found: dict[str, Any] = {
        "attributes": {"type": query.object, "url": f"/services/data/v{version}/sobjects/{query.object}"}
    }
    for name, kind, value in zip(query.columns, query.kinds, row, strict=True):
        relation, _, there = name.partition(".")
        if there:
            found.setdefault(relation, {"attributes": {"type": relation}})[there] = spoken(kind, value)
        else:
            found[name] = spoken(kind, value)
    return found
