"""Does the same person answer less when contacted more? Estimates that compare a person with herself only.

Every answer falls at a moment of its person's time at risk. Given how many answers of a kind she gave, they
fall on her time like a multinomial with weights time · exp(what explains answers) (fixed-effects Poisson:
Hausman, Hall & Griliches 1984; in medicine the self-controlled case series of Farrington 1995), so people who
answer much and are contacted much for it say nothing about pressure.

People of a group differ in how much they take. Each has an optimum of her own, log-normal around that of
the group, which is marginalised (nine nodes of Gauss and Hermite): one sharp bend for all would be put where
the first of them tire, below the optimum of the group. The interval holds every optimum that the likelihood
ratio does not refuse at 5 %, all else fitted anew under it: quantiles of bootstrapped optima sit on few
values where the log likelihood bends, and promised too much.

Rates over time are judged. Where several contacts wait for an answer at once and each may still get one, more
of them bring more answers, and the optimum is where that is no longer made up for.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from behavio.kernels.conditional import by_level, information, residuals, weights
from behavio.pressure.risk import LEAST, Pieces

RIDGE = 1.0
ROUNDS = 30
FALLS = np.array((0.05, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.7, 1.0))
"""Falls of the log hazard per contact beyond the optimum that are tried."""
STEP, OPTIMA = 0.25, 60
"""Optima that are tried lie so many contacts apart, further where there would be more than OPTIMA."""
LOWEST = 0.5
"""The lowest optimum that is tried; where it is not refused the band begins at none."""
APART = 0.2
"""How far the optima of people lie apart (standard deviation of their logarithm): about a fifth. It cannot be
learned beside the optimum, for whatever else people differ in looks like it."""
SPREAD = 0.5
"""How far the fall of a group may lie from what other groups say (standard deviation of its logarithm): falls
differ by about a third, and what the others say is an estimate too."""
REFUSED = 3.84
"""Twice the log likelihood an optimum may lose: χ² with one degree of freedom, 5 %."""
_NODES, _MASS = np.polynomial.hermite_e.hermegauss(9)
_MASS = _MASS / _MASS.sum()


@dataclass(frozen=True, slots=True, eq=False)
class Explained:
    """What explains answers: coefficients (k,) without those of levels, and their covariance (k, k).

    clumps        how much more effects of levels vary between cases than with independent answers, >= 1

    value, error  float64 (levels,) log effect of each level against LEAST contacts, and standard errors
                  with cases as units; 0 below
    """

    beta: np.ndarray
    covariance: np.ndarray
    value: np.ndarray
    error: np.ndarray
    clumps: float


def explained(p: Pieces) -> Explained:
    """Newton steps on the conditional likelihood with a small ridge."""
    beta = np.zeros(p.n_codes)
    inverse = np.eye(p.n_codes) / RIDGE
    rows = np.zeros((len(p.owner), p.n_codes))
    total = by_level(p.starts, p.level, p.answered, p.n_codes).sum(axis=1)
    for _ in range(ROUNDS):
        weight = weights(p.codes, p.width, beta)
        rate = total / np.add.reduceat(weight, p.starts[:-1])
        expected = np.repeat(rate[:, None], int(p.level.max()) + 1, axis=1)
        rows = residuals(p.starts, p.codes, weight, p.answered, p.level, expected, p.n_codes)
        inverse = np.linalg.inv(
            information(p.starts, p.codes, weight, p.answered, p.n_codes) + RIDGE * np.eye(p.n_codes)
        )
        step = inverse @ (rows.sum(axis=0) - RIDGE * beta)
        largest = np.abs(step).max(initial=0.0)
        if largest < 1e-4:
            break
        beta += step * min(1.0, 2.0 / largest)
    n_levels = int(p.level.max()) + 1
    k = p.n_codes - n_levels
    base = k + LEAST
    per_case = np.add.reduceat(rows, np.flatnonzero(np.diff(p.owner, prepend=-1)), axis=0)
    against = inverse[:, k:] - inverse[:, [base]]
    varied = ((per_case @ against) ** 2).sum(axis=0)
    value, error = beta[k:] - beta[base], np.sqrt(varied)
    value[:LEAST], error[:LEAST] = 0.0, 0.0
    # each level by what is known of it
    promised = (np.diag(against[k:]) - against[base])[LEAST + 1 :]
    sure = 1 / promised
    clumps = float((varied[LEAST + 1 :] / promised * sure).sum() / sure.sum()) if len(promised) else 1.0
    return Explained(beta[:k], _given_levels(inverse, k), value, error, max(clumps, 1.0))


def _given_levels(inverse: np.ndarray, k: int) -> np.ndarray:
    """Covariance of the first k coefficients where the others are held fixed."""
    across = inverse[:k, k:]
    return np.asarray(inverse[:k, :k] - across @ np.linalg.solve(inverse[k:, k:], across.T))


@dataclass(frozen=True, slots=True, eq=False)
class Profile:
    """Log likelihood of every optimum and fall, all else fitted anew: optima (m,), told (m, falls).

    none is that without any fall. Where answers of a person clump, log likelihoods promise too much: all are
    divided by how much (Rotnitzky & Jewell 1990).
    """

    optima: np.ndarray
    told: np.ndarray
    none: float


@dataclass(frozen=True, slots=True, eq=False)
class _Rows:
    """What is the same under every hinge: codes without levels, answers by code and by level."""

    codes: np.ndarray
    chosen: np.ndarray
    won: np.ndarray
    total: np.ndarray


@dataclass(frozen=True, slots=True)
class Hinge:
    """Answers hold up to `optimum` contacts and fall by `fall` (log hazard) with each one beyond.

    gain is twice the log likelihood gained over no fall at all; low and high bound the 95 % interval.
    """

    optimum: float
    fall: float
    gain: float
    low: float
    high: float


def profile(p: Pieces, known: Explained) -> Profile:
    """The log likelihood under every hinge: what explains answers takes one step anew under each optimum."""
    top = int(p.level.max())
    step = max(STEP, np.ceil((top - LOWEST) / OPTIMA / STEP) * STEP)
    optima = np.arange(LOWEST, max(top, LEAST) + step / 2, step)
    codes = np.ascontiguousarray(p.codes[:, :-1])
    answers = p.answered > 0
    chosen = np.bincount(codes[answers].ravel(), minlength=len(known.beta)).astype(np.float64)
    won = by_level(p.starts, p.level, p.answered, top + 1)
    fixed = _Rows(codes, chosen, won, won.sum(axis=1))
    told = np.empty((len(optima), len(FALLS)))
    beta = known.beta
    for k, optimum in enumerate(optima):
        beta, told[k] = _refitted(p, fixed, known, beta, float(optimum))
    none = float(_refitted(p, fixed, known, known.beta, None)[1].max())
    return Profile(optima, told / known.clumps, none / known.clumps)


def hinge(found: Profile, usual: float | None = None) -> Hinge:
    """The hinge that explains answers best and the optima that are not refused.

    With `usual`, the fall in other groups, that of this one is taken to lie near it (a log-normal prior with
    a spread of SPREAD): in a small group a late steep fall looks like an early slow one.
    """
    prior = np.zeros(len(FALLS)) if usual is None else -((np.log(FALLS / usual) / SPREAD) ** 2) / 2
    held = found.told + prior
    best, fall = np.unravel_index(int(held.argmax()), held.shape)
    lost = 2 * (held.max() - held.max(axis=1))
    low = _crossing(found.optima[: best + 1][::-1], lost[: best + 1][::-1])
    high = _crossing(found.optima[best:], lost[best:])
    return Hinge(
        float(found.optima[best]),
        float(FALLS[fall]),
        max(float(2 * (found.told[best, fall] - found.none)), 0.0),
        0.0 if low <= found.optima[0] else low,
        high,
    )


def _crossing(optima: np.ndarray, lost: np.ndarray) -> float:
    """The furthest optimum not refused, between two that are tried on a straight line."""
    last = int(np.flatnonzero(lost <= REFUSED)[-1])
    if last + 1 == len(optima):
        return float(optima[last])
    share = (REFUSED - lost[last]) / (lost[last + 1] - lost[last])
    return float(optima[last] + share * (optima[last + 1] - optima[last]))


def _refitted(
    p: Pieces, fixed: _Rows, known: Explained, beta: np.ndarray, optimum: float | None
) -> tuple[np.ndarray, np.ndarray]:
    """Coefficients after one step under this optimum (None: no fall), and the log likelihood of each fall."""
    weight, mass, told, expected = _likely(p, fixed, beta, optimum)
    rows = residuals(p.starts, fixed.codes, weight, p.answered, p.level, expected, len(beta))
    beta = beta + known.covariance @ (rows.sum(axis=0) - RIDGE * beta)
    _, mass, told, _ = _likely(p, fixed, beta, optimum)
    plain = fixed.chosen @ beta - (fixed.total * np.log(mass.sum(axis=1))).sum() - RIDGE * (beta @ beta) / 2
    return beta, plain + told


def _likely(
    p: Pieces, fixed: _Rows, beta: np.ndarray, optimum: float | None
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Weights of rows, their sums by level, log likelihood gained by falls, answers expected per weight."""
    weight = weights(fixed.codes, p.width, beta)
    mass = by_level(p.starts, p.level, weight, fixed.won.shape[1])
    if optimum is None:
        rate = fixed.total / mass.sum(axis=1)
        return weight, mass, np.zeros(1), np.repeat(rate[:, None], mass.shape[1], axis=1)
    return weight, mass, *_marginal(p.owner, mass, fixed.won, optimum)


