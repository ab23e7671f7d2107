"""How a log is cut for judging: in time, by case or by a column; with or without the ends of cases.

The start and the end of a case can be made events of their own: a model then predicts the first event and
the end of the case like any other activity. Where the cut is in time, an end is known only after the
silence that closes a case (`SequenceSet.open_cases`), and cases still open have none.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from behavio.errors import JobError
from behavio.kernels.arrays import readonly
from behavio.models.base import Prefixes, Split
from behavio.models.fields import only, with_numbers
from behavio.models.settings import Protocol
from behavio.sequences import UNKNOWN, Field, SequenceSet, Vocabulary, time_cut

START, END = "(start)", "(end)"
DAY = 86_400_000_000


@dataclass(frozen=True, slots=True, eq=False)
class Held:
    """What is judged: the split models learn from and are asked on, and the same events in the plain log.

    split   as models see it, with starts and ends of cases where the protocol asks for them
    plain   the log without them
    known   events of `plain` that models may learn from
    events  int64 (n,): the event of `plain` that each prefix of the split is asked for, -1 for an end
    """

    split: Split
    plain: SequenceSet
    known: np.ndarray
    events: np.ndarray

    @property
    def waited(self) -> np.ndarray:
        """bool (n,): prefixes whose next event is real and follows a real one, so that it has a gap."""
        first = np.zeros(self.plain.n_events + 1, dtype=bool)
        first[self.plain.offsets[:-1]] = True
        result: np.ndarray = (self.events >= 0) & ~first[self.events]
        return result if self.plain.timed else np.zeros(len(result), dtype=bool)


def held_out(
    sequences: SequenceSet, protocol: Protocol, most: int, numbers: dict[str, np.ndarray] | None = None
) -> Held:
    """Cut the log as the protocol says; at most `most` held-out steps, evenly spread.

    `numbers` are measured attributes float64 (n_events,), cut into steps by what may be learnt from.
    """
    held, cut, method = _held_events(sequences, protocol)
    plain = with_numbers(only(sequences, protocol.fields), numbers or {}, ~held)
    whole, place, end_held = framed(plain, protocol, held, cut)
    inside = np.zeros(whole.n_events, dtype=bool)
    inside[place] = held
    if protocol.end:
        inside[whole.offsets[1:] - 1] |= end_held
    starts = np.repeat(whole.offsets[:-1], whole.lengths)
    if protocol.first:
        inside[whole.offsets[:-1]] = inside[whole.offsets[:-1] + 1]
    real = np.arange(whole.n_events) - starts - int(protocol.first)
    wanted = inside & (real >= max(protocol.least, 0)) & (np.arange(whole.n_events) > starts)
    ends = np.flatnonzero(wanted)
    prefixes = Prefixes(np.searchsorted(whole.offsets, ends, side="right") - 1, ends).thin(most)
    train = whole.keep(~inside) if (~inside).any() else None
    if train is None or train.n_events == train.n_cases or len(prefixes) == 0:
        raise JobError(f"nothing is left to learn from or to judge: {method}", hint="choose another split")
    event = np.full(whole.n_events, -1)
    event[place] = np.arange(sequences.n_events)
    split = Split(replace(train, ahead=ahead(sequences, held, cut)), whole, prefixes, cut, method)
    return Held(split, plain, ~held, event[prefixes.ends])


def ahead(sequences: SequenceSet, held: np.ndarray, cut: int | None) -> str:
    """What a model is asked for (`SequenceSet.ahead`): by when the held-out cases begin, not what they hold.

    Published splits are often drawn over all times: there the newest part is no better guide than any other.
    """
    whole = held[sequences.offsets[:-1]]
    if cut is not None or not whole.any():
        return "events"
    begin = np.asarray(sequences.times)[sequences.offsets[:-1]]
    later = np.median(begin[whole]) > np.quantile(begin[~whole], 0.9)
    return "cases" if sequences.timed and later else "any"


def _held_events(sequences: SequenceSet, protocol: Protocol) -> tuple[np.ndarray, int | None, str]:
    """Events that are judged and not learnt from, the moment of the cut where there is one, how in words."""
    share = 1.0 - protocol.cut
    if protocol.split == "column":
        return _by_column(sequences, protocol.column)
    if protocol.split == "case" or not sequences.timed:
        begin = np.asarray(sequences.times)[sequences.offsets[:-1]]
        order = np.argsort(begin, kind="stable") if sequences.timed else np.arange(sequences.n_cases)
        late = np.zeros(sequences.n_cases, dtype=bool)
        late[order[round(sequences.n_cases * protocol.cut) :]] = True
        how = (
            "the latest to begin" if sequences.timed else "no clock in the log: in the order of the case ids"
        )
        held = np.repeat(late, sequences.lengths)
        return held, None, f"by case, {share:.0%} of cases held out, {how}"
    cut = time_cut(sequences, protocol.cut)
    return (
        np.asarray(sequences.times) >= cut,
        cut,
        f"one cut in time, {share:.0%} of events after it held out",
    )


def _by_column(sequences: SequenceSet, name: str) -> tuple[np.ndarray, None, str]:
    """Events whose column says test (or true); inside a case they must come last."""
    if name not in sequences.fields:
        known = ", ".join(sequences.fields) or "none"
        raise JobError(f"the log has no column {name!r} to split by", hint=f"columns read: {known}")
    field = sequences.fields[name]
    test = [i for i, v in enumerate(field.vocabulary.names) if v.lower() in ("test", "true", "1")]
    held = np.isin(np.asarray(field.codes), np.array([i for i in test if i > UNKNOWN], dtype=np.int32))
    if not held.any() or held.all():
        values = ", ".join(field.vocabulary.activities[:6])
        raise JobError(
            f"column {name!r} does not tell test from training: {values}",
            hint="it needs test (or true) on what is held out and something else on the rest",
        )
    same = np.ones(len(held), dtype=bool)
    same[sequences.offsets[:-1]] = False
    if (same[1:] & held[:-1] & ~held[1:]).any():
        raise JobError(f"column {name!r} has training events after test events of their case", hint="")
    n = int(np.add.reduceat(held, sequences.offsets[:-1]).astype(bool).sum())
    return held, None, f"by the column {name}, {n:,} of {sequences.n_cases:,} cases held out"


def framed(
    sequences: SequenceSet, protocol: Protocol, held: np.ndarray, cut: int | None
) -> tuple[SequenceSet, np.ndarray, np.ndarray]:
    """The log with starts and ends as events, where each old event stands now, and which ends are held out.

    A start stands at the beginning of its case's first day. An end stands at the last event of its case
    or, where the cut is in time, when the silence that closes the case is over.
    """
    first = int(protocol.first)
    if not (first or protocol.end):
        return sequences, np.arange(sequences.n_events), np.zeros(sequences.n_cases, dtype=bool)
    last_event = sequences.offsets[1:] - 1
    times = np.asarray(sequences.times)
    closing = times[last_event].copy()
    closed = np.full(sequences.n_cases, protocol.end)
    end_held = held[last_event]
    if protocol.end and cut is not None:
        running = sequences.open_cases()
        closed &= ~running.open
        closing += int(running.within_s * 1e6)
        end_held = closing >= cut
    lengths = sequences.lengths + first + closed
    offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    place = np.arange(sequences.n_events) + np.repeat(
        offsets[:-1] + first - sequences.offsets[:-1], sequences.lengths
    )
    vocabulary = Vocabulary.of([*sequences.vocabulary.activities, START, END])
    old = sequences.recode(vocabulary)
    tokens = np.full(offsets[-1], vocabulary.id(START), dtype=np.int32)
    new_times = np.zeros(offsets[-1], dtype=np.int64)
    tokens[place], new_times[place] = old.tokens, times
    if first:
        begin = times[sequences.offsets[:-1]]
        new_times[offsets[:-1]] = begin - begin % DAY if sequences.timed else begin
    ends = offsets[1:][closed] - 1
    tokens[ends], new_times[ends] = vocabulary.id(END), closing[closed]
    fields = {}
    for name, field in sequences.fields.items():
        codes = np.zeros(offsets[-1], dtype=np.int32)
        codes[place] = field.codes
        fields[name] = Field(codes, field.vocabulary)
    whole = replace(
        sequences,
        tokens=readonly(tokens, np.int32),
        offsets=offsets,
        times=new_times,
        vocabulary=vocabulary,
        fields=fields,
        known=None,
        running=None,
    )
    return whole, place, end_held & closed
