"""How much the history of a case carries: skill by how many of its events are known."""

from __future__ import annotations

from typing import Any

import numpy as np

from behavio.models.evaluation import Scores, gain

BANDS = ((1, 1), (2, 2), (3, 5), (6, 10), (11, 20), (21, 50), (51, None))
FEW_EVENTS, FEW_CASES = 200, 30
"""A band of fewer held-out events or cases is told, but nothing is decided by it."""
PERSON, GROUP, EVERYBODY = "person", "group", "base rate"
"""What a next step may rest on."""


def by_events(
    default: Scores, base: Scores, known: np.ndarray, cases: np.ndarray, seed: int
) -> list[dict[str, Any]]:
    """One row per band of events known: how right the model is, beside the base rate.

    known  int64 (n,) events of the case before each held-out one     cases  int64 (n,)
    rests_on: person where a history so long tells more than the base rate (nats saved above zero), base rate
    where it does not, None where too few say.
    """
    rows = []
    for low, high in BANDS:
        some = (known >= low) & (known <= (high or np.iinfo(np.int64).max))
        n, people = int(some.sum()), len(np.unique(cases[some]))
        row: dict[str, Any] = {"low": low, "high": high, "n": n, "n_cases": people}
        if n:
            own, plain = _part(default, some), _part(base, some)
            saved = gain(plain, own, cases[some], seed)
            row |= {
                "accuracy": float((own.rank == 0).mean()),
                "accuracy_base": float((plain.rank == 0).mean()),
                "nll": float(own.loss.mean()),
                "nll_base": float(plain.loss.mean()),
                "gain": saved["nll"],
                "gain_low": saved["low"],
                "gain_high": saved["high"],
            }
            enough = n >= FEW_EVENTS and people >= FEW_CASES
            row["rests_on"] = None if not enough else PERSON if saved["nll"] > 0 else EVERYBODY
        rows.append(row)
    return [r for r in rows if r["n"]]


def _part(scores: Scores, some: np.ndarray) -> Scores:
    return Scores(*(getattr(scores, name)[some] for name in Scores.__slots__))
