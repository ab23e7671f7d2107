"""Funnels: how many cases get through ordered steps, in which time, and who may still do so."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import partial

import numpy as np
import polars as pl

from behavio.durations import seconds
from behavio.engine import Count, Encoded, Engine
from behavio.engine.local import LocalEngine
from behavio.errors import JobError
from behavio.journeys.span import SPAN
from behavio.journeys.waits import open_cases
from behavio.kernels.arrays import readonly
from behavio.kernels.orders import follow_funnel
from behavio.sequences import SequenceSet, Vocabulary

FUNNEL_SCHEMA: dict[str, pl.DataType] = {
    "step": pl.Int64(),
    "activity": pl.String(),
    "cases": pl.Int64(),
    "share": pl.Float64(),
    "share_of_previous": pl.Float64(),
    "may_still": pl.Int64(),
    "median_s": pl.Float64(),
    "median_from_start_s": pl.Float64(),
}


USUAL = ("email_sent", "email_open|email_click", "portal_visit", "portal_download")
"""Touchpoints in the order in which one usually leads to the next."""


@dataclass(frozen=True, slots=True, eq=False)
class FunnelTally:
    """What shards add up to, one entry per case that took the first step.

    latest         int64 (n,)           µs of its latest first step
    open           bool (n,)            the case may still go on
    waits, totals  int64 (n, n_steps)   µs from the step before, and from the first; −1: not reached
    """

    latest: np.ndarray
    open: np.ndarray
    waits: np.ndarray
    totals: np.ndarray

    @classmethod
    def empty(cls, n_steps: int) -> FunnelTally:
        """The answer of no case at all."""
        none = np.zeros((0, n_steps), dtype=np.int64)
        return cls(none[:, 0], np.zeros(0, dtype=bool), none, none)


def tally_funnel(sequences: SequenceSet, member: np.ndarray, within: int) -> FunnelTally:
    """One shard of whole cases; member bool (n_steps, size), within µs or −1."""
    latest, waits, totals = follow_funnel(
        readonly(sequences.tokens, np.int32),
        readonly(sequences.offsets, np.int64),
        readonly(sequences.times, np.int64),
        member,
        within,
    )
    begun = totals[:, 0] >= 0
    return FunnelTally(latest[begun], open_cases(sequences)[begun], waits[begun], totals[begun])


def join_funnels(a: FunnelTally, b: FunnelTally) -> FunnelTally:
    """Join two answers, cases in shard order."""
    return FunnelTally(
        np.concatenate([a.latest, b.latest]),
        np.concatenate([a.open, b.open]),
        np.concatenate([a.waits, b.waits]),
        np.concatenate([a.totals, b.totals]),
    )


def funnel_count(member: np.ndarray, within: int) -> Count[FunnelTally]:
    """The question about these steps; member bool (n_steps, size), within µs or −1."""
    return Count(of=partial(tally_funnel, member=member, within=within), merge=join_funnels)


def members(vocabulary: Vocabulary, steps: Sequence[str]) -> np.ndarray:
    """bool (n_steps, size): the activities each step means. A step is a name, or "a|b*" with wildcards.

    Raises JobError for a step no activity fits.
    """
    found = np.zeros((len(steps), len(vocabulary)), dtype=bool)
    for k, step in enumerate(steps):
        parts = [step] if step in vocabulary.activities else step.split("|")
        for i, name in enumerate(vocabulary.names):
            found[k, i] = i > 1 and any(name == p or fnmatchcase(name, p.strip()) for p in parts)
        if not found[k].any():
            from difflib import get_close_matches

            near = get_close_matches(step, vocabulary.activities, 3, 0.4) or vocabulary.activities[:3]
            raise JobError(f"no activity is {step!r}", hint=f"for example: {', '.join(near)}")
    return found


def usual_steps(vocabulary: Vocabulary) -> tuple[str, ...]:
    """The steps of USUAL that a log has; of alternatives those it has. Fewer than two are no funnel."""
    known = set(vocabulary.activities)
    steps = ["|".join(a for a in step.split("|") if a in known) for step in USUAL]
    return tuple(step for step in steps if step)


def funnel(
    sequences: Encoded, steps: Sequence[str], within: str | None = None, engine: Engine | None = None
) -> pl.DataFrame:
    """How many cases take these steps in this order, other events in between allowed, as FUNNEL_SCHEMA.

    steps   activities, each a name or alternatives with wildcards: "email_open|portal_*"
    within  time from the first step to each later one at most, for example "30d"; None: no limit
    A case may begin anew any time; it gets as far as its best attempt. share is of the cases that took the
    first step. may_still counts open cases that took the step before but not this one, and whose latest
    attempt still has time at the newest event of the log: they are no failures yet. Medians are exact, from
    the step before and from the first step, when the step was reached for the first time.
    """
    if len(steps) < 2:
        raise JobError("a funnel needs two steps or more", hint="for example email_sent email_open")
    if within is not None and not sequences.timed:
        raise JobError("this log has no clock", hint="ask for the funnel without a time limit")
    engine = LocalEngine() if engine is None else engine
    limit = -1 if within is None else round(seconds(within) * 1e6)
    found = engine.run(funnel_count(members(sequences.vocabulary, steps), limit), sequences)
    newest = engine.run(SPAN, sequences)[1]
    waiting = found.open & ((limit < 0) | (newest - found.latest <= limit))
    reached = found.totals >= 0
    cases = reached.sum(axis=0)
    rows = []
    for k, step in enumerate(steps):
        may = int((waiting & reached[:, k - 1] & ~reached[:, k]).sum()) if k else 0
        medians = (None, None)
        if k and cases[k] and sequences.timed:
            mine = reached[:, k]
            medians = (np.median(found.waits[mine, k]) / 1e6, np.median(found.totals[mine, k]) / 1e6)
        share = cases[k] / cases[0] if cases[0] else None
        of_previous = (cases[k] / cases[k - 1] if cases[k - 1] else None) if k else None
        rows.append((k + 1, step, int(cases[k]), share, of_previous, may, *medians))
    return pl.DataFrame(rows, schema=FUNNEL_SCHEMA, orient="row")
