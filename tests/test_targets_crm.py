"""Delivery into the emulated Salesforce and Vault: plan, send, read back, receipt, rollback."""

from __future__ import annotations

import datetime as dt
import json
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from crm_world import DAY, World, account, make, rep, suggestion, write_run
from oracles_suggest import opt_in

from behavio.errors import DeliveryError, JobError, RunError
from behavio.targets import audit
from behavio.targets.delivery import alone, home_of
from behavio.targets.emulator import Fault
from behavio.targets.emulator.schema import SALESFORCE, SHIPPED, load_schema
from behavio.targets.mapping import load_mapping, ready_made
from behavio.targets.receipts import CrmReceipt
from behavio.targets.rollback import roll_back

SYSTEMS = ("salesforce", "vault")
NAMES = {
    "salesforce": (
        "Product_Metrics_vod__c",
        "Segment__c",
        "Suggestion_vod__c",
        "Suggestion_External_Id_vod__c",
    ),
    "vault": ("product_metrics__v", "segment__c", "suggestion__v", "suggestion_external_id__v"),
}
WRITES = ("PATCH", "PUT", "DELETE")


def writes(world: World) -> list[str]:
    """Requests that could change a row."""
    assert world.near is not None
    posts = ("/jobs/ingest", "/vobjects/")
    return [
        path
        for method, path in world.near.asked
        if method in WRITES or (method == "POST" and any(p in path for p in posts))
    ]


def plan_of(receipt: CrmReceipt) -> bytes:
    return (Path(receipt.folder) / "plan.csv").read_bytes()


def feedback(world: World, key: str, kind: str) -> None:
    """A rep acts on a suggestion."""
    store = world.emulator.store
    if world.system == "vault":
        (id,) = store.find("suggestion__v", "suggestion_external_id__v", key)
        store.save("suggestion_feedback__v", {"suggestion__v": id, "record_type_name__v": kind})
    else:
        (id,) = store.find("Suggestion_vod__c", "Suggestion_External_Id_vod__c", key)
        store.save("Suggestion_Feedback_vod__c", {"Suggestion_vod__c": id, "Record_Type_Name_vod__c": kind})


def undo(world: World, receipt: CrmReceipt, **more: Any) -> CrmReceipt:
    settings = {"dry_run": more.pop("dry_run", False)}
    d = world.delivery(mapping=str(Path(receipt.folder) / "mapping.toml"), **settings)
    try:
        return roll_back(d, receipt, **more)
    finally:
        d.crm.close()


# plan, send, read back -------------------------------------------------------------------------------


@pytest.mark.parametrize("system", SYSTEMS)
def test_the_dry_run_writes_nothing_and_says_what_the_real_one_does(tmp_path: Path, system: str) -> None:
    # six accounts: 6 labels, 2 channel preferences, 3 suggestions with a product and a driver tag each
    world = make(tmp_path, 6, system)
    dry = world.deliver(dry_run=True)
    assert (dry.status, dry.create, dry.sent, dry.confirmed) == ("planned", 17, 0, 0)
    assert writes(world) == []
    real = world.deliver()
    assert (real.status, real.create, real.sent, real.confirmed, real.rejected) == (
        "confirmed",
        17,
        17,
        17,
        0,
    )
    assert plan_of(real) == plan_of(dry)
    labels, segment, suggestions, key = NAMES[system]
    assert world.rows(labels, segment) == [
        "Readers", "Portal explorers", "“Late” openers 🎁", "=HYPERLINK(1)", "Visits, only", "Readers",
    ]  # fmt: skip
    assert world.rows(suggestions, key) == ["s000000", "s000002", "s000004"]
    title, reason = ("title__v", "reason__v") if system == "vault" else ("Title_vod__c", "Reason_vod__c")
    assert world.rows(suggestions, title, reason)[0] == (
        "Rep visit: 52 weeks 0",
        "Because, she said “yes”\n0 times.",
    )
    assert CrmReceipt.read(Path(real.folder) / "receipt.json") == real


@pytest.mark.parametrize("system", SYSTEMS)
def test_a_second_delivery_of_the_same_sends_nothing(tmp_path: Path, system: str) -> None:
    world = make(tmp_path, 6, system)
    world.deliver()
    before = {o: world.emulator.store.rows(o) for o in world.emulator.store.schema}
    again = world.deliver()
    assert (again.sent, again.unchanged, again.status) == (0, 17, "confirmed")
    assert writes(world) == []
    assert {o: world.emulator.store.rows(o) for o in world.emulator.store.schema} == before


