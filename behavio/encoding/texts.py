"""Text columns as slices of bytes, and the growing list of distinct texts they are coded by."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from behavio.encoding.pieces import EVERY, Chosen, Pieces, Slices, Unfit, frozen
from behavio.kernels import intern as kernel
from behavio.kernels.pages import chosen as put_chosen

if TYPE_CHECKING:
    import pyarrow as pa


def valid_rows(array: pa.Array) -> np.ndarray:
    """bool (n,), or EVERY when no value is null."""
    if array.null_count == 0:
        return frozen(EVERY)
    return frozen(array.is_valid().to_numpy(zero_copy_only=False))


def slices_of(array: pa.Array) -> Slices:
    """The slices of an Arrow array of strings, without a copy of its text."""
    import pyarrow as pa

    if pa.types.is_string_view(array.type):
        array = array.cast(pa.large_string())
    large = pa.types.is_large_string(array.type)
    _, offsets, data = array.buffers()
    width = np.int64 if large else np.int32
    n, first = len(array), array.offset
    bounds = np.frombuffer(offsets, width)[first : first + n + 1] if n else np.zeros(1, width)
    text = np.frombuffer(data, np.uint8) if data is not None and data.size else np.zeros(0, np.uint8)
    if large:
        text, bounds = text[bounds[0] : bounds[-1]], (bounds - bounds[0]).astype(np.int32)
    bounds = frozen(bounds)
    return Slices(frozen(text), bounds[:-1], bounds[1:], valid_rows(array))


FEW = 1 << 20
"""Up to so many texts become a column by way of Python, which is quicker than importing Arrow for it."""


class Texts:
    """Distinct texts in order of appearance; the code of a text is its place."""

    def __init__(self) -> None:
        self.n = self._checked = 0
        self._table = np.full(1 << 12, -1, np.int64)
        self._pool = np.empty(1 << 16, np.uint8)
        self._bounds = np.zeros((1 << 11) + 2, np.int64)
        self._last: tuple[Any, Any, np.ndarray] = ((), None, EVERY)

    @property
    def pool(self) -> np.ndarray:
        """uint8: the bytes of all texts, one after the other."""
        return self._pool[: self._bounds[self.n]]

    @property
    def bounds(self) -> np.ndarray:
        """int64 (n + 1,): where each text begins and ends in the pool."""
        return self._bounds[: self.n + 1]

    def codes(self, column: Slices | Chosen | Pieces | pa.Array, out: np.ndarray | None = None) -> np.ndarray:
        """int32 (n,): the code of every row, -1 where the row is empty; written to `out` where given."""
        out = np.empty(len(column), np.int32) if out is None else out
        if isinstance(column, Slices):
            return self._codes(column, out)
        if isinstance(column, Pieces):
            for piece, rows in column:
                self.codes(piece, out[rows])
            return out
        if isinstance(column, Chosen):
            put_chosen(column.places, self._words(column.words), -1, out)
            return out
        if hasattr(column, "dictionary"):
            known = self._dictionary(column.dictionary)
            chosen = column.indices.cast("int32") if column.indices.type != "int32" else column.indices
            places = np.frombuffer(chosen.buffers()[1], np.int32)[chosen.offset :][: len(out)]
            kernel.gather(frozen(places), valid_rows(column), known, out)
            return out
        return self._codes(slices_of(column), out)

    def _dictionary(self, words: pa.Array) -> np.ndarray:
        """Codes of a dictionary's words; batches of one row group share theirs, which is then known."""
        where = (len(words), words.offset, *(b.address for b in words.buffers() if b is not None))
        if where != self._last[0]:
            texts = slices_of(words)
            codes = frozen(self._codes(texts, np.empty(len(texts), np.int32)))
            self._last = (where, words, codes)  # held, so that its place in memory stays its own
        return self._last[2]

    def _words(self, words: Any) -> np.ndarray:
        """Codes of the words of a dictionary that is known by being the same object."""
        if self._last[1] is not words:
            self._last = (None, words, frozen(self._codes(words, np.empty(len(words), np.int32))))
        return self._last[2]

    def _codes(self, texts: Slices, out: np.ndarray) -> np.ndarray:
        row = 0
        while row < len(out):
            row, self.n = kernel.intern(
                texts.data, texts.starts, texts.ends, texts.valid, row,
                self._table, self._pool, self._bounds, self.n, out,
            )  # fmt: skip
            if row < len(out):
                self._grow(int(texts.ends[row] - texts.starts[row]))
        self._check()
        return out

    def _check(self) -> None:
        """Unfit when a new text is no UTF-8: none begins inside a letter, and all together are sound."""
        if self.n > self._checked:
            first, last = self._bounds[self._checked], self._bounds[self.n]
            begins = self._bounds[self._checked : self.n]
            new = self._pool[first:last].tobytes()
            try:
                sound = new.isascii() or (
                    new.decode("utf-8") and not (self._pool[begins[begins < last]] & 0xC0 == 0x80).any()
                )
            except UnicodeDecodeError:
                sound = False
            if not sound:
                raise Unfit("no UTF-8")
            self._checked = self.n

    def _grow(self, needed: int) -> None:
        """Twice the room wherever it ran out."""
        used = int(self._bounds[self.n])
        if used + needed > len(self._pool):
            larger = np.empty(max(2 * len(self._pool), used + needed), np.uint8)
            larger[:used] = self._pool[:used]
            self._pool = larger
        if self.n + 2 > len(self._bounds) or self.n >= len(self._table) // 2:
            bounds = np.zeros(len(self._table) + 2, np.int64)
            bounds[: self.n + 1] = self._bounds[: self.n + 1]
            self._bounds = bounds
            self._table = np.full(2 * len(self._table), -1, np.int64)
            kernel.fill_table(self._pool, self._bounds, self.n, self._table)

    def release(self) -> None:
        """Give back the table: no further text will come."""
        self._table = np.full(2, -1, np.int64)

    def series(self, codes: np.ndarray | None = None) -> pl.Series:
        """The texts (or those of these codes) as a column; bytes are shared where they can be."""
        ends = self.bounds[1:] if codes is None else self.bounds[codes + 1]
        if len(ends) <= FEW and (told := self._ascii()) is not None:
            starts = self.bounds[:-1] if codes is None else self.bounds[codes]
            named = [told[a:b] for a, b in zip(starts.tolist(), ends.tolist(), strict=True)]
            return pl.Series("text", named, dtype=pl.String)
        import pyarrow as pa

        buffers = [None, pa.py_buffer(self.bounds), pa.py_buffer(self.pool)]
        whole = pa.Array.from_buffers(pa.large_string(), self.n, buffers)
        found = whole if codes is None else whole.take(indices(codes))
        return pl.Series("text", found, dtype=pl.String)

    def _ascii(self) -> str | None:
        """All texts as one, when a byte is a character."""
        try:
            return self.pool.tobytes().decode("ascii")
        except UnicodeDecodeError:
            return None

    def in_order(self) -> np.ndarray:
        """int64 (n,): the codes in the order of their texts, compared as bytes."""
        if self.n == 0:
            return np.zeros(0, np.int64)
        pool, bounds = frozen(self.pool), frozen(self.bounds)
        skip = kernel.common_prefix(pool, bounds)
        keys = np.empty(self.n, np.uint64)
        rising = kernel.sort_keys(pool, bounds, skip, keys)
        order = np.arange(self.n) if rising else np.argsort(keys, kind="stable")
        if not rising:
            second, spare = np.empty(self.n, np.uint64), np.empty(self.n, np.int64)
            kernel.sort_keys(pool, bounds, skip + 8, second)
            kernel.settle_ties(pool, bounds, keys, second, order, skip, spare)
        return order


def indices(codes: np.ndarray) -> pa.Array:
    """Row numbers for Arrow's take; `pa.array` on numpy would import pandas."""
    import pyarrow as pa

    whole = np.ascontiguousarray(codes, np.int64)
    return pa.Array.from_buffers(pa.int64(), len(whole), [None, pa.py_buffer(whole)])
