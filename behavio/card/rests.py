"""What a run is for and what it rests on: its job, its data, what was left out, what is sensitive."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import polars as pl

from behavio.card.line import Line, table, told
from behavio.sensitive import sensitive_columns

MOST = 4
"""Reasons named one by one."""


def purpose(job: Mapping[str, Any]) -> list[Line]:
    """Why there is this run, and who answers for it."""
    own, groups = job.get("card") or {}, job.get("segments") or {}
    owner = own.get("owner") or groups.get("owner")
    review = own.get("review") or groups.get("review")
    said = own.get("purpose")
    stages = [s for s in ("model", "segments", "stages", "perceptions", "patterns", "suggest") if job.get(s)]
    part = "Purpose"
    return [
        Line(part, "For", said or "unknown: the job names none ([card] purpose)", said),
        Line(part, "Owner", owner or "unknown: the job names none ([card] owner)", owner),
        Line(part, "Review", f"due on {review}" if review else "unknown: no day is set", review),
        Line(
            part, "Makes", f"job {job['name']}, seed {job['seed']}: {', '.join(stages) or 'counts'}", stages
        ),
    ]


def data(run: Path, job: Mapping[str, Any]) -> list[Line]:
    """How much was read, of whom, over which time."""
    ready = told(run, "log/readiness.json")
    sources = ready.get("sources", [])
    events = [s for s in sources if s.get("role") == "events"]
    spans = [s[k][:10] for s in events for k in ("first", "last") if s[k]]
    span = f", {min(spans)} to {max(spans)}" if spans else ", in order, without a clock"
    part = "Data"
    lines = [
        Line(
            part,
            "Log",
            f"{ready.get('n_events', 0):,} events of {ready.get('n_cases', 0):,} cases{span}",
            {"events": ready.get("n_events"), "cases": ready.get("n_cases")},
        )
    ]
    for role in dict.fromkeys(s.get("role", "events") for s in sources):
        own = [s for s in sources if s.get("role", "events") == role]
        read, used = sum(s["read"] for s in own), sum(s["accepted"] for s in own)
        names = ", ".join(s["name"] for s in own)
        lines.append(Line(part, role.capitalize(), f"{used:,} of {read:,} rows used ({names})", used))
    lines.append(_known(run, job))
    return lines


def _known(run: Path, job: Mapping[str, Any]) -> Line:
    """Attributes of cases that models read beside the events."""
    cases = table(run, "log/cases.parquet")
    have = set() if cases is None else set(cases.columns) - {"case_id"}
    named = [
        *((job.get("model") or {}).get("attributes") or ()),
        *((job.get("perceptions") or {}).get("attributes") or ()),
    ]
    used = sorted({str(n) for n in named} & have) if job.get("model") or job.get("perceptions") else []
    text = ", ".join(used) if used else "none: events alone"
    return Line("Data", "Attributes learned from", text, used)


def left_out(run: Path, job: Mapping[str, Any]) -> list[Line]:
    """Rows, cases and suggestions that are not in what was found, and why."""
    ready, part = told(run, "log/readiness.json"), "Exclusions"
    why: Counter[str] = Counter()
    for source in ready.get("sources", []):
        why.update(source.get("left_out") or {})
    lines = [_reasons("Rows that are no event of their own", "left out", why)]
    rejected = table(run, "log/rejected.parquet")
    refused: Counter[str] = Counter()
    if rejected is not None and rejected.height:
        refused.update(dict(rejected.group_by("reason").len().iter_rows()))
    lines.append(_reasons("Rows that could not be read", "rejected", refused))
    excluded = (job.get("log") or {}).get("exclude")
    if excluded:
        lines.append(Line(part, "Left out by the job", str(excluded), excluded))
    erased = len(told(run, ".stages/erased.json").get("hashes", []))
    if erased:
        lines.append(Line(part, "Erased on request", f"{erased:,} people", erased))
    held = table(run, "suggestions/suppressed.parquet")
    if held is not None:
        rules = Counter(dict(held.group_by("reason").len().iter_rows()))
        lines.append(_reasons("Suggestions held back", "held back", rules))
    return lines


def _reasons(what: str, verb: str, why: Counter[str]) -> Line:
    """A total and its most frequent reasons."""
    total = sum(why.values())
    if not total:
        return Line("Exclusions", what, "none", 0)
    most = sorted(why.items(), key=lambda kv: (-kv[1], kv[0]))
    said = "; ".join(f"{reason} {n:,}" for reason, n in most[:MOST])
    more = sum(n for _, n in most[MOST:])
    return Line(
        "Exclusions", what, f"{total:,} {verb}: {said}" + (f"; other reasons {more:,}" if more else ""), total
    )


def sensitive(run: Path, job: Mapping[str, Any]) -> list[Line]:
    """Columns that seem to say who a person is: allowed by name, or kept out."""
    cases = table(run, "log/cases.parquet")
    found = sensitive_columns([] if cases is None else cases.columns)
    named = tuple((job.get("card") or {}).get("sensitive") or ())
    used = {c: k for c, k in found.items() if c in named}
    kept = {c: k for c, k in found.items() if c not in named}
    part = "Sensitive attributes"

    def listed(columns: dict[str, str]) -> str:
        return ", ".join(f"{c} ({kind})" for c, kind in columns.items())

    if not found:
        return [Line(part, "In the data", "none by the names of the columns", [])]
    lines = [Line(part, "Kept out", listed(kept) or "none", sorted(kept))]
    if used:
        tell = "behavio segments RUN"
        lines.append(
            Line(part, "Allowed by the job", f"{listed(used)}; who is in which group: {tell}", [*used])
        )
        lines += _per_group(run, cases, list(used)) if cases is not None else []
    return lines


def _per_group(run: Path, cases: pl.DataFrame, columns: list[str]) -> list[Line]:
    """How far groups differ in an allowed column: the largest distance of a share from that of all."""
    labels = table(run, "segments/segments.parquet")
    if labels is None:
        return []
    lines = []
    for column in columns:
        own = labels.select(pl.col("case_id").cast(pl.String), "segment").join(
            cases.select(pl.col("case_id").cast(pl.String), pl.col(column).cast(pl.String).alias("value")),
            on="case_id",
        )
        own = own.drop_nulls()
        sizes = own.group_by("segment").agg(pl.len().alias("n")).filter(pl.col("n") >= 10)
        if own["value"].n_unique() > 12 or sizes.height < 2:
            continue
        every = own.group_by("value").agg((pl.len() / own.height).alias("all"))
        grid = sizes.join(every, how="cross").join(
            own.group_by("segment", "value").len("hits"), on=["segment", "value"], how="left"
        )
        grid = grid.with_columns(away=pl.col("hits").fill_null(0) / pl.col("n") - pl.col("all"))
        worst = grid.sort(pl.col("away").abs(), "segment", "value", descending=[True, False, False]).row(
            0, named=True
        )
        text = (
            f"most uneven in “{worst['segment']}”: {worst['value']} is {worst['away'] * 100:+.0f} points "
            f"from its share among all ({worst['all']:.0%})"
        )
        lines.append(Line("Sensitive attributes", f"{column} by group", text, round(worst["away"], 4)))
    return lines
