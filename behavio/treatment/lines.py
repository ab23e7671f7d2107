"""Eras and lines of therapy, patient by patient.

Definition, for one patient (parameters in `TreatmentSettings`):

1. Records of one drug that follow each other within `persistence` are one **era** (OMOP CDM, convention of
   the
   table drug_era; supplies are not stacked).
2. A **line** begins with an era while none is open. Drugs begun within `regimen_window` belong to its
   regimen.
3. A drug that is new to the regimen later on ends the line and begins the next: an **add** when an old drug
   is still taken `overlap` later (its regimen is what is still taken, and the new drug), else a **switch**.
4. Nothing of the regimen taken for longer than `gap` ends the line as a **stop**, at the end of its last era;
   the next era begins a line as a **restart**. A drug that is dropped while others go on ends no line.
5. Death ends line and observation. What is neither is open at the end of observation.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import groupby

import polars as pl

from behavio.durations import seconds
from behavio.log import TIME
from behavio.treatment.exposures import Records
from behavio.treatment.settings import TreatmentSettings

ERA_SCHEMA: dict[str, pl.DataType] = {
    "case_id": pl.String(),
    "drug": pl.String(),
    "start": TIME,
    "end": TIME,
    "records": pl.Int64(),
    "prescriber": pl.String(),  # of the era's first record
}
LINE_SCHEMA: dict[str, pl.DataType] = {
    "case_id": pl.String(),
    "line": pl.Int64(),  # 1, 2, …
    "regimen": pl.String(),  # "a + b", drugs in order of the alphabet
    "begun_by": pl.String(),  # start | add | switch | restart
    "ended_by": pl.String(),  # add | switch | stop | death | "" (open)
    "start": TIME,
    "end": TIME,
    "prescriber": pl.String(),  # of the record that began it
    "until": TIME,  # end of the patient's observation
}
JOINER = " + "


def eras_of(exposures: pl.DataFrame, settings: TreatmentSettings) -> pl.DataFrame:
    """ERA_SCHEMA in order of patient, start, drug."""
    table = exposures.sort("case_id", "drug", "start", "end", maintain_order=True)
    reach = pl.col("end").cum_max().shift().over("case_id", "drug")
    allowed = pl.duration(microseconds=int(seconds(settings.persistence) * 1e6))
    new = reach.is_null() | (pl.col("start") > reach + allowed)
    table = table.with_columns(_new=new)
    table = table.with_columns(_era=pl.col("_new").cast(pl.Int64).cum_sum())
    found = table.group_by("_era", maintain_order=True).agg(
        pl.first("case_id", "drug", "start"),
        pl.max("end"),
        records=pl.len().cast(pl.Int64),
        prescriber=pl.first("prescriber"),
    )
    return found.select(*ERA_SCHEMA).sort("case_id", "start", "drug")


@dataclass(frozen=True, slots=True)
class Era:
    """One era of one patient, times in µs."""

    drug: str
    start: int
    end: int
    prescriber: str | None


@dataclass(slots=True)
class Line:
    """One line of one patient, times in µs; `last` is the end of the last era of its regimen."""

    regimen: set[str]
    begun_by: str
    start: int
    last: int
    prescriber: str | None
    ended_by: str = ""
    end: int = 0


@dataclass(frozen=True, slots=True)
class Rule:
    """The parameters of the definition in µs."""

    window: int
    overlap: int
    gap: int


def lines_of(eras: pl.DataFrame, records: Records, settings: TreatmentSettings) -> pl.DataFrame:
    """LINE_SCHEMA: every line of every patient; eras that begin after the end of observation are left out."""
    rule = Rule(*(int(seconds(getattr(settings, n)) * 1e6) for n in ("regimen_window", "overlap", "gap")))
    until = dict(records.observed.with_columns(pl.col("until").to_physical()).iter_rows())
    died = dict(records.died.with_columns(pl.col("at").to_physical()).iter_rows())
    rows = []
    for case, own in _patients(eras):
        last = until[case]
        lines = patient_lines([e for e in own if e.start <= last], rule, last, case in died)
        for number, line in enumerate(lines, 1):
            regimen = JOINER.join(sorted(line.regimen))
            head = (case, number, regimen, line.begun_by, line.ended_by)
            rows.append((*head, line.start, line.end, line.prescriber, last))
    physical = {n: pl.Int64() if k == TIME else k for n, k in LINE_SCHEMA.items()}
    return pl.DataFrame(rows, schema=physical, orient="row").cast(LINE_SCHEMA)  # type: ignore[arg-type]


def _patients(eras: pl.DataFrame) -> Iterator[tuple[str, list[Era]]]:
    columns = eras.select(
        "case_id", "drug", pl.col("start").to_physical(), pl.col("end").to_physical(), "prescriber"
    )
    for case, rows in groupby(columns.iter_rows(), key=lambda r: r[0]):
        yield case, [Era(*row[1:]) for row in rows]


def patient_lines(eras: list[Era], rule: Rule, until: int, died: bool = False) -> list[Line]:
    """The lines of one patient from eras in order of start, as the module's text defines them."""
    lines: list[Line] = []
    for era in eras:
        line = lines[-1] if lines else None
        if line is None or era.start - line.last > rule.gap:
            if line is not None:
                _stop(line)
            begun = "start" if line is None else "restart"
            lines.append(Line({era.drug}, begun, era.start, era.end, era.prescriber))
        elif era.drug in line.regimen or era.start - line.start <= rule.window:
            line.regimen.add(era.drug)
            line.last = max(line.last, era.end)
        else:
            taken = _taken(eras, line.regimen, era.start, rule.overlap)
            begun = "add" if taken else "switch"
            line.ended_by, line.end = begun, era.start
            last = max([era.end, *taken.values()])
            lines.append(Line({era.drug, *taken}, begun, era.start, last, era.prescriber))
    if lines:
        _close(lines[-1], rule.gap, until, died)
    return lines


def _taken(eras: list[Era], regimen: set[str], at: int, overlap: int) -> dict[str, int]:
    """Drugs of the regimen taken at a moment and still so much later, with the end of that era."""
    return {e.drug: e.end for e in eras if e.drug in regimen and e.start <= at and e.end >= at + overlap}


def _stop(line: Line) -> None:
    line.ended_by, line.end = "stop", line.last


def _close(line: Line, gap: int, until: int, died: bool) -> None:
    """The last line: stopped when that is beyond doubt at the end of observation, else open or by death."""
    if line.last + gap <= until:
        _stop(line)
    else:
        line.ended_by, line.end = ("death", until) if died else ("", min(line.last, until))
