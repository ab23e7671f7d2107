"""Counting, nets, neighbours and habits together: each as loud as it was right about the newest steps.

Where data are thin the counts know the rare contexts, where cases are long a net sees further, neighbours
know what happened lately to the like, and habits what each case keeps to. Members learn up to a later slice,
which then weighs them: by how often the context was seen, drawn to equal shares. The newest part of that
slice corrects the probabilities where this helps, promises the size of sets and raises an alarm when it fits
badly. A member that does not earn its share is left out; habits, of use where activities are many, must help
clearly.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar, Self

import numpy as np

from behavio.models.base import CELLS, Prefixes, SequenceModel, Split, case_order, later_slice
from behavio.models.calibration import Scaling, Surprise, calibrated, reach, sets
from behavio.models.counting import Counting
from behavio.models.habit import Habit
from behavio.models.mixing import Mixture, by_bin, earns, linear_share
from behavio.models.neighbours import Neighbours
from behavio.models.neural import CNN, GRU, Neural, Transformer
from behavio.models.ngram import NGram
from behavio.sequences import SequenceSet

PULL, BIN_PULL, EXPONENT_PULL = 100.0, 100.0, 60.0
"""Held-out steps that speak for equal shares, for the same shares in every bin, and for equal exponents."""
MOST = 8_000
"""Held-out steps that weigh the members."""
LEAST = 0.03
"""A member with a smaller share is left out."""
MOMENTS = 20_000
"""Newest moments that neighbours are sought among: a million cases are to be scored in a minute."""
SMALL, TOGETHER = 60_000, 3
"""Events up to which several nets that differ in their seed answer together: their mean wavers less."""
WIDER = 2
"""How many times wider the net of a longer log is: more units help where there is enough to learn from."""
FEWEST = 100
"""Held-out steps needed before shares are fitted."""
SEEN = (1, 4, 16, 64, 256)
"""Edges of how often a context was seen."""
NETS: dict[str, type[Neural]] = {"gru": GRU, "cnn": CNN, "transformer": Transformer}
NAMES = ("counting", *NETS, "neighbours", "habit")


@dataclass
class Pool(SequenceModel):
    """Weighted means of counting, nets, neighbours and habits.

    members  which of "counting", "gru", "cnn", "transformer", "neighbours" and "habit" take part
    hidden   units of the nets of a small log; a longer one has one net, WIDER times as wide

    Learns: used_       names of the members that earned their share; saved in folders beside
            weights_    float64 (bins, n_used), exponents_ float64 (n_used,), linear_: see `mixing.Mixture`
            power_      see `calibration.Scaling`     reach_  float64 (), probability a 90 % set holds
            surprise_   float64 (4,): see `calibration.Surprise`
    """

    learned: ClassVar[tuple[str, ...]] = (
        "used_",
        "weights_",
        "exponents_",
        "linear_",
        "power_",
        "reach_",
        "surprise_",
    )
    max_order: int = 8
    hidden: int = 64
    epochs: int = 12
    budget: int = 1_500_000
    seed: int = 7
    held_out: float = 0.15
    members: tuple[str, ...] = ("counting", "gru", "neighbours", "habit")

    def watch(self, progress: Callable[[str, float], None]) -> Self:
        """Report the net's passes to `progress(what, share done)`."""
        self._progress = progress
        return self

    def learn(self, coded: SequenceSet) -> Self:
        """Members up to the latest steps, their shares on those, then the members on everything."""
        self.vocabulary_ = coded.vocabulary
        self.ngram_ = NGram(self.max_order, held_out=self.held_out).learn(coded)
        split = later_slice(coded, self.held_out)
        self._new_members(coded)
        if split is None:
            self._even(coded)
            return self
        seen, first, second = halves(split)
        for member in self._all.values():
            if isinstance(member, Neural):
                member.begin(coded)
                member.train(split.train, split)
                member.catch_up(coded, first)
            else:
                member.learn(seen)
        self._weigh(coded, in_order(coded, second))
        for name, member in self._all.items():
            if isinstance(member, Neural):
                member.settle(coded, second)
            elif name in self.used_ or name == "counting":
                member.learn(coded)
        return self

    def _new_members(self, coded: SequenceSet) -> None:
        nets, hidden = (TOGETHER, self.hidden) if coded.n_events <= SMALL else (1, WIDER * self.hidden)
        self._all: dict[str, SequenceModel] = {}
        for name in (n for n in NAMES if n in self.members):
            if name == "counting":
                self._all[name] = Counting(self.max_order, held_out=self.held_out)
            elif name == "neighbours":
                self._all[name] = Neighbours(MOMENTS, held_out=self.held_out)
            elif name == "habit":
                self._all[name] = Habit()
            else:
                net = NETS[name](hidden, self.epochs, self.budget, self.seed, self.held_out, nets)
                self._all[name] = net.watch(self._progress) if hasattr(self, "_progress") else net

    @property
    def gru_(self) -> Neural:
        """The first net."""
        return next(m for m in self._all.values() if isinstance(m, Neural))

    @property
    def counting_(self) -> Counting:
        """The counts."""
        model = self._all["counting"]
        assert isinstance(model, Counting)
        return model

    def _even(self, coded: SequenceSet) -> None:
        """A log too small to hold anything out: counting and the net, half each."""
        for name in ("neighbours", "habit"):
            self._all.pop(name, None)
        for member in self._all.values():
            member.learn(coded)
        n = len(self._all)
        self._keep(list(self._all), Mixture(np.full((1, n), 1 / n), np.full(n, 1 / n), 1.0))
        self._correct(Scaling(), 1.0, Surprise(0.0, -np.inf, np.inf, 0))

    def _weigh(self, coded: SequenceSet, held: Prefixes) -> None:
        """Shares on some of the held-out steps, the correction on the others, both over all of their time."""
        size, names = len(coded.vocabulary), list(self._all)
        held = held.thin(min(MOST, 4 * CELLS // (len(names) * size)))
        truth = np.asarray(coded.tokens)[held.ends].astype(np.int64)
        code = self._bins(coded, held)
        rows = np.stack([self._all[name].rows(coded, held) for name in names])
        place = np.arange(len(held))
        apart = place % 5 < 2 if len(held) > 1 else place < 0  # steps that correct
        fitted, others = np.flatnonzero(~apart), np.flatnonzero(apart)
        p = rows[:, np.arange(len(held)), truth]
        guest = names[-1] == "habit" and len(names) > 1
        if guest and not earns(p[:, fitted], code[fitted], held.cases[fitted], shares_of):
            names, p, rows = names[:-1], p[:-1], rows[:-1]
        while True:
            weights = shares_of(p[:, fitted], code[fitted])
            share = weights[code[fitted]].mean(axis=0)
            if len(names) == 1 or share.min() >= LEAST or len(held) < FEWEST:
                break
            worst = int(share.argmin())
            del names[worst]
            p, rows = np.delete(p, worst, 0), np.delete(rows, worst, 0)
        mixture = mixed(rows[:, fitted], truth[fitted], weights, code[fitted], held.cases[fitted])
        self._keep(names, mixture)
        newest = mixture.of(rows[:, others], code[others])
        scaling = calibrated(newest, truth[others], self._drifts())
        newest = scaling.of(newest)
        surprise = Surprise.at(newest, truth[others], held.cases[others])
        self._correct(scaling, reach(newest, truth[others]), surprise)

    def _drifts(self) -> bool:
        """True when counting does better by forgetting."""
        return "counting" in self._all and float(self.counting_.half_life_) > 0

    def _keep(self, names: Sequence[str], mixture: Mixture) -> None:
        self.used_ = np.array(names, dtype=np.str_)
        self.weights_, self.exponents_ = mixture.weights, mixture.exponents
        self.linear_ = np.float64(mixture.linear)

    def _correct(self, scaling: Scaling, total: float, surprise: Surprise) -> None:
        self.power_ = np.float64(scaling.power)
        self.reach_ = np.float64(total)
        self.surprise_ = np.array([surprise.mean, surprise.low, surprise.high, surprise.n])

    @property
    def surprise(self) -> Surprise:
        """How the newest steps of training fitted."""
        mean, low, high, n = self.surprise_.tolist()
        return Surprise(mean, low, high, int(n))

    @property
    def shares(self) -> dict[str, float]:
        """Mean share of each member, 0 for one that was left out."""
        means = self.weights_.mean(axis=0)
        found = dict.fromkeys(self.members, 0.0)
        return found | {n: float(w) for n, w in zip(self.used_.tolist(), means, strict=True)}

    def carry_on(self, coded: SequenceSet, recent: Prefixes) -> None:
        """Go on learning from a longer log whose `recent` steps are new; the shares stay."""
        self.vocabulary_ = coded.vocabulary
        self.ngram_.learn(coded)
        for name, member in self._all.items():
            if isinstance(member, Neural):
                member.carry_on(coded, recent)
            elif name in self.used_ or name == "counting":
                member.learn(coded)

    def _bins(self, coded: SequenceSet, prefixes: Prefixes) -> np.ndarray:
        """int64 (n,): how often the last three activities were seen together, in steps of SEEN."""
        if "counting" not in self._all:
            return np.zeros(len(prefixes), dtype=np.int64)
        seen = self.counting_.times_seen(coded, prefixes)
        return np.searchsorted(SEEN, seen, side="right")

    def rows(self, coded: SequenceSet, prefixes: Prefixes) -> np.ndarray:
        """The corrected mixture of the members that are used."""
        mixture = Mixture(self.weights_, self.exponents_, float(self.linear_))
        scaling = Scaling(float(self.power_))
        size = len(self.vocabulary_)
        result = np.empty((len(prefixes), size))
        members = [self._all[name] for name in self.used_.tolist()]
        with ThreadPoolExecutor(2) as threads:
            for part, some in prefixes.batches(size * len(members)):
                rows = np.stack(list(threads.map(lambda m, some=some: m.rows(coded, some), members)))
                result[part] = scaling.of(mixture.of(rows, self._bins(coded, some)))
        return result

    def waits(
        self, coded: SequenceSet, prefixes: Prefixes, shares: Sequence[float] = (0.1, 0.5, 0.9)
    ) -> np.ndarray | None:
        """As the first net says."""
        nets = any(isinstance(m, Neural) for m in self._all.values())
        return self.gru_.waits(coded, prefixes, shares) if nets else None

    def reads(self) -> tuple[str, ...]:
        """What any member that is used reads."""
        every = [name for used in self.used_.tolist() for name in self._all[used].reads()]
        return tuple(dict.fromkeys(every))

    def clock(self) -> SequenceModel | None:
        """The first net."""
        return next((m for m in self._all.values() if isinstance(m, Neural)), None)

    def likely_sets(self, sequences: SequenceSet, prefixes: Prefixes) -> np.ndarray:
        """bool (n, n_vocabulary): activities of which one comes next in about 90 % of the newest steps."""
        return sets(self.probabilities(sequences, prefixes), float(self.reach_))

    def save(self, folder: Path) -> None:
        """Write the pool, its members and the n-gram that explains it into folders beside."""
        super().save(folder)
        for name, member in {**self._all, "ngram": self.ngram_}.items():
            if name in ("ngram", "counting") or isinstance(member, Neural) or name in self.used_:
                member.save(folder / name)

    def read_members(self, folder: Path) -> None:
        """Read the members."""
        self.ngram_ = NGram.load(folder / "ngram")
        self._all = {n: SequenceModel.load(folder / n) for n in NAMES if (folder / n).exists()}


def shares_of(p: np.ndarray, code: np.ndarray) -> np.ndarray:
    """float64 (bins, members): linear weights of p (members, n) by how often the context was seen."""
    return by_bin(p, code, len(SEEN) + 1, BIN_PULL, PULL)


def mixed(
    rows: np.ndarray, truth: np.ndarray, weights: np.ndarray, code: np.ndarray, cases: np.ndarray
) -> Mixture:
    """Rows (members, n, size), oldest first, made one; of few of them only the linear mean is taken."""
    members, n, _ = rows.shape
    if n < FEWEST or members == 1:
        return Mixture(weights, np.full(members, 1 / members), 1.0)
    found = Mixture.fit(rows, truth, weights, code, EXPONENT_PULL)
    return replace(found, linear=linear_share(rows, truth, code, cases, shares_of, EXPONENT_PULL))


def in_order(sequences: SequenceSet, prefixes: Prefixes) -> Prefixes:
    """The prefixes oldest first, as `later_slice` sees age."""
    if sequences.timed and sequences.ahead == "events":
        return prefixes[np.argsort(np.asarray(sequences.times)[prefixes.ends], kind="stable")]
    order, _ = case_order(sequences)
    rank = np.empty(len(order), dtype=np.int64)
    rank[order] = np.arange(len(order))
    return prefixes[np.argsort(rank[prefixes.cases], kind="stable")]


def halves(split: Split) -> tuple[SequenceSet, Prefixes, Prefixes]:
    """The held-out steps cut in two, and what is known before the second half.

    Members have then learnt everything up to the steps that weigh them, as they will have when they are
    used. Where time cannot be cut again, the second half is weighed by what was known before both.
    """
    held = split.prefixes
    if split.cut is None:
        return split.train, held[:0], held
    times = np.asarray(split.sequences.times)[held.ends]
    middle = int(np.median(times))
    if not (times < middle).any():
        return split.train, held[:0], held
    return split.sequences.until(middle), held[times < middle], held[times >= middle]
