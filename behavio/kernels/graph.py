"""Which activity comes right after which: one pass over flat traces.

Events are given the number of their edge (from the event before to this one) first; everything else is then
a count over these numbers, so 50,000 activities cost no 50,000 × 50,000 table.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from behavio.kernels.arrays import grown


@njit(cache=True, nogil=True)
def edges_by_table(tokens: np.ndarray, offsets: np.ndarray, size: int) -> tuple[np.ndarray, np.ndarray]:
    """Edge number of each event, int32 (n_events,), -1 where a trace starts; and how often each occurs.

    The number of an edge is source * size + target: for few activities, size * size below 2**31.
    """
    counts = np.zeros(size * size, np.int64)
    numbers = np.empty(len(tokens), np.int32)
    for c in range(len(offsets) - 1):
        numbers[offsets[c]] = -1
        before = np.int64(tokens[offsets[c]])
        for i in range(offsets[c] + 1, offsets[c + 1]):
            now = np.int64(tokens[i])
            numbers[i] = before * size + now
            counts[before * size + now] += 1
            before = now
    return numbers, counts


@njit(cache=True, nogil=True)
def _slot(table: np.ndarray, keys: np.ndarray, key: np.int64) -> np.int64:
    """Where `key` stands in an open-addressing table of edge numbers, or the free place for it."""
    mixed = np.uint64(key) * np.uint64(0x9E3779B97F4A7C15)
    mask = np.int64(len(table) - 1)
    place = np.int64(mixed >> np.uint64(20)) & mask
    while table[place] >= 0 and keys[table[place]] != key:
        place = (place + 1) & mask
    return place


@njit(cache=True, nogil=True)
def edges_by_hash(tokens: np.ndarray, offsets: np.ndarray, size: int) -> tuple[np.ndarray, np.ndarray]:
    """Edge number of each event as above, numbers in order of appearance; and each edge's key.

    A key is source * size + target. Memory grows with the edges there are: for many activities.
    """
    table = np.full(4096, -1, np.int32)
    keys = np.empty(2048, np.int64)
    numbers = np.empty(len(tokens), np.int32)
    n_edges = 0
    for c in range(len(offsets) - 1):
        numbers[offsets[c]] = -1
        before = np.int64(tokens[offsets[c]])
        for i in range(offsets[c] + 1, offsets[c + 1]):
            now = np.int64(tokens[i])
            key = before * size + now
            place = _slot(table, keys, key)
            if table[place] < 0:
                if n_edges == len(keys):
                    keys = grown(keys, n_edges, n_edges + 1)
                    table = np.full(4 * n_edges, -1, np.int32)
                    for e in range(n_edges):
                        table[_slot(table, keys, keys[e])] = np.int32(e)
                    place = _slot(table, keys, key)
                table[place] = np.int32(n_edges)
                keys[n_edges] = key
                n_edges += 1
            numbers[i] = table[place]
            before = now
    return numbers, keys[:n_edges]


@njit(cache=True, nogil=True)
def tally_edges(
    numbers: np.ndarray, rank: np.ndarray, n_edges: int, offsets: np.ndarray, times: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Frequency and distinct cases of each edge, and its waiting times grouped by edge.

    numbers  edge number of each event, -1 at the start of a trace
    rank     the place each edge number shall have in the answer
    Returns frequency, cases (int64 (n_edges,)), the groups' offsets and the waiting times (int64, µs).
    """
    frequency = np.zeros(n_edges, np.int64)
    cases = np.zeros(n_edges, np.int64)
    last_case = np.full(n_edges, -1, np.int64)
    for c in range(len(offsets) - 1):
        for i in range(offsets[c] + 1, offsets[c + 1]):
            edge = rank[numbers[i]]
            frequency[edge] += 1
            if last_case[edge] != c:
                last_case[edge] = c
                cases[edge] += 1
    ends = np.zeros(n_edges + 1, np.int64)
    cursor = np.zeros(n_edges, np.int64)
    for edge in range(n_edges):
        cursor[edge] = ends[edge]
        ends[edge + 1] = ends[edge] + frequency[edge]
    gaps = np.empty(ends[-1], np.int64)
    for c in range(len(offsets) - 1):
        for i in range(offsets[c] + 1, offsets[c + 1]):
            edge = rank[numbers[i]]
            gaps[cursor[edge]] = times[i] - times[i - 1]
            cursor[edge] += 1
    return frequency, cases, ends, gaps


@njit(cache=True, nogil=True)
def tally_activities(
    tokens: np.ndarray, offsets: np.ndarray, size: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Per activity, int64 (size,): frequency, cases, starts, last seen, cases that come back to it."""
    frequency = np.zeros(size, np.int64)
    cases = np.zeros(size, np.int64)
    starts = np.zeros(size, np.int64)
    last_seen = np.zeros(size, np.int64)
    rework = np.zeros(size, np.int64)
    last_case = np.full(size, -1, np.int64)
    counted = np.full(size, -1, np.int64)
    for c in range(len(offsets) - 1):
        starts[tokens[offsets[c]]] += 1
        last_seen[tokens[offsets[c + 1] - 1]] += 1
        for i in range(offsets[c], offsets[c + 1]):
            token = tokens[i]
            frequency[token] += 1
            if last_case[token] != c:
                last_case[token] = c
                cases[token] += 1
            elif counted[token] != c:
                counted[token] = c
                rework[token] += 1
    return frequency, cases, starts, last_seen, rework


@njit(cache=True, nogil=True)
def append_groups(
    values: np.ndarray, offsets: np.ndarray, where: np.ndarray, cursor: np.ndarray, out: np.ndarray
) -> None:
    """Copy group g of one shard behind what group where[g] of the whole already holds; moves cursor."""
    for g in range(len(where)):
        place = cursor[where[g]]
        for i in range(offsets[g], offsets[g + 1]):
            out[place] = values[i]
            place += 1
        cursor[where[g]] = place


@njit(cache=True, nogil=True)
def group_sums(values: np.ndarray, offsets: np.ndarray) -> np.ndarray:
    """Sum of each group in order, float64: microseconds of millions of years do not fit 64 bits."""
    sums = np.zeros(len(offsets) - 1)
    for g in range(len(offsets) - 1):
        for i in range(offsets[g], offsets[g + 1]):
            sums[g] += values[i]
    return sums
