"""Rows that cannot become events, found by the stream and told by the careful path in its own words."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import polars as pl

from behavio.encoding.columnar import Batch
from behavio.encoding.moments import Unfit
from behavio.encoding.names import Keys
from behavio.encoding.plan import Plan
from behavio.encoding.spill import Streams
from behavio.kernels.clock import MISSING
from behavio.log import REJECTED_SCHEMA, TIME
from behavio.sources.events import _activities, _cases, _moments
from behavio.sources.sieve import Sieve
from behavio.sources.tabular import FILE, ROW, RawTable

MOST = 5_000_000
"""More rejected rows than this are left to the careful path."""


class Suspects:
    """Rows that may have to be rejected: their file, record number and place in the stream."""

    def __init__(self, files: Sequence[Any]) -> None:
        self.files = files
        self.notes: list[str] = []
        self.n = 0
        self._places: list[np.ndarray] = []
        self._rows: list[np.ndarray] = []
        self._at: list[np.ndarray] = []

    @property
    def n_wrong(self) -> int:
        """Records that could not be read as rows at all."""
        return sum(f.n_wrong for f in self.files)

    def add(self, place: int, batch: Batch, rows: np.ndarray, at: np.ndarray) -> None:
        """Rows of a batch; `at` is their place in the stream."""
        self.n += len(rows)
        if self.n > MOST:
            raise Unfit("millions of rows without a case, an activity or a time")
        self._places.append(np.full(len(rows), place, np.int32))
        self._rows.append(batch.rows[rows])
        self._at.append(at)
        if batch.raw is not None:
            self.files[place].keep(batch, rows)

    def close(self, place: int, file: Any) -> None:
        """A file is read to its end."""

    def rejected(
        self, name: str, plan: Plan, cases: Keys, activities: Keys, streams: Streams
    ) -> pl.DataFrame:
        """REJECTED_SCHEMA: what the careful path says about the rows that are no events."""
        files = tuple(f.item.shown for f in self.files)
        typed = all(f.typed for f in self.files)
        none = pl.DataFrame(schema=REJECTED_SCHEMA).drop("source")
        if not self.n and not self.n_wrong:
            return pl.DataFrame(schema=REJECTED_SCHEMA)
        if not self.n:
            wrong = pl.concat([f.wrong(p) for p, f in enumerate(self.files)])
            return wrong.with_columns(pl.lit(name).alias("source")).select(list(REJECTED_SCHEMA))
        places, rows, at = (np.concatenate(x) for x in (self._places, self._rows, self._at))
        times = _still_bad(streams, at, cases, activities)
        keep = times[0]
        frames, wrongs = [], [none]
        for place, file in enumerate(self.files):
            own = (places == place) & keep
            frame = file.frame(rows[own])
            wrongs.append(file.wrong(place))
            if frame is None or not own.any():
                continue
            frames.append(
                frame.with_columns(
                    pl.Series(ROW, rows[own], dtype=pl.Int64),
                    pl.lit(place, dtype=pl.Int32).alias(FILE),
                    pl.Series("__time__", times[1][own]).cast(TIME),
                )
            )
        early = pl.concat(wrongs)
        if not frames:
            return early.with_columns(pl.lit(name).alias("source")).select(list(REJECTED_SCHEMA))
        whole = pl.concat(frames, how="diagonal_relaxed")
        time = whole["__time__"]
        table = RawTable(whole.drop("__time__"), files, early, (), typed)
        sieve = Sieve(name, table, plan.mapping, private=False)
        micros = time.dt.epoch("us")
        sieve.frame = sieve.frame.with_columns(time.set(micros == int(MISSING), None).alias("__time__"))
        _cases(sieve, plan.mapping)
        _moments(sieve, plan.mapping, timed=True)
        _activities(sieve, plan.mapping, {"activity": plan.renamed} if plan.renamed else {})
        if sieve.frame.height:
            raise Unfit(f"{sieve.frame.height} rows looked wrong and are not")
        return pl.concat(sieve.rejected)


def _still_bad(
    streams: Streams, at: np.ndarray, cases: Keys, activities: Keys
) -> tuple[np.ndarray, np.ndarray]:
    """bool: which suspects are no events now that odd times are read; and their times (int64)."""
    found = np.zeros(len(at), np.bool_)
    micros = np.full(len(at), MISSING)
    for first, (codes, tokens, times) in streams.chunks("case", "token", "time"):
        a, b = np.searchsorted(at, [first, first + len(times)])
        here = at[a:b] - first
        c, t, m = codes[here], tokens[here], times[here]
        bad = (c < 0) | (t < 0) | (m == MISSING)
        bad |= cases.bad[np.maximum(c, 0)] | activities.bad[np.maximum(t, 0)]
        found[a:b], micros[a:b] = bad, m
    return found, micros
