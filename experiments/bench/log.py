"""From a file to the encoded log on disk, and its counts: whole processes, start included, against pm4py.

    python experiments/bench/log.py DATA_FOLDER [--copies 38] [--large]

DATA_FOLDER holds bpic2012/events.parquet (262,200 real events); the log is replicated with fresh case ids.
Every line is one process of its own, measured by the system: CPU seconds (user and system, all threads),
wall seconds, peak memory. pm4py reads the same file with pandas and calls format_dataframe, which leaves its
table in memory; behavio writes its arrays to disk. `--large` also encodes and counts 100 million events
(about 10 GB of temporary files). Results go to experiments/results/bench_log.json.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import shutil
import subprocess
import sys
import tempfile
import time
from importlib.metadata import version
from pathlib import Path
from typing import Any

RESULT = Path(__file__).parents[1] / "results" / "bench_log.json"
ROOT = Path(__file__).parents[2]
PEER = (
    "import sys, pandas as pd, pm4py\n"
    "read = pd.read_csv if sys.argv[1].endswith('.csv') else pd.read_parquet\n"
    "names = dict(case_id='case_id', activity_key='activity', timestamp_key='timestamp')\n"
    "print(len(pm4py.format_dataframe(read(sys.argv[1]), **names)))\n"
)
COUNTS = (
    "import sys\n"
    "from pathlib import Path\n"
    "from behavio.journeys import directly_follows, variants\n"
    "from behavio.sequences import SequenceSet\n"
    "log = SequenceSet.read(Path(sys.argv[1]))\n"
    "print(directly_follows(log).edges.height)\n"
    "print(len(variants(log)))\n"
    "print(float((log.times[log.offsets[1:] - 1] - log.times[log.offsets[:-1]]).mean()))\n"
)
CAREFUL = (
    "import sys\n"
    "from behavio import sources\n"
    "from behavio.sequences import SequenceSet\n"
    "print(SequenceSet.from_log(sources.read(sys.argv[1])).n_events)\n"
)


def measured(command: list[str]) -> dict[str, float]:
    """One process: CPU seconds, wall seconds, peak memory in MB."""
    began = time.perf_counter()
    with tempfile.TemporaryFile() as said:
        process = subprocess.Popen(
            command, stdout=said, stderr=said, cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT)}
        )
        _, status, used = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        wall = time.perf_counter() - began
        if process.returncode:
            said.seek(0)
            raise SystemExit(said.read().decode(errors="replace")[-2_000:])
    return {
        "cpu_s": round(used.ru_utime + used.ru_stime, 2),
        "user_s": round(used.ru_utime, 2),
        "wall_s": round(wall, 2),
        "peak_mb": round(used.ru_maxrss / 1024),
    }


def made(make: Any, *given: Any, **more: Any) -> int:
    """Let a process of its own make a file; this one stays small, for a child's peak begins with it."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return int(pool.apply(make, given, more))


def replicated(source: Path, target: Path, copies: int, *, typed: bool = False) -> int:
    """Write the log `copies` times over, each with case ids of its own; returns the number of events."""
    import polars as pl
    import pyarrow as pa
    import pyarrow.csv as pc
    import pyarrow.parquet as pq

    events = pl.read_parquet(source, columns=["case_id", "activity", "timestamp"])
    if not typed:
        text = pl.col("timestamp").dt.strftime("%Y-%m-%dT%H:%M:%S%.6f")
        events = events.with_columns(text)
    writer: Any = None
    for copy in range(copies):
        own = events.with_columns(case_id=pl.lit(f"{copy}-") + pl.col("case_id"))
        table = own.to_arrow(compat_level=pl.CompatLevel.oldest())
        kinds = [pa.string() if pa.types.is_large_string(f.type) else f.type for f in table.schema]
        table = table.cast(pa.schema(list(zip(table.schema.names, kinds, strict=True))))
        if writer is None:
            plain = pc.WriteOptions(quoting_style="needed")
            csv = target.suffix == ".csv"
            writer = (
                pc.CSVWriter(target, table.schema, write_options=plain)
                if csv
                else pq.ParquetWriter(target, table.schema)
            )
        writer.write_table(table)
    writer.close()
    return events.height * copies


