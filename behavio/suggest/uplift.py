"""What a randomised holdout shows: those left alone against the rest, all of both, whatever they then got.

Everybody counts where the draw put her (intention to treat), so nothing that happened afterwards can make the
groups unlike. Cases are the units; the interval is Welch's.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl

from behavio.contrasts import Z
from behavio.suggest.settings import DAY_US
from behavio.suggest.timeline import Moments, Timeline

FEWEST = 30
"""Cases each group needs."""


def holdout_uplift(timeline: Timeline, held: pl.Series) -> dict[str, Any]:
    """Contacts and answers per case and 28 days in both groups, and the difference with its 95 % interval.

    `held` bool (n_cases,), in the order of `timeline.case_ids`. With `note` alone where a group is too small.
    """
    out = held.fill_null(False).to_numpy()
    if min(out.sum(), (~out).sum()) < FEWEST:
        return {"note": f"{int(out.sum())} cases held out, {int((~out).sum())} not: too few to compare"}
    span = max((timeline.as_of - int(timeline.time.min())) / (28 * DAY_US), 1e-9)

    def rate(moments: Moments) -> np.ndarray:
        return np.bincount(moments.case, minlength=timeline.n_cases) / span

    told: dict[str, Any] = {"n_held": int(out.sum()), "n_rest": int((~out).sum())}
    contacts = rate(timeline.touches)
    told["contacts_28d"] = {"held": round(float(contacts[out].mean()), 4)} | {
        "rest": round(float(contacts[~out].mean()), 4)
    }
    events = timeline.events
    names = events[timeline.success.position]["activity"]
    told["answers_28d"] = _difference(rate(timeline.success), out)
    told["by_activity"] = [
        {"activity": name, **_difference(rate(_only(timeline, names, name)), out)}
        for name in names.unique().sort().to_list()
    ]
    return told


def _only(timeline: Timeline, names: pl.Series, name: str) -> Moments:
    mask = np.zeros(timeline.events.height, dtype=bool)
    mask[timeline.success.position[(names == name).to_numpy()]] = True
    return timeline.moments(pl.Series(mask))


def _difference(rates: np.ndarray, out: np.ndarray) -> dict[str, float]:
    held, rest = rates[out], rates[~out]
    gap = float(rest.mean() - held.mean())
    error = Z * float(np.sqrt(held.var(ddof=1) / len(held) + rest.var(ddof=1) / len(rest)))
    told = {"held": held.mean(), "rest": rest.mean(), "uplift": gap, "low": gap - error, "high": gap + error}
    return {k: round(float(v), 4) for k, v in told.items()}
