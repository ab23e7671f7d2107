"""The plan and the affiliations: dated tables beside the events."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

from behavio.errors import JobError, LogError
from behavio.job import job_from
from behavio.log import AFFILIATION_SCHEMA, PLAN_SCHEMA, EventLog
from behavio.sources import (
    AffiliationSettings,
    LogInputs,
    PlanSettings,
    SourceSettings,
    input_files,
    read_log,
)

PLAN = """case_id,channel,product,goal,start,end
b,f2f,Cardiovia,6,2025-01-01,2025-12-31
a,email,Cardiovia,12,2025-01-01,
a,f2f,Cardiovia,0,2025-01-01,2025-12-31
a,f2f,Pulmora,,2025-01-01,2025-12-31
a,f2f,Pulmora,many,2025-01-01,2025-12-31
a,f2f,Pulmora,3,2025-13-01,2025-12-31
a,f2f,Pulmora,3,2025-06-01,2025-01-01
,f2f,Pulmora,3,2025-06-01,2025-12-31
"""
BELONGS = """account,hospital,role,influence,start
a,H1,Head of department,High,2020-03-01
a,H2,Consultant,,
b,,Consultant,Low,
"""


def day(year: int, month: int, number: int) -> datetime:
    return datetime(year, month, number, tzinfo=UTC)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "log.csv").write_text("case,event,time\na,call,2025-02-01\n")
    (tmp_path / "plan.csv").write_text(PLAN)
    (tmp_path / "belongs.csv").write_text(BELONGS)
    return tmp_path


def inputs(folder: Path, **more) -> LogInputs:
    return LogInputs({"calls": SourceSettings(path="log.csv")}, folder, **more)


def test_a_plan_holds_what_can_be_counted_and_rejects_the_rest(folder: Path):
    log = read_log(inputs(folder, plan=PlanSettings(path="plan.csv")))
    # rows 4 to 8 lack a goal, hold a wrong one, a month 13, an end before the start, no case
    assert dict(log.plan.schema) == PLAN_SCHEMA
    assert log.plan.rows() == [
        ("a", "email", "Cardiovia", 12.0, day(2025, 1, 1), None, "plan", 2),
        ("a", "f2f", "Cardiovia", 0.0, day(2025, 1, 1), day(2025, 12, 31), "plan", 3),
        ("b", "f2f", "Cardiovia", 6.0, day(2025, 1, 1), day(2025, 12, 31), "plan", 1),
    ]
    assert sorted(log.rejected.select("row", "reason").rows()) == [
        (4, "the goal is empty"),
        (5, "the goal cannot be read"),
        (6, "the start cannot be read"),
        (7, "the end lies before the start"),
        (8, "the case id is empty"),
    ]
    count = log.sources[-1]
    assert (count.role, count.read, count.accepted, count.rejected, count.merged) == ("plan", 8, 3, 5, 0)
    assert [name for name, _ in input_files(inputs(folder, plan=PlanSettings(path="plan.csv")))] == [
        "log.csv",
        "plan.csv",
    ]


def test_affiliations_with_guessed_columns_and_their_way_to_disk(folder: Path, tmp_path: Path):
    log = read_log(inputs(folder, affiliations=AffiliationSettings(path="belongs.csv")))
    assert dict(log.affiliations.schema) == AFFILIATION_SCHEMA
    assert log.affiliations.rows() == [
        ("a", "H1", "Head of department", "High", day(2020, 3, 1), None, "affiliations", 1),
        ("a", "H2", "Consultant", None, None, None, "affiliations", 2),
    ]
    assert log.reasons()[0]["reason"] == "the account_id is empty"
    log.write(tmp_path / "log")
    again = EventLog.read(tmp_path / "log")
    assert again.affiliations.equals(log.affiliations) and again.plan.height == 0
    (tmp_path / "log" / "plan.parquet").unlink()  # a log of an earlier version
    assert EventLog.read(tmp_path / "log").plan.schema == PLAN_SCHEMA


def test_constants_and_named_columns(folder: Path):
    (folder / "plan.csv").write_text("hcp,visits\na,4\n")
    settings = PlanSettings(
        path="plan.csv",
        columns={"goal": "visits"},
        values={"channel": "f2f", "start": "2025-01-01"},
    )
    assert read_log(inputs(folder, plan=settings)).plan.rows() == [
        ("a", "f2f", None, 4.0, day(2025, 1, 1), None, "plan", 1)
    ]
    without = PlanSettings(path="plan.csv")
    with pytest.raises(LogError, match="no column that looks like goal"):
        read_log(inputs(folder, plan=without))
    with pytest.raises(JobError, match="column 'goals' is not known"):
        read_log(inputs(folder, plan=PlanSettings(path="plan.csv", columns={"goals": "visits"})))


def test_a_job_names_them_as_tables(folder: Path):
    table = {"source": {"calls": {"path": "log.csv"}}, "plan": {"path": "plan.csv"}}
    (folder / "gone.txt").write_text("b\n")
    job = job_from({**table, "log": {"exclude": "gone.txt"}}, name="j", base=folder)
    assert job.inputs.plan == PlanSettings(path="plan.csv") and list(job.inputs.tables) == ["calls", "plan"]
    log = read_log(job.inputs)
    assert log.plan["case_id"].to_list() == ["a", "a"]
    assert [name for name, _ in input_files(job.inputs)] == ["gone.txt", "log.csv", "plan.csv"]


def test_several_tables_of_one_role_are_read_one_after_the_other_and_counted_apart(folder: Path):
    (folder / "mail.csv").write_text("case_id,channel,goal\na,email,4\n")
    (folder / "consents.csv").write_text("case_id,channel,state,timestamp\na,email,opt_in,2025-01-01\n")
    (folder / "stops.csv").write_text("case_id,state,timestamp\na,opt_out,2025-02-01\nb,perhaps,2025-02-01\n")
    job = job_from(
        {
            "source": {"calls": {"path": "log.csv"}},
            "plan": {"calls": {"path": "plan.csv"}, "mails": {"path": "mail.csv"}},
            "consents": {
                "crm": {"path": "consents.csv"},
                "mails": {"path": "stops.csv", "values": {"channel": "email"}},
            },
        },
        name="x",
        base=folder,
    )
    log = read_log(job.inputs)
    # a's two plans side by side, then b's; the plan of calls rejects its five wrong rows as before
    assert [(r["case_id"], r["goal"], r["source"]) for r in log.plan.to_dicts()] == [
        ("a", 12.0, "plan.calls"),
        ("a", 0.0, "plan.calls"),
        ("a", 4.0, "plan.mails"),
        ("b", 6.0, "plan.calls"),
    ]
    assert log.consents.select("state", "source").rows() == [
        ("opt_in", "consents.crm"),
        ("opt_out", "consents.mails"),
    ]
    counts = {c.name: (c.read, c.accepted, c.rejected) for c in log.sources if c.role != "events"}
    assert counts == {
        "consents.crm": (1, 1, 0),
        "consents.mails": (2, 1, 1),
        "plan.calls": (8, 3, 5),
        "plan.mails": (1, 1, 0),
    }
    assert len(input_files(job.inputs)) == 5


def test_a_wrong_key_in_one_of_several_tables_is_named(folder: Path):
    table = {"source": {"calls": {"path": "log.csv"}}, "plan": {"calls": {"pth": "plan.csv"}}}
    with pytest.raises(JobError, match=r"\[plan.calls\] has an unknown key 'pth'"):
        job_from(table, name="x", base=folder)
