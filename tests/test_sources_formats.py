"""Excel and OCEL 2.0, each with a small file whose events are worked out by hand."""

from __future__ import annotations

import json
import sqlite3
from datetime import date, datetime
from pathlib import Path
from typing import Any

import openpyxl
import polars as pl
import pytest

from behavio.errors import LogError
from behavio.sources import LogInputs, SourceSettings, read, read_log


def refused(data, **settings) -> tuple[str, str]:
    with pytest.raises(LogError) as caught:
        read(data, **settings)
    assert caught.value.hint
    return str(caught.value), caught.value.hint


def workbook(path: Path, **sheets: list[list[Any]]) -> Path:
    book = openpyxl.Workbook()
    book.remove(book.active)
    for name, rows in sheets.items():
        sheet = book.create_sheet(name)
        for row in rows:
            sheet.append(row)
    book.save(path)
    return path


CALLS = [
    ["case_id", "activity", "timestamp", "npi", "size"],
    ["007", "call", datetime(2025, 1, 2, 9, 30), 1234567890, "1e5"],
    ["007", "email", date(2025, 1, 3), 1234567890, None],
    [None, None, None, None, None],
    ["8", "call", datetime(2025, 1, 4, 8), 1234567891, "x"],
]


def test_excel_golden_file(tmp_path):
    # three records; the blank row is none; text stays text, dates are dates (midnight for a plain date)
    log = read(workbook(tmp_path / "calls.xlsx", Calls=CALLS))
    assert log.events.select("case_id", "activity", "npi", "size", "source_row").rows() == [
        ("007", "call", 1234567890, "1e5", 1),
        ("007", "email", 1234567890, None, 2),
        ("8", "call", 1234567891, "x", 3),
    ]
    times = log.events["timestamp"].dt.strftime("%Y-%m-%d %H:%M").to_list()
    assert times == ["2025-01-02 09:30", "2025-01-03 00:00", "2025-01-04 08:00"]
    count = log.sources[0]
    assert (count.read, count.accepted, count.rejected, count.merged) == (3, 3, 0, 0)


def test_excel_one_sheet_of_several_is_the_table(tmp_path):
    about = [["about"], ["made by the CRM"]]
    path = workbook(tmp_path / "calls.xlsx", About=about, Calls=CALLS)
    log = read(path)
    assert log.n_events == 3 and "sheet 'Calls' of About, Calls" in log.sources[0].notes
    path = workbook(tmp_path / "two.xlsx", Calls=CALLS, Mails=CALLS[:2])
    message, hint = refused(path)
    assert "2 sheets that hold a table: Calls, Mails" in message and 'sheet = "Calls"' in hint
    assert read(path, sheet="mails").n_events == 1
    assert "did you mean 'Mails'?" in refused(path, sheet="Mials")[1]


def test_excel_title_rows_stand_above_the_header(tmp_path):
    log = read(workbook(tmp_path / "calls.xlsx", Calls=[["Calls of 2025"], *CALLS]))
    assert log.n_events == 3
    assert "1 rows above the header are no part of the table" in log.sources[0].notes


def test_excel_numbers_and_texts_in_one_column(tmp_path):
    # 7 and "007" are two cases; 0.5 stays as written; a column of both kinds is text
    rows = [["case_id", "activity", "timestamp", "value"]]
    rows += [[c, "a", "2025-01-01", v] for c, v in ((7, 0.5), ("007", "n/a"), ("7", 10))]
    log = read(workbook(tmp_path / "log.xlsx", A=rows))
    assert log.events.sort("source_row").select("case_id", "value").rows() == [
        ("7", "0.5"),
        ("007", "n/a"),
        ("7", "10"),
    ]


def test_excel_shown_zeros_and_long_numbers(tmp_path):
    # 42 formatted as 00000 is shown, and read, as 00042; 18 digits stored as a number are told
    book = openpyxl.Workbook()
    sheet = book.active
    sheet.append(["case_id", "activity", "timestamp", "id"])
    sheet.append([42, "a", "2025-01-01", 1.23456789012345e17])
    sheet["A2"].number_format = "00000"
    book.save(tmp_path / "log.xlsx")
    log = read(tmp_path / "log.xlsx")
    assert log.events.select("case_id", "id").row(0) == ("00042", 1.23456789012345e17)
    assert any("id holds numbers of more than 15 digits" in n for n in log.sources[0].notes)


