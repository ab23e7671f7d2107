"""Contact pressure: the same person compared with herself, against planted truths."""

from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st

from behavio.cli import cli
from behavio.errors import JobError, ModelError
from behavio.log import EventLog
from behavio.pressure import PressureSettings, pressure, read_pressure, write_pressure
from behavio.pressure.contacts import BIN, PARTS, ROUNDS, _exposure, read_contacts
from behavio.pressure.within import FALLS, STEP, Contacts, Explained, explained, hinge
from behavio.sources import read

START = datetime(2025, 1, 1, tzinfo=UTC)


def by_hand(rows: list[tuple[str, str, float]]) -> EventLog:
    """Events (case, activity, day); "open" and "visit" are inbound, all else outbound."""
    table = [
        (c, a, START + timedelta(days=d), "inbound" if a in ("open", "visit") else "outbound", "mail")
        for c, a, d in rows
    ]
    names = ["case_id", "activity", "timestamp", "direction", "channel"]
    return read(pl.DataFrame(table, schema=names, orient="row"))


def test_contacts_are_counted_by_hand() -> None:
    rows = [("a", "mail", d) for d in (0, 10, 30, 35, 36, 60)]
    rows += [("a", "open", 31), ("a", "visit", 62.5), ("b", "mail", 40), ("b", "open", 44), ("b", "call", 90)]
    found = read_contacts(by_hand(rows), PressureSettings(parts_of_contact=("call",)))
    # a: day 30 sees those of 10 and 30; 35 sees 10, 30, 35; 36 one more; 60 sees 35, 36, 60
    assert found.level.tolist() == [1, 2, 2, 3, 4, 3, 1]
    # answered within three days: 30 by 31, 60 by 62.5; b's open comes after four
    assert found.answered.tolist() == [False, False, True, False, False, True, False]
    # 0 and 10 lie in the first window
    assert found.whole.tolist() == [False, False, True, True, True, True, True]
    # 30 waits a day for its answer, 35 is watched until 36 comes, 60 waits two and a half days
    assert found.wait.tolist() == [3.0, 3.0, 1.0, 1.0, 3.0, 2.5, 3.0]
    # day 0 is a Wednesday: 30 lies four weeks and two days later, on a Friday
    assert found.at[:3].tolist() == [2.0, 5.0, 4.0]
    assert found.today.tolist() == [0, 0]  # newest event: day 90


def contacts_of(stratum: np.ndarray, level: np.ndarray, answered: np.ndarray, given: np.ndarray) -> Contacts:
    owner = np.arange(int(stratum.max()) + 1)
    return Contacts(stratum, stratum, owner, level, answered, given, np.ones(len(level)))


@settings(max_examples=40, deadline=None)
@given(
    st.lists(
        st.tuples(st.integers(0, 2), st.booleans(), st.integers(1, 5), st.floats(0.1, 1)),
        min_size=2,
        max_size=10,
    )
)
def test_the_hinge_has_the_best_likelihood_of_a_multinomial(rows) -> None:
    case, answered, level, exposure = (np.array(v) for v in zip(*rows, strict=True))
    used, stratum = np.unique(case, return_inverse=True)
    c = Contacts(
        stratum,
        stratum,
        np.arange(len(used)),
        level.astype(float),
        answered.astype(float),
        np.zeros((len(level), 0)),
        exposure,
    )
    flat = Explained(np.zeros(len(level)), np.zeros(2), np.zeros(2), np.zeros((len(used), 0)))
    found = hinge(c, flat, 1)

    def slow(optimum: float, fall: float) -> float:
        told = 0.0
        for s in range(len(used)):
            own = [i for i in range(len(level)) if stratum[i] == s]
            weights = {i: exposure[i] * math.exp(-fall * max(0.0, level[i] - optimum)) for i in own}
            before = {i: exposure[i] for i in own}
            for i in own:
                if answered[i]:
                    told += math.log(weights[i] / sum(weights.values()))
                    told -= math.log(before[i] / sum(before.values()))
        return told

    grid = [slow(o, f) for o in np.arange(0, max(level.max(), 1), STEP) for f in FALLS]
    assert found.gain == pytest.approx(max(2 * max(grid), 0.0), abs=1e-9)
    if found.gain > 0:
        assert 2 * slow(found.optimum, found.fall) == pytest.approx(found.gain, abs=1e-9)


