"""What a net reads of each event: codes of its activity, of its fields and of its moment, and numbers.

Every coded field of the log takes part. Values seen often have a code of their own; a field with many values
that are numbers is also read as the tenth or so of the numbers it falls into. Row 0 of a field stands for
missing, row 1 for a value never seen in training.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from behavio.kernels.arrays import readonly
from behavio.kernels.fading import fill_memories
from behavio.models.splits import END, START
from behavio.models.windows import HOUR, last_same
from behavio.sequences import UNKNOWN, Field, SequenceSet

MOST_VALUES = 300
"""Values of a field with a code of their own, the commonest ones."""
FEWEST_SEEN = 5
"""Events a value needs for a code of its own."""
MANY = 20
"""A field with more values than this is also read as a number, when its values are numbers."""
PARTS = 16
"""Quantiles a field of numbers is cut into."""
WAITS = 32
"""Steps on the logarithmic scale of waits that have a code."""
MOMENTS = (WAITS + 1, 25, 8, 13, 13, 13)
"""Codes of a moment: wait, hour, day of the week, month, how often the activity came, place in the case."""
NUMBERS = 9
"""Columns of `numbers`."""
FOLLOWED = 20
"""Activities, the commonest, whose memories are read."""
FADES = (1_800.0, 21_600.0, 129_600.0, 604_800.0, 2_419_200.0, 7_862_400.0)
"""Seconds in which a memory fades to 1/e: half an hour, six, a day and a half, a week, four, thirteen."""
VIEWS: tuple[tuple[tuple[int, ...], tuple[int, ...]], ...] = (
    ((), ()),
    ((1, 2, 3), (6, 7, 8)),
    ((0, 1, 2, 3), (3, 4, 5, 6, 7, 8)),
)
"""Columns of `moments` and of `numbers` left out: none, the calendar's, the clock's (and all memories)."""


@dataclass(frozen=True, slots=True, eq=False)
class Reader:
    """One field as the net reads it.

    values  the values with a code of their own: code i + 2
    edges   float64, rising: where a number is cut into parts; empty when values are no numbers
    """

    name: str
    values: tuple[str, ...]
    edges: np.ndarray

    @property
    def sizes(self) -> tuple[int, ...]:
        """Codes of each column this field gives."""
        return (len(self.values) + 2, *((len(self.edges) + 3,) if len(self.edges) else ()))

    @property
    def rows(self) -> list[str]:
        """What each code of each column stands for."""
        parts = [f"part {i}" for i in range(len(self.edges) + 1)] if len(self.edges) else None
        return ["", "(unknown)", *self.values, *(["", "(unknown)", *parts] if parts else [])]

    def columns(self, coded: SequenceSet) -> list[np.ndarray]:
        """int32 (n_events,) each; all missing where the log does not have the field."""
        found = coded.fields.get(self.name)
        if found is None:
            return [np.zeros(coded.n_events, dtype=np.int32) for _ in self.sizes]
        place = {value: i + 2 for i, value in enumerate(self.values)}
        tables = [[0, UNKNOWN, *(place.get(v, UNKNOWN) for v in found.vocabulary.activities)]]
        if len(self.edges):
            number = as_numbers(found.vocabulary.activities)
            part = np.searchsorted(self.edges, number, side="right") + 2
            tables.append([0, UNKNOWN, *np.where(np.isnan(number), UNKNOWN, part).tolist()])
        return [np.array(table, dtype=np.int32)[found.codes] for table in tables]


def as_numbers(values: Sequence[str]) -> np.ndarray:
    """float64, NaN where a value is no finite number."""
    result = np.full(len(values), np.nan)
    for i, value in enumerate(values):
        try:
            number = float(value)
        except ValueError:
            continue
        if np.isfinite(number):
            result[i] = number
    return result


def readers(fields: Mapping[str, Field]) -> list[Reader]:
    """How each field is read, in order of their names; one that says nothing is left out."""
    found = []
    for name, field in sorted(fields.items()):
        counts = np.bincount(field.codes, minlength=len(field.vocabulary))
        common = 2 + np.flatnonzero(counts[2:] >= FEWEST_SEEN)
        common = np.sort(common[np.argsort(-counts[common], kind="stable")[:MOST_VALUES]])
        values = tuple(field.vocabulary.names[i] for i in common)
        present = np.flatnonzero(counts[2:] > 0)
        edges = np.empty(0)
        if len(present) > MANY:
            number = as_numbers([field.vocabulary.activities[i] for i in present])
            if np.isnan(number).mean() < 0.05:
                spread = np.repeat(number, counts[2:][present])
                edges = np.unique(np.nanquantile(spread, np.arange(1, PARTS) / PARTS))
        if len(present) + int(counts[0] > 0) > 1 and (values or len(edges)):
            found.append(Reader(name, values, edges))
    return found


def moments(sequences: SequenceSet) -> np.ndarray:
    """int32 (n_events, len(MOMENTS)): wait, hour, weekday, month, times the activity came, place; from 1.

    Without a clock the first four are 0; of the invented start of a case nothing is known.
    """
    n = sequences.n_events
    table = np.zeros((n, len(MOMENTS)), dtype=np.int32)
    place = np.arange(n) - np.repeat(np.asarray(sequences.offsets[:-1]), sequences.lengths)
    if sequences.timed:
        times = np.asarray(sequences.times)
        wait = np.log2(np.maximum(sequences.gaps_s, 0) + 1)  # 32 octaves of seconds: over a hundred years
        table[:, 0] = 1 + np.minimum(np.floor(wait), WAITS - 1).astype(np.int32)
        table[:, 1] = 1 + times // HOUR % 24
        table[:, 2] = 1 + (times // (24 * HOUR) + 3) % 7
        table[:, 3] = 1 + times.astype("datetime64[us]").astype("datetime64[M]").astype(np.int64) % 12
    table[:, 4] = few_or_many(repeats(sequences))
    table[:, 5] = few_or_many(place)
    table[invented(sequences, START)] = 0
    return table


def seen_as(
    sequences: SequenceSet, view: int, seasons: bool, followed: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """`moments` and all numbers without what this view leaves out; the month only with `seasons`.

    followed  int64, ids of the activities whose `memories` stand beside `numbers`; an id of 0 stays empty
    """
    codes, values = moments(sequences), numbers(sequences)
    hidden_codes, hidden_numbers = VIEWS[view]
    codes[:, list(hidden_codes)] = 0
    values[:, list(hidden_numbers)] = 0
    if not seasons:
        codes[:, 3] = 0
    if len(followed) == 0:
        return codes, values
    told = view < len(VIEWS) - 1 and sequences.timed
    make = np.empty if told else np.zeros
    whole = make((sequences.n_events, width(len(followed))), dtype=np.float16)
    whole[:, :NUMBERS] = values
    if told:
        memories(sequences, followed, whole[:, NUMBERS:])
    return codes, whole


def width(followed: int) -> int:
    """Columns of all numbers when so many activities are followed."""
    return NUMBERS + followed * (len(FADES) + 2)


def memories(sequences: SequenceSet, followed: np.ndarray, out: np.ndarray | None = None) -> np.ndarray:
    """float16 (n_events, n_followed * (len(FADES) + 2)), written into `out` if given; see `fill_memories`."""
    size = len(followed)
    shape = sequences.n_events, size * (len(FADES) + 2)
    table = np.empty(shape, dtype=np.float16) if out is None else out
    column = np.full(len(sequences.vocabulary), -1, dtype=np.int64)
    there = np.flatnonzero(followed > UNKNOWN)
    column[followed[there]] = there
    seconds = (np.asarray(sequences.times) - int(np.asarray(sequences.times).min())) / 1e6
    tokens, offsets = readonly(sequences.tokens, np.int32), readonly(sequences.offsets, np.int64)
    fill_memories(table.view(np.uint16), tokens, seconds, offsets, column, np.array(FADES), size)
    return table


def has_seasons(sequences: SequenceSet) -> bool:
    """Whether the log spans two years: in a shorter one the month is no season but a place in the log."""
    times = np.asarray(sequences.times)
    return bool(sequences.timed and int(times.max()) - int(times.min()) >= 2 * 365 * 24 * HOUR)


def few_or_many(count: np.ndarray) -> np.ndarray:
    """1–12 for counts from 0: each small one by itself, then by half octaves."""
    large = 5 + np.log2(np.maximum(count, 4) / 4) * 2
    return np.where(count < 4, count + 1, np.minimum(large, 12)).astype(np.int32)


def repeats(sequences: SequenceSet) -> np.ndarray:
    """int64 (n_events,): how often the case had this activity before."""
    key = sequences.case_of_event * len(sequences.vocabulary) + sequences.tokens
    order = np.argsort(key, kind="stable")
    run = np.concatenate([[True], key[order[1:]] != key[order[:-1]]])
    first = np.maximum.accumulate(np.where(run, np.arange(len(key)), 0))
    result = np.empty(len(key), dtype=np.int64)
    result[order] = np.arange(len(key)) - first
    return result


def invented(sequences: SequenceSet, name: str) -> np.ndarray:
    """bool (n_events,): events that only mark the start or the end of a case."""
    token = sequences.vocabulary.id(name)
    return np.asarray(sequences.tokens) == token if token > UNKNOWN else np.zeros(sequences.n_events, bool)


def numbers(sequences: SequenceSet) -> np.ndarray:
    """float32 (n_events, NUMBERS): what is known of an event's moment when it happens.

    log of how many events came before, mark and log steps since the same activity, log hours since the event
    before, since the case began and since the same activity, hour of day and day of week on their circles.
    Without a clock only the counts are there.
    """
    n = sequences.n_events
    table = np.zeros((n, NUMBERS), dtype=np.float32)
    starts = np.repeat(np.asarray(sequences.offsets[:-1]), sequences.lengths)
    place = np.arange(n) - starts
    same = last_same(sequences)
    table[:, 0] = np.log1p(place) / 5
    table[:, 1] = same < 0
    steps = np.where(same < 0, place, np.arange(n) - same)
    table[:, 2] = np.log1p(steps) / 5
    if not sequences.timed:
        return table
    times = np.asarray(sequences.times)
    table[:, 3] = np.log1p(sequences.gaps_s / 3600) / 5
    table[:, 4] = np.log1p((times - times[starts]) / HOUR) / 5
    table[:, 5] = np.log1p((times - times[np.where(same < 0, starts, same)]) / HOUR) / 5
    day = 2 * np.pi * (times % (24 * HOUR)) / (24 * HOUR)
    week = 2 * np.pi * ((times // (24 * HOUR) + 3) % 7) / 7
    table[:, 6], table[:, 7], table[:, 8] = np.sin(day), np.sin(week), np.cos(week)
    table[invented(sequences, START)] = 0
    return table


def asked_of(sequences: SequenceSet) -> tuple[np.ndarray, np.ndarray]:
    """Gap to the next event in seconds, float64 (n_events,), and what it says: 1 seen, 0 none, -1 still open.

    A gap that is still open is the silence up to the newest event of the log; of a closed case, of the
    invented start and before the invented end there is none.
    """
    says = np.zeros(sequences.n_events, dtype=np.int8)
    gap = np.zeros(sequences.n_events)
    if not sequences.timed:
        return gap, says
    times = np.asarray(sequences.times)
    last = np.asarray(sequences.offsets[1:]) - 1
    says[:] = 1
    gap[:-1] = np.diff(times) / 1e6
    says[last] = np.where(sequences.open_cases().open, -1, 0)
    gap[last] = (times.max() - times[last]) / 1e6
    end = np.flatnonzero(invented(sequences, END))
    says[end] = 0
    says[end[end > 0] - 1] = 0
    says[invented(sequences, START)] = 0
    return gap, says
