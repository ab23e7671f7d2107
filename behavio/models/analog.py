"""Events of another brand or area beside a log: do they make its next steps easier to tell?

Such events are put before the log, in time moved by whole weeks: what a model tunes on its newest part is
then tuned on the log itself, and a model that lets old counts fade finds how much they are worth. They are
used only where the gain on held-out steps of the log is beyond doubt, and no fewer steps are told right.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import polars as pl

from behavio.contrasts import Z
from behavio.errors import LogError
from behavio.models import evaluation as judge
from behavio.models.base import SequenceModel, Split
from behavio.sequences import PAD, Field, SequenceSet, Vocabulary

WEEK = 7 * 86_400_000_000
PREFIX = "analog:"


@dataclass(frozen=True, slots=True, eq=False)
class Joined:
    """The log with the analog cases behind its own, so that places of own events stay what they were.

    n_events, n_cases  that were put beside      n_other  events left out: the log has no such activity
    """

    sequences: SequenceSet
    n_events: int
    n_cases: int
    n_other: int


def joined(own: SequenceSet, analog: SequenceSet, cut: int | None = None) -> Joined | None:
    """The log `own` with analog events before `cut` (µs) that are of its activities; None where none are.

    Raises LogError when one has a clock and the other has not.
    """
    if own.timed != analog.timed:
        with_clock = "the log" if own.timed else "the analog source"
        raise LogError(f"only {with_clock} has a clock", hint="read analog events that have times too")
    known = set(own.own_vocabulary().activities)
    mine = np.array([name in known for name in analog.vocabulary.names])[analog.tokens]
    early = np.ones(analog.n_events, bool) if cut is None else np.asarray(analog.times) < cut
    kept = mine & early
    n_other = int((early & ~mine).sum())
    if not kept.any():
        return None
    some = analog.keep(kept).recode(own.vocabulary)
    times = np.asarray(some.times)
    if own.timed:
        late = int(times.max()) - int(np.asarray(own.times).min())
        times = times - max(0, -(-(late + 1) // WEEK)) * WEEK
    case_ids = pl.Series([f"{PREFIX}{i}" for i in range(some.n_cases)], dtype=pl.String)
    whole = replace(
        own,
        tokens=np.concatenate([own.tokens, some.tokens]),
        offsets=np.concatenate([own.offsets, some.offsets[1:] + own.n_events]),
        times=np.concatenate([own.times, times]),
        case_ids=pl.concat([own.case_ids.cast(pl.String), case_ids]),
        fields={n: _both(f, some.fields.get(n), some.n_events) for n, f in own.fields.items()},
        known=None,
        running=None,
    )
    return Joined(whole, some.n_events, some.n_cases, n_other)


def _both(own: Field, other: Field | None, n: int) -> Field:
    """One attribute of both; missing where the analog events do not have it."""
    if other is None:
        return Field(np.concatenate([own.codes, np.full(n, PAD, np.int32)]), own.vocabulary)
    names = Vocabulary.of([*own.vocabulary.activities, *other.vocabulary.activities])
    place = {name: i for i, name in enumerate(names.names)}
    tables = [np.array([place[x] for x in f.vocabulary.names], np.int32) for f in (own, other)]
    codes = [t[f.codes] for t, f in zip(tables, (own, other), strict=True)]
    return Field(np.concatenate(codes), names)


def verdict(
    plain: tuple[str, SequenceModel],
    helped: tuple[str, SequenceModel],
    split: Split,
    beside: Joined,
    seed: int,
) -> dict[str, Any]:
    """What the analog events do on the held-out steps of `split`: metrics.json's part "analog"."""
    scores = [judge.score(model, split.sequences, split.prefixes) for _, model in (plain, helped)]
    gain = judge.gain(scores[0], scores[1], split.prefixes.cases, seed)
    hits = [(score.rank == 0).astype(float) for score in scores]
    right = _difference(hits[1] - hits[0], split.prefixes.cases)
    sides: dict[str, Any] = {}
    for side, (name, _), score in zip(("without", "with"), (plain, helped), scores, strict=True):
        sides[side] = {
            "model": name,
            "nll": float(score.loss.mean()),
            "accuracy": float((score.rank == 0).mean()),
        }
    return {
        "n_events": beside.n_events,
        "n_cases": beside.n_cases,
        "n_events_of_other_activities": beside.n_other,
        "n_held_out": len(split.prefixes),
        **sides,
        "gain": gain,
        "right": right,
        "used": gain["low"] > 0 and right["high"] >= 0,
    }


def _difference(saved: np.ndarray, cases: np.ndarray) -> dict[str, float]:
    """Mean over events with the 95 % interval that cases give it (a ratio of sums, linearised)."""
    _, code = np.unique(cases, return_inverse=True)
    total, n = np.bincount(code, weights=saved), np.bincount(code).astype(float)
    mean = float(total.sum() / n.sum())
    m = max(len(n), 2)
    wide = Z * float(np.sqrt(((total - mean * n) ** 2).sum() * m / (m - 1))) / float(n.sum())
    return {"difference": mean, "low": mean - wide, "high": mean + wide}


def in_words(found: dict[str, Any]) -> str:
    """The verdict in one sentence."""
    g, used = found["gain"], found["used"]
    sides = [f"{found[s]['accuracy']:.1%}".replace("%", " %") for s in ("without", "with")]
    end = "they are used" if used else "they are not used"
    return (
        f"{found['n_events']:,} events of analog areas save {g['nll']:.4f} nats per held-out event "
        f"({g['low']:.4f} to {g['high']:.4f}, 95 % interval over cases); right in {sides[1]} with them, "
        f"{sides[0]} without: {end}."
    )
