"""The event log: who did what when, checked and in total order, with everything that was left out.

An event is one row: `case_id`, `activity`, `timestamp`, `event_index` and any attributes. The order is
`(case_id, timestamp, event_index)`; `event_index` is the place of the event in the order of reading, so
ties are broken by the source, never by a name, and the same input always gives the same log.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Self

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
}

REJECTED_SCHEMA: dict[str, pl.DataType] = {
    "source": pl.String(),
    "file": pl.String(),
    "row": pl.Int64(),
    "column": pl.String(),
    "reason": pl.String(),
    "hint": pl.String(),
    "raw": pl.String(),
}


@dataclass(frozen=True, slots=True)
class SourceCount:
    """Rows of one source: read = accepted + rejected + merged.

    `repeats` counts accepted rows equal to an earlier one in every column; `filtered` is the part of
    `merged` that the mapping leaves out on purpose (a planned call is no fact).
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


@dataclass(frozen=True, slots=True, eq=False)
class SourceEvents:
    """What one source gave: events without an index yet, rejected rows, counts."""

    count: SourceCount
    events: pl.DataFrame
    rejected: pl.DataFrame
    timed: bool = True


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
    """

    events: pl.DataFrame
    cases: pl.DataFrame
    consents: pl.DataFrame
    rejected: pl.DataFrame
    sources: tuple[SourceCount, ...] = ()
    timed: bool = True

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
        if not self.in_order():
            raise LogError("events are not in the order (case_id, timestamp, event_index)")

    def in_order(self) -> bool:
        """True when events are strictly ascending by (case_id, timestamp, event_index)."""
        case, time, index = (pl.col(c) for c in ("case_id", "timestamp", "event_index"))
        later = (time > time.shift()) | ((time == time.shift()) & (index > index.shift()))
        rising = (case > case.shift()) | ((case == case.shift()) & later)
        return bool(self.events.select(rising.slice(1).all()).item())

    @classmethod
    def assemble(
        cls,
        parts: Sequence[SourceEvents],
        cases: pl.DataFrame | None = None,
        consents: pl.DataFrame | None = None,
    ) -> Self:
        """Join what the sources gave into one log; sources keep the order they are given in."""
        events = pl.concat([p.events for p in parts], how="diagonal_relaxed")
        events = events.with_columns(pl.int_range(pl.len(), dtype=pl.Int64).alias("event_index"))
        rest = [c for c in events.columns if c not in EVENT_SCHEMA]
        events = events.select(*EVENT_SCHEMA, *rest).sort("case_id", "timestamp", "event_index")
        if cases is None:
            cases = events.select(pl.col("case_id").unique(maintain_order=True))
        return cls(
            events=events,
            cases=cases.sort("case_id"),
            consents=empty(CONSENT_SCHEMA) if consents is None else consents,
            rejected=pl.concat([p.rejected for p in parts]),
            sources=tuple(p.count for p in parts),
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

    def write(self, folder: Path) -> None:
        """Write events, cases, consents, rejected rows as Parquet and the counts as readiness.json."""
        folder.mkdir(parents=True, exist_ok=True)
        for name in ("events", "cases", "consents", "rejected"):
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
            },
        )

    @classmethod
    def read(cls, folder: Path) -> Self:
        """Read back what `write` left."""
        facts = read_json(folder / "readiness.json")
        table = {
            n: pl.read_parquet(folder / f"{n}.parquet") for n in ("events", "cases", "consents", "rejected")
        }
        return cls(**table, sources=tuple(SourceCount(**s) for s in facts["sources"]), timed=facts["timed"])
