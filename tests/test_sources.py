from __future__ import annotations

import gzip
import json
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from oracles_sources import csv_text, in_order, moment, slow_csv, slow_json_lines

from behavio.errors import JobError, LogError
from behavio.log import EventLog
from behavio.sources import (
    CasesSettings,
    ConsentSettings,
    LogInputs,
    SourceSettings,
    input_files,
    read,
    read_log,
    readiness,
)

ROWS = [
    ["case_id", "activity", "timestamp"],
    ["b", "x", "2024-01-02 10:00:00"],
    ["a", "y", "2024-01-01 09:00:00"],
    ["a", "x", "2024-01-01 08:00:00"],
]


def events(log: EventLog) -> list[tuple]:
    return log.events.select("case_id", "activity", "timestamp").rows()


def counts(log: EventLog) -> tuple[int, int, int, int]:
    s = log.sources[0]
    assert s.read == s.accepted + s.rejected + s.merged
    assert s.rejected == log.rejected.height and s.accepted == log.n_events
    return s.read, s.accepted, s.rejected, s.merged


@pytest.fixture
def file(tmp_path: Path):
    def write(text: str | bytes, name: str = "log.csv") -> Path:
        path = tmp_path / name
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return path

    return write


def test_smallest_csv(file):
    # row 3 and row 2 are a's events, in order of time; row 1 is b's
    log = read(file(csv_text(ROWS)))
    assert log.events.select("case_id", "activity", "source", "source_row").rows() == [
        ("a", "x", "log", 3),
        ("a", "y", "log", 2),
        ("b", "x", "log", 1),
    ]
    assert log.events["timestamp"][0] == datetime(2024, 1, 1, 8, tzinfo=UTC)
    assert counts(log) == (3, 3, 0, 0)
    assert log.sources[0].notes == ("times without a zone are taken as UTC",)
    assert "delimiter semicolon" in read(file(csv_text(ROWS, ";"))).sources[0].notes


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "cp1252"])
def test_delimiter_and_encoding_are_recognised(file, delimiter, encoding):
    rows = [
        *ROWS,
        ["Müller", "Gespräch geführt", "2024-01-01 07:00:00"],
        ["Zoë", "café", "2024-01-01 07:00:00"],
    ]
    log = read(file(csv_text(rows, delimiter).encode(encoding)))
    assert ("Müller", "Gespräch geführt", datetime(2024, 1, 1, 7, tzinfo=UTC)) in events(log)
    assert ("Zoë", "café", datetime(2024, 1, 1, 7, tzinfo=UTC)) in events(log)
    assert log.n_events == 5


@pytest.mark.parametrize("ending", ["tsv", "txt", "data"])
def test_other_endings(file, ending):
    assert read(file(csv_text(ROWS, "\t"), f"log.{ending}")).n_events == 3


def test_packed_files(file):
    text = csv_text(ROWS).encode()
    assert read(file(gzip.compress(text), "log.csv.gz")).n_events == 3
    zst = pa.compress(text, codec="zstd", asbytes=True)
    assert read(file(zst, "log.csv.zst")).n_events == 3


def test_excel_tells_its_delimiter_and_old_macs_their_line_ends(file):
    assert read(file("sep=;\r\n" + csv_text(ROWS, ";").replace("\n", "\r\n"))).n_events == 3
    assert read(file(csv_text(ROWS).replace("\n", "\r"))).n_events == 3


def test_every_cell_stays_the_text_it_is(file):
    # an id with leading zeros, a number too large for any int, a date-like code
    rows = [["case_id", "activity", "timestamp", "code"], ["007", "1e5", "2024-01-01", "0012"]]
    log = read(file(csv_text([*rows, ["12345678901234567890123", "2024", "2024-01-02", ""]])))
    assert log.events.select("case_id", "activity", "code").rows() == [
        ("007", "1e5", "0012"),
        ("12345678901234567890123", "2024", None),
    ]


def test_quoted_cells_hold_anything(file):
    rows = [
        ["case_id", "activity", "timestamp", "note"],
        ["a", 'say "hi", ok', "2024-01-01", "two\nlines,\nthree"],
    ]
    log = read(file(csv_text([*rows, ["b", "x", "2024-01-02", ""]])), keep_text=True)
    assert log.events.select("activity", "note", "source_row").rows() == [
        ('say "hi", ok', "two\nlines,\nthree", 1),
        ("x", None, 2),
    ]


