"""Pattern mining on four public sets: right counts, and CPU and wall seconds against the peers.

    python experiments/bench/patterns.py DATA_FOLDER [CPU_SECONDS]

Counts are compared with those on which independent miners agree. Peers (none a dependency of behavio) are
prefixspan 0.5.2 (pure Python), seq2pat 2.0.0 and effspm 1.0.0 (C++), asked for all frequent patterns without
a gap, each in its own process stopped after CPU_SECONDS (default 60) of CPU time. They run in the Python
that BEHAVIO_PEERS names, else in this one. seq2pat leaves out single events and needs max_span=None for the
same question; effspm leaves out single events: their counts are compared without them. Seconds are those of
the call: best of three for behavio, all threads together; one of a peer. `prototype_cpu_s` is what the numba
prototype took that set the mark, on another day on the same kind of machine.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from behavio.patterns import Rules, frequent, most_frequent
from behavio.sequences import SequenceSet, Vocabulary

RESULT = Path(__file__).parents[1] / "results" / "bench_patterns.json"
SETS: dict[tuple[str, int], dict[str, tuple[int, float | None]]] = {
    ("bms_webview1", 60): {"all": (3_991, 0.10), "closed": (3_974, 0.086), "max_gap_3": (1_220, 0.035)},
    ("msnbc_pages", 1_590): {"all": (1_478, 0.35), "closed": (1_478, 0.46), "max_gap_3": (604, 0.2)},
    ("msnbc_pages", 636): {"all": (9_682, 0.68), "closed": (9_682, 0.75), "max_gap_3": (2_937, 0.42)},
    ("leviathan_words", 300): {"all": (3_467, 0.22), "closed": (3_448, 0.23), "max_gap_3": (160, 0.056)},
    ("sign_language", 73): {"all": (110_417, 0.83), "closed": (109_743, 1.65)},
}
PEER = """
import json, resource, sys, time
kind, path, least, limit = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
resource.setrlimit(resource.RLIMIT_CPU, (limit, limit))
traces = [[int(x) for x in line.split()] for line in open(path)]
if kind == "prefixspan":
    from prefixspan import PrefixSpan
    ask = lambda: len(PrefixSpan(traces).frequent(least))
elif kind == "seq2pat":
    from sequential.seq2pat import Seq2Pat
    ask = lambda: len(Seq2Pat(sequences=traces, max_span=None, n_jobs=1).get_patterns(min_frequency=least))
else:
    import effspm
    ask = lambda: len(effspm.BTMiner(path, least / len(traces))["patterns"])
wall = time.perf_counter()
def spent():
    inside = resource.getrusage(resource.RUSAGE_CHILDREN)
    return time.process_time() + inside.ru_utime + inside.ru_stime
cpu = spent()
n = ask()
print(json.dumps([n, spent() - cpu, time.perf_counter() - wall]))
"""


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


def best_of_three(log: SequenceSet, rules: Rules) -> tuple[int, float, float]:
    """Number of patterns, CPU seconds of all threads, wall seconds."""
    cpu, wall = [], []
    for _ in range(3):
        start, began = time.process_time(), time.perf_counter()
        found = frequent(log, rules)
        cpu.append(time.process_time() - start)
        wall.append(time.perf_counter() - began)
    return len(found), min(cpu), min(wall)


def peer(kind: str, path: Path, least: int, limit: int) -> dict[str, Any]:
    """The peer's count and seconds, or why there are none."""
    python = os.environ.get("BEHAVIO_PEERS", sys.executable)
    words = [python, "-c", PEER, kind, str(path), str(least), str(limit)]
    try:  # a peer whose own worker was stopped waits for it for ever: that is a stop too
        done = subprocess.run(words, capture_output=True, text=True, check=False, timeout=6 * limit)
    except subprocess.TimeoutExpired:
        return {f"{kind}": f"no answer after {6 * limit} seconds by the clock"}
    if done.returncode < 0:
        return {f"{kind}": f"stopped after {limit} CPU seconds"}
    if done.returncode:
        return {f"{kind}": done.stderr.strip().splitlines()[-1][:80] if done.stderr else "failed"}
    n, cpu, wall = json.loads(done.stdout.strip().splitlines()[-1])
    return {f"{kind}_patterns": n, f"{kind}_cpu_s": round(cpu, 3), f"{kind}_wall_s": round(wall, 3)}


def row_of(
    name: str, least: int, ways: dict[str, tuple[int, float | None]], log: SequenceSet
) -> dict[str, Any]:
    """Mine every way, check the counts."""
    row: dict[str, Any] = {"set": name, "min_cases": least}
    for way, (right, before) in ways.items():
        rules = Rules(least, 0, 3 if way == "max_gap_3" else 0, closed=way == "closed")
        frequent(log, rules)  # compiled
        n, cpu, wall = best_of_three(log, rules)
        assert n == right, f"{name} {way}: {n} patterns, {right} expected"
        row |= {f"{way}_patterns": n, f"{way}_cpu_s": round(cpu, 3), f"{way}_wall_s": round(wall, 3)}
        row[f"{way}_prototype_cpu_s"] = before
    start = time.process_time()
    top = most_frequent(log, 1_000, Rules(2, 0, 0, closed=False))
    row |= {"top_1000_patterns": len(top), "top_1000_cpu_s": round(time.process_time() - start, 3)}
    row["n_single"] = int((frequent(log, Rules(least, 1, 0, closed=False)).lengths == 1).sum())
    return row


def main(data: Path, limit: int = 60) -> None:
    """Mine every set three ways, ask the peers, print and write the times."""
    rows = []
    for (name, least), ways in SETS.items():
        log = load(data / name / "events.parquet")
        row = row_of(name, least, ways, log)
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "traces.txt"
            path.write_text("\n".join(" ".join(map(str, t)) for t in log))
            for kind in ("prefixspan", "seq2pat", "effspm"):
                row |= peer(kind, path, least, limit)
                if row.get(kind, "").startswith("stopped"):
                    row[f"{kind}_ratio_at_least"] = round(limit / row["all_cpu_s"], 1)
                if f"{kind}_cpu_s" in row:
                    row[f"{kind}_ratio"] = round(row[f"{kind}_cpu_s"] / row["all_cpu_s"], 1)
        rows.append(row)
        print(json.dumps(row))
    peers = {"prefixspan": "0.5.2", "seq2pat": "2.0.0", "effspm": "1.0.0"}
    RESULT.write_text(json.dumps({"peers": peers, "cpu_limit_s": limit, "rows": rows}, indent=2) + "\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]), *(int(a) for a in sys.argv[2:]))
