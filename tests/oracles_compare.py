"""Slow obvious twins of the comparison of two groups."""

from __future__ import annotations

from collections import Counter
from itertools import pairwise

Traces = list[list[str]]


def edge_share(traces: Traces, source: str, target: str) -> tuple[float, float] | None:
    """Share of the steps after source that go to target, and its variance between cases."""
    pairs = [Counter(pairwise(t)) for t in traces]
    n = [sum(v for (a, _), v in p.items() if a == source) for p in pairs]
    x = [p[source, target] for p in pairs]
    total, m = sum(n), sum(v > 0 for v in n)
    if total == 0:
        return None
    share = sum(x) / total
    left = sum((a - share * b) ** 2 for a, b in zip(x, n, strict=True))
    return share, left / total**2 * m / (m - 1) if m > 1 else 0.0


def cases_with(traces: Traces, activity: str) -> int:
    """Cases in which the activity occurs."""
    return sum(activity in t for t in traces)
