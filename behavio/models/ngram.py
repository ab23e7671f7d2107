"""The counting model: contexts of up to eight activities, interpolated with Witten-Bell back-off.

It is fast, exact, explains itself with what it counted, and is what every neural model has to beat.
Source: Witten and Bell, The zero-frequency problem (1991), method C; Chen and Goodman (1998) for the
interpolated form.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Self

import numpy as np

from behavio.kernels import backoff as kernel
from behavio.kernels import contexts
from behavio.kernels.arrays import readonly
from behavio.kernels.tables import build
from behavio.models.base import Prefixes, SequenceModel, Split, later_slice
from behavio.sequences import SequenceSet

NO_TAGS = readonly(np.zeros(0), np.int64)
EXPLAIN = 3
"""Contexts up to this order are kept even where shorter ones predict better: evidence reads better."""


@dataclass(frozen=True, slots=True, eq=False)
class Evidence:
    """Why: the longest context seen often enough, for each prefix and one activity after it.

    order     int64 (n,)  activities in the context; 0 is the whole log
    seen      int64 (n,)  times the context was seen with something after it
    followed  int64 (n,)  times the activity came next
    node      int64 (n,)  which context it is: equal numbers, equal contexts
    """

    order: np.ndarray
    seen: np.ndarray
    followed: np.ndarray
    node: np.ndarray


@dataclass
class NGram(SequenceModel):
    """Interpolated variable-order Markov model.

    `max_order` is the longest context; unless `fixed`, the order with the best likelihood on a later
    slice of the training events is used and the counts are then taken from all of them.

    Learns: order_        int64 (), longest context used for probabilities
            child_start_, node_token_, pair_start_, pair_token_, pair_count_   see behavio.kernels.contexts
    """

    learned: ClassVar[tuple[str, ...]] = (
        "order_",
        "child_start_",
        "node_token_",
        "pair_start_",
        "pair_token_",
        "pair_count_",
    )
    max_order: int = 8
    fixed: bool = False
    held_out: float = 0.15

    def learn(self, coded: SequenceSet) -> Self:
        """Choose the order on the latest events, then count all of them."""
        split = None if self.fixed else later_slice(coded, self.held_out)
        return self.take(coded, self.max_order if split is None else self.best_order(split))

    def take(self, coded: SequenceSet, order: int) -> Self:
        """Count all of these traces and use contexts of up to `order` activities."""
        self.count(coded, max(order, min(EXPLAIN, self.max_order)))
        self.order_ = np.int64(order)
        return self

    def best_order(self, split: Split) -> int:
        """The order that predicts the held-out steps best when it learns only from before them."""
        early = NGram(self.max_order, fixed=True).learn(split.train)
        whole, uniform = split.sequences, 1.0 / (len(early.vocabulary_) - 1)
        loss = np.zeros(self.max_order + 1)
        for _, some in split.prefixes.batches(4 * len(loss)):
            held = kernel.held_levels(*early.asked_of(whole, some, self.max_order), *early.trie)
            loss -= np.log(kernel.fill_truth(*held, np.zeros(0), uniform)).sum(axis=0)
        return int(np.argmin(loss))

    def asked_of(
        self, coded: SequenceSet, prefixes: Prefixes, levels: int
    ) -> tuple[np.ndarray, np.ndarray, bool, np.ndarray, np.ndarray, int]:
        """Arguments that every kernel asking the trie begins with."""
        tokens, starts = readonly(coded.tokens, np.int32), np.asarray(prefixes.starts(coded))
        return tokens, NO_TAGS, False, starts, np.asarray(prefixes.ends), levels

    def count(self, coded: SequenceSet, depth: int) -> None:
        """Build the trie of all contexts of up to `depth` activities that have a next event."""
        steps, size = Prefixes.of_cases(coded, 0), len(coded.vocabulary)
        at = np.asarray(steps.ends)
        layout = contexts.Layout.of(depth, size)
        given = [readonly(x, np.int64) for x in (NO_TAGS, at, at - steps.starts(coded), NO_TAGS)]
        packed = contexts.pack(
            readonly(coded.tokens, np.int32), *given, 0, layout.word, layout.shift, layout.n_words, depth
        )
        packed, times = contexts.distinct(packed)
        words, times = readonly(packed, np.uint64), readonly(times, np.int64)
        deep, shared = contexts.compared(words, layout.level_at)
        child, symbol, start, activity, count, _, _ = build(
            *(words, times, deep, shared, deep),
            *layout.where,
            NO_TAGS,
            layout.target,
            np.ones((1, 1)),
            size,
            False,
        )
        self.vocabulary_ = coded.vocabulary
        self.child_start_, self.node_token_, self.pair_start_ = child, symbol, start
        self.pair_token_, self.pair_count_ = activity.astype(np.int64), count[0].astype(np.int64)

    @property
    def trie(self) -> tuple[np.ndarray, ...]:
        """The learned arrays and the total of each node, as the kernels take them."""
        if getattr(self, "_totals_of", None) is not self.pair_count_:
            running = np.concatenate([[0], np.cumsum(self.pair_count_)])
            self._totals = running[self.pair_start_[1:]] - running[self.pair_start_[:-1]]
            self._totals_of = self.pair_count_
        return (
            self.child_start_,
            self.node_token_,
            self.pair_start_,
            self.pair_token_,
            self.pair_count_,
            self._totals,
        )

    def rows(self, coded: SequenceSet, prefixes: Prefixes) -> np.ndarray:
        """Interpolated probabilities."""
        rows = np.zeros((len(prefixes), len(self.vocabulary_)))
        asked = self.asked_of(coded, prefixes, int(self.order_))
        kernel.fill_rows(rows, np.ones(len(rows)), *asked, np.zeros(0), np.zeros(0), *self.trie)
        return rows

    def evidence(
        self,
        sequences: SequenceSet,
        prefixes: Prefixes,
        activities: np.ndarray,
        at_least: int = 20,
        longest: int | None = None,
    ) -> Evidence:
        """The longest context of each prefix seen `at_least` times, and how often that activity came next.

        `activities` int64 (n,) are ids of this model's vocabulary; contexts of at most `longest` activities.
        """
        coded = self.coded(sequences)
        starts = prefixes.starts(coded)
        depth = max(int(self.order_), min(EXPLAIN, self.max_order))
        depth = depth if longest is None else min(depth, longest)
        found = kernel.longest_evidence(
            readonly(coded.tokens, np.int32), starts, prefixes.ends, activities, at_least, depth, *self.trie
        )
        return Evidence(*found)
