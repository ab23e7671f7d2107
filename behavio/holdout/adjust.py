"""The difference of two groups made by lot, adjusted for what was known before the draw."""

from __future__ import annotations

import numpy as np


def adjusted_difference(y: np.ndarray, treated: np.ndarray, given: np.ndarray) -> tuple[float, float]:
    """Mean of y among the treated minus the others, and its standard error.

    y float64 (n,), treated bool (n,), given float64 (n, k) known before the lot fell
    Each group has a regression of its own on `given`, taken at the mean of all (Lin 2013: never less precise
    than the plain difference in large samples); errors allow for unequal spread (HC2: MacKinnon and White
    1985). Columns that are constant, or repeat others, are left out.
    """
    x = given - given.mean(axis=0)
    value, variance = [], []
    for own in (treated, ~treated):
        design = _independent(np.column_stack([np.ones(own.sum()), x[own]]))
        inverse = np.linalg.inv(design.T @ design)
        beta = inverse @ design.T @ y[own]
        leverage = np.clip((design @ inverse * design).sum(axis=1), 0, 0.999)
        off = (y[own] - design @ beta) ** 2 / (1 - leverage)
        value.append(beta[0])
        variance.append((inverse @ (design.T * off) @ design @ inverse)[0, 0])
    return float(value[0] - value[1]), float(np.sqrt(sum(variance)))


def _independent(design: np.ndarray) -> np.ndarray:
    """The columns that add something to those before them; the first is the constant."""
    kept = [0]
    for column in range(1, design.shape[1]):
        tried = design[:, [*kept, column]]
        if np.linalg.matrix_rank(tried) == len(kept) + 1:
            kept.append(column)
    return design[:, kept]
