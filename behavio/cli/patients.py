"""The command `treatment`: patients as cases, lines of therapy, and counts for HCPs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from behavio.cli import show


@click.command("treatment")
@click.argument("source", metavar="LOG|FOLDER|STUDY")
@click.option("--out", type=click.Path(path_type=Path), help="Folder for tables, summary and page.")
@click.option("--drugs", metavar="FILE", help='Lines of pattern = drug: "*lisinopril*" = "lisinopril".')
@click.option("--comorbidities", metavar="FILE", help='Likewise: "*diabetes*" = "diabetes".')
@click.option("--persons", metavar="FILE", help="Table of the patients: case, sex, year of birth or age.")
@click.option("--focus", help="Drug that HCPs and profiles are told about (default: the most frequent).")
@click.option("--activities", help="Activities that are records of a treatment, separated by commas.")
@click.option("--name", help="Column that names the drug, diagnosis or procedure.")
@click.option("--prescriber", help="Column of who prescribed.")
@click.option("--supply", help="How long a record lasts that does not say so (default 1d).")
@click.option("--gap", help="Nothing taken for longer than this ends a line (default 90d).")
@click.option("--persistence", help="Records with a gap up to this are one era (default 30d).")
@click.option("--regimen-window", help="Drugs begun so soon after the first are its regimen (default 28d).")
@click.option("--overlap", help="Taken so long beside a new drug is an add, else a switch (default 30d).")
@click.option("--observed", type=click.Choice(["log", "case"]), help="Until when patients are observed.")
@click.option("--k", type=click.IntRange(10), help="Patients a number must rest on (default 10).")
@click.option("--case-id", help="Column of the patient (LOG only).")
@click.option("--activity", help="Column of the activity (LOG only).")
@click.option("--timestamp", help="Column of the time (LOG only).")
@click.option("--lines", "wanted", flag_value="lines", help="Print every line of every patient.")
@click.option("--mix", "wanted", flag_value="mix", help="Print what each HCP treats with, against the rest.")
@click.option("--profiles", "wanted", flag_value="profiles", help="Print HCPs by profile of patients.")
@click.option("--endings", "wanted", flag_value="endings", help="Print how lines end, by regimen.")
@click.option("--log-rank", "wanted", flag_value="log_rank", help="Print whether regimens differ.")
@show.output_options
def treatment(
    source: str,
    form: str | None,
    out: Path | None,
    wanted: str | None,
    activities: str | None,
    **options: Any,
) -> None:
    """Lines of therapy, time on treatment and how HCPs treat, from records of patients.

    LOG is any event log with the patient as case, FOLDER the tables of OMOP's common data model, STUDY a
    TOML file with [source.…], [cases] and the settings in [lines]. What is printed of HCPs rests on k
    patients
    or more; a job takes it in with [treatment] path = "study".

    \b
    Example:
      behavio treatment omop/ --drugs drugs.toml --out study
      behavio treatment claims.csv --prescriber npi --supply 30d --mix
    """
    from behavio import api

    if activities is not None:
        options["activities"] = tuple(a.strip() for a in activities.split(",") if a.strip())
    found = api.treatment(source, out=out, **show.given(options))
    show.table(_wanted(found, wanted), form)
    if form is None:
        for note in found.notes:
            click.echo(f"note: {note}", err=True)
        if out is not None:
            click.echo(f"written to {out}: treatment.html, summary.md; hcps/ may meet data about HCPs")


def _wanted(found: Any, wanted: str | None) -> Any:
    """The table that was asked for; without a wish, time on treatment."""
    places = {
        "lines": found.lines,
        "mix": found.hcps.mix,
        "profiles": found.hcps.profiles,
        "endings": found.time.endings,
        "log_rank": found.time.log_rank,
        None: found.time.times,
    }
    return places[wanted]
