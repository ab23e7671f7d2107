from __future__ import annotations

import datetime as dt
import re
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from conftest import traces
from hypothesis import given
from oracles_suggest import DAY, START, Recount, log_of, opt_in

from behavio.errors import JobError, ModelError
from behavio.log import EventLog
from behavio.suggest import SuggestSettings, suggest, write_suggestions
from behavio.suggest.controls import with_base
from behavio.suggest.make import NO_CLOCK, NO_OUTBOUND, NO_SUCCESS, SUGGESTION_SCHEMA, SUPPRESSED_SCHEMA
from behavio.suggest.plan import make_plan, working_days
from behavio.suggest.reasons import contact_name, date, did
from behavio.suggest.scoring import Cells, Levels, shrink
from behavio.suggest.settings import DAY_US, moment
from behavio.suggest.situations import read_situations, seen_touches
from behavio.suggest.timeline import read_timeline
from behavio.words import percent, touchpoint

LOOSE = SuggestSettings(min_evidence=5, cap_per_28d=99, max_per_owner_day=99, message_fresh="1000d")


def world(n: int = 60, days: int = 200, seed: int = 1, works: bool = True) -> list[tuple[Any, ...]]:
    """Visits and emails at random; when they work, a visit mostly leads to the portal, an email seldom."""
    rng = np.random.default_rng(seed)
    events: list[tuple[Any, ...]] = []
    for i in range(n):
        case, day = f"h{i:02d}", float(rng.uniform(0, 10))
        while day < days - 7:
            action = ("call_f2f", "email_sent")[int(rng.random() < 0.6)]
            brand = {"message": f"m{rng.integers(4)}", "brand": "one", "actor_id": f"rep{i % 5}"}
            events.append((case, round(day, 3), action, brand))
            chance = 0.0 if not works else 0.6 if action == "call_f2f" else 0.25
            if rng.random() < chance:
                events.append((case, round(day + float(rng.uniform(0.1, 6)), 3), "portal_visit"))
            day += float(rng.exponential(12)) + 0.5
        for own in rng.uniform(0, days - 3, rng.poisson(4)):
            activity = ("portal_visit", "email_open")[int(rng.random() < 0.3)]
            events.append((case, round(float(own), 3), activity, {"message": "m1"}))
    return [*events, ("zz", float(days), "portal_visit")]


@pytest.fixture(scope="module")
def real() -> EventLog:
    return log_of(world(), consents=[opt_in(f"h{i:02d}") for i in range(60)])


@pytest.fixture(scope="module")
def made(real: EventLog) -> tuple[pl.DataFrame, pl.DataFrame, dict[str, Any]]:
    return suggest(real, None, None, LOOSE)


# --- counting --------------------------------------------------------------------------------------------


def test_windows_that_are_not_over_are_left_out() -> None:
    # a: visit day 0 → portal day 3 (response), visit day 20 → portal day 40 (too late)
    #    visit day 50: its window ends on day 64, the log on day 60, so it says nothing yet
    # b: email day 10 → opened day 24, exactly at the end of the window: a response
    log = log_of(
        [
            ("a", 0, "call_f2f"),
            ("a", 3, "portal_visit"),
            ("a", 20, "call_f2f"),
            ("a", 40, "portal_visit"),
            ("a", 50, "call_f2f"),
            ("b", 10, "email_sent"),
            ("b", 24, "email_open"),
            ("b", 60, "email_open"),
        ]
    )
    timeline = read_timeline(log, LOOSE)
    touches = seen_touches(read_situations(timeline, None, LOOSE), ["call_f2f", "email_sent"])
    assert touches.select("action", "observed", "response").rows() == [
        ("call_f2f", True, 1),
        ("call_f2f", True, 0),
        ("call_f2f", False, 0),
        ("email_sent", True, 1),
    ]
    # heard last within 14 days: nothing, nothing (17 days), portal (10 days); contacts in 28 days: 0, 1, 0
    assert touches["seen"].to_list() == ["", "", "portal_visit", ""]
    assert touches["touches"].to_list() == [0, 1, 0, 0]