def test_ragged_rows_are_rejected_with_their_number(file):
    # record 2 is short, record 3 long, record 5 opens a quote that never closes; blank lines do not count
    text = "case_id,activity,timestamp\na,x,2024-01-01\nb,x\n\nc,x,2024-01-01,extra\nd,x,2024-01-02\n"
    text += '"e,x,2024-01-03\nf,x,2024-01-04\n'
    log = read(file(text))
    assert log.events.select("case_id", "source_row").rows() == [("a", 1), ("d", 4), ("f", 6)]
    assert log.rejected.select("row", "reason").rows() == [
        (2, "the row has 2 cells, the header has 3"),
        (3, "the row has 4 cells, the header has 3"),
        (5, "a quote opens in this row and does not close before the next delimiter"),
    ]
    assert log.rejected["raw"].to_list() == ["b,x", "c,x,2024-01-01,extra", '"e,x,2024-01-03']
    assert counts(log) == (6, 3, 3, 0)


def test_a_stray_quote_does_not_swallow_the_rows_below(file):
    text = 'case_id,activity,timestamp\na,"x,2024-01-01\nb,x,2024-01-02\nc,x,2024-01-03\nd,"y",2024-01-04\n'
    log = read(file(text))
    assert log.events["case_id"].to_list() == ["b", "c", "d"]
    assert counts(log) == (4, 3, 1, 0)


def test_columns_by_their_usual_names_or_named(file):
    text = "HCP ID;Event Name;Event Time;resource\n1;call;2024-01-01 10:00;r\n"
    assert events(read(file(text))) == [("1", "call", datetime(2024, 1, 1, 10, tzinfo=UTC))]
    text = "who;what;at\n1;call;01.02.2024\n"
    log = read(file(text), case_id="who", activity="what", timestamp="at")
    assert events(log) == [("1", "call", datetime(2024, 2, 1, tzinfo=UTC))]
    with pytest.raises(LogError, match="no column that looks like case_id") as caught:
        read(file(text))
    assert 'case_id="…"' in caught.value.hint and "who, what, at" in caught.value.hint
    with pytest.raises(LogError, match="no column 'wo'") as caught:
        read(file(text), case_id="wo", activity="what", timestamp="at")
    assert "did you mean 'who'?" in caught.value.hint


def test_activity_from_a_template(file):
    text = "case_id,activity,company,timestamp\na,Food,Acme,2024-01-01\na,Travel,,2024-01-02\n"
    log = read(file(text), activity="{activity}: {company}", values={"activity": {"Food: Acme": "Meal"}})
    assert log.events["activity"].to_list() == ["Meal", "Travel: (none)"]
    assert log.events["activity_source"].to_list() == ["Food", "Travel"]


def test_values_and_columns_fill_attributes(file):
    text = "case_id,activity,timestamp,product,secs\n"
    text += "a,sent,2024-01-01,P,5\na,redeemed,2024-01-02,,x\na,z,2024-01-03,,\n"
    log = read(
        file(text),
        columns={"brand": "product", "duration_s": "secs"},
        values={
            "direction": {"redeemed": "inbound", "sent": "outbound"},
            "team": "sales",
            "channel": {"*": "mail"},
        },
    )
    assert log.events.select("direction", "team", "channel", "brand", "duration_s").rows() == [
        ("outbound", "sales", "mail", "P", 5.0),
        ("inbound", "sales", "mail", None, None),
        (None, "sales", "mail", None, None),
    ]


def test_names_that_are_taken_step_aside(file):
    log = read(file("case_id,activity,timestamp,source,event_index\na,x,2024-01-01,google,9\n"))
    assert log.events.select("source", "source_source", "event_index", "event_index_source").rows() == [
        ("log", "google", 0, "9")
    ]


def test_repeats_are_counted_and_merged_only_on_request(file):
    rows = [*ROWS, ROWS[1], ROWS[1]]
    log = read(file(csv_text(rows)))
    assert (log.n_events, log.sources[0].repeats) == (5, 2)
    log = read(file(csv_text(rows)), repeats="merge")
    assert counts(log) == (5, 3, 0, 2)
    assert log.sources[0].left_out == {"an equal row stands above": 2}


