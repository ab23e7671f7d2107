"""A group left alone by lot: even, kept, and read out without bias."""

from __future__ import annotations

import datetime as dt
import json
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from click.testing import CliRunner

from behavio.cli import cli
from behavio.errors import JobError, LogError
from behavio.holdout import draw, read_holdout, read_out, write_holdout
from behavio.holdout.adjust import adjusted_difference
from behavio.log import EventLog

DAY = dt.date(2026, 3, 1)
START = dt.datetime(2026, 3, 2, tzinfo=dt.UTC)


def people(n: int) -> pl.DataFrame:
    kinds = ["Heart"] * (n // 2) + ["Lung"] * (n - n // 2)
    return pl.DataFrame({"case_id": [f"h{i:04d}" for i in range(n)], "specialty": kinds})


def log_of(drawn: pl.DataFrame, held: float, others: float, seed: int, contacts: bool = True) -> EventLog:
    """Each case: an outcome in 60 days with the chance of its group; a visit for those not held out."""
    rng = np.random.default_rng(seed)
    rows = []
    for case, left_alone in drawn.select("case_id", "holdout").iter_rows():
        taste = rng.random()
        rows.append(
            (case, "portal_visit" if taste > 0.5 else "email_open", START - dt.timedelta(days=20), "inbound")
        )
        if rng.random() < (held if left_alone else others) * (0.5 + taste):
            rows.append(
                (case, "portal_visit", START + dt.timedelta(days=float(rng.uniform(1, 50))), "inbound")
            )
        if contacts and not left_alone:
            rows.append((case, "call_f2f", START + dt.timedelta(days=3), "outbound"))
    rows.append((drawn["case_id"][0], "email_open", START + dt.timedelta(days=60), "inbound"))
    frame = pl.DataFrame(rows, ["case_id", "activity", "timestamp", "direction"], orient="row")
    return EventLog.from_frame(frame)


def test_a_tenth_of_every_stratum_is_drawn_and_stays_drawn() -> None:
    first = draw(people(400), by=["specialty"], day=DAY)
    counted = dict(first.group_by("stratum").agg(pl.col("holdout").sum()).iter_rows())
    assert counted == {"Heart": 20, "Lung": 20}
    assert first.equals(draw(people(400).sample(fraction=1, shuffle=True, seed=3), by=["specialty"], day=DAY))
    later = draw(people(600), by=["specialty"], day=DAY + dt.timedelta(90), kept=first, seed=99)
    old = later.join(first.select("case_id"), on="case_id", how="semi")
    assert old.equals(first)
    new = later.join(first.select("case_id"), on="case_id", how="anti")
    assert new.height == 200 and new["holdout"].sum() == 20
    assert not draw(people(400), day=DAY, seed=8)["holdout"].equals(first["holdout"])


def test_small_strata_get_their_share_in_the_mean() -> None:
    n = [int(draw(people(6), by=["specialty"], day=DAY, seed=s)["holdout"].sum()) for s in range(400)]
    assert 0.4 < np.mean(n) < 0.8  # 6 × 0.1


@pytest.mark.parametrize(
    ("more", "text"), [({"share": 0.0}, "share"), ({"share": 0.6}, "share"), ({"by": ["region"]}, "region")]
)
def test_draws_that_cannot_be(more: dict, text: str) -> None:
    with pytest.raises(JobError, match=text):
        draw(people(10), day=DAY, **more)


def test_written_and_read_back(tmp_path: Path) -> None:
    drawn = draw(people(50), day=DAY)
    write_holdout(drawn, tmp_path / "h.csv")
    assert read_holdout(tmp_path / "h.csv").equals(drawn)
    (tmp_path / "bad.csv").write_text("case_id,holdout,stratum,drawn\na,yes,all,2026-01-01\n")
    with pytest.raises(LogError, match="changed by hand"):
        read_holdout(tmp_path / "bad.csv")
    (tmp_path / "other.csv").write_text("a,b\n1,2\n")
    with pytest.raises(LogError, match="no column 'case_id'"):
        read_holdout(tmp_path / "other.csv")


def test_the_difference_by_hand_without_anything_known() -> None:
    # treated 3 of 4, others 1 of 4: difference 0.5; each variance p (1 − p) / (n − 1) = 0.0625
    y = np.array([1, 1, 1, 0, 1, 0, 0, 0], float)
    found, error = adjusted_difference(y, np.arange(8) < 4, np.ones((8, 1)))
    assert found == pytest.approx(0.5) and error == pytest.approx(np.sqrt(2 * 0.1875 / 3))


def test_what_was_known_before_takes_chance_out() -> None:
    rng = np.random.default_rng(1)
    x = rng.normal(size=(400, 1))
    treated = rng.random(400) < 0.5
    y = 3 * x[:, 0] + 0.2 * treated + rng.normal(0, 0.1, 400)
    _, wide = adjusted_difference(y, treated, np.ones((400, 1)))
    found, error = adjusted_difference(y, treated, x)
    assert abs(found - 0.2) < 4 * error and error < wide / 5


def test_a_planted_effect_is_found() -> None:
    drawn = draw(people(2_000), share=0.3, day=DAY)
    found = read_out(log_of(drawn, 0.2, 0.4, 1), drawn, ["portal_visit"])
    row = found.table.row(0, named=True)
    assert row["low"] < 0.2 < row["high"] and row["low"] > 0.1
    assert row["n_holdout"] == 600 and row["others"] - row["holdout"] == pytest.approx(0.2, abs=0.06)
    assert found.since == dt.date(2026, 3, 2) and found.contacts[0] == 0 < found.contacts[1]
    assert found.notes == ()


def test_an_effect_of_nothing_gives_an_interval_around_nothing() -> None:
    """Asked: at least 93 of 100 intervals hold zero (95 % ones, stratified draws of 600 cases)."""
    hits = 0
    for seed in range(100):
        drawn = draw(people(600), share=0.25, by=["specialty"], day=DAY, seed=seed)
        row = read_out(log_of(drawn, 0.3, 0.3, seed), drawn, ["portal_visit"]).table.row(0, named=True)
        hits += row["low"] <= 0 <= row["high"]
    assert hits >= 93


def test_a_holdout_that_was_contacted_is_told() -> None:
    drawn = draw(people(300), share=0.3, day=DAY)
    calls = [(c, "call_f2f", START + dt.timedelta(days=2), "outbound") for c in drawn["case_id"]]
    rows = [*calls, (drawn["case_id"][0], "portal_visit", START + dt.timedelta(days=30), "inbound")]
    log = EventLog.from_frame(
        pl.DataFrame(rows, ["case_id", "activity", "timestamp", "direction"], orient="row")
    )
    gone = drawn.vstack(drawn.head(1).with_columns(case_id=pl.lit("left")))
    found = read_out(log, gone, ["portal_visit"])
    assert "hardly a difference" in found.notes[1] and "1 of 301 drawn cases" in found.notes[0]


@pytest.mark.parametrize(
    ("outcome", "since", "text"),
    [
        (["portal_visits"], None, "portal_visits"),
        ([], None, "no outcome"),
        (["portal_visit"], dt.date(2027, 1, 1), "before 2027-01-01"),
    ],
)
def test_read_outs_that_cannot_be(outcome: list[str], since: dt.date | None, text: str) -> None:
    drawn = draw(people(100), day=DAY)
    with pytest.raises(LogError, match=text):
        read_out(log_of(drawn, 0.3, 0.3, 1), drawn, outcome, since)
    with pytest.raises(LogError, match="were left alone"):
        few = draw(people(20), day=DAY)
        read_out(log_of(few, 0.5, 0.5, 1), few, ["portal_visit"])


def test_holdout_and_readout_as_typed(tmp_path: Path) -> None:
    drawn = draw(people(400), share=0.5, day=DAY)
    log = log_of(drawn, 0.2, 0.6, 4)
    log.events.select("case_id", "activity", "timestamp", "direction").write_csv(tmp_path / "log.csv")
    out = tmp_path / "holdout.csv"
    command = [
        "holdout",
        str(tmp_path / "log.csv"),
        "--out",
        str(out),
        "--share",
        "0.25",
        "--day",
        "2026-03-01",
    ]
    done = CliRunner().invoke(cli, command)
    assert done.exit_code == 0 and "100 of 400" in done.output, done.output
    again = CliRunner().invoke(cli, command)
    assert again.exit_code == 0 and "nobody new" in again.output
    write_holdout(drawn, out)
    shown = CliRunner().invoke(
        cli, ["readout", str(tmp_path / "log.csv"), str(out), "--outcome", "portal_visit"]
    )
    assert shown.exit_code == 0 and "caused" in shown.output, shown.output
    table = CliRunner().invoke(
        cli, ["readout", str(tmp_path / "log.csv"), str(out), "--outcome", "portal_visit", "--json"]
    )
    row = json.loads(table.stdout)[0]
    assert row["n_holdout"] == 200 and 0.2 < row["low"] < row["difference"] < row["high"] < 0.6
