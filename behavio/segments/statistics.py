"""What a semi-Markov chain needs to know of a case: sparse counts, gathered shard by shard.

Only edges that occur are kept, so a log of 600 activities stays as small as its events. A step starts
from a state of the view (`views.View`), most often the activity before it. Where it is known
who acted, every act of the company is one and the same target, 0, and its timing is not counted: what
the company does is given, a case is described by what it does in between. One row of `CaseStatistics`
holds, in this order of columns:

    start      (n_tokens,)  1 for the first activity
    edges      (n_edges,)   how often each directly-follows pair occurs
    waits      (n_classes, 1 + BINS) how many gaps of each class are of at most one second (no length to
               speak of), and how many fall into each twelfth of the gaps of that class in the whole log
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property, partial
from typing import Any

import numpy as np

from behavio.engine import Count
from behavio.segments.views import GIVEN, Steps, View
from behavio.sequences import SequenceSet

TIE_S = 1.0
MAX_CLASSES = 64
"""Gap classes: the most frequent edges have their own, the rest share one per source activity."""

BINS = 12
"""Real waits have no shape of their own: a bell curve makes groups of its misfits, twelfths do not."""

FINE, FINEST = 16, 1 << 10
"""Waits are counted in sixteenths of an octave before they are cut into twelfths; the end of that scale."""


@dataclass(frozen=True, slots=True, eq=False)
class Edges:
    """Which columns there are: the edges that occur and the gap class of each.

    keys         int64 (n_edges,)   source * n_tokens + target, strictly rising; a source is a state of a view
    gap_class    int32 (n_edges,)   class of the edge's gap; empty log of gaps: all −1
    rest_class   int32 (n_states,)  class of a gap after this state along an edge that is not listed
    cuts         int32 (n_classes, BINS - 1)  where twelfths of a class end, in sixteenths of an octave of a
                 second, rising; FINEST where a class has fewer different gaps than twelfths
    view         what a step comes from
    """

    keys: np.ndarray
    gap_class: np.ndarray
    rest_class: np.ndarray
    cuts: np.ndarray
    view: View

    @property
    def n_classes(self) -> int:
        """Number of gap classes."""
        return len(self.cuts)

    @property
    def n_tokens(self) -> int:
        """Size of the vocabulary."""
        return self.view.n_tokens

    @property
    def target_of(self) -> np.ndarray:
        """int32 (n_tokens,): what a token counts as when it is a target, itself or 0 (given)."""
        return self.view.target_of

    @property
    def source(self) -> np.ndarray:
        """int64 (n_edges,): state before, the token itself where the view looks no further back."""
        return self.keys // self.n_tokens

    @property
    def target(self) -> np.ndarray:
        """int64 (n_edges,): token after."""
        return self.keys % self.n_tokens

    @property
    def n_features(self) -> int:
        """Columns of the statistics."""
        return self.n_tokens + len(self.keys) + (1 + BINS) * self.n_classes

    def bin_of(self, gap_class: np.ndarray, gaps: np.ndarray) -> np.ndarray:
        """0 for a gap of at most a second, else 1 + its twelfth in its class; int64, gaps in seconds."""
        scale = np.arange(self.n_classes)[:, None] * (FINEST + 1)
        ends = (scale + self.cuts).ravel()
        at = np.searchsorted(ends, gap_class * np.int64(FINEST + 1) + fine_of(gaps), side="left")
        return np.where(gaps <= TIE_S, 0, 1 + at - gap_class * np.int64(BINS - 1))

    def placed(self, steps: Steps) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Key and column int64 of each step, and whether it is listed: (n,) each."""
        keys = steps.source * self.n_tokens + steps.target
        at = np.searchsorted(self.keys, keys)
        seen = np.zeros(len(keys), bool)
        if len(self.keys):
            seen = self.keys[np.minimum(at, len(self.keys) - 1)] == keys
        # an activity the model does not know is no edge even where the layout met "unknown" itself
        return keys, at, seen & ~steps.odd

    def class_of(self, steps: Steps) -> np.ndarray:
        """Gap class of each step, int64 (n,)."""
        keys, at, seen = self.placed(steps)
        found = self.rest_class[keys // self.n_tokens].astype(np.int64)
        found[seen] = self.gap_class[at[seen]]
        return found

    @classmethod
    def of(cls, counts: EdgeCounts, timed: bool, view: View) -> Edges:
        """Lay out the columns for these edges: a gap class for every frequent edge or activity."""
        keys, n_tokens, n_states = counts.keys, view.n_tokens, view.n_states
        if not timed or len(keys) == 0:
            none = np.full(len(keys), -1, np.int32)
            return cls(keys, none, np.full(n_states, -1, np.int32), no_cuts(0), view)
        source = keys // n_tokens
        n = counts.n * (keys % n_tokens != GIVEN)
        # a class must be seen often enough to carry a mean and a spread for each of a few segments
        enough = max(100, int(0.005 * n.sum()))
        own = np.zeros(len(keys), bool)
        own[np.argsort(-n, kind="stable")[: MAX_CLASSES // 2]] = True
        own &= n >= enough
        rest = np.bincount(source, weights=n * ~own, minlength=n_states)
        frequent = np.zeros(n_states, bool)
        frequent[np.argsort(-rest, kind="stable")[: MAX_CLASSES // 2 - 1]] = True
        frequent &= rest >= enough
        rest_class = np.zeros(n_states, np.int32)
        rest_class[frequent] = 1 + np.arange(frequent.sum())
        gap_class = rest_class[source].copy()
        gap_class[own] = 1 + frequent.sum() + np.arange(own.sum())
        n_classes = int(1 + frequent.sum() + own.sum())
        return cls(keys, gap_class, rest_class, no_cuts(n_classes), view)

    def cut(self, waits: np.ndarray) -> Edges:
        """The same columns with twelfths of all waits, int64 (n_classes, FINEST) as `wait_count` gives."""
        return replace(self, cuts=np.stack([_twelfths(n) for n in waits]))


def no_cuts(n_classes: int) -> np.ndarray:
    """Every gap of a class in one part."""
    return np.full((n_classes, BINS - 1), FINEST, np.int32)


def fine_of(gaps: np.ndarray) -> np.ndarray:
    """In which sixteenth of an octave above a second a gap lies, int64, at most FINEST - 1."""
    with np.errstate(divide="ignore"):
        octave = np.floor(FINE * np.log2(np.maximum(gaps, TIE_S)))
    return np.minimum(octave, FINEST - 1).astype(np.int64)


def _twelfths(n: np.ndarray) -> np.ndarray:
    """Last sixteenth of every part but the last, int32 (BINS - 1,), FINEST where there are no more."""
    total = np.cumsum(n)
    ends = np.searchsorted(total, np.arange(1, BINS) / BINS * total[-1], side="left")
    ends = np.unique(ends[total[ends] < total[-1]]) if total[-1] else ends[:0]
    found = np.full(BINS - 1, FINEST, np.int32)
    found[: len(ends)] = ends
    return found


@dataclass(frozen=True, slots=True, eq=False)
class EdgeCounts:
    """keys int64 (n_edges,) strictly rising, n int64 (n_edges,): how often each edge occurs."""

    keys: np.ndarray
    n: np.ndarray

    def merge(self, other: EdgeCounts) -> EdgeCounts:
        """Counts of both logs."""
        keys, place = np.unique(np.concatenate([self.keys, other.keys]), return_inverse=True)
        n = np.bincount(place, weights=np.concatenate([self.n, other.n]), minlength=len(keys))
        return EdgeCounts(keys, n.astype(np.int64))


def target_of(sequences: SequenceSet) -> np.ndarray:
    """int32 (n_tokens,): each token itself, but 0 for what the company does, where the log tells.

    An activity is the company's when most of its events are outbound. Where nothing is inbound, or
    nothing outbound, every activity counts as itself.
    """
    n_tokens = len(sequences.vocabulary)
    own = np.arange(n_tokens, dtype=np.int32)
    direction = sequences.fields.get("direction")
    if direction is None:
        return own
    out = np.bincount(
        sequences.tokens[direction.codes == direction.vocabulary.id("outbound")], minlength=n_tokens
    )
    occurs = np.bincount(sequences.tokens, minlength=n_tokens)
    given = (2 * out > occurs) & (occurs > 0)
    return np.where(given, GIVEN, own).astype(np.int32) if (occurs[~given] > 0).any() else own


def wait_count(edges: Edges) -> Count[np.ndarray]:
    """How many gaps of each class lie in each sixteenth of an octave, int64 (n_classes, FINEST)."""
    return Count(of=partial(_waits_of, edges=edges), merge=np.add)


def _waits_of(shard: SequenceSet, edges: Edges) -> np.ndarray:
    steps = edges.view.steps(edges.view.shown(shard))
    keys, _, _ = edges.placed(steps)
    own = (keys % edges.n_tokens != GIVEN) & (steps.gap > TIE_S)
    cell = edges.class_of(steps)[own] * np.int64(FINEST) + fine_of(steps.gap[own])
    return np.bincount(cell, minlength=edges.n_classes * FINEST).reshape(-1, FINEST)


def edge_count(view: View) -> Count[EdgeCounts]:
    """Which edges occur, how often."""
    return Count(of=partial(_edges_of, view=view), merge=EdgeCounts.merge)


def _edges_of(shard: SequenceSet, view: View) -> EdgeCounts:
    steps = view.steps(view.shown(shard))
    keys, n = np.unique(steps.source * view.n_tokens + steps.target, return_counts=True)
    return EdgeCounts(keys, n.astype(np.int64))


@dataclass(frozen=True, eq=False)
class CaseStatistics:
    """Sufficient statistics of many cases as one CSR matrix, rows already weighted.

    indptr int64 (n_cases + 1,), indices int32 (nnz,), values float64 (nnz,)
    weight  float64 (n_cases,)  what one event of the case counts: 1, less in a very long case
    events  int64 (n_cases,)    events of the case
    unseen  int64 (n_cases,)    transitions the layout does not list: equally odd for every chain
    """

    indptr: np.ndarray
    indices: np.ndarray
    values: np.ndarray
    weight: np.ndarray
    events: np.ndarray
    unseen: np.ndarray

    @property
    def n_cases(self) -> int:
        """Number of rows."""
        return len(self.indptr) - 1

    @cached_property
    def effective_events(self) -> float:
        """Events counted with their weight."""
        return float(self.weight @ self.events)

    def merge(self, other: CaseStatistics) -> CaseStatistics:
        """Rows of both, in order."""
        return CaseStatistics(
            np.concatenate([self.indptr, self.indptr[-1] + other.indptr[1:]]),
            np.concatenate([self.indices, other.indices]),
            np.concatenate([self.values, other.values]),
            np.concatenate([self.weight, other.weight]),
            np.concatenate([self.events, other.events]),
            np.concatenate([self.unseen, other.unseen]),
        )

    def select(self, cases: np.ndarray) -> CaseStatistics:
        """The rows at these indices, in the given order."""
        length = np.diff(self.indptr)[cases]
        indptr = np.concatenate([[0], np.cumsum(length)])
        place = np.repeat(self.indptr[cases] - indptr[:-1], length) + np.arange(indptr[-1])
        return CaseStatistics(
            indptr,
            self.indices[place],
            self.values[place],
            self.weight[cases],
            self.events[cases],
            self.unseen[cases],
        )

    def total(self, n_features: int) -> np.ndarray:
        """float64 (n_features,): all rows added up."""
        return np.bincount(self.indices, weights=self.values, minlength=n_features)


def case_statistics(edges: Edges, effective_length: int) -> Count[CaseStatistics]:
    """Statistics of every case of a shard; merging appends rows."""
    of: Callable[[SequenceSet], Any] = partial(_statistics_of, edges=edges, effective_length=effective_length)
    return Count(of=of, merge=CaseStatistics.merge)


def _statistics_of(shard: SequenceSet, edges: Edges, effective_length: int) -> CaseStatistics:
    from scipy.sparse import coo_array

    shard = edges.view.shown(shard)
    steps = edges.view.steps(shard)
    keys, at, seen = edges.placed(steps)
    case = steps.case
    rows = [np.arange(shard.n_cases), case[seen]]
    columns = [edges.target_of[shard.tokens[shard.offsets[:-1]]].astype(np.int64), edges.n_tokens + at[seen]]
    if edges.n_classes:
        own = np.flatnonzero(keys % edges.n_tokens != GIVEN)
        gap_class = edges.class_of(steps)[own]
        part = gap_class * np.int64(1 + BINS) + edges.bin_of(gap_class, steps.gap[own])
        rows.append(case[own])
        columns.append(edges.n_tokens + len(edges.keys) + part)
    weight = np.minimum(1.0, effective_length / shard.lengths)
    row = np.concatenate(rows)
    entries = (weight[row], (row, np.concatenate(columns)))
    matrix = coo_array(entries, shape=(shard.n_cases, edges.n_features)).tocsr()
    matrix.sum_duplicates()
    return CaseStatistics(
        matrix.indptr.astype(np.int64),
        matrix.indices.astype(np.int32),
        matrix.data,
        weight,
        shard.lengths.astype(np.int64),
        np.bincount(case[~seen], minlength=shard.n_cases),
    )
