"""Value and targeting: what cases are worth by an imported column, beside how they behave and what they cost.

Value is never inferred from engagement: a column that repeats the number of events or contacts is refused.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from behavio.durations import seconds
from behavio.errors import LogError, RunError
from behavio.files import read_json, write_json
from behavio.log import EventLog
from behavio.touches import touches
from behavio.value.figures import COSTS, cells, costs, quotient
from behavio.value.levels import levels_of
from behavio.value.policy import POLICY, as_toml, policy
from behavio.value.settings import ValueSettings

__all__ = ["Value", "ValueSettings", "as_toml", "quotient", "read_value", "value", "write_value"]
TABLES = ("cells", "costs", "policy", "cases")


@dataclass(frozen=True, eq=False)
class Value:
    """cells: value × behaviour · costs: per contact and per answer · policy: what the figures speak for ·
    cases: case_id, told, level · levels from the least to the most valuable."""

    cells: pl.DataFrame
    costs: pl.DataFrame
    policy: pl.DataFrame
    cases: pl.DataFrame
    levels: tuple[str, ...]
    currency: str
    notes: tuple[str, ...] = ()

    def to_frame(self) -> pl.DataFrame:
        """One row per cell."""
        return self.cells


def value(log: EventLog, groups: pl.DataFrame | None, settings: ValueSettings) -> Value:
    """Value beside behaviour. Raises JobError for a column that says no value, LogError without contacts."""
    table, levels, notes = levels_of(log, settings)
    if not log.timed:
        raise LogError("a log without a clock has no contacts in time", hint="leave [value] out")
    contacts = touches(log.events, settings.response_within, settings.responses)
    newest: dt.datetime = log.events["timestamp"].max()  # type: ignore[assignment]
    first: dt.datetime = log.events["timestamp"].min()  # type: ignore[assignment]
    since = newest - dt.timedelta(seconds=seconds(settings.last))
    contacts = contacts.filter(pl.col("timestamp") > since)
    months = (newest - max(since, first)).total_seconds() / (28 * 86_400)
    people = table.select("case_id", "level").with_columns(segment=pl.lit(None, dtype=pl.String))
    if groups is not None:
        own = groups.select(pl.col("case_id").cast(pl.String), pl.col("segment").cast(pl.String))
        people = table.select("case_id", "level").join(own.unique("case_id"), on="case_id", how="left")
    else:
        notes.append("the run has no groups: behaviour is not told apart")
    made = cells(people, contacts, max(months, 1e-9))
    price = {str(k): float(v) for k, v in settings.costs.items()}
    spent = costs(contacts, people, price) if price else pl.DataFrame(schema=COSTS)
    if not price:
        notes.append("no costs are named (costs in [value])")
    proposed = (
        policy(log, people, contacts, made, levels, price)
        if groups is not None
        else pl.DataFrame(schema=POLICY)
    )
    if log.consents.height == 0:
        notes.append("no consents are known: who may be contacted is not checked")
    return Value(made, spent, proposed, table, levels, settings.currency, tuple(notes))


def write_value(
    log: EventLog,
    groups: pl.DataFrame | None,
    settings: ValueSettings,
    folder: Path,
    progress: Callable[[str, float], None],
) -> dict[str, Any]:
    """cells, costs, policy and cases as Parquet; facts.json with levels, currency and notes."""
    progress("value", 0.0)
    try:
        found = value(log, groups, settings)
    except LogError as problem:
        write_json(
            folder / "facts.json", {"levels": [], "currency": "", "notes": [f"{problem}: {problem.hint}"]}
        )
        return {"rows_in": log.cases.height, "rows_out": 0, "note": str(problem)}
    for name in TABLES:
        getattr(found, name).write_parquet(folder / f"{name}.parquet")
    told = {"column": settings.column, "levels": list(found.levels), "currency": found.currency}
    write_json(folder / "facts.json", told | {"notes": list(found.notes)})
    return {"rows_in": log.cases.height, "rows_out": found.cells.height, "levels": list(found.levels)}


def read_value(folder: Path) -> Value:
    """What `write_value` left. Raises RunError with its reason when there was nothing to say."""
    told = read_json(folder / "facts.json")
    if not (folder / "cells.parquet").is_file():
        raise RunError(told["notes"][0], hint="look at behavio check")
    made, spent, proposed, cases = (pl.read_parquet(folder / f"{t}.parquet") for t in TABLES)
    return Value(made, spent, proposed, cases, tuple(told["levels"]), told["currency"], tuple(told["notes"]))
