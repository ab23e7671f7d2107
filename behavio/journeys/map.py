"""The process map: a directly-follows graph drawn in layers, small enough to be read, as plain SVG."""

from __future__ import annotations

import re
from dataclasses import dataclass
from html import escape
from itertools import pairwise
from typing import Any

from behavio.journeys.choice import Choice, Link, Step, choose
from behavio.journeys.follows import DirectlyFollowsGraph
from behavio.journeys.layout import Drawing, Room, Size, layered

COLOURS = {
    "call_f2f": "#4477AA",
    "call_video": "#66CCEE",
    "call_phone": "#66CCEE",
    "reaction_": "#4477AA",
    "message_shown": "#4477AA",
    "email_sent": "#F3B6BE",
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
PAD, MARGIN = 10.0, 16.0
HARD = "\u00a0"
"""A space where no line may break."""
UNITS = ((1.0, "s", 60), (60.0, "min", 60), (3_600.0, "h", 24), (86_400.0, "d", 1_000_000))
"""Seconds, name, and how many make the next larger one."""

STYLE = """
.behavio-map{--m-ink:var(--ink,#1d2126);--m-muted:var(--muted,#6d6a63);--m-paper:var(--paper,#fbfaf7);
--m-line:var(--line,#dedad1);--m-accent:var(--accent,#1f5f8b);
font-family:system-ui,-apple-system,"Segoe UI",Roboto,"Helvetica Neue",Arial,sans-serif}
@media (prefers-color-scheme:dark){.behavio-map{--m-ink:var(--ink,#ece9e2);--m-muted:var(--muted,#a9a59c);
--m-paper:var(--paper,#16181b);--m-line:var(--line,#45484d);--m-accent:var(--accent,#7fb6dc)}}
.behavio-map .page{fill:var(--m-paper)}
.behavio-map .box{fill:var(--m-paper);stroke:var(--m-line)}
.behavio-map .name{fill:var(--m-ink);font-size:13px;font-weight:600}
.behavio-map .small{fill:var(--m-muted);font-size:11.5px;font-variant-numeric:tabular-nums}
.behavio-map .on{fill:none;stroke:var(--m-accent);stroke-opacity:.5}
.behavio-map .back{fill:none;stroke:var(--m-muted);stroke-opacity:.5}
.behavio-map .on-tip{fill:var(--m-accent)}
.behavio-map .back-tip{fill:var(--m-muted)}
""".strip().replace("\n", "")


def text_width(text: str, size: float, bold: bool = False) -> float:
    """A safe upper estimate of how wide a text is set, in px, whatever sans the reader has."""
    width = 0.0
    for letter in text:
        if letter in " .,:;|!'ijltfrI()[]·" + HARD:
            width += 0.4
        elif letter in "mwMW@%×→←↓↑":
            width += 0.95
        elif ord(letter) > 0x2E80:
            width += 1.3
        else:
            width += 0.72 if letter.isupper() else 0.63
    return width * size * (1.12 if bold else 1.0)


def wrap(text: str, width: float, size: float, bold: bool = False) -> list[str]:
    """The whole text in lines of at most `width` px; a word too long for a line is broken, never cut."""
    pieces: list[str] = []
    word = ""
    for letter in re.sub(r"[ \t\r\n]+", " ", text).strip() or "(no name)":
        if word and text_width(word + letter, size, bold) > width:
            pieces.append(word)
            word = ""
        word += letter
        if letter in " _-+/:;":
            pieces.append(word)
            word = ""
    lines = [""]
    for piece in [*pieces, word]:
        if lines[-1] and text_width((lines[-1] + piece).rstrip(" "), size, bold) > width:
            lines.append("")
        lines[-1] += piece
    return [line.strip(" ") for line in lines if line.strip(" ")]


def span(seconds: float | None) -> str:
    """A duration in the unit people would say it in; "" when unknown."""
    if seconds is None or seconds != seconds:
        return ""
    if seconds < 1:
        return f"<{HARD}1{HARD}s" if seconds > 0 else f"same{HARD}time"
    size, unit, _ = next((u for u in UNITS if seconds < 1.5 * u[0] * u[2]), UNITS[-1])
    value = seconds / size
    plain = value >= 9.95 or round(value % 1, 1) in (0, 1)
    return f"{value:,.0f}{HARD}{unit}" if plain else f"{value:.1f}{HARD}{unit}"


def percent(share: float) -> str:
    """A share in whole per cent."""
    return f"<{HARD}1{HARD}%" if 0 < share < 0.005 else f"{share * 100:.0f}{HARD}%"


def touchpoint_colour(activity: str) -> str:
    """Hue of a known touchpoint, grey for any other activity."""
    fitting = [p for p in COLOURS if activity.lower().startswith(p)]
    return COLOURS[max(fitting, key=len)] if fitting else "#8C887F"


@dataclass(frozen=True, slots=True)
class Sheet:
    """A drawing on its way to the page: layers run across it or down it."""

    graph: DirectlyFollowsGraph
    choice: Choice
    drawing: Drawing
    across: bool
    boxes: list[tuple[list[str], Size]]

    @property
    def extent(self) -> Size:
        """Width and height in px."""
        return self.drawing.extent if self.across else self.drawing.extent[::-1]

    def at(self, point: Size) -> Size:
        """A point of the drawing as x and y."""
        x, y = point if self.across else point[::-1]
        return round(x + MARGIN, 1), round(y + MARGIN, 1)


def process_map(
    graph: DirectlyFollowsGraph, max_nodes: int = 12, width: int | None = None, *, noted: bool = True
) -> str:
    """The map as one SVG element.

    width  px the drawing may take; layers run from left to right where that fits and from top to bottom
           where it does not. None draws from left to right, as wide as it gets.
    noted  activities and steps that are left out are counted in the last line.
    Colours follow the page's variables
    --ink, --muted, --paper, --line and --accent where they are set.
    """
    sheet = _sheet(graph, choose(graph, max_nodes), width)
    page = max(sheet.extent[0] + 2 * MARGIN, 320.0)
    notes = wrap(_note(graph, sheet.choice), page - 2 * MARGIN, SMALL) if noted else []
    foot = sheet.extent[1] + 2 * MARGIN + 14
    tall = foot + len(notes) * SMALL_LINE
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" class="behavio-map" role="img" width="{page:.0f}" '
        f'height="{tall:.0f}" viewBox="0 0 {page:.0f} {tall:.0f}" '
        f'aria-label="{_clean(_alternative(graph, sheet.choice))}">',
        f"<style>{STYLE}</style>",
        f'<rect class="page" width="{page:.0f}" height="{tall:.0f}"/>',
        *_links_svg(sheet),
    ]
    for i, (lines, size) in enumerate(sheet.boxes):
        parts.append(_box_svg(sheet.choice.names[i], lines, sheet.at(sheet.drawing.boxes[i]), size))
    for k, text in enumerate(notes):
        parts.append(_text_svg("small", MARGIN, foot + k * SMALL_LINE, text))
    return "\n".join([*parts, "</svg>\n"])


