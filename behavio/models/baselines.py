"""What every model must beat: the most popular activity, the last one again, a first-order chain."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Self

import numpy as np

from behavio.models.base import Prefixes, SequenceModel
from behavio.sequences import SequenceSet


def steps(coded: SequenceSet) -> tuple[np.ndarray, np.ndarray]:
    """Every (activity, next activity) of the log, two int64 arrays."""
    first = np.zeros(coded.n_events, dtype=bool)
    first[coded.offsets[:-1]] = True
    ends = np.flatnonzero(~first)
    return coded.tokens[ends - 1].astype(np.int64), coded.tokens[ends].astype(np.int64)


def popularity(coded: SequenceSet, smoothing: float) -> np.ndarray:
    """float64 (n_vocabulary,): additively smoothed share of each next activity; padding gets none."""
    counts = np.bincount(steps(coded)[1], minlength=len(coded.vocabulary)) + smoothing
    counts[0] = 0.0
    return counts / counts.sum()


@dataclass
class MostPopular(SequenceModel):
    """The same for every case: how often each activity came next.

    Learns: share_  float64 (n_vocabulary,)
    """

    learned: ClassVar[tuple[str, ...]] = ("share_",)
    smoothing: float = 1.0

    def learn(self, coded: SequenceSet) -> Self:
        """Count next activities."""
        self.vocabulary_ = coded.vocabulary
        self.share_ = popularity(coded, self.smoothing)
        return self

    def rows(self, coded: SequenceSet, prefixes: Prefixes) -> np.ndarray:
        """The same row for every prefix."""
        return np.tile(self.share_, (len(prefixes), 1))


@dataclass
class RepeatLast(SequenceModel):
    """The last activity again with the share of repeats in training, else by popularity.

    Learns: share_  float64 (n_vocabulary,)   repeat_  float64 (), share of steps that repeat
    """

    learned: ClassVar[tuple[str, ...]] = ("share_", "repeat_")
    smoothing: float = 1.0

    def learn(self, coded: SequenceSet) -> Self:
        """Count repeats."""
        now, then = steps(coded)
        self.vocabulary_ = coded.vocabulary
        self.share_ = popularity(coded, self.smoothing)
        self.repeat_ = np.float64(((now == then).sum() + 1.0) / (len(now) + 2.0))
        return self

    def rows(self, coded: SequenceSet, prefixes: Prefixes) -> np.ndarray:
        """Popularity, and the repeat on top."""
        rows = np.tile(self.share_ * (1.0 - self.repeat_), (len(prefixes), 1))
        rows[np.arange(len(prefixes)), coded.tokens[prefixes.ends - 1]] += self.repeat_
        return rows


@dataclass
class FirstOrder(SequenceModel):
    """Next activity from the last one: a Markov chain with additive smoothing.

    Learns: edge_start_  int64 (n_vocabulary + 1,)  edges of activity a: edge_start_[a]:edge_start_[a + 1]
            edge_target_ int32, edge_count_ float64 (n_edges,)
    """

    learned: ClassVar[tuple[str, ...]] = ("edge_start_", "edge_target_", "edge_count_")
    smoothing: float = 1.0

    def learn(self, coded: SequenceSet) -> Self:
        """Count steps."""
        size = len(coded.vocabulary)
        now, then = steps(coded)
        edges, counts = np.unique(now * size + then, return_counts=True)
        self.vocabulary_ = coded.vocabulary
        self.edge_start_ = np.searchsorted(edges, np.arange(size + 1) * size)
        self.edge_target_ = (edges % size).astype(np.int32)
        self.edge_count_ = counts.astype(np.float64)
        return self

    def rows(self, coded: SequenceSet, prefixes: Prefixes) -> np.ndarray:
        """Smoothed counts after the last activity."""
        size = len(self.vocabulary_)
        last = coded.tokens[prefixes.ends - 1]
        n_edges = self.edge_start_[last + 1] - self.edge_start_[last]
        row = np.repeat(np.arange(len(last)), n_edges)
        within = np.arange(len(row)) - np.repeat(np.cumsum(n_edges) - n_edges, n_edges)
        edge = np.repeat(self.edge_start_[last], n_edges) + within
        rows = np.full((len(last), size), self.smoothing)
        rows[:, 0] = 0.0
        rows[row, self.edge_target_[edge]] += self.edge_count_[edge]
        rows /= rows.sum(axis=1, keepdims=True)
        return rows
