"""Pattern mining on four public sets: right counts, and CPU time against a peer where it is installed.

    python experiments/bench/patterns.py DATA_FOLDER [SECONDS]

Counts are compared with those on which independent miners agree. The peer is the Python package prefixspan
0.5.2 (no dependency of behavio; `pip install prefixspan`), asked for all frequent patterns without a gap and
stopped after SECONDS (default 40). CPU seconds of the process: best of three for behavio, one of peer.
"""

from __future__ import annotations

import json
import multiprocessing
import sys
import time
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from behavio.patterns import Rules, frequent
from behavio.sequences import SequenceSet, Vocabulary

RESULT = Path(__file__).parents[1] / "results" / "bench_patterns.json"
SETS = {
    "bms_webview1": (60, 3_991, 3_974, 1_220),
    "msnbc_pages": (1_590, 1_478, 1_478, 604),
    "leviathan_words": (300, 3_467, 3_448, 160),
    "sign_language": (73, 110_417, 109_743, None),
}


def load(path: Path) -> SequenceSet:
    """An order-only log as sequences."""
    events = pl.read_parquet(path).sort("case_id", "position")
    runs = events["case_id"].rle().struct.unnest()
    vocabulary = Vocabulary.of(events["activity"].unique().to_list())
    return SequenceSet(
        tokens=vocabulary.encode(events["activity"]),
        offsets=np.concatenate([[0], np.cumsum(runs["len"].to_numpy().astype(np.int64))]),
        times=events["position"].cast(pl.Int64).to_numpy(),
        case_ids=runs["value"].alias("case_id"),
        vocabulary=vocabulary,
        timed=False,
    )


def best_of_three(log: SequenceSet, rules: Rules) -> tuple[int, float]:
    """Number of patterns and CPU seconds, all threads."""
    taken = []
    for _ in range(3):
        start = time.process_time()
        found = frequent(log, rules)
        taken.append(time.process_time() - start)
    return len(found), min(taken)


def _peer(traces: list[list[int]], min_cases: int, answer: Any) -> None:
    from prefixspan import PrefixSpan

    start = time.process_time()
    n = len(PrefixSpan(traces).frequent(min_cases))
    answer.put((n, time.process_time() - start))


def peer(log: SequenceSet, min_cases: int, limit: float) -> dict[str, Any]:
    """The peer's count and CPU seconds, or that it was stopped."""
    if find_spec("prefixspan") is None:
        return {"peer": "not installed"}
    context = multiprocessing.get_context("spawn")
    answer = context.Queue()
    process = context.Process(target=_peer, args=([t.tolist() for t in log], min_cases, answer))
    process.start()
    process.join(limit)
    if process.is_alive():
        process.kill()
        process.join()
        return {"peer": f"stopped after {limit:.0f} s"}
    n, seconds = answer.get()
    return {"peer_patterns": n, "peer_cpu_s": round(seconds, 3)}


def main(data: Path, limit: float = 40.0) -> None:
    """Mine every set three ways, check the counts, print and write the times."""
    rows = []
    for name, (min_cases, *expected) in SETS.items():
        log = load(data / name / "events.parquet")
        ways = {
            "all": Rules(min_cases, max_length=0, max_gap=0, closed=False),
            "closed": Rules(min_cases, max_length=0, max_gap=0, closed=True),
            "max_gap_3": Rules(min_cases, max_length=0, max_gap=3, closed=False),
        }
        row: dict[str, Any] = {"set": name, "min_cases": min_cases}
        for (way, rules), right in zip(ways.items(), expected, strict=True):
            if right is None:
                continue
            n, seconds = best_of_three(log, rules)
            assert n == right, f"{name} {way}: {n} patterns, {right} expected"
            row |= {f"{way}_patterns": n, f"{way}_cpu_s": round(seconds, 3)}
        row |= peer(log, min_cases, limit)
        if "peer_cpu_s" in row:
            row["ratio"] = round(row["peer_cpu_s"] / row["all_cpu_s"], 1)
        rows.append(row)
        print(row)
    RESULT.write_text(
        json.dumps({"peer": "prefixspan 0.5.2", "rows": rows}, indent=2) + "\n", encoding="utf-8"
    )


if __name__ == "__main__":
    main(Path(sys.argv[1]), *(float(a) for a in sys.argv[2:]))
