"""The process map: a directly-follows graph drawn in layers, small enough to be read, as plain SVG."""

from __future__ import annotations

from dataclasses import dataclass
from html import escape
from itertools import pairwise

import polars as pl

from behavio.journeys.graph import DirectlyFollowsGraph
from behavio.journeys.layout import Drawing, Size, forward_order, layered

COLOURS = {
    "call_f2f": "#4477AA",
    "call_video": "#66CCEE",
    "call_phone": "#66CCEE",
    "reaction_": "#4477AA",
    "message_shown": "#4477AA",
    "email_sent": "#F3B6BE",
    "email_open": "#EE6677",
    "email_click": "#B8344A",
    "email_": "#EE6677",
    "portal_": "#228833",
    "event_": "#CCBB44",
    "sample": "#AA3377",
}
"""Fixed hue of a known touchpoint, by the longest prefix that fits."""

NAME, SMALL = 13.0, 11.5
"""Font sizes in px; nothing is set smaller than 11."""
NAME_LINE, SMALL_LINE = 17.0, 15.0
NODE_WIDTH = 168.0
PAD = 10.0
MARGIN = 16.0

STYLE = """
.behavio-map{--m-ink:var(--ink,#1d2126);--m-muted:var(--muted,#6d6a63);--m-paper:var(--paper,#fbfaf7);
--m-line:var(--line,#dedad1);--m-accent:var(--accent,#1f5f8b);
font-family:system-ui,-apple-system,"Segoe UI",Roboto,"Helvetica Neue",Arial,sans-serif}
@media (prefers-color-scheme:dark){.behavio-map{--m-ink:var(--ink,#ece9e2);--m-muted:var(--muted,#a9a59c);
--m-paper:var(--paper,#16181b);--m-line:var(--line,#3a3c40);--m-accent:var(--accent,#7fb6dc)}}
.behavio-map .page{fill:var(--m-paper)}.behavio-map .box{fill:var(--m-paper);stroke:var(--m-line)}
.behavio-map .name{fill:var(--m-ink);font-size:13px;font-weight:600}
.behavio-map .small{fill:var(--m-muted);font-size:11.5px;font-variant-numeric:tabular-nums}
.behavio-map .on{fill:none;stroke:var(--m-accent);stroke-opacity:.55;stroke-linecap:round}
.behavio-map .back{fill:none;stroke:var(--m-muted);stroke-opacity:.55;stroke-linecap:round}
.behavio-map .tip{fill:var(--m-accent)}.behavio-map .back-tip{fill:var(--m-muted)}
""".strip().replace("\n", "")


@dataclass(frozen=True, slots=True)
class Selection:
    """What of a graph is drawn, and how much of it that is."""

    names: list[str]
    edges: list[tuple[int, int]]
    frequency: list[int]
    median_s: list[float | None]
    loops: dict[int, tuple[int, float | None]]
    share: float  # of all steps
    n_edges: int  # different steps drawn, loops included


def text_width(text: str, size: float) -> float:
    """A safe upper estimate of how wide a text is set, in px."""
    width = 0.0
    for letter in text:
        if letter in " .,:;|!'ijltfrI()[]·":
            width += 0.34
        elif letter in "mwMW@%×":
            width += 0.95
        elif ord(letter) > 0x2E80:
            width += 1.3
        elif letter.isupper():
            width += 0.72
        else:
            width += 0.59
    return width * size


def wrap(name: str, width: float, size: float) -> list[str]:
    """The whole name in lines of at most `width` px; a word too long for a line is broken, never cut."""
    pieces: list[str] = []
    word = ""
    for letter in " ".join(name.split()) or "(no name)":
        word += letter
        if letter in " _-+/:.,;" or text_width(word, size) > width - size:
            pieces.append(word)
            word = ""
    lines = [""]
    for piece in [*pieces, word]:
        if lines[-1] and text_width((lines[-1] + piece).rstrip(), size) > width:
            lines.append("")
        lines[-1] += piece
    return [line.strip() for line in lines if line.strip()]


def span(seconds: float | None) -> str:
    """A duration in the unit people would say it in; "" when unknown."""
    if seconds is None or seconds != seconds:
        return ""
    for limit, unit, size in ((60, "s", 1), (3_600, "min", 60), (86_400, "h", 3_600), (6e7, "d", 86_400)):
        if seconds < limit * 1.5 or unit == "d":
            value = seconds / size
            if value < 1 and unit == "s":
                return "< 1 s" if value else "0 s"
            return f"{value:.1f} {unit}" if value < 9.95 and value % 1 >= 0.05 else f"{value:,.0f} {unit}"
    raise AssertionError


