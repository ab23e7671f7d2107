"""Stages learned from what is talked about: a hidden ladder fitted by expectation-maximisation.

The model is in `kernels.ladder`. What an event shows is the message of a talk (column `by`), never the
activity itself: how often somebody opens or visits tells who she is, not where she stands, and a ladder
fitted to it finds kinds of people. What moves a case is the activity and a long silence before it.
"""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from behavio.estimator import Estimator
from behavio.kernels import ladder

Learned = tuple[np.ndarray, np.ndarray, np.ndarray]
SHARDS = 8
"""Cases are counted in so many parts, whatever the number of cores: the sums are the same everywhere."""
SAMPLE = 500
"""Cases that beginnings and numbers of stages are tried on."""
PACES = (0.05, 0.1, 0.2, 0.4)
"""How fast a beginning forgets: weight of the newest event."""
TRIAL, TRIES = 30, 4
"""Rounds that a rearrangement gets to prove itself, and how many are taken one after the other."""
PRIOR_MARKS, PRIOR_MOVES = 5.0, 20.0
"""Pseudo-counts that draw rare marks and drivers to what all stages share."""
COUNTS = (2, 3, 4, 5, 6)


@dataclass(frozen=True, slots=True)
class Ladders:
    """Events of whole cases as a ladder sees them.

    offsets int64 (cases + 1,), mark int32 (events,) -1 for none, driver int32 (events,), favour float64
    (events,): 1 a liked message, -1 a disliked one, 0 all else
    """

    offsets: np.ndarray
    mark: np.ndarray
    driver: np.ndarray
    favour: np.ndarray
    n_marks: int
    n_drivers: int

    def of(self, cases: np.ndarray) -> Ladders:
        """Only these cases."""
        lengths = np.diff(self.offsets)[cases]
        offsets = np.concatenate([[0], np.cumsum(lengths)])
        rows = np.repeat(self.offsets[cases] - offsets[:-1], lengths) + np.arange(offsets[-1])
        return Ladders(
            offsets, self.mark[rows], self.driver[rows], self.favour[rows], self.n_marks, self.n_drivers
        )


@dataclass
class StageLadder(Estimator):
    """Ordered hidden stages, the lowest first.

    learned  first_ (stages,), marks_ (stages, marks), moves_ (stages, drivers, 3)
    """

    count: int = 5
    max_rounds: int = 300
    tolerance: float = 1e-6

    learned: ClassVar[tuple[str, ...]] = ("first_", "marks_", "moves_")

    def fit(self, seen: Ladders) -> StageLadder:
        """Fit some cases from several beginnings, rearrange the best, go on with it on all cases."""
        some = seen.of(_spread(len(seen.offsets) - 1, SAMPLE))
        tried = [self._trial(some, *self._beginning(some, pace)) for pace in PACES]
        best = max(tried, key=lambda t: t[0])
        for _ in range(TRIES):
            better = [self._trial(some, *start) for start in self._rearranged(best[1])]
            challenger = max(better, key=lambda t: t[0], default=best)
            if challenger[0] <= best[0] + self.tolerance:
                break
            best = challenger
        self.first_, self.marks_, self.moves_ = best[1]
        self._climb(seen, self.max_rounds)
        self._turn(seen)
        return self

    def paths(self, seen: Ladders) -> tuple[np.ndarray, np.ndarray, float]:
        """Likeliest path (events + cases,), odds of each stage today (cases, stages), log likelihood."""
        self.check_fitted()
        n = len(seen.offsets) - 1
        path = np.empty(len(seen.mark) + n, np.int8)
        now = np.empty((n, self.count))
        total = ladder.climb(
            seen.offsets, seen.mark, seen.driver, self.first_, self.marks_, self.moves_, path, now
        )
        return path, now, total

    def _beginning(self, seen: Ladders, pace: float) -> Learned:
        """First guess: stages are equal shares of events by how well lately shown messages were liked."""
        liked = ladder.faded(seen.offsets, seen.favour, pace)
        rank = np.argsort(np.argsort(liked, kind="stable"), kind="stable") / max(len(liked), 1)
        stage = np.minimum((rank * self.count).astype(np.int64), self.count - 1)
        shown = seen.mark >= 0
        counts = np.zeros((self.count, seen.n_marks))
        np.add.at(counts, (stage[shown], seen.mark[shown]), 1.0)
        counts += 0.1 * counts.sum(axis=0)
        moves = np.tile(np.array((0.02, 0.95, 0.03)), (self.count, seen.n_drivers, 1))
        return np.full(self.count, 1 / self.count), self._shares(counts), _closed(moves)

    def _rearranged(self, learned: Learned) -> Iterator[Learned]:
        """Two neighbouring stages made one and another split in two, in every way.

        Expectation-maximisation stays where it is when one stage stands for two (Ueda, Nakano, Ghahramani &
        Hinton 2000, SMEM algorithm for mixture models).
        """
        _, marks, moves = learned
        rng = np.random.default_rng(0)
        for low in range(self.count - 1):
            merged = np.delete(marks, low + 1, axis=0)
            merged[low] = (marks[low] + marks[low + 1]) / 2
            for split in range(self.count - 1):
                lean = rng.uniform(0.3, 1.7, marks.shape[1])
                halves = np.stack([merged[split] * lean, merged[split] * (2 - lean)])
                halves /= halves.sum(axis=1, keepdims=True)
                rows = np.concatenate([merged[:split], halves, merged[split + 1 :]])
                same = np.tile(moves.mean(axis=0), (self.count, 1, 1))
                yield np.full(self.count, 1 / self.count), rows, _closed(same)

    def _trial(self, seen: Ladders, *start: np.ndarray) -> tuple[float, Learned]:
        """What a beginning comes to in a few rounds: log likelihood per event and what was learned."""
        self.first_, self.marks_, self.moves_ = start
        reached = self._climb(seen, TRIAL)
        return reached, (self.first_, self.marks_, self.moves_)

    def _climb(self, seen: Ladders, rounds: int) -> float:
        """Expectation-maximisation until it gains next to nothing; returns the log likelihood per event."""
        last, n = -np.inf, max(len(seen.mark), 1)
        for _ in range(rounds):
            total, first, marks, moves = self._expected(seen)
            self.first_ = (first + 1) / (first.sum() + self.count)
            self.marks_ = self._shares(marks)
            self.moves_ = _closed(_shrunk(moves))
            if total / n - last < self.tolerance:
                break
            last = total / n
        return float(last)

    def _expected(self, seen: Ladders) -> tuple[float, np.ndarray, np.ndarray, np.ndarray]:
        """Log likelihood and expected counts, summed over shards in their order."""
        bounds = np.linspace(0, len(seen.offsets) - 1, SHARDS + 1).astype(np.int64)

        def part(k: int) -> tuple[float, np.ndarray, np.ndarray, np.ndarray]:
            found = np.zeros(self.count), np.zeros_like(self.marks_), np.zeros_like(self.moves_)
            given = seen.offsets, bounds[k], bounds[k + 1], seen.mark, seen.driver
            return ladder.expect(*given, self.first_, self.marks_, self.moves_, *found), *found

        with ThreadPoolExecutor() as pool:
            parts = list(pool.map(part, range(SHARDS)))
        return (
            sum(p[0] for p in parts),
            np.sum([p[1] for p in parts], axis=0),
            np.sum([p[2] for p in parts], axis=0),
            np.sum([p[3] for p in parts], axis=0),
        )

    def _shares(self, counts: np.ndarray) -> np.ndarray:
        """Share of each mark per stage, drawn to the share over all."""
        overall = (counts.sum(axis=0) + 0.5) / (counts.sum() + 0.5 * counts.shape[1])
        found = counts + PRIOR_MARKS * overall
        return np.asarray(found / found.sum(axis=1, keepdims=True))

    def _turn(self, seen: Ladders) -> None:
        """Put the stages where messages are liked more on top; without reactions, those of later events."""
        path, _, _ = self.paths(seen)
        at = np.delete(path, seen.offsets[1:] + np.arange(len(seen.offsets) - 1))
        liked = ladder.faded(seen.offsets, seen.favour, PACES[0])
        if np.ptp(liked) == 0:
            liked = np.arange(len(at)) - np.repeat(seen.offsets[:-1], np.diff(seen.offsets))
        if np.ptp(at) and np.corrcoef(at, liked)[0, 1] < 0:
            self.first_ = self.first_[::-1].copy()
            self.marks_ = self.marks_[::-1].copy()
            self.moves_ = self.moves_[::-1, :, ::-1].copy()