def test_controls_are_others_at_the_same_moment_without_the_action() -> None:
    # visits: a on day 0 and 30, b on day 5, c on day 33.
    # a's day 0: nobody else has begun yet. b's day 5: a is free (her visit of day 0 is running), so is c.
    # a's day 30: b, not c (visited on day 33). c's day 33: b, and a (her visit of day 30 is running).
    log = log_of(
        [
            ("a", 0, "call_f2f"),
            ("a", 8, "portal_visit"),
            ("a", 30, "call_f2f"),
            ("b", 5, "call_f2f"),
            ("b", 31, "portal_visit"),
            ("c", 1, "portal_visit"),
            ("c", 33, "call_f2f"),
            ("z", 60, "portal_visit"),
        ]
    )
    situations = read_situations(read_timeline(log, LOOSE), None, LOOSE)
    touched = seen_touches(situations, ["call_f2f"]).filter("observed")
    compared = with_base(situations, "call_f2f", touched)
    contacts, controls = compared.contacts, compared.controls
    start = moment("2025-01-06T00:00:00") // DAY_US
    named = pl.Series(["a", "b", "c", "z"])
    found = [
        (named[case], day - start, recent, response)
        for case, day, recent, response in controls.select("case", "day", "recent", "response").rows()
    ]
    # the two draws may find the same case twice; on day 5 a answers on day 8, on day 30 b on day 31
    assert set(found) <= {("a", 5, 1, 1), ("c", 5, 0, 0), ("b", 30, 0, 1), ("b", 33, 0, 0), ("a", 33, 1, 0)}
    assert [day - start for day in contacts["day"]] == [30, 5, 33]
    assert contacts["controls"].to_list() == [2, 2, 2]


def test_events_at_the_same_moment_count_in_log_order() -> None:
    # the reaction has the visit's own time but stands after it: it is a response, and not heard before
    log = log_of([("a", 0, "call_f2f"), ("a", 0, "reaction_positive"), ("b", 30, "portal_visit")])
    touches = seen_touches(read_situations(read_timeline(log, LOOSE), None, LOOSE), ["call_f2f"])
    assert touches.select("response", "seen").rows() == [(1, "")]


def test_every_reason_is_counted_again_from_the_rows(
    real: EventLog, made: tuple[pl.DataFrame, pl.DataFrame, dict[str, Any]]
) -> None:
    suggestions = made[0]
    oracle = Recount(real, 14)
    events = {f"{e['source']}:{e['source_row']}": e for e in real.events.iter_rows(named=True)}
    known: dict[tuple[Any, ...], tuple[int, int, int, float]] = {}
    assert suggestions.height >= 20
    for s in suggestions.iter_rows(named=True):
        cell = (s["action"], s["level"], s["segment"], s["pressure"], s["seen"])
        n, k, base_n, base_share = known.setdefault(cell, oracle.numbers(s))
        assert (s["evidence_n"], s["responses"], s["base_n"]) == (n, k, base_n)
        assert s["base_share"] == pytest.approx(base_share, abs=1e-5)
        assert s["segment"] == "unassigned"
        case = oracle.traces[s["case_id"]]
        assert (s["segment"], s["pressure"], s["seen"]) == oracle.situation(s["case_id"], case, oracle.end)
        assert f"{percent(k / n)} of {n:,} " in s["reason"]
        assert f"without one an estimated {percent(s['base_probability'])} ({base_n:,} periods" in s["reason"]
        _check_story(s, [events[row] for row in s["evidence_rows"]], case, oracle)


def _check_story(
    s: dict[str, Any], rows: list[dict[str, Any]], trace: list[dict[str, Any]], oracle: Recount
) -> None:
    """What the first sentence says is exactly what the named rows hold, and nothing newer was left out."""
    told, name = s["reason"].split(". ")[0], contact_name(s["action"])
    assert {e["case_id"] for e in rows} <= {s["case_id"]}
    heard = [e for e in rows if oracle.is_heard(e)]
    contacts = [e for e in trace if e["activity"] == s["action"]]
    if contacts:
        assert rows[-1] == contacts[-1]
        assert told.endswith(f"no {name} since {date(contacts[-1]['timestamp'].date())}")
    else:
        assert told.endswith(f"no {name} so far")
    dates = re.findall(r"\d{1,2} \w{3} \d{4}", told.split(";")[0])
    for event in heard:
        assert did(event["activity"], event["message"]) in told[:1].lower() + told[1:]
    ever = [e for e in trace if oracle.is_heard(e)]
    if ever:
        assert heard[-1] == ever[-1] and dates == [date(e["timestamp"].date()) for e in heard]
    else:
        assert told.startswith("Nothing heard so far") and not heard and rows
    silent = not ever or ever[-1]["timestamp"] <= oracle.end - 90 * DAY
    assert told.startswith("Nothing heard") == silent


