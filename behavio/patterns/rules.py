"""What counts as an occurrence of a pattern: limits between its events and over all of it."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from behavio.kernels import windows
from behavio.kernels.arrays import readonly
from behavio.sequences import SequenceSet

LIVE = ("f2f", "video", "phone", "event", "portal")
"""Channels of conversations and sessions: what is shown, answered and loaded in one is one moment."""


@dataclass(frozen=True, slots=True)
class Rules:
    """What counts as a pattern. Times are µs; a moment is one event, or events counted as happening together.

    min_cases       cases that must hold it
    max_length      events in it; 0: any number
    max_gap_events  each event at most so many moments after the one before (1: the next); 0: anywhere later
    max_gap         and at most so long after it; negative: any time
    min_gap_events  at least so many moments after it
    min_gap         at least so long after it
    max_span_events  first to last event within so many moments; 0: any number
    max_span        and within so long; negative: any time
    closed          leave out patterns that lie in a pattern one event longer with the same cases
    max_patterns    when more turn up, min_cases is raised until they fit; 0: never
    apart           events of a case at the same time, or in one conversation and less than this apart, are
                    one moment, in which nothing comes after anything; negative: every event is its own
    """

    min_cases: int
    max_length: int = 5
    max_gap_events: int = 3
    max_gap: int = -1
    min_gap_events: int = 1
    min_gap: int = 0
    max_span_events: int = 0
    max_span: int = -1
    closed: bool = True
    max_patterns: int = 0
    apart: int = -1

    @property
    def anywhere(self) -> bool:
        """True when any later event may come next."""
        return self.max_gap_events == 0 and self.max_gap < 0 and not self.spanned

    @property
    def spanned(self) -> bool:
        """True when the whole pattern has a limit."""
        return self.max_span_events > 0 or self.max_span >= 0

    @property
    def timed(self) -> bool:
        """True when the time between events matters."""
        return self.max_gap >= 0 or self.min_gap > 0 or self.max_span >= 0


@dataclass(frozen=True, slots=True, eq=False)
class Moments:
    """The moments of a log and the windows between them.

    of_event  int64 (n_events,): number of each event's moment, rising over the log
    starts    int64 (n_cases + 1,): moments of each case
    begins    int64 (n_moments,): µs of its first event; ends of its last
    first, last, span  int64 (n_moments,) from `kernels.windows`
    """

    of_event: np.ndarray
    starts: np.ndarray
    begins: np.ndarray
    ends: np.ndarray
    first: np.ndarray
    last: np.ndarray
    span: np.ndarray

    @classmethod
    def of(cls, sequences: SequenceSet, rules: Rules) -> Moments:
        """Moments and windows of a log under the rules."""
        offsets, times = readonly(sequences.offsets, np.int64), readonly(sequences.times, np.int64)
        apart = rules.apart if sequences.timed else -1
        of_event, starts = windows.moments(offsets, times, conversation(sequences), apart)
        new = np.flatnonzero(np.diff(of_event, prepend=-1))
        last = np.append(new[1:], len(times)) - 1
        return cls._with_windows(of_event, starts, times[new], times[last], rules)

    @classmethod
    def apart(cls, offsets: np.ndarray, rules: Rules) -> Moments:
        """Every event its own moment, without times."""
        places = np.arange(offsets[-1], dtype=np.int64)
        return cls._with_windows(places, offsets, places, places, rules)

    @classmethod
    def _with_windows(
        cls, of_event: np.ndarray, starts: np.ndarray, begins: np.ndarray, ends: np.ndarray, rules: Rules
    ) -> Moments:
        in_events = (rules.min_gap_events, rules.max_gap_events, rules.max_span_events)
        in_time = (rules.min_gap, rules.max_gap, rules.max_span)
        fixed = (readonly(starts, np.int64), readonly(begins, np.int64), readonly(ends, np.int64))
        first, last, span = windows.windows(*fixed, in_events, in_time)
        return cls(of_event, *fixed, first, last, span)

    @property
    def several(self) -> bool:
        """True when some moment holds more than one event."""
        return len(self.begins) < len(self.of_event)

    def keep(self, events: np.ndarray) -> Moments:
        """Only these events (bool); the moments stay."""
        return replace(self, of_event=self.of_event[events])

    def places(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """The windows over events instead of moments, int32 (n_events,)."""
        of_event, n = readonly(self.of_event, np.int64), len(self.begins)
        made = [
            windows.per_event(of_event, readonly(w, np.int64), n) for w in (self.first, self.last, self.span)
        ]
        first, last, span = (readonly(w, np.int32) for w in made)
        return first, last, span


def conversation(sequences: SequenceSet) -> np.ndarray:
    """int32 (n_events,): the live channel of each event, 0 for none."""
    channel = sequences.fields.get("channel")
    if channel is None:
        return readonly(np.zeros(sequences.n_events), np.int32)
    live = np.array([i if name in LIVE else 0 for i, name in enumerate(channel.vocabulary.names)], np.int32)
    return readonly(live[channel.codes], np.int32)