def later(world: World, folder: Path, **more: Any) -> Path:
    """The next run: another label for account 0, no suggestion for account 4, a new one for account 5."""
    made = [
        suggestion(0, account(0, world.system), rep(0, world.system)),
        suggestion(2, account(2, world.system), rep(0, world.system), reason="Another reason."),
        suggestion(7, account(5, world.system), rep(1, world.system)),
    ]
    new = ("Quick", "Portal explorers", "“Late” openers 🎁", "=HYPERLINK(1)", None, "Readers")
    return write_run(folder, 6, system=world.system, segments=lambda i: new[i], suggestions=made, **more)


@pytest.mark.parametrize("system", SYSTEMS)
def test_the_next_run_sends_the_difference_and_retires_what_it_no_longer_wants(
    tmp_path: Path, system: str
) -> None:
    world = make(tmp_path, 6, system)
    world.deliver()
    receipt = world.deliver(later(world, tmp_path / "later"))
    labels, segment, suggestions, key = NAMES[system]
    assert receipt.objects[labels] == {"retire": 1, "suppress": 1, "unchanged": 4, "update": 1}
    assert receipt.objects[suggestions] == {"create": 1, "retire": 1, "unchanged": 1, "update": 1}
    assert receipt.status == "confirmed" and receipt.reasons == {"unassigned": 1}
    assert world.rows(labels, segment) == [
        "Quick",
        "Portal explorers",
        "“Late” openers 🎁",
        "=HYPERLINK(1)",
        None,
        "Readers",
    ]
    last = "expiration_date__v" if system == "vault" else "Expiration_Date_vod__c"
    yesterday, open_yet = (DAY - dt.timedelta(1)).isoformat(), (DAY + dt.timedelta(13)).isoformat()
    assert dict(world.rows(suggestions, key, last)) == {
        "s000000": open_yet, "s000002": open_yet, "s000004": yesterday, "s000007": open_yet,
    }  # fmt: skip
    assert world.deliver(tmp_path / "later").sent == 0


@pytest.mark.parametrize("system", SYSTEMS)
@pytest.mark.parametrize("kind", ["dismiss", "complete", "execute"])
def test_what_a_rep_acted_on_is_never_touched(tmp_path: Path, system: str, kind: str) -> None:
    world = make(tmp_path, 6, system)
    world.deliver()
    kinds = {
        "dismiss": ("Dismiss_vod", "dismiss__v"),
        "complete": ("Mark_As_Complete_vod", "mark_as_complete__v"),
        "execute": ("Activity_Execution_vod", "activity_execution__v"),
    }
    for key in ("s000002", "s000004"):  # one the next run changes, one it no longer wants
        feedback(world, key, kinds[kind][system == "vault"])
    _, _, suggestions, key_column = NAMES[system]
    before = {r[key_column]: r for r in world.emulator.store.rows(suggestions)}
    receipt = world.deliver(later(world, tmp_path / "later"))
    after = {r[key_column]: r for r in world.emulator.store.rows(suggestions)}
    assert all(after[k] == before[k] for k in ("s000002", "s000004"))
    assert receipt.protected == 1 and "retire" not in receipt.objects[suggestions]


def test_a_rep_who_acts_between_plan_and_writing_is_respected(tmp_path: Path) -> None:
    world = make(tmp_path, 6)
    world.deliver()
    target = later(world, tmp_path / "later")
    d = world.delivery(target)
    fields = d.crm.fields
    acted: list[str] = []

    def act(object: str) -> Any:  # the sender asks for fields again: the plan is made
        if (d.home / "0002" / "plan.json").is_file() and not acted:
            acted.append("s000002")
            feedback(world, "s000002", "Dismiss_vod")
        return fields(object)

    d.crm.fields = act
    from behavio.targets.delivery import deliver_to

    receipt = deliver_to(d)
    d.crm.close()
    assert acted and receipt.status == "confirmed" and receipt.protected == 1
    reasons = dict(world.rows("Suggestion_vod__c", "Suggestion_External_Id_vod__c", "Reason_vod__c"))
    assert reasons["s000002"] != "Another reason."


