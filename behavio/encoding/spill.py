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
    """Some columns of equal length, appended to together and read back in chunks of rows."""

    def __init__(self, kinds: dict[str, Any], folder: Path, budget: int) -> None:
        self.kinds = {n: np.dtype(k) for n, k in kinds.items()}
        self.n = 0
        self._folder, self._budget = folder, budget
        self._parts: dict[str, list[np.ndarray]] = {n: [] for n in kinds}
        self._files: dict[str, IO[bytes]] = {}

    @property
    def spilled(self) -> bool:
        """True once the columns lie on disk."""
        return bool(self._files)

    def append(self, columns: dict[str, np.ndarray]) -> None:
        """More rows of every column."""
        self.n += len(next(iter(columns.values())))
        for name, values in columns.items():
            if self._files:
                self._files[name].write(memoryview(np.ascontiguousarray(values)).cast("B"))
            else:
                self._parts[name].append(values)
        if not self._files and self.n * sum(k.itemsize for k in self.kinds.values()) > self._budget:
            self._spill()

    def _spill(self) -> None:
        self._folder.mkdir(parents=True, exist_ok=True)
        for name in self.kinds:
            self._files[name] = (self._folder / f"{name}.bin").open("w+b", buffering=1 << 20)
            for part in self._parts[name]:
                self._files[name].write(memoryview(np.ascontiguousarray(part)).cast("B"))
            self._parts[name] = []

    def join(self) -> None:
        """All rows are there: what lies in memory becomes one array per column."""
        for file in self._files.values():
            file.flush()
        if not self._files:
            for name, parts in self._parts.items():
                whole = np.concatenate(parts) if parts else np.zeros(0, self.kinds[name])
                parts.clear()
                self._parts[name] = [whole]

    def chunks(self, *names: str) -> Iterator[tuple[int, list[np.ndarray]]]:
        """First row and the columns of each chunk. Chunks in memory are the columns' own: changes stay."""
        for first in range(0, self.n, CHUNK):
            n = min(CHUNK, self.n - first)
            yield first, [self._read(name, first, n) for name in names]

    def _read(self, name: str, first: int, n: int) -> np.ndarray:
        if not self._files:
            return self._parts[name][0][first : first + n]
        size = self.kinds[name].itemsize
        data = bytearray(n * size)
        view, at, handle = memoryview(data), 0, self._files[name].fileno()
        while at < len(data):
            at += os.preadv(handle, [view[at:]], first * size + at)
        return np.frombuffer(data, self.kinds[name])

    def put(self, name: str, first: int, values: np.ndarray) -> None:
        """Overwrite rows of one column."""
        if not self._files:
            own = self._parts[name][0][first : first + len(values)]
            if own.ctypes.data != values.ctypes.data:
                own[:] = values
            return
        os.pwrite(self._files[name].fileno(), memoryview(values).cast("B"), first * values.itemsize)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for file in self._files.values():
            file.close()
            Path(file.name).unlink(missing_ok=True)
        self._files = {}
        self._parts = {}


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
            data = memoryview(np.ascontiguousarray(values)).cast("B")
            while len(data):
                data = data[self._file.write(data) :]
        self._at += len(values)

    def close(self) -> np.ndarray | None:
        """The array, None when it lies in a file."""
        assert self._at == self.n, f"{self._at} of {self.n} values written"
        if self._file is not None:
            self._file.close()
        return self._array
