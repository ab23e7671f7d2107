"""How cases really move: directly-follows graph with times, variants, process model, map."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from behavio.durations import seconds
from behavio.engine import Encoded, Engine
from behavio.errors import JobError, LogError
from behavio.files import whole_file, write_json
from behavio.journeys.asked import Journeys, ask
from behavio.journeys.eventually import eventually_follows
from behavio.journeys.follows import DIRECTLY_FOLLOWS, DirectlyFollowsGraph, directly_follows
from behavio.journeys.funnel import funnel, usual_steps
from behavio.journeys.groups import Grouped, group_activities, join_repeats, read_rules, similar_activities
from behavio.journeys.map import process_map
from behavio.journeys.measures import durations, rework, waiting_times
from behavio.journeys.phases import PHASES, JourneyMap, directions, journey_map
from behavio.journeys.retention import lifecycle, lifecycle_states, retention, retention_matrix
from behavio.journeys.sessions import Pieces, episodes, sessions
from behavio.journeys.steps import step_matrix, steps
from behavio.journeys.traces import VARIANTS, Variants, case_table, distinct, variants
from behavio.journeys.whole import variants_of
from behavio.log import EventLog
from behavio.sequences import SequenceSet

__all__ = [
    "DIRECTLY_FOLLOWS",
    "DirectlyFollowsGraph",
    "JourneyMap",
    "Journeys",
    "ask",
    "journey_map",
    "Grouped",
    "JourneySettings",
    "Pieces",
    "VARIANTS",
    "Variants",
    "case_table",
    "directly_follows",
    "distinct",
    "durations",
    "episodes",
    "eventually_follows",
    "funnel",
    "graph",
    "group_activities",
    "join_repeats",
    "lifecycle",
    "lifecycle_states",
    "process_map",
    "read_rules",
    "retention",
    "retention_matrix",
    "rework",
    "sessions",
    "similar_activities",
    "step_matrix",
    "steps",
    "variants",
    "waiting_times",
    "write_journeys",
]

PAGE = 1_280
"""Width of map.svg in px; a map with more layers than that runs from top to bottom."""


@dataclass(frozen=True, slots=True)
class JourneySettings:
    """What the [journeys] table of a job may say.

    top_variants      variants listed in variants.parquet (every case keeps the rank of its own)
    max_nodes         activities on the map
    noise             noise threshold of the inductive miner, 0 (every behaviour) to 1
    model_coverage    share of the cases whose variants the process model is made from
    model_variants    at most this many variants for the process model
    model_activities  at most this many activities in the process model
    process_model     false leaves process.bpmn, process.pnml and dependencies.parquet out
    steps             positions of the step matrix
    pair_activities   so many of the most frequent activities are paired in eventually.parquet
    phases            time since a case's first event where phases of the journey map end
    answer_within     an inbound event so soon after an outbound one answers it
    funnel            steps of funnel.parquet, as `behavio funnel` takes them; none: those of the first
                      planned flow, else the log's own touchpoints in their usual order
    funnel_within     time from the first step of the funnel to each later one; "" for any time (a planned
                      flow has its own)
    compare_last      the newest time of this length is held against as long before; "" for a quarter where
                      the log has two, else half of it
    """

    top_variants: int = 1_000
    max_nodes: int = 12
    noise: float = 0.2
    model_coverage: float = 0.8
    model_variants: int = 500
    model_activities: int = 30
    process_model: bool = True
    steps: int = 20
    pair_activities: int = 200
    phases: tuple[str, ...] = PHASES
    answer_within: str = "14d"
    funnel: tuple[str, ...] = ()
    funnel_within: str = "30d"
    compare_last: str = ""

    def __post_init__(self) -> None:
        numbers = ("top_variants", "max_nodes", "model_variants", "model_activities")
        for name in (*numbers, "steps", "pair_activities"):
            if getattr(self, name) < 1:
                raise JobError(f"journeys.{name} is {getattr(self, name)}", hint="it must be 1 or more")
        for name in ("noise", "model_coverage"):
            if not 0 <= getattr(self, name) <= 1:
                raise JobError(f"journeys.{name} is {getattr(self, name)}", hint="it must lie from 0 to 1")
        for text in (*self.phases, self.answer_within, self.funnel_within, self.compare_last):
            if text:
                seconds(text)
        if len(self.funnel) == 1:
            raise JobError("a funnel needs two steps or more", hint='funnel = ["email_sent", "email_open"]')


def graph(log: EventLog | SequenceSet) -> pl.DataFrame:
    """Directly-follows graph as a table: source, target, frequency, cases, median_s, mean_s, p90_s, p10_s."""
    return directly_follows(as_sequences(log)).to_frame()


def as_sequences(log: EventLog | SequenceSet) -> SequenceSet:
    """A log encoded, or the sequences as they are."""
    return log if isinstance(log, SequenceSet) else SequenceSet.from_log(log)


def write_journeys(
    sequences: SequenceSet,
    settings: JourneySettings,
    folder: Path,
    progress: Callable[[str, float], None] = lambda what, share: None,
    engine: Engine | None = None,
    whole: Encoded | None = None,
    segments: pl.DataFrame | None = None,
    sample: SequenceSet | None = None,
    planned: tuple[tuple[str, ...], str | None] = ((), None),
) -> dict[str, Any]:
    """Write the tables of journeys/ (Parquet), map.svg, process.bpmn and process.pnml.

    `whole` is the log that `engine` counts where `sequences` is only a part of it: cases.parquet then
    lists the cases of `sequences`, and the journey map is of these; everything else is about the whole log.
    segments  case_id and segment, for phases.parquet and representatives.parquet; None leaves them out
    sample    whole cases of a large log, by which it is told what changed and the journey map is drawn
    planned   steps of a planned flow and the time for all of them, for the funnel
    Returns facts for the manifest and the closing summary.
    """
    learnt = sequences if sample is None else sample
    progress("directly-follows graph", 0.0)
    found = directly_follows(sequences if whole is None else whole, engine)
    progress("variants", 0.3)
    all_variants = (
        variants(sequences, engine)
        if whole is None or engine is None
        else variants_of(whole, engine, sequences)
    )
    tables = {
        "graph": found.edges,
        "activities": found.activities,
        "variants": all_variants.to_frame(settings.top_variants),
        "cases": case_table(sequences, all_variants),
    }
    progress("times and repeats", 0.4)
    tables |= _measures(sequences if whole is None else whole, settings, engine, _theirs(sequences))
    if segments is not None:
        drawn = journey_map(learnt, segments, settings.phases, settings.answer_within)
        tables |= {"phases": drawn.phases, "representatives": drawn.representatives}
    tables |= _changes(learnt)
    funnel_rows, steps_said = _funnel(sequences if whole is None else whole, settings, engine, planned)
    side, side_said = _periods(learnt, settings)
    tables |= funnel_rows | side
    for name, frame in tables.items():
        with whole_file(folder / f"{name}.parquet") as draft:
            frame.write_parquet(draft, compression="zstd")
    progress("map", 0.5)
    with whole_file(folder / "map.svg") as draft:
        draft.write_text(process_map(found, settings.max_nodes, PAGE), encoding="utf-8")
    facts: dict[str, Any] = {
        "rows_in": found.n_events,
        "rows_out": sum(frame.height for frame in tables.values()),
        "n_cases": int(all_variants.cases.sum()),
        "n_activities": found.activities.height,
        "n_edges": found.edges.height,
        "n_variants": len(all_variants),
        "top_variant_share": float(all_variants.cases[0] / all_variants.cases.sum()),
        "timed": sequences.timed,
        "funnel": steps_said,
        "periods": side_said,
    }
    write_json(folder / "periods.json", side_said)
    if settings.process_model:
        progress("process model", 0.6)
        facts["process_model"] = _write_model(all_variants, settings, folder)
    progress("journeys", 1.0)
    return facts


def _theirs(sequences: SequenceSet) -> frozenset[str] | None:
    """What customers do: being active is not to be sent something. None where the log has no direction."""
    names = sequences.vocabulary.names
    sides = zip(names, directions(sequences), strict=True)
    mine = frozenset(name for name, side in sides if side == "inbound")
    return mine or None


def _measures(
    log: Encoded, settings: JourneySettings, engine: Engine | None, active: frozenset[str] | None
) -> dict[str, pl.DataFrame]:
    """The small tables; those about dates only for a log with a clock. active: what counts as being it."""
    tables = {
        "waiting": waiting_times(log, engine),
        "rework": rework(log, engine),
        "steps": steps(log, settings.steps, engine),
        "eventually": eventually_follows(log, engine, settings.pair_activities),
    }
    if log.timed:
        tables |= {
            "durations": durations(log, engine),
            "retention": retention(log, active, engine),
            "lifecycle": lifecycle(log, activities=active, engine=engine),
        }
    return tables


def _changes(sequences: SequenceSet) -> dict[str, pl.DataFrame]:
    """When the journey changed and which steps; nothing for a log without a clock or with few periods."""
    from behavio.journeys.drift import EDGE_SCHEMA, drift

    try:
        found = drift(sequences)
    except LogError:
        return {}
    edges = found.edges if found.edges.width else pl.DataFrame(schema=EDGE_SCHEMA)
    return {"changes": found.changes, "changed_steps": edges.filter(pl.col("q_value") <= 0.05)}


def _funnel(
    log: Encoded,
    settings: JourneySettings,
    engine: Engine | None,
    planned: tuple[tuple[str, ...], str | None],
) -> tuple[dict[str, pl.DataFrame], dict[str, Any]]:
    """funnel.parquet and how its steps were chosen, or why there is none."""
    within: str | None = settings.funnel_within or None
    steps, chosen = settings.funnel, "settings"
    if not steps and len(planned[0]) > 1:
        steps, within, chosen = planned[0], planned[1], "plan"
    if not steps:
        steps, chosen = usual_steps(log.vocabulary), "usual order"
    if len(steps) < 2:
        reason = "the log has no touchpoints with a usual order: name its steps in journeys.funnel"
        return {}, {"written": False, "reason": reason}
    within = within if log.timed else None
    try:
        found = funnel(log, steps, within, engine)
    except JobError as problem:
        if chosen == "settings":
            raise
        return {}, {"written": False, "reason": f"{problem}: name other steps in journeys.funnel"}
    said = {"written": True, "steps": list(steps), "within": within, "chosen": chosen}
    columns = {"within": pl.lit(within, pl.String), "chosen": pl.lit(chosen)}
    return {"funnel": found.with_columns(**columns)}, said


def _periods(
    sequences: SequenceSet, settings: JourneySettings
) -> tuple[dict[str, pl.DataFrame], dict[str, Any]]:
    """period_*.parquet: the newest stretch of the log beside the one before; what the two are."""
    from behavio.journeys.periods import periods

    try:
        found = periods(sequences, settings.compare_last or None)
    except LogError as problem:
        return {}, {"written": False, "reason": str(problem)}
    tables = {f"period_{name}": table for name, table in found.tables.items() if table.width}
    both = zip(found.names, found.n_cases, found.n_events, strict=True)
    sides = [{"name": n, "n_cases": c, "n_events": e} for n, c, e in both]
    told = {"written": True, "last": found.length, "sides": sides, "notes": list(found.notes)}
    tested = {n: int(t["q_value"].count()) for n, t in found.tables.items() if t.width}
    return tables, told | {"tested": tested}


def _write_model(found: Variants, settings: JourneySettings, folder: Path) -> dict[str, Any]:
    """The process model in both notations; a log that the miner cannot take gives a reason instead."""
    from behavio import process

    weighted = process.WeightedVariants(found.tokens, found.offsets, found.cases)
    try:
        model = process.discover(
            weighted,
            found.sequences.vocabulary,
            noise=settings.noise,
            coverage=settings.model_coverage,
            max_variants=settings.model_variants,
            max_activities=settings.model_activities,
        )
    except Exception as reason:  # whatever the miner of another project meets, the run goes on and says so
        return {"written": False, "reason": f"the inductive miner stopped: {type(reason).__name__}: {reason}"}
    process.write_bpmn(model.tree, folder / "process.bpmn")
    process.write_pnml(model.tree, folder / "process.pnml")
    with whole_file(folder / "dependencies.parquet") as draft:
        table = process.heuristics(model.variants, found.sequences.vocabulary).table
        table.write_parquet(draft, compression="zstd")
    return {
        "written": True,
        "from": model.sentence(),
        "cases_used": model.cases_used,
        "variants_used": model.variants_used,
        "activities_used": model.activities_used,
    }
