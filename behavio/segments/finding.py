"""From a log to named segments: choose k, fit, assign, describe, write."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import polars as pl

from behavio.engine import Encoded, Engine
from behavio.log import EventLog
from behavio.segments.choose import MIN_CASES, STABLE, Choice, Progress, choose
from behavio.segments.contract import Segmenter
from behavio.segments.fact import Fact
from behavio.segments.facts import facts_of
from behavio.segments.kmeans import ActivityKMeans
from behavio.segments.medoids import MatchingMedoids
from behavio.segments.names import is_hcp, name_segments
from behavio.segments.proof import Stability, stability
from behavio.segments.segmentation import UNASSIGNED, Segmentation
from behavio.segments.semi_markov import SemiMarkovMixture
from behavio.segments.settings import SegmentSettings
from behavio.segments.spaces import Embeddings
from behavio.segments.vectors import DensitySegmenter, VectorKMeans, VectorSegmenter
from behavio.segments.views import is_state_log
from behavio.sequences import SequenceSet

RUNNERS_UP = 3


@dataclass(frozen=True, eq=False)
class Whole:
    """All of a log whose cases are too many to be learned from at once, and what counts it."""

    engine: Engine
    log: Encoded


@dataclass(frozen=True, eq=False)
class Found:
    """Everything found in one log."""

    segmentation: Segmentation
    model: Segmenter
    choice: Choice
    facts: list[list[Fact]]
    notes: tuple[str, ...]
    stable: Stability | None = None


def method(settings: SegmentSettings, seed: int, vectors: Embeddings | None = None) -> Segmenter:
    """The method that the settings name, not fitted; `vectors` are what space = "model" looks at."""
    if settings.kind == "kmeans":
        return ActivityKMeans(restarts=settings.restarts, seed=seed)
    if settings.kind == "medoids":
        return MatchingMedoids(restarts=settings.restarts, seed=seed)
    if settings.kind in ("vectors", "hdbscan"):
        kind = VectorKMeans if settings.kind == "vectors" else DensitySegmenter
        space = "table" if settings.space in ("model", "contrast") else settings.space
        return kind(restarts=settings.restarts, seed=seed, space=space).given(vectors)
    return SemiMarkovMixture(restarts=settings.restarts, seed=seed, response_only=settings.response_only)


def silent(what: str, done: float) -> None:
    """Progress that nobody watches."""


def find(
    sequences: SequenceSet,
    settings: SegmentSettings,
    seed: int,
    progress: Progress = silent,
    vectors: Embeddings | None = None,
    verify: bool = True,
    whole: Whole | None = None,
) -> Found:
    """Segments of these cases: number, model, who belongs where, names.

    With `verify` the number chosen is held against resamples of the whole log, and given up for one that
    explains nearly as much where only that one is stable. `whole` is the log that these cases are a sample
    of: the groups of the mixture are then estimated from all of it.
    """
    known = np.flatnonzero(sequences.lengths >= settings.min_events)
    enough = MIN_CASES <= len(known) < sequences.n_cases
    long_enough = sequences.select(known) if enough else sequences
    if settings.kind == "auto":
        settings = replace(settings, kind="medoids" if is_state_log(long_enough) else "semi_markov")
    if vectors is None and settings.space == "contrast" and settings.kind in ("vectors", "hdbscan"):
        from behavio.segments.contrast import Contrast

        progress("segments: learning vectors", 0.0)
        vectors = Contrast.learned(sequences, seed)
    model = method(settings, seed, vectors)
    choice = choose(model, long_enough, settings, seed, _scaled(progress, 0.0, 0.8))
    progress("segments: fitting", 0.8)
    model, stable = _firmest(choice, long_enough, vectors, seed, verify)
    label, strength = assign_labels(model, sequences, settings.min_strength, settings.min_events)
    while (
        settings.k == "auto"
        and not model.finds_k
        and model.k > 1
        and _smallest(label, model.k) < settings.min_size
    ):
        model, stable = model.alike(k=model.k - 1).fit(long_enough), None
        label, strength = assign_labels(model, sequences, settings.min_strength, settings.min_events)
    if whole is not None and isinstance(model, SemiMarkovMixture) and model.k > 1:
        progress("segments: estimating from all cases", 0.85)
        model = model.refined(whole.engine, whole.log)
        label, strength = assign_labels(model, sequences, settings.min_strength, settings.min_events)
    progress("segments: describing", 0.9)
    facts = facts_of(sequences, label, model.k, model.effective_length)
    names = name_segments(facts, is_hcp(sequences.vocabulary.activities))
    found = Segmentation(sequences.case_ids, label, strength, names)
    choice = replace(choice, k=model.k)
    return Found(found, model, choice, facts, notes_of(found, choice, sequences, settings), stable)


def _firmest(
    choice: Choice, sequences: SequenceSet, vectors: Embeddings | None, seed: int, verify: bool
) -> tuple[Segmenter, Stability | None]:
    """The model of the first number of groups that is stable, else of the first."""
    first: tuple[Segmenter, Stability | None] | None = None
    for k in (choice.k, *choice.runners_up[:RUNNERS_UP]):
        model = _fitted(choice.model, k, sequences, vectors)
        stable = stability(model, sequences, seed) if verify and model.k > 1 else None
        first = first or (model, stable)
        if stable is None or stable.mean >= STABLE:
            return model, stable
    assert first is not None
    return first


def _fitted(model: Segmenter, k: int, sequences: SequenceSet, vectors: Embeddings | None) -> Segmenter:
    model = replace(model, k=k)
    return (model.given(vectors) if isinstance(model, VectorSegmenter) else model).fit(sequences)


def assign_labels(
    model: Segmenter, sequences: SequenceSet, min_strength: float, min_events: int
) -> tuple[np.ndarray, np.ndarray]:
    """Segment int32 (n_cases,), −1 where too weak or too short, and strength float64 (n_cases,)."""
    return model.placed(sequences, min_strength, min_events)


def _smallest(label: np.ndarray, k: int) -> float:
    """Share of assigned cases in the smallest segment."""
    size = np.bincount(label[label != UNASSIGNED], minlength=k)
    return float(size.min() / max(size.sum(), 1))


def find_segments(log: EventLog, settings: SegmentSettings | None = None, *, seed: int = 7) -> pl.DataFrame:
    """Segments of a log: case_id, segment_id (−1 unassigned), segment (plain name), strength (0–1)."""
    found = find(SequenceSet.from_log(log), settings or SegmentSettings(), seed)
    return found.segmentation.to_frame()


def _scaled(progress: Progress, low: float, high: float) -> Progress:
    return lambda what, done: progress(what, low + (high - low) * done)


def notes_of(
    found: Segmentation, choice: Choice, sequences: SequenceSet, settings: SegmentSettings
) -> tuple[str, ...]:
    """What a reader must know before believing the groups."""
    notes = [choice.note] if choice.note else []
    if settings.k != "auto" and choice.curve and choice.k > 1 and choice.curve[-1].low <= 0:
        notes.append(
            f"{choice.k} segments were asked for; they do not fit unseen cases clearly better than one"
        )
    if settings.k == "auto" and choice.k == settings.max_k > 1 and choice.curve:
        notes.append(
            f"{choice.k} segments are the most that were tried: with a larger max_k there may be more"
        )
    short = int((sequences.lengths < settings.min_events).sum())
    if choice.k > 1 and found.n_unassigned:
        weak = found.n_unassigned - short
        why = [f"{short:,} have fewer than {settings.min_events} events"] if short else []
        why += [f"{weak:,} fit no segment with a probability of {settings.min_strength:g}"] if weak else []
        notes.append(
            f"{found.n_unassigned:,} of {len(found.case_ids):,} cases are unassigned: " + "; ".join(why)
        )
    if not sequences.timed:
        notes.append("the log has an order but no clock: segments are made of order alone")
    return tuple(notes)
