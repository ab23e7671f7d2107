"""Patterns that tell one segment of cases from the others."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import polars as pl

from behavio.contrasts import false_discovery
from behavio.errors import ModelError
from behavio.patterns.chance import Difference, against_rest, beyond_mix, chance_sums
from behavio.patterns.matcher import Matcher
from behavio.patterns.mine import Patterns
from behavio.patterns.tables import RATE, empty, frame, new_first
from behavio.sequences import SequenceSet


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

    Segments are usually made from the same sequences: q then says how sharply a pattern tells them apart,
    not that the segments exist. First come those that say something new, the best told apart first.
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
