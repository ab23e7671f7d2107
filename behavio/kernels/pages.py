"""Pages of Parquet files unpacked and decoded where they lie.

Sources: Apache Parquet format, "Encodings" (PLAIN, RLE / bit-packing hybrid); google/snappy,
format_description.txt.
"""

from __future__ import annotations

import numpy as np

from behavio.kernels.raw import load, signed, store
from behavio.kernels.ready import ready

SLACK = 64
"""Bytes behind the end of a buffer that may be read, and of an unpacked page that may be written."""


@ready
def unsnap(data: np.ndarray, first: int, last: int, out: np.ndarray, size: int) -> bool:
    """Unpack the Snappy block data[first:last] into out[:size]; False when it is damaged or of another size.

    data and out are uint8 with SLACK bytes behind `last` and `size`: whole words are copied.
    """
    source, end = signed(data.ctypes.data) + first, signed(data.ctypes.data) + last
    begin = signed(out.ctypes.data)
    target, stop = begin, begin + size
    length, shift = signed(0), 0
    while True:
        if source >= end or shift > 28:
            return False
        byte = signed(load(source) & np.uint64(255))
        source += 1
        length |= (byte & 127) << shift
        shift += 7
        if byte < 128:
            break
    if length != size:
        return False
    while source < end:
        head = load(source)
        tag = signed(head & np.uint64(255))
        kind = tag & 3
        if kind == 0:
            length = (tag >> 2) + 1
            source += 1
            if length > 60:
                extra = length - 60
                length = signed(
                    (head >> np.uint64(8)) & ((np.uint64(1) << np.uint64(8 * extra)) - np.uint64(1))
                )
                length += 1
                source += extra
            if source + length > end or target + length > stop:
                return False
            store(target, load(source))
            store(target + 8, load(source + 8))
            done = signed(16)
            while done < length:
                store(target + done, load(source + done))
                done += 8
            source += length
            target += length
            continue
        if kind == 1:
            length = ((tag >> 2) & 7) + 4
            back = ((tag >> 5) << 8) | signed((head >> np.uint64(8)) & np.uint64(255))
            source += 2
        elif kind == 2:
            length = (tag >> 2) + 1
            back = signed((head >> np.uint64(8)) & np.uint64(0xFFFF))
            source += 3
        else:
            length = (tag >> 2) + 1
            back = signed((head >> np.uint64(8)) & np.uint64(0xFFFFFFFF))
            source += 5
        if source > end or back == 0 or back > target - begin or target + length > stop:
            return False
        place = target - back
        if back >= 8:
            store(target, load(place))
            store(target + 8, load(place + 8))
            done = signed(16)
            while done < length:
                store(target + done, load(place + done))
                done += 8
        else:
            for i in range(length):
                out[target - begin + i] = out[place - begin + i]
        target += length
    return target == stop


@ready
def plain_texts(data: np.ndarray, first: int, last: int, starts: np.ndarray, ends: np.ndarray) -> bool:
    """Where each of the len(starts) texts of a PLAIN page lies; False when the page ends before."""
    at = signed(first)
    origin = signed(data.ctypes.data)
    for i in range(len(starts)):
        if at + 4 > last:
            return False
        length = signed(load(origin + at) & np.uint64(0xFFFFFFFF))
        at += 4
        starts[i] = at
        at += length
        if at > last:
            return False
        ends[i] = at
    return True


@ready
def hybrid(data: np.ndarray, first: int, last: int, width: int, limit: int, out: np.ndarray) -> int:
    """Decode len(out) numbers of `width` (0 to 32) bits from runs and bit-packed groups, each below `limit`.

    data has SLACK readable bytes behind `last`. Returns how many numbers are not 0, -1 when it is damaged.
    """
    n, i = len(out), 0
    at, origin = signed(first), signed(data.ctypes.data)
    mask = (np.uint64(1) << np.uint64(width)) - np.uint64(1)
    n_bytes = (width + 7) // 8
    n_set = signed(0)
    while i < n:
        head, shift = signed(0), 0
        while True:
            if at >= last or shift > 28:
                return signed(-1)
            byte = signed(data[at])
            at += 1
            head |= (byte & 127) << shift
            shift += 7
            if byte < 128:
                break
        if head & 1 == 0:
            count = min(head >> 1, n - i)
            if at + n_bytes > last:
                return signed(-1)
            value = signed(load(origin + at) & mask)
            at += n_bytes
            if value >= limit:
                return signed(-1)
            for k in range(i, i + count):
                out[k] = value
            if value != 0:
                n_set += count
        else:
            count = min((head >> 1) * 8, n - i)
            if at + (count * width + 7) // 8 > last:
                return signed(-1)
            top = np.uint64(0)
            bit = signed(0)
            for k in range(i, i + count):
                found = (load(origin + at + (bit >> 3)) >> np.uint64(bit & 7)) & mask
                top = max(top, found)
                out[k] = signed(found)
                n_set += found != 0
                bit += width
            if signed(top) >= limit:
                return signed(-1)
            at += (head >> 1) * width
        if count == 0 and head >> 1 == 0:
            return signed(-1)
        i += count
    return n_set


@ready
def chosen(places: np.ndarray, known: np.ndarray, missing: int, out: np.ndarray) -> None:
    """out[i] = known[places[i]], `missing` where a place is -1."""
    for i in range(len(places)):
        out[i] = known[places[i]] if places[i] >= 0 else missing


@ready
def spread(values: np.ndarray, valid: np.ndarray, missing: int, out: np.ndarray) -> None:
    """Values of the valid rows put in their rows, `missing` in the others."""
    k = 0
    for i in range(len(valid)):
        if valid[i]:
            out[i] = values[k]
            k += 1
        else:
            out[i] = missing


