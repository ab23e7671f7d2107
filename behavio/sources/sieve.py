"""The sieve every row goes through: what is left out or rejected is counted, with the reason, to the row.

read = still in play + rejected + left out, after every step.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path

import polars as pl

from behavio.errors import LogError
from behavio.log import REJECTED_SCHEMA
from behavio.sources.beside import second_file
from behavio.sources.inputs import Folders
from behavio.sources.mapping import Field, Filter, Join, Remark, SourceMapping
from behavio.sources.privacy import EVERYBODY, HIDDEN, OPTED_OUT, Privacy, opted_out, text_columns
from behavio.sources.records import as_text as as_text
from behavio.sources.records import (
    by_value,
    full_ids,
    joint,
    older_copies,
    parts_of,
    spelled,
    survivors,
    to_the_end,
    unwanted,
    with_aliases,
)
from behavio.sources.settings import nearest
from behavio.sources.tabular import FILE, RAW_LENGTH, ROW, RawTable
from behavio.sources.twins import PLACE

NOTHING = ("", "nan", "NaN", "null", "NULL", "None", "NaT", "<NA>", "#N/A", "N/A", "\\N")
"""What stands for an empty cell of a text file where a case, an activity or a time is expected."""
LONGEST = 1_000


class Sieve:
    """Rows still in play, and what happened to every row that is not.

    frame     raw columns, joined ones, __row__ and __file__
    shown     raw columns that may appear in rejected rows
    """

    def __init__(
        self,
        name: str,
        table: RawTable,
        mapping: SourceMapping,
        *,
        private: bool,
        keep: Sequence[str] = (),
        privacy: Privacy = EVERYBODY,
    ) -> None:
        self.name = name
        self.privacy = privacy
        self.merged: dict[str, str] = {}
        self.barred: list[str] = []
        self.files = table.files
        self.n_read = table.n_read
        self.nothing = [""] if table.typed else list(NOTHING)
        self.notes = [*table.notes, *mapping.notes]
        self.left_out: dict[str, int] = dict(table.left_out)
        self.filtered = 0
        self.unmatched: dict[str, int] = {}
        gone = [c for c in table.columns if unwanted(c, mapping.drop) and c not in keep]
        frame = spelled(table.frame.drop(gone), mapping.needs, keep, self.notes)
        self.frame = _flat(frame, mapping.params, self.notes)
        self.absent: set[str] = set()
        own = [c for c in self.frame.columns if c not in (ROW, FILE)]
        asked = {*mapping.needs, *keep}
        self.texts = self._texts([c for c in own if c not in asked]) if "*" in keep else []
        self.shown = [c for c in own if (not private or c in mapping.needs) and c not in self.texts]
        early = table.rejected.with_columns(pl.lit(name).alias("source")).select(list(REJECTED_SCHEMA))
        if (private or self.texts) and early.height:
            early = early.with_columns(raw=pl.lit("(not shown: this extract holds columns that stay out)"))
        self.rejected = [early]

    def _texts(self, columns: list[str]) -> list[str]:
        """Columns that would travel along but hold free text or name somebody."""
        found = [] if self.privacy.keep_text else text_columns(self.frame, columns)
        if found:
            named = ", ".join(f'"{c}"' for c in found[:8]) + (", …" if len(found) > 8 else "")
            hint = f'keep = ["*", {named}] or [log] keep_text = true keeps them'
            self.notes.append(f"left out as free text or personal: {', '.join(found)} ({hint})")
        return found

    def bar(self) -> None:
        """Leave out the rows of people who may not enter; needs __case__."""
        found = self.privacy.among(self.frame["__case__"])
        for reason in dict.fromkeys(found.values()):
            ids = [i for i, why in found.items() if why == reason]
            self.leave_out(pl.col("__case__").is_in(ids), reason, filtered=True)
        self.barred = list(found)

    def bar_merged(self) -> None:
        """Bar those too into whom a barred person was merged: it is the same person."""
        for old, reason in self.privacy.among(pl.Series(list(self.merged), dtype=pl.String)).items():
            self.privacy = self.privacy.also([self.merged[old]], reason)

    def all_rejected(self) -> pl.DataFrame:
        """Every rejected row (REJECTED_SCHEMA); the text of one that names a barred person is not shown."""
        rows = pl.concat(self.rejected) if self.rejected else pl.DataFrame(schema=REJECTED_SCHEMA)
        if rows.height == 0 or not (self.privacy.barred or self.privacy.hashes):
            return rows
        hit = self.privacy.names_somebody(rows["raw"], self.barred)
        return rows.with_columns(raw=pl.when(hit).then(pl.lit(HIDDEN)).otherwise("raw"))

    @property
    def columns(self) -> list[str]:
        """Columns of the rows in play, without the sieve's own."""
        return [c for c in self.frame.columns if not c.startswith("__")]

    @property
    def n_rejected(self) -> int:
        """Rows rejected so far."""
        return sum(r.height for r in self.rejected)

    def reject(self, bad: pl.Expr | pl.Series, column: str, reason: str, hint: str) -> None:
        """Take these rows out of play and keep them, with the reason in plain words."""
        mask = self._mask(bad)
        if not mask.any():
            return
        rows = self.frame.filter(mask)
        raw = pl.struct(self.shown).struct.json_encode() if self.shown else pl.lit("")
        names = pl.Series(self.files, dtype=pl.String)
        self.rejected.append(
            rows.select(
                pl.lit(self.name).alias("source"),
                names.gather(rows[FILE]).alias("file"),
                pl.col(ROW).alias("row"),
                pl.lit(column).alias("column"),
                pl.lit(reason).alias("reason"),
                pl.lit(hint).alias("hint"),
                _shorten(raw).alias("raw"),
            )
        )
        self.frame = self.frame.filter(~mask)

    def leave_out(self, out: pl.Expr | pl.Series, why: str, *, filtered: bool = False) -> None:
        """Take rows out of play that are no events of their own."""
        mask = self._mask(out)
        n = int(mask.sum())
        if n:
            self.left_out[why] = self.left_out.get(why, 0) + n
            self.filtered += n if filtered else 0
            self.frame = self.frame.filter(~mask)

    def _mask(self, rows: pl.Expr | pl.Series) -> pl.Series:
        mask = rows if isinstance(rows, pl.Series) else self.frame.select(rows.alias("m")).to_series()
        return mask.fill_null(False)

    def known(self, columns: Sequence[str]) -> list[str]:
        """Those of these columns that are not joined ones whose file is not there."""
        return [c for c in columns if c not in self.absent] or list(columns)

    def require(self, columns: Sequence[str], what: str) -> None:
        """Raise LogError when none of these columns is there, offering the nearest."""
        if not columns or any(c in self.frame.columns and c not in self.absent for c in columns):
            return
        own = self.known(columns)[0]
        near = nearest(own, self.columns)
        hint = f"did you mean {near!r}? " if near else ""
        raise LogError(
            f"{self.files[0]} has no column {own!r} for {what}",
            hint=f"{hint}it has: {', '.join(self.columns[:30])}",
        )

    def can_fill(self, field: Field) -> bool:
        """True when the field has something to say: a constant, a value for empty cells, or a column."""
        said = field.constant is not None or field.empty is not None
        return said or any(c in self.frame.columns for c in field.needs)

    def text(self, field: Field) -> pl.Expr:
        """The field as text, null where it is empty; columns the file does not have are passed over."""
        if field.constant is not None:
            return pl.lit(field.constant)
        if field.template:
            return self._template(field.template)
        have = [c for c in field.column if c in self.frame.columns]
        parts = [as_text(self.frame, c) for c in have]
        mapped = field.times is None and (field.values or field.other is not None)
        if mapped and len(have) == 1 and self.frame.schema[have[0]] == pl.String:
            return by_value(pl.col(have[0]), partial(self._found, field))
        return self._found(field, pl.coalesce(parts) if parts else pl.lit(None, dtype=pl.String))

    def _found(self, field: Field, raw: pl.Expr) -> pl.Expr:
        """What the field makes of its columns' text."""
        raw = raw.str.strip_chars(field.trim) if field.trim else raw
        if field.first_of:
            raw = raw.str.split(field.first_of).list.first().str.strip_chars()
        if field.fold:
            raw = raw.str.strip_chars().str.to_lowercase().str.replace_all(r"[\s\-]+", "_")
        found = raw
        if field.values or field.other is not None:
            known = pl.Series(list(field.values), dtype=pl.String)
            new = pl.Series([v or None for v in field.values.values()], dtype=pl.String)
            rest = None if field.strict else (pl.lit(field.other) if field.other is not None else raw)
            mapped = raw.replace_strict(known, new, default=rest, return_dtype=pl.String)
            found = pl.when(raw.is_not_null()).then(mapped)
        if field.times is not None:
            factor = self._factor(field.times)
            found = (found.cast(pl.Float64, strict=False) * factor).cast(pl.String)
        if field.empty is None:
            return found
        return pl.when(raw.is_null()).then(pl.lit(field.empty)).otherwise(found)

    def _factor(self, times: float | str) -> pl.Expr:
        if not isinstance(times, str):
            return pl.lit(times)
        self.require([times], "a factor")
        return as_text(self.frame, times).cast(pl.Float64, strict=False)

    def _template(self, template: str) -> pl.Expr:
        pieces: list[pl.Expr] = []
        for place, piece in enumerate(PLACE.split(template)):
            if place % 2 == 0:
                pieces.append(pl.lit(piece))
            else:
                self.require([piece], "the template")
                pieces.append(as_text(self.frame, piece).fill_null("(none)"))
        return pl.concat_str(pieces)

    # the steps every kind of extract shares ------------------------------------------------------

    def prepare(self, mapping: SourceMapping, joins: Mapping[str, str], base: Path, beside: Folders) -> None:
        """Full ids, one row per record, joined columns, filters, group headers."""
        if mapping.salesforce_ids:
            self._full((mapping.id, mapping.parent, *mapping.case_id.column))
        self._newest(mapping.id, mapping.version)
        if not mapping.id and mapping.title and len(self.files) > 1:
            own = [c for c in self.frame.columns if c not in (ROW, FILE)]
            self.leave_out(~pl.struct(own).is_first_distinct(), "the same row in an earlier export")
        said = opted_out(
            self.frame, self.text(mapping.case_id)
        )  # before filters: a deleted row's still holds
        self.privacy = self.privacy.also(said, OPTED_OUT)
        if mapping.merged_into in self.frame.columns:
            self.merged = survivors(self.frame, mapping.id, mapping.merged_into, mapping.salesforce_ids)
            self.bar_merged()
        for name, join in mapping.joins.items():
            self._join(name, join, joins.get(name), base, beside, mapping)
        if mapping.salesforce_ids:
            self._full(mapping.case_id.column)
        for rule in mapping.filter:
            self._filter(rule)
        for remark in mapping.remark:
            self._remark(remark)
        if mapping.parent and mapping.parent in self.frame.columns:
            self._group(mapping)

    def _newest(self, id: str, version: Sequence[str]) -> None:
        if id not in self.frame.columns:
            return
        old = older_copies(self.frame, id, version)
        self.leave_out(old, f"an older or equal copy of a record with the same {id}")

    def _full(self, columns: Sequence[str]) -> None:
        for column in columns:
            if column in self.frame.columns:
                self.frame = self.frame.with_columns(full_ids(self.frame[column]))

    def _join(
        self,
        name: str,
        join: Join,
        named: str | None,
        base: Path,
        beside: Folders,
        mapping: SourceMapping,
    ) -> None:
        columns = [f"{name}.{c}" for c in join.columns]
        here, full = set(self.frame.columns) - self.absent, mapping.salesforce_ids
        own = next((key for key in join.key if here.issuperset(parts_of(key))), None)
        table = None
        if own is not None:
            table = second_file(join, named, base, beside)
            if table is None and not join.optional:
                raise LogError(
                    f"{self.name} needs {join.file} for {name}",
                    hint=f'name it: joins.{name} = "…/{join.file}"',
                )
            if table is None and not join.quiet:
                self.notes.append(f"{join.file} is not beside the file: {', '.join(columns)} stay empty")
        elif not join.optional:
            self.require(join.key, f"{name} of {join.file}")
        if table is None or own is None:
            self.absent |= set(columns)
            self.frame = self.frame.with_columns(pl.lit(None, dtype=pl.String).alias(c) for c in columns)
            return
        table = self._rows(name, join, with_aliases(table, mapping.aliases), full)
        found = [c for c in join.columns if c in table.columns]
        table = table.select(
            pl.col(join.id).cast(pl.String).alias("__key__"), *(pl.col(c).alias(f"{name}.{c}") for c in found)
        )
        table = table.with_columns(pl.lit(True).alias("__found__"))
        self._full([own] if full else [])
        key = joint(self.frame, own).alias("__key__")
        self.frame = self.frame.with_columns(key).join(table, on="__key__", how="left", maintain_order="left")
        lost = self.frame.filter(pl.col("__key__").is_not_null() & pl.col("__found__").is_null()).height
        if lost and not join.quiet:
            self.notes.append(f"{lost:,} rows name a {own} that {join.file} does not hold")
        chained = f"{name}.{join.chain}"
        if chained in self.frame.columns and (n := self.frame[chained].count()):
            self.notes.append(f"{n:,} rows name a merged {own}: counted for the one that survived")
        lacking = [c for c in columns if c not in self.frame.columns]
        self.absent |= set(lacking)
        empty = [pl.lit(None, dtype=pl.String).alias(c) for c in lacking]
        self.frame = self.frame.drop("__key__", "__found__").with_columns(empty)

    def _rows(self, name: str, join: Join, table: pl.DataFrame, full: bool) -> pl.DataFrame:
        """The rows of a joined file that count: those wanted, one per id, chains followed to their end."""
        wanted = {*parts_of(join.id), join.chain, *join.columns, *join.version, *join.where}
        table = spelled(table, wanted - {""}, (), [])
        if len(parts_of(join.id)) > 1 and set(parts_of(join.id)) <= set(table.columns):
            table = table.with_columns(joint(table, join.id).alias(join.id))
        if join.id not in table.columns:
            raise LogError(f"{join.file} has no column {join.id!r}", hint=f"{self.name} is joined by it")
        table = table.with_columns(full_ids(table[join.id])) if full else table
        for column, value in join.where.items():
            if column not in table.columns:
                raise LogError(f"{join.file} has no column {column!r}", hint="it stands in `where`")
            table = table.filter(as_text(table, column) == value)
        if join.chain in table.columns:
            self.merged |= survivors(table, join.id, join.chain, full)
            self.bar_merged()
            table = to_the_end(table, join.id, join.chain, full=full)
        older = older_copies(table, join.id, join.version, first=join.first)
        said = [c for c in join.columns if c in table.columns and c != join.id]
        if (
            older.any()
            and join.id != "Id"
            and not join.first
            and table.select(join.id, *said).n_unique() > (~older).sum()
        ):
            note = f"{join.file} holds several rows for one {join.id}: the newest counts; `where` in a copy"
            self.notes.append(f"{note} of the mapping chooses others")
        return table.filter(~older & table[join.id].is_not_null())

    def _remark(self, remark: Remark) -> None:
        have = [c for c in remark.column if c in self.frame.columns and c not in self.absent]
        if self.frame.height == 0:
            return
        if not have:
            if remark.missing:
                self.notes.append(remark.why)
            return
        said = self.frame.select(pl.coalesce([as_text(self.frame, c) for c in have]).alias("v"))["v"]
        if remark.missing:
            self.notes += [remark.why] if said.null_count() == said.len() else []
            return
        counted = said.drop_nulls().value_counts().sort("count", "v", descending=[True, False]).rows()
        if counted:
            shown = ", ".join(f"{n:,} × {v}" for v, n in counted[:6])
            self.notes.append(f"{have[0]}: {shown}{' …' if len(counted) > 6 else ''}; {remark.why}")

    def _filter(self, rule: Filter) -> None:
        have = [c for c in rule.column if c in self.frame.columns]
        if not have:
            if rule.optional:
                return
            self.require(rule.column, "a filter")
        texts = len(have) == 1 and self.frame.schema[have[0]] == pl.String
        said = pl.col(have[0]) if texts else pl.coalesce([as_text(self.frame, c) for c in have])
        found = self.frame.select(said.alias("v"))["v"]
        distinct = found.unique().drop_nulls().to_frame()  # few, while rows are many
        listed = rule.inside if rule.inside is not None else rule.outside or ()
        hit = as_text(distinct, "v").str.to_lowercase().is_in([v.lower() for v in listed])
        empty_goes = rule.inside is not None and not rule.empty
        out = (~hit if rule.inside is not None else hit).fill_null(empty_goes)
        gone = distinct.filter(out)["v"]
        if not gone.len() and not (empty_goes and found.null_count()):
            return
        self.leave_out(found.is_in(gone.to_list()).fill_null(empty_goes), rule.why, filtered=True)

    def _group(self, mapping: SourceMapping) -> None:
        """Group records: the header without a case gives way to its attendees, each case counts once."""
        parent, own = as_text(self.frame, mapping.parent), as_text(self.frame, mapping.id)
        parents = self.frame.select(parent.unique().drop_nulls()).to_series()
        if parents.len() == 0:
            return
        headers = own.is_in(parents.to_list()) & self.text(mapping.case_id).is_null()
        self.leave_out(headers, "the header of a group: its attendees have rows of their own")
        group = pl.coalesce(parent, own)
        in_group = parent.is_not_null() | own.is_in(parents.to_list())
        key = pl.struct(group.alias("g"), self.text(mapping.case_id).alias("c"))
        twice = in_group & self.text(mapping.case_id).is_not_null() & ~key.is_first_distinct()
        self.leave_out(twice, "the same case a second time in one group")


