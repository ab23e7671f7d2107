"""Cases as vectors: from what they count, or from a table of vectors that another model learned.

aggregates   shares of activities, length and pace: what a spreadsheet would hold
transitions  how often what follows what, square roots, 16 leading directions
table        vectors by case_id: those of models/embeddings.parquet, or of an encoder (`contrast.Contrast`)
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import polars as pl

from behavio.errors import ModelError
from behavio.sequences import SequenceSet

SPACES = ("aggregates", "transitions", "table")
MAX_COLUMNS, MAX_STEPS, WIDTH = 64, 4_096, 16


@dataclass(frozen=True, slots=True, eq=False)
class Embeddings:
    """One vector per case: case_ids strings (n,), vectors float64 (n, dim)."""

    case_ids: pl.Series
    vectors: np.ndarray

    @classmethod
    def of(cls, table: pl.DataFrame) -> Embeddings:
        """From columns case_id and vector (list). Raises ModelError when vectors differ in length."""
        missing = {"case_id", "vector"} - set(table.columns)
        if missing:
            raise ModelError(f"a table of vectors needs the columns {', '.join(sorted(missing))}")
        if table.height == 0 or table["vector"].list.len().n_unique() != 1:
            raise ModelError("vectors must all have the same number of values, and there must be some")
        width = int(table["vector"].list.len()[0])
        flat = table["vector"].explode().to_numpy().astype(np.float64)
        return cls(table["case_id"].cast(pl.String), flat.reshape(-1, width))

    def places(self, case_ids: pl.Series) -> np.ndarray:
        """Row of each case, int64 (n,), −1 where it has none."""
        known = pl.DataFrame({"case_id": self.case_ids}).with_row_index("place").unique("case_id")
        found = (
            case_ids.cast(pl.String)
            .to_frame("case_id")
            .join(known, on="case_id", how="left", maintain_order="left")["place"]
        )
        return found.cast(pl.Int64).fill_null(-1).to_numpy().copy()

    def take(self, sequences: SequenceSet) -> np.ndarray:
        """Vectors of these cases, float64 (n, dim). Raises ModelError when one has none."""
        place = self.places(sequences.case_ids)
        if (place < 0).any():
            raise ModelError(
                f"{int((place < 0).sum()):,} of {len(place):,} cases have no vector",
                hint="the vectors must come from the same log: run the model stage again",
            )
        return self.vectors[place]


@dataclass(frozen=True, eq=False)
class Points:
    """vectors float64 (n_cases, dim); events int64 (n_cases,)."""

    vectors: np.ndarray
    events: np.ndarray

    @property
    def n_cases(self) -> int:
        """Number of rows."""
        return len(self.vectors)

    def select(self, cases: np.ndarray) -> Points:
        """The rows at these indices, in the given order."""
        return Points(self.vectors[cases], self.events[cases])


def frequent_tokens(sequences: SequenceSet) -> np.ndarray:
    """int32 (n_tokens,): a column for each of the most frequent activities, 0 for all others."""
    n = np.bincount(sequences.tokens, minlength=len(sequences.vocabulary))
    top = np.sort(np.argsort(-n, kind="stable")[:MAX_COLUMNS])
    column = np.zeros(len(n), np.int32)
    column[top[n[top] > 0]] = 1 + np.arange((n[top] > 0).sum())
    return column


def aggregates(sequences: SequenceSet, column: np.ndarray) -> np.ndarray:
    """Square roots of shares, then length and pace (logarithms), float64 (n_cases, columns + 3)."""
    width = int(column.max()) + 1
    cell = sequences.case_of_event * width + column[sequences.tokens]
    counts = np.bincount(cell, minlength=sequences.n_cases * width).reshape(-1, width)
    shares = np.sqrt(counts / sequences.lengths[:, None])
    length = np.log(sequences.lengths)
    pace, uneven = np.zeros(sequences.n_cases), np.zeros(sequences.n_cases)
    if sequences.timed:
        logs = np.log1p(sequences.gaps_s)
        steps = np.maximum(sequences.lengths - 1, 1)
        case = sequences.case_of_event
        pace = np.bincount(case, weights=logs, minlength=sequences.n_cases) / steps
        squares = np.bincount(case, weights=logs**2, minlength=sequences.n_cases) / steps
        uneven = np.sqrt(np.maximum(squares - pace**2, 0.0))
    return np.column_stack([shares, length, pace, uneven])


def step_keys(sequences: SequenceSet, column: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Case and code of every step, int64 each; a code is source column × width + target column."""
    later = np.ones(sequences.n_events, bool)
    later[sequences.offsets[:-1]] = False
    place = np.flatnonzero(later)
    own = column[sequences.tokens].astype(np.int64)
    return sequences.case_of_event[place], own[place - 1] * (int(column.max()) + 1) + own[place]


def transitions(sequences: SequenceSet, column: np.ndarray, keys: np.ndarray) -> object:
    """Square roots of the share of each step among the steps of a case, sparse (n_cases, len(keys))."""
    from scipy.sparse import coo_array

    case, code = step_keys(sequences, column)
    at = np.minimum(np.searchsorted(keys, code), max(len(keys) - 1, 0))
    kept = keys[at] == code if len(keys) else np.zeros(len(code), bool)
    shape = (sequences.n_cases, max(len(keys), 1))
    table = coo_array((np.ones(int(kept.sum())), (case[kept], at[kept])), shape=shape).tocsr()
    table.sum_duplicates()
    steps = np.maximum(sequences.lengths - 1, 1)
    table.data = np.sqrt(table.data / np.repeat(steps, np.diff(table.indptr)))
    return table


def principal(matrix: object, width: int, rng: np.random.Generator) -> np.ndarray:
    """The leading right singular directions, float64 (columns, ≤ width), by subspace iteration.

    Halko, Martinsson & Tropp, "Finding structure with randomness" (2011), algorithm 4.4.
    """
    basis = rng.standard_normal((matrix.shape[1], min(width + 4, *matrix.shape)))  # type: ignore[attr-defined]
    for _ in range(5):
        basis, _ = np.linalg.qr(matrix.T @ (matrix @ basis))  # type: ignore[attr-defined,operator]
    _, _, turned = np.linalg.svd(matrix @ basis, full_matrices=False)  # type: ignore[operator]
    return np.asarray((basis @ turned.T)[:, :width])
