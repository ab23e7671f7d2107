"""Damaged files of every format: a clear refusal, or every record accounted for; never another exception.

BEHAVIO_FUZZ says how many damaged files of each format are tried (25 by default).
"""

from __future__ import annotations

import gzip
import os
import random
from collections.abc import Callable
from pathlib import Path

import polars as pl
import pyarrow as pa
import pytest
from test_sources_formats import as_json, as_sqlite, as_xml, workbook

from behavio.errors import BehavioError
from behavio.sources import read

CASES = int(os.environ.get("BEHAVIO_FUZZ", "25"))
ROWS = [
    (
        f"c{i % 4}",
        ("call", "e-mail, opened", 'said "yes"', "päuse")[i % 4],
        f"2025-01-{i + 1:02d} 10:00",
        f"{i:03d}",
    )
    for i in range(12)
]
TABLE = pl.DataFrame(ROWS, schema=["case_id", "activity", "timestamp", "note"], orient="row")


def csv(path: Path) -> None:
    TABLE.write_csv(path)


def packed(pack: Callable[[bytes], bytes]) -> Callable[[Path], None]:
    def write(path: Path) -> None:
        path.write_bytes(pack(TABLE.write_csv().encode()))

    return write


def xes(path: Path) -> None:
    events = "".join(
        f'<event><string key="concept:name" value="{i}"/>'
        f'<date key="time:timestamp" value="2025-01-{i + 1:02d}T10:00:00Z"/></event>'
        for i in range(6)
    )
    trace = f'<trace><string key="concept:name" value="c"/>{events}</trace>'
    path.write_text(f'<?xml version="1.0" encoding="UTF-8"?>\n<log xes.version="1.0">{trace}</log>')


def excel(path: Path) -> None:
    workbook(path, Calls=[TABLE.columns, *map(list, ROWS)])


FORMATS: dict[str, Callable[[Path], None]] = {
    "csv": csv,
    "tsv": lambda p: TABLE.write_csv(p, separator="\t"),
    "utf16.csv": lambda p: p.write_bytes(TABLE.write_csv().encode("utf-16")),
    "csv.gz": packed(lambda b: gzip.compress(b, mtime=0)),
    "csv.zst": packed(lambda b: pa.compress(b, codec="zstd", asbytes=True)),
    "jsonl": lambda p: TABLE.write_ndjson(p),
    "json": lambda p: TABLE.write_json(p),
    "parquet": lambda p: TABLE.write_parquet(p),
    "arrow": lambda p: TABLE.write_ipc(p),
    "ipc": lambda p: TABLE.write_ipc_stream(p),
    "xlsx": excel,
    "xes": xes,
    "jsonocel": as_json,
    "xmlocel": as_xml,
    "sqlite": as_sqlite,
}


def damaged(data: bytes, others: list[bytes], rng: random.Random) -> bytes:
    """One to three of: cut off, flip bytes, repeat, drop, a piece of another, NULs, a mark, line ends."""
    for _ in range(rng.randint(1, 3)):
        a, b = sorted(rng.randrange(len(data) + 1) for _ in range(2))
        other = rng.choice(others)
        c, d = sorted(rng.randrange(len(other) + 1) for _ in range(2))
        kind = rng.randrange(8)
        if kind == 0:
            data = data[:b]
        elif kind == 1:
            flipped = bytearray(data)
            for _ in range(rng.randint(1, 8)):
                if flipped:
                    flipped[rng.randrange(len(flipped))] ^= 1 << rng.randrange(8)
            data = bytes(flipped)
        elif kind == 2:
            data = data[:b] + data[a:]
        elif kind == 3:
            data = data[:a] + data[min(b, a + 40) :]
        elif kind == 4:
            data = data[:a] + other[c : min(d, c + 200)] + data[a:]
        elif kind == 5:
            data = data[:a] + bytes(rng.randint(1, 5)) + data[a:]
        elif kind == 6:
            data = rng.choice([b"\xef\xbb\xbf", b"\xff\xfe", b"\xff"]) + data
        else:
            at = data.replace(
                rng.choice([b"\n", b",", b'"', b" "]), rng.choice([b"\r\n", b";", b"\xe9", b'"']), 3
            )
            data = at
    return data


@pytest.fixture(scope="module")
def sound(tmp_path_factory) -> dict[str, bytes]:
    folder = tmp_path_factory.mktemp("sound")
    found = {}
    for ending, write in FORMATS.items():
        write(folder / f"log.{ending}")
        found[ending] = (folder / f"log.{ending}").read_bytes()
    return found


def outcome(path: Path, ending: str):
    """The log, or None where it was refused with a hint. Anything else fails the test by itself."""
    more = {"object_type": "order"} if "ocel" in ending or ending == "sqlite" else {}
    try:
        log = read(path, **more)
    except BehavioError as problem:
        assert str(problem) and problem.hint
        return None
    for count in log.sources:
        assert count.read == count.accepted + count.rejected + count.merged
        assert sum(count.left_out.values()) == count.merged
    assert log.n_events == sum(c.accepted for c in log.sources)
    assert log.rejected.height == sum(c.rejected for c in log.sources)
    return log


@pytest.mark.parametrize("ending", FORMATS)
def test_damaged_files(ending, sound, tmp_path):
    path = tmp_path / f"log.{ending}"
    path.write_bytes(sound[ending])
    assert outcome(path, ending) is not None
    for seed in range(CASES):
        rng = random.Random(f"{ending} {seed}")
        path.write_bytes(damaged(sound[ending], list(sound.values()), rng))
        log = outcome(path, ending)
        if log is not None and ending in ("csv", "tsv"):
            written = path.read_bytes().decode("utf-8", "replace").replace('""', '"')
            for name in ("case_id", "activity"):
                for cell in log.events[name].unique():
                    assert cell in written or not written.isascii(), (seed, cell)
