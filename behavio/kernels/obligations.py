"""Rules with time limits, event by event: which event calls for another, whether it came, and which it was.

Events of a case are in order; "after" means a later place, even at the same time. States of an event: 1 what
it calls for came, −1 it did not (or what is forbidden did), 2 it may still come, 0 it calls for nothing.
"""

from __future__ import annotations

import numpy as np

from behavio.kernels.ready import njit

ANYWHERE, ALTERNATE, CHAIN = 0, 1, 2
KEPT, BROKEN, PENDING = 1, -1, 2


@njit(cache=True, nogil=True)
def after(
    calling: np.ndarray,
    wanted: np.ndarray,
    offsets: np.ndarray,
    times: np.ndarray,
    still: np.ndarray,
    now: int,
    mode: int,
    within: int,
) -> tuple[np.ndarray, np.ndarray]:
    """Each calling event wants a wanted one after it: state int8 (n_events,), and the event that came or −1.

    calling, wanted  bool (n_events,)      still  bool (n_cases,): the case may go on until after `now` (µs)
    mode     ANYWHERE later, ALTERNATE: before the next calling event, CHAIN: as the very next event
    within   µs it may take at most; −1: any time
    """
    state, other = np.zeros(len(times), np.int8), np.full(len(times), -1, np.int64)
    for c in range(len(offsets) - 1):
        start, stop = offsets[c], offsets[c + 1]
        answer, again = np.int64(-1), np.int64(-1)
        for i in range(stop - 1, start - 1, -1):
            if calling[i]:
                found = answer
                if mode == CHAIN and found != i + 1:
                    found = np.int64(-1)
                if mode == ALTERNATE and again >= 0 and found > again:
                    found = np.int64(-1)
                if found >= 0 and (within < 0 or times[found] - times[i] <= within):
                    state[i], other[i] = KEPT, found
                else:
                    may = still[c] and (within < 0 or now - times[i] <= within)
                    if mode == CHAIN:
                        may = may and i == stop - 1
                    elif mode == ALTERNATE:
                        may = may and again < 0
                    state[i] = PENDING if may else BROKEN
                again = np.int64(i)
            if wanted[i]:
                answer = np.int64(i)
    return state, other


@njit(cache=True, nogil=True)
def before(
    calling: np.ndarray, wanted: np.ndarray, offsets: np.ndarray, times: np.ndarray, mode: int, within: int
) -> tuple[np.ndarray, np.ndarray]:
    """Each calling event wants a wanted one before it; as `after`, but nothing is ever pending."""
    state, other = np.zeros(len(times), np.int8), np.full(len(times), -1, np.int64)
    for c in range(len(offsets) - 1):
        cause, again = np.int64(-1), np.int64(-1)
        for i in range(offsets[c], offsets[c + 1]):
            if calling[i]:
                found = cause
                if mode == CHAIN and found != i - 1:
                    found = np.int64(-1)
                if mode == ALTERNATE and found < again:
                    found = np.int64(-1)
                kept = found >= 0 and (within < 0 or times[i] - times[found] <= within)
                state[i] = KEPT if kept else BROKEN
                other[i] = found if kept else -1
                again = np.int64(i)
            if wanted[i]:
                cause = np.int64(i)
    return state, other


@njit(cache=True, nogil=True)
def nth(marked: np.ndarray, offsets: np.ndarray, n: int) -> np.ndarray:
    """The n-th marked event of each case, int64 (n_cases,); −1 where there are fewer."""
    found = np.full(len(offsets) - 1, -1, np.int64)
    for c in range(len(offsets) - 1):
        seen = 0
        for i in range(offsets[c], offsets[c + 1]):
            if marked[i]:
                seen += 1
                if seen == n:
                    found[c] = i
                    break
    return found


@njit(cache=True, nogil=True)
def between(
    marked: np.ndarray,
    offsets: np.ndarray,
    times: np.ndarray,
    case: np.ndarray,
    start: np.ndarray,
    end: np.ndarray,
    limit: np.ndarray,
) -> tuple[np.ndarray, np.ndarray]:
    """Marked events of a case in [start, end), and the first of them beyond `limit` or −1, per row.

    case, start, end (µs), limit  int64 (n_rows,); case −1: nobody
    """
    count, beyond = np.zeros(len(case), np.int64), np.full(len(case), -1, np.int64)
    for r in range(len(case)):
        if case[r] < 0:
            continue
        for i in range(offsets[case[r]], offsets[case[r] + 1]):
            if marked[i] and start[r] <= times[i] < end[r]:
                count[r] += 1
                if count[r] == limit[r] + 1:
                    beyond[r] = i
    return count, beyond
