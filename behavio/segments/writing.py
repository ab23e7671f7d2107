"""The segments stage: find or score, prove, explain, keep alive, write."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from behavio.errors import ModelError, RunError
from behavio.files import read_json, whole_file, write_json
from behavio.log import EventLog
from behavio.segments.attributes import attribute_facts
from behavio.segments.challenge import other_labels
from behavio.segments.choose import STABLE, Choice, Progress
from behavio.segments.contract import Segmenter
from behavio.segments.facts import facts_of
from behavio.segments.finding import Found, Whole, assign_labels, find, notes_of, silent
from behavio.segments.living import (
    EXPERT,
    MODEL,
    Matching,
    Previous,
    check_churn,
    day_of,
    kept_names,
    match,
    overrides_of,
    read_overrides,
)
from behavio.segments.names import is_hcp
from behavio.segments.profiles import profiles
from behavio.segments.proof import Stability, prove
from behavio.segments.questions import four_answers
from behavio.segments.rivals import write_challenge
from behavio.segments.rules import Rules, learn_rules
from behavio.segments.segmentation import UNASSIGNED, UNASSIGNED_NAME, Segmentation
from behavio.segments.semi_markov import SemiMarkovMixture
from behavio.segments.settings import SegmentSettings
from behavio.segments.spaces import Embeddings
from behavio.segments.subgroups import subgroups
from behavio.segments.vectors import VectorSegmenter
from behavio.sequences import SequenceSet

BORDER = 0.7
"""A case that belongs to its segment with less than this probability lies near a border."""

FOREIGN = 0.5  # share of events unknown to last time's model from which it is of another world


@dataclass(frozen=True, eq=False)
class Written:
    """What is written: the labels with everything beside them, and where they come from."""

    found: Found
    table: pl.DataFrame
    matching: Matching | None
    previous: Previous | None
    notes: tuple[str, ...]


def write_segments(
    log: EventLog,
    sequences: SequenceSet,
    settings: SegmentSettings,
    seed: int,
    folder: Path,
    progress: Progress = silent,
    vectors: pl.DataFrame | None = None,
    whole: Whole | None = None,
) -> dict[str, Any]:
    """Write the files of the stage into `folder`; facts for the run's summary.

    segments.parquet  case_id, segment_id, segment, strength; second and second_strength (the next likely
                      segment), border, assigned (model or expert), reason and date of an expert's decision
    profiles.json     each segment explained, the curve of k, the proof
    stability.parquet one row a segment: how surely it is found again    borders.parquet  cases near a border
    subgroups.parquet smaller groups inside                              rules.json       the typing tool
    changes.parquet   only with `previous`: kept, split, merged, new, gone    model/      to score with later
    challenge.json, challenge.parquet, misplaced.parquet   only with `challenge` (`rivals.write_challenge`)

    all_cases.parquet only with `whole`, the log of which `sequences` is a sample: case_id, segment_id,
                      segment and strength of every case

    `vectors` (case_id, vector) is what kind = "vectors" or "hdbscan" with space = "model" looks at. Raises
    RunError for a previous run that cannot be used, ModelError when too many cases would move.
    """
    own = None if vectors is None else Embeddings.of(vectors)
    others = None
    if settings.challenge is not None:  # what cannot be read is said before the work, not after it
        others = other_labels(settings.challenge, log.cases, among=sequences.case_ids)
    written = make(sequences, settings, seed, lambda w, d: progress(w, 0.5 * d), own, whole)
    found, segmentation = written.found, written.found.segmentation
    label = segmentation.segment_id
    proof, stable = _proved(written, sequences, seed, lambda w, d: progress(w, 0.5 + 0.25 * d))
    notes = written.notes + _shaky(proof, segmentation.k)
    rules = learn_rules(sequences, label, segmentation.names, found.facts, seed)
    progress("segments: looking inside", 0.8)
    inside = subgroups(sequences, label, segmentation.names, seed) if settings.subgroups else None
    progress("segments: writing", 0.95)
    attributes = attribute_facts(log.cases, segmentation.case_ids, label, segmentation.k)
    people = "HCPs" if is_hcp(sequences.vocabulary.activities) else "cases"
    page = profiles(
        segmentation, found.facts, sequences, attributes, found.choice, found.model, notes, people
    )
    answers = four_answers(sequences, label, segmentation.k, found.facts, attributes)
    for g, (one, four) in enumerate(zip(page["segments"], answers, strict=True)):
        one |= {
            "answers": four,
            "found_again": round(float(stable.overlap[g]), 4) if segmentation.k > 1 else None,
        }
    page |= {"proof": proof, **_alive(written, settings)}
    _write(folder, written, page, settings, stable, rules, inside)
    facts = _facts(page, written, sequences, rules)
    if whole is not None and isinstance(found.model, SemiMarkovMixture):
        facts["all_cases"] = _write_all(folder, whole, found.model, segmentation.names, settings)
    if others is not None:
        given = (str(settings.challenge), others, written.table, segmentation.names)
        facts["challenge"] = write_challenge(folder, *given, sequences, found.model, seed)
    progress("segments: written", 1.0)
    return facts


def make(
    sequences: SequenceSet,
    settings: SegmentSettings,
    seed: int,
    progress: Progress,
    vectors: Embeddings | None,
    whole: Whole | None = None,
) -> Written:
    """Find or score the segments, match them to the run before, apply what experts decided."""
    previous = None if settings.previous is None else Previous.read(Path(settings.previous))
    notes: list[str] = []
    if settings.frozen:
        assert previous is not None
        found = _frozen(previous, sequences, settings, vectors)
    else:
        found = find(sequences, settings, seed, progress, vectors, whole=whole)
    matching = None
    if previous is not None:
        found, matching, said = _matched(found, previous, sequences, settings)
        notes += said
    given = None
    names = found.segmentation.names
    if settings.overrides is not None:
        given = read_overrides(Path(settings.overrides), names)
    decided = overrides_of(previous, given, names)
    found, table, said = _overridden(found, sequences, decided)
    notes += said + _overdue(settings, sequences)
    return Written(found, table, matching, previous, (*found.notes, *notes))


def _frozen(
    previous: Previous, sequences: SequenceSet, settings: SegmentSettings, vectors: Embeddings | None
) -> Found:
    """Last time's model asked about these cases."""
    if previous.model is None:
        raise RunError(
            "the previous run has no segments model to score with", hint="give the whole run folder"
        )
    if (previous.model / "model.json").is_file():
        _same_world(previous.model, sequences)
    segmentation, model = place(previous.model, sequences, vectors)
    facts = facts_of(sequences, segmentation.segment_id, segmentation.k, model.effective_length)
    choice = Choice(segmentation.k, model.smoothing, (), model)
    own = replace(settings, k=segmentation.k)
    notes = ("scored with the model of the previous run: nothing was learned from this log",)
    return Found(segmentation, model, choice, facts, notes + notes_of(segmentation, choice, sequences, own))


