"""Parquet decoded page by page: against Arrow's own codec and reader, and on damaged files."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from behavio.encoding import encode
from behavio.encoding.pages import Pages, open_pages
from behavio.encoding.thrift import Damaged, read_struct
from behavio.errors import BehavioError
from behavio.kernels import pages as kernel
from behavio.sources.inputs import Input
from tests.test_encoding import checked


def padded(data: bytes) -> np.ndarray:
    return np.frombuffer(data + bytes(kernel.SLACK), np.uint8).copy()


pieces = st.lists(
    st.one_of(st.binary(max_size=40), st.tuples(st.binary(min_size=1, max_size=9), st.integers(1, 60))),
    max_size=30,
)


@given(pieces)
@settings(max_examples=150, deadline=None)
def test_snappy_blocks_come_back(parts: list[Any]) -> None:
    text = b"".join(p if isinstance(p, bytes) else p[0] * p[1] for p in parts)
    block = pa.compress(text, "snappy", asbytes=True)
    out = np.full(len(text) + kernel.SLACK, 7, np.uint8)
    assert kernel.unsnap(padded(block), 0, len(block), out, len(text))
    assert out[: len(text)].tobytes() == text
    assert not kernel.unsnap(padded(block), 0, len(block), np.zeros(999, np.uint8), len(text) + 1)


@given(st.binary(min_size=1, max_size=60), st.integers(0, 200))
@settings(max_examples=200, deadline=None)
def test_damaged_snappy_is_seen_or_harmless(block: bytes, size: int) -> None:
    out = np.full(size + kernel.SLACK + 8, 7, np.uint8)
    kernel.unsnap(padded(block), 0, len(block), out[:-8], size)
    assert (out[-8:] == 7).all()  # nothing is written behind the room it was given


def test_runs_and_bit_packed_groups() -> None:
    # 3 times 5 as a run, then the numbers 0 to 7 of three bits: the example of the Parquet format
    data = bytes([3 << 1, 5, (1 << 1) | 1, 0b10001000, 0b11000110, 0b11111010])
    out = np.zeros(11, np.int32)
    assert kernel.hybrid(padded(data), 0, len(data), 3, 8, out) == 10
    assert out.tolist() == [5, 5, 5, 0, 1, 2, 3, 4, 5, 6, 7]
    assert kernel.hybrid(padded(data), 0, len(data), 3, 7, out) == -1  # 7 is beyond a dictionary of 7
    assert kernel.hybrid(padded(data), 0, len(data) - 1, 3, 8, out) == -1


def table(n: int, seed: int, empty: float = 0.0) -> pa.Table:
    """A log of n events; a share of its cells is empty."""
    draw = random.Random(seed)
    columns: dict[str, list[Any]] = {"case_id": [], "activity": [], "timestamp": [], "channel": []}
    for row in range(n):
        moment = (
            f"2024-{1 + row % 12:02d}-{1 + row % 28:02d}T{row % 24:02d}:{row % 60:02d}:07.{row % 1000:03d}"
        )
        values = (f"c{draw.randrange(n // 3 + 1)}", draw.choice(["x", "y", "größe"]), moment, "f2f")
        for name, value in zip(columns, values, strict=True):
            columns[name].append(None if draw.random() < empty else value)
    return pa.table(columns)


WAYS: list[dict[str, Any]] = [
    {},
    {"compression": "none"},
    {"compression": "gzip", "row_group_size": 70},
    {"compression": "zstd", "data_page_version": "2.0"},
    {"compression": "snappy", "data_page_version": "2.0", "use_dictionary": False},
    {"use_dictionary": False, "data_page_size": 100, "row_group_size": 500},
    {"dictionary_pagesize_limit": 200, "data_page_size": 60, "write_batch_size": 10},
    {"compression": "lz4"},
    {"use_dictionary": False, "column_encoding": {"timestamp": "DELTA_BYTE_ARRAY"}},
]


@pytest.mark.parametrize("empty", [0.0, 0.2])
@pytest.mark.parametrize("way", WAYS, ids=str)
def test_files_of_every_make_equal_the_careful_path(
    tmp_path: Path, way: dict[str, Any], empty: float
) -> None:
    path = tmp_path / "log.parquet"
    pq.write_table(table(1_000, 3, empty), path, **way)
    checked(path)


@pytest.mark.parametrize("zone", [None, "UTC", "Europe/Berlin"])
@pytest.mark.parametrize("way", WAYS[:6], ids=str)
def test_typed_times(tmp_path: Path, zone: str | None, way: dict[str, Any]) -> None:
    log = table(300, 5, 0.1)
    times = pl.Series(log["timestamp"]).str.to_datetime(time_unit="us")
    typed = pa.array(times.to_list(), pa.timestamp("us", tz=zone))
    path = tmp_path / "log.parquet"
    pq.write_table(log.set_column(2, "timestamp", typed), path, **way)
    checked(path)
    if zone is None:
        checked(path, timezone="America/New_York")


def test_files_of_polars_and_required_columns(tmp_path: Path) -> None:
    log = table(500, 9)
    pl.DataFrame(log).write_parquet(tmp_path / "polars.parquet", row_group_size=100)
    checked(tmp_path / "polars.parquet")
    sure = pa.schema([pa.field(f.name, f.type, nullable=False) for f in log.schema])
    pq.write_table(log.cast(sure), tmp_path / "sure.parquet")
    checked(tmp_path / "sure.parquet")


def test_which_files_are_read_page_by_page(tmp_path: Path) -> None:
    path = tmp_path / "log.parquet"

    def opened(log: pa.Table) -> Pages | None:
        pq.write_table(log, path)
        return open_pages(Input(path, path.name), [])

    log = table(20, 1)
    plain = opened(log)
    assert plain is not None and plain.takes(log.column_names)
    numbers = opened(log.set_column(0, "case_id", pa.array(range(20))))
    assert numbers is not None and not numbers.takes(["case_id"])  # numbers as ids are written by Arrow
    assert opened(log.append_column("tags", pa.array([["a"]] * 20))) is None
    assert opened(log.append_column("raw", pa.array([b"a"] * 20))) is None


def test_damaged_files_end_as_the_careful_path_ends(tmp_path: Path) -> None:
    whole = tmp_path / "whole.parquet"
    pq.write_table(table(400, 2), whole, compression="none", use_dictionary=False)
    data, draw = bytearray(whole.read_bytes()), random.Random(5)
    broken = tmp_path / "broken.parquet"
    end = len(data) - 8 - int.from_bytes(data[-8:-4], "little")  # Arrow aborts on some damaged footers
    for _ in range(40):
        copy = bytearray(data)
        for _ in range(3):
            copy[draw.randrange(4, end)] = draw.randrange(256)
        broken.write_bytes(copy)
        try:
            found = encode(broken)
        except BehavioError:
            continue
        assert found.counts[0].read == found.counts[0].accepted + found.rejected.height


def test_thrift_says_what_it_cannot_read() -> None:
    # field 1: i32 -3, field 2: true, field 4: list of two texts
    data = bytes([0x15, 5, 0x11, 0x29, 0x28, 1, 97, 2, 98, 99, 0])
    assert read_struct(data) == ({1: -3, 2: True, 4: [b"a", b"bc"]}, len(data))
    for n in range(len(data)):
        with pytest.raises(Damaged):
            read_struct(data[:n])
