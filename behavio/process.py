"""A process model of the whole log, in the notations of business process management.

pm4py discovers it (inductive miner with a noise threshold, IMf: Leemans, Fahland & van der Aalst 2013) from
weighted variants, so its cost does not grow with the number of events. This is the only file that imports
pm4py, and only when a model is asked for; pm4py is AGPL-3.0-or-later, see the README. The process tree is
written as BPMN 2.0 and PNML here, because files of the same model must have the same bytes.
"""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from behavio.files import whole_file
from behavio.kernels.arrays import readonly, take_groups
from behavio.kernels.traces import distinct_traces, order_traces
from behavio.sequences import Vocabulary

NOT_IN_XML = re.compile(r"[^\t\n\r\x20-\uD7FF\uE000-\uFFFD\U00010000-\U0010FFFF]")
MAX_EVENTS = 12_000
"""The miner's time grows faster than the length of the variants it is given; a page shows no more anyway."""


@dataclass(frozen=True, slots=True)
class Tree:
    """A process tree: an activity, a silent step (both empty), or children under → × ∧ ⟲."""

    operator: str = ""  # sequence | choice | parallel | loop
    activity: str = ""
    children: tuple[Tree, ...] = ()

    @property
    def silent(self) -> bool:
        """True for the step nobody sees."""
        return not self.operator and not self.activity

    def __str__(self) -> str:
        if not self.operator:
            return self.activity or "τ"
        return f"{self.operator}({', '.join(str(c) for c in self.children)})"


@dataclass(frozen=True, slots=True)
class ProcessModel:
    """A discovered tree and what it was discovered from."""

    tree: Tree
    noise: float
    n_cases: int  # cases of the log
    cases_used: int  # cases behind the variants the miner saw
    variants_used: int
    activities_used: int
    n_activities: int

    def sentence(self) -> str:
        """What the model shows and what it leaves out."""
        share = self.cases_used / max(self.n_cases, 1)
        said = (
            f"{self.variants_used:,} variants of {self.cases_used:,} of {self.n_cases:,} cases ({share:.0%})"
        )
        if self.activities_used < self.n_activities:
            said += f", the {self.activities_used} most frequent of {self.n_activities:,} activities"
        return f"inductive miner, noise threshold {self.noise:g}, from {said}"


class _Label(str):
    """A name that hashes to its id, so that the miner's sets are walked in the same order every time."""

    __slots__ = ("token",)
    token: int

    def __new__(cls, name: str, token: int) -> _Label:
        label = super().__new__(cls, name)
        label.token = token
        return label

    def __hash__(self) -> int:
        return self.token

    def __eq__(self, other: object) -> bool:
        return str.__eq__(self, other) is True

    def __ne__(self, other: object) -> bool:
        return not self == other

    def __copy__(self) -> _Label:
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> _Label:
        return self


