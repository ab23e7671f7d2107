"""Sessions, episodes and groups: long streams cut, touchpoints joined, nothing lost without being counted."""

from __future__ import annotations

import dataclasses
from datetime import date, datetime

import numpy as np
import polars as pl
import pytest
from conftest import traces
from hypothesis import given
from hypothesis import strategies as st
from oracles_journeys import load

from behavio.errors import JobError
from behavio.journeys import (
    directly_follows,
    episodes,
    group_activities,
    join_repeats,
    process_map,
    read_rules,
    sessions,
    similar_activities,
)
from behavio.journeys.choice import choose
from behavio.journeys.sessions import PIECE_SCHEMA
from behavio.sequences import Field, SequenceSet, Vocabulary

DAY = 86_400


def lists(log: SequenceSet) -> list[list[str]]:
    return [[log.vocabulary.names[t] for t in trace] for trace in log]


def untimed(log: SequenceSet) -> SequenceSet:
    return dataclasses.replace(log, timed=False)


def test_sessions_by_hand():
    # c0: a(0) b(30 min) | c(61 min); c1: a. A gap of exactly 30 minutes does not cut
    log = SequenceSet.from_traces([["a", "b", "c"], ["a"]], [[0, 1800, 3661], [5]])
    found = sessions(log, "30m")
    assert lists(found.sequences) == [["a", "b"], ["c"], ["a"]]
    assert found.sequences.case_ids.to_list() == ["c0#1", "c0#2", "c1#1"]
    assert (found.parent.tolist(), found.number.tolist(), len(found)) == ([0, 0, 1], [1, 2, 1], 3)
    frame = found.to_frame()
    assert dict(frame.schema) == PIECE_SCHEMA
    assert frame.select("parent", "number", "events").rows() == [("c0", 1, 2), ("c0", 2, 1), ("c1", 1, 1)]
    assert frame["start"][1].isoformat() == "1970-01-01T01:01:01+00:00"
    with pytest.raises(JobError, match="no clock"):
        sessions(untimed(log))


@given(made=traces, seed=st.integers(0, 99), gap=st.integers(1, 20))
def test_sessions_hold_every_event_once_in_order(made, seed, gap):
    rng = np.random.default_rng(seed)
    times = [np.sort(rng.integers(0, 60, len(t))).tolist() for t in made]
    log = SequenceSet.from_traces(made, times)
    found = sessions(log, f"{gap}s")
    expected = []
    for c, (trace, stamps) in enumerate(zip(made, times, strict=True)):
        runs = [[trace[0]]]
        for i in range(1, len(trace)):
            runs.append([]) if stamps[i] - stamps[i - 1] > gap else None
            runs[-1].append(trace[i])
        expected += [(f"c{c}#{k}", run) for k, run in enumerate(runs, start=1)]
    assert list(zip(found.sequences.case_ids, lists(found.sequences), strict=True)) == expected
    assert np.shares_memory(found.sequences.tokens, log.tokens), "the events are not copied"


def test_episodes_by_hand():
    # spring: 1 to 9 March (the end not included), for everybody; a window of its own for c1
    march = [int(datetime(2026, 3, d).timestamp()) for d in (1, 5, 9)]
    log = SequenceSet.from_traces([["a", "b", "c"], ["a", "a"]], [march, [march[1], march[2]]])
    windows = pl.DataFrame(
        {
            "name": ["spring", "own"],
            "start": [date(2026, 3, 1), date(2026, 3, 9)],
            "end": [date(2026, 3, 9), None],
            "case_id": [None, "c1"],
        }
    )
    found = episodes(log, windows)
    assert found.sequences.case_ids.to_list() == ["c0#spring", "c1#spring", "c1#own"]
    assert lists(found.sequences) == [["a", "b"], ["a"], ["a"]]
    assert (found.n_outside, found.parent.tolist(), found.number.tolist()) == (1, [0, 1, 1], [1, 1, 2])
    assert found.to_frame()["name"].to_list() == ["spring", "spring", "own"]
    text = windows.with_columns(pl.col("start", "end").cast(pl.String)).drop("case_id", "name")
    assert episodes(log, text).sequences.case_ids.to_list() == ["c0#1", "c0#2", "c1#1", "c1#2"]


def test_an_event_in_two_windows_is_in_two_episodes_and_names_may_repeat():
    log = SequenceSet.from_traces([["a", "b"]], [[0, 10]])
    start = [datetime(1970, 1, 1), datetime(1969, 1, 1)]
    windows = pl.DataFrame({"name": ["x", "x"], "start": start, "end": [datetime(1970, 1, 2)] * 2})
    found = episodes(log, windows)
    assert found.sequences.case_ids.to_list() == ["c0#x#1", "c0#x#2"] and found.n_outside == 0


