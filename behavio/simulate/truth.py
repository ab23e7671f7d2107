"""The hidden facts as tables."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl

from behavio.simulate.archetypes import ARCHETYPES
from behavio.simulate.clean import CleanLog, moments
from behavio.simulate.history import History
from behavio.simulate.ids import crm_ids
from behavio.simulate.vocabulary import ACTIONS, ACTIVITIES, REGIONS, SPECIALTIES, STAGES

HELD_OUT_FROM = 0.7


@dataclass(frozen=True, slots=True, eq=False)
class Truth:
    """What nobody in the field can know.

    archetypes          case_id, archetype, holdout, consent, affinities, optimum_28d and attributes
    stages              case_id, time, stage: one row at the start and one at each move
    next_probabilities  case_id, event_time, activity, p_<activity>: true probability of every next activity,
                        from the history before each event, not knowing when it comes nor that it came
                        before the end of observation (so calibration is a hair off in the last days)
    action_effects      case_id, as_of, action_time, action, p_response_14d, p_without_14d, effect, allowed
    summary             oracle numbers over held-out events, sizes; with extracts also the dirt planted
    """

    archetypes: pl.DataFrame
    stages: pl.DataFrame
    next_probabilities: pl.DataFrame
    action_effects: pl.DataFrame
    summary: dict[str, Any]


def archetype_table(history: History) -> pl.DataFrame:
    """The hidden traits of every HCP."""
    p = history.people
    names = pl.Series([a.name for a in ARCHETYPES])
    return pl.DataFrame(
        {
            "case_id": crm_ids("Account", np.arange(len(p.archetype))),
            "archetype": names.gather(p.archetype),
            "holdout": p.holdout,
            "consent": p.consent,
            "optimum_28d": p.optimum,
            "affinity_email": p.email,
            "affinity_portal": p.portal,
            "affinity_event": p.event,
            "planned_calls": p.calls,
            "specialty": pl.Series(SPECIALTIES).gather(p.specialty),
            "region": pl.Series(REGIONS).gather(p.region),
            "decile": p.decile,
        }
    )


def stage_table(history: History, clean: CleanLog) -> pl.DataFrame:
    """The path of every HCP over the adoption stages."""
    track, people = history.track, history.people
    n = len(people.archetype)
    first = np.ones(len(track.case), dtype=bool)
    first[1:] = track.case[1:] != track.case[:-1]
    before = np.empty(len(track.case), dtype=np.int64)
    before[1:] = track.stage[:-1]
    before[first] = people.stage[track.case[first]]
    moved = np.flatnonzero(before != track.stage)
    case = np.concatenate([np.arange(n), track.case[moved]])
    time = np.concatenate([np.full(n, history.settings.start_s), clean.time[moved]])
    stage = np.concatenate([people.stage, track.stage[moved].astype(np.int64)])
    order = np.lexsort((time, case))
    return pl.DataFrame(
        {
            "case_id": crm_ids("Account", case[order]),
            "time": moments(time[order]),
            "stage": pl.Series(STAGES).gather(stage[order]),
        }
    )


def probability_table(history: History, clean: CleanLog) -> pl.DataFrame:
    """True probability of every next activity, before each event was drawn."""
    odds = history.track.odds
    columns = {f"p_{name}": odds[:, k] for k, name in enumerate(ACTIVITIES)}
    return clean.events.select("case_id", pl.col("timestamp").alias("event_time"), "activity").hstack(
        pl.DataFrame(columns)
    )


def effect_table(history: History) -> pl.DataFrame:
    """Response probability with and without each action, at every month end and at the end."""
    n, dates = len(history.people.archetype), len(history.as_of)
    effects = history.track.effects.astype(np.float64)
    k = len(ACTIONS)
    rows = n * dates
    start = history.settings.start_s
    sent = np.isin(np.tile(np.arange(k), rows), k - 1)
    consent = np.repeat(history.track.allowed, k)
    with_action, without = effects[:, 1:].ravel(), np.repeat(effects[:, 0], k)
    return pl.DataFrame(
        {
            "case_id": crm_ids("Account", np.repeat(np.arange(n), dates * k)),
            "as_of": moments(np.tile(np.repeat(history.as_of + start, k), n)),
            "action_time": moments(np.tile(np.repeat(history.acts + start, k), n)),
            "action": pl.Series([ACTIVITIES[a] for a in ACTIONS]).gather(np.tile(np.arange(k), rows)),
            "p_response_14d": with_action,
            "p_without_14d": without,
            "effect": with_action - without,
            "allowed": ~sent | (consent > 0),
        }
    )


def oracle_numbers(history: History, clean: CleanLog) -> dict[str, Any]:
    """How well the true probabilities predict the last 30 % of events in time: no model can do better."""
    track = history.track
    if len(clean.what) == 0:
        return {"cut": None, "n_events": 0}
    cut = np.quantile(clean.time, HELD_OUT_FROM, method="higher")
    later = clean.time >= cut
    later[np.searchsorted(clean.case, clean.case) == np.arange(len(clean.case))] = False
    odds = track.odds[later].astype(np.float64)
    hit = odds[np.arange(len(odds)), track.what[later]]
    top = np.argsort(-odds, axis=1, kind="stable")[:, :3]
    right = top == track.what[later, None]
    n = max(int(later.sum()), 1)
    return {
        "cut": moments(np.array([cut])).dt.strftime("%Y-%m-%dT%H:%M:%SZ").item(),
        "n_events": int(later.sum()),
        "nll": round(float(-np.log(hit).sum() / n), 6),
        "accuracy": round(float(right[:, 0].sum() / n), 6),
        "top3": round(float(right.any(axis=1).sum() / n), 6),
        "gap_nll_days": round(float(-track.density[later].sum() / n), 6),
    }


def build_truth(history: History, clean: CleanLog) -> Truth:
    """All hidden facts."""
    counts = np.bincount(history.track.case, minlength=history.settings.n_cases)
    summary: dict[str, Any] = {
        "n_cases": history.settings.n_cases,
        "n_cases_with_events": int((counts > 0).sum()),
        "n_events": len(clean.what),
        "median_events": float(np.median(counts)),
        "n_archetypes": len(ARCHETYPES),
        "oracle": oracle_numbers(history, clean),
    }
    return Truth(
        archetype_table(history),
        stage_table(history, clean),
        probability_table(history, clean),
        effect_table(history),
        summary,
    )
