"""The pool, its calibration and its sets; neighbours against a slow search."""

from __future__ import annotations

import datetime as dt
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from behavio.models.base import Prefixes, SequenceModel
from behavio.models.calibration import Scaling, Surprise, calibrated, needed, reach, sets
from behavio.models.neighbours import Neighbours
from behavio.models.pool import Pool, in_order
from behavio.sequences import SequenceSet

DAY = 86_400


def log_of(n: int = 400, seed: int = 0) -> SequenceSet:
    """After a and a short wait comes b, after a long one c; then d."""
    random = np.random.default_rng(seed)
    traces, times = [], []
    for i in range(n):
        long = bool(random.random() < 0.5)
        traces.append(["x", "a", "c" if long else "b", "d"])
        begin = i * DAY
        times.append([begin, begin + (40_000 if long else 30), begin + 50_000, begin + 60_000])
    return SequenceSet.from_traces(traces, times)


@settings(max_examples=20, deadline=None)
@given(n=st.integers(1, 60), k=st.integers(1, 12), seed=st.integers(0, 9))
def test_nearest_equals_a_slow_search(n: int, k: int, seed: int) -> None:
    random = np.random.default_rng(seed)
    model = Neighbours(max_k=k)
    model.points_ = random.standard_normal((n, 3)).astype(np.float32)
    model.of_ = random.integers(0, 4, n)
    asked = random.standard_normal((5, 3)).astype(np.float32)
    own = random.integers(-1, 4, 5)
    best, place = model.nearest(asked, own)
    for q in range(5):
        allowed = np.flatnonzero(model.of_ != own[q])
        far = ((model.points_[allowed].astype(np.float64) - asked[q]) ** 2).sum(axis=1)
        right = np.sort(far)[:k]
        np.testing.assert_allclose(best[q, : len(right)], right, atol=1e-4)
        assert (place[q, len(right) :] == -1).all() and np.isin(place[q, : len(right)], allowed).all()


def test_neighbours_find_what_came_after_the_like(tmp_path: Path) -> None:
    log = log_of()
    model = Neighbours().fit(log)
    asked = SequenceSet.from_traces([["x", "a"], ["x", "a"]], [[0, 30], [0, 40_000]])
    rows = model.probabilities(asked, Prefixes.last(asked))
    names = model.vocabulary_
    assert rows[0, names.id("b")] > 0.9 and rows[1, names.id("c")] > 0.9
    np.testing.assert_allclose(rows.sum(axis=1), 1.0)
    model.save(tmp_path)
    again = SequenceModel.load(tmp_path)
    np.testing.assert_array_equal(again.probabilities(asked, Prefixes.last(asked)), rows)


@pytest.mark.parametrize("traces", [[["a"]], [["a", "b"]], [["a"] * 5], [["a", "b"]] * 30])
def test_neighbours_on_odd_logs(traces: list[list[str]]) -> None:
    model = Neighbours().fit(SequenceSet.from_traces(traces))
    odd = SequenceSet.from_traces([["new"], ["a", "new"]], [[0], [0, 10**9]])
    rows = model.probabilities(odd, Prefixes.last(odd))
    assert np.isfinite(rows).all() and (rows[:, 1:] > 0).all()
    np.testing.assert_allclose(rows.sum(axis=1), 1.0)


def test_a_pool_is_no_worse_than_its_members_and_repeats(tmp_path: Path) -> None:
    log = log_of()
    pool = Pool(members=("counting", "neighbours")).fit(log)
    later = log_of(100, seed=5)
    prefixes = Prefixes.of_cases(later, 0)
    loss = {"pool": -np.log(pool.of_truth(pool.coded(later), prefixes)).mean()}
    for name, member in pool._all.items():
        loss[name] = -np.log(member.of_truth(member.coded(later), prefixes)).mean()
    assert loss["pool"] < min(loss["counting"], loss["neighbours"]) + 0.02
    assert sum(pool.shares.values()) == pytest.approx(1.0)
    for name in ("one", "two"):
        pool.fit(log).save(tmp_path / name)
    for path in sorted((tmp_path / "one").rglob("*.*")):
        assert path.read_bytes() == (tmp_path / "two" / path.relative_to(tmp_path / "one")).read_bytes(), path
    again = SequenceModel.load(tmp_path / "one")
    np.testing.assert_array_equal(again.probabilities(later, prefixes), pool.probabilities(later, prefixes))


