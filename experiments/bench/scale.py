"""The default model on a million events and a million cases: minutes and memory of fitting and of scoring.

    python experiments/bench/scale.py DATA_FOLDER [THREADS]

The log is `bpic2012`, whole cases copied under new ids: 1,048,800 events to fit, 1,007,699 cases to score (as
far as each is known, its likeliest activities). The default model is the pool; its parts are
timed on the way. A process of its own for each side, so that the peak memory is that side's. CPU and wall
seconds, on so many threads of numba and torch (default: one).
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

RESULT = Path(__file__).parents[1] / "results" / "bench_scale.json"
ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))

FIT_EVENTS, SCORE_CASES = 1_000_000, 1_000_000


def spent(work: Callable[[], object]) -> dict[str, float]:
    """CPU and wall seconds, and the peak memory of the process so far."""
    import resource

    cpu, wall = time.process_time(), time.perf_counter()
    work()
    return {
        "cpu_s": round(time.process_time() - cpu, 1),
        "wall_s": round(time.perf_counter() - wall, 1),
        "peak_mb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024),
    }


def log_of(data: Path, events: int) -> Any:
    """The real log copied until it has so many events."""
    import polars as pl

    from behavio import api
    from behavio.sequences import SequenceSet
    from experiments.bench.counting import copies

    return copies(SequenceSet.from_log(api.read(pl.read_parquet(data / "bpic2012/events.parquet"))), events)


def fit(data: Path, folder: Path) -> dict[str, Any]:
    """Fit and save the pool; seconds of each message it tells while it works."""
    from behavio.models import ModelSettings
    from behavio.models.roster import ROSTER

    log = log_of(data, FIT_EVENTS)
    model = ROSTER["pool"].make(ModelSettings(), 7)
    found: dict[str, Any] = {"events": log.n_events, **spent(lambda: model.fit(log))}
    model.save(folder)
    return found


def score(data: Path, folder: Path) -> dict[str, Any]:
    """The likeliest activities of every case, by the pool and by each of its members."""
    import numpy as np

    from behavio.models.base import Prefixes, SequenceModel
    from behavio.models.next import likeliest

    log = log_of(data, 262_200 * 77)
    model = SequenceModel.load(folder)
    coded, asked = model.coded(log), Prefixes.last(log)
    some = asked.thin(50_000)
    found: dict[str, Any] = {"cases": len(asked), "events": log.n_events}
    found["all"] = spent(lambda: likeliest(model, coded, asked, 3))
    members = getattr(model, "_all", {})
    found["of 50,000 cases"] = {
        name: spent(lambda m=m: likeliest(m, m.coded(log), some, 3))  # type: ignore[misc]
        for name, m in members.items()
        if name in np.asarray(getattr(model, "used_", [])).tolist()
    }
    clock = model.clock()
    if clock is not None:
        then = np.full(len(some), 2)
        waited = np.zeros(len(some), dtype=np.int64)
        found["of 50,000 cases"]["times"] = spent(lambda: clock.when(clock.coded(log), some, then, waited))
    return found


def ran(side: str, data: str, folder: str, threads: str) -> dict[str, Any]:
    """One side in a process of its own."""
    names = ("OMP_NUM_THREADS", "NUMBA_NUM_THREADS", "MKL_NUM_THREADS", "POLARS_MAX_THREADS")
    done = subprocess.run(
        [sys.executable, __file__, data, threads, side, folder],
        stdout=subprocess.PIPE,
        text=True,
        cwd=ROOT,
        env=os.environ | dict.fromkeys(names, threads),
        check=True,
    )
    found: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
    print(side, json.dumps(found), flush=True)
    return found


def main() -> None:
    """Fit, score, write the result."""
    if len(sys.argv) > 3:
        side = fit if sys.argv[3] == "fit" else score
        print(json.dumps(side(Path(sys.argv[1]), Path(sys.argv[4]))))
        return
    threads = sys.argv[2] if len(sys.argv) > 2 else "1"
    with tempfile.TemporaryDirectory() as folder:
        found = {side: ran(side, sys.argv[1], folder, threads) for side in ("fit", "score")}
    found["threads"] = {"n": int(threads)}
    RESULT.write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
