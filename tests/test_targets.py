from __future__ import annotations

import datetime as dt
import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from oracles_suggest import log_of, opt_in

from behavio.errors import DeliveryError, JobError, RunError
from behavio.suggest.make import SUGGESTION_SCHEMA, SUPPRESSED_SCHEMA
from behavio.suggest.medical import MEDICAL_SCHEMA
from behavio.targets import DeliverSettings, Receipt, deliver
from behavio.targets import files as files_target
from behavio.targets.csvfiles import confirm, guarded, harmless, read_csv, write_csv

SEND = DeliverSettings(dry_run=False)
LOAD_COLUMNS = [
    "Suggestion_External_Id_vod__c",
    "OwnerId",
    "Account_vod__c",
    "Record_Type_Name_vod__c",
    "Title_vod__c",
    "Reason_vod__c",
    "Priority_vod__c",
    "Posted_Date_vod__c",
    "Expiration_Date_vod__c",
]


def suggestion(number: int, case: str, **more: Any) -> dict[str, Any]:
    """One suggestion row of a run."""
    row: dict[str, Any] = dict.fromkeys(SUGGESTION_SCHEMA)
    row |= {
        "suggestion_id": f"id{number}",
        "case_id": case,
        "rank": 1,
        "action": "call_f2f",
        "channel": "f2f",
    }
    row |= {
        "message": "52 weeks",
        "owner_id": "rep",
        "priority": "urgent",
        "reason": "Because, she said “yes”.",
    }
    row |= {"due_from": dt.date(2025, 2, 3), "expires_on": dt.date(2025, 2, 14), "evidence_rows": ["hand:1"]}
    return row | more


def run_folder(
    folder: Path,
    suggestions: list[dict[str, Any]],
    segments: list[tuple[str, int, str]] = (),  # type: ignore[assignment]
    more: Sequence[tuple[Any, ...]] = (),
    **log: Any,
) -> Path:
    """A run as far as a delivery reads it."""
    events = [("a", 0, "call_f2f"), ("a", 1, "portal_visit"), ("b", 26, "email_sent"), *more]
    log_of(events, **log).write(folder / "log")
    for room in ("suggestions", "segments", "models"):
        (folder / room).mkdir(parents=True, exist_ok=True)
    made = pl.DataFrame(suggestions, schema=SUGGESTION_SCHEMA)
    made.write_parquet(folder / "suggestions" / "suggestions.parquet")
    held: dict[str, Any] = dict.fromkeys(SUPPRESSED_SCHEMA)
    held |= {"case_id": "c", "action": "email_sent", "reason": "stacking", "detail": "a contact 3 h ago"}
    pl.DataFrame([held], SUPPRESSED_SCHEMA).write_parquet(folder / "suggestions" / "suppressed.parquet")
    labels = {"case_id": pl.String, "segment_id": pl.Int32, "segment": pl.String}
    table = pl.DataFrame(list(segments), labels, orient="row").with_columns(strength=pl.lit(0.875))
    table.write_parquet(folder / "segments" / "segments.parquet")
    (folder / "models" / "metrics.json").write_text(json.dumps({"default": "ngram"}))
    return folder


@pytest.fixture
def run(tmp_path: Path) -> Path:
    return run_folder(
        tmp_path / "run",
        [suggestion(1, "a"), suggestion(2, "b", owner_id=None)],
        [("a", 0, "Readers"), ("b", -1, "unassigned")],
    )


def test_a_dry_run_writes_a_plan_and_a_receipt_and_nothing_else(run: Path, tmp_path: Path) -> None:
    receipt = deliver(run, DeliverSettings(), tmp_path / "out")
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == ["plan.csv", "receipt.json"]
    assert (receipt.planned, receipt.sent, receipt.confirmed) == (2, 0, 0)
    assert (receipt.rejected, receipt.suppressed) == (2, 1)
    _, plan = read_csv(tmp_path / "out" / "plan.csv")
    assert [(r["object"], r["case_id"], r["what"], r["reason"].split(":")[0]) for r in plan] == [
        ("segment", "a", "create", ""),
        ("segment", "b", "reject", "unassigned"),
        ("suggestion", "a", "create", ""),
        ("suggestion", "b", "reject", "missing_owner"),
        ("suggestion", "c", "suppress", "stacking"),
    ]
    assert Receipt.read(tmp_path / "out" / "receipt.json") == receipt


