"""Records of treatment: which drug, from when to when, by whom; and what else is known of each patient."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase

import polars as pl

from behavio.durations import seconds
from behavio.errors import JobError, LogError
from behavio.log import TIME, EventLog
from behavio.treatment.settings import TreatmentSettings

NAMES = ("name", "drug", "concept_name", "drug_name", "regimen")
PRESCRIBERS = ("prescriber", "provider_id", "prescriber_id", "hcp_id", "provider")
ENDS = ("supply_end", "drug_exposure_end_date", "drug_era_end_date", "end_date")
DAYS = ("days_supply", "supply_days")

EXPOSURE_SCHEMA: dict[str, pl.DataType] = {
    "case_id": pl.String(),
    "drug": pl.String(),
    "start": TIME,
    "end": TIME,
    "prescriber": pl.String(),
}
"""One row per record of a treatment; end is never before start."""


@dataclass(frozen=True, eq=False)
class Records:
    """What a patient log holds for lines of therapy.

    exposures   EXPOSURE_SCHEMA in order of patient, start, drug
    others      case_id, timestamp, activity, name: every other event
    observed    case_id, until: end of observation       died  case_id, at
    no_drug     records of the treatment activities that no pattern of `drugs` fits
    no_end      exposures whose end had to be assumed
    """

    exposures: pl.DataFrame
    others: pl.DataFrame
    observed: pl.DataFrame
    died: pl.DataFrame
    no_drug: int
    no_end: int


def records_of(log: EventLog, settings: TreatmentSettings) -> Records:
    """The records of a patient log. Raises LogError without a clock or without any record of a treatment."""
    if not log.timed:
        raise LogError("the log has no clock", hint="lines of therapy need times")
    events = _named(log, settings)
    died = events.filter(pl.col("activity") == settings.death).group_by("case_id").agg(at=pl.min("timestamp"))
    mine = _treatments(events, settings)
    found = matched(events["name"], settings.drugs) if settings.drugs else events["name"]
    if mine is None:
        mine = found.is_not_null()
    drugs = events.with_columns(drug=found).filter(mine)
    exposures = drugs.filter(pl.col("drug").is_not_null())
    if exposures.height == 0:
        known = events.filter(mine) if mine.any() else events
        listed = ", ".join(known["name"].unique().sort().head(5).to_list())
        raise LogError(
            "no record of a treatment is left", hint=f"name drugs by pattern; the records are {listed or '–'}"
        )
    ended, assumed = _ends(exposures, settings)
    chosen = _column(exposures, settings.prescriber, PRESCRIBERS)
    who = pl.lit(None, pl.String) if chosen is None else pl.col(chosen).cast(pl.String)
    table = ended.with_columns(start="timestamp", prescriber=who.replace("", None))
    table = table.select(*EXPOSURE_SCHEMA).sort("case_id", "start", "drug", maintain_order=True)
    return Records(
        table,
        events.filter(~(mine & found.is_not_null())).select("case_id", "timestamp", "activity", "name"),
        _observed(events, died, settings),
        died,
        drugs.height - exposures.height,
        assumed,
    )


def matched(names: pl.Series, patterns: Mapping[str, str]) -> pl.Series:
    """What the first pattern that fits makes of each name, null where none does; case is ignored."""
    known = names.drop_nulls().unique().to_list()
    low = [(p.lower(), word) for p, word in patterns.items()]
    made = {n: next((w for p, w in low if fnmatchcase(n.lower(), p)), None) for n in known}
    kept = {n: w for n, w in made.items() if w is not None}
    return names.replace_strict(kept, default=None, return_dtype=pl.String)


def _named(log: EventLog, settings: TreatmentSettings) -> pl.DataFrame:
    """Events with `name`: the column chosen, where it is empty the activity."""
    chosen = _column(log.events, settings.name, NAMES)
    own = pl.col("activity") if chosen is None else pl.coalesce(pl.col(chosen).cast(pl.String), "activity")
    return log.events.with_columns(name=own)


def _column(table: pl.DataFrame, named: str, usual: tuple[str, ...]) -> str | None:
    if named and named not in table.columns:
        raise JobError(
            f"the log has no column {named!r}",
            hint=f"it has {', '.join(table.columns)}; keep = [{named!r}] carries a column of a source along",
        )
    return named or next((c for c in usual if c in table.columns), None)


def _treatments(events: pl.DataFrame, settings: TreatmentSettings) -> pl.Series | None:
    """Which events are records of a treatment; None: those that a pattern of `drugs` fits."""
    known = events["activity"].unique()
    unknown = [a for a in settings.activities if a not in known.to_list()]
    if unknown:
        listed = ", ".join(known.sort().head(8).to_list())
        raise JobError(f"no event is a {unknown[0]!r}", hint=f"activities are {listed}")
    if settings.activities:
        return events["activity"].is_in(list(settings.activities))
    if "drug" in known.to_list():
        return events["activity"] == "drug"
    if not settings.drugs:
        raise JobError(
            "nothing says which events are a treatment",
            hint='name activities = ["…"], or drugs = {"*pattern*" = "drug"}',
        )
    return None


def _ends(table: pl.DataFrame, settings: TreatmentSettings) -> tuple[pl.DataFrame, int]:
    """With `end`: as written, else start + days, else start + supply; and how many of the last kind."""
    end, days = _column(table, settings.end, ENDS), _column(table, settings.days, DAYS)
    written = pl.lit(None, TIME) if end is None else _time(table[end])
    number = pl.lit(None, pl.Float64) if days is None else pl.col(days).cast(pl.Float64, strict=False)
    lasting = pl.duration(microseconds=(pl.when(number > 0).then(number) * 86_400_000_000).cast(pl.Int64))
    told = table.with_columns(_written=written).with_columns(
        _told=pl.coalesce(pl.when(pl.col("_written") > pl.col("timestamp")).then("_written"),
                          pl.col("timestamp") + lasting)
    )  # fmt: skip
    assumed = pl.col("timestamp") + pl.duration(microseconds=int(seconds(settings.supply) * 1e6))
    n = int(told["_told"].null_count())
    return told.with_columns(end=pl.coalesce("_told", assumed).cast(TIME)).drop("_told", "_written"), n


def _time(column: pl.Series) -> pl.Series:
    from behavio.sources.times import read_times

    if column.dtype.is_temporal():
        zone = getattr(column.dtype, "time_zone", None)
        moment = column.cast(pl.Datetime("us", zone))
        return moment.dt.convert_time_zone("UTC") if zone else moment.dt.replace_time_zone("UTC")
    return read_times(column.cast(pl.String)).utc.cast(TIME)


def _observed(events: pl.DataFrame, died: pl.DataFrame, settings: TreatmentSettings) -> pl.DataFrame:
    """End of observation of each patient; death ends it."""
    last = events.group_by("case_id").agg(until=pl.max("timestamp")).sort("case_id")
    if settings.observed == "log":
        last = last.with_columns(until=pl.lit(events["timestamp"].max()).cast(TIME))
    both = last.join(died, on="case_id", how="left")
    return both.select("case_id", until=pl.min_horizontal("until", "at"))
