"""A flow of steps walked several times by one case: every first step begins it anew."""

from __future__ import annotations

import numpy as np

from behavio.kernels.ready import njit

RUNNING, FINISHED, STOPPED = 0, 1, 2


@njit(cache=True, nogil=True)
def walk(
    fits: np.ndarray,
    offsets: np.ndarray,
    times: np.ndarray,
    needs: np.ndarray,
    most: np.ndarray,
    within: np.ndarray,
    opener: int,
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Occurrences in order of cases, then of their beginnings.

    fits    int64 (n_events,): bit s is set when the event may be step s
    needs   int64 (n_steps,): how often a step comes at least, 0: it may be left out
    most    int64 (n_steps,): how often it comes at most, 0: any number
    within  int64 (n_steps,): µs since the event taken before; −1: any time
    opener  the step that begins the flow
    Each event goes to the newest occurrence that waits for it and is still in time, else it begins one if it
    may be the opener, else it belongs to none. Returns case int64 (n,), state int8 (n,), the step each has
    come to int64 (n,), the required one it waits for (−1: none), its last event int64 (n,), and when each
    step was first taken int64 (n, n_steps), −1: never.
    """
    n_steps, room = len(needs), 0
    for i in range(len(fits)):
        room += (fits[i] >> opener) & 1
    case, last, due = np.empty(room, np.int64), np.empty(room, np.int64), np.empty(room, np.int64)
    state, step, count = np.zeros(room, np.int8), np.empty(room, np.int64), np.zeros(room, np.int64)
    taken = np.full((room, n_steps), np.int64(-1))
    n = 0
    for c in range(len(offsets) - 1):
        base = n
        for i in range(offsets[c], offsets[c + 1]):
            if fits[i] == 0:
                continue
            chosen, place = -1, -1
            for o in range(n - 1, base - 1, -1):
                if state[o] != RUNNING:
                    continue
                gap = times[i] - times[last[o]]
                if due[o] != step[o] and 0 <= within[due[o]] < gap:
                    state[o] = STOPPED
                    continue
                place = _place(fits[i], step[o], count[o], gap, needs, most, within, opener)
                if place >= 0:
                    chosen = o
                    break
            if chosen < 0:
                if not (fits[i] >> opener) & 1:
                    continue
                chosen, place = n, opener
                case[n], step[n] = c, opener
                n += 1
            if place != step[chosen]:
                step[chosen], count[chosen] = place, 0
            count[chosen] += 1
            last[chosen] = i
            if taken[chosen, place] < 0:
                taken[chosen, place] = times[i]
            due[chosen] = _waits_for(step[chosen], count[chosen], needs)
            if due[chosen] < 0:
                state[chosen] = FINISHED
    return case[:n], state[:n], step[:n], due[:n], last[:n], taken[:n]


@njit(cache=True, nogil=True)
def _waits_for(step: int, count: int, needs: np.ndarray) -> int:
    """The next step that must come, −1 when none is left."""
    if count < needs[step]:
        return step
    for s in range(step + 1, len(needs)):
        if needs[s] > 0:
            return s
    return -1


@njit(cache=True, nogil=True)
def _place(
    fits: int,
    step: int,
    count: int,
    gap: int,
    needs: np.ndarray,
    most: np.ndarray,
    within: np.ndarray,
    opener: int,
) -> int:
    """Which step of an occurrence an event may be, −1 for none: the next ones first, then the same again."""
    if count >= needs[step]:
        for s in range(step + 1, len(needs)):
            if (fits >> s) & 1 and (within[s] < 0 or gap <= within[s]):
                return s
            if needs[s] > 0:
                break
    again = count < needs[step] or (step != opener and (most[step] == 0 or count < most[step]))
    return step if (fits >> step) & 1 and again else -1