def test_what_was_dismissed_lately_is_not_made_again_under_another_id(tmp_path: Path) -> None:
    world = make(tmp_path, 6)
    world.deliver()
    feedback(world, "s000002", "Dismiss_vod")
    # the same account and title, a new id: the rep said no a moment ago
    again = suggestion(9, account(2), rep(0), message="52 weeks 2")
    run = write_run(tmp_path / "later", 6, suggestions=[again])
    receipt = world.deliver(run)
    assert receipt.reasons == {"dismissed_lately": 1, "suggestion_withheld": 2}
    assert "s000009" not in world.rows("Suggestion_vod__c", "Suggestion_External_Id_vod__c")
    # 31 days later it may come back
    store = world.emulator.store
    store.sql.execute("UPDATE Suggestion_vod__c SET LastModifiedDate = '2025-01-01T00:00:00.000Z'")
    assert world.deliver(run).objects["Suggestion_vod__c"]["create"] == 1


# the door --------------------------------------------------------------------------------------------


def test_rules_are_asked_again_at_the_door(tmp_path: Path) -> None:
    mail = {"action": "email_sent", "channel": "email"}
    rows = [suggestion(i, account(i), rep(0), **mail) for i in range(3)]
    rows += [
        suggestion(3, account(3), None),
        suggestion(4, account(4), rep(0), reason=""),
        suggestion(5, account(5), rep(0), expires_on=DAY - dt.timedelta(1)),
    ]
    consents = [opt_in(account(0)), opt_in(account(1), 0, state="opt_out")]
    cases = pl.DataFrame({"case_id": [account(2)], "data_privacy_opt_out__v": ["true"]})
    world = make(tmp_path, 6, suggestions=rows, consents=consents, cases=cases)
    receipt = world.deliver()
    assert world.rows("Suggestion_vod__c", "Suggestion_External_Id_vod__c") == ["s000000"]
    # a suggestion that does not go takes its two tags along: those have the reason of their suggestion
    assert receipt.reasons == {
        "privacy_opt_out": 4,  # and the label
        "expired": 3,
        "missing_owner": 3,
        "missing_reason": 3,
        "no_consent": 3,
    }
    with (Path(receipt.folder) / "plan.csv").open(encoding="utf-8") as text:
        said = text.read()
    for name in (
        "no_consent: the consent for email is refused",
        "missing_owner",
        "missing_reason",
        "expired",
        "privacy_opt_out",
    ):
        assert name in said


def test_an_owner_gets_only_so_many_counting_what_is_open_already(tmp_path: Path) -> None:
    rows = [suggestion(i, account(i), rep(0), rank=i + 1) for i in range(5)]
    world = make(tmp_path, 6, suggestions=rows)
    others = {"OwnerId": rep(0), "Account_vod__c": account(5), "Title_vod__c": "of another vendor"}
    world.emulator.store.save("Suggestion_vod__c", {**others, "Expiration_Date_vod__c": "2025-03-01"})
    world.emulator.store.save("Suggestion_vod__c", {**others, "Expiration_Date_vod__c": "2025-01-01"})  # over
    receipt = world.deliver(max_per_owner=4)
    assert receipt.reasons["owner_full"] == 2 and receipt.reasons["suggestion_withheld"] == 4
    keys = world.rows("Suggestion_vod__c", "Suggestion_External_Id_vod__c")
    assert sorted(k for k in keys if k) == ["s000000", "s000001", "s000002"]
    assert world.deliver(max_per_owner=4).sent == 0


def test_rows_that_do_not_fit_are_listed_and_too_many_stop_the_delivery(tmp_path: Path) -> None:
    long = suggestion(1, account(1), rep(0), reason="x" * 32_001)
    twice = suggestion(2, account(2), rep(0), brand="Nobody")
    world = make(tmp_path, 6, suggestions=[suggestion(0, account(0), rep(0)), long, twice])
    with pytest.raises(DeliveryError, match=r"max_reject is 0\.05") as caught:
        world.deliver(max_reject=0.05)
    assert writes(world) == [] and "plan.csv" in caught.value.hint
    receipt = world.deliver(max_reject=0.5)
    assert receipt.invalid == 2 and receipt.reasons["too_long"] == 1 and receipt.reasons["not_there"] == 1
    # the tag of the suggestion that is too long does not go either; the title too long is cut, not refused
    assert receipt.status == "confirmed" and receipt.reasons["suggestion_withheld"] == 2


