"""Which segment each case belongs to."""

from __future__ import annotations

import html
from dataclasses import dataclass

import numpy as np
import polars as pl

from behavio.errors import ModelError

UNASSIGNED = -1
UNASSIGNED_NAME = "Unassigned"


@dataclass(frozen=True, eq=False)
class Segmentation:
    """Which segment each case belongs to.

    case_ids    strings (n_cases,)
    segment_id  int32 (n_cases,)    -1 is unassigned
    strength    float64 (n_cases,)  probability of the most probable segment, 0–1
    names       the plain name of segment 0, 1, …
    """

    case_ids: pl.Series
    segment_id: np.ndarray
    strength: np.ndarray
    names: tuple[str, ...]

    def __post_init__(self) -> None:
        n = len(self.case_ids)
        if len(self.segment_id) != n or len(self.strength) != n:
            raise ModelError(f"{n} cases need {n} segments and strengths")
        if n and not (self.segment_id.min() >= UNASSIGNED and self.segment_id.max() < len(self.names)):
            raise ModelError("a segment id has no name")
        if len(set(self.names)) != len(self.names) or "" in self.names:
            raise ModelError("names of segments must differ and not be empty")

    @property
    def k(self) -> int:
        """Number of segments."""
        return len(self.names)

    @property
    def sizes(self) -> np.ndarray:
        """int64 (k,): cases in each segment."""
        return np.bincount(self.segment_id[self.segment_id >= 0], minlength=self.k)

    @property
    def n_unassigned(self) -> int:
        """Cases that belong to no segment."""
        return int((self.segment_id == UNASSIGNED).sum())

    def to_frame(self) -> pl.DataFrame:
        """case_id, segment_id (−1 unassigned), segment (name), strength; one row a case, in case order."""
        names = np.array([*self.names, UNASSIGNED_NAME], dtype=object)[self.segment_id]
        return pl.DataFrame(
            {
                "case_id": self.case_ids,
                "segment_id": pl.Series(self.segment_id, dtype=pl.Int32),
                "segment": pl.Series(names.tolist(), dtype=pl.String),
                "strength": pl.Series(self.strength, dtype=pl.Float64),
            }
        )

    def _repr_html_(self) -> str:
        """A small table of segments and sizes for notebooks."""
        n = max(len(self.case_ids), 1)
        rows = [*zip(self.names, self.sizes.tolist(), strict=True)]
        if self.n_unassigned:
            rows.append((UNASSIGNED_NAME, self.n_unassigned))
        body = "".join(
            f"<tr><td>{html.escape(name)}</td><td align='right'>{size:,}</td>"
            f"<td align='right'>{100 * size / n:.0f} %</td></tr>"
            for name, size in rows
        )
        return f"<table><tr><th>segment</th><th>cases</th><th>share</th></tr>{body}</table>"
