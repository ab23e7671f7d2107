"""Counts of what followed which context, by period of time: a trie in flat arrays that can be merged.

A context is read newest first: the last activity, then (where a view has one) a tag of the last event, then
the activities before it. Level k of the trie holds contexts of k symbols. Nodes are numbered breadth first;
the children of node m are child_start[m]:child_start[m + 1], their symbols rising; what followed node m is
pair_start[m]:pair_start[m + 1], keys rising, a key being activity * PERIODS + period. The form is canonical:
equal counts are equal bytes, however they were gathered.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from behavio.kernels.ngram import find

PERIODS = 256
"""Periods a key has room for."""
SIZES, KINDS = 14, 6
"""Bins of a context: how often it was seen (powers of two), how many different activities followed."""


def sorted_places(
    tokens: np.ndarray,
    tags: np.ndarray,
    tag_bits: int,
    at: np.ndarray,
    depth: np.ndarray,
    bits: int,
    levels: int,
) -> np.ndarray:
    """Places in `at` sorted by their contexts; `tags` are small numbers, tag_bits 0 where there are none."""
    words: list[np.ndarray] = []
    room = 0
    for level in range(levels):
        tagged = tag_bits > 0 and level == 1
        back = level + 1 if tag_bits == 0 or level == 0 else level
        width = tag_bits if tagged else bits
        source = tags[at - 1] if tagged else tokens[np.maximum(at - back, 0)]
        if room < width:
            words.append(np.zeros(len(at), dtype=np.uint64))
            room = 64
        room -= width
        words[-1] |= np.where(depth > level, source, 0).astype(np.uint64) << np.uint64(room)
    if not words:
        return np.arange(len(at))
    return np.argsort(words[0]) if len(words) == 1 else np.lexsort(words[::-1])


@njit(cache=True, nogil=True)
def symbol(tokens: np.ndarray, tags: np.ndarray, tagged: bool, place: int, level: int) -> int:
    """The symbol of a context at this level, of the event at `place`."""
    if not tagged or level == 0:
        return int(tokens[place - level - 1])
    if level == 1:
        return int(tags[place - 1])
    return int(tokens[place - level])


@njit(cache=True, nogil=True)
def shared_levels(
    tokens: np.ndarray, tags: np.ndarray, tagged: bool, at: np.ndarray, depth: np.ndarray
) -> np.ndarray:
    """int16 (n,): how many context symbols each sorted place shares with the one before it."""
    shared = np.zeros(len(at), dtype=np.int16)
    for i in range(1, len(at)):
        most = min(depth[i - 1], depth[i])
        n = 0
        while n < most and symbol(tokens, tags, tagged, at[i], n) == symbol(
            tokens, tags, tagged, at[i - 1], n
        ):
            n += 1
        shared[i] = n
    return shared


@njit(cache=True, nogil=True)
def tally_size(
    targets: np.ndarray, depth: np.ndarray, shared: np.ndarray, levels: int, size: int
) -> tuple[int, int]:
    """Nodes, and distinct (context, target) pairs of all levels; targets are below `size`."""
    stamp = np.full(size, -1, dtype=np.int64)
    pairs, node = 0, -1
    for level in range(levels + 1):
        for i in range(len(targets)):
            if depth[i] < level:
                continue
            if node < 0 or (level > 0 and shared[i] < level) or (level > 0 and i == 0):
                node += 1
            if stamp[targets[i]] != node:
                stamp[targets[i]] = node
                pairs += 1
    return node + 1, pairs


@njit(cache=True, nogil=True)
def build_tally(
    tokens: np.ndarray,
    tags: np.ndarray,
    tagged: bool,
    at: np.ndarray,
    targets: np.ndarray,
    depth: np.ndarray,
    shared: np.ndarray,
    levels: int,
    n_nodes: int,
    pairs: int,
    size: int,
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """child_start, node_symbol, pair_start, pair_target, pair_count over sorted places with `targets`."""
    n_nodes = max(n_nodes, 1)
    child_start = np.zeros(n_nodes + 1, dtype=np.int64)
    node_symbol = np.zeros(n_nodes, dtype=np.int64)
    pair_start = np.zeros(n_nodes + 1, dtype=np.int64)
    pair_target = np.empty(pairs, dtype=np.int32)
    pair_count = np.empty(pairs, dtype=np.int32)
    parent = np.zeros(len(at), dtype=np.int32)
    counts = np.zeros(size, dtype=np.int32)
    touched = np.empty(size, dtype=np.int32)
    node, filled = -1, 0
    for level in range(levels + 1):
        seen = 0
        for i in range(len(at)):
            if depth[i] < level:
                continue
            if i == 0 or (level > 0 and shared[i] < level):
                filled = _close(node, seen, filled, touched, counts, pair_start, pair_target, pair_count)
                seen = 0
                node += 1
                if level > 0:
                    node_symbol[node] = symbol(tokens, tags, tagged, at[i], level - 1)
                    child_start[parent[i] + 1] += 1
            parent[i] = node
            target = targets[i]
            if counts[target] == 0:
                touched[seen] = target
                seen += 1
            counts[target] += 1
        filled = _close(node, seen, filled, touched, counts, pair_start, pair_target, pair_count)
    child_start[0] = 1
    for m in range(n_nodes):
        child_start[m + 1] += child_start[m]
    return child_start, node_symbol, pair_start, pair_target, pair_count


@njit(cache=True, nogil=True)
def _close(
    node: int,
    seen: int,
    filled: int,
    touched: np.ndarray,
    counts: np.ndarray,
    pair_start: np.ndarray,
    pair_target: np.ndarray,
    pair_count: np.ndarray,
) -> int:
    """Write down what followed `node`, targets rising, and empty the counters; returns the new fill."""
    if seen > 24:
        touched[:seen].sort()
    else:
        for i in range(1, seen):
            target = touched[i]
            j = i
            while j > 0 and touched[j - 1] > target:
                touched[j] = touched[j - 1]
                j -= 1
            touched[j] = target
    for i in range(seen):
        pair_target[filled] = touched[i]
        pair_count[filled] = counts[touched[i]]
        counts[touched[i]] = 0
        filled += 1
    if node >= 0:
        pair_start[node + 1] = filled
    return filled


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
    pair_start: np.ndarray, pair_key: np.ndarray, pair_count: np.ndarray, weight: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Counts over all periods, each period times its weight: pair_start, activities, counts, totals."""
    n = len(pair_start) - 1
    start = np.zeros(n + 1, dtype=np.int64)
    activity = np.empty(len(pair_key), dtype=np.int32)
    count = np.empty(len(pair_key), dtype=np.float64)
    total = np.zeros(n, dtype=np.float64)
    filled = 0
    for node in range(n):
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
def descend(
    tokens: np.ndarray,
    tags: np.ndarray,
    tagged: bool,
    start: int,
    end: int,
    levels: int,
    child_start: np.ndarray,
    node_symbol: np.ndarray,
    total: np.ndarray,
    path: np.ndarray,
) -> int:
    """Fill `path` with the nodes of a prefix, longest last; returns the longest level seen."""
    path[0] = 0
    found = 0
    there = end - start + (1 if tagged else 0)
    while found < min(levels, there):
        node = path[found]
        wanted = symbol(tokens, tags, tagged, end, found)
        child = find(wanted, child_start[node], child_start[node + 1], node_symbol)
        if child < 0 or total[child] <= 0.0:
            break
        found += 1
        path[found] = child
    return found


