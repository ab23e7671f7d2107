"""Events in order of time: picked from a log by time, and counted one after the other without a sort."""

from __future__ import annotations

import numpy as np

from behavio.kernels.graph import _slot
from behavio.kernels.ready import njit

LOW = 0xFFFFFFFF


@njit(cache=True, nogil=True)
def pick(
    times: np.ndarray, offsets: np.ndarray, low: int, high: int, cases: np.ndarray, at: np.ndarray
) -> int:
    """Fill cases int32 and at int64 with the events whose time is from low to high - 1; returns how many."""
    n = 0
    for c in range(len(offsets) - 1):
        if times[offsets[c + 1] - 1] < low or times[offsets[c]] >= high:
            continue  # times never fall inside a case
        for i in range(offsets[c], offsets[c + 1]):
            if low <= times[i] < high:
                cases[n] = c
                at[n] = i
                n += 1
    return n


@njit(cache=True, nogil=True)
def count_between(times: np.ndarray, cuts: np.ndarray) -> np.ndarray:
    """int64 (n_cuts + 1,): how many times lie before the first cut, from cut to cut, and from the last on."""
    found = np.zeros(len(cuts) + 1, np.int64)
    for i in range(len(times)):
        found[np.searchsorted(cuts, times[i], side="right")] += 1
    return found


@njit(cache=True, nogil=True)
def follow(
    cases: np.ndarray,
    tokens: np.ndarray,
    times: np.ndarray,
    first: int,
    size: int,
    last_token: np.ndarray,
    last_time: np.ndarray,
    table: np.ndarray,
    keys: np.ndarray,
    counts: np.ndarray,
    n_edges: int,
) -> tuple[int, int]:
    """Count each event of a stream from row `first` on with the event of its case before it.

    last_token int32, last_time int64 (n_cases,)   the state: -1 before the first event of a case
    table, keys    open addressing: edge number by key source * size + target
    counts int64 (edges, 3)   frequency, and the sum of the gaps as high * 2**32 + low
    Returns the row reached and how many edges there are; it stops early where the edges need more room.
    """
    for i in range(first, len(cases)):
        case = cases[i]
        before = last_token[case]
        if before >= 0:
            key = np.int64(before) * size + tokens[i]
            place = _slot(table, keys, key)
            if table[place] < 0:
                if n_edges == len(keys):
                    return i, n_edges
                table[place] = n_edges
                keys[n_edges] = key
                n_edges += 1
            edge = table[place]
            gap = times[i] - last_time[case]
            low = counts[edge, 2] + (gap & LOW)
            counts[edge, 0] += 1
            counts[edge, 1] += (gap >> 32) + (low >> 32)
            counts[edge, 2] = low & LOW
        last_token[case] = tokens[i]
        last_time[case] = times[i]
    return len(cases), n_edges


@njit(cache=True, nogil=True)
def refill(table: np.ndarray, keys: np.ndarray, n_edges: int) -> None:
    """Enter the known edges into a larger, empty table."""
    for edge in range(n_edges):
        table[_slot(table, keys, keys[edge])] = edge
