"""Whether the groups hold: found again, better on unseen cases, apart, and more than simpler ways give."""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from behavio.segments.agreement import adjusted_rand, crossed
from behavio.segments.choose import doubt, redrawn, split
from behavio.segments.contract import Segmenter, steady
from behavio.segments.kmeans import ActivityKMeans
from behavio.segments.semi_markov import SemiMarkovMixture
from behavio.segments.vectors import VectorKMeans, VectorSegmenter
from behavio.sequences import Field, SequenceSet

RESAMPLES, RESAMPLED, JUDGED = 8, 4_000, 4_000
SIMPLER_RESAMPLES, STARTS = 2, 4

Progress = Callable[[str, float], None]


@dataclass(frozen=True, slots=True, eq=False)
class Stability:
    """Groups found again in resampled cases.

    agreement  float64 (resamples,)  adjusted Rand index with the groups told, same cases
    overlap    float64 (k,)          each group with its likest one, shared cases over all cases of both
                                     (Jaccard; Hennig, 2007), mean over resamples
    """

    agreement: np.ndarray
    overlap: np.ndarray

    @property
    def mean(self) -> float:
        """Mean agreement, 0–1."""
        return max(0.0, float(self.agreement.mean()))


def stability(model: Segmenter, sequences: SequenceSet, seed: int, resamples: int = RESAMPLES) -> Stability:
    """Fit again on 63 % of the cases, at most 4,000, and compare labels of at most 4,000 cases."""
    rng = np.random.default_rng([seed, 11])
    judged = sequences.select(_draw(sequences.n_cases, JUDGED, rng))
    pool_of = sequences.select(_draw(sequences.n_cases, 2 * RESAMPLED, rng))
    if model.k < 2 or judged.n_cases <= 2 * model.k:
        return Stability(np.ones(1), np.ones(model.k))
    with steady():
        known, asked = model.gather(pool_of), model.gather(judged)
        told = model.posterior_of(asked).argmax(axis=1)

        def once(i: int) -> np.ndarray:
            draw = np.random.default_rng([seed, 12, i])
            cases = redrawn(known.n_cases, RESAMPLED, draw)
            other = model.alike(seed=model.seed + 100 + i, restarts=min(model.restarts, STARTS)).fit_gathered(
                known.select(cases)
            )
            return np.asarray(other.posterior_of(asked).argmax(axis=1))

        with ThreadPoolExecutor(os.cpu_count() or 1) as pool:
            found = list(pool.map(once, range(resamples)))
    agreement = np.array([adjusted_rand(told, label) for label in found])
    overlap = np.mean([_overlap(told, label, model.k) for label in found], axis=0)
    return Stability(agreement, overlap)


def _draw(n: int, most: int, rng: np.random.Generator) -> np.ndarray:
    return np.arange(n) if n <= most else np.sort(rng.choice(n, most, replace=False))


def _overlap(told: np.ndarray, label: np.ndarray, k: int) -> np.ndarray:
    both = np.zeros((k, int(label.max()) + 1))
    table = crossed(told, label)
    both[: len(table)] = table
    union = both.sum(axis=1, keepdims=True) + both.sum(axis=0, keepdims=True) - both
    return np.asarray((both / np.maximum(union, 1)).max(axis=1))


@dataclass(frozen=True, slots=True, eq=False)
class Yardstick:
    """One measure for every way of grouping: what knowing the group of a case says of its steps and waits.

    Chains are estimated for the groups of two thirds of the cases and tried on the others; `of` gives how
    much likelier their events become than under one group, nats per event. It is the measure of the mixture,
    so it favours what order and timing show; agreement and stability stand beside it.
    """

    model: SemiMarkovMixture
    kept: np.ndarray
    known: Any
    unknown: Any
    alone: float
    events: float

    @classmethod
    def on(cls, sequences: SequenceSet, view: str, seed: int) -> Yardstick:
        """Lay out the measure on a log."""
        kept, tried = split(sequences.n_cases, seed)
        model = SemiMarkovMixture(view=view, seed=seed)
        with steady():
            model.lay_out(sequences.select(kept))
            known = model.gather(sequences.select(kept))
            unknown = model.gather(sequences.select(tried))
            total, events = model.alike(k=1).fit_gathered(known).score(unknown)
        return cls(model, kept, known, unknown, float(total.sum()), float(events.sum()))

    def of(self, label: np.ndarray) -> float:
        """Nats per event of unseen cases; label int (n_cases,) of all cases, −1 in no group."""
        mine = label[self.kept]
        places = np.flatnonzero(mine >= 0)
        names, group = np.unique(mine[places], return_inverse=True)
        if len(names) < 2:
            return 0.0
        with steady():
            fitted = self.model.alike(k=len(names)).of_groups(
                self.known.select(places), np.eye(len(names))[group]
            )
            return (float(fitted.score(self.unknown)[0].sum()) - self.alone) / self.events


