"""Groups around typical journeys: k medoids under optimal matching (Abbott; Kaufman & Rousseeuw, 1990)."""

from __future__ import annotations

from dataclasses import dataclass, field
from threading import Lock
from typing import Any, ClassVar, Self

import numpy as np
import polars as pl

from behavio.distances import Distance, dissimilarities, triangle
from behavio.distances.medoids import cluster, k_medoids
from behavio.distances.traces import DistinctTraces, distinct
from behavio.kernels.alignment import LANES
from behavio.segments.contract import Segmenter
from behavio.sequences import SequenceSet

MATRIX = 3_000
"""Distinct journeys up to which all distances are worked out once, for every number of groups."""

PAIRS = 400  # cases whose distances tell in how many directions journeys differ


@dataclass(frozen=True, eq=False)
class Journeys:
    """Some cases of a log, in the words of the model; distances of all pairs are worked out at most once.

    sequences  the log         cases  int64 (n_cases,): which of its cases, one drawn twice is there twice
    """

    sequences: SequenceSet
    cases: np.ndarray
    memo: dict[str, Any] = field(default_factory=lambda: {"lock": Lock()})

    @property
    def n_cases(self) -> int:
        """Number of cases."""
        return len(self.cases)

    def select(self, cases: np.ndarray) -> Journeys:
        """The cases at these indices, in the given order."""
        return Journeys(self.sequences, self.cases[cases], self.memo)

    def traces(self) -> DistinctTraces:
        """The distinct journeys of the log."""
        with self.memo["lock"]:
            if "traces" not in self.memo:
                self.memo["traces"] = distinct(self.sequences)
        return self.memo["traces"]

    def matrix(self) -> np.ndarray:
        """Distances of all pairs of distinct journeys of the log, condensed."""
        traces = self.traces()
        with self.memo["lock"]:
            if "matrix" not in self.memo:
                self.memo["matrix"] = triangle(traces, Distance().blocks(traces))
        return self.memo["matrix"]


@dataclass
class MatchingMedoids(Segmenter):
    """k groups around medoids: inserting and deleting an event costs 1, replacing one 2.

    Learns, largest group first: shares_ float64 (k,); tokens_ int32 and offsets_ int64 (k + 1,), the medoids'
    traces; spread_ float64 (), mean distance to the medoid; width_ float64 (), in how many directions
    journeys differ: distances of pairs are spread as those of points in a space of so many dimensions.
    """

    learned: ClassVar[tuple[str, ...]] = ("shares_", "tokens_", "offsets_", "spread_", "width_")
    layout: ClassVar[tuple[str, ...]] = ("vocabulary_", "width_")

    longest: int = 100  # events compared: the cost of a comparison grows with the square of the length

    def lay_out(self, sequences: SequenceSet) -> None:
        """Learn the words and in how many directions journeys differ."""
        self.vocabulary_ = sequences.vocabulary
        draw = np.random.default_rng([self.seed, 3])
        some = np.sort(draw.permutation(sequences.n_cases)[:PAIRS])
        found = dissimilarities(_cut(sequences.select(some), self.longest))
        far = found.condensed.astype(np.float64)
        if len(far) == 0 or far.var() == 0:
            self.width_ = np.array(1.0)
        else:
            self.width_ = np.array(float(np.clip(far.mean() ** 2 / far.var(), 1.0, 50.0)))

    def gather(self, sequences: SequenceSet) -> Journeys:
        """The cases, cut after `longest` events."""
        return Journeys(_cut(self.known(sequences), self.longest), np.arange(sequences.n_cases))

    def fit_gathered(self, cases: Journeys) -> Self:
        """Medoids by greedy start and swaps, on samples where there are many distinct journeys."""
        self.check_enough(cases.n_cases)
        log = cases.sequences
        places = self._medoids(cases)
        places = np.append(places, np.repeat(places[:1], self.k - len(places)))
        self._keep(log.select(places))
        far = self.distances(cases)
        size = np.bincount(far.argmin(axis=1), minlength=self.k)
        self._keep(log.select(places[np.argsort(-size, kind="stable")]))
        self.shares_ = np.maximum(np.sort(size)[::-1], 1e-9) / max(int(size.sum()), 1)
        self.spread_ = np.array(max(float(far.min(axis=1).mean()), 0.1))
        return self

    def _medoids(self, cases: Journeys) -> np.ndarray:
        """At most k cases of the log, int64."""
        if len(cases.traces()) > MATRIX:
            part = cases.sequences.select(cases.cases)
            found = cluster(part, min(self.k, len(distinct(part))), seed=self.seed)
            return cases.cases[found.medoids]
        traces = cases.traces()
        weights = np.bincount(traces.group[cases.cases], minlength=len(traces))
        best = k_medoids(cases.matrix(), weights, min(self.k, int((weights > 0).sum())))
        return traces.first[best]

    def _keep(self, medoids: SequenceSet) -> None:
        self.tokens_, self.offsets_ = np.asarray(medoids.tokens), np.asarray(medoids.offsets)

    def distances(self, cases: Journeys) -> np.ndarray:
        """Optimal-matching distance to each medoid, float64 (n_cases, k)."""
        log = cases.sequences.select(cases.cases)
        both = SequenceSet(
            tokens=np.concatenate([log.tokens, self.tokens_]).astype(np.int32),
            offsets=np.concatenate([log.offsets, log.offsets[-1] + self.offsets_[1:]]),
            times=np.zeros(log.n_events + len(self.tokens_), np.int64),
            case_ids=pl.Series([str(i) for i in range(log.n_cases + self.k)]),
            vocabulary=log.vocabulary,
            timed=False,
        )
        traces = distinct(both)
        block = Distance().blocks(traces)
        medoids = traces.group[log.n_cases :]
        far = [block(np.arange(len(traces)), medoids[i : i + LANES]) for i in range(0, self.k, LANES)]
        return np.hstack(far)[traces.group[: log.n_cases], : self.k].astype(np.float64)

    def _log_joint(self, cases: Journeys) -> np.ndarray:
        scale = self.spread_ / self.width_
        return np.asarray(np.log(self.shares_) - self.distances(cases) / scale - self.width_ * np.log(scale))

    def posterior_of(self, cases: Journeys) -> np.ndarray:
        """Nearness to each medoid as a probability, float64 (n_cases, k)."""
        each = self._log_joint(cases)
        near = np.exp(each - each.max(axis=1, keepdims=True))
        return near / near.sum(axis=1, keepdims=True)

    def score(self, cases: Journeys) -> tuple[np.ndarray, np.ndarray]:
        """Log-density of the distance to a medoid, as if it fell off exponentially; events."""
        each = self._log_joint(cases)
        top = each.max(axis=1)
        total = top + np.log(np.exp(each - top[:, None]).sum(axis=1))
        return total, cases.sequences.lengths[cases.cases].astype(float)


def _cut(sequences: SequenceSet, longest: int) -> SequenceSet:
    """The first `longest` events of every case."""
    if sequences.lengths.max() <= longest:
        return sequences
    place = np.arange(sequences.n_events) - np.repeat(sequences.offsets[:-1], sequences.lengths)
    keep = np.flatnonzero(place < longest)
    lengths = np.minimum(sequences.lengths, longest)
    return SequenceSet(
        tokens=np.asarray(sequences.tokens)[keep],
        offsets=np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64),
        times=np.asarray(sequences.times)[keep],
        case_ids=sequences.case_ids,
        vocabulary=sequences.vocabulary,
        timed=sequences.timed,
    )
