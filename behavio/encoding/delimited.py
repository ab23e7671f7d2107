"""CSV and TSV files as slices of their own bytes, block by block, packed with gzip or zstd too."""

from __future__ import annotations

import io
import re
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import polars as pl

from behavio.encoding.columnar import Batch, Opened
from behavio.encoding.pieces import EVERY, Slices, Unfit, frozen
from behavio.errors import LogError
from behavio.kernels import delimited as kernel
from behavio.log import REJECTED_SCHEMA
from behavio.sources.inputs import MARKS, Input
from behavio.sources.tabular import ROW, shorten
from behavio.sources.text import DELIMITERS, _header, _sniff, read_delimited, unique_names

BLOCK = 16 << 20
MOST = 1 << 18
"""Rows of one batch."""
SAMPLE = 1 << 20


class Delimited(Opened):
    """One delimited text file in UTF-8. Raises Unfit for anything that needs a closer look."""

    typed = False

    def __init__(self, item: Input, delimiter: str | None, notes: list[str], *, tabs: bool) -> None:
        super().__init__(item, notes)
        self._kept: list[tuple[int, bytes, bool]] = []
        with self._open() as file:
            sample = _filled(file, SAMPLE)
        data = sample.lstrip(b"\r\n")
        odd_mark = any(sample.startswith(mark) for mark, _ in MARKS[1:])
        head = sample[:4_000]
        if odd_mark or head.count(0) > 0.3 * len(head) or re.match(rb"(\xef\xbb\xbf)?sep=.\r?\n", sample):
            raise Unfit("encoding or a line that names the delimiter")
        if sample.startswith(b"\xef\xbb\xbf"):
            data = sample[3:].lstrip(b"\r\n")
        if b"\n" not in data or (delimiter is not None and (len(delimiter) != 1 or not delimiter.isascii())):
            raise Unfit("one line, or an odd delimiter")
        first = data.partition(b"\n")[0]
        self.delimiter = delimiter or ("\t" if tabs and b"\t" in first else _sniff(data))
        self.header = _header(data, self.delimiter)
        self.columns, more = unique_names(self.header)
        self.notes += more
        if delimiter is None and self.delimiter != ("\t" if tabs else ","):
            self.notes.append(f"delimiter {DELIMITERS.get(self.delimiter, self.delimiter)}")
        if len(self.columns) < 2 or self.delimiter == '"' or self.columns != self.header:
            raise Unfit("a header that needs care")
        self._first = first.rstrip(b"\r")
        if b'"' in self._first and _header(self._first + b"\n", self.delimiter) != self.header:
            raise Unfit("a header of several lines")

    def _open(self) -> Any:
        import pyarrow as pa

        try:
            with self.item.path.open("rb") as file:
                magic = file.read(4)
            packed = "gzip" if magic[:2] == b"\x1f\x8b" else "zstd" if magic == b"\x28\xb5\x2f\xfd" else None
            return pa.input_stream(str(self.item.path), compression=packed, buffer_size=1 << 20)
        except OSError as problem:
            raise Unfit(str(problem)) from None

    def types(self, columns: Sequence[str]) -> list[str]:
        """All columns are text."""
        return ["text" for _ in columns]

    def head(self, n: int) -> pl.DataFrame:
        """All columns of the first rows (of the first block)."""
        with self._open() as file:
            sample = _filled(file, BLOCK)
        whole = sample if len(sample) < BLOCK else sample[: sample.rindex(b"\n") + 1]
        whole = whole.removeprefix(b"\xef\xbb\xbf")
        try:
            return read_delimited(whole, self.item, self.delimiter, tabs=False).frame.head(n)
        except (LogError, UnicodeDecodeError) as problem:
            raise Unfit(str(problem)) from None

    def batches(self, columns: Sequence[str]) -> Iterator[tuple[Batch, float]]:
        """Batches with the share of the file that is read after each. Raises Unfit for damaged text."""
        wanted = np.full(len(self.columns), -1, np.int64)
        for place, name in enumerate(columns):
            wanted[self.columns.index(name)] = place
        done, total, record, header = 0, max(self.n_bytes(), 1), 1, True
        rest = b""
        try:
            with self._open() as file:
                last = False
                while not last:
                    fresh = _filled(file, BLOCK)
                    last = len(fresh) < BLOCK
                    done += len(fresh)
                    block = rest + fresh
                    _checked(block, last)
                    if header:
                        block, header = self._behind_header(block), False
                    rest = b""
                    for batch, n_records, left in self._cut(block, wanted, columns, record, last):
                        record += n_records
                        rest = left
                        if len(batch):
                            yield batch, min(done / total, 1.0)
                    if len(rest) > 4 * BLOCK:
                        raise Unfit("a row of many megabytes")
        except OSError as problem:
            raise Unfit(str(problem)) from None

    def _behind_header(self, block: bytes) -> bytes:
        block = block.removeprefix(b"\xef\xbb\xbf").lstrip(b"\r\n")
        return block[block.index(b"\n") + 1 :]

    def _cut(
        self, block: bytes, wanted: np.ndarray, columns: Sequence[str], record: int, last: bool
    ) -> Iterator[tuple[Batch, int, bytes]]:
        """Batches of one block, records in each, and the bytes that belong to the next block."""
        size = len(block)
        data = np.empty(2 * size if b'""' in block else size, np.uint8)
        data[:size] = np.frombuffer(block, np.uint8)
        at, free = 0, size
        while True:
            starts, ends = np.empty((2, len(columns), MOST), np.int32)
            lines, wrong = np.empty((2, MOST, 3), np.int64)
            n, n_wrong, n_records, at, why, free = kernel.cut(
                data, at, size, last, ord(self.delimiter), len(self.columns), wanted,
                starts, ends, lines, wrong, free,
            )  # fmt: skip
            if why in (kernel.SWALLOWED, kernel.STRAY):
                raise Unfit("quotes that need a closer look")
            if last and n_wrong and at >= size and wrong[n_wrong - 1, 2] >= size:
                raise Unfit("a file that ends in the middle of a row")
            for place, a, b in wrong[:n_wrong].tolist():
                self._kept.append((record + place, block[a:b], True))
            self.n_wrong += n_wrong
            if self.n_wrong > 100_000:
                raise Unfit("many rows of another width")
            text = frozen(data)
            cells = {
                name: Slices(text, frozen(starts[k, :n]), frozen(ends[k, :n]), frozen(EVERY))
                for k, name in enumerate(columns)
            }
            raw = (data, lines[:n, 1], lines[:n, 2])
            yield Batch(cells, record, lines[:n, 0] + record, raw), n_records, block[at:]
            record += n_records
            if why == kernel.CUT:
                return

    def keep(self, batch: Batch, rows: np.ndarray) -> None:
        """Remember the text of rows that may be rejected."""
        assert batch.raw is not None and batch.rows is not None
        data, starts, ends = batch.raw
        for row in rows.tolist():
            text = bytes(data[starts[row] : ends[row]])
            self._kept.append((int(batch.rows[row]), text, False))

    def _reread(self, rows: np.ndarray) -> Any:
        """These records and all wrong ones, read by the careful reader; and their record numbers."""
        wanted = set(rows.tolist())
        kept = sorted(k for k in self._kept if k[2] or k[0] in wanted)
        if not kept:
            return None, []
        text = b"\n".join([self._first, *(t for _, t, _ in kept)]) + b"\n"
        lines = read_delimited(text, self.item, self.delimiter, tabs=False)
        if lines.frame.height + len(lines.wrong) != len(kept):
            raise Unfit("rows that read otherwise when they stand alone")
        return lines, [k[0] for k in kept]

    def frame(self, rows: np.ndarray) -> pl.DataFrame | None:
        """All columns of these records (1-based)."""
        lines, numbers = self._reread(rows)
        if lines is None:
            return None
        found = lines.frame.with_columns(pl.Series(ROW, [numbers[r - 1] for r in lines.rows], dtype=pl.Int64))
        found = found.filter(pl.col(ROW).is_in(rows.tolist()))
        if found.height != len(rows):
            raise Unfit("rows that read otherwise when they stand alone")
        return found.drop(ROW)

    def wrong(self, place: int) -> pl.DataFrame:
        """Records that are no rows, as the careful path tells them."""
        kinds = {n: t for n, t in REJECTED_SCHEMA.items() if n != "source"}
        if not self.n_wrong:
            return pl.DataFrame(schema=kinds)
        try:
            lines, numbers = self._reread(np.zeros(0, np.int64))
        except LogError as problem:
            raise Unfit(str(problem)) from None
        told = [
            (self.item.shown, numbers[row - 1], "", reason, hint, shorten(raw))
            for row, reason, hint, raw in lines.wrong
        ]
        return pl.DataFrame(told, schema=kinds, orient="row")


def _filled(file: Any, n: int) -> bytes:
    """The next n bytes, fewer only at the end of the file."""
    parts, left = io.BytesIO(), n
    while left and (part := file.read(left)):
        parts.write(part)
        left -= len(part)
    return parts.getvalue()


def _checked(block: bytes, last: bool) -> None:
    """Unfit when a block is no UTF-8; a character cut off at its end may go on in the next block."""
    if block.isascii():
        return
    try:
        block.decode("utf-8")
    except UnicodeDecodeError as problem:
        if last or problem.end < len(block) - 4 or problem.reason != "unexpected end of data":
            raise Unfit("no UTF-8") from None
