"""Patterns: exactly the frequent ones, lift over shuffled cases, what tells a segment."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import polars as pl
import pytest
from conftest import traces
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from oracles_journeys import load, slow_closed
from oracles_patterns import slow_embedding, slow_ends, slow_frequent, slow_moments
from scipy import stats

from behavio.engine.local import LocalEngine
from behavio.errors import JobError, ModelError
from behavio.kernels import mining
from behavio.patterns import (
    PATTERN_SCHEMA,
    Matcher,
    Patterns,
    PatternSettings,
    Rules,
    against_chance,
    against_rest,
    false_discovery,
    find,
    frequent,
    holding,
    matching_cases,
    most_frequent,
    patterns,
    write_patterns,
)
from behavio.patterns.mine import _prepare
from behavio.sequences import Field, SequenceSet, Vocabulary

DAY = 86_400
# open → click twice, click → open once, a visit alone
FOUR = [["open", "click"], ["open", "visit", "click"], ["click", "open"], ["visit"]]


def named(found: Patterns, log: SequenceSet) -> dict[tuple[str, ...], int]:
    names = log.vocabulary.names
    return {tuple(names[t] for t in found[i]): int(found.cases[i]) for i in range(len(found))}


def test_patterns_of_four_cases_by_hand():
    log = SequenceSet.from_traces(FOUR)
    everything = Rules(min_cases=2, max_length=0, max_gap_events=0, closed=False)
    assert named(frequent(log, everything), log) == {
        ("click",): 3,
        ("open",): 3,
        ("visit",): 2,
        ("open", "click"): 2,
    }
    assert named(frequent(log, replace(everything, max_gap_events=1)), log) == {
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
        rules = Rules(min_cases=1, max_gap_events=0, max_gap=days * DAY * 1_000_000)
        assert named(frequent(log, rules), log).get(("a", "b"), 0) == cases


def test_closed_leaves_out_what_a_longer_pattern_says():
    # a b c in both cases: every shorter pattern has the same two cases
    log = SequenceSet.from_traces([["a", "b", "c"], ["a", "x", "b", "c"]])
    assert named(frequent(log, Rules(min_cases=2, max_gap_events=0)), log) == {("a", "b", "c"): 2}


gaps = st.sampled_from([0, 1, 2, 3])
rare_and_common = st.lists(
    st.lists(st.sampled_from("aaabbcdefghijkl"), min_size=1, max_size=8), min_size=1, max_size=6
)
second = 1_000_000
every_limit = st.builds(
    Rules,
    min_cases=st.integers(1, 3),
    max_length=st.sampled_from([0, 2, 3, 4]),
    max_gap_events=st.sampled_from([0, 0, 1, 2, 3]),
    max_gap=st.sampled_from([-1, -1, 0, 2 * second, 6 * second]),
    min_gap_events=st.sampled_from([1, 1, 2]),
    min_gap=st.sampled_from([0, 0, second]),
    max_span_events=st.sampled_from([0, 0, 2, 3, 5]),
    max_span=st.sampled_from([-1, -1, 0, 3 * second, 9 * second]),
    closed=st.just(False),
    apart=st.sampled_from([-1, 0]),
)


def with_times(made: list[list[str]], seed: int, width: int) -> tuple[list[list[int]], SequenceSet]:
    """Random times, many of them equal where width is small."""
    rng = np.random.default_rng(seed)
    times = [np.sort(rng.integers(0, width, len(t))).tolist() for t in made]
    return times, SequenceSet.from_traces(made, times)


@given(rare_and_common, every_limit, st.integers(0, 99), st.integers(1, 12))
@hypothesis_settings(max_examples=100)
def test_mining_under_every_limit_matches_the_oracle(made, rules, seed, width):
    times, log = with_times(made, seed, width)
    slow = slow_frequent(made, times, rules)
    assert named(frequent(log, rules), log) == slow
    assert named(frequent(log, replace(rules, closed=True)), log) == slow_closed(slow)


@given(rare_and_common, every_limit, st.integers(0, 99), st.integers(1, 12))
@hypothesis_settings(max_examples=60)
def test_finding_given_patterns_matches_the_oracle(made, rules, seed, width):
    times, log = with_times(made, seed, width)
    found = frequent(log, rules)
    group = np.random.default_rng(seed).integers(-1, 2, len(made))
    matcher = Matcher.of(found, len(log.vocabulary))
    counts = matcher.count(log, group, 2)
    held = [
        {c: e for c, (t, s) in enumerate(zip(made, times, strict=True)) if (e := slow_ends(t, s, p, rules))}
        for p in found.named(log.vocabulary.names)
    ]
    assert LocalEngine().run(matcher.support(), log).tolist() == [len(h) for h in held]
    assert counts.tolist() == [[sum(group[c] == g for c in h) for g in (0, 1)] for h in held]
    rows = holding(log, found).to_dicts() if len(found) else []
    assert len(rows) == sum(len(h) for h in held)
    for row in rows:
        case, pattern = log.case_ids.to_list().index(row["case_id"]), row["pattern"].split(" → ")
        moments = slow_moments(times[case], rules.apart)
        assert [made[case][e] for e in row["events"]] == pattern
        assert slow_embedding(row["events"], times[case], moments, rules)
        assert moments[row["events"][-1]] == min(slow_ends(made[case], times[case], pattern, rules))


@given(traces, st.integers(1, 6), gaps, st.booleans())
def test_the_most_frequent_are_the_best_of_all(made, k, max_gap, closed):
    log = SequenceSet.from_traces(made)
    rules = Rules(1, 0, max_gap, closed=closed)
    everything = {p: n for p, n in named(frequent(log, rules), log).items() if len(p) > 1}
    border = sorted(everything.values(), reverse=True)[:k][-1] if everything else 0
    top = most_frequent(log, k, rules)
    assert named(top, log) == {p: n for p, n in everything.items() if n >= border}
    assert top.cases.tolist() == sorted(top.cases.tolist(), reverse=True)


def test_counts_by_lists_by_bits_and_by_windows_are_the_same():
    rng = np.random.default_rng(8)
    few = [rng.choice(list("abcdefgh"), 30).tolist() for _ in range(40)] * 3  # long lists, weights of 3
    many = [rng.choice([f"p{i}" for i in range(300)], 4).tolist() for _ in range(300)] * 2
    for made, way in ((few, mining.BITS), (many, mining.LISTS)):
        log = SequenceSet.from_traces(made)
        rules = Rules(6, 3, 0, closed=False)
        assert _prepare(log, rules, None).way == way
        wide = replace(rules, max_gap_events=1_000)  # anywhere, said as a window
        assert _prepare(log, wide, None).way == mining.WINDOWS
        assert named(frequent(log, rules), log) == named(frequent(log, wide), log)


def test_weights_count_a_trace_as_often_as_they_say():
    log = SequenceSet.from_traces([["a", "b"], ["b", "a"], ["a", "b", "c"]])
    found = frequent(log, Rules(1, 2, 0, closed=False), np.array([5, 2, 1]))
    # a → b in the first and the third: 5 + 1
    assert named(found, log)["a", "b"] == 6 and named(found, log)["b", "a"] == 2


def test_what_happens_in_one_conversation_does_not_follow_itself():
    # the visit, what was shown and answered in it (minutes later), an email two days on
    made = [["call_f2f", "reaction_positive", "email_sent"]] * 3
    times = [[0, 120, 2 * DAY]] * 3
    log = SequenceSet.from_traces(made, times)
    channel = Vocabulary.of(["f2f", "email"])
    codes = channel.encode(pl.Series(["f2f", "f2f", "email"] * 3))
    log = replace(log, fields={"channel": Field(codes, channel)})
    told = patterns(log, PatternSettings(closed=False))["pattern"].to_list()
    assert sorted(told) == ["call_f2f → email_sent", "reaction_positive → email_sent"]
    apart = patterns(log, PatternSettings(closed=False, same_moment=""))["pattern"].to_list()
    assert "call_f2f → reaction_positive" in apart


@given(traces, st.integers(1, 30), gaps)
def test_max_patterns_keeps_the_best_supported(made, max_patterns, max_gap):
    log = SequenceSet.from_traces(made)
    rules = Rules(min_cases=1, max_length=3, max_gap_events=max_gap, closed=False)
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
    rules = Rules(min_cases, max_length=0, max_gap_events=0, closed=False)
    assert len(frequent(log, rules)) == everything
    assert len(frequent(log, replace(rules, closed=True))) == closed
    if gap_3 is not None:
        assert len(frequent(log, replace(rules, max_gap_events=3))) == gap_3


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


def test_the_list_opens_with_findings_that_do_not_hold_each_other():
    made = [["a", "b", "c"]] * 60 + [["x", "y"]] * 50 + [["c", "b", "a"], ["y", "x"]] * 5
    frame = patterns(SequenceSet.from_traces(made), PatternSettings(closed=False, max_gap_events=0))
    # a → b → c: 60 cases, 11 by chance; x → y: 50, 27 by chance; a → b: 60, 32 by chance, but already said
    listed = frame["pattern"].to_list()
    assert listed[0] == "a → b → c"
    assert all(listed.index("x → y") < listed.index(p) for p in ("a → b", "a → c", "b → c"))


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
            "segment": ["email first"] * 60
            + ["visit first"] * 60
            + ["unassigned"] * 5,  # five are unassigned
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


def test_a_segment_that_only_has_more_of_something_is_not_told_by_order():
    """Mail cases have mail three times as often as web cases, in random order: no order tells them."""
    rng = np.random.default_rng(5)
    made = [
        rng.choice(["mail", "web", "call"], 8, p=[0.6, 0.2, 0.2] if c % 2 else [0.2, 0.6, 0.2]).tolist()
        for c in range(400)
    ]
    log = SequenceSet.from_traces(made)
    segments = pl.DataFrame({"case_id": log.case_ids, "segment": ["web", "mail"] * 200})
    found = find(log, PatternSettings(), 1, segments)
    assert found.frame["segment"].drop_nulls().len() == found.facts["n_telling_rows"] == 0
    assert any("no order of steps tells a segment" in note for note in found.notes)
    planted = [[*t, "visit", "order"] if c % 2 else [*t, "order", "visit"] for c, t in enumerate(made)]
    log = SequenceSet.from_traces(planted)
    rows = patterns(log, segments=segments).filter(pl.col("segment") == "mail", pl.col("lift") > 1)
    assert rows["pattern"][0].endswith("visit → order") and "visit → order" in rows["pattern"]


def test_segments_that_say_nothing_get_no_row():
    log = SequenceSet.from_traces([["a", "b"], ["b", "a"], ["a", "b"], ["b", "a"]] * 20)
    segments = pl.DataFrame({"case_id": log.case_ids, "segment": ["x", "x", "y", "y"] * 20})
    assert patterns(log, segments=segments)["segment"].null_count() == 2


def test_matching_cases_by_hand():
    times = [[0, DAY], [0, DAY, 40 * DAY], [0, DAY], [0]]
    log = SequenceSet.from_traces(FOUR, times)
    assert matching_cases(log, ["open", "click"]).to_list() == ["c0", "c1"]
    assert matching_cases(log, ["open", "click"], max_gap_events=1).to_list() == ["c0"]
    assert matching_cases(log, ["open", "click"], max_gap="30d").to_list() == ["c0"]
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
    assert patterns(log, PatternSettings(min_support=0.9, max_gap_events=1)).height > 0


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
    (note,) = json.loads((tmp_path / "one" / "notes.json").read_text())["patterns"][:1]
    assert f"fewer than {facts['min_cases']} cases" in note and "max_patterns" in note


def test_a_log_without_a_clock_ignores_limits_in_time():
    log = SequenceSet.from_traces([["a", "b"]] * 5, [[0, 10**6]] * 5)
    untimed = replace(log, timed=False)
    assert patterns(log, PatternSettings(max_gap="1d")).height == 0
    assert patterns(untimed, PatternSettings(max_gap="1d")).height == 1


@pytest.mark.parametrize(
    "bad",
    [
        {"min_support": 0.0},
        {"max_length": 1},
        {"max_gap": -1},
        {"within": "30"},
        {"within": "0d"},
        {"max_gap": "30"},
        {"max_span": "ever"},
        {"min_gap": "9d", "max_gap": "2d"},
        {"top": 0},
        {"permutations": 1},
    ],
)
def test_settings_out_of_range_are_refused(bad):
    with pytest.raises(JobError):
        PatternSettings(**bad)
