"""Estimates on one line each: label, interval and dot on a shared log axis, value and base in words.

Built from page text and positioned boxes, so it is laid out again at every width instead of shrunk.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from behavio.report.charts.svg import join, tag
from behavio.report.language import spoken, t


@dataclass(frozen=True, slots=True)
class Row:
    """One estimate. hollow: it may be chance. hue None: the accent."""

    label: Markup
    value: Markup
    base: Markup
    middle: float
    low: float
    high: float
    hollow: bool = False


@dataclass(frozen=True, slots=True)
class Axis:
    """A log axis from low to high with named places; `home` is the place that is drawn strong."""

    low: float
    high: float
    ticks: tuple[tuple[float, str], ...]
    home: float | None = None

    def place(self, value: float) -> float:
        """Where a value stands, 0–100; outside values stand at the edge."""
        inside = min(max(value, self.low), self.high)
        return 100 * math.log(inside / self.low) / math.log(self.high / self.low)


@dataclass(frozen=True, slots=True)
class ShareAxis:
    """A plain axis of shares from 0 to 1."""

    ticks: tuple[tuple[float, str], ...]
    home: float | None = None

    def place(self, value: float) -> float:
        """Where a share stands, 0–100."""
        return 100 * min(max(value, 0.0), 1.0)


def track(rows: Sequence[Row], axis: Axis | ShareAxis, head: tuple[str, str, str]) -> Markup:
    """The chart; head names the three columns of text."""
    head = (t(head[0]), t(head[1]), t(head[2]))
    lines = [
        tag(
            "div",
            tag("span", head[0], class_="lab"),
            tag("span", class_="rail none"),
            tag("span", head[1], class_="val"),
            tag("span", head[2], class_="base"),
            class_="row head",
        )
    ]
    grid = [
        tag("i", class_="grid home" if value == axis.home else "grid", style=f"left:{axis.place(value):.2f}%")
        for value, _ in axis.ticks
    ]
    for row in rows:
        a, b, middle = axis.place(row.low), axis.place(row.high), axis.place(row.middle)
        rail = [
            *grid,
            tag("i", class_="bar", style=f"left:{a:.2f}%;width:{max(b - a, 0.4):.2f}%"),
            tag("i", class_="point", style=f"left:{middle:.2f}%"),
        ]
        lines.append(
            tag(
                "div",
                tag("span", row.label, class_="lab", dir="auto"),
                tag("span", join(rail), class_="rail"),
                tag("span", row.value, class_="val"),
                tag("span", row.base, class_="base"),
                class_="row hollow" if row.hollow else "row",
            )
        )
    marks = [
        tag("span", spoken().number(t(label)), style=f"left:{axis.place(v):.2f}%")
        for v, label in axis.ticks
        if label
    ]
    foot = tag(
        "div",
        tag("span", class_="lab"),
        tag("span", join(marks), class_="rail ticks"),
        tag("span", class_="val"),
        tag("span", class_="base"),
        class_="row foot",
    )
    return tag("div", join(lines), foot, class_="track")


def ratio_axis(lows: Sequence[float], highs: Sequence[float], home: str = "as by chance") -> Axis:
    """An axis for numbers of times, wide enough for the intervals, with `home` as the words for one."""
    low = min([0.5, *(v for v in lows if v > 0)])
    high = max([2.0, *highs])
    low, high = max(low, 1 / 64), min(high, 4096.0)
    steps = [2.0**i for i in range(-6, 13)]
    below = max((s for s in steps if s <= low * 1.001), default=steps[0])
    above = min((s for s in steps if s >= high * 0.999), default=steps[-1])
    span = math.log2(above / below)
    every = 1 if span <= 5 else 2 if span <= 9 else 3
    crowded = every / math.log2(above / below * 1.15**2) < 0.2  # the words for one need the room beside them
    near = (2.0**every, 2.0**-every) if crowded else ()
    ticks = [
        (s, home if s == 1 else "" if s in near else _times(s))
        for i, s in zip(range(-6, 13), steps, strict=True)
        if below <= s <= above and i % every == 0
    ]
    return Axis(below / 1.15, above * 1.15, tuple(ticks), 1.0)


def _times(value: float) -> str:
    if value < 1:
        return f"1/{round(1 / value)}"
    return f"{value:,.0f} ×"


TIMES = (
    (1.0, "1 s"),
    (60.0, "1 min"),
    (3600.0, "1 h"),
    (86_400.0, "1 day"),
    (7 * 86_400.0, "1 week"),
    (30.4375 * 86_400, "1 month"),
    (365.25 * 86_400, "1 year"),
    (10 * 365.25 * 86_400, "10 years"),
)


def time_axis(lows: Sequence[float], highs: Sequence[float]) -> Axis:
    """An axis for lengths of time in seconds; none at all has its own place at the left."""
    more = [v for v in (*lows, *highs) if v >= 1.0]
    low = min(more, default=1.0)
    high = max([*highs, low * 4])
    ticks = [(s, label) for s, label in TIMES if low / 1.5 <= s <= high * 1.5]
    low, high = min([low, *(s for s, _ in ticks)]), max([high, *(s for s, _ in ticks)])
    if min(lows) < 1.0:  # what happens in the same moment stands at the left edge, under its own name
        low = low / (high / low) ** 0.18
        ticks.insert(0, (low, "at once"))
    return Axis(low, high * 1.3, _thinned(ticks, low, high * 1.3))


def _thinned(ticks: Sequence[tuple[float, str]], low: float, high: float) -> tuple[tuple[float, str], ...]:
    """Drop labels that would touch on a narrow page."""
    kept: list[tuple[float, str]] = []
    whole = math.log(high / low)
    for value, label in ticks:
        if kept and label and math.log(value / kept[-1][0]) / whole < 0.2:
            continue
        kept.append((value, label))
    return tuple(kept)
