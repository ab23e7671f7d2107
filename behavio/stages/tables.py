"""Paths over the stages as tables: where each case stands, every move with its evidence, the ladder."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl

from behavio.log import TIME

DAY_US = 86_400_000_000
STAGE_SCHEMA: dict[str, pl.DataType] = {
    "case_id": pl.String(),
    "stage_id": pl.Int32(),
    "stage": pl.String(),
    "probability": pl.Float64(),
    "since": TIME,
    "days": pl.Float64(),
    "moves": pl.Int32(),
    "steps_back": pl.Int32(),
    "evidence": pl.String(),
    "evidence_row": pl.String(),
}
MOVE_SCHEMA: dict[str, pl.DataType] = {
    "case_id": pl.String(),
    "time": TIME,
    "from_stage": pl.String(),
    "to_stage": pl.String(),
    "back": pl.Boolean(),
    "evidence": pl.String(),
    "evidence_row": pl.String(),
}


@dataclass(frozen=True, eq=False)
class Stages:
    """Where every case stands on the ladder, and how it came there.

    names   of the stages, the lowest first
    cases   STAGE_SCHEMA: stage today, since when (null: it never moved), the last move's evidence
    moves   MOVE_SCHEMA: every step, in order
    ladder  stage, n_cases today, reached (cases ever there), median_days in it (left stays only), up and
            back (share of left stays that went up or back)
    learned True when stages were learned, False when they follow rules
    shown   stage, about, share, lift: what is talked about on each learned stage
    notes   what a reader should know
    """

    names: tuple[str, ...]
    cases: pl.DataFrame
    moves: pl.DataFrame
    ladder: pl.DataFrame
    learned: bool
    shown: pl.DataFrame
    notes: tuple[str, ...] = ()

    def to_frame(self) -> pl.DataFrame:
        """One row per case."""
        return self.cases


def told(
    events: pl.DataFrame,
    offsets: np.ndarray,
    path: np.ndarray,
    names: Sequence[str],
    now: np.ndarray | None,
    as_of: int,
) -> tuple[pl.DataFrame, pl.DataFrame, pl.DataFrame]:
    """The three tables from paths (events + cases,); `now` (cases, stages) holds today's probabilities."""
    n = len(offsets) - 1
    case = np.repeat(np.arange(n), np.diff(offsets))
    at = np.arange(len(case)) + case
    before, after = path[at], path[at + 1]
    rows = np.flatnonzero(before != after)
    ids = events["case_id"].gather(offsets[:-1])
    labels = pl.Series(list(names), dtype=pl.String)
    step = events[rows]
    moves = pl.DataFrame(
        {
            "case_id": step["case_id"],
            "time": step["timestamp"],
            "from_stage": labels.gather(before[rows].astype(np.int64)),
            "to_stage": labels.gather(after[rows].astype(np.int64)),
            "back": after[rows] < before[rows],
            "evidence": step["__what__"],
            "evidence_row": step["__row__"],
        },
        schema=MOVE_SCHEMA,
    )
    today = path[offsets[1:] + np.arange(n)].astype(np.int64)
    last = np.full(n, -1)
    last[case[rows]] = rows
    moved = last >= 0
    times = events["timestamp"].dt.epoch("us").to_numpy()
    start = np.where(moved, times[np.maximum(last, 0)], times[offsets[:-1]])
    n_moves = np.bincount(case[rows], minlength=n)
    back = np.bincount(case[rows], after[rows] < before[rows], minlength=n)
    known = pl.Series(moved)
    which = pl.Series(np.maximum(last, 0))
    cases = pl.DataFrame(
        {
            "case_id": ids,
            "stage_id": today,
            "stage": labels.gather(today),
            "probability": np.ones(n) if now is None else now[np.arange(n), today],
            "since": events["timestamp"].gather(which).zip_with(known, pl.Series([None] * n, dtype=TIME)),
            "days": (as_of - start) / DAY_US,
            "moves": n_moves,
            "steps_back": back.astype(np.int64),
            "evidence": events["__what__"]
            .gather(which)
            .zip_with(known, pl.Series([None] * n, dtype=pl.String)),
            "evidence_row": events["__row__"]
            .gather(which)
            .zip_with(known, pl.Series([None] * n, dtype=pl.String)),
        }
    ).cast(STAGE_SCHEMA)  # type: ignore[arg-type]
    return cases, moves, _ladder(moves, cases, names, before, case, times, rows, offsets)


def _ladder(
    moves: pl.DataFrame,
    cases: pl.DataFrame,
    names: Sequence[str],
    before: np.ndarray,
    case: np.ndarray,
    times: np.ndarray,
    rows: np.ndarray,
    offsets: np.ndarray,
) -> pl.DataFrame:
    """How many stand on each stage, ever stood there, how long, and where they went."""
    entered = times[offsets[:-1]][case[rows]]
    again = np.flatnonzero(case[rows][1:] == case[rows][:-1]) + 1
    entered[again] = times[rows][again - 1]
    stays = pl.DataFrame(
        {
            "stage": moves["from_stage"],
            "days": (times[rows] - entered) / DAY_US,
            "up": ~moves["back"],
        }
    )
    ever = np.zeros((cases.height, len(names)), bool)
    ever[case, before] = True
    ever[np.arange(cases.height), cases["stage_id"].to_numpy()] = True
    left = stays.group_by("stage").agg(
        pl.len().cast(pl.Int64).alias("left"),
        pl.col("days").median().alias("median_days"),
        pl.col("up").mean(),
    )
    sizes = np.bincount(cases["stage_id"].to_numpy(), minlength=len(names))
    table = pl.DataFrame({"stage": list(names), "n_cases": sizes, "reached": ever.sum(axis=0)})
    found = table.join(left, on="stage", how="left", maintain_order="left").with_columns(
        pl.col("left").fill_null(0)
    )
    return found.with_columns(back=1 - pl.col("up"))
