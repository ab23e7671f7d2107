"""From settings to what truly happened: the loop over all HCPs in chunks, on all cores."""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np

from behavio.simulate.archetypes import DAY
from behavio.simulate.hazards import new_bins, new_state
from behavio.simulate.loop import Track, new_track, simulate_cases
from behavio.simulate.settings import SimulateSettings
from behavio.simulate.world import Population, World, build_world, draw_population

CHUNK = 250
Progress = Callable[[str, float], None]


@dataclass(frozen=True, slots=True, eq=False)
class History:
    """What happened to whom, as arrays: events of all HCPs by HCP and time, effects by HCP and date.

    track   Track with exactly n_events rows, effects (n_cases · n_dates, 5)
    as_of   int64 (n_dates,) ends of months in seconds since the start
    acts    int64 (n_dates,) next working day 9:00 UTC after each
    """

    settings: SimulateSettings
    world: World
    people: Population
    track: Track
    as_of: np.ndarray
    acts: np.ndarray


def working_morning(settings: SimulateSettings, at: int) -> int:
    """9:00 UTC of the first working day that does not begin before `at` (seconds since the start)."""
    day = -(-at // int(DAY))
    while (day + settings.first_day.weekday()) % 7 > 4:
        day += 1
    return int(day * DAY + 9 * 3600)


def live_chunk(
    world: World, people: Population, first: int, stop: int, as_of: np.ndarray, acts: np.ndarray, room: int
) -> Track:
    """Live HCPs `first` to `stop`; doubles the room until their events fit."""
    while True:
        track = new_track(room, (stop - first) * as_of.size)
        n = simulate_cases(
            world, people, first, stop, as_of, acts, new_state(), new_state(), new_bins(), track
        )
        if n >= 0:
            return Track._make([*(column[:n] for column in track[:-2]), track.allowed, track.effects])
        room *= 2


def live(settings: SimulateSettings, progress: Progress | None = None) -> History:
    """Simulate every HCP. Each has its own random numbers, so threads and chunks change nothing."""
    world, people = build_world(settings), draw_population(settings)
    as_of = np.array(settings.month_ends_s, dtype=np.float64)
    acts = np.array([working_morning(settings, int(t)) for t in as_of], dtype=np.float64)
    room = CHUNK * (12 * settings.months + 60)
    bounds = [(a, min(a + CHUNK, settings.n_cases)) for a in range(0, settings.n_cases, CHUNK)]
    parts: list[Track] = []
    with ThreadPoolExecutor(os.cpu_count() or 1) as pool:
        waiting = [pool.submit(live_chunk, world, people, a, b, as_of, acts, room) for a, b in bounds]
        for done, future in enumerate(waiting, 1):
            parts.append(future.result())
            if progress is not None:
                progress("HCPs live through the months", done / len(bounds))
    track = Track._make(np.concatenate(columns) for columns in zip(*parts, strict=True))
    return History(settings, world, people, track, as_of.astype(np.int64), acts.astype(np.int64))
