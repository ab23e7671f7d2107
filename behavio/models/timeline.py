"""Time until the next event, cut into steps: a survival curve per event, and its quantiles.

A net says for each step how likely the wait ends there if it lasted until then (a discrete hazard; Gensheimer
and Narasimhan 2019). Steps are spaced on a logarithmic scale and merged where hardly any wait ends; the first
is for waits of nothing.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

FINE = 240
"""Steps of the scale before rare ones are merged."""
SHARE = 1 / 40
"""Waits that make a step of their own."""
WIDEST = 1.5
"""A step ends at most so many times later than it starts, where any wait ends in it."""
LONGEST = 3.2e9
"""Seconds of a hundred years: no wait is read as longer."""


def edges_of(gaps_s: np.ndarray) -> np.ndarray:
    """float64 (n_steps + 1,) seconds, rising: 0 first; waits after the last edge count as in the last step.

    No gaps at all give one step.
    """
    waits = np.clip(gaps_s[np.isfinite(gaps_s)], 0, LONGEST)
    positive = np.sort(waits[waits > 0])
    if len(positive) == 0:
        return np.array([0.0, 1.0])
    low, high = max(float(np.quantile(positive, 0.002)), 1e-3), float(positive[-1]) * 1.0001
    fine = np.concatenate([[0.0], np.geomspace(low, max(high, low * 1.001), FINE)])
    mass = np.histogram(waits, fine)[0]
    kept, held = [0.0], 0
    for i, n in enumerate(mass):
        if n and held == 0 and fine[i] > WIDEST * max(kept[-1], low):
            kept.append(float(fine[i]))
        wide = fine[min(i + 2, FINE)] > WIDEST * kept[-1]
        held += int(n)
        if i == 0 or i == len(mass) - 1 or held >= SHARE * len(waits) or (held and wide):
            kept.append(float(fine[i + 1]))
            held = 0
    return np.array(kept)


def step_of(edges: np.ndarray, gaps_s: np.ndarray) -> np.ndarray:
    """int64: the step each wait ends in."""
    found = np.searchsorted(edges, np.clip(gaps_s, 0, LONGEST), side="right") - 1
    return np.clip(found, 0, len(edges) - 2).astype(np.int64)


def counted_hazards(step: np.ndarray, group: np.ndarray, n_groups: int, n_steps: int) -> np.ndarray:
    """float32 (n_groups, n_steps): logits of how often a wait of the group that got so far ended in the step.

    Every group starts from the hazards of all waits together, as if it had seen ten of them.
    """
    ends = np.zeros((n_groups, n_steps))
    np.add.at(ends, (group, step), 1.0)
    whole = ends.sum(axis=0) + 0.5
    whole_left = np.cumsum(whole[::-1])[::-1] + 0.5
    share = ends + 10 * whole / whole.sum()
    left = np.cumsum(share[:, ::-1], axis=1)[:, ::-1] + 10 * 0.5 / whole_left[0]
    hazard = np.clip(share / left, 1e-4, 1 - 1e-4)
    return np.log(hazard / (1 - hazard)).astype(np.float32)


def survival(hazard: np.ndarray) -> np.ndarray:
    """Share of waits longer than each edge, (..., n_steps + 1), from hazards (..., n_steps)."""
    left = np.cumprod(1.0 - np.asarray(hazard, dtype=np.float64), axis=-1)
    return np.concatenate([np.ones((*left.shape[:-1], 1)), left], axis=-1)


def longer_than(edges: np.ndarray, left: np.ndarray, waited_s: np.ndarray) -> np.ndarray:
    """float64 (n,): share of waits longer than `waited_s`, between edges on a line; left (n, n_steps + 1)."""
    at = step_of(edges, waited_s)
    row = np.arange(len(left))
    part = np.clip((np.maximum(waited_s, 0) - edges[at]) / (edges[at + 1] - edges[at]), 0, 1)
    result: np.ndarray = left[row, at] + part * (left[row, at + 1] - left[row, at])
    return result


def quantiles(
    edges: np.ndarray, left: np.ndarray, shares: Sequence[float], waited_s: np.ndarray | None = None
) -> np.ndarray:
    """float64 (n, n_shares): seconds from now until this share of waits is over.

    left  (n, n_steps + 1) from `survival`, its last value the share that outlasts the scale
    waited_s  what has passed already, (n,): waits known to be longer; NaN where the scale ends before that

    Between edges the curve is a line; what ends in the first step is answered with no time at all, a share
    beyond the scale with its end.
    """
    waited = np.zeros(len(left)) if waited_s is None else np.maximum(waited_s, 0.0)
    alive = longer_than(edges, left, waited)
    row = np.arange(len(left))
    found = np.empty((len(left), len(shares)))
    for column, share in enumerate(shares):
        wanted = alive * (1.0 - share)
        at = (left[:, 1:] > wanted[:, None]).sum(axis=1)
        beyond = at >= left.shape[1] - 1
        at = np.minimum(at, left.shape[1] - 2)
        above, below = left[row, at], left[row, at + 1]
        part = np.clip((above - wanted) / np.maximum(above - below, 1e-300), 0, 1)
        end = np.where(beyond, edges[-1], edges[at] + part * (edges[at + 1] - edges[at]))
        end[at == 0] = 0.0
        found[:, column] = np.maximum(end - waited, 0.0)
    found[(waited >= edges[-1]) | (alive <= 1e-9)] = np.nan
    return found
