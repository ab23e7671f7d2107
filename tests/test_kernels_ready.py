"""Kernels whose machine code is kept: the same answers as by numba, and no numba where it is not needed."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from behavio.kernels import ready
from behavio.kernels.raw import hashed
from behavio.kernels.ready import Kernel


def total(values: np.ndarray, times: int, share: float, back: bool) -> tuple[int, int]:
    """Sum of the values, `times` over, and how many are above `share`."""
    found, above = 0, 0
    for i in range(len(values)):
        at = len(values) - 1 - i if back else i
        found += values[at] * times
        above += values[at] > share
    return found, above


def doubled(values: np.ndarray, out: np.ndarray) -> None:
    """Twice each value of a matrix."""
    for i in range(values.shape[0]):
        for k in range(values.shape[1]):
            out[i, k] = 2 * values[i, k]


def mixed(data: np.ndarray) -> bool:
    """Uses another kernel."""
    return hashed(data, 0, len(data)) == hashed(data, 0, len(data))


def made(values: np.ndarray) -> np.ndarray:
    """Allocates: such code is not kept."""
    return values + 1


@pytest.fixture(autouse=True)
def own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(ready, "folder", lambda: tmp_path)
    return tmp_path


def test_numbers_come_back_from_kept_code(own_folder: Path) -> None:
    kernel = Kernel(total)
    values = np.array([1, 2, 3])
    assert kernel(values, 2, 1.5, True) == (12, 2)
    assert len(list(own_folder.glob("test_kernels_ready.total.*.code"))) == 1
    again = Kernel(total)  # reads the file: nothing is compiled
    again._make = lambda: pytest.fail("numba was asked")
    assert again(values, 2, 1.5, False) == (12, 2)
    assert again(values[:0], 2, 1.5, False) == (0, 0)


def test_matrices_are_filled_and_other_kernels_used() -> None:
    out = np.zeros((2, 3))
    assert Kernel(doubled)(np.arange(6.0).reshape(2, 3), out) is None
    assert out.tolist() == [[0, 2, 4], [6, 8, 10]]
    assert Kernel(mixed)(np.frombuffer(b"some bytes", np.uint8)) is True


def test_what_cannot_be_kept_goes_through_numba(own_folder: Path) -> None:
    assert Kernel(made)(np.array([1, 2])).tolist() == [2, 3]
    kept = list(own_folder.glob("*.code"))
    assert [p.read_bytes() for p in kept] == [b""]  # remembered, so that nobody tries again
    every_other = np.arange(6)[::2]
    assert Kernel(total)(every_other, 1, 0.5, False) == (6, 2)


def test_older_code_makes_room(own_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Kernel(total)(np.array([1]), 1, 0.0, False)
    monkeypatch.setattr(ready, "_stamp", lambda: "another")
    Kernel(total)(np.array([1]), 1, 0.0, False)
    assert [p.name.split(".")[-2] for p in own_folder.glob("*.code")] == ["another"]


def test_encoding_a_plain_log_imports_neither_numba_nor_arrow(tmp_path: Path) -> None:
    import polars as pl

    path = tmp_path / "log.parquet"
    events = {
        "case": ["a", "b"] * 50,
        "activity": ["x"] * 100,
        "time": [f"2024-01-01 10:{i // 2:02d}" for i in range(100)],
    }
    pl.DataFrame(events).write_parquet(path, compression="snappy")
    code = (
        "import sys\nfrom pathlib import Path\nfrom behavio.encoding import encode\n"
        f"done = encode({str(path)!r}, Path({str(tmp_path / 'out')!r}))\n"
        "assert done.streamed, done.why\n"
        "print(sorted({'numba', 'pyarrow', 'rich', 'pandas'} & set(sys.modules)))\n"
    )
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])}
    for attempt in range(2):  # the first may have to compile
        found = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True)
        assert found.returncode == 0, found.stderr
        if attempt:
            assert found.stdout.strip() == "[]"
