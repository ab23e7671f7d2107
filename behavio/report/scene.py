"""What the pictures of a journey are drawn from: the journeys, the words, the hues, the calendar."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from behavio.report.context import Context
from behavio.report.kinds import SILENCE, Kinds
from behavio.report.language import t
from behavio.report.tables import Facts
from behavio.report.traces import Traces
from behavio.report.weekly import Calendar
from behavio.words import touchpoint

ISOLATE, POP = "\u2068", "\u2069"


@dataclass(frozen=True, eq=False)
class Scene:
    """One set of journeys about to be drawn.

    calendar, ticks  how time is cut, and the labels of its axis
    origin           µs where the calendar begins, or -1 where each journey has its own first day
    """

    traces: Traces
    kinds: Kinds
    one: str
    many: str
    k: int
    facts: Facts
    calendar: Calendar
    ticks: tuple[tuple[float, str], ...]
    origin: int

    @classmethod
    def of(cls, c: Context) -> Scene:
        """The whole log of a run."""
        calendar = Calendar.of(c.run)
        origin = -1 if calendar.relative else int(calendar.origin(c.run).timestamp()) * 1_000_000
        ticks = tuple(calendar.ticks(c.run))
        traces = Traces.of(c.run.events, c.run.timed)
        return cls(traces, c.kinds, c.one, c.many, c.k, c.facts, calendar, ticks, origin)

    @property
    def kind_of(self) -> np.ndarray:
        """int64 (names,): place of each activity's kind among the kinds; 0 for one that never occurs."""
        place = {name: i for i, name in enumerate(self.kinds.names)}
        return np.array([place.get(self.kinds.of.get(name, ""), 0) for name in self.traces.names], np.int64)

    @property
    def hues(self) -> Sequence[str]:
        """Hues of the kinds, in their order."""
        return [self.kinds.hues[name] for name in self.kinds.names]

    @property
    def quiet(self) -> str:
        """What the rest of a bin is."""
        return SILENCE if self.k == 1 else f"{SILENCE}, or under {self.k} {self.many}"


def label(activity: str) -> str:
    """The name as a drawing says it; scripts from right to left keep the numbers beside them in place."""
    said: str = t(touchpoint(activity))
    return f"{ISOLATE}{said}{POP}" if any("\u0590" <= letter <= "\u08ff" for letter in said) else said
