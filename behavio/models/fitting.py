"""How a net learns: batches of like length, one pass, the loss of what and when, rates that rise and fall."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch
from torch.nn import functional

from behavio.models.net import Net
from behavio.models.windows import Windows, batches, cells

WHEN = 0.3
"""Weight of the time loss beside that of what comes next."""
MEAN_OVER = 0.5
"""Passes over which the mean of the parameters reaches back."""
OPEN_CLASSES = 32
"""Activities, the likeliest, over which an open gap is summed."""


@dataclass(frozen=True, slots=True, eq=False)
class Lessons:
    """All events of a log as a net reads them, each array (n_events, ...).

    codes    int32 (n, columns)   numbers  float16 or float32 (n, columns)
    target   int64, class of the next activity, -1 without one
    step     int64, the step of time the gap to the next event ends in (or has reached)
    says     int8, 1 the gap was seen, 0 nothing is known, -1 it is still open
    """

    codes: np.ndarray
    numbers: np.ndarray
    target: np.ndarray
    step: np.ndarray
    says: np.ndarray


@dataclass(frozen=True, slots=True)
class Hiding:
    """How much is hidden from the net while it learns, so that it can do without: shares of cells.

    activity  shown as unknown   fields  of each field, half as unknown and half as missing
    """

    activity: float = 0.01
    fields: float = 0.1


HIDING = Hiding()


@dataclass(frozen=True, slots=True)
class Plan:
    """How long and how fast a net learns.

    passes    most of them   per_pass  most events in each   width  cells of a batch
    rate      peak learning rate; `falling` starts at it, else it is reached after a quarter
    patience  passes in a row that may bring nothing
    n_fields  columns of the codes, from the second on, that are fields
    """

    passes: int
    per_pass: int
    width: int
    rate: float
    decay: float
    patience: int
    n_fields: int
    falling: bool = False


def fit(
    net: Net,
    lessons: Lessons,
    windows: Windows,
    plan: Plan,
    seed: Sequence[int],
    look: Callable[[int], float | None],
    hiding: Hiding = HIDING,
) -> int:
    """Passes over the windows; `look` gives a loss after each, and the net with the smallest one stays.

    Returns the number of passes it took.
    """
    random = np.random.default_rng(seed)
    plain = [p for name, p in net.named_parameters() if p.dim() == 1 or name == "usual.weight"]
    decayed = [p for name, p in net.named_parameters() if p.dim() > 1 and name != "usual.weight"]
    groups = [{"params": decayed, "weight_decay": plan.decay}, {"params": plain, "weight_decay": 0.0}]
    optimizer = torch.optim.AdamW(groups, plan.rate)
    best, worse, step, kept, taken = math.inf, 0, 0, None, plan.passes
    mean = Mean(net)
    for done in range(plan.passes):
        parts = sample(batches(windows, plan.width, random), windows, plan.per_pass)
        pace = 1.0 / max(len(parts) * MEAN_OVER, 1.0)
        total = plan.passes * len(parts)
        for i, pick in enumerate(parts):
            part = (step + i + 0.5) / max(total, step + i + 1)
            for group in optimizer.param_groups:
                group["lr"] = plan.rate * (1 - part if plan.falling else one_cycle(part))
            learn(net, optimizer, lessons, windows, pick, random, hiding, plan.n_fields)
            mean.add(max(pace, 1.0 / (step + i + 1)))
        step += len(parts)
        with mean.shown():
            loss = look(done)
        if loss is None:
            continue
        worse = 0 if loss < best - 1e-4 else worse + 1
        if loss < best:
            best, taken = loss, done + 1
            kept = [value.clone() for value in mean.values]
        if worse == plan.patience:
            break
    mean.keep(kept)
    return taken


class Mean:
    """A running mean of a net's parameters: it wavers less from step to step than they do.

    Source: Polyak and Juditsky (1992), with weights that fade so that the begin is forgotten.
    """

    def __init__(self, net: Net) -> None:
        self.now = [p.detach() for p in net.parameters()]
        self.values = [p.clone() for p in self.now]

    def add(self, pace: float) -> None:
        """Move the mean by `pace` of the way to where the net stands."""
        torch._foreach_lerp_(self.values, self.now, pace)

    @contextmanager
    def shown(self) -> Iterator[None]:
        """Inside, the net answers with the mean."""
        own = [p.clone() for p in self.now]
        self.keep(None)
        try:
            yield
        finally:
            self.keep(own)

    def keep(self, values: list[torch.Tensor] | None) -> None:
        """Give the net these parameters, or the mean."""
        torch._foreach_copy_(self.now, self.values if values is None else values)


def sample(parts: list[np.ndarray], windows: Windows, events: int) -> list[np.ndarray]:
    """The first batches that hold `events` events; batches come shuffled."""
    running = np.cumsum([windows.length[p].sum() for p in parts])
    return parts[: int(np.searchsorted(running, events)) + 1]


def learn(
    net: Net,
    optimizer: torch.optim.Optimizer,
    lessons: Lessons,
    windows: Windows,
    pick: np.ndarray,
    random: np.random.Generator,
    hiding: Hiding,
    n_fields: int,
) -> None:
    """One step of the optimizer on one batch of windows."""
    net.train()
    device = net.numbers.weight.device
    event, real = cells(windows, pick)
    seen = hide(lessons.codes[event], random, hiding, n_fields)
    numbers = torch.from_numpy(lessons.numbers[event]).to(device)
    state = net(torch.from_numpy(seen).to(device), numbers).reshape(event.size, -1)
    loss = loss_of(net, state, lessons, event.reshape(-1), real.reshape(-1))
    if loss is None:
        return
    optimizer.zero_grad()
    loss.backward()  # type: ignore[no-untyped-call]
    torch.nn.utils.clip_grad_norm_(net.parameters(), 1.0)
    optimizer.step()


def hide(codes: np.ndarray, random: np.random.Generator, hiding: Hiding, n_fields: int) -> np.ndarray:
    """int64 codes with some activities unknown and some fields unknown or missing; a copy."""
    seen = codes.astype(np.int64)
    seen[..., 0][random.random(seen.shape[:-1], dtype=np.float32) < hiding.activity] = 1
    if n_fields and hiding.fields > 0:
        draw = random.random((*seen.shape[:-1], n_fields), dtype=np.float32)
        fields = seen[..., 1 : 1 + n_fields]
        fields[draw < hiding.fields] = 0
        fields[draw < hiding.fields / 2] = 1
    return seen


def loss_of(
    net: Net, state: torch.Tensor, lessons: Lessons, event: np.ndarray, real: np.ndarray
) -> torch.Tensor | None:
    """Mean loss over what is asked: next activity, and its time in so far as the log says; None for nothing.

    state (cells, hidden), event int64 and real bool (cells,)
    """
    target = np.where(real, lessons.target[event], -1)
    at = np.flatnonzero(target >= 0)
    if len(at) == 0:
        return None
    wanted = torch.from_numpy(target[at]).to(state.device)
    asked = state[torch.from_numpy(at).to(state.device)]
    loss = functional.cross_entropy(net.scores(asked), wanted)
    timed = np.flatnonzero(lessons.says[event[at]] == 1)
    opened = np.flatnonzero(real & (lessons.says[event] == -1))
    if len(timed) == 0:
        return loss
    place = torch.from_numpy(timed).to(state.device)
    step = torch.from_numpy(lessons.step[event[at[timed]]]).to(state.device)
    total = ended(net.hazards(asked[place], wanted[place]), step).sum()
    if len(opened):
        waiting = state[torch.from_numpy(opened).to(state.device)]
        reached = torch.from_numpy(lessons.step[event[opened]]).to(state.device)
        what, when = still_open(net, waiting, reached)
        loss = (loss * len(at) + what.sum()) / (len(at) + len(opened))
        total = total + when.sum()
    return loss + WHEN * total / (len(timed) + len(opened))


def ended(hazard: torch.Tensor, step: torch.Tensor) -> torch.Tensor:
    """Negative log-likelihood (n,) of gaps that ended in `step`; hazard logits (n, bins)."""
    # -log sigmoid(h) = softplus(h) - h: all steps up to this one were asked, this one said yes
    asked = torch.arange(hazard.shape[1], device=hazard.device) <= step[:, None]
    paid: torch.Tensor = (functional.softplus(hazard) * asked).sum(1)
    return paid - hazard.gather(1, step[:, None])[:, 0]


def still_open(net: Net, state: torch.Tensor, step: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Negative log-likelihood (n,) of gaps that lasted until the start of `step`, whatever comes next.

    Twice the same number: for what comes next (the hazards taken as given) and for when.
    """
    chance = torch.log_softmax(net.scores(state), dim=1)
    most = min(OPEN_CLASSES, chance.shape[1])
    chance, then = chance.topk(most, dim=1)
    hazard = net.hazards(state[:, None, :], then)
    over = torch.arange(hazard.shape[2], device=hazard.device) < step[:, None]
    left = -torch.einsum("nkb,nb->nk", functional.softplus(hazard), over.float())
    what = torch.logsumexp(chance, dim=1) - torch.logsumexp(chance + left.detach(), dim=1)
    fixed = chance.detach()
    when = torch.logsumexp(fixed, dim=1) - torch.logsumexp(fixed + left, dim=1)
    return what, when


def one_cycle(done: float) -> float:
    """Share of the peak rate: a rise over a quarter, then a half cosine to a hundredth (Smith 2018)."""
    if done < 0.25:
        return 0.1 + 0.9 * done / 0.25
    return 0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * (done - 0.25) / 0.75))


def copy_by_name(old: Net, new: Net, was: dict[str, list[str]], now: dict[str, list[str]]) -> None:
    """Take over every parameter; of those that grow with the log, the rows of the same name."""
    with torch.no_grad():
        for name, kept in old.state_dict().items():
            mine = new.state_dict()[name]
            if name not in now:
                mine.copy_(kept)
                continue
            place = {row: i for i, row in enumerate(was[name])}
            pairs = [(i, place[row]) for i, row in enumerate(now[name]) if row in place]
            here, there = (torch.tensor(side, device=mine.device) for side in zip(*pairs, strict=True))
            mine[here] = kept[there]
