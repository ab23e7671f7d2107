"""Whether a run is more than a hypothesis, and what would make it stronger: all from what it holds."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import polars as pl

from behavio.card.line import Line, table, told

CASES, EVENTS, DAYS = 300, 5_000, 180
"""A run of fewer cases, events or days is a hypothesis: groups and models rest on too little."""


def hypothesis(run: Path) -> str | None:
    """Why the run is only a hypothesis; None where it is more."""
    ready = told(run, "log/readiness.json")
    cases, events, days = ready.get("n_cases", 0), ready.get("n_events", 0), _days(ready)
    small = [
        f"{n:,} {what} ({least:,} are asked for)"
        for n, least, what in ((cases, CASES, "cases"), (events, EVENTS, "events"), (days, DAYS, "days"))
        if n is not None and n < least
    ]
    return ", ".join(small) or None


def _days(ready: Mapping[str, Any]) -> int | None:
    """Days from the first to the newest event; None without a clock."""
    events = [s for s in ready.get("sources", []) if s.get("role") == "events" and s["first"] and s["last"]]
    if not events:
        return None
    first = min(dt.datetime.fromisoformat(s["first"]) for s in events)
    last = max(dt.datetime.fromisoformat(s["last"]) for s in events)
    return (last - first).days


def strengthen(run: Path) -> list[Line]:
    """What is missing that would carry more, most important first."""
    ready, part, lines = told(run, "log/readiness.json"), "What would strengthen it", []

    def add(what: str, text: str, value: Any = None) -> None:
        lines.append(Line(part, what, text, value))

    cases, events, days = ready.get("n_cases", 0), ready.get("n_events", 0), _days(ready)
    if cases < CASES:
        add(
            "More people",
            f"{cases:,} cases have events; {CASES:,} are asked for before groups are more than a guess",
            cases,
        )
    if days is not None and days < DAYS:
        add("A longer time", f"{days} days are seen; half a year shows waits and seasons", days)
    elif events < EVENTS:
        add("More events", f"{events:,} events, {events / max(cases, 1):.1f} of a case", events)
    lines += _channels(run, part)
    known = table(run, "log/cases.parquet")
    if known is None or known.width < 2:
        add("Who they are", "no attribute of the cases is known ([cases]): specialty, region, potential")
    consents = table(run, "log/consents.parquet")
    if consents is None or not consents.height:
        add("Consent", "no consent is known ([consents]): suggestions cannot respect it")
    weak = [b for b in told(run, "models/metrics.json").get("by_events", []) if b.get("rests_on") is None]
    if weak:
        bands = ", ".join(_band(b) for b in weak)
        add("Held-out events", f"too few to judge cases with {bands} events", len(weak))
    return lines


def _channels(run: Path, part: str) -> list[Line]:
    """Which sides of the conversation the log does not hold."""
    if not (run / "log/events.parquet").is_file():  # counted on a cluster
        return []
    events = pl.scan_parquet(run / "log/events.parquet")
    have, lines = set(events.collect_schema().names()), []
    if "direction" not in have:
        text = "no column says who acted (direction): contacts and answers cannot be told apart"
        return [Line(part, "Direction", text)]
    sides = set(events.select(pl.col("direction").drop_nulls().unique()).collect()["direction"])
    if "inbound" not in sides:
        text = "only what the company did: opens, clicks, portal visits or reactions would say what it led to"
        lines.append(Line(part, "Answers", text))
    if "channel" in have:
        used = set(events.select(pl.col("channel").drop_nulls().unique()).collect()["channel"])
        if len(used) < 2:
            text = f"one channel ({', '.join(used) or 'unnamed'}): a second one shows who prefers what"
            lines.append(Line(part, "Channels", text, sorted(used)))
    return lines


def _band(band: Mapping[str, Any]) -> str:
    low, high = band["low"], band["high"]
    return f"{low}" if low == high else f"{low} and more" if high is None else f"{low}–{high}"


def skill(run: Path) -> list[Line]:
    """How right the model is with few events of a case, beside the base rate."""
    bands = told(run, "models/metrics.json").get("by_events", [])
    if not bands:
        return []
    few, many = bands[0], max(bands, key=lambda b: b["n"])
    said = "; ".join(
        f"{_band(b)}: {b['accuracy']:.0%} right (base rate {b['accuracy_base']:.0%})" for b in bands
    )
    value = {_band(b): b["gain"] for b in (few, many, *bands)}
    return [Line("Metrics", "By events known", said, value)]
