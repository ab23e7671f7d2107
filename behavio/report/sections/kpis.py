"""The strip of numbers: the whole period, and how the last weeks moved against the same length before."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import polars as pl
from markupsafe import Markup

from behavio.report import measures
from behavio.report.blocks import Kpi
from behavio.report.context import Context, say
from behavio.report.numbers import Kind, write
from behavio.report.roles import MEDICAL_NUMBERS
from behavio.report.tables import Column, Table
from behavio.report.weekly import quantile

Measure = Callable[[pl.DataFrame], "tuple[float | None, float | None, float | None, int]"]
RECENT = timedelta(days=91)
NOTE = "Large: the whole period. Small: the last 13 weeks, and what it was in the 13 weeks before."


def strip(c: Context) -> tuple[list[Kpi], Table, str]:
    """The numbers, their table, and what the small print under them says."""
    found = _hcp(c) if c.run.hcp else _cases(c)
    if c.settings.role == "medical":
        found = [f for f in found if f[0]["kpi"] in MEDICAL_NUMBERS]
    columns = (
        Column("kpi", "Number"),
        Column("value", "Whole period"),
        Column("low", "From"),
        Column("high", "To"),
        Column("n", "Base", "count"),
        Column("recent", "Last 13 weeks"),
        Column("before", "13 weeks before"),
        Column("kind", "Unit"),
    )
    table = Table("kpis", "The strip of numbers", columns, tuple(f[0] for f in found), "behavio report RUN")
    strip = [_kpi(table, i, label, c) for i, (_, label) in enumerate(found)]
    return strip, table, NOTE if any(k.change for k in strip) else ""


def _kpi(table: Table, i: int, label: Markup, c: Context) -> Kpi:
    row = table.rows[i]
    kind: Kind = row["kind"]
    value = Markup('<data value="{}" data-cell="{}">{}</data>').format(
        row["value"], table.cell(i, "value"), write(row["value"], kind)
    )
    if row["low"] is not None:
        from behavio.report.tables import interval

        label += " " + interval(row["low"], row["high"], kind, table.cell(i, "low"), table.cell(i, "high"))
    change = Markup("")
    if row["recent"] is not None and row["before"] is not None:
        change = say(
            "{now}, was {then}",
            now=_value(table, i, "recent", kind),
            then=_value(table, i, "before", kind),
        )
    return Kpi(value, label, change, _mood(row))


def _value(table: Table, i: int, column: str, kind: Kind) -> Markup:
    value = table.rows[i][column]
    return Markup('<data value="{}" data-cell="{}">{}</data>').format(
        value, table.cell(i, column), write(value, kind)
    )


def _mood(row: dict[str, Any]) -> str:
    now, then = row["recent"], row["before"]
    if now is None or then is None or write(now, row["kind"]) == write(then, row["kind"]):
        return ""
    return "up" if now > then else "down"


def _row(
    name: str, kind: Kind, found: Any, recent: float | None = None, before: float | None = None
) -> dict[str, Any]:
    from behavio.report.numbers import raw

    value, low, high, n = found
    numbers = {"value": value, "low": low, "high": high, "n": n, "recent": recent, "before": before}
    return {"kpi": name, "kind": kind} | {k: raw(v) for k, v in numbers.items()}


def _windows(c: Context) -> tuple[pl.DataFrame, pl.DataFrame] | None:
    """Events of the last 13 weeks and of the 13 before, where the log reaches back that far."""
    if not c.run.timed or c.run.last - c.run.first < 2 * RECENT:
        return None
    end: datetime = c.run.last
    after = end + timedelta(microseconds=1)
    split = after - RECENT
    return measures.window(c.run.events, split, after), measures.window(c.run.events, split - RECENT, split)


def _hcp(c: Context) -> list[tuple[dict[str, Any], Markup]]:
    events = c.run.events
    windows = _windows(c)
    known = c.run.n_known

    def share(count: Callable[[pl.DataFrame], int]) -> Measure:
        return lambda e: (count(e) / known, None, None, known)

    def frequency(e: pl.DataFrame) -> tuple[float | None, None, None, int]:
        people = measures.reached(e)
        return (measures.contacts(e).height / people if people else None, None, None, people)

    def opened(e: pl.DataFrame) -> Any:
        found = measures.open_rate(measures.emails(e))
        return (None, None, None, 0) if found is None else (found.value, found.low, found.high, found.n)

    def reaction(e: pl.DataFrame) -> Any:
        found = measures.net_reaction(e)
        return (None, None, None, 0) if found is None else (found.value, found.low, found.high, found.n)

    wanted: list[tuple[str, Kind, Measure, str]] = [
        ("reach", "share", share(measures.reached), "of {known} {many} reached"),
        ("frequency", "number", frequency, "contacts per reached {one}"),
        ("opened", "share", opened, "of emails sent were opened"),
        ("net_reaction", "signed", reaction, "net reaction, −1 to +1"),
        ("portal", "share", share(measures.visited_portal), "of {known} {many} visited the portal"),
    ]
    rows = []
    for name, kind, measure, text in wanted:
        found = measure(events)
        if not found[0]:
            continue
        now, then = (measure(windows[0])[0], measure(windows[1])[0]) if windows else (None, None)
        label = say(text, known=write(known, "count"), many=c.many, one=c.one)
        rows.append((_row(name, kind, found, now, then), label))
    return rows or _cases(c)


def _cases(c: Context) -> list[tuple[dict[str, Any], Markup]]:
    run = c.run
    windows = _windows(c)

    def plain(value: float | None, n: int) -> Any:
        return (value, None, None, n)

    lengths = run.events.group_by("case_id").len()["len"]
    moved: tuple[float | None, float | None] = (None, None)
    active: tuple[float | None, float | None] = (None, None)
    if windows:
        moved = windows[0].height, windows[1].height
        active = windows[0]["case_id"].n_unique(), windows[1]["case_id"].n_unique()
    found = [
        (
            _row("cases", "count", plain(run.n_cases, run.n_cases), *active),
            say("{many}", many=c.noun(run.n_cases)),
        ),
        (_row("events", "count", plain(run.n_events, run.n_events), *moved), Markup("events")),
        (
            _row("median_events", "number", plain(quantile(lengths, 0.5), run.n_cases)),
            say("events per {one}, median", one=c.one),
        ),
    ]
    if run.case_times is not None and run.timed:
        middle = run.case_times["duration_s"].median()
        if isinstance(middle, float | int):
            found.append(
                (
                    _row("median_duration", "seconds", plain(float(middle), run.case_times.height)),
                    Markup("first to last event, median"),
                )
            )
    kinds = run.events["activity"].n_unique()
    found.append((_row("activities", "count", plain(kinds, run.n_events)), Markup("kinds of event")))
    return found
