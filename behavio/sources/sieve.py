"""The sieve every row goes through: what is left out or rejected is counted, with the reason, to the row.

read = still in play + rejected + left out, after every step.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import polars as pl

from behavio.errors import LogError
from behavio.log import REJECTED_SCHEMA
from behavio.sources.inputs import find_inputs
from behavio.sources.mapping import PLACE, Field, Filter, Join, SourceMapping
from behavio.sources.settings import nearest
from behavio.sources.tabular import FILE, RAW_LENGTH, ROW, RawTable, read_inputs
from behavio.sources.times import read_times

NOTHING = ("", "nan", "NaN", "null", "NULL", "None", "NaT", "<NA>", "#N/A", "N/A", "\\N")
"""What stands for an empty cell of a text file where a case, an activity or a time is expected."""
LONGEST = 1_000


class Sieve:
    """Rows still in play, and what happened to every row that is not.

    frame     raw columns, joined ones, __row__ and __file__
    shown     raw columns that may appear in rejected rows
    """

    def __init__(self, name: str, table: RawTable, mapping: SourceMapping, *, private: bool) -> None:
        self.name = name
        self.files = table.files
        self.n_read = table.n_read
        self.nothing = [""] if table.typed else list(NOTHING)
        self.notes = list(table.notes)
        self.left_out: dict[str, int] = {}
        self.filtered = 0
        self.unmatched: dict[str, int] = {}
        gone = [c for c in table.columns if c in mapping.drop]
        self.frame = _flat(table.frame.drop(gone), mapping.params, self.notes)
        own = [c for c in self.frame.columns if c not in (ROW, FILE)]
        self.shown = [c for c in own if not private or c in mapping.needs]
        early = table.rejected.with_columns(pl.lit(name).alias("source")).select(list(REJECTED_SCHEMA))
        if private and early.height:
            early = early.with_columns(raw=pl.lit("(not shown: this extract holds columns that stay out)"))
        self.rejected = [early]

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

    def require(self, columns: Sequence[str], what: str) -> None:
        """Raise LogError when none of these columns is there, offering the nearest."""
        if not columns or any(c in self.frame.columns for c in columns):
            return
        near = nearest(columns[0], self.columns)
        hint = f"did you mean {near!r}? " if near else ""
        raise LogError(
            f"{self.files[0]} has no column {columns[0]!r} for {what}",
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
        parts = [as_text(self.frame, c) for c in field.column if c in self.frame.columns]
        raw = pl.coalesce(parts) if parts else pl.lit(None, dtype=pl.String)
        raw = raw.str.strip_chars(field.trim) if field.trim else raw
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
            found = (found.cast(pl.Float64, strict=False) * field.times).cast(pl.String)
        if field.empty is None:
            return found
        return pl.when(raw.is_null()).then(pl.lit(field.empty)).otherwise(found)

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

    def prepare(
        self, mapping: SourceMapping, joins: Mapping[str, str], base: Path, beside: Path | None
    ) -> None:
        """Full ids, one row per record, joined columns, filters, group headers."""
        if mapping.salesforce_ids:
            ids = {
                mapping.id,
                mapping.parent,
                *mapping.case_id.column,
                *(k for j in mapping.join.values() for k in j.keys),
            }
            for column in sorted(c for c in ids if c in self.frame.columns):
                self.frame = self.frame.with_columns(full_ids(self.frame[column]))
        self._newest(mapping.id, mapping.version)
        for name, join in mapping.join.items():
            self._join(name, join, joins.get(name), base, beside, mapping)
        for rule in mapping.filter:
            self._filter(rule)
        if mapping.parent and mapping.parent in self.frame.columns:
            self._group(mapping)

    def _newest(self, id: str, version: Sequence[str]) -> None:
        if id not in self.frame.columns:
            return
        old = older_copies(self.frame, id, version)
        self.leave_out(old, f"an older or equal copy of a record with the same {id}")

    def _join(
        self,
        name: str,
        join: Join,
        named: str | None,
        base: Path,
        beside: Path | None,
        mapping: SourceMapping,
    ) -> None:
        columns = [f"{name}.{c}" for c in join.columns]
        table = None
        if all(k in self.frame.columns for k in join.keys):
            table = _second_file(join, named, base, beside)
            if table is None and not join.optional:
                raise LogError(
                    f"{self.name} needs {join.file} for {name}",
                    hint=f'name it: joins.{name} = "…/{join.file}"',
                )
            if table is None and not join.quiet:
                self.notes.append(f"{join.file} is not beside the file: {', '.join(columns)} stay empty")
        if table is None:
            self.frame = self.frame.with_columns(pl.lit(None, dtype=pl.String).alias(c) for c in columns)
            return
        table = named_as(table, mapping)
        table = table.with_columns(joint_key(table, join.id, join.file).alias("__key__"))
        table = table.with_columns(full_ids(table["__key__"])) if mapping.salesforce_ids else table
        later = older_copies(table, "__key__", join.version, first=join.first)
        table = table.filter(~later & pl.col("__key__").is_not_null())
        found = [c for c in join.columns if c in table.columns]
        table = table.select("__key__", *(pl.col(c).alias(f"{name}.{c}") for c in found))
        table = table.with_columns(pl.lit(True).alias("__found__"))
        key = joint_key(self.frame, join.key, self.files[0]).alias("__key__")
        self.frame = self.frame.with_columns(key).join(table, on="__key__", how="left", maintain_order="left")
        lost = self.frame.filter(pl.col("__key__").is_not_null() & pl.col("__found__").is_null()).height
        if lost:
            self.notes.append(f"{lost:,} rows name a {join.key} that {join.file} does not hold")
        empty = [pl.lit(None, dtype=pl.String).alias(c) for c in columns if c not in self.frame.columns]
        self.frame = self.frame.drop("__key__", "__found__").with_columns(empty)

    def _filter(self, rule: Filter) -> None:
        have = [c for c in rule.column if c in self.frame.columns]
        if not have:
            if rule.optional:
                return
            self.require(rule.column, "a filter")
        found = pl.coalesce([as_text(self.frame, c) for c in have]).str.to_lowercase()
        if rule.inside is not None:
            stays = found.is_in([v.lower() for v in rule.inside]).fill_null(rule.empty)
        else:
            stays = ~found.is_in([v.lower() for v in rule.outside or ()]).fill_null(False)
        self.leave_out(~stays, rule.why, filtered=True)

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


def as_text(frame: pl.DataFrame, column: str) -> pl.Expr:
    """A column as text, null where empty or blank; whole floats lose their ".0", times are ISO."""
    kind, found = frame.schema[column], pl.col(column)
    if kind.is_float():
        whole = (found == found.floor()) & (found.abs() < 2**53)
        found = (
            pl.when(found.is_nan())
            .then(None)
            .when(whole)
            .then(found.cast(pl.Int64, strict=False).cast(pl.String))
            .otherwise(found.cast(pl.String))
        )
    elif isinstance(kind, pl.Datetime):
        zone = "%:z" if kind.time_zone else ""
        found = found.dt.strftime(f"%Y-%m-%dT%H:%M:%S%.f{zone}")
    elif kind != pl.String:
        found = found.cast(pl.String)
    return pl.when(found.str.strip_chars() == "").then(None).otherwise(found)


def full_ids(column: pl.Series) -> pl.Series:
    """Salesforce ids of 15 characters in their 18-character form, which survives case-blind tools.

    Each block of five gives one suffix letter: bit i is set where character i is upper case.
    """
    short = column.str.len_chars() == 15
    if column.dtype != pl.String or not short.any():
        return column
    old = column.filter(short & column.str.contains(r"^[A-Za-z0-9]{15}$")).unique(maintain_order=True)
    return column.replace(old, pl.Series([i + _suffix(i) for i in old], dtype=pl.String))


def _suffix(id: str) -> str:
    letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZ012345"
    blocks = (id[0:5], id[5:10], id[10:15])
    return "".join(letters[sum(c.isupper() << i for i, c in enumerate(block))] for block in blocks)


def joint_key(frame: pl.DataFrame, key: str, shown: str) -> pl.Expr:
    """One column, or several named "a + b" joined into one; null where one of them is empty."""
    parts = [part.strip() for part in key.split("+")]
    for part in parts:
        if part not in frame.columns:
            near = nearest(part, frame.columns)
            hint = f"did you mean {near!r}? " if near else ""
            raise LogError(f"{shown} has no column {part!r} to join by", hint=f"{hint}name it in [aliases]")
    return pl.concat_str([as_text(frame, part) for part in parts], separator="|")


def named_as(frame: pl.DataFrame, mapping: SourceMapping) -> pl.DataFrame:
    """The columns as the mapping calls them too: its `aliases`, where the new name is still free."""
    new = [(old, n) for old, n in mapping.aliases.items() if old in frame.columns and n not in frame.columns]
    return frame.with_columns(pl.col(old).alias(n) for n, old in {n: old for old, n in reversed(new)}.items())


def older_copies(frame: pl.DataFrame, id: str, version: Sequence[str], *, first: bool = False) -> pl.Series:
    """True for each row whose id has a newer row; of equally new rows the last one stays.

    With `first` the oldest stays, and of equally old rows the first one.
    """
    ids = frame.select(as_text(frame, id).alias("id")).to_series()
    if ids.drop_nulls().n_unique() == ids.len() - ids.null_count():
        return pl.repeat(False, frame.height, eager=True, dtype=pl.Boolean)
    when = next((c for c in version if c in frame.columns), None)
    ages = _ages(frame[when]) if when else pl.repeat(0, frame.height, eager=True, dtype=pl.Int64)
    rows = pl.DataFrame({"id": ids, "age": ages, "at": pl.int_range(frame.height, eager=True)})
    rows = rows.drop_nulls("id").sort("age", "at", nulls_last=False)
    newest = rows.unique("id", keep="first" if first else "last")["at"]
    stays = ids.is_null().scatter(newest, True)
    return ~stays


def _ages(column: pl.Series) -> pl.Series:
    try:
        return read_times(column).utc.dt.epoch("us").fill_null(-(2**62))
    except LogError:  # day and month cannot be told apart: then the text itself decides
        return column.cast(pl.String).rank("dense").cast(pl.Int64).fill_null(-1)


def _second_file(join: Join, named: str | None, base: Path, beside: Path | None) -> pl.DataFrame | None:
    if named is not None:
        return read_inputs(find_inputs(named, base, join.file)).frame
    if beside is None:
        return None
    found = join_file(join, beside)
    return None if found is None else read_inputs(find_inputs(str(found), Path())).frame


def join_file(join: Join, beside: Path) -> Path | None:
    """The joined file in the folder of the source, whatever its ending."""
    stems = tuple(f.rpartition(".")[0].lower() + "." for f in (join.file, *join.also))
    near = sorted(p for p in beside.iterdir() if p.is_file() and p.name.lower().startswith(stems))
    return near[0] if near else None


def _flat(frame: pl.DataFrame, params: Sequence[str], notes: list[str]) -> pl.DataFrame:
    """Nested columns one level down as `column.key`; keyed lists give `param.<key>`; other lists go."""
    if params and "event_params" in frame.columns:
        from behavio.sources.web import flat_params

        frame = flat_params(frame, params)
    gone = []
    for name, kind in frame.schema.items():
        if isinstance(kind, pl.Struct):
            inner = [pl.col(name).struct.field(f.name).alias(f"{name}.{f.name}") for f in kind.fields]
            frame = frame.with_columns(inner).drop(name)
    gone = [n for n, t in frame.schema.items() if t.is_nested()]
    if gone:
        notes.append(f"nested columns left out: {', '.join(gone)}")
    return frame.drop(gone)


def _shorten(raw: pl.Expr) -> pl.Expr:
    long = raw.str.len_chars() > RAW_LENGTH
    tail = pl.format(" … (cut, {} characters)", raw.str.len_chars())
    return pl.when(long).then(raw.str.head(RAW_LENGTH) + tail).otherwise(raw)
