"""Value and targeting: an imported column beside behaviour, costs with intervals, a policy with consent."""

from __future__ import annotations

import datetime as dt
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from click.testing import CliRunner
from small_world import CALLS, write_calls

from behavio.cli import cli
from behavio.errors import JobError
from behavio.job import read_job
from behavio.log import CONSENT_SCHEMA, EventLog
from behavio.run import run
from behavio.suggest.channels import read_policy
from behavio.value import Value, ValueSettings, quotient, value

START = dt.datetime(2026, 1, 5, 9, tzinfo=dt.UTC)
PRICE = {"f2f": 100.0, "email": 2.0}


def world(n: int = 200, seed: int = 2) -> tuple[EventLog, pl.DataFrame]:
    """Visits are answered in 50 % by group Visit, in 10 % by group Mail; emails the other way round.

    Potential 1 to 10 has nothing to do with the group.
    """
    rng = np.random.default_rng(seed)
    rows = [("h000", "portal_visit", 200.0, "inbound", None)]
    for i in range(n):
        mail = i % 2 == 0
        for d in range(0, 190, 10):
            channel = "email" if rng.random() < 0.5 else "f2f"
            rows.append((f"h{i:03d}", "contact", float(d), "outbound", channel))
            if rng.random() < (0.5 if mail == (channel == "email") else 0.1):
                rows.append((f"h{i:03d}", "portal_visit", d + 1.0, "inbound", None))
    events = pl.DataFrame(
        [(c, a, START + dt.timedelta(days=d), w, ch) for c, a, d, w, ch in rows],
        ["case_id", "activity", "timestamp", "direction", "channel"],
        orient="row",
    )
    log = EventLog.from_frame(events)
    ids = [f"h{i:03d}" for i in range(n)]
    cases = pl.DataFrame({"case_id": ids, "potential": rng.integers(1, 11, n)})
    groups = pl.DataFrame({"case_id": ids, "segment": ["Mail", "Visit"] * (n // 2)})
    return replace(log, cases=cases), groups


@pytest.fixture(scope="module")
def found() -> Value:
    log, groups = world()
    return value(log, groups, ValueSettings("potential", costs=PRICE))


def test_a_quotient_counts_cases_without_answers_too() -> None:
    # 3 cases cost 10 each, one of them answered twice: 15 an answer
    cost, low, high = quotient(np.array([10.0, 10, 10]), np.array([2.0, 0, 0]))
    assert cost == 15 and low < 15 < high
    assert low * high == pytest.approx(15**2)  # even on the logarithm
    rng = np.random.default_rng(1)
    hits = 0
    for _ in range(200):  # 95 % of intervals hold the truth: 100 / 0.4
        n = rng.binomial(5, 0.4, 150)
        _, low, high = quotient(np.full(150, 500.0), n)
        hits += low <= 500 / (5 * 0.4) <= high
    assert 180 <= hits <= 198


def test_the_highest_fifth_is_high_and_cells_are_counted_by_hand(found: Value) -> None:
    log, groups = world()
    cut = log.cases["potential"].quantile(0.8, "lower")
    high = log.cases.filter(pl.col("potential") >= cut)["case_id"]
    assert found.levels == ("low", "high")
    assert set(found.cases.filter(level="high")["case_id"]) == set(high)
    row = found.cells.filter(level="high", segment="Mail").row(0, named=True)
    mail = set(groups.filter(segment="Mail")["case_id"])
    assert row["n_cases"] == len(mail & set(high)) and row["low"] < row["answered"] < row["high"]
    every = found.cells.filter(level="all", segment="all").row(0, named=True)
    assert (
        every["n_cases"] == 200 and every["share"] == 1 and every["answered"] == pytest.approx(0.3, abs=0.03)
    )
    assert every["contacts_28d"] == pytest.approx(19 / (200 / 28), rel=0.01)


def test_costs_per_contact_and_answer_by_hand(found: Value) -> None:
    rows = {(r["by"], r["name"]): r for r in found.costs.iter_rows(named=True)}
    visit = rows["segment and channel", "Visit · f2f"]
    assert visit["per_touch"] == 100 and visit["cost"] == 100 * visit["n_touches"]
    assert visit["per_answer"] == pytest.approx(visit["cost"] / visit["n_answers"])
    assert visit["answer_low"] < 200 < visit["answer_high"]  # 100 / 0.5
    assert rows["channel", "email"]["per_touch"] == 2
    assert rows["all", "all"]["touch_low"] < 51 < rows["all", "all"]["touch_high"]


def test_the_policy_differs_by_value_and_group(found: Value) -> None:
    rows = {(r["level"], r["segment"]): r for r in found.policy.iter_rows(named=True)}
    assert rows["high", "Visit"]["channels"] == ["f2f", "email"]  # what it answers most
    assert rows["high", "Mail"]["channels"] == ["email", "f2f"]
    assert rows["low", "Visit"]["channels"] == [
        "email",
        "f2f",
    ]  # what an answer costs least: 2 / 0.1 < 100 / 0.5
    assert set(found.policy["answers"]) == {"as usual"}
    assert rows["high", "Visit"]["contacts"] == "more" and rows["low", "Visit"]["contacts"] == "as now"


def consents_for(ids: list[str], channel: str, state: str) -> pl.DataFrame:
    said = pl.DataFrame({"case_id": ids, "channel": [channel] * len(ids), "state": [state] * len(ids)})
    said = said.with_columns(timestamp=pl.lit(START))
    missing = [pl.lit(None, dtype=t).alias(c) for c, t in CONSENT_SCHEMA.items() if c not in said.columns]
    return said.with_columns(missing).select(*CONSENT_SCHEMA).cast(CONSENT_SCHEMA)  # type: ignore[arg-type]


def test_a_channel_nobody_opted_in_to_is_not_proposed() -> None:
    log, groups = world()
    few = consents_for([f"h{i:03d}" for i in range(9)], "email", "opt_in")  # nine opt-ins: fewer than k = 10
    table = value(replace(log, consents=few), groups, ValueSettings("potential", costs=PRICE)).policy
    assert all(c == ["f2f"] for c in table["channels"].to_list())
    none = pl.concat([few, consents_for([f"h{i:03d}" for i in range(200)], "call", "opt_out")])
    table = value(replace(log, consents=none), groups, ValueSettings("potential", costs=PRICE)).policy
    assert all(c == [] for c in table["channels"].to_list()) and (table["n_allowed"] == 0).all()
    assert table["reason"].str.contains("ask for consent first").all()


def test_small_cells_are_not_told() -> None:
    log, _ = world(40)
    groups = pl.DataFrame(
        {"case_id": [f"h{i:03d}" for i in range(40)], "segment": ["Few"] * 9 + ["Many"] * 31}
    )
    found = value(log, groups, ValueSettings("potential", costs=PRICE))
    assert "Few" not in found.cells["segment"].to_list() and "Few" not in found.policy["segment"].to_list()
    assert not found.costs["name"].str.contains("Few").any()
    assert (found.cells["n_cases"] >= 10).all()


def test_value_is_not_taken_from_engagement() -> None:
    log, groups = world()
    counts = log.events.group_by("case_id").len("engagement")
    made = replace(
        log, cases=log.cases.join(counts.with_columns(pl.col("engagement").cast(pl.Int64)), on="case_id")
    )
    with pytest.raises(JobError, match="repeats the number of events") as refused:
        value(made, groups, ValueSettings("engagement"))
    assert "has to come from elsewhere" in refused.value.hint
    noisy = made.cases.with_columns(
        near=pl.col("engagement") + pl.Series(np.random.default_rng(1).normal(0, 2.0, 200))
    )
    found = value(replace(made, cases=noisy), groups, ValueSettings("near"))
    assert any("near follows the number of" in n for n in found.notes)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        (ValueSettings("potentail"), "no column 'potentail'"),
        (ValueSettings("word"), "which is worth more is not known"),
        (ValueSettings("word", order=("A",)), "order lacks 'B'"),
        (ValueSettings("potential", costs={"email": 2.0}), "no cost is named for the channel 'f2f'"),
        (ValueSettings("potential", responses=("joy",)), "is no activity"),
    ],
)
def test_what_makes_no_sense_is_refused(settings: ValueSettings, said: str) -> None:
    log, groups = world()
    worded = log.cases.with_columns(word=pl.Series(["A", "B"] * 100))
    with pytest.raises(JobError, match=said):
        value(replace(log, cases=worded), groups, settings)
    with pytest.raises(JobError, match="do not rise"):
        ValueSettings("x", cuts=(3, 2))
    with pytest.raises(JobError, match="the cost of email"):
        ValueSettings("x", costs={"email": -1.0})


def test_cuts_words_and_missing_values_make_levels() -> None:
    log, groups = world()
    cut = value(log, groups, ValueSettings("potential", cuts=(4, 8)))
    assert cut.levels == ("under 4", "4 to under 8", "8 and more")
    told = {r["told"]: r["level"] for r in cut.cases.iter_rows(named=True)}
    assert [told[k] for k in ("3", "4", "7", "8")] == [
        "under 4",
        "4 to under 8",
        "4 to under 8",
        "8 and more",
    ]
    word = pl.Series(["A", "B", "A", None] * 50)
    worded = replace(log, cases=log.cases.with_columns(word=word))
    found = value(worded, groups, ValueSettings("word", order=("B", "A")))
    assert found.levels == ("B", "A") and any("50 of 200 cases have no value" in n for n in found.notes)
    assert found.cases["level"].null_count() == 50


JOB = """
[segments]
kind = "kmeans"
k = 2
[report]
"""
WITH = """
[value]
column = "potential"
responses = ["email_open", "reaction_positive"]
costs = { email = 2, f2f = 120 }
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    where = write_calls(tmp_path_factory.mktemp("value"))
    calls = pl.read_csv(where / "calls.csv")
    mail = pl.col("activity").str.starts_with("email")
    calls.with_columns(channel=pl.when(mail).then(pl.lit("email")).otherwise(pl.lit("f2f"))).write_csv(
        where / "calls.csv"
    )
    job = (
        CALLS.replace('{ direction = "direction" }', '{ direction = "direction", channel = "channel" }') + JOB
    )
    (where / "plain.toml").write_text(job, encoding="utf-8")
    (where / "value.toml").write_text(job + WITH, encoding="utf-8")
    return where


def test_a_run_with_value_and_one_without(folder: Path) -> None:
    plain = run(read_job(folder / "plain.toml"), folder / "plain").manifest["stages"]
    done = run(read_job(folder / "value.toml"), folder / "run")
    ask = CliRunner().invoke
    rows = json.loads(ask(cli, ["value", str(folder / "run"), "--json"]).output)
    assert {r["level"] for r in rows} == {"all", "high", "low"}
    shown = ask(cli, ["value", str(folder / "run"), "--costs"])
    assert shown.exit_code == 0 and "costs in EUR" in shown.output
    out = folder / "policy.toml"
    assert ask(cli, ["value", str(folder / "run"), "--as-policy", str(out)]).exit_code == 0
    cells = read_policy(out)  # the reader of [suggest] policy takes it
    assert cells and {c for cell in cells for c in cell.channels} == {"email", "f2f"}
    page = (done.folder / "report/report.html").read_text(encoding="utf-8")
    assert "What the figures speak for" in page
    again = run(read_job(folder / "plain.toml"), folder / "run").manifest["stages"]
    assert {n: s["outputs"] for n, s in plain.items()} == {n: s["outputs"] for n, s in again.items()}


def test_value_needs_cases(folder: Path) -> None:
    job = folder / "wrong.toml"
    job.write_text('[source.calls]\npath = "calls.csv"\n[value]\ncolumn = "potential"\n')
    with pytest.raises(JobError, match="needs a column of the cases"):
        read_job(job)
