"""Exact medians of waits: the few facts about time that are told, worked out in full."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from behavio.kernels.follows import waits_of
from behavio.segments.fact import Fact
from behavio.sequences import SequenceSet

TOLD = 8


def median_waits(
    waits: Sequence[Fact],
    sequences: SequenceSet,
    codes: np.ndarray,
    names: Sequence[str],
    label: np.ndarray,
    segment: int,
) -> list[Fact]:
    """The most telling waits with medians as value and rest; one whose medians say otherwise is left out."""
    place = {name: i for i, name in enumerate(names)}
    told = []
    for one in sorted(waits, key=lambda f: (-f.telling, f.what))[:TOLD]:
        a, b = (place[name] for name in one.what)
        case, seconds = waits_of(codes, sequences.offsets, sequences.times, a, b)
        mine, rest = label[case] == segment, (label[case] >= 0) & (label[case] != segment)
        here, there = float(np.median(seconds[mine])), float(np.median(seconds[rest]))
        if one.agrees(here, there):
            told.append(replace(one, value=here, rest=there))
    return told
