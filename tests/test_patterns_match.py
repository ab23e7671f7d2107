"""The pattern language: what it says, where it is wrong, who matches, against every way of placing it."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import polars as pl
import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from oracles_journeys import load
from oracles_patterns import slow_match

import behavio
from behavio.cli import cli
from behavio.errors import JobError
from behavio.patterns.language import PatternError, parse
from behavio.patterns.matches import CASE_SCHEMA, NEAR_SCHEMA, match
from behavio.sequences import Field, SequenceSet, Vocabulary

DAY = 86_400
NAMES = ("call_f2f", "call_phone", "email_open", "email_sent", "portal_visit", "Food and Beverage")
# c0 matches; c1 comes too late; c2 has a visit in between; c3 never opens; c4 only opens
FIVE = [
    [("email_sent", 0), ("email_open", 1), ("portal_visit", 5)],
    [("email_sent", 0), ("email_open", 1), ("portal_visit", 20)],
    [("email_sent", 0), ("call_f2f", 1), ("email_open", 2), ("portal_visit", 3)],
    [("email_sent", 0), ("portal_visit", 3)],
    [("email_open", 0), ("Food and Beverage", 2)],
]


def logged(cases: list[list[tuple[str, float]]]) -> SequenceSet:
    return SequenceSet.from_traces(
        [[a for a, _ in c] for c in cases], [[int(d * DAY) for _, d in c] for c in cases]
    )


def who(text: str, log: SequenceSet | None = None) -> list[str]:
    return match(log or logged(FIVE), text).cases["case_id"].to_list()


def test_the_first_example_by_hand():
    found = match(logged(FIVE), "email_sent -> email_open -> portal_visit within 14d, no call_f2f")
    assert found.cases["case_id"].to_list() == ["c0"] and found.share == 0.2
    assert found.cases.row(0, named=True) == {
        "case_id": "c0",
        "matches": 1,
        "first": found.cases["first"][0],
        "last": found.cases["last"][0],
        "duration_s": 5 * DAY,
        "events": [0, 1, 2],
        "activities": ["email_sent", "email_open", "portal_visit"],
    }
    near = {r["case_id"]: (r["steps_done"], r["lacks"], r["why"]) for r in found.near.to_dicts()}
    assert near == {
        "c1": (2, "portal_visit", "it came, but outside the time allowed"),
        "c2": (1, "email_open", "a forbidden event came in between"),
        "c3": (1, "email_open", "it never came after that"),
    }
    assert found.steps["cases"].to_list() == [4, 2, 1]
    assert found.steps["median_s"].to_list() == [None, DAY, 4 * DAY]
    assert found.means.endswith("all within 14 days; no call_f2f in between")


@pytest.mark.parametrize(
    ("text", "cases"),
    [
        ("email_sent => email_open", ["c0", "c1"]),
        ("email_sent -> email_open", ["c0", "c1", "c2"]),
        ("email_sent → portal_visit", ["c0", "c1", "c2", "c3"]),
        ("call_f2f | email_open -> portal_visit within 2d", ["c2"]),
        ("(call_*|email_open) -> portal_visit within 4d", ["c0", "c2"]),
        ("email_sent => * => portal_visit", ["c0", "c1"]),
        ("email_sent -> * -> * -> portal_visit", ["c2"]),
        ("email_*{2}", ["c0", "c1", "c2"]),
        ("*{4}", ["c2"]),
        ("*{3,}", ["c0", "c1", "c2"]),
        ("email_sent -> call_f2f? -> portal_visit within 4d of call_f2f?", ["c2", "c3"]),
        ("^ email_open", ["c4"]),
        ("email_sent -> portal_visit $, no email_open", ["c3"]),
        ("Food and Beverage", ["c4"]),
        ('"Food and Beverage"', ["c4"]),
        ("email_open after 2d -> portal_visit", []),
        ("email_sent -> portal_visit within 1 event", ["c3"]),
        ("email_sent -> portal_visit, within 2 events", ["c0", "c1", "c3"]),
        ("email_sent -> portal_visit after 4d", ["c0", "c1"]),
        ("portal_visit, no call_f2f before portal_visit", ["c0", "c1", "c3"]),
        ("email_sent, no call_f2f after email_sent", ["c0", "c1", "c3"]),
        ("email_sent, no * after email_sent within 2d", ["c3"]),
        ("email_sent -> email_open -> portal_visit, no call_* between email_open and portal_visit", ["c0", "c1", "c2"]),  # noqa: E501
        ("email_sent -> email_open -> portal_visit within 5d of email_open", ["c0", "c2"]),
    ],
)  # fmt: skip
def test_what_the_signs_mean(text, cases):
    if text.startswith("email_open after"):
        with pytest.raises(PatternError, match="nothing comes before the first step"):
            who(text)
    else:
        assert who(text) == cases


def test_tests_on_attributes():
    log = logged([[("email_sent", 0), ("email_sent", 1)], [("email_sent", 0)], [("email_sent", 0)]])
    brand, amount = Vocabulary.of(["X", "Y"]), Vocabulary.of(["5", "50", "much"])
    log = replace(
        log,
        fields={
            "brand": Field(brand.encode(pl.Series(["X", "Y", "Y", None])), brand),
            "amount": Field(amount.encode(pl.Series(["5", "50", "much", None])), amount),
        },
    )
    assert who("email_sent[brand=X]", log) == ["c0"]
    assert who("email_sent[brand=X|Y]", log) == ["c0", "c1"]
    assert who("email_sent[brand!=X]", log) == ["c0", "c1", "c2"]
    assert who('^ *[brand~"y"]', log) == ["c1"]
    assert who("email_sent[amount>10]", log) == ["c0"] and who("email_sent[amount<=5]", log) == ["c0"]
    assert who("email_sent[brand=X, amount=5] -> *[brand=Y]", log) == ["c0"]
    assert who("email_sent, no *[brand=Y] after email_sent", log) == ["c0", "c1", "c2"]
    assert who("^ email_sent, no *[brand=Y] after email_sent", log) == ["c1", "c2"]


def test_too_early_to_say():
    # the log ends on day 10: nobody knows yet whether c1 stays silent for 5 days after day 8
    found = match(logged([[("a", 0)], [("a", 8)], [("b", 10)]]), "a, no * after a within 5d")
    assert found.cases["case_id"].to_list() == ["c0"] and found.n_undecided == 1
    assert found.near["why"].to_list() == ["too early to say"]


def test_matches_that_do_not_overlap_are_counted():
    log = logged([[("a", 0), ("b", 1), ("a", 2), ("a", 3), ("b", 4)]])
    found = match(log, "a -> b")
    assert found.n_matches == 2 and found.cases["events"].to_list() == [[0, 1]]
    # the match that ends first, and of those the shortest
    assert match(log, "a -> b after 2d").cases["events"].to_list() == [[2, 4]]


@pytest.mark.parametrize(
    ("text", "at", "said", "hint"),
    [
        ("", 0, "empty", "email_open"),
        ("email_sent -> emial_open", 14, "no activity 'emial_open'", "did you mean 'email_open'"),
        ("email_sent - email_open", 11, "expected '->' (later) or '=>' (directly next)", ""),
        ("email_sent ->", 13, "expected an activity", "for example"),
        ("email_sent within", 17, "expected a duration", "14d"),
        ("email_sent -> email_open within 14", 32, "expected a duration", "14d"),
        ("email_sent -> email_open within 14days", 32, "expected a duration", "14d"),
        ("email_sent, call_f2f", 12, "'no' or 'within' after the comma", "no call_f2f"),
        ("email_sent[brnd=X]", 11, "no attribute 'brnd'", "did you mean 'brand'"),
        ("email_sent[brand X]", 17, "one of = != ~", ""),
        ("email_sent[brand=]", 17, "a value", ""),
        ("email_sent[brand=X", 18, "expected ']', found the end", ""),
        ("(email_sent -> email_open", 25, "expected ')'", ""),
        ('"email_sent -> email_open', 0, "never closed", ""),
        ("email_sent{3,2}", 11, "repeats nothing", "{2,}"),
        ("email_sent, no call_f2f before portal_visit", 31, "no step of this pattern", "email_sent"),
        ("email_sent -> call_f2f within 3d of portal_visit", 36, "looks back", "'email_sent'"),
        ("calls_*", 0, "no activity is like", ""),
        ("Food and Beveridge", 0, "no activity 'Food'", ""),
    ],
)
def test_errors_point_at_the_place(text, at, said, hint):
    with pytest.raises(PatternError) as raised:
        parse(text, NAMES, ("brand",))
    assert said in str(raised.value) and hint in raised.value.hint
    assert raised.value.at == at
    assert str(raised.value).splitlines()[-1] == " " * (at + 2) + "^"


@given(st.text(alphabet="ab->=()[]{}|,^$*+? within no 1d\"'", max_size=25))
def test_any_text_is_a_pattern_or_an_error_that_says_where(text):
    try:
        parse(text, ("a", "b"), ("f",))
    except PatternError as wrong:
        assert 0 <= wrong.at <= len(text)


def test_a_pattern_must_need_something_and_not_be_endless():
    with pytest.raises(JobError, match="matches nothing at all"):
        who("email_sent? -> email_open?")
    with pytest.raises(JobError, match="more than 64 steps"):
        who("email_sent{65}")
    with pytest.raises(JobError, match="no clock"):
        who("email_sent -> email_open within 3d", replace(logged(FIVE), timed=False))


name = st.sampled_from(["a", "b", "c", "*", "(a|b)", "(b|c)"])
often = st.sampled_from(["", "", "", "", "{2}", "{2,}", "{1,2}", "+", "?"])
single = st.builds(lambda n, r: n + r, name, often)
limit = st.sampled_from([""] * 5 + [" within 2s", " within 4s", " within 2 events", " after 1s"])
arrow = st.sampled_from([" -> ", " -> ", " => "])
group = st.builds(
    lambda a, s, b, m, r: f"({a}{s}{b}{m}){r}",
    single,
    arrow,
    single,
    limit,
    st.sampled_from(["", "{2}", "?"]),
)
item = st.one_of(single, single, single, group, st.builds(lambda a, b: f"({a}|{b})", group, single))
clause = st.sampled_from(
    [""] * 4
    + [", no d", ", no c", ", no a|d", ", no d before FIRST", ", no c before LAST", ", no d after LAST"]
    + [", no c after LAST within 3s", ", no d after FIRST", ", within 4s", ", within 3 events"]
)


@st.composite
def patterns_(draw: st.DrawFn) -> str:
    items = draw(st.lists(item, min_size=1, max_size=3))
    text = items[0]
    for other in items[1:]:
        text += draw(arrow) + other + draw(limit)
    text = draw(st.sampled_from(["", "", "^ "])) + text + draw(st.sampled_from(["", "", " $"]))
    return text + draw(clause).replace("FIRST", items[0]).replace("LAST", items[-1])


few = st.lists(st.lists(st.sampled_from("aabbccd"), min_size=1, max_size=5), min_size=1, max_size=3)


@given(patterns_(), few, st.integers(0, 999), st.integers(1, 9))
@hypothesis_settings(max_examples=40)
def test_matching_agrees_with_every_way_of_placing_the_pattern(text, made, seed, width):
    rng = np.random.default_rng(seed)
    times = [np.sort(rng.integers(0, width, len(t))).tolist() for t in made]
    made, times = [*made, ["a", "b", "c", "d"]], [*times, [0, 0, 0, 0]]
    log = SequenceSet.from_traces(made, times)
    try:
        found = match(log, text)
    except JobError as wrong:
        assert "nothing at all" in str(wrong)
        return
    pattern, newest = parse(text, log.vocabulary.activities), max(t[-1] for t in times)
    matched = {r["case_id"]: (r["events"][-1], r["events"][0]) for r in found.cases.to_dicts()}
    near = {r["case_id"]: r["steps_done"] for r in found.near.to_dicts()}
    for case, trace, stamps in zip(log.case_ids, made, times, strict=True):
        best, done = slow_match(pattern, trace, stamps, newest)
        assert matched.get(case) == best
        assert best is not None or near.get(case, 0) == done


def test_shards_give_the_answer_of_the_whole(real_log, monkeypatch):
    log = load(real_log("complete_journey"), cases=500)
    text = "campaign_received:A -> store_visit within 7d -> coupon_redeemed, no campaign_received:B"
    one = match(log, text)
    monkeypatch.setattr("behavio.patterns.matches.LocalEngine", lambda: Sharded())
    many = match(log, text)
    assert one.cases.equals(many.cases) and one.near.equals(many.near) and one.cases.height > 10
    assert dict(one.cases.schema) == CASE_SCHEMA and dict(one.near.schema) == NEAR_SCHEMA


class Sharded:
    """Asks seven shards one after the other."""

    def run(self, count, sequences):
        answers = [count.of(shard) for shard in sequences.shards(7)]
        whole = answers[0]
        for answer in answers[1:]:
            whole = count.merge(whole, answer)
        return whole


def test_the_command_line_says_who_matches(tmp_path):
    rows = [f"c{i},{a},2026-01-{int(d) + 1:02d}" for i, case in enumerate(FIVE) for a, d in case]
    path = tmp_path / "visits.csv"
    path.write_text("\n".join(["case_id,activity,timestamp", *rows]))
    text = "email_sent -> email_open -> portal_visit within 14d, no call_f2f"

    def run(*words: str) -> str:
        done = CliRunner().invoke(cli, ["match", str(path), *words], catch_exceptions=False)
        return done.stdout

    said = run(text)
    assert "1 of 5 cases match (20.0%)" in said and "outside the time allowed" in said
    assert "read as: email_sent, later email_open, later portal_visit; all within 14 days" in said
    found = json.loads(run(text, "--json"))
    assert found["n_matching"] == 1 and found["cases"][0]["case_id"] == "c0" and len(found["near"]) == 3
    assert run(text, "--near", "--csv").splitlines()[0].startswith("case_id,steps_done,lacks,why")
    run(text, "--export", str(tmp_path / "who.csv"))
    assert pl.read_csv(tmp_path / "who.csv")["case_id"].to_list() == ["c0"]
    assert behavio.match(path, text).n_matching == 1
    with pytest.raises(PatternError, match="emial"):
        behavio.match(path, "emial_open")


def test_an_exported_list_holds_no_formula(tmp_path):
    """A spreadsheet opens the list of those who almost match, with what each of them lacks."""
    path = tmp_path / "visits.csv"
    path.write_text(
        "case_id,activity,timestamp\nc0,=1+1,2026-01-01\nc0,open,2026-01-02\nc1,=1+1,2026-01-01\n"
    )
    words = ["match", str(path), '"=1+1" -> open', "--near", "--export", str(tmp_path / "who.csv")]
    done = CliRunner().invoke(cli, words, catch_exceptions=False)
    assert done.exit_code == 0, done.stderr
    cells = [c for row in pl.read_csv(tmp_path / "who.csv", infer_schema=False).rows() for c in row if c]
    assert cells and not any(c.startswith(("=", "+", "-", "@")) for c in cells)
    with_steps = CliRunner().invoke(cli, [*words[:3], "--export", str(tmp_path / "all.csv")])
    assert with_steps.exit_code == 0 and "'=1+1" in (tmp_path / "all.csv").read_text()
