"""Mixture of semi-Markov chains by EM: groups that differ in order and timing, not only in counts.

Each group is a first-order chain: where journeys start, which activity follows which, and after what
time (in twelfths of all gaps of that kind, with a point mass for gaps of at most a second). A case belongs to
the group under which its whole journey is most likely. After Cadez, Heckerman, Meek, Smyth & White,
"Model-based clustering and visualization of navigation patterns on a web site" (2003), with the gap
times of a semi-Markov process and estimates drawn towards the whole log's.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import ClassVar, Self

import numpy as np
import polars as pl

from behavio.engine import Count, Encoded, Engine
from behavio.engine.local import LocalEngine
from behavio.segments.chains import PARAMETERS, Beliefs, Chains, Habits, m_step
from behavio.segments.contract import Segmenter
from behavio.segments.em import Expectation, e_step, posteriors, refine, search, weighted
from behavio.segments.statistics import (
    CaseStatistics,
    Edges,
    case_statistics,
    edge_count,
    target_of,
    wait_count,
)
from behavio.segments.views import GIVEN, View
from behavio.sequences import SequenceSet

REFINE_STEPS = 5
"""Each pass reads all of the log; groups found in a sample of it are near already."""


@dataclass
class SemiMarkovMixture(Segmenter):
    """k groups of cases, each a semi-Markov chain.

    Learns (E edges, C gap classes, V tokens), largest group first:
    keys_, gap_class_, rest_class_, cuts_  which edges occur and the class of each gap (`statistics.Edges`)
    kinds_, answers_  what the view looks back on (`views.View`)
    shares_, start_, transitions_, waits_  the chains (`chains.Chains`)
    unlisted_  float64 ()  log-probability of a transition never seen in fitting, the same in every group
    """

    learned: ClassVar[tuple[str, ...]] = (
        "keys_",
        "gap_class_",
        "rest_class_",
        "cuts_",
        "target_of_",
        "kinds_",
        "answers_",
        *(f"{name}_" for name in PARAMETERS),
        "unlisted_",
    )

    smoothings: ClassVar[tuple[float, ...]] = (0.0,)

    smoothing: float = 0.0  # 0: as much as makes the groups' counts likeliest, for each activity
    response_only: bool = True  # what the company does is given; groups are made of how cases respond
    view: str = "events"  # what a step comes from: one of views.VIEWS

    layout: ClassVar[tuple[str, ...]] = (
        *("vocabulary_", "keys_", "gap_class_", "rest_class_", "cuts_", "target_of_"),
        *("kinds_", "answers_", "unlisted_"),
    )

    def lay_out(self, sequences: SequenceSet) -> None:
        """Learn which edges and kinds of gaps there are: the columns of the statistics."""
        n_tokens = len(sequences.vocabulary)
        given = target_of(sequences)
        self.target_of_ = given if self.response_only else np.arange(n_tokens, dtype=np.int32)
        view = View.of(self.view, sequences, self.target_of_, given == GIVEN)
        self.kinds_, self.answers_ = view.kinds, view.answers
        counts = LocalEngine().run(edge_count(view), sequences)
        edges = Edges.of(counts, sequences.timed or self.view == "spells", view)
        if edges.n_classes:
            edges = edges.cut(LocalEngine().run(wait_count(edges), sequences))
        self.vocabulary_ = sequences.vocabulary
        self.keys_, self.gap_class_, self.rest_class_ = edges.keys, edges.gap_class, edges.rest_class
        self.cuts_ = edges.cuts
        # Witten & Bell (1991): as many new transitions are to come as kinds of them came so far
        n_events = int(counts.n.sum())
        new = (len(edges.keys) + 1) / (n_events + len(edges.keys) + 1)
        self.unlisted_ = np.array(np.log(new / n_tokens))

    @property
    def edges(self) -> Edges:
        """The columns of the statistics."""
        view = View(self.view, self.target_of_, self.kinds_, self.answers_)
        return Edges(self.keys_, self.gap_class_, self.rest_class_, self.cuts_, view)

    @property
    def chains(self) -> Chains:
        """The groups' chains."""
        return Chains(*(getattr(self, f"{name}_") for name in PARAMETERS))

    def statistics(self) -> Count[CaseStatistics]:
        """The question a shard of cases is asked: one row of sufficient statistics a case."""
        return case_statistics(self.edges, self.effective_length)

    def expectation(self) -> Count[Expectation]:
        """One E-step as a question to shards: answers add up to what the M-step needs."""
        return Count(of=partial(_expectation_of, model=self), merge=Expectation.merge)

    def gather(self, sequences: SequenceSet) -> CaseStatistics:
        """Statistics of these cases in the columns of this model."""
        return LocalEngine().run(self.statistics(), self.known(sequences))

    def fit_gathered(self, cases: CaseStatistics) -> Self:
        """EM from several seeded starts; raises ModelError when there are fewer cases than groups."""
        self.check_enough(cases.n_cases)
        edges = self.edges
        habits = Habits.of(cases.total(edges.n_features), edges)
        found = search(cases, habits, edges, self.smoothing, self.k, self.restarts, self.seed)
        found = found.order(np.argsort(-found.shares, kind="stable"))
        return self._with(found)

    def refined(self, engine: Engine, log: Encoded, steps: int = REFINE_STEPS) -> Self:
        """The same groups, estimated from all of a log that is larger than what they were found in.

        log  whatever `engine` counts: a SequenceSet of many shards, a log on a cluster; activities this model
        never met are unknown to it. Raises NotFittedError without chains to start from.
        """
        self.check_fitted()

        def ask(chains: Chains) -> Expectation:
            return engine.run(self.alike()._with(chains).expectation(), log)

        found = refine(ask, self.chains, self.edges, self.smoothing, steps)
        return self.alike()._with(found)

    def labels(self, min_strength: float, min_events: int) -> Count[pl.DataFrame]:
        """Who belongs where, as a question to shards: case_id, segment_id (−1 none), strength."""
        of = partial(_labels_of, model=self, min_strength=min_strength, min_events=min_events)
        return Count(of=of, merge=_both)

    def of_groups(self, cases: CaseStatistics, posterior: np.ndarray) -> Self:
        """The chains of known groups, float64 (n_cases, k): no group is looked for."""
        edges = self.edges
        habits = Habits.of(cases.total(edges.n_features), edges)
        statistics = weighted(cases, posterior, edges)
        beliefs = Beliefs.found(statistics, habits, edges)
        if self.smoothing:
            beliefs = Beliefs.even(self.smoothing, edges)
        return self._with(m_step(statistics, posterior.sum(axis=0), habits, edges, beliefs))

    def _with(self, chains: Chains) -> Self:
        for name in PARAMETERS:
            setattr(self, f"{name}_", getattr(chains, name))
        return self

    def posterior_of(self, cases: CaseStatistics) -> np.ndarray:
        """Probability of each group for each case, float64 (n_cases, k)."""
        return posteriors(self.chains, cases)[0]

    def score(self, cases: CaseStatistics) -> tuple[np.ndarray, np.ndarray]:
        """Log-likelihood of each case and the events it was counted as, float64 (n_cases,) each.

        Transitions count with their probability, gaps with that of the twelfth they fall into.
        """
        listed = posteriors(self.chains, cases)[1]
        return listed + cases.weight * cases.unseen * self.unlisted_, cases.weight * cases.events


def _expectation_of(shard: SequenceSet, model: SemiMarkovMixture) -> Expectation:
    return e_step(model.chains, model.statistics().of(model.known(shard)))


def _labels_of(
    shard: SequenceSet, model: SemiMarkovMixture, min_strength: float, min_events: int
) -> pl.DataFrame:
    label, strength = model.placed(shard, min_strength, min_events)
    return pl.DataFrame(
        {
            "case_id": shard.case_ids.cast(pl.String),
            "segment_id": pl.Series(label, dtype=pl.Int32),
            "strength": strength,
        }
    )


def _both(one: pl.DataFrame, other: pl.DataFrame) -> pl.DataFrame:
    return pl.concat([one, other])