@pytest.mark.parametrize(
    ("windows", "said"),
    [
        ({"start": [date(2030, 1, 1)], "end": [date(2031, 1, 1)]}, "no event lies"),
        ({"start": [date(1970, 1, 1)], "end": [date(1970, 1, 1)]}, "window 1 ends before"),
        ({"start": [1], "end": [2]}, "holds no dates"),
        ({"begin": [date(1970, 1, 1)]}, "need the columns start, end"),
        ({"start": [date(1970, 1, 1)], "end": [date(1971, 1, 1)], "case_id": ["nobody"]}, "no event lies"),
    ],
)
def test_windows_that_cannot_be(windows, said):
    with pytest.raises(JobError, match=said):
        episodes(SequenceSet.from_traces([["a"]], [[0]]), pl.DataFrame(windows))


def test_fields_stay_with_their_events():
    log = SequenceSet.from_traces([["a", "b", "b"]], [[0, 5, 6]])
    log = dataclasses.replace(
        log, fields={"brand": Field(np.array([2, 3, 2], np.int32), Vocabulary.of(["x", "y"]))}
    )
    windows = pl.DataFrame({"start": [datetime(1970, 1, 1, 0, 0, 5)], "end": [datetime(1970, 1, 2)]})
    assert episodes(log, windows).sequences.fields["brand"].codes.tolist() == [3, 2]
    assert sessions(log, "2s").sequences.fields["brand"].codes.tolist() == [2, 3, 2]
    assert join_repeats(log).fields["brand"].codes.tolist() == [2, 3]


def test_groups_by_rule():
    # the first rule that fits wins: call_f2f is a visit, the other calls are remote
    made = [["call_f2f", "call_video", "call_phone", "portal"], ["portal", "portal"]]
    found = group_activities(SequenceSet.from_traces(made), {"call_f2f": "visit", "call_*": "remote"})
    assert lists(found.sequences) == [["visit", "remote", "remote", "portal"], ["portal", "portal"]]
    assert found.table.rows() == [
        ("portal", "portal", 3, None),
        ("remote", "call_phone", 1, "call_*"),
        ("remote", "call_video", 1, "call_*"),
        ("visit", "call_f2f", 1, "call_f2f"),
    ]
    joined = group_activities(SequenceSet.from_traces(made), {"call_*": "call"}, join=True)
    assert lists(joined.sequences) == [["call", "portal"], ["portal"]] and joined.n_joined == 3
    with pytest.raises(JobError, match="'mail_\\*' fits no activity"):
        group_activities(SequenceSet.from_traces(made), {"mail_*": "mail"})


@given(made=traces)
def test_groups_keep_every_event(made):
    log = SequenceSet.from_traces(made)
    found = group_activities(log, {"[ab]": "x"} if set("ab") & set(log.vocabulary.names) else {"*": "x"})
    assert found.table["events"].sum() == log.n_events == found.sequences.n_events
    assert found.sequences.offsets.tolist() == log.offsets.tolist()


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("r.toml", '"call_*" = 3', "is no text"),
        ("r.toml", "", "no rule"),
        ("r.toml", "call_* = x", "not valid TOML"),
        ("r.csv", "pattern\na\n", "two columns"),
    ],
)
def test_files_of_rules_that_cannot_be(tmp_path, name, text, said):
    (tmp_path / name).write_text(text)
    with pytest.raises(JobError, match=said):
        read_rules(tmp_path / name)
    with pytest.raises(JobError, match="there is no file"):
        read_rules(tmp_path / "none.toml")


def test_files_of_rules(tmp_path):
    (tmp_path / "r.toml").write_text('[groups]\n"call_*" = "call"\nportal = "web"\n')
    (tmp_path / "r.csv").write_text("pattern,group\ncall_*,call\nportal,web\n")
    wanted = {"call_*": "call", "portal": "web"}
    assert read_rules(tmp_path / "r.toml") == read_rules(tmp_path / "r.csv") == wanted


def test_activities_that_stand_in_the_same_places_are_similar():
    # x and y are always between a and b: their neighbours are the same
    made = [["a", "x", "b"]] * 3 + [["a", "y", "b"]] * 2
    assert similar_activities(SequenceSet.from_traces(made), 3) == {"x": "x +1", "y": "x +1"}
    assert similar_activities(SequenceSet.from_traces(made), 9) == {}
    with pytest.raises(JobError, match="0 groups"):
        similar_activities(SequenceSet.from_traces(made), 0)


def test_similarity_makes_the_wished_number_of_groups_and_the_same_each_time(real_log):
    log = load(real_log("bpic2012"))
    rules = similar_activities(log, 8)
    assert rules == similar_activities(log, 8)
    grouped = group_activities(log, rules).sequences
    assert len(grouped.vocabulary.activities) <= 8 and grouped.n_events == log.n_events


@pytest.mark.parametrize("name", ["open_payments_iowa", "msnbc323", "bpic2011_hospital", "amazon_beauty_seq"])
def test_simplified_maps_are_never_empty_and_say_what_they_hide(real_log, name):
    graph = directly_follows(load(real_log(name)), quantiles=False)
    for nodes in (1, 2, 6):
        chosen = choose(graph, nodes)
        assert len(chosen.names) == min(nodes, graph.activities.height)
        drawn = process_map(graph, nodes, 900)
        assert "hidden" in drawn or chosen.share == 1.0
        assert f"{graph.edges['frequency'].sum():,}" in drawn