def test_a_title_too_long_is_cut_at_a_word(tmp_path: Path) -> None:
    long = suggestion(0, account(0), rep(0), message="word " * 100)
    world = make(tmp_path, 2, suggestions=[long])
    assert world.deliver().status == "confirmed"
    (title,) = world.rows("Suggestion_vod__c", "Title_vod__c")
    assert len(title) <= 255 and title.endswith("word…")


# mapping and preflight -------------------------------------------------------------------------------


def test_every_ready_made_mapping_fits_the_emulator(tmp_path: Path) -> None:
    assert set(ready_made()) == {"lsc", "sql", "vault", "veeva", "veeva_account"}
    world = make(tmp_path, 6)
    people = pl.DataFrame({"case_id": [account(i) for i in range(6)], "territory": ["North"] * 6})
    run = write_run(tmp_path / "run", 6, cases=people)
    for name in ("veeva_account", "lsc"):
        receipt = world.deliver(run, name)
        assert receipt.status == "confirmed" and receipt.sent and world.deliver(run, name).sent == 0
    assert world.rows("Account", "Segment__c")[:2] == ["Readers", "Portal explorers"]
    (first, *_) = world.rows("TerritoryAccountScore", "Territory", "TotalScore", "ScoreExplainability")
    assert first[:2] == ("North", 50.0)
    assert json.loads(first[2])["rationals"][0]["Category"] == "call_f2f"
    metrics = json.loads(world.rows("TerritoryAcctProdMsgScore", "ScoreExplainability")[0])
    assert all(isinstance(v, int | str) for v in metrics.values())


def test_accounts_are_updated_never_made(tmp_path: Path) -> None:
    world = make(tmp_path, 3)
    run = write_run(tmp_path / "run", 4)
    receipt = world.deliver(run, "veeva_account", max_reject=0.5)
    assert receipt.objects["Account"] == {"invalid": 1, "update": 3}
    assert len(world.rows("Account", "Id")) == 3


MAPPING = """
version = 1
system = "salesforce"
[[object]]
rows = "suggestions"
object = "Suggestion_vod__c"
key = "Title_vod__c"
protect = ["Gone__c"]
[object.columns]
Title_vod__c = "{title}"
Actioned_vod__c = "1"
Priority_vod__c = { from = "{priority}", values = { urgent = "Hurry_vod" } }
Posted_Date_vod__c = "{segment}"
Display_Score_vod__c = "high"
Acount_vod__c = "{case_id}"
Record_Type_Name_vod__c = "LONG"
"Nothing__r.Id" = "{case_id}"
[[object]]
rows = "labels"
object = "Nowhere__c"
key = "Id"
[object.columns]
Id = "{case_id}"
"""


def test_preflight_lists_everything_at_once_before_the_first_write(tmp_path: Path) -> None:
    (tmp_path / "own.toml").write_text(MAPPING.replace("LONG", "a" * 105), encoding="utf-8")
    world = make(tmp_path, 2)
    with pytest.raises(JobError) as caught:
        world.deliver(mapping=str(tmp_path / "own.toml"))
    said = str(caught.value)
    for line in (
        "Suggestion_vod__c.Title_vod__c: rows cannot be found by it",
        "Suggestion_vod__c.Actioned_vod__c: the user may not write it",
        "Priority_vod__c: 'Hurry_vod' is no value of the picklist (values: Urgent_vod, Normal_vod)",
        "Suggestion_vod__c.Posted_Date_vod__c: {segment} is text, the field takes date",
        "Suggestion_vod__c.Display_Score_vod__c: 'high' is no number",
        "Acount_vod__c: there is no such field, or the user may not see it (did you mean Account_vod__c?)",
        "Suggestion_vod__c.Record_Type_Name_vod__c: 105 characters, 100 fit",
        "Suggestion_vod__c.Nothing__r.Id: there is no such reference",
        "Suggestion_vod__c.Gone__c: there is no such field",
        "Suggestion_vod__c.OwnerId: the system requires it, the mapping does not fill it",
        "Nowhere__c.: there is no such object",
    ):
        assert line in said, line
    assert writes(world) == []
    with pytest.raises(JobError, match="the mapping is for vault, the target is salesforce"):
        world.deliver(mapping="vault")


