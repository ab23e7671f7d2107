"""How HCPs react: rules "after this, that becomes likely", one set for each archetype.

A rule adds to the hazard of `then` a bump that starts `onset` seconds after the last `after` and fades with
time constant `scale`; `mass` is its whole area, so on its own it fires with probability 1 − exp(−mass).
Outside sessions the bump is shaped by the hours of the week the archetype is awake for us, so the area is
larger on good hours and smaller on bad ones.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from behavio.simulate.vocabulary import (
    ALWAYS,
    CALL,
    CLICK,
    DOWNLOAD,
    EVENT,
    F2F,
    NEGATIVE,
    OPEN,
    OUTBOUND,
    PHONE,
    POSITIVE,
    SENT,
    UNSUBSCRIBE,
    VIDEO,
    VISIT,
)

MINUTE, HOUR, DAY = 60.0, 3_600.0, 86_400.0
NEVER_ENDS = 400 * DAY
N_PARTS = 28
"""A week in parts: seven days (Monday first) of night, morning, afternoon, evening."""
PART_HOURS = (7, 5, 5, 7)
"""Hours of the four parts: 0–7, 7–12, 12–17, 17–24 UTC."""


@dataclass(frozen=True, slots=True)
class Rule:
    """After `after`, `then` becomes likely.

    mass    expected number of `then`, before modifiers
    scale   seconds in which the bump fades by 1/e
    onset   seconds after `after` before anything can happen
    until   seconds after `after` when it is over for good
    given   another activity that must lie before `after`, at most `within` seconds (negative: must not)
    again   factor once `then` has happened since `after`
    now     part of a running session: the hour of the week plays no part
    """

    after: int
    then: int
    mass: float
    scale: float
    onset: float = 30.0
    until: float = NEVER_ENDS
    given: int = -1
    within: float = 0.0
    again: float = 0.1
    now: bool = False

    def row(self) -> list[float]:
        """The rule as numbers, in the order the kernel reads them."""
        outbound = float(self.then in OUTBOUND)
        return [
            *(float(self.after), float(self.then), self.mass, self.scale, self.onset, self.until),
            *(float(self.given), self.within, self.again, float(self.now), outbound),
        ]


@dataclass(frozen=True, slots=True)
class Archetype:
    """One way to behave: rules, hours, what a call brings, what drift does."""

    name: str
    weight: float
    rules: tuple[Rule, ...]
    hours: str = "office"  # office | mixed | weekend | evening
    portal_a_year: float = 0.6
    events_a_year: float = 0.4
    messages: tuple[float, float, float] = (2.0, 0.5, 0.15)
    reactions: tuple[float, float, float, float] = (0.35, 0.3, 0.12, 0.23)
    liked: tuple[float, float, float, float, float] = (1.0, 1.0, 1.0, 1.0, 1.0)
    call_fit: tuple[float, float, float] = (1.0, 0.8, 0.6)
    optimum: float = 4.0
    opt_in: float = 0.9
    drift: float = 1.0


def company_rules() -> tuple[Rule, ...]:
    """What the company does after a contact, and what every HCP may do: the same for all archetypes."""
    return (
        Rule(CALL, SENT, 0.30, 0.7 * DAY, onset=HOUR, until=6 * DAY),
        Rule(VISIT, SENT, 0.12, 1.2 * DAY, onset=2 * HOUR, until=6 * DAY),
        Rule(SENT, UNSUBSCRIBE, 0.003, DAY, onset=60.0, until=10 * DAY, again=0.0),
    )


def session(then: int, mass: float, scale: float, after: int, **more: float) -> Rule:
    """A step inside a running session."""
    return Rule(after, then, mass, scale, until=30 * MINUTE, now=True, onset=5.0, **more)  # type: ignore[arg-type]


ARCHETYPES = (
    Archetype(
        "rep opens the door, then digital",
        0.17,
        (
            Rule(POSITIVE, VISIT, 1.5, 1.0 * DAY, onset=HOUR, until=8 * DAY),
            session(DOWNLOAD, 0.9, 4 * MINUTE, VISIT, given=POSITIVE, within=5 * DAY),
            Rule(SENT, OPEN, 1.6, 7 * HOUR, given=CALL, within=8 * DAY),
            Rule(SENT, OPEN, 0.15, 1.5 * DAY, given=CALL, within=-8 * DAY),
            session(CLICK, 0.4, 2 * MINUTE, OPEN),
            Rule(VISIT, VISIT, 0.35, 1.5 * DAY, onset=HOUR, given=POSITIVE, within=5 * DAY),
        ),
        reactions=(0.5, 0.22, 0.08, 0.2),
        liked=(1.3, 0.8, 1.0, 1.2, 0.8),
        call_fit=(1.0, 0.7, 0.5),
    ),
    Archetype(
        "digital first, portal explorer",
        0.16,
        (
            Rule(VISIT, VISIT, 0.7, 1.2 * DAY, onset=HOUR, until=8 * DAY),
            session(DOWNLOAD, 0.55, 8 * MINUTE, VISIT),
            session(DOWNLOAD, 0.35, 3 * MINUTE, DOWNLOAD),
            Rule(SENT, VISIT, 0.45, 8 * HOUR, onset=10 * MINUTE),
            Rule(SENT, OPEN, 0.2, 1.5 * DAY),
            session(CLICK, 0.15, 3 * MINUTE, OPEN),
        ),
        hours="evening",
        portal_a_year=5.0,
        messages=(1.4, 0.25, 0.05),
        reactions=(0.14, 0.36, 0.15, 0.35),
        liked=(1.2, 1.0, 0.8, 0.9, 1.1),
        call_fit=(0.6, 1.0, 0.8),
        optimum=3.0,
        drift=1.5,
    ),
    Archetype(
        "email-triggered visitor, answers fast",
        0.17,
        (
            Rule(SENT, OPEN, 2.4, 35 * MINUTE, now=True, until=3 * DAY),
            Rule(SENT, CLICK, 0.06, HOUR, now=True, until=DAY),
            session(VISIT, 1.2, 4 * MINUTE, OPEN),
            session(DOWNLOAD, 0.15, 5 * MINUTE, VISIT),
            Rule(VISIT, VISIT, 0.2, 10 * HOUR, onset=HOUR, given=OPEN, within=HOUR),
            Rule(CALL, VISIT, 0.3, 1.5 * HOUR, onset=10 * MINUTE, until=DAY),
        ),
        messages=(1.6, 0.25, 0.05),
        opt_in=0.95,
        reactions=(0.22, 0.3, 0.1, 0.38),
        liked=(0.9, 1.2, 1.2, 0.9, 0.9),
        call_fit=(0.7, 0.9, 1.0),
        optimum=5.0,
        drift=0.45,
    ),
    Archetype(
        "slow weekend reader",
        0.13,
        (
            Rule(SENT, OPEN, 2.2, 5 * DAY, onset=6 * HOUR, until=30 * DAY, again=0.3),
            session(CLICK, 0.9, 6 * MINUTE, OPEN),
            Rule(CLICK, VISIT, 0.5, 1.5 * DAY, onset=10 * MINUTE, until=9 * DAY),
            session(DOWNLOAD, 0.3, 10 * MINUTE, VISIT, given=CLICK, within=9 * DAY),
            Rule(CALL, VISIT, 0.3, 4 * DAY, onset=6 * HOUR, until=20 * DAY),
        ),
        hours="weekend",
        portal_a_year=0.8,
        opt_in=0.95,
        reactions=(0.2, 0.52, 0.06, 0.22),
        liked=(1.1, 1.2, 0.8, 1.1, 0.9),
        call_fit=(0.9, 0.6, 0.8),
        optimum=2.5,
    ),
    Archetype(
        "event and peer learner",
        0.12,
        (
            Rule(EVENT, VISIT, 1.5, 1.5 * DAY, onset=3 * HOUR, until=14 * DAY),
            Rule(CALL, EVENT, 0.35, 9 * DAY, onset=DAY, until=45 * DAY),
            Rule(EVENT, EVENT, 0.6, 18 * DAY, onset=3 * DAY, until=70 * DAY),
            Rule(SENT, OPEN, 1.3, 16 * HOUR, given=EVENT, within=30 * DAY),
            Rule(SENT, OPEN, 0.2, 1.5 * DAY, given=EVENT, within=-30 * DAY),
            session(DOWNLOAD, 1.1, 5 * MINUTE, VISIT, given=EVENT, within=14 * DAY),
            Rule(EVENT, VIDEO, 0.45, 3 * DAY, onset=DAY, until=14 * DAY),
        ),
        hours="mixed",
        events_a_year=5.5,
        reactions=(0.3, 0.35, 0.08, 0.27),
        liked=(1.0, 0.9, 0.8, 1.6, 0.8),
        call_fit=(1.0, 0.9, 0.5),
    ),
    Archetype(
        "visit-only, ignores email",
        0.13,
        (
            Rule(SENT, OPEN, 0.06, DAY),
            Rule(POSITIVE, PHONE, 0.45, 3.5 * DAY, onset=12 * HOUR, until=16 * DAY),
            Rule(CALL, F2F, 0.30, 10 * DAY, onset=4 * DAY, until=40 * DAY, again=1.0),
        ),
        portal_a_year=0.15,
        opt_in=0.7,
        messages=(3.0, 1.5, 0.8),
        reactions=(0.48, 0.24, 0.16, 0.12),
        liked=(1.1, 0.8, 1.2, 1.0, 1.2),
        call_fit=(1.0, 0.4, 0.6),
        optimum=4.5,
    ),
    Archetype(
        "click-through evaluator",
        0.12,
        (
            Rule(SENT, OPEN, 1.5, 5 * HOUR, until=8 * DAY),
            session(CLICK, 1.7, 2 * MINUTE, OPEN),
            session(VISIT, 1.3, 40.0, CLICK),
            session(DOWNLOAD, 1.7, 4 * MINUTE, VISIT, given=CLICK, within=30 * MINUTE),
            Rule(DOWNLOAD, PHONE, 0.6, 1.5 * DAY, onset=2 * HOUR, given=CLICK, within=HOUR),
            Rule(NEGATIVE, PHONE, 0.4, 1.5 * DAY, onset=2 * HOUR, until=8 * DAY),
        ),
        opt_in=0.95,
        reactions=(0.18, 0.24, 0.4, 0.18),
        liked=(1.2, 1.4, 0.9, 0.6, 0.8),
        call_fit=(0.7, 0.7, 1.0),
        optimum=4.0,
    ),
)

STAGE_DIGITAL = (0.75, 0.9, 1.0, 1.1, 1.15)
"""Digital responsiveness at each adoption stage."""
STAGE_POSITIVE = (0.7, 0.9, 1.1, 1.25, 1.35)
"""Weight of a positive reaction at each adoption stage."""
STAGE_START = (0.28, 0.3, 0.22, 0.12, 0.08)

HOURS: dict[str, tuple[tuple[float, ...], tuple[float, ...]]] = {
    "office": ((0.1, 1.6, 1.5, 0.6), (0.05, 0.25, 0.25, 0.3)),
    "evening": ((0.15, 0.6, 0.8, 2.2), (0.1, 0.7, 0.8, 1.0)),
    "weekend": ((0.02, 0.12, 0.15, 0.3), (0.2, 4.0, 3.5, 3.0)),
    "mixed": ((0.1, 1.2, 1.2, 1.2), (0.1, 1.0, 1.0, 0.9)),
    "company": ((0.0, 1.6, 1.3, 0.0), (0.0, 0.0, 0.0, 0.0)),
}
"""Weekday and weekend weights of night, morning, afternoon and evening."""


def week(name: str) -> np.ndarray:
    """float64 (28,): hourly rates over the parts of a week, 1 on average over the hours."""
    weekday, weekend = HOURS[name]
    rates = np.array([weekday] * 5 + [weekend] * 2).ravel()
    hours = np.tile(PART_HOURS, 7)
    return np.asarray(rates * hours.sum() / (rates * hours).sum(), dtype=np.float64)


def reaction_shares() -> np.ndarray:
    """float64 (archetypes, stages, categories, 4): positive, neutral, negative, none recorded."""
    shape = (len(ARCHETYPES), len(STAGE_POSITIVE), 5, 4)
    shares = np.empty(shape)
    for a, kind in enumerate(ARCHETYPES):
        for s, lift in enumerate(STAGE_POSITIVE):
            for c, taste in enumerate(kind.liked):
                factors = np.array([lift * taste, 1.0, 1.0 / taste, 1.0])
                weights = np.array(kind.reactions) * factors
                shares[a, s, c] = weights / weights.sum()
    return shares


def rule_rows() -> tuple[np.ndarray, np.ndarray]:
    """All rules as float64 (n_rules, 11), and int64 (archetypes + 1,) where each archetype's begin."""
    rows: list[list[float]] = []
    starts = [0]
    for kind in ARCHETYPES:
        rows += [r.row() for r in (*kind.rules, *company_rules())]
        starts.append(len(rows))
    if any(r[0] == ALWAYS for r in rows):
        raise AssertionError("base rates are no rules")
    return np.array(rows), np.array(starts, dtype=np.int64)
