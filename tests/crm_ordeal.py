"""One delivery under fire: seeded faults, kills at any request, reps who act meanwhile, runs that change."""

from __future__ import annotations

import datetime as dt
import random
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl
from crm_world import DAY, SEGMENTS, World, account, new_emulator, rep, suggestion, write_run

from behavio.errors import DeliveryError
from behavio.targets.emulator import Schedule
from behavio.targets.emulator.near import Killed
from behavio.targets.mapping import load_mapping
from behavio.targets.plan import Plan
from behavio.targets.receipts import CrmReceipt

ATTEMPTS = 12
COLUMNS = {
    "salesforce": {
        "labels": ("Product_Metrics_vod__c", "External_ID_vod__c", "Segment__c", "Behavio_Run__c"),
        "suggestions": (
            "Suggestion_vod__c",
            "Suggestion_External_Id_vod__c",
            "Reason_vod__c",
            "Expiration_Date_vod__c",
            "OwnerId",
        ),
        "tags": ("Suggestion_Tag_vod__c", "Behavio_Key__c"),
    },
    "vault": {
        "labels": ("product_metrics__v", "external_id__v", "segment__c", "behavio_run__c"),
        "suggestions": (
            "suggestion__v",
            "suggestion_external_id__v",
            "reason__v",
            "expiration_date__v",
            "ownerid__v",
        ),
        "tags": ("suggestion_tag__v", "behavio_key__c"),
    },
}


@dataclass
class Story:
    """What happened, for the report of many ordeals."""

    seed: int
    system: str
    attempts: int = 0
    kills: int = 0
    gave_up: int = 0
    faults: int = 0
    acts: int = 0
    requests: int = 0


def wanted_of(rng: random.Random, n: int, system: str) -> tuple[dict[int, str | None], list[dict[str, Any]]]:
    """Labels and suggestions of one run."""
    labels = {i: rng.choice([*SEGMENTS, None]) for i in range(n)}
    made = [
        suggestion(i, account(i, system), rep(i % 2, system), reason=f"Reason {rng.randrange(3)} of {i}.")
        for i in range(n)
        if rng.random() < 0.6
    ]
    return labels, made


def ordeal(folder: Path, seed: int, system: str = "salesforce", n: int | None = None) -> Story:
    """Deliver two runs under faults and kills, then once in peace, and check every row."""
    rng = random.Random(seed)
    n = n or rng.choice((3, 6, 12))
    schedule = Schedule(seed=seed, rate=rng.choice((0.02, 0.1, 0.3)), most=rng.randrange(1, 40))
    world = World(folder, new_emulator(system, n, schedule=schedule), system)
    story = Story(seed, system)
    runs = []
    for name in ("one", "two"):
        labels, made = wanted_of(rng, n, system)
        run = write_run(folder / name, n, system=system, segments=labels.__getitem__, suggestions=made)
        runs.append((run, labels, made))
    acted: dict[str, Any] = {}
    for run, _, _ in runs:
        for _ in range(rng.randrange(1, ATTEMPTS)):
            story.attempts += 1
            at, when = rng.randrange(40), rng.choice(("before", "after", ""))
            world.kill = lambda number, at=at, when=when: when if number == at else ""
            try:
                receipt = world.deliver(run)
            except Killed:
                story.kills += 1
            except DeliveryError:
                story.gave_up += 1
            else:
                agrees(world, receipt)
            if rng.random() < 0.4:
                story.acts += act(world, rng, acted)
    world.kill = None
    story.faults, story.requests = len(schedule.struck), schedule.number
    schedule.rate, schedule.faults[:] = 0.0, []
    run, labels, made = runs[-1]
    receipt = world.deliver(run)
    assert receipt.status == "confirmed", receipt
    agrees(world, receipt)
    late_jobs(world)
    check(world, labels, made, acted)
    assert world.deliver(run).sent == 0
    world.emulator.close()
    return story


def late_jobs(world: World) -> None:
    """Jobs that still hang are carried out now: nothing of a killed delivery may come after all."""
    jobs = getattr(world.emulator, "jobs", None)
    if jobs is None:
        return
    for job in jobs.all.values():
        job.wait = 0
    for _ in range(3):
        jobs.tick()


def key_rows(world: World, what: str) -> dict[str, dict[str, Any]]:
    """Rows of an object by their key: every key once."""
    object, key = COLUMNS[world.system][what][:2]
    rows = [r for r in world.emulator.store.rows(object) if not r.get("IsDeleted")]
    counted = Counter(r[key] for r in rows)
    assert all(n == 1 for n in counted.values()), f"doubled: {counted.most_common(3)}"
    return {r[key]: r for r in rows}


