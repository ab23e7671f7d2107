"""What a patient log says of treatment, all of it together."""

from __future__ import annotations

from dataclasses import dataclass

import polars as pl

from behavio.log import EventLog
from behavio.treatment.hcps import Attributed
from behavio.treatment.settings import TreatmentSettings
from behavio.treatment.survival import TimeOnTreatment


@dataclass(frozen=True, eq=False)
class Treatment:
    """What a patient log says of treatment.

    eras, lines   ERA_SCHEMA, LINE_SCHEMA: about single patients, these stay where the patient log is
    time          time on treatment per regimen
    hcps          what HCPs do, from k patients on
    log           the patients' journeys as an event log
    regimens      begun_by × regimen: n_lines, n_patients, share of lines; rows of k patients or more
    notes         what a reader should know
    """

    eras: pl.DataFrame
    lines: pl.DataFrame
    time: TimeOnTreatment
    hcps: Attributed
    log: EventLog
    regimens: pl.DataFrame
    notes: tuple[str, ...]
    settings: TreatmentSettings

    def to_frame(self) -> pl.DataFrame:
        """Time on treatment, one row per regimen."""
        return self.time.times
