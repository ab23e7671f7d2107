"""Cases against the calendar: months they are active in, states at dates, cuts by gaps and windows."""

from __future__ import annotations

import numpy as np

from behavio.kernels.ready import njit

NEW, ACTIVE, RETURNED, DORMANT, LOST = 0, 1, 2, 3, 4


@njit(cache=True, nogil=True)
def active_months(
    tokens: np.ndarray, offsets: np.ndarray, times: np.ndarray, counted: np.ndarray, bounds: np.ndarray
) -> np.ndarray:
    """Cases by first month and months since: int64 (n_months, n_months).

    bounds   int64 (n_months + 1,) µs: where months begin, and the end of the last one
    counted  bool (n_activities,): which activities count as being active
    """
    n_months = len(bounds) - 1
    found = np.zeros((n_months, n_months), np.int64)
    for c in range(len(offsets) - 1):
        cohort, month, counted_month = -1, 0, -1
        for i in range(offsets[c], offsets[c + 1]):
            if not counted[tokens[i]]:
                continue
            while times[i] >= bounds[month + 1]:
                month += 1
            if cohort < 0:
                cohort = month
            if month != counted_month:
                found[cohort, month - cohort] += 1
                counted_month = month
    return found


@njit(cache=True, nogil=True)
def states_at(
    tokens: np.ndarray,
    offsets: np.ndarray,
    times: np.ndarray,
    counted: np.ndarray,
    dates: np.ndarray,
    dormant: int,
    lost: int,
) -> tuple[np.ndarray, np.ndarray]:
    """Lifecycle state of each case at dates (µs, rising): int64 (n_dates, 5); the last one, int8 (n_cases,).

    dormant, lost  µs of silence after which a case is called so
    Before its first event a case has no state (−1). New and returned cases are so for `dormant` µs after the
    first event, or after the event that ended a silence of more than `dormant`.
    """
    found = np.zeros((len(dates), 5), np.int64)
    final = np.full(len(offsets) - 1, -1, np.int8)
    for c in range(len(offsets) - 1):
        i, last, began, back = offsets[c], np.int64(-1), np.int64(-1), np.int64(-1)
        for d in range(len(dates)):
            while i < offsets[c + 1] and times[i] < dates[d]:
                if counted[tokens[i]]:
                    if began < 0:
                        began = i
                    elif times[i] - times[last] > dormant:
                        back = i
                    last = i
                i += 1
            if began < 0:
                continue
            silent = dates[d] - times[last]
            state = ACTIVE
            if silent > lost:
                state = LOST
            elif silent > dormant:
                state = DORMANT
            elif dates[d] - times[began] <= dormant:
                state = NEW
            elif back >= 0 and dates[d] - times[back] <= dormant:
                state = RETURNED
            found[d, state] += 1
            final[c] = state
    return found, final


@njit(cache=True, nogil=True)
def cut_at_gaps(offsets: np.ndarray, times: np.ndarray, gap: int) -> tuple[np.ndarray, np.ndarray]:
    """Offsets of the runs of each case without a gap above `gap` µs, int64, and the case of each run."""
    n = len(offsets) - 1
    for c in range(len(offsets) - 1):
        for i in range(np.uint64(offsets[c] + 1), np.uint64(offsets[c + 1])):
            n += times[i] - times[i - np.uint64(1)] > gap
    cuts, parent = np.empty(n + 1, np.int64), np.empty(n + 1, np.int64)  # one more: written, then overwritten
    k = np.uint64(0)
    for c in range(len(offsets) - 1):
        cuts[k], parent[k] = offsets[c], c
        k += np.uint64(1)
        for i in range(np.uint64(offsets[c] + 1), np.uint64(offsets[c + 1])):
            cuts[k], parent[k] = i, c
            k += np.uint64(times[i] - times[i - np.uint64(1)] > gap)
    cuts[n] = offsets[-1]
    return cuts, parent[:n]


@njit(cache=True, nogil=True)
def cut_at_windows(
    offsets: np.ndarray, times: np.ndarray, start: np.ndarray, end: np.ndarray, case: np.ndarray
) -> np.ndarray:
    """Runs of events inside windows: int64 (n_runs, 4) case, window, first event, end.

    start, end  int64 (n_windows,) µs, the end not included
    case        int64 (n_windows,)  the case a window belongs to, −1: every case
    """
    found = np.empty((1024, 4), np.int64)
    n = 0
    for w in range(len(start)):
        cases = range(case[w], case[w] + 1) if case[w] >= 0 else range(len(offsets) - 1)
        for c in cases:
            mine = times[offsets[c] : offsets[c + 1]]
            first = np.searchsorted(mine, start[w])
            last = np.searchsorted(mine, end[w])
            if last <= first:
                continue
            if n == len(found):
                larger = np.empty((2 * n, 4), np.int64)
                larger[:n] = found
                found = larger
            found[n, 0], found[n, 1] = c, w
            found[n, 2], found[n, 3] = offsets[c] + first, offsets[c] + last
            n += 1
    return found[:n]