def act(world: World, rng: random.Random, acted: dict[str, Any]) -> int:
    """A rep dismisses, completes or follows a suggestion; how it looks then is remembered."""
    rows = key_rows(world, "suggestions")
    free = sorted(set(rows) - set(acted))
    if not free:
        return 0
    key, store = rng.choice(free), world.emulator.store
    if world.system == "vault":
        kind = rng.choice(("dismiss__v", "mark_as_complete__v", "activity_execution__v"))
        store.save("suggestion_feedback__v", {"suggestion__v": rows[key]["id"], "record_type_name__v": kind})
    else:
        kind = rng.choice(("Dismiss_vod", "Mark_As_Complete_vod", "Activity_Execution_vod"))
        row = {"Suggestion_vod__c": rows[key]["Id"], "Record_Type_Name_vod__c": kind}
        store.save("Suggestion_Feedback_vod__c", row)
    acted[key] = key_rows(world, "suggestions")[key]
    return 1


def agrees(world: World, receipt: CrmReceipt) -> None:
    """The receipt counts what it says, and the system holds what it says."""
    assert receipt.sent == receipt.confirmed + receipt.rejected, receipt
    planned = receipt.create + receipt.update + receipt.retire
    assert planned >= receipt.sent and receipt.status in ("confirmed", "partial")
    assert (receipt.rejected == 0) == (receipt.status == "confirmed")
    folder = Path(receipt.folder)
    refused = set(pl.read_csv(folder / "rejected.csv", infer_schema=False)["key"].to_list())
    there: dict[str, dict[str, Any]] = {}
    confirmed = 0
    mapping = load_mapping(str(folder / "mapping.toml"))
    for part in Plan.read(folder).parts:
        one = mapping.objects[part.object]
        if not part.sends:
            continue
        if one.object not in there:
            rows = world.emulator.store.rows(one.object)
            there[one.object] = {r[one.key]: r for r in rows if not r.get("IsDeleted")}
        for want in pl.read_parquet(folder / part.file).iter_rows(named=True):
            has = there[one.object].get(want[one.key])
            acted = has is not None and any(has[p.partition(":")[0]] for p in one.protect)
            if want[one.key] in refused or acted:
                continue
            assert has is not None, (receipt.status, want[one.key])
            for c in part.columns:
                if "." not in c and (want[c] is not None or c in part.clear):
                    assert same(want[c], has[c]), (c, want[c], has[c])
            confirmed += 1
    assert confirmed <= receipt.confirmed


def same(want: str | None, has: Any) -> bool:
    """Whether a cell of the plan is what the system keeps."""
    if isinstance(has, float):
        return want is not None and abs(float(want) - has) < 1e-9
    if isinstance(has, int):
        return (want == "true") == bool(has)
    return want == has


def check(
    world: World, labels: dict[int, str | None], made: list[dict[str, Any]], acted: dict[str, Any]
) -> None:
    """Every row is there exactly once with the right values, nothing else is open, what reps did stands."""
    _, _, segment, owned = COLUMNS[world.system]["labels"]
    found = key_rows(world, "labels")
    for i, label in labels.items():
        row = found.get(f"{account(i, world.system)}__behavio")
        if label is None:
            assert row is None or (row[segment] is None and row[owned] is None), row
        else:
            assert row is not None and row[segment] == label and row[owned], (label, row)
    _, _, reason, last, owner = COLUMNS[world.system]["suggestions"]
    there = key_rows(world, "suggestions")
    system = {"SystemModstamp", "LastModifiedDate", "modified_date__v"}
    for key, row in acted.items():
        assert {c: v for c, v in there[key].items() if c not in system} == {
            c: v for c, v in row.items() if c not in system
        }
    wanted = {s["suggestion_id"]: s for s in made}
    for key, one in wanted.items():
        if key in acted:
            continue
        row = there[key]
        assert (row[reason], row[owner]) == (one["reason"], one["owner_id"])
        assert row[last] == (DAY + dt.timedelta(13)).isoformat()
    for key in set(there) - set(wanted) - set(acted):
        assert there[key][last] < DAY.isoformat(), "a suggestion nobody wants is still open"
    tags = key_rows(world, "tags")
    for key in set(wanted) - set(acted):
        assert {f"{key}__brand", f"{key}__driver"} <= set(tags)
