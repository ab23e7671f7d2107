"""Flows: events laid onto ordered steps as well as can be, and what that says about each case."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from behavio import api
from behavio.conformance import KINDS, Conformance, Plan, conform, plan_of, read_plan
from behavio.conformance.plan import Flow, Step
from behavio.errors import JobError
from behavio.kernels.flow import lay
from behavio.sequences import OpenCases, SequenceSet
from tests.oracles_conformance import Places, score, slow_lay

DAY = 86_400


def held(
    flow: Flow, rows: dict[str, tuple[str, list[float]]], still: tuple[str, ...] = ()
) -> tuple[Conformance, dict[str, str], dict[str, list[tuple[str, str, int | None]]]]:
    """A flow held against cases {id: (activities, days)}; those in `still` are open."""
    ids = sorted(rows)
    times = [[round(d * DAY) for d in rows[i][1]] for i in ids]
    log = SequenceSet.from_traces([list(rows[i][0]) for i in ids], times)
    marks = OpenCases(np.array([i in still for i in ids]), (), 0.0)
    log = replace(log, case_ids=pl.Series("case_id", ids), running=marks)
    found = conform(log, Plan(flow=(flow,)))
    states = dict(found.cases.select("case_id", "state").rows())
    told = found.deviations.select("case_id", "kind", "step", "event").rows()
    rows_ = {i: [t[1:] for t in told if t[0] == i] for i in ids}
    return found, states, rows_


ABC = Flow((Step("a"), Step("b", within="7d"), Step("c", optional=True)))


def test_what_can_go_wrong_in_a_flow() -> None:
    # a, b within 7 days, perhaps c
    cases = {
        "good": ("abc", [0, 1, 2]),
        "short": ("ab", [0, 7]),
        "late": ("ab", [0, 8]),
        "without": ("ac", [0, 1]),
        "swapped": ("ba", [0, 1]),
        "again": ("aab", [0, 5, 6]),
        "never": ("x", [0]),
        "latest": ("x", [60]),
    }
    found, states, rows = held(ABC, cases)
    assert states == {
        "good": "conforms", "short": "conforms", "late": "deviates", "without": "deviates",
        "swapped": "deviates", "again": "deviates", "never": "not started", "latest": "not started",
    }  # fmt: skip
    assert rows["late"] == [("too_late", "b", 1)] and rows["without"] == [("skipped", "b", None)]
    # one of the two is in its place: the earlier one, b; a came after it
    assert rows["swapped"] == [("wrong_order", "a", 1)] and len(rows["again"]) == 1
    assert rows["again"][0][0] == "extra" and rows["again"][0][1] == "a"
    table = {r["step"]: r for r in found.steps.to_dicts()}
    assert (table["a"]["cases"], table["a"]["conforming"], table["a"]["wrong_order"]) == (6, 4, 1)
    assert (table["b"]["skipped"], table["b"]["too_late"], table["c"]["cases"]) == (1, 1, 2)
    late = found.deviations.filter(case_id="late").row(0, named=True)
    assert late["late_s"] == DAY and late["due"].day == 8 and late["activity"] == "b"


def test_an_open_case_is_not_late_before_its_time() -> None:
    # newest event on day 20; b within 7 days of a: open until day 7 after a, then missing
    cases = {"fresh": ("a", [15]), "old": ("a", [10]), "closed": ("a", [16]), "now": ("x", [20])}
    _, states, rows = held(ABC, cases, still=("fresh", "old", "now"))
    assert states == {"fresh": "open", "old": "deviates", "closed": "deviates", "now": "not started"}
    assert rows["fresh"] == [] and rows["old"] == [("skipped", "b", None)]


def test_a_step_before_one_that_was_taken_cannot_come_any_more() -> None:
    flow = Flow((Step("a"), Step("b"), Step("c")))
    _, states, rows = held(flow, {"open": ("ac", [0, 1]), "rest": ("ab", [0, 2])}, still=("open", "rest"))
    assert states == {"open": "deviates", "rest": "open"} and rows["open"] == [("skipped", "b", None)]


def test_the_second_email_makes_the_answer_timely() -> None:
    # email on day 0 and 30, opened on day 31: within 7 days of the second
    flow = Flow((Step("a", at_most=0), Step("b", within="7d")), allow_extra=True)
    _, states, rows = held(flow, {"case": ("aab", [0, 30, 31])})
    assert states["case"] == "conforms" and rows["case"] == []


def test_repeats_are_counted() -> None:
    # two to three visits, then an email
    flow = Flow((Step("v", name="visits", at_least=2, at_most=3), Step("e")), applies="all")
    cases = {
        n: (t, list(range(len(t))))
        for n, t in (("two", "vve"), ("four", "vvvve"), ("one", "ve"), ("none", "e"))
    }
    found, states, rows = held(flow, cases)
    assert states["two"] == "conforms" and [r[:2] for r in rows["four"]] == [("extra", "visits")]
    assert rows["one"] == [("under", "visits", None)] and rows["none"] == [("skipped", "visits", None)]
    done = dict(found.cases.select("case_id", "attainment").rows())
    assert done == {"two": 1.0, "four": 1.0, "one": 2 / 3, "none": 1 / 3}


def test_a_campaign_has_a_beginning_an_end_and_a_brand(tmp_path: Path) -> None:
    rows = [
        ("in", "mail", "2026-03-02", "X"),
        ("in", "visit", "2026-03-31 18:00", "X"),
        ("after", "mail", "2026-03-05", "X"),
        ("after", "visit", "2026-04-01", "X"),
        ("other", "mail", "2026-03-05", "Y"),
        ("other", "visit", "2026-03-06", "Y"),
    ]
    frame = pl.DataFrame(rows, schema=["case_id", "activity", "timestamp", "brand"], orient="row")
    path = tmp_path / "spring.toml"
    path.write_text(
        'name = "Spring"\n'
        '[[flow]]\nname = "wave"\nstart = 2026-03-01\nend = 2026-03-31\nwhere = {brand = "X"}\n'
        '[[flow.step]]\nactivity = "mail"\n[[flow.step]]\nactivity = "visit"\n'
    )
    found = conform(SequenceSet.from_log(api.read(frame)), read_plan(path))
    states = dict(found.cases.select("case_id", "state").rows())
    assert states == {"in": "conforms", "after": "deviates", "other": "not started"}


STEPS = st.lists(
    st.tuples(st.integers(0, 2), st.sampled_from([None, 0, 1]), st.sampled_from([-1, 0, 1, 3])),
    min_size=1,
    max_size=3,
)


@given(
    steps=STEPS,
    events=st.lists(st.tuples(st.integers(0, 7), st.integers(0, 2)), min_size=1, max_size=6),
)
def test_events_are_laid_as_well_as_can_be(
    steps: list[tuple[int, int | None, int]], events: list[tuple[int, int]]
) -> None:
    places: list[tuple[int, bool, bool, int]] = []
    for k, (least, more, within) in enumerate(steps):
        places += [(k, True, False, within)] * least
        places += [(k, False, True, within)] if more is None else [(k, False, False, within)] * more
    if not places:
        places = [(0, True, False, -1)]
    fits = np.array([e % 2 ** len(steps) for e, _ in events], dtype=np.int64)
    times = np.cumsum([t for _, t in events]).astype(np.int64)
    kinds = (np.int64, np.bool_, np.bool_, np.int64)
    arrays = (np.array(c, dtype=t) for c, t in zip(zip(*places, strict=True), kinds, strict=True))
    placed = lay(fits, np.array([0, len(fits)], dtype=np.int64), times, *arrays)
    laid = [(j, int(p)) for j, p in enumerate(placed) if p >= 0]
    assert all(fits[j] >> places[p][0] & 1 for j, p in laid)
    assert all(p < q or (p == q and places[p][2]) for (_, p), (_, q) in pairwise(laid))
    assert all((placed[j] == -2) == (fits[j] == 0) for j in range(len(fits)))
    known: Places = places
    assert score(laid, times.tolist(), known) == slow_lay(fits.tolist(), times.tolist(), known)


@given(
    rows=st.lists(
        st.lists(st.tuples(st.sampled_from("abcx"), st.integers(0, 4)), min_size=1, max_size=7),
        min_size=1,
        max_size=4,
    ),
    within=st.sampled_from([None, "1d", "3d"]),
    still=st.booleans(),
)
def test_every_event_and_step_is_accounted_for(
    rows: list[list[tuple[str, int]]], within: str | None, still: bool
) -> None:
    steps = (Step("a"), Step("b", within=within, at_least=1, at_most=2), Step("c", optional=True))
    flow = Flow(steps, applies="all")
    cases = {
        f"c{k}": ("".join(x for x, _ in r), np.cumsum([d for _, d in r]).tolist()) for k, r in enumerate(rows)
    }
    found, states, deviations = held(flow, cases, tuple(cases) if still else ())
    table = {r["case_id"]: r for r in found.cases.to_dicts()}
    for case, (trace, _) in cases.items():
        row, told = table[case], deviations[case]
        assert sum(row[k] for k in KINDS) == len(told)
        assert (states[case] == "deviates") == bool(told)
        assert (states[case] == "open") == (not told and row["still_open"] > 0)
        assert still or row["still_open"] == 0
        events = [e for kind, _, e in told if kind in ("extra", "wrong_order")]
        assert len(set(events)) == len(events) and all(trace[e] in "abc" for e in events if e is not None)
        taken = sum(x in "abc" for x in trace) - len(events)
        assert row["done"] <= taken and row["planned"] == 2 and 0 <= row["attainment"] <= 1


def test_names_a_log_does_not_have_are_noted_not_refused() -> None:
    log = SequenceSet.from_traces([["email_sent", "call"]])
    found = conform(log, plan_of({"flow": [{"step": [{"activity": "email_snt"}, {"activity": "call"}]}]}))
    assert "did you mean 'email_sent'" in found.notes[0]
    assert found.steps["skipped"].to_list() == [1, 0]


@pytest.mark.parametrize(
    "text, word",
    [
        ("", "nothing is planned"),
        ("[[flow]]\n", "0 steps"),
        ("[[flow]]\n[[flow.step]]\nactivty = 'a'", "did you mean 'activity'"),
        ("[[flow]]\n[[flow.step]]\nactivity = 3", "wrong type"),
        ("[[flow]]\n[[flow.step]]\nactivity = 'a'\nwithin = '7 moons'", "no duration"),
        ("[[flow]]\n[[flow.step]]\nactivity = 'a'\nat_least = 4\nat_most = 2", "4 to 2"),
        ("[[flow]]\napplies = 'some'\n[[flow.step]]\nactivity = 'a'", "applies"),
        ("[flow]\nname = 'x'", "list of tables"),
        ("rules = ['respond(a, b)']", "no rule"),
        ("[[rule]]\ntemplate = 'response'\nactivity = 'a'", "two activities"),
        ("[[frequency]]\ngoal = 2\nstart = 2026-02-01", "lacks the key 'end'"),
        ("[[frequency]]\ngoal = 2\nstart = 2026-02-01\nend = 2026-01-01", "ends after it starts"),
        ("rules = [", "not valid TOML"),
    ],
)
def test_a_wrong_plan_is_told_with_what_to_do(text: str, word: str, tmp_path: Path) -> None:
    (tmp_path / "plan.toml").write_text(text)
    with pytest.raises(JobError) as refused:
        read_plan(tmp_path / "plan.toml")
    assert word in str(refused.value) + refused.value.hint and "plan.toml" in str(refused.value)


def test_an_attribute_the_log_does_not_have() -> None:
    log = SequenceSet.from_traces([["a"]])
    with pytest.raises(JobError, match="no attribute 'brand'"):
        conform(log, Plan(flow=(Flow((Step("a"),), where={"brand": "X"}),)))


def test_fines_follow_their_flow(real_log: object) -> None:
    log = SequenceSet.from_log(api.read(real_log("road_traffic_fines")))  # type: ignore[operator]
    steps = (Step("Create Fine"), Step("Send Fine", within="90d"), Step("Payment", optional=True))
    found = conform(log, Plan(flow=(Flow(steps, applies="all", allow_extra=True),)))
    names = [log.vocabulary.names[t] for t in log.tokens]
    rows = {r["step"]: r for r in found.steps.to_dicts()}
    fine, late, paid = 0, 0, 0  # a fine is created once, as the first, and sent once
    for a, b in zip(log.offsets[:-1], log.offsets[1:], strict=True):
        when = dict(zip(reversed(names[a:b]), log.times[a:b][::-1], strict=True))
        fine += "Send Fine" in when
        late += "Send Fine" in when and when["Send Fine"] - when["Create Fine"] > 90 * DAY * 1_000_000
        paid += "Payment" in when
    assert rows["Create Fine"]["conforming"] == log.n_cases
    assert rows["Send Fine"]["skipped"] + rows["Send Fine"]["open"] == log.n_cases - fine
    assert rows["Send Fine"]["too_late"] == late and rows["Payment"]["cases"] == paid
