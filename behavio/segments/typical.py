"""The typical journey of a segment: a medoid, and the stretch of it that shows the segment best."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np

from behavio.kernels.follows import edit_distances
from behavio.sequences import SequenceSet

SAMPLE = 120
COMPARED = 40
CANDIDATES = 10
DOTS = 12
WINDOW_S = 10 * 7 * 86_400.0
MIN_DOTS = 4


def typical(
    sequences: SequenceSet,
    members: np.ndarray,
    strength: np.ndarray,
    pairs: dict[tuple[str, str], float],
    single: dict[str, float],
    seed: int,
) -> dict[str, Any]:
    """{"case_id", "events"}: a case near the middle of the segment, by a stretch that shows the segment.

    Among at most 120 cases drawn from the surer half of the segment, of ordinary length (middle half),
    the ten with the smallest mean edit distance to the others (first 40 events) are medoids as good as
    any; shown is the one whose best stretch has the most of the segment's own steps (`pairs`, weights of
    what follows what) and activities (`single`).
    """
    best: tuple[float, int, list[dict[str, Any]]] | None = None
    for case in medoids(sequences, members, strength, seed):
        worth, events = stretch(sequences, case, pairs, single)
        if best is None or worth > best[0]:
            best = (worth, case, events)
    assert best is not None
    return {"case_id": str(sequences.case_ids[best[1]]), "events": best[2]}


def medoids(sequences: SequenceSet, members: np.ndarray, strength: np.ndarray, seed: int) -> list[int]:
    """Indices of at most ten cases closest to all others of their segment, the closest first."""
    rng = np.random.default_rng([seed, len(members)])
    sure = members[strength[members] >= np.median(strength[members])]
    length = sequences.lengths[sure]
    low, high = np.quantile(length, [0.25, 0.75])
    usual = sure[(length >= low) & (length <= high)]
    if len(usual) == 0:  # two cases of different length: no case lies between the quartiles
        usual = sure
    if len(usual) > SAMPLE:
        usual = np.sort(rng.choice(usual, SAMPLE, replace=False))
    part = sequences.select(usual)
    far = edit_distances(part.tokens, part.offsets, COMPARED).mean(axis=1)
    return [int(usual[i]) for i in np.argsort(far, kind="stable")[:CANDIDATES]]


def stretch(
    sequences: SequenceSet, case: int, pairs: dict[tuple[str, str], float], single: dict[str, float]
) -> tuple[float, list[dict[str, Any]]]:
    """Worth and events of the best run of at most 12 events within ten weeks, day 0.0 at the first.

    A slow case shows four events even if they lie further apart than ten weeks.
    """
    first, last = int(sequences.offsets[case]), int(sequences.offsets[case + 1])
    names = [sequences.vocabulary.names[t] for t in sequences.tokens[first:last]]
    seconds = (sequences.times[first:last] - sequences.times[first]) / 1e6
    if not sequences.timed:  # positions, one a day, so that a strip can be drawn
        seconds = 86_400.0 * np.arange(last - first)
    best: tuple[float, int, int, int] | None = None
    for start in range(len(names)):
        within = int(np.searchsorted(seconds, seconds[start] + WINDOW_S, side="right"))
        end = min(start + DOTS, max(within, start + MIN_DOTS), len(names))
        shown = names[start:end]
        worth = sum(single.get(a, 0.0) for a in set(shown))
        worth += sum(pairs.get(step, 0.0) for step in pairwise(shown))
        key = (worth, len(set(shown)) * len(shown), -start, end)
        if best is None or key > best:
            best = key
    assert best is not None
    start, end = -best[2], best[3]
    days = (seconds[start:end] - seconds[start]) / 86_400
    events = [{"activity": a, "day": round(float(d), 2)} for a, d in zip(names[start:end], days, strict=True)]
    return best[0], events
