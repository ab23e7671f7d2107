"""Files for other people's loaders: Data Loader and Vault Loader (CSV with a mapping), SFMC data extensions.

Nothing is asked of a live system, so every row goes each time: the loader upserts by the key. Free text
that a spreadsheet would run gets an apostrophe; ids and dates stay as they are.
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import polars as pl

from behavio.errors import DeliveryError, JobError
from behavio.files import whole_file, write_json
from behavio.targets.csvfiles import sha256_of
from behavio.targets.delivery import safe
from behavio.targets.facts import Facts
from behavio.targets.mapping import CrmMapping, ObjectMapping
from behavio.targets.receipt import Receipt
from behavio.targets.rows import read_run, refused_channels
from behavio.targets.settings import DeliverSettings
from behavio.targets.wire import PROBLEM, cells

NULL = "#N/A"
SFMC_FILE = "data_extension.csv"
SFMC = {
    "SubscriberKey": ("Text", 254),
    "Segment": ("Text", 120),
    "SegmentStrength": ("Decimal", 18),
    "SuggestedMessage": ("Text", 255),
    "Brand": ("Text", 120),
    "SendFrom": ("Date", 0),
    "SendUntil": ("Date", 0),
    "SuggestionId": ("Text", 64),
    "RunId": ("Text", 40),
    "ModelVersion": ("Text", 80),
    "ConsentCheckedAt": ("Date", 0),
}
"""Columns of the data extension: type and length; SubscriberKey is the primary key."""


def deliver_loader(run: Path, settings: DeliverSettings, mapping: CrmMapping, folder: Path) -> Receipt:
    """Write one CSV and one mapping per object of the mapping file, in the order to load them.

    Errors: RunError when the run cannot be read, DeliveryError when a file is not as written.
    """
    if mapping.system == "sql":
        raise JobError("a database needs no loader files", hint="--target sql, or another mapping")
    tables = read_run(run)
    facts = Facts(tables, run, settings.legal_basis)
    files: dict[str, int] = {}
    reasons: Counter[str] = Counter()
    rows = 0
    withheld: set[str] = set()
    for number, one in enumerate(mapping.objects, start=1):
        good, bad = _rows(one, facts, withheld)
        reasons.update(bad[PROBLEM].str.extract(r"^(\w+)").to_list())
        name = f"{number:02d}_{one.object}"
        files[f"{name}.csv"] = good.height
        if not settings.dry_run:
            _write(folder / f"{name}.csv", _guarded(one, good, mapping.system))
            _write_mapping(folder / name, one, mapping.system)
            _write(folder / f"{name}_rejected.csv", bad.with_columns(safe(pl.all())))
        rows += good.height
    return _receipt(settings, tables.run_id, folder, rows, reasons, files)


def _rows(one: ObjectMapping, facts: Facts, withheld: set[str]) -> tuple[pl.DataFrame, pl.DataFrame]:
    parts = []
    for chunk in facts.chunks(one.rows):
        if one.rows == "tags":
            held = pl.col("suggestion_id").is_in(sorted(withheld))
            said = pl.when(held).then(pl.lit("suggestion_withheld: its suggestion does not go"))
            chunk = chunk.with_columns(problem=pl.coalesce("problem", said))
        made = cells(chunk, one, {})
        if one.rows == "suggestions":
            withheld |= set(chunk["suggestion_id"].filter(made[PROBLEM].is_not_null()).to_list())
        parts.append(made.select(*one.names, PROBLEM))
    schema = dict.fromkeys([*one.names, PROBLEM], pl.String)
    table = pl.concat(parts) if parts else pl.DataFrame(schema=schema)
    order = [c for c in (one.parent, one.key) if c]
    return table.filter(pl.col(PROBLEM).is_null()).drop(PROBLEM).sort(order), table.filter(
        pl.col(PROBLEM).is_not_null()
    )


def _guarded(one: ObjectMapping, rows: pl.DataFrame, system: str) -> pl.DataFrame:
    """Text made harmless, nulls that clear written as the loader takes them, names instead of ids marked."""
    free = {
        "title",
        "reason",
        "segment",
        "message",
        "brand",
        "tag_driver",
        "tag_brand",
        "rationals",
        "metrics",
    }
    made = []
    for c in one.columns:
        cell = safe(pl.col(c.name)) if set(c.names) & free else pl.col(c.name)
        if c.null == "clear" and system == "salesforce":
            cell = cell.fill_null(NULL)
        made.append(cell.alias(f"{c.name} by name" if c.resolve is not None else c.name))
    return rows.select(made)


def _write(path: Path, rows: pl.DataFrame) -> None:
    with whole_file(path) as draft:
        rows.write_csv(draft, quote_style="always", line_terminator="\n")
    back = pl.read_csv(path, infer_schema=False) if rows.height else rows
    if back.height != rows.height:
        raise DeliveryError(
            f"{path.name} holds {back.height} rows, {rows.height} were written", hint="deliver again"
        )


def _write_mapping(path: Path, one: ObjectMapping, system: str) -> None:
    """An .sdl file for Data Loader (CSV column = field), a task for Vault Loader."""
    if system == "vault":
        task = {
            "object_type": "vobjects__v",
            "object": one.object,
            "action": one.operation,
            "file": f"{path.name}.csv",
            "idparam": one.key,
            "order": int(path.name[:2]),
        }
        write_json(path.with_name(f"{path.name}.json"), [task])
        return
    lines = [f"# {one.operation} {one.object} by {one.key}"]
    for c in one.columns:
        if c.resolve is None:
            lines.append(f"{c.name}={c.name.replace('.', chr(92) + ':')}")
        else:
            lines.append(
                f"# {c.name}: the file holds names; look up the ids in {c.resolve[0]}.{c.resolve[1]} first"
            )
    with whole_file(path.with_name(f"{path.name}.sdl")) as draft:
        draft.write_text("\n".join(lines) + "\n", encoding="utf-8")


def deliver_sfmc(run: Path, settings: DeliverSettings, folder: Path) -> Receipt:
    """Write one row per person who may get mail: the label, and the mail suggested, if any.

    Beside it data_extension.json says how to make the data extension. People without consent for e-mail, and
    those who objected, are in no row. Errors: as deliver_loader.
    """
    tables = read_run(run)
    facts = Facts(tables, run, settings.legal_basis)
    labels = pl.concat(list(facts.chunks("labels")) or [pl.DataFrame(schema=LABELS)], how="diagonal")
    asked = labels.select("case_id", channel=pl.lit("email"), expires_on=pl.lit(facts.day))
    refused = {case for case, _, _ in refused_channels(tables, asked)}
    said = pl.when(pl.col("case_id").is_in(sorted(refused))).then(pl.lit("no_consent"))
    problem = pl.coalesce(pl.col("problem").cast(pl.String).str.extract(r"^(\w+)"), said)
    labels = labels.with_columns(problem=problem)
    mails = facts.suggestions()
    if mails.height:
        mails = mails.filter((pl.col("channel") == "email") & pl.col("problem").is_null())
        best = mails.sort("case_id", "rank", "suggestion_id").unique(
            "case_id", keep="first", maintain_order=True
        )
        names = ("case_id", "suggestion_id", "message", "brand", "due_from", "due_to")
        labels = labels.join(best.select(names), on="case_id", how="left", maintain_order="left")
    rows = labels.filter(pl.col("problem").is_null())
    sources = ("case_id", "segment", "strength", "message", "brand", "due_from", "due_to", "suggestion_id")
    made = []
    for name, source in zip(SFMC, (*sources, "run_id", "model_version", "consent_checked_at"), strict=True):
        cell = pl.col(source) if source in rows.columns else pl.lit(None)
        cell = cell.cast(pl.String)
        made.append((safe(cell) if source in ("segment", "message", "brand") else cell).alias(name))
    reasons = Counter(labels["problem"].drop_nulls().to_list())
    if not settings.dry_run:
        _write(folder / SFMC_FILE, rows.select(made))
        fields = [
            {
                "Name": n,
                "FieldType": k,
                "IsPrimaryKey": n == "SubscriberKey",
                **({"MaxLength": m} if m else {}),
            }
            for n, (k, m) in SFMC.items()
        ]
        write_json(folder / "data_extension.json", {"Fields": fields, "Encoding": "UTF-8", "Delimiter": ","})
    return _receipt(settings, tables.run_id, folder, rows.height, reasons, {SFMC_FILE: rows.height})


LABELS = dict.fromkeys(
    ("case_id", "segment", "strength", "problem", "run_id", "model_version", "consent_checked_at"), pl.String
)


def _receipt(
    settings: DeliverSettings,
    run_id: str,
    folder: Path,
    rows: int,
    reasons: Counter[str],
    files: dict[str, int],
) -> Receipt:
    dry = settings.dry_run
    receipt = Receipt(
        target=settings.target,
        dry_run=dry,
        run_id=run_id,
        planned=rows,
        create=rows,
        update=0,
        unchanged=0,
        sent=0 if dry else rows,
        confirmed=0 if dry else rows,
        rejected=reasons.total(),
        suppressed=0,
        rejected_by_reason=dict(sorted(reasons.items(), key=lambda item: (-item[1], item[0]))),
        files={} if dry else {n: {"rows": k, "sha256": sha256_of(folder / n)} for n, k in files.items()},
    )
    receipt.write(folder / "receipt.json")
    return receipt
