"""A run: every file of the contract, reused when nothing changed, the same bytes after a kill."""

from __future__ import annotations

import errno
import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import polars as pl
import pytest

from behavio import run as room
from behavio.errors import BehavioError, RunError
from behavio.job import Job, demo_job, job_from
from behavio.run import Result, read_manifest
from behavio.simulate import SimulateSettings, simulate

COLUMNS = {
    "log/events.parquet": "case_id activity timestamp event_index channel direction source source_row",
    "log/cases.parquet": "case_id",
    "log/rejected.parquet": "source file row column reason hint raw",
    "journeys/graph.parquet": "source target frequency cases median_s mean_s p90_s",
    "journeys/activities.parquet": "activity frequency cases starts last_seen",
    "journeys/variants.parquet": "rank variant activities cases share cumulative_share",
    "journeys/waiting.parquet": "activity waits cases median_s mean_s p90_s p10_s min_s max_s std_s share",
    "journeys/eventually.parquet": "source target frequency cases mean_s std_s",
    "journeys/rework.parquet": "activity frequency cases rework_cases self_loops two_loops extra_events",
    "journeys/steps.parquet": "step activity cases share",
    "journeys/durations.parquet": "state cases mean_s min_s p10_s median_s p90_s max_s",
    "journeys/retention.parquet": "cohort months_since cohort_cases cases share whole",
    "journeys/lifecycle.parquet": "date state cases share",
    "journeys/changes.parquet": "since earliest latest p_value n_edges",
    "journeys/changed_steps.parquet": "since source target before after difference low high q_value",
    "journeys/funnel.parquet": "step activity cases share share_of_previous may_still median_s within chosen",
    "journeys/period_activities.parquet": "activity cases_a cases_b a b rate_ratio rate_low rate_high",
    "journeys/period_edges.parquet": "source target cases_a cases_b a b difference low high q_value",
    "journeys/period_waits.parquet": "source target median_s_a median_s_b larger low high q_value",
    "journeys/period_variants.parquet": "variant cases_a cases_b a b difference low high q_value",
    "journeys/dependencies.parquet": "source target frequency dependency",
    "journeys/phases.parquet": (
        "segment phase from until activity direction events cases share reach answered answer median_answer_s"
    ),
    "journeys/representatives.parquet": "segment variant activities case_id cases share mean_distance",
    "journeys/conformance.parquet": (
        "case_id plan state planned done attainment skipped extra wrong_order too_late under over "
        "still_open cost"
    ),
    "journeys/conformance_steps.parquet": (
        "plan kind place step cases conforming deviating open share low high"
    ),
    "journeys/conformance_deviations.parquet": "case_id plan kind step activity event timestamp due late_s",
    "journeys/conformance_occurrences.parquet": "case_id plan occurrence began last state reached next",
    "journeys/conformance_occurrence_steps.parquet": "plan place step cases occurrences share stopped open",
    "journeys/conformance_response.parquet": "plan place band cases attainment responded share low high",
    "patterns/patterns.parquet": "pattern n_cases support lift p_value segment counted_in",
    "models/embeddings.parquet": "case_id vector",
    "next/next_steps.parquet": (
        "case_id as_of rank activity probability median_days low_days high_days evidence_n evidence rests_on"
    ),
    "next/horizons.parquet": "case_id as_of days activity probability expected_number",
    "segments/segments.parquet": "case_id segment_id segment strength",
    "stages/stages.parquet": (
        "case_id stage_id stage probability since days moves steps_back evidence evidence_row"
    ),
    "stages/moves.parquet": "case_id time from_stage to_stage back evidence evidence_row",
    "pressure/bands.parquet": "segment optimum low high fall sign n_cases n_contacts n_answered",
    "pressure/curves.parquet": "segment contacts n_contacts answered relative low high",
    "pressure/cases.parquet": "case_id segment contacts low high verdict",
    "perceptions/questions.parquet": "question status reason n_answers skill low high",
    "perceptions/cases.parquet": "case_id question answer basis probability value low high",
    "perceptions/groups.parquet": "segment question answer n_answered answered low high projected",
    "stages/ladder.parquet": "stage n_cases reached left median_days up back",
    "suggestions/suggestions.parquet": "suggestion_id case_id action channel reason probability expires_on",
    "suggestions/suppressed.parquet": "case_id reason",
    "suggestions/plan.parquet": "case_id step due action channel message new_message brand owner_id gain",
    "suggestions/missing.parquet": "case_id brand missing n_missing n_messages",
    "suggestions/content.parquet": "case_id content reactions positive affinity low high usual",
}
FILES = (
    "manifest.json log/readiness.json journeys/process.bpmn journeys/process.pnml journeys/map.svg "
    "journeys/conformance.json journeys/periods.json "
    "models/metrics.json segments/profiles.json report/report.html delivery/plan.csv delivery/receipt.json "
    "delivery/rejected.csv card/model_card.json card/model_card.md"
).split()


