"""Monthly exports, with overlaps and later changes, in any order: the same log as one whole export."""

from __future__ import annotations

import random
import shutil
from dataclasses import replace
from pathlib import Path

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from behavio.job import demo_job
from behavio.log import EventLog
from behavio.simulate import SimulateSettings, simulate
from behavio.sources import LogInputs, SourceSettings, input_files, read_log

EARLIER = {
    "Call2_vod__c": ("Status_vod__c", "Planned_vod"),
    "Call2_Key_Message_vod__c": ("Reaction_vod__c", "Negative"),
    "Sent_Email_vod__c": ("Email_Sent_Date_vod__c", "2020-01-01T00:00:00.000Z"),
    "Email_Activity_vod__c": ("Event_type_vod__c", "Clicked_vod"),
    "Account": ("Specialty_1_vod__c", "Unknown"),
    "Multichannel_Consent_vod__c": ("Opt_Type_vod__c", "Opt_Out_vod"),
}
"""What an earlier export said of a record that was changed since."""


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("whole")
    simulate(SimulateSettings(n_cases=25, months=3, seed=11), out)
    return out / "extracts"


@pytest.fixture(scope="module")
def expected(whole: Path) -> EventLog:
    return read_log(replace(demo_job(whole, 7).inputs, plan=None))


def export(whole: Path, folder: Path, dice: random.Random, n: int) -> list[Path]:
    """n folders of exports: every record in one at least, some in several, some in an older version."""
    homes = [folder / f"2025-{dice.randrange(10**6):06d}-{i}" for i in range(n)]
    for home in homes:
        home.mkdir(parents=True)
    for file in sorted(whole.iterdir()):
        rows: list[list[str]] = [[] for _ in homes]
        if file.suffix == ".jsonl":
            head, lines = "", file.read_text().splitlines(keepends=True)
            for line in lines:
                for home in dice.sample(range(n), min(n, 1 + (dice.random() < 0.3))):
                    rows[home].append(line)
        else:
            table = pl.read_csv(file, infer_schema=False)
            head = ",".join(table.columns) + "\n"
            for row in table.iter_slices(1):
                for home in dice.sample(range(n), min(n, 1 + (dice.random() < 0.3))):
                    rows[home].append(row.write_csv(include_header=False))
                if file.stem in EARLIER and dice.random() < 0.2:
                    column, value = EARLIER[file.stem]
                    old = pl.lit("2019-05-05T00:00:00.000Z")
                    was = row.with_columns(
                        pl.lit(value).alias(column), LastModifiedDate=old, SystemModstamp=old
                    )
                    rows[dice.randrange(n)].append(was.write_csv(include_header=False))
        for home, mine in zip(homes, rows, strict=True):
            if mine:
                (home / file.name).write_text(head + "".join(mine))
    return homes


def inputs(folder: Path) -> LogInputs:
    """The demo job with every table read from a folder of exports."""
    demo = demo_job(folder, 7).inputs
    assert demo.cases is not None and demo.consents is not None
    source = {n: replace(s, path=".") for n, s in demo.source.items()}
    cases, consents = replace(demo.cases, path="."), replace(demo.consents, path=".")
    return replace(demo, source=source, cases=cases, consents=consents, plan=None, survey=None)


def told(log: EventLog) -> list[pl.DataFrame]:
    """What a log says, apart from where it stands and the order of equal times."""
    events = log.events.drop("source", "source_file", "source_row", "event_index")
    keys = ["case_id", "timestamp", "activity", "message", "content", "brand", "actor_id", "duration_s"]
    consents = log.consents.drop("source_row")
    return [
        events.select(sorted(events.columns)).sort(keys, nulls_last=True),
        log.cases.select(sorted(log.cases.columns)),
        consents.sort(consents.columns, nulls_last=True),
    ]