@pytest.mark.parametrize(
    ("change", "message", "hint"),
    [
        (("version = 1", "version = 2"), "version = 2 is not 1", "version = 1"),
        (('rows = "labels"', 'rows = "label"'), "rows 'label' is not known", "'labels'"),
        (('Id = "{case_id}"\n', 'Id = "{cas_id}"\n'), "the name 'cas_id' is not known", "'case_id'"),
        (('Id = "{case_id}"\n', 'Id = "{case_id"\n'), "expected '}'", "pairs"),
        (('Id = "{case_id}"\n', 'Id = { null = "clear" }\n'), "says not what goes there", "from"),
        (
            ('Id = "{case_id}"\n', 'Id = { from = "x", nul = "clear" }\n'),
            "the key 'nul' is not known",
            "'null'",
        ),
        (('key = "Id"', 'key = "X"'), "key = 'X' is no column", "columns"),
        (('key = "Id"', 'key = "Id"\nretire = "clear"'), "retire needs owned", "behavio"),
        (('[object.columns]\nId = "{case_id}"', ""), "lacks columns", "crm.md"),
    ],
)
def test_a_mapping_that_cannot_be(tmp_path: Path, change: tuple[str, str], message: str, hint: str) -> None:
    text = 'version = 1\nsystem = "salesforce"\n[[object]]\nrows = "labels"\nobject = "X"\nkey = "Id"\n'
    text += '[object.columns]\nId = "{case_id}"\n'
    assert change[0] in text
    (tmp_path / "own.toml").write_text(text.replace(*change), encoding="utf-8")
    with pytest.raises(JobError, match=message.replace("{", r"\{")) as caught:
        load_mapping("own.toml", tmp_path)
    assert hint in caught.value.hint
    with pytest.raises(JobError, match="is not there") as missing:
        load_mapping("nowhere")
    assert "veeva" in missing.value.hint


def test_shipped_schemas_read_and_forms_are_checked(tmp_path: Path) -> None:
    schema = load_schema(SHIPPED / "salesforce.toml", SALESFORCE)
    assert schema["Suggestion_vod__c"].fields["Priority_vod__c"].values == ("Urgent_vod", "Normal_vod")
    (tmp_path / "bad.toml").write_text('[X]\n[X.fields]\nA = "txt(3)"\n')
    with pytest.raises(JobError, match="unknown form"):
        load_schema(tmp_path / "bad.toml", SALESFORCE)


# null policy -----------------------------------------------------------------------------------------


def test_empty_values_keep_or_clear_as_the_mapping_says(tmp_path: Path) -> None:
    text = """
version = 1
system = "salesforce"
[[object]]
rows = "labels"
object = "Account"
key = "Id"
operation = "update"
[object.columns]
Id = "{case_id}"
Segment__c = { from = "{territory}", null = "POLICY" }
"""
    for policy, left in (("keep", "old"), ("clear", None)):
        (tmp_path / policy).mkdir()
        (tmp_path / policy / "own.toml").write_text(text.replace("POLICY", policy))
        world = make(tmp_path / policy, 3)
        for n in range(3):
            world.emulator.store.save("Account", {"Segment__c": "old"}, id=account(n))
        receipt = world.deliver(mapping=str(tmp_path / policy / "own.toml"))
        assert receipt.status == "confirmed"
        assert world.rows("Account", "Segment__c") == [left] * 3
        assert receipt.sent == (0 if policy == "keep" else 3)


# bulk ------------------------------------------------------------------------------------------------


def test_large_loads_go_as_jobs_and_come_back_the_same(tmp_path: Path) -> None:
    world = make(tmp_path, 2_500, suggestions=[suggestion(1, account(1), rep(0))])
    receipt = world.deliver()
    assert receipt.status == "confirmed" and len(receipt.jobs) == 1
    segments = world.rows("Product_Metrics_vod__c", "Segment__c")
    assert len(segments) == 2_500 and segments.count("“Late” openers 🎁") == 500
    assert world.deliver().sent == 0
    # a label that goes is cleared by #N/A
    run = write_run(
        tmp_path / "later", 2_500, segments=lambda i: None if i < 2_100 else "Quick", suggestions=[]
    )
    receipt = world.deliver(run)
    assert receipt.status == "confirmed"
    assert receipt.objects["Product_Metrics_vod__c"] == {"retire": 2_100, "suppress": 2_100, "update": 400}
    assert world.rows("Product_Metrics_vod__c", "Segment__c") == [None] * 2_100 + ["Quick"] * 400


