"""The simulated process: probabilities that are exactly right, and HCPs that behave as planted."""

from __future__ import annotations

from math import exp

import numpy as np
import polars as pl
import pytest

from behavio.errors import JobError
from behavio.simulate import SimulateSettings, simulate_log
from behavio.simulate.archetypes import ARCHETYPES, DAY, NEVER_ENDS, Rule, week
from behavio.simulate.effects import action_effect
from behavio.simulate.hazards import (
    EVENT,
    OPEN,
    SENT,
    cut_bins,
    fill_rates,
    new_bins,
    new_state,
    pressure_fit,
    reset,
)
from behavio.simulate.history import History, live
from behavio.simulate.loop import Draw, draw_next, move_stage
from behavio.simulate.state import live_through
from behavio.simulate.vocabulary import ACTIONS, ACTIVITIES, DOWNLOAD, RESPONSES, STAGES, VISIT
from behavio.simulate.world import Population, World, build_world, draw_population

SMALL = SimulateSettings(n_cases=400, months=12, seed=3)


@pytest.fixture(scope="module")
def history() -> History:
    return live(SMALL)


@pytest.fixture(scope="module")
def log() -> tuple[pl.DataFrame, object]:
    return simulate_log(SMALL)


def quiet_world(rules: list[Rule]) -> tuple[World, Population]:
    """One HCP of middle traits in a world with these rules only; everything else next to never happens."""
    settings = SimulateSettings(n_cases=1, months=1)
    world, people = build_world(settings), draw_population(settings)
    one = np.ones(1)
    people = people._replace(
        archetype=np.zeros(1, dtype=np.int64),
        stage=np.full(1, 2, dtype=np.int64),  # digital factor 1
        consent=np.zeros(1, dtype=bool),
        calls=np.zeros(1),
        email=one,
        portal=one,
        event=one,
    )
    world = world._replace(
        rules=np.array([r.row() for r in rules]),
        rule_start=np.array([0, len(rules)] + [len(rules)] * (len(ARCHETYPES) - 1)),
        portal_rate=np.full(len(ARCHETYPES), 1e-15),
        event_rate=np.full(len(ARCHETYPES), 1e-15),
        call_fit=np.ones((len(ARCHETYPES), 3)),
    )
    return world, people


def constant(then: int, per_day: float, until: float = NEVER_ENDS) -> Rule:
    """A rule whose bump is so long that its hazard is constant, from the last event attended on."""
    scale = 1e11
    return Rule(EVENT, then, per_day / DAY * scale, scale, onset=0.0, until=until, now=True)


def draw_from(world: World, people: Population, seed: int) -> tuple[int, float, np.ndarray, float]:
    """What and when after an event attended at time 0, with the true odds and log density per second."""
    state, odds = new_state(), np.zeros(14)
    reset(state, people, 0)
    live_through(state, EVENT, 0.0, -1)
    draw = Draw(np.zeros(1), np.zeros(1, dtype=np.int64), np.zeros(1), np.zeros(1))
    draw_next(world, people, 0, state, new_bins(), 0.0, np.array([seed], dtype=np.uint64), odds, draw)
    return int(draw.what[0]), float(draw.time[0]), odds, float(draw.density[0])


def test_two_constant_hazards_have_their_closed_form() -> None:
    # visits at 3 a day, downloads at 1 a day: the next is a visit with probability 3 / (3 + 1)
    world, people = quiet_world([constant(VISIT, 3.0), constant(DOWNLOAD, 1.0)])
    _, _, odds, _ = draw_from(world, people, 5)
    assert odds[VISIT] == pytest.approx(0.75, abs=1e-6)
    assert odds[DOWNLOAD] == pytest.approx(0.25, abs=1e-6)
    assert odds.sum() == pytest.approx(1.0)
    drawn = [draw_from(world, people, s) for s in range(2000)]
    assert np.mean([what == VISIT for what, *_ in drawn]) == pytest.approx(0.75, abs=0.03)
    # waiting times after the dead 2 s are exponential with mean 1/4 day, and so is their density
    waits = np.array([time - 2.0 for _, time, *_ in drawn]) / DAY
    assert waits.mean() == pytest.approx(0.25, rel=0.07)
    wanted = np.log(4.0 / DAY) - 4.0 * waits
    assert [density for *_, density in drawn] == pytest.approx(wanted, abs=1e-4)


