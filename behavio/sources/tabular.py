"""Any file or frame as one raw table: the rows as they are, with their file and record number.

Text formats (CSV, TSV, JSON lines; also .gz and .zst) are checked and read by `text`; Parquet, Arrow and
Excel keep their types. Record numbers are 1-based and count data records of one file: the header of a
CSV, and blank lines, are not counted.
"""

from __future__ import annotations

import io
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import polars as pl

from behavio.errors import LogError
from behavio.log import REJECTED_SCHEMA, as_polars
from behavio.sources.alike import alike
from behavio.sources.inputs import Input, decode, load, recognise
from behavio.sources.plain import read_plain
from behavio.sources.text import Lines, needed, read_delimited, read_json_lines

ROW, FILE = "__row__", "__file__"
"""Columns beside the raw ones: record number, and place of the file in RawTable.files."""
RAW_LENGTH = 500


@dataclass(frozen=True, slots=True, eq=False)
class RawTable:
    """Rows as read, before anything is understood.

    frame     the source's columns as they are, and __row__, __file__
    files     how each file is named in messages and tables
    rejected  REJECTED_SCHEMA without `source`: records that could not be read at all
    left_out  reason → records that are no row of their own (an OCEL event of no case)
    typed     the format has real empty cells (Parquet, Arrow, frames): the text "nan" is then a text
    """

    frame: pl.DataFrame
    files: tuple[str, ...]
    rejected: pl.DataFrame
    notes: tuple[str, ...] = ()
    typed: bool = False
    left_out: Mapping[str, int] = field(default_factory=dict)

    @property
    def columns(self) -> list[str]:
        """Names of the source's own columns."""
        return [c for c in self.frame.columns if c not in (ROW, FILE)]

    @property
    def n_read(self) -> int:
        """Records found, readable or not."""
        return self.frame.height + self.rejected.height + sum(self.left_out.values())


@dataclass(frozen=True, slots=True)
class How:
    """What the settings say about the files; None where the file itself tells."""

    format: str | None = None
    delimiter: str | None = None
    encoding: str | None = None
    sheet: str | None = None
    object_type: str | None = None
    columns: frozenset[str] | None = None


def read_inputs(
    inputs: Sequence[Input],
    *,
    format: str | None = None,
    delimiter: str | None = None,
    encoding: str | None = None,
    sheet: str | None = None,
    object_type: str | None = None,
    columns: Collection[str] | None = None,
) -> RawTable:
    """Read all files of a source into one raw table, in the order given.

    `columns` names all that is needed: columns the file has beyond them need not be read.
    """
    wanted = None if columns is None or "*" in columns else frozenset(columns)
    how = How(format, delimiter, encoding, sheet, object_type, wanted)
    parts = [read_input(item, place, how) for place, item in enumerate(inputs)]
    if len(parts) == 1:
        return parts[0]
    left_out: Counter[str] = Counter()
    for part in parts:
        left_out.update(part.left_out)
    return RawTable(
        frame=pl.concat(alike([p.frame for p in parts]), how="diagonal_relaxed"),
        files=tuple(p.files[0] for p in parts),
        rejected=pl.concat([p.rejected for p in parts]),
        notes=tuple(f"{p.files[0]}: {n}" for p in parts for n in p.notes),
        typed=all(p.typed for p in parts),
        left_out=left_out,
    )


def read_input(item: Input, place: int, how: How) -> RawTable:
    """Read one file. Raises one LogError for a file that cannot be read as a whole."""
    if how.encoding is None and (sound := read_plain(item, how.format, how.delimiter, how.columns)):
        return as_raw(sound[0], item.shown, place, (*item.notes, *sound[1], *sound[0].notes), typed=False)
    data = load(item)
    kind, notes = recognise(data, item, how.format)
    lines, more = _lines_of(data, item, kind, how)
    if lines.frame.height == 0 and not lines.wrong and not lines.left_out:
        raise LogError(f"{item.shown} has no row", hint="export it again with data")
    typed = kind in ("parquet", "arrow", "xes", "ocel")
    return as_raw(lines, item.shown, place, (*item.notes, *notes, *more, *lines.notes), typed=typed)


def _lines_of(data: bytes, item: Input, kind: str, how: How) -> tuple[Lines, list[str]]:
    """The rows of unpacked bytes in a known format, and notes on their encoding."""
    if kind == "xes":
        from behavio.sources.xes import read_xes

        frame, more = read_xes(data, item)
        return Lines(frame, _numbered(frame)), more
    if kind == "ocel":
        from behavio.sources.ocel import read_ocel

        return read_ocel(data, item, how.object_type), []
    if kind == "xlsx":
        from behavio.sources.excel import read_excel

        return read_excel(data, item, how.sheet), []
    if kind in ("parquet", "arrow"):
        frame = _columnar(data, item, kind, how.columns)
        return Lines(frame, _numbered(frame)), []
    text, found, damaged = decode(data, item, how.encoding)
    if kind == "jsonl":
        lines = read_json_lines(text, item)
    else:
        lines = read_delimited(text, item, how.delimiter, tabs=kind == "tsv", columns=how.columns)
    if damaged:
        _set_aside_damaged(lines)
    return lines, found


