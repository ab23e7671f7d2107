"""Several predictions made into one: weighted means of probabilities and of their logarithms.

A weighted mean (linear) is safe: it is never much worse than its best member. A weighted geometric mean lets
independent evidence add up and is better where the members see different things, but it trusts members
outside of what it was fitted on. The two are mixed in turn.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from behavio.kernels.arrays import readonly
from behavio.kernels.mixture import mixture_weights

FLOOR = 1e-9
"""Smallest probability taken a logarithm of."""
HALVES = 1_000.0
"""Held-out steps that speak for the linear and the geometric mean half and half."""
AT_ONCE = 100_000
"""Numbers looked at together: as many as stay close to the processor."""
SURE = 2.0
"""Standard errors by which one thing must be better before it is trusted more than another."""
FEWEST_CASES = 10
"""Cases that can show a difference."""


def linear_weights(p: np.ndarray, first: np.ndarray, pull: float, passes: int = 60) -> np.ndarray:
    """Mixture weights by EM for p float64 (members, n), the probability each gave to what came.

    Drawn to `first` as if `pull` further steps spoke for it.
    """
    if p.shape[1] == 0:
        return first
    given = readonly(p, np.float64), readonly(first, np.float64)
    weights: np.ndarray = mixture_weights(*given, pull, passes)
    return weights


def by_bin(p: np.ndarray, code: np.ndarray, bins: int, pull: float, whole_pull: float = 0.0) -> np.ndarray:
    """float64 (bins, members): `linear_weights` of the steps of each bin, drawn to those of all steps."""
    equal = np.full(len(p), 1.0 / len(p))
    whole = linear_weights(p, equal, whole_pull)
    return np.stack([linear_weights(p[:, code == b], whole, pull) for b in range(bins)])


def geometric_weights(rows: np.ndarray, truth: np.ndarray, pull: float) -> np.ndarray:
    """Exponents that make the geometric mean of rows (members, n, size) fit `truth` best.

    Newton's method on a convex loss, drawn to equal exponents as if with the weight of `pull` steps.
    """
    logs = np.log(np.maximum(rows, FLOOR))
    members, n, size = logs.shape
    equal = np.full(members, 1.0 / members)
    weights = equal.copy()
    of_truth = logs[:, np.arange(n), truth].sum(axis=1)
    step_rows = max(AT_ONCE // (members * size), 1)
    for _ in range(25):
        slope, square = pull * (weights - equal) - of_truth, (pull + 1e-6) * np.eye(members)
        for low in range(0, n, step_rows):
            some = logs[:, low : low + step_rows]
            flat = some.reshape(members, -1)
            q = _softmax((weights @ flat).reshape(some.shape[1:]))
            weighed = flat * q.ravel()
            means = weighed.reshape(some.shape).sum(axis=2)
            slope += means.sum(axis=1)
            square += weighed @ flat.T - means @ means.T
        step = np.linalg.solve(square, slope)
        longest = float(np.abs(step).max())
        weights = weights - step / max(longest / 0.5, 1.0)
        if longest < 1e-4:
            break
    return weights


def geometric(rows: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Weighted geometric mean of rows (members, n, size), each row summing to 1; padding stays 0."""
    result = _softmax(np.tensordot(weights, np.log(np.maximum(rows[:, :, 1:], FLOOR)), 1))
    return np.concatenate([np.zeros((len(result), 1)), result], axis=1)


