"""Probabilities from counted contexts: longer ones first, a share of each left to the shorter ones.

What a context leaves to shorter ones is Witten and Bell's (1991), an absolute discount (Kneser and Ney 1995),
or learnt for bins of contexts on held-out steps (Jelinek and Mercer 1980).
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from behavio.kernels.ready import njit
from behavio.kernels.tables import descend, find, symbol_at

LANES = 8
"""Sums of a bin that are kept apart, so that none has to wait for the one before it."""
SIZES, KINDS = 14, 6
"""Bins of a context: how often it was seen (powers of two), how many different activities followed."""


@njit(cache=True, nogil=True)
def bin_of(level: int, total: float, kinds: int) -> int:
    """Which bin a context belongs to: its level, how often it was seen, how many activities followed."""
    part, power = math.frexp(total)
    size = min(max(power - int(part < 0.75), 0), SIZES - 1)
    kind = max(kinds - 1, 0) if kinds <= 3 else 3 if kinds <= 5 else 4 if kinds <= 10 else 5
    return (level * SIZES + size) * KINDS + kind


@njit(cache=True, nogil=True)
def held_places(
    tokens: np.ndarray,
    tags: np.ndarray,
    tagged: bool,
    starts: np.ndarray,
    ends: np.ndarray,
    levels: int,
    child_start: np.ndarray,
    node_symbol: np.ndarray,
    start: np.ndarray,
    activity: np.ndarray,
    total: np.ndarray,
) -> tuple[np.ndarray, np.ndarray]:
    """int32 (n, levels + 1): the context of each prefix and level, its pair with what came; -1: unseen."""
    n = len(ends)
    nodes = np.full((n, levels + 1), -1, dtype=np.int32)
    pairs = np.full((n, levels + 1), -1, dtype=np.int32)
    path, found = np.zeros(levels + 1, dtype=np.int64), 0
    for r in range(n):
        end, known = ends[r], 0
        if r > 0:  # steps in order of their contexts share much of the way with the one before
            there = min(found, end - starts[r] + (1 if tagged else 0))
            while known < there and symbol_at(tokens, tags, tagged, end, known) == symbol_at(
                tokens, tags, tagged, ends[r - 1], known
            ):
                known += 1
        found = descend(
            tokens, tags, tagged, starts[r], end, levels, child_start, node_symbol, total, path, known
        )
        for level in range(found + 1):
            node = path[level]
            if total[node] > 0.0:
                nodes[r, level] = node
                pairs[r, level] = find(tokens[ends[r]], start[node], start[node + 1], activity)
    return nodes, pairs


@njit(cache=True, nogil=True)
def held_counts(
    nodes: np.ndarray, pairs: np.ndarray, start: np.ndarray, count: np.ndarray, total: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """For each of `held_places`: the count of what came, the context's total, kinds, and bin (-1: unseen)."""
    n, levels = nodes.shape
    came, size = np.zeros((n, levels)), np.zeros((n, levels))
    kinds, bins = np.zeros((n, levels), dtype=np.int32), np.full((n, levels), -1, dtype=np.int32)
    for r in range(n):
        for level in range(levels):
            node, pair = nodes[r, level], pairs[r, level]
            if node < 0:
                continue
            came[r, level] = count[pair] if pair >= 0 else 0.0
            size[r, level] = total[node]
            kinds[r, level] = start[node + 1] - start[node]
            bins[r, level] = bin_of(level, total[node], kinds[r, level])
    return came, size, kinds, bins


def held_levels(*given: Any) -> tuple[np.ndarray, ...]:
    """`held_counts` of prefixes asked of a table: arguments of `held_places`, with count before total."""
    start, count, total = given[-4], given[-2], given[-1]
    places = held_places(*given[:-2], total)
    result: tuple[np.ndarray, ...] = held_counts(*places, start, count, total)
    return result


@njit(cache=True, nogil=True)
def learn_shares(
    came: np.ndarray,
    size: np.ndarray,
    bins: np.ndarray,
    times: np.ndarray,
    first: np.ndarray,
    uniform: float,
    pull: float,
    passes: int,
) -> np.ndarray:
    """Share of probability each bin leaves to shorter contexts, by EM on held-out steps.

    `times` float64 (n,) is how often each step was there. `first` are the shares to begin with; they count
    like `pull` steps of every bin.
    """
    n, levels = came.shape
    share, known = first.copy(), np.zeros(n, dtype=np.int64)
    for r in range(n):
        while known[r] < levels and bins[r, known[r]] >= 0:  # what is unknown has no longer one that is known
            known[r] += 1
    order = np.argsort(-known)  # the steps with a context of each level are then the first so many
    there = np.array([(known > level).sum() for level in range(levels)])
    own, place = np.empty((levels, n)), np.empty((levels, n), dtype=np.int32)
    for level in range(levels):
        for k in range(there[level]):
            r = order[k]
            own[level, k], place[level, k] = came[r, level] / size[r, level], bins[r, level]
    p, onward = np.full((levels + 1, n), uniform), np.empty(n)
    for _ in range(passes):
        reached, passed = np.zeros((LANES, len(first))), np.zeros((LANES, len(first)))
        reached[0], passed[0] = pull, pull * first
        for level in range(levels):
            mine, at, before, after = own[level], place[level], p[level], p[level + 1]
            for k in range(there[level]):
                after[k] = mine[k] + share[at[k]] * (before[k] - mine[k])
        for level in range(levels - 1, -1, -1):
            at, before, after = place[level], p[level], p[level + 1]
            last = there[level + 1] if level + 1 < levels else 0
            for k in range(last, there[level]):  # its longest context
                onward[k] = times[order[k]] / max(after[k], 1e-300)
            for k in range(there[level]):
                lane = k & (LANES - 1)
                reached[lane, at[k]] += onward[k] * after[k]
                onward[k] *= share[at[k]]
                passed[lane, at[k]] += onward[k] * before[k]
        whole, onto = reached.sum(axis=0), passed.sum(axis=0)
        for b in range(len(share)):
            if whole[b] > 0.0:
                share[b] = min(max(onto[b] / whole[b], 1e-6), 1.0 - 1e-6)
    return share


