"""Earlier suggestions read back: what became of them, and what the next run does about it."""

from __future__ import annotations

import datetime as dt
from typing import Any

import polars as pl
import pytest
from oracles_suggest import START, log_of
from test_suggest import LOOSE, world

from behavio.errors import JobError
from behavio.suggest import Found, SuggestSettings, read_previous
from behavio.suggest.feedback import adherence, dismissals, read_feedback
from behavio.suggest.make import make_suggestions
from behavio.suggest.timeline import read_timeline

ACTIONS = pl.DataFrame({"action": ["call_f2f", "email_sent"], "channel": ["f2f", "email"]})


def day(n: int) -> dt.date:
    return (START + dt.timedelta(days=n)).date()


def earlier(*rows: tuple[str, str, str, str, int, int]) -> pl.DataFrame:
    """Suggestions of an earlier run: id, case, action, channel, first and last day."""
    names = ("suggestion_id", "case_id", "action", "channel", "due_from", "expires_on")
    table = [dict(zip(names, r, strict=True)) for r in rows]
    more = {"message": "m1", "owner_id": "rep"}
    return pl.DataFrame(
        [{**r, **more, "due_from": day(r["due_from"]), "expires_on": day(r["expires_on"])} for r in table]
    )


def told(kind: str, case: str, at: float, **more: Any) -> tuple[Any, ...]:
    return (case, at, f"suggestion_{kind}", more)


def test_what_became_of_each_suggestion_by_hand() -> None:
    # s1 was called back as executed, s2 turned down, s3's visit was simply made on day 8 (within 5–10),
    # s4's email came on day 12, after its last day, so it was ignored; s5 is still open on day 15
    previous = earlier(
        ("s1", "a", "call_f2f", "f2f", 5, 10),
        ("s2", "b", "email_sent", "email", 5, 10),
        ("s3", "c", "call_f2f", "f2f", 5, 10),
        ("s4", "d", "email_sent", "email", 5, 10),
        ("s5", "d", "call_f2f", "f2f", 5, 20),
    )
    events = [
        told("actioned", "a", 6, suggestion_id="s1"),
        told("dismissed", "b", 7, suggestion_id="s2"),
        ("c", 8, "call_f2f"),
        ("d", 12, "email_sent"),
        ("d", 15, "portal_visit"),
    ]
    settings = SuggestSettings()
    table = read_feedback(read_timeline(log_of(events), settings), settings, previous)
    states = dict(table.select("suggestion_id", "state").rows())
    assert states == {"s1": "executed", "s2": "dismissed", "s3": "executed", "s4": "ignored", "s5": "open"}
    assert dict(table.select("suggestion_id", "ignored").rows())["s4"] == 1
    whole = adherence(table).row(0, named=True)
    # 2 executed and 1 dismissed of the 4 that are over
    assert (whole["n"], whole["executed"], whole["dismissed"], whole["ignored"], whole["open"]) == (
        5,
        2,
        1,
        1,
        1,
    )
    assert whole["adherence"] == 0.75
    assert adherence(table)["owner_id"].to_list() == [None, "rep"]


def test_ignored_times_add_up_over_runs() -> None:
    previous = earlier(("s1", "a", "call_f2f", "f2f", 1, 3)).with_columns(ignored=pl.lit(2))
    settings = SuggestSettings()
    t = read_timeline(log_of([("a", 9, "portal_visit"), ("a", 0, "email_sent")]), settings)
    table = read_feedback(t, settings, previous)
    assert dismissals(table, ACTIONS, t.as_of).select("action", "ignored", "dismissed").rows() == [
        ("call_f2f", 3, 0)
    ]


@pytest.mark.parametrize(
    ("said", "meaning", "expected"),
    [
        ({}, {}, {"call_f2f": (1, False), "email_sent": (1, False)}),  # nothing says which: every action
        ({"channel": "email"}, {}, {"email_sent": (1, False)}),
        ({"content": "Call_vod"}, {}, {"call_f2f": (1, False)}),
        ({"suggestion_id": "s1"}, {}, {"call_f2f": (1, False)}),
        ({"suggestion_id": "s1", "content": "not her"}, {"Not her": "never"}, {"call_f2f": (1, True)}),
        ({"suggestion_id": "s1", "content": "no visits"}, {"no visits": "channel"}, {"call_f2f": (1, True)}),
        ({"suggestion_id": "s1", "content": "done"}, {"done": "none"}, {"call_f2f": (0, False)}),
    ],
)
def test_what_a_dismissal_means(
    said: dict[str, Any], meaning: dict[str, str], expected: dict[str, tuple[int, bool]]
) -> None:
    settings = SuggestSettings(dismissal_column="content", dismissal_reasons=meaning)
    events = [("a", 0, "email_sent"), told("dismissed", "a", 8, **said), ("a", 9, "portal_visit")]
    t = read_timeline(log_of(events), settings)
    previous = earlier(("s1", "a", "call_f2f", "f2f", 5, 30))
    found = dismissals(read_feedback(t, settings, previous), ACTIONS, t.as_of)
    rows = {r["action"]: (r["dismissed"], r["unwanted"]) for r in found.iter_rows(named=True)}
    assert {k: v for k, v in rows.items() if v != (0, False) or k in expected} == expected
    if any(v[0] for v in expected.values()):
        assert found["dismissed_days"].drop_nulls().to_list() == [1.0] * len(expected)


