"""Journeys of every group in bands of like ones: what the averages of a group are made of, nobody's own."""

from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl
from markupsafe import Markup

from behavio.report.alike import bands
from behavio.report.blocks import Figure
from behavio.report.charts.rows import index_rows
from behavio.report.charts.svg import tag
from behavio.report.context import Context, say
from behavio.report.numbers import write
from behavio.report.scene import Scene
from behavio.report.sections.groups import sizes
from behavio.report.tables import Column, Table

ROWS, GROUPS, LOOKED_AT = 24, 8, 4000
"""Bands of a group, groups, journeys of a group that bands are found in."""
MANY, MOST = 0.25, 0.5
"""Shares of a band from which a hue is drawn deeper."""

Row = list[tuple[int, int]]


def banded_journeys(c: Context, s: Scene) -> Figure | None:
    """Index plot per group: a row is a band of at least k journeys that are alike.

    A cell is the kind that most of the band had in the bin, blank where fewer than k of it did.
    """
    groups = sizes(c)[:GROUPS]
    if not groups or c.run.segments is None or s.calendar.bins < 2:
        return None
    cells = _cells(c, s)
    rows: list[dict[str, Any]] = []
    drawn = []
    for group in groups:
        members = c.run.segments.filter(pl.col("segment_id") == group.id)["case_id"]
        found, people = _bands(cells.filter(pl.col("segment_id") == group.id), members, s)
        if not found:
            continue
        rows.append(
            {
                "segment": group.name,
                "bands": len(found),
                "smallest": min(people),
                "looked_at": sum(people),
                "n_cases": group.n,
            }
        )
        drawn.append((group, found))
    if not rows:
        return None
    columns = (
        Column("segment", "Group"),
        Column("bands", "Bands", "count"),
        Column("smallest", "Smallest band", "count"),
        Column("looked_at", f"{s.many[:1].upper()}{s.many[1:]} in the bands", "count"),
        Column("n_cases", f"of so many {s.many}", "count"),
    )
    title = "Bands of journeys that are alike"
    table = Table.of("journey_bands", title, columns, rows, "behavio report RUN --as csv")
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
    total = sum(int(r["bands"]) for r in rows)
    n = c.facts.add("journey_bands", total, "count", "bands of journeys that are alike")
    said = say("{n} bands of journeys that are alike: how much the members of a group differ", n=n.shown)
    alt = "; ".join(f"{r['segment']}: {write(r['bands'], 'count')}" for r in rows)
    return Figure(said, Markup("").join(parts), alt, _caption(s), table, "singles")


def _head(table: Table, i: int, s: Scene) -> Markup:
    text = say(
        "{n} bands of {least} {many} or more",
        n=table.show(i, "bands"),
        least=table.show(i, "smallest"),
        many=s.many,
    )
    name = tag("span", table.rows[i]["segment"], class_="lab", dir="auto")
    return tag("p", name, " ", tag("span", text, class_="n"), class_="index-head")


def _caption(s: Scene) -> Markup:
    text = say(
        "A row is a band of journeys that are alike, never one person’s. A cell is what most of the band had "
        "in the {unit}, what they did themselves before what was done to them: pale for under {a} of the "
        "band, deep from {b}",
        unit=s.calendar.unit,
        a=write(MANY, "share"),
        b=write(MOST, "share"),
    )
    if s.k == 1:
        return text + say("; blank is silence.")
    return text + say("; blank is silence, or what fewer than {k} of the band did.", k=s.k)


def _cells(c: Context, s: Scene) -> pl.DataFrame:
    """segment_id, case_id, bin, place (of the kind), each once."""
    assert c.run.segments is not None
    place = pl.DataFrame(
        {"kind": list(s.kinds.names), "place": range(len(s.kinds.names))},
        schema_overrides={"place": pl.Int64},
    )
    placed = s.calendar.place(c.run).join(s.kinds.frame(), on="activity").join(place, on="kind")
    members = c.run.segments.filter(pl.col("segment_id") >= 0).select("case_id", "segment_id")
    return placed.select("case_id", "bin", "place").unique().join(members, on="case_id")


def _bands(mine: pl.DataFrame, members: pl.Series, s: Scene) -> tuple[list[Row], list[int]]:
    """Rows of the plot in order of when their journeys happened, and how many people stand in each."""
    ids = members.sort()
    ids = ids.gather_every(-(-len(ids) // LOOKED_AT))
    n_bins, n_kinds = s.calendar.bins, len(s.kinds.names)
    own = _own(s)
    held = np.zeros((len(ids), n_bins, n_kinds), np.float32)
    at = pl.DataFrame({"case_id": ids, "row": np.arange(len(ids))})
    inside = mine.join(at, on="case_id")
    held[inside["row"].to_numpy(), inside["bin"].to_numpy(), inside["place"].to_numpy()] = 1
    near = held.copy()  # a week earlier or later is still alike
    near[:, 1:] += held[:, :-1] / 2
    near[:, :-1] += held[:, 1:] / 2
    found = bands(near.reshape(len(ids), -1), s.k, ROWS)
    made = [(_row(held[part], s.k, own), _middle(held[part]), len(part)) for part in found]
    made.sort(key=lambda m: m[1])
    return [row for row, _, _ in made], [n for _, _, n in made]


def _middle(held: np.ndarray) -> float:
    """The mean bin of what a band did; silent ones come last."""
    per_bin = held.sum(axis=(0, 2))
    return float(per_bin @ np.arange(len(per_bin)) / per_bin.sum()) if per_bin.sum() else float("inf")


def _own(s: Scene) -> np.ndarray:
    """bool (kinds,): most events of the kind are the people's own doing."""
    own = np.zeros(len(s.kinds.names), bool)
    if s.traces.inbound is None:
        return own
    kind = s.kind_of[s.traces.tokens]
    every = np.bincount(kind, minlength=len(own))
    theirs = np.bincount(kind[s.traces.inbound], minlength=len(own))
    found: np.ndarray = theirs * 2 > every
    return found


def _row(held: np.ndarray, k: int, own: np.ndarray) -> Row:
    """Kind and depth of every bin, (-1, 0) where fewer than k of the band did the same.

    What MANY of the band did themselves comes before what was done to them.
    """
    people = held.sum(axis=0)
    often = people >= max(MANY * len(held), k)
    worth = people + (often & own) * float(len(held))
    best = worth.argmax(axis=1)
    n = people[np.arange(len(best)), best]
    depth = (n >= MANY * len(held)).astype(int) + (n >= MOST * len(held)).astype(int)
    return [(int(b), int(d)) if m >= max(k, 1) else (-1, 0) for b, d, m in zip(best, depth, n, strict=True)]
