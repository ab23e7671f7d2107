"""Equal traces found and ordered, exactly: a hash only proposes, every token is compared."""

from __future__ import annotations

import numpy as np

from behavio.kernels.ready import njit, ready

_ZERO, _ONE, _WIDE = np.uint64(0), np.uint64(1), np.uint64(16)
_ODD = np.uint64(0x9E3779B97F4A7C15)
_FACTORS = np.random.default_rng(20260101).integers(0, 2**64, 16, dtype=np.uint64) | np.uint64(1)


@njit(cache=True, nogil=True)
def _hash(tokens: np.ndarray, first: np.uint64, last: np.uint64) -> np.uint64:
    """Hash of one trace, sixteen tokens at a time: a sum of products with odd numbers, then mixed.

    Most traces are short: tokens past the end are read and counted as 0, so that one vector step without a
    branch does where the array goes on; only at its very end are they taken one by one.
    """
    room, mixed, i = np.uint64(len(tokens)), last - first, first
    while i < last:
        left, total = last - i, _ZERO
        if i + _WIDE <= room:
            for k in range(_ZERO, _WIDE):
                token = np.uint64(tokens[i + k]) if k < left else _ZERO
                total += token * _FACTORS[k]
        else:
            for k in range(_ZERO, left):
                total += np.uint64(tokens[i + k]) * _FACTORS[k]
        mixed = (mixed ^ total) * _ODD
        mixed ^= mixed >> np.uint64(32)
        i += _WIDE
    return mixed


@njit(cache=True, nogil=True)
def _equal(a: np.ndarray, at_a: np.uint64, b: np.ndarray, at_b: np.uint64, length: np.uint64) -> bool:
    """Whether two traces of this length agree; no early end, so that vectors compare them."""
    if length == _ZERO:
        return True
    differ = a[at_a] ^ b[at_b]
    for i in range(_ONE, length):
        differ |= a[at_a + i] ^ b[at_b + i]
    return bool(differ == 0)


@njit(cache=True, nogil=True)
def _table(n: int) -> np.ndarray:
    """Room for n numbers, so thinly filled that two rarely meet: a wrong guess costs more than a miss."""
    size = 16
    while size < 2 * n:
        size *= 2
    return np.full(size, -1, np.int32)


