"""Data readiness for people."""

from __future__ import annotations

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
