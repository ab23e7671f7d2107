"""Groups of vectors: k-means, and HDBSCAN that leaves cases out."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Self

import numpy as np

from behavio.errors import ModelError
from behavio.segments.contract import Segmenter
from behavio.segments.lloyd import lloyd, squared_distances
from behavio.segments.spaces import (
    MAX_STEPS,
    WIDTH,
    Embeddings,
    Points,
    aggregates,
    frequent_tokens,
    principal,
    step_keys,
    transitions,
)
from behavio.sequences import SequenceSet

ENCODER = "encoder"


@dataclass
class VectorSegmenter(Segmenter):
    """What methods on vectors share: the way from a case to its vector.

    Learns column_ int32 (V,), keys_ int64 (steps,), basis_ float64 (steps, 16), centre_ and scale_ float64
    (dim,): a vector is centred; columns of aggregates are brought to one scale, directions are left as they
    are. `vectors` gives the table for space = "table"; it is not saved with the model.
    """

    layout: ClassVar[tuple[str, ...]] = ("vocabulary_", "column_", "keys_", "basis_", "centre_", "scale_")

    space: str = "transitions"
    vectors: ClassVar[Embeddings | None] = None

    def given(self, vectors: Embeddings | None) -> Self:
        """The same model with a table of vectors."""
        self.vectors = vectors  # type: ignore[misc]
        return self

    def save(self, folder: Path) -> None:
        """Write the model, and beside it the encoder that makes its vectors, if there is one."""
        super().save(folder)
        encoder = getattr(self.vectors, "encoder", None)
        if encoder is not None:
            encoder.save(folder / ENCODER)

    def read_beside(self, folder: Path) -> None:
        """The encoder, if there is one."""
        if (folder / ENCODER).is_dir():
            from behavio.segments.contrast import Contrast

            self.given(Contrast.read(folder / ENCODER))

    def alike(self, **settings: object) -> Self:
        """A model of other settings with the same layout and table, not fitted."""
        return super().alike(**settings).given(self.vectors)

    def lay_out(self, sequences: SequenceSet) -> None:
        """Learn columns, directions and scale."""
        self.vocabulary_ = sequences.vocabulary
        self.column_ = frequent_tokens(sequences)
        codes, n = np.unique(step_keys(sequences, self.column_)[1], return_counts=True)
        self.keys_ = np.sort(codes[np.argsort(-n, kind="stable")[:MAX_STEPS]])
        self.basis_ = np.zeros((0, 0))
        if self.space == "transitions":
            table = transitions(sequences, self.column_, self.keys_)
            self.basis_ = principal(table, WIDTH, np.random.default_rng([self.seed, 1]))
        raw = self._raw(sequences)
        self.centre_ = raw.mean(axis=0)
        spread = raw.std(axis=0) if self.space == "aggregates" else np.ones(raw.shape[1])
        self.scale_ = np.where(spread > 1e-9, spread, 1.0)

    def _raw(self, sequences: SequenceSet) -> np.ndarray:
        if self.space == "table":
            if self.vectors is None:
                raise ModelError(
                    "this way to find segments needs vectors",
                    hint='add a [model] table to the job, or use space = "contrast"',
                )
            return self.vectors.take(sequences)
        if self.space == "aggregates":
            return aggregates(sequences, self.column_)
        return np.asarray(transitions(sequences, self.column_, self.keys_) @ self.basis_)  # type: ignore[operator]

    def gather(self, sequences: SequenceSet) -> Points:
        """The vector of each case."""
        known = sequences if self.space == "table" else self.known(sequences)
        return Points((self._raw(known) - self.centre_) / self.scale_, sequences.lengths.astype(np.int64))


@dataclass
class VectorKMeans(VectorSegmenter):
    """k-means on vectors.

    Learns, largest group first: shares_ float64 (k,), centres_ float64 (k, dim), spread_ float64 (): variance
    around the centres, per column
    """

    learned: ClassVar[tuple[str, ...]] = (
        *("column_", "keys_", "basis_", "centre_", "scale_"),
        *("shares_", "centres_", "spread_"),
    )

    def fit_gathered(self, cases: Points) -> Self:
        """Lloyd's algorithm from several k-means++ starts, the tightest wins."""
        self.check_enough(cases.n_cases)
        points, rng = cases.vectors, np.random.default_rng([self.seed, self.k])
        best, tightest = np.zeros(cases.n_cases, np.int64), np.inf
        for _ in range(self.restarts if self.k > 1 else 1):
            label = lloyd(points, self.k, rng)
            centres = _means(points, label, self.k)
            wide = float(((points - centres[label]) ** 2).sum())
            if wide < tightest:
                best, tightest = label, wide
        size = np.bincount(best, minlength=self.k)
        place = np.argsort(-size, kind="stable")
        self.shares_ = np.maximum(size[place], 1e-9) / max(int(size.sum()), 1)
        self.centres_ = _means(points, best, self.k)[place]
        self.spread_ = np.array(max(tightest / max(points.size, 1), 1e-9))
        return self

    def _log_joint(self, cases: Points) -> np.ndarray:
        far = squared_distances(cases.vectors, self.centres_) / (2 * self.spread_)
        level = cases.vectors.shape[1] / 2 * np.log(2 * np.pi * self.spread_)
        return np.asarray(np.log(self.shares_) - far - level)

    def posterior_of(self, cases: Points) -> np.ndarray:
        """Nearness to each centre as a probability under equal round groups, float64 (n_cases, k)."""
        each = self._log_joint(cases)
        near = np.exp(each - each.max(axis=1, keepdims=True))
        return near / near.sum(axis=1, keepdims=True)

    def score(self, cases: Points) -> tuple[np.ndarray, np.ndarray]:
        """Log-density of each vector under equal round groups, and the events of its case."""
        each = self._log_joint(cases)
        top = each.max(axis=1)
        return top + np.log(np.exp(each - top[:, None]).sum(axis=1)), cases.events.astype(float)


