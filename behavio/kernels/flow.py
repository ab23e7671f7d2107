"""Events of a case laid onto the ordered places of a plan: as many as possible, required ones first, few
late.

A step that may come several times has several places. The best assignment is found exactly: best[s, j] is the
best score of an assignment that ends with event j at place s. What came before it lies at an earlier place;
the best of all events in time is kept in a queue whose scores fall, so each event costs places, not events.
"""

from __future__ import annotations

import numpy as np

from behavio.kernels.ready import njit

NONE = np.int64(-1) << np.int64(60)
REQUIRED, TAKEN = np.int64(1) << np.int64(44), np.int64(1) << np.int64(22)
"""What a required place and any place count: one late event less never outweighs one taken more."""


@njit(cache=True, nogil=True)
def lay(
    fits: np.ndarray,
    offsets: np.ndarray,
    times: np.ndarray,
    step_of: np.ndarray,
    required: np.ndarray,
    repeats: np.ndarray,
    within: np.ndarray,
) -> np.ndarray:
    """The place of each event, int16 (n_events,): −1 where it has none, −2 where no step is meant.

    fits      int64 (n_events,): bit s is set when the event may be step s
    step_of   int64 (n_places,), rising; required, repeats bool (n_places,): the place must be taken, may be
              taken any number of times (the last place of a step, not required)
    within    int64 (n_places,): µs since the event taken for an earlier step; −1: any time
    Maximised, in this order: required places taken, events placed, events not late. Ties go to earlier
    events.
    """
    placed = np.full(len(fits), -2, np.int16)
    most = 0
    for c in range(len(offsets) - 1):
        n = 0
        for i in range(offsets[c], offsets[c + 1]):
            n += fits[i] != 0
        most = max(most, n)
    room = max(most, 1)
    n_places = len(step_of)
    events = np.empty(room, np.int64)
    best = np.empty((n_places, room), np.int64)
    came_place, came_event = np.empty((n_places, room), np.int16), np.empty((n_places, room), np.int64)
    queue, queue_score = np.empty((n_places, room), np.int64), np.empty((n_places, room), np.int64)
    queue_place = np.empty((n_places, room), np.int16)
    for c in range(len(offsets) - 1):
        n = 0
        for i in range(offsets[c], offsets[c + 1]):
            if fits[i] != 0:
                events[n] = i
                placed[i] = -1
                n += 1
        if n:
            _lay_case(
                fits, times, events[:n], step_of, required, repeats, within,
                best, came_place, came_event, queue, queue_score, queue_place, placed,
            )  # fmt: skip
    return placed


@njit(cache=True, nogil=True)
def _lay_case(
    fits: np.ndarray,
    times: np.ndarray,
    events: np.ndarray,
    step_of: np.ndarray,
    required: np.ndarray,
    repeats: np.ndarray,
    within: np.ndarray,
    best: np.ndarray,
    came_place: np.ndarray,
    came_event: np.ndarray,
    queue: np.ndarray,
    queue_score: np.ndarray,
    queue_place: np.ndarray,
    placed: np.ndarray,
) -> None:
    n_places = len(step_of)
    head, tail = np.zeros(n_places, np.int64), np.zeros(n_places, np.int64)
    any_score, same_score = np.full(n_places, NONE), np.full(n_places, NONE)
    any_event, any_place = np.zeros(n_places, np.int64), np.zeros(n_places, np.int64)
    same_event, same_place = np.zeros(n_places, np.int64), np.zeros(n_places, np.int64)
    top, top_place, top_event = NONE, 0, 0
    for j in range(len(events)):
        now = times[events[j]]
        for s in range(n_places):
            best[s, j] = NONE
            if not (fits[events[j]] >> step_of[s]) & 1:
                continue
            score, place, event = np.int64(0), np.int64(-1), np.int64(-1)
            if same_score[s] > score:
                score, place, event = same_score[s], same_place[s], same_event[s]
            if within[s] >= 0:
                while head[s] < tail[s] and now - times[events[queue[s, head[s]]]] > within[s]:
                    head[s] += 1
                if head[s] < tail[s] and queue_score[s, head[s]] > score:
                    k = head[s]
                    score, place, event = queue_score[s, k], np.int64(queue_place[s, k]), queue[s, k]
                if any_score[s] - 1 > score:
                    score, place, event = any_score[s] - 1, any_place[s], any_event[s]
            elif any_score[s] > score:
                score, place, event = any_score[s], any_place[s], any_event[s]
            best[s, j] = score + TAKEN + (REQUIRED if required[s] else 0)
            came_place[s, j], came_event[s, j] = place, event
            if best[s, j] > top:
                top, top_place, top_event = best[s, j], s, j
        _offer(
            j, step_of, repeats, within, best, head, tail, queue, queue_score, queue_place,
            any_score, any_place, any_event, same_score, same_place, same_event,
        )  # fmt: skip
    place, event = np.int64(top_place), np.int64(top_event)
    while place >= 0:
        placed[events[event]] = place
        place, event = np.int64(came_place[place, event]), came_event[place, event]


@njit(cache=True, nogil=True)
def _offer(
    j: int,
    step_of: np.ndarray,
    repeats: np.ndarray,
    within: np.ndarray,
    best: np.ndarray,
    head: np.ndarray,
    tail: np.ndarray,
    queue: np.ndarray,
    queue_score: np.ndarray,
    queue_place: np.ndarray,
    any_score: np.ndarray,
    any_place: np.ndarray,
    any_event: np.ndarray,
    same_score: np.ndarray,
    same_place: np.ndarray,
    same_event: np.ndarray,
) -> None:
    """Make event j known to every place that may come after it."""
    earlier, earlier_place = NONE, 0  # best of the places of earlier steps
    mine, mine_place = NONE, 0  # best of the places of the same step before this one
    for s in range(len(step_of)):
        if s and step_of[s] != step_of[s - 1]:
            if mine > earlier:
                earlier, earlier_place = mine, mine_place
            mine = NONE
        if earlier > any_score[s]:
            any_score[s], any_place[s], any_event[s] = earlier, earlier_place, j
        if within[s] >= 0 and earlier > NONE:
            while tail[s] > head[s] and queue_score[s, tail[s] - 1] < earlier:
                tail[s] -= 1
            queue[s, tail[s]], queue_score[s, tail[s]] = j, earlier
            queue_place[s, tail[s]] = earlier_place
            tail[s] += 1
        if mine > same_score[s]:
            same_score[s], same_place[s], same_event[s] = mine, mine_place, j
        if best[s, j] > mine:
            mine, mine_place = best[s, j], s
        if repeats[s] and best[s, j] > same_score[s]:
            same_score[s], same_place[s], same_event[s] = best[s, j], s, j
