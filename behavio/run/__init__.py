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
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import polars as pl

from behavio import goals, segments, sources, suggest, treatment
from behavio.errors import JobError, RunError
from behavio.files import read_json, write_json
from behavio.job import Job
from behavio.manifest import (
    code_fingerprint,
    fingerprints,
    key_of,
    outputs_of,
    peak_memory_mb,
    plain,
    versions,
)
from behavio.run.context import ERASED_LIST, Context, Facts, Silent, Watcher, erased_of, plan_files
from behavio.run.stages import STAGES, Stage
from behavio.sources.cluster import on_cluster_only, remote_files

__all__ = [
    "ERASED_LIST",
    "STAGES",
    "Context",
    "Result",
    "Silent",
    "Stage",
    "Watcher",
    "erased_of",
    "locked",
    "read_manifest",
    "run",
]


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
        _drop_others(out, {s.name for s in asked})  # first: what tells of a run must not read what is gone
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
    if job.treatment is not None:
        files.append((job.treatment.path, treatment.table_of(job.treatment, job.base)))
    return fingerprints(files) + (remote_files(far, job.base, c.cluster) if far else [])


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
    if stage.name == "log" and job.treatment is not None:
        held = (job.treatment,)
    elif stage.name == "journeys":
        held = (job.conformance, fingerprints(plan_files(job)))
    elif stage.name == "segments" and job.segments is not None:
        held = tuple(fingerprints(segments.files_of(job.segments, job.base)))
    elif stage.name == "suggestions" and job.suggest is not None:
        held = tuple(fingerprints(suggest.files_of(job.suggest, job.base)))
    elif stage.name == "goals" and job.goals is not None and job.goals.previous is not None:
        held = tuple(fingerprints(goals.files_of(job.base / job.goals.previous)))
    elif stage.name == "card":
        held = tuple((k, v) for k, v in plain(job).items() if k != "base")
    space = ("models",) if stage.name == "segments" and settings.space == "model" else ()
    before = {n: records[n]["key"] for n in (*stage.needs, *space) if n in records}
    return key_of(
        stage.name,
        settings,
        (rest, held, job.card.sensitive),
        job.seed,
        code_fingerprint(),
        versions(),
        before,
    )


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
