"""When did the journey change, which steps of it, and since when.

Time is cut into periods of equal length. What follows what is one multinomial per activity and period; a
change is a border of periods at which two sets of shares explain the steps better than one. The largest
gain over all borders is compared with what shuffled periods give, so that neither many borders nor cases
with many events fake a change. Found changes are searched again on both sides (binary segmentation, Scott
& Knott 1974; the statistic is the likelihood ratio of multinomials).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import polars as pl

from behavio.contrasts import RatioSums, false_discovery, ratios
from behavio.durations import seconds
from behavio.errors import JobError, LogError
from behavio.journeys.compare import edge_sums, steps_of
from behavio.log import TIME
from behavio.sequences import SequenceSet

SHUFFLES = 999
LEAST = 3  # periods on each side of a change
MOST = 400  # periods
KEPT = 40  # edges named per change

EDGE_SCHEMA: dict[str, pl.DataType] = {
    "since": TIME,
    "source": pl.String(),
    "target": pl.String(),
    **{name: pl.Float64() for name in ("before", "after", "difference", "low", "high", "q_value")},
}


@dataclass(frozen=True, slots=True, eq=False)
class Drift:
    """Changes of a log over time.

    changes  since (UTC), earliest, latest (where the change may lie), p_value, n_edges (that stand out)
    edges    since, source, target, share of the steps after source before and after, difference, low, high,
             q_value: the edges that changed most surely at each change
    periods  start (UTC), events, cases: what was compared
    """

    changes: pl.DataFrame
    edges: pl.DataFrame
    periods: pl.DataFrame
    every: str
    notes: tuple[str, ...] = ()


def drift(sequences: SequenceSet, every: str | None = None, *, seed: int = 7, p_value: float = 0.01) -> Drift:
    """Look for changes between periods of length `every` ("7d", "30d"; by default about 40 periods).

    Raises LogError for a log without a clock or with too few periods, JobError for a wrong length.
    """
    if not sequences.timed:
        raise LogError("the log has no clock", hint="drift needs times")
    every = every or _usual(sequences)
    steps, starts = _steps(sequences, every)
    counts = _counts(steps, len(starts))
    draw = np.random.default_rng(seed)
    found = sorted(_changes(counts, 0, len(starts), draw, p_value))
    borders = [0, *(at for at, *_ in found), len(starts)]
    tables = [_edges(sequences, steps, *borders[i : i + 3]) for i in range(len(found))]
    at, low, high, p = (list(c) for c in zip(*found, strict=True)) if found else ([], [], [], [])
    changes = pl.DataFrame(
        {
            "since": starts[at],
            "earliest": starts[low],
            "latest": starts[high],
            "p_value": pl.Series(p, dtype=pl.Float64),
            "n_edges": pl.Series([int((t["q_value"] <= 0.05).sum()) for t in tables], dtype=pl.Int64),
        }
    ).with_columns(pl.col("since", "earliest", "latest").cast(TIME))
    edges = [
        t.head(KEPT).select(pl.lit(since).alias("since"), pl.all())
        for since, t in zip(changes["since"], tables, strict=True)
    ]
    periods = steps.group_by("period").agg(events=pl.len(), cases=pl.col("case").n_unique()).sort("period")
    grid = pl.DataFrame({"period": np.arange(len(starts)), "start": starts})
    periods = grid.join(periods, on="period", how="left", maintain_order="left").fill_null(0).drop("period")
    return Drift(
        changes,
        pl.concat(edges) if edges else pl.DataFrame(),
        periods.with_columns(pl.col("start").cast(TIME)),
        every,
        _notes(periods, found),
    )


def _usual(sequences: SequenceSet) -> str:
    span = float(sequences.times.max() - sequences.times.min()) / 1e6
    for text in ("1h", "6h", "1d", "7d", "14d", "30d", "91d", "365d"):
        if span / seconds(text) <= 60:
            return text
    return "365d"


def _steps(sequences: SequenceSet, every: str) -> tuple[pl.DataFrame, np.ndarray]:
    """Every step with its case and the period its target lies in; and the start of each period (µs)."""
    width = int(seconds(every) * 1e6)
    first = int(sequences.times.min())
    n = int((int(sequences.times.max()) - first) // width) + 1
    if n < 2 * LEAST:
        raise LogError(f"the log spans {n} periods of {every}", hint="choose a shorter --every")
    if n > MOST:
        raise JobError(
            f"{every} cuts the log into {n:,} periods, at most {MOST}", hint="choose a longer --every"
        )
    frame, here = steps_of(sequences)
    frame = frame.with_columns(period=pl.Series((sequences.times[here + 1] - first) // width))
    return frame, first + width * np.arange(n)


def _counts(steps: pl.DataFrame, n: int) -> np.ndarray:
    """Steps per period and edge, float64 (n_periods, n_edges + 1); edges of one source stand together.

    Each case speaks once per source and period, however often it repeats itself there, so that a few busy
    cases do not look like a change.
    """
    once = steps.group_by("case", "source", "target", "period").len()
    once = once.with_columns(share=pl.col("len") / pl.col("len").sum().over("case", "source", "period"))
    sums = once.group_by("source", "target", "period").agg(pl.sum("share"))
    edges = sums.select("source", "target").unique().sort("source", "target").with_row_index("edge")
    sums = sums.join(edges, on=["source", "target"])
    counts = np.zeros((n, edges.height))
    counts[sums["period"].to_numpy(), sums["edge"].to_numpy()] = sums["share"].to_numpy()
    sources = edges["source"].to_numpy()
    return np.vstack([counts, np.searchsorted(np.unique(sources), sources)[None].astype(float)])


def _gains(totals: np.ndarray, source: np.ndarray) -> np.ndarray:
    """2 (log-likelihood of two sets of shares − of one) for each border, float64 (n_periods − 1,).

    totals is float64 (..., n_periods, n_edges): periods in order.
    """
    before = np.cumsum(totals, axis=-2)[..., :-1, :]
    whole = totals.sum(axis=-2)[..., None, :]
    return 2 * (_fit(before, source) + _fit(whole - before, source) - _fit(whole, source))


def _fit(counts: np.ndarray, source: np.ndarray) -> np.ndarray:
    """Log-likelihood of the steps under their own shares."""
    first = np.flatnonzero(np.diff(source, prepend=-1))
    sums = np.add.reduceat(counts, first, axis=-1)
    return _xlogx(counts).sum(axis=-1) - _xlogx(sums).sum(axis=-1)


def _xlogx(x: np.ndarray) -> np.ndarray:
    x = np.maximum(x, 0.0)
    return x * np.log(np.where(x > 0, x, 1.0))


def _changes(
    counts: np.ndarray, start: int, end: int, draw: np.random.Generator, p_value: float
) -> list[tuple[int, int, int, float]]:
    """Changes inside periods start..end: border, earliest, latest, p-value; then those on both sides."""
    if end - start < 2 * LEAST:
        return []
    totals, source = counts[start:end], counts[-1]
    inner = slice(LEAST - 1, end - start - LEAST)
    gains = _gains(totals, source)[inner]
    best = int(gains.argmax())
    larger = sum(
        float(_gains(totals[draw.permutation(end - start)], source)[inner].max()) >= gains[best]
        for _ in range(SHUFFLES)
    )
    p = (larger + 1) / (SHUFFLES + 1)
    if p > p_value:
        return []
    spread = max(float(np.median(gains)), 1.0)
    near = np.flatnonzero(gains >= gains[best] - 3.84 * spread / max(float(len(source)), 1.0))
    at = start + LEAST + best
    low, high = start + LEAST + int(near.min()), start + LEAST + int(near.max())
    return [
        (at, low, high, p),
        *_changes(counts, start, at, draw, p_value),
        *_changes(counts, at, end, draw, p_value),
    ]


def _edges(sequences: SequenceSet, steps: pl.DataFrame, start: int, at: int, end: int) -> pl.DataFrame:
    """What follows what before and after a change, surest first."""
    sides = [
        steps.filter(pl.col("period").is_between(a, b, closed="left")) for a, b in ((start, at), (at, end))
    ]
    keys = pl.concat(sides).group_by("source", "target").len()
    keys = keys.sort("len", "source", "target", descending=[True, False, False]).head(300)
    before, after = (_sums(s, keys.select("source", "target")) for s in sides)
    found = ratios(before, after)
    names = pl.Series(list(sequences.vocabulary.names), dtype=pl.String)
    table = pl.DataFrame(
        {
            "source": names.gather(keys["source"].cast(pl.Int64)),
            "target": names.gather(keys["target"].cast(pl.Int64)),
            "before": found.a,
            "after": found.b,
            "difference": found.difference,
            "low": found.low,
            "high": found.high,
            "q_value": false_discovery(found.p_value),
        }
    )
    numbers = [c for c, t in table.schema.items() if t.is_float()]
    table = table.with_columns(pl.col(numbers).fill_nan(None))
    table = table.with_columns(pl.col("difference").abs().alias("size"))
    order = {"q_value": False, "size": True, "source": False, "target": False}
    return table.sort(*order, descending=list(order.values()), nulls_last=True).drop("size")


def _sums(steps: pl.DataFrame, keys: pl.DataFrame) -> RatioSums:
    x = steps.group_by("case", "source", "target").agg(x=pl.len().cast(pl.Float64))
    return edge_sums(x.with_columns(n=pl.col("x").sum().over("case", "source")), keys)


def _notes(periods: pl.DataFrame, found: list[tuple[int, int, int, float]]) -> tuple[str, ...]:
    notes = [] if found else ["no change stands out from what shuffled periods give"]
    thin = int((periods["cases"] < 10).sum())
    if found and found[0][0] <= periods.height // 5:
        notes.append("the first change lies near the log's start, where all cases are still young")
    if thin:
        notes.append(f"{thin} of {periods.height} periods have fewer than 10 cases: choose a longer --every")
    return tuple(notes)