def test_a_log_without_clock_is_ordered_by_its_position(file):
    text = "case_id,activity,timestamp,position\na,y,,2\na,x,,1\nb,x,,1\nb,z,,?\n"
    log = read(file(text))
    assert not log.timed
    assert events(log)[:2] == [
        ("a", "x", datetime(1970, 1, 1, 0, 0, 1, tzinfo=UTC)),
        ("a", "y", datetime(1970, 1, 1, 0, 0, 2, tzinfo=UTC)),
    ]
    assert log.rejected["reason"].to_list() == ["the position is no number"]
    assert "position" in log.events.columns
    log = read(file("case_id,activity\na,y\na,x\n"), order="source_row")
    assert log.events["activity"].to_list() == ["y", "x"] and not log.timed
    with pytest.raises(LogError, match="has no times") as caught:
        read(file("case_id,activity,timestamp\na,y,\n"))
    assert "order=" in caught.value.hint


def test_order_breaks_ties_of_time(file):
    text = "case_id,activity,timestamp,rank\na,y,2024-01-01,2\na,x,2024-01-01,1\n"
    assert read(file(text)).events["activity"].to_list() == ["y", "x"]
    assert read(file(text), order="rank").events["activity"].to_list() == ["x", "y"]


def test_json_lines_nested_and_damaged(file):
    lines = [
        json.dumps({"case_id": 1, "activity": "x", "timestamp": 1704067200, "device": {"category": "phone"}}),
        "{broken",
        "[1]",
        json.dumps({"case_id": 2, "activity": "y", "timestamp": 1704067260, "device": None}),
    ]
    log = read(file("\n".join(lines) + "\n\n", "log.jsonl"))
    assert log.events.select("case_id", "device.category", "source_row").rows() == [
        ("1", "phone", 1),
        ("2", None, 4),
    ]
    assert log.rejected.select("row", "reason").rows() == [
        (2, "the line is no JSON"),
        (3, "the line is no JSON object"),
    ]
    array = json.dumps([json.loads(lines[0]), json.loads(lines[3])])
    assert events(read(file(array, "log.json"))) == events(log)


def test_parquet_arrow_and_frames_give_the_same_events(tmp_path: Path):
    table = pl.DataFrame(
        {
            "case_id": [2.0, 1.0, None, 1.0],
            "activity": pl.Series(["b", "a", "x", "c"]).cast(pl.Categorical),
            "timestamp": [datetime(2024, 1, d) for d in (1, 2, 3, 1)],
        }
    )
    table.write_parquet(tmp_path / "log.parquet")
    table.write_ipc(tmp_path / "log.arrow")
    table.write_ipc_stream(tmp_path / "stream.feather")
    expected = [
        ("1", "c", datetime(2024, 1, 1, tzinfo=UTC)),
        ("1", "a", datetime(2024, 1, 2, tzinfo=UTC)),
        ("2", "b", datetime(2024, 1, 1, tzinfo=UTC)),
    ]
    many = [tmp_path / "log.parquet", tmp_path / "log.arrow", tmp_path / "stream.feather"]
    many += [table, table.lazy(), table.to_pandas(), table.to_arrow(), table.to_dict(as_series=False)]
    for data in many:
        log = read(data)
        assert events(log) == expected
        assert log.rejected.select("row", "reason").rows() == [(3, "the case id is empty")]


def test_pandas_columns_of_mixed_kinds_and_the_callers_frame():
    frame = pd.DataFrame(
        {
            "case_id": ["a", 1, np.nan, "b"],
            "activity": pd.Categorical(["x", "y", "x", "y"]),
            "timestamp": [datetime(2024, 1, 1), datetime(2024, 1, 1, tzinfo=UTC), pd.NaT, "2024-01-02"],
        },
        index=[5, 5, 6, 7],
    )
    before = frame.copy(deep=True)
    log = read(frame, timezone="Europe/Zurich")
    assert events(log) == [
        ("1", "y", datetime(2024, 1, 1, tzinfo=UTC)),
        ("a", "x", datetime(2023, 12, 31, 23, tzinfo=UTC)),
        ("b", "y", datetime(2024, 1, 1, 23, tzinfo=UTC)),
    ]
    pd.testing.assert_frame_equal(frame, before)


def test_folders_and_patterns_name_the_file_of_each_event(tmp_path: Path):
    for month in (1, 2):
        text = f"case_id,activity,timestamp\na,x,2024-0{month}-01\n,x,2024-01-01\n"
        (tmp_path / f"2024-0{month}.csv").write_text(text)
    (tmp_path / "README.md").write_text("not a log")
    for path in (tmp_path, tmp_path / "*.csv"):
        log = read(path)
        assert log.n_events == 2
        assert [s.rpartition("/")[2] for s in log.events["source"]] == ["2024-01.csv", "2024-02.csv"]
        assert log.events["source_row"].to_list() == [1, 1]
        assert log.rejected["row"].to_list() == [2, 2]
        assert [Path(f).name for f in log.rejected["file"]] == ["2024-01.csv", "2024-02.csv"]