def _marginal(
    owner: np.ndarray, mass: np.ndarray, won: np.ndarray, optimum: float
) -> tuple[np.ndarray, np.ndarray]:
    """Log likelihood gained by falls (falls,), answers expected per weight under the best (strata, levels).

    mass, won   float64 (strata, levels) weights and answers
    """
    levels, total = np.arange(mass.shape[1]), won.sum(axis=1)
    first = np.flatnonzero(np.diff(owner, prepend=-1))
    shape = (-1, len(_NODES), len(FALLS))
    beyond = np.maximum(0.0, levels[:, None] - optimum * np.exp(APART * _NODES))
    effect = -(beyond[:, :, None] * FALLS).reshape(len(levels), -1)
    left = np.maximum(mass @ np.exp(effect), 1e-300)
    gained = won @ effect - total[:, None] * (np.log(left) - np.log(mass.sum(axis=1))[:, None])
    own = np.add.reduceat(gained, first, axis=0).reshape(shape)
    most = own.max(axis=1)
    part = np.exp(own - most[:, None]) * _MASS[None, :, None]
    whole = part.sum(axis=1)
    told = (np.log(whole) + most).sum(axis=0)
    best = int(told.argmax())
    likely = (part[:, :, best] / whole[:, [best]])[owner] / left.reshape(shape)[:, :, best]
    return told, total[:, None] * (likely @ np.exp(effect.reshape(shape)[:, :, best]).T)
