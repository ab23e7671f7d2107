"""Pictures of how journeys run: first steps, flows from step to step, weeks."""

from __future__ import annotations

from typing import Any

from markupsafe import Markup

from behavio.report.blocks import Figure, Key
from behavio.report.charts import icicle as icicles
from behavio.report.charts import sankey as sankeys
from behavio.report.charts.weeks import weeks
from behavio.report.context import say
from behavio.report.kinds import SILENCE, sentence_case
from behavio.report.numbers import write
from behavio.report.scene import Scene, label
from behavio.report.tables import Column, Table
from behavio.report.traces import ANSWER_DAYS, Flow, flow, prefix_tree, states, walk
from behavio.words import touchpoint

DEPTH, NAMES = 5, 5
STEP = "Step {n}"


def first_steps(s: Scene) -> Figure | None:
    """Icicle: how journeys begin, and where the first steps are answered."""
    tree = prefix_tree(s.traces, DEPTH, s.k)
    tint = s.traces.inbound is not None and bool(s.traces.inbound.any())
    rows = [
        {
            "step": step,
            "path": " → ".join([*(touchpoint(p) for p in path), _name(node.activity, node.ended)]),
            "cases": node.n,
            "share": node.n / max(tree.n, 1),
            "answered": None if node.ended or not tint else node.answered / max(node.n, 1),
        }
        for step, path, node in walk(tree)
        if node.n >= s.k
    ]
    firsts = [r for r in rows if r["step"] == 1]
    if not firsts or tree.n < s.k:
        return None
    columns = [
        Column("step", "Step", "count"),
        Column("path", "First steps"),
        Column("cases", sentence_case(s.many), "count", bar=True),
        Column("share", "Share", "share"),
    ]
    if tint:
        columns.append(Column("answered", f"Then active within {ANSWER_DAYS} days", "share"))
    table = Table.of("first_steps", "How journeys begin", columns, rows, "behavio report RUN --as csv")
    words = icicles.Words(
        label,
        say("all others").striptags(),
        say("no further step yet").striptags(),
        say(STEP, n="{n}").striptags(),
        lambda share: write(share, "share"),
        lambda share: f"{write(share, 'share')} {say('active').striptags()}",
    )
    drawing = icicles.icicle(tree, words, s.kinds.hue, s.k, tint)
    alt = "; ".join(
        f"{r['path']} {table.text(i, 'share')}" for i, r in enumerate(table.rows) if r["step"] <= 2
    )
    return Figure(_begin_title(s, table, tint), drawing, alt, _begin_caption(s, tint), table)


def _name(activity: str | None, ended: bool) -> str:
    if activity is not None:
        return touchpoint(activity)
    return say("no further step yet" if ended else "all others").striptags()


def _begin_title(s: Scene, table: Table, tint: bool) -> Markup:
    named = [i for i, r in enumerate(table.rows) if r["step"] == 1]
    best = max(named, key=lambda i: table.rows[i]["cases"])
    title = say(
        "{share} of {many} begin with {a}",
        share=table.show(best, "share"),
        many=s.many,
        a=table.rows[best]["path"],
    )
    if tint and table.rows[best]["answered"] is not None:
        title += say(
            "; {r} of them do something themselves in the {d} days after",
            r=table.show(best, "answered"),
            d=ANSWER_DAYS,
        )
    return title


def _begin_caption(s: Scene, tint: bool) -> Markup:
    text = say(
        "From left to right the first {n} events of {m} {many}; the taller, the more. ",
        n=DEPTH,
        m=write(s.traces.n_cases, "count"),
        many=s.many,
    )
    if tint:
        text += say(
            "The deeper the tint, the more are active within {d} days after the step: something they do, not "
            "something done to them. ",
            d=ANSWER_DAYS,
        )
    return text + say(
        "“All others”: steps of fewer than {k} {many} or under 2 % of all, together. The table names "
        "every box.",
        k=s.k,
        many=s.many,
    )


