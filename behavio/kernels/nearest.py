"""States of cases as short vectors, and exact nearest neighbours among many of them."""

from __future__ import annotations

import numpy as np
from numba import njit


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
    lengths: np.ndarray,
    norms: np.ndarray,
    first: int,
    own: np.ndarray,
    of: np.ndarray,
    best: np.ndarray,
    place: np.ndarray,
) -> None:
    """Take a block of dot products (queries, points from `first` on) into each query's k best, a heap.

    `lengths` and `norms` are the squared lengths of queries and points, so `best` holds squared distances.
    Points whose case `of` is the query's `own` are left out. Equal distances: the earlier point first.
    """
    k = best.shape[1]
    for q in range(dot.shape[0]):
        worst = best[q, 0]
        length = lengths[q]
        for p in range(dot.shape[1]):
            d = length + norms[first + p] - 2.0 * dot[q, p]
            if d >= worst or of[first + p] == own[q]:
                continue
            node = 0
            while True:
                child = 2 * node + 1
                if child >= k:
                    break
                if child + 1 < k and best[q, child + 1] > best[q, child]:
                    child += 1
                if best[q, child] <= d:
                    break
                best[q, node] = best[q, child]
                place[q, node] = place[q, child]
                node = child
            best[q, node] = d
            place[q, node] = first + p
            worst = best[q, 0]


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