def test_the_real_delivery_does_what_the_dry_run_said(run: Path, tmp_path: Path) -> None:
    dry, real = deliver(run, DeliverSettings(), tmp_path / "dry"), deliver(run, SEND, tmp_path / "out")
    assert (tmp_path / "dry" / "plan.csv").read_bytes() == (tmp_path / "out" / "plan.csv").read_bytes()
    assert (real.planned, real.sent, real.confirmed) == (dry.planned, 2, 2)
    assert real.rejected_by_reason == {"missing_owner": 1, "unassigned": 1}
    columns, rows = read_csv(tmp_path / "out" / "suggestions.csv")
    assert columns[:9] == LOAD_COLUMNS
    assert rows == [
        {
            "Suggestion_External_Id_vod__c": "id1",
            "OwnerId": "rep",
            "Account_vod__c": "a",
            "Record_Type_Name_vod__c": "Call_vod",
            "Title_vod__c": "Rep visit: 52 weeks",
            "Reason_vod__c": "Because, she said “yes”.",
            "Priority_vod__c": "Urgent_vod",
            "Posted_Date_vod__c": "2025-02-01",
            "Expiration_Date_vod__c": "2025-02-14",
            "Run_Id__c": real.run_id,
            "Model_Version__c": rows[0]["Model_Version__c"],
            "Consent_Checked_At__c": "2025-02-01",
        }
    ]
    assert rows[0]["Model_Version__c"].endswith(" ngram")
    _, labels = read_csv(tmp_path / "out" / "segment_labels.csv")
    assert [(r["External_ID_vod__c"], r["Segment__c"], r["Segment_Strength__c"]) for r in labels] == [
        ("a", "Readers", "0.8750")
    ]
    columns, rejected = read_csv(tmp_path / "out" / "rejected.csv")
    assert columns[:2] == ["object", "reason"]
    assert {r["object"] for r in rejected} == {"segment", "suggestion"}
    for name, facts in real.files.items():
        assert hashlib.sha256((tmp_path / "out" / name).read_bytes()).hexdigest() == facts["sha256"]


def test_delivered_twice_the_bytes_are_the_same(run: Path, tmp_path: Path) -> None:
    for name in ("one", "two"):
        deliver(run, SEND, tmp_path / name)
    for path in (tmp_path / "one").iterdir():
        assert path.read_bytes() == (tmp_path / "two" / path.name).read_bytes()


def test_what_is_unchanged_is_not_sent_again(run: Path, tmp_path: Path) -> None:
    deliver(run, SEND, tmp_path / "one")
    again = DeliverSettings(dry_run=False, previous=str(tmp_path / "one"))
    receipt = deliver(run, again, tmp_path / "two")
    assert (receipt.unchanged, receipt.create, receipt.update, receipt.sent) == (2, 0, 0, 0)
    changed = run_folder(
        tmp_path / "later",
        [suggestion(1, "a", reason="Another reason."), suggestion(3, "b")],
        [("a", 0, "Readers"), ("b", 1, "Portal explorers")],
    )
    third = DeliverSettings(dry_run=False, previous=str(tmp_path / "two"))
    receipt = deliver(changed, third, tmp_path / "three")
    assert (receipt.create, receipt.update, receipt.unchanged, receipt.sent) == (2, 1, 1, 3)
    _, plan = read_csv(tmp_path / "three" / "plan.csv")
    assert [r["changed"] for r in plan if r["what"] == "update"] == ["Reason_vod__c"]
    with pytest.raises(RunError, match="holds no delivery"):
        deliver(run, DeliverSettings(previous=str(tmp_path / "nowhere")), tmp_path / "four")


