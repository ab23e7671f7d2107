"""Texts to numbers: an open-addressing table that lives on from batch to batch.

Texts are slices of a byte buffer (Arrow's own, or a file's); every distinct one is copied once into a pool
and known by its code from then on. A hash only proposes: the bytes always decide.
"""

from __future__ import annotations

import numpy as np

from behavio.kernels.raw import comes_before, equal, hashed, signed, word
from behavio.kernels.ready import njit, ready

LOW = np.uint64(0xFFFFFFFF)
HIGH = np.uint64(32)


@ready
def intern(
    data: np.ndarray,
    starts: np.ndarray,
    ends: np.ndarray,
    valid: np.ndarray,
    first: int,
    table: np.ndarray,
    pool: np.ndarray,
    bounds: np.ndarray,
    n_known: int,
    codes: np.ndarray,
) -> tuple[int, int]:
    """Codes of texts data[starts[i]:ends[i]] from row `first` on; -1 where not valid.

    valid   bool (n,), or of length 0 when every row is
    table   int64 (power of two,): tag << 32 | code, -1 where free
    pool, bounds   the known texts: number k is pool[bounds[k]:bounds[k + 1]]
    Returns the row reached and how many texts are known; it stops early where a table is full.
    A text equal to the one of the row before costs one comparison.
    """
    mask = signed(len(table) - 1)
    limit = len(table) // 2
    before, before_at, before_length = signed(-1), signed(0), signed(-1)
    for row in range(first, len(starts)):
        if len(valid) > 0 and not valid[row]:
            codes[row] = -1
            continue
        at = signed(starts[row])
        length = signed(ends[row]) - at
        if length == before_length and equal(data, at, data, before_at, length):
            codes[row] = before
            continue
        tag = hashed(data, at, length) & LOW
        place = signed(tag) & mask
        code = signed(-1)
        while table[place] >= 0:
            entry = np.uint64(table[place])
            if entry >> HIGH == tag >> np.uint64(1):
                known = signed(entry & LOW)
                if bounds[known + 1] - bounds[known] == length and equal(
                    data, at, pool, bounds[known], length
                ):
                    code = known
                    break
            place = (place + 1) & mask
        if code < 0:
            if n_known >= limit or n_known + 1 >= len(bounds) or bounds[n_known] + length > len(pool):
                return row, n_known
            code = n_known
            for i in range(length):
                pool[bounds[code] + i] = data[at + i]
            bounds[code + 1] = bounds[code] + length
            table[place] = signed((tag >> np.uint64(1)) << HIGH) | code
            n_known += 1
        codes[row] = code
        before, before_at, before_length = code, at, length
    return len(starts), n_known


@ready
def fill_table(pool: np.ndarray, bounds: np.ndarray, n_known: int, table: np.ndarray) -> None:
    """Enter the known texts into a larger, empty table."""
    mask = signed(len(table) - 1)
    for code in range(n_known):
        tag = hashed(pool, bounds[code], bounds[code + 1] - bounds[code]) & LOW
        place = signed(tag) & mask
        while table[place] >= 0:
            place = (place + 1) & mask
        table[place] = signed((tag >> np.uint64(1)) << HIGH) | code


def suspects(pool: np.ndarray, bounds: np.ndarray, first: int, last: int, longest: int) -> np.ndarray:
    """Codes from first to last whose text may need care: short, long, blank at an end, with a NUL byte.

    Short ones (up to four bytes) may stand for an empty cell; a byte above 126 at an end may be a blank.
    """
    found = np.empty(last - first, np.int64)
    return found[: _suspects(pool, bounds, first, last, longest, found)]


@ready
def _suspects(
    pool: np.ndarray, bounds: np.ndarray, first: int, last: int, longest: int, found: np.ndarray
) -> int:
    n = 0
    for code in range(first, last):
        at, end = bounds[code], bounds[code + 1]
        odd = end - at <= 4 or end - at > longest
        if not odd:
            head, tail = pool[at], pool[end - 1]
            odd = head <= 32 or tail <= 32 or head > 126 or tail > 126
        if not odd:
            for i in range(at, end):
                if pool[i] == 0:
                    odd = True
                    break
        if odd:
            found[n] = code
            n += 1
    return n


@ready
def gather(indices: np.ndarray, valid: np.ndarray, codes: np.ndarray, out: np.ndarray) -> None:
    """out[i] = codes[indices[i]], -1 where not valid (bool, or of length 0 when all are)."""
    for row in range(len(indices)):
        out[row] = -1 if len(valid) > 0 and not valid[row] else codes[indices[row]]


@ready
def sort_keys(pool: np.ndarray, bounds: np.ndarray, skip: int, keys: np.ndarray) -> bool:
    """Fill uint64 (n,) with the eight bytes of each text after the first `skip`, so that numbers sort as
    bytes do; returns whether each is larger than the one before."""
    rising = True
    before = np.uint64(0)
    for code in range(len(keys)):
        at = bounds[code] + skip
        length = min(signed(8), bounds[code + 1] - at)
        found = word(pool, at, length) if length > 0 else np.uint64(0)
        key = np.uint64(0)
        for _ in range(8):
            key = (key << np.uint64(8)) | (found & np.uint64(255))
            found >>= np.uint64(8)
        if code > 0 and key <= before:
            rising = False
        keys[code] = key
        before = key
    return rising


@ready
def common_prefix(pool: np.ndarray, bounds: np.ndarray) -> int:
    """Length in bytes of what all texts begin with."""
    length = bounds[1] - bounds[0]
    for code in range(1, len(bounds) - 1):
        at = bounds[code]
        length = min(length, bounds[code + 1] - at)
        for i in range(length):
            if pool[at + i] != pool[i]:
                length = i
                break
    return length


@njit(cache=True, nogil=True, inline="always")
def _before(pool: np.ndarray, bounds: np.ndarray, second: np.ndarray, a: int, b: int, skip: int) -> bool:
    if second[a] != second[b]:
        return bool(second[a] < second[b])
    return bool(comes_before(pool, bounds, a, b, skip))


@ready
def settle_ties(
    pool: np.ndarray,
    bounds: np.ndarray,
    keys: np.ndarray,
    second: np.ndarray,
    order: np.ndarray,
    skip: int,
    spare: np.ndarray,
) -> None:
    """Order the texts whose keys are equal by the rest of their bytes (merge sort within each tie).

    second   uint64 (n,): the keys of the eight bytes behind those of `keys`
    spare    int64 (n,): room to work in
    """
    n = len(order)
    first = 0
    while first < n:
        last = first + 1
        while last < n and keys[order[last]] == keys[order[first]]:
            last += 1
        width = 1
        while width < last - first:
            for start in range(first, last, 2 * width):
                middle, end = min(start + width, last), min(start + 2 * width, last)
                if middle >= end or not _before(pool, bounds, second, order[middle], order[middle - 1], skip):
                    continue
                a, b = start, middle
                for k in range(end - start):
                    if b >= end or (
                        a < middle and not _before(pool, bounds, second, order[b], order[a], skip)
                    ):
                        spare[k] = order[a]
                        a += 1
                    else:
                        spare[k] = order[b]
                        b += 1
                for k in range(end - start):
                    order[start + k] = spare[k]
            width *= 2
        first = last
