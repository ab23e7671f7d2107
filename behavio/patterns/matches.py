"""Who matches a pattern, who nearly does and which step they lack."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import polars as pl

from behavio.engine import Count
from behavio.engine.local import LocalEngine
from behavio.kernels import automaton as kernel
from behavio.kernels.arrays import readonly
from behavio.patterns.automaton import ITEM, Automaton, build, step_bits
from behavio.patterns.language import parse
from behavio.patterns.nodes import ANY_TIME, Either, Link, Pattern, Step, Steps
from behavio.patterns.read_back import read_back
from behavio.sequences import SequenceSet
from behavio.words import duration

CASE_SCHEMA: dict[str, pl.DataType] = {
    "case_id": pl.String(),
    "matches": pl.Int64(),
    "first": pl.Datetime("us", "UTC"),
    "last": pl.Datetime("us", "UTC"),
    "duration_s": pl.Float64(),
    "events": pl.List(pl.Int64()),
    "activities": pl.List(pl.String()),
}
"""events count from 0 inside the case; first, last and duration_s are null in a log without a clock."""
NEAR_SCHEMA: dict[str, pl.DataType] = {
    "case_id": pl.String(),
    "steps_done": pl.Int64(),
    "lacks": pl.String(),
    "why": pl.String(),
    "since": pl.Datetime("us", "UTC"),
    "events": pl.List(pl.Int64()),
}
STEP_SCHEMA: dict[str, pl.DataType] = {
    "step": pl.String(),
    "cases": pl.Int64(),
    "share": pl.Float64(),
    "of_before": pl.Float64(),
    "median_s": pl.Float64(),
}
"""cases that came so far in the best case; median_s since the step before, of those."""
WHY = (
    ("bans", "a forbidden event came in between"),
    ("times", "it came, but outside the time allowed"),
    ("direct", "it came, but other events came in between"),
    ("anchors", "it came, but not at the start or the end of the case"),
)
NEVER, SEVERAL, TOO_EARLY = (
    "it never came after that",
    "it came, but several limits stood against it",
    "too early to say",
)


@dataclass(frozen=True, slots=True, eq=False)
class Matches:
    """The answer to one pattern.

    pattern   as it was written; `means` says in words how it was read
    n_cases   cases asked; n_matching of them match
    cases     one row per matching case (CASE_SCHEMA): the match that ends first, of those the shortest
    near      one row per case that took at least the first step (NEAR_SCHEMA), farthest first
    steps     one row per step (STEP_SCHEMA)
    """

    pattern: str
    means: str
    n_cases: int
    n_matching: int
    n_matches: int
    n_undecided: int
    median_duration_s: float | None
    cases: pl.DataFrame
    near: pl.DataFrame
    steps: pl.DataFrame

    @property
    def share(self) -> float:
        """Share of all cases that match."""
        return self.n_matching / self.n_cases

    def facts(self) -> dict[str, object]:
        """The answer without its tables of cases, as JSON can say it."""
        names = ("pattern", "means", "n_cases", "n_matching", "n_matches", "n_undecided", "median_duration_s")
        return {n: getattr(self, n) for n in names} | {"share": self.share, "steps": self.steps.to_dicts()}


@dataclass(frozen=True, slots=True, eq=False)
class _Raw:
    """What the kernel found, one value per trace; events with their offsets."""

    matches: np.ndarray
    reached: np.ndarray
    unknown: np.ndarray
    path_at: np.ndarray
    path: np.ndarray

    def joined(self, other: _Raw, shift: int) -> _Raw:
        """Both, the other one's events `shift` later."""
        moved = other.path + np.array([shift, 0])
        return _Raw(
            np.concatenate([self.matches, other.matches]),
            np.concatenate([self.reached, other.reached]),
            np.concatenate([self.unknown, other.unknown]),
            np.concatenate([self.path_at, other.path_at[1:] + self.path_at[-1]]),
            np.concatenate([self.path, moved]),
        )


