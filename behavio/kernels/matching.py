"""Given patterns counted in traces, as they are and shuffled: a trie of patterns walked over bit sets.

The moments of a trace are bits. A pattern's ends are the moments of its last item within reach of the ends
of its prefix; where they are none, everything below in the trie is skipped. Where the whole pattern has a
limit, it is walked from each of its starts.

Arrays that travel together:
log    codes int32 (n_events,): item of the trie, -1 for any other activity; moment_of int64 (n_events,);
       offsets of events and of moments, int64 (n_traces + 1,)
reach  first, last, span int64 (n_moments,) from `windows`
trie   items, depths, node after everything below, from `build_trie`
"""

from __future__ import annotations

import numpy as np

from behavio.kernels.arrays import ones
from behavio.kernels.ready import njit


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
def _spread(ends: np.ndarray, reach: tuple, shift: int, words: int, limit: int, within: np.ndarray) -> None:
    """Mark every moment before `limit` in the windows of the ends; windows start and end in rising order."""
    for w in range(words):
        within[w] = np.uint64(0)
    done = np.int64(0)
    for w in range(words):
        rest = ends[w]
        while rest != np.uint64(0):
            low = rest & (~rest + np.uint64(1))
            rest ^= low
            end = shift + 64 * w + ones(low - np.uint64(1))
            first, last = max(reach[0][end] - shift, done), min(reach[1][end] - shift, limit)
            while first < last:
                word, bit = first >> 6, first & 63
                n = min(64 - bit, last - first)
                run = ~np.uint64(0) if n == 64 else (np.uint64(1) << np.uint64(n)) - np.uint64(1)
                within[word] |= run << np.uint64(bit)
                first += n
            done = max(done, last)


@njit(cache=True, nogil=True)
def _walk(
    trie: tuple,
    nodes: tuple[int, int],
    start: int,
    masks: np.ndarray,
    reach: tuple,
    shift: int,
    words: int,
    room: tuple,
    n_hits: int,
) -> int:
    """Walk nodes[0] to nodes[1] of the trie from one start (a moment), or from every start (-1).

    room  allowed uint64 (depth, words), ends (words,), hits int64 (n_nodes,), earliest int64 (n_nodes,): the
          first moment in which a pattern ends, -1 while not found
    """
    allowed, ends, hits, earliest = room
    limit = 64 * words if start < 0 else reach[2][shift + start] - shift
    node = nodes[0]
    while node < nodes[1]:
        depth, item = trie[1][node], trie[0][node]
        found = -1
        for w in range(words):
            ends[w] = masks[item, w]
            if depth > 0:
                ends[w] &= allowed[depth, w]
            elif start >= 0:
                ends[w] = np.uint64(1) << np.uint64(start & 63) if w == start >> 6 else np.uint64(0)
            if found < 0 and ends[w] != np.uint64(0):
                found = 64 * w + ones((ends[w] & (~ends[w] + np.uint64(1))) - np.uint64(1))
        if found < 0:
            node = trie[2][node]
            continue
        if earliest[node] < 0:
            hits[n_hits] = node
            n_hits += 1
        if earliest[node] < 0 or found < earliest[node]:
            earliest[node] = found
        if trie[2][node] > node + 1:
            _spread(ends, reach, shift, words, limit, allowed[depth + 1])
        node += 1
    return n_hits


@njit(cache=True, nogil=True)
def _match(
    trie: tuple, masks: np.ndarray, reach: tuple, shift: int, words: int, room: tuple, spanned: bool
) -> int:
    """Nodes of the trie that the trace holds, written to hits, and where they first end; returns how many."""
    n_nodes = len(trie[0])
    if not spanned:
        return _walk(trie, (0, n_nodes), -1, masks, reach, shift, words, room, 0)
    n_hits, root = 0, 0
    while root < n_nodes:
        nodes = (root, trie[2][root])
        for w in range(words):
            rest = masks[trie[0][root], w]
            while rest != np.uint64(0):
                low = rest & (~rest + np.uint64(1))
                rest ^= low
                start = 64 * w + ones(low - np.uint64(1))
                n_hits = _walk(trie, nodes, start, masks, reach, shift, words, room, n_hits)
        root = nodes[1]
    return n_hits


