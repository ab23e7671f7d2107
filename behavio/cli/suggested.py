"""The command `suggestions`: what a run suggests, what it holds back, its policy, plan and feedback."""

from __future__ import annotations

from typing import Any

import click
import polars as pl

from behavio.cli import show

SHOWN = ("case_id", "rank", "action", "channel", "message", "due_from", "priority", "probability", "reason")
MEDICAL = ("case_id", "action", "channel", "due_from", "waiting_days", "owner_id", "reason")


@click.command("suggestions")
@click.argument("run", metavar="RUN")
@click.option("--suppressed", "table", flag_value="suppressed", help="What is held back, each with its rule.")
@click.option("--plan", "table", flag_value="plan", help="The steps of every case over the planning cycle.")
@click.option("--missing", "table", flag_value="missing", help="Messages a case was never shown.")
@click.option("--medical", "table", flag_value="medical", help="The queue of the medical team, kept apart.")
@click.option(
    "--medical-suppressed", "table", flag_value="medical_suppressed", help="What is held back in that queue."
)
@click.option("--watch", "table", flag_value="watch", help="High value, low access.")
@click.option("--conflicts", "table", flag_value="conflicts", help="Channel policy against preference.")
@click.option("--feedback", "table", flag_value="feedback", help="What became of earlier suggestions.")
@click.option("--adherence", "table", flag_value="adherence", help="The same per rep, in shares.")
@click.option("--policy", "table", flag_value="policy", help="The policy against what was done.")
@click.option("--json", "form", flag_value="json", help="Print JSON.")
@click.option("--csv", "form", flag_value="csv", help="Print CSV.")
def suggestions(run: str, table: str | None, form: str | None) -> None:
    """What to do next for whom and why, what is held back, and what the policy would have brought.

    \b
    Example:
      behavio suggestions runs/demo
      behavio suggestions runs/demo --policy
      behavio suggestions runs/demo --plan --csv > plan.csv
    """
    from behavio import api

    if table == "policy":
        show.value(api.policy(run), form, _policy)
        return
    rows = api.suggestions(run, table or "suggestions")
    if table in (None, "medical") and form is None:
        rows = rows.select(MEDICAL if table else SHOWN)
    if form is not None and rows.height:
        lists = [c for c, k in rows.schema.items() if k == pl.List(pl.String)]
        rows = rows.with_columns(pl.col(c).list.join("; ") for c in lists) if form == "csv" else rows
    show.table(rows, form)


def _policy(told: dict[str, Any]) -> None:
    """The estimate in words."""
    if "note" in told:
        click.echo(told["note"])
    else:
        _estimate(told)
    held = told.get("holdout")
    if held is None:
        return
    if "note" in held:
        click.echo(f"\nRandomised holdout: {held['note']}")
        return
    gap = held["answers_28d"]
    groups = f"{held['n_held']:,} left alone, {held['n_rest']:,} not"
    span = f"{gap['low']:+.2f} to {gap['high']:+.2f}"
    click.echo(f"\nRandomised holdout ({groups}), intention to treat:")
    click.echo(f"  {gap['uplift']:+.2f} answers per case and 28 days ({span})")


def _estimate(told: dict[str, Any]) -> None:
    done, over = told["done"], told["overlap"]
    since, by = told["learned_until"][:10], told["objective"]
    click.echo(f"{told['n_contacts']:,} contacts of {told['n_cases']:,} cases after {since}, judged by {by};")
    click.echo("the policy was learned before.\n")
    click.echo(f"  done                 {done['value']:.1%}  ({done['low']:.1%} to {done['high']:.1%})")
    for name, key in (("doubly robust", "doubly_robust"), ("inverse propensity", "snips")):
        e = told[key]
        span = f"{e['gain_low']:+.1%} to {e['gain_high']:+.1%}"
        click.echo(f"  {name:<19}  {e['value']:.1%}, gain {e['gain']:+.1%}  ({span})")
    some = f"{over['effective_n']:,.0f} effective contacts ({over['effective_share']:.0%})"
    click.echo(f"\n  overlap: {some}, {over['without_support']:.0%} without support\n")
    show.table(pl.DataFrame(told["actions"]), None)
    click.echo("\nAn association: it holds as far as what the company chose by is in the log.")
