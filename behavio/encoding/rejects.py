"""Rows that cannot become events, found by the stream and told by the careful path in its own words."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import polars as pl

from behavio.encoding.columnar import Batch
from behavio.encoding.names import Keys
from behavio.encoding.pieces import Unfit
from behavio.encoding.plan import Plan
from behavio.encoding.spill import Streams
from behavio.kernels.clock import MISSING
from behavio.log import REJECTED_SCHEMA, TIME
from behavio.sources.events import _activities, _cases, _moments
from behavio.sources.sieve import Sieve
from behavio.sources.tabular import FILE, ROW, RawTable

SAMPLE = 100_000
"""Rows by which a column is told to hold free text; the careful path looks at 2,000 values of each."""
MOST = 5_000_000
"""More rejected rows than this are left to the careful path."""


class _Told(Sieve):
    """A sieve over a few rows of a source whose columns of free text are known."""

    def __init__(self, texts: Sequence[str], *given: Any, **more: Any) -> None:
        self._given = texts
        super().__init__(*given, **more)

    def _texts(self, columns: list[str]) -> list[str]:
        return [c for c in columns if c in self._given]


def free_text(files: Sequence[Any], plan: Plan) -> tuple[list[str], list[str]]:
    """Carried columns that hold free text or name somebody, by the first rows; and the note on them."""
    if not plan.carried or plan.keep_text:
        return [], []
    heads: list[pl.DataFrame] = []
    for file in files:
        heads.append(file.head(SAMPLE))
        if sum(h.height for h in heads) >= SAMPLE:
            break
    frame = pl.concat(heads, how="diagonal_relaxed").with_columns(
        pl.lit(1, dtype=pl.Int64).alias(ROW), pl.lit(0, dtype=pl.Int32).alias(FILE)
    )
    none = pl.DataFrame(schema=REJECTED_SCHEMA).drop("source")
    sieve = Sieve("", RawTable(frame, ("",), none), plan.mapping, private=False, keep=plan.mapping.keep)
    return sieve.texts, sieve.notes


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
        self._rows.append(batch.numbers(rows))
        self._at.append(at)
        if batch.raw is not None:
            self.files[place].keep(batch, rows)

    def rejected(
        self, name: str, plan: Plan, cases: Keys, activities: Keys, streams: Streams, texts: Sequence[str]
    ) -> pl.DataFrame:
        """REJECTED_SCHEMA: what the careful path says about the rows that are no events.

        `texts` are the columns that hold free text: they are not shown.
        """
        files = tuple(f.item.shown for f in self.files)
        typed = all(f.typed for f in self.files)
        if not self.n and not self.n_wrong:
            return pl.DataFrame(schema=REJECTED_SCHEMA)
        places, rows, at = (
            np.concatenate([np.zeros(0, np.int64), *x]) for x in (self._places, self._rows, self._at)
        )
        times = _still_bad(streams, at, cases, activities)
        keep = times[0]
        frames, wrongs = [], []
        for place, file in enumerate(self.files):
            own = (places == place) & keep
            wrongs.append(file.wrong(place))
            if not own.any():
                continue
            frame = file.frame(rows[own])
            frames.append(
                frame.with_columns(
                    pl.Series(ROW, rows[own], dtype=pl.Int64),
                    pl.lit(place, dtype=pl.Int32).alias(FILE),
                    pl.Series("__time__", times[1][own]).cast(TIME),
                )
            )
        early = pl.concat(wrongs)
        if not frames:
            empty = {**dict.fromkeys(self.files[0].columns, pl.String()), ROW: pl.Int64(), FILE: pl.Int32()}
            frames.append(pl.DataFrame(schema={**empty, "__time__": TIME}))
        whole = pl.concat(frames, how="diagonal_relaxed")
        time = whole["__time__"]
        table = RawTable(whole.drop("__time__"), files, early, (), typed)
        sieve = _Told(texts, name, table, plan.mapping, private=False, keep=plan.mapping.keep)
        micros = time.dt.epoch("us")
        sieve.frame = sieve.frame.with_columns(time.set(micros == int(MISSING), None).alias("__time__"))
        _cases(sieve, plan.mapping)
        _moments(sieve, plan.mapping, timed=True)
        _activities(sieve, plan.mapping)
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
