"""What the stages of a run share: who watches, the job, the folder, tables read back when needed."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol

import polars as pl

from behavio.encoding.stage import sample_of
from behavio.engine.spark import SparkEngine
from behavio.errors import JobError
from behavio.files import read_json
from behavio.job import Job
from behavio.log import EventLog
from behavio.sensitive import without_sensitive
from behavio.sequences import SequenceSet
from behavio.sources.cluster import read_text_times

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
        """The event log of this run; of a streamed one that is large, a sample of whole cases.

        Columns such as age or sex are not in its cases unless the job allows them.
        """
        log = EventLog.read(self.folder / "log") if self._sample is None else self._sample[0]
        return replace(log, cases=without_sensitive(log.cases, self.job.card.sensitive))

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

    @property
    def beside(self) -> SequenceSet | None:
        """Events of analog areas, None where the job has no such source."""
        events = self.table("log/analog.parquet")
        if events is None:
            return None
        log = EventLog.from_frame(events.sort("case_id", "timestamp", "event_index"), timed=self.log.timed)
        return SequenceSet.from_log(log)

    @cached_property
    def cluster(self) -> SparkEngine:
        """The Spark session of a job that says engine = "spark"."""
        return SparkEngine(read=read_text_times)

    def table(self, path: str) -> pl.DataFrame | None:
        """A Parquet table of an earlier stage, None when that stage is not part of the job."""
        file = self.folder / path
        return pl.read_parquet(file) if file.exists() else None


def plan_files(job: Job) -> list[tuple[str, Path]]:
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
