"""The streamed log against the careful one: equal to the bit, every row accounted for alike."""

from __future__ import annotations

import atexit
import gzip
import shutil
import tempfile
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from behavio import encoding, sources
from behavio.encoding import Encoded, encode
from behavio.errors import BehavioError, JobError, LogError, RunError
from behavio.sequences import SequenceSet
from behavio.sources import LogSettings

SCRATCH = Path(tempfile.mkdtemp(prefix="behavio-test-"))
atexit.register(shutil.rmtree, SCRATCH, ignore_errors=True)
SMALL = 1 << 8  # bytes: so small that everything spills and every case is a range of its own


def same(a: SequenceSet, b: SequenceSet) -> None:
    """Every array, name and id is equal."""
    assert a.case_ids.to_list() == b.case_ids.to_list()
    for name in ("offsets", "tokens", "times"):
        one, two = getattr(a, name), getattr(b, name)
        assert one.dtype == two.dtype and one.tolist() == two.tolist(), name
    assert a.vocabulary == b.vocabulary and a.timed == b.timed
    assert list(a.fields) == list(b.fields)
    for name, field in a.fields.items():
        assert field.vocabulary == b.fields[name].vocabulary, name
        assert field.codes.tolist() == b.fields[name].codes.tolist(), name


def checked(
    path: Path | str, *, streamed: bool | None = True, memory: int = 1 << 30, **settings: Any
) -> Encoded:
    """Encode a file both ways; answers, counts and rejected rows must be the same."""
    try:
        log = sources.read(path, **settings)
    except BehavioError as problem:
        with pytest.raises(type(problem)) as caught:
            encode(path, memory=memory, **settings)
        assert str(caught.value) == str(problem)
        raise
    found = encode(path, memory=memory, **settings)
    if streamed is not None:
        assert found.streamed == streamed, found.why
    same(found.sequences, SequenceSet.from_log(log))
    mine, theirs = found.counts[0], log.sources[0]
    for name in ("name", "kind", "file", "read", "accepted", "rejected", "merged", "first", "last"):
        assert getattr(mine, name) == getattr(theirs, name), name
    told = [n for n in mine.notes if not n.startswith("rows that are equal")]
    assert sorted(told) == sorted(theirs.notes)
    if len(told) == len(mine.notes):
        assert mine.repeats == theirs.repeats
    assert found.rejected.to_dicts() == log.rejected.to_dicts()
    return found


def csv(folder: Path, text: str, name: str = "log.csv") -> Path:
    path = folder / name
    path.write_bytes(text.encode())
    return path


def test_smallest_log(tmp_path: Path) -> None:
    # b comes first in the file, a first by id; the second event of b is earlier than its first
    path = csv(tmp_path, "case,activity,time\nb,x,2024-01-02\na,y,2024-01-01 10:00\nb,y,2024-01-01\n")
    found = checked(path)
    assert found.sequences.case_ids.to_list() == ["a", "b"]
    assert found.sequences.tokens.tolist() == [3, 3, 2]  # x = 2, y = 3: a did y; b did y, then x
    assert found.sequences.offsets.tolist() == [0, 1, 3]
    count = found.counts[0]
    assert (count.read, count.accepted, count.rejected, count.merged) == (3, 3, 0, 0)


def test_rows_that_are_no_events_are_rejected_in_the_careful_words(tmp_path: Path) -> None:
    rows = [
        "a,x,2024-01-01",
        ",x,2024-01-01",
        "a,nan,2024-01-01",
        "a,x,",
        "a,x,yesterday",
        "a,x",
        " b ,x,2024-01-01",
    ]
    path = csv(tmp_path, "case,activity,time\n" + "\n".join(rows) + "\n")
    found = checked(path)
    assert found.counts[0].read == 7 and found.counts[0].rejected == 5
    reasons = dict(zip(found.rejected["row"], found.rejected["reason"], strict=True))
    assert reasons == {
        6: "the row has 2 cells, the header has 3",
        2: "the case id is empty",
        4: "the time is empty",
        5: "the time cannot be read",
        3: "the activity is empty",
    }
    assert found.sequences.case_ids.to_list() == ["a", "b"]


