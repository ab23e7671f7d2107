"""The log in order of time: a stream of (case, token, time), and a graph counted from it step by step.

The stream is cut into spans of time that fit in memory; each is picked from the log and sorted on its own.
A counter needs no sort at all: it remembers the last event of every case, so a stream fed in any number of
pieces, today's behind yesterday's, always gives the same graph.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl

from behavio.encoding.spill import ArraySink
from behavio.errors import LogError
from behavio.kernels import timeline as kernel
from behavio.kernels.arrays import readonly
from behavio.sequences import SequenceSet, Vocabulary

SPAN = 1 << 23
SAMPLE = 1 << 20
FILES = ("stream-case", "stream-token", "stream-time")


@dataclass(frozen=True, slots=True, eq=False)
class Moment:
    """Some events in order of time; events at the same time stand in the order of the log.

    cases int32 (n,)   place of the case in the log      tokens int32 (n,)      times int64 (n,) µs
    """

    cases: np.ndarray
    tokens: np.ndarray
    times: np.ndarray


def in_time_order(sequences: SequenceSet, most: int = SPAN) -> Iterator[Moment]:
    """The whole log as a stream, about `most` events at a time (more where many share one time)."""
    times, offsets = readonly(sequences.times, np.int64), readonly(sequences.offsets, np.int64)
    cuts = _cuts(times, most)
    sizes = kernel.count_between(times, cuts)
    ends = [np.iinfo(np.int64).min, *cuts.tolist(), np.iinfo(np.int64).max]
    for low, high, n in zip(ends[:-1], ends[1:], sizes.tolist(), strict=True):
        if n == 0:
            continue
        cases, at = np.empty(n, np.int32), np.empty(n, np.int64)
        kernel.pick(times, offsets, low, high, cases, at)
        own = times[at]
        order = np.argsort(own, kind="stable")
        yield Moment(cases[order], np.asarray(sequences.tokens[at[order]]), own[order])


def _cuts(times: np.ndarray, most: int) -> np.ndarray:
    """Times that cut the log into spans of about `most` events, by a sample at equal distances."""
    n = -(-len(times) // most)
    if n < 2:
        return np.zeros(0, np.int64)
    sample = np.sort(times[:: max(len(times) // SAMPLE, 1)])
    return np.unique(sample[np.arange(1, n) * len(sample) // n])


def write_stream(sequences: SequenceSet, folder: Path, most: int = SPAN) -> None:
    """Write the stream beside the encoded log: stream-case.npy, stream-token.npy, stream-time.npy."""
    kinds = (np.int32, np.int32, np.int64)
    drafts = [folder / f".{name}.part" for name in FILES]
    sinks = [ArraySink(d, kind, sequences.n_events) for d, kind in zip(drafts, kinds, strict=True)]
    for moment in in_time_order(sequences, most):
        for sink, values in zip(sinks, (moment.cases, moment.tokens, moment.times), strict=True):
            sink.write(values)
    for sink, draft, name in zip(sinks, drafts, FILES, strict=True):
        sink.close()
        draft.rename(folder / f"{name}.npy")


def read_stream(folder: Path) -> Moment:
    """The stream that `write_stream` left, memory-mapped."""
    if not (folder / f"{FILES[0]}.npy").is_file():
        hint = "encode it with --stream"
        raise LogError(f"{folder} holds no stream in order of time", hint=hint)
    return Moment(*(np.load(folder / f"{name}.npy", mmap_mode="r") for name in FILES))


class FollowsCounter:
    """Directly-follows counts of a stream: feed it events in order of time, ask whenever you like.

    Memory is one token and one time per case, and three numbers per edge. The sums of the gaps are exact
    whole numbers, so pieces of any size give the same answer.
    """

    def __init__(self, vocabulary: Vocabulary, n_cases: int = 0) -> None:
        self.vocabulary = vocabulary
        self.n_events = 0
        self._last_token = np.full(n_cases, -1, np.int32)
        self._last_time = np.zeros(n_cases, np.int64)
        self._room(256)
        self._n = 0

    def _room(self, n: int) -> None:
        self._table = np.full(4 * n, -1, np.int64)
        self._keys = np.zeros(n, np.int64)
        self._counts = np.zeros((n, 3), np.int64)

    def feed(self, moment: Moment) -> None:
        """Count more events, none earlier than the last of its case. New cases may come at any time."""
        if not len(moment.cases):
            return
        most = int(moment.cases.max()) + 1
        if most > len(self._last_token):
            more = max(most, 2 * len(self._last_token)) - len(self._last_token)
            self._last_token = np.concatenate([self._last_token, np.full(more, -1, np.int32)])
            self._last_time = np.concatenate([self._last_time, np.zeros(more, np.int64)])
        cases, tokens = readonly(moment.cases, np.int32), readonly(moment.tokens, np.int32)
        times, row = readonly(moment.times, np.int64), 0
        while row < len(cases):
            row, self._n = kernel.follow(
                cases, tokens, times, row, len(self.vocabulary), self._last_token, self._last_time,
                self._table, self._keys, self._counts, self._n,
            )  # fmt: skip
            if row < len(cases):
                self._grow()
        self.n_events += len(cases)

    def _grow(self) -> None:
        keys, counts = self._keys, self._counts
        self._room(2 * len(keys))
        self._keys[: self._n], self._counts[: self._n] = keys[: self._n], counts[: self._n]
        kernel.refill(self._table, self._keys, self._n)

    def to_frame(self) -> pl.DataFrame:
        """source, target, frequency, mean_s: most frequent first."""
        size = len(self.vocabulary)
        names = pl.Series(self.vocabulary.names, dtype=pl.String)
        keys, counts = self._keys[: self._n], self._counts[: self._n]
        sums = [int(high) * 2**32 + int(low) for _, high, low in counts]
        means = [s / int(n) / 1e6 for s, (n, _, _) in zip(sums, counts, strict=True)]
        return pl.DataFrame(
            {
                "source": names.gather(pl.Series(keys // size)),
                "target": names.gather(pl.Series(keys % size)),
                "frequency": pl.Series(counts[:, 0], dtype=pl.Int64),
                "mean_s": pl.Series(means, dtype=pl.Float64),
            }
        ).sort("frequency", "source", "target", descending=[True, False, False])
