"""The process model: discovered by pm4py, written as BPMN and PNML that other tools read back."""

from __future__ import annotations

import subprocess
import sys
import xml.etree.ElementTree as ET
from collections import Counter
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from conftest import traces
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from oracles_journeys import load, pm4py_frame

from behavio.journeys import variants
from behavio.process import (
    Tree,
    WeightedVariants,
    discover,
    heuristics,
    process_tree,
    write_bpmn,
    write_pnml,
)
from behavio.process.miner import quick_counting
from behavio.sequences import SequenceSet

A, B, C, TAU = Tree(activity="a"), Tree(activity="b"), Tree(activity="c"), Tree()
DI = "{http://www.omg.org/spec/BPMN/20100524/DI}"


def tree(operator: str, *children: Tree) -> Tree:
    return Tree(operator, children=children)


def model(traces: list[list[str]], **settings: float) -> Tree:
    found = variants(SequenceSet.from_traces(traces))
    weighted = WeightedVariants(found.tokens, found.offsets, found.cases)
    return discover(weighted, found.sequences.vocabulary, **settings).tree


def accepted(path: Path, length: int) -> set[tuple[str, ...]]:
    """Traces up to a length that the Petri net in a file allows, by playing the token game."""
    import pm4py

    net, start, end = pm4py.read_pnml(str(path), auto_guess_final_marking=False)
    found, seen, open_ = set(), set(), [(start, ())]
    while open_:
        marking, trace = open_.pop()
        key = (frozenset((p.name, n) for p, n in marking.items()), trace)
        if key in seen:
            continue
        seen.add(key)
        if marking == end:
            found.add(trace)
        from pm4py.objects.petri_net import semantics

        for transition in semantics.enabled_transitions(net, marking):
            longer = (*trace, transition.label) if transition.label else trace
            if len(longer) <= length:
                open_.append((semantics.execute(transition, net, marking), longer))
    return found


@pytest.mark.parametrize(
    ("traces", "expected"),
    [
        ([["a"]], "a"),
        ([["a", "b"]], "sequence(a, b)"),
        ([["a"], ["b"]], "choice(a, b)"),
        ([["a", "b"], ["b", "a"]], "parallel(a, b)"),
        ([["a", "b", "a"], ["a"]], "loop(a, b)"),
    ],
)
def test_trees_of_tiny_logs(traces, expected):
    assert str(model(traces)) == expected


@pytest.mark.parametrize("traces", [["ab", "ba", "abc"], ["abab", "c", "cab"], ["aabb", "abab", "b"]])
def test_without_noise_every_trace_fits(traces, tmp_path):
    write_pnml(model([list(t) for t in traces], noise=0.0, coverage=1.0), tmp_path / "net.pnml")
    assert {tuple(t) for t in traces} <= accepted(tmp_path / "net.pnml", 4)


def test_what_the_model_leaves_out_is_said():
    made = [["a", "b", "x"]] * 6 + [["a", "y", "b"]] * 3 + [["z"]]
    found = variants(SequenceSet.from_traces(made))
    weighted = WeightedVariants(found.tokens, found.offsets, found.cases)
    shown = discover(weighted, found.sequences.vocabulary, coverage=0.6, max_activities=3)
    assert (shown.n_cases, shown.cases_used, shown.variants_used) == (10, 6, 1)
    assert (shown.activities_used, shown.n_activities) == (3, 5)
    assert shown.sentence().endswith("from 1 variant of 6 of 10 cases (60%), 3 of 5 activities")


def test_projection_joins_variants_that_become_alike():
    # a b (2), a x b (1), x (1) over the two most frequent activities: a b (3)
    made = [["a", "b"], ["a", "b"], ["a", "x", "b"], ["x"]]
    found = variants(SequenceSet.from_traces(made))
    kept = WeightedVariants(found.tokens, found.offsets, found.cases).project(2)
    assert kept.cases.tolist() == [3] and kept.tokens.tolist() == [2, 3]


@pytest.mark.parametrize(
    ("shape", "language"),
    [
        (A, {"a"}),
        (TAU, {""}),
        (tree("sequence", A, TAU, B), {"ab"}),
        (tree("choice", A, TAU, B), {"", "a", "b"}),
        (tree("parallel", A, tree("sequence", B, C)), {"abc", "bac", "bca"}),
        (tree("loop", A, B), {"a", "aba"}),
        (tree("loop", A, TAU), {"a", "aa", "aaa"}),
        (tree("loop", tree("choice", A, TAU), tree("sequence", B, C)), {"", "a", "bc", "abc", "bca"}),
    ],
)
def test_the_net_allows_what_the_tree_says(shape, language, tmp_path):
    write_pnml(shape, tmp_path / "net.pnml")
    assert {"".join(t) for t in accepted(tmp_path / "net.pnml", 3)} == language


