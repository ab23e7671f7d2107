"""The first things to know of a log: when it begins and ends, and how often each activity occurs."""

from __future__ import annotations

import numpy as np

from behavio.engine import Count, Encoded, Engine
from behavio.sequences import SequenceSet


def tally_span(sequences: SequenceSet) -> tuple[int, int]:
    """Time of the first and of the newest event of one shard, µs; times never fall inside a case."""
    first, last = sequences.times[sequences.offsets[:-1]], sequences.times[sequences.offsets[1:] - 1]
    return int(first.min()), int(last.max())


def join_spans(a: tuple[int, int], b: tuple[int, int]) -> tuple[int, int]:
    """From the earlier beginning to the later end."""
    return min(a[0], b[0]), max(a[1], b[1])


SPAN: Count[tuple[int, int]] = Count(of=tally_span, merge=join_spans)


def tally_frequency(sequences: SequenceSet) -> np.ndarray:
    """int64 (size,): events of each activity in one shard."""
    return np.bincount(sequences.tokens, minlength=len(sequences.vocabulary))


FREQUENCY: Count[np.ndarray] = Count(of=tally_frequency, merge=np.add, exact=True)


def most_frequent(log: Encoded, n: int, engine: Engine) -> np.ndarray:
    """Ids of the n most frequent activities that occur, rising; ties go to the name that comes first."""
    frequency = engine.run(FREQUENCY, log)
    order = np.argsort(-frequency, kind="stable")[:n]
    return np.sort(order[frequency[order] > 0])
