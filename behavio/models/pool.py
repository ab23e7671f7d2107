"""Counting and the net together: a linear pool, weighted by what came later inside training.

Where data are thin the n-gram knows the rare contexts, where cases are long the net sees further; their
weighted mean is seldom worse than the better of the two. Weights drift, so they are fitted on the latest
part of training and drawn towards one half each.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Self

import numpy as np

from behavio.models.base import Prefixes, SequenceModel, Split, later_slice
from behavio.models.neural import GRU
from behavio.models.ngram import NGram
from behavio.sequences import SequenceSet

PULL = 500.0
"""Held-out events the belief in equal weights is worth."""


@dataclass
class Pool(SequenceModel):
    """Weighted mean of an n-gram and a GRU.

    Learns: weights_  float64 (2,), share of the n-gram and of the GRU; and both members, saved in
            folders beside
    """

    learned: ClassVar[tuple[str, ...]] = ("weights_",)
    max_order: int = 8
    hidden: int = 64
    epochs: int = 20
    budget: int = 1_500_000
    seed: int = 7
    held_out: float = 0.15

    def watch(self, progress: Callable[[str, float], None]) -> Self:
        """Report the GRU's passes to `progress(what, share done)`."""
        self._progress = progress
        return self

    def learn(self, coded: SequenceSet) -> Self:
        """Both members up to the latest steps, the weights on those, then both on everything."""
        self.vocabulary_ = coded.vocabulary
        self.ngram_ = NGram(self.max_order, held_out=self.held_out)
        self.gru_ = GRU(self.hidden, self.epochs, self.budget, self.seed, self.held_out)
        if hasattr(self, "_progress"):
            self.gru_.watch(self._progress)
        split = later_slice(coded, self.held_out)
        if split is None:
            self.ngram_.learn(coded)
            self.gru_.learn(coded)
            self.weights_ = np.array([0.5, 0.5])
            return self
        order = self.ngram_.best_order(split)
        self.gru_.begin(coded)
        self.gru_.train(split.train, split)
        seen, first, second = halves(split)
        self.gru_.catch_up(coded, first)
        early = NGram(self.max_order, fixed=True).take(seen, order)
        held = second.thin(100_000)
        p = np.stack([early.of_truth(coded, held), self.gru_.of_truth(coded, held)])
        self.weights_ = pool_weights(p, PULL)
        self.ngram_.take(coded, order)
        self.gru_.catch_up(coded, second)
        return self

    def carry_on(self, coded: SequenceSet, recent: Prefixes) -> None:
        """Go on learning from a longer log whose `recent` steps are new; the weights stay."""
        self.vocabulary_ = coded.vocabulary
        self.ngram_.learn(coded)
        self.gru_.carry_on(coded, recent)

    def rows(self, coded: SequenceSet, prefixes: Prefixes) -> np.ndarray:
        """The weighted mean of both members."""
        first, second = self.weights_
        return first * self.ngram_.rows(coded, prefixes) + second * self.gru_.rows(coded, prefixes)

    def save(self, folder: Path) -> None:
        """Write the pool, and its members into ngram/ and gru/."""
        super().save(folder)
        self.ngram_.save(folder / "ngram")
        self.gru_.save(folder / "gru")

    def read_members(self, folder: Path) -> None:
        """Read both members."""
        self.ngram_, self.gru_ = NGram.load(folder / "ngram"), GRU.load(folder / "gru")


def halves(split: Split) -> tuple[SequenceSet, Prefixes, Prefixes]:
    """The held-out steps cut in two, and what is known before the second half.

    Both members have then learnt everything up to the steps that weigh them, as they will have when they
    are used. Where time cannot be cut again, both halves are the whole slice.
    """
    held = split.prefixes
    if split.cut is None:
        return split.train, held[: len(held) // 2], held[len(held) // 2 :]
    times = np.asarray(split.sequences.times)[held.ends]
    middle = int(np.median(times))
    if not (times < middle).any():
        return split.train, held[:0], held
    return split.sequences.until(middle), held[times < middle], held[times >= middle]


def pool_weights(p: np.ndarray, pull: float) -> np.ndarray:
    """Mixture weights by EM for p float64 (models, n): probability each gave to what happened.

    Drawn towards equal weights as if `pull` further events spoke for them.
    """
    weights = np.full(len(p), 1.0 / len(p))
    for _ in range(200):
        share = weights[:, None] * p
        share /= share.sum(axis=0)
        weights = share.mean(axis=1)
    n = p.shape[1]
    return (n * weights + pull / len(p)) / (n + pull)
