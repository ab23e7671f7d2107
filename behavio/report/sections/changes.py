"""What changed since an earlier run: who moved between groups, and the strip of numbers then and now."""

from __future__ import annotations

import polars as pl
from markupsafe import Markup

from behavio.report.blocks import Block, Section, Sheet
from behavio.report.context import Context, say
from behavio.report.kinds import sentence_case
from behavio.report.numbers import write
from behavio.report.sections import kpis
from behavio.report.tables import Column, Table


def section(c: Context) -> Section | None:
    """The part of the page that compares with `previous`, or None when none was named."""
    if c.run.previous is None:
        return None
    blocks: list[Block] = []
    tables: list[Table] = []
    heading = Markup("Since the earlier run")
    groups = _groups(c)
    if groups is not None:
        tables.append(groups)
        blocks.append(Sheet(groups, Markup("Groups then and now")))
        heading = _heading(c)
    numbers = _numbers(c)
    tables.append(numbers)
    blocks.append(Sheet(numbers, Markup("The strip of numbers then and now")))
    sub = say("Compared with an earlier run: {p}.", p=Context.of(c.run.previous, c.settings).period)
    return Section("changes", "What changed", heading, sub, tuple(blocks), tuple(tables))


def _both(c: Context) -> pl.DataFrame | None:
    """Cases of both runs with their group then and now; None unless both have groups."""
    then = None if c.run.previous is None else c.run.previous.segments
    if c.run.segments is None or then is None:
        return None
    now = c.run.segments.select("case_id", now="segment")
    both = now.join(then.select("case_id", then="segment"), on="case_id")
    return both if both.height >= c.k else None


def _heading(c: Context) -> Markup:
    both = _both(c)
    assert both is not None
    moved = both.filter(pl.col("now") != pl.col("then")).height
    if moved == 0:
        return Markup("Nobody changed group since the earlier run")
    share = c.facts.add(
        "moved", moved / both.height, "share", f"{c.many} of both runs whose group changed", n=both.height
    )
    return say("{s} of {many} changed group since the earlier run", s=share.shown, many=c.many)


def _groups(c: Context) -> Table | None:
    both = _both(c)
    if both is None:
        return None
    rows = []
    for name in sorted({*both["now"].to_list(), *both["then"].to_list()}):
        now = both.filter(pl.col("now") == name).height
        then = both.filter(pl.col("then") == name).height
        if max(now, then) >= c.k:
            rows.append({"segment": name, "then": _shown(then, c.k), "now": _shown(now, c.k)})
    if not rows:
        return None
    columns = (Column("segment", "Group"), Column("then", "Then", "count"), Column("now", "Now", "count"))
    return Table.of(
        "changes", f"{sentence_case(c.many)} of both runs by group", columns, rows, "behavio report RUN"
    )


def _shown(n: int, k: int) -> int | None:
    """A count that may be shown: none under k, but zero is nobody."""
    return n if n == 0 or n >= k else None


def _numbers(c: Context) -> Table:
    assert c.run.previous is not None
    _, now, _ = kpis.strip(c)
    _, then, _ = kpis.strip(Context.of(c.run.previous, c.settings))
    before = {row["kpi"]: row for row in then.rows}
    columns = (Column("kpi", "Number"), Column("then", "Then"), Column("now", "Now"))
    rows = [
        {
            "kpi": sentence_case(str(row["kpi"]).replace("_", " ")),
            "then": write(before[row["kpi"]]["value"], row["kind"]) if row["kpi"] in before else "–",
            "now": write(row["value"], row["kind"]),
        }
        for row in now.rows
    ]
    return Table.of("kpi_changes", "The strip of numbers then and now", columns, rows, "behavio report RUN")
