"""Every number of the report is written here, so that the same number looks the same everywhere.

A kind says what a number is; `write` gives its text. Shares are 0–1, times are seconds or days.
"""

from __future__ import annotations

import math
import re
from datetime import date, datetime
from typing import Any, Literal

from behavio import words
from behavio.report.language import spoken, t

Kind = Literal[
    "text",
    "count",
    "number",
    "share",
    "score",
    "points",
    "gap",
    "ratio",
    "signed",
    "seconds",
    "days",
    "nats",
    "chance",
    "date",
]
NONE = "–"
SPACE = "\u00a0"
SMALL = (
    "no",
    "one",
    "two",
    "three",
    "four",
    "five",
    "six",
    "seven",
    "eight",
    "nine",
    "ten",
    "eleven",
    "twelve",
)


def write(value: Any, kind: Kind) -> str:
    """The text of one value: thousands separated, a true minus, units held to their number."""
    if value is None or (isinstance(value, float) and not math.isfinite(value)):
        return NONE
    if kind == "text":
        return str(t(value))
    if kind == "date":
        return day(value)
    return spoken().number(_WRITERS[kind](float(value))).replace(" ", SPACE).replace("-", "−")


def between(low: Any, high: Any, kind: Kind) -> str:
    """An interval: "2.2–3.1", "22–31 %", "−1.1 to 1.9"; empty when there is none."""
    first, last = write(low, kind), write(high, kind)
    if NONE in (first, last):
        return ""
    unit = last.partition(SPACE)[2]
    if unit and first.partition(SPACE)[2] == unit:
        first = first.partition(SPACE)[0]
    marks = first.replace(".", "").replace(",", "")
    plain = first[0].isdigit() and last[0].isdigit() and (not unit or marks.isdigit())
    return f"{first}–{last}" if plain else t("{first} to {last}").format(first=first, last=last)


def ratio(value: float) -> str:
    """A number of times: two decimals under one, one up to ten, none above."""
    if value < 0.995:
        return f"{value:.2f}"
    return f"{value:.1f}" if value < 9.95 else f"{value:,.0f}"


def times(value: float, low: float | None = None, high: float | None = None) -> str:
    """How many times as often, with its interval: "2.6 times as often (2.2–3.1)"."""
    text = t("{n} times as often").format(n=write(value, "ratio"))
    inner = between(low, high, "ratio")
    return f"{text} ({inner})" if inner else text


_UNIT = re.compile(r"(?<=\d) (?=(%|×|times|days?|years?|h|min|s)\b|%)")


def held(text: str) -> str:
    """A text made elsewhere, its numbers held to their units so that no line breaks between."""
    return _UNIT.sub(SPACE, text)


def spelled(n: int) -> str:
    """A small number as a word, a larger one in digits."""
    return t(SMALL[n]) if 0 <= n < len(SMALL) else write(n, "count")


def day(value: Any) -> str:
    """A date as "1 Jan 2026"."""
    if isinstance(value, str):
        value = datetime.fromisoformat(value)
    own = spoken()
    text = own.date.format(day=value.day, month=own.months[value.month - 1], year=value.year)
    return text.replace(" ", SPACE)


def period(first: date, last: date) -> str:
    """Two dates as a period, the year said once when it is one year."""
    if first == last:
        return day(first)
    if first.year == last.year:
        own = spoken()
        start = own.day_month.format(day=first.day, month=own.months[first.month - 1]).replace(" ", SPACE)
        return f"{start} – {day(last)}"
    return f"{day(first)} – {day(last)}"


def raw(value: Any) -> Any:
    """A value as tables keep it: ten digits, so that the order of a sum never shows."""
    if value is None or isinstance(value, (str, bool, int)):
        return value
    if isinstance(value, (date, datetime)):
        return value.isoformat()[:10]
    number = float(value)
    return float(f"{number:.10g}") + 0.0 if math.isfinite(number) else None


def _score(value: float) -> str:
    return f"{value * 100:.1f} %"


def _points(value: float) -> str:
    rounded = round(value * 100)
    return "±0 points" if rounded == 0 else f"{rounded:+d} point{'' if abs(rounded) == 1 else 's'}"


def _signed(value: float) -> str:
    text = f"{value:+.2f}"
    return "0.00" if float(text) == 0 else text


_WRITERS: dict[str, Any] = {
    "count": lambda v: f"{v:,.0f}",
    "number": words.number,
    "share": words.percent,
    "score": _score,
    "points": _points,
    "gap": lambda v: f"{v * 100:.1f} points",
    "ratio": ratio,
    "signed": _signed,
    "seconds": words.duration,
    "days": words.days,
    "nats": lambda v: f"{v:.2f}",
    "chance": lambda v: "under 0.001" if 0 <= v < 0.0005 else f"{v:.3f}",
}
