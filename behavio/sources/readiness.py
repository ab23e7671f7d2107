"""Data readiness: what is there, what is missing, what was rejected and why."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import numpy as np
import polars as pl

from behavio.log import ATTRIBUTES, EventLog
from behavio.sources.smells import findings


def readiness(log: EventLog) -> dict[str, Any]:
    """Facts about a log that decide how far its results can be trusted, JSON-able.

    sources     per source: rows read, accepted, rejected, merged, repeats, first and last event, notes,
                `left_out` {reason: rows}, `rejected_reasons` [{reason, column, hint, rows, example_row}]
    attributes  per canonical attribute: share of events that have it (0 when the log lacks it)
    events      events, cases, activities, events per case (median, 95 %), one-event cases, repeats, span
    findings    what smells: finding, where, n, of, means (for the results), do; see `smells`
    notes       what to look at before believing a number
    """
    events = log.events
    lengths = events["case_id"].rle().struct.field("len").to_numpy()
    facts: dict[str, Any] = {
        "timed": log.timed,
        "n_events": log.n_events,
        "n_cases": len(lengths),
        "n_known_cases": log.cases.height,
        "n_activities": events["activity"].n_unique(),
        "n_rejected": log.rejected.height,
        "n_repeats": sum(s.repeats for s in log.sources),
        "n_consents": log.consents.height,
        "events_per_case": {
            "median": float(np.median(lengths)),
            "p95": float(np.quantile(lengths, 0.95)),
            "max": int(np.max(lengths)),
        },
        "one_event_cases": int((lengths == 1).sum()),
        "ties": _ties(events),
        "first": _iso(events["timestamp"].min()) if log.timed else "",
        "last": _iso(events["timestamp"].max()) if log.timed else "",
        "sources": [asdict(s) | {"rejected_reasons": _reasons(log, s.name)} for s in log.sources],
        "attributes": _filled(events),
        "activities": events["activity"]
        .value_counts(sort=True)
        .sort("count", "activity", descending=[True, False])
        .head(50)
        .to_dicts(),
    }
    return facts | {"findings": findings(log), "notes": _notes(log, facts)}


def _filled(events: pl.DataFrame) -> dict[str, float]:
    """Share of events that have each attribute, 0–1."""
    wanted = [a for a in ATTRIBUTES if a not in ("source", "source_file", "source_row")]
    here = [a for a in wanted if a in events.columns]
    counts = events.select(pl.col(here).count()).row(0) if here else ()
    found = dict(zip(here, counts, strict=True))
    return {a: round(found.get(a, 0) / events.height, 4) for a in wanted}


def _reasons(log: EventLog, source: str) -> list[dict[str, Any]]:
    rows = log.rejected.filter(pl.col("source") == source)
    counted = rows.group_by("reason", "column", "hint").agg(
        pl.len().alias("rows"), pl.col("row").min().alias("example_row")
    )
    return counted.sort("rows", "reason", "column", "hint", descending=[True, False, False, False]).to_dicts()


def _ties(events: pl.DataFrame) -> int:
    """Events at the very time of the case's event before: their order is that of the source."""
    same = (pl.col("case_id") == pl.col("case_id").shift()) & (
        pl.col("timestamp") == pl.col("timestamp").shift()
    )
    return int(events.select(same.sum()).item())


def _notes(log: EventLog, facts: dict[str, Any]) -> list[str]:
    notes = [f"{s.name}: {n}" for s in log.sources for n in s.notes]
    if not log.timed:
        notes.append("the log has an order but no clock: times only count positions")
    if facts["n_cases"] == 1:
        notes.append("the log has a single case: nothing can be compared")
    if facts["n_activities"] == 1:
        notes.append("the log has a single activity: sequences carry only times")
    if facts["one_event_cases"] > 0.5 * facts["n_cases"]:
        share = facts["one_event_cases"] / facts["n_cases"]
        notes.append(f"{share:.0%} of the cases have one event: no step can be learned from them")
    return notes


def _iso(time: Any) -> str:
    return time.isoformat() if time is not None else ""
