"""What does Spark cost on one machine, and are its counts the same? Graph with exact quantiles, and variants.

    python -m experiments.spark DATA_FOLDER [COPIES …]

DATA_FOLDER holds bpic2012/events.parquet (262,200 real events). The log is replicated COPIES times (default 4
and 40: one and ten million events) with fresh case ids, as one Parquet file per million events. Both engines
read the same files in a process of their own; the session's start is told apart. CPU seconds are those of all
processes (Python, Java and its workers), wall seconds and peak memory as the operating system counts them.
"""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import polars as pl

RESULT = Path(__file__).parent / "results" / "spark.json"
PER_FILE = 4


def replicated(path: Path, copies: int, folder: Path) -> None:
    """The log several times over, each copy with case ids of its own."""
    events = pl.read_parquet(path, columns=["case_id", "activity", "timestamp"])
    for first in range(0, copies, PER_FILE):
        numbers = range(first, min(copies, first + PER_FILE))
        parts = [events.with_columns(case_id=pl.lit(f"{k}-") + pl.col("case_id")) for k in numbers]
        pl.concat(parts).write_parquet(folder / f"part-{first:04d}.parquet")


def timed(steps: dict[str, float], name: str, began: float) -> float:
    """Note the seconds since `began`, give the time now."""
    now = time.perf_counter()
    steps[name] = round(now - began, 2)
    return now


def local(folder: Path) -> dict[str, Any]:
    """Read, encode and count on this machine."""
    from behavio.journeys import directly_follows, variants
    from behavio.sequences import SequenceSet
    from behavio.sources import read

    steps: dict[str, float] = {}
    now = time.perf_counter()
    log = read(str(folder))
    sequences = SequenceSet.from_log(log)
    now = timed(steps, "read and encode", now)
    graph = directly_follows(sequences)
    now = timed(steps, "graph", now)
    found = variants(sequences)
    timed(steps, "variants", now)
    return answer(steps, graph, found)


def cluster(folder: Path) -> dict[str, Any]:
    """The same on local Spark, two cores."""
    from behavio.engine.spark import SparkEngine, session
    from behavio.journeys import directly_follows
    from behavio.journeys.whole import variants_of
    from behavio.sequences import SequenceSet
    from behavio.sources import LogInputs, LogSettings, SourceSettings
    from behavio.sources.cluster import read_cluster_log, read_text_times

    steps: dict[str, float] = {}
    now = time.perf_counter()
    engine = SparkEngine(session({"spark.master": "local[2]"}), read=read_text_times)
    now = timed(steps, "start", now)
    source = {"log": SourceSettings(path=str(folder))}
    found = read_cluster_log(LogInputs(source, Path(), log=LogSettings(sample_events=100_000)), engine)
    now = timed(steps, "check and sample", now)
    graph = directly_follows(found.whole, engine)
    now = timed(steps, "graph", now)
    sample = SequenceSet.from_log(found.log).recode(found.whole.vocabulary)
    told = variants_of(found.whole, engine, sample)
    timed(steps, "variants", now)
    engine.spark.stop()
    return answer(steps, graph, told)


def answer(steps: dict[str, float], graph: Any, found: Any) -> dict[str, Any]:
    """What both sides report, and hashes of the tables to compare (without the rounded std_s)."""
    tables = [graph.edges.drop("std_s", strict=False), graph.activities, found.to_frame()]
    rows = ["\n".join(map(str, t.rows())) for t in tables]
    return {"seconds": steps, "n_events": graph.n_events, "n_edges": graph.edges.height, "rows": rows}


def measured(side: str, folder: Path) -> dict[str, Any]:
    """One side in a process of its own; CPU seconds of it and of everything it started."""
    command = [sys.executable, "-m", "experiments.spark", "--side", side, str(folder)]
    began, before = time.perf_counter(), resource.getrusage(resource.RUSAGE_CHILDREN)
    with tempfile.TemporaryFile("w+") as out:
        process = subprocess.Popen(command, stdout=out, start_new_session=True)
        cpu, peak = {}, 0
        while process.poll() is None:
            now = used(process.pid)
            cpu |= {pid: seconds for pid, (seconds, _) in now.items()}
            peak = max(peak, sum(memory for _, memory in now.values()))
            time.sleep(0.5)
        out.seek(0)
        found = json.loads(out.read())
    wall, after = round(time.perf_counter() - began, 1), resource.getrusage(resource.RUSAGE_CHILDREN)
    own = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    total = max(own, sum(cpu.values()))  # the last half second of Java is not seen
    return found | {"wall_s": wall, "cpu_s": round(total, 1), "peak_mb": round(peak / 1e6)}


def used(session: int) -> dict[int, tuple[float, int]]:
    """CPU seconds and resident bytes of every process of a session (Linux)."""
    found = {}
    tick, page = os.sysconf("SC_CLK_TCK"), os.sysconf("SC_PAGE_SIZE")
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                fields = (entry / "stat").read_text().rpartition(")")[2].split()
            except OSError:
                continue
            if int(fields[3]) == session:
                seconds = (int(fields[11]) + int(fields[12])) / tick
                found[int(entry.name)] = (seconds, int(fields[21]) * page)
    return found


def main(data: Path, copies: list[int]) -> None:
    """Both sides for each size; print and write what was found."""
    results = []
    for n in copies or [4, 40]:
        with tempfile.TemporaryDirectory() as name:
            replicated(data / "bpic2012" / "events.parquet", n, Path(name))
            sides = {side: measured(side, Path(name)) for side in ("local", "spark")}
        same = sides["local"].pop("rows") == sides["spark"].pop("rows")
        results.append({"log": f"bpic2012 × {n}", "same_tables": same, **sides})
        print(json.dumps(results[-1]))
    RESULT.write_text(json.dumps({"cores": 2, "rows": results}, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    if sys.argv[1] == "--side":
        side = {"local": local, "spark": cluster}[sys.argv[2]]
        print(json.dumps(side(Path(sys.argv[3]))))
    else:
        main(Path(sys.argv[1]), [int(a) for a in sys.argv[2:]])
