"""What each case is worth: levels of an imported column, refused where it only repeats engagement."""

from __future__ import annotations

from difflib import get_close_matches
from itertools import pairwise

import numpy as np
import polars as pl

from behavio.errors import JobError
from behavio.log import EventLog
from behavio.value.settings import ValueSettings

TOP_SHARE = 0.2
"""Without cuts the most valuable fifth is high, as in suggestions."""
MOST_LEVELS = 12
REPEATS = 0.95
"""Rank correlation with the number of contacts or events from which a column is no value of its own."""
FOLLOWS = 0.5


def levels_of(log: EventLog, settings: ValueSettings) -> tuple[pl.DataFrame, tuple[str, ...], list[str]]:
    """case_id, told (the column as text), level (null where none is known); levels from the least to the most
    valuable; notes. Raises JobError for a column that is not there, has too many values, or is engagement."""
    name = settings.column
    cases = log.cases.unique("case_id", keep="first", maintain_order=True)
    if name not in cases.columns or name == "case_id":
        near = get_close_matches(name, cases.columns, 1, 0.4)
        known = ", ".join(c for c in cases.columns if c != "case_id")
        hint = f"did you mean {near[0]!r}?" if near else f"columns: {known or 'none'}"
        raise JobError(f"the cases have no column {name!r}", hint=hint)
    own = cases.select(pl.col("case_id").cast(pl.String), told=pl.col(name).cast(pl.String))
    number = own["told"].cast(pl.Float64, strict=False)
    numeric = number.null_count() == own["told"].null_count() and not settings.order
    if numeric:
        table, names = _numeric(own, number, settings)
        notes = _engagement(log, own["case_id"], number, name)
    else:
        table, names = _worded(own, settings)
        notes = []
    missing = table["level"].null_count()
    if missing:
        notes.append(f"{missing:,} of {table.height:,} cases have no value: they are in no level")
    return table.sort("case_id"), names, notes


def _numeric(
    own: pl.DataFrame, number: pl.Series, settings: ValueSettings
) -> tuple[pl.DataFrame, tuple[str, ...]]:
    if settings.cuts:
        ends = [f"{c:g}" for c in settings.cuts]
        names = (
            f"under {ends[0]}",
            *(f"{a} to under {b}" for a, b in pairwise(ends)),
            f"{ends[-1]} and more",
        )
        cuts = list(settings.cuts)
    else:
        limit = number.quantile(1 - TOP_SHARE, "lower")
        names, cuts = ("low", "high"), [float("inf") if limit is None else limit]
    place = np.searchsorted(np.array(cuts), number.fill_null(np.nan).to_numpy(), side="right")
    level = pl.Series([names[p] for p in place], dtype=pl.String)
    return own.with_columns(level=pl.when(number.is_not_null()).then(level)), names


def _worded(own: pl.DataFrame, settings: ValueSettings) -> tuple[pl.DataFrame, tuple[str, ...]]:
    known = own["told"].drop_nulls().unique().sort().to_list()
    if len(known) > MOST_LEVELS:
        raise JobError(
            f"{settings.column} has {len(known)} different values that are no numbers",
            hint="give a column of numbers, or of few classes",
        )
    unknown = [k for k in known if k not in settings.order]
    if settings.order and unknown:
        raise JobError(f"order lacks {unknown[0]!r}", hint=f"values: {', '.join(known)}")
    if not settings.order:
        raise JobError(
            f"{settings.column} holds words: which is worth more is not known",
            hint=f"name them from the least to the most valuable: order = {known}",
        )
    return own.with_columns(level=pl.col("told")), tuple(settings.order)


def _engagement(log: EventLog, ids: pl.Series, number: pl.Series, name: str) -> list[str]:
    """JobError where the column is the number of events or contacts under another name; a note where near."""
    from scipy.stats import spearmanr

    outbound = pl.col("direction") == "outbound" if "direction" in log.events.columns else pl.lit(False)
    per = log.events.group_by(pl.col("case_id").cast(pl.String)).agg(
        pl.len().alias("events"), outbound.sum().alias("contacts"), (~outbound).sum().alias("others")
    )
    table = ids.to_frame().with_columns(value=number).join(per, on="case_id").drop_nulls("value")
    notes = []
    for what in ("events", "contacts", "others"):
        x, y = table["value"].to_numpy(), table[what].to_numpy()
        if len(x) < 30 or len(np.unique(x)) < 2 or len(np.unique(y)) < 2:
            continue
        rho = float(spearmanr(x, y).statistic)
        if abs(rho) >= REPEATS and len(np.unique(x)) > 2:
            raise JobError(
                f"{name} repeats the number of {what} in the log (rank correlation {rho:.2f})",
                hint="value has to come from elsewhere: potential, sales of the market, a decile",
            )
        if abs(rho) >= FOLLOWS:
            notes.append(
                f"{name} follows the number of {what} (rank correlation {rho:.2f}): is it a value of its own?"
            )
    return notes
