"""Reading only the columns a mapping needs gives the log that reading all of them gives."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest

from behavio.simulate import SimulateSettings, simulate
from behavio.sources import SourceSettings, kinds
from behavio.sources.events import events_of
from behavio.sources.mapping import load_mapping
from behavio.sources.raw import PLAIN, raw_table, wanted_columns
from behavio.sources.tabular import FILE, ROW
from behavio.sources.text import needed


@pytest.fixture(scope="module")
def extracts(tmp_path_factory) -> Path:
    """Simulated extracts, each CSV with a free-text column no mapping names."""
    folder = tmp_path_factory.mktemp("columns")
    simulate(SimulateSettings(n_cases=60, months=3, seed=5), folder)
    for path in (folder / "extracts").glob("*.csv"):
        table = pl.read_csv(path, infer_schema=False)
        table.with_columns(pl.lit('he said "yes",\nthen no').alias("Remark__c")).write_csv(path)
    return folder / "extracts"


def mapped(extracts: Path) -> list[str]:
    there = {p.name.partition(".")[0].lower() for p in extracts.iterdir()}
    files = {k: load_mapping(None, k, Path()).file for k in kinds("events") if k not in PLAIN}
    return [k for k, f in files.items() if f and f.partition(".")[0].lower() in there]


def test_events_are_the_same(extracts):
    found = mapped(extracts)
    assert {"veeva.call", "veeva.key_message", "veeva.sent_email", "ga4"} <= set(found)
    for kind in found:
        settings = SourceSettings(path=".", kind=kind)
        logs = []
        for whole in (False, True):
            table, mapping, beside = raw_table(settings, extracts, whole=whole)
            logs.append(events_of("source", table, mapping, settings, extracts, beside))
            csv = table.files[0].endswith(".csv")
            assert ("Remark__c" in table.frame.columns) == (whole and csv)
        part, full = logs
        assert part.events.equals(full.events), kind
        assert part.rejected.equals(full.rejected), kind
        assert (part.count.read, part.count.left_out) == (full.count.read, full.count.left_out)
        assert (part.count.delay, part.count.exported) == (full.count.delay, full.count.exported)


def test_what_a_job_names_is_read_too(extracts):
    settings = SourceSettings(
        path="Call2_vod__c.csv",
        kind="veeva.call",
        keep=("Remark__c",),
        columns={"team": "Status_vod__c"},
        activity="{Call_Channel_vod__c}: {Name}",
    )
    wanted = wanted_columns(load_mapping(None, "veeva.call", Path()), settings)
    assert wanted is not None and {"Remark__c", "Status_vod__c", "Name", "Id"} <= wanted
    table, _, _ = raw_table(settings, extracts)
    assert {"Remark__c", "Status_vod__c", ROW, FILE} <= set(table.frame.columns)
    assert (
        wanted_columns(load_mapping(None, "veeva.call", Path()), SourceSettings(path="x", keep=("*",)))
        is None
    )
    assert wanted_columns(load_mapping(None, "table", Path()), SourceSettings(path="x")) is None


def test_names_are_found_whatever_their_case_and_separators():
    names = ["ID", "call_datetime__v", "geo", "Created Date", "Notes"]
    assert needed(names, frozenset({"Id", "geo.country", "createddate"})) == ["ID", "geo", "Created Date"]
    assert needed(names, frozenset({"none"})) == ["ID"] and needed(names, None) == names


@pytest.mark.parametrize("ending", ["parquet", "arrow"])
def test_columnar_files_too(tmp_path, ending):
    table = pl.DataFrame({"Id": ["a"], "Account_vod__c": ["x"], "Call_Datetime_vod__c": ["2025-01-01"]})
    table = table.with_columns(Status_vod__c=pl.lit("Submitted_vod"), Notes=pl.lit("private"))
    path = tmp_path / f"Call2_vod__c.{ending}"
    (table.write_parquet if ending == "parquet" else table.write_ipc)(path)
    found, _, _ = raw_table(SourceSettings(path=path.name, kind="veeva.call"), tmp_path)
    assert "Notes" not in found.frame.columns and found.frame["Account_vod__c"].to_list() == ["x"]
