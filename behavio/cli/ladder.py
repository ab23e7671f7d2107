"""The command `stages`: where each case stands on the adoption ladder."""

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
