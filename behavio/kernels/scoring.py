"""How dense rows of probabilities did, and what they put first."""

from __future__ import annotations

import numpy as np

from behavio.kernels.ready import njit


@njit(cache=True, nogil=True)
def prefix_hashes(tokens: np.ndarray, offsets: np.ndarray) -> np.ndarray:
    """uint64 (n_events,): a hash of each case from its start up to and with that event."""
    hashes = np.empty(len(tokens), dtype=np.uint64)
    for case in range(len(offsets) - 1):
        h = np.uint64(0x9E3779B97F4A7C15)
        for i in range(offsets[case], offsets[case + 1]):
            h ^= np.uint64(tokens[i])
            h *= np.uint64(0xBF58476D1CE4E5B9)
            h ^= h >> np.uint64(29)
            hashes[i] = h
    return hashes


@njit(cache=True, nogil=True)
def score_rows(
    rows: np.ndarray, truth: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Per row: probability and rank of the truth (ties to the lower id), best column, its p, sum p²."""
    n, size = rows.shape
    p, rank = np.zeros(n), np.zeros(n, dtype=np.int64)
    best, confidence, squares = np.zeros(n, dtype=np.int64), np.zeros(n), np.zeros(n)
    for r in range(n):
        p[r] = rows[r, truth[r]]
        for c in range(1, size):
            value = rows[r, c]
            squares[r] += value * value
            if value > confidence[r]:
                best[r] = c
                confidence[r] = value
            if value > p[r] or (value == p[r] and c < truth[r]):
                rank[r] += 1
    return p, rank, best, confidence, squares


@njit(cache=True, nogil=True)
def top_columns(rows: np.ndarray, k: int) -> np.ndarray:
    """int64 (n, k): the k likeliest known activities of each row, ties to the lower id; -1 fills."""
    n, size = rows.shape
    top = np.full((n, k), -1, dtype=np.int64)
    for r in range(n):
        for c in range(2, size):
            place = k
            while place > 0 and (top[r, place - 1] < 0 or rows[r, c] > rows[r, top[r, place - 1]]):
                place -= 1
            if place < k:
                for j in range(k - 1, place, -1):
                    top[r, j] = top[r, j - 1]
                top[r, place] = c
    return top
