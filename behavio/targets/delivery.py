"""One delivery to a system: preflight, plan, send, read back, receipt. A killed one goes on."""

from __future__ import annotations

import fcntl
import hashlib
import json
import re
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import polars as pl

from behavio.errors import DeliveryError
from behavio.files import read_json, whole_file, write_json
from behavio.targets import audit
from behavio.targets.crm import Crm
from behavio.targets.csvfiles import FORMULA, sha256_of
from behavio.targets.facts import Facts
from behavio.targets.mapping import CrmMapping, load_mapping
from behavio.targets.plan import SENT, Plan, Planner
from behavio.targets.preflight import check
from behavio.targets.receipts import CrmReceipt
from behavio.targets.rows import RunTables, read_run
from behavio.targets.send import Sender, Sent
from behavio.targets.settings import DeliverSettings
from behavio.targets.wire import CASE

PLAN_COLUMNS = ("object", "key", "case_id", "owner_id", "what", "about", "changed", "reason")
HOME = "deliveries"

Progress = Callable[[str, float], None]


@dataclass(frozen=True)
class Delivery:
    """Where one delivery works: `home` holds all deliveries of a run to one target."""

    run: Path
    home: Path
    crm: Crm
    mapping: CrmMapping
    settings: DeliverSettings
    sleep: Callable[[float], None] = time.sleep
    progress: Progress | None = None

    @property
    def log(self) -> Path:
        """The audit log of the run's deliveries."""
        return self.home.parent / "audit.jsonl"


def home_of(run: Path, target: str) -> Path:
    """The folder of a run's deliveries to one target."""
    return run / HOME / target


def deliver_to(delivery: Delivery) -> CrmReceipt:
    """Deliver a run, or go on with a delivery that was killed; on a dry run only plan.

    Errors: JobError when the mapping does not fit, DeliveryError when the system cannot be reached, takes too
    few rows, or too many rows are invalid. A delivery that ends with rows missing has a receipt that says so.
    """
    d = delivery
    check(d.mapping, d.crm)
    tables = read_run(d.run)
    facts = Facts(tables, d.run, d.settings.legal_basis)
    wanted = fingerprint(d, tables)
    if d.settings.dry_run:
        folder = d.home / "dry-run"
        shutil.rmtree(folder, ignore_errors=True)
        plan = _plan(d, facts, folder, wanted)
        return receipt_of(d, tables, folder, plan, None, "planned")
    with alone(d.home):
        return _deliver(d, tables, facts, wanted)


def _deliver(d: Delivery, tables: RunTables, facts: Facts, wanted: str) -> CrmReceipt:
    open_one = unfinished(d.home)
    if open_one is not None and Plan.read(open_one).fingerprint != wanted:
        interrupted(replace(d, mapping=load_mapping(str(open_one / "mapping.toml"))), open_one, tables)
        open_one = None
    last = max((int(f.name[:4]) for f in d.home.glob("[0-9][0-9][0-9][0-9]*")), default=0)
    folder = open_one or d.home / f"{last + 1:04d}"
    if open_one is None:
        shutil.rmtree(folder, ignore_errors=True)
        plan = _plan(d, facts, folder, wanted)
        _audit(d, "planned", folder, plan, tables)
    else:
        plan = Plan.read(folder)
    return send_plan(d, tables, folder, plan, resumed=open_one is not None)


@contextmanager
def alone(home: Path) -> Iterator[None]:
    """Only one delivery or rollback at a time; a killed one holds nothing. Raises DeliveryError."""
    home.mkdir(parents=True, exist_ok=True)
    with (home / ".lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise DeliveryError(
                f"another delivery is under way in {home}", hint="wait until it has ended, or end it"
            ) from None
        yield