def likeliest_count(seen: Ladders) -> tuple[int, dict[int, float]]:
    """The number of stages that predicts held-out cases best, and the log likelihood per event of each.

    A larger number must gain more than one standard error over 20 parts of the held-out cases.
    """
    cases = _spread(len(seen.offsets) - 1, 4 * SAMPLE)
    train, test = seen.of(cases[::2]), cases[1::2]
    parts = [seen.of(some) for some in np.array_split(test, min(20, max(len(test), 1))) if len(some)]
    scores: dict[int, np.ndarray] = {}
    for count in COUNTS:
        model = StageLadder(count).fit(train)
        scores[count] = np.array([model.paths(p)[2] / max(len(p.mark), 1) for p in parts])
    best = COUNTS[0]
    for count in COUNTS[1:]:
        gain = scores[count] - scores[best]
        if gain.mean() > gain.std(ddof=1) / np.sqrt(len(gain)):
            best = count
    return best, {k: float(v.mean()) for k, v in scores.items()}


def _spread(n: int, most: int) -> np.ndarray:
    """At most so many of n cases, evenly spread."""
    return np.unique(np.linspace(0, n - 1, min(n, most)).astype(np.int64)) if n else np.zeros(0, np.int64)


def _shrunk(moves: np.ndarray) -> np.ndarray:
    """Odds of moves per stage and driver, drawn to those of the driver, and these to those of all."""
    overall = moves.sum(axis=(0, 1)) / max(moves.sum(), 1.0)
    driver = moves.sum(axis=0) + PRIOR_MOVES * overall
    driver /= driver.sum(axis=1, keepdims=True)
    found = moves + PRIOR_MOVES * driver
    return np.asarray(found / found.sum(axis=2, keepdims=True))


def _closed(moves: np.ndarray) -> np.ndarray:
    """No step below the lowest or above the highest stage: who would take it stays."""
    found = np.maximum(moves, 1e-12)
    found /= found.sum(axis=2, keepdims=True)
    found[0, :, ladder.STAY] += found[0, :, ladder.DOWN]
    found[0, :, ladder.DOWN] = 0.0
    found[-1, :, ladder.STAY] += found[-1, :, ladder.UP]
    found[-1, :, ladder.UP] = 0.0
    return np.asarray(found)
