"""The command `perceptions`: market research of a sample, for everybody where that is earned."""

from __future__ import annotations

from typing import Any

import click

from behavio.cli import show
from behavio.cli.ask import asks


@asks("perceptions")
@click.option(
    "--survey",
    metavar="FILE",
    help="Answers: a table of case_id, question, answer, perhaps rater and timestamp "
    "(default: those of the run).",
)
@click.option("--cases", is_flag=True, help="Print every case: answered or projected.")
@click.option("--groups", is_flag=True, help="Print shares per segment, those of 10 people or more.")
@click.option("--seed", type=int, default=7, show_default=True)
def perceptions(
    source: str, form: str | None, survey: str | None, cases: bool, groups: bool, **options: Any
) -> None:
    """What a sample said in market research, projected to everybody where behaviour tells it.

    A question is projected only when cases never seen are told better than by the base rate, beyond
    doubt; otherwise it is refused with the figure. What is projected says so in every row.

    \b
    Example:
      behavio perceptions runs/demo
      behavio perceptions calls.csv --survey answers.csv --cases --csv > perceptions.csv
    """
    from behavio import api

    found, notes = api.perceptions(source, survey, **show.given(options))
    table = found.cases if cases else found.groups if groups else found.questions
    if form is None and not (cases or groups):
        draw(found.questions)
    else:
        show.table(table, form)
    for note in notes:
        click.echo(note, err=True)


def draw(questions: Any) -> None:
    """One paragraph per question."""
    for row in questions.iter_rows(named=True):
        head = f"{row['question']}: {row['status']}, {row['n_answers']:,} answers"
        click.echo(click.style(head, bold=True))
        if row["status"] == "projected":
            click.echo(
                f"  saves {row['skill']:.1%} of the base rate's error on cases never seen "
                f"({row['low']:.1%} to {row['high']:.1%}); off by {row['gap']:.3f} in the mean"
            )
        else:
            click.echo(f"  {row['reason']}")
        for warning in row["warnings"]:
            click.echo(f"  note: {warning}")
