"""Sums over rows for conditional Poisson regression: every explanation is a code, no matrix is ever built.

Rows lie by stratum: stratum s has the rows starts[s] to starts[s + 1]. Row i multiplies the hazard of its
stratum by exp of the coefficients that `codes[i]` names, one per explanation, ascending. Shapes: codes int32
(n, f), width float64 (n,) time at risk, answered float64 (n,), beta float64 (k,), level int64 (n,).
"""

from __future__ import annotations

import numpy as np

from behavio.kernels.ready import njit


@njit(cache=True, nogil=True)
def weights(codes: np.ndarray, width: np.ndarray, beta: np.ndarray) -> np.ndarray:
    """float64 (n,): time at risk times hazard."""
    found = np.empty(len(width))
    for i in range(len(width)):
        whole = 0.0
        for j in range(codes.shape[1]):
            whole += beta[codes[i, j]]
        found[i] = width[i] * np.exp(min(max(whole, -30.0), 30.0))
    return found


@njit(cache=True, nogil=True)
def by_level(starts: np.ndarray, level: np.ndarray, value: np.ndarray, n_levels: int) -> np.ndarray:
    """float64 (strata, n_levels): sums of `value`."""
    found = np.zeros((len(starts) - 1, n_levels))
    for s in range(len(starts) - 1):
        for i in range(starts[s], starts[s + 1]):
            found[s, level[i]] += value[i]
    return found


@njit(cache=True, nogil=True)
def residuals(
    starts: np.ndarray,
    codes: np.ndarray,
    weight: np.ndarray,
    answered: np.ndarray,
    level: np.ndarray,
    expected: np.ndarray,
    n_codes: int,
) -> np.ndarray:
    """float64 (strata, n_codes): answers less those expected; `expected` (strata, levels) per weight."""
    found = np.zeros((len(starts) - 1, n_codes))
    for s in range(len(starts) - 1):
        for i in range(starts[s], starts[s + 1]):
            left = answered[i] - weight[i] * expected[s, level[i]]
            for j in range(codes.shape[1]):
                found[s, codes[i, j]] += left
    return found


@njit(cache=True, nogil=True)
def information(
    starts: np.ndarray, codes: np.ndarray, weight: np.ndarray, answered: np.ndarray, n_codes: int
) -> np.ndarray:
    """float64 (n_codes, n_codes): minus the second derivative of the conditional log likelihood."""
    found = np.zeros((n_codes, n_codes))
    mean = np.zeros(n_codes)
    touched = np.empty(n_codes, np.int64)
    for s in range(len(starts) - 1):
        total, mass, n = 0.0, 0.0, 0
        for i in range(starts[s], starts[s + 1]):
            total += answered[i]
            mass += weight[i]
        if total == 0.0 or mass <= 0.0:
            continue
        for i in range(starts[s], starts[s + 1]):
            share = total * weight[i] / mass
            for j in range(codes.shape[1]):
                a = codes[i, j]
                if mean[a] == 0.0 and share > 0.0:
                    touched[n] = a
                    n += 1
                mean[a] += share
                for other in range(j + 1):
                    found[a, codes[i, other]] += share
        for i in range(n):
            a = touched[i]
            for j in range(n):
                if touched[j] <= a:
                    found[a, touched[j]] -= mean[a] * mean[touched[j]] / total
        for i in range(n):
            mean[touched[i]] = 0.0
    for a in range(n_codes):
        for b in range(a):
            found[b, a] = found[a, b]
    return found
