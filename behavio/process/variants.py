"""Weighted variants, from which process models are discovered: their cost does not grow with events."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from behavio.kernels.arrays import readonly, take_groups
from behavio.kernels.traces import distinct_traces, order_traces


@dataclass(frozen=True, slots=True, eq=False)
class WeightedVariants:
    """Distinct traces, flat, with the number of cases that follow each."""

    tokens: np.ndarray
    offsets: np.ndarray
    cases: np.ndarray

    def project(self, n_activities: int) -> WeightedVariants:
        """Only the most frequent activities are kept; what then looks alike is one variant."""
        weights = np.repeat(self.cases, np.diff(self.offsets))
        frequency = np.bincount(self.tokens, weights=weights)
        kept = np.argsort(-frequency, kind="stable")[:n_activities]
        keep = np.zeros(len(frequency), dtype=bool)
        keep[kept] = frequency[kept] > 0
        events = keep[self.tokens]
        lengths = np.add.reduceat(events, self.offsets[:-1]).astype(np.int64)
        tokens = readonly(self.tokens[events], np.int32)
        offsets = np.concatenate([[0], np.cumsum(lengths[lengths > 0])]).astype(np.int64)
        cases = self.cases[lengths > 0]
        firsts, group = distinct_traces(tokens, readonly(offsets, np.int64))
        tokens, offsets = take_groups(tokens, offsets, firsts)
        joined = np.bincount(group, weights=cases, minlength=len(firsts)).astype(np.int64)
        order = order_traces(readonly(tokens, np.int32), readonly(offsets, np.int64), joined)
        return WeightedVariants(*take_groups(tokens, offsets, order), joined[order])

    def top(self, coverage: float, at_most: int, max_events: int) -> WeightedVariants:
        """The most frequent ones that hold `coverage` of the cases, within both limits; at least one.

        Where only some of equally frequent variants fit, they are taken evenly from all of these, which lie
        in alphabetical order: the first ones would only show how some names begin.
        """
        enough = int(np.searchsorted(np.cumsum(self.cases), coverage * self.cases.sum())) + 1
        fitting = int(np.searchsorted(self.offsets, max_events, side="right")) - 1
        n = max(1, min(enough, at_most, fitting, len(self.cases)))
        alike = np.flatnonzero(self.cases == self.cases[n - 1])
        heavier, wanted = int(alike[0]), n - int(alike[0])
        lengths = np.diff(self.offsets)
        while True:
            evenly = alike[np.arange(wanted) * len(alike) // wanted]
            index = np.concatenate([np.arange(heavier), evenly])
            if wanted == 1 or lengths[index].sum() <= max_events:
                break
            wanted = max(1, wanted * 9 // 10)
        return WeightedVariants(*take_groups(self.tokens, self.offsets, index), self.cases[index])

    def counter(self) -> Counter[tuple[int, ...]]:
        """Trace (as ids) → cases, in the order of the variants."""
        tokens, ends = self.tokens.tolist(), self.offsets.tolist()
        traces = (tuple(tokens[a:b]) for a, b in pairwise(ends))
        return Counter(dict(zip(traces, self.cases.tolist(), strict=True)))
