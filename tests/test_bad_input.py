"""Input nobody wishes for: one clear message with a next step, or a counted rejection; never a traceback."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import openpyxl
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.dataset
import pytest

from behavio.errors import JobError, LogError
from behavio.sources import CasesSettings, LogInputs, SourceSettings, inputs, read, read_log
from behavio.sources.inputs import held_open

HEAD = "case_id,activity,timestamp\n"
GOOD = "a,x,2024-01-01\n"


@pytest.fixture
def file(tmp_path: Path):
    def write(data: str | bytes, name: str = "log.csv") -> Path:
        path = tmp_path / name
        path.write_bytes(data.encode() if isinstance(data, str) else data)
        return path

    return write


def refused(data, **settings) -> tuple[str, str]:
    """The message and the hint of the LogError that reading this gives."""
    with pytest.raises(LogError) as caught:
        read(data, **settings)
    assert caught.value.hint and caught.value.exit_code == 1
    return str(caught.value), caught.value.hint


def test_a_file_that_is_not_there_names_the_nearest(file):
    path = file(HEAD + GOOD, "calls.csv")
    message, hint = refused(path.with_name("cals.csv"))
    assert "there is no file" in message and "did you mean" in hint and "calls.csv" in hint
    assert "no folder" in refused(path.parent / "nowhere" / "x.csv")[1]
    assert "no file fits" in refused(path.parent / "*.parquet")[0]


def test_a_folder_without_a_readable_file(tmp_path):
    (tmp_path / "notes.md").write_text("hello")
    assert "without a readable file" in refused(tmp_path)[0]


@pytest.mark.parametrize("data", ["", " \n\n", b"\xef\xbb\xbf", b"\xff\xfe", b"\x00\x00\x00"])
def test_empty_files(file, data):
    assert "is empty" in refused(file(data))[0]
    assert "is empty" in refused(file(gzip.compress(data.encode() if isinstance(data, str) else data)))[0]


def test_a_header_and_nothing_else(file):
    for text in (HEAD, HEAD.strip(), HEAD + "\n\n"):
        assert "has a header but no row" in refused(file(text))[0]
    empty_table = pl.DataFrame(schema={"case_id": pl.String, "activity": pl.String, "timestamp": pl.String})
    empty_table.write_parquet(file("").with_name("log.parquet"))
    assert "has no row" in refused(file("").with_name("log.parquet"))[0]
    assert "no row" in refused(empty_table)[0]
    assert "no row" in refused(pd.DataFrame({"case_id": []}))[0]


def test_a_missing_column_offers_the_nearest(file):
    message, hint = refused(file("caseid_,activty,timestamp\na,x,2024-01-01\n"))
    assert "no column that looks like case_id" in message or "activity" in message
    message, hint = refused(file("case_id,activty,timestamp\na,x,2024-01-01\n"))
    assert "looks like activity" in message and "perhaps 'activty'?" in hint
    message, hint = refused(file(HEAD + GOOD), activity="activty")
    assert "did you mean 'activity'?" in hint


@pytest.mark.parametrize("data", [b"PK\x03\x04rest", b"\xd0\xcf\x11\xe0rest", b"%PDF-1.7"])
def test_workbooks_and_documents_are_named(file, data):
    message, hint = refused(file(data, "log.xlsx"))
    assert "is a" in message and "CSV" in hint


@pytest.mark.parametrize("name", ["log.parquet", "log.arrow"])
def test_damaged_columnar_files(file, name, tmp_path):
    assert "damaged" in refused(file("hello world", name))[0]
    table = pl.DataFrame({"case_id": ["a"] * 100, "activity": ["x"] * 100, "timestamp": ["2024-01-01"] * 100})
    whole = tmp_path / f"whole-{name}"
    (table.write_parquet if name.endswith("parquet") else table.write_ipc)(whole)
    assert "damaged" in refused(file(whole.read_bytes()[:-40], name))[0]


def test_packed_files_that_break_off(file):
    packed = gzip.compress((HEAD + GOOD * 500).encode())
    assert "cut off or damaged" in refused(file(packed[:-20], "log.csv.gz"))[0]
    assert "cut off or damaged" in refused(file(packed[:12] + b"\x00\x01" + packed[14:], "log.csv.gz"))[0]


def test_zstd_files_that_break_off(file):
    packed = pa.compress((HEAD + GOOD * 500).encode(), codec="zstd", asbytes=True)
    for cut in (packed[:-3], packed[: len(packed) // 2], packed[:9]):
        assert "cut off or damaged" in refused(file(cut, "log.csv.zst"))[0]


def test_no_permission(file, monkeypatch):
    path = file(HEAD + GOOD)

    real = Path.open

    def deny(self, *args, **kwargs):
        if self == path:
            raise PermissionError(13, "Permission denied", str(self))
        return real(self, *args, **kwargs)

    monkeypatch.setattr(Path, "open", deny)
    assert "no permission to read" in refused(path)[0]


def test_all_rows_rejected_shows_the_most_frequent_reasons(file):
    # two rows without a time, one with nonsense, one without a case
    message, hint = refused(file(HEAD + "a,x,\nb,x,\nc,x,soon\n,x,2024-01-01\n"))
    assert "no row of" in message and "could become an event" in message
    assert hint.startswith("2 × the time is empty (column timestamp, first in row 1)")
    assert "1 × the case id is empty" in hint and "1 × the time cannot be read" in hint


def test_everything_wrong_with_a_cell_is_counted(file):
    # good, empty case, "NaN" case, blank activity, bad time, empty time, NUL byte, a very long name
    rows = [
        "a,x,2024-01-01",
        ",x,2024-01-01",
        "NaN,x,2024-01-01",
        "a,  ,2024-01-01",
        "a,x,31.02.2024",
        "a,x,",
        "a,x\x00y,2024-01-01",
        f"a,{'long' * 300},2024-01-01",
    ]
    log = read(file(HEAD + "\n".join(rows) + "\n"))
    assert log.n_events == 1
    assert log.rejected.sort("row").select("row", "column", "reason").rows() == [
        (2, "case_id", "the case id is empty"),
        (3, "case_id", "the case id is empty"),
        (4, "activity", "the activity is empty"),
        (5, "timestamp", "the time cannot be read"),
        (6, "timestamp", "the time is empty"),
        (7, "activity", "the activity holds a NUL byte"),
        (8, "activity", "the activity is longer than 1,000 characters"),
    ]
    assert "(cut, 1254 characters)" in log.rejected.filter(pl.col("row") == 8)["raw"][0]
    assert log.rejected["hint"].str.len_chars().min() > 5


def test_a_megabyte_in_one_cell(file):
    huge = "z" * 1_000_000
    log = read(file(HEAD.strip() + f",note\na,{huge},2024-01-01,\nb,x,2024-01-01,{huge}\n"), keep_text=True)
    assert log.events["case_id"].to_list() == ["b"] and len(log.events["note"][0]) == 1_000_000
    assert len(log.rejected["raw"][0]) < 600
    assert "(cut, 10000" in log.rejected["raw"][0]


def test_naive_and_aware_times_together(file):
    log = read(file(HEAD + "a,x,2024-01-01T10:00:00Z\na,y,2024-01-01T10:30:00\n"), timezone="Europe/Zurich")
    # 10:30 in Zurich is 09:30 UTC: y comes first
    assert log.events["activity"].to_list() == ["y", "x"]
    assert any("carry a zone and keep it" in n for n in log.sources[0].notes)


def test_nan_cases_in_frames():
    frame = pd.DataFrame(
        {"case_id": [1.0, np.nan], "activity": ["x", "y"], "timestamp": pd.to_datetime(["2024-01-01"] * 2)}
    )
    log = read(frame)
    assert log.events["case_id"].to_list() == ["1"]
    assert log.rejected["reason"].to_list() == ["the case id is empty"]


def test_one_event_one_case_one_activity(file):
    log = read(file(HEAD + GOOD))
    assert (log.n_events, log.n_cases) == (1, 1)
    log = read(file(HEAD + "a,x,2024-01-01\n" * 3))
    assert (log.n_events, log.n_cases, log.sources[0].repeats) == (3, 1, 2)


def test_fifty_thousand_activities(file):
    rows = "\n".join(f"c{i % 100},activity {i},2024-01-01 10:00:{i % 60:02d}" for i in range(50_000))
    log = read(file(HEAD + rows + "\n"))
    assert log.events["activity"].n_unique() == 50_000


def test_emoji_and_right_to_left(file):
    log = read(file(HEAD + "🙂,שיחה 📞,2024-01-01\n🙂,مكالمة,2024-01-02\n"))
    assert log.events["activity"].to_list() == ["שיחה 📞", "مكالمة"]
    assert log.events["case_id"].to_list() == ["🙂", "🙂"]


def test_a_few_bytes_of_damage_in_utf8_reject_their_rows_only(file):
    text = (HEAD + "Zoë,café,2024-01-01\n" * 3).encode() + b"b,\xff\xfe,2024-01-02\n"
    log = read(file(text))
    assert log.events["activity"].unique().to_list() == ["café"]
    assert log.rejected.select("row", "reason").rows() == [(4, "bytes that are no UTF-8 text")]


def test_named_encoding_and_delimiter_that_cannot_be(file):
    path = file(HEAD + GOOD)
    with pytest.raises(JobError, match="encoding 'utf9' is not known"):
        read(path, encoding="utf9")
    with pytest.raises(JobError, match="not one character"):
        read(path, delimiter="::")
    assert "is not ascii" in refused(file((HEAD + "é,x,2024-01-01\n").encode("cp1252")), encoding="ascii")[0]


def test_settings_that_cannot_be():
    for settings, wrong in (
        ({"kind": "tabel"}, "did you mean 'table'?"),
        ({"repeats": "drop"}, "known: keep, merge"),
        ({"format": "xls"}, "known: csv"),
        ({"path": " "}, "name a file"),
    ):
        with pytest.raises(JobError) as caught:
            SourceSettings(**({"path": "x.csv"} | settings))
        assert wrong in caught.value.hint


def test_ambiguous_dates_name_file_and_column(file):
    message, hint = refused(file(HEAD + "a,x,01/02/2024\na,y,03/04/2024\n"))
    assert "column 'timestamp': day and month cannot be told apart" in message and "%d/%m/%Y" in hint


def test_logs_with_and_without_a_clock_do_not_mix(file, tmp_path):
    file(HEAD + GOOD, "timed.csv")
    file("case_id,activity,position\na,x,1\n", "ordered.csv")
    sources = {"one": SourceSettings(path="timed.csv"), "two": SourceSettings(path="ordered.csv")}
    with pytest.raises(LogError, match="two has no clock"):
        read_log(LogInputs(sources, tmp_path))


def test_cases_without_ids(file, tmp_path):
    file(HEAD + GOOD)
    file("case_id,age\n,4\n,5\n", "cases.csv")
    with pytest.raises(LogError, match=r"no row of cases\.csv could be used") as caught:
        read_log(
            LogInputs({"one": SourceSettings(path="log.csv")}, tmp_path, CasesSettings(path="cases.csv"))
        )
    assert "the case id is empty" in caught.value.hint


def test_a_delimiter_that_is_not_the_files(file):
    message, hint = refused(file(HEAD + GOOD), delimiter=";")
    assert "no column that looks like case_id" in message and "case_id,activity,timestamp" in hint


def test_ragged_rows_and_quoted_line_breaks_in_a_large_file(file):
    # 20,000 sound rows, one short, one long, one cell with a line break: the compiled reader at work
    rows = [f"c{i % 50},x,2024-01-{i % 28 + 1:02d}" for i in range(20_000)]
    rows[100], rows[200], rows[300] = "c1,x", "c1,x,2024-01-01,y", 'c1,"x\ny",2024-01-01'
    log = read(file(HEAD + "\n".join(rows) + "\n"))
    assert log.rejected.select("row", "reason").rows() == [
        (101, "the row has 2 cells, the header has 3"),
        (201, "the row has 4 cells, the header has 3"),
    ]
    assert log.n_events == 19_998
    assert log.events.filter(pl.col("activity") == "x\ny")["source_row"].to_list() == [301]


def test_files_of_different_encodings(file, tmp_path):
    file((HEAD + "Zoë,x,2024-01-01\n").encode(), "a.csv")
    file((HEAD + "Zoë,y,2024-01-02\n").encode("cp1252"), "b.csv")
    file((HEAD + "Zoë,z,2024-01-03\n").encode("utf-16"), "c.csv")
    log = read(tmp_path / "*.csv")
    assert log.events.select("case_id", "activity").rows() == [("Zoë", a) for a in "xyz"]


def test_ids_of_15_and_18_characters_are_one_record(file):
    # the same call twice, once with each form of its ids; the newer version counts
    head = "Id,LastModifiedDate,Account_vod__c,Call_Datetime_vod__c,Status_vod__c,Call_Channel_vod__c\n"
    old = "a04000000000ABc,2025-01-01T00:00:00Z,001000000000aBC,2025-01-01T10:00:00Z,Submitted_vod,Video\n"
    call, account = full_id("a04000000000ABc"), full_id("001000000000aBC")
    new = f"{call},2025-01-02T00:00:00Z,{account},2025-01-01T10:00:00Z,Submitted_vod,Phone\n"
    log = read(file(head + old + new), kind="veeva.call")
    assert log.events.select("case_id", "activity").rows() == [(account, "call_phone")]
    assert (log.sources[0].read, log.sources[0].accepted, log.sources[0].merged) == (2, 1, 1)


def full_id(short: str) -> str:
    """Salesforce's rule, letter by letter: one suffix letter per block of five, bit i for a capital at i."""
    suffix = ""
    for block in (short[:5], short[5:10], short[10:]):
        number = sum(2**i for i, c in enumerate(block) if c in "ABCDEFGHIJKLMNOPQRSTUVWXYZ")
        suffix += "ABCDEFGHIJKLMNOPQRSTUVWXYZ012345"[number]
    return short + suffix


