"""Counts of what followed which context, by period of time, that can be merged, weighted and read anew.

The trie is that of `behavio.kernels.contexts`; its targets are keys: activity * PERIODS + period. The form is
canonical: equal counts are equal bytes, however they were gathered.
"""

from __future__ import annotations

import numpy as np

from behavio.kernels.ready import njit

PERIODS = 256
"""Periods a key has room for."""


@njit(cache=True, nogil=True)
def merge_tallies(
    a_child: np.ndarray,
    a_symbol: np.ndarray,
    a_start: np.ndarray,
    a_key: np.ndarray,
    a_count: np.ndarray,
    b_child: np.ndarray,
    b_symbol: np.ndarray,
    b_start: np.ndarray,
    b_key: np.ndarray,
    b_count: np.ndarray,
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """The trie of both: the same arrays as if all had been counted at once."""
    most = len(a_symbol) + len(b_symbol)
    from_a, from_b = np.full(most, -1, dtype=np.int64), np.full(most, -1, dtype=np.int64)
    symbols = np.zeros(most, dtype=np.int64)
    child = np.zeros(most + 1, dtype=np.int64)
    start = np.zeros(most + 1, dtype=np.int64)
    key = np.empty(len(a_key) + len(b_key), dtype=np.int64)
    count = np.empty(len(a_key) + len(b_key), dtype=np.int64)
    from_a[0], from_b[0] = 0, 0
    node, nodes, filled = 0, 1, 0
    while node < nodes:
        a, b = from_a[node], from_b[node]
        i, i_end = (a_start[a], a_start[a + 1]) if a >= 0 else (0, 0)
        j, j_end = (b_start[b], b_start[b + 1]) if b >= 0 else (0, 0)
        while i < i_end or j < j_end:
            left = i < i_end and (j >= j_end or a_key[i] <= b_key[j])
            right = j < j_end and (i >= i_end or b_key[j] <= a_key[i])
            key[filled] = a_key[i] if left else b_key[j]
            count[filled] = (a_count[i] if left else 0) + (b_count[j] if right else 0)
            i += left
            j += right
            filled += 1
        start[node + 1] = filled
        child[node] = nodes
        i, i_end = (a_child[a], a_child[a + 1]) if a >= 0 else (0, 0)
        j, j_end = (b_child[b], b_child[b + 1]) if b >= 0 else (0, 0)
        while i < i_end or j < j_end:
            left = i < i_end and (j >= j_end or a_symbol[i] <= b_symbol[j])
            right = j < j_end and (i >= i_end or b_symbol[j] <= a_symbol[i])
            symbols[nodes] = a_symbol[i] if left else b_symbol[j]
            if left:
                from_a[nodes] = i
            if right:
                from_b[nodes] = j
            i += left
            j += right
            nodes += 1
        node += 1
    child[nodes] = nodes
    return child[: nodes + 1], symbols[:nodes], start[: nodes + 1], key[:filled], count[:filled]


@njit(cache=True, nogil=True)
def weigh(
    pair_start: np.ndarray,
    pair_key: np.ndarray,
    pair_count: np.ndarray,
    weight: np.ndarray,
    wanted: np.ndarray,
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Counts over all periods, each period times its weight: pair_start, activities, counts, totals.

    `wanted` bool (n_nodes,): nodes to weigh, the others stay empty; of no length: all.
    """
    n = len(pair_start) - 1
    start = np.zeros(n + 1, dtype=np.int64)
    activity = np.empty(len(pair_key), dtype=np.int32)
    count = np.empty(len(pair_key), dtype=np.float64)
    total = np.zeros(n, dtype=np.float64)
    filled = 0
    for node in range(n):
        start[node + 1] = filled
        if len(wanted) and not wanted[node]:
            continue
        last = -1
        for p in range(pair_start[node], pair_start[node + 1]):
            value = weight[pair_key[p] % PERIODS] * pair_count[p]
            if value <= 0.0:
                continue
            token = pair_key[p] // PERIODS
            if token == last:
                count[filled - 1] += value
            else:
                activity[filled] = token
                count[filled] = value
                last = token
                filled += 1
            total[node] += value
        start[node + 1] = filled
    return start, activity[:filled].copy(), count[:filled].copy(), total


@njit(cache=True, nogil=True)
def continuations(
    child_start: np.ndarray, start: np.ndarray, activity: np.ndarray, count: np.ndarray, size: int
) -> tuple[np.ndarray, np.ndarray]:
    """Kneser-Ney's counts: in how many longer contexts each activity came; counts and totals of nodes.

    Where no longer context exists, because the case had only begun, the plain count stands in.
    """
    n = len(start) - 1
    result, total = count.copy(), np.zeros(n)
    kinds, inside = np.zeros(size), np.zeros(size)
    for node in range(n):
        first, last = child_start[node], child_start[node + 1]
        for p in range(start[first], start[last]):
            kinds[activity[p]] += 1.0
            inside[activity[p]] += count[p]
        for p in range(start[node], start[node + 1]):
            token = activity[p]
            if last > first:
                result[p] = kinds[token] + max(count[p] - inside[token], 0.0)
            total[node] += result[p]
            kinds[token] = 0.0
            inside[token] = 0.0
    return result, total


@njit(cache=True, nogil=True)
def steps_of(values: np.ndarray, edges: np.ndarray, offsets: np.ndarray) -> np.ndarray:
    """int64 (n_events,): edges at or below each value, plus 1; 0 for the first event of a case."""
    result = np.empty(len(values), dtype=np.int64)
    for i in range(len(values)):
        step = 1
        for edge in edges:
            step += values[i] >= edge
        result[i] = step
    for case in range(len(offsets) - 1):
        result[offsets[case]] = 0
    return result


@njit(cache=True, nogil=True)
def seen_sets(tokens: np.ndarray, offsets: np.ndarray, names: np.ndarray) -> np.ndarray:
    """int64 (n_events,): a number for the set of activities of the case so far; equal sets, equal numbers."""
    result = np.zeros(len(tokens), dtype=np.int64)
    last = np.full(len(names), -1, dtype=np.int64)
    for case in range(len(offsets) - 1):
        h = np.int64(0)
        for i in range(offsets[case], offsets[case + 1]):
            token = tokens[i]
            if last[token] != case:
                last[token] = case
                h = (h + names[token]) & np.int64(0x3FFFFFFFFFFFFFFF)
            result[i] = h
    return result


@njit(cache=True, nogil=True)
def carried(codes: np.ndarray, offsets: np.ndarray) -> np.ndarray:
    """int32 (n_events,): the latest known code of the case, 0 before any."""
    result = np.zeros(len(codes), dtype=np.int32)
    for case in range(len(offsets) - 1):
        now = 0
        for i in range(offsets[case], offsets[case + 1]):
            if codes[i] > 0:
                now = codes[i]
            result[i] = now
    return result
