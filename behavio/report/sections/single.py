"""Single journeys of every group, one row each: what the averages of a group are made of."""

from __future__ import annotations

from typing import Any

import polars as pl
from markupsafe import Markup

from behavio.report.blocks import Figure
from behavio.report.charts.rows import index_rows
from behavio.report.charts.svg import tag
from behavio.report.context import Context, say
from behavio.report.numbers import write
from behavio.report.scene import Scene
from behavio.report.sections.groups import sizes
from behavio.report.tables import Column, Table

ROWS, GROUPS = 40, 8


def single_journeys(c: Context, s: Scene) -> Figure | None:
    """Index plot per group: an even sample of its journeys, in the order of when most of them happened.

    A kind that fewer than k of the group have in a bin is left blank there, so that no row shows what only a
    few did.
    """
    groups = sizes(c)[:GROUPS]
    if not groups or c.run.segments is None or s.calendar.bins < 2:
        return None
    cells = _cells(c, s)
    rows: list[dict[str, Any]] = []
    drawn = []
    for group in groups:
        mine = cells.filter(pl.col("segment_id") == group.id)
        if not mine.height:
            continue
        members = c.run.segments.filter(pl.col("segment_id") == group.id)["case_id"]
        lines = _lines(mine, members, s)
        rows.append({"segment": group.name, "drawn": len(lines), "n_cases": group.n})
        drawn.append((group, lines))
    if not rows:
        return None
    columns = (
        Column("segment", "Group"),
        Column("drawn", "Journeys drawn", "count"),
        Column("n_cases", f"of so many {s.many}", "count"),
    )
    table = Table.of(
        "single_journeys", "Journeys drawn one by one", columns, rows, "behavio report RUN --as csv"
    )
    parts = [
        tag(
            "div",
            _head(table, i, s),
            index_rows(lines, list(s.hues), s.ticks, s.calendar.bins),
            class_="index-group",
            id=f"journeys-of-{group.id}",
        )
        for i, (group, lines) in enumerate(drawn)
    ]
    total = sum(int(r["drawn"]) for r in rows)
    n = c.facts.add("single_journeys", total, "count", "journeys drawn one by one")
    title = say("{n} single journeys: how alike the members of a group are", n=n.shown)
    alt = "; ".join(
        f"{r['segment']}: {write(r['drawn'], 'count')} / {write(r['n_cases'], 'count')}" for r in rows
    )
    return Figure(title, Markup("").join(parts), alt, _caption(s), table, "singles")


def _head(table: Table, i: int, s: Scene) -> Markup:
    text = say("{n} of {all} {many}", n=table.show(i, "drawn"), all=table.show(i, "n_cases"), many=s.many)
    name = tag("span", table.rows[i]["segment"], class_="lab", dir="auto")
    return tag("p", name, " ", tag("span", text, class_="n"), class_="index-head")


def _caption(s: Scene) -> Markup:
    text = say(
        "One row each: an even sample of the group, from those active early to those active late. A cell is "
        "what the {unit} held most of",
        unit=s.calendar.unit,
    )
    if s.k == 1:
        return text + say("; blank is silence.")
    return text + say(
        "; blank is silence, or what fewer than {k} of the group did. No row says whose it is.", k=s.k
    )


def _cells(c: Context, s: Scene) -> pl.DataFrame:
    """segment_id, case_id, bin, kind (its place), of kinds that k of the group or more have in the bin."""
    assert c.run.segments is not None
    place = pl.DataFrame(
        {"kind": list(s.kinds.names), "place": range(len(s.kinds.names))},
        schema_overrides={"place": pl.Int64},
    )
    placed = s.calendar.place(c.run).join(s.kinds.frame(), on="activity").join(place, on="kind")
    members = c.run.segments.filter(pl.col("segment_id") >= 0).select("case_id", "segment_id")
    counted = placed.group_by("case_id", "bin", "place").len().join(members, on="case_id")
    people = pl.col("case_id").n_unique().over("segment_id", "bin", "place")
    return (
        counted.filter(people >= s.k)
        .sort(["case_id", "bin", "len", "place"], descending=[False, False, True, False])
        .unique(["case_id", "bin"], keep="first", maintain_order=True)
    )


def _lines(mine: pl.DataFrame, members: pl.Series, s: Scene) -> list[list[int]]:
    """An even sample of the group, by the mean bin of what is shown of each; those with nothing come last."""
    centre = mine.group_by("case_id").agg(
        pl.col("bin").mean().alias("at"), pl.col("bin").min().alias("first")
    )
    everybody = pl.DataFrame({"case_id": members}).join(centre, on="case_id", how="left")
    order = everybody.sort("at", "first", "case_id", nulls_last=True)["case_id"].to_list()
    step = max(1.0, len(order) / ROWS)
    chosen = [order[int(i * step)] for i in range(min(ROWS, len(order)))]
    lines: dict[Any, list[int]] = {case: [-1] * s.calendar.bins for case in chosen}
    kept = mine.filter(pl.col("case_id").is_in(chosen)).select("case_id", "bin", "place")
    for case, at, place in kept.iter_rows():
        lines[case][at] = place
    return list(lines.values())