@dataclass(frozen=True, slots=True, eq=False)
class WeightedVariants:
    """Distinct traces, flat, with the number of cases that follow each."""

    tokens: np.ndarray
    offsets: np.ndarray
    cases: np.ndarray

    def project(self, n_activities: int) -> WeightedVariants:
        """Only the most frequent activities are kept; what then looks alike is one variant."""
        weights = np.repeat(self.cases, np.diff(self.offsets))
        frequency = np.bincount(self.tokens, weights=weights)
        kept = np.argsort(-frequency, kind="stable")[:n_activities]
        keep = np.zeros(len(frequency), dtype=bool)
        keep[kept] = frequency[kept] > 0
        events = keep[self.tokens]
        lengths = np.add.reduceat(events, self.offsets[:-1]).astype(np.int64)
        tokens = readonly(self.tokens[events], np.int32)
        offsets = np.concatenate([[0], np.cumsum(lengths[lengths > 0])]).astype(np.int64)
        cases = self.cases[lengths > 0]
        firsts, group = distinct_traces(tokens, readonly(offsets, np.int64))
        tokens, offsets = take_groups(tokens, offsets, firsts)
        joined = np.bincount(group, weights=cases, minlength=len(firsts)).astype(np.int64)
        order = order_traces(readonly(tokens, np.int32), readonly(offsets, np.int64), joined)
        return WeightedVariants(*take_groups(tokens, offsets, order), joined[order])

    def top(self, coverage: float, at_most: int, max_events: int) -> WeightedVariants:
        """The most frequent ones that hold `coverage` of the cases, within both limits; at least one."""
        enough = int(np.searchsorted(np.cumsum(self.cases), coverage * self.cases.sum())) + 1
        fitting = int(np.searchsorted(self.offsets, max_events, side="right")) - 1
        n = max(1, min(enough, at_most, fitting, len(self.cases)))
        return WeightedVariants(self.tokens[: self.offsets[n]], self.offsets[: n + 1], self.cases[:n])


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
    from pm4py.algo.discovery.inductive.dtypes.im_ds import IMDataStructureUVCL
    from pm4py.algo.discovery.inductive.variants.im import IMUVCL
    from pm4py.algo.discovery.inductive.variants.imf import IMFUVCL
    from pm4py.objects.process_tree.utils import generic

    kept = variants.project(max_activities).top(coverage, max_variants, MAX_EVENTS)
    labels = [_Label(name, token) for token, name in enumerate(vocabulary.names)]
    log: Counter[tuple[_Label, ...]] = Counter()
    for i, cases in enumerate(kept.cases):
        trace = kept.tokens[kept.offsets[i] : kept.offsets[i + 1]]
        log[tuple(labels[t] for t in trace)] = int(cases)
    parameters = {"noise_threshold": noise}
    miner = IMFUVCL(parameters) if noise > 0 else IMUVCL(parameters)
    found = generic.fold(miner.apply(IMDataStructureUVCL(log), parameters))
    generic.tree_sort(found)
    return ProcessModel(
        tree=_own_tree(found),
        noise=noise,
        n_cases=int(variants.cases.sum()),
        cases_used=int(kept.cases.sum()),
        variants_used=len(kept.cases),
        activities_used=len(np.unique(kept.tokens)),
        n_activities=len(np.unique(variants.tokens)),
    )


def _own_tree(found: Any) -> Tree:
    """pm4py's tree as ours."""
    if found.operator is None:
        return Tree(activity=str.__str__(found.label) if found.label is not None else "")
    names = {"SEQUENCE": "sequence", "XOR": "choice", "PARALLEL": "parallel", "LOOP": "loop"}
    return Tree(names[found.operator.name], children=tuple(_own_tree(c) for c in found.children))


def _write_xml(path: Path, root: ET.Element) -> None:
    ET.indent(root)
    with whole_file(path) as draft:
        ET.ElementTree(root).write(draft, encoding="UTF-8", xml_declaration=True)


def _text(name: str) -> str:
    """A name as XML may hold it."""
    return NOT_IN_XML.sub("\N{REPLACEMENT CHARACTER}", name)


class _Net:
    """A Petri net under construction: the standard translation of a process tree, block by block."""

    def __init__(self, page: ET.Element) -> None:
        self.page = page
        self.counts: Counter[str] = Counter()

    def _id(self, kind: str) -> str:
        self.counts[kind] += 1
        return f"{kind}{self.counts[kind]}"

    def place(self, marked: bool = False, name: str = "") -> str:
        key = self._id("p")
        element = ET.SubElement(self.page, "place", {"id": key})
        ET.SubElement(ET.SubElement(element, "name"), "text").text = name or key
        if marked:
            ET.SubElement(ET.SubElement(element, "initialMarking"), "text").text = "1"
        return key

    def transition(self, sources: list[str], targets: list[str], activity: str = "") -> None:
        key = self._id("t")
        element = ET.SubElement(self.page, "transition", {"id": key})
        ET.SubElement(ET.SubElement(element, "name"), "text").text = _text(activity) or key
        if not activity:
            silent = {"tool": "ProM", "version": "6.4", "activity": "$invisible$", "localNodeID": key}
            ET.SubElement(element, "toolspecific", silent)
        for a, b in [*((s, key) for s in sources), *((key, t) for t in targets)]:
            arc = ET.SubElement(self.page, "arc", {"id": self._id("a"), "source": a, "target": b})
            ET.SubElement(ET.SubElement(arc, "inscription"), "text").text = "1"

    def add(self, tree: Tree, source: str, target: str) -> None:
        """Put the tree between two places."""
        if not tree.operator:
            self.transition([source], [target], tree.activity)
        elif tree.operator == "sequence":
            places = [source, *(self.place() for _ in tree.children[1:]), target]
            for child, a, b in zip(tree.children, places[:-1], places[1:], strict=True):
                self.add(child, a, b)
        elif tree.operator == "choice":
            for child in tree.children:
                self.add(child, source, target)
        elif tree.operator == "parallel":
            pairs = [(self.place(), self.place()) for _ in tree.children]
            self.transition([source], [a for a, _ in pairs])
            for child, (a, b) in zip(tree.children, pairs, strict=True):
                self.add(child, a, b)
            self.transition([b for _, b in pairs], [target])
        else:
            before, after = self.place(), self.place()
            self.transition([source], [before])
            self.add(tree.children[0], before, after)
            for redo in tree.children[1:]:
                self.add(redo, after, before)
            self.transition([after], [target])


