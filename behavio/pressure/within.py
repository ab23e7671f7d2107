"""Does the same person answer less when contacted more? Estimates that compare a person with herself only.

A contact is answered with a hazard over the time after it: its shape is that of its channel, its level is
free for every stratum (a person in one channel), so that people who answer much and are contacted much for
it say nothing about pressure. Pressure and what else may explain an answer multiply the hazard. First answers
are counted against the time at risk: where nearly everything is answered, the share answered hardly falls
although the hazard does. Given a stratum's number of answers they fall on its contacts like a multinomial
with weights exposure · exp(g) (fixed-effects Poisson: Hausman, Hall & Griliches 1984): all that is used here.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

RIDGE = 1.0
ROUNDS = 25
FALLS = np.array((0.05, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.7, 1.0))
"""Falls of the log hazard per contact beyond the optimum that are tried."""
STEP = 0.25
"""Optima that are tried lie so many contacts apart."""
SPREAD = 0.35
"""How far the falls of groups usually lie apart (standard deviation of their logarithm)."""
DRAWS = 200
"""Bootstrap draws of whole cases."""
BAND = (0.025, 0.975)
"""Quantiles of the bootstrap that bound the band: 95 %."""


@dataclass(frozen=True, slots=True, eq=False)
class Contacts:
    """Contacts of one group of cases.

    case, stratum   int64 (n,) numbered from 0
    owner           int64 (strata,) the case of each stratum
    level           float64 (n,) contacts in the window
    answered        float64 (n,) 0 or 1
    given           float64 (n, k) what else may explain an answer
    exposure        float64 (n,) how much of its channel's time to answer a contact was waiting for, > 0
    """

    case: np.ndarray
    stratum: np.ndarray
    owner: np.ndarray
    level: np.ndarray
    answered: np.ndarray
    given: np.ndarray
    exposure: np.ndarray

    @property
    def n_cases(self) -> int:
        """Number of cases."""
        return int(self.owner.max()) + 1 if len(self.owner) else 0


@dataclass(frozen=True, slots=True, eq=False)
class Explained:
    """What explains answers: coefficients of what is given, then of the levels from 2 on.

    offset     float64 (n,) log effect of everything but pressure
    value      float64 (most + 1,) log effect of each level; levels 0 and 1 are the base
    error      float64 (most + 1,) standard errors, cases as units
    moves      float64 (cases, k) how far the coefficients of what is given move when a case counts once more
    """

    offset: np.ndarray
    value: np.ndarray
    error: np.ndarray
    moves: np.ndarray


def explained(c: Contacts, most: int) -> Explained:
    """Newton steps on the conditional likelihood with a small ridge; levels above `most` count as `most`."""
    level = np.minimum(c.level.astype(np.int64), most)
    steps = np.eye(most + 1)[level][:, 2:]
    x = np.hstack([c.given, steps])
    beta, inverse, residual, centred = _fitted(x, c)
    k = c.given.shape[1]
    rows = centred * residual[:, None]
    own = c.owner[c.stratum]
    per_case = np.stack([np.bincount(own, column, minlength=c.n_cases) for column in rows.T], axis=1)
    moves = per_case @ inverse
    value, error = np.zeros(most + 1), np.zeros(most + 1)
    value[2:] = beta[k:]
    error[2:] = np.sqrt((moves[:, k:] ** 2).sum(axis=0))
    return Explained(x[:, :k] @ beta[:k], value, error, moves[:, :k])


def _fitted(x: np.ndarray, c: Contacts) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Coefficients, inverse of the information, residuals (n,), and x centred in its stratum."""
    n = len(c.owner)
    total = np.bincount(c.stratum, c.answered, minlength=n)
    beta = np.zeros(x.shape[1])
    inverse = np.eye(x.shape[1]) / RIDGE
    residual, apart = c.answered, x
    for _ in range(ROUNDS):
        weight = c.exposure * np.exp(np.clip(x @ beta, -30, 30))
        mean = weight * (total / np.bincount(c.stratum, weight, minlength=n))[c.stratum]
        whole = np.maximum(np.bincount(c.stratum, mean, minlength=n), 1e-12)
        centre = np.stack(
            [np.bincount(c.stratum, mean * column, minlength=n) / whole for column in x.T], axis=1
        )
        apart = x - centre[c.stratum]
        residual = c.answered - mean
        information = (apart * mean[:, None]).T @ apart + RIDGE * np.eye(x.shape[1])
        inverse = np.linalg.inv(information)
        step = inverse @ (apart.T @ residual - RIDGE * beta)
        beta += step
        if np.abs(step).max(initial=0) < 1e-6:
            break
    return beta, inverse, residual, apart


@dataclass(frozen=True, slots=True)
class Hinge:
    """Answers hold up to `optimum` contacts and fall by `fall` (log hazard) with each one beyond.

    gain is twice the log likelihood gained over no fall at all; low and high are the 95 % interval by a
    bootstrap over cases, what else explains answers drawn anew with them.
    """

    optimum: float
    fall: float
    gain: float
    low: float
    high: float


def hinge(c: Contacts, known: Explained, seed: int, usual: float | None = None) -> Hinge:
    """The hinge that explains the answers best, with a bootstrap over cases.

    With `usual`, the fall over all groups, that of a group is taken to lie near it (a log-normal prior with a
    spread of SPREAD): how fast answers fall and where they begin to are hard to tell apart in a small group.
    """
    top = int(c.level.max(initial=1))
    optima = np.arange(0, max(top, 1), STEP)
    beyond = np.maximum(0, np.arange(top + 1)[:, None] - optima[None, :])
    # (levels, optima · falls): every level under every hinge that is tried
    fallen = (beyond[:, :, None] * FALLS).reshape(top + 1, -1)
    n = len(c.owner)
    level = c.level.astype(np.int64)
    place = c.stratum * (top + 1) + level
    total = np.bincount(c.stratum, c.answered, minlength=n)
    won = np.bincount(place, c.answered, minlength=n * (top + 1)).reshape(n, -1)
    lost, decay = won @ fallen, np.exp(-fallen)

    def gained(offset: np.ndarray) -> np.ndarray:
        weight = c.exposure * np.exp(np.clip(offset, -30, 30))
        mass = np.bincount(place, weight, minlength=n * (top + 1)).reshape(n, -1)
        spread = np.log(mass @ decay) - np.log(mass.sum(axis=1))[:, None]
        return -lost - total[:, None] * spread

    prior = np.zeros(len(FALLS)) if usual is None else -((np.log(FALLS / usual) / SPREAD) ** 2) / 2
    prior = np.tile(prior, len(optima))
    whole = gained(known.offset).sum(axis=0)
    best = int((whole + prior).argmax())
    rng = np.random.default_rng(seed)
    drawn = np.empty(DRAWS, np.int64)
    for k in range(DRAWS):
        times = np.bincount(rng.integers(0, c.n_cases, c.n_cases), minlength=c.n_cases).astype(float)
        moved = known.offset + c.given @ ((times - 1) @ known.moves)
        drawn[k] = int((times[c.owner] @ gained(moved) + prior).argmax())
    low, high = np.quantile(optima[drawn // len(FALLS)], BAND)
    return Hinge(
        float(optima[best // len(FALLS)]),
        float(FALLS[best % len(FALLS)]),
        max(float(2 * whole[best]), 0.0),
        float(low),
        float(high),
    )