# trouble ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["429", "500", "timeout", "reset", "lost", "cut", "expired", "rows", "lock"])
@pytest.mark.parametrize("system", SYSTEMS)
def test_one_fault_on_every_kind_of_write_does_no_harm(tmp_path: Path, system: str, kind: str) -> None:
    world = make(tmp_path, 6, system)
    path = "vobjects/" if system == "vault" else "composite/sobjects"
    world.emulator.schedule.faults += [
        Fault(kind, path=path, method="POST" if system == "vault" else "PATCH")
    ]
    receipt = world.deliver()
    assert receipt.status == "confirmed" and receipt.confirmed == 17
    assert [s[2] for s in world.emulator.schedule.struck] == [kind]
    labels, _, suggestions, key = NAMES[system]
    assert len(world.rows(labels, "Id" if system == "salesforce" else "id")) == 6
    assert sorted(world.rows(suggestions, key)) == ["s000000", "s000002", "s000004"]


@pytest.mark.parametrize(
    "kind", ["429", "timeout", "reset", "lost", "cut", "expired", "rows", "lock", "stuck", "fail", "abort"]
)
@pytest.mark.parametrize("step", ["ingest$", "batches", "ingest/\\w+$", "Results"])
def test_one_fault_at_every_step_of_a_job_does_no_harm(tmp_path: Path, kind: str, step: str) -> None:
    world = make(tmp_path, 2_100, suggestions=[])
    world.emulator.schedule.faults.append(Fault(kind, path=step))
    receipt = world.deliver(mapping="veeva")
    assert receipt.status == "confirmed"
    assert [s[2] for s in world.emulator.schedule.struck] == [kind]
    keys = world.rows("Product_Metrics_vod__c", "External_ID_vod__c")
    assert len(keys) == len(set(keys)) == 2_100


def test_rows_that_the_system_keeps_refusing_are_told(tmp_path: Path) -> None:
    world = make(tmp_path, 6)

    def refuse(store: Any, spec: Any, values: dict[str, Any], id: str | None) -> None:
        from behavio.targets.emulator.values import RowError

        if values.get("External_ID_vod__c", "").startswith(account(3)):
            raise RowError("FIELD_CUSTOM_VALIDATION_EXCEPTION", "not on a Sunday")

    world.emulator.store.triggers.append(refuse)
    receipt = world.deliver()
    assert (receipt.status, receipt.rejected, receipt.confirmed) == ("partial", 1, 16)
    said = (Path(receipt.folder) / "rejected.csv").read_text(encoding="utf-8")
    assert "FIELD_CUSTOM_VALIDATION_EXCEPTION" in said and "not on a Sunday" in said
    world.emulator.store.triggers.pop()
    assert world.deliver().sent == 1  # replayed by the next delivery


def test_two_deliveries_at_once_are_refused(tmp_path: Path) -> None:
    world = make(tmp_path, 4)
    with alone(home_of(world.run, "salesforce")), pytest.raises(DeliveryError, match="another delivery"):
        world.deliver()
    assert world.deliver().status == "confirmed"


def test_the_allowance_of_the_day_is_not_used_up(tmp_path: Path) -> None:
    world = make(tmp_path, 6)
    world.emulator.daily = 12
    with pytest.raises(DeliveryError, match="API calls of today are used") as caught:
        world.deliver()
    assert "goes on where it stopped" in caught.value.hint
    world.emulator.daily = 1000
    receipt = world.deliver()
    assert receipt.status == "confirmed" and len(world.rows("Product_Metrics_vod__c", "Id")) == 6


# rollback --------------------------------------------------------------------------------------------


def snapshot(world: World) -> dict[str, list[dict[str, Any]]]:
    """Every row, system columns aside."""
    system = {"SystemModstamp", "LastModifiedDate", "CreatedDate", "modified_date__v", "created_date__v"}
    store = world.emulator.store
    return {
        o: [{c: v for c, v in r.items() if c not in system} for r in store.rows(o) if not r.get("IsDeleted")]
        for o in store.schema
    }


