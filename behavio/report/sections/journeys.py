"""How journeys run: process map, most common journeys, time between steps."""

from __future__ import annotations

import re

import polars as pl
from markupsafe import Markup

from behavio.errors import LogError
from behavio.report.blocks import Block, Figure, Levels, Section, Sheet, without
from behavio.report.charts.bars import bars
from behavio.report.charts.embed import embedded
from behavio.report.charts.svg import tag
from behavio.report.charts.track import Row, time_axis, track
from behavio.report.context import Context, say
from behavio.report.kinds import path, sentence_case
from behavio.report.scene import Scene
from behavio.report.sections import bands, funnels, mapped, periods, running, staying
from behavio.report.tables import Column, Table
from behavio.words import touchpoint

EDGES, VARIANTS = 12, 10
MAP_NODES, MAP_WIDTH, MAP_HEIGHT = 10, 924, 940
MISSING = "They need the journeys stage; add a [journeys] table to the job and run it again."


def section(c: Context) -> Section:
    """Map, variants and times, as far as the run has them."""
    if c.run.graph is None and c.run.variants is None:
        return without("journeys", "Journeys", "journeys", say(MISSING))
    blocks: list[Block] = []
    tables: list[Table] = []
    edges = _edges(c)
    scene = Scene.of(c)
    if edges is not None:
        tables.append(edges)
        process = _levels(c, scene, edges) or _map(c, edges)
        if process is not None:
            blocks.append(process)
        if isinstance(process, Levels) and process.more is not None:
            tables.append(process.more)
    variants = _variants(c)
    if variants is not None:
        tables.append(variants)
        blocks.append(Sheet(variants, _variant_title(c), _variant_note(c, variants)))
    for began in (running.first_steps(scene), running.flows(scene)):
        if began is not None and began.table is not None:
            blocks.append(began)
            tables += [began.table] if began.more is None else [began.table, began.more]
    if edges is not None and c.run.timed:
        blocks.append(times_between(edges))
    for block in (*(running.over_time(scene) or ()), bands.banded_journeys(c, scene)):
        if isinstance(block, Figure) and block.table is not None:
            tables.append(block.table)
        if block is not None:
            blocks.append(block)
    campaigns = c.settings.role != "medical"  # how a campaign is answered is no business of the medical team
    parts = (
        funnels.funnel(c) if campaigns else None,
        staying.phase_map(c) if campaigns else None,
        staying.retention(c),
        staying.times_and_repeats(c),
        staying.changed(c),
        *periods.side_by_side(c),
    )
    for part in parts:
        if isinstance(part, Sheet | Figure) and part.table is not None:
            tables.append(part.table)
        if part is not None:
            blocks.append(part)
    return Section("journeys", "Journeys", _heading(c), _sub(c), tuple(blocks), tuple(tables))


def ways(c: Context) -> list[int]:
    """How many people take each distinct journey, most first; from the cases, else from the variants kept."""
    cases, variants = c.run.case_times, c.run.variants
    if cases is not None and cases.height and "variant_rank" in cases.columns:
        return list(cases.group_by("variant_rank").len()["len"].sort(descending=True).to_list())
    return [] if variants is None else list(variants["cases"].sort(descending=True).to_list())


def _heading(c: Context) -> Markup:
    taken = ways(c)
    if not taken:
        return Markup("How journeys run")
    total = sum(taken)
    variants = c.facts.add("variants", len(taken), "count", "distinct journeys")
    if len(taken) > 0.8 * total:
        return say(
            "Hardly two journeys are the same: {n} different ones of {m} {many}",
            n=variants.shown,
            m=c.facts.add("variant_cases", total, "count", f"{c.many} with a journey").shown,
            many=c.many,
        )
    together, half = 0, 0
    while 2 * together < total:
        together += taken[half]
        half += 1
    n = c.facts.add(
        "variants_for_half", half, "count", f"most common journeys that cover half of the {c.many}"
    )
    return say(
        "{n} of {all} distinct journeys cover{s} half of the {many}",
        n=n.shown,
        all=variants.shown,
        s="s" if half == 1 else "",
        many=c.many,
    )


def _sub(c: Context) -> Markup:
    return say(
        "What directly follows what in the journeys of {n} {many}, {p}. The newest event of a journey is "
        "not its end: "
        "journeys still run.",
        n=c.cases.shown,
        many=c.many,
        p=c.period,
    )


def _edges(c: Context) -> Table | None:
    graph = c.run.graph
    return None if graph is None else edge_table(graph, c.k, c.many, c.run.timed)


def edge_table(graph: pl.DataFrame, k: int, many: str, timed: bool) -> Table | None:
    """The most frequent steps of a graph that k people or more took; None where there is none."""
    kept = graph.filter(pl.col("cases") >= k)
    if kept.height == 0:
        return None
    columns = [
        Column("step", "Step"),
        Column("frequency", "How often", "count", bar=True),
        Column("cases", sentence_case(many), "count"),
    ]
    if timed:
        columns += [
            Column("median_s", "Time between, median", "seconds"),
            Column("p10_s", "one in ten is faster than", "seconds"),
            Column("p90_s", "one in ten is slower than", "seconds"),
        ]
    rows = [
        {**r, "step": f"{touchpoint(r['source'])} → {touchpoint(r['target'])}"}
        for r in kept.head(EDGES).iter_rows(named=True)
    ]
    return Table.of("steps", "Most frequent steps", columns, rows, f"behavio graph RUN --top {EDGES}")


def _levels(c: Context, scene: Scene, edges: Table) -> Levels | None:
    graph, activities = c.run.graph, c.run.activities
    if graph is None or activities is None or not {"cases", "starts"} <= set(activities.columns):
        return None
    return mapped.map_levels(scene, graph, activities, edges)


