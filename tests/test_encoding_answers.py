"""What the encoded log knows by itself, and that every way to it gives the same answers."""

from __future__ import annotations

import itertools
import json
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from click.testing import CliRunner
from conftest import traces
from hypothesis import given
from hypothesis import strategies as st

import behavio
from behavio.cli import cli
from behavio.errors import JobError, LogError
from behavio.kernels.silence import gap_quantile
from behavio.sequences import SequenceSet


@given(rows=traces)
def test_identical_sequences_are_known_once_with_their_weight(rows: list[list[str]]) -> None:
    log = SequenceSet.from_traces(rows)
    found = log.distinct()
    seen: dict[tuple[str, ...], list[int]] = {}
    for place, row in enumerate(rows):
        seen.setdefault(tuple(row), []).append(place)
    assert found.first.tolist() == [v[0] for v in seen.values()]
    assert found.weight.tolist() == [len(v) for v in seen.values()]
    assert [rows[found.first[g]] for g in found.of_case] == rows


def test_which_cases_are_open() -> None:
    # days: c0 ends on day 100 (the newest), c1 on day 95, c2 on day 50; gaps are 1, 5 and 10 days
    days = [[99, 100], [90, 95], [40, 50]]
    log = SequenceSet.from_traces(
        [["a", "b"], ["a", "b"], ["a", "c"]], [[d * 86_400 for d in t] for t in days]
    )
    found = log.open_cases()
    assert found.within_s == 10 * 86_400  # 99 % of three gaps: the longest
    assert found.open.tolist() == [True, True, False]
    assert log.open_cases(open_within="4d").open.tolist() == [True, False, False]
    assert log.open_cases(end=["b"]).open.tolist() == [False, False, False]
    assert log.open_cases(end=["c"], open_within="365d").open.tolist() == [True, True, False]
    marked = log.marked(["c"], "365d")
    assert marked.open_cases().open.tolist() == [True, True, False]
    assert [s.open_cases().open.tolist() for s in marked.shards(3)] == [[True], [True], [False]]
    assert marked.select(np.array([2, 0])).open_cases().open.tolist() == [False, True]
    assert marked.until(96 * 86_400_000_000).running is None  # what was open then is another question


@given(rows=st.lists(st.lists(st.integers(0, 2**58), min_size=1, max_size=5), min_size=1, max_size=6))
def test_the_quantile_of_the_gaps_is_exact(rows: list[list[int]]) -> None:
    times = [sorted(r) for r in rows]
    gaps = sorted(b - a for r in times for a, b in itertools.pairwise(r))
    offsets = np.cumsum([0, *(len(r) for r in times)])
    found = gap_quantile(np.array([t for r in times for t in r]), offsets, 0.99)
    assert found == (gaps[max(-(-99 * len(gaps) // 100), 1) - 1] if gaps else 0)


@pytest.fixture
def table(tmp_path: Path) -> Path:
    start = datetime(2024, 1, 1)
    rows = [(f"c{i % 40:02d}", "abcde"[i * i % 5], start + timedelta(hours=7 * i), "web") for i in range(400)]
    frame = pl.DataFrame(rows, schema=["case", "activity", "time", "channel"], orient="row")
    frame.write_csv(tmp_path / "log.csv")
    frame.write_parquet(tmp_path / "log.parquet")
    return tmp_path


def test_every_way_to_a_log_gives_the_same_answers(table: Path) -> None:
    frame = pl.read_parquet(table / "log.parquet")
    behavio.encode(table / "log.csv", table / "encoded")
    for ask in (behavio.graph, behavio.variants, behavio.patterns, behavio.segments, behavio.predict):
        wanted = ask(frame).to_dicts()
        for way in (table / "log.csv", table / "log.parquet", table / "encoded"):
            assert ask(way).to_dicts() == wanted, (ask, way)
    assert behavio.check(table / "encoded")["n_events"] == 400
    with pytest.raises(JobError, match="encoded log"):
        behavio.graph(table / "encoded", case_id="case")
    with pytest.raises(LogError, match="encoded log already"):
        behavio.encode(table / "encoded")


def test_the_command(table: Path) -> None:
    run = CliRunner().invoke(
        cli, ["encode", str(table / "log.csv"), "--out", str(table / "e"), "--end", "a", "--stream", "--json"]
    )
    assert run.exit_code == 0, run.output
    facts: dict[str, Any] = json.loads(run.stdout)
    assert facts["n_events"] == 400 and facts["n_cases"] == 40 and facts["streamed"] is True
    assert facts["sources"][0]["read"] == 400
    assert (table / "e" / "stream-time.npy").is_file()
    people = CliRunner().invoke(cli, ["encode", str(table / "log.parquet"), "--out", str(table / "e")])
    assert people.exit_code == 0 and "distinct sequences" in people.stdout
    shown = CliRunner().invoke(cli, ["graph", str(table / "e"), "--json"])
    assert json.loads(shown.stdout)[0]["frequency"] > 0
