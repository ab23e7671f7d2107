"""Small counts are not told, nor can they be worked out from what is told.

A cell with 1 to k − 1 patients is held back (primary suppression). Wherever a sum is known, what is held
back of it must be at least two cells and k patients together, else the smallest told cell of that sum is
held back too (complementary suppression; Willenborg & de Waal, Elements of Statistical Disclosure Control,
2001, chapter 4). Every sum counts as known, also one that is not told, and so does every zero.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np


def told(
    counts: np.ndarray, sums: Sequence[np.ndarray], k: int, hidden: np.ndarray | None = None
) -> np.ndarray:
    """Which cells may be told: bool (n,).

    counts  int64 (n,): patients of each cell, no patient in two cells of one sum
    sums    index arrays: the cells of each sum that is, or could be, known
    hidden  bool (n,): cells that are held back in any case
    """
    from scipy.sparse import csc_array

    open_ = (counts >= k) | (counts == 0)
    if hidden is not None:
        open_ &= ~hidden | (counts == 0)
    groups = [g[counts[g] > 0] for g in sums]
    of_cell: list[list[int]] = [[] for _ in range(len(counts))]
    for place, cells in enumerate(groups):
        for cell in cells:
            of_cell[cell].append(place)
    rows = np.repeat(np.arange(len(groups)), [len(g) for g in groups])
    columns = np.concatenate(groups) if groups else np.zeros(0, np.int64)
    table = csc_array((np.ones(len(rows)), (rows, columns)), shape=(len(groups), len(counts)))
    touched = set(range(len(groups)))
    while touched:
        _complement(counts, open_, groups, of_cell, touched, k)
        touched = _unfold(counts, open_, groups, of_cell, table, k)
    return open_


def _complement(
    counts: np.ndarray,
    open_: np.ndarray,
    groups: list[np.ndarray],
    of_cell: list[list[int]],
    touched: set[int],
    k: int,
) -> None:
    """Hold back more in every sum that says too much, and in those that share a cell with it, to the end."""
    waiting = set(touched)
    while waiting:
        place = min(waiting)
        waiting.discard(place)
        cells = groups[place]
        while True:
            hidden = cells[~open_[cells]]
            if len(hidden) == 0 or (len(hidden) > 1 and counts[hidden].sum() >= k):
                break
            left = cells[open_[cells]]
            if len(left) == 0:
                break  # the whole sum is held back, and with it what it is part of
            cell = int(left[np.lexsort((left, counts[left]))[0]])
            open_[cell] = False
            waiting.update(of_cell[cell])
        waiting.discard(place)


def _unfold(
    counts: np.ndarray,
    open_: np.ndarray,
    groups: list[np.ndarray],
    of_cell: list[list[int]],
    table: Any,
    k: int,
) -> set[int]:
    """Hold back more where several sums together pin a small cell down; the sums that this changed."""
    changed: set[int] = set()
    for cell in _determined(np.flatnonzero(~open_), table):
        if counts[cell] >= k:
            continue
        left = [groups[g][open_[groups[g]]] for g in of_cell[cell]]
        wider = [cells for cells in left if len(cells)]
        if wider:
            cells = min(wider, key=lambda g: (counts[g].min(), g[0]))
            more = int(cells[np.lexsort((cells, counts[cells]))[0]])
            open_[more] = False
            changed.update(of_cell[more])
    return changed


def _determined(hidden: np.ndarray, sums: Any) -> np.ndarray:
    """Held-back cells whose value the sums fix: those that no solution of the homogeneous equations moves.

    sums  sparse (n_sums, n_cells): which cells are in which sum
    A random vector loses what lies in the space of the equations; where nothing of it remains, nothing moves.
    """
    from scipy.sparse.linalg import lsqr

    if len(hidden) == 0:
        return hidden
    spanned = sums[:, hidden].T.tocsr()
    tied = np.diff(spanned.indptr) > 0
    if not tied.any():
        return hidden[:0]
    vector = np.random.default_rng(0).normal(size=len(hidden))
    weights = lsqr(spanned, vector, atol=1e-13, btol=1e-13, iter_lim=20 * len(hidden) + 100)[0]
    return hidden[tied & (np.abs(vector - spanned @ weights) < 1e-6)]
