"""Slow, obvious answers for the models."""

from __future__ import annotations

from collections import Counter, defaultdict

import numpy as np


class SlowNGram:
    """Dictionary twin of NGram: contexts are tuples of names."""

    def __init__(self, order: int) -> None:
        self.order = order

    def fit(self, traces: list[list[str]]) -> SlowNGram:
        self.names = ["(unknown)", *sorted({a for t in traces for a in t})]
        self.after: dict[tuple[str, ...], Counter[str]] = defaultdict(Counter)
        for trace in traces:
            for i in range(1, len(trace)):
                for order in range(min(self.order, i) + 1):
                    self.after[tuple(trace[i - order : i])][trace[i]] += 1
        return self

    def row(self, prefix: list[str]) -> np.ndarray:
        p = {name: 1.0 / len(self.names) for name in self.names}
        for order in range(min(self.order, len(prefix)) + 1):
            seen = self.after.get(tuple(prefix[len(prefix) - order :]))
            if not seen:
                break
            n, kinds = sum(seen.values()), len(seen)
            p = {name: (seen[name] + kinds * p[name]) / (n + kinds) for name in self.names}
        return np.array([0.0, *(p[name] for name in self.names)])

    def evidence(self, prefix: list[str], activity: str, at_least: int) -> tuple[int, int, int]:
        for order in range(min(self.order, len(prefix)), 0, -1):
            seen = self.after.get(tuple(prefix[len(prefix) - order :]), Counter())
            if sum(seen.values()) >= at_least:
                return order, sum(seen.values()), seen[activity]
        return 0, sum(self.after[()].values()), self.after[()][activity]


def slow_gaps(
    logs: list[tuple[list[str], list[int]]], last: str, following: str, elapsed: int, at_least: int
) -> list[int]:
    """Sorted gaps (s) longer than `elapsed` of the narrowest level with enough of them."""
    steps = [
        (t[i - 1], t[i], s[i] - s[i - 1])
        for t, s in logs
        for i in range(1, len(t))
        if s[i] - s[i - 1] > elapsed
    ]
    levels = [
        sorted(g for a, b, g in steps if (a, b) == (last, following)),
        sorted(g for a, _, g in steps if a == last),
        sorted(g for _, _, g in steps),
    ]
    for gaps in levels[:2]:
        if len(gaps) >= at_least:
            return gaps
    return levels[2]
