"""Probabilities that mean what they say: corrected on the newest steps where that helps on still newer ones.

Also sets of activities that hold the truth as often as promised (split conformal prediction: Romano, Sesia
and Candès 2020), and an alarm when the newest steps surprise a model more than it expects to be surprised.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from behavio.models.mixing import FLOOR

PULL = 100.0
"""Steps that speak for leaving probabilities as they are."""
MARGIN = 0.002
"""Nats per step a correction must save on newer steps than it was fitted on."""
ALARM = 0.05
"""Nats per step of surprise beyond the expected, the lower end of its interval, that raise the alarm."""


@dataclass(frozen=True, slots=True)
class Scaling:
    """p becomes p^power, each row summing to 1; padding stays 0.

    There is no correction per activity: the newest steps are a few weeks, and what was rare in them, because
    no campaign went out, is not rare for that.
    """

    power: float = 1.0

    def of(self, rows: np.ndarray) -> np.ndarray:
        """The corrected rows (n, size)."""
        if self.power == 1.0:
            return rows
        result = np.maximum(rows, FLOOR) ** self.power
        result[:, 0] = 0.0
        return np.asarray(result / result.sum(axis=1, keepdims=True))

    @classmethod
    def fit(cls, rows: np.ndarray, truth: np.ndarray, most: float = np.inf) -> Scaling:
        """The power with the best likelihood, drawn to 1; Newton steps.

        `most` bounds it: above 1 the correction makes predictions surer.
        """
        logs = np.log(np.maximum(rows, FLOOR))
        logs[:, 0] = 0.0
        power, n = 1.0, len(rows)
        for _ in range(60):
            q = np.exp(power * logs)
            q[:, 0] = 0.0
            q /= q.sum(axis=1, keepdims=True)
            mean = (q * logs).sum(axis=1)
            slope = (logs[np.arange(n), truth] - mean).sum() - PULL * (power - 1.0)
            bend = ((q * logs**2).sum(axis=1) - mean**2).sum() + PULL
            change = float(np.clip(slope / bend, -0.3, 0.3))
            power = min(max(power + change, 0.05), most)
            if abs(change) < 1e-5 or power == most:
                break
        return cls(power)


def calibrated(rows: np.ndarray, truth: np.ndarray, drifts: bool = False) -> Scaling:
    """The correction, or none where it does not help.

    Rows are in order of time: it is fitted on the older half and must help on the newer. Where the process
    `drifts`, predictions are never made surer than they were.
    """
    most = 1.0 if drifts else np.inf
    half = len(rows) // 2
    if half < 100:
        return Scaling()
    tried = Scaling.fit(rows[:half], truth[:half], most)
    saved = loss_of(rows[half:], truth[half:]) - loss_of(tried.of(rows[half:]), truth[half:])
    return Scaling.fit(rows, truth, most) if saved.mean() > MARGIN else Scaling()


def loss_of(rows: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """float64 (n,): negative log-likelihood of what came."""
    loss: np.ndarray = -np.log(np.maximum(rows[np.arange(len(rows)), truth], 1e-12))
    return loss


def needed(rows: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """float64 (n,): probability of all activities at least as likely as what came."""
    p = rows[np.arange(len(rows)), truth]
    result: np.ndarray = np.where(rows >= p[:, None], rows, 0.0).sum(axis=1)
    return result


def reach(rows: np.ndarray, truth: np.ndarray, coverage: float = 0.9) -> float:
    """The total probability a set needs to hold the truth in `coverage` of steps, from calibration steps.

    1 where there are too few steps to promise anything: the set is then every activity.
    """
    n = len(rows)
    rank = int(np.ceil((n + 1) * coverage))
    return 1.0 if rank > n else float(np.sort(needed(rows, truth))[rank - 1])


def sets(rows: np.ndarray, total: float) -> np.ndarray:
    """bool (n, size): the likeliest activities of each row, as many as `total` lets in, at least one."""
    order = np.argsort(-rows, axis=1, kind="stable")
    ranked = np.take_along_axis(rows, order, 1)
    inside = np.cumsum(ranked, axis=1) <= total + 1e-12
    inside[:, 0] = True
    result = np.zeros(rows.shape, dtype=bool)
    np.put_along_axis(result, order, inside, 1)
    result[:, 0] = False
    return result


@dataclass(frozen=True, slots=True)
class Surprise:
    """How much more the newest steps surprised a model than it expected, nats per step, 95 % interval."""

    mean: float
    low: float
    high: float
    n: int

    @property
    def alarm(self) -> bool:
        """True when the process has moved away from what was learnt."""
        return self.low > ALARM

    @classmethod
    def at(cls, rows: np.ndarray, truth: np.ndarray, cases: np.ndarray) -> Surprise:
        """Of rows (n, size) and what came, an interval over cases."""
        return cls.of(cls.over(rows, truth), cases)

    @staticmethod
    def over(rows: np.ndarray, truth: np.ndarray) -> np.ndarray:
        """Loss minus the entropy of the prediction (n,): 0 in the mean where probabilities are right."""
        entropy = -(rows * np.log(np.maximum(rows, FLOOR))).sum(axis=1)
        surplus: np.ndarray = loss_of(rows, truth) - entropy
        return surplus

    @classmethod
    def of(cls, over: np.ndarray, cases: np.ndarray) -> Surprise:
        """Of the surplus of each step (n,)."""
        _, code = np.unique(cases, return_inverse=True)
        if len(over) == 0:
            return cls(0.0, -np.inf, np.inf, 0)
        mean = float(over.mean())
        spread = float(np.sqrt((np.bincount(code, weights=over - mean) ** 2).sum())) / len(over)
        return cls(mean, mean - 1.96 * spread, mean + 1.96 * spread, len(over))
