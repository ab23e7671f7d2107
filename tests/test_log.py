from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pandas as pd
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from behavio.errors import LogError
from behavio.log import (
    CONSENT_SCHEMA,
    EVENT_SCHEMA,
    REJECTED_SCHEMA,
    EventLog,
    SourceCount,
    SourceEvents,
    as_polars,
    empty,
)

DAY = datetime(2024, 1, 1, tzinfo=UTC)


def frame(*rows: tuple[str, str, int], **more: list) -> pl.DataFrame:
    """Rows of (case, activity, hours after midnight)."""
    table = {
        "case_id": [r[0] for r in rows],
        "activity": [r[1] for r in rows],
        "timestamp": [DAY + timedelta(hours=r[2]) for r in rows],
    }
    return pl.DataFrame(table | more, strict=False)


def part(name: str, events: pl.DataFrame, **more) -> SourceEvents:
    times = events["timestamp"].cast(EVENT_SCHEMA["timestamp"])
    count = SourceCount(name, "table", "x.csv", events.height, events.height, 0, 0)
    return SourceEvents(count, events.with_columns(times), empty(REJECTED_SCHEMA), **more)


def test_order_is_case_then_time_then_reading():
    # b comes first in the table; a's two events at hour 1 keep the order of the table: z before y
    log = EventLog.from_frame(frame(("b", "x", 0), ("a", "z", 1), ("a", "y", 1), ("a", "w", 0)))
    assert log.events.select("case_id", "activity", "event_index").rows() == [
        ("a", "w", 3),
        ("a", "z", 1),
        ("a", "y", 2),
        ("b", "x", 0),
    ]
    assert (log.n_events, log.n_cases) == (4, 2)
    assert log.cases["case_id"].to_list() == ["a", "b"]


def test_from_frame_takes_any_kind_of_frame_and_other_columns_travel_along():
    table = frame(("b", "x", 0), ("a", "y", 1), amount=[1.5, 2.5])
    for given_frame in (table, table.lazy(), table.to_pandas(), table.to_arrow()):
        log = EventLog.from_frame(given_frame)
        assert log.events["amount"].to_list() == [2.5, 1.5]
        assert dict(log.events.schema) == {**EVENT_SCHEMA, "amount": pl.Float64()}
    local = table.with_columns(pl.col("timestamp").dt.convert_time_zone("Asia/Tokyo"))
    assert EventLog.from_frame(local).events["timestamp"].to_list() == [DAY + timedelta(hours=1), DAY]


def test_from_frame_repairs_nothing():
    good = frame(("a", "x", 0), ("a", "y", 1))
    with pytest.raises(LogError, match="no column 'activity'"):
        EventLog.from_frame(good.drop("activity"))
    with pytest.raises(LogError, match="not a time"):
        EventLog.from_frame(good.with_columns(pl.lit("2024").alias("timestamp")))
    with pytest.raises(LogError, match="may not be empty"):
        EventLog.from_frame(good.with_columns(pl.Series("case_id", ["a", None])))
    with pytest.raises(LogError, match="may not be blank"):
        EventLog.from_frame(good.with_columns(pl.Series("activity", ["a", ""])))
    with pytest.raises(LogError, match="no event"):
        EventLog.from_frame(good.head(0))


def test_a_log_out_of_order_is_refused():
    log = EventLog.from_frame(frame(("a", "x", 0), ("a", "y", 1), ("b", "x", 0)))
    for rows in ([1, 0, 2], [2, 0, 1], [0, 0, 1]):
        with pytest.raises(LogError, match="order"):
            EventLog(log.events[rows], log.cases, log.consents, log.rejected)


def test_sources_join_in_the_order_given_with_their_own_columns():
    # both at the same hour: the first source's event comes first; a column of mixed types becomes text
    one = part("one", frame(("a", "x", 0), amount=[1]))
    two = part("two", frame(("a", "y", 0), amount=["much"], brand=["B"]))
    log = EventLog.assemble([one, two])
    assert log.events.select("activity", "amount", "brand").rows() == [("x", "1", None), ("y", "much", "B")]
    assert [s.name for s in log.sources] == ["one", "two"]
    assert EventLog.assemble([two, one]).events["activity"].to_list() == ["y", "x"]
    assert not EventLog.assemble([one, part("three", frame(("c", "x", 0)), timed=False)]).timed


def test_written_and_read_back(tmp_path):
    count = SourceCount(
        "calls",
        "table",
        "x.csv",
        4,
        2,
        1,
        1,
        left_out={"a planned call": 1},
        notes=("delimiter comma",),
        filtered=1,
    )
    wrong = ("calls", "x.csv", 3, "timestamp", "the time is empty", "an event needs a time", "{}")
    rejected = pl.DataFrame([wrong], schema=REJECTED_SCHEMA, orient="row")
    events = part("calls", frame(("a", "x", 0), ("b", "y", 1))).events
    log = EventLog.assemble([SourceEvents(count, events, rejected)])
    log.write(tmp_path / "log")
    again = EventLog.read(tmp_path / "log")
    assert again.events.equals(log.events) and again.cases.equals(log.cases)
    assert again.rejected.equals(rejected) and again.sources == (count,) and again.timed
    assert dict(again.consents.schema) == CONSENT_SCHEMA
    assert again.reasons() == [
        {"source": "calls", "reason": "the time is empty", "hint": "an event needs a time", "rows": 1}
    ]
    first = {p.name: p.read_bytes() for p in (tmp_path / "log").iterdir()}
    log.write(tmp_path / "log")
    assert first == {p.name: p.read_bytes() for p in (tmp_path / "log").iterdir()}


def test_the_notebook_card_escapes_what_it_shows():
    log = EventLog.from_frame(frame(("a", "<script>alert(1)</script>", 0), ("b", "x", 1)))
    card = log._repr_html_()
    assert "<script>" not in card and "2 events of 2 cases" in card and "2024-01-01" in card


def test_no_other_thing_is_a_table():
    for thing in (object(), 5, "a,b"):
        with pytest.raises(LogError, match="cannot be read as a table"):
            as_polars(thing)


def test_pandas_times_with_and_without_zone_keep_their_text():
    column = pd.Series([datetime(2024, 1, 1), datetime(2024, 1, 1, tzinfo=UTC), None], dtype=object)
    table = as_polars(pd.DataFrame({"t": column}))
    assert table["t"].to_list() == ["2024-01-01 00:00:00", "2024-01-01 00:00:00+00:00", None]


rows = st.lists(
    st.tuples(st.sampled_from("abcß🙂"), st.sampled_from("xyz"), st.integers(0, 5)), min_size=1, max_size=30
)


@given(rows)
def test_every_log_is_in_total_order_and_loses_nothing(rows):
    log = EventLog.from_frame(frame(*rows))
    assert log.in_order() and log.n_events == len(rows)
    back = log.events.sort("event_index").select("case_id", "activity", "timestamp")
    assert back.rows() == [(c, a, DAY + timedelta(hours=h)) for c, a, h in rows]