def test_files_are_named_as_the_job_names_them(tmp_path: Path):
    (tmp_path / "jobs").mkdir()
    (tmp_path / "log.csv").write_text(csv_text(ROWS))
    sources = {"x": SourceSettings(path="../log.csv")}
    assert read_log(LogInputs(sources, tmp_path / "jobs")).sources[0].file == "../log.csv"
    assert [name for name, _ in input_files(LogInputs(sources, tmp_path / "jobs"))] == ["../log.csv"]


def test_a_job_of_tables(tmp_path: Path):
    (tmp_path / "log.csv").write_text(csv_text(ROWS))
    (tmp_path / "more.csv").write_text("case,event,time,amount\nz,w,2024-05-01,3\n")
    (tmp_path / "cases.csv").write_text("case_id,age,zip\na,41,007\nb,17,010\na,41,007\n,5,5\n")
    (tmp_path / "consents.csv").write_text(
        "case_id,channel,state,timestamp,expires\n"
        "a,email,Opt In,2024-01-01,2025-01-01\nb,,never,2024-01-01,\nb,,odd,2024-01-01,\n"
    )
    told: list[tuple[str, float]] = []
    log = read_log(
        LogInputs(
            {"one": SourceSettings(path="log.csv"), "two": SourceSettings(path="more.csv")},
            tmp_path,
            CasesSettings(path="cases.csv"),
            ConsentSettings(path="consents.csv"),
        ),
        lambda what, share: told.append((what, share)),
    )
    assert log.events["source"].to_list() == ["one", "one", "one", "two"]
    assert log.cases.rows() == [("a", 41, "007"), ("b", 17, "010"), ("z", None, None)]
    assert log.consents.select("case_id", "channel", "state").rows() == [
        ("a", "email", "opt_in"),
        ("b", "*", "never"),
    ]
    assert [(s.role, s.read, s.accepted, s.rejected, s.merged) for s in log.sources] == [
        ("events", 3, 3, 0, 0),
        ("events", 1, 1, 0, 0),
        ("cases", 4, 2, 1, 1),
        ("consents", 3, 2, 1, 0),
    ]
    assert told[0] == ("reading cases", 0.0) and told[-1] == ("sorting events", 1.0)


def test_the_text_nan_is_a_missing_case_in_text_files_and_a_name_in_typed_ones(file):
    rows = [["case_id", "activity", "timestamp"], ["nan", "x", "2024-01-01"], ["a", "x", "2024-01-01"]]
    assert read(file(csv_text(rows))).rejected["reason"].to_list() == ["the case id is empty"]
    log = read(pl.DataFrame(rows[1:], schema=rows[0], orient="row"))
    assert log.n_cases == 2
    assert "1 rows have a case id such as nan or None: is it missing there?" in log.sources[0].notes


def test_readiness_says_what_is_there_and_what_is_missing(file):
    text = "case_id,activity,timestamp,channel\n"
    text += "a,x,2024-01-01,email\na,y,2024-01-01,\n,y,2024-01-03,\nb,y,1970-01-01,\n"
    facts = readiness(read(file(text)))
    json.dumps(facts, allow_nan=False)
    assert (facts["n_events"], facts["n_cases"], facts["n_activities"], facts["one_event_cases"]) == (
        3,
        2,
        2,
        1,
    )
    assert facts["attributes"]["channel"] == 0.3333 and facts["attributes"]["brand"] == 0
    assert facts["ties"] == 1
    source = facts["sources"][0]
    assert source["rejected_reasons"] == [
        {
            "reason": "the case id is empty",
            "column": "case_id",
            "hint": "fill case_id, or leave such rows out",
            "rows": 1,
            "example_row": 3,
        }
    ]
    assert any("1 events lie before 1990 (1970-01-01 is the first)" in n for n in facts["notes"])
    ties = next(f for f in facts["findings"] if f["finding"] == "order of equal times")
    assert (ties["n"], ties["of"]) == (1, 3) and "share the time" in ties["means"]


def test_read_of_a_written_log_gives_it_back(file, tmp_path):
    log = read(file(csv_text(ROWS)))
    log.write(tmp_path / "run" / "log")
    for folder in (tmp_path / "run" / "log", tmp_path / "run"):
        again = read(folder)
        assert again.events.equals(log.events) and again.sources == log.sources
    assert read(log) is log


