"""Part of the plan section: a planned flow each time it was begun, and where it stopped."""

from __future__ import annotations

from typing import Any

import polars as pl

from behavio.report.blocks import Figure
from behavio.report.charts.bars import bars
from behavio.report.context import Context, say
from behavio.report.kinds import sentence_case
from behavio.report.language import t
from behavio.report.tables import Column, Table
from behavio.words import touchpoint


def flow(c: Context, held: dict[str, Any]) -> Figure | None:
    """The flow begun most often; None in a plan without one, or when too few began it."""
    found: pl.DataFrame | None = held.get("walked")
    if found is None or not found.height:
        return None
    most = found.sort("occurrences", descending=True)["plan"][0]
    steps = found.filter((pl.col("plan") == most) & (pl.col("cases") >= c.k))
    if steps.height < 2:
        return None
    table = _table(c, steps)
    rows = table.rows
    drawn = bars(
        [
            (
                str(say("{x} – {n} times", x=sentence_case(t(r["step"])), n=table.text(i, "occurrences"))),
                table.show(i, "share"),
                r["share"],
            )
            for i, r in enumerate(rows)
        ]
    )
    last = len(rows) - 1
    stop = max(range(len(rows)), key=lambda i: (rows[i]["stopped"] or 0, -i))
    title = say(
        "Begun {n} times, “{plan}” came to {last} {s} of the time; most often it stopped after {stop}",
        n=table.show(0, "occurrences"),
        plan=most,
        last=rows[last]["step"],
        s=table.show(last, "share"),
        stop=rows[stop]["step"],
    )
    caption = say(
        "Every first step begins the flow anew: {m} {many} did so. What comes after goes to the newest one "
        "that waits for it and is in time; {n} stopped after {stop}.",
        m=table.show(0, "cases"),
        many=c.many,
        n=table.show(stop, "stopped"),
        stop=rows[stop]["step"],
    )
    alt = "; ".join(f"{t(r['step'])}: {table.text(i, 'share')}" for i, r in enumerate(rows))
    return Figure(title, drawn, alt, caption, table)


def _table(c: Context, steps: pl.DataFrame) -> Table:
    columns = (
        Column("step", "Step"),
        Column("occurrences", "Came to it, times", "count"),
        Column("cases", sentence_case(c.many), "count"),
        Column("share", "Of all begun", "share", bar=True),
        Column("low", "from", "share"),
        Column("high", "to", "share"),
        Column("stopped", "Stopped after it", "count"),
        Column("open", "Still open after it", "count"),
        Column("median_s", "After the first step, median", "seconds"),
    )
    rows = [{**r, "step": _word(r["step"])} for r in steps.iter_rows(named=True)]
    return Table.of(
        "plan_walks", "The flow each time it was begun", columns, rows,
        "behavio conform RUN --table occurrence_steps",
    )  # fmt: skip


def _word(step: str) -> str:
    return touchpoint(step) if " " not in step else step
