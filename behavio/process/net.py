"""BPMN and PNML files as Petri nets a trace can be aligned to.

Read with the standard library: a plan is a small file, and nothing heavy needs to be imported for it. The
translation of BPMN is that of Dijkman, Dumas & Ouyang 2008: every sequence flow is a place, a task a
transition with its name, a gateway silent transitions.
"""

from __future__ import annotations

import xml.etree.ElementTree as ET
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import UUID

from behavio.errors import JobError
from behavio.process.inclusive import inclusive_blocks

TASKS = (
    "task userTask manualTask serviceTask sendTask receiveTask scriptTask businessRuleTask callActivity"
).split()
SPLITS = {
    "exclusiveGateway": "choice",
    "eventBasedGateway": "choice",
    "parallelGateway": "parallel",
    "inclusiveGateway": "inclusive",
}
PASSED = ("intermediateThrowEvent", "intermediateCatchEvent")
REFUSED = (
    "complexGateway",
    "boundaryEvent",
    "subProcess",
    "transaction",
    "adHocSubProcess",
)


@dataclass(frozen=True, slots=True)
class Net:
    """A Petri net that starts with one token in `source` and is done with one in `sink`.

    transitions  (name, places before, places after); an empty name is a step nobody sees
    """

    source: str
    sink: str
    transitions: tuple[tuple[str, tuple[str, ...], tuple[str, ...]], ...]

    @property
    def activities(self) -> tuple[str, ...]:
        """Names of the steps that can be seen, in the order of the file, each once."""
        return tuple(dict.fromkeys(name for name, _, _ in self.transitions if name))

    def reduced(self) -> Net:
        """A smaller net with the same traces: silent steps between two places joined away.

        A silent step from p to q goes, and p and q become one, where nothing else leaves p or nothing else
        enters q (Murata 1989, fusion of series places).
        """
        net = self
        while (joined := net._joined()) is not None:
            net = joined
        return net

    def _joined(self) -> Net | None:
        leaving = Counter(p for _, before, _ in self.transitions for p in before)
        entering = Counter(p for _, _, after in self.transitions for p in after)
        for k, (name, before, after) in enumerate(self.transitions):
            if name or len(before) != 1 or len(after) != 1:
                continue
            p, q = before[0], after[0]
            alone = leaving[p] == 1 or entering[q] == 1
            if p != q and (not alone or p == self.sink or q == self.source):
                continue
            rest = [t for i, t in enumerate(self.transitions) if i != k]
            new = {p: q}
            moved = [(n, _renamed(a, new), _renamed(b, new)) for n, a, b in rest]
            kept = tuple(dict.fromkeys(moved))
            return Net(new.get(self.source, self.source), new.get(self.sink, self.sink), kept)
        return None

    def for_r4pm(self) -> dict[str, Any]:
        """The net as r4pm takes it; transition k has the id UUID(int=k + 1)."""
        places = {p: _id(1_000_000 + i) for i, p in enumerate(self._places())}
        arcs = []
        for k, (_, before, after) in enumerate(self.transitions):
            for place, many in Counter(before).items():
                arcs.append(_arc("PlaceTransition", places[place], _id(k), many))
            for place, many in Counter(after).items():
                arcs.append(_arc("TransitionPlace", _id(k), places[place], many))
        names = {_id(k): name for k, (name, _, _) in enumerate(self.transitions)}
        return {
            "places": {p: {"id": p} for p in places.values()},
            "transitions": {k: {"id": k, "label": name or None} for k, name in names.items()},
            "arcs": arcs,
            "initial_marking": {places[self.source]: 1},
            "final_markings": [{places[self.sink]: 1}],
        }

    def _places(self) -> list[str]:
        found = [self.source, self.sink, *(p for _, a, b in self.transitions for p in (*a, *b))]
        return list(dict.fromkeys(found))


def _renamed(places: tuple[str, ...], new: dict[str, str]) -> tuple[str, ...]:
    return tuple(new.get(p, p) for p in places)


def _id(number: int) -> str:
    return str(UUID(int=number + 1))


def _arc(kind: str, a: str, b: str, weight: int) -> dict[str, Any]:
    return {"from_to": {"type": kind, "nodes": [a, b]}, "weight": weight}


