"""Two groups of cases, or two periods, side by side: what happens, what follows what, when, in which order.

Every number comes with an interval, and within each table the false discovery rate of its tests is
controlled. A case that is still running is not counted as one that stopped: times are censored, and only
closed cases have a variant where the log knows which are closed.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import polars as pl

from behavio.contrasts import (
    Contrast,
    RatioSums,
    false_discovery,
    larger,
    log_rank,
    rates,
    ratios,
    shares,
    survival_median,
)
from behavio.errors import LogError
from behavio.journeys.traces import variants
from behavio.sequences import SequenceSet, Vocabulary

MOST = 300
"""Rows of a table that are tested, the most frequent first: what hardly ever happens proves nothing."""
DAY = 86_400e6


@dataclass(frozen=True, slots=True, eq=False)
class Comparison:
    """Tables of two groups a and b; in each, `difference` with `low` and `high` (95 %) and `q_value`.

    activities  activity, share of cases with it in a and b, difference; events per 30 days, rate_ratio
    edges       source, target, share of the steps after source in a and b, difference; cases in a and b
    waits       source, target, median_s of the cases in a and b, `larger`: the chance that b takes longer
    next        activity, median_s to the next event after its first occurrence (open gaps censored), speed:
                ratio of b's to a's pace
    variants    variant, share of cases in a and b, difference
    notes       what a reader should know before believing the tables
    length      of two periods: how long each is ("91d"), for `behavio compare --last`
    """

    names: tuple[str, str]
    n_cases: tuple[int, int]
    n_events: tuple[int, int]
    activities: pl.DataFrame
    edges: pl.DataFrame
    waits: pl.DataFrame
    next: pl.DataFrame
    variants: pl.DataFrame
    notes: tuple[str, ...] = ()
    length: str = ""

    @property
    def tables(self) -> dict[str, pl.DataFrame]:
        """The tables by name."""
        return {n: getattr(self, n) for n in ("activities", "edges", "waits", "next", "variants")}


def compare(a: SequenceSet, b: SequenceSet, names: tuple[str, str] = ("a", "b")) -> Comparison:
    """Compare two groups of cases that do not overlap.

    Raises LogError when one of them has a clock and the other has not.
    """
    if a.timed != b.timed:
        raise LogError("one log has a clock, the other only an order", hint="compare logs of one kind")
    if a.vocabulary != b.vocabulary:
        both = Vocabulary.of([*a.vocabulary.activities, *b.vocabulary.activities])
        a, b = a.recode(both), b.recode(both)
    ends = (int(a.times.max()), int(b.times.max()))
    empty = pl.DataFrame()
    steps_a, steps_b = steps_by_case(a), steps_by_case(b)
    return Comparison(
        names,
        (a.n_cases, b.n_cases),
        (a.n_events, b.n_events),
        _activities(a, b, ends),
        _edges(a.vocabulary, steps_a, steps_b),
        _waits(a.vocabulary, steps_a, steps_b) if a.timed else empty,
        _next(a, b, ends) if a.timed else empty,
        _variants(a, b),
        _notes(a, b, names),
    )


def split_at(sequences: SequenceSet, time: int) -> tuple[SequenceSet, SequenceSet]:
    """Cases that began before `time` (µs), as far as they had come by then, and cases that began later.

    So no case is in both periods. Raises LogError when one of them is empty.
    """
    starts = sequences.times[sequences.offsets[:-1]]
    early, late = starts < time, starts >= time
    if not early.any() or not late.any():
        side = "before" if late.any() else "after"
        raise LogError(f"no case began {side} that date", hint="choose a date inside the log")
    return sequences.select(early).until(time), sequences.select(late)


def steps_of(s: SequenceSet) -> tuple[pl.DataFrame, np.ndarray]:
    """Every step to the next event of a case (case, source, target), and where its source stands."""
    inside = np.ones(s.n_events, bool)
    inside[s.offsets[1:] - 1] = False
    here = np.flatnonzero(inside)
    columns = {"case": s.case_of_event[here], "source": s.tokens[here], "target": s.tokens[here + 1]}
    return pl.DataFrame(columns), here


def steps_by_case(s: SequenceSet) -> pl.DataFrame:
    """One row per case, source and target: how often (x), out of how many (n), median wait in seconds."""
    steps, here = steps_of(s)
    steps = steps.with_columns(wait=pl.Series((s.times[here + 1] - s.times[here]) / 1e6))
    counted = steps.group_by("case", "source", "target", maintain_order=True).agg(
        x=pl.len().cast(pl.Float64), wait=pl.median("wait")
    )
    return counted.with_columns(n=pl.col("x").sum().over("case", "source"))


def edge_sums(steps: pl.DataFrame, keys: pl.DataFrame) -> RatioSums:
    """Sums over cases (case, source, target, x, n) for each edge of `keys`."""
    x, n = pl.col("x"), pl.col("n")
    edges = steps.group_by("source", "target").agg(x.sum(), xx=(x * x).sum(), xn=(x * n).sum(), hits=pl.len())
    sources = (
        steps.group_by("case", "source")
        .agg(n.first())
        .group_by("source")
        .agg(n.sum(), nn=(n * n).sum(), cases=pl.len())
    )
    found = keys.join(edges, on=["source", "target"], how="left", maintain_order="left")
    found = found.join(sources, on="source", how="left", maintain_order="left").fill_null(0)
    return RatioSums(**{c: found[c].to_numpy() for c in ("x", "n", "xx", "xn", "nn", "cases", "hits")})


def _edges(vocabulary: Vocabulary, a: pl.DataFrame, b: pl.DataFrame) -> pl.DataFrame:
    keys = most(pl.concat([a, b]), ["source", "target"], "x")
    sums_a, sums_b = edge_sums(a, keys), edge_sums(b, keys)
    return finished(
        {
            **named(vocabulary, keys),
            "cases_a": sums_a.hits.astype(np.int64),
            "cases_b": sums_b.hits.astype(np.int64),
            "frequency_a": sums_a.x.astype(np.int64),
            "frequency_b": sums_b.x.astype(np.int64),
        },
        ratios(sums_a, sums_b),
    )


def _activities(a: SequenceSet, b: SequenceSet, ends: tuple[int, int]) -> pl.DataFrame:
    counts = [_per_case(s, end) for s, end in ((a, ends[0]), (b, ends[1]))]
    keys = most(pl.concat([c for c, _ in counts]), ["source"], "x")
    sums = []
    for per_case, days in counts:
        x, n = pl.col("x"), pl.col("n")
        found = per_case.group_by("source", maintain_order=True).agg(
            x.sum(), xx=(x * x).sum(), xn=(x * n).sum(), hits=pl.len()
        )
        found = keys.join(found, on="source", how="left", maintain_order="left").fill_null(0)
        every = {"n": days.sum(), "nn": (days * days).sum(), "cases": len(days)}
        whole = {k: np.full(keys.height, float(v)) for k, v in every.items()}
        sums.append(RatioSums(**{c: found[c].to_numpy() for c in ("x", "xx", "xn", "hits")}, **whole))
    cases = shares(sums[0].hits, a.n_cases, sums[1].hits, b.n_cases)
    paces = rates(sums[0], sums[1])
    more = {}
    if a.timed:
        more = {
            "per_30_days_a": paces.a * 30,
            "per_30_days_b": paces.b * 30,
            "rate_ratio": paces.difference,
            "rate_low": paces.low,
            "rate_high": paces.high,
            "rate_q_value": false_discovery(paces.p_value),
        }
    names = {"activity": named(a.vocabulary, keys)["source"]}
    hits = {"cases_a": sums[0].hits.astype(np.int64), "cases_b": sums[1].hits.astype(np.int64)}
    return finished({**names, **hits}, cases, more)


def _per_case(s: SequenceSet, end: int) -> tuple[pl.DataFrame, np.ndarray]:
    """Events per case and activity with the case's days under observation, and those days of every case."""
    days = np.maximum((_seen_until(s, end) - s.times[s.offsets[:-1]]) / DAY, 1.0)
    rows = pl.DataFrame({"case": s.case_of_event, "source": s.tokens})
    counted = rows.group_by("case", "source", maintain_order=True).agg(x=pl.len().cast(pl.Float64))
    return counted.with_columns(n=pl.Series(days).gather(counted["case"])), days


