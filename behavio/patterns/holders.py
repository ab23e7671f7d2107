"""Which cases hold given patterns, and where."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import polars as pl

from behavio.durations import seconds
from behavio.errors import JobError
from behavio.log import EventLog
from behavio.patterns.matcher import Matcher
from behavio.patterns.mine import Patterns
from behavio.patterns.rules import Rules
from behavio.patterns.tables import ARROW, known
from behavio.sequences import SequenceSet

HOLDER_SCHEMA: dict[str, pl.DataType] = {
    "pattern": pl.String(),
    "case_id": pl.String(),
    "events": pl.List(pl.Int64()),
    "ended": pl.Datetime("us", "UTC"),
}
"""events: the places of the match that ends first, from 0 inside the case; ended: null without a clock."""


def holding(sequences: SequenceSet, found: Patterns) -> pl.DataFrame:
    """Every case that holds each pattern and the events of its first match (HOLDER_SCHEMA).

    Of the matches that end in the same moment, the one whose events lie latest.
    """
    numbers, cases, ends = Matcher.of(found, len(sequences.vocabulary)).holders(sequences)
    names = [ARROW.join(a) for a in found.named(sequences.vocabulary.names)]
    search = _Backwards.of(sequences, found.rules)
    events = [
        search.match(found[int(n)], int(sequences.offsets[c]), int(e))
        for n, c, e in zip(numbers, cases, ends, strict=True)
    ]
    times = pl.Series(sequences.times[[e[-1] for e in events]] if events else [], dtype=pl.Int64)
    shifts = sequences.offsets[:-1][cases]
    return pl.DataFrame(
        {
            "pattern": [names[n] for n in numbers],
            "case_id": sequences.case_ids.gather(pl.Series(cases)),
            "events": [[p - int(s) for p in e] for e, s in zip(events, shifts, strict=True)],
            "ended": times.cast(pl.Datetime("us", "UTC")) if sequences.timed else [None] * len(events),
        },
        schema=HOLDER_SCHEMA,
    )


class _Backwards:
    """Finds the events of a match from its end, trying the latest place for each step first."""

    def __init__(self, tokens: np.ndarray, windows: tuple[np.ndarray, ...]) -> None:
        self.tokens, self.windows = tokens, windows

    @classmethod
    def of(cls, sequences: SequenceSet, rules: Rules) -> _Backwards:
        """Windows of the log under the rules."""
        from behavio.patterns.rules import Moments

        return cls(sequences.tokens, Moments.of(sequences, rules).places())

    def match(self, pattern: np.ndarray, first: int, last: int) -> list[int]:
        """Events (numbers of the log) of the match that ends at or before `last`, in a case from `first`."""
        begins, stops, spans = self.windows
        dead: set[tuple[int, int]] = set()

        def back(step: int, place: int, end: int) -> list[int] | None:
            if self.tokens[place] != pattern[step] or (step, place) in dead:
                return None
            if step == 0:
                return [place] if end < spans[place] else None
            for p in range(place - 1, first - 1, -1):
                if begins[p] <= place < stops[p]:
                    found = back(step - 1, p, end)
                    if found is not None:
                        return [*found, place]
                elif stops[p] <= place:
                    break
            dead.add((step, place))
            return None

        for end in range(last, first - 1, -1):
            dead.clear()
            found = back(len(pattern) - 1, end, end)
            if found is not None:
                return found
        raise AssertionError("the matcher said that this case holds the pattern")


def matching_cases(
    log: EventLog | SequenceSet,
    activities: Sequence[str],
    max_gap_events: int = 0,
    max_gap: str = "",
    max_span: str = "",
) -> pl.Series:
    """case_id of every case that holds these activities in this order, in the order of the log.

    max_gap_events  each at most so many events after the one before; 0: anywhere later
    max_gap         and at most so long after it, "" for any time
    max_span        and all of them within so long
    Raises JobError for an activity that the log does not have, or none at all.
    """
    sequences = log if isinstance(log, SequenceSet) else SequenceSet.from_log(log)
    if not activities:
        raise JobError("no activity to look for", hint='name at least one: ["email_open", "portal_visit"]')
    tokens = np.array(known(sequences, activities), dtype=np.int32)

    def limit(text: str) -> int:
        return int(seconds(text) * 1e6) if text and sequences.timed else -1

    rules = Rules(1, len(tokens), max_gap_events, limit(max_gap), max_span=limit(max_span))
    one = Patterns(tokens, np.array([0, len(tokens)]), np.zeros(1, dtype=np.int64), rules)
    own = np.arange(sequences.n_cases)
    held = Matcher.of(one, len(sequences.vocabulary)).count(sequences, own, sequences.n_cases)[0] > 0
    return sequences.case_ids.filter(pl.Series(held))
