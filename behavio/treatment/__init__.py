"""Treatment journeys: the patient is the case, lines of therapy are the steps, HCPs get counts only.

Records of a patient log (OMOP tables, claims, a hospital's log) become drug eras and lines of therapy
(`lines`), the journey through them is a log like any other (`journeys`), time on treatment is told with
its censoring (`survival`). Before anything meets data about HCPs it is aggregated to counts of k patients
or more (`hcps`), from which smaller ones cannot be worked out (`protect`). What joins a job about HCPs is
checked again (`joined`).
"""

from __future__ import annotations

import polars as pl

from behavio.log import EventLog
from behavio.treatment.exposures import Records, matched, records_of
from behavio.treatment.hcps import Attributed, attributed, profiles_of
from behavio.treatment.joined import TreatmentInput, joined, table_of
from behavio.treatment.journey import journey_log
from behavio.treatment.lines import eras_of, lines_of
from behavio.treatment.result import Treatment
from behavio.treatment.settings import TreatmentSettings
from behavio.treatment.survival import TimeOnTreatment, frequent, time_on_treatment
from behavio.treatment.write import write_treatment

__all__ = [
    "Treatment",
    "TreatmentInput",
    "TreatmentSettings",
    "joined",
    "table_of",
    "treatment",
    "write_treatment",
]

SEXES = ("sex", "gender", "gender_concept_id")
BIRTHS = ("birth", "birth_date", "birth_datetime", "birth_year", "year_of_birth")
AGES = ("age", "Age")


def treatment(log: EventLog, settings: TreatmentSettings | None = None) -> Treatment:
    """Lines of therapy, their journeys and time on treatment, and what HCPs do.

    Raises LogError where the log has no clock or no record of a treatment, JobError for a wrong column.
    """
    own = settings or TreatmentSettings()
    records = records_of(log, own)
    eras = eras_of(records.exposures, own)
    lines = lines_of(eras, records, own)
    names = frequent(lines, own)
    time = time_on_treatment(lines, records, own)
    persons = _persons(log.cases, records, lines, own)
    found = attributed(lines, persons, names, own)
    patients = journey_log(lines, records, names, own)
    return Treatment(
        eras,
        lines,
        time,
        found,
        patients,
        _regimens(lines, own),
        _notes(records, lines, time, found, own),
        own,
    )


def _persons(
    cases: pl.DataFrame, records: Records, lines: pl.DataFrame, settings: TreatmentSettings
) -> pl.DataFrame:
    """What profiles are made of: age at the newest line, sex, comorbidities before it."""
    newest = lines.sort("case_id", "line").group_by("case_id", maintain_order=True).last()
    newest = newest.select("case_id", at="start")
    known = cases.with_columns(pl.col("case_id").cast(pl.String))
    table = newest.join(known, on="case_id", how="left", maintain_order="left")
    sex = next((c for c in SEXES if c in table.columns), None)
    birth = next((c for c in BIRTHS if c in table.columns), None)
    age = next((c for c in AGES if c in table.columns), None)
    year = None if birth is None else table[birth].cast(pl.String).str.extract(r"(\d{4})").cast(pl.Float64)
    if year is not None:
        ages = table["at"].dt.year() - year
    elif age is not None:
        ages = table[age].cast(pl.Float64, strict=False)
    else:
        ages = pl.Series([None] * table.height, dtype=pl.Float64)
    told = table.select(
        "case_id",
        sex=pl.lit(None, pl.String) if sex is None else pl.col(sex).cast(pl.String),
        age=pl.Series(ages, dtype=pl.Float64),
    )
    words = sorted(set(settings.comorbidities.values()))
    before = records.others.join(newest, on="case_id").filter(pl.col("timestamp") <= pl.col("at"))
    found = before.select("case_id", comorbidity=matched(before["name"], settings.comorbidities))
    made = profiles_of(told, found.drop_nulls(), words)
    return made.select("case_id", *(c for c in made.columns[1:] if made[c].null_count() < made.height))


def _regimens(lines: pl.DataFrame, settings: TreatmentSettings) -> pl.DataFrame:
    """How lines begin, by regimen; rows of fewer than k patients are not told."""
    table = lines.group_by("begun_by", "regimen").agg(
        n_lines=pl.len().cast(pl.Int64), n_patients=pl.col("case_id").n_unique().cast(pl.Int64)
    )
    table = table.with_columns(share=pl.col("n_lines") / pl.col("n_lines").sum().over("begun_by"))
    known = table.filter(pl.col("n_patients") >= settings.k)
    return known.sort("n_lines", "begun_by", "regimen", descending=[True, False, False])


def _notes(
    records: Records,
    lines: pl.DataFrame,
    time: TimeOnTreatment,
    found: Attributed,
    settings: TreatmentSettings,
) -> tuple[str, ...]:
    said = []
    n = records.exposures.height
    if records.no_end:
        said.append(
            f"{records.no_end:,} of {n:,} records say neither end nor days of supply: "
            f"each counts for {settings.supply} (supply = …)"
        )
    if records.no_drug:
        said.append(f"{records.no_drug:,} records of other drugs are left out: no pattern of drugs fits them")
    if time.n_too_late:
        said.append(
            f"{time.n_too_late:,} of {lines.height:,} lines began within {settings.gap} of the end of "
            "observation and say nothing about time on treatment"
        )
    people = lines["case_id"].n_unique()
    if not time.times.height:
        said.append(f"no regimen has {settings.k} patients: time on treatment is not told")
    if not found.n_hcps:
        said.append("no record names a prescriber: nothing is told of HCPs")
    elif found.n_unattributed:
        said.append(f"the newest line of {found.n_unattributed:,} of {people:,} patients names no prescriber")
    if found.suppressed["hcps"]:
        said.append(
            f"{found.suppressed['hcps']:,} of {found.n_hcps:,} HCPs are not told: fewer than {settings.k} "
            "patients, or they would give such a one away"
        )
    for what in ("regimens", "profiles"):
        if found.suppressed[what]:
            said.append(
                f"{found.suppressed[what]:,} counts of {what} are held back: fewer than {settings.k} "
                "patients, or they would give such a one away"
            )
    return tuple(said)
