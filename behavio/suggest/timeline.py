"""The log up to one moment as flat arrays, and how often something happened in any window of a case."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl
import polars.selectors as cs

from behavio.errors import ModelError
from behavio.log import ATTRIBUTES, EVENT_SCHEMA, EventLog
from behavio.suggest.objectives import Objective, read_objective
from behavio.suggest.settings import SuggestSettings, moment

PRESSURE_DAYS = 28
"""Contact pressure is counted over this many days."""

UNREAD = ("duration_s", "source_file")
"""Attributes that no suggestion rests on."""


@dataclass(frozen=True, slots=True, eq=False)
class Clock:
    """One sortable key per (case, time), so that windows of all cases are counted by binary search.

    Keys are exact in µs while cases × span fit in 64 bits and in ms beyond that.
    """

    start: int
    span: int
    unit: int

    @classmethod
    def of(cls, time: np.ndarray, n_cases: int) -> Clock:
        """A clock for these times (µs)."""
        start, length = int(time.min()), int(time.max() - time.min())
        unit = 1 if (length + 4) * n_cases < 2**62 else 1_000
        return cls(start, length // unit + 4, unit)

    def key(self, case: np.ndarray, time: np.ndarray) -> np.ndarray:
        """int64 keys; times before or after the log count as just outside of it."""
        place = np.clip((time - self.start) // self.unit + 1, 0, self.span - 2)
        return case.astype(np.int64) * self.span + place


@dataclass(frozen=True, slots=True, eq=False)
class Moments:
    """Some of the events, in log order: their positions in the log, cases, times and keys."""

    position: np.ndarray
    case: np.ndarray
    time: np.ndarray
    key: np.ndarray
    clock: Clock

    def __len__(self) -> int:
        return len(self.position)

    def rank(self, case: np.ndarray, time: np.ndarray) -> np.ndarray:
        """How many of these moments, over all cases, stand at or before (case, time)."""
        return np.searchsorted(self.key, self.clock.key(case, time), side="right")

    def ahead(self, position: np.ndarray) -> np.ndarray:
        """How many of these moments stand before a position of the log."""
        return np.searchsorted(self.position, position, side="left")

    def within(self, case: np.ndarray, after: np.ndarray, until: np.ndarray) -> np.ndarray:
        """How many of these moments of a case lie in (after, until]."""
        return self.rank(case, until) - self.rank(case, after)

    def latest(self, rank: np.ndarray, case: np.ndarray) -> np.ndarray:
        """Index of the last moment of `case` among the first `rank`; -1 where there is none."""
        if len(self) == 0:
            return np.full(len(case), -1)
        index = rank - 1
        known = (index >= 0) & (self.case[np.maximum(index, 0)] == case)
        return np.where(known, index, -1)


@dataclass(frozen=True, slots=True, eq=False)
class Timeline:
    """Everything the plan may know: events until `as_of`, who they belong to, and what they mean.

    events     the log's events without `case_id`, plus `case` and `position`; texts stand as categories,
               because the same few repeat millions of times (`of` gives them back as texts)
    case_ids   every case, also those without an event, sorted; `case` indexes them
    touches    contacts by the company, all teams
    inbound    what the cases did, medical events left out
    success    events of the objective, medical events left out
    """

    events: pl.DataFrame
    case_ids: pl.Series
    case: np.ndarray
    time: np.ndarray
    as_of: int
    clock: Clock
    touches: Moments
    inbound: Moments
    success: Moments
    objective: Objective

    @property
    def n_cases(self) -> int:
        """Number of cases, with or without events."""
        return len(self.case_ids)

    def of(self, moments: Moments, *columns: str) -> pl.DataFrame:
        """These columns of the events at some moments, as texts; `case_id` may be asked for too."""
        named = [c for c in columns if c != "case_id"]
        found = as_texts(self.events.select(named)[moments.position])
        if "case_id" in columns:
            found = found.with_columns(case_id=self.case_ids.gather(moments.case))
        return found.select(columns)

    def moments(self, mask: pl.Series) -> Moments:
        """The events where the mask is true."""
        position = np.flatnonzero(mask.to_numpy())
        case, time = self.case[position], self.time[position]
        return Moments(position, case, time, self.clock.key(case, time), self.clock)


def as_texts(frame: pl.DataFrame) -> pl.DataFrame:
    """The table with categories turned back into texts."""
    return frame.with_columns(cs.categorical().cast(pl.String))


def as_categories(frame: pl.DataFrame, *but: str) -> pl.DataFrame:
    """The table with texts as categories, except those named: 4 bytes for a text that repeats."""
    return frame.with_columns((cs.string() - cs.by_name(*but, require_all=False)).cast(pl.Categorical))


def _wanted(columns: list[str], settings: SuggestSettings) -> list[str]:
    """The columns of an event table that suggestions rest on."""
    known = {*EVENT_SCHEMA, *ATTRIBUTES, "suggestion_id", settings.dismissal_column}
    return [c for c in columns if c in known and c not in UNREAD]


def read_slim_log(folder: Path, settings: SuggestSettings) -> EventLog:
    """The log of a run with no more of its events than suggestions need, attributes as categories.

    A million HCPs fit into half the memory that way. `folder` is what `EventLog.write` wrote.
    """
    table = pl.scan_parquet(folder / "events.parquet")
    names = _wanted(table.collect_schema().names(), settings)
    coded = cs.string() - cs.by_name(*EVENT_SCHEMA)
    events = table.select(names).with_columns(coded.cast(pl.Categorical)).collect(engine="streaming")
    return EventLog.read(folder, events)


def read_timeline(log: EventLog, settings: SuggestSettings, moves: pl.DataFrame | None = None) -> Timeline:
    """Cut the log at `as_of` and sort its events into touches, inbound and successes.

    `moves` are the steps on the ladder (stages/moves.parquet), for the objective "stage". Errors: JobError
    for an objective that is no activity, ModelError when nothing happened by as_of.
    """
    events = log.events.select(_wanted(log.events.columns, settings))
    missing = [
        pl.lit(None, dtype=t).alias(n) for n, t in ATTRIBUTES.items() if n not in (*events.columns, *UNREAD)
    ]
    events = events.with_columns(missing)
    as_of = int(events["timestamp"].dt.epoch("us").max())  # type: ignore[arg-type]
    if settings.as_of is not None:
        as_of = moment(settings.as_of)
        events = events.filter(pl.col("timestamp").dt.epoch("us") <= as_of)
        if events.height == 0:
            raise ModelError(f"nothing happened until {settings.as_of}", hint="choose a later as_of")
    ids = pl.concat([log.cases["case_id"].cast(pl.String), events["case_id"]]).drop_nulls()
    case_ids = ids.unique().sort().alias("case_id")
    # events lie in order of cases: numbers are found per case
    run = events["case_id"].rle_id().to_numpy()
    first = np.flatnonzero(np.diff(run, prepend=-1))
    number = case_ids.search_sorted(events["case_id"].gather(first)).to_numpy().astype(np.int64)
    events = events.drop("case_id").with_columns(
        cs.string().cast(pl.Categorical),
        pl.Series("case", number[run]),
        pl.int_range(pl.len(), dtype=pl.Int64).alias("position"),
    )
    case, time = events["case"].to_numpy(), events["timestamp"].dt.epoch("us").to_numpy()
    objective = read_objective(log, events, settings, moves, case_ids)
    clock = Clock.of(time, len(case_ids))
    none = np.empty(0, dtype=np.int64)
    nothing = Moments(none, none, none, none, clock)
    bare = Timeline(events, case_ids, case, time, as_of, clock, nothing, nothing, nothing, objective)
    commercial = (pl.col("team") != "medical").fill_null(True)
    touch = is_touch(settings)
    came = (pl.col("direction") == "inbound").fill_null(False) | objective.counted
    masks = events.select(touch=touch, inbound=came & commercial, success=objective.success & commercial)
    return Timeline(
        events,
        case_ids,
        case,
        time,
        as_of,
        clock,
        touches=bare.moments(masks["touch"]),
        inbound=bare.moments(masks["inbound"]),
        success=bare.moments(masks["success"]),
        objective=objective,
    )


def is_touch(settings: SuggestSettings) -> pl.Expr:
    """True for an event that is a contact by the company of its own."""
    inside = pl.col("activity").is_in(settings.parts_of_contact)
    return (pl.col("direction") == "outbound").fill_null(False) & ~inside
