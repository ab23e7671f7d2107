"""Activity vectors: activities met in the same surroundings lie close together (word2vec on traces).

Source: Mikolov et al., Efficient estimation of word representations (2013), skip-gram with negative
sampling, as in gensim. One worker, so the same seed gives the same vectors.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar, Self

import numpy as np
import polars as pl

from behavio.models.base import Coded
from behavio.sequences import SequenceSet

SENTENCE = 1_000
"""Events of one sentence; longer cases go on in the next (gensim drops what is over 10,000)."""
CHUNK = 1_000_000
"""Events averaged at once."""


def steady_hash(text: str) -> int:
    """A hash that is the same in every process."""
    return zlib.crc32(text.encode("utf-8"))


@dataclass(frozen=True)
class _Sentences:
    """Traces as lists of words; a word is the id of an activity. Can be read many times."""

    coded: SequenceSet
    cases: np.ndarray

    def __iter__(self) -> Iterator[list[str]]:
        words = [str(i) for i in range(len(self.coded.vocabulary))]
        for case in self.cases:
            first, last = int(self.coded.offsets[case]), int(self.coded.offsets[case + 1])
            trace = self.coded.tokens[first:last].tolist()
            for low in range(0, len(trace), SENTENCE):
                yield [words[t] for t in trace[low : low + SENTENCE]]


@dataclass
class Activity2Vec(Coded):
    """Vectors of activities, and of cases as their weighted mean.

    budget    most events read in all passes together; of a longer log a sample of cases
    commoner  weight of an activity in a case's mean is commoner / (commoner + its share of events):
              what everybody does says little (smooth inverse frequency, Arora et al. 2017)

    Learns: vectors_  float32 (n_vocabulary, dimensions), zero for padding and unknown
            weight_   float32 (n_vocabulary,)
    """

    learned: ClassVar[tuple[str, ...]] = ("vectors_", "weight_")
    dimensions: int = 32
    window: int = 5
    epochs: int = 5
    budget: int = 2_000_000
    commoner: float = 0.05
    seed: int = 7

    def fit(self, sequences: SequenceSet) -> Self:
        """Learn from the traces; activities that never meet another keep their random start."""
        from gensim.models import Word2Vec

        coded = sequences.recode(sequences.own_vocabulary())
        self.vocabulary_ = coded.vocabulary
        model = Word2Vec(
            vector_size=self.dimensions,
            window=self.window,
            min_count=1,
            sg=1,
            negative=5,
            workers=1,
            seed=self.seed,
            hashfxn=steady_hash,
        )
        sentences = _Sentences(coded, self._sample(coded))
        model.build_vocab(sentences)
        if len(model.wv) > 1 and coded.lengths.max() > 1:
            model.train(sentences, total_examples=model.corpus_count, epochs=self.epochs)
        self.vectors_ = np.zeros((len(coded.vocabulary), self.dimensions), dtype=np.float32)
        for word, place in model.wv.key_to_index.items():
            self.vectors_[int(word)] = model.wv.vectors[place]
        share = np.bincount(coded.tokens, minlength=len(coded.vocabulary)) / coded.n_events
        self.weight_ = (self.commoner / (self.commoner + share)).astype(np.float32)
        return self

    def _sample(self, coded: SequenceSet) -> np.ndarray:
        """Cases to learn from: all, or a random part within the budget, in log order."""
        share = self.budget / (self.epochs * coded.n_events)
        if share >= 1:
            return np.arange(coded.n_cases)
        random = np.random.default_rng(self.seed)
        n = max(int(share * coded.n_cases), 1)
        return np.sort(random.choice(coded.n_cases, n, replace=False))

    def activity_table(self) -> pl.DataFrame:
        """activity, vector (list of f32)."""
        self.check_fitted()
        return pl.DataFrame(
            {"activity": self.vocabulary_.activities, "vector": _lists(self.vectors_[2:])},
            schema={"activity": pl.String, "vector": pl.List(pl.Float32)},
        )

    def embed(self, sequences: SequenceSet) -> np.ndarray:
        """float32 (n_cases, dimensions): weighted mean of each case's activity vectors."""
        coded = self.coded(sequences)
        result = np.zeros((coded.n_cases, self.dimensions), dtype=np.float32)
        weighted = self.vectors_ * self.weight_[:, None]
        low = 0
        while low < coded.n_cases:
            reach = int(np.searchsorted(coded.offsets, coded.offsets[low] + CHUNK, side="right")) - 1
            high = max(reach, low + 1)
            first, last = coded.offsets[low], coded.offsets[high]
            tokens = coded.tokens[first:last]
            cuts = np.asarray(coded.offsets[low:high]) - first
            total = np.add.reduceat(weighted[tokens], cuts, axis=0)
            mass = np.add.reduceat(self.weight_[tokens], cuts)
            result[low:high] = total / mass[:, None]
            low = high
        return result

    def case_table(self, sequences: SequenceSet) -> pl.DataFrame:
        """case_id, vector (list of f32)."""
        return pl.DataFrame({"case_id": sequences.case_ids, "vector": _lists(self.embed(sequences))})


def _lists(vectors: np.ndarray) -> pl.Series:
    """A table's rows as a column of lists."""
    return pl.Series("vector", vectors, dtype=pl.Array(pl.Float32, vectors.shape[1])).arr.to_list()
