"""Hot loops of the mixture of semi-Markov chains: one E-step with its statistics, in one pass.

A case is one sparse row of sufficient statistics, a chain one column of coefficients; the case's
log-likelihood under the chain is their product, because every part of the chain (start, transitions,
log-normal gaps, share of ties) is an exponential family.
"""

from __future__ import annotations

import math

import numpy as np

from behavio.kernels.ready import njit


@njit(cache=True, nogil=True)
def expect(
    indptr: np.ndarray,
    indices: np.ndarray,
    values: np.ndarray,
    coefficients: np.ndarray,
    log_shares: np.ndarray,
    statistics: np.ndarray,
    posterior: np.ndarray,
    log_likelihood: np.ndarray,
) -> None:
    """E-step over CSR rows, filling the last three arrays (allocated by the caller).

    indptr int64 (n + 1,), indices int32 (nnz,), values float64 (nnz,): statistics of n cases
    coefficients   float64 (n_features, k)   statistics   float64 (n_features, k), added to
    log_shares     float64 (k,)              posterior    float64 (n, k)
    log_likelihood float64 (n,)              log of the sum over chains of share × likelihood
    """
    k = coefficients.shape[1]
    scores = np.empty(k)
    for case in range(len(indptr) - 1):
        first, last = indptr[case], indptr[case + 1]
        for j in range(k):
            scores[j] = log_shares[j]
        for place in range(first, last):
            feature, value = indices[place], values[place]
            for j in range(k):
                scores[j] += value * coefficients[feature, j]
        top = scores.max()
        total = 0.0
        for j in range(k):
            scores[j] = np.exp(scores[j] - top)
            total += scores[j]
        log_likelihood[case] = top + np.log(total)
        for j in range(k):
            scores[j] /= total
            posterior[case, j] = scores[j]
        for place in range(first, last):
            feature, value = indices[place], values[place]
            for j in range(k):
                statistics[feature, j] += value * scores[j]


@njit(cache=True, nogil=True)
def gather(
    indptr: np.ndarray,
    indices: np.ndarray,
    values: np.ndarray,
    posterior: np.ndarray,
    statistics: np.ndarray,
) -> None:
    """Add posterior-weighted rows: statistics (n_features, k) += rows.T @ posterior."""
    k = posterior.shape[1]
    for case in range(len(indptr) - 1):
        for place in range(indptr[case], indptr[case + 1]):
            feature, value = indices[place], values[place]
            for j in range(k):
                statistics[feature, j] += value * posterior[case, j]


@njit(cache=True, nogil=True)
def evidence(
    counts: np.ndarray, prior: np.ndarray, bounds: np.ndarray, grid: np.ndarray, best: np.ndarray
) -> float:
    """How many events of the prior make the counts of k groups likeliest, for each row of a table.

    counts  float64 (k, n)   events of each group; cells bounds[r] to bounds[r + 1] are row r
    prior   float64 (k, n)   what is expected of each cell, each row sums to 1 in each group
    grid    float64 (m,)     numbers to choose from
    best    float64 (rows,)  filled: the number with the greatest Dirichlet-multinomial likelihood
    Returns that log-likelihood, summed over the rows.
    """
    reached = 0.0
    for row in range(len(bounds) - 1):
        most = -np.inf
        for strength in grid:
            total = 0.0
            for j in range(counts.shape[0]):
                events = 0.0
                for cell in range(bounds[row], bounds[row + 1]):
                    n = counts[j, cell]
                    if n > 1e-3:
                        events += n
                        expected = strength * prior[j, cell]
                        total += math.lgamma(expected + n) - math.lgamma(expected)
                total -= math.lgamma(strength + events) - math.lgamma(strength)
            if total > most:
                most = total
                best[row] = strength
        reached += most
    return reached
