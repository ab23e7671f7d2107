"""The process of one HCP: competing hazards, piecewise constant, re-evaluated after every event.

Between two events every activity a has a hazard λ_a(t) that is constant on short bins. The bins are cut at
2 s, 20 s, 1, 3, 10, 30 min, 1 and 3 h after the last event, and at 7, 12, 17 and 24 o'clock UTC every day;
400 days after the last event everything becomes constant. Inside a bin [s, s + w) with Λ = Σ_a λ_a the next
event falls into the bin and is a with probability S(s) · λ_a/Λ · (1 − exp(−Λ w)), so

    P(next is a | history) = Σ_bins S(s) · λ_a/Λ · (1 − exp(−Λ w))        with S(s + w) = S(s) · exp(−Λ w)

is exact (Kalbfleisch & Prentice, The Statistical Analysis of Failure Time Data, ch. 8: competing risks with
piecewise constant cause-specific hazards). History enters through the last time of each activity, the
adoption stage, the touches of the last 28 days and a few counts, all held in `State`.

Times are seconds since the start of observation; events lie on whole seconds, at least 2 s apart.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import njit

from behavio.simulate.world import CYCLE_DAYS, Population, World

N = 14
DAY = 86_400.0
FINE = np.array((0.0, 2.0, 20.0, 60.0, 180.0, 600.0, 1800.0, 3600.0, 10800.0))
PART_STARTS = np.array((0.0, 7.0, 12.0, 17.0, 24.0)) * 3600.0
LOOK_AHEAD = 400 * DAY
PRESSURE_DAYS, PRESSURE_FADE = 28.0, 0.4
PORTAL_REST = 1800.0
EMAIL_REST = 4 * DAY
CALL_PHASE, TALK_REST, MESSAGE_SCALE, MAX_MESSAGES = 1200.0, 18.0, 80.0, 3
NO_TIME = -1.0
WAVE_PACE = 4.0
FADED = 1e-9

F2F, VIDEO, PHONE, POSITIVE, NEUTRAL, NEGATIVE, SHOWN, SENT = 0, 1, 2, 3, 4, 5, 6, 7
OPEN, CLICK, VISIT, DOWNLOAD, EVENT, UNSUBSCRIBE, CALL, MESSAGE = 8, 9, 10, 11, 12, 13, 14, 15
STAGE, SPOKEN, WAVE, IGNORED, CALLS, CYCLE, N_SHOWN, CHANNEL, N_CALLS, CONSENT, N_TOUCHES = range(11)


class State(NamedTuple):
    """What the hazards know of the history.

    last      float64 (16,) when each activity happened last (14 any call, 15 any key message), -1 never
    counts    int64 (11,) stage, messages in this call, last wave, emails ignored in a row, calls in this
              cycle, the cycle, messages ever, channel of the last call, calls ever, consent, touches ever
    touches   float64 (256,) times of the last outbound touches, a ring
    """

    last: np.ndarray
    counts: np.ndarray
    touches: np.ndarray


class Bins(NamedTuple):
    """A run of bins with their hazards.

    edge float64 (65,), day and part int64 (64,) day since start and part of the week, fit float64 (64,)
    response under contact pressure, rates float64 (64, 14), wave float64 (64,) part of rates[:, 7] that is a
    campaign wave
    """

    edge: np.ndarray
    day: np.ndarray
    part: np.ndarray
    fit: np.ndarray
    rates: np.ndarray
    wave: np.ndarray


def new_state() -> State:
    """An empty state."""
    return State(np.full(16, NO_TIME), np.zeros(11, dtype=np.int64), np.zeros(256))


def new_bins() -> Bins:
    """Room for 64 bins."""
    whole = np.zeros(64, dtype=np.int64)
    return Bins(np.zeros(65), whole, whole.copy(), np.zeros(64), np.zeros((64, N)), np.zeros(64))


@njit(cache=True, nogil=True)
def reset(state: State, people: Population, i: int) -> None:
    """Put `state` to the start of observation of HCP `i`."""
    state.last[:] = NO_TIME
    state.counts[:] = 0
    state.counts[STAGE] = people.stage[i]
    state.counts[WAVE] = -1
    state.counts[CONSENT] = 1 if people.consent[i] else 0


@njit(cache=True, nogil=True)
def rule_factor(world: World, people: Population, i: int, state: State, row: int) -> float:
    """Area under the bump of one rule given the history, 0 when it is asleep (before drift and pressure)."""
    rule = world.rules[row]
    start = state.last[int(rule[0])]
    if start < 0:
        return 0.0
    then = int(rule[1])
    if rule[6] >= 0:
        lag = start - state.last[int(rule[6])]
        near = state.last[int(rule[6])] >= 0 and lag >= 0 and lag <= abs(rule[7])
        if near != (rule[7] > 0):
            return 0.0
    factor = rule[2]
    if state.last[then] > start:
        factor *= rule[8]
    if rule[10] > 0:
        return factor
    if then in (OPEN, CLICK):
        factor *= people.email[i] * world.stage_digital[state.counts[STAGE]]
        if int(rule[0]) == SENT and state.counts[IGNORED] > 1:
            factor *= max(0.5, 1.0 - 0.12 * (state.counts[IGNORED] - 1))
    elif then in (VISIT, DOWNLOAD):
        factor *= people.portal[i] * world.stage_digital[state.counts[STAGE]]
    elif then == EVENT:
        factor *= people.event[i]
    if int(rule[0]) == CALL or int(rule[0]) == POSITIVE:
        factor *= world.call_fit[people.archetype[i], state.counts[CHANNEL]]
    return factor


@njit(cache=True, nogil=True)
def next_edge(at: float, last: float) -> float:
    """End of the bin that starts at `at`, when the last event was at `last`."""
    of_day = at % DAY
    edge = at - of_day + DAY
    for k in range(1, 4):
        if PART_STARTS[k] > of_day:
            edge = at - of_day + PART_STARTS[k]
            break
    for k in range(1, FINE.size):
        if last + FINE[k] > at:
            return min(edge, last + FINE[k])
    return edge


@njit(cache=True, nogil=True)
def cut_bins(world: World, at: float, last: float, n: int, until: float, bins: Bins) -> int:
    """Cut up to `n` bins from `at` on, the last event at `last`, not past `until`; returns how many."""
    bins.edge[0] = at
    for k in range(n):
        a = bins.edge[k]
        if a >= until:
            return k
        day = int(a / DAY)
        of_day = a - day * DAY
        bins.day[k] = day
        bins.part[k] = ((day + world.first_weekday) % 7) * 4
        for p in range(1, 4):
            if of_day >= PART_STARTS[p]:
                bins.part[k] += 1
        bins.edge[k + 1] = min(next_edge(a, last), until)
    return n


@njit(cache=True, nogil=True)
def pressure_fit(optimum: float, n_touches: int) -> float:
    """How far contact pressure lowers responses: 1 up to the HCP's own optimum, then fading."""
    return float(np.exp(-PRESSURE_FADE * max(0.0, n_touches - optimum)))


