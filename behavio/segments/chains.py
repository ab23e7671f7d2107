"""k semi-Markov chains side by side: their parameters, and how they are estimated from statistics."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from behavio.segments.statistics import Edges

MIN_VARIANCE = 0.05**2
"""Of a log gap: a gap that never varies must not make one case infinitely likely."""

GAP_SMOOTHING = 5.0
"""A mean and a variance need more events than a probability before they are believed."""


@dataclass(frozen=True, slots=True, eq=False)
class Chains:
    """Parameters of k chains over E edges, C gap classes, V tokens.

    shares       float64 (k,)     share of cases
    start        float64 (k, V)   probability of the first activity
    transitions  float64 (k, E)   probability of each listed edge, given its source
    ties         float64 (k, C)   probability that a gap is no longer than a second
    mean, sd     float64 (k, C)   of the logarithm of a longer gap, in seconds
    """

    shares: np.ndarray
    start: np.ndarray
    transitions: np.ndarray
    ties: np.ndarray
    mean: np.ndarray
    sd: np.ndarray

    @property
    def coefficients(self) -> np.ndarray:
        """float64 (n_features, k): times a row of statistics this is the row's log-likelihood."""
        variance = self.sd**2
        level = -0.5 * np.log(2 * np.pi * variance) - self.mean**2 / (2 * variance)
        blocks = (
            np.log(self.start),
            np.log(self.transitions),
            np.log(self.ties),
            np.log1p(-self.ties) + level,
            self.mean / variance,
            -0.5 / variance,
        )
        return np.ascontiguousarray(np.concatenate(blocks, axis=1).T)

    def order(self, places: np.ndarray) -> Chains:
        """The same chains in another order."""
        return Chains(*(getattr(self, name)[places] for name in PARAMETERS))


PARAMETERS = ("shares", "start", "transitions", "ties", "mean", "sd")


@dataclass(frozen=True, slots=True, eq=False)
class Habits:
    """What the whole log does: the estimate every chain is drawn towards, each array (1, …)."""

    start: np.ndarray
    transitions: np.ndarray
    ties: np.ndarray
    mean: np.ndarray
    variance: np.ndarray

    @classmethod
    def of(cls, total: np.ndarray, edges: Edges) -> Habits:
        """Estimate from the statistics of all cases added up, float64 (n_features,)."""
        start, counts, ties, gaps, logs, squares = split(total[:, None], edges)
        start = start + 0.5
        seen = np.maximum(
            counts, 0.1
        )  # an edge of the layout that these cases never take is rare, not impossible
        mean = logs / np.maximum(gaps, 1e-9)
        spread = squares / np.maximum(gaps, 1e-9) - mean**2
        return cls(
            start=start / start.sum(axis=1, keepdims=True),
            transitions=seen / out_of(seen, edges),
            ties=(ties + 0.5) / (ties + gaps + 1.0),
            mean=mean,
            variance=np.where(gaps < 2, 1.0, np.maximum(spread, MIN_VARIANCE)),
        )


def split(statistics: np.ndarray, edges: Edges) -> tuple[np.ndarray, ...]:
    """The blocks start, edges, ties, gaps, log_gaps, squares of (n_features, k), each as (k, …)."""
    sizes = [edges.n_tokens, len(edges.keys), *[edges.n_classes] * 4]
    cuts = np.cumsum(sizes)[:-1]
    return tuple(block.T for block in np.split(statistics, cuts))


def out_of(counts: np.ndarray, edges: Edges) -> np.ndarray:
    """For each edge how often its source is left, same shape (k, E) as `counts`."""
    if len(edges.keys) == 0:
        return np.ones_like(counts)
    first = np.flatnonzero(np.diff(edges.source, prepend=-1))
    per_source = np.add.reduceat(counts, first, axis=1)
    return np.repeat(per_source, np.diff(first, append=len(edges.keys)), axis=1)


def m_step(
    statistics: np.ndarray, cases: np.ndarray, habits: Habits, edges: Edges, smoothing: float
) -> Chains:
    """Chains from posterior-weighted statistics, as if `smoothing` events of the whole log came first.

    statistics float64 (n_features, k), cases float64 (k,): posterior-weighted number of cases
    """
    start, counts, ties, gaps, logs, squares = split(statistics, edges)
    mean, variance = gap_estimates(gaps, logs, squares, habits, smoothing)
    shares = np.maximum(cases, 1e-9)
    return Chains(
        shares=shares / shares.sum(),
        start=(start + smoothing * habits.start) / (start.sum(axis=1, keepdims=True) + smoothing),
        transitions=(counts + smoothing * habits.transitions) / (out_of(counts, edges) + smoothing),
        ties=(ties + smoothing * habits.ties) / (ties + gaps + smoothing),
        mean=mean,
        sd=np.sqrt(variance),
    )


def gap_estimates(
    gaps: np.ndarray, logs: np.ndarray, squares: np.ndarray, habits: Habits, smoothing: float
) -> tuple[np.ndarray, np.ndarray]:
    """Mean and variance of log gaps, float64 (k, C) each, in two steps.

    First how much slower and how much more irregular a chain is over all kinds of gaps; then each kind,
    drawn towards that. So a tempo that runs through everything is found with few events of each kind.
    """
    weight = gaps / habits.variance
    slower = (logs / habits.variance - weight * habits.mean).sum(axis=1, keepdims=True)
    slower /= weight.sum(axis=1, keepdims=True) + smoothing
    centre = habits.mean + slower
    around = squares - 2 * centre * logs + gaps * centre**2
    irregular = (around / habits.variance).sum(axis=1, keepdims=True) + smoothing
    irregular /= gaps.sum(axis=1, keepdims=True) + smoothing
    drawn_to = np.maximum(habits.variance * irregular, MIN_VARIANCE)
    pull = GAP_SMOOTHING * smoothing
    mean = (logs + pull * centre) / (gaps + pull)
    spread = squares - 2 * mean * logs + gaps * mean**2
    variance = (spread + pull * (drawn_to + (mean - centre) ** 2)) / (gaps + pull)
    return mean, np.maximum(variance, MIN_VARIANCE)
