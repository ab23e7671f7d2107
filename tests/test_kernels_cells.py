"""The compiled reader of delimited text says what the slow one says, row for row and cell for cell."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from behavio.sources import text
from behavio.sources.inputs import Input

ITEM = Input(Path("log.csv"), "log.csv")
CELLS = st.text(st.sampled_from('ab,;"\n\r é🙂0'), max_size=14)
PIECES = st.text(st.sampled_from('a,"\n\r é'), max_size=40)


def both(data: str, columns: frozenset[str] | None = None) -> tuple[text.Lines | None, text.Lines]:
    packed = data.encode()
    if not packed.endswith(b"\n"):
        packed += b"\n"
    return text.cut_columns(packed, ",", columns), text._slow(packed.decode(), ",", columns)


def same(fast: text.Lines | None, slow: text.Lines) -> None:
    """A missing cell is null in one and empty in the other; both mean nothing."""
    if fast is None:
        return
    assert fast.frame.fill_null("").rows() == slow.frame.rows()
    assert fast.frame.columns == slow.frame.columns
    assert (fast.rows.to_list(), fast.wrong, fast.notes) == (slow.rows.to_list(), slow.wrong, slow.notes)


def test_cells_of_every_kind():
    # short and long cells, quotes with delimiters, doubled quotes and line breaks, a ragged row, blank lines
    rows = [
        "id,note,last",
        '1,"a ""quoted"" word, and more text",x',
        "",
        "2,twelve bytes,exactly thirteen",
        "3,only two",
        '4,"line\nbreak",',
        '5,"",""\r',
        '6,5" pipe,z',
    ]
    fast, slow = both("\n".join(rows))
    same(fast, slow)
    assert fast is not None and fast.rows.to_list() == [1, 2, 4, 5, 6]
    assert fast.frame["note"].to_list() == [
        'a "quoted" word, and more text',
        "twelve bytes",
        "line\nbreak",
        "",
        '5" pipe',
    ]
    assert [(r, why) for r, why, _, _ in fast.wrong] == [(3, "the row has 2 cells, the header has 3")]
    one, slow = both("\n".join(rows), frozenset({"last"}))
    same(one, slow)
    assert one is not None and one.frame.columns == ["last"]


def test_quotes_that_do_not_close_are_left_to_the_slow_reader():
    assert both('a,b\n1,"open\n2,x\n')[0] is None
    assert both('a,b\n1,"closed"x\n')[0] is None
    assert both('a,b\n1,"swallows\n2,x\n3,y"\n')[0] is None


@given(st.lists(st.lists(CELLS, min_size=3, max_size=3), min_size=1, max_size=6))
def test_well_written_files_come_back(rows):
    quoted = [",".join('"' + c.replace('"', '""') + '"' for c in row) for row in rows]
    fast, slow = both("\n".join(["x,y,z", *quoted]))
    same(fast, slow)
    if fast is not None:  # a cell that looks like a row of its own is read the slow way
        assert fast.frame.rows() == [tuple(r) for r in rows]


@settings(max_examples=300)
@given(PIECES)
def test_any_text_reads_as_the_slow_reader_says(body):
    same(*both("x,y\n" + body))


@pytest.mark.parametrize("shift", [3, 5])
def test_places_beyond_one_buffer(monkeypatch, shift):
    # with buffers that begin every 8 or 32 bytes, long cells lie in many of them
    monkeypatch.setattr(text, "WINDOW", shift)
    rows = [f'{i},"a ""long"" cell of row {i}",{"plain and long " * 3}{i}' for i in range(40)]
    fast, slow = both("\n".join(["id,quoted,plain", *rows]))
    same(fast, slow)
    assert fast is not None and fast.frame["plain"][39] == "plain and long " * 3 + "39"
    assert pl.DataFrame(fast.frame["quoted"]).filter(pl.col("quoted").str.contains("row 7")).height == 1
