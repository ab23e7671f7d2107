"""The torch side of the GRU: the network, one pass of training, and a room where runs repeat exactly."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import numpy as np
import torch
from torch import nn

from behavio.models.windows import NUMBERS, Windows, cells

ACTIVITY_WIDTH = 32
FIELD_WIDTH = 6


class Net(nn.Module):
    """Activity, fields and moment of each event → GRU → scores of what comes next.

    sizes  how many codes each input has: the activity first, then each field
    """

    def __init__(self, sizes: Sequence[int], hidden: int, classes: int, dropout: float) -> None:
        super().__init__()
        widths = [ACTIVITY_WIDTH, *(FIELD_WIDTH for _ in sizes[1:])]
        self.embeddings = nn.ModuleList(nn.Embedding(n, w) for n, w in zip(sizes, widths, strict=True))
        self.gru = nn.GRU(sum(widths) + NUMBERS, hidden, batch_first=True)
        self.norm = nn.LayerNorm(hidden)
        self.drop = nn.Dropout(dropout)
        self.out = nn.Linear(hidden, classes)

    def forward(self, codes: torch.Tensor, numbers: torch.Tensor) -> torch.Tensor:
        """Codes int32 (cases, events, inputs), numbers (cases, events, NUMBERS) → (cases, events, hidden)."""
        parts = [layer(codes[:, :, i]) for i, layer in enumerate(self.embeddings)]
        state, _ = self.gru(self.drop(torch.cat([*parts, numbers], dim=-1)))
        result: torch.Tensor = self.drop(self.norm(state))
        return result

    def scores(self, state: torch.Tensor) -> torch.Tensor:
        """Unnormalised log-probabilities of the classes."""
        result: torch.Tensor = self.out(state)
        return result


@contextmanager
def repeatable(seed: int, threads: int) -> Iterator[None]:
    """Fixed seed and threads and deterministic algorithms inside; torch is left as it was found."""
    threads_before, strict_before = torch.get_num_threads(), torch.are_deterministic_algorithms_enabled()
    with torch.random.fork_rng(devices=[]):
        try:
            torch.set_num_threads(threads)
            torch.use_deterministic_algorithms(True)
            torch.manual_seed(seed)
            yield
        finally:
            torch.set_num_threads(threads_before)
            torch.use_deterministic_algorithms(strict_before)


def run_batch(
    net: Net, codes: np.ndarray, numbers: np.ndarray, windows: Windows, pick: np.ndarray
) -> tuple[torch.Tensor, np.ndarray, np.ndarray]:
    """States (windows, events, hidden) of a batch, the event of each cell and whether it is real."""
    event, real = cells(windows, pick)
    state = net(torch.from_numpy(codes[event]), torch.from_numpy(numbers[event]))
    return state, event, real


def train_pass(
    net: Net,
    optimizer: torch.optim.Optimizer,
    codes: np.ndarray,
    numbers: np.ndarray,
    targets: np.ndarray,
    windows: Windows,
    parts: Sequence[np.ndarray],
    rates: Sequence[float],
    random: np.random.Generator,
    forget: float = 0.01,
) -> None:
    """One pass over the batches `parts`; targets int64 (n_events,), -1 where nothing is asked.

    A share `forget` of activities is shown as unknown, so that the net knows what to do with one.
    """
    net.train()
    for pick, rate in zip(parts, rates, strict=True):
        for group in optimizer.param_groups:
            group["lr"] = rate
        event, real = cells(windows, pick)
        wanted = np.where(real, targets[event], -1)
        seen = codes[event]
        seen[:, :, 0] = np.where(random.random(event.shape) < forget, 1, seen[:, :, 0])
        state = net(torch.from_numpy(seen), torch.from_numpy(numbers[event]))
        asked = torch.from_numpy(wanted.reshape(-1))
        at = torch.nonzero(asked >= 0)[:, 0]
        if len(at) == 0:
            continue
        scores = net.scores(state.reshape(-1, state.shape[-1])[at])
        loss = nn.functional.cross_entropy(scores, asked[at])
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(net.parameters(), 1.0)
        optimizer.step()


def cosine(step: int, steps: int, peak: float) -> float:
    """Learning rate: a short rise, then a half cosine down to a fiftieth."""
    rise = min(1.0, (step + 1) / 20)
    return peak * rise * (0.49 * (1 + math.cos(math.pi * step / max(steps, 1))) + 0.02)
