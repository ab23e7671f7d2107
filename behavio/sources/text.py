"""CSV, TSV and JSON lines as text columns: fast where the file is sound, row by row where it is not.

Every cell stays the text it is ("007" stays "007"). A compiled reader checks each row and cuts the wanted
columns out of the bytes; where a quote was never closed, the slow reader takes over, which rejects just
the rows that are wrong and says why.
"""

from __future__ import annotations

import io
import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from behavio.errors import JobError, LogError
from behavio.sources.alike import EXACT
from behavio.sources.guess import plain
from behavio.sources.inputs import WAIT, Input

if TYPE_CHECKING:
    import pyarrow as pa

JSON_BLOCK = 16 << 20
"""Bytes Arrow parses at a time; a longer line is read the slow way."""
SMALL = 200_000
"""Bytes up to which the slow reader needs less time than loading the compiled one."""
MOST_BAD = 10_000
WINDOW = 30
"""Buffers of string views begin every 2^30 bytes: Arrow counts the place in a buffer with 31 bits."""
DELIMITERS = {",": "comma", ";": "semicolon", "\t": "tab", "|": "pipe"}
QUOTED = re.compile(r'"(?:[^"]|"")*"')


@dataclass(slots=True)
class Lines:
    """What was read of one text file.

    frame   the sound rows
    rows    1-based data record number of each (the header is not counted)
    wrong   (row, reason, hint, raw) of each record that could not be read
    left_out  reason → records that are no row of their own
    """

    frame: pl.DataFrame
    rows: pl.Series
    wrong: list[tuple[int, str, str, str]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    left_out: dict[str, int] = field(default_factory=dict)


def read_delimited(
    data: bytes,
    item: Input,
    delimiter: str | None,
    *,
    tabs: bool,
    columns: frozenset[str] | None = None,
) -> Lines:
    """Rows of UTF-8 delimited text as String columns.

    `delimiter` names it, `tabs` says that the ending promises tabs; otherwise it is recognised. `columns`
    are the only ones cut out, although every row is checked as a whole.
    """
    if b"\n" not in data[:1_000_000] and b"\r" in data[:1_000_000]:
        data = data.replace(b"\r", b"\n")
    told = re.match(rb"sep=(.)\r?\n", data)
    if told:
        data = data[told.end() :]
        delimiter = delimiter or told[1].decode()
    if delimiter is not None and len(delimiter) != 1:
        raise JobError(f"delimiter {delimiter!r} is not one character", hint='"," ";" "|" or "\\t"')
    breaks_off = data[-1:] not in (b"\n", b"\r")
    data = data.lstrip(b"\r\n")
    if data[-1:] != b"\n":
        data += b"\n"
    found = delimiter_of(data, delimiter, tabs=tabs)
    lines = cut_columns(data, found, columns) if len(data) > SMALL else None
    if lines is None:
        lines = _slow(data.decode("utf-8"), found, columns)
    if breaks_off:
        _cut_short(lines)
    if lines.frame.height == 0 and not lines.wrong:
        raise LogError(f"{item.shown} has a header but no row", hint="export it again with data")
    lines.notes += told_delimiter(found, delimiter, tabs=tabs)
    return lines


def delimiter_of(data: bytes, named: str | None, *, tabs: bool) -> str:
    """The delimiter: the one that is named, else the one the first rows show."""
    return named or ("\t" if tabs and b"\t" in data.partition(b"\n")[0] else _sniff(data))


def told_delimiter(found: str, named: str | None, *, tabs: bool) -> list[str]:
    """A note on a delimiter that nobody named and that is not the usual one."""
    odd = named is None and found != ("\t" if tabs else ",")
    return [f"delimiter {DELIMITERS.get(found, found)}"] if odd else []


def _cut_short(lines: Lines) -> None:
    """Say so where the last row is wrong and the file ends without a line break: it is not whole."""
    if lines.wrong and lines.wrong[-1][0] > (lines.rows.max() or 0):  # type: ignore[operator]
        row, _, _, raw = lines.wrong[-1]
        lines.wrong[-1] = (row, "the file ends in the middle of this row", WAIT, raw)


def _sniff(data: bytes) -> str:
    """The delimiter that cuts the first rows into equally many columns, and into most of them."""
    head = data[:65_536].decode("utf-8", "ignore")
    if len(data) > 65_536:
        head = head.rpartition("\n")[0]
    best, best_score = ",", (0.0, 0)
    for delimiter in DELIMITERS:
        widths = []
        for _, fields, _ in _records(head, delimiter):
            widths.append(len(fields) if fields is not None else 0)
            if len(widths) == 50:
                break
        width = widths[0] if widths else 0
        score = (round(sum(w == width for w in widths) / max(len(widths), 1), 2), width)
        if width > 1 and score > best_score:
            best, best_score = delimiter, score
    return best


def cut_columns(data: bytes, delimiter: str, columns: frozenset[str] | None) -> Lines | None:
    """The wanted columns by the compiled reader, or None where quotes are not in order."""
    from behavio.kernels.cells import read_cells

    names, notes = unique_names(_header(data, delimiter))
    sign = delimiter.encode()
    if len(names) < 2 or len(sign) > 1:
        return None
    wanted = needed(names, columns)
    slots = np.array([wanted.index(n) if n in wanted else -1 for n in names], dtype=np.int64)
    capacity = data.count(b"\n")
    views = np.empty((len(wanted), capacity, 2), dtype=np.uint64)
    filled = np.empty((len(wanted), capacity), dtype=np.bool_)
    rows, bad = np.empty(capacity, dtype=np.int64), np.empty((MOST_BAD, 3), dtype=np.int64)
    extra = np.empty(len(data) if b'""' in data else 0, dtype=np.uint8)
    windows = _windows(data)
    array = np.frombuffer(data, dtype=np.uint8)
    kept, n_bad = read_cells(array, sign[0], slots, views, filled, rows, bad, extra, len(windows), WINDOW)
    if kept < 0:
        return None
    buffers = windows + _windows(extra)
    frame = pl.DataFrame(
        [_as_series(n, views[s, :kept], filled[s, :kept], buffers) for s, n in enumerate(wanted)]
    )
    numbers = pl.Series(rows[:kept]) if n_bad else pl.int_range(1, kept + 1, eager=True)
    lines = Lines(frame, numbers, notes=notes)
    for row, start, end in bad[:n_bad].tolist():
        raw, fields, _ = next(_records(data[start : end + 1].decode("utf-8"), delimiter))
        assert fields is not None
        if len(fields) > len(names) and not any(fields[len(names) :]):
            return None  # nothing but empty cells too many: such a row is kept
        lines.wrong.append(_wrong_width(row, raw, len(fields), len(names)))
    return lines


def _windows(data: bytes | np.ndarray) -> list[pa.Buffer]:
    """The bytes as overlapping buffers, so that 31 bits reach each cell from the start of one."""
    import pyarrow as pa

    whole = pa.py_buffer(data)
    return [whole[at : at + (1 << 31) - 1] for at in range(0, whole.size, 1 << WINDOW)]


def _as_series(name: str, views: np.ndarray, filled: np.ndarray, buffers: list[pa.Buffer]) -> pl.Series:
    import pyarrow as pa

    valid = None if filled.all() else pa.py_buffer(np.packbits(filled, bitorder="little"))
    cells = pa.py_buffer(np.ascontiguousarray(views))
    array = pa.Array.from_buffers(pa.string_view(), len(views), [valid, cells, *buffers])
    return pl.Series(name, array)


def _header(data: bytes, delimiter: str) -> list[str]:
    for _, fields, _ in _records(data[:1_000_000].decode("utf-8", "ignore"), delimiter):
        return fields or []
    return []


def _records(text: str, delimiter: str, width: int = 0) -> Iterator[tuple[str, list[str] | None, str]]:
    """(raw, fields, reason) of each record; fields is None when its quotes do not close."""
    at, end = 0, len(text)
    while at < end:
        stop = text.find("\n", at)
        stop = end if stop < 0 else stop
        line = text[at:stop].removesuffix("\r")
        if '"' not in line:
            if line:
                yield line, line.split(delimiter), ""
            at = stop + 1
            continue
        fields, after = _quoted_record(text, at, delimiter, width)
        if fields is None:
            yield line, None, "a quote opens in this row and does not close before the next delimiter"
            at = stop + 1
        else:
            yield text[at:after].rstrip("\r\n"), fields, ""
            at = after


def _quoted_record(text: str, at: int, delimiter: str, width: int) -> tuple[list[str] | None, int]:
    """Fields of the record that starts at `at` and where the next one starts; None for open quotes."""
    fields: list[str] = []
    end = len(text)
    while True:
        if text.startswith('"', at):
            found = QUOTED.match(text, at)
            if found is None or _holds_a_row(found[0], delimiter, width):
                return None, at
            fields.append(found[0][1:-1].replace('""', '"'))
            at = found.end()
        else:
            line = text.find("\n", at)
            cut = text.find(delimiter, at, line if line >= 0 else end)
            stop = cut if cut >= 0 else (line if line >= 0 else end)
            fields.append(text[at:stop] if cut >= 0 else text[at:stop].removesuffix("\r"))
            at = stop
        if text.startswith(delimiter, at):
            at += 1
            continue
        if at < end and text[at] == "\r":
            at += 1
        if at >= end:
            return fields, end
        if text[at] != "\n":
            return None, at
        return fields, at + 1


def _holds_a_row(cell: str, delimiter: str, width: int) -> bool:
    inner = cell.split("\n")[1:-1] if width > 1 and "\n" in cell else []
    return any(line.count(delimiter) >= width - 1 for line in inner)


def _wrong_width(row: int, raw: str, found: int, width: int) -> tuple[int, str, str, str]:
    few = f"the row has {found:,} cells, the header has {width:,}"
    return row, few, "quote cells that hold the delimiter or a line break", raw


def _slow(text: str, delimiter: str, columns: frozenset[str] | None = None) -> Lines:
    _, header, _ = next(_records(text, delimiter), ("", None, ""))
    if header is None:
        raise LogError("the header cannot be read: its quotes do not close", hint="mend the first line")
    names, notes = unique_names(header)
    width = len(names)
    kept: list[list[str]] = []
    rows: list[int] = []
    wrong: list[tuple[int, str, str, str]] = []
    records = _records(text, delimiter, width)
    next(records)
    for row, (raw, fields, reason) in enumerate(records, start=1):
        if fields is not None and len(fields) > width and not any(fields[width:]):
            fields = fields[:width]
        if fields is None:
            wrong.append((row, reason, "close the quote, or double quotes inside a cell", raw))
        elif len(fields) != width:
            wrong.append(_wrong_width(row, raw, len(fields), width))
        else:
            kept.append(fields)
            rows.append(row)
    cells = list(zip(*kept, strict=True)) if kept else [()] * width
    table = {n: pl.Series(n, c, dtype=pl.String) for n, c in zip(names, cells, strict=True)}
    frame = pl.DataFrame({n: table[n] for n in needed(names, columns)})
    return Lines(frame, pl.Series(rows, dtype=pl.Int64), wrong, notes)


def needed(names: Sequence[str], columns: frozenset[str] | None) -> list[str]:
    """The columns that are asked for, whatever their case and separators; all without a wish.

    "geo.country" asks for the column geo.
    """
    if columns is None:
        return list(names)
    outer = {c[:at] for c in columns for at, sign in enumerate(c) if sign == "."}
    asked = {plain(c) for c in (*columns, *outer)}
    found = [n for n in names if plain(n) in asked]
    return found or list(names[:1])  # rows are counted even where no column is needed


def unique_names(header: list[str]) -> tuple[list[str], list[str]]:
    """Column names without doubles or blanks, and a note where that changed them."""
    names: list[str] = []
    for place, name in enumerate(header, start=1):
        name = name.strip() or f"column_{place}"
        n = sum(known == name or known.startswith(f"{name} (") for known in names)
        names.append(f"{name} ({n + 1})" if name in names else name)
    twice = [n for n in names if n not in header and not n.startswith("column_")]
    return names, [f"columns with the same name were numbered: {', '.join(twice)}"] if twice else []


def read_json_lines(data: bytes, item: Input) -> Lines:
    """Rows of JSON lines, or of one JSON array of objects; a line that is no object is a wrong row."""
    if data.lstrip()[:1] == b"[":
        return _json_array(data, item)
    sound = data.rstrip() + b"\n"
    n_lines = sum(1 for line in io.BytesIO(sound) if line.strip())
    frame = _fast_json(sound)
    if frame is not None and frame.height == n_lines:
        return Lines(frame, pl.int_range(1, n_lines + 1, eager=True))
    kept, rows = [], []
    wrong: list[tuple[int, str, str, str]] = []
    lines = (line for line in sound.decode("utf-8").split("\n") if line.strip())
    for row, line in enumerate(lines, start=1):
        try:
            value = json.loads(line, parse_constant=lambda _: None)
        except (json.JSONDecodeError, RecursionError) as problem:
            place = f" at character {problem.colno}" if isinstance(problem, json.JSONDecodeError) else ""
            wrong.append((row, "the line is no JSON", f"it breaks off{place}", line))
            continue
        if isinstance(value, dict):
            kept.append(value)
            rows.append(row)
        else:
            wrong.append((row, "the line is no JSON object", "write one {…} per line", line))
    found = Lines(_table_of(kept), pl.Series(rows, dtype=pl.Int64), wrong)
    if data[-1:] not in (b"\n", b"\r"):
        _cut_short(found)
    return found


def _fast_json(data: bytes) -> pl.DataFrame | None:
    """Sound lines of one shape, read in blocks by Arrow; None where it takes a closer look.

    Arrow turns texts that look like times into times; those columns are read again as the texts they are.
    """
    from pyarrow import ArrowException, schema, string, types
    from pyarrow.json import ParseOptions, ReadOptions, read_json

    def parse(texts: list[str]) -> pl.DataFrame | None:
        wanted = ParseOptions(explicit_schema=schema([(n, string()) for n in texts]) if texts else None)
        table = read_json(io.BytesIO(data), ReadOptions(block_size=JSON_BLOCK), wanted)
        times = [f.name for f in table.schema if types.is_temporal(f.type)]
        if times and not texts:
            return parse(times)
        if "timestamp" in str(table.schema.types):
            return None
        frame = pl.DataFrame(table)
        floats = frame.select(pl.col(pl.Float64).abs().max() >= EXACT)  # perhaps whole numbers, rounded
        return None if any(floats.row(0) if floats.width else ()) else frame

    try:
        return parse([])
    except (ArrowException, pl.exceptions.PolarsError, ValueError):
        return None


def _json_array(data: bytes, item: Input) -> Lines:
    try:
        values = json.loads(data, parse_constant=lambda _: None)
    except (json.JSONDecodeError, RecursionError) as problem:
        raise LogError(
            f"{item.shown} is no valid JSON: {problem}", hint="write one object per line"
        ) from None
    good = [(i, v) for i, v in enumerate(values, start=1) if isinstance(v, dict)]
    wrong = [
        (i, "the element is no JSON object", "write a list of {…}", json.dumps(v))
        for i, v in enumerate(values, start=1)
        if not isinstance(v, dict)
    ]
    return Lines(_table_of([v for _, v in good]), pl.Series([i for i, _ in good], dtype=pl.Int64), wrong)


def _table_of(objects: list[dict[str, Any]]) -> pl.DataFrame:
    """A table of objects; a key whose values differ in kind becomes text."""
    names = dict.fromkeys(name for o in objects for name in o)
    columns = {}
    for name in names:
        values = [o.get(name) for o in objects]
        kinds = {type(v) for v in values if v is not None}
        rounded = any(abs(v) >= (2**63 if kinds == {int} else EXACT) for v in values if type(v) is int)
        if rounded or (len(kinds) > 1 and kinds != {int, float}):
            values = [v if v is None or isinstance(v, str) else json.dumps(v) for v in values]
        try:
            columns[name] = pl.Series(name, values, strict=False)
        except (TypeError, OverflowError, pl.exceptions.PolarsError):
            texts = [None if v is None else json.dumps(v) for v in values]
            columns[name] = pl.Series(name, texts, dtype=pl.String)
    return pl.DataFrame(columns)
