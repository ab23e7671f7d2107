"""An event log on a cluster, described: which files, which column is what. No Spark is needed for that."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

import numpy as np
import polars as pl

from behavio.files import read_json, write_json
from behavio.sequences import UNKNOWN, OpenCases, Vocabulary


@dataclass(frozen=True, slots=True)
class SparkSource:
    """Parquet files of one shape, and what their columns mean.

    path      whatever Spark reads: a file, a folder, a pattern; local, s3a://, hdfs://, abfss://
    case_id   column; activity: a column, or a template such as "{activity}: {company}"
    timestamp column; None for a log that has an order but no clock
    order     column that breaks ties of time, or orders a log without a clock; "source_row" is the file's
    zone      zone of times that carry none
    clock     how numbers or texts are to be read: "" (typed times), unix_s, unix_ms, unix_us, unix_ns, text
    format    strptime format of texts, "" for ISO
    renames   activities under other names (old, new)
    repeats   "keep" or "merge" rows equal to an earlier one
    compare   columns that must be equal as well, besides case, activity and time; None for all
    """

    name: str
    path: str
    case_id: str
    activity: str
    timestamp: str | None
    order: str | None = None
    zone: str = "UTC"
    clock: str = ""
    format: str = ""
    renames: tuple[tuple[str, str], ...] = ()
    repeats: str = "keep"
    compare: tuple[str, ...] | None = None


@dataclass(frozen=True, slots=True)
class SparkLog:
    """One event log on a cluster: counts are asked of it through SparkEngine.

    vocabulary  the distinct activities, empty until they were found
    timed       False when times only count positions
    n_events    accepted rows, 0 until they were counted; decides the number of partitions
    newest      time (µs) of the newest event of all
    within_s    a case silent for longer than this up to it is closed; None marks no case at all
    end         activities that close a case
    """

    sources: tuple[SparkSource, ...]
    vocabulary: Vocabulary = field(default_factory=lambda: Vocabulary.of([]))
    timed: bool = True
    n_events: int = 0
    newest: int = 0
    within_s: float | None = None
    end: tuple[str, ...] = ()

    def running(self, last_times: np.ndarray, last_tokens: np.ndarray) -> OpenCases | None:
        """Which cases still run, by the time (µs) and token of the last event of each; None: no rule."""
        if self.within_s is None:
            return None
        known = np.array([self.vocabulary.id(name) for name in self.end], dtype=np.int32)
        still = ~np.isin(last_tokens, known[known > UNKNOWN])
        if self.timed:
            still &= self.newest - last_times <= round(self.within_s * 1e6)
        return OpenCases(still, self.end, self.within_s)

    def write(self, path: Path, base: Path) -> None:
        """Write the description (no events), local paths relative to `base`, as JSON."""
        facts = asdict(self) | {"vocabulary": list(self.vocabulary.names)}
        facts["sources"] = [asdict(_moved(s, lambda p: _relative(p, base))) for s in self.sources]
        write_json(path, facts)

    @classmethod
    def read(cls, path: Path, base: Path) -> SparkLog:
        """Read back what `write` left."""
        facts = read_json(path)
        sources = []
        for table in facts["sources"]:
            renames = tuple((old, new) for old, new in table["renames"])
            compare = None if table["compare"] is None else tuple(table["compare"])
            sources.append(SparkSource(**(table | {"renames": renames, "compare": compare})))
        return cls(
            tuple(_moved(s, lambda p: placed(p, base)) for s in sources),
            Vocabulary(tuple(facts["vocabulary"])),
            facts["timed"],
            facts["n_events"],
            facts["newest"],
            facts["within_s"],
            tuple(facts["end"]),
        )


def placed(path: str, base: Path) -> str:
    """A path as Spark takes it: addresses as they are, local paths from `base`, absolute."""
    return path if "://" in path else os.path.normpath((base / path).absolute())


def _relative(path: str, base: Path) -> str:
    inside = "://" not in path and Path(path).is_relative_to(os.path.normpath(base.absolute()))
    return Path(path).relative_to(os.path.normpath(base.absolute())).as_posix() if inside else path


def _moved(source: SparkSource, how: Callable[[str], str]) -> SparkSource:
    return replace(source, path=how(source.path))


def sampled(cases: pl.Series, limit: int) -> pl.Series:
    """Which of these cases are in the sample."""
    return pl.Series(
        [int(hashlib.md5(c.encode(), usedforsecurity=False).hexdigest()[:8], 16) < limit for c in cases],
        dtype=pl.Boolean,
    )
