"""CSV that comes back as it went: every cell quoted (a lone carriage return must not end a row), LF, UTF-8.

Spreadsheets run cells that start with = + - @ or a control character as formulas. Files made for people
(plan.csv, rejected.csv) put an apostrophe before such a cell. Files made for a loader keep ids exactly as
they are, because an id that changed no longer matches its record; their free text gets the apostrophe.
"""

from __future__ import annotations

import csv
import hashlib
from collections.abc import Collection, Iterable, Sequence
from pathlib import Path

from behavio.errors import DeliveryError, RunError
from behavio.files import whole_file

FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n")

Row = dict[str, str]


def harmless(text: str) -> str:
    """The text, with an apostrophe before it when a spreadsheet would run it."""
    return f"'{text}" if text.startswith(FORMULA) else text


def guarded(rows: Iterable[Row], exact: Collection[str] = ()) -> list[Row]:
    """Rows whose cells a spreadsheet cannot run, columns in `exact` untouched."""
    return [{c: v if c in exact else harmless(v) for c, v in row.items()} for row in rows]


def write_csv(path: Path, columns: Sequence[str], rows: Sequence[Row]) -> None:
    """Write a table whole or not at all."""
    with whole_file(path) as draft, draft.open("w", encoding="utf-8", newline="") as out:
        writer = csv.DictWriter(out, columns, lineterminator="\n", quoting=csv.QUOTE_ALL)
        writer.writeheader()
        writer.writerows(rows)


def read_csv(path: Path) -> tuple[list[str], list[Row]]:
    """Columns and rows of a CSV file; RunError when it cannot be read as one."""
    try:
        with path.open(encoding="utf-8", newline="") as lines:
            reader = csv.DictReader(lines, strict=True)
            rows = [dict(row) for row in reader]
            return list(reader.fieldnames or ()), rows
    except (OSError, UnicodeDecodeError, csv.Error) as problem:
        raise RunError(f"{path} cannot be read: {problem}") from None


def confirm(path: Path, columns: Sequence[str], rows: Sequence[Row]) -> int:
    """Read a file back and compare it with what was sent: the rows confirmed, or DeliveryError."""
    try:
        found_columns, found = read_csv(path)
    except RunError as problem:
        raise DeliveryError(f"{path.name} is not there as sent: {problem}", hint="deliver again") from None
    if found_columns != list(columns) or len(found) != len(rows):
        raise DeliveryError(
            f"{path.name} holds {len(found)} rows, {len(rows)} were sent", hint="deliver again"
        )
    for number, (there, sent) in enumerate(zip(found, rows, strict=True), start=2):
        if there != sent:
            raise DeliveryError(f"line {number} of {path.name} is not what was sent", hint="deliver again")
    return len(found)


def sha256_of(path: Path) -> str:
    """The sha256 of a file, in hex."""
    digest = hashlib.sha256()
    with path.open("rb") as data:
        while block := data.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()
