"""Given patterns counted in traces, as they are and shuffled: a trie of patterns walked over bit sets.

The places of a trace are bits. A pattern's ends are the places of its last item within reach of the ends of
its prefix; where they are none, everything below in the trie is skipped.
"""

from __future__ import annotations

import numpy as np
from numba import njit

DEEP = np.uint64(0x03F79D71B4CB0A89)
LOWEST = np.zeros(64, np.int64)
for _bit in range(64):
    LOWEST[((1 << _bit) * 0x03F79D71B4CB0A89 % (1 << 64)) >> 58] = _bit


@njit(cache=True, nogil=True)
def build_trie(
    tokens: np.ndarray, offsets: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Patterns (in lexicographic order) as a trie in depth-first order.

    Returns per node its item, its depth, the node after everything below it; and each pattern's node.
    """
    items = np.empty(len(tokens), np.int32)
    depths = np.empty(len(tokens), np.int64)
    after = np.empty(len(tokens), np.int64)
    node_of = np.empty(len(offsets) - 1, np.int64)
    longest = 1
    for p in range(len(offsets) - 1):
        longest = max(longest, offsets[p + 1] - offsets[p])
    path = np.empty(longest, np.int64)
    n_nodes, open_depth = 0, 0
    for p in range(len(offsets) - 1):
        first, length = offsets[p], offsets[p + 1] - offsets[p]
        shared = 0
        while shared < min(open_depth, length) and items[path[shared]] == tokens[first + shared]:
            shared += 1
        for depth in range(shared, open_depth):
            after[path[depth]] = n_nodes
        for depth in range(shared, length):
            items[n_nodes] = tokens[first + depth]
            depths[n_nodes] = depth
            path[depth] = n_nodes
            n_nodes += 1
        open_depth = length
        node_of[p] = path[length - 1]
    for depth in range(open_depth):
        after[path[depth]] = n_nodes
    return items[:n_nodes].copy(), depths[:n_nodes].copy(), after[:n_nodes].copy(), node_of


@njit(cache=True, nogil=True)
def _spread(ends: np.ndarray, window: np.ndarray, shift: int, words: int, within: np.ndarray) -> None:
    """Mark every place in the window after one of the ends; windows start and end in rising order."""
    for w in range(words):
        within[w] = np.uint64(0)
    done = np.int64(0)
    for w in range(words):
        rest = ends[w]
        while rest != np.uint64(0):
            low = rest & (~rest + np.uint64(1))
            rest ^= low
            end = 64 * w + LOWEST[np.int64((low * DEEP) >> np.uint64(58))]
            first, last = max(end + 1, done), window[shift + end] - shift
            while first < last:
                word, bit = first >> 6, first & 63
                n = min(64 - bit, last - first)
                ones = ~np.uint64(0) if n == 64 else (np.uint64(1) << np.uint64(n)) - np.uint64(1)
                within[word] |= ones << np.uint64(bit)
                first += n
            done = max(done, last)


@njit(cache=True, nogil=True)
def _match(
    trie_item: np.ndarray,
    trie_depth: np.ndarray,
    trie_after: np.ndarray,
    masks: np.ndarray,
    window: np.ndarray,
    shift: int,
    words: int,
    allowed: np.ndarray,
    ends: np.ndarray,
    hits: np.ndarray,
) -> int:
    """Nodes of the trie that the trace holds, written to hits; returns how many."""
    n_hits = 0
    node = 0
    while node < len(trie_item):
        depth, item = trie_depth[node], trie_item[node]
        some = np.uint64(0)
        for w in range(words):
            ends[w] = masks[item, w] & (allowed[depth, w] if depth > 0 else ~np.uint64(0))
            some |= ends[w]
        if some == np.uint64(0):
            node = trie_after[node]
            continue
        hits[n_hits] = node
        n_hits += 1
        if trie_after[node] > node + 1:
            _spread(ends, window, shift, words, allowed[depth + 1])
        node += 1
    return n_hits


@njit(cache=True, nogil=True)
def _mark(codes: np.ndarray, masks: np.ndarray, words: int, clear: bool) -> None:
    """Set the bit of every place in the mask of its item; or empty the masks of these items."""
    for i in range(len(codes)):
        if codes[i] >= 0:
            if clear:
                for w in range(words):
                    masks[codes[i], w] = np.uint64(0)
            else:
                masks[codes[i], i >> 6] |= np.uint64(1) << np.uint64(i & 63)


@njit(cache=True, nogil=True)
def _room(offsets: np.ndarray, first: int, last: int, depths: np.ndarray) -> tuple[int, int]:
    """Words that the longest trace takes, and levels that the walk needs."""
    longest, deepest = np.int64(1), np.int64(0)
    for c in range(first, last):
        longest = max(longest, offsets[c + 1] - offsets[c])
    for depth in depths:
        deepest = max(deepest, depth)
    return int(longest + 63) >> 6, int(deepest) + 2


@njit(cache=True, nogil=True)
def count_by_group(
    codes: np.ndarray,
    offsets: np.ndarray,
    window: np.ndarray,
    trie: tuple[np.ndarray, np.ndarray, np.ndarray],
    n_codes: int,
    group: np.ndarray,
    n_groups: int,
) -> np.ndarray:
    """In how many traces of each group each node of the trie occurs, int64 (n_nodes, n_groups).

    codes int32 (n_events,): item of the trie, -1 for any other activity; group int64 (n_traces,), -1: none.
    """
    size, deepest = _room(offsets, 0, len(offsets) - 1, trie[1])
    masks = np.zeros((n_codes, size), np.uint64)
    allowed, ends = np.zeros((deepest, size), np.uint64), np.zeros(size, np.uint64)
    hits = np.empty(len(trie[0]), np.int64)
    counts = np.zeros((len(trie[0]), n_groups), np.int64)
    for c in range(len(offsets) - 1):
        if group[c] < 0:
            continue
        first, last = offsets[c], offsets[c + 1]
        words = (last - first + 63) >> 6
        _mark(codes[first:last], masks, words, False)
        n = _match(trie[0], trie[1], trie[2], masks, window, first, words, allowed, ends, hits)
        _mark(codes[first:last], masks, words, True)
        for h in range(n):
            counts[hits[h], group[c]] += 1
    return counts


@njit(cache=True, nogil=True)
def _random(state: np.uint64) -> tuple[np.uint64, np.uint64]:
    """splitmix64: next state and 64 random bits."""
    state += np.uint64(0x9E3779B97F4A7C15)
    mixed = (state ^ (state >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return state, mixed ^ (mixed >> np.uint64(31))


@njit(cache=True, nogil=True)
def _shuffle(codes: np.ndarray, state: np.uint64) -> np.uint64:
    """Fisher–Yates; the bias of a 32-bit draw is below 1 in a million for any trace."""
    for i in range(len(codes) - 1, 0, -1):
        state, bits = _random(state)
        j = np.int64(((bits >> np.uint64(32)) * np.uint64(i + 1)) >> np.uint64(32))
        keep = codes[i]
        codes[i] = codes[j]
        codes[j] = keep
    return state


@njit(cache=True, nogil=True)
def count_by_chance(
    codes: np.ndarray,
    offsets: np.ndarray,
    window: np.ndarray,
    trie: tuple[np.ndarray, np.ndarray, np.ndarray],
    n_codes: int,
    cases: tuple[int, int],
    n_shuffles: int,
    seed: int,
) -> np.ndarray:
    """What shuffling the activities within each trace (times stay) makes of each node's support.

    cases  first and last (exclusive) trace to count; a trace's shuffles depend on seed and its number only
    Returns float64 (5, n_nodes), summed over traces, where x is 1 if the trace holds the node and p is the
    share of its shuffles that do: x, p, variance of x by chance, p squared, x times p (last two unbiased).
    """
    size, deepest = _room(offsets, cases[0], cases[1], trie[1])
    masks = np.zeros((n_codes, size), np.uint64)
    allowed, ends = np.zeros((deepest, size), np.uint64), np.zeros(size, np.uint64)
    hits = np.empty(len(trie[0]), np.int64)
    often, real = np.zeros(len(trie[0]), np.int64), np.zeros(len(trie[0]), np.int64)
    touched = np.empty(len(trie[0]), np.int64)
    sums = np.zeros((5, len(trie[0])))
    for c in range(cases[0], cases[1]):
        first, last = offsets[c], offsets[c + 1]
        words = (last - first + 63) >> 6
        own = codes[first:last].copy()
        mixed = False
        for i in range(1, len(own)):
            mixed |= own[i] != own[0]
        _mark(own, masks, words, False)
        n = _match(trie[0], trie[1], trie[2], masks, window, first, words, allowed, ends, hits)
        _mark(own, masks, words, True)
        n_touched = 0
        for h in range(n):
            node = hits[h]
            sums[0, node] += 1.0
            if mixed:
                real[node] = 1
                touched[n_touched] = node
                n_touched += 1
            else:  # every order is the same order
                sums[1, node] += 1.0
                sums[3, node] += 1.0
                sums[4, node] += 1.0
        if not mixed:
            continue
        state = np.uint64(seed) * np.uint64(0xD1342543DE82EF95) + np.uint64(c)
        state = _random(_random(state)[1])[1]
        for _ in range(n_shuffles):
            state = _shuffle(own, state)
            _mark(own, masks, words, False)
            n = _match(trie[0], trie[1], trie[2], masks, window, first, words, allowed, ends, hits)
            _mark(own, masks, words, True)
            for h in range(n):
                node = hits[h]
                if often[node] == 0 and real[node] == 0:
                    touched[n_touched] = node
                    n_touched += 1
                often[node] += 1
        for t in range(n_touched):
            node = touched[t]
            p = often[node] / n_shuffles
            variance = p * (1.0 - p) * n_shuffles / (n_shuffles - 1)
            sums[1, node] += p
            sums[2, node] += variance
            sums[3, node] += p * p - variance / n_shuffles
            sums[4, node] += p * real[node]
            often[node] = real[node] = 0
    return sums
