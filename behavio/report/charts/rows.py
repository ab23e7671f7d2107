"""Index plot of bands: a thin row a band of like journeys, a cell a bin, its hue what most of it did then."""

from __future__ import annotations

from collections.abc import Sequence

from markupsafe import Markup

from behavio.report.charts.svg import join, tag

DEPTHS = (0.3, 0.6, 1.0)
"""How deep a hue is drawn: a few of the band, many, most of it."""


def index_rows(
    rows: Sequence[Sequence[tuple[int, int]]],
    hues: Sequence[str],
    ticks: Sequence[tuple[float, str]],
    bins: int,
) -> Markup:
    """rows: the kind of each bin and its depth (a place in DEPTHS), (-1, 0) for none.

    Stretched to the page's width; labels are page text.
    """
    strokes: dict[tuple[int, int], list[str]] = {}
    for y, row in enumerate(rows):
        start = 0
        while start < len(row):
            end = start
            while end < len(row) and row[end] == row[start]:
                end += 1
            if row[start][0] >= 0:
                strokes.setdefault(row[start], []).append(f"M{start} {y}h{end - start}")
            start = end
    drawn = [
        tag("path", d="".join(parts), stroke=hues[kind], opacity=DEPTHS[depth])
        for (kind, depth), parts in sorted(strokes.items())
    ]
    drawing = tag(
        "svg",
        tag("g", join(drawn), transform="translate(0 .5)"),
        viewBox=f"0 0 {bins} {max(len(rows), 1)}",
        preserveAspectRatio="none",
        class_="index-rows",
        style=f"height:{max(len(rows), 1) * 7}px",
        aria_hidden="true",
        focusable="false",
    )
    marks, last = [], -1.0
    for place, label in ticks:
        left = place / bins
        if left - last < 0.095 or left > 1 - 0.076 * max(1.0, len(label) / 4):
            continue
        last = left
        marks.append(tag("span", label, style=f"left:{left * 100:.1f}%"))
    axis = tag("div", join(marks), class_="ticks")
    return tag("div", drawing, axis, class_="weeks", aria_hidden="true")