HEADER, TYPE, UNPACKED, PACKED, ROWS, ENCODING = 0, 1, 2, 3, 4, 5
"""Places in the facts of a page: where its header ends, what it is, its sizes, its rows, their encoding."""


@ready
def header(data: np.ndarray, first: int, last: int, facts: np.ndarray) -> bool:
    """Read the header of a page (Thrift's compact protocol) into int64 facts; False when it is none of data
    of the first version, or has parts this does not know."""
    at, depth = signed(first), 0
    facts[:] = -1
    outer, inner = signed(0), signed(0)
    outside = signed(0)
    while True:
        if at >= last:
            return False
        head = signed(data[at])
        at += 1
        if head == 0:
            if depth == 0:
                facts[HEADER] = at
                return facts[TYPE] == 0 and facts[PACKED] >= 0 and facts[UNPACKED] >= 0 and facts[ROWS] >= 0
            depth -= 1
            if depth == 1:
                inner = outside
            continue
        if head >> 4 == 0:
            return False
        kind, step = head & 15, head >> 4
        if depth == 0:
            outer += step
        else:
            inner += step
        if kind <= 2:
            continue
        if kind == 12:
            if depth == 0 and outer != 5:
                return False
            if depth == 2:
                return False
            depth += 1
            outside, inner = inner, signed(0)
            continue
        if kind == 3 or kind == 7 or kind > 8:
            return False
        value, shift = np.uint64(0), np.uint64(0)
        while True:
            if at >= last or shift > np.uint64(56):
                return False
            byte = np.uint64(data[at])
            at += 1
            value |= (byte & np.uint64(127)) << shift
            shift += np.uint64(7)
            if byte < np.uint64(128):
                break
        if kind == 8:
            if value > np.uint64(last):
                return False
            at += signed(value)
            continue
        number = signed(value >> np.uint64(1)) ^ -signed(value & np.uint64(1))
        if depth == 0 and outer <= 3:
            facts[outer] = number
        elif depth == 1 and inner <= 2:
            facts[ROWS + inner - 1] = number


@ready
def opened(
    data: np.ndarray,
    first: int,
    last: int,
    snappy: bool,
    optional: bool,
    page: np.ndarray,
    valid: np.ndarray,
    facts: np.ndarray,
) -> int:
    """Unpack the page of data at `first` into `page` (or leave it where it lies) and go past its levels.

    Returns 1 when it lies in `page`, 0 when it lies in `data`, -1 when it is damaged, odd, has empty rows, or
    when there is no room. facts 6 and 7 say where its values begin and end.
    """
    if not header(data, first, last, facts):
        return signed(-1)
    size, at = facts[UNPACKED], facts[HEADER]
    if at + facts[PACKED] > last or facts[ROWS] > len(valid):
        return signed(-1)
    begin, end = at, at + facts[PACKED]
    if snappy:
        if size + SLACK > len(page) or not unsnap(data, at, at + facts[PACKED], page, size):
            return signed(-1)
        begin, end = signed(0), size
    if optional:
        held = page if snappy else data
        if begin + 4 > end:
            return signed(-1)
        length = signed(held[begin]) | signed(held[begin + 1]) << 8 | signed(held[begin + 2]) << 16
        length |= signed(held[begin + 3]) << 24
        begin += 4
        if begin + length > end:
            return signed(-1)
        rows = valid[: facts[ROWS]]
        if hybrid(held, begin, begin + length, 1, 2, rows) != facts[ROWS]:
            return signed(-1)
        begin += length
    facts[6], facts[7] = begin, end
    return signed(1) if snappy else signed(0)


@ready
def places_of(
    data: np.ndarray,
    first: int,
    last: int,
    snappy: bool,
    optional: bool,
    page: np.ndarray,
    valid: np.ndarray,
    limit: int,
    out: np.ndarray,
    facts: np.ndarray,
) -> tuple[int, int]:
    """Places in a dictionary of `limit` words, of page after page of a chunk, as far as pages are whole, easy
    to read and fit into `out` (int32). Returns rows, and where the first page that was not taken begins."""
    n, at = signed(0), signed(first)
    while at < last:
        where = opened(data, at, last, snappy, optional, page, valid, facts)
        encoding, begin, end = facts[ENCODING], facts[6], facts[7]
        if where < 0 or (encoding != 2 and encoding != 8) or n + facts[ROWS] > len(out) or begin >= end:
            return n, at
        held = page if where == 1 else data
        rows = out[n : n + facts[ROWS]]
        if held[begin] > 32 or hybrid(held, begin + 1, end, signed(held[begin]), limit, rows) < 0:
            return n, at
        n += facts[ROWS]
        at = facts[HEADER] + facts[PACKED]
    return n, at


@ready
def texts_of(
    data: np.ndarray,
    first: int,
    last: int,
    snappy: bool,
    optional: bool,
    page: np.ndarray,
    valid: np.ndarray,
    starts: np.ndarray,
    ends: np.ndarray,
    facts: np.ndarray,
) -> int:
    """Where the texts of one PLAIN page lie: in `page` when packed, else in `data`. Returns rows, -1 when the
    page is another one; facts hold its header."""
    where = opened(data, first, last, snappy, optional, page, valid, facts)
    n = facts[ROWS]
    if where < 0 or facts[ENCODING] != 0 or n > len(starts):
        return signed(-1)
    held = page if where == 1 else data
    if not plain_texts(held, facts[6], facts[7], starts[:n], ends[:n]):
        return signed(-1)
    return n
