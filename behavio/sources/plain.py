"""Sound delimited text, block by block: UTF-8, quotes in order, as many cells in every row as in the header.

Most exports are like that, and then nothing needs the careful reader of `text`: each block is checked as a
whole and cut by Polars, which is asked for the wanted columns only. At the first byte that takes a closer
look the file is left to the careful reader, whose answer this one gives to the cell.
"""

from __future__ import annotations

import re
from codecs import BOM_UTF8
from collections.abc import Iterator
from dataclasses import dataclass
from io import FileIO

import numpy as np
import polars as pl

from behavio.sources.inputs import Input, recognise, steady
from behavio.sources.text import SMALL, Lines, _header, delimiter_of, needed, told_delimiter, unique_names

BLOCK = 8 << 20
PIECE = 1 << 18
"""Bytes checked at a time: what is made of them stays in the processor's cache."""
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
NEWLINE, RETURN, QUOTE = 10, 13, 34


@dataclass(frozen=True, slots=True)
class _Shape:
    """What the first lines say: the delimiter and the names of all columns."""

    delimiter: str
    names: list[str]
    notes: list[str]


def read_plain(
    item: Input, format: str | None, delimiter: str | None, columns: frozenset[str] | None
) -> tuple[Lines, list[str]] | None:
    """Rows of a sound delimited file and notes on its format; None where it takes a closer look."""
    if item.member or format not in (None, "csv", "tsv"):
        return None
    try:
        if not item.path.is_file() or item.path.stat().st_size < SMALL:
            return None
        with steady(item) as file:
            blocks = _blocks(file)
            first = next(blocks, b"").removeprefix(BOM_UTF8)
            head = first[:4_000].lstrip(b" \t")
            if b"\x00" in head or head.startswith(OTHER):
                return None
            kind, notes = recognise(first, item, format)
            shape = _shape(first, delimiter, tabs=kind == "tsv") if kind in ("csv", "tsv") else None
            frame = None if shape is None else _frame(first, blocks, shape, columns)
    except (OSError, pl.exceptions.PolarsError):
        return None  # told by the careful reader
    if shape is None or frame is None:
        return None
    return Lines(frame, pl.int_range(1, frame.height + 1, eager=True), notes=shape.notes), notes


def _blocks(file: FileIO) -> Iterator[bytes]:
    """The file in pieces of whole lines; the last one ends with a line break even where the file does not.

    One buffer is read into again and again: fresh memory for every block would cost as much as reading it.
    """
    buffer = bytearray(BLOCK)
    held = 0
    while n := file.readinto(memoryview(buffer)[held:]):
        held += n
        end = buffer.rfind(b"\n", 0, held) + 1
        if end:
            yield bytes(memoryview(buffer)[:end])
            buffer[: held - end] = buffer[end:held]
            held -= end
        elif held == len(buffer):
            yield b'"\n'  # a row of many megabytes: let it be read the other way
            return
    if held:
        yield bytes(buffer[:held]) + b"\n"


def _shape(first: bytes, delimiter: str | None, *, tabs: bool) -> _Shape | None:
    """How the file is written; None where its first lines need care."""
    if first[:1] in (b"", b"\r", b"\n") or re.match(rb"sep=.\r?\n", first):
        return None
    sign = delimiter_of(first, delimiter, tabs=tabs)
    if len(sign) != 1 or not sign.isascii() or sign in '"\r\n':
        return None
    names, notes = unique_names(_header(first, sign))
    if len(names) < 2:
        return None
    return _Shape(sign, names, [*notes, *told_delimiter(sign, delimiter, tabs=tabs)])


