"""Two groups side by side, changes over time: hand-worked, against twins, on planted and no difference."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import polars as pl
import pytest
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st

import behavio
from behavio.cli import cli
from behavio.contrasts import false_discovery, larger, log_rank, shares, survival_median, wilson
from behavio.errors import JobError, LogError
from behavio.journeys.compare import Comparison, compare, split_at
from behavio.journeys.drift import drift
from behavio.sequences import SequenceSet
from tests.oracles_compare import cases_with, edge_share

DAY = 86_400
traces = st.lists(st.lists(st.sampled_from("abc"), min_size=1, max_size=6), min_size=6, max_size=20)


def row(table: pl.DataFrame, **wanted: str) -> dict:
    (found,) = table.filter(*(pl.col(k) == v for k, v in wanted.items())).to_dicts()
    return found


def test_shares_by_hand():
    # 56 of 70 against 48 of 80: Newcombe 1998, table II, example (a): −0.20 (−0.3339, −0.0524)
    found = shares(np.array([56]), 70, np.array([48]), 80)
    assert found.difference[0] == pytest.approx(-0.2)
    assert (found.low[0], found.high[0]) == (
        pytest.approx(-0.3339, abs=5e-5),
        pytest.approx(-0.0524, abs=5e-5),
    )
    # a table so small that Fisher's exact test is asked: 3 of 3 against 0 of 3, two of twenty tables
    assert shares(np.array([3]), 3, np.array([0]), 3).p_value[0] == pytest.approx(0.1)
    low, high = wilson(np.array([0]), np.array([10]))
    assert low[0] == pytest.approx(0, abs=1e-12) and high[0] == pytest.approx(0.2775, abs=1e-4)


def test_false_discovery_by_hand():
    # p = .01 .02 .03 .5 of four tests: .01·4/1 = .04, .02·4/2 = .04, .03·4/3 = .04, .5
    assert false_discovery(np.array([0.5, 0.01, np.nan, 0.03, 0.02])) == pytest.approx(
        [0.5, 0.04, np.nan, 0.04, 0.04], nan_ok=True
    )
    assert len(false_discovery(np.zeros(0))) == 0


def test_censored_medians_by_hand():
    # times 1, 2+, 3, 4 (+: still waiting): alive after 1: 3/4, after 3: 3/8, so the median is 3
    assert survival_median(np.array([1.0, 2, 3, 4]), np.array([True, False, True, True])) == 3
    assert np.isnan(survival_median(np.array([1.0, 2]), np.array([False, False])))


def test_log_rank_agrees_with_scipy():
    from scipy.stats import CensoredData, logrank

    rng = np.random.default_rng(2)
    sides = []
    for scale in (1.0, 1.6):
        true, seen = rng.exponential(scale, 80), rng.exponential(3.0, 80)
        sides.append((np.round(np.minimum(true, seen), 1), true <= seen))
    ratio, p = log_rank(*sides[0], *sides[1])
    ended = [CensoredData(t[e], right=t[~e]) for t, e in sides]
    assert p == pytest.approx(float(logrank(*ended).pvalue), rel=1e-9) and ratio < 1


def test_larger_is_the_share_of_pairs():
    a, b = np.array([1.0, 2, 3, 4, 5]), np.array([3.0, 4, 5, 6, 7])
    pairs = [(y > x) + 0.5 * (y == x) for x in a for y in b]
    area, low, high, p = larger(a, b)
    assert area == pytest.approx(np.mean(pairs)) and low < area < high and 0 < p < 0.2
    assert np.isnan(larger(a[:2], b)[0])


@settings(max_examples=50, deadline=None)
@given(first=traces, second=traces)
def test_edges_and_activities_equal_the_twins(first: list[list[str]], second: list[list[str]]):
    found = compare(SequenceSet.from_traces(first), SequenceSet.from_traces(second))
    for r in found.edges.to_dicts():
        for side, log in (("a", first), ("b", second)):
            known = edge_share(log, r["source"], r["target"])
            assert (known is None) == (r[side] is None)
            assert known is None or r[side] == pytest.approx(known[0])
        if r["low"] is not None:
            wide = sum(edge_share(log, r["source"], r["target"])[1] for log in (first, second)) ** 0.5
            assert r["high"] - r["difference"] == pytest.approx(1.959963984540054 * wide, abs=1e-12)
    for r in found.activities.to_dicts():
        assert r["cases_a"] == cases_with(first, r["activity"])
        assert r["b"] == pytest.approx(cases_with(second, r["activity"]) / len(second))


def two_groups(n: int, seed: int, change: float) -> tuple[SequenceSet, SequenceSet]:
    """Markov journeys of 3 to 8 steps, days apart; in the second the step a → b is likelier and quicker."""
    rng = np.random.default_rng(seed)
    logs = []
    for more in (0.0, change):
        table = np.array([[0.2, 0.4 + more, 0.4 - more], [0.4, 0.2, 0.4], [0.4, 0.4, 0.2]])
        rows, times = [], []
        for _ in range(n):
            now, trace, clock = 0, ["a"], [0]
            for _ in range(rng.integers(2, 8)):
                new = rng.choice(3, p=table[now])
                quick = 1.0 - 1.5 * more if (now, new) == (0, 1) else 1.0
                clock.append(clock[-1] + int(rng.exponential(DAY * quick)) + 1)
                trace.append("abc"[new])
                now = new
            rows.append(trace)
            times.append(clock)
        logs.append(SequenceSet.from_traces(rows, times))
    return logs[0], logs[1]


def standing_out(found: Comparison) -> int:
    return sum(int((t["q_value"] <= 0.05).sum()) for t in (found.edges, found.waits, found.next))


def test_a_planted_difference_is_found_with_its_size():
    found = compare(*two_groups(600, 1, 0.3), names=("spring", "autumn"))
    step = row(found.edges, source="a", target="b")
    assert step["q_value"] < 1e-6 and step["low"] < 0.3 < step["high"]
    wait = row(found.waits, source="a", target="b")
    assert wait["q_value"] < 0.01 and wait["larger"] < 0.5
    assert found.edges.row(0, named=True)["source"] == "a", "what is surest comes first"


def test_no_difference_gives_hardly_any_finding():
    false = [standing_out(compare(*two_groups(300, seed, 0.0))) for seed in range(10, 30)]
    assert sum(f > 0 for f in false) <= 6 and sum(false) <= 12  # three tables a seed at 5 %: 3 of 20 expected


def test_open_gaps_count_as_waiting():
    # ten cases each: in a the answer comes after a day; in b half never got one in the ten days watched
    quick = SequenceSet.from_traces([["sent", "open"]] * 10, [[0, DAY]] * 10)
    still = [["sent", "open"]] * 5 + [["sent"]] * 4 + [["open"]]
    times = [[0, DAY]] * 5 + [[0]] * 4 + [[10 * DAY]]
    found = row(compare(quick, SequenceSet.from_traces(still, times)).next, activity="sent")
    assert (found["median_s_a"], found["median_s_b"]) == (DAY, DAY) and found["speed"] < 1
    slow = SequenceSet.from_traces(still[:2] + still[5:], times[:2] + times[5:])
    assert row(compare(quick, slow).next, activity="sent")["median_s_b"] is None


def test_rates_take_exposure_into_account():
    # twice the events in twice the time is the same rate
    short = SequenceSet.from_traces([["x", "x"]] * 9 + [["x"]], [[0, 30 * DAY]] * 9 + [[0]])
    long = SequenceSet.from_traces([["x"] * 4] * 10, [[0, 20 * DAY, 40 * DAY, 60 * DAY]] * 10)
    found = row(compare(short, long).activities, activity="x")
    assert found["a"] == found["b"] == 1.0 and found["per_30_days_a"] == pytest.approx(1.9)
    assert found["per_30_days_b"] == pytest.approx(2.0)


def test_periods_share_no_case():
    log = SequenceSet.from_traces(
        [["a", "b", "c"], ["a", "b"]], [[0, 5 * DAY, 20 * DAY], [12 * DAY, 13 * DAY]]
    )
    early, late = split_at(log, 10 * DAY * 1_000_000)
    assert [list(s.case_ids) for s in (early, late)] == [["c0"], ["c1"]] and early.n_events == 2
    with pytest.raises(LogError, match="no case began after"):
        split_at(log, 99 * DAY * 1_000_000)


def drifting(seed: int, change_at: int | None) -> SequenceSet:
    """A case a day for 400 days: a, then b or c; from day `change_at` on b is far likelier."""
    rng = np.random.default_rng(seed)
    rows, times = [], []
    for day in range(400):
        for _ in range(3):
            p = 0.75 if change_at is not None and day >= change_at else 0.4
            rows.append(["a", "b" if rng.random() < p else "c", "d"])
            times.append([day * DAY, day * DAY + 3_600, day * DAY + 7_200])
    return SequenceSet.from_traces(rows, times)


def test_drift_says_when_and_which_step():
    found = drift(drifting(1, 200), "10d")
    (change,) = found.changes.to_dicts()
    assert abs((change["since"].timestamp() / DAY) - 200) <= 10 and change["earliest"] <= change["latest"]
    step = row(found.edges, source="a", target="b")
    assert step["before"] == pytest.approx(0.4, abs=0.06) and step["after"] == pytest.approx(0.75, abs=0.06)
    assert step["q_value"] < 1e-6 and found.periods["events"].sum() == 2 * 1_200
    assert found.edges.equals(drift(drifting(1, 200), "10d").edges)


def test_no_drift_is_seldom_found():
    found = [drift(drifting(seed, None), "10d").changes.height for seed in range(20)]
    assert sum(n > 0 for n in found) <= 2


def test_drift_refuses_what_it_cannot_see():
    log = drifting(1, None)
    for every, problem in (("300d", LogError), ("1h", JobError)):
        with pytest.raises(problem):
            drift(log, every)
    with pytest.raises(LogError, match="clock"):
        drift(replace(log, timed=False))


@pytest.fixture
def visits(tmp_path):
    rng = np.random.default_rng(5)
    rows = []
    for i in range(120):
        kind = "north" if i % 2 else "south"
        start = np.datetime64("2025-01-01") + np.timedelta64(int(rng.integers(0, 300)), "D")
        steps = ["email", "visit" if rng.random() < (0.9 if kind == "north" else 0.3) else "call", "portal"]
        rows += [(f"c{i}", a, str(start + np.timedelta64(k, "D")), kind) for k, a in enumerate(steps)]
    path = tmp_path / "visits.csv"
    pl.DataFrame(rows, schema=["case_id", "activity", "timestamp", "region"], orient="row").write_csv(path)
    return path


def test_the_command_as_people_type_it(visits):
    told = CliRunner().invoke(cli, ["compare", str(visits), "--by", "region", "--value", "north"])
    assert told.exit_code == 0, told.output
    assert "north: 60 cases" in told.output and "B  not north: 60 cases" in told.output
    assert "email" in told.output and "association" in told.output
    facts = json.loads(
        CliRunner().invoke(cli, ["compare", str(visits), "--split", "2025-06-01", "--json"]).output
    )
    assert facts["names"] == ["before 2025-06-01", "from 2025-06-01"] and sum(facts["n_cases"]) == 120
    lines = CliRunner().invoke(cli, ["compare", str(visits), "--by", "region", "--table", "edges", "--csv"])
    assert lines.output.splitlines()[0].startswith("source,target,cases_a,cases_b")
    moved = CliRunner().invoke(cli, ["drift", str(visits), "--every", "30d"])
    assert moved.exit_code == 0 and "periods of 30d" in moved.output


def test_wrong_words_are_answered(visits):
    for options, said in (
        ({}, "say what to compare"),
        ({"by": "regoin"}, "no column"),
        ({"by": "region", "values": ("nrth",)}, "never"),
        ({"split": "soon"}, "no date"),
        ({"by": "region", "split": "2025-06-01"}, "say what to compare"),
    ):
        with pytest.raises(JobError, match=said) as caught:
            behavio.compare(visits, **options)
        assert caught.value.hint
    log = SequenceSet.from_traces([["a"]])
    with pytest.raises(LogError, match="clock"):
        compare(log, replace(log, timed=False))


def test_real_logs(real_log):
    log = SequenceSet.from_log(behavio.read(real_log("bpic2012")))
    halves = np.arange(log.n_cases) % 2 == 0
    found = compare(log.select(halves), log.select(~halves))
    assert found.edges.height > 100 and (found.edges["q_value"] <= 0.05).sum() <= 3
    assert set(found.tables) == {"activities", "edges", "waits", "next", "variants"}