def test_a_pool_does_not_pretend() -> None:
    random = np.random.default_rng(1)
    # nothing tells what comes: no member may pretend to know
    log = SequenceSet.from_traces([list(random.choice(list("ab"), 8)) for _ in range(300)])
    pool = Pool(members=("counting", "neighbours")).fit(log)
    rows = pool.probabilities(log, Prefixes.last(log))
    assert (np.abs(rows[:, 2:] - 0.5) < 0.2).all()
    assert not pool.surprise.alarm


def test_sets_hold_what_they_promise() -> None:
    random = np.random.default_rng(0)
    rows = random.dirichlet([0.3] * 6, 8_000)
    rows = np.concatenate([np.zeros((8_000, 1)), rows], axis=1)
    # the truth is drawn from flatter probabilities than said: plain sets would hold too little
    flat = rows[:, 1:] ** 0.5
    flat /= flat.sum(axis=1, keepdims=True)
    truth = 1 + (random.random(8_000)[:, None] > np.cumsum(flat, axis=1)).sum(axis=1)
    total = reach(rows[:4_000], truth[:4_000], 0.9)
    inside = sets(rows[4_000:], total)
    held = inside[np.arange(4_000), truth[4_000:]].mean()
    assert 0.88 < held < 0.94
    assert not inside[:, 0].any() and inside.any(axis=1).all()
    assert reach(rows[:5], truth[:5], 0.9) == 1.0


def test_sets_by_hand() -> None:
    rows = np.array([[0.0, 0.5, 0.3, 0.2]])
    assert needed(rows, np.array([2])).tolist() == [0.8]
    assert sets(rows, 0.8).tolist() == [[False, True, True, False]]
    assert sets(rows, 0.1).tolist() == [[False, True, False, False]]  # never empty


def test_calibration_mends_what_lasts_and_nothing_else() -> None:
    random = np.random.default_rng(2)
    true = random.dirichlet([0.5] * 4, 6_000)
    truth = 1 + (random.random(6_000)[:, None] > np.cumsum(true, axis=1)).sum(axis=1)
    said = true**2 / (true**2).sum(axis=1, keepdims=True)  # twice as sure as right
    rows = np.concatenate([np.zeros((6_000, 1)), said], axis=1)
    found = calibrated(rows, truth)
    assert found.power == pytest.approx(0.5, abs=0.05)
    right = np.concatenate([np.zeros((6_000, 1)), true], axis=1)
    assert calibrated(right, truth).power == 1.0
    # where the process drifts nothing is made surer
    timid = true**0.5 / (true**0.5).sum(axis=1, keepdims=True)
    timid = np.concatenate([np.zeros((6_000, 1)), timid], axis=1)
    assert calibrated(timid, truth).power > 1.5
    assert calibrated(timid, truth, drifts=True).power == 1.0


def test_weeks_without_a_campaign_do_not_unlearn_it() -> None:
    # mails were said to come in 3 of 10 steps, and none did in the weeks that calibrate
    rows = np.tile([0.0, 0.5, 0.3, 0.2], (2_000, 1))
    truth = np.where(np.random.default_rng(5).random(2_000) < 0.7, 1, 3)
    corrected = calibrated(rows, truth).of(rows)
    assert corrected[0, 2] > 0.15


def test_scaling_leaves_padding_and_sums() -> None:
    rows = np.array([[0.0, 0.7, 0.3, 0.0]])
    assert Scaling().of(rows) is rows
    moved = Scaling(0.5).of(rows)
    assert moved[0, 0] == 0.0 and moved.sum() == pytest.approx(1.0) and moved[0, 3] > 0


def test_the_alarm_rings_when_the_newest_steps_do_not_fit() -> None:
    random = np.random.default_rng(3)
    rows = np.tile([0.0, 0.9, 0.1], (2_000, 1))
    fits = np.where(random.random(2_000) < 0.9, 1, 2)
    cases = np.arange(2_000) // 4
    assert not Surprise.at(rows, fits, cases).alarm
    moved = np.where(random.random(2_000) < 0.5, 1, 2)
    found = Surprise.at(rows, moved, cases)
    assert found.alarm and found.low < found.mean < found.high
    assert not Surprise.at(rows[:0], fits[:0], cases[:0]).alarm


def test_held_out_steps_are_read_in_their_order() -> None:
    log = SequenceSet.from_traces([list("aab"), list("ab")], [[0, 50, 90], [10, 20]])
    steps = Prefixes.of_cases(log, 0)
    assert in_order(log, steps).ends.tolist() == [4, 1, 2]
    assert in_order(replace(log, ahead="cases"), steps).ends.tolist() == [1, 2, 4]


