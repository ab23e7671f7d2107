"""One column of one row group of a Parquet file, unpacked and decoded page by page in scratch memory.

Source: Apache Parquet format, README ("Data Pages") and parquet.thrift.
"""

from __future__ import annotations

import os
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np

from behavio.encoding.pieces import EVERY, Chosen, Micros, Piece, Slices, Unfit, frozen
from behavio.encoding.thrift import Damaged, Fields, read_struct
from behavio.kernels import pages as kernel
from behavio.kernels.clock import MISSING

PLAIN, OLD_DICTIONARY, RUNS, DICTIONARY = 0, 2, 3, 8
UNPACKED, SNAPPY, GZIP, ZSTD = 0, 1, 2, 6
DATA, WORDS, DATA_2 = 0, 2, 3
BATCH = 1 << 18
MIB = 1 << 20
LARGEST = 256 << 20
"""Bytes of a column in one row group that are taken at a time; larger ones are left to Arrow."""


@dataclass(frozen=True, slots=True)
class Leaf:
    """One column: its place, physical type, whether rows may be empty, whether its times are UTC."""

    place: int
    kind: int
    optional: bool
    text: bool
    micros: bool
    utc: bool


@dataclass(slots=True)
class Scratch:
    """Memory of one column that every page uses anew."""

    raw: np.ndarray = field(default_factory=lambda: np.empty(0, np.uint8))
    page: np.ndarray = field(default_factory=lambda: np.empty(0, np.uint8))
    words: np.ndarray = field(default_factory=lambda: np.empty(0, np.uint8))
    rows: tuple[np.ndarray, ...] = ()
    facts: np.ndarray = field(default_factory=lambda: np.zeros(8, np.int64))

    def of(self, name: str, size: int) -> np.ndarray:
        """A buffer of at least this size, with slack."""
        found: np.ndarray = getattr(self, name)
        if len(found) < size + kernel.SLACK:
            found = np.empty(size + size // 4 + kernel.SLACK, np.uint8)
            setattr(self, name, found)
        return found

    def ints(self, n: int) -> tuple[np.ndarray, ...]:
        """Three int32 arrays and one of bools with n rows."""
        if not self.rows or len(self.rows[0]) < n:
            room = n + n // 4
            self.rows = (*(np.empty(room, np.int32) for _ in range(3)), np.empty(room, np.bool_))
        return tuple(r[:n] for r in self.rows)


class ChunkReader:
    """One column of one row group, from its first page to its last."""

    def __init__(self, handle: int, meta: Fields, leaf: Leaf, scratch: Scratch) -> None:
        self.leaf, self.codec = leaf, meta[4]
        self._handle, self._scratch = handle, scratch
        first = min(meta[9], meta.get(11) or meta[9])
        self._where = (first, meta[7])
        self._at, self._end = 0, meta[7]
        self._raw: np.ndarray | None = None
        self._words: Slices | Micros | None = None
        self._left: Piece | None = None
        self._rows_most = meta[5]
        self._dictionaried = True

    def pieces(self, n: int) -> Iterator[Piece]:
        """The next n rows, a page or less at a time."""
        try:
            while n:
                piece = self._left if self._left is not None else self._quick() or self._page()
                self._left = None
                if len(piece) > n:
                    self._left, piece = piece.cut(n, len(piece)), piece.cut(0, n)
                n -= len(piece)
                yield piece
        except (Damaged, KeyError, TypeError, zlib.error) as problem:
            raise Unfit(f"a damaged page: {problem}") from None

    def _load(self) -> np.ndarray:
        """The chunk's bytes, read once."""
        if self._raw is None:
            first, size = self._where
            raw = self._scratch.of("raw", size)
            view, done = raw[:size].data, 0
            while done < size:
                got = os.preadv(self._handle, [view[done:]], first + done)
                if not got:
                    raise Damaged("the file ends")
                done += got
            self._raw = raw
        return self._raw

    def _quick(self) -> Piece | None:
        """Pages of the usual kind in one go; None leaves the next one to `_page`."""
        raw, scratch = self._load(), self._scratch
        if self.codec not in (UNPACKED, SNAPPY) or self._end - self._at < 8:
            return None
        snappy, optional = self.codec == SNAPPY, self.leaf.optional
        page = scratch.of("page", len(scratch.page) - kernel.SLACK if len(scratch.page) else MIB)
        one, two, _, valid = scratch.ints(BATCH)
        given = (raw, self._at, self._end, snappy, optional, page, valid)
        if self._dictionaried and self._words is not None:
            n, self._at = kernel.places_of(*given, len(self._words), one, scratch.facts)
            if n:
                return Chosen(self._words, one[:n])
            self._dictionaried = False
        if not self.leaf.text:
            return None
        n = kernel.texts_of(*given, one, two, scratch.facts)
        if n <= 0:
            return None
        self._at = int(scratch.facts[kernel.HEADER] + scratch.facts[kernel.PACKED])
        return Slices(frozen(page if snappy else raw), frozen(one[:n]), frozen(two[:n]), frozen(EVERY))

    def _page(self) -> Piece:
        """The next page of data; a dictionary before it is kept."""
        while True:
            raw = self._load()
            if self._at >= self._end:
                raise Damaged("rows are missing")
            head, at = read_struct(raw[: self._end].data, self._at)
            size = head[3]
            self._at = at + size
            if self._at > self._end or size < 0 or head[2] < 0:
                raise Damaged("a page beyond the end")
            if head[1] == WORDS:
                data = self._unpacked(raw, at, size, head[2], "words")
                self._words = self._dictionary(*data, head[7][1])
                self._dictionaried = True
                if (quick := self._quick()) is not None:
                    return quick
            elif head[1] == DATA:
                data = self._unpacked(raw, at, size, head[2], "page")
                return self._rows(*data, head[5][1], head[5][2])
            elif head[1] == DATA_2:
                return self._second(raw, at, size, head[2], head[8])

    def _unpacked(
        self, raw: np.ndarray, at: int, size: int, n_bytes: int, into: str
    ) -> tuple[np.ndarray, int, int]:
        """Bytes of a page, where they begin and end; they stay in scratch memory."""
        if n_bytes > 8 * LARGEST:
            raise Damaged("a page of gigabytes")
        if self.codec == UNPACKED and into == "page":
            return raw, at, at + size
        out = self._scratch.of(into, n_bytes)
        if self.codec == SNAPPY:
            if not kernel.unsnap(raw, at, at + size, out, n_bytes):
                raise Damaged("Snappy")
            return out, 0, n_bytes
        found = raw[at : at + size]
        if self.codec == GZIP:
            found = np.frombuffer(zlib.decompress(found.data, 47), np.uint8)
        elif self.codec == ZSTD:
            found = _unzst(found, n_bytes)
        if len(found) != n_bytes:
            raise Damaged("a page of another size")
        out[:n_bytes] = found
        return out, 0, n_bytes

    def _second(self, raw: np.ndarray, at: int, size: int, n_bytes: int, head: Fields) -> Piece:
        """A page of the second version: its levels stand unpacked before the values."""
        n_levels = head.get(6, 0) + head[5]
        if n_levels > size or head.get(6, 0):
            raise Damaged("levels beyond the page")
        valid = self._valid(raw, at, at + n_levels, head[1])
        codec, self.codec = self.codec, self.codec if head.get(7, True) else UNPACKED
        try:
            at += n_levels
            data, first, last = self._unpacked(raw, at, size - n_levels, n_bytes - n_levels, "page")
        finally:
            self.codec = codec
        return self._values(data, first, last, head[1], head[4], valid)

    def _rows(self, data: np.ndarray, first: int, last: int, n: int, encoding: int) -> Piece:
        """A page of the first version: levels with their length, then values."""
        valid = frozen(EVERY)
        if self.leaf.optional:
            length = int.from_bytes(data[first : first + 4].tobytes(), "little")
            if first + 4 + length > last:
                raise Damaged("levels beyond the page")
            valid = self._valid(data, first + 4, first + 4 + length, n)
            first += 4 + length
        return self._values(data, first, last, n, encoding, valid)

    def _valid(self, data: np.ndarray, first: int, last: int, n: int) -> np.ndarray:
        if not self.leaf.optional:
            return frozen(EVERY)
        if not 0 <= n <= self._rows_most:
            raise Damaged("more rows than the file has")
        *_, valid = self._scratch.ints(n)
        n_valid = kernel.hybrid(data, first, last, 1, 2, valid)
        if n_valid < 0:
            raise Damaged("levels")
        return frozen(EVERY if n_valid == n else valid)

    def _dictionary(self, data: np.ndarray, first: int, last: int, n: int) -> Slices | Micros:
        if not 0 <= n <= last - first:
            raise Damaged("a dictionary")
        if not self.leaf.text:
            return Micros(_longs(data, first, last, n), self.leaf.utc)
        starts, ends = np.empty(n, np.int32), np.empty(n, np.int32)
        if not kernel.plain_texts(data, first, last, starts, ends):
            raise Damaged("a dictionary")
        return Slices(frozen(data), frozen(starts), frozen(ends), frozen(EVERY))

    def _values(
        self, data: np.ndarray, first: int, last: int, n: int, encoding: int, valid: np.ndarray
    ) -> Piece:
        if not 0 <= n <= self._rows_most:
            raise Damaged("more rows than the file has")
        one, two, three, _ = self._scratch.ints(n)
        n_values = int(valid.sum()) if len(valid) else n
        if encoding in (DICTIONARY, OLD_DICTIONARY):
            if self._words is None or (first >= last and n_values):
                raise Damaged("no dictionary")
            width = int(data[first]) if n_values else 0
            packed = one if not len(valid) else two[:n_values]
            limit = len(self._words)
            if width > 32 or kernel.hybrid(data, first + 1, last, width, limit, packed) < 0:
                raise Damaged("places in a dictionary")
            if len(valid):
                kernel.spread(packed, valid, -1, one)
            return Chosen(self._words, one)
        if encoding != PLAIN:
            raise Damaged(f"encoding {encoding}")
        if not self.leaf.text:
            values = _longs(data, first, last, n_values)
            if len(valid):
                dense, values = values, np.empty(n, np.int64)
                kernel.spread(dense, valid, int(MISSING), values)
            return Micros(values, self.leaf.utc)
        starts, ends = (one, two) if not len(valid) else (three[:n_values], np.empty(n_values, np.int32))
        if not kernel.plain_texts(data, first, last, starts, ends):
            raise Damaged("texts beyond the page")
        if len(valid):
            kernel.spread(starts, valid, 0, one)
            kernel.spread(ends, valid, 0, two)
        return Slices(frozen(data), frozen(one), frozen(two), valid)


def _longs(data: np.ndarray, first: int, last: int, n: int) -> np.ndarray:
    if first + 8 * n > last:
        raise Damaged("numbers beyond the page")
    return np.frombuffer(data[first : first + 8 * n].tobytes(), np.int64)


def _unzst(found: np.ndarray, n_bytes: int) -> np.ndarray:
    import pyarrow as pa

    try:
        return np.frombuffer(pa.Codec("zstd").decompress(found, n_bytes), np.uint8)
    except (pa.ArrowException, OSError) as problem:
        raise Damaged(str(problem)) from None
