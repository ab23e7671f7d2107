"""Sound delimited text, block by block: no quotes, UTF-8, and in every row as many cells as in the header.

Most exports are like that, and then nothing needs the careful reader of `text`: each block is checked as a
whole and cut by Polars, which is asked for the wanted columns only. At the first byte that needs a closer
look the file is given back unread. The answer is the one of the careful reader, to the cell.
"""

from __future__ import annotations

import re
from codecs import BOM_UTF8
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO

import numpy as np
import polars as pl

from behavio.sources.inputs import Input, recognise, steady
from behavio.sources.text import SMALL, Lines, _header, delimiter_of, needed, told_delimiter, unique_names

BLOCK = 8 << 20
PIECE = 1 << 18
"""Bytes checked at a time: what is made of them stays in the processor's cache."""
LONGEST_ROW = 64 << 20
OTHER = (
    b"\x1f\x8b",
    b"\x28\xb5\x2f\xfd",
    b"PK\x03\x04",
    b"PAR1",
    b"ARROW1",
    b"SQLite",
    b"%PDF",
    b"<",
    b"{",
    b"[",
)
"""First bytes of what is no delimited text."""
NEWLINE = 10


@dataclass(frozen=True, slots=True)
class _Shape:
    """What the first lines say: the delimiter, the names of all columns, and how lines end."""

    delimiter: str
    names: list[str]
    notes: list[str]
    returns: bool


def read_plain(
    item: Input, format: str | None, delimiter: str | None, columns: frozenset[str] | None
) -> tuple[Lines, list[str]] | None:
    """Rows of a sound delimited file and notes on its format; None where it takes a closer look."""
    if item.member or format not in (None, "csv", "tsv") or not item.path.is_file():
        return None
    try:
        with steady(item) as file:
            blocks = _blocks(file)
            first = next(blocks, b"").removeprefix(BOM_UTF8)
            head = first[:4_000].lstrip(b" \t")
            if len(first) < SMALL or b"\x00" in head or head.startswith(OTHER):
                return None
            kind, notes = recognise(first, item, format)
            shape = _shape(first, delimiter, tabs=kind == "tsv") if kind in ("csv", "tsv") else None
            frame = None if shape is None else _frame(first, blocks, shape, columns)
    except OSError:
        return None  # told by the careful reader
    if shape is None or frame is None:
        return None
    return Lines(frame, pl.int_range(1, frame.height + 1, eager=True), notes=shape.notes), notes


def _blocks(file: BinaryIO) -> Iterator[bytes]:
    """The file in pieces of whole lines; the last one ends with a line break even where the file does not."""
    rest = b""
    while fresh := file.read(BLOCK):
        end = fresh.rfind(b"\n") + 1
        if end:
            yield rest + fresh[:end]
            rest = fresh[end:]
        else:
            rest += fresh
            if len(rest) > LONGEST_ROW:
                yield b'"'  # no row of a sound file
                return
    if rest:
        yield rest + b"\n"


def _shape(first: bytes, delimiter: str | None, *, tabs: bool) -> _Shape | None:
    """How the file is written; None where its first lines need care."""
    if first[0] in b"\r\n" or re.match(rb"sep=.\r?\n", first):
        return None
    sign = delimiter_of(first, delimiter, tabs=tabs)
    if len(sign) != 1 or not sign.isascii() or sign in '"\r\n':
        return None
    names, notes = unique_names(_header(first, sign))
    if len(names) < 2:
        return None
    return _Shape(sign, names, [*notes, *told_delimiter(sign, delimiter, tabs=tabs)], b"\r" in first)


def _frame(
    first: bytes, blocks: Iterator[bytes], shape: _Shape, columns: frozenset[str] | None
) -> pl.DataFrame | None:
    """The wanted columns of all blocks, None as soon as one is not sound."""
    wanted = needed(shape.names, columns)
    places = [place for place, name in enumerate(shape.names) if name in wanted]
    kinds = {f"column_{place}": pl.String for place in range(1, len(shape.names) + 1)}
    parts: list[pl.DataFrame] = []
    block: bytes | None = first
    while block is not None:
        n = _rows(block, shape)
        if n is None:
            return None
        head = 0 if parts else 1
        part = pl.read_csv(
            block, has_header=False, skip_rows=head, columns=places, schema=kinds,
            separator=shape.delimiter, quote_char=None, infer_schema=False,
        )  # fmt: skip
        if part.height != n - head:
            return None
        parts.append(part)
        block = next(blocks, None)
    whole = pl.concat(parts)
    return None if whole.height == 0 else whole.rename(dict(zip(whole.columns, wanted, strict=True)))


def _rows(block: bytes, shape: _Shape) -> int | None:
    """Number of lines of a sound block; None for a quote, a damaged letter or a row of another width.

    Delimiters are counted up to each line break: a bit per byte, the bits of whole words at once.
    """
    if b'"' in block or not (block.isascii() or _is_utf8(block)):
        return None
    data = np.frombuffer(block, np.uint8)
    n, open_cells = 0, 0
    for at in range(0, len(data), PIECE):
        piece = data[at : at + PIECE]
        bits = np.packbits(piece == ord(shape.delimiter), bitorder="little")
        if len(bits) % 8:
            bits = np.concatenate([bits, np.zeros(-len(bits) % 8, np.uint8)])
        words = bits.view(np.uint64)
        ends = np.cumsum(np.bitwise_count(words), dtype=np.int64)
        breaks = np.flatnonzero(piece == NEWLINE)
        inside = (np.uint64(1) << (breaks & 63).astype(np.uint64)) - np.uint64(1)
        word = breaks >> 6
        found = ends[word] - np.bitwise_count(words[word]) + np.bitwise_count(words[word] & inside)
        if (np.diff(found, prepend=-open_cells) != len(shape.names) - 1).any():
            return None
        n += len(breaks)
        open_cells = int(ends[-1]) - (int(found[-1]) if len(found) else -open_cells)
    returns = block.count(b"\r") if shape.returns or b"\r" in block else 0
    if returns and (returns != n or block.count(b"\r\n") != n):
        return None  # mixed line ends, or a return inside a cell
    return n


def _is_utf8(block: bytes) -> bool:
    try:
        block.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True
