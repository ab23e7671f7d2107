"""Commands that answer a question about a log or a run."""

from __future__ import annotations

from difflib import get_close_matches
from typing import TYPE_CHECKING, Any

import click

from behavio.cli import show
from behavio.errors import JobError

if TYPE_CHECKING:
    import polars as pl


def piped(context: click.Context, parameter: click.Parameter, source: str) -> str:
    """A lone dash is what is piped in."""
    return "/dev/stdin" if source == "-" else source


def asks(name: str) -> Any:
    """A command on LOG or RUN with the column and output options."""

    def wrap(function: Any) -> click.Command:
        command = click.argument("source", metavar="LOG|RUN", callback=piped)(
            show.output_options(show.column_options(function))
        )
        return click.command(name)(command)

    return wrap


@click.command("check")
@click.argument("source", metavar="LOG|JOB", callback=piped)
@show.column_options
@click.option("--json", "form", flag_value="json", help="Print JSON.")
def check(source: str, form: str | None, **columns: Any) -> None:
    """Data readiness: rows read, accepted, rejected and why, spans, what is missing.

    \b
    Example:
      behavio check visits.csv --case-id customer
      behavio check pipelines/demo.toml --json
    """
    from behavio import api
    from behavio.cli.readiness import draw

    show.value(api.check(source, **show.given(columns)), form, draw)


@asks("segments")
@click.option(
    "--k", type=click.IntRange(1), help="Number of segments (default: found by held-out likelihood)."
)
@click.option("--kind", help="auto (default), semi_markov, kmeans, vectors, hdbscan or medoids.")
@click.option("--seed", type=int, default=7, show_default=True)
@click.option("--sizes", is_flag=True, help="Print the segments and their sizes instead of the cases.")
@click.option("--rules", is_flag=True, help="At most seven questions that tell a segment (RUN only).")
@click.option("--proof", is_flag=True, help="How far the segments can be believed (RUN only).")
@click.option(
    "--against",
    metavar="FILE|COLUMN|KIND|K",
    help="Another segmentation beside this one: a file of case_id and segment, a column of the cases, "
    "another kind, another number (RUN only).",
)
@click.option(
    "--like",
    metavar="CASE",
    help="The cases of its segment whose whole journeys are most like that of CASE (RUN only); for what "
    "others did next who were where CASE is now: behavio neighbours.",
)
def segments(
    source: str,
    form: str | None,
    sizes: bool,
    rules: bool,
    proof: bool,
    against: str | None,
    like: str | None,
    **options: Any,
) -> None:
    """Groups of cases that interact alike, by order and timing, with names.

    \b
    Example:
      behavio segments visits.csv --sizes
      behavio segments runs/demo --csv > labels.csv
      behavio segments runs/demo --rules
      behavio segments runs/demo --against crm_segments.csv
      behavio segments runs/demo --against 5
    """
    import polars as pl

    from behavio import api
    from behavio.cli import grouped

    if sum((sizes, rules, proof, against is not None, like is not None)) > 1:
        raise click.UsageError("ask for one of --sizes, --rules, --proof, --against, --like")
    if rules or proof:
        return grouped.page(source, form, "rules" if rules else "proof")
    if against is not None:
        return grouped.against(source, form, against, options["seed"])
    if like is not None:
        return show.table(api.segment_alike(source, like), form)
    grouped.warn(source)
    found = api.segments(source, **show.given(options))
    if sizes:
        found = (
            found.group_by("segment_id", "segment")
            .agg(pl.len().alias("n_cases"), pl.col("strength").mean().alias("mean_strength"))
            .with_columns((pl.col("n_cases") / pl.col("n_cases").sum()).alias("share"))
            .sort("n_cases", "segment_id", descending=[True, False])
        )
    show.table(found, form)


@asks("predict")
@click.option("--case", help="Only this case.")
@click.option("--within", is_flag=True, help="Instead: what happens in the next 7, 30 and 90 days.")
@click.option("--model", metavar="RUN", help="Ask the models of this run instead of learning from LOG.")
@click.option("--kind", help="ngram, counting, gru, cnn, transformer, neighbours or pool (LOG only).")
@click.option("--seed", type=int, default=7, show_default=True)
def predict(
    source: str, form: str | None, case: str | None, within: bool, model: str | None, **options: Any
) -> None:
    """Next steps per case: what, how likely, when (median and 80 % interval), on what evidence.

    With --within: how likely each activity comes at least once in the next 7, 30 and 90 days, and how often
    it is expected, asked directly and not by rolling single steps forward.
    A case with not enough history has one row of rank 0 that says so.

    \b
    Example:
      behavio predict visits.csv --kind ngram --csv > next.csv
      behavio predict this_week.csv --model runs/demo --csv > next.csv
      behavio predict runs/demo --case 0015g00000B7XQ2AAN --within
    """
    from behavio import api

    if within and model is not None:
        raise click.UsageError("--model answers single next steps: leave out --within")
    asked = show.given(options)
    found = api.within(source, **asked) if within else api.predict(source, model=model, **asked)
    show.table(found if case is None else only(found, "case_id", case), form)