def send_plan(
    d: Delivery, tables: RunTables, folder: Path, plan: Plan, *, resumed: bool, of: str = ""
) -> CrmReceipt:
    """Send a plan that lies in `folder` and write its receipt."""
    starts = folder / "starts.json"
    write_json(starts, (read_json(starts) if starts.is_file() else 0) + 1)
    sent = Sender(d.crm, d.mapping, plan, folder, d.sleep, d.progress).send(resumed=resumed)
    status = "confirmed" if sent.failed.height == 0 else "partial"
    receipt = receipt_of(d, tables, folder, plan, sent, status, of)
    _audit(
        d, plan.kind, folder, plan, tables, status=status, confirmed=sent.confirmed, jobs=list(receipt.jobs)
    )
    return receipt


def unfinished(home: Path) -> Path | None:
    """The delivery that was begun and has no receipt."""
    for folder in sorted(home.glob("[0-9]*")):
        if (folder / "plan.json").is_file() and not (folder / "receipt.json").is_file():
            return folder
    return None


def interrupted(d: Delivery, folder: Path, tables: RunTables) -> None:
    """Close a delivery that was killed and is not wanted any more: what it did is read back and receipted."""
    plan = Plan.read(folder)
    sender = Sender(d.crm, d.mapping, plan, folder, d.sleep)
    d.crm.settle(sender.journal.facts())
    sent = sender.look()
    receipt = receipt_of(d, tables, folder, plan, sent, "interrupted")
    _audit(d, "interrupted", folder, plan, tables, confirmed=sent.confirmed, jobs=list(receipt.jobs))


def fingerprint(d: Delivery, tables: RunTables) -> str:
    """What a plan depends on beside the system: run, mapping, settings."""
    parts = (tables.run_id, d.mapping.sha256, d.settings.max_per_owner, d.settings.legal_basis, d.crm.address)
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()


def _plan(d: Delivery, facts: Facts, folder: Path, wanted: str) -> Plan:
    planner = Planner(d.crm, d.mapping, folder)
    planner.deliver(facts, d.settings.max_per_owner)
    held = facts.tables.suppressed
    if held is not None and held.height:
        planner.counts.setdefault("suggestions", {})["held_back"] = held.height
    invalid = sum(c.get("invalid", 0) for c in planner.counts.values())
    rows = sum(p.rows for p in planner.parts)
    plan = planner.plan(wanted)
    write_plan_csv(d.mapping, plan, folder, held)
    if invalid > d.settings.max_reject * rows:
        raise DeliveryError(
            f"{invalid:,} of {rows:,} rows are invalid, max_reject is {d.settings.max_reject}: none was sent",
            hint=f"look at {folder / 'plan.csv'}",
        )
    d.mapping.write(folder)
    plan.write(folder)
    return plan


def write_plan_csv(mapping: CrmMapping, plan: Plan, folder: Path, held: pl.DataFrame | None = None) -> None:
    """The plan for people, every cell harmless in a spreadsheet."""
    with whole_file(folder / "plan.csv") as draft, draft.open("wb") as out:
        header = True
        for part in plan.parts:
            one = mapping.objects[part.object]
            rows = pl.read_parquet(folder / part.file).select(
                pl.lit(one.object).alias("object"),
                pl.col(one.key).alias("key"),
                pl.col(CASE).alias("case_id"),
                (pl.col(one.owner) if one.owner else pl.lit(None, pl.String)).alias("owner_id"),
                pl.col("#what").alias("what"),
                (pl.col(one.title) if one.title else pl.lit(None, pl.String)).alias("about"),
                pl.col("#changed").alias("changed"),
                pl.col("#reason").alias("reason"),
            )
            rows.with_columns(safe(pl.all())).write_csv(out, include_header=header, quote_style="always")
            header = False
        if held is not None and held.height:
            rows = held.select(
                pl.lit("suggestions").alias("object"),
                pl.lit("").alias("key"),
                pl.col("case_id").cast(pl.String),
                pl.lit("").alias("owner_id"),
                pl.lit("held_back").alias("what"),
                pl.col("action").alias("about"),
                pl.lit("").alias("changed"),
                pl.concat_str("reason", pl.lit(": "), pl.col("detail").fill_null("")).alias("reason"),
            )
            rows.with_columns(safe(pl.all())).write_csv(out, include_header=header, quote_style="always")
            header = False
        if header:
            out.write((",".join(f'"{c}"' for c in PLAN_COLUMNS) + "\n").encode())


