"""The folder of a study: what is about single patients in `patients/`, what may meet HCP data in `hcps/`."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import polars as pl

from behavio.errors import RunError
from behavio.files import whole_file, write_json
from behavio.journeys import JourneySettings, write_journeys
from behavio.sequences import SequenceSet
from behavio.treatment.page import page, summary
from behavio.treatment.result import Treatment
from behavio.treatment.settings import TreatmentSettings

Progress = Callable[[str, float], None]


def write_treatment(
    found: Treatment, folder: Path, progress: Progress = lambda _what, _share: None
) -> dict[str, Any]:
    """Write every table, facts.json, summary.md and treatment.html; returns the facts.

    patients/    lines, eras, journeys/: about single patients, for those who may see these
    *.parquet    time_on_treatment, curves, endings, log_rank, regimens: regimens of k patients or more
    hcps/        hcps, mix, profiles: counts of k patients or more per HCP, safe against sums
    A folder of an earlier study is replaced. Raises RunError when the folder holds anything else.
    """
    if folder.exists() and any(folder.iterdir()) and not (folder / "facts.json").is_file():
        raise RunError(f"{folder} holds other files", hint="give an empty or new folder with --out")
    draft, old = folder.with_name(f".{folder.name}.draft"), folder.with_name(f".{folder.name}.old")
    for leftover in (draft, old):
        shutil.rmtree(leftover, ignore_errors=True)
    try:
        facts = _write(found, draft, progress)
        if folder.exists():
            folder.rename(old)
        draft.rename(folder)
    finally:
        for leftover in (draft, old):
            shutil.rmtree(leftover, ignore_errors=True)
    return facts


def _write(found: Treatment, folder: Path, progress: Progress) -> dict[str, Any]:
    told = found.hcps
    tables = {
        "patients/lines": found.lines,
        "patients/eras": found.eras,
        "time_on_treatment": found.time.times,
        "curves": found.time.curves,
        "endings": found.time.endings,
        "log_rank": found.time.log_rank,
        "regimens": found.regimens,
        "hcps/hcps": told.hcps,
        "hcps/mix": told.mix,
        "hcps/profiles": told.profiles,
    }
    for name, table in tables.items():
        with whole_file(folder / f"{name}.parquet") as draft:
            table.write_parquet(draft, compression="zstd")
    journeys = folder / "patients" / "journeys"
    journeys.mkdir(parents=True)
    write_journeys(SequenceSet.from_log(found.log), JourneySettings(), journeys, progress)
    variants = common_variants(journeys, found.settings)
    facts = facts_of(found)
    with whole_file(folder / "summary.md") as draft:
        draft.write_text(summary(found, facts, variants), encoding="utf-8")
    with whole_file(folder / "treatment.html") as draft:
        draft.write_text(page(found, facts, variants), encoding="utf-8")
    write_json(folder / "hcps" / "facts.json", {"level": "hcp", "k": found.settings.k, **facts["hcps"]})
    write_json(folder / "facts.json", facts)
    return facts


def common_variants(journeys: Path, settings: TreatmentSettings) -> pl.DataFrame:
    """The journeys that k patients or more share, most frequent first."""
    table = pl.read_parquet(journeys / "variants.parquet")
    return table.filter(pl.col("cases") >= settings.k).select("variant", "cases", "share").head(12)


def facts_of(found: Treatment) -> dict[str, Any]:
    """Counts and settings of a study, JSON-able."""
    lines = found.lines
    return {
        "level": "patient",
        "n_patients": lines["case_id"].n_unique(),
        "n_eras": found.eras.height,
        "n_lines": lines.height,
        "begun_by": _counts(lines, "begun_by"),
        "ended_by": {how or "open": n for how, n in _counts(lines, "ended_by").items()},
        "hcps": {
            "n_hcps": found.hcps.n_hcps,
            "n_told": found.hcps.hcps.height,
            "n_unattributed_patients": found.hcps.n_unattributed,
            "held_back": found.hcps.suppressed,
            "focus": found.hcps.focus,
        },
        "settings": asdict(found.settings),
        "notes": list(found.notes),
    }


def _counts(lines: pl.DataFrame, column: str) -> dict[str, int]:
    counted = lines.group_by(column).len().sort("len", column, descending=[True, False])
    return {str(k): int(n) for k, n in counted.iter_rows()}
