"""How the command line shows things: tables on stdout, talk and progress on stderr."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import date, datetime
from itertools import groupby
from typing import TYPE_CHECKING, Any

import click

from behavio.words import duration

if TYPE_CHECKING:
    import polars as pl
    from rich.console import Console
    from rich.progress import Progress, TaskID

SHARES = ("share", "cumulative_share", "support", "expected", "of the step before")
"""Columns that are shares of something."""
CHANCES = ("p_value", "q_value", "q", "may be chance")
WORD = 22
"""No column is so narrow that it breaks words up to this long."""
Options = Callable[[Callable[..., Any]], Callable[..., Any]]


def output_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """--json and --csv."""
    command = click.option("--csv", "form", flag_value="csv", help="Print CSV.")(command)
    return click.option("--json", "form", flag_value="json", help="Print JSON; keys are the column names.")(
        command
    )


def column_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """The columns of a log file; guessed from the usual names when not given."""
    options = [
        click.option("--case-id", help="Column of the case: customer, HCP, patient …"),
        click.option("--activity", help="Column of the activity."),
        click.option("--timestamp", help="Column of the time."),
        click.option("--order", help="Column that orders a log without a clock."),
        click.option("--timezone", help="Zone of times that name none (default UTC)."),
        click.option("--timestamp-format", help="For example '%d.%m.%Y %H:%M'."),
        click.option("--delimiter", help="Column separator of a text file."),
        click.option("--encoding", help="Encoding of a text file."),
        click.option("--sheet", help="Sheet of an Excel workbook."),
        click.option("--object-type", help="Object type of an OCEL log that is the case."),
        click.option("--query", help="SELECT for a database named by URL (postgresql://…, sqlite:///…)."),
        click.option("--password-env", help="Environment variable that holds the database's password."),
    ]
    for option in reversed(options):
        command = option(command)
    return command


def given(options: dict[str, Any]) -> dict[str, Any]:
    """Only the options that were given."""
    return {k: v for k, v in options.items() if v is not None and v != ()}


def console(stderr: bool = True) -> Console:
    """A rich console on stderr (talk) or stdout (tables)."""
    from rich.console import Console

    class Out(Console):
        def on_broken_pipe(self) -> None:
            raise BrokenPipeError  # not rich's own exit code 1: a reader may stop reading

    return Out(stderr=stderr, highlight=False, soft_wrap=False)


def table(frame: pl.DataFrame, form: str | None, *, title: str = "") -> None:
    """Print a frame as a table for people, or as JSON or CSV for programs."""
    if form == "json":
        rows = [{k: _json(v) for k, v in row.items()} for row in frame.iter_rows(named=True)]
        click.echo(json.dumps(rows, indent=2, ensure_ascii=False, allow_nan=False))
    elif form == "csv":
        click.echo(flat(frame).write_csv(), nl=False)
    else:
        _people(frame, title)


def value(found: Any, form: str | None, draw: Callable[[Any], None]) -> None:
    """Print nested facts: JSON for programs, `draw` for people."""
    if form == "json":
        click.echo(json.dumps(found, indent=2, ensure_ascii=False, default=str))
    else:
        draw(found)


def _people(frame: pl.DataFrame, title: str, limit: int = 60) -> None:
    from rich.table import Table
    from rich.text import Text

    out = console(stderr=False)
    if not out.is_terminal and "COLUMNS" not in os.environ:
        out.width = 200  # piped into a pager or a file: do not cut at 80
    shown = Table(title=title or None, title_justify="left", box=None, pad_edge=False, header_style="bold")
    columns = []
    for column in frame.head(limit):
        title = column.name.removesuffix("_s") if column.dtype.is_numeric() else column.name
        texts = _texts(column)
        words = max((len(word) for text in texts for word in text.split(" ")), default=0)
        side: Any = "right" if column.dtype.is_numeric() else "left"
        shown.add_column(title, justify=side, overflow="fold", min_width=min(words, WORD))
        columns.append(texts)
    for row in zip(*columns, strict=True):
        shown.add_row(*(Text(text) for text in row))
    out.print(shown)
    if frame.height > limit:
        console().print(f"… {frame.height - limit:,} more rows: --json or --csv prints all", style="dim")
    elif frame.height == 0:
        console().print("no rows", style="dim")


def _texts(column: pl.Series) -> list[str]:
    """A column as a person reads it: times in words, shares in per cent, q only as far as it matters."""
    kind, name = column.dtype, column.name
    if kind.is_float() and name in SHARES:
        return ["–" if v is None or v != v else f"{v * 100:.1f} %" for v in column]
    if kind.is_float() and name in CHANCES:
        return ["–" if v is None or v != v else "<0.001" if v < 0.001 else f"{v:.3f}" for v in column]
    return [cell(v, name.endswith("_s") and kind.is_numeric()) for v in column]


def cell(value: Any, seconds: bool = False) -> str:
    """One value as a person reads it; `seconds` become "2.1 h"."""
    if value is None or (isinstance(value, float) and value != value):
        return "–"
    if seconds:
        return duration(value)
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, float):
        return (
            f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}" if abs(value) < 0.1 else f"{value:,.2f}"
        )
    if isinstance(value, datetime):
        return value.strftime("%Y-%m-%d %H:%M")
    if isinstance(value, list) or hasattr(value, "to_list"):
        return ", ".join(str(v) for v in value)
    return _shortened(str(value))


def _shortened(text: str, first: int = 6, last: int = 3) -> str:
    """A long chain of activities: repeats once, with how often, and of what is left only the ends.

    "a → b → b → c" is "a → b × 2 → c", or "a → b → … 40 more … → z".
    """
    runs = [(step, len(list(same))) for step, same in groupby(text.split(" → "))]
    steps = [step if n == 1 else f"{step} × {n}" for step, n in runs]
    left = len(steps) - first - last
    if left < 2:
        return " → ".join(steps)
    return " → ".join([*steps[:first], f"… {left} more …", *steps[-last:]])


def _json(value: Any) -> Any:
    if isinstance(value, float) and value != value:
        return None
    if isinstance(value, datetime | date):
        return value.isoformat()
    return value.to_list() if hasattr(value, "to_list") else value


def flat(frame: pl.DataFrame) -> pl.DataFrame:
    """Lists as text: CSV has no nesting."""
    import polars as pl

    lists = [n for n, k in frame.schema.items() if isinstance(k, pl.List | pl.Array)]
    return frame.with_columns(pl.col(n).cast(pl.List(pl.String)).list.join(" | ") for n in lists)


class Screen:
    """Watches a run and draws it on stderr: a bar on a terminal, one line per stage elsewhere."""

    def __init__(self, progress: Progress | None) -> None:
        self._progress = progress
        self._stage, self._last = "", 0.0
        self._tasks: dict[str, TaskID] = {}

    def _out(self) -> Console:
        return console() if self._progress is None else self._progress.console

    def stage(self, name: str, state: str, seconds: float) -> None:
        """A stage started, was reused or is done."""
        self._stage = name
        if self._progress is not None:
            if state == "started":
                self._tasks[name] = self._progress.add_task(name, total=1.0, what="")
            elif name in self._tasks:
                self._progress.remove_task(self._tasks.pop(name))
        if state == "done":
            self._out().print(f"  [green]✓[/green] {name:<12} [dim]{seconds:6.1f} s[/dim]")
        elif state == "reused":
            self._out().print(f"  [green]✓[/green] {name:<12} [dim]unchanged[/dim]")

    def progress(self, what: str, share: float) -> None:
        """Inside the stage: what is being done and how much of it."""
        if self._progress is None:
            return
        if self._stage not in self._tasks:
            self._tasks[self._stage] = self._progress.add_task(self._stage or what, total=1.0, what="")
        now = time.monotonic()
        if share >= 1.0 or now - self._last > 0.1:
            self._last = now
            self._progress.update(self._tasks[self._stage], completed=share, what=what)


@contextmanager
def screen() -> Iterator[Screen]:
    """A Screen on stderr for the time of a block."""
    if not sys.stderr.isatty():
        yield Screen(None)
        return
    from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    columns = (
        SpinnerColumn(),
        TextColumn("{task.description:<12}"),
        BarColumn(24),
        TimeElapsedColumn(),
        TextColumn("[dim]{task.fields[what]}"),
    )
    with Progress(*columns, console=console(), transient=True) as progress:
        yield Screen(progress)
