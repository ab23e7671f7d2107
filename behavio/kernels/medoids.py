"""k-medoids on a condensed distance matrix with weights: eager swaps as in FasterPAM.

Schubert & Rousseeuw 2021, "Fast and eager k-medoids clustering": for each candidate the loss of a swap with
every medoid is found in one pass over the objects.
"""

from __future__ import annotations

import numpy as np

from behavio.kernels.ready import njit


@njit(cache=True, nogil=True, inline="always")
def at(condensed: np.ndarray, n: int, a: int, b: int) -> np.float32:
    """Distance of a and b out of the upper triangle."""
    if a == b:
        return np.float32(0.0)
    if a > b:
        a, b = b, a
    return condensed[a * n - a * (a + 1) // 2 + b - a - 1]


@njit(cache=True, nogil=True)
def weighted_sums(condensed: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Weighted sum of each object's distances to all others, float64 (n,)."""
    n = len(weights)
    sums = np.zeros(n)
    place = 0
    for a in range(n):
        for b in range(a + 1, n):
            d = np.float64(condensed[place])
            sums[a] += weights[b] * d
            sums[b] += weights[a] * d
            place += 1
    return sums


@njit(cache=True, nogil=True)
def nearest(condensed: np.ndarray, n: int, medoids: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Place of the nearest medoid of each object, its distance, and that of the second nearest."""
    near = np.zeros(n, np.int64)
    first, second = np.full(n, np.inf), np.full(n, np.inf)
    for o in range(n):
        for m in range(len(medoids)):
            d = np.float64(at(condensed, n, medoids[m], o))
            if d < first[o]:
                second[o] = first[o]
                first[o], near[o] = d, m
            elif d < second[o]:
                second[o] = d
    return near, first, second


@njit(cache=True, nogil=True)
def greedy_medoids(condensed: np.ndarray, weights: np.ndarray, k: int) -> np.ndarray:
    """k objects, each the one that lowers the weighted sum of distances most (BUILD of PAM), int64 (k,)."""
    n = len(weights)
    sums = weighted_sums(condensed, weights)
    medoids = np.empty(k, np.int64)
    medoids[0] = np.argmin(sums)
    closest = np.empty(n)
    for o in range(n):
        closest[o] = at(condensed, n, medoids[0], o)
    for m in range(1, k):
        best, chosen = -1.0, 0
        for c in range(n):
            gain = 0.0
            for o in range(n):
                d = np.float64(at(condensed, n, c, o))
                if d < closest[o]:
                    gain += weights[o] * (closest[o] - d)
            if gain > best and not (medoids[:m] == c).any():
                best, chosen = gain, c
        medoids[m] = chosen
        for o in range(n):
            closest[o] = min(closest[o], np.float64(at(condensed, n, chosen, o)))
    return medoids


@njit(cache=True, nogil=True)
def _best_swap(
    condensed: np.ndarray,
    weights: np.ndarray,
    near: np.ndarray,
    first: np.ndarray,
    second: np.ndarray,
    loss: np.ndarray,
    candidate: int,
) -> tuple[int, float]:
    """The medoid whose place the candidate takes at the lowest change of the sum, and that change."""
    n = len(weights)
    change = loss.copy()
    shared = 0.0
    for o in range(n):
        d = np.float64(at(condensed, n, candidate, o))
        if d < first[o]:
            shared += weights[o] * (d - first[o])
            change[near[o]] += weights[o] * (first[o] - second[o])
        elif d < second[o]:
            change[near[o]] += weights[o] * (d - second[o])
    m = int(np.argmin(change))
    return m, float(change[m] + shared)


@njit(cache=True, nogil=True)
def _loss_without(
    weights: np.ndarray, near: np.ndarray, first: np.ndarray, second: np.ndarray, k: int
) -> np.ndarray:
    loss = np.zeros(k)
    for o in range(len(weights)):
        loss[near[o]] += weights[o] * (second[o] - first[o])
    return loss


@njit(cache=True, nogil=True)
def swap_medoids(
    condensed: np.ndarray, weights: np.ndarray, medoids: np.ndarray, most_rounds: int
) -> tuple[np.ndarray, np.ndarray, float]:
    """Swap until no swap lowers the weighted sum of distances: medoids, nearest medoid's place, that sum.

    Needs at least two medoids. The start is not changed.
    """
    n, k = len(weights), len(medoids)
    medoids = medoids.copy()
    near, first, second = nearest(condensed, n, medoids)
    loss = _loss_without(weights, near, first, second, k)
    since, candidate = 0, 0
    for _ in range(most_rounds * n):
        if since >= n:
            break
        if first[candidate] > 0.0:
            m, change = _best_swap(condensed, weights, near, first, second, loss, candidate)
            if change < -1e-9 * max(1.0, abs(loss[m])):
                medoids[m] = candidate
                near, first, second = nearest(condensed, n, medoids)
                loss = _loss_without(weights, near, first, second, k)
                since = 0
        since += 1
        candidate = (candidate + 1) % n
    total = 0.0
    for o in range(n):
        total += weights[o] * first[o]
    return medoids, near, total
