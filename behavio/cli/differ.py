"""Commands that hold two groups or two times against each other."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from behavio.cli import show
from behavio.cli.journey import group_option

if TYPE_CHECKING:
    import polars as pl

    from behavio.journeys.compare import Comparison
    from behavio.journeys.drift import Drift

TABLES = ("activities", "edges", "waits", "next", "variants")
TITLES = {
    "activities": "What happens: share of the cases with it, and how often in 30 days",
    "edges": "What follows what: share of the steps after the first",
    "waits": "How long a step takes: median over cases; how likely B takes longer",
    "next": "How soon anything follows: median; pace of B over that of A",
    "variants": "Whole journeys: share of the cases",
}
SHOWN = 8


@click.command("compare")
@click.argument("sources", metavar="LOG|RUN [LOG|RUN]", nargs=-1, required=True)
@click.option("--split", metavar="DATE", help="Cases that began before this date against later ones.")
@click.option("--last", metavar="TIME", help="The newest 91d, say, against as long before: the same cases.")
@click.option("--by", metavar="COLUMN", help="Groups from a column of cases or events; segment for a run.")
@click.option(
    "--value", "values", multiple=True, help="One value against the rest, or two against each other."
)
@click.option("--table", type=click.Choice(TABLES), help="Only this table, with all its rows.")
@group_option
@show.column_options
@show.output_options
def compare(
    sources: tuple[str, ...], form: str | None, table: str | None, values: tuple[str, ...], **options: Any
) -> None:
    """Two groups or two periods side by side: what differs, by how much, how surely.

    \b
    Example:
      behavio compare visits.csv --split 2025-07-01
      behavio compare visits.csv --last 91d
      behavio compare visits.csv --by specialty --value Oncology
      behavio compare runs/spring runs/autumn --table edges --csv
    """
    from behavio import api

    if len(sources) > 2:
        raise click.UsageError("compare takes one or two logs")
    found = api.compare(*sources, values=values, **show.given(options))
    groups = api.segment_changes(*sources) if len(sources) == 2 else None
    if table is not None and form is not None:
        show.table(found.tables[table], form)
    elif table is not None:
        show.table(_for_people(found.tables[table]), None)
    elif form == "json":
        facts = None if groups is None else groups | {"changes": groups["changes"].to_dicts()}
        show.value(_plain(found) | {"segments": facts}, form, lambda _: None)
    elif form == "csv":
        raise click.UsageError("--csv prints one table: name it with --table")
    else:
        _draw(found)
        if groups is not None:
            _draw_groups(groups)


def _plain(found: Comparison) -> dict[str, Any]:
    facts: dict[str, Any] = {"names": found.names, "n_cases": found.n_cases, "n_events": found.n_events}
    return facts | {n: t.to_dicts() for n, t in found.tables.items()} | {"notes": found.notes}


def _draw(found: Comparison) -> None:
    import polars as pl

    for letter, name, cases, events in zip("AB", found.names, found.n_cases, found.n_events, strict=True):
        click.echo(f"{letter}  {name}: {cases:,} cases, {events:,} events")
    for name, table in found.tables.items():
        if not table.width:
            continue
        sure = table.filter(pl.col("q_value") <= 0.05)
        tested = table["q_value"].count()
        click.echo(f"\n{TITLES[name]}. {sure.height} of {tested} tested differ (q ≤ 0.05)")
        if sure.height:
            show.table(_for_people(sure.head(SHOWN)), None)
    for note in found.notes:
        click.echo(f"\n· {note}")


def _draw_groups(groups: dict[str, Any]) -> None:
    moved, common = groups["moved"], groups["common"]
    click.echo(
        f"\nSegments. {moved:,} of {common:,} cases of both runs are in another one ({groups['churn']:.1%})"
    )
    show.table(groups["changes"], None)


def _for_people(table: pl.DataFrame) -> pl.DataFrame:
    """The rows with shares in percent, an interval in one cell, and A and B for the groups."""
    import polars as pl

    columns: dict[str, list[Any] | pl.Series] = {}
    rows = table.to_dicts()
    for name in ("activity", "source", "target", "variant"):
        if name in table.columns:
            columns[name] = table[name]
    if "a" in table.columns:
        columns |= {n.upper(): [_percent(r[n]) for r in rows] for n in ("a", "b")}
        columns["B − A, points (95 %)"] = [_interval(r, "difference", "low", "high", 100) for r in rows]
    if "median_s_a" in table.columns:
        columns |= {f"{n.upper()}_s": table[f"median_s_{n}"] for n in ("a", "b")}
    if "larger" in table.columns:
        columns["B takes longer (95 %)"] = [_interval(r, "larger", "low", "high", 100, "%") for r in rows]
    if "speed" in table.columns:
        columns["pace of B"] = table["speed"]
    if "rate_ratio" in table.columns:
        columns |= {f"in 30 days, {n.upper()}": table[f"per_30_days_{n}"] for n in ("a", "b")}
        columns["ratio (95 %)"] = [_interval(r, "rate_ratio", "rate_low", "rate_high", 1) for r in rows]
    columns |= {f"cases {n.upper()}": table[f"cases_{n}"] for n in ("a", "b")}
    return pl.DataFrame({**columns, "q": table["q_value"]}, strict=False)


def _percent(share: float | None) -> str:
    return "–" if share is None else f"{share:.1%}"


def _interval(row: dict[str, Any], middle: str, low: str, high: str, times: float, unit: str = "") -> str:
    if row[middle] is None or row[low] is None:
        return "–"
    m, a, b = (row[c] * times for c in (middle, low, high))
    return f"{m:,.1f}{unit} ({a:,.1f} to {b:,.1f})" if times > 1 else f"{m:,.2f}{unit} ({a:,.2f} to {b:,.2f})"


@click.command("drift")
@click.argument("source", metavar="LOG|RUN")
@click.option("--every", metavar="DURATION", help="Length of a period: 7d, 30d (default: by the log's span).")
@click.option("--seed", type=int, default=7, show_default=True)
@group_option
@show.column_options
@show.output_options
def drift(source: str, form: str | None, **options: Any) -> None:
    """When the journey changed, since when, and which steps: by a test that chance rarely passes.

    \b
    Example:
      behavio drift visits.csv
      behavio drift visits.csv --every 7d --json
    """
    from behavio import api

    found = api.drift(source, **show.given(options))
    if form == "json":
        tables = {n: getattr(found, n).to_dicts() for n in ("changes", "edges", "periods")}
        show.value({"every": found.every, **tables, "notes": found.notes}, form, lambda _: None)
    elif form == "csv":
        show.table(found.edges if found.changes.height else found.changes, form)
    else:
        _tell(found)


def _tell(found: Drift) -> None:
    import polars as pl

    n = found.changes.height
    click.echo(f"{found.periods.height} periods of {found.every}: {n} change{'s' * (n != 1)}")
    for row in found.changes.iter_rows(named=True):
        span = f"{row['earliest']:%Y-%m-%d} to {row['latest']:%Y-%m-%d}"
        where = "" if row["earliest"] == row["latest"] else f" (somewhere from {span})"
        told = f"p = {row['p_value']:.3g}, steps that differ: {row['n_edges']}"
        click.echo(f"\nsince {row['since']:%Y-%m-%d}{where}: {told}")
        edges = found.edges.filter((pl.col("since") == row["since"]) & (pl.col("q_value") <= 0.05))
        rows = edges.head(SHOWN).to_dicts()
        shown = {c: [r[c] for r in rows] for c in ("source", "target")}
        shown |= {c: [_percent(r[c]) for r in rows] for c in ("before", "after")}
        shown["difference, points (95 %)"] = [_interval(r, "difference", "low", "high", 100) for r in rows]
        show.table(pl.DataFrame({**shown, "q": [r["q_value"] for r in rows]}), None)
    for note in found.notes:
        click.echo(f"\n· {note}")
