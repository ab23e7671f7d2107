"""A saved model is refused on a log it does not fit, with the reason; on one it fits it answers."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import polars as pl
import pytest
from click.testing import CliRunner

from behavio import api
from behavio.cli import cli
from behavio.errors import JobError, ModelError, RunError
from behavio.estimator import FORMAT
from behavio.models import ModelSettings, predict_saved, write_models
from behavio.models.base import SequenceModel
from behavio.models.ngram import NGram
from behavio.sequences import SequenceSet

DAY = 86_400


def table(names: str, n: int = 40, channel: bool = True) -> pl.DataFrame:
    """Cases that begin with the first or the second of five activities; the channel tells what comes last."""
    rows = []
    for i in range(n):
        other = i % 2
        for k, activity in enumerate((names[other], names[2], names[3 + other])):
            rows.append((f"c{i:03d}", activity, (i + k) * DAY * 1_000_000, "xy"[other]))
    kinds = {
        "case_id": pl.String,
        "activity": pl.String,
        "timestamp": pl.Datetime("us"),
        "channel": pl.String,
    }
    found = pl.DataFrame(rows, schema=kinds, orient="row")
    return found if channel else found.drop("channel")


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a models stage: the counting model, which reads the channel."""
    folder = tmp_path_factory.mktemp("run")
    (folder / "models").mkdir()
    log = SequenceSet.from_log(api.read(table("abcde", 600)))
    write_models(log, ModelSettings(kind="counting", max_order=1), 7, folder / "models")
    assert json.loads((folder / "models/metrics.json").read_text())["default"] == "counting"
    return folder


def test_the_model_reads_the_channel(run: Path) -> None:
    assert SequenceModel.load(run / "models/counting").reads() == ("channel",)


def test_another_log_is_answered(run: Path) -> None:
    # a new activity in a few events is no reason to refuse
    newer = table("abcde", 10).with_columns(
        activity=pl.when((pl.col("case_id") == "c001") & (pl.col("activity") == "e"))
        .then(pl.lit("new"))
        .otherwise("activity")
    )
    open_ones = newer.filter(~pl.col("activity").is_in(["d", "e"]))
    steps = api.predict(open_ones, model=run)
    first = dict(steps.filter(pl.col("rank") == 1).select("case_id", "activity").iter_rows())
    assert first["c000"] == "d" and first["c003"] == "e" and len(first) == 9
    silent = steps.filter(pl.col("rank") == 0)  # the one whose newest activity is new
    assert silent["case_id"].to_list() == ["c001"] and "after new" in silent["evidence"][0]


def test_another_vocabulary_is_refused(run: Path) -> None:
    with pytest.raises(ModelError, match=r"100% of its events are .* it learnt a, b, c") as e:
        api.predict(table("vwxyz"), model=run)
    assert "learn from this log" in e.value.hint


def test_missing_fields_are_refused(run: Path) -> None:
    with pytest.raises(ModelError, match="it reads channel, the log has no attributes") as e:
        api.predict(table("abcde", channel=False), model=run)
    assert "with these columns" in e.value.hint


def test_a_log_without_times_is_refused(run: Path) -> None:
    log = SequenceSet.from_log(api.read(table("abcde", 10)))
    with pytest.raises(ModelError, match="learnt from times, the log has none"):
        predict_saved(replace(log, timed=False), run / "models")


def test_another_format_is_refused(tmp_path: Path) -> None:
    NGram(1, fixed=True).fit(SequenceSet.from_traces([["a", "b"]])).save(tmp_path)
    facts = json.loads((tmp_path / "model.json").read_text())
    assert facts["format"] == FORMAT
    (tmp_path / "model.json").write_text(json.dumps(facts | {"format": FORMAT + 1}))
    with pytest.raises(
        ModelError, match=f"saved in format {FORMAT + 1}, this behavio reads format {FORMAT}"
    ) as e:
        SequenceModel.load(tmp_path)
    assert "run the job again" in e.value.hint
    del facts["format"]  # saved before formats were counted
    (tmp_path / "model.json").write_text(json.dumps(facts))
    assert SequenceModel.load(tmp_path).vocabulary_.activities == ("a", "b")


def test_the_command_line_says_why(run: Path, tmp_path: Path) -> None:
    good, bad = tmp_path / "good.csv", tmp_path / "bad.csv"
    table("abcde", 10).write_csv(good)
    table("vwxyz", 10).write_csv(bad)
    done = CliRunner().invoke(cli, ["predict", str(good), "--model", str(run), "--csv"])
    assert done.exit_code == 0, done.output
    assert done.output.startswith("case_id,as_of,rank,activity") and len(done.output.splitlines()) > 10
    done = CliRunner().invoke(cli, ["predict", str(bad), "--model", str(run)])
    assert isinstance(done.exception, ModelError) or done.exit_code != 0
    both = CliRunner().invoke(cli, ["predict", str(good), "--model", str(run), "--within"])
    assert both.exit_code == 2 and "leave out --within" in both.output


def test_a_run_without_models_and_settings_that_change_nothing(run: Path, tmp_path: Path) -> None:
    with pytest.raises(RunError, match=r"models/metrics\.json"):
        api.predict(table("abcde"), model=tmp_path)
    with pytest.raises(JobError, match="kind"):
        api.predict(table("abcde"), model=run, kind="gru")
    ended = api.predict(table("abcde", 10), model=run, top=1, min_history=4)
    assert ended["evidence"].to_list() == ["not enough history: 3 events, 4 are needed"] * 10
