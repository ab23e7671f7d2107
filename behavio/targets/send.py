"""Send what a plan says, read everything back, send what is missing again; on disk at every step.

Rows are found by their key, so sending twice does no harm, and what counts is only what is read back. A
delivery that was killed goes on from what the system holds: jobs at work are brought to an end first.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import polars as pl

from behavio.targets.crm import PASSING, Crm, Write
from behavio.targets.mapping import CrmMapping, ObjectMapping
from behavio.targets.plan import Part, Plan, acted
from behavio.targets.state import State
from behavio.targets.wire import differing

ROUNDS = 6
THERE = "@"


class Journal:
    """Facts of a delivery under way, one JSON line each, on disk before the next request."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def note(self, fact: dict[str, Any]) -> None:
        """Add one fact."""
        with self.path.open("a", encoding="utf-8") as out:
            out.write(json.dumps(fact, ensure_ascii=False) + "\n")
            out.flush()
            os.fsync(out.fileno())

    def facts(self) -> list[dict[str, Any]]:
        """All facts so far; a line cut off by a kill is left out."""
        if not self.path.is_file():
            return []
        found = []
        for line in self.path.read_text(encoding="utf-8").splitlines():
            try:
                found.append(json.loads(line))
            except ValueError:
                continue
        return found


FAILED = {"object": pl.String, "key": pl.String, "what": pl.String, "code": pl.String, "message": pl.String}


@dataclass
class Sent:
    """What came of a plan. `failed` holds the rows that are not there as planned, with the system's words."""

    confirmed: int = 0
    late: int = 0
    rounds: int = 0
    failed: pl.DataFrame = field(default_factory=lambda: pl.DataFrame(schema=FAILED))
    confirmed_by: dict[str, int] = field(default_factory=dict)