@settings(max_examples=6)
@given(seed=st.integers(0, 10**6), n=st.integers(1, 4))
def test_any_exports_in_any_order_give_the_log_of_all_at_once(whole, expected, tmp_path_factory, seed, n):
    folder, dice = tmp_path_factory.mktemp("exports"), random.Random(seed)
    homes = export(whole, folder / "there", dice, n)
    (folder / "here").mkdir()
    for home in dice.sample(homes, n):  # appended one after the other; the last reading counts
        shutil.copytree(home, folder / "here" / home.name)
    appended = read_log(inputs(folder / "here"))
    for table, wanted in zip(told(appended), told(expected), strict=True):
        assert table.equals(wanted)
    for count in appended.sources:
        assert count.read == count.accepted + count.rejected + count.merged, count.name
    at_once = read_log(inputs(folder / "there"))
    assert at_once.events.equals(appended.events) and at_once.rejected.equals(appended.rejected)


def test_a_changed_event_replaces_its_old_version(tmp_path: Path):
    head = (
        "Id,Account_vod__c,Call_Datetime_vod__c,Status_vod__c,Product_Priority_1_vod__c,SystemModstamp,"
        "Call_Channel_vod__c\n"
    )
    for month, row, product in (
        ("2025-01", "c1,A1,2025-01-05T10:00:00Z,Submitted_vod,P1,2025-01-06T00:00:00Z", "P1,Old name"),
        ("2025-02", "c1,A1,2025-01-05T14:00:00Z,Submitted_vod,P2,2025-02-01T00:00:00Z", "P2,Cardiovia"),
        ("2025-03", "c1,A1,2025-01-05T14:00:00Z,Planned_vod,P2,2025-03-01T00:00:00Z", "P2,Cardiovia"),
    ):
        (tmp_path / month).mkdir()
        (tmp_path / month / "Call2_vod__c.csv").write_text(head + row + ",Phone_vod\n")
        (tmp_path / month / "Product_vod__c.csv").write_text(f"Id,Name\n{product}\n")

    def calls(path: str) -> EventLog:
        return read_log(LogInputs({"calls": SourceSettings(path=path, kind="veeva.call")}, tmp_path))

    event = calls("2025-0[12]/Call2_vod__c.csv").events.row(0, named=True)
    assert (event["timestamp"].hour, event["brand"]) == (14, "Cardiovia")  # each export brings its products
    assert (event["source"], event["source_file"], event["source_row"]) == (
        "calls/2025-02/Call2_vod__c.csv",
        "2025-02/Call2_vod__c.csv",
        1,
    )
    names = [
        n for n, _ in input_files(LogInputs({"c": SourceSettings(path=".", kind="veeva.call")}, tmp_path))
    ]
    assert len(names) == 6 and "2025-01/Product_vod__c.csv" in names
    with pytest.raises(Exception, match="the log has no event"):  # taken back in March: no event at all
        calls(".")


def test_plain_tables_append_rows_and_later_case_rows_win(tmp_path: Path):
    (tmp_path / "a-2025-01.csv").write_text("case,event,time\nx,call,2025-01-01\n")
    (tmp_path / "a-2025-02.csv").write_text("case,event,time\nx,call,2025-01-01\nx,mail,2025-02-01\n")
    (tmp_path / "p-2025-01.csv").write_text("case_id,region\nx,North\ny,South\n")
    (tmp_path / "p-2025-02.csv").write_text("case_id,region\nx,West\n")
    from behavio.sources import CasesSettings

    cases = CasesSettings(path="p-*.csv")
    log = read_log(LogInputs({"log": SourceSettings(path="a-*.csv")}, tmp_path, cases))
    assert (log.n_events, log.sources[0].repeats) == (3, 1)  # kept and counted, without a record id
    assert log.cases.select("case_id", "region").rows() == [("x", "West"), ("y", "South")]
    merged = SourceSettings(path="a-*.csv", repeats="merge")
    log = read_log(LogInputs({"log": merged}, tmp_path))
    assert log.events["activity"].to_list() == ["call", "mail"]
