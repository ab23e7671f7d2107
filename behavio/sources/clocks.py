"""Is the clock of one source shifted by whole hours against the others?

Two kinds of evidence. Records that belong together (an open and its email, a key message and its call, a
click and the visit it leads to) pile up at one lag; where the pile lies a whole number of hours away from
zero, one of the two clocks is off. Sources without such pairs are compared by the hour at which their day
begins. Nothing is changed: the finding says by how much, and what to set.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations

import numpy as np
import polars as pl

REACH = 14
"""Hours looked at on both sides; a zone is at most 14 hours from UTC."""
LEAST_PAIRS = 30
LEAST_EVENTS = 200
MOST_PAIRS = 2_000_000
HOUR = 3_600.0


@dataclass(frozen=True, slots=True)
class Shift:
    """`source` runs `hours` later than `against`; n of `of` pairs or events say so."""

    source: str
    against: str
    hours: int
    n: int
    of: int
    by: str  # pairs | day
    sure: bool  # False: the other clock may be the wrong one


@dataclass(frozen=True, slots=True, eq=False)
class _Source:
    name: str
    case: np.ndarray  # int64 (n,), sorted together with
    time: np.ndarray  # float64 (n,), seconds
    dawn: int | None  # hour of the day at which activity begins, None where that cannot be told


def clock_shifts(events: pl.DataFrame) -> list[Shift]:
    """Sources whose clock differs from the others' by whole hours.

    events   case_id, timestamp (UTC), source, and channel where known, in any order
    """
    if "source" not in events.columns or events["source"].n_unique() < 2:
        return []
    sources = _sources(events)
    lags = {(a.name, b.name): found for a, b in combinations(sources, 2) if (found := _lag(a, b)) is not None}
    groups = _groups([s.name for s in sources], lags)
    dawns = {s.name: s.dawn for s in sources}
    shifts = [s for group in groups if len(group) > 1 for s in _inside(group, lags, dawns)]
    return [*shifts, *_between(groups, sources, {s.source: s.hours for s in shifts})]


def _sources(events: pl.DataFrame) -> list[_Source]:
    coded = events.select(
        pl.col("case_id").rank("dense").cast(pl.Int64).alias("case"),
        (pl.col("timestamp").dt.epoch("us") / 1e6).alias("time"),
        pl.col("timestamp").dt.hour().alias("hour"),
        pl.col("source").str.extract(r"^([^/]*)").alias("source"),
        (pl.col("channel") if "channel" in events.columns else pl.lit(None, dtype=pl.String)).alias(
            "channel"
        ),
    )
    found = []
    for (name,), rows in coded.group_by("source", maintain_order=True):
        rows = rows.sort("case", "time")
        whole_days = rows.select((pl.col("time") % 86_400 == 0).mean()).item()
        if whole_days > 0.5:  # dates have no clock
            continue
        hours = np.bincount(rows["hour"].to_numpy(), minlength=24)
        scheduled = bool((rows["channel"] == "event").fill_null(False).all())
        dawn = None if scheduled else _dawn(hours)
        found.append(_Source(str(name), rows["case"].to_numpy(), rows["time"].to_numpy(), dawn))
    return found


def _dawn(hours: np.ndarray) -> int | None:
    """First busy hour after the longest quiet stretch of the day; None without a clear beginning."""
    if hours.sum() < LEAST_EVENTS:
        return None
    quiet = np.tile(hours < 0.25 * hours.mean(), 2)
    run, best, end = 0, 0, 0
    for place, calm in enumerate(quiet):
        run = run + 1 if calm else 0
        if best < run <= 23:
            best, end = run, place
    dawn = (end + 1) % 24
    sharp = hours[dawn] >= 3 * hours[end % 24] and hours[dawn] >= 0.5 * hours.mean()
    return dawn if best >= 4 and sharp else None


def _lag(a: _Source, b: _Source) -> tuple[int, int, int] | None:
    """Whole hours from b to a at which their events pile up, with n and all pairs; None without a pile."""
    lags = _lags(a, b)
    if lags.size < LEAST_PAIRS:
        return None
    edges = np.arange(-REACH, REACH + 0.25, 0.5)
    counts = np.histogram(lags / HOUR, edges)[0]
    top = int(counts.argmax())
    far = np.delete(counts, np.arange(max(top - 2, 0), min(top + 3, len(counts))))
    least = max(LEAST_PAIRS, 3 * far.max(), 10 * np.median(counts), 0.15 * lags.size)
    if counts[top] < least:
        return None
    near = lags[np.abs(lags / HOUR - edges[top] - 0.25) <= 0.25] / HOUR
    # the pile is narrow and leans on the whole hour it starts from: before it or after it
    hours = int(np.round(edges[top] if edges[top] % 1 == 0 else edges[top] + 0.5))
    return hours, int(near.size), int(lags.size)


def _lags(a: _Source, b: _Source) -> np.ndarray:
    """Seconds from each event of b to each of a of the same case, within reach."""
    if not a.case.size or not b.case.size:
        return np.empty(0)
    start = min(a.time.min(), b.time.min()) - REACH * HOUR - 1
    width = max(a.time.max(), b.time.max()) - start + 2 * REACH * HOUR + 2
    keys = b.case * width + (b.time - start)
    own = a.case * width + (a.time - start)
    low = np.searchsorted(keys, own - REACH * HOUR)
    high = np.searchsorted(keys, own + REACH * HOUR, side="right")
    n = high - low
    if n.sum() > MOST_PAIRS:
        step = int(np.ceil(n.sum() / MOST_PAIRS))
        low, n, own_time, own_case = low[::step], n[::step], a.time[::step], a.case[::step]
    else:
        own_time, own_case = a.time, a.case
    which = np.repeat(np.arange(n.size), n)
    within = np.arange(n.sum()) - np.repeat(np.cumsum(n) - n, n)
    at = low[which] + within
    same = b.case[at] == own_case[which]
    return np.asarray((own_time[which] - b.time[at])[same])


def _groups(names: list[str], lags: dict[tuple[str, str], tuple[int, int, int]]) -> list[list[str]]:
    """Sources that hang together by pairs, each group in the order of the sources."""
    group = {n: i for i, n in enumerate(names)}
    for a, b in lags:
        old, new = group[b], group[a]
        group = {n: new if g == old else g for n, g in group.items()}
    return [[n for n in names if group[n] == g] for g in dict.fromkeys(group.values())]


def _inside(
    group: list[str], lags: dict[tuple[str, str], tuple[int, int, int]], dawns: dict[str, int | None]
) -> list[Shift]:
    """The fewest shifted sources that explain the lags inside one group."""
    edges = {pair: v for pair, v in lags.items() if pair[0] in group}
    left = {pair: v for pair, v in edges.items() if v[0] != 0}
    shifts: list[Shift] = []
    while left:
        blame = {n: _blame(n, edges, left) for n in group}
        most = max(blame.values())
        suspects = [n for n, score in blame.items() if score == most]
        pair = max((p for p in left if set(p) & set(suspects)), key=lambda p: left[p][1])
        odd = suspects[0] if len(suspects) == 1 else _odd_one(pair, left[pair][0], dawns)
        name = odd if odd in pair else pair[0]
        pair = max((p for p in left if name in p), key=lambda p: left[p][1])
        hours, n, of = left[pair]
        other = pair[1] if pair[0] == name else pair[0]
        shifts.append(
            Shift(name, other, hours if pair[0] == name else -hours, n, of, "pairs", odd is not None)
        )
        left = {p: v for p, v in left.items() if name not in p}
    return shifts


def _blame(
    name: str,
    edges: dict[tuple[str, str], tuple[int, int, int]],
    left: dict[tuple[str, str], tuple[int, int, int]],
) -> int:
    """Pairs of a source that are off, less those that agree."""
    return (
        sum((1 if pair in left else -1) for pair in edges if name in pair)
        if any(name in p for p in left)
        else -99
    )


def _odd_one(pair: tuple[str, str], hours: int, dawns: dict[str, int | None]) -> str | None:
    """Which of two sources is off, by the beginning of the day of all others; None when that is silent."""
    others = [d for n, d in dawns.items() if n not in pair and d is not None]
    if not others:
        return None
    usual = int(np.median(others))
    off = {n: _turn(dawns[n], usual) for n in pair}
    a, b = off[pair[0]], off[pair[1]]
    if a is None or b is None or abs(abs(a) - abs(b)) < 1:
        return None
    return pair[0] if abs(a) > abs(b) else pair[1]


def _turn(dawn: int | None, usual: int) -> int | None:
    """Hours from usual to dawn on the clock's face, -11 to 12."""
    if dawn is None:
        return None
    turn = (dawn - usual) % 24
    return turn - 24 if turn > 12 else turn


def _between(groups: list[list[str]], sources: list[_Source], known: dict[str, int]) -> list[Shift]:
    """Groups whose day begins at least two hours away from that of all others."""
    size = {s.name: s.time.size for s in sources}
    dawns = {
        s.name: (s.dawn - known.get(s.name, 0)) % 24 for s in sources if s.dawn is not None
    }  # as if the shifts already found were mended
    shifts = []
    for group in groups:
        inside = [n for n in group if n in dawns]
        outside = [n for n in dawns if n not in group]
        if not inside or len(outside) < 2 or len(outside) < len(inside):  # the majority is right
            continue
        usual = int(np.median([dawns[n] for n in outside]))
        agree = all(abs(_turn(dawns[n], usual) or 0) <= 1 for n in outside)
        turns = [_turn(dawns[n], usual) or 0 for n in inside]
        hours = int(np.median(turns))
        if agree and abs(hours) >= 2 and all(abs(t - hours) <= 1 for t in turns):
            against = ", ".join(outside)
            shifts += [Shift(n, against, hours, size[n], size[n], "day", sure=False) for n in inside]
    return shifts
