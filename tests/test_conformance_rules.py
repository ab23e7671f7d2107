"""Declare rules: on distinct traces, with time limits on cases, against obvious twins and pm4py."""

from __future__ import annotations

import numpy as np
import pandas as pd
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from behavio import api
from behavio.conformance import Conformance, Plan, check_rules, conform, discover_rules, parse_rule
from behavio.errors import JobError
from behavio.kernels.declare import PAIRS, TEMPLATES
from behavio.sequences import OpenCases, SequenceSet
from tests.conftest import traces
from tests.oracles_conformance import slow_rule, slow_timed

DAY = 86_400


def rules_of(traces: list[list[str]]) -> list[tuple[str, str, str | None]]:
    """Every rule about the activities of a log."""
    names = sorted({x for t in traces for x in t})
    alone = [(t, a, None) for t in TEMPLATES[:PAIRS] for a in names]
    return [*alone, *((t, a, b) for t in TEMPLATES[PAIRS:] for a in names for b in names if a != b)]


def test_rules_of_three_cases() -> None:
    # response(a, b): holds in abab, broken in aba (the last a), not called for in b: 2 of 3 call, 1 of them
    # obeys
    log = SequenceSet.from_traces([list("abab"), list("aba"), list("b")])
    found = {r["template"]: r for r in discover_rules(log, 0, 0).filter(activity="a", target="b").to_dicts()}
    assert (found["response"]["cases"], found["response"]["conforming"]) == (2, 1)
    assert (found["precedence"]["cases"], found["precedence"]["conforming"]) == (3, 2)
    assert (found["succession"]["cases"], found["succession"]["conforming"]) == (3, 1)
    assert (found["chain_response"]["cases"], found["chain_response"]["conforming"]) == (2, 1)
    assert (found["not_succession"]["cases"], found["not_succession"]["conforming"]) == (2, 0)
    assert found["response"]["support"] == pytest.approx(2 / 3) and found["response"]["confidence"] == 0.5


@given(traces=traces)
def test_every_rule_is_what_its_words_say(traces: list[list[str]]) -> None:
    log, rules = SequenceSet.from_traces(traces), rules_of(traces)
    checked = check_rules(log, rules)
    expected = [[slow_rule(t, trace, a, b) for t, a, b in rules] for trace in traces]
    assert checked.states[checked.of_case].tolist() == expected
    assert checked.broken.tolist() == [row.count(-1) for row in expected]
    found = {r[:3]: r[3:5] for r in discover_rules(log, 0, 0).rows()}
    columns = list(zip(*expected, strict=True))
    called = {
        r: (len(traces) - c.count(0), c.count(1)) for r, c in zip(rules, columns, strict=True) if any(c)
    }
    assert found == called


def test_thresholds_and_templates_choose() -> None:
    log = SequenceSet.from_traces([list("ab")] * 9 + [list("ac")])
    found = discover_rules(log, 0.5, 0.9, templates=["response", "init"])
    assert found.select("template", "activity", "target").rows() == [
        ("init", "a", None),
        ("response", "a", "b"),
    ]
    with pytest.raises(JobError, match="no template"):
        discover_rules(log, templates=["respond"])


def test_only_the_most_frequent_activities_make_rules_but_all_keep_their_place() -> None:
    # c is left out, but a is still not the first event, and b does not come right after a
    found = discover_rules(SequenceSet.from_traces([list("cacb"), list("ab")]), 0, 0, most=2)
    counts = {(r[0], r[1], r[2]): r[3:5] for r in found.rows()}
    assert not [r for r in counts if "c" in r[1:]]
    assert counts["init", "a", None] == (2, 1) and counts["chain_response", "a", "b"] == (2, 1)


def test_an_activity_the_log_does_not_have_is_absent() -> None:
    log = SequenceSet.from_traces([list("ab")])
    table = check_rules(log, [("absence", "z", None), ("response", "a", "z"), ("response", "z", "a")]).table
    assert table.select("cases", "conforming").rows() == [(1, 1), (1, 0), (0, 0)]
    with pytest.raises(JobError, match="no such rule"):
        check_rules(log, [("response", "a", None)])


PEER = {
    "altresponse": "alternate_response",
    "altprecedence": "alternate_precedence",
    "altsuccession": "alternate_succession",
    "chainresponse": "chain_response",
    "chainprecedence": "chain_precedence",
    "chainsuccession": "chain_succession",
    "noncoexistence": "not_coexistence",
    "nonsuccession": "not_succession",
    "nonchainsuccession": "not_chain_succession",
}
WRONG_THERE = ("not_succession", "not_chain_succession")


