"""Who and what may not enter a log: opted-out and excluded people, free text, addresses."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest

from behavio.errors import LogError
from behavio.log import EventLog
from behavio.sources import (
    CasesSettings,
    ConsentSettings,
    LogInputs,
    LogSettings,
    PlanSettings,
    SourceSettings,
    read,
    read_log,
)
from behavio.sources.privacy import OPTED_OUT, read_ids, salted, text_columns

LOG = """case_id,activity,timestamp,notes,Signature_vod__c,email,phone
HCP-1,call,2025-01-01 10:00,patient had a rash,sig1,a@example.org,1
HCP-2,call,2025-01-02 10:00,will come back,sig2,b@example.org,0
HCP-2,call,no time,asked about HCP-2,sig2,b@example.org,0
HCP-3,call,2025-01-03 10:00,,,,1
HCP-3,call,2025-01-03 10:00,another note,,,1
"""
CASES = "case_id,data_privacy_opt_out__v,PDRP_Opt_Out_vod__c\nHCP-1,no,yes\nHCP-2,true,no\nHCP-3,,\n"
CONSENTS = "case_id,channel,state,timestamp\nHCP-2,email,opt_in,2025-01-01\nHCP-1,email,opt_in,2025-01-01\n"
PLAN = "case_id,goal\nHCP-2,4\nHCP-1,4\n"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name, text in {"log": LOG, "cases": CASES, "consents": CONSENTS, "plan": PLAN}.items():
        (tmp_path / f"{name}.csv").write_text(text)
    return tmp_path


def whole(folder: Path, settings: LogSettings | None = None, **more) -> EventLog:
    return read_log(
        LogInputs(
            {"calls": SourceSettings(path="log.csv")},
            folder,
            CasesSettings(path="cases.csv"),
            ConsentSettings(path="consents.csv"),
            PlanSettings(path="plan.csv"),
            log=settings or LogSettings(),
        ),
        **more,
    )


def everything(log: EventLog) -> str:
    tables = (log.events, log.cases, log.consents, log.rejected, log.plan)
    return " ".join(str(v) for t in tables for v in t.rows()) + str(log.sources)


def test_people_who_opted_out_of_processing_leave_no_trace(folder: Path):
    log = whole(folder)
    assert "HCP-2" not in everything(log)
    assert log.events["case_id"].to_list() == ["HCP-1", "HCP-3", "HCP-3"]
    assert log.cases["case_id"].to_list() == ["HCP-1", "HCP-3"]  # PDRP only concerns prescription data
    for count in log.sources:
        assert count.read == count.accepted + count.rejected + count.merged, count.name
    counts = {c.name: (c.merged, c.filtered, c.left_out.get(OPTED_OUT)) for c in log.sources}
    # the row without a time is the opted-out person's too: left out before its time is looked at
    assert counts == {"calls": (2, 2, 2), "cases": (1, 1, 1), "consents": (1, 1, 1), "plan": (1, 1, 1)}


def test_an_opt_out_in_the_extract_itself_or_in_a_deleted_account(tmp_path: Path):
    flagged = "case_id,activity,timestamp,data_privacy_opt_out\na,x,2025-01-01,1\nb,x,2025-01-01,0\n"
    (tmp_path / "log.csv").write_text(flagged)
    assert read(tmp_path / "log.csv").events["case_id"].to_list() == ["b"]
    (tmp_path / "Account.csv").write_text(
        "Id,IsDeleted,SystemModstamp,data_privacy_opt_out__v\n"
        "a,true,2025-02-01T00:00:00Z,true\n"  # deleted, and still not to be processed
        "b,false,2025-01-01T00:00:00Z,true\nb,false,2025-02-01T00:00:00Z,false\n"  # taken back
    )
    (tmp_path / "log.csv").write_text("case_id,activity,timestamp\na,x,2025-01-01\nb,x,2025-01-01\n")
    cases = CasesSettings(path="Account.csv", kind="veeva.account")
    log = read_log(LogInputs({"log": SourceSettings(path="log.csv")}, tmp_path, cases))
    assert log.cases["case_id"].to_list() == ["b"] and log.events["case_id"].to_list() == ["b"]


def test_a_rejected_row_that_names_a_barred_person_is_not_shown(folder: Path):
    (folder / "log.csv").write_text(LOG + ",call,2025-01-01,sent by HCP-2,,,\n,call,2025-01-01,,,,\n")
    log = whole(folder, LogSettings(keep_text=True))
    raw = log.rejected.sort("row")["raw"].to_list()
    assert raw[0] == "(not shown: it names a person who may not enter)" and '"call"' in raw[1]


def test_an_exclusion_list_of_lines_or_a_table(folder: Path):
    (folder / "gone.txt").write_text("# asked by letter\nHCP-3\n\n")
    log = whole(folder, LogSettings(exclude="gone.txt"))
    assert log.cases["case_id"].to_list() == ["HCP-1"]
    assert log.sources[0].left_out["the person is on the exclusion list"] == 2
    (folder / "gone.csv").write_text("since,hcp_id\n2025,HCP-3\n")
    assert read_ids("gone.csv", folder) == ["HCP-3"]
    (folder / "one.txt").write_text("account_id\n0015g00000000OB\n")  # 15 characters mean the 18 too
    assert read_ids("one.txt", folder) == ["0015g00000000OB", "0015g00000000OBAAY"]
    (folder / "empty.txt").write_text("\n#\n")
    with pytest.raises(LogError, match="holds no id"):
        read_ids("empty.txt", folder)


def test_erased_people_are_known_by_salted_hashes_only(folder: Path):
    log = whole(folder, salt="s", erased=frozenset({salted("HCP-3", "s")}))
    assert log.cases["case_id"].to_list() == ["HCP-1"]
    assert log.sources[0].left_out["the person was erased from this run"] == 2
    assert whole(folder, salt="t", erased=frozenset({salted("HCP-3", "s")})).n_events == 3


def test_text_stays_out_unless_named(folder: Path):
    log = read(folder / "log.csv")
    assert [c for c in log.events.columns if c in LOG.partition("\n")[0].split(",")] == [
        *("case_id", "activity", "timestamp", "phone")  # flags, not numbers to call
    ]
    note = next(n for n in log.sources[0].notes if n.startswith("left out as free text"))
    assert "notes, Signature_vod__c, email" in note and "keep_text = true" in note
    assert log.sources[0].repeats == 0  # HCP-3's rows differ in the note
    assert "rash" not in everything(log) and "asked about" not in everything(log)
    assert read(folder / "log.csv", keep=["*", "notes"]).events["notes"].null_count() == 1
    assert "email" in read(folder / "log.csv", keep_text=True).events.columns


@pytest.mark.parametrize(
    ("column", "values", "text"),
    [
        ("Pre_Call_Notes_vod__c", ["x"], True),
        ("customerAddress", ["x"], True),
        ("DEA_Expiration_Date_vod__c", ["2025-01-01"], True),
        ("Comments2", ["fine"], True),
        ("Reply Body", ["fine"], True),
        ("email_count", ["4"], False),
        ("Email", ["1", "0"], False),
        ("signal", ["weak"], False),
        ("contact", ["anna@example.org", "ben@example.org"], True),
        ("what", [f"he said that number {i} is the best of all" for i in range(9)], True),
        ("product", ["one long name of a product that is always the same"] * 9, False),
        ("code", [f"A-{i}" for i in range(50)], False),
    ],
)
def test_what_counts_as_text(column: str, values: list[str], text: bool):
    assert text_columns(pl.DataFrame({column: values}), [column]) == ([column] if text else [])
