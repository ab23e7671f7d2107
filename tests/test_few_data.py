"""Few data: skill by events known, what stands in for a person, and a run that says it is a hypothesis."""

from __future__ import annotations

import json
import time
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from click.testing import CliRunner
from small_world import write_calls

from behavio.card import read_card
from behavio.cli import cli
from behavio.job import read_job
from behavio.models.evaluation import Scores
from behavio.models.fallback import fallen_back
from behavio.models.few import by_events
from behavio.models.next import SCHEMA
from behavio.models.settings import ModelSettings
from behavio.run import run
from behavio.sequences import SequenceSet

DAY = 86_400


def scores(p: np.ndarray) -> Scores:
    n = len(p)
    zero = np.zeros(n, dtype=np.int64)
    return Scores(p, np.where(p > 0.5, 0, 1), zero, p, p * p, zero)


def test_skill_is_told_by_events_known_and_decides_only_where_enough_say() -> None:
    # one event known: worse than the base rate; ten: better; sixty: better but only five events
    known = np.repeat([1, 10, 60], [300, 300, 5])
    cases = np.concatenate([np.arange(300), np.arange(300), np.arange(5)])
    own = scores(np.repeat([0.3, 0.8, 0.8], [300, 300, 5]))
    base = scores(np.full(605, 0.4))
    rows = {r["low"]: r for r in by_events(own, base, known, cases, 7)}
    assert set(rows) == {1, 6, 51}
    assert rows[1]["gain"] == pytest.approx(np.log(0.3 / 0.4)) and rows[1]["rests_on"] == "base rate"
    assert rows[6]["gain"] == pytest.approx(np.log(2.0)) and rows[6]["rests_on"] == "person"
    assert rows[6]["accuracy"] == 1.0 and rows[6]["accuracy_base"] == 0.0 and rows[6]["n_cases"] == 300
    assert rows[51]["rests_on"] is None  # five events say nothing


def steps_of(log: SequenceSet) -> pl.DataFrame:
    """Every case: one step told of the person; the last two cases of nobody."""
    ids = log.case_ids.cast(pl.String)
    n = len(ids)
    row = {"case_id": ids, "rank": [1] * (n - 2) + [0, 0], "activity": ["x"] * (n - 2) + [None, None]}
    frame = pl.DataFrame(row | {"rests_on": ["person"] * (n - 2) + [None, None]})
    missing = [pl.lit(None, dtype=t).alias(c) for c, t in SCHEMA.items() if c not in frame.columns]
    return frame.with_columns(missing).select(SCHEMA.names()).cast(SCHEMA)  # type: ignore[arg-type]


def test_group_then_everybody_stand_in_and_say_so() -> None:
    # 40 cases of group 0 do a b b b b, 40 of group 1 do a c c c c; the last two have one event each
    traces = [["a", *"bbbb"]] * 40 + [["a", *"cccc"]] * 40 + [["a"], ["a"]]
    log = SequenceSet.from_traces(
        traces, [[i * DAY + k for k in range(len(t))] for i, t in enumerate(traces)]
    )
    labels = pl.DataFrame(
        {
            "case_id": log.case_ids,
            "segment_id": [0] * 40 + [1] * 40 + [0, -1],
            "segment": ["B"] * 40 + ["C"] * 40 + ["B", "unassigned"],
        }
    )
    told = fallen_back(steps_of(log), log, labels, ModelSettings(top=2), [])
    assert told.schema == SCHEMA
    own = told.filter(case_id=log.case_ids[80])
    assert own["rank"].to_list() == [0, 1, 2] and own["rests_on"].to_list() == [None, "group", "group"]
    first = own.row(1, named=True)
    assert first["activity"] == "b" and first["evidence_n"] == 160
    assert first["probability"] == pytest.approx((160 + 20 * 0.5) / 180)  # drawn to everybody's half
    assert first["evidence"] == "all 160 steps of the group “B”: 94 % b"
    last = told.filter(case_id=log.case_ids[81])
    assert last["rests_on"].to_list() == [None, "base rate", "base rate"]
    assert last["probability"].to_list()[1:] == [0.5, 0.5]
    assert told.filter(rests_on="person").height == 80