def reason(events: list[tuple[Any, ...]], case: str, settings: SuggestSettings, found: Found) -> str:
    made = make_suggestions(log_of(events), None, None, settings, lambda _w, _s: None, found).tables
    here = (pl.col("case_id") == case) & (pl.col("action") == "call_f2f")
    return (
        "" if made["suggestions"].filter(here).height else str(made["suppressed"].filter(here)["reason"][0])
    )


def test_the_next_run_lets_a_dismissed_action_rest_and_drops_it_when_repeated() -> None:
    first = make_suggestions(log_of(world()), None, None, LOOSE, lambda _w, _s: None, Found())
    calls = first.tables["suggestions"].filter(action="call_f2f")
    row = calls.row(0, named=True)
    case, found = row["case_id"], Found(previous=first.tables["suggestions"])
    once = told("dismissed", case, 199.0, suggestion_id=row["suggestion_id"])
    again = told("dismissed", case, 150.0, channel="f2f")
    assert reason(world(), case, LOOSE, Found()) == ""
    assert reason([*world(), once], case, LOOSE, found) == "dismissed_lately"
    assert reason([*world(), once, again], case, LOOSE, found) == "dismissed_for_good"
    assert reason([*world(), again], case, LOOSE, Found()) == ""  # 50 days ago, once: the rest is over
    told_facts = make_suggestions(log_of([*world(), once]), None, None, LOOSE, lambda _w, _s: None, found)
    assert told_facts.facts["feedback"]["dismissed"] == 1
    assert told_facts.facts["feedback"]["n"] == first.tables["suggestions"].height
    assert told_facts.tables["adherence"]["owner_id"][0] is None


def test_what_was_done_as_suggested_rests_until_its_answer_may_have_come() -> None:
    # marked as done without a call in the log: only the feedback tells that a visit was made
    first = make_suggestions(log_of(world()), None, None, LOOSE, lambda _w, _s: None, Found())
    row = first.tables["suggestions"].filter(action="call_f2f").row(0, named=True)
    case, found = row["case_id"], Found(previous=first.tables["suggestions"])
    done = told("completed", case, 199.0, suggestion_id=row["suggestion_id"])
    assert reason([*world(), done], case, LOOSE, found) == "executed_lately"
    short = SuggestSettings(**{**vars(LOOSE), "executed_rest": "1h"})
    assert reason([*world(), done], case, short, found) == ""


def test_a_message_turned_down_is_not_suggested_again() -> None:
    first = make_suggestions(log_of(world()), None, None, LOOSE, lambda _w, _s: None, Found())
    row = first.tables["suggestions"].filter(action="call_f2f").row(0, named=True)
    settings = SuggestSettings(
        **{
            **vars(LOOSE),
            "dismissal_column": "content",
            "dismissal_reasons": {"old news": "message"},
            "dismissal_rest": "1h",
        }
    )
    no = told("dismissed", row["case_id"], 199.0, suggestion_id=row["suggestion_id"], content="Old news")
    found = Found(previous=first.tables["suggestions"])
    made = make_suggestions(log_of([*world(), no]), None, None, settings, lambda _w, _s: None, found)
    here = made.tables["suggestions"].filter(case_id=row["case_id"], action="call_f2f")
    assert row["message"] is not None and here["message"].to_list() != [row["message"]]


def test_the_earlier_run_must_be_there(tmp_path: Any) -> None:
    with pytest.raises(JobError, match="there are no suggestions"):
        read_previous(SuggestSettings(previous="gone"), tmp_path)
    assert read_previous(SuggestSettings(), tmp_path) is None
    table = earlier(("s1", "a", "call_f2f", "f2f", 1, 3))
    (tmp_path / "old" / "suggestions").mkdir(parents=True)
    table.write_parquet(tmp_path / "old" / "suggestions" / "suggestions.parquet")
    found = read_previous(SuggestSettings(previous="old"), tmp_path)
    assert found is not None and found.equals(table)


def test_a_reason_must_mean_something_known() -> None:
    with pytest.raises(JobError, match="dismissal_reasons"):
        SuggestSettings(dismissal_reasons={"x": "perhaps"})
