"""The plan over the cycle, what she has not heard, whom to watch: by hand and against a slow check."""

from __future__ import annotations

import datetime as dt
from collections import Counter
from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np
import polars as pl
import pytest
from oracles_suggest import log_of
from test_suggest import LOOSE, world

from behavio.errors import JobError
from behavio.kernels.agenda import fill_agenda
from behavio.suggest import Found, SuggestSettings
from behavio.suggest.cycle import cycle_days
from behavio.suggest.make import make_suggestions
from behavio.suggest.settings import moment


def test_the_cycle_ends_with_the_quarter_or_where_the_settings_say() -> None:
    # Friday 26 September 2025: Monday to Tuesday are left of the quarter
    days = cycle_days(moment("2025-09-26"), SuggestSettings())
    assert days == [dt.date(2025, 9, 29), dt.date(2025, 9, 30)]
    year_end = cycle_days(moment("2025-12-31"), SuggestSettings())
    assert (year_end[0], year_end[-1]) == (dt.date(2026, 1, 1), dt.date(2026, 3, 31))
    own = cycle_days(moment("2025-09-26"), SuggestSettings(cycle_end="2025-10-03"))
    assert own[-1] == dt.date(2025, 10, 3) and len(own) == 5
    with pytest.raises(JobError, match="the cycle ended"):
        cycle_days(moment("2025-09-26"), SuggestSettings(cycle_end="2025-09-01"))


def agenda(
    cap: int, past: list[int], left: list[list[int]], most: list[int], load: int = 0
) -> tuple[list[int], list[int]]:
    """Days and offers of one case: days 100 to 160 are open, step 1 on day 100, gap 7, two offers."""
    days, offers = np.full((1, 5), -1), np.full((1, 5), -1)
    days[0, 0], offers[0, 0] = 100, 0
    owners = np.zeros((2, 61), dtype=np.int64)
    owners[0, 7] = load
    fill_agenda(
        np.arange(100, 161),
        np.array([0]),
        owners,
        3,
        np.array([cap]),
        7,
        np.array(past, dtype=np.int64),
        np.array([0, len(past)]),
        np.array([0, 2]),
        np.array(left, dtype=np.int64),
        np.array(most, dtype=np.int64),
        127,
        days,
        offers,
    )
    return days[0].tolist(), offers[0].tolist()


def test_steps_by_hand() -> None:
    free, no = [[99, 99], [99, 99]], [99, 99]
    # nothing in the way: every 7 days, the two offers in turn
    assert agenda(9, [], free, no) == ([100, 107, 114, 121, 128], [0, 1, 0, 1, 0])
    # three contacts in any 28 days: the fourth waits until day 128, when that of day 100 is over
    assert agenda(3, [], free, no)[0] == [100, 107, 114, 128, 135]
    # a contact of day 80 counts until day 107: with it day 107 would be the third of two
    assert agenda(2, [80], free, no)[0][:3] == [100, 108, 128]
    # the owner is full on day 107: one day later, and all that follows
    assert agenda(9, [], free, no, load=3)[0] == [100, 108, 115, 122, 129]
    # offer 1 may be made once before day 128 and never after: offer 0 takes its turns
    assert agenda(9, [], [[99, 99], [1, 1]], no)[1] == [0, 1, 0, 0, 0]
    # both used up: the plan ends early
    assert agenda(9, [], [[1, 1], [1, 1]], no) == ([100, 107, -1, -1, -1], [0, 1, -1, -1, -1])


@pytest.fixture(scope="module")
def planned() -> tuple[pl.DataFrame, pl.DataFrame, Any]:
    settings = replace(LOOSE, cap_per_28d=3, max_per_owner_day=2, channel_caps={"email": 1}, variety=99)
    log = log_of(world(n=80))
    made = make_suggestions(log, None, None, settings, lambda _w, _s: None, Found())
    return made.tables["plan"], made.tables["suggestions"], log