def test_short_histories_that_told_nothing_fall_back() -> None:
    traces = [["a", "b"]] * 40 + [["a", *"bbbb"]] * 40
    log = SequenceSet.from_traces(
        traces, [[i * DAY + k for k in range(len(t))] for i, t in enumerate(traces)]
    )
    bands = [{"low": 2, "high": 2, "rests_on": "base rate"}, {"low": 3, "high": 5, "rests_on": "person"}]
    table = steps_of(log).with_columns(rank=pl.lit(1, pl.Int32), rests_on=pl.lit("person"))
    told = fallen_back(table, log, None, ModelSettings(top=1), bands)
    by = dict(zip(told["case_id"], told["rests_on"], strict=True))
    assert [by[c] for c in log.case_ids[:40]] == ["base rate"] * 40
    assert [by[c] for c in log.case_ids[40:]] == ["person"] * 40
    assert told["case_id"].to_list() == log.case_ids.to_list()


JOB = """
[source.calls]
path = "calls.csv"
case_id = "hcp_id"
timestamp = "date"
[journeys]
[model]
[segments]
[patterns]
[report]
"""


@pytest.fixture(scope="module")
def calls(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Calls only: 200 HCPs, one file, three columns."""
    folder = write_calls(tmp_path_factory.mktemp("few"))
    rows = pl.read_csv(folder / "calls.csv").filter(pl.col("activity") == "call_f2f")
    rows.select("hcp_id", "activity", "date").write_csv(folder / "calls.csv")
    (folder / "job.toml").write_text(JOB, encoding="utf-8")
    return folder


def test_one_small_file_of_calls_runs_in_a_minute_and_is_marked_a_hypothesis(calls: Path) -> None:
    began = time.process_time()
    done = run(read_job(calls / "job.toml"), calls / "run")
    assert time.process_time() - began < 60
    facts = done.manifest["stages"]["card"]["facts"]
    assert "cases (300 are asked for)" in facts["hypothesis"]
    missing = {x.what: x.text for x in read_card(done.folder)[1] if x.part == "What would strengthen it"}
    assert {"More people", "Direction", "Who they are", "Consent"} <= set(missing)
    page = (done.folder / "report/report.html").read_text(encoding="utf-8")
    assert "This is a hypothesis." in page
    steps = done.table("next/next_steps.parquet")
    assert set(steps["rests_on"].drop_nulls()) <= {"person", "group", "base rate"}
    every = done.manifest["stages"]["log"]["facts"]["n_cases"]
    assert steps.filter(pl.col("rank") == 1)["case_id"].n_unique() == every  # everybody is told something
    metrics = json.loads((done.folder / "models/metrics.json").read_text())
    assert metrics["by_events"] and all(b["n"] > 0 for b in metrics["by_events"])


def test_the_command_line_says_so(calls: Path) -> None:
    shown = CliRunner().invoke(cli, ["run", str(calls / "job.toml"), "--out", str(calls / "run")])
    assert shown.exit_code == 0
    assert "A hypothesis" in shown.output and "More people" in shown.output
    card = CliRunner().invoke(cli, ["card", str(calls / "run")]).output
    assert "Size: a hypothesis" in card and "Next steps rest on: person" in card


def test_a_large_run_is_no_hypothesis(tmp_path: Path) -> None:
    write_calls(tmp_path, n=700)
    from small_world import CALLS

    (tmp_path / "job.toml").write_text(CALLS, encoding="utf-8")
    rows = pl.read_csv(tmp_path / "calls.csv", try_parse_dates=True)
    early = rows.head(1).with_columns(date=pl.col("date").dt.offset_by("-200d"))
    pl.concat([rows, early]).write_csv(tmp_path / "calls.csv")
    done = run(read_job(tmp_path / "job.toml"), tmp_path / "run")
    assert "hypothesis" not in done.manifest["stages"]["card"]["facts"]
