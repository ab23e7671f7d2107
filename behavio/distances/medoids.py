"""Medoids, and clusters around them: on the whole matrix, or on samples where there is too much for one."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from behavio.distances import Dissimilarities, Distance, dissimilarities, triangle
from behavio.distances.traces import DistinctTraces, distinct
from behavio.errors import JobError
from behavio.kernels.alignment import LANES
from behavio.kernels.medoids import greedy_medoids, swap_medoids, weighted_sums
from behavio.sequences import SequenceSet

MATRIX = 8_000
"""Distinct traces up to which the whole matrix is made (128 MB)."""
ROUNDS = 100
CENTRAL = 1_000
"""Cases a representative is looked for among: half a million pairs."""


@dataclass(frozen=True, slots=True, eq=False)
class Clusters:
    """Cases around medoids.

    labels      int64 (n_cases,): place of the case's medoid in `medoids`
    medoids     int64 (k,): one case each, whose trace lies nearest to those of its cluster; largest first
    sizes       int64 (k,): cases
    distances   float32 (n_cases,): to the medoid
    silhouette  mean of 1 − distance to the own medoid / distance to the next one: 0 no clusters, 1 apart
                (van der Laan, Pollard & Bryan 2003)
    """

    labels: np.ndarray
    medoids: np.ndarray
    sizes: np.ndarray
    distances: np.ndarray
    silhouette: float


def medoid(found: Dissimilarities, cases: np.ndarray | None = None) -> int:
    """The case whose trace has the smallest sum of distances to those of `cases` (all of them by default)."""
    group = found.traces.group if cases is None else found.traces.group[cases]
    weights = np.bincount(group, minlength=len(found)).astype(np.float64)
    sums = weighted_sums(found.condensed, weights)
    sums[weights == 0] = np.inf
    here = np.arange(len(found.traces.group)) if cases is None else np.asarray(cases)
    return int(here[np.flatnonzero(group == np.argmin(sums))[0]])


def central(sequences: SequenceSet, *, seed: int = 7, sample: int = CENTRAL) -> tuple[int, float]:
    """The case whose journey is nearest to all others: its number, and its mean distance from 0 to 1.

    The distance of two journeys is the number of events to insert, delete or change (Levenshtein 1966) over
    the length of the longer one: journeys of customers differ in length, so nothing step by step fits, and
    without the division the shortest journeys would be nearest to everything. Of more than `sample` cases a
    random sample is drawn; the medoid is the one of the sample.
    """
    cases = np.arange(sequences.n_cases)
    if len(cases) > sample:
        cases = np.sort(np.random.default_rng([seed, len(cases)]).choice(cases, sample, replace=False))
    found = dissimilarities(sequences.select(cases), Distance("edit"))
    lengths = np.diff(found.traces.offsets)
    a, b = np.triu_indices(len(found), 1)
    relative = (found.condensed / np.maximum(lengths[a], lengths[b])).astype(np.float32)
    means = weighted_sums(relative, found.traces.weights.astype(np.float64)) / len(cases)
    best = int(np.argmin(means))
    return int(cases[found.traces.first[best]]), float(means[best])


def cluster(
    sequences: SequenceSet,
    k: int,
    distance: Distance | None = None,
    *,
    seed: int = 7,
    samples: int = 5,
    sample: int = 2_000,
) -> Clusters:
    """k clusters of the cases of a log around medoids; the same seed gives the same clusters.

    Up to MATRIX distinct traces: k-medoids on all distances. Above: `samples` draws of `sample` distinct
    traces by their weights, each clustered, all traces given to the nearest of its medoids, the draw with
    the lowest weighted sum of distances kept (CLARA, Kaufman & Rousseeuw 1990). Time then grows with the
    number of traces, not with its square. Raises JobError when there are fewer distinct traces than k.
    """
    traces = distinct(sequences)
    if not 1 <= k <= len(traces):
        raise JobError(
            f"k = {k} clusters cannot be made of {len(traces):,} distinct traces",
            hint="choose a smaller k" if k > 1 else "k must be at least 1",
        )
    distance = distance or Distance()
    if len(traces) <= MATRIX:
        found = dissimilarities(sequences, distance)
        best = k_medoids(found.condensed, traces.weights, k)
    else:
        best = _sampled(traces, k, distance, np.random.default_rng(seed), samples, max(sample, 40 + 2 * k))
    return _clusters(traces, best, distance)


def k_medoids(condensed: np.ndarray, weights: np.ndarray, k: int) -> np.ndarray:
    """k medoids with a low weighted sum of distances, int64 (k,): greedy start, then eager swaps."""
    heavy = weights.astype(np.float64)
    medoids = greedy_medoids(condensed, heavy, k)
    return medoids if k == 1 else swap_medoids(condensed, heavy, medoids, ROUNDS)[0]


def _sampled(
    traces: DistinctTraces, k: int, distance: Distance, draw: np.random.Generator, samples: int, size: int
) -> np.ndarray:
    best, lowest = np.zeros(0, np.int64), np.inf
    block = distance.blocks(traces)
    shares = traces.weights / traces.weights.sum()
    for _ in range(samples):
        picked = np.sort(draw.choice(len(traces), min(size, len(traces)), replace=False, p=shares))
        picked = np.union1d(picked, best)
        some = traces.take(picked)
        medoids = picked[k_medoids(triangle(some, distance.blocks(some)), some.weights, k)]
        total = float(_to(block, len(traces), medoids).min(axis=1) @ traces.weights)
        if total < lowest:
            best, lowest = medoids, total
    return best


def _to(block, n: int, medoids: np.ndarray) -> np.ndarray:  # type: ignore[no-untyped-def]
    """Distances of every trace to each medoid, float64 (n, k)."""
    parts = [block(np.arange(n), medoids[i : i + LANES]) for i in range(0, len(medoids), LANES)]
    return np.hstack(parts)[:, : len(medoids)].astype(np.float64)


def _clusters(traces: DistinctTraces, medoids: np.ndarray, distance: Distance) -> Clusters:
    far = _to(distance.blocks(traces), len(traces), medoids)
    near = far.argmin(axis=1)
    sizes = np.bincount(near, weights=traces.weights, minlength=len(medoids)).astype(np.int64)
    order = np.lexsort((traces.first[medoids], -sizes))
    far, medoids, sizes = far[:, order], medoids[order], sizes[order]
    near = far.argmin(axis=1)
    own = far[np.arange(len(traces)), near]
    silhouette = 0.0
    if len(medoids) > 1:
        other = np.partition(far, 1, axis=1)[:, 1]
        apart = 1.0 - np.divide(own, other, out=np.zeros_like(own), where=other > 0)
        silhouette = float(np.average(apart, weights=traces.weights))
    group = traces.group
    return Clusters(
        near[group], traces.first[medoids], sizes, own[group].astype(np.float32), round(silhouette, 12)
    )
