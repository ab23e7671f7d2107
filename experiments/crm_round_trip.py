"""A whole demo run into the emulated Salesforce and Vault: reps act, the next run respects it.

Usage: python experiments/crm_round_trip.py DEMO (a folder that `behavio demo --out` left).
Writes experiments/results/crm_round_trip.json.
"""

from __future__ import annotations

import json
import random
import shutil
import sys
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

import polars as pl

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from behavio.sources import LogInputs, SourceSettings, read_log  # noqa: E402
from behavio.sources.pull import pull  # noqa: E402
from behavio.sources.salesforce import Org, Salesforce  # noqa: E402
from behavio.sources.vault import Vault, VaultLogin  # noqa: E402
from behavio.targets.delivery import Delivery, deliver_to, home_of  # noqa: E402
from behavio.targets.emulator import SalesforceEmulator, VaultEmulator, load_extracts, serving  # noqa: E402
from behavio.targets.mapping import load_mapping  # noqa: E402
from behavio.targets.receipts import CrmReceipt  # noqa: E402
from behavio.targets.salesforce import SalesforceCrm  # noqa: E402
from behavio.targets.settings import DeliverSettings  # noqa: E402
from behavio.targets.vault import VaultCrm  # noqa: E402

NAMES = {
    "salesforce": ("Suggestion_vod__c", "Suggestion_External_Id_vod__c", "Suggestion_Feedback_vod__c", "Id"),
    "vault": ("suggestion__v", "suggestion_external_id__v", "suggestion_feedback__v", "id"),
}
KINDS = {
    "salesforce": ("Dismiss_vod", "Mark_As_Complete_vod", "Activity_Execution_vod"),
    "vault": ("dismiss__v", "mark_as_complete__v", "activity_execution__v"),
}


def crm_of(system: str, url: str) -> Any:
    """A session."""
    if system == "vault":
        return VaultCrm(Vault(VaultLogin(url, "loader@example.com", "emulator")))
    return SalesforceCrm(Salesforce(Org(url, "behavio", "emulator")))


def deliver(system: str, url: str, run: Path, home: Path) -> CrmReceipt:
    """One delivery."""
    crm = crm_of(system, url)
    settings = DeliverSettings(target=system, dry_run=False)
    mapping = load_mapping("vault" if system == "vault" else "veeva")
    try:
        return deliver_to(Delivery(run, home_of(home, system), crm, mapping, settings))
    finally:
        crm.close()


def act(emulator: Any, system: str, share: float) -> Counter[str]:
    """Reps act on a share of their suggestions."""
    rng, done = random.Random(7), Counter()
    object, _, feedback, id = NAMES[system]
    field, kind_field = (
        ("suggestion__v", "record_type_name__v") if system == "vault" else (object, "Record_Type_Name_vod__c")
    )
    for row in emulator.store.rows(object):
        if rng.random() < share:
            kind = rng.choice(KINDS[system])
            emulator.store.save(feedback, {field: row[id], kind_field: kind})
            done[kind] += 1
    return done


def next_run(run: Path, folder: Path) -> Path:
    """The run a week on, as a delivery sees it: new words everywhere, new ids for every third."""
    shutil.copytree(run, folder, ignore=shutil.ignore_patterns("deliveries", "encoded"))
    path = folder / "suggestions" / "suggestions.parquet"
    table = pl.read_parquet(path).with_row_index("n")
    again = pl.when(pl.col("n") % 3 == 0).then(pl.col("suggestion_id") + "x").otherwise("suggestion_id")
    reason = pl.col("reason") + " Said again."
    table.with_columns(suggestion_id=again, reason=reason).drop("n").write_parquet(path)
    return folder


def feedback_events(system: str, url: str, folder: Path) -> dict[str, int]:
    """What reps did, pulled as the next run would read it."""
    kind = "vault.suggestion_feedback" if system == "vault" else "veeva.suggestion_feedback"
    session: Any = Salesforce(Org(url, "behavio", "emulator"))
    if system == "vault":
        session = Vault(VaultLogin(url, "loader@example.com", "emulator"))
    pull([kind], folder, session)
    session.close()
    source = SourceSettings(path=str(folder), kind=kind)
    log = read_log(LogInputs({"feedback": source}, folder))
    return dict(Counter(log.events["activity"].to_list()))


def round_trip(system: str, demo: Path, work: Path) -> dict[str, Any]:
    """Deliver, act, read back, deliver the next run."""
    emulator: Any = VaultEmulator() if system == "vault" else SalesforceEmulator()
    load_extracts(emulator.store, demo / "data" / "extracts")
    object, key, _, _ = NAMES[system]
    with serving(emulator) as url:
        first = deliver(system, url, demo / "run", work / system)
        second = deliver(system, url, demo / "run", work / system)
        acts = act(emulator, system, 0.1)
        before = {r[key]: r for r in emulator.store.rows(object)}
        flags = ("dismissed__v", "marked_as_complete__v", "actioned__v")
        if system == "salesforce":
            flags = ("Dismissed_vod__c", "Marked_As_Complete_vod__c", "Actioned_vod__c")
        acted = {k for k, r in before.items() if any(r[f] for f in flags)}
        events = feedback_events(system, url, work / f"extracts-{system}")
        third = deliver(system, url, next_run(demo / "run", work / f"next-{system}"), work / system)
        after = {r[key]: r for r in emulator.store.rows(object)}
    assert first.status == second.status == third.status == "confirmed" and second.sent == 0
    assert all(after[k] == before[k] for k in acted), "a suggestion a rep acted on was touched"
    assert sum(events.values()) == acts.total()
    result = {
        "first": dict(first.objects),
        "first_confirmed": first.confirmed,
        "jobs": len(first.jobs),
        "second_sent": second.sent,
        "acts": dict(acts),
        "events_pulled": events,
        "next": dict(third.objects),
        "next_reasons": dict(third.reasons),
        "acted_untouched": len(acted),
    }
    emulator.close()
    return result


def main() -> None:
    """Both systems."""
    demo = Path(sys.argv[1])
    with tempfile.TemporaryDirectory() as work:
        result = {system: round_trip(system, demo, Path(work)) for system in NAMES}
    text = json.dumps(result, indent=2)
    print(text)
    (ROOT / "experiments" / "results" / "crm_round_trip.json").write_text(text + "\n")


if __name__ == "__main__":
    main()