trees = st.recursive(
    st.sampled_from([A, B, C, TAU, Tree(activity="d & <e>")]),
    lambda inner: (
        st.builds(
            lambda kind, parts: Tree(kind, children=tuple(parts)),
            st.sampled_from(["choice", "parallel", "loop"]),
            st.lists(inner, min_size=2, max_size=3),
        )
        | st.builds(
            lambda parts: Tree("sequence", children=(A, *parts)), st.lists(inner, min_size=1, max_size=3)
        )
    ),
    max_leaves=8,
)


@given(trees)
@hypothesis_settings(max_examples=30)
def test_bpmn_is_connected_drawn_whole_and_read_by_pm4py(tmp_path_factory, shape):
    import pm4py

    path = tmp_path_factory.mktemp("bpmn") / "process.bpmn"
    write_bpmn(shape, path)
    diagram = pm4py.read_bpmn(str(path))
    names = sorted(
        n.get_name() for n in diagram.get_nodes() if n.get_name() not in ("", "start", "last seen")
    )
    assert names == sorted(leaves(shape))
    after = {n: [a.get_target() for a in n.get_out_arcs()] for n in diagram.get_nodes()}
    start = next(n for n in after if n.get_name() == "start")
    reached, open_ = {start}, [start]
    while open_:
        for node in after[open_.pop()]:
            if node not in reached:
                reached.add(node)
                open_.append(node)
    assert reached == set(after)
    root = ET.parse(path).getroot()
    assert len(list(root.iter(f"{DI}BPMNShape"))) == len(after)
    boxes = [[float(v) for v in b.attrib.values()] for b in root.iter() if b.tag.endswith("Bounds")]
    for i, (x, y, w, h) in enumerate(boxes):
        for other_x, other_y, other_w, other_h in boxes[i + 1 :]:
            apart = x + w <= other_x or other_x + other_w <= x or y + h <= other_y or other_y + other_h <= y
            assert apart


def leaves(shape: Tree) -> list[str]:
    if shape.operator:
        return [name for child in shape.children for name in leaves(child)]
    return [shape.activity] if shape.activity else []


def test_bpmn_allows_what_the_net_allows(tmp_path):
    import pm4py

    shape = tree("sequence", A, tree("parallel", B, tree("choice", C, TAU)), tree("loop", A, TAU))
    write_bpmn(shape, tmp_path / "p.bpmn")
    write_pnml(shape, tmp_path / "p.pnml")
    net = pm4py.convert_to_petri_net(pm4py.read_bpmn(str(tmp_path / "p.bpmn")))
    pm4py.write_pnml(*net, str(tmp_path / "from_bpmn.pnml"))
    assert accepted(tmp_path / "from_bpmn.pnml", 5) == accepted(tmp_path / "p.pnml", 5)


def test_names_are_escaped_and_controls_replaced(tmp_path):
    odd = 'a "<&>\x00 🙂'
    for write, name in ((write_bpmn, "p.bpmn"), (write_pnml, "p.pnml")):
        write(Tree(activity=odd), tmp_path / name)
        assert 'a "<&>\N{REPLACEMENT CHARACTER} 🙂' in "".join(
            [t for e in ET.parse(tmp_path / name).iter() for t in (e.text or "", e.get("name") or "")]
        )


SAME = """
from pathlib import Path
import sys
from behavio.journeys import JourneySettings, write_journeys
from behavio.sequences import SequenceSet
made = [list("register")[:n] + list(end) for n in range(3, 8) for end in ("ab", "ba", "caab", "")]
write_journeys(SequenceSet.from_traces(made), JourneySettings(model_coverage=1.0), Path(sys.argv[1]))
"""


def test_other_hash_seeds_give_the_same_bytes_and_nothing_goes_to_stdout(tmp_path):
    contents = []
    for seed in ("1", "2"):
        folder = tmp_path / seed
        folder.mkdir()
        done = subprocess.run(
            [sys.executable, "-c", SAME, str(folder)],
            env={"PYTHONHASHSEED": seed, "PYTHONPATH": str(Path(__file__).parents[1]), "PATH": ""},
            check=True,
            capture_output=True,
        )
        assert done.stdout == b""
        contents.append({p.name: p.read_bytes() for p in folder.iterdir()})
    assert contents[0] == contents[1] and "process.bpmn" in contents[0]


