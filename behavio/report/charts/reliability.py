"""Said against seen: does a step given 30 % come 30 times in 100?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from behavio.report.charts.svg import join, tag
from behavio.report.language import t

SIZE, LEFT, BOTTOM, TOP = 280.0, 52.0, 44.0, 28.0


@dataclass(frozen=True, slots=True)
class Bin:
    """What was said, what was seen (0–1), how often, and the text beside the dot."""

    said: float
    seen: float
    n: int
    label: str


def reliability(bins: Sequence[Bin]) -> Markup:
    """Dots by bin, their area the number of forecasts; the diagonal is "as often as said"."""
    shapes = _frame()
    largest = max((b.n for b in bins), default=1)
    spots = []
    for b in bins:
        x, y = _x(b.said), _y(b.seen)
        radius = max(3.0, 11 * (b.n / largest) ** 0.5)
        title = tag("title", b.label)
        shapes.append(tag("circle", title, cx=x, cy=y, r=radius, class_="spot"))
        spots.append((x, y, radius, b))
    shapes.extend(_counts(spots))
    width, height = LEFT + SIZE + 22, TOP + SIZE + BOTTOM
    return tag(
        "svg",
        join(shapes),
        viewBox=f"0 0 {width:.0f} {height:.0f}",
        class_="reliability",
        aria_hidden="true",
        focusable="false",
    )


def _x(share: float) -> float:
    return LEFT + share * SIZE


def _y(share: float) -> float:
    return TOP + (1 - share) * SIZE


def _frame() -> list[Markup]:
    shapes = [
        tag("line", x1=_x(0), y1=_y(0), x2=_x(1), y2=_y(0), class_="axis"),
        tag("line", x1=_x(0), y1=_y(0), x2=_x(0), y2=_y(1), class_="axis"),
        tag("line", x1=_x(0), y1=_y(0), x2=_x(1), y2=_y(1), class_="diagonal"),
    ]
    for share in (0.0, 0.5, 1.0):
        label = f"{share * 100:.0f}\u00a0%"
        shapes.append(tag("text", label, x=_x(share), y=_y(0) + 19, class_="t mut", text_anchor="middle"))
        if share:
            shapes.append(tag("text", label, x=_x(0) - 8, y=_y(share) + 4, class_="t mut", text_anchor="end"))
    shapes.append(
        tag("text", t("as often as said"), x=_x(1) + 18, y=_y(1) - 10, class_="t mut", text_anchor="end")
    )
    shapes.append(tag("text", t("said"), x=_x(0.75), y=_y(0) + 19, class_="t", text_anchor="middle"))
    shapes.append(tag("text", t("seen"), x=_x(0) - 8, y=_y(0.75) + 4, class_="t", text_anchor="end"))
    return shapes


def _counts(spots: Sequence[tuple[float, float, float, Bin]]) -> list[Markup]:
    """The number of forecasts beside a dot, where it touches no other number."""
    texts: list[Markup] = []
    taken: list[tuple[float, float]] = []
    for x, y, radius, b in sorted(spots, key=lambda s: -s[3].n):
        label = f"{b.n:,}"
        right = x + radius + 5
        beside = y + 14 if y < _y(b.said) else y + 4
        if right + 7 * len(label) > LEFT + SIZE + 20:
            right, beside = x - radius - 5 - 7 * len(label), y + 4
        if any(abs(right - a) < 7 * len(label) + 6 and abs(beside - c) < 14 for a, c in taken):
            continue
        taken.append((right, beside))
        texts.append(tag("text", label, x=right, y=beside, class_="t mut"))
    return texts
