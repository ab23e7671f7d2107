"""The array kernels under the graph, the variants and the patterns."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
from conftest import traces
from hypothesis import given
from hypothesis import strategies as st

from behavio.kernels import graph
from behavio.kernels.arrays import group_quantiles, readonly, take_groups
from behavio.kernels.matching import build_trie
from behavio.kernels.traces import distinct_traces, match_traces, order_traces
from behavio.kernels.windows import moments, windows
from behavio.sequences import SequenceSet


def flat(groups: list[list[int]]) -> tuple[np.ndarray, np.ndarray]:
    offsets = np.cumsum([0, *(len(g) for g in groups)], dtype=np.int64)
    return np.array([x for g in groups for x in g], dtype=np.int64), offsets


def test_readonly_gives_one_kind_of_array(tmp_path):
    np.save(tmp_path / "a.npy", np.arange(5, dtype=np.int32))
    mapped = np.load(tmp_path / "a.npy", mmap_mode="r")
    for array in (mapped, np.arange(5, dtype=np.int32), np.arange(10, dtype=np.int32)[::2]):
        view = readonly(array, np.int32)
        assert type(view) is np.ndarray and not view.flags.writeable and view.flags.c_contiguous
    writable = np.arange(5)
    readonly(writable, np.int64)
    assert writable.flags.writeable


@given(st.lists(st.lists(st.integers(-5, 5) | st.integers(-(10**15), 10**15), max_size=80), min_size=1))
def test_group_quantiles_are_numpys(groups):
    values, offsets = flat(groups)
    found = group_quantiles(values.copy(), offsets, np.array([0.1, 0.5, 0.9]))
    for row, group in zip(found, groups, strict=True):
        expected = np.quantile(group, [0.1, 0.5, 0.9]) if group else np.full(3, np.nan)
        np.testing.assert_allclose(row, expected, rtol=1e-12)


def test_group_quantiles_of_many_ties_and_of_a_long_sorted_run():
    values = np.concatenate([np.zeros(50_000), np.arange(50_000)]).astype(np.int64)
    offsets = np.array([0, 50_000, 100_000])
    found = group_quantiles(values, offsets, np.array([0.5]))
    assert found.tolist() == [[0.0], [24_999.5]]


@given(st.integers(0, 2**32), st.sampled_from([1, 2, 5, 63, 64]), st.sampled_from([2, 40, 3_000]))
def test_sums_of_few_activities_are_those_of_many(seed, n_activities, n_cases):
    """3,000 cases of random activities fill the table of sets many times over."""
    rng = np.random.default_rng(seed)
    offsets = readonly(np.cumsum([0, *rng.integers(1, 12, n_cases)]), np.int64)
    tokens = readonly(rng.integers(0, n_activities, offsets[-1]), np.int32)
    times = readonly(np.sort(rng.integers(0, 10**15, offsets[-1])), np.int64)
    open_ = readonly(rng.random(n_cases) < 0.5, np.bool_)
    sizes = (n_activities**2, n_activities)
    steps, activities, total = graph.sum_steps(tokens, n_activities, tokens, offsets, times, open_, sizes)
    few = graph.sum_steps_of_few(tokens, n_activities, offsets, times, open_, sizes)
    assert (few[0][:, [0, 2, 3]] == steps[:, [0, 2, 3]]).all()
    assert (few[1][:, [0, 2, 3, 4, 5]] == activities[:, [0, 2, 3, 4, 5]]).all()
    assert few[2] == total


@given(traces)
def test_edges_by_hash_number_every_pair(made):
    log = SequenceSet.from_traces(made)
    tokens, offsets = readonly(log.tokens, np.int32), readonly(log.offsets, np.int64)
    size = len(log.vocabulary)
    numbers, keys = graph.edges_by_hash(tokens, offsets, size)
    found = [keys[n] for c in range(len(made)) for n in numbers[offsets[c] + 1 : offsets[c + 1]]]
    ids = [[log.vocabulary.id(a) for a in trace] for trace in made]
    assert found == [a * size + b for trace in ids for a, b in pairwise(trace)]
    assert len(set(keys.tolist())) == len(keys) == len(set(found))


def test_edges_by_hash_grow_past_their_first_tables():
    rng = np.random.default_rng(3)
    tokens = readonly(rng.integers(2, 50_000, 20_000), np.int32)
    offsets = readonly(np.arange(0, 20_001, 10), np.int64)
    numbers, keys = graph.edges_by_hash(tokens, offsets, 50_000)
    inner = np.ones(20_000, dtype=bool)
    inner[::10] = False
    expected = tokens[np.flatnonzero(inner) - 1].astype(np.int64) * 50_000 + tokens[inner]
    assert (keys[numbers[inner]] == expected).all()
    assert len(keys) == len(np.unique(expected)) and (numbers[~inner] == 0).all()


@given(traces)
def test_distinct_traces_are_compared_whole(made):
    log = SequenceSet.from_traces(made)
    firsts, group = distinct_traces(readonly(log.tokens, np.int32), readonly(log.offsets, np.int64))
    seen = list(dict.fromkeys(tuple(t) for t in made))
    assert [tuple(made[i]) for i in firsts] == seen
    assert [seen[g] for g in group] == [tuple(t) for t in made]


@given(st.integers(0, 2**32), st.integers(1, 60), st.integers(2, 4))
def test_long_traces_too_wherever_they_stand(seed, n, longest):
    """Around the sixteen tokens taken at once, in the middle and at the end of the array, empty ones too."""
    rng = np.random.default_rng(seed)
    pool = [rng.integers(0, 2, rng.integers(0, 12 * longest)).tolist() for _ in range(5)]
    made = [pool[i][: rng.integers(14, 19)] if rng.random() < 0.5 else pool[i] for i in rng.integers(0, 5, n)]
    tokens, offsets = flat(made)
    firsts, group = distinct_traces(readonly(tokens, np.int32), readonly(offsets, np.int64))
    seen = list(dict.fromkeys(tuple(t) for t in made))
    assert [tuple(made[i]) for i in firsts] == seen
    assert [seen[g] for g in group] == [tuple(t) for t in made]


@given(traces, traces)
def test_match_traces_finds_equal_ones(mine, theirs):
    known = list(dict.fromkeys(tuple(map(ord, t)) for t in mine))
    more = [tuple(map(ord, t)) for t in theirs]
    tokens, offsets = flat([list(t) for t in known])
    other, ends = flat([list(t) for t in more])
    found = match_traces(*(readonly(tokens, np.int32), readonly(offsets, np.int64)),
                         *(readonly(other, np.int32), readonly(ends, np.int64)))  # fmt: skip
    assert found.tolist() == [known.index(t) if t in known else -1 for t in more]


@given(
    st.lists(st.tuples(st.lists(st.integers(0, 3), min_size=1, max_size=4), st.integers(1, 3)), min_size=1)
)
def test_order_traces_puts_heavy_first_then_sorts(pairs):
    tokens, offsets = flat([p[0] for p in pairs])
    weights = np.array([p[1] for p in pairs])
    order = order_traces(readonly(tokens, np.int32), readonly(offsets, np.int64), weights)
    assert order.tolist() == sorted(range(len(pairs)), key=lambda i: (-pairs[i][1], pairs[i][0]))


def test_take_groups_joins_the_groups_asked_for():
    values, offsets = flat([[1, 2], [3], [4, 5, 6]])
    taken, ends = take_groups(values, offsets, np.array([2, 0]))
    assert taken.tolist() == [4, 5, 6, 1, 2] and ends.tolist() == [0, 3, 5]


def test_windows_end_at_the_gap_at_the_time_and_at_the_case():
    offsets, times = np.array([0, 5, 6]), np.array([0, 1, 2, 10, 11, 11])

    def ends(max_events: int, max_time: int) -> list[int]:
        return windows(offsets, times, times, (1, max_events, 0), (0, max_time, -1))[1].tolist()

    assert ends(0, -1) == [5, 5, 5, 5, 5, 6]
    assert ends(1, -1) == [2, 3, 4, 5, 5, 6]
    assert ends(0, 8) == [3, 3, 4, 5, 5, 6]
    assert ends(1, 1) == [2, 3, 3, 5, 5, 6]


def test_windows_start_after_the_least_gap_and_span_the_whole():
    offsets, times = np.array([0, 5, 6]), np.array([0, 1, 2, 10, 11, 11])
    first, _, span = windows(offsets, times, times, (2, 0, 3), (0, -1, -1))
    assert first.tolist() == [2, 3, 4, 5, 5, 6] and span.tolist() == [3, 4, 5, 5, 5, 6]
    first, _, span = windows(offsets, times, times, (1, 0, 0), (5, -1, 2))
    assert first.tolist() == [3, 3, 3, 5, 5, 6] and span.tolist() == [3, 3, 3, 5, 5, 6]


def test_moments_join_the_same_time_and_the_same_conversation():
    offsets, times = np.array([0, 4, 6]), np.array([0, 0, 3, 9, 9, 10])
    kind = np.array([0, 1, 1, 1, 2, 3], np.int32)
    of_event, starts = moments(offsets, times, kind, 5)
    assert of_event.tolist() == [0, 0, 0, 1, 2, 3] and starts.tolist() == [0, 2, 4]
    of_event, _ = moments(offsets, times, kind, -1)
    assert of_event.tolist() == [0, 1, 2, 3, 4, 5]


def test_trie_shares_prefixes_and_knows_what_to_skip():
    # 0 | 0 1 | 0 1 2 | 0 3 | 1  →  nodes 0, 01, 012, 03, 1
    tokens, offsets = flat([[0], [0, 1], [0, 1, 2], [0, 3], [1]])
    item, depth, after, node_of = build_trie(tokens, offsets)
    assert item.tolist() == [0, 1, 2, 3, 1]
    assert depth.tolist() == [0, 1, 2, 1, 0]
    assert after.tolist() == [4, 3, 3, 4, 5]
    assert node_of.tolist() == [0, 1, 2, 3, 4]