@pytest.mark.parametrize("system", SYSTEMS)
def test_rollback_restores_the_state_byte_for_byte(tmp_path: Path, system: str) -> None:
    world = make(tmp_path, 6, system)
    world.deliver()
    before = snapshot(world)
    second = world.deliver(later(world, tmp_path / "later"))
    assert snapshot(world) != before
    planned = undo(world, second, dry_run=True, delete_created=True)
    assert planned.status == "planned" and snapshot(world) != before
    done = undo(world, second, delete_created=True)
    assert done.status == "confirmed" and done.kind == "rollback" and done.of == "0002"
    assert done.objects == planned.objects
    assert snapshot(world) == before
    assert undo(world, second, delete_created=True).sent == 0


def test_rollback_expires_what_was_created_and_leaves_what_others_changed(tmp_path: Path) -> None:
    world = make(tmp_path, 6)
    first = world.deliver()
    feedback(world, "s000002", "Dismiss_vod")
    store = world.emulator.store
    (id,) = store.find("Product_Metrics_vod__c", "External_ID_vod__c", f"{account(1)}__behavio")
    store.save("Product_Metrics_vod__c", {"Segment__c": "by hand"}, id=id)
    done = undo(world, first)
    assert done.objects["Suggestion_vod__c"] == {"expire": 2, "protect": 1}
    assert done.objects["Product_Metrics_vod__c"] == {"changed_since": 1, "clear": 5}
    assert done.status == "confirmed"
    assert world.rows("Product_Metrics_vod__c", "Segment__c") == [None, "by hand", None, None, None, None]
    last = dict(world.rows("Suggestion_vod__c", "Suggestion_External_Id_vod__c", "Expiration_Date_vod__c"))
    yesterday = (DAY - dt.timedelta(1)).isoformat()
    assert last == {
        "s000000": yesterday,
        "s000002": (DAY + dt.timedelta(13)).isoformat(),
        "s000004": yesterday,
    }
    with pytest.raises(RunError, match="only a delivery"):
        undo(world, done)


# proof and secrets -----------------------------------------------------------------------------------


def test_the_audit_log_is_a_chain(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BEHAVIO_USER", "admin")
    world = make(tmp_path, 6)
    receipt = world.deliver()
    undo(world, receipt)
    log = world.run / "deliveries" / "audit.jsonl"
    lines = [json.loads(x) for x in log.read_text().splitlines()]
    assert [x["what"] for x in lines] == ["planned", "deliver", "rollback planned", "rollback"]
    assert audit.verify(log) == 4
    first = lines[1]
    assert (
        first["who"] == "admin"
        and first["model_version"].endswith("ngram")
        and first["run_id"] == receipt.run_id
    )
    assert len(first["rows_sha256"]) == 64 and first["mapping_sha256"] == receipt.mapping_sha256
    log.write_text(log.read_text().replace('"admin"', '"nobody"', 1))
    with pytest.raises(RunError, match="line 2"):
        audit.verify(log)


def test_secrets_are_in_no_file_and_no_message(tmp_path: Path) -> None:
    for system in SYSTEMS:
        world = make(tmp_path / system, 6, system)
        secret = "Sup3r-s3cret!"
        if system == "vault":
            world.emulator.login = type(world.emulator.login)("loader@example.com", secret)
        else:
            world.emulator.keys = type(world.emulator.keys)(secret=secret)
        with pytest.raises(DeliveryError) as caught:
            world.deliver()
        assert secret not in str(caught.value) + caught.value.hint
        from behavio.sources.salesforce import Org
        from behavio.sources.vault import VaultLogin

        assert secret not in repr(Org("u", "c", secret)) + repr(VaultLogin("u", "n", secret))
        token = world.emulator.issue("00D")
        monkey = world.crm

        def crm(monkey: Any = monkey, secret: str = secret) -> Any:
            made = monkey()
            holder = made.session.login if hasattr(made.session, "login") else made.session.org
            object.__setattr__(holder, "password" if hasattr(made.session, "login") else "secret", secret)
            return made

        world.crm = crm  # type: ignore[method-assign]
        receipt = world.deliver()
        undo(world, receipt)
        written = [p.read_bytes() for p in world.run.rglob("*") if p.is_file()]
        tokens = [*world.emulator.sessions, token]
        assert len(written) > 10 and receipt.status == "confirmed"
        assert not any(s.encode() in data for data in written for s in [secret, *tokens])


def test_home_is_beside_the_stages_of_the_run(tmp_path: Path) -> None:
    assert home_of(tmp_path, "vault") == tmp_path / "deliveries" / "vault"
