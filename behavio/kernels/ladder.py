"""A hidden ladder: stages one above the other, seen through marks, moved by events.

Before event t a case stands on stage z_t. An event that carries a mark shows it with probability
`marks[z_t, mark]`; after event t the case steps down, stays or steps up with `moves[z_t, driver_t]`, where
the driver is what happened (activity, long silence before it). Forward-backward with scaling and Viterbi
(Rabiner 1989, A tutorial on hidden Markov models), transitions limited to neighbours and driven by the
input (Bengio & Frasconi 1996, Input-output HMMs).

Shapes: offsets int64 (cases + 1,), mark int32 (events,) with -1 for none, driver int32 (events,),
first float64 (stages,), marks float64 (stages, n_marks), moves float64 (stages, drivers, 3): down, stay, up.
"""

from __future__ import annotations

import numpy as np

from behavio.kernels.ready import njit

DOWN, STAY, UP = 0, 1, 2


@njit(cache=True, nogil=True)
def _forward(
    a: int,
    b: int,
    mark: np.ndarray,
    driver: np.ndarray,
    first: np.ndarray,
    marks: np.ndarray,
    moves: np.ndarray,
    alpha: np.ndarray,
    scale: np.ndarray,
) -> float:
    """Fill alpha (length, stages) and scale (length,) for one case; its log likelihood."""
    n = first.size
    total = 0.0
    for j in range(b - a):
        mass = 0.0
        for s in range(n):
            if j == 0:
                value = first[s]
            else:
                d = driver[a + j - 1]
                value = alpha[j - 1, s] * moves[s, d, STAY]
                if s > 0:
                    value += alpha[j - 1, s - 1] * moves[s - 1, d, UP]
                if s < n - 1:
                    value += alpha[j - 1, s + 1] * moves[s + 1, d, DOWN]
            if mark[a + j] >= 0:
                value *= marks[s, mark[a + j]]
            alpha[j, s] = value
            mass += value
        scale[j] = mass
        total += np.log(mass)
        for s in range(n):
            alpha[j, s] /= mass
    return total


@njit(cache=True, nogil=True)
def expect(
    offsets: np.ndarray,
    low: int,
    high: int,
    mark: np.ndarray,
    driver: np.ndarray,
    first: np.ndarray,
    marks: np.ndarray,
    moves: np.ndarray,
    seen_first: np.ndarray,
    seen_marks: np.ndarray,
    seen_moves: np.ndarray,
) -> float:
    """Add the expected counts of cases low to high to `seen_…`; returns their log likelihood."""
    n, longest = first.size, 1
    for i in range(low, high):
        longest = max(longest, offsets[i + 1] - offsets[i])
    alpha, scale = np.empty((longest, n)), np.empty(longest)
    beta, before = np.empty(n), np.empty(n)
    total = 0.0
    for i in range(low, high):
        a, b = offsets[i], offsets[i + 1]
        if b <= a:
            continue
        total += _forward(a, b, mark, driver, first, marks, moves, alpha, scale)
        beta[:] = 1.0
        for j in range(b - a - 1, -1, -1):
            shown = mark[a + j]
            if shown >= 0:
                for s in range(n):
                    seen_marks[s, shown] += alpha[j, s] * beta[s]
            if j == 0:
                for s in range(n):
                    seen_first[s] += alpha[0, s] * beta[s]
                continue
            d = driver[a + j - 1]
            for s in range(n):
                before[s] = 0.0
                for step in range(3):
                    to = s + step - 1
                    if to < 0 or to >= n:
                        continue
                    value = moves[s, d, step] * beta[to] / scale[j]
                    if shown >= 0:
                        value *= marks[to, shown]
                    before[s] += value
                    seen_moves[s, d, step] += alpha[j - 1, s] * value
            beta[:] = before
    return total