def asked_of_pm4py(frame: pl.DataFrame, support: float, confidence: float) -> dict:
    import pm4py

    names = {"case_id": "case_id", "activity_key": "activity", "timestamp_key": "timestamp"}
    log = pm4py.format_dataframe(
        frame.select("case_id", "activity", "timestamp").to_pandas().astype({"case_id": object}), **names
    )
    model = pm4py.discover_declare(log, min_support_ratio=support, min_confidence_ratio=confidence)
    deviations = pm4py.conformance_declare(log, model)
    found = {}
    for template, rules in model.items():
        for key, counts in rules.items():
            a, b = key if isinstance(key, tuple) else (key, None)
            name = PEER.get(template, template)
            found[name, a, b] = (counts["support"], counts["confidence"])
    return {"rules": found, "deviations": [d["no_dev_total"] for d in deviations], "log": log}


@pytest.mark.parametrize("name", ["road_traffic_fines", "sepsis"])
@pytest.mark.filterwarnings("ignore")
def test_same_rules_and_values_as_pm4py(name: str, real_log: object) -> None:
    path = real_log(name)  # type: ignore[operator]
    theirs = asked_of_pm4py(pl.read_parquet(path), 0.05, 0.8)
    log = SequenceSet.from_log(api.read(path))
    ours = {r[:3]: r[3:5] for r in discover_rules(log, 0.05, 0.8).rows()}
    same = {k: v for k, v in theirs["rules"].items() if k[0] not in WRONG_THERE}
    assert {k: v for k, v in ours.items() if k[0] not in WRONG_THERE} == same
    checked = check_rules(log, list(same))
    table = {r[:3]: r[3:5] for r in checked.table.rows()}
    assert table == same


@pytest.mark.filterwarnings("ignore")
def test_pm4py_negates_succession_of_the_whole_trace_where_declare_forbids_pairs() -> None:
    # a b a: b does come after an a, so not succession(a, b) is broken; pm4py says it holds, because
    # succession(a, b) does not. The same for a b a and direct succession.
    rows = {
        "case_id": ["1"] * 3,
        "activity": list("aba"),
        "timestamp": pd.date_range("2026-01-01", periods=3),
    }
    theirs = asked_of_pm4py(pl.DataFrame(rows), 0, 0)["rules"]
    log = SequenceSet.from_traces([list("aba")])
    ours = {r[:3]: r[3:5] for r in discover_rules(log, 0, 0).rows()}
    for rule in WRONG_THERE:
        assert theirs[rule, "a", "b"] == (1, 1) and ours[rule, "a", "b"] == (1, 0)
        assert slow_rule(rule, "aba", "a", "b") == -1


def states(found: Conformance) -> dict[str, str]:
    return dict(found.cases.select("case_id", "state").rows())


def timed(rows: list[str], days: list[list[float]], still: list[bool] | None = None) -> SequenceSet:
    log = SequenceSet.from_traces([list(r) for r in rows], [[round(d * DAY) for d in t] for t in days])
    open_ = np.array([False] * len(rows) if still is None else still)
    return SequenceSet(
        log.tokens, log.offsets, log.times, log.case_ids, log.vocabulary, running=OpenCases(open_, (), 0.0)
    )


def test_a_response_that_is_missing_late_or_still_to_come() -> None:
    # response(a, b) within 7d, newest event on day 20:
    # c0 answered after 3 days; c1 after 9: late by 2; c2 never, closed; c3 never, open, but 10 days ago:
    # broken; c4 open since day 15: may still come; c5 has no a: not called for
    log = timed(
        ["ab", "ab", "a", "a", "a", "b"],
        [[0, 3], [0, 9], [0], [10], [15], [20]],
        [False, False, False, True, True, True],
    )
    found = conform(log, Plan(rule=(parse_rule("response(a, b) within 7d"),)))
    (step,) = found.steps.to_dicts()
    assert (step["cases"], step["conforming"], step["deviating"], step["open"]) == (5, 1, 3, 1)
    assert (step["skipped"], step["too_late"], step["share"]) == (2, 1, 0.25)
    rows = {r["case_id"]: r for r in found.deviations.to_dicts()}
    assert list(rows) == ["c1", "c2", "c3"]
    assert rows["c1"]["kind"] == "too_late" and rows["c1"]["event"] == 1 and rows["c1"]["late_s"] == 2 * DAY
    assert rows["c1"]["activity"] == "b" and rows["c1"]["timestamp"].day == 10 and rows["c1"]["due"].day == 8
    assert rows["c2"]["kind"] == "skipped" and rows["c2"]["event"] == 0 and rows["c2"]["due"].day == 8
    assert list(states(found).values()) == [
        "conforms",
        "deviates",
        "deviates",
        "deviates",
        "open",
        "conforms",
    ]


