"""Distances of traces against hand-worked answers and a slow obvious twin; medoids against brute force."""

from __future__ import annotations

from itertools import combinations, pairwise, product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from behavio.distances import METHODS, Dissimilarities, Distance, dissimilarities
from behavio.distances.costs import dynamic_costs, transition_costs
from behavio.distances.medoids import Clusters, cluster, k_medoids, medoid
from behavio.errors import JobError, LogError
from behavio.sequences import SequenceSet

ragged = st.lists(st.lists(st.sampled_from("abcd"), min_size=1, max_size=9), min_size=2, max_size=90)
even = st.integers(1, 7).flatmap(
    lambda n: st.lists(st.lists(st.sampled_from("abc"), min_size=n, max_size=n), min_size=2, max_size=80)
)


def slow_matching(x: list[int], y: list[int], costs: np.ndarray, indel: float) -> float:
    """The table of the definition, cell by cell."""
    table = np.zeros((len(x) + 1, len(y) + 1))
    table[:, 0], table[0, :] = indel * np.arange(len(x) + 1), indel * np.arange(len(y) + 1)
    for i, j in product(range(len(x)), range(len(y))):
        swap = table[i, j] + costs[x[i], y[j]]
        table[i + 1, j + 1] = min(swap, table[i, j + 1] + indel, table[i + 1, j] + indel)
    return float(table[-1, -1])


def ids(sequences: SequenceSet) -> list[list[int]]:
    return [[int(t) for t in trace] for trace in sequences]


def test_by_hand():
    # abc → axc: one substitution (2) or a delete and an insert (1 + 1); abc → ab: one delete;
    # lcs counts the steps outside the longest common subsequence, edit the fewest single changes
    log = SequenceSet.from_traces([list("abc"), list("axc"), list("ab"), list("abc")])
    for method, to_x, to_ab in (("matching", 2, 1), ("lcs", 2, 1), ("edit", 1, 1)):
        found = dissimilarities(log, Distance(method))
        assert len(found) == 3 and list(found.traces.weights) == [2, 1, 1]
        assert [found.cases(0, i) for i in range(4)] == [0, to_x, to_ab, 0], method


def test_step_by_step_by_hand():
    # aab against abb differ at the second of three steps
    log = SequenceSet.from_traces([list("aab"), list("abb"), list("bbb")])
    found = dissimilarities(log, Distance("hamming"))
    assert [found.cases(0, 1), found.cases(1, 2), found.cases(0, 2)] == [1, 1, 2]


@settings(max_examples=60, deadline=None)
@given(traces=ragged, learnt=st.booleans())
def test_matching_equals_the_table(traces: list[list[str]], learnt: bool):
    log = SequenceSet.from_traces(traces)
    distance = Distance(substitution="transitions" if learnt else "constant")
    found = dissimilarities(log, distance)
    names = {t: i for i, t in enumerate(np.unique(log.tokens))}
    rows = [[names[t] for t in trace] for trace in ids(log)]
    costs = np.full((len(names), len(names)), 2.0) - 2.0 * np.eye(len(names))
    if learnt:
        after = np.zeros((len(names), len(names)))
        for row in rows:
            for a, b in pairwise(row):
                after[a, b] += 1
        rates = after / np.maximum(after.sum(axis=1, keepdims=True), 1)
        costs = np.maximum(2.0 - rates - rates.T, 0) * (1 - np.eye(len(names)))
    indel = max(float(costs.max()), 1e-6) / 2
    for a, b in combinations(range(min(len(rows), 12)), 2):
        assert found.cases(a, b) == pytest.approx(slow_matching(rows[a], rows[b], costs, indel), abs=1e-5)


