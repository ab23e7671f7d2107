"""A run: the stages of a job in one folder, each whole or absent, the manifest written last.

A stage works in a hidden draft folder that takes its name only when it is complete; its record in
`.stages/` is written after that. A record carries a key over everything the stage depends on (settings,
seed, inputs, code, versions, the stages before it) and the hash of every file, so an unchanged stage is
reused and a killed run goes on from the last whole stage with the same bytes.
"""

from __future__ import annotations

import errno
import fcntl
import os
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import cached_property, partial
from pathlib import Path
from typing import Any, Protocol

import polars as pl

from behavio import (
    conformance,
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
)
from behavio.durations import seconds
from behavio.encoding.pieces import Unfit
from behavio.encoding.stage import can_be_streamed, sample_of, write_streamed
from behavio.engine.local import LocalEngine
from behavio.engine.spark import SparkEngine, SparkLog
from behavio.errors import JobError, RunError
from behavio.files import read_json, write_json
from behavio.job import Job
from behavio.log import EventLog
from behavio.manifest import (
    code_fingerprint,
    fingerprints,
    key_of,
    outputs_of,
    peak_memory_mb,
    plain,
    versions,
)
from behavio.sequences import SequenceSet
from behavio.sources.cluster import on_cluster_only, read_cluster_log, read_text_times, remote_files

Facts = dict[str, Any]
ERASED_LIST = ".stages/erased.json"
"""Salted hashes of people erased from the run, relative to its folder."""


class Watcher(Protocol):
    """Hears how a run goes on; the command line draws it, tests and notebooks need not."""

    def stage(self, name: str, state: str, seconds: float) -> None:
        """`state` is started, reused or done."""

    def progress(self, what: str, share: float) -> None:
        """Inside a stage: what is being done, and how much of it (0-1)."""


class Silent:
    """Watches nothing."""

    def stage(self, name: str, state: str, seconds: float) -> None:
        """Ignore."""

    def progress(self, what: str, share: float) -> None:
        """Ignore."""


@dataclass
class Context:
    """What stages share: the job, the folder, and tables read back only when a stage needs them."""

    job: Job
    folder: Path
    watcher: Watcher = field(default_factory=Silent)

    @cached_property
    def log(self) -> EventLog:
        """The event log of this run; of a streamed one that is large, a sample of whole cases."""
        return EventLog.read(self.folder / "log") if self._sample is None else self._sample[0]

    @cached_property
    def _sample(self) -> tuple[EventLog, SequenceSet] | None:
        return sample_of(self.folder / "log", self.sequences)

    @property
    def sampled(self) -> bool:
        """Whether models, segments and patterns learn from a sample."""
        return self._sample is not None

    @cached_property
    def learnt(self) -> SequenceSet:
        """The sequences that models, segments and patterns learn from: those of `log`."""
        return self.sequences if self._sample is None else self._sample[1]

    @cached_property
    def sequences(self) -> SequenceSet:
        """The encoded log, memory-mapped."""
        return SequenceSet.read(self.folder / "log" / "encoded")

    @cached_property
    def cluster(self) -> SparkEngine:
        """The Spark session of a job that says engine = "spark"."""
        return SparkEngine(read=read_text_times)

    def table(self, path: str) -> pl.DataFrame | None:
        """A Parquet table of an earlier stage, None when that stage is not part of the job."""
        file = self.folder / path
        return pl.read_parquet(file) if file.exists() else None


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
    if can_be_streamed(c.job.inputs, erased):
        try:
            return write_streamed(c.job.inputs, folder, c.watcher.progress)
        except Unfit:
            pass  # the careful way reads it as a whole
    log = sources.read_log(c.job.inputs, c.watcher.progress, salt=salt, erased=erased)
    log.write(folder, {"findings": sources.findings(log)})
    sequences = SequenceSet.from_log(log).marked(c.job.log.end, c.job.log.open_within)
    sequences.write(folder / "encoded")
    read = sum(s.read for s in log.sources if s.role == "events")
    return {
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
        for _, path in _plan_files(c.job):
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
    return models.write_models(known, settings, c.job.seed, folder, c.watcher.progress)


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
    Stage(
        "report",
        "report",
        (
            *("log", "journeys", "models", "segments", "stages", "pressure", "perceptions", "patterns"),
            *("next", "suggestions"),
        ),
        _report,
    ),
    Stage("delivery", "deliver", ("log", "models", "segments", "suggestions"), _deliver),
)


