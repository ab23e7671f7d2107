"""k semi-Markov chains side by side: their parameters, and how they are estimated from statistics."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from behavio.kernels.semi_markov import evidence
from behavio.segments.statistics import BINS, Edges

GAP_SMOOTHING = 5.0
"""A whole distribution of waits needs more events than a probability before it is believed."""

GRID = tuple(5.0 * 4**i for i in range(7))
TEMPO_SMOOTHING = 20.0


@dataclass(frozen=True, slots=True, eq=False)
class Chains:
    """Parameters of k chains over E edges, C gap classes, V tokens.

    shares       float64 (k,)     share of cases
    start        float64 (k, V)   probability of the first activity
    transitions  float64 (k, E)   probability of each listed edge, given its source
    waits        float64 (k, C, 1 + BINS)  probability that a gap is of at most a second, or falls into each
                 twelfth of the gaps of its class in the whole log
    """

    shares: np.ndarray
    start: np.ndarray
    transitions: np.ndarray
    waits: np.ndarray

    @property
    def coefficients(self) -> np.ndarray:
        """float64 (n_features, k): times a row of statistics this is the row's log-likelihood."""
        k = len(self.shares)
        blocks = (np.log(self.start), np.log(self.transitions), np.log(self.waits).reshape(k, -1))
        return np.ascontiguousarray(np.concatenate(blocks, axis=1).T)

    def order(self, places: np.ndarray) -> Chains:
        """The same chains in another order."""
        return Chains(*(getattr(self, name)[places] for name in PARAMETERS))


PARAMETERS = ("shares", "start", "transitions", "waits")


@dataclass(frozen=True, slots=True, eq=False)
class Habits:
    """What the whole log does: the estimate every chain is drawn towards, each array (1, …)."""

    start: np.ndarray
    transitions: np.ndarray
    waits: np.ndarray

    @classmethod
    def of(cls, total: np.ndarray, edges: Edges) -> Habits:
        """Estimate from the statistics of all cases added up, float64 (n_features,)."""
        start, counts, waits = split(total[:, None], edges)
        start = start + 0.5
        seen = np.maximum(
            counts, 0.1
        )  # an edge of the layout that these cases never take is rare, not impossible
        waits = waits + 0.5
        return cls(
            start=start / start.sum(axis=1, keepdims=True),
            transitions=seen / out_of(seen, edges),
            waits=waits / waits.sum(axis=2, keepdims=True),
        )


def split(statistics: np.ndarray, edges: Edges) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The blocks start (k, V), edges (k, E) and waits (k, C, 1 + BINS) of (n_features, k)."""
    a, b = edges.n_tokens, edges.n_tokens + len(edges.keys)
    whole = statistics.T
    return whole[:, :a], whole[:, a:b], whole[:, b:].reshape(len(whole), edges.n_classes, 1 + BINS)


def out_of(counts: np.ndarray, edges: Edges) -> np.ndarray:
    """For each edge how often its source is left, same shape (k, E) as `counts`."""
    if len(edges.keys) == 0:
        return np.ones_like(counts)
    first = np.flatnonzero(np.diff(edges.source, prepend=-1))
    per_source = np.add.reduceat(counts, first, axis=1)
    return np.repeat(per_source, np.diff(first, append=len(edges.keys)), axis=1)


@dataclass(frozen=True, slots=True, eq=False)
class Beliefs:
    """How many events of the whole log come before a group's own in its estimates.

    start  for first activities    edges  float64 (E,) of each edge's source    waits  float64 (C,)
    tempo  for how fast a group is over all kinds of gaps
    evidence  log-likelihood of the groups' counts when their parameters are unknown; 0 where not asked
    """

    start: float
    edges: np.ndarray
    waits: np.ndarray
    tempo: float
    evidence: float = 0.0

    @classmethod
    def even(cls, smoothing: float, edges: Edges) -> Beliefs:
        """The same everywhere."""
        waits = np.full(edges.n_classes, GAP_SMOOTHING * smoothing)
        return cls(smoothing, np.full(len(edges.keys), smoothing), waits, smoothing)

    @classmethod
    def found(cls, statistics: np.ndarray, habits: Habits, edges: Edges) -> Beliefs:
        """Where groups differ little from each other, they are drawn to the whole log's habits.

        Of each activity it is asked how strong that pull must be to make the groups' counts of what follows
        likeliest: empirical Bayes. So what is only noise between groups does not blur what is not.
        """
        start, counts, waits = split(statistics, edges)
        k, n_edges = counts.shape
        first = np.flatnonzero(np.diff(edges.source, prepend=-1))
        usual = tempo_of(waits, habits, TEMPO_SMOOTHING).reshape(k, -1)
        opening, a = _strongest(start, habits.start, np.array([0, start.shape[1]]))
        rows, b = _strongest(counts, habits.transitions, np.append(first, n_edges))
        times, c = _strongest(waits.reshape(k, -1), usual, np.arange(edges.n_classes + 1) * (1 + BINS))
        following = np.repeat(rows, np.diff(first, append=n_edges))
        return cls(float(opening[0]), following, times, TEMPO_SMOOTHING, a + b + c)


def _strongest(counts: np.ndarray, prior: np.ndarray, bounds: np.ndarray) -> tuple[np.ndarray, float]:
    """The best number of GRID for each row of cells, float64 (rows,), and the evidence they reach."""
    best = np.empty(len(bounds) - 1)
    expected = np.ascontiguousarray(np.broadcast_to(prior, counts.shape))
    reached = evidence(np.ascontiguousarray(counts), expected, bounds.astype(np.int64), np.array(GRID), best)
    return best, float(reached)


def m_step(
    statistics: np.ndarray, cases: np.ndarray, habits: Habits, edges: Edges, beliefs: Beliefs
) -> Chains:
    """Chains from posterior-weighted statistics, as if events of the whole log came first.

    statistics float64 (n_features, k), cases float64 (k,): posterior-weighted number of cases
    """
    start, counts, waits = split(statistics, edges)
    shares = np.maximum(cases, 1e-9)
    first, pull, wait = beliefs.start, beliefs.edges, beliefs.waits[:, None]
    usual = tempo_of(waits, habits, beliefs.tempo)
    return Chains(
        shares=shares / shares.sum(),
        start=(start + first * habits.start) / (start.sum(axis=1, keepdims=True) + first),
        transitions=(counts + pull * habits.transitions) / (out_of(counts, edges) + pull),
        waits=(waits + wait * usual) / (waits.sum(axis=2, keepdims=True) + wait),
    )


def tempo_of(waits: np.ndarray, habits: Habits, smoothing: float) -> np.ndarray:
    """Expected waits of each chain by its tempo alone, float64 (k, C, 1 + BINS), each row sums to 1.

    How much more often a chain waits so long than everybody does, over all kinds of gaps: a tempo that runs
    through everything is found with few events of each kind.
    """
    usual = habits.waits * waits.sum(axis=2, keepdims=True)
    everyone = habits.waits.mean(axis=1) if habits.waits.shape[1] else np.ones((1, waits.shape[2]))
    before = smoothing * everyone + 1e-9
    more = (waits.sum(axis=1) + before) / (usual.sum(axis=1) + before)
    drawn_to = habits.waits * more[:, None, :]
    return np.asarray(drawn_to / drawn_to.sum(axis=2, keepdims=True))
