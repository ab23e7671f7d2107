"""Counting models: equal to their slow twins, whole probabilities, odd logs."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from conftest import traces as any_traces
from hypothesis import given
from hypothesis import strategies as st
from oracles_models import SlowNGram, slow_gaps

from behavio.errors import JobError, ModelError, NotFittedError
from behavio.models import ModelSettings, Prefixes
from behavio.models.base import SequenceModel, later_slice
from behavio.models.baselines import FirstOrder, MostPopular, RepeatLast
from behavio.models.gaps import GapModel
from behavio.models.ngram import NGram
from behavio.sequences import SequenceSet

COUNTING = [MostPopular, RepeatLast, FirstOrder, NGram]


def as_log(traces: list[list[str]]) -> SequenceSet:
    return SequenceSet.from_traces(traces)


def everywhere(log: SequenceSet) -> Prefixes:
    """Every non-empty prefix of every case, whole cases too."""
    return Prefixes(log.case_of_event, np.arange(log.n_events) + 1)


@given(any_traces, any_traces, st.integers(0, 4))
def test_ngram_equals_the_dictionary(train: list[list[str]], asked: list[list[str]], order: int) -> None:
    asked = [[*asked[0], "z"], *asked]  # z is never seen in training
    model = NGram(order, fixed=True).fit(as_log(train))
    slow = SlowNGram(order).fit(train)
    log = as_log(asked)
    rows = model.probabilities(log, everywhere(log))
    expected = np.stack([slow.row(trace[: i + 1]) for trace in asked for i in range(len(trace))])
    np.testing.assert_allclose(rows, expected, rtol=0, atol=1e-12)


@given(any_traces, st.integers(1, 5), st.sampled_from("abcd"))
def test_ngram_evidence_equals_the_dictionary(train: list[list[str]], at_least: int, activity: str) -> None:
    log = as_log(train)
    model = NGram(3, fixed=True).fit(log)
    slow = SlowNGram(3).fit(train)
    prefixes = Prefixes.last(log)
    wanted = np.full(len(prefixes), model.vocabulary_.id(activity))
    found = model.evidence(log, prefixes, wanted, at_least)
    expected = [slow.evidence(t, model.vocabulary_.names[wanted[0]], at_least) for t in train]
    assert list(zip(found.order, found.seen, found.followed, strict=True)) == expected


def test_ngram_by_hand() -> None:
    # a→b twice, a→c once: order 0 sees b b c, so n = 3, T = 2; 4 columns share the rest
    model = NGram(1, fixed=True).fit(as_log([["a", "b"], ["a", "b"], ["a", "c"]]))
    zero = {"b": (2 + 2 / 4) / 5, "c": (1 + 2 / 4) / 5, "a": 0.1, "(unknown)": 0.1}
    log = as_log([["a"]])
    row = dict(zip(model.vocabulary_.names, model.probabilities(log, Prefixes.last(log))[0], strict=True))
    assert row[""] == 0.0
    assert row["b"] == pytest.approx((2 + 2 * zero["b"]) / 5)
    assert row["(unknown)"] == pytest.approx(2 * zero["(unknown)"] / 5)


@pytest.mark.parametrize("orders", [3, 8])
def test_ngram_packs_many_activities_over_several_words(orders: int) -> None:
    random = np.random.default_rng(3)
    traces = [[f"x{n:05d}" for n in random.integers(0, 40_000, 12)] for _ in range(40)]
    traces += [[*t[:7], "x00001"] for t in traces[:20]]
    model = NGram(orders, fixed=True).fit(as_log(traces))
    slow = SlowNGram(orders).fit(traces)
    log = as_log(traces[-3:])
    expected = np.stack([slow.row(t) for t in traces[-3:]])
    np.testing.assert_allclose(model.probabilities(log, Prefixes.last(log)), expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("kind", COUNTING)
@given(any_traces, any_traces)
def test_rows_are_probabilities(
    kind: type[SequenceModel], train: list[list[str]], asked: list[list[str]]
) -> None:
    model = kind().fit(as_log(train))
    log = as_log([[*asked[0], "z"], *asked])
    rows = model.probabilities(log, everywhere(log))
    assert rows.dtype == np.float64 and rows.shape == (log.n_events, len(model.vocabulary_))
    assert np.isfinite(rows).all() and (rows[:, 0] == 0).all() and (rows[:, 1:] > 0).all()
    np.testing.assert_allclose(rows.sum(axis=1), 1.0, atol=1e-12)


@pytest.mark.parametrize("kind", COUNTING)
@pytest.mark.parametrize("traces", [[["a"]], [["a"], ["b"]], [["a"] * 30], [["🦊"], ["שלום", "🦊"]]])
def test_odd_logs_are_learnt(kind: type[SequenceModel], traces: list[list[str]], tmp_path: Path) -> None:
    log = as_log(traces)
    model = kind().fit(log)
    rows = model.probabilities(log, Prefixes.last(log))
    np.testing.assert_allclose(rows.sum(axis=1), 1.0, atol=1e-12)
    model.save(tmp_path)
    again = SequenceModel.load(tmp_path)
    assert type(again) is kind
    np.testing.assert_array_equal(again.probabilities(log, Prefixes.last(log)), rows)


@pytest.mark.parametrize("kind", COUNTING)
def test_same_bytes_twice(kind: type[SequenceModel], tmp_path: Path) -> None:
    log = as_log([list("abcabdab"), list("bcdaacb"), list("dcba")])
    for name in ("one", "two"):
        kind().fit(log).save(tmp_path / name)
    assert (tmp_path / "one/learned.npz").read_bytes() == (tmp_path / "two/learned.npz").read_bytes()
    assert (tmp_path / "one/model.json").read_bytes() == (tmp_path / "two/model.json").read_bytes()


@pytest.mark.parametrize("kind", COUNTING)
def test_many_activities_are_asked_in_batches(kind: type[SequenceModel]) -> None:
    names = [f"a{i:05d}" for i in range(50_000)]
    log = as_log([names[i : i + 5] for i in range(0, 50_000, 5)])
    model = kind().fit(log)
    p = model.of_truth(log, Prefixes.of_cases(log, 0)[:300])
    assert np.isfinite(p).all() and (p > 0).all()
    sizes = [len(some) * 50_002 for _, some in Prefixes.last(log).batches(50_002)]
    assert max(sizes) <= 4_000_000


def test_ngram_beats_first_order_where_order_matters() -> None:
    # what comes third depends on the first only: abX → after b, c when a began, d when x began
    random = np.random.default_rng(1)
    traces = [["a", "b", "c"] if random.random() < 0.5 else ["x", "b", "d"] for _ in range(400)]
    times = [[86_400 * (i + j) for j in range(3)] for i in range(400)]
    split = later_slice(SequenceSet.from_traces(traces, times), 0.3)
    assert split is not None
    p = {}
    for model in (FirstOrder(), NGram(), MostPopular(), RepeatLast()):
        model.fit(split.train)
        p[type(model).__name__] = model.of_truth(model.coded(split.sequences), split.prefixes).mean()
    assert p["NGram"] > 0.95 > p["FirstOrder"] > p["MostPopular"]


def test_not_fitted_and_empty_prefixes_are_refused() -> None:
    log = as_log([["a", "b"]])
    with pytest.raises(NotFittedError):
        NGram().probabilities(log, Prefixes.last(log))
    with pytest.raises(ModelError):
        NGram().fit(log).probabilities(log, Prefixes(np.array([0]), np.array([0])))


def test_prefixes_by_hand() -> None:
    log = SequenceSet.from_traces([["a", "b", "c"], ["d"], ["e", "f"]], [[0, 10, 20], [5], [10, 30]])
    before = Prefixes.before(log, 10_000_000)
    assert before.cases.tolist() == [0, 0, 2] and before.ends.tolist() == [1, 2, 5]
    assert Prefixes.last(log).ends.tolist() == [3, 4, 6]
    assert Prefixes.of_cases(log, 2).ends.tolist() == [5]


def test_ties_rank_the_lower_id_first() -> None:
    from behavio.kernels.scoring import score_rows, top_columns

    rows = np.array([[0.0, 0.1, 0.3, 0.3, 0.3], [0.0, 0.7, 0.1, 0.1, 0.1]])
    assert top_columns(rows, 2).tolist() == [[2, 3], [2, 3]]
    assert top_columns(rows, 5)[0].tolist() == [2, 3, 4, -1, -1]
    _, rank, best, _, _ = score_rows(rows, np.array([3, 2]))
    assert rank.tolist() == [1, 1] and best.tolist() == [2, 1]


gap_traces = st.lists(
    st.lists(st.tuples(st.sampled_from("ab"), st.integers(0, 5)), min_size=1, max_size=6),
    min_size=1,
    max_size=8,
)


@given(gap_traces, st.sampled_from("ab"), st.sampled_from("ab"), st.integers(-1, 6))
def test_gap_quantiles_equal_the_lists(
    drawn: list[list[tuple[str, int]]], last: str, following: str, elapsed: int
) -> None:
    logs = [([a for a, _ in t], np.cumsum([g for _, g in t]).tolist()) for t in drawn]
    log = SequenceSet.from_traces([t for t, _ in logs], [s for _, s in logs])
    model = GapModel(at_least=2).fit(log)
    ids = [np.array([model.vocabulary_.id(n)]) for n in (last, following)]
    wait = np.array([elapsed * 1_000_000 if elapsed >= 0 else -1])
    found = model.quantiles(ids[0], ids[1], wait)[0]
    gaps = slow_gaps(logs, last, following, elapsed, 2)
    if len(gaps) < (2 if np.isfinite(found).all() else 5):
        assert np.isnan(found).all()
        return
    expected = [gaps[max(int(np.ceil(q * len(gaps))) - 1, 0)] - max(elapsed, 0) for q in (0.1, 0.5, 0.9)]
    assert found.tolist() == [e * 1e6 for e in expected]


def test_gaps_know_segments_and_fall_back() -> None:
    # quick cases wait 1 day, slow ones 9; an unknown segment gets both together
    quick, slow = [[0, 86_400]] * 30, [[0, 9 * 86_400]] * 30
    log = SequenceSet.from_traces([["a", "b"]] * 60, quick + slow)
    model = GapModel().fit(log, np.repeat([0, 1], 30))
    a, b = (np.full(3, model.vocabulary_.id(n)) for n in "ab")
    days = model.quantiles(a, b, np.array([-1, -1, -1]), groups=np.array([0, 1, -1])) / 86_400e6
    assert days.tolist() == [[1, 1, 1], [9, 9, 9], [1, 1, 9]]
    waited = model.quantiles(a[:1], b[:1], np.array([2 * 86_400_000_000]), groups=np.array([0]))
    assert (waited / 86_400e6).tolist() == [[7, 7, 7]]  # after two days only the slow ones count
    assert np.isnan(model.quantiles(a[:1], b[:1], np.array([10 * 86_400_000_000]))).all()


def test_gaps_survive_saving(tmp_path: Path) -> None:
    log = as_log([["a", "b", "a"]] * 30)
    model = GapModel().fit(log)
    model.save(tmp_path)
    again = GapModel.load(tmp_path)
    ids = np.array([2, 3]), np.array([3, 2]), np.array([0, 0])
    np.testing.assert_array_equal(again.quantiles(*ids), model.quantiles(*ids))
    assert again.constant() == 86_400e6


@pytest.mark.parametrize(
    "bad",
    [{"kind": "lstm"}, {"cut": 1.5}, {"max_order": 0}, {"as_of": "yesterday"}, {"top": 0}],
)
def test_bad_settings_are_named(bad: dict[str, object]) -> None:
    with pytest.raises(JobError) as caught:
        ModelSettings(**bad)  # type: ignore[arg-type]
    assert caught.value.hint
