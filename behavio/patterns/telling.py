"""Patterns that tell one segment of cases from the others.

Segments found in the very events whose patterns are compared are told by the noise that made them: on
shuffled logs something always stands out. So such segments are told from the first half of each journey,
and patterns are counted in the later half, which had no say in who belongs where (`told_later`).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import polars as pl

from behavio.contrasts import false_discovery
from behavio.errors import ModelError
from behavio.patterns.chance import Difference, affordable_shuffles, against_rest, beyond_mix, chance_sums
from behavio.patterns.matcher import Matcher
from behavio.patterns.mine import Patterns, frequent
from behavio.patterns.settings import PatternSettings
from behavio.patterns.tables import LATER, RATE, empty, frame, new_first
from behavio.sequences import SequenceSet

Place = Callable[[SequenceSet], pl.DataFrame | None]
"""The segments of any cases, or parts of them, as their model sees them; None where it needs whole ones."""


@dataclass(frozen=True, slots=True, eq=False)
class ToldLater:
    """What tells segments apart in the later halves of journeys.

    frame    rows of patterns.parquet, counted_in "later half"
    n_cases  cases with a segment by their first half and something in the later one; same: those of them that
             have this segment by their whole journey, too
    placed   False where the segments cannot be told from a part of a journey: nothing was counted then
    """

    frame: pl.DataFrame
    n_cases: int = 0
    same: int = 0
    placed: bool = True


def told_later(
    sequences: SequenceSet, segments: pl.DataFrame, place: Place, settings: PatternSettings, seed: int = 0
) -> ToldLater:
    """Patterns of the later half of journeys that tell segments seen in the first half (`telling`).

    segments  case_id and segment by the whole journeys, found in these sequences; place: their model
    Given what a case did, the order of its later half is independent of the first half where order says
    nothing, so nothing can be told there but by chance. It costs half of the events, and a segment is less
    sure by half a journey: what little is left is honest.
    """
    first, later = halves(sequences)
    if first is None or later is None:
        return ToldLater(empty())
    known = place(first)
    if known is None:
        return ToldLater(empty(), placed=False)
    early = _assigned(known)
    both = early.join(later.case_ids.to_frame("case_id"), on="case_id", how="semi")
    same = both.join(_assigned(segments), on=["case_id", "segment"], how="semi").height
    mined = frequent(later, settings.rules(later))
    several = mined.select(mined.lengths > 1)
    if not len(several):
        return ToldLater(empty(), both.height, same)
    n_shuffles = affordable_shuffles(later, int(several.lengths.sum()), settings.permutations)
    told = telling(later, several, early, settings.top, n_shuffles, seed)
    return ToldLater(told.with_columns(counted_in=pl.lit(LATER)), both.height, same)


def halves(sequences: SequenceSet) -> tuple[SequenceSet | None, SequenceSet | None]:
    """Each case up to its middle event, and what comes after; what happens at one time stays together.

    A case of one event, or of one moment, has only one half; None where no case has any.
    """
    place = np.arange(sequences.n_events) - np.repeat(sequences.offsets[:-1], sequences.lengths)
    middle = np.repeat(sequences.lengths // 2, sequences.lengths)
    early = place < middle
    if sequences.timed:
        last = sequences.offsets[:-1] + np.maximum(sequences.lengths // 2 - 1, 0)
        border = np.repeat(sequences.times[last], sequences.lengths)
        early = (sequences.times <= border) & (middle > 0)
    first = sequences.keep(early) if early.any() else None
    return first, None if early.all() else sequences.keep(~early)


def telling(
    sequences: SequenceSet,
    found: Patterns,
    segments: pl.DataFrame,
    top: int,
    n_shuffles: int = 50,
    seed: int = 0,
) -> pl.DataFrame:
    """Patterns whose order tells a segment from all other assigned cases, false discovery rate at most 5 %.

    Two things must hold, p is the larger of the two: the segment's cases hold the pattern more, or less,
    often than the others (Fisher's exact test), and not only because they have more of its activities or are
    faster: against their own events shuffled they differ too (`beyond_mix`). Without the second, segments of
    a log in random order are "told" by hundreds of patterns that only repeat what is common there.

    The segments must come from elsewhere: a column, a table, earlier events. For those found in the same
    sequences there is `told_later`. First come patterns that say something new, the best told apart first.
    """
    missing = {"case_id", "segment"} - set(segments.columns)
    if missing:
        raise ModelError(f"segments need the columns {', '.join(sorted(missing))}")
    labels = sequences.case_ids.to_frame("case_id").join(
        _assigned(segments), on="case_id", how="left", maintain_order="left"
    )["segment"]
    names = sorted(labels.drop_nulls().unique().to_list())
    if len(names) < 2:
        return empty()
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
    tests = _beyond(sequences, found, group, tests, n_shuffles, seed)
    q_values = false_discovery(np.concatenate([t.p_value for t in tests])).reshape(len(names), -1)
    frames = [empty()]
    for name, test, q_value in zip(names, tests, q_values, strict=True):
        frames.append(_rows(sequences, found, test, q_value, top, name))
    return pl.concat(frames)


def _beyond(
    sequences: SequenceSet,
    found: Patterns,
    group: np.ndarray,
    tests: list[Difference],
    n_shuffles: int,
    seed: int,
) -> list[Difference]:
    """The tests with the larger of both p-values; what Fisher's test leaves out is not shuffled."""
    p_values = np.stack([t.p_value for t in tests])
    sure = false_discovery(p_values.ravel()).reshape(p_values.shape) <= RATE
    wanted = np.asarray(sure.any(axis=0))
    both = np.ones_like(p_values)
    if wanted.any():
        some = found.select(wanted)
        sums = np.stack(
            [chance_sums(sequences.select(group == g), some, n_shuffles, seed) for g in range(len(tests))]
        )
        total = sums.sum(axis=0)
        for g in range(len(tests)):
            beyond = beyond_mix(sums[g], total - sums[g], n_shuffles)
            both[g, wanted] = np.maximum(p_values[g, wanted], beyond)
    return [replace(test, p_value=p) for test, p in zip(tests, both, strict=True)]


def _assigned(segments: pl.DataFrame) -> pl.DataFrame:
    """case_id and segment of the cases that belong to one; segment_id -1 is no segment."""
    if "segment_id" in segments.columns:
        segments = segments.filter(pl.col("segment_id") >= 0)
    return segments.select("case_id", "segment")


def _rows(
    sequences: SequenceSet, found: Patterns, test: Difference, q_value: np.ndarray, top: int, name: str
) -> pl.DataFrame:
    order = np.lexsort((np.arange(len(found)), -np.abs(np.log(test.lift)), test.p_value))
    order = order[q_value[order] <= RATE]
    index = new_first(found, order, len(order), top)
    return frame(sequences, found, index, test, test.support, q_value, name)