def test_counts_beginnings_and_ends() -> None:
    # at_least 2: c0 has two, c1 one (under), c2 none (skipped), c3 one but is open
    log = timed(["aab", "ab", "b", "a"], [[0, 1, 2], [0, 1], [0], [9]], [False, False, False, True])
    texts = ("at_least(a, 2)", "at_most(a, 1)", "exactly(a, 1)", "absence(a)", "init(a)", "end(b)")
    found = conform(log, Plan(rule=tuple(map(parse_rule, texts))))
    rows = {
        s["step"]: (
            s["conforming"],
            s["deviating"],
            s["open"],
            s["skipped"],
            s["under"],
            s["over"],
            s["extra"],
        )
        for s in found.steps.to_dicts()
    }
    assert rows["at_least(a, 2)"] == (1, 2, 1, 1, 1, 0, 0)
    assert rows["at_most(a, 1)"] == (3, 1, 0, 0, 0, 1, 0)
    assert rows["exactly(a, 1)"] == (2, 2, 0, 1, 0, 1, 0)
    assert rows["at_most(a, 0)"] == (1, 3, 0, 0, 0, 0, 3)
    assert rows["init(a)"] == (3, 1, 0, 1, 0, 0, 0)
    assert rows["end(b)"] == (3, 0, 1, 0, 0, 0, 0)


def test_what_is_forbidden_is_told_with_the_event() -> None:
    # c0: b two days after a, c1: b after ten days: only c0 breaks not_succession within 7d
    log = timed(["ab", "ab", "ba"], [[0, 2], [0, 10], [0, 1]])
    plan = Plan(rule=tuple(map(parse_rule, ("not_succession(a, b) within 7d", "not_coexistence(a,b)"))))
    found = conform(log, plan)
    rows = found.deviations.filter(pl.col("step") == "not_succession(a, b) within 7d").to_dicts()
    assert [(r["case_id"], r["kind"], r["activity"], r["event"]) for r in rows] == [("c0", "extra", "b", 1)]
    assert found.steps["deviating"].to_list() == [1, 3]


@given(
    rows=st.lists(
        st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 3)), min_size=1, max_size=6),
        min_size=1,
        max_size=4,
    ),
    within=st.sampled_from([None, 0, 1, 3]),
    template=st.sampled_from(TEMPLATES[PAIRS:]),
    still=st.lists(st.booleans(), min_size=4, max_size=4),
)
def test_rules_with_time_limits_are_what_their_words_say(
    rows: list[list[tuple[str, int]]], within: int | None, template: str, still: list[bool]
) -> None:
    days = [np.cumsum([d for _, d in r]).tolist() for r in rows]
    log = timed(["".join(x for x, _ in r) for r in rows], days, still[: len(rows)])
    limit = "" if within is None else f" within {within}d"
    found = conform(log, Plan(rule=(parse_rule(f"{template}(a, b){limit}"),)))
    now = max(t[-1] for t in days)
    for k, trace in enumerate(rows):
        names = [x for x, _ in trace]
        expected = slow_timed(template, names, days[k], "a", "b", within, now if still[k] else None)
        assert states(found)[f"c{k}"] == (expected or "conforms"), (template, names, days[k])
    if within is None and not any(still[: len(rows)]):  # both ways of checking agree
        checked = check_rules(log, [(template, "a", "b")]).table.row(0, named=True)
        (step,) = found.steps.to_dicts()
        assert (step["cases"], step["conforming"]) == (checked["cases"], checked["conforming"])


def test_rules_are_read_as_people_write_them() -> None:
    for text, shown in {
        "Response(portal_visit, call_*) within 14d": "response(portal_visit, call_*) within 14d",
        "chain response (a,b)": "chain_response(a, b)",
        'not succession("Create Fine, again", b)': 'not_succession("Create Fine, again", b)',
        "absence(a, 3)": "at_most(a, 2)",
        "existence(a)": "at_least(a, 1)",
        "exactly_one(a)": "exactly(a, 1)",
        "altprecedence(a, b)": "alternate_precedence(a, b)",
    }.items():
        assert parse_rule(text).shown == shown
        assert parse_rule(shown) == parse_rule(text)
    for text in (
        "respond(a, b)",
        "response(a)",
        "init(a, b)",
        "response a b",
        "end(a) within 3d",
        "response()",
    ):
        with pytest.raises(JobError) as refused:
            parse_rule(text)
        assert refused.value.hint


def test_a_log_without_a_clock_has_no_time_limits() -> None:
    log = SequenceSet.from_traces([list("ab")])
    bare = SequenceSet(log.tokens, log.offsets, log.times, log.case_ids, log.vocabulary, timed=False)
    with pytest.raises(JobError, match="no clock"):
        conform(bare, Plan(rule=(parse_rule("response(a, b) within 7d"),)))
    assert conform(bare, Plan(rule=(parse_rule("response(a, b)"),))).steps["conforming"].to_list() == [1]
