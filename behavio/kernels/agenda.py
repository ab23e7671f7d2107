"""Days for the steps of a plan: every case in turn gets its next free day, round after round."""

from __future__ import annotations

import numpy as np

from behavio.kernels.ready import njit


@njit(cache=True, nogil=True)
def room(
    day: int, window: int, cap: int, past: np.ndarray, first: int, stop: int, days: np.ndarray, made: int
) -> bool:
    """Whether one more contact on `day` keeps every `window` days up to it under `cap`."""
    n = 1
    for k in range(first, stop):
        if past[k] > day - window:
            n += 1
    for k in range(made):
        if days[k] > day - window:
            n += 1
    return n <= cap


@njit(cache=True, nogil=True)
def first_days(
    owner: np.ndarray, case: np.ndarray, open_days: np.ndarray, per_day: int, pause: int
) -> np.ndarray:
    """The first open day of every suggestion in turn, -1 where there is none: int64 (n,).

    owner, case   int64 (n,) from 0, -1: no owner, nothing full
    open_days     int64 (k,) ascending; per_day suggestions fit into the day of one owner, and those of one
                  case lie at least `pause` days apart
    """
    n_owners, n_cases = 0, 0
    for j in range(len(owner)):
        n_owners, n_cases = max(n_owners, owner[j] + 1), max(n_cases, case[j] + 1)
    load = np.zeros((n_owners, len(open_days)), np.int64)
    earliest = np.full(n_cases, np.iinfo(np.int64).min)
    found = np.full(len(owner), -1, np.int64)
    for j in range(len(owner)):
        for d in range(len(open_days)):
            full = owner[j] >= 0 and load[owner[j], d] >= per_day
            if not full and open_days[d] >= earliest[case[j]]:
                found[j] = open_days[d]
                if owner[j] >= 0:
                    load[owner[j], d] += 1
                earliest[case[j]] = open_days[d] + pause
                break
    return found


@njit(cache=True, nogil=True)
def fill_agenda(
    open_days: np.ndarray,
    owner: np.ndarray,
    load: np.ndarray,
    per_day: int,
    cap: np.ndarray,
    gap: int,
    past: np.ndarray,
    past_at: np.ndarray,
    offers_at: np.ndarray,
    left: np.ndarray,
    most: np.ndarray,
    fresh_until: int,
    days: np.ndarray,
    offers: np.ndarray,
) -> None:
    """Fill `days` and `offers` (cases, steps) from step 1 on; step 0 is given, -1 is no step.

    open_days  int64 (d,) days on which something may fall due, ascending
    owner      int64 (cases,) -1 without one;  load int64 (owners, days) what falls due already
    cap        int64 (cases,) contacts in 28 days;  gap days between two steps of a case
    past       int64 days of contacts made, those of case i at past[past_at[i]:past_at[i + 1]]
    offers_at  int64 (cases + 1,) where the offers of each case begin, best first
    left       int64 (offers, 2) how often an offer may still be made up to `fresh_until`, and in all
    most       int64 (offers,) how often it may be made within any 28 days after that
    """
    n_cases, n_steps = days.shape
    for step in range(1, n_steps):
        for i in range(n_cases):
            if days[i, step - 1] < 0:
                continue
            first, stop = offers_at[i], offers_at[i + 1]
            for k in range(open_days.size):
                day = open_days[k]
                if day < days[i, step - 1] + gap:
                    continue
                if owner[i] >= 0 and load[owner[i], k] >= per_day:
                    continue
                if not room(day, 28, cap[i], past, past_at[i], past_at[i + 1], days[i], step):
                    continue
                chosen = -1
                for j in range(stop - first):
                    offer = first + (step + j) % (stop - first)
                    lately, ever = 0, 0
                    for s in range(step):
                        if offers[i, s] == offer:
                            ever += 1
                            if days[i, s] > day - 28:
                                lately += 1
                    here = left[offer, 0] if day <= fresh_until else most[offer]
                    if lately < here and ever < left[offer, 1]:
                        chosen = offer
                        break
                if chosen < 0:
                    continue
                days[i, step] = day
                offers[i, step] = chosen
                if owner[i] >= 0:
                    load[owner[i], k] += 1
                break
