"""Bulk API 2.0 jobs of the emulated org: ingest and query, from Open to their results.

Source: Salesforce, Bulk API 2.0 and Bulk API Developer Guide. A job works in the background: it goes on with
every request that comes in, whether or not anybody asks for it.
"""

from __future__ import annotations

import csv
import io
from array import array
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from behavio.targets.emulator.core import Emulator, shuffled
from behavio.targets.emulator.faults import Fault
from behavio.targets.emulator.soql import Query, QueryError, read_query
from behavio.targets.emulator.store import Store, reference_of
from behavio.targets.emulator.values import RowError, stamp

DELIMITERS = {
    "COMMA": ",",
    "TAB": "\t",
    "PIPE": "|",
    "SEMICOLON": ";",
    "CARET": "^",
    "BACKQUOTE": "`",
}
ENDINGS = {"LF": "\n", "CRLF": "\r\n"}
LARGEST = 100 * 1024 * 1024
BATCH = 10_000
OPERATIONS = ("insert", "upsert", "update", "delete")
DONE = ("JobComplete", "Failed", "Aborted")
FOREVER = 10**9
RESULTS = {"successfulResults": "good", "failedResults": "bad", "unprocessedrecords": "left"}


@dataclass
class Job:
    """One job; `wait` counts the requests until it goes on."""

    id: str
    object: str
    operation: str
    created: str
    state: str = "Open"
    key: str = ""
    delimiter: str = "COMMA"
    ending: str = "LF"
    wait: int = 1
    error: str = ""
    fails: bool = False
    uploaded: bool = False
    fault: Fault | None = None
    processed: int = 0
    failed: int = 0
    query: Query | None = None
    soql: str = ""
    offsets: array = field(default_factory=lambda: array("Q"))

    def facts(self) -> dict[str, Any]:
        """What the API tells of it."""
        found: dict[str, Any] = {
            "id": self.id,
            "operation": self.operation,
            "object": self.object,
            "createdDate": self.created.replace("Z", "+0000"),
            "systemModstamp": self.created.replace("Z", "+0000"),
            "state": self.state,
            "concurrencyMode": "Parallel",
            "contentType": "CSV",
            "apiVersion": 64.0,
            "jobType": "V2Query" if self.query else "V2Ingest",
            "lineEnding": self.ending,
            "columnDelimiter": self.delimiter,
            "numberRecordsProcessed": self.processed,
            "retries": 0,
            "totalProcessingTime": 1,
        }
        if not self.query:
            found |= {"numberRecordsFailed": self.failed, "externalIdFieldName": self.key or None}
        if self.error:
            found["errorMessage"] = self.error
        return found


class Refused(Exception):
    """A request that the jobs API refuses."""

    def __init__(self, code: str, message: str, status: int = 400) -> None:
        super().__init__(message)
        self.code, self.status = code, status