@njit(cache=True, nogil=True)
def fill_rows(
    rows: np.ndarray,
    scale: np.ndarray,
    tokens: np.ndarray,
    tags: np.ndarray,
    tagged: bool,
    starts: np.ndarray,
    ends: np.ndarray,
    levels: int,
    discount: np.ndarray,
    share: np.ndarray,
    child_start: np.ndarray,
    node_symbol: np.ndarray,
    start: np.ndarray,
    activity: np.ndarray,
    count: np.ndarray,
    total: np.ndarray,
) -> None:
    """Add scale[r] times the interpolated probabilities to rows (n, size).

    Witten-Bell where `share` and `discount` are empty; shares of bins where `share` is given; else
    absolute discounts by level (Kneser-Ney, with its counts).
    """
    size = rows.shape[1]
    path = np.zeros(levels + 1, dtype=np.int64)
    for r in range(len(ends)):
        found = descend(
            tokens, tags, tagged, starts[r], ends[r], levels, child_start, node_symbol, total, path
        )
        weight = scale[r]
        for level in range(found, -1, -1):
            node = path[level]
            first, last = start[node], start[node + 1]
            if last == first or total[node] <= 0.0:
                continue
            kinds = last - first
            take = discount[level] if len(discount) else 0.0
            if len(share):
                onward = share[bin_of(level, total[node], kinds)]
                unit = (1.0 - onward) / total[node]
            elif len(discount):
                unit = 1.0 / total[node]
                onward = 0.0
                for p in range(first, last):
                    onward += min(count[p], take) * unit
            else:
                unit = 1.0 / (total[node] + kinds)
                onward = kinds * unit
            for p in range(first, last):
                rows[r, activity[p]] += weight * unit * max(count[p] - take, 0.0)
            weight *= onward
        for column in range(1, size):
            rows[r, column] += weight / (size - 1)


@njit(cache=True, nogil=True)
def fill_truth(
    came: np.ndarray,
    size: np.ndarray,
    kinds: np.ndarray,
    bins: np.ndarray,
    share: np.ndarray,
    uniform: float,
) -> np.ndarray:
    """float64 (n, levels): probability of what came by every longest level; Witten-Bell without `share`."""
    n, levels = came.shape
    p = np.zeros((n, levels))
    for r in range(n):
        now = uniform
        for level in range(levels):
            if bins[r, level] >= 0:
                onward = (
                    share[bins[r, level]]
                    if len(share)
                    else kinds[r, level] / (size[r, level] + kinds[r, level])
                )
                now = (1.0 - onward) * came[r, level] / size[r, level] + onward * now
            p[r, level] = now
    return p


@njit(cache=True, nogil=True)
def known_levels(
    tokens: np.ndarray,
    tags: np.ndarray,
    tagged: bool,
    starts: np.ndarray,
    ends: np.ndarray,
    levels: int,
    child_start: np.ndarray,
    node_symbol: np.ndarray,
    total: np.ndarray,
) -> np.ndarray:
    """int64 (n,): the longest level of each prefix that was seen."""
    result = np.zeros(len(ends), dtype=np.int64)
    path = np.zeros(levels + 1, dtype=np.int64)
    for r in range(len(ends)):
        result[r] = descend(
            tokens, tags, tagged, starts[r], ends[r], levels, child_start, node_symbol, total, path
        )
    return result


@njit(cache=True, nogil=True)
def longest_evidence(
    tokens: np.ndarray,
    starts: np.ndarray,
    ends: np.ndarray,
    activities: np.ndarray,
    at_least: int,
    levels: int,
    child_start: np.ndarray,
    node_symbol: np.ndarray,
    start: np.ndarray,
    activity: np.ndarray,
    count: np.ndarray,
    total: np.ndarray,
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Order, times seen, times followed by `activities`, and node of the longest context seen often enough.

    A context counts when it was seen `at_least` times; the whole log (order 0) is the last resort.
    """
    depth = np.zeros(len(ends), dtype=np.int64)
    seen = np.zeros(len(ends), dtype=np.int64)
    followed = np.zeros(len(ends), dtype=np.int64)
    nodes = np.zeros(len(ends), dtype=np.int64)
    path = np.zeros(levels + 1, dtype=np.int64)
    for r in range(len(ends)):
        found = descend(
            tokens, tokens, False, starts[r], ends[r], levels, child_start, node_symbol, total, path
        )
        for order in range(found, -1, -1):
            node = path[order]
            if order == 0 or total[node] >= at_least:
                pair = find(activities[r], start[node], start[node + 1], activity)
                depth[r] = order
                nodes[r] = node
                seen[r] = total[node]
                followed[r] = count[pair] if pair >= 0 else 0
                break
    return depth, seen, followed, nodes