def test_consent_is_asked_again_at_the_door(tmp_path: Path) -> None:
    mail = {"action": "email_sent", "channel": "email"}
    rows = [suggestion(i, case, **mail) for i, case in enumerate("abcd", start=1)]
    consents = [
        opt_in("a"),
        opt_in("b", 0, state="opt_out"),
        opt_in("c", expires=dt.datetime(2025, 2, 10, tzinfo=dt.UTC)),  # the suggestion lives until the 14th
    ]
    run = run_folder(tmp_path / "run", rows, consents=consents)
    receipt = deliver(run, SEND, tmp_path / "out")
    assert receipt.rejected_by_reason == {"no_consent": 3}
    _, sent = read_csv(tmp_path / "out" / "suggestions.csv")
    assert [r["Account_vod__c"] for r in sent] == ["a"]
    assert sent[0]["Record_Type_Name_vod__c"] == "Email_vod"
    assert sent[0]["Title_vod__c"] == "Email: 52 weeks"
    _, rejected = read_csv(tmp_path / "out" / "rejected.csv")
    assert [r["reason"].split(" is ")[-1] for r in rejected] == ["refused", "expired", "missing"]


def test_consent_is_asked_per_product_at_the_door(tmp_path: Path) -> None:
    mail = {"action": "email_sent", "channel": "email", "brand": "Cardiovia"}
    rows = [suggestion(i, case, **mail) for i, case in enumerate("abc", start=1)]
    consents = [
        *(opt_in(case) for case in "ab"),
        opt_in("a", 1, state="opt_out", brand="Cardiovia"),
        opt_in("b", 1, state="opt_out", brand="Nefrilo"),
        opt_in("c", brand="Cardiovia"),
    ]
    run = run_folder(tmp_path / "run", rows, consents=consents)
    assert deliver(run, SEND, tmp_path / "out").rejected_by_reason == {"no_consent": 1}
    _, sent = read_csv(tmp_path / "out" / "suggestions.csv")
    assert [r["Account_vod__c"] for r in sent] == ["b", "c"]


def test_nothing_promotional_goes_to_the_medical_team_nor_its_queue_to_a_rep(tmp_path: Path) -> None:
    msl = {"actor_id": "msl1"}
    more = [
        ("b", 10, "msl_visit", msl),
        ("b", 12, "msl_question"),
        ("b", 20, "call_f2f", {"actor_id": "rep2"}),
    ]
    rows = [suggestion(1, "a"), suggestion(2, "b", owner_id="msl1"), suggestion(3, "b", owner_id="rep2")]
    run = run_folder(tmp_path / "run", rows, more=more)
    queue = pl.DataFrame(
        [dict.fromkeys(MEDICAL_SCHEMA) | {"suggestion_id": "m1", "case_id": "b"}], MEDICAL_SCHEMA
    )
    queue.write_parquet(run / "suggestions" / "medical.parquet")
    receipt = deliver(run, SEND, tmp_path / "out")
    assert receipt.rejected_by_reason == {"medical_owner": 1}
    _, sent = read_csv(tmp_path / "out" / "suggestions.csv")
    assert [(r["Account_vod__c"], r["OwnerId"]) for r in sent] == [("a", "rep"), ("b", "rep2")]
    written = "".join(p.read_text() for p in (tmp_path / "out").glob("*.csv"))
    assert "m1" not in written and "msl_question" not in written


def test_who_objected_leaves_in_no_row(tmp_path: Path) -> None:
    cases = pl.DataFrame({"case_id": ["a", "b"], "data_privacy_opt_out__v": ["true", "false"]})
    labels = [("a", 0, "Readers"), ("b", 0, "Readers")]
    run = run_folder(tmp_path / "run", [suggestion(1, "a"), suggestion(2, "b")], labels, cases=cases)
    receipt = deliver(run, SEND, tmp_path / "out")
    assert receipt.rejected_by_reason == {"privacy_opt_out": 2}
    for name in ("segment_labels.csv", "suggestions.csv"):
        _, rows = read_csv(tmp_path / "out" / name)
        assert len(rows) == 1
        assert "a" not in rows[0].values()


def test_a_key_goes_once_and_an_owner_gets_only_so_many(tmp_path: Path) -> None:
    rows = [suggestion(1, "a"), suggestion(1, "b"), suggestion(2, "c", rank=2), suggestion(3, "d", rank=2)]
    run = run_folder(tmp_path / "run", rows)
    receipt = deliver(run, DeliverSettings(dry_run=False, max_per_owner=3), tmp_path / "out")
    assert receipt.rejected_by_reason == {"duplicate_key": 1, "owner_full": 1}
    assert receipt.sent == 2