def test_odd_times_are_read_by_the_careful_reader(tmp_path: Path) -> None:
    times = [
        *["2024-01-01T10:00:00"] * 9,
        "13.02.2024 08:00",
        "Feb 3, 2024",
        "20240204",
        "2024-02-30",
        "03/04/2024",
    ]
    path = csv(
        tmp_path,
        "case,activity,time\n" + "".join(f"a,x,{t}\n" for t in times).replace("Feb 3, 2024", '"Feb 3, 2024"'),
    )
    found = checked(path)
    assert found.counts[0].accepted == 12  # 30 February is no day, 03/04 cannot be told
    assert "1 of 12 times read as day.month.year" in found.counts[0].notes


@pytest.mark.parametrize(
    ("text", "settings"),
    [
        ("case,activity,time\na,x,01/13/2024\na,y,01/14/2024\n", {}),
        ("case,activity,position\na,x,1\na,y,2\n", {}),
        ('case,activity,time,note\nb,x,2024-01-01,z\na,x,2024-01-01,"an inch is 1" long"\n', {}),
        ('case,activity,time,note\na,x,2024-01-01,n\na,x,2024-01-01,"it\nb,y,2024-01-01,z\n"\n', {}),
        ("case,activity,time,n\na,x,2024-01-01,1\na,y,2024-01-01,2\n", {"order": "n"}),
        ("case,activity,time,n\na,x,2024-01-01,1\n", {"activity": "{activity}: {n}"}),
        ("case,activity,time,n\na,x,2024-01-01,1\na,x,2024-01-01,1\n", {"repeats": "merge"}),
        ("sep=;\ncase;activity;time\na;x;2024-01-01\n", {}),
    ],
)
def test_what_a_stream_cannot_understand_is_read_carefully(tmp_path: Path, text: str, settings: Any) -> None:
    checked(csv(tmp_path, text), streamed=False, **settings)


@pytest.mark.parametrize(
    "text", ["", "case,activity,time\n", "a,b\n1,2\n", "case,activity,time\na,x,03/04/2024\n"]
)
def test_errors_are_those_of_the_careful_path(tmp_path: Path, text: str) -> None:
    with pytest.raises(LogError):
        checked(csv(tmp_path, text))


def test_latin_text_is_read_carefully(tmp_path: Path) -> None:
    (tmp_path / "log.csv").write_bytes("case,activity,time\nJosé,x,2024-01-01\n".encode("cp1252"))
    checked(tmp_path / "log.csv", streamed=False)


def test_quotes_packing_marks_and_line_ends(tmp_path: Path) -> None:
    text = (
        '\ufeff"case","activity","time"\r\n\r\n'
        '"a ""b""","x, y","2024-01-01T10:00:00Z"\r\n'
        '"a ""b""","two\r\nlines",2024-01-01T09:00:00+02:00'
    )
    found = checked(csv(tmp_path, text))
    assert found.sequences.case_ids.to_list() == ['a "b"']
    assert found.sequences.vocabulary.activities == ("two\r\nlines", "x, y")
    (tmp_path / "packed.csv.gz").write_bytes(gzip.compress(text.encode()))
    checked(tmp_path / "packed.csv.gz")
    checked(csv(tmp_path, "case\tactivity\ttime\na\tx\t2024-01-01\n", "log.tsv"))
    checked(csv(tmp_path, "case;activity;time\na;x;2024-01-01\nb;x;2024-01-01\n", "semicolon.csv"))


def test_a_large_file_with_dirt_and_free_text(tmp_path: Path) -> None:
    start = datetime(2024, 1, 1)
    lines = [f'c{i % 400},"a, {i % 7}",{start + timedelta(minutes=i * 37 % 9_999)},x' for i in range(9_000)]
    lines[5_000] = ",x,2024-01-01,he said that he would call us again"
    lines[6_000] = "c1,x,2024-01-01"
    lines[7_000] += ",,"
    text = "case,activity,time,notes\n" + "\n".join(lines) + "\n"
    assert len(text) > 200_000  # the careful path then has its compiled reader at work
    found = checked(csv(tmp_path, text))
    assert found.rejected["row"].to_list() == [6_001, 5_001]
    assert not found.rejected["raw"].str.contains("he said").any()
    assert "he said" in checked(tmp_path / "log.csv", keep_text=True).rejected["raw"][1]


