"""Contexts of steps as sorted packed numbers: what counting models keep, merge and add to.

A context is read newest first: the last activity, then (where there are tags) the tag of the last event, then
the activities before it. A step with its context and what came is packed into one number, or a few where
there are many activities; sorted, the contexts of every length are runs of the same list, so one sort stands
for all lengths, and equal steps are counted once. Nothing is kept for each context: tables of the contexts
that are asked for are made from the list, see behavio.kernels.tables.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from behavio.kernels.arrays import ones, readonly
from behavio.kernels.ready import njit

WORD = 64
"""Bits of a packed number."""
SMALL = 4_096
"""Tags below this are ranked by a table of all of them."""
MANY = 50_000
"""More distinct tags than this are sorted, since a table of them is too large to be close by."""


@dataclass(frozen=True, slots=True, eq=False)
class Layout:
    """Where each symbol of a context stands in the packed words; 0 there: the context has ended before.

    word, shift, mask  uint64 (levels,)
    n_words            the target (token << period_bits | period) stands in the lowest bits of the last word
    bits               bits of a token
    """

    word: np.ndarray
    shift: np.ndarray
    mask: np.ndarray
    n_words: int
    bits: int
    period_bits: int

    @classmethod
    def of(cls, orders: int, size: int, period_bits: int = 0, tags: int | None = None) -> Layout:
        """For contexts of `orders` activities of a vocabulary of `size`, and one of so many tags."""
        bits = max(int(size - 1).bit_length(), 1)
        widths = [bits] * orders
        if tags is not None:
            widths.insert(1, max(tags.bit_length(), 1))
        word, left = 0, WORD
        place = []
        for width in widths:
            if width > left:
                word, left = word + 1, WORD
            left -= width
            place.append((word, left, (1 << width) - 1))
        if bits + period_bits > left:
            word += 1
        table = np.array(place, dtype=np.uint64).reshape(-1, 3)
        return cls(table[:, 0].copy(), table[:, 1].copy(), table[:, 2].copy(), word + 1, bits, period_bits)

    @property
    def where(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """As the kernels take it."""
        return self.word, self.shift, self.mask

    @property
    def level_at(self) -> np.ndarray:
        """int8 (n_words, WORD): which symbol each bit belongs to, the newest is 0; -1: none."""
        found = np.full((self.n_words, WORD), -1, dtype=np.int8)
        for level, (word, shift, mask) in enumerate(zip(*(x.tolist() for x in self.where), strict=True)):
            found[word, shift : shift + mask.bit_length()] = level
        return found

    @property
    def target(self) -> int:
        """The bits of a target, set."""
        return (1 << self.bits + self.period_bits) - 1


def distinct(words: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Columns of words uint64 (n_words, n), sorted and each once, and int64 how often each was there.

    `words` are used up.
    """
    if len(words) == 1:
        words[0].sort()
    elif len(words) == 2:
        words = taken(words, np.argsort(words[0]))
        sort_runs(words[0], words[1])
    else:
        words = taken(words, np.lexsort(words[::-1]))
    times = compress(words)
    return (words if len(times) == words.shape[1] else words[:, : len(times)].copy()), times


