"""Does a model keep on held-out events what it promises: sets that hold what comes, and no undue surprise.

A model that is right about how sure it is finds held-out events as surprising as it expects; more says that
the process has moved since it learnt (drift), and raises the alarm.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from behavio.models.base import SequenceModel, Split
from behavio.models.calibration import Surprise, sets
from behavio.words import percent

JUDGED = 20_000
"""Held-out events on which promises are judged."""


def kept_promises(model: SequenceModel, split: Split) -> dict[str, Any]:
    """`surprise` on the held-out events, with the drift alarm; of a pool shares of its members and `sets90`.

    sets90: how often the sets that should hold 90 % of what comes did, and their mean size.
    """
    some = split.prefixes.thin(JUDGED)
    coded = model.coded(split.sequences)
    truth = np.asarray(coded.tokens)[some.ends].astype(np.int64)
    total = getattr(model, "reach_", None)
    found, inside, sizes = [], 0, 0
    for part, asked in some.batches(len(model.vocabulary_)):
        rows = model.rows(coded, asked)
        found.append(Surprise.over(rows, truth[part]))
        if total is not None:
            chosen = sets(rows, float(total))
            inside += int(chosen[np.arange(len(asked)), truth[part]].sum())
            sizes += int(chosen.sum())
    surprise = Surprise.of(np.concatenate([np.zeros(0), *found]), np.asarray(some.cases))
    told: dict[str, Any] = {
        "surprise": {
            "mean": surprise.mean,
            "low": surprise.low,
            "high": surprise.high,
            "n": surprise.n,
            "alarm": surprise.alarm,
        }
    }
    if total is not None:
        told["shares"] = model.shares  # type: ignore[attr-defined]
        n = max(len(some), 1)
        told["sets90"] = {"coverage": inside / n, "size": sizes / n, "n": len(some)}
    return told


def promises_in_words(promises: dict[str, Any], name: str, covered: float | None = None) -> list[str]:
    """What a reader should know of them, in sentences; `covered`: share of waits inside 80 % intervals."""
    surprise, said = promises["surprise"], []
    if "sets90" in promises:
        kept = promises["sets90"]
        said.append(
            f"{name}: sets of likely activities that should hold 90 % of what comes held "
            f"{percent(kept['coverage'])} ({kept['size']:.1f} activities in the mean)."
        )
    if covered is not None:
        said.append(f"Intervals that should hold 80 % of the waits held {percent(covered)}.")
    if surprise["alarm"]:
        said.append(
            f"Drift alarm: later events surprise the {name} by {surprise['mean']:.3f} nats per event more "
            f"than it expects ({surprise['low']:.3f} to {surprise['high']:.3f}): the process has moved; "
            "see behavio drift, and learn from newer events."
        )
    return said
