"""The part of the page on how far groups can be relied on: every number is one of the run's own."""

from __future__ import annotations

import csv
import shutil
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from test_report import page, read, tables
from test_segments import hcp_log

from behavio.errors import JobError, LogError
from behavio.files import read_json, write_json
from behavio.job import job_from
from behavio.report import ReportSettings, write_report
from behavio.run import run as run_job


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A second run that goes on from a first and is held against a segmentation in use."""
    folder = tmp_path_factory.mktemp("trust")
    log, truth = hcp_log(240)
    log.events.select("case_id", "activity", "timestamp").write_parquet(folder / "log.parquet")
    ids = [f"c{i:05d}" for i in range(240)]
    draw = np.random.default_rng(0).random(240) < 0.2
    crm = ["gold" if d else ("gold" if t == "quick" else "silver") for t, d in zip(truth, draw, strict=True)]
    pl.DataFrame({"case_id": ids, "segment": crm}).write_csv(folder / "crm.csv")
    own = {"k": 3, "restarts": 3, "subgroups": False}
    table = {"source": {"log": {"path": "log.parquet"}}, "segments": own}
    run_job(job_from(table, name="one", base=folder), folder / "one")
    own |= {"previous": "one", "challenge": "crm.csv", "owner": "Brand lead", "review": "2031-01-31"}
    run_job(job_from(table | {"report": {}}, name="two", base=folder), folder / "two")
    return folder / "two"


def test_every_number_is_in_its_table(told: Path) -> None:
    html, csvs = page(told), tables(told)
    assert {"found_again", "group_numbers", "group_methods", "typing_tool"} <= csvs.keys()
    assert {"group_changes", "challenge"} <= csvs.keys()
    found = read(html)
    for mark, _ in found.marked:
        name, row, column = mark["data-cell"].split(":")
        assert mark["value"].split(" ")[0] == csvs[name][int(row)][column]
    for name, row, column, value, text in found.cells:
        line = csvs[name][row][column]
        assert (text if value is None else value) == line or (text, line) == ("–", "")


def test_tables_are_those_of_the_run(told: Path) -> None:
    csvs, own = tables(told), told / "segments"
    page_of, rules = read_json(own / "profiles.json"), read_json(own / "rules.json")
    again = pl.read_parquet(own / "stability.parquet")
    assert [float(r["found_again"]) for r in csvs["found_again"]] == again["found_again"].to_list()
    assert [int(r["n_cases"]) for r in csvs["found_again"]] == again["n_cases"].to_list()
    assert [float(r["agreement"]) for r in csvs["group_methods"][1:]] == [
        m["agreement"] for m in page_of["proof"]["methods"]
    ]
    assert [int(r["k"]) for r in csvs["group_numbers"]] == [p["k"] for p in page_of["curve"]]
    assert [r["question"] for r in csvs["typing_tool"]] == [
        f"{q['number']}. {q['question']}" for q in rules["questions"]
    ]
    assert [int(r["n_cases"]) for r in csvs["group_changes"]] == [c["n_cases"] for c in page_of["changes"]]
    crossed = pl.read_parquet(own / "challenge.parquet").filter(pl.col("n_cases") >= 10)
    assert sorted(int(r["n_cases"]) for r in csvs["challenge"]) == sorted(crossed["n_cases"])
    facts = {r["fact"]: float(r["value"]) for r in csvs["facts"]}
    assert facts["stability"] == page_of["proof"]["stability"]
    assert facts["rules_accuracy"] == rules["accuracy"]
    assert facts["groups_churn"] == page_of["churn"] == 0
    assert facts["challenge"] == read_json(own / "challenge.json")["agreement"]


def test_it_says_in_words_what_the_figures_say(told: Path, tmp_path: Path) -> None:
    text = page(told)
    assert "The same groups are found again in other HCPs" in text
    assert "Since last time nobody changed group" in text
    assert "to be reviewed on 2031-01-31 by Brand lead" in text
    assert "Beside “crm.csv”" in text
    simpler = ("Counting alone would not", "gives nearly the same groups", "tells as much as these")
    assert sum(t in text for t in simpler) == 1
    shutil.copytree(told, tmp_path / "run")
    file = tmp_path / "run/segments/profiles.json"
    shaky = read_json(file)
    shaky["proof"] |= {"stability": 0.41, "stability_low": 0.2}
    shaky["proof"]["without"] = [{"without": "order", "gain": -0.1, "agreement": 0.0}]
    write_json(file, shaky)
    write_report(tmp_path / "run", ReportSettings(), tmp_path / "run/report")
    text = page(tmp_path / "run")
    assert "The log does not carry stable groups" in text and "found again in other HCPs<" not in text
    assert "no groups are left" in text


def test_no_cell_stands_on_fewer_than_k(told: Path, tmp_path: Path) -> None:
    shutil.copytree(told, tmp_path / "run")
    write_report(tmp_path / "run", ReportSettings(k_anonymity=60), tmp_path / "run/report")
    with (tmp_path / "run/report/tables/challenge.csv").open() as file:
        assert all(int(r["n_cases"]) >= 60 for r in csv.DictReader(file))
    with (tmp_path / "run/report/tables/found_again.csv").open() as file:
        for row in csv.DictReader(file):
            assert int(row["n_cases"]) >= 60 and row["n_border"] in ("", "0")


def test_one_group_says_why(tmp_path: Path) -> None:
    events = pl.DataFrame({"case_id": [f"c{i % 12}" for i in range(60)], "activity": ["a"] * 60})
    stamp = pl.datetime_range(
        pl.datetime(2026, 1, 1), pl.datetime(2026, 3, 1), "1d", eager=True, time_zone="UTC"
    )
    events.with_columns(stamp.alias("timestamp")).write_parquet(tmp_path / "log.parquet")
    table = {"source": {"log": {"path": "log.parquet"}}, "segments": {}, "report": {}}
    run_job(job_from(table, name="few", base=tmp_path), tmp_path / "few")
    text = page(tmp_path / "few")
    assert "No groups that would hold" in text
    assert "12 cases are too few to look for smaller groups" in text


@pytest.mark.parametrize(
    ("other", "said", "kind"),
    [("nowhere.csv", "neither a file nor a column", JobError), ("ids.csv", "no case of the log", LogError)],
)
def test_a_challenge_that_cannot_be_read_stops_before_the_work(
    told: Path, tmp_path: Path, other: str, said: str, kind: type[Exception]
) -> None:
    (tmp_path / "ids.csv").write_text("case_id,segment\nx1,a\nx2,b\n")
    shutil.copy(told.parent / "log.parquet", tmp_path / "log.parquet")
    table = {"source": {"log": {"path": "log.parquet"}}, "segments": {"challenge": other}}
    with pytest.raises(kind, match=said):
        run_job(job_from(table, name="bad", base=tmp_path), tmp_path / "bad")
