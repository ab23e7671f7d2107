"""A layered drawing of a small directed graph (Sugiyama, Tagawa & Toda 1981), without any page in mind.

Positions have two axes: u runs along the layers, v across them. Every edge owns a slot in each layer it
passes, and its label a slot in a layer of its own, so no line crosses a box or a text.
"""

from __future__ import annotations

from bisect import bisect_right, insort
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import pairwise

Edge = tuple[int, int]
Size = tuple[float, float]  # along u, along v
Room = tuple[float, float, float]  # along u, and along v before and after the line

CORRIDOR = 26.0
"""Least room between two layers, where lines bend; more where they bend far."""
BOX_GAP, LINE_GAP = 18.0, 7.0


@dataclass(slots=True)
class Item:
    """Something that takes room in a layer: a box (node), or a line passing by, perhaps with its label."""

    layer: int
    depth: float
    above: float  # room along v before and after the item's own v
    below: float
    node: int = -1
    edge: int = -1
    labelled: bool = False
    v: float = 0.0
    before: list[int] = field(default_factory=list)  # neighbours in the layer before, by index of item
    after: list[int] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Ends:
    """What an item is joined to, in the layer before and in the one after, by index of item."""

    before: tuple[int, ...]
    after: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Drawing:
    """Where everything lies.

    boxes   centre (u, v) of each node
    lines   for each edge the points its line runs through, from source to target: side of the box, end of
            its layer, then begin and end of each layer it passes, up to the side of the other box; it runs
            straight inside layers and bends between
    labels  centre (u, v) of the slot of each edge's label
    """

    boxes: list[Size]
    lines: list[list[Size]]
    labels: list[Size]
    extent: Size
    n_layers: int


def forward_order(order: Sequence[int], weight: Mapping[Edge, float]) -> list[int]:
    """The order with single nodes moved to where less weight runs backwards, until no move helps."""
    now = list(order)
    for _ in range(len(now)):
        if not _improve(now, weight):
            break
    return now


def _improve(order: list[int], weight: Mapping[Edge, float]) -> bool:
    """Move each node once to its best place; True when anything moved."""
    moved = False
    for node in list(order):
        place = order.index(node)
        best, best_place = 0.0, place
        for step in (-1, 1):
            gain, other = 0.0, place + step
            while 0 <= other < len(order):
                mate = order[other]
                gain += step * (weight.get((mate, node), 0.0) - weight.get((node, mate), 0.0))
                if gain > best:
                    best, best_place = gain, other
                other += step
        if best_place != place:
            order.insert(best_place, order.pop(place))
            moved = True
    return moved


def layered(
    nodes: Sequence[Size],
    edges: Sequence[Edge],
    labels: Sequence[Room],
    order: Sequence[int],
) -> Drawing:
    """Draw: sizes of nodes and labels, edges between different nodes, and the order edges should follow."""
    if not nodes:
        return Drawing([], [], [], (0.0, 0.0), 0)
    items, slots, n_layers = _build(nodes, edges, labels, order)
    layers: list[list[int]] = [[] for _ in range(n_layers)]
    place = {node: i for i, node in enumerate(order)}
    first = {i: float(place[t.node]) if t.node >= 0 else 0.0 for i, t in enumerate(items)}
    for i, item in enumerate(items):
        if item.node < 0:
            first[i] = sum(place[e] for e in edges[item.edge]) / 2
    for i in sorted(range(len(items)), key=lambda i: (first[i], i)):
        layers[items[i].layer].append(i)
    layers = _untangle(items, layers)
    _straighten(items, layers)
    return _measure(items, slots, layers, nodes, edges, order)


