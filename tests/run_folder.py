"""A small run folder with every table of the contract, for tests of whatever reads one.

Thirty HCPs visited first and written to after, twenty-four written to first and visited after, six with one
event each: groups of 30, 24 and 6 (under k = 10), and no group for the last six of all.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from datetime import UTC, date, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from statistics import median
from typing import Any

import polars as pl

from behavio.files import write_json
from behavio.journeys import funnel
from behavio.journeys.periods import periods
from behavio.log import CONSENT_SCHEMA, REJECTED_SCHEMA, EventLog, SourceCount
from behavio.sequences import SequenceSet

START = datetime(2026, 1, 5, 9, 0, tzinfo=UTC)
CHANNEL = {"call": "f2f", "reaction": "f2f", "email": "email", "portal": "portal"}
REP = [
    ("call_f2f", 0),
    ("reaction_positive", 0),
    ("email_sent", 5),
    ("email_open", 6),
    ("call_f2f", 60),
    ("email_sent", 66),
    ("email_open", 67),
    ("email_click", 67),
    ("portal_visit", 67),
    ("email_sent", 150),
]
MAIL = [
    ("email_sent", 0),
    ("email_open", 1),
    ("portal_visit", 1),
    ("email_sent", 40),
    ("call_f2f", 43),
    ("reaction_negative", 43),
    ("email_sent", 120),
    ("portal_visit", 190),
]
GROUPS = (("Rep first, then digital", REP, 30), ("Portal explorers", MAIL, 24), ("One and done", MAIL[:1], 6))
UNASSIGNED = 6


def build(
    folder: Path,
    *,
    rename: dict[str, str] | None = None,
    drop: tuple[str, ...] = (),
    known: int = 80,
    scale: int = 1,
) -> Path:
    """Write the run.

    rename  other names for activities
    drop    stages left out
    known   rows of the case table
    scale   so many times as many cases
    """
    rows, segments = _journeys(rename or {}, scale)
    log = _log(rows, known)
    log.write(folder / "log")
    writers: dict[str, Any] = {
        "journeys": lambda out: _write_journeys(rows, out, log, rename or {}),
        "patterns": lambda out: _write_patterns(rename or {}, out),
        "models": _write_models,
        "next": lambda out: _write_next(rows, out),
        "segments": lambda out: _write_segments(segments, rename or {}, out),
        "suggestions": lambda out: _write_suggestions(segments, out),
    }
    for stage, writer in writers.items():
        if stage not in drop:
            (folder / stage).mkdir(parents=True, exist_ok=True)
            writer(folder / stage)
    (folder / "report").mkdir(exist_ok=True)
    return folder


def _journeys(
    rename: dict[str, str], scale: int
) -> tuple[list[tuple[str, str, datetime]], list[tuple[str, int, str]]]:
    rows: list[tuple[str, str, datetime]] = []
    segments: list[tuple[str, int, str]] = []
    number = 0
    for i, (name, steps, size) in enumerate((*GROUPS, ("unassigned", MAIL[:2], UNASSIGNED))):
        for member in range(size * scale):
            case = f"H{number:03d}"
            number += 1
            kept = steps if member % 3 else steps[:-1] or steps
            shift = timedelta(days=member % 20, minutes=member % 480)
            rows += [(case, rename.get(a, a), START + timedelta(days=d) + shift) for a, d in kept]
            segments.append((case, i if name != "unassigned" else -1, name))
    return rows, segments


def _log(rows: list[tuple[str, str, datetime]], known: int) -> EventLog:
    inbound = ("open", "click", "portal", "reaction")
    events = pl.DataFrame(
        {
            "case_id": [r[0] for r in rows],
            "activity": [r[1] for r in rows],
            "timestamp": [r[2] for r in rows],
            "event_index": list(range(len(rows))),
            "channel": [next((c for k, c in CHANNEL.items() if r[1].startswith(k)), None) for r in rows],
            "direction": ["inbound" if any(k in r[1] for k in inbound) else "outbound" for r in rows],
            "content": ["efficacy" if r[1].startswith("reaction") else None for r in rows],
            "message": [None] * len(rows),
            "source": ["crm"] * len(rows),
            "source_row": [i + 2 for i in range(len(rows))],
        },
        schema_overrides={"timestamp": pl.Datetime("us", "UTC"), "message": pl.String},
    ).sort("case_id", "timestamp", "event_index")
    cases = pl.DataFrame(
        {
            "case_id": [f"H{i:03d}" for i in range(known)],
            "specialty": ["Cardiology" if i % 3 else "Internal medicine" for i in range(known)],
            "potential": ["high" if i % 4 == 0 else "low" for i in range(known)],
        }
    )
    rejected = pl.DataFrame(
        {
            "source": ["crm"] * 3,
            "file": ["calls.csv"] * 3,
            "row": [7, 8, 9],
            "column": ["timestamp"] * 3,
            "reason": ["no time"] * 2 + ["time in the future"],
            "hint": [""] * 3,
            "raw": [""] * 3,
        },
        schema=REJECTED_SCHEMA,
    )
    first, last = str(events["timestamp"].min()), str(events["timestamp"].max())
    count = SourceCount("crm", "table", "calls.csv", len(rows) + 5, len(rows), 3, 2, first=first, last=last)
    return EventLog(events, cases, pl.DataFrame(schema=CONSENT_SCHEMA), rejected, (count,))


def _traces(rows: list[tuple[str, str, datetime]]) -> dict[str, list[tuple[str, datetime]]]:
    traces: dict[str, list[tuple[str, datetime]]] = defaultdict(list)
    for case, activity, time in rows:
        traces[case].append((activity, time))
    return dict(traces)


def _write_journeys(
    rows: list[tuple[str, str, datetime]], out: Path, log: EventLog, rename: dict[str, str]
) -> None:
    _write_periods(log, out)
    steps = [rename.get(a, a) for a in ("email_sent", "email_open", "portal_visit")]
    found = funnel(SequenceSet.from_log(log), steps, "21d")
    found.with_columns(within=pl.lit("21d"), chosen=pl.lit("plan")).write_parquet(out / "funnel.parquet")
    traces = _traces(rows)
    gaps: dict[tuple[str, str], list[float]] = defaultdict(list)
    people: dict[tuple[str, str], set[str]] = defaultdict(set)
    for case, trace in traces.items():
        for (a, t), (b, u) in pairwise(trace):
            gaps[a, b].append((u - t).total_seconds())
            people[a, b].add(case)
    edges = [
        {
            "source": a,
            "target": b,
            "frequency": len(g),
            "cases": len(people[a, b]),
            "median_s": median(g),
            "mean_s": sum(g) / len(g),
            "p90_s": sorted(g)[int(0.9 * (len(g) - 1))],
            "p10_s": sorted(g)[int(0.1 * (len(g) - 1))],
        }
        for (a, b), g in gaps.items()
    ]
    graph = pl.DataFrame(edges).sort(["frequency", "source", "target"], descending=[True, False, False])
    graph.write_parquet(out / "graph.parquet")
    counted = Counter(tuple(a for a, _ in t) for t in traces.values())
    together, found = 0, []
    for rank, (path, n) in enumerate(sorted(counted.items(), key=lambda kv: (-kv[1], kv[0])), start=1):
        together += n
        spans = [
            (t[-1][1] - t[0][1]).total_seconds() for t in traces.values() if tuple(a for a, _ in t) == path
        ]
        found.append(
            {
                "rank": rank,
                "variant": " → ".join(path),
                "activities": list(path),
                "cases": n,
                "share": n / len(traces),
                "cumulative_share": together / len(traces),
                "length": len(path),
                "median_duration_s": median(spans),
            }
        )
    pl.DataFrame(found).write_parquet(out / "variants.parquet")
    times = [
        {
            "case_id": case,
            "events": len(t),
            "variant_rank": 1,
            "first": t[0][1],
            "last": t[-1][1],
            "duration_s": (t[-1][1] - t[0][1]).total_seconds(),
        }
        for case, t in traces.items()
    ]
    pl.DataFrame(times).write_parquet(out / "cases.parquet")
    activities = Counter(r[1] for r in rows)
    named = {a: [[n for n, _ in t] for t in traces.values() if any(n == a for n, _ in t)] for a in activities}
    pl.DataFrame(
        [
            {
                "activity": a,
                "frequency": n,
                "cases": len(named[a]),
                "starts": sum(t[0] == a for t in named[a]),
                "last_seen": sum(t[-1] == a for t in named[a]),
                "rework_cases": sum(t.count(a) > 1 for t in named[a]),
            }
            for a, n in activities.most_common()
        ]
    ).write_parquet(out / "activities.parquet")
    _write_staying(named, out)
    (out / "map.svg").write_text(
        '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 400 60"><script>alert(1)</script>'
        '<rect x="2" y="10" width="120" height="34" fill="none" stroke="#888" onclick="alert(1)"/>'
        '<text x="12" y="32" font-size="13">rep visit</text></svg>',
        encoding="utf-8",
    )


def _write_periods(log: EventLog, out: Path) -> None:
    """Two periods of the log; of each table the most frequent row is made to differ by more than chance."""
    found = periods(SequenceSet.from_log(log), "100d")
    tables = {name: table for name, table in found.tables.items() if table.width}
    for name, table in tables.items():
        first = pl.col("cases_a") == pl.col("cases_a").max()
        made: dict[str, Any] = {"q_value": 0.001, "cases_b": 20, "low": 0.1, "high": 0.4}
        made |= {"waits": {"median_s_b": 9e4, "larger": 0.3}, "edges": {"b": 0.5, "difference": 0.25}}.get(
            name, {}
        )
        changed = [pl.when(first).then(pl.lit(v)).otherwise(c).alias(c) for c, v in made.items()]
        table.with_columns(changed).sort("q_value", nulls_last=True).write_parquet(
            out / f"period_{name}.parquet"
        )
    both = zip(found.names, found.n_cases, found.n_events, strict=True)
    sides = [{"name": n, "n_cases": c, "n_events": e} for n, c, e in both]
    tested = {n: t.height for n, t in tables.items()}
    told = {"written": True, "last": found.length, "sides": sides, "notes": [], "tested": tested}
    write_json(out / "periods.json", told)


def _write_staying(named: dict[str, list[list[str]]], out: Path) -> None:
    """Who stays, waits, what comes back, and the journey map: plain figures by hand."""
    month = date(2026, 1, 1)
    pl.DataFrame(
        [
            {"cohort": month, "months_since": n, "cohort_cases": 60, "cases": 60 - 6 * n, "share": 1 - n / 10,
             "whole": n < 6}
            for n in range(7)
        ]
    ).write_parquet(out / "retention.parquet")  # fmt: skip
    counts = {a: sum(t.count(a) for t in traces) for a, traces in named.items()}
    again = {a: sum(t.count(a) > 1 for t in traces) for a, traces in named.items()}
    pl.DataFrame(
        [
            {"activity": a, "frequency": n, "cases": len(named[a]), "rework_cases": again[a],
             "rework_share": again[a] / len(named[a])}
            for a, n in counts.items()
        ]
    ).write_parquet(out / "rework.parquet")  # fmt: skip
    total = sum(counts.values())
    pl.DataFrame(
        [
            {"activity": a, "median_s": 86_400.0 * k, "p90_s": 300_000.0 * k, "share": n / total}
            for k, (a, n) in enumerate(counts.items(), start=1)
        ]
    ).write_parquet(out / "waiting.parquet")
    since = START + timedelta(days=90)
    when = {"since": [since], "earliest": [since], "latest": [since]}
    pl.DataFrame(when | {"p_value": [0.001], "n_edges": [1]}).write_parquet(out / "changes.parquet")
    two = list(named)[:2]
    pl.DataFrame(
        {"since": [since], "source": two[:1], "target": two[-1:], "before": [0.4], "after": [0.7],
         "difference": [0.3], "low": [0.2], "high": [0.4], "q_value": [0.001]}
    ).write_parquet(out / "changed_steps.parquet")  # fmt: skip
    touch = [a for a in named if a.startswith(("email_sent", "call_"))] or list(named)[:1]
    first = next(iter(named))
    bounds = {1: (None, "30d"), 2: ("30d", "90d"), 3: ("90d", None)}
    pl.DataFrame(
        [
            {"segment": group, "phase": phase, "from": start, "until": end, "activity": a,
             "direction": "outbound", "events": 40 - phase, "cases": 22, "reach": 0.5, "answered": 10 + phase,
             "answered_share": (10 + phase) / (40 - phase), "answer": first, "median_answer_s": 9e4}
            for group, _, _ in GROUPS
            for phase, (start, end) in bounds.items()
            for a in touch
        ],
        schema_overrides={"from": pl.String, "until": pl.String},
    ).write_parquet(out / "phases.parquet")  # fmt: skip


def _write_outcomes(rename: dict[str, str], out: Path) -> None:
    """What comes before a portal visit; and sequences of contacts, one of which stands out."""

    def row(steps: list[str], n: int, hits: int, lift: float, low: float, q: float) -> dict[str, Any]:
        names = [rename.get(s, s) for s in steps]
        share = hits / n
        return {
            "pattern": " → ".join(names), "activities": names, "length": len(names), "n_cases": n,
            "support": n / 66, "n_outcome": hits, "share": share, "share_low": share - 0.05,
            "share_high": share + 0.05, "expected": share / lift, "lift": lift, "low": low,
            "high": lift * lift / low, "p_value": q / 2, "q_value": q,
            "outcome": rename.get("portal_visit", "portal_visit"),
        }  # fmt: skip

    rows = [
        row(["email_sent"], 40, 20, 2.0, 1.5, 0.001),
        row(["call_f2f", "email_sent"], 30, 18, 2.4, 1.9, 0.001),
        row(["email_sent", "email_open"], 28, 16, 1.8, 1.2, 0.01),
        row(["email_sent", "email_sent"], 9, 8, 4.0, 3.0, 0.001),
        row(["call_f2f", "call_f2f"], 20, 4, 1.1, 0.6, 0.5),
    ]
    pl.DataFrame(rows).write_parquet(out / "outcomes.parquet")
    sent = pl.DataFrame(rows[1:2] + rows[4:]).with_columns(stands_out=pl.col("q_value") <= 0.05)
    sent.write_parquet(out / "communications.parquet")
    notes = ["a pattern counts when the outcome follows within 30 days of its first end, against others"]
    write_json(out / "notes.json", {"outcomes": notes, "communications": ["answered: any inbound event"]})


def _write_patterns(rename: dict[str, str], out: Path) -> None:
    def row(
        steps: list[str], n: int, lift: float, low: float, high: float, segment: str | None = None
    ) -> dict:
        names = [rename.get(s, s) for s in steps]
        return {
            "pattern": " → ".join(names),
            "activities": names,
            "length": len(names),
            "n_cases": n,
            "support": n / 66,
            "lift": lift,
            "low": low,
            "high": high,
            "p_value": 0.0002 if low > 1 else 0.3,
            "q_value": 0.001 if low > 1 else 0.4,
            "segment": segment,
        }

    _write_outcomes(rename, out)
    pl.DataFrame(
        [
            row(["call_f2f", "email_sent", "email_open"], 30, 2.6132, 2.21, 3.08),
            row(["email_open", "portal_visit"], 44, 1.4, 0.92, 1.85),
            row(["email_sent", "email_sent"], 54, 0.62, 0.5, 0.74),
            row(["email_sent", "portal_visit", "portal_visit"], 9, 3.0, 2.0, 4.0),
            row(["email_sent", "portal_visit"], 24, 1.9, 1.4, 2.5, "Portal explorers"),
        ],
        schema_overrides={"segment": pl.String},
    ).write_parquet(out / "patterns.parquet")


def _write_models(out: Path) -> None:
    def model(name: str, kind: str, accuracy: float, nll: float | None) -> dict[str, Any]:
        return {
            "name": name,
            "kind": kind,
            "accuracy": accuracy,
            "top3": accuracy + 0.2,
            "nll": nll,
            "ece": 0.02,
        }

    write_json(
        out / "metrics.json",
        {
            "cut": "2026-05-01T00:00:00+00:00",
            "n_train_events": 400,
            "n_test_events": 112,
            "models": [
                model("most_popular", "baseline", 0.31, 1.9),
                model("repeat_last", "baseline", 0.22, None),
                model("ngram", "counting", 0.614, 1.21),
                model("gru", "neural", 0.603, 1.24),
            ],
            "default": "ngram",
            "reliability": [
                {"low": 0.1, "high": 0.3, "n": 41, "predicted": 0.21, "seen": 0.19},
                {"low": 0.5, "high": 0.7, "n": 60, "predicted": 0.6, "seen": 0.63},
                {"low": 0.9, "high": 1.0, "n": 4, "predicted": 0.95, "seen": 1.0},
            ],
        },
    )


def _write_next(rows: list[tuple[str, str, datetime]], out: Path) -> None:
    as_of = max(r[2] for r in rows)
    found = []
    for i, case in enumerate(sorted({r[0] for r in rows})):
        for rank, (activity, p) in enumerate((("email_open", 0.5), ("portal_visit", 0.3)), start=1):
            found.append(
                {
                    "case_id": case,
                    "as_of": as_of,
                    "rank": rank,
                    "activity": activity if i % 3 else "call_f2f",
                    "probability": p,
                    "median_days": 4.0,
                    "low_days": 1.0,
                    "high_days": 12.0,
                    "evidence_n": 20,
                    "evidence": "20 like journeys",
                }
            )
    pl.DataFrame(found).write_parquet(out / "next_steps.parquet")


def _write_segments(segments: list[tuple[str, int, str]], rename: dict[str, str], out: Path) -> None:
    pl.DataFrame(
        {
            "case_id": [s[0] for s in segments],
            "segment_id": [s[1] for s in segments],
            "segment": [s[2] for s in segments],
            "strength": [0.9 if s[1] >= 0 else 0.0 for s in segments],
        },
        schema_overrides={"segment_id": pl.Int32},
    ).write_parquet(out / "segments.parquet")
    order = (("call_f2f → email_open", 2.4), ("email_open → call_f2f", 3.1), ("", 0.0))
    profiles = []
    for i, (name, steps, size) in enumerate(GROUPS):
        what, lift = order[i]
        trait = {
            "kind": "order",
            "what": what,
            "value": 0.8,
            "rest": 0.3,
            "lift": lift,
            "low": lift - 0.4,
            "high": lift + 0.5,
            "text": f"{what} {lift} times as often",
        }
        profiles.append(
            {
                "segment_id": i,
                "segment": name,
                "sentence": "They open within a day, then read on their own.",
                "n_cases": size,
                "share": size / len(segments),
                "typical": {
                    "case_id": "H001",
                    "events": [{"activity": rename.get(a, a), "day": float(d)} for a, d in steps],
                },
                "distinguishing": [trait] if lift else [],
                "attributes": [{"attribute": "specialty", "value": "Cardiology", "share": 0.7, "rest": 0.6}],
                "median_events": float(len(steps)),
                "median_gap_days": 6.0,
            }
        )
    curve = [{"k": k, "held_out_nll_per_event": 2.0 - 0.2 * k if k < 4 else 1.5} for k in range(1, 6)]
    write_json(
        out / "profiles.json", {"k": 3, "curve": curve, "segments": profiles, "method": "", "notes": []}
    )


def _write_suggestions(segments: list[tuple[str, int, str]], out: Path) -> None:
    made = [
        {
            "suggestion_id": f"s{i}",
            "case_id": case,
            "rank": 1,
            "action": "email_sent" if i % 2 else "call_f2f",
            "channel": "email" if i % 2 else "f2f",
            "message": None,
            "brand": None,
            "due_from": date(2026, 7, 20),
            "due_to": date(2026, 7, 27),
            "expires_on": date(2026, 8, 3),
            "probability": 0.4,
            "base_probability": 0.25,
            "low": 0.3,
            "high": 0.5,
            "evidence_n": 20,
            "reason": "opened the last two emails",
            "evidence_rows": ["crm:4"],
            "priority": 1.0,
            "segment": segment,
            "owner_id": None,
        }
        for i, (case, _, segment) in enumerate(segments[:40])
    ]
    pl.DataFrame(
        made, schema_overrides={"message": pl.String, "brand": pl.String, "owner_id": pl.String}
    ).write_parquet(out / "suggestions.parquet")
    held = [
        {"case_id": case, "action": "email_sent", "channel": "email", "reason": reason, "detail": ""}
        for i, (case, _, _) in enumerate(segments)
        for reason in (["no_consent"] if i % 2 else ["too_soon"] if i < 8 else [])
    ]
    pl.DataFrame(held).write_parquet(out / "suppressed.parquet")