def _drawing(c: Context) -> Markup | None:
    """The process map drawn for the page from what k people or more did, else the one the run has."""
    from behavio.journeys import DirectlyFollowsGraph, process_map

    words = {name: touchpoint(name) for name in c.run.events["activity"].unique().to_list()}
    many = c.many if c.many != "cases" else None
    if c.run.graph is None or c.run.activities is None:
        return None if c.run.map_svg is None else embedded(c.run.map_svg, words, many)
    known = (
        c.run.activities.filter(pl.col("cases") >= c.k)
        if "cases" in c.run.activities.columns
        else c.run.activities
    )
    try:
        graph = DirectlyFollowsGraph(c.run.graph.filter(pl.col("cases") >= c.k), known)
    except (LogError, pl.exceptions.ColumnNotFoundError):
        return None if c.run.map_svg is None else embedded(c.run.map_svg, words, many)
    for nodes in range(MAP_NODES, 3, -1):
        drawn = process_map(graph, nodes, MAP_WIDTH)
        size = re.search(r'viewBox="0 0 (\d+) (\d+)"', drawn)
        if size is None or (int(size[1]) <= MAP_WIDTH and int(size[2]) <= MAP_HEIGHT):
            break
    return embedded(drawn, words, many)


def _map(c: Context, edges: Table) -> Figure | None:
    drawing = _drawing(c)
    if drawing is None:
        return None
    narrow = bars(
        [
            (str(r["step"]), edges.show(i, "frequency"), edges.share_of_largest(i, "frequency"))
            for i, r in enumerate(edges.rows)
        ]
    )
    chart = tag("div", drawing, class_="roomy") + tag("div", narrow, class_="tight")
    graph = c.run.graph
    assert graph is not None
    top = graph.row(0, named=True)
    total = int(graph["frequency"].sum())
    share = c.facts.add(
        "top_step_share", top["frequency"] / total, "share", "share of the most frequent step", n=total
    )
    title = say(
        "The most frequent step, {a} → {b}, is {share} of all",
        a=touchpoint(top["source"]),
        b=touchpoint(top["target"]),
        share=share.shown,
    )
    alt = "Process map. Most frequent steps: " + "; ".join(
        f"{edges.rows[i]['step']} {edges.text(i, 'frequency')} times" for i in range(min(5, len(edges.rows)))
    )
    caption = say(
        "What directly follows what; steps of fewer than {k} {many} are left out. The table holds the "
        "{n} most "
        "frequent.",
        k=c.k,
        many=c.many,
        n=len(edges.rows),
    )
    return Figure(title, chart, alt, caption, edges, "map")


def _variants(c: Context) -> Table | None:
    v = c.run.variants
    if v is None:
        return None
    rows = v.filter(pl.col("cases") >= c.k).head(VARIANTS)
    if rows.height == 0:
        return None
    columns = [
        Column("variant", "Journey"),
        Column("cases", sentence_case(c.many), "count", bar=True),
        Column("share", "Share", "share"),
        Column("cumulative_share", "Together", "share"),
        Column("length", "Events", "count"),
    ]
    if c.run.timed:
        columns.append(Column("median_duration_s", "Duration, median", "seconds"))
    found = [{**r, "variant": path(r["activities"])} for r in rows.iter_rows(named=True)]
    return Table.of(
        "variants", "Most common journeys", columns, found, f"behavio variants RUN --top {VARIANTS}"
    )


def _variant_title(c: Context) -> Markup:
    v = c.run.variants
    assert v is not None
    share = c.facts.add(
        "top_variant_share", float(v["share"][0]), "share", "share of the most common journey"
    )
    return say("The most common journey is taken by {s} of {many}", s=share.shown, many=c.many)


def _variant_note(c: Context, table: Table) -> Markup:
    taken = ways(c)
    small = [n for n in taken if n < c.k]
    if not small:
        return Markup("")
    n = c.facts.add("rare_variants", len(small), "count", "journeys of fewer than k people")
    share = c.facts.add("rare_variants_share", sum(small) / sum(taken), "share", "their share")
    return say(
        "{n} journeys taken by fewer than {k} {many} each are not shown; together they are {s}.",
        n=n.shown,
        k=c.k,
        many=c.many,
        s=share.shown,
    )


def times_between(edges: Table) -> Figure:
    """How long the most frequent steps take."""
    rows = []
    for i, r in enumerate(edges.rows):
        if r["median_s"] is None:
            continue
        rows.append(
            Row(
                say("{s}", s=r["step"]),
                say("{m}", m=edges.show(i, "median_s")),
                say("{n} times", n=edges.show(i, "frequency")),
                r["median_s"],
                r["p10_s"] if r["p10_s"] is not None else r["median_s"],
                r["p90_s"],
            )
        )
    slow = max(range(len(edges.rows)), key=lambda i: edges.rows[i]["median_s"] or 0)
    title = say(
        "Of the frequent steps, {s} takes longest: {t}, median",
        s=edges.rows[slow]["step"],
        t=edges.show(slow, "median_s"),
    )
    axis = time_axis([r.low for r in rows], [v for r in rows for v in (r.middle, r.high)])
    caption = Markup(
        "Time between two events that follow each other. Dot: median; line: eight in ten lie on it."
    )
    alt = "; ".join(f"{r['step']}: {edges.text(i, 'median_s')}" for i, r in enumerate(edges.rows[:6]))
    return Figure(title, track(rows, axis, ("Step", "Median", "How often")), alt, caption, edges, again=True)