def test_excel_errors_of_formulas_are_no_cases(tmp_path):
    rows = [["case_id", "activity", "timestamp"], ["#N/A", "a", "2025-01-01"], ["b", "a", "2025-01-01"]]
    log = read(workbook(tmp_path / "log.xlsx", A=rows))
    assert log.rejected["reason"].to_list() == ["the case id is empty"]
    assert log.events["case_id"].to_list() == ["b"]


def test_excel_rows_wider_than_the_header_are_rejected(tmp_path):
    rows = [["case_id", "activity", "timestamp"], ["a", "x", "2025-01-01", "lost?"], ["b", "x", "2025-01-01"]]
    log = read(workbook(tmp_path / "log.xlsx", A=rows))
    assert log.rejected.select("row", "reason").rows() == [(1, "the row has 4 cells, the header has 3")]
    assert log.events["source_row"].to_list() == [2]


def test_workbooks_that_cannot_be_read(tmp_path):
    whole = workbook(tmp_path / "log.xlsx", A=CALLS).read_bytes()
    damaged = tmp_path / "damaged.xlsx"
    damaged.write_bytes(whole[: len(whole) // 2])
    assert "damaged Excel workbook" in refused(damaged)[0]
    old = tmp_path / "old.xls"
    old.write_bytes(b"\xd0\xcf\x11\xe0" + b"\x00" * 600)
    message, hint = refused(old)
    assert "old Excel workbook (.xls)" in message and ".xlsx" in hint
    old.write_bytes(b"\xd0\xcf\x11\xe0" + b"\x00" * 600 + "EncryptedPackage".encode("utf-16-le"))
    assert "locked with a password" in refused(old)[0]
    empty = workbook(tmp_path / "empty.xlsx", A=[["only a title"]])
    assert "no sheet with a header" in refused(empty)[0]


# OCEL 2.0: e1 touches orders o1 and o2, e2 only o1 (and item i1), e3 only item i1, so with orders as cases:
#   o1: place (e1), pay (e2)    o2: place (e1)    e3 is in no case; prices of o1 change between e1 and e2
OBJECTS = [
    ("o1", "order", [("price", "1970-01-01T00:00:00Z", "10"), ("price", "2025-01-01T12:00:00Z", "12")]),
    ("o2", "order", [("price", "1970-01-01T00:00:00Z", "20")]),
    ("i1", "item", []),
]
EVENTS = [
    (
        "e1",
        "place",
        "2025-01-01T10:00:00Z",
        [("amount", "3")],
        [("o1", "first"), ("o2", "second"), ("i1", "in")],
    ),
    ("e2", "pay", "2025-01-02T10:00:00Z", [], [("o1", "paid"), ("i1", "in")]),
    ("e3", "pick", "2025-01-03T10:00:00Z", [("amount", "4")], [("i1", "picked")]),
]
EXPECTED = [
    ("o1", "place", "2025-01-01", "e1", "first", "i1", 3, "10", 1),
    ("o1", "pay", "2025-01-02", "e2", "paid", "i1", None, "12", 2),
    ("o2", "place", "2025-01-01", "e1", "second", "i1", 3, "20", 1),
]


def as_json(path: Path) -> None:
    value = {
        "objectTypes": [
            {"name": "order", "attributes": [{"name": "price", "type": "string"}]},
            {"name": "item", "attributes": []},
        ],
        "eventTypes": [
            {"name": n, "attributes": [{"name": "amount", "type": "integer"}]}
            for n in ("place", "pay", "pick")
        ],
        "objects": [
            {"id": o, "type": t, "attributes": [{"name": n, "time": at, "value": v} for n, at, v in values]}
            for o, t, values in OBJECTS
        ],
        "events": [
            {
                "id": e,
                "type": t,
                "time": at,
                "attributes": [{"name": n, "value": v} for n, v in values],
                "relationships": [{"objectId": o, "qualifier": q} for o, q in objects],
            }
            for e, t, at, values, objects in EVENTS
        ],
    }
    path.write_text(json.dumps(value))


def as_xml(path: Path) -> None:
    types = "".join(
        f'<event-type name="{n}"><attributes><attribute name="amount" type="integer"/></attributes>'
        "</event-type>"
        for n in ("place", "pay", "pick")
    )
    objects = "".join(
        f'<object id="{o}" type="{t}"><attributes>'
        + "".join(f'<attribute name="{n}" time="{at}">{v}</attribute>' for n, at, v in values)
        + "</attributes></object>"
        for o, t, values in OBJECTS
    )
    events = "".join(
        f'<event id="{e}" type="{t}" time="{at}"><attributes>'
        + "".join(f'<attribute name="{n}">{v}</attribute>' for n, v in values)
        + "</attributes><objects>"
        + "".join(f'<relationship object-id="{o}" qualifier="{q}"/>' for o, q in related)
        + "</objects></event>"
        for e, t, at, values, related in EVENTS
    )
    path.write_text(
        '<?xml version="1.0" encoding="UTF-8"?>\n<log>'
        '<object-types><object-type name="order"/></object-types>'
        f"<event-types>{types}</event-types><objects>{objects}</objects><events>{events}</events></log>"
    )


def as_sqlite(path: Path) -> None:
    base = sqlite3.connect(path)
    base.executescript(
        """
        CREATE TABLE event (ocel_id TEXT PRIMARY KEY, ocel_type TEXT);
        CREATE TABLE object (ocel_id TEXT PRIMARY KEY, ocel_type TEXT);
        CREATE TABLE event_object (ocel_event_id TEXT, ocel_object_id TEXT, ocel_qualifier TEXT);
        CREATE TABLE object_object (ocel_source_id TEXT, ocel_target_id TEXT, ocel_qualifier TEXT);
        CREATE TABLE event_map_type (ocel_type TEXT, ocel_type_map TEXT);
        CREATE TABLE object_map_type (ocel_type TEXT, ocel_type_map TEXT);
        CREATE TABLE object_order (ocel_id TEXT, ocel_time TIMESTAMP, ocel_changed_field TEXT, price TEXT);
        CREATE TABLE object_item (ocel_id TEXT, ocel_time TIMESTAMP, ocel_changed_field TEXT);
        INSERT INTO object_map_type VALUES ('order', 'order'), ('item', 'item');
        """
    )
    for name in ("place", "pay", "pick"):
        base.execute("INSERT INTO event_map_type VALUES (?, ?)", (name, name))
        base.execute(f"CREATE TABLE event_{name} (ocel_id TEXT, ocel_time TIMESTAMP, amount INTEGER)")
    for o, kind, values in OBJECTS:
        base.execute("INSERT INTO object VALUES (?, ?)", (o, kind))
        for place, (_, at, value) in enumerate(values):
            changed = "price" if place else None
            base.execute("INSERT INTO object_order VALUES (?, ?, ?, ?)", (o, at, changed, value))
    for e, kind, at, values, objects in EVENTS:
        base.execute("INSERT INTO event VALUES (?, ?)", (e, kind))
        amount = int(values[0][1]) if values else None
        base.execute(f"INSERT INTO event_{kind} VALUES (?, ?, ?)", (e, at, amount))
        base.executemany("INSERT INTO event_object VALUES (?, ?, ?)", [(e, o, q) for o, q in objects])
    base.commit()
    base.close()


FORMS = {"json": as_json, "xml": as_xml, "sqlite": as_sqlite}


@pytest.mark.parametrize("form", FORMS)
def test_ocel_golden_file(tmp_path, form):
    path = tmp_path / f"orders.{form}"
    FORMS[form](path)
    source = SourceSettings(path=path.name, kind="ocel", object_type="order")
    log = read_log(LogInputs({"orders": source}, tmp_path))
    found = log.events.select(
        "case_id",
        "activity",
        pl.col("timestamp").dt.strftime("%Y-%m-%d"),
        "ocel_event",
        "ocel_qualifier",
        "ocel_item",
        "amount",
        "case_price",
        "source_row",
    )
    assert found.rows() == EXPECTED
    count = log.sources[0]
    # four records: e1 in two cases, e2 in one, e3 in none
    assert (count.read, count.accepted, count.rejected, count.merged) == (4, 3, 0, 1)
    assert count.left_out == {"no order takes part in the event": 1}
    assert "1 events belong to several order objects: each counts once in every one" in count.notes


@pytest.mark.parametrize("form", FORMS)
def test_ocel_without_or_with_an_unknown_object_type(tmp_path, form):
    path = tmp_path / f"orders.{form}"
    FORMS[form](path)
    message, hint = refused(path)
    assert "one of its object types must be the case" in message
    assert 'object_type = "order" (--object-type); it has: order (2), item (1)' in hint
    message, hint = refused(path, object_type="ordr")
    assert "no object of type 'ordr'" in message and "did you mean 'order'?" in hint
    assert read(path, object_type="item").n_events == 3


def test_ocel_damaged_files(tmp_path):
    for form, write in FORMS.items():
        path = tmp_path / f"orders.{form}"
        write(path)
        whole = path.read_bytes()
        path.write_bytes(whole[: len(whole) * 2 // 3])
        with pytest.raises(LogError) as caught:
            read(path, kind="ocel", object_type="order")
        assert caught.value.hint, form


def test_ocel_of_no_case_and_rows_without_a_time(tmp_path):
    as_json(tmp_path / "orders.json")
    value = json.loads((tmp_path / "orders.json").read_text())
    del value["events"][1]["time"]
    value["events"].append("nonsense")
    (tmp_path / "orders.json").write_text(json.dumps(value))
    log = read(tmp_path / "orders.json", object_type="order")
    assert sorted(log.rejected.select("row", "reason").rows()) == [
        (2, "the time is empty"),
        (4, "the event is no JSON object"),
    ]
    count = log.sources[0]
    assert count.read == count.accepted + count.rejected + count.merged == 5


def test_ocel_a_database_that_is_no_log(tmp_path):
    base = sqlite3.connect(tmp_path / "calls.db")
    base.execute("CREATE TABLE calls (case_id TEXT)")
    base.commit()
    base.close()
    message, hint = refused(tmp_path / "calls.db")
    assert "no OCEL 2.0 log" in message and "it has: calls" in hint and 'kind = "sql"' in hint


@pytest.mark.parametrize("form", FORMS)
def test_ocel_as_pm4py_writes_it(tmp_path, form):
    """pm4py writes each form; what it reads of the golden file must be what we read of its file."""
    import warnings

    import pm4py

    as_json(tmp_path / "orders.json")
    out = tmp_path / f"written.{'xmlocel' if form == 'xml' else form}"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        theirs = pm4py.read_ocel2_json(str(tmp_path / "orders.json"))
        getattr(pm4py, f"write_ocel2_{form}")(theirs, str(out))
    ours = read(out, object_type="order")
    assert ours.events.select("case_id", "activity", "ocel_event", "ocel_item").rows() == [
        (c, a, e, i) for c, a, _, e, _, i, *_ in EXPECTED
    ]


def test_on_the_command_line(tmp_path):
    """Sheet, object type and query as a user types them."""
    import json as js

    from click.testing import CliRunner

    from behavio.cli import cli

    def told(*words: object) -> dict[str, Any]:
        done = CliRunner().invoke(cli, [str(w) for w in words])
        assert done.exit_code == 0, done.output
        return js.loads(done.stdout)["sources"][0]

    path = workbook(tmp_path / "two.xlsx", Calls=CALLS, Mails=CALLS[:2])
    assert told("check", path, "--sheet", "Mails", "--json")["accepted"] == 1
    as_json(tmp_path / "orders.json")
    assert told("check", tmp_path / "orders.json", "--object-type", "order", "--json")["merged"] == 1
    base = sqlite3.connect(tmp_path / "calls.db")
    base.execute("CREATE TABLE calls (case_id, activity, timestamp)")
    base.execute("INSERT INTO calls VALUES ('a', 'x', '2025-01-01')")
    base.commit()
    base.close()
    url = f"sqlite:///{tmp_path}/calls.db"
    assert told("check", url, "--query", "SELECT * FROM calls", "--json")["accepted"] == 1