def _same_world(model: Path, sequences: SequenceSet) -> None:
    known = set(read_json(model / "model.json")["vocabulary"] or ())
    n = np.bincount(sequences.tokens, minlength=len(sequences.vocabulary))
    foreign = sum(int(c) for name, c in zip(sequences.vocabulary.names, n, strict=True) if name not in known)
    if foreign > FOREIGN * sequences.n_events:
        raise ModelError(
            f"{foreign:,} of {sequences.n_events:,} events are activities the previous run never met",
            hint="it comes from another log: leave out frozen and previous, or map the activities alike",
        )


def place(
    folder: Path, sequences: SequenceSet, vectors: Embeddings | None = None
) -> tuple[Segmentation, Segmenter]:
    """Segments of these cases by a model written earlier, and the model. Raises RunError without one."""
    try:
        labels = read_json(folder / "labels.json")
    except FileNotFoundError:
        raise RunError(
            f"{folder} holds no segments model", hint="give the folder segments/model of a run"
        ) from None
    model = Segmenter.load(folder)
    if isinstance(model, VectorSegmenter) and vectors is not None:
        model.given(vectors)
    label, strength = assign_labels(model, sequences, labels["min_strength"], labels["min_events"])
    return Segmentation(sequences.case_ids, label, strength, tuple(labels["names"])), model


def assign(folder: Path, sequences: SequenceSet) -> Segmentation:
    """Place cases with a segments model written earlier, nothing learned anew: same case, same label."""
    return place(folder, sequences)[0]


