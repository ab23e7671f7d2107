"""The counting model against slow twins: tallies merge and grow to the same bytes; what they predict."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from behavio.errors import ModelError
from behavio.kernels.tally import PERIODS
from behavio.models.base import Prefixes, SequenceModel
from behavio.models.counting import Counting
from behavio.models.mixing import Mixture, by_bin, geometric, geometric_weights, linear_share, linear_weights
from behavio.models.ngram import NGram
from behavio.models.tally import ARRAYS, Grid, Table, Tally, tags_of
from behavio.models.views import Once, fading, first_held
from behavio.sequences import Field, SequenceSet, Vocabulary

DAY = 86_400
logs = st.lists(st.lists(st.sampled_from("abc"), min_size=1, max_size=7), min_size=1, max_size=7)
VIEWS = ("plain", "gap", "set", "gap+set", "hour", "length", "field:x")


def log_of(traces: list[list[str]], step: int = DAY) -> SequenceSet:
    """Case i begins on day i; an attribute x that is missing on every third event."""
    times = [[i * DAY + step * k for k in range(len(t))] for i, t in enumerate(traces)]
    plain = SequenceSet.from_traces(traces, times)
    codes = (np.arange(plain.n_events) % 3).astype(np.int32)
    words = Vocabulary.of(["q"])
    return replace(plain, fields={"x": Field(np.where(codes == 1, 0, codes).astype(np.int32), words)})


def tallied(log: SequenceSet, view: str, grid: Grid, orders: int = 3) -> Tally:
    return Tally.of(log, Prefixes.of_cases(log, 0), view, orders, grid)


def walked(table: Table) -> dict[tuple[int, ...], dict[int, float]]:
    """(context symbols, newest first …): what followed it how often, read off the trie by hand."""
    found = {}
    todo: list[tuple[int, tuple[int, ...]]] = [(0, ())]
    while todo:
        node, context = todo.pop()
        pairs = slice(table.start[node], table.start[node + 1])
        found[context] = dict(zip(table.activity[pairs].tolist(), table.count[pairs].tolist(), strict=True))
        assert table.total[node] == pytest.approx(sum(found[context].values()))
        for child in range(table.child[node], table.child[node + 1]):
            todo.append((child, (*context, int(table.symbol[child]))))
    return found


def counted(tally: Tally) -> dict[tuple[int, ...], int]:
    """(context symbols, newest first …, activity, period): count, from the table of each period alone."""
    found = {}
    for period in range(tally.newest + 1):
        [table] = tally.tables(np.eye(PERIODS)[period : period + 1])
        for context, followed in walked(table).items():
            found.update({(*context, token, period): int(n) for token, n in followed.items()})
    return found


@settings(max_examples=60, deadline=None)
@given(traces=logs, view=st.sampled_from(VIEWS))
def test_tallies_equal_the_dictionary(traces: list[list[str]], view: str) -> None:
    log = log_of(traces)
    grid = Grid(0, 3 * DAY * 1_000_000)
    tags = tags_of(view, log)
    slow: Counter[tuple[int, ...]] = Counter()
    for case in range(log.n_cases):
        low, high = log.offsets[case], log.offsets[case + 1]
        for at in range(low + 1, high):
            back = [int(t) for t in log.tokens[max(low, at - 3) : at][::-1]]
            context = back if view == "plain" else [back[0], int(tags[at - 1]), *back[1:]]
            what = (int(log.tokens[at]), int(log.times[at] // grid.width))
            for k in range(len(context) + 1):
                slow[*context[:k], *what] += 1
    assert counted(tallied(log, view, grid)) == dict(slow)


@settings(max_examples=60, deadline=None)
@given(traces=logs, cut=st.integers(0, 7), view=st.sampled_from(VIEWS))
def test_two_shards_merge_to_the_bytes_of_one(traces: list[list[str]], cut: int, view: str) -> None:
    log = log_of(traces)
    grid, cut = Grid.over(log), min(cut, len(traces))
    parts = (
        [log.select(np.arange(cut)), log.select(np.arange(cut, len(traces)))]
        if 0 < cut < len(traces)
        else [log]
    )
    # every shard knows only its own activities
    tallies = [tallied(p.recode(p.own_vocabulary()), view, grid) for p in parts]
    both = tallies[0] if len(tallies) == 1 else tallies[0].merge(tallies[1])
    whole = tallied(log.recode(log.own_vocabulary()), view, grid)
    assert both.vocabulary == whole.vocabulary
    for name in ARRAYS:
        np.testing.assert_array_equal(getattr(both, name), getattr(whole, name))


@settings(max_examples=40, deadline=None)
@given(traces=logs, days=st.integers(0, 9))
def test_new_events_are_added_without_a_refit(traces: list[list[str]], days: int) -> None:
    log = log_of(traces)
    cut = days * DAY * 1_000_000
    if not (log.times < cut).any() or not (log.times >= cut).any():
        return
    grid = Grid.over(log)
    early = Counting(3, fixed=True, grid=(grid.origin, grid.width, grid.by)).fit(log.until(cut))
    early.update(log, Prefixes.before(log, cut))
    whole = Counting(3, fixed=True, grid=(grid.origin, grid.width, grid.by)).fit(log)
    assert early.vocabulary_ == whole.vocabulary_
    for name in (*ARRAYS, "bounds"):
        np.testing.assert_array_equal(getattr(early, f"{name}_"), getattr(whole, f"{name}_"))
    prefixes = Prefixes.last(log)
    np.testing.assert_array_equal(early.probabilities(log, prefixes), whole.probabilities(log, prefixes))


@settings(max_examples=40, deadline=None)
@given(traces=logs, asked=logs)
def test_fixed_it_is_the_plain_ngram(traces: list[list[str]], asked: list[list[str]]) -> None:
    log, other = log_of(traces), log_of(asked)
    one, two = Counting(3, fixed=True).fit(log), NGram(3, fixed=True).fit(log)
    np.testing.assert_allclose(
        one.probabilities(other, Prefixes.last(other)),
        two.probabilities(other, Prefixes.last(other)),
        atol=1e-12,
    )
    last = np.full(len(asked), 2)
    first, second = (
        one.evidence(other, Prefixes.last(other), last, 1),
        two.evidence(other, Prefixes.last(other), last, 1),
    )
    for name in ("order", "seen", "followed"):
        np.testing.assert_array_equal(getattr(first, name), getattr(second, name))


def test_tags_by_hand() -> None:
    log = SequenceSet.from_traces([list("aba"), list("b")], [[0, 30, 7230], [5]])
    assert tags_of("plain", log).size == 0
    # first event, half a minute later, two hours later
    assert tags_of("gap", log).tolist() == [0, 2, 4, 0]
    seen = tags_of("set", log)
    assert seen[1] == seen[2] and seen[0] != seen[1] and seen[3] not in seen[:3]
    assert tags_of("hour", log).tolist() == [0, 0, 0, 0]
    assert tags_of("length", log).tolist() == [0, 1, 1, 0]
    words = Vocabulary.of(["q", "r"])
    told = replace(log, fields={"x": Field(np.array([3, 0, 2, 0], dtype=np.int32), words)})
    x = tags_of("field:x", told)
    assert x[0] == x[1] != x[2] and x[3] == 0  # carried on inside the case alone


def test_old_periods_fade() -> None:
    # after a: b in period 0, c in period 2; with a half-life of one period b counts a quarter
    log = SequenceSet.from_traces([list("ab"), list("ac")], [[0, 0], [2, 2]])
    tally = tallied(log, "plain", Grid(0, 1_000_000))
    [table, first] = tally.tables(np.array([fading(3, 1.0), [1.0, 0.5, 2.0]]))
    assert first.count.tolist() == [1.0, 2.0, 1.0, 2.0]
    assert table.count.tolist() == [0.25, 1.0, 0.25, 1.0] and table.total.tolist() == [1.25, 1.25]
    assert tally.tables(np.ones((1, 1)))[0].count.tolist() == [1.0, 1.0]
    assert fading(3, 0.0).tolist() == [1.0, 1.0, 1.0]


@settings(max_examples=80, deadline=None)
@given(
    traces=logs,
    view=st.sampled_from(VIEWS),
    some=st.lists(st.integers(0, 40), max_size=4),
    size=st.sampled_from([0, 40, 500, 5_000]),
)
def test_tables_of_what_is_asked_are_parts_of_the_whole(
    traces: list[list[str]], view: str, some: list[int], size: int
) -> None:
    log = log_of(traces)  # with many activities a context takes one word, two, or three
    log = log.recode(Vocabulary.of([*"abc", *(f"x{i}" for i in range(size))]))
    steps, grid = Prefixes.of_cases(log, 0), Grid(0, 3 * DAY * 1_000_000)
    if not len(steps):
        return
    tags, tally = tags_of(view, log), tallied(log, view, grid, 8)
    held = steps[np.array([k % len(steps) for k in some], dtype=np.int64)]
    weights = np.array([[1.0, 0.0, 1.0, 1.0, 1.0, 1.0], [0.5, 0.0, 3.0, 1.0, 1.0, 7.0]])
    once = Once.of(tally.packed(log, held, tags))
    np.testing.assert_array_equal(once.packed[:, once.which], tally.packed(log, held, tags))
    np.testing.assert_array_equal(once.times, np.bincount(once.which))
    np.testing.assert_array_equal(once.which[once.first], np.arange(len(once.first)))
    asked = tally.asked(once.packed)
    contexts = {()}
    for case, end in zip(held.cases, held.ends, strict=True):
        back = [int(t) for t in log.tokens[max(log.offsets[case], end - 8) : end][::-1]]
        context = back if view == "plain" else [back[0], int(tags[end - 1]), *back[1:]]
        contexts |= {tuple(context[:k]) for k in range(len(context) + 1)}
    for k, whole in enumerate(tally.tables(weights)):
        [alone] = tally.tables(weights[k : k + 1] + 0.0)
        assert walked(alone) == walked(whole)
        parts = walked(tally.tables(weights, asked)[k])
        assert parts == {context: n for context, n in walked(whole).items() if context in contexts}
    whole, part = tally.kneser_ney(weights[0]), tally.kneser_ney(weights[0], asked)
    assert walked(part) == {context: n for context, n in walked(whole).items() if context in contexts}
    np.testing.assert_array_equal(part.discounts, whole.discounts)


@settings(max_examples=60, deadline=None)
@given(traces=logs, weights=st.lists(st.booleans(), min_size=6, max_size=6))
def test_kneser_ney_equals_the_dictionary(traces: list[list[str]], weights: list[bool]) -> None:
    log, orders = log_of(traces), 3
    tally = tallied(log, "plain", Grid(0, 2 * DAY * 1_000_000), orders)
    weighed = np.array(weights, dtype=np.float64)
    plain = walked(tally.tables(weighed[None])[0])
    slow = {}
    for context, followed in plain.items():
        longer = [n for c, n in plain.items() if len(c) == len(context) + 1 and c[:-1] == context]
        slow[context] = {
            token: sum(token in n for n in longer) + count - sum(n.get(token, 0) for n in longer)
            for token, count in followed.items()
        }
    found = tally.kneser_ney(weighed)
    assert walked(found) == slow
    for level in range(orders + 1):
        counts = [n for c, followed in slow.items() if len(c) == level for n in followed.values()]
        once, twice = counts.count(1), counts.count(2)
        assert found.discounts[level] == (once / (once + 2 * twice) if once else 0.5)


def test_kneser_ney_by_hand() -> None:
    # d comes three times but only after b; e twice, after b and after c
    log = SequenceSet.from_traces([list("abd")] * 3 + [list("abe"), list("ace")])
    table = tallied(log, "plain", Grid(0, 10**15), orders=1).kneser_ney(np.ones(1))
    names = log.vocabulary.names
    root = {names[table.activity[p]]: table.count[p] for p in range(table.start[0], table.start[1])}
    assert root == {"b": 1.0, "c": 1.0, "d": 1.0, "e": 2.0}
    # level 0: three kinds once, one twice; level 1: b, c, e, e once… d three times, b four
    assert table.discounts[0] == pytest.approx(3 / (3 + 2))


def test_drift_is_followed() -> None:
    # after a came b for long, then c: the newest counts and no others tell what comes
    traces, times = [], []
    for i in range(900):
        traces.append(["a", "b" if i < 700 else "c", "z"])
        times.append([i * DAY, i * DAY + 60, i * DAY + 120])
    log = SequenceSet.from_traces(traces, times)
    model, plain = Counting().fit(log), NGram().fit(log)
    asked = SequenceSet.from_traces([["a"]], [[900 * DAY]])
    column = model.vocabulary_.id("c")
    assert model.half_life_ > 0
    assert model.probabilities(asked, Prefixes.last(asked))[0, column] > 0.85
    assert plain.probabilities(asked, Prefixes.last(asked))[0, column] < 0.35


def test_attributes_and_waits_are_read() -> None:
    # what follows a is told by the attribute alone, what follows b by the wait before it alone
    random = np.random.default_rng(3)
    traces, times, words = [], [], []
    for i in range(800):
        x, long = str(random.choice(["p", "q"])), bool(random.random() < 0.5)
        trace = ["a", "m" if x == "p" else "n", "b", "s" if long else "t"]
        traces.append(trace)
        begin = i * 3_000
        times.append([begin, begin + 10, begin + (9_000 if long else 11), begin + 9_100])
        words += [x, None, None, None]
    log = SequenceSet.from_traces(traces, times)
    known = Vocabulary.of(["p", "q"])
    log = replace(log, fields={"x": Field(known.encode(pl.Series(words, dtype=pl.String)), known)})
    model = Counting().fit(log)
    ends = Prefixes.of_cases(log, 0)
    p = model.of_truth(model.coded(log), ends)
    assert np.median(p) > 0.92 and p.mean() > 0.92
    assert NGram().fit(log).of_truth(log, ends).mean() < 0.8


def test_what_is_new_or_odd_still_sums_to_one() -> None:
    random = np.random.default_rng(5)
    traces = [["a"] * 60 for _ in range(40)] + [["b", "c"]]
    log = log_of([list(random.choice(list("abc"), 6)) for _ in range(200)] + traces, step=0)
    model = Counting().fit(log)
    odd = SequenceSet.from_traces(
        [["new"], ["a"], ["a", "new", "a"], ["c"] * 400],
        [[0], [10**9], [0, 0, 86_400 * 3650], list(range(400))],
    )
    rows = model.probabilities(odd, Prefixes.last(odd))
    assert np.isfinite(rows).all() and (rows[:, 1:] > 0).all() and (rows[:, 0] == 0).all()
    np.testing.assert_allclose(rows.sum(axis=1), 1.0)


def test_where_nothing_is_known_the_usual_is_said_once() -> None:
    # b is half of all steps, a and c a quarter each; z was never seen before anything
    random = np.random.default_rng(6)
    traces = [random.choice(list("abbc"), 12).tolist() for _ in range(300)]
    log = log_of(traces)
    model = Counting().fit(log)
    model.linear_ = np.float64(0.0)  # the geometric mean alone would count the same thing once for each view
    model.exponents_ = np.ones(len(model.views_))
    other = log_of([["z"], ["a", "z"]])
    rows = model.probabilities(other, Prefixes.last(other))
    usual = np.bincount(log.tokens)[2:] / log.n_events
    np.testing.assert_allclose(rows[0, 2:], usual, atol=0.05)
    np.testing.assert_allclose(rows.sum(axis=1), 1.0)


def test_saved_and_read_again(tmp_path: Path) -> None:
    random = np.random.default_rng(2)
    log = log_of([list(random.choice(list("abcd"), 7)) for _ in range(150)])
    model = Counting().fit(log)
    model.save(tmp_path / "m")
    again = SequenceModel.load(tmp_path / "m")
    prefixes = Prefixes.of_cases(log, 0)
    np.testing.assert_array_equal(model.probabilities(log, prefixes), again.probabilities(log, prefixes))
    model.fit(log).save(tmp_path / "n")
    assert (tmp_path / "m" / "learned.npz").read_bytes() == (tmp_path / "n" / "learned.npz").read_bytes()


def test_what_does_not_merge_is_refused() -> None:
    log = log_of([list("ab"), list("ba")])
    one, two = tallied(log, "plain", Grid(0, 5)), tallied(log, "plain", Grid(0, 6))
    with pytest.raises(ModelError, match="do not merge"):
        one.merge(two)
    with pytest.raises(ModelError, match="holds its own"):
        one.recode(Vocabulary.of(["a"]))


def test_the_newest_periods_are_held_out() -> None:
    period = np.repeat(np.arange(10), 100)
    assert first_held(period, 0.15) == 8  # 200 of 1,000 steps
    assert first_held(period[:250], 0.15) is None  # too few are left
    assert first_held(np.zeros(0, dtype=np.int64), 0.15) is None


def test_mixtures_by_hand() -> None:
    # the first member is always right, the second never
    p = np.array([[0.9] * 50, [0.1] * 50])
    assert linear_weights(p, np.array([0.5, 0.5]), 0.0)[0] > 0.99
    assert linear_weights(p, np.array([0.5, 0.5]), 1e9)[0] == pytest.approx(0.5, abs=1e-6)
    rows = np.array([[[0.0, 0.8, 0.2]], [[0.0, 0.8, 0.2]]])
    np.testing.assert_allclose(geometric(rows, np.array([0.5, 0.5])), rows[0])
    sharper = geometric(rows, np.array([1.0, 1.0]))[0]
    assert sharper[1] == pytest.approx(0.64 / 0.68) and sharper.sum() == pytest.approx(1.0)


def test_exponents_find_independent_evidence() -> None:
    # two noisy witnesses of one fair coin: their odds multiply, so both exponents are 1
    random = np.random.default_rng(0)
    truth = random.integers(0, 2, 4_000)
    rows = []
    for _ in range(2):
        seen = np.where(random.random(4_000) < 0.8, truth, 1 - truth)
        rows.append(np.where(seen[:, None] == np.arange(2), 0.8, 0.2))
    weights = geometric_weights(np.array(rows), truth, 1.0)
    np.testing.assert_allclose(weights, [1.0, 1.0], atol=0.1)
    whole = np.concatenate([np.zeros((2, 4_000, 1)), np.array(rows)], axis=2)
    code = np.zeros(4_000, dtype=np.int64)
    found = Mixture.fit(whole, truth + 1, np.array([[0.5, 0.5]]), code, 1.0)
    assert found.linear < 0.5
    mixed = found.of(whole, code)
    np.testing.assert_allclose(mixed.sum(axis=1), 1.0)


def test_the_mean_that_served_later_steps_is_taken_more() -> None:
    random = np.random.default_rng(0)
    n = 4_000
    truth, code, cases = random.integers(0, 2, n), np.zeros(n, dtype=np.int64), np.arange(n)

    def told(right: np.ndarray, sure: float) -> np.ndarray:
        """A witness who is right where `right` says, and says so as `sure` as that."""
        seen = np.where(right, truth, 1 - truth)
        return np.pad(np.where(seen[:, None] == np.arange(2), sure, 1 - sure), ((0, 0), (1, 0)))

    def share(*rows: np.ndarray) -> float:
        return linear_share(
            np.array(rows), truth + 1, code, cases, lambda p, c: by_bin(p, c, 1, 100.0, 100.0), 1.0
        )

    one, two = (told(random.random(n) < 0.8, 0.8) for _ in range(2))
    # independent witnesses: their odds multiply; 2,000 steps were compared, so .5 * 1000 / 3000 stays linear
    assert share(one, two) == pytest.approx(0.5 / 3)
    assert share(one, one) == 0.5  # one opinion twice: both means are the same
    # the second knows everything in the older half and nothing in the newer: odds that multiply mislead
    stale = told(np.where(np.arange(n) < n // 2, True, random.random(n) < 0.5), 0.98)
    assert share(one, stale) == pytest.approx(1 - 0.5 / 3)