def select(graph: DirectlyFollowsGraph, max_nodes: int) -> Selection:
    """The activities most cases meet, and the steps between them that are needed or carry most.

    Kept are, first, the strongest ways by which every activity is reached and left; then the strongest other
    steps, up to two per activity or 95 % of what runs between the activities.
    """
    top = graph.activities.sort("cases", "frequency", "activity", descending=[True, True, False])
    names = top["activity"].head(max_nodes).to_list()
    index = {name: i for i, name in enumerate(names)}
    inner = graph.edges.filter(pl.col("source").is_in(names) & pl.col("target").is_in(names))
    rows = [(index[r[0]], index[r[1]], r[2], r[3]) for r in inner.select(*PICKED).iter_rows()]
    loops = {a: (n, time) for a, b, n, time in rows if a == b}
    between = [row for row in rows if row[0] != row[1]]
    starts = dict(zip(top["activity"], top["starts"], strict=True))
    weight = {(a, b): n for a, b, n, _ in between}
    kept = _spanning([starts[n] for n in names], weight)
    carried, goal = sum(weight[e] for e in kept), 0.95 * sum(weight.values())
    for a, b, n, _ in between:
        if len(kept) >= 2 * len(names) or carried >= goal:
            break
        if (a, b) not in kept:
            kept.add((a, b))
            carried += n
    drawn = [row for row in between if row[:2] in kept]
    shown = sum(n for _, _, n, _ in drawn) + sum(n for n, _ in loops.values())
    return Selection(
        names=names,
        edges=[(a, b) for a, b, _, _ in drawn],
        frequency=[n for _, _, n, _ in drawn],
        median_s=[time for _, _, _, time in drawn],
        loops=loops,
        share=shown / max(int(graph.edges["frequency"].sum()), 1),
        n_edges=len(drawn) + len(loops),
    )


PICKED = ("source", "target", "frequency", "median_s")


def _spanning(starts: list[int], weight: dict[tuple[int, int], int]) -> set[tuple[int, int]]:
    """Strongest edges by which every node is reached from where cases start, and each one's strongest way on.

    Nodes are reached one by one, always over the strongest step from what is already reached (Prim).
    """
    kept: set[tuple[int, int]] = set()
    reached = {max(range(len(starts)), key=lambda i: (starts[i], -i))} if starts else set()
    while len(reached) < len(starts):
        out = [(n, -a, -b) for (a, b), n in weight.items() if a in reached and b not in reached]
        left = [i for i in range(len(starts)) if i not in reached]
        begin = max(left, key=lambda i: (starts[i], -i))
        if (out and max(out)[0] >= starts[begin]) or (out and starts[begin] == 0):
            _, a, b = max(out)
            kept.add((-a, -b))
            reached.add(-b)
        else:
            reached.add(begin)
    for i in range(len(starts)):
        on = [(n, -b) for (a, b), n in weight.items() if a == i]
        if on:
            kept.add((i, -max(on)[1]))
    return kept


def process_map(graph: DirectlyFollowsGraph, max_nodes: int = 12, width: int | None = None) -> str:
    """The map as one SVG element.

    width  px the drawing may take; layers run from left to right where that fits and from top to bottom
           where it does not. None draws from left to right, as wide as it gets.
    Activities and steps that are left out are counted in the last line. Colours follow the page's variables
    --ink, --muted, --paper, --line, --accent where they are set.
    """
    chosen = select(graph, max_nodes)
    drawing, across, node_width = _lay_out(graph, chosen, width)
    return _svg(graph, chosen, drawing, across, node_width, width)


