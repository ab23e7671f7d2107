"""Commands that ask for patterns: what stands out, what comes before an outcome, who matches."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from behavio.cli import show
from behavio.cli.ask import asks, only, piped
from behavio.cli.journey import group_option

if TYPE_CHECKING:
    import polars as pl

    from behavio.patterns import Matches

LIMITS = {"max_gap": "max_gap_events", "max_span": "max_span_events"}


def _limits(options: dict[str, Any]) -> dict[str, Any]:
    """`--max-gap 3` counts events, `--max-gap 7d` time; what is given is the only limit of its kind."""
    for name, in_events in LIMITS.items():
        given = options.get(name)
        if given is not None:
            events = given.isdigit()
            options[name], options[in_events] = ("", int(given)) if events else (given, 0)
    return options


@asks("patterns")
@click.option("--top", type=click.IntRange(1), help="Only the first rows.")
@click.option("--min-support", type=click.FloatRange(0, 1), help="Least share of cases, for example 0.05.")
@click.option("--max-length", type=click.IntRange(1), help="Longest pattern in events.")
@click.option("--max-gap", help="From one step to the next: 7d, or 3 (events). Default: both 30d and 3.")
@click.option("--min-gap", help="Least time from one step to the next, for example 1d.")
@click.option("--max-span", help="From the first step to the last: 60d, or 5 (events).")
@click.option(
    "--closed/--not-closed", default=None, help="Leave out what a longer pattern with as many cases says."
)
@click.option("--outcome", help="What comes before this: an activity, 'a < b < c', 'silence 60d'.")
@click.option("--within", help="The outcome, or answer, comes so soon after the pattern (default 30d).")
@click.option("--communications", is_flag=True, help="Which sequences of communications are answered.")
@click.option(
    "--outbound", multiple=True, metavar="ACTIVITY", help='What is a communication: "campaign_*"; repeatable.'
)
@click.option("--segment", help="Only what sets this segment apart (RUN only).")
@group_option
def patterns(
    source: str,
    form: str | None,
    segment: str | None,
    communications: bool,
    outbound: tuple[str, ...],
    **options: Any,
) -> None:
    """What orders of events stand out, what comes before an outcome, and what is answered.

    Without --outcome: support, and lift over the same cases with their events shuffled. With it: how often
    the outcome follows in time, against comparable moments of cases without the pattern.

    \b
    Example:
      behavio patterns visits.csv --min-support 0.05 --max-gap 7d --top 20
      behavio patterns visits.csv --outcome portal_visit --within 14d
      behavio patterns visits.csv --communications --outbound "email_*" --within 14d
      behavio patterns runs/demo --segment "Portal explorers"
    """
    from behavio import api

    top, outcome = options.pop("top", None), options.get("outcome")
    what = "outcomes" if outcome else "communications" if communications else "patterns"
    if outcome and communications:
        raise click.UsageError("--outcome and --communications are two questions: ask one")
    if outbound and not communications:
        raise click.UsageError("--outbound says what a communication is: give it with --communications")
    given = show.given(_limits(options) | {"communications": outbound})
    found, notes = api.pattern_findings(source, what, **given)
    if segment is not None:
        found = only(found, "segment", segment)
    found = found if top is None else found.head(top)
    if form is not None:
        show.table(found if form == "json" else found.drop("activities"), form)
    else:
        show.table(_for_people(found), None)
    for note in notes:
        click.echo(f"note: {note}", err=True)


def _for_people(found: pl.DataFrame) -> pl.DataFrame:
    """The columns a person reads."""
    import polars as pl

    hidden = ["activities", "length", "p_value", "outcome", "counted_in"]
    hidden += [c for c in ("segment",) if c in found.columns and found[c].null_count() == found.height]
    names = {
        "n_cases": "cases",
        "n_outcome": "with it",
        "q_value": "may be chance",
        "stands_out": "stands out",
    }
    shown = found.drop(hidden, strict=False).with_columns(_between(found, ("lift", "low", "high"), 1.0, 2))
    shown = shown.rename({"lift": "lift (95 %)"}).drop("low", "high")
    if "share_low" in shown.columns:
        shown = shown.with_columns(_between(found, ("share", "share_low", "share_high"), 100.0, 1))
        shown = shown.rename({"share": "% (95 %)"}).drop("share_low", "share_high", "support")
        order = ["pattern", "n_cases", "n_outcome", "% (95 %)"]
        shown = shown.select(*order, pl.exclude(order))
    return shown.rename({k: v for k, v in names.items() if k in shown.columns})


def _between(found: pl.DataFrame, columns: tuple[str, str, str], times: float, digits: int) -> pl.Series:
    """An estimate and its interval in one cell: "2.65 (2.13–3.29)"; of hundreds nobody reads decimals."""
    import polars as pl

    def said(value: float) -> str:
        return f"{value:,.0f}" if abs(value) >= 100 else f"{round(value, digits)}"

    told = []
    for middle, low, high in found.select(columns).iter_rows():
        known = None not in (middle, low, high)
        told.append(f"{said(middle * times)} ({said(low * times)}–{said(high * times)})" if known else "–")
    return pl.Series(columns[0], told, dtype=pl.String)


@click.command("match")
@click.argument("source", metavar="LOG|RUN", callback=piped)
@click.argument("pattern", metavar="PATTERN")
@click.option("--cases", "table", flag_value="cases", help="The cases that match, when, with which events.")
@click.option("--near", "table", flag_value="near", help="The cases on their way, what they lack, and why.")
@click.option("--top", type=click.IntRange(1), help="Only the first rows.")
@click.option("--export", type=click.Path(dir_okay=False, path_type=Path), help="Write the rows as CSV.")
@show.column_options
@show.output_options
def match(
    source: str,
    pattern: str,
    form: str | None,
    table: str | None,
    top: int | None,
    export: Path | None,
    **columns: Any,
) -> None:
    """Who matches a pattern, who nearly does, and which step they lack.

    -> is later, => directly next; a|b one of two; a{2,} twice or more; * anything; call_* any such name;
    [brand=X, message~"Efficacy"] tests attributes; within 14d and no x limit the step or the whole;
    ^ and $ are the first and the last event of the case.

    \b
    Example:
      behavio match visits.csv "email_sent -> email_open -> portal_visit within 14d, no call_f2f"
      behavio match runs/demo "call_f2f => email_sent within 2d" --cases --csv > cases.csv
      behavio match visits.csv "portal_visit{3,}" --near
    """
    from behavio import api

    found = api.match(source, pattern, **show.given(columns))
    rows = found.near if table == "near" else found.cases
    rows = rows if top is None else rows.head(top)
    if export is not None:
        _export(rows, export)
    if form == "json":
        near = found.near if top is None else found.near.head(top)
        whole = found.facts() | {"cases": rows.to_dicts() if table != "near" else [], "near": near.to_dicts()}
        show.value(whole, form, lambda _: None)
    elif form == "csv":
        show.table(rows, form)
    elif table is not None:
        show.table(rows, None)
    else:
        _say(found)


def _export(rows: pl.DataFrame, path: Path) -> None:
    import polars as pl

    from behavio.files import whole_file
    from behavio.targets.delivery import safe

    table = show.flat(rows)
    free = [c for c, kind in table.schema.items() if kind == pl.String and c != "case_id"]
    with whole_file(path) as draft:
        table.with_columns(safe(pl.col(c)) for c in free).write_csv(draft)
    click.echo(f"{rows.height:,} rows in {path}", err=True)


def _say(found: Matches) -> None:
    """The answer for people: how it was read, how many, how far the others came, who, what is missing."""
    import polars as pl

    from behavio.patterns.matches import sentence

    click.echo(f"read as: {found.means}\n")
    click.echo(f"{sentence(found)}\n")
    if found.n_undecided:
        click.echo(f"{found.n_undecided:,} cases cannot be told yet: the log ends too soon\n")
    show.table(found.steps.rename({"of_before": "of the step before"}), None)
    if found.near.height:
        click.echo(f"\n{found.near.height:,} cases are on their way; what they lack:\n")
        lacking = found.near.group_by("steps_done", "lacks", "why").agg(pl.len().alias("cases"))
        order = ["steps_done", "cases", "lacks", "why"]
        lacking = lacking.sort(order, descending=[True, True, False, False])
        show.table(lacking.select("lacks", "why", "cases", "steps_done").head(8), None)
    if found.n_matching:
        some = ", ".join(found.cases["case_id"].head(3).to_list())
        click.echo(f"\nfor example {some}; all of them: --cases, those on their way: --near")
