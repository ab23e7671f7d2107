"""What the [patterns] table of a job may say."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from behavio.durations import seconds
from behavio.errors import JobError
from behavio.patterns.rules import Rules
from behavio.sequences import SequenceSet

TIMES = ("max_gap", "min_gap", "max_span", "same_moment")


@dataclass(frozen=True, slots=True)
class PatternSettings:
    """What the [patterns] table of a job may say. A log without a clock ignores limits in time.

    min_support      share of the cases that must hold a pattern
    max_length       events in a pattern
    max_gap_events   each event at most so many moments after the one before (1: the next); 0: anywhere later
    max_gap          and at most so long after it; "" for any time
    min_gap          and at least so long after it; "" for any time
    max_span_events  the whole pattern within so many moments; 0 for any number
    max_span         and within so long; "" for any time
    same_moment      what happens at the same time, or in one conversation with no longer pause than this, is
                     one moment: a visit and the reactions noted in it do not follow each other; "" to take
                     every event by itself
    closed           leave out a pattern that lies in one an event longer held by just as many cases
    top              rows for the whole log, for each segment, for the outcome and for communications
    max_patterns     patterns compared with chance; with more, min_support is raised until they fit, and said
    outcome          also tell what comes before this: an activity ("portal_visit"), a step of the pattern
                     language ("reaction_positive[message~Efficacy]"), the next stage of several ("email_open
                     < portal_visit < portal_download"), or "silence 60d"
    within           the outcome counts when it comes at most so long after the pattern's end
    communications   activities that are communications; none: the events with direction "outbound"
    permutations     shuffles of each case; a large log takes fewer, its cases average out
    """

    min_support: float = 0.02
    max_length: int = 5
    max_gap_events: int = 3
    max_gap: str = "30d"
    min_gap: str = ""
    max_span_events: int = 0
    max_span: str = ""
    same_moment: str = "1h"
    closed: bool = True
    top: int = 200
    max_patterns: int = 5_000
    outcome: str | None = None
    within: str = "30d"
    communications: tuple[str, ...] = ()
    permutations: int = 100

    def __post_init__(self) -> None:
        if not 0 < self.min_support <= 1:
            raise JobError(
                f"patterns.min_support is {self.min_support}",
                hint="it is a share of the cases: more than 0, at most 1",
            )
        least = {"max_length": 2, "max_gap_events": 0, "max_span_events": 0, "top": 1, "max_patterns": 1}
        for name, low in least.items():
            if getattr(self, name) < low:
                raise JobError(f"patterns.{name} is {getattr(self, name)}", hint=f"it must be {low} or more")
        if self.permutations < 2:
            raise JobError(f"patterns.permutations is {self.permutations}", hint="it must be 2 or more")
        for name in TIMES:
            if getattr(self, name):
                seconds(getattr(self, name))
        if seconds(self.within) <= 0:
            raise JobError("patterns.within is no time at all", hint='for example within = "30d"')
        if self.min_gap and self.max_gap and seconds(self.min_gap) > seconds(self.max_gap):
            raise JobError(
                f"patterns.min_gap is {self.min_gap}, max_gap {self.max_gap}: nothing lies between",
                hint="give a min_gap that is not longer than max_gap",
            )

    def rules(self, sequences: SequenceSet) -> Rules:
        """The rules for one log: cases instead of shares (at least 2), microseconds instead of words."""

        def limit(text: str, none: int) -> int:
            return int(seconds(text) * 1e6) if text and sequences.timed else none

        return Rules(
            min_cases=max(int(np.ceil(self.min_support * sequences.n_cases)), min(2, sequences.n_cases)),
            max_length=self.max_length,
            max_gap_events=self.max_gap_events,
            max_gap=limit(self.max_gap, -1),
            min_gap=limit(self.min_gap, 0),
            max_span_events=self.max_span_events,
            max_span=limit(self.max_span, -1),
            closed=self.closed,
            max_patterns=self.max_patterns,
            apart=limit(self.same_moment, -1),
        )
