"""What a case did before it does again: by hand, a slow twin, what it finds, when the pool uses it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from behavio.kernels import habit as kernel
from behavio.models.base import Prefixes, SequenceModel
from behavio.models.habit import FADES, MOST, Habit
from behavio.models.mixing import clearly, earns
from behavio.models.pool import Pool, shares_of
from behavio.sequences import SequenceSet

NO_FADES, ONE_FADE = np.zeros(0), np.array([0.5])


def keepers(n_cases: int, n_own: int, n: int, seed: int) -> SequenceSet:
    """Each case draws from two activities of its own, of `n_own` times as many."""
    random = np.random.default_rng(seed)
    own = random.integers(0, n_own, (n_cases, 2))
    traces = [[f"p{own[c, k]}" for k in random.integers(0, 2, n)] for c in range(n_cases)]
    times = [np.sort(random.integers(0, 10**7, n)).tolist() for _ in range(n_cases)]
    return SequenceSet.from_traces(traces, times)


def test_a_past_is_told_by_hand() -> None:
    tokens, seen = np.array([2, 3, 3], dtype=np.int32), np.full(4, -1, dtype=np.int64)
    # run of 2 (second step), 3 events (second step of lengths), 2 kinds (second step)
    assert kernel.habit_bin(tokens, 0, 3, seen, 0) == (1 * kernel.LENGTHS + 1) * kernel.KINDS + 1
    assert kernel.habit_bin(tokens, 0, 1, seen, 1) == 0  # one event: the first step of each


def test_shares_by_hand() -> None:
    tokens = np.array([2, 3, 2, 2], dtype=np.int32)
    weights = np.tile([0.4, 0.3, 0.2, 0.1], (kernel.BINS, 1))
    rows = np.empty((1, 4))
    usual = np.array([[0.0, 0.0, 0.5, 0.5]])
    asked = tokens, np.array([0]), np.array([2]), 9
    kernel.fill_habits(rows, *asked, ONE_FADE, usual, weights)
    # after 2, 3: last again .4 on 3; fading by half 1/3 and 2/3 of .3; all .2 halved; usual .1 halved
    assert rows[0].tolist() == pytest.approx([0, 0, 0.1 + 0.1 + 0.05, 0.4 + 0.2 + 0.1 + 0.05])
    bins, parts = np.zeros(1, dtype=np.int64), np.zeros((1, 3))
    kernel.habit_of_truth(*asked, ONE_FADE, bins, parts, 4)
    assert parts[0].tolist() == pytest.approx([0, 1 / 3, 1 / 2])  # what came was 2


@given(
    traces=st.lists(st.lists(st.sampled_from("abc"), min_size=2, max_size=9), min_size=1, max_size=5),
    most=st.integers(1, 10),
)
@settings(max_examples=40, deadline=None)
def test_rows_match_a_slow_count(traces: list[list[str]], most: int) -> None:
    log = SequenceSet.from_traces(traces)
    steps = Prefixes.of_cases(log, 0)
    size, random = len(log.vocabulary), np.random.default_rng(0)
    weights = random.dirichlet(np.ones(3 + len(FADES)), kernel.BINS)
    usual = random.dirichlet(np.ones(size), 1)
    rows = np.empty((len(steps), size))
    read = log.tokens.astype(np.int32), steps.starts(log), steps.ends, most, np.array(FADES)
    kernel.fill_habits(rows, *read, usual, weights)
    bins, parts = np.zeros(len(steps), dtype=np.int64), np.zeros((len(steps), 2 + len(FADES)))
    kernel.habit_of_truth(*read, bins, parts, size)
    for i, end in enumerate(steps.ends):
        past = log.tokens[steps.starts(log)[i] : end][-most:].tolist()
        for a in range(size):
            told = [float(past[-1] == a)]
            for f in FADES:
                each = [f ** (len(past) - 1 - k) for k in range(len(past))]
                told.append(sum(w for w, t in zip(each, past, strict=True) if t == a) / sum(each))
            told.append(past.count(a) / len(past))
            assert rows[i, a] == pytest.approx(np.dot(weights[bins[i]], [*told, usual[0, a]]))
            if a == log.tokens[end]:
                assert parts[i].tolist() == pytest.approx(told)


def test_cases_that_keep_to_their_own_are_found() -> None:
    log = keepers(300, 200, 12, 1)
    model = Habit().fit(log)
    steps = Prefixes.of_cases(model.coded(log), 0)
    rows = model.probabilities(log, steps)
    np.testing.assert_allclose(rows.sum(axis=1), 1.0)
    assert (rows[:, 1:] > 0).all() and (rows[:, 0] == 0).all()
    late = steps.ends - steps.starts(log) >= 8
    p = rows[np.arange(len(steps)), model.coded(log).tokens[steps.ends]]
    assert -np.log(p[late]).mean() < np.log(2) + 0.1  # a coin between the two of its own, nearly known


def test_it_is_saved_and_answers_odd_logs(tmp_path: Path) -> None:
    model = Habit().fit(keepers(40, 20, 6, 2))
    model.save(tmp_path / "habit")
    again = SequenceModel.load(tmp_path / "habit")
    odd = SequenceSet.from_traces([["never seen"], ["p1"] * (MOST + 9), ["p1", "never seen"]])
    rows = model.probabilities(odd, Prefixes.last(odd))
    np.testing.assert_array_equal(again.probabilities(odd, Prefixes.last(odd)), rows)
    assert np.isfinite(rows).all() and np.allclose(rows.sum(axis=1), 1.0)
    alone = Habit().fit(SequenceSet.from_traces([["a"]]))  # no step to learn from
    asked = SequenceSet.from_traces([["a", "b"]])
    assert np.allclose(alone.probabilities(asked, Prefixes.last(asked)).sum(axis=1), 1.0)


def test_a_guest_must_help_clearly() -> None:
    random = np.random.default_rng(0)
    n, code = 800, np.zeros(800, dtype=np.int64)
    cases = np.arange(n)
    host = random.uniform(0.2, 0.8, n)
    assert earns(np.stack([host, host + 0.15]), code, cases, shares_of)
    assert not earns(np.stack([host, host]), code, cases, shares_of)
    # right in the older half only
    assert not earns(np.stack([host, np.where(cases < n // 2, 0.95, 0.01)]), code, cases, shares_of)
    # one case is no evidence, however many steps it has
    assert clearly(random.normal(1.0, 0.1, n), np.zeros(n)) == 0
    assert clearly(random.normal(1.0, 0.1, n), cases) == 1
    assert clearly(np.repeat([1.0, -1.0], n // 2), cases) == 0 and clearly(host[:0], cases[:0]) == 0
    assert clearly(-host, cases) == -1


def test_the_pool_takes_habits_only_where_they_help() -> None:
    members = ("counting", "neighbours", "habit")
    assert "habit" in Pool(members=members).fit(keepers(300, 200, 12, 3)).used_.tolist()
    ring = SequenceSet.from_traces([list("abcd" * 4)] * 200, [[c + i for i in range(16)] for c in range(200)])
    pool = Pool(members=members).fit(ring)
    assert "habit" not in pool.used_.tolist() and pool.shares["habit"] == 0.0