@dataclass(frozen=True)
class Result:
    """A finished run: its folder, its manifest, and which stages were taken over as they were."""

    folder: Path
    manifest: dict[str, Any]
    reused: tuple[str, ...]

    def table(self, path: str) -> pl.DataFrame:
        """A Parquet table of the run, e.g. `segments/segments.parquet`."""
        return pl.read_parquet(self.folder / path)


def run(job: Job, out: Path, *, start: str | None = None, watcher: Watcher | None = None) -> Result:
    """Run every stage the job asks for into the folder `out`.

    `start` names a stage that is made anew, with all after it, even when nothing changed. Errors:
    JobError when the job has no stage `start`; RunError when the folder cannot be used; whatever
    a stage raises, with its draft removed.
    """
    asked = [s for s in STAGES if getattr(job, s.table)]
    if start is not None and start not in [s.name for s in asked]:
        listed = ", ".join(s.name for s in asked)
        raise JobError(f"this job has no stage {start!r}", hint=f"its stages: {listed}")
    context = Context(job, out, watcher or Silent())
    with locked(out):
        (out / "manifest.json").unlink(missing_ok=True)
        _sweep(*out.glob(".draft-*"), *out.glob(".old-*"))
        inputs = _inputs(context)
        records: dict[str, dict[str, Any]] = {}
        reused, forced = [], False
        for stage in asked:
            forced = forced or stage.name == start
            key = _key(stage, job, inputs, records, sorted(erased_of(out)[1]))
            record = None if forced else _whole(out, stage, key)
            if record is None:
                record = _make(stage, context, key)
            else:
                reused.append(stage.name)
                context.watcher.stage(stage.name, "reused", 0.0)
            records[stage.name] = record
        _drop_others(out, {s.name for s in asked})
        manifest = _manifest(job, inputs, records)
        write_json(out / "manifest.json", manifest)
    return Result(out, manifest, tuple(reused))


def read_manifest(folder: Path) -> dict[str, Any]:
    """The manifest of a finished run; RunError when the folder holds none."""
    path = folder / "manifest.json"
    if not path.is_file():
        unfinished = (folder / ".stages").is_dir()
        what = "was not finished" if unfinished else "is not a run folder"
        hint = (
            "run the job again: it goes on where it stopped"
            if unfinished
            else "give the folder behavio run wrote"
        )
        raise RunError(f"{folder} {what}: it has no manifest.json", hint=hint)
    return dict(read_json(path))


def _inputs(c: Context) -> list[dict[str, Any]]:
    """Every file a result rests on: sources, cases, consents, a table of true probabilities.

    Of files that only a cluster sees, size and time of change stand for the hash.
    """
    job = c.job
    far = {n: s for n, s in job.source.items() if job.engine == "spark" and on_cluster_only(s.path, job.base)}
    near = {n: s for n, s in job.source.items() if n not in far}
    files = sources.input_files(replace(job.inputs, source=near))
    if job.model is not None and job.model.truth is not None:
        files.append((job.model.truth, job.base / job.model.truth))
    return fingerprints(files) + (remote_files(far, job.base, c.cluster) if far else [])


def _plan_files(job: Job) -> list[tuple[str, Path]]:
    """The file of the plan that journeys are held against, by the name the job gives it."""
    name = job.conformance.plan if job.conformance is not None else None
    if name is None:
        return []
    if not (job.base / name).is_file():
        raise JobError(f"there is no plan {job.base / name}", hint="give a .toml, .bpmn, .pnml or .csv file")
    return [(name, job.base / name)]


def erased_of(folder: Path) -> tuple[str, frozenset[str]]:
    """Salt and hashes of the people erased from a run; they never enter it again."""
    path = folder / ERASED_LIST
    told = read_json(path) if path.is_file() else {"salt": "", "hashes": []}
    return str(told["salt"]), frozenset(told["hashes"])


def _key(
    stage: Stage,
    job: Job,
    inputs: list[dict[str, Any]],
    records: dict[str, dict[str, Any]],
    erased: list[str],
) -> str:
    settings = getattr(job, stage.table)
    beside = {n: s for n, s in job.inputs.tables.items() if n not in job.source}
    rest = (job.engine, beside, job.log, inputs, *erased) if stage.name in ("log", "models") else ()
    held: tuple[Any, ...] = ()
    if stage.name == "journeys":
        held = (job.conformance, fingerprints(_plan_files(job)))
    elif stage.name == "segments" and job.segments is not None:
        held = tuple(fingerprints(segments.files_of(job.segments, job.base)))
    elif stage.name == "suggestions" and job.suggest is not None:
        held = tuple(fingerprints(suggest.files_of(job.suggest, job.base)))
    space = ("models",) if stage.name == "segments" and settings.space == "model" else ()
    before = {n: records[n]["key"] for n in (*stage.needs, *space) if n in records}
    return key_of(stage.name, settings, (rest, held), job.seed, code_fingerprint(), versions(), before)


