"""One perception learned from behaviour: cross-validated over cases, held against its base rate.

Ridge and multinomial logistic regression with the strength of the penalty chosen inside every training part
(nested cross-validation: Varma and Simon 2006), so that the skill told is that on cases never seen.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

FOLDS = 5
INNER = 3
DRAWS = 2_000
PENALTIES = (10.0, 100.0, 1_000.0, 10_000.0)
"""Penalties tried: alpha of ridge regression, 1 / C of logistic regression."""
Predict = Callable[[np.ndarray], np.ndarray]


@dataclass(frozen=True, slots=True, eq=False)
class Answers:
    """Answers to one question.

    x       float64 (n, columns) of the cases that answered
    y       int64 (n,) number of the answer, or float64 (n,) on a scale
    weight  float64 (n,) how many cases of the universe each stands for, mean 1
    k       number of answers; 0 for a scale
    """

    x: np.ndarray
    y: np.ndarray
    weight: np.ndarray
    k: int


@dataclass(frozen=True, slots=True)
class Skill:
    """Share of the base rate's loss that behaviour saves on cases never seen, with its interval.

    gap  mean distance between what was said and what was seen over tenths of cases: shares of an answer
         (the mean over answers), or means of a scale
    """

    value: float
    low: float
    high: float
    gap: float


def folds(n: int, seed: int, groups: np.ndarray | None = None) -> np.ndarray:
    """int64 (n,): the fold of each case; cases of one group lie in one fold."""
    rng = np.random.default_rng(seed)
    if groups is None:
        return rng.permutation(np.arange(n) % FOLDS)
    names, code = np.unique(groups, return_inverse=True)
    sizes = np.bincount(code)
    of_group, load = np.zeros(len(names), np.int64), np.zeros(FOLDS)
    for group in np.lexsort((rng.random(len(names)), -sizes)):  # large groups first, each to the emptiest
        of_group[group] = int(np.argmin(load))
        load[of_group[group]] += sizes[group]
    return np.asarray(of_group[code])


def skill(answers: Answers, seed: int, level: float, groups: np.ndarray | None = None) -> Skill:
    """Nested cross-validation over cases, or over groups of cases; the interval from a bootstrap of cases."""
    fold = folds(len(answers.y), seed, groups)
    said = out_of_fold(answers, fold, seed)
    plain = np.empty_like(said)
    for f in np.unique(fold):
        rest = fold != f
        plain[fold == f] = base(answers.y[rest], answers.weight[rest], answers.k)
    better, worse = loss(said, answers), loss(plain, answers)
    rng = np.random.default_rng(seed)
    drawn = np.empty(DRAWS)
    for d in range(DRAWS):
        i = rng.integers(0, len(better), len(better))
        drawn[d] = 1 - np.average(better[i], weights=answers.weight[i]) / np.average(
            worse[i], weights=answers.weight[i]
        )
    low, high = np.quantile(drawn, [(1 - level) / 2, (1 + level) / 2])
    value = 1 - np.average(better, weights=answers.weight) / np.average(worse, weights=answers.weight)
    return Skill(float(value), float(low), float(high), _gap(said, answers))


def out_of_fold(answers: Answers, fold: np.ndarray, seed: int) -> np.ndarray:
    """Predictions for each case by a model that has not seen its fold: (n, k) shares or (n,) values."""
    shape = (len(answers.y), answers.k) if answers.k else (len(answers.y),)
    said = np.empty(shape)
    for f in np.unique(fold):
        rest = fold != f
        part = Answers(answers.x[rest], answers.y[rest], answers.weight[rest], answers.k)
        said[~rest] = fitted(part, best_penalty(part, seed))(answers.x[~rest])
    return said


def best_penalty(answers: Answers, seed: int) -> float:
    """The penalty with the least loss on inner folds."""
    fold = np.random.default_rng(seed + 1).permutation(np.arange(len(answers.y)) % INNER)
    losses = []
    for penalty in PENALTIES:
        found = np.empty(len(answers.y))
        for f in range(INNER):
            rest, own = fold != f, fold == f
            part = Answers(answers.x[rest], answers.y[rest], answers.weight[rest], answers.k)
            held = Answers(answers.x[own], answers.y[own], answers.weight[own], answers.k)
            found[own] = loss(fitted(part, penalty)(held.x), held)
        losses.append(np.average(found, weights=answers.weight))
    return PENALTIES[int(np.argmin(losses))]


def fitted(answers: Answers, penalty: float) -> Predict:
    """A model of these answers: rows of (n, columns) in, (n, k) shares or (n,) values out."""
    from sklearn.linear_model import LogisticRegression, Ridge

    if answers.k == 0:
        line = Ridge(alpha=penalty).fit(answers.x, answers.y, sample_weight=answers.weight)
        return lambda x: np.asarray(line.predict(x))
    seen = np.unique(answers.y)
    if len(seen) == 1:
        constant = base(answers.y, answers.weight, answers.k)
        return lambda x: np.tile(constant, (len(x), 1))
    curve = LogisticRegression(C=1.0 / penalty, solver="newton-cholesky", max_iter=100)
    curve.fit(answers.x, answers.y, sample_weight=answers.weight)

    def predict(x: np.ndarray) -> np.ndarray:
        shares = np.full((len(x), answers.k), 1e-4)
        shares[:, seen] = curve.predict_proba(x)
        return np.asarray(shares / shares.sum(axis=1, keepdims=True))

    return predict


def base(y: np.ndarray, weight: np.ndarray, k: int) -> Any:
    """What is said without looking at behaviour: the shares of the answers (half an answer added), or the
    mean of a scale."""
    if k == 0:
        return np.average(y, weights=weight)
    n = np.bincount(y, weights=weight, minlength=k) + 0.5
    return n / n.sum()


def loss(said: np.ndarray, answers: Answers) -> np.ndarray:
    """float64 (n,): negative log-likelihood in nats, or squared error on a scale."""
    if answers.k == 0:
        return np.asarray((said - answers.y) ** 2)
    own = said[np.arange(len(said)), answers.y]
    return np.asarray(-np.log(np.maximum(own, 1e-6)))


def _gap(said: np.ndarray, answers: Answers) -> float:
    """How far what was said lies from what was seen: see Skill."""
    if answers.k == 0:
        return _off(said, answers.y)
    return float(np.mean([_off(said[:, a], (answers.y == a).astype(float)) for a in range(answers.k)]))


def _off(said: np.ndarray, seen: np.ndarray) -> float:
    """Mean distance over tenths of what was said."""
    parts = np.array_split(np.argsort(said, kind="stable"), min(10, len(said)))
    return float(sum(abs(said[p].mean() - seen[p].mean()) * len(p) for p in parts) / len(said))
