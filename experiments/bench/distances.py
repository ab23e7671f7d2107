"""Optimal matching and other distances of all pairs against sequenzo, both asked the same in turn.

    python experiments/bench/distances.py DATA_FOLDER [ROWS] [ROUNDS]

Rows (default 2,000) are drawn with replacement from `mvad` (72 months, 6 states) and `biofam` (16 years, 8
states) with up to three random shifts of a change of state each. Costs come from transition rates, indel is
half the dearest. CPU seconds of the process with all its threads (medians), after a first call that is not
timed; every distance is compared before anything is timed.
"""

from __future__ import annotations

import contextlib
import io
import json
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import polars as pl

from behavio.distances import Distance, dissimilarities
from behavio.distances.costs import transition_costs
from behavio.sequences import SequenceSet

RESULT = Path(__file__).parents[1] / "results" / "bench_distances.json"
WORK = (("matching", "OM"), ("lcs", "LCS"), ("hamming", "HAM"))


def rows_of(path: Path, n: int, seed: int) -> np.ndarray:
    """n state sequences like those of the log, int64 (n, steps), states from 0."""
    events = pl.read_parquet(path, columns=["case_id", "activity", "position"]).sort("case_id", "position")
    steps = events["position"].n_unique()
    states = events["activity"].rank("dense").to_numpy().astype(np.int64).reshape(-1, steps) - 1
    draw = np.random.default_rng(seed)
    rows = states[draw.integers(0, len(states), n)]
    for row in rows:
        for _ in range(draw.integers(0, 4)):
            changes = np.flatnonzero(np.diff(row))
            if len(changes):
                at = int(draw.choice(changes))
                row[at + 1 :] = row[at:-1].copy() if draw.random() < 0.5 else row[at + 1 :]
    return rows


def cpu_seconds(ask: Callable[[], Any], rounds: int) -> float:
    """Median CPU seconds of the process."""
    taken = []
    for _ in range(rounds):
        start = time.process_time()
        ask()
        taken.append(time.process_time() - start)
    return statistics.median(taken)


def peer(rows: np.ndarray, method: str, costs: np.ndarray) -> np.ndarray:
    """sequenzo's square matrix."""
    from sequenzo import SequenceData, get_distance_matrix

    with contextlib.redirect_stdout(io.StringIO()):
        frame = pd.DataFrame(rows, columns=[str(t) for t in range(rows.shape[1])])
        frame.insert(0, "id", [str(i) for i in range(len(rows))])
        states = sorted(np.unique(rows).tolist())
        data = SequenceData(frame, list(frame.columns[1:]), states=states, id_col="id")
        more: dict[str, Any] = {}
        if method == "OM":
            more = {"indel": float(costs.max()) / 2, "sm": padded(costs)}
        return np.asarray(get_distance_matrix(seqdata=data, method=method, **more))


def padded(costs: np.ndarray) -> np.ndarray:
    """The cost matrix with the empty first row and column that sequenzo expects."""
    return np.pad(costs.astype(np.float64), ((1, 0), (1, 0)))


def compare(name: str, rows: np.ndarray, rounds: int) -> list[dict[str, Any]]:
    """Every distance on one data set: the answers, then the seconds."""
    names = [[f"s{v}" for v in row] for row in rows]
    log = SequenceSet.from_traces(names)
    flat = rows.astype(np.int32).ravel()
    offsets = np.arange(0, flat.size + 1, rows.shape[1])
    costs = transition_costs(flat, offsets, np.ones(len(rows), np.int64), int(rows.max()) + 1)
    found = []
    for ours, theirs in WORK:
        distance = Distance(ours, substitution="transitions" if ours == "matching" else "constant")
        square = peer(rows, theirs, costs)
        mine = dissimilarities(log, distance)
        far = max(abs(square[a, b] - mine.cases(a, b)) for a, b in pairs(len(rows)))
        facts = {"data": name, "distance": ours, "rows": len(rows), "distinct": len(mine)}
        facts["largest_difference"] = float(far)
        facts["behavio_cpu_s"] = round(cpu_seconds(lambda d=distance: dissimilarities(log, d), rounds), 4)
        facts["sequenzo_cpu_s"] = round(cpu_seconds(lambda t=theirs: peer(rows, t, costs), min(rounds, 3)), 4)
        facts["ratio"] = round(facts["sequenzo_cpu_s"] / max(facts["behavio_cpu_s"], 1e-9), 1)
        print(" · ".join(f"{k} {v}" for k, v in facts.items()), flush=True)
        found.append(facts)
    return found


def pairs(n: int) -> list[tuple[int, int]]:
    """Twenty thousand pairs, the same each time."""
    draw = np.random.default_rng(0)
    return [(int(a), int(b)) for a, b in draw.integers(0, n, (20_000, 2)) if a != b]


def main() -> None:
    """Measure both data sets and write the results."""
    data = Path(sys.argv[1])
    n = int(sys.argv[2]) if len(sys.argv) > 2 else 2_000
    rounds = int(sys.argv[3]) if len(sys.argv) > 3 else 5
    found = []
    for name in ("mvad", "biofam"):
        found += compare(name, rows_of(data / name / "events.parquet", n, 1), rounds)
    RESULT.write_text(json.dumps({"rows": n, "found": found}, indent=1) + "\n")


if __name__ == "__main__":
    main()
