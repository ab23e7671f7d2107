"""Closed patterns among all frequent ones, by looking up each with one item left out."""

from __future__ import annotations

import numpy as np

from behavio.kernels.ready import njit


@njit(cache=True, nogil=True)
def _hash(tokens: np.ndarray, first: int, last: int, without: int) -> np.uint64:
    """FNV-1a over tokens[first:last], leaving out the place `without`."""
    mixed = np.uint64(14695981039346656037)
    for i in range(first, last):
        if i != without:
            mixed = (mixed ^ np.uint64(tokens[i])) * np.uint64(1099511628211)
    return (mixed ^ (mixed >> np.uint64(29))) * np.uint64(0x9E3779B97F4A7C15)


@njit(cache=True, nogil=True)
def closed(tokens: np.ndarray, offsets: np.ndarray, supports: np.ndarray) -> np.ndarray:
    """Which patterns no pattern one item longer holds with the same support, bool (n_patterns,).

    Looks up every pattern with one item left out among the patterns given; compares token by token.
    """
    n = len(supports)
    size = 16
    while size < 2 * n:
        size *= 2
    mask = size - 1
    table = np.full(size, -1, np.int64)
    for p in range(n):
        place = np.int64(_hash(tokens, offsets[p], offsets[p + 1], -1) >> np.uint64(16)) & mask
        while table[place] >= 0:
            place = (place + 1) & mask
        table[place] = p
    keep = np.ones(n, np.bool_)
    for p in range(n):
        first, last = offsets[p], offsets[p + 1]
        for without in range(first, last):
            if last - first == 1 or (without > first and tokens[without] == tokens[without - 1]):
                continue
            place = np.int64(_hash(tokens, first, last, without) >> np.uint64(16)) & mask
            while table[place] >= 0:
                q = table[place]
                same = supports[q] == supports[p] and offsets[q + 1] - offsets[q] == last - first - 1
                k = offsets[q]
                for i in range(first, last):
                    if same and i != without:
                        same = tokens[k] == tokens[i]
                        k += 1
                if same:
                    keep[q] = False
                    break
                place = (place + 1) & mask
    return keep