def test_dates_at_both_ends_of_time(file):
    # the calendar has years 1 to 9999; what lies outside is rejected, nothing wraps around
    days = ["0001-01-01", "9999-12-31T23:59:59Z", "0000-01-01", "10000-01-01", "-0044-03-15", "1969-12-31"]
    log = read(file(HEAD + "".join(f"a,x{i},{d}\n" for i, d in enumerate(days))))
    assert log.events["activity"].to_list() == ["x0", "x5", "x1"]
    assert log.events["timestamp"].dt.year().to_list() == [1, 1969, 9999]
    assert log.rejected["row"].to_list() == [3, 4, 5]
    assert any("before 1990" in n for n in log.sources[0].notes)


@pytest.mark.parametrize("ending", ["csv", "jsonl", "parquet", "arrow", "xlsx"])
def test_a_column_that_changes_type_in_file_7_of_9(tmp_path, ending):
    # numbers in eight files, text in the seventh: text everywhere, each cell as it stood; 7 is not "007"
    for n in range(1, 10):
        code = "007" if n == 7 else n
        table = pl.DataFrame(
            {"case_id": [code], "activity": ["x"], "timestamp": [f"2024-01-0{n}"], "code": [code]}
        )
        path = tmp_path / f"part{n}.{ending}"
        if ending == "xlsx":
            book = openpyxl.Workbook()
            for row in (table.columns, *table.rows()):
                book.active.append(list(row))
            book.save(path)
        else:
            name = {"jsonl": "ndjson", "arrow": "ipc"}.get(ending, ending)
            getattr(table, f"write_{name}")(path)
    log = read(tmp_path)
    expected = [str(n) if n != 7 else "007" for n in range(1, 10)]
    assert log.events.sort("timestamp")["case_id"].to_list() == expected
    assert log.events.sort("timestamp")["code"].to_list() == expected
    assert log.n_events == 9 and log.n_cases == 9


