"""What a perception is learned from: how each case interacted, and the attributes that were allowed."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import polars as pl

from behavio.errors import JobError
from behavio.log import EventLog

LEVELS = 12
"""Values of a text attribute that count; rarer ones are one value together."""


@dataclass(frozen=True, slots=True, eq=False)
class CaseInputs:
    """case_ids of every case with an event; values float64 (n_cases, n_columns), each column mean 0, sd 1.

    names says what each column is; behaviour counts how many of them, from the first, are not attributes.
    """

    case_ids: pl.Series
    values: np.ndarray
    names: tuple[str, ...]


def case_inputs(log: EventLog, vectors: pl.DataFrame | None, attributes: tuple[str, ...]) -> CaseInputs:
    """Log counts of every activity and their shares, journey vectors (case_id, vector), attributes.

    Raises JobError for an attribute the cases do not have.
    """
    counts = log.events.group_by("case_id", "activity").len().sort("case_id", "activity")
    wide = counts.pivot("activity", index="case_id", values="len", sort_columns=True).fill_null(0)
    wide = wide.sort("case_id")
    case_ids = wide["case_id"]
    n = wide.drop("case_id").to_numpy().astype(np.float64)
    total = n.sum(axis=1, keepdims=True)
    activities = wide.columns[1:]
    parts = [np.log1p(n), n / total, np.log(total)]
    names = [f"number of {a}" for a in activities] + [f"share of {a}" for a in activities] + ["events"]
    if vectors is not None:
        own = case_ids.to_frame().join(vectors, on="case_id", how="left", maintain_order="left")["vector"]
        dense = np.vstack([np.asarray(v) for v in own]) if own.null_count() == 0 else None
        if dense is not None:
            parts.append(dense.astype(np.float64))
            names += [f"journey vector {i + 1}" for i in range(dense.shape[1])]
    for name in attributes:
        block, labels = _attribute(log.cases, case_ids, name)
        parts.append(block)
        names += labels
    values = np.hstack(parts)
    spread = values.std(axis=0)
    kept = spread > 1e-9
    scaled = (values[:, kept] - values[:, kept].mean(axis=0)) / spread[kept]
    return CaseInputs(case_ids, scaled, tuple(n for n, k in zip(names, kept, strict=True) if k))


def _attribute(cases: pl.DataFrame, case_ids: pl.Series, name: str) -> tuple[np.ndarray, list[str]]:
    """One column of the cases as numbers: as it is, or one column for each frequent value."""
    if name not in cases.columns or name == "case_id":
        known = ", ".join(c for c in cases.columns if c != "case_id")
        raise JobError(f"the cases have no attribute {name!r}", hint=f"they have: {known or 'none'}")
    own = case_ids.to_frame().join(
        cases.select("case_id", name), on="case_id", how="left", maintain_order="left"
    )[name]
    if own.dtype.is_numeric():
        number = own.cast(pl.Float64)
        middle = number.median()
        filled = number.fill_null(0.0 if middle is None else float(middle))  # type: ignore[arg-type]
        return filled.to_numpy()[:, None], [name]
    text = own.cast(pl.String).fill_null("(unknown)")
    levels = text.value_counts(sort=True).sort("count", name, descending=[True, False])[name].head(LEVELS)
    block = np.stack([(text == level).to_numpy() for level in levels], axis=1).astype(np.float64)
    return block, [f"{name} {level}" for level in levels]
