"""Arrays as the kernels take them: one layout, so each kernel is compiled once."""

from __future__ import annotations

import numpy as np

from behavio.kernels.ready import njit


def readonly(array: np.ndarray, dtype: type[np.generic]) -> np.ndarray:
    """A contiguous read-only view (a copy only where type or layout differ).

    Memory-mapped logs are read-only and logs in memory are not; numba would compile every kernel for both.
    """
    view = np.ascontiguousarray(array, dtype=dtype).view(np.ndarray)[:]
    view.flags.writeable = False
    return view


def take_groups(values: np.ndarray, offsets: np.ndarray, index: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The groups values[offsets[i]:offsets[i + 1]] for i in index, joined, with their new offsets."""
    return _take_groups(
        readonly(values, values.dtype.type), readonly(offsets, np.int64), readonly(index, np.int64)
    )


@njit(cache=True, nogil=True)
def _take_groups(values: np.ndarray, offsets: np.ndarray, index: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    ends = np.zeros(len(index) + 1, np.int64)
    for k in range(len(index)):
        ends[k + 1] = ends[k] + offsets[index[k] + 1] - offsets[index[k]]
    taken = np.empty(ends[-1], values.dtype)
    for k in range(len(index)):
        shift = offsets[index[k]] - ends[k]
        for i in range(ends[k], ends[k + 1]):
            taken[i] = values[i + shift]
    return taken, ends


@njit(cache=True, nogil=True)
def ones(word: np.uint64) -> int:
    """How many bits are set (compiled to one instruction)."""
    word -= (word >> np.uint64(1)) & np.uint64(0x5555555555555555)
    word = (word & np.uint64(0x3333333333333333)) + ((word >> np.uint64(2)) & np.uint64(0x3333333333333333))
    word = (word + (word >> np.uint64(4))) & np.uint64(0x0F0F0F0F0F0F0F0F)
    return int((word * np.uint64(0x0101010101010101)) >> np.uint64(56))


@njit(cache=True, nogil=True)
def grown(array: np.ndarray, used: int, needed: int) -> np.ndarray:
    """The array with room for `needed` values, doubled as often as it takes, the first `used` kept."""
    size = len(array)
    while size < needed:
        size *= 2
    larger = np.empty(size, array.dtype)
    for i in range(used):
        larger[i] = array[i]
    return larger


@njit(cache=True, nogil=True)
def select(values: np.ndarray, first: int, last: int, k: int) -> None:
    """Put the k-th smallest of values[first:last] at place k, smaller ones left of it, larger right.

    Quickselect (Hoare 1961) with three-way partition, so ties cost nothing, and pivots drawn from a fixed
    pseudo-random sequence, so no order of the values is slow.
    """
    draw = np.uint64(88172645463325252)
    while last - first > 1:
        draw ^= draw << np.uint64(13)
        draw ^= draw >> np.uint64(7)
        draw ^= draw << np.uint64(17)
        pivot = values[first + np.int64(draw >> np.uint64(1)) % (last - first)]
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


@njit(cache=True, nogil=True)
def group_quantiles(values: np.ndarray, offsets: np.ndarray, shares: np.ndarray) -> np.ndarray:
    """Exact quantiles of each group values[offsets[g]:offsets[g + 1]], float64 (n_groups, n_shares).

    values is int64 and reordered within groups; shares rise from 0 to 1; neighbours are interpolated
    linearly (type 7 of Hyndman & Fan 1996, numpy's default). An empty group gives NaN.
    """
    answer = np.full((len(offsets) - 1, len(shares)), np.nan)
    for g in range(len(offsets) - 1):
        start, last = offsets[g], offsets[g + 1]
        n = last - start
        for s in range(len(shares)):
            if n == 0:
                continue
            place = shares[s] * (n - 1)
            k = offsets[g] + np.int64(place)
            select(values, start, last, k)
            low = np.float64(values[k])
            rest = place - np.int64(place)
            if rest > 0.0:
                above = values[k + 1]
                for i in range(k + 2, last):
                    above = min(above, values[i])
                low += rest * (np.float64(above) - low)
            answer[g, s] = low
            start = k
    return answer