def test_columns_are_mapped_and_the_legal_basis_only_written_when_known(run: Path, tmp_path: Path) -> None:
    settings = DeliverSettings(
        dry_run=False, columns={"segment": "Behaviour__c"}, legal_basis="legitimate interest"
    )
    deliver(run, settings, tmp_path / "out")
    columns, rows = read_csv(tmp_path / "out" / "segment_labels.csv")
    assert "Behaviour__c" in columns
    assert "Segment__c" not in columns
    assert rows[0]["Legal_Basis__c"] == "legitimate interest"
    columns, rows = read_csv(tmp_path / "out" / "suggestions.csv")
    assert rows[0]["Legal_Basis__c"] == "legitimate interest"


def test_a_file_that_is_not_as_sent_is_an_error(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def careless(path: Path, columns: Any, rows: Any) -> None:
        write_csv(path, columns, rows)
        if path.name == "suggestions.csv":
            path.write_text(path.read_text(encoding="utf-8").replace('"rep"', '"rap"'), encoding="utf-8")

    monkeypatch.setattr(files_target, "write_csv", careless)
    with pytest.raises(DeliveryError, match="line 2 of suggestions"):
        deliver(run, SEND, tmp_path / "out")
    assert not (tmp_path / "out" / "receipt.json").exists()


def test_cells_cannot_run_as_formulas_and_survive_the_round_trip(tmp_path: Path) -> None:
    nasty = ["=1+1", "+1", "-1", "@x", "\tx", "\rx", 'a "quote"', "two\nlines", "🎁, مرحبا", "'x", "-"]
    rows = [{"id": cell, "text": cell} for cell in nasty]
    safe = guarded(rows, exact=("id",))
    write_csv(tmp_path / "x.csv", ["id", "text"], safe)
    assert confirm(tmp_path / "x.csv", ["id", "text"], safe) == len(nasty)
    _, back = read_csv(tmp_path / "x.csv")
    assert [r["id"] for r in back] == nasty  # ids are exact
    assert [r["text"] for r in back] == [harmless(cell) for cell in nasty]
    assert not any(r["text"][0] in "=+-@\t\r" for r in back)
    with pytest.raises(DeliveryError, match="rows, 1 were sent"):
        confirm(tmp_path / "x.csv", ["id", "text"], safe[:1])


def test_lists_for_people_guard_every_cell(tmp_path: Path) -> None:
    run = run_folder(tmp_path / "run", [suggestion(1, "=cmd|x")], [("=cmd|x", 0, "@group")])
    deliver(run, SEND, tmp_path / "out")
    _, plan = read_csv(tmp_path / "out" / "plan.csv")
    assert {r["case_id"] for r in plan} == {"'=cmd|x", "c"}
    _, labels = read_csv(tmp_path / "out" / "segment_labels.csv")
    assert (labels[0]["External_ID_vod__c"], labels[0]["Segment__c"]) == ("=cmd|x", "'@group")


def test_a_run_without_suggestions_delivers_its_labels(run: Path, tmp_path: Path) -> None:
    for name in ("suggestions", "suppressed"):
        (run / "suggestions" / f"{name}.parquet").unlink()
    receipt = deliver(run, SEND, tmp_path / "out")
    assert (receipt.sent, receipt.suppressed) == (1, 0)
    (run / "segments" / "segments.parquet").unlink()
    with pytest.raises(RunError, match="neither segments nor suggestions"):
        deliver(run, SEND, tmp_path / "two")
    with pytest.raises(RunError, match="no receipt"):
        Receipt.read(tmp_path / "two" / "receipt.json")


@pytest.mark.parametrize(
    ("settings", "text", "hint"),
    [
        ({"target": "sap"}, "not in this version", "files"),
        ({"columns": {"segmnt": "X__c"}}, "unknown name", "segment"),
        ({"columns": {"segment": "Run_Id__c"}}, "one column", "column of its own"),
        ({"max_per_owner": 0}, "too small", "1"),
    ],
)
def test_settings_that_cannot_be(settings: dict[str, Any], text: str, hint: str) -> None:
    with pytest.raises(JobError, match=text) as problem:
        DeliverSettings(**settings)
    assert hint in problem.value.hint
