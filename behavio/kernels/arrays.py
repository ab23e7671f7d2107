"""Arrays as the kernels take them: one layout, so each kernel is compiled once."""

from __future__ import annotations

import numpy as np
from numba import njit


def readonly(array: np.ndarray, dtype: type[np.generic]) -> np.ndarray:
    """A contiguous read-only view (a copy only where type or layout differ).

    Memory-mapped logs are read-only and logs in memory are not; numba would compile every kernel for both.
    """
    view = np.ascontiguousarray(array, dtype=dtype).view(np.ndarray)[:]
    view.flags.writeable = False
    return view


def take_groups(values: np.ndarray, offsets: np.ndarray, index: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The groups values[offsets[i]:offsets[i + 1]] for i in index, joined, with their new offsets."""
    lengths = np.diff(offsets)[index]
    ends = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    places = np.repeat(offsets[:-1][index] - ends[:-1], lengths) + np.arange(ends[-1])
    return values[places], ends


@njit(cache=True, nogil=True)
def _median_of_three(a: np.int64, b: np.int64, c: np.int64) -> np.int64:
    return max(min(a, b), min(max(a, b), c))


@njit(cache=True, nogil=True)
def _select(values: np.ndarray, first: int, last: int, k: int) -> None:
    """Put the k-th smallest of values[first:last] at place k, smaller ones left of it, larger right.

    Quickselect (Hoare 1961) with three-way partition, so ties cost nothing; sorts after too many rounds.
    """
    rounds = 0
    while last - first > 24 and rounds < 64:
        rounds += 1
        pivot = _median_of_three(values[first], values[(first + last) // 2], values[last - 1])
        low, here, high = first, first, last
        while here < high:
            value = values[here]
            if value < pivot:
                values[here] = values[low]
                values[low] = value
                low += 1
                here += 1
            elif value > pivot:
                high -= 1
                values[here] = values[high]
                values[high] = value
            else:
                here += 1
        if k < low:
            last = low
        elif k >= high:
            first = high
        else:
            return
    values[first:last].sort()


@njit(cache=True, nogil=True)
def group_quantiles(values: np.ndarray, offsets: np.ndarray, shares: np.ndarray) -> np.ndarray:
    """Exact quantiles of each group values[offsets[g]:offsets[g + 1]], float64 (n_groups, n_shares).

    values is int64 and reordered within groups; shares rise from 0 to 1; neighbours are interpolated
    linearly (type 7 of Hyndman & Fan 1996, numpy's default). An empty group gives NaN.
    """
    answer = np.full((len(offsets) - 1, len(shares)), np.nan)
    for g in range(len(offsets) - 1):
        first, last = offsets[g], offsets[g + 1]
        if first == last:
            continue
        start = first
        for s in range(len(shares)):
            place = shares[s] * (last - first - 1)
            k = first + np.int64(np.floor(place))
            _select(values, start, last, k)
            low = np.float64(values[k])
            rest = place - np.floor(place)
            if rest > 0.0:
                low += rest * (np.float64(values[k + 1 : last].min()) - low)
            answer[g, s] = low
            start = k
    return answer
