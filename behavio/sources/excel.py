"""Excel workbooks (.xlsx, .xlsm) by openpyxl: one sheet as a table, every cell as what it is.

Dates stay dates, text stays text ("007", "1e5"), a number formatted as 00000 is the text Excel shows. A
column of numbers is a column of numbers; a column of both is text, each cell as written. Excel itself
keeps 15 digits of a number: a longer id that was not stored as text is damaged already, which is noted.
"""

from __future__ import annotations

import io
import re
import warnings
import zipfile
from collections.abc import Iterator, Sequence
from datetime import date, datetime, time, timedelta
from typing import Any

import polars as pl

from behavio.errors import LogError
from behavio.sources.inputs import Input
from behavio.sources.settings import nearest
from behavio.sources.text import Lines, unique_names

ZEROS = re.compile(r"0{2,}")
LONGEST_NUMBER = 10**15
HINT = "open it in Excel and save it again, or save the sheet as CSV (UTF-8)"


def read_excel(data: bytes, item: Input, sheet: str | None) -> Lines:
    """Rows of one sheet: the named one, or the only one that holds a table.

    The first row with two filled cells is the header; blank rows are not counted. Raises LogError when the
    workbook is damaged, the sheet is not there, or several sheets hold a table and none is named.
    """
    from openpyxl import load_workbook

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # styles and extensions openpyxl does not know: no matter here
            book = load_workbook(io.BytesIO(data), read_only=True, data_only=True, keep_links=False)
            name, skipped = _sheet(book, item, sheet)
            rows = _rows(book[name])
            lines = _table(rows, skipped)
    except LogError:
        raise
    except (
        Exception
    ) as problem:  # openpyxl raises whatever its parts raise: KeyError, BadZipFile, ParseError…
        raise LogError(f"{item.shown} is a damaged Excel workbook", hint=HINT) from problem
    if lines.frame.height == 0 and not lines.wrong:
        raise LogError(f"{item.shown}: the sheet {name!r} has no row", hint="export it again with data")
    if sheet is None and len(book.sheetnames) > 1:
        lines.notes.insert(0, f"sheet {name!r} of {', '.join(book.sheetnames)}")
    return lines


def what_zip_holds(data: bytes) -> str:
    """Kind of a zip archive, as a user would call it; "xlsx" for a workbook this module reads."""
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            names = set(archive.namelist())
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError):
        return "a damaged Excel workbook or a zip archive"
    if "xl/workbook.xml" in names:
        return "xlsx"
    if "xl/workbook.bin" in names:
        return "a binary Excel workbook (.xlsb)"
    return "an OpenDocument file" if "content.xml" in names else "a zip archive"


def _sheet(book: Any, item: Input, named: str | None) -> tuple[str, int]:
    """Name of the sheet to read, and how many filled rows stand above its header."""
    sheets = {s.title: s for s in book.worksheets}
    if named is not None:
        lowered = {n.strip().lower(): n for n in reversed(sheets)}
        found = named if named in sheets else lowered.get(named.strip().lower())
        if found is None:
            near = nearest(named, list(sheets))
            hint = f"did you mean {near!r}? " if near else ""
            raise LogError(
                f"{item.shown} has no sheet {named!r}", hint=f"{hint}its sheets: {', '.join(sheets)}"
            )
        return found, _above(sheets[found]) or 0
    tables = {n: above for n, s in sheets.items() if (above := _above(s)) is not None}
    shown = {n: a for n, a in tables.items() if sheets[n].sheet_state == "visible"} or tables
    if len(shown) > 1:
        listed = ", ".join(shown)
        raise LogError(
            f"{item.shown} has {len(shown)} sheets that hold a table: {listed}",
            hint=f'name one: sheet = "{next(iter(shown))}" (--sheet on the command line)',
        )
    if not shown:
        raise LogError(
            f"{item.shown} has no sheet with a header and a row of at least two columns",
            hint=f"its sheets: {', '.join(sheets)}",
        )
    return next(iter(shown.items()))


