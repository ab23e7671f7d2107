"""From the tables of a run to the rows a CRM takes, and the rows that may not go.

Rules that guard people are asked again at this door, on the consents of the run: an opt-in must last as
long as the suggestion lives. Columns of suggestions are the load columns of `Suggestion_vod__c`; the
external id is the key, the record type goes by name.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import polars as pl

from behavio import __version__
from behavio.errors import RunError
from behavio.files import read_json
from behavio.suggest.candidates import privacy_flags
from behavio.suggest.consents import about_product, consent_states, product_states, spoken_of
from behavio.suggest.plan import day_of
from behavio.suggest.reasons import contact_name
from behavio.targets.csvfiles import Row
from behavio.targets.settings import LABEL_COLUMNS, DeliverSettings
from behavio.words import shorten

SUGGESTION_COLUMNS = (
    "Suggestion_External_Id_vod__c",
    "OwnerId",
    "Account_vod__c",
    "Record_Type_Name_vod__c",
    "Title_vod__c",
    "Reason_vod__c",
    "Priority_vod__c",
    "Posted_Date_vod__c",
    "Expiration_Date_vod__c",
    "Run_Id__c",
    "Model_Version__c",
    "Consent_Checked_At__c",
    "Legal_Basis__c",
)
SUGGESTION_IDS = ("Suggestion_External_Id_vod__c", "OwnerId", "Account_vod__c")
RECORD_TYPES = {"email": "Email_vod", "f2f": "Call_vod", "video": "Call_vod", "phone": "Call_vod"}
"""Record type by channel; any other action is an insight."""

STAMPS = ("run_id", "model_version", "consent_checked_at")
PRIORITIES = {"urgent": "Urgent_vod", "normal": "Normal_vod"}
TITLE_WIDTH = 80


@dataclass(frozen=True, slots=True)
class Load:
    """The rows of one object: its file, its key column, what may go and what may not (with a reason).

    exact    columns whose cells are never guarded against spreadsheets: ids
    stamps   columns that say when and by what, not what: no reason to send a row again
    """

    name: str
    file: str
    key: str
    columns: tuple[str, ...]
    exact: tuple[str, ...]
    stamps: tuple[str, ...]
    case_column: str
    owner_column: str
    about_column: str
    rows: tuple[Row, ...]
    rejected: tuple[tuple[Row, str], ...]


@dataclass(frozen=True, slots=True, eq=False)
class RunTables:
    """What a delivery needs of a run."""

    run_id: str
    model_version: str
    as_of: int
    segments: pl.DataFrame | None
    suggestions: pl.DataFrame | None
    suppressed: pl.DataFrame | None
    cases: pl.DataFrame
    consents: pl.DataFrame
    medical: frozenset[str] = frozenset()
    """People who appear in the log for the medical team only: no promotional suggestion goes to them."""


def read_run(run: Path) -> RunTables:
    """Read the tables of a run; RunError when there is nothing to deliver.

    The run id is made from the content of the labels and suggestions, so the same result has the same id.
    """
    paths = {n: run / f for n, f in (("segments", "segments/segments.parquet"),)}
    paths |= {n: run / "suggestions" / f"{n}.parquet" for n in ("suggestions", "suppressed")}
    found = {n: pl.read_parquet(p) if p.is_file() else None for n, p in paths.items()}
    if found["segments"] is None and found["suggestions"] is None:
        raise RunError(f"{run} holds neither segments nor suggestions", hint="run the job first")
    digest = hashlib.sha256()
    for name in ("segments", "suggestions"):
        digest.update(b"-" if found[name] is None else paths[name].read_bytes())
    metrics = run / "models" / "metrics.json"
    model = str(read_json(metrics).get("default", "")) if metrics.is_file() else ""
    log = run / "log"
    if not (log / "events.parquet").is_file():
        raise RunError(f"{run} holds no log", hint="give the folder that behavio run wrote")
    newest = pl.scan_parquet(log / "events.parquet").select(pl.col("timestamp").dt.epoch("us").max())
    return RunTables(
        run_id=digest.hexdigest()[:16],
        model_version=f"behavio {__version__} {model}".strip(),
        as_of=int(newest.collect().item()),
        cases=pl.read_parquet(log / "cases.parquet"),
        consents=pl.read_parquet(log / "consents.parquet"),
        medical=_medical(log / "events.parquet"),
        **found,
    )


def _medical(path: Path) -> frozenset[str]:
    events = pl.scan_parquet(path)
    if not {"actor_id", "team"} <= set(events.collect_schema().names()):
        return frozenset()
    teams = events.filter(pl.col("actor_id").is_not_null()).group_by(pl.col("actor_id").cast(pl.String))
    only = teams.agg((pl.col("team") == "medical").fill_null(False).all().alias("medical"))
    return frozenset(only.filter("medical").select("actor_id").collect()["actor_id"].to_list())


def label_rows(tables: RunTables, settings: DeliverSettings) -> Load:
    """One row per case with a segment; cases that objected to the use of their data may not go."""
    names = [n for n in LABEL_COLUMNS if n != "legal_basis" or settings.legal_basis is not None]
    columns = tuple(settings.label_column(n) for n in names)
    stamp = _stamp(tables, settings)
    objected = privacy_flags(tables.cases)
    rows, rejected = [], []
    frame = tables.segments.sort("case_id") if tables.segments is not None else pl.DataFrame()
    for s in frame.iter_rows(named=True):
        values = {
            "case_id": str(s["case_id"]),
            "segment": _text(s["segment"]),
            "strength": f"{s['strength']:.4f}" if s["strength"] is not None else "",
            **stamp,
        }
        row = {settings.label_column(n): values[n] for n in names}
        if s["case_id"] in objected:
            rejected.append((row, "privacy_opt_out: the person objected to the use of personal data"))
        elif s["segment_id"] == -1:
            rejected.append((row, "unassigned: the case fits no segment"))
        else:
            rows.append(row)
    key = settings.label_column("case_id")
    stamps = tuple(settings.label_column(n) for n in STAMPS)
    load = Load(
        name="segment",
        file="segment_labels.csv",
        key=key,
        columns=columns,
        exact=(key,),
        stamps=stamps,
        case_column=key,
        owner_column="",
        about_column=settings.label_column("segment"),
        rows=tuple(rows),
        rejected=tuple(rejected),
    )
    return _once(load)


def suggestion_rows(tables: RunTables, settings: DeliverSettings) -> Load:
    """One row per suggestion that may go, best first for every owner's cap."""
    columns = SUGGESTION_COLUMNS if settings.legal_basis is not None else SUGGESTION_COLUMNS[:-1]
    frame = tables.suggestions if tables.suggestions is not None else pl.DataFrame()
    refused = refused_channels(tables, frame)
    objected = privacy_flags(tables.cases)
    stamp = _stamp(tables, settings)
    per_owner: Counter[str] = Counter()
    rows, rejected = [], []
    if frame.height:
        frame = frame.sort("owner_id", "rank", "due_from", "suggestion_id", nulls_last=True)
    for s in frame.iter_rows(named=True):
        row = _suggestion_row(s, day_of(tables.as_of).isoformat(), stamp)
        row = {c: row[c] for c in columns}
        problem = _problem(s, refused, objected, tables.medical)
        if not problem and per_owner[s["owner_id"]] >= settings.max_per_owner:
            problem = f"owner_full: the owner already gets {settings.max_per_owner} suggestions"
        if problem:
            rejected.append((row, problem))
        else:
            per_owner[s["owner_id"]] += 1
            rows.append(row)
    load = Load(
        name="suggestion",
        file="suggestions.csv",
        key=SUGGESTION_COLUMNS[0],
        columns=columns,
        exact=SUGGESTION_IDS,
        stamps=SUGGESTION_COLUMNS[-4:-1],
        case_column="Account_vod__c",
        owner_column="OwnerId",
        about_column="Title_vod__c",
        rows=tuple(rows),
        rejected=tuple(rejected),
    )
    return _once(load)


