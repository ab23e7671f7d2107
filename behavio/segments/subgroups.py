"""Smaller groups inside each segment, and the cases most like one case."""

from __future__ import annotations

import numpy as np
import polars as pl

from behavio.segments.chains import Habits
from behavio.segments.em import score_directions
from behavio.segments.facts import facts_of
from behavio.segments.finding import find, silent
from behavio.segments.names import is_hcp, name_segments
from behavio.segments.segmentation import UNASSIGNED
from behavio.segments.semi_markov import SemiMarkovMixture
from behavio.segments.settings import SegmentSettings
from behavio.sequences import SequenceSet

MIN_MEMBERS, LEARNED_FROM = 120, 800
INSIDE = SegmentSettings(max_k=3, restarts=3, min_size=0.05)
WIDTH = 16


def drawn(members: np.ndarray, most: int, seed: int) -> np.ndarray:
    """At most `most` of these, by lot, ascending."""
    if len(members) <= most:
        return members
    return np.sort(np.random.default_rng([seed, len(members)]).choice(members, most, replace=False))


def subgroups(sequences: SequenceSet, label: np.ndarray, names: tuple[str, ...], seed: int) -> pl.DataFrame:
    """case_id, segment, subgroup_id, subgroup, strength: one row for each case of a segment, in case order.

    Each segment of at least 120 cases is looked into by the same means as the whole log, on at most 800 of
    its cases; one that holds no groups inside has a single subgroup of its own name.
    """
    ids = np.full(sequences.n_cases, UNASSIGNED, np.int32)
    strength = np.ones(sequences.n_cases)
    inner: list[list[str]] = []
    for g, name in enumerate(names):
        members = np.flatnonzero(label == g)
        inner.append([name])
        ids[members] = 0
        if len(members) < MIN_MEMBERS:
            continue
        some = sequences.select(drawn(members, LEARNED_FROM, seed))
        found = find(some, INSIDE, seed, silent, verify=False)
        if found.choice.k < 2:
            continue
        part = sequences.select(members)
        own, sure = found.model.predict(part)
        facts = facts_of(part, own, found.choice.k, found.model.effective_length)
        inner[g] = list(name_segments(facts, is_hcp(sequences.vocabulary.activities)))
        ids[members], strength[members] = own, np.round(sure, 6)
    kept = np.flatnonzero(label >= 0)
    return pl.DataFrame(
        {
            "case_id": sequences.case_ids.gather(pl.Series(kept)),
            "segment": [names[g] for g in label[kept]],
            "subgroup_id": pl.Series(ids[kept], dtype=pl.Int32),
            "subgroup": [inner[g][i] for g, i in zip(label[kept], ids[kept], strict=True)],
            "strength": strength[kept],
        }
    )


def likest(sequences: SequenceSet, case: int, among: np.ndarray, n: int, seed: int) -> pl.DataFrame:
    """The `n` cases of `among` whose journeys are most like that of `case`: case_id, distance.

    Compared by what they do, in which order and how soon: the leading directions in which the cases of
    `among` differ from their common habits.
    """
    members = np.union1d(among, [case])
    part = sequences.select(members)
    model = SemiMarkovMixture(seed=seed)
    model.lay_out(part)
    cases = model.gather(part)
    habits = Habits.of(cases.total(model.edges.n_features), model.edges)
    points = score_directions(cases, habits, model.edges, WIDTH, np.random.default_rng([seed, 61]))
    own = int(np.searchsorted(members, case))
    far = np.linalg.norm(points - points[own], axis=1)
    far[own] = np.inf
    near = np.argsort(far, kind="stable")[: min(n, len(members) - 1)]
    return pl.DataFrame(
        {"case_id": part.case_ids.gather(pl.Series(near)), "distance": np.round(far[near], 4)}
    )
