"""The tables behind the page: what a figure shows is what its CSV holds, to the digit.

A number on the page carries `data-cell="table:row:column"`, so a reader, or a test, finds it again.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from markupsafe import Markup

from behavio.report.numbers import Kind, between, raw, write

FORMULA = ("=", "+", "-", "@", "\t", "\r")


@dataclass(frozen=True, slots=True)
class Column:
    """One column: its name in the CSV, its title on the page, what kind of number it holds.

    bar draws the value as a bar behind the text, against the largest of the column.
    """

    name: str
    title: str
    kind: Kind = "text"
    bar: bool = False


@dataclass(frozen=True, slots=True)
class Table:
    """A named table of few rows; `rows` hold what the CSV holds, one mapping a row.

    shown   rows printed on the page, the rest is in the CSV alone
    """

    name: str
    title: str
    columns: tuple[Column, ...]
    rows: tuple[dict[str, Any], ...]
    command: str = ""
    shown: int = 400

    @classmethod
    def of(
        cls,
        name: str,
        title: str,
        columns: Sequence[Column],
        rows: Iterable[Mapping[str, Any]],
        command: str = "",
    ) -> Table:
        """Build a table, keeping only its columns and at most ten digits."""
        kept = tuple({c.name: raw(row.get(c.name)) for c in columns} for row in rows)
        return cls(name, title, tuple(columns), kept, command)

    def kind(self, column: str) -> Kind:
        """Kind of one column."""
        return next(c.kind for c in self.columns if c.name == column)

    def text(self, row: int, column: str) -> str:
        """The cell as the page writes it."""
        return write(self.rows[row][column], self.kind(column))

    def cell(self, row: int, column: str) -> str:
        """Where the number is to be found again."""
        return f"{self.name}:{row}:{column}"

    def show(self, row: int, column: str) -> Markup:
        """The cell in running text, with its value and where it stands."""
        return Markup('<data value="{}" data-cell="{}">{}</data>').format(
            self.rows[row][column], self.cell(row, column), self.text(row, column)
        )

    def between(self, row: int, low: str, high: str) -> Markup:
        """Two cells as an interval in brackets; empty when there is none."""
        values = self.rows[row]
        kind = self.kind(low)
        return interval(values[low], values[high], kind, self.cell(row, low), self.cell(row, high))

    def share_of_largest(self, row: int, column: str) -> float:
        """The cell against the largest of its column, 0–1, for its bar."""
        values = [r[column] or 0 for r in self.rows]
        return (self.rows[row][column] or 0) / (max(values) or 1)

    def csv(self) -> str:
        """The table as CSV; a text that a spreadsheet would run as a formula is led by an apostrophe."""
        out = io.StringIO()
        writer = csv.writer(out, lineterminator="\n")
        writer.writerow([c.name for c in self.columns])
        for row in self.rows:
            writer.writerow([_safe(row[c.name]) for c in self.columns])
        return out.getvalue()


def _safe(value: Any) -> Any:
    if isinstance(value, str) and value.startswith(FORMULA):
        return "'" + value
    return "" if value is None else value


@dataclass(frozen=True, slots=True)
class Fact:
    """One number of a sentence, and where it stands in the table of facts."""

    value: Any
    low: Any
    high: Any
    kind: Kind
    place: int

    @property
    def shown(self) -> Markup:
        """The number as the page writes it."""
        return self.as_text(write(self.value, self.kind))

    def as_text(self, text: str) -> Markup:
        """The number in other words, such as "Four"."""
        return Markup('<data value="{}" data-cell="facts:{}:value">{}</data>').format(
            self.value, self.place, text
        )

    @property
    def between(self) -> Markup:
        """Its interval in brackets; empty when there is none."""
        return interval(self.low, self.high, self.kind, f"facts:{self.place}:low", f"facts:{self.place}:high")


def interval(low: Any, high: Any, kind: Kind, low_cell: str, high_cell: str) -> Markup:
    """An interval in brackets, both ends with the place they stand at."""
    inner = between(low, high, kind)
    if not inner:
        return Markup("")
    text = '<span class="ci">(<data value="{} {}" data-cell="{}" data-cell-high="{}">{}</data>)</span>'
    return Markup(text).format(low, high, low_cell, high_cell, inner)


@dataclass(slots=True)
class Facts:
    """The numbers of the sentences, kept as one table: every one named, with its base and interval."""

    rows: list[dict[str, Any]] = field(default_factory=list)
    places: dict[str, int] = field(default_factory=dict)

    def add(
        self,
        name: str,
        value: Any,
        kind: Kind,
        what: str,
        *,
        n: int | None = None,
        low: float | None = None,
        high: float | None = None,
    ) -> Fact:
        """Note a number under a name of its own; noting the same one again gives the same fact."""
        numbers = {"value": raw(value), "low": raw(low), "high": raw(high), "n": n}
        row = {"fact": name, **numbers, "kind": kind, "what": what}
        while name in self.places and self.rows[self.places[name]]["value"] != row["value"]:
            name += "_"  # another number under the same words: both stay
        if name not in self.places:
            self.places[name] = len(self.rows)
            self.rows.append({**row, "fact": name})
        return self.get(name)

    def get(self, name: str) -> Fact:
        """A fact noted before."""
        row = self.rows[self.places[name]]
        return Fact(row["value"], row["low"], row["high"], row["kind"], self.places[name])

    def table(self) -> Table:
        """All facts as a table."""
        columns = (
            Column("fact", "Number"),
            Column("value", "Value"),
            Column("low", "From"),
            Column("high", "To"),
            Column("n", "Base", "count"),
            Column("kind", "Unit"),
            Column("what", "What it counts"),
        )
        return Table(
            "facts", "Every number of the sentences", columns, tuple(self.rows), "behavio report RUN"
        )
