"""`behavio neighbours`: the most similar moments of other cases, and what came next there."""

from __future__ import annotations

from typing import Any

import click

from behavio.cli import show
from behavio.cli.ask import piped


@click.command("neighbours")
@click.argument("source", metavar="LOG|RUN", callback=piped)
@click.argument("case", metavar="CASE")
@click.option("--k", type=click.IntRange(1), default=100, show_default=True, help="Cases to compare with.")
@click.option("--within", help="Only moments this long before the newest event, for example 180d.")
@click.option("--moments", is_flag=True, help="Print the moments instead of what came next.")
@show.output_options
@show.column_options
def neighbours(
    source: str, case: str, k: int, within: str | None, moments: bool, form: str | None, **columns: Any
) -> None:
    """What those did next who were lately where this case is now, and how alike they were.

    Who is alike over the whole journey, in the same segment: behavio segments RUN --like CASE.

    \b
    Example:
      behavio neighbours visits.csv 4711 --within 180d
      behavio neighbours runs/demo 0015g00000B7XQ2AAN --moments --csv
    """
    import polars as pl

    from behavio import api

    found = api.neighbours(source, case, k=k, within=within, **show.given(columns))
    table = found.moments if moments else found.next
    if form is not None:
        show.table(table.with_columns(pl.col("matched").list.join(" → ")) if moments else table, form)
        return
    click.echo(f"{found.sentence}\n")
    if moments:
        table = table.with_columns(pl.col("matched").list.join(" → ")).head(20)
    show.table(table, None)
    click.echo(
        f"\n{found.compared:,} moments compared; shares with 95 % intervals, each case counted once", err=True
    )
