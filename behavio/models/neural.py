"""A small GRU over activities, their fields and their moments: the neural model of a commercial log's size.

One layer of 64 units is what evaluations of event sequence models keep finding at this size; it stands or
falls by the n-gram beside it. Work is bounded by events, never by seconds, so the same seed gives the same
bytes however busy the machine is.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, ClassVar, Self

import numpy as np

from behavio.models import windows as cut
from behavio.models.base import Prefixes, SequenceModel, Split, later_slice
from behavio.sequences import UNKNOWN, Field, SequenceSet, Vocabulary

if TYPE_CHECKING:
    from behavio.models.net import Net

CLASSES = 2_000
"""Activities with a score of their own; rarer ones share one, split by how often they came."""
FIELD_CODES = 500
"""A field with more values says more about single cases than about behaviour and is left out."""
FLOOR = 1e-6
"""Share of probability spread evenly, so that no loss is infinite."""
LEFT_OUT = ("actor_id",)
CHECKED = 40_000
"""Held-out steps that decide when to stop."""
CARRY = 0.3
"""Share of the learning rate at which a judged net learns what came after; nearly flat from 0.1 to 0.4."""
PASS = 200_000
"""Most events between two looks at the held-out steps."""


@dataclass
class GRU(SequenceModel):
    """Next activity by a gated recurrent network.

    hidden    units
    epochs    most passes; training stops when two in a row do not help on the latest slice of the log
    budget    most events trained on, all passes together; of a longer log each pass takes a sample
    held_out  share of events, the latest, that decide when to stop; one short pass then learns them too
    step_events  most events behind one step of the optimizer; a small log takes smaller steps
    threads   of torch; more than one rarely helps a net this small, and another number gives other bytes

    Learns: weights_      float32, every parameter, flat
            class_of_     int64 (n_vocabulary,), class of each activity, -1 for padding and unknown
            within_       float64 (n_vocabulary,), its share of that class
            novelty_      float64 (), probability of an activity never seen
            fields_, field_values_, field_sizes_   names of the coded fields and of their values
    """

    learned: ClassVar[tuple[str, ...]] = (
        "weights_",
        "class_of_",
        "within_",
        "novelty_",
        "fields_",
        "field_values_",
        "field_sizes_",
    )
    hidden: int = 64
    epochs: int = 20
    budget: int = 1_500_000
    seed: int = 7
    held_out: float = 0.15
    dropout: float = 0.0
    rate: float = 6e-3
    patience: int = 3
    step_events: int = 2048
    threads: int = 1

    def __post_init__(self) -> None:
        self._inputs_of: tuple[SequenceSet, tuple[np.ndarray, np.ndarray, np.ndarray]] | None = None

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
            self.catch_up(coded, split.prefixes)
        return self

    def begin(self, coded: SequenceSet) -> None:
        """An untrained network for this vocabulary and these fields."""
        from torch.nn.utils import parameters_to_vector

        from behavio.models.net import repeatable

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
        used = {
            name: _values(field)
            for name, field in sorted(coded.fields.items())
            if name not in LEFT_OUT and len(field.vocabulary) <= FIELD_CODES
        }
        self.fields_ = np.array(list(used), dtype=np.str_)
        self.field_values_ = np.array([v for names in used.values() for v in names], dtype=np.str_)
        self.field_sizes_ = np.array([len(names) for names in used.values()], dtype=np.int64)
        self._inputs_of = None
        with repeatable(self.seed, self.threads):
            self._net = self._new_net()
            self.weights_ = parameters_to_vector(self._net.parameters()).detach().numpy().copy()

    def carry_on(self, coded: SequenceSet, recent: Prefixes) -> None:
        """Go on learning from a longer log: what was learnt is kept by name, `recent` steps are new."""
        import torch
        from torch.nn.utils import parameters_to_vector

        old, net = self._row_names(), self._network()
        self.begin(replace(coded, fields={n: f for n, f in coded.fields.items() if n in self.fields_}))
        new = self._row_names()
        with torch.no_grad():
            for name, kept in net.state_dict().items():
                mine = self._net.state_dict()[name]
                if name not in new:
                    mine.copy_(kept)
                    continue
                place = {row: i for i, row in enumerate(old[name])}
                pairs = [(i, place[row]) for i, row in enumerate(new[name]) if row in place]
                here, there = (torch.tensor(side) for side in zip(*pairs, strict=True))
                mine[here] = kept[there]
        self.weights_ = parameters_to_vector(self._net.parameters()).detach().numpy().copy()
        self.catch_up(coded, recent, CARRY)

    def _row_names(self) -> dict[str, list[str]]:
        """What each row of a parameter that grows with the log stands for."""
        names = {"embeddings.0.weight": list(self.vocabulary_.names)}
        bounds = np.concatenate([[0], np.cumsum(self.field_sizes_)])
        for i in range(len(self.fields_)):
            values = self.field_values_[bounds[i] : bounds[i + 1]].tolist()
            names[f"embeddings.{i + 1}.weight"] = ["", "(unknown)", *values]
        classes = ["(rare)"] * (int(self.class_of_.max(initial=0)) + 1)
        for i, name in enumerate(self.vocabulary_.names):
            if i > UNKNOWN and self.within_[i] == 1.0:
                classes[self.class_of_[i]] = name
        return names | {"out.weight": classes, "out.bias": classes}

    def train(self, coded: SequenceSet, split: Split | None) -> None:
        """Passes over `coded`, each followed by a look at the held-out steps; the best weights stay."""
        import torch
        from torch.nn.utils import parameters_to_vector, vector_to_parameters

        from behavio.models.net import cosine, repeatable, train_pass

        codes, numbers, targets = self._inputs(coded)
        windows = self._training_windows(coded)
        per_pass = max(min(int(windows.length.sum()), PASS, self.budget), 1)
        passes = max(min(self.epochs, self.budget // per_pass), 1)
        width = int(np.clip(per_pass // 40, 256, self.step_events))
        random = np.random.default_rng(self.seed)
        best, worse = np.inf, 0
        held = None if split is None else split.prefixes.thin(CHECKED)
        with repeatable(self.seed, self.threads):
            net = self._network()
            optimizer = torch.optim.AdamW(net.parameters(), self.rate, weight_decay=0.01)
            step, kept = 0, self.weights_
            for done in range(passes):
                parts = self._sample(cut.batches(windows, width, random), windows, per_pass)
                rates = [cosine(step + i, passes * len(parts), self.rate) for i in range(len(parts))]
                train_pass(net, optimizer, codes, numbers, targets, windows, parts, rates, random)
                step += len(parts)
                now = parameters_to_vector(net.parameters()).detach().numpy().copy()
                self.report(f"trained the GRU, pass {done + 1}", (done + 1) / passes)
                if split is None or held is None:
                    kept = now
                    continue
                loss = float(-np.log(self.of_truth(split.sequences, held)).mean())
                worse = 0 if loss < best - 1e-4 else worse + 1
                if loss < best:
                    best, kept = loss, now
                if worse == self.patience:
                    break
            self.weights_ = kept
            vector_to_parameters(torch.from_numpy(kept.copy()), net.parameters())
        self._inputs_of = None

    def catch_up(self, coded: SequenceSet, recent: Prefixes, pace: float = 0.05) -> None:
        """One pass over the windows that hold `recent` steps, from `pace` of the learning rate down.

        The older steps in those windows are learnt again: without them the net forgets.
        """
        import torch
        from torch.nn.utils import parameters_to_vector

        from behavio.models.net import repeatable, train_pass

        if len(recent) == 0:
            return
        codes, numbers, targets = self._inputs(coded)
        windows, _, _ = cut.asked_windows(coded, recent)
        random = np.random.default_rng(self.seed + 1)
        with repeatable(self.seed + 1, self.threads):
            net = self._network()
            optimizer = torch.optim.AdamW(net.parameters(), self.rate, weight_decay=0.01)
            width = int(np.clip(int(windows.length.sum()) // 10, 256, self.step_events))
            parts = self._sample(cut.batches(windows, width, random), windows, PASS)
            rates = [self.rate * pace * (1 - i / len(parts)) for i in range(len(parts))]
            train_pass(net, optimizer, codes, numbers, targets, windows, parts, rates, random)
            self.weights_ = parameters_to_vector(net.parameters()).detach().numpy().copy()

    def rows(self, coded: SequenceSet, prefixes: Prefixes) -> np.ndarray:
        """Softmax over classes, shared out to activities, with a little left for the unknown."""
        p = self.class_rows(coded, prefixes)
        rows = np.zeros((len(prefixes), len(self.vocabulary_)))
        rows[:, UNKNOWN] = self.novelty_
        rows[:, 2:] = self._shared_out(p[:, self.class_of_[2:]], self.within_[2:])
        return rows

    def of_truth(self, coded: SequenceSet, prefixes: Prefixes) -> np.ndarray:
        """As for every model, without a column for each activity."""
        result = np.full(len(prefixes), self.novelty_)
        for part, some in prefixes.batches(int(self.class_of_.max(initial=0)) + 1):
            truth = coded.tokens[some.ends]
            p = self.class_rows(coded, some)[np.arange(len(some)), self.class_of_[truth]]
            known = self._shared_out(p, self.within_[truth])
            result[part] = np.where(truth == UNKNOWN, result[part], known)
        return result

    def _shared_out(self, p: np.ndarray, within: np.ndarray) -> np.ndarray:
        """Probability of known activities from that of their class; none is impossible."""
        kinds = max(len(self.vocabulary_) - 2, 1)
        known: np.ndarray = (1.0 - self.novelty_) * ((1.0 - FLOOR) * p * within + FLOOR / kinds)
        return known

    def class_rows(self, coded: SequenceSet, prefixes: Prefixes) -> np.ndarray:
        """Softmax over classes, float64 (n, n_classes)."""
        import torch

        from behavio.models.net import repeatable, run_batch

        codes, numbers, _ = self._inputs(coded)
        windows, index, inside = cut.asked_windows(coded, prefixes)
        order = np.argsort(index, kind="stable")
        bounds = np.searchsorted(index[order], np.arange(len(windows) + 1))
        p = np.zeros((len(prefixes), int(self.class_of_.max(initial=0)) + 1))
        with repeatable(self.seed, self.threads), torch.no_grad():
            net = self._network().eval()
            for pick in cut.batches(windows, 16_384):
                state, _, _ = run_batch(net, codes, numbers, windows, pick)
                asked = np.concatenate([order[bounds[w] : bounds[w + 1]] for w in pick])
                row = np.repeat(np.arange(len(pick)), bounds[pick + 1] - bounds[pick])
                scores = net.scores(state[torch.from_numpy(row), torch.from_numpy(inside[asked])])
                p[asked] = torch.softmax(scores.double(), dim=1).numpy()
        return p

    def report(self, what: str, done: float) -> None:
        """Tell whoever watches."""
        if hasattr(self, "_progress"):
            self._progress(what, done)

    def _sample(self, parts: list[np.ndarray], windows: cut.Windows, events: int) -> list[np.ndarray]:
        """The first batches that hold `events` events; batches come shuffled."""
        running = np.cumsum([windows.length[p].sum() for p in parts])
        return parts[: int(np.searchsorted(running, events)) + 1]

    def _training_windows(self, coded: SequenceSet) -> cut.Windows:
        """Windows over every event that has a next one."""
        steps = Prefixes.of_cases(coded, 0)
        return cut.asked_windows(coded, Prefixes(steps.cases, steps.ends))[0]

    def _inputs(self, coded: SequenceSet) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Codes int32 (n_events, inputs), numbers, and the class of the next activity (-1 without one)."""
        if self._inputs_of is not None and self._inputs_of[0] is coded:
            return self._inputs_of[1]
        columns = [np.asarray(coded.tokens)]
        bounds = np.concatenate([[0], np.cumsum(self.field_sizes_)])
        for i, name in enumerate(self.fields_):
            known = Vocabulary(("", "(unknown)", *self.field_values_[bounds[i] : bounds[i + 1]].tolist()))
            columns.append(_field_codes(coded, str(name), known))
        targets = np.full(coded.n_events, -1, dtype=np.int64)
        steps = Prefixes.of_cases(coded, 0)
        targets[steps.ends - 1] = self.class_of_[coded.tokens[steps.ends]]
        found = np.stack(columns, axis=1), cut.numbers(coded), targets
        self._inputs_of = (coded, found)
        return found

    def _new_net(self) -> Net:
        from behavio.models.net import Net

        sizes = [len(self.vocabulary_), *(int(n) + 2 for n in self.field_sizes_)]
        return Net(sizes, self.hidden, int(self.class_of_.max(initial=0)) + 1, self.dropout)

    def _network(self) -> Net:
        """The network with the learned weights; built on first use after loading."""
        if not hasattr(self, "_net"):
            import torch
            from torch.nn.utils import vector_to_parameters

            self._net = self._new_net()
            vector_to_parameters(torch.from_numpy(self.weights_.copy()), self._net.parameters())
        return self._net


def _values(field: Field) -> list[str]:
    """The values of a field that really occur."""
    return [field.vocabulary.names[i] for i in np.unique(field.codes) if i > UNKNOWN]


def _field_codes(coded: SequenceSet, name: str, known: Vocabulary) -> np.ndarray:
    """Codes of a field under the training vocabulary; 0 where the log does not have the field."""
    if name not in coded.fields:
        return np.zeros(coded.n_events, dtype=np.int32)
    field = coded.fields[name]
    if field.vocabulary == known:
        return np.asarray(field.codes)
    place = {value: i for i, value in enumerate(known.names)}
    table = [0, UNKNOWN, *(place.get(v, UNKNOWN) for v in field.vocabulary.activities)]
    return np.array(table, dtype=np.int32)[field.codes]
