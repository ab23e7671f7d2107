"""The quick reader of sound delimited files says what the careful one says, or leaves the file to it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from behavio.log import EventLog, _order
from behavio.sources import inputs, plain, read
from behavio.sources.events import _repeats
from behavio.sources.inputs import Input
from behavio.sources.plain import read_plain
from behavio.sources.records import by_value, full_ids
from behavio.sources.text import Lines, read_delimited

CELLS = st.text(st.sampled_from('ab;"\n\r é🙂0,'), max_size=14)
PIECES = st.text(st.sampled_from('a,,"\n\n\r é'), max_size=60)
PER_FUNCTION = settings(max_examples=200, suppress_health_check=[HealthCheck.function_scoped_fixture])


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Blocks of 64 bytes, checked 24 at a time, so that a tiny file has many."""
    monkeypatch.setattr(plain, "SMALL", 0)
    monkeypatch.setattr(plain, "BLOCK", 64)
    monkeypatch.setattr(plain, "PIECE", 24)


@pytest.fixture
def both(small: None, tmp_path: Path) -> Iterator[Callable[..., tuple[Lines | None, Lines]]]:
    """What the quick reader and the careful one make of the same bytes."""

    def run(data: bytes, columns: frozenset[str] | None = None) -> tuple[Lines | None, Lines]:
        (tmp_path / "log.csv").write_bytes(data)
        item = Input(tmp_path / "log.csv", "log.csv")
        quick = read_plain(item, None, None, columns)
        slow = read_delimited(data.removeprefix(b"\xef\xbb\xbf"), item, None, tabs=False, columns=columns)
        return quick[0] if quick else None, slow

    return run


def same(quick: Lines | None, careful: Lines) -> None:
    """A missing cell is null in one and empty in the other; both mean nothing."""
    if quick is not None:
        assert quick.frame.columns == careful.frame.columns
        assert quick.frame.fill_null("").rows() == careful.frame.fill_null("").rows()
        assert quick.rows.to_list() == careful.rows.to_list()
        assert (quick.wrong, quick.notes) == (careful.wrong, careful.notes) == ([], careful.notes)


ROWS = "".join(f"{k},name {k},2024-01-{k % 28 + 1:02d}\n" for k in range(40))


@pytest.mark.parametrize(
    "data",
    [
        "id,name,day\n" + ROWS,
        "id,name,day\n" + ROWS.rstrip("\n"),  # no line break at the end
        ("id,name,day\n" + ROWS).replace("\n", "\r\n"),
        "\ufeffid,name,day\n" + ROWS,
        "id;name;day\n" + ROWS.replace(",", ";"),
        "id,name,day\n" + ROWS.replace("name 7,", ","),  # an empty cell
        "id,name,day\n" + ROWS.replace("name 7", "é🙂 ä"),
        '"id","name","day"\n' + ROWS.replace("name 7,", '"a, ""b"" c",').replace("name 9,", '"",'),
    ],
)
def test_sound_files_are_read(both, data):
    quick, careful = both(data.encode())
    assert quick is not None and quick.frame.height == 40
    same(quick, careful)
    quick, careful = both(data.encode(), frozenset({"day", "id"}))
    assert quick is not None and quick.frame.columns == ["id", "day"]
    same(quick, careful)


@pytest.mark.parametrize(
    "odd",
    [
        "41,two cells\n",
        "41,four,cells,here\n",
        "41,x,2024-01-01,\n",  # an empty cell too many
        "41,four,cells,here\n42,two\n",  # too many and too few make up for each other
        "\n41,x,2024-01-01\n",  # a blank line
        "41,a\rb,2024-01-01\n",  # a return inside a cell
        '41,"open,2024-01-01\n',
        '41,a"b"c,2024-01-01\n',
        '41,"a"b,2024-01-01\n',
        '41,"two\nlines",2024-01-01\n',
        "41," + "x" * 70 + ",2024-01-01\n",  # longer than a block
    ],
)
def test_what_takes_a_closer_look_is_left_to_the_careful_reader(both, odd):
    for data in ("id,name,day\n" + ROWS + odd + ROWS, "id,name,day\n" + ROWS + odd):
        quick, careful = both(data.encode())
        assert quick is None
        assert careful.frame.height + len(careful.wrong) >= 40


def test_other_encodings_and_formats_are_left_alone(small, tmp_path):
    text = "id,name,day\n" + ROWS.replace("name 7", "é")
    for data in (text.encode("cp1252"), text.encode("utf-16"), b"[1]\n" * 50, b"<log/>\n" * 50, b"a\n" * 99):
        (tmp_path / "log.csv").write_bytes(data)
        assert read_plain(Input(tmp_path / "log.csv", "log.csv"), None, None, None) is None


@PER_FUNCTION
@given(rows=st.lists(st.lists(CELLS, min_size=3, max_size=3), min_size=1, max_size=12), quoted=st.booleans())
def test_well_written_cells_come_back(both, rows, quoted):
    if not quoted:
        rows = [[c.translate({ord(x): None for x in '"\n\r,;'}) for c in row] for row in rows]
    written = [
        ",".join('"' + c.replace('"', '""') + '"' if quoted else c for c in row)
        for row in [["x", "y", "z"], *rows]
    ]
    quick, careful = both("\n".join([*written, ""]).encode())
    same(quick, careful)
    plain_cells = not any(x in c for row in rows for c in row for x in "\n\r")
    longest = max(len(line.encode()) for line in written)
    if (
        plain_cells
        and longest < 60
        and any(c for row in rows for c in row)
        and (quoted or all(map(any, rows)))
    ):
        assert quick is not None