def test_probabilities_are_between_the_parts_they_are_shrunken_from(
    made: tuple[pl.DataFrame, pl.DataFrame, dict[str, Any]],
) -> None:
    s = made[0]
    assert s.select((pl.col("low") < pl.col("probability")).all()).item()
    assert s.select((pl.col("probability") < pl.col("high")).all()).item()
    assert s.select((pl.col("gain_low") > 0).all()).item()
    assert s.select((pl.col("base_probability") < pl.col("probability")).all()).item()
    assert s["gain"].to_numpy() == pytest.approx((s["probability"] - s["base_probability"]).to_numpy())


def test_eager_people_do_not_make_a_contact_look_good() -> None:
    # eager people (portal every other day) get most visits, quiet ones most emails: comparing people would
    # praise visits; comparing each with her own free weeks does not
    rng = np.random.default_rng(5)
    events: list[tuple[Any, ...]] = []
    for i in range(60):
        eager, case = i % 2 == 0, f"c{i:02d}"
        for day in rng.uniform(0, 300, 100 if eager else 4):
            events.append((case, round(float(day), 3), "portal_visit"))
        for day in rng.uniform(0, 300, 9):
            often = "call_f2f" if eager == (rng.random() < 0.8) else "email_sent"
            events.append((case, round(float(day), 3), often))
    made, left_out, _ = suggest(log_of(events), None, None, LOOSE)
    assert made.height == 0
    assert left_out.filter(pl.col("reason") == "no_evidence").height > 80


def test_a_busy_season_does_not_make_a_campaign_look_good() -> None:
    # campaigns reach half of the people on the first day of weeks in which everybody visits the portal
    rng = np.random.default_rng(6)
    events: list[tuple[Any, ...]] = []
    for week in range(0, 300, 30):
        for i in range(80):
            if rng.random() < 0.5:
                events.append((f"c{i:02d}", float(week) + 0.4, "email_sent"))
            if rng.random() < 0.7:
                events.append((f"c{i:02d}", round(week + 1 + float(rng.uniform(0, 5)), 3), "portal_visit"))
    made, _, facts = suggest(log_of(events), None, None, LOOSE)
    assert facts["n_touches"] > 300
    assert made.height == 0


def test_shares_are_pulled_to_the_level_above_by_how_little_they_rest_on() -> None:
    # two groups of one situation each: 900 of 1,000 against 0 of 1; overall 900 of 1,001
    frame = pl.DataFrame({"segment": ["big", "small"], "pressure": [0, 0], "seen": ["", ""]})
    cells = Cells.of(frame)
    n = np.array([[1_001.0] * 2, [1_000.0, 1.0], [1_000.0, 1.0]])
    k = np.array([[900.0] * 2, [900.0, 0.0], [900.0, 0.0]])
    a, b = shrink(cells, Levels(n, k, k / n, n))
    mean = a / (a + b)
    assert mean[0].tolist() == pytest.approx([900.5 / 1_002] * 2)
    assert abs(mean[2][0] - 0.9) < 0.002
    assert 0.3 < mean[2][1] < 0.9  # one window says little
    nothing = Levels(n * 0, k * 0, k * 0, n * 0)
    a, b = shrink(cells, nothing)
    assert (a / (a + b)).tolist() == [[0.5, 0.5]] * 3


# --- what must and must not be suggested -----------------------------------------------------------------