@pytest.fixture(scope="session")
def extracts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Raw extracts of 300 simulated HCPs."""
    folder = tmp_path_factory.mktemp("sim")
    simulate(SimulateSettings(n_cases=300, months=8, seed=5), folder)
    return folder / "extracts"


@pytest.fixture(scope="session")
def job(extracts: Path) -> Job:
    return demo_job(extracts, seed=5)


@pytest.fixture(scope="session")
def done(job: Job, tmp_path_factory: pytest.TempPathFactory) -> Result:
    return room.run(job, tmp_path_factory.mktemp("runs") / "demo")


def stages_of(folder: Path) -> dict[str, object]:
    """Everything in the manifest but what was measured."""
    manifest = read_manifest(folder)
    return {k: v for k, v in manifest.items() if k != "measured"}


@pytest.mark.xdist_group("finished run")  # it is run once, not by every worker
def test_the_run_folder_holds_the_contract(done: Result) -> None:
    for path, columns in COLUMNS.items():
        table = done.table(path)
        assert set(columns.split()) <= set(table.columns), path
    for path in FILES:
        assert (done.folder / path).stat().st_size > 0, path
    assert list((done.folder / "report" / "tables").glob("*.csv"))
    assert not [p for p in done.folder.iterdir() if p.name.startswith((".draft", ".old"))]


@pytest.mark.xdist_group("finished run")  # it is run once, not by every worker
def test_probabilities_and_rows_add_up(done: Result) -> None:
    steps = done.table("next/next_steps.parquet")
    total = steps.group_by("case_id").agg(pl.col("probability").sum())["probability"]
    assert total.max() <= 1 + 1e-9 and steps["probability"].min() >= 0
    graph, activities = done.table("journeys/graph.parquet"), done.table("journeys/activities.parquet")
    n_events = done.manifest["stages"]["log"]["facts"]["n_events"]
    assert activities["frequency"].sum() == n_events
    assert graph["frequency"].sum() == n_events - activities["starts"].sum()
    assert activities["last_seen"].sum() == activities["starts"].sum()
    for source in json.loads((done.folder / "log" / "readiness.json").read_text())["sources"]:
        assert source["read"] == source["accepted"] + source["rejected"] + source["merged"], source["name"]


@pytest.mark.xdist_group("finished run")  # it is run once, not by every worker
def test_the_same_job_again_reuses_every_stage(done: Result, job: Job) -> None:
    before = stages_of(done.folder)
    again = room.run(job, done.folder)
    assert again.reused == tuple(before["stages"])  # type: ignore[call-overload]
    assert stages_of(done.folder) == before


@pytest.mark.xdist_group("finished run")  # it is run once, not by every worker
def test_the_same_seed_gives_the_same_bytes(done: Result, job: Job, tmp_path: Path) -> None:
    other = room.run(job, tmp_path / "demo")
    assert stages_of(other.folder) == stages_of(done.folder)


def test_a_changed_setting_makes_only_what_rests_on_it(extracts: Path, tmp_path: Path) -> None:
    table = {
        "source": {"calls": {"kind": "veeva.call", "path": "Call2_vod__c.csv"}},
        "journeys": {},
        "patterns": {},
    }
    first = room.run(job_from(table, name="small", base=extracts), tmp_path / "run")
    table["patterns"] = {"min_support": 0.2}
    second = room.run(job_from(table, name="small", base=extracts), tmp_path / "run")
    assert first.reused == () and second.reused == ("log", "journeys")
    third = room.run(job_from(table, name="small", base=extracts), tmp_path / "run", start="journeys")
    assert third.reused == ("log",)
    del table["patterns"]
    room.run(job_from(table, name="small", base=extracts), tmp_path / "run")
    assert not (tmp_path / "run" / "patterns").exists(), "a stage the job no longer has leaves no files"


def test_a_damaged_stage_is_made_again(extracts: Path, tmp_path: Path) -> None:
    table = {"source": {"calls": {"kind": "veeva.call", "path": "Call2_vod__c.csv"}}, "journeys": {}}
    small = job_from(table, name="small", base=extracts)
    room.run(small, tmp_path / "run")
    (tmp_path / "run" / "journeys" / "graph.parquet").write_bytes(b"cut")
    again = room.run(small, tmp_path / "run")
    assert again.reused == ("log", "card")  # made anew from the same things, journeys leave the card as it is
    assert again.table("journeys/graph.parquet").height > 0


def test_a_killed_run_goes_on_and_ends_with_the_same_bytes(extracts: Path, tmp_path: Path) -> None:
    text = (
        '[source.calls]\nkind = "veeva.call"\npath = "Call2_vod__c.csv"\n[journeys]\n[patterns]\n[segments]\n'
    )
    (extracts / "small.toml").write_text(text)

    def start(out: Path) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", "behavio", "run", str(extracts / "small.toml"), "--out", str(out)]
        return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    assert start(tmp_path / "calm").wait() == 0
    for stage in ("log", "segments", "journeys"):  # die as soon as that stage has begun or is just done
        process = start(tmp_path / "killed")
        draft, deadline = tmp_path / "killed" / f".draft-{stage}", time.monotonic() + 60
        while process.poll() is None and not draft.exists() and time.monotonic() < deadline:
            time.sleep(0.001)
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert not (tmp_path / "killed" / "manifest.json").exists()
    with pytest.raises(RunError, match="was not finished"):
        read_manifest(tmp_path / "killed")
    assert start(tmp_path / "killed").wait() == 0
    assert stages_of(tmp_path / "killed") == stages_of(tmp_path / "calm")


@pytest.mark.parametrize(
    ("number", "said"),
    [(errno.ENOSPC, "disk"), (errno.EACCES, "may not be written"), (errno.EROFS, "may not")],
)
def test_what_the_disk_refuses_leaves_no_half_stage(
    extracts: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, said: str
) -> None:
    table = {"source": {"calls": {"kind": "veeva.call", "path": "Call2_vod__c.csv"}}, "journeys": {}}

    def full(_context: object, _settings: object, folder: Path) -> dict[str, object]:
        (folder / "graph.parquet").write_bytes(b"half")
        raise OSError(number, "no")

    stages = tuple(
        s if s.name != "journeys" else room.Stage(s.name, s.table, s.needs, full) for s in room.STAGES
    )
    monkeypatch.setattr(room, "STAGES", stages)
    with pytest.raises(RunError, match=said):
        room.run(job_from(table, name="small", base=extracts), tmp_path / "run")
    left = sorted(p.name for p in (tmp_path / "run").iterdir())
    assert left == [".stages", "log"], "the whole stage stays, the half one is gone"


def test_a_folder_with_other_files_is_not_touched(job: Job, tmp_path: Path) -> None:
    (tmp_path / "thesis.docx").write_text("mine")
    with pytest.raises(RunError, match="holds other files"):
        room.run(job, tmp_path)
    assert [p.name for p in tmp_path.iterdir()] == ["thesis.docx"]
    with pytest.raises(RunError, match="is a file"):
        room.run(job, tmp_path / "thesis.docx")


def test_a_stage_the_job_does_not_have(job: Job, tmp_path: Path) -> None:
    with pytest.raises(BehavioError, match="no stage 'pattern'"):
        room.run(job, tmp_path / "x", start="pattern")
