"""The event loop: draw the next event from exactly known probabilities, live through it, go on."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import njit

from behavio.simulate.effects import action_effect
from behavio.simulate.hazards import (
    CONSENT,
    LOOK_AHEAD,
    SENT,
    SHOWN,
    STAGE,
    Bins,
    N,
    State,
    cut_bins,
    far_hazards,
    fill_rates,
    message_of,
    reset,
)
from behavio.simulate.state import TOP_STAGE, live_through, stage_odds
from behavio.simulate.world import Population, World

SURE = 1e-6
ACTION_CODES = np.array((-1, 0, 1, 2, SENT))
"""Nothing, then what the company can do."""


class Track(NamedTuple):
    """What happened to some HCPs, one row per event; `effects` has one row per HCP and date.

    case int64, time int64 (s since start), what int8, wave int16 (-1: no campaign), message int16 (-1: none),
    stage int8 (after the event), odds float32 (n, 14) true probability of each activity before the draw,
    density float64 (n,) log density of the waiting time per day, allowed int8 (n_hcps · n_dates,) whether
    email may be sent, effects float32 (n_hcps · n_dates, 5)
    """

    case: np.ndarray
    time: np.ndarray
    what: np.ndarray
    wave: np.ndarray
    message: np.ndarray
    stage: np.ndarray
    odds: np.ndarray
    density: np.ndarray
    allowed: np.ndarray
    effects: np.ndarray


class Draw(NamedTuple):
    """The event just drawn: time, what, share of wave emails in its bin, log density; arrays of one."""

    time: np.ndarray
    what: np.ndarray
    wave: np.ndarray
    density: np.ndarray


def new_track(n_events: int, n_effects: int) -> Track:
    """Room for `n_events` events and `n_effects` rows of effects."""
    return Track(
        np.empty(n_events, np.int64),
        np.empty(n_events, np.int64),
        np.empty(n_events, np.int8),
        np.empty(n_events, np.int16),
        np.empty(n_events, np.int16),
        np.empty(n_events, np.int8),
        np.empty((n_events, N), np.float32),
        np.empty(n_events, np.float64),
        np.empty(n_effects, np.int8),
        np.empty((n_effects, ACTION_CODES.size), np.float32),
    )


@njit(cache=True, nogil=True)
def uniform(seed: np.ndarray) -> float:
    """Next number in [0, 1) of this HCP's own stream (splitmix64, Steele, Lea & Flood 2014)."""
    seed[0] += np.uint64(0x9E3779B97F4A7C15)
    z = seed[0]
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    z = z ^ (z >> np.uint64(31))
    return float(z >> np.uint64(11)) * (1.0 / 9007199254740992.0)


@njit(cache=True, nogil=True)
def pick(rates: np.ndarray, total: float, u: float) -> int:
    """Index drawn in proportion to `rates`."""
    left = u * total
    found = 0
    for k in range(rates.size):
        if rates[k] > 0:
            found = k
            left -= rates[k]
            if left < 0:
                break
    return found


@njit(cache=True, nogil=True)
def settle(
    rates: np.ndarray, total: float, start: float, aim: float, spent: float, u: float, draw: Draw
) -> None:
    """The event falls into the bin at `start`: when, what, and the log density of the waiting time."""
    draw.time[0] = start + (aim - spent) / total
    draw.what[0] = pick(rates, total, u)
    draw.density[0] = np.log(total) - aim