def test_whole_numbers_beside_floats_and_large_ones(tmp_path):
    # 7.0 beside text is "7" as it is alone; 2^60 beside a float is not rounded
    for name, value in (("a", 7.0), ("b", "x")):
        pl.DataFrame({"case_id": [value], "activity": ["e"], "timestamp": ["2024-01-01"]}).write_parquet(
            tmp_path / f"{name}.parquet"
        )
    assert read(tmp_path).events["case_id"].to_list() == ["7", "x"]
    for name, value in (("a", 2**60 + 1), ("b", 0.5)):
        frame = pl.DataFrame(
            {"case_id": [name], "activity": ["e"], "timestamp": ["2024-01-01"], "n": [value]}
        )
        frame.write_parquet(tmp_path / f"{name}.parquet")
    assert read(tmp_path).events["n"].to_list() == [str(2**60 + 1), "0.5"]


def test_large_numbers_in_json_lines(file):
    lines = [
        f'{{"case_id": {10**k + 1}, "activity": "x", "timestamp": "2024-01-01", "n": {n}}}'
        for k, n in ((3, 1), (17, 0.5), (19, 2**53 + 1), (25, 10**30))
    ]
    log = read(file("\n".join(lines), "log.jsonl"))
    assert sorted(log.events["case_id"]) == sorted(str(10**k + 1) for k in (3, 17, 19, 25))
    found = dict(log.events.select("case_id", "n").rows())
    assert str(found[str(10**19 + 1)]) == str(2**53 + 1) and str(found[str(10**25 + 1)]) == str(10**30)


