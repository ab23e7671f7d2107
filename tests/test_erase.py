"""Erasure: a person leaves every file of a finished run and never comes back."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from behavio import api
from behavio import run as room
from behavio.erase import erase, traces
from behavio.errors import RunError
from behavio.job import Job, demo_job, job_from
from behavio.log import EventLog
from behavio.simulate import SimulateSettings, simulate
from behavio.sources.privacy import ERASED


@pytest.fixture(scope="module")
def extracts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("sim")
    simulate(SimulateSettings(n_cases=60, months=6, seed=5), folder)
    return folder / "extracts"


@pytest.fixture(scope="module")
def job(extracts: Path) -> Job:
    demo = demo_job(extracts, 5)
    model = {**{f: getattr(demo.model, f) for f in ("truth",)}, "kind": "ngram"}
    table = {
        "model": model,
        "segments": {"k": 2},
        "journeys": {},
        "patterns": {},
        "suggest": {},
        "report": {},
    }
    made = job_from(
        {"source": {"x": {"path": "x.csv"}}, **table, "deliver": {"target": "files", "dry_run": False}},
        name="demo",
        base=extracts,
    )
    parts = {n: getattr(demo, n) for n in ("source", "cases", "consents")}
    return Job(**{**{f: getattr(made, f) for f in made.__dataclass_fields__}, **parts})


@pytest.fixture(scope="module")
def finished(job: Job, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return room.run(job, tmp_path_factory.mktemp("runs") / "demo").folder


@pytest.fixture
def run(finished: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(finished, tmp_path / "run"))


def bytes_with(folder: Path, id: str) -> list[str]:
    """The slow proof: every file's bytes, and every cell of every decoded Parquet file and array."""
    found = []
    for path in sorted(p for p in folder.rglob("*") if p.is_file()):
        data = path.read_bytes()
        if path.suffix == ".parquet":
            data += json.dumps(pl.read_parquet(path).rows(), default=str).encode()
        if path.suffix == ".npy":
            data += str(np.load(path, allow_pickle=False).tolist()).encode()
        if path.suffix == ".npz":
            arrays = np.load(path, allow_pickle=False)
            data += str([arrays[n].tolist() for n in arrays.files]).encode()
        if id.encode() in data:
            found.append(path.relative_to(folder).as_posix())
    return found


def shown_most(run: Path) -> str:
    """A case that stands in as many kinds of files as possible: a group's typical one."""
    profiles = json.loads((run / "segments" / "profiles.json").read_text())
    return str(profiles["segments"][0]["typical"]["case_id"])


def test_no_file_holds_the_person_afterwards(run: Path):
    who = shown_most(run)
    before = bytes_with(run, who)
    assert {"log/events.parquet", "log/cases.parquet", "segments/profiles.json"} <= set(before)
    assert sorted(traces(run, [who])) == [p for p in before if p != ".stages/erased.json"]
    n = EventLog.read(run / "log").events.filter(case_id=who).height
    done = erase(run, [who])
    assert bytes_with(run, who) == [] and traces(run, [who]) == []
    assert (done.n_erased, done.unknown, done.rows["log/events.parquet"]) == (1, (), n)
    assert "segments/profiles.json" in done.deleted and "models/ngram/" in done.deleted
    assert set(done.run_again) == {
        *("journeys", "models", "segments", "patterns", "next", "suggestions", "card", "report", "delivery")
    }
    told = json.loads((run / "manifest.json").read_text())
    assert told["erased"]["people"] == 1
    counts = EventLog.read(run / "log").sources
    assert sum(c.left_out.get(ERASED, 0) for c in counts if c.role == "events") == n
    erase(run, [pl.read_parquet(run / "log" / "cases.parquet")["case_id"][0]])
    assert json.loads((run / "manifest.json").read_text())["erased"]["people"] == 2


def test_the_log_is_what_reading_without_the_person_gives(run: Path, job: Job):
    who = shown_most(run)
    erase(run, [who])
    in_place = EventLog.read(run / "log")
    again = room.run(job, run)
    assert again.reused == () and bytes_with(run, who) == []
    anew = EventLog.read(run / "log")
    for name in ("events", "cases", "consents", "rejected", "survey"):
        assert getattr(in_place, name).equals(getattr(anew, name)), name
    numbers = [[(c.name, c.read, c.accepted, c.merged) for c in log.sources] for log in (in_place, anew)]
    assert numbers[0] == numbers[1]
    # her rows merged before for another reason (page views of one visit) count as erased when read anew
    erased = [{c.name: c.left_out.get(ERASED, 0) for c in log.sources} for log in (in_place, anew)]
    assert all(0 <= n <= erased[1][name] for name, n in erased[0].items())
    assert sum(erased[0].values()) > 0
    assert room.run(job, run).reused == tuple(again.manifest["stages"])  # and stays so
    assert (run / "segments" / "profiles.json").is_file()


def test_the_exclusion_list_names_nobody(run: Path):
    who = shown_most(run)
    erase(run, [who[:15]])  # 15 characters are the same person
    told = json.loads((run / ".stages" / "erased.json").read_text())
    assert who not in str(told) and who[:15] not in str(told)
    assert len(told["salt"]) == 32 and all(re.fullmatch("[0-9a-f]{64}", h) for h in told["hashes"])
    assert bytes_with(run, who) == []


def test_the_command(run: Path):
    who = shown_most(run)
    (run.parent / "requests.txt").write_text(f"{who}\n0015gNOBODYHERE\n")

    def behavio(*words: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "behavio", "erase", str(run), *words]
        return subprocess.run(command, capture_output=True, text=True, check=False)

    done = behavio("--file", str(run.parent / "requests.txt"))
    assert done.returncode == 1 and "1 of 2 ids are not in this run: 0015gNOBODYHERE" in done.stderr
    assert "1 person erased" in done.stderr and "behavio run JOB --out" in done.stderr
    assert "log/events.parquet" in done.stdout and bytes_with(run, who) == []
    again = behavio(who)
    assert again.returncode == 1 and "nobody was erased" in again.stderr
    assert behavio().returncode == 1


def test_what_cannot_be_erased(run: Path, tmp_path: Path):
    with pytest.raises(RunError, match="no id was given"):
        erase(run, [" "])
    with pytest.raises(RunError, match="nobody would remain"):
        erase(run, pl.read_parquet(run / "log" / "events.parquet")["case_id"].unique().to_list())
    assert (run / "manifest.json").is_file() and not (run / ".stages" / "erased.json").exists()
    with pytest.raises(RunError, match="is not a run folder"):
        api.erase(tmp_path, ["x"])


def test_short_ids_are_whole_cells(tmp_path: Path):
    (tmp_path / "log.csv").write_text("case,event,time,n\n7,x,2025-01-07,7\n77,y,2025-07-07,70\n")
    job = job_from({"source": {"a": {"path": "log.csv"}}, "journeys": {}}, name="j", base=tmp_path)
    folder = room.run(job, tmp_path / "run").folder
    done = erase(folder, ["7"])
    assert done.rows["log/events.parquet"] == 1 and done.rows["journeys/cases.parquet"] == 1
    assert EventLog.read(folder / "log").events["case_id"].to_list() == ["77"]
    assert (folder / "journeys" / "map.svg").is_file()  # full of sevens, and of nobody
