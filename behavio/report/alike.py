"""Journeys cut into bands of like ones, so that a picture can show their variety and nobody's own.

Principal direction divisive partitioning (Boley, Data Mining and Knowledge Discovery 2, 1998) with halves:
the band with most spread is cut in the middle of the direction in which its journeys differ most.
"""

from __future__ import annotations

import numpy as np

TURNS = 12
"""Steps of the power method: the direction need not be exact, only the same every time."""


def bands(matrix: np.ndarray, least: int, most: int) -> list[np.ndarray]:
    """Row numbers of each band, every one of at least `least` rows, early bands first.

    matrix: float (n, bins * kinds), what each journey held in each bin. At most `most` bands; none when there
    are fewer than `least` rows.
    """
    if len(matrix) < max(least, 1):
        return []
    parts = [np.arange(len(matrix))]
    spread = [_spread(matrix)]
    while len(parts) < most:
        at = max(range(len(parts)), key=lambda i: (spread[i], -i))
        if spread[at] <= 0:
            break
        halves = _halves(matrix, parts[at], least)
        parts[at : at + 1] = halves
        spread[at : at + 1] = [_spread(matrix[h]) if len(h) >= 2 * max(least, 1) else 0.0 for h in halves]
        if len(halves) == 1:
            spread[at] = 0.0
    return parts


def _spread(rows: np.ndarray) -> float:
    return float(((rows - rows.mean(axis=0)) ** 2).sum())


def _halves(matrix: np.ndarray, part: np.ndarray, least: int) -> list[np.ndarray]:
    """The part cut in the middle of its main direction; whole where nothing tells its rows apart."""
    if len(part) < 2 * max(least, 1):
        return [part]
    rows = matrix[part] - matrix[part].mean(axis=0)
    direction = rows[int(np.argmax((rows**2).sum(axis=1)))].copy()
    for _ in range(TURNS):
        direction = rows.T @ (rows @ direction)
        norm = float(np.linalg.norm(direction))
        if norm == 0:
            return [part]
        direction /= norm
    along = np.round(rows @ direction, 9)
    if along.min() == along.max():
        return [part]
    order = part[np.argsort(along, kind="stable")]
    middle = len(order) // 2
    return [order[:middle], order[middle:]]
