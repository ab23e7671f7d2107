"""What of a journey the chains of a group are made of: the steps they look at.

events   from each activity to the next
phases   from each third of the journey to the activities in it: groups that go through hidden stages in
         another order do the same things equally often, but at other times of their journey
answers  the events, and from each act of the company to each thing that comes later on, before it acts so
         again: groups that answer though something else came in between
spells   from each state to the next, after how long: for logs of states noted at regular moments, where
         most activities only repeat the one before
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from behavio.sequences import UNKNOWN, SequenceSet

THIRDS = 3
MAX_KINDS, MAX_ANSWERS = 4, 12
STATE_LOG = 0.6
"""Share of steps that repeat the activity before, from which a log is one of states, not of events."""

EVEN = 0.25  # regular moments: 80 % of gaps lie within this share of their median
DAY_US = 86_400_000_000
GIVEN = 0  # the padding token, never an activity: as a target, what the company does or nothing


@dataclass(frozen=True, slots=True, eq=False)
class Steps:
    """Steps of the cases of one shard, in order of their cases.

    case    int64 (n,)    source  int64 (n,), a state of the view    target  int64 (n,), a token
    gap     float64 (n,)  seconds    odd  bool (n,): from or to an activity the model does not know
    """

    case: np.ndarray
    source: np.ndarray
    target: np.ndarray
    gap: np.ndarray
    odd: np.ndarray


@dataclass(frozen=True, slots=True, eq=False)
class View:
    """A way to look at journeys, with what it learned from a log.

    name     one of settings.VIEWS            target_of  int32 (n_tokens,): token as a target, 0 where given
    kinds    int32 (≤ 4,)  acts of the company that are looked back on, most frequent first (answers)
    answers  int32 (≤ 12,) what may come after them, most frequent first (answers)
    """

    name: str
    target_of: np.ndarray
    kinds: np.ndarray
    answers: np.ndarray

    @classmethod
    def of(cls, name: str, sequences: SequenceSet, target_of: np.ndarray, given: np.ndarray) -> View:
        """Learn a view; `given` bool (n_tokens,): what the company does."""
        kinds = answers = np.zeros(0, np.int32)
        if name == "answers":
            kinds = _frequent(sequences, given, MAX_KINDS)
            answers = _frequent(sequences, ~given, MAX_ANSWERS)
        return cls(name, target_of, kinds, answers)

    @property
    def n_tokens(self) -> int:
        """Size of the vocabulary."""
        return len(self.target_of)

    @property
    def n_states(self) -> int:
        """Number of different things a step may come from."""
        pairs = len(self.kinds) * len(self.answers)
        return THIRDS if self.name == "phases" else self.n_tokens + pairs

    def shown(self, sequences: SequenceSet) -> SequenceSet:
        """The log as this view reads it: itself, or its spells."""
        return spells(sequences) if self.name == "spells" else sequences

    def steps(self, shard: SequenceSet) -> Steps:
        """Steps of a shard as `shown` gives it."""
        later = np.ones(shard.n_events, bool)
        later[shard.offsets[:-1]] = False
        place = np.flatnonzero(later)
        before, after = shard.tokens[place - 1].astype(np.int64), shard.tokens[place]
        source = phase_of(shard)[place] if self.name == "phases" else before
        odd = (before == UNKNOWN) | (after == UNKNOWN)
        gap = (shard.times[place] - shard.times[place - 1]) / 1e6
        target = self.target_of[after].astype(np.int64)
        direct = Steps(shard.case_of_event[place], source, target, gap, odd)
        return self._with_answers(direct, shard) if self.name == "answers" else direct

    def _with_answers(self, direct: Steps, shard: SequenceSet) -> Steps:
        """Also, for every act of a kind looked back on and every answer that does not follow directly:
        whether it comes before the next such act, and after how long. Acts that end a case tell nothing."""
        found: list[list[np.ndarray]] = [[direct.case], [direct.source], [direct.target], [direct.gap]]
        end = np.repeat(shard.offsets[1:], shard.lengths)
        tokens, case = shard.tokens, shard.case_of_event
        for i, kind in enumerate(self.kinds):
            acts = np.flatnonzero((tokens == kind) & (np.arange(shard.n_events) + 1 < end))
            until = np.minimum(_next(tokens == kind)[acts + 1], end[acts])
            for j, answer in enumerate(self.answers):
                open_ones = tokens[acts + 1] != answer
                act, at = acts[open_ones], _next(tokens == answer)[acts[open_ones]]
                came = at < until[open_ones]
                place = np.where(came, at, act)
                found[0].append(case[act])
                found[1].append(np.full(len(act), self.n_tokens + i * len(self.answers) + j))
                found[2].append(np.where(came, answer, GIVEN))
                found[3].append((shard.times[place] - shard.times[act]) / 1e6)
        whole = [np.concatenate(f) for f in found]
        order = np.argsort(whole[0], kind="stable")
        odd = np.append(direct.odd, np.zeros(len(order) - len(direct.odd), bool))[order]
        case, source, target = (w[order].astype(np.int64) for w in whole[:3])
        return Steps(case, source, target, whole[3][order], odd)


def _next(where: np.ndarray) -> np.ndarray:
    """Index of the first true place at or after each, len(where) where none follows; int64 (n + 1,)."""
    n = len(where)
    ahead = np.append(np.where(where, np.arange(n), n), n)
    return np.minimum.accumulate(ahead[::-1])[::-1]


def phase_of(shard: SequenceSet) -> np.ndarray:
    """The third of its case that each event falls in, 0–2, int64 (n_events,)."""
    place = np.arange(shard.n_events) - np.repeat(shard.offsets[:-1], shard.lengths)
    return np.asarray(place * THIRDS // np.repeat(shard.lengths, shard.lengths))


def _frequent(sequences: SequenceSet, wanted: np.ndarray, most: int) -> np.ndarray:
    n = np.bincount(sequences.tokens, minlength=len(wanted)) * wanted
    top = np.argsort(-n, kind="stable")[:most]
    return top[n[top] > 0].astype(np.int32)


def views_of(sequences: SequenceSet) -> tuple[str, ...]:
    """The views worth trying on this log, the plainest first."""
    if is_state_log(sequences):
        return ("spells",)
    return ("events", "phases") if np.median(sequences.lengths) >= 4 * THIRDS else ("events",)


def is_state_log(sequences: SequenceSet) -> bool:
    """True where states are noted at regular moments: most steps repeat the state before."""
    later = np.ones(sequences.n_events, bool)
    later[sequences.offsets[:-1]] = False
    at = np.flatnonzero(later)
    if len(at) == 0 or len(np.unique(sequences.tokens)) < 2:
        return False
    same = sequences.tokens[at] == sequences.tokens[at - 1]
    if same.mean() < STATE_LOG:
        return False
    if not sequences.timed:
        return True
    low, middle, high = np.quantile(sequences.gaps_s[at], [0.1, 0.5, 0.9])
    return bool(middle > 0 and high - low <= EVEN * middle)


def spells(sequences: SequenceSet) -> SequenceSet:
    """Each run of one state once, at its beginning, and the last state again where the case ends.

    The step from a state to itself is thereby the one that was still going on at the end. Without a clock
    a position counts as a day.
    """
    times = np.asarray(sequences.times, np.int64)
    start = np.repeat(sequences.offsets[:-1], sequences.lengths)
    if not sequences.timed:
        times = (np.arange(sequences.n_events) - start) * DAY_US
    inside = np.ones(sequences.n_events, bool)
    inside[sequences.offsets[:-1]] = False
    begins = ~inside
    begins[1:] |= sequences.tokens[1:] != sequences.tokens[:-1]
    last = sequences.offsets[1:] - 1
    # a moment lasts as long as the case's own step before it: other cases must not change what one is
    tick = np.where(sequences.lengths > 1, times[last] - times[np.maximum(last - 1, 0)], DAY_US)
    place = np.concatenate([np.flatnonzero(begins), last])
    moment = np.concatenate([times[begins], times[last] + np.maximum(tick, 1)])
    order = np.lexsort((np.repeat([0, 1], [begins.sum(), len(last)]), place))
    runs = np.add.reduceat(begins, sequences.offsets[:-1]) + 1
    return replace(
        sequences,
        tokens=np.ascontiguousarray(sequences.tokens[place[order]]),
        times=moment[order],
        offsets=np.concatenate([[0], np.cumsum(runs)]).astype(np.int64),
        fields={},
        timed=True,
        known=None,
        running=None,
    )
