"""Part of the journeys section: how many get through steps in order, in which time."""

from __future__ import annotations

from typing import Any

import polars as pl
from markupsafe import Markup

from behavio.durations import seconds
from behavio.report.blocks import Figure
from behavio.report.charts.bars import bars
from behavio.report.context import Context, say
from behavio.report.kinds import sentence_case
from behavio.report.language import t
from behavio.report.numbers import write
from behavio.report.tables import Column, Table
from behavio.words import touchpoint

CHOSEN = {
    "plan": "The steps are those of the planned flow.",
    "usual order": "The steps are touchpoints in their usual order; journeys.funnel names others.",
}


def funnel(c: Context) -> Figure | None:
    """The funnel of the run; None without one, or when hardly anybody takes its first step."""
    found = c.run.funnel
    if found is None or not found.height or int(found["cases"][0]) < c.k:
        return None
    kept = found.filter(pl.col("cases") >= c.k)
    if kept.height < 2:
        return None
    within = kept["within"][0]
    table = _table(c, kept, within)
    steps = [str(r["step"]) for r in table.rows]
    drawn = bars(
        [
            (
                f"{sentence_case(t(steps[i]))} – {table.text(i, 'cases')} {t(c.many)}",
                table.show(i, "share"),
                float(r["share"]),
            )
            for i, r in enumerate(table.rows)
        ]
    )
    last = len(steps) - 1
    told = {
        "n": table.show(0, "cases"),
        "many": c.many,
        "first": steps[0],
        "s": table.show(last, "share"),
        "last": steps[last],
    }
    if within is None:
        title = say("Of {n} {many} with {first}, {s} come to {last}", **told)
    else:
        time = write(seconds(within), "seconds")
        title = say("Of {n} {many} with {first}, {s} come to {last} within {t}", **told, t=time)
    alt = "; ".join(f"{s}: {table.text(i, 'cases')}, {table.text(i, 'share')}" for i, s in enumerate(steps))
    return Figure(title, drawn, alt, _caption(c, table, found), table)


def _caption(c: Context, table: Table, found: pl.DataFrame) -> Markup:
    caption = say(
        "Share of those who took the first step and then the others in this order; other events may lie in "
        "between, and the best of several attempts counts."
    )
    within = found["within"][0]
    if within is not None:
        caption += say(
            " A step counts when it comes within {t} of the first.", t=write(seconds(within), "seconds")
        )
    caption += Markup(" ") + say(CHOSEN.get(str(found["chosen"][0]), ""))
    still = [(i, r) for i, r in enumerate(table.rows) if r["may_still"]]
    if still:
        i, row = max(still, key=lambda s: s[1]["may_still"])
        caption += say(
            " {n} {many} at the step before may still come to {step}: their time is not over.",
            n=table.show(i, "may_still"),
            many=c.many,
            step=row["step"],
        )
    if len(table.rows) < found.height:
        caption += say(" Later steps were taken by fewer than {k} {many}.", k=c.k, many=c.many)
    return caption


def _table(c: Context, kept: pl.DataFrame, within: str | None) -> Table:
    columns = [
        Column("step", "Step"),
        Column("cases", sentence_case(c.many), "count"),
        Column("share", "Of the first step", "share", bar=True),
        Column("share_of_previous", "Of the step before", "share"),
        Column("may_still", "May still come", "count"),
    ]
    if c.run.timed:
        columns += [
            Column("median_s", "After the step before, median", "seconds"),
            Column("median_from_start_s", "After the first, median", "seconds"),
        ]
    rows = [_row(c, r) for r in kept.iter_rows(named=True)]
    limit = "" if within is None else f" --within {within}"
    asked = " ".join(f'"{a}"' if "|" in a or " " in a else a for a in kept["activity"])
    return Table.of("funnel", "Steps in order", columns, rows, f"behavio funnel RUN {asked}{limit}")


def _row(c: Context, row: dict[str, Any]) -> dict[str, Any]:
    """One step in words; so few that may still come that they could be known are not said."""
    still = row["may_still"]
    names = [_word(a.strip()) for a in str(row["activity"]).split("|")]
    return {**row, "step": " or ".join(names), "may_still": None if 0 < still < c.k else still}


def _word(name: str) -> str:
    """An activity in words; "campaign_*" is "any campaign"."""
    return (
        f"any {touchpoint(name[:-1].rstrip('_:'))}"
        if name.endswith("*") and len(name) > 1
        else touchpoint(name)
    )
