from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl
import pytest
from conftest import traces
from hypothesis import given
from hypothesis import strategies as st

from behavio.errors import LogError
from behavio.log import EventLog
from behavio.sequences import PAD, UNKNOWN, SequenceSet, Vocabulary, time_cut

DAY = datetime(2024, 1, 1, tzinfo=UTC)


def names(sequences: SequenceSet) -> dict[str, list[str]]:
    """Activities of every case, by name."""
    known = sequences.vocabulary.names
    return {c: [known[t] for t in s] for c, s in zip(sequences.case_ids, sequences, strict=True)}


def log_of(traces: list[list[str]], **more: list) -> EventLog:
    """One event a day, cases c0, c1, …"""
    rows = [(f"c{i}", a, DAY + timedelta(days=d)) for i, t in enumerate(traces) for d, a in enumerate(t)]
    table = pl.DataFrame(rows, schema=["case_id", "activity", "timestamp"], orient="row")
    return EventLog.from_frame(table.with_columns(pl.Series(n, v) for n, v in more.items()))


def test_smallest_set():
    # two cases: c0 = a b a, c1 = b; ids are alphabetical after padding and unknown: a = 2, b = 3
    found = SequenceSet.from_log(log_of([["a", "b", "a"], ["b"]]))
    assert found.tokens.tolist() == [2, 3, 2, 3]
    assert found.offsets.tolist() == [0, 3, 4]
    assert found.tokens.dtype == np.int32 and found.offsets.dtype == found.times.dtype == np.int64
    assert (found.n_cases, found.n_events, found.lengths.tolist()) == (2, 4, [3, 1])
    assert found.gaps_s.tolist() == [0.0, 86_400.0, 86_400.0, 0.0]
    assert found.case_of_event.tolist() == [0, 0, 0, 1]
    assert found.vocabulary.activities == ("a", "b")


def test_from_log_and_from_traces_agree():
    given_traces = [["x", "y"], ["y", "y", "z"]]
    one, two = SequenceSet.from_log(log_of(given_traces)), SequenceSet.from_traces(given_traces)
    assert one.tokens.tolist() == two.tokens.tolist() and one.offsets.tolist() == two.offsets.tolist()
    assert (one.gaps_s == two.gaps_s).all()


def test_further_fields_are_coded_where_the_log_has_them():
    log = log_of([["a", "b"], ["a"]], channel=["email", None, "f2f"], brand=[None, None, None])
    found = SequenceSet.from_log(log)
    assert list(found.fields) == ["channel"]
    field = found.fields["channel"]
    assert field.codes.tolist() == [2, PAD, 3] and field.vocabulary.activities == ("email", "f2f")


def test_nonsense_is_refused_at_the_door():
    good = SequenceSet.from_traces([["a", "b"], ["a"]])
    for offsets in ([0, 2], [1, 2, 3], [0, 2, 2, 3], [0], []):
        with pytest.raises(LogError):
            SequenceSet(
                good.tokens, np.array(offsets, dtype=np.int64), good.times, good.case_ids, good.vocabulary
            )
    with pytest.raises(LogError):
        Vocabulary(("", "(unknown)", "a", "a"))
    with pytest.raises(LogError):
        Vocabulary(("a", "b"))


def test_unknown_names_get_id_one():
    vocabulary = Vocabulary.of(["b", "a", "", "a"])
    assert vocabulary.names == ("", "(unknown)", "a", "b")
    assert (vocabulary.id("b"), vocabulary.id("zzz")) == (3, UNKNOWN)
    assert vocabulary.encode(pl.Series(["a", "zzz", None, "b"])).tolist() == [2, UNKNOWN, PAD, 3]
    other = SequenceSet.from_traces([["a", "q", "b"]]).recode(vocabulary)
    assert other.tokens.tolist() == [2, UNKNOWN, 3]
    assert other.own_vocabulary() == vocabulary


