"""What of a directly-follows graph goes on a map: few enough activities and steps to be read."""

from __future__ import annotations

from dataclasses import dataclass

import polars as pl

from behavio.journeys.follows import DirectlyFollowsGraph
from behavio.journeys.layout import forward_order

PICKED = ("source", "target", "frequency", "median_s")
ENOUGH = 0.95
"""Share of what runs between the activities drawn that the lines need not exceed."""


@dataclass(frozen=True, slots=True)
class Step:
    """How often one activity comes right after another, and the median time between, if known."""

    frequency: int
    median_s: float | None


@dataclass(frozen=True, slots=True)
class Link:
    """Two activities joined by steps: `first` lies before `second` in the order of the map."""

    first: int
    second: int
    there: Step | None
    back: Step | None

    @property
    def frequency(self) -> int:
        """Steps of the stronger direction."""
        return max(s.frequency for s in (self.there, self.back) if s is not None)


@dataclass(frozen=True, slots=True)
class Choice:
    """What is drawn, and how much of all steps that is."""

    names: list[str]
    order: list[int]  # of the names, from where cases start onwards
    links: list[Link]
    loops: dict[int, Step]
    share: float
    n_edges: int  # different steps drawn, repeats of one activity included


def choose(graph: DirectlyFollowsGraph, max_nodes: int) -> Choice:
    """The most frequent activities, and the steps between them that are needed or carry most.

    The activity most cases start with is always kept. Of the steps, first the strongest ways by which every
    activity is reached and left; then the strongest others, until there are two per activity or 95 % of what
    runs between the activities is drawn.
    """
    names = _names(graph, max_nodes)
    index = {name: i for i, name in enumerate(names)}
    inner = graph.edges.filter(pl.col("source").is_in(names) & pl.col("target").is_in(names))
    steps = {(index[a], index[b]): Step(n, time) for a, b, n, time in inner.select(*PICKED).iter_rows()}
    loops = {a: step for (a, b), step in steps.items() if a == b}
    between = {edge: step for edge, step in steps.items() if edge[0] != edge[1]}
    weight = {edge: step.frequency for edge, step in between.items()}
    begins = dict(zip(graph.activities["activity"], graph.activities["starts"], strict=True))
    starts = [begins[name] for name in names]
    tree, reached = _tree(starts, weight)
    kept = tree | _onward(len(names), weight)
    carried, goal = sum(weight[e] for e in kept), ENOUGH * sum(weight.values())
    for edge, n in weight.items():  # strongest first, as the graph lists them
        if len(kept) >= 2 * len(names) or carried >= goal:
            break
        if edge not in kept:
            kept.add(edge)
            carried += n
    # what a node is reached by runs forward, however often the way back is taken
    tilted = {(a, b): n + (weight.get((b, a), 0) + 1) * ((a, b) in tree) for (a, b), n in weight.items()}
    order = forward_order(reached, tilted)
    shown = sum(weight[e] for e in kept) + sum(s.frequency for s in loops.values())
    return Choice(
        names=names,
        order=order,
        links=_links(order, {e: s for e, s in between.items() if e in kept}),
        loops=loops,
        share=shown / max(int(graph.edges["frequency"].sum()), 1),
        n_edges=len(kept) + len(loops),
    )


def _names(graph: DirectlyFollowsGraph, max_nodes: int) -> list[str]:
    """Activities one by one: the most frequent that is a usual next step of those already taken.

    Usual: at least one in twenty of its events comes right after one of them, or its cases start with it.
    """
    found = graph.activities.iter_rows(named=True)
    often = {row["activity"]: row["frequency"] for row in found}  # most frequent first
    starts = graph.activities.sort("starts", "frequency", "activity", descending=[True, True, False])
    into: dict[str, dict[str, int]] = {name: {} for name in often}
    for source, target, n in graph.edges.select("source", "target", "frequency").iter_rows():
        into[source][target] = n
    taken: list[str] = []
    usual = {row["activity"]: row["starts"] for row in graph.activities.iter_rows(named=True)}
    waiting = dict(often)
    while waiting and len(taken) < max_nodes:
        near = (name for name in waiting if 20 * usual[name] >= often[name])
        name = next(near, next(iter(waiting))) if taken else starts["activity"][0]
        taken.append(name)
        del waiting[name]
        for target, n in into[name].items():
            usual[target] += n
    return taken


def _links(order: list[int], steps: dict[tuple[int, int], Step]) -> list[Link]:
    place = {node: i for i, node in enumerate(order)}
    pairs = dict.fromkeys((a, b) if place[a] < place[b] else (b, a) for a, b in steps)
    return [Link(a, b, steps.get((a, b)), steps.get((b, a))) for a, b in pairs]


def _tree(starts: list[int], weight: dict[tuple[int, int], int]) -> tuple[set[tuple[int, int]], list[int]]:
    """Strongest ways by which every node is reached from where cases start, and the order that happens in.

    Nodes are reached one by one, over the strongest step from what is already reached (Prim 1957) or by
    being where more cases start.
    """
    kept: set[tuple[int, int]] = set()
    reached: list[int] = []
    left = set(range(len(starts)))
    while left:
        begin = max(left, key=lambda i: (starts[i], -i))
        steps = [(n, -a, -b) for (a, b), n in weight.items() if a not in left and b in left]
        if steps and max(steps)[0] >= starts[begin]:
            _, a, b = max(steps)
            kept.add((-a, -b))
            begin = -b
        left.remove(begin)
        reached.append(begin)
    return kept, reached


def _onward(n_nodes: int, weight: dict[tuple[int, int], int]) -> set[tuple[int, int]]:
    """Each node's strongest way on."""
    kept = set()
    for i in range(n_nodes):
        onward = [(n, -b) for (a, b), n in weight.items() if a == i]
        if onward:
            kept.add((i, -max(onward)[1]))
    return kept