def _seen_until(s: SequenceSet, end: int) -> np.ndarray:
    """Until when each case was watched: to the end of the log while it is open, else to its last event."""
    last = s.times[s.offsets[1:] - 1]
    return np.where(is_open(s), end, last)


def is_open(s: SequenceSet) -> np.ndarray:
    """Which cases may go on, bool (n_cases,): those the log marks as running, all where it marks none."""
    return np.ones(s.n_cases, bool) if s.running is None else np.asarray(s.running.open, bool)


def _waits(vocabulary: Vocabulary, a: pl.DataFrame, b: pl.DataFrame) -> pl.DataFrame:
    """Each case says one thing about an edge: its median wait."""
    keys = most(pl.concat([a, b]), ["source", "target"], "x")
    waits = [{k: g["wait"].to_numpy() for k, g in s.group_by("source", "target")} for s in (a, b)]
    none = np.zeros(0)
    pairs = [(w[0].get(k, none), w[1].get(k, none)) for k in keys.iter_rows() for w in [waits]]
    tests = np.array([larger(x, y) for x, y in pairs]).reshape(-1, 4)
    medians = np.array([[np.median(v) if len(v) else np.nan for v in p] for p in pairs]).reshape(-1, 2)
    found = Contrast(medians[:, 0], medians[:, 1], *tests.T)
    counts = {f"cases_{n}": np.array([len(p[i]) for p in pairs], np.int64) for i, n in enumerate("ab")}
    spoken = {"a": "median_s_a", "b": "median_s_b", "difference": "larger"}
    return finished({**named(vocabulary, keys), **counts}, found).rename(spoken)


