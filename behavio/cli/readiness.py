"""Data readiness for people."""

from __future__ import annotations

from datetime import date
from typing import Any

import click
import polars as pl

from behavio.cli import show


def draw(facts: dict[str, Any]) -> None:
    """Counts per source, why rows were rejected, what is filled, what to look at."""
    span = f", {facts['first'][:10]} to {facts['last'][:10]}" if facts["first"] else ""
    length = facts["events_per_case"]
    click.echo(
        f"{_n(facts['n_events'], 'event')} of {_n(facts['n_cases'], 'case')}, "
        f"{_n(facts['n_activities'], 'activity')}{span}; "
        f"{length['median']:g} events per case (95 % have at most {length['p95']:,.0f})\n"
    )
    columns = ("name", "kind", "read", "accepted", "rejected", "merged", "repeats", "first", "last")
    show.table(pl.DataFrame([{c: _short(s[c]) for c in columns} for s in facts["sources"]]), None)
    _block("how late the data come", [row for s in facts["sources"] if (row := _late(s))])
    _block("what was found, and what it means for the results", [_found(f) for f in facts["findings"]])
    for source in facts["sources"]:
        _reasons(f"rejected, {source['name']}", source["rejected_reasons"])
        left = [{"left out": reason, "rows": rows} for reason, rows in source["left_out"].items()]
        _block(f"merged, {source['name']}", left)
    filled = [{"attribute": a, "filled": f"{share:.0%}"} for a, share in facts["attributes"].items() if share]
    _block("attributes", filled)
    if facts["notes"]:
        click.echo("\nto know")
        for note in facts["notes"]:
            click.echo(f"  · {note}")


def _found(finding: dict[str, Any]) -> dict[str, str]:
    return {
        "finding": finding["finding"],
        "where": finding["where"],
        "how many": f"{finding['n']:,} of {finding['of']:,}",
        "what it means": finding["means"],
        "what to do": finding["do"],
    }


def _late(source: dict[str, Any]) -> dict[str, str] | None:
    """Newest event against the newest of all and against the export; how long records take to arrive."""
    if source["behind_days"] is None:
        return None
    delay, export = source["delay"], "unknown"
    if source["exported"]:
        gap = (date.fromisoformat(source["exported"]) - date.fromisoformat(source["last"][:10])).days
        export = f"{source['exported']}, {gap:+d} d" if gap else source["exported"]
    return {
        "source": source["name"],
        "newest event": source["last"][:10],
        "behind the newest": _span(source["behind_days"] * 86_400),
        "exported": export,
        "record made": _span(delay.get("created_median")),
        "record changed (90 % within)": _span(delay.get("changed_p90")),
    }


def _span(seconds: float | None) -> str:
    """2 d, 3 h, 40 min, 5 s; a record made before its event has a minus."""
    if seconds is None:
        return "unknown"
    for size, unit in ((86_400, "d"), (3_600, "h"), (60, "min")):
        if abs(seconds) >= size:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds:.0f} s"


def _reasons(title: str, reasons: list[dict[str, Any]]) -> None:
    names = {
        "reason": "reason",
        "column": "column",
        "rows": "rows",
        "example_row": "example row",
        "hint": "what to do",
    }
    _block(title, [{new: r[old] for old, new in names.items()} for r in reasons])


def _block(title: str, rows: list[dict[str, Any]]) -> None:
    if rows:
        click.echo(f"\n{title}")
        show.table(pl.DataFrame(rows), None)


def _n(count: int, what: str) -> str:
    """1 activity, 2 activities."""
    many = f"{what[:-1]}ies" if what.endswith("y") else f"{what}s"
    return f"{count:,} {what if count == 1 else many}"


def _short(value: Any) -> Any:
    """Times to the minute: 2026-01-05T08:00:00+00:00 becomes 2026-01-05 08:00."""
    return value[:16].replace("T", " ") if isinstance(value, str) and value[10:11] == "T" else value
