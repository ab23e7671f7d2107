"""Commands that do work and leave files."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import click

from behavio.cli import show


@click.command("run")
@click.argument("job", type=click.Path(path_type=Path))
@click.option("--out", type=click.Path(path_type=Path), help="Run folder (default runs/<job>).")
@click.option(
    "--set", "changes", multiple=True, metavar="TABLE.KEY=VALUE", help="Change one setting; repeatable."
)
@click.option("--from", "start", metavar="STAGE", help="Make this stage and all after it anew.")
def run(job: Path, out: Path | None, changes: tuple[str, ...], start: str | None) -> None:
    """Run a job file into a run folder; unchanged stages are reused, a killed run goes on.

    \b
    Example:
      behavio run pipelines/open_payments.toml
      behavio run pipelines/demo.toml --out runs/test --set segments.k=5
    """
    from behavio import api
    from behavio.cli.summary import closing
    from behavio.cli.warm import beside

    with show.screen() as screen, beside():
        first_compile()
        result = api.run(job, out=out, changes=changes, start=start, watcher=screen)
    closing(result)


@click.command("demo")
@click.option("--out", type=click.Path(path_type=Path), default=Path("demo"), show_default=True)
@click.option("--cases", "n_cases", type=click.IntRange(50), default=10_000, show_default=True, help="HCPs.")
@click.option("--seed", type=int, default=7, show_default=True)
def demo(out: Path, n_cases: int, seed: int) -> None:
    """Simulate a year of HCPs, run the whole job on the raw extracts, say where the report is.

    \b
    Example:
      behavio demo
      behavio demo --cases 2000 --out /tmp/demo
    """
    from behavio import api
    from behavio.cli.summary import closing
    from behavio.cli.warm import beside

    with show.screen() as screen, beside():
        first_compile("about half a minute")
        result = api.demo(out, n_cases=n_cases, seed=seed, watcher=screen)
    closing(result)


@click.command("simulate")
@click.option(
    "--out", type=click.Path(path_type=Path), required=True, help="Folder for extracts/ and truth/."
)
@click.option("--cases", "n_cases", type=click.IntRange(1), help="HCPs (default 10,000).")
@click.option("--months", type=click.IntRange(1, 60), help="Length in months (default 12).")
@click.option("--start", help="First day, YYYY-MM-DD.")
@click.option("--patients", type=click.IntRange(1), help="Patients of these HCPs, as OMOP tables beside.")
@click.option("--drift-date", help="Day on which behaviour changes, YYYY-MM-DD.")
@click.option("--seed", type=int, default=7, show_default=True)
def simulate(out: Path, patients: int | None, **options: Any) -> None:
    """Write raw extracts as a CRM, a mailer and a web site would export them, with the truth beside.

    \b
    Example:
      behavio simulate --out data/sim --cases 2000 --seed 3
    """
    import polars as pl

    from behavio import api

    with show.screen() as screen:
        first_compile()
        screen.stage("simulate", "started", 0.0)
        began = time.perf_counter()
        api.simulate(out, progress=screen.progress, **show.given(options))
        if patients is not None:
            api.simulate_patients(out, n_patients=patients, n_hcps=options["n_cases"], seed=options["seed"])
        screen.stage("simulate", "done", time.perf_counter() - began)
    files = sorted(p for p in out.rglob("*") if p.is_file())
    sizes = [{"file": p.relative_to(out).as_posix(), "bytes": p.stat().st_size} for p in files]
    show.table(pl.DataFrame(sizes), None)


@click.command("report")
@click.argument("folder", metavar="RUN", type=click.Path(path_type=Path))
@click.option("--title", help="Title of the page (default: what was found).")
@click.option(
    "--as",
    "form",
    type=click.Choice(["html", "pptx", "markdown", "csv", "parquet"]),
    default="html",
    show_default=True,
    help="A page, slides, a summary, or the tables behind every number.",
)
@click.option("--group", help="The report of this one group alone.")
@click.option("--role", type=click.Choice(["brand", "sales", "medical"]), help="What this role needs.")
@click.option("--lang", help="en, de, or a catalogue file of your own.")
@click.option("--template", type=click.Path(path_type=Path), help="A company's .pptx for the slides.")
@click.option("--out", type=click.Path(path_type=Path), help="Folder to write into.")
def report(folder: Path, form: str, out: Path | None, template: Path | None, **options: Any) -> None:
    """Write a finished run's report again: the page, slides, a summary or its tables.

    It goes into RUN/report; of one group, for one role or in another language into RUN/reports/NAME.

    \b
    Example:
      behavio report runs/demo --title "Cardiology, autumn"
      behavio report runs/demo --as pptx --template company.pptx
      behavio report runs/demo --role medical --lang de
    """
    from behavio import api

    if template is not None:
        options["template"] = str(template)
    click.echo(api.report(folder, out=out, form=form, **show.given(options)))


def first_compile(takes: str = "up to 20 s") -> None:
    """Say once, on the first run of all, why it starts slowly and how much that costs."""
    from behavio.cli.warm import cached

    if not cached():
        show.console().print(f"  compiling the kernels, once ({takes})", style="dim")
