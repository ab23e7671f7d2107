"""Triggers that a loader meets: record types by name, and what reps do with suggestions."""

from __future__ import annotations

from typing import Any

from behavio.targets.emulator.schema import ObjectSpec
from behavio.targets.emulator.store import Store
from behavio.targets.emulator.values import RowError


def record_type(store: Store, spec: ObjectSpec, values: dict[str, Any], id: str | None) -> None:
    """Salesforce: Record_Type_Name_vod__c sets RecordTypeId."""
    name = values.get("Record_Type_Name_vod__c")
    if name is None or not spec.record_types:
        return
    for one in store.find("RecordType", "DeveloperName", name):
        if (store.row("RecordType", one) or {}).get("SobjectType") == spec.name:
            values["RecordTypeId"] = one
            return
    raise RowError(
        "FIELD_CUSTOM_VALIDATION_EXCEPTION", f"there is no record type {name}", ("Record_Type_Name_vod__c",)
    )


def object_type(store: Store, spec: ObjectSpec, values: dict[str, Any], id: str | None) -> None:
    """Vault: record_type_name__v sets object_type__v."""
    name = values.get("record_type_name__v")
    if name is None or not spec.record_types:
        return
    if name not in spec.record_types:
        raise RowError("INVALID_DATA", f"there is no object type {name}", ("record_type_name__v",))
    values["object_type__v"] = name


FEEDBACK = {
    "Activity_Execution_vod": ("Actioned_vod__c", "Action_Count_vod__c"),
    "Dismiss_vod": ("Dismissed_vod__c", "Dismiss_Count_vod__c"),
    "Mark_As_Complete_vod": ("Marked_As_Complete_vod__c", "Mark_Complete_Count_vod__c"),
}
VAULT_FEEDBACK = {
    "activity_execution__v": ("actioned__v", "action_count__v"),
    "dismiss__v": ("dismissed__v", "dismiss_count__v"),
    "mark_as_complete__v": ("marked_as_complete__v", "mark_complete_count__v"),
}


def feedback(store: Store, spec: ObjectSpec, values: dict[str, Any], id: str | None) -> None:
    """Salesforce: a rep's feedback sets the suggestion's flag and count."""
    if spec.name != "Suggestion_Feedback_vod__c" or id is not None:
        return
    kind = (store.row("RecordType", values.get("RecordTypeId") or "") or {}).get("DeveloperName", "")
    _mark(store, "Suggestion_vod__c", str(values["Suggestion_vod__c"]), FEEDBACK.get(kind))


def vault_feedback(store: Store, spec: ObjectSpec, values: dict[str, Any], id: str | None) -> None:
    """Vault: the same."""
    if spec.name != "suggestion_feedback__v" or id is not None:
        return
    found = VAULT_FEEDBACK.get(values.get("object_type__v") or "")
    _mark(store, "suggestion__v", str(values["suggestion__v"]), found)


def _mark(store: Store, object: str, id: str, columns: tuple[str, str] | None) -> None:
    if columns is None:
        return
    flag, count = columns
    before = (store.row(object, id) or {}).get(count) or 0.0
    store.set(object, id, {flag: 1.0, count: before + 1.0})


SALESFORCE_TRIGGERS = (record_type, feedback)
VAULT_TRIGGERS = (object_type, vault_feedback)
