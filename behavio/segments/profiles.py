"""profiles.json: each segment with its size, name, sentence, typical journey and what sets it apart."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from behavio import words
from behavio.segments.choose import Choice
from behavio.segments.contract import Segmenter
from behavio.segments.fact import Fact
from behavio.segments.names import by_worth, describe
from behavio.segments.phrases import full_text
from behavio.segments.segmentation import Segmentation
from behavio.segments.typical import typical
from behavio.sequences import SequenceSet

SHOWN = 8
OF_A_KIND = 4
CONTRACT_KIND = {"until": "order", "tempo": "gap", "reach": "share"}


def profiles(
    segmentation: Segmentation,
    facts: Sequence[Sequence[Fact]],
    sequences: SequenceSet,
    described: Sequence[Sequence[dict[str, Any]]],
    choice: Choice,
    model: Segmenter,
    notes: Sequence[str],
    people: str,
) -> dict[str, Any]:
    """The content of profiles.json; `people` says what a case is ("HCPs", "cases")."""
    label, k = segmentation.segment_id, segmentation.k
    segments = []
    for g in range(k):
        members = np.flatnonzero(label == g)
        sentence = describe(facts[g]) if k > 1 else _alone(len(members), people, choice.note)
        segments.append(
            {
                "segment_id": g,
                "segment": segmentation.names[g],
                "sentence": sentence,
                "n_cases": len(members),
                "share": round(len(members) / max(sequences.n_cases, 1), 4),
                "mean_strength": round(float(segmentation.strength[members].mean()), 4)
                if len(members)
                else None,
                "typical": _typical(sequences, members, segmentation.strength, facts[g], model.seed),
                "distinguishing": [_as_json(f) for f in _shown(facts[g])],
                "attributes": list(described[g]),
                **_medians(sequences, members),
            }
        )
    return {
        "k": k,
        "curve": [p.to_json() for p in choice.curve],
        "segments": segments,
        "n_unassigned": segmentation.n_unassigned,
        "method": type(model).__name__,
        "smoothing": choice.smoothing,
        "held_out_gain_per_event": round(choice.gain, 6),
        "notes": list(notes),
    }


def _alone(n: int, people: str, note: str) -> str:
    """The sentence of the only segment: found so, or asked for."""
    if not note:
        return f"All {n:,} {people} in one group, as asked."
    return f"All {n:,} {people} make one group: {note}."


def _medians(sequences: SequenceSet, members: np.ndarray) -> dict[str, float | None]:
    """Median events of a case; median days from one event to the next (null without a clock)."""
    if len(members) == 0:
        return {"median_events": None, "median_gap_days": None}
    part = sequences.select(members)
    gap = None
    if sequences.timed and part.n_events > part.n_cases:
        later = np.ones(part.n_events, bool)
        later[part.offsets[:-1]] = False
        gap = round(float(np.median(part.gaps_s[later])) / 86_400, 3)
    return {"median_events": float(np.median(part.lengths)), "median_gap_days": gap}


def _typical(
    sequences: SequenceSet, members: np.ndarray, strength: np.ndarray, facts: Sequence[Fact], seed: int
) -> dict[str, Any] | None:
    if len(members) == 0:
        return None
    pairs: dict[tuple[str, str], float] = {}
    single: dict[str, float] = {}
    for fact in facts:
        if fact.kind == "gap" or (fact.kind in ("order", "until") and fact.more):
            a, b = fact.what
            pairs[a, b] = max(pairs.get((a, b), 0.0), fact.telling)
        elif fact.kind in ("share", "reaction") and fact.more:
            single[fact.what[0]] = fact.telling
    return typical(sequences, members, strength, pairs, single, seed)


def _shown(facts: Sequence[Fact]) -> list[Fact]:
    """The best facts, at most four of a kind, so that order, time and mix all have their say."""
    shown: list[Fact] = []
    for fact in by_worth(facts):
        if sum(f.kind == fact.kind for f in shown) < OF_A_KIND:
            shown.append(fact)
        if len(shown) == SHOWN:
            break
    return shown


def _as_json(fact: Fact) -> dict[str, Any]:
    what = " → ".join(words.touchpoint(a) for a in fact.what) or "any event"
    return {
        "kind": CONTRACT_KIND.get(fact.kind, fact.kind),
        "what": what,
        "activities": list(fact.what),
        "unit": "seconds" if fact.kind in ("gap", "tempo") else "share",
        "value": _rounded(fact.value),
        "rest": _rounded(fact.rest),
        "lift": _rounded(min(fact.lift, 1_000.0)),
        "low": _rounded(min(fact.low, 1_000.0)),
        "high": _rounded(min(fact.high, 1_000.0)),
        "n_cases": fact.n_cases,
        "text": full_text(fact),
    }


def _rounded(value: float) -> float:
    """Four significant digits."""
    if value == 0 or not math.isfinite(value):
        return 0.0
    return float(f"{value:.4g}")
