"""Whose times are told: the net's, which knows the whole history, or those counted between two activities.

Both are asked for the wait until what really came next on held-out steps; the smaller pinball loss of the
median and of both ends of the 80 % interval wins (Koenker and Bassett 1978).
"""

from __future__ import annotations

from typing import Any

import numpy as np

from behavio.models.base import Prefixes, SequenceModel, Split
from behavio.models.gaps import DAY, GapModel
from behavio.sequences import UNKNOWN, SequenceSet

SHARES = (0.1, 0.5, 0.9)
JUDGED = 20_000
"""Held-out steps on which times are compared."""


def pinball(answer: np.ndarray, real: np.ndarray) -> np.ndarray:
    """float64 (n,): loss of the quantiles SHARES, answer (n, 3) and real (n,) in the same unit."""
    over = real[:, None] - answer
    shares = np.array(SHARES)
    result: np.ndarray = np.maximum(shares * over, (shares - 1) * over).sum(axis=1)
    return result


def better_clock(model: SequenceModel, times: GapModel, split: Split) -> dict[str, Any]:
    """Losses of both in days, coverage of their 80 % intervals, and `by`: "net" or "counted"."""
    found: dict[str, Any] = {"by": "counted", "counted": None, "net": None}
    clock = model.clock()
    if clock is None or not split.sequences.timed:
        return found
    held = split.prefixes.thin(JUDGED)
    known = clock.coded(split.sequences).tokens[held.ends] > UNKNOWN
    held = held[np.flatnonzero(known)]
    if len(held) == 0:
        return found
    moments = np.asarray(split.sequences.times)
    real = (moments[held.ends] - moments[held.ends - 1]).astype(np.float64)
    counted = times.coded(split.sequences)
    answers = {
        "counted": times.quantiles(
            counted.tokens[held.ends - 1], counted.tokens[held.ends], np.full(len(held), -1), SHARES
        ),
        "net": told(clock, split.sequences, held, None, np.zeros(len(held), dtype=np.int64)),
    }
    both = ~np.isnan(answers["counted"]).any(axis=1) & ~np.isnan(answers["net"]).any(axis=1)
    for name, answer in answers.items():
        low, median, high = answer[both].T
        if both.any():
            found[name] = {
                "pinball_days": float(pinball(answer[both], real[both]).mean() / DAY),
                "mae_days": float(np.abs(median - real[both]).mean() / DAY),
                "coverage": float(((low <= real[both]) & (real[both] <= high)).mean()),
            }
    if both.any() and found["net"]["pinball_days"] < found["counted"]["pinball_days"]:
        found["by"] = "net"
    return found


def told(
    clock: SequenceModel,
    sequences: SequenceSet,
    prefixes: Prefixes,
    then: list[str] | None,
    waited: np.ndarray,
) -> np.ndarray:
    """float64 (n, 3), µs from now until each activity named in `then`; None: what really comes next."""
    coded = clock.coded(sequences)
    if then is None:
        ids = coded.tokens[prefixes.ends]
    else:
        place = {name: i for i, name in enumerate(clock.vocabulary_.names)}
        ids = np.array([place.get(name, UNKNOWN) for name in then], dtype=np.int64)
    days = clock.when(coded, prefixes, np.maximum(ids, UNKNOWN), waited, SHARES)
    days[ids <= UNKNOWN] = np.nan
    return days
