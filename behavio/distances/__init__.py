"""How unlike two journeys are: distances of distinct traces, medoids, clusters of any number of cases.

Each distinct trace is compared once and carries the number of its cases as its weight; distances are kept
as the upper triangle in float32, never as a square. Above `MATRIX` distinct traces no matrix is made: see
`medoids.cluster`.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial

import numpy as np

from behavio.distances.costs import (
    constant_costs,
    dynamic_costs,
    same_length,
    transition_costs,
)
from behavio.distances.traces import DistinctTraces, distinct
from behavio.errors import JobError
from behavio.kernels.alignment import LANES, hamming_block, matching_block, scatter_block
from behavio.sequences import SequenceSet

__all__ = ["METHODS", "Dissimilarities", "Distance", "dissimilarities", "distinct"]

METHODS = ("matching", "hamming", "dynamic_hamming", "lcs", "edit")
Block = Callable[[np.ndarray, np.ndarray], np.ndarray]


@dataclass(frozen=True)
class Distance:
    """Which distance, and its costs.

    method        matching (optimal matching: substitute, insert, delete), hamming and dynamic_hamming
                  (same length, step by step), lcs (steps outside the longest common subsequence), edit
                  (Levenshtein)
    substitution  constant (2), or transitions: 2 − p(b after a) − p(a after b)
    indel         cost of inserting or deleting; by default half the dearest substitution, and 1 where
                  that is constant
    """

    method: str = "matching"
    substitution: str = "constant"
    indel: float | None = None

    def __post_init__(self) -> None:
        for what, known in (("method", METHODS), ("substitution", ("constant", "transitions"))):
            if getattr(self, what) not in known:
                raise JobError(
                    f"{what} {getattr(self, what)!r} is not known", hint=f"one of {', '.join(known)}"
                )
        if self.indel is not None and self.indel <= 0:
            raise JobError(f"indel = {self.indel} must be above 0")

    def blocks(self, traces: DistinctTraces) -> Block:
        """A function of (rows, columns): distances of row traces to at most LANES column traces.

        Costs are learnt from `traces`. Raises LogError when a step-by-step distance meets unequal lengths.
        """
        if self.method in ("lcs", "edit"):
            return partial(_text_block, _texts(traces), self.method)
        flat = (traces.tokens, traces.offsets, traces.weights, traces.n_symbols)
        if self.method == "dynamic_hamming":
            return partial(_hamming, traces, dynamic_costs(*flat))
        learnt = self.substitution == "transitions"
        costs = transition_costs(*flat) if learnt else constant_costs(traces.n_symbols)
        if self.method == "hamming":
            same_length(traces.offsets)
            return partial(_hamming, traces, costs[None] if learnt else costs[None] / 2)
        indel = self.indel if self.indel is not None else max(float(costs.max()), 1e-6) / 2
        return partial(_matching, traces, costs[None], np.float32(indel))


@dataclass(frozen=True, slots=True, eq=False)
class Dissimilarities:
    """Distances of all pairs of distinct traces.

    condensed  float32 (n·(n − 1)/2,): the upper triangle, row by row, as scipy.spatial.distance has it
    traces     the distinct traces, their weights, and the trace of each case
    """

    condensed: np.ndarray
    traces: DistinctTraces

    def __len__(self) -> int:
        return len(self.traces)

    def between(self, a: int, b: int) -> float:
        """Distance of two distinct traces."""
        if a == b:
            return 0.0
        a, b = min(a, b), max(a, b)
        n = len(self)
        return float(self.condensed[a * n - a * (a + 1) // 2 + b - a - 1])

    def cases(self, a: int, b: int) -> float:
        """Distance of the traces of two cases."""
        return self.between(int(self.traces.group[a]), int(self.traces.group[b]))


def dissimilarities(sequences: SequenceSet, distance: Distance | None = None) -> Dissimilarities:
    """Distances of all distinct traces of a log.

    Memory: 2 n² bytes for n distinct traces. Raises LogError when traces differ in length and the distance
    goes step by step.

    >>> log = SequenceSet.from_traces([["a", "b"], ["a", "c"], ["a"], ["a", "b"]])
    >>> found = dissimilarities(log)
    >>> [found.cases(0, i) for i in range(4)]
    [0.0, 2.0, 1.0, 0.0]
    """
    traces = distinct(sequences)
    return Dissimilarities(triangle(traces, (distance or Distance()).blocks(traces)), traces)


def triangle(traces: DistinctTraces, block: Block) -> np.ndarray:
    """The condensed matrix, block by block on all cores (the kernels release the GIL)."""
    n, order = len(traces), traces.order
    out = np.zeros(n * (n - 1) // 2, np.float32)

    def one(first: int) -> None:
        found = block(order[: first + LANES], order[first : first + LANES])
        scatter_block(found, order, first, out)

    with ThreadPoolExecutor(os.cpu_count() or 1) as pool:
        for _ in pool.map(one, range(0, n, LANES)):
            pass
    return out


def _matching(
    traces: DistinctTraces, costs: np.ndarray, indel: np.float32, rows: np.ndarray, columns: np.ndarray
) -> np.ndarray:
    return matching_block(traces.tokens, traces.offsets, rows, columns, costs, indel)


def _hamming(traces: DistinctTraces, costs: np.ndarray, rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
    return hamming_block(traces.tokens, traces.offsets, rows, columns, costs)


def _texts(traces: DistinctTraces) -> list[str]:
    """Each trace as a text, one letter per activity, as rapidfuzz compares fastest."""
    letters = "".join(map(chr, traces.tokens + 1 + 0xD800 * (traces.tokens >= 0xD700)))
    return [letters[a:b] for a, b in zip(traces.offsets[:-1], traces.offsets[1:], strict=True)]


def _text_block(texts: list[str], method: str, rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
    from rapidfuzz import process
    from rapidfuzz.distance import Indel, Levenshtein

    scorer = Indel.distance if method == "lcs" else Levenshtein.distance
    found = np.zeros((len(rows), LANES), np.float32)
    found[:, : len(columns)] = process.cdist(
        [texts[i] for i in rows], [texts[i] for i in columns], scorer=scorer, dtype=np.uint32
    )
    return found