@njit(cache=True, nogil=True)
def _mark(codes: np.ndarray, moments: np.ndarray, masks: np.ndarray, words: int, clear: bool) -> None:
    """Set the bit of every event's moment in the mask of its item; or empty the masks of these items."""
    for i in range(len(codes)):
        if codes[i] >= 0:
            if clear:
                for w in range(words):
                    masks[codes[i], w] = np.uint64(0)
            else:
                masks[codes[i], moments[i] >> 6] |= np.uint64(1) << np.uint64(moments[i] & 63)


@njit(cache=True, nogil=True)
def _room(log: tuple, cases: tuple[int, int], trie: tuple, n_codes: int) -> tuple:
    """Masks for the longest trace, and what the walk needs."""
    longest, deepest = np.int64(1), np.int64(0)
    for c in range(cases[0], cases[1]):
        longest = max(longest, log[3][c + 1] - log[3][c])
    for depth in trie[1]:
        deepest = max(deepest, depth)
    words = (longest + 63) >> 6
    hits, earliest = np.empty(len(trie[0]), np.int64), np.full(len(trie[0]), -1, np.int64)
    allowed, ends = np.zeros((deepest + 2, words), np.uint64), np.zeros(words, np.uint64)
    return np.zeros((n_codes, words), np.uint64), (allowed, ends, hits, earliest)


@njit(cache=True, nogil=True)
def _one_trace(
    log: tuple, reach: tuple, trie: tuple, case: int, masks: np.ndarray, room: tuple, spanned: bool
) -> int:
    """Match one trace as it is; the caller clears room's earliest at the hits."""
    first, last, shift = log[2][case], log[2][case + 1], log[3][case]
    words = (log[3][case + 1] - shift + 63) >> 6
    moments = log[1][first:last] - shift
    _mark(log[0][first:last], moments, masks, words, False)
    n = _match(trie, masks, reach, shift, words, room, spanned)
    _mark(log[0][first:last], moments, masks, words, True)
    return n


@njit(cache=True, nogil=True)
def count_by_group(
    log: tuple, reach: tuple, trie: tuple, n_codes: int, group: np.ndarray, n_groups: int, spanned: bool
) -> np.ndarray:
    """In how many traces of each group each node of the trie occurs, int64 (n_nodes, n_groups).

    group int64 (n_traces,), -1: none
    """
    masks, room = _room(log, (0, len(group)), trie, n_codes)
    counts = np.zeros((len(trie[0]), n_groups), np.int64)
    for c in range(len(group)):
        if group[c] < 0:
            continue
        for h in range(_one_trace(log, reach, trie, c, masks, room, spanned)):
            counts[room[2][h], group[c]] += 1
            room[3][room[2][h]] = -1
    return counts


