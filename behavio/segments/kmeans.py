"""k-means on the shares of activities: the simpler method, blind to order and time.

It is here to be beaten: groups that it finds as well need no sequence model.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Self

import numpy as np

from behavio.segments.contract import Segmenter
from behavio.segments.lloyd import lloyd, squared_distances
from behavio.sequences import SequenceSet

MAX_COLUMNS = 256


@dataclass(frozen=True, eq=False)
class ActivityCounts:
    """counts float64 (n_cases, n_columns): weighted events of each activity; events int64 (n_cases,)."""

    counts: np.ndarray
    weight: np.ndarray
    events: np.ndarray

    @property
    def n_cases(self) -> int:
        """Number of rows."""
        return len(self.counts)

    @property
    def shares(self) -> np.ndarray:
        """float64 (n_cases, n_columns): each row sums to 1."""
        return self.counts / self.counts.sum(axis=1, keepdims=True)

    def select(self, cases: np.ndarray) -> ActivityCounts:
        """The rows at these indices, in the given order."""
        return ActivityCounts(self.counts[cases], self.weight[cases], self.events[cases])


@dataclass
class ActivityKMeans(Segmenter):
    """k groups of cases with similar shares of activities.

    Learns, largest group first (D columns: the 256 most frequent activities, the rest in column 0):
    column_   int32 (V,)       column of each token
    shares_   float64 (k,)     share of cases in each group
    centres_  float64 (k, D)   mean shares of activities
    spread_   float64 ()       variance around the centres, per column
    """

    learned: ClassVar[tuple[str, ...]] = ("column_", "shares_", "centres_", "spread_")
    layout: ClassVar[tuple[str, ...]] = ("vocabulary_", "column_")

    def lay_out(self, sequences: SequenceSet) -> None:
        """Learn which activities have a column of their own."""
        n = np.bincount(sequences.tokens, minlength=len(sequences.vocabulary))
        frequent = np.sort(np.argsort(-n, kind="stable")[:MAX_COLUMNS])
        frequent = frequent[n[frequent] > 0]
        self.vocabulary_ = sequences.vocabulary
        self.column_ = np.zeros(len(n), np.int32)
        self.column_[frequent] = 1 + np.arange(len(frequent))

    def gather(self, sequences: SequenceSet) -> ActivityCounts:
        """Weighted counts of activities, one row a case."""
        known = self.known(sequences)
        n_columns = int(self.column_.max()) + 1
        cell = known.case_of_event * n_columns + self.column_[known.tokens]
        counts = np.bincount(cell, minlength=known.n_cases * n_columns).reshape(-1, n_columns)
        weight = np.minimum(1.0, self.effective_length / known.lengths)
        return ActivityCounts(counts * weight[:, None], weight, known.lengths.astype(np.int64))

    def fit_gathered(self, cases: ActivityCounts) -> Self:
        """Lloyd's algorithm from several k-means++ starts, the tightest wins."""
        self.check_enough(cases.n_cases)
        points, rng = cases.shares, np.random.default_rng([self.seed, self.k])
        best, tightest = np.zeros(cases.n_cases, np.int64), np.inf
        for _ in range(self.restarts if self.k > 1 else 1):
            label = lloyd(points, self.k, rng)
            wide = sum(
                float(points[label == j].var(axis=0).sum() * (label == j).sum()) for j in np.unique(label)
            )
            if wide < tightest:
                best, tightest = label, wide
        size = np.bincount(best, minlength=self.k)
        place = np.argsort(-size, kind="stable")
        totals = np.stack([cases.counts[best == j].sum(axis=0) for j in place])
        habits = cases.counts.sum(axis=0) + 0.5
        everyone = habits / habits.sum()
        mixed = totals + self.smoothing * everyone
        self.shares_ = np.maximum(size[place], 1e-9) / max(int(size.sum()), 1)
        self.centres_ = mixed / mixed.sum(axis=1, keepdims=True)
        self.spread_ = np.array(max(tightest / (cases.n_cases * points.shape[1]), 1e-6))
        return self

    def posterior_of(self, cases: ActivityCounts) -> np.ndarray:
        """Nearness to each centre as a probability under equal round groups, float64 (n_cases, k)."""
        far = -squared_distances(cases.shares, self.centres_) / (2 * self.spread_)
        near = np.exp(far - far.max(axis=1, keepdims=True))
        return near / near.sum(axis=1, keepdims=True)

    def score(self, cases: ActivityCounts) -> tuple[np.ndarray, np.ndarray]:
        """Log-likelihood of each case's activities, order and time aside, and its events."""
        each = cases.counts @ np.log(self.centres_).T + np.log(self.shares_)
        top = each.max(axis=1)
        total = top + np.log(np.exp(each - top[:, None]).sum(axis=1))
        return total, cases.weight * cases.events
