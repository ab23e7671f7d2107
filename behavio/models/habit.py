"""What a case did before it does again: its last activity, its latest, all it ever did, and what is usual.

Where there are hundreds of activities and each case keeps to a few of its own (the products of a physician),
this knows more than counts of contexts, which see each pair too rarely. It is a unigram cache (Kuhn and De
Mori 1990) whose shares depend on what kind of past a case has.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Self

import numpy as np

from behavio.kernels import habit as kernel
from behavio.kernels.arrays import readonly
from behavio.models.base import Prefixes, SequenceModel
from behavio.models.mixing import by_bin
from behavio.sequences import UNKNOWN, SequenceSet

FADES = (0.5, 0.85, 0.97)
"""What is left of an event's weight with every later one."""
MOST = 400
"""Latest events of a case that are read."""
LATELY = 0.1
"""Share of steps, the newest, of what is lately usual."""
STEPS = 30_000
"""Steps, evenly spread, by which the views are weighed."""
BIN_PULL, PULL = 20.0, 5.0
"""Steps that speak for the same weights in every bin, and for equal weights."""


@dataclass
class Habit(SequenceModel):
    """Shares of a case's own past and of what is usual, weighed by what kind of past it is.

    Learns: weights_  float64 (bins, 2 + fades + 2), see `kernels.habit`
            usual_    float64 (2, n_vocabulary): how often each activity came next, always and lately
    """

    learned: ClassVar[tuple[str, ...]] = ("weights_", "usual_")

    def learn(self, coded: SequenceSet) -> Self:
        """Count what is usual, then weigh the views by the probability they gave to what came."""
        self.vocabulary_ = coded.vocabulary
        size = len(coded.vocabulary)
        every = Prefixes.of_cases(coded, 0)
        after = np.asarray(coded.tokens)[every.ends]
        moment = np.asarray(coded.times)[every.ends] if coded.timed else every.ends
        lately = moment >= np.quantile(moment, 1.0 - LATELY) if len(every) else np.zeros(0, dtype=bool)
        counts = np.stack([np.bincount(t, minlength=size) for t in (after, after[lately])]).astype(float)
        self.usual_ = _shares(counts)
        steps = every.thin(STEPS)
        truth = np.asarray(coded.tokens)[steps.ends]
        bins, parts = np.zeros(len(steps), dtype=np.int64), np.zeros((len(steps), len(FADES) + 2))
        kernel.habit_of_truth(*self._asked(coded, steps), bins, parts, size)
        late = np.zeros(coded.n_events, dtype=bool)
        late[every.ends] = lately
        own = np.stack([np.ones(len(steps)), late[steps.ends]])  # a step does not speak for itself
        known = np.maximum(counts[:, truth] - own, 0.0) + 0.5 / size
        usual = known / (counts.sum(axis=1)[:, None] - own + 0.5)
        self.weights_ = by_bin(np.concatenate([parts.T, usual]), bins, kernel.BINS, BIN_PULL, PULL)
        return self

    @staticmethod
    def _asked(
        coded: SequenceSet, prefixes: Prefixes
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray, int, np.ndarray]:
        """The log, the prefixes in it and how they are read, as the kernels want them."""
        tokens = readonly(coded.tokens, np.int32)
        starts, ends = (np.ascontiguousarray(a, np.int64) for a in (prefixes.starts(coded), prefixes.ends))
        return tokens, starts, ends, MOST, np.array(FADES)

    def rows(self, coded: SequenceSet, prefixes: Prefixes) -> np.ndarray:
        """The views, weighed."""
        rows = np.empty((len(prefixes), len(self.vocabulary_)))
        kernel.fill_habits(rows, *self._asked(coded, prefixes), self.usual_, self.weights_)
        return rows


def _shares(counts: np.ndarray) -> np.ndarray:
    """Rows of counts (n, n_vocabulary) as shares; half a count is spread over all, padding gets none."""
    known = counts + 0.5 / max(counts.shape[1] - UNKNOWN, 1)
    known[:, 0] = 0.0
    result: np.ndarray = known / known.sum(axis=1, keepdims=True)
    return result
