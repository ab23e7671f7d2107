"""Analog sources: models learn from them where that is sure to help, and nothing else is made of them."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from behavio.errors import JobError, LogError
from behavio.job import read_job
from behavio.log import EventLog
from behavio.models import ModelSettings
from behavio.models.analog import joined
from behavio.models.training import train
from behavio.run import Result, run
from behavio.sequences import SequenceSet
from behavio.simulate import SimulateSettings, simulate_log

HOUR = 3_600_000_000


def simulated(n_cases: int, months: int, seed: int, start: str) -> pl.DataFrame:
    events, _ = simulate_log(SimulateSettings(n_cases=n_cases, months=months, seed=seed, start=start))
    return events


@pytest.fixture(scope="module")
def own() -> pl.DataFrame:
    return simulated(40, 4, 3, "2025-11-01")


@pytest.fixture(scope="module")
def other() -> pl.DataFrame:
    return simulated(400, 6, 2, "2024-11-01")


def coded(events: pl.DataFrame) -> SequenceSet:
    return SequenceSet.from_log(EventLog.from_frame(events))


def test_analog_cases_stand_behind_and_before() -> None:
    # own day 10 to 11; analog day 12 to 13 is moved by whole weeks to before day 10
    mine = SequenceSet.from_traces([["a", "b"]], [[864_000, 950_400]])
    theirs = SequenceSet.from_traces([["b", "x", "a"]], [[1_036_800, 1_036_801, 1_123_200]])
    found = joined(mine, theirs)
    assert found is not None
    both = found.sequences
    assert [both.vocabulary.names[t] for t in both.tokens] == ["a", "b", "b", "a"]
    assert (found.n_events, found.n_cases, found.n_other) == (2, 1, 1)
    assert both.times[2:].max() < both.times[0]
    assert ((1_036_800_000_000 - both.times[2]) % (7 * 24 * HOUR)) == 0
    assert both.case_ids.to_list() == ["c0", "analog:0"]
    assert both.offsets.tolist() == [0, 2, 4]


def test_only_what_was_known_before_the_cut_is_put_beside() -> None:
    mine = SequenceSet.from_traces([["a", "b"]])
    theirs = SequenceSet.from_traces([["a", "b"]], [[0, 864_000]])
    found = joined(mine, theirs, cut=86_400_000_000)
    assert found is not None and found.n_events == 1
    assert joined(mine, theirs, cut=0) is None
    with pytest.raises(LogError, match="only the log has a clock"):
        joined(mine, replace(theirs, timed=False))


def test_earlier_events_are_left_where_they_are() -> None:
    mine = SequenceSet.from_traces([["a", "b"]], [[864_000, 950_400]])
    theirs = SequenceSet.from_traces([["a", "b"]], [[0, 10]])
    found = joined(mine, theirs)
    assert found is not None and found.sequences.times[2:].tolist() == [0, 10_000_000]


def test_the_same_process_elsewhere_helps_a_small_log(own: pl.DataFrame, other: pl.DataFrame) -> None:
    told = train(coded(own), ModelSettings(kind="ngram"), beside=coded(other)).metrics
    found = told["analog"]
    assert found["used"] and found["gain"]["low"] > 0
    assert found["with"]["nll"] < found["without"]["nll"]
    assert any("events of analog areas save" in note for note in told["notes"])


def test_noise_is_refused_and_leaves_the_models_as_they_were(own: pl.DataFrame, other: pl.DataFrame) -> None:
    sequences, elsewhere = coded(own), coded(other)
    noise = replace(elsewhere, tokens=np.random.default_rng(0).permutation(elsewhere.tokens))
    plain = train(sequences, ModelSettings(kind="ngram"))
    asked = train(sequences, ModelSettings(kind="ngram"), beside=noise)
    assert not asked.metrics["analog"]["used"] and asked.metrics["analog"]["gain"]["high"] < 0
    rest = {k: v for k, v in asked.metrics.items() if k not in ("analog", "notes")}
    assert rest == {k: v for k, v in plain.metrics.items() if k != "notes"}
    ends = np.asarray(plain.ngram.coded(sequences).tokens)
    assert np.array_equal(ends, asked.ngram.coded(sequences).tokens)


def test_nothing_in_common_is_said(own: pl.DataFrame) -> None:
    strange = SequenceSet.from_traces([["q", "r"]])
    told = train(coded(own), ModelSettings(kind="ngram"), beside=strange).metrics
    assert told["analog"] == {"used": False, "n_events": 0}
    assert "no event of an analog area" in told["notes"][-1]


def job(folder: Path, own: pl.DataFrame, other: pl.DataFrame | None) -> Result:
    folder.mkdir(exist_ok=True)
    columns = ["case_id", "activity", "timestamp", "channel", "direction"]
    own.select(columns).write_parquet(folder / "own.parquet")
    text = '[source.calls]\npath = "own.parquet"\n'
    if other is not None:
        renamed = other.select(columns).rename({"case_id": "doctor", "activity": "what"})
        renamed.write_parquet(folder / "other.parquet")
        text += '[source.elsewhere]\npath = "other.parquet"\nanalog = true\n'
        text += 'case_id = "doctor"\nactivity = "what"\n'
    text += '[journeys]\nprocess_model = false\n[model]\nkind = "ngram"\n'
    text += "[segments]\nk = 2\n[suggest]\n[deliver]\n"
    (folder / "job.toml").write_text(text, encoding="utf-8")
    return run(read_job(folder / "job.toml"), folder / "run")


def digests(folder: Path) -> dict[str, str]:
    files = sorted(p for p in folder.rglob("*") if p.is_file() and ".stages" not in p.parts)
    return {
        p.relative_to(folder).as_posix(): hashlib.sha256(p.read_bytes()).hexdigest()
        for p in files
        if p.name != "manifest.json"
    }


def test_a_job_with_an_analog_source(tmp_path: Path, own: pl.DataFrame, other: pl.DataFrame) -> None:
    plain = digests(job(tmp_path / "plain", own, None).folder)
    found = job(tmp_path / "with", own, other)
    with_it = digests(found.folder)
    facts = found.manifest["stages"]["log"]["facts"]
    assert facts["analog"]["n_events"] == other.height and facts["n_events"] == own.height
    # log, journeys and segments know nothing of it
    same = [f for f in plain if f.partition("/")[0] in ("log", "journeys", "segments")]
    assert len(same) > 20 and all(with_it[f] == plain[f] for f in same)
    assert set(with_it) - set(plain) == {
        "log/analog.parquet",
        "models/own/learned.npz",
        "models/own/model.json",
    }
    metrics = (found.folder / "models" / "metrics.json").read_text(encoding="utf-8")
    assert '"analog"' in metrics
    ids = set(other["case_id"].to_list()) - set(own["case_id"].to_list())
    for table in ("next/next_steps", "suggestions/suggestions", "models/embeddings"):
        told = found.table(f"{table}.parquet")
        assert set(told["case_id"].to_list()) <= set(own["case_id"].to_list()) - ids
    assert not set(found.table("log/analog.parquet")["case_id"].to_list()) & ids
    # switched off again, in the same folder: the old bytes
    again = job(tmp_path / "with", own, None)
    assert digests(again.folder) == plain


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('[source.a]\npath = "own.parquet"\nanalog = true\n[model]\n', "no source is left"),
        ('[source.a]\npath = "x"\n[source.b]\npath = "y"\nanalog = true\n', "is for models"),
        (
            'engine = "spark"\n[source.a]\npath = "x"\n[source.b]\npath = "y"\nanalog = true\n[model]\n',
            "not read on a cluster",
        ),
    ],
)
def test_wrong_jobs_are_told(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "job.toml").write_text(text, encoding="utf-8")
    with pytest.raises(JobError, match=message):
        read_job(tmp_path / "job.toml")
