"""The event log: who did what when, checked and in total order, with everything that was left out.

An event is one row: `case_id`, `activity`, `timestamp`, `event_index` and any attributes. The order is
`(case_id, timestamp, event_index)`; `event_index` is the place of the event in the order of reading, so
ties are broken by the source, never by a name, and the same input always gives the same log.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import datetime
from html import escape
from pathlib import Path
from typing import Any, Self

import numpy as np
import polars as pl

from behavio.errors import LogError
from behavio.files import read_json, whole_file, write_json

TIME = pl.Datetime("us", "UTC")

EVENT_SCHEMA: dict[str, pl.DataType] = {
    "case_id": pl.String(),
    "activity": pl.String(),
    "timestamp": TIME,
    "event_index": pl.Int64(),
}
"""What every event has."""

ATTRIBUTES: dict[str, pl.DataType] = {
    "channel": pl.String(),
    "direction": pl.String(),  # outbound: the company acted; inbound: the HCP did
    "brand": pl.String(),
    "message": pl.String(),
    "reaction": pl.String(),
    "content": pl.String(),
    "duration_s": pl.Float64(),
    "actor_id": pl.String(),
    "team": pl.String(),  # sales | medical | marketing
    "source": pl.String(),
    "source_file": pl.String(),  # an Enum of the files' names in logs that were read from files
    "source_row": pl.Int64(),  # 1-based line or record number in the source's file
}
"""What every adapter fills where the source has it."""

CONSENT_SCHEMA: dict[str, pl.DataType] = {
    "case_id": pl.String(),
    "channel": pl.String(),  # email, call, ... or "*" for every channel
    "state": pl.String(),  # opt_in | opt_out | pending | never
    "timestamp": TIME,
    "expires": TIME,
    "source": pl.String(),
    "source_row": pl.Int64(),
    "brand": pl.String(),  # the product it is about; empty: every product
}

PLAN_SCHEMA: dict[str, pl.DataType] = {
    "case_id": pl.String(),
    "channel": pl.String(),  # f2f, email, … or "*" for every channel
    "brand": pl.String(),
    "goal": pl.Float64(),  # touches planned from start to end; 0 is a goal, an empty cell is none
    "start": TIME,
    "end": TIME,  # empty: open end
    "source": pl.String(),
    "source_row": pl.Int64(),
}
"""What was planned for whom: one row per case, channel, brand and period."""

AFFILIATION_SCHEMA: dict[str, pl.DataType] = {
    "case_id": pl.String(),
    "account_id": pl.String(),  # hospital, practice, department or another person
    "role": pl.String(),
    "influence": pl.String(),
    "start": TIME,
    "end": TIME,
    "source": pl.String(),
    "source_row": pl.Int64(),
}
"""Who belongs to what, since when and until when."""

SURVEY_SCHEMA: dict[str, pl.DataType] = {
    "case_id": pl.String(),
    "question": pl.String(),
    "answer": pl.String(),
    "rater": pl.String(),  # who asked or rated; empty where nobody stands between
    "timestamp": TIME,
    "source": pl.String(),
    "source_row": pl.Int64(),
}
"""Answers of market research: one row per case and question, the newest answer counts."""

REJECTED_SCHEMA: dict[str, pl.DataType] = {
    "source": pl.String(),
    "file": pl.String(),
    "row": pl.Int64(),
    "column": pl.String(),
    "reason": pl.String(),
    "hint": pl.String(),
    "raw": pl.String(),
}


TABLES = ("events", "cases", "consents", "rejected", "plan", "affiliations", "survey")
"""Tables of an EventLog, each a Parquet file of its folder."""


@dataclass(frozen=True, slots=True)
class SourceCount:
    """Rows of one source: read = accepted + rejected + merged.

    `repeats` counts accepted rows equal to an earlier one in every column; `filtered` is the part of
    `merged` that the mapping leaves out on purpose (a planned call is no fact). `left_out` says why each
    merged row is no event of its own (its values sum to `merged`); `notes` are what a reader of the
    numbers should know: the delimiter, the zone that was assumed, events in the future. `role` is what
    the rows are: events, cases, consents, plan, affiliations or survey.

    `behind_days` is how far the newest event lies behind the newest of all sources; `exported` is the day
    in the file's name, or the newest change of a record in it; `delay` holds seconds from an event to the
    making and the last change of its record (created_median, created_p90, changed_median, changed_p90);
    `unmatched` counts cases with events that a case table does not know; `unmatched_ids` the rows of each
    id that the identity map knows no single case for, most frequent first.
    """

    name: str
    kind: str
    file: str
    read: int
    accepted: int
    rejected: int
    merged: int
    repeats: int = 0
    filtered: int = 0
    first: str = ""
    last: str = ""
    role: str = "events"
    left_out: Mapping[str, int] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    behind_days: float | None = None
    exported: str = ""
    delay: Mapping[str, float] = field(default_factory=dict)
    unmatched: int = 0
    unmatched_ids: Mapping[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        lost = self.read - self.accepted - self.rejected - self.merged
        if lost:
            raise LogError(
                f"{abs(lost):,} rows of {self.name} are {'lost' if lost > 0 else 'counted twice'}",
                hint="this is an error of behavio: please report it with the job file",
            )


@dataclass(frozen=True, slots=True, eq=False)
class SourceEvents:
    """What one source gave: events without an index yet, rejected rows, counts, consents it implies."""

    count: SourceCount
    events: pl.DataFrame
    rejected: pl.DataFrame
    timed: bool = True
    consents: pl.DataFrame = field(default_factory=lambda: empty(CONSENT_SCHEMA))


def as_polars(frame: Any) -> pl.DataFrame:
    """A Polars table of any frame: Polars (lazy too), pandas, Arrow (readers and datasets too), or a dict.

    pandas columns of mixed types become text. The caller's frame is never changed.
    Raises LogError for anything else.
    """
    if isinstance(frame, pl.DataFrame):
        return frame
    try:
        if isinstance(frame, pl.LazyFrame):
            return frame.collect()
        if hasattr(frame, "to_table") and not hasattr(frame, "__arrow_c_stream__"):
            return pl.DataFrame(frame.to_table(), strict=False)
        if type(frame).__module__.partition(".")[0] == "pandas":
            return _from_pandas(frame)
        if not isinstance(frame, Mapping | list) and not hasattr(frame, "__arrow_c_stream__"):
            raise TypeError("no table")
        return pl.DataFrame(frame, strict=False)
    except (TypeError, ValueError, OSError, pl.exceptions.PolarsError) as problem:
        raise LogError(
            f"a {type(frame).__name__} cannot be read as a table",
            hint="give a path, or a pandas, Polars or Arrow table",
        ) from problem


def _from_pandas(frame: Any) -> pl.DataFrame:
    columns = {}
    for place, name in enumerate(frame.columns):
        column = frame.iloc[:, place]
        kinds = {type(v) for v in column.dropna()} if column.dtype == object else set()
        try:
            if len(kinds) > 1 or any(hasattr(k, "tzinfo") for k in kinds):
                raise TypeError  # some with a zone and some without would lose it silently
            columns[str(name)] = pl.from_pandas(column, nan_to_null=True)
        except (TypeError, ValueError, OverflowError, pl.exceptions.PolarsError):
            texts = [None if gone else str(v) for v, gone in zip(column, column.isna(), strict=True)]
            columns[str(name)] = pl.Series(texts, dtype=pl.String)
    return pl.DataFrame(columns)


def empty(schema: dict[str, pl.DataType]) -> pl.DataFrame:
    """A table with these columns and no row."""
    return pl.DataFrame(schema=schema)


@dataclass(frozen=True, slots=True, eq=False)
class EventLog:
    """Validated events in total order, with their cases, consents and rejected rows.

    events    case_id, activity, timestamp (UTC, µs), event_index, then attributes
    cases     case_id and what is known about each case; may hold cases without any event
    consents  CONSENT_SCHEMA, every dated statement, newest not resolved yet
    rejected  REJECTED_SCHEMA, every row that could not become an event, and why
    timed     False when the source has an order but no clock: times then only count positions
    plan      PLAN_SCHEMA, empty without a plan
    affiliations   AFFILIATION_SCHEMA, empty where none are known
    survey    SURVEY_SCHEMA, empty without market research
    """

    events: pl.DataFrame
    cases: pl.DataFrame
    consents: pl.DataFrame
    rejected: pl.DataFrame
    sources: tuple[SourceCount, ...] = ()
    timed: bool = True
    plan: pl.DataFrame = field(default_factory=lambda: empty(PLAN_SCHEMA))
    affiliations: pl.DataFrame = field(default_factory=lambda: empty(AFFILIATION_SCHEMA))
    survey: pl.DataFrame = field(default_factory=lambda: empty(SURVEY_SCHEMA))

    def __post_init__(self) -> None:
        for name, kind in EVENT_SCHEMA.items():
            found = self.events.schema.get(name)
            if found != kind:
                raise LogError(
                    f"the event table needs a column {name!r} of type {kind}, it has {found}",
                    hint="build the log with behavio.read(...) or EventLog.from_frame(...)",
                )
        if self.events.height == 0:
            raise LogError("the log has no event", hint="look at the rejected rows and the mapping")
        if self.events.select(pl.any_horizontal(pl.col(*EVENT_SCHEMA).null_count() > 0)).item():
            raise LogError("case_id, activity, timestamp and event_index may not be empty")
        blank = (pl.col("case_id") == "") | (pl.col("activity") == "")
        if self.events.select(blank.any()).item():
            raise LogError("case_id and activity may not be blank", hint="use behavio.read(table)")
        if not self.in_order():
            raise LogError("events are not in the order (case_id, timestamp, event_index)")

    def in_order(self) -> bool:
        """True when events are strictly ascending by (case_id, timestamp, event_index)."""
        return _in_order(self.events)

    @classmethod
    def from_frame(cls, frame: Any, *, timed: bool = True) -> Self:
        """A log from a clean table: Polars, pandas or Arrow with `case_id`, `activity`, `timestamp`.

        Times without a zone are taken as UTC; rows at the same time keep the order of the table; other
        columns travel along. Nothing is repaired or left out here: an empty cell is a LogError. For raw
        tables use `behavio.read`, which rejects rows one by one and says why.
        """
        events = as_polars(frame)
        missing = [c for c in ("case_id", "activity", "timestamp") if c not in events.columns]
        if missing:
            raise LogError(
                f"the table has no column {missing[0]!r}, it has {', '.join(events.columns)}",
                hint="rename the column, or use behavio.read(table, case_id=..., activity=...)",
            )
        time = events["timestamp"]
        if not time.dtype.is_temporal():
            raise LogError(f"timestamp is {time.dtype}, not a time", hint="use behavio.read(table)")
        utc = time.cast(pl.Datetime("us", getattr(time.dtype, "time_zone", None)))
        zoned = utc.dt.convert_time_zone if utc.dtype.time_zone else utc.dt.replace_time_zone  # type: ignore[attr-defined]
        events = events.with_columns(
            pl.col("case_id", "activity").cast(pl.String), zoned("UTC").alias("timestamp")
        )
        span = events["timestamp"].drop_nulls()
        n = events.height
        count = SourceCount("table", "frame", "", n, n, 0, 0, 0, 0, *_span(span))
        part = SourceEvents(count, events.drop("event_index", strict=False), empty(REJECTED_SCHEMA), timed)
        return cls.assemble([part])

    @classmethod
    def assemble(
        cls,
        parts: Sequence[SourceEvents],
        cases: pl.DataFrame | None = None,
        consents: pl.DataFrame | None = None,
    ) -> Self:
        """Join what the sources gave into one log; sources keep the order they are given in."""
        events = pl.concat(alike(_same_files([p.events for p in parts])), how="diagonal_relaxed")
        events = events.with_columns(pl.int_range(pl.len(), dtype=pl.Int64).alias("event_index"))
        rest = [c for c in events.columns if c not in EVENT_SCHEMA]
        events = events.select(*EVENT_SCHEMA, *rest)
        if not _in_order(events):
            events = _sorted(events)
        if cases is None:
            cases = events["case_id"].filter(_new_case(events)).to_frame()
        else:
            cases = cases.sort("case_id")
        return cls(
            events=events,
            cases=cases,
            consents=empty(CONSENT_SCHEMA) if consents is None else consents,
            rejected=pl.concat([p.rejected for p in parts]),
            sources=newest_of([p.count for p in parts]),
            timed=all(p.timed for p in parts),
        )

    @property
    def n_events(self) -> int:
        """Number of events."""
        return self.events.height

    @property
    def n_cases(self) -> int:
        """Number of cases with at least one event."""
        return self.events["case_id"].n_unique()

    def reasons(self) -> list[dict[str, Any]]:
        """Why rows were rejected: source, reason, hint, rows, most frequent first."""
        keys = ["source", "reason", "hint"]
        counted = self.rejected.group_by(keys).agg(pl.len().alias("rows"))
        return counted.sort("rows", *keys, descending=[True, False, False, False]).to_dicts()

    def write(self, folder: Path, more: Mapping[str, Any] | None = None) -> None:
        """Write every table as Parquet and the counts, with `more` facts, as readiness.json."""
        folder.mkdir(parents=True, exist_ok=True)
        with whole_file(folder / "events.parquet") as draft:
            self.events.write_parquet(draft, compression="zstd")
        self.write_beside(folder, more)

    def write_beside(self, folder: Path, more: Mapping[str, Any] | None = None) -> None:
        """Write everything but the events, whose table was written as it came."""
        for name in TABLES:
            if name != "events":
                with whole_file(folder / f"{name}.parquet") as draft:
                    getattr(self, name).write_parquet(draft, compression="zstd")
        write_json(
            folder / "readiness.json",
            {
                "sources": [asdict(s) for s in self.sources],
                "n_events": self.n_events,
                "n_cases": self.n_cases,
                "n_rejected": self.rejected.height,
                "timed": self.timed,
                "rejected": self.reasons(),
                **(more or {}),
            },
        )

    @classmethod
    def read(cls, folder: Path, events: pl.DataFrame | None = None) -> Self:
        """Read back what `write` left; `events` stand for those of the folder where only some are wanted."""
        facts = read_json(folder / "readiness.json")
        rest = TABLES if events is None else [n for n in TABLES if n != "events"]
        table = {n: pl.read_parquet(p) for n in rest if (p := folder / f"{n}.parquet").is_file()}
        table |= {} if events is None else {"events": events}
        sources = tuple(SourceCount(**(s | {"notes": tuple(s.get("notes", ()))})) for s in facts["sources"])
        return cls(**table, sources=sources, timed=facts["timed"])

    def _repr_html_(self) -> str:
        """A small card for notebooks: the counts, the span, the first events."""
        shown = self.events.head(5)
        head = "".join(f"<th>{escape(c)}</th>" for c in shown.columns)
        rows = "".join(
            "<tr>" + "".join(f"<td>{escape('' if v is None else str(v)[:60])}</td>" for v in row) + "</tr>"
            for row in shown.iter_rows()
        )
        first, last = _span(self.events["timestamp"])
        span = f", {first[:10]} to {last[:10]}" if self.timed else ", order only"
        return (
            f"<p><b>EventLog</b>: {self.n_events:,} events of {self.n_cases:,} cases, "
            f"{self.events['activity'].n_unique():,} activities{span}; "
            f"{self.rejected.height:,} rows rejected</p>"
            f"<table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>"
        )


def _span(times: pl.Series) -> tuple[str, str]:
    """First and last time as ISO text; empty without any time."""
    if times.len() == 0:
        return "", ""
    ends = times.to_frame("t").select(pl.min("t").alias("a"), pl.max("t").alias("b")).row(0)
    return ends[0].isoformat(), ends[1].isoformat()


def _new_case(events: pl.DataFrame) -> pl.Series:
    """True for each row whose case is not that of the row above."""
    return (events["case_id"] != events["case_id"].shift()).fill_null(True)


def _in_order(events: pl.DataFrame) -> bool:
    new, time, index = _new_case(events), events["timestamp"].to_physical(), events["event_index"]
    cases = events["case_id"].filter(new)
    if not (cases.slice(1) > cases.head(-1)).all():
        return False
    later = (time > time.shift()) | ((time == time.shift()) & (index > index.shift()))
    return bool((new | later).slice(1).all())


def _sorted(events: pl.DataFrame) -> pl.DataFrame:
    """Events by case (as bytes), time, index; case ids are compared once each, not once per event."""
    if events["case_id"].null_count() or events["timestamp"].null_count():
        return events  # refused as a whole
    cases = events["case_id"].unique().sort()
    case = events["case_id"].cast(pl.Enum(cases)).to_physical().to_numpy()
    time = events["timestamp"].to_physical().to_numpy()
    return events[pl.Series(_order(case, time))]


def _order(case: np.ndarray, time: np.ndarray) -> np.ndarray:
    """The rows by case and time; equal ones stay as they are. One number per row is sorted where both fit."""
    first, last, n_cases = int(time.min()), int(time.max()), int(case.max()) + 1
    unit = 1 if (time % 1_000_000).any() else 1_000_000
    width = (last - first) // unit + 1
    if n_cases * width < 2**63:
        return np.argsort(case.astype(np.int64) * width + (time - first) // unit, kind="stable")
    return np.lexsort((time, case))


def newest_of(counts: Sequence[SourceCount]) -> tuple[SourceCount, ...]:
    """The counts with the days each source's newest event lies behind the newest of all."""
    ends = [datetime.fromisoformat(c.last) if c.last else None for c in counts]
    newest = max((e for e in ends if e is not None), default=None)
    if newest is None:
        return tuple(counts)
    days = [None if e is None else round((newest - e).total_seconds() / 86_400, 2) for e in ends]
    return tuple(replace(c, behind_days=d) for c, d in zip(counts, days, strict=True))


def _same_files(tables: list[pl.DataFrame]) -> list[pl.DataFrame]:
    """The tables with one Enum of all their files: a byte or two per event instead of a text."""
    kinds = [t.schema.get("source_file") for t in tables]
    names = dict.fromkeys(n for k in kinds if isinstance(k, pl.Enum) for n in k.categories.to_list())
    if not names or any(k == pl.String for k in kinds):
        return tables
    kind = pl.Enum(list(names))
    return [
        t.with_columns(pl.col("source_file").cast(kind)) if "source_file" in t.columns else t for t in tables
    ]


def alike(tables: Sequence[pl.DataFrame]) -> list[pl.DataFrame]:
    """The tables with one type per column: where they differ beyond number widths, text."""
    kinds: dict[str, set[pl.DataType]] = {}
    for table in tables:
        for name, kind in table.schema.items():
            kinds.setdefault(name, set()).add(kind)
    mixed = [n for n, k in kinds.items() if len(k - {pl.Null()}) > 1 and not all(t.is_numeric() for t in k)]
    return [t.with_columns(pl.col(c).cast(pl.String) for c in mixed if c in t.columns) for t in tables]
