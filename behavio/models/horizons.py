"""What will happen within the next 7, 30 and 90 days: directly, not by rolling single steps forward.

A small net reads what a case did lately at a moment between its events and answers for every activity how
likely it happens at least once, and how often it is expected, within each horizon. It learns from moments
whose horizon lies whole inside the log: a horizon that reaches over the log's end is left out, not taken
for silence. Answers never fall with a longer horizon, by construction.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Self

import numpy as np
import polars as pl

from behavio.kernels import moments as kernel
from behavio.kernels.arrays import readonly
from behavio.log import TIME
from behavio.models.base import Coded
from behavio.models.gaps import DAY
from behavio.sequences import SequenceSet

if TYPE_CHECKING:
    import torch
    from torch import nn

ANY = "(any)"
"""Whatever activity it is."""
MOST_ACTIVITIES = 60
"""Activities answered for, the commonest ones; ANY counts all."""
BACK = (7, 30, 90, 365)
"""Days looked back."""
PER_CASE = 6
"""Moments of each case learnt from."""
MOST_MOMENTS = 240_000
ENOUGH = 3.0
"""A horizon is learnt when the log spans so many times its length."""
BATCH = 100_000
SCHEMA: pl.Schema = pl.Schema(
    {
        "case_id": pl.String(),
        "as_of": TIME,
        "days": pl.Int32(),
        "activity": pl.String(),
        "probability": pl.Float64(),
        "expected_number": pl.Float64(),
    }
)


@dataclass(frozen=True, slots=True, eq=False)
class Moments:
    """Cases at moments: arrays (n,). `moments` in µs, at or after the case's first event."""

    cases: np.ndarray
    moments: np.ndarray

    def __len__(self) -> int:
        return len(self.cases)

    def __getitem__(self, part: slice | np.ndarray) -> Moments:
        return Moments(self.cases[part], self.moments[part])

    @classmethod
    def at(cls, sequences: SequenceSet, moment: int) -> Self:
        """Every case that had begun by `moment` (µs)."""
        begun = np.flatnonzero(np.asarray(sequences.times)[sequences.offsets[:-1]] <= moment)
        return cls(begun, np.full(len(begun), moment))


