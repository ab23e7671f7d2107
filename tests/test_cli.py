"""The command line as users type it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

GOOD = """case_id,activity,timestamp
a,x,2026-01-01
a,y,2026-01-03
b,x,2026-01-02
b,y,2026-01-05
b,x,2026-01-06
"""


def behavio(*words: str | Path, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "behavio", *map(str, words)]
    env = {"PATH": "/usr/bin:/bin", "PYTHONPATH": str(Path(__file__).parents[1]), "HOME": "/tmp"}
    return subprocess.run(command, capture_output=True, text=True, cwd=cwd, env=env, check=False)


@pytest.fixture
def log(tmp_path: Path) -> Path:
    path = tmp_path / "log.csv"
    path.write_text(GOOD)
    return path


def test_graph_as_json_has_the_columns_of_the_contract(log: Path) -> None:
    # a: x -2d-> y; b: x -3d-> y -1d-> x
    done = behavio("graph", log, "--json")
    rows = json.loads(done.stdout)
    assert done.returncode == 0
    by = {(r["source"], r["target"]): r for r in rows}
    assert by["x", "y"]["frequency"] == 2 and by["x", "y"]["cases"] == 2
    assert by["x", "y"]["mean_s"] == pytest.approx(2.5 * 86400)
    assert by["y", "x"]["median_s"] == pytest.approx(86400)


def test_tables_csv_and_json_say_the_same(log: Path) -> None:
    rows = json.loads(behavio("variants", log, "--json").stdout)
    lines = behavio("variants", log, "--csv").stdout.splitlines()
    people = behavio("variants", log).stdout
    assert [r["variant"] for r in rows] == ["x → y", "x → y → x"]
    assert len(lines) == 3 and all(r["variant"] in people for r in rows)


def test_talk_goes_to_stderr_only(log: Path) -> None:
    done = behavio("segments", log, "--json")
    assert done.returncode in (0, 1)
    if done.returncode == 0:
        assert isinstance(json.loads(done.stdout), list)


@pytest.mark.parametrize(
    ("name", "text", "said", "code"),
    [
        ("empty.csv", "", "empty", 1),
        ("header.csv", "case_id,activity,timestamp\n", "no", 1),
        ("missing.csv", "case_id,timestamp\na,2026-01-01\n", "activity", 1),
        ("times.csv", "case_id,activity,timestamp\na,x,soon\nb,y,later\n", "timestamp", 1),
    ],
)
def test_bad_files_get_one_message_and_exit_code_1(
    tmp_path: Path, name: str, text: str, said: str, code: int
) -> None:
    (tmp_path / name).write_text(text)
    done = behavio("graph", tmp_path / name)
    assert done.returncode == code and done.stdout == ""
    assert done.stderr.startswith("error: ") and said in done.stderr
    assert "\n\nhint: " in done.stderr and "Traceback" not in done.stderr


def test_what_is_not_there_and_what_is_not_known(tmp_path: Path, log: Path) -> None:
    gone = behavio("graph", tmp_path / "lgo.csv")
    assert gone.returncode == 1 and "log.csv" in gone.stderr
    folder = behavio("graph", tmp_path / "nothing-here" / "x.csv")
    assert folder.returncode == 1 and "error: " in folder.stderr
    command = behavio("grap", log)
    assert command.returncode == 2 and "'graph'" in command.stderr
    option = behavio("graph", log, "--tpo", "3")
    assert option.returncode == 2 and option.stderr.startswith("error: ")
    no_run = behavio("view", tmp_path, "a")
    assert no_run.returncode == 1 and "not a run folder" in no_run.stderr
    job = behavio("run", tmp_path / "no.toml")
    assert job.returncode == 2 and "no job file" in job.stderr


def test_traceback_only_with_debug(tmp_path: Path) -> None:
    assert "Traceback" not in behavio("graph", tmp_path / "x.csv").stderr
    assert "Traceback" in behavio("graph", tmp_path / "x.csv", "--debug").stderr


def test_check_counts_every_row(tmp_path: Path) -> None:
    path = tmp_path / "log.csv"
    path.write_text(GOOD + ",x,2026-01-01\nc,x,never\n")
    done = behavio("check", path, "--json")
    (source,) = json.loads(done.stdout)["sources"]
    assert (source["read"], source["accepted"], source["rejected"]) == (7, 5, 2)
    people = behavio("check", path)
    assert people.returncode == 0 and "7" in people.stdout


def test_run_prints_the_run_folder_or_the_report(tmp_path: Path, log: Path) -> None:
    (tmp_path / "j.toml").write_text('[source.a]\npath = "log.csv"\n[journeys]\n')
    done = behavio("run", "j.toml", cwd=tmp_path)
    assert done.returncode == 0 and done.stdout.strip() == "runs/j"
    assert "5 events of 2 cases" in done.stderr
    again = behavio("run", "j.toml", cwd=tmp_path)
    assert again.stderr.count("unchanged") >= 2
    run_graph = behavio("graph", "runs/j", "--csv", cwd=tmp_path).stdout
    assert run_graph == behavio("graph", "log.csv", "--csv", cwd=tmp_path).stdout
    wrong = behavio("run", "j.toml", "--set", "journeys.max_node=3", cwd=tmp_path)
    assert wrong.returncode == 2 and "'max_nodes'" in wrong.stderr
    missing = behavio("patterns", "runs/j", cwd=tmp_path)
    assert missing.returncode == 1 and "patterns" in missing.stderr


def test_a_full_disk_on_stdout_is_no_traceback(log: Path) -> None:
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "behavio", "graph", str(log), "--csv"],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
    assert done.returncode != 0 and "Traceback" not in done.stderr
