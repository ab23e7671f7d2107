"""The command `value`: what cases are worth beside how they behave, costs, a targeting policy."""

from __future__ import annotations

from pathlib import Path

import click

from behavio.cli import show


@click.command("value")
@click.argument("run", metavar="RUN")
@click.option("--costs", is_flag=True, help="Cost per contact and per answer, with intervals.")
@click.option("--policy", is_flag=True, help="What the figures speak for, per level and group.")
@click.option(
    "--as-policy", type=click.Path(path_type=Path), help="Write the channels for [suggest] policy (TOML)."
)
@show.output_options
def value(run: str, costs: bool, policy: bool, as_policy: Path | None, form: str | None) -> None:
    """What cases are worth, by a column that was brought in, beside how they behave and what contacts cost.

    \b
    Example:
      behavio value runs/demo
      behavio value runs/demo --costs
      behavio value runs/demo --as-policy policy.toml
    """
    import polars as pl

    from behavio import api
    from behavio.files import whole_file
    from behavio.value import as_toml

    found = api.value(run)
    if as_policy is not None:
        with whole_file(as_policy) as draft:
            draft.write_text(as_toml(found.policy, found.cases), encoding="utf-8")
        click.echo(
            f"{found.policy.filter(pl.col('channels').list.len() > 0).height} cells written to {as_policy}"
        )
        return
    show.table(found.costs if costs else found.policy if policy else found.cells, form)
    if form is None:
        if costs and found.costs.height:
            click.echo(f"\ncosts in {found.currency}; intervals 95 %, from the cases", err=True)
        if policy:
            click.echo(
                "\nnote: a proposal from associations, obeyed by nobody until a job names it", err=True
            )
        for note in found.notes:
            click.echo(f"note: {note}", err=True)
