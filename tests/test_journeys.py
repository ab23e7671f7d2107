"""Directly-follows graph, variants and what write_journeys leaves behind."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from collections import Counter
from datetime import UTC, datetime
from functools import reduce

import numpy as np
import polars as pl
import pytest
from conftest import traces
from hypothesis import given
from hypothesis import strategies as st
from oracles_journeys import load, slow_activities, slow_graph
from polars.testing import assert_frame_equal

from behavio.engine.local import LocalEngine
from behavio.errors import JobError, LogError
from behavio.journeys import (
    DIRECTLY_FOLLOWS,
    VARIANTS,
    DirectlyFollowsGraph,
    JourneySettings,
    case_table,
    directly_follows,
    distinct,
    variants,
    write_journeys,
)
from behavio.journeys import graph as graph_frame
from behavio.journeys.follows import ACTIVITY_SCHEMA, EDGE_SCHEMA, finish
from behavio.journeys.traces import VARIANT_SCHEMA, VariantTally
from behavio.journeys.waits import StepTally
from behavio.sequences import SequenceSet

HOUR = 3_600
TABLES = (
    "graph activities variants cases waiting rework steps eventually durations retention lifecycle "
    "dependencies"
)
# call → open → visit  |  call → open → open → visit  |  call → open → visit  |  visit  |  call → visit
FIVE = [["call", "open", "visit"], ["call", "open", "open", "visit"], ["call", "open", "visit"], ["visit"]]
FIVE += [["call", "visit"]]
HOURS = [[0, 1, 5], [0, 2, 3, 9], [0, 3, 4], [7], [2, 2]]
TIMES = [[h * HOUR for h in hours] for hours in HOURS]


def five(timed: bool = True) -> SequenceSet:
    log = SequenceSet.from_traces(FIVE, TIMES)
    return SequenceSet(log.tokens, log.offsets, log.times, log.case_ids, log.vocabulary, timed=timed)


def times_like(made: list[list[str]], rng: np.random.Generator) -> list[list[int]]:
    return [np.sort(rng.integers(0, 50, len(t))).tolist() for t in made]


def test_graph_of_five_cases_by_hand():
    # call→open 3 after 1, 2, 3 h; open→visit 3 after 4, 6, 1 h; call→visit 1 at once; open→open 1 after 1 h
    edges = directly_follows(five()).to_frame()
    assert edges.columns == list(EDGE_SCHEMA)
    assert edges.select("source", "target", "frequency", "cases").rows() == [
        ("call", "open", 3, 3),
        ("open", "visit", 3, 3),
        ("call", "visit", 1, 1),
        ("open", "open", 1, 1),
    ]
    assert edges["median_s"].to_list() == [2 * HOUR, 4 * HOUR, 0, HOUR]
    assert edges["mean_s"].to_list() == pytest.approx([2 * HOUR, 11 / 3 * HOUR, 0, HOUR])
    assert edges["p10_s"].to_list() == pytest.approx([1.2 * HOUR, 1.6 * HOUR, 0, HOUR])
    assert edges["p90_s"].to_list() == pytest.approx([2.8 * HOUR, 5.6 * HOUR, 0, HOUR])


def test_activities_of_five_cases_by_hand():
    found = directly_follows(five())
    assert found.activities_frame().columns == list(ACTIVITY_SCHEMA)
    assert found.activities_frame().rows() == [
        ("visit", 5, 5, 1, 5, 0, 0),
        ("call", 4, 4, 4, 0, 0, 0),
        ("open", 4, 3, 0, 0, 0, 1),
    ]
    assert (found.n_cases, found.n_events, found.timed) == (5, 13, True)


def test_graph_of_a_log_without_a_clock_has_no_times():
    found = directly_follows(five(timed=False))
    assert found.to_frame().select("median_s", "mean_s", "p90_s", "p10_s").null_count().row(0) == (4,) * 4
    assert found.to_frame()["frequency"].sum() == 8 and not found.timed


@given(traces, st.integers(0, 99))
def test_graph_matches_the_oracle(made, seed):
    times = times_like(made, np.random.default_rng(seed))
    found = directly_follows(SequenceSet.from_traces(made, times))
    slow = slow_graph(made, times)
    edges = {(r["source"], r["target"]): r for r in found.edges.iter_rows(named=True)}
    assert edges.keys() == slow.keys()
    for edge, (frequency, cases, waits) in slow.items():
        row = edges[edge]
        assert (row["frequency"], row["cases"]) == (frequency, cases)
        quantiles = np.quantile(waits, [0.1, 0.5, 0.9])
        assert [row["p10_s"], row["median_s"], row["p90_s"]] == pytest.approx(quantiles)
        assert row["mean_s"] == pytest.approx(np.mean(waits))
        deviation = np.std(waits, ddof=1) if len(waits) > 1 else None
        assert row["std_s"] == (deviation if deviation is None else pytest.approx(deviation))
        assert (row["min_s"], row["max_s"]) == (min(waits), max(waits))
    assert {r[0]: r[1:] for r in found.activities.rows()} == slow_activities(made)


@given(traces, st.integers(1, 8), st.integers(0, 99))
def test_shards_merge_to_the_same_graph(made, n, seed):
    log = SequenceSet.from_traces(made, times_like(made, np.random.default_rng(seed)))
    parts = [DIRECTLY_FOLLOWS.of(shard) for shard in log.shards(n)]
    none = StepTally.empty(len(log.vocabulary))
    whole = finish(DIRECTLY_FOLLOWS.of(log), log.vocabulary)
    for answer in (
        reduce(DIRECTLY_FOLLOWS.merge, parts),
        reduce(lambda right, left: DIRECTLY_FOLLOWS.merge(left, right), reversed(parts)),
        reduce(DIRECTLY_FOLLOWS.merge, [none, *parts, none]),
    ):
        merged = finish(answer, log.vocabulary)
        assert_frame_equal(merged.edges, whole.edges, check_exact=True)
        assert_frame_equal(merged.activities, whole.activities, check_exact=True)


@given(traces, st.integers(1, 8))
def test_shards_merge_to_the_same_variants(made, n):
    log = SequenceSet.from_traces(made)
    parts = [VARIANTS.of(shard) for shard in log.shards(n)]
    merged = reduce(VARIANTS.merge, [VariantTally.empty(), *parts, VariantTally.empty()])
    whole = VARIANTS.of(log)
    for name in ("tokens", "offsets", "cases"):
        assert getattr(merged, name).tolist() == getattr(whole, name).tolist()
    assert np.concatenate(merged.of_case).tolist() == whole.of_case[0].tolist()


def test_the_engine_gives_the_same_graph_for_any_number_of_shards():
    rng = np.random.default_rng(1)
    made = [rng.choice(list("abcdef"), 12).tolist() for _ in range(10_000)]
    log = SequenceSet.from_traces(made, times_like(made, rng))
    frames = [directly_follows(log, LocalEngine(n_shards=n)).edges for n in (1, 3, 8)]
    for other in frames[1:]:
        assert_frame_equal(frames[0].drop("std_s"), other.drop("std_s"), check_exact=True)
        assert_frame_equal(frames[0], other)
    assert frames[0]["frequency"].sum() == 110_000


def test_the_empty_graph_has_its_columns():
    found = finish(StepTally.empty(2), SequenceSet.from_traces([["a"]]).vocabulary.of([]))
    assert found.edges.height == found.activities.height == found.n_cases == 0
    assert dict(found.edges.schema) == EDGE_SCHEMA and "<svg" in found._repr_html_()


def test_fifty_thousand_activities_need_no_square():
    names = [f"page {i}" for i in range(50_000)]
    log = SequenceSet.from_traces([names, names[:10], names[::-1]])
    found = directly_follows(log)
    assert found.edges.height == 2 * 49_999
    assert found.edges["frequency"].to_list()[:9] == [2] * 9 and found.edges["frequency"].sum() == 100_007
    assert found.activities.height == 50_000


@pytest.mark.parametrize(
    ("made", "edges"), [([["a"]], 0), ([["a"], ["a"]], 0), ([["a", "a", "a"]], 1), ([["🙂", "שלום"]], 1)]
)
def test_tiny_logs(made, edges, tmp_path):
    log = SequenceSet.from_traces(made)
    assert directly_follows(log).edges.height == edges
    facts = write_journeys(log, JourneySettings(), tmp_path)
    assert facts["process_model"]["written"] and ET.parse(tmp_path / "map.svg").getroot().tag.endswith("svg")


def test_graph_helper_takes_sequences():
    assert_frame_equal(graph_frame(five()), directly_follows(five()).edges)


def test_a_graph_without_its_columns_is_refused():
    with pytest.raises(LogError, match="median_s"):
        DirectlyFollowsGraph(pl.DataFrame({"source": ["a"]}), pl.DataFrame())


def test_variants_of_five_cases_by_hand():
    frame = variants(five()).to_frame()
    assert dict(frame.schema) == VARIANT_SCHEMA
    assert frame.select("rank", "variant", "cases", "share", "cumulative_share", "length").rows() == [
        (1, "call → open → visit", 2, 0.4, 0.4, 3),
        (2, "call → open → open → visit", 1, 0.2, 0.6, 4),
        (3, "call → visit", 1, 0.2, 0.8, 2),
        (4, "visit", 1, 0.2, 1.0, 1),
    ]
    assert frame["median_duration_s"].to_list() == [4.5 * HOUR, 9 * HOUR, 0, 0]
    assert frame["activities"].to_list()[0] == ["call", "open", "visit"]
    assert variants(five()).to_frame(2).height == 2
    assert variants(five(timed=False)).to_frame()["median_duration_s"].null_count() == 4


@given(traces)
def test_variants_match_counting(made):
    found = variants(SequenceSet.from_traces(made))
    counted = Counter(tuple(t) for t in made)
    frame = found.to_frame()
    assert {tuple(a): n for a, n in zip(frame["activities"], frame["cases"], strict=True)} == counted
    assert frame.select("cases", "activities").rows() == sorted(
        ((n, list(t)) for t, n in counted.items()), key=lambda r: (-r[0], r[1])
    )
    assert [tuple(frame["activities"][int(i)]) for i in found.of_case] == [tuple(t) for t in made]


def test_distinct_keeps_each_trace_once():
    kept, weights = distinct(five())
    assert [t.tolist() for t in kept] == [t.tolist() for i, t in enumerate(five()) if i != 2]
    assert weights.tolist() == [2, 1, 1, 1]


def test_case_table_by_hand():
    frame = case_table(five())
    assert frame["variant_rank"].to_list() == [1, 2, 1, 4, 3]
    assert frame.row(1) == (
        "c1",
        4,
        2,
        datetime(1970, 1, 1, tzinfo=UTC),
        datetime(1970, 1, 1, 9, tzinfo=UTC),
        9.0 * HOUR,
    )
    assert case_table(five(timed=False)).select("first", "last", "duration_s").null_count().row(0) == (
        5,
        5,
        5,
    )
    assert case_table(five(timed=False)).schema == frame.schema


def test_write_journeys_writes_every_file_and_the_same_bytes_again(tmp_path):
    contents, seen = [], []
    for folder in (tmp_path / "one", tmp_path / "two"):
        folder.mkdir()
        seen.clear()
        facts = write_journeys(five(), JourneySettings(top_variants=2), folder, lambda _, s: seen.append(s))
        contents.append({p.name: p.read_bytes() for p in sorted(folder.iterdir())})
        assert seen == sorted(seen) and seen[-1] == 1.0
    assert contents[0] == contents[1]
    assert set(contents[0]) == {
        *(f"{n}.parquet" for n in (*TABLES.split(), "changes", "changed_steps")),
        *(f"period_{n}.parquet" for n in ("activities", "edges", "variants", "waits")),
        "periods.json",
        "map.svg",
        "process.bpmn",
        "process.pnml",
    }
    assert (facts["rows_in"], facts["n_variants"], facts["n_edges"]) == (13, 4, 4)
    assert pl.read_parquet(tmp_path / "one" / "variants.parquet").height == 2
    again = DirectlyFollowsGraph(
        *(pl.read_parquet(tmp_path / f"one/{n}.parquet") for n in ("graph", "activities"))
    )
    assert_frame_equal(again.edges, directly_follows(five()).edges)


def test_a_miner_that_stops_leaves_a_reason(tmp_path, monkeypatch):
    from behavio import process

    def stop(*args: object, **settings: object) -> None:
        raise ValueError("no cut")

    monkeypatch.setattr(process, "discover", stop)
    facts = write_journeys(five(), JourneySettings(), tmp_path)
    assert facts["process_model"] == {
        "written": False,
        "reason": "the inductive miner stopped: ValueError: no cut",
    }
    assert not (tmp_path / "process.bpmn").exists()


@pytest.mark.parametrize(
    "bad", [{"top_variants": 0}, {"noise": 1.5}, {"max_nodes": -1}, {"model_coverage": -1}]
)
def test_settings_out_of_range_are_refused(bad):
    with pytest.raises(JobError, match=next(iter(bad))):
        JourneySettings(**bad)


@pytest.mark.parametrize("name", ["bpic2012", "sepsis"])
def test_graph_and_variants_are_pm4pys(real_log, name):
    import pm4py

    log = load(real_log(name))
    events = pl.DataFrame(
        {
            "case:concept:name": log.case_ids.gather(pl.Series(log.case_of_event)),
            "concept:name": pl.Series(log.vocabulary.names).gather(pl.Series(log.tokens)),
            "time:timestamp": pl.Series(log.times).cast(pl.Datetime("us")).dt.replace_time_zone("UTC"),
        }
    ).to_pandas()
    events["@@index"] = range(len(events))
    found = directly_follows(log)
    edges = {(r["source"], r["target"]): r for r in found.edges.iter_rows(named=True)}
    dfg, starts, ends = pm4py.discover_dfg(events.copy())
    assert {e: r["frequency"] for e, r in edges.items()} == dfg
    acts = {r["activity"]: r for r in found.activities.iter_rows(named=True)}
    assert {a: r["starts"] for a, r in acts.items() if r["starts"]} == starts
    assert {a: r["last_seen"] for a, r in acts.items() if r["last_seen"]} == ends
    rework = pm4py.get_rework_cases_per_activity(events.copy())
    assert {a: r["rework_cases"] for a, r in acts.items() if r["rework_cases"]} == rework
    performance, _, _ = pm4py.discover_performance_dfg(events.copy(), perf_aggregation_key="all")
    for edge, theirs in performance.items():
        assert edges[edge]["mean_s"] == pytest.approx(theirs["mean"], rel=1e-9, abs=1e-6)
        assert edges[edge]["median_s"] == pytest.approx(theirs["median"], rel=1e-9, abs=1e-6)
    frame = variants(log).to_frame()
    ours = {tuple(a): n for a, n in zip(frame["activities"], frame["cases"], strict=True)}
    assert ours == {k: int(v) for k, v in pm4py.get_variants(events.copy()).items()}
    durations = sorted(pm4py.get_all_case_durations(events.copy()))
    assert case_table(log)["duration_s"].sort().to_list() == pytest.approx(durations)
