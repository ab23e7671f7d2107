"""Equal traces found and ordered, exactly: a hash only proposes, every token is compared."""

from __future__ import annotations

import numpy as np

from behavio.kernels.ready import njit, ready

_ONE, _TWO, _FOUR = np.uint64(1), np.uint64(2), np.uint64(4)


@njit(cache=True, nogil=True)
def _hash(tokens: np.ndarray, first: np.uint64, last: np.uint64) -> np.uint64:
    """Hash of one trace, two tokens a step: rotate, exclusive or, multiply."""
    factor = np.uint64(0x517CC1B727220A95)
    mixed = last - first
    i = first
    while i + _ONE < last:
        both = np.uint64(tokens[i]) | (np.uint64(tokens[i + _ONE]) << np.uint64(32))
        mixed = (((mixed << np.uint64(5)) | (mixed >> np.uint64(59))) ^ both) * factor
        i += _TWO
    if i < last:
        mixed = (((mixed << np.uint64(5)) | (mixed >> np.uint64(59))) ^ np.uint64(tokens[i])) * factor
    return (mixed ^ (mixed >> np.uint64(32))) * np.uint64(0x9E3779B97F4A7C15)


@njit(cache=True, nogil=True)
def _equal(tokens: np.ndarray, a: np.uint64, b: np.uint64, length: np.uint64) -> bool:
    """Whether the traces from a and from b on agree in `length` tokens; four compared at a time."""
    i = np.uint64(0)
    while i + _FOUR <= length:
        differ = tokens[a + i] ^ tokens[b + i]
        for k in range(_ONE, _FOUR):
            differ |= tokens[a + i + k] ^ tokens[b + i + k]
        if differ != 0:
            return False
        i += _FOUR
    while i < length:
        if tokens[a + i] != tokens[b + i]:
            return False
        i += _ONE
    return True


def distinct_traces(tokens: np.ndarray, offsets: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """First trace of each distinct one (int64), in order of appearance; and the group of every trace."""
    n = len(offsets) - 1
    size = max(16, 1 << max(2 * n - 1, 1).bit_length())
    table, hashes = np.full(size, -1, np.int32), np.empty(n, np.uint64)
    firsts, group = np.empty(n, np.int64), np.empty(n, np.int64)
    n_groups = _distinct(tokens, offsets, table, hashes, firsts, group)
    return firsts[:n_groups].copy(), group


@ready
def _distinct(
    tokens: np.ndarray,
    offsets: np.ndarray,
    table: np.ndarray,
    hashes: np.ndarray,
    firsts: np.ndarray,
    group: np.ndarray,
) -> int:
    """Fill firsts and group; returns how many distinct traces there are.

    table int32 (a power of two, at least twice the traces), all -1      hashes uint64 (n_traces,)
    """
    mask = np.uint64(len(table) - 1)
    n_groups = 0
    for c in range(len(offsets) - 1):
        first, last = np.uint64(offsets[c]), np.uint64(offsets[c + 1])
        mixed = _hash(tokens, first, last)
        place = (mixed >> np.uint64(16)) & mask
        while True:
            known = table[place]
            if known < 0:
                table[place] = n_groups
                hashes[n_groups] = mixed
                firsts[n_groups] = c
                group[c] = n_groups
                n_groups += 1
                break
            if hashes[known] == mixed:
                other = np.uint64(offsets[firsts[known]])
                alike = np.uint64(offsets[firsts[known] + 1]) - other == last - first
                if alike and _equal(tokens, other, first, last - first):
                    group[c] = known
                    break
            place = (place + _ONE) & mask
    return n_groups


@njit(cache=True, nogil=True)
def _comes_first(tokens: np.ndarray, offsets: np.ndarray, weights: np.ndarray, a: int, b: int) -> bool:
    """Heavier first; among equals in the order of their tokens, the shorter of two alike first."""
    if weights[a] != weights[b]:
        return bool(weights[a] > weights[b])
    length_a, length_b = offsets[a + 1] - offsets[a], offsets[b + 1] - offsets[b]
    for i in range(min(length_a, length_b)):
        x, y = tokens[offsets[a] + i], tokens[offsets[b] + i]
        if x != y:
            return bool(x < y)
    return bool(length_a <= length_b)


@njit(cache=True, nogil=True)
def order_traces(tokens: np.ndarray, offsets: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Indices of the traces, heaviest first, ties in token order (merge sort), int64 (n_traces,)."""
    n = len(offsets) - 1
    order = np.arange(n)
    spare = np.empty(n, np.int64)
    width = 1
    while width < n:
        for start in range(0, n, 2 * width):
            middle, end = min(start + width, n), min(start + 2 * width, n)
            a, b = start, middle
            for k in range(start, end):
                if b >= end or (a < middle and _comes_first(tokens, offsets, weights, order[a], order[b])):
                    spare[k] = order[a]
                    a += 1
                else:
                    spare[k] = order[b]
                    b += 1
        order, spare = spare, order
        width *= 2
    return order