def test_a_hazard_that_ends_has_its_closed_form() -> None:
    # visits at 24 a day only in the first hour (3,598 s of it after the dead time), downloads at 12 a day:
    # P(visit) = 24/36 · (1 − exp(−36/86400 · 3598)) = 2/3 · (1 − exp(−1.49917)) = 0.5178
    world, people = quiet_world([constant(VISIT, 24.0, until=3600.0), constant(DOWNLOAD, 12.0)])
    _, _, odds, _ = draw_from(world, people, 1)
    assert odds[VISIT] == pytest.approx(2 / 3 * (1 - exp(-36 / 86_400 * 3_598)), abs=1e-6)
    assert odds[VISIT] == pytest.approx(0.5178, abs=1e-4)


def test_a_rule_fires_as_often_as_its_mass_says() -> None:
    # expected number of visits 0.9, fading within 40 s: P(visit first) = 1 − exp(−0.9); downloads at 1 a day
    # are left for the rest
    rule = Rule(EVENT, VISIT, 0.9, 40.0, onset=2.0, now=True)
    world, people = quiet_world([rule, constant(DOWNLOAD, 1.0)])
    _, _, odds, _ = draw_from(world, people, 1)
    assert odds[VISIT] == pytest.approx(1 - exp(-0.9), abs=1e-3)


def test_touches_above_the_optimum_lower_the_response() -> None:
    assert pressure_fit(4.0, 0) == pressure_fit(4.0, 4) == 1.0
    assert pressure_fit(4.0, 6) == pytest.approx(exp(-0.8))
    people = draw_population(SMALL)
    world, bins = build_world(SMALL), new_bins()
    i = int(np.flatnonzero((people.archetype == 2) & people.consent)[0])
    opens = []
    for extra in (0, 12):
        state = new_state()
        reset(state, people, i)
        for k in range(extra):
            live_through(state, 2, 60.0 * DAY + k * 3600.0, -1)  # phone calls
        live_through(state, SENT, 61.0 * DAY, -1)
        n = cut_bins(world, 61.0 * DAY + 60, 61.0 * DAY, 8, 62.0 * DAY, bins)
        fill_rates(world, people, i, state, True, n, bins)
        opens.append(bins.rates[:n, OPEN].copy())
    assert (opens[0] > 0).all()
    assert opens[1] / opens[0] == pytest.approx(np.full(n, pressure_fit(people.optimum[i], 13)))


def test_probabilities_are_calibrated(history: History) -> None:
    odds, what = history.track.odds.astype(float), history.track.what
    assert odds.sum(axis=1) == pytest.approx(np.ones(len(odds)), abs=1e-5)
    seen = np.bincount(what, minlength=14) / len(what)
    assert np.abs(odds.mean(axis=0) - seen).max() < 0.008
    for code in (OPEN, VISIT, SENT):  # and not only on average
        for low, high in ((0.02, 0.1), (0.1, 0.3), (0.3, 0.6), (0.6, 1.0)):
            inside = (odds[:, code] >= low) & (odds[:, code] < high)
            assert inside.sum() > 50
            error = 4 * np.sqrt(0.25 / inside.sum())
            assert (what[inside] == code).mean() == pytest.approx(odds[inside, code].mean(), abs=error)


