"""Job files: every wrong word is named, nothing is guessed."""

from __future__ import annotations

from pathlib import Path

import pytest

from behavio.errors import JobError
from behavio.job import demo_job, job_from, read_job

SOURCE = {"source": {"calls": {"path": "calls.csv"}}}


def job(**tables: object):  # type: ignore[no-untyped-def]
    return job_from({**SOURCE, **tables}, name="test", base=Path())


def test_a_job_is_its_tables_and_defaults_for_the_rest() -> None:
    found = job(seed=3, patterns={"min_support": 0.1}, journeys={})
    assert (found.seed, found.patterns.min_support) == (3, 0.1)
    assert found.journeys is not None and found.model is None


@pytest.mark.parametrize(
    ("tables", "named"),
    [
        ({"sed": 7}, "'seed'"),
        ({"patterns": {"min_suport": 0.1}}, "'min_support'"),
        ({"source": {"calls": {"path": "x.csv", "time_stamp": "t"}}}, "'timestamp'"),
    ],
)
def test_an_unknown_key_names_the_nearest_known_one(tables: dict[str, object], named: str) -> None:
    with pytest.raises(JobError) as wrong:
        job(**tables)
    assert f"did you mean {named}?" in wrong.value.hint
    assert wrong.value.exit_code == 2


@pytest.mark.parametrize(
    ("tables", "said"),
    [
        ({"seed": "7"}, "seed"),
        ({"patterns": {"min_support": "many"}}, "[patterns] min_support"),
        ({"patterns": 3}, "patterns"),
        ({"source": {}}, "no source"),
        ({"source": {"calls": {}}}, "path"),
        ({"suggest": {}}, "[model]"),
        ({"engine": "sparkle"}, "engine"),
    ],
)
def test_a_wrong_value_says_where(tables: dict[str, object], said: str) -> None:
    with pytest.raises(JobError) as wrong:
        job(**tables)
    assert said in str(wrong.value)


def test_set_wins_over_the_file(tmp_path: Path) -> None:
    path = tmp_path / "j.toml"
    path.write_text('seed = 1\n[source.a]\npath = "a.csv"\n[segments]\nk = "auto"\n')
    found = read_job(path, ("segments.k=4", "source.a.timezone=Europe/Berlin", "seed=9"))
    assert found.segments is not None
    assert (found.segments.k, found.source["a"].timezone, found.seed) == (4, "Europe/Berlin", 9)
    with pytest.raises(JobError, match=r"table\.key=value"):
        read_job(path, ("segments.k",))


@pytest.mark.parametrize(("text", "said"), [("seed = ", "not valid TOML"), (None, "no job file")])
def test_a_file_that_is_no_job(tmp_path: Path, text: str | None, said: str) -> None:
    path = tmp_path / "j.toml"
    if text is not None:
        path.write_text(text)
    with pytest.raises(JobError, match=said):
        read_job(path)


def test_the_demo_job_is_the_one_in_pipelines() -> None:
    found = demo_job(Path("somewhere"), seed=5)
    assert found.seed == 5 and found.base == Path("somewhere")
    assert found.source["calls"].path == "Call2_vod__c.csv"
