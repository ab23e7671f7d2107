"""What a run folder holds for the report. Only the log must be there."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import polars as pl

from behavio.errors import RunError
from behavio.files import read_json
from behavio.words import is_touchpoint

COLUMNS = (
    "case_id",
    "activity",
    "timestamp",
    "channel",
    "direction",
    "message",
    "content",
    "reaction",
    "team",
)
"""What the report reads of the events; more travels along only where a reader left it."""
EMAIL_KEYS = ("email_id", "sent_email_id", "touch_id")


@dataclass(frozen=True, eq=False)
class RunTables:
    """The tables of one run folder; None where a stage has left nothing."""

    folder: Path
    events: pl.DataFrame
    cases: pl.DataFrame
    readiness: dict[str, Any]
    rejected: pl.DataFrame | None = None
    activities: pl.DataFrame | None = None
    graph: pl.DataFrame | None = None
    variants: pl.DataFrame | None = None
    case_times: pl.DataFrame | None = None
    map_svg: str | None = None
    conformance: dict[str, Any] | None = None
    retention: pl.DataFrame | None = None
    waiting: pl.DataFrame | None = None
    rework: pl.DataFrame | None = None
    phases: pl.DataFrame | None = None
    changes: pl.DataFrame | None = None
    changed_steps: pl.DataFrame | None = None
    funnel: pl.DataFrame | None = None
    periods: dict[str, Any] | None = None
    patterns: pl.DataFrame | None = None
    outcomes: pl.DataFrame | None = None
    communications: pl.DataFrame | None = None
    pattern_notes: dict[str, list[str]] | None = None
    metrics: dict[str, Any] | None = None
    next_steps: pl.DataFrame | None = None
    segments: pl.DataFrame | None = None
    profiles: dict[str, Any] | None = None
    rules: dict[str, Any] | None = None
    found_again: pl.DataFrame | None = None
    challenge: dict[str, Any] | None = None
    challenged: pl.DataFrame | None = None
    suggestions: pl.DataFrame | None = None
    suppressed: pl.DataFrame | None = None
    pressure: dict[str, Any] | None = None
    perceptions: dict[str, Any] | None = None
    combined: dict[str, Any] | None = None
    accounts: dict[str, Any] | None = None
    value: dict[str, Any] | None = None
    goals: dict[str, Any] | None = None
    card: tuple[dict[str, Any], ...] = ()
    previous: RunTables | None = field(default=None, repr=False)

    @classmethod
    def read(cls, run: Path, previous: Path | None = None) -> RunTables:
        """Read everything the report uses; raises RunError without log/events.parquet."""
        log = run / "log"
        if not (log / "events.parquet").is_file():
            raise RunError(f"{run} holds no log/events.parquet", hint="run the job first: behavio run JOB")
        return cls(
            folder=run,
            events=_events(log / "events.parquet"),
            cases=_table(log / "cases.parquet", pl.DataFrame({"case_id": []}, schema={"case_id": pl.String})),
            readiness=_json(log / "readiness.json") or {},
            rejected=_table(log / "rejected.parquet"),
            activities=_table(run / "journeys/activities.parquet"),
            graph=_table(run / "journeys/graph.parquet"),
            variants=_table(run / "journeys/variants.parquet"),
            case_times=_table(run / "journeys/cases.parquet"),
            map_svg=_text(run / "journeys/map.svg"),
            conformance=_conformance(run / "journeys"),
            retention=_table(run / "journeys/retention.parquet"),
            waiting=_table(run / "journeys/waiting.parquet"),
            rework=_table(run / "journeys/rework.parquet"),
            phases=_table(run / "journeys/phases.parquet"),
            changes=_table(run / "journeys/changes.parquet"),
            changed_steps=_table(run / "journeys/changed_steps.parquet"),
            funnel=_table(run / "journeys/funnel.parquet"),
            periods=_periods(run / "journeys"),
            patterns=_table(run / "patterns/patterns.parquet"),
            outcomes=_table(run / "patterns/outcomes.parquet"),
            communications=_table(run / "patterns/communications.parquet"),
            pattern_notes=_json(run / "patterns/notes.json"),
            metrics=_json(run / "models/metrics.json"),
            next_steps=_table(run / "next/next_steps.parquet"),
            segments=_table(run / "segments/segments.parquet"),
            profiles=_json(run / "segments/profiles.json"),
            rules=_json(run / "segments/rules.json"),
            found_again=_table(run / "segments/stability.parquet"),
            challenge=_json(run / "segments/challenge.json"),
            challenged=_table(run / "segments/challenge.parquet"),
            suggestions=_table(run / "suggestions/suggestions.parquet"),
            suppressed=_table(run / "suggestions/suppressed.parquet"),
            pressure=_told(run / "pressure", ("bands", "curves", "cases")),
            perceptions=_told(run / "perceptions", ("questions", "groups", "combined_profiles")),
            combined=_json(run / "perceptions/combined.json"),
            accounts=_told(run / "accounts", ("accounts", "members", "together")),
            value=_told(run / "value", ("cells", "costs", "policy")),
            goals=_told(run / "goals", ("goals", "suggested", "groups")),
            card=tuple((_json(run / "card/model_card.json") or {}).get("lines", ())),
            previous=None if previous is None else cls.read(previous),
        )

    @property
    def timed(self) -> bool:
        """False when the log has an order but no clock."""
        return bool(self.readiness.get("timed", True))

    @cached_property
    def hcp(self) -> bool:
        """True when the log speaks of visits, emails and portals: then the page speaks of HCPs."""
        return any(is_touchpoint(a) for a in self.events["activity"].unique().to_list())

    @cached_property
    def n_events(self) -> int:
        """Events of the log."""
        return self.events.height

    @cached_property
    def n_cases(self) -> int:
        """Cases with at least one event."""
        return int(self.events["case_id"].n_unique())

    @cached_property
    def n_known(self) -> int:
        """Cases known: those of the case table, with or without events, and those with events."""
        ids = pl.concat([self.cases["case_id"], self.events["case_id"]])
        return int(ids.n_unique())

    @cached_property
    def first(self) -> Any:
        """Time of the oldest event."""
        return self.events["timestamp"].min()

    @cached_property
    def last(self) -> Any:
        """Time of the newest event."""
        return self.events["timestamp"].max()

    @property
    def sources(self) -> list[dict[str, Any]]:
        """Counts of every source, as the log stage wrote them."""
        return list(self.readiness.get("sources", []))


def _events(path: Path) -> pl.DataFrame:
    wanted = [*COLUMNS, *EMAIL_KEYS]
    present = pl.read_parquet_schema(path)
    frame = pl.read_parquet(path, columns=[c for c in wanted if c in present])
    missing = [pl.lit(None, dtype=pl.String).alias(c) for c in COLUMNS if c not in present]
    return frame.with_columns(missing)


def _table(path: Path, default: Any = None) -> Any:
    return pl.read_parquet(path) if path.is_file() else default


def _conformance(folder: Path) -> dict[str, Any] | None:
    """The plan held against the journeys: plan, within, notes, and the tables cases, steps, response."""
    told = _json(folder / "conformance.json")
    if told is None:
        return None
    parts = {"cases": "conformance", "steps": "conformance_steps", "response": "conformance_response"}
    tables = {n: _table(folder / f"{file}.parquet") for n, file in parts.items()}
    if any(t is None for t in tables.values()):
        return None
    return {**told, **tables, "walked": _table(folder / "conformance_occurrence_steps.parquet")}


def _periods(folder: Path) -> dict[str, Any] | None:
    """Two periods side by side: last, sides, tested, and the tables activities, edges, waits, variants."""
    told = _json(folder / "periods.json")
    if told is None or not told["written"]:
        return None
    names = ("activities", "edges", "waits", "variants")
    tables = {name: _table(folder / f"period_{name}.parquet") for name in names}
    return None if any(t is None for t in tables.values()) else {**told, **tables}


def _told(folder: Path, tables: tuple[str, ...]) -> dict[str, Any] | None:
    """What a stage with a facts.json left: its facts and tables; None where it was not asked for."""
    told = _json(folder / "facts.json")
    if told is None:
        return None
    return {**told, **{n: _table(folder / f"{n}.parquet") for n in tables}}


def _json(path: Path) -> Any:
    return read_json(path) if path.is_file() else None


def _text(path: Path) -> str | None:
    return path.read_text(encoding="utf-8") if path.is_file() else None
