"""Living through an event: what it changes in the state of an HCP."""

from __future__ import annotations

from numba import njit

from behavio.simulate.hazards import (
    CALL,
    CALLS,
    CHANNEL,
    CLICK,
    CONSENT,
    CYCLE,
    DAY,
    DOWNLOAD,
    EVENT,
    IGNORED,
    MESSAGE,
    N_CALLS,
    N_SHOWN,
    N_TOUCHES,
    NEGATIVE,
    OPEN,
    PHONE,
    POSITIVE,
    SENT,
    SHOWN,
    SPOKEN,
    UNSUBSCRIBE,
    VISIT,
    WAVE,
    State,
)
from behavio.simulate.world import Population

UP_POSITIVE, UP_VISIT, UP_DOWNLOAD, UP_EVENT = 0.16, 0.04, 0.08, 0.12
DOWN_NEGATIVE, DOWN_SILENCE, SILENCE = 0.25, 0.15, 60 * DAY
TOP_STAGE = 4


@njit(cache=True, nogil=True)
def live_through(state: State, what: int, at: float, wave: int) -> None:
    """Update everything but the stage for event `what` at `at`; `wave` ≥ 0 when it is a campaign email."""
    count = state.counts
    state.last[what] = at
    if what <= PHONE:
        cycle = int(at / DAY) // 91
        count[CALLS] = count[CALLS] + 1 if count[CYCLE] == cycle else 1
        count[CYCLE] = cycle
        count[N_CALLS] += 1
        count[CHANNEL] = what
        count[SPOKEN] = 0
        state.last[CALL] = at
    elif what <= SHOWN:
        count[SPOKEN] += 1
        count[N_SHOWN] += 1
        state.last[MESSAGE] = at
    elif what == SENT:
        count[IGNORED] += 1
        if wave >= 0:
            count[WAVE] = wave
    elif what in (OPEN, CLICK):
        count[IGNORED] = 0
    elif what == UNSUBSCRIBE:
        count[CONSENT] = 0
    if what <= PHONE or what == SENT:
        state.touches[count[N_TOUCHES] % state.touches.size] = at
        count[N_TOUCHES] += 1


@njit(cache=True, nogil=True)
def stage_odds(people: Population, i: int, what: int, gap: float) -> tuple[float, float]:
    """Probability that the adoption stage moves up, and down, with event `what` after `gap` seconds."""
    up = 0.0
    if what == POSITIVE:
        up = UP_POSITIVE
    elif what == VISIT:
        up = UP_VISIT
    elif what == DOWNLOAD:
        up = UP_DOWNLOAD
    elif what == EVENT:
        up = UP_EVENT
    up = min(0.9, up * people.readiness[i])
    down = 0.0
    if what == NEGATIVE:
        down = DOWN_NEGATIVE
    elif gap > SILENCE:
        down = DOWN_SILENCE
    return up, down
