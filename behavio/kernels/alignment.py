"""Dissimilarities of many traces at once: one row trace against a block of LANES column traces.

The inner loop runs over the lanes, side by side in memory, so the compiler turns it into vector code. Rows
come sorted by their tokens: a row takes over the table of the row before it as far as both begin alike.
"""

from __future__ import annotations

import numpy as np

from behavio.kernels.ready import njit

LANES = 64
SAVE = 8  # every so many steps a row is kept for traces that begin alike
CACHE = 1 << 22  # bytes of the tables a block keeps at hand


@njit(cache=True, nogil=True)
def _padded(tokens: np.ndarray, offsets: np.ndarray, columns: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The column traces side by side, int32 (longest, LANES), and their lengths, int64 (LANES,)."""
    lengths = np.zeros(LANES, np.int64)
    for k in range(len(columns)):
        lengths[k] = offsets[columns[k] + 1] - offsets[columns[k]]
    padded = np.zeros((lengths.max(), LANES), np.int32)
    for k in range(len(columns)):
        for b in range(lengths[k]):
            padded[b, k] = tokens[offsets[columns[k]] + b]
    return padded, lengths


@njit(cache=True, nogil=True)
def _fill(symbol: int, padded: np.ndarray, costs: np.ndarray, place: np.ndarray) -> None:
    """Costs of meeting `symbol` at every step of every lane; costs has one matrix, or one per step."""
    varying = costs.shape[0] > 1
    for b in range(padded.shape[0]):
        t = b if varying else 0
        for k in range(LANES):
            place[b, k] = costs[t, symbol, padded[b, k]]


@njit(inline="always", fastmath=True)  # inlined, the compiler knows the lanes' stride and can use vectors
def _step(row: np.ndarray, cost: np.ndarray, indel: np.float32, left: np.ndarray) -> None:
    """One row of the dynamic programme for all lanes, in place: substitute, insert or delete."""
    for k in range(LANES):
        left[k] = row[0, k]
        row[0, k] += indel
    for b in range(cost.shape[0]):
        for k in range(LANES):
            above = row[b + 1, k]
            best = min(above, row[b, k]) + indel
            row[b + 1, k] = min(best, left[k] + cost[b, k])
            left[k] = above


@njit(cache=True, nogil=True)
def _alike(tokens: np.ndarray, offsets: np.ndarray, a: int, b: int) -> int:
    """How many steps two traces have in common from their start."""
    n = min(offsets[a + 1] - offsets[a], offsets[b + 1] - offsets[b])
    for i in range(n):
        if tokens[offsets[a] + i] != tokens[offsets[b] + i]:
            return i
    return n


@njit(cache=True, nogil=True, fastmath=True)
def matching_block(
    tokens: np.ndarray,
    offsets: np.ndarray,
    rows: np.ndarray,
    columns: np.ndarray,
    costs: np.ndarray,
    indel: np.float32,
) -> np.ndarray:
    """Optimal matching costs of every row trace to at most LANES column traces, float32 (n_rows, LANES).

    tokens   int32 in 0..n_symbols-1      offsets int64, trace i is tokens[offsets[i]:offsets[i + 1]]
    rows     int64, best sorted by tokens  columns int64, at most LANES
    costs    float32 (1, n_symbols, n_symbols) of substituting one symbol for another
    indel    cost of inserting or deleting one
    Needleman & Wunsch 1970; as a distance of sequences, Abbott & Forrest 1986.
    """
    padded, lengths = _padded(tokens, offsets, columns)
    m = padded.shape[0]
    kept = max(1, min(CACHE // ((m + 1) * LANES * 4), 1 << 12))  # how deep rows are kept for the next trace
    slots = max(1, min(costs.shape[1], CACHE // (max(m, 1) * LANES * 4)))
    saved = np.empty((kept + 1, m + 1, LANES), np.float32)
    depths = np.zeros(
        kept + 2, np.int64
    )  # a stack: how many steps of the trace before each saved row stands for
    n_saved = 1
    for b in range(m + 1):
        for k in range(LANES):
            saved[0, b, k] = b * indel
    row, left = np.empty((m + 1, LANES), np.float32), np.empty(LANES, np.float32)
    cost = np.empty((slots, m, LANES), np.float32)
    holds = np.full(slots, -1, np.int64)
    answer = np.empty((len(rows), LANES), np.float32)
    alike = 0
    for r in range(len(rows)):
        while depths[n_saved - 1] > alike:
            n_saved -= 1
        row[:] = saved[n_saved - 1]
        start, end = offsets[rows[r]], offsets[rows[r] + 1]
        alike = _alike(tokens, offsets, rows[r], rows[r + 1]) if r + 1 < len(rows) else 0
        for i in range(start + depths[n_saved - 1], end):
            symbol = tokens[i]
            slot = symbol % slots
            if holds[slot] != symbol:
                _fill(symbol, padded, costs, cost[slot])
                holds[slot] = symbol
            _step(row, cost[slot], indel, left)
            depth = i + 1 - start
            if n_saved <= kept and (depth == alike or (depth < alike and depth % SAVE == 0)):
                saved[n_saved] = row
                depths[n_saved] = depth
                n_saved += 1
        for k in range(LANES):
            answer[r, k] = row[lengths[k], k]
    return answer


@njit(cache=True, nogil=True, fastmath=True)
def _add(total: np.ndarray, cost: np.ndarray) -> None:
    for k in range(LANES):
        total[k] += cost[k]


@njit(cache=True, nogil=True)
def hamming_block(
    tokens: np.ndarray, offsets: np.ndarray, rows: np.ndarray, columns: np.ndarray, costs: np.ndarray
) -> np.ndarray:
    """Sum over the steps of what two symbols at the same step cost, float32 (n_rows, LANES).

    costs is float32 (1, n, n), or (n_steps, n, n) where the cost depends on the step. All traces have the
    same length.
    """
    padded, _ = _padded(tokens, offsets, columns)
    m, n_symbols = padded.shape[0], costs.shape[1]
    slots = max(1, min(n_symbols, CACHE // (max(m, 1) * LANES * 4)))
    cost = np.empty((slots, m, LANES), np.float32)
    holds = np.full(slots, -1, np.int64)
    answer = np.zeros((len(rows), LANES), np.float32)
    for r in range(len(rows)):
        start = offsets[rows[r]]
        for t in range(m):
            symbol = tokens[start + t]
            slot = symbol % slots
            if holds[slot] != symbol:
                _fill(symbol, padded, costs, cost[slot])
                holds[slot] = symbol
            _add(answer[r], cost[slot, t])
    return answer


@njit(cache=True, nogil=True)
def scatter_block(block: np.ndarray, order: np.ndarray, first: int, out: np.ndarray) -> None:
    """Put a block of the triangle into the condensed matrix.

    block[r, k] is the distance of order[r] and order[first + k]; only pairs r < first + k count. out is the
    upper triangle without the diagonal, row by row: pair (a, b), a < b, at a·n − a(a + 1)/2 + b − a − 1.
    """
    n = len(order)
    for r in range(block.shape[0]):
        for k in range(max(0, r - first + 1), min(LANES, n - first)):
            a, b = order[r], order[first + k]
            if a > b:
                a, b = b, a
            out[a * n - a * (a + 1) // 2 + b - a - 1] = block[r, k]
