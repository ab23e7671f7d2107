"""Short Sankey: at most five steps side by side, bands between them as thick as the journeys in them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from markupsafe import Markup

from behavio.report.charts.svg import for_widths, join, tag, text_width, wrapped
from behavio.report.traces import Flow

SIZES = ((916.0, 330.0, 5), (600.0, 330.0, 4), (340.0, 360.0, 3))
NODE, FONT, LINE, GAP, HEAD = 9.0, 12.0, 14.0, 12.0, 24.0


@dataclass(frozen=True, slots=True)
class Words:
    """How the parts are said."""

    name: Callable[[str], str]
    other: str
    ended: str
    step: str
    share: Callable[[float], str]


@dataclass(frozen=True, slots=True)
class _Node:
    x: float
    top: float
    height: float
    hue: str
    lines: tuple[str, ...]


def sankey(found: Flow, words: Words, hue: Callable[[str], str], k: int, total: int) -> Markup:
    """The drawing for three widths; what fewer than k journeys do is not drawn."""
    return for_widths(*(_draw(found, words, hue, k, total, *size) for size in SIZES))


def _draw(
    found: Flow,
    words: Words,
    hue: Callable[[str], str],
    k: int,
    total: int,
    width: float,
    height: float,
    depth: int,
) -> Markup:
    depth = min(depth, len(found.names))
    column = width / depth
    room = column - NODE - 14
    most = max(len(n) for n in found.names[:depth]) + 2
    scale = (height - most * GAP * 1.6) / max(total, 1)
    layers = [_layer(found, d, words, hue, k, total, d * column, room, scale) for d in range(depth)]
    tallest = max(n.top + max(n.height, LINE * len(n.lines)) for layer in layers for n in layer.values())
    shapes = [
        tag("text", words.step.format(n=d + 1), x=d * column, y=13, class_="t mut") for d in range(depth)
    ]
    shapes += [band for d in range(1, depth) for band in _bands(found, d, layers, k, scale)]
    for layer in layers:
        for node in layer.values():
            shapes.append(
                tag("rect", x=node.x, y=node.top, width=NODE, height=max(node.height, 1.0), fill=node.hue)
            )
            for i, line in enumerate(node.lines):
                shapes.append(
                    tag("text", line, x=node.x + NODE + 5, y=node.top + 11 + i * LINE, class_="t halo")
                )
    return tag(
        "svg",
        join(shapes),
        viewBox=f"0 0 {width:.0f} {tallest + 6:.0f}",
        class_="sankey",
        aria_hidden="true",
        focusable="false",
    )


def _layer(
    found: Flow,
    d: int,
    words: Words,
    hue: Callable[[str], str],
    k: int,
    total: int,
    x: float,
    room: float,
    scale: float,
) -> dict[int, _Node]:
    """Nodes of one step from top to bottom: names kept, all others, nothing further."""
    names = found.names[d]
    sizes = [int(n) for n in found.sizes[d]]
    said = [words.name(n) for n in names] + [words.other]
    hues = [hue(n) for n in names] + ["var(--hollow)"]
    if d:
        sizes.append(int(found.counts[d - 1][:, -1].sum()))
        said.append(words.ended)
        hues.append("var(--silence)")
    top, layer = HEAD, {}
    for i, n in enumerate(sizes):
        if n < k:
            continue
        lines = (*wrapped(said[i], room, FONT), words.share(n / max(total, 1)))
        if n * scale < LINE * 1.6 and text_width(" ".join(lines), FONT) <= room:
            lines = (" ".join(lines),)
        layer[i] = _Node(x, top, n * scale, hues[i], tuple(lines))
        top += max(n * scale, LINE * len(lines)) + GAP
    return layer


def _bands(found: Flow, d: int, layers: list[dict[int, _Node]], k: int, scale: float) -> list[Markup]:
    """Bands into step d; each leaves its node below the one before it."""
    out = {i: node.top for i, node in layers[d - 1].items()}
    into = {j: node.top for j, node in layers[d].items()}
    drawn = []
    for i, node in layers[d - 1].items():
        if i >= len(found.counts[d - 1]):  # nothing further: nothing leads on
            continue
        for j, other in layers[d].items():
            n = int(found.counts[d - 1][i, j])
            thick = n * scale
            if n >= k:
                a, b = out[i], into[j]
                x0, x1 = node.x + NODE, other.x
                middle = (x0 + x1) / 2
                shape = (
                    f"M{x0:.0f} {a:.1f}C{middle:.0f} {a:.1f} {middle:.0f} {b:.1f} {x1:.0f} {b:.1f}"
                    f"V{b + thick:.1f}C{middle:.0f} {b + thick:.1f} {middle:.0f} {a + thick:.1f} {x0:.0f} "
                    f"{a + thick:.1f}Z"
                )
                drawn.append(tag("path", d=shape, fill=node.hue, class_="band"))
            out[i] += thick
            into[j] += thick
    return drawn