@njit(cache=True, nogil=True)
def weigh_touches(optimum: float, state: State, n: int, bins: Bins) -> None:
    """Fill `fit`: response under the outbound touches of the 28 days before each bin."""
    total, size = state.counts[N_TOUCHES], state.touches.size
    seen, fit = -1, 1.0
    recent = min(total, size)
    for k in range(n):
        oldest = bins.edge[k] - PRESSURE_DAYS * DAY
        while recent > 0 and state.touches[(total - recent) % size] < oldest:
            recent -= 1
        if recent != seen:
            seen, fit = recent, pressure_fit(optimum, recent)
        bins.fit[k] = fit


@njit(cache=True, nogil=True)
def message_of(world: World, people: Population, i: int, state: State) -> int:
    """The key message the rep turns to next, as brand · 6 + place."""
    brand = (people.offset[i] + state.counts[N_CALLS]) % 2
    turn = (people.offset[i] + state.counts[N_SHOWN]) % 3
    return int(brand * 6 + world.stage_messages[state.counts[STAGE], turn])


@njit(cache=True, nogil=True)
def add_talk(world: World, people: Population, i: int, state: State, n: int, bins: Bins) -> None:
    """Key messages and reactions while a call is running."""
    spoken = state.counts[SPOKEN]
    if state.last[CALL] < 0 or spoken >= MAX_MESSAGES:
        return
    kind = people.archetype[i]
    start = max(state.last[CALL], state.last[MESSAGE]) + TALK_REST
    for k in range(n):
        a, b = bins.edge[k], bins.edge[k + 1]
        if a - state.last[CALL] >= CALL_PHASE:
            return
        if a < start:
            continue
        fade = np.exp((start - a) / MESSAGE_SCALE) - np.exp((start - b) / MESSAGE_SCALE)
        rate = world.message_mass[kind, spoken] * fade / (b - a)
        message = message_of(world, people, i, state)
        shares = world.reactions[kind, state.counts[STAGE], world.category[message // 6, message % 6]]
        for j in range(4):
            bins.rates[k, POSITIVE + j] += rate * shares[j]


@njit(cache=True, nogil=True)
def add_plan(world: World, people: Population, i: int, state: State, n: int, bins: Bins) -> None:
    """Planned calls and campaign waves."""
    mailed = state.counts[CONSENT] == 1 and not people.holdout[i]
    for k in range(n):
        bins.wave[k] = 0.0
        office = world.company_week[bins.part[k]]
        if office <= 0:
            continue
        day = bins.day[k]
        cycle = day // CYCLE_DAYS
        left = people.calls[i] - (state.counts[CALLS] if state.counts[CYCLE] == cycle else 0)
        if left > 0:
            pace = left / (((cycle + 1) * CYCLE_DAYS - day + 4) * DAY) * office
            if state.last[CALL] >= 0:
                pace *= min(1.0, max(0.0, (bins.edge[k] - state.last[CALL]) / DAY - 2.0) / 5.0)
            for j in range(3):
                bins.rates[k, j] += pace * people.split[i, j]
        if mailed and day < world.wave_of_day.size and world.wave_of_day[day] > state.counts[WAVE]:
            bins.wave[k] = WAVE_PACE / DAY * office
            bins.rates[k, SENT] += bins.wave[k]


@njit(cache=True, nogil=True)
def meeting_shape(world: World, region: int, day: int, part: int) -> float:
    """How much more likely an event is in this part of this day, 1 on average: afternoons and evenings."""
    if part % 4 < 2 or day >= world.event_of_day.shape[1]:
        return 0.0
    return world.event_of_day[region, day] * 2.0


@njit(cache=True, nogil=True)
def add_rule(
    world: World,
    people: Population,
    i: int,
    rule: np.ndarray,
    factor: float,
    start: float,
    n: int,
    bins: Bins,
) -> None:
    """Add the bump of one rule that was woken at `start`."""
    then, scale, kind = int(rule[1]), rule[3], people.archetype[i]
    begin, end = start + rule[4], start + rule[5]
    left = -1.0
    for k in range(n):
        a = bins.edge[k]
        if a < begin:
            continue
        if a >= end:
            return
        b = bins.edge[k + 1]
        if left < 0:
            left = np.exp((begin - a) / scale)
        if left < FADED:
            return
        right = np.exp((begin - b) / scale)
        shape = 1.0
        if rule[9] == 0:
            if rule[10] > 0:
                shape = world.company_week[bins.part[k]]
            elif then == EVENT:
                shape = meeting_shape(world, people.region[i], bins.day[k], bins.part[k])
            else:
                shape = world.week[kind, bins.part[k]]
        bins.rates[k, then] += factor * (left - right) / (b - a) * shape
        left = right


@njit(cache=True, nogil=True)
def fill_rates(
    world: World, people: Population, i: int, state: State, company: bool, n: int, bins: Bins
) -> None:
    """Fill the hazards of the first `n` bins that were cut.

    With `company` False the company stays silent: only what the HCP does on its own is left.
    """
    kind = people.archetype[i]
    bins.rates[:n] = 0.0
    weigh_touches(people.optimum[i], state, n, bins)
    for row in range(world.rule_start[kind], world.rule_start[kind + 1]):
        rule = world.rules[row]
        start = state.last[int(rule[0])]
        if start < 0 or bins.edge[0] >= start + rule[5] or (rule[10] > 0 and not company):
            continue
        factor = rule_factor(world, people, i, state, row)
        if factor > 0:
            add_rule(world, people, i, rule, factor, start, n, bins)
    portal = world.portal_rate[kind] * people.portal[i] * world.stage_digital[state.counts[STAGE]]
    event = world.event_rate[kind] * people.event[i]
    mail_from = NO_TIME if state.last[SENT] < 0 else state.last[SENT] + EMAIL_REST
    for k in range(n):
        a, rates, fit = bins.edge[k], bins.rates[k], bins.fit[k]
        rates[VISIT] += portal * world.week[kind, bins.part[k]]
        rates[EVENT] += event * meeting_shape(world, people.region[i], bins.day[k], bins.part[k])
        rates[EVENT] *= fit
        rates[UNSUBSCRIBE] *= (2.0 - fit) ** 2
        if a >= world.drift_s:
            fit *= world.drift[kind]
        for then in range(OPEN, DOWNLOAD + 1):
            rates[then] *= fit
        if state.last[VISIT] >= 0 and a - state.last[VISIT] < PORTAL_REST:
            rates[VISIT] = 0.0
        if state.counts[CONSENT] == 0 or a < mail_from:
            rates[SENT] = 0.0
    add_talk(world, people, i, state, n, bins)
    if company:
        add_plan(world, people, i, state, n, bins)


@njit(cache=True, nogil=True)
def far_hazards(world: World, people: Population, i: int, rates: np.ndarray) -> None:
    """Constant hazards long after the last event."""
    rates[:] = 0.0
    kind = people.archetype[i]
    rates[VISIT] = world.portal_rate[kind] * people.portal[i]
    rates[EVENT] = world.event_rate[kind] * people.event[i]
    for k in range(3):
        rates[k] = people.calls[i] / (CYCLE_DAYS * DAY) * people.split[i, k]