def test_shuffled_responses_give_no_evidence_instead_of_suggestions() -> None:
    for seed in range(5):
        made, left_out, facts = suggest(log_of(world(seed=seed, works=False)), None, None, LOOSE)
        assert made.height == 0
        assert facts["suppressed_by_rule"]["no_evidence"] >= 100
        assert "held back" in facts["note"]
        assert left_out.height == facts["n_candidates"]


def test_what_works_is_suggested_and_every_candidate_is_accounted_for(
    made: tuple[pl.DataFrame, pl.DataFrame, dict[str, Any]],
) -> None:
    suggestions, left_out, facts = made
    assert set(suggestions["action"]) == {"call_f2f", "email_sent"} or set(suggestions["action"]) == {
        "call_f2f"
    }
    assert suggestions.height + left_out.height == facts["n_candidates"] == 61 * 2
    both = pl.concat([suggestions.select("case_id", "action"), left_out.select("case_id", "action")])
    assert both.is_unique().all()
    assert dict(suggestions.schema) == SUGGESTION_SCHEMA
    assert dict(left_out.schema) == SUPPRESSED_SCHEMA
    assert left_out["reason"].null_count() == left_out["detail"].null_count() == 0
    assert sum(facts["suppressed_by_rule"].values()) == left_out.height


def _reason(log: EventLog, case: str, action: str = "call_f2f") -> str:
    """The rule that holds an action back for a case, "" when it is suggested."""
    made, left_out, _ = suggest(log, None, None, LOOSE)
    here = (pl.col("case_id") == case) & (pl.col("action") == action)
    assert made.filter(here).height + left_out.filter(here).height == 1
    return "" if made.filter(here).height else str(left_out.filter(here)["reason"][0])


def test_a_colleagues_visit_today_holds_the_suggestion_back(
    made: tuple[pl.DataFrame, pl.DataFrame, dict[str, Any]],
) -> None:
    case = made[0].filter(pl.col("action") == "call_f2f")["case_id"][0]
    before = log_of(world())
    today = (case, 199.8, "call_f2f", {"actor_id": "colleague"})
    assert _reason(before, case) == ""
    # the colleague becomes nobody's owner: the next sales contact after hers is the owner's own
    own = (case, 199.9, "call_f2f", {"actor_id": "rep1"})
    assert _reason(log_of([*world(), today]), case) in ("stacking", "cooldown")
    assert _reason(log_of([*world(), today, own]), case) in ("stacking", "cooldown")
    email = (case, 199.8, "email_sent", {"actor_id": "campaign"})
    assert _reason(log_of([*world(), email]), case) == "stacking"


def test_erasing_the_consent_removes_the_suggestion() -> None:
    everybody = [opt_in(f"h{i:02d}") for i in range(60)]
    made, _, _ = suggest(log_of(world(), consents=everybody), None, None, LOOSE)
    case = made.filter(pl.col("action") == "email_sent")["case_id"][0]
    erased = [c for c in everybody if c["case_id"] != case]
    assert _reason(log_of(world(), consents=erased), case, "email_sent") == "no_consent"
    out = [*everybody, opt_in(case, 50, state="opt_out")]
    assert _reason(log_of(world(), consents=out), case, "email_sent") == "no_consent"
    back = [*out, opt_in(case, 60)]
    assert _reason(log_of(world(), consents=back), case, "email_sent") == ""


def test_a_refusal_of_the_product_removes_what_is_about_it() -> None:
    everybody = [opt_in(f"h{i:02d}") for i in range(60)]
    made, _, _ = suggest(log_of(world(), consents=everybody), None, None, LOOSE)
    case = made.filter(pl.col("action") == "email_sent")["case_id"][0]
    out = opt_in(case, 50, state="opt_out")
    about = log_of(world(), consents=[*everybody, out | {"brand": "one"}])
    assert _reason(about, case, "email_sent") == "no_consent"
    held = suggest(about, None, None, LOOSE)[1].filter(case_id=case, reason="no_consent")
    assert held["detail"].to_list() == ["opted out for one"]
    # what she said about another product closes nothing here
    other = log_of(world(), consents=[*everybody, out | {"brand": "two"}])
    assert _reason(other, case, "email_sent") == ""