def match(sequences: SequenceSet, text: str) -> Matches:
    """Match one pattern of the language (see `patterns.language`) against every case."""
    pattern = parse(text, sequences.vocabulary.activities, tuple(sequences.fields))
    if not sequences.timed:
        _refuse_times(pattern)
    automaton = build(pattern)
    raw = _run(sequences, pattern, automaton)
    matched = raw.matches > 0
    done = np.where(matched, len(pattern.steps.items), raw.reached // ITEM)
    why = _near(sequences, pattern, automaton, raw, matched)
    cases = _cases(sequences, raw, matched)
    median = cases["duration_s"].median() if sequences.timed and matched.any() else None
    return Matches(
        text,
        read_back(pattern),
        sequences.n_cases,
        int(matched.sum()),
        int(raw.matches.sum()),
        int((raw.unknown & ~matched).sum()),
        None if median is None else float(median),  # type: ignore[arg-type]
        cases,
        why,
        _steps(sequences, pattern, automaton, raw, done),
    )


def _refuse_times(pattern: Pattern) -> None:
    from behavio.errors import JobError

    bans = any(ban.within != ANY_TIME for ban in pattern.bans)
    if bans or "times" in _limits(pattern):
        raise JobError(
            "the log has no clock: within and after cannot be checked",
            hint='count events instead: "a -> b within 3 events"',
        )


def _run(sequences: SequenceSet, pattern: Pattern, automaton: Automaton, without: Sequence[str] = ()) -> _Raw:
    newest = int(sequences.times.max())
    of = partial(_shard, pattern=pattern, automaton=automaton, without=tuple(without), newest=newest)

    def counted(shard: SequenceSet) -> tuple[int, _Raw]:
        return shard.n_events, of(shard)

    def merge(a: tuple[int, _Raw], b: tuple[int, _Raw]) -> tuple[int, _Raw]:
        return a[0] + b[0], a[1].joined(b[1], a[0])

    return LocalEngine().run(Count(of=counted, merge=merge), sequences)[1]


def _shard(
    sequences: SequenceSet, pattern: Pattern, automaton: Automaton, without: tuple[str, ...], newest: int
) -> _Raw:
    """Run the automaton over some cases, without some kinds of limits."""
    offsets, times = readonly(sequences.offsets, np.int64), readonly(sequences.times, np.int64)
    accepted = step_bits(sequences, [(state,) for state in automaton.states])
    banned = step_bits(sequences, [ban.steps for ban in pattern.bans])
    accepted, banned = readonly(accepted, np.uint64), readonly(banned, np.uint64)
    states = range(len(automaton.states))
    into = np.searchsorted([e.target for e in automaton.edges], [*states, len(states)]).astype(np.int64)
    free = pattern.whole if "times" not in without else Link(max_events=pattern.whole.max_events)
    if "direct" in without:
        free = replace(free, max_events=0)
    tables = (
        _edges(automaton, without),
        into,
        np.uint64(sum(1 << s for s in automaton.first)),
        np.uint64(sum(1 << s for s in automaton.last)),
        (free.max_time, free.max_events),
        np.array(automaton.depths, dtype=np.int64),
    )
    bans = "bans" not in without
    if bans and automaton.end_bans:
        ends = kernel.allowed_ends(offsets, times, banned, automaton.end_bans, automaton.end_within, newest)
    else:
        ends = np.zeros(0, dtype=np.int8)
    anchored = "anchors" not in without
    anchors = (
        pattern.at_start and anchored,
        pattern.at_end and anchored,
        automaton.start_bans if bans else 0,
    )
    found = kernel.run((offsets, times, accepted, banned), tables, anchors, len(pattern.bans), ends)
    return _Raw(*found)


def _edges(automaton: Automaton, without: tuple[str, ...]) -> np.ndarray:
    """The edges as the kernel takes them, int64 (n_edges, 6)."""
    rows = []
    for e in automaton.edges:
        link = e.link
        if "times" in without:
            link = Link(max_events=link.max_events)
        events = 0 if "direct" in without else link.max_events
        bans = 0 if "bans" in without else e.bans
        rows.append((e.source, e.target, link.min_time, link.max_time, events, bans))
    return np.array(rows, dtype=np.int64).reshape(-1, 6)


def _when(sequences: SequenceSet, events: np.ndarray) -> pl.Series:
    """Times of these events; null without a clock."""
    if not sequences.timed:
        return pl.Series([None] * len(events), dtype=pl.Datetime("us", "UTC"))
    return pl.Series(sequences.times[events], dtype=pl.Int64).cast(pl.Datetime("us", "UTC"))


def _lists(values: np.ndarray | pl.Series, at: np.ndarray, kind: pl.DataType) -> pl.Series:
    """Values cut into one list per row."""
    import pyarrow as pa

    flat = values.to_arrow() if isinstance(values, pl.Series) else pa.array(values)
    lists = pa.LargeListArray.from_arrays(pa.array(at, type=pa.int64()), flat)
    made = pl.from_arrow(lists)
    assert isinstance(made, pl.Series)
    return made.cast(pl.List(kind))


def _paths(sequences: SequenceSet, raw: _Raw, cases: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Events on the ways of these cases (numbers of the log), and where each way starts."""
    from behavio.kernels.arrays import take_groups

    return take_groups(raw.path[:, 0], raw.path_at, cases)


def _cases(sequences: SequenceSet, raw: _Raw, matched: np.ndarray) -> pl.DataFrame:
    cases = np.flatnonzero(matched)
    events, at = _paths(sequences, raw, cases)
    first, last = events[at[:-1]], events[at[1:] - 1]
    inside = events - np.repeat(sequences.offsets[:-1][cases], np.diff(at))
    names = pl.Series(sequences.vocabulary.names)
    took = (sequences.times[last] - sequences.times[first]) / 1e6
    return pl.DataFrame(
        {
            "case_id": sequences.case_ids.gather(pl.Series(cases)),
            "matches": raw.matches[cases],
            "first": _when(sequences, first),
            "last": _when(sequences, last),
            "duration_s": took if sequences.timed else [None] * len(cases),
            "events": _lists(inside, at, pl.Int64()),
            "activities": _lists(names.gather(pl.Series(sequences.tokens[events])), at, pl.String()),
        },
        schema=CASE_SCHEMA,
    )


def _near(
    sequences: SequenceSet, pattern: Pattern, automaton: Automaton, raw: _Raw, matched: np.ndarray
) -> pl.DataFrame:
    """Cases on their way, what they lack, and why: the one kind of limit without which they come farther."""
    cases = np.flatnonzero(~matched & (raw.reached > 0))
    if not len(cases):
        return pl.DataFrame(schema=NEAR_SCHEMA)
    asked = sequences.select(cases) if 2 * len(cases) < sequences.n_cases else sequences
    place = np.arange(len(cases)) if asked is not sequences else cases
    reached, why = raw.reached[cases], np.full(len(cases), -1)
    limits = _limits(pattern)

    def farther(without: Sequence[str]) -> np.ndarray:
        free = _run(asked, pattern, automaton, without)
        return (free.reached[place] > reached) | (free.matches[place] > 0)

    for number, (kind, _) in reversed(list(enumerate(WHY))):
        if kind in limits:
            why[farther([kind])] = number
    several = (why < 0) & farther(limits) if len(limits) > 1 and (why < 0).any() else why < -1
    words = [text for _, text in WHY] + [NEVER, SEVERAL, TOO_EARLY]
    why = np.where(
        raw.unknown[cases], len(WHY) + 2, np.where(several, len(WHY) + 1, np.where(why < 0, len(WHY), why))
    )
    events, at = _paths(sequences, raw, cases)
    last = at[1:] - 1
    inside = events - np.repeat(sequences.offsets[:-1][cases], np.diff(at))
    states = raw.path[raw.path_at[1:][cases] - 1, 1]
    lacks = [_lacks(pattern, automaton, s) for s in range(len(automaton.states))]
    frame = pl.DataFrame(
        {
            "case_id": sequences.case_ids.gather(pl.Series(cases)),
            "steps_done": reached // ITEM,
            "lacks": pl.Series(lacks).gather(pl.Series(states)),
            "why": pl.Series(words).gather(pl.Series(why)),
            "since": _when(sequences, events[last]),
            "events": _lists(inside, at, pl.Int64()),
        },
        schema=NEAR_SCHEMA,
    )
    order = np.lexsort((np.arange(len(cases)), -reached))
    return frame[order]


def _limits(pattern: Pattern) -> list[str]:
    """The kinds of limits (of WHY) that the pattern sets."""
    links = [pattern.whole, *_links(pattern.steps)]
    there = {
        "bans": bool(pattern.bans),
        "times": any(link.max_time != ANY_TIME or link.min_time for link in links),
        "direct": any(link.max_events for link in links),
        "anchors": pattern.at_start or pattern.at_end,
    }
    return [kind for kind, _ in WHY if there[kind]]


def _links(part: Step | Either | Steps) -> list[Link]:
    """Every link inside a part of a pattern."""
    if isinstance(part, Either):
        return [link for option in part.options for link in _links(option)]
    if isinstance(part, Steps):
        return [link for item in part.items for link in (item.link, *_links(item.part))]
    return []


def _lacks(pattern: Pattern, automaton: Automaton, state: int) -> str:
    """What may come next from a state, as the pattern writes it."""
    following = [
        e.target
        for e in automaton.edges
        if e.source == state and automaton.depths[e.target] > automaton.depths[state]
    ]
    texts = list(dict.fromkeys(automaton.states[t].text for t in following))
    if texts:
        return " | ".join(texts)
    after = [f"no {'|'.join(s.text for s in ban.steps)}" for ban in pattern.bans if ban.where == "end"]
    return ", ".join([*after, *(["the end of the case ($)"] if pattern.at_end else [])])


def _steps(
    sequences: SequenceSet, pattern: Pattern, automaton: Automaton, raw: _Raw, done: np.ndarray
) -> pl.DataFrame:
    """How many cases came how far, and how long each step took them."""
    items = pattern.steps.items
    item_of = np.array(automaton.item_of)
    case_of = np.repeat(np.arange(sequences.n_cases), np.diff(raw.path_at))
    items_on_path = item_of[raw.path[:, 1]] if len(raw.path) else np.zeros(0, dtype=np.int64)
    rows, before = [], sequences.n_cases
    for number, item in enumerate(items):
        n = int((done > number).sum())
        median = None
        if sequences.timed and number and n:
            here = np.flatnonzero(items_on_path == number)
            entering = here[np.append(True, items_on_path[here[1:] - 1] != number)] if len(here) else here
            entering = entering[entering > raw.path_at[:-1][case_of[entering]]]
            entering = entering[done[case_of[entering]] > number]
            events = raw.path[:, 0]
            waits = (sequences.times[events[entering]] - sequences.times[events[entering - 1]]) / 1e6
            median = float(np.median(waits)) if len(waits) else None
        rows.append((item.text, n, n / sequences.n_cases, n / before if before else 0.0, median))
        before = n
    return pl.DataFrame(rows, schema=STEP_SCHEMA, orient="row")


def step_mask(sequences: SequenceSet, text: str) -> np.ndarray:
    """Which events are one step of the language, bool (n_events,); PatternError for anything longer."""
    from behavio.errors import JobError

    pattern = parse(text, sequences.vocabulary.activities, tuple(sequences.fields))
    automaton = build(pattern)
    if automaton.edges or pattern.at_start or pattern.at_end or pattern.bans:
        raise JobError(
            f"{text!r} is more than one step", hint='name one event: "portal_visit" or "call_f2f|call_video"'
        )
    return step_bits(sequences, [tuple(automaton.states)]) > 0


def sentence(found: Matches) -> str:
    """The answer in one line."""
    took = (
        f", median {duration(found.median_duration_s)} from first to last step"
        if found.median_duration_s
        else ""
    )
    return f"{found.n_matching:,} of {found.n_cases:,} cases match ({found.share:.1%}){took}"
