"""Neighbours: the most similar moments in the journeys of others, and what came next there.

A moment is described by fading memories of the activities so far, the latest known attributes and the
clock; a linear map fitted to what comes next turns the description into a short vector, so that moments
are near when the same is to be expected after them (reduced-rank regression). The search is exact.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Self

import numpy as np
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from behavio.kernels import nearest as kernel
from behavio.kernels.arrays import readonly
from behavio.kernels.tally import carried
from behavio.models.base import Prefixes, SequenceModel, later_slice
from behavio.models.baselines import popularity
from behavio.models.tally import number
from behavio.sequences import SequenceSet, Vocabulary

KEEP = np.array([0.0, 0.6, 0.9], dtype=np.float32)
"""What is left of the past after one more event, for each memory: the last, the last few, the last ten."""
WIDTH, FIELD_WIDTH, RANK = 48, 16, 32
"""Numbers per memory (activities share them when there are more), for attributes, and of the final vector."""
RIDGE = 10.0
NEAREST = (12, 30, 80)
PULL = 1.0
BLOCK, COLUMNS = 1_000_000, 2_048
"""Distances held at once: few enough for the processor's own memory."""
LEARN, TUNE = 100_000, 2_000
"""Moments the map is fitted on, and held-out ones that choose how many neighbours count."""


