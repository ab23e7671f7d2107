"""Where the next event of a pattern may lie: windows over moments, and over the events in them.

A moment is a run of events of one case that count as happening together; without such runs every event is
its own moment. Windows never move back as one goes on in a case, which the miner and the matcher rely on.
"""

from __future__ import annotations

import numpy as np

from behavio.kernels.ready import njit


@njit(cache=True, nogil=True)
def moments(
    offsets: np.ndarray, times: np.ndarray, kind: np.ndarray, apart: int
) -> tuple[np.ndarray, np.ndarray]:
    """Number of each event's moment (int64, rising over the log), and where each case's moments start.

    kind   int32 (n_events,): events of one kind not 0 that follow each other within `apart` µs are together
    apart  negative: every event is its own moment; else events at the very same time are together too
    """
    moment_of = np.empty(len(times), np.int64)
    starts = np.empty(len(offsets), np.int64)
    n = np.int64(0)
    for c in range(len(offsets) - 1):
        starts[c] = n
        for i in range(offsets[c], offsets[c + 1]):
            together = False
            if i > offsets[c] and apart >= 0:
                wait = times[i] - times[i - 1]
                together = wait == 0 or (kind[i] != 0 and kind[i] == kind[i - 1] and wait <= apart)
            if not together:
                n += 1
            moment_of[i] = n - 1
    starts[-1] = n
    return moment_of, starts


@njit(cache=True, nogil=True)
def windows(
    starts: np.ndarray,
    begins: np.ndarray,
    ends: np.ndarray,
    in_events: tuple[int, int, int],
    in_time: tuple[int, int, int],
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """For each moment: first one that may come next, first one that is too late, first one past the span.

    starts     int64 (n_cases + 1,), moments of each case
    begins     int64 (n_moments,), µs of its first event; ends of its last
    in_events  least gap (1: the next moment), greatest gap (0: any), moments in the whole pattern (0: any)
    in_time    least gap, greatest gap, whole span in µs; negative: any
    """
    n = len(begins)
    first, last, span = np.empty(n, np.int64), np.empty(n, np.int64), np.empty(n, np.int64)
    for c in range(len(starts) - 1):
        stop = starts[c + 1]
        a = b = d = starts[c]
        for i in range(starts[c], stop):
            a = max(a, min(stop, i + max(in_events[0], 1)))
            while in_time[0] > 0 and a < stop and begins[a] - ends[i] < in_time[0]:
                a += 1
            limit = stop if in_events[1] == 0 else min(stop, i + in_events[1] + 1)
            b = max(b, i + 1)
            while b < limit and (in_time[1] < 0 or begins[b] - ends[i] <= in_time[1]):
                b += 1
            limit = stop if in_events[2] == 0 else min(stop, i + in_events[2])
            d = max(d, i + 1)
            while d < limit and (in_time[2] < 0 or ends[d] - begins[i] <= in_time[2]):
                d += 1
            first[i], last[i], span[i] = a, max(a, b), d
    return first, last, span


@njit(cache=True, nogil=True)
def per_event(moment_of: np.ndarray, window: np.ndarray, n_moments: int) -> np.ndarray:
    """A window over moments as the first event of that moment or a later one, int64 (n_events,)."""
    place = np.empty(n_moments + 1, np.int64)
    at = len(moment_of)
    for m in range(n_moments, -1, -1):
        while at > 0 and moment_of[at - 1] >= m:
            at -= 1
        place[m] = at
    events = np.empty(len(moment_of), np.int64)
    for i in range(len(moment_of)):
        events[i] = place[window[moment_of[i]]]
    return events