@njit(cache=True, nogil=True)
def first_ends(
    log: tuple, reach: tuple, trie: tuple, n_codes: int, wanted: np.ndarray, spanned: bool
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Every trace that holds each wanted node: nodes, traces, and the moment in which it first ends."""
    n_traces = len(log[2]) - 1
    masks, room = _room(log, (0, n_traces), trie, n_codes)
    size, n = 1024, 0
    found = np.empty((size, 3), np.int64)
    for c in range(n_traces):
        for h in range(_one_trace(log, reach, trie, c, masks, room, spanned)):
            node = room[2][h]
            if wanted[node]:
                if n == size:
                    size *= 2
                    larger = np.empty((size, 3), np.int64)
                    larger[:n] = found
                    found = larger
                found[n, 0], found[n, 1], found[n, 2] = node, c, log[3][c] + room[3][node]
                n += 1
            room[3][node] = -1
    return found[:n, 0].copy(), found[:n, 1].copy(), found[:n, 2].copy()


@njit(cache=True, nogil=True)
def count_outcomes(
    log: tuple,
    reach: tuple,
    trie: tuple,
    n_codes: int,
    stratum: np.ndarray,
    label: np.ndarray,
    compared: np.ndarray,
    n_strata: int,
    spanned: bool,
) -> np.ndarray:
    """What follows the first end of each node, and what followed the moments it may not be compared with.

    stratum   int64 (n_moments,)
    label     int8 (n_moments,): 1 the outcome follows in time, 0 it does not, -1 not known
    compared  bool (n_moments,): moments that stand for cases without the pattern
    Returns int64 (n_nodes, n_strata, 4): ends with a known label, of them with the outcome; compared moments
    at or after an end, of them with the outcome.
    """
    n_traces = len(log[2]) - 1
    masks, room = _room(log, (0, n_traces), trie, n_codes)
    counts = np.zeros((len(trie[0]), n_strata, 4), np.int64)
    chosen = np.empty(room[0].shape[1] * 64, np.int64)
    for c in range(n_traces):
        n_chosen = 0
        for m in range(log[3][c], log[3][c + 1]):
            if compared[m] and label[m] >= 0:
                chosen[n_chosen] = m
                n_chosen += 1
        for h in range(_one_trace(log, reach, trie, c, masks, room, spanned)):
            node = room[2][h]
            end = log[3][c] + room[3][node]
            room[3][node] = -1
            if label[end] >= 0:
                counts[node, stratum[end], 0] += 1
                counts[node, stratum[end], 1] += label[end]
            for k in range(n_chosen - 1, -1, -1):
                if chosen[k] < end:
                    break
                counts[node, stratum[chosen[k]], 2] += 1
                counts[node, stratum[chosen[k]], 3] += label[chosen[k]]
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
def _one_order(log: tuple, case: int) -> bool:
    """True when putting the moments of the trace in another order changes nothing."""
    first, last = log[2][case], log[2][case + 1]
    if log[3][case + 1] - log[3][case] < last - first:
        return bool(log[3][case + 1] - log[3][case] == 1)
    for i in range(first + 1, last):  # noqa: SIM110 – numba compiles loops, not generators
        if log[0][i] != log[0][first]:
            return False
    return True


@njit(cache=True, nogil=True)
def _add_chance(
    sums: np.ndarray, touched: np.ndarray, often: np.ndarray, real: np.ndarray, n_shuffles: int
) -> None:
    """Add one trace to the sums of `count_by_chance` and forget it."""
    for node in touched:
        p = often[node] / n_shuffles
        variance = p * (1.0 - p) * n_shuffles / (n_shuffles - 1)
        sums[1, node] += p
        sums[2, node] += variance
        sums[3, node] += p * p - variance / n_shuffles
        sums[4, node] += p * real[node]
        often[node] = real[node] = 0


@njit(cache=True, nogil=True)
def count_by_chance(
    log: tuple,
    reach: tuple,
    trie: tuple,
    n_codes: int,
    cases: tuple[int, int],
    n_shuffles: int,
    seed: int,
    spanned: bool,
) -> np.ndarray:
    """What shuffling the moments of each trace (times stay) makes of each node's support.

    cases  first and last (exclusive) trace to count; a trace's shuffles depend on seed and its number only
    Returns float64 (5, n_nodes), summed over traces, where x is 1 if the trace holds the node and p is the
    share of its shuffles that do: x, p, variance of x by chance, p squared, x times p (last two unbiased).
    """
    masks, room = _room(log, cases, trie, n_codes)
    hits, earliest = room[2], room[3]
    often, real = np.zeros(len(trie[0]), np.int64), np.zeros(len(trie[0]), np.int64)
    touched = np.empty(len(trie[0]), np.int64)
    sums = np.zeros((5, len(trie[0])))
    for c in range(cases[0], cases[1]):
        first, last, shift = log[2][c], log[2][c + 1], log[3][c]
        words, codes = (log[3][c + 1] - shift + 63) >> 6, log[0][first:last]
        alike = _one_order(log, c)
        n_touched = _one_trace(log, reach, trie, c, masks, room, spanned)
        for h in range(n_touched):
            node = touched[h] = hits[h]
            earliest[node] = -1
            sums[0, node] += 1.0
            real[node] = 1
            if alike:
                often[node] = n_shuffles
        order = np.arange(log[3][c + 1] - shift)
        state = np.uint64(seed) * np.uint64(0xD1342543DE82EF95) + np.uint64(c)
        state = _random(_random(state)[1])[1]
        for _ in range(0 if alike else n_shuffles):
            state = _shuffle(order, state)
            moments = order[log[1][first:last] - shift]
            _mark(codes, moments, masks, words, False)
            n = _match(trie, masks, reach, shift, words, room, spanned)
            _mark(codes, moments, masks, words, True)
            for h in range(n):
                node = hits[h]
                earliest[node] = -1
                if often[node] == 0 and real[node] == 0:
                    touched[n_touched] = node
                    n_touched += 1
                often[node] += 1
        _add_chance(sums, touched[:n_touched], often, real, n_shuffles)
    return sums
