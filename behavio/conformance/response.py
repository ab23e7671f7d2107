"""How much of the plan was done beside how often cases answered afterwards. An association, nothing more."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import polars as pl

from behavio.conformance.choose import Chooser
from behavio.conformance.contacts import FAR, Goals, count_contacts
from behavio.conformance.findings import Findings
from behavio.contrasts import wilson
from behavio.kernels import obligations as kernel
from behavio.kernels.arrays import readonly
from behavio.sequences import SequenceSet

RESPONSE_SCHEMA: dict[str, pl.DataType] = {
    "plan": pl.String(),
    "place": pl.Int64(),
    "band": pl.String(),
    "cases": pl.Int64(),
    "attainment": pl.Float64(),
    "responded": pl.Int64(),
    "share": pl.Float64(),
    "low": pl.Float64(),
    "high": pl.Float64(),
    "responses": pl.Float64(),
}
"""One row per band of attainment: cases (of a contact plan: cases × periods) in it, their mean attainment,
how many answered in the time after, their share with its 95 % interval, and answers per case."""
BANDS = ("none", "under half", "half to nine tenths", "as planned", "more than planned")
EDGES = (0.0, 0.5, 0.9, 1.1)
"""none is 0; as planned is nine tenths to eleven tenths of the plan."""
REFUSALS = ("email_unsubscribe", "reaction_negative", "reaction_neutral")
WARNING = (
    "attainment beside response is an association: whoever answers is contacted more, and some are easier to "
    "reach; only a random holdout would show an effect"
)


def responses(
    chooser: Chooser, wanted: Sequence[str], refusals: Sequence[str] = REFUSALS
) -> np.ndarray | None:
    """bool (n_events,): events that count as an answer; None where the log cannot tell.

    wanted  activities (wildcards allowed); none: everything inbound but refusals
    """
    s = chooser.sequences
    if wanted:
        return np.any([chooser.events(name) for name in wanted], axis=0)
    sides = s.fields.get("direction")
    if sides is None:
        return None
    no = np.array([n in refusals for n in s.vocabulary.names])
    inbound = (sides.codes == sides.vocabulary.id("inbound")) & ~no[np.asarray(s.tokens)]
    return inbound if inbound.any() else None


def flow_responses(f: Findings, sequences: SequenceSet, answers: np.ndarray, within: int) -> pl.DataFrame:
    """Bands of a flow: answers within `within` µs after the last step, where the log shows all that time."""
    assert f.moment is not None
    now = int(np.asarray(sequences.times).max())
    n = len(f.case_ids)
    planned, done = (np.bincount(f.case, weights=x, minlength=n) for x in (f.planned, f.done))
    mine = np.flatnonzero((f.moment >= 0) & (f.moment + within <= now) & (planned > 0))
    return _banded(f.name, sequences, answers, mine, f.moment[mine], within, done[mine] / planned[mine])


def contact_responses(
    name: str, chooser: Chooser, goals: Goals, answers: np.ndarray, within: int, parts: Sequence[str]
) -> pl.DataFrame:
    """Bands of a contact plan: attainment pro rata at the end of the period, or `within` before the newest
    event.

    Counted per case and period, all its goals together; answers are those in the time after. Cases without
    any event cannot answer, periods without an end have no pace: both are left out.
    """
    s = chooser.sequences
    now = int(np.asarray(s.times).max())
    cut = np.minimum(goals.end, now - within)
    done, _ = count_contacts(chooser, goals, cut, 0.0, tuple(parts))
    due = goals.due(cut)
    there = (goals.case < s.n_cases) & (goals.end < FAR) & (cut > goals.start)
    rows = pl.DataFrame(
        {"case": goals.case, "start": goals.start, "cut": cut, "planned": due, "done": goals.reach(done, due)}
    ).filter(pl.Series(there))
    joined = rows.group_by("case", "start", "cut", maintain_order=True).agg(pl.col("planned", "done").sum())
    joined = joined.filter(pl.col("planned") > 0)
    case, cut, planned, done = (joined[c].to_numpy() for c in ("case", "cut", "planned", "done"))
    return _banded(name, s, answers, case, cut, within, done / planned)


def _banded(
    name: str,
    sequences: SequenceSet,
    answers: np.ndarray,
    case: np.ndarray,
    moment: np.ndarray,
    within: int,
    attainment: np.ndarray,
) -> pl.DataFrame:
    """Answers in (moment, moment + within] by band of attainment, as RESPONSE_SCHEMA."""
    fixed = (case, moment + 1, moment + within + 1, np.full(len(case), np.iinfo(np.int64).max - 1))
    count, _ = kernel.between(
        answers,
        readonly(sequences.offsets, np.int64),
        readonly(sequences.times, np.int64),
        *(readonly(x, np.int64) for x in fixed),
    )
    value = np.round(attainment, 9)
    band = np.select([value <= 0, value < EDGES[1], value < EDGES[2], value <= EDGES[3]], [0, 1, 2, 3], 4)
    size = len(BANDS)
    cases = np.bincount(band, minlength=size)
    responded = np.bincount(band[count > 0], minlength=size)
    low, high = wilson(responded, cases)
    of = np.maximum(cases, 1)
    return pl.DataFrame(
        {
            "plan": [name] * size,
            "place": np.arange(1, size + 1),
            "band": list(BANDS),
            "cases": cases,
            "attainment": np.bincount(band, weights=attainment, minlength=size) / of,
            "responded": responded,
            "share": responded / of,
            "low": low,
            "high": high,
            "responses": np.bincount(band, weights=count, minlength=size) / of,
        },
        schema=RESPONSE_SCHEMA,
    ).filter(pl.col("cases") > 0)