def read_net(path: Path) -> Net:
    """The net of a .bpmn or .pnml file.

    Errors: JobError when there is no such file, it is no XML, or it holds a construct that cannot be aligned.
    """
    try:
        root = ET.fromstring(path.read_bytes())
    except FileNotFoundError:
        raise JobError(f"there is no file {path}", hint="give the path of a .bpmn or .pnml file") from None
    except ET.ParseError as problem:
        raise JobError(f"{path} is no XML: {problem}", hint="give a .bpmn or .pnml file") from None
    net: Net = _from_pnml(root, path) if _name(root) == "pnml" else _from_bpmn(root, path)
    if not net.activities:
        raise JobError(
            f"{path} names no activity", hint="its tasks need names: those of the log's activities"
        )
    return net.reduced()


def _name(element: ET.Element) -> str:
    return element.tag.rpartition("}")[2]


@dataclass(slots=True)
class _Process:
    """One BPMN process as read: kind and name of each node, and its flows."""

    kinds: dict[str, str] = field(default_factory=dict)
    names: dict[str, str] = field(default_factory=dict)
    into: dict[str, list[str]] = field(default_factory=dict)
    out: dict[str, list[str]] = field(default_factory=dict)


def _from_bpmn(root: ET.Element, path: Path) -> Net:
    processes = [e for e in root.iter() if _name(e) == "process"]
    full = [p for p in processes if any(_name(e) == "sequenceFlow" for e in p)]
    if len(full) != 1:
        raise JobError(
            f"{path} holds {len(full)} processes with flows", hint="a plan is one process: save it on its own"
        )
    read = _read_process(full[0], path)
    several = inclusive_blocks(read.kinds, read.into, read.out, path)
    transitions: list[tuple[str, tuple[str, ...], tuple[str, ...]]] = []
    for key, kind in read.kinds.items():
        before, after = tuple(read.into.get(key, ())), tuple(read.out.get(key, ()))
        if kind == "startEvent":
            transitions.append(("", ("source",), after))
        elif kind == "endEvent":
            transitions += [("", (b,), ("sink",)) for b in before]
        elif kind == "parallel":
            transitions.append(("", before, after))
        elif key in several:
            transitions += several[key]
        elif kind == "choice":
            transitions += [("", (b,), (a,)) for b in before for a in after]
        else:
            transitions += [(read.names[key], (b,), after) for b in before]
    if "startEvent" not in read.kinds.values() or "endEvent" not in read.kinds.values():
        raise JobError(f"{path} has no start or no end event", hint="draw both")
    return Net("source", "sink", tuple(transitions))


def _read_process(process: ET.Element, path: Path) -> _Process:
    read = _Process()
    for element in process:
        kind, key = _name(element), element.get("id", "")
        if kind in REFUSED:
            raise JobError(
                f"{path} holds a {kind}",
                hint="use tasks, events, exclusive, parallel and inclusive gateways only",
            )
        if kind in TASKS or kind in PASSED or kind in ("startEvent", "endEvent"):
            read.kinds[key] = "task" if kind in (*TASKS, *PASSED) else kind
            read.names[key] = (element.get("name") or "").strip() if kind in TASKS else ""
        elif kind in SPLITS:
            read.kinds[key] = SPLITS[kind]
        elif kind == "sequenceFlow":
            read.out.setdefault(element.get("sourceRef", ""), []).append(key)
            read.into.setdefault(element.get("targetRef", ""), []).append(key)
    return read


def _from_pnml(root: ET.Element, path: Path) -> Net:
    places, marked, transitions = [], [], {}
    arcs: list[tuple[str, str]] = []
    for element in root.iter():
        kind, key = _name(element), element.get("id", "")
        if kind == "place" and key:
            places.append(key)
            if any(_name(e) == "initialMarking" for e in element):
                marked.append(key)
        elif kind == "transition":
            silent = any(e.get("activity") == "$invisible$" for e in element)
            texts = [t.text or "" for e in element if _name(e) == "name" for t in e if _name(t) == "text"]
            transitions[key] = "" if silent or not texts else texts[0].strip()
        elif kind == "arc":
            arcs.append((element.get("source", ""), element.get("target", "")))
    left = {a for a, _ in arcs}
    sinks = [p for p in places if p not in left]
    if len(marked) != 1 or len(sinks) != 1:
        raise JobError(
            f"{path} has {len(marked)} marked places and {len(sinks)} last places",
            hint="a plan is a workflow net: one place to start from, one to end in",
        )
    found = tuple(
        (name, tuple(a for a, b in arcs if b == key), tuple(b for a, b in arcs if a == key))
        for key, name in transitions.items()
    )
    return Net(marked[0], sinks[0], found)