def test_who_was_where_this_case_is_now_by_hand() -> None:
    import behavio

    # ten cases went x, a and after a short wait b; two after a long wait c; the asked one waits short
    traces = [["x", "a", "b"]] * 10 + [["x", "a", "c"]] * 2 + [["x", "a"]]
    times = [[i * DAY, i * DAY + 30, (i + 2) * DAY] for i in range(10)]
    times += [[i * DAY, i * DAY + 80_000, (i + 2) * DAY] for i in (10, 11)] + [[12 * DAY, 12 * DAY + 30]]
    log = SequenceSet.from_traces(traces, times)
    found = behavio.neighbours(log, "c12", k=10)
    assert found.next["activity"][0] == "b" and found.next["n"].sum() == 10
    assert found.next["median_days"][0] == pytest.approx(2 - 30 / DAY)
    first = found.moments.row(0, named=True)
    assert first["matched"] == ["x", "a"] and first["case_id"] != "c12"
    assert found.moments["case_id"].n_unique() == 10
    low, share, high = found.next.select("low", "share", "high").row(0)
    assert low < share <= high <= 1.0
    assert found.sentence.startswith("of the 10 cases most like c12 at a moment like this,")
    recent = behavio.neighbours(log, "c12", k=10, within="3d")
    assert recent.compared < found.compared
    assert recent.moments["at"].min() >= found.moments["at"].max() - dt.timedelta(days=6)


def test_cases_that_are_not_there_are_named() -> None:
    from behavio.errors import JobError, ModelError
    from behavio.models import find_alike

    log = log_of(20)
    with pytest.raises(JobError, match="no case 'nobody'"):
        find_alike(log, "nobody")
    with pytest.raises(ModelError, match="no other case"):
        find_alike(SequenceSet.from_traces([["a", "b"], ["a"]]), "c0")


def test_neighbours_on_the_command_line(tmp_path: Path) -> None:
    import json

    import polars as pl
    from click.testing import CliRunner

    from behavio.cli import cli

    rows = [
        (f"c{i:02d}", activity, f"2026-01-{day:02d} 10:00")
        for i in range(15)
        for day, activity in ((1 + i, "visit"), (2 + i, "open"), (4 + i, "call"))
        if not (i == 14 and activity == "call")
    ]
    path = tmp_path / "log.csv"
    pl.DataFrame(rows, schema=["case_id", "activity", "timestamp"], orient="row").write_csv(path)
    done = CliRunner().invoke(cli, ["neighbours", str(path), "c14", "--k", "5"])
    assert done.exit_code == 0, done.output
    assert "of the 5 cases most like c14" in done.output and "call" in done.output
    done = CliRunner().invoke(cli, ["neighbours", str(path), "c14", "--json"])
    assert json.loads(done.stdout)[0]["activity"] == "call"
    done = CliRunner().invoke(cli, ["neighbours", str(path), "c14", "--moments", "--csv"])
    assert "visit → open" in done.stdout


@pytest.mark.parametrize("kind", ["one_time", "one_activity", "ten_years"])
def test_odd_logs_keep_the_pool_finite(kind: str) -> None:
    random = np.random.default_rng(4)
    traces = [list(random.choice(list("ab"), 6)) for _ in range(150)]
    times = [[0] * 6 for _ in traces]
    if kind == "one_activity":  # 99.9 % of the mass
        traces = [["a"] * 6 for _ in range(150)]
        traces[75][3] = "b"
    if kind == "ten_years":
        times = [
            [i, i, i + 10 * 365 * DAY, i + 10 * 365 * DAY, i + 20 * 365 * DAY, i + 20 * 365 * DAY]
            for i in range(150)
        ]
    log = SequenceSet.from_traces(traces, times)
    pool = Pool(members=("counting", "neighbours")).fit(log)
    odd = SequenceSet.from_traces([["a"], ["new", "a"], ["b"] * 300], [[0], [5, 5], list(range(300))])
    rows = pool.probabilities(odd, Prefixes.last(odd))
    assert np.isfinite(rows).all() and (rows >= 0).all() and (rows[:, 0] == 0).all()
    np.testing.assert_allclose(rows.sum(axis=1), 1.0)
    if kind == "one_activity":
        assert rows[0, pool.vocabulary_.id("a")] > 0.95
    assert pool.likely_sets(odd, Prefixes.last(odd)).any(axis=1).all()
