"""Weights of a linear mixture by expectation and maximisation."""

from __future__ import annotations

import numpy as np

from behavio.kernels.ready import njit

LANES = 256
"""Steps looked at together."""


@njit(cache=True, nogil=True, error_model="numpy", fastmath=True)
def mixture_weights(p: np.ndarray, first: np.ndarray, pull: float, passes: int) -> np.ndarray:
    """float64 (members,): weights that make the mixture of p (members, n) likeliest.

    Begins at `first`, to which it is drawn as if `pull` further steps spoke for it.
    """
    members, n = p.shape
    weights = first.copy()
    part, sums = np.empty(LANES), np.empty(members)
    for _ in range(passes):
        sums[:] = 0.0
        for low in range(0, n, LANES):
            many = min(LANES, n - low)
            part[:] = 0.0
            for k in range(members):
                row, weight = p[k][low : low + many], weights[k]
                for i in range(many):
                    part[i] += weight * row[i]
            for i in range(many):
                part[i] = 1.0 / part[i]
            for k in range(members):
                row, gained = p[k][low : low + many], 0.0
                for i in range(many):
                    gained += part[i] * row[i]
                sums[k] += gained
        for k in range(members):
            weights[k] = (weights[k] * sums[k] + pull * first[k]) / (n + pull)
    return weights
