"""Small nets over activities, their fields and their moments: GRU, causal convolutions, causal transformer.

One layer of 64 to 128 units is what evaluations of event sequence models keep finding at this size; a net
stands or falls by the n-gram beside it. Work is bounded by events, never by seconds, so the same seed gives
the same bytes however busy the machine is.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, ClassVar, Self

import numpy as np

from behavio.models import inputs, timeline
from behavio.models import windows as cut
from behavio.models.base import Prefixes, SequenceModel, Split, later_slice
from behavio.sequences import UNKNOWN, SequenceSet

if TYPE_CHECKING:
    import torch

    from behavio.models.fitting import Lessons
    from behavio.models.net import Net, Shape

CLASSES = 2_000
"""Activities with a score of their own; rarer ones share one, split by how often they came."""
FLOOR = 1e-6
"""Share of probability spread evenly, so that no loss is infinite."""
CHECKED = 40_000
"""Held-out steps that decide when to stop."""
CARRY = 0.3
"""Share of the learning rate at which a judged net learns what came after; nearly flat from 0.1 to 0.4."""
PASS = 400_000
"""Most events between two looks at the held-out steps."""
AGAIN = 1_000_000
"""Events of all passes together up to which a net is trained again from nothing."""
LIKELIEST = 16
"""Activities over which the time to the next event is mixed."""


@dataclass
class Neural(SequenceModel):
    """Next activity, and when, by a small net.

    hidden    units
    epochs    most passes; training stops when `patience` in a row do not help on the latest slice of the log
    budget    most events each member trains on, all passes together; of a longer log a pass takes a sample
    held_out  share of events, the latest, that decide when to stop; a short pass then learns them too
    members   nets that differ in their seed; the answer is their mean
    step_events  most events behind one step of the optimizer; a small log takes smaller steps
    threads   of torch; more than one rarely helps a net this small, and another number gives other bytes
    device    "cpu", "cuda", or "auto" for a GPU where there is one (its bytes differ from a CPU's)

    Learns: weights_      float32 (members, n_parameters)
            class_of_     int64 (n_vocabulary,), class of each activity, -1 for padding and unknown
            within_       float64 (n_vocabulary,), its share of that class
            novelty_      float64 (), probability of an activity never seen
            edges_        float64, steps of the time axis (behavio.models.timeline)
            fields_, field_values_, field_sizes_, field_edges_, field_parts_   how fields are read
    """

    learned: ClassVar[tuple[str, ...]] = (
        "weights_",
        "class_of_",
        "within_",
        "novelty_",
        "edges_",
        "fields_",
        "field_values_",
        "field_sizes_",
        "field_edges_",
        "field_parts_",
    )
    kind: ClassVar[str] = "gru"
    hidden: int = 64
    epochs: int = 12
    budget: int = 5_000_000
    seed: int = 7
    held_out: float = 0.15
    members: int = 1
    dropout: float = 0.2
    rate: float = 6e-3
    decay: float = 0.02
    patience: int = 4
    step_events: int = 2048
    threads: int = 1
    device: str = "cpu"

    def __post_init__(self) -> None:
        self._lessons_of: tuple[SequenceSet, Lessons] | None = None

    def watch(self, progress: Callable[[str, float], None]) -> Self:
        """Report passes to `progress(what, share done)`."""
        self._progress = progress
        return self

    def learn(self, coded: SequenceSet) -> Self:
        """Train until the latest slice says stop, then learn that slice too."""
        split = later_slice(coded, self.held_out)
        self.begin(coded)
        if split is None:
            self.train(coded, None)
        else:
            self.train(split.train, split)
            self.settle(coded, split.prefixes)
        return self

    def settle(self, coded: SequenceSet, recent: Prefixes) -> None:
        """Learn the `recent` steps too: from nothing where that is cheap, else going on.

        From nothing takes as many passes as helped before; on small logs it predicts better.
        """
        if coded.n_events * self.passes_ > AGAIN:
            self.catch_up(coded, recent)
            return
        self.begin(coded)
        self.train(coded, None, self.passes_)

    def begin(self, coded: SequenceSet) -> None:
        """Untrained nets for this vocabulary, these fields and these waits."""
        self.vocabulary_ = coded.vocabulary
        size = len(coded.vocabulary)
        steps = Prefixes.of_cases(coded, 0)
        counts = np.bincount(coded.tokens[steps.ends], minlength=size)[2:] + 1.0
        common = np.sort(np.argsort(-counts, kind="stable")[:CLASSES])
        self.class_of_ = np.full(size, -1, dtype=np.int64)
        self.class_of_[2:] = len(common)
        self.class_of_[2 + common] = np.arange(len(common))
        rare = np.where(self.class_of_[2:] == len(common), counts, 0.0)
        self.within_ = np.zeros(size)
        self.within_[2:] = np.where(rare > 0, rare / max(rare.sum(), 1.0), 1.0)
        kinds = len(counts)
        self.novelty_ = np.float64(kinds / (len(steps) + kinds) / (kinds + 1))
        gap, says = inputs.asked_of(coded)
        self.edges_ = timeline.edges_of(gap[says == 1])
        self._keep_readers(inputs.readers(coded.fields))
        self._new_weights()
        self._start_from(coded, gap, says)

    def _start_from(self, coded: SequenceSet, gap: np.ndarray, says: np.ndarray) -> None:
        """Let every net begin with the waits as they were counted before each class."""
        import torch

        at = np.flatnonzero(says == 1)
        then = self.class_of_[coded.tokens[np.minimum(at + 1, coded.n_events - 1)]]
        at, then = at[then >= 0], then[then >= 0]
        step = timeline.step_of(self.edges_, gap[at])
        classes = int(self.class_of_.max(initial=0)) + 1
        counted = timeline.counted_hazards(step, then, classes, len(self.edges_) - 1)
        for net in self._nets:
            net.start_from(torch.from_numpy(counted))
        self._keep_weights()

    def _keep_readers(self, readers: list[inputs.Reader]) -> None:
        """Write down how fields are read, as arrays."""
        self.fields_ = np.array([r.name for r in readers], dtype=np.str_)
        self.field_values_ = np.array([v for r in readers for v in r.values], dtype=np.str_)
        self.field_sizes_ = np.array([len(r.values) for r in readers], dtype=np.int64)
        self.field_edges_ = np.concatenate([np.empty(0), *(r.edges for r in readers)])
        self.field_parts_ = np.array([len(r.edges) for r in readers], dtype=np.int64)

    def readers(self) -> list[inputs.Reader]:
        """How fields are read."""
        values = np.split(self.field_values_, np.cumsum(self.field_sizes_)[:-1]) if len(self.fields_) else []
        edges = np.split(self.field_edges_, np.cumsum(self.field_parts_)[:-1]) if len(self.fields_) else []
        return [
            inputs.Reader(str(name), tuple(v.tolist()), e)
            for name, v, e in zip(self.fields_, values, edges, strict=True)
        ]

    def _new_weights(self) -> None:
        """Random weights of every member, from its seed."""
        from behavio.models.net import Net

        self._lessons_of = None
        self._nets: list[Net] = []
        for member in range(self.members):
            with self._steady(member):
                self._nets.append(Net(self._shape()).to(self._device()))
        self._keep_weights()

    def _shape(self) -> Shape:
        from behavio.models.net import Shape

        sizes = (len(self.vocabulary_), *(n for r in self.readers() for n in r.sizes), *inputs.MOMENTS)
        classes = int(self.class_of_.max(initial=0)) + 1
        return Shape(self.kind, sizes, self.hidden, classes, len(self.edges_) - 1, self.dropout)

    def _device(self) -> str:
        """Where torch works."""
        if self.device != "auto":
            return self.device
        import torch

        return "cuda" if torch.cuda.is_available() else "cpu"

    def _networks(self) -> list[Net]:
        """The nets with the learned weights; built on first use after loading."""
        if not hasattr(self, "_nets"):
            import torch
            from torch.nn.utils import vector_to_parameters

            from behavio.models.net import Net

            self._nets = []
            for weights in self.weights_:
                net = Net(self._shape()).to(self._device())
                vector_to_parameters(torch.from_numpy(weights.copy()).to(self._device()), net.parameters())
                self._nets.append(net)
        return self._nets

    def train(self, coded: SequenceSet, split: Split | None, passes: int | None = None) -> None:
        """Passes over `coded`, each followed by a look at the held-out steps; the best weights stay."""
        from behavio.models.fitting import Plan, fit

        lessons, windows = self._lessons(coded), self._training_windows(coded)
        per_pass = max(min(int(windows.length.sum()), PASS, self.budget), 1)
        passes = passes or max(min(self.epochs, self.budget // per_pass), 1)
        width = int(np.clip(per_pass // 40, 128, self.step_events))
        plan = Plan(passes, per_pass, width, self.rate, self.decay, self.patience, len(self._field_columns()))
        held = None if split is None else split.prefixes.thin(CHECKED)
        for member, net in enumerate(self._networks()):

            def look(done: int, member: int = member) -> float | None:
                """The loss on the held-out steps after a pass."""
                share = (member + (done + 1) / passes) / self.members
                self.report(f"trained the {self.kind}, pass {done + 1}", share)
                if split is None or held is None:
                    return None
                return self._loss(split.sequences, held, member)

            with self._steady(member):
                self.passes_ = fit(net, lessons, windows, plan, [self.seed, member], look)
        self._keep_weights()
        self._lessons_of = None

    def catch_up(self, coded: SequenceSet, recent: Prefixes, pace: float = 0.05) -> None:
        """One pass over the windows that hold `recent` steps, from `pace` of the learning rate down.

        The older steps in those windows are learnt again: without them the net forgets.
        """
        from behavio.models.fitting import Plan, fit

        if len(recent) == 0:
            return
        lessons, (windows, _, _) = self._lessons(coded), cut.asked_windows(coded, recent)
        width = int(np.clip(int(windows.length.sum()) // 10, 128, self.step_events))
        plan = Plan(1, PASS, width, self.rate * pace, self.decay, 1, len(self._field_columns()), falling=True)
        for member, net in enumerate(self._networks()):
            with self._steady(member + 1):
                fit(net, lessons, windows, plan, [self.seed + 1, member], lambda done: None)
        self._keep_weights()

    def carry_on(self, coded: SequenceSet, recent: Prefixes) -> None:
        """Go on learning from a longer log: what was learnt is kept by name, `recent` steps are new."""
        from behavio.models.fitting import copy_by_name

        known, nets, edges = self._row_names(), self._networks(), self.edges_
        readers = {r.name: r for r in self.readers()}
        self.begin(replace(coded, fields={n: f for n, f in coded.fields.items() if n in readers}))
        self.edges_ = edges
        self._keep_readers([readers[r.name] for r in self.readers()])
        self._new_weights()
        for old, new in zip(nets, self._networks(), strict=True):
            copy_by_name(old, new, known, self._row_names())
        self._keep_weights()
        self.catch_up(coded, recent, CARRY)

    def _row_names(self) -> dict[str, list[str]]:
        """What each row of a parameter that grows with the log stands for."""
        rows = [f"activity {name}" for name in self.vocabulary_.names]
        rows += [f"{r.name} {i} {row}" for r in self.readers() for i, row in enumerate(r.rows)]
        rows += [f"moment {i}" for i in range(sum(inputs.MOMENTS))]
        classes = ["(rare)"] * (int(self.class_of_.max(initial=0)) + 1)
        for i, name in enumerate(self.vocabulary_.names):
            if i > UNKNOWN and self.within_[i] == 1.0:
                classes[self.class_of_[i]] = f"activity {name}"
        return {
            "table.weight": rows,
            "out.weight": classes,
            "out.bias": classes,
            "then.weight": classes,
            "usual.weight": classes,
        }

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
        import torch

        lessons = self._lessons(coded)
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
                codes = torch.from_numpy(lessons.codes[event].astype(np.int64)).to(device)
                state = net(codes, torch.from_numpy(lessons.numbers[event]).to(device))
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
        left = sum(
            weight[:, [i]] * self.survival(coded, prefixes, then[:, i]) for i in range(most)
        ) / weight.sum(axis=1, keepdims=True)
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
        for member in range(self.members):
            net = self._networks()[member]
            for at, state in self._states(coded, prefixes, member):
                with torch.no_grad():
                    wanted = torch.from_numpy(np.maximum(then[at], 0)).to(state.device)
                    hazard = torch.sigmoid(net.hazards(state, wanted).double()).cpu().numpy()
                left[at] += timeline.survival(hazard)
        return left / self.members

    def report(self, what: str, done: float) -> None:
        """Tell whoever watches."""
        if hasattr(self, "_progress"):
            self._progress(what, done)

    def _steady(self, member: int) -> AbstractContextManager[None]:
        """Torch as this member's seed and threads want it."""
        from behavio.models.net import repeatable

        return repeatable(self.seed + 1000 * member, self.threads)

    def _keep_weights(self) -> None:
        """Write down what the nets hold."""
        from torch.nn.utils import parameters_to_vector

        self.weights_ = np.stack(
            [parameters_to_vector(n.parameters()).detach().cpu().numpy() for n in self._nets]
        )

    def _training_windows(self, coded: SequenceSet) -> cut.Windows:
        """Windows over every event that has a next one."""
        return cut.asked_windows(coded, Prefixes.of_cases(coded, 0))[0]

    def _field_columns(self) -> list[int]:
        """Codes of each input column that is a field."""
        return [n for r in self.readers() for n in r.sizes]

    def _lessons(self, coded: SequenceSet) -> Lessons:
        """The log as the net reads it; the latest one is remembered."""
        from behavio.models.fitting import Lessons

        if self._lessons_of is not None and self._lessons_of[0] is coded:
            return self._lessons_of[1]
        columns = [np.asarray(coded.tokens)]
        for reader in self.readers():
            columns += reader.columns(coded)
        target = np.full(coded.n_events, -1, dtype=np.int64)
        steps = Prefixes.of_cases(coded, 0)
        target[steps.ends - 1] = self.class_of_[coded.tokens[steps.ends]]
        gap, says = inputs.asked_of(coded)
        codes = np.concatenate([np.stack(columns, axis=1), inputs.moments(coded)], axis=1)
        found = Lessons(codes, inputs.numbers(coded), target, timeline.step_of(self.edges_, gap), says)
        self._lessons_of = (coded, found)
        return found


class GRU(Neural):
    """Next activity by a gated recurrent layer."""

    kind = "gru"


class CNN(Neural):
    """Next activity by dilated causal convolutions."""

    kind = "cnn"


class Transformer(Neural):
    """Next activity by a causal transformer of two layers."""

    kind = "transformer"