def ranked(tags: np.ndarray, at: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """int64 (n,) codes of tags[at - 1], from 0 in the order of the tags, and the tag of each code, rising."""
    tags, at = readonly(tags, np.int64), readonly(at, np.int64)
    rank = small_ranks(tags, at)
    if len(rank):
        return recoded(tags, at, rank), np.flatnonzero(np.diff(rank, append=rank[-1] + 1))
    codes, names = numbered(tags, at, MANY)
    if len(names) > MANY:
        given = tags[at - 1]
        order = np.argsort(given)
        codes, names = in_order(given, order)
        return codes, names
    order = np.argsort(names)
    rank = np.empty(len(names), dtype=np.int64)
    rank[order] = np.arange(len(names))
    return recoded(codes, np.arange(1, len(codes) + 1), rank), names[order]


@njit(cache=True, nogil=True)
def small_ranks(tags: np.ndarray, at: np.ndarray) -> np.ndarray:
    """int64: the code of each tag up to the largest of tags[at - 1]; none where one is not below SMALL."""
    there, most = np.zeros(SMALL + 1, dtype=np.int64), -1
    for i in range(len(at)):
        tag = tags[at[i] - 1]
        if tag < 0 or tag >= SMALL:
            return there[:0]
        there[tag + 1] = 1
        most = max(most, tag)
    return np.cumsum(there)[: most + 1]


@njit(cache=True, nogil=True)
def recoded(tags: np.ndarray, at: np.ndarray, rank: np.ndarray) -> np.ndarray:
    """rank[tags[at - 1]], int64 (n,)."""
    codes = np.empty(len(at), dtype=np.int64)
    for i in range(len(at)):
        codes[i] = rank[tags[at[i] - 1]]
    return codes


@njit(cache=True, nogil=True)
def in_order(tags: np.ndarray, order: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """int64 (n,) rank of each tag, and the distinct tags, from the order that sorts them."""
    codes, names = np.empty(len(tags), dtype=np.int64), np.empty(len(tags), dtype=np.int64)
    rank = -1
    for i in range(len(order)):
        tag = tags[order[i]]
        if rank < 0 or tag != names[rank]:
            rank += 1
            names[rank] = tag
        codes[order[i]] = rank
    return codes, names[: rank + 1].copy()


@njit(cache=True, nogil=True)
def numbered(tags: np.ndarray, at: np.ndarray, most: int) -> tuple[np.ndarray, np.ndarray]:
    """int64 code of tags[at - 1] in order of appearance, and the distinct tags; an open table that grows.

    Stops where there are more than `most` of them.
    """
    codes = np.empty(len(at), dtype=np.int64)
    names = np.empty(1024, dtype=np.int64)
    table = np.full(4096, -1, dtype=np.int64)
    known, shift = 0, np.uint64(64 - 12)
    for i in range(len(at)):
        tag = tags[at[i] - 1]
        slot = np.int64((np.uint64(tag) * np.uint64(0x9E3779B97F4A7C15)) >> shift)
        while table[slot] >= 0 and names[table[slot]] != tag:
            slot = (slot + 1) & (len(table) - 1)
        if table[slot] >= 0:
            codes[i] = table[slot]
            continue
        if known == len(names):
            more = np.empty(2 * known, dtype=np.int64)
            more[:known] = names
            names = more
        table[slot] = known
        names[known] = tag
        codes[i] = known
        known += 1
        if known > most:
            break
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
    """uint64 (n_words, n): each step with its context, newest first, and what came; see Layout.

    at     int64 (n,): tokens[at] is what came after depth int64 (n,) activities of its case, `orders` at most
    codes  int64 (n,) or none: the rank of the tag of the event before, and periods int64 (n,) or none
    """
    words = np.zeros((n_words, len(at)), dtype=np.uint64)
    tagged = len(word) > orders
    for i in range(len(at)):
        end, level, w, packed = at[i], 0, np.uint64(0), np.uint64(0)
        for back in range(1, min(depth[i], orders) + 1):
            if word[level] != w:
                words[w, i] = packed
                w, packed = word[level], np.uint64(0)
            packed |= np.uint64(tokens[end - back]) << shift[level]
            level += 1
            if tagged and back == 1:
                if word[level] != w:
                    words[w, i] = packed
                    w, packed = word[level], np.uint64(0)
                packed |= np.uint64(codes[i] + 1) << shift[level]
                level += 1
        words[w, i] = packed
        target = np.uint64(tokens[end]) << np.uint64(period_bits)
        if len(periods):
            target |= np.uint64(periods[i])
        words[n_words - 1, i] |= target
    return words


@njit(cache=True, nogil=True)
def taken(words: np.ndarray, order: np.ndarray) -> np.ndarray:
    """Columns in another order."""
    result = np.empty_like(words)
    for w in range(len(words)):
        for i in range(len(order)):
            result[w, i] = words[w, order[i]]
    return result


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
    return times if last + 1 == n else times[: last + 1].copy()


@njit(cache=True, nogil=True)
def compared(words: np.ndarray, level_at: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """int8 (n,): symbols of each sorted context, and how many of them it shares with the one before it.

    Read off the lowest bit that is set, and the highest in which two neighbours differ.
    """
    n_words, n = words.shape
    deep, shared = np.zeros(n, dtype=np.int8), np.zeros(n, dtype=np.int8)
    one = np.uint64(1)
    for w in range(n_words):  # of the last word in which there is a symbol, and the first that differs
        symbols, here = np.uint64(0), level_at[w]
        for bit in range(WORD):
            symbols |= np.uint64(here[bit] >= 0) << np.uint64(bit)
        for i in range(n):
            x = words[w, i] & symbols
            if x:
                deep[i] = here[ones((x & (~x + one)) - one)] + 1
        if w == n_words - 1:
            for i in range(1, n):
                shared[i] = deep[i]
    for w in range(n_words - 1, -1, -1):
        here = level_at[w]
        symbols = np.uint64(0)
        for bit in range(WORD):
            symbols |= np.uint64(here[bit] >= 0) << np.uint64(bit)
        for i in range(1, n):
            x = (words[w, i] ^ words[w, i - 1]) & symbols
            if x:
                for by in (1, 2, 4, 8, 16, 32):
                    x |= x >> np.uint64(by)
                shared[i] = here[ones(x) - 1]
    return deep, shared


@njit(cache=True, nogil=True)
def laid_anew(
    words: np.ndarray,
    word: np.ndarray,
    shift: np.ndarray,
    mask: np.ndarray,
    target: int,
    period_bits: int,
    new_word: np.ndarray,
    new_shift: np.ndarray,
    n_words: int,
    tokens: np.ndarray,
    codes: np.ndarray,
    orders: int,
) -> np.ndarray:
    """The same steps in another layout, `tokens` and `codes` being the new number of each token and tag.

    Both rise, so what was sorted stays sorted.
    """
    last, few = words.shape[0] - 1, np.uint64(period_bits)
    result = np.zeros((n_words, words.shape[1]), dtype=np.uint64)
    for i in range(words.shape[1]):
        for level in range(len(word)):
            here = np.int64((words[word[level], i] >> shift[level]) & mask[level])
            if here == 0:
                break
            new = codes[here - 1] + 1 if level == 1 and len(word) > orders else tokens[here]
            result[new_word[level], i] |= np.uint64(new) << new_shift[level]
        came = words[last, i] & np.uint64(target)
        period = came & ((np.uint64(1) << few) - np.uint64(1))
        result[n_words - 1, i] |= np.uint64(tokens[np.int64(came >> few)]) << few | period
    return result


@njit(cache=True, nogil=True)
def merged(
    a: np.ndarray, a_times: np.ndarray, b: np.ndarray, b_times: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Two sorted lists of distinct columns as one, and how often each was there."""
    n_words, most = a.shape[0], a.shape[1] + b.shape[1]
    words, times = np.empty((n_words, most), dtype=np.uint64), np.empty(most, dtype=np.int64)
    i, j, filled = 0, 0, 0
    while i < a.shape[1] or j < b.shape[1]:
        left, right = i < a.shape[1], j < b.shape[1]
        if left and right:
            for w in range(n_words):
                if a[w, i] != b[w, j]:
                    left, right = a[w, i] < b[w, j], b[w, j] < a[w, i]
                    break
        for w in range(n_words):
            words[w, filled] = a[w, i] if left else b[w, j]
        times[filled] = (a_times[i] if left else 0) + (b_times[j] if right else 0)
        i += left
        j += right
        filled += 1
    return words[:, :filled].copy(), times[:filled].copy()
