"""Contexts packed, sorted and counted, against a dictionary; tags numbered in their order."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from behavio.kernels import contexts

Counted = dict[tuple[int, ...], int]


def read_off(trie: tuple[np.ndarray, ...]) -> Counted:
    """(context symbols, newest first …, target): count, by walking the trie."""
    child, symbol, start, target, count = trie
    found: Counted = {}
    todo: list[tuple[int, tuple[int, ...]]] = [(0, ())]
    while todo:
        node, context = todo.pop()
        assert (np.diff(target[start[node] : start[node + 1]]) > 0).all()
        assert (np.diff(symbol[child[node] : child[node + 1]]) > 0).all()
        for p in range(start[node], start[node + 1]):
            found[*context, int(target[p])] = int(count[p])
        todo += [(c, (*context, int(symbol[c]))) for c in range(child[node], child[node + 1])]
    return found


# 3 activities fit one word, 300 need two, 70,000 three
@settings(max_examples=60, deadline=None)
@given(
    tokens=st.lists(st.integers(1, 3), min_size=2, max_size=40),
    size=st.sampled_from([4, 300, 70_000]),
    tagged=st.booleans(),
    cut=st.integers(1, 39),
    seed=st.integers(0, 9),
)
def test_contexts_equal_the_dictionary(
    tokens: list[int], size: int, tagged: bool, cut: int, seed: int
) -> None:
    orders, period_bits = 6, 3
    spread = np.array(tokens, dtype=np.int32) * (size // 4)
    starts = np.where(np.arange(len(tokens)) < cut, 0, cut)
    at = np.flatnonzero(np.arange(len(tokens)) > starts)
    random = np.random.default_rng(seed)
    periods, tags = random.integers(0, 8, len(at)), random.choice([0, 5, 1 << 61], len(tokens))
    slow: Counter[tuple[int, ...]] = Counter()
    for end, period in zip(at, periods, strict=True):
        back = [int(t) for t in spread[max(starts[end], end - orders) : end][::-1]]
        context = [back[0], int(tags[end - 1]), *back[1:]] if tagged else back
        for k in range(len(context) + 1):
            slow[*context[:k], int(spread[end]) << period_bits | int(period)] += 1
    depth = np.minimum(at - starts[at], orders)
    trie = contexts.count_contexts(
        spread, at, depth, orders, size, tags if tagged else None, periods, period_bits
    )
    assert read_off(trie) == dict(slow)


def test_by_hand() -> None:
    # a b a b: after nothing b a b, after a: b twice, after b: a, after a b (newest first "b a"): a …
    tokens = np.array([2, 3, 2, 3], dtype=np.int32)
    trie = contexts.count_contexts(tokens, np.array([1, 2, 3]), np.array([1, 2, 2]), 2, 4)
    assert read_off(trie) == {(2,): 1, (3,): 2, (2, 3): 2, (3, 2): 1, (2, 3, 3): 1, (3, 2, 2): 1}


def test_nothing_to_count() -> None:
    none = np.zeros(0, dtype=np.int64)
    child, symbol, start, target, count = contexts.count_contexts(np.array([2], np.int32), none, none, 3, 4)
    assert child.tolist() == [1, 1] and symbol.tolist() == [0] and start.tolist() == [0, 0]
    assert len(target) == len(count) == 0


@pytest.mark.parametrize("kinds", [3, 5_000, 300_000])  # the table grows twice and more
def test_tags_are_numbered_in_their_order(kinds: int) -> None:
    tags = np.random.default_rng(1).integers(0, 1 << 62, kinds)
    tags = np.concatenate([tags, tags[::-1]])
    codes, names = contexts.ranked(tags)
    np.testing.assert_array_equal(names, np.unique(tags))
    np.testing.assert_array_equal(names[codes], tags)


def test_small_tags_stand_for_themselves() -> None:
    codes, names = contexts.ranked(np.array([7, 0, 7]))
    assert codes.tolist() == [7, 0, 7] and names.tolist() == list(range(8))
