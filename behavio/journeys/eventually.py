"""What comes after what, at any distance: counts, cases, and how long it takes (the temporal profile)."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import numpy as np
import polars as pl

from behavio.engine import Count, Encoded, Engine
from behavio.engine.local import LocalEngine
from behavio.journeys.span import most_frequent
from behavio.kernels.arrays import readonly
from behavio.kernels.orders import sum_pairs
from behavio.sequences import SequenceSet

MOST = 1_024
"""At most so many activities: a square table holds their pairs."""

PAIR_SCHEMA: dict[str, pl.DataType] = {
    "source": pl.String(),
    "target": pl.String(),
    "frequency": pl.Int64(),
    "cases": pl.Int64(),
    "mean_s": pl.Float64(),
    "std_s": pl.Float64(),
}


@dataclass(frozen=True, slots=True, eq=False)
class PairTally:
    """What shards add up to.

    keys       int64 (n_pairs,)    source id * size + target id, rising
    frequency  int64 (n_pairs,)    pairs of events, the source anywhere before the target in a case
    cases      int64 (n_pairs,)
    shift      float64 (n_pairs,)  a whole number of µs near the mean
    off        float64 (n_pairs,)  mean µs apart − shift: alone, so that a tiny spread loses no digit
    squares    float64 (n_pairs,)  sum of squares around the mean
    timed      False when times only count positions
    """

    keys: np.ndarray
    frequency: np.ndarray
    cases: np.ndarray
    shift: np.ndarray
    off: np.ndarray
    squares: np.ndarray
    timed: bool = True

    @classmethod
    def empty(cls) -> PairTally:
        """The answer of no case at all."""
        none = np.zeros(0, dtype=np.int64)
        return cls(none, none, none, np.zeros(0), np.zeros(0), np.zeros(0))


def tally_pairs(sequences: SequenceSet, kept: np.ndarray) -> PairTally:
    """Count one shard of whole cases; `kept` are the ids of the activities looked at, rising."""
    n, codes = len(kept), sequences.tokens
    if n < len(sequences.vocabulary):
        table = np.full(len(sequences.vocabulary), -1, dtype=np.int32)
        table[kept] = np.arange(n)
        codes = table[codes]
    cases, sums = sum_pairs(
        readonly(codes, np.int32),
        readonly(sequences.offsets, np.int64),
        readonly(sequences.times, np.int64),
        n,
    )
    at = np.arange(n * n).reshape(n, n).T.ravel()  # the kernel's rows in order of source, then target
    found = np.flatnonzero(cases[at])
    shift, pairs, total, squares = sums[at[found]].T
    squares = np.maximum(squares - total * total / pairs, 0.0)
    keys = kept[found // n] * len(sequences.vocabulary) + kept[found % n] if n else found
    frequency = pairs.astype(np.int64)
    return PairTally(keys, frequency, cases[at[found]], shift, total / pairs, squares, sequences.timed)


def merge_pairs(a: PairTally, b: PairTally) -> PairTally:
    """Join two answers over the same vocabulary (Chan, Golub & LeVeque 1983)."""
    keys = a.keys if np.array_equal(a.keys, b.keys) else np.union1d(a.keys, b.keys)
    place_a, place_b = np.searchsorted(keys, a.keys), np.searchsorted(keys, b.keys)
    frequency, cases = np.zeros((2, len(keys)), dtype=np.int64)
    shift, off, squares = np.zeros((3, len(keys)))
    shift[place_b], shift[place_a] = b.shift, a.shift
    frequency[place_a], cases[place_a] = a.frequency, a.cases
    off[place_a], squares[place_a] = a.off, a.squares
    before = frequency[place_b]
    both = before + b.frequency
    apart = (b.shift - shift[place_b]) + (b.off - off[place_b])
    off[place_b] += apart * b.frequency / both
    squares[place_b] += b.squares + apart * apart * before * b.frequency / both
    frequency[place_b], cases[place_b] = both, cases[place_b] + b.cases
    return PairTally(keys, frequency, cases, shift, off, squares, a.timed and b.timed)


def pairs_count(kept: np.ndarray) -> Count[PairTally]:
    """The question about the activities with these ids."""
    return Count(of=partial(tally_pairs, kept=np.sort(kept)), merge=merge_pairs)


def eventually_follows(
    sequences: Encoded, engine: Engine | None = None, activities: int = MOST
) -> pl.DataFrame:
    """Every pair of activities where one comes anywhere after the other in a case, as PAIR_SCHEMA.

    frequency counts pairs of events, cases the cases that have any; mean_s and std_s (of the sample, null for
    one pair) are the temporal profile (Stertz, Mangler & Rinderle-Ma 2020) over all pairs of events. The
    cost grows with events times distinct activities of a case, not with pairs. Only pairs of the
    `activities` most frequent activities are counted (1,024 at most).
    """
    engine = LocalEngine() if engine is None else engine
    names = pl.Series(sequences.vocabulary.names, dtype=pl.String)
    size = len(sequences.vocabulary)
    most = min(activities, MOST)
    kept = np.arange(size) if size <= most else most_frequent(sequences, most, engine)
    found = engine.run(pairs_count(kept), sequences)
    with np.errstate(invalid="ignore", divide="ignore"):
        deviation = np.sqrt(found.squares / (found.frequency - 1)) / 1e6
    frame = pl.DataFrame(
        {
            "source": names.gather(pl.Series(found.keys // size)),
            "target": names.gather(pl.Series(found.keys % size)),
            "frequency": found.frequency,
            "cases": found.cases,
            "mean_s": (found.shift + found.off) / 1e6 if found.timed else [None] * len(found.keys),
            "std_s": deviation if found.timed else [None] * len(found.keys),
        },
        schema=PAIR_SCHEMA,
    )
    return frame.with_columns(pl.col("std_s").fill_nan(None)).sort(
        "frequency", "source", "target", descending=[True, False, False]
    )