class Sender:
    """Sends one plan."""

    def __init__(
        self,
        crm: Crm,
        mapping: CrmMapping,
        plan: Plan,
        folder: Path,
        sleep: Callable[[float], None],
        progress: Callable[[str, float], None] | None = None,
    ) -> None:
        self.crm, self.mapping, self.plan, self.folder = crm, mapping, plan, folder
        self.journal = Journal(folder / "journal.jsonl")
        self.sleep = sleep
        self.progress = progress
        self.errors: dict[tuple[str, str], tuple[str, str]] = {}
        self.late: set[tuple[str, str]] = set()
        self._done = 0
        self._total = max(1, sum(p.rows for p in plan.parts if p.sends))

    def send(self, *, resumed: bool) -> Sent:
        """Send, read back and send again until all is there, or nothing more can be done."""
        if resumed:
            self.crm.settle(self.journal.facts())
        result = Sent()
        indexes = list(dict.fromkeys(p.object for p in self.plan.parts if p.sends))
        if self.plan.kind == "rollback":
            indexes.reverse()  # children go before their parents
        for index in indexes:
            self._object(index, result, resumed)
        result.late = len(self.late)
        return result

    def look(self) -> Sent:
        """What the system holds of the plan, nothing sent."""
        result = Sent()
        for index in dict.fromkeys(p.object for p in self.plan.parts if p.sends):
            parts = [p for p in self.plan.parts if p.object == index and p.sends]
            one = self.mapping.objects[index]
            self._sum_up(one, parts, self._missing(one, parts), result)
        return result

    def _object(self, index: int, result: Sent, resumed: bool) -> None:
        parts = [p for p in self.plan.parts if p.object == index and p.sends]
        one = self.mapping.objects[index]
        pending: dict[str, pl.Series] | None = self._missing(one, parts) if resumed else None
        for round in range(ROUNDS):
            if pending is not None and not any(k.len() for k in pending.values()):
                break
            result.rounds = max(result.rounds, round + 1)
            if round:
                self.sleep(min(2.0**round, 60.0))
            for part, rows in self._rows(one, parts, pending):
                self._write(one, part, rows)
            pending = self._missing(one, parts)
            codes = {self.errors.get((one.object, k), ("",))[0] for keys in pending.values() for k in keys}
            if codes and not codes & {*PASSING, ""}:
                break  # the system will say the same again
        self._sum_up(one, parts, pending or {}, result)

    def _rows(
        self, one: ObjectMapping, parts: list[Part], pending: dict[str, pl.Series] | None
    ) -> Iterator[tuple[Part, pl.DataFrame]]:
        for part in parts:
            rows = pl.read_parquet(self.folder / part.file)
            if pending is not None:
                rows = rows.filter(pl.col(one.key).is_in(pending[part.file].implode()))
            rows = self._untouched(one, rows)
            if rows.height:
                yield part, rows

    def _untouched(self, one: ObjectMapping, rows: pl.DataFrame) -> pl.DataFrame:
        """Leave out rows on which a rep acted since the plan was made."""
        if not one.protect or rows.height == 0:
            return rows
        known = rows.filter(pl.col("#what") != "create")[one.key]
        columns = [p.partition(":")[0] for p in one.protect]
        state = State(self.crm, one.object, columns, one.key, self.folder / "state" / "acted")
        state.fetch_keys(known)
        touched = state.all().filter(acted(one)).collect()[one.key]
        state.forget()
        self.late |= {(one.object, k) for k in known.filter(known.is_in(touched.implode()))}
        return rows.filter(~pl.col(one.key).is_in(touched.implode()) | (pl.col("#what") == "create"))

    def _write(self, one: ObjectMapping, part: Part, rows: pl.DataFrame) -> None:
        if rows["#what"][0] == "delete":
            ids = rows[self.crm.id or one.key].to_list()
            failed = self.crm.delete(one.object, ids)
            for key, id in zip(rows[one.key], ids, strict=True):
                self._heard(one, key, failed.get(id), "it could not be deleted")
            return
        by_id = rows["#what"][0] != "create" and one.key == self.crm.id
        only = "update" if one.operation == "update" or by_id else ""
        fields = self.crm.fields(one.object)
        new = rows["#what"][0] == "create"
        what = Write(one.object, one.key, fields, only, new, frozenset(part.clear))
        for answers in self.crm.write(what, rows.select(part.columns), self.journal.note):
            for key, code, message in answers.select("key", "code", "message").iter_rows():
                self._heard(one, key, code, message)
            self._done += answers.height
            if self.progress is not None:
                self.progress(f"writing {one.object}", min(1.0, self._done / self._total))

    def _heard(self, one: ObjectMapping, key: str, code: str | None, message: str | None) -> None:
        if code is None:
            self.errors.pop((one.object, key), None)
        else:
            self.errors[one.object, key] = (code, message or "")

    def _missing(self, one: ObjectMapping, parts: list[Part]) -> dict[str, pl.Series]:
        """Keys of every part that the system does not hold as planned."""
        state = State(self.crm, one.object, one.names, one.key, self.folder / "state" / "back")
        keys = [pl.read_parquet(self.folder / p.file, columns=[one.key])[one.key] for p in parts]
        if keys:
            state.fetch_keys(pl.concat(keys))
        fields = self.crm.fields(one.object)
        found: dict[str, pl.Series] = {}
        for part in parts:
            rows = pl.read_parquet(self.folder / part.file)
            there = state.of(rows[one.key]).with_columns(pl.lit(True).alias("#there"))
            there = there.rename({c: c + THERE for c in there.columns if c not in (one.key, "#there")})
            rows = rows.join(there, on=one.key, how="left", maintain_order="left")
            here = pl.col("#there").fill_null(False)
            other = differing([c for c in part.columns if c != one.key], part.clear, fields, THERE) != ""
            deleted = pl.col("#what") == "delete"
            wrong = pl.when(deleted).then(here).otherwise(~here | other)
            late = pl.col(one.key).is_in(sorted(k for o, k in self.late if o == one.object))
            found[part.file] = rows.filter(wrong & ~late)[one.key]
        state.forget()
        return found

    def _sum_up(
        self, one: ObjectMapping, parts: list[Part], pending: dict[str, pl.Series], result: Sent
    ) -> None:
        rows = []
        for part in parts:
            missing = pending.get(part.file)
            n = missing.len() if missing is not None else 0
            keys = pl.read_parquet(self.folder / part.file, columns=[one.key])[one.key]
            late = sum((one.object, k) in self.late for k in keys) if self.late else 0
            there = keys.len() - n - late
            result.confirmed += there
            result.confirmed_by[one.object] = result.confirmed_by.get(one.object, 0) + there
            if missing is None or n == 0:
                continue
            plan = pl.read_parquet(self.folder / part.file, columns=[one.key, "#what"])
            for key, what in plan.filter(pl.col(one.key).is_in(missing.implode())).iter_rows():
                code, message = self.errors.get(
                    (one.object, key), ("NOT_THERE", "read back otherwise than sent")
                )
                rows.append((one.object, key, what, code, message))
        if rows:
            more = pl.DataFrame(rows, schema=FAILED, orient="row")
            result.failed = pl.concat([result.failed, more])
