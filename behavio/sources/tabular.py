"""Any file or frame as one raw table: the rows as they are, with their file and record number.

Text formats (CSV, TSV, JSON lines; also .gz and .zst) are checked and read by `text`; Parquet and Arrow
keep their types. Record numbers are 1-based and count data records of one file: the header of a CSV, and
blank lines, are not counted.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import polars as pl

from behavio.errors import LogError
from behavio.log import REJECTED_SCHEMA, alike, as_polars
from behavio.sources.inputs import Input, decode, load, recognise
from behavio.sources.text import Lines, read_delimited, read_json_lines

ROW, FILE = "__row__", "__file__"
"""Columns beside the raw ones: record number, and place of the file in RawTable.files."""
RAW_LENGTH = 500


@dataclass(frozen=True, slots=True, eq=False)
class RawTable:
    """Rows as read, before anything is understood.

    frame     the source's columns as they are, and __row__, __file__
    files     how each file is named in messages and tables
    rejected  REJECTED_SCHEMA without `source`: records that could not be read at all
    typed     the format has real empty cells (Parquet, Arrow, frames): the text "nan" is then a text
    """

    frame: pl.DataFrame
    files: tuple[str, ...]
    rejected: pl.DataFrame
    notes: tuple[str, ...] = ()
    typed: bool = False

    @property
    def columns(self) -> list[str]:
        """Names of the source's own columns."""
        return [c for c in self.frame.columns if c not in (ROW, FILE)]

    @property
    def n_read(self) -> int:
        """Records found, readable or not."""
        return self.frame.height + self.rejected.height


def read_inputs(
    inputs: Sequence[Input],
    *,
    format: str | None = None,
    delimiter: str | None = None,
    encoding: str | None = None,
) -> RawTable:
    """Read all files of a source into one raw table, in the order given."""
    parts = [
        read_input(item, place, format=format, delimiter=delimiter, encoding=encoding)
        for place, item in enumerate(inputs)
    ]
    if len(parts) == 1:
        return parts[0]
    names = tuple(p.files[0] for p in parts)
    notes = tuple(f"{p.files[0]}: {n}" for p in parts for n in p.notes)
    frame = pl.concat(alike([p.frame for p in parts]), how="diagonal_relaxed")
    typed = all(p.typed for p in parts)
    return RawTable(frame, names, pl.concat([p.rejected for p in parts]), notes, typed)


def read_input(
    item: Input, place: int, *, format: str | None, delimiter: str | None, encoding: str | None
) -> RawTable:
    """Read one file. Raises one LogError for a file that cannot be read as a whole."""
    data = load(item)
    kind, notes = recognise(data, item, format)
    if kind == "xes":
        from behavio.sources.xes import read_xes

        frame, more = read_xes(data, item)
        lines = Lines(frame, pl.int_range(1, frame.height + 1, eager=True), notes=more)
    elif kind in ("parquet", "arrow"):
        frame = _columnar(data, item, kind)
        lines = Lines(frame, pl.int_range(1, frame.height + 1, eager=True))
    else:
        text, found, damaged = decode(data, item, encoding)
        notes += found
        if kind == "jsonl":
            lines = read_json_lines(text, item)
        else:
            lines = read_delimited(text, item, delimiter, tabs=kind == "tsv")
        if damaged:
            _set_aside_damaged(lines)
    if lines.frame.height == 0 and not lines.wrong:
        raise LogError(f"{item.shown} has no row", hint="export it again with data")
    return as_raw(
        lines, item.shown, place, (*notes, *lines.notes), typed=kind not in ("csv", "tsv", "jsonl")
    )


def read_frame(frame: Any, name: str) -> RawTable:
    """A pandas, Polars or Arrow table as a raw table."""
    table = as_polars(frame)
    if table.height == 0:
        raise LogError("the table has no row", hint="look at how it was filtered")
    return as_raw(Lines(table, pl.int_range(1, table.height + 1, eager=True)), name, 0, (), typed=True)


def as_raw(lines: Lines, shown: str, place: int, notes: tuple[str, ...], *, typed: bool) -> RawTable:
    """Lines as a raw table, with their record numbers, the file's place, and what could not be read."""
    frame, more = _plain_types(lines.frame)
    frame = frame.with_columns(lines.rows.alias(ROW), pl.lit(place, dtype=pl.Int32).alias(FILE))
    kinds = {n: t for n, t in REJECTED_SCHEMA.items() if n != "source"}
    wrong = [(shown, row, "", reason, hint, shorten(raw)) for row, reason, hint, raw in lines.wrong]
    return RawTable(frame, (shown,), pl.DataFrame(wrong, schema=kinds, orient="row"), (*notes, *more), typed)


def _columnar(data: bytes, item: Input, kind: str) -> pl.DataFrame:
    try:
        if kind == "parquet":
            return pl.read_parquet(io.BytesIO(data))
        if data[:6] == b"ARROW1":
            return pl.read_ipc(io.BytesIO(data))
        return pl.read_ipc_stream(io.BytesIO(data))
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
        elif kind == pl.Binary:
            change.append(pl.lit(_text_or_hex(frame[name])))
        elif kind == pl.Object:
            gone.append(name)
    notes = (f"columns of unreadable type left out: {', '.join(gone)}",) if gone else ()
    return frame.drop(gone).with_columns(change), notes


def _text_or_hex(column: pl.Series) -> pl.Series:
    """Bytes that are text everywhere as text, others (ids such as Matomo's idvisitor) in hex."""
    try:
        text = column.cast(pl.String)
    except pl.exceptions.PolarsError:
        return column.bin.encode("hex")
    return column.bin.encode("hex") if text.str.contains(r"[\x00-\x08\x0e-\x1f]").any() else text


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
