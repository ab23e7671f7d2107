"""A process tree as BPMN 2.0 and PNML: files of the same model have the same bytes."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from collections import Counter
from pathlib import Path

from behavio.files import whole_file
from behavio.process.tree import Tree

NOT_IN_XML = re.compile(r"[^\t\n\r\x20-\uD7FF\uE000-\uFFFD\U00010000-\U0010FFFF]")


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