def test_medical_events_are_never_told_and_never_counted() -> None:
    medical = [("h00", 150.0, "msl_question"), ("h00", 196.0, "msl_question"), ("h01", 196.0, "msl_question")]
    visits = [(f"h{i:02d}", d + 0.01, "msl_visit", {"actor_id": "msl"}) for i in range(60) for d in (30, 90)]
    with_them, _, facts = suggest(log_of([*world(), *medical, *visits]), None, None, LOOSE)
    assert facts["suppressed_by_rule"]["medical_firewall"] == 61
    assert "msl_question" not in facts["objective"]
    assert not any("msl" in r or "medical" in r for r in with_them["reason"])
    assert set(with_them["seen"]) <= {"", "portal_visit", "email_open"}


# --- the plan --------------------------------------------------------------------------------------------


def test_an_owner_gets_three_a_day_on_working_days() -> None:
    settings = SuggestSettings(min_evidence=5, cap_per_28d=99, message_fresh="1000d")
    made, left_out, _ = suggest(log_of(world(n=200)), None, None, settings)
    per_day = made.group_by("owner_id", "due_from").len()
    assert per_day["len"].max() == 3
    as_of = START + 200 * DAY
    assert as_of.date() == dt.date(2025, 7, 25)  # a Friday
    days = [dt.date(2025, 7, d) for d in (28, 29, 30, 31)] + [dt.date(2025, 8, 1)]
    assert made["due_from"].unique().sort().to_list() == days
    assert made["due_to"].unique().to_list() == [days[-1]]
    assert made["expires_on"].unique().to_list() == [dt.date(2025, 8, 8)]
    assert "max_per_owner_day" in set(left_out["reason"])
    urgent = made.filter(pl.col("priority") == "urgent")
    assert 0 < urgent.height < made.height
    assert urgent["due_from"].unique().to_list() == days[:1]


def test_two_suggestions_for_one_case_keep_the_cooldown_between_them(
    made: tuple[pl.DataFrame, pl.DataFrame, dict[str, Any]],
) -> None:
    twice = made[0].filter(pl.len().over("case_id") > 1).sort("case_id", "rank")
    assert twice.height > 0
    for _, rows in twice.group_by("case_id"):
        assert rows["rank"].to_list() == [1, 2]
        assert (rows["due_from"][1] - rows["due_from"][0]).days >= 2
        assert rows["gain"][0] >= rows["gain"][1]


def test_the_plan_itself_stays_under_the_cap() -> None:
    # three allowed actions, 4 contacts so far, cap 6: two are made, the third would be contact 7
    allowed = pl.DataFrame(
        {
            "case": [0, 0, 0],
            "case_id": ["a"] * 3,
            "action": ["x", "y", "z"],
            "message": [None] * 3,
            "owner_id": ["rep"] * 3,
            "gain": [0.1, 0.3, 0.2],
            "cap": [6] * 3,
            "touches_28d": [4] * 3,
            "waiting": [False] * 3,
            "channel": ["email"] * 3,
            "trigger": [None] * 3,
            "policy_place": [0] * 3,
            "contacts": [None] * 3,
            "band_low": [None] * 3,
            "band_high": [None] * 3,
            "ignored": [0] * 3,
        },
        schema_overrides={
            **{c: pl.String() for c in ("message", "trigger")},
            **{c: pl.Float64() for c in ("band_low", "band_high")},
            "contacts": pl.Int64(),
        },
    )
    plan = make_plan(allowed, moment("2025-07-25"), SuggestSettings())
    assert plan.select("action", "rank", "rule").rows() == [
        ("y", 1, None),
        ("z", 2, None),
        ("x", 3, "contact_cap"),
    ]
    assert make_plan(allowed, moment("2025-07-25"), SuggestSettings(max_per_case=1))["rule"].to_list() == [
        None,
        "max_per_case",
        "max_per_case",
    ]


def test_working_days_skip_the_weekend() -> None:
    # as_of Wednesday 26 November 2025
    assert [d.day for d in working_days(moment("2025-11-26"))] == [27, 28, 1, 2, 3]


# --- messages --------------------------------------------------------------------------------------------