def separation(posterior: np.ndarray) -> float:
    """1 where every case surely belongs to one group, 0 where nothing is known of it."""
    k = posterior.shape[1]
    return 1.0 if k < 2 else float(1.0 - doubt(posterior).mean() / np.log(k))


def shuffled(sequences: SequenceSet, seed: int) -> SequenceSet:
    """The same activities at the same moments, in another order inside each case."""
    draw = np.random.default_rng([seed, 21]).random(sequences.n_events)
    order = np.lexsort((draw, sequences.case_of_event))
    fields = {n: Field(f.codes[order], f.vocabulary) for n, f in sequences.fields.items()}
    return replace(sequences, tokens=np.asarray(sequences.tokens)[order], fields=fields, known=None)


def without(
    model: Segmenter, sequences: SequenceSet, label: np.ndarray, what: str, seed: int
) -> dict[str, Any]:
    """What is left of the groups without order, or without the clock: gain, and agreement with `label`."""
    rng = np.random.default_rng([seed, 31])
    some = _draw(sequences.n_cases, JUDGED + RESAMPLED, rng)
    part = sequences.select(some)
    part = shuffled(part, seed) if what == "order" else replace(part, timed=False)
    kept, tried = split(part.n_cases, seed)
    blind = replace(model)
    with steady():
        blind.lay_out(part.select(kept))
        known, unknown = blind.gather(part.select(kept)), blind.gather(part.select(tried))
        found, one = blind.alike(k=model.k).fit_gathered(known), blind.alike(k=1).fit_gathered(known)
        total, events = found.score(unknown)
        gain = float(total.sum() - one.score(unknown)[0].sum()) / float(events.sum())
        again = found.posterior_of(unknown).argmax(axis=1)
    told = label[some][tried]
    seen = told >= 0
    return {
        "without": what,
        "gain": round(gain, 6),
        "agreement": round(adjusted_rand(told[seen], again[seen]), 4),
    }


def simpler(
    model: Segmenter, sequences: SequenceSet, label: np.ndarray, measure: Yardstick, seed: int
) -> list[dict[str, Any]]:
    """The groups told beside what simpler methods give with as many groups.

    Rows: method, k, agreement with the groups told, explains (nats per event of unseen cases), stability.
    """
    rng = np.random.default_rng([seed, 41])
    some = _draw(sequences.n_cases, JUDGED, rng)
    settings = {"k": model.k, "seed": seed, "restarts": 4}
    others: list[tuple[str, Segmenter]] = [
        ("counts only, k-means", ActivityKMeans(**settings)),
        ("shares, length and pace, k-means", VectorKMeans(space="aggregates", **settings)),
        ("what follows what, k-means", VectorKMeans(space="transitions", **settings)),
    ]
    rows = []
    for name, other in others:
        fitted = other.fit(sequences.select(some))
        theirs = fitted.predict(sequences)[0]
        seen = label >= 0
        rows.append(
            {
                "method": name,
                "k": other.k,
                "agreement": round(adjusted_rand(label[seen], theirs[seen]), 4),
                "explains": round(measure.of(theirs), 6),
                "stability": round(stability(fitted, sequences, seed, SIMPLER_RESAMPLES).mean, 4),
            }
        )
    return rows


def prove(
    model: Segmenter,
    sequences: SequenceSet,
    label: np.ndarray,
    seed: int,
    progress: Progress,
    found: Stability | None = None,
) -> tuple[dict[str, Any], Stability]:
    """The proof of a run, JSON-able, and the stability of each group (`found` where it is known already)."""
    found = stability(model, sequences, seed) if found is None else found
    progress("segments: found again?", 0.3)
    mixture = isinstance(model, SemiMarkovMixture)
    view = model.view if isinstance(model, SemiMarkovMixture) else "events"
    measure = Yardstick.on(sequences, view, seed)
    explains = measure.of(label)
    posterior = model.posterior(sequences)
    proof: dict[str, Any] = {
        "stability": round(found.mean, 4),
        "stability_low": round(max(0.0, float(found.agreement.min())), 4),
        "resamples": len(found.agreement),
        "separation": round(separation(posterior), 4),
        "explains": round(explains, 6),
        "methods": simpler(model, sequences, label, measure, seed),
    }
    progress("segments: simpler ways", 0.7)
    if not isinstance(model, VectorSegmenter):
        kinds = ["order", *(["clock"] if sequences.timed and mixture else [])]
        proof["without"] = [without(model, sequences, label, what, seed) for what in kinds]
    progress("segments: without order", 1.0)
    return proof, found
