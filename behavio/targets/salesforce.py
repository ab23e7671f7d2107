"""Deliver to a Salesforce org: describe, queries, sObject collections, and Bulk API 2.0 ingest jobs.

Sources: Salesforce, Bulk API 2.0 and Bulk API Developer Guide ("Ingest"); REST API Developer Guide
("sObject Collections", "Upsert Multiple Records with External ID"). Everything here may be repeated: rows are
found by an external id, and a job whose upload is in doubt is aborted before it starts.
"""

from __future__ import annotations

import io
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import polars as pl

from behavio.errors import DeliveryError, JobError, LogError
from behavio.sources.salesforce import Salesforce, said
from behavio.targets.crm import OUTCOME, Field, Note, Tally, Where, Write, outcome

SMALL = 2_000
COLLECTION = 200
LARGEST = 90 * 1024 * 1024
PER_QUESTION = 100
ENDED = ("JobComplete", "Failed", "Aborted")
TRIES = 4
FLOOR = 0.95
NULL = "#N/A"
KINDS = {
    **dict.fromkeys(("double", "int", "long", "currency", "percent"), "number"),
    **{k: k for k in ("boolean", "date", "datetime", "reference", "id")},
}


class SalesforceCrm:
    """One org; `patience` seconds for a job before it is given up, aborted and sent again."""

    system, id = "salesforce", "Id"

    def __init__(self, session: Salesforce, patience: float = 3600.0) -> None:
        self.session = session
        self.address = session.org.url
        self.patience = patience
        self.tally = Tally()
        self._described: dict[str, dict[str, Field]] = {}

    def close(self) -> None:
        """End the session."""
        self.session.close()

    def usage(self) -> dict[str, Any]:
        """API calls of the org today, and what this session asked."""
        used, most = self.session.usage
        return {"calls_used": used, "calls_allowed": most, "requests": self.tally.sent}

    # asking --------------------------------------------------------------------------------------

    def _ask(self, method: str, path: str, *, fine: Collection[int] = (), **more: Any) -> Any:
        """One answer that is a success, or one of the statuses that are fine. Raises DeliveryError."""
        with told():
            answer = self.session.answer(method, path, **more)
        self.tally.sent += 1
        used, most = self.session.usage
        if most and used > FLOOR * most:
            raise DeliveryError(
                f"{used:,} of the org's {most:,} API calls of today are used",
                hint="run the command again tomorrow: it goes on where it stopped",
            )
        if not answer.is_success and answer.status_code not in fine:
            raise DeliveryError(
                f"{method} {path} gave {answer.status_code}: {said(answer)}",
                hint="the words are the org's own",
            )
        return answer

    def fields(self, object: str) -> dict[str, Field]:
        """Columns of an object as this user sees them; empty when there is no such object."""
        if object not in self._described:
            answer = self._ask("GET", f"/sobjects/{object}/describe", fine=(404,))
            rows = answer.json()["fields"] if answer.is_success else []
            self._described[object] = {str(f["name"]): _field(f) for f in rows}
        return self._described[object]

    def refers(self, fields: dict[str, Field], column: str) -> tuple[Field, str] | None:
        """Account_vod__r.ID_vod__c, Owner.Name: the reference field and the column there."""
        relation, dot, there = column.partition(".")
        for name in (relation[:-1] + "c" if relation.endswith("__r") else "", f"{relation}Id"):
            if dot and name in fields:
                return fields[name], there
        return None

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
        select = f"SELECT {', '.join(columns)} FROM {object}"
        if key:
            wanted = sorted(values)
            for start in range(0, len(wanted), PER_QUESTION):
                listed = ", ".join(quoted(v) for v in wanted[start : start + PER_QUESTION])
                yield from self._small(f"{select} WHERE {key} IN ({listed})", columns)
            return
        tail = f" WHERE {where[0]} {f'>= {where[1]}' if len(where) > 1 else '!= null'}" if where else ""
        asked = {"q": f"SELECT count() FROM {object}{tail}"}
        count, select = self._ask("GET", "/query", params=asked).json()["totalSize"], select + tail
        yield from self._small(select, columns) if count <= SMALL else self._large(select, columns)

    def _small(self, soql: str, columns: Sequence[str]) -> Iterator[pl.DataFrame]:
        answer = self._ask("GET", "/query", params={"q": soql}).json()
        while True:
            rows = [[_cell(record, c) for c in columns] for record in answer["records"]]
            if rows:
                yield pl.DataFrame(rows, schema=dict.fromkeys(columns, pl.String), orient="row")
            if answer.get("done", True):
                return
            answer = self._ask("GET", answer["nextRecordsUrl"]).json()

    def _large(self, soql: str, columns: Sequence[str]) -> Iterator[pl.DataFrame]:
        for _ in range(TRIES):
            with told():
                job = str(self.session.start(soql, "query")["id"])
            facts = self._wait("query", job)
            if facts.get("state") == "JobComplete":
                break
        else:
            raise DeliveryError(
                f"the query job {job} {facts.get('state')}: {facts.get('errorMessage', '')}",
                hint="run the command again later",
            )
        with told():
            for content, rows, _ in self.session.pages(job):
                if rows:
                    yield sheet(content).select(pl.col(c) for c in columns)

    def _wait(self, kind: str, job: str) -> dict[str, Any]:
        """Facts of a job that has ended; one that does not end is aborted."""
        waited, pause = 0.0, 1.0
        while True:
            facts: dict[str, Any] = self._ask("GET", f"/jobs/{kind}/{job}").json()
            if facts.get("state") in ENDED:
                return facts
            if waited > self.patience:
                self._abort(kind, job)
                return {**self._ask("GET", f"/jobs/{kind}/{job}").json(), "errorMessage": "it did not end"}
            self.session.sleep(pause)
            waited += pause
            pause = min(pause * 1.5, 30.0)

    def _abort(self, kind: str, job: str) -> None:
        self._ask("PATCH", f"/jobs/{kind}/{job}", json={"state": "Aborted"}, fine=(400, 404, 409))

    # writing -------------------------------------------------------------------------------------

    def write(self, what: Write, rows: pl.DataFrame, note: Note) -> Iterator[pl.DataFrame]:
        """Small loads as collections, large ones as jobs."""
        if rows.height <= SMALL:
            for start in range(0, rows.height, COLLECTION):
                yield self._collection(what, rows.slice(start, COLLECTION))
            return
        data = _csv(what, rows)
        if len(data) > LARGEST:
            half = rows.height // 2
            yield from self.write(what, rows[:half], note)
            yield from self.write(what, rows[half:], note)
            return
        yield self._job(what, data, rows, note)

    def _collection(self, what: Write, rows: pl.DataFrame) -> pl.DataFrame:
        records = [self._record(what, row) for row in rows.iter_rows(named=True)]
        path = f"/composite/sobjects/{what.object}/{what.key}"
        if what.only == "update":
            path = "/composite/sobjects"
        answers = self._ask("PATCH", path, json={"allOrNone": False, "records": records}).json()
        found = []
        for key, one in zip(rows[what.key], answers, strict=True):
            error = (one.get("errors") or [{}])[0]
            code = None if one.get("success") else str(error.get("statusCode", "UNKNOWN"))
            found.append((key, one.get("id"), bool(one.get("created")), code, error.get("message")))
        return outcome(found)

    def _record(self, what: Write, row: dict[str, Any]) -> dict[str, Any]:
        record: dict[str, Any] = {"attributes": {"type": what.object}}
        for name, value in row.items():
            if value is None and name not in what.clear:
                continue
            relation, dot, there = name.partition(".")
            if dot:
                record[relation] = {there: value} if value is not None else None
            else:
                kind = what.fields[name].kind if name in what.fields else "text"
                record[name] = typed(kind, value)
        return record

    def _job(self, what: Write, data: bytes, rows: pl.DataFrame, note: Note) -> pl.DataFrame:
        asked: dict[str, Any] = {
            "object": what.object,
            "operation": "update" if what.only == "update" else "upsert",
            "contentType": "CSV",
            "lineEnding": "LF",
        }
        if what.only != "update":
            asked["externalIdFieldName"] = what.key
        for _ in range(TRIES):
            job = str(self._ask("POST", "/jobs/ingest", json=asked).json()["id"])
            note({"job": job, "object": what.object, "rows": rows.height})
            if self._uploaded(job, data):
                break
            self._abort("ingest", job)  # in doubt what it holds: it never starts
        else:
            raise DeliveryError(
                f"the org takes no upload for {what.object}", hint="run the command again later"
            )
        self.tally.jobs.append(job)
        self._ask("PATCH", f"/jobs/ingest/{job}", json={"state": "UploadComplete"}, fine=(400,))
        facts = self._wait("ingest", job)
        if facts["state"] == "Open":
            raise DeliveryError(f"the job {job} does not start", hint="run the command again later")
        said_so = str(facts.get("errorMessage") or "")
        if "InvalidBatch" in said_so or "ClientInputError" in said_so:
            raise DeliveryError(
                f"the job {job} was refused: {said_so}", hint="the mapping does not fit the org"
            )
        found = self._outcomes(what, job, rows)
        note({"job": job, "state": facts["state"], "done": True})
        return found

    def _uploaded(self, job: str, data: bytes) -> bool:
        head = {"Content-Type": "text/csv; charset=UTF-8"}
        answer = self._ask("PUT", f"/jobs/ingest/{job}/batches", content=data, headers=head, fine=(400, 409))
        return bool(answer.is_success)

    def _outcomes(self, what: Write, job: str, rows: pl.DataFrame) -> pl.DataFrame:
        """What became of every row: the three result files come in any order, and may miss rows."""
        key, path = pl.col(what.key).alias("key"), f"/jobs/ingest/{job}"
        good = sheet(self._ask("GET", f"{path}/successfulResults/").content)
        bad = sheet(self._ask("GET", f"{path}/failedResults/").content)
        parts = [pl.DataFrame(schema=OUTCOME)]
        if good.height:
            none = pl.lit(None, pl.String)
            new = (pl.col("sf__Created") == "true").alias("created")
            parts.append(
                good.select(key, pl.col("sf__Id").alias("id"), new, none.alias("code"), none.alias("message"))
            )
        if bad.height:
            words = pl.col("sf__Error").str.splitn(":", 2)
            parts.append(
                bad.select(
                    key,
                    pl.col("sf__Id").alias("id"),
                    pl.lit(False).alias("created"),
                    words.struct[0].alias("code"),
                    words.struct[1].alias("message"),
                )
            )
        known = pl.concat(parts)
        left = rows.select(key).join(known.select("key"), on="key", how="anti")
        if not left.height:
            return known
        rest = sheet(self._ask("GET", f"{path}/unprocessedrecords/").content)
        named = (
            rest[what.key].implode() if what.key in rest.columns else pl.Series([], dtype=pl.String).implode()
        )
        told = pl.when(pl.col("key").is_in(named)).then(pl.lit("the job ended before this row"))
        lost = left.select(
            "key",
            pl.lit(None, pl.String).alias("id"),
            pl.lit(False).alias("created"),
            pl.lit("UNPROCESSED").alias("code"),
            told.otherwise(pl.lit("the row is in none of the three result files")).alias("message"),
        )
        return pl.concat([known, lost])

    def delete(self, object: str, ids: Sequence[str]) -> dict[str, str]:
        """Delete rows by id, in collections; those already gone count as deleted."""
        failed: dict[str, str] = {}
        for start in range(0, len(ids), COLLECTION):
            part = list(ids[start : start + COLLECTION])
            params = {"ids": ",".join(part), "allOrNone": "false"}
            for id, one in zip(
                part, self._ask("DELETE", "/composite/sobjects", params=params).json(), strict=True
            ):
                code = str((one.get("errors") or [{}])[0].get("statusCode", ""))
                if not one.get("success") and code != "ENTITY_IS_DELETED":
                    failed[id] = code
        return failed

    def settle(self, journal: Sequence[dict[str, Any]]) -> None:
        """End the jobs a killed delivery left: those not begun are aborted, those at work are waited for."""
        ended = {n["job"] for n in journal if n.get("done")}
        for job in dict.fromkeys(n["job"] for n in journal if "job" in n):
            if job in ended:
                continue
            answer = self._ask("GET", f"/jobs/ingest/{job}", fine=(400, 404))
            state = answer.json().get("state") if answer.is_success else "Aborted"
            if state == "Open":
                self._abort("ingest", job)
            elif state not in ENDED:
                self._wait("ingest", job)