def test_no_chain_of_first_order_comes_near_the_oracle(log: tuple[pl.DataFrame, object]) -> None:
    events, truth = log
    oracle = truth.summary["oracle"]  # type: ignore[attr-defined]
    cut = pl.lit(oracle["cut"]).str.to_datetime("%Y-%m-%dT%H:%M:%SZ", time_zone="UTC", time_unit="us")
    pairs = events.with_columns(
        pl.col("activity").shift().over("case_id").alias("before"),
        (pl.col("timestamp") >= cut).alias("later"),
    ).drop_nulls("before")
    n = len(ACTIVITIES)
    code = {name: k for k, name in enumerate(ACTIVITIES)}
    counts = np.ones((n, n))
    learn, test = pairs.filter(~pl.col("later")), pairs.filter("later")
    np.add.at(counts, tuple(learn[c].replace_strict(code).to_numpy() for c in ("before", "activity")), 1.0)
    chain = counts / counts.sum(axis=1, keepdims=True)
    rows = tuple(test[c].replace_strict(code).to_numpy() for c in ("before", "activity"))
    assert test.height == oracle["n_events"]
    assert oracle["nll"] < -np.log(chain[rows]).mean() - 0.2


def test_archetypes_differ_in_order(log: tuple[pl.DataFrame, object]) -> None:
    events, truth = log
    steps = events.with_columns(pl.col("activity").shift(-1).over("case_id").alias("then")).join(
        truth.archetypes.select("case_id", "archetype"),
        on="case_id",  # type: ignore[attr-defined]
    )
    share = steps.group_by("archetype", "activity").agg((pl.col("then") == "email_click").mean().alias("p"))
    after_open = {a: p for a, what, p in share.iter_rows() if what == "email_open"}
    assert after_open["click-through evaluator"] > 0.5
    assert after_open["email-triggered visitor, answers fast"] < 0.1
    assert truth.archetypes["archetype"].n_unique() == 7  # type: ignore[attr-defined]


def test_events_keep_their_distance(history: History) -> None:
    case, time, what = history.track.case, history.track.time, history.track.what
    same = case[1:] == case[:-1]
    assert (np.diff(time)[same] >= 2).all()
    opened = np.flatnonzero(what == OPEN)
    sent = np.maximum.accumulate(np.where(what == SENT, np.arange(len(what)), -1))[opened]
    assert (case[sent] == case[opened]).all()
    assert (time[opened] - time[sent] >= 10).all()
    assert time.min() >= 0 and time.max() < SMALL.n_days * DAY


def test_calls_and_emails_keep_office_hours(log: tuple[pl.DataFrame, object]) -> None:
    events, _ = log
    ours = events.filter(pl.col("activity").is_in([ACTIVITIES[a] for a in ACTIONS]))
    assert ours.height > 1000
    assert ours["timestamp"].dt.weekday().max() <= 5
    hours = ours["timestamp"].dt.hour()
    assert hours.min() >= 7 and hours.max() < 17


def test_holdout_and_refusal_are_obeyed(history: History) -> None:
    people, track = history.people, history.track
    waves = track.case[track.wave >= 0]
    assert len(waves) > 1000 and people.holdout.any()
    assert not people.holdout[waves].any()
    assert people.consent[track.case[track.what == SENT]].all()


def test_drift_changes_only_what_comes_after() -> None:
    plain = SimulateSettings(n_cases=150, months=6, seed=1)
    drifted = SimulateSettings(n_cases=150, months=6, seed=1, drift_date="2026-02-01")
    a, b = live(plain).track, live(drifted).track
    split = drifted.drift_s
    before = [(t.case[t.time < split], t.time[t.time < split], t.what[t.time < split]) for t in (a, b)]
    assert all(np.array_equal(x, y) for x, y in zip(*before, strict=True))
    people = draw_population(plain)
    shares = []
    for track in (a, b):
        fast = people.archetype[track.case] == 2
        later = fast & (track.time >= split)
        shares.append((track.what[later] == OPEN).sum() / (track.what[later] == SENT).sum())
    assert shares[1] < 0.8 * shares[0]


