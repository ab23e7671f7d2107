"""What a case had done, and was to do, at moments between its events."""

from __future__ import annotations

import numpy as np

from behavio.kernels.ready import njit


@njit(cache=True, nogil=True)
def places_at(times: np.ndarray, offsets: np.ndarray, cases: np.ndarray, moments: np.ndarray) -> np.ndarray:
    """int64 (n,): one past the newest event of each case at or before its moment."""
    ends = np.empty(len(cases), np.int64)
    for k in range(len(cases)):
        low, high = offsets[cases[k]], offsets[cases[k] + 1]
        while low < high:
            middle = (low + high) // 2
            if times[middle] <= moments[k]:
                low = middle + 1
            else:
                high = middle
        ends[k] = low
    return ends


@njit(cache=True, nogil=True)
def before(
    codes: np.ndarray,
    times: np.ndarray,
    starts: np.ndarray,
    ends: np.ndarray,
    moments: np.ndarray,
    back: np.ndarray,
    size: int,
) -> tuple[np.ndarray, np.ndarray]:
    """Counts of each code inside each window up to the moment, and the time since each code was last seen.

    float32 (n, len(back), size) for windows `back` (µs, rising), and int64 (n, size) µs, -1 never; codes
    below 0 are passed over.
    """
    n = len(ends)
    counts = np.zeros((n, len(back), size), np.float32)
    since = np.full((n, size), -1, np.int64)
    for k in range(n):
        for i in range(ends[k] - 1, starts[k] - 1, -1):
            code = codes[i]
            if code < 0:
                continue
            ago = moments[k] - times[i]
            if since[k, code] < 0:
                since[k, code] = ago
            if ago > back[-1]:
                continue
            for w in range(len(back)):
                if ago <= back[w]:
                    counts[k, w, code] += 1
    return counts, since


@njit(cache=True, nogil=True)
def after(
    codes: np.ndarray,
    times: np.ndarray,
    ends: np.ndarray,
    lasts: np.ndarray,
    moments: np.ndarray,
    ahead: np.ndarray,
    size: int,
) -> np.ndarray:
    """float32 (n, len(ahead), size): events of each code in the windows `ahead` (µs, rising) that follow."""
    counts = np.zeros((len(ends), len(ahead), size), np.float32)
    for k in range(len(ends)):
        for i in range(ends[k], lasts[k]):
            until = times[i] - moments[k]
            if until > ahead[-1]:
                break
            if codes[i] < 0:
                continue
            for w in range(len(ahead)):
                if until <= ahead[w]:
                    counts[k, w, codes[i]] += 1
    return counts
