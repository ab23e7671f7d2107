"""Hand-made extracts, one trap each; the expected events are worked out in the comments."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest

from behavio.errors import JobError, LogError
from behavio.log import CONSENT_SCHEMA, EventLog
from behavio.sources import CasesSettings, ConsentSettings, LogInputs, SourceSettings, input_files, read_log

CALLS = """\
Id,IsDeleted,LastModifiedDate,Account_vod__c,Call_Datetime_vod__c,Status_vod__c,Call_Channel_vod__c,\
Parent_Call_vod__c,Attendee_Type_vod__c,User_vod__c,Duration_vod__c,Product_Priority_1_vod__c,Next_Call_Notes_vod__c
"""
MESSAGES = """\
Id,IsDeleted,LastModifiedDate,Call2_vod__c,Account_vod__c,Start_Time_vod__c,Display_Order_vod__c,Reaction_vod__c,\
Key_Message_vod__c,Key_Message_Name_vod__c,Category_vod__c,Product_vod__c
"""
EMAILS = """\
Id,IsDeleted,LastModifiedDate,Account_vod__c,Email_Sent_Date_vod__c,Status_vod__c,Record_Type_Name_vod__c,\
Product_vod__c,Approved_Email_Template_vod__c,Account_Email_vod__c
"""
ACTIVITY = """\
Id,IsDeleted,LastModifiedDate,Sent_Email_vod__c,Event_type_vod__c,Activity_DateTime_vod__c,IP_Address_vod__c
"""


@pytest.fixture
def extract(tmp_path: Path):
    """Write extracts into one folder and read some of them as a job would."""

    def run(kinds: dict[str, str], **files: str) -> EventLog:
        for name, text in files.items():
            (tmp_path / f"{name}.csv").write_text(text)
        sources = {n: SourceSettings(path=f"{n}.csv", kind=k) for n, k in kinds.items()}
        return read_log(LogInputs(sources, tmp_path))

    return run


def short(log: EventLog, *more: str) -> list[tuple]:
    """(case, activity, HH:MM, …) of every event."""
    return log.events.select("case_id", "activity", pl.col("timestamp").dt.strftime("%H:%M"), *more).rows()


def reconciles(log: EventLog) -> bool:
    return all(
        s.read == s.accepted + s.rejected + s.merged and s.merged == sum(s.left_out.values())
        for s in log.sources
    )


def test_only_submitted_calls_are_facts(extract):
    # c1 submitted → the only event; c2 planned and c3 saved → filtered; c4 deleted → filtered
    log = extract(
        {"Call2_vod__c": "veeva.call"},
        Call2_vod__c=CALLS
        + "c1,false,,A1,2026-01-05T09:00:00.000Z,Submitted_vod,Face_to_face_vod,,,U1,15,,secret\n"
        + "c2,false,,A1,2026-02-05T09:00:00.000Z,Planned_vod,Face_to_face_vod,,,U1,15,,secret\n"
        + "c3,false,,A1,2026-03-05T09:00:00.000Z,Saved_vod,Video_vod,,,U1,15,,secret\n"
        + "c4,true,,A1,2026-03-06T09:00:00.000Z,Submitted_vod,Video_vod,,,U1,15,,secret\n",
    )
    assert short(log, "channel", "direction", "team", "duration_s", "actor_id") == [
        ("A1", "call_f2f", "09:00", "f2f", "outbound", "sales", 900.0, "U1")
    ]
    count = log.sources[0]
    assert (count.read, count.accepted, count.rejected, count.merged, count.filtered) == (4, 1, 0, 3, 3)
    assert count.left_out == {"deleted in the CRM": 1, "a planned or saved call is no fact": 2}
    assert "secret" not in str(log.events.rows())


def test_group_call_counts_each_hcp_once(extract):
    # g1 is the header without an account; g2, g3 are its attendees; g4 lists A2 again; g5 is a colleague.
    # h1 is a header that carries the first attendee itself, h2 repeats him: one call for A9.
    log = extract(
        {"Call2_vod__c": "veeva.call"},
        Call2_vod__c=CALLS
        + "g1,false,,,2026-01-05T09:00:00.000Z,Submitted_vod,Video_vod,,,U1,,,\n"
        + "g2,false,,A1,2026-01-05T09:00:00.000Z,Submitted_vod,Video_vod,g1,Person_Account_vod,U1,,,\n"
        + "g3,false,,A2,2026-01-05T09:00:00.000Z,Submitted_vod,Video_vod,g1,Person_Account_vod,U1,,,\n"
        + "g4,false,,A2,2026-01-05T09:00:00.000Z,Submitted_vod,Video_vod,g1,Person_Account_vod,U1,,,\n"
        + "g5,false,,,2026-01-05T09:00:00.000Z,Submitted_vod,Video_vod,g1,User_vod,U1,,,\n"
        + "h1,false,,A9,2026-01-06T10:00:00.000Z,Submitted_vod,Phone_vod,,Person_Account_vod,U1,,,\n"
        + "h2,false,,A9,2026-01-06T10:00:00.000Z,Submitted_vod,Phone_vod,h1,Person_Account_vod,U1,,,\n",
    )
    assert short(log) == [
        ("A1", "call_video", "09:00"),
        ("A2", "call_video", "09:00"),
        ("A9", "call_phone", "10:00"),
    ]
    assert log.sources[0].left_out == {
        "the attendee is no HCP": 1,
        "the header of a group: its attendees have rows of their own": 1,
        "the same case a second time in one group": 2,
    }
    assert reconciles(log)


def test_a_call_without_account_that_is_no_header_is_rejected(extract):
    log = extract(
        {"Call2_vod__c": "veeva.call"},
        Call2_vod__c=CALLS
        + "c1,false,,A1,2026-01-05T09:00:00.000Z,Submitted_vod,Phone_vod,,,U1,,,\n"
        + "c2,false,,,2026-01-05T09:00:00.000Z,Submitted_vod,Phone_vod,,,U1,,,private words\n",
    )
    assert log.rejected.select("source", "file", "row", "column", "reason").rows() == [
        ("Call2_vod__c", "Call2_vod__c.csv", 2, "Account_vod__c", "the case id is empty")
    ]
    assert "private words" not in log.rejected["raw"][0]
    assert '"Id":"c2"' in log.rejected["raw"][0]


def test_newest_copy_of_a_record_wins(extract):
    # c1 comes three times: the copy modified last (row 2) says phone; equal copies count once
    log = extract(
        {"Call2_vod__c": "veeva.call"},
        Call2_vod__c=CALLS
        + "c1,false,2026-01-06T00:00:00.000Z,A1,2026-01-05T09:00:00.000Z,Submitted_vod,Video_vod,,,U1,,,\n"
        + "c1,false,2026-01-09T00:00:00.000Z,A1,2026-01-05T09:00:00.000Z,Submitted_vod,Phone_vod,,,U1,,,\n"
        + "c1,false,2026-01-07T00:00:00.000Z,A1,2026-01-05T09:00:00.000Z,Planned_vod,Phone_vod,,,U1,,,\n",
    )
    assert short(log, "source_row") == [("A1", "call_phone", "09:00", 2)]
    assert log.sources[0].left_out == {"an older or equal copy of a record with the same Id": 2}


def test_an_unknown_channel_is_rejected_not_guessed(extract):
    log = extract(
        {"Call2_vod__c": "veeva.call"},
        Call2_vod__c=CALLS
        + "c1,false,,A1,2026-01-05T09:00:00.000Z,Submitted_vod,Pigeon_vod,,,U1,,,\n"
        + "c2,false,,A1,2026-01-05T10:00:00.000Z,Submitted_vod,,,,U1,,,\n",
    )
    assert short(log) == [("A1", "call_f2f", "10:00")]
    assert log.rejected["reason"].to_list() == ["no activity is mapped to this value"]
    assert "Face_to_face_vod" in log.rejected["hint"][0]


def test_key_messages_take_account_and_time_from_their_call(extract):
    # call k1 by A1 at 09:00. m1 has its own time 09:05; m2 and m3 take 09:00 and are ordered 1, 2;
    # m3 has no reaction: it was only shown. m4 belongs to a planned call: no fact. m5's call is unknown
    # but the row knows its account and time.
    log = extract(
        {"Call2_vod__c": "veeva.call", "Call2_Key_Message_vod__c": "veeva.key_message"},
        Product_vod__c="Id,Name\nP1,Cardiovia\n",
        Key_Message_vod__c="Id,Name,Category_vod__c\nKM1,Efficacy 1,Efficacy\n",
        Call2_vod__c=CALLS
        + "k1,false,,A1,2026-01-05T09:00:00.000Z,Submitted_vod,Video_vod,,,U1,,P1,\n"
        + "k2,false,,A1,2026-05-05T09:00:00.000Z,Planned_vod,Video_vod,,,U1,,P1,\n",
        Call2_Key_Message_vod__c=MESSAGES
        + "m1,false,,k1,A1,2026-01-05T09:05:00.000Z,3,Positive,KM1,,,P1\n"
        + "m3,false,,k1,,,2,,KM1,,,P1\n"
        + "m2,false,,k1,,,1,Negative,,Old name,Safety,P1\n"
        + "m4,false,,k2,,,1,Positive,KM1,,,P1\n"
        + "m5,false,,k9,A2,2026-01-07T08:00:00.000Z,1,Neutral,KM1,,,P1\n",
    )
    assert short(log, "message", "content", "reaction", "direction", "channel") == [
        ("A1", "call_video", "09:00", None, None, None, "outbound", "video"),
        ("A1", "reaction_negative", "09:00", "Old name", "Safety", "negative", "inbound", "video"),
        ("A1", "message_shown", "09:00", "Efficacy 1", "Efficacy", None, "outbound", "video"),
        ("A1", "reaction_positive", "09:05", "Efficacy 1", "Efficacy", "positive", "inbound", "video"),
        ("A2", "reaction_neutral", "08:00", "Efficacy 1", "Efficacy", "neutral", "inbound", None),
    ]
    assert log.events["brand"].unique().to_list() == ["Cardiovia"]
    messages = log.sources[1]
    assert messages.left_out == {"its call is planned or saved, no fact": 1}
    assert any("1 rows name a Call2_vod__c that Call2_vod__c.csv does not hold" in n for n in messages.notes)
    assert reconciles(log)


def test_sent_emails_that_reached_nobody_are_no_contact(extract):
    # e1 delivered; e2 bounced, e3 scheduled; e4 a receipt; e5 sent without a date → rejected
    log = extract(
        {"Sent_Email_vod__c": "veeva.sent_email"},
        Sent_Email_vod__c=EMAILS
        + "e1,false,,A1,2026-01-05T07:00:00.000Z,Delivered_vod,Account_vod,P1,T1,a@b.example\n"
        + "e2,false,,A1,2026-01-05T07:00:00.000Z,Bounced_vod,Account_vod,P1,T1,a@b.example\n"
        + "e3,false,,A1,,Scheduled_vod,Account_vod,P1,T1,a@b.example\n"
        + "e4,false,,A1,2026-01-05T07:00:00.000Z,Sent_vod,Email_Receipt_vod,P1,T1,a@b.example\n"
        + "e5,false,,A1,,Sent_vod,Account_vod,P1,T1,a@b.example\n",
    )
    assert short(log, "channel", "team", "brand") == [
        ("A1", "email_sent", "07:00", "email", "marketing", "P1")
    ]
    assert sorted(log.sources[0].left_out.values()) == [1, 2]
    assert log.rejected["reason"].to_list() == ["the time is empty"]
    assert "a@b.example" not in str(log.events.rows()) + str(log.rejected.rows())
    assert any("Product_vod__c.csv is not beside the file" in n for n in log.sources[0].notes)


def test_invented_and_machine_opens_are_merged_away(extract):
    # e1 sent 07:00:00 to A1. o1 opened 3 s later: a link scanner. o2 opened 08:00: real. o3 and k1 are an
    # open and a click in the same second: the CRM added the open. o4 at 09:30 stays, its click is later.
    log = extract(
        {"Email_Activity_vod__c": "veeva.email_activity"},
        Sent_Email_vod__c=EMAILS
        + "e1,false,,A1,2026-01-05T07:00:00.000Z,Delivered_vod,Account_vod,P1,T1,a@b.example\n",
        Email_Activity_vod__c=ACTIVITY
        + "o1,false,,e1,Opened_vod,2026-01-05T07:00:03.000Z,10.0.0.1\n"
        + "o2,false,,e1,Opened_vod,2026-01-05T08:00:00.000Z,10.0.0.1\n"
        + "o3,false,,e1,Opened_vod,2026-01-05T09:00:00.000Z,10.0.0.1\n"
        + "k1,false,,e1,Clicked_vod,2026-01-05T09:00:00.000Z,10.0.0.1\n"
        + "o4,false,,e1,Opened_vod,2026-01-05T09:30:00.000Z,10.0.0.1\n"
        + "d1,false,,e1,Delivered_vod,2026-01-05T07:00:01.000Z,10.0.0.1\n"
        + "u1,false,,e1,Unsubscribed_vod,2026-01-05T10:00:00.000Z,10.0.0.1\n"
        + "x1,false,,e7,Opened_vod,2026-01-05T10:00:00.000Z,10.0.0.1\n",
    )
    assert short(log, "brand") == [
        ("A1", "email_open", "08:00", "P1"),
        ("A1", "email_click", "09:00", "P1"),
        ("A1", "email_open", "09:30", "P1"),
        ("A1", "email_unsubscribe", "10:00", "P1"),
    ]
    count = log.sources[0]
    assert (count.read, count.accepted, count.rejected, count.merged) == (8, 4, 1, 3)
    assert "10.0.0.1" not in str(log.rejected.rows())


def test_short_salesforce_ids_meet_long_ones(extract):
    # 001A0000006Vm9r is 001A0000006Vm9rIAC in its 18-character form (Salesforce's own rule)
    log = extract(
        {"Call2_vod__c": "veeva.call"},
        Call2_vod__c=CALLS
        + "c1,false,,001A0000006Vm9r,2026-01-05T09:00:00.000Z,Submitted_vod,Phone_vod,,,U1,,,\n"
        + "c2,false,,001A0000006Vm9rIAC,2026-01-06T09:00:00.000Z,Submitted_vod,Phone_vod,,,U1,,,\n",
    )
    assert log.n_cases == 1


def test_accounts_and_consents(tmp_path: Path):
    # A1 never wants email and calls; A2 comes twice (newest wins); the hospital is no HCP.
    # Consents: the sample consent says nothing; an odd state is rejected.
    (tmp_path / "calls.csv").write_text(
        CALLS + "c1,false,,A1,2026-01-05T09:00:00.000Z,Submitted_vod,Phone_vod,,,U1,,,\n"
        "c2,false,,A3,2026-01-05T09:00:00.000Z,Submitted_vod,Phone_vod,,,U1,,,\n"
    )
    (tmp_path / "Account.csv").write_text(
        "Id,IsDeleted,LastModifiedDate,IsPersonAccount,LastName,Specialty_1_vod__c,Potential__c,OwnerId,"
        "Do_Not_Call_vod__c,Approved_Email_Opt_Type_vod__c\n"
        "A1,false,2026-01-01T00:00:00.000Z,true,Doe,Cardiology,7,U1,Yes_vod,Never_vod\n"
        "A2,false,2026-01-01T00:00:00.000Z,true,Roe,Nephrology,3,U1,No_vod,\n"
        "A2,false,2026-02-01T00:00:00.000Z,true,Roe,Cardiology,4,U2,No_vod,\n"
        "H1,false,2026-01-01T00:00:00.000Z,false,Clinic,,,U1,,\n"
    )
    (tmp_path / "Product_vod__c.csv").write_text("Id,Name\nP1,Cardiovia\n")
    (tmp_path / "Multichannel_Consent_vod__c.csv").write_text(
        "Id,Account_vod__c,Opt_Type_vod__c,Capture_Datetime_vod__c,Opt_Expiration_Date_vod__c,Record_Type_Name_vod__c,Product_vod__c,Channel_Value_vod__c\n"
        "n1,A1,Opt_In_vod,2025-06-01T00:00:00.000Z,2026-06-01,Approved_Email_vod,P1,x@y.example\n"
        "n2,A2,Opt_Out_vod,2025-07-01T00:00:00.000Z,,Approved_Email_vod,,x@y.example\n"
        "n3,A2,Opt_In_vod,2025-07-02T00:00:00.000Z,,Sample_Consent_vod,,\n"
        "n4,A2,Maybe_vod,2025-07-02T00:00:00.000Z,,Approved_Email_vod,,x@y.example\n"
    )
    log = read_log(
        LogInputs(
            {"calls": SourceSettings(path="calls.csv", kind="veeva.call")},
            tmp_path,
            CasesSettings(path="Account.csv", kind="veeva.account"),
            ConsentSettings(path="Multichannel_Consent_vod__c.csv", kind="veeva.consent"),
        )
    )
    assert log.cases.select("case_id", "specialty", "potential", "owner_id").rows() == [
        ("A1", "Cardiology", 7, "U1"),
        ("A2", "Cardiology", 4, "U2"),
        ("A3", None, None, None),
    ]
    assert dict(log.consents.schema) == CONSENT_SCHEMA
    assert log.consents.select("case_id", "channel", "state", pl.col("expires").dt.year()).rows() == [
        ("A1", "call", "never", None),
        ("A1", "email", "opt_in", 2026),
        ("A1", "email", "never", None),
        ("A2", "email", "opt_out", None),
    ]
    # the statement of A1 is about one product, what stands in the account and that of A2 about all
    assert log.consents["brand"].to_list() == [None, "Cardiovia", None, None]
    assert [(s.name, s.role, s.read, s.accepted, s.rejected, s.merged) for s in log.sources] == [
        ("calls", "events", 2, 2, 0, 0),
        ("cases", "cases", 4, 2, 0, 2),
        ("consents", "consents", 4, 2, 1, 1),
    ]
    assert any("1 cases with events are not in the case table" in n for n in log.sources[1].notes)
    assert "Doe" not in str(log.cases.rows()) and "x@y" not in str(log.rejected.rows())


def test_a_folder_holds_the_usual_file(tmp_path: Path):
    (tmp_path / "Call2_vod__c.csv").write_text(
        CALLS + "c1,false,,A1,2026-01-05T09:00:00.000Z,Submitted_vod,Phone_vod,,,U1,,,\n"
    )
    (tmp_path / "Product_vod__c.csv").write_text("Id,Name\nP1,Cardiovia\n")
    sources = {"calls": SourceSettings(path=".", kind="veeva.call")}
    assert read_log(LogInputs(sources, tmp_path)).n_events == 1
    names = [name for name, _ in input_files(LogInputs(sources, tmp_path))]
    assert [Path(n).name for n in names] == ["Call2_vod__c.csv", "Product_vod__c.csv"]


def test_a_wrong_extract_names_the_missing_column(tmp_path: Path):
    (tmp_path / "calls.csv").write_text("Id,Account_vod_c,Status_vod__c\n1,A1,Submitted_vod\n")
    with pytest.raises(LogError, match="has no column 'Call_Datetime_vod__c' for timestamp"):
        read_log(LogInputs({"c": SourceSettings(path="calls.csv", kind="veeva.call")}, tmp_path))


def test_an_unknown_kind_names_the_nearest():
    with pytest.raises(JobError) as caught:
        SourceSettings(path="x.csv", kind="veeva.calls")
    assert "did you mean 'veeva.call'?" in caught.value.hint
