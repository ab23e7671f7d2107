"""Distinct traces with their weights, in one compact alphabet: what every distance is asked of."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from behavio.kernels.arrays import readonly, take_groups
from behavio.kernels.traces import distinct_traces
from behavio.sequences import SequenceSet


@dataclass(frozen=True, slots=True, eq=False)
class DistinctTraces:
    """Each distinct trace once.

    tokens   int32, in 0..n_symbols-1      offsets  int64 (n_distinct + 1,)
    weights  int64 (n_distinct,): cases    group    int64 (n_cases,): the trace of each case
    first    int64 (n_distinct,): a case that has it
    order    int64 (n_distinct,): by length, then tokens, so neighbours begin alike
    """

    tokens: np.ndarray
    offsets: np.ndarray
    weights: np.ndarray
    group: np.ndarray
    first: np.ndarray
    order: np.ndarray
    n_symbols: int

    def __len__(self) -> int:
        return len(self.weights)

    def take(self, index: np.ndarray) -> DistinctTraces:
        """Some of the traces, with their weights; `group` then only lists them."""
        tokens, offsets = take_groups(self.tokens, self.offsets, index)
        weights, first = self.weights[index], self.first[index]
        order = ordered(tokens, offsets)
        return DistinctTraces(tokens, offsets, weights, np.arange(len(index)), first, order, self.n_symbols)


def distinct(sequences: SequenceSet) -> DistinctTraces:
    """The distinct traces of a log, in order of first appearance."""
    tokens, offsets = readonly(sequences.tokens, np.int32), readonly(sequences.offsets, np.int64)
    first, group = distinct_traces(tokens, offsets)
    own, ends = take_groups(tokens, offsets, first)
    symbols, compact = np.unique(own, return_inverse=True)
    compact = compact.astype(np.int32)
    weights = np.bincount(group, minlength=len(first)).astype(np.int64)
    return DistinctTraces(compact, ends, weights, group, first, ordered(compact, ends), len(symbols))


def ordered(tokens: np.ndarray, offsets: np.ndarray) -> np.ndarray:
    """Indices of the traces by length, then by their tokens, int64 (n,)."""
    lengths = np.diff(offsets)
    order = np.argsort(lengths, kind="stable")
    parts = []
    for block in np.split(order, np.flatnonzero(np.diff(lengths[order])) + 1):
        table = tokens[offsets[block][:, None] + np.arange(lengths[block[0]])]
        parts.append(block[np.lexsort(table.T[::-1])])
    return np.concatenate(parts)