def placed(folder: Path, sequences: SequenceSet) -> pl.DataFrame | None:
    """Where a segments model puts these cases or parts of them: case_id, segment_id, segment, strength.

    None where it looks at vectors of whole cases that another model learned: a part of one has none.
    """
    model = Segmenter.load(folder)
    if isinstance(model, VectorSegmenter) and model.space == "table":
        return None
    return assign(folder, sequences).to_frame()


def _matched(
    found: Found, previous: Previous, sequences: SequenceSet, settings: SegmentSettings
) -> tuple[Found, Matching, list[str]]:
    segmentation = found.segmentation
    then = previous.label_of(sequences.case_ids)
    matching = match(segmentation.segment_id, segmentation.names, then, previous.names)
    if matching.common == 0:
        both = int((then > -2).sum())
        why = "no case is in both" if both == 0 else "none of them was in a segment both times"
        return found, matching, [f"names could not be carried over from the previous run: {why}"]
    if not settings.frozen:
        names = kept_names(segmentation.names, matching, previous.names)
        found = replace(found, segmentation=replace(segmentation, names=names))
        matching = match(segmentation.segment_id, names, then, previous.names)
        check_churn(matching, settings.churn_limit)
    note = f"{matching.moved:,} of {matching.common:,} cases of both runs changed their segment"
    return found, matching, [f"{note} ({matching.churn:.1%})"]


def _overridden(
    found: Found, sequences: SequenceSet, decided: pl.DataFrame
) -> tuple[Found, pl.DataFrame, list[str]]:
    """The labels with experts' decisions in, and the table of them; the model's view stays in `second`."""
    segmentation = found.segmentation
    posterior = found.model.posterior(sequences) if segmentation.k > 1 else np.ones((sequences.n_cases, 1))
    rows = np.arange(sequences.n_cases)
    first = posterior.argmax(axis=1)
    others = posterior.copy()
    others[rows, first] = -1.0
    second = others.argmax(axis=1) if segmentation.k > 1 else np.zeros(len(rows), np.int64)
    places = {name: g for g, name in enumerate(segmentation.names)}
    known = segmentation.case_ids.cast(pl.String).to_frame("case_id")
    table = known.join(decided, on="case_id", how="left", maintain_order="left")
    by_expert = table["segment"].is_not_null().to_numpy()
    wanted = np.array([places.get(s, UNASSIGNED) for s in table["segment"].to_list()], np.int32)
    label = np.where(by_expert, wanted, segmentation.segment_id).astype(np.int32)
    final = replace(segmentation, segment_id=label)
    names = np.array(segmentation.names, dtype=object)
    near = (segmentation.strength < BORDER) & (segmentation.segment_id >= 0) & ~by_expert
    frame = final.to_frame().with_columns(
        pl.Series("second", names[second].tolist() if segmentation.k > 1 else [None] * len(rows), pl.String),
        pl.Series("second_strength", np.round(np.maximum(others[rows, second], 0.0), 6)),
        pl.Series("border", near & (segmentation.k > 1)),
        pl.Series("assigned", np.where(by_expert, EXPERT, MODEL).tolist(), pl.String),
        table["reason"],
        table["date"],
    )
    missing = decided.height - int(by_expert.sum())
    notes = [f"{int(by_expert.sum()):,} cases are placed by experts"] if by_expert.any() else []
    notes += [f"{missing:,} cases that experts placed are not in this log"] if missing else []
    return replace(found, segmentation=final), frame, notes


def _overdue(settings: SegmentSettings, sequences: SequenceSet) -> list[str]:
    """A warning when the log goes on after the day of review: a run says nothing about today."""
    if settings.review is None or not sequences.timed:
        return []
    newest = int(np.asarray(sequences.times).max()) // 1_000_000
    day = day_of(settings.review, "review")
    last = pl.Series([newest * 1_000_000]).cast(pl.Datetime("us"))[0].date()
    if last <= day:
        return []
    return [f"the segments were to be reviewed on {day}, the log goes on to {last}: review them"]


