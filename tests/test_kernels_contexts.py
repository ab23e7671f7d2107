"""Contexts packed, sorted and counted, against a dictionary; tags numbered in their order."""

from __future__ import annotations

from collections import Counter
from itertools import takewhile

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from behavio.kernels import contexts

Steps = dict[tuple[int, ...], int]


def packed(
    tokens: np.ndarray,
    at: np.ndarray,
    depth: np.ndarray,
    orders: int,
    size: int,
    tags: np.ndarray | None = None,
    periods: np.ndarray | None = None,
    period_bits: int = 0,
) -> tuple[contexts.Layout, np.ndarray, np.ndarray, np.ndarray]:
    """The layout, the sorted distinct steps, how often each came and the tags by code."""
    none = np.zeros(0, dtype=np.int64)
    codes, names = (none, none) if tags is None else contexts.ranked(tags, at)
    layout = contexts.Layout.of(orders, size, period_bits, None if tags is None else len(names))
    given = codes, at, depth, none if periods is None else periods
    words = contexts.pack(
        tokens.astype(np.int32), *given, period_bits, layout.word, layout.shift, layout.n_words, orders
    )
    return layout, *contexts.distinct(words), names


def read_off(
    layout: contexts.Layout, words: np.ndarray, times: np.ndarray, names: np.ndarray, tagged: bool
) -> Steps:
    """(context symbols, newest first …, target): count, bit by bit; what neighbours share is checked."""
    deep, shared = contexts.compared(words, layout.level_at)
    found: Steps = {}
    before: list[int] = []
    for i, column in enumerate(words.T.tolist()):
        symbols = [column[w] >> s & m for w, s, m in zip(*(x.tolist() for x in layout.where), strict=True)]
        context = list(takewhile(lambda s: s > 0, symbols))
        assert deep[i] == len(context)
        if i:
            assert column > words.T[i - 1].tolist()
            same = zip(context, before, strict=False)
            assert shared[i] == len(list(takewhile(lambda pair: pair[0] == pair[1], same)))
        before = context
        told = [int(names[s - 1]) if tagged and level == 1 else s for level, s in enumerate(context)]
        found[*told, column[-1] & layout.target] = int(times[i])
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
        slow[*context, int(spread[end]) << period_bits | int(period)] += 1
    depth = np.minimum(at - starts[at], orders)
    layout, words, times, names = packed(
        spread, at, depth, orders, size, tags if tagged else None, periods, period_bits
    )
    assert read_off(layout, words, times, names, tagged) == dict(slow)


def test_by_hand() -> None:
    # a b a b, two back: b after a, a after a b, b after b a; newest first "a", "b a", "a b"
    tokens = np.array([2, 3, 2, 3], dtype=np.int32)
    layout, words, times, names = packed(tokens, np.array([1, 2, 3]), np.array([1, 2, 2]), 2, 4)
    assert read_off(layout, words, times, names, False) == {(2, 3): 1, (3, 2, 2): 1, (2, 3, 3): 1}
    # the same step twice is kept once: a b, and a b again
    layout, words, times, names = packed(tokens, np.array([1, 3]), np.array([1, 1]), 1, 4)
    assert read_off(layout, words, times, names, False) == {(2, 3): 2}


def test_nothing_to_count() -> None:
    none = np.zeros(0, dtype=np.int64)
    _, words, times, _ = packed(np.array([2]), none, none, 3, 4)
    assert words.shape[1] == len(times) == 0


@pytest.mark.parametrize("kinds", [3, 5_000, 300_000])  # the table grows twice and more
def test_tags_are_numbered_in_their_order(kinds: int) -> None:
    tags = np.random.default_rng(1).integers(0, 1 << 62, kinds)
    tags = np.concatenate([tags, tags[::-1]])
    codes, names = contexts.ranked(tags, np.arange(1, len(tags) + 1))
    np.testing.assert_array_equal(names, np.unique(tags))
    np.testing.assert_array_equal(names[codes], tags)


def test_small_tags_are_ranked_among_those_asked() -> None:
    # the tag before place 2 is not asked for
    codes, names = contexts.ranked(np.array([7, 3, 9, 7]), np.array([1, 3, 4]))
    assert codes.tolist() == [0, 1, 0] and names.tolist() == [7, 9]