def test_until_keeps_what_was_known():
    # c0 has events on days 0, 1, 2, c1 on day 0; before day 1 only the first events are known
    found = SequenceSet.from_log(log_of([["a", "b", "c"], ["d"]]))
    day_one = int((DAY + timedelta(days=1)).timestamp() * 1e6)
    assert names(found.until(day_one)) == {"c0": ["a"], "c1": ["d"]}
    late = SequenceSet.from_traces([["a", "b"], ["c"]], [[0, 10], [5]])
    assert names(late.until(5_000_000)) == {"c0": ["a"]}


def test_time_cut_is_one_moment_for_all_cases():
    found = SequenceSet.from_traces([["a"] * 5, ["b"] * 5], [[0, 1, 2, 3, 4], [5, 6, 7, 8, 9]])
    cut = time_cut(found, 0.8)
    assert (found.times < cut).mean() == pytest.approx(0.8)


def test_written_arrays_are_mapped_back(tmp_path):
    log = log_of([["a", "b"], ["c"]], channel=["x", "y", None])
    found = SequenceSet.from_log(log)
    found.write(tmp_path)
    again = SequenceSet.read(tmp_path)
    assert isinstance(again.tokens, np.memmap) or isinstance(again.tokens.base, np.memmap)
    assert names(again) == names(found) and again.fields["channel"].codes.tolist() == [2, 3, 0]
    first = {p.name: p.read_bytes() for p in tmp_path.iterdir()}
    found.write(tmp_path)
    assert first == {p.name: p.read_bytes() for p in tmp_path.iterdir()}


def test_fifty_thousand_activities_and_emoji():
    many = [[f"activity {i} 🙂" for i in range(50_000)]]
    found = SequenceSet.from_log(log_of(many))
    assert len(found.vocabulary) == 50_002
    assert sorted(names(found)["c0"]) == sorted(many[0])


@given(traces)
def test_encoding_loses_nothing(traces):
    found = SequenceSet.from_log(log_of(traces))
    assert names(found) == {f"c{i}": t for i, t in enumerate(traces)}


@given(traces, st.integers(1, 10))
def test_shards_are_whole_cases_in_order(traces, n):
    found = SequenceSet.from_traces(traces)
    shards = found.shards(n)
    assert 1 <= len(shards) <= min(n, found.n_cases)
    joined = [case for shard in shards for case in names(shard).items()]
    assert joined == list(names(found).items())


@given(traces, st.data())
def test_select_takes_cases_by_place_or_mask(traces, data):
    found = SequenceSet.from_traces(traces)
    chosen = data.draw(st.lists(st.integers(0, len(traces) - 1), min_size=1, max_size=6, unique=True))
    everything = list(names(found).items())
    assert list(names(found.select(np.array(chosen))).items()) == [everything[i] for i in chosen]
    mask = np.zeros(found.n_cases, dtype=bool)
    mask[chosen] = True
    assert list(names(found.select(mask)).items()) == [everything[i] for i in sorted(chosen)]


@given(traces, st.integers(0, 8))
def test_until_is_what_a_filter_gives(traces, day):
    """The slow twin: drop late events, then cases without any."""
    found = SequenceSet.from_traces(traces)
    expected = {c: t[:day] for c, t in names(found).items() if t[:day]}
    if expected:
        assert names(found.until(day * 86_400 * 1_000_000)) == expected
    else:
        with pytest.raises(LogError):
            found.until(day * 86_400 * 1_000_000)


@given(traces)
def test_recode_to_an_own_vocabulary_counts_the_same(traces):
    wide = Vocabulary.of([*"abcd", "never seen"])
    found = SequenceSet.from_traces(traces).recode(wide)
    narrow = found.recode(found.own_vocabulary())
    counted = [Counter(a for t in names(s).values() for a in t) for s in (found, narrow)]
    assert counted[0] == counted[1] and "never seen" not in narrow.vocabulary.names
