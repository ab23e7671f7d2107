"""Patients with known lines of therapy, as the tables of OMOP's common data model would hold them.

What is planted: which regimen is begun with (by HCP, and by age at some HCPs), how often each regimen ends
by a stop, a switch or an add, how long lines last, that some start again. The truth knows every line to
its end, also what the tables, cut off on the last day, do not show.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from behavio.errors import JobError
from behavio.files import whole_file
from behavio.simulate.ids import crm_ids

DRUGS = {"Alvastin": 1_501, "Beloxan": 1_502, "Corvidal": 1_503}
FIRST = (("Alvastin",), ("Beloxan",), ("Alvastin", "Beloxan"))
USUAL = (0.55, 0.25, 0.20)
RELUCTANT = (0.25, 0.60, 0.15)
"""First regimens at most HCPs, and at those who rarely begin with Alvastin."""
DIABETES, HYPERTENSION, VIRUS = 201_826, 320_128, 440_029
NAMES = {
    **{number: f"{drug} 10 MG Oral Tablet" for drug, number in DRUGS.items()},
    DIABETES: "Type 2 diabetes mellitus",
    HYPERTENSION: "Essential hypertension",
    VIRUS: "Viral sinusitis",
    9_202: "Outpatient Visit",
    8_507: "MALE",
    8_532: "FEMALE",
}
ENDS = {1: (0.090, (0.45, 0.40, 0.15)), 2: (0.060, (0.60, 0.40, 0.0)), 3: (0.110, (1.0, 0.0, 0.0))}
"""By number of drugs: chance to end at each fill from the second on, then shares of stop, switch and add."""
FILL = 30
RESTART = 0.4
OLD = 65
"""From this age on, the second half of the HCPs begin with Alvastin half as often as they would."""


@dataclass(frozen=True)
class PatientSettings:
    """n_patients of n_hcps prescribers over `days` from `start`; new ones come in the first 80 %."""

    n_patients: int = 2_000
    n_hcps: int = 40
    start: str = "2022-01-01"
    days: int = 1_200
    seed: int = 7

    def __post_init__(self) -> None:
        if self.n_patients < 1 or self.n_hcps < 1 or self.days < 365:
            raise JobError(
                "patients need a number of them, prescribers and a year",
                hint="n_patients ≥ 1, n_hcps ≥ 1, days ≥ 365",
            )


@dataclass(frozen=True, slots=True)
class PlantedLine:
    """One line as it was drawn, in days from the start, to its end even where the tables do not show it."""

    regimen: tuple[str, ...]
    begun_by: str
    start: int
    ended_by: str
    end: int
    fills: tuple[tuple[int, str], ...]


def simulate_patients(settings: PatientSettings, out: Path) -> dict[str, Any]:
    """omop/*.csv and truth/lines.parquet, truth/patients.parquet; returns counts."""
    rng = np.random.default_rng([settings.seed, 20_262])
    n = settings.n_patients
    weight = rng.gamma(2.0, 1.0, settings.n_hcps) + 0.05
    hcp = rng.choice(settings.n_hcps, n, p=weight / weight.sum())
    reluctant = np.arange(settings.n_hcps) % 4 == 0
    spares_old = np.arange(settings.n_hcps) >= settings.n_hcps // 2
    born = date.fromisoformat(settings.start).year - rng.integers(35, 85, n)
    female = rng.random(n) < 0.5
    diabetic = rng.random(n) < 0.3
    entry = rng.integers(0, int(0.8 * settings.days), n)
    planted = []
    for i in range(n):
        chances = np.array(RELUCTANT if reluctant[hcp[i]] else USUAL)
        age = date.fromisoformat(settings.start).year - born[i]
        if spares_old[hcp[i]] and age >= OLD:
            moved = chances[0] / 2
            chances += np.array([-moved, moved, 0.0])
        planted.append(_journey(rng, FIRST[rng.choice(3, p=chances)], int(entry[i])))
    people = pl.DataFrame(
        {"person": np.arange(1, n + 1), "hcp": hcp, "born": born, "female": female, "diabetic": diabetic}
    )
    tables = _omop(rng, settings, planted, people, entry)
    for name, table in tables.items():
        with whole_file(out / "omop" / f"{name}.csv") as draft:
            table.write_csv(draft)
    _write_truth(settings, planted, people, reluctant, spares_old, out / "truth")
    return {name: table.height for name, table in tables.items()}


def _journey(rng: np.random.Generator, regimen: tuple[str, ...], day: int) -> list[PlantedLine]:
    """All lines of one patient."""
    lines: list[PlantedLine] = []
    begun = "start"
    while True:
        hazard, shares = ENDS[len(regimen)]
        fills, at = 2 + int(rng.geometric(hazard)), day
        made: list[tuple[int, str]] = []
        for number in range(fills):
            late = [
                0 if number or d == regimen[0] or begun != "start" else int(rng.integers(0, 15))
                for d in regimen
            ]
            made += [(at + gap, drug) for drug, gap in zip(regimen, late, strict=True)]
            last = at
            at += FILL + int(rng.integers(-4, 11))
        how = str(rng.choice(["stop", "switch", "add"], p=shares))
        left = [d for d in DRUGS if d not in regimen]
        if how != "stop" and not left:
            how = "stop"
        end = {"stop": last + FILL, "switch": last + FILL + int(rng.integers(-8, 15)), "add": at}[how]
        lines.append(PlantedLine(tuple(sorted(regimen)), begun, day, how, end, tuple(made)))
        if how == "stop":
            if rng.random() > RESTART:
                return lines
            begun, day = "restart", end + int(rng.integers(120, 300))
        else:
            new = str(rng.choice(left))
            regimen = (*regimen, new) if how == "add" else (new,)
            begun, day = how, end


def _omop(
    rng: np.random.Generator,
    settings: PatientSettings,
    planted: list[list[PlantedLine]],
    people: pl.DataFrame,
    entry: np.ndarray,
) -> dict[str, pl.DataFrame]:
    first = date.fromisoformat(settings.start)
    drugs, visits, conditions = [], [], []
    for number, hcp, diabetic, day, lines in zip(
        people["person"], people["hcp"], people["diabetic"], entry, planted, strict=True
    ):
        seen = sorted({at for line in lines for at, _ in line.fills if at < settings.days})
        visits += [(number, 9_202, first + timedelta(at), hcp + 1) for at in seen]
        for line in lines:
            for at, drug in line.fills:
                if at < settings.days:
                    drugs.append((number, DRUGS[drug], first + timedelta(at), FILL, hcp + 1))
        before = first + timedelta(int(day) - int(rng.integers(5, 400)))
        conditions.append((number, HYPERTENSION, before))
        if diabetic:
            conditions.append((number, DIABETES, before))
        conditions.append((number, VIRUS, first + timedelta(int(rng.integers(0, settings.days)))))
    taken = _table(
        drugs, "person_id drug_concept_id drug_exposure_start_date days_supply provider_id"
    ).with_columns(
        drug_exposure_end_date=pl.col("drug_exposure_start_date") + pl.duration(days="days_supply")
    )
    visit = _table(visits, "person_id visit_concept_id visit_start_date provider_id")
    condition = _table(conditions, "person_id condition_concept_id condition_start_date")
    persons = people.select(
        person_id="person",
        gender_concept_id=pl.when("female").then(8_532).otherwise(8_507),
        year_of_birth="born",
        provider_id=pl.col("hcp") + 1,
    )
    n = settings.n_hcps
    provider = pl.DataFrame(
        {"provider_id": np.arange(1, n + 1), "provider_source_value": crm_ids("Account", np.arange(n))}
    )
    concept = pl.DataFrame({"concept_id": list(NAMES), "concept_name": list(NAMES.values())})
    return {
        "DRUG_EXPOSURE": _numbered(taken, "drug_exposure_id"),
        "VISIT_OCCURRENCE": _numbered(visit, "visit_occurrence_id"),
        "CONDITION_OCCURRENCE": _numbered(condition, "condition_occurrence_id"),
        "PERSON": persons,
        "PROVIDER": provider,
        "CONCEPT": concept,
    }


def _table(rows: list[tuple], columns: str) -> pl.DataFrame:
    return pl.DataFrame(rows, schema=columns.split(), orient="row")


def _numbered(table: pl.DataFrame, name: str) -> pl.DataFrame:
    return table.with_row_index(name, offset=1)


def _write_truth(
    settings: PatientSettings,
    planted: list[list[PlantedLine]],
    people: pl.DataFrame,
    reluctant: np.ndarray,
    spares_old: np.ndarray,
    folder: Path,
) -> None:
    first = date.fromisoformat(settings.start)
    rows = [
        (str(person), number, " + ".join(line.regimen), line.begun_by, line.ended_by,
         first + timedelta(line.start), line.end - line.start, line.start < settings.days)
        for person, lines in zip(people["person"], planted, strict=True)
        for number, line in enumerate(lines, 1)
    ]  # fmt: skip
    names = ["case_id", "line", "regimen", "begun_by", "ended_by", "start", "days", "in_tables"]
    with whole_file(folder / "lines.parquet") as draft:
        pl.DataFrame(rows, schema=names, orient="row").write_parquet(draft)
    hcp = people["hcp"].to_numpy()
    told = people.select(case_id=pl.col("person").cast(pl.String)).with_columns(
        hcp=crm_ids("Account", hcp),
        reluctant=pl.Series(reluctant[hcp]),
        spares_old=pl.Series(spares_old[hcp]),
    )
    with whole_file(folder / "patients.parquet") as draft:
        told.write_parquet(draft)
