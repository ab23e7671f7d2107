"""The loop closed: delivered, acted upon, pulled back as events, respected by the next delivery."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import polars as pl
import pytest
from crm_world import World, account, make, rep, suggestion, write_run

from behavio.errors import JobError
from behavio.log import EventLog
from behavio.sources import LogInputs, SourceSettings, read_log
from behavio.sources.pull import pull
from behavio.sources.salesforce import Org, Salesforce
from behavio.sources.vault import Vault, VaultLogin
from behavio.targets.emulator import serving
from behavio.targets.emulator.values import stamp

CALL = {
    "Status_vod__c": "Submitted_vod",
    "Call_Channel_vod__c": "Video_vod",
    "IsDeleted": "false",
    "Call_Datetime_vod__c": "2025-02-10T09:00:00.000Z",
}


def acts(world: World, key: str, kind: str, **more: str) -> None:
    store = world.emulator.store
    (id,) = store.find("Suggestion_vod__c", "Suggestion_External_Id_vod__c", key)
    values = {"Suggestion_vod__c": id, "Record_Type_Name_vod__c": kind}
    store.save("Suggestion_Feedback_vod__c", values | more)


def call(world: World, number: int, of: int) -> None:
    changed = stamp(world.emulator.store.clock())
    row = {"Id": f"a0C00000000000{number}", "Account_vod__c": account(of), "OwnerId": rep(0)}
    world.emulator.store.load(
        "Call2_vod__c", [{**CALL, **row, "SystemModstamp": changed, "LastModifiedDate": changed}]
    )


def read_back(url: str, folder: Path) -> EventLog:
    session = Salesforce(Org(url, "behavio", "emulator"), sleep=lambda _: None)
    try:
        pull(["veeva.suggestion_feedback", "veeva.call"], folder, session)
    finally:
        session.close()
    sources = {
        "feedback": SourceSettings(path=str(folder), kind="veeva.suggestion_feedback"),
        "calls": SourceSettings(path=str(folder), kind="veeva.call"),
    }
    return read_log(LogInputs(sources, folder))


def pulled(world: World, url: str, folder: Path) -> list[Any]:
    return sorted(read_back(url, folder).events.select("case_id", "activity").rows())


def test_feedback_names_our_own_suggestion(tmp_path: Path) -> None:
    world = make(tmp_path, 3)
    call(world, 1, 1)
    assert world.deliver().status == "confirmed"
    acts(world, "s000000", "Dismiss_vod", Dismissal_Reason__c="No e-mails")
    with serving(world.emulator) as url:
        events = read_back(url, tmp_path / "extracts").events
    said = events.filter(pl.col("activity") == "suggestion_dismissed")
    assert said["suggestion_id"].to_list() == ["s000000"]
    assert said["dismissal_reason"].to_list() == ["No e-mails"]


def test_what_reps_did_comes_back_as_events_and_the_next_delivery_respects_it(tmp_path: Path) -> None:
    world = make(tmp_path, 6)
    call(world, 1, 1)
    assert world.deliver().status == "confirmed"
    acts(world, "s000000", "Dismiss_vod")
    acts(world, "s000002", "Mark_As_Complete_vod")
    with serving(world.emulator) as url:
        first = pulled(world, url, tmp_path / "extracts")
        assert first == [
            (account(0), "suggestion_dismissed"),
            (account(1), "call_video"),
            (account(2), "suggestion_completed"),
        ]
        # later one more suggestion is followed, and a call made: only what changed is asked for
        acts(world, "s000004", "Activity_Execution_vod")
        call(world, 2, 4)
        assert pulled(world, url, tmp_path / "extracts") == sorted(
            [*first, (account(4), "suggestion_actioned"), (account(4), "call_video")]
        )
    # the next run would change all three, and repeat the dismissed one under a new id
    again = [suggestion(i, account(i), rep(0), reason="New words.") for i in (0, 2, 4)]
    again.append(suggestion(50, account(0), rep(0), message="52 weeks 0"))
    before = world.emulator.store.rows("Suggestion_vod__c")
    receipt = world.deliver(write_run(tmp_path / "later", 6, suggestions=again))
    assert receipt.objects["Suggestion_vod__c"] == {"protect": 3, "suppress": 1}
    assert receipt.reasons["dismissed_lately"] == 1
    assert world.emulator.store.rows("Suggestion_vod__c") == before


@pytest.mark.parametrize("system", ["salesforce", "vault"])
def test_new_suggestions_go_on_beside_what_was_acted_on(tmp_path: Path, system: str) -> None:
    world = make(tmp_path, 4, system)
    world.deliver()
    object, key, flag = (
        ("suggestion__v", "suggestion_external_id__v", "dismissed__v")
        if system == "vault"
        else ("Suggestion_vod__c", "Suggestion_External_Id_vod__c", "Dismissed_vod__c")
    )
    store = world.emulator.store
    (id,) = store.find(object, key, "s000000")
    store.set(object, id, {flag: 1.0})
    made = [suggestion(60, account(0, system), rep(0, system), message="another thing")]
    receipt = world.deliver(write_run(tmp_path / "later", 4, system=system, suggestions=made))
    assert receipt.objects[object] == {
        "create": 1,
        "retire": 1,
    }  # the other open one expires, the dismissed stays
    assert sorted(world.rows(object, key)) == ["s000000", "s000002", "s000060"]


def test_feedback_comes_back_from_a_vault_too(tmp_path: Path) -> None:
    world = make(tmp_path, 6, "vault")
    world.deliver()
    store = world.emulator.store

    def feedback(key: str, kind: str) -> None:
        (id,) = store.find("suggestion__v", "suggestion_external_id__v", key)
        store.save("suggestion_feedback__v", {"suggestion__v": id, "record_type_name__v": kind})

    def read() -> list[Any]:
        session = Vault(VaultLogin(url, "loader@example.com", "emulator"), sleep=lambda _: None)
        (found, *_) = pull(["vault.suggestion_feedback"], tmp_path / "extracts", session)
        session.close()
        source = SourceSettings(path=str(tmp_path / "extracts"), kind="vault.suggestion_feedback")
        log = read_log(LogInputs({"feedback": source}, tmp_path))
        return [found.since != "", *sorted(log.events.select("case_id", "activity").rows())]

    first = (account(0, "vault"), "suggestion_dismissed")
    with serving(world.emulator) as url:
        feedback("s000000", "dismiss__v")
        assert read() == [False, first]
        feedback("s000002", "mark_as_complete__v")
        assert read() == [True, first, (account(2, "vault"), "suggestion_completed")]
        session = Vault(VaultLogin(url, "loader@example.com", "emulator"))
        with pytest.raises(JobError, match=r"'veeva\.call' is not known"):
            pull(["veeva.call"], tmp_path, session)
        session.close()
