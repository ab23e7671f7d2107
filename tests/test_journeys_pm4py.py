"""Value by value against pm4py where it is right, and right where it is wrong."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pytest
from oracles_journeys import load, pm4py_frame

import behavio
from behavio.journeys import (
    case_table,
    directly_follows,
    eventually_follows,
    rework,
    variants,
    waiting_times,
)
from behavio.process import WeightedVariants, process_tree
from behavio.sequences import SequenceSet

LOGS = (
    *("sepsis", "helpdesk_italian", "bpic2020_domestic", "bpic2020_rfp", "road_traffic_fines"),
    *("bpic2013_closed", "env_permit", "tax_helpdesk"),
)


@pytest.fixture(scope="module", params=LOGS)
def both(request: pytest.FixtureRequest) -> tuple[SequenceSet, pd.DataFrame]:
    """A real log as ours and as pm4py's."""
    from conftest import DATA

    path = DATA / request.param / "events.parquet"
    if not path.exists():
        pytest.skip(f"real log {request.param} is not in {DATA.name}/ (set BEHAVIO_DATA to its folder)")
    log = load(path)
    return log, pm4py_frame(log)


def near(found: float, wanted: float) -> bool:
    return math.isclose(found, wanted, rel_tol=1e-9, abs_tol=2e-6)


def test_the_graph_and_its_times_are_pm4pys(both):
    import pm4py

    log, frame = both
    graph = directly_follows(log)
    edges = {(r["source"], r["target"]): r for r in graph.edges.iter_rows(named=True)}
    dfg, starts, ends = pm4py.discover_dfg(frame.copy())
    assert {e: r["frequency"] for e, r in edges.items()} == dfg
    rows = {r["activity"]: r for r in graph.activities.iter_rows(named=True)}
    assert {a: r["starts"] for a, r in rows.items() if r["starts"]} == starts
    assert {a: r["last_seen"] for a, r in rows.items() if r["last_seen"]} == ends
    performance, _, _ = pm4py.discover_performance_dfg(frame.copy(), perf_aggregation_key="all")
    assert performance.keys() == edges.keys()
    names = {"mean": "mean_s", "median": "median_s", "min": "min_s", "max": "max_s", "stdev": "std_s"}
    for edge, theirs in performance.items():
        for name, ours in names.items():
            if name == "stdev" and edges[edge]["frequency"] == 1:
                assert edges[edge][ours] is None  # pm4py says 0: one wait alone has no spread
                continue
            assert near(edges[edge][ours], theirs[name]), (edge, name)


def test_variants_durations_and_rework_are_pm4pys(both):
    import pm4py

    log, frame = both
    found = variants(log).to_frame()
    ours = {tuple(a): n for a, n in zip(found["activities"], found["cases"], strict=True)}
    assert ours == {k: int(v) for k, v in pm4py.get_variants(frame.copy()).items()}
    durations = sorted(pm4py.get_all_case_durations(frame.copy()))
    assert case_table(log)["duration_s"].sort().to_list() == pytest.approx(durations)
    theirs = pm4py.get_rework_cases_per_activity(frame.copy())
    repeated = rework(log).filter(pl.col("rework_cases") > 0)
    assert dict(repeated.select("activity", "rework_cases").rows()) == theirs


@pytest.mark.filterwarnings("ignore:The 'lsuffix'")  # pm4py's own
def test_eventually_follows_and_the_temporal_profile_are_pm4pys(both):
    import pm4py

    log, frame = both
    found = {(r[0], r[1]): r[2:] for r in eventually_follows(log).rows()}
    assert {p: r[0] for p, r in found.items()} == pm4py.discover_eventually_follows_graph(frame.copy())
    profile = pm4py.discover_temporal_profile(frame.copy())
    assert profile.keys() == found.keys()
    for pair, (mean, deviation) in profile.items():
        assert near(found[pair][2], mean), pair
        if found[pair][0] > 1:
            assert near(found[pair][3], deviation), pair


# ---------------------------------------------------------------- known defects: the right answer by hand


def as_pm4py(rows: list[tuple[str, str, str]]) -> pd.DataFrame:
    frame = pd.DataFrame(rows, columns=["case:concept:name", "concept:name", "time:timestamp"])
    return frame.assign(
        **{"time:timestamp": pd.to_datetime(frame["time:timestamp"], format="ISO8601", utc=True)}
    )


def named(frame: pd.DataFrame) -> dict[str, Any]:
    ours = ("case_id", "activity", "timestamp")
    return dict(zip(ours, ("case:concept:name", "concept:name", "time:timestamp"), strict=True))