@asks("evaluate")
@click.option("--kind", help="ngram, counting, gru, cnn, transformer, neighbours or pool (LOG only).")
@click.option("--split", type=click.Choice(["time", "case", "column"]), help="How the log is cut (LOG only).")
@click.option("--column", help="Column that says test, for --split column.")
@click.option("--end", is_flag=True, default=None, help="The end of a case is a class too.")
@click.option("--first", is_flag=True, default=None, help="Predict the first event too.")
@click.option("--min-prefix", type=click.IntRange(0), help="Fewest events before a judged one.")
@click.option("--models", multiple=True, metavar="MODEL", help="Only this and the baselines; repeatable.")
@click.option("--fields", multiple=True, metavar="COLUMN", help="Attribute models may read; repeatable.")
@click.option("--seeds", type=click.IntRange(1), help="Fits of each model that starts at random.")
@click.option("--seed", type=int, default=7, show_default=True)
def evaluate(source: str, form: str | None, **options: Any) -> None:
    """Every model against its baselines, on events after one global time cut.

    With --split, --end, --first, --min-prefix, --models, --fields or --seeds all models are judged under
    these rules, with intervals over cases, times and seconds.

    \b
    Example:
      behavio evaluate visits.csv
      behavio evaluate visits.csv --split case --seeds 3
      behavio evaluate runs/demo --json
    """
    import polars as pl

    from behavio import api
    from behavio.cli.judged import SHOWN, draw

    found = api.evaluate(source, **show.given(options))
    if form == "json":
        show.value(found, form, lambda _: None)
        return
    if not found["models"]:
        click.echo(found["reason"], err=True)
        return
    if "protocol" in found:
        draw(found, form)
        return
    table = pl.DataFrame(found["models"], infer_schema_length=None)
    if form is None:
        shown = ("name", "kind", *(c for c in SHOWN if c != "brier"), "nll_unseen")
        table = table.select(c for c in shown if c in table.columns)
    show.table(table, form)
    if form is None:
        best = found.get("oracle")
        known = [f"the true probabilities would have NLL {best['nll']:.3f}"] if best else []
        for note in [*found["notes"], *known]:
            click.echo(f"\n{note}")


def only(found: pl.DataFrame, column: str, wanted: str) -> pl.DataFrame:
    """The rows where `column` is `wanted`; JobError that names the nearest value when there is none."""
    import polars as pl

    rows = found.filter(pl.col(column) == wanted)
    if rows.is_empty():
        known = found[column].drop_nulls().unique().sort().to_list()
        near = get_close_matches(wanted, known, 3, 0.4) or known[:3]
        hint = f"for example: {', '.join(near)}" if near else "there is no row at all"
        raise JobError(f"no row has {column} {wanted!r}", hint=hint)
    return rows


@click.command("view")
@click.argument("run", metavar="RUN")
@click.argument("case", metavar="CASE")
@click.option("--json", "form", flag_value="json", help="Print JSON.")
@click.option("--csv", "form", flag_value="csv", help="Print the events as CSV.")
@click.option("--html", "form", flag_value="html", help="Print a page of HTML.")
@click.option(
    "--queue",
    type=click.Choice(["commercial", "medical"]),
    default="commercial",
    help="Whose suggestions are shown; the medical queue shows nothing promotional.",
)
def view(run: str, case: str, form: str | None, queue: str) -> None:
    """The whole story of one case: touchpoints, segment, next steps, suggestions, and why.

    \b
    Example:
      behavio view runs/demo 0015g00000B7XQ2AAN
      behavio view runs/demo 0015g00000B7XQ2AAN --html > story.html
    """
    from behavio import api
    from behavio.cli.story import draw
    from behavio.view.page import page

    story = api.view(run, case, queue)
    if form == "csv":
        show.table(story.to_frame(), form)
    elif form == "html":
        click.echo(page(story), nl=False)
    else:
        draw(story, form)