def test_several_files_are_one_source(tmp_path: Path) -> None:
    csv(tmp_path, "case,activity,time\nb,x,2024-01-01\n,x,2024-01-01\n", "1.csv")
    csv(tmp_path, "case,activity,time\nb,a,2024-01-01\na,x,\n", "2.csv")
    found = checked(str(tmp_path / "*.csv"))
    assert found.sequences.tokens.tolist() == [3, 2]  # a tie of times keeps the order of the files
    assert found.rejected["file"].to_list() == [
        (tmp_path / "1.csv").as_posix(),
        (tmp_path / "2.csv").as_posix(),
    ]
    csv(tmp_path, "case,activity,time,more\nc,a,2024-01-01,1\n", "3.csv")
    checked(str(tmp_path / "*.csv"), streamed=False)


cells = st.sampled_from(
    ["a", "b", " b", "é", "東京", "nan", "", "  ", "a\u00a0", "x" * 1_001, "long case id 1", "long case id 2"]
)
odd_texts = [
    "2024-01-01", "2024-01-01 10:00", " 2024-01-01", "", "2024-02-30", "2024-01-01T24:00", "yesterday",
    "2024-01-01T10:00:00,123456789", "2024-01-01 10:00:00.", "0000-01-01", "13.02.2024", "2024-1-5",
]  # fmt: skip
clock_texts = st.one_of(
    st.datetimes(datetime(1, 1, 2), datetime(9999, 12, 30)).map(str),
    st.datetimes(datetime(2020, 1, 1), datetime(2020, 1, 2)).map(lambda t: t.isoformat(timespec="seconds")),
    st.sampled_from(odd_texts),
)
zoned_texts = st.sampled_from(
    [
        "2024-01-01T10:00Z",
        "2024-01-01 10:00:00 UTC",
        "2024-01-01T10:00:00.5+0530",
        "2024-06-01T00:30:00-08",
        "2024-01-01Z",
    ]
)
rows = st.tuples(
    cells, cells, st.one_of(clock_texts, zoned_texts), st.sampled_from(["", "email", "f2f", " "])
)
tables = st.lists(rows, min_size=1, max_size=25)


def compared(path: Path, memory: int) -> None:
    """Both ways, whatever comes of it."""
    try:
        checked(path, streamed=None, memory=memory)
    except LogError as problem:
        assert str(problem)


@settings(max_examples=25)
@given(table=tables, memory=st.sampled_from([SMALL, 1 << 30]))
def test_any_text_table_as_csv(table: list[tuple[str, ...]], memory: int) -> None:
    path = SCRATCH / "log.csv"
    frame = pl.DataFrame(table, schema=["case", "activity", "time", "channel"], orient="row")
    frame.write_csv(path)
    compared(path, memory)


@settings(max_examples=25)
@given(table=tables, memory=st.sampled_from([SMALL, 1 << 30]), form=st.sampled_from(["parquet", "arrow"]))
def test_any_text_table_as_columns(table: list, memory: int, form: str) -> None:
    path = SCRATCH / f"log.{form}"
    frame = pl.DataFrame(table, schema=["case", "activity", "time", "channel"], orient="row")
    frame = frame.with_columns(pl.when(pl.col("case") == "").then(None).otherwise("case").alias("case"))
    frame.write_parquet(path) if form == "parquet" else frame.write_ipc(path)
    compared(path, memory)


@settings(max_examples=25)
@given(text=st.text(alphabet='ab,"\n\r 1é', max_size=60), memory=st.sampled_from([SMALL, 1 << 30]))
def test_any_text_at_all(text: str, memory: int) -> None:
    path = SCRATCH / "log.csv"
    path.write_bytes(f"case,activity,time,note\na,x,2024-01-01,n\n{text}\nb,y,2024-01-02,m\n".encode())
    compared(path, memory)


times = st.one_of(st.none(), st.datetimes(datetime(1960, 1, 1), datetime(2100, 1, 1)))