def linear_share(
    rows: np.ndarray,
    truth: np.ndarray,
    code: np.ndarray,
    cases: np.ndarray,
    weigh: Callable[[np.ndarray, np.ndarray], np.ndarray],
    pull: float,
) -> float:
    """How much of the linear mean to take beside the geometric, from rows (members, n, size) oldest first.

    Both are fitted on the older half, `weigh` giving the linear weights of (p, code), and compared on the
    newer. One half unless one of them is clearly better there, over `cases`; then the more of the better the
    more steps were compared. In a mixture of the two their likelihoods differ too little to tell them apart.
    """
    n = rows.shape[1]
    early, late, at = slice(0, n // 2), slice(n // 2, n), np.arange(n - n // 2)
    p = rows[:, np.arange(n), truth]
    weights = weigh(p[:, early], code[early])
    exponents = geometric_weights(rows[:, early, 1:], truth[early] - 1, pull)
    linear = np.einsum("nk,kn->n", weights[code[late]], p[:, late])
    other = geometric(rows[:, late], exponents)[at, truth[late]]
    saved = np.log(np.maximum(other, FLOOR)) - np.log(np.maximum(linear, FLOOR))
    better = clearly(saved, cases[late])
    return 0.5 - better * (0.5 - 0.5 * HALVES / (HALVES + len(saved)))


def earns(
    p: np.ndarray, code: np.ndarray, cases: np.ndarray, weigh: Callable[[np.ndarray, np.ndarray], np.ndarray]
) -> bool:
    """Whether the last member makes the linear mean clearly better on newer steps than it is fitted on.

    p  float64 (members, n), oldest first, the probability each gave to what came; `weigh` as above
    """
    half = p.shape[1] // 2
    with_it, without = (
        np.einsum("nk,kn->n", weigh(some[:, :half], code[:half])[code[half:]], some[:, half:])
        for some in (p, p[:-1])
    )
    saved = np.log(np.maximum(with_it, FLOOR)) - np.log(np.maximum(without, FLOOR))
    return clearly(saved, cases[half:]) > 0


def clearly(saved: np.ndarray, cases: np.ndarray) -> int:
    """1 or -1 where the mean of `saved` is SURE standard errors, over cases, above or below 0; else 0.

    Of fewer cases than FEWEST_CASES nothing is clear.
    """
    known, case = np.unique(cases, return_inverse=True)
    if len(known) < FEWEST_CASES:
        return 0
    error = float(np.sqrt((np.bincount(case, weights=saved - saved.mean()) ** 2).sum())) / len(saved)
    return int(np.sign(saved.mean())) if abs(saved.mean()) > SURE * error else 0


def _softmax(logs: np.ndarray) -> np.ndarray:
    powers = np.exp(logs - logs.max(axis=1, keepdims=True))
    result: np.ndarray = powers / powers.sum(axis=1, keepdims=True)
    return result


@dataclass(frozen=True, slots=True, eq=False)
class Mixture:
    """Linear and geometric means of some members, mixed.

    weights    float64 (bins, members)   linear, by bin of context
    exponents  float64 (members,)        geometric
    linear     share of the linear mean
    """

    weights: np.ndarray
    exponents: np.ndarray
    linear: float

    @classmethod
    def fit(
        cls, rows: np.ndarray, truth: np.ndarray, weights: np.ndarray, code: np.ndarray, pull: float
    ) -> Mixture:
        """Exponents and shares from rows (members, n, size) in order of time, the linear weights given.

        The share of each mean is found on the later half with exponents from the earlier, drawn to one half.
        """
        if len(rows) == 1:
            return cls(weights, np.ones(1), 1.0)
        half = rows.shape[1] // 2
        early = geometric_weights(rows[:, :half, 1:], truth[:half] - 1, pull)
        late = np.arange(half, rows.shape[1])
        first = np.einsum("nk,knv->nv", weights[code[late]], rows[:, late])[np.arange(len(late)), truth[late]]
        second = geometric(rows[:, late], early)[np.arange(len(late)), truth[late]]
        shares = linear_weights(np.stack([first, second]), np.array([0.5, 0.5]), 200.0)
        return cls(weights, geometric_weights(rows[:, :, 1:], truth - 1, pull), float(shares[0]))

    def of(self, rows: np.ndarray, code: np.ndarray) -> np.ndarray:
        """Rows (members, n, size) made into one (n, size)."""
        result = np.einsum("nk,knv->nv", self.weights[np.minimum(code, len(self.weights) - 1)], rows)
        if self.linear < 1.0:
            result = self.linear * result + (1.0 - self.linear) * geometric(rows, self.exponents)
        return result
