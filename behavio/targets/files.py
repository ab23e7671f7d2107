"""Delivery to files: plan, write, read back, receipt."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import polars as pl

from behavio.errors import DeliveryError, RunError
from behavio.files import whole_file
from behavio.targets.csvfiles import Row, confirm, guarded, sha256_of, write_csv
from behavio.targets.receipt import Receipt
from behavio.targets.rows import Load, RunTables, label_rows, read_run, suggestion_rows
from behavio.targets.settings import DeliverSettings

State = dict[tuple[str, str], Row]

PLAN_COLUMNS = ("object", "key", "case_id", "owner_id", "what", "about", "changed", "reason")
STATE = "delivered.parquet"
"""What the target holds after a delivery: object, key, row (JSON). The next delivery is compared with it."""


def deliver(run: Path, settings: DeliverSettings, folder: Path) -> Receipt:
    """Deliver the labels and suggestions of a run into `folder`.

    A dry run writes only plan.csv and receipt.json. A real one also segment_labels.csv, suggestions.csv
    (what is new or changed since `previous`), rejected.csv and delivered.parquet (what the target then
    holds), reads every file back and compares.
    Errors: RunError when the run or `previous` cannot be read, DeliveryError when a file is not as sent.
    """
    tables = read_run(Path(run))
    loads = (label_rows(tables, settings), suggestion_rows(tables, settings))
    before = _previous(settings)
    plan: list[Row] = []
    sending: dict[str, list[Row]] = {}
    for load in loads:
        planned, changed = _compare(load, before)
        plan += planned
        sending[load.name] = changed
    plan += _suppressed(tables)
    counts = Counter(row["what"] for row in plan)
    files = {"plan.csv": len(plan)}
    write_csv(folder / "plan.csv", PLAN_COLUMNS, guarded(plan))
    confirm(folder / "plan.csv", PLAN_COLUMNS, guarded(plan))
    sent = confirmed = 0
    if not settings.dry_run:
        for load in loads:
            rows = guarded(sending[load.name], load.exact)
            write_csv(folder / load.file, load.columns, rows)
            sent += len(rows)
            confirmed += confirm(folder / load.file, load.columns, rows)
            files[load.file] = len(rows)
        files["rejected.csv"] = _write_rejected(loads, folder)
        files[STATE] = _write_state(before, sending, loads, folder)
    receipt = Receipt(
        target=settings.target,
        dry_run=settings.dry_run,
        run_id=tables.run_id,
        planned=counts["create"] + counts["update"] + counts["unchanged"],
        create=counts["create"],
        update=counts["update"],
        unchanged=counts["unchanged"],
        sent=sent,
        confirmed=confirmed,
        rejected=counts["reject"],
        suppressed=counts["suppress"],
        rejected_by_reason=_reasons(loads),
        files={name: {"rows": n, "sha256": sha256_of(folder / name)} for name, n in files.items()},
    )
    receipt.write(folder / "receipt.json")
    return receipt


def _compare(load: Load, before: State) -> tuple[list[Row], list[Row]]:
    """Plan rows of one object, and the rows to send: those new or different in any but the stamps."""
    plan, changed = [], []
    for row in load.rows:
        old = before.get((load.name, row[load.key]))
        differs = [
            c for c in load.columns if c not in load.stamps and old is not None and old.get(c) != row[c]
        ]
        what = "create" if old is None else "update" if differs else "unchanged"
        if what != "unchanged":
            changed.append(row)
        plan.append(_planned(load, row, what, changed="; ".join(differs)))
    plan += [_planned(load, row, "reject", reason=reason) for row, reason in load.rejected]
    return plan, changed


def _planned(load: Load, row: Row, what: str, changed: str = "", reason: str = "") -> Row:
    case, owner = (row.get(c, "") if c else "" for c in (load.case_column, load.owner_column))
    values = (load.name, row[load.key], case, owner, what, row[load.about_column], changed, reason)
    return dict(zip(PLAN_COLUMNS, values, strict=True))


def _suppressed(tables: RunTables) -> list[Row]:
    """One plan row per suggestion that the rules held back."""
    if tables.suppressed is None:
        return []
    rows = []
    for case, action, rule, detail in tables.suppressed.select(
        "case_id", "action", "reason", "detail"
    ).iter_rows():
        values = ("suggestion", "", case, "", "suppress", action, "", f"{rule}: {detail or ''}")
        rows.append(dict(zip(PLAN_COLUMNS, values, strict=True)))
    return rows


def _reasons(loads: Sequence[Load]) -> dict[str, int]:
    """Rejected rows by the name of the reason, most first."""
    names = Counter(reason.split(":")[0] for load in loads for _, reason in load.rejected)
    return dict(sorted(names.items(), key=lambda item: (-item[1], item[0])))


def _write_rejected(loads: Sequence[Load], folder: Path) -> int:
    """Write every row that may not go, as it would have gone, with its object and reason."""
    columns = list(dict.fromkeys(["object", "reason", *(c for load in loads for c in load.columns)]))
    rows = [
        {**dict.fromkeys(columns, ""), "object": load.name, "reason": reason, **row}
        for load in loads
        for row, reason in load.rejected
    ]
    write_csv(folder / "rejected.csv", columns, guarded(rows))
    confirm(folder / "rejected.csv", columns, guarded(rows))
    return len(rows)


def _previous(settings: DeliverSettings) -> State:
    """What the target holds since the last delivery; empty when there was none."""
    if settings.previous is None:
        return {}
    path = Path(settings.previous) / STATE
    if not path.is_file():
        raise RunError(
            f"{settings.previous} holds no delivery", hint="give the folder of a delivery that was no dry run"
        )
    table = pl.read_parquet(path)
    return {
        (name, key): json.loads(row) for name, key, row in table.select("object", "key", "row").iter_rows()
    }


def _write_state(before: State, sending: dict[str, list[Row]], loads: Sequence[Load], folder: Path) -> int:
    """Write what the target holds now: the rows from before, overwritten by what was sent."""
    now = dict(before)
    for load in loads:
        now |= {(load.name, row[load.key]): row for row in sending[load.name]}
    keys = sorted(now)
    table = pl.DataFrame(
        {
            "object": pl.Series([k[0] for k in keys], dtype=pl.String),
            "key": pl.Series([k[1] for k in keys], dtype=pl.String),
            "row": pl.Series([json.dumps(now[k], ensure_ascii=False) for k in keys], dtype=pl.String),
        }
    )
    with whole_file(folder / STATE) as draft:
        table.write_parquet(draft, compression="zstd")
    if not pl.read_parquet(folder / STATE).equals(table):
        raise DeliveryError(f"{STATE} is not there as written", hint="deliver again")
    return table.height
