"""Journey strip: one line, dots where the days fall, labels beneath where they fit."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from markupsafe import Markup

from behavio.report.charts.svg import for_widths, join, tag, text_width
from behavio.report.language import t

EDGE, RADIUS, TEXT, SAID = 9.0, 6.5, 12.0, 150.0
ROW, ROWS, LINES = 15, 6, 4
"""Height of a row of labels in px; most rows; most lines under one stack."""
SIZES = ((56, 916.0), (34, 600.0), (14, 320.0))
"""How many days with events fit on a drawing, and its width."""


@dataclass(frozen=True, slots=True)
class Dot:
    """One event of the journey: day from its start, what the label says, its hue."""

    day: float
    label: str
    hue: str


@dataclass(frozen=True, slots=True)
class Span:
    """What part of the journey a strip shows."""

    dots: tuple[Dot, ...]
    days: float
    hidden: int


def strip(dots: Sequence[Dot], hidden_note: str = "{n} more events follow") -> Markup:
    """The journey drawn for wide, middle and narrow pages; the narrower ones show the first stretch."""
    said = [replace(dot, label=t(dot.label)) for dot in dots]
    drawn = (_draw(fit(said, stacks), width, t(hidden_note)) for stacks, width in SIZES)
    return for_widths(*drawn)


def fit(dots: Sequence[Dot], stacks: int) -> Span:
    """As many whole days from the start as `stacks` places hold."""
    days = sorted({d.day for d in dots})
    if len(days) > stacks:
        days = days[:stacks]
    kept = tuple(d for d in dots if d.day <= days[-1]) if days else ()
    return Span(kept, days[-1] if days else 0.0, len(dots) - len(kept))


def _draw(span: Span, width: float, hidden_note: str) -> Markup:
    stacks = _stacks(span, width)
    tallest = max((len(s[1]) for s in stacks), default=1)
    base = 12 + (tallest - 1) * (2 * RADIUS + 1)
    shapes = [tag("line", x1=2, x2=width - 2, y1=base, y2=base, class_="axis")]
    for x, dots in stacks:
        for level, dot in enumerate(dots):
            y = base - level * (2 * RADIUS + 1)
            title = tag("title", t("{x}, day {n}").format(x=dot.label, n=round(dot.day)))
            shapes.append(tag("circle", title, cx=x, cy=y, r=RADIUS, fill=dot.hue, class_="dot"))
    labels, rows = _labels(stacks, width, base)
    shapes.extend(labels)
    height = base + 14 + rows * ROW
    if span.hidden:
        height += 16
        note = hidden_note.format(n=f"{span.hidden:,}")
        shapes.append(tag("text", note, x=width - 2, y=height - 4, class_="t mut", text_anchor="end"))
    return tag(
        "svg",
        join(shapes),
        viewBox=f"0 0 {width:.0f} {height:.0f}",
        class_="strip",
        aria_hidden="true",
        focusable="false",
    )


def _stacks(span: Span, width: float) -> list[tuple[float, list[Dot]]]:
    """Dots by place on the line; what would hide one another stands on each other, each kind once."""
    scale = (width - 2 * EDGE) / span.days if span.days else 0.0
    stacks: list[tuple[float, list[Dot]]] = []
    for dot in span.dots:
        x = EDGE + dot.day * scale if scale else EDGE
        if stacks and x - stacks[-1][0] < 2 * RADIUS:
            if all(d.label != dot.label for d in stacks[-1][1]):
                stacks[-1][1].append(dot)
        else:
            stacks.append((x, [dot]))
    return stacks


def _labels(stacks: Sequence[tuple[float, list[Dot]]], width: float, base: float) -> tuple[list[Markup], int]:
    """Labels beneath the dots, a line for each dot of a stack from the axis up, where they touch no other.

    A label that stands lower than the first row is led to its dots by a line. What names most new kinds
    comes first; what was said close by is not said again. Returns the shapes and how many rows of text
    there are.
    """
    taken: list[list[tuple[float, float]]] = [[] for _ in range(ROWS)]
    placed: list[tuple[float, float, tuple[str, ...], int]] = []
    for i in _most_new_first(stacks):
        x, dots = stacks[i]
        lines = tuple(d.label for d in dots[:LINES])
        if any(lines == said and abs(x - at) < SAID for at, _, said, _ in placed):
            continue
        half = max(text_width(line, TEXT) for line in lines) / 2
        middle = min(max(x, half + 1), width - half - 1)
        if abs(middle - x) > half:
            continue
        row = _free_row(taken, middle - half - 5, middle + half + 5, x, len(lines))
        if row is None:
            continue
        for k in range(len(lines)):
            taken[row + k].append((middle - half, middle + half))
        for k in range(row):
            taken[k].append((x - 1, x + 1))
        placed.append((x, middle, lines, row))
    shapes = []
    for x, middle, lines, row in sorted(placed):
        top = base + 22 + row * ROW
        if row:
            shapes.append(tag("line", x1=x, x2=x, y1=base + RADIUS + 2, y2=top - 11, class_="lead"))
        for k, line in enumerate(lines):
            shapes.append(tag("text", line, x=middle, y=top + k * ROW, class_="t", text_anchor="middle"))
    return shapes, max((row + len(lines) for _, _, lines, row in placed), default=1)


def _free_row(
    taken: Sequence[Sequence[tuple[float, float]]], low: float, high: float, x: float, lines: int
) -> int | None:
    """The first row from which so many lines touch nothing, with a free way down to it; else None."""
    for row in range(len(taken) - lines + 1):
        free = all(high < a or low > b for spans in taken[row : row + lines] for a, b in spans)
        if free:
            return row
        if any(a - 3 < x < b + 3 for a, b in taken[row]):  # the way down would cross a text
            return None
    return None


def _most_new_first(stacks: Sequence[tuple[float, list[Dot]]]) -> list[int]:
    """Stacks in the order their labels are placed: next is always the one with most kinds not yet named."""
    left = list(range(len(stacks)))
    named: set[str] = set()
    order: list[int] = []
    while left:
        i = max(left, key=lambda i: (len({d.label for d in stacks[i][1]} - named), -i))
        named |= {d.label for d in stacks[i][1]}
        order.append(i)
        left.remove(i)
    return order
