"""Take a delivery back: updated rows get what they held before, created ones expire, are cleared or deleted.

A rollback is a delivery of its own: planned, shown, sent, read back, receipted. A row that somebody changed
since is left alone and named, unless forced.
"""

from __future__ import annotations

import shutil
from datetime import timedelta
from pathlib import Path

import polars as pl

from behavio.errors import RunError
from behavio.suggest.plan import day_of
from behavio.targets import audit
from behavio.targets.delivery import Delivery, alone, receipt_of, send_plan, write_plan_csv
from behavio.targets.mapping import ObjectMapping
from behavio.targets.plan import OLD, ROW, Part, Plan, Planner, acted
from behavio.targets.receipts import CrmReceipt
from behavio.targets.rows import RunTables, read_run
from behavio.targets.state import State
from behavio.targets.wire import differing

THERE = "@"


def roll_back(
    d: Delivery, receipt: CrmReceipt, *, delete_created: bool = False, force: bool = False
) -> CrmReceipt:
    """Undo what a receipt proves; a rollback that was killed goes on.

    Created rows expire where the object has a last day, else their columns are cleared; `delete_created`
    deletes them instead. `force` also restores rows that were changed since.
    Errors: RunError when the receipt belongs to no delivery that can be undone.
    """
    source = Path(receipt.folder)
    if not (source / "plan.json").is_file():
        raise RunError(
            f"the delivery {source} is not there any more", hint="its folder holds what was there before"
        )
    if receipt.dry_run or receipt.kind != "deliver":
        raise RunError("only a delivery that wrote rows can be taken back", hint="give its receipt.json")
    tables = read_run(d.run)
    wanted = f"rollback of {source.name}, delete_created={delete_created}, force={force}"
    if d.settings.dry_run:
        folder = d.home / "dry-run"
        shutil.rmtree(folder, ignore_errors=True)
        plan = _plan(d, source, folder, wanted, tables, delete_created, force)
        return receipt_of(d, tables, folder, plan, None, "planned", of=source.name)
    with alone(d.home):
        return _undo_all(d, source, wanted, tables, receipt.target, delete_created, force)


def _undo_all(
    d: Delivery, source: Path, wanted: str, tables: RunTables, target: str, delete: bool, force: bool
) -> CrmReceipt:
    made = sorted(d.home.glob(f"{source.name}-rollback-*"))
    folder = made[-1] if made else d.home / f"{source.name}-rollback-1"
    if (folder / "receipt.json").is_file():
        folder = d.home / f"{source.name}-rollback-{len(made) + 1}"
    resumed = (folder / "plan.json").is_file() and Plan.read(folder).fingerprint == wanted
    if resumed:
        plan = Plan.read(folder)
    else:
        shutil.rmtree(folder, ignore_errors=True)
        plan = _plan(d, source, folder, wanted, tables, delete, force)
        audit.append(d.log, "rollback planned", of=source.name, target=target, counts=plan.counts)
    return send_plan(d, tables, folder, plan, resumed=resumed, of=source.name)


def _plan(
    d: Delivery, source: Path, folder: Path, wanted: str, tables: RunTables, delete: bool, force: bool
) -> Plan:
    done = Plan.read(source)
    planner = Planner(d.crm, d.mapping, folder)
    last = (day_of(tables.as_of) - timedelta(days=1)).isoformat()
    for part in done.parts:
        if part.sends:
            _part(planner, source, part, d.mapping.objects[part.object], last, delete, force)
    plan = planner.plan(wanted, "rollback")
    write_plan_csv(d.mapping, plan, folder)
    d.mapping.write(folder)
    plan.write(folder)
    return plan


