"""The command `goals`: what was wanted, and what came of it."""

from __future__ import annotations

import click

from behavio.cli import show


@click.command("goals")
@click.argument("run", metavar="RUN")
@click.option("--suggested", is_flag=True, help="The suggestions of the run before: were they answered more?")
@click.option("--groups", is_flag=True, help="The groups of the run before: do they still differ?")
@show.output_options
def goals(run: str, suggested: bool, groups: bool, form: str | None) -> None:
    """Goals a job declares up front: met, not met, or not measurable and why.

    With `previous` in [goals] the suggestions and groups of the run before are held against what happened
    since.

    \b
    Example:
      behavio goals runs/demo
      behavio goals runs/november --suggested
    """
    from behavio import api

    found = api.goals(run)
    table = found.suggested if suggested else found.groups if groups else found.goals
    if form is None and not (suggested or groups):
        for row in table.iter_rows(named=True):
            colour = {"met": "green", "not met": "red"}.get(row["verdict"], "yellow")
            of = ", ".join(x for x in (row["group"], row["channel"]) if x)
            click.echo(
                click.style(row["verdict"], fg=colour, bold=True)
                + f"  {row['goal']}"
                + (f" ({of})" if of else "")
            )
            click.echo(f"  {told(row)}; {row['reason']}")
    else:
        show.table(table, form)
    if form is None:
        for note in found.notes:
            click.echo(f"note: {note}", err=True)


def told(row: dict[str, object]) -> str:
    """The wanted and the measured value of a goal, in words."""
    share = row["measure"] != "contacts"

    def said(value: object) -> str:
        number = float(value)  # type: ignore[arg-type]
        return f"{number * 100:.1f} %" if share else f"{number:.2f}"

    wanted = f"{row['measure']} {row['wanted']} {said(row['target'])}"
    if row["value"] is None:
        return wanted
    interval = f"({said(row['low'])} to {said(row['high'])})"
    return f"{wanted}: {said(row['value'])} {interval} of {row['n_cases']:,} cases"
