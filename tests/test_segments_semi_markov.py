"""The mixture of semi-Markov chains: by hand, against its slow twin, on planted groups."""

from __future__ import annotations

import math
from dataclasses import replace
from functools import reduce
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from conftest import traces
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from oracles_segments import planted, slow_log_likelihood
from sklearn.metrics import adjusted_rand_score

from behavio.engine import Count
from behavio.engine.local import LocalEngine
from behavio.errors import ModelError, NotFittedError
from behavio.kernels.semi_markov import evidence
from behavio.segments import ActivityKMeans, Segmenter, SemiMarkovMixture
from behavio.segments.chains import GRID, Beliefs, Habits, m_step
from behavio.segments.em import climb, e_step, first_chains, weighted
from behavio.segments.statistics import wait_count
from behavio.sequences import Field, SequenceSet, Vocabulary

DAY = 86_400


def fitted(sequences: SequenceSet, k: int, **settings: float) -> SemiMarkovMixture:
    return SemiMarkovMixture(k=k, **settings).fit(sequences)


def test_one_step_by_hand() -> None:
    # two cases a→b→a and two b→b→b; posteriors known (first two: group 0), no smoothing to speak of
    # group 0: starts with a always; a→b 1/1, b→a 1/1; group 1: starts with b; b→b 2/2
    log = SequenceSet.from_traces([["a", "b", "a"], ["a", "b", "a"], ["b", "b", "b"], ["b", "b", "b"]])
    model = SemiMarkovMixture(k=2)
    model.lay_out(log)
    cases, edges = model.gather(log), model.edges
    known = np.array([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0], [0.0, 1.0]])
    habits = Habits.of(cases.total(edges.n_features), edges)
    chains = first_chains(known, cases, habits, edges, smoothing=1e-9)
    a, b = 2, 3
    place = {(int(s), int(t)): i for i, (s, t) in enumerate(zip(edges.source, edges.target, strict=True))}
    assert chains.shares.tolist() == [0.5, 0.5]
    assert chains.start[0, a] == pytest.approx(1.0) and chains.start[1, b] == pytest.approx(1.0)
    assert chains.transitions[0, place[a, b]] == pytest.approx(1.0)
    assert chains.transitions[0, place[b, a]] == pytest.approx(1.0)
    assert chains.transitions[1, place[b, b]] == pytest.approx(1.0)
    # every gap is one day: one part of the scale holds them all, in both groups
    assert chains.waits[:, 0, 1] == pytest.approx(1.0, abs=1e-3)


def test_habits_of_the_whole_log_by_hand() -> None:
    # a is left three times: twice to b, once to c; gaps 1, 1 and 0 days, so one tie in three
    log = SequenceSet.from_traces([["a", "b"], ["a", "b"], ["a", "c"]], [[0, DAY], [0, DAY], [0, 0]])
    model = SemiMarkovMixture(k=1)
    model.lay_out(log)
    habits = Habits.of(model.gather(log).total(model.edges.n_features), model.edges)
    assert habits.transitions[0].tolist() == pytest.approx([2 / 3, 1 / 3])
    # 13 parts of the scale, half an event ahead in each: one gap at once, two of a day in the first twelfth
    assert habits.waits[0, 0, :3] == pytest.approx(np.array([1.5, 2.5, 0.5]) / (3 + 13 / 2))


def test_twelfths_by_hand() -> None:
    # twelve gaps of 2, 4, 8 … 4,096 s, one octave apart: each its own twelfth; a longer one is in the last
    log = SequenceSet.from_traces([["a", "a"]] * 12, [[0, 2**i] for i in range(1, 13)])
    model = SemiMarkovMixture(k=1)
    model.lay_out(log)
    edges = model.edges
    assert edges.cuts[0].tolist() == [16 * i for i in range(1, 12)]
    gaps = np.array([0.5, 2.0, 4.0, 2048.0, 4096.0, 1e9])
    assert edges.bin_of(np.zeros(6, np.int64), gaps).tolist() == [0, 1, 2, 11, 12, 12]
    # fewer different gaps than twelfths: the parts that are left stay empty
    few = SequenceSet.from_traces([["a", "a"]] * 4, [[0, 10]] * 3 + [[0, 1_000]])
    model.lay_out(few)
    assert model.edges.bin_of(np.zeros(2, np.int64), np.array([10.0, 1_000.0])).tolist() == [1, 2]


