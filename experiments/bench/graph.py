"""Directly-follows graph and variants against pm4py, both asked the same question in turn in one process.

    python experiments/bench/graph.py DATA_FOLDER [COPIES] [ROUNDS]

DATA_FOLDER holds bpic2012/events.parquet (262,200 real events). The log is replicated COPIES times (default
4: about a million events) with fresh case ids, which keeps the number of variants as it is. Both sides hold
the log in memory before a question is timed; "from the file" is timed with reading. Numbers are CPU seconds
of the process, median of ROUNDS (default 5; pm4py 3), answers are compared before anything is timed.
"""

from __future__ import annotations

import json
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pm4py
import polars as pl

import behavio.journeys as journeys
from behavio.engine.local import LocalEngine
from behavio.log import REJECTED_SCHEMA as REJECTED
from behavio.log import EventLog, SourceCount, SourceEvents, empty
from behavio.sequences import SequenceSet

RESULT = Path(__file__).parents[1] / "results" / "bench_graph.json"


def replicated(path: Path, copies: int) -> pl.DataFrame:
    """The log several times over, each copy with case ids of its own."""
    events = pl.read_parquet(path, columns=["case_id", "activity", "timestamp"])
    parts = [events.with_columns(case_id=pl.lit(f"{k}-") + pl.col("case_id")) for k in range(copies)]
    return pl.concat(parts).with_columns(pl.col("timestamp").dt.replace_time_zone("UTC"))


def encoded(events: pl.DataFrame) -> SequenceSet:
    """behavio's way from a table to sequences."""
    count = SourceCount("bench", "table", "", events.height, events.height, 0, 0)
    log = EventLog.assemble([SourceEvents(count, events, empty(REJECTED))])
    return SequenceSet.from_log(log)


def formatted(path: Path) -> pd.DataFrame:
    """pm4py's way from a file to its table."""
    names = {"case_id": "case_id", "activity_key": "activity", "timestamp_key": "timestamp"}
    return pm4py.format_dataframe(pd.read_parquet(path), **names)


def cpu_seconds(ask: Callable[[], Any], rounds: int) -> float:
    """Median CPU seconds of the whole process, all threads."""
    taken = []
    for _ in range(rounds):
        start = time.process_time()
        ask()
        taken.append(time.process_time() - start)
    return statistics.median(taken)


def same_answers(ours: SequenceSet, theirs: pd.DataFrame) -> None:
    """Counts must be equal, means and medians within rounding, before anything is timed."""
    edges = {
        (r["source"], r["target"]): r for r in journeys.directly_follows(ours).edges.iter_rows(named=True)
    }
    performance = pm4py.discover_performance_dfg(theirs.copy(), perf_aggregation_key="all")[0]
    assert {e: r["frequency"] for e, r in edges.items()} == pm4py.discover_dfg(theirs.copy())[0]
    for edge, found in performance.items():
        for key, name in (("mean", "mean_s"), ("median", "median_s")):
            assert abs(edges[edge][name] - found[key]) <= 1e-9 * abs(found[key]) + 1e-6, (edge, key)
    frame = journeys.variants(ours).to_frame()
    variants = {tuple(a): n for a, n in zip(frame["activities"], frame["cases"], strict=True)}
    assert variants == {k: int(v) for k, v in pm4py.get_variants(theirs.copy()).items()}


def main(data: Path, copies: int = 4, rounds: int = 5) -> None:
    """Ask both, print and write the ratios."""
    events = replicated(data / "bpic2012" / "events.parquet", copies)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "log.parquet"
        events.write_parquet(path)
        ours, theirs = encoded(events), formatted(path)
        same_answers(ours, theirs)
        one = LocalEngine(threads=1)
        questions: dict[str, tuple[Callable[[], Any], Callable[[], Any]]] = {
            "graph with cases, mean and exact quantiles (pm4py: performance DFG, all)": (
                lambda: journeys.directly_follows(ours, one),
                lambda: pm4py.discover_performance_dfg(theirs, perf_aggregation_key="all"),
            ),
            "the same, pm4py only counting (DFG)": (
                lambda: journeys.directly_follows(ours, one),
                lambda: pm4py.discover_dfg(theirs),
            ),
            "variants with median durations (pm4py: counts only)": (
                lambda: journeys.variants(ours, one),
                lambda: pm4py.get_variants(theirs),
            ),
            "graph from the Parquet file, reading and encoding included": (
                lambda: journeys.directly_follows(encoded(pl.read_parquet(path)), one),
                lambda: pm4py.discover_performance_dfg(formatted(path), perf_aggregation_key="all"),
            ),
        }
        rows = []
        for name, (behavio, peer) in questions.items():
            behavio()
            mine = cpu_seconds(behavio, rounds)
            other = cpu_seconds(peer, min(rounds, 3))
            rows.append({"question": name, "behavio_cpu_s": round(mine, 4), "pm4py_cpu_s": round(other, 4)})
            rows[-1]["ratio"] = round(other / mine, 1)
            print(f"{name}: {mine:.4f} s, pm4py {other:.3f} s, {other / mine:.1f} times")
    result = {"log": f"bpic2012 × {copies}", "n_events": ours.n_events, "n_cases": ours.n_cases, "rows": rows}
    result |= {"pm4py": pm4py.__version__, "rounds": rounds, "same_answers": True}
    RESULT.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]), *(int(a) for a in sys.argv[2:]))
