"""The counting model on about a million events: events per second to fit, to add and to score, and memory.

    python experiments/bench/counting.py DATA_FOLDER [LOG ...]

Logs are real ones, whole cases copied under new ids until there are a million events, and three simulated
without copies, so that most long contexts are new: HCPs as `behavio simulate` makes them, with all their
fields, and chains of 20 and 400 activities. A process for each log; best of three fits. "default" is
`Counting()` with every view the log allows, chosen and mixed on the held-out part, and "wall" the same by the
clock, views being tried on two threads; "plain" has no view but the activities; "fixed" counts eight orders
and chooses nothing; "n-gram" is the baseline of the roster. "ready" is what the first prediction takes, which
makes the tables of the views that were kept.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

os.environ.setdefault("NUMBA_NUM_THREADS", "1")
os.environ.setdefault("OMP_NUM_THREADS", "1")
sys.path.insert(0, str(Path(__file__).parents[2]))

import numpy as np
import polars as pl

from behavio import api
from behavio.models import Counting, NGram, Prefixes
from behavio.sequences import Field, SequenceSet
from behavio.simulate import SimulateSettings, simulate_log

RESULT = Path(__file__).parents[1] / "results" / "bench_counting.json"
LOGS: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("bpic2012", ()),
    ("stackoverflow_badges", ()),
    ("open_payments_iowa", ("company", "form")),
    ("bpic2015_2", ("resource",)),
    ("bpic2011_hospital", ("section",)),
)
HCPS = 17_500
CHAINS = {"chain_20": (20, 2), "chain_400": (400, 1)}


def copies(log: SequenceSet, events: int) -> SequenceSet:
    """The log's cases again and again under new ids until there are so many events."""
    n, k = -(-events // log.n_events), log.n_events
    ids = pl.concat([pl.select(pl.lit(f"{i}-") + log.case_ids).to_series() for i in range(n)])
    offsets = np.concatenate([[0], *(log.offsets[1:] + i * k for i in range(n))])
    fields = {name: Field(np.tile(f.codes, n), f.vocabulary) for name, f in log.fields.items()}
    tokens, times = np.tile(log.tokens, n), np.tile(log.times, n)
    return replace(log, tokens=tokens, times=times, offsets=offsets, case_ids=ids, fields=fields)


def simulated(activities: int, order: int, n_cases: int = 20_000, events: int = 50) -> SequenceSet:
    """Cases of a Markov chain of the first or second order with random gaps of days."""
    random = np.random.default_rng(7)
    states = activities**order
    chain = np.cumsum(random.dirichlet(np.full(activities, 6.0 / activities), size=states), axis=1)
    trace = np.zeros((n_cases, events), dtype=np.int64)
    trace[:, :order] = random.integers(0, activities, (n_cases, order))
    for step in range(order, events):
        state = trace[:, step - 1] if order == 1 else trace[:, step - 2] * activities + trace[:, step - 1]
        draw = random.random(n_cases)[:, None]
        trace[:, step] = np.minimum((chain[state] < draw).sum(axis=1), activities - 1)
    days = np.exp(random.normal(0.5, 1.0, trace.shape)).cumsum(axis=1) + random.random((n_cases, 1)) * 365
    table = pl.DataFrame(
        {
            "case_id": np.repeat(np.arange(n_cases), events),
            "activity": pl.Series([f"act{i:03d}" for i in range(activities)]).gather(
                pl.Series(trace.ravel())
            ),
            "timestamp": pl.Series((days.ravel() * 86_400e6).astype(np.int64)).cast(pl.Datetime("us")),
        }
    )
    return SequenceSet.from_log(api.read(table))


def log_of(name: str, data: Path) -> SequenceSet:
    """One of the logs."""
    if name == "hcp":
        return SequenceSet.from_log(api.read(simulate_log(SimulateSettings(n_cases=HCPS, seed=11))[0]))
    if name in CHAINS:
        return simulated(*CHAINS[name])
    table = pl.read_parquet(data / name / "events.parquet")
    return copies(SequenceSet.from_log(api.read(table), dict(LOGS)[name]), 1_000_000)


def best(work: Callable[[], object], times: int = 3) -> tuple[float, float]:
    """Fewest CPU seconds of a few runs, and fewest by the clock."""
    cpu, wall = [], []
    for _ in range(times):
        began, clock = time.process_time(), time.perf_counter()
        work()
        cpu.append(time.process_time() - began)
        wall.append(time.perf_counter() - clock)
    return min(cpu), min(wall)


def peak_mb() -> int:
    """The most memory this process has had (its own: what getrusage tells begins with its parent's)."""
    [line] = [x for x in Path("/proc/self/status").read_text().splitlines() if x.startswith("VmHWM")]
    return round(int(line.split()[1]) / 1024)


def measured(log: SequenceSet) -> dict[str, Any]:
    """Million events (or steps) per CPU second; memory before and after the first fit."""
    half = log.select(np.arange(log.n_cases) < log.n_cases // 2)
    Counting().fit(half)  # compiles
    before = peak_mb()
    model = Counting().fit(log)
    after = peak_mb()
    coded, steps = model.coded(log), Prefixes.of_cases(log, 0)
    asked = steps.thin(100_000)
    ready, _ = best(lambda: model.rows(coded, asked[:1]), 1)
    cpu, wall = best(lambda: Counting().fit(log))
    rate = {
        "default": log.n_events / cpu,
        "wall": log.n_events / wall,
        "plain": log.n_events / best(lambda: Counting(views=()).fit(log))[0],
        "fixed": log.n_events / best(lambda: Counting(fixed=True).fit(log))[0],
        "n-gram": log.n_events / best(lambda: NGram().fit(log))[0],
        "score": len(asked) / best(lambda: model.rows(coded, asked), 1)[0],
    }
    grid = tuple(getattr(model.tallies[0].grid, n) for n in ("origin", "width", "by"))
    early = Counting(fixed=True, grid=grid).fit(half)
    new = Prefixes.of_cases(log, half.n_cases)
    rate["add"] = len(new) / best(lambda: early.update(log, new), 1)[0]
    return {
        "events": log.n_events,
        "cases": log.n_cases,
        "activities": len(log.vocabulary) - 2,
        "views": model.views_.tolist(),
        "million_per_second": {name: round(r / 1e6, 2) for name, r in rate.items()},
        "ready_cpu_s": round(ready, 2),
        "peak_mb": {"log_and_code": before, "fit": after, "all": peak_mb()},
        "learnt_mb": round(sum(getattr(model, n).nbytes for n in model.learned) / 1e6),
    }


def main() -> None:
    """Every log, or those that are named; write the result."""
    if sys.argv[1] == "--one":
        print(json.dumps(measured(SequenceSet.read(Path(sys.argv[2])))))
        return
    names = sys.argv[2:] or ["hcp", *CHAINS, *dict(LOGS)]
    found = json.loads(RESULT.read_text(encoding="utf-8")) if len(sys.argv) > 2 else {}
    for name in names:
        with tempfile.TemporaryDirectory() as folder:
            log_of(name, Path(sys.argv[1])).write(Path(folder))
            told = subprocess.run(
                [sys.executable, __file__, "--one", folder], check=True, capture_output=True, text=True
            )
        found[name] = json.loads(told.stdout)
        print(name, told.stdout, end="", flush=True)
    RESULT.write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
