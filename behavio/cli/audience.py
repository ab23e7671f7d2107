"""The command `audience`: who fits a question, counted first."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from behavio.cli import show
from behavio.errors import JobError

if TYPE_CHECKING:
    from behavio.audience import Audience


@click.command("audience")
@click.argument("run", metavar="RUN")
@click.argument("where", metavar="[WHERE]", required=False)
@click.option("--save", metavar="NAME", help="Keep the question under a name; ask it again by that name.")
@click.option("--export", type=click.Path(path_type=Path), help="Write the members as CSV (needs --channel).")
@click.option("--channel", help="Channel they are to be contacted through: consent is applied.")
@click.option("--brand", help="Product they are to be told about: consent is given per product too.")
@click.option("--json", "form", flag_value="json", help="Print JSON.")
def audience(
    run: str,
    where: str | None,
    save: str | None,
    export: Path | None,
    channel: str | None,
    brand: str | None,
    form: str | None,
) -> None:
    """Who fits a question: counted first, saved by name, exported with consent applied.

    WHERE is SQL over one row per case, or the name of a saved audience. Without it: what may be asked.
    Groups of fewer than 10 people are neither counted nor exported.

    \b
    Example:
      behavio audience runs/demo
      behavio audience runs/demo "segment = 'Quick openers' and days_since_last > 21"
      behavio audience runs/demo "n_call_f2f = 0 and p_email_open > 0.2" --save uncalled
      behavio audience runs/demo uncalled --channel email --brand Cardiovia --export uncalled.csv
    """
    from behavio import api

    if export is not None and channel is None:
        raise JobError("--export needs --channel", hint="consent is given per channel: --channel email")
    if brand is not None and export is None:
        raise JobError("--brand needs --export", hint="it says what the list is for: --export FILE")
    if where is None:
        if save or export or channel or brand:
            raise JobError("there is no question", hint='behavio audience RUN "WHERE …" --save NAME')
        show.table(api.audience_columns(run), form)
        return
    found = api.audience(run, where)
    if save is not None:
        found.save(save)
    written = None if export is None else found.export(export, str(channel), brand)
    if form == "json":
        show.value(_plain(found, written), form, lambda _: None)
    else:
        _draw(found, channel)
        if written is not None:
            click.echo(f"\n{written:,} people written to {export}", err=True)
        if save is not None:
            click.echo(f"\nsaved: behavio audience {run} {save}", err=True)


def _draw(found: Audience, channel: str | None) -> None:
    """Count, groups and channels for people."""
    if found.count is None:
        click.echo(f"fewer than 10 of {found.n_cases:,} cases fit: too few to tell more")
        return
    share = found.count / found.n_cases if found.n_cases else 0.0
    click.echo(f"{found.count:,} of {found.n_cases:,} cases fit ({share:.1%})")
    if found.projected:
        few = found.projected if found.projected >= 10 else "fewer than 10"
        click.echo(f"note: {few} of them by a projected answer: behaviour tells it, they never said it")
    if found.count and found.by_segment.height:
        click.echo()
        show.table(found.by_segment, None)
    if not found.count:
        _usual(found)
    channels = found.reachable if channel is None else found.reachable.filter(channel=channel)
    if channel is not None and channels.is_empty():
        found.allowed(channel)  # names the nearest channel
    if found.count and channels.height:
        click.echo()
        show.table(channels, None)


def _usual(found: Audience) -> None:
    """Where nobody fits: values that the columns of the question do hold."""
    from behavio import api

    for column, _, example in api.audience_columns(found.run).iter_rows():
        if example and column in found.members.columns:
            click.echo(f"{column} is, for example, {example}", err=True)


def _plain(found: Audience, written: int | None) -> dict[str, object]:
    return {
        "where": found.where,
        "n_cases": found.n_cases,
        "n_members": found.count,
        "by_segment": found.by_segment.to_dicts(),
        "reachable": found.reachable.to_dicts(),
        "written": written,
    }