def _next(a: SequenceSet, b: SequenceSet, ends: tuple[int, int]) -> pl.DataFrame:
    """From the first time a case shows an activity to whatever it does next."""
    found = [_first_waits(s, end) for s, end in ((a, ends[0]), (b, ends[1]))]
    keys = most(pl.concat(found), ["source"], "one")
    rows = []
    for (token,) in keys.iter_rows():
        x, y = (f.filter(pl.col("source") == token) for f in found)
        sides = [(s["wait"].to_numpy(), s["ended"].to_numpy()) for s in (x, y)]
        enough = min(int(s[1].sum()) for s in sides) >= 5
        medians = [survival_median(*s) if len(s[0]) else np.nan for s in sides]
        rows.append((*medians, *(log_rank(*sides[0], *sides[1]) if enough else (np.nan, np.nan))))
    a_median, b_median, speed, p_value = np.array(rows).reshape(-1, 4).T
    counts = {}
    for name, one in zip("ab", found, strict=True):
        of = dict(one.group_by("source").len().iter_rows())
        counts[f"cases_{name}"] = np.array([of.get(k, 0) for (k,) in keys.iter_rows()], np.int64)
    nothing = np.full(len(rows), np.nan)
    contrast = Contrast(a_median, b_median, speed, nothing, nothing, p_value)
    table = finished({"activity": named(a.vocabulary, keys)["source"], **counts}, contrast)
    return table.drop("low", "high").rename({"a": "median_s_a", "b": "median_s_b", "difference": "speed"})


