"""The extracts: the same bytes for the same seed, every row of dirt counted, the clean log recoverable."""

from __future__ import annotations

import json
from dataclasses import replace
from hashlib import sha256
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

import behavio.simulate.history as history_module
from behavio.simulate import SimulateSettings, simulate
from behavio.simulate.ids import crm_ids

SMALL = SimulateSettings(n_cases=250, months=6, seed=11)


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("sim")
    simulate(SMALL, folder)
    return folder


@pytest.fixture(scope="module")
def files(out: Path) -> dict[str, dict[str, Any]]:
    return json.loads((out / "truth" / "summary.json").read_text())["files"]


def table(out: Path, name: str) -> pl.DataFrame:
    return pl.read_csv(out / "extracts" / name, infer_schema=False)


def hashes(folder: Path) -> dict[str, str]:
    return {
        str(p.relative_to(folder)): sha256(p.read_bytes()).hexdigest()
        for p in sorted(folder.rglob("*"))
        if p.is_file()
    }


def test_same_seed_same_bytes(out: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(history_module, "CHUNK", 37)  # how the work is cut plays no part
    simulate(SMALL, tmp_path / "again")
    assert hashes(tmp_path / "again") == hashes(out)


def test_another_seed_gives_other_bytes(out: Path, tmp_path: Path) -> None:
    simulate(replace(SMALL, seed=12), tmp_path)
    ours, other = hashes(out), hashes(tmp_path)
    fixed = {"User", "Product_vod__c", "Key_Message_vod__c", "Approved_Document_vod__c"}
    fixed |= {f"MC_Cycle{part}_vod__c" for part in ("", "_Channel", "_Plan", "_Plan_Target")}  # goals differ
    same = {name for name in ours if ours[name] == other[name]}
    assert same == {f"extracts/{name}.csv" for name in fixed}


def test_every_file_holds_the_rows_it_should(out: Path, files: dict[str, dict[str, Any]]) -> None:
    assert {p.name for p in (out / "extracts").iterdir()} == set(files)
    for name, counts in files.items():
        lines = (out / "extracts" / name).read_text().count("\n") - name.endswith(".csv")
        assert lines == counts["rows"] == counts["facts"] + sum(counts["dirt"].values()), name


def test_call_dirt_is_what_was_counted(out: Path, files: dict[str, dict[str, Any]]) -> None:
    calls, dirt = table(out, "Call2_vod__c.csv"), files["Call2_vod__c.csv"]["dirt"]
    assert all(n > 0 for n in dirt.values())
    status = dict(calls["Status_vod__c"].value_counts().iter_rows())
    assert status["Planned_vod"] == dirt["planned"]
    assert status["Saved_vod"] == dirt["saved"] + dirt["duplicate"]
    assert calls.height - calls["Id"].n_unique() == dirt["duplicate"]
    assert calls.filter(pl.col("IsDeleted") == "true").height == dirt["deleted"]
    assert calls.filter(pl.col("Attendee_Type_vod__c") == "Group_Account_vod").height == dirt["group_parent"]
    assert calls.filter(pl.col("Attendee_Type_vod__c") == "User_vod").height == dirt["group_colleague"]
    parents = calls.filter(pl.col("Attendee_Type_vod__c") == "Group_Account_vod")
    assert parents["Account_vod__c"].null_count() == parents.height
    times = calls["Call_Datetime_vod__c"].str.to_datetime("%Y-%m-%dT%H:%M:%S%.3fZ", strict=False)
    assert times.null_count() == dirt["broken"]
    first = calls.sort("LastModifiedDate").unique("Id", keep="first", maintain_order=True)
    twice = calls.filter(pl.col("Id").is_duplicated())["Id"].unique()
    assert set(first.filter(pl.col("Id").is_in(twice.implode()))["Status_vod__c"]) == {"Saved_vod"}


def test_mail_dirt_is_what_was_counted(out: Path, files: dict[str, dict[str, Any]]) -> None:
    mails, dirt = table(out, "Sent_Email_vod__c.csv"), files["Sent_Email_vod__c.csv"]["dirt"]
    kinds = dict(mails["RecordType.DeveloperName"].value_counts().iter_rows())
    assert kinds["Double_Opt_In_vod"] == dirt["double_opt_in"]
    assert kinds["Email_Receipt_vod"] == dirt["receipt"]
    assert mails["Email_Sent_Date_vod__c"].null_count() == dirt["unsent"]
    assert mails.height - mails["Id"].n_unique() == dirt["duplicate"]
    answers, dirt = table(out, "Email_Activity_vod__c.csv"), files["Email_Activity_vod__c.csv"]["dirt"]
    once = answers.unique("Id", keep="any").filter(pl.col("IsDeleted") == "false")
    by = {
        k: once.filter(pl.col("Event_type_vod__c") == f"{k}_vod") for k in ("Opened", "Clicked", "Delivered")
    }
    where = ["Sent_Email_vod__c", "Activity_DateTime_vod__c"]
    assert by["Opened"].join(by["Clicked"], on=where, how="semi").height == dirt["invented_open"] > 0
    assert by["Delivered"].height == dirt["delivered"]
    sent = mails.unique("Id").select(
        pl.col("Id").alias("Sent_Email_vod__c"), pl.col("Email_Sent_Date_vod__c").alias("sent")
    )
    at = [pl.col(c).str.to_datetime("%Y-%m-%dT%H:%M:%S%.3fZ", strict=False) for c in (where[1], "sent")]
    waits = by["Opened"].join(sent, on="Sent_Email_vod__c").select((at[0] - at[1]).dt.total_seconds())
    assert waits.to_series().is_between(0, 4).sum() == dirt["machine_open"] > 0
    assert not waits.to_series().is_between(5, 9).any()


def test_portal_dirt_is_what_was_counted(out: Path, files: dict[str, dict[str, Any]]) -> None:
    counts = files["ga4_events.jsonl"]
    hits = [json.loads(line) for line in (out / "extracts" / "ga4_events.jsonl").read_text().splitlines()]
    assert sum(h["user_id"] is None for h in hits) == counts["dirt"]["anonymous"]
    assert sum(h["device"]["category"] == "bot" for h in hits) == counts["dirt"]["bot_named"]
    sessions: dict[tuple[str, int], int] = {}
    for hit in hits:
        if hit["user_id"] is not None and hit["device"]["category"] != "bot":
            number = next(p["value"]["int_value"] for p in hit["event_params"] if p["key"] == "ga_session_id")
            sessions[hit["user_id"], number] = sessions.get((hit["user_id"], number), 0) + 1
    bursts = [n for n in sessions.values() if n > 100]
    assert sum(bursts) == counts["dirt"]["bot_burst"]
    assert len(sessions) - len(bursts) == counts["marks"]["visits"]
    assert sum(h["event_name"] == "file_download" for h in hits) == counts["marks"]["downloads"]
    assert all(a["event_timestamp"] <= b["event_timestamp"] for a, b in pairwise(hits))


def test_holdout_gets_no_campaign_wave(out: Path) -> None:
    accounts = table(out, "Account.csv")
    kept = accounts.filter(pl.col("Holdout_Group__c") == "true")["Id"].unique()
    mails = table(out, "Sent_Email_vod__c.csv")
    waves = mails.filter(pl.col("Campaign_Wave__c").is_not_null())
    assert 0.04 < len(kept) / SMALL.n_cases < 0.2
    assert waves.height > 200 and not waves["Account_vod__c"].is_in(kept.implode()).any()
    assert mails.filter(pl.col("Account_vod__c").is_in(kept.implode())).height > 0


def test_nobody_is_mailed_after_unsubscribing(out: Path) -> None:
    events = pl.read_parquet(out / "truth" / "events.parquet")
    left = events.filter(pl.col("activity") == "email_unsubscribe").select("case_id", left="timestamp")
    later = events.filter(pl.col("activity") == "email_sent").join(left, on="case_id")
    assert later.filter(pl.col("timestamp") > pl.col("left")).height == 0
    consents = table(out, "Multichannel_Consent_vod__c.csv")
    told = consents.filter(pl.col("Optout_Event_Type_vod__c") == "Unsubscribed_vod")
    assert sorted(told["Account_vod__c"]) == sorted(left["case_id"])


def test_a_perfect_reader_gets_the_clean_log(out: Path) -> None:
    from behavio.sources import LogInputs, read_log
    from behavio.sources.settings import CasesSettings, SourceSettings

    kinds = {
        "veeva.call": "Call2_vod__c.csv",
        "veeva.key_message": "Call2_Key_Message_vod__c.csv",
        "veeva.sent_email": "Sent_Email_vod__c.csv",
        "veeva.email_activity": "Email_Activity_vod__c.csv",
        "ga4": "ga4_events.jsonl",
    }
    sources = {kind: SourceSettings(path=f"extracts/{file}", kind=kind) for kind, file in kinds.items()}
    sources["events"] = SourceSettings(
        path="extracts/Event_Attendee_vod__c.csv",
        case_id="Account_vod__c",
        activity="Activity__c",
        timestamp="Start_Datetime__c",
        columns={"channel": "Channel__c", "direction": "Direction__c"},
    )
    log = read_log(LogInputs(sources, out, CasesSettings(path="extracts/Account.csv", kind="veeva.account")))
    truth = pl.read_parquet(out / "truth" / "events.parquet")
    columns = ["case_id", "activity", "timestamp", "channel", "direction", "reaction", "brand"]
    said = pl.when(pl.col("channel") != "portal").then("message")
    assert log.events.select(*columns, said).equals(truth.select(*columns, said))


def test_clean_extracts_hold_no_dirt(tmp_path: Path) -> None:
    summary = simulate(replace(SMALL, n_cases=60, dirt=0.0), tmp_path)
    assert sum(sum(f["dirt"].values()) for f in summary["files"].values()) == 0
    for file in summary["files"]:
        if file.endswith(".csv"):
            rows = pl.read_csv(tmp_path / "extracts" / file, infer_schema=False)
            own = {"Survey.csv": ["case_id", "question"], "Affiliations.csv": ["case_id", "account_id"]}
            key = own.get(file, ["Id"])  # no objects of the CRM
            assert not rows.select(key).is_duplicated().any(), file


@pytest.mark.parametrize("settings", [{"n_cases": 1, "months": 1}, {"n_cases": 3, "months": 1, "dirt": 10.0}])
def test_the_smallest_worlds_are_written_whole(settings: dict[str, Any], tmp_path: Path) -> None:
    for seed in range(6):
        summary = simulate(SimulateSettings(seed=seed, **settings), tmp_path / str(seed))
        events = pl.read_parquet(tmp_path / str(seed) / "truth" / "events.parquet")
        assert events.height == summary["n_events"]
        assert not list((tmp_path / str(seed)).rglob("*.part"))


def test_ids_are_salesforce_ids() -> None:
    # 001A000000abcDE -> each run of five letters gives one letter: bits of its capitals, lowest first
    ids = crm_ids("Account", np.array([0, 9, 10, 36, 61, 62, 62**6 - 1]))
    assert ids.is_sorted() and ids.n_unique() == 7
    assert set(ids.str.len_chars()) == {18}
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZ012345"
    for text in ids:
        runs = [text[k : k + 5] for k in (0, 5, 10)]
        check = [alphabet[sum(c.isupper() << i for i, c in enumerate(run))] for run in runs]
        assert text[15:] == "".join(check)
        assert text.startswith("001")


def test_progress_is_told(tmp_path: Path) -> None:
    told: list[tuple[str, float]] = []
    simulate(replace(SMALL, n_cases=20), tmp_path, lambda what, done: told.append((what, done)))
    assert told[-1] == ("written", 1.0)
    assert all(0 <= done <= 1 for _, done in told)
