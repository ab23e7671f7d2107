"""Deliver to Vault CRM: sign-in, metadata, VQL, object rows in calls of at most 500.

Source: Veeva Vault REST API ("Authentication", "Vault Objects", "Query", "Rate Limits"). HTTP says 200 even
when a call is refused: responseStatus decides, for the call and for every row.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from typing import Any

import polars as pl

from behavio.sources.vault import Vault, plain
from behavio.targets.crm import Field, Note, Where, Write, outcome
from behavio.targets.salesforce import quoted, told, typed

MOST = 500
PER_QUESTION = 200
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


class VaultCrm:
    """One vault with a session."""

    system, id = "vault", "id"

    def __init__(self, session: Vault) -> None:
        self.session = session
        self.address = session.address
        self._described: dict[str, dict[str, Field]] = {}

    def close(self) -> None:
        """End the session."""
        self.session.close()

    def usage(self) -> dict[str, Any]:
        """Calls left in the burst, and what this session asked."""
        return {"burst_left": self.session.burst_left, "requests": self.session.sent}

    # asking --------------------------------------------------------------------------------------

    def _ask(self, method: str, path: str, **more: Any) -> dict[str, Any]:
        with told():
            return self.session.ask(method, path, **more)

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
            rows = [[plain(record.get(a)) for a in asked] for record in body.get("data", ())]
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