def test_the_best_message_the_case_is_not_tired_of() -> None:
    # "old" works every time but nobody got it for a year; "good" works in 3 of 4, "bad" never.
    # a had "good" three times and did not answer the last one, so she gets "bad"
    events: list[tuple[Any, ...]] = []
    for i in range(12):
        case, message = f"c{i:02d}", "bad" if i < 6 else "good"
        events += [(case, 0.0, "email_sent", {"message": "old"}), (case, 1.0, "portal_visit")]
        for day in (400.0, 430.0, 460.0, 490.0):
            events.append((case, day, "email_sent", {"message": message}))
            if message == "good" and day != 490.0 and i != 6:
                events.append((case, day + 2, "portal_visit"))
    events += [("a", d, "email_sent", {"message": "good"}) for d in (401.0, 431.0, 461.0)]
    events += [("a", 403.0, "portal_visit"), ("a", 440.0, "portal_visit"), ("c00", 520.0, "portal_visit")]
    settings = SuggestSettings(min_evidence=1, cap_per_28d=99, max_per_owner_day=99, message_fresh="150d")
    timeline_log = log_of(events)
    from behavio.suggest.messages import choose_messages, shown_messages

    timeline = read_timeline(timeline_log, settings)
    situations = read_situations(timeline, None, settings)
    shown = shown_messages(situations, ["email_sent"], settings)
    ids = timeline.case_ids.to_list()
    asked = pl.DataFrame({"case": range(len(ids)), "action": ["email_sent"] * len(ids)})
    asked = asked.with_columns(case_brand=pl.lit(None, dtype=pl.String))
    chosen = choose_messages(asked, shown, timeline.as_of, settings)
    got = dict(zip(ids, chosen["message"].to_list(), strict=True))
    assert got["a"] == "bad"
    assert got["c00"] == "good"
    assert chosen["messages"].unique().to_list() == [2]
    assert "old" not in set(chosen["message"])


def test_messages_of_a_visit_come_from_its_parts() -> None:
    # the visit names nothing; its reaction and the message shown a minute later do, the email does not count
    from behavio.suggest.messages import shown_messages

    log = log_of(
        [
            ("a", 1.0, "call_f2f"),
            ("a", 1.001, "reaction_positive", {"message": "m1", "reaction": "Positive"}),
            ("a", 1.002, "message_shown", {"message": "m2"}),
            ("a", 1.003, "email_sent", {"message": "m3"}),
            ("a", 5.0, "reaction_neutral", {"message": "m4", "reaction": "Neutral"}),
            ("b", 30.0, "portal_visit"),
        ]
    )
    situations = read_situations(read_timeline(log, LOOSE), None, LOOSE)
    shown = shown_messages(situations, ["call_f2f", "email_sent"], LOOSE)
    # m2 and m3 have no answer after them within 14 days (a neutral reaction is none)
    assert shown.select("action", "message", "worked").rows() == [
        ("call_f2f", "m1", True),
        ("call_f2f", "m2", False),
        ("email_sent", "m3", False),
    ]


# --- files, settings, odd input --------------------------------------------------------------------------


def test_the_same_input_gives_the_same_bytes(real: EventLog, tmp_path: Path) -> None:
    facts = []
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        facts.append(write_suggestions(real, None, None, None, LOOSE, 7, tmp_path / name))  # type: ignore[arg-type]
    assert facts[0] == facts[1]
    files = sorted(p.name for p in (tmp_path / "one").iterdir())
    tables = ["affinity", "content", "missing", "plan", "suggestions", "suppressed"]
    assert files == sorted([*(f"{t}.parquet" for t in tables), "policy.json"])
    for name in files:
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()


def test_segments_and_next_steps_stand_beside_the_suggestion(real: EventLog) -> None:
    ids = real.cases["case_id"]
    names = [f"group {i % 2}" for i in range(len(ids))]
    segments = pl.DataFrame({"case_id": ids, "segment_id": 0, "segment": names, "strength": 1.0})
    steps = pl.DataFrame({"case_id": ids, "rank": 1, "activity": "portal_visit", "probability": 0.25})
    made, _, _ = suggest(real, steps, segments, LOOSE)
    oracle = Recount(real, 14, dict(zip(ids, names, strict=True)))
    assert set(made["segment"]) == {"group 0", "group 1"}
    assert set(made["next_activity"]) == {"portal_visit"}
    for s in made.head(8).iter_rows(named=True):
        assert (s["evidence_n"], s["responses"], s["base_n"]) == oracle.numbers(s)[:3]
        assert f"group “{s['segment']}”" in s["reason"]


