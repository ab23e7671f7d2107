"""The patients' journeys as an event log: lines begin, change and stop; beside them what was asked for."""

from __future__ import annotations

from fnmatch import fnmatchcase

import polars as pl

from behavio.log import EventLog
from behavio.treatment.exposures import Records
from behavio.treatment.settings import TreatmentSettings
from behavio.treatment.survival import OTHERS

WORDS = {"start": "start", "add": "add, now", "switch": "switch to", "restart": "restart"}


def journey_log(
    lines: pl.DataFrame, records: Records, names: list[str], settings: TreatmentSettings
) -> EventLog:
    """One case per patient: "start: a", "add, now: a + b", "switch to: c", "stop", "death", and context.

    names  regimens that keep their name; the others are "(others)"
    """
    word = pl.col("begun_by").replace_strict(WORDS)
    regimen = pl.when(pl.col("regimen").is_in(names)).then("regimen").otherwise(pl.lit(OTHERS))
    begun = lines.select("case_id", pl.format("{}: {}", word, regimen).alias("activity"), timestamp="start")
    ended = lines.filter(pl.col("ended_by").is_in(["stop", "death"]))
    ended = ended.select("case_id", activity="ended_by", timestamp="end")
    own = records.others.filter(pl.col("activity").is_in(_fitting(records.others, settings)))
    beside = own.join(lines.select("case_id").unique(), on="case_id", how="semi")
    beside = beside.select("case_id", "activity", "timestamp")
    table = pl.concat([begun, ended, beside]).sort("case_id", "timestamp", maintain_order=True)
    return EventLog.from_frame(table)


def _fitting(others: pl.DataFrame, settings: TreatmentSettings) -> list[str]:
    known = others["activity"].unique().sort().to_list()
    return [a for a in known if any(fnmatchcase(a.lower(), p.lower()) for p in settings.context)]
