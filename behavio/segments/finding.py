"""From a log to named segments: choose k, fit, assign, describe, write."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from behavio.errors import RunError
from behavio.files import read_json, whole_file, write_json
from behavio.log import EventLog
from behavio.segments.choose import MIN_CASES, Choice, Progress, choose
from behavio.segments.contract import Segmenter
from behavio.segments.fact import Fact
from behavio.segments.facts import facts_of
from behavio.segments.kmeans import ActivityKMeans
from behavio.segments.names import is_hcp, name_segments
from behavio.segments.profiles import profiles
from behavio.segments.segmentation import UNASSIGNED, Segmentation
from behavio.segments.semi_markov import SemiMarkovMixture
from behavio.segments.settings import SegmentSettings
from behavio.sequences import SequenceSet


@dataclass(frozen=True, eq=False)
class Found:
    """Everything found in one log."""

    segmentation: Segmentation
    model: Segmenter
    choice: Choice
    facts: list[list[Fact]]
    notes: tuple[str, ...]


def _method(settings: SegmentSettings, seed: int) -> Segmenter:
    """The method that the settings name, not fitted."""
    if settings.kind == "kmeans":
        return ActivityKMeans(restarts=settings.restarts, seed=seed)
    return SemiMarkovMixture(restarts=settings.restarts, seed=seed, response_only=settings.response_only)


def silent(what: str, done: float) -> None:
    """Progress that nobody watches."""


def find(sequences: SequenceSet, settings: SegmentSettings, seed: int, progress: Progress = silent) -> Found:
    """Segments of these cases: number, model, who belongs where, names."""
    known = np.flatnonzero(sequences.lengths >= settings.min_events)
    enough = MIN_CASES <= len(known) < sequences.n_cases
    long_enough = sequences.select(known) if enough else sequences
    model = _method(settings, seed)
    choice = choose(model, long_enough, settings, seed, _scaled(progress, 0.0, 0.8))
    progress("segments: fitting", 0.8)
    model = replace(choice.model, k=choice.k).fit(long_enough)
    label, strength = assign_labels(model, sequences, settings.min_strength, settings.min_events)
    while settings.k == "auto" and model.k > 1 and _smallest(label, model.k) < settings.min_size:
        model = model.alike(k=model.k - 1).fit(long_enough)
        label, strength = assign_labels(model, sequences, settings.min_strength, settings.min_events)
    progress("segments: describing", 0.9)
    facts = facts_of(sequences, label, model.k, model.effective_length)
    names = name_segments(facts, is_hcp(sequences.vocabulary.activities))
    found = Segmentation(sequences.case_ids, label, strength, names)
    choice = replace(choice, k=model.k)
    return Found(found, model, choice, facts, _notes(found, choice, sequences, settings))


def assign_labels(
    model: Segmenter, sequences: SequenceSet, min_strength: float, min_events: int
) -> tuple[np.ndarray, np.ndarray]:
    """Segment int32 (n_cases,), −1 where too weak or too short, and strength float64 (n_cases,)."""
    label, strength = model.predict(sequences)
    # six decimals: more would only show in which order the processor added up
    strength = np.round(strength, 6)
    if model.k > 1:
        label[(strength < min_strength) | (sequences.lengths < min_events)] = UNASSIGNED
    return label, strength


def _smallest(label: np.ndarray, k: int) -> float:
    """Share of assigned cases in the smallest segment."""
    size = np.bincount(label[label != UNASSIGNED], minlength=k)
    return float(size.min() / max(size.sum(), 1))


def find_segments(log: EventLog, settings: SegmentSettings | None = None, *, seed: int = 7) -> pl.DataFrame:
    """Segments of a log: case_id, segment_id (−1 unassigned), segment (plain name), strength (0–1)."""
    found = find(SequenceSet.from_log(log), settings or SegmentSettings(), seed)
    return found.segmentation.to_frame()


def write_segments(
    log: EventLog,
    sequences: SequenceSet,
    settings: SegmentSettings,
    seed: int,
    folder: Path,
    progress: Progress = silent,
) -> dict[str, Any]:
    """Write segments.parquet, profiles.json and model/ into `folder`; facts for the run's summary."""
    found = find(sequences, settings, seed, progress)
    table = found.segmentation.to_frame()
    people = "HCPs" if is_hcp(sequences.vocabulary.activities) else "cases"
    page = profiles(
        found.segmentation, found.facts, sequences, log.cases, found.choice, found.model, found.notes, people
    )
    found.model.save(folder / "model")
    labels = {
        "names": list(found.segmentation.names),
        "min_strength": settings.min_strength,
        "min_events": settings.min_events,
    }
    write_json(folder / "model" / "labels.json", labels)
    write_json(folder / "profiles.json", page)
    with whole_file(folder / "segments.parquet") as draft:
        table.write_parquet(draft, compression="zstd")
    progress("segments: written", 1.0)
    return {
        "rows_in": sequences.n_cases,
        "rows_out": table.height,
        "k": found.choice.k,
        "segments": [
            {key: s[key] for key in ("segment_id", "segment", "n_cases", "share")} for s in page["segments"]
        ],
        "n_unassigned": found.segmentation.n_unassigned,
        "held_out_gain_per_event": page["held_out_gain_per_event"],
        "note": found.notes[0] if found.notes else "",
    }


def assign(folder: Path, sequences: SequenceSet) -> Segmentation:
    """Place cases with a segments model written earlier, nothing learned anew: same case, same label."""
    try:
        labels = read_json(folder / "labels.json")
    except FileNotFoundError:
        raise RunError(
            f"{folder} holds no segments model", hint="give the folder segments/model of a run"
        ) from None
    model = Segmenter.load(folder)
    label, strength = assign_labels(model, sequences, labels["min_strength"], labels["min_events"])
    return Segmentation(sequences.case_ids, label, strength, tuple(labels["names"]))


def _scaled(progress: Progress, low: float, high: float) -> Progress:
    return lambda what, done: progress(what, low + (high - low) * done)


def _notes(
    found: Segmentation, choice: Choice, sequences: SequenceSet, settings: SegmentSettings
) -> tuple[str, ...]:
    """What a reader must know before believing the groups."""
    notes = [choice.note] if choice.note else []
    if settings.k != "auto" and choice.curve and choice.k > 1 and choice.curve[-1].low <= 0:
        notes.append(
            f"{choice.k} segments were asked for; they do not fit unseen cases clearly better than one"
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
