"""Journey counts against pm4py: both asked the same question in turn in one process.

    python experiments/bench/graph.py DATA_FOLDER [COPIES] [ROUNDS] [SMALL_COPIES]

DATA_FOLDER holds bpic2012/events.parquet (262,200 real events). The log is replicated COPIES times (default
38: about ten million events) with fresh case ids and shifted in time, which keeps the number of variants as
it is; eventually-follows, which pm4py answers with a self-join of every case, is asked of SMALL_COPIES
(default 4: about a million) with pm4py's Polars path, because its pandas path needs more memory than most
machines have. Both sides hold the log in memory before a question is timed; "from the file" is timed with
reading. Numbers are CPU seconds of the process and wall seconds, median of ROUNDS (default 3; pm4py 1 at ten
million), the first run of behavio, which may compile, not counted; answers are compared before.
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

import numpy as np
import pandas as pd
import pm4py
import polars as pl

import behavio.journeys as journeys
from behavio.encoding import encode
from behavio.engine.local import LocalEngine
from behavio.log import REJECTED_SCHEMA as REJECTED
from behavio.log import EventLog, SourceCount, SourceEvents, empty
from behavio.process import WeightedVariants, process_tree
from behavio.sequences import SequenceSet

RESULT = Path(__file__).parents[1] / "results" / "bench_graph.json"
ONE = LocalEngine(threads=1)
NAMES = {"case_id": "case_id", "activity_key": "activity", "timestamp_key": "timestamp"}
Question = tuple[str, Callable[[], Any], Callable[[], Any]]


def replicated(path: Path, copies: int) -> pl.DataFrame:
    """The log several times over, each copy with case ids of its own and at another time."""
    events = pl.read_parquet(path, columns=["case_id", "activity", "timestamp"])
    rng = np.random.default_rng(7)
    parts = [
        events.with_columns(
            case_id=pl.lit(f"{k}-") + pl.col("case_id"),
            timestamp=pl.col("timestamp") + pl.duration(seconds=int(rng.integers(0, 10**8))),
        )
        for k in range(copies)
    ]
    return pl.concat(parts).with_columns(pl.col("timestamp").dt.replace_time_zone("UTC"))


def encoded(events: pl.DataFrame) -> SequenceSet:
    """behavio's way from a table to sequences."""
    count = SourceCount("bench", "table", "", events.height, events.height, 0, 0)
    log = EventLog.assemble([SourceEvents(count, events, empty(REJECTED))])
    return SequenceSet.from_log(log)


def formatted(path: Path) -> pd.DataFrame:
    """pm4py's way from a file to its table."""
    return pm4py.format_dataframe(pd.read_parquet(path), **NAMES)


def lazy(path: Path) -> pl.LazyFrame:
    """The same for its Polars path."""
    new = ["case:concept:name", "concept:name", "time:timestamp"]
    return pl.read_parquet(path).rename(dict(zip(NAMES.values(), new, strict=True))).lazy()


def seconds(ask: Callable[[], Any], rounds: int) -> tuple[float, float]:
    """Median CPU seconds of the whole process, all threads, and median wall seconds."""
    cpu, wall = [], []
    for _ in range(rounds):
        start, begun = time.process_time(), time.perf_counter()
        ask()
        cpu.append(time.process_time() - start)
        wall.append(time.perf_counter() - begun)
    return statistics.median(cpu), statistics.median(wall)


def same_answers(ours: SequenceSet, theirs: pd.DataFrame) -> None:
    """Counts must be equal, times within rounding, before anything is timed."""
    edges = {
        (r["source"], r["target"]): r for r in journeys.directly_follows(ours).edges.iter_rows(named=True)
    }
    performance = pm4py.discover_performance_dfg(theirs.copy(), perf_aggregation_key="all")[0]
    assert {e: r["frequency"] for e, r in edges.items()} == pm4py.discover_dfg(theirs.copy())[0]
    for edge, found in performance.items():
        for key, name in (("mean", "mean_s"), ("median", "median_s"), ("min", "min_s"), ("max", "max_s")):
            assert abs(edges[edge][name] - found[key]) <= 1e-9 * abs(found[key]) + 1e-6, (edge, key)
    frame = journeys.variants(ours).to_frame()
    variants = {tuple(a): n for a, n in zip(frame["activities"], frame["cases"], strict=True)}
    assert variants == {k: int(v) for k, v in pm4py.get_variants(theirs.copy()).items()}
    pairs = {(r[0], r[1]): r[2:] for r in journeys.eventually_follows(ours).rows()}
    profile = pm4py.discover_temporal_profile(theirs.copy())
    assert {p: r[0] for p, r in pairs.items()} == pm4py.discover_eventually_follows_graph(theirs.copy())
    assert all(abs(pairs[p][2] - mean) <= 1e-9 * mean + 1e-6 for p, (mean, _) in profile.items())


