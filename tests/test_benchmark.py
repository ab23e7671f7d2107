"""The benchmark's rules: what is held out, which steps are judged, and one table for all models."""

from __future__ import annotations

import datetime as dt
import json
from pathlib import Path

import numpy as np
import polars as pl
import pytest

import behavio
from behavio.errors import JobError
from behavio.models import ModelSettings, Protocol
from behavio.models.benchmark import Cases, benchmark
from behavio.models.splits import END, START, held_out
from behavio.sequences import Field, SequenceSet, Vocabulary

DAY = 86_400


def logs() -> SequenceSet:
    """Three cases, c2 held out by its column."""
    times = [[0, DAY, 2 * DAY], [DAY, 5 * DAY], [10 * DAY, 11 * DAY, 13 * DAY]]
    plain = SequenceSet.from_traces([list("abc"), list("ab"), list("abb")], times)
    words = Vocabulary.of(["test", "train"])
    codes = words.encode(pl.Series(["train"] * 5 + ["test"] * 3))
    return SequenceSet(
        plain.tokens,
        plain.offsets,
        plain.times,
        plain.case_ids,
        plain.vocabulary,
        {"split": Field(codes, words)},
    )


def judged(sequences: SequenceSet, **rules: object) -> tuple[list[str], list[str]]:
    """Last known and next activity of every judged step."""
    held = held_out(sequences, Protocol(**rules), 1_000)  # type: ignore[arg-type]
    whole, ends = held.split.sequences, held.split.prefixes.ends
    names = whole.vocabulary.names
    return [names[t] for t in whole.tokens[ends - 1]], [names[t] for t in whole.tokens[ends]]


def test_a_column_says_what_is_held_out() -> None:
    assert judged(logs(), split="column") == (["a", "b"], ["b", "b"])
    assert judged(logs(), split="column", min_prefix=2) == (["b"], ["b"])
    assert judged(logs(), split="column", end=True) == (["a", "b", "b"], ["b", "b", END])
    before, then = judged(logs(), split="column", end=True, first=True)
    assert before == [START, "a", "b", "b"] and then == ["a", "b", "b", END]
    assert judged(logs(), split="column", first=True, min_prefix=1) == (["a", "b"], ["b", "b"])


def test_what_is_learnt_from_holds_nothing_of_the_rest() -> None:
    held = held_out(logs(), Protocol(split="column", end=True, first=True), 1_000)
    train = held.split.train
    names = train.vocabulary.names
    # two cases, each with its start and its end, the start at the beginning of the first day
    assert [[names[t] for t in trace] for trace in train] == [
        [START, "a", "b", "c", END],
        [START, "a", "b", END],
    ]
    assert "split" not in train.fields
    assert held.waited.tolist() == [False, True, True, False]
    assert held.events.tolist() == [5, 6, 7, -1]


def test_an_end_is_known_only_after_its_silence() -> None:
    # c0 ends on day 1 and c1 on day 9; a case is closed after 99 % of all gaps (3 days) in silence
    times = [[0, DAY], [6 * DAY, 9 * DAY], [17 * DAY, 19 * DAY, 20 * DAY]]
    log = SequenceSet.from_traces([list("ab"), list("ab"), list("aba")], times)
    held = held_out(log, Protocol(cut=0.6, end=True), 1_000)
    assert held.split.cut == 17 * DAY * 1_000_000
    names = held.split.train.vocabulary.names
    assert [[names[t] for t in trace] for trace in held.split.train] == [["a", "b", END], ["a", "b", END]]
    # c2 runs still: two steps are asked for and no end
    assert [names[t] for t in held.split.sequences.tokens[held.split.prefixes.ends]] == ["b", "a"]
    late = held_out(log, Protocol(cut=0.5, end=True), 1_000)
    # cut at day 9: the end of c1 is known on day 12 and is asked for
    assert END in [names[t] for t in late.split.sequences.tokens[late.split.prefixes.ends]]


def test_cases_are_held_out_by_their_begin() -> None:
    times = [[50, 60], [10, 90], [0, 5], [40, 45]]
    log = SequenceSet.from_traces([list("ab")] * 4, times)
    held = held_out(log, Protocol(split="case", cut=0.5), 1_000)
    assert held.split.train.case_ids.to_list() == ["c1", "c2"]


@pytest.mark.parametrize(
    ("rules", "said"),
    [
        ({"split": "week"}, "does not exist"),
        ({"seeds": 0}, "seeds is 0"),
        ({"min_prefix": -1}, "min_prefix is -1"),
        ({"cut": 2.0}, "cut is 2.0"),
    ],
)
def test_rules_that_are_none_are_named(rules: dict[str, object], said: str) -> None:
    with pytest.raises(JobError, match=said):
        Protocol(**rules)  # type: ignore[arg-type]


def test_columns_that_split_nothing_are_named() -> None:
    with pytest.raises(JobError, match="no column 'part'"):
        held_out(logs(), Protocol(split="column", column="part"), 10)
    words = Vocabulary.of(["train"])
    field = Field(np.full(8, 2, dtype=np.int32), words)
    log = logs()
    same = SequenceSet(log.tokens, log.offsets, log.times, log.case_ids, log.vocabulary, {"split": field})
    with pytest.raises(JobError, match="does not tell test from training"):
        held_out(same, Protocol(split="column"), 10)


