"""Does the same person answer less when contacted more? Estimates that compare a person with herself only.

Counts of answers are Poisson with a free level for every stratum (a person in one channel), so that people
who answer much and are contacted much for it say nothing about pressure (fixed-effects Poisson: Hausman,
Hall & Griliches 1984). Given a stratum's number of answers they fall on its contacts like a multinomial with
weights exp(g), which is all that is used here.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

RIDGE = 1.0
ROUNDS = 25
FALLS = np.array((0.05, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.7, 1.0))
"""Falls of the log rate per contact beyond the optimum that are tried."""
STEP = 0.5
"""Optima that are tried lie so many contacts apart."""
DRAWS = 200
"""Bootstrap draws of whole cases."""


@dataclass(frozen=True, slots=True, eq=False)
class Contacts:
    """Contacts of one group of cases.

    case, stratum   int64 (n,) numbered from 0
    owner           int64 (strata,) the case of each stratum
    level           float64 (n,) contacts in the window
    answered        float64 (n,) 0 or 1
    given           float64 (n, k) what else may explain an answer
    """

    case: np.ndarray
    stratum: np.ndarray
    owner: np.ndarray
    level: np.ndarray
    answered: np.ndarray
    given: np.ndarray

    @property
    def n_cases(self) -> int:
        """Number of cases."""
        return int(self.owner.max()) + 1 if len(self.owner) else 0


def explained(c: Contacts, most: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Log effect of everything but pressure per contact (n,), and of each level: value and standard error.

    Levels 0 and 1 are the base (0, 0); levels above `most` count as `most`. Newton steps on the conditional
    likelihood with a small ridge.
    """
    level = np.minimum(c.level.astype(np.int64), most)
    steps = np.eye(most + 1)[level][:, 2:]
    x = np.hstack([c.given, steps])
    beta, inverse = _fitted(x, c)
    k = c.given.shape[1]
    value, error = np.zeros(most + 1), np.zeros(most + 1)
    value[2:] = beta[k:]
    error[2:] = np.sqrt(np.maximum(np.diag(inverse)[k:], 0))
    return x[:, :k] @ beta[:k], value, error


def _fitted(x: np.ndarray, c: Contacts) -> tuple[np.ndarray, np.ndarray]:
    """Coefficients and the inverse of the information."""
    n = len(c.owner)
    total = np.bincount(c.stratum, c.answered, minlength=n)
    beta = np.zeros(x.shape[1])
    inverse = np.eye(x.shape[1]) / RIDGE
    for _ in range(ROUNDS):
        weight = np.exp(np.clip(x @ beta, -30, 30))
        mean = weight * (total / np.bincount(c.stratum, weight, minlength=n))[c.stratum]
        whole = np.maximum(np.bincount(c.stratum, mean, minlength=n), 1e-12)
        centre = np.stack(
            [np.bincount(c.stratum, mean * column, minlength=n) / whole for column in x.T], axis=1
        )
        apart = x - centre[c.stratum]
        information = (apart * mean[:, None]).T @ apart + RIDGE * np.eye(x.shape[1])
        inverse = np.linalg.inv(information)
        step = inverse @ (apart.T @ (c.answered - mean) - RIDGE * beta)
        beta += step
        if np.abs(step).max(initial=0) < 1e-6:
            break
    return beta, inverse


@dataclass(frozen=True, slots=True)
class Hinge:
    """Answers hold up to `optimum` contacts and fall by `fall` (log rate) with each one beyond.

    gain is twice the log likelihood gained over no fall at all; low and high are the 90 % bootstrap interval.
    """

    optimum: float
    fall: float
    gain: float
    low: float
    high: float


def hinge(c: Contacts, offset: np.ndarray, seed: int) -> Hinge:
    """The hinge that explains the answers best, with a bootstrap over cases."""
    optima = np.arange(0, max(c.level.max(initial=1), 1), STEP)
    per_case = np.zeros((c.n_cases, len(optima) * len(FALLS)))
    flat = _likelihood(c, offset)
    column = 0
    for optimum in optima:
        beyond = np.maximum(0, c.level - optimum)
        for fall in FALLS:
            gained = _likelihood(c, offset - fall * beyond) - flat
            per_case[:, column] = np.bincount(c.owner, gained, minlength=c.n_cases)
            column += 1
    whole = per_case.sum(axis=0)
    best = int(whole.argmax())
    rng = np.random.default_rng(seed)
    drawn = [
        np.bincount(rng.integers(0, c.n_cases, c.n_cases), minlength=c.n_cases) @ per_case
        for _ in range(DRAWS)
    ]
    low, high = np.quantile(optima[np.argmax(drawn, axis=1) // len(FALLS)], (0.05, 0.95))
    low, high = max(low - STEP / 2, 0.0), high + STEP / 2  # optima between two that were tried
    return Hinge(
        float(optima[best // len(FALLS)]),
        float(FALLS[best % len(FALLS)]),
        max(float(2 * whole[best]), 0.0),
        float(low),
        float(high),
    )


def _likelihood(c: Contacts, g: np.ndarray) -> np.ndarray:
    """Conditional log likelihood of every stratum."""
    n = len(c.owner)
    total = np.bincount(c.stratum, c.answered, minlength=n)
    spread = np.bincount(c.stratum, np.exp(np.clip(g, -30, 30)), minlength=n)
    return np.asarray(np.bincount(c.stratum, c.answered * g, minlength=n) - total * np.log(spread))