@njit(cache=True, nogil=True)
def bin_of(level: int, total: float, kinds: int) -> int:
    """Which bin a context belongs to: its level, how often it was seen, how many activities followed."""
    size = 0
    while total >= 1.5 and size < SIZES - 1:
        total *= 0.5
        size += 1
    kind = max(kinds - 1, 0) if kinds <= 3 else 3 if kinds <= 5 else 4 if kinds <= 10 else 5
    return (level * SIZES + size) * KINDS + kind


@njit(cache=True, nogil=True)
def held_levels(
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
    count: np.ndarray,
    total: np.ndarray,
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """For each prefix and level: the count of what came, the context's total, kinds, and bin (-1: unseen)."""
    n = len(ends)
    came, size = np.zeros((n, levels + 1)), np.zeros((n, levels + 1))
    kinds = np.zeros((n, levels + 1), dtype=np.int64)
    bins = np.full((n, levels + 1), -1, dtype=np.int64)
    path = np.zeros(levels + 1, dtype=np.int64)
    for r in range(n):
        found = descend(
            tokens, tags, tagged, starts[r], ends[r], levels, child_start, node_symbol, total, path
        )
        for level in range(found + 1):
            node = path[level]
            if total[node] <= 0.0:
                continue
            pair = find(tokens[ends[r]], start[node], start[node + 1], activity)
            came[r, level] = count[pair] if pair >= 0 else 0.0
            size[r, level] = total[node]
            kinds[r, level] = start[node + 1] - start[node]
            bins[r, level] = bin_of(level, total[node], kinds[r, level])
    return came, size, kinds, bins


@njit(cache=True, nogil=True)
def learn_shares(
    came: np.ndarray,
    size: np.ndarray,
    bins: np.ndarray,
    first: np.ndarray,
    uniform: float,
    pull: float,
    passes: int,
) -> np.ndarray:
    """Share of probability each bin leaves to shorter contexts, by EM on held-out steps.

    `first` are the shares to begin with; they count like `pull` steps of every bin.
    """
    n, levels = came.shape
    share = first.copy()
    p = np.zeros(levels + 1)
    for _ in range(passes):
        stay, pass_on = pull * (1.0 - first), pull * first
        for r in range(n):
            p[0] = uniform
            for level in range(levels):
                b = bins[r, level]
                if b < 0:
                    p[level + 1] = p[level]
                    continue
                p[level + 1] = (1.0 - share[b]) * came[r, level] / size[r, level] + share[b] * p[level]
            reach = 1.0
            for level in range(levels - 1, -1, -1):
                b = bins[r, level]
                if b < 0:
                    continue
                onward = reach * share[b] * p[level] / max(p[level + 1], 1e-300)
                stay[b] += reach - onward
                pass_on[b] += onward
                reach = onward
        for b in range(len(share)):
            whole = stay[b] + pass_on[b]
            if whole > 0.0:
                share[b] = min(max(pass_on[b] / whole, 1e-6), 1.0 - 1e-6)
    return share


@njit(cache=True, nogil=True)
def fill_tally_rows(
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
