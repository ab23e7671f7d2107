"""Rules of the users, the channel policy, objectives and costs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import polars as pl
import pytest
from oracles_suggest import log_of
from test_suggest import LOOSE, world

from behavio.errors import JobError
from behavio.suggest import Found, SuggestSettings, TriggerRule
from behavio.suggest.channels import (
    Cell,
    add_policy,
    case_values,
    check_policy,
    policy_conflicts,
    read_policy,
)
from behavio.suggest.make import Suggestions, make_suggestions
from behavio.suggest.objectives import OPENS_ONLY
from behavio.suggest.plan import in_order
from behavio.suggest.settings import DAY_US
from behavio.suggest.timeline import read_timeline
from behavio.suggest.triggers import Condition, holding, read_conditions

NAMES = ["call_f2f", "call_video", "email_open", "portal_visit"]


def make(events: list[tuple[Any, ...]], settings: SuggestSettings, **found: Any) -> Suggestions:
    return make_suggestions(log_of(events), None, None, settings, lambda _w, _s: None, Found(**found))


def test_conditions_are_read_as_people_mean_them() -> None:
    month, week = 30 * DAY_US, 7 * DAY_US
    assert read_conditions("portal_visit and no call in 30d", NAMES) == (
        Condition("portal_visit", False, month),
        Condition("call_*", True, month),
    )
    assert read_conditions("email_open in 7d and portal_visit -> email_open within 2d", NAMES) == (
        Condition("email_open", False, week),
        Condition("portal_visit -> email_open within 2d", False, month),
    )
    assert read_conditions("no call_f2f in 7d", NAMES) == (Condition("call_f2f", True, week),)
    for wrong in ("portal_visit and no in 30d", "no "):
        with pytest.raises(JobError):
            read_conditions(wrong, NAMES)


def test_who_fits_a_trigger_by_hand() -> None:
    # day 100 is today: a visited and was never called; b was called 10 days ago, c 40 days ago; d visited on
    # day 60, e never did
    events = [("a", 95, "portal_visit"), ("b", 95, "portal_visit"), ("b", 90, "call_f2f")]
    events += [
        ("c", 95, "portal_visit"),
        ("c", 60, "call_f2f"),
        ("d", 60, "portal_visit"),
        ("e", 99, "email_open"),
    ]
    log = log_of([*events, ("z", 100, "email_sent")])
    t = read_timeline(log, SuggestSettings())
    who = holding(log, t, TriggerRule("portal_visit and no call in 30d", "call_f2f"))
    assert who["case_id"].to_list() == ["a", "c"]
    none = holding(log, t, TriggerRule("portal_visit -> call_f2f in 7d", "call_f2f"))
    assert none.height == 0
    with pytest.raises(JobError, match="portal_vist"):
        holding(log, t, TriggerRule("portal_vist", "call_f2f"))


def test_a_trigger_suggests_without_evidence_but_not_against_other_rules() -> None:
    rule = TriggerRule("portal_visit in 90d", "email_sent", name="visitors get mail")
    settings = SuggestSettings(**{**vars(LOOSE), "trigger": (rule,), "min_evidence": 10_000})
    made = make(world(works=False), settings)
    plain = make(world(works=False), SuggestSettings(**{**vars(settings), "trigger": ()}))
    assert plain.tables["suggestions"].height == 0
    rows = made.tables["suggestions"]
    assert (
        rows.height
        and set(rows["action"]) == {"email_sent"}
        and set(rows["trigger"]) == {"visitors get mail"}
    )
    assert all("Rule “visitors get mail” holds." in r and "no evidence yet" in r for r in rows["reason"])
    held = made.tables["suppressed"].filter(action="email_sent")
    assert {"fatigue", "ignored_channel", "not_enough_history"} <= set(held["reason"])
    with pytest.raises(JobError, match="not weighed"):
        make(world(), SuggestSettings(trigger=(TriggerRule("portal_visit", "send_pigeon"),)))


def test_a_trigger_without_a_proven_gain_says_so() -> None:
    rule = TriggerRule("portal_visit in 90d", "email_sent")
    made = make(world(works=False), SuggestSettings(**{**vars(LOOSE), "trigger": (rule,)}))
    reasons = made.tables["suggestions"]["reason"].to_list()
    assert reasons and all("The difference may be chance." in r for r in reasons)


def offers(*rows: tuple[str, str, float, str | None, int]) -> pl.DataFrame:
    """Allowed actions of one case: action, channel, gain, trigger, place in the policy."""
    names = ["action", "channel", "gain", "trigger", "policy_place"]
    kinds = {"trigger": pl.String, "gain": pl.Float64}
    return pl.DataFrame(rows, names, orient="row", schema_overrides=kinds).with_columns(case=0)


def test_the_order_of_actions() -> None:
    rows = offers(
        ("f2f", "f2f", 0.30, None, 0), ("mail", "email", 0.29, None, 0), ("call", "phone", 0.2, None, 0)
    )
    assert in_order(rows, SuggestSettings())["action"].to_list() == ["f2f", "mail", "call"]
    # 0.29 is as good as 0.30: the cheaper one first; 0.2 is not, however cheap
    cheap = SuggestSettings(costs={"f2f": 20, "email": 1, "phone": 0})
    assert in_order(rows, cheap)["action"].to_list() == ["mail", "f2f", "call"]
    assert in_order(rows, cheap)["cost"].to_list() == [1.0, 20.0, 0.0]
    exact = SuggestSettings(costs={"f2f": 20, "email": 1}, equal_within=0.0)
    assert in_order(rows, exact)["action"].to_list() == ["f2f", "mail", "call"]
    asked = offers(
        ("f2f", "f2f", 0.3, None, 0), ("mail", "email", -0.1, "mine", 0), ("call", "phone", 0.5, None, 1)
    )
    assert in_order(asked, SuggestSettings())["action"].to_list() == ["mail", "f2f", "call"]


POLICY = """
[[cell]]
value = "high"
segment = "Readers"
channels = ["email", "f2f"]