@njit(cache=True, nogil=True)
def draw_next(
    world: World,
    people: Population,
    i: int,
    state: State,
    bins: Bins,
    now: float,
    seed: np.ndarray,
    odds: np.ndarray,
    draw: Draw,
) -> None:
    """Draw the event after `now` into `draw`, and put the exact probability of each activity into `odds`.

    When the chance of still waiting falls below one in a million, or after 400 days, hazards stay constant.
    """
    odds[:] = 0.0
    aim, u = -np.log(1.0 - uniform(seed)), uniform(seed)
    spent, alive, drawn, size = 0.0, 1.0, False, 16
    a, until, company = now + 2.0, now + LOOK_AHEAD, size > 0
    while a < until and alive > SURE:
        n = cut_bins(world, a, now, size, until, bins)
        fill_rates(world, people, i, state, company, n, bins)
        for k in range(n):
            total = bins.rates[k].sum()
            if total <= 0:
                continue
            step = total * (bins.edge[k + 1] - bins.edge[k])
            after = alive * np.exp(-step)
            share = (alive - after) / total
            for j in range(N):
                odds[j] += share * bins.rates[k, j]
            if not drawn and spent + step >= aim:
                drawn = True
                settle(bins.rates[k], total, bins.edge[k], aim, spent, u, draw)
                draw.wave[0] = bins.wave[k] / bins.rates[k, SENT] if draw.what[0] == SENT else 0.0
            spent += step
            alive = after
            if alive <= SURE:
                break
        a, size = bins.edge[n], 64
    far_hazards(world, people, i, bins.rates[0])
    total = bins.rates[0].sum()
    for j in range(N):
        odds[j] += alive * bins.rates[0, j] / total
    if not drawn:
        settle(bins.rates[0], total, a, aim, spent, u, draw)
        draw.wave[0] = 0.0


@njit(cache=True, nogil=True)
def move_stage(people: Population, i: int, state: State, what: int, gap: float, u: float) -> None:
    """Let the adoption stage move with an event."""
    up, down = stage_odds(people, i, what, gap)
    if u < up:
        state.counts[STAGE] = min(TOP_STAGE, state.counts[STAGE] + 1)
    elif u < up + down:
        state.counts[STAGE] = max(0, state.counts[STAGE] - 1)


@njit(cache=True, nogil=True)
def simulate_cases(
    world: World,
    people: Population,
    first: int,
    stop: int,
    as_of: np.ndarray,
    acts: np.ndarray,
    state: State,
    other: State,
    bins: Bins,
    track: Track,
) -> int:
    """Live the HCPs `first` to `stop`; returns the number of events, -1 when `track` is too small.

    as_of   float64, ascending: effects are computed from the events before each
    acts    float64, when the company would act, at or after each `as_of`
    """
    n = 0
    odds, seed = np.zeros(N), np.zeros(1, dtype=np.uint64)
    draw = Draw(np.zeros(1), np.zeros(1, dtype=np.int64), np.zeros(1), np.zeros(1))
    for i in range(first, stop):
        reset(state, people, i)
        seed[0] = people.key[i]
        now, due = 0.0, 0
        while True:
            draw_next(world, people, i, state, bins, now, seed, odds, draw)
            at = np.floor(draw.time[0])
            while due < as_of.size and as_of[due] <= at:
                row = (i - first) * as_of.size + due
                track.allowed[row] = state.counts[CONSENT]
                for k in range(ACTION_CODES.size):
                    track.effects[row, k] = action_effect(
                        world, people, i, state, other, bins, acts[due], ACTION_CODES[k]
                    )
                due += 1
            if at >= world.end_s:
                break
            if n >= track.case.size:
                return -1
            what = draw.what[0]
            wave = -1
            if what == SENT and uniform(seed) < draw.wave[0]:
                wave = world.wave_of_day[int(draw.time[0] / 86_400.0)]
            track.case[n], track.time[n], track.what[n], track.wave[n] = i, int(at), what, wave
            track.message[n] = -1
            if 3 <= what <= SHOWN or (what == SENT and wave < 0):
                track.message[n] = message_of(world, people, i, state)
            track.odds[n] = odds
            track.density[n] = draw.density[0] + np.log(86_400.0)
            live_through(state, what, at, wave)
            move_stage(people, i, state, what, at - now, uniform(seed))
            track.stage[n] = state.counts[STAGE]
            n += 1
            now = at
    return n