def _sheet(graph: DirectlyFollowsGraph, choice: Choice, width: int | None) -> Sheet:
    """The widest boxes that fit, layers across the page if possible."""
    tries = [(True, 210.0), (True, 168.0), (True, 136.0), (False, 210.0), (False, 168.0), (False, 124.0)]
    sheets = []
    rows = {row["activity"]: row for row in graph.activities.iter_rows(named=True)}
    for across, box_width in [(True, 188.0)] if width is None else tries:
        boxes = [_box(graph, rows[choice.names[i]], choice, i, box_width) for i in range(len(choice.names))]
        nodes = [size if across else size[::-1] for _, size in boxes]
        labels = [_label_room(link, across) for link in choice.links]
        edges = [(link.first, link.second) for link in choice.links]
        sheet = Sheet(graph, choice, layered(nodes, edges, labels, choice.order), across, boxes)
        if width is not None and sheet.extent[0] + 2 * MARGIN <= width:
            return sheet
        sheets.append(sheet)
    return min(sheets, key=lambda s: s.extent[0])


def _step_text(step: Step) -> str:
    time = span(step.median_s)
    return f"{step.frequency:,}" + (f" · {time}" if time else "")


def _label(link: Link, across: bool) -> list[str]:
    """One text for each direction; with both, arrows say which is which."""
    on, back = ("→", "←") if across else ("↓", "↑")
    if link.there is not None and link.back is not None:
        return [f"{_step_text(link.there)} {on}", f"{back} {_step_text(link.back)}"]
    return [_step_text(step) for step in (link.there, link.back) if step is not None]