@pytest.mark.parametrize("action", [-1, 0, SENT])
def test_effects_agree_with_living_through_them(action: int) -> None:
    """Let the company act once and then stay silent, many times over: the share that responds in 14 days."""
    settings = SimulateSettings(n_cases=1500, months=1, seed=5)
    world, people = build_world(settings), draw_population(settings)
    kind = 2 if action == SENT else 0
    people = people._replace(
        archetype=np.full(1500, kind),
        stage=np.full(1500, 1),
        email=np.ones(1500),
        portal=np.full(1500, 2.0),
        optimum=np.full(1500, 4.0),
        consent=np.zeros(1500, dtype=bool),  # with no calls planned: silent
        calls=np.zeros(1500),
        offset=np.zeros(1500, dtype=np.int64),
        region=np.zeros(1500, dtype=np.int64),
        readiness=np.ones(1500),
    )
    at = 9 * 3600.0 + 3 * DAY
    state, other, bins = new_state(), new_state(), new_bins()
    reset(state, people, 0)
    wanted = action_effect(world, people, 0, state, other, bins, at, action)
    draw = Draw(np.zeros(1), np.zeros(1, dtype=np.int64), np.zeros(1), np.zeros(1))
    answered = 0
    for i in range(1500):
        reset(state, people, i)
        if action >= 0:
            live_through(state, action, at, -1)
        now, seed = at, people.key[i : i + 1].copy()
        while True:
            draw_next(world, people, i, state, bins, now, seed, np.zeros(14), draw)
            if draw.time[0] >= at + 14 * DAY:
                break
            what = int(draw.what[0])
            if what in RESPONSES:
                answered += 1
                break
            live_through(state, what, draw.time[0], -1)
            move_stage(people, i, state, what, draw.time[0] - now, float(i % 97) / 97)
            now = draw.time[0]
    assert answered / 1500 == pytest.approx(wanted, abs=0.045)


def test_hidden_facts_fit_together(log: tuple[pl.DataFrame, object]) -> None:
    events, truth = log
    stages = truth.stages  # type: ignore[attr-defined]
    assert stages["case_id"].n_unique() == SMALL.n_cases
    rank = stages["stage"].replace_strict({s: k for k, s in enumerate(STAGES)})
    step = stages.with_columns(rank.alias("rank")).select(pl.col("rank").diff().over("case_id").alias("d"))
    assert set(step["d"].drop_nulls()) == {-1, 1}
    effects = truth.action_effects  # type: ignore[attr-defined]
    assert effects.height == SMALL.n_cases * SMALL.months * len(ACTIONS)
    inside = pl.col("p_response_14d").is_between(0, 1) & pl.col("p_without_14d").is_between(0, 1)
    assert effects.select(inside.all()).item()
    assert effects.select((pl.col("action_time") >= pl.col("as_of")).all()).item()
    assert effects["effect"].mean() > 0.1
    table = truth.next_probabilities  # type: ignore[attr-defined]
    assert table["activity"].equals(events["activity"])
    assert table.columns[3:] == [f"p_{name}" for name in ACTIVITIES]


def test_hours_of_a_week_average_one() -> None:
    hours = np.tile((7, 5, 5, 7), 7)
    for name in {a.hours for a in ARCHETYPES} | {"company"}:
        assert (week(name) * hours).sum() / 168 == pytest.approx(1.0)


@pytest.mark.parametrize(
    "wrong",
    [
        {"n_cases": 0},
        {"months": 0},
        {"months": 61},
        {"holdout": 1.0},
        {"dirt": -0.1},
        {"seed": -1},
        {"start": "11/01/2025"},
        {"drift_date": "soon"},
    ],
)
def test_wrong_settings_are_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(JobError) as caught:
        SimulateSettings(**wrong)  # type: ignore[arg-type]
    assert caught.value.hint


def test_months_end_where_the_calendar_says() -> None:
    # 31 January + 1 month ends on 28 February: 28 days later; + 2 on 31 March: 59 days later
    settings = SimulateSettings(start="2025-01-31", months=2)
    assert [t // 86_400 for t in settings.month_ends_s] == [28, 59]
    assert SimulateSettings(start="2025-11-01", months=12).n_days == 365
