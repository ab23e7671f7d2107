"""Contact pressure: the same person compared with herself, against planted truths."""

from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta
from itertools import pairwise
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
from behavio.pressure import PressureSettings, pressure, read_pressure, risk, write_pressure
from behavio.pressure.contacts import read_contacts
from behavio.pressure.risk import DAY_US, Pieces, pieces_of
from behavio.pressure.within import _MASS, _NODES, APART, FALLS, RIDGE, Profile, _marginal, explained, hinge
from behavio.pressure.within import profile as profiled
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
    assert found.today.tolist() == [0, 0]  # newest event: day 90


def slow_level(sent: list[float], at: float) -> int:
    return sum(at - 28 < d <= at for d in sent)


def test_time_at_risk_is_cut_by_hand(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(risk, "FEWEST", 1)
    # two mails are in the window from day 30.1 to 38 (that of day 10 leaves), from 40 to 58.1 (30.1 leaves)
    rows = [("a", "mail", 10.0), ("a", "mail", 30.1), ("a", "open", 31.0), ("a", "open", 31.02)]
    rows += [("a", "mail", 40.0), ("a", "open", 45.0), ("b", "mail", 0.0), ("b", "call", 70.0)]
    found = pieces_of(read_contacts(by_hand(rows), PressureSettings()).line)
    assert found is not None and len(found.starts) == 2 and found.owner.tolist() == [0]
    # the hour after an answer belongs to it: that of 31.02 is none of its own, and each takes its hour
    hour = 1 / 24
    assert found.answered.sum() == 2
    assert found.width.sum() == pytest.approx((38 - 30.1) + (58.1 - 40) - (hour + 0.02) - hour)
    assert set(found.level.tolist()) == {2} and found.width.max() <= 0.25 + 1e-9


@settings(max_examples=25, deadline=None)
@given(
    st.lists(
        st.tuples(st.sampled_from("ab"), st.sampled_from(["mail", "call", "open"]), st.integers(0, 2_000)),
        min_size=1,
        max_size=25,
        unique_by=lambda r: (r[0], r[2]),
    )
)
def test_time_at_risk_matches_a_slow_count(rows) -> None:
    least, risk.FEWEST = risk.FEWEST, 1
    try:
        events = [(c, a, k / 20 + 0.013) for c, a, k in rows] + [("z", "mail", 0.0), ("z", "mail", 101.0)]
        found = pieces_of(read_contacts(by_hand(events), PressureSettings()).line)
    finally:
        risk.FEWEST = least
    time, answers = 0.0, 0
    for case in sorted({c for c, a, _ in events if a == "open"}):
        sent = [d for c, a, d in events if c == case and a != "open"]
        opened = sorted(d for c, a, d in events if c == case and a == "open")
        cuts = sorted({28.0, 101.0, *sent, *(d + 28 for d in sent), *opened, *(d + 1 / 24 for d in opened)})
        spent, mine = 0.0, 0
        for low, high in pairwise(cuts):
            mid = (low + high) / 2
            if low < 28 or high > 101 or slow_level(sent, mid) < 2:
                continue
            if any(0 < mid - d < 1 / 24 for d in opened):
                continue
            spent += high - low
            mine += high in opened
        if mine:
            time, answers = time + spent, answers + mine
    if found is None:
        assert answers == 0
    else:
        assert found.width.sum() == pytest.approx(time, abs=1e-6) and found.answered.sum() == answers


def made(stratum: np.ndarray, level: np.ndarray, answered: np.ndarray, given: np.ndarray) -> Pieces:
    """Rows of equal time; stratum ascending, `given` a code each."""
    starts = np.append(np.flatnonzero(np.diff(stratum, prepend=-1)), len(level))
    n_given = int(given.max()) + 1
    codes = np.column_stack([given, n_given + level]).astype(np.int32)
    owner = np.arange(len(starts) - 1)
    n_codes = n_given + int(level.max()) + 1
    return Pieces(starts, owner, codes, n_codes, level, np.ones(len(level)), answered.astype(float))


@settings(max_examples=30, deadline=None)
@given(
    st.lists(
        st.tuples(st.integers(0, 2), st.integers(0, 2), st.integers(0, 5), st.floats(0.1, 3)),
        min_size=1,
        max_size=8,
    ),
    st.floats(0.5, 5),
)
def test_the_likelihood_is_that_of_a_multinomial_with_optima_of_their_own(rows, optimum: float) -> None:
    # (case, answers, level, weight); each case is one stratum
    cases = sorted({r[0] for r in rows})
    mass, won = np.zeros((len(cases), 6)), np.zeros((len(cases), 6))
    for c, n, level, weight in rows:
        mass[cases.index(c), level] += weight
        won[cases.index(c), level] += n
    told, expected = _marginal(np.arange(len(cases)), mass, won, optimum)
    for k, fall in enumerate(FALLS):
        slow = 0.0
        for c in range(len(cases)):
            chances = []
            for node in _NODES:
                own = optimum * math.exp(APART * node)
                w = [mass[c, j] * math.exp(-fall * max(0.0, j - own)) for j in range(6)]
                chances.append(
                    math.prod(
                        (w[j] / mass[c, j] / sum(w) * mass[c].sum()) ** won[c, j]
                        for j in range(6)
                        if mass[c, j]
                    )
                )
            slow += math.log(float(_MASS @ chances))
        assert told[k] == pytest.approx(slow, abs=1e-7)
    # as many answers are expected as came
    assert (expected * mass).sum(axis=1) == pytest.approx(won.sum(axis=1))


def test_coefficients_are_where_the_likelihood_is_flat() -> None:
    rng = np.random.default_rng(2)
    stratum, level = np.arange(300) // 30, rng.integers(2, 5, 300)
    p = made(stratum, level, rng.random(300) < 0.3, rng.integers(0, 2, 300))
    known = explained(p)

    def likely(beta: np.ndarray) -> float:
        told = -RIDGE * float(beta @ beta) / 2
        for s in range(10):
            own = slice(p.starts[s], p.starts[s + 1])
            what = beta[p.codes[own]].sum(axis=1)
            told += float(p.answered[own] @ what) - p.answered[own].sum() * math.log(np.exp(what).sum())
        return told

    # the level of two is the base: with a ridge, effects of all levels sum to nothing
    levels = np.zeros(5)
    levels[2:] = known.value[2:] - known.value[2:].mean()
    best = np.concatenate([known.beta, levels])
    for k in range(len(best)):
        for by in (-0.01, 0.01):
            other = best.copy()
            other[k] += by
            assert likely(other) < likely(best) + 1e-6
    assert known.value[:3].tolist() == [0, 0, 0] and (known.error[3:] > 0).all() and known.clumps >= 1


def test_the_band_ends_where_an_optimum_is_refused() -> None:
    # one fall only is likely; twice the loss is 0 at 3, 2 at 2.5, 6 at 2, 4.84 at 3.5, and so on
    optima = np.array([2.0, 2.5, 3.0, 3.5])
    told = np.full((4, len(FALLS)), -100.0)
    told[:, 5] = [-3.0, -1.0, 0.0, -2.42]
    best = hinge(Profile(optima, told, -8.0))
    # refused is 3.84: 1.84 of the 4 between 2.5 and 2, and 3.84 of the 4.84 between 3 and 3.5
    assert best.low == pytest.approx(2.5 - 0.5 * 1.84 / 4)
    assert best.high == pytest.approx(3.0 + 0.5 * 3.84 / 4.84)
    assert (best.optimum, best.fall, best.gain) == (3.0, 0.4, 16.0)
    # where the lowest that is tried is not refused, any lower one may be right
    told[0, 5] = -1.5
    assert hinge(Profile(optima, told, -8.0)).low == 0.0
    assert hinge(Profile(optima, told, -8.0)).high == best.high


def test_people_with_optima_of_their_own_do_not_move_that_of_their_group() -> None:
    rng = np.random.default_rng(4)
    n, size = 40_000, 80
    stratum, level = np.arange(n) // size, rng.integers(2, 9, n)
    own = 4 * np.exp(rng.normal(0, 0.2, n // size))[stratum]
    answered = rng.random(n) < 0.3 * np.exp(-0.4 * np.maximum(0, level - own))
    p = made(stratum, level, answered, np.zeros(n, np.int64))
    best = hinge(profiled(p, explained(p)))
    assert best.low <= 4.0 <= best.high and abs(best.optimum - 4.0) <= 0.5 and best.high - best.low < 1.5


def readers(n: int, hazard: float, delay: float, weekend: bool, seed: int) -> list[tuple[str, str, float]]:
    """A year of mails. Each reads the last one once, from `delay` days after it on; less beyond about 3."""
    rng = np.random.default_rng(seed)
    rows = []
    for i in range(n):
        sent = np.cumsum(rng.exponential(8, 60) * rng.choice((0.4, 1.6), 60))
        sent, own = sent[sent < 360], 3 * math.exp(rng.normal(0, 0.2))
        rows += [(f"p{i}", "mail", float(d)) for d in sent]
        for d, following in pairwise([*sent, 365.0]):
            at = np.arange(d + delay, min(d + 20, following), 0.125)
            level = (sent <= at[:, None]).sum(axis=1) - (sent <= at[:, None] - 28).sum(axis=1)
            awake = (at % 7 >= 3) & (at % 7 < 5) if weekend else np.ones(len(at), bool)  # day 0: Wednesday
            rate = 0.125 * hazard * awake * np.exp(-0.5 * np.maximum(0, level - own))
            read = np.flatnonzero(rng.random(len(at)) < rate)
            if len(read):
                rows.append((f"p{i}", "open", float(at[read[0]] + rng.uniform(0, 0.125))))
    return rows


@pytest.mark.parametrize(
    ("hazard", "delay", "weekend"),
    [
        (0.12, 2.0, False),  # answers come late, often after older contacts have left the window
        (1.2, 0.0, False),  # nearly all is answered: the share hardly falls though the hazard does
        (0.5, 0.25, True),  # at weekends: nobody can have answered by Wednesday what came on Monday
    ],
)
def test_the_optimum_is_found_however_people_read(hazard: float, delay: float, weekend: bool) -> None:
    band = pressure(by_hand(readers(200, hazard, delay, weekend, 1))).bands.row(0, named=True)
    assert band["sign"] and band["low"] <= 3.0 <= band["high"] and band["high"] - band["low"] <= 1.5
    assert abs(band["optimum"] - 3.0) <= 0.5


def test_of_large_groups_every_kth_case_is_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    line = read_contacts(by_hand(people(12, 0.5, 3.0, 1)), PressureSettings()).line
    everyone = np.ones(12, bool)
    assert set(line.of(everyone).case.tolist()) == set(range(12))
    days = risk._days_at_risk(line.case[line.channel >= 0], line.time[line.channel >= 0], line)
    # two contacts in the window: nearly all of the year, from the second contact on
    assert 12 * 250 < days < 12 * 366 and line.end / DAY_US > 340
    monkeypatch.setattr(risk, "MOST_DAYS", days / 2.5)
    assert set(line.of(everyone).case.tolist()) == {0, 3, 6, 9}


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
    n = 12_000
    stratum = np.arange(n) // 40
    given = (rng.random(n) < 0.5).astype(np.int64)
    # what helps comes with pressure: without it the fall would hardly be seen
    level = np.clip(rng.integers(2, 6, n) + 2 * given, 2, 6)
    rate = 0.2 * np.exp(0.8 * given - 0.3 * np.maximum(0, level - 3))
    p = made(stratum, level, rng.random(n) < rate, given)
    known = explained(p)
    assert np.ptp(known.beta) == pytest.approx(0.8, abs=0.2)
    assert known.value[6] == pytest.approx(-0.9, abs=3 * known.error[6]) and known.error[6] < 0.2
    best = hinge(profiled(p, known))
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
