"""Attributes of events as codes: words as they are, numbers in steps that hold about as many values each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import polars as pl

from behavio.errors import JobError
from behavio.log import EventLog
from behavio.models.settings import Protocol
from behavio.sequences import FIELDS, Field, SequenceSet, Vocabulary

STEPS = 16
"""Steps a number is cut into."""
FEW = 30
"""Whole numbers with at most this many values are taken as words."""


def fields_asked(protocol: Protocol) -> tuple[str, ...]:
    """Columns of the log that the protocol needs, beside case, activity and time."""
    named = protocol.fields or ()
    return (*named, protocol.column) if protocol.split == "column" else named


def coded(log: EventLog, protocol: Protocol) -> tuple[SequenceSet, dict[str, np.ndarray]]:
    """The log with its words coded, and its numbers float64 (n_events,) (NaN: missing) as they are."""
    named = FIELDS if protocol.fields is None else protocol.fields
    present = set(log.events.columns)
    missing = [n for n in fields_asked(protocol) if n not in present]
    if missing:
        raise JobError(
            f"the log has no column {missing[0]!r}", hint=f"columns read: {', '.join(log.events.columns)}"
        )
    numbers = {n: _floats(log.events[n]) for n in named if n in present and _measured(log.events[n])}
    split = [protocol.column] if protocol.split == "column" else []
    words = [n for n in named if n in present and n not in numbers]
    return SequenceSet.from_log(log, [*words, *split]), numbers


def _measured(column: pl.Series) -> bool:
    """True for numbers that are amounts and not codes."""
    return column.dtype.is_float() or (column.dtype.is_integer() and column.n_unique() > FEW)


def _floats(column: pl.Series) -> np.ndarray:
    values: np.ndarray = column.cast(pl.Float64).fill_null(float("nan")).to_numpy()
    return values


def with_numbers(sequences: SequenceSet, numbers: dict[str, np.ndarray], known: np.ndarray) -> SequenceSet:
    """The sequences with each number as a field of steps, whose edges come from `known` events alone."""
    fields = dict(sequences.fields)
    for name, values in numbers.items():
        usable = values[known & np.isfinite(values)]
        if len(usable) == 0:
            continue
        edges = np.unique(np.quantile(usable, np.linspace(0, 1, STEPS + 1)[1:-1], method="nearest"))
        step = np.searchsorted(edges, np.where(np.isfinite(values), values, 0.0), side="left")
        names = tuple(f"step {i:02d}" for i in range(len(edges) + 1))
        codes = np.where(np.isfinite(values), step + 2, 0).astype(np.int32)
        fields[name] = Field(codes, Vocabulary(("", "(unknown)", *names)))
    return replace(sequences, fields=fields)


def only(sequences: SequenceSet, names: Sequence[str] | None) -> SequenceSet:
    """The sequences with these fields alone; None keeps the usual ones."""
    names = FIELDS if names is None else names
    return replace(sequences, fields={n: f for n, f in sequences.fields.items() if n in names})


def with_cases(sequences: SequenceSet, cases: pl.DataFrame | None, names: Sequence[str]) -> SequenceSet:
    """The sequences with these columns of the case table, where it has them, as fields "case <name>".

    Every event of a case carries its case's value; missing for a case that the table does not know.
    Numbers are cut into as many steps as `with_numbers` cuts them.
    """
    known = [] if cases is None else [n for n in names if n in cases.columns and n != "case_id"]
    if cases is None or not known:
        return sequences
    ids = sequences.case_ids.cast(pl.String).alias("case_id").to_frame()
    one_each = cases.select("case_id", *known).unique("case_id", keep="first", maintain_order=True)
    own = ids.join(one_each, on="case_id", how="left", maintain_order="left")
    fields = dict(sequences.fields)
    numbers = {}
    for name in known:
        column = own[name]
        if _measured(column):
            numbers[f"case {name}"] = np.repeat(_floats(column), sequences.lengths)
            continue
        words = column.cast(pl.String)
        vocabulary = Vocabulary.of(words.drop_nulls().unique().to_list())
        codes = np.repeat(vocabulary.encode(words), sequences.lengths)
        fields[f"case {name}"] = Field(codes, vocabulary)
    whole = replace(sequences, fields=fields)
    return with_numbers(whole, numbers, np.ones(sequences.n_events, dtype=bool))