def distinct_traces(tokens: np.ndarray, offsets: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """First trace of each distinct one (int64), in order of appearance; and the group of every trace."""
    n = len(offsets) - 1
    table = np.full(max(16, 1 << max(2 * n - 1, 1).bit_length()), -1, np.int32)
    known, group = np.empty((n, 4), np.uint64), np.empty(n, np.int64)
    n_groups = _distinct(tokens, offsets, table, known, group)
    return known[:n_groups, 3].astype(np.int64), group


@ready
def _distinct(
    tokens: np.ndarray, offsets: np.ndarray, table: np.ndarray, known: np.ndarray, group: np.ndarray
) -> int:
    """Fill `group`; returns how many distinct traces there are.

    table int32 (a power of two, at least twice the traces), all -1
    known uint64 (n_traces, 4): hash, start, length, number of the trace, one cache line each
    """
    mask = np.uint64(len(table) - 1)
    n_groups = 0
    for c in range(len(offsets) - 1):
        first, last = np.uint64(offsets[c]), np.uint64(offsets[c + 1])
        mixed, length = _hash(tokens, first, last), last - first
        place = (mixed >> np.uint64(16)) & mask
        while True:
            g = table[place]
            if g < 0:
                table[place] = n_groups
                known[n_groups, 0], known[n_groups, 1] = mixed, first
                known[n_groups, 2], known[n_groups, 3] = length, np.uint64(c)
                group[c] = n_groups
                n_groups += 1
                break
            alike = known[g, 0] == mixed and known[g, 2] == length
            if alike and _equal(tokens, known[g, 1], tokens, first, length):
                group[c] = g
                break
            place = (place + _ONE) & mask
    return n_groups


@njit(cache=True, nogil=True)
def match_traces(
    tokens: np.ndarray, offsets: np.ndarray, more: np.ndarray, more_offsets: np.ndarray
) -> np.ndarray:
    """Which of some distinct traces each of the traces in `more` is, int64, −1 for none of them."""
    n = len(offsets) - 1
    table = _table(8 * n)
    mask = np.uint64(len(table) - 1)
    hashes = np.empty(n, np.uint64)
    for c in range(n):
        hashes[c] = _hash(tokens, np.uint64(offsets[c]), np.uint64(offsets[c + 1]))
        place = (hashes[c] >> np.uint64(16)) & mask
        while table[place] >= 0:
            place = (place + _ONE) & mask
        table[place] = c
    found = np.full(len(more_offsets) - 1, -1, np.int64)
    for c in range(len(found)):
        first, last = np.uint64(more_offsets[c]), np.uint64(more_offsets[c + 1])
        mixed = _hash(more, first, last)
        place = (mixed >> np.uint64(16)) & mask
        while table[place] >= 0:
            g = table[place]
            start, end = np.uint64(offsets[g]), np.uint64(offsets[g + 1])
            alike = hashes[g] == mixed and end - start == last - first
            if alike and _equal(tokens, start, more, first, last - first):
                found[c] = g
                break
            place = (place + _ONE) & mask
    return found


@njit(cache=True, nogil=True)
def _token(tokens: np.ndarray, offsets: np.ndarray, trace: int, depth: int) -> int:
    """The token of a trace at this depth, −1 past its end: the shorter of two alike comes first."""
    place = offsets[trace] + depth
    return int(tokens[place]) if place < offsets[trace + 1] else -1


@njit(cache=True, nogil=True)
def _sort_run(
    tokens: np.ndarray, offsets: np.ndarray, order: np.ndarray, parts: np.ndarray, first: int, last: int
) -> None:
    """Sort order[first:last] by the tokens of the traces: multikey quicksort (Bentley & Sedgewick 1997).

    What is known to agree is never compared again. parts int64 (n, 3) is room for what is left to sort;
    parts do not overlap, so there are never more than traces.
    """
    parts[0] = (first, last, 0)
    n_parts = 1
    while n_parts > 0:
        n_parts -= 1
        first, last, depth = parts[n_parts]
        pivot = _token(tokens, offsets, order[(first + last) // 2], depth)
        low, here, high = first, first, last
        while here < high:
            trace = order[here]
            token = _token(tokens, offsets, trace, depth)
            if token < pivot:
                order[here], order[low] = order[low], trace
                low, here = low + 1, here + 1
            elif token > pivot:
                high -= 1
                order[here], order[high] = order[high], trace
            else:
                here += 1
        if low - first > 1:
            parts[n_parts] = (first, low, depth)
            n_parts += 1
        if last - high > 1:
            parts[n_parts] = (high, last, depth)
            n_parts += 1
        if high - low > 1 and pivot >= 0:
            parts[n_parts] = (low, high, depth + 1)
            n_parts += 1
        elif high - low > 1:
            order[low:high].sort()  # the same trace several times: as they came


@njit(cache=True, nogil=True)
def _sort_ties(tokens: np.ndarray, offsets: np.ndarray, weights: np.ndarray, order: np.ndarray) -> None:
    """Order traces of one weight, which stand together, by their tokens."""
    n, first = len(order), 0
    parts = np.empty((n + 3, 3), np.int64)
    while first < n:
        last = first + 1
        while last < n and weights[order[last]] == weights[order[first]]:
            last += 1
        if last - first > 1:
            _sort_run(tokens, offsets, order, parts, first, last)
        first = last


def order_traces(tokens: np.ndarray, offsets: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Indices of the traces, heaviest first, ties in token order, int64 (n_traces,)."""
    order = np.argsort(-weights, kind="stable")
    _sort_ties(tokens, offsets, weights, order)
    return order
