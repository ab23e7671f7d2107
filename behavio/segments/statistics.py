"""What a semi-Markov chain needs to know of a case: sparse counts, gathered shard by shard.

Only edges that occur are kept, so a log of 600 activities stays as small as its events. A step starts
from a state of the view (`views.View`), most often the activity before it. Where it is known
who acted, every act of the company is one and the same target, 0, and its timing is not counted: what
the company does is given, a case is described by what it does in between. One row of `CaseStatistics`
holds, in this order of columns:

    start      (n_tokens,)  1 for the first activity
    edges      (n_edges,)   how often each directly-follows pair occurs
    ties       (n_classes,) gaps of at most one second: a point mass, no length to speak of
    gaps       (n_classes,) gaps above one second
    log_gaps   (n_classes,) sum of the logarithms of those gaps (seconds)
    squares    (n_classes,) sum of the squares of those logarithms
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any

import numpy as np

from behavio.engine import Count
from behavio.segments.views import GIVEN, View
from behavio.sequences import SequenceSet

TIE_S = 1.0
MAX_CLASSES = 64
"""Gap classes: the most frequent edges have their own, the rest share one per source activity."""


@dataclass(frozen=True, slots=True, eq=False)
class Edges:
    """Which columns there are: the edges that occur and the gap class of each.

    keys         int64 (n_edges,)   source * n_tokens + target, strictly rising; a source is a state of a view
    gap_class    int32 (n_edges,)   class of the edge's gap; empty log of gaps: all −1
    rest_class   int32 (n_states,)  class of a gap after this state along an edge that is not listed
    n_classes
    view         what a step comes from
    """

    keys: np.ndarray
    gap_class: np.ndarray
    rest_class: np.ndarray
    n_classes: int
    view: View

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
        return self.n_tokens + len(self.keys) + 4 * self.n_classes

    @classmethod
    def of(cls, counts: EdgeCounts, timed: bool, view: View) -> Edges:
        """Lay out the columns for these edges: a gap class for every frequent edge or activity."""
        keys, n_tokens, n_states = counts.keys, view.n_tokens, view.n_states
        if not timed or len(keys) == 0:
            none = np.full(len(keys), -1, np.int32)
            return cls(keys, none, np.full(n_states, -1, np.int32), 0, view)
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
        return cls(keys, gap_class, rest_class, n_classes, view)


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
    keys, case, gaps = steps.source * edges.n_tokens + steps.target, steps.case, steps.gap
    at = np.searchsorted(edges.keys, keys)
    seen = np.zeros(len(keys), bool)
    if len(edges.keys):
        seen = edges.keys[np.minimum(at, len(edges.keys) - 1)] == keys
    # an activity the model does not know is no edge even where the layout met "unknown" itself
    seen &= ~steps.odd
    rows = [np.arange(shard.n_cases), case[seen]]
    columns = [edges.target_of[shard.tokens[shard.offsets[:-1]]].astype(np.int64), edges.n_tokens + at[seen]]
    values = [np.ones(shard.n_cases), np.ones(int(seen.sum()))]
    if edges.n_classes:
        gap_class = edges.rest_class[keys // edges.n_tokens]
        gap_class[seen] = edges.gap_class[at[seen]]
        own = np.flatnonzero(keys % edges.n_tokens != GIVEN)
        for block, where, value in _gap_blocks(gaps, own):
            rows.append(case[where])
            columns.append(
                edges.n_tokens + len(edges.keys) + block * edges.n_classes + gap_class[where].astype(np.int64)
            )
            values.append(value)
    weight = np.minimum(1.0, effective_length / shard.lengths)
    row = np.concatenate(rows)
    entries = (np.concatenate(values) * weight[row], (row, np.concatenate(columns)))
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


def _gap_blocks(gaps: np.ndarray, own: np.ndarray) -> list[tuple[int, np.ndarray, np.ndarray]]:
    """(block of columns, which gaps, what each adds) for ties, gaps, log gaps and their squares."""
    tie, real = own[gaps[own] <= TIE_S], own[gaps[own] > TIE_S]
    logs = np.log(gaps[real])
    return [
        (0, tie, np.ones(len(tie))),
        (1, real, np.ones(len(real))),
        (2, real, logs),
        (3, real, logs * logs),
    ]
