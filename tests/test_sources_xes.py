from __future__ import annotations

import gzip
from datetime import UTC, datetime
from pathlib import Path

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from oracles_sources import in_order

from behavio.errors import LogError
from behavio.sources import LogInputs, SourceSettings, read, read_log

LOG = """<?xml version="1.0" encoding="UTF-8"?>
<log xes.version="1.0">
<trace><string key="concept:name" value="c2"/><float key="amount" value="5.5"/>
<event><string key="concept:name" value="A &amp; B"/>
<date key="time:timestamp" value="2024-01-02T03:04:05.000+01:00"/>
<string key="lifecycle:transition" value="complete"/>
<string key="org:resource" value="r"/><int key="n" value="7"/></event>
<event><string key="concept:name" value="C"/></event>
</trace>
<!-- <event> in a comment is none -->
<trace><string key="concept:name" value="c1"/>
<event><string key="concept:name" value="B"/>
<date key="time:timestamp" value="2024-01-02T03:04:05+00:00"/></event>
</trace>
<trace><string key="concept:name" value="c3"/></trace>
</log>"""


@pytest.fixture
def file(tmp_path: Path):
    def write(data: str | bytes, name: str = "log.xes") -> Path:
        path = tmp_path / name
        path.write_bytes(data.encode() if isinstance(data, str) else data)
        return path

    return write


def test_smallest_log(file):
    # c2's second event has no time: rejected as record 2; c3 has no event: told in the notes
    log = read(file(LOG))
    assert log.events.drop("timestamp", "event_index", "source", "source_file").rows() == [
        ("c1", "B", 3, None, None, None, None),
        ("c2", "A & B", 1, "complete", "r", 5.5, 7),
    ]
    assert log.events["timestamp"].to_list() == [
        datetime(2024, 1, 2, 3, 4, 5, tzinfo=UTC),
        datetime(2024, 1, 2, 2, 4, 5, tzinfo=UTC),
    ]
    assert log.rejected.select("row", "reason").rows() == [(2, "the time is empty")]
    assert any("3 traces, 2 names with an event" in n for n in log.sources[0].notes)


def test_packed_and_misnamed_files(file, tmp_path):
    packed = file(gzip.compress(LOG.encode()), "log.xes.gz")
    assert (
        read(packed)
        .events.drop("source", "source_file")
        .equals(read(file(LOG)).events.drop("source", "source_file"))
    )
    odd = read(file(LOG, "log.csv"))
    assert odd.n_events == 2 and "log.csv ends like csv but holds xes" in odd.sources[0].notes
    assert read_log(LogInputs({"x": SourceSettings(path="log.xes.gz", kind="xes")}, tmp_path)).n_events == 2


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ("<html></html>", "is no XES log"),
        (LOG[:700], "is cut off"),
        (LOG.replace("</event>", "", 1), "is damaged"),
        ("<?xml version='1.0'?><log></log>", "holds no event"),
    ],
)
def test_damage_is_an_error_never_a_shorter_log(file, data, message):
    with pytest.raises(LogError, match=message) as caught:
        read(file(data))
    assert caught.value.hint


names = (
    st.text(st.characters(exclude_categories=("Cs", "Cc", "Cn")), min_size=1, max_size=8)
    .map(str.strip)
    .filter(bool)
)
rows = st.lists(
    st.tuples(names, names, st.datetimes(datetime(1995, 1, 1), datetime(2025, 1, 1))), min_size=1, max_size=12
)


@settings(max_examples=20)
@given(rows)
def test_random_logs_written_by_r4pm_read_back(tmp_path_factory, rows):
    from r4pm import df

    table = pl.DataFrame(rows, schema=["case:concept:name", "concept:name", "time:timestamp"], orient="row")
    table = table.with_columns(pl.col("time:timestamp").dt.truncate("1ms").dt.cast_time_unit("us"))
    path = tmp_path_factory.getbasetemp() / "random.xes"
    df.export_xes(table, str(path))
    expected = in_order([(c, a, t.replace(tzinfo=UTC)) for c, a, t in table.rows()])
    log = read(path)
    assert log.events.select("case_id", "activity", "timestamp").rows() == expected


def test_the_note_on_zones_is_told_only_where_a_time_has_none(file):
    note = "times without a zone are taken as UTC"
    assert note not in read(file(LOG)).sources[0].notes
    naive = LOG.replace("03:04:05+00:00", "03:04:05.000")
    assert note in read(file(naive)).sources[0].notes


def test_a_named_zone_places_only_times_without_one(file):
    # 02:04:05 UTC is written +01:00; a job for Zurich must not move it again
    first = read(file(LOG), timezone="Europe/Zurich").events["timestamp"].min()
    assert first == datetime(2024, 1, 2, 2, 4, 5, tzinfo=UTC)
    naive = LOG.replace("03:04:05+00:00", "03:04:05").replace("03:04:05.000+01:00", "03:04:05")
    first = read(file(naive), timezone="Europe/Zurich").events["timestamp"].min()
    assert first == datetime(2024, 1, 2, 2, 4, 5, tzinfo=UTC)
