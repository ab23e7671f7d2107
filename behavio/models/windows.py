"""Long cases cut into windows, windows into batches of like length."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from behavio.models.base import Prefixes
from behavio.sequences import SequenceSet

WIDTH = 64
"""Events of a window."""
OVERLAP = 24
"""Events at the start of a later window that only remind; their next events are scored in the one before."""
HOUR = 3_600_000_000


@dataclass(frozen=True, slots=True, eq=False)
class Windows:
    """Runs of events of one case, arrays (n,).

    first   int64  event the window starts with
    length  int64  its events
    """

    first: np.ndarray
    length: np.ndarray

    def __len__(self) -> int:
        return len(self.first)

    def __getitem__(self, some: np.ndarray) -> Windows:
        return Windows(self.first[some], self.length[some])


def window_of(place: np.ndarray) -> np.ndarray:
    """Which window of its case answers for the event at this place (0 is the first event)."""
    return np.where(place < WIDTH, 0, (place - WIDTH) // (WIDTH - OVERLAP) + 1)


def asked_windows(sequences: SequenceSet, prefixes: Prefixes) -> tuple[Windows, np.ndarray, np.ndarray]:
    """The windows that hold the newest event of each prefix, and where: window index, place inside."""
    starts = prefixes.starts(sequences)
    place = prefixes.ends - 1 - starts
    window = window_of(place)
    firsts, index = np.unique(starts + window * (WIDTH - OVERLAP), return_inverse=True)
    inside = prefixes.ends - 1 - firsts[index]
    length = np.zeros(len(firsts), dtype=np.int64)
    np.maximum.at(length, index, inside + 1)
    return Windows(firsts, length), index, inside


def batches(windows: Windows, tokens: int, random: np.random.Generator | None = None) -> list[np.ndarray]:
    """Indices of windows of like length, each batch at most `tokens` cells wide; shuffled with `random`."""
    order = np.arange(len(windows)) if random is None else random.permutation(len(windows))
    order = order[np.argsort(windows.length[order], kind="stable")]
    parts, low = [], 0
    for high in range(1, len(order) + 1):
        full = high < len(order) and windows.length[order[high]] * (high + 1 - low) > tokens
        if full or high == len(order):
            parts.append(order[low:high])
            low = high
    if random is not None:
        parts = [parts[i] for i in random.permutation(len(parts))]
    return parts


def cells(windows: Windows, pick: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Event behind each cell int64 (n, longest) and whether there is one; empty cells repeat the first."""
    length = windows.length[pick]
    step = np.arange(length.max())
    real = step[None, :] < length[:, None]
    return windows.first[pick][:, None] + np.where(real, step[None, :], 0), real


def last_same(sequences: SequenceSet) -> np.ndarray:
    """int64 (n_events,): the latest earlier event of the case with the same activity, -1 without one."""
    key = sequences.case_of_event * len(sequences.vocabulary) + sequences.tokens
    order = np.argsort(key, kind="stable")
    before = np.full(len(key), -1, dtype=np.int64)
    repeat = key[order[1:]] == key[order[:-1]]
    before[order[1:][repeat]] = order[:-1][repeat]
    return before