def test_twelfths_of_shards_are_those_of_the_whole() -> None:
    log, _ = planted("all", 60, 3)
    model = fitted(log, 1)
    count = wait_count(model.edges)
    joined = reduce(count.merge, [count.of(s) for s in log.shards(7)])
    assert (joined == count.of(log)).all() and joined.sum() > 1_000


@given(counts=arrays(np.float64, (3, 5), elements=st.floats(0, 40)))
def test_evidence_equals_its_slow_twin(counts: np.ndarray) -> None:
    prior = np.array([0.1, 0.2, 0.3, 0.15, 0.25])

    def slow(strength: float) -> float:
        return sum(
            math.lgamma(strength)
            - math.lgamma(strength + row[row > 1e-3].sum())
            + sum(
                math.lgamma(strength * p + n) - math.lgamma(strength * p)
                for p, n in zip(prior, row, strict=True)
                if n > 1e-3
            )
            for row in counts
        )

    best, grid = np.empty(1), np.array([1.0, 10.0, 100.0])
    expected = np.broadcast_to(prior, counts.shape).copy()
    reached = evidence(counts, expected, np.array([0, 5]), grid, best)
    assert reached == pytest.approx(max(slow(s) for s in grid), abs=1e-6)
    assert slow(best[0]) == pytest.approx(reached, abs=1e-6)


def test_rows_alike_in_all_groups_are_drawn_together() -> None:
    # after a all groups do the same, after b one goes on to c and the other to d
    log = SequenceSet.from_traces(
        [["a", "x", "a", "y", "b", "c"]] * 40 + [["a", "y", "a", "x", "b", "d"]] * 40
    )
    model = SemiMarkovMixture(k=2)
    model.lay_out(log)
    cases, edges = model.gather(log), model.edges
    habits = Habits.of(cases.total(edges.n_features), edges)
    beliefs = Beliefs.found(weighted(cases, np.eye(2)[np.repeat([0, 1], 40)], edges), habits, edges)
    names = [log.vocabulary.names[s] for s in edges.source]
    assert beliefs.edges[names.index("a")] == GRID[-1]
    assert beliefs.edges[names.index("b")] == GRID[0]


@pytest.mark.parametrize("seed", [1, 2])
def test_a_group_of_noise_does_not_raise_the_evidence(seed: int) -> None:
    log, _ = planted("all", 300, seed, groups=2)
    model = SemiMarkovMixture()
    model.lay_out(log)
    cases, edges = model.gather(log), model.edges
    habits = Habits.of(cases.total(edges.n_features), edges)

    def height(k: int) -> float:
        chains = model.alike(k=k, seed=seed).fit_gathered(cases).chains
        return climb(chains, cases, habits, edges, 0.0, 30)[1]

    assert height(2) > height(1) and height(2) > height(4)


@given(traces)
def test_log_likelihood_equals_its_slow_twin(some: list[list[str]]) -> None:
    rng = np.random.default_rng(len(some))
    times = [np.cumsum(rng.integers(0, 4, len(t)) * 3_600).tolist() for t in some]
    log = SequenceSet.from_traces(some, times)
    model = fitted(log, 1, effective_length=4)
    assert model.log_likelihood(log)[0] == pytest.approx(slow_log_likelihood(model, log, 0))


def test_posterior_is_bayes_rule_on_the_slow_likelihoods() -> None:
    log, _ = planted("all", 60, 3)
    model = fitted(log, 3)
    each = np.array([slow_log_likelihood(model, log, g) for g in range(3)]).T + np.log(model.shares_)
    posterior = np.exp(each - each.max(1, keepdims=True))
    posterior /= posterior.sum(1, keepdims=True)
    assert model.posterior(log) == pytest.approx(posterior, abs=1e-9)


def test_em_never_loses_likelihood_without_smoothing() -> None:
    log, _ = planted("all", 200, 1)
    model = SemiMarkovMixture(k=3)
    model.lay_out(log)
    cases, edges = model.gather(log), model.edges
    habits = Habits.of(cases.total(edges.n_features), edges)
    guess = np.random.default_rng(0).dirichlet(np.ones(3), cases.n_cases)
    chains, reached = first_chains(guess, cases, habits, edges, 1e-6), []
    for _ in range(15):
        found = e_step(chains, cases)
        reached.append(found.log_likelihood)
        chains = m_step(found.statistics, found.cases, habits, edges, Beliefs.even(1e-6, edges))
    assert (np.diff(reached) > -1e-6 * abs(reached[0])).all()
    assert climb(chains, cases, habits, edges, 1e-6, 50)[1] >= reached[-1]


