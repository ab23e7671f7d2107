"""Compile the kernels of every stage once, on a tiny log, so that the first real run need not wait.

`python -m behavio.cli.warm` does it, with `--all` for the simulator too; `beside` starts that next to
other work when no kernel is cached yet.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from behavio import kernels


def cached() -> bool:
    """True when kernels compiled by an earlier run lie in the cache."""
    return any((Path(kernels.__path__[0]) / "__pycache__").glob("*.nbi"))


@contextmanager
def beside() -> Iterator[None]:
    """Compile in a second process while the block works; ends with it, never fails because of it.

    Two processes may compile the same kernel: its file in the cache appears whole, whoever is first.
    """
    if cached():
        yield
        return
    process = subprocess.Popen(
        [sys.executable, "-m", "behavio.cli.warm"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        yield
    finally:
        process.kill()
        process.wait()


def main(simulator: bool = False) -> None:
    """Run every counting stage on forty cases of four activities, and a tiny simulation where asked."""
    import polars as pl

    from behavio import api, conformance, patterns, run
    from behavio.job import job_from
    from behavio.journeys import traces
    from behavio.sequences import SequenceSet
    from behavio.sources.text import cut_columns

    steps = [(2, "email_sent"), (1, "email_open"), (4, "portal_visit"), (3, "call_f2f"), (2, "email_sent")]
    rows = ["case_id,activity,timestamp,direction,channel"]
    for case in range(40):
        day = 1
        for gap, activity in steps[case % 3 :] + steps[: case % 4]:
            day += gap
            side = "outbound" if activity in ("email_sent", "call_f2f") else "inbound"
            rows.append(f"c{case},{activity},2026-01-{day:02d} {case % 24:02d}:00,{side},{activity[:5]}")
    stages = ("journeys", "segments", "patterns", "suggest")
    table = {"source": {"tiny": {"path": "tiny.csv"}}, "model": {"kind": "ngram"}} | {s: {} for s in stages}
    cut_columns("\n".join([*rows, ""]).encode(), ",", None)  # small files are read without it
    with TemporaryDirectory() as folder:
        (Path(folder) / "tiny.csv").write_text("\n".join(rows))
        run.run(job_from(table, name="tiny", base=Path(folder)), Path(folder) / "run")
        tiny = Path(folder) / "tiny.csv"
        pl.read_csv(tiny).write_parquet(tiny.with_suffix(".parquet"))
        for file in (tiny, tiny.with_suffix(".parquet"), *_parquets(tiny)):
            api.encode(file, Path(folder) / "encoded")
        api.funnel(Path(folder) / "run", ["email_sent", "portal_visit"], within="30d", sessions="12h")
        _climb()
        _press()
        _count()
        log = SequenceSet.read(Path(folder) / "run/log/encoded")
        traces.merge(traces.tally(log), traces.tally(log))  # only large logs have several shards
        patterns.match(
            log, "email_sent -> portal_visit within 9d, no call_f2f, no * after portal_visit within 1d"
        )
        api.rules(log)
        conformance.check_rules(log, [("response", "email_sent", "email_open")])
        limits = (
            "response(email_sent, email_open) within 3d",
            "precedence(email_sent, email_open)",
            "init(call_f2f)",
        )
        flow = [{"activity": "email_sent"}, {"activity": "portal_visit", "within": "3d"}]
        goal = {"goal": 1, "start": "2026-01-01", "end": "2026-01-31"}
        api.conform(log, {"flow": [{"step": flow}], "frequency": [goal]}, rules=limits)
        patterns.precedes(log, "portal_visit", patterns.PatternSettings(within="3d"))
        if simulator:
            api.simulate(Path(folder) / "data", n_cases=20, months=2)


def _climb() -> None:
    """The ladder of stages, on four events."""
    import numpy as np

    from behavio.stages.learn import Ladders, StageLadder

    codes = np.array([0, 1, 1, 0], np.int32)
    seen = Ladders(np.array([0, 2, 4]), codes, codes, np.array([0.0, 1.0, 0.0, -1.0]), 2, 2)
    StageLadder(2).fit(seen)


def _press() -> None:
    """Contact pressure, on four pieces of time."""
    import numpy as np

    from behavio.pressure.risk import Pieces
    from behavio.pressure.within import explained, profile

    level, codes = np.array([2, 3, 2, 3]), np.array([[0, 3], [0, 4], [0, 3], [0, 4]], np.int32)
    starts, answered = np.array([0, 2, 4]), np.array([1.0, 0.0, 0.0, 1.0])
    pieces = Pieces(starts, np.array([0, 1]), codes, 5, level, np.ones(4), answered)
    profile(pieces, explained(pieces))


def _parquets(table: Path) -> list[Path]:
    """The table as Parquet files of other makes: packed by Snappy, with times as text and as times."""
    import polars as pl

    text = pl.read_csv(table)
    typed = text.with_columns(pl.col("timestamp").str.to_datetime("%Y-%m-%d %H:%M"))
    found = []
    for name, frame in (("text", text), ("typed", typed)):
        for few, size in (("few", 1 << 20), ("many", 1)):  # a small dictionary is given up for plain pages
            found.append(table.with_name(f"{name}-{few}.parquet"))
            frame.write_parquet(found[-1], compression="snappy", data_page_size=size)
    return found


def _count() -> None:
    """Counts, habits, the search for neighbours and what nets remember, on enough steps to choose by."""
    import numpy as np

    from behavio.models import Counting, Prefixes, find_alike
    from behavio.models.habit import Habit
    from behavio.models.inputs import seen_as
    from behavio.sequences import SequenceSet

    log = SequenceSet.from_traces([list("abcb"[i % 2 :] * 3) for i in range(120)])
    half = Prefixes.of_cases(log, 60)
    model = Counting().fit(log.select(np.arange(60)))
    model.update(log, half).evidence(log, half, np.full(len(half), 2))
    model.rows(model.coded(log), half)
    find_alike(log, log.case_ids[0])
    seen_as(log, 0, False, np.array([2]))
    habit = Habit().fit(log)
    habit.rows(habit.coded(log), half)


if __name__ == "__main__":
    main(simulator="--all" in sys.argv)
