"""What each view of the counting model says of held-out steps, and which views earn their share."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from behavio.kernels import backoff as kernel
from behavio.kernels.arrays import readonly
from behavio.models.base import Prefixes
from behavio.models.mixing import by_bin
from behavio.models.ngram import NO_TAGS
from behavio.models.tally import Table, Tally
from behavio.sequences import SequenceSet

FEWEST = 200
"""Held-out steps needed before anything is chosen by them."""
PULL, PASSES = 10.0, 12
MIX_PULL = 60.0
"""Held-out steps the overall mixture of views is worth in each bin of contexts."""
LEAST = 0.03
"""A view with a smaller share of the mixture is dropped."""


@dataclass(frozen=True, slots=True, eq=False)
class Once:
    """Steps of the same context and outcome taken together: a view says the same of them.

    packed  uint64 (n_words, m), each once, in order   first  int64 (m,): one step of each kind
    times   float64 (m,): how many there are           which  int64 (n,): the kind of each step
    """

    packed: np.ndarray
    first: np.ndarray
    times: np.ndarray
    which: np.ndarray

    @classmethod
    def of(cls, packed: np.ndarray) -> Once:
        """From `Tally.packed`."""
        order = np.lexsort(packed[::-1])
        ordered = packed[:, order]
        new = np.ones(len(order), dtype=np.bool_)
        new[1:] = (ordered[:, 1:] != ordered[:, :-1]).any(axis=0)
        which = np.empty(len(order), dtype=np.int64)
        which[order] = np.cumsum(new) - 1
        at = np.flatnonzero(new)
        times = np.diff(at, append=len(order)).astype(np.float64)
        return cls(ordered[:, new], order[new], times, which)


@dataclass(frozen=True, slots=True, eq=False)
class Looked:
    """What one view says of held-out steps: p float64 (n,), shares by bin, and its longest known level.

    table  what it counted, as far as the held-out steps ask for it
    """

    p: np.ndarray
    share: np.ndarray
    depth: np.ndarray
    table: Table

    @classmethod
    def at(
        cls, coded: SequenceSet, held: Prefixes, tally: Tally, weights: np.ndarray, tags: np.ndarray
    ) -> list[Looked]:
        """Learn the shares of contexts on the held-out steps, once for each way to weigh the periods."""
        once = Once.of(tally.packed(coded, held, tags))
        asked = asked_of(coded, held[once.first], tally, tags)
        uniform, first = 1.0 / max(len(coded.vocabulary) - 1, 1), first_shares(tally.levels)
        looks, places = [], None
        for table in tally.tables(weights, tally.asked(once.packed)):
            child, symbol, start, activity, count, total = table.arrays
            if places is None:  # however periods are weighed, the same contexts are there
                places = kernel.held_places(*asked, child, symbol, start, activity, total)
            came, size, kinds, bins = kernel.held_counts(*places, start, count, total)
            share = kernel.learn_shares(came, size, bins, once.times, first, uniform, PULL, PASSES)
            p = kernel.fill_truth(came, size, kinds, bins, share, uniform)[:, -1]
            looks.append(cls(p[once.which], share, (bins >= 0).sum(axis=1)[once.which] - 1, table))
        return looks

    @classmethod
    def smoothed(cls, coded: SequenceSet, held: Prefixes, tally: Tally, weights: np.ndarray) -> Looked:
        """The same for Kneser-Ney's counts, which have no shares to learn."""
        once = Once.of(tally.packed(coded, held, NO_TAGS))
        table, alone = tally.kneser_ney(weights, tally.asked(once.packed)), held[once.first]
        p, size = np.empty(len(alone)), len(coded.vocabulary)
        for part, some in alone.batches(size):
            rows = np.zeros((len(some), size))
            asked = asked_of(coded, some, tally, NO_TAGS)
            kernel.fill_rows(rows, np.ones(len(some)), *asked, table.discounts, np.zeros(0), *table.arrays)
            p[part] = rows[np.arange(len(some)), coded.tokens[some.ends]]
        return cls(p[once.which], np.zeros(0), np.zeros(len(held), dtype=np.int64), table)

    @property
    def loss(self) -> float:
        """NLL per step."""
        return float(-np.log(self.p).mean())


def asked_of(
    coded: SequenceSet, prefixes: Prefixes, tally: Tally, tags: np.ndarray
) -> tuple[np.ndarray, np.ndarray, bool, np.ndarray, np.ndarray, int]:
    """Arguments that every kernel asking a tally or its table begins with."""
    tokens = readonly(coded.tokens, np.int32)
    starts = np.asarray(prefixes.starts(coded))
    return tokens, readonly(tags, np.int64), tally.tagged, starts, np.asarray(prefixes.ends), tally.levels


def depths(coded: SequenceSet, prefixes: Prefixes, table: Table) -> np.ndarray:
    """int64 (n,): the longest context of each prefix that the plain table knows."""
    child, symbol, _, _, _, total = table.arrays
    return kernel.known_levels(*asked_of(coded, prefixes, table.tally, NO_TAGS), child, symbol, total)


def first_held(period: np.ndarray, share: float) -> int | None:
    """The first of the newest periods that hold about `share` of steps; None: nothing can be held out."""
    if len(period) == 0:
        return None
    for first in range(int(period.max()), 0, -1):
        n = int((period >= first).sum())
        if n >= max(share * len(period), FEWEST):
            return first if len(period) - n >= FEWEST else None
    return None


def fading(newest: int, half_life: float) -> np.ndarray:
    """float64 (newest,): weight of each period before `newest`; 1 for the last of them."""
    age = newest - 1 - np.arange(newest)
    weights: np.ndarray = np.ones(newest) if half_life == 0 else 0.5 ** (age / half_life)
    return weights


def first_shares(levels: int) -> np.ndarray:
    """float64 (bins,): Witten-Bell's share for the middle of each bin."""
    shares = np.empty((levels + 1, kernel.SIZES, kernel.KINDS))
    for size in range(kernel.SIZES):
        for kind, kinds in enumerate((1.0, 2.0, 3.0, 4.5, 7.5, 15.0)):
            shares[:, size, kind] = kinds / (2.0**size + kinds)
    return shares.ravel()


def padded(share: np.ndarray, levels: int) -> np.ndarray:
    """Shares of a view with fewer levels, filled up so that all views stand in one array."""
    full = np.full((levels + 2) * kernel.SIZES * kernel.KINDS, 0.5)
    full[: len(share)] = share
    return full


def chosen_views(looks: dict[str, Looked], bins: int) -> tuple[list[str], np.ndarray]:
    """Names of the views that earn their share, the plain one among them, and their weights by depth."""
    names, depth = list(looks), looks["plain"].depth
    while True:
        weights = by_bin(np.stack([looks[n].p for n in names]), depth, bins, MIX_PULL)
        share = weights[depth].mean(axis=0)
        share[0] = 1.0
        weakest = int(np.argmin(share))
        if share[weakest] >= LEAST:
            return names, weights
        del names[weakest]
