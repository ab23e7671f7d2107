"""The log stage by stream and by the careful way: the same files; a large log is learnt from by a sample."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from polars.testing import assert_frame_equal

from behavio.errors import JobError
from behavio.job import job_from
from behavio.run import Result, run
from behavio.sources import LogSettings

TABLES = ("events", "cases", "consents", "rejected", "plan", "affiliations")
HEAD = "case,activity,time,channel\n"


def made(folder: Path, name: str, path: str, changes: dict[str, Any], **tables: Any) -> Result:
    table = {"source": {"visits": {"path": path}}, "log": changes, **tables}
    return run(job_from(table, name="t", base=folder), folder / name)


def both(folder: Path, path: str, **log: Any) -> Result:
    """Run the log stage both ways and compare every file; returns the streamed run."""
    streamed = made(folder, "streamed", path, {**log, "stream_above_mb": 0})
    held = made(folder, "held", path, {**log, "stream_above_mb": 1e9})
    one, two = streamed.folder / "log", held.folder / "log"
    for name in TABLES:
        mine, theirs = pl.read_parquet(one / f"{name}.parquet"), pl.read_parquet(two / f"{name}.parquet")
        assert_frame_equal(mine, theirs)
    assert json.loads((one / "readiness.json").read_text()) == json.loads(
        (two / "readiness.json").read_text()
    )
    names = sorted(p.name for p in (two / "encoded").iterdir())
    assert sorted(p.name for p in (one / "encoded").iterdir()) == names
    for name in names:
        assert (one / "encoded" / name).read_bytes() == (two / "encoded" / name).read_bytes(), name
    facts = [r.manifest["stages"]["log"]["facts"] for r in (streamed, held)]
    assert facts[0] == facts[1]
    return streamed


@pytest.fixture
def by_stream(monkeypatch: pytest.MonkeyPatch) -> Callable[[], int]:
    """How often a log stage was written by stream."""
    from behavio.run import stages

    calls: list[int] = []
    write = stages.write_streamed

    def counted(*given: Any) -> dict[str, Any]:
        facts = write(*given)
        calls.append(1)
        return facts

    monkeypatch.setattr(stages, "write_streamed", counted)
    return lambda: len(calls)


def test_smallest_log_both_ways(tmp_path: Path, by_stream: Callable[[], int]) -> None:
    rows = "b,x,2024-01-02,f2f\na,y,2024-01-01 10:00,\n,y,2024-01-01,mail\nb,y\nb,y,2024-01-01,mail\n"
    (tmp_path / "log.csv").write_text(HEAD + rows)
    events = both(tmp_path, "log.csv").table("log/events.parquet")
    # record 3 has no case, record 4 too few cells: neither counts as an event
    told = events.select("case_id", "activity", "event_index", "channel", "source_row").rows()
    assert told == [("a", "y", 1, None, 2), ("b", "y", 2, "mail", 5), ("b", "x", 0, "f2f", 1)]
    assert by_stream() == 1


def test_many_files_and_many_row_groups(
    tmp_path: Path, by_stream: Callable[[], int], monkeypatch: pytest.MonkeyPatch
) -> None:
    from behavio.encoding import stage

    monkeypatch.setattr(stage, "GROUP", 50)
    draw = np.random.default_rng(5)
    for part in range(3):
        n = 200
        rows = {
            "case": [f" c{i}" if i % 7 == 0 else f"c{i}" for i in draw.integers(0, 60, n)],
            "activity": draw.choice(["x", "y", "z", ""], n),
            "time": [f"2024-03-{d:02d} 0{d % 9}:00" for d in draw.integers(1, 31, n)],
            "channel": draw.choice(["f2f", "mail", ""], n),
        }
        pl.DataFrame(rows).write_csv(tmp_path / f"part{part}.csv")
    result = both(tmp_path, "part*.csv", end=["z"], open_within="9d")
    assert result.table("log/rejected.parquet").height > 50
    assert by_stream() == 1


def test_typed_parquet(tmp_path: Path, by_stream: Callable[[], int]) -> None:
    days = pl.datetime_range(pl.datetime(2024, 1, 1), pl.datetime(2024, 4, 1), "7h", eager=True)
    n = len(days)
    frame = pl.DataFrame({"case": [f"c{i % 23}" for i in range(n)], "time": days})
    frame = frame.with_columns(activity=pl.Series([None if i % 31 == 0 else "xyz"[i % 3] for i in range(n)]))
    frame.write_parquet(tmp_path / "log.parquet", row_group_size=64)
    both(tmp_path, "log.parquet")
    assert by_stream() == 1


def test_what_cannot_be_streamed_is_read_as_before(tmp_path: Path, by_stream: Callable[[], int]) -> None:
    (tmp_path / "log.csv").write_text("case,activity,time,floor\na,x,2024-01-01,3\n")
    assert "floor" in both(tmp_path, "log.csv").table("log/events.parquet").columns  # it travels along
    (tmp_path / "out.txt").write_text("b\n")
    (tmp_path / "two.csv").write_text(HEAD + "a,x,2024-01-01,\nb,x,2024-01-01,\n")
    result = both(tmp_path, "two.csv", exclude="out.txt")
    assert result.table("log/cases.parquet")["case_id"].to_list() == ["a"]
    assert by_stream() == 0


def test_a_size_below_nothing_is_refused() -> None:
    with pytest.raises(JobError, match="stream_above_mb"):
        LogSettings(stream_above_mb=-1)


def test_learning_uses_a_sample_and_journeys_all(tmp_path: Path) -> None:
    rows = [
        f"c{c},{'xyz'[(c + k) % 3]},2024-{1 + k:02d}-{1 + c % 28:02d},f2f"
        for c in range(300)
        for k in range(5)
    ]
    (tmp_path / "log.csv").write_text(HEAD + "\n".join(rows) + "\n")
    log = {"stream_above_mb": 0, "sample_events": 500}
    more = {"journeys": {}, "segments": {"k": 2}, "model": {"kind": "ngram"}, "patterns": {}}
    result = made(tmp_path, "run", "log.csv", log, **more)
    facts = result.manifest["stages"]["log"]["facts"]
    assert facts["n_events"] == 1500 and facts["n_cases"] == 300
    assert 200 < facts["sample"]["n_events"] < 800 and facts["sample"]["n_events"] % 5 == 0
    assert result.table("log/events.parquet").height == 1500
    assert result.table("log/cases.parquet").height == 300
    told = json.loads((result.folder / "log/readiness.json").read_text())
    assert told["n_events"] == 1500 and told["notes"] == [facts["sample"]["note"]]
    assert result.table("journeys/activities.parquet")["frequency"].sum() == 1500
    assert result.table("segments/segments.parquet").height == facts["sample"]["n_cases"]


def test_a_streamed_stage_holds_less(tmp_path: Path) -> None:
    n = 5_000_000
    row = pl.int_range(n, eager=True)
    frame = pl.DataFrame(
        {
            "case": pl.select(pl.format("customer-{}", row * 7919 % 500_000)).to_series(),
            "activity": pl.Series([f"activity number {k}" for k in range(9)]).gather(row % 9),
            "time": pl.select(pl.datetime(2024, 1, 1) + pl.duration(minutes=row // 10)).to_series(),
        }
    )
    frame.write_parquet(tmp_path / "log.parquet", compression="snappy")
    code = (
        "import sys\nfrom pathlib import Path\n"
        "from behavio.job import job_from\nfrom behavio.run import run\n"
        "log = {'stream_above_mb': float(sys.argv[1]), 'sample_events': 1000}\n"
        "table = {'source': {'visits': {'path': 'log.parquet'}}, 'log': log}\n"
        f"run(job_from(table, name='t', base=Path({str(tmp_path)!r})), Path(sys.argv[2]))\n"
        "told = Path('/proc/self/status').read_text()\n"
        "print(next(line.split()[1] for line in told.splitlines() if line.startswith('VmHWM')))\n"
    )
    peaks = []
    for size in ("0", "1e9"):
        command = [sys.executable, "-c", code, size, str(tmp_path / f"run{size}")]
        root = str(Path(__file__).parents[1])
        found = subprocess.run(command, cwd=root, capture_output=True, text=True, check=True)
        peaks.append(int(found.stdout) / 1024)
    assert peaks[0] < peaks[1] - 200, peaks  # MB
