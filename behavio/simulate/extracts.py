"""Writing extracts: system columns, duplicates, deleted rows, and a tally of every row of dirt."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from behavio.files import whole_file
from behavio.simulate.clean import moments
from behavio.simulate.ids import crm_ids

BROKEN = ("31.02.2026 25:61", "0000-00-00T00:00:00.000Z", "not recorded")
SENTENCES = (
    "Asked for the slides after the congress.",
    "Prefers to talk before noon.",
    "Wants to compare with the current guideline.",
    "Will discuss with the colleague next door.",
    "No time today, come back in spring.",
)
"""Harmless free text that no reader should take in."""


@dataclass(slots=True)
class Tally:
    """Rows written: facts and dirt by kind add up to the rows of each file; marks are facts with a flaw."""

    files: dict[str, dict[str, Any]] = field(default_factory=dict)

    def wrote(self, file: str, facts: int, dirt: dict[str, int], marks: dict[str, int] | None = None) -> None:
        """Note what went into a file."""
        rows = facts + sum(dirt.values())
        self.files[file] = {"rows": rows, "facts": facts, "dirt": dirt, "marks": marks or {}}


@dataclass(slots=True)
class Numbers:
    """Hands out ids of one table that no record has yet."""

    table: str
    used: int

    def fresh(self, n: int) -> pl.Series:
        """The next `n` ids."""
        self.used += n
        return crm_ids(self.table, self.used - n + np.arange(n))


def broken_times(n: int) -> pl.Series:
    """Texts that are no time."""
    return pl.Series(BROKEN).gather(np.arange(n) % len(BROKEN))


def stamp(seconds: np.ndarray) -> pl.Series:
    """UTC datetimes as the CRM writes them."""
    return moments(seconds).dt.strftime("%Y-%m-%dT%H:%M:%S.000Z")


def dates(seconds: np.ndarray) -> pl.Series:
    """Days as the CRM writes them."""
    return moments(seconds).dt.strftime("%Y-%m-%d")


def some(n: int, share: float, dirt: float, rng: np.random.Generator) -> np.ndarray:
    """int64: sorted rows out of `n` drawn for one kind of dirt; at least one when there are rows and dirt."""
    size = min(n, max(1, round(n * share * dirt))) if dirt > 0 and n > 0 else 0
    return np.sort(rng.choice(n, size, replace=False)) if size else np.empty(0, dtype=np.int64)


def system_columns(ids: pl.Series, created: np.ndarray, modified: np.ndarray) -> dict[str, Any]:
    """What every CRM object has."""
    return {
        "Id": ids,
        "IsDeleted": pl.repeat("false", len(ids), eager=True),
        "CreatedDate": stamp(created),
        "LastModifiedDate": stamp(modified),
        "SystemModstamp": stamp(modified),
    }


def older(rows: pl.DataFrame, days: int, **changes: Any) -> pl.DataFrame:
    """Copies of rows as an earlier export saw them: same Id, modified `days` earlier, slightly different."""
    time = pl.col("LastModifiedDate").str.to_datetime("%Y-%m-%dT%H:%M:%S%.3fZ", time_unit="us")
    before = (time - pl.duration(days=days)).dt.strftime("%Y-%m-%dT%H:%M:%S.000Z")
    return rows.with_columns(before.alias("LastModifiedDate"), before.alias("SystemModstamp"), **changes)


def deleted(rows: pl.DataFrame, ids: pl.Series) -> pl.DataFrame:
    """Copies of rows under new ids that were deleted since."""
    return rows.with_columns(ids.alias("Id"), pl.lit("true").alias("IsDeleted"))


def write_table(path: Path, parts: Sequence[pl.DataFrame]) -> int:
    """Write rows as CSV in the order they were last modified; returns how many."""
    table = pl.concat(parts).sort("LastModifiedDate", "Id", maintain_order=True)
    with whole_file(path) as draft:
        table.write_csv(draft)
    return table.height