[[cell]]
value = ["low"]
channels = []
"""


def test_the_policy_is_read_and_obeyed_to_the_letter(tmp_path: Path) -> None:
    path = tmp_path / "policy.toml"
    path.write_text(POLICY)
    cells = read_policy(path)
    assert cells[0] == Cell(("high",), ("Readers",), (), ("email", "f2f"))
    assert [c.name for c in cells] == ["high value, Readers", "low value"]
    frame = pl.DataFrame(
        {
            "case_id": ["a", "a", "a", "b", "c"],
            "channel": ["f2f", "email", "phone", "email", "phone"],
            "segment": ["Readers", "Readers", "Readers", "Readers", "Others"],
            "stage": [None] * 5,
        },
        schema_overrides={"stage": pl.String},
    )
    cases = pl.DataFrame({"case_id": ["a", "b", "c"], "decile": [9, 1, 9]})
    log = log_of([("a", 0, "email_sent")], cases)
    values = case_values(log, SuggestSettings(value_column="decile", high_value=8))
    assert values["worth"].to_list() == ["high", "low", "high"]
    check_policy(cells, ["Readers", "Others"], [])
    judged = add_policy(frame.join(values, on="case_id", how="left", maintain_order="left"), cells)
    # a may be reached by email first, then f2f, not by phone; b by nobody; c fits no cell
    assert judged["policy_forbids"].to_list() == [False, False, True, True, False]
    assert judged["policy_place"].to_list()[:2] == [1, 0]
    assert judged["policy_cell"].to_list() == ["high value, Readers"] * 3 + ["low value", None]
    with pytest.raises(JobError, match="'Readers' that is not there"):
        check_policy(cells, ["Others"], [])
    liked = pl.DataFrame(
        {"case_id": ["a", "a", "c"], "channel": ["phone", "email", "phone"], "contacts": 9, "responses": 8}
    ).with_columns(affinity=0.8, low=0.6, high=0.9, usual=pl.Series([0.5, 0.7, 0.5]), counted=pl.lit("x"))
    conflicts = policy_conflicts(judged, liked)
    assert conflicts.select("case_id", "cell", "preferred").rows() == [("a", "high value, Readers", "phone")]


@pytest.mark.parametrize(
    "text",
    ["", "[[cell]]\nvalue = 'high'", "[[cell]]\nchanels = ['email']", "cell = 3", "[[cell", "[x]\ny = 1"],
)
def test_policies_that_cannot_be_read(text: str, tmp_path: Path) -> None:
    path = tmp_path / "policy.toml"
    path.write_text(text)
    with pytest.raises(JobError):
        read_policy(path)
    with pytest.raises(JobError, match="no policy file"):
        read_policy(tmp_path / "gone.toml")


def test_a_run_obeys_its_policy(tmp_path: Path) -> None:
    (tmp_path / "p.toml").write_text('[[cell]]\nchannels = ["email"]')
    made = make(world(), SuggestSettings(**{**vars(LOOSE), "policy": str(tmp_path / "p.toml")}))
    assert set(made.tables["suggestions"]["channel"]) <= {"email"}
    held = made.tables["suppressed"].filter(action="call_f2f")
    assert set(held["reason"]) == {"channel_policy"}
    assert held["detail"][0] == "the policy for everybody names email"
    assert "conflicts" in made.tables


def test_objectives_by_word() -> None:
    def success(objective: str, **more: Any) -> tuple[str, ...]:
        settings = SuggestSettings(objective=objective, **more)
        return read_timeline(log, settings).objective.names

    events = [("a", 0, "call_f2f"), ("a", 1, "reaction_positive", {"reaction": "positive"})]
    events += [("a", 2, "email_open"), ("a", 3, "portal_visit"), ("a", 4, "rx")]
    log = log_of(events)
    assert success("inbound") == ("email_open", "portal_visit", "reaction_positive")
    assert success("reaction") == ("reaction_positive",)
    assert success("visit") == ("portal_visit",)
    assert success("outcome", outcome=("rx",)) == ("rx",)
    assert success("email_open, portal_visit") == ("email_open", "portal_visit")
    assert read_timeline(log, SuggestSettings(objective="email_open")).objective.opens
    assert not read_timeline(log, SuggestSettings()).objective.opens
    with pytest.raises(JobError, match="needs a ladder"):
        read_timeline(log, SuggestSettings(objective="stage"))
    with pytest.raises(JobError, match="names no activity"):
        SuggestSettings(objective="outcome")
    with pytest.raises(JobError, match="'rxx' is no activity"):
        read_timeline(log, SuggestSettings(objective="outcome", outcome=("rxx",)))


def test_a_stage_move_is_the_last_event_of_its_moment() -> None:
    events = [
        ("a", 0, "call_f2f"),
        ("a", 0, "reaction_positive"),
        ("a", 5, "email_sent"),
        ("b", 0, "call_f2f"),
    ]
    log = log_of(events)
    at = log.events["timestamp"]
    moves = pl.DataFrame({"case_id": ["a", "b"], "time": [at[0], at[0]], "back": [False, True]})
    t = read_timeline(log, SuggestSettings(objective="stage"), moves)
    assert t.events["activity"].gather(t.success.position).to_list() == ["reaction_positive"]
    assert t.objective.words == "a step up the ladder"


def test_opens_alone_are_warned_of() -> None:
    made = make(world(), SuggestSettings(**{**vars(LOOSE), "objective": "email_open"}))
    assert OPENS_ONLY in made.facts["notes"]
    assert OPENS_ONLY not in make(world(), LOOSE).facts["notes"]