@settings(max_examples=40, deadline=None)
@given(traces=ragged)
def test_text_distances_are_special_cases_of_matching(traces: list[list[str]]):
    # lcs: substituting costs as much as delete and insert; edit: everything costs 1
    log = SequenceSet.from_traces(traces)
    lcs, edit = (dissimilarities(log, Distance(m)) for m in ("lcs", "edit"))
    assert np.array_equal(lcs.condensed, dissimilarities(log).condensed)
    unit = 1.0 - np.eye(100)
    rows = ids(log)
    for a, b in combinations(range(min(len(rows), 10)), 2):
        assert edit.cases(a, b) == slow_matching(rows[a], rows[b], unit, 1.0)


@settings(max_examples=40, deadline=None)
@given(traces=even)
def test_dynamic_hamming_equals_its_definition(traces: list[list[str]]):
    log = SequenceSet.from_traces(traces)
    found = dissimilarities(log, Distance("dynamic_hamming"))
    rows, length = traces, len(traces[0])

    def rate(t: int, a: str, b: str) -> float:
        starts = [r for r in rows if r[t] == a]
        return sum(r[t + 1] == b for r in starts) / len(starts) if starts else 0.0

    def cost(t: int, a: str, b: str) -> float:
        near = 0.0
        for s in (t - 1, t):
            if 0 <= s < length - 1:
                near += rate(s, a, b) + rate(s, b, a)
        return 0.0 if a == b else max(4.0 - near, 0.0)

    for i, j in combinations(range(min(len(rows), 8)), 2):
        said = sum(cost(t, a, b) for t, (a, b) in enumerate(zip(rows[i], rows[j], strict=True)))
        assert found.cases(i, j) == pytest.approx(said, abs=1e-4)


def test_many_activities_and_long_traces_need_no_table_of_all_costs():
    rng = np.random.default_rng(1)
    traces = [[f"a{v}" for v in rng.integers(0, 3_000, n)] for n in rng.integers(1, 700, 12)]
    log = SequenceSet.from_traces(traces)
    found, rows = dissimilarities(log), ids(log)
    for a, b in ((0, 1), (3, 7), (10, 11)):
        x, y = rows[a], rows[b]
        table = np.zeros((len(x) + 1, len(y) + 1), int)  # longest common subsequence
        for i in range(len(x)):
            for j in range(len(y)):
                same = table[i, j] + 1 if x[i] == y[j] else 0
                table[i + 1, j + 1] = max(same, table[i, j + 1], table[i + 1, j])
        assert found.cases(a, b) == len(x) + len(y) - 2 * table[-1, -1]


def test_unequal_lengths_are_refused_where_steps_are_compared():
    log = SequenceSet.from_traces([["a"], ["a", "b"]])
    for method in ("hamming", "dynamic_hamming"):
        with pytest.raises(LogError, match="2 different lengths") as caught:
            dissimilarities(log, Distance(method))
        assert "matching" in caught.value.hint


def test_wrong_words_are_named():
    for wrong in ({"method": "om"}, {"substitution": "trate"}, {"indel": 0.0}):
        with pytest.raises(JobError):
            Distance(**wrong)
    assert "matching" in METHODS


def test_one_trace_and_one_activity():
    one = dissimilarities(SequenceSet.from_traces([["a"], ["a"]]))
    assert len(one) == 1 and len(one.condensed) == 0 and one.cases(0, 1) == 0
    assert medoid(one) == 0
    two = dissimilarities(SequenceSet.from_traces([["a"], ["a", "a"]]), Distance(substitution="transitions"))
    assert 0 <= two.cases(0, 1) < 1e-5


def square(found: Dissimilarities) -> np.ndarray:
    return np.array([[found.between(a, b) for b in range(len(found))] for a in range(len(found))])


@settings(max_examples=30, deadline=None)
@given(traces=st.lists(st.lists(st.sampled_from("abc"), min_size=1, max_size=5), min_size=3, max_size=14))
def test_swaps_end_where_no_swap_helps(traces: list[list[str]]):
    found = dissimilarities(SequenceSet.from_traces(traces))
    n, weights, far = len(found), found.traces.weights, square(found)
    assert medoid(found) in np.flatnonzero(found.traces.group == np.argmin(far @ weights))
    for k in range(2, min(n, 4) + 1):
        medoids = k_medoids(found.condensed, weights, k)
        assert len(set(medoids.tolist())) == k
        total = far[:, medoids].min(axis=1) @ weights
        for place, other in product(range(k), range(n)):
            swapped = medoids.copy()
            swapped[place] = other
            assert far[:, swapped].min(axis=1) @ weights >= total - 1e-6