def _build(
    nodes: Sequence[Size], edges: Sequence[Edge], labels: Sequence[Room], order: Sequence[int]
) -> tuple[list[Item], list[list[int]], int]:
    """Boxes and lines in layers: nodes in even ones, labels in odd ones; edges drawn left to right."""
    place = {node: i for i, node in enumerate(order)}
    forward = [(a, b) if place[a] < place[b] else (b, a) for a, b in edges]
    level = [0] * len(nodes)
    for node in order:
        before = [level[a] + 1 for a, b in forward if b == node]
        level[node] = max(before, default=0)
    for node in reversed(order):  # a node without anything before it moves next to what follows it
        after = [level[b] - 1 for a, b in forward if a == node]
        if after and not any(b == node for _, b in forward):
            level[node] = min(after)
    items = [Item(2 * level[i], u, v / 2, v / 2, node=i) for i, (u, v) in enumerate(nodes)]
    slots: list[list[int]] = []
    for e, (a, b) in enumerate(forward):
        first, last = 2 * level[a] + 1, 2 * level[b] - 1
        middle = 2 * ((first + last) // 4) + 1
        chain = []
        for layer in range(first, last + 1):
            labelled = layer == middle
            size = labels[e] if labelled else (0.0, 2.0, 2.0)
            items.append(Item(layer, *size, edge=e, labelled=labelled))
            chain.append(len(items) - 1)
        for one, next_ in pairwise([a, *chain, b]):
            items[one].after.append(next_)
            items[next_].before.append(one)
        slots.append(chain)
    return items, slots, 2 * max(level, default=0) + 1


def _crossings(items: Sequence[Ends], upper: Sequence[int], lower: Sequence[int]) -> int:
    """Crossings of the lines between two neighbouring layers."""
    where = {i: k for k, i in enumerate(lower)}
    passed: list[int] = []  # where the lines so far end, sorted
    found = 0
    for i in upper:
        ends = sorted([where[j] for j in items[i].after])
        for end in ends:
            found += len(passed) - bisect_right(passed, end)
        for end in ends:
            insort(passed, end)
    return found


def _untangle(items: list[Item], layers: list[list[int]], rounds: int = 24) -> list[list[int]]:
    """Reorder layers by the mean place of their neighbours, back and forth; the best order seen wins.

    What is joined to what decides, sizes do not: drawings of one graph at several widths share the answer.
    """
    ends = tuple(Ends(tuple(item.before), tuple(item.after)) for item in items)
    found = _untangled(ends, tuple(tuple(layer) for layer in layers), rounds)
    return [list(layer) for layer in found]


@lru_cache(maxsize=64)
def _untangled(
    items: tuple[Ends, ...], start: tuple[tuple[int, ...], ...], rounds: int
) -> tuple[tuple[int, ...], ...]:
    layers = [list(layer) for layer in start]

    def total(now: list[list[int]]) -> int:
        return sum(_crossings(items, a, b) for a, b in pairwise(now))

    best, fewest = start, total(layers)
    seen: set[tuple[bool, tuple[tuple[int, ...], ...]]] = set()
    for r in range(rounds):
        down = r % 2 == 0
        for k in range(1, len(layers)) if down else range(len(layers) - 2, -1, -1):
            beside = layers[k - 1 if down else k + 1]
            where = {i: p for p, i in enumerate(beside)}
            mean = {}
            for p, i in enumerate(layers[k]):
                near = items[i].before if down else items[i].after
                mean[i] = (
                    sum(where[j] for j in near) / len(near) if near else p * len(beside) / len(layers[k])
                )
            layers[k].sort(key=lambda i: mean[i])
        _swap_neighbours(items, layers)
        now = total(layers)
        order = tuple(tuple(layer) for layer in layers)
        if now < fewest:
            best, fewest = order, now
        if fewest == 0 or (down, order) in seen:  # nothing better to come: it only goes round from here
            break
        seen.add((down, order))
    return best


def _swap_neighbours(items: Sequence[Ends], layers: list[list[int]]) -> None:
    """Exchange two neighbours of a layer wherever that saves a crossing."""
    for k, layer in enumerate(layers):

        def local(layer: list[int] = layer, k: int = k) -> int:
            above = _crossings(items, layers[k - 1], layer) if k else 0
            return above + (_crossings(items, layer, layers[k + 1]) if k + 1 < len(layers) else 0)

        count = local()
        for p in range(len(layer) - 1):
            layer[p], layer[p + 1] = layer[p + 1], layer[p]
            after = local()
            if after < count:
                count = after
            else:
                layer[p], layer[p + 1] = layer[p + 1], layer[p]


def _gap(a: Item, b: Item) -> float:
    return BOX_GAP if a.node >= 0 or b.node >= 0 else LINE_GAP


def _settle(items: list[Item], layer: list[int], wanted: list[float], weights: list[float]) -> None:
    """Places closest to the wanted ones (least squares) that keep order and room: pooled neighbours."""
    offsets = [0.0]
    for a, b in pairwise(layer):
        room = items[a].below + items[b].above + _gap(items[a], items[b])
        offsets.append(offsets[-1] + room)
    blocks: list[tuple[float, float, int]] = []  # mean, weight, how many
    for want, offset, weight in zip(wanted, offsets, weights, strict=True):
        block = (want - offset, weight, 1)
        while blocks and blocks[-1][0] >= block[0]:
            mean, mass, n = blocks.pop()
            mass_both = mass + block[1]
            block = ((mean * mass + block[0] * block[1]) / mass_both, mass_both, n + block[2])
        blocks.append(block)
    places = [mean for mean, _, n in blocks for _ in range(n)]
    for i, place, offset in zip(layer, places, offsets, strict=True):
        items[i].v = place + offset


def _straighten(items: list[Item], layers: list[list[int]], rounds: int = 80) -> None:
    """Give every item a v near its neighbours'; lines that pass by pull hardest, so they run straight."""
    for layer in layers:
        _settle(items, layer, [0.0] * len(layer), [1.0] * len(layer))
    pulls = [[_pull(items, i, near) for i in range(len(items))] for near in ("before", "after", "both")]
    for r in range(rounds):
        down = r % 2 == 0
        side = pulls[2 if r >= rounds // 2 else 0 if down else 1]
        for k in range(len(layers)) if down else range(len(layers) - 1, -1, -1):
            wanted, weights = [], []
            for i in layers[k]:
                near, total = side[i]
                mean = sum([items[j].v * p for j, p in near]) / total if near else items[i].v
                wanted.append(mean)
                weights.append(max(total, 0.1))
            _settle(items, layers[k], wanted, weights)


def _pull(items: list[Item], i: int, side: str) -> tuple[list[tuple[int, float]], float]:
    """What pulls at an item from one side (from the other where there is nothing), and how hard."""
    both = items[i].before + items[i].after
    near = both if side == "both" else (items[i].before if side == "before" else items[i].after) or both
    pulls = [(j, 8.0 if items[i].node < 0 and items[j].node < 0 else 1.0) for j in near]
    return pulls, sum([p for _, p in pulls])


def _measure(
    items: list[Item],
    slots: list[list[int]],
    layers: list[list[int]],
    nodes: Sequence[Size],
    edges: Sequence[Edge],
    order: Sequence[int],
) -> Drawing:
    """Layers one after the other along u; lines from side to side of the boxes, each at its own height."""
    low = min(t.v - t.above for t in items)
    high = max(t.v + t.below for t in items)
    depth = [max((items[i].depth for i in layer), default=0.0) for layer in layers]
    place = {node: i for i, node in enumerate(order)}
    ports = _ports(items, slots, edges, place)
    bend = [0.0] * len(layers)
    for e, (a, b) in enumerate(edges):
        one = a if place[a] < place[b] else b
        heights = [ports[e][0], *(items[s].v for s in slots[e]), ports[e][1]]
        for layer, (v, w) in enumerate(pairwise(heights), start=items[one].layer):
            bend[layer] = max(bend[layer], abs(v - w))
    start = [0.0]
    for d, sideways in zip(depth, bend, strict=True):
        start.append(start[-1] + d + CORRIDOR + min(sideways * 0.12, 40.0))
    lines, labels = [], []
    for e, (a, b) in enumerate(edges):
        one, two = (a, b) if place[a] < place[b] else (b, a)
        here, there = items[one].layer, items[two].layer
        near = start[here] + (depth[here] + items[one].depth) / 2, ports[e][0] - low
        far = start[there] + (depth[there] - items[two].depth) / 2, ports[e][1] - low
        points = [near, (start[here] + depth[here], near[1])]
        for s in slots[e]:
            k, v = items[s].layer, items[s].v - low
            points += [(start[k], v), (start[k] + depth[k], v)]
            if items[s].labelled:
                labels.append((start[k] + depth[k] / 2, v))
        points += [(start[there], far[1]), far]
        lines.append(points if one == a else points[::-1])
    boxes = [(start[items[i].layer] + depth[items[i].layer] / 2, items[i].v - low) for i in range(len(nodes))]
    return Drawing(
        boxes=boxes,
        lines=lines,
        labels=labels,
        extent=(start[len(layers) - 1] + depth[-1], high - low),
        n_layers=(len(layers) + 1) // 2,
    )


def _ports(
    items: list[Item], slots: list[list[int]], edges: Sequence[Edge], place: dict[int, int]
) -> list[tuple[float, float]]:
    """Where each line touches its two boxes: spread over the side, in the order the lines leave it."""
    touch = [[0.0, 0.0] for _ in edges]
    sides: dict[tuple[int, int], list[int]] = {}
    for e, (a, b) in enumerate(edges):
        one, two = (a, b) if place[a] < place[b] else (b, a)
        sides.setdefault((one, 0), []).append(e)
        sides.setdefault((two, 1), []).append(e)
    for (node, end), found in sides.items():
        found.sort(key=lambda e: (items[slots[e][-1 if end else 0]].v, e))
        room = min(16.0, (2 * items[node].above - 16.0) / max(len(found) - 1, 1))
        for k, e in enumerate(found):
            touch[e][end] = items[node].v + (k - (len(found) - 1) / 2) * room
    return [(a, b) for a, b in touch]