def _whole(out: Path, stage: Stage, key: str) -> dict[str, Any] | None:
    """The stage's record when it was made from the same things and every file is as it was left."""
    path = out / ".stages" / f"{stage.name}.json"
    if not path.is_file():
        return None
    record = dict(read_json(path))
    same = record["key"] == key and outputs_of(out / stage.name) == record["outputs"]
    return record if same else None


def _make(stage: Stage, context: Context, key: str) -> dict[str, Any]:
    """Let a stage write into a draft folder, then put it in place and record it."""
    out, watcher = context.folder, context.watcher
    draft, old = out / f".draft-{stage.name}", out / f".old-{stage.name}"
    watcher.stage(stage.name, "started", 0.0)
    began = time.perf_counter()
    with _disk_errors(out):
        try:
            _sweep(draft, old)
            draft.mkdir(parents=True)
            facts = stage.write(context, getattr(context.job, stage.table), draft)
            outputs = outputs_of(draft)
            (out / ".stages" / f"{stage.name}.json").unlink(missing_ok=True)
            if (out / stage.name).exists():
                (out / stage.name).rename(old)
            draft.rename(out / stage.name)
        finally:
            _sweep(draft, old)
        seconds = time.perf_counter() - began
        measured: Facts = {"seconds": round(seconds, 2), "peak_memory_mb": peak_memory_mb()}
        if detail := facts.pop("measured", None):
            measured["detail"] = detail
        record = {"key": key, "facts": facts, "outputs": outputs, "measured": measured}
        write_json(out / ".stages" / f"{stage.name}.json", record)
    watcher.stage(stage.name, "done", seconds)
    return record


def _manifest(job: Job, inputs: list[dict[str, Any]], records: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """Everything but `measured` is the same, byte for byte, whenever inputs, settings and code are."""
    settings = {k: v for k, v in plain(job).items() if k not in ("base", "name") and v is not None}
    return {
        "job": job.name,
        "seed": job.seed,
        "versions": versions(),
        "code": code_fingerprint(),
        "settings": settings,
        "inputs": inputs,
        "stages": {n: {k: r[k] for k in ("key", "facts", "outputs")} for n, r in records.items()},
        "measured": {n: r["measured"] for n, r in records.items()},
    }


def _sweep(*folders: Path) -> None:
    """Remove what is only half done; Ctrl-C, which some libraries pass on twice, cannot stop it midway."""
    try:
        for folder in folders:
            shutil.rmtree(folder, ignore_errors=True)
    except KeyboardInterrupt:
        _sweep(*folders)
        raise


def _drop_others(out: Path, wanted: set[str]) -> None:
    """Remove what stages of an earlier job left that this job does not have."""
    for stage in STAGES:
        if stage.name not in wanted:
            shutil.rmtree(out / stage.name, ignore_errors=True)
            (out / ".stages" / f"{stage.name}.json").unlink(missing_ok=True)


@contextmanager
def locked(out: Path) -> Iterator[None]:
    """Only one run at a time in a folder; a killed one leaves no lock behind."""
    with _disk_errors(out):
        if out.exists() and not (out / ".stages").exists() and any(out.iterdir()):
            raise RunError(f"{out} holds other files", hint="give an empty or new folder with --out")
        (out / ".stages").mkdir(parents=True, exist_ok=True)
        handle = os.open(out / ".stages" / "lock", os.O_CREAT | os.O_RDWR)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise RunError(
                f"another run is at work in {out}", hint="wait for it, or give another --out"
            ) from None
        yield
    finally:
        os.close(handle)


@contextmanager
def _disk_errors(out: Path) -> Iterator[None]:
    """What the operating system refuses, in words a user can act on."""
    try:
        yield
    except OSError as problem:
        if problem.errno in (errno.ENOSPC, errno.EDQUOT):
            hint = "free some space and run the same command again: whole stages are kept"
            raise RunError(f"the disk of {out} is full", hint=hint) from problem
        if problem.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
            raise RunError(f"{out} may not be written", hint="give another folder with --out") from problem
        if problem.errno in (errno.ENOTDIR, errno.EEXIST):
            raise RunError(f"{out} is a file, not a folder", hint="give another --out") from problem
        raise
