"""Columns that come page by page: texts, places in a dictionary, or times."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from behavio.kernels.clock import MISSING

EVERY = np.zeros(0, dtype=bool)
"""Stands for "every row holds a value" where a kernel wants a mask."""


class Unfit(Exception):
    """The stream meets what only the careful path understands; it then reads the whole source."""


@dataclass(frozen=True, slots=True, eq=False)
class Slices:
    """Texts data[starts[i]:ends[i]]; `valid` bool, or of length 0 when no row is empty."""

    data: np.ndarray
    starts: np.ndarray
    ends: np.ndarray
    valid: np.ndarray

    def __len__(self) -> int:
        return len(self.starts)

    def cut(self, first: int, last: int) -> Slices:
        """Some rows."""
        valid = self.valid[first:last] if len(self.valid) else self.valid
        return Slices(self.data, self.starts[first:last], self.ends[first:last], valid)

    def at(self, row: int) -> str:
        """One text."""
        try:
            return bytes(self.data[self.starts[row] : self.ends[row]]).decode("utf-8")
        except UnicodeDecodeError:
            raise Unfit("no UTF-8") from None


def frozen(array: np.ndarray) -> np.ndarray:
    """A read-only view: kernels are then compiled for one kind of array."""
    view = array.view()
    view.flags.writeable = False
    return view


@dataclass(frozen=True, slots=True, eq=False)
class Chosen:
    """Values by their place in a dictionary: texts, or times in µs; int32 (n,), -1 for an empty row.

    The same dictionary is the same object, so what is known of it is worked out once.
    """

    words: Slices | Micros
    places: np.ndarray

    def __len__(self) -> int:
        return len(self.places)

    def cut(self, first: int, last: int) -> Chosen:
        """Some rows."""
        return Chosen(self.words, self.places[first:last])

    def spelled(self) -> Slices:
        """The texts themselves."""
        assert isinstance(self.words, Slices)
        valid = self.places >= 0
        every = bool(valid.all())
        starts, ends = (np.append(x, np.int32(0))[self.places] for x in (self.words.starts, self.words.ends))
        return Slices(self.words.data, frozen(starts), frozen(ends), frozen(EVERY if every else valid))


@dataclass(frozen=True, slots=True, eq=False)
class Micros:
    """Times as int64 µs, MISSING where there is none; `zoned` when they are UTC by the file's own word."""

    values: np.ndarray
    zoned: bool

    def __len__(self) -> int:
        return len(self.values)

    def cut(self, first: int, last: int) -> Micros:
        """Some rows."""
        return Micros(self.values[first:last], self.zoned)

    def of(self, places: np.ndarray) -> Micros:
        """Values at these places, none at -1."""
        known = np.append(self.values, MISSING)  # place -1 is the last
        found = known[places]
        return Micros(found, self.zoned)


Piece = Slices | Chosen | Micros


@dataclass(frozen=True, slots=True, eq=False)
class Pieces:
    """The next n rows of one column, to be gone through once: a piece holds until the next is asked for."""

    n: int
    take: Callable[[int], Iterator[Piece]]

    def __len__(self) -> int:
        return self.n

    def __iter__(self) -> Iterator[tuple[Piece, slice]]:
        at = 0
        for piece in self.take(self.n):
            yield piece, slice(at, at + len(piece))
            at += len(piece)
