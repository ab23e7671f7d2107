"""Patients as cases: lines of therapy from a log, a folder of OMOP tables or a study file."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from behavio import sources
from behavio.api.data import Data, read, settings_of, split
from behavio.errors import JobError, LogError
from behavio.log import EventLog
from behavio.sources import CasesSettings, LogInputs, LogSettings, SourceSettings

if TYPE_CHECKING:
    from behavio.treatment import Treatment

OMOP = (
    "drug_exposure",
    "drug_era",
    "condition_occurrence",
    "procedure_occurrence",
    "visit_occurrence",
    "death",
)


def treatment(
    data: Data,
    *,
    out: str | Path | None = None,
    drugs: Mapping[str, str] | str | Path | None = None,
    comorbidities: Mapping[str, str] | str | Path | None = None,
    persons: Data = None,
    **settings: Any,
) -> Treatment:
    """Lines of therapy, time on treatment with censoring, and what HCPs do, from k patients on.

    data      a log with the patient as case, a folder of OMOP tables, or a study file (.toml) with sources
    and
              the settings in [lines]
    out       folder for tables, summary.md and treatment.html
    drugs, comorbidities   pattern → name, or a file of them
    persons   table of the patients (sex, year of birth or age), for a log
    settings  those of TreatmentSettings, or columns of the log
    """
    from behavio import treatment as room

    for name, given in (("drugs", drugs), ("comorbidities", comorbidities)):
        if given is not None:
            settings[name] = _patterns(given)
    own, columns = split(room.TreatmentSettings, settings)
    log, told = _log(data, columns)
    if persons is not None:
        log = _with_persons(log, persons)
    found = room.treatment(log, settings_of(room.TreatmentSettings, told | own))
    if out is not None:
        room.write_treatment(found, Path(out))
    return found


def _patterns(given: Mapping[str, str] | str | Path) -> dict[str, str]:
    from behavio.journeys import read_rules

    return read_rules(Path(given)) if isinstance(given, str | Path) else dict(given)


def _log(data: Data, columns: Mapping[str, Any]) -> tuple[EventLog, dict[str, Any]]:
    """The log, and the settings that a study file brings along."""
    path = Path(data) if isinstance(data, str | Path) else None
    if path is not None and path.suffix == ".toml":
        return _study(path)
    inputs = None if path is None or not path.is_dir() else omop_inputs(path)
    if inputs is None:
        return read(data, **columns), {}
    if columns:
        raise JobError(f"{', '.join(columns)}: the columns of OMOP tables are known", hint="leave it out")
    return sources.read_log(inputs), {}


def omop_inputs(folder: Path) -> LogInputs | None:
    """The OMOP tables of a folder as sources; None where it holds no table of drugs.

    Eras are read only where there are no exposures.
    """
    files = {f.name.lower().partition(".")[0]: f for f in sorted(folder.iterdir()) if f.is_file()}
    here = [t for t in OMOP if t in files]
    if "drug_exposure" in here and "drug_era" in here:
        here.remove("drug_era")
    if not {"drug_exposure", "drug_era"} & set(here):
        return None
    named = {t: SourceSettings(path=files[t].name, kind=f"omop.{t}") for t in here}
    person = CasesSettings(path=files["person"].name, kind="omop.person") if "person" in files else None
    return LogInputs(named, folder, cases=person, log=LogSettings(case="patient"))


def _study(path: Path) -> tuple[EventLog, dict[str, Any]]:
    """A study file: the tables of a job that say what to read, and [lines]."""
    from behavio.job import job_from

    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise JobError(f"there is no study {path}", hint="give a TOML file, a log or a folder") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as problem:
        raise JobError(f"{path} is not valid TOML: {problem}", hint="see docs/guides/treatment.md") from None
    lines = table.pop("lines", {})
    if not isinstance(lines, dict):
        raise JobError(f"{path}: [lines] must be a table", hint="write [lines]")
    table["log"] = {**table.get("log", {}), "case": "patient"}  # whether it says so or not
    job = job_from(table, name=path.stem, base=path.parent)
    return sources.read_log(job.inputs), lines


def _with_persons(log: EventLog, persons: Data) -> EventLog:
    """The log with a table of its patients as cases; patients without an event are left out."""
    import polars as pl

    from behavio.log import as_polars
    from behavio.sources.guess import guess

    if isinstance(persons, str | Path):
        path = Path(persons)
        if not path.is_file():
            raise LogError(f"there is no file {path}", hint="give a table of the patients")
        table = pl.read_parquet(path) if path.suffix == ".parquet" else pl.read_csv(path, infer_schema=False)
    else:
        table = as_polars(persons)
    column = guess("case_id", table.columns)
    if column is None:
        raise LogError(f"the table of patients has no id: {', '.join(table.columns)}", hint="name it case_id")
    table = table.rename({column: "case_id"}).with_columns(pl.col("case_id").cast(pl.String))
    if table["case_id"].n_unique() < table.height:
        raise LogError("a patient stands in several rows of the table of patients", hint="one row each")
    return replace(
        log, cases=log.cases.select("case_id").join(table, on="case_id", how="left", maintain_order="left")
    )
