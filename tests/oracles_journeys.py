"""Slow, obvious answers for journeys and patterns."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

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


def pm4py_frame(log: SequenceSet) -> Any:
    """The log as pm4py takes it: a pandas frame, sorted, with its order as a column."""
    events = pl.DataFrame(
        {
            "case:concept:name": log.case_ids.gather(pl.Series(log.case_of_event)),
            "concept:name": pl.Series(log.vocabulary.names).gather(pl.Series(log.tokens)),
            "time:timestamp": pl.Series(log.times).cast(pl.Datetime("us")).dt.replace_time_zone("UTC"),
        }
    ).to_pandas()
    events["@@index"] = range(len(events))
    return events


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


def slow_pairs(
    traces: Sequence[Sequence[str]], times: Sequence[Sequence[int]]
) -> dict[tuple[str, str], tuple[int, int, list[int]]]:
    """Pair → pairs of events, distinct cases, seconds apart; every pair of events is looked at."""
    apart, cases = defaultdict(list), defaultdict(set)
    for c, (trace, stamps) in enumerate(zip(traces, times, strict=True)):
        for j in range(len(trace)):
            for i in range(j):
                apart[trace[i], trace[j]].append(stamps[j] - stamps[i])
                cases[trace[i], trace[j]].add(c)
    return {pair: (len(a), len(cases[pair]), a) for pair, a in apart.items()}


def slow_repeats(traces: Sequence[Sequence[str]]) -> dict[str, tuple[int, ...]]:
    """Activity → frequency, cases, rework cases, self loops and their cases, two loops and their cases."""
    found = {}
    for a in {a for t in traces for a in t}:
        selfs = [sum(x == y == a for x, y in pairwise(t)) for t in traces]
        twos = [sum(x == z == a and y != a for x, y, z in zip(t, t[1:], t[2:], strict=False)) for t in traces]
        counts = [list(t).count(a) for t in traces]
        found[a] = (
            sum(counts),
            sum(n > 0 for n in counts),
            sum(n > 1 for n in counts),
            sum(selfs),
            sum(n > 0 for n in selfs),
            sum(twos),
            sum(n > 0 for n in twos),
        )
    return found


def slow_funnel(trace: Sequence[str], stamps: Sequence[int], steps: Sequence[str], within: int | None) -> int:
    """Steps the case gets through: every first event is tried, every way on from it."""

    def reach(place: int, k: int, start: int) -> int:
        best = k
        for p in range(place + 1, len(trace)):
            soon = within is None or stamps[p] - start <= within
            if k < len(steps) and trace[p] == steps[k] and soon:
                best = max(best, reach(p, k + 1, start))
        return best

    begins = [i for i, a in enumerate(trace) if a == steps[0]]
    return max((reach(i, 1, stamps[i]) for i in begins), default=0)


def slow_state(stamps: Sequence[int], date: int, dormant: int, lost: int) -> str | None:
    """The lifecycle state of a case whose events lie at these times, at a date."""
    known = [t for t in stamps if t < date]
    if not known:
        return None
    if date - known[-1] > lost:
        return "lost"
    if date - known[-1] > dormant:
        return "dormant"
    if date - known[0] <= dormant:
        return "new"
    backs = [u for t, u in pairwise(known) if u - t > dormant]
    return "returned" if backs and date - backs[-1] <= dormant else "active"
