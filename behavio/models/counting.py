"""The counting model: what followed contexts of up to eight activities, read in several ways and mixed.

Each view is an interpolated variable-order model of its own: the plain one knows activities, others add
after the last activity what else is known of it (the wait before it, which activities the case has had, an
attribute, the case's segment). How much a context is trusted, how fast old counts fade and how much each
view says are learnt from the latest part of the log, so a process that drifts is counted by its newest
events and its shorter contexts.
Sources: Jelinek and Mercer (1980) for shares by bin, Witten and Bell (1991), Kneser and Ney (1995).
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import ClassVar, Self

import numpy as np

from behavio.errors import ModelError
from behavio.kernels import backoff as kernel
from behavio.kernels.arrays import readonly
from behavio.models.base import CELLS, Prefixes, SequenceModel
from behavio.models.mixing import Mixture
from behavio.models.ngram import EXPLAIN, NO_TAGS, Evidence
from behavio.models.tally import ARRAYS, Grid, Table, Tally, layout_of, tags_of
from behavio.models.views import FEWEST, Looked, asked_of, chosen_views, depths, fading, first_held, padded
from behavio.sequences import SequenceSet, Vocabulary

TAG_ORDERS = 4
"""Activities a context of a tagged view may hold."""
HALF_LIVES = (0.0, 16.0, 8.0, 4.0, 2.0)
"""Periods after which a count is worth half; 0 never forgets."""
HELD = 30_000
"""Held-out steps looked at."""
MIXED, EXPONENT_PULL = 6_000, 20.0
"""Held-out steps for the exponents of the geometric mean, and how many of them equal exponents are worth."""
BYS = ("events", "cases", "any")
LEARNED, WITTEN_BELL = range(2)
THREADS = 4
"""Views looked at together, at most."""


@dataclass
class Counting(SequenceModel):
    """Interpolated variable-order counts over several views.

    max_order  longest context of the plain view
    views      views to try beside the plain one: "kneser_ney", those of `tally.tags_of`, or "fields" (all)
    fixed      True: Witten-Bell on the plain view, nothing forgotten and nothing chosen
    held_out   share of events, the latest, by which everything is chosen
    grid       origin and width (µs) of the periods; default: from the log. Shards that merge need one grid

    Learns: grid_       int64 (3,)    views_  names of the views used    smoothing_, half_life_, newest_
            shares_     float64 (n_views, bins)   share a context leaves to shorter ones
            mixture_    float64 (levels + 1, n_views), by how long a context the plain view knows
            exponents_  float64 (n_views,), linear_: see `mixing.Mixture`
            bounds_, words_, count_, names_   the tallies, one after another
    """

    learned: ClassVar[tuple[str, ...]] = (
        "grid_",
        "views_",
        "smoothing_",
        "half_life_",
        "newest_",
        "shares_",
        "mixture_",
        "exponents_",
        "linear_",
        "bounds_",
        "words_",
        "count_",
        "names_",
    )
    max_order: int = 8
    views: tuple[str, ...] = ("kneser_ney", "gap", "set", "gap+set", "hour", "fields")
    fixed: bool = False
    held_out: float = 0.15
    grid: tuple[int, int, str] | None = None
    count_: ClassVar[np.ndarray]

    def learn(self, coded: SequenceSet) -> Self:
        """Count everything once; choose by the newest periods, as if they had not been counted."""
        grid = Grid.over(coded) if self.grid is None else Grid(*self.grid)
        self.vocabulary_ = coded.vocabulary
        steps = Prefixes.of_cases(coded, 0)
        period = grid.of(coded, steps)
        tallies = {"plain": Tally.of(coded, steps, "plain", self.max_order, grid, None, period)}
        self.newest_ = np.int64(period.max(initial=0))
        self.grid_ = np.array([grid.origin, grid.width, BYS.index(grid.by)])
        first = None if self.fixed else first_held(period, self.held_out)
        if first is None:
            self._keep(tallies, WITTEN_BELL, 0.0, np.zeros((1, 0)), np.ones((1, 1)))
            return self
        self._choose(coded, steps, period, first, tallies)
        return self

    def _choose(
        self, coded: SequenceSet, steps: Prefixes, period: np.ndarray, first: int, tallies: dict[str, Tally]
    ) -> None:
        """Half-life and smoothing on the plain view, then the other views, then their mixture."""
        plain, orders = tallies["plain"], min(TAG_ORDERS, self.max_order)
        held = steps[np.flatnonzero(period >= first)].thin(HELD)
        lives = HALF_LIVES[:1] if plain.grid.by == "any" else HALF_LIVES
        each = Looked.at(coded, held, plain, np.stack([fading(first, life) for life in lives]), NO_TAGS)
        tried = dict(zip(lives, each, strict=True))
        losses = {life: look.loss for life, look in tried.items()}
        life = min(losses, key=lambda x: losses[x] + (0.002 if x else 0.0))

        def look(view: str) -> tuple[str, Tally, Looked] | None:
            """What a view counted and says; None: it has nothing to add to the activities."""
            if view == "kneser_ney":
                return view, plain, Looked.smoothed(coded, held, plain, fading(first, 0.0))
            tags = tags_of(view, coded)
            if tags.min() == tags.max():
                return None
            tally = Tally.of(coded, steps, view, orders, plain.grid, tags, period)
            return view, tally, Looked.at(coded, held, tally, fading(first, life)[None], tags)[0]

        with ThreadPoolExecutor(min(os.cpu_count() or 1, THREADS)) as pool:
            found = [f for f in pool.map(look, self._wanted(coded)) if f is not None]
        looks = {"plain": tried[life], **{view: looked for view, _, looked in found}}
        tallies.update({view: tally for view, tally, _ in found})
        names, weights = chosen_views(looks, plain.levels + 1)
        self._keep(
            {n: tallies[n] for n in names},
            LEARNED,
            life,
            np.stack([padded(looks[n].share, plain.levels + 1) for n in names]),
            weights,
        )
        self._mix(coded, held, [looks[n].table for n in names])
        self._tags_of: tuple[SequenceSet, dict[str, np.ndarray]] | None = None

    def _mix(self, coded: SequenceSet, held: Prefixes, tables: list[Table]) -> None:
        """The geometric side of the mixture, from what the views knew before the held-out periods."""
        cells = len(self.views_) * len(self.vocabulary_)
        some = held.thin(min(MIXED, CELLS // cells))
        if len(self.views_) == 1 or len(some) < FEWEST:
            return
        rows = self._view_rows(coded, some, tables)
        code, truth = depths(coded, some, tables[0]), coded.tokens[some.ends].astype(np.int64)
        found = Mixture.fit(rows, truth, self.mixture_, code, EXPONENT_PULL)
        self.exponents_, self.linear_ = found.exponents, np.float64(found.linear)

    def _wanted(self, coded: SequenceSet) -> list[str]:
        """The views to try on this log."""
        wanted = [
            v for v in self.views if v != "fields" and (coded.timed or v not in ("gap", "gap+set", "hour"))
        ]
        if "fields" in self.views:
            wanted += [f"field:{name}" for name in coded.fields]
        return wanted

    def _keep(
        self,
        tallies: dict[str, Tally],
        smoothing: int,
        life: float,
        shares: np.ndarray,
        mixture: np.ndarray,
    ) -> None:
        """Put down what was learnt as arrays."""
        self.views_ = np.array(list(tallies), dtype=np.str_)
        tallies = {n: t for n, t in tallies.items() if n == t.view}
        self.smoothing_, self.half_life_ = np.int64(smoothing), np.float64(life)
        self.shares_, self.mixture_ = shares, mixture
        self.exponents_, self.linear_ = np.ones(len(tallies)) / len(tallies), np.float64(1.0)
        self._put(list(tallies.values()))

    def _put(self, tallies: list[Tally]) -> None:
        for name in ARRAYS:
            setattr(self, f"{name}_", np.concatenate([getattr(t, name).ravel() for t in tallies]))
        sizes = [[getattr(t, name).size for name in ARRAYS] for t in tallies]
        self.bounds_ = np.concatenate([np.zeros((1, len(ARRAYS)), dtype=np.int64), np.cumsum(sizes, axis=0)])
        self._tables_of: tuple[np.ndarray, list[Table], Table] | None = None

    @property
    def tallies(self) -> list[Tally]:
        """One tally per view that counts for itself, the plain one first."""
        self.check_fitted()
        found = []
        grid = Grid(int(self.grid_[0]), int(self.grid_[1]), BYS[int(self.grid_[2])])
        for i, view in enumerate(v for v in self.views_.tolist() if v != "kneser_ney"):
            arrays = {
                name: getattr(self, f"{name}_")[self.bounds_[i, k] : self.bounds_[i + 1, k]]
                for k, name in enumerate(ARRAYS)
            }
            orders = self.max_order if view == "plain" else min(TAG_ORDERS, self.max_order)
            layout = layout_of(view, orders, self.vocabulary_, arrays["names"])
            arrays["words"] = arrays["words"].reshape(layout.n_words, -1)
            found.append(Tally(view, orders, self.vocabulary_, grid, **arrays))
        return found

    def reads(self) -> tuple[str, ...]:
        """The attributes of its views."""
        return tuple(v.removeprefix("field:") for v in self.views_.tolist() if v.startswith("field:"))

    def _tables(self) -> tuple[list[Table], Table]:
        """The table of each view as it stands now, and the plain one with every count whole."""
        known: tuple[np.ndarray, list[Table], Table] | None = getattr(self, "_tables_of", None)
        if known is None or known[0] is not self.count_:
            newest = int(self.newest_) + 1
            faded, whole = fading(newest, float(self.half_life_)), np.ones(newest)
            tallies = {t.view: t for t in self.tallies}

            def made(view: str) -> list[Table]:
                if view == "kneser_ney":
                    return [tallies["plain"].kneser_ney(whole)]
                weights = [faded, whole] if view == "plain" else [faded]
                return tallies[view].tables(np.stack(weights))

            with ThreadPoolExecutor(min(os.cpu_count() or 1, THREADS)) as pool:
                first, *others = self.views_.tolist()
                plain = made(first)
                tables = [plain[0], *(found[0] for found in pool.map(made, others))]
            known = (self.count_, tables, plain[1])
            self._tables_of = known
        return known[1], known[2]

    def update(self, sequences: SequenceSet, new: Prefixes) -> Self:
        """Count these further steps: the tallies are then those of a fit on everything.

        `sequences` holds the cases of the new steps from their start, or at least the `max_order` activities
        before each. What was chosen (views, shares, half-life, mixture) stays until the next `fit`.
        """
        self.check_fitted()
        vocabulary = Vocabulary.of([*self.vocabulary_.activities, *sequences.own_vocabulary().activities])
        coded = sequences.recode(vocabulary)
        fresh = [Tally.of(coded, new, t.view, t.orders, t.grid) for t in self.tallies]
        return self._join(fresh, vocabulary)

    def merge(self, other: Counting) -> Self:
        """Take in what another one counted on other cases, with the same grid and the same views."""
        if self.views_.tolist() != other.views_.tolist():
            raise ModelError(
                "counts of different views do not merge", hint="fit all shards with the same views, fixed"
            )
        vocabulary = Vocabulary.of([*self.vocabulary_.activities, *other.vocabulary_.activities])
        return self._join(other.tallies, vocabulary)

    def _join(self, others: Sequence[Tally], vocabulary: Vocabulary) -> Self:
        both = [mine.merge(theirs) for mine, theirs in zip(self.tallies, others, strict=True)]
        self.vocabulary_ = vocabulary
        self._put([t.recode(vocabulary) for t in both])
        self.newest_ = np.int64(max(t.newest for t in both))
        return self

    def rows(self, coded: SequenceSet, prefixes: Prefixes) -> np.ndarray:
        """The mixture of all views."""
        tables, _ = self._tables()
        if len(tables) == 1:
            result: np.ndarray = self._view_rows(coded, prefixes, tables)[0]
            return result
        size = len(self.vocabulary_)
        mixture = Mixture(self.mixture_, self.exponents_, float(self.linear_))
        result = np.empty((len(prefixes), size))
        for part, some in prefixes.batches(size * len(tables)):
            rows, code = self._view_rows(coded, some, tables), depths(coded, some, tables[0])
            mixed = mixture.of(rows, code)
            lost = (
                code == 0
            )  # all views say the same there, what is usual: it is not evidence many times over
            mixed[lost] = replace(mixture, linear=1.0).of(rows[:, lost], code[lost])
            result[part] = mixed
        return result

    def _view_rows(self, coded: SequenceSet, prefixes: Prefixes, tables: Sequence[Table]) -> np.ndarray:
        """float64 (n_views, n, size): what each view says."""
        rows = np.zeros((len(tables), len(prefixes), len(self.vocabulary_)))
        none, whole = np.zeros(0), np.ones(len(prefixes))
        for i, table in enumerate(tables):
            plain = self.smoothing_ == WITTEN_BELL or len(table.discounts) > 0
            asked = asked_of(coded, prefixes, table.tally, self._tags(table.tally.view, coded))
            share = none if plain else self.shares_[i]
            kernel.fill_rows(rows[i], whole, *asked, table.discounts, share, *table.arrays)
        return rows

    def _tags(self, view: str, coded: SequenceSet) -> np.ndarray:
        """`tags_of`, remembered while the same log is asked about."""
        known = getattr(self, "_tags_of", None)
        if known is None or known[0] is not coded:
            known = self._tags_of = (coded, {})
        return tags_of(view, coded, known[1])

    def times_seen(self, coded: SequenceSet, prefixes: Prefixes, order: int = 3) -> np.ndarray:
        """float64 (n,): how often the last `order` activities were seen together, or as many as ever were."""
        _, whole = self._tables()
        _, size, _, bins = kernel.held_levels(*asked_of(coded, prefixes, whole.tally, NO_TAGS), *whole.arrays)
        level = np.minimum((bins >= 0).sum(axis=1) - 1, order)
        result: np.ndarray = np.where(level > 0, size[np.arange(len(level)), np.maximum(level, 0)], 0.0)
        return result

    def evidence(
        self, sequences: SequenceSet, prefixes: Prefixes, activities: np.ndarray, at_least: int = 20
    ) -> Evidence:
        """The longest context of each prefix seen `at_least` times, and how often that activity came next.

        `activities` int64 (n,) are ids of this model's vocabulary. Every event counts whole, old or new.
        """
        coded = self.coded(sequences)
        _, whole = self._tables()
        child, symbol, start, activity, count, total = whole.arrays
        found = kernel.longest_evidence(
            readonly(coded.tokens, np.int32),
            prefixes.starts(coded),
            prefixes.ends,
            activities,
            at_least,
            max(self.max_order, EXPLAIN),
            child,
            symbol,
            start,
            activity,
            count,
            total,
        )
        return Evidence(*found)
