"""The world an HCP lives in: the calendar of campaigns and events, and the HCPs themselves."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from behavio.simulate.archetypes import (
    ARCHETYPES,
    DAY,
    STAGE_DIGITAL,
    STAGE_START,
    reaction_shares,
    rule_rows,
    week,
)
from behavio.simulate.settings import SimulateSettings
from behavio.simulate.vocabulary import MESSAGES, REGIONS, SPECIALTIES, STAGE_MESSAGES

YEAR = 365.25 * DAY
CYCLE_DAYS = 91
WAVE_EVERY, WAVE_LASTS = 28, 2
TERRITORIES_PER_REGION = 16
CALENDAR_PAD = 420
"""Days of calendar after the end of observation: hazards look ahead past it."""


class World(NamedTuple):
    """Everything that is the same for all HCPs, as arrays the kernel reads."""

    rules: np.ndarray  # float64 (n_rules, 11)
    rule_start: np.ndarray  # int64 (archetypes + 1,)
    week: np.ndarray  # float64 (archetypes, 28)
    company_week: np.ndarray  # float64 (28,)
    first_weekday: int  # 0 Monday
    wave_of_day: np.ndarray  # int64 (days,), -1 without a wave
    event_of_day: np.ndarray  # float64 (regions, days), 1 on average
    message_mass: np.ndarray  # float64 (archetypes, 3)
    reactions: np.ndarray  # float64 (archetypes, stages, categories, 4)
    call_fit: np.ndarray  # float64 (archetypes, 3)
    portal_rate: np.ndarray  # float64 (archetypes,) per second
    event_rate: np.ndarray  # float64 (archetypes,) per second
    stage_digital: np.ndarray  # float64 (stages,)
    drift: np.ndarray  # float64 (archetypes,)
    category: np.ndarray  # int64 (brands, 6)
    stage_messages: np.ndarray  # int64 (stages, 3)
    drift_s: float
    end_s: float


class Population(NamedTuple):
    """The hidden traits of every HCP, one array each."""

    archetype: np.ndarray  # int64
    stage: np.ndarray  # int64, at the start
    email: np.ndarray  # float64, affinity: factor on the hazard of opens and clicks
    portal: np.ndarray  # float64
    event: np.ndarray  # float64
    optimum: np.ndarray  # float64, outbound touches per 28 days this HCP takes without tiring
    consent: np.ndarray  # bool, email may be sent
    asked: np.ndarray  # int64, 0 opt-in, 1 pending, 2 opt-out, 3 never asked
    holdout: np.ndarray  # bool, gets no campaign wave
    calls: np.ndarray  # float64, planned calls per cycle of 91 days
    split: np.ndarray  # float64 (n, 3), share of f2f, video, phone in planned calls
    decile: np.ndarray  # int64, 1–10 potential
    specialty: np.ndarray  # int64
    region: np.ndarray  # int64
    territory: np.ndarray  # int64, over all regions
    offset: np.ndarray  # int64, where the rotation of messages begins
    readiness: np.ndarray  # float64, how easily the stage moves up
    key: np.ndarray  # uint64, the seed of this HCP's own random numbers


def wave_calendar(settings: SimulateSettings, n_days: int) -> np.ndarray:
    """int64 (n_days,): number of the campaign wave going out on each day, -1 without one.

    Waves start on a Tuesday, every four weeks from the second week on, and take two days.
    """
    waves = np.full(n_days, -1, dtype=np.int64)
    first = 7 + (1 - settings.first_day.weekday()) % 7
    for number, start in enumerate(range(first, n_days, WAVE_EVERY)):
        waves[start : start + WAVE_LASTS] = number
    return waves


def event_calendar(settings: SimulateSettings, n_days: int) -> np.ndarray:
    """float64 (regions, n_days): how much more likely an event is on each day, 1 on average.

    Each region holds its events on Wednesday, Thursday and Saturday of every second week.
    """
    days = np.arange(n_days) + settings.first_day.weekday()
    on_day = np.isin(days % 7, (2, 3, 5))
    return np.stack([np.where(on_day & ((days // 7 + r) % 2 == 0), 14 / 3, 0.0) for r in range(len(REGIONS))])


def build_world(settings: SimulateSettings) -> World:
    """The world of these settings."""
    n_days = settings.n_days + CALENDAR_PAD
    rules, starts = rule_rows()
    return World(
        rules=rules,
        rule_start=starts,
        week=np.stack([week(a.hours) for a in ARCHETYPES]),
        company_week=week("company"),
        first_weekday=settings.first_day.weekday(),
        wave_of_day=wave_calendar(settings, n_days),
        event_of_day=event_calendar(settings, n_days),
        message_mass=np.array([a.messages for a in ARCHETYPES]),
        reactions=reaction_shares(),
        call_fit=np.array([a.call_fit for a in ARCHETYPES]),
        portal_rate=np.array([a.portal_a_year / YEAR for a in ARCHETYPES]),
        event_rate=np.array([a.events_a_year / YEAR for a in ARCHETYPES]),
        stage_digital=np.array(STAGE_DIGITAL),
        drift=np.array([a.drift for a in ARCHETYPES]),
        category=np.array([[category for _, category in brand] for brand in MESSAGES], dtype=np.int64),
        stage_messages=np.array(STAGE_MESSAGES, dtype=np.int64),
        drift_s=settings.drift_s,
        end_s=settings.n_days * DAY,
    )


def draw_population(settings: SimulateSettings) -> Population:
    """Draw the HCPs. Attributes lean only mildly towards an archetype."""
    rng = np.random.default_rng([settings.seed, 1])
    n = settings.n_cases
    weights = np.array([a.weight for a in ARCHETYPES])
    archetype = rng.choice(len(ARCHETYPES), n, p=weights / weights.sum()).astype(np.int64)
    decile = rng.integers(1, 11, n)
    leaning = (archetype % len(SPECIALTIES)).astype(np.int64)
    specialty = np.where(rng.random(n) < 0.2, leaning, rng.choice(5, n, p=(0.3, 0.2, 0.25, 0.1, 0.15)))
    region = rng.integers(0, len(REGIONS), n)
    calls = np.select([decile <= 3, decile <= 6, decile <= 8], [1.0, 2.0, 3.0], 4.0)
    split = np.array((0.7, 0.15, 0.15)) * rng.lognormal(0, 0.35, (n, 3))
    agreed = rng.random(n) < np.array([a.opt_in for a in ARCHETYPES])[archetype]
    asked = np.where(agreed, 0, rng.choice((1, 2, 3), n, p=(0.3, 0.45, 0.25)))
    optimum = np.array([a.optimum for a in ARCHETYPES])[archetype] * rng.lognormal(0, 0.2, n)
    return Population(
        archetype=archetype,
        stage=rng.choice(len(STAGE_START), n, p=STAGE_START).astype(np.int64),
        email=rng.lognormal(0, 0.22, n),
        portal=rng.lognormal(0, 0.22, n),
        event=rng.lognormal(0, 0.22, n),
        optimum=np.round(optimum, 2),
        consent=asked == 0,
        asked=asked.astype(np.int64),
        holdout=rng.random(n) < settings.holdout,
        calls=calls,
        split=split / split.sum(axis=1, keepdims=True),
        decile=decile.astype(np.int64),
        specialty=specialty.astype(np.int64),
        region=region.astype(np.int64),
        territory=(region * TERRITORIES_PER_REGION + rng.integers(0, TERRITORIES_PER_REGION, n)).astype(
            np.int64
        ),
        offset=rng.integers(0, 3, n).astype(np.int64),
        readiness=rng.lognormal(0, 0.3, n),
        key=rng.integers(0, 2**63, n, dtype=np.uint64),
    )
