"""Cells of delimited text as views into its bytes: one pass checks every row and copies nothing.

A view is Arrow's string view (two 64-bit words): the length, then up to twelve bytes of the text itself, or
its first four bytes, the number of a buffer and the place in it. Source of the layout: Apache Arrow
columnar format, "Variable-size Binary View".
"""

from __future__ import annotations

from typing import Any

import numpy as np

from behavio.kernels.ready import intrinsic, njit

ONES, HIGH = np.uint64(0x0101010101010101), np.uint64(0x8080808080808080)
QUOTE, NEWLINE, RETURN = 34, 10, 13
OPEN_QUOTE, TOO_MANY_BAD = -1, -2


@intrinsic
def _load_at(typing: Any, address: Any) -> Any:
    """Code for the eight bytes at an address, wherever it lies, as one little-endian number."""
    from llvmlite import ir
    from numba import types

    def build(context: Any, builder: Any, signature: Any, given: Any) -> Any:
        return builder.load(builder.inttoptr(given[0], ir.IntType(64).as_pointer()), align=1)

    return types.uint64(types.intp), build


@njit(cache=True, nogil=True, inline="always")
def word(data: Any, at: int, length: int) -> Any:
    """The first `length` (1 to 8) bytes from `at`, zeros above; nothing past the end of `data` is read."""
    if at + 8 <= len(data):
        found = _load_at(data.ctypes.data + at)
        return found if length >= 8 else found & ((np.uint64(1) << np.uint64(8 * length)) - np.uint64(1))
    found = np.uint64(0)
    for k in range(min(length, len(data) - at)):
        found |= np.uint64(data[at + k]) << np.uint64(8 * k)
    return found


@njit(cache=True, nogil=True, inline="always")
def _view(data: np.ndarray, start: int, length: int, first_buffer: int, shift: int, into: np.ndarray) -> None:
    """Write the two words of one view; buffer k begins at byte k << shift of `data`."""
    low, high = np.uint64(length), np.uint64(0)
    if length > 0:
        low |= word(data, start, min(length, 4)) << np.uint64(32)
    if length > 12:
        buffer = start >> shift
        high = np.uint64(first_buffer + buffer) | (np.uint64(start - (buffer << shift)) << np.uint64(32))
    elif length > 4:
        high = word(data, start + 4, length - 4)
    into[0], into[1] = low, high


@njit(cache=True, nogil=True, inline="always")
def _zero_bytes(found: np.uint64) -> np.uint64:
    """High bit set for the lowest zero byte of a word (and perhaps for some above it)."""
    return (found - ONES) & ~found & HIGH


@njit(cache=True, nogil=True)
def _cell_end(data: np.ndarray, at: int, signs: np.uint64, breaks: np.uint64) -> int:
    """Place of the next delimiter or line break, eight bytes at a time (as in Mycroft, 1987)."""
    while True:
        text = word(data, at, 8)
        hit = _zero_bytes(text ^ signs) | _zero_bytes(text ^ breaks)
        if hit != 0:
            while hit & np.uint64(0xFF) == 0:
                hit >>= np.uint64(8)
                at += 1
            return at
        at += 8


@njit(cache=True, nogil=True)
def _quoted(data: np.ndarray, at: int, delimiter: int, width: int) -> tuple[int, int]:
    """End of the quoted cell that starts at `at` (its closing quote) and its doubled quotes; -1 when the
    quote is not closed before the file ends or the cell holds a line that looks like a whole row."""
    size = len(data)
    doubled, delimiters, lines = 0, 0, 0
    at += 1
    while at < size:
        byte = data[at]
        if byte == QUOTE:
            if at + 1 < size and data[at + 1] == QUOTE:
                doubled += 1
                at += 1
            else:
                return at, doubled
        elif byte == NEWLINE:
            if lines > 0 and delimiters >= width - 1:
                return -1, 0
            lines += 1
            delimiters = 0
        elif byte == delimiter:
            delimiters += 1
        at += 1
    return -1, 0


@njit(cache=True, nogil=True)
def _unescaped(data: np.ndarray, start: int, end: int, extra: np.ndarray, place: int) -> int:
    """Copy a cell to `extra` with doubled quotes as one; the place behind it."""
    at = start
    while at < end:
        extra[place] = data[at]
        place += 1
        at += 2 if data[at] == QUOTE else 1
    return place


@njit(cache=True, nogil=True)
def read_cells(
    data: np.ndarray,
    delimiter: int,
    slots: np.ndarray,
    views: np.ndarray,
    filled: np.ndarray,
    rows: np.ndarray,
    bad: np.ndarray,
    extra: np.ndarray,
    extra_buffer: int,
    shift: int,
) -> tuple[int, int]:
    """Fill the views of the wanted columns; returns (rows kept, bad rows), or a negative code.

    data    uint8 (n,)            the text; it ends with a line break
    slots   int64 (width,)        where each column goes, -1 for columns nobody asked for
    views   uint64 (n_slots, capacity, 2)    filled  bool (n_slots, capacity), False for an empty cell
    rows    int64 (capacity,)     1-based record number of each row kept; the header is record 0
    bad     int64 (m, 3)          record number, start, end of rows with another number of cells
    extra   uint8                 room for cells with doubled quotes; its buffers start at `extra_buffer`
    """
    size, width = len(data), len(slots)
    at, record, kept, n_bad, place = 0, 0, 0, 0, 0
    signs, breaks = np.uint64(delimiter) * ONES, np.uint64(NEWLINE) * ONES
    while at < size:
        if data[at] == NEWLINE:
            at += 1
            continue
        if data[at] == RETURN and at + 1 < size and data[at + 1] == NEWLINE:
            at += 2
            continue
        begin, column, mark = at, 0, place
        while True:
            doubled, quoted = 0, data[at] == QUOTE
            if quoted:
                start = at + 1
                end, doubled = _quoted(data, at, delimiter, width)
                if end < 0 or end + 2 > size:
                    return OPEN_QUOTE, record
                at = end + 1
                if data[at] == RETURN and data[at + 1] == NEWLINE:
                    at += 1
                if data[at] != delimiter and data[at] != NEWLINE:
                    return OPEN_QUOTE, record
            else:
                start = at
                end = at = _cell_end(data, at, signs, breaks)
                if data[at] == NEWLINE and end > start and data[end - 1] == RETURN:
                    end -= 1
            if column < width and slots[column] >= 0 and record > 0:
                slot = slots[column]
                filled[slot, kept] = quoted or end > start
                if doubled > 0:
                    after = _unescaped(data, start, end, extra, place)
                    _view(extra, place, after - place, extra_buffer, shift, views[slot, kept])
                    place = after
                else:
                    _view(data, start, end - start, 0, shift, views[slot, kept])
            column += 1
            if data[at] == NEWLINE:
                break
            at += 1
        if column == width:
            if record > 0:
                rows[kept] = record
                kept += 1
        else:
            if n_bad == len(bad) or record == 0:
                return TOO_MANY_BAD, record
            bad[n_bad, 0], bad[n_bad, 1], bad[n_bad, 2] = record, begin, at
            n_bad += 1
            place = mark
        record += 1
        at += 1
    return kept, n_bad
