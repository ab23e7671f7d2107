"""Counting what follows which context: a trie of contexts in sorted flat arrays, exact, no dictionary.

A context of order j is the j activities before an event, newest first. Sorted by that reading, the
contexts of every order are runs of the same sorted list, so one sort builds all orders. Nodes are
numbered breadth first; the children of node m are child_start[m]:child_start[m + 1], their tokens
rising; what followed node m is pair_start[m]:pair_start[m + 1], tokens rising.
"""

from __future__ import annotations

import numpy as np

from behavio.kernels.ready import njit


def context_order(
    tokens: np.ndarray, at: np.ndarray, depth: np.ndarray, orders: int, size: int
) -> np.ndarray:
    """Places in `at` sorted by their contexts, newest activity first; `depth` activities are there."""
    bits = max(int(size - 1).bit_length(), 1)
    per_word = min(64 // bits, max(orders, 1))
    words = [np.zeros(len(at), dtype=np.uint64) for _ in range(-(-orders // per_word))]
    for back in range(1, orders + 1):
        word = words[(back - 1) // per_word]
        shift = np.uint64(bits * (per_word - 1 - (back - 1) % per_word))
        known = np.where(depth >= back, tokens[np.maximum(at - back, 0)], 0).astype(np.uint64)
        word |= known << shift
    if not words:
        return np.arange(len(at))
    return np.argsort(words[0]) if len(words) == 1 else np.lexsort(words[::-1])


@njit(cache=True, nogil=True)
def shared_depths(tokens: np.ndarray, at: np.ndarray, depth: np.ndarray, orders: int) -> np.ndarray:
    """int16 (n,): how many context activities each sorted place shares with the one before it."""
    shared = np.zeros(len(at), dtype=np.int16)
    for i in range(1, len(at)):
        most = min(depth[i - 1], depth[i], orders)
        n = 0
        while n < most and tokens[at[i] - n - 1] == tokens[at[i - 1] - n - 1]:
            n += 1
        shared[i] = n
    return shared


@njit(cache=True, nogil=True)
def trie_size(
    targets: np.ndarray, depth: np.ndarray, shared: np.ndarray, orders: int, size: int
) -> tuple[np.ndarray, int]:
    """Nodes of each order, and the number of distinct (context, next activity) pairs of all orders."""
    nodes = np.zeros(orders + 1, dtype=np.int64)
    stamp = np.full(size, -1, dtype=np.int64)
    pairs = 0
    node = -1
    for order in range(orders + 1):
        for i in range(len(targets)):
            if depth[i] < order:
                continue
            if i == 0 or shared[i] < order:
                node += 1
                nodes[order] += 1
            elif order == 0 and node < 0:
                node = 0
            if stamp[targets[i]] != node:
                stamp[targets[i]] = node
                pairs += 1
    return nodes, pairs


@njit(cache=True, nogil=True)
def build_trie(
    tokens: np.ndarray,
    at: np.ndarray,
    depth: np.ndarray,
    shared: np.ndarray,
    nodes: np.ndarray,
    pairs: int,
    size: int,
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """child_start, node_token, pair_start, pair_token, pair_count of the trie over sorted places `at`."""
    n_nodes = max(nodes.sum(), 1)
    child_start = np.zeros(n_nodes + 1, dtype=np.int64)
    node_token = np.zeros(n_nodes, dtype=np.int32)
    pair_start = np.zeros(n_nodes + 1, dtype=np.int64)
    pair_token = np.empty(pairs, dtype=np.int32)
    pair_count = np.empty(pairs, dtype=np.int64)
    parent = np.zeros(len(at), dtype=np.int64)
    counts = np.zeros(size, dtype=np.int64)
    touched = np.empty(size, dtype=np.int32)
    node, filled = -1, 0
    for order in range(len(nodes)):
        seen = 0
        for i in range(len(at)):
            if depth[i] < order:
                continue
            if i == 0 or shared[i] < order:
                filled = _close(node, seen, filled, touched, counts, pair_start, pair_token, pair_count)
                seen = 0
                node += 1
                if order > 0:
                    node_token[node] = tokens[at[i] - order]
                    child_start[parent[i] + 1] += 1
            parent[i] = node
            target = tokens[at[i]]
            if counts[target] == 0:
                touched[seen] = target
                seen += 1
            counts[target] += 1
        filled = _close(node, seen, filled, touched, counts, pair_start, pair_token, pair_count)
    child_start[0] = 1
    for m in range(n_nodes):
        child_start[m + 1] += child_start[m]
    return child_start, node_token, pair_start, pair_token, pair_count


@njit(cache=True, nogil=True)
def _close(
    node: int,
    seen: int,
    filled: int,
    touched: np.ndarray,
    counts: np.ndarray,
    pair_start: np.ndarray,
    pair_token: np.ndarray,
    pair_count: np.ndarray,
) -> int:
    """Write down what followed `node`, tokens rising, and empty the counters; returns the new fill."""
    if seen > 24:
        touched[:seen].sort()
    else:
        for i in range(1, seen):
            token = touched[i]
            j = i
            while j > 0 and touched[j - 1] > token:
                touched[j] = touched[j - 1]
                j -= 1
            touched[j] = token
    for i in range(seen):
        pair_token[filled] = touched[i]
        pair_count[filled] = counts[touched[i]]
        counts[touched[i]] = 0
        filled += 1
    if node >= 0:
        pair_start[node + 1] = filled
    return filled


@njit(cache=True, nogil=True)
def find(token: int, low: int, high: int, sorted_tokens: np.ndarray) -> int:
    """Where `token` stands in sorted_tokens[low:high], -1 when it is not there."""
    end = high
    while low < high:
        middle = (low + high) >> 1
        if sorted_tokens[middle] < token:
            low = middle + 1
        else:
            high = middle
    if low < end and sorted_tokens[low] == token:
        return low
    return -1


@njit(cache=True, nogil=True)
def walk(
    tokens: np.ndarray,
    start: int,
    end: int,
    orders: int,
    child_start: np.ndarray,
    node_token: np.ndarray,
    path: np.ndarray,
) -> int:
    """Fill `path` with the nodes of tokens[start:end] read backwards; returns the longest order seen."""
    path[0] = 0
    found = 0
    while found < orders and end - found - 1 >= start:
        node = path[found]
        child = find(tokens[end - found - 1], child_start[node], child_start[node + 1], node_token)
        if child < 0:
            break
        found += 1
        path[found] = child
    return found


@njit(cache=True, nogil=True)
def fill_rows(
    rows: np.ndarray,
    tokens: np.ndarray,
    starts: np.ndarray,
    ends: np.ndarray,
    orders: int,
    child_start: np.ndarray,
    node_token: np.ndarray,
    pair_start: np.ndarray,
    pair_token: np.ndarray,
    pair_count: np.ndarray,
    totals: np.ndarray,
) -> None:
    """Add interpolated Witten-Bell probabilities to `rows` float64 (n, size), which comes in zeroed.

    With n events seen after a context, T of them distinct: p = (count + T * p_shorter) / (n + T); below
    order 0 every activity, the unknown one among them, is equally likely (Witten and Bell 1991).
    """
    size = rows.shape[1]
    path = np.zeros(orders + 1, dtype=np.int64)
    for r in range(len(ends)):
        found = walk(tokens, starts[r], ends[r], orders, child_start, node_token, path)
        weight = 1.0
        for order in range(found, -1, -1):
            node = path[order]
            first, last = pair_start[node], pair_start[node + 1]
            if last == first:
                continue
            share = weight / (totals[node] + (last - first))
            for p in range(first, last):
                rows[r, pair_token[p]] += share * pair_count[p]
            weight = share * (last - first)
        for column in range(1, size):
            rows[r, column] += weight / (size - 1)


@njit(cache=True, nogil=True)
def loss_by_order(
    tokens: np.ndarray,
    starts: np.ndarray,
    ends: np.ndarray,
    orders: int,
    size: int,
    child_start: np.ndarray,
    node_token: np.ndarray,
    pair_start: np.ndarray,
    pair_token: np.ndarray,
    pair_count: np.ndarray,
    totals: np.ndarray,
) -> np.ndarray:
    """float64 (orders + 1,): summed negative log-likelihood of tokens[ends] under every maximal order."""
    loss = np.zeros(orders + 1)
    path = np.zeros(orders + 1, dtype=np.int64)
    for r in range(len(ends)):
        found = walk(tokens, starts[r], ends[r], orders, child_start, node_token, path)
        p = 1.0 / (size - 1)
        for order in range(orders + 1):
            if order <= found:
                node = path[order]
                first, last = pair_start[node], pair_start[node + 1]
                if last > first:
                    pair = find(tokens[ends[r]], first, last, pair_token)
                    count = pair_count[pair] if pair >= 0 else 0
                    p = (count + (last - first) * p) / (totals[node] + (last - first))
            loss[order] -= np.log(p)
    return loss


@njit(cache=True, nogil=True)
def longest_evidence(
    tokens: np.ndarray,
    starts: np.ndarray,
    ends: np.ndarray,
    activities: np.ndarray,
    at_least: int,
    orders: int,
    child_start: np.ndarray,
    node_token: np.ndarray,
    pair_start: np.ndarray,
    pair_token: np.ndarray,
    pair_count: np.ndarray,
    totals: np.ndarray,
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Order, times seen, times followed by `activities`, and node of the longest context seen often enough.

    A context counts when it was seen `at_least` times; the whole log (order 0) is the last resort.
    """
    depth = np.zeros(len(ends), dtype=np.int64)
    seen = np.zeros(len(ends), dtype=np.int64)
    followed = np.zeros(len(ends), dtype=np.int64)
    nodes = np.zeros(len(ends), dtype=np.int64)
    path = np.zeros(orders + 1, dtype=np.int64)
    for r in range(len(ends)):
        found = walk(tokens, starts[r], ends[r], orders, child_start, node_token, path)
        for order in range(found, -1, -1):
            node = path[order]
            if order == 0 or totals[node] >= at_least:
                pair = find(activities[r], pair_start[node], pair_start[node + 1], pair_token)
                depth[r] = order
                nodes[r] = node
                seen[r] = totals[node]
                followed[r] = pair_count[pair] if pair >= 0 else 0
                break
    return depth, seen, followed, nodes


@njit(cache=True, nogil=True)
def prefix_hashes(tokens: np.ndarray, offsets: np.ndarray) -> np.ndarray:
    """uint64 (n_events,): a hash of each case from its start up to and with that event."""
    hashes = np.empty(len(tokens), dtype=np.uint64)
    for case in range(len(offsets) - 1):
        h = np.uint64(0x9E3779B97F4A7C15)
        for i in range(offsets[case], offsets[case + 1]):
            h ^= np.uint64(tokens[i])
            h *= np.uint64(0xBF58476D1CE4E5B9)
            h ^= h >> np.uint64(29)
            hashes[i] = h
    return hashes


@njit(cache=True, nogil=True)
def score_rows(
    rows: np.ndarray, truth: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Per row: probability and rank of the truth (ties to the lower id), best column, its p, sum p²."""
    n, size = rows.shape
    p, rank = np.zeros(n), np.zeros(n, dtype=np.int64)
    best, confidence, squares = np.zeros(n, dtype=np.int64), np.zeros(n), np.zeros(n)
    for r in range(n):
        p[r] = rows[r, truth[r]]
        for c in range(1, size):
            value = rows[r, c]
            squares[r] += value * value
            if value > confidence[r]:
                best[r] = c
                confidence[r] = value
            if value > p[r] or (value == p[r] and c < truth[r]):
                rank[r] += 1
    return p, rank, best, confidence, squares


@njit(cache=True, nogil=True)
def top_columns(rows: np.ndarray, k: int) -> np.ndarray:
    """int64 (n, k): the k likeliest known activities of each row, ties to the lower id; -1 fills."""
    n, size = rows.shape
    top = np.full((n, k), -1, dtype=np.int64)
    for r in range(n):
        for c in range(2, size):
            place = k
            while place > 0 and (top[r, place - 1] < 0 or rows[r, c] > rows[r, top[r, place - 1]]):
                place -= 1
            if place < k:
                for j in range(k - 1, place, -1):
                    top[r, j] = top[r, j - 1]
                top[r, place] = c
    return top
