"""Long streams cut into pieces that are read one by one: sessions at gaps, episodes inside windows."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import polars as pl

from behavio.durations import seconds
from behavio.errors import JobError
from behavio.journeys.waits import open_cases
from behavio.kernels.arrays import readonly
from behavio.kernels.calendar import cut_at_gaps, cut_at_windows
from behavio.log import TIME
from behavio.sequences import Field, SequenceSet

PIECE_SCHEMA: dict[str, pl.DataType] = {
    "case_id": pl.String(),
    "parent": pl.String(),
    "number": pl.Int64(),
    "name": pl.String(),
    "start": TIME,
    "end": TIME,
    "events": pl.Int64(),
}


@dataclass(frozen=True, slots=True, eq=False)
class Pieces:
    """Cases cut into pieces, each a case of its own: everything that works on cases works on them.

    sequences   one trace per piece; its case id is "parent#number", or "parent#name" for a named window
    parent      int64 (n_pieces,)  index of the case it was cut out of
    number      int64 (n_pieces,)  1, 2, … inside its case
    parents     ids of the cases
    n_outside   events of the log that are in no piece
    names       name of each piece's window, None for sessions
    """

    sequences: SequenceSet
    parent: np.ndarray
    number: np.ndarray
    parents: pl.Series
    n_outside: int = 0
    names: pl.Series | None = None

    def __len__(self) -> int:
        return self.sequences.n_cases

    def to_frame(self) -> pl.DataFrame:
        """PIECE_SCHEMA, one row per piece; start and end are null for a log without a clock."""
        log = self.sequences
        names = pl.Series([None], dtype=pl.String) if self.names is None else self.names
        frame = pl.DataFrame(
            {
                "case_id": log.case_ids.cast(pl.String),
                "parent": self.parents.gather(pl.Series(self.parent)).cast(pl.String),
                "number": self.number,
                "start": pl.Series(np.asarray(log.times[log.offsets[:-1]])).cast(pl.Datetime("us")),
                "end": pl.Series(np.asarray(log.times[log.offsets[1:] - 1])).cast(pl.Datetime("us")),
                "events": log.lengths,
            }
        ).with_columns(name=names if self.names is not None else pl.lit(None, pl.String))
        times = [pl.col(n).dt.replace_time_zone("UTC") for n in ("start", "end")]
        if not log.timed:
            times = [pl.lit(None, TIME).alias(n) for n in ("start", "end")]
        return frame.with_columns(times).select(list(PIECE_SCHEMA))


def sessions(sequences: SequenceSet, gap: str = "30m") -> Pieces:
    """Cut every case where nothing happens for longer than `gap`: each run of events is a session.

    Every event is in exactly one session. A session is over, open or not, as soon as the next one has
    begun; the last of each case is open where the case is.
    """
    if not sequences.timed:
        raise JobError("this log has no clock", hint="sessions are cut at gaps in time")
    limit = round(seconds(gap) * 1e6)
    offsets, parent = cut_at_gaps(
        readonly(sequences.offsets, np.int64), readonly(sequences.times, np.int64), limit
    )
    number = _numbers(parent)
    ids = _ids(sequences.case_ids, parent, pl.Series(number).cast(pl.String))
    newest = np.append(np.diff(parent) != 0, True)
    cut = altered(sequences, open_cases(sequences)[parent] & newest, offsets=offsets, case_ids=ids)
    return Pieces(cut, parent, number, sequences.case_ids)


def episodes(sequences: SequenceSet, windows: pl.DataFrame) -> Pieces:
    """Cut out what happens inside dated windows: campaigns, brand cycles, treatment lines.

    windows  start and end (dates or times, UTC where they name no zone; the end is not included, null is
             open), name (text, optional), case_id (optional: a window of one case; without it every case
             is looked at)
    An event in two windows is in two episodes; events in none are counted in `n_outside`. Windows that no
    case has an event in leave nothing. Raises JobError when no event lies in any window.
    """
    if not sequences.timed:
        raise JobError("this log has no clock", hint="windows need times")
    start, end, case = _windows(sequences, windows)
    found = cut_at_windows(
        readonly(sequences.offsets, np.int64), readonly(sequences.times, np.int64), start, end, case
    )
    if not len(found):
        raise JobError("no event lies in any of the windows", hint="compare their dates with `behavio check`")
    found = found[np.lexsort((found[:, 1], found[:, 2], found[:, 0]))]
    parent, window, first, last = found.T
    names = windows["name"].cast(pl.String).gather(pl.Series(window)) if "name" in windows.columns else None
    lengths = last - first
    offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    events = np.repeat(first - offsets[:-1], lengths) + np.arange(offsets[-1])
    inside = np.zeros(sequences.n_events, dtype=bool)
    inside[events] = True
    number = _numbers(parent)
    label = pl.Series(number).cast(pl.String) if names is None else names
    ids = _ids(sequences.case_ids, parent, label)
    if ids.n_unique() < len(ids):  # one name, several windows
        ids = _ids(sequences.case_ids, parent, label + "#" + pl.Series(number).cast(pl.String))
    still = open_cases(sequences)[parent] & (end[window] > int(sequences.times.max()))
    cut = altered(
        sequences,
        still,
        tokens=sequences.tokens[events],
        times=sequences.times[events],
        fields={n: Field(f.codes[events], f.vocabulary) for n, f in sequences.fields.items()},
        offsets=offsets,
        case_ids=ids,
    )
    return Pieces(cut, parent, number, sequences.case_ids, int((~inside).sum()), names)


def _windows(sequences: SequenceSet, windows: pl.DataFrame) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Start, end (µs) and case index (−1: all) of each window."""
    missing = [n for n in ("start", "end") if n not in windows.columns]
    if missing:
        raise JobError(f"windows need the columns {', '.join(missing)}", hint="name, start, end, case_id")
    bounds = []
    for name, open_end in (("start", -(2**62)), ("end", 2**62)):
        column = windows[name]
        if column.dtype == pl.String:
            column = column.str.to_datetime(time_unit="us", time_zone="UTC")
        if not column.dtype.is_temporal():
            raise JobError(f"the column {name} of the windows holds no dates", hint="write 2026-03-01")
        zoned = isinstance(column.dtype, pl.Datetime) and column.dtype.time_zone is not None
        column = column.dt.convert_time_zone("UTC").dt.replace_time_zone(None) if zoned else column
        bounds.append(column.cast(pl.Datetime("us")).dt.epoch("us").fill_null(open_end).to_numpy())
    start, end = (b.astype(np.int64) for b in bounds)
    if (end <= start).any():
        row = int(np.flatnonzero(end <= start)[0])
        raise JobError(f"window {row + 1} ends before it starts", hint="the end is the first moment after it")
    case = np.full(windows.height, -1, dtype=np.int64)
    if "case_id" in windows.columns:
        place = pl.DataFrame(
            {"case_id": sequences.case_ids.cast(pl.String), "i": np.arange(sequences.n_cases)}
        )
        wanted = windows.select(pl.col("case_id").cast(pl.String))
        found = wanted.join(place, on="case_id", how="left", maintain_order="left")
        given = wanted["case_id"].is_not_null().to_numpy()
        case = found["i"].fill_null(-1).to_numpy().astype(np.int64)
        known = ~given | (case >= 0)  # windows of cases the log does not have: nothing can be in them
        start, end = np.where(known, start, 2**62), np.where(known, end, 2**62)
    return start, end, case


def _numbers(parent: np.ndarray) -> np.ndarray:
    """1, 2, … inside each run of equal parents, which stand together."""
    first = np.concatenate([[True], np.diff(parent) != 0])
    place = np.arange(len(parent))
    return place - np.maximum.accumulate(np.where(first, place, 0)) + 1


def _ids(case_ids: pl.Series, parent: np.ndarray, label: pl.Series) -> pl.Series:
    return (
        pl.select(pl.concat_str(case_ids.gather(pl.Series(parent)).cast(pl.String), label, separator="#"))
        .to_series()
        .alias("case_id")
    )


def altered(sequences: SequenceSet, still: np.ndarray | None = None, **changes: Any) -> SequenceSet:
    """The sequences with some of their arrays replaced; what is known about them is carried over or lost.

    still  bool (n_cases,): which of the new cases may go on, used where the log marks its open cases
    """
    if sequences.running is not None and still is not None:
        changes["running"] = replace(sequences.running, open=still)
    return replace(sequences, known=None, **changes)  # identical sequences need not be identical any more