@pytest.mark.parametrize("zone", ["UTC", "Europe/Zurich"])
@settings(max_examples=25)
@given(
    table=st.lists(
        st.tuples(st.integers(-3, 3), st.sampled_from([None, 1.0, 2.5]), times), min_size=1, max_size=20
    ),
    kind=st.sampled_from([pl.Datetime("us"), pl.Datetime("ns"), pl.Datetime("us", "Asia/Tokyo"), pl.Date()]),
)
def test_typed_columns(table: list, kind: Any, zone: str) -> None:
    path = SCRATCH / "log.parquet"
    frame = pl.DataFrame(
        table, schema={"case": pl.Int64, "activity": pl.Float64, "time": pl.Datetime("us")}, orient="row"
    )
    frame.with_columns(frame["time"].cast(kind)).write_parquet(path)
    try:
        checked(path, streamed=None, timezone=zone)
    except LogError as problem:
        assert str(problem)


def test_categories_are_texts(tmp_path: Path) -> None:
    path = tmp_path / "log.parquet"
    days = [datetime(2024, 1, d, tzinfo=UTC) for d in (1, 2, 3)]
    frame = pl.DataFrame(
        {"case": ["a", "b", None], "activity": ["x", None, "y"], "time": days, "team": ["s", "m", "s"]}
    )
    frame.with_columns(pl.col("case", "activity", "team").cast(pl.Categorical)).write_parquet(path)
    assert checked(path).sequences.fields["team"].vocabulary.activities == ("s",)


def test_formats_names_and_columns(tmp_path: Path) -> None:
    path = csv(tmp_path, "who,what,when,how\nb,x,02.01.2024 10:00,mail\na,y,01.01.2024 09:00,\n")
    named = {"case_id": "who", "activity": "what", "timestamp": "when", "timestamp_format": "%d.%m.%Y %H:%M"}
    found = checked(path, **named, columns={"channel": "how"}, values={"activity": {"x": "call"}})
    assert found.sequences.vocabulary.activities == ("call", "y")
    assert found.sequences.fields["channel"].codes.tolist() == [0, 2]
    with pytest.raises(JobError):
        encode(path, case="who")


@pytest.mark.parametrize("name", ["sepsis", "open_payments_iowa", "complete_journey", "bms_webview1"])
def test_real_logs(name: str, real_log: Any) -> None:
    checked(real_log(name), streamed=name != "bms_webview1")


def test_the_folder_is_the_log(tmp_path: Path) -> None:
    path = csv(
        tmp_path,
        "case,activity,time,channel\nb,x,2024-01-02,web\nb,y,2024-01-01,\na,x,2024-01-01,web\n,x,,\n",
    )
    found = encode(path, tmp_path / "out", log=LogSettings(end=("x",)))
    back = SequenceSet.read(tmp_path / "out")
    same(found.sequences, back)
    same(back, SequenceSet.from_log(sources.read(path)))
    assert isinstance(back.tokens, np.memmap)
    assert back.open_cases().open.tolist() == [False, False]  # both end with x
    assert back.distinct().weight.tolist() == [1, 1]
    counts, rejected = encoding.read_counts(tmp_path / "out")
    assert counts[0].read == 4 == counts[0].accepted + counts[0].rejected and rejected.height == 1
    encode(path, tmp_path / "out")  # an encoded log may be replaced, anything else may not
    assert sorted(p.name for p in tmp_path.iterdir()) == ["log.csv", "out"]
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "mine.txt").write_text("mine")
    with pytest.raises(RunError):
        encode(path, tmp_path / "other")


def test_same_input_same_bytes(tmp_path: Path) -> None:
    start = datetime(2024, 1, 1)
    text = "".join(f"c{i * 7 % 13},a{i % 5},{start + timedelta(hours=i * 11 % 50)}\n" for i in range(200))
    path = csv(tmp_path, "case,activity,time\n" + text)
    for out, memory in (("one", SMALL), ("two", 1 << 30)):
        encode(path, tmp_path / out, memory=memory)
    for file in (tmp_path / "one").iterdir():
        assert file.read_bytes() == (tmp_path / "two" / file.name).read_bytes(), file.name
