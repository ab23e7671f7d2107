"""An existing segmentation beside the behavioural one: where they agree, who differs, what each explains."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from behavio.errors import JobError, LogError, ModelError
from behavio.segments.agreement import adjusted_rand, crossed
from behavio.segments.contract import Segmenter
from behavio.segments.statistics import target_of
from behavio.segments.views import GIVEN
from behavio.sequences import SequenceSet, time_cut

EARLIER = 0.7
"""Share of events that lie before the cut: groups from before it are asked about what comes after."""

RESAMPLES, TOP, MIN_CASES, MAX_GROUPS = 200, 8, 60, 60


@dataclass(frozen=True, slots=True, eq=False)
class Challenge:
    """Two groupings of the same cases.

    table      segment, other, n_cases, share (of the segment), share_of_other, partner (True where these two
               are each other's, by the assignment that shares most)
    agreement  adjusted Rand index                common  cases in a group of both
    misplaced  case_id, segment, other, expected: the other grouping puts them elsewhere than most of their
               kind; strength (how surely they belong to their segment), surest first
    explains   what, segments, other, both, then what each adds to the other with low and high (95 %): part of
               the variance of what cases do after a cut in time, groups being known from before it
    notes      what a reader should know before believing it
    """

    table: pl.DataFrame
    agreement: float
    common: int
    misplaced: pl.DataFrame
    explains: pl.DataFrame
    notes: tuple[str, ...]


def other_labels(
    path_or_column: str,
    cases: pl.DataFrame,
    column: str | None = None,
    among: pl.Series | None = None,
) -> pl.DataFrame:
    """case_id and other from a column of the cases, or from a file of case_id and one more column.

    Raises JobError for a column or file that is not there, LogError for one that cannot be used, or that
    knows none of the cases `among`.
    """
    labels = _labels(path_or_column, cases, column)
    ids = labels["case_id"] if among is None else among
    if labels.filter(
        pl.col("other").is_not_null() & pl.col("case_id").is_in(ids.cast(pl.String).implode())
    ).height:
        return labels
    if path_or_column in cases.columns:
        known = [c for c in cases.columns if c != "case_id" and cases[c].null_count() < cases.height]
        raise JobError(
            f"the column {path_or_column!r} of the cases is empty",
            hint=f"columns with something in them: {', '.join(known) or 'none'}",
        )
    raise LogError(f"no case of the log is in {Path(path_or_column).name}", hint="it needs the log's case_id")


def _labels(path_or_column: str, cases: pl.DataFrame, column: str | None) -> pl.DataFrame:
    if path_or_column in cases.columns and path_or_column != "case_id":
        return cases.select(pl.col("case_id").cast(pl.String), other=pl.col(path_or_column).cast(pl.String))
    path = Path(path_or_column)
    if not path.is_file():
        known = ", ".join(c for c in cases.columns if c != "case_id") or "none"
        raise JobError(
            f"{path_or_column!r} is neither a file nor a column of the cases",
            hint=f"columns: {known}; a file: CSV or Parquet with case_id and the segment",
        )
    try:
        table = pl.read_parquet(path) if path.suffix == ".parquet" else pl.read_csv(path, infer_schema=False)
    except (pl.exceptions.PolarsError, OSError) as problem:
        raise LogError(
            f"{path} cannot be read: {problem}", hint="CSV or Parquet, first row the names"
        ) from None
    found = column or next(
        (c for c in ("segment", "group", "other", *table.columns) if _names(c, table)), None
    )
    if "case_id" not in table.columns or found is None or found not in table.columns:
        raise LogError(
            f"{path.name} has the columns {', '.join(table.columns)}",
            hint="it needs case_id and a column with the segment",
        )
    labels = table.select(pl.col("case_id").cast(pl.String), other=pl.col(found).cast(pl.String)).unique()
    if labels["case_id"].n_unique() < labels.height:
        raise LogError(f"{path.name} puts a case in two groups", hint="one row for each case")
    return labels


def _names(column: str, table: pl.DataFrame) -> bool:
    return column in table.columns and column != "case_id"


def challenge(
    labels: pl.DataFrame,
    names: Sequence[str],
    others: pl.DataFrame,
    sequences: SequenceSet,
    model: Segmenter,
    seed: int,
) -> Challenge:
    """Hold `others` (case_id, other) against `labels` (case_id, segment, strength) of a run.

    Raises LogError when no case is in both, or the other grouping has a group for nearly every case.
    """
    both = labels.join(others.drop_nulls(), on="case_id", how="inner", maintain_order="left")
    if both.height == 0:
        raise LogError("no case is in both segmentations", hint="the other one needs the log's case_id")
    placed = both.filter(pl.col("segment").is_in(list(names)))
    theirs = sorted(placed["other"].unique().to_list())
    if len(theirs) > MAX_GROUPS:
        raise LogError(
            f"the other segmentation has {len(theirs):,} groups", hint=f"at most {MAX_GROUPS} can be compared"
        )
    a = _codes(placed["segment"], names)
    b = _codes(placed["other"], theirs)
    shared = np.zeros((len(names), len(theirs)), np.int64)
    found = crossed(a, b)
    shared[: found.shape[0], : found.shape[1]] = found
    partner = _partners(shared)
    notes = [f"{labels.height - both.height:,} cases of the run are not in the other segmentation"]
    notes = notes if labels.height > both.height else []
    notes += (
        [f"{both.height - placed.height:,} cases are in no segment"] if placed.height < both.height else []
    )
    explains, said = _explained(placed, a, b, sequences, model, seed)
    return Challenge(
        _table(shared, names, theirs, partner),
        round(adjusted_rand(a, b), 4),
        placed.height,
        _misplaced(placed, a, b, shared, theirs),
        explains,
        (*notes, *said),
    )


def _codes(column: pl.Series, names: Sequence[str]) -> np.ndarray:
    places = {n: i for i, n in enumerate(names)}
    return np.array([places[v] for v in column.to_list()], np.int64)


def _partners(shared: np.ndarray) -> set[tuple[int, int]]:
    union = shared.sum(1)[:, None] + shared.sum(0)[None, :] - shared
    from scipy.optimize import linear_sum_assignment

    rows, columns = linear_sum_assignment(-(shared / np.maximum(union, 1)))
    return {(int(i), int(j)) for i, j in zip(rows, columns, strict=True) if shared[i, j]}


def _table(
    shared: np.ndarray, names: Sequence[str], theirs: Sequence[str], partner: set[tuple[int, int]]
) -> pl.DataFrame:
    rows = [
        {
            "segment": names[i],
            "other": theirs[j],
            "n_cases": int(shared[i, j]),
            "share": round(float(shared[i, j] / max(shared[i].sum(), 1)), 4),
            "share_of_other": round(float(shared[i, j] / max(shared[:, j].sum(), 1)), 4),
            "partner": (i, j) in partner,
        }
        for i in range(len(names))
        for j in range(len(theirs))
        if shared[i, j]
    ]
    return pl.DataFrame(rows)


def _misplaced(
    placed: pl.DataFrame, a: np.ndarray, b: np.ndarray, shared: np.ndarray, theirs: Sequence[str]
) -> pl.DataFrame:
    """Cases that the other grouping puts elsewhere than most of their segment."""
    usual = shared.argmax(axis=1)
    return (
        placed.select("case_id", "segment", "other", "strength")
        .with_columns(pl.Series("expected", [theirs[usual[g]] for g in a], pl.String))
        .filter(pl.Series(b != usual[a]))
        .sort("strength", "case_id", descending=[True, False])
        .select("case_id", "segment", "other", "expected", "strength")
    )


EMPTY = pl.DataFrame(
    schema={"what": pl.String}
    | dict.fromkeys(("segments", "other", "both", "segments_add", "other_adds"), pl.Float64)
)


def _explained(
    placed: pl.DataFrame, a: np.ndarray, b: np.ndarray, sequences: SequenceSet, model: Segmenter, seed: int
) -> tuple[pl.DataFrame, list[str]]:
    """What groups known before a cut say of what comes after it; segments are found again before the cut."""
    if not sequences.timed:
        return EMPTY, ["the log has no clock: nothing can be said about later events"]
    cut = time_cut(sequences, EARLIER)
    part = _with_both_sides(sequences, placed["case_id"], cut)
    if part is None:
        return EMPTY, [f"fewer than {MIN_CASES} cases have events before and after the cut in time"]
    early = part.until(cut)
    try:
        mine = model.alike(k=model.k).fit(early).predict(early)[0]
    except ModelError as problem:
        return EMPTY, [f"no segments could be found before the cut: {problem}"]
    place = placed.with_row_index("place").select("case_id", "place")
    rows = early.case_ids.to_frame("case_id").join(place, on="case_id", maintain_order="left")["place"]
    theirs = b[rows.to_numpy()]
    outcomes = _later(part, cut)
    rng = np.random.default_rng([seed, 71])
    table = pl.DataFrame([_adds(name, y, mine, theirs, rng) for name, y in outcomes.items()])
    day = pl.Series([cut]).cast(pl.Datetime("us"))[0].date()
    return table, [
        f"{part.n_cases:,} cases with events before and after {day}; segments were found again in the events "
        "before it, the other segmentation is taken as it is and may know what came later"
    ]


def _with_both_sides(sequences: SequenceSet, case_ids: pl.Series, cut: int) -> SequenceSet | None:
    before = np.add.reduceat(sequences.times < cut, sequences.offsets[:-1])
    inside = sequences.case_ids.cast(pl.String).is_in(case_ids.implode()).to_numpy()
    kept = np.flatnonzero(inside & (before >= 3) & (before < sequences.lengths))
    return sequences.select(kept) if len(kept) >= MIN_CASES else None


def _later(part: SequenceSet, cut: int) -> dict[str, np.ndarray]:
    """What cases do themselves after the cut: how much (logarithm), and shares of what; (n, columns)."""
    target = target_of(part)
    own = (part.times >= cut) & (target[part.tokens] != GIVEN)
    case, token = part.case_of_event[own], part.tokens[own]
    total = np.bincount(case, minlength=part.n_cases)
    top = np.argsort(-np.bincount(token, minlength=len(part.vocabulary)), kind="stable")[:TOP]
    column = np.full(len(part.vocabulary), -1)
    column[top] = np.arange(len(top))
    kept = column[token] >= 0
    counts = np.bincount(case[kept] * TOP + column[token[kept]], minlength=part.n_cases * TOP)
    shares = counts.reshape(-1, TOP) / np.maximum(total, 1)[:, None]
    return {"how much they do later": np.log1p(total)[:, None], "what they do later": shares}


def _adds(
    what: str, y: np.ndarray, mine: np.ndarray, theirs: np.ndarray, rng: np.random.Generator
) -> dict[str, Any]:
    pair = np.unique(mine * (int(theirs.max()) + 1) + theirs, return_inverse=True)[1]
    one, other, both = (explained(y, g) for g in (mine, theirs, pair))
    draws = np.empty((RESAMPLES, 2))
    for i in range(RESAMPLES):
        rows = rng.integers(0, len(y), len(y))
        parts = [explained(y[rows], g[rows]) for g in (mine, theirs, pair)]
        draws[i] = parts[2] - parts[1], parts[2] - parts[0]
    # cases drawn twice make groups look better than they are: the spread of draws is used, not their level
    wide = 1.96 * draws.std(axis=0)
    low, high = np.array([both - other, both - one]) - wide, np.array([both - other, both - one]) + wide
    return {
        "what": what,
        "segments": round(one, 4),
        "other": round(other, 4),
        "both": round(both, 4),
        "segments_add": round(both - other, 4),
        "segments_add_low": round(float(low[0]), 4),
        "segments_add_high": round(float(high[0]), 4),
        "other_adds": round(both - one, 4),
        "other_adds_low": round(float(low[1]), 4),
        "other_adds_high": round(float(high[1]), 4),
    }


def explained(y: np.ndarray, group: np.ndarray) -> float:
    """Part of the variance of y float64 (n, columns) between groups, their number allowed for (Kelley)."""
    n, names = len(y), np.unique(group, return_inverse=True)
    k = len(names[0])
    total = float(((y - y.mean(axis=0)) ** 2).sum())
    if total <= 0 or n <= k:
        return 0.0
    members = np.bincount(names[1], minlength=k)
    inside = 0.0
    for column in y.T:
        means = np.bincount(names[1], weights=column, minlength=k) / np.maximum(members, 1)
        inside += float(((column - means[names[1]]) ** 2).sum())
    return 1.0 - (inside / (n - k)) / (total / (n - 1))
