"""The torch side of the neural models: encoders, heads, and a room where runs repeat exactly."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import nn
from torch.nn import functional

from behavio.models.inputs import NUMBERS
from behavio.models.windows import WIDTH


@dataclass(frozen=True, slots=True)
class Shape:
    """What decides the parameters of a network.

    kind     gru | cnn | transformer
    sizes    codes of each input column, the activity first
    hidden   units
    classes  activities with a score
    bins     steps of the time axis
    numbers  columns of numbers
    """

    kind: str
    sizes: tuple[int, ...]
    hidden: int
    classes: int
    bins: int
    dropout: float
    numbers: int = NUMBERS


class Locked(nn.Module):
    """Dropout that hides the same units at every event of a case (Gal and Ghahramani 2016)."""

    def __init__(self, share: float) -> None:
        super().__init__()
        self.share = share

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(cases, events, hidden) → the same."""
        if not self.training or self.share == 0:
            return x
        kept = torch.rand(x.shape[0], 1, x.shape[2], device=x.device) >= self.share
        return x * (kept / (1 - self.share))


class Recurrent(nn.Module):
    """One gated recurrent layer."""

    def __init__(self, hidden: int, dropout: float) -> None:
        super().__init__()
        self.gru = nn.GRU(hidden, hidden, batch_first=True)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(cases, events, hidden) → the same, each event knowing those before it."""
        state: torch.Tensor = self.gru(x)[0]
        return state


class Convolutions(nn.Module):
    """Causal convolutions of width 3, each twice as far apart as the one before (van den Oord et al. 2016).

    A convolution is one product with the event and two earlier ones side by side: faster than conv1d at
    this size.
    """

    def __init__(self, hidden: int, dropout: float) -> None:
        super().__init__()
        self.steps = [2**i for i in range(5)]
        self.mix = nn.ModuleList(nn.Linear(3 * hidden, hidden) for _ in self.steps)
        self.norms = nn.ModuleList(nn.LayerNorm(hidden) for _ in self.steps)
        self.drop = nn.Dropout(dropout)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(cases, events, hidden) → the same, each event knowing the 62 before it."""
        length = x.shape[1]
        for step, mix, norm in zip(self.steps, self.mix, self.norms, strict=True):
            y = functional.pad(norm(x), (0, 0, 2 * step, 0))
            near = torch.cat(
                [y[:, :length], y[:, step : step + length], y[:, 2 * step : 2 * step + length]], -1
            )
            x = x + self.drop(functional.gelu(mix(near)))
        return x


class Attention(nn.Module):
    """Two causal transformer layers of four heads, norms first (Vaswani et al. 2017)."""

    def __init__(self, hidden: int, dropout: float) -> None:
        super().__init__()
        self.heads = 4 if hidden % 4 == 0 else 1
        self.place = nn.Parameter(torch.randn(WIDTH, hidden) * 0.02)
        self.ask = nn.ModuleList(nn.Linear(hidden, 3 * hidden) for _ in range(2))
        self.answer = nn.ModuleList(nn.Linear(hidden, hidden) for _ in range(2))
        self.wide = nn.ModuleList(nn.Linear(hidden, 2 * hidden) for _ in range(2))
        self.narrow = nn.ModuleList(nn.Linear(2 * hidden, hidden) for _ in range(2))
        self.norms = nn.ModuleList(nn.LayerNorm(hidden) for _ in range(4))
        self.drop = nn.Dropout(dropout)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(cases, events, hidden) → the same, each event knowing those before it."""
        n, length, hidden = x.shape
        x = x + self.place[:length]
        for i in range(2):
            parts = (
                self.ask[i](self.norms[2 * i](x)).view(n, length, 3, self.heads, -1).permute(2, 0, 3, 1, 4)
            )
            seen = functional.scaled_dot_product_attention(parts[0], parts[1], parts[2], is_causal=True)
            x = x + self.drop(self.answer[i](seen.transpose(1, 2).reshape(n, length, hidden)))
            x = x + self.drop(self.narrow[i](functional.gelu(self.wide[i](self.norms[2 * i + 1](x)))))
        return x


ENCODERS: dict[str, type[nn.Module]] = {"gru": Recurrent, "cnn": Convolutions, "transformer": Attention}


class Net(nn.Module):
    """Codes and numbers of each event → encoder → what comes next, and when.

    Every column of codes has rows of its own in one table; an event is the sum of its rows and of its
    numbers. The last activity also speaks for itself (`follow`), as in a first-order chain.
    """

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.shape = shape
        first = [0]
        for size in shape.sizes:
            first.append(first[-1] + size)
        self.first: torch.Tensor
        self.register_buffer("first", torch.tensor(first[:-1]), persistent=False)
        self.table = nn.EmbeddingBag(first[-1], shape.hidden, mode="sum")
        nn.init.normal_(self.table.weight, std=0.5)
        self.numbers = nn.Linear(shape.numbers, shape.hidden)
        self.encoder = ENCODERS[shape.kind](shape.hidden, shape.dropout)
        self.norm = nn.LayerNorm(shape.hidden)
        self.drop = Locked(shape.dropout)
        self.out = nn.Linear(shape.hidden, shape.classes)
        self.then = nn.Embedding(shape.classes, shape.hidden)
        self.wait = nn.Linear(shape.hidden, shape.hidden)
        self.hazard = nn.Linear(shape.hidden, shape.bins)
        self.usual = nn.Embedding(shape.classes, shape.bins)

    def forward(self, codes: torch.Tensor, numbers: torch.Tensor) -> torch.Tensor:
        """Codes int64 (cases, events, columns) and numbers (…, shape.numbers) → (cases, events, hidden)."""
        n, length, columns = codes.shape
        rows = (codes + self.first).view(-1, columns)
        x = self.table(rows).view(n, length, -1) + self.numbers(numbers.float())
        state: torch.Tensor = self.drop(self.norm(self.encoder(self.drop(x))))
        return state

    def scores(self, state: torch.Tensor) -> torch.Tensor:
        """Unnormalised log-probabilities of the classes."""
        result: torch.Tensor = self.out(state)
        return result

    def hazards(self, state: torch.Tensor, then: torch.Tensor) -> torch.Tensor:
        """Logits of ending in each step of time, given that it lasts until then and what comes next.

        state (..., hidden) and then int64 (...) a class, of like shape or spread → (..., bins)
        """
        mixed = functional.relu(self.wait(state) + self.then(then))
        result: torch.Tensor = self.hazard(mixed) + self.usual(then)
        return result

    def start_from(self, hazards: torch.Tensor) -> None:
        """Begin with these logits of each class (classes, bins): the net learns what differs from them."""
        with torch.no_grad():
            self.usual.weight.copy_(hazards)
            self.hazard.weight.mul_(0.1)
            self.hazard.bias.zero_()


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
