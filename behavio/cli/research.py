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
@click.option(
    "--combine",
    type=click.FloatRange(0, 1),
    metavar="WEIGHT",
    help="Profiles of behaviour and answers together; the weight of answers, 0 to 1 (RUN only).",
)
@click.option("--seed", type=int, default=7, show_default=True)
def perceptions(
    source: str,
    form: str | None,
    survey: str | None,
    cases: bool,
    groups: bool,
    combine: float | None,
    **options: Any,
) -> None:
    """What a sample said in market research, projected to everybody where behaviour tells it.

    A question is projected only when cases never seen are told better than by the base rate, beyond
    doubt; otherwise it is refused with the figure. What is projected says so in every row.

    \b
    Example:
      behavio perceptions runs/demo
      behavio perceptions runs/demo --combine 0.4
      behavio perceptions calls.csv --survey answers.csv --cases --csv > perceptions.csv
    """
    from behavio import api

    if combine is not None:
        made = api.combined(source, combine, seed=options["seed"])
        show.table(made.cases if cases else made.profiles, form)
        if form is None:
            weights, alike = made.facts["weights"], made.facts["agreement"]
            click.echo(
                f"\nweights: behaviour {weights['behaviour']:.0%}, answers {weights['research']:.0%}; "
                f"agreement with groups of behaviour {alike['behaviour']:.2f}, with answers alone "
                f"{alike['research']:.2f}; {made.facts['projected_share']:.0%} of the cases by projected "
                "answers",
                err=True,
            )
        return
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
