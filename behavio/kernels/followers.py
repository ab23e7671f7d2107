"""What comes later in each trace: for every place the distinct items from there on and where each is first.

Asked once per log, these lists answer "which items can extend this pattern, and where does it then end"
without walking the trace again.
"""

from __future__ import annotations

import numpy as np

from behavio.kernels.ready import njit


@njit(cache=True, nogil=True)
def count_followers(items: np.ndarray, offsets: np.ndarray, n_items: int) -> np.ndarray:
    """Where the list of each place starts, int64 (n_events + 2,); the last list is empty."""
    starts = np.zeros(len(items) + 2, np.int64)
    seen = np.full(n_items, -1, np.int64)
    for c in range(len(offsets) - 1):
        n = 0
        for p in range(offsets[c + 1] - 1, offsets[c] - 1, -1):
            if seen[items[p]] != c:
                seen[items[p]] = c
                n += 1
            starts[p + 1] = n
    for p in range(len(items) + 1):
        starts[p + 1] += starts[p]
    return starts


@njit(cache=True, nogil=True)
def lists_after(first: np.ndarray, offsets: np.ndarray) -> np.ndarray:
    """The list of what may follow each event, int32 (n_events,): from its window's start, or empty."""
    after = np.full(len(first), len(first), np.int32)
    for c in range(len(offsets) - 1):
        for p in range(offsets[c], offsets[c + 1]):
            if first[p] < offsets[c + 1]:
                after[p] = first[p]
    return after


@njit(cache=True, nogil=True)
def followers(
    items: np.ndarray, offsets: np.ndarray, starts: np.ndarray, after: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Items of every list in rising order, and for each the list after its first place (int32).

    after  int32 (n_events,): the list of what may follow each event; n_events: nothing
    """
    item_at, list_at = np.empty(starts[-1], np.int32), np.empty(starts[-1], np.int32)
    for c in range(len(offsets) - 1):
        for p in range(offsets[c + 1] - 1, offsets[c] - 1, -1):
            item, to = items[p], starts[p]
            put = False
            if p + 1 < offsets[c + 1]:
                for k in range(starts[p + 1], starts[p + 2]):
                    if not put and item_at[k] >= item:
                        item_at[to], list_at[to] = item, after[p]
                        to += 1
                        put = True
                    if item_at[k] != item:
                        item_at[to], list_at[to] = item_at[k], list_at[k]
                        to += 1
            if not put:
                item_at[to], list_at[to] = item, after[p]
    return item_at, list_at


@njit(cache=True, nogil=True)
def follower_bits(item_at: np.ndarray, starts: np.ndarray, words: int) -> np.ndarray:
    """The same lists as bit sets, uint64 (n_events + 1, words)."""
    bits = np.zeros((len(starts) - 1, words), np.uint64)
    for p in range(len(starts) - 1):
        for k in range(starts[p], starts[p + 1]):
            bits[p, item_at[k] >> 6] |= np.uint64(1) << np.uint64(item_at[k] & 63)
    return bits
