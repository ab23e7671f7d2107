"""The commands `accounts` and `account`: decision-making units, and one of them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from behavio.cli import show

if TYPE_CHECKING:
    from behavio.accounts import AccountStory

SHOWN = 40
"""Newest events of an account that are printed."""


@click.command("accounts")
@click.argument("run", metavar="RUN")
@click.option("--missing", is_flag=True, help="Only accounts that lack a role.")
@click.option("--members", is_flag=True, help="Print every affiliation instead.")
@click.option("--together", is_flag=True, help="Print which roles answer soon after each other.")
@click.option(
    "--as-log",
    type=click.Path(path_type=Path),
    help="Write the log with accounts as cases (Parquet): any command takes it.",
)
@show.output_options
def accounts(
    run: str, missing: bool, members: bool, together: bool, as_log: Path | None, form: str | None
) -> None:
    """Accounts and decision-making units: members, roles, coverage, which roles are missing.

    \b
    Example:
      behavio accounts runs/demo --missing
      behavio accounts runs/demo --as-log accounts.parquet
      behavio variants accounts.parquet
    """
    from behavio import api

    if as_log is not None:
        counts = api.accounts_log(run, as_log)
        click.echo(
            f"{counts['events']:,} events written to {as_log}; {counts['without_account']:,} of people "
            f"without an account left out, {counts['in_several_accounts']:,} counted in a further account"
        )
        return
    found = api.accounts(run)
    table = found.together if together else found.members if members else found.accounts
    if missing:
        import polars as pl

        table = found.accounts.filter(pl.col("missing").list.len() > 0)
    show.table(table, form)
    if form is None:
        if together:
            click.echo("\nnote: an association; one visit to all members does the same", err=True)
        elif not members:
            click.echo(f"\nroles asked for: {', '.join(found.wanted) or 'none'} ({found.why})", err=True)


@click.command("account")
@click.argument("run", metavar="RUN")
@click.argument("account", metavar="ACCOUNT")
@show.output_options
def account(run: str, account: str, form: str | None) -> None:
    """One account: its members and roles, who is covered, what is missing, its journey in time order.

    --csv and --json print the journey.

    \b
    Example:
      behavio account runs/demo ACC00012
      behavio account runs/demo ACC00012 --csv > journey.csv
    """
    from behavio import api

    story = api.account(run, account)
    if form is not None:
        show.table(story.journey, form)
        return
    draw(story)


def draw(story: AccountStory) -> None:
    """What a person wants to see of an account."""
    import polars as pl

    facts = story.facts
    click.echo(click.style(story.account_id, bold=True))
    n = facts["members"]
    click.echo(f"  {n} member{'' if n == 1 else 's'} now, {facts.get('covered', 0)} of them contacted lately")
    for role in facts.get("missing") or []:
        click.echo(click.style(f"  missing: {role}", fg="red") + f"  ({story.why})")
    for role in facts.get("uncovered") or []:
        click.echo(click.style(f"  not contacted lately: {role}", fg="yellow"))
    click.echo()
    names = (
        "role",
        "case_id",
        "current",
        "since",
        "until",
        "contacts",
        "last_contact",
        "last_answer",
        "closed",
    )
    more = [c for c in ("segment", "next") if c in story.members.columns]
    show.table(story.members.select(*names, *more).sort("current", "role", descending=[True, False]), None)
    rest = story.journey.height - SHOWN
    click.echo(
        f"\nIts journey{f', the newest {SHOWN} of {story.journey.height:,} events' if rest > 0 else ''}"
    )
    columns = [
        c
        for c in ("timestamp", "case_id", "role", "activity", "channel", "message")
        if c in story.journey.columns
    ]
    show.table(
        story.journey.tail(SHOWN).select(columns).with_columns(pl.col(columns[1:]).fill_null("")), None
    )
