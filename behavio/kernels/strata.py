"""Comparing two groups within strata: exact conditional tests for many patterns at once."""

from __future__ import annotations

from math import exp, lgamma

import numpy as np

from behavio.kernels.ready import njit

LONGEST = 2_000
"""Values the sum of hypergeometric draws may take for the exact law to be worked out."""


@njit(cache=True, nogil=True)
def next_times(offsets: np.ndarray, times: np.ndarray, marked: np.ndarray, never: int) -> np.ndarray:
    """For each event the time of the case's next marked event at a strictly later time, or `never`."""
    following = np.empty(len(times), np.int64)
    for c in range(len(offsets) - 1):
        later, here = never, never
        for i in range(offsets[c + 1] - 1, offsets[c] - 1, -1):
            if i + 1 < offsets[c + 1] and times[i] < times[i + 1]:
                later = here
            following[i] = later
            if marked[i]:
                here = times[i]
    return following


@njit(cache=True, nogil=True)
def recent(offsets: np.ndarray, times: np.ndarray, counted: np.ndarray, within: int) -> np.ndarray:
    """How many counted events of the case lie in the `within` µs up to each event, itself included."""
    n = np.empty(len(times), np.int64)
    for c in range(len(offsets) - 1):
        first, inside = offsets[c], 0
        last = first
        for i in range(offsets[c], offsets[c + 1]):
            while last < offsets[c + 1] and times[last] <= times[i]:
                inside += counted[last]
                last += 1
            while times[first] < times[i] - within:
                inside -= counted[first]
                first += 1
            n[i] = inside
    return n


@njit(cache=True, nogil=True)
def _log_choose(n: float, k: float) -> float:
    return lgamma(n + 1.0) - lgamma(k + 1.0) - lgamma(n - k + 1.0)


@njit(cache=True, nogil=True)
def _add_draw(law: np.ndarray, size: int, spare: np.ndarray, table: np.ndarray) -> int:
    """The law of a sum so far and one hypergeometric draw; table: treated, hits, all. Returns its size."""
    treated, hits, total = table[0], table[1], table[2]
    low, high = max(0, treated + hits - total), min(treated, hits)
    for k in range(size + high - low):
        spare[k] = 0.0
    whole = _log_choose(total, treated)
    for x in range(low, high + 1):
        p = exp(_log_choose(hits, x) + _log_choose(total - hits, treated - x) - whole)
        if p > 0.0:
            for k in range(size):
                spare[k + x - low] += law[k] * p
    for k in range(size + high - low):
        law[k] = spare[k]
    return size + high - low


@njit(cache=True, nogil=True)
def compare(counts: np.ndarray, totals: np.ndarray) -> np.ndarray:
    """Mantel–Haenszel sums and exact tails of every pattern.

    counts  int64 (n_patterns, n_strata, 4): treated, of them with the outcome, and what to take off `totals`
    totals  int64 (n_strata, 2): compared, of them with the outcome
    Returns float64 (n_patterns, 9): treated, hits, mean and variance of the hits by chance, upper and lower
    tail (NaN where the law is too long), Mantel–Haenszel risk ratio and the variance of its logarithm
    (Greenland & Robins 1985), share of the compared. Strata without one of the two groups say nothing and
    are left out.
    """
    answer = np.zeros((len(counts), 9))
    law, spare = np.zeros(LONGEST + 1), np.zeros(LONGEST + 1)
    for p in range(len(counts)):
        law[0] = 1.0
        size, least, values = 1, np.int64(0), np.int64(1)
        treated_sum = rest_sum = spread = weight = 0.0
        for s in range(counts.shape[1]):
            n1, a = counts[p, s, 0], counts[p, s, 1]
            n0, b = totals[s, 0] - counts[p, s, 2], totals[s, 1] - counts[p, s, 3]
            if n1 == 0 or n0 <= 0:
                continue
            n, m = n1 + n0, a + b
            answer[p, 0] += n1
            answer[p, 1] += a
            answer[p, 2] += n1 * m / n
            answer[p, 3] += n1 * (n0 / n) * (m / n) * ((n - m) / (n - 1))
            treated_sum += a * n0 / n
            rest_sum += b * n1 / n
            weight += n0 * n1 / n
            spread += (m * (n1 / n) * (n0 / n)) - a * b / n
            least += max(0, n1 + m - n)
            values += min(n1, m) - max(0, n1 + m - n)
            if values <= LONGEST:
                size = _add_draw(law, size, spare, np.array([n1, m, n]))
        if values <= LONGEST:
            at = np.int64(answer[p, 1]) - least
            answer[p, 4], answer[p, 5] = law[at:size].sum(), law[: at + 1].sum()
        else:
            answer[p, 4] = answer[p, 5] = np.nan
        answer[p, 6] = max(treated_sum, 0.25) / max(rest_sum, 0.25)
        answer[p, 8] = rest_sum / max(weight, 1e-9)
        answer[p, 7] = spread / (max(treated_sum, 0.25) * max(rest_sum, 0.25))
    return answer