def _lay_out(
    graph: DirectlyFollowsGraph, chosen: Selection, width: int | None
) -> tuple[Drawing, bool, float]:
    """The drawing, whether layers run across the page, and the width of a box."""
    stats = {row["activity"]: row for row in graph.activities.iter_rows(named=True)}
    pull = [float(stats[n]["starts"] - stats[n]["last_seen"]) for n in chosen.names]
    order = forward_order(len(chosen.names), chosen.edges, [float(n) for n in chosen.frequency], pull)
    tried = []
    for across, node_width in ((True, NODE_WIDTH), (True, 132.0), (False, NODE_WIDTH), (False, 120.0)):
        boxes = [_box(graph, chosen, i, node_width)[1] for i in range(len(chosen.names))]
        labels = [_label_size(_label(chosen, e)) for e in range(len(chosen.edges))]
        if not across:
            boxes, labels = [b[::-1] for b in boxes], [(b[1], b[0] + 8) for b in labels]
        drawing = layered(boxes, chosen.edges, labels, order)
        wide = drawing.extent[0 if across else 1] + 2 * MARGIN
        if width is None or wide <= width:
            return drawing, across, node_width
        tried.append((wide, len(tried), drawing, across, node_width))
    _, _, drawing, across, node_width = min(tried, key=lambda t: t[:2])
    return drawing, across, node_width


def _label(chosen: Selection, e: int) -> str:
    time = span(chosen.median_s[e])
    return f"{chosen.frequency[e]:,}" + (f" · {time}" if time else "")


def _label_size(text: str) -> Size:
    return text_width(text, SMALL) + 8, SMALL_LINE + 7


def _box(graph: DirectlyFollowsGraph, chosen: Selection, i: int, width: float) -> tuple[list[str], Size]:
    """Lines of a node (name lines first, each marked by a tab) and its size."""
    name = chosen.names[i]
    row = graph.activities.row(by_predicate=pl.col("activity") == name, named=True)
    n = max(graph.n_cases, 1)
    notes = [f"{row['cases']:,} cases · {_percent(row['cases'] / n)}"]
    if row["starts"] / n >= 0.05:
        notes.append(f"first for {_percent(row['starts'] / n)}")
    if row["last_seen"] / n >= 0.05:
        notes.append(f"last seen for {_percent(row['last_seen'] / n)}")
    if i in chosen.loops:
        count, time = chosen.loops[i]
        notes.append(f"again at once {count:,}×" + (f" · {span(time)}" if span(time) else ""))
    inner = width - 2 * PAD - 6
    lines = ["\t" + line for line in wrap(name, inner, NAME)]
    lines += [line for note in notes for line in wrap(note, inner, SMALL)]
    height = sum(NAME_LINE if line[0] == "\t" else SMALL_LINE for line in lines) + 2 * PAD - 4
    return lines, (width, height)


def _percent(share: float) -> str:
    return "< 1 %" if 0 < share < 0.005 else f"{share * 100:.0f} %"


def touchpoint_colour(activity: str) -> str:
    """Hue of a known touchpoint, grey for any other activity."""
    fitting = [p for p in COLOURS if activity.lower().startswith(p)]
    return COLOURS[max(fitting, key=len)] if fitting else "#8C887F"


def _svg(
    graph: DirectlyFollowsGraph,
    chosen: Selection,
    drawing: Drawing,
    across: bool,
    node_width: float,
    width: int | None,
) -> str:
    wide, high = drawing.extent if across else drawing.extent[::-1]
    note = _note(graph, chosen)
    page = max(wide + 2 * MARGIN, 320.0 if width is None else 0.0)
    notes = wrap(note, page - 2 * MARGIN, SMALL)
    tall = high + 2 * MARGIN + 12 + len(notes) * SMALL_LINE
    left = (page - wide) / 2

    def at(point: Size) -> Size:
        u, v = point if across else point[::-1]
        return round(u + left, 1), round(v + MARGIN, 1)

    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" class="behavio-map" role="img" viewBox="0 0 {page:.0f} {tall:.0f}"'
        f' width="{page:.0f}" height="{tall:.0f}" aria-label="{escape(_alternative(graph, chosen))}">',
        f"<style>{STYLE}</style>",
        f'<rect class="page" width="{page:.0f}" height="{tall:.0f}"/>',
    ]
    most = max(chosen.frequency, default=1)
    for e, line in enumerate(drawing.lines):
        thick = 1.2 + 5.3 * (chosen.frequency[e] / most) ** 0.5
        back = line[0][0] > line[-1][0]
        parts.append(_line([at(p) for p in line], across, thick, back))
    for e, place in enumerate(drawing.labels):
        parts.append(_edge_text(_label(chosen, e), at(place), across))
    for i, place in enumerate(drawing.boxes):
        lines, size = _box(graph, chosen, i, node_width)
        parts.append(_node(chosen.names[i], lines, at(place), size))
    for k, text in enumerate(notes):
        y = high + 2 * MARGIN + 12 + k * SMALL_LINE
        parts.append(f'<text class="small" x="{MARGIN:.0f}" y="{y:.1f}">{escape(text)}</text>')
    return "\n".join([*parts, "</svg>\n"])


