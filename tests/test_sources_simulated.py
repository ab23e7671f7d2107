"""Simulated extracts, read as a job reads them, give back exactly the events that were lived."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest

from behavio.log import EventLog
from behavio.simulate import SimulateSettings, simulate
from behavio.sources import (
    CasesSettings,
    ConsentSettings,
    LogInputs,
    SourceSettings,
    read,
    read_log,
    readiness,
)
from experiments.reconcile import reconcile

SOURCES = {
    "calls": ("Call2_vod__c.csv", "veeva.call"),
    "key_messages": ("Call2_Key_Message_vod__c.csv", "veeva.key_message"),
    "emails": ("Sent_Email_vod__c.csv", "veeva.sent_email"),
    "email_activity": ("Email_Activity_vod__c.csv", "veeva.email_activity"),
    "portal": ("ga4_events.jsonl", "ga4"),
    "attendance": ("Event_Attendee_vod__c.csv", "veeva.event_attendee"),
}


SAID_TOO = ("content", "team", "duration_s", "actor_id")


@pytest.fixture(scope="module")
def world(tmp_path_factory) -> tuple[Path, dict, EventLog]:
    out = tmp_path_factory.mktemp("simulated")
    summary = simulate(SimulateSettings(n_cases=120, months=6, seed=3), out)
    sources = {n: SourceSettings(path=p, kind=k) for n, (p, k) in SOURCES.items()}
    log = read_log(
        LogInputs(
            sources,
            out / "extracts",
            CasesSettings(path="Account.csv", kind="veeva.account"),
            ConsentSettings(path="Multichannel_Consent_vod__c.csv", kind="veeva.consent"),
        )
    )
    return out, summary["files"], log


def test_the_log_is_what_was_lived(world):
    out, _, log = world
    truth = pl.read_parquet(out / "truth" / "events.parquet")
    keys = ["case_id", "activity", "timestamp"]
    assert log.events.select(keys).sort(keys).equals(truth.select(keys).sort(keys))
    for attribute in ("channel", "direction", "brand", "message", "reaction", *SAID_TOO):
        columns = [*keys, attribute]
        same = [t.select(columns).sort(columns, nulls_last=True) for t in (log.events, truth)]
        assert same[0].equals(same[1]), attribute


def test_every_row_of_dirt_is_found_and_counted_as_the_simulator_counts_it(world):
    _, files, log = world
    table = reconcile(files, log)
    wrong = table.filter(pl.col("planted") != pl.col("found"))
    assert wrong.rows() == []
    read = {s.file for s in log.sources}
    named = {(f, k) for f, kinds, *_ in table.rows() for k in kinds.split(" + ")}
    planted = {(f, k) for f, told in files.items() if f in read for k in told["dirt"]}
    assert planted <= named and len(planted) == 25  # no kind of dirt is left without a line
    for source in log.sources:
        assert source.filtered <= source.merged == sum(source.left_out.values()), source.name


def test_marks_that_are_no_dirt_are_read_right(world):
    _, files, log = world
    marks = files["Call2_Key_Message_vod__c.csv"]["marks"]
    shown = log.events.filter(activity="message_shown")
    assert shown.height == marks["no_reaction"] and shown["reaction"].null_count() == shown.height
    talk = log.events.filter(pl.col("source") == "key_messages")
    assert talk["case_id"].null_count() == 0 and marks["no_account"] > 0  # taken from the call
    # group calls: every member once
    calls = log.events.filter(pl.col("source") == "calls")
    assert calls.select("case_id", "timestamp").is_duplicated().sum() == 0


def test_every_event_leads_back_to_its_row(world):
    out, _, log = world
    calls = pl.read_csv(out / "extracts" / "Call2_vod__c.csv", infer_schema=False)
    events = log.events.filter(pl.col("source") == "calls")
    assert events["source_file"].cast(pl.String).unique().to_list() == ["Call2_vod__c.csv"]
    rows = calls[(events["source_row"] - 1).to_list()]
    assert rows["Account_vod__c"].str.head(15).to_list() == events["case_id"].str.head(15).to_list()
    when = rows["Call_Datetime_vod__c"].str.to_datetime("%Y-%m-%dT%H:%M:%S%.3fZ", time_unit="us")
    assert when.dt.replace_time_zone("UTC").to_list() == events["timestamp"].to_list()


def test_who_the_hcps_are_without_what_names_them(world):
    _, files, log = world
    assert log.cases.height == files["Account.csv"]["facts"] == 120
    assert {"specialty", "region", "potential", "territory", "owner_id", "holdout"} <= set(log.cases.columns)
    assert not log.cases["territory"].str.contains(";").any()
    everything = " ".join(
        str(v) for t in (log.events, log.cases, log.consents, log.rejected) for v in t.rows()
    )
    for private in ("Adler", "example.invalid", "Will discuss with", "Dear colleague"):
        assert private not in everything
    dated = log.consents.filter(pl.col("source") == "consents")
    assert dated.height == files["Multichannel_Consent_vod__c.csv"]["rows"]


def test_an_extract_is_known_by_its_usual_name(world):
    out, files, _ = world
    calls = read(out / "extracts" / "Call2_vod__c.csv")
    assert calls.n_events == files["Call2_vod__c.csv"]["facts"]
    assert calls.sources[0].kind == "veeva.call"
    assert readiness(calls)["attributes"]["channel"] == 1.0
