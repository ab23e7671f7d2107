"""Case vectors learnt by contrast: two random slices of one journey belong together, slices of others do not.

Source: Babaev et al., CoLES: contrastive learning for event sequences with self-supervision (2022), with the
in-batch softmax loss of van den Oord et al. (2018) in place of the margin. The net reads an event as the nets
of the next step do; a vector is the mean of its states, of length one.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Self

import numpy as np
import polars as pl

from behavio.models import inputs
from behavio.models.base import Coded
from behavio.models.windows import Windows, batches, cells
from behavio.sequences import SequenceSet

if TYPE_CHECKING:
    import torch

    from behavio.models.net import Net

LONGEST = 64
"""Events of a slice; a case is known by its newest ones."""
SHORTEST = 3
WARMTH = 0.1
"""Temperature of the softmax over slices of a batch."""
READ = 16_384


@dataclass
class Encoder(Coded):
    """Vectors of cases.

    dimensions  length of a vector
    epochs      passes over the cases, two slices of each in a pass
    budget      most events read in all passes together
    ordered     False shuffles the events inside every slice: what is left is not order

    Learns: weights_  float32, all parameters, flat
    """

    learned: ClassVar[tuple[str, ...]] = ("weights_",)
    dimensions: int = 64
    epochs: int = 30
    budget: int = 2_000_000
    seed: int = 7
    rate: float = 3e-3
    ordered: bool = True

    def fit(self, sequences: SequenceSet) -> Self:
        """Learn from every case with at least twice SHORTEST events; without any, vectors stay random."""
        from torch.nn.utils import parameters_to_vector

        from behavio.models.net import repeatable

        coded = sequences.recode(sequences.own_vocabulary())
        self.vocabulary_ = coded.vocabulary
        random = np.random.default_rng(self.seed)
        codes, numbers = self._read(coded, random)
        with repeatable(self.seed, 1):
            net = self._net()
            self._train(net, coded, codes, numbers, random)
            self.weights_ = parameters_to_vector(net.parameters()).detach().numpy().copy()
        return self

    def embed(self, sequences: SequenceSet) -> np.ndarray:
        """float32 (n_cases, dimensions), each of length one."""
        import torch
        from torch.nn.utils import vector_to_parameters

        from behavio.models.net import repeatable

        coded = self.coded(sequences)
        codes, numbers = self._read(coded, np.random.default_rng(self.seed))
        last = np.minimum(coded.lengths, LONGEST)
        windows = Windows(np.asarray(coded.offsets[1:]) - last, last)
        result = np.zeros((coded.n_cases, self.dimensions), dtype=np.float32)
        with repeatable(self.seed, 1), torch.no_grad():
            net = self._net().eval()
            vector_to_parameters(torch.from_numpy(self.weights_.copy()), net.parameters())
            for pick in batches(windows, READ):
                result[pick] = _vectors(net, codes, numbers, windows, pick).numpy()
        return result

    def case_table(self, sequences: SequenceSet) -> pl.DataFrame:
        """case_id, vector (list of f32)."""
        vectors = pl.Series("vector", self.embed(sequences), dtype=pl.Array(pl.Float32, self.dimensions))
        return pl.DataFrame({"case_id": sequences.case_ids, "vector": vectors.arr.to_list()})

    def _net(self) -> Net:
        from behavio.models.net import Net, Shape

        sizes = (len(self.vocabulary_), *inputs.MOMENTS)
        return Net(Shape("gru", sizes, self.dimensions, 1, 1, 0.1))

    def _read(self, coded: SequenceSet, random: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        """Codes and numbers of every event; the month and the place in the log stay out of a vector."""
        moments, numbers = inputs.seen_as(coded, 0, False, np.empty(0, np.int64))
        codes = np.concatenate([np.asarray(coded.tokens)[:, None], moments], axis=1).astype(np.int64)
        if not self.ordered:
            order = np.lexsort((random.random(coded.n_events), coded.case_of_event))
            codes, numbers = codes[order], numbers[order]
        return codes, numbers

    def _train(
        self,
        net: Net,
        coded: SequenceSet,
        codes: np.ndarray,
        numbers: np.ndarray,
        random: np.random.Generator,
    ) -> None:
        """Two slices of each case a pass; slices of the same batch are the contrast."""
        import torch

        from behavio.models.fitting import one_cycle

        long = np.flatnonzero(coded.lengths >= 2 * SHORTEST)
        if len(long) < 2:
            return
        optimizer = torch.optim.AdamW(net.parameters(), self.rate, weight_decay=0.01)
        per_pass = int(np.minimum(coded.lengths[long], LONGEST).sum())
        passes = int(np.clip(self.budget // max(per_pass, 1), 1, self.epochs))
        size = int(np.clip(len(long) // 16, 16, 256))
        total = passes * -(-len(long) // size)
        for done in range(passes):
            order = random.permutation(long)
            for i, low in enumerate(range(0, len(order), size)):
                pick = order[low : low + size]
                if len(pick) < 2:
                    continue
                step = done * -(-len(long) // size) + i
                for group in optimizer.param_groups:
                    group["lr"] = self.rate * one_cycle((step + 0.5) / total)
                net.train()
                both = [slices(coded, pick, random) for _ in range(2)]
                windows = Windows(*(np.concatenate(part) for part in zip(*both, strict=True)))
                vectors = _vectors(net, codes, numbers, windows, np.arange(len(windows)))
                loss = apart(vectors)
                optimizer.zero_grad()
                loss.backward()  # type: ignore[no-untyped-call]
                torch.nn.utils.clip_grad_norm_(net.parameters(), 1.0)
                optimizer.step()


def slices(
    coded: SequenceSet, cases: np.ndarray, random: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """First event and length of a random slice of each case, SHORTEST to LONGEST events."""
    n = coded.lengths[cases]
    length = SHORTEST + (random.random(len(cases)) * (np.minimum(n, LONGEST) - SHORTEST + 1)).astype(np.int64)
    first = coded.offsets[cases] + (random.random(len(cases)) * (n - length + 1)).astype(np.int64)
    return first, length


def _vectors(
    net: Net, codes: np.ndarray, numbers: np.ndarray, windows: Windows, pick: np.ndarray
) -> torch.Tensor:
    """The mean state of each window, of length one: (n, hidden)."""
    import torch

    event, real = cells(windows, pick)
    state = net(torch.from_numpy(codes[event]), torch.from_numpy(numbers[event]))
    weight = torch.from_numpy(real.astype(np.float32))[:, :, None]
    mean = (state * weight).sum(dim=1) / weight.sum(dim=1)
    result: torch.Tensor = torch.nn.functional.normalize(mean, dim=1)
    return result


def apart(vectors: torch.Tensor) -> torch.Tensor:
    """Cross-entropy of finding the other slice of the same case; the halves of `vectors` are the slices."""
    import torch

    n = len(vectors) // 2
    alike = vectors @ vectors.T / WARMTH
    alike = alike.masked_fill(torch.eye(2 * n, dtype=torch.bool), -1e9)
    other = torch.arange(2 * n).roll(n)
    result: torch.Tensor = torch.nn.functional.cross_entropy(alike, other)
    return result
