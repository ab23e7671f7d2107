"""The command line as users type it."""

from __future__ import annotations

import json
import os
import shutil
import signal
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


def test_a_reader_that_stops_reading_is_no_error(tmp_path: Path) -> None:
    rows = "".join(f"c{i},{a},2026-01-0{d}\n" for i in range(60) for d, a in ((1, "x"), (2, f"y{i}")))
    (tmp_path / "log.csv").write_text("case_id,activity,timestamp\n" + rows)
    pipe, end = os.pipe()
    os.close(pipe)
    done = subprocess.run(
        [sys.executable, "-m", "behavio", "graph", str(tmp_path / "log.csv")],
        stdout=end,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])},
        check=False,
    )
    os.close(end)
    assert done.returncode == 0 and "error" not in done.stderr


def test_tables_for_people_say_durations_and_shorten_long_journeys(tmp_path: Path) -> None:
    # one case, a day between events: 13 steps are shown by their first six and last three
    rows = "".join(f"a,s{i:02d},2026-01-{i:02d}\n" for i in range(1, 14))
    path = tmp_path / "log.csv"
    path.write_text("case_id,activity,timestamp\n" + rows)
    assert "1 day" in behavio("graph", path).stdout and "median_s" not in behavio("graph", path).stdout
    shown = behavio("variants", path).stdout
    assert "s06 → … 4 more … → s11" in shown and "12 days" in shown
    assert "s08" in behavio("variants", path, "--csv").stdout


def test_what_a_run_cannot_answer_is_refused_not_ignored(tmp_path: Path, log: Path) -> None:
    (tmp_path / "j.toml").write_text('[source.a]\npath = "log.csv"\n[journeys]\n[segments]\n')
    assert behavio("run", "j.toml", cwd=tmp_path).returncode == 0
    done = behavio("segments", "runs/j", "--k", "2", cwd=tmp_path)
    assert done.returncode == 2 and "k would change nothing" in done.stderr
    stage = behavio("run", "j.toml", "--from", "segmnts", cwd=tmp_path)
    assert stage.returncode == 2 and "segments" in stage.stderr
    assert behavio("run", "runs/j", cwd=tmp_path).stderr.startswith("error: runs/j is a folder\n\nhint: ")
    on_job = behavio("graph", "j.toml", cwd=tmp_path)
    assert on_job.returncode == 2 and "is a job file" in on_job.stderr


def test_a_case_nobody_knows_and_a_log_too_short_to_judge(log: Path) -> None:
    unknown = behavio("predict", log, "--case", "z", "--kind", "ngram")
    assert unknown.returncode == 2 and "no row has case_id 'z'" in unknown.stderr
    short = behavio("evaluate", log, "--kind", "ngram")
    assert (short.returncode, short.stdout) == (0, "") and "too few to judge" in short.stderr


def test_terminated_as_by_the_system(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from behavio import api, cli

    def slow(*_: object, **__: object) -> None:
        os.kill(os.getpid(), signal.SIGTERM)

    monkeypatch.setattr(api, "graph", slow)
    before = signal.getsignal(signal.SIGTERM)
    try:
        with pytest.raises(SystemExit) as ended:
            cli.main(["graph", str(tmp_path)])
    finally:
        signal.signal(signal.SIGTERM, before)
    assert ended.value.code == 143


def test_no_command_shows_the_help() -> None:
    done = behavio()
    assert done.returncode == 2 and done.stderr.startswith("Usage: behavio")


def test_a_dash_reads_what_is_piped_in(log: Path) -> None:
    command = [sys.executable, "-m", "behavio", "variants", "-", "--csv"]
    env = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])}
    done = subprocess.run(command, input=GOOD, capture_output=True, text=True, env=env, check=False)
    assert (done.returncode, done.stdout) == (0, behavio("variants", log, "--csv").stdout)


def test_a_run_with_a_stage_taken_away_says_how_to_get_it_back(tmp_path: Path, log: Path) -> None:
    from behavio import api
    from behavio.errors import RunError

    job = tmp_path / "j.toml"
    job.write_text('[source.a]\npath = "log.csv"\n[segments]\n')
    api.run(job, out=tmp_path / "run")
    for gone in ("segments", "log"):
        shutil.rmtree(tmp_path / "run" / gone)
        with pytest.raises(RunError, match=f"has no {gone}/") as caught:
            api.segments(tmp_path / "run")
        assert "run the job again" in caught.value.hint


def test_a_setting_nobody_knows_names_the_nearest(log: Path) -> None:
    from behavio import api
    from behavio.errors import JobError

    with pytest.raises(JobError, match="'min_suport'") as caught:
        api.patterns(log, min_suport=0.1)
    assert "did you mean 'min_support'?" in caught.value.hint


def test_columns_and_settings_go_together(tmp_path: Path) -> None:
    from behavio import api

    path = tmp_path / "log.csv"
    path.write_text(GOOD.replace("case_id", "who"))
    found = api.patterns(path, case_id="who", min_support=0.5)
    assert "x → y" in found["pattern"].to_list()