def large(events: pl.DataFrame, path: Path) -> list[Question]:
    """Questions about ten million events."""
    ours, theirs = encoded(events), formatted(path)
    return [
        (
            "graph with frequency, cases and mean times",
            lambda: journeys.directly_follows(ours, ONE, quantiles=False),
            lambda: pm4py.discover_performance_dfg(theirs, perf_aggregation_key="mean"),
        ),
        (
            "every edge with exact median, p10, p90, min, max, std",
            lambda: journeys.directly_follows(ours, ONE),
            lambda: pm4py.discover_performance_dfg(theirs, perf_aggregation_key="all"),
        ),
        ("variants", lambda: journeys.variants(ours, ONE), lambda: pm4py.get_variants(theirs)),
        (
            "rework and loops",
            lambda: journeys.rework(ours, ONE),
            lambda: pm4py.get_rework_cases_per_activity(theirs),
        ),
        ("durations", lambda: journeys.durations(ours, ONE), lambda: pm4py.get_all_case_durations(theirs)),
        (
            "Parquet file to graph with mean times",
            lambda: journeys.directly_follows(encode(path).sequences, ONE, quantiles=False),
            lambda: pm4py.discover_performance_dfg(formatted(path), perf_aggregation_key="mean"),
        ),
    ]


def small(events: pl.DataFrame, path: Path) -> list[Question]:
    """Questions pm4py answers with a self-join, about a million events."""
    ours, theirs = encoded(events), lazy(path)
    return [
        (
            "temporal profile with eventually-follows counts and cases (pm4py: Polars path)",
            lambda: journeys.eventually_follows(ours, ONE),
            lambda: pm4py.discover_temporal_profile(theirs),
        ),
        (
            "the same, pm4py only counting pairs (Polars path)",
            lambda: journeys.eventually_follows(ours, ONE),
            lambda: pm4py.discover_eventually_follows_graph(theirs),
        ),
    ]


def miner(events: pl.DataFrame, path: Path) -> list[Question]:
    """The inductive miner on the log itself; the trees must be the same."""
    ours, theirs = encoded(events), formatted(path)
    trees: dict[str, str] = {}

    def quick() -> None:
        found = journeys.variants(ours, ONE)
        weighted = WeightedVariants(found.tokens, found.offsets, found.cases)
        trees["behavio"] = str(process_tree(weighted, ours.vocabulary.names, 0.2))

    def slow() -> None:
        trees["pm4py"] = str(pm4py.discover_process_tree_inductive(theirs, noise_threshold=0.2))
        assert trees["behavio"] == trees["pm4py"]

    return [("process tree of the inductive miner, noise 0.2, same tree", quick, slow)]


def main(data: Path, copies: int = 38, rounds: int = 3, small_copies: int = 4) -> None:
    """Ask both, print and write the ratios."""
    source = data / "bpic2012" / "events.parquet"
    rows: list[dict[str, Any]] = []
    parts: list[tuple[Callable[[pl.DataFrame, Path], list[Question]], int, int]] = [
        (miner, 1, 1),
        (small, small_copies, 1),
        (large, copies, 1 if copies > 8 else 3),
    ]
    for ask, n, peer_rounds in parts:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "log.parquet"
            events = replicated(source, n)
            events.write_parquet(path)
            if n == 1:
                same_answers(encoded(events), formatted(path))
            for name, behavio, peer in ask(events, path):
                behavio()
                mine, my_wall = seconds(behavio, rounds)
                other, wall = seconds(peer, peer_rounds)
                row = {"question": name, "n_events": events.height}
                row |= {"behavio_cpu_s": round(mine, 4), "behavio_wall_s": round(my_wall, 4)}
                row |= {"pm4py_cpu_s": round(other, 3), "pm4py_wall_s": round(wall, 3)}
                rows.append(row | {"ratio": round(other / mine, 1)})
                print(f"{name} ({events.height:,} events): {mine:.4f} s, pm4py {other:.3f} s, "
                      f"{other / mine:.1f} times", flush=True)  # fmt: skip
    result = {"log": "bpic2012, replicated", "rows": rows, "pm4py": pm4py.__version__}
    result |= {"seconds": "CPU, all threads", "rounds": rounds, "same_answers": True}
    RESULT.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]), *(int(a) for a in sys.argv[2:]))
