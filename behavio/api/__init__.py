"""The library as people call it: one function per command, frames in and frames out.

`data` is a path of any log file, a run folder, a pandas, Polars or Arrow frame, or an EventLog. Column
names (`case_id`, `activity`, `timestamp`, `order`, `timezone`, …) go to `read` and are guessed when not
given. Tables come back as the kind of frame that was handed in, Polars for paths. A run folder answers
from its tables where it has them, so numbers are those of its report.
"""

from __future__ import annotations

from behavio.api.ahead import evaluate, neighbours, predict, within
from behavio.api.data import check, encode, journeys, read
from behavio.api.mining import (
    compare,
    conform,
    drift,
    funnel,
    graph,
    lifecycle,
    match,
    pattern_findings,
    patterns,
    retention,
    rework,
    rules,
    steps,
    variants,
    waits,
)
from behavio.api.patients import treatment
from behavio.api.people import (
    audience,
    audience_columns,
    challenge,
    holdout,
    perceptions,
    policy,
    pressure,
    readout,
    segment_alike,
    segment_changes,
    segment_rules,
    segments,
    segments_page,
    stages,
    suggestions,
    view,
)
from behavio.api.work import (
    deliver,
    demo,
    demo_data,
    erase,
    explore,
    report,
    run,
    simulate,
    simulate_patients,
)

__all__ = [
    "audience",
    "audience_columns",
    "challenge",
    "check",
    "compare",
    "conform",
    "deliver",
    "demo",
    "demo_data",
    "drift",
    "encode",
    "erase",
    "evaluate",
    "explore",
    "funnel",
    "graph",
    "holdout",
    "journeys",
    "lifecycle",
    "match",
    "neighbours",
    "pattern_findings",
    "patterns",
    "perceptions",
    "policy",
    "predict",
    "pressure",
    "read",
    "readout",
    "report",
    "retention",
    "rework",
    "rules",
    "run",
    "segment_alike",
    "segment_changes",
    "segment_rules",
    "segments",
    "segments_page",
    "simulate",
    "simulate_patients",
    "stages",
    "steps",
    "suggestions",
    "treatment",
    "variants",
    "view",
    "waits",
    "within",
]
