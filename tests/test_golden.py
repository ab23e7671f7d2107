"""Golden extracts: small files written by hand, and the rows that must come out of them worked out by hand.

`tests/golden/<kind>/` holds for every built-in mapping

    the extracts under their usual names   Call2_vod__c.csv, Product_vod__c.csv, …
    expected.csv    every row of the table that the mapping's role fills (events, cases, consents, plan,
                    affiliations) in its order, with the columns its header names; an empty cell is null,
                    times are UTC, a last column `because` says in words what the row shows
    expected.json   {"read": n, "left_out": {why: rows}, "rejected": {row of the file: reason},
                     "notes": [words that a note must contain], "never": [words that may appear nowhere]}
    job.toml        further settings of the source, where it needs any
"""

from __future__ import annotations

import csv
import json
import tomllib
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from behavio.log import EventLog, SourceCount
from behavio.sources import (
    AffiliationSettings,
    CasesSettings,
    ConsentSettings,
    LogInputs,
    LogSettings,
    PlanSettings,
    SourceSettings,
    built_in,
    read_log,
)
from behavio.sources.mapping import load_mapping

SETTINGS: dict[str, type[Any]] = {
    "cases": CasesSettings,
    "consents": ConsentSettings,
    "plan": PlanSettings,
    "affiliations": AffiliationSettings,
}
GOLDEN = Path(__file__).parent / "golden"
KINDS = sorted(p.name for p in GOLDEN.iterdir() if p.is_dir())


@dataclass(frozen=True)
class Expected:
    """What expected.json says."""

    read: int
    left_out: dict[str, int] = field(default_factory=dict)
    rejected: dict[str, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    never: list[str] = field(default_factory=list)


def test_every_mapping_has_golden_files() -> None:
    assert sorted(built_in()) == KINDS


@pytest.mark.parametrize("kind", KINDS)
def test_golden_files_give_the_rows_worked_out_by_hand(kind: str, tmp_path: Path) -> None:
    table, count, log = read_golden(kind, tmp_path)
    with (GOLDEN / kind / "expected.csv").open(encoding="utf-8", newline="") as file:
        wanted = [{k: v for k, v in row.items() if k != "because"} for row in csv.DictReader(file)]
    assert wanted, "expected.csv has no row"
    assert [{c: as_written(row.get(c)) for c in wanted[0]} for row in table.to_dicts()] == wanted
    expected = Expected(**json.loads((GOLDEN / kind / "expected.json").read_text(encoding="utf-8")))
    rejected = log.rejected.filter(pl.col("source") == count.name)
    assert {str(r["row"]): r["reason"] for r in rejected.to_dicts()} == expected.rejected
    assert dict(count.left_out) == expected.left_out
    assert (count.read, count.accepted) == (expected.read, len(wanted))
    assert count.read == count.accepted + count.rejected + count.merged
    for words in expected.notes:
        assert any(words in note for note in count.notes), (words, count.notes)
    everything = str(table.rows()) + str(log.rejected.rows())
    assert not [word for word in expected.never if word in everything]


def read_golden(kind: str, folder: Path) -> tuple[pl.DataFrame, SourceCount, EventLog]:
    """The table of the kind's role, its counts, and the whole log."""
    own = GOLDEN / kind
    mapping = load_mapping(None, kind, Path())
    role, rule = mapping.role, LogSettings(case="patient" if mapping.patients else "person")
    more: dict[str, Any] = {}
    if (own / "job.toml").is_file():
        more = tomllib.loads((own / "job.toml").read_text(encoding="utf-8"))
    more = {k: tuple(v) if isinstance(v, list) else v for k, v in more.items()}
    settings: dict[str, Any] = {"path": str(own), "kind": kind} | more
    if role == "events":
        log = read_log(LogInputs({"golden": SourceSettings(**settings)}, folder, log=rule))
        return log.events, log.sources[0], log
    (folder / "stub.csv").write_text("case_id,activity,timestamp\nstub,x,2026-01-01 00:00\n")
    inputs = LogInputs({"stub": SourceSettings(path="stub.csv")}, folder, log=rule)
    log = read_log(replace(inputs, **{role: SETTINGS[role](**settings)}))
    return getattr(log, role).filter(pl.col("case_id") != "stub"), log.sources[1], log


def as_written(value: Any) -> str:
    """A cell as expected.csv writes it."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    if hasattr(value, "strftime"):
        return str(value.strftime("%Y-%m-%d %H:%M:%S"))
    return str(value)
