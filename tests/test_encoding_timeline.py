"""The log in order of time, and what is counted from it without a sort."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from behavio.encoding import encode
from behavio.encoding.timeline import FollowsCounter, Moment, in_time_order, read_stream, write_stream
from behavio.errors import LogError
from behavio.journeys import directly_follows
from behavio.sequences import SequenceSet

logs = st.lists(
    st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 9)), min_size=1, max_size=6),
    min_size=1,
    max_size=8,
)


def log_of(rows: list[list[tuple[str, int]]]) -> SequenceSet:
    cases = [sorted(case, key=lambda e: e[1]) for case in rows]
    return SequenceSet.from_traces([[a for a, _ in c] for c in cases], [[t for _, t in c] for c in cases])


def test_smallest_stream() -> None:
    # c0 = a at 0 s, b at 5 s; c1 = b at 3 s: in time a(c0) b(c1) b(c0)
    log = SequenceSet.from_traces([["a", "b"], ["b"]], [[0, 5], [3]])
    (moment,) = in_time_order(log)
    assert moment.cases.tolist() == [0, 1, 0]
    assert moment.tokens.tolist() == [2, 3, 3]
    assert moment.times.tolist() == [0, 3_000_000, 5_000_000]
    counter = FollowsCounter(log.vocabulary)
    counter.feed(moment)
    assert counter.to_frame().rows() == [("a", "b", 1, 5.0)]


@given(rows=logs, most=st.integers(1, 10))
def test_the_stream_is_the_log_sorted_by_time(rows: list, most: int) -> None:
    log = log_of(rows)
    moments = list(in_time_order(log, most))
    order = np.argsort(log.times, kind="stable")
    for name, values in (("tokens", log.tokens), ("times", log.times), ("cases", log.case_of_event)):
        assert np.concatenate([getattr(m, name) for m in moments]).tolist() == values[order].tolist()


@given(rows=logs, cuts=st.lists(st.integers(0, 48), max_size=4))
@settings(max_examples=30)
def test_pieces_of_any_size_give_the_graph_of_the_log(rows: list, cuts: list[int]) -> None:
    log = log_of(rows)
    (whole,) = in_time_order(log)
    counter = FollowsCounter(log.vocabulary)
    places = [0, *sorted(cuts), log.n_events]
    for a, b in itertools.pairwise(places):
        counter.feed(Moment(whole.cases[a:b], whole.tokens[a:b], whole.times[a:b]))
    found, wanted = counter.to_frame(), directly_follows(log).edges
    assert found.drop("mean_s").rows() == wanted.select("source", "target", "frequency").rows()
    assert np.allclose(found["mean_s"], wanted["mean_s"], rtol=1e-12)
    assert counter.n_events == log.n_events


def test_many_edges_and_long_gaps() -> None:
    # 60 activities all after each other: more edges than the counter starts with; gaps of 3,000 years
    names = [f"a{i:02d}" for i in range(60)]
    traces = [[a, b] for a in names for b in names]
    log = SequenceSet.from_traces(traces, [[0, 95_000_000_000] for _ in traces])
    counter = FollowsCounter(log.vocabulary)
    for moment in in_time_order(log, 500):
        counter.feed(moment)
    frame = counter.to_frame()
    assert frame.height == 3_600 and frame["frequency"].to_list() == [1] * 3_600
    assert frame["mean_s"].to_list() == [95e9] * 3_600


def test_the_stream_lies_beside_the_log(tmp_path: Path, real_log: Any) -> None:
    log = encode(real_log("sepsis"), tmp_path / "log").sequences
    with pytest.raises(LogError, match="holds no stream"):
        read_stream(tmp_path / "log")
    write_stream(log, tmp_path / "log", 1_000)
    stream = read_stream(tmp_path / "log")
    assert (np.diff(stream.times) >= 0).all() and len(stream.cases) == log.n_events
    counter = FollowsCounter(log.vocabulary, log.n_cases)
    counter.feed(stream)
    edges = directly_follows(log).edges
    assert counter.to_frame()["frequency"].to_list() == edges["frequency"].to_list()
