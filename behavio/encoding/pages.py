"""Parquet read page by page, straight from packed bytes to codes, in memory that is used again and again.

It takes the plain files most logs are: flat columns, text as UTF-8, times in whole microseconds, pages that
are plain or point into a dictionary, unpacked or packed by Snappy, gzip or zstd. Any other file is read
through Arrow. Source: Apache Parquet format, README and parquet.thrift.
"""

from __future__ import annotations

import base64
import os
from collections.abc import Callable, Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from behavio.encoding.chunk import (
    BATCH,
    DICTIONARY,
    GZIP,
    LARGEST,
    OLD_DICTIONARY,
    PLAIN,
    RUNS,
    SNAPPY,
    UNPACKED,
    ZSTD,
    ChunkReader,
    Leaf,
    Scratch,
)
from behavio.encoding.columnar import Batch, Columnar, Opened
from behavio.encoding.pieces import Pieces, Unfit
from behavio.encoding.thrift import Damaged, Fields, read_struct
from behavio.sources.inputs import Input

MAGIC = b"PAR1"
TEXT, LONG = 6, 2
"""Parquet's physical types of texts and of 64-bit numbers."""
FOOTER = 1 << 16
"""Bytes of footer that are always read here; more only when they are a small part of the file."""


class Pages(Columnar):
    """One Parquet file, read without Arrow; `open_pages` says whether it can be."""

    at_once = True

    def __init__(self, item: Input, notes: list[str], footer: Fields) -> None:
        Opened.__init__(self, item, notes)
        self.kind = "parquet"
        self.leaves = leaves_of(footer)
        self.columns = list(self.leaves)
        self._footer = footer

    @cached_property
    def schema(self) -> Any:
        """Arrow's view of the columns, for what is not streamed."""
        return self._open([]).schema_arrow

    def plain(self) -> Columnar:
        """The same file read through Arrow."""
        return Columnar(self.item, "parquet", self.notes)

    def batches(self, columns: Sequence[str]) -> Iterator[tuple[Batch, float]]:
        """Batches with the share of the file that is read after each. Raises Unfit for a damaged file."""
        try:
            here = self.takes(columns)
        except (KeyError, TypeError, IndexError):
            raise Unfit("a damaged footer") from None
        if not here:
            yield from super().batches(columns)
            return
        scratches = {c: Scratch() for c in columns}
        done, total = 0, sum(g[3] for g in self._footer[4])
        handle = os.open(self.item.path, os.O_RDONLY)
        try:
            for group in self._footer[4]:
                readers = {
                    c: ChunkReader(handle, group[1][self.leaves[c].place][3], self.leaves[c], scratches[c])
                    for c in columns
                }
                n = group[3]
                parts = -(-n // BATCH)
                for part in range(parts):
                    size = n * (part + 1) // parts - n * part // parts
                    yield (
                        Batch({c: Pieces(size, readers[c].pieces) for c in columns}, done + 1),
                        (done + size) / total,
                    )
                    done += size
        except OSError as problem:
            raise Unfit(str(problem)) from None
        finally:
            os.close(handle)

    def head(self, n: int) -> pl.DataFrame:
        """All columns of the first rows."""
        return _sound(lambda: super(Pages, self).head(n))

    def frame(self, rows: np.ndarray) -> pl.DataFrame:
        """All columns of these records (1-based, rising), as the careful path sees them."""
        return _sound(lambda: super(Pages, self).frame(rows))

    def takes(self, columns: Sequence[str]) -> bool:
        """Whether these columns can be read here: their kinds, encodings and packing."""
        for name in columns:
            leaf = self.leaves[name]
            if not (leaf.text or leaf.micros):
                return False
            for group in self._footer[4]:
                meta = group[1][leaf.place].get(3)
                if meta is None or 1 in group[1][leaf.place] or meta[4] not in (UNPACKED, SNAPPY, GZIP, ZSTD):
                    return False
                if not set(meta[2]) <= {PLAIN, OLD_DICTIONARY, RUNS, DICTIONARY} or meta[7] > LARGEST:
                    return False
                starts = (meta[9], meta.get(11) or 0, meta[7], group[3])
                if meta[5] != group[3] or min(starts) < 0:
                    return False
        return True


def _sound(read: Callable[[], pl.DataFrame]) -> pl.DataFrame:
    """What Arrow reads; Unfit where it finds damage."""
    import pyarrow as pa

    try:
        return read()
    except (pa.ArrowException, OSError) as problem:
        raise Unfit(str(problem)) from None


def open_pages(item: Input, notes: list[str]) -> Pages | None:
    """The file, when its footer is small and its columns are flat; None leaves it to Arrow."""
    try:
        footer = footer_of(item.path)
        if footer is None or 8 in footer or any(not _flat(e) for e in footer[2][1:]):
            return None
        if len({e[4] for e in footer[2][1:]}) != len(footer[2]) - 1 or _extended(footer):
            return None
        return Pages(item, notes, footer)
    except (OSError, Damaged, KeyError, TypeError, ValueError, AttributeError):
        return None


def footer_of(path: Path) -> Fields | None:
    """The metadata at the end of a Parquet file, None where it is large beside the file."""
    with path.open("rb") as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(max(size - 8, 0))
        tail = file.read(8)
        length = int.from_bytes(tail[:4], "little")
        if len(tail) < 8 or tail[4:] != MAGIC or length > max(FOOTER, size >> 9) or length + 12 > size:
            return None
        file.seek(size - 8 - length)
        return read_struct(file.read(length))[0]


def _flat(element: Fields) -> bool:
    """Whether a column is one of the simple kinds: no nesting, no bytes that are no text."""
    simple = not element.get(5) and element.get(3) in (0, 1) and element.get(1) in (0, 1, 2, 4, 5, TEXT)
    return simple and (element[1] != TEXT or _is_text(element))


def _is_text(element: Fields) -> bool:
    return element[1] == TEXT and (1 in element.get(10, {}) or (10 not in element and element.get(6) == 0))


def _extended(footer: Fields) -> bool:
    """Whether Arrow's own schema in the file speaks of extension types."""
    for pair in footer.get(5, ()):
        if pair.get(1) == b"ARROW:schema" and b"ARROW:extension" in base64.b64decode(pair.get(2, b"")):
            return True
    return False


def leaves_of(footer: Fields) -> dict[str, Leaf]:
    """The columns of a flat file by name."""
    found = {}
    for place, element in enumerate(footer[2][1:]):
        time = element.get(10, {}).get(8)
        micros = element[1] == LONG and time is not None and 2 in time[2]
        name = element[4].decode("utf-8")
        found[name] = Leaf(
            place=place,
            kind=element[1],
            optional=element[3] == 1,
            text=_is_text(element),
            micros=micros,
            utc=bool(micros and time[1]),
        )
    return found
