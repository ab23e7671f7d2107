"""Patterns as rows: which come first, and how they are written."""

from __future__ import annotations

from collections.abc import Sequence
from fnmatch import fnmatchcase

import numpy as np
import polars as pl

from behavio.errors import JobError
from behavio.patterns.chance import Chance, Difference
from behavio.patterns.mine import Patterns
from behavio.sequences import UNKNOWN, SequenceSet

ARROW = " → "
RATE = 0.05
"""False discovery rate (Benjamini & Hochberg 1995) up to which something is said to stand out."""

PATTERN_SCHEMA: dict[str, pl.DataType] = {
    "pattern": pl.String(),
    "activities": pl.List(pl.String()),
    "length": pl.Int64(),
    "n_cases": pl.Int64(),
    "support": pl.Float64(),
    "lift": pl.Float64(),
    "low": pl.Float64(),
    "high": pl.Float64(),
    "p_value": pl.Float64(),
    "q_value": pl.Float64(),
    "segment": pl.String(),
    "expected": pl.Float64(),
    "counted_in": pl.String(),
}
"""segment is null where the whole log is compared with chance; expected is the support lift divides by.
counted_in is "whole journey", or "later half" where the segments were told from the first half alone."""
WHOLE, LATER = "whole journey", "later half"


def empty() -> pl.DataFrame:
    """A table of patterns without rows."""
    return pl.DataFrame(schema=PATTERN_SCHEMA)


def frame(
    sequences: SequenceSet,
    found: Patterns,
    index: np.ndarray,
    test: Chance | Difference,
    support: np.ndarray,
    q_value: np.ndarray,
    segment: str | None,
) -> pl.DataFrame:
    """Rows for the patterns at `index`, in that order."""
    names = sequences.vocabulary.names
    activities = [[names[t] for t in found[int(i)]] for i in index]
    return pl.DataFrame(
        {
            "pattern": [ARROW.join(a) for a in activities],
            "activities": activities,
            "length": found.lengths[index],
            "n_cases": test.n_cases[index],
            "support": support[index],
            "lift": test.lift[index],
            "low": test.low[index],
            "high": test.high[index],
            "p_value": test.p_value[index],
            "q_value": q_value[index],
            "segment": [segment] * len(index),
            "expected": (support / test.lift)[index],
            "counted_in": [WHOLE] * len(index),
        },
        schema=PATTERN_SCHEMA,
    )


def new_first(found: Patterns, order: np.ndarray, n_standing_out: int, top: int) -> np.ndarray:
    """The first `top` of `order`; what stands out and says something new comes first.

    New is what neither holds nor lies in one before it, nor orders the same activities in another way.

    Without this the list opens with one finding and all its longer and shorter forms.
    """
    new: list[tuple[int, ...]] = []
    front: list[int] = []
    rest: list[int] = []
    for i in order[:n_standing_out].tolist():
        pattern = tuple(found[i].tolist())
        kinds = set(pattern)
        if len(front) < top and not any(
            kinds == set(p) or _holds(p, pattern) or _holds(pattern, p) for p in new
        ):
            new.append(pattern)
            front.append(i)
        else:
            rest.append(i)
    return np.array([*front, *rest, *order[n_standing_out:]], dtype=np.int64)[:top]


def _holds(longer: tuple[int, ...], shorter: tuple[int, ...]) -> bool:
    """Is `shorter` a subsequence of `longer`?"""
    left = iter(longer)
    return len(shorter) <= len(longer) and all(token in left for token in shorter)


def known(sequences: SequenceSet, activities: Sequence[str]) -> list[int]:
    """Ids of activities that the log has; "email_*" is every one with such a name."""
    names, ids = sequences.vocabulary.names, []
    for name in activities:
        token = sequences.vocabulary.id(name)
        fitting = [i for i, n in enumerate(names) if i > UNKNOWN and fnmatchcase(n, name)]
        ids += fitting if token <= UNKNOWN else [token]
        if token <= UNKNOWN and not fitting:
            from difflib import get_close_matches

            near = get_close_matches(name, sequences.vocabulary.activities, n=1)
            raise JobError(
                f"the log has no activity {name!r}",
                hint=f"did you mean {near[0]!r}?" if near else "list them with: behavio graph LOG",
            )
    return ids
