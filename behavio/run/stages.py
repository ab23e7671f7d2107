"""The stages of a run: which table of the job switches each on, what it rests on, how it writes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any

import polars as pl

from behavio import (
    accounts,
    card,
    conformance,
    goals,
    journeys,
    models,
    patterns,
    perceptions,
    pressure,
    report,
    segments,
    sources,
    stages,
    suggest,
    targets,
    treatment,
    value,
)
from behavio.durations import seconds
from behavio.encoding.pieces import Unfit
from behavio.encoding.stage import can_be_streamed, write_streamed
from behavio.engine.local import LocalEngine
from behavio.engine.spark import SparkLog
from behavio.errors import LogError
from behavio.files import whole_file
from behavio.job import Job
from behavio.log import EventLog
from behavio.manifest import (
    plain,
)
from behavio.run.context import Context, Facts, erased_of, plan_files
from behavio.sequences import FIELDS, SequenceSet
from behavio.sources.cluster import read_cluster_log


@dataclass(frozen=True)
class Stage:
    """One room at work: which table of the job switches it on, what it rests on, how it writes."""

    name: str
    table: str
    needs: tuple[str, ...]
    write: Callable[[Context, Any, Path], Facts]


def _log(c: Context, settings: Any, folder: Path) -> Facts:
    if c.job.engine == "spark":
        return _log_on_cluster(c, folder)
    salt, erased = erased_of(c.folder)
    whole = c.job.log.case == "account" or c.job.treatment is not None
    if not whole and can_be_streamed(c.job.inputs, erased):
        try:
            return write_streamed(c.job.inputs, folder, c.watcher.progress)
        except Unfit:
            pass  # the careful way reads it as a whole
    log = sources.read_log(c.job.inputs, c.watcher.progress, salt=salt, erased=erased)
    more: Facts = {}
    if c.job.log.case == "account":
        log, more["by_account"] = accounts.by_account(log)
    if c.job.treatment is not None:
        log, more["treatment"] = treatment.joined(log, c.job.treatment, c.job.base)
    analog = sources.read_analog(c.job.inputs, c.watcher.progress, salt=salt, erased=erased)
    if analog is not None:
        if analog.timed != log.timed:
            with_clock = "the log" if log.timed else "its analog source"
            raise LogError(f"only {with_clock} has a clock", hint="give both times, or neither")
        more["analog"] = _write_analog(analog, folder)
    log.write(folder, {"findings": sources.findings(log)})
    sequences = SequenceSet.from_log(log).marked(c.job.log.end, c.job.log.open_within)
    sequences.write(folder / "encoded")
    read = sum(s.read for s in log.sources if s.role == "events")
    return more | {
        "rows_in": read,
        "rows_out": log.n_events,
        "n_events": log.n_events,
        "n_cases": sequences.n_cases,
        "n_known_cases": log.cases.height,
        "n_rejected": log.rejected.height,
        "n_activities": len(sequences.vocabulary.activities),
        "first": str(log.events["timestamp"].min()) if log.timed else "",
        "last": str(log.events["timestamp"].max()) if log.timed else "",
    }


def _write_analog(log: EventLog, folder: Path) -> Facts:
    """analog.parquet: events without any id of a person; counts of its sources for the manifest."""
    numbers = log.events["case_id"].rank("dense").cast(pl.Int64)
    named = [n for n in FIELDS if n in log.events.columns and n != "actor_id"]
    table = log.events.select("activity", "timestamp", "event_index", *named)
    table = table.with_columns(case_id=pl.format("analog:{}", numbers.cast(pl.String).str.zfill(9)))
    with whole_file(folder / "analog.parquet") as draft:
        table.write_parquet(draft, compression="zstd")
    counts = [
        {"source": s.name, "read": s.read, "accepted": s.accepted, "rejected": s.rejected, "merged": s.merged}
        for s in log.sources
    ]
    return {"n_events": log.n_events, "n_cases": log.n_cases, "timed": log.timed, "sources": counts}


def _log_on_cluster(c: Context, folder: Path) -> Facts:
    job = c.job
    salt, erased = erased_of(c.folder)
    found = read_cluster_log(job.inputs, c.cluster, c.watcher.progress, salt=salt, erased=erased)
    sequences = found.write(folder, job.base)
    events = [s for s in found.log.sources if s.role == "events"]
    facts: Facts = {
        "rows_in": sum(s.read for s in events),
        "rows_out": sum(s.accepted for s in events),
        "n_events": sum(s.accepted for s in events),
        "n_cases": found.n_cases,
        "n_known_cases": max(found.log.cases.height, found.n_cases),
        "n_rejected": found.n_rejected,
        "n_activities": len(sequences.vocabulary.activities),
        "first": _span(found.log, [s.first for s in events], min),
        "last": _span(found.log, [s.last for s in events], max),
    }
    return facts if found.sample is None else facts | {"sample": dict(found.sample)}


def _span(log: EventLog, ends: list[str], choose: Callable[[list[datetime]], datetime]) -> str:
    return str(choose([datetime.fromisoformat(e) for e in ends if e])) if log.timed else ""


def _journeys(c: Context, settings: Any, folder: Path) -> Facts:
    facts = _counted(c, settings, folder)
    if c.job.conformance is not None or c.job.plan is not None:
        wanted = c.job.conformance or conformance.ConformanceSettings()
        plan = conformance.planned_contacts(c.folder / "log")
        for _, path in plan_files(c.job):
            given = conformance.read_plan(path)
            plan = given if given.goals.height else replace(given, goals=plan.goals)
        if c.job.engine == "spark":
            plan = replace(plan, notes=(*plan.notes, "held against the encoded sample of the log"))
        if plan.nothing and not wanted.own:
            facts["conformance"] = {"written": False, "reason": "no row of the plan could be used"}
        else:
            facts["conformance"] = conformance.write_conformance(
                c.sequences, plan, wanted, folder, c.watcher.progress
            )
    return facts


def _counted(c: Context, settings: Any, folder: Path) -> Facts:
    labels = c.table("segments/segments.parquet") if c.job.segments else None
    progress = c.watcher.progress
    if c.job.engine == "spark":
        engine, whole = c.cluster, SparkLog.read(c.folder / "log" / "spark.json", c.job.base)
        try:
            return journeys.write_journeys(
                c.sequences, settings, folder, progress, engine, whole, labels, planned=_flow(c.job)
            )
        finally:
            c.cluster.forget()
    sample = c.learnt if c.sampled else None
    return journeys.write_journeys(
        c.sequences, settings, folder, progress, segments=labels, sample=sample, planned=_flow(c.job)
    )


def _flow(job: Job) -> tuple[tuple[str, ...], str | None]:
    """Required steps of the job's first planned flow and the time for all of them, None without a limit."""
    flows = job.conformance.flow if job.conformance is not None else ()
    steps = [step for step in flows[0].step if not step.optional] if flows else []
    limits = [seconds(step.within) for step in steps if step.within]
    whole = f"{sum(limits) / 86_400:g}d" if len(limits) == len(steps) - 1 and limits else None
    return tuple(step.activity for step in steps), whole