def _suggestion_row(s: dict[str, Any], posted: str, stamp: Row) -> Row:
    about = f": {s['message']}" if s["message"] else f": {s['brand']}" if s["brand"] else ""
    name = contact_name(s["action"])
    return {
        "Suggestion_External_Id_vod__c": s["suggestion_id"],
        "OwnerId": _text(s["owner_id"]),
        "Account_vod__c": s["case_id"],
        "Record_Type_Name_vod__c": RECORD_TYPES.get(s["channel"] or "", "Insight_vod"),
        "Title_vod__c": shorten(f"{name[:1].upper()}{name[1:]}{about}", TITLE_WIDTH),
        "Reason_vod__c": _text(s["reason"]),
        "Priority_vod__c": PRIORITIES.get(s["priority"], "Normal_vod"),
        "Posted_Date_vod__c": posted,
        "Expiration_Date_vod__c": s["expires_on"].isoformat(),
        "Run_Id__c": stamp["run_id"],
        "Model_Version__c": stamp["model_version"],
        "Consent_Checked_At__c": stamp["consent_checked_at"],
        "Legal_Basis__c": stamp["legal_basis"],
    }


def _problem(
    s: dict[str, Any],
    refused: dict[tuple[str, str, str], str],
    objected: set[str],
    medical: frozenset[str],
) -> str:
    """Why a suggestion may not go; empty when it may."""
    if not s["owner_id"]:
        return "missing_owner: no sales contact owns this case"
    if s["case_id"] in objected:
        return "privacy_opt_out: the person objected to the use of personal data"
    if s["owner_id"] in medical:
        return "medical_owner: the owner works for the medical team only"
    state = refused.get((s["case_id"], s["channel"], s["brand"] or ""))
    if state is not None:
        return f"no_consent: the consent for {s['channel']} is {state}"
    return "missing_reason: it does not explain itself" if not s["reason"] else ""