def test_unknown_argument_names_the_nearest():
    with pytest.raises(JobError) as caught:
        read("x.csv", caseid="who")
    assert "did you mean 'case_id'?" in caught.value.hint


EMPTY = {"", "nan", "null", "none", "nat", "<na>", "#n/a", "n/a", "\\n"}
letters = st.characters(exclude_categories=("Cs", "Cc"))
names = st.text(letters, min_size=1, max_size=8).map(str.strip).filter(lambda t: t.lower() not in EMPTY)
moments = st.datetimes(datetime(1995, 1, 1), datetime(2025, 1, 1)).map(lambda t: t.isoformat(sep=" "))
tables = st.lists(st.tuples(names, names, moments), min_size=1, max_size=25)


@given(tables, st.sampled_from([",", ";", "\t", "|"]))
def test_random_logs_read_back_from_text(tmp_path_factory, rows, delimiter):
    text = csv_text([["case_id", "activity", "timestamp"], *map(list, rows)], delimiter)
    path = tmp_path_factory.getbasetemp() / "random.csv"
    path.write_text(text, newline="")
    log = read(path)
    assert events(log) == slow_csv(text, delimiter)
    assert counts(log) == (len(rows), len(rows), 0, 0)


@given(tables)
def test_random_logs_read_back_from_every_other_format(tmp_path_factory, rows):
    folder = tmp_path_factory.getbasetemp()
    expected = in_order([(c, a, moment(t)) for c, a, t in rows])
    lines = "\n".join(
        json.dumps(dict(zip(("case_id", "activity", "timestamp"), r, strict=True))) for r in rows
    )
    (folder / "random.jsonl").write_text(lines)
    assert slow_json_lines(lines) == expected
    table = pl.DataFrame(rows, schema=["case_id", "activity", "timestamp"], orient="row")
    typed = table.with_columns(pl.col("timestamp").str.to_datetime("%Y-%m-%d %H:%M:%S%.f", time_unit="us"))
    typed.write_parquet(folder / "random.parquet")
    typed.write_ipc(folder / "random.arrow")
    for data in (
        folder / "random.jsonl",
        folder / "random.parquet",
        folder / "random.arrow",
        typed.to_pandas(),
    ):
        assert events(read(data)) == expected


@given(tables, st.data())
def test_damaged_text_loses_no_row(tmp_path_factory, rows, data):
    """read = accepted + rejected + merged, and every sound line below the damage is still read."""
    raw = csv_text([["case_id", "activity", "timestamp"], *map(list, rows)]).encode()
    header = raw.index(b"\n") + 1
    for _ in range(data.draw(st.integers(1, 5))):
        at = data.draw(st.integers(header, len(raw)))
        what = data.draw(st.sampled_from([b'"', b",", b"\n", b"\x00", b"\xff", b"", b'"\n', b"\xc3", b"\r"]))
        raw = raw[:at] + what + raw[at + data.draw(st.integers(0, 2)) :]
    path = tmp_path_factory.getbasetemp() / "damaged.csv"
    path.write_bytes(raw)
    try:
        log = read(path)
    except LogError as problem:
        assert problem.hint
        return
    n_read, *_ = counts(log)
    body = raw[header:].split(b"\n")
    n_plain = sum(1 for line in body if line.strip(b"\r") and b'"' not in line)
    assert n_read >= n_plain - raw.count(b'"')
    rows_seen = [*log.events["source_row"].to_list(), *log.rejected["row"].to_list()]
    assert sorted(rows_seen) == list(range(1, n_read + 1))


@pytest.mark.parametrize(
    ("name", "n_events", "timed"),
    [
        ("open_payments_iowa", 83_116, True),
        ("complete_journey", 55_934, True),
        ("bpic2012", 262_200, True),
        ("sepsis", 15_214, True),
        ("msnbc323", 27_380, False),
        ("amazon_beauty_seq", 198_502, False),
        ("biofam", 32_000, False),
    ],
)
def test_real_logs(real_log, name, n_events, timed):
    path = real_log(name)
    log = read(path)
    assert (log.n_events, log.timed, log.rejected.height) == (n_events, timed, 0)
    raw = pl.read_parquet(path)
    assert log.n_cases == raw["case_id"].n_unique()
    first = raw["case_id"][0]
    in_file = raw.filter(pl.col("case_id") == first)["activity"].to_list()
    assert log.events.filter(pl.col("case_id") == first)["activity"].to_list() == in_file