def _first_waits(s: SequenceSet, end: int) -> pl.DataFrame:
    """First event of each activity in each case: seconds to the next event, or so far when none came yet.

    The last event of a closed case waits for nothing and is left out.
    """
    last = np.zeros(s.n_events, bool)
    last[s.offsets[1:] - 1] = True
    after = np.append(s.times[1:], end)
    after[last] = end
    rows = pl.DataFrame(
        {
            "case": s.case_of_event,
            "source": s.tokens,
            "wait": (after - s.times) / 1e6,
            "ended": ~last,
            "kept": ~(last & ~is_open(s)[s.case_of_event]),
            "one": 1.0,
        }
    )
    return rows.unique(["case", "source"], keep="first", maintain_order=True).filter("kept")


def _variants(a: SequenceSet, b: SequenceSet) -> pl.DataFrame:
    closed = [s.select(~is_open(s)) if (~is_open(s)).any() else s for s in (a, b)]
    both = [_variant_cases(s) for s in closed]
    joined = both[0].join(both[1], on="variant", how="full", coalesce=True, suffix="_b").fill_null(0)
    joined = joined.with_columns(both=pl.col("cases") + pl.col("cases_b"))
    joined = joined.sort("both", "variant", descending=[True, False]).head(MOST)
    n_a, n_b = joined["cases"].to_numpy(), joined["cases_b"].to_numpy()
    found = shares(n_a, closed[0].n_cases, n_b, closed[1].n_cases)
    return finished({"variant": joined["variant"], "cases_a": n_a, "cases_b": n_b}, found)


def _variant_cases(s: SequenceSet) -> pl.DataFrame:
    return variants(s).to_frame(20_000).select("variant", "cases")


def most(rows: pl.DataFrame, keys: list[str], weight: str) -> pl.DataFrame:
    """The keys with the largest sums, at most MOST, ties in the order of the vocabulary."""
    sums = rows.group_by(keys).agg(pl.sum(weight).alias("all"))
    return sums.sort("all", *keys, descending=[True, *(False for _ in keys)]).head(MOST).select(keys)


def named(vocabulary: Vocabulary, keys: pl.DataFrame) -> dict[str, pl.Series]:
    """The activities behind columns of ids."""
    names = pl.Series(list(vocabulary.names), dtype=pl.String)
    return {c: names.gather(keys[c].cast(pl.Int64)).alias(c) for c in keys.columns}


def finished(columns: dict, found: Contrast, more: dict | None = None) -> pl.DataFrame:
    """The table, what stands out first, by how sure it is."""
    table = pl.DataFrame(
        {
            **columns,
            **{c: getattr(found, c) for c in ("a", "b", "difference", "low", "high", "p_value")},
            "q_value": false_discovery(found.p_value),
            **(more or {}),
        }
    )
    numbers = [c for c, t in table.schema.items() if t.is_float()]
    found_in_one = pl.col(numbers).is_finite()
    table = table.with_columns(pl.when(found_in_one).then(pl.col(numbers)))
    first = [c for c in columns if not c.startswith(("cases", "frequency"))]
    return table.sort("q_value", "p_value", *first, nulls_last=True)


def _notes(a: SequenceSet, b: SequenceSet, names: tuple[str, str]) -> tuple[str, ...]:
    notes = []
    for s, name in ((a, names[0]), (b, names[1])):
        if s.n_cases < 30:
            notes.append(f"{name} has {s.n_cases} cases: only very large differences can be told from chance")
        if is_open(s).all():
            notes.append(f"every case of {name} may go on: variants are what was seen so far")
    lengths = [float((s.times.max() - s.times.min()) / DAY) for s in (a, b)]
    if a.timed and max(lengths) > 1.5 * max(min(lengths), 1.0):
        shown = " and ".join(f"{v:,.0f}" for v in lengths)
        notes.append(
            f"the groups were watched for {shown} days: shares of cases grow with time, rates do not"
        )
    notes.append(
        "a difference is an association: without chance deciding the group, nothing here is an effect"
    )
    return tuple(notes)
