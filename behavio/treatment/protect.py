"""Small counts are not told, nor can they be worked out from what is told.

A cell with 1 to k − 1 patients is held back (primary suppression). Wherever a sum is known, what is held
back of it must be at least two cells and k patients together, else the smallest told cell of that sum is
held back too (complementary suppression; Willenborg & de Waal, Elements of Statistical Disclosure Control,
2001, chapter 4). Every sum counts as known, also one that is not told, and so does every zero.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np


def told(
    counts: np.ndarray, sums: Sequence[np.ndarray], k: int, hidden: np.ndarray | None = None
) -> np.ndarray:
    """Which cells may be told: bool (n,).

    counts  int64 (n,): patients of each cell, no patient in two cells of one sum
    sums    index arrays: the cells of each sum that is, or could be, known
    hidden  bool (n,): cells that are held back in any case
    """
    open_ = (counts >= k) | (counts == 0)
    if hidden is not None:
        open_ &= ~hidden | (counts == 0)
    groups = [g[counts[g] > 0] for g in sums]
    changed = True
    while changed:
        changed = _complement(counts, open_, groups, k)
        changed = _unfold(counts, open_, groups, k) or changed
    return open_


def _complement(counts: np.ndarray, open_: np.ndarray, groups: list[np.ndarray], k: int) -> bool:
    changed = False
    for cells in groups:
        while True:
            hidden = cells[~open_[cells]]
            if len(hidden) == 0 or (len(hidden) > 1 and counts[hidden].sum() >= k):
                break
            left = cells[open_[cells]]
            if len(left) == 0:
                break  # the whole sum is held back, and with it what it is part of
            open_[left[np.lexsort((left, counts[left]))[0]]] = False
            changed = True
    return changed


def _unfold(counts: np.ndarray, open_: np.ndarray, groups: list[np.ndarray], k: int) -> bool:
    """Hold back more where several sums together pin a small cell down; True when something was."""
    changed = False
    for cell in _determined(np.flatnonzero(~open_), groups):
        if counts[cell] >= k:
            continue
        left = [g[open_[g]] for g in groups if cell in g]
        wider = [g for g in left if len(g)]
        if wider:
            cells = min(wider, key=lambda g: (counts[g].min(), g[0]))
            open_[cells[np.lexsort((cells, counts[cells]))[0]]] = False
            changed = True
    return changed


def _determined(hidden: np.ndarray, groups: list[np.ndarray]) -> np.ndarray:
    """Held-back cells whose value the sums fix: those that no solution of the homogeneous equations moves.

    A random vector loses what lies in the space of the equations; where nothing of it remains, nothing moves.
    """
    from scipy.sparse import csr_array
    from scipy.sparse.linalg import lsqr

    place = {int(c): i for i, c in enumerate(hidden)}
    parts = [own for cells in groups if (own := [place[int(c)] for c in cells if int(c) in place])]
    if not parts:
        return hidden[:0]
    rows = np.repeat(np.arange(len(parts)), [len(p) for p in parts])
    columns = np.concatenate(parts)
    spanned = csr_array((np.ones(len(rows)), (columns, rows)), shape=(len(hidden), len(parts)))
    tied = np.isin(np.arange(len(hidden)), columns)
    vector = np.random.default_rng(0).normal(size=len(hidden))
    weights = lsqr(spanned, vector, atol=1e-13, btol=1e-13, iter_lim=20 * len(hidden) + 100)[0]
    return hidden[tied & (np.abs(vector - spanned @ weights) < 1e-6)]
