"""One thing that sets a segment apart, and when it may be said."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

MIN_Z = 3.3  # two-sided p of about 0.001: dozens of facts are looked at
MIN_LIFT = 1.2  # less is nothing to act on


@dataclass(frozen=True, slots=True)
class Fact:
    """One thing a segment does otherwise than the rest.

    kind      share (part of a case's events), reach (part of cases that ever have it),
              order (b right after a), until (b before the next a), reaction (part of reactions),
              gap (seconds from a to that b), tempo (seconds between events)
    what      the activities it is about: (a,) or (a, b); () for tempo
    value     in the segment; rest: in all other cases; lift: value / rest, with its 95 % interval
    n_cases   cases of the segment it rests on
    telling   nats per case: what knowing it says about belonging
    """

    kind: str
    what: tuple[str, ...]
    value: float
    rest: float
    lift: float
    low: float
    high: float
    n_cases: int
    telling: float

    @property
    def more(self) -> bool:
        """True when the segment has more (longer) of it than the rest."""
        return self.lift > 1

    def agrees(self, median: float, rest: float) -> bool:
        """True when two medians tell about the same as the ratio of geometric means, and differ enough."""
        ratio = max(median, 1e-9) / max(rest, 1e-9)
        return (
            0.5 < ratio / self.lift < 2 and (ratio > 1) == self.more and not 1 / MIN_LIFT < ratio < MIN_LIFT
        )


@dataclass(frozen=True, slots=True, eq=False)
class Ratio:
    """Σx / Σy over cases, with the error of its logarithm; arrays of one shape.

    value x/y; error of log(x/y); base Σy
    """

    value: np.ndarray
    error: np.ndarray
    base: np.ndarray

    @classmethod
    def of(cls, x: np.ndarray, xx: np.ndarray, xy: np.ndarray, y: np.ndarray, yy: np.ndarray) -> Ratio:
        """From Σx, Σx², Σxy, Σy, Σy² over cases."""
        x, xx, xy, y, yy = (np.asarray(v, float) for v in (x, xx, xy, y, yy))
        value = x / np.maximum(y, 1e-9)
        spread = np.maximum(xx - 2 * value * xy + value**2 * yy, 0.0)
        return cls(value, np.sqrt(spread) / np.maximum(np.abs(x), 1e-9), y)


def fact(
    kind: str,
    what: tuple[str, ...],
    mine: tuple[float, ...],
    rest: tuple[float, ...],
    n: float,
    telling: float,
) -> Fact | None:
    """A fact from (value, error of its log, base) here and elsewhere; None when small or maybe chance."""
    (here, error, base), (there, error_there, base_there) = mine, rest
    if max(here, there) <= 0:
        return None
    elsewhere = max(there, 0.5 / max(base_there, 1.0))
    lift = here / elsewhere
    if here == 0:  # none seen where some were expected: the rule of three
        expected = elsewhere * base
        z, low, high = np.sqrt(expected), 0.0, min(1.0, 3.0 / max(expected, 1e-9))
    else:
        wide = float(np.hypot(error, error_there)) if there > 0 else max(error, 0.5)
        z = abs(np.log(lift)) / max(wide, 1e-9)
        low, high = lift * np.exp(-1.96 * wide), lift * np.exp(1.96 * wide)
    if z < MIN_Z or 1 / MIN_LIFT < lift < MIN_LIFT or telling <= 0:
        return None
    return Fact(
        kind, what, float(here), float(there), float(lift), float(low), float(high), int(n), float(telling)
    )
