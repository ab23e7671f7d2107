"""Bars of one count each, the label above the bar: for narrow pages."""

from __future__ import annotations

from collections.abc import Sequence

from markupsafe import Markup

from behavio.report.charts.svg import join, tag
from behavio.report.language import t


def bars(rows: Sequence[tuple[str, Markup, float]]) -> Markup:
    """Rows of (label, value as text, share of the longest bar 0–1)."""
    lines = [
        tag(
            "div",
            tag("span", t(label), class_="lab", dir="auto"),
            tag("span", value, class_="val"),
            tag("i", style=f"width:{max(share, 0.004) * 100:.1f}%"),
            class_="barrow",
        )
        for label, value, share in rows
    ]
    return tag("div", join(lines), class_="bars")