def _above(sheet: Any) -> int | None:
    """Filled rows above the header (a title); None when no row follows a header of two cells."""
    header = None
    for place, cells in enumerate(_rows(sheet)):
        if header is not None:
            return header
        if sum(v is not None for v in cells) >= 2:
            header = place
        if place > 100:
            break
    return None


def _rows(sheet: Any) -> Iterator[list[Any]]:
    """Values of each row that is not blank, without the empty cells behind the last filled one."""
    sheet.reset_dimensions()  # the size a file states is often wrong
    for row in sheet.iter_rows():
        cells = [_value(c) for c in row]
        while cells and cells[-1] is None:
            cells.pop()
        if cells:
            yield cells


def _value(cell: Any) -> Any:
    value = cell.value
    if isinstance(value, str):
        return value if value.strip() else None
    if type(value) in (int, float) and ZEROS.fullmatch(cell.number_format):
        return str(int(value)).zfill(len(cell.number_format)) if value == int(value) else value
    return value


def _table(rows: Iterator[list[Any]], above: int) -> Lines:
    notes = [f"{above:,} rows above the header are no part of the table"] if above else []
    for _ in range(above):
        next(rows)
    header = [_as_text(v) for v in next(rows, [])]
    names, more = unique_names(header)
    width = len(names)
    kept: list[list[Any]] = []
    numbers: list[int] = []
    wrong = []
    for row, cells in enumerate(rows, start=1):
        if len(cells) > width:
            few = f"the row has {len(cells):,} cells, the header has {width:,}"
            raw = ",".join(_as_text(v) for v in cells)
            wrong.append((row, few, "give every column a name in the header", raw))
            continue
        kept.append(cells + [None] * (width - len(cells)))
        numbers.append(row)
    columns = list(zip(*kept, strict=True)) if kept else [()] * width
    series = [_column(n, c, notes) for n, c in zip(names, columns, strict=True)]
    return Lines(pl.DataFrame(series), pl.Series(numbers, dtype=pl.Int64), wrong, [*notes, *more])


def _column(name: str, cells: Sequence[Any], notes: list[str]) -> pl.Series:
    """One column: of one kind as that kind, of several as text."""
    kinds = {type(v) for v in cells if v is not None}
    if kinds <= {int, float}:
        if any(abs(v) >= LONGEST_NUMBER for v in cells if v is not None):
            notes.append(f"{name} holds numbers of more than 15 digits, which Excel rounds: ids must be text")
        return _numbers(name, cells)
    if kinds == {str}:
        return pl.Series(name, cells, dtype=pl.String)
    if kinds == {bool}:
        return pl.Series(name, cells, dtype=pl.Boolean)
    if kinds <= {datetime, date}:
        whole = [datetime(v.year, v.month, v.day) if type(v) is date else v for v in cells]
        return pl.Series(name, whole, dtype=pl.Datetime("us"))
    return pl.Series(name, [None if v is None else _as_text(v) for v in cells], dtype=pl.String)


def _numbers(name: str, cells: Sequence[Any]) -> pl.Series:
    known = [v for v in cells if v is not None]
    if all(abs(v) < 2**63 if type(v) is int else v == v // 1 and abs(v) < 2**53 for v in known):
        return pl.Series(name, [None if v is None else int(v) for v in cells], dtype=pl.Int64)
    if any(type(v) is int and abs(v) >= 2**53 for v in known):
        return pl.Series(name, [None if v is None else str(v) for v in cells], dtype=pl.String)
    return pl.Series(name, [None if v is None else float(v) for v in cells], dtype=pl.Float64)


def _as_text(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float) and value == value // 1 and abs(value) < 2**53:
        return str(int(value))
    if isinstance(value, datetime):
        return value.isoformat(sep=" ")
    if isinstance(value, date | time):
        return value.isoformat()
    return str(value.total_seconds()) if isinstance(value, timedelta) else str(value)