def refused_channels(tables: RunTables, frame: pl.DataFrame) -> dict[tuple[str, str, str], str]:
    """(case, channel, brand) whose consent does not hold until the suggestions expire, and its state.

    brand is "" for rows about no product.
    """
    if frame.height == 0:
        return {}
    channels = frame["channel"].drop_nulls().unique().sort().to_list()
    until = int(frame["expires_on"].cast(pl.Datetime("us")).dt.epoch("us").max())  # type: ignore[arg-type]
    states = consent_states(tables.consents, channels, tables.as_of, until)
    brand = pl.col("brand") if "brand" in frame.columns else pl.lit(None)
    asked = frame.select("case_id", "channel", brand=brand.cast(pl.String)).unique()
    asked = asked.join(states, on=["case_id", "channel"], how="left")
    asked = about_product(asked, product_states(tables.consents, channels, tables.as_of, until))
    needed = pl.col("channel").is_in(list(spoken_of(tables.consents)))
    bad = asked.filter(
        (pl.col("consent") != "granted").fill_null(False) | (pl.col("consent").is_null() & needed)
    )
    named = bad.with_columns(pl.col("brand").fill_null(""), pl.col("consent").fill_null("missing"))
    return {
        (case, channel, product): state
        for case, channel, product, state in named.select(
            "case_id", "channel", "brand", "consent"
        ).iter_rows()
    }


def _stamp(tables: RunTables, settings: DeliverSettings) -> Row:
    """What every exported row carries."""
    return {
        "run_id": tables.run_id,
        "model_version": tables.model_version,
        "consent_checked_at": day_of(tables.as_of).isoformat(),
        "legal_basis": settings.legal_basis or "",
    }


def _once(load: Load) -> Load:
    """The same load with every key once; later rows with a key already used are rejected."""
    seen: set[str] = set()
    rows, rejected = [], list(load.rejected)
    for row in load.rows:
        if row[load.key] in seen:
            rejected.append((row, "duplicate_key: an earlier row has the same key"))
        else:
            seen.add(row[load.key])
            rows.append(row)
    return replace(load, rows=tuple(rows), rejected=tuple(rejected))


def _text(value: str | None) -> str:
    return "" if value is None else value
