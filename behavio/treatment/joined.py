"""What a job about HCPs may take in of treatment: counts of k patients or more per HCP, checked once more."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import polars as pl

from behavio.errors import JobError, LogError
from behavio.log import EventLog
from behavio.sources.patients import refuse_patient_keys
from behavio.treatment.settings import LEAST_K

TABLE = "hcps/hcps.parquet"
COUNT = "treated_patients"


@dataclass(frozen=True)
class TreatmentInput:
    """The table [treatment] of a job: how each HCP treats, as attributes of the cases.

    path    folder that behavio treatment wrote, or a table (CSV, Parquet) of case_id, treated_patients and
    any
            other column
    prefix  put before the name of every column
    """

    path: str
    prefix: str = ""


def table_of(settings: TreatmentInput, base: Path) -> Path:
    """The file that is read. Raises JobError where there is none."""
    path = base / settings.path
    file = path / TABLE if path.is_dir() else path
    if not file.is_file():
        raise JobError(
            f"[treatment] there is no {file}", hint="behavio treatment … --out FOLDER writes such a folder"
        )
    return file


def joined(log: EventLog, settings: TreatmentInput, base: Path) -> tuple[EventLog, dict[str, Any]]:
    """The log with the columns as attributes of its cases, and how many cases were found.

    Raises JobError when the table is about patients, says nothing of its counts, or holds a count below
    LEAST_K; LogError when an HCP stands in two rows.
    """
    file = table_of(settings, base)
    table = (
        pl.read_parquet(file) if file.suffix == ".parquet" else pl.read_csv(file, infer_schema_length=None)
    )
    check_aggregated(table, f"[treatment] {settings.path}")
    table = table.with_columns(pl.col("case_id").cast(pl.String))
    table = table.rename({c: f"{settings.prefix}{c}" for c in table.columns if c != "case_id"})
    twice = sorted(set(table.columns) & set(log.cases.columns) - {"case_id"})
    if twice:
        raise JobError(f"[treatment] the cases have a column {twice[0]!r} already", hint='prefix = "rwd_"')
    known = log.cases["case_id"].is_in(table["case_id"].to_list())
    cases = log.cases.join(table, on="case_id", how="left", maintain_order="left")
    facts = {"n_hcps": table.height, "n_found": int(known.sum()), "columns": table.columns[1:]}
    if not known.any():
        raise LogError(
            f"[treatment] none of the {table.height:,} HCPs of {settings.path} is a case of this job",
            hint="prescribers must bear the ids of the cases: map them in the patients' source",
        )
    return replace(log, cases=cases), facts


def check_aggregated(table: pl.DataFrame, where: str) -> None:
    """Raise JobError unless every row is a count of LEAST_K patients or more, one per HCP."""
    refuse_patient_keys(table.columns, where)
    missing = [c for c in ("case_id", COUNT) if c not in table.columns]
    if missing:
        raise JobError(
            f"{where} has no column {missing[0]!r}",
            hint=f"one row per HCP: case_id, {COUNT} (patients it rests on), and what is told of them",
        )
    counts = table[COUNT].cast(pl.Float64, strict=False)
    small = int((counts < LEAST_K).sum()) + int(counts.null_count())
    if small:
        raise JobError(
            f"{where}: {small:,} rows rest on fewer than {LEAST_K} patients, or do not say on how many",
            hint="behavio treatment leaves such rows out, and those that would give them away",
        )
    if table["case_id"].n_unique() < table.height:
        raise LogError(f"{where}: an HCP stands in several rows", hint="one row per HCP")
