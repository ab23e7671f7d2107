"""Commands about how journeys run: graph, variants, steps, funnel, retention."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from behavio.cli import show
from behavio.cli.ask import asks, piped

if TYPE_CHECKING:
    import polars as pl


def cut_options(command: Any) -> Any:
    """--sessions and --group."""
    return click.option(
        "--sessions", metavar="GAP", help="Cut cases where nothing happens for longer, e.g. 30m."
    )(group_option(command))


def group_option(command: Any) -> Any:
    """--group."""
    return click.option(
        "--group", "groups", metavar="FILE", help='Group activities by rules: "call_*" = "rep contact".'
    )(command)


@asks("graph")
@click.option("--top", type=click.IntRange(1), help="Only the most frequent edges.")
@click.option("--eventually", is_flag=True, help="Any later event, not only the next one.")
@click.option("--performance", is_flag=True, help="Show p10, least, largest and standard deviation too.")
@cut_options
def graph(
    source: str, form: str | None, top: int | None, eventually: bool, performance: bool, **options: Any
) -> None:
    """What directly follows what: frequency, cases, median, mean and 90th percentile of the time between.

    \b
    Example:
      behavio graph visits.csv --top 20
      behavio graph clicks.parquet --sessions 30m --eventually
      behavio graph runs/demo --json
    """
    from behavio import api

    found = api.graph(source, eventually=eventually, note=_note, **show.given(options))
    if form is None and not performance:
        found = found.drop("p10_s", "min_s", "max_s", "std_s", strict=False)
    show.table(found if top is None else found.head(top), form)


@asks("variants")
@click.option("--top", type=click.IntRange(1), help="Only the most frequent variants.")
@cut_options
def variants(source: str, form: str | None, top: int | None, **options: Any) -> None:
    """Distinct journeys, how many cases follow each, and how much of the log they cover.

    \b
    Example:
      behavio variants visits.csv --top 10
    """
    from behavio import api

    found = api.variants(source, top=top, note=_note, **show.given(options))
    show.table(found if form == "json" else found.drop("activities"), form)


@asks("steps")
@click.option("--n", type=click.IntRange(1, 100), default=10, show_default=True, help="Steps to show.")
@cut_options
def steps(source: str, form: str | None, n: int, **options: Any) -> None:
    """Step matrix: the share of cases whose 1st, 2nd, … n-th event is what.

    \b
    Example:
      behavio steps visits.csv --n 6
    """
    from behavio import api
    from behavio.journeys import step_matrix

    found = api.steps(source, n=n, note=_note, **show.given(options))
    show.table(found if form else _percent(step_matrix(found)), form)


@click.command("funnel")
@click.argument("source", metavar="LOG|RUN", callback=piped)
@click.argument("step", metavar="STEP...", nargs=-1, required=True)
@click.option("--within", metavar="TIME", help="Time from the first step to each later one, e.g. 30d.")
@cut_options
@show.output_options
@show.column_options
def funnel(source: str, step: tuple[str, ...], form: str | None, within: str | None, **options: Any) -> None:
    """How many cases take steps in this order, in which time; other events in between are allowed.

    A step is an activity, or alternatives with wildcards: "email_open|portal_*". Cases that are still open
    and in time are counted in may_still: they have not failed yet.

    \b
    Example:
      behavio funnel visits.csv email_sent email_open portal_visit --within 14d
    """
    from behavio import api

    found = api.funnel(source, list(step), within=within, note=_note, **show.given(options))
    show.table(found if form else _shares(found), form)


@asks("retention")
@click.option("--active", multiple=True, metavar="ACTIVITY", help='What counts as being active: "portal_*".')
def retention(source: str, form: str | None, active: tuple[str, ...], **options: Any) -> None:
    """Cases by the month of their first event, and the share active so many months later.

    \b
    Example:
      behavio retention visits.csv --active "portal_*" --active email_click
    """
    import polars as pl

    from behavio import api
    from behavio.journeys import retention_matrix

    found = api.retention(source, activities=active or None, **show.given(options))
    if form:
        show.table(found, form)
        return
    show.table(_percent(retention_matrix(found).rename({"cohort_cases": "cases"})), form)
    month = pl.col("cohort").dt.offset_by(pl.format("{}mo", pl.col("months_since")))
    last = found.select(month.max()).item()
    _note(f"the last figure of each row is {last:%B %Y}, which may not be over")


@asks("lifecycle")
@click.option("--active", multiple=True, metavar="ACTIVITY", help='What counts as being active: "portal_*".')
@group_option
def lifecycle(source: str, form: str | None, active: tuple[str, ...], **options: Any) -> None:
    """How many cases are new, active, returned, dormant (90 days silent) or lost (a year), month by month.

    \b
    Example:
      behavio lifecycle visits.csv --active "portal_*"
    """
    from behavio import api

    found = api.lifecycle(source, activities=active or None, **show.given(options))
    if form is None:
        found = found.pivot("state", index="date", values="cases").fill_null(0).sort("date")
        day = found["date"].dt.strftime("%Y-%m-%d")
        found = found.with_columns(day).unique("date", keep="last", maintain_order=True)
    show.table(found, form)


@asks("waits")
@cut_options
def waits(source: str, form: str | None, **options: Any) -> None:
    """Where the time goes: how long each activity is waited for, and its share of all the time that passes.

    \b
    Example:
      behavio waits visits.csv --group touchpoints.toml
    """
    from behavio import api

    found = api.waits(source, note=_note, **show.given(options))
    show.table(found.drop("p10_s", "min_s", "max_s", "std_s") if form is None else found, form)


@asks("rework")
@cut_options
def rework(source: str, form: str | None, **options: Any) -> None:
    """What is done again: cases that come back to an activity, at once or after something else.

    \b
    Example:
      behavio rework visits.csv
    """
    from behavio import api

    found = api.rework(source, note=_note, **show.given(options))
    if form is None:
        names = {"rework_cases": "again", "rework_share": "share", "self_loop_cases": "again at once"}
        names |= {"two_loop_cases": "again after one other", "extra_events": "extra events"}
        found = found.select("activity", "frequency", "cases", *names).rename(names)
    show.table(found, form)


def _note(text: str) -> None:
    show.console().print(text, style="dim")


def _percent(found: pl.DataFrame) -> pl.DataFrame:
    """Shares as whole per cent: a matrix of them is read by its large numbers."""
    import polars as pl

    def said(name: str) -> pl.Expr:
        value = pl.col(name) * 100
        whole = value.round().cast(pl.Int64, strict=False).cast(pl.String)
        few = pl.when((value > 0) & (value < 0.5)).then(pl.lit("<1"))
        text = few.when(value == 0).then(pl.lit("·")).otherwise(whole)
        return pl.when(value.is_null()).then(pl.lit("")).otherwise(text).str.pad_start(3).alias(name)

    return found.with_columns(said(n) for n, kind in found.schema.items() if kind.is_float())


def _shares(found: pl.DataFrame) -> pl.DataFrame:
    """The two shares of a funnel in per cent."""
    import polars as pl

    said = [
        pl.when(pl.col(n).is_null()).then(pl.lit("–"))
        .otherwise((pl.col(n) * 100).round(1).cast(pl.String) + " %").alias(n)
        for n in ("share", "share_of_previous")
    ]  # fmt: skip
    return found.with_columns(said)
