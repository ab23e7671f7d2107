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

SOURCES = {
    "calls": ("Call2_vod__c.csv", "veeva.call"),
    "key_messages": ("Call2_Key_Message_vod__c.csv", "veeva.key_message"),
    "emails": ("Sent_Email_vod__c.csv", "veeva.sent_email"),
    "email_activity": ("Email_Activity_vod__c.csv", "veeva.email_activity"),
    "portal": ("ga4_events.jsonl", "ga4"),
    "attendance": ("Event_Attendee_vod__c.csv", "veeva.event_attendee"),
}


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
    for attribute in ("channel", "direction", "brand", "message", "reaction"):
        columns = [*keys, attribute]
        same = [t.select(columns).sort(columns, nulls_last=True) for t in (log.events, truth)]
        assert same[0].equals(same[1]), attribute


def test_every_row_of_dirt_is_accounted_for(world):
    _, files, log = world
    for source in log.sources:
        file = files[source.file]
        assert source.read == file["rows"] == source.accepted + source.rejected + source.merged, source.name
        if source.kind != "ga4":
            assert source.accepted == file["facts"], source.name
    dirt = files["Call2_vod__c.csv"]["dirt"]
    calls = log.sources[0]
    assert calls.left_out["a planned or saved call is no fact"] == dirt["planned"] + dirt["saved"]
    assert calls.rejected == dirt["broken"]
    mails = files["Email_Activity_vod__c.csv"]["dirt"]
    answers = log.sources[3].left_out
    assert answers.get("an open the CRM added to a click at the very same time", 0) == mails["invented_open"]
    assert answers["a machine: opened within 5 seconds of sending (link scanner)"] == mails["machine_open"]
    hits, portal = files["ga4_events.jsonl"], log.sources[4]
    assert portal.accepted == hits["marks"]["visits"] + hits["marks"]["downloads"]
    assert portal.filtered == hits["dirt"]["bot_named"] + hits["dirt"]["bot_burst"]
    assert portal.rejected == hits["dirt"]["anonymous"]


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