def test_tokens_stay_in_the_given_order():
    found = variants(SequenceSet.from_traces([["b", "a"], ["a"], ["b", "a"]]))
    top = WeightedVariants(found.tokens, found.offsets, found.cases).top(0.5, 10, 100)
    assert top.cases.tolist() == [2] and all(a > b for a, b in pairwise(top.tokens))
    assert np.diff(top.offsets).tolist() == [2]


def test_equally_frequent_variants_are_taken_evenly():
    # ab twice, then a, b, …, j once each: three of the ten that are alike
    made = [["a", "b"], ["a", "b"], *([name] for name in "abcdefghij")]
    found = variants(SequenceSet.from_traces(made))
    weighted = WeightedVariants(found.tokens, found.offsets, found.cases)
    names = found.sequences.vocabulary.names
    assert [names[t] for t in weighted.top(1.0, 4, 100).tokens] == ["a", "b", "a", "d", "g"]
    assert weighted.top(1.0, 4, 3).cases.tolist() == [2, 1]
    assert weighted.top(1.0, 100, 100).cases.sum() == 12


def weighted_of(log: SequenceSet) -> WeightedVariants:
    found = variants(log)
    return WeightedVariants(found.tokens, found.offsets, found.cases)


@pytest.mark.parametrize("noise", [0.0, 0.2])
@pytest.mark.parametrize("name", ["sepsis", "helpdesk_italian", "bpic2020_domestic", "road_traffic_fines"])
def test_the_tree_is_pm4pys_own(real_log, name, noise):
    log = load(real_log(name))
    assert str(process_tree(weighted_of(log), log.vocabulary.names, noise)) == own_tree(log, noise)


@given(traces)
@hypothesis_settings(max_examples=25)
def test_the_tree_of_any_log_is_pm4pys_own(made):
    log = SequenceSet.from_traces(made)
    for noise in (0.0, 0.2):
        assert str(process_tree(weighted_of(log), log.vocabulary.names, noise)) == own_tree(log, noise)


def own_tree(log: SequenceSet, noise: float) -> str:
    """What pm4py finds by itself, from the same weighted variants under their names."""
    from pm4py.algo.discovery.inductive.dtypes.im_ds import IMDataStructureUVCL
    from pm4py.algo.discovery.inductive.variants.im import IMUVCL
    from pm4py.algo.discovery.inductive.variants.imf import IMFUVCL
    from pm4py.objects.process_tree.utils import generic

    named = Counter(
        {tuple(log.vocabulary.names[t] for t in k): n for k, n in weighted_of(log).counter().items()}
    )
    parameters = {"noise_threshold": noise}
    miner = (IMFUVCL if noise else IMUVCL)(parameters)
    found = generic.fold(miner.apply(IMDataStructureUVCL(named), parameters))
    generic.tree_sort(found)
    return str(found)


def test_pm4py_is_left_as_it_was():
    from pm4py.algo.discovery.inductive.fall_through.activity_concurrent import ActivityConcurrentUVCL
    from pm4py.util.compression import util

    before = util.discover_dfg_uvcl, ActivityConcurrentUVCL.__dict__["_get_candidate"]
    with pytest.raises(RuntimeError), quick_counting():
        assert util.discover_dfg_uvcl is not before[0]
        raise RuntimeError
    assert (util.discover_dfg_uvcl, ActivityConcurrentUVCL.__dict__["_get_candidate"]) == before


def test_heuristics_by_hand():
    # a b ×9, b a ×1: (9 − 1) / (9 + 1 + 1) = 0.727 from a to b
    net = heuristics(weighted_of(SequenceSet.from_traces([["a", "b"]] * 9 + [["b", "a"]])),
                     SequenceSet.from_traces([["a", "b"]]).vocabulary)  # fmt: skip
    assert net.table.rows() == [("a", "b", 9, pytest.approx(8 / 11))]
    assert (net.starts, net.ends) == ({"a": 9, "b": 1}, {"a": 1, "b": 9})


@pytest.mark.parametrize("name", ["sepsis", "bpic2020_domestic"])
def test_heuristics_are_pm4pys_own(real_log, name):
    import pm4py

    log = load(real_log(name))
    found = heuristics(weighted_of(log), log.vocabulary).table
    theirs = pm4py.discover_heuristics_net(pm4py_frame(log))
    edges = {
        (a, other.node_name): max(e.dependency_value for e in connections)
        for a, node in theirs.nodes.items()
        for other, connections in node.output_connections.items()
    }
    ours = {(r[0], r[1]): r[3] for r in found.rows()}
    assert ours == pytest.approx(edges)