def frame(n: int = 120) -> pl.DataFrame:
    """After a comes b when the amount is large, else c; the last third is the test part."""
    random = np.random.default_rng(1)
    rows = []
    for case in range(n):
        amount = float(random.integers(1, 100))
        begin = dt.datetime(2026, 1, 1) + dt.timedelta(days=case)
        for step, activity in enumerate(("a", "b" if amount > 50 else "c", "d")):
            at = begin + dt.timedelta(hours=step)
            rows.append((f"c{case:03d}", activity, at, amount, "test" if case >= n * 2 / 3 else "train"))
    return pl.DataFrame(rows, schema=["case_id", "activity", "timestamp", "amount", "split"], orient="row")


def test_numbers_are_cut_into_steps_by_the_training_part() -> None:
    log = behavio.read(frame(), keep=["amount", "split"])
    from behavio.models.fields import coded

    rules = Protocol(split="column", fields=("amount",))
    sequences, numbers = coded(log, rules)
    held = held_out(sequences, rules, 1_000, numbers)
    field = held.split.train.fields["amount"]
    assert 10 < len(field.vocabulary.activities) <= 16
    assert np.bincount(field.codes)[2:].min() > 5


def test_one_table_for_all_models(tmp_path: Path) -> None:
    found = behavio.evaluate(frame(), split="column", models=["ngram"])
    assert found["n_test"] == 80 and found["n_test_cases"] == 40
    lines = {line["name"]: line for line in found["models"]}
    assert list(lines) == ["most_popular", "repeat_last", "first_order", "ngram"]
    ngram = lines["ngram"]
    # b or c after a cannot be known, d after them can: three of four right
    assert 0.6 < ngram["accuracy"] < 0.9 and ngram["top3"] == 1.0
    assert ngram["accuracy_low"] <= ngram["accuracy"] <= ngram["accuracy_high"]
    assert ngram["gap_mae_days"] == 0.0 and ngram["coverage80"] == 1.0
    assert found["constant_gap"]["mae_days"] == 0.0
    assert json.loads(json.dumps(found)) == found
    again = behavio.evaluate(frame(), split="column", models=["ngram"])
    assert again["models"] == found["models"]


def test_ends_have_no_gap_and_starts_none_either() -> None:
    found = behavio.evaluate(frame(), split="column", models=["ngram"], end=True, first=True)
    assert found["n_test"] == 160
    assert {line["name"]: line["coverage80"] for line in found["models"]}["ngram"] == 1.0


def test_models_and_columns_that_are_not_there_are_named() -> None:
    with pytest.raises(JobError, match="no model 'oracle'"):
        behavio.evaluate(frame(), models=["oracle"])
    with pytest.raises(JobError, match="no column"):
        benchmark(logs(), Protocol(split="column", column="nope"), ModelSettings())


def test_intervals_come_from_cases() -> None:
    # one long case of misses beside nine short hits: the interval must be wide
    code = np.repeat(np.arange(10), [91, *[1] * 9])
    values = np.where(code == 0, 0.0, 1.0)
    low, high = Cases.of(code, 7).interval(values)
    assert low < 0.05 and high == 1.0


def test_the_command_line_judges_under_rules(tmp_path: Path) -> None:
    from click.testing import CliRunner

    from behavio.cli import cli as main

    frame().write_csv(tmp_path / "log.csv")
    asked = ["evaluate", str(tmp_path / "log.csv"), "--split", "column", "--models", "ngram"]
    done = CliRunner().invoke(main, asked)
    assert done.exit_code == 0, done.output
    assert "80 events of 40 cases judged" in done.output and "most_popular" in done.output
    done = CliRunner().invoke(main, [*asked, "--json", "--end"])
    assert json.loads(done.stdout)["n_test"] == 120
    done = CliRunner().invoke(main, [*asked, "--csv"])
    assert pl.read_csv(done.stdout.encode())["name"].to_list()[-1] == "ngram"


def test_numbers_that_are_missing_stay_missing() -> None:
    table = frame(600).with_columns(
        pl.when(pl.col("activity") == "a").then(pl.col("amount")).otherwise(float("nan")).alias("amount"),
        pl.lit(None, dtype=pl.Float64).alias("nothing"),
    )
    found = behavio.evaluate(table, split="column", models=["counting"], fields=["amount", "nothing"])
    line = {line["name"]: line for line in found["models"]}["counting"]
    # the amount tells b from c: all is known
    assert line["accuracy"] > 0.98 and np.isfinite(line["nll"]) and line["gain_nll"]["low"] > 0
    # over the most accurate of all that are to be beaten, the n-gram among them
    rivals = {n: x["accuracy"] for x in found["models"] if (n := x["name"]) != "counting"}
    assert rivals[found["most_accurate_baseline"]] == max(rivals.values()) and "ngram" in rivals
    assert line["gain_best_accuracy"]["mean"] == pytest.approx(line["accuracy"] - max(rivals.values()))
