"""The counting model on about a million events: events per CPU second to fit, to add and to score.

    python experiments/bench/counting.py DATA_FOLDER

Logs are real ones, whole cases copied under new ids until there are a million events; the last is simulated,
20,000 cases without copies, so that most long contexts are new. One thread; best of three fits. "default" is
`Counting()` with every view the log allows, chosen and mixed on the held-out part; "plain" has no view but
the activities; "fixed" counts eight orders and chooses nothing; "n-gram" is the baseline of the roster.
"""

from __future__ import annotations

import json
import os
import sys
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

RESULT = Path(__file__).parents[1] / "results" / "bench_counting.json"
LOGS: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("bpic2012", ()),
    ("stackoverflow_badges", ()),
    ("open_payments_iowa", ("company", "form")),
    ("bpic2015_2", ("resource",)),
)


def copies(log: SequenceSet, events: int) -> SequenceSet:
    """The log's cases again and again under new ids until there are so many events."""
    n, k = -(-events // log.n_events), log.n_events
    ids = pl.concat([pl.select(pl.lit(f"{i}-") + log.case_ids).to_series() for i in range(n)])
    offsets = np.concatenate([[0], *(log.offsets[1:] + i * k for i in range(n))])
    fields = {name: Field(np.tile(f.codes, n), f.vocabulary) for name, f in log.fields.items()}
    tokens, times = np.tile(log.tokens, n), np.tile(log.times, n)
    return replace(log, tokens=tokens, times=times, offsets=offsets, case_ids=ids, fields=fields)


def simulated(n_cases: int = 20_000, events: int = 50, activities: int = 20) -> SequenceSet:
    """Cases of a Markov chain of the second order with random gaps of days."""
    random = np.random.default_rng(7)
    chain = np.cumsum(random.dirichlet(np.full(activities, 0.3), size=(activities, activities)), axis=2)
    trace = np.zeros((n_cases, events), dtype=np.int64)
    trace[:, :2] = random.integers(0, activities, (n_cases, 2))
    for step in range(2, events):
        draw = random.random(n_cases)[:, None]
        row = chain[trace[:, step - 2], trace[:, step - 1]]
        trace[:, step] = np.minimum((row < draw).sum(axis=1), activities - 1)
    days = np.exp(random.normal(0.5, 1.0, trace.shape)).cumsum(axis=1) + random.random((n_cases, 1)) * 365
    table = pl.DataFrame(
        {
            "case_id": np.repeat(np.arange(n_cases), events),
            "activity": pl.Series([f"act{i:02d}" for i in range(activities)]).gather(
                pl.Series(trace.ravel())
            ),
            "timestamp": pl.Series((days.ravel() * 86_400e6).astype(np.int64)).cast(pl.Datetime("us")),
        }
    )
    return SequenceSet.from_log(api.read(table))


def best(work: Callable[[], object], times: int = 3) -> float:
    """Fewest CPU seconds of a few runs."""
    took = []
    for _ in range(times):
        began = time.process_time()
        work()
        took.append(time.process_time() - began)
    return min(took)


def measured(log: SequenceSet) -> dict[str, Any]:
    """Million events (or steps) per CPU second."""
    model = Counting().fit(log)
    coded, steps = model.coded(log), Prefixes.of_cases(log, 0)
    asked = steps.thin(100_000)
    half = log.select(np.arange(log.n_cases) < log.n_cases // 2)
    rate = {
        "default": log.n_events / best(lambda: Counting().fit(log)),
        "plain": log.n_events / best(lambda: Counting(views=()).fit(log)),
        "fixed": log.n_events / best(lambda: Counting(fixed=True).fit(log)),
        "n-gram": log.n_events / best(lambda: NGram().fit(log)),
        "score": len(asked) / best(lambda: model.rows(coded, asked), 1),
    }
    grid = tuple(model.tallies[0].grid.__getattribute__(n) for n in ("origin", "width", "by"))
    early = Counting(fixed=True, grid=grid).fit(half)
    new = Prefixes.of_cases(log, half.n_cases)
    rate["add"] = len(new) / best(lambda: early.update(log, new), 1)
    return {
        "events": log.n_events,
        "cases": log.n_cases,
        "activities": len(log.vocabulary) - 2,
        "views": model.views_.tolist(),
        "million_per_cpu_second": {name: round(r / 1e6, 2) for name, r in rate.items()},
    }


def main() -> None:
    """Every log; write the result."""
    found = {}
    for name, fields in LOGS:
        table = pl.read_parquet(Path(sys.argv[1]) / name / "events.parquet")
        log = SequenceSet.from_log(api.read(table), fields)
        found[name] = measured(copies(log, 1_000_000))
        print(name, json.dumps(found[name]), flush=True)
    found["simulated"] = measured(simulated())
    print("simulated", json.dumps(found["simulated"]))
    RESULT.write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
