"""What every method of finding groups can do."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np

from behavio.errors import ModelError
from behavio.estimator import Estimator
from behavio.sequences import PAD, UNKNOWN, SequenceSet, Vocabulary


@dataclass
class Segmenter(Estimator):
    """Finds `k` groups of cases; what a group is, the method says.

    A method answers five questions; everything else is the same for all of them. `lay_out` learns what
    is counted, `gather` counts it for each case, `fit_gathered` finds the groups in the counts,
    `posterior_of` and `score` place cases by their counts. Learns at least shares_ float64 (k,),
    largest group first.
    """

    learned: ClassVar[tuple[str, ...]] = ("shares_",)
    layout: ClassVar[tuple[str, ...]] = ("vocabulary_",)
    finds_k: ClassVar[bool] = False  # True where fitting sets k itself
    smoothings: ClassVar[tuple[float, ...]] = (5.0, 20.0, 80.0, 320.0)  # worth trying

    k: int = 4
    restarts: int = 8
    seed: int = 0
    smoothing: float = 20.0  # events of the whole log that come before a group's own in its estimates
    effective_length: int = 200  # a longer case counts as this many events

    def lay_out(self, sequences: SequenceSet) -> None:
        """Learn what is counted (the attributes named in `layout`)."""
        raise NotImplementedError

    def gather(self, sequences: SequenceSet) -> Any:
        """What is counted for each case, in the layout of this model; has `n_cases` and `select(cases)`."""
        raise NotImplementedError

    def fit_gathered(self, cases: Any) -> Self:
        """Find the groups in what was gathered."""
        raise NotImplementedError

    def posterior_of(self, cases: Any) -> np.ndarray:
        """Probability of each group for each case, float64 (n_cases, k), rows sum to 1."""
        raise NotImplementedError

    def score(self, cases: Any) -> tuple[np.ndarray, np.ndarray]:
        """Log-likelihood of each case and the events it was counted as, float64 (n_cases,) each."""
        raise NotImplementedError

    def fit(self, sequences: SequenceSet) -> Self:
        """Learn the groups; raises ModelError when there are fewer cases than groups.

        A case longer than `effective_length` is weighted down to it: its events repeat the habits of
        one case, so a single giant must not draw a group to itself, nor be surer of its group than any.
        """
        with steady():
            self.lay_out(sequences)
            return self.fit_gathered(self.gather(sequences))

    def posterior(self, sequences: SequenceSet) -> np.ndarray:
        """Probability of each group for each case, float64 (n_cases, k), rows sum to 1."""
        self.check_fitted()
        return self.posterior_of(self.gather(sequences))

    def log_likelihood(self, sequences: SequenceSet) -> tuple[np.ndarray, np.ndarray]:
        """Log-likelihood of each case and the events it was counted as, float64 (n_cases,) each."""
        self.check_fitted()
        return self.score(self.gather(sequences))

    def predict(self, sequences: SequenceSet) -> tuple[np.ndarray, np.ndarray]:
        """Most probable group int32 (n_cases,) and its probability float64 (n_cases,)."""
        posterior = self.posterior(sequences)
        label = posterior.argmax(axis=1).astype(np.int32)
        return label, posterior[np.arange(len(label)), label]

    def placed(
        self, sequences: SequenceSet, min_strength: float, min_events: int
    ) -> tuple[np.ndarray, np.ndarray]:
        """Group int32 (n_cases,), −1 where too weak or too short, and strength float64 (n_cases,)."""
        label, strength = self.predict(sequences)
        # six decimals: more would only show in which order the processor added up
        strength = np.round(strength, 6)
        if self.k > 1:
            label[(strength < min_strength) | (sequences.lengths < min_events)] = -1
        return label, strength

    def alike(self, **settings: Any) -> Self:
        """A model of other settings with the same layout, not fitted."""
        model = replace(self, **settings)
        for name in self.layout:
            setattr(model, name, getattr(self, name))
        return model

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read a saved model with what lies beside it."""
        model = super().load(folder)
        model.read_beside(folder)
        return model

    def read_beside(self, folder: Path) -> None:
        """Read what a method keeps beside its arrays; most keep nothing."""

    def check_enough(self, n_cases: int) -> None:
        """Raise ModelError when `n_cases` cannot make `k` groups."""
        if n_cases < self.k:
            raise ModelError(
                f"{n_cases} cases cannot make {self.k} segments", hint='set segments.k = "auto" or lower'
            )

    def known(self, sequences: SequenceSet) -> SequenceSet:
        """The sequences in the words of this model: activities it never met become unknown."""
        own: Vocabulary = self.vocabulary_  # type: ignore[attr-defined]
        if sequences.vocabulary == own:
            return sequences
        ids = {name: i for i, name in enumerate(own.names)}
        table = [PAD, UNKNOWN, *(ids.get(n, UNKNOWN) for n in sequences.vocabulary.activities)]
        return SequenceSet(
            tokens=np.array(table, dtype=np.int32)[sequences.tokens],
            offsets=sequences.offsets,
            times=sequences.times,
            case_ids=sequences.case_ids,
            vocabulary=own,
            timed=sequences.timed,
        )


@contextmanager
def steady() -> Iterator[None]:
    """One BLAS thread: sums are then added up in one order, and the same seed gives the same bytes."""
    from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

    with threadpool_limits(1, "blas"):
        yield
