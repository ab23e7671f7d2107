"""How the people who answered differ from everybody, and whether who rated them decides what they say."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from behavio.perceptions.learn import Answers, fitted, folds

MOST = 5.0
"""No case of the sample stands for more than so many times its share of the universe, nor less than 1/5."""
DRAWS = 999
MATERIAL = 0.6
"""Below, what tells the asked from the others is too little to weight by: weights cost answers."""
FEWEST = 5
"""Ratings of a rater that count in the check of raters."""


@dataclass(frozen=True, slots=True, eq=False)
class Shift:
    """The sample against the universe.

    auc      how well behaviour tells who was asked: 0.5 not at all, 1 perfectly; NaN where all were asked
    weight   float64 (n_sample,), mean 1: 1 / probability of being in the sample, bounded; 1 where the
             asked hardly differ
    differ   (name, difference in standard deviations, the same after weighting), largest first
    """

    auc: float
    weight: np.ndarray
    differ: tuple[tuple[str, float, float], ...]

    @property
    def effective(self) -> float:
        """Cases the weighted sample is worth (Kish 1965)."""
        return float(self.weight.sum() ** 2 / (self.weight**2).sum())


def shift(x: np.ndarray, asked: np.ndarray, names: tuple[str, ...], seed: int) -> Shift:
    """Who was asked, told from behaviour by cross-validation; weights that undo what can be told.

    x float64 (n, columns), each column with mean 0 and deviation 1 over the universe; asked bool (n,)
    """
    n = int(asked.sum())
    if n == len(asked) or n == 0:
        return Shift(float("nan"), np.ones(n), ())
    whole = Answers(x, asked.astype(np.int64), np.ones(len(asked)), 2)
    fold, said = folds(len(asked), seed), np.empty(len(asked))
    for f in np.unique(fold):
        rest = fold != f
        part = Answers(x[rest], whole.y[rest], whole.weight[rest], 2)
        said[~rest] = fitted(part, 10.0)(x[~rest])[:, 1]
    auc, weight = _auc(said, asked), np.ones(n)
    if auc > MATERIAL:
        weight = 1.0 / np.maximum(said[asked], 1e-9)
        weight = np.clip(weight / np.median(weight), 1 / MOST, MOST)
        weight /= weight.mean()
    before, after = x[asked].mean(axis=0), np.average(x[asked], axis=0, weights=weight)
    top = [i for i in np.argsort(-np.abs(before), kind="stable") if "vector" not in names[i]][:3]
    return Shift(auc, weight, tuple((names[i], float(before[i]), float(after[i])) for i in top))


def _auc(said: np.ndarray, truth: np.ndarray) -> float:
    """Area under the ROC curve, ties counted half (Mann and Whitney 1947)."""
    from scipy.stats import rankdata

    rank = rankdata(said)
    n, m = int(truth.sum()), int((~truth).sum())
    return float((rank[truth].sum() - n * (n + 1) / 2) / (n * m))


@dataclass(frozen=True, slots=True)
class Raters:
    """What raters do to answers.

    n         how many rated
    largest   share of all answers the busiest gave
    explains  share of the answers' variance that lies between raters beyond chance (omega², Hays 1963)
    p_value   permutation test: answers dealt out among raters anew
    """

    n: int
    largest: float
    explains: float
    p_value: float


def raters(value: np.ndarray, rater: np.ndarray, seed: int) -> Raters:
    """Answers as numbers (n,) and who gave each (n,)."""
    names, code, sizes = np.unique(rater, return_inverse=True, return_counts=True)
    largest = float(sizes.max() / len(code))
    kept = (sizes >= FEWEST)[code]
    value, code = value[kept], np.unique(code[kept], return_inverse=True)[1]
    k = int(code.max()) + 1 if len(code) else 0
    if k < 2 or value.std() == 0 or len(value) <= k:
        return Raters(len(names), largest, 0.0, 1.0)
    found = _omega(value, code, k)
    rng = np.random.default_rng(seed)
    above = sum(_omega(rng.permutation(value), code, k) >= found - 1e-12 for _ in range(DRAWS))
    return Raters(len(names), largest, max(found, 0.0), (above + 1) / (DRAWS + 1))


def _omega(value: np.ndarray, code: np.ndarray, k: int) -> float:
    n = np.bincount(code, minlength=k)
    mean = np.bincount(code, value, minlength=k) / n
    between = float((n * (mean - value.mean()) ** 2).sum())
    total = float(((value - value.mean()) ** 2).sum())
    within = (total - between) / (len(value) - k)
    return (between - (k - 1) * within) / (total + within)