def _means(points: np.ndarray, label: np.ndarray, k: int) -> np.ndarray:
    members = np.eye(k)[label]
    return members.T @ points / np.maximum(members.sum(axis=0), 1)[:, None]


MAX_POINTS = 5_000
MIN_SHARE = 0.02


@dataclass
class DensitySegmenter(VectorSegmenter):
    """HDBSCAN: groups are dense places, whatever lies between belongs to none (Campello et al., 2013).

    The number of groups is found: fitting sets `k`. Learns points_ float64 (n, dim) of at most
    5,000 cases, label_ int64 (n,) their group or −1, shares_ float64 (k,).
    """

    learned: ClassVar[tuple[str, ...]] = (
        *("column_", "keys_", "basis_", "centre_", "scale_"),
        *("points_", "label_", "shares_"),
    )
    finds_k: ClassVar[bool] = True

    def fit_gathered(self, cases: Points) -> Self:
        """Find the dense places; all cases are one group where there are none."""
        from sklearn.cluster import HDBSCAN

        points = cases.vectors
        if len(points) > MAX_POINTS:
            drawn = np.random.default_rng([self.seed, 5]).choice(len(points), MAX_POINTS, replace=False)
            points = points[np.sort(drawn)]
        least = max(5, int(MIN_SHARE * len(points)))
        label = np.full(len(points), -1)
        if len(points) > 2 * least:
            label = HDBSCAN(min_cluster_size=least, min_samples=5, copy=True).fit_predict(points[:, :8])
        size = np.bincount(label[label >= 0], minlength=1)
        if (label < 0).all():
            label, size = np.zeros(len(points), np.int64), np.array([len(points)])
        place = np.argsort(-size, kind="stable")
        rank = np.empty(len(place), np.int64)
        rank[place] = np.arange(len(place))
        self.points_, self.label_ = points, np.where(label >= 0, rank[np.maximum(label, 0)], -1)
        self.shares_ = size[place] / max(int(size.sum()), 1)
        self.k = len(size)
        return self

    def posterior_of(self, cases: Points) -> np.ndarray:
        """1 for the group of the nearest known case, float64 (n_cases, k); 0 in all where it has none."""
        nearest = np.concatenate(
            [
                squared_distances(cases.vectors[i : i + 1_000], self.points_).argmin(axis=1)
                for i in range(0, cases.n_cases, 1_000)
            ]
        )
        label = self.label_[nearest]
        return np.where(label[:, None] == np.arange(self.k), 1.0, 0.0)

    def score(self, cases: Points) -> tuple[np.ndarray, np.ndarray]:
        """No density is estimated: 0 for every case, so no number of groups is preferred by it."""
        return np.zeros(cases.n_cases), cases.events.astype(float)