def _flat(frame: pl.DataFrame, params: Sequence[str], notes: list[str]) -> pl.DataFrame:
    """Nested columns one level down as `column.key`; keyed lists give `param.<key>`.

    A list of plain values (a picklist in Vault's JSON) is a text "a;b"; other lists go.
    """
    if params and "event_params" in frame.columns:
        from behavio.sources.web import flat_params

        frame = flat_params(frame, params)
    gone = []
    for name, kind in frame.schema.items():
        if isinstance(kind, pl.Struct):
            inner = [pl.col(name).struct.field(f.name).alias(f"{name}.{f.name}") for f in kind.fields]
            frame = frame.with_columns(inner).drop(name)
    lists = [n for n, t in frame.schema.items() if isinstance(t, pl.List) and not t.inner.is_nested()]
    frame = frame.with_columns(pl.col(n).cast(pl.List(pl.String)).list.join(";") for n in lists)
    gone = [n for n, t in frame.schema.items() if t.is_nested()]
    if gone:
        notes.append(f"nested columns left out: {', '.join(gone)}")
    return frame.drop(gone)


def _shorten(raw: pl.Expr) -> pl.Expr:
    long = raw.str.len_chars() > RAW_LENGTH
    tail = pl.format(" … (cut, {} characters)", raw.str.len_chars())
    return pl.when(long).then(raw.str.head(RAW_LENGTH) + tail).otherwise(raw)
