"""The plan of a delivery: what is there, what we want, and the difference, row by row, with its pre-image.

A plan lies on disk as parts, one Parquet file each. A part is rows of one object that are written with the
same columns: `#what`, `#changed` and `#reason` say why, the columns of the mapping what is written, and
`old:<column>` what was there before.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from datetime import date, timedelta
from pathlib import Path
from typing import Self

import polars as pl

from behavio.errors import RunError
from behavio.files import read_json, write_json
from behavio.targets.crm import Crm
from behavio.targets.facts import CHUNK, Facts
from behavio.targets.mapping import CrmMapping, ObjectMapping
from behavio.targets.state import State
from behavio.targets.wire import CASE, PROBLEM, cells, differing

THERE = "@"
OLD = "old:"
SENT = ("create", "update", "retire", "restore", "expire", "clear", "delete")
RULES = (
    "privacy_opt_out",
    "unassigned",
    "missing_owner",
    "medical_owner",
    "no_consent",
    "missing_reason",
    "expired",
    "owner_full",
    "dismissed_lately",
    "suggestion_withheld",
)
LATELY = 30
ROW = ("#what", "#changed", "#reason", CASE)


@dataclass(frozen=True, slots=True)
class Part:
    """One file of rows: `columns` are written (the key among them), nulls clear those in `clear`."""

    file: str
    object: int
    rows: int
    sends: bool
    columns: tuple[str, ...] = ()
    clear: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Plan:
    """Parts in the order in which they are sent, and how many rows of each kind every object has."""

    parts: tuple[Part, ...]
    counts: dict[str, dict[str, int]]
    fingerprint: str
    kind: str = "deliver"

    def write(self, folder: Path) -> None:
        """Write plan.json, last: a plan without it is none."""
        write_json(folder / "plan.json", asdict(self))

    @classmethod
    def read(cls, folder: Path) -> Self:
        """Read a plan back; RunError when there is none."""
        if not (folder / "plan.json").is_file():
            raise RunError(f"{folder} holds no plan", hint="give the folder of a delivery")
        table = read_json(folder / "plan.json")
        parts = [
            Part(**{**p, "columns": tuple(p["columns"]), "clear": tuple(p["clear"])}) for p in table["parts"]
        ]
        return cls(tuple(parts), table["counts"], table["fingerprint"], table["kind"])

    def total(self, *kinds: str) -> int:
        """Rows of these kinds."""
        return sum(n for counts in self.counts.values() for kind, n in counts.items() if kind in kinds)


class Planner:
    """Makes the parts of one plan in a folder."""

    def __init__(self, crm: Crm, mapping: CrmMapping, folder: Path) -> None:
        self.crm, self.mapping, self.folder = crm, mapping, folder
        self.parts: list[Part] = []
        self.counts: dict[str, dict[str, int]] = {}
        self.withheld: set[str] = set()
        shutil.rmtree(folder / "plan", ignore_errors=True)
        (folder / "plan").mkdir(parents=True)

    def add(
        self, index: int, rows: pl.DataFrame, columns: Sequence[str], clear: Sequence[str], *, sends: bool
    ) -> None:
        """Keep rows as a part."""
        if rows.height == 0:
            return
        name = f"plan/{len(self.parts):05d}.parquet"
        rows.write_parquet(self.folder / name, compression="zstd")
        self.parts.append(Part(name, index, rows.height, sends, tuple(columns), tuple(clear)))
        counts = self.counts.setdefault(self.mapping.objects[index].object, {})
        for what, n in rows["#what"].value_counts().sort("#what").iter_rows():
            counts[what] = counts.get(what, 0) + n

    def plan(self, fingerprint: str, kind: str = "deliver") -> Plan:
        """The plan of all parts so far; it is one once it is written."""
        return Plan(tuple(self.parts), self.counts, fingerprint, kind)

    # a delivery ----------------------------------------------------------------------------------

    def deliver(self, facts: Facts, max_per_owner: int) -> None:
        """Plan every object of the mapping."""
        for index, one in enumerate(self.mapping.objects):
            self._object(index, one, facts, max_per_owner)

    def _object(self, index: int, one: ObjectMapping, facts: Facts, max_per_owner: int) -> None:
        fields = self.crm.fields(one.object)
        read = [p.partition(":")[0] for p in one.protect] + [c for c in (one.dismissed, one.changed) if c]
        state = State(self.crm, one.object, [*one.names, *read], one.key, self.folder / "state" / str(index))
        if one.owned and one.retire:
            state.fetch((one.owned,))
        if one.expires and one.owner:
            state.fetch((one.expires, facts.day.isoformat()))
        spool = self.folder / "cells"
        keys = []
        for number, chunk in enumerate(self._chunks(one, facts)):
            made = self._resolved(cells(chunk, one, fields), one)
            made = self._capped(made, one, state, facts.day, max_per_owner)
            if one.rows == "suggestions":
                held = chunk["suggestion_id"].filter(made[PROBLEM].is_not_null())
                self.withheld |= set(held.to_list())
            spool.mkdir(exist_ok=True)
            made.write_parquet(spool / f"{number:05d}.parquet", compression="lz4")
            keys.append(made.filter(pl.col(PROBLEM).is_null())[one.key])
        wanted = pl.concat(keys).unique() if keys else pl.Series(one.key, [], pl.String)
        again = wanted.len() < sum(k.len() for k in keys)
        state.fetch_keys(wanted)
        seen = pl.Series(one.key, [], pl.String)
        for path in sorted(spool.glob("*.parquet")):
            made = pl.read_parquet(path)
            if again:
                made = _once(made, one.key, seen)
                seen = pl.concat([seen, made.filter(pl.col(PROBLEM).is_null())[one.key]])
            self._compare(index, one, made, state)
        shutil.rmtree(spool, ignore_errors=True)
        if one.retire:
            self._retire(index, one, state, wanted, facts)
        state.forget()

    def _chunks(self, one: ObjectMapping, facts: Facts) -> Iterator[pl.DataFrame]:
        """The facts of an object; as a whole where a cap looks over all rows."""
        chunks = facts.chunks(one.rows)
        if one.rows == "tags":  # a tag goes with its suggestion
            held = pl.col("suggestion_id").is_in(sorted(self.withheld))
            said = pl.when(held).then(pl.lit("suggestion_withheld: its suggestion does not go"))
            chunks = (c.with_columns(problem=pl.coalesce("problem", said)) for c in chunks)
        if not (one.owner and one.expires):
            yield from chunks
            return
        whole = list(chunks)
        if whole:
            yield pl.concat(whole)

    def _resolved(self, made: pl.DataFrame, one: ObjectMapping) -> pl.DataFrame:
        """Names of other rows become their ids; a name nobody has, or two have, is a problem."""
        for column in one.columns:
            if column.resolve is None:
                continue
            object, by = column.resolve
            names = made[column.name].drop_nulls().unique().to_list()
            pages = list(self.crm.read(object, [self.crm.id, by], by, names)) if names else []
            found = (
                pl.concat(pages) if pages else pl.DataFrame(schema={self.crm.id: pl.String, by: pl.String})
            )
            count = found.group_by(by).agg(pl.col(self.crm.id).first().alias("#to"), pl.len().alias("#n"))
            made = made.join(count, left_on=column.name, right_on=by, how="left", maintain_order="left")
            asked, several = pl.col(column.name).is_not_null(), pl.col("#n") > 1
            said = pl.format(f"not_there: no {object} is called {{}}", pl.col(column.name))
            many = pl.format(f"ambiguous: several {object} are called {{}}", pl.col(column.name))
            problem = pl.when(asked & pl.col("#n").is_null()).then(said).when(several).then(many)
            made = made.with_columns(
                pl.coalesce(pl.col(PROBLEM), problem).alias(PROBLEM), pl.col("#to").alias(column.name)
            ).drop("#to", "#n")
        return made

    def _capped(
        self, made: pl.DataFrame, one: ObjectMapping, state: State, day: date, most: int
    ) -> pl.DataFrame:
        """Hold back what a rep dismissed lately, and what is more than one owner can see."""
        if not (one.owner and one.expires):
            return made
        held = state.all().collect()
        if one.dismissed and one.same:
            since = (day - timedelta(days=LATELY)).isoformat()
            lately = held.filter(is_set(one.dismissed) & (pl.col(one.changed).str.slice(0, 10) >= since))
            same = lately.select(one.same).unique().with_columns(pl.lit(True).alias("#same"))
            made = made.join(same, on=list(one.same), how="left", maintain_order="left")
            others = ~pl.col(one.key).is_in(lately[one.key].implode())
            said = pl.lit(f"dismissed_lately: the rep dismissed it less than {LATELY} days ago")
            problem = pl.when(pl.col("#same") & others).then(said)
            made = made.with_columns(pl.coalesce(pl.col(PROBLEM), problem).alias(PROBLEM)).drop("#same")
        may = made.filter(pl.col(PROBLEM).is_null())[one.key].implode()
        open_rows = held.filter((pl.col(one.expires) >= day.isoformat()) & ~acted(one)).unique(
            self.crm.id or one.key
        )
        ours = pl.col(one.owned).is_not_null() if one.owned and one.retire else pl.lit(False)
        foreign = open_rows.filter(~pl.col(one.key).is_in(may).fill_null(False) & ~ours)
        taken = foreign.group_by(one.owner).agg(pl.len().alias("#taken"))
        made = made.join(taken, on=one.owner, how="left", maintain_order="left")
        free = most - pl.col("#taken").fill_null(0)
        place = pl.col(PROBLEM).is_null().cum_sum().over(one.owner)
        full = pl.when(place > free).then(pl.lit(f"owner_full: the owner already gets {most} suggestions"))
        return made.with_columns(pl.coalesce(pl.col(PROBLEM), full).alias(PROBLEM)).drop("#taken")

    def _compare(self, index: int, one: ObjectMapping, made: pl.DataFrame, state: State) -> None:
        """Sort rows into what happens to them, with what was there before."""
        fields = self.crm.fields(one.object)
        there = state.of(made[one.key])
        there = there.rename({c: c + THERE for c in there.columns if c != one.key})
        found = pl.lit(True).alias("#found")
        rows = made.join(there.with_columns(found), on=one.key, how="left", maintain_order="left")
        writable = [c for c in one.names if c != one.key and (c not in fields or fields[c].update)]
        compared = [c for c in writable if c not in one.stamps]
        clear = [c.name for c in one.columns if c.null == "clear"]
        problem, known = pl.col(PROBLEM), pl.col("#found").fill_null(False)
        rule = problem.str.extract(r"^(\w+)").is_in(list(RULES))
        gone = pl.lit(one.operation == "update") & ~known
        rows = rows.with_columns(
            differing(compared, clear, fields, THERE).alias("#changed"),
            pl.when(gone)
            .then(pl.coalesce(problem, pl.lit("not_there: the system has no such row")))
            .otherwise(problem)
            .alias(PROBLEM),
        )
        what = (
            pl.when(rule).then(pl.lit("suppress"))
            .when(problem.is_not_null()).then(pl.lit("invalid"))
            .when(~known).then(pl.lit("create"))
            .when(acted(one, THERE)).then(pl.lit("protect"))
            .when(pl.col("#changed") == "").then(pl.lit("unchanged"))
            .otherwise(pl.lit("update"))
        )  # fmt: skip
        rows = rows.with_columns(what.alias("#what"), pl.col(PROBLEM).alias("#reason"))
        only = pl.col("#what") == "update"
        rows = rows.with_columns(pl.when(only).then("#changed").otherwise(pl.lit("")).alias("#changed"))
        by = [c for c in (one.parent, one.key) if c]
        for kind, columns in (("create", list(one.names)), ("update", [one.key, *writable])):
            chosen = rows.filter(pl.col("#what") == kind).sort(by)
            olds = (
                [pl.col(c + THERE).alias(OLD + c) for c in columns if c != one.key]
                if kind == "update"
                else []
            )
            self.add(index, chosen.select(*ROW, *one.names, *olds), columns, clear, sends=True)
        rest = rows.filter(~pl.col("#what").is_in(["create", "update"]))
        self.add(index, rest.select(*ROW, *one.names), (), (), sends=False)

    def _retire(self, index: int, one: ObjectMapping, state: State, wanted: pl.Series, facts: Facts) -> None:
        """Rows of ours about people of this run that it no longer wants: expired or cleared."""
        about = one.case
        ours = pl.col(one.owned).is_not_null() & pl.col(about).is_in(facts.cases().implode())
        rows = state.all().filter(ours & ~pl.col(one.key).is_in(wanted.implode()) & ~acted(one)).collect()
        rows = rows.unique(one.key, keep="last", maintain_order=True)
        columns, clear = retired(one)
        if one.retire == "expire":
            rows = rows.filter(pl.col(one.expires) >= facts.day.isoformat())
            new = [pl.lit((facts.day - timedelta(days=1)).isoformat()).alias(one.expires)]
        else:
            new = [pl.lit(None, pl.String).alias(c) for c in clear]
        olds = [pl.col(c).alias(OLD + c) for c in columns if c != one.key]
        rows = rows.with_columns(
            *olds,
            pl.lit("retire").alias("#what"),
            pl.lit("; ".join(c for c in columns if c != one.key)).alias("#changed"),
            pl.lit("no longer wanted by this run").alias("#reason"),
            pl.col(about).alias(CASE),
        ).with_columns(new)
        rows = rows.sort([c for c in (one.parent, one.key) if c])
        for start in range(0, rows.height, CHUNK):
            part = rows.slice(start, CHUNK).select(
                *ROW, *one.names, *(OLD + c for c in columns if c != one.key)
            )
            self.add(index, part, columns, clear, sends=True)


def retired(one: ObjectMapping) -> tuple[list[str], list[str]]:
    """Columns that retiring a row writes, and those of them it clears."""
    if one.retire == "expire" or one.expires:
        return [one.key, one.expires], []
    clear = [c.name for c in one.columns if c.null == "clear"]
    clear += [one.owned] if one.owned and one.owned not in clear else []
    return [one.key, *clear], clear


def is_set(column: str, there: str = "") -> pl.Expr:
    """Whether a flag, a number or a text is set: not empty, not 0, not false."""
    text = pl.col(column + there).str.to_lowercase()
    return (~text.is_in(["", "0", "0.0", "false"])).fill_null(False)


def acted(one: ObjectMapping, there: str = "") -> pl.Expr:
    """Whether a rep has acted on a row."""
    found = pl.lit(False)
    for entry in one.protect:
        column, colon, values = entry.partition(":")
        chosen = pl.col(column + there).is_in(values.split("|")).fill_null(False)
        found = found | (chosen if colon else is_set(column, there))
    return found


def _once(made: pl.DataFrame, key: str, seen: pl.Series) -> pl.DataFrame:
    """Refuse keys that an earlier chunk used."""
    twice = pl.col(PROBLEM).is_null() & pl.col(key).is_in(seen.implode())
    said = pl.when(twice).then(pl.lit("duplicate_key: an earlier row has the same key"))
    return made.with_columns(pl.coalesce(pl.col(PROBLEM), said).alias(PROBLEM))
