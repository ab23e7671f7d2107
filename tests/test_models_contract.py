"""Every model of the roster: odd logs, odd questions, saved and read, selectable in a job."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from behavio import api
from behavio.models import ModelSettings, Prefixes, write_models, write_next
from behavio.models.base import SequenceModel
from behavio.models.gaps import GapModel
from behavio.models.next import next_steps
from behavio.models.ngram import NGram
from behavio.models.roster import ROSTER, TO_BEAT
from behavio.models.settings import KINDS
from behavio.sequences import SequenceSet

DAY = 86_400
TINY = ModelSettings(epochs=1, hidden=4, budget=2_000, max_order=3)
CASES = 60


def log_of(traces: list[list[str]], times: list[list[float]], amount: list[float | None]) -> SequenceSet:
    """A log with a field of numbers, through the usual door."""
    rows = [
        (f"c{i:03d}", activity, int(t * 1e6))
        for i, (trace, when) in enumerate(zip(traces, times, strict=True))
        for activity, t in zip(trace, when, strict=True)
    ]
    kinds = {"case_id": pl.String, "activity": pl.String, "timestamp": pl.Datetime("us")}
    table = pl.DataFrame(rows, schema=kinds, orient="row")
    values = [amount[i % len(amount)] for i in range(table.height)]
    table = table.with_columns(channel=pl.Series(values, dtype=pl.Float64))
    return SequenceSet.from_log(api.read(table), ["channel"])


def odd_logs() -> dict[str, SequenceSet]:
    """What a customer may send: name → log."""
    random = np.random.default_rng(4)
    traces = [list(random.choice(list("abc"), 6)) for _ in range(CASES)]
    same = [["a"] * 17 for _ in range(CASES)]
    same[CASES // 2][9] = "b"  # one of 1,020 events
    days = [[(i + k) * DAY for k in range(6)] for i in range(CASES)]
    decade = 10 * 365 * DAY
    gaps = [[i, i, i + decade, i + decade, i + 2 * decade, i + 2 * decade] for i in range(CASES)]
    nothing = float("nan")
    return {
        "all at one time": log_of(traces, [[0] * 6 for _ in traces], [1.0]),
        "gaps of zero and of ten years": log_of(traces, gaps, [1.0, 2.0]),
        "99.9 % one activity": log_of(same, [[i + k * DAY for k in range(17)] for i in range(CASES)], [1.0]),
        "NaN fields": log_of(traces, days, [nothing, None, 1e300, -1e300, 0.0, nothing, float("inf")]),
        "cases of one event": log_of(
            [["a"]] * CASES + traces[:2], [[i] for i in range(CASES)] + days[:2], [1]
        ),
    }


def asked() -> SequenceSet:
    """Questions as odd: one event, only new activities, a long case, gaps of zero and of ten years."""
    traces = [["a"], ["new", "newer"], ["b"] * 300, ["a", "c", "a"]]
    times = [[0], [5, 5], list(range(300)), [0, 0, 10 * 365 * DAY]]
    return log_of(traces, times, [float("nan"), 3.0])


LOGS = odd_logs()


@pytest.mark.parametrize("log", LOGS.values(), ids=LOGS)
@pytest.mark.parametrize("name", ROSTER)
def test_answers_are_whole_and_say_what_they_rest_on(name: str, log: SequenceSet, tmp_path: Path) -> None:
    model = ROSTER[name].make(TINY, 7).fit(log)
    other = asked()
    rows = model.probabilities(other, Prefixes.last(other))
    assert np.isfinite(rows).all() and (rows >= 0).all() and (rows[:, 0] == 0).all()
    np.testing.assert_allclose(rows.sum(axis=1), 1.0)
    if name not in ("most_popular", "repeat_last"):  # nothing is impossible
        assert (rows[:, 1:] > 0).all()
    ngram, gaps = NGram(3).fit(log), GapModel().fit(log)
    table = next_steps(other, model, ngram, gaps, TINY, clock=model.clock())
    told, silent = table.filter(pl.col("rank") > 0), table.filter(pl.col("rank") == 0)
    assert table["case_id"].n_unique() == other.n_cases
    assert silent["evidence"].str.starts_with("not enough history").all()
    assert told["evidence"].str.contains("seen|over all steps").all() and (told["evidence_n"] >= 0).all()
    times = told.select("low_days", "median_days", "high_days").drop_nulls()
    assert (times["low_days"] >= 0).all()
    assert (times["low_days"] <= times["median_days"] + 1e-9).all()
    assert (times["median_days"] <= times["high_days"] + 1e-9).all()
    assert times.select(pl.all().is_finite().all()).row(0) == (True, True, True)
    model.save(tmp_path / name)
    again = SequenceModel.load(tmp_path / name)
    np.testing.assert_array_equal(again.probabilities(other, Prefixes.last(other)), rows)


def test_every_kind_of_the_settings_is_in_the_roster() -> None:
    assert set(KINDS) == set(ROSTER) - set(TO_BEAT) | {"ngram"}


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_runs(kind: str, tmp_path: Path) -> None:
    random = np.random.default_rng(3)
    traces = [list("xab" if random.random() < 0.5 else "yac") for _ in range(120)]
    log = SequenceSet.from_traces(traces, [[(i + k) * DAY for k in range(3)] for i in range(120)])
    settings = ModelSettings(kind=kind, epochs=2, hidden=8, budget=20_000)
    facts = write_models(log, settings, 7, tmp_path)
    metrics = json.loads((tmp_path / "metrics.json").read_text())
    names = [line["name"] for line in metrics["models"]]
    assert set(names) == set(TO_BEAT) | ({"gru", "pool"} if kind == "pool" else {kind})
    assert metrics["default"] in (kind, "ngram") and facts["default"] == metrics["default"]
    assert set(metrics["gain_over_ngram"]) == set(names) - set(TO_BEAT)
    (tmp_path / "next").mkdir()
    write_next(log, tmp_path, settings, tmp_path / "next")
    steps = pl.read_parquet(tmp_path / "next/next_steps.parquet")
    assert steps["case_id"].n_unique() == 120
