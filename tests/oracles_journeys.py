"""Slow, obvious answers for journeys and patterns."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

import numpy as np
import polars as pl

from behavio.sequences import SequenceSet, Vocabulary


def slow_graph(
    traces: Sequence[Sequence[str]], times: Sequence[Sequence[int]]
) -> dict[tuple[str, str], tuple]:
    """Edge → frequency, distinct cases, waiting times in seconds."""
    waits, cases = defaultdict(list), defaultdict(set)
    for c, (trace, stamps) in enumerate(zip(traces, times, strict=True)):
        for (a, t), (b, u) in pairwise(zip(trace, stamps, strict=True)):
            waits[a, b].append(u - t)
            cases[a, b].add(c)
    return {edge: (len(w), len(cases[edge]), w) for edge, w in waits.items()}


def slow_activities(
    traces: Sequence[Sequence[str]], over: Sequence[bool] = ()
) -> dict[str, tuple[int, int, int, int, int, int]]:
    """Activity → frequency, cases, starts, last seen, ends (cases that are over), cases that come back."""
    over = over or [False] * len(traces)
    names = {a for t in traces for a in t}
    return {
        a: (
            sum(list(t).count(a) for t in traces),
            sum(a in t for t in traces),
            sum(t[0] == a for t in traces),
            sum(t[-1] == a for t in traces),
            sum(t[-1] == a and done for t, done in zip(traces, over, strict=True)),
            sum(list(t).count(a) > 1 for t in traces),
        )
        for a in names
    }


def slow_holds(
    trace: Sequence[str], stamps: Sequence[float], pattern: Sequence[str], max_gap: int, within: float | None
) -> bool:
    """Does the trace hold the pattern? Every place is tried."""

    def from_place(place: int, k: int) -> bool:
        if k == len(pattern):
            return True
        for p in range(place + 1, len(trace)):
            near = place < 0 or (
                (max_gap == 0 or p - place <= max_gap)
                and (within is None or stamps[p] - stamps[place] <= within)
            )
            if near and trace[p] == pattern[k] and from_place(p, k + 1):
                return True
        return False

    return from_place(-1, 0)


def slow_patterns(
    traces: Sequence[Sequence[str]],
    times: Sequence[Sequence[float]],
    min_cases: int,
    max_length: int,
    max_gap: int,
    within: float | None,
) -> dict[tuple[str, ...], int]:
    """Pattern → cases that hold it; grown event by event from the patterns that are frequent."""
    names = sorted({a for t in traces for a in t})
    found: dict[tuple[str, ...], int] = {}
    level: list[tuple[str, ...]] = [()]
    for _ in range(max_length):
        following = []
        for prefix in level:
            for name in names:
                pattern = (*prefix, name)
                n = sum(
                    slow_holds(t, s, pattern, max_gap, within) for t, s in zip(traces, times, strict=True)
                )
                if n >= min_cases:
                    found[pattern] = n
                    following.append(pattern)
        level = following
    return found


def slow_closed(found: dict[tuple[str, ...], int]) -> dict[tuple[str, ...], int]:
    """Without the patterns that lie in one an event longer with as many cases."""
    inside = Counter()
    for pattern, n in found.items():
        for i in range(len(pattern)):
            shorter = pattern[:i] + pattern[i + 1 :]
            if found.get(shorter) == n:
                inside[shorter] += 1
    return {p: n for p, n in found.items() if p not in inside}


def load(path: Path, cases: int | None = None) -> SequenceSet:
    """A real log as sequences, in the order of its source; without a clock, times are positions."""
    events = pl.read_parquet(path)
    timed = events["timestamp"].null_count() == 0
    if not timed:
        events = events.with_columns(timestamp=pl.col("position").cast(pl.Int64).cast(pl.Datetime("us")))
    events = events.with_row_index("event_index").sort("case_id", "timestamp", "event_index")
    runs = events["case_id"].rle().struct.unnest()
    if cases is not None:
        runs = runs.head(cases)
        events = events.head(int(runs["len"].sum()))
    vocabulary = Vocabulary.of(events["activity"].unique().to_list())
    return SequenceSet(
        tokens=vocabulary.encode(events["activity"]),
        offsets=np.concatenate([[0], np.cumsum(runs["len"].to_numpy().astype(np.int64))]),
        times=events["timestamp"].dt.epoch("us").to_numpy(),
        case_ids=runs["value"].alias("case_id"),
        vocabulary=vocabulary,
        timed=timed,
    )
