"""A million HCPs scored, ruled and planned: time and memory.

    python experiments/bench/suggest.py --cases 1000000 --out experiments/results/bench_suggest.json

A year of 2,000 simulated HCPs is repeated under new ids until there are enough cases, cut to their last
months so that a case has about a dozen events; groups, stages and bands are dealt by the planted kinds. What
is timed is one process that reads the log of a run from disk and writes every table of suggestions.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import polars as pl

from behavio.files import write_json
from behavio.log import EventLog
from behavio.simulate import SimulateSettings, simulate_log
from behavio.sources import read
from behavio.suggest import Found, SuggestSettings, read_slim_log, write_suggestions

BASE = 2_000


def make(folder: Path, cases: int, months: int) -> None:
    """Write log, groups, stages and bands of `cases` HCPs."""
    events, truth = simulate_log(SimulateSettings(n_cases=BASE, seed=7))
    start = events["timestamp"].max() - pl.duration(days=30 * months)  # type: ignore[operator]
    events = events.filter(pl.col("timestamp") >= start)
    copies = -(-cases // BASE)
    log = read(events)
    ids = pl.concat_str("case_id", pl.lit("-"), pl.col("copy").cast(pl.String))
    numbers = pl.DataFrame({"copy": range(copies)})

    def repeated(frame: pl.DataFrame) -> pl.DataFrame:
        whole = frame.join(numbers, how="cross").with_columns(case_id=ids)
        if "actor_id" in whole.columns:  # every copy is a country of its own, with its own reps
            whole = whole.with_columns(
                actor_id=pl.concat_str("actor_id", pl.lit("-"), pl.col("copy").cast(pl.String))
            )
        return whole.drop("copy")

    (folder / "log").mkdir(parents=True)
    big = repeated(log.events).sort("case_id", "timestamp", "event_index")
    people = truth.archetypes
    granted = people.filter("consent").select("case_id")
    empty = log.consents
    consents = repeated(granted).with_columns(
        channel=pl.lit("email"), state=pl.lit("opt_in"), timestamp=pl.lit(events["timestamp"].min())
    )
    missing = [pl.lit(None, dtype=k).alias(c) for c, k in empty.schema.items() if c not in consents.columns]
    consents = consents.with_columns(missing).select(pl.col(c).cast(k) for c, k in empty.schema.items())
    parts = {f: getattr(log, f) for f in log.__dataclass_fields__}
    cases_table = repeated(people.select("case_id", "decile", "specialty"))
    EventLog(**{**parts, "events": big, "consents": consents, "cases": cases_table}).write(folder / "log")
    labels = repeated(people.select("case_id", segment="archetype"))
    labels.with_columns(segment_id=pl.lit(0), strength=pl.lit(0.9)).write_parquet(folder / "segments.parquet")
    last = pl.lit(None, dtype=pl.Datetime("us", "UTC"))
    standing = repeated(truth.stages.group_by("case_id").agg(pl.col("stage").last()).sort("case_id"))
    standing.with_columns(probability=pl.lit(0.8), since=last, evidence=pl.lit("")).write_parquet(
        folder / "stages.parquet"
    )
    band = repeated(people.select("case_id")).with_columns(
        contacts=pl.lit(2), low=pl.lit(1.5), high=pl.lit(4.2)
    )
    band.write_parquet(folder / "pressure.parquet")


def work(folder: Path) -> None:
    """Read, score, rule, plan, write; prints what it took."""
    began, cpu = time.perf_counter(), time.process_time()
    out = folder / "suggestions"
    out.mkdir(exist_ok=True)
    tables = {n: pl.read_parquet(folder / f"{n}.parquet") for n in ("segments", "stages", "pressure")}
    found = Found(stages=tables["stages"], pressure=tables["pressure"])
    settings = SuggestSettings(value_column="decile", costs={"email": 1, "f2f": 20})
    log = read_slim_log(folder / "log", settings)

    def told(what: str, share: float) -> None:
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
        print(
            f"{time.process_time() - cpu:7.1f} CPU s {peak:6.2f} GB {what} {share:.2f}",
            file=sys.stderr,
            flush=True,
        )

    facts = write_suggestions(log, None, None, tables["segments"], settings, 7, out, told, found)  # type: ignore[arg-type]
    result: dict[str, Any] = {
        "seconds": round(time.perf_counter() - began, 1),
        "cpu_seconds": round(time.process_time() - cpu, 1),
        "peak_gb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6, 2),
        "n_cases": facts["n_cases"],
        "n_events": log.n_events,
        "n_candidates": facts["n_candidates"],
        "n_suggestions": facts["n_suggestions"],
        "n_planned_steps": facts["n_planned_steps"],
    }
    print(json.dumps(result))


def main() -> None:
    """Make the data, then time the work in a process of its own."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--cases", type=int, default=1_000_000)
    parser.add_argument("--months", type=int, default=2)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--work", type=Path)
    asked = parser.parse_args()
    if asked.work:
        work(asked.work)
        return
    with TemporaryDirectory() as folder:
        make(Path(folder) / "data", asked.cases, asked.months)
        command = [sys.executable, __file__, "--work", str(Path(folder) / "data")]
        done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    told = json.loads(done.stdout.splitlines()[-1])
    print(json.dumps(told, indent=1))
    if asked.out:
        write_json(asked.out, told)


if __name__ == "__main__":
    main()