def flows(s: Scene) -> Figure | None:
    """Short Sankey of the first steps."""
    found = flow(s.traces, DEPTH, s.k, NAMES)
    others, ended = say("all others").striptags(), say("no further step yet").striptags()
    rows: list[dict[str, Any]] = []
    for d, counts in enumerate(found.counts, start=1):
        before = [*(touchpoint(n) for n in found.names[d - 1]), others]
        after = [*(touchpoint(n) for n in found.names[d]), others, ended]
        for i, a in enumerate(before):
            for j, b in enumerate(after):
                n = int(counts[i, j])
                if n >= max(s.k, 1):
                    row = {"step": d, "from": a, "to": b, "cases": n, "share": n / s.traces.n_cases}
                    rows.append(row)
    named = [i for i, r in enumerate(rows) if r["to"] not in (others, ended) and r["from"] != others]
    if not named:
        return None
    columns = (
        Column("step", "Step", "count"),
        Column("from", "From"),
        Column("to", "To next"),
        Column("cases", sentence_case(s.many), "count", bar=True),
        Column("share", "Share of all", "share"),
    )
    table = Table.of(
        "flows", "From one of the first steps to the next", columns, rows, "behavio report RUN --as csv"
    )
    words = sankeys.Words(
        label, others, ended, say(STEP, n="{n}").striptags(), lambda share: write(share, "share")
    )
    drawing = sankeys.sankey(found, words, s.kinds.hue, s.k, s.traces.n_cases)
    best = max(named, key=lambda i: rows[i]["cases"])
    title = say(
        "The broadest way among the first steps leads from {a} to {b}: {share} of {many}",
        a=rows[best]["from"],
        b=rows[best]["to"],
        share=table.show(best, "share"),
        many=s.many,
    )
    most = sorted(range(len(rows)), key=lambda i: -rows[i]["cases"])[:6]
    alt = "; ".join(
        f"{rows[i]['step']}: {rows[i]['from']} → {rows[i]['to']} {table.text(i, 'share')}" for i in most
    )
    caption = say(
        "The first {n} steps of {m} {many}, at most {x} names a step; a band is as thick as the {many} in "
        "it. Bands of fewer than {k} are not drawn. No further step yet: the journey may still go on.",
        n=len(found.names),
        m=write(s.traces.n_cases, "count"),
        many=s.many,
        x=NAMES,
        k=s.k,
    )
    return Figure(title, drawing, alt, caption, table, more=_flow_steps(s, found, others, ended))


def _flow_steps(s: Scene, found: Flow, others: str, ended: str) -> Table:
    """How many journeys stand at each name of each step."""
    rows = []
    for d, names in enumerate(found.names):
        said = [*(touchpoint(n) for n in names), others]
        sizes = [int(n) for n in found.sizes[d]]
        if d:
            said.append(ended)
            sizes.append(int(found.counts[d - 1][:, -1].sum()))
        rows += [
            {"step": d + 1, "activity": name, "cases": n, "share": n / s.traces.n_cases}
            for name, n in zip(said, sizes, strict=True)
            if n >= max(s.k, 1)
        ]
    columns = (
        Column("step", "Step", "count"),
        Column("activity", "What"),
        Column("cases", sentence_case(s.many), "count", bar=True),
        Column("share", "Share of all", "share"),
    )
    return Table.of(
        "flow_steps", "Where journeys stand at each step", columns, rows, "behavio report RUN --as csv"
    )


def over_time(s: Scene) -> tuple[Key, Figure] | None:
    """State distribution: what a week, or the time since the start, brings to all together."""
    if s.calendar.bins < 2 or not s.traces.timed or s.traces.n_cases < s.k:
        return None
    length = int(s.calendar.seconds * 1e6)
    found = states(s.traces, s.kind_of, len(s.kinds.names), s.origin, length, s.calendar.bins, max(s.k, 1))
    shares = [[0.0 if v != v else float(v) for v in row] for row in found]
    rows: list[dict[str, Any]] = []
    for i, row in enumerate(found):
        cells = {name: None if v != v else float(v) for name, v in zip(s.kinds.names, row, strict=True)}
        rows.append({"bin": i + 1, **cells, SILENCE: max(0.0, 1.0 - sum(shares[i]))})
    columns = (
        Column("bin", sentence_case(s.calendar.unit), "count"),
        *(Column(name, name, "share") for name in s.kinds.names),
        Column(SILENCE, s.quiet, "share"),
    )
    title_of_table = f"What {s.calendar.brings}, share of all {s.many}"
    table = Table.of("states", title_of_table, columns, rows, "behavio report RUN --as csv")
    active = 1 - sum(float(r[SILENCE]) for r in rows) / len(rows)
    loudest = max(range(len(s.kinds.names)), key=lambda i: sum(row[i] for row in shares))
    fact = s.facts.add(
        "active_in_a_bin",
        active,
        "share",
        f"{s.many} with an event in a {s.calendar.unit}, mean",
        n=len(rows),
    )
    title = say(
        "In an average {unit} {share} of {many} have an event, most often: {kind}",
        unit=s.calendar.unit,
        share=fact.shown,
        many=s.many,
        kind=touchpoint(s.kinds.names[loudest].lower()),
    )
    if s.calendar.relative:
        caption = say(
            "What {u} since the first event, share of all {many}.", u=s.calendar.brings, many=s.many
        )
    else:
        caption = say("What {u}, share of all {many}.", u=s.calendar.brings, many=s.many)
    caption += say(" Who has two kinds in one {unit} counts half for each.", unit=s.calendar.unit)
    key = Key((*((n, s.kinds.hues[n]) for n in s.kinds.names), (s.quiet, s.kinds.hues[SILENCE])))
    alt = title.striptags()
    drawing = weeks(shares, list(s.hues), s.ticks, "100\u00a0%")
    return key, Figure(title, drawing, alt, caption, table, "tall")
