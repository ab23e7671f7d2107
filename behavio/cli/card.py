"""The command `card`: the model card of a run."""

from __future__ import annotations

import click

from behavio.cli import show


@click.command("card")
@click.argument("run", metavar="RUN")
@click.option("--json", "form", flag_value="json", help="Print JSON: part, what, text, value.")
@click.option("--markdown", "form", flag_value="markdown", help="Print Markdown.")
def card(run: str, form: str | None) -> None:
    """The model card of a run: purpose, data, exclusions, metrics, calibration, stability, drift, limits.

    Every line is read from the run's own tables and its job; RUN/card holds it as Markdown and JSON.

    \b
    Example:
      behavio card runs/demo
      behavio card runs/demo --markdown > model_card.md
    """
    from dataclasses import asdict

    from behavio import api
    from behavio.card import markdown

    name, lines = api.card(run)
    if form == "markdown":
        click.echo(markdown(name, lines), nl=False)
        return
    if form == "json":
        show.value([asdict(line) for line in lines], form, lambda _: None)
        return
    part = ""
    for line in lines:
        if line.part != part:
            part = line.part
            click.echo(("\n" if part != lines[0].part else "") + click.style(part, bold=True))
        click.echo(f"  {line.what}: {line.text}")
