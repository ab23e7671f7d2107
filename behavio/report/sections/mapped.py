"""The process map in several degrees of detail, each saying what it hides."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import polars as pl
from markupsafe import Markup

from behavio.errors import LogError
from behavio.report.blocks import Level, Levels
from behavio.report.charts.bars import bars
from behavio.report.charts.embed import embedded
from behavio.report.charts.svg import for_widths, tag
from behavio.report.context import say
from behavio.report.language import t
from behavio.report.scene import Scene
from behavio.report.tables import Column, Table
from behavio.words import touchpoint

if TYPE_CHECKING:
    from behavio.journeys import DirectlyFollowsGraph
    from behavio.journeys.choice import Choice

NODES, USUAL = (3, 5, 7, 9, 12), 10
PAGES, TALLEST, USUALLY = (924, 600, 350), 2_400, 940
"""Widths of the map in px on wide, middle and narrow pages; its most height; that of the one shown first."""
SMALL, SMALL_PAGE = 7, 400
"""More activities than that are not drawn on a page under so many px."""


def map_levels(
    s: Scene,
    edges: pl.DataFrame,
    activities: pl.DataFrame,
    shown: Table,
    nodes: tuple[int, ...] = NODES,
) -> Levels | None:
    """The process map drawn with few to many activities; says of each what it hides.

    edges, activities: as journeys/graph.parquet and activities.parquet. shown: the table of frequent steps.
    """
    from behavio.journeys import DirectlyFollowsGraph
    from behavio.journeys.choice import choose

    try:
        known = activities.filter(pl.col("cases") >= s.k)
        graph = DirectlyFollowsGraph(edges.filter(pl.col("cases") >= s.k), known)
    except (LogError, pl.exceptions.ColumnNotFoundError):
        return None
    if not graph.activities.height or not graph.edges.height:
        return None
    rows: list[dict[str, Any]] = []
    drawings, heights = [], []
    for n in sorted({min(n, graph.activities.height) for n in nodes}):
        drawn = _drawings(s, graph, n)
        if drawn is not None:
            rows.append(_row(choose(graph, n), graph, edges, activities, shown))
            drawings.append(drawn[0])
            heights.append(drawn[1])
    if not rows:
        return None
    table = _level_table(rows)
    made = tuple(
        Level(_level_said(table, i), _sized(table, i, drawn, shown), _map_alt(s, table, i, shown))
        for i, drawn in enumerate(drawings)
    )
    fits = [i for i, r in enumerate(rows) if r["activities"] <= USUAL and heights[i] <= USUALLY]
    usual = max(fits, default=0)
    caption = say(
        "On a line: how often, and the median time between. Steps of fewer than {k} {many} are left out; "
        "hidden shares are of all events and all steps of the log.",
        k=s.k,
        many=s.many,
    )
    return Levels(
        "map",
        _map_title(s, edges, int(edges["frequency"].sum())),
        made,
        usual,
        "How many activities the map shows",
        caption,
        shown,
        table,
        "map",
    )


def _row(
    choice: Choice, graph: DirectlyFollowsGraph, edges: pl.DataFrame, activities: pl.DataFrame, shown: Table
) -> dict[str, Any]:
    """What one setting draws and hides, of all events and all steps of the log."""
    events, steps = int(activities["frequency"].sum()), int(edges["frequency"].sum())
    names = activities.filter(pl.col("activity").is_in(choice.names))
    barred = sum(int(r["frequency"]) for r in shown.rows[: choice.n_edges])
    drawn = round(choice.share * int(graph.edges["frequency"].sum()))
    return {
        "activities": len(choice.names),
        "of_activities": activities.height,
        "steps": choice.n_edges,
        "of_steps": edges.height,
        "events_hidden": 1 - int(names["frequency"].sum()) / max(events, 1),
        "steps_hidden": 1 - drawn / max(steps, 1),
        "bars": min(choice.n_edges, len(shown.rows)),
        "bars_hidden": 1 - barred / max(steps, 1),
    }


def _level_table(rows: list[dict[str, Any]]) -> Table:
    columns = (
        Column("activities", "Activities drawn", "count"),
        Column("of_activities", "of", "count"),
        Column("steps", "Different steps drawn", "count"),
        Column("of_steps", "of", "count"),
        Column("events_hidden", "Events hidden", "share"),
        Column("steps_hidden", "Steps hidden", "share"),
        Column("bars", "As bars, where narrow", "count"),
        Column("bars_hidden", "Steps hidden by bars", "share"),
    )
    return Table.of("map_levels", "What each setting of the map hides", columns, rows, "behavio graph RUN")


def _level_said(table: Table, i: int) -> Markup:
    return say(
        "{a} of {all} activities and {b} of {each} different steps drawn; hidden: {e} of all events, {s} of "
        "all steps",
        a=table.show(i, "activities"),
        all=table.show(i, "of_activities"),
        b=table.show(i, "steps"),
        each=table.show(i, "of_steps"),
        e=table.show(i, "events_hidden"),
        s=table.show(i, "steps_hidden"),
    )


def _sized(table: Table, i: int, drawn: list[Markup | None], shown: Table) -> Markup:
    """One setting of the map at each width, with what it hides there; bars where the map does not fit."""
    parts = []
    for drawing in drawn:
        if drawing is not None:
            parts.append(tag("p", _level_said(table, i), class_="said") + drawing)
            continue
        said = say(
            "The {n} most frequent steps; hidden: {s} of all steps. A wider page shows the map",
            n=table.show(i, "bars"),
            s=table.show(i, "bars_hidden"),
        )
        parts.append(tag("p", said, class_="said") + _bars(shown, int(table.rows[i]["bars"])))
    return for_widths(*parts)


def _map_alt(s: Scene, table: Table, i: int, shown: Table) -> str:
    said = "; ".join(
        f"{shown.rows[j]['step']} {shown.text(j, 'frequency')}" for j in range(min(5, len(shown.rows)))
    )
    hidden = _level_said(table, i).striptags()
    return f"{say('Process map').striptags()}. {hidden}. {say('Most frequent steps').striptags()}: {said}"


def _map_title(s: Scene, edges: pl.DataFrame, total: int) -> Markup:
    top = edges.sort(["frequency", "source", "target"], descending=[True, False, False]).row(0, named=True)
    what = "share of the most frequent step"
    share = s.facts.add("top_step_share", top["frequency"] / total, "share", what, n=total)
    return say(
        "The most frequent step, {a} → {b}, is {share} of all",
        a=touchpoint(top["source"]),
        b=touchpoint(top["target"]),
        share=share.shown,
    )


def _drawings(s: Scene, graph: DirectlyFollowsGraph, nodes: int) -> tuple[list[Markup | None], int] | None:
    """The map with so many activities for three widths, None for one it does not fit; its height on a wide
    page. None if it gets too tall.
    """
    from behavio.journeys import process_map

    words = {name: t(touchpoint(name)) for name in graph.activities["activity"].to_list()}
    found: list[Markup | None] = []
    heights = []
    for width in PAGES:
        if nodes > SMALL and width < SMALL_PAGE:
            found.append(None)
            continue
        drawn = process_map(graph, nodes, width, noted=False)
        size = re.search(r'viewBox="0 0 (\d+) (\d+)"', drawn)
        if size is None or int(size[2]) > TALLEST:
            return None
        heights.append(int(size[2]))
        fits = int(size[1]) <= width * 1.04
        found.append(embedded(drawn, words, s.many if s.many != "cases" else None) if fits else None)
    return found, heights[0]


def _bars(shown: Table, most: int) -> Markup:
    """The most frequent steps as bars, as many as the map draws at most."""
    return bars(
        [
            (str(r["step"]), shown.show(i, "frequency"), shown.share_of_largest(i, "frequency"))
            for i, r in enumerate(shown.rows[:most])
        ]
    )