@PER_FUNCTION
@given(text=PIECES)
def test_any_text_is_read_alike_or_left(both, text):
    quick, careful = both(("a,b,c\n" + text + "\n1,2,3\n").encode())
    same(quick, careful)


def test_a_large_file_that_is_being_written(tmp_path, monkeypatch):
    path = tmp_path / "log.csv"
    path.write_text("case,activity,timestamp\n" + "a,x,2024-01-01T10:00:00\n" * 20_000)
    real = inputs.held_open

    def and_write(handle: int) -> bool:
        held = real(handle)
        with path.open("a") as other:
            other.write("b,y,2024-01-01T10:00:00\n")
        return held

    monkeypatch.setattr(inputs, "held_open", and_write)
    with pytest.raises(inputs.LogError, match="it changed while it was read"):
        read(path)


def test_large_files_sound_and_not_give_the_same_log(tmp_path):
    # 20,000 rows without quotes, with quotes, and with one ragged row at the end: 20,000 equal events
    rows = [f"c{k % 700},{'xyz'[k % 3]},2024-01-{k % 28 + 1:02d}T{k % 24:02d}:00:00" for k in range(20_000)]
    head = "case,activity,timestamp"
    (tmp_path / "a.csv").write_text("\n".join([head, *rows, ""]))
    (tmp_path / "b.csv").write_text("\n".join([head, *('"' + r.replace(",", '","') + '"' for r in rows), ""]))
    (tmp_path / "c.csv").write_text("\n".join([head, *rows, "only one cell", ""]))
    a, b, c = (read(tmp_path / f"{n}.csv") for n in "abc")
    own = ["case_id", "activity", "timestamp", "source_row", "event_index"]
    assert a.events.select(own).equals(b.events.select(own)) and a.events.select(own).equals(
        c.events.select(own)
    )
    assert (c.sources[0].read, c.sources[0].accepted, c.rejected["row"].to_list()) == (
        20_001,
        20_000,
        [20_001],
    )
    by_hand = sorted((r.split(",")[0], r.split(",")[2], k) for k, r in enumerate(rows))
    assert a.events["event_index"].to_list() == [k for _, _, k in by_hand]


def slow_full_id(id: str) -> str:
    """Salesforce's rule letter by letter: bit i of a block of five is set where character i is a capital."""
    if not (len(id) == 15 and id.isascii() and id.isalnum()):
        return id
    blocks = (id[0:5], id[5:10], id[10:15])
    letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZ012345"
    return id + "".join(letters[sum(c.isupper() << i for i, c in enumerate(b))] for b in blocks)


@given(ids=st.lists(st.none() | st.text(st.sampled_from("aAzZ09é-"), min_size=13, max_size=16)))
def test_full_ids_by_the_rule(ids):
    ids += ["001D000000IRt53", None]
    found = full_ids(pl.Series(ids, dtype=pl.String)).to_list()
    assert found == [i if i is None else slow_full_id(i) for i in ids]
    assert found[-2] == "001D000000IRt53IAD"


@given(cells=st.lists(st.sampled_from(["a", "B", " ", "", None, "c "]), max_size=5))
def test_values_looked_up_once_are_those_of_each_row(cells):
    def answer(text: pl.Expr) -> pl.Expr:
        return pl.when(text.is_null()).then(pl.lit("none")).otherwise(text.str.to_uppercase())

    for times in (1, 900):
        frame = pl.DataFrame({"v": pl.Series(cells * times, dtype=pl.String)})
        found = frame.select(by_value(pl.col("v"), answer))["v"].to_list()
        assert found == ["none" if c is None or not c.strip() else c.upper() for c in cells * times]


@given(
    rows=st.lists(st.tuples(st.sampled_from("ab"), st.sampled_from([None, 1.0, float("nan")])), max_size=12)
)
def test_repeats_are_rows_equal_to_an_earlier_one(rows):
    table = [(c, "x", 0, n, k) for k, (c, n) in enumerate(rows)]
    frame = pl.DataFrame(table, ["case_id", "activity", "timestamp", "n", "source_row"], orient="row")
    seen = [str(r) for r in rows]
    by_hand = [r in seen[:k] for k, r in enumerate(seen)]
    assert _repeats(frame).to_list() == by_hand
    with pytest.MonkeyPatch.context() as patch:  # every hash the same: the rows themselves decide
        patch.setattr(pl.DataFrame, "hash_rows", lambda f: pl.Series([7] * f.height, dtype=pl.UInt64))
        assert _repeats(frame).to_list() == by_hand


@given(
    rows=st.lists(st.tuples(st.integers(0, 3), st.integers(-(2**50), 2**50)), min_size=1, max_size=30),
    scale=st.sampled_from([1, 1_000_000]),
    far=st.booleans(),
)
def test_order_by_one_number_or_by_two(rows, scale, far):
    case = np.array([c for c, _ in rows], np.uint32)
    time = np.array([t // scale * scale for _, t in rows], np.int64)
    if far:  # too wide for one number
        case[0], time[0] = 2**31, 2**61
    by_hand = sorted(range(len(rows)), key=lambda k: (case[k], time[k], k))
    assert _order(case, time).tolist() == by_hand


def test_a_log_of_one_event_and_of_equal_times():
    # b before a in the table, two events at one time: they keep the order of the table
    frame = pl.DataFrame({"case_id": ["b", "a", "b"], "activity": ["x", "y", "z"], "timestamp": [1, 5, 1]})
    frame = frame.with_columns(pl.col("timestamp").cast(pl.Datetime("us")))
    log = EventLog.from_frame(frame)
    assert log.events["activity"].to_list() == ["y", "x", "z"] and log.cases["case_id"].to_list() == [
        "a",
        "b",
    ]
    assert EventLog.from_frame(frame.head(1)).n_events == 1