def slow_exposure(wait: np.ndarray, answered: np.ndarray, at: np.ndarray) -> list[float]:
    """The same fit, one step of one contact at a time."""
    steps = [
        [(b, int((a + b * BIN + BIN / 2) // BIN) % PARTS, min(max(w - b * BIN, 0.0), BIN)) for b in range(99)]
        for w, a in zip(wait, at, strict=True)
    ]
    since, week = dict.fromkeys(range(99), 1.0), dict.fromkeys(range(PARTS), 1.0)
    won = [steps[i][max(math.ceil(w / BIN) - 1, 0)][:2] for i, w in enumerate(wait) if answered[i]]
    every = [step for own in steps for step in own]
    for _ in range(ROUNDS):
        for b in since:
            risk = sum(t * week[c] for s, c, t in every if s == b)
            since[b] = sum(s == b for s, _ in won) / max(risk, 1e-9)
        for c in week:
            risk = sum(t * since[b] for b, d, t in every if d == c)
            week[c] = (sum(d == c for _, d in won) + 1) / (risk + 1)
    passed = [sum(t * since[b] * week[c] for b, c, t in own) for own in steps]
    return [p / (sum(passed) / len(passed)) for p in passed]


def test_exposure_is_the_hazard_used_up() -> None:
    # one waits 2 days for its answer, one half a day, one 3 days in vain; another channel has no answer
    wait, answered = np.array([2.0, 0.5, 3.0, 3.0]), np.array([1.0, 1.0, 0.0, 0.0])
    at = np.array([0.0, 4.9, 2.3, 1.0])
    found = _exposure(np.array([0, 0, 0, 1]), wait, answered, at)
    assert found[:3].tolist() == pytest.approx(slow_exposure(wait[:3], answered[:3], at[:3]))
    assert found[3] == 1.0 and found[1] < found[0]


@settings(max_examples=15, deadline=None)
@given(st.lists(st.tuples(st.floats(0.01, 3), st.booleans(), st.floats(0, 6.99)), min_size=1, max_size=8))
def test_exposure_matches_the_slow_one(rows: list[tuple[float, bool, float]]) -> None:
    wait, answered, at = (np.array([r[k] for r in rows], dtype=float) for k in range(3))
    found = _exposure(np.zeros(len(rows), np.int64), wait, answered, at)
    if answered.any():
        expected = np.maximum(slow_exposure(wait, answered, at), 1e-3)
        assert found.tolist() == pytest.approx(expected.tolist())
    else:
        assert (found == 1).all()


def test_who_reads_at_weekends_has_waited_for_nothing_by_wednesday() -> None:
    # answers come on Saturdays only: two days from Monday are worth little beside two days from Friday
    rng = np.random.default_rng(5)
    at = rng.integers(0, 7, 4_000).astype(float)
    saturday = (5.5 - at) % 7
    answered = (saturday < 3) & (rng.random(4_000) < 0.6)
    wait = np.where(answered, saturday, 3.0)
    found = _exposure(np.zeros(4_000, np.int64), wait, answered.astype(float), at)
    monday, thursday = (found[(at == day) & ~answered].mean() for day in (0, 3))
    assert thursday > 8 * monday


def test_where_nearly_all_is_answered_the_optimum_is_not_moved() -> None:
    # hazard 0.9 a day up to 3 contacts, then falling by 0.5 for each: at first 93 % answer in three days
    rng = np.random.default_rng(3)
    n, size = 6_000, 20
    stratum, level = np.arange(n) // size, rng.integers(1, 8, n).astype(float)
    rate = 0.9 * np.exp(-0.5 * np.maximum(0, level - 3))
    wait = rng.exponential(1 / rate)
    answered = (wait < 3.0).astype(float)
    exposure = _exposure(np.zeros(n, np.int64), np.minimum(wait, 3.0), answered, rng.uniform(0, 7, n))
    c = Contacts(stratum, stratum, np.arange(n // size), level, answered, np.zeros((n, 0)), exposure)
    best = hinge(c, explained(c, 7), 1)
    assert best.low <= 3.0 <= best.high and abs(best.optimum - 3.0) <= 0.5
    plain = contacts_of(stratum, level, answered, np.zeros((n, 0)))
    assert hinge(plain, explained(plain, 7), 1).optimum > best.optimum


def people(n: int, fall: float, optimum: float, seed: int) -> list[tuple[str, str, float]]:
    """A year of mails. Eager people are mailed more AND open more; each opens less beyond her optimum."""
    rng = np.random.default_rng(seed)
    rows = []
    for i in range(n):
        eager = rng.random()
        sent: list[float] = []
        day = rng.uniform(0, 10)
        while day < 360:
            sent.append(day)
            rows.append((f"p{i}", "mail", day))
            level = sum(s > day - 28 for s in sent)
            chance = (0.1 + 0.6 * eager) * math.exp(-fall * max(0.0, level - optimum))
            if rng.random() < chance:
                rows.append((f"p{i}", "open", day + rng.uniform(0.05, 2.5)))
            day += 4 + rng.exponential(2 + 10 * (1 - eager)) * rng.choice((0.3, 2.0))
    return rows


def test_the_optimum_is_found_though_the_eager_are_mailed_more() -> None:
    found = pressure(by_hand(people(250, 0.5, 3.0, 1)))
    band = found.bands.row(0, named=True)
    assert band["sign"] and band["low"] <= 3.0 <= band["high"] and band["high"] - band["low"] <= 2.5
    curve = found.curves
    few, many = curve.filter(contacts=2).row(0, named=True), curve.filter(contacts=6).row(0, named=True)
    # between people the fall is hidden in part: those mailed most open most; the same person opens far less
    assert many["relative"] / few["relative"] < 0.9 * many["answered"] / few["answered"]
    assert many["high"] < 1
    over = found.cases.filter(verdict="over")
    assert over.height and (over["contacts"] > over["high"]).all()


def test_no_optimum_is_told_where_nothing_falls() -> None:
    signs = [pressure(by_hand(people(60, 0.0, 3.0, seed))).bands["sign"][0] for seed in range(12)]
    assert sum(signs) <= 3  # 5 % are expected by chance, the search over optima adds some
    calm = pressure(by_hand(people(60, 0.0, 3.0, signs.index(False))))
    assert calm.bands["optimum"][0] is None and set(calm.cases["verdict"]) == {"unknown"}


def test_estimates_are_the_same_every_time_and_in_any_order_of_groups() -> None:
    rows = people(60, 0.5, 3.0, 2)
    log = by_hand(rows)
    ids = sorted({r[0] for r in rows})
    labels = pl.DataFrame({"case_id": ids, "segment": ["one" if i % 2 else "two" for i in range(len(ids))]})
    first, again = pressure(log, labels), pressure(log, labels.reverse())
    for table in ("bands", "curves", "cases"):
        assert getattr(first, table).equals(getattr(again, table))
    assert first.bands["segment"].to_list() == ["everybody", "one", "two"]


def test_what_else_explains_an_answer_is_told_apart() -> None:
    rng = np.random.default_rng(0)
    n = 4_000
    stratum = np.arange(n) // 20
    level = rng.integers(1, 6, n).astype(float)
    given = (rng.random((n, 1)) < 0.5).astype(float)
    answered = (
        rng.random(n) < 0.2 * np.exp(0.8 * given[:, 0]) * np.exp(-0.3 * np.maximum(0, level - 3))
    ).astype(float)
    c = contacts_of(stratum, level, answered, given)
    known = explained(c, 5)
    assert np.ptp(known.offset) == pytest.approx(0.8, abs=0.2)
    assert known.value[5] == pytest.approx(-0.6, abs=3 * known.error[5]) and known.error[5] < 0.15
    best = hinge(c, known, 1)
    assert best.low <= 3.0 <= best.high and best.gain > 20


def test_too_little_is_said_and_written(tmp_path: Path) -> None:
    few = by_hand([("a", "mail", 0), ("a", "mail", 40), ("a", "open", 90)])
    with pytest.raises(ModelError, match="too few to see pressure"):
        pressure(few)
    facts = write_pressure(few, None, PressureSettings(), 7, tmp_path)
    assert facts["rows_out"] == 0
    with pytest.raises(ModelError, match="too few"):
        read_pressure(tmp_path)
    with pytest.raises(ModelError, match="no outbound contact"):
        pressure(by_hand([("a", "open", 0), ("b", "visit", 1)]))
    with pytest.raises(JobError, match="'opne'"):
        pressure(few, settings=PressureSettings(responses=("opne",)))


@pytest.mark.parametrize(
    "wrong", [{"window": "0d"}, {"response_within": "30d"}, {"responses": ()}, {"window": "soon"}]
)
def test_wrong_settings_are_refused(wrong: dict) -> None:
    with pytest.raises(JobError):
        PressureSettings(**wrong)


def test_the_command_as_typed(tmp_path: Path) -> None:
    log = by_hand(people(80, 0.5, 3.0, 3))
    path = tmp_path / "log.csv"
    log.events.select("case_id", "activity", "timestamp", "direction", "channel").write_csv(path)
    done = CliRunner().invoke(cli, ["pressure", str(path)])
    assert done.exit_code == 0 and "everybody" in done.output, done.output
    done = CliRunner().invoke(cli, ["pressure", str(path), "--cases", "--csv"])
    assert done.exit_code == 0 and done.output.startswith("case_id,segment,contacts"), done.output