class Jobs:
    """All jobs of one org."""

    def __init__(self, emulator: Emulator, latency: int = 1) -> None:
        self.emulator = emulator
        self.store: Store = emulator.store
        self.latency = latency
        self.all: dict[str, Job] = {}

    def tick(self) -> None:
        """One request has come: jobs under way go on."""
        for job in self.all.values():
            if job.state in ("UploadComplete", "InProgress"):
                job.wait -= 1
                if job.wait <= 0 and job.state == "UploadComplete":
                    job.state, job.wait = "InProgress", self.latency
                elif job.wait <= 0:
                    self._work(job)

    def find(self, id: str, *, query: bool) -> Job:
        """A job by id; raises Refused."""
        job = self.all.get(id[:18])
        if job is None or (job.query is not None) != query:
            raise Refused("NOT_FOUND", "The requested resource does not exist", 404)
        return job

    def trouble(self, kind: str) -> None:
        """Make jobs stick, fail or end: those at work, else the newest."""
        going = [j for j in self.all.values() if j.state not in DONE] or []
        for job in going:
            if kind == "stuck" and job.state != "Open":
                job.wait = FOREVER
            elif kind == "fail":
                job.fails = True
            elif kind == "abort":
                job.state = "Aborted"

    # ingest --------------------------------------------------------------------------------------

    def create(self, asked: dict[str, Any]) -> Job:
        """A new ingest job. Raises Refused."""
        object, operation = str(asked.get("object", "")), str(asked.get("operation", ""))
        if object not in self.store.schema:
            raise Refused("INVALIDENTITY", f"Unable to find object: {object}")
        if operation not in OPERATIONS:
            raise Refused("INVALIDJOB", f"operation {operation!r} is not known")
        key = str(asked.get("externalIdFieldName") or "")
        spec = self.store.spec(object)
        fits = key == self.store.names.id or (key in spec.fields and spec.fields[key].key)
        if operation == "upsert" and not fits:
            raise Refused("INVALIDJOB", f"Field {key!r} is not an external id of {object}")
        delimiter, ending = str(asked.get("columnDelimiter", "COMMA")), str(asked.get("lineEnding", "LF"))
        if delimiter not in DELIMITERS or ending not in ENDINGS or asked.get("contentType", "CSV") != "CSV":
            raise Refused("INVALIDJOB", "contentType, columnDelimiter or lineEnding is not known")
        return self._add(object, operation, key=key, delimiter=delimiter, ending=ending)

    def _add(self, object: str, operation: str, **more: Any) -> Job:
        id = f"750{len(self.all):012d}AAA"
        job = Job(id, object, operation, stamp(self.store.clock()), **more)
        self.all[id] = job
        return job

    def upload(self, job: Job, body: bytes) -> None:
        """The rows of a job, once."""
        if job.state != "Open" or job.uploaded:
            raise Refused("INVALIDJOBSTATE", "Data was already uploaded for this job, or it is closed")
        if len(body) > LARGEST:
            raise Refused("INVALIDBATCH", "Maximum payload size of 100 MB exceeded")
        self.emulator.scratch(f"{job.id}.csv").write_bytes(body)
        job.uploaded = True

    def change(self, job: Job, state: str) -> None:
        """UploadComplete or Aborted."""
        if state == "UploadComplete" and job.state == "Open":
            job.state, job.wait = state, self.latency
            job.fault = self.emulator.spoiled()
        elif state == "Aborted" and job.state not in DONE:
            if job.state != "Open":
                self._leave(job, self._lines(job))
            job.state = state
        else:
            raise Refused("INVALIDJOBSTATE", f"a job that is {job.state} cannot become {state}")

    def _lines(self, job: Job) -> Iterator[list[str]]:
        """The header, then every row."""
        path = self.emulator.scratch(f"{job.id}.csv")
        if not path.is_file():
            return
        with path.open(encoding="utf-8", newline="") as text:
            yield from csv.reader(text, delimiter=DELIMITERS[job.delimiter], strict=True)

    def _work(self, job: Job) -> None:
        if job.query is not None:
            self._answer(job)
            return
        try:
            self._ingest(job)
        except (csv.Error, UnicodeDecodeError) as problem:
            job.error = f"InvalidBatch : Failed to parse CSV: {problem}"
        except Refused as problem:
            job.error = f"{problem.code} : {problem}"
        job.state = "Failed" if job.error else "JobComplete"

    def _ingest(self, job: Job) -> None:
        path = self.emulator.scratch(f"{job.id}.csv")
        first = b""
        if path.is_file():
            with path.open("rb") as upload:
                first = upload.readline()
        if first and first.endswith(b"\r\n") != (job.ending == "CRLF"):
            raise Refused(
                "ClientInputError",
                f"LineEnding is invalid on user data. Current LineEnding setting is {job.ending}",
            )
        lines = self._lines(job)
        header = next(lines, [])
        self._check(job, header)
        good, bad = (
            self._sheet(job, "good", ["sf__Id", "sf__Created", *header]),
            self._sheet(job, "bad", ["sf__Id", "sf__Error", *header]),
        )
        with good[0], bad[0]:
            batch: list[list[str]] = []
            for line in lines:
                batch.append(line)
                if len(batch) == BATCH:
                    self._batch(job, header, batch, good[1], bad[1])
                    batch = []
                if job.fails and len(batch) >= BATCH // 2:
                    break
            if job.fails:  # the first half of what is here is written, the rest never looked at
                half = len(batch) // 2
                self._batch(job, header, batch[:half], good[1], bad[1])
                self._leave(job, iter([header, *batch[half:], *lines]))
                raise Refused("InternalServerError", "the job failed half way")
            self._batch(job, header, batch, good[1], bad[1])

    def _check(self, job: Job, header: list[str]) -> None:
        spec = self.store.spec(job.object)
        for name in header:
            try:
                known = reference_of(spec, name) if "." in name else spec.fields[name]
            except (KeyError, RowError):
                known = None
            if known is None:
                raise Refused("InvalidBatch", f"Field name not found : {name}")
        if job.operation == "upsert" and job.key not in header:
            raise Refused("InvalidBatch", f"Field name not found : {job.key}")

    def _batch(self, job: Job, header: list[str], batch: list[list[str]], good: Any, bad: Any) -> None:
        key = job.key if job.operation == "upsert" else self.store.names.id
        at = header.index(key) if key in header else -1
        seen = Counter(line[at] for line in batch if at >= 0 and len(line) > at)
        done, refused = [], []
        with self.store.lock:
            self.store.sql.execute("BEGIN")
            for line in batch:
                job.processed += 1
                try:
                    if len(line) != len(header):
                        raise RowError("INVALID_ROW", "the row has another number of columns than the header")
                    if at >= 0 and line[at] and seen[line[at]] > 1:
                        raise RowError(
                            "DUPLICATE_EXTERNAL_ID", f"Duplicate external id specified: {line[at]}"
                        )
                    self.emulator.strike(job.fault)
                    id, new = self._one(job, dict(zip(header, line, strict=True)))
                    done.append([id, "true" if new else "false", *line])
                except RowError as problem:
                    job.failed += 1
                    names = ",".join(problem.fields)
                    refused.append(["", f"{problem.code}:{problem.message}:{names} --", *line])
            self.store.sql.execute("COMMIT")
        good.writerows(shuffled(done, job.processed))
        bad.writerows(shuffled(refused, job.processed))

    def _one(self, job: Job, cells: dict[str, str]) -> tuple[str, bool]:
        names = self.store.names
        values = {c: None if v == "#N/A" else v for c, v in cells.items() if v != ""}
        id = str(values.pop(names.id, "") or "")
        if job.operation == "delete":
            self.store.delete(job.object, id)
            return id, False
        if job.operation == "upsert" and job.key != names.id:
            return self.store.save(job.object, values, key=job.key)
        if job.operation == "insert":
            return self.store.save(job.object, values, only="insert")
        return self.store.save(job.object, values, id=id, only="update" if id else "insert")

    def _sheet(self, job: Job, kind: str, header: list[str]) -> tuple[Any, Any]:
        out = self.emulator.scratch(f"{job.id}.{kind}").open("w", encoding="utf-8", newline="")
        writer = csv.writer(
            out,
            quoting=csv.QUOTE_ALL,
            lineterminator=ENDINGS[job.ending],
            delimiter=DELIMITERS[job.delimiter],
        )
        writer.writerow(header)
        return out, writer

    def _leave(self, job: Job, lines: Iterator[list[str]]) -> None:
        out, writer = self._sheet(job, "left", next(lines, []))
        with out:
            writer.writerows(lines)

    def results(self, job: Job, which: str) -> bytes:
        """One of the three result files."""
        if job.state not in DONE:
            raise Refused("INVALIDJOBSTATE", f"the job is {job.state}", 409)
        path: Path = self.emulator.scratch(f"{job.id}.{RESULTS[which]}")
        return path.read_bytes() if path.is_file() else b""

    # query ---------------------------------------------------------------------------------------

    def ask(self, asked: dict[str, Any]) -> Job:
        """A new query job. Raises Refused."""
        operation, text = str(asked.get("operation", "")), str(asked.get("query", ""))
        if operation not in ("query", "queryAll"):
            raise Refused("INVALIDJOB", f"operation {operation!r} is not known")
        try:
            query = read_query(self.store, text, deleted=operation == "queryAll")
        except QueryError as problem:
            raise Refused(problem.code, str(problem)) from None
        job = self._add(query.object, operation, query=query, soql=text, wait=self.latency)
        job.delimiter, job.ending = (
            str(asked.get("columnDelimiter", "COMMA")),
            str(asked.get("lineEnding", "LF")),
        )
        job.state = "UploadComplete"
        return job

    def _answer(self, job: Job) -> None:
        query = job.query
        assert query is not None
        if job.fails:
            job.state, job.error = "Failed", "InternalServerError : the job failed half way"
            return
        buffer = io.StringIO()
        writer = csv.writer(
            buffer,
            quoting=csv.QUOTE_ALL,
            lineterminator=ENDINGS[job.ending],
            delimiter=DELIMITERS[job.delimiter],
        )
        with self.store.lock, self.emulator.scratch(f"{job.id}.rows").open("wb") as out:
            for row in self.store.sql.execute(query.sql, query.values):
                writer.writerow([cell(k, v) for k, v in zip(query.kinds, row, strict=True)])
                job.offsets.append(out.tell())
                out.write(buffer.getvalue().encode())
                buffer.seek(0)
                buffer.truncate()
            job.offsets.append(out.tell())
        job.processed = len(job.offsets) - 1
        job.state = "JobComplete"

    def page(self, job: Job, locator: str, size: int) -> tuple[bytes, int, str]:
        """CSV of one page with its header, how many rows, where the next one starts ("null": nowhere)."""
        if job.state != "JobComplete" or job.query is None:
            raise Refused("INVALIDJOBSTATE", f"the job is {job.state}")
        start = int(locator or 0)
        end = min(start + size, job.processed)
        buffer = io.StringIO()
        csv.writer(
            buffer,
            quoting=csv.QUOTE_ALL,
            lineterminator=ENDINGS[job.ending],
            delimiter=DELIMITERS[job.delimiter],
        ).writerow(job.query.columns)
        with self.emulator.scratch(f"{job.id}.rows").open("rb") as rows:
            rows.seek(job.offsets[start])
            data = rows.read(job.offsets[end] - job.offsets[start])
        return buffer.getvalue().encode() + data, end - start, str(end) if end < job.processed else "null"


def cell(kind: str, value: Any) -> str:
    """A value in CSV as the org writes it."""
    if value is None:
        return ""
    if kind == "boolean":
        return "true" if value else "false"
    return str(value)