def _part(
    planner: Planner, source: Path, part: Part, one: ObjectMapping, last: str, delete: bool, force: bool
) -> None:
    """Sort the rows of one part: what was there before comes back, what we made goes."""
    crm = planner.crm
    fields = crm.fields(one.object)
    rows = pl.read_parquet(source / part.file)
    columns = [p.partition(":")[0] for p in one.protect]
    state = State(crm, one.object, [*one.names, *columns], one.key, planner.folder / "state" / "roll")
    state.fetch_keys(rows[one.key])
    there = state.of(rows[one.key])
    state.forget()
    there = there.rename({c: c + THERE for c in there.columns if c != one.key}).with_columns(
        pl.lit(True).alias("#found")
    )
    rows = rows.join(there, on=one.key, how="left", maintain_order="left")
    new = part.columns if rows["#what"][0] == "create" else [c for c in part.columns if c != one.key]
    since = differing([c for c in new if c != one.key], part.clear, fields, THERE)
    made = pl.col("#what") == "create"
    other = pl.lit(not force) & (since != "")
    undone = pl.lit("delete") if delete else pl.lit("expire" if one.expires else "clear")
    what = (
        pl.when(pl.col("#found").is_null()).then(pl.lit("gone"))
        .when(acted(one, THERE)).then(pl.lit("protect"))
        .when(other).then(pl.lit("changed_since"))
        .when(made).then(undone)
        .otherwise(pl.lit("restore"))
    )  # fmt: skip
    rows = rows.with_columns(what.alias("#what"), since.alias("#reason"))
    _restore(planner, part, one, rows.filter(pl.col("#what") == "restore"))
    _undo(planner, part, one, rows.filter(pl.col("#what").is_in(["expire", "clear", "delete"])), last)
    rest = rows.filter(pl.col("#what").is_in(["gone", "protect", "changed_since"]))
    planner.add(part.object, rest.select(*ROW, *one.names), (), (), sends=False)


def _restore(planner: Planner, part: Part, one: ObjectMapping, rows: pl.DataFrame) -> None:
    if rows.height == 0:
        return
    columns = [c for c in part.columns if c != one.key]
    olds = [pl.col(OLD + c).alias(c) for c in columns]
    rows = rows.with_columns(olds).with_columns(pl.lit("; ".join(columns)).alias("#changed"))
    clear = [c for c in columns if "." not in c]
    planner.add(part.object, rows.select(*ROW, *one.names), [one.key, *columns], clear, sends=True)


def _undo(planner: Planner, part: Part, one: ObjectMapping, rows: pl.DataFrame, last: str) -> None:
    if rows.height == 0:
        return
    id = planner.crm.id
    what = rows["#what"][0]
    if what == "delete":
        with_id = rows.with_columns(pl.col(id + THERE).alias(id)) if id else rows
        names = dict.fromkeys([*ROW, *one.names, *([id] if id else [])])
        planner.add(part.object, with_id.select(list(names)), [one.key], (), sends=True)
        return
    if what == "expire":
        rows = rows.with_columns(pl.lit(last).alias(one.expires), pl.lit(one.expires).alias("#changed"))
        open_yet = pl.col(one.expires + THERE) > last
        planner.add(
            part.object,
            rows.filter(open_yet).select(*ROW, *one.names),
            [one.key, one.expires],
            (),
            sends=True,
        )
        return
    clear = clearable(planner, one)
    rows = rows.with_columns([pl.lit(None, pl.String).alias(c) for c in clear])
    rows = rows.with_columns(pl.lit("; ".join(clear)).alias("#changed"))
    planner.add(part.object, rows.select(*ROW, *one.names), [one.key, *clear], clear, sends=True)


def clearable(planner: Planner, one: ObjectMapping) -> list[str]:
    """Columns of a row we made that can be emptied."""
    fields = planner.crm.fields(one.object)
    fixed = {one.key, one.parent, "Record_Type_Name_vod__c", "record_type_name__v"}
    return [
        c
        for c in one.names
        if c not in fixed
        and c in fields
        and fields[c].update
        and not fields[c].required
        and fields[c].kind != "boolean"
    ]
