"""Counting what follows which context: a trie of contexts in sorted flat arrays, exact, no dictionary.

A context is read newest first: the last activity, then (where there are tags) the tag of the last event, then
the activities before it. A step with its context and what came is packed into one number, or a few where
there are many activities; sorted, the contexts of every length are runs of the same list, so one sort builds
all levels, and equal steps are counted once. Level k of the trie holds contexts of k symbols. Nodes are
numbered breadth first; the children of node m are child_start[m]:child_start[m + 1], their symbols rising;
what followed node m is pair_start[m]:pair_start[m + 1], targets rising.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from behavio.kernels.arrays import readonly
from behavio.kernels.ready import njit

WORD = 64
"""Bits of a packed number."""
SMALL = 4_096
"""Tags below this stand for themselves."""


@dataclass(frozen=True, slots=True, eq=False)
class Layout:
    """Where each symbol of a context stands in the packed words; 0 there: the context has ended before.

    word, shift, mask  uint64 (levels,)
    n_words            the target (what came) stands in the lowest bits of the last word
    """

    word: np.ndarray
    shift: np.ndarray
    mask: np.ndarray
    n_words: int

    @classmethod
    def of(cls, widths: list[int], target: int) -> Layout:
        """From the bits of each symbol, newest first, and those of the target."""
        word, left = 0, WORD
        place = []
        for width in widths:
            if width > left:
                word, left = word + 1, WORD
            left -= width
            place.append((word, left, (1 << width) - 1))
        if target > left:
            word += 1
        table = np.array(place, dtype=np.uint64).reshape(-1, 3)
        return cls(table[:, 0].copy(), table[:, 1].copy(), table[:, 2].copy(), word + 1)


def count_contexts(
    tokens: np.ndarray,
    at: np.ndarray,
    depth: np.ndarray,
    orders: int,
    size: int,
    tags: np.ndarray | None = None,
    periods: np.ndarray | None = None,
    period_bits: int = 0,
) -> tuple[np.ndarray, ...]:
    """child_start, node_symbol, pair_start, pair_target, pair_count, all int64, of what came at `at`.

    depth int64 (n,): activities of the case before each of them, at most `orders`; `size` tokens there are.
    tags  int64 (n_events,), none below 0: contexts then have a tag after the last activity (orders ≥ 1).
    A target is token << period_bits | period.
    """
    none = np.zeros(0, dtype=np.int64)
    codes, names = (none, none) if tags is None else ranked(tags)
    bits = max(int(size - 1).bit_length(), 1)
    widths = [bits] * orders
    if tags is not None:
        widths.insert(1, max(len(names).bit_length(), 1))
    layout = Layout.of(widths, bits + period_bits)
    given = [readonly(x, np.int64) for x in (codes, at, depth, none if periods is None else periods)]
    words = pack(
        readonly(tokens, np.int32), *given, period_bits, layout.word, layout.shift, layout.n_words, orders
    )
    if layout.n_words == 1:
        words[0].sort()
    elif layout.n_words == 2:
        order = np.argsort(words[0])
        words = words[:, order]
        sort_runs(words[0], words[1])
    else:
        words = np.ascontiguousarray(words[:, np.lexsort(words[::-1])])
    times = compress(words)
    words = words[:, : len(times)]
    where = layout.word, layout.shift, layout.mask
    deep, shared = compared(words, *where)
    mask, room = np.uint64((1 << bits + period_bits) - 1), size << period_bits
    target = (words[-1] & mask).astype(np.int64)
    sizes = trie_size(target, deep, shared, len(widths), room)
    return build_trie(words, *where, names, target, times, deep, shared, *sizes, room)


def ranked(tags: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """int64 codes from 0 in the order of the tags, and the tag of each code, rising."""
    low, high = (int(tags.min()), int(tags.max())) if len(tags) else (0, 0)
    if low >= 0 and high < SMALL:
        return tags, np.arange(high + 1)
    codes, names = numbered(readonly(tags, np.int64))
    order = np.argsort(names)
    rank = np.empty(len(names), dtype=np.int64)
    rank[order] = np.arange(len(names))
    return rank[codes], names[order]


@njit(cache=True, nogil=True)
def numbered(tags: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """int64 code of each tag in order of appearance, and the distinct tags; an open table that grows."""
    codes = np.empty(len(tags), dtype=np.int64)
    names = np.empty(1024, dtype=np.int64)
    table = np.full(4096, -1, dtype=np.int64)
    known, shift = 0, np.uint64(64 - 12)
    for i in range(len(tags)):
        slot = np.int64((np.uint64(tags[i]) * np.uint64(0x9E3779B97F4A7C15)) >> shift)
        while table[slot] >= 0 and names[table[slot]] != tags[i]:
            slot = (slot + 1) & (len(table) - 1)
        if table[slot] >= 0:
            codes[i] = table[slot]
            continue
        if known == len(names):
            more = np.empty(2 * known, dtype=np.int64)
            more[:known] = names
            names = more
        table[slot] = known
        names[known] = tags[i]
        codes[i] = known
        known += 1
        if 2 * known > len(table):
            shift -= np.uint64(2)
            table = np.full(4 * len(table), -1, dtype=np.int64)
            for code in range(known):
                slot = np.int64((np.uint64(names[code]) * np.uint64(0x9E3779B97F4A7C15)) >> shift)
                while table[slot] >= 0:
                    slot = (slot + 1) & (len(table) - 1)
                table[slot] = code
    return codes, names[:known].copy()


@njit(cache=True, nogil=True)
def pack(
    tokens: np.ndarray,
    codes: np.ndarray,
    at: np.ndarray,
    depth: np.ndarray,
    periods: np.ndarray,
    period_bits: int,
    word: np.ndarray,
    shift: np.ndarray,
    n_words: int,
    orders: int,
) -> np.ndarray:
    """uint64 (n_words, n): each step with its context, newest first, and what came; see Layout."""
    words = np.zeros((n_words, len(at)), dtype=np.uint64)
    tagged = len(word) > orders
    for i in range(len(at)):
        end = at[i]
        level = 0
        for back in range(1, depth[i] + 1):
            words[word[level], i] |= np.uint64(tokens[end - back]) << shift[level]
            level += 1
            if tagged and back == 1:
                words[word[level], i] |= np.uint64(codes[end - 1] + 1) << shift[level]
                level += 1
        target = np.uint64(tokens[end]) << np.uint64(period_bits)
        if len(periods):
            target |= np.uint64(periods[i])
        words[n_words - 1, i] |= target
    return words


@njit(cache=True, nogil=True)
def sort_runs(first: np.ndarray, second: np.ndarray) -> None:
    """Sort `second` inside each run of equal numbers of `first`, which is sorted."""
    low = 0
    for i in range(1, len(first) + 1):
        if i == len(first) or first[i] != first[low]:
            if i - low > 1:
                second[low:i].sort()
            low = i


@njit(cache=True, nogil=True)
def compress(words: np.ndarray) -> np.ndarray:
    """Move distinct columns of sorted words to the front; int64, how often each was there."""
    n = words.shape[1]
    times = np.empty(n, dtype=np.int64)
    last = -1
    for i in range(n):
        same = last >= 0
        for w in range(len(words)):
            same = same and words[w, i] == words[w, last]
        if same:
            times[last] += 1
            continue
        last += 1
        times[last] = 1
        for w in range(len(words)):
            words[w, last] = words[w, i]
    return times[: last + 1].copy()


@njit(cache=True, nogil=True)
def compared(
    words: np.ndarray, word: np.ndarray, shift: np.ndarray, mask: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """int16 (n,): symbols of each sorted context, and how many of them it shares with the one before it."""
    n = words.shape[1]
    deep, shared = np.zeros(n, dtype=np.int16), np.zeros(n, dtype=np.int16)
    for i in range(n):
        alike = i > 0
        for level in range(len(word)):
            here = (words[word[level], i] >> shift[level]) & mask[level]
            if here == 0:
                break
            deep[i] += 1
            if alike:
                alike = here == (words[word[level], i - 1] >> shift[level]) & mask[level]
                shared[i] += alike
    return deep, shared


@njit(cache=True, nogil=True)
def trie_size(
    target: np.ndarray, deep: np.ndarray, shared: np.ndarray, levels: int, room: int
) -> tuple[int, int]:
    """Nodes, and distinct (context, target) pairs of all levels; targets are below `room`."""
    stamp = np.full(room, -1, dtype=np.int64)
    pairs, node = 0, -1
    for level in range(levels + 1):
        for i in range(len(target)):
            if deep[i] < level:
                continue
            if i == 0 or shared[i] < level:
                node += 1
            if stamp[target[i]] != node:
                stamp[target[i]] = node
                pairs += 1
    return node + 1, pairs


@njit(cache=True, nogil=True)
def build_trie(
    words: np.ndarray,
    word: np.ndarray,
    shift: np.ndarray,
    mask: np.ndarray,
    names: np.ndarray,
    target: np.ndarray,
    times: np.ndarray,
    deep: np.ndarray,
    shared: np.ndarray,
    n_nodes: int,
    pairs: int,
    room: int,
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """The five arrays of `count_contexts` from sorted contexts, `names` being the tag of each code."""
    n_nodes = max(n_nodes, 1)
    child_start = np.zeros(n_nodes + 1, dtype=np.int64)
    node_symbol = np.zeros(n_nodes, dtype=np.int64)
    pair_start = np.zeros(n_nodes + 1, dtype=np.int64)
    pair_target = np.empty(pairs, dtype=np.int64)
    pair_count = np.empty(pairs, dtype=np.int64)
    parent = np.zeros(len(target), dtype=np.int32)
    counts = np.zeros(room, dtype=np.int64)
    touched = np.empty(room, dtype=np.int64)
    node, filled = -1, 0
    for level in range(len(word) + 1):
        seen = 0
        for i in range(len(target)):
            if deep[i] < level:
                continue
            if i == 0 or shared[i] < level:
                filled = _close(node, seen, filled, touched, counts, pair_start, pair_target, pair_count)
                seen = 0
                node += 1
                if level > 0:
                    here = np.int64((words[word[level - 1], i] >> shift[level - 1]) & mask[level - 1])
                    node_symbol[node] = names[here - 1] if level == 2 and len(names) else here
                    child_start[parent[i] + 1] += 1
            parent[i] = node
            if counts[target[i]] == 0:
                touched[seen] = target[i]
                seen += 1
            counts[target[i]] += times[i]
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
def find(symbol: int, low: int, high: int, rising: np.ndarray) -> int:
    """Where `symbol` stands in rising[low:high], -1 when it is not there."""
    end = high
    while low < high:
        middle = (low + high) >> 1
        if rising[middle] < symbol:
            low = middle + 1
        else:
            high = middle
    if low < end and rising[low] == symbol:
        return low
    return -1


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
    """Fill `path` with the nodes of the prefix tokens[start:end], longest last; the longest level seen."""
    path[0] = 0
    found = 0
    there = min(levels, end - start + (1 if tagged else 0))
    while found < there:
        node = path[found]
        if not tagged or found == 0:
            wanted = np.int64(tokens[end - found - 1])
        elif found == 1:
            wanted = np.int64(tags[end - 1])
        else:
            wanted = np.int64(tokens[end - found])
        child = find(wanted, child_start[node], child_start[node + 1], node_symbol)
        if child < 0 or total[child] <= 0:
            break
        found += 1
        path[found] = child
    return found
