"""Icicle of the first steps: columns from left to right, height = share, deeper tint = more answers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from markupsafe import Markup

from behavio.report.charts.svg import for_widths, join, tag, text_width, wrapped
from behavio.report.traces import Node

SIZES = ((916.0, 420.0, 5), (600.0, 420.0, 4), (340.0, 460.0, 3))
"""Width, height and how many steps of the drawings for wide, middle and narrow pages."""
LINE, FONT, HEAD = 15.0, 12.0, 22.0


@dataclass(frozen=True, slots=True)
class Words:
    """How nodes are said: the name of an activity, of all others, of no further event, and a share."""

    name: Callable[[str], str]
    other: str
    ended: str
    step: str
    share: Callable[[float], str]
    answered: Callable[[float], str]


@dataclass(frozen=True, slots=True)
class _Spot:
    node: Node
    depth: int
    top: float
    height: float


def icicle(tree: Node, words: Words, hue: Callable[[str], str], k: int, tint: bool) -> Markup:
    """The drawing for three widths. tint: shares of answers are known and shade the boxes."""
    return for_widths(*(_draw(tree, words, hue, k, tint, *size) for size in SIZES))


def _draw(
    tree: Node,
    words: Words,
    hue: Callable[[str], str],
    k: int,
    tint: bool,
    width: float,
    height: float,
    depth: int,
) -> Markup:
    column = width / depth
    spots = _spots(tree, 0, HEAD, height, depth)
    told = [s.node.answered / s.node.n for s in spots if s.node.n >= k and not s.node.ended]
    low, high = min(told, default=0.0), max(told, default=1.0)
    shapes = [
        tag("text", words.step.format(n=d + 1), x=d * column + 9, y=13, class_="t mut") for d in range(depth)
    ]
    for spot in spots:
        shapes.append(_box(spot, words, hue, k, (low, high) if tint else None, column, tree.n))
    return tag(
        "svg",
        join(shapes),
        viewBox=f"0 0 {width:.0f} {height + HEAD:.0f}",
        class_="icicle",
        aria_hidden="true",
        focusable="false",
    )


def _spots(node: Node, depth: int, top: float, height: float, most: int) -> list[_Spot]:
    if depth == most:
        return []
    found: list[_Spot] = []
    for child in node.children:
        tall = height * child.n / max(node.n, 1)
        found.append(_Spot(child, depth, top, tall))
        found.extend(_spots(child, depth + 1, top, tall, most))
        top += tall
    return found


def _box(
    spot: _Spot,
    words: Words,
    hue: Callable[[str], str],
    k: int,
    tint: tuple[float, float] | None,
    column: float,
    total: int,
) -> Markup:
    node, x = spot.node, spot.depth * column
    name = words.ended if node.ended else words.other if node.activity is None else words.name(node.activity)
    few = node.n < k
    share = words.share(node.n / max(total, 1)) if not few else ""
    answered = "" if node.ended or few or tint is None else words.answered(node.answered / max(node.n, 1))
    inner = column - 1.5
    tall = max(spot.height - 1.0, 0.4)
    parts = [tag("title", ", ".join(p for p in (name, share, answered) if p))]
    kind = "quiet" if node.ended else "box"
    parts.append(tag("rect", x=x, y=spot.top, width=inner, height=tall, class_=kind))
    if tint is not None and not node.ended and not few:
        low, high = tint
        depth = 0.06 + 0.38 * (node.answered / max(node.n, 1) - low) / ((high - low) or 1.0)
        parts.append(
            tag(
                "rect",
                x=x,
                y=spot.top,
                width=inner,
                height=tall,
                class_="tint",
                fill_opacity=round(depth, 2).__str__(),
            )
        )
    if node.activity is not None:
        parts.append(
            tag("rect", x=x, y=spot.top, width=4.0, height=tall, fill=hue(node.activity), class_="edge")
        )
    parts.extend(_said([name, share, answered], x + 9, spot.top, spot.height, inner - 13))
    return tag("g", join(parts))


def _said(said: list[str], x: float, top: float, height: float, width: float) -> list[Markup]:
    """As much of a label as stands in the box, a name never cut: name, share, then answers."""
    name, share, answered = said
    tries: list[list[str]] = []
    for rest in ([share, answered], [share], []):
        there = [r for r in rest if r]
        tries.append([" · ".join([name, *there])])
        if there:
            tries += [[name, " · ".join(there)], [name, *there]]
    words = wrapped(name, width, FONT)
    tries += [[*words, share] if share else words, words]
    for lines in tries:
        if height >= LINE * len(lines) + 1 and all(text_width(t, FONT) <= width for t in lines):
            y = top + min(height / 2 - LINE * len(lines) / 2, 8.0) + 12
            return [
                tag("text", line, x=x, y=y + i * LINE, class_="t" if i == 0 else "t soft")
                for i, line in enumerate(lines)
            ]
    return []
