"""Every job file in pipelines/ runs to its end, as a user would start it."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import polars as pl
import pytest
from sklearn.metrics import adjusted_rand_score
from test_report import page, read, tables

from behavio import api
from behavio.run import Result

PIPELINES = Path(__file__).parents[1] / "pipelines"
DATA = PIPELINES / ".." / ".." / "shared" / "data"
QUICK = ("model.budget=60000",)
"""The net learns less, so that tests stay quick; everything else is the job as it stands."""


def check_numbers(run: Path) -> int:
    """Every marked number and every table cell of the report stands in a table of it; how many there are."""
    csvs, found = tables(run), read(page(run))
    for mark, _ in found.marked:
        name, row, column = mark["data-cell"].split(":")
        assert mark["value"].split(" ")[0] == csvs[name][int(row)][column], mark
    for name, row, column, value, text in found.cells:
        line = csvs[name][row][column]
        assert (text if value is None else value) == line or (text, line) == ("–", ""), (name, row, column)
    return len(found.marked) + len(found.cells)


def test_every_job_file_is_run_here() -> None:
    assert {p.stem for p in PIPELINES.glob("*.toml")} == {"demo", "open_payments", "complete_journey"}


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Result:
    """pipelines/demo.toml on the extracts of 1,000 simulated HCPs, where the job file expects them."""
    folder = tmp_path_factory.mktemp("checkout")
    (folder / "pipelines").mkdir()
    shutil.copy(PIPELINES / "demo.toml", folder / "pipelines")
    api.simulate(folder / "demo" / "data", n_cases=1000, seed=11)
    return api.run(folder / "pipelines" / "demo.toml", out=folder / "run", changes=("model.budget=400000",))


def real(name: str, log: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> Result:
    if not (DATA / log / "events.parquet").is_file():
        pytest.skip(f"the real log {log} is not on this machine (it is never bundled)")
    monkeypatch.chdir(folder)
    return api.run(PIPELINES / f"{name}.toml", changes=QUICK)


@pytest.mark.xdist_group("demo")  # it is run once, not by every worker
def test_demo_finds_what_was_planted(demo: Result) -> None:
    truth = demo.folder.parent / "demo" / "data" / "truth"
    archetypes = pl.read_parquet(truth / "archetypes.parquet")
    labels = demo.table("segments/segments.parquet").join(archetypes, on="case_id")
    assert adjusted_rand_score(labels["archetype"], labels["segment_id"]) >= 0.6
    key = ["case_id", "activity", "timestamp"]
    got = demo.table("log/events.parquet").select(key)
    planted = pl.read_parquet(truth / "events.parquet").select(key)
    assert got.height == planted.height and got.join(planted, on=key, how="anti").height == 0


@pytest.mark.xdist_group("demo")  # it is run once, not by every worker
def test_demo_models_beat_their_baselines_and_stand_beside_the_oracle(demo: Result) -> None:
    metrics = json.loads((demo.folder / "models" / "metrics.json").read_text())
    loss = {m["name"]: m["nll"] for m in metrics["models"]}
    baselines = [m["nll"] for m in metrics["models"] if m["kind"] == "baseline"]
    assert len(baselines) >= 3 and loss["ngram"] < min(baselines)
    assert metrics["oracle"]["nll"] < min(loss.values())


@pytest.mark.xdist_group("demo")  # it is run once, not by every worker
def test_demo_suggestions_rest_on_real_rows(demo: Result) -> None:
    made = demo.table("suggestions/suggestions.parquet")
    events = demo.table("log/events.parquet")
    rows = set(events.select(pl.format("{}:{}", "source", "source_row")).to_series())
    assert made.height > 0
    assert all(set(e) <= rows and len(e) > 0 for e in made["evidence_rows"])
    per_day = made.group_by("owner_id", "due_from").len()["len"].max()
    assert made.group_by("case_id").len()["len"].max() <= 3 and per_day <= 3


@pytest.mark.xdist_group("demo")  # it is run once, not by every worker
def test_demo_report_numbers_are_those_of_its_tables(demo: Result) -> None:
    assert check_numbers(demo.folder) > 100


def test_open_payments(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    done = real("open_payments", "open_payments_iowa", tmp_path, monkeypatch)
    facts = done.manifest["stages"]["log"]["facts"]
    assert (facts["rows_in"], facts["n_events"], facts["n_cases"]) == (83_116, 83_116, 1_366)
    assert done.folder == Path("runs/open_payments")
    assert not (done.folder / "suggestions").exists(), "payments are never an argument for a contact"
    assert check_numbers(done.folder) > 50


def test_complete_journey(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    done = real("complete_journey", "complete_journey", tmp_path, monkeypatch)
    facts = done.manifest["stages"]["log"]["facts"]
    assert (facts["n_events"], facts["n_cases"]) == (55_934, 2_379)
    assert set(done.table("suggestions/suggestions.parquet")["action"]) <= {
        "campaign_received:A",
        "campaign_received:B",
        "campaign_received:C",
    }
    assert (done.folder / "delivery" / "plan.csv").is_file()
    assert check_numbers(done.folder) > 50
