"""Each trap of CRM extracts by its name, on as few rows as show it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

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
    built_in,
    read_log,
)
from behavio.sources.mapping import load_mapping

CALL = "Id,Account_vod__c,Call_Datetime_vod__c,Status_vod__c"


@pytest.fixture
def extract(tmp_path: Path):
    """Write extracts and read one of them: extract(kind, Name="header\\nrow\\n", …)."""

    def run(kind: str, file: str, cases: str = "", **files: str) -> EventLog:
        for name, text in files.items():
            (tmp_path / f"{name}.csv").write_text(text)
        more: dict[str, Any] = {"cases": CasesSettings(path=cases, kind="veeva.account")} if cases else {}
        return read_log(LogInputs({"x": SourceSettings(path=f"{file}.csv", kind=kind)}, tmp_path, **more))

    return run


def test_merged_accounts_count_for_the_one_that_survived(extract):
    # A1 was merged into A2: its call, its consent and its row in the case table become A2's
    log = extract(
        "veeva.call",
        "Call2_vod__c",
        cases="Account.csv",
        Account="Id,IsDeleted,MasterRecordId,IsPersonAccount,Specialty_1_vod__c\n"
        "A1,true,A2,true,Old\nA2,false,,true,Cardiology\n",
        Call2_vod__c=CALL + "\nc1,A1,2026-01-05T09:00:00.000Z,Submitted_vod\n"
        "c2,A2,2026-01-06T09:00:00.000Z,Submitted_vod\n",
    )
    assert log.events["case_id"].to_list() == ["A2", "A2"]
    assert log.cases.select("case_id", "specialty").rows() == [("A2", "Cardiology")]


@pytest.mark.parametrize("how", ["opted out", "excluded", "excluded, no case table"])
def test_who_opted_out_under_an_old_id_stays_out(tmp_path, how):
    # A1 opted out, or is on the list, and was merged into A2, later into A3: A3 is the same person
    flag = "true" if how == "opted out" else "false"
    (tmp_path / "Account.csv").write_text(
        "Id,IsDeleted,MasterRecordId,IsPersonAccount,Data_Privacy_Opt_Out_vod__c\n"
        f"A1,true,A2,true,{flag}\nA2,true,A3,true,false\nA3,false,,true,false\nA4,false,,true,false\n"
    )
    (tmp_path / "out.txt").write_text("A1\n")
    (tmp_path / "Call2_vod__c.csv").write_text(
        CALL
        + "\nc1,A3,2026-01-05T09:00:00.000Z,Submitted_vod\nc2,A1,2026-01-05T09:00:00.000Z,Submitted_vod\n"
        "c4,A4,2026-01-06T09:00:00.000Z,Submitted_vod\n"
    )
    with_cases = how != "excluded, no case table"
    inputs = LogInputs(
        {"calls": SourceSettings(path="Call2_vod__c.csv", kind="veeva.call")},
        tmp_path,
        cases=CasesSettings(path="Account.csv", kind="veeva.account") if with_cases else None,
        log=LogSettings(exclude=None if how == "opted out" else "out.txt"),
    )
    log = read_log(inputs)
    assert log.events["case_id"].to_list() == log.cases["case_id"].to_list() == ["A4"]


def test_soft_deleted_accounts_are_no_cases(extract):
    log = extract(
        "veeva.call",
        "Call2_vod__c",
        cases="Account.csv",
        Account="Id,IsDeleted,IsPersonAccount\nA1,true,true\nA2,false,true\n",
        Call2_vod__c=CALL + "\nc2,A2,2026-01-06T09:00:00.000Z,Submitted_vod\n",
    )
    assert log.cases["case_id"].to_list() == ["A2"]
    assert log.sources[1].left_out == {"deleted in the CRM": 1}


def test_medical_calls_are_kept_apart(extract):
    # the record type stands in the row, in a second file by its id, or nowhere: then the log says so
    rows = "c1,A1,2026-01-05T09:00:00.000Z,Submitted_vod"
    named = extract(
        "veeva.call",
        "Call2_vod__c",
        Call2_vod__c=f"{CALL},RecordType.DeveloperName\n{rows},MSLMeetingBrief_vod\n",
    )
    by_id = extract(
        "veeva.call",
        "Call2_vod__c",
        RecordType="Id,DeveloperName\nR1,Medical_Inquiry_Fulfillment_vod\n",
        Call2_vod__c=f"{CALL},RecordTypeId\n{rows},R1\n",
    )
    nowhere = extract("veeva.call", "Call2_vod__c", Call2_vod__c=f"{CALL}\n{rows}\n")
    assert named.events["team"].to_list() == by_id.events["team"].to_list() == ["medical"]
    assert nowhere.events["team"].to_list() == ["sales"]
    assert any("medical calls cannot be told" in n for n in nowhere.sources[0].notes)
    assert not any("medical calls cannot be told" in n for n in named.sources[0].notes)


def test_an_org_without_channels_knows_visits_only(extract):
    log = extract("veeva.call", "Call2_vod__c", Call2_vod__c=f"{CALL}\nc1,A1,2026-01-06,Submitted_vod\n")
    assert log.events.select("activity", "channel").rows() == [("call_f2f", "f2f")]
    assert "there is no column 'Call_Channel_vod__c': every row is taken as call_f2f" in log.sources[0].notes


def test_a_call_date_is_never_computed_from_the_time(extract):
    # a late call in Chicago: on the device it was still the 5th, in UTC it is the 6th
    log = extract(
        "veeva.call",
        "Call2_vod__c",
        Call2_vod__c=f"{CALL},Call_Date_vod__c\nc1,A1,2026-01-06T02:00:00.000Z,Submitted_vod,2026-01-05\n",
    )
    assert log.events["local_date"].to_list() == ["2026-01-05"]
    assert log.events["timestamp"].dt.day().to_list() == [6]


def test_several_products_in_one_cell_give_the_first_as_brand(extract):
    log = extract(
        "veeva.call",
        "Call2_vod__c",
        Call2_vod__c=f"{CALL},Detailed_Products_vod__c\n"
        "c1,A1,2026-01-06T02:00:00.000Z,Submitted_vod,Cardiovia; Nephrova\n",
    )
    assert log.events.select("brand", "products").rows() == [("Cardiovia", "Cardiovia; Nephrova")]


def test_dotted_relationship_columns_name_products_and_never_people(extract):
    log = extract(
        "veeva.call",
        "Call2_vod__c",
        Call2_vod__c=f"{CALL},Product_Priority_1_vod__c,Product_Priority_1_vod__r.Name,Account_vod__r.Name\n"
        "c1,A1,2026-01-06T02:00:00.000Z,Submitted_vod,P1,Cardiovia,Jane Doe\n",
    )
    assert log.events["brand"].to_list() == ["Cardiovia"]
    assert "Jane" not in str(log.events.rows())


def test_calls_on_hospitals_are_no_contacts_with_hcps(extract):
    log = extract(
        "veeva.call",
        "Call2_vod__c",
        Account="Id,IsPersonAccount\nA1,true\nH1,false\n",
        Call2_vod__c=CALL + "\nc1,A1,2026-01-05T09:00:00.000Z,Submitted_vod\n"
        "c2,H1,2026-01-06T09:00:00.000Z,Submitted_vod\nc3,A9,2026-01-06T09:00:00.000Z,Submitted_vod\n",
    )
    assert log.events["case_id"].to_list() == ["A1", "A9"]
    assert log.sources[0].left_out == {"the account is no person (hospital, department)": 1}


def test_an_external_id_that_comes_twice_multiplies_nothing(extract):
    # a product's external id is not unique: products are found by Id only
    log = extract(
        "veeva.call",
        "Call2_vod__c",
        Product_vod__c="Id,Name,External_ID_vod__c\nP1,Cardiovia,X\nP2,Cardiovia 10 mg,X\n",
        Call2_vod__c=f"{CALL},Product_Priority_1_vod__c\nc1,A1,2026-01-06T02:00:00.000Z,Submitted_vod,P1\n",
    )
    assert log.events["brand"].to_list() == ["Cardiovia"]


EMAIL = (
    "Id,Account_vod__c,Email_Sent_Date_vod__c,Status_vod__c,Parent_Email_vod__c,Opened_vod__c,Clicked_vod__c"
)


def test_an_email_sent_again_counts_once(extract):
    # e1 arrived and was sent again: one contact. e3 bounced, e4 is what arrived instead: one contact.
    log = extract(
        "veeva.sent_email",
        "Sent_Email_vod__c",
        Sent_Email_vod__c=EMAIL + "\ne1,A1,2026-01-05T07:00:00.000Z,Delivered_vod,,0,0\n"
        "e2,A1,2026-01-06T07:00:00.000Z,Sent_vod,e1,0,0\n"
        "e3,A2,2026-01-05T07:00:00.000Z,Bounced_vod,,0,0\n"
        "e4,A2,2026-01-07T07:00:00.000Z,Delivered_vod,e3,0,0\n",
    )
    assert log.events.select("case_id", pl.col("timestamp").dt.day()).rows() == [("A1", 5), ("A2", 7)]


def test_opened_and_clicked_are_numbers_and_no_events(extract):
    # the roll-ups 1 and 0 say nothing about when: opens and clicks come from Email_Activity only
    log = extract(
        "veeva.sent_email",
        "Sent_Email_vod__c",
        Sent_Email_vod__c=EMAIL + "\ne1,A1,2026-01-05T07:00:00.000Z,Delivered_vod,,1,1\n",
    )
    assert log.events["activity"].to_list() == ["email_sent"]


def test_untracked_opens_are_no_refusals(extract):
    log = extract(
        "veeva.sent_email",
        "Sent_Email_vod__c",
        Sent_Email_vod__c=EMAIL + ",Activity_Tracking_Mode_vod__c\n"
        "e1,A1,2026-01-05T07:00:00.000Z,Delivered_vod,,0,0,Whatever_it_is_called\n",
    )
    assert log.events["opens_tracked"].to_list() == ["Whatever_it_is_called"]
    assert any("1 × Whatever_it_is_called; where opens are not tracked" in n for n in log.sources[0].notes)


@pytest.mark.parametrize("what", ["Opened_vod", "Clicked_vod"])
def test_machines_open_and_click_faster_than_people(extract, what):
    log = extract(
        "veeva.email_activity",
        "Email_Activity_vod__c",
        Sent_Email_vod__c=EMAIL + "\ne1,A1,2026-01-05T07:00:00.000Z,Delivered_vod,,1,1\n",
        Email_Activity_vod__c="Id,Sent_Email_vod__c,Event_type_vod__c,Activity_DateTime_vod__c\n"
        f"a1,e1,{what},2026-01-05T07:00:04.999Z\na2,e1,{what},2026-01-05T07:00:05.000Z\n"
        f"a3,e1,{what},2026-01-05T06:59:00.000Z\n",
    )
    # 4.999 s: a machine; 5 s and a clock that runs behind: kept
    assert sorted(log.events["source_row"].to_list()) == [2, 3]


def test_email_activity_under_another_spelling_keeps_its_rules(extract):
    # the names of type and time are not the same in every org; the invented open still goes
    log = extract(
        "veeva.email_activity",
        "Email_Activity_vod__c",
        Sent_Email_vod__c=EMAIL + "\ne1,A1,2026-01-05T07:00:00.000Z,Delivered_vod,,1,1\n",
        Email_Activity_vod__c="Id,Sent_Email_vod__c,Event_Type_vod__c,Event_Datetime_vod__c\n"
        "a1,e1,Open_vod,2026-01-05T09:00:00.000Z\na2,e1,Click_vod,2026-01-05T09:00:00.000Z\n",
    )
    assert log.events["activity"].to_list() == ["email_click"]


def test_clickstream_names_its_call_differently():
    join = load_mapping(None, "veeva.clickstream", Path()).join["call"]
    assert join.key[0] == "Call_vod__c" and join.file == "Call2_vod__c.csv"
    assert load_mapping(None, "veeva.call_detail", Path()).join["call"].key == ("Call2_vod__c",)


def test_medical_events_are_shadows_of_events_management(extract):
    # with EM_Event_vod__c.csv beside it the shadow is left out; without it, it is all there is
    files = {
        "Medical_Event_vod__c": "Id,Start_Time_vod__c,EM_Event_vod__c\nE1,2026-01-05T17:00:00.000Z,M1\n",
        "Event_Attendee_vod__c": "Id,Medical_Event_vod__c,Account_vod__c,Status_vod__c\na1,E1,A1,Attended\n",
    }
    assert extract("veeva.event_attendee", "Event_Attendee_vod__c", **files).n_events == 1
    with pytest.raises(LogError, match="the log has no event") as caught:
        extract("veeva.event_attendee", "Event_Attendee_vod__c", EM_Event_vod__c="Id\nM1\n", **files)
    assert "the shadow of an attendee of Events Management" in caught.value.hint


def test_consents_out_of_order_are_put_in_order(tmp_path):
    (tmp_path / "log.csv").write_text("case_id,activity,timestamp\nA1,x,2026-01-01\n")
    (tmp_path / "c.csv").write_text(
        "Id,Account_vod__c,Opt_Type_vod__c,Capture_Datetime_vod__c\n"
        "n1,A1,Opt_Out_vod,2025-07-01T00:00:00.000Z\nn2,A1,Opt_In_vod,2025-06-01T00:00:00.000Z\n"
    )
    log = read_log(
        LogInputs(
            {"log": SourceSettings(path="log.csv")},
            tmp_path,
            consents=ConsentSettings(path="c.csv", kind="veeva.consent"),
        )
    )
    assert log.consents["state"].to_list() == ["opt_in", "opt_out"]


def test_an_empty_goal_is_a_mistake_and_zero_is_a_goal(tmp_path):
    for name, text in {
        "log": "case_id,activity,timestamp\nA1,x,2026-01-01\n",
        "MC_Cycle_vod__c": "Id,Start_Date_vod__c,End_Date_vod__c\nY,2026-01-01,2026-03-31\n",
        "MC_Cycle_Plan_vod__c": "Id,Cycle_vod__c\nL,Y\n",
        "MC_Cycle_Plan_Target_vod__c": "Id,Cycle_Plan_vod__c,Target_vod__c\nT,L,A1\n",
        "MC_Cycle_Channel_vod__c": "Id,Channel_Object_vod__c,Channel_Weight_vod__c\n"
        "C,Sent_Email_vod__c,0.5\n",
        "MC_Cycle_Plan_Channel_vod__c": "Id,Cycle_Plan_Target_vod__c,Cycle_Channel_vod__c,"
        "Channel_Activity_Goal_vod__c\np1,T,C,6\np2,T,C,0\np3,T,C,\n",
    }.items():
        (tmp_path / f"{name}.csv").write_text(text)
    inputs = LogInputs({"log": SourceSettings(path="log.csv")}, tmp_path)
    plan = PlanSettings(path=".", kind="veeva.plan")
    log = read_log(LogInputs(inputs.source, tmp_path, plan=plan))
    assert log.plan.select("channel", "goal").rows() == [("email", 3.0), ("email", 0.0)]
    assert log.rejected.select("row", "reason").rows() == [(3, "the goal is empty")]
    (tmp_path / "MC_Cycle_Channel_vod__c.csv").unlink()
    with pytest.raises(LogError, match=r"plan needs MC_Cycle_Channel_vod__c\.csv for cycle_channel"):
        read_log(LogInputs(inputs.source, tmp_path, plan=plan))


PERSONAL = ("Notes", "Signature_vod", "DEA_", "License", "Email_Content", "Bcc", "IP_Address", "Text_Entered")


@pytest.mark.parametrize("kind", sorted(built_in()))
def test_no_mapping_asks_for_what_is_personal(kind):
    mapping = load_mapping(None, kind, Path())
    looked_at = mapping.needs | {c for j in mapping.join.values() for c in j.columns}
    assert not [c for c in looked_at for word in PERSONAL if word.lower() in c.lower()]