def three_kinds(n: int, seed: int) -> tuple[SequenceSet, np.ndarray]:
    """Traces around three quite different ones, each step changed with probability 0.1."""
    rng = np.random.default_rng(seed)
    kinds = ("aaaabbbbcccc", "ccccddddcccc", "eeeeeeeeffff")
    which = rng.integers(0, 3, n)
    traces = []
    for k in which:
        letters = np.array(list(kinds[k]))
        changed = rng.random(len(letters)) < 0.1
        letters[changed] = rng.choice(list("abcdef"), changed.sum())
        traces.append(letters.tolist())
    return SequenceSet.from_traces(traces), which


def agree(found: Clusters, which: np.ndarray) -> float:
    from sklearn.metrics import adjusted_rand_score

    return float(adjusted_rand_score(which, found.labels))


def test_planted_groups_are_found_with_and_without_a_matrix(monkeypatch: pytest.MonkeyPatch):
    log, which = three_kinds(1_200, 3)
    whole = cluster(log, 3)
    assert agree(whole, which) > 0.98 and whole.silhouette > 0.6
    assert sum(whole.sizes) == 1_200 and list(whole.sizes) == sorted(whole.sizes, reverse=True)
    assert all(whole.labels[m] == i and whole.distances[m] == 0 for i, m in enumerate(whole.medoids))
    monkeypatch.setattr("behavio.distances.medoids.MATRIX", 100)
    sampled = cluster(log, 3, sample=80)
    assert agree(sampled, which) > 0.98
    assert np.array_equal(sampled.labels, cluster(log, 3, sample=80).labels)


def test_one_cluster_and_too_many():
    log = SequenceSet.from_traces([["a"], ["b"], ["a"]])
    only = cluster(log, 1)
    assert set(only.labels) == {0} and only.silhouette == 0.0 and only.medoids[0] == 0
    for k in (0, 3):
        with pytest.raises(JobError, match="clusters"):
            cluster(log, k)


def test_costs_are_symmetric_and_never_negative():
    tokens, offsets = np.array([0, 1, 0, 1, 1, 0], np.int32), np.array([0, 3, 6])
    learnt = transition_costs(tokens, offsets, np.array([1, 5]), 2)
    varying = dynamic_costs(tokens, offsets, np.array([1, 5]), 2)
    for costs in (learnt, *varying):
        assert (costs == costs.T).all() and (costs >= 0).all() and (np.diag(costs) == 0).all()
    # 0→1 once, 1→0 once and five times 1→0, five times 1→1: p(1|0) = 1, p(0|1) = 6/11
    assert learnt[0, 1] == pytest.approx(2 - 1 - 6 / 11)


def test_the_answers_of_a_peer():
    # six traces in sequenzo 0.1.42: OM with sm = "TRATE" and indel = "auto", LCS, HAM; upper triangle
    log = SequenceSet.from_traces([list(t) for t in "aabbcc aabccc abbbcc ccbbaa aaaaaa bcbcbc".split()])
    said = {
        Distance(substitution="transitions"): (
            "1.079545 1.636364 8 7.272727 4 2.715909 7.079545 7.636364 4 7.079545 8.909091 3.079545 "
            "7.272727 5.079545 10.909091"
        ),
        Distance("lcs"): "2 2 8 8 4 4 8 8 4 8 10 4 8 6 12",
        Distance("hamming"): "1 1 4 4 4 2 5 4 3 4 5 4 4 4 6",
    }
    for distance, answer in said.items():
        assert dissimilarities(log, distance).condensed == pytest.approx([float(v) for v in answer.split()])
