"""Conformance as people call it: the command line, Python, a run folder, erasure."""

from __future__ import annotations

import json
from pathlib import Path

import polars as pl
import pytest
from click.testing import CliRunner

from behavio import api
from behavio import run as room
from behavio.cli import cli
from behavio.conformance import CASE_SCHEMA, DEVIATION_SCHEMA, RESPONSE_SCHEMA, STEP_SCHEMA
from behavio.erase import erase, traces
from behavio.errors import JobError
from behavio.job import job_from

ROWS = """case,activity,timestamp,channel,direction
anna-1,email_sent,2026-01-05,email,outbound
anna-1,email_open,2026-01-06,email,inbound
anna-1,call_f2f,2026-01-20,f2f,outbound
anna-1,portal_visit,2026-02-10,portal,inbound
bert-2,email_sent,2026-01-05,email,outbound
bert-2,call_f2f,2026-01-06,f2f,outbound
bert-2,call_f2f,2026-01-07,f2f,outbound
cleo-3,call_f2f,2026-01-05,f2f,outbound
cleo-3,email_sent,2026-01-06,email,outbound
dora-4,email_sent,2026-05-20,email,outbound
"""
PLAN = """name = "Spring"
rules = ["precedence(email_sent, call_*)"]
[[flow]]
name = "wave"
[[flow.step]]
activity = "email_sent"
[[flow.step]]
activity = "call_*"
within = "7d"
"""
GOALS = (
    "case,channel,goal,start,end\nanna-1,f2f,1,2026-01-01,2026-01-31\nbert-2,f2f,1,2026-01-01,2026-01-31\n"
)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name, text in {"log.csv": ROWS, "spring.toml": PLAN, "goals.csv": GOALS}.items():
        (tmp_path / name).write_text(text)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def typed(*words: str, code: int = 0) -> str:
    done = CliRunner().invoke(cli, list(words))
    assert done.exit_code == code, f"{done.output} {done.exception}"
    return done.stdout


def test_conform_as_typed(folder: Path) -> None:
    # dora has just got her email: open. anna's visit came after 15 days, bert had one visit more, cleo's
    # visit came before the email
    shown = typed("conform", "log.csv", "--plan", "spring.toml")
    assert "Spring: 4 cases" in shown and "wave: 0 conform, 3 deviate, 1 open" in shown
    assert "precedence(email_sent, call_*)" in shown and "too late 1" in shown
    facts = json.loads(typed("conform", "log.csv", "--plan", "spring.toml", "--json"))
    assert facts["states"][0] == {"plan": "wave", "conforms": 0, "deviates": 3, "open": 1, "not_started": 0}
    assert [s["step"] for s in facts["steps"]] == ["email_sent", "call_*", "precedence(email_sent, call_*)"]
    rows = pl.read_csv(
        typed("conform", "log.csv", "--plan", "spring.toml", "--table", "deviations", "--csv").encode()
    )
    assert rows.columns == list(DEVIATION_SCHEMA)
    late = rows.filter(pl.col("kind") == "too_late").row(0, named=True)
    assert (late["case_id"], late["event"], late["late_s"]) == ("anna-1", 2, 8 * 86_400)
    shown = typed("conform", "log.csv", "--plan", "goals.csv")
    assert (
        "f2f · 2026-01-01 to 2026-01-31" in shown
        and "over 1" in shown
        and "attainment beside response" in shown
    )
    shown = typed("conform", "log.csv", "--rule", "absence(portal_visit)")
    assert "3 conform, 1 deviate" in shown


def test_what_cannot_be_held_is_said(folder: Path) -> None:
    for words in (["conform", "log.csv"], ["conform", "log.csv", "--rule", "respond(a, b)"]):
        done = CliRunner().invoke(cli, words)
        assert isinstance(done.exception, JobError) and done.exception.hint
    done = CliRunner().invoke(cli, ["conform", "log.csv", "--plan", "nothing.toml"])
    assert isinstance(done.exception, JobError) and "no plan" in str(done.exception)


def test_rules_as_typed_become_a_plan(folder: Path) -> None:
    rows = json.loads(
        typed("rules", "log.csv", "--template", "chain_response", "--min-confidence", "0.5", "--json")
    )
    assert {"template": "chain_response", "activity": "email_open", "target": "call_f2f"}.items() <= rows[
        0
    ].items()
    (folder / "found.toml").write_text(typed("rules", "log.csv", "--min-confidence", "1", "--plan"))
    found = api.conform("log.csv", "found.toml")
    assert found.steps.height > 5 and found.steps["deviating"].sum() == 0
    about = pl.read_csv(
        typed("rules", "log.csv", "--about", "portal_visit", "--csv", "--min-support", "0").encode()
    )
    assert ((about["activity"] == "portal_visit") | (about["target"] == "portal_visit")).all()