@pytest.mark.parametrize(
    ("log", "note"),
    [
        (log_of([("a", 0, "call_f2f"), ("a", 1, "portal_visit")], timed=False), NO_CLOCK),
        (log_of([("a", 0, "pay"), ("a", 1, "ship")]), NO_OUTBOUND),
        (log_of([("a", 0, "portal_visit")]), NO_OUTBOUND),
        (log_of([("a", 0, "call_f2f"), ("a", 30, "call_f2f")]), NO_SUCCESS),
    ],
)
def test_logs_that_carry_no_suggestion_say_why(log: EventLog, note: str) -> None:
    made, left_out, facts = suggest(log, None, None, SuggestSettings())
    assert made.height == left_out.height == facts["n_suggestions"] == 0
    assert facts["note"] == note
    assert dict(made.schema) == SUGGESTION_SCHEMA
    assert dict(left_out.schema) == SUPPRESSED_SCHEMA


def test_cases_without_events_are_held_back_and_one_event_is_no_history() -> None:
    cases = pl.DataFrame({"case_id": ["a", "b", "silent"]})
    log = log_of([("a", 0, "call_f2f"), ("a", 1, "portal_visit"), ("b", 2, "portal_visit")], cases)
    _, left_out, facts = suggest(log, None, None, SuggestSettings())
    reasons = dict(left_out.select("case_id", "reason").rows())
    assert reasons == {"a": "no_evidence", "b": "not_enough_history", "silent": "not_enough_history"}
    assert left_out.filter(pl.col("case_id") == "silent")["detail"][0] == "0 of the 2 events needed"
    assert facts["n_cases"] == 3


@pytest.mark.parametrize(
    "events",
    [
        [("a", 0, "call_f2f")],
        [("a", 0, "call_f2f"), ("a", 0, "portal_visit")],
        [("a", d, ("call_f2f", "portal_visit")[d % 2]) for d in range(200)],
        [(f"c{i}", 0, ("call_f2f", "portal_visit")[d]) for i in range(50) for d in range(2)],
    ],
    ids=["one event", "one moment", "one case", "all at once"],
)
def test_small_and_lopsided_logs_say_nothing_rather_than_something(events: list[tuple[Any, ...]]) -> None:
    made, left_out, facts = suggest(log_of(events), None, None, SuggestSettings(min_evidence=1))
    assert made.height == 0
    assert left_out.height == facts["n_candidates"]


def test_of_many_actions_the_most_frequent_are_weighed() -> None:
    out = {"direction": "outbound", "channel": "mail"}
    events = [("a", float(i) / 10, f"mailing {i:03d}", out) for i in range(300)]
    events += [("a", 31.0, "mailing 299", out), ("b", 40.0, "portal_visit")]
    _, left_out, facts = suggest(log_of(events), None, None, SuggestSettings())
    assert len(facts["actions"]) == 20
    assert facts["actions"][-1] == "mailing 299"
    assert facts["notes"][0].startswith("20 of 300 outbound activities")
    assert left_out.height == 40
    chosen = SuggestSettings(actions=("mailing 123",))
    assert suggest(log_of(events), None, None, chosen)[2]["actions"] == ["mailing 123"]


@given(traces=traces)
def test_any_log_is_accounted_for(traces: list[list[str]]) -> None:
    name = {"a": "call_f2f", "b": "email_sent", "c": "portal_visit", "d": "email_open"}
    events = [(f"c{i}", 9.0 * j, name[a]) for i, trace in enumerate(traces) for j, a in enumerate(trace)]
    made, left_out, facts = suggest(
        log_of(events), None, None, SuggestSettings(min_evidence=1, min_history=1)
    )
    assert made.height + left_out.height == facts["n_candidates"]
    assert made.select((pl.col("gain_low") > 0).all()).item()
    assert left_out["reason"].null_count() == 0


