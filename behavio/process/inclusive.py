"""Inclusive gateways (BPMN 2.0) as a Petri net: one branch or more, then all that were taken are awaited.

What a join waits for depends on what its split chose, so the two belong together: every choice of branches
is a silent step of its own that leaves a token saying which, and the join has the same steps back. That is
right only for a block: each branch of the split leads to one flow into the join, and nothing else comes in
or goes out. Anything else is refused.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import combinations
from pathlib import Path

from behavio.errors import JobError

MOST = 6
"""Branches of a block: 63 choices."""

Steps = list[tuple[str, tuple[str, ...], tuple[str, ...]]]


def inclusive_blocks(
    kinds: Mapping[str, str],
    into: Mapping[str, Sequence[str]],
    out: Mapping[str, Sequence[str]],
    path: Path,
) -> dict[str, Steps]:
    """The transitions of every inclusive gateway; into and out are the flows of each node.

    A gateway with one flow in and one out passes on. Errors: JobError for one that splits without a join of
    its own, or has too many branches.
    """
    gates = [key for key, kind in kinds.items() if kind == "inclusive"]
    target = {flow: node for node, flows in into.items() for flow in flows}
    found: dict[str, Steps] = {}
    for split in [g for g in gates if len(out.get(g, ())) > 1]:
        branches, before = list(out[split]), list(into.get(split, ()))
        if len(before) != 1 or len(branches) > MOST:
            raise _refused(path, f"has {len(before)} flows in and {len(branches)} out")
        join, arrivals = _joined(split, branches, gates, out, into, target, path)
        after = list(out.get(join, ()))
        found[split], found[join] = [], []
        for size in range(1, len(branches) + 1):
            for chosen in combinations(range(len(branches)), size):
                token = f"{split}+{join}:" + ",".join(map(str, chosen))
                opened = (*(branches[i] for i in chosen), token)
                closed = (*(arrivals[i] for i in chosen), token)
                found[split].append(("", (before[0],), opened))
                found[join].append(("", closed, (after[0],)))
    for gate in gates:
        if gate in found:
            continue
        before, after = list(into.get(gate, ())), list(out.get(gate, ()))
        if len(before) != 1 or len(after) != 1:
            raise _refused(path, "joins what no split of its own opened")
        found[gate] = [("", (before[0],), (after[0],))]
    return found


def _joined(
    split: str,
    branches: Sequence[str],
    gates: Sequence[str],
    out: Mapping[str, Sequence[str]],
    into: Mapping[str, Sequence[str]],
    target: Mapping[str, str],
    path: Path,
) -> tuple[str, list[str]]:
    """The join of a split, and the flow by which each branch comes to it."""
    joins = [g for g in gates if len(into.get(g, ())) == len(branches) and len(out.get(g, ())) == 1]
    for join in joins:
        arrivals: list[str] = []
        seen: set[str] = set()
        for branch in branches:
            inside, ends = _walk(branch, join, out, target)
            own = {branch, *(f for n in inside for f in out.get(n, ()))}
            entered = {f for n in inside for f in into.get(n, ())}
            alone = not inside & seen and split not in inside and entered <= own
            if len(ends) != 1 or not alone or any(not out.get(n) for n in inside):
                break
            seen |= inside
            arrivals += ends
        if len(arrivals) == len(branches) and set(arrivals) == set(into[join]):
            return join, arrivals
    raise _refused(path, "splits without a join of its own")


def _walk(
    branch: str, join: str, out: Mapping[str, Sequence[str]], target: Mapping[str, str]
) -> tuple[set[str], list[str]]:
    """Every node a branch comes to before the join, and the flows by which it gets there."""
    inside: set[str] = set()
    ends: list[str] = []
    waiting = [branch]
    while waiting:
        flow = waiting.pop()
        node = target.get(flow, "")
        if node == join:
            ends.append(flow)
        elif node and node not in inside:
            inside.add(node)
            waiting += out.get(node, ())
    return inside, ends


def _refused(path: Path, why: str) -> JobError:
    return JobError(
        f"{path} holds an inclusiveGateway that {why}",
        hint=f"let each of its 2 to {MOST} branches run into one inclusive join, no way in or out between",
    )
