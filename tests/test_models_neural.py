"""The GRU, the pool and activity vectors: tiny logs, same bytes, odd input."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from behavio.kernels.fading import to_halves
from behavio.models import Activity2Vec, ModelSettings, Pool, Prefixes, write_models, write_next
from behavio.models.base import SequenceModel, later_slice
from behavio.models.inputs import numbers
from behavio.models.neural import GRU
from behavio.models.windows import OVERLAP, WIDTH, Windows, asked_windows, batches, cells, last_same
from behavio.sequences import Field, SequenceSet, Vocabulary

DAY = 86_400
SMALL = {"hidden": 16, "epochs": 6, "budget": 30_000}


def waves(n: int = 160, length: int = 20) -> SequenceSet:
    """Cases that start one after another and repeat a b c, or a c b, for good."""
    traces = [list("abc" if i % 2 else "acb") * (length // 3) for i in range(n)]
    times = [[(i * 3 + j) * DAY for j in range(len(t))] for i, t in enumerate(traces)]
    return SequenceSet.from_traces(traces, times)


@pytest.fixture(scope="module")
def gru() -> GRU:
    return GRU(**SMALL).fit(waves())


def test_gru_learns_what_goes_round(gru: GRU) -> None:
    log = waves()
    late = Prefixes.of_cases(log, 120)
    late = late[late.ends - late.starts(log) > 4]
    assert gru.of_truth(gru.coded(log), late).mean() > 0.8


def test_rows_are_probabilities_for_anything(gru: GRU) -> None:
    log = SequenceSet.from_traces([["z"], ["a", "z", "b"], ["🦊"] * 3, list("abc") * 100], None)
    prefixes = Prefixes(log.case_of_event, np.arange(log.n_events) + 1)
    rows = gru.probabilities(log, prefixes)
    assert rows.dtype == np.float64 and np.isfinite(rows).all()
    assert (rows[:, 0] == 0).all() and (rows[:, 1:] > 0).all()
    np.testing.assert_allclose(rows.sum(axis=1), 1.0, atol=1e-12)


def test_a_prefix_is_answered_alike_in_any_company(gru: GRU) -> None:
    log = SequenceSet.from_traces([list("abc") * 100, list("acb"), list("ab") * 40])
    every = Prefixes.of_cases(log, 0)
    rows = gru.probabilities(log, every)
    for k in (0, 70, 150, len(every) - 1):
        alone = gru.probabilities(log, every[k : k + 1])[0]
        np.testing.assert_allclose(alone, rows[k], atol=1e-6)


def test_a_prefix_asked_for_several_activities_is_answered_as_if_asked_alone(gru: GRU) -> None:
    log = SequenceSet.from_traces([list("abcab"), list("bc"), list("cabca")])
    coded = gru.coded(log)
    asked = Prefixes(np.array([2, 0, 2, 1, 2, 0]), np.array([12, 5, 12, 7, 9, 5]))
    then = np.array([0, 1, 2, 0, 1, 1])
    together = gru.survival(coded, asked, then)
    alone = np.stack([gru.survival(coded, asked[[i]], then[[i]])[0] for i in range(6)])
    np.testing.assert_allclose(together, alone, atol=1e-6)
    assert not np.allclose(together[0], together[2])  # another activity, another wait
    np.testing.assert_array_equal(together[1], together[5])


def test_probability_of_the_truth_is_that_of_its_column(gru: GRU) -> None:
    log = gru.coded(SequenceSet.from_traces([list("abzacbb"), list("zz")]))
    asked = Prefixes.of_cases(log, 0)
    rows = gru.rows(log, asked)
    expected = rows[np.arange(len(asked)), log.tokens[asked.ends]]
    np.testing.assert_allclose(gru.of_truth(log, asked), expected, rtol=1e-12)


def test_what_comes_after_a_prefix_changes_nothing(gru: GRU) -> None:
    whole = SequenceSet.from_traces([list("abcabcab")])
    start = SequenceSet.from_traces([list("abc")])
    there = gru.probabilities(whole, Prefixes(np.array([0]), np.array([3])))
    np.testing.assert_allclose(gru.probabilities(start, Prefixes.last(start)), there, atol=1e-6)


def test_saved_and_read_again(gru: GRU, tmp_path: Path) -> None:
    gru.save(tmp_path)
    again = SequenceModel.load(tmp_path)
    log = waves(5)
    rows = gru.probabilities(log, Prefixes.last(log))
    np.testing.assert_array_equal(again.probabilities(log, Prefixes.last(log)), rows)


def test_same_seed_same_bytes_other_seed_others(gru: GRU) -> None:
    import torch

    torch.manual_seed(123)  # what others do to torch may not matter, and ours may not reach them
    before = torch.rand(3)
    torch.manual_seed(123)
    again = GRU(**SMALL).fit(waves())
    assert again.weights_.tobytes() == gru.weights_.tobytes()
    assert torch.rand(3).tolist() == before.tolist()
    assert GRU(**SMALL, seed=8).fit(waves()).weights_.tobytes() != gru.weights_.tobytes()


def test_carrying_on_keeps_what_was_learnt_by_name() -> None:
    early = GRU(**SMALL).fit(waves())
    log = waves()
    asked = Prefixes.of_cases(log, 150)
    before = early.of_truth(early.coded(log), asked).mean()
    later = SequenceSet.from_traces([*map(list, ["0a", "abcabc", "acbacb"])])  # "0" moves every id
    early.carry_on(later, Prefixes.of_cases(later, 0))
    assert early.vocabulary_.activities == ("0", "a", "b", "c")
    assert early.of_truth(early.coded(log), asked).mean() > before - 0.15


def test_fields_are_read_by_name() -> None:
    log = waves(60)
    random = np.random.default_rng(0)
    shown = Vocabulary.of(["efficacy", "safety"])
    coded = Field(random.integers(0, 4, log.n_events).astype(np.int32), shown)
    model = GRU(**SMALL).fit(replace(log, fields={"message": coded}))
    assert model.fields_.tolist() == ["message"] and model.field_values_.tolist() == ["efficacy", "safety"]
    swapped = Vocabulary(("", "(unknown)", "safety", "efficacy"))
    other = Field(np.array([0, 1, 3, 2], dtype=np.int32)[coded.codes], swapped)
    ask = Prefixes.last(log)
    rows = model.probabilities(replace(log, fields={"message": coded}), ask)
    np.testing.assert_array_equal(model.probabilities(replace(log, fields={"message": other}), ask), rows)
    assert np.isfinite(model.probabilities(log, ask)).all()  # a log without the field


def test_rare_activities_share_a_class(monkeypatch: pytest.MonkeyPatch) -> None:
    from behavio.models import learner

    monkeypatch.setattr(learner, "CLASSES", 2)
    log = SequenceSet.from_traces([["a", "b", "a", "b", "c", "d", "d"]] * 30)
    model = GRU(**SMALL).fit(log)
    rows = model.probabilities(log, Prefixes.last(log))
    np.testing.assert_allclose(rows.sum(axis=1), 1.0, atol=1e-12)
    assert model.class_of_.tolist() == [-1, -1, 2, 0, 2, 1]
    # a came 30 times, c 30 times: the shared class is split evenly
    np.testing.assert_allclose(rows[:, 2], rows[:, 4])


def test_many_activities_fit_in_memory() -> None:
    names = [f"a{i:05d}" for i in range(50_000)]
    log = SequenceSet.from_traces([names[i : i + 5] for i in range(0, 50_000, 5)])
    model = GRU(hidden=4, epochs=1, budget=3_000).fit(log)
    p = model.of_truth(model.coded(log), Prefixes.of_cases(log, 0)[:100])
    assert (p > 0).all()


@pytest.mark.parametrize("traces", [[["a"]], [["a"], ["b"]], [["a", "a"]], [["a"] * 30], [["a", "b"]] * 3])
def test_tiny_logs(traces: list[list[str]], tmp_path: Path) -> None:
    log = SequenceSet.from_traces(traces)
    pool = Pool(hidden=4, epochs=2, budget=500).fit(log)
    rows = pool.probabilities(log, Prefixes.last(log))
    np.testing.assert_allclose(rows.sum(axis=1), 1.0, atol=1e-12)
    np.testing.assert_allclose(pool.weights_.sum(axis=1), 1.0)
    pool.save(tmp_path)
    again = SequenceModel.load(tmp_path)
    np.testing.assert_array_equal(again.probabilities(log, Prefixes.last(log)), rows)
    vectors = Activity2Vec(dimensions=4).fit(log)
    assert np.isfinite(vectors.embed(log)).all()


def test_windows_cover_every_prefix_once() -> None:
    log = SequenceSet.from_traces([["a"] * n for n in (1, 2, WIDTH, WIDTH + 1, 5 * WIDTH)])
    every = Prefixes(log.case_of_event, np.arange(log.n_events) + 1)
    windows, index, inside = asked_windows(log, every)
    np.testing.assert_array_equal(windows.first[index] + inside, every.ends - 1)
    assert windows.length.max() == WIDTH
    later = every.ends - every.starts(log) > WIDTH
    assert inside[later].min() == OVERLAP
    np.testing.assert_array_equal(inside[~later], (every.ends - 1 - every.starts(log))[~later])


def test_batches_hold_every_window_once_without_much_padding() -> None:
    random = np.random.default_rng(0)
    windows = Windows(np.arange(500) * 100, random.integers(1, 65, 500))
    for shuffled in (None, np.random.default_rng(1)):
        parts = batches(windows, 512, shuffled)
        assert sorted(np.concatenate(parts).tolist()) == list(range(500))
        assert all(len(p) == 1 or windows.length[p].max() * len(p) <= 512 for p in parts)
        cell = sum(windows.length[p].max() * len(p) for p in parts)
        assert cell < 1.2 * windows.length.sum()
    event, real = cells(windows, np.array([3, 4]))
    assert real.sum() == windows.length[[3, 4]].sum() and event[0, 0] == 300


def test_numbers_by_hand() -> None:
    log = SequenceSet.from_traces([["a", "b", "a"], ["b"]], [[0, 3600, 7200], [5]])
    assert last_same(log).tolist() == [-1, -1, 0, -1]
    table = numbers(log)
    hours = np.expm1(table[:, 3:6] * 5)
    np.testing.assert_allclose(hours[:, 0], [0, 1, 1, 0], atol=1e-5)  # since the event before
    np.testing.assert_allclose(hours[:, 1], [0, 1, 2, 0], atol=1e-5)  # since the case began
    np.testing.assert_allclose(hours[2, 2], 2, atol=1e-5)  # since the same activity
    assert table[:, 1].tolist() == [1, 1, 0, 1]
    assert (numbers(replace(log, timed=False))[:, 3:] == 0).all()


def test_pool_is_judged_and_written_the_same_twice(tmp_path: Path) -> None:
    log = waves(200, 12)
    settings = ModelSettings(kind="pool", epochs=3, hidden=8, budget=10_000)
    said: list[float] = []
    for name in ("one", "two"):
        (tmp_path / name / "next").mkdir(parents=True)
        said.clear()
        facts = write_models(log, settings, 7, tmp_path / name, lambda what, done: said.append(done))
        write_next(log, tmp_path / name, settings, tmp_path / name / "next")
        assert said == sorted(said) and said[-1] == 1.0
        assert set(facts["measured"]["seconds"]) >= {"most_popular", "pool"}
    files = sorted(p.relative_to(tmp_path / "one") for p in (tmp_path / "one").rglob("*") if p.is_file())
    for file in files:
        assert (tmp_path / "one" / file).read_bytes() == (tmp_path / "two" / file).read_bytes(), file
    assert pl.read_parquet(tmp_path / "one/next/next_steps.parquet").height > 0
    vectors = pl.read_parquet(tmp_path / "one/embeddings.parquet")
    assert vectors.schema["vector"] == pl.List(pl.Float32) and vectors.height == 200


def test_a_net_that_does_not_beat_counting_is_not_the_default(tmp_path: Path) -> None:
    from behavio.models import evaluate

    random = np.random.default_rng(0)
    traces = [random.choice(list("abcd"), 8).tolist() for _ in range(150)]
    times = [[(i + j) * DAY for j in range(8)] for i in range(150)]
    settings = ModelSettings(kind="gru", epochs=1, hidden=4, budget=500)
    metrics = evaluate(SequenceSet.from_traces(traces, times), settings)
    assert metrics["gain_over_ngram"]["gru"]["low"] <= 0
    assert metrics["default"] == "ngram"
    assert any("does not beat" in note for note in metrics["notes"])


def test_activity_vectors_know_who_goes_together(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    pairs = [("tea", "milk", "honey"), ("call", "visit", "email")]
    traces = [random.choice(pairs[i % 2], 20).tolist() for i in range(200)]
    log = SequenceSet.from_traces(traces)
    model = Activity2Vec(dimensions=8).fit(log)
    unit = model.vectors_ / np.maximum(np.linalg.norm(model.vectors_, axis=1, keepdims=True), 1e-9)
    ids = {n: model.vocabulary_.id(n) for n in ("tea", "milk", "call")}
    assert unit[ids["tea"]] @ unit[ids["milk"]] > unit[ids["tea"]] @ unit[ids["call"]]
    model.save(tmp_path / "a")
    Activity2Vec(dimensions=8).fit(log).save(tmp_path / "b")
    assert (tmp_path / "a/learned.npz").read_bytes() == (tmp_path / "b/learned.npz").read_bytes()
    weighted = model.vectors_ * model.weight_[:, None]
    by_hand = np.stack([weighted[t].sum(0) / model.weight_[t].sum() for t in log])
    np.testing.assert_allclose(model.embed(log), by_hand, rtol=1e-5, atol=1e-6)
    assert model.activity_table()["activity"].to_list() == list(log.vocabulary.activities)
    unknown = model.embed(SequenceSet.from_traces([["never"]]))
    assert (unknown == 0).all()


def test_later_slice_of_a_pool_is_inside_training() -> None:
    log = waves(50)
    split = later_slice(log, 0.3)
    assert split is not None and split.cut is not None
    inner = later_slice(split.train, 0.15)
    assert inner is not None and inner.cut is not None and inner.cut < split.cut


@given(st.lists(st.floats(0.0, 60_000.0, width=32), min_size=1, max_size=40))
def test_half_floats_are_those_of_numpy(numbers: list[float]) -> None:
    row = np.array([*numbers, 0.0, 2.0**-25, 2.0**-24 * 1.5, 2.0**-14, 1.0 + 2.0**-11], dtype=np.float32)
    halves = np.empty(len(row), dtype=np.uint16)
    to_halves(row, halves)
    assert (halves == row.astype(np.float16).view(np.uint16)).all()


def test_held_prefixes_are_answered_as_without_holding(gru: GRU) -> None:
    log = waves(20)
    coded, every = gru.coded(log), Prefixes.last(log)
    then = np.zeros(len(every), dtype=np.int64)
    alone = gru.rows(coded, every), gru.survival(coded, every, then)
    with gru.holding(coded, every):
        held = gru.rows(coded, every), gru.survival(coded, every, then)
        some = gru.rows(coded, every[np.array([1, 0])])
    assert all(np.allclose(a, h, atol=1e-6) for a, h in zip(alone, held, strict=True))
    assert np.allclose(some, alone[0][[1, 0]], atol=1e-6)