@contextmanager
def told() -> Iterator[None]:
    """Errors of the session, as errors of a delivery."""
    try:
        yield
    except JobError:
        raise
    except LogError as problem:
        raise DeliveryError(str(problem), hint=problem.hint) from None


def _field(f: dict[str, Any]) -> Field:
    closed = f.get("type") == "picklist" and f.get("restrictedPicklist")
    values = tuple(str(v["value"]) for v in f.get("picklistValues") or () if v.get("active", True))
    kind = "picklist" if closed else KINDS.get(str(f.get("type")), "text")
    return Field(
        name=str(f["name"]),
        kind=kind,
        length=int(f.get("length") or 0) if kind in ("text", "picklist") else 0,
        values=values if closed else (),
        create=bool(f.get("createable", True)),
        update=bool(f.get("updateable", True)),
        required=not f.get("nillable", True) and not f.get("defaultedOnCreate", False),
        key=bool(f.get("externalId") or f.get("idLookup")),
        refers=tuple(f.get("referenceTo") or ()),
    )


def quoted(text: str) -> str:
    """A text as SOQL and VQL write it."""
    for plain, safe in (("\\", "\\\\"), ("'", "\\'"), ("\n", "\\n"), ("\r", "\\r"), ("\t", "\\t")):
        text = text.replace(plain, safe)
    return f"'{text}'"


