"""Judging models: metrics by hand, one cut for all, honest when there is little to judge."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from behavio.errors import JobError, ModelError, RunError
from behavio.models import ModelSettings, Prefixes, evaluate, predict_next, write_models, write_next
from behavio.models.base import later_slice
from behavio.models.evaluation import Scores, repeated_cases, score, seen_before
from behavio.models.next import SCHEMA, sentence, spoken
from behavio.models.ngram import NGram
from behavio.models.promises import kept_promises, promises_in_words
from behavio.sequences import SequenceSet

COUNT = ModelSettings(kind="ngram")
DAY = 86_400


def planted(n: int = 300, seed: int = 0) -> SequenceSet:
    """Cases spread over a year: after a b comes c, after x b comes d; then nothing or one more step."""
    random = np.random.default_rng(seed)
    traces, times = [], []
    for _ in range(n):
        trace = list("abc") if random.random() < 0.6 else list("xbd")
        trace += ["a"] * int(random.integers(0, 3))
        start = int(random.integers(0, 365 * DAY))
        traces.append(trace)
        times.append((start + np.cumsum(random.integers(1, 5 * DAY, len(trace)))).tolist())
    return SequenceSet.from_traces(traces, times)


def test_metrics_by_hand() -> None:
    # truth got .5, .2; ranked first and second; confidences .5 and .6, one of two right
    scores = Scores(
        np.array([0.5, 0.2]),
        np.array([0, 1]),
        np.array([2, 3]),
        np.array([0.5, 0.6]),
        np.array([0.4, 0.5]),
        np.array([2, 4]),
    )
    found = scores.summary()
    assert found["accuracy"] == 0.5 and found["top3"] == 1.0
    assert found["nll"] == pytest.approx(-(np.log(0.5) + np.log(0.2)) / 2)
    assert found["brier"] == pytest.approx(((0.4 - 1.0 + 1) + (0.5 - 0.4 + 1)) / 2)
    # of the activities 2 (right), 3 (wrongly predicted) and 4 (missed)
    assert found["macro_f1"] == pytest.approx(1 / 3)
    assert found["ece"] == pytest.approx((abs(0.5 - 1) + abs(0.6 - 0)) / 2)


def test_scores_equal_the_dense_rows() -> None:
    log = planted()
    split = later_slice(log, 0.3)
    assert split is not None
    model = NGram().fit(split.train)
    scores = score(model, log, split.prefixes)
    rows = model.probabilities(log, split.prefixes)
    truth = model.coded(log).tokens[split.prefixes.ends]
    np.testing.assert_array_equal(scores.p, rows[np.arange(len(truth)), truth])
    np.testing.assert_array_equal(scores.best, rows.argmax(axis=1))
    np.testing.assert_allclose(scores.squares, (rows**2).sum(axis=1))


def test_nothing_after_the_cut_is_learnt() -> None:
    log = planted()
    split = later_slice(log, 0.3)
    assert split is not None and split.cut is not None
    assert split.train.times.max() < split.cut <= split.sequences.times[split.prefixes.ends].min()
    assert len(split.prefixes) == ((log.times >= split.cut) & (np.arange(log.n_events) > 0)).sum() - np.isin(
        log.offsets[:-1], np.flatnonzero(log.times >= split.cut)
    ).sum() + int(log.times[0] >= split.cut)


def test_seen_prefixes_and_identical_cases_by_hand() -> None:
    log = SequenceSet.from_traces(
        [["a", "b", "c"], ["a", "b"], ["b", "c"], ["a", "b", "c"]],
        [[0, 1, 2], [3, 100], [101, 102], [103, 104, 105]],
    )
    split = later_slice(log, 0.6)  # 6 of 10 events: everything from 100 on
    assert split is not None
    assert split.train.n_events == 4
    # asked after: a | b | a | ab; training went on after a and ab
    assert seen_before(split).tolist() == [True, False, True, True]
    assert repeated_cases(split) == (2, 1)


def test_every_model_on_the_same_events_and_counting_wins() -> None:
    metrics = evaluate(planted(600), COUNT)
    names = [line["name"] for line in metrics["models"]]
    assert names == ["most_popular", "repeat_last", "first_order", "ngram"]
    loss = {line["name"]: line["nll"] for line in metrics["models"]}
    assert loss["ngram"] < min(loss[n] for n in names[:3])
    assert metrics["default"] == "ngram" and metrics["judged"]
    assert {line["n_seen"] + line["n_unseen"] for line in metrics["models"]} == {metrics["n_test_events"]}
    assert 0.6 < metrics["gap"]["coverage"] <= 1.0
    assert sum(b["n"] for b in metrics["reliability"]) == metrics["n_test_events"]
    json.dumps(metrics, allow_nan=False)


@pytest.mark.parametrize(
    "log",
    [
        SequenceSet.from_traces([["a"]]),
        SequenceSet.from_traces([["a"]] * 300),
        SequenceSet.from_traces([["a", "b"]] * 3),
        SequenceSet.from_traces([["a", "b", "a"]] * 50, [[0, 0, 0]] * 50),
    ],
    ids=["one event", "one-event cases", "three cases", "one moment"],
)
def test_logs_too_small_to_judge_say_so_and_are_fitted(log: SequenceSet, tmp_path: Path) -> None:
    facts = write_models(log, COUNT, 7, tmp_path)
    metrics = json.loads((tmp_path / "metrics.json").read_text())
    assert not metrics["judged"] and "too few" in metrics["reason"]
    assert facts["default"] == "ngram"
    (tmp_path / "next").mkdir()
    told = write_next(log, tmp_path, COUNT, tmp_path / "next")
    table = pl.read_parquet(tmp_path / "next/next_steps.parquet")
    assert dict(table.schema) == SCHEMA
    assert told["abstained"] == (log.lengths < 2).sum()


def test_one_activity_only_is_certain() -> None:
    log = SequenceSet.from_traces([["a"] * 6] * 40)
    metrics = evaluate(log, COUNT)
    assert metrics["models"][-1]["accuracy"] == 1.0
    steps = predict_next(log, COUNT)
    assert steps["activity"].to_list() == ["a"] * 40
    assert steps["rank"].unique().to_list() == [1]


def test_a_log_without_a_clock_holds_out_cases() -> None:
    from dataclasses import replace

    log = replace(planted(), timed=False)
    metrics = evaluate(log, COUNT)
    assert metrics["cut"] is None and "cases held out" in metrics["split"] and metrics["gap"] is None
    steps = predict_next(log, COUNT)
    assert steps["median_days"].null_count() == steps.height and steps["as_of"].null_count() == steps.height
    assert "within" not in " ".join(steps["evidence"])
    with pytest.raises(ModelError):
        predict_next(log, ModelSettings(kind="ngram", as_of="2020-01-01"))


def test_next_steps_by_hand(tmp_path: Path) -> None:
    # 40 cases a → b after 2 days; the newest one has only seen a and c, three days ago
    traces = [["c", "a", "b"]] * 40 + [["c", "a"]]
    times = [[0, DAY, 3 * DAY + i] for i in range(40)] + [[0, 2 * DAY]]
    log = SequenceSet.from_traces(traces, times)
    facts = write_models(log, COUNT, 7, tmp_path)
    (tmp_path / "next").mkdir()
    assert facts["rows_in"] == 122
    write_next(log, tmp_path, COUNT, tmp_path / "next")
    steps = pl.read_parquet(tmp_path / "next/next_steps.parquet")
    first = steps.filter(pl.col("case_id") == "c40", pl.col("rank") == 1).row(0, named=True)
    assert first["activity"] == "b" and first["probability"] > 0.9
    assert first["evidence"] == "after c → a: seen 40 times, 100 % b; from a, 9 in 10 within 3 days"
    assert first["evidence_n"] == 40
    assert 0.9 < first["low_days"] <= first["median_days"] <= first["high_days"] < 1.1
    shares = steps.group_by("case_id").agg(pl.col("probability").sum())["probability"]
    assert shares.max() <= 1.0  # type: ignore[operator]
    assert steps.sort("case_id", "rank").equals(steps)


def test_promises_are_held_against_later_events() -> None:
    # a is followed by b nine times and then by c, for good: no surprise; at last always by c: the alarm
    turns = [["a", "c" if i % 10 == 9 else "b"] for i in range(400)]
    moved = [*turns[:280], *([["a", "c"]] * 120)]
    times = [[i * DAY, i * DAY + 60] for i in range(400)]
    for traces, alarm in ((turns, False), (moved, True)):
        split = later_slice(SequenceSet.from_traces(traces, times), 0.3)
        assert split is not None
        told = kept_promises(NGram(1, fixed=True).fit(split.train), split)
        assert told["surprise"]["alarm"] is alarm and told["surprise"]["n"] == 120 and "sets90" not in told


def test_what_is_said_of_promises() -> None:
    surprise = {"mean": 0.2, "low": 0.1, "high": 0.3, "n": 9, "alarm": True}
    kept = {"coverage": 0.914, "size": 2.25, "n": 9}
    said = promises_in_words({"surprise": surprise, "sets90": kept}, "pool", 0.78)
    assert "held 91 % (2.2 activities" in said[0] and said[1].endswith("held 78 %.")
    assert said[2].startswith("Drift alarm: later events surprise the pool by 0.200 nats")
    assert promises_in_words({"surprise": surprise | {"alarm": False}}, "ngram") == []
    metrics = evaluate(planted(), COUNT)
    assert set(metrics["promises"]) == {"surprise"}
    assert any("80 % of the waits" in note for note in metrics["notes"])


def test_where_little_is_known_nothing_is_said(tmp_path: Path) -> None:
    # three activities that follow each other at random; x was never seen with anything after it
    random = np.random.default_rng(2)
    traces = [list(random.choice(list("abc"), 5)) for _ in range(60)] + [["a", "x"], ["b"], ["a", "b"]]
    log = SequenceSet.from_traces(
        traces, [[i + k * DAY for k in range(len(t))] for i, t in enumerate(traces)]
    )
    write_models(log, COUNT, 7, tmp_path)
    (tmp_path / "next").mkdir()
    facts = write_next(log, tmp_path, COUNT, tmp_path / "next")
    steps = pl.read_parquet(tmp_path / "next/next_steps.parquet")
    assert steps["case_id"].n_unique() == log.n_cases and steps.schema == SCHEMA
    silent = steps.filter(pl.col("rank") == 0)
    assert silent["case_id"].to_list() == ["c60", "c61"]
    assert silent["evidence"].to_list() == [
        "not enough history: nothing was ever seen after x, 3 of 4 activities could come",
        "not enough history: 1 event, 2 are needed",
    ]
    assert silent["activity"].null_count() == silent["probability"].null_count() == 2
    assert silent["as_of"].to_list() == steps["as_of"].to_list()[:2]
    assert steps.filter(pl.col("case_id") == "c62")["activity"].null_count() == 0
    assert facts["abstained"] == 2 and facts["n_cases"] == 61
    assert list(facts["abstained_why"].values()) == [1, 1]
    assert steps.equals(predict_next(log, COUNT))


def test_a_rare_last_activity_is_told_with_its_small_number() -> None:
    # r was seen three times, twice before b: fewer than the 20 a longer context needs
    traces = [["a", "b", "c"]] * 60 + [["a", "r", "b"], ["a", "r", "b"], ["c", "r", "c"], ["a", "r"]]
    log = SequenceSet.from_traces(
        traces, [[i * DAY + k * 60 for k in range(len(t))] for i, t in enumerate(traces)]
    )
    steps = predict_next(log, COUNT)
    b = steps.filter((pl.col("case_id") == "c63") & (pl.col("activity") == "b")).row(0, named=True)
    assert b["evidence"].startswith("after r: seen 3 times, 67 % b") and b["evidence_n"] == 3


def test_segments_move_the_dates_and_as_of_hides_the_future() -> None:
    quick, slow = [[0, DAY, 2 * DAY]] * 30, [[0, 9 * DAY, 18 * DAY]] * 30
    log = SequenceSet.from_traces([["a", "b", "a"]] * 60, quick + slow)
    labels = pl.DataFrame({"case_id": log.case_ids, "segment_id": np.repeat([0, 1], 30)})
    settings = ModelSettings(kind="ngram", as_of="1970-01-02T12:00:00Z")
    steps = predict_next(log, settings, segments=labels).filter(pl.col("rank") == 1)
    assert steps["case_id"].n_unique() == 60
    person = steps.filter(rests_on="person")
    assert person["case_id"].n_unique() == 30  # the slow ones have one event so far
    assert steps.filter(rests_on="base rate")["case_id"].n_unique() == 30  # what everybody does stands in
    steps = person
    assert steps["as_of"].dt.epoch("s").unique().to_list() == [DAY + DAY // 2]
    with pytest.raises(ModelError):
        predict_next(log, ModelSettings(kind="ngram", as_of="1960-01-01"))


def test_truth_stands_beside_the_models(tmp_path: Path) -> None:
    log = planted()
    names = pl.Series(log.vocabulary.names)
    events = pl.DataFrame(
        {
            "case_id": log.case_ids.gather(pl.Series(log.case_of_event)),
            "event_time": pl.Series(log.times).cast(pl.Datetime("us", "UTC")),
            "activity": names.gather(pl.Series(log.tokens)),
        }
    )
    each = {f"p_{name}": 0.9 if name == "b" else 0.3 for name in log.vocabulary.activities}
    tables = {
        "one": events.with_columns(probability=0.9).rename({"event_time": "timestamp"}),
        "each": events.with_columns(**{k: pl.lit(v) for k, v in each.items()}),
    }
    found = {}
    for name, table in tables.items():
        table.write_parquet(tmp_path / f"{name}.parquet")
        settings = ModelSettings(kind="ngram", truth=str(tmp_path / f"{name}.parquet"))
        metrics = evaluate(log, settings)
        found[name] = metrics["oracle"]
        assert found[name]["n"] == metrics["n_test_events"] and found[name]["share_known"] == 1.0
        assert found[name]["models"]["ngram"] == metrics["models"][-1]["nll"]
    assert found["one"]["nll"] == pytest.approx(-np.log(0.9), abs=1e-6)
    split = later_slice(log, 0.3)
    assert split is not None
    share_b = (log.tokens[split.prefixes.ends] == log.vocabulary.id("b")).mean()
    by_hand = -(share_b * np.log(0.9) + (1 - share_b) * np.log(0.3))
    assert found["each"]["nll"] == pytest.approx(by_hand, abs=1e-6)


def test_a_truth_that_is_none_is_named(tmp_path: Path) -> None:
    pl.DataFrame({"case_id": ["a"]}).write_parquet(tmp_path / "bad.parquet")
    for name in ("bad.parquet", "nothing.parquet"):
        with pytest.raises(JobError, match=name):
            evaluate(planted(), ModelSettings(kind="ngram", truth=str(tmp_path / name)))


def test_same_seed_same_bytes(tmp_path: Path) -> None:
    log = planted()
    for name in ("one", "two"):
        (tmp_path / name / "next").mkdir(parents=True)
        write_models(log, COUNT, 7, tmp_path / name)
        write_next(log, tmp_path / name, COUNT, tmp_path / name / "next")
    files = sorted(p.relative_to(tmp_path / "one") for p in (tmp_path / "one").rglob("*") if p.is_file())
    assert len(files) > 8
    for file in files:
        assert (tmp_path / "one" / file).read_bytes() == (tmp_path / "two" / file).read_bytes(), file


def test_models_that_are_not_there_are_named(tmp_path: Path) -> None:
    with pytest.raises(RunError):
        write_next(planted(), tmp_path, COUNT, tmp_path)


def test_what_is_said() -> None:
    assert spoken(11.2 * DAY * 1e6) == "12 days" and spoken(3600e6 * 2.5) == "3 hours"
    assert spoken(0) == "1 minute"
    assert sentence([], "b", 10, 0, float("nan")) == "over all steps: seen 10 times, never b"
    assert sentence(["a"], "b", 1000, 2, 30e6) == (
        "after a: seen 1,000 times, under 1 % b, 9 in 10 within 1 minute"
    )


def test_bpic2012_reaches_the_known_floor(real_log: object) -> None:
    path = real_log("bpic2012")  # type: ignore[operator]
    events = pl.read_parquet(path).with_columns(pl.col("activity").str.split("+").list.first())
    events = events.with_row_index("n").sort("case_id", "timestamp", "n")
    from behavio.sequences import Vocabulary

    runs = events["case_id"].rle().struct.unnest()
    names = Vocabulary.of(events["activity"].unique().to_list())
    log = SequenceSet(
        names.encode(events["activity"]),
        np.concatenate([[0], np.cumsum(runs["len"].to_numpy())]).astype(np.int64),
        events["timestamp"].dt.epoch("us").to_numpy(),
        runs["value"].alias("case_id"),
        names,
    )
    metrics = evaluate(log, COUNT)
    line = metrics["models"][-1]
    assert metrics["n_test_events"] == 75_352
    assert line["accuracy"] > 0.848 and line["nll"] < 0.42
    assert len(Prefixes.last(log)) == 13_087