def test_parts_of_a_second_count():
    # x → y after 0.9 s and x → z after 1.85 s; pm4py's Polars path says 0 s and 1 s
    frame = as_pm4py(
        [
            ("1", "x", "2026-01-01T00:00:00"),
            ("1", "y", "2026-01-01T00:00:00.900"),
            ("1", "z", "2026-01-01T00:00:01.850"),
        ]
    )
    edges = behavio.graph(pl.from_pandas(frame), **named(frame))
    assert edges.filter(pl.col("target") == "y")["mean_s"].to_list() == [0.9]
    pairs = behavio.graph(pl.from_pandas(frame), eventually=True, **named(frame))
    assert pairs.filter(target="z", source="x")["mean_s"].to_list() == [1.85]
    found = behavio.journeys(pl.from_pandas(frame), **named(frame)).waiting()
    assert found.filter(activity="z")["mean_s"].to_list() == [pytest.approx(0.95)]


def test_rows_in_any_order_give_the_same_answer_and_the_frame_is_left_alone():
    # three cases x, y, z; pm4py finds other variants and start activities once the rows are shuffled
    rows = [(str(c), a, f"2026-01-0{c}T00:00:0{i}") for c in (1, 2, 3) for i, a in enumerate("xyz", start=1)]
    for seed in range(5):
        order = np.random.default_rng(seed).permutation(9)
        frame = as_pm4py([rows[i] for i in order])
        before = frame.copy()
        found = behavio.variants(frame, **named(frame))
        assert isinstance(found, pd.DataFrame)
        assert found[["variant", "cases"]].to_numpy().tolist() == [["x → y → z", 3]]
        activities = behavio.journeys(frame, **named(frame)).graph().activities
        assert dict(activities.select("activity", "starts").rows()) == {"x": 3, "y": 0, "z": 0}
        pd.testing.assert_frame_equal(frame, before)  # pm4py writes a column into it


def test_arrow_text_and_numbers_as_case_ids():
    # pm4py fails on the first in filter_variants_top_k and refuses the second
    frame = as_pm4py([("7", "x", "2026-01-01"), ("7", "y", "2026-01-02"), ("8", "x", "2026-01-01")])
    arrow = frame.astype({"concept:name": "string[pyarrow]", "case:concept:name": "string[pyarrow]"})
    numbers = frame.assign(**{"case:concept:name": [7, 7, 8]})
    for kind in (arrow, numbers):
        found = behavio.variants(kind, top=1, **named(frame))
        assert found[["variant", "cases"]].to_numpy().tolist() == [["x", 1]]


def test_weighted_variants_are_what_the_miner_takes():
    # pm4py's own algorithm refuses the Counter its signature names; a b ×5 is the sequence a, b
    log = SequenceSet.from_traces([["a", "b"]] * 5)
    found = variants(log)
    tree = process_tree(WeightedVariants(found.tokens, found.offsets, found.cases), log.vocabulary.names, 0.2)
    assert str(tree) == "->( 'a', 'b' )"


def test_waits_add_up_to_the_durations(both):
    log, _ = both
    waits = waiting_times(log)
    total = (waits["mean_s"] * waits["waits"]).sum()
    assert total == pytest.approx(case_table(log)["duration_s"].sum())
    assert waits["share"].sum() == pytest.approx(1.0)


def test_lengths_and_shares_of_the_first_variants_are_of_the_whole_log():
    # pm4py's older top-50 gives traces, its frames events; here rows are variants, shares of all cases
    log = SequenceSet.from_traces([["a", "b"]] * 3 + [["a"]] * 2 + [["c"]])
    found = variants(log).to_frame(2)
    assert found["cases"].to_list() == [3, 2] and found["length"].to_list() == [2, 1]
    assert found["cumulative_share"].to_list() == pytest.approx([3 / 6, 5 / 6])


def test_missing_attributes_stop_nothing():
    # pm4py's handover of work fails where some event has no resource
    rows = [("1", "x", "a"), ("1", "y", None), ("2", "x", None), ("2", "y", "b"), ("3", "y", None)] * 2
    frame = pl.DataFrame(
        {
            "case_id": [f"{c}-{i >= 5}" for i, (c, _, _) in enumerate(rows)],
            "activity": [a for _, a, _ in rows],
            "timestamp": [f"2026-01-{1 + i % 5:02d}" for i in range(10)],
            "resource": [r for _, _, r in rows],
        }
    )
    assert behavio.graph(frame).select("source", "target", "frequency").rows() == [("x", "y", 4)]
    compared = behavio.compare(frame, by="resource", values=("a",))
    # two cases with a, two with b only; the two without any resource belong to neither
    assert compared.names == ("a", "not a") and compared.n_cases == (2, 2)