def write_pnml(tree: Tree, path: Path) -> None:
    """Write the tree as a Petri net (PNML 2009, initial and final marking), same tree → same bytes."""
    root = ET.Element("pnml")
    kind = "http://www.pnml.org/version-2009/grammar/pnmlcoremodel"
    net = ET.SubElement(root, "net", {"id": "behavio", "type": kind})
    ET.SubElement(ET.SubElement(net, "name"), "text").text = "behavio"
    builder = _Net(ET.SubElement(net, "page", {"id": "n0"}))
    source, sink = builder.place(marked=True, name="source"), builder.place(name="sink")
    builder.add(tree, source, sink)
    marking = ET.SubElement(ET.SubElement(net, "finalmarkings"), "marking")
    place = ET.SubElement(marking, "place", {"idref": sink})
    ET.SubElement(place, "text").text = "1"
    _write_xml(path, root)


TASK_WIDTH, TASK_HEIGHT, GATE, EVENT, STEP_X, STEP_Y = 120, 64, 40, 36, 40, 24


class _Diagram:
    """A BPMN diagram under construction: block by block from left to right, each block on its own lane."""

    def __init__(self) -> None:
        self.nodes: list[tuple[str, str, str, tuple[int, int, int, int]]] = []
        self.flows: list[tuple[str, str, list[tuple[int, int]]]] = []
        self.boxes: dict[str, tuple[int, int, int, int]] = {}

    def node(self, kind: str, x: int, y: int, name: str = "") -> str:
        """Add a node whose left edge is x and whose middle is y."""
        width = {"task": TASK_WIDTH, "startEvent": EVENT, "endEvent": EVENT}.get(kind, GATE)
        height = TASK_HEIGHT if kind == "task" else width
        key = f"{kind}_{1 + sum(n[1] == kind for n in self.nodes)}"
        box = (x, y - height // 2, width, height)
        self.nodes.append((key, kind, name, box))
        self.boxes[key] = box
        return key

    def flow(self, source: str, target: str, lane: int | None = None) -> None:
        """Connect two nodes; a flow on a lane of its own goes there and back in right angles."""
        (ax, ay, aw, ah), (bx, by, bw, bh) = self.boxes[source], self.boxes[target]
        start, end = (ax + aw, ay + ah // 2), (bx, by + bh // 2)
        if lane is not None:
            across = [(ax + aw // 2, lane), (bx + bw // 2, lane)]
            points = [(ax + aw // 2, ay + ah), *across, (bx + bw // 2, by + bh)]
        elif start[1] == end[1]:
            points = [start, end]
        elif "Gateway" in source:
            points = [(ax + aw // 2, start[1]), (ax + aw // 2, end[1]), end]
        else:
            points = [start, (bx + bw // 2, start[1]), (bx + bw // 2, end[1])]
        self.flows.append((source, target, points))

    def size(self, tree: Tree) -> tuple[int, int]:
        """Width and height a block needs."""
        if not tree.operator:
            return (0, STEP_Y) if tree.silent else (TASK_WIDTH, TASK_HEIGHT + STEP_Y)
        sizes = [self.size(c) for c in tree.children]
        if tree.operator == "sequence":
            seen = [s for s, c in zip(sizes, tree.children, strict=True) if not c.silent]
            return sum(w + STEP_X for w, _ in seen) - STEP_X, max(h for _, h in seen)
        return max(w for w, _ in sizes) + 2 * (GATE + STEP_X), sum(h for _, h in sizes)

    def add(self, tree: Tree, x: int, top: int) -> tuple[str, str]:
        """Draw a block with its upper left corner at (x, top); returns its first and last node."""
        width, height = self.size(tree)
        if not tree.operator:
            key = self.node("task", x, top + height // 2, tree.activity)
            return key, key
        if tree.operator == "sequence":
            return self._sequence(tree, x, top, height)
        kind = "parallelGateway" if tree.operator == "parallel" else "exclusiveGateway"
        first_height = self.size(tree.children[0])[1]
        middle = top + (first_height if tree.operator == "loop" else height) // 2
        split = self.node(kind, x, middle)
        join = self.node(kind, x + width - GATE, middle)
        for i, child in enumerate(tree.children):
            back = tree.operator == "loop" and i > 0
            self._branch(child, (join, split) if back else (split, join), x + GATE + STEP_X, top, back)
            top += self.size(child)[1]
        return split, join

    def _sequence(self, tree: Tree, x: int, top: int, height: int) -> tuple[str, str]:
        ends: list[tuple[str, str]] = []
        for child in tree.children:
            if child.silent:
                continue
            wide, high = self.size(child)
            ends.append(self.add(child, x, top + (height - high) // 2))
            if len(ends) > 1:
                self.flow(ends[-2][1], ends[-1][0])
            x += wide + STEP_X
        return ends[0][0], ends[-1][1]

    def _branch(self, child: Tree, ends: tuple[str, str], x: int, top: int, back: bool) -> None:
        height = self.size(child)[1]
        if child.silent:
            box = self.boxes[ends[0]]
            straight = box[1] + box[3] // 2 == top + height // 2
            self.flow(*ends, None if straight and not back else top + height // 2)
            return
        first, last = self.add(child, x, top)
        self.flow(ends[0], first)
        self.flow(last, ends[1])


def write_bpmn(tree: Tree, path: Path) -> None:
    """Write the tree as a BPMN 2.0 process with its diagram, same tree → same bytes."""
    drawing = _Diagram()
    height = drawing.size(tree)[1]
    start = drawing.node("startEvent", 40, 40 + height // 2, "start")
    x = 40 + EVENT + STEP_X
    if tree.silent:
        drawing.flow(start, drawing.node("endEvent", x, 40 + height // 2, "last seen"))
    else:
        first, last = drawing.add(tree, x, 40)
        drawing.flow(start, first)
        x += drawing.size(tree)[0] + STEP_X
        drawing.flow(last, drawing.node("endEvent", x, 40 + height // 2, "last seen"))
    _write_xml(path, _bpmn_xml(drawing))


def _bpmn_xml(drawing: _Diagram) -> ET.Element:
    spaces = {
        "xmlns:bpmn": "http://www.omg.org/spec/BPMN/20100524/MODEL",
        "xmlns:bpmndi": "http://www.omg.org/spec/BPMN/20100524/DI",
        "xmlns:omgdc": "http://www.omg.org/spec/DD/20100524/DC",
        "xmlns:omgdi": "http://www.omg.org/spec/DD/20100524/DI",
    }
    root = ET.Element("bpmn:definitions", {"id": "behavio", **spaces, "targetNamespace": "urn:behavio"})
    process = ET.SubElement(root, "bpmn:process", {"id": "process_1", "isExecutable": "false"})
    diagram = ET.SubElement(root, "bpmndi:BPMNDiagram", {"id": "diagram_1"})
    plane = ET.SubElement(diagram, "bpmndi:BPMNPlane", {"id": "plane_1", "bpmnElement": "process_1"})
    for key, kind, name, (x, y, width, height) in drawing.nodes:
        element = ET.SubElement(process, f"bpmn:{kind}", {"id": key, "name": _text(name)})
        for i, (source, target, _) in enumerate(drawing.flows, start=1):
            if target == key:
                ET.SubElement(element, "bpmn:incoming").text = f"flow_{i}"
            if source == key:
                ET.SubElement(element, "bpmn:outgoing").text = f"flow_{i}"
        shape = ET.SubElement(plane, "bpmndi:BPMNShape", {"id": f"{key}_di", "bpmnElement": key})
        box = {"x": x, "y": y, "width": width, "height": height}
        ET.SubElement(shape, "omgdc:Bounds", {k: str(v) for k, v in box.items()})
    for i, (source, target, points) in enumerate(drawing.flows, start=1):
        ends = {"sourceRef": source, "targetRef": target}
        ET.SubElement(process, "bpmn:sequenceFlow", {"id": f"flow_{i}", "name": "", **ends})
        line = {"id": f"flow_{i}_di", "bpmnElement": f"flow_{i}"}
        edge = ET.SubElement(plane, "bpmndi:BPMNEdge", line)
        for x, y in points:
            ET.SubElement(edge, "omgdi:waypoint", {"x": str(x), "y": str(y)})
    return root
