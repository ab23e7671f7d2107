"""k-means in few lines of NumPy: one order of adding up, so the same seed gives the same bytes."""

from __future__ import annotations

import numpy as np


def lloyd(points: np.ndarray, k: int, rng: np.random.Generator, steps: int = 50) -> np.ndarray:
    """k-means labels int64 (n,) from a k-means++ start; every label is used where points allow it."""
    centres = points[[int(rng.integers(len(points)))]]
    for _ in range(k - 1):
        distance = squared_distances(points, centres).min(axis=1)
        total = distance.sum()
        pick = int(rng.integers(len(points)))
        if total > 0:
            pick = int(np.searchsorted(np.cumsum(distance), rng.random() * total, side="right"))
        centres = np.vstack([centres, points[min(pick, len(points) - 1)]])
    label = np.full(len(points), -1)
    for _ in range(steps):
        nearest = squared_distances(points, centres).argmin(axis=1)
        if (nearest == label).all():
            break
        label = nearest
        members = np.eye(k)[label]
        size = members.sum(axis=0)
        centres = np.where(size[:, None] > 0, members.T @ points / np.maximum(size, 1)[:, None], centres)
    return label


def squared_distances(points: np.ndarray, centres: np.ndarray) -> np.ndarray:
    """float64 (n, k): squared Euclidean distance of every point to every centre."""
    cross = points @ centres.T
    return np.maximum((points**2).sum(1)[:, None] - 2 * cross + (centres**2).sum(1)[None, :], 0.0)
