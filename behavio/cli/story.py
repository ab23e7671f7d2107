"""One case's story for people, or as JSON."""

from __future__ import annotations

import click
import polars as pl

from behavio.cli import show
from behavio.view import CaseStory
from behavio.words import touchpoint


def draw(story: CaseStory, form: str | None) -> None:
    """Facts first, then what is suggested and why, what may come next, then every touchpoint in order."""
    if form == "json":
        show.value(_plain(story), form, lambda _: None)
        return
    click.echo(f"{story.case_id}\n")
    width = max(len(name) for name, _ in story.facts)
    for name, told in story.facts:
        click.echo(f"  {name:<{width}}  {told}")
    for row in story.suggestions.iter_rows(named=True):
        click.echo(f"\nsuggested: {touchpoint(row['action'])}\n  {row['reason']}")
    for row in story.suppressed.iter_rows(named=True):
        what = touchpoint(row["action"] or "every action")
        click.echo(f"\nheld back: {what} ({row['reason']}) {row['detail'] or ''}")
    if story.next_steps.height:
        click.echo("\nwhat comes next")
        shown = ("rank", "activity", "probability", "median_days", "low_days", "high_days", "evidence")
        show.table(story.next_steps.select(shown), None)
    click.echo("\nwhat happened")
    names = ("when", "touchpoint", "channel", "about", "who", "source row")
    show.table(pl.DataFrame(story.rows, schema=list(names), orient="row"), None)


def _plain(story: CaseStory) -> dict[str, object]:
    return {
        "case_id": story.case_id,
        "as_of": story.as_of,
        "segment": story.segment,
        "strength": story.strength,
        "contacts_28d": story.contacts_28d,
        "attributes": dict(story.attributes),
        "affinity": story.affinity.to_dicts(),
        "next_steps": story.next_steps.to_dicts(),
        "suggestions": story.suggestions.to_dicts(),
        "suppressed": story.suppressed.to_dicts(),
        "events": story.events.to_dicts(),
    }