@dataclass
class Horizons(Coded):
    """Chance and expected number of each activity within each horizon.

    days    horizons asked for; those too long for the log are left out
    hidden  units

    Learns: weights_  float32, all parameters, flat
            days_     int64, horizons learnt, rising; empty for a log without a clock or too short for any
            common_   int64, ids of the activities answered for
            center_, scale_  float32, of the inputs
            yearly_   bool (), the log spans two years, so that the time of the year can be told from a trend
    """

    learned: ClassVar[tuple[str, ...]] = ("weights_", "days_", "common_", "center_", "scale_", "yearly_")
    days: tuple[int, ...] = (7, 30, 90)
    hidden: int = 64
    epochs: int = 12
    rate: float = 4e-3
    seed: int = 7

    def fit(self, sequences: SequenceSet) -> Self:
        """Learn from random moments of every case up to the newest event of the log."""
        coded = sequences.recode(sequences.own_vocabulary())
        self.vocabulary_ = coded.vocabulary
        counts = np.bincount(coded.tokens, minlength=len(coded.vocabulary))[2:]
        self.common_ = 2 + np.sort(np.argsort(-counts, kind="stable")[:MOST_ACTIVITIES]).astype(np.int64)
        times = np.asarray(coded.times)
        span = (int(times.max()) - int(times.min())) / DAY if coded.timed else 0.0
        self.days_ = np.array([d for d in sorted(self.days) if d * ENOUGH <= span], dtype=np.int64)
        self.yearly_ = np.bool_(span >= 2 * 365)
        width = self._width()
        self.center_, self.scale_ = np.zeros(width, np.float32), np.ones(width, np.float32)
        self.weights_ = np.zeros(0, dtype=np.float32)
        if len(self.days_) == 0:
            return self
        asked = self._drawn(coded)
        seen, then = self._before(coded, asked), self.counted(coded, asked)
        whole = asked.moments[:, None] + self.days_ * DAY <= times.max()
        self.center_, self.scale_ = seen.mean(axis=0), np.maximum(seen.std(axis=0), 1e-3)
        self._train(self._scaled(seen), then, whole)
        return self

    @property
    def activities(self) -> list[str]:
        """What is answered for, ANY first."""
        return [ANY, *(self.vocabulary_.names[i] for i in self.common_)]

    def _drawn(self, coded: SequenceSet) -> Moments:
        """Moments to learn from: half anywhere in a case's time, half an hour to 90 days after some event.

        No moment is chosen by what comes after it: that would teach that events follow sooner than they do.
        """
        random = np.random.default_rng(self.seed)
        n = max(min(PER_CASE * coded.n_cases, MOST_MOMENTS), 2)
        times = np.asarray(coded.times)
        end = int(times.max()) - int(self.days_[0]) * DAY
        first = times[coded.offsets[:-1]]
        cases = random.choice(coded.n_cases, n // 2, replace=n // 2 > coded.n_cases)
        anywhere = first[cases] + (random.random(len(cases)) * np.maximum(end - first[cases], 0)).astype(int)
        event = random.integers(0, coded.n_events, n - len(cases))
        of_event = np.searchsorted(coded.offsets, event, side="right") - 1
        delay = np.exp(random.random(len(event)) * np.log(90 * 24)) * DAY / 24
        between = times[event] + delay.astype(np.int64)
        every = Moments(np.concatenate([cases, of_event]), np.concatenate([anywhere, between]))
        usable = every[(every.moments <= end) & (every.moments >= first[every.cases])]
        return usable if len(usable) else Moments(np.arange(coded.n_cases), first)

    def _codes(self, coded: SequenceSet) -> np.ndarray:
        """int64 (n_events,): place of each event's activity among those answered for, -1 for a rare one."""
        table = np.full(len(coded.vocabulary), -1)
        table[self.common_] = np.arange(len(self.common_))
        return readonly(table[coded.tokens], np.int64)

    def _width(self) -> int:
        return len(self.common_) * (len(BACK) + 2) + 8

    def _before(self, coded: SequenceSet, asked: Moments) -> np.ndarray:
        """float32 (n, width): what is known at each moment."""
        times, offsets = readonly(coded.times, np.int64), readonly(coded.offsets, np.int64)
        ends = kernel.places_at(times, offsets, asked.cases, asked.moments)
        starts = offsets[asked.cases]
        codes, size = self._codes(coded), len(self.common_)
        back = np.array(BACK, dtype=np.int64) * DAY
        counts, since = kernel.before(codes, times, starts, ends, asked.moments, back, size)
        ago = np.where(since < 0, 8.0, np.log1p(np.maximum(since, 0) / DAY))
        last = np.zeros((len(asked), size), dtype=np.float32)
        newest = codes[ends - 1]
        last[np.flatnonzero(newest >= 0), newest[newest >= 0]] = 1.0
        waited = (asked.moments - times[ends - 1]) / DAY
        age = (asked.moments - times[starts]) / DAY
        year = 2 * np.pi * (asked.moments / DAY % 365.25) / 365.25 * float(self.yearly_)
        week = 2 * np.pi * ((asked.moments // DAY + 3) % 7) / 7
        alone = [
            np.log1p(waited),
            np.log1p(age),
            np.log1p(ends - starts),
            np.log1p((ends - starts) / (age + 7)),
        ]
        alone += [np.sin(year), np.cos(year), np.sin(week), np.cos(week)]
        parts = [np.log1p(counts).reshape(len(asked), -1), ago, last, np.stack(alone, axis=1)]
        return np.concatenate(parts, axis=1).astype(np.float32)

    def counted(self, coded: SequenceSet, asked: Moments) -> np.ndarray:
        """float32 (n, n_days, 1 + n_activities): what really followed each moment within each horizon."""
        times, offsets = readonly(coded.times, np.int64), readonly(coded.offsets, np.int64)
        ends = kernel.places_at(times, offsets, asked.cases, asked.moments)
        lasts, ahead = offsets[asked.cases + 1], self.days_ * DAY
        each = kernel.after(self._codes(coded), times, ends, lasts, asked.moments, ahead, len(self.common_))
        every = np.zeros(coded.n_events, dtype=np.int64)
        whole = kernel.after(every, times, ends, lasts, asked.moments, ahead, 1)
        return np.concatenate([whole, each], axis=2)

    def _scaled(self, seen: np.ndarray) -> np.ndarray:
        """Inputs around zero; what lies far from all that was learnt from is brought near."""
        result: np.ndarray = np.clip((seen - self.center_) / self.scale_, -4, 4)
        return result

    def _net(self) -> nn.Module:
        import torch

        outputs = 2 * len(self.days_) * (1 + len(self.common_))
        return torch.nn.Sequential(
            torch.nn.Linear(self._width(), self.hidden),
            torch.nn.ReLU(),
            torch.nn.Dropout(0.1),
            torch.nn.Linear(self.hidden, outputs),
        )

    def _train(self, seen: np.ndarray, then: np.ndarray, whole: np.ndarray) -> None:
        """Cross-entropy of "at least once" and Poisson loss of the number; horizons not whole left out."""
        import torch
        from torch.nn.utils import parameters_to_vector

        from behavio.models.fitting import one_cycle
        from behavio.models.net import repeatable

        random = np.random.default_rng(self.seed)
        with repeatable(self.seed, 1):
            net = self._net()
            self._start(net, then, whole)
            optimizer = torch.optim.AdamW(net.parameters(), self.rate, weight_decay=0.01)
            size = int(np.clip(len(seen) // 40, 64, 1024))
            steps = self.epochs * -(-len(seen) // size)
            for step in range(steps):
                if step * size % len(seen) < size:
                    order = random.permutation(len(seen))
                low = step * size % len(seen)
                pick = order[low : low + size]
                for group in optimizer.param_groups:
                    group["lr"] = self.rate * one_cycle((step + 0.5) / steps)
                chance, rate = _cumulative(net(torch.from_numpy(seen[pick])), len(self.days_))
                y = torch.from_numpy(then[pick])
                known = torch.from_numpy(whole[pick].astype(np.float32))[:, :, None]
                happened = torch.where(y > 0, torch.log(-torch.expm1(-chance) + 1e-9), -chance)
                number = rate - y * torch.log(rate + 1e-9)
                loss = (known * (0.2 * number - happened)).sum() / max(float(known.sum()), 1.0)
                optimizer.zero_grad()
                loss.backward()  # type: ignore[no-untyped-call]
                torch.nn.utils.clip_grad_norm_(net.parameters(), 5.0)
                optimizer.step()
            self.weights_ = parameters_to_vector(net.parameters()).detach().numpy().copy()

    def _start(self, net: nn.Module, then: np.ndarray, whole: np.ndarray) -> None:
        """Begin with the mean of every answer."""
        import torch

        n = np.maximum(whole.sum(axis=0), 1)[:, None]
        share = np.clip(((then > 0) * whole[:, :, None]).sum(axis=0) / n, 1e-4, 1 - 1e-4)
        mean = np.maximum((then * whole[:, :, None]).sum(axis=0) / n, 1e-4)
        steps = []
        for level in (-np.log1p(-share), mean):
            rise = np.maximum(np.diff(level, axis=0, prepend=0.0), 1e-4)
            steps.append(np.log(np.expm1(rise)).reshape(-1))
        last = list(net.children())[-1]
        with torch.no_grad():
            last.bias.copy_(torch.from_numpy(np.concatenate(steps).astype(np.float32)))  # type: ignore[operator]
            last.weight.mul_(0.3)  # type: ignore[operator]

    def ask(self, sequences: SequenceSet, asked: Moments) -> tuple[np.ndarray, np.ndarray]:
        """Probability of at least one, and expected number: float64 (n, n_days, 1 + n_activities) each."""
        import torch
        from torch.nn.utils import vector_to_parameters

        from behavio.models.net import repeatable

        coded = self.coded(sequences)
        shape = (len(asked), len(self.days_), 1 + len(self.common_))
        chance, number = np.zeros(shape), np.zeros(shape)
        if len(self.days_) == 0:
            return chance, number
        net = self._net().eval()
        vector_to_parameters(torch.from_numpy(self.weights_.copy()), net.parameters())
        for low in range(0, len(asked), BATCH):
            part = slice(low, low + BATCH)
            seen = self._scaled(self._before(coded, asked[part]))
            with repeatable(self.seed, 1), torch.no_grad():
                hazard, rate = _cumulative(net(torch.from_numpy(seen)), len(self.days_))
                chance[part] = -torch.expm1(-hazard.double()).numpy()
                number[part] = rate.double().numpy()
        return chance, np.maximum(number, chance)

    def table(
        self, sequences: SequenceSet, as_of: int, top: int = 5, cases: np.ndarray | None = None
    ) -> pl.DataFrame:
        """Columns of SCHEMA: for each case ANY and its `top` likeliest activities, by the longest horizon.

        as_of  µs; cases that begin later have no row.  cases  bool (n_cases,), all by default
        """
        asked = Moments.at(sequences, as_of)
        if cases is not None:
            asked = asked[cases[asked.cases]]
        frames = [pl.DataFrame(schema=SCHEMA)]
        names = pl.Series(self.activities, dtype=pl.String)
        n_days = len(self.days_)
        for low in range(0, len(asked) if n_days else 0, BATCH):
            some = asked[low : low + BATCH]
            chance, number = self.ask(sequences, some)
            best = np.argsort(-chance[:, -1, 1:], axis=1, kind="stable")[:, :top] + 1
            best = np.concatenate([np.zeros((len(some), 1), dtype=np.int64), best], axis=1)
            n = best.shape[1]
            row = np.repeat(np.arange(len(some)), n * n_days)
            what = np.repeat(best.reshape(-1), n_days)
            when = np.tile(np.arange(n_days), len(some) * n)
            frames.append(
                pl.DataFrame(
                    {
                        "case_id": sequences.case_ids.gather(pl.Series(some.cases[row])),
                        "as_of": pl.repeat(as_of, len(row), dtype=pl.Int64, eager=True).cast(TIME),
                        "days": self.days_[when],
                        "activity": names.gather(pl.Series(what)),
                        "probability": chance[row, when, what],
                        "expected_number": number[row, when, what],
                    }
                ).cast(SCHEMA)
            )
        return pl.concat(frames)


def _cumulative(raw: torch.Tensor, n_days: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Cumulative hazard of the first one and cumulative rate (n, n_days, n_activities): both only rise."""
    from torch.nn.functional import softplus

    parts = softplus(raw).view(len(raw), 2, n_days, -1).cumsum(dim=2)
    return parts[:, 0], parts[:, 1]
