"""The newest stretch of a log beside the one before: what changed, told from the very same cases.

Most cases are in both periods, and who did something often before does it often after. So the variance of a
difference is that of what single cases add to it in both periods together, not that of two groups of
strangers (Cochran, Sampling Techniques, 1977, section 6.4; for waits DeLong, DeLong & Clarke-Pearson 1988).
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime

import numpy as np
import polars as pl

from behavio.contrasts import Contrast, RatioSums, false_discovery, larger_alike, rates, ratios
from behavio.durations import seconds
from behavio.errors import JobError, LogError
from behavio.journeys.compare import DAY, Comparison, finished, is_open, most, named, steps_by_case
from behavio.journeys.traces import variants
from behavio.sequences import SequenceSet, Vocabulary

QUARTER = "91d"
ROOM = 1.05  # the log may be a little shorter than two periods
Sides = tuple[pl.DataFrame, pl.DataFrame]


@dataclass(frozen=True, slots=True, eq=False)
class Period:
    """One of the two.

    part    the cases with what they did in it, numbered in the whole log by `number` int64 (n_cases of part,)
    days    float64 (n_cases of the log,): how long each case was watched in it, 0 for none
    """

    part: SequenceSet
    number: np.ndarray
    days: np.ndarray
    name: str

    @classmethod
    def of(cls, sequences: SequenceSet, low: int, high: int) -> Period:
        """What lies from `low` up to, not including, `high` (µs); LogError when that is nothing."""
        inside = (sequences.times >= low) & (sequences.times < high)
        if not inside.any():
            raise LogError("nothing happened in one of the two periods", hint="choose a longer period")
        number = np.unique(sequences.case_of_event[inside])
        first, last = sequences.times[sequences.offsets[:-1]], sequences.times[sequences.offsets[1:] - 1]
        still = is_open(sequences)
        watched = (first < high) & (still | (last >= low))
        until = np.where(still, high, np.minimum(last, high))
        days = np.where(watched, np.maximum((until - np.maximum(first, low)) / DAY, 1.0), 0.0)
        return cls(sequences.keep(inside), number, days, f"{_day(low)} to {_day(high - 1)}")

    def numbered(self, rows: pl.DataFrame) -> pl.DataFrame:
        """Rows of the part, `case` being the number in the whole log."""
        return rows.with_columns(case=pl.Series(self.number).gather(rows["case"]))

    @property
    def watched(self) -> pl.DataFrame:
        """case, n (1), days: who could have done something here."""
        cases = np.flatnonzero(self.days > 0)
        return pl.DataFrame({"case": cases, "n": np.ones(len(cases)), "days": self.days[cases]})


def periods(sequences: SequenceSet, last: str | None = None) -> Comparison:
    """The last stretch of a log (b) beside the one before (a), each `last` long.

    last  for example "91d"; by default a quarter where the log has two of them, else half of it
    The tables are those of `compare`, without `next`; n_cases are the cases watched. A step counts in the
    period in which both its events lie; shares of cases are of those watched in the period: begun, and not
    closed before it. A variant is what a case did within the period. Raises LogError for a log without a
    clock or with an empty period, JobError for a wrong length.
    """
    if not sequences.timed:
        raise LogError("the log has no clock", hint="two periods need times")
    start, middle, end = _borders(sequences, last)
    a, b = Period.of(sequences, start, middle), Period.of(sequences, middle, end)
    steps = (a.numbered(steps_by_case(a.part)), b.numbered(steps_by_case(b.part)))
    vocabulary = sequences.vocabulary
    return Comparison(
        (a.name, b.name),
        (a.watched.height, b.watched.height),
        (a.part.n_events, b.part.n_events),
        _activities(a, b),
        _edges(vocabulary, steps),
        _waits(vocabulary, steps),
        pl.DataFrame(),
        _variants(a, b),
        _notes(a, b),
        last or f"{(end - middle) / DAY:.6g}d",
    )


def _borders(sequences: SequenceSet, last: str | None) -> tuple[int, int, int]:
    oldest, end = int(sequences.times.min()), int(sequences.times.max()) + 1
    span = end - oldest
    long = int(seconds(QUARTER if last is None else last) * 1e6)
    if last is None and 2 * long > span:
        return oldest, end - span // 2, end
    if not 0 < 2 * long <= ROOM * span:
        raise JobError(
            f"the log spans {span / DAY:,.0f} days: too few for two periods of {last}",
            hint="give a shorter time",
        )
    return max(end - 2 * long, oldest), end - long, end


def _day(time: int) -> str:
    return datetime.fromtimestamp(time // 1_000_000, UTC).date().isoformat()


def paired(keys: pl.DataFrame, on: list[str], x: Sides, n: Sides) -> tuple[RatioSums, RatioSums, np.ndarray]:
    """Sums of both periods for the ratios Σx / Σn of every key, and the covariance of the two ratios.

    x   case, the columns of `keys`, x: what a case adds to each key; n: case, the columns `on`, n
    on  those columns of `keys` by which the denominators differ, none where they are the same for all
    """
    sides = [_sums(keys, on, x[i], n[i]) for i in (0, 1)]
    own = keys.columns
    again = [x[1].rename({"x": "y"}), n[1].rename({"n": "m"}), n[0].rename({"n": "m"})]
    both = _total(x[0].join(again[0], on=["case", *own], maintain_order="left"), own, "x", "y")
    x_m = _total(x[0].join(again[1], on=["case", *on], maintain_order="left"), own, "x", "m")
    m_x = _total(x[1].join(again[2], on=["case", *on], maintain_order="left"), own, "x", "m")
    n_m = _total(n[0].join(again[1], on=["case", *on], maintain_order="left"), on, "n", "m")
    xy, xm, mx = (_along(keys, s, own) for s in (both, x_m, m_x))
    nm = _along(keys, n_m, on)
    r_a, r_b = (s.value for s in sides)
    with np.errstate(divide="ignore", invalid="ignore"):
        covariance = (xy - r_b * xm - r_a * mx + r_a * r_b * nm) / (sides[0].n * sides[1].n)
    return sides[0], sides[1], np.nan_to_num(covariance)


def _sums(keys: pl.DataFrame, on: list[str], x: pl.DataFrame, n: pl.DataFrame) -> RatioSums:
    own, a, b = keys.columns, pl.col("x"), pl.col("n")
    top = (
        x.join(n, on=["case", *on], maintain_order="left")
        .group_by(own, maintain_order=True)
        .agg(a.sum(), xx=(a * a).sum(), xn=(a * b).sum(), hits=pl.len())
    )
    whole = [b.sum().alias("n"), (b * b).sum().alias("nn"), pl.len().alias("cases")]
    below = n.group_by(on, maintain_order=True).agg(whole) if on else n.select(whole)
    found = keys.join(top, on=own, how="left", maintain_order="left")
    found = (
        found.join(below, on=on, how="left", maintain_order="left")
        if on
        else found.join(below, how="cross", maintain_order="left")
    )
    found = found.fill_null(0)
    return RatioSums(**{c: found[c].to_numpy() for c in ("x", "n", "xx", "xn", "nn", "cases", "hits")})


def _total(rows: pl.DataFrame, by: list[str], one: str, other: str) -> pl.DataFrame:
    product = (pl.col(one) * pl.col(other)).sum().alias("total")
    return rows.group_by(by, maintain_order=True).agg(product) if by else rows.select(product)


def _along(keys: pl.DataFrame, sums: pl.DataFrame, on: list[str]) -> np.ndarray:
    """The totals in the order of the keys, 0 where there is none."""
    if not on:
        return np.full(keys.height, float(sums["total"][0] or 0.0))
    found = keys.join(sums, on=on, how="left", maintain_order="left")["total"]
    return np.asarray(found.fill_null(0.0).to_numpy(), float)


def _activities(a: Period, b: Period) -> pl.DataFrame:
    counts = []
    for p in (a, b):
        rows = pl.DataFrame({"case": p.part.case_of_event, "activity": p.part.tokens})
        counts.append(
            p.numbered(rows)
            .group_by("case", "activity", maintain_order=True)
            .agg(x=pl.len().cast(pl.Float64))
        )
    keys = most(pl.concat(counts), ["activity"], "x")
    watched = (a.watched, b.watched)
    ones = tuple(c.with_columns(x=pl.lit(1.0)) for c in counts)
    left, right, alike = paired(
        keys, [], (ones[0], ones[1]), (watched[0].drop("days"), watched[1].drop("days"))
    )
    days = tuple(w.select("case", n="days") for w in watched)
    pace_a, pace_b, together = paired(keys, [], (counts[0], counts[1]), (days[0], days[1]))
    paces = rates(pace_a, pace_b, together)
    columns = {
        **named(a.part.vocabulary, keys),
        "cases_a": left.hits.astype(np.int64),
        "cases_b": right.hits.astype(np.int64),
    }
    more = {
        "per_30_days_a": paces.a * 30,
        "per_30_days_b": paces.b * 30,
        "rate_ratio": paces.difference,
        "rate_low": paces.low,
        "rate_high": paces.high,
        "rate_q_value": false_discovery(paces.p_value),
    }
    return finished(columns, ratios(left, right, alike), more)


def _edges(vocabulary: Vocabulary, steps: Sides) -> pl.DataFrame:
    keys = most(pl.concat(steps), ["source", "target"], "x")
    x = tuple(s.select("case", "source", "target", "x") for s in steps)
    n = tuple(s.group_by("case", "source", maintain_order=True).agg(pl.col("n").first()) for s in steps)
    a, b, alike = paired(keys, ["source"], (x[0], x[1]), (n[0], n[1]))
    columns = {
        **named(vocabulary, keys),
        "cases_a": a.hits.astype(np.int64),
        "cases_b": b.hits.astype(np.int64),
        "frequency_a": a.x.astype(np.int64),
        "frequency_b": b.x.astype(np.int64),
    }
    return finished(columns, ratios(a, b, alike))


def _waits(vocabulary: Vocabulary, steps: Sides) -> pl.DataFrame:
    """Each case says one thing about a step in each period: its median wait."""
    keys = most(pl.concat(steps), ["source", "target"], "x")
    none = (np.zeros(0), np.zeros(0, np.int64))
    by_key = [
        {
            k: (g["wait"].to_numpy(), g["case"].to_numpy())
            for k, g in s.group_by("source", "target", maintain_order=True)
        }
        for s in steps
    ]
    sides = [[waits.get(k, none) for waits in by_key] for k in keys.iter_rows()]
    tests = np.array([larger_alike(*one, *other) for one, other in sides]).reshape(-1, 4)
    medians = [[np.median(w) if len(w) else np.nan for w, _ in pair] for pair in sides]
    middle = np.array(medians, float).reshape(-1, 2)
    counts = {f"cases_{n}": np.array([len(p[i][0]) for p in sides], np.int64) for i, n in enumerate("ab")}
    found = Contrast(middle[:, 0], middle[:, 1], *tests.T)
    spoken = {"a": "median_s_a", "b": "median_s_b", "difference": "larger"}
    return finished({**named(vocabulary, keys), **counts}, found).rename(spoken)


def _variants(a: Period, b: Period) -> pl.DataFrame:
    rows = []
    for p in (a, b):
        found = variants(p.part)
        names = found.to_frame(None)["variant"]
        rows.append(
            pl.DataFrame(
                {"case": p.number, "variant": names.gather(found.of_case), "x": np.ones(p.part.n_cases)}
            )
        )
    keys = most(pl.concat(rows), ["variant"], "x")
    n = tuple(r.select("case", n="x") for r in rows)
    left, right, alike = paired(keys, [], (rows[0], rows[1]), (n[0], n[1]))
    counts = {"cases_a": left.hits.astype(np.int64), "cases_b": right.hits.astype(np.int64)}
    return finished({"variant": keys["variant"], **counts}, ratios(left, right, alike))


def _notes(a: Period, b: Period) -> tuple[str, ...]:
    notes = []
    for p in (a, b):
        n = p.watched.height
        if n < 30:
            notes.append(f"{p.name} has {n} cases: only very large differences can be told from chance")
    both = int(((a.days > 0) & (b.days > 0)).sum())
    notes.append(
        f"{both:,} cases were watched in both periods: their own differences are what the intervals rest on"
    )
    notes.append("what changed from one period to the next need not have one cause: seasons change it, too")
    return tuple(notes)
