"""Files for Data Loader, Vault Loader and SFMC, and the command line as typed."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner
from crm_world import account, make, rep, suggestion, write_run
from oracles_suggest import opt_in

from behavio.cli import cli
from behavio.errors import DeliveryError, JobError
from behavio.targets import DeliverSettings, deliver
from behavio.targets.csvfiles import read_csv
from behavio.targets.emulator import serving

TYPED = ["deliver"]


def typed(*words: object) -> tuple[int, str, str]:
    done = CliRunner().invoke(cli, [str(w) for w in words])
    problem = done.exception
    return done.exit_code, done.stdout, done.stderr + (str(problem) if problem else "")


def test_data_loader_gets_a_csv_and_a_mapping_for_every_object(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", 6, segments=lambda i: None if i == 5 else ("=1+1", "B")[i % 2])
    (tmp_path / "out").mkdir()
    receipt = deliver(run, DeliverSettings(target="loader", dry_run=False), tmp_path / "out")
    assert (receipt.planned, receipt.rejected) == (16, 1)
    names = sorted(p.name for p in (tmp_path / "out").iterdir())
    assert names[:3] == [
        "01_Product_Metrics_vod__c.csv",
        "01_Product_Metrics_vod__c.sdl",
        "01_Product_Metrics_vod__c_rejected.csv",
    ]
    columns, rows = read_csv(tmp_path / "out" / "01_Product_Metrics_vod__c.csv")
    assert columns[:3] == ["External_ID_vod__c", "Account_vod__c", "Segment__c"]
    assert [r["Segment__c"] for r in rows] == ["'=1+1", "B", "'=1+1", "B", "'=1+1"]
    assert rows[0]["Account_vod__c"] == account(0)
    _, rows = read_csv(tmp_path / "out" / "04_Suggestion_Tag_vod__c.csv")
    assert rows[0]["Product_vod__c by name"] == "Cardiovia"
    sdl = (tmp_path / "out" / "04_Suggestion_Tag_vod__c.sdl").read_text(encoding="utf-8")
    header = (
        "Suggestion_vod__r.Suggestion_External_Id_vod__c=Suggestion_vod__r\\:Suggestion_External_Id_vod__c"
    )
    assert header in sdl and "# Product_vod__c: the file holds names" in sdl


def test_vault_loader_gets_tasks_in_their_order(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", 4, system="vault")
    (tmp_path / "out").mkdir()
    deliver(run, DeliverSettings(target="loader", mapping="vault", dry_run=False), tmp_path / "out")
    (task,) = json.loads((tmp_path / "out" / "03_suggestion__v.json").read_text())
    assert task == {
        "object_type": "vobjects__v",
        "object": "suggestion__v",
        "action": "upsert",
        "file": "03_suggestion__v.csv",
        "idparam": "suggestion_external_id__v",
        "order": 3,
    }
    with pytest.raises(JobError, match="no loader files"):
        deliver(run, DeliverSettings(target="loader", mapping="sql"), tmp_path / "out")


def test_sfmc_gets_only_people_who_may_be_mailed(tmp_path: Path) -> None:
    mail = {"action": "email_sent", "channel": "email", "message": "@webinar"}
    rows = [suggestion(i, account(i), rep(0), **mail) for i in range(3)]
    consents = [opt_in(account(0)), opt_in(account(1), 0, state="opt_out"), opt_in(account(3))]
    run = write_run(tmp_path / "run", 4, suggestions=rows, consents=consents)
    (tmp_path / "out").mkdir()
    receipt = deliver(run, DeliverSettings(target="sfmc", dry_run=False), tmp_path / "out")
    columns, sent = read_csv(tmp_path / "out" / "data_extension.csv")
    assert columns[0] == "SubscriberKey"
    found = [(r["SubscriberKey"], r["SuggestedMessage"], r["SuggestionId"]) for r in sent]
    assert found == [(account(0), "'@webinar", "s000000"), (account(3), "", "")]
    assert receipt.rejected_by_reason == {"no_consent": 2}
    made = json.loads((tmp_path / "out" / "data_extension.json").read_text())
    assert [f["Name"] for f in made["Fields"]] == columns


# the command line ------------------------------------------------------------------------------------


@pytest.mark.parametrize("system", ["salesforce", "vault"])
def test_deliver_and_rollback_as_typed(tmp_path: Path, system: str, monkeypatch: pytest.MonkeyPatch) -> None:
    world = make(tmp_path, 4, system)
    with serving(world.emulator) as url:
        secrets = {
            "salesforce": {"URL": url, "CLIENT_ID": "behavio", "CLIENT_SECRET": "emulator"},
            "vault": {"URL": url, "USERNAME": "loader@example.com", "PASSWORD": "emulator"},
        }
        for name, value in secrets[system].items():
            monkeypatch.setenv(f"{system.upper()}_{name}", value)
        code, out, err = typed("deliver", world.run, "--target", system, "--dry-run")
        assert code == 0 and "rows that are not there yet" in out and "nothing was written" in err
        code, out, err = typed("deliver", world.run, "--target", system, "--json")
        receipt = json.loads(out)
        assert code == 0 and receipt["status"] == "confirmed" and receipt["create"] == receipt["confirmed"]
        assert (world.run / "delivery" / "receipt.json").is_file()
        path = Path(receipt["folder"]) / "receipt.json"
        code, out, err = typed("rollback", path, "--dry-run")
        assert code == 0 and "their last day set before today" in out
        code, out, err = typed("rollback", path)
        assert code == 0 and "written and read back" in err
        monkeypatch.setenv(f"{system.upper()}_URL", url.replace("127.0.0.1", "localhost"))
        code, _, err = typed("rollback", path)
        assert code != 0 and "the environment names" in err


def test_rows_refused_end_in_exit_code_3(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    world = make(tmp_path, 4)
    (id,) = world.emulator.store.find("User", "Name", "Rep 0")
    world.emulator.store.delete("User", id)  # the owner is gone
    with serving(world.emulator) as url:
        for name, value in {"URL": url, "CLIENT_ID": "behavio", "CLIENT_SECRET": "emulator"}.items():
            monkeypatch.setenv(f"SALESFORCE_{name}", value)
        done = CliRunner().invoke(cli, ["deliver", str(world.run), "--target", "salesforce"])
    assert isinstance(done.exception, DeliveryError) and done.exception.exit_code == 3
    assert "are not there as planned" in str(done.exception) and "rejected.csv" in done.exception.hint


def test_what_the_environment_lacks_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = write_run(tmp_path / "run", 2)
    for target, name in (("salesforce", "SALESFORCE_URL"), ("vault", "VAULT_URL"), ("sql", "SQL_URL")):
        monkeypatch.delenv(name, raising=False)
        code, _, err = typed("deliver", run, "--target", target)
        assert code != 0 and f"lacks {name}" in err
