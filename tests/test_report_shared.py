"""What may be drawn of a typical journey: the part that enough others went through."""

from __future__ import annotations

import numpy as np

from behavio.report.shared import shared_run
from behavio.report.traces import DAY, Traces

NAMES = ("a", "b", "c", "d")


def traces(*journeys: tuple[str, list[float]]) -> Traces:
    """Journeys as letters and their days."""
    tokens = np.array([NAMES.index(x) for text, _ in journeys for x in text], np.int32)
    offsets = np.cumsum([0, *(len(text) for text, _ in journeys)]).astype(np.int64)
    times = np.array([round(d * DAY) for _, days in journeys for d in days], np.int64)
    return Traces(tokens, offsets, times, None, NAMES)


def test_the_longest_part_that_two_journeys_hold_in_a_row() -> None:
    # "abcd" is one person's alone; "abc" is hers and another's, with 2 and 4 days before b: 3 in the median
    log = traces(
        ("abcd", [0, 2, 3, 9]), ("dabc", [0, 1, 5, 6]), ("bcda", [0, 1, 2, 3]), ("abdc", [0, 1, 2, 3])
    )
    found = shared_run(log, np.arange(4), "abcd", 2)
    assert found is not None
    assert (found.names, found.days, found.people) == (("a", "b", "c"), (0.0, 3.0, 4.0), 2)
    # of all four only her own
    alone = shared_run(log, np.arange(4), "abcd", 1)
    assert alone is not None and (alone.names, alone.people) == (("a", "b", "c", "d"), 1)


def test_a_run_never_leads_from_one_journey_into_the_next_and_other_groups_do_not_count() -> None:
    log = traces(("ab", [0, 1]), ("cd", [0, 1]), ("abc", [0, 1, 2]), ("abc", [0, 1, 2]))
    assert shared_run(log, np.arange(2), "abc", 1) is None
    assert shared_run(log, np.array([0, 1, 2]), "abc", 2) is None
    found = shared_run(log, np.arange(4), "abc", 2)
    assert found is not None and found.people == 2


def test_the_same_person_twice_is_one_person() -> None:
    log = traces(("abcabc", [0, 1, 2, 3, 4, 5]), ("d", [0]))
    assert shared_run(log, np.arange(2), "abc", 2) is None
