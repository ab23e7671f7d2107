"""The commands `holdout` and `readout`: leave a group alone by lot, and see what contacts cause."""

from __future__ import annotations

from datetime import date, datetime
from pathlib import Path
from typing import Any

import click

from behavio.cli import show
from behavio.cli.ask import asks, piped


@click.command("holdout")
@click.argument("source", metavar="LOG|RUN", callback=piped)
@click.option("--out", type=click.Path(path_type=Path), required=True, help="The file of the draw (CSV).")
@click.option(
    "--share", type=float, default=0.1, show_default=True, help="Share of the cases to leave alone."
)
@click.option("--by", help="Columns of the cases, or segment, inside which the lot falls: segment,specialty.")
@click.option("--day", type=click.DateTime(["%Y-%m-%d"]), help="Day of the draw (default: today).")
@click.option("--seed", type=int, default=7, show_default=True)
@show.column_options
def holdout(
    source: str, out: Path, share: float, by: str | None, day: datetime | None, seed: int, **columns: Any
) -> None:
    """Draw a group that is left alone, so that effects can be measured; who was drawn stays drawn.

    Name the file in the job, [suggest] holdout = "holdout.csv": nothing is suggested for these cases.
    Run it again when new cases have come: only they are drawn.

    \b
    Example:
      behavio holdout runs/demo --out holdout.csv --by segment
    """
    from behavio import api

    on = day.date() if day is not None else date.today()
    known = out.is_file()
    names = tuple(c.strip() for c in by.split(",")) if by else ()
    table, new = api.holdout(source, out, share=share, by=names, day=on, seed=seed, **show.given(columns))
    held = int(table["holdout"].sum())
    fresh = f"{new:,} new, " if known and new else "nobody new, " if known else ""
    click.echo(f"{held:,} of {table.height:,} are left alone, {fresh}written to {out}")


@asks("readout")
@click.argument("drawn", type=click.Path(path_type=Path))
@click.option("--outcome", required=True, help="Activities that count, separated by commas.")
@click.option("--since", type=click.DateTime(["%Y-%m-%d"]), help="First day (default: after the draw).")
def readout(
    source: str, drawn: Path, outcome: str, since: datetime | None, form: str | None, **columns: Any
) -> None:
    """What contacts caused: everybody as drawn, those left alone against the others (intention to treat).

    DRAWN is the file that behavio holdout wrote.

    \b
    Example:
      behavio readout runs/later holdout.csv --outcome portal_visit
    """
    from behavio import api

    names = tuple(a.strip() for a in outcome.split(",") if a.strip())
    first = since.date() if since is not None else None
    found = api.readout(source, drawn, names, first, **show.given(columns))
    show.table(found.table, form)
    if form is not None:
        return
    row = found.table.row(0, named=True)
    sure = row["low"] > 0 or row["high"] < 0
    click.echo(
        f"\n{found.since} to {found.until}: contacts caused "
        f"{row['difference'] * 100:+.1f} points in the share with the outcome "
        f"({row['low'] * 100:+.1f} to {row['high'] * 100:+.1f})" + ("" if sure else ": that may be nothing")
    )
    for note in found.notes:
        click.echo(f"note: {note}")
