"""What a week brings: stacked shares over time, stretched to any width; labels are page text."""

from __future__ import annotations

from collections.abc import Sequence

from markupsafe import Markup

from behavio.report.charts.svg import join, tag

TICK_ROOM = 0.095


def weeks(
    shares: Sequence[Sequence[float]], hues: Sequence[str], ticks: Sequence[tuple[float, str]], top: str
) -> Markup:
    """Columns of shares (bin × kind, from the bottom up); what is missing to one is silence.

    ticks are (place in bins, label); top is the share at the upper edge, such as "100 %".
    """
    n = len(shares)
    bands = [tag("rect", x=0, y=0, width=n, height=100, class_="silence")]
    for k, hue in enumerate(hues):
        path = _band(shares, k)
        if path:
            bands.append(tag("path", d=path, fill=hue))
    drawing = tag(
        "svg",
        join(bands),
        viewBox=f"0 0 {n} 100",
        preserveAspectRatio="none",
        class_="stack",
        aria_hidden="true",
        focusable="false",
    )
    marks = []
    last = -1.0
    for place, label in ticks:
        left = place / n
        room = TICK_ROOM * max(1.0, len(label) / 4)
        if left - last < TICK_ROOM or left > 1 - room * 0.8:
            continue
        last = left
        marks.append(tag("span", label, style=f"left:{left * 100:.1f}%"))
    axis = tag("div", join(marks), class_="ticks")
    return tag("div", tag("span", top, class_="top"), drawing, axis, class_="weeks", aria_hidden="true")


def _band(shares: Sequence[Sequence[float]], k: int) -> str:
    """One kind as a stepped band between the kinds below it and itself."""
    low = [100 - 100 * min(sum(row[:k]), 1.0) for row in shares]
    high = [100 - 100 * min(sum(row[: k + 1]), 1.0) for row in shares]
    if all(a - b < 0.05 for a, b in zip(low, high, strict=True)):
        return ""
    there = [f"{_p(x)} {_p(high[i])}" for i in range(len(shares)) for x in (i, i + 1)]
    back = [f"{_p(x)} {_p(low[i])}" for i in reversed(range(len(shares))) for x in (i + 1, i)]
    return "M" + "L".join([*there, *back]) + "Z"


def _p(value: float) -> str:
    text = f"{value:.1f}"
    return text[:-2] if text.endswith(".0") else text
