"""A case's own past as a forecast: its last activity, its latest ones, all of them."""

from __future__ import annotations

import numpy as np

from behavio.kernels.ready import njit

RUNS, LENGTHS, KINDS = 4, 4, 4
"""Steps in which the last run, the past and its different activities are told apart."""
BINS = RUNS * LENGTHS * KINDS


@njit(cache=True, nogil=True)
def habit_bin(tokens: np.ndarray, low: int, end: int, seen: np.ndarray, mark: int) -> int:
    """Which kind of past tokens[low:end] is: run of its last activity, length, different activities.

    seen  int64 (n_vocabulary,), scratch without the value `mark`
    """
    run, kinds, same = 0, 0, True
    for k in range(end - 1, low - 1, -1):
        same = same and tokens[k] == tokens[end - 1]
        run += same
        if seen[tokens[k]] != mark:
            seen[tokens[k]] = mark
            kinds += 1
    n = end - low
    length = 0 if n < 3 else 1 if n < 8 else 2 if n < 25 else 3
    return ((min(run, RUNS) - 1) * LENGTHS + length) * KINDS + min(kinds, KINDS) - 1


@njit(cache=True, nogil=True)
def habit_of_truth(
    tokens: np.ndarray,
    starts: np.ndarray,
    ends: np.ndarray,
    most: int,
    fades: np.ndarray,
    bins: np.ndarray,
    parts: np.ndarray,
    size: int,
) -> None:
    """Fill bins (n,) and parts (n, n_fades + 2): what each view of the past gave to tokens[ends].

    Views: the last activity again, shares that fade by `fades` with every event, shares of all `most` last.
    """
    seen = np.full(size, -1, dtype=np.int64)
    n_fades = len(fades)
    for i in range(len(ends)):
        end = ends[i]
        low = max(starts[i], end - most)
        truth = tokens[end]
        bins[i] = habit_bin(tokens, low, end, seen, i)
        parts[i, 0] = 1.0 if tokens[end - 1] == truth else 0.0
        for f in range(n_fades):
            weight, total = 1.0, 0.0
            for k in range(end - 1, low - 1, -1):
                total += weight
                if tokens[k] == truth:
                    parts[i, 1 + f] += weight
                weight *= fades[f]
            parts[i, 1 + f] /= total
        for k in range(low, end):
            if tokens[k] == truth:
                parts[i, 1 + n_fades] += 1.0 / (end - low)


@njit(cache=True, nogil=True)
def fill_habits(
    rows: np.ndarray,
    tokens: np.ndarray,
    starts: np.ndarray,
    ends: np.ndarray,
    most: int,
    fades: np.ndarray,
    usual: np.ndarray,
    weights: np.ndarray,
) -> None:
    """Fill rows (n, n_vocabulary): the views of `habit_of_truth` and usual (n_usual, n_vocabulary), weighed.

    weights  float64 (BINS, 2 + n_fades + n_usual), each row summing to 1
    """
    n_fades, n_usual = len(fades), len(usual)
    seen = np.full(rows.shape[1], -1, dtype=np.int64)
    for i in range(len(ends)):
        end = ends[i]
        low = max(starts[i], end - most)
        weight = weights[habit_bin(tokens, low, end, seen, i)]
        rows[i] = 0.0
        for u in range(n_usual):
            rows[i] += weight[2 + n_fades + u] * usual[u]
        rows[i, tokens[end - 1]] += weight[0]
        for k in range(low, end):
            rows[i, tokens[k]] += weight[1 + n_fades] / (end - low)
        for f in range(n_fades):
            total = (1.0 - fades[f] ** (end - low)) / (1.0 - fades[f])
            part = weight[1 + f] / total
            for k in range(end - 1, low - 1, -1):
                rows[i, tokens[k]] += part
                part *= fades[f]
