"""How small nets learn: what they read, passes, an early stop on the latest slice, going on later.

Work is bounded by events, never by seconds, so the same seed gives the same bytes however busy the
machine is.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, ClassVar, Self

import numpy as np

from behavio.models import inputs, timeline
from behavio.models import windows as cut
from behavio.models.base import Prefixes, SequenceModel, Split, later_slice
from behavio.sequences import UNKNOWN, SequenceSet

if TYPE_CHECKING:
    from behavio.models.fitting import Lessons
    from behavio.models.net import Net, Shape

CLASSES = 2_000
"""Activities with a score of their own; rarer ones share one, split by how often they came."""
CHECKED = 40_000
"""Held-out steps that decide when to stop."""
CARRY = 0.3
"""Share of the learning rate at which a judged net learns what came after; nearly flat from 0.1 to 0.4."""
PASS = 400_000
"""Most events between two looks at the held-out steps."""
AGAIN = 3_000_000
"""Events of all passes together up to which a net is trained again from nothing."""
TRIAL, TRIAL_EVENTS = 6, 300_000
"""Passes and events of each try of a view."""


@dataclass
class Learner(SequenceModel):
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
            view_         int64 (), what of the clock is read, a place in behavio.models.inputs.VIEWS
            seasons_      bool (), the month is read
            followed_     names of the activities whose memories are read
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
        "view_",
        "seasons_",
        "followed_",
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
        self._read_of: tuple[SequenceSet, tuple[np.ndarray, np.ndarray]] | None = None
        self.view_ = np.int64(0)

    def clock(self) -> SequenceModel | None:
        """A net knows when."""
        return self

    def reads(self) -> tuple[str, ...]:
        """The fields."""
        return tuple(self.fields_.tolist())

    def watch(self, progress: Callable[[str, float], None]) -> Self:
        """Report passes to `progress(what, share done)`."""
        self._progress, self._told = progress, 0.0
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
        view, passes = self.view_, self.passes_
        self.begin(coded)
        self.view_ = view
        self.train(coded, None, passes)

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
        self.view_ = np.int64(0)
        self.seasons_ = np.bool_(inputs.has_seasons(coded))
        often = np.sort(np.argsort(-counts, kind="stable")[: inputs.FOLLOWED])
        self.followed_ = np.array([coded.vocabulary.names[2 + i] for i in often], dtype=np.str_)
        self._new_nets(coded)

    def _new_nets(self, coded: SequenceSet) -> None:
        """Untrained nets that know how long waits are."""
        gap, says = inputs.asked_of(coded)
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

        self._read_of = None
        self._nets: list[Net] = []
        for member in range(self.members):
            with self._steady(member):
                self._nets.append(Net(self._shape()).to(self._device()))
        self._keep_weights()

    def _shape(self) -> Shape:
        from behavio.models.net import Shape

        sizes = (len(self.vocabulary_), *(n for r in self.readers() for n in r.sizes), *inputs.MOMENTS)
        classes = int(self.class_of_.max(initial=0)) + 1
        numbers = inputs.width(len(self.followed_))
        return Shape(self.kind, sizes, self.hidden, classes, len(self.edges_) - 1, self.dropout, numbers)

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
        """Passes over `coded`, each followed by a look at the held-out steps; the best weights stay.

        With held-out steps it first tries, in little, how much of the clock helps there: what is known of
        time may mislead where times have changed.
        """
        if split is not None and split.sequences.timed:
            tried = {}
            for view in range(len(inputs.VIEWS)):
                self._read_as(coded, view)
                tried[view] = self._passes(coded, split, min(self.epochs, TRIAL), TRIAL_EVENTS, [0])
            self._read_as(coded, min(tried, key=lambda view: tried[view]))
        self._passes(coded, split, passes or self.epochs, self.budget, range(self.members))

    def _read_as(self, coded: SequenceSet, view: int) -> None:
        """Untrained nets that read so much of the clock."""
        self.view_, self._read_of = np.int64(view), None
        self._new_nets(coded)

    def _passes(
        self, coded: SequenceSet, split: Split | None, epochs: int, budget: int, members: Sequence[int]
    ) -> float:
        """Train these members; the smallest loss of the last on the held-out steps."""
        from behavio.models.fitting import Plan, fit

        lessons, windows = self._lessons(coded), self._training_windows(coded)
        per_pass = max(min(int(windows.length.sum()), PASS, budget), 1)
        passes = max(min(epochs, budget // per_pass), 1)
        width = int(np.clip(per_pass // 40, 128, self.step_events))
        plan = Plan(passes, per_pass, width, self.rate, self.decay, self.patience, len(self._field_columns()))
        held = None if split is None else split.prefixes.thin(CHECKED)
        losses, taken = [np.inf], []
        for member in members:

            def look(done: int, member: int = member) -> float | None:
                """The loss on the held-out steps after a pass."""
                share = (member + (done + 1) / passes) / self.members
                part = 1.0 if split is None else 0.3 if budget == TRIAL_EVENTS else 0.9
                self.report(f"trained the {self.kind}, pass {done + 1}", share * part)
                if split is None or held is None:
                    return None
                losses.append(self._loss(split.sequences, held, member))
                return losses[-1]

            with self._steady(member):
                taken.append(fit(self._networks()[member], lessons, windows, plan, [self.seed, member], look))
        self.passes_ = int(np.median(taken))
        self._keep_weights()
        self._read_of = None
        return min(losses)

    def _loss(self, coded: SequenceSet, held: Prefixes, member: int) -> float:
        """Mean loss of one member on held-out steps."""
        raise NotImplementedError

    def catch_up(self, coded: SequenceSet, recent: Prefixes, pace: float = 0.05) -> None:
        """One pass over the windows that hold `recent` steps, from `pace` of the learning rate down.

        The older steps in those windows are learnt again: without them the net forgets.
        """
        from behavio.models.fitting import Plan, fit

        if len(recent) == 0:
            return
        lessons = self._lessons(coded)
        windows = cut.asked_windows(coded, with_open(coded, recent))[0]
        width = int(np.clip(int(windows.length.sum()) // 10, 128, self.step_events))
        plan = Plan(1, PASS, width, self.rate * pace, self.decay, 1, len(self._field_columns()), falling=True)
        for member, net in enumerate(self._networks()):
            with self._steady(member + 1):
                fit(net, lessons, windows, plan, [self.seed + 1, member], lambda done: None)
        self._keep_weights()

    def carry_on(self, coded: SequenceSet, recent: Prefixes) -> None:
        """Go on learning from a longer log: what was learnt is kept by name, `recent` steps are new."""
        from behavio.models.fitting import copy_by_name

        known, nets = self._row_names(), self._networks()
        edges, view, followed = self.edges_, self.view_, self.followed_
        readers = {r.name: r for r in self.readers()}
        self.begin(replace(coded, fields={n: f for n, f in coded.fields.items() if n in readers}))
        self.edges_, self.view_, self.followed_ = edges, view, followed
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

    def report(self, what: str, done: float) -> None:
        """Tell whoever watches; what is tried first and done again later never takes the share back."""
        if hasattr(self, "_progress"):
            self._told = max(self._told, done)
            self._progress(what, self._told)

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
        """Windows over every event that has a next one or still waits for it."""
        return cut.asked_windows(coded, with_open(coded, Prefixes.of_cases(coded, 0)))[0]

    def _field_columns(self) -> list[int]:
        """Codes of each input column that is a field."""
        return [n for r in self.readers() for n in r.sizes]

    def read(self, coded: SequenceSet) -> tuple[np.ndarray, np.ndarray]:
        """Codes int32 (n_events, columns), numbers (n_events, all); the latest are remembered."""
        if self._read_of is not None and self._read_of[0] is coded:
            return self._read_of[1]
        columns = [np.asarray(coded.tokens)]
        for reader in self.readers():
            columns += reader.columns(coded)
        place = {name: i for i, name in enumerate(self.vocabulary_.names)}
        followed = np.array([place.get(n, 0) for n in self.followed_.tolist()], dtype=np.int64)
        moments, numbers = inputs.seen_as(coded, int(self.view_), bool(self.seasons_), followed)
        codes = np.concatenate([np.stack(columns, axis=1), moments], axis=1)
        self._read_of = (coded, (codes, numbers))
        return codes, numbers

    def _lessons(self, coded: SequenceSet) -> Lessons:
        """The log as the net learns from it."""
        from behavio.models.fitting import Lessons

        target = np.full(coded.n_events, -1, dtype=np.int64)
        steps = Prefixes.of_cases(coded, 0)
        target[steps.ends - 1] = self.class_of_[coded.tokens[steps.ends]]
        gap, says = inputs.asked_of(coded)
        return Lessons(*self.read(coded), target, timeline.step_of(self.edges_, gap), says)


def with_open(coded: SequenceSet, steps: Prefixes) -> Prefixes:
    """The steps, and every whole case that still waits for its next event: its silence is learnt too."""
    says = inputs.asked_of(coded)[1]
    last = np.asarray(coded.offsets[1:])
    cases = np.flatnonzero(says[last - 1] == -1)
    return Prefixes(np.concatenate([steps.cases, cases]), np.concatenate([steps.ends, last[cases]]))
