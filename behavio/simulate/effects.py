"""The true effect of every possible action: what an HCP answers to it, and without it.

For an HCP with the history it has at some time, let the company do one thing at that time and then stay
silent for 14 days. The response probability is that of at least one favourable response (positive reaction,
open, click, portal visit, download, event attended) in those 14 days; without the action the company is
silent from the start. While the company is silent the first favourable response follows from the hazards of
the state alone, so its probability is 1 − exp(−∫ Σ_a λ_a dt), the integral being a sum over bins: exact, no
sampling. Inside a call the outcomes of its up to three key messages are walked through one by one with their
probabilities (no further message, a reaction, a negative one with or without a step back in stage); the
integral over the following days starts from each of these states. The one simplification: a call and its
messages are taken to be over 60 s after it began.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from behavio.simulate.hazards import (
    CLICK,
    DAY,
    DOWNLOAD,
    EVENT,
    MAX_MESSAGES,
    MESSAGE,
    N_SHOWN,
    OPEN,
    PHONE,
    SPOKEN,
    STAGE,
    VISIT,
    Bins,
    State,
    cut_bins,
    fill_rates,
    message_of,
)
from behavio.simulate.state import DOWN_NEGATIVE, live_through
from behavio.simulate.world import Population, World

WINDOW = 14 * DAY


@njit(cache=True, nogil=True)
def copy_state(source: State, target: State) -> None:
    """Make `target` equal to `source`."""
    target.last[:] = source.last
    target.counts[:] = source.counts
    target.touches[:] = source.touches


@njit(cache=True, nogil=True)
def quiet_hazard(world: World, people: Population, i: int, state: State, bins: Bins, at: float) -> float:
    """∫ of the hazards of favourable responses over 14 days, company silent, no call running."""
    spoken = state.counts[SPOKEN]
    state.counts[SPOKEN] = MAX_MESSAGES
    last = max(state.last.max(), 0.0)
    total, size = 0.0, len(bins.fit)
    company = size == 0  # never; a constant here would make numba compile fill_rates once more
    a = at
    while a < at + WINDOW:
        n = cut_bins(world, a, last, size, at + WINDOW, bins)
        fill_rates(world, people, i, state, company, n, bins)
        for k in range(n):
            rates = bins.rates[k]
            rate = rates[OPEN] + rates[CLICK] + rates[VISIT] + rates[DOWNLOAD] + rates[EVENT]
            total += rate * (bins.edge[k + 1] - bins.edge[k])
        a = bins.edge[n]
    state.counts[SPOKEN] = spoken
    return total


@njit(cache=True, nogil=True)
def talk_outcomes(world: World, people: Population, i: int, state: State, odds: np.ndarray) -> None:
    """Fill odds (4,): probability of ending the call without a positive reaction, by steps back in stage."""
    odds[:] = 0.0
    running = np.zeros(4)
    running[0] = 1.0
    kind = people.archetype[i]
    stage, shown = state.counts[STAGE], state.counts[N_SHOWN]
    for k in range(MAX_MESSAGES):
        speak = 1.0 - np.exp(-world.message_mass[kind, k])
        after = np.zeros(4)
        for back in range(k + 1):
            p = running[back]
            odds[back] += p * (1.0 - speak)
            state.counts[STAGE] = max(0, stage - back)
            state.counts[N_SHOWN] = shown + k
            message = message_of(world, people, i, state)
            share = world.reactions[kind, state.counts[STAGE], world.category[message // 6, message % 6]]
            after[back] += p * speak * (share[1] + share[3] + share[2] * (1.0 - DOWN_NEGATIVE))
            after[back + 1] += p * speak * share[2] * DOWN_NEGATIVE
        running = after
    odds += running
    state.counts[STAGE] = stage
    state.counts[N_SHOWN] = shown


@njit(cache=True, nogil=True)
def action_effect(
    world: World,
    people: Population,
    i: int,
    before: State,
    state: State,
    bins: Bins,
    at: float,
    action: int,
) -> float:
    """Response probability in 14 days when the company does `action` (-1: nothing), then is silent."""
    copy_state(before, state)
    if action >= 0:
        live_through(state, action, at, min(action, -1))
    if action < 0 or action > PHONE:
        return 1.0 - np.exp(-quiet_hazard(world, people, i, state, bins, at))
    odds = np.zeros(4)
    talk_outcomes(world, people, i, state, odds)
    stage = state.counts[STAGE]
    state.last[MESSAGE] = at + 60.0
    none = 0.0
    for back in range(4):
        state.counts[STAGE] = max(0, stage - back)
        if odds[back] > 0.0:
            none += odds[back] * np.exp(-quiet_hazard(world, people, i, state, bins, at))
    return 1.0 - none