def _frame(
    first: bytes, blocks: Iterator[bytes], shape: _Shape, columns: frozenset[str] | None
) -> pl.DataFrame | None:
    """The wanted columns of all blocks, None as soon as one is not sound."""
    wanted = needed(shape.names, columns)
    places = [place for place, name in enumerate(shape.names) if name in wanted]
    kinds = dict.fromkeys(shape.names, pl.String)
    cells: list[list[pl.Series]] = [[] for _ in wanted]
    head = 1
    block: bytes | None = first
    while block is not None:
        n = _rows(block, ord(shape.delimiter), len(shape.names))
        if n is None:
            return None
        part = pl.read_csv(
            block, has_header=False, skip_rows=head, columns=places, schema=kinds,
            separator=shape.delimiter, quote_char='"' if b'"' in block else None, infer_schema=False,
        )  # fmt: skip
        if part.height != n - head or part.columns != wanted:
            return None
        for column, found in zip(cells, part.get_columns(), strict=True):
            column.append(found)
        block, head = next(blocks, None), 0
    cells.reverse()
    whole = pl.DataFrame([pl.concat(cells.pop(), rechunk=True) for _ in wanted])  # one at a time: less memory
    return whole if whole.height else None


def _rows(block: bytes, sign: int, width: int) -> int | None:
    """Lines of a sound block; None when a row has another width, or a quote or a letter is out of order.

    Every byte is one bit of a word, so that 64 of them are looked at in one step.
    """
    if not (block.isascii() or _is_utf8(block)):
        return None
    data = np.frombuffer(block, np.uint8)
    delimiters, breaks = _bits(data, sign), _bits(data, NEWLINE)
    returns = _bits(data, RETURN) if b"\r" in block else np.zeros_like(breaks)
    if (returns & ~_before(breaks)).any():
        return None  # a return inside a cell
    if b'"' in block:
        quotes = _bits(data, QUOTE)
        inside = _between(quotes)
        delimiters &= ~inside
        opening, closing, ends = quotes & inside, quotes & ~inside, delimiters | breaks
        behind = _behind(ends | closing)
        behind[0] |= np.uint64(1)
        wrong = (breaks & inside) | (opening & ~behind) | (closing & ~_before(ends | returns | opening))
        if wrong.any():
            return None
    counted = np.cumsum(np.bitwise_count(delimiters), dtype=np.int64)
    places = _places(breaks)
    word = places >> 6
    after = delimiters[word] >> (places & 63).astype(np.uint64)
    found = counted[word] - np.bitwise_count(after)
    return len(places) if (np.diff(found, prepend=0) == width - 1).all() else None


def _bits(data: np.ndarray, byte: int) -> np.ndarray:
    """uint64: bit k of word i is set where data[64 i + k] is this byte."""
    pieces = [
        np.packbits(data[at : at + PIECE] == byte, bitorder="little") for at in range(0, len(data), PIECE)
    ]
    size = sum(len(p) for p in pieces)
    return np.concatenate([*pieces, np.zeros(-size % 8, np.uint8)]).view(np.uint64)


def _places(words: np.ndarray) -> np.ndarray:
    """Where bits are set; where they lie far apart only the words that hold one are looked at."""
    held = np.flatnonzero(words)
    found = words[held]
    if (found & (found - np.uint64(1))).any():
        return np.flatnonzero(np.unpackbits(words.view(np.uint8), bitorder="little"))
    return held * 64 + np.bitwise_count(found - np.uint64(1))


def _behind(words: np.ndarray) -> np.ndarray:
    """Bits set one place behind each."""
    moved = words << np.uint64(1)
    moved[1:] |= words[:-1] >> np.uint64(63)
    return moved


def _before(words: np.ndarray) -> np.ndarray:
    """Bits set one place before each."""
    moved = words >> np.uint64(1)
    moved[:-1] |= words[1:] << np.uint64(63)
    return moved


def _between(quotes: np.ndarray) -> np.ndarray:
    """Bits set from each odd quote up to the even one behind it, without that one (as in simdjson, 2019)."""
    odd = quotes.copy()
    for step in (1, 2, 4, 8, 16, 32):
        odd ^= odd << np.uint64(step)
    whole = np.cumsum(np.bitwise_count(quotes), dtype=np.int64) & 1
    odd[1:] ^= -whole[:-1].view(np.uint64)
    return odd


def _is_utf8(block: bytes) -> bool:
    try:
        block.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True
