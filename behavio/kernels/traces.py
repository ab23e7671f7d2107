"""Equal traces found and ordered, exactly: a hash only proposes, every token is compared."""

from __future__ import annotations

import numpy as np
from numba import njit


@njit(cache=True, nogil=True)
def _hash(tokens: np.ndarray, first: int, last: int) -> np.uint64:
    """FNV-1a over the tokens of one trace, mixed once more."""
    mixed = np.uint64(14695981039346656037)
    for i in range(first, last):
        mixed = (mixed ^ np.uint64(tokens[i])) * np.uint64(1099511628211)
    return (mixed ^ (mixed >> np.uint64(29))) * np.uint64(0x9E3779B97F4A7C15)


@njit(cache=True, nogil=True)
def _equal(tokens: np.ndarray, offsets: np.ndarray, a: int, b: int) -> bool:
    length = offsets[a + 1] - offsets[a]
    if offsets[b + 1] - offsets[b] != length:
        return False
    for i in range(length):  # noqa: SIM110 – numba compiles loops, not generators
        if tokens[offsets[a] + i] != tokens[offsets[b] + i]:
            return False
    return True


@njit(cache=True, nogil=True)
def distinct_traces(tokens: np.ndarray, offsets: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """First trace of each distinct one (int64), in order of appearance; and the group of every trace."""
    n = len(offsets) - 1
    size = 16
    while size < 2 * n:
        size *= 2
    mask = size - 1
    table = np.full(size, -1, np.int64)
    hashes = np.empty(n, np.uint64)
    firsts = np.empty(n, np.int64)
    group = np.empty(n, np.int64)
    n_groups = 0
    for c in range(n):
        mixed = _hash(tokens, offsets[c], offsets[c + 1])
        place = np.int64(mixed >> np.uint64(16)) & mask
        while True:
            known = table[place]
            if known < 0:
                table[place] = n_groups
                hashes[n_groups] = mixed
                firsts[n_groups] = c
                group[c] = n_groups
                n_groups += 1
                break
            if hashes[known] == mixed and _equal(tokens, offsets, firsts[known], c):
                group[c] = known
                break
            place = (place + 1) & mask
    return firsts[:n_groups].copy(), group


@njit(cache=True, nogil=True)
def _comes_first(tokens: np.ndarray, offsets: np.ndarray, weights: np.ndarray, a: int, b: int) -> bool:
    """Heavier first; among equals in the order of their tokens, the shorter of two alike first."""
    if weights[a] != weights[b]:
        return bool(weights[a] > weights[b])
    length_a, length_b = offsets[a + 1] - offsets[a], offsets[b + 1] - offsets[b]
    for i in range(min(length_a, length_b)):
        x, y = tokens[offsets[a] + i], tokens[offsets[b] + i]
        if x != y:
            return bool(x < y)
    return bool(length_a <= length_b)


@njit(cache=True, nogil=True)
def order_traces(tokens: np.ndarray, offsets: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Indices of the traces, heaviest first, ties in token order (merge sort), int64 (n_traces,)."""
    n = len(offsets) - 1
    order = np.arange(n)
    spare = np.empty(n, np.int64)
    width = 1
    while width < n:
        for start in range(0, n, 2 * width):
            middle, end = min(start + width, n), min(start + 2 * width, n)
            a, b = start, middle
            for k in range(start, end):
                if b >= end or (a < middle and _comes_first(tokens, offsets, weights, order[a], order[b])):
                    spare[k] = order[a]
                    a += 1
                else:
                    spare[k] = order[b]
                    b += 1
        order, spare = spare, order
        width *= 2
    return order
