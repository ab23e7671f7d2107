"""Patterns: exactly the frequent ones, lift over shuffled cases, what tells a segment."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import polars as pl
import pytest
from conftest import traces
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from oracles_journeys import load, slow_closed, slow_holds, slow_patterns
from scipy import stats

from behavio.errors import JobError, ModelError
from behavio.patterns import (
    PATTERN_SCHEMA,
    Matcher,
    Patterns,
    PatternSettings,
    Rules,
    against_chance,
    against_rest,
    false_discovery,
    frequent,
    matching_cases,
    patterns,
    write_patterns,
)
from behavio.sequences import SequenceSet

DAY = 86_400
# open → click twice, click → open once, a visit alone
FOUR = [["open", "click"], ["open", "visit", "click"], ["click", "open"], ["visit"]]


def named(found: Patterns, log: SequenceSet) -> dict[tuple[str, ...], int]:
    names = log.vocabulary.names
    return {tuple(names[t] for t in found[i]): int(found.cases[i]) for i in range(len(found))}


def test_patterns_of_four_cases_by_hand():
    log = SequenceSet.from_traces(FOUR)
    everything = Rules(min_cases=2, max_length=0, max_gap=0, closed=False)
    assert named(frequent(log, everything), log) == {
        ("click",): 3,
        ("open",): 3,
        ("visit",): 2,
        ("open", "click"): 2,
    }
    assert named(frequent(log, replace(everything, max_gap=1)), log) == {
        ("click",): 3,
        ("open",): 3,
        ("visit",): 2,
    }


def test_the_window_counts_in_days_too():
    # a then b after 3 days, after 5 days, and after 1 day but only from the second a
    log = SequenceSet.from_traces(
        [["a", "b"], ["a", "b"], ["a", "a", "b"]], [[0, 3 * DAY], [0, 5 * DAY], [0, 9 * DAY, 10 * DAY]]
    )
    for days, cases in ((0, 0), (1, 1), (3, 2), (5, 3)):
        rules = Rules(min_cases=1, max_gap=0, within=days * DAY * 1_000_000)
        assert named(frequent(log, rules), log).get(("a", "b"), 0) == cases


def test_closed_leaves_out_what_a_longer_pattern_says():
    # a b c in both cases: every shorter pattern has the same two cases
    log = SequenceSet.from_traces([["a", "b", "c"], ["a", "x", "b", "c"]])
    assert named(frequent(log, Rules(min_cases=2, max_gap=0)), log) == {("a", "b", "c"): 2}


gaps, lengths = st.sampled_from([0, 1, 2, 3]), st.sampled_from([0, 1, 2, 4])
rare_and_common = st.lists(
    st.lists(st.sampled_from("aaabbcdefghijkl"), min_size=1, max_size=9), min_size=1, max_size=7
)


@given(
    rare_and_common, st.integers(1, 3), gaps, lengths, st.sampled_from([None, 0, 2, 6]), st.integers(0, 99)
)
@hypothesis_settings(max_examples=120)
def test_mining_matches_the_oracle(made, min_cases, max_gap, max_length, days, seed):
    if max_length == 0 and min_cases == 1:
        max_length = 4  # every subsequence of a case would be frequent
    rng = np.random.default_rng(seed)
    times = [np.sort(rng.integers(0, 20, len(t))).tolist() for t in made]
    log = SequenceSet.from_traces(made, times)
    within = -1 if days is None else days * 1_000_000
    rules = Rules(min_cases, max_length, max_gap, within, closed=False)
    slow = slow_patterns(made, times, min_cases, max_length or 9, max_gap, days)
    assert named(frequent(log, rules), log) == slow
    assert named(frequent(log, replace(rules, closed=True)), log) == slow_closed(slow)


@given(traces, st.integers(1, 30), gaps)
def test_max_patterns_keeps_the_best_supported(made, max_patterns, max_gap):
    log = SequenceSet.from_traces(made)
    rules = Rules(min_cases=1, max_length=3, max_gap=max_gap, closed=False)
    everything = named(frequent(log, rules), log)
    kept = frequent(log, replace(rules, max_patterns=max_patterns))
    within = {p: n for p, n in everything.items() if len(p) <= kept.rules.max_length}
    assert named(kept, log) == {p: n for p, n in within.items() if n >= kept.rules.min_cases}
    assert len(kept) <= max_patterns or kept.rules.max_length == 1
    if kept.rules.min_cases > 1:  # one less and they would be too many
        assert sum(n >= kept.rules.min_cases - 1 for n in within.values()) > max_patterns


def test_equal_cases_are_counted_with_their_weight():
    log = SequenceSet.from_traces([["a", "b"]] * 500 + [["b", "a"]] * 20)
    assert named(frequent(log, Rules(min_cases=10)), log)[("a", "b")] == 500


@pytest.mark.parametrize(
    ("name", "min_cases", "everything", "closed", "gap_3"),
    [
        ("bms_webview1", 60, 3_991, 3_974, 1_220),
        ("msnbc_pages", 1_590, 1_478, 1_478, 604),
        ("leviathan_words", 300, 3_467, 3_448, 160),
        ("sign_language", 73, 110_417, 109_743, None),
    ],
)
def test_counts_on_which_independent_miners_agree(real_log, name, min_cases, everything, closed, gap_3):
    log = load(real_log(name))
    rules = Rules(min_cases, max_length=0, max_gap=0, closed=False)
    assert len(frequent(log, rules)) == everything
    assert len(frequent(log, replace(rules, closed=True))) == closed
    if gap_3 is not None:
        assert len(frequent(log, replace(rules, max_gap=3))) == gap_3


@given(rare_and_common, gaps, st.sampled_from([None, 2, 6]), st.integers(0, 99))
def test_counting_given_patterns_matches_the_oracle(made, max_gap, days, seed):
    rng = np.random.default_rng(seed)
    times = [np.sort(rng.integers(0, 20, len(t))).tolist() for t in made]
    log = SequenceSet.from_traces(made, times)
    rules = Rules(1, 3, max_gap, -1 if days is None else days * 1_000_000, closed=False)
    found = frequent(log, rules)
    group = rng.integers(-1, 2, len(made))
    counts = Matcher.of(found, len(log.vocabulary)).count(log, group, 2)
    whole = Matcher.of(found, len(log.vocabulary)).count(log, np.zeros(len(made)), 1)[:, 0]
    assert whole.tolist() == found.cases.tolist()
    for pattern, row in zip(named(found, log), counts, strict=True):
        holds = [slow_holds(t, s, pattern, max_gap, days) for t, s in zip(made, times, strict=True)]
        assert row.tolist() == [sum(h for h, g in zip(holds, group, strict=True) if g == k) for k in (0, 1)]


def test_counting_in_cases_longer_than_a_machine_word():
    rng = np.random.default_rng(5)
    made = [rng.choice(list("abcd"), 150).tolist() for _ in range(6)]
    log = SequenceSet.from_traces(made)
    for max_gap in (0, 1, 3, 70):
        found = frequent(log, Rules(1, 3, max_gap, closed=False))
        counts = Matcher.of(found, len(log.vocabulary)).count(log, np.zeros(6), 1)[:, 0]
        assert counts.tolist() == found.cases.tolist() and len(found) > 10


def test_lift_by_hand():
    # a and b right after each other: half of the orders of (a, b) hold a → b, so 50 of 100 by chance
    log = SequenceSet.from_traces([["a", "b"]] * 90 + [["b", "a"]] * 10)
    row = patterns(log, PatternSettings(permutations=200)).row(0, named=True)
    assert (row["pattern"], row["activities"], row["length"], row["n_cases"]) == ("a → b", ["a", "b"], 2, 90)
    assert row["support"] == 0.9 and row["segment"] is None
    assert row["lift"] == pytest.approx(1.8, abs=0.03) and row["expected"] == pytest.approx(0.5, abs=0.01)
    assert row["low"] < 1.8 < row["high"] and 1.6 < row["low"] < row["high"] < 2.0
    assert row["q_value"] < 1e-10


def test_chance_is_exact_where_it_can_be_computed():
    # 3 of the 6 orders of (a, b, c) hold a before b; right after: 2 of 6
    log = SequenceSet.from_traces([["a", "b", "c"]] * 400)
    for max_gap, share in ((0, 1 / 2), (1, 1 / 3)):
        found = frequent(log, Rules(1, 2, max_gap, closed=False))
        chance = against_chance(log, found, 100, seed=1)
        at = list(named(found, log)).index(("a", "b"))
        assert chance.expected[at] / 400 == pytest.approx(share, abs=0.01)
        assert chance.n_cases.tolist() == found.cases.tolist()


def shuffled(log: SequenceSet, seed: int) -> SequenceSet:
    rng = np.random.default_rng(seed)
    return replace(log, tokens=np.concatenate([rng.permutation(t) for t in log]))


def test_on_shuffled_data_nothing_stands_out():
    rng = np.random.default_rng(0)
    made = [rng.choice(list("aaabbcde"), rng.integers(2, 25)).tolist() for _ in range(300)]
    small = []
    for seed in range(8):
        log = shuffled(SequenceSet.from_traces(made), seed)
        frame = patterns(log, PatternSettings(permutations=50), seed=seed)
        assert frame.height > 50
        small.append(int((frame["q_value"] <= 0.05).sum()))
    assert sum(n > 0 for n in small) <= 1 and sum(small) <= 2


def test_p_values_of_shuffled_data_are_spread_evenly():
    rng = np.random.default_rng(4)
    made = [rng.choice(list("abcdef"), rng.integers(2, 15)).tolist() for _ in range(400)]
    p_values = []
    for seed in range(40):
        log = shuffled(SequenceSet.from_traces(made), seed)
        one = Patterns(np.array([2, 3], np.int32), np.array([0, 2]), np.zeros(1), Rules(1, 2, 2))
        p_values.append(float(against_chance(log, one, 60, seed).p_value[0]))
    assert stats.kstest(p_values, "uniform").pvalue > 0.01
    assert np.mean(np.array(p_values) < 0.1) < 0.25


def test_on_shuffled_real_data_nothing_stands_out(real_log):
    log = shuffled(load(real_log("complete_journey"), cases=600), 11)
    assert patterns(log, PatternSettings(min_support=0.1))["q_value"].min() > 0.05


def test_the_interval_of_the_lift_holds_its_true_value_most_of_the_time():
    # b follows a in 4 of 5 cases, by chance in half: lift 1.6
    rng = np.random.default_rng(9)
    inside = 0
    for seed in range(60):
        made = [["a", "b"] if rng.random() < 0.8 else ["b", "a"] for _ in range(200)]
        frame = patterns(SequenceSet.from_traces(made), PatternSettings(permutations=50), seed)
        row = frame.row(by_predicate=pl.col("pattern") == "a → b", named=True)
        inside += row["low"] <= 1.6 <= row["high"]
    assert inside >= 53


def test_same_seed_same_answer_and_another_seed_another():
    log = SequenceSet.from_traces([list("abcab"), list("bca"), list("cab"), list("abc")] * 20)
    one, two, other = (patterns(log, seed=s) for s in (3, 3, 4))
    assert one.equals(two) and not one["expected"].equals(other["expected"])


@given(st.lists(st.floats(1e-12, 1.0), min_size=1, max_size=30))
def test_q_values_are_scipys(p_values):
    np.testing.assert_allclose(
        false_discovery(np.array(p_values)), stats.false_discovery_control(p_values), rtol=1e-9
    )


def test_against_rest_by_hand():
    # 30 of 40 inside, 20 of 80 outside: 75 % against 25 %, lift 3
    found = against_rest(np.array([30, 0]), 40, np.array([20, 5]), 80)
    assert found.support.tolist() == [0.75, 0.0] and found.lift[0] == 3.0
    half = 1.96 * np.sqrt(1 / 30 - 1 / 40 + 1 / 20 - 1 / 80)
    assert [found.low[0], found.high[0]] == pytest.approx([3 / np.exp(half), 3 * np.exp(half)], rel=1e-3)
    one_sided = stats.fisher_exact([[30, 10], [20, 60]], alternative="greater").pvalue
    assert found.p_value[0] == pytest.approx(2 * one_sided)
    assert 0 < found.lift[1] < 1 and np.isfinite(found.low[1])


def test_patterns_that_tell_a_segment():
    made = [["email", "visit"]] * 60 + [["visit", "email"]] * 60 + [["email", "visit"]] * 5
    log = SequenceSet.from_traces(made)
    segments = pl.DataFrame(
        {
            "case_id": log.case_ids,
            "segment": ["email first"] * 60 + ["visit first"] * 60 + [None] * 5,  # five are unassigned
            "segment_id": [0] * 60 + [1] * 60 + [-1] * 5,
        }
    ).sample(fraction=1.0, shuffle=True, seed=2)
    rows = patterns(log, segments=segments).filter(pl.col("segment").is_not_null())
    first = rows.row(by_predicate=(pl.col("segment") == "email first") & (pl.col("lift") > 1), named=True)
    assert (first["pattern"], first["n_cases"], first["support"]) == ("email → visit", 60, 1.0)
    assert first["lift"] == 120 and first["q_value"] < 1e-10 and first["low"] > 1
    assert set(rows["segment"]) == {"email first", "visit first"}
    with pytest.raises(ModelError, match="segment"):
        patterns(log, segments=segments.drop("segment"))


def test_segments_that_say_nothing_get_no_row():
    log = SequenceSet.from_traces([["a", "b"], ["b", "a"], ["a", "b"], ["b", "a"]] * 20)
    segments = pl.DataFrame({"case_id": log.case_ids, "segment": ["x", "x", "y", "y"] * 20})
    assert patterns(log, segments=segments)["segment"].null_count() == 2


def test_patterns_before_an_outcome():
    # open → click comes before buy in 30 of 30 buyers, and in 10 of 40 others
    made = [["open", "click", "buy", "open"]] * 30 + [["open", "click"]] * 10 + [["click", "open"]] * 30
    log = SequenceSet.from_traces(made)
    rows = patterns(log, PatternSettings(outcome="buy")).filter(pl.col("segment") == "before buy")
    row = rows.row(by_predicate=pl.col("pattern") == "open → click", named=True)
    assert (row["n_cases"], row["support"], row["lift"]) == (30, 1.0, 4.0)
    assert not any("buy" in a for a in rows["activities"])
    with pytest.raises(JobError, match="bye") as raised:
        patterns(log, PatternSettings(outcome="bye"))
    assert "buy" in raised.value.hint


def test_matching_cases_by_hand():
    times = [[0, DAY], [0, DAY, 40 * DAY], [0, DAY], [0]]
    log = SequenceSet.from_traces(FOUR, times)
    assert matching_cases(log, ["open", "click"]).to_list() == ["c0", "c1"]
    assert matching_cases(log, ["open", "click"], max_gap=1).to_list() == ["c0"]
    assert matching_cases(log, ["open", "click"], within="30d").to_list() == ["c0"]
    assert matching_cases(log, ["visit"]).to_list() == ["c1", "c3"]
    with pytest.raises(JobError, match="no activity to look for"):
        matching_cases(log, [])
    with pytest.raises(JobError, match="opn") as raised:
        matching_cases(log, ["opn"])
    assert "open" in raised.value.hint


@pytest.mark.parametrize(
    "made", [[["a"]], [["a"], ["a"]], [["a", "a", "a"]], [["a"], ["b"], ["c"]], [["🙂", "שלום", "🙂"]] * 3]
)
def test_tiny_logs_give_a_table(made, tmp_path):
    facts = write_patterns(SequenceSet.from_traces(made), PatternSettings(), 1, tmp_path)
    frame = pl.read_parquet(tmp_path / "patterns.parquet")
    assert dict(frame.schema) == PATTERN_SCHEMA and frame.height == facts["rows_out"]
    assert frame.null_count().select(pl.exclude("segment")).row(0) == (0,) * (frame.width - 1)


def test_fifty_thousand_activities():
    names = [f"page {i}" for i in range(50_000)]
    log = SequenceSet.from_traces([names, names[:10], names[:10]])
    assert patterns(log, PatternSettings(min_support=0.9, max_gap=1)).height > 0


def test_writing_twice_gives_the_same_bytes_and_facts_say_what_was_raised(tmp_path):
    rng = np.random.default_rng(2)
    log = SequenceSet.from_traces([rng.choice(list("abcdefgh"), 30).tolist() for _ in range(200)])
    contents, seen = [], []
    for folder in (tmp_path / "one", tmp_path / "two"):
        folder.mkdir()
        seen.clear()
        facts = write_patterns(
            log, PatternSettings(max_patterns=100), 1, folder, None, lambda _, s: seen.append(s)
        )
        contents.append((folder / "patterns.parquet").read_bytes())
        assert seen == sorted(seen) and seen[-1] == 1.0
    assert contents[0] == contents[1]
    assert facts["min_cases"] > facts["min_cases_asked"] == 4 and facts["n_frequent"] <= 100


def test_a_log_without_a_clock_ignores_within():
    log = SequenceSet.from_traces([["a", "b"]] * 5, [[0, 10**6]] * 5)
    untimed = replace(log, timed=False)
    assert patterns(log, PatternSettings(within="1d")).height == 0
    assert patterns(untimed, PatternSettings(within="1d")).height == 1


@pytest.mark.parametrize(
    "bad",
    [
        {"min_support": 0.0},
        {"max_length": 1},
        {"max_gap": -1},
        {"within": "30"},
        {"top": 0},
        {"permutations": 1},
    ],
)
def test_settings_out_of_range_are_refused(bad):
    with pytest.raises(JobError):
        PatternSettings(**bad)