def _models(c: Context, settings: Any, folder: Path) -> Facts:
    settings = _placed(settings, "truth", c.job.base)
    known = models.with_cases(c.learnt, c.table("log/cases.parquet"), settings.attributes)
    return models.write_models(known, settings, c.job.seed, folder, c.watcher.progress, c.beside)


def _segments(c: Context, settings: Any, folder: Path) -> Facts:
    for name in ("previous", "overrides"):
        settings = _placed(settings, name, c.job.base)
    if settings.challenge not in c.log.cases.columns:
        settings = _placed(settings, "challenge", c.job.base)
    vectors = c.table("models/embeddings.parquet") if settings.space == "model" else None
    given = (c.log, c.learnt, settings, c.job.seed, folder, c.watcher.progress, vectors)
    if c.job.engine != "spark":
        parts = max(8, c.sequences.n_events // 1_000_000)
        whole = segments.Whole(LocalEngine(parts), c.sequences) if c.sampled else None
        return segments.write_segments(*given, whole)
    log = SparkLog.read(c.folder / "log" / "spark.json", c.job.base)
    try:
        more = log.n_events > c.learnt.n_events
        return segments.write_segments(*given, segments.Whole(c.cluster, log) if more else None)
    finally:
        c.cluster.forget()


def _stages(c: Context, settings: Any, folder: Path) -> Facts:
    return stages.write_stages(c.log, settings, folder, c.watcher.progress)


def _pressure(c: Context, settings: Any, folder: Path) -> Facts:
    labels = c.table("segments/segments.parquet")
    return pressure.write_pressure(c.log, labels, settings, c.job.seed, folder, c.watcher.progress)


def _perceptions(c: Context, settings: Any, folder: Path) -> Facts:
    vectors, labels = c.table("models/embeddings.parquet"), c.table("segments/segments.parquet")
    return perceptions.write_perceptions(
        c.log, vectors, labels, settings, c.job.seed, folder, c.watcher.progress
    )


def _patterns(c: Context, settings: Any, folder: Path) -> Facts:
    labels = c.table("segments/segments.parquet")
    place = None if labels is None else partial(segments.placed, c.folder / "segments" / "model")
    return patterns.write_patterns(c.learnt, settings, c.job.seed, folder, labels, c.watcher.progress, place)


def _next(c: Context, settings: Any, folder: Path) -> Facts:
    labels = c.table("segments/segments.parquet")
    known = models.with_cases(c.learnt, c.table("log/cases.parquet"), settings.attributes)
    return models.write_next(known, c.folder / "models", settings, folder, labels, c.watcher.progress)


def _suggest(c: Context, settings: Any, folder: Path) -> Facts:
    steps, labels = c.table("next/next_steps.parquet"), c.table("segments/segments.parquet")
    settings = _placed(_placed(settings, "policy", c.job.base), "holdout", c.job.base)
    found = suggest.Found(
        stages=c.table("stages/stages.parquet"),
        moves=c.table("stages/moves.parquet"),
        pressure=c.table("pressure/cases.parquet"),
        previous=suggest.read_previous(settings, c.job.base),
    )
    return suggest.write_suggestions(
        c.log, c.learnt, steps, labels, settings, c.job.seed, folder, c.watcher.progress, found
    )


def _accounts(c: Context, settings: Any, folder: Path) -> Facts:
    return accounts.write_accounts(c.log, settings, c.job.seed, folder, c.watcher.progress)


def _value(c: Context, settings: Any, folder: Path) -> Facts:
    labels = c.table("segments/segments.parquet")
    return value.write_value(c.log, labels, settings, folder, c.watcher.progress)


def _goals(c: Context, settings: Any, folder: Path) -> Facts:
    previous = None if settings.previous is None else c.job.base / settings.previous
    if previous is not None:
        goals.files_of(previous)  # a run that is not there is said before the work
    labels = c.table("segments/segments.parquet")
    return goals.write_goals(c.log, labels, settings, folder, c.watcher.progress, previous)


def _card(c: Context, settings: Any, folder: Path) -> Facts:
    return card.write_card(c.folder, plain(c.job), folder, c.watcher.progress)


def _report(c: Context, settings: Any, folder: Path) -> Facts:
    settings = _placed(_placed(settings, "previous", c.job.base), "template", c.job.base)
    if str(settings.lang).endswith(".toml"):  # else the code of a language that is built in
        settings = _placed(settings, "lang", c.job.base)
    return report.write_report(c.folder, settings, folder, c.watcher.progress)


def _deliver(c: Context, settings: Any, folder: Path) -> Facts:
    settings = _placed(settings, "previous", c.job.base)
    if str(settings.mapping).endswith(".toml"):  # else the name of a ready-made one
        settings = _placed(settings, "mapping", c.job.base)
    return plain(targets.deliver(c.folder, settings, folder))


def _placed(settings: Any, name: str, base: Path) -> Any:
    """The settings with one path, relative to the job file, made a path from here."""
    path = getattr(settings, name, None)
    return settings if path is None else replace(settings, **{name: str(base / path)})


EARLIER = (
    *("log", "journeys", "models", "segments", "stages", "pressure", "perceptions", "patterns"),
    *("next", "suggestions", "accounts", "value", "goals"),
)
"""What a run has found before it is told."""
STAGES = (
    Stage("log", "source", (), _log),
    Stage("models", "model", ("log",), _models),
    Stage("segments", "segments", ("log",), _segments),
    Stage("stages", "stages", ("log",), _stages),
    Stage("pressure", "pressure", ("log", "segments"), _pressure),
    Stage("perceptions", "perceptions", ("log", "models", "segments"), _perceptions),
    Stage("journeys", "journeys", ("log", "segments"), _journeys),
    Stage("patterns", "patterns", ("log", "segments"), _patterns),
    Stage("next", "model", ("log", "models", "segments"), _next),
    Stage("suggestions", "suggest", ("log", "segments", "stages", "pressure", "next"), _suggest),
    Stage("accounts", "accounts", ("log",), _accounts),
    Stage("value", "value", ("log", "segments"), _value),
    Stage("goals", "goals", ("log", "segments"), _goals),
    Stage("card", "card", EARLIER, _card),
    Stage(
        "report",
        "report",
        (*EARLIER, "card"),
        _report,
    ),
    Stage("delivery", "deliver", ("log", "models", "segments", "suggestions"), _deliver),
)
