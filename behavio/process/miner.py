"""The inductive miner of pm4py, fed with weighted variants, with its two slow functions replaced.

IMf: Leemans, Fahland & van der Aalst 2013. Nine tenths of pm4py's time go into counting what directly follows
what in Python, again and again, most of it to try a log without each of its activities. Both are counted
here with kernels over ids instead; cuts, fall-throughs and their order stay pm4py's, so the tree is the same.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import chain, pairwise
from threading import Lock
from typing import Any

import numpy as np

from behavio.kernels.orders import neighbours_without
from behavio.process.tree import ProcessModel, Tree
from behavio.process.variants import WeightedVariants
from behavio.sequences import Vocabulary

MAX_EVENTS = 12_000
"""The miner's time grows faster than the length of the variants it is given; a page shows no more anyway."""

Log = Counter[tuple[int, ...]]
ONE_AT_A_TIME = Lock()


def discover(
    variants: WeightedVariants,
    vocabulary: Vocabulary,
    *,
    noise: float = 0.2,
    coverage: float = 0.8,
    max_variants: int = 500,
    max_activities: int = 30,
) -> ProcessModel:
    """Inductive-miner process tree of the most frequent variants.

    variants  distinct traces and their cases, most frequent first
    noise     share of the strongest successor below which the miner ignores a rarer one, 0 to 1
    """
    kept = variants.project(max_activities).top(coverage, max_variants, MAX_EVENTS)
    found = process_tree(kept, vocabulary.names, noise)
    return ProcessModel(
        tree=_own_tree(found),
        noise=noise,
        n_cases=int(variants.cases.sum()),
        cases_used=int(kept.cases.sum()),
        variants_used=len(kept.cases),
        activities_used=len(np.unique(kept.tokens)),
        n_activities=len(np.unique(variants.tokens)),
        variants=kept,
    )


def process_tree(variants: WeightedVariants, names: tuple[str, ...], noise: float) -> Any:
    """pm4py's process tree of all these variants, folded and sorted as pm4py does.

    The miner works on ids: sets of small integers are walked in the same order in every process, and names
    sort as their ids do.
    """
    from pm4py.algo.discovery.inductive.dtypes.im_ds import IMDataStructureUVCL
    from pm4py.algo.discovery.inductive.variants.im import IMUVCL
    from pm4py.algo.discovery.inductive.variants.imf import IMFUVCL
    from pm4py.objects.process_tree.utils import generic

    parameters = {"noise_threshold": noise, "multiprocessing": False}
    miner = IMFUVCL(parameters) if noise > 0 else IMUVCL(parameters)
    with quick_counting():
        found = miner.apply(IMDataStructureUVCL(variants.counter()), parameters)
    _name(found, names)
    found = generic.fold(found)
    generic.tree_sort(found)
    return found


def _name(tree: Any, names: tuple[str, ...]) -> None:
    if tree.label is not None:
        tree.label = names[tree.label]
    for child in tree.children:
        _name(child, names)


@contextmanager
def quick_counting() -> Iterator[None]:
    """For the time of a block, pm4py's miner counts with the functions below; one block at a time."""
    from pm4py.algo.discovery.inductive.fall_through.activity_concurrent import ActivityConcurrentUVCL
    from pm4py.util.compression import util

    with ONE_AT_A_TIME:
        count, candidate = util.discover_dfg_uvcl, ActivityConcurrentUVCL.__dict__["_get_candidate"]
        util.discover_dfg_uvcl = directly_follows
        ActivityConcurrentUVCL._get_candidate = staticmethod(concurrent_activity)
        try:
            yield
        finally:
            util.discover_dfg_uvcl = count
            ActivityConcurrentUVCL._get_candidate = candidate


def directly_follows(log: Log) -> Any:
    """pm4py's directly-follows graph of weighted variants."""
    from pm4py.objects.dfg.obj import DFG

    pairs: dict[tuple[int, int], int] = {}
    starts: dict[int, int] = {}
    ends: dict[int, int] = {}
    get = pairs.get
    for trace, cases in log.items():
        if trace:
            starts[trace[0]] = starts.get(trace[0], 0) + cases
            ends[trace[-1]] = ends.get(trace[-1], 0) + cases
            for pair in pairwise(trace):
                pairs[pair] = get(pair, 0) + cases
    found = DFG()
    found.graph.update(pairs)
    found.start_activities.update(starts)
    found.end_activities.update(ends)
    return found


def concurrent_activity(obj: Any, pool: Any, manager: Any, parameters: Any = None) -> int | None:
    """The first activity without which the log has a cut.

    Whether a cut holds depends only on which neighbours there are, so no log is filtered to see it.
    """
    from pm4py.algo.discovery.inductive.cuts.factory import CutFactory
    from pm4py.algo.discovery.inductive.dtypes.im_ds import IMDataStructureUVCL
    from pm4py.algo.discovery.inductive.variants.instances import IMInstance
    from pm4py.objects.dfg.obj import DFG

    log: Log = obj.data_structure
    lengths = np.fromiter(map(len, log), dtype=np.int64, count=len(log))
    tokens = np.fromiter(chain.from_iterable(log), dtype=np.int64, count=int(lengths.sum()))
    offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    known, codes = np.unique(tokens, return_inverse=True)
    for i, activity in enumerate(known.tolist()):
        edges, starts, ends = neighbours_without(codes, offsets, len(known), i)
        without = DFG()
        pairs = zip(known[np.nonzero(edges)[0]].tolist(), known[np.nonzero(edges)[1]].tolist(), strict=True)
        without.graph.update(dict.fromkeys(pairs, 1))
        without.start_activities.update(dict.fromkeys(known[starts].tolist(), 1))
        without.end_activities.update(dict.fromkeys(known[ends].tolist(), 1))
        tried = IMDataStructureUVCL(Counter(), without)
        cuts = CutFactory.get_cuts(tried, IMInstance.IM, parameters=parameters)
        if any(cut.holds(tried, parameters) is not None for cut in cuts):
            return int(activity)
    return None


def _own_tree(found: Any) -> Tree:
    """pm4py's tree as ours."""
    if found.operator is None:
        return Tree(activity=str.__str__(found.label) if found.label is not None else "")
    names = {"SEQUENCE": "sequence", "XOR": "choice", "PARALLEL": "parallel", "LOOP": "loop"}
    return Tree(names[found.operator.name], children=tuple(_own_tree(c) for c in found.children))
