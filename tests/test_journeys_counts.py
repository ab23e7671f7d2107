"""Counts over journeys: every one by hand, against its slow twin, and the same however the log is cut."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from datetime import UTC, date, datetime
from functools import reduce
from typing import Any

import numpy as np
import polars as pl
import pytest
from conftest import traces
from hypothesis import given
from hypothesis import strategies as st
from oracles_journeys import (
    load,
    slow_activities,
    slow_funnel,
    slow_graph,
    slow_pairs,
    slow_repeats,
    slow_state,
)
from polars.testing import assert_frame_equal

from behavio import journeys
from behavio.engine import Count
from behavio.engine.local import LocalEngine
from behavio.errors import JobError
from behavio.journeys import (
    directly_follows,
    durations,
    eventually_follows,
    funnel,
    lifecycle,
    lifecycle_states,
    retention,
    rework,
    steps,
    waiting_times,
    waits,
)
from behavio.journeys.eventually import PairTally, pairs_count
from behavio.journeys.funnel import FunnelTally, funnel_count, members
from behavio.journeys.measures import DURATIONS, REPEATS, WAITING
from behavio.journeys.retention import (
    STATES,
    month_bounds,
    months_count,
    retention_matrix,
    states_count,
)
from behavio.journeys.steps import positions_count, step_matrix
from behavio.journeys.waits import StepTally, merge_steps, tally_steps
from behavio.sequences import SequenceSet

DAY = 86_400
seeds = st.integers(0, 99)


class Shards:
    """An engine that cuts any log into this many parts, with an empty answer before and after."""

    def __init__(self, n: int, nothing: Any = None) -> None:
        self.n, self.nothing = n, nothing

    def run(self, count: Count, sequences: SequenceSet) -> Any:
        parts = [pickle.loads(pickle.dumps(count)).of(shard) for shard in sequences.shards(self.n)]
        return reduce(count.merge, [pickle.loads(pickle.dumps(p)) for p in parts])


def made_log(made: list[list[str]], seed: int, span: int = 50) -> tuple[SequenceSet, list[list[int]]]:
    rng = np.random.default_rng(seed)
    times = [np.sort(rng.integers(0, span, len(t))).tolist() for t in made]
    return SequenceSet.from_traces(made, times), times


COUNTS: dict[str, Callable[[SequenceSet, Any], pl.DataFrame]] = {
    "graph": lambda log, engine: directly_follows(log, engine).edges,
    "activities": lambda log, engine: directly_follows(log, engine).activities,
    "eventually": eventually_follows,
    "waiting": waiting_times,
    "rework": rework,
    "durations": durations,
    "steps": lambda log, engine: steps(log, 4, engine),
    "funnel": lambda log, engine: funnel(log, log.vocabulary.names[2:3] * 2, "20s", engine),
    "retention": lambda log, engine: retention(log, engine=engine),
    "lifecycle": lambda log, engine: lifecycle(log, "30d", "90d", engine=engine),
    "states": lambda log, engine: lifecycle_states(log, "30d", "90d", engine=engine),
    "variants": lambda log, engine: journeys.variants(log, engine).to_frame(),
}  # fmt: skip


@pytest.mark.parametrize("name", COUNTS)
@given(made=traces, seed=seeds)
def test_any_cut_of_the_log_gives_the_same_answer(name, made, seed):
    log, _ = made_log(made, seed, 10**8)
    whole = COUNTS[name](log, Shards(1))
    for n in (3, 8):
        assert_frame_equal(COUNTS[name](log, Shards(n)), whole)


def test_nothing_counted_changes_nothing():
    log, _ = made_log([["a", "b", "a"], ["b"]], 1)
    size, kept = len(log.vocabulary), np.array([2, 3])
    member = members(log.vocabulary, ["a", "b"])
    counts: list[tuple[Count, Any]] = [
        (journeys.DIRECTLY_FOLLOWS, StepTally.empty(size)),
        (WAITING, StepTally.empty(size)),
        (pairs_count(kept), PairTally.empty()),
        (funnel_count(member, -1), FunnelTally.empty(2)),
        (REPEATS, np.zeros((size, 7), dtype=np.int64)),
        (positions_count(2), np.zeros((2, size), dtype=np.int64)),
        (months_count(np.ones(size, dtype=bool), month_bounds(0, 1)), np.zeros((1, 1), dtype=np.int64)),
        (DURATIONS, (np.zeros(0, dtype=np.int64), np.zeros(0, dtype=bool))),
        (
            states_count(np.ones(size, dtype=bool), np.array([10**9]), 1, 2),
            (np.zeros((1, 5), dtype=np.int64), np.zeros(0, dtype=np.int8)),
        ),
    ]
    for count, nothing in counts:
        found = count.of(log)
        for merged in (count.merge(nothing, found), count.merge(found, nothing)):
            for one, other in zip(parts_of(found), parts_of(merged), strict=True):
                np.testing.assert_array_equal(one, other)


def parts_of(answer: Any) -> list[Any]:
    if isinstance(answer, np.ndarray):
        return [answer]
    if isinstance(answer, tuple):
        return list(answer)
    return [getattr(answer, name) for name in answer.__slots__]


# ---------------------------------------------------------------- times of the graph, exactly


@given(made=traces, seed=seeds)
def test_quantiles_out_of_histograms_are_exact(made, seed):
    log, times = made_log(made * 3, seed, 10**6)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(waits, "HEAVY", 2)
        edges = {(r["source"], r["target"]): r for r in directly_follows(log).edges.iter_rows(named=True)}
    for edge, (_, _, apart) in slow_graph(made * 3, times).items():
        row = edges[edge]
        found = [row[n] for n in ("p10_s", "median_s", "p90_s")]
        assert found == pytest.approx(np.quantile(apart, [0.1, 0.5, 0.9]), rel=1e-12)


def test_the_mean_alone_costs_one_pass_and_is_the_same():
    log, _ = made_log([list("abcab"), list("ab")], 3)
    quick, whole = directly_follows(log, quantiles=False), directly_follows(log)
    assert_frame_equal(quick.edges.select("source", "mean_s"), whole.edges.select("source", "mean_s"))
    assert quick.edges["median_s"].null_count() == quick.edges.height and quick.timed
    assert_frame_equal(quick.activities, whole.activities)


def test_sums_that_do_not_fit_64_bits_are_exact():
    # 40 waits of 2**57 µs (4,567 years) add up to 5 · 2**60 · 8 > 2**63; the mean is 2**57 µs all the same
    wait = 2**57 // 10**6 + 1
    log = SequenceSet.from_traces([["a", "b"]] * 40, [[0, wait]] * 40)
    (row,) = directly_follows(log).edges.iter_rows(named=True)
    assert (row["mean_s"], row["std_s"], row["frequency"]) == (wait, 0.0, 40)
    halves = merge_steps(tally_steps(log), tally_steps(log))
    assert halves.mean_us[0] == wait * 1e6


def test_tiny_spreads_around_a_long_wait_keep_their_deviation():
    # waits of 10**9 s ± 1 µs: sums of squares of seconds would lose it all (it is 1.1547 µs)
    log = SequenceSet.from_traces([["a", "b"]] * 4, [[0, 1]] * 4)
    times = np.array([0, 10**15 - 1, 0, 10**15 + 1, 0, 10**15 + 1, 0, 10**15 - 1], dtype=np.int64)
    log = SequenceSet(log.tokens, log.offsets, times, log.case_ids, log.vocabulary)
    assert directly_follows(log).edges["std_s"][0] == pytest.approx(2 / 3**0.5 * 1e-6)
    assert eventually_follows(log)["std_s"][0] == pytest.approx(2 / 3**0.5 * 1e-6)
    assert eventually_follows(log, Shards(3))["std_s"][0] == pytest.approx(2 / 3**0.5 * 1e-6)


# ---------------------------------------------------------------- eventually-follows and temporal profile


def test_eventually_follows_by_hand():
    # a(0) b(1) a(4): a→b once after 1 s, b→a once after 3 s, a→a once after 4 s | a(0) b(5): a→b after 5 s
    log = SequenceSet.from_traces([["a", "b", "a"], ["a", "b"]], [[0, 1, 4], [0, 5]])
    assert eventually_follows(log).rows() == [
        ("a", "b", 2, 2, 3.0, pytest.approx(8**0.5)),
        ("a", "a", 1, 1, 4.0, None),
        ("b", "a", 1, 1, 3.0, None),
    ]
    assert eventually_follows(log, activities=1).rows() == [("a", "a", 1, 1, 4.0, None)]
    assert eventually_follows(SequenceSet.from_traces([["a"]])).height == 0


@given(made=traces, seed=seeds)
def test_eventually_follows_matches_the_oracle(made, seed):
    log, times = made_log(made, seed, 10**6)
    found = {(r[0], r[1]): r[2:] for r in eventually_follows(log).rows()}
    slow = slow_pairs(made, times)
    assert found.keys() == slow.keys()
    for pair, (frequency, cases, apart) in slow.items():
        assert found[pair][:2] == (frequency, cases)
        assert found[pair][2] == pytest.approx(np.mean(apart))
        deviation = np.std(apart, ddof=1) if frequency > 1 else None
        assert found[pair][3] == (None if deviation is None else pytest.approx(deviation, abs=1e-6))


# ---------------------------------------------------------------- waiting, rework, durations, open cases


def test_waiting_times_by_hand():
    # b waited for 1 s and 5 s, a for 3 s; 9 s in all
    log = SequenceSet.from_traces([["a", "b", "a"], ["a", "b"]], [[0, 1, 4], [0, 5]])
    found = waiting_times(log)
    assert found.select("activity", "waits", "cases", "mean_s", "median_s", "share").rows() == [
        ("b", 2, 2, 3.0, 3.0, 6 / 9),
        ("a", 1, 1, 3.0, 3.0, 3 / 9),
    ]
    assert waiting_times(SequenceSet.from_traces([["a"]])).height == 0


@given(made=traces, seed=seeds)
def test_waiting_times_are_the_waits_of_all_edges_into_an_activity(made, seed):
    log, times = made_log(made, seed)
    into: dict[str, list[int]] = {}
    for (_, b), (_, _, apart) in slow_graph(made, times).items():
        into.setdefault(b, []).extend(apart)
    found = {r["activity"]: r for r in waiting_times(log).iter_rows(named=True)}
    assert found.keys() == into.keys()
    for activity, apart in into.items():
        row = found[activity]
        assert (row["waits"], row["min_s"], row["max_s"]) == (len(apart), min(apart), max(apart))
        quantiles = [row[n] for n in ("p10_s", "median_s", "p90_s")]
        assert quantiles == pytest.approx(np.quantile(apart, [0.1, 0.5, 0.9]))


def test_rework_by_hand():
    # a a b a b | b: a is in one case, three times: right after itself once, after b once (a b a)
    log = SequenceSet.from_traces([list("aabab"), ["b"]])
    assert rework(log).rows() == [
        ("a", 3, 1, 1, 1, 1, 1, 1, 1.0, 2),
        ("b", 3, 2, 1, 0, 0, 1, 1, 0.5, 1),
    ]


@given(made=traces)
def test_rework_matches_the_oracle(made):
    found = {r[0]: r[1:8] for r in rework(SequenceSet.from_traces(made)).rows()}
    assert found == slow_repeats(made)


def test_durations_by_hand():
    log = SequenceSet.from_traces([["a", "b"], ["a"], ["a", "b", "c"]], [[0, 4], [9], [0, 1, 8]])
    assert durations(log).rows() == [
        ("all", 3, 4.0, 0.0, pytest.approx(0.8), 2.0, 4.0, 6.0, pytest.approx(7.2), 8.0),
        ("open", 3, 4.0, 0.0, pytest.approx(0.8), 2.0, 4.0, 6.0, pytest.approx(7.2), 8.0),
    ]


# ---------------------------------------------------------------- step matrix


def test_step_matrix_by_hand():
    # a b | a c | a: step 1 is a for all, step 2 b and c for a third each, a third has none
    found = steps(SequenceSet.from_traces([["a", "b"], ["a", "c"], ["a"]]), 3)
    assert found.rows() == [(1, "a", 3, 1.0), (2, "b", 1, 1 / 3), (2, "c", 1, 1 / 3)]
    assert step_matrix(found).rows() == [
        ("a", 1.0, 0.0),
        ("b", 0.0, 1 / 3),
        ("c", 0.0, 1 / 3),
        ("(none)", 0.0, pytest.approx(1 / 3)),
    ]
    with pytest.raises(JobError, match="0 steps"):
        steps(SequenceSet.from_traces([["a"]]), 0)


@given(made=traces)
def test_each_step_holds_the_cases_that_are_that_long(made):
    found = steps(SequenceSet.from_traces(made), 3)
    for k in range(3):
        row = found.filter(pl.col("step") == k + 1)
        assert row["cases"].sum() == sum(len(t) > k for t in made)
        assert dict(row.select("activity", "cases").rows()) == {
            a: n for a in "abcd" if (n := sum(len(t) > k and t[k] == a for t in made))
        }


# ---------------------------------------------------------------- funnel


def test_funnel_by_hand():
    # c0: a(0) x b(2) c(9); c1: a(0) b(30); c2: a(0) a(25) b(30) c(31); c3: b a; within 10 s of the first step
    log = SequenceSet.from_traces(
        [["a", "x", "b", "c"], ["a", "b"], ["a", "a", "b", "c"], ["b", "a"]],
        [[0, 1, 2, 9], [0, 30], [0, 25, 30, 31], [0, 35]],
    )
    found = funnel(log, ["a", "b", "c"], "10s")
    assert found.drop("may_still").rows() == [
        (1, "a", 4, 1.0, None, None, None),
        (2, "b", 2, 0.5, 0.5, 3.5, 3.5),  # 2 s and 5 s
        (3, "c", 2, 0.5, 1.0, 4.0, 7.5),  # 7 s and 1 s; 9 s and 6 s from the start
    ]
    # the newest event is at 35 s: c3 began at 35 s and may still go on, c1 began at 0 s and may not
    assert found["may_still"].to_list() == [0, 1, 0]
    assert funnel(log, ["a", "b", "c"])["cases"].to_list() == [4, 3, 2]
    assert funnel(log, ["a", "b|c"], "2s")["cases"].to_list() == [4, 1]
    assert funnel(log, ["a", "a"])["cases"].to_list() == [4, 1], "one event is one step only"


@given(made=traces, seed=seeds, within=st.sampled_from([None, 5, 20]))
def test_funnel_matches_the_oracle(made, seed, within):
    log, times = made_log(made, seed)
    known = set(log.vocabulary.activities)
    wanted = [a for a in "abca" if a in known]
    if len(wanted) < 2:
        return
    found = funnel(log, wanted, None if within is None else f"{within}s")
    reached = [slow_funnel(t, s, wanted, within) for t, s in zip(made, times, strict=True)]
    assert found["cases"].to_list() == [sum(n > k for n in reached) for k in range(len(wanted))]


def test_a_funnel_nobody_enters_and_one_that_names_nothing():
    log = SequenceSet.from_traces([["b", "a"]])
    assert funnel(log, ["a", "b"])["cases"].to_list() == [1, 0]
    assert funnel(log, ["a", "b"])["median_s"].to_list() == [None, None]
    with pytest.raises(JobError, match="no activity is 'email'") as problem:
        funnel(SequenceSet.from_traces([["emails", "b"]]), ["email", "b"])
    assert "emails" in problem.value.hint
    with pytest.raises(JobError, match="two steps"):
        funnel(log, ["a"])


# ---------------------------------------------------------------- retention and lifecycle


def days(*wanted: date) -> list[int]:
    return [int(datetime(d.year, d.month, d.day, tzinfo=UTC).timestamp()) for d in wanted]


def test_retention_by_hand():
    # c0: Jan, Jan, Mar; c1: Jan; c2: Feb, Mar (the log's last month)
    times = [
        days(date(2026, 1, 1), date(2026, 1, 31), date(2026, 3, 1)),
        days(date(2026, 1, 15)),
        days(date(2026, 2, 28), date(2026, 3, 31)),
    ]
    log = SequenceSet.from_traces([["a", "a", "b"], ["a"], ["b", "b"]], times)
    january, february = date(2026, 1, 1), date(2026, 2, 1)
    assert retention(log).rows() == [
        (january, 0, 2, 2, 1.0, True),
        (january, 1, 2, 0, 0.0, True),
        (january, 2, 2, 1, 0.5, False),
        (february, 0, 1, 1, 1.0, True),
        (february, 1, 1, 1, 1.0, False),
    ]
    assert retention_matrix(retention(log)).rows() == [
        (january, 2, 1.0, 0.0, 0.5),
        (february, 1, 1.0, 1.0, None),
    ]
    only_b = retention(log, ["b"])
    assert only_b.select("cohort", "cases").rows() == [(february, 1), (february, 1), (date(2026, 3, 1), 1)]
    with pytest.raises(JobError, match="no clock"):
        retention(SequenceSet(log.tokens, log.offsets, log.times, log.case_ids, log.vocabulary, timed=False))


def test_months_before_1970_and_leap_days():
    times = [days(date(1968, 2, 29), date(1968, 3, 1))]
    found = retention(SequenceSet.from_traces([["a", "a"]], times))
    assert found.select("cohort", "months_since", "cases").rows() == [
        (date(1968, 2, 1), 0, 1),
        (date(1968, 2, 1), 1, 1),
    ]


def test_lifecycle_by_hand():
    # dormant after 30 days, lost after 90; asked at the end of each month and now (1 July)
    times = [
        days(date(2026, 1, 1)),  # new in January, dormant, dormant, lost
        days(date(2026, 1, 1), date(2026, 2, 1), date(2026, 5, 20), date(2026, 6, 30)),
    ]
    log = SequenceSet.from_traces([["a"], ["a"] * 4], times)
    found = lifecycle(log, "30d", "90d").filter(pl.col("cases") > 0)
    assert [(d.date().isoformat(), s, n) for d, s, n in found.select("date", "state", "cases").rows()] == [
        ("2026-02-01", "dormant", 2),  # 31 days after the first event
        ("2026-03-01", "returned", 1),
        ("2026-03-01", "dormant", 1),
        ("2026-04-01", "dormant", 2),  # 59 days after the last event; 90 days: not yet more than 90
        ("2026-05-01", "dormant", 1),
        ("2026-05-01", "lost", 1),
        ("2026-06-01", "returned", 1),
        ("2026-06-01", "lost", 1),
        ("2026-06-30", "returned", 1),
        ("2026-06-30", "lost", 1),
    ]
    assert lifecycle_states(log, "30d", "90d").rows() == [("c0", "lost"), ("c1", "returned")]
    with pytest.raises(JobError, match="lost takes longer") as _:
        try:
            lifecycle(log, "90d", "30d")
        except JobError as problem:
            raise JobError(problem.hint) from None


@given(made=traces, seed=seeds)
def test_lifecycle_matches_the_oracle(made, seed):
    log, times = made_log(made, seed, 400 * DAY)
    found = lifecycle(log, "30d", "90d")
    for moment in found["date"].unique():
        at = moment.timestamp()
        counted = [slow_state(t, at, 30 * DAY, 90 * DAY) for t in times]
        rows = found.filter(pl.col("date") == moment)
        assert dict(rows.select("state", "cases").rows()) == {s: counted.count(s) for s in STATES}
    last = max(max(t) for t in times) + 1e-6
    assert lifecycle_states(log, "30d", "90d")["state"].to_list() == [
        slow_state(t, last, 30 * DAY, 90 * DAY) for t in times
    ]


# ---------------------------------------------------------------- real logs


@pytest.mark.parametrize("name", ["complete_journey", "bpic2011_hospital", "msnbc323"])
def test_real_logs_give_the_same_for_any_number_of_shards(real_log, name):
    log = load(real_log(name))
    one, eight = LocalEngine(n_shards=1), Shards(8)
    for ask in (eventually_follows, waiting_times, rework, durations):
        assert_frame_equal(ask(log, one), ask(log, eight))
    edges = [directly_follows(log, engine).edges for engine in (one, eight)]
    assert_frame_equal(edges[0].drop("std_s"), edges[1].drop("std_s"), check_exact=True)


def test_ends_are_kept_apart_from_what_was_seen_last():
    made = [["a", "b"], ["a"], ["b", "a"]]
    log, _ = made_log(made, 1)
    found = {r[0]: r[1:] for r in directly_follows(log).activities.rows()}
    assert found == slow_activities(made), "all open: nothing has ended"
    assert {a: (r[3], r[4]) for a, r in found.items()} == {"a": (2, 0), "b": (1, 0)}


def test_cases_that_are_over_are_ends_and_open_ones_are_not():
    # b closes a case: c0 and c3 are over, c1 and c2 go on
    made = [["a", "b"], ["a"], ["b", "a"], ["b"]]
    log = SequenceSet.from_traces(made, [[0, 1], [5], [2, 9], [9]]).marked(("b",), "90d")
    for engine in (Shards(1), Shards(3)):
        found = {r[0]: r[1:] for r in directly_follows(log, engine).activities.rows()}
        assert found == slow_activities(made, [True, False, False, True])
        assert durations(log, engine).select("state", "cases").rows() == [
            ("all", 4),
            ("over", 2),
            ("open", 2),
        ]
    # c1 took the first step and may still take the second; c2 did too, after 9 s; c0 is through
    assert funnel(log, ["a", "b"]).select("cases", "may_still").rows() == [(3, 0), (1, 2)]
    over = log.marked(("a", "b"), "90d")
    assert funnel(over, ["a", "b"])["may_still"].to_list() == [0, 0]


def test_only_the_last_session_of_an_open_case_is_open():
    log = SequenceSet.from_traces([["a", "a"], ["a", "b"]], [[0, 99], [0, 99]]).marked(("b",), "90d")
    assert journeys.sessions(log, "10s").sequences.running.open.tolist() == [False, True, False, False]