def test_odd_names_and_a_bare_log_go_through() -> None:
    # no team, no channel, no actor; emoji, a comma and right-to-left text in activities and cases
    bare = {"channel": None, "team": None, "actor_id": None}
    events: list[tuple[Any, ...]] = []
    for i in range(30):
        for day in range(0, 300, 30):
            events.append((f"‏مرحبا {i}", float(day) + i / 10, "🎁, gift", bare | {"direction": "outbound"}))
            events.append((f"‏مرحبا {i}", day + 1 + i / 10, "thank “you”", bare | {"direction": "inbound"}))
    made, _, facts = suggest(log_of(events), None, None, LOOSE)
    assert facts["actions"] == ["🎁, gift"]
    assert made["channel"].null_count() == made.height
    assert facts["n_candidates"] == 30


def test_as_of_forgets_what_came_later() -> None:
    events = [
        ("a", 0, "call_f2f"),
        ("a", 1, "portal_visit"),
        ("a", 40, "portal_visit"),
        ("a", 90, "call_f2f"),
    ]
    cut = read_timeline(log_of(events), SuggestSettings(as_of="2025-02-20"))  # day 45
    assert cut.events.height == 3
    assert cut.as_of == moment("2025-02-20T23:59:59.999999")
    with pytest.raises(ModelError, match="nothing happened"):
        read_timeline(log_of(events), SuggestSettings(as_of="2020-01-01"))


@pytest.mark.parametrize(
    ("settings", "text"),
    [
        ({"objective": " , "}, "objective is empty"),
        ({"max_per_case": 0}, "max_per_case"),
        ({"cap_per_28d": 0}, "cap_per_28d"),
        ({"response_window": "14"}, "no duration"),
        ({"cooldown": "0h"}, "cooldown"),
        ({"as_of": "yesterday"}, "no date"),
    ],
)
def test_settings_that_cannot_be(settings: dict[str, Any], text: str) -> None:
    with pytest.raises(JobError, match=text) as problem:
        SuggestSettings(**settings)
    assert problem.value.hint


@pytest.mark.parametrize(
    "settings",
    [
        SuggestSettings(objective="portal_visits"),
        SuggestSettings(actions=("call_ftf",)),
        SuggestSettings(holdout_column="case"),
    ],
)
def test_settings_that_name_what_the_log_lacks(settings: SuggestSettings, real: EventLog) -> None:
    with pytest.raises(JobError) as problem:
        suggest(real, None, None, settings)
    assert "did you mean" in problem.value.hint


def test_words() -> None:
    assert contact_name("email_sent") == "email"
    assert contact_name("call_f2f") == touchpoint("call_f2f") == "rep visit"
    assert did("email_open", "52-week results") == "opened “52-week results”"
    assert did("portal_visit", None) == "visited the portal"
    assert did("coupon_redeemed", None) == "“coupon redeemed”"
    assert date(dt.date(2025, 11, 3)) == "3 Nov 2025"


def test_a_real_log(real_log: Any) -> None:
    events = pl.read_parquet(real_log("complete_journey")).with_columns(pl.col("case_id").cast(pl.String))
    out = pl.col("activity").str.starts_with("campaign")
    rows = events.select(
        "case_id",
        ((pl.col("timestamp") - START.replace(tzinfo=None)).dt.total_seconds() / 86_400).alias("day"),
        "activity",
        pl.when(out).then(pl.lit("outbound")).otherwise(pl.lit("inbound")).alias("direction"),
    )
    log = log_of([(c, d, a, {"direction": way}) for c, d, a, way in rows.iter_rows()])
    settings = SuggestSettings(objective="coupon_redeemed", response_window="28d")
    made, left_out, facts = suggest(log, None, None, settings)
    assert made.height + left_out.height == facts["n_candidates"] == 2_379 * 3
    assert made.height > 500
    assert made.select((pl.col("gain_low") > 0).all()).item()
    assert (made["share"] * made["evidence_n"]).round(0).to_list() == made["responses"].to_list()