def typed(kind: str, value: Any) -> Any:
    """A cell as JSON writes its kind."""
    if value is None:
        return None
    if kind == "number":
        return float(value)
    if kind == "boolean":
        return str(value).lower() in ("true", "1", "1.0")
    return value


def _cell(record: dict[str, Any], column: str) -> str | None:
    value: Any = record
    for step in column.split("."):
        value = value.get(step) if isinstance(value, dict) else None
    return text_of(value)


def text_of(value: Any) -> str | None:
    """A value of an answer as text."""
    if value is None or value == "":
        return None
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value)


def sheet(content: bytes) -> pl.DataFrame:
    """A result file as text columns, empty cells null."""
    if not content.strip():
        return pl.DataFrame()
    frame = pl.read_csv(io.BytesIO(content), infer_schema=False, truncate_ragged_lines=False)
    return frame.with_columns(pl.when(pl.all() != "").then(pl.all()).name.keep())


def _csv(what: Write, rows: pl.DataFrame) -> bytes:
    """Rows as an upload: an empty cell leaves what is there, #N/A clears it; columns in their order."""
    columns = [
        pl.col(c).fill_null(NULL) if c in what.clear and c != what.key else pl.col(c) for c in rows.columns
    ]
    return rows.select(columns).write_csv(quote_style="always", line_terminator="\n").encode()
