"""What it costs to put one activity in the place of another.

constant     the same for every pair
transitions  high − p(b after a) − p(a after b): what often follows each other is alike
             (Gabadinho et al. 2011, TraMineR)
dynamic      the same for each step apart, from the transitions into and out of it (Lesnard 2006, 2010)
"""

from __future__ import annotations

import numpy as np

from behavio.errors import LogError

KINDS = ("constant", "transitions")


def constant_costs(n_symbols: int, cost: float = 2.0) -> np.ndarray:
    """float32 (n_symbols, n_symbols): `cost` off the diagonal, 0 on it."""
    return (cost * (1.0 - np.eye(n_symbols))).astype(np.float32)


def transition_costs(
    tokens: np.ndarray, offsets: np.ndarray, weights: np.ndarray, n_symbols: int, cost: float = 2.0
) -> np.ndarray:
    """float32 (n_symbols, n_symbols): cost − p(b | a) − p(a | b), p from directly following steps."""
    counts = np.zeros((n_symbols, n_symbols))
    inside = np.ones(len(tokens), bool)
    inside[offsets[1:] - 1] = False
    here = np.flatnonzero(inside)
    np.add.at(counts, (tokens[here], tokens[here + 1]), np.repeat(weights, np.diff(offsets))[here])
    return _far(_rates(counts), cost)


def dynamic_costs(
    tokens: np.ndarray, offsets: np.ndarray, weights: np.ndarray, n_symbols: int, cost: float = 4.0
) -> np.ndarray:
    """float32 (n_steps, n_symbols, n_symbols): at each step, cost − the rates into it and out of it.

    The first and the last step know one side only. Raises LogError when traces differ in length.
    """
    length = same_length(offsets)
    table = tokens.reshape(-1, length)
    rates = np.zeros((length - 1, n_symbols, n_symbols))
    for t in range(length - 1):
        np.add.at(rates[t], (table[:, t], table[:, t + 1]), weights)
        rates[t] = _rates(rates[t])
    both = rates + rates.transpose(0, 2, 1)
    near = np.zeros((length, n_symbols, n_symbols))
    near[1:] += both
    near[:-1] += both
    costs = np.maximum(cost - near, 0.0)
    costs[:, np.arange(n_symbols), np.arange(n_symbols)] = 0.0
    return costs.astype(np.float32)


def same_length(offsets: np.ndarray) -> int:
    """The length all traces share. Raises LogError when they differ."""
    lengths = np.unique(np.diff(offsets))
    if len(lengths) != 1:
        raise LogError(
            f"the traces have {len(lengths):,} different lengths, this distance compares step by step",
            hint='use method = "matching", "lcs" or "edit" for traces of different length',
        )
    return int(lengths[0])


def _rates(counts: np.ndarray) -> np.ndarray:
    sums = counts.sum(axis=1, keepdims=True)
    return np.divide(counts, sums, out=np.zeros_like(counts), where=sums > 0)


def _far(rates: np.ndarray, cost: float) -> np.ndarray:
    far = np.maximum(cost - rates - rates.T, 0.0)
    np.fill_diagonal(far, 0.0)
    return far.astype(np.float32)
