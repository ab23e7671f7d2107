"""Vectors that an encoder learns by contrast, made again for cases that have gone on."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Self

import numpy as np
import polars as pl

from behavio.models.encoder import Encoder
from behavio.segments.spaces import Embeddings
from behavio.sequences import SequenceSet


@dataclass(frozen=True, slots=True, eq=False)
class Contrast(Embeddings):
    """Vectors of the cases they were learned from, and the encoder that makes them for any other.

    events  int64 (n,)  how many events each case had: one that has more now is read again
    """

    encoder: Encoder
    events: np.ndarray

    @classmethod
    def learned(cls, sequences: SequenceSet, seed: int) -> Self:
        """Learn an encoder from these cases."""
        encoder = Encoder(seed=seed).fit(sequences)
        vectors = encoder.embed(sequences).astype(np.float64)
        return cls(sequences.case_ids.cast(pl.String), vectors, encoder, sequences.lengths.astype(np.int64))

    @classmethod
    def read(cls, folder: Path) -> Self:
        """An encoder saved earlier; every vector is made anew."""
        encoder = Encoder.load(folder)
        none = pl.Series("case_id", [], pl.String)
        return cls(none, np.zeros((0, encoder.dimensions)), encoder, np.zeros(0, np.int64))

    def take(self, sequences: SequenceSet) -> np.ndarray:
        """Vectors of these cases, float64 (n, dim)."""
        place = self.places(sequences.case_ids)
        same = place >= 0
        same[same] = self.events[place[same]] == sequences.lengths[same]
        found = np.empty((sequences.n_cases, self.vectors.shape[1]))
        found[same] = self.vectors[place[same]]
        if not same.all():
            others = np.flatnonzero(~same)
            found[others] = self.encoder.embed(sequences.select(others))
        return found
