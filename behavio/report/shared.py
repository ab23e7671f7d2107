"""The part of a typical journey that enough others went through too: what may be drawn of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from behavio.report.traces import Traces

SHORTEST = 3
"""A stretch of fewer events says nothing."""
DAY_US = 86_400_000_000.0


@dataclass(frozen=True, slots=True)
class Shared:
    """A run of events that several journeys hold in a row.

    names   the activities
    days    of each from the first, the median wait before each added up
    people  journeys that hold the run
    """

    names: tuple[str, ...]
    days: tuple[float, ...]
    people: int


def shared_run(traces: Traces, cases: np.ndarray, names: Sequence[str], least: int) -> Shared | None:
    """The longest part of `names` that at least `least` of the cases went through step by step.

    cases: places of the journeys looked at. Of parts equally long the one most went through. None where
    none of SHORTEST events is shared by so many.
    """
    place = {name: i for i, name in enumerate(traces.names)}
    wanted = np.array([place.get(n, -1) for n in names])
    case = np.repeat(np.arange(traces.n_cases), traces.lengths)
    chosen = np.zeros(traces.n_cases, bool)
    chosen[cases] = True
    own = chosen[case]
    tokens, times, case = traces.tokens[own], traces.times[own], case[own]
    best: tuple[int, int, int, np.ndarray] | None = None
    for start in range(len(wanted)):
        at = np.flatnonzero(tokens == wanted[start])
        for length in range(2, len(wanted) - start + 1):
            last = at + length - 1
            at = at[last < len(tokens)]
            last = at + length - 1
            at = at[(tokens[last] == wanted[start + length - 1]) & (case[last] == case[at])]
            people = len(np.unique(case[at]))
            if people < max(least, 1):
                break
            if length >= SHORTEST and (best is None or (length, people) > best[:2]):
                best = length, people, start, at
    if best is None:
        return None
    length, people, start, at = best
    waits = [0.0] + [float(np.median(times[at + i] - times[at + i - 1])) / DAY_US for i in range(1, length)]
    if not traces.timed:
        waits = [0.0] + [1.0] * (length - 1)
    days = tuple(round(float(d), 2) for d in np.cumsum(waits))
    return Shared(tuple(names[start : start + length]), days, people)
