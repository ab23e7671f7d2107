"""Columns of numbers that grow batch by batch: in memory while they are small, in flat files after that."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Self

import numpy as np

CHUNK = 1 << 20
"""Events read back at a time."""


class Streams:
    """Some columns of equal length, filled together block by block and read back in chunks of rows.

    Blocks are large, so that the system hands out memory in large pages; once they take more than `budget`
    bytes, every full block goes to its file.
    """

    def __init__(self, kinds: dict[str, Any], folder: Path, budget: int) -> None:
        self.kinds = {n: np.dtype(k) for n, k in kinds.items()}
        self.n = 0
        self._folder = folder
        width = sum(k.itemsize for k in self.kinds.values())
        self._limit = max(budget // (width * CHUNK), 1)
        self._blocks: list[dict[str, np.ndarray]] = []
        self._used: list[int] = []
        self._written = 0
        self._files: dict[str, IO[bytes]] = {}

    @property
    def spilled(self) -> bool:
        """True once the columns lie on disk."""
        return bool(self._files)

    def room(self, n: int) -> dict[str, np.ndarray]:
        """The next n (at most CHUNK) rows of every column, to be filled at once."""
        if not self._blocks or self._used[-1] + n > CHUNK:
            if len(self._blocks) >= self._limit:
                self._spill()
            else:
                self._blocks.append({c: np.empty(CHUNK, k) for c, k in self.kinds.items()})
                self._used.append(0)
        first = self._used[-1]
        self._used[-1] += n
        self.n += n
        return {name: column[first : first + n] for name, column in self._blocks[-1].items()}

    def _spill(self) -> None:
        """Write all blocks behind what the files hold; one block stays to be filled anew."""
        if not self._files:
            self._folder.mkdir(parents=True, exist_ok=True)
            for name in self.kinds:
                self._files[name] = (self._folder / f"{name}.bin").open("w+b", buffering=0)
            self._limit = 1
        for block, used in zip(self._blocks, self._used, strict=True):
            for name, column in block.items():
                write_all(self._files[name], column[:used])
        self._written += sum(self._used)
        self._blocks, self._used = self._blocks[-1:], [0]

    def join(self) -> None:
        """All rows are there: what is in files stays there, whole."""
        if self._files:
            self._spill()
            self._blocks, self._used = [], []

    def chunks(self, *names: str) -> Iterator[tuple[int, list[np.ndarray]]]:
        """First row and the columns of each chunk. Chunks in memory are the columns' own: changes stay."""
        first = 0
        for block, used in zip(self._blocks, self._used, strict=True):
            yield first, [block[name][:used] for name in names]
            first += used
        for first in range(0, self._written, CHUNK):
            n = min(CHUNK, self._written - first)
            yield first, [self._read(name, first, n) for name in names]

    def _read(self, name: str, first: int, n: int) -> np.ndarray:
        size = self.kinds[name].itemsize
        found = np.empty(n, self.kinds[name])
        view, at, handle = found.data.cast("B"), 0, self._files[name].fileno()
        while at < n * size:
            at += os.preadv(handle, [view[at:]], first * size + at)
        return found

    def put(self, name: str, first: int, values: np.ndarray) -> None:
        """Keep the changes made to a chunk of one column."""
        if self._files:
            os.pwrite(self._files[name].fileno(), values.data.cast("B"), first * values.itemsize)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for file in self._files.values():
            file.close()
            Path(file.name).unlink(missing_ok=True)
        self._files, self._blocks = {}, []


def write_all(file: Any, values: np.ndarray) -> None:
    """Write all bytes of an array to an unbuffered file."""
    data = np.ascontiguousarray(values).data.cast("B")
    while len(data):
        data = data[file.write(data) :]


class ArraySink:
    """Takes an array piece by piece, as one array in memory or one .npy file written front to back."""

    def __init__(self, path: Path | None, kind: Any, n: int) -> None:
        self.kind, self.n = np.dtype(kind), n
        self._at = 0
        self._array = np.empty(n, self.kind) if path is None else None
        self._file = None
        if path is not None:
            self._file = path.open("wb", buffering=0)
            header = {"descr": self.kind.str, "fortran_order": False, "shape": (n,)}
            np.lib.format.write_array_header_1_0(self._file, header)

    def write(self, values: np.ndarray) -> None:
        """The next values."""
        if self._array is not None:
            self._array[self._at : self._at + len(values)] = values
        else:
            assert self._file is not None
            write_all(self._file, values)
        self._at += len(values)

    def close(self) -> np.ndarray | None:
        """The array, None when it lies in a file."""
        assert self._at == self.n, f"{self._at} of {self.n} values written"
        if self._file is not None:
            self._file.close()
        return self._array
