"""What the system holds now, spooled to a file: read in pages, asked by key, memory stays flat."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from pathlib import Path

import polars as pl

from behavio.targets.crm import Crm, Where

FEW = 2_000


class State:
    """Rows of one object with these columns as text; the newest version of a key stands."""

    def __init__(self, crm: Crm, object: str, columns: Collection[str], key: str, folder: Path) -> None:
        self.crm, self.object, self.key = crm, object, key
        self.columns = list(dict.fromkeys([c for c in (crm.id, key) if c] + list(columns)))
        self.folder = folder
        self.rows = 0
        self._parts: list[Path] = []
        folder.mkdir(parents=True, exist_ok=True)

    def _keep(self, frames: Iterable[pl.DataFrame]) -> None:
        for frame in frames:
            path = self.folder / f"{len(self._parts):05d}.parquet"
            frame.select(self.columns).write_parquet(path, compression="lz4")
            self._parts.append(path)
            self.rows += frame.height

    def fetch(self, where: Where = ()) -> None:
        """Add the rows that fit."""
        self._keep(self.crm.read(self.object, self.columns, where=where))

    def fetch_keys(self, keys: pl.Series) -> None:
        """Add the rows of these keys that are not here yet: asked by key when they are few, else all."""
        missing = keys.drop_nulls().unique()
        if self._parts:
            known = pl.scan_parquet(self._parts).select(self.key).collect()[self.key]
            missing = missing.filter(~missing.is_in(known.implode()))
        if missing.len() == 0:
            return
        if missing.len() <= FEW:
            self._keep(self.crm.read(self.object, self.columns, self.key, missing.to_list()))
        else:
            self._keep(self.crm.read(self.object, self.columns, where=(self.key,)))

    def all(self) -> pl.LazyFrame:
        """Every row, one per key; rows without a key too."""
        if not self._parts:
            return pl.LazyFrame(schema=dict.fromkeys(self.columns, pl.String))
        return pl.scan_parquet(self._parts)

    def of(self, keys: pl.Series) -> pl.DataFrame:
        """Rows of these keys, each once."""
        wanted = keys.drop_nulls().unique().implode()
        found = self.all().filter(pl.col(self.key).is_in(wanted)).collect()
        return found.unique(self.key, keep="last", maintain_order=True)

    def forget(self) -> None:
        """Remove the spool."""
        for path in self._parts:
            path.unlink(missing_ok=True)
        self._parts = []
        self.rows = 0