def safe(cells: pl.Expr) -> pl.Expr:
    """Cells that a spreadsheet would run get an apostrophe."""
    runs = cells.str.contains("^[" + re.escape("".join(FORMULA)) + "]")
    return pl.when(runs).then(pl.lit("'") + cells).otherwise(cells).name.keep()


def receipt_of(
    d: Delivery, tables: RunTables, folder: Path, plan: Plan, sent: Sent | None, status: str, of: str = ""
) -> CrmReceipt:
    """Write the receipt of what came of a plan."""
    failed = sent.failed if sent is not None else pl.DataFrame()
    files: dict[str, dict[str, str | int]] = {}
    if sent is not None:
        failed.with_columns(safe(pl.all())).write_csv(folder / "rejected.csv", quote_style="always")
    for name in ("plan.csv", "rejected.csv"):
        if (folder / name).is_file():
            files[name] = {"sha256": sha256_of(folder / name)}
    for part in plan.parts:
        files[part.file] = {"rows": part.rows, "sha256": sha256_of(folder / part.file)}
    starts, journal = folder / "starts.json", folder / "journal.jsonl"
    noted = [json.loads(x) for x in journal.read_text("utf-8").splitlines()] if journal.is_file() else []
    jobs = tuple(dict.fromkeys(n["job"] for n in noted if n.get("done")))
    late = sent.late if sent is not None else 0
    receipt = CrmReceipt(
        target=d.settings.target,
        dry_run=d.settings.dry_run,
        kind=plan.kind,
        status=status,
        run_id=tables.run_id,
        model_version=tables.model_version,
        address=d.crm.address,
        mapping=d.mapping.name,
        mapping_sha256=d.mapping.sha256,
        planned=plan.total("unchanged", *SENT),
        create=plan.total("create"),
        update=plan.total("update", "restore"),
        unchanged=plan.total("unchanged"),
        retire=plan.total("retire", "expire", "clear", "delete"),
        protected=plan.total("protect") + late,
        invalid=plan.total("invalid"),
        suppressed=plan.total("suppress", "held_back"),
        sent=plan.total(*SENT) - late if sent is not None else 0,
        confirmed=sent.confirmed if sent is not None else 0,
        rejected=failed.height,
        objects=plan.counts,
        reasons=_reasons(plan, folder),
        jobs=jobs,
        usage=d.crm.usage(),
        rounds=sent.rounds if sent is not None else 0,
        starts=read_json(starts) if starts.is_file() else 0,
        folder=str(folder),
        of=of,
        files=files,
    )
    receipt.write(folder / "receipt.json")
    shutil.rmtree(folder / "state", ignore_errors=True)
    return receipt


def _reasons(plan: Plan, folder: Path) -> dict[str, int]:
    """Rows that do not go by the name of the reason, most first."""
    found: dict[str, int] = {}
    for part in plan.parts:
        if part.sends:
            continue
        names = pl.read_parquet(folder / part.file, columns=["#reason"])["#reason"].str.extract(r"^(\w+):")
        for name, n in names.drop_nulls().value_counts().iter_rows():
            found[name] = found.get(name, 0) + n
    return dict(sorted(found.items(), key=lambda item: (-item[1], item[0])))


def _audit(d: Delivery, what: str, folder: Path, plan: Plan, tables: RunTables, **more: Any) -> None:
    rows = hashlib.sha256("".join(sha256_of(folder / p.file) for p in plan.parts).encode()).hexdigest()
    audit.append(
        d.log,
        what,
        target=d.settings.target,
        address=d.crm.address,
        delivery=folder.name,
        run_id=tables.run_id,
        model_version=tables.model_version,
        mapping=d.mapping.name,
        mapping_sha256=d.mapping.sha256,
        fingerprint=plan.fingerprint,
        rows_sha256=rows,
        counts=plan.counts,
        **more,
    )
