"""When: how long until the next activity, from the gaps seen so far and the time already waited.

Empirical quantiles of the gaps longer than the wait so far, of the narrowest group with enough of them:
(group of cases, last activity, next activity) → (last, next) → last → every step. Cases whose gap is
still open count only through the wait so far.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Self

import numpy as np

from behavio.models.base import Coded, Prefixes
from behavio.sequences import SequenceSet

DAY = 86_400_000_000
"""Microseconds of a day."""
FEWEST = 5
EDGE, LAST, GROUP, EVERY = range(4)
NARROW_TO_WIDE = (GROUP, EDGE, LAST, EVERY)


@dataclass
class GapModel(Coded):
    """Quantiles of the gap before the next activity.

    `at_least` is how many gaps a level needs before it is believed; of every step together, the last
    resort, FEWEST are enough.

    Learns: gaps_       int64 (n_steps,) µs, rising
            places_     int64 (levels, n_steps), rows EDGE, LAST and, with groups, GROUP: code of the key *
                        (n_steps + 1) + place of the gap in gaps_, rising, so the gaps of one key stand
                        together in order
            keys_       int64, the keys of each level, rising; key_start_ int64 (levels + 1,) cuts them
    """

    learned: ClassVar[tuple[str, ...]] = ("gaps_", "places_", "keys_", "key_start_")
    at_least: int = 20

    def fit(self, sequences: SequenceSet, groups: np.ndarray | None = None) -> Self:
        """Learn from every step of the traces; `groups` int (n_cases,), below 0 is no group."""
        coded = sequences.recode(sequences.own_vocabulary())
        steps = Prefixes.of_cases(coded, 0)
        times = np.asarray(coded.times)
        gaps = times[steps.ends] - times[steps.ends - 1]
        of_case = np.full(coded.n_cases, -1) if groups is None else groups
        self.vocabulary_ = coded.vocabulary
        self.gaps_ = np.sort(gaps)
        place = np.searchsorted(self.gaps_, gaps)
        last, then = coded.tokens[steps.ends - 1], coded.tokens[steps.ends]
        every = self._keys(last, then, of_case[steps.cases])
        keys, places = [], []
        for level in (EDGE, LAST) if groups is None else (EDGE, LAST, GROUP):
            names, code = np.unique(every[level], return_inverse=True)
            keys.append(names)
            places.append(np.sort(code * (len(gaps) + 1) + place))
        self.places_ = np.stack(places)
        self.keys_ = np.concatenate(keys)
        self.key_start_ = np.cumsum([0, *(len(k) for k in keys)])
        return self

    def _keys(self, last: np.ndarray, then: np.ndarray, groups: np.ndarray) -> list[np.ndarray]:
        """The key of every step on each level, int64 (n,); -1 has no key."""
        size = len(self.vocabulary_)
        edge = last.astype(np.int64) * size + then
        group = np.where(groups < 0, -1, groups.astype(np.int64) * size * size + edge)
        return [edge, last.astype(np.int64), group, np.zeros(len(edge), dtype=np.int64)]

    def _range(self, level: int, key: np.ndarray, beyond: np.ndarray | int) -> tuple[np.ndarray, np.ndarray]:
        """First place and number of the gaps of `key` whose place in gaps_ is `beyond` or later."""
        if level == EVERY:
            return np.zeros_like(key) + beyond, np.zeros_like(key) + len(self.gaps_) - beyond
        known = self.keys_[:0]
        if level < len(self.places_):
            known = self.keys_[self.key_start_[level] : self.key_start_[level + 1]]
        if len(known) == 0:
            return np.zeros_like(key), np.zeros_like(key)
        width = len(self.gaps_) + 1
        code = np.minimum(np.searchsorted(known, key), len(known) - 1)
        first = np.searchsorted(self.places_[level], code * width + beyond)
        left = np.searchsorted(self.places_[level], (code + 1) * width) - first
        return first, np.where((known[code] == key) & (key >= 0), left, 0)

    def _nearest(self, level: int, first: np.ndarray, left: np.ndarray, share: float) -> np.ndarray:
        """The gap that `share` of `left` gaps from `first` on do not exceed, an observed one."""
        at = first + np.maximum(np.ceil(share * left).astype(np.int64) - 1, 0)
        places = at if level == EVERY else self.places_[level][at] % (len(self.gaps_) + 1)
        return self.gaps_[places]

    def quantiles(
        self,
        last: np.ndarray,
        then: np.ndarray,
        waited: np.ndarray,
        shares: Sequence[float] = (0.1, 0.5, 0.9),
        groups: np.ndarray | None = None,
    ) -> np.ndarray:
        """float64 (n, n_shares): µs from now; NaN where hardly anybody ever waited that long.

        last, then  int (n,)    ids of this model's vocabulary
        waited      int64 (n,)  µs since the last event; -1 before any time has passed
        groups      int (n,)    as in `fit`
        """
        self.check_fitted()
        found = np.full((len(last), len(shares)), np.nan)
        unanswered = np.ones(len(last), dtype=bool)
        beyond = np.searchsorted(self.gaps_, waited, side="right")
        of = np.full(len(last), -1) if groups is None else groups
        keys = self._keys(last, then, of)
        for level in NARROW_TO_WIDE:
            first, left = self._range(level, keys[level], beyond)
            take = np.flatnonzero(unanswered & (left >= (FEWEST if level == EVERY else self.at_least)))
            if len(take) == 0:
                continue
            for column, share in enumerate(shares):
                gaps = self._nearest(level, first[take], left[take], share)
                found[take, column] = gaps - np.maximum(waited[take], 0)
            unanswered[take] = False
        return found

    def usual(self, last: np.ndarray, then: np.ndarray, share: float = 0.9) -> np.ndarray:
        """float64 (n,): µs within which `share` of the steps last → then happened; NaN below `at_least`."""
        found = np.full(len(last), np.nan)
        first, left = self._range(EDGE, self._keys(last, then, np.full(len(last), -1))[EDGE], 0)
        take = np.flatnonzero(left >= self.at_least)
        found[take] = self._nearest(EDGE, first[take], left[take], share)
        return found

    def constant(self) -> float:
        """Median of all gaps, µs: what a time model must beat; NaN when no case has two events."""
        return float(np.median(self.gaps_)) if len(self.gaps_) else float("nan")