def test_every_plan_keeps_every_cap(planned: tuple[pl.DataFrame, pl.DataFrame, Any]) -> None:
    plan, suggestions, log = planned
    assert plan.height > suggestions.filter(rank=1).height > 20
    assert plan["step"].max() <= 6 and set(plan["due"].dt.weekday()) <= {1, 2, 3, 4, 5}
    touches = log.events.filter(pl.col("direction") == "outbound")
    past: dict[str, list[dt.date]] = {}
    for case, when in touches.select("case_id", "timestamp").iter_rows():
        past.setdefault(case, []).append(when.date())
    for (case,), steps in plan.group_by("case_id", maintain_order=True):
        due, channel = steps["due"].to_list(), steps["channel"].to_list()
        assert steps["step"].to_list() == list(range(1, len(due) + 1))
        assert all((b - a).days >= 7 for a, b in pairwise(due))
        for k, day in enumerate(due[1:], 1):
            since = day - dt.timedelta(days=28)
            lately = sum(d > since for d in past.get(str(case), [])) + sum(d > since for d in due[: k + 1])
            assert lately <= 3, (case, day)
            assert sum(c == "email" and d > since for c, d in zip(channel[: k + 1], due, strict=False)) <= 1
    loads = Counter(plan.filter(pl.col("step") > 1).select("owner_id", "due").rows())
    loads.update(suggestions.select("owner_id", "due_from").rows())
    assert max(loads.values()) <= 2
    first = plan.filter(step=1).select("case_id", "action", "message")
    assert first.equals(suggestions.filter(rank=1).sort("case_id").select("case_id", "action", "message"))


def test_what_was_never_shown_comes_first(planned: tuple[pl.DataFrame, pl.DataFrame, Any]) -> None:
    plan, _, log = planned
    sent = log.events.filter(pl.col("message").is_not_null(), pl.col("direction") == "outbound")
    shown = set(sent.select("case_id", "message").rows())
    for row in plan.iter_rows(named=True):
        if row["message"] is not None:
            assert row["new_message"] == ((row["case_id"], row["message"]) not in shown)


def test_missing_messages_by_hand() -> None:
    # a heard m0 and m1 of the brand, b all three; c has no brand
    events: list[tuple[Any, ...]] = []
    for k in range(3):
        events += [("b", 10.0 * k, "email_sent", {"message": f"m{k}", "brand": "one"})]
    events += [("a", 3.0, "email_sent", {"message": "m0", "brand": "one"})]
    events += [("a", 9.0, "email_sent", {"message": "m1", "brand": "one"}), ("c", 30.0, "portal_visit")]
    made = make_suggestions(log_of(events), None, None, LOOSE, lambda _w, _s: None, Found())
    assert made.tables["missing"].rows() == [("a", "one", ["m2"], 1, 3)]
    used_up = replace(LOOSE, expired_messages=("m2",))
    made = make_suggestions(log_of(events), None, None, used_up, lambda _w, _s: None, Found())
    assert made.tables["missing"].height == 0


def test_high_value_with_low_access_is_always_listed() -> None:
    # a: 9, last contact 70 days ago; b: 9, contact 5 days ago; c: 10, do not call; d: low value;
    # e: 10, inactive; f: 9, never contacted
    cases = pl.DataFrame(
        {
            "case_id": list("abcdef"),
            "decile": [9, 9, 10, 2, 10, 9],
            "do_not_call": ["no", "no", "yes", "no", "no", "no"],
            "status": ["valid", "valid", "valid", "valid", "inactive", "valid"],
        }
    )
    events = [
        ("a", 30.0, "call_f2f"),
        ("b", 95.0, "call_f2f"),
        ("c", 95.0, "call_f2f"),
        ("d", 10.0, "call_f2f"),
    ]
    events += [("e", 10.0, "call_f2f"), ("f", 99.0, "portal_visit"), ("a", 100.0, "portal_visit")]
    settings = SuggestSettings(value_column="decile", high_value=8)
    made = make_suggestions(log_of(events, cases), None, None, settings, lambda _w, _s: None, Found())
    assert made.tables["watch"].select("case_id", "days", "why").rows() == [
        ("c", 5, "nothing is allowed: do_not_call"),
        ("a", 70, "no contact for 70 days"),
        ("f", None, "never contacted"),
    ]
    assert made.facts["n_watched"] == 3