def test_statistics_of_shards_add_up_to_the_whole() -> None:
    log, _ = planted("all", 90, 5)
    model = fitted(log, 2)
    whole = model.gather(log)
    count = model.statistics()
    joined = reduce(count.merge, [count.of(s) for s in log.shards(7)])
    assert (joined.indptr == whole.indptr).all() and (joined.indices == whole.indices).all()
    assert (joined.values == whole.values).all()
    step = model.expectation()
    parts = reduce(step.merge, [step.of(s) for s in log.shards(7)])
    once = step.of(log)
    assert parts.statistics == pytest.approx(once.statistics)
    assert parts.log_likelihood == pytest.approx(once.log_likelihood)
    assert LocalEngine().run(step, log).cases == pytest.approx(once.cases)


@pytest.mark.parametrize(("kind", "reach"), [("mix", 0.88), ("order", 0.9), ("time", 0.71), ("all", 0.8)])
def test_planted_groups_are_recovered(kind: str, reach: float) -> None:
    log, truth = planted(kind, 1_200, 1)
    label, strength = fitted(log, 4).predict(log)
    assert adjusted_rand_score(truth, label) >= reach
    assert strength.mean() > 0.8


def test_groups_of_different_order_are_invisible_to_shares_alone() -> None:
    log, truth = planted("order", 600, 0)
    assert adjusted_rand_score(truth, ActivityKMeans(k=4).fit(log).predict(log)[0]) < 0.1


def test_kmeans_finds_groups_of_different_mix() -> None:
    log, truth = planted("mix", 800, 1)
    assert adjusted_rand_score(truth, ActivityKMeans(k=4).fit(log).predict(log)[0]) > 0.6


@pytest.mark.parametrize("kind", [SemiMarkovMixture, ActivityKMeans])
def test_a_saved_model_gives_the_same_labels_and_the_same_bytes(
    kind: type[Segmenter], tmp_path: Path
) -> None:
    log, _ = planted("mix", 150, 2)
    for name in ("one", "two"):
        kind(k=3, seed=5).fit(log).save(tmp_path / name)
    for file in ("model.json", "learned.npz"):
        assert (tmp_path / "one" / file).read_bytes() == (tmp_path / "two" / file).read_bytes()
    model, again = kind(k=3, seed=5).fit(log), Segmenter.load(tmp_path / "one")
    assert type(again) is kind
    assert (again.posterior(log) == model.posterior(log)).all()


def test_largest_group_comes_first() -> None:
    log, _ = planted("mix", 300, 2)
    shares = fitted(log, 4).shares_
    assert (np.diff(shares) <= 0).all() and shares.sum() == pytest.approx(1)


def test_activities_the_model_never_met_do_not_matter() -> None:
    log = SequenceSet.from_traces([["a", "b", "a", "b"]] * 30 + [["b", "b", "a", "a"]] * 30)
    model = fitted(log, 2, smoothing=1.0)
    new = SequenceSet.from_traces([["a", "b", "zzz", "a", "b", "a"], ["new", "other"]])
    posterior = model.posterior(new)
    assert posterior.sum(1) == pytest.approx([1, 1])
    assert posterior[0].max() > 0.9
    assert np.isfinite(model.log_likelihood(new)[0]).all()


def test_an_order_only_log_has_no_gap_part() -> None:
    log = replace(SequenceSet.from_traces([["a", "b", "c"]] * 5 + [["c", "b", "a"]] * 5), timed=False)
    model = fitted(log, 2, smoothing=0.5)
    assert model.edges.n_classes == 0 and model.waits_.shape[:2] == (2, 0)
    label, strength = model.predict(log)
    assert len(set(label[:5])) == 1 and label[0] != label[5] and strength.min() > 0.9