@njit(cache=True, nogil=True)
def climb(
    offsets: np.ndarray,
    mark: np.ndarray,
    driver: np.ndarray,
    first: np.ndarray,
    marks: np.ndarray,
    moves: np.ndarray,
    path: np.ndarray,
    now: np.ndarray,
) -> float:
    """The likeliest path of every case, and where it stands today; returns the log likelihood of all cases.

    path  int8 (events + cases,): of case i from offsets[i] + i on, the stage before each event, then today's
    now   float64 (cases, stages): probability of each stage after the last event
    """
    n, longest, total = first.size, 1, 0.0
    for i in range(offsets.size - 1):
        longest = max(longest, offsets[i + 1] - offsets[i])
    alpha, scale = np.empty((longest, n)), np.empty(longest)
    best, fresh = np.empty(n), np.empty(n)
    back = np.empty((longest + 1, n), np.int8)
    for i in range(offsets.size - 1):
        a, b = offsets[i], offsets[i + 1]
        if b <= a:
            now[i] = first
            path[a + i] = np.argmax(first)
            continue
        total += _forward(a, b, mark, driver, first, marks, moves, alpha, scale)
        for j in range(b - a + 1):
            for s in range(n):
                if j == 0:
                    fresh[s] = np.log(first[s])
                else:
                    d = driver[a + j - 1]
                    fresh[s] = -np.inf
                    for step in range(3):
                        origin = s - step + 1
                        if origin < 0 or origin >= n or moves[origin, d, step] <= 0.0:
                            continue
                        value = best[origin] + np.log(moves[origin, d, step])
                        if value > fresh[s]:
                            fresh[s] = value
                            back[j, s] = origin
                if j < b - a and mark[a + j] >= 0:
                    fresh[s] += np.log(marks[s, mark[a + j]])
            best[:] = fresh
        at = np.argmax(best)
        for j in range(b - a, -1, -1):
            path[a + i + j] = at
            if j > 0:
                at = back[j, at]
        d = driver[b - 1]
        for s in range(n):
            value = alpha[b - a - 1, s] * moves[s, d, STAY]
            if s > 0:
                value += alpha[b - a - 1, s - 1] * moves[s - 1, d, UP]
            if s < n - 1:
                value += alpha[b - a - 1, s + 1] * moves[s + 1, d, DOWN]
            now[i, s] = value
    return total


@njit(cache=True, nogil=True)
def faded(offsets: np.ndarray, value: np.ndarray, pace: float) -> np.ndarray:
    """float64 (events,): mean of the values before each event of its case, the newest weighing most."""
    found = np.zeros(value.size)
    for i in range(offsets.size - 1):
        mean = 0.0
        for e in range(offsets[i], offsets[i + 1]):
            found[e] = mean
            mean += pace * (value[e] - mean)
    return found


@njit(cache=True, nogil=True)
def follow_rules(
    offsets: np.ndarray,
    activity: np.ndarray,
    times: np.ndarray,
    fits: np.ndarray,
    needed: np.ndarray,
    within: np.ndarray,
    back_on: np.ndarray,
    silence: int,
    path: np.ndarray,
) -> None:
    """The path of every case over stages given by rules, into `path` (see `climb`).

    fits      bool (rules, activities): rule r (stage r + 1) counts the activity
    needed    int64 (rules,): so many of them since the case came to its stage, within[r] µs of each other
              (-1: any time); the highest stage whose rule holds is taken
    back_on   bool (activities,): one stage back; silence µs before an event (-1: never) likewise
    """
    rules = fits.shape[0]
    seen = np.zeros(rules, np.int64)
    when = np.zeros((rules, max(1, needed.max())), np.int64)
    for i in range(offsets.size - 1):
        a, b, at = offsets[i], offsets[i + 1], 0
        seen[:] = 0
        path[a + i] = 0
        for e in range(a, b):
            to = at
            if silence >= 0 and e > a and times[e] - times[e - 1] > silence:
                to -= 1
            if back_on[activity[e]]:
                to -= 1
            to = max(to, 0)
            for r in range(rules):
                if not fits[r, activity[e]]:
                    continue
                place = seen[r] % needed[r]
                when[r, place] = times[e]
                seen[r] += 1
                oldest = when[r, seen[r] % needed[r]]
                held = seen[r] >= needed[r] and (within[r] < 0 or times[e] - oldest <= within[r])
                if held and r + 1 > at:
                    to = r + 1
            if to != at:
                seen[:] = 0
            at = to
            path[e + i + 1] = at