# files that are still being written -------------------------------------------------------------------


def test_a_file_somebody_has_open_for_writing(file):
    path = file(HEAD + GOOD)
    with path.open("rb") as stream, path.open("ab"):
        if not held_open(stream.fileno()):
            pytest.skip("this file system does not tell who has a file open")
    with path.open("a") as writer:
        writer.write("b,")
        writer.flush()
        message, hint = refused(path)
    assert "still being written: a program has it open" in message and "wait" in hint
    path.write_text(HEAD + GOOD)
    assert read(path).n_events == 1


def test_a_file_that_grows_while_it_is_read(file, monkeypatch):
    path = file(HEAD + GOOD)
    real = inputs.held_open

    def and_write(handle: int) -> bool:
        held = real(handle)
        with path.open("a") as other:
            other.write(GOOD)
        return held

    monkeypatch.setattr(inputs, "held_open", and_write)
    message, hint = refused(path)
    assert "it changed while it was read" in message and "wait" in hint


def test_unfinished_downloads_in_a_folder_are_left_out(file, tmp_path):
    file(HEAD + GOOD, "a.csv")
    file(HEAD, "b.csv.part")
    file(HEAD, "c.csv.crdownload")
    for named in (tmp_path, tmp_path / "*"):
        log = read(named)
        assert log.n_events == 1
        assert (
            "left out, still being written by their names: b.csv.part, c.csv.crdownload"
            in log.sources[0].notes
        )
    (tmp_path / "a.csv").unlink()
    message, hint = refused(tmp_path)
    assert "only files that are still being written" in message and "wait" in hint