def veeva(source: Path, target: Path, copies: int) -> int:
    """The log as a Call2 export of 30 columns: its cases are accounts, its times are calls."""
    import polars as pl

    events = pl.concat([pl.read_parquet(source, columns=["case_id", "timestamp"])] * copies)
    n = pl.int_range(pl.len())
    channels = pl.Series(["Face_to_face_vod", "Video_vod", "Phone_vod"])
    numbered = [f"Custom_{k:02d}__c" for k in range(1, 20)]
    columns = {
        "Id": pl.format("a04{}AA", n.cast(pl.String).str.zfill(13)),
        "Name": pl.format("C{}", n),
        "Account_vod__c": pl.format("0010{}AA", pl.col("case_id").str.zfill(12)),
        "Call_Datetime_vod__c": pl.col("timestamp").dt.strftime("%Y-%m-%dT%H:%M:%S.000Z"),
        "Call_Date_vod__c": pl.col("timestamp").dt.strftime("%Y-%m-%d"),
        "Status_vod__c": pl.lit("Submitted_vod"),
        "Call_Channel_vod__c": pl.lit(channels).gather(n % 3),
        "OwnerId": pl.format("005{}", (n % 500).cast(pl.String).str.zfill(15)),
        "IsDeleted": pl.lit("false"),
        "LastModifiedDate": pl.col("timestamp").dt.strftime("%Y-%m-%dT%H:%M:%S.000Z"),
        "Pre_Call_Notes_vod__c": pl.lit("asked for the study"),
        **{name: pl.format("value {}", n % (place + 2)) for place, name in enumerate(numbered)},
    }
    table = events.select(e.alias(name) for name, e in columns.items())
    assert table.width == 30
    table.write_csv(target)
    return table.height


def encode(path: Path, out: Path) -> list[str]:
    """behavio's command."""
    return [sys.executable, "-m", "behavio", "encode", str(path), "--out", str(out), "--json"]


def row(name: str, n: int, mine: dict[str, float], theirs: dict[str, float] | None = None) -> dict[str, Any]:
    """One line of the result, printed as it comes."""
    found: dict[str, Any] = {"what": name, "n_events": n, "behavio": mine}
    found["events_per_cpu_s"] = round(n / mine["cpu_s"])
    text = f"{name}: {n:,} in {mine['cpu_s']} CPU s = {n / mine['cpu_s'] / 1e6:.2f} M per CPU s"
    text += f", {mine['wall_s']} s wall, {mine['peak_mb']:,.0f} MB"
    if theirs is not None:
        found |= {"pm4py": theirs, "ratio": round(theirs["cpu_s"] / mine["cpu_s"], 1)}
        text += f"; pm4py {theirs['cpu_s']} CPU s, {theirs['peak_mb']:,.0f} MB: {found['ratio']} times"
    print(text, flush=True)
    return found


def formats(source: Path, folder: Path, copies: int) -> list[dict[str, Any]]:
    """The same log as Parquet with text and with typed times, and as CSV, each against pm4py."""
    rows = []
    for name, file, typed in (
        ("Parquet, three text columns", "text.parquet", False),
        ("Parquet, typed time", "typed.parquet", True),
        ("CSV", "log.csv", False),
    ):
        n = made(replicated, source, folder / file, copies, typed=typed)
        mine = measured(encode(folder / file, folder / "encoded"))
        rows.append(row(name, n, mine, measured([sys.executable, "-c", PEER, str(folder / file)])))
        (folder / file).unlink()
        shutil.rmtree(folder / "encoded")
    return rows


def growth(source: Path, folder: Path, sizes: list[int]) -> list[dict[str, Any]]:
    """Encoding and counting from one to a hundred million events."""
    rows = []
    for copies in sizes:
        n = made(replicated, source, folder / "log.parquet", copies)
        rows.append(row("encode", n, measured(encode(folder / "log.parquet", folder / "encoded"))))
        (folder / "log.parquet").unlink()
        counts = [sys.executable, "-c", COUNTS, str(folder / "encoded")]
        rows.append(row("graph, variants, durations", n, measured(counts)))
        shutil.rmtree(folder / "encoded")
    return rows


def main() -> None:
    """Measure, print, write the result."""
    parser = argparse.ArgumentParser()
    parser.add_argument("data", type=Path)
    parser.add_argument("--copies", type=int, default=38)
    parser.add_argument("--large", action="store_true")
    given = parser.parse_args()
    source = given.data / "bpic2012" / "events.parquet"
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        warm = encode(source, folder / "warm")
        measured(warm)  # kernels compile once, at installation
        rows = [row("start: the log once", 262_200, measured(warm))]
        rows += formats(source, folder, given.copies)
        n = made(veeva, source, folder / "Call2_vod__c.csv", 8)
        careful = [sys.executable, "-c", CAREFUL, str(folder / "Call2_vod__c.csv")]
        measured(careful)
        rows.append(row("Veeva Call2 export, 30 columns", n, measured(careful)))
        rows += growth(source, folder, [4, 38, 382] if given.large else [4, 38])
    result = {"log": "bpic2012, replicated", "cores": os.cpu_count(), "rows": rows}
    result |= {"load_average": os.getloadavg(), "pm4py": version("pm4py"), "pandas": version("pandas")}
    RESULT.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
