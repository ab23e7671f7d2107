"""Commands that hold journeys against a plan, and that find rules journeys keep."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from behavio.cli import show
from behavio.cli.ask import asks

if TYPE_CHECKING:
    import polars as pl

    from behavio.conformance import Conformance

TABLES = ("steps", "cases", "deviations", "response", "occurrences", "occurrence_steps")
SHOWN = 25


@asks("conform")
@click.option(
    "--plan",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Plan: .toml (flows, rules), .bpmn, .pnml, or a table of planned contacts.",
)
@click.option("--rule", "rules", multiple=True, help='A rule: "response(portal_visit, call_*) within 14d".')
@click.option("--tolerance", type=click.FloatRange(0, 1), help="Share of a contact goal that may be off.")
@click.option("--response", multiple=True, help="Activity that counts as an answer (default: all inbound).")
@click.option("--within", help="How long after the plan was done an answer counts (default 30d).")
@click.option("--table", type=click.Choice(TABLES), help="Only this table, with all its rows.")
@click.option("--top", type=click.IntRange(1), help="Only the first rows of it.")
def conform(source: str, form: str | None, table: str | None, top: int | None, **options: Any) -> None:
    """What was planned against what happened: skipped, extra, wrong order, too late, too seldom, too often.

    Cases that still run are open as long as nothing is overdue. A run answers with its own plan, or with
    --plan.

    \b
    Example:
      behavio conform visits.csv --rule "response(email_open, portal_visit) within 14d"
      behavio conform visits.csv --plan campaign.toml --table deviations --csv > deviations.csv
      behavio conform runs/demo --plan journey.bpmn
    """
    from behavio import api

    found = api.conform(source, **show.given(options))
    if table is not None or form == "csv":
        rows: pl.DataFrame = getattr(found, table or "steps")
        show.table(rows if top is None else rows.head(top), form)
    elif form == "json":
        show.value(_plain(found), form, lambda _: None)
    else:
        _draw(found)


def _plain(found: Conformance) -> dict[str, Any]:
    facts = {"plan": found.name, "n_cases": found.n_cases, "states": found.states().to_dicts()}
    tables = {name: getattr(found, name).to_dicts() for name in ("steps", "response", "occurrence_steps")}
    return facts | tables | {"notes": found.notes}


def _draw(found: Conformance) -> None:

    click.echo(f"{found.name}: {found.n_cases:,} cases")
    for row in found.states().iter_rows(named=True):
        told = [f"{row['conforms']:,} conform", f"{row['deviates']:,} deviate", f"{row['open']:,} open"]
        if row["not_started"]:
            told.append(f"{row['not_started']:,} not started")
        several = found.states().height > 1 or row["plan"] != found.name
        click.echo(f"{'  ' + row['plan'] + ': ' if several else '  '}{', '.join(told)}")
    for (kind,), part in found.steps.group_by("kind", maintain_order=True):
        click.echo("")
        show.table(_for_people(part.head(SHOWN), str(kind)), None)
        if part.height > SHOWN:
            click.echo(f"… {part.height - SHOWN:,} more: --table steps")
    for row in found.walks().iter_rows(named=True):
        click.echo(
            f"\n{row['plan']}, each time it was begun: {row['begun']:,} times by {row['cases']:,} case"
            f"{'s' * (row['cases'] != 1)}, "
            f"{row['finished']:,} finished, {row['stopped']:,} stopped, {row['open']:,} open"
        )
        show.table(_walked(found.occurrence_steps.filter(plan=row["plan"])), None)
    if found.response.height:
        click.echo("\nattainment beside response")
        show.table(_bands(found.response), None)
    if found.deviations.height:
        some = found.deviations["case_id"].unique(maintain_order=True).head(3).to_list()
        click.echo(f"\nfor example {', '.join(some)}; the evidence: --table deviations")
    for note in found.notes:
        click.echo(f"note: {note}", err=True)


NAMES = {"flow": "step", "rule": "rule", "contacts": "goal", "model": "activity"}
"""What a row of each kind of plan is."""


def _for_people(part: pl.DataFrame, kind: str) -> pl.DataFrame:
    """The columns a person reads: shares with interval, and what went wrong in words."""
    import polars as pl

    rows = part.to_dicts()
    columns: dict[str, list[Any]] = {
        NAMES[kind]: [r["step"] for r in rows],
        "cases": [r["cases"] for r in rows],
        "as planned": [percent(r["share"], r["low"], r["high"]) for r in rows],
    }
    if any(r["open"] for r in rows):
        columns["still open"] = [r["open"] for r in rows]
    if kind == "contacts":
        columns["due so far"] = [round(r["planned"]) for r in rows]
        columns["done"] = [round(r["done"]) for r in rows]
        columns["attainment"] = [
            percent(r["attainment"], r["attainment_low"], r["attainment_high"]) for r in rows
        ]
    columns["what went wrong (cases)"] = [_wrong(r) for r in rows]
    return pl.DataFrame(columns, strict=False)


def _walked(steps: pl.DataFrame) -> pl.DataFrame:
    """How far the occurrences of one flow came."""
    import polars as pl

    rows = steps.to_dicts()
    columns: dict[str, list[Any]] = {
        "step": [r["step"] for r in rows],
        "came to it": [r["occurrences"] for r in rows],
        "of those begun (95 %)": [percent(r["share"], r["low"], r["high"]) for r in rows],
        "stopped after it": [r["stopped"] for r in rows],
        "open after it": [r["open"] for r in rows],
    }
    if any(r["median_s"] is not None for r in rows):
        columns["median_s"] = [r["median_s"] for r in rows]
    return pl.DataFrame(columns, strict=False)


def _wrong(row: dict[str, Any]) -> str:
    from behavio.conformance import KINDS

    told = sorted(((row[k], k.replace("_", " ")) for k in KINDS if row[k]), reverse=True)
    return ", ".join(f"{kind} {n:,}" for n, kind in told) or "–"


def _bands(found: pl.DataFrame) -> pl.DataFrame:
    import polars as pl

    rows = found.to_dicts()
    several = len({r["plan"] for r in rows}) > 1
    plan = {"plan": [r["plan"] for r in rows]} if several else {}
    return pl.DataFrame(
        {
            **plan,
            "done of the plan": [r["band"] for r in rows],
            "cases": [r["cases"] for r in rows],
            "answered (95 %)": [percent(r["share"], r["low"], r["high"]) for r in rows],
            "answers a case": [r["responses"] for r in rows],
        },
        strict=False,
    )


def percent(share: float | None, low: float | None, high: float | None) -> str:
    """A share with its interval: "49.2 % (47.8–50.6)"."""
    if share is None:
        return "–"
    return f"{share:.1%}" if low is None or high is None else f"{share:.1%} ({low:.1%}–{high:.1%})"


@asks("rules")
@click.option("--min-support", type=click.FloatRange(0, 1), help="Least share of cases that call for a rule.")
@click.option("--min-confidence", type=click.FloatRange(0, 1), help="Least share of these that obey it.")
@click.option("--template", "templates", multiple=True, help="Only such rules: response, precedence, …")
@click.option("--about", help="Only rules about this activity.")
@click.option("--top", type=click.IntRange(1), help="Only the first rows.")
@click.option("--plan", is_flag=True, help="Print them as a plan file for behavio conform.")
def rules(
    source: str, form: str | None, about: str | None, top: int | None, plan: bool, **options: Any
) -> None:
    """Which rules journeys keep (Declare): what follows, precedes, excludes what, in how many cases.

    cases call for a rule, conforming ones obey it; a case that still runs counts as it stands.

    \b
    Example:
      behavio rules visits.csv --template response --min-confidence 0.8
      behavio rules visits.csv --about portal_visit --plan > rules.toml
    """
    import polars as pl

    from behavio import api

    found = pl.DataFrame(api.rules(source, **show.given(options)))
    if about is not None:
        found = found.filter((pl.col("activity") == about) | (pl.col("target") == about).fill_null(False))
    found = found if top is None else found.head(top)
    if plan:
        from behavio.conformance import as_plan

        click.echo(as_plan(found), nl=False)
    else:
        show.table(found, form)
