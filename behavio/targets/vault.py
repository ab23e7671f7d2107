"""Deliver to Vault CRM: sign-in, metadata, VQL, object rows in calls of at most 500.

Source: Veeva Vault REST API ("Authentication", "Vault Objects", "Query", "Rate Limits"). HTTP says 200 even
when a call is refused: responseStatus decides, for the call and for every row.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl

from behavio.errors import DeliveryError, JobError
from behavio.sources.patience import Patience
from behavio.targets.crm import Field, Note, Tally, Where, Write, outcome
from behavio.targets.salesforce import quoted, text_of, told, typed

if TYPE_CHECKING:
    import httpx

VERSION = "24.3"
MOST = 500
PER_QUESTION = 200
BURST_FLOOR = 50
BURST_WAIT = 60.0
KINDS = {
    "Number": "number",
    "Boolean": "boolean",
    "Date": "date",
    "DateTime": "datetime",
    "Picklist": "picklist",
    "Object": "reference",
    "ParentObject": "reference",
    "ID": "id",
}


@dataclass(frozen=True)
class VaultLogin:
    """Where the vault is and who asks."""

    url: str
    username: str
    password: str = field(repr=False)
    version: str = VERSION

    @classmethod
    def from_environment(cls, env: Mapping[str, str] | None = None) -> VaultLogin:
        """The vault that the environment names; raises JobError that says which variable is missing."""
        env = os.environ if env is None else env
        url, user = env.get("VAULT_URL", ""), env.get("VAULT_USERNAME", "")
        password, file = env.get("VAULT_PASSWORD", ""), env.get("VAULT_PASSWORD_FILE", "")
        if not password and file:
            try:
                password = Path(file).read_text(encoding="utf-8").strip()
            except OSError as problem:
                raise JobError(
                    f"the password file {file} cannot be read: {problem.strerror}",
                    hint="VAULT_PASSWORD_FILE names a text file",
                ) from None
        given = {
            "VAULT_URL": url,
            "VAULT_USERNAME": user,
            "VAULT_PASSWORD (or VAULT_PASSWORD_FILE)": password,
        }
        if missing := [k for k, v in given.items() if not v]:
            raise JobError(
                f"the environment lacks {', '.join(missing)}", hint="ask the vault's admin for an API user"
            )
        if not url.startswith(("https://", "http://127.0.0.1", "http://localhost")):
            raise JobError("VAULT_URL must start with https://", hint="https://acme.veevavault.com")
        return cls(url.rstrip("/"), user, password, env.get("VAULT_API_VERSION", VERSION))


class VaultCrm:
    """One vault with a session."""

    system, id = "vault", "id"

    def __init__(
        self,
        login: VaultLogin,
        *,
        sleep: Callable[[float], None] = time.sleep,
        transport: httpx.BaseTransport | None = None,
    ) -> None:
        self.login = login
        self.address = login.url
        self.tally = Tally()
        self._http = Patience(sleep, transport)
        self._session = ""
        self._left = -1
        self._described: dict[str, dict[str, Field]] = {}

    def close(self) -> None:
        """End the session."""
        self._http.close()

    def usage(self) -> dict[str, Any]:
        """Calls left in the burst, and what this session asked."""
        return {"burst_left": self._left, "requests": self.tally.sent}

    # asking --------------------------------------------------------------------------------------

    def _sign_in(self) -> None:
        form = {"username": self.login.username, "password": self.login.password}
        answer = self._carry("POST", "/auth", data=form)
        body = answer.json() if answer.is_success else {}
        if body.get("responseStatus") != "SUCCESS":
            raise DeliveryError(
                f"{self.address} refused the login: {_words(body)}",
                hint="look at VAULT_USERNAME and VAULT_PASSWORD",
            )
        self._session = str(body["sessionId"])

    def _carry(self, method: str, path: str, **more: Any) -> httpx.Response:
        root = "" if path.startswith("/api/") else f"/api/v{self.login.version}"
        head = {
            "Authorization": self._session,
            "Accept": "application/json",
            "X-VaultAPI-ClientID": "behavio",
            "X-VaultAPI-UnchangedFieldBehavior": "AlwaysIgnore",
        }
        head = {k: v for k, v in head.items() if v}
        url = f"{self.address}{root}{path}"
        with told():
            answer = self._http.ask(
                lambda: self._http.client.request(method, url, headers=head, **more), self.address
            )
        self.tally.sent += 1
        left = answer.headers.get("X-VaultAPI-BurstLimitRemaining", "")
        if left.isdigit():
            self._left = int(left)
            if self._left < BURST_FLOOR:  # past it the vault would slow every call
                self._http.sleep(BURST_WAIT)
        return answer

    def _ask(self, method: str, path: str, *, fine: Collection[str] = (), **more: Any) -> dict[str, Any]:
        """The body of an answer that went well, or was refused in a fine way. Raises DeliveryError."""
        for attempt in (0, 1):
            if not self._session:
                self._sign_in()
            answer = self._carry(method, path, **more)
            try:
                body: dict[str, Any] = dict(answer.json())
            except ValueError:
                body = {}
            kinds = {str(e.get("type")) for e in body.get("errors") or ()}
            if "INVALID_SESSION_ID" in kinds and attempt == 0:
                self._session = ""
                continue
            if body.get("responseStatus") in ("SUCCESS", "WARNING") or kinds & set(fine):
                return body
            raise DeliveryError(
                f"{method} {path} gave {answer.status_code} {body.get('responseStatus', '')}: {_words(body)}",
                hint="the words are the vault's own",
            )
        raise AssertionError("unreachable")

    def fields(self, object: str) -> dict[str, Field]:
        """Columns of an object as this user sees them; empty when there is no such object."""
        if object not in self._described:
            body = self._ask("GET", f"/metadata/vobjects/{object}", fine=("INVALID_DATA", "MALFORMED_URL"))
            rows = body.get("object", {}).get("fields", ())
            self._described[object] = {str(f["name"]): self._field(f) for f in rows}
        return self._described[object]

    def _field(self, f: dict[str, Any]) -> Field:
        values: tuple[str, ...] = ()
        if f.get("picklist"):
            listed = self._ask("GET", f"/objects/picklists/{f['picklist']}", fine=("INVALID_DATA",))
            values = tuple(str(v["name"]) for v in listed.get("picklistValues", ()))
        kind = KINDS.get(str(f.get("type")), "text")
        editable = bool(f.get("editable", True))
        return Field(
            name=str(f["name"]),
            kind="text" if kind == "picklist" and not values else kind,
            length=int(f.get("max_length") or 0) if kind == "text" else 0,
            values=values,
            create=editable,
            update=editable,
            required=bool(f.get("required")) and kind != "id",
            key=bool(f.get("unique")) or kind == "id",
            refers=(str(f["object"]["name"]),) if f.get("object") else (),
        )

    def refers(self, fields: dict[str, Field], column: str) -> tuple[Field, str] | None:
        """account__v.external_id__v: the reference field and the column there."""
        relation, dot, there = column.partition(".")
        return (fields[relation], there) if dot and relation in fields else None

    # reading -------------------------------------------------------------------------------------

    def read(
        self,
        object: str,
        columns: Sequence[str],
        key: str = "",
        values: Collection[str] = (),
        where: Where = (),
    ) -> Iterator[pl.DataFrame]:
        """Rows as text, in pages."""
        asked = [_related(c) for c in columns]
        select = f"SELECT {', '.join(asked)} FROM {object}"
        if not key:
            tail = (
                f" WHERE {where[0]} {f'>= {quoted(where[1])}' if len(where) > 1 else '!= null'}"
                if where
                else ""
            )
            yield from self._pages(select + tail, columns, asked)
            return
        wanted = sorted(values)
        for start in range(0, len(wanted), PER_QUESTION):
            listed = ", ".join(quoted(v) for v in wanted[start : start + PER_QUESTION])
            yield from self._pages(f"{select} WHERE {_related(key)} CONTAINS ({listed})", columns, asked)

    def _pages(self, vql: str, columns: Sequence[str], asked: Sequence[str]) -> Iterator[pl.DataFrame]:
        body = self._ask("POST", "/query", data={"q": vql})
        while True:
            rows = [[_plain(record.get(a)) for a in asked] for record in body.get("data", ())]
            if rows:
                yield pl.DataFrame(rows, schema=dict.fromkeys(columns, pl.String), orient="row")
            following = body.get("responseDetails", {}).get("next_page")
            if not following:
                return
            body = self._ask("GET", str(following))

    # writing -------------------------------------------------------------------------------------

    def write(self, what: Write, rows: pl.DataFrame, note: Note) -> Iterator[pl.DataFrame]:
        """Rows in calls of 500, in their order."""
        for start in range(0, rows.height, MOST):
            yield self._call(what, rows.slice(start, MOST))

    def _call(self, what: Write, rows: pl.DataFrame) -> pl.DataFrame:
        records = [
            {
                name: typed(what.fields[name].kind if name in what.fields else "text", value)
                for name, value in row.items()
                if value is not None or name in what.clear
            }
            for row in rows.iter_rows(named=True)
        ]
        by_id = what.key == "id"
        params = {} if by_id else {"idParam": what.key}
        method = "PUT" if what.only == "update" else "POST"
        body = self._ask(method, f"/vobjects/{what.object}", params=params, json=records)
        found = []
        for key, one in zip(rows[what.key], body.get("data", ()), strict=True):
            error = (one.get("errors") or [{}])[0]
            code = (
                None
                if one.get("responseStatus") in ("SUCCESS", "WARNING")
                else str(error.get("type", "UNKNOWN"))
            )
            id = (one.get("data") or {}).get("id")
            found.append((key, id, one.get("event") == "created", code, error.get("message")))
        return outcome(found)

    def delete(self, object: str, ids: Sequence[str]) -> dict[str, str]:
        """Delete rows by id."""
        failed: dict[str, str] = {}
        for start in range(0, len(ids), MOST):
            part = list(ids[start : start + MOST])
            body = self._ask("DELETE", f"/vobjects/{object}", json=[{"id": i} for i in part])
            for id, one in zip(part, body.get("data", ()), strict=True):
                if one.get("responseStatus") not in ("SUCCESS", "WARNING"):
                    failed[id] = str((one.get("errors") or [{}])[0].get("type", "UNKNOWN"))
        return failed

    def settle(self, journal: Sequence[dict[str, Any]]) -> None:
        """Nothing runs behind our back: every call is over when it is answered."""


def _related(column: str) -> str:
    """A dotted column as VQL names it: account__v.name__v is asked as account__vr.name__v."""
    relation, dot, there = column.partition(".")
    return f"{relation}r.{there}" if dot else column


def _plain(value: Any) -> str | None:
    """Picklists come back as lists."""
    if isinstance(value, list):
        value = value[0] if value else None
    return text_of(value)


def _words(body: dict[str, Any]) -> str:
    errors = [f"{e.get('type')}: {e.get('message')}" for e in body.get("errors") or ()]
    return "; ".join(errors)[:300] or str(body.get("responseMessage") or "no reason given")
