"""A CRM on this machine to rehearse a load with: Salesforce or Vault, with faults on demand."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Iterator
from pathlib import Path

from behavio.errors import JobError
from behavio.targets.emulator.core import Emulator
from behavio.targets.emulator.faults import Fault, Schedule
from behavio.targets.emulator.salesforce import Keys, SalesforceEmulator
from behavio.targets.emulator.salesforce import new_store as new_org
from behavio.targets.emulator.store import Store
from behavio.targets.emulator.vault import Login, VaultEmulator
from behavio.targets.emulator.vault import new_store as new_vault
from behavio.targets.emulator.web import listen, serving

__all__ = [
    "Emulator",
    "Fault",
    "Keys",
    "Login",
    "SalesforceEmulator",
    "Schedule",
    "VaultEmulator",
    "listen",
    "load_extracts",
    "new_org",
    "new_vault",
    "serving",
]

TWINS = {"Account": "account__v", "User": "user__sys", "Product_vod__c": "product__v"}
TWIN_COLUMNS = {
    "Id": "id",
    "Name": "name__v",
    "OwnerId": "ownerid__v",
    "FirstName": "first_name_cda__v",
    "LastName": "last_name_cda__v",
    "External_ID_vod__c": "external_id__v",
}


TYPE_NAME = "RecordType.DeveloperName"


def load_extracts(store: Store, folder: Path) -> dict[str, int]:
    """Fill the store with the CSV files of an export (Account.csv …); rows per object.

    Files without a column Id are no objects and stay out; record types are those that rows name. In a vault
    accounts, users and products go to their twins, ids kept. JobError when there is no file.
    """
    files = sorted(folder.glob("*.csv"))
    if not files:
        raise JobError(f"{folder} holds no CSV file", hint="give a folder with Account.csv, User.csv …")
    found: dict[str, int] = {}
    vault = "account__v" in store.schema
    for path in files:
        object = TWINS.get(path.stem, "") if vault else path.stem
        if not object:
            continue
        with path.open(encoding="utf-8-sig", newline="") as lines:
            rows = csv.DictReader(lines)
            if "Id" not in (rows.fieldnames or ()):
                continue  # a file that lies beside the export: a survey, a list
            if vault:
                found[object] = store.load(
                    object, ({TWIN_COLUMNS[c]: v for c, v in r.items() if c in TWIN_COLUMNS} for r in rows)
                )
            else:
                types: dict[str, str] = {}
                found[object] = store.load(object, _noted(rows, types))
                kinds = [
                    {"Id": i, "Name": n, "DeveloperName": n, "SobjectType": object} for i, n in types.items()
                ]
                store.load("RecordType", kinds)
    return found


def _noted(rows: Iterable[dict[str, str]], types: dict[str, str]) -> Iterator[dict[str, str]]:
    """The rows, with the names of their record types noted by id."""
    for row in rows:
        name, id = row.get(TYPE_NAME), row.get("RecordTypeId")
        if name and id:
            types[id] = name
        yield row
