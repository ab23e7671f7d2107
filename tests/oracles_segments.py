"""Slow, obvious twins of the segment maths."""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np

from behavio.segments import SemiMarkovMixture
from behavio.sequences import SequenceSet


def slow_log_likelihood(model: SemiMarkovMixture, sequences: SequenceSet, group: int) -> list[float]:
    """log P(case | group), event by event, straight from the definition; every edge must be listed."""
    edges, chains = model.edges, model.chains
    place = {int(key): i for i, key in enumerate(edges.keys)}
    found = []
    for first, last in pairwise(sequences.offsets):
        tokens, times = sequences.tokens[first:last], sequences.times[first:last]
        total = math.log(chains.start[group, edges.target_of[tokens[0]]])
        for i in range(1, len(tokens)):
            target = int(edges.target_of[tokens[i]])
            edge = place[int(tokens[i - 1]) * edges.n_tokens + target]
            total += math.log(chains.transitions[group, edge])
            if edges.n_classes and target != 0:
                c = edges.gap_class[edge]
                gap = (times[i] - times[i - 1]) / 1e6
                part = 0  # of at most a second; else 1 and how many ends of twelfths lie below the gap
                if gap > 1:
                    part = 1 + sum(math.floor(16 * math.log2(gap)) > end for end in edges.cuts[c])
                total += math.log(chains.waits[group, c, part])
        found.append(total * min(1.0, model.effective_length / len(tokens)))
    return found


def planted(kind: str, n: int, seed: int, groups: int = 4, size: int = 20) -> tuple[SequenceSet, np.ndarray]:
    """Cases of known groups that differ in mix, only in order, only in time, mildly in all, or not at all.

    15–80 events of 20 activities, first-order chains, log-normal gaps in days; the groups of the anchors.
    """
    rng = np.random.default_rng(seed)
    base = rng.dirichlet(np.ones(size) * 0.5, size=size)
    chains = [base] * groups
    if kind == "mix":
        chains = [0.6 * base + 0.4 * rng.dirichlet(np.ones(size) * 0.3)[None] for _ in range(groups)]
    elif kind == "order":
        chains = []
        for _ in range(groups):  # sums of permutations: every activity is equally frequent in every group
            steps = np.full((size, size), 0.7 / size)
            for _ in range(3):
                steps[np.arange(size), rng.permutation(size)] += 0.1
            chains.append(steps / steps.sum(1, keepdims=True))
    elif kind == "all":
        chains = [0.8 * base + 0.2 * rng.dirichlet(np.ones(size) * 0.3, size=size) for _ in range(groups)]
    means = {"time": [0.0, 0.35, 0.0, 0.35], "all": [0.0, 0.2, 0.4, 0.6]}.get(kind, [0.0] * groups)
    spreads = {"time": [0.6, 0.6, 1.1, 1.1], "all": [0.8, 0.8, 1.0, 1.0]}.get(kind, [0.8] * groups)
    truth = rng.integers(0, groups, n)
    traces, times = [], []
    for g in truth:
        length = int(rng.integers(15, 81))
        steps, draws, trace = np.cumsum(chains[g], 1), rng.random(length), [int(rng.integers(size))]
        for u in draws[1:]:
            trace.append(min(size - 1, int(np.searchsorted(steps[trace[-1]], u))))
        traces.append([f"act{a:02d}" for a in trace])
        gaps = np.exp(rng.normal(means[g], spreads[g], length))
        times.append((np.cumsum(gaps) * 86_400).astype(np.int64).tolist())
    return SequenceSet.from_traces(traces, times), truth
