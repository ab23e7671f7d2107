"""The model card: every line from the run, nothing sensitive used unless it is named."""

from __future__ import annotations

import json
from pathlib import Path

import polars as pl
import pytest
from click.testing import CliRunner
from small_world import CALLS, write_calls

from behavio.card import CardSettings, Line, markdown, read_card
from behavio.cli import cli
from behavio.errors import JobError, RunError
from behavio.job import read_job
from behavio.run import run
from behavio.sensitive import sensitive_columns, sensitive_kind, without_sensitive


def of(lines: list[Line], part: str, what: str) -> Line:
    return next(x for x in lines if (x.part, x.what) == (part, what))


@pytest.mark.parametrize(
    ("column", "kind"),
    [
        ("Gender_vod__c", "sex or gender"),
        ("ageGroup", "age"),
        ("birth_date", "age"),
        ("Ethnicity", "origin"),
        ("stage", None),  # holds "age" only as letters
        ("trace", None),
        ("page", None),
        ("specialty", None),
        ("potential", None),
    ],
)
def test_a_column_is_sensitive_by_its_words(column: str, kind: str | None) -> None:
    assert sensitive_kind(column) == kind


def test_sensitive_columns_are_dropped_but_for_those_allowed() -> None:
    cases = pl.DataFrame({"case_id": ["a"], "gender": ["F"], "age": [50], "specialty": ["GP"]})
    assert without_sensitive(cases, ["age"]).columns == ["case_id", "age", "specialty"]
    assert sensitive_columns(cases.columns) == {"gender": "sex or gender", "age": "age"}


JOB = (
    CALLS
    + """
[journeys]
[model]
kind = "ngram"
[segments]
k = "2"
kind = "kmeans"
"""
)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = write_calls(tmp_path_factory.mktemp("card"))
    (folder / "plain.toml").write_text(JOB.replace('"2"', "2"), encoding="utf-8")
    return folder


@pytest.fixture(scope="module")
def done(world: Path) -> Path:
    return run(read_job(world / "plain.toml"), world / "run").folder


def test_every_figure_of_the_card_stands_in_the_tables_of_the_run(done: Path) -> None:
    name, lines = read_card(done)
    events = pl.read_parquet(done / "log/events.parquet")
    metrics = json.loads((done / "models/metrics.json").read_text())
    page = json.loads((done / "segments/profiles.json").read_text())
    used = next(m for m in metrics["models"] if m["name"] == metrics["default"])
    assert name == "plain"
    assert of(lines, "Data", "Log").value == {"events": events.height, "cases": 200}
    assert f"{events.height:,} events of 200 cases, 2026-01-05" in of(lines, "Data", "Log").text
    assert of(lines, "Metrics", "Next step").value == used["accuracy"]
    assert of(lines, "Calibration", "Probabilities").value == used["ece"]
    assert of(lines, "Stability", "Groups").value == page["proof"]["stability"]
    assert of(lines, "Drift", "Model").value is metrics["promises"]["surprise"]["alarm"]
    assert of(lines, "Sensitive attributes", "Kept out").value == ["Gender"]
    assert of(lines, "Purpose", "Owner").text.startswith("unknown")
    assert of(lines, "Limits", "Size").text.startswith("a hypothesis: 200 cases")


def test_the_card_is_one_page_as_a_file_and_in_the_report(done: Path) -> None:
    name, lines = read_card(done)
    text = (done / "card/model_card.md").read_text(encoding="utf-8")
    assert text == markdown(name, lines) and len(text.splitlines()) < 70
    for part in ("Purpose", "Data", "Exclusions", "Sensitive attributes", "Metrics", "Calibration"):
        assert f"## {part}" in text
    for part in ("Stability", "Drift", "Limits"):
        assert f"## {part}" in text


def test_nothing_sensitive_describes_a_group_unless_named(world: Path, done: Path) -> None:
    def described(folder: Path) -> set[str]:
        page = json.loads((folder / "segments/profiles.json").read_text())
        return {a["attribute"] for s in page["segments"] for a in s["attributes"]}

    hcps = pl.read_csv(world / "hcps.csv")
    labels = pl.read_parquet(done / "segments/segments.parquet").select("case_id", "segment_id")
    known = labels.join(hcps, left_on="case_id", right_on="hcp_id")
    uneven = known.with_columns(  # now who is where says the sex
        Gender=pl.when(pl.col("segment_id") == 0).then(pl.lit("F")).otherwise(pl.lit("M"))
    )
    other = world / "uneven"
    other.mkdir(exist_ok=True)
    (other / "calls.csv").write_bytes((world / "calls.csv").read_bytes())
    uneven.rename({"case_id": "hcp_id"}).select(hcps.columns).write_csv(other / "hcps.csv")
    text = (world / "plain.toml").read_text()
    (other / "kept.toml").write_text(text)
    (other / "named.toml").write_text(text + '[card]\nsensitive = ["Gender"]\nowner = "A. Data"\n')
    kept = run(read_job(other / "kept.toml"), other / "kept").folder
    assert "Gender" not in described(kept)
    named = run(read_job(other / "named.toml"), other / "named").folder
    assert "Gender" in described(named)
    _, lines = read_card(named)
    assert of(lines, "Purpose", "Owner").text == "A. Data"
    assert of(lines, "Sensitive attributes", "Allowed by the job").value == ["Gender"]
    assert abs(of(lines, "Sensitive attributes", "Gender by group").value) > 0.3


def test_a_sensitive_feature_is_refused_unless_named(world: Path) -> None:
    job = world / "asks.toml"
    job.write_text((world / "plain.toml").read_text().replace('"ngram"', '"ngram"\nattributes = ["Gender"]'))
    with pytest.raises(JobError, match="attributes names 'Gender', which seems to say the sex") as refused:
        read_job(job)
    assert '[card] sensitive = ["Gender"]' in refused.value.hint
    job.write_text(job.read_text() + '[card]\nsensitive = ["Gender"]\n')
    assert read_job(job).card.sensitive == ("Gender",)


def test_the_settings_refuse_nonsense() -> None:
    with pytest.raises(JobError, match="is no date"):
        CardSettings(review="soon")
    with pytest.raises(JobError, match="owner is empty"):
        CardSettings(owner=" ")


def test_the_command_line_prints_it(done: Path, tmp_path: Path) -> None:
    shown = CliRunner().invoke(cli, ["card", str(done)])
    assert shown.exit_code == 0 and "Sensitive attributes\n  Kept out: Gender" in shown.output
    rows = json.loads(CliRunner().invoke(cli, ["card", str(done), "--json"]).output)
    assert {"part", "what", "text", "value"} == set(rows[0])
    text = CliRunner().invoke(cli, ["card", str(done), "--markdown"]).output
    assert text.startswith("# Model card: plain\n")
    (tmp_path / "manifest.json").write_text("{}")
    with pytest.raises(RunError, match="no model card"):
        read_card(tmp_path)
