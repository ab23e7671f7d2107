"""How alike two groupings of the same cases are, and which group of one is which of the other."""

from __future__ import annotations

import numpy as np


def crossed(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """How many cases have label i in `a` and j in `b`, int64 (max a + 1, max b + 1); labels from 0 up."""
    width = int(b.max(initial=-1)) + 1
    height = int(a.max(initial=-1)) + 1
    return np.bincount(a.astype(np.int64) * width + b, minlength=height * width).reshape(height, width)


def adjusted_rand(a: np.ndarray, b: np.ndarray) -> float:
    """Adjusted Rand index (Hubert & Arabie, 1985): 1 the same groups, 0 as alike as chance makes them.

    >>> adjusted_rand(np.array([0, 0, 1, 1]), np.array([1, 1, 0, 0]))
    1.0
    """
    table = crossed(np.unique(a, return_inverse=True)[1], np.unique(b, return_inverse=True)[1]).astype(float)

    def pairs(n: np.ndarray) -> float:
        return float((n * (n - 1) / 2).sum())

    both, rows, columns = pairs(table), pairs(table.sum(axis=1)), pairs(table.sum(axis=0))
    total = pairs(np.array([table.sum()]))
    expected = rows * columns / total if total else 0.0
    most = (rows + columns) / 2
    return 1.0 if most == expected else (both - expected) / (most - expected)