def test_every_kind_of_frame_and_plan(folder: Path) -> None:
    pandas = pl.read_csv("log.csv", try_parse_dates=True).to_pandas()
    a = api.conform(pandas, {"rules": ["init(email_sent)"]})
    b = api.conform("log.csv", rules=["init(email_sent)"])
    assert a.steps.drop("plan").equals(b.steps.drop("plan")) and a.steps["deviating"].to_list() == [1]
    assert type(api.rules(pandas)).__module__.startswith("pandas")


JOB = {
    "source": {"log": {"path": "log.csv"}},
    "journeys": {"process_model": False},
    "plan": {"path": "goals.csv"},
    "conformance": {"plan": "spring.toml", "within": "60d"},
    "report": {"k_anonymity": 1},
}


def test_a_run_writes_the_files_and_answers_from_them(folder: Path) -> None:
    done = room.run(job_from(JOB, name="tiny", base=folder), folder / "run")
    schemas = {
        "": CASE_SCHEMA,
        "_steps": STEP_SCHEMA,
        "_deviations": DEVIATION_SCHEMA,
        "_response": RESPONSE_SCHEMA,
    }
    for name, schema in schemas.items():
        assert done.table(f"journeys/conformance{name}.parquet").schema == pl.Schema(schema)
    plans = done.table("journeys/conformance.parquet")["plan"].unique(maintain_order=True).to_list()
    assert plans == ["wave", "rules", "contacts"]
    assert done.manifest["stages"]["journeys"]["facts"]["conformance"]["n_cases"] == 4
    found = api.conform(folder / "run")
    assert found.name == "Spring" and found.steps.equals(done.table("journeys/conformance_steps.parquet"))
    assert any("association" in n for n in found.notes)
    assert "wave: 0 conform" in typed("conform", str(folder / "run"))
    other = api.conform(folder / "run", rules=["absence(portal_visit)"])
    assert other.steps["extra"].to_list() == [1]


def test_a_changed_plan_makes_journeys_anew_and_nothing_else(folder: Path) -> None:
    table = {k: v for k, v in JOB.items() if k != "report"}
    room.run(job_from(table, name="tiny", base=folder), folder / "run")
    again = room.run(job_from(table, name="tiny", base=folder), folder / "run")
    assert again.reused == ("log", "journeys", "card")
    (folder / "spring.toml").write_text(PLAN.replace("7d", "20d"))
    changed = room.run(job_from(table, name="tiny", base=folder), folder / "run")
    assert changed.reused == ("log",)
    assert changed.table("journeys/conformance_steps.parquet")["too_late"].sum() == 0
    (folder / "spring.toml").unlink()
    with pytest.raises(JobError, match="no plan"):
        room.run(job_from(table, name="tiny", base=folder), folder / "run")


def test_a_plan_alone_is_enough_and_conformance_needs_one(folder: Path) -> None:
    table = {k: v for k, v in JOB.items() if k not in ("conformance", "report")}
    done = room.run(job_from(table, name="tiny", base=folder), folder / "run")
    assert done.table("journeys/conformance.parquet")["plan"].unique().to_list() == ["contacts"]
    with pytest.raises(JobError, match="names no plan"):
        job_from(
            {**{k: v for k, v in table.items() if k != "plan"}, "conformance": {}}, name="x", base=folder
        )
    with pytest.raises(JobError, match="journeys"):
        job_from({"source": table["source"], "conformance": {"rules": ["init(a)"]}}, name="x", base=folder)
    with pytest.raises(JobError, match="no rule"):
        job_from({**table, "conformance": {"rules": ["respond(a, b)"]}}, name="x", base=folder)
    (folder / "out.txt").write_text("anna-1\nbert-2\n")
    nobody = {**table, "log": {"exclude": "out.txt"}}  # who was planned never enters the log
    done = room.run(job_from(nobody, name="tiny", base=folder), folder / "run")
    assert done.manifest["stages"]["journeys"]["facts"]["conformance"]["written"] is False


def test_erased_people_leave_the_tables(folder: Path) -> None:
    room.run(job_from(JOB, name="tiny", base=folder), folder / "run")
    removed = erase(folder / "run", ["anna-1"])
    assert removed.rows["journeys/conformance.parquet"] == 3
    assert removed.rows["journeys/conformance_deviations.parquet"] >= 1
    assert traces(folder / "run", ["anna-1"]) == []
    again = room.run(job_from(JOB, name="tiny", base=folder), folder / "run")
    assert "anna-1" not in again.table("journeys/conformance.parquet")["case_id"].to_list()
