"""The commands `stages` and `pressure`: where each case stands, and how much contact it bears."""

from __future__ import annotations

from typing import Any

import click

from behavio.cli import show
from behavio.cli.ask import asks


@asks("stages")
@click.option("--count", type=click.IntRange(2, 12), help="How many stages are learned (LOG only).")
@click.option("--by", help="Column that shows the stage: message (default) or content (LOG only).")
@click.option(
    "--ladder", is_flag=True, help="Print the stages: how many stand there, how long, where they go."
)
@click.option("--moves", is_flag=True, help="Print every move with its evidence.")
def stages(source: str, form: str | None, ladder: bool, moves: bool, **options: Any) -> None:
    """Where each case stands on the adoption ladder, since when, and what moved it.

    Stages are learned from what is talked about, or follow the rules of a job ([[stages.rule]]).

    \b
    Example:
      behavio stages runs/demo --ladder
      behavio stages runs/demo --csv > stages.csv
    """
    from behavio import api

    found = api.stages(source, **show.given(options))
    show.table(found.moves if moves else found.ladder if ladder else found.cases, form)
    if form is None:
        for note in found.notes:
            click.echo(f"\n{note}", err=True)


@asks("pressure")
@click.option("--curves", is_flag=True, help="Print answers at each number of contacts.")
@click.option("--cases", is_flag=True, help="Print where each case stands: over, within or under its band.")
@click.option("--window", help="Contacts are counted over this long (LOG only; default 28d).")
@click.option("--response-within", help="How long an answer counts (LOG only; default 3d).")
@click.option("--seed", type=int, default=7, show_default=True)
def pressure(source: str, form: str | None, curves: bool, cases: bool, **options: Any) -> None:
    """How many contacts are answered as well as the first ones, per group, each HCP compared with herself.

    Without a sign that answers fall, no optimum is told. An association: the company chose when to contact.

    \b
    Example:
      behavio pressure runs/demo
      behavio pressure runs/demo --cases --csv > pressure.csv
    """
    from behavio import api

    found = api.pressure(source, **show.given(options))
    show.table(found.cases if cases else found.curves if curves else found.bands, form)
