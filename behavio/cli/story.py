"""One case's story for people, or as JSON."""

from __future__ import annotations

import click
import polars as pl

from behavio.cli import show
from behavio.view import CaseStory, page


def draw(story: CaseStory, form: str | None) -> None:
    """Facts first, then what is suggested and why, what may come next, then every touchpoint in order."""
    if form == "json":
        show.value(_plain(story), form, lambda _: None)
        return
    click.echo(f"{story.case_id}\n")
    width = max(len(name) for name, _ in story.facts)
    for name, told in story.facts:
        click.echo(f"  {name:<{width}}  {told}")
    for line in [*page.suggested(story), *page.held_back(story)]:
        click.echo(f"\n{line}")
    tables: tuple[tuple[str, tuple[str, ...], list[tuple[str, ...]]], ...] = (
        ("what comes next", ("step", "probability", "in", "because"), page.next_rows(story)),
        ("most alike", ("case", "likeness", "group", "next"), page.alike_rows(story)),
    )
    for title, names, rows in tables:
        if rows:
            click.echo(f"\n{title}")
            show.table(pl.DataFrame(rows, schema=list(names), orient="row"), None)
    click.echo("\nwhat happened")
    names = ("when", "touchpoint", "channel", "about", "who", "source row")
    show.table(pl.DataFrame(story.rows, schema=list(names), orient="row"), None)


def _plain(story: CaseStory) -> dict[str, object]:
    return {
        "case_id": story.case_id,
        "as_of": story.as_of,
        "segment": story.segment,
        "strength": story.strength,
        "stage": None if story.stage is None else dict(story.stage),
        "pressure": None if story.pressure is None else dict(story.pressure),
        "contacts_28d": story.contacts_28d,
        "attributes": dict(story.attributes),
        "affinity": story.affinity.to_dicts(),
        "content": story.content.to_dicts(),
        "alike": story.alike.to_dicts(),
        "data_age_days": dict(story.ages),
        "perceptions": story.perceptions.to_dicts(),
        "next_steps": story.next_steps.to_dicts(),
        "suggestions": story.suggestions.to_dicts(),
        "suppressed": story.suppressed.to_dicts(),
        "events": story.events.to_dicts(),
    }
