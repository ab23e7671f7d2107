"""Hot loops of the mixture of semi-Markov chains: one E-step with its statistics, in one pass.

A case is one sparse row of sufficient statistics, a chain one column of coefficients; the case's
log-likelihood under the chain is their product, because every part of the chain (start, transitions,
log-normal gaps, share of ties) is an exponential family.
"""

from __future__ import annotations

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