@pytest.mark.parametrize("n", [3, 20_000])
def test_a_last_row_that_is_cut_in_the_middle(file, n):
    log = read(file(HEAD + GOOD * n + "b,y"))
    assert log.rejected.select("row", "reason").rows() == [(n + 1, "the file ends in the middle of this row")]
    assert "wait" in log.rejected["hint"][0] and log.n_events == n
    assert read(file(HEAD + GOOD * n + "b,y,2024-01-02")).n_events == n + 1
    line = '{"case_id": "a", "activity": "x", "timestamp": "2024-01-01"}\n'
    log = read(file(line * 3 + line[:30], "log.jsonl"))
    assert log.rejected.select("row", "reason").rows() == [(4, "the file ends in the middle of this row")]


def test_arrow_readers_datasets_and_lazy_frames(tmp_path):
    frame = pl.DataFrame({"case_id": ["007"] * 3, "activity": list("xyz"), "timestamp": ["2024-01-01"] * 3})
    frame.write_parquet(tmp_path / "log.parquet")
    table = frame.to_arrow()
    reader = pa.RecordBatchReader.from_batches(table.schema, table.to_batches(max_chunksize=1))
    found = [
        read(data).events
        for data in (
            frame,
            frame.lazy(),
            pl.scan_parquet(tmp_path / "log.parquet"),
            frame.to_pandas(),
            table,
            reader,
            table.to_batches()[0],
            pyarrow.dataset.dataset(tmp_path / "log.parquet"),
        )
    ]
    for events in found[1:]:
        assert events.drop("source_file").equals(found[0].drop("source_file"))
    assert found[0]["case_id"].to_list() == ["007"] * 3
    assert "cannot be read as a table" in refused(pl.scan_parquet(tmp_path / "none.parquet"))[0]
