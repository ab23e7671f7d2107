"""The heuristics net of pm4py (Weijters, van der Aalst & de Medeiros 2006), fed with weighted variants."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from itertools import pairwise

import polars as pl

from behavio.process.variants import WeightedVariants
from behavio.sequences import Vocabulary

DEPENDENCY_SCHEMA: dict[str, pl.DataType] = {
    "source": pl.String(),
    "target": pl.String(),
    "frequency": pl.Int64(),
    "dependency": pl.Float64(),
}


@dataclass(frozen=True, slots=True, eq=False)
class HeuristicsNet:
    """Steps that hold in one direction more than chance would have it.

    table   DEPENDENCY_SCHEMA, strongest first: dependency from 0 to 1, near 1 where the target really
            depends on the source
    starts, ends  activities cases begin with, and were last seen at, with the number of cases
    """

    table: pl.DataFrame
    starts: dict[str, int]
    ends: dict[str, int]


def heuristics(
    variants: WeightedVariants, vocabulary: Vocabulary, dependency: float = 0.5, loop_two: float = 0.5
) -> HeuristicsNet:
    """Heuristics net of a log.

    dependency  a step from a to b is kept where (ab − ba) / (ab + ba + 1) is at least this
    loop_two    the same for loops over two activities
    """
    from pm4py.algo.discovery.heuristics.variants import classic

    names = vocabulary.names
    pairs: Counter[tuple[str, str]] = Counter()
    second: Counter[tuple[str, str]] = Counter()
    triples: Counter[tuple[str, str, str]] = Counter()
    often: Counter[str] = Counter()
    starts: Counter[str] = Counter()
    ends: Counter[str] = Counter()
    for ids, cases in variants.counter().items():
        trace = [names[i] for i in ids]
        starts[trace[0]] += cases
        ends[trace[-1]] += cases
        for name in trace:
            often[name] += cases
        for pair in pairwise(trace):
            pairs[pair] += cases
        for a, b, c in zip(trace, trace[1:], trace[2:], strict=False):
            second[a, c] += cases
            triples[a, b, c] += cases
    net = classic.apply_heu_dfg(
        dict(sorted(pairs.items())),
        activities=sorted(often),
        activities_occurrences=dict(sorted(often.items())),
        start_activities=dict(sorted(starts.items())),
        end_activities=dict(sorted(ends.items())),
        dfg_window_2=dict(sorted(second.items())),
        freq_triples=dict(sorted(triples.items())),
        parameters={"dependency_thresh": dependency, "loop_length_two_thresh": loop_two},
    )
    rows = [
        (name, other.node_name, pairs[name, other.node_name], max(float(e.dependency_value) for e in edges))
        for name, node in net.nodes.items()
        for other, edges in node.output_connections.items()
    ]
    table = pl.DataFrame(rows, schema=DEPENDENCY_SCHEMA, orient="row").sort(
        "dependency", "frequency", "source", "target", descending=[True, True, False, False]
    )
    return HeuristicsNet(table, dict(sorted(starts.items())), dict(sorted(ends.items())))
