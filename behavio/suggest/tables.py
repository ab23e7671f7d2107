"""The tables of suggestions: their columns, and where they go part by part."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol, Self

import polars as pl

from behavio.files import whole_file

SUGGESTION_SCHEMA: dict[str, pl.DataType] = {
    "suggestion_id": pl.String(),
    "case_id": pl.String(),
    "rank": pl.Int32(),
    "action": pl.String(),
    "channel": pl.String(),
    "message": pl.String(),
    "brand": pl.String(),
    "due_from": pl.Date(),
    "due_to": pl.Date(),
    "expires_on": pl.Date(),
    "probability": pl.Float64(),
    "base_probability": pl.Float64(),
    "low": pl.Float64(),
    "high": pl.Float64(),
    "evidence_n": pl.Int64(),
    "reason": pl.String(),
    "evidence_rows": pl.List(pl.String()),
    "priority": pl.String(),
    "segment": pl.String(),
    "owner_id": pl.String(),
    # how the numbers came about, so that anybody can count them again
    "gain": pl.Float64(),
    "gain_low": pl.Float64(),
    "gain_high": pl.Float64(),
    "q_value": pl.Float64(),
    "responses": pl.Int64(),
    "share": pl.Float64(),
    "base_n": pl.Int64(),
    "base_share": pl.Float64(),
    "level": pl.String(),
    "pressure": pl.Int64(),
    "seen": pl.String(),
    "contacts_28d": pl.Int64(),
    "next_activity": pl.String(),
    "next_probability": pl.Float64(),
    # where the case stands, and who asked
    "stage": pl.String(),
    "stage_since": pl.Datetime("us", "UTC"),
    "contacts": pl.Int64(),
    "band_low": pl.Float64(),
    "band_high": pl.Float64(),
    "cost": pl.Float64(),
    "trigger": pl.String(),
    "ignored": pl.Int64(),
    "family_p": pl.Float64(),
}
"""suggestions.parquet. ignored says how often in a row this action was passed over for this case; family_p is
the chance of such a gain anywhere in the run when no action brings anything, see `proof`."""

SUPPRESSED_SCHEMA: dict[str, pl.DataType] = {
    "case_id": pl.String(),
    "action": pl.String(),
    "channel": pl.String(),
    "reason": pl.String(),
    "detail": pl.String(),
    "probability": pl.Float64(),
    "base_probability": pl.Float64(),
    "evidence_n": pl.Int64(),
}
"""suppressed.parquet: `reason` is the name of the rule."""


class Keep(Protocol):
    """Takes the parts of tables, each in the order of its rows."""

    def add(self, name: str, part: pl.DataFrame) -> None:
        """One more part of a table."""


class InMemory:
    """Tables held as they are made."""

    def __init__(self) -> None:
        self._parts: dict[str, list[pl.DataFrame]] = {}

    def add(self, name: str, part: pl.DataFrame) -> None:
        """One more part of a table."""
        self._parts.setdefault(name, []).append(part)

    def tables(self) -> dict[str, pl.DataFrame]:
        """Every table whole."""
        return {name: pl.concat(parts) for name, parts in self._parts.items()}


class OnDisk:
    """Tables written part by part to `folder`, each file whole or not at all when the block ends."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._files = ExitStack()
        self._writers: dict[str, Any] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for writer in self._writers.values():
            writer.close()
        self._files.__exit__(kind, error, trace)

    def add(self, name: str, part: pl.DataFrame) -> None:
        """One more part of a table, written at once."""
        import pyarrow.parquet as pq

        rows = part.to_arrow(compat_level=pl.CompatLevel.oldest())
        if name not in self._writers:
            draft = self._files.enter_context(whole_file(self.folder / f"{name}.parquet"))
            self._writers[name] = pq.ParquetWriter(draft, rows.schema, compression="zstd")
        self._writers[name].write_table(rows)
