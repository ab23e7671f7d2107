"""Delimited text cut into rows and cells where it lies: one pass over the bytes of a block."""

from __future__ import annotations

import numpy as np

from behavio.kernels.ready import njit

NEWLINE, RETURN, QUOTE = 10, 13, 34
CUT, FULL, SWALLOWED, STRAY = 0, 1, 2, 3
"""Why `cut` stopped: at the end of the block, at the limit of rows, at a quoted cell that holds what looks
like a whole row, or at a quote that does not open and close a cell."""


@njit(cache=True, nogil=True)
def _quoted(
    data: np.ndarray, at: int, end: int, delimiter: int, width: int, free: int
) -> tuple[int, int, int, int]:
    """The quoted cell that opens at `at`: start and end of its text, where it closed, next free place.

    Doubled quotes are taken once; such a text is written to the free place behind the block. The place where
    it closed is -1 when the block ends first, -2 when the cell holds a line with a row's delimiters.
    """
    place, start = at + 1, at + 1
    doubled = False
    lines, inside = 0, 0
    while True:
        if place >= end:
            return start, place, -1, free
        byte = data[place]
        if byte == QUOTE:
            if place + 1 < end and data[place + 1] == QUOTE:
                doubled = True
                place += 2
                continue
            break
        if byte == NEWLINE:
            if lines > 0 and inside >= width - 1:
                return start, place, -2, free
            lines += 1
            inside = 0
        elif byte == delimiter:
            inside += 1
        place += 1
    if not doubled:
        return start, place, place + 1, free
    out = free
    i = start
    while i < place:
        data[out] = data[i]
        out += 1
        i += 2 if data[i] == QUOTE else 1
    return free, out, place + 1, out


@njit(cache=True, nogil=True)
def cut(
    data: np.ndarray,
    first: int,
    end: int,
    last: bool,
    delimiter: int,
    width: int,
    wanted: np.ndarray,
    starts: np.ndarray,
    ends: np.ndarray,
    lines: np.ndarray,
    wrong: np.ndarray,
    free: int,
) -> tuple[int, int, int, int, int, int]:
    """Cut data[first:end] into rows of `width` cells.

    last     the block ends the file: a row without a newline counts
    wanted   int64 (width,): the place of a column among those asked for, -1 for the others
    starts, ends   int32 (columns, most rows): filled with the cells asked for
    lines    int64 (most rows, 3): record number in the block (from 0), start and end of each sound row
    wrong    int64 (most rows, 3): the same of rows with more or fewer cells; empty ones too many do no harm
    free     where texts with doubled quotes may be written
    Returns rows, wrong rows, records, where it stopped, why, and the next free place. Empty lines are no
    record.
    """
    n, n_wrong, record = 0, 0, 0
    at = first
    most = starts.shape[1]
    while at < end:
        if n == most or n_wrong == most:
            return n, n_wrong, record, at, FULL, free
        if data[at] == NEWLINE:
            at += 1
            continue
        if data[at] == RETURN and at + 1 < end and data[at + 1] == NEWLINE:
            at += 2
            continue
        place, cell = at, 0
        whole, beyond = False, False
        row_free = free
        while True:  # cells
            if place < end and data[place] == QUOTE:
                start, stop, closed, row_free = _quoted(data, place, end, delimiter, width, row_free)
                if closed == -2:
                    return n, n_wrong, record, at, SWALLOWED, free
                if closed == -1:
                    return n, n_wrong, record, at, STRAY if last else CUT, free
                place = closed
                if place < end and data[place] == RETURN and place + 1 < end and data[place + 1] == NEWLINE:
                    place += 1
                if place < end and data[place] != delimiter and data[place] != NEWLINE:
                    if not (place + 1 == end and data[place] == RETURN):
                        return n, n_wrong, record, at, STRAY, free
                    if not last:
                        return n, n_wrong, record, at, CUT, free
                    place += 1
            else:
                start = place
                while place < end and data[place] != delimiter and data[place] != NEWLINE:
                    if data[place] == QUOTE:
                        return n, n_wrong, record, at, STRAY, free
                    place += 1
                stop = place
                if (place == end or data[place] == NEWLINE) and stop > start and data[stop - 1] == RETURN:
                    stop -= 1
            if cell < width and wanted[cell] >= 0:
                starts[wanted[cell], n] = start
                ends[wanted[cell], n] = stop
            beyond = beyond or (cell >= width and stop > start)
            cell += 1
            if place >= end:
                whole = last
                break
            if data[place] == NEWLINE:
                whole = True
                break
            place += 1
        if not whole:
            return n, n_wrong, record, at, CUT, free
        stop = place
        if stop > at and data[stop - 1] == RETURN:
            stop -= 1
        if cell == width or (cell > width and not beyond):
            lines[n, 0], lines[n, 1], lines[n, 2] = record, at, stop
            n += 1
        else:
            wrong[n_wrong, 0], wrong[n_wrong, 1], wrong[n_wrong, 2] = record, at, stop
            n_wrong += 1
        free = row_free
        record += 1
        at = place + 1
    return n, n_wrong, record, min(at, end), CUT, free
