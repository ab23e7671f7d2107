"""Small nets over activities, their fields and their moments: GRU, causal convolutions, causal transformer.

One layer of 64 to 128 units is what evaluations of event sequence models keep finding at this size; a net
stands or falls by the n-gram beside it. How they learn stands in `learner`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from behavio.models import timeline
from behavio.models import windows as cut
from behavio.models.base import Prefixes
from behavio.models.learner import Learner
from behavio.sequences import UNKNOWN, SequenceSet

if TYPE_CHECKING:
    import torch

FLOOR = 1e-6
"""Share of probability spread evenly, so that no loss is infinite."""
PIECE = 1_000_000
"""Events read at once when a net is asked."""
LIKELIEST = 16
"""Activities over which the time to the next event is mixed."""


@dataclass(frozen=True, slots=True, eq=False)
class Held:
    """Prefixes, oldest end first, whose states (n, members, hidden) are kept once they were asked for."""

    coded: SequenceSet
    prefixes: Prefixes
    states: np.ndarray | None = None


@dataclass
class Neural(Learner):
    """What a net answers: what comes next, and when."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self._held: Held | None = None

    def rows(self, coded: SequenceSet, prefixes: Prefixes) -> np.ndarray:
        """Softmax over classes, shared out to activities, with a little left for the unknown."""
        p = self.class_rows(coded, prefixes)
        rows = np.zeros((len(prefixes), len(self.vocabulary_)))
        rows[:, UNKNOWN] = self.novelty_
        rows[:, 2:] = self._shared_out(p[:, self.class_of_[2:]], self.within_[2:])
        return rows

    def of_truth(self, coded: SequenceSet, prefixes: Prefixes) -> np.ndarray:
        """As for every model, without a column for each activity."""
        return self._of_truth(coded, prefixes, range(self.members))

    def _of_truth(self, coded: SequenceSet, prefixes: Prefixes, members: Sequence[int]) -> np.ndarray:
        result = np.full(len(prefixes), self.novelty_)
        for part, some in prefixes.batches(int(self.class_of_.max(initial=0)) + 1):
            truth = coded.tokens[some.ends]
            p = self.class_rows(coded, some, members)[np.arange(len(some)), self.class_of_[truth]]
            known = self._shared_out(p, self.within_[truth])
            result[part] = np.where(truth == UNKNOWN, result[part], known)
        return result

    def _loss(self, coded: SequenceSet, held: Prefixes, member: int) -> float:
        """Mean loss of one member on held-out steps."""
        return float(-np.log(self._of_truth(coded, held, [member])).mean())

    def _shared_out(self, p: np.ndarray, within: np.ndarray) -> np.ndarray:
        """Probability of known activities from that of their class; none is impossible."""
        kinds = max(len(self.vocabulary_) - 2, 1)
        known: np.ndarray = (1.0 - self.novelty_) * ((1.0 - FLOOR) * p * within + FLOOR / kinds)
        return known

    def class_rows(
        self, coded: SequenceSet, prefixes: Prefixes, members: Sequence[int] | None = None
    ) -> np.ndarray:
        """Softmax over classes, float64 (n, n_classes), the mean of the members."""
        import torch

        asked = range(self.members) if members is None else members
        p = np.zeros((len(prefixes), int(self.class_of_.max(initial=0)) + 1))
        for member in asked:
            net = self._networks()[member]
            for at, state in self._states(coded, prefixes, member):
                p[at] += torch.softmax(net.scores(state).detach().double(), dim=1).cpu().numpy()
        return p / len(asked)

    def states(self, coded: SequenceSet, prefixes: Prefixes) -> np.ndarray:
        """float32 (n, members * hidden): what the nets know after each prefix."""
        found = np.zeros((len(prefixes), self.members, self.hidden), dtype=np.float32)
        for member in range(self.members):
            for at, state in self._states(coded, prefixes, member):
                found[at, member] = state.cpu().numpy()
        return found.reshape(len(prefixes), -1)

    def _states(
        self, coded: SequenceSet, prefixes: Prefixes, member: int
    ) -> Iterator[tuple[np.ndarray, torch.Tensor]]:
        """Places in `prefixes` and the states of one member there (n, hidden), batch by batch."""
        held = self._held_of(coded, prefixes)
        if held is not None:
            import torch

            yield np.arange(len(prefixes)), torch.from_numpy(held[:, member]).to(self._device())
            return
        for part, log, some in pieces(coded, prefixes):
            for at, state in self._states_of(log, some, member):
                yield part[at], state

    @contextmanager
    def holding(self, coded: SequenceSet, prefixes: Prefixes) -> Iterator[None]:
        """Inside, what comes next and when it comes are told of these prefixes by one reading of the log."""
        self._held = Held(coded, prefixes[np.argsort(prefixes.ends, kind="stable")])
        try:
            yield
        finally:
            self._held = None

    def _held_of(self, coded: SequenceSet, prefixes: Prefixes) -> np.ndarray | None:
        """float32 (n, members, hidden), where all of these prefixes are held; made when first asked for."""
        held = self._held
        if held is None or held.coded is not coded or len(held.prefixes) == 0:
            return None
        ends = held.prefixes.ends
        place = np.minimum(np.searchsorted(ends, prefixes.ends), len(ends) - 1)
        if not np.array_equal(ends[place], prefixes.ends):
            return None
        if held.states is None:
            self._held = None
            states = self.states(coded, held.prefixes).reshape(len(ends), self.members, -1)
            self._held = held = replace(held, states=states)
        assert held.states is not None
        found: np.ndarray = held.states[place]
        return found

    def _states_of(
        self, coded: SequenceSet, prefixes: Prefixes, member: int
    ) -> Iterator[tuple[np.ndarray, torch.Tensor]]:
        """`_states` of a log small enough to be read at once."""
        import torch

        codes, numbers = self.read(coded)
        windows, index, inside = cut.asked_windows(coded, prefixes)
        order = np.argsort(index, kind="stable")
        bounds = np.searchsorted(index[order], np.arange(len(windows) + 1))
        net = self._networks()[member].eval()
        device = self._device()
        for pick in cut.batches(windows, 16_384):
            event, _ = cut.cells(windows, pick)
            asked = np.concatenate([order[bounds[w] : bounds[w + 1]] for w in pick])
            row = np.repeat(np.arange(len(pick)), bounds[pick + 1] - bounds[pick])
            with self._steady(member), torch.no_grad():
                seen = torch.from_numpy(codes[event].astype(np.int64)).to(device)
                state = net(seen, torch.from_numpy(numbers[event]).to(device))
                found = state[torch.from_numpy(row).to(device), torch.from_numpy(inside[asked]).to(device)]
            yield asked, found

    def waits(
        self, coded: SequenceSet, prefixes: Prefixes, shares: Sequence[float] = (0.1, 0.5, 0.9)
    ) -> np.ndarray:
        """float64 (n, n_shares): µs from each prefix's newest event to the next one, whatever it is."""
        chance = self.class_rows(coded, prefixes)
        most = min(LIKELIEST, chance.shape[1])
        then = np.argsort(-chance, axis=1, kind="stable")[:, :most]
        weight = np.take_along_axis(chance, then, axis=1)
        left = np.empty((len(prefixes), len(self.edges_)))
        for part, some in prefixes.batches(most * len(self.edges_)):
            each = some[np.repeat(np.arange(len(some)), most)]
            curves = self.survival(coded, each, then[part].ravel()).reshape(len(some), most, -1)
            left[part] = np.einsum("nk,nke->ne", weight[part], curves)
        left /= weight.sum(axis=1, keepdims=True)
        return timeline.quantiles(self.edges_, left, shares) * 1e6

    def when(
        self,
        coded: SequenceSet,
        prefixes: Prefixes,
        then: np.ndarray,
        waited: np.ndarray,
        shares: Sequence[float] = (0.1, 0.5, 0.9),
    ) -> np.ndarray:
        """float64 (n, n_shares): µs from now until `then` (ids of activities) if that is what comes next.

        waited  int64 (n,)  µs since the prefix's newest event; NaN where the net never saw such a wait
        """
        left = self.survival(coded, prefixes, self.class_of_[then])
        return timeline.quantiles(self.edges_, left, shares, np.maximum(waited, 0) / 1e6) * 1e6

    def survival(self, coded: SequenceSet, prefixes: Prefixes, then: np.ndarray) -> np.ndarray:
        """float64 (n, n_steps + 1): share of waits longer than each edge, given the class that comes next."""
        import torch

        left = np.zeros((len(prefixes), len(self.edges_)))
        _, first, same = np.unique(prefixes.ends, return_index=True, return_inverse=True)
        order = np.argsort(same, kind="stable")  # a prefix asked for several activities is read once
        bounds = np.searchsorted(same[order], np.arange(len(first) + 1))
        for member in range(self.members):
            net = self._networks()[member]
            for at, state in self._states(coded, prefixes[first], member):
                times = bounds[at + 1] - bounds[at]
                row = np.repeat(np.arange(len(at)), times)
                within = np.arange(len(row)) - np.repeat(np.cumsum(times) - times, times)
                asked = order[np.repeat(bounds[at], times) + within]
                with torch.no_grad():
                    wanted = torch.from_numpy(np.maximum(then[asked], 0)).to(state.device)
                    hazards = net.hazards(state[torch.from_numpy(row).to(state.device)], wanted)
                    hazard = torch.sigmoid(hazards.double()).cpu().numpy()
                left[asked] += timeline.survival(hazard)
        return left / self.members


def pieces(coded: SequenceSet, prefixes: Prefixes) -> Iterator[tuple[np.ndarray, SequenceSet, Prefixes]]:
    """A large log in runs of cases: places in `prefixes`, the log of the cases, the prefixes in it."""
    if coded.n_events <= PIECE:
        yield np.arange(len(prefixes)), coded, prefixes
        return
    cases, code = np.unique(prefixes.cases, return_inverse=True)
    order = np.argsort(code, kind="stable")
    run = np.cumsum(coded.lengths[cases]) // PIECE
    for block in np.unique(run):
        few = np.flatnonzero(run == block)
        log = coded.select(cases[few])
        low, high = np.searchsorted(code[order], [few[0], few[-1] + 1])
        part = order[low:high]
        moved = prefixes.ends[part] - coded.offsets[prefixes.cases[part]]
        of_case = code[part] - few[0]
        yield part, log, Prefixes(of_case, moved + log.offsets[of_case])


class GRU(Neural):
    """Next activity by a gated recurrent layer."""

    kind = "gru"


class CNN(Neural):
    """Next activity by dilated causal convolutions."""

    kind = "cnn"


class Transformer(Neural):
    """Next activity by a causal transformer of two layers."""

    kind = "transformer"