def _label_room(link: Link, across: bool) -> Room:
    texts = _label(link, across)
    wide = max(text_width(text, SMALL) for text in texts)
    if across:  # the first text stands above the line, the second below
        return wide + 10, SMALL_LINE + 4, SMALL_LINE + 4 if len(texts) == 2 else 4.0
    return SMALL_LINE * len(texts) + 4, 4.0, wide + 12  # texts stand right of the line


def _box(
    graph: DirectlyFollowsGraph, row: dict[str, Any], choice: Choice, i: int, width: float
) -> tuple[list[str], Size]:
    """Lines of a box (those of the name start with a tab) and its size in px; row: the activity's own."""
    name = choice.names[i]
    n = max(graph.n_cases, 1)
    notes = [f"{row['cases']:,}{HARD}cases · {percent(row['cases'] / n)}"]
    if row["starts"] / n >= 0.05:
        notes.append(f"first for {percent(row['starts'] / n)}")
    if row["last_seen"] / n >= 0.05:
        notes.append(f"last seen for {percent(row['last_seen'] / n)}")
    if i in choice.loops:
        loop = choice.loops[i]
        apart = span(loop.median_s)
        notes.append(f"repeated {loop.frequency:,}×" + (f" · {apart}" if apart else ""))
    inner = width - 2 * PAD - 5
    lines = ["\t" + line for line in wrap(name, inner, NAME, bold=True)]
    lines += [line for note in notes for line in wrap(note, inner, SMALL)]
    height = sum(NAME_LINE if line[0] == "\t" else SMALL_LINE for line in lines) + 2 * PAD - 4
    return lines, (width, height)


def _note(graph: DirectlyFollowsGraph, choice: Choice) -> str:
    total = int(graph.edges["frequency"].sum())
    drawn = (
        f"Drawn: {len(choice.names):,} of {graph.activities.height:,} activities and {choice.n_edges:,} of "
        f"{graph.edges.height:,} different steps. "
    )
    if graph.edges.height > choice.n_edges:
        drawn += (
            f"They hold {percent(choice.share)} of all {total:,} steps; {percent(1 - choice.share)} hidden. "
        )
    times = " · median time between" if graph.timed else ""
    grey = "; grey lines lead back" if any(link.there is None for link in choice.links) else ""
    return f"{drawn}On a line: how often{times}{grey}."


def _alternative(graph: DirectlyFollowsGraph, choice: Choice) -> str:
    steps = [
        (step.frequency, choice.names[a], choice.names[b])
        for link in choice.links
        for a, b, step in (
            (link.first, link.second, link.there),
            (link.second, link.first, link.back),
        )
        if step is not None
    ]
    said = "; ".join(f"{a} to {b} {n:,} times" for n, a, b in sorted(steps, key=lambda s: -s[0])[:3])
    return (
        f"Process map of {graph.n_cases:,} cases. Strongest steps: {said or 'none'}. {_note(graph, choice)}"
    )


def _clean(text: str) -> str:
    """Text as XML may hold it."""
    legal = re.sub(
        r"[^\t\n\r\x20-\uD7FF\uE000-\uFFFD\U00010000-\U0010FFFF]", "\N{REPLACEMENT CHARACTER}", text
    )
    return escape(legal)


