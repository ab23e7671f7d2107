"""Frequent, closed and telling patterns: which orders of events are commoner than chance would make them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from behavio.durations import seconds
from behavio.errors import JobError, ModelError
from behavio.files import whole_file
from behavio.log import EventLog
from behavio.patterns.chance import (
    Chance,
    Difference,
    Matcher,
    affordable_shuffles,
    against_chance,
    against_rest,
    false_discovery,
)
from behavio.patterns.mine import Patterns, Rules, frequent
from behavio.sequences import PAD, UNKNOWN, SequenceSet

__all__ = [
    "Chance",
    "Difference",
    "Matcher",
    "PatternSettings",
    "Patterns",
    "Rules",
    "against_chance",
    "against_rest",
    "false_discovery",
    "frequent",
    "matching_cases",
    "patterns",
    "write_patterns",
]

ARROW = " → "

PATTERN_SCHEMA: dict[str, pl.DataType] = {
    "pattern": pl.String(),
    "activities": pl.List(pl.String()),
    "length": pl.Int64(),
    "n_cases": pl.Int64(),
    "support": pl.Float64(),
    "lift": pl.Float64(),
    "low": pl.Float64(),
    "high": pl.Float64(),
    "p_value": pl.Float64(),
    "q_value": pl.Float64(),
    "segment": pl.String(),
    "expected": pl.Float64(),
}
"""segment is null where the whole log is compared with chance; expected is the support lift divides by."""


@dataclass(frozen=True, slots=True)
class PatternSettings:
    """What the [patterns] table of a job may say.

    min_support   share of the cases that must hold a pattern
    max_length    events in a pattern
    max_gap       each event at most so many events after the one before (1: right after); 0: anywhere later
    within        and at most so long after it; "" for any time; a log without a clock ignores it
    closed        leave out a pattern that lies in one an event longer held by just as many cases
    top           rows for the whole log, and for each segment
    max_patterns  patterns compared with chance; with more, min_support is raised until they fit
    outcome       an activity: also tell which patterns come before it more often than elsewhere; "" for none
    permutations  shuffles of each case; a large log takes fewer, its cases average out
    """

    min_support: float = 0.02
    max_length: int = 5
    max_gap: int = 3
    within: str = "30d"
    closed: bool = True
    top: int = 200
    max_patterns: int = 2_000
    outcome: str | None = None
    permutations: int = 100

    def __post_init__(self) -> None:
        if not 0 < self.min_support <= 1:
            raise JobError(
                f"patterns.min_support is {self.min_support}",
                hint="it is a share of the cases: more than 0, at most 1",
            )
        for name, least in (("max_length", 2), ("max_gap", 0), ("top", 1), ("max_patterns", 1)):
            if getattr(self, name) < least:
                raise JobError(
                    f"patterns.{name} is {getattr(self, name)}", hint=f"it must be {least} or more"
                )
        if self.permutations < 2:
            raise JobError(f"patterns.permutations is {self.permutations}", hint="it must be 2 or more")
        if self.within:
            seconds(self.within)

    def rules(self, sequences: SequenceSet) -> Rules:
        """The rules for one log: cases instead of shares (at least 2), microseconds instead of words."""
        limit = int(seconds(self.within) * 1e6) if self.within and sequences.timed else -1
        return Rules(
            min_cases=max(int(np.ceil(self.min_support * sequences.n_cases)), min(2, sequences.n_cases)),
            max_length=self.max_length,
            max_gap=self.max_gap,
            within=limit,
            closed=self.closed,
            max_patterns=self.max_patterns,
        )


@dataclass(frozen=True, slots=True, eq=False)
class Findings:
    """The table of patterns and how it came about."""

    frame: pl.DataFrame
    facts: dict[str, Any]


def patterns(
    log: EventLog | SequenceSet,
    settings: PatternSettings | None = None,
    seed: int = 0,
    segments: pl.DataFrame | None = None,
) -> pl.DataFrame:
    """Frequent patterns of at least two events with their lift over chance; columns of patterns.parquet.

    segments  case_id, segment: also the patterns that tell each segment from the other cases
    """
    sequences = log if isinstance(log, SequenceSet) else SequenceSet.from_log(log)
    return find(sequences, settings or PatternSettings(), seed, segments).frame


def find(
    sequences: SequenceSet,
    settings: PatternSettings,
    seed: int,
    segments: pl.DataFrame | None = None,
    progress: Callable[[str, float], None] = lambda what, share: None,
) -> Findings:
    """Mine, compare with chance, with segments and with an outcome."""
    progress("frequent patterns", 0.0)
    rules = settings.rules(sequences)
    mined = frequent(sequences, rules)
    several = mined.select(mined.lengths > 1)
    progress("patterns against chance", 0.2)
    facts: dict[str, Any] = {
        "n_cases": sequences.n_cases,
        "n_frequent": len(mined),
        "n_tested": len(several),
        "min_cases_asked": rules.min_cases,
        "min_cases": mined.rules.min_cases,
        "min_support": mined.rules.min_cases / sequences.n_cases,
        "max_length": mined.rules.max_length,
        "within_used": settings.within if rules.within >= 0 else None,
    }
    frames = [_empty()]
    if len(several):
        n_nodes = int(several.lengths.sum())
        n_shuffles = affordable_shuffles(sequences, n_nodes, settings.permutations)
        chance = against_chance(sequences, several, n_shuffles, seed)
        frames.append(_chance_frame(sequences, several, chance, settings.top))
        facts["permutations"] = n_shuffles
        facts["n_standing_out"] = int((false_discovery(chance.p_value) <= 0.05).sum())
        progress("patterns against the rest", 0.8)
        if segments is not None:
            frames.append(_segment_frame(sequences, several, segments, settings.top))
            facts["n_telling_rows"] = frames[-1].height
        if settings.outcome:
            frames.append(_outcome_frame(sequences, several, settings.outcome, settings.top))
            facts["n_outcome_rows"] = frames[-1].height
    elif settings.outcome:
        _known(sequences, [settings.outcome])
    progress("patterns", 1.0)
    return Findings(pl.concat(frames), facts)


def _empty() -> pl.DataFrame:
    return pl.DataFrame(schema=PATTERN_SCHEMA)


def _frame(
    sequences: SequenceSet,
    found: Patterns,
    index: np.ndarray,
    test: Chance | Difference,
    support: np.ndarray,
    q_value: np.ndarray,
    segment: str | None,
) -> pl.DataFrame:
    """Rows for the patterns at `index`, in that order."""
    names = sequences.vocabulary.names
    activities = [[names[t] for t in found[int(i)]] for i in index]
    return pl.DataFrame(
        {
            "pattern": [ARROW.join(a) for a in activities],
            "activities": activities,
            "length": found.lengths[index],
            "n_cases": test.n_cases[index],
            "support": support[index],
            "lift": test.lift[index],
            "low": test.low[index],
            "high": test.high[index],
            "p_value": test.p_value[index],
            "q_value": q_value[index],
            "segment": [segment] * len(index),
            "expected": (support / test.lift)[index],
        },
        schema=PATTERN_SCHEMA,
    )


def _chance_frame(sequences: SequenceSet, found: Patterns, chance: Chance, top: int) -> pl.DataFrame:
    """What stands out first; among these, what differs by most cases from chance."""
    q_value = false_discovery(chance.p_value)
    excess = np.abs(chance.n_cases - chance.expected)
    index = np.lexsort((np.arange(len(found)), -excess, q_value > 0.05))[:top]
    return _frame(sequences, found, index, chance, chance.n_cases / sequences.n_cases, q_value, None)


def _segment_frame(sequences: SequenceSet, found: Patterns, segments: pl.DataFrame, top: int) -> pl.DataFrame:
    """Patterns that tell a segment from all other assigned cases, false discovery rate at most 5 %.

    Segments are usually made from the same sequences: q then says how sharply a pattern tells them apart,
    not that the segments exist.
    """
    missing = {"case_id", "segment"} - set(segments.columns)
    if missing:
        raise ModelError(f"segments need the columns {', '.join(sorted(missing))}")
    labels = sequences.case_ids.to_frame("case_id").join(
        segments.select("case_id", "segment"), on="case_id", how="left", maintain_order="left"
    )["segment"]
    names = sorted(labels.drop_nulls().unique().to_list())
    if len(names) < 2:
        return _empty()
    place = {name: i for i, name in enumerate(names)}
    group = np.array([place.get(label, -1) for label in labels], dtype=np.int64)
    counts = Matcher.of(found, len(sequences.vocabulary)).count(sequences, group, len(names))
    sizes = np.bincount(group[group >= 0], minlength=len(names))
    tests = [
        against_rest(
            counts[:, g], int(sizes[g]), counts.sum(axis=1) - counts[:, g], int(sizes.sum() - sizes[g])
        )
        for g in range(len(names))
    ]
    q_values = false_discovery(np.concatenate([t.p_value for t in tests])).reshape(len(names), -1)
    frames = [_empty()]
    for name, test, q_value in zip(names, tests, q_values, strict=True):
        frames.append(_telling(sequences, found, test, q_value, top, name))
    return pl.concat(frames)


def _telling(
    sequences: SequenceSet, found: Patterns, test: Difference, q_value: np.ndarray, top: int, name: str
) -> pl.DataFrame:
    """Rows with q at most 0.05, smallest p first."""
    order = np.lexsort((np.arange(len(found)), -np.abs(np.log(test.lift)), test.p_value))
    index = order[q_value[order] <= 0.05][:top]
    return _frame(sequences, found, index, test, test.support, q_value, name)


def _outcome_frame(sequences: SequenceSet, found: Patterns, outcome: str, top: int) -> pl.DataFrame:
    """Patterns before the first `outcome` of a case against the cases that never reach it.

    Association, no effect: cases without the outcome are seen to their newest event, the others only up to
    the outcome, so a pattern that merely needs time is under-rated, never over-rated.
    """
    token = _known(sequences, [outcome])[0]
    reached = np.logical_or.reduceat(sequences.tokens == token, sequences.offsets[:-1])
    before = _before_first(sequences, token)
    group = np.zeros(sequences.n_cases, dtype=np.int64)
    group[reached] = 1
    kept = before.lengths > 0
    free = found.select(np.array([token not in found[i] for i in range(len(found))], dtype=bool))
    if not len(free) or not reached.any() or reached.all() or not (group[kept] == 1).any():
        return _empty()
    cut = before.cut(sequences)
    counts = Matcher.of(free, len(sequences.vocabulary)).count(cut, group[kept], 2)
    inside, outside = int((group[kept] == 1).sum()), int((group[kept] == 0).sum())
    test = against_rest(counts[:, 1], inside, counts[:, 0], outside)
    return _telling(sequences, free, test, false_discovery(test.p_value), top, f"before {outcome}")


@dataclass(frozen=True, slots=True, eq=False)
class _Before:
    """How many events of each case lie before something."""

    keep: np.ndarray  # bool (n_events,)
    lengths: np.ndarray  # int64 (n_cases,)

    def cut(self, sequences: SequenceSet) -> SequenceSet:
        """Only these events; cases without any are left out."""
        offsets = np.concatenate([[0], np.cumsum(self.lengths[self.lengths > 0])]).astype(np.int64)
        return replace(
            sequences,
            tokens=sequences.tokens[self.keep],
            times=sequences.times[self.keep],
            offsets=offsets,
            case_ids=sequences.case_ids.filter(pl.Series(self.lengths > 0)),
            fields={},
        )


def _before_first(sequences: SequenceSet, token: int) -> _Before:
    so_far = np.cumsum(sequences.tokens == token)
    at_start = np.concatenate([[0], so_far])[sequences.offsets[:-1]]
    keep = so_far == np.repeat(at_start, sequences.lengths)
    return _Before(keep, np.add.reduceat(keep, sequences.offsets[:-1]).astype(np.int64))


def _known(sequences: SequenceSet, activities: Sequence[str]) -> list[int]:
    """Ids of activities that the log has."""
    ids = [sequences.vocabulary.id(name) for name in activities]
    for name, token in zip(activities, ids, strict=True):
        if token in (PAD, UNKNOWN):
            from difflib import get_close_matches

            near = get_close_matches(name, sequences.vocabulary.activities, n=1)
            raise JobError(
                f"the log has no activity {name!r}",
                hint=f"did you mean {near[0]!r}?" if near else "list them with: behavio graph LOG",
            )
    return ids


def matching_cases(
    log: EventLog | SequenceSet, activities: Sequence[str], max_gap: int = 0, within: str = ""
) -> pl.Series:
    """case_id of every case that holds these activities in this order, in the order of the log.

    max_gap  each at most so many events after the one before; 0: anywhere later
    within   and at most so long after it, "" for any time
    Raises JobError for an activity that the log does not have, or none at all.
    """
    sequences = log if isinstance(log, SequenceSet) else SequenceSet.from_log(log)
    if not activities:
        raise JobError("no activity to look for", hint='name at least one: ["email_open", "portal_visit"]')
    tokens = np.array(_known(sequences, activities), dtype=np.int32)
    limit = int(seconds(within) * 1e6) if within and sequences.timed else -1
    rules = Rules(min_cases=1, max_length=len(tokens), max_gap=max_gap, within=limit)
    one = Patterns(tokens, np.array([0, len(tokens)]), np.zeros(1, dtype=np.int64), rules)
    matcher = Matcher.of(one, len(sequences.vocabulary))
    own = np.arange(sequences.n_cases)
    held = matcher.count(sequences, own, sequences.n_cases)[0] > 0
    return sequences.case_ids.filter(pl.Series(held))


def write_patterns(
    sequences: SequenceSet,
    settings: PatternSettings,
    seed: int,
    folder: Path,
    segments: pl.DataFrame | None = None,
    progress: Callable[[str, float], None] = lambda what, share: None,
) -> dict[str, Any]:
    """Write patterns.parquet; returns facts for the manifest and the closing summary."""
    found = find(sequences, settings, seed, segments, progress)
    with whole_file(folder / "patterns.parquet") as draft:
        found.frame.write_parquet(draft, compression="zstd")
    return {"rows_in": sequences.n_events, "rows_out": found.frame.height, **found.facts}
