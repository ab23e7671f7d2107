"""A small run and the CRM it is delivered to: the same accounts, reps and products in both."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import polars as pl
from oracles_suggest import START, log_of

from behavio.sources.salesforce import Org, Salesforce
from behavio.sources.vault import Vault, VaultLogin
from behavio.suggest.affinity import AFFINITY_SCHEMA
from behavio.suggest.make import SUGGESTION_SCHEMA, SUPPRESSED_SCHEMA
from behavio.targets.delivery import Delivery, deliver_to, home_of
from behavio.targets.emulator import Keys, SalesforceEmulator, Schedule, VaultEmulator
from behavio.targets.emulator.near import Near
from behavio.targets.emulator.values import numbered_id
from behavio.targets.mapping import load_mapping
from behavio.targets.receipts import CrmReceipt
from behavio.targets.salesforce import SalesforceCrm
from behavio.targets.settings import DeliverSettings
from behavio.targets.vault import VaultCrm

SEGMENTS = ("Readers", "Portal explorers", "“Late” openers 🎁", "=HYPERLINK(1)", "Visits, only")
DAY = START.date() + dt.timedelta(31)


def account(n: int, system: str = "salesforce") -> str:
    return numbered_id("001" if system == "salesforce" else "V4A", n)


def rep(n: int, system: str = "salesforce") -> str:
    return numbered_id("005" if system == "salesforce" else "V0U", n)


def suggestion(n: int, case: str, owner: str | None, **more: Any) -> dict[str, Any]:
    row: dict[str, Any] = dict.fromkeys(SUGGESTION_SCHEMA)
    row |= {"suggestion_id": f"s{n:06d}", "case_id": case, "rank": 1, "action": "call_f2f", "channel": "f2f"}
    row |= {"message": f"52 weeks {n}", "brand": "Cardiovia", "owner_id": owner, "priority": "urgent"}
    row |= {"reason": f"Because, she said “yes”\n{n} times.", "probability": 0.5, "base_probability": 0.1}
    row |= {"due_from": DAY + dt.timedelta(2), "due_to": DAY + dt.timedelta(6)}
    row |= {"expires_on": DAY + dt.timedelta(13), "evidence_rows": ["hand:1"], "evidence_n": 9}
    return row | more


def write_run(
    folder: Path,
    n: int = 6,
    *,
    system: str = "salesforce",
    n_reps: int = 2,
    segments: Callable[[int], str | None] = lambda i: SEGMENTS[i % len(SEGMENTS)],
    suggestions: Sequence[dict[str, Any]] | None = None,
    cases: pl.DataFrame | None = None,
    consents: Sequence[dict[str, Any]] = (),
) -> Path:
    """A run as far as a delivery reads it: a label for every case, a suggestion for every second one."""
    ids = [account(i, system) for i in range(n)]
    log_of([(c, 26, "call_f2f") for c in ids] + [(ids[0], 31, "portal_visit")], cases, consents).write(
        folder / "log"
    )
    for room in ("suggestions", "segments", "models"):
        (folder / room).mkdir(parents=True, exist_ok=True)
    if suggestions is None:
        suggestions = [suggestion(i, ids[i], rep(i % n_reps, system)) for i in range(0, n, 2)]
    pl.DataFrame(suggestions, schema=SUGGESTION_SCHEMA).write_parquet(
        folder / "suggestions" / "suggestions.parquet"
    )
    held: dict[str, Any] = dict.fromkeys(SUPPRESSED_SCHEMA)
    held |= {"case_id": ids[0], "action": "email_sent", "reason": "stacking", "detail": "a contact 3 h ago"}
    pl.DataFrame([held], SUPPRESSED_SCHEMA).write_parquet(folder / "suggestions" / "suppressed.parquet")
    share = {
        "contacts": 4,
        "responses": 3,
        "affinity": 0.8,
        "low": 0.6,
        "high": 0.9,
        "usual": 0.5,
        "counted": "x",
    }
    rows = [{"case_id": c, "channel": "f2f", **share} for c in ids[:2]]
    pl.DataFrame(rows, schema=AFFINITY_SCHEMA).write_parquet(folder / "suggestions" / "affinity.parquet")
    labels = [
        (c, -1 if segments(i) is None else 0, segments(i), 0.25 + i % 7 / 10) for i, c in enumerate(ids)
    ]
    schema = {"case_id": pl.String, "segment_id": pl.Int32, "segment": pl.String, "strength": pl.Float64}
    pl.DataFrame(labels, schema, orient="row").write_parquet(folder / "segments" / "segments.parquet")
    (folder / "manifest.json").write_text("{}")
    (folder / "models" / "metrics.json").write_text(json.dumps({"default": "ngram"}))
    return folder


def new_emulator(system: str = "salesforce", n: int = 6, n_reps: int = 2, **more: Any) -> Any:
    """A system that knows the accounts, reps and products of the run."""
    if system == "vault":
        made: Any = VaultEmulator(**more)
        made.store.load("account__v", ({"id": account(i, system), "name__v": f"HCP {i}"} for i in range(n)))
        made.store.load("user__sys", ({"id": rep(i, system), "name__v": f"Rep {i}"} for i in range(n_reps)))
        made.store.load("product__v", [{"id": numbered_id("V4P", 1), "name__v": "Cardiovia"}])
        return made
    made = SalesforceEmulator(**more)
    people = ({"Id": account(i), "Name": f"HCP {i}", "IsPersonAccount": "true"} for i in range(n))
    made.store.load("Account", people)
    made.store.load("User", ({"Id": rep(i), "Name": f"Rep {i}"} for i in range(n_reps)))
    made.store.load("Product_vod__c", [{"Id": numbered_id("a00", 1), "Name": "Cardiovia"}])
    return made


@dataclass
class World:
    """One run, one system, and the way to deliver."""

    run: Path
    emulator: Any
    system: str = "salesforce"
    kill: Callable[[int], str] | None = None
    naps: list[float] = field(default_factory=list)
    near: Near | None = None

    def crm(self, **more: Any) -> Any:
        self.near = Near(self.emulator, self.kill)
        if self.system == "vault":
            login = VaultLogin("http://127.0.0.1", "loader@example.com", "emulator")
            return VaultCrm(Vault(login, sleep=self.naps.append, transport=self.near))
        org = Org("http://127.0.0.1", "behavio", "emulator")
        session = Salesforce(org, sleep=self.naps.append, transport=self.near)
        return SalesforceCrm(session, **{"patience": 60.0, **more})

    def delivery(self, run: Path | None = None, mapping: str = "", **settings: Any) -> Delivery:
        name = mapping or {"salesforce": "veeva"}.get(self.system, self.system)
        wanted = DeliverSettings(target=self.system, **{"dry_run": False, **settings})
        where = run or self.run
        home = home_of(self.run, self.system)
        return Delivery(where, home, self.crm(), load_mapping(name), wanted, self.naps.append)

    def deliver(self, run: Path | None = None, mapping: str = "", **settings: Any) -> CrmReceipt:
        d = self.delivery(run, mapping, **settings)
        try:
            return deliver_to(d)
        finally:
            d.crm.close()

    def rows(self, object: str, *columns: str) -> list[Any]:
        found = self.emulator.store.rows(object)
        return [tuple(r[c] for c in columns) if len(columns) != 1 else r[columns[0]] for r in found]


def make(
    folder: Path, n: int = 6, system: str = "salesforce", schedule: Schedule | None = None, **more: Any
) -> World:
    """A world of n accounts."""
    run = write_run(folder / "run", n, system=system, **more)
    return World(run, new_emulator(system, n, schedule=schedule), system)


__all__ = ["DAY", "Keys", "World", "account", "make", "new_emulator", "rep", "suggestion", "write_run"]