@dataclass
class Neighbours(SequenceModel):
    """What came after the nearest moments of other cases.

    moments   how many of the newest moments are kept to be compared with
    max_k     most neighbours that vote; fewer where that predicts a later slice better

    Learns: centre_, map_   float32 (d,), (d, rank): description to vector
            points_         float32 (n, rank)   next_ int32 (n,), activity that came   of_ int64 (n,), case
            prior_          float64 (n_vocabulary,)   k_ int64 ()
    """

    learned: ClassVar[tuple[str, ...]] = ("centre_", "map_", "points_", "next_", "of_", "prior_", "k_")
    moments: int = 40_000
    max_k: int = 80
    held_out: float = 0.15

    def learn(self, coded: SequenceSet) -> Self:
        """Choose how many neighbours count on the latest slice, then keep the newest moments of all."""
        split = later_slice(coded, self.held_out)
        self.remember(coded if split is None else split.train)
        self.k_ = np.int64(min(NEAREST[1], self.max_k))
        if split is not None:
            held = split.prefixes.thin(TUNE)
            best, place = self.nearest(self.vectors(split.sequences, held), np.full(len(held), -1))
            truth = np.asarray(split.sequences.tokens)[held.ends]
            loss = {
                k: -np.log(
                    kernel.vote(best, place, self.next_, k, PULL, self.prior_)[np.arange(len(held)), truth]
                ).mean()
                for k in NEAREST
                if k <= self.max_k
            }
            self.k_ = np.int64(min(loss, key=lambda k: loss[k]) if loss else self.max_k)
            self.remember(coded)
        return self

    def remember(self, coded: SequenceSet, since: int | None = None) -> Prefixes:
        """Fit the map and keep the newest moments that something followed (from `since`, µs)."""
        self.vocabulary_ = coded.vocabulary
        self.prior_ = popularity(coded, 1.0)
        steps = Prefixes.of_cases(coded, 0)
        self._fit_map(coded, steps.thin(LEARN))
        if since is not None:
            steps = steps[np.asarray(coded.times)[steps.ends - 1] >= since]
        if coded.timed and len(steps) > self.moments:
            order = np.argsort(np.asarray(coded.times)[steps.ends], kind="stable")
            steps = steps[np.sort(order[-self.moments :])]
        steps = steps.thin(self.moments)
        self.points_ = self.vectors(coded, steps)
        self.next_ = np.asarray(coded.tokens)[steps.ends].astype(np.int32)
        self.of_ = np.asarray(steps.cases).astype(np.int64)
        return steps

    def _fit_map(self, coded: SequenceSet, steps: Prefixes) -> None:
        """Reduced-rank ridge regression of what came on the description of the moment."""
        x = self.described(coded, steps).astype(np.float64)
        self.centre_ = np.zeros(x.shape[1], dtype=np.float32)
        if len(steps) == 0:
            self.map_ = np.zeros((x.shape[1], 1), dtype=np.float32)
            return
        truth = np.asarray(coded.tokens)[steps.ends]
        kinds, code = np.unique(truth, return_inverse=True)
        self.centre_ = x.mean(axis=0).astype(np.float32)
        x -= self.centre_
        sums = np.zeros((len(kinds), x.shape[1]))
        np.add.at(sums, code, x)
        weight = 1.0 / np.sqrt(np.bincount(code) / len(code) + 0.01)
        root = x.T @ x + RIDGE * np.eye(x.shape[1])
        slopes = np.linalg.solve(root, sums.T * weight)
        values, axes = np.linalg.eigh(slopes.T @ (root @ slopes))
        top = np.argsort(-values, kind="stable")[:RANK]
        found = slopes @ axes[:, top]
        sign = np.sign(found[np.abs(found).argmax(axis=0), np.arange(found.shape[1])])
        self.map_ = (found * np.where(sign == 0, 1.0, sign)).astype(np.float32)

    def described(self, coded: SequenceSet, prefixes: Prefixes) -> np.ndarray:
        """float32 (n, d): memories, attributes and clock of each prefix's newest event."""
        at = np.asarray(prefixes.ends) - 1
        wanted, back = np.unique(at, return_inverse=True)
        offsets = readonly(coded.offsets, np.int64)
        tokens = readonly(coded.tokens, np.int32)
        sums = kernel.memories(tokens, offsets, activity_vectors(coded.vocabulary), KEEP, wanted)
        parts = [sums[back], attributes(coded, at), self._clock(coded, prefixes)]
        return np.concatenate(parts, axis=1)

    def _clock(self, coded: SequenceSet, prefixes: Prefixes) -> np.ndarray:
        """float32 (n, 5): logs of events so far, of the last wait and of the time since the start; hour."""
        at, starts = np.asarray(prefixes.ends) - 1, np.asarray(prefixes.starts(coded))
        table = np.zeros((len(at), 5), dtype=np.float32)
        table[:, 0] = np.log1p(at - starts)
        if coded.timed:
            times = np.asarray(coded.times)
            table[:, 1] = np.log1p((times[at] - times[np.maximum(at - 1, starts)]) / 6e7) / 4
            table[:, 2] = np.log1p((times[at] - times[starts]) / 6e7) / 4
            day = 2 * np.pi * (times[at] % 86_400_000_000) / 86_400_000_000
            table[:, 3], table[:, 4] = np.sin(day), np.cos(day)
        return table

    def vectors(self, coded: SequenceSet, prefixes: Prefixes) -> np.ndarray:
        """float32 (n, rank): where each prefix lies."""
        parts = [np.zeros((0, self.map_.shape[1]), dtype=np.float32)]
        for low in range(0, len(prefixes), 100_000):
            some = prefixes[low : low + 100_000]
            parts.append((self.described(coded, some) - self.centre_) @ self.map_)
        return np.concatenate(parts)

    def nearest(
        self, vectors: np.ndarray, own: np.ndarray, k: int | None = None
    ) -> tuple[np.ndarray, np.ndarray]:
        """Squared distances float32 and places int64 (n, k) of the nearest moments; -1: none is left.

        `own` int64 (n,): moments of this case (its number in the fitted log) do not count; -1: all do.
        `k` of them; max_k by default.
        """
        n, kept, k = len(vectors), len(self.points_), self.max_k if k is None else k
        best = np.full((n, k), np.inf, dtype=np.float32)
        place = np.full((n, k), -1, dtype=np.int64)
        halves = (self.points_**2).sum(axis=1) / 2
        columns = min(max(BLOCK // max(n, 1), COLUMNS), kept) or 1
        with threadpool_limits(1):  # products this small only make threads wait for each other
            for low in range(0, n, BLOCK // columns + 1):
                part = slice(low, low + BLOCK // columns + 1)
                mine = vectors[part]
                for first in range(0, kept, columns):
                    dot = mine @ self.points_[first : first + columns].T
                    kernel.keep_nearest(dot, halves, first, own[part], self.of_, best[part], place[part])
                best[part] = 2 * best[part] + (mine**2).sum(axis=1)[:, None]
        order = np.lexsort((place, best))
        return np.take_along_axis(best, order, 1), np.take_along_axis(place, order, 1)

    def rows(self, coded: SequenceSet, prefixes: Prefixes) -> np.ndarray:
        """Votes of the nearest moments, drawn a little to what is popular."""
        vectors = self.vectors(coded, prefixes)
        found = self.nearest(vectors, np.full(len(prefixes), -1), int(self.k_))
        return kernel.vote(*found, self.next_, int(self.k_), PULL, self.prior_)


def activity_vectors(vocabulary: Vocabulary) -> np.ndarray:
    """float32 (n_vocabulary, width): one column each, or three columns of ±1 from the name."""
    size = len(vocabulary)
    if size <= WIDTH:
        return np.eye(size, WIDTH, dtype=np.float32)[:, : max(size, 1)].copy()
    table = np.zeros((size, WIDTH), dtype=np.float32)
    for i, name in enumerate(vocabulary.names):
        code = number(name)
        for _ in range(3):
            table[i, code % WIDTH] += 0.58 if code >> 7 & 1 else -0.58
            code //= 2 * WIDTH * 7
    return table


def attributes(coded: SequenceSet, at: np.ndarray) -> np.ndarray:
    """float32 (n, width): the latest known value of every attribute, hashed into a few columns."""
    table = np.zeros((len(at), FIELD_WIDTH if coded.fields else 0), dtype=np.float32)
    for name in sorted(coded.fields):
        field = coded.fields[name]
        known = carried(readonly(field.codes, np.int32), readonly(coded.offsets, np.int64))[at]
        codes = [number(f"{name}={value}") for value in field.vocabulary.names]
        column = np.array([c % FIELD_WIDTH for c in codes])[known]
        sign = np.array([1.0 if c >> 9 & 1 else -1.0 for c in codes], dtype=np.float32)[known]
        np.add.at(table, (np.arange(len(at)), column), np.where(known > 0, sign, 0.0))
    return table