def _numbered(frame: pl.DataFrame) -> pl.Series:
    return pl.int_range(1, frame.height + 1, eager=True)


def read_frame(frame: Any, name: str) -> RawTable:
    """A pandas, Polars or Arrow table as a raw table."""
    table = as_polars(frame)
    if table.height == 0:
        raise LogError("the table has no row", hint="look at how it was filtered")
    return as_raw(Lines(table, _numbered(table)), name, 0, (), typed=True)


def as_raw(lines: Lines, shown: str, place: int, notes: tuple[str, ...], *, typed: bool) -> RawTable:
    """Lines as a raw table, with their record numbers, the file's place, and what could not be read."""
    frame, more = _plain_types(lines.frame)
    frame = frame.with_columns(lines.rows.alias(ROW), pl.lit(place, dtype=pl.Int32).alias(FILE))
    kinds = {n: t for n, t in REJECTED_SCHEMA.items() if n != "source"}
    wrong = [(shown, row, "", reason, hint, shorten(raw)) for row, reason, hint, raw in lines.wrong]
    rejected = pl.DataFrame(wrong, schema=kinds, orient="row")
    return RawTable(frame, (shown,), rejected, (*notes, *more), typed, lines.left_out)


def _columnar(data: bytes, item: Input, kind: str, columns: frozenset[str] | None) -> pl.DataFrame:
    source = io.BytesIO(data)
    try:
        if kind == "parquet":
            names = list(pl.read_parquet_schema(source))
            source.seek(0)
            return pl.read_parquet(source, columns=needed(names, columns))
        if data[:6] == b"ARROW1":
            names = list(pl.read_ipc_schema(source))
            source.seek(0)
            return pl.read_ipc(source, columns=needed(names, columns))
        return pl.read_ipc_stream(source)
    except (pl.exceptions.PolarsError, pl.exceptions.PanicException, OSError) as problem:
        panic = isinstance(problem, pl.exceptions.PanicException)
        first = "" if panic else f": {(str(problem).splitlines() or [''])[0]}"
        raise LogError(f"{item.shown} is a damaged {kind} file{first}", hint="fetch it again") from None


def _plain_types(frame: pl.DataFrame) -> tuple[pl.DataFrame, tuple[str, ...]]:
    """Types every later step understands: categories as text, decimals as numbers, objects left out."""
    change, gone = [], []
    for name, kind in frame.schema.items():
        if isinstance(kind, pl.Categorical | pl.Enum) or kind == pl.Null:
            change.append(pl.col(name).cast(pl.String))
        elif isinstance(kind, pl.Decimal):
            change.append(pl.col(name).cast(pl.Float64))
        elif kind == pl.Binary and (ids := _byte_ids(frame[name])) is not None:
            change.append(pl.lit(ids))
        elif kind in (pl.Object, pl.Binary):
            gone.append(name)
    notes = (f"columns of unreadable type left out: {', '.join(gone)}",) if gone else ()
    return frame.drop(gone).with_columns(change), notes


def _byte_ids(column: pl.Series) -> pl.Series | None:
    """Bytes that are ids, 8 or 16 in every row (Matomo's idvisitor, UUIDs), in hex; None for others."""
    sizes = column.bin.size().drop_nulls().unique().to_list()
    return column.bin.encode("hex") if sizes in ([8], [16]) else None


def _set_aside_damaged(lines: Lines) -> None:
    """Rows that hold a replacement character were damaged: they move to the wrong ones."""
    texts = [c for c, t in lines.frame.schema.items() if t == pl.String]
    bad = lines.frame.select(
        pl.any_horizontal(pl.col(texts).str.contains("\ufffd", literal=True))
    ).to_series()
    bad = bad.fill_null(False)
    for row, cells in zip(lines.rows.filter(bad), lines.frame.filter(bad).iter_rows(), strict=True):
        raw = ",".join("" if v is None else str(v) for v in cells)
        lines.wrong.append((row, "bytes that are no UTF-8 text", "export the file as UTF-8", raw))
    lines.frame, lines.rows = lines.frame.filter(~bad), lines.rows.filter(~bad)


def shorten(raw: str) -> str:
    """At most 500 characters of a raw row; says how long it was when cut."""
    if len(raw) <= RAW_LENGTH:
        return raw
    return f"{raw[:RAW_LENGTH]} … (cut, {len(raw)} characters)"