def _proved(
    written: Written, sequences: SequenceSet, seed: int, progress: Progress
) -> tuple[dict[str, Any], Stability]:
    found = written.found
    k = found.segmentation.k
    if k < 2 or sequences.n_cases < 4 * k:
        return {}, Stability(np.ones(1), np.ones(k))
    return prove(found.model, sequences, found.segmentation.segment_id, seed, progress, found.stable)


def _shaky(proof: dict[str, Any], k: int) -> tuple[str, ...]:
    if k < 2 or not proof or proof["stability"] >= STABLE:
        return ()
    return (
        f"the log does not carry stable groups: found again in other cases, {k} segments agree only to "
        f"{proof['stability']:.2f} (adjusted Rand index; {STABLE:g} and more is stable)",
    )


def _alive(written: Written, settings: SegmentSettings) -> dict[str, Any]:
    page: dict[str, Any] = {"owner": settings.owner, "review": settings.review, "frozen": settings.frozen}
    if written.matching is not None:
        page |= {
            "changes": written.matching.changes,
            "churn": round(written.matching.churn, 4),
            "common_cases": written.matching.common,
        }
    return page


def _write(
    folder: Path,
    written: Written,
    page: dict[str, Any],
    settings: SegmentSettings,
    stable: Stability,
    rules: Rules | None,
    inside: pl.DataFrame | None,
) -> None:
    segmentation, model = written.found.segmentation, written.found.model
    model.save(folder / "model")
    labels = {
        "names": list(segmentation.names),
        "min_strength": settings.min_strength,
        "min_events": settings.min_events,
    }
    write_json(folder / "model" / "labels.json", labels)
    write_json(folder / "profiles.json", page)
    if rules is not None:
        write_json(folder / "rules.json", rules.to_json())
    border = written.table.filter(pl.col("border"))
    near = border["segment"].value_counts()
    per_segment = pl.DataFrame(
        {
            "segment_id": pl.Series(range(segmentation.k), dtype=pl.Int32),
            "segment": list(segmentation.names),
            "n_cases": segmentation.sizes,
            "found_again": np.round(stable.overlap, 6),
        }
    ).join(near.rename({"count": "n_border"}), on="segment", how="left", maintain_order="left")
    tables = {
        "segments": written.table,
        "stability": per_segment.with_columns(pl.col("n_border").fill_null(0).cast(pl.Int64)),
        "borders": border.select("case_id", "segment", "strength", "second", "second_strength").sort(
            "strength", "case_id"
        ),
    }
    if inside is not None:
        tables["subgroups"] = inside
    if written.matching is not None:
        tables["changes"] = pl.DataFrame(written.matching.changes)
    for name, table in tables.items():
        with whole_file(folder / f"{name}.parquet") as draft:
            table.write_parquet(draft, compression="zstd")


def _write_all(
    folder: Path,
    whole: Whole,
    model: SemiMarkovMixture,
    names: tuple[str, ...],
    settings: SegmentSettings,
) -> int:
    """Labels of every case of the log, by the model alone; how many there are."""
    table = whole.engine.run(model.labels(settings.min_strength, settings.min_events), whole.log)
    known = [*names, UNASSIGNED_NAME]
    table = table.sort("case_id").select(
        "case_id",
        "segment_id",
        pl.Series("segment", [known[i] for i in table.sort("case_id")["segment_id"]], pl.String),
        "strength",
    )
    with whole_file(folder / "all_cases.parquet") as draft:
        table.write_parquet(draft, compression="zstd")
    return table.height


def _facts(
    page: dict[str, Any], written: Written, sequences: SequenceSet, rules: Rules | None
) -> dict[str, Any]:
    keys = ("segment_id", "segment", "n_cases", "share")
    notes = page["notes"]
    facts = {
        "rows_in": sequences.n_cases,
        "rows_out": written.table.height,
        "k": written.found.choice.k,
        "segments": [{key: s[key] for key in keys} for s in page["segments"]],
        "n_unassigned": int((written.table["segment_id"] == UNASSIGNED).sum()),
        "held_out_gain_per_event": page["held_out_gain_per_event"],
        "stability": page["proof"].get("stability"),
        "rules_accuracy": None if rules is None else round(rules.accuracy, 4),
        "owner": page["owner"],
        "review": page["review"],
        "note": notes[0] if notes else "",
        "notes": notes,
    }
    return facts if "churn" not in page else facts | {"churn": page["churn"]}
