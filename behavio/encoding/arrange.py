"""Streams in the order of reading become arrays in the order of cases, without a sort of the whole.

Events are counted per case, so the place of every case is known; then the streams are read once per range of
cases, events are put where they belong in a buffer that holds one range, times are mended inside cases where
they fall, and the buffer is written. Memory holds one range, whatever the log's size.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from behavio.encoding.pieces import frozen
from behavio.encoding.spill import ArraySink, Streams
from behavio.kernels import arrange as kernel

FEW, AT_LEAST = 4, 1 << 22
"""A range takes a fourth of the log, or this many events if that is more: fresh memory costs more than to go
through the streams again."""
MEND = 1 << 20
"""Events whose times are mended at a time."""


@dataclass(frozen=True, slots=True, eq=False)
class Arranged:
    """Arrays in the order of cases (None where they lie in files), and how many events repeat another."""

    arrays: dict[str, np.ndarray | None]
    repeats: int


def ranges(offsets: np.ndarray, most: int) -> list[tuple[int, int]]:
    """Runs of whole cases with at most `most` events each (more only where one case has more)."""
    found, first = [], 0
    while first < len(offsets) - 1:
        last = int(np.searchsorted(offsets, offsets[first] + most, side="right")) - 1
        last = min(max(last, first + 1), len(offsets) - 1)
        found.append((first, last))
        first = last
    return found


def arrange(
    streams: Streams,
    offsets: np.ndarray,
    ids: dict[str, np.ndarray],
    *,
    budget: int,
    target: Callable[[str], Path | None],
    count_repeats: bool,
    progress: Callable[[float], None],
    also: tuple[str, ...] = (),
) -> Arranged:
    """Put tokens, times and further coded columns in the order of cases.

    streams  `case` (int32 rank of the case, -1 for events that do not stay), `time`, and the columns of `ids`
    offsets  int64 (n_ranks + 1,): where each case begins, in order of rank
    ids      column → int32 id per code
    also     further int64 columns, moved as they are
    target   the file of a column, None for an array in memory
    """
    n = int(offsets[-1])
    columns = list(ids)
    sinks = {c: ArraySink(target(c), np.int32, n) for c in columns}
    longs = ("time", *also)
    sinks |= {c: ArraySink(target(c), np.int64, n) for c in longs}
    width = 8 * len(longs) + 4 * len(columns)
    cursor = offsets[:-1].copy()
    repeats = 0
    where = np.empty(1 << 20, np.int64)
    whole: dict[str, np.ndarray] = {}
    for low, high in ranges(offsets, max(min(max(n // FEW, AT_LEAST), budget // width), 1)):
        first, size = int(offsets[low]), int(offsets[high] - offsets[low])
        if not whole or len(whole["time"]) < size:
            whole = {c: np.empty(size, np.int32) for c in columns}
            whole |= {c: np.empty(size, np.int64) for c in longs}
        buffers = {name: buffer[:size] for name, buffer in whole.items()}
        for _, (cases, *held) in streams.chunks("case", *longs, *columns):
            at = where[: len(cases)]
            if not kernel.places(cases, low, high, cursor, first, at):
                continue
            for name, values in zip(longs, held, strict=False):
                kernel.put(values, at, buffers[name])
            for name, values in zip(columns, held[len(longs) :], strict=True):
                kernel.put_codes(values, ids[name], at, buffers[name])
        repeats += _mended(buffers, columns, offsets[low : high + 1] - first, count_repeats=count_repeats)
        for name, sink in sinks.items():
            sink.write(buffers[name])
        progress(int(offsets[high]) / max(n, 1))
    return Arranged({name: sink.close() for name, sink in sinks.items()}, repeats)


def _mended(
    buffers: dict[str, np.ndarray], columns: list[str], offsets: np.ndarray, *, count_repeats: bool
) -> int:
    """Put falling times of each case in order, all columns with them; returns the repeats found."""
    repeats = 0
    for low, high in ranges(offsets, MEND):
        first, last = int(offsets[low]), int(offsets[high])
        own = frozen(offsets[low : high + 1] - first)
        times = buffers["time"][first:last]
        if kernel.falling(times, own):
            order = np.empty(last - first, np.int64)
            kernel.mend(times, own, order)
            for name in buffers.keys() - {"time"}:
                buffers[name][first:last] = buffers[name][first:last][order]
        if count_repeats:
            rest = [buffers[c][first:last] for c in columns if c != "token"]
            fields = np.stack(rest) if rest else np.empty((0, last - first), np.int32)
            repeats += count_repeats_in(buffers["token"][first:last], times, own, fields)
    return repeats


def count_repeats_in(tokens: np.ndarray, times: np.ndarray, offsets: np.ndarray, fields: np.ndarray) -> int:
    """Events equal to an earlier one of their case in time, token and every row of fields (k, n_events)."""
    long = np.empty(1 << 10, np.int64)
    found, n_long = kernel.repeats(tokens, times, offsets, fields, long)
    if n_long > len(long):
        long = np.empty(n_long, np.int64)
        found, n_long = kernel.repeats(tokens, times, offsets, fields, long)
    for first in long[:n_long].tolist():
        case_end = offsets[np.searchsorted(offsets, first, side="right")]
        last = first + int(np.searchsorted(times[first:case_end], times[first], side="right"))
        found += kernel.repeats_of(tokens, fields, first, last)
    return found
