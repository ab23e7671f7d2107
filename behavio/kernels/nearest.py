"""States of cases as short vectors, and exact nearest neighbours among many of them."""

from __future__ import annotations

import numpy as np

from behavio.kernels.ready import njit

LOOK = 64
"""Points compared at once."""


@njit(cache=True, nogil=True)
def memories(
    tokens: np.ndarray, offsets: np.ndarray, vectors: np.ndarray, keep: np.ndarray, wanted: np.ndarray
) -> np.ndarray:
    """float32 (n_wanted, n_keep * width): sums of activity vectors that fade, after each wanted event.

    vectors float32 (n_vocabulary, width) · keep float32: what is left of the past after one more event ·
    wanted int64, rising: events asked for
    """
    width = vectors.shape[1]
    result = np.empty((len(wanted), len(keep) * width), dtype=np.float32)
    state = np.zeros((len(keep), width), dtype=np.float32)
    asked, case = 0, 0
    for asked in range(len(wanted)):
        event = wanted[asked]
        while offsets[case + 1] <= event:
            case += 1
        fresh = asked == 0 or wanted[asked - 1] < offsets[case]
        low = offsets[case] if fresh else wanted[asked - 1] + 1
        if fresh:
            state[:] = 0.0
        for i in range(low, event + 1):
            for m in range(len(keep)):
                for w in range(width):
                    state[m, w] = state[m, w] * keep[m] + vectors[tokens[i], w]
        for m in range(len(keep)):
            for w in range(width):
                result[asked, m * width + w] = state[m, w]
    return result


@njit(cache=True, nogil=True)
def keep_nearest(
    dot: np.ndarray,
    halves: np.ndarray,
    first: int,
    own: np.ndarray,
    of: np.ndarray,
    best: np.ndarray,
    place: np.ndarray,
) -> None:
    """Take a block of dot products (queries, points from `first` on) into each query's k best, a heap.

    `halves` are half the squared lengths of all points. `best` holds half the squared distance without the
    query's share, `halves` less the dot product, which puts points in the same order.
    Points whose case `of` is the query's `own` are left out.
    """
    n = dot.shape[1]
    some, cases = halves[first : first + n], of[first : first + n]
    for q in range(dot.shape[0]):
        row, me = dot[q], own[q]
        for low in range(0, n, LOOK):
            if not any_below(row[low : low + LOOK], some[low : low + LOOK], best[q, 0]):
                continue
            for p in range(low, min(low + LOOK, n)):
                far = some[p] - row[p]
                if far < best[q, 0] and cases[p] != me:
                    sift(best[q], place[q], far, first + p)


@njit(cache=True, nogil=True)
def any_below(dot: np.ndarray, halves: np.ndarray, worst: float) -> bool:
    """Whether any point is nearer than that; counted without a branch, several at once."""
    near = np.int32(0)
    for p in range(len(dot)):
        near += np.int32(halves[p] - dot[p] < worst)
    return bool(near > 0)


@njit(cache=True, nogil=True)
def sift(best: np.ndarray, place: np.ndarray, distance: float, point: int) -> None:
    """Put a point in the place of the farthest one, a heap with the largest distance on top."""
    k, node = len(best), 0
    while True:
        child = 2 * node + 1
        if child >= k:
            break
        if child + 1 < k and best[child + 1] > best[child]:
            child += 1
        if best[child] <= distance:
            break
        best[node] = best[child]
        place[node] = place[child]
        node = child
    best[node] = distance
    place[node] = point


@njit(cache=True, nogil=True)
def vote(
    best: np.ndarray, place: np.ndarray, came: np.ndarray, k: int, pull: float, prior: np.ndarray
) -> np.ndarray:
    """float64 (queries, size): what came after the k nearest, drawn to `prior` by `pull` votes.

    A vote weighs (1 - (d / d_k)²)², d_k being a little more than the distance of the k-th.
    """
    n = len(best)
    result = np.empty((n, len(prior)))
    for q in range(n):
        for c in range(len(prior)):
            result[q, c] = pull * prior[c]
        total = pull
        last = -1
        for j in range(min(k, best.shape[1])):
            if place[q, j] >= 0:
                last = j
        reach = max(best[q, last], 0.0) * 1.2 + 1e-9 if last >= 0 else 1.0
        for j in range(last + 1):
            share = max(best[q, j], 0.0) / reach
            weight = (1.0 - share) * (1.0 - share)
            result[q, came[place[q, j]]] += weight
            total += weight
        for c in range(len(prior)):
            result[q, c] /= total
    return result


@njit(cache=True, nogil=True)
def shared_suffix(
    tokens: np.ndarray,
    starts: np.ndarray,
    ends: np.ndarray,
    other_starts: np.ndarray,
    other_ends: np.ndarray,
    most: int,
) -> np.ndarray:
    """int64 (n,): how many newest activities two prefixes share, at most `most`."""
    result = np.zeros(len(ends), dtype=np.int64)
    for i in range(len(ends)):
        n = 0
        room = min(most, ends[i] - starts[i], other_ends[i] - other_starts[i])
        while n < room and tokens[ends[i] - 1 - n] == tokens[other_ends[i] - 1 - n]:
            n += 1
        result[i] = n
    return result
