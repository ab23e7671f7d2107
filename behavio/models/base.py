"""What every next-activity model is asked, on which prefixes, and how a log is cut in time for it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Self
from zlib import crc32

import numpy as np

from behavio.errors import ModelError
from behavio.estimator import Estimator
from behavio.files import read_json
from behavio.sequences import SequenceSet, Vocabulary, time_cut

HOMES = {
    "MostPopular": "baselines",
    "RepeatLast": "baselines",
    "FirstOrder": "baselines",
    "NGram": "ngram",
    "Counting": "counting",
    "GRU": "neural",
    "CNN": "neural",
    "Transformer": "neural",
    "Neighbours": "neighbours",
    "Habit": "habit",
    "Pool": "pool",
}
"""The module of each model, imported when one is loaded."""
CELLS = 4_000_000
"""Probabilities held at once: rows are made in batches of at most this many cells."""


@dataclass(frozen=True, slots=True, eq=False)
class Prefixes:
    """Cases so far: prefix k is tokens[offsets[cases[k]]:ends[k]], never empty.

    cases  int64 (n,)
    ends   int64 (n,)  one past the newest event that is known; what comes next is tokens[ends[k]]
    """

    cases: np.ndarray
    ends: np.ndarray

    def __len__(self) -> int:
        return len(self.cases)

    def __getitem__(self, part: slice | np.ndarray) -> Prefixes:
        return Prefixes(self.cases[part], self.ends[part])

    @classmethod
    def last(cls, sequences: SequenceSet) -> Self:
        """Every case as far as it is known."""
        return cls(np.arange(sequences.n_cases), np.asarray(sequences.offsets[1:]))

    @classmethod
    def before(cls, sequences: SequenceSet, from_time: int) -> Self:
        """One per event at or after `from_time` (µs) that has a predecessor in its case."""
        return cls.of_events(sequences, np.asarray(sequences.times) >= from_time)

    @classmethod
    def of_cases(cls, sequences: SequenceSet, first_case: int) -> Self:
        """One per event that has a predecessor, of the cases from `first_case` on."""
        return cls.of_events(sequences, np.arange(sequences.n_events) >= sequences.offsets[first_case])

    @classmethod
    def of_events(cls, sequences: SequenceSet, keep: np.ndarray) -> Self:
        """One per event where `keep` bool (n_events,) is true and that has a predecessor in its case."""
        keep = keep.copy()
        keep[sequences.offsets[:-1]] = False
        cases = np.repeat(np.arange(sequences.n_cases), sequences.lengths)
        return cls(cases[keep], np.flatnonzero(keep))

    def starts(self, sequences: SequenceSet) -> np.ndarray:
        """int64 (n,): where each prefix begins."""
        return np.asarray(sequences.offsets)[self.cases]

    def thin(self, most: int) -> Prefixes:
        """At most `most` of them, evenly spread."""
        return self if len(self) <= most else self[np.linspace(0, len(self) - 1, most).astype(np.int64)]

    def batches(self, columns: int) -> Iterator[tuple[slice, Prefixes]]:
        """Runs of prefixes whose (n, columns) table holds at most CELLS cells."""
        step = max(CELLS // columns, 1)
        for low in range(0, len(self), step):
            part = slice(low, min(low + step, len(self)))
            yield part, self[part]


@dataclass(frozen=True, slots=True, eq=False)
class Split:
    """One global cut: `train` is all that is known before it, `prefixes` point into the whole log.

    cut     µs; None when the log has no clock and whole cases were held out instead
    method  how it was cut, in words
    """

    train: SequenceSet
    sequences: SequenceSet
    prefixes: Prefixes
    cut: int | None
    method: str


def later_slice(sequences: SequenceSet, share: float, at_least: int = 1) -> Split | None:
    """Hold out the latest `share` of events; None when a side has fewer than `at_least` steps to learn from.

    Where the log looks ahead to whole cases (`SequenceSet.ahead`) the latest `share` of cases is held out,
    by their begin, or a share of all cases. A log without a clock has no later: the last `share` of cases.
    """
    if sequences.timed and sequences.ahead == "events":
        cut = time_cut(sequences, 1.0 - share)
        if not (np.asarray(sequences.times) < cut).any():
            return None
        train, prefixes = sequences.until(cut), Prefixes.before(sequences, cut)
        method = f"one cut in time, {share:.0%} of events after it held out"
    else:
        first = round(sequences.n_cases * (1.0 - share))
        if not 0 < first < sequences.n_cases:
            return None
        order, how = case_order(sequences)
        late = np.zeros(sequences.n_cases, dtype=bool)
        late[order[first:]] = True
        cut, train = None, sequences.select(~late)
        prefixes = Prefixes.of_events(sequences, np.repeat(late, sequences.lengths))
        method = f"{how.format(share=f'{share:.0%}')}"
    if train.n_events - train.n_cases < at_least or len(prefixes) < at_least:
        return None
    return Split(train, sequences, prefixes, cut, method)


def case_order(sequences: SequenceSet) -> tuple[np.ndarray, str]:
    """Cases in the order in which they are held out, last first, and that in words."""
    if sequences.ahead == "any":
        return np.argsort(drawn(sequences), kind="stable"), "{share} of cases held out, drawn by their ids"
    if sequences.timed:
        begin = np.asarray(sequences.times)[sequences.offsets[:-1]]
        return np.argsort(begin, kind="stable"), "the {share} of cases that began last held out"
    said = "no clock in the log: the last {share} of cases held out, in the order of the case ids"
    return np.arange(sequences.n_cases), said


def drawn(sequences: SequenceSet) -> np.ndarray:
    """int64 (n_cases,), 0 to 2³² − 1: a number for each case that depends on its id alone."""
    return np.array([crc32(c.encode()) for c in sequences.case_ids], dtype=np.int64)


class Coded(Estimator):
    """An estimator with a vocabulary of its own: the activities seen in training."""

    vocabulary_: Vocabulary

    def coded(self, sequences: SequenceSet) -> SequenceSet:
        """The traces in the model's vocabulary: the very same object where they are in it already."""
        self.check_fitted()
        if sequences.vocabulary == self.vocabulary_:
            return sequences
        return sequences.recode(self.vocabulary_)