def _note(graph: DirectlyFollowsGraph, chosen: Selection) -> str:
    times = " · median time between" if graph.timed else ""
    hidden = (
        f"{_percent(1 - chosen.share)} of all {int(graph.edges['frequency'].sum()):,} steps are not drawn: "
        if graph.edges.height > chosen.n_edges
        else f"Every step of {graph.n_cases:,} cases is drawn: "
    )
    return (
        f"{hidden}{len(chosen.names):,} of {graph.activities.height:,} activities and {chosen.n_edges:,} of "
        f"{graph.edges.height:,} different steps shown. On a line: how often{times}; grey lines lead back."
    )


def _alternative(graph: DirectlyFollowsGraph, chosen: Selection) -> str:
    strongest = sorted(zip(chosen.frequency, chosen.edges, strict=True), key=lambda t: (-t[0], t[1]))[:3]
    said = "; ".join(f"{chosen.names[a]} to {chosen.names[b]} {n:,} times" for n, (a, b) in strongest)
    return (
        f"Process map of {graph.n_cases:,} cases. Strongest steps: {said or 'none'}. {_note(graph, chosen)}"
    )


def _line(points: list[Size], across: bool, thick: float, back: bool) -> str:
    """A curve through the points, straight inside layers, and its arrow head."""
    (x0, y0), (x1, y1) = points[-2], points[-1]
    tip = 5.0 + thick * 0.9
    sign = -1.0 if back else 1.0
    neck = (x1 - sign * tip, y1) if across else (x1, y1 - sign * tip)
    path = [f"M{points[0][0]:g} {points[0][1]:g}"]
    for k, (a, b) in enumerate(pairwise([*points[:-1], neck])):
        if k % 2:
            path.append(f"L{b[0]:g} {b[1]:g}")
        elif across:
            middle = (a[0] + b[0]) / 2
            path.append(f"C{middle:g} {a[1]:g} {middle:g} {b[1]:g} {b[0]:g} {b[1]:g}")
        else:
            middle = (a[1] + b[1]) / 2
            path.append(f"C{a[0]:g} {middle:g} {b[0]:g} {middle:g} {b[0]:g} {b[1]:g}")
    half = tip * 0.55
    sides = (
        [(neck[0], y1 - half), (neck[0], y1 + half)]
        if across
        else [(x1 - half, neck[1]), (x1 + half, neck[1])]
    )
    head = " ".join(f"{x:g},{y:g}" for x, y in [(x1, y1), *sides])
    kind = "back" if back else "on"
    tip_kind = "back-tip" if back else "tip"
    return (
        f'<path class="{kind}" stroke-width="{thick:.1f}" d="{"".join(path)}"/>'
        f'<polygon class="{tip_kind}" points="{head}"/>'
    )


def _edge_text(text: str, place: Size, across: bool) -> str:
    """The label above its line, or right of it when layers run down."""
    x, y = place
    if across:
        return f'<text class="small" text-anchor="middle" x="{x:g}" y="{y - 5:g}">{escape(text)}</text>'
    return f'<text class="small" x="{x + 7:g}" y="{y + 4:g}">{escape(text)}</text>'


def _node(name: str, lines: list[str], place: Size, size: Size) -> str:
    x, y = place[0] - size[0] / 2, place[1] - size[1] / 2
    parts = [
        f'<g><title>{escape(name)}</title><rect class="box" x="{x:g}" y="{y:g}" width="{size[0]:g}" '
        f'height="{size[1]:g}" rx="3"/><rect x="{x:g}" y="{y:g}" width="5" height="{size[1]:g}" '
        f'fill="{touchpoint_colour(name)}"/>'
    ]
    top = y + PAD - 4
    for line in lines:
        kind, step = ("name", NAME_LINE) if line[0] == "\t" else ("small", SMALL_LINE)
        top += step
        parts.append(
            f'<text class="{kind}" x="{x + PAD + 5:g}" y="{top - 2:g}">{escape(line.strip())}</text>'
        )
    return "".join([*parts, "</g>"])