def test_a_giant_case_weighs_as_much_as_a_long_one() -> None:
    # one case of 50,000 events of its own making must not take the groups of 200 usual ones
    usual = [["a", "b"] * 15] * 100 + [["b", "b", "a", "a"] * 7] * 100
    giant = SequenceSet.from_traces([*usual, ["c", "d"] * 25_000])
    model = fitted(giant, 2)
    label, _ = model.predict(giant)
    assert len(set(label[:100])) == 1 and len(set(label[100:200])) == 1 and label[0] != label[150]
    weighted = model.gather(giant)
    assert (weighted.weight * weighted.events)[-1] == pytest.approx(model.effective_length)


def test_what_the_company_does_is_given() -> None:
    # group 0 opens emails, group 1 does not; half of each is mailed twice as often: that is no group
    def case(opens: bool, busy: bool) -> list[str]:
        return ["call", *(["mail", "open"] if opens else ["mail", "mail"]) * (8 if busy else 4)]

    kinds = [(opens, busy) for opens in (True, False) for busy in (True, False)] * 30
    log = SequenceSet.from_traces([case(*kind) for kind in kinds])
    direction = Vocabulary.of(["inbound", "outbound"])
    inbound = log.tokens == log.vocabulary.id("open")
    codes = np.where(inbound, direction.id("inbound"), direction.id("outbound")).astype(np.int32)
    told = replace(log, fields={"direction": Field(codes, direction)})
    label, _ = fitted(told, 2).predict(told)
    assert adjusted_rand_score([opens for opens, _ in kinds], label) == 1
    assert fitted(told, 2).edges.target_of[log.vocabulary.id("mail")] == 0
    assert SemiMarkovMixture(k=2, response_only=False).fit(told).edges.target_of[2] == 2


def test_odd_logs() -> None:
    one = SequenceSet.from_traces([["a"]])
    assert fitted(one, 1).predict(one)[0].tolist() == [0]
    same = SequenceSet.from_traces([["a", "b", "c"]] * 50)
    label, strength = fitted(same, 3).predict(same)
    assert len(set(label)) == 1 and np.isfinite(strength).all()
    single = SequenceSet.from_traces([["a"] * n for n in range(1, 60)])
    assert np.isfinite(fitted(single, 2).posterior(single)).all()
    with pytest.raises(ModelError, match="3 cases cannot make 4 segments"):
        fitted(SequenceSet.from_traces([["a"], ["b"], ["c"]]), 4)
    with pytest.raises(NotFittedError):
        SemiMarkovMixture().predict(one)


def test_many_activities_stay_sparse() -> None:
    rng = np.random.default_rng(0)
    log = SequenceSet.from_traces([[f"x{v}" for v in rng.integers(0, 50_000, 20)] for _ in range(400)])
    model = fitted(log, 2)
    assert model.edges.n_features < 70_000
    assert model.gather(log).values.nbytes < 1_000_000
    assert np.isfinite(model.posterior(log)).all()


def test_case_ids_play_no_part() -> None:
    log, _ = planted("mix", 100, 4)
    other = replace(log, case_ids=pl.Series("case_id", [f"z{i}" for i in range(100)][::-1]))
    assert (fitted(log, 3).predict(log)[0] == fitted(other, 3).predict(other)[0]).all()


def test_refined_over_shards_is_refined_over_the_whole() -> None:
    log, truth = planted("all", 240, 6)
    model = fitted(log.select(np.arange(0, 240, 2)), 4, seed=3)

    class Cut:
        """Seven shards, whatever the size of the log."""

        def run(self, count: Count[Any], cases: SequenceSet) -> Any:
            return reduce(count.merge, [count.of(s) for s in cases.shards(7)])

    whole, cut = model.refined(LocalEngine(), log), model.refined(Cut(), log)  # type: ignore[arg-type]
    for name in ("shares_", "start_", "transitions_", "waits_"):
        assert getattr(cut, name) == pytest.approx(getattr(whole, name), abs=1e-9)
    assert (whole.transitions_ != model.transitions_).any()
    before = adjusted_rand_score(truth, model.predict(log)[0])
    assert adjusted_rand_score(truth, whole.predict(log)[0]) >= before - 0.02
    table = Cut().run(whole.labels(0.5, 3), log)
    label, strength = whole.placed(log, 0.5, 3)
    assert table["segment_id"].to_list() == label.tolist()
    assert table["strength"].to_numpy() == pytest.approx(strength, abs=2e-6)