class SequenceModel(Coded):
    """Probability of each next activity after a prefix.

    Columns are the ids of `vocabulary_`, the activities seen in training: column 0 (padding) is 0,
    column 1 stands for any activity never seen in training, each row sums to 1.
    """

    def fit(self, sequences: SequenceSet) -> Self:
        """Learn from every event of these traces; forgets any earlier fit."""
        return self.learn(sequences.recode(sequences.own_vocabulary()))

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read any saved model of this kind, and the models it is made of."""
        name = read_json(folder / "model.json")["class"]
        if name not in Estimator.kinds and name in HOMES:
            import_module(f"behavio.models.{HOMES[name]}")
        model = super().load(folder)
        model.read_members(folder)
        return model

    def watch(self, progress: Callable[[str, float], None]) -> Self:
        """Report to `progress(what, share done)` while learning; most models are too quick to."""
        return self

    def carry_on(self, coded: SequenceSet, recent: Prefixes) -> None:
        """Learn a longer log whose `recent` steps are new; most models count it anew."""
        self.learn(coded)

    def read_members(self, folder: Path) -> None:
        """Read the models this one is made of; most are made of none."""

    def learn(self, coded: SequenceSet) -> Self:
        """Learn from traces whose vocabulary is to be the model's own."""
        raise NotImplementedError

    def rows(self, coded: SequenceSet, prefixes: Prefixes) -> np.ndarray:
        """`probabilities` for traces already in the model's vocabulary."""
        raise NotImplementedError

    def waits(
        self, coded: SequenceSet, prefixes: Prefixes, shares: Sequence[float] = (0.1, 0.5, 0.9)
    ) -> np.ndarray | None:
        """float64 (n, n_shares): µs from each prefix's newest event to the next one, whatever it is.

        None for a model that knows nothing of time: there the counted gaps answer.
        """
        return None

    def when(
        self,
        coded: SequenceSet,
        prefixes: Prefixes,
        then: np.ndarray,
        waited: np.ndarray,
        shares: Sequence[float] = (0.1, 0.5, 0.9),
    ) -> np.ndarray:
        """float64 (n, n_shares): µs from now until `then` (ids of activities) if that is what comes next.

        waited  int64 (n,)  µs since the prefix's newest event; NaN where nothing is known of such a wait
        """
        raise NotImplementedError

    def holding(self, coded: SequenceSet, prefixes: Prefixes) -> AbstractContextManager[None]:
        """Inside, these prefixes will be asked about more than once: what they need may be kept ready."""
        return nullcontext()

    def reads(self) -> tuple[str, ...]:
        """Names of the attributes it learnt to read beside activities and times."""
        return ()

    def clock(self) -> SequenceModel | None:
        """The model that answers `when`: itself, a member, or None."""
        return None

    def probabilities(self, sequences: SequenceSet, prefixes: Prefixes) -> np.ndarray:
        """float64 (n, n_vocabulary): what comes after each prefix.

        Raises NotFittedError before `fit`, ModelError for an empty prefix.
        """
        coded = self.coded(sequences)
        if (prefixes.ends <= prefixes.starts(coded)).any():
            raise ModelError("a prefix needs at least one event", hint="use Prefixes.last(sequences)")
        return self.rows(coded, prefixes)

    def of_truth(self, coded: SequenceSet, prefixes: Prefixes) -> np.ndarray:
        """float64 (n,): probability given to what really came next, in batches."""
        result = np.empty(len(prefixes))
        for part, some in prefixes.batches(len(self.vocabulary_)):
            result[part] = self.rows(coded, some)[np.arange(len(some)), coded.tokens[some.ends]]
        return result
