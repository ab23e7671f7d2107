"""What the mapping language can say beyond columns: twins, chains, factors, remarks, odd spellings."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest

from behavio.errors import JobError, LogError
from behavio.log import EventLog
from behavio.sources import LogInputs, SourceSettings, built_in, read, read_log
from behavio.sources.mapping import load_mapping, parse_mapping
from behavio.sources.records import spelled, to_the_end, unwanted
from behavio.sources.twins import candidates

RULES = {"*_vod__c": "~__v", "*_vod": "~__v", "Id": "id", "RecordType.DeveloperName": "kind__v"}


@pytest.mark.parametrize(
    ("name", "becomes"),
    [
        ("Call_Date_vod__c", ["call_date__v"]),
        ("Submitted_vod", ["submitted__v"]),
        ("call.Account_vod__c", ["call.account__v"]),
        ("RecordType.DeveloperName", ["kind__v"]),
        ("call.RecordType.DeveloperName", ["call.kind__v"]),
        ("Call2_vod__c.csv", ["call2__v.csv"]),
        ("Id", ["id"]),
        ("Identity", ["Identity"]),
        ("email", ["email"]),
    ],
)
def test_a_name_under_the_rules(name, becomes):
    assert candidates(name, RULES) == becomes


def test_a_twin_says_only_what_differs():
    # the call mapping under Vault's names; the twin's own status name and title win
    twin = parse_mapping(
        'like = "veeva.call"\nnames = "vault"\ntitle = "T"\n[rename]\nStatus_vod__c = "call2_status__v"\n',
        "x",
    )
    base = load_mapping(None, "veeva.call", Path())
    assert twin.title == "T" and twin.id == "id" and twin.parent == "parent_call__v"
    assert twin.file == "call2__v.csv" and twin.attributes["duration_s"].column == ("duration__v",)
    assert twin.activity.values["video__v"] == "call_video"
    status = next(f for f in twin.filter if f.column == ("call2_status__v",))
    assert status.inside == ("submitted__v",)
    assert [f.why for f in twin.filter] == [f.why for f in base.filter]
    assert twin.attributes["direction"].constant == "outbound"


def test_a_name_that_is_not_sure_becomes_several():
    twin = parse_mapping(
        'like = "veeva.email_activity"\n[rename]\nActivity_DateTime_vod__c = ["a__v", "b__v"]\n', "x"
    )
    assert twin.timestamp.column[:2] == ("a__v", "b__v")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('like = "veeva.calls"', "is like 'veeva.calls', which is no mapping"),
        ('names = "vault"', "renames, but is like no other mapping"),
        ('like = "veeva.call"\nnames = "vaults"', "names 'vaults' are not known"),
        ('like = "veeva.call"\n[rename]\nId = 5', "must hold names and what they become"),
        ('like = "veeva.call"\nfiles = "x"', "unknown key 'files'"),
    ],
)
def test_a_wrong_twin_is_refused(text, message):
    with pytest.raises(JobError, match=message):
        parse_mapping(text, "mine.toml")


def test_every_built_in_twin_is_shorter_than_what_it_is_like():
    twins = {k: t for k, t in built_in().items() if t.count('\nlike = "') or t.startswith('like = "')}
    for kind, text in twins.items():
        assert len(text) < 1_500, kind


MAPPING = """
title = "Visits"
id = "Id"
case_id = ["person.MasterId", "Person"]
timestamp = "When"
activity = { constant = "visit" }
drop = ["*Note*"]
[attributes]
brand = { column = "Products", first_of = ";" }
cost = { column = "Hours", times = "rate.Rate" }
[join.person]
file = "People.csv"
key = ["Person_Id", "Person"]
columns = ["MasterId"]
chain = "MasterId"
quiet = true
[join.rate]
file = "Rates.csv"
key = "Kind"
id = "Kind"
columns = ["Rate"]
where = { Year = "2026" }
[[remark]]
column = "Tracking"
why = "opens may be untracked"
[[remark]]
column = "Team"
missing = true
why = "nothing tells the team"
"""


def read_visits(folder: Path, visits: str, **files: str) -> EventLog:
    (folder / "mine.toml").write_text(MAPPING)
    for name, text in {"visits": visits, **files}.items():
        (folder / f"{name}.csv").write_text(text)
    source = SourceSettings(path="visits.csv", mapping="mine.toml")
    return read_log(LogInputs({"visits": source}, folder))


VISITS = """\
ID,PERSON,When,Products,Hours,Kind,Tracking,Call_Notes
v1,a,2026-01-01 10:00,North;South,2,x,On,secret
v2,b,2026-01-02 10:00,South,2,y,Off,secret
v3,d,2026-01-03 10:00,,4,x,On,secret
"""
PEOPLE = "Id,MasterId\na,b\nb,c\nd,e\ne,d\n"
RATES = "Kind,Year,Rate\nx,2025,1\nx,2026,10\ny,2026,\n"


def test_a_chain_is_followed_to_its_end_and_a_circle_nowhere(tmp_path):
    # a was merged into b, b into c: both count for c; d and e name each other: d stays d
    log = read_visits(tmp_path, VISITS, People=PEOPLE, Rates=RATES)
    assert log.events.select("case_id", "brand", "cost").rows() == [
        ("c", "North", "20.0"),
        ("c", "South", None),
        ("d", None, "40.0"),
    ]
    notes = log.sources[0].notes
    assert "2 rows name a merged Person: counted for the one that survived" in notes
    assert "Tracking: 2 × On, 1 × Off; opens may be untracked" in notes
    assert "nothing tells the team" in notes
    assert any("differ in capital letters" in n for n in notes)
    assert "secret" not in str(log.events.rows())


def test_a_missing_column_is_named_though_a_joined_one_could_stand_for_it(tmp_path):
    with pytest.raises(LogError, match="has no column 'Person' for case_id"):
        read_visits(tmp_path, "Id,When,Kind,Hours\nv1,2026-01-01 10:00,x,1\n", Rates=RATES)


def test_several_rows_for_one_key_are_told(tmp_path):
    log = read_visits(
        tmp_path, VISITS, People=PEOPLE, Rates="Kind,Year,Rate\nx,2026,10\nx,2026,20\ny,2026,1\n"
    )
    assert any("Rates.csv holds several rows for one Kind" in n for n in log.sources[0].notes)


def test_two_columns_that_would_become_one_stay():
    frame = pl.DataFrame({"id": [1], "ID": [2], "NAME": [3], "other": [4]})
    assert spelled(frame, {"Id", "Name"}, (), []).columns == ["id", "ID", "Name", "other"]
    assert spelled(frame, {"Name"}, ("NAME",), []).columns == ["id", "ID", "NAME", "other"]


def test_a_chain_of_short_ids_ends_in_a_full_one():
    # 001A0000006Vm9r is 001A0000006Vm9rIAC in full
    table = pl.DataFrame({"Id": ["a"], "M": ["001A0000006Vm9r"]})
    assert to_the_end(table, "Id", "M", full=True)["M"].to_list() == ["001A0000006Vm9rIAC"]


@pytest.mark.parametrize(
    ("column", "dropped"), [("Signature_Date_vod__c", True), ("call_NOTES__c", True), ("Status", False)]
)
def test_what_is_dropped_is_named_with_wildcards(column, dropped):
    assert unwanted(column, ("Signature_*", "*_Notes__c")) is dropped


def test_lists_of_picklists_are_texts(tmp_path):
    # Vault writes picklists as lists in JSON
    (tmp_path / "calls.jsonl").write_text(
        '{"who": "a", "what": ["x"], "when": "2026-01-01T10:00:00Z", "tags": ["m", "n"]}\n'
        '{"who": "a", "what": [], "when": "2026-01-02T10:00:00Z", "tags": null}\n'
    )
    source = SourceSettings(path="calls.jsonl", case_id="who", activity="what", timestamp="when")
    log = read_log(LogInputs({"calls": source}, tmp_path))
    assert log.events.select("activity", "tags").rows() == [("x", "m;n")]
    assert log.rejected["reason"].to_list() == ["the activity is empty"]


@pytest.mark.parametrize("ending", ["csv", "parquet"])
def test_a_warehouse_writes_all_names_in_small_letters(tmp_path, ending):
    # the same call as in the CRM, from a warehouse: nothing is lost, notes still stay out
    frame = pl.DataFrame(
        {
            "id": ["c1", "c2"],
            "account_vod__c": ["A1", "A1"],
            "call_datetime_vod__c": ["2026-01-05T09:00:00.000Z"] * 2,
            "status_vod__c": ["Submitted_vod", "Planned_vod"],
            "CALL_CHANNEL_VOD__C": ["Video_vod"] * 2,
            "next_call_notes_vod__c": ["secret"] * 2,
        }
    )
    path = tmp_path / f"Call2_vod__c.{ending}"
    frame.write_csv(path) if ending == "csv" else frame.write_parquet(path)
    source = SourceSettings(path=path.name, kind="veeva.call", keep=("*",))
    log = read_log(LogInputs({"calls": source}, tmp_path))
    assert log.events.select("case_id", "activity").rows() == [("A1", "call_video")]
    assert "secret" not in str(log.events.rows())
    lean = read_log(LogInputs({"calls": SourceSettings(path=path.name, kind="veeva.call")}, tmp_path))
    assert lean.events.select("case_id", "activity").rows() == [("A1", "call_video")]


def test_a_file_that_only_sounds_like_an_extract_is_a_table(tmp_path):
    # Visit.csv is an object of Life Sciences Cloud; this one is somebody's own table
    (tmp_path / "own").mkdir()
    (tmp_path / "own" / "visit.csv").write_text("customer,step,date\na,call,2026-01-01\n")
    (tmp_path / "Visit.csv").write_text(
        "Id,AccountId,Status,Channel,PlannedVisitStartTime\nv1,A1,Completed,Phone,2026-01-05T09:00:00.000Z\n"
    )
    own = read(tmp_path / "own" / "visit.csv", case_id="customer", activity="step", timestamp="date")
    assert own.events.select("case_id", "activity").rows() == [("a", "call")]
    assert read(tmp_path / "Visit.csv").events["activity"].to_list() == ["call_phone"]