def _text_svg(kind: str, x: float, y: float, text: str, anchor: str = "") -> str:
    middle = ' text-anchor="middle"' if anchor else ""
    return f'<text class="{kind}"{middle} x="{x:g}" y="{y:g}">{_clean(text)}</text>'


def _links_svg(sheet: Sheet) -> list[str]:
    """Lines first, then their texts, so that a text always lies on top."""
    lines, texts = [], []
    most = max((link.frequency for link in sheet.choice.links), default=1)
    for link, line, place in zip(sheet.choice.links, sheet.drawing.lines, sheet.drawing.labels, strict=True):
        thick = 1.2 + 5.3 * (link.frequency / most) ** 0.5
        lines.append(_line_svg([sheet.at(p) for p in line], sheet.across, thick, link))
        x, y = sheet.at(place)
        label = _label(link, sheet.across)
        room = thick / 2
        if sheet.across:
            texts.append(_text_svg("small", x, y - room - 3.5, label[0], "middle"))
            if len(label) == 2:
                texts.append(_text_svg("small", x, y + room + 11.5, label[1], "middle"))
        else:
            top = y + 4 - SMALL_LINE * (len(label) - 1) / 2
            for k, text in enumerate(label):
                texts.append(_text_svg("small", x + room + 5, top + k * SMALL_LINE, text))
    return lines + texts


def _line_svg(points: list[Size], across: bool, thick: float, link: Link) -> str:
    """A curve through the points, straight inside layers, with a head for each direction that is drawn."""
    kind = "on" if link.there is not None else "back"
    tip = 5.0 + thick * 0.9
    heads = []
    ends = list(points)
    for wanted, place, beside, sign in ((link.there, -1, -2, 1.0), (link.back, 0, 1, -1.0)):
        if wanted is None:
            continue
        x, y = points[place]
        neck = (x - sign * tip, y) if across else (x, y - sign * tip)
        wing = tip * 0.55
        sides = [(neck[0], y - wing), (neck[0], y + wing)]
        if not across:
            sides = [(x - wing, neck[1]), (x + wing, neck[1])]
        corners = " ".join(f"{u:.1f},{v:.1f}" for u, v in [(x, y), *sides])
        heads.append(f'<polygon class="{kind}-tip" points="{corners}"/>')
        ends[place] = neck
        along = 0 if across else 1
        if sign * (points[beside][along] - neck[along]) > 0:
            ends[beside] = neck
    path = [f"M{ends[0][0]:.1f} {ends[0][1]:.1f}"]
    for k, (a, b) in enumerate(pairwise(ends)):
        if k % 2 == 0:
            path.append(f"L{b[0]:.1f} {b[1]:.1f}")
        elif across:
            middle = (a[0] + b[0]) / 2
            path.append(f"C{middle:.1f} {a[1]:.1f} {middle:.1f} {b[1]:.1f} {b[0]:.1f} {b[1]:.1f}")
        else:
            middle = (a[1] + b[1]) / 2
            path.append(f"C{a[0]:.1f} {middle:.1f} {b[0]:.1f} {middle:.1f} {b[0]:.1f} {b[1]:.1f}")
    return f'<path class="{kind}" stroke-width="{thick:.1f}" d="{"".join(path)}"/>{"".join(heads)}'


def _box_svg(name: str, lines: list[str], place: Size, size: Size) -> str:
    x, y = place[0] - size[0] / 2, place[1] - size[1] / 2
    box = f'x="{x:g}" y="{y:g}" height="{size[1]:g}"'
    parts = [
        f"<g><title>{_clean(name)}</title>",
        f'<rect class="box" {box} width="{size[0]:g}" rx="3"/>',
        f'<rect {box} width="5" fill="{touchpoint_colour(name)}"/>',
    ]
    top = y + PAD - 4
    for line in lines:
        kind, step = ("name", NAME_LINE) if line[0] == "\t" else ("small", SMALL_LINE)
        top += step
        parts.append(_text_svg(kind, x + PAD + 5, top - 2, line.lstrip("\t")))
    return "".join([*parts, "</g>"])
