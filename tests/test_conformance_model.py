"""Process models as plans: BPMN and PNML read as nets, alignments by r4pm against pm4py's."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from behavio import api, journeys, process
from behavio.conformance import Plan, conform, read_plan
from behavio.errors import JobError
from behavio.process import Net, WeightedVariants, align, read_net
from behavio.process.alignment import LOG, MODEL
from behavio.process.tree import Tree
from behavio.sequences import OpenCases, SequenceSet


def leaf(name: str) -> Tree:
    return Tree(activity=name)


SEQUENCE = Tree("sequence", children=(leaf("a"), leaf("b"), leaf("c")))
MIXED = Tree(
    "sequence",
    children=(
        leaf("a"),
        Tree("choice", children=(leaf("b"), Tree())),
        Tree("parallel", children=(leaf("c"), leaf("d"))),
        Tree("loop", children=(leaf("e"), leaf("f"))),
    ),
)


def weighted(log: SequenceSet) -> WeightedVariants:
    found = journeys.variants(log)
    return WeightedVariants(found.tokens, found.offsets, found.cases)


def model(tree: Tree, folder: Path, ending: str = "bpmn") -> Path:
    path = folder / f"plan.{ending}"
    (process.write_bpmn if ending == "bpmn" else process.write_pnml)(tree, path)
    return path


@pytest.mark.parametrize("ending", ["bpmn", "pnml"])
def test_costs_of_small_models_by_hand(ending: str, tmp_path: Path) -> None:
    # a, then perhaps b, then c and d in any order, then e, or e f e, …
    net = read_net(model(MIXED, tmp_path, ending))
    expected = {
        "acde": 0,
        "abdce": 0,
        "abdcefe": 0,
        "cde": 1,
        "acd": 1,
        "abbcde": 1,
        "acdef": 1,
        "x": 5,
        "edcba": 5,
    }
    log = SequenceSet.from_traces([list(t) for t in expected])
    distinct = log.distinct()
    found = align(net, WeightedVariants(log.tokens, log.offsets, distinct.weight), log.vocabulary)
    assert dict(zip(expected, found.cost.tolist(), strict=True)) == expected
    assert found.shortest == 4
    for v, trace in enumerate(expected):
        moves = found.moves[found.moves[:, 0] == v]
        assert [trace[e] for e in moves[:, 3] if e >= 0] == list(trace), (
            "every event of the trace is in its moves"
        )
        assert np.isin(moves[:, 1], [LOG, MODEL]).sum() == found.cost[v]


def test_a_case_against_a_model(tmp_path: Path) -> None:
    # a b c: skipped b, extra x, c before b; the open case still has b and c before it
    log = SequenceSet.from_traces([list("abc"), list("ac"), list("axbc"), list("acb"), list("a")])
    log = replace(log, running=OpenCases(np.array([False] * 4 + [True]), (), 0.0))
    found = conform(log, read_plan(model(SEQUENCE, tmp_path)))
    rows = found.cases.select("state", "cost", "skipped", "extra", "wrong_order", "still_open").rows()
    assert rows == [
        ("conforms", 0, 0, 0, 0, 0),
        ("deviates", 1, 1, 0, 0, 0),
        ("deviates", 1, 0, 1, 0, 0),
        ("deviates", 2, 0, 0, 1, 0),
        ("open", 0, 0, 0, 0, 2),
    ]
    told = found.deviations.select("case_id", "kind", "step", "event").rows()
    assert told[:2] == [("c1", "skipped", "b", None), ("c2", "extra", "x", 1)]
    assert told[2][:2] == ("c3", "wrong_order") and told[2][3] is not None
    assert found.steps["step"].to_list() == ["a", "b", "c", "x"]
    closed = conform(
        replace(log, running=OpenCases(np.zeros(5, bool), (), 0.0)), read_plan(model(SEQUENCE, tmp_path))
    )
    assert closed.cases.row(4, named=True)["cost"] == 2 and closed.cases["skipped"].to_list()[4] == 2
    assert "alignment fitness" in closed.notes[0]


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", ["helpdesk_italian", "sepsis", "road_traffic_fines"])
def test_costs_are_those_of_pm4py(name: str, real_log: object, tmp_path: Path) -> None:
    import pm4py
    from pm4py.algo.conformance.alignments.petri_net import algorithm
    from pm4py.objects.log.obj import Event, Trace

    log = SequenceSet.from_log(api.read(real_log(name)))  # type: ignore[operator]
    variants = weighted(log)
    tree = process.discover(variants, log.vocabulary, coverage=0.5).tree
    path = model(tree, tmp_path)
    ours = align(read_net(path), variants, log.vocabulary)
    net, start, end = pm4py.convert_to_petri_net(pm4py.read_bpmn(str(path)))
    lengths = np.diff(variants.offsets)
    chosen = [v for v in np.argsort(lengths, kind="stable") if lengths[v] <= 9][
        :: 4 if name == "sepsis" else 2
    ][:25]
    for v in chosen:
        tokens = variants.tokens[variants.offsets[v] : variants.offsets[v + 1]]
        trace = Trace([Event({"concept:name": log.vocabulary.names[t]}) for t in tokens])
        theirs = algorithm.apply_trace(trace, net, start, end)
        assert ours.cost[v] == theirs["cost"] // 10_000  # 10,000 a deviation, 1 for any other step
    assert len(chosen) >= 10 and (ours.cost[chosen] > 0).any()


@pytest.mark.filterwarnings("ignore")
def test_replay_calls_fitting_what_no_alignment_supports(real_log: object, tmp_path: Path) -> None:
    import pm4py

    path = real_log("sepsis")  # type: ignore[operator]
    log = SequenceSet.from_log(api.read(path))
    variants = weighted(log)
    tree = process.process_tree(variants, log.vocabulary.names, 0.2)
    net, start, end = pm4py.convert_to_petri_net(tree)
    pm4py.write_pnml(net, start, end, str(tmp_path / "plan.pnml"))
    found = align(read_net(tmp_path / "plan.pnml"), variants, log.vocabulary)
    fitting = int(variants.cases[found.cost == 0].sum())
    import polars as pl

    frame = pl.read_parquet(path).select("case_id", "activity", "timestamp").to_pandas()
    names = {"case_id": "case_id", "activity_key": "activity", "timestamp_key": "timestamp"}
    replay = pm4py.conformance_diagnostics_token_based_replay(
        pm4py.format_dataframe(frame, **names), net, start, end
    )
    assert sum(r["trace_is_fit"] for r in replay) > fitting + 100
    assert 0 < fitting < log.n_cases


def test_a_smaller_net_has_the_same_costs(tmp_path: Path) -> None:
    path = model(MIXED, tmp_path)
    small = read_net(path)
    root = __import__("xml.etree.ElementTree").etree.ElementTree.fromstring(path.read_bytes())
    from behavio.process import net as room

    whole = room._from_bpmn(root, path)
    assert len(small.transitions) < len(whole.transitions) and set(small.activities) == set(whole.activities)
    rng = np.random.default_rng(1)
    traces = [[str(x) for x in rng.choice(list("abcdefx"), rng.integers(1, 8))] for _ in range(150)]
    log = SequenceSet.from_traces(traces)
    a, b = (align(n, weighted(log), log.vocabulary).cost.tolist() for n in (small, whole))
    assert a == b


FLOWS = "s>g g>a g>b g>c c>d a>j b>j d>j j>e e>z"


def drawn(flows: str, folder: Path, gates: str = "gj", several: str = "") -> Path:
    """A BPMN file: s and z are start and end, `gates` inclusive, `several` exclusive, the rest tasks."""
    ends = [f.split(">") for f in flows.split()]
    kinds = {"s": "startEvent", "z": "endEvent"} | dict.fromkeys(gates, "inclusiveGateway")
    kinds |= dict.fromkeys(several, "exclusiveGateway")
    nodes = dict.fromkeys(n for pair in ends for n in pair)
    parts = [f"<{kinds.get(n, 'task')} id='{n}' name='{n}'/>" for n in nodes]
    parts += [f"<sequenceFlow id='f{i}' sourceRef='{a}' targetRef='{b}'/>" for i, (a, b) in enumerate(ends)]
    path = folder / "several.bpmn"
    path.write_text(f"<definitions><process>{''.join(parts)}</process></definitions>")
    return path


def test_an_inclusive_gateway_waits_for_the_branches_that_were_taken(tmp_path: Path) -> None:
    # one or more of a, b and c → d, in any order between branches, then e
    expected = {
        "ae": 0, "be": 0, "cde": 0, "abe": 0, "bae": 0, "cbde": 0, "acbde": 0, "cdabe": 0,
        "e": 1, "ce": 1, "dce": 2, "aae": 1, "abee": 1, "eab": 2,
    }  # fmt: skip
    log = SequenceSet.from_traces([list(t) for t in expected])
    found = conform(log, read_plan(drawn(FLOWS, tmp_path)))
    assert dict(zip(expected, found.cases["cost"].to_list(), strict=True)) == expected


def test_inclusive_blocks_inside_each_other_and_one_that_passes_on(tmp_path: Path) -> None:
    # outer: a or (inner: b or c, or both) or all of it; h only passes on
    path = drawn("s>g g>a g>i i>b i>c b>k c>k k>j a>j j>h h>z", tmp_path, gates="gjikh")
    expected = {"a": 0, "b": 0, "bc": 0, "cab": 0, "ac": 0, "aa": 1, "bb": 1}
    log = SequenceSet.from_traces([list(t) for t in expected])
    found = conform(log, read_plan(path))
    assert found.cases["cost"].to_list() == list(expected.values())


@pytest.mark.parametrize(
    ("flows", "several", "why"),
    [
        ("s>g g>a g>b a>z b>z", "", "without a join"),  # no join at all
        ("s>g g>a g>b a>j b>x x>j x>z j>z", "x", "without a join"),  # a way out of the block
        ("s>y y>g y>a g>a g>b a>j b>j j>z", "y", "without a join"),  # a way into it
        ("s>y y>a y>b a>j b>j j>z", "y", "no split of its own"),
        ("s>g " + " ".join(f"g>{n} {n}>j" for n in "abcdefk") + " j>z", "", "7 out"),
    ],
)
def test_inclusive_gateways_that_are_no_block_are_refused(
    flows: str, several: str, why: str, tmp_path: Path
) -> None:
    gates = "".join(g for g in "gj" if g in flows)
    with pytest.raises(JobError, match=why) as refused:
        read_net(drawn(flows, tmp_path, gates, several))
    assert "inclusiveGateway" in str(refused.value) and "branches" in refused.value.hint


def test_alignments_cost_no_more_for_more_cases(tmp_path: Path) -> None:
    # a thousand cases of two traces: two alignments, moves counted for all
    log = SequenceSet.from_traces([list("abc"), list("ac")] * 500)
    found = conform(
        log, Plan(net=Net("s", "e", (("a", ("s",), ("p",)), ("b", ("p",), ("q",)), ("c", ("q",), ("e",)))))
    )
    assert found.steps["skipped"].to_list() == [0, 500, 0] and found.deviations.height == 500


def test_a_search_that_takes_too_long_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log = SequenceSet.from_traces([list("abc")] * 3 + [list("ac")] * 2 + [list("xyz")])
    plan = read_plan(model(SEQUENCE, tmp_path))
    monkeypatch.setattr("behavio.process.alignment.ALL_STATES", 1)  # the most frequent trace, then no more
    found = conform(log, plan)
    assert found.cases["state"].to_list() == ["conforms"] * 3 + ["not started"] * 3
    assert found.cases["cost"].to_list() == [0, 0, 0, None, None, None]
    assert any("3 cases need too long a search" in n for n in found.notes)
    monkeypatch.setattr("behavio.process.alignment.ALL_STATES", 0)
    assert conform(log, plan).notes[0] == "no trace could be aligned to the model"


def test_a_model_without_a_way_through_is_refused() -> None:
    # b needs both p and q, but a gives only p
    dead = Net("s", "e", (("a", ("s",), ("p",)), ("b", ("p", "q"), ("e",)), ("c", ("r",), ("q",))))
    with pytest.raises(JobError, match="cannot be gone through") as refused:
        conform(SequenceSet.from_traces([list("ab")]), Plan(net=dead))
    assert refused.value.hint


@pytest.mark.parametrize(
    "text, word",
    [
        ("<bpmn", "no XML"),
        ("<definitions><process><task id='a' name='x'/></process></definitions>", "0 processes"),
        (
            "<d><process><startEvent id='s'/><inclusiveGateway id='g'/><endEvent id='e'/>"
            "<sequenceFlow id='f' sourceRef='s' targetRef='e'/></process></d>",
            "inclusiveGateway",
        ),
        (
            "<d><process><task id='s' name='x'/><sequenceFlow id='f' sourceRef='s'/></process></d>",
            "no start",
        ),
        (
            "<d><process><startEvent id='s'/><endEvent id='e'/>"
            "<sequenceFlow id='f' sourceRef='s' targetRef='e'/></process></d>",
            "names no activity",
        ),
        ("<pnml><net><page><place id='p'/></page></net></pnml>", "0 marked places"),
    ],
)
def test_models_that_cannot_be_aligned_are_told(text: str, word: str, tmp_path: Path) -> None:
    (tmp_path / "plan.bpmn").write_text(text)
    with pytest.raises(JobError, match=word) as refused:
        read_plan(tmp_path / "plan.bpmn")
    assert refused.value.hint
    with pytest.raises(JobError, match="no file"):
        read_plan(tmp_path / "none.bpmn")


def test_ids_of_events_follow_each_other(tmp_path: Path) -> None:
    log = SequenceSet.from_traces([list("xaybzc")])
    found = conform(log, read_plan(model(SEQUENCE, tmp_path)))
    events = found.deviations["event"].to_list()
    assert events == [0, 2, 4] and all(a < b for a, b in pairwise(events))
