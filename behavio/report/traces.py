"""Journeys as flat arrays, and what the page counts of them: first steps, flows, what a week brings.

The report makes them from the events of a run, `behavio explore` from the encoded log; the same counts.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import polars as pl

ANSWER_DAYS = 30
KNOWN = 60
ENDED, OTHER = -1, -2
"""Codes of no further event, and of activities too rare to be told apart among the first steps."""
DAY = 86_400_000_000
CHUNK = 4096
"""Journeys looked at in one go, so that memory stays small."""


@dataclass(frozen=True, slots=True, eq=False)
class Traces:
    """Trace i is tokens[offsets[i]:offsets[i + 1]].

    tokens   int (n_events,)      place of the activity in `names`
    offsets  int64 (n_cases + 1,)
    times    int64 (n_events,)    µs, never falling inside a case
    inbound  bool (n_events,)     the case did it; None where the log does not say who acts
    names    the activities
    """

    tokens: np.ndarray
    offsets: np.ndarray
    times: np.ndarray
    inbound: np.ndarray | None
    names: tuple[str, ...]
    timed: bool = True

    @classmethod
    def of(cls, events: pl.DataFrame, timed: bool = True) -> Traces:
        """From events (case_id, activity, timestamp, direction) in the order of a log."""
        case = events["case_id"]
        starts = (case != case.shift()).fill_null(True).arg_true().to_numpy()
        names = tuple(events["activity"].unique().sort().to_list())
        tokens = events["activity"].cast(pl.Enum(names)).to_physical().cast(pl.Int32).to_numpy()
        known = events["direction"].is_in(["inbound", "outbound"]).fill_null(False)
        inbound = (events["direction"] == "inbound").fill_null(False).to_numpy() if known.any() else None
        offsets = np.append(starts, events.height).astype(np.int64)
        times = events["timestamp"].cast(pl.Datetime("us", "UTC")).to_physical().to_numpy()
        return cls(tokens, offsets, times, inbound, names, timed)

    @property
    def n_cases(self) -> int:
        """How many journeys."""
        return len(self.offsets) - 1

    @property
    def lengths(self) -> np.ndarray:
        """int64 (n_cases,): events of each."""
        return np.diff(self.offsets)


@dataclass(frozen=True, slots=True)
class Node:
    """What came at one step of the journeys that begin alike.

    activity  the name, or None: nothing further (`ended`), or several rare ones together
    n         journeys; answered: those in which the case itself did something in the 30 days after
    """

    activity: str | None
    ended: bool
    n: int
    answered: int
    children: tuple[Node, ...] = ()


def first_tokens(traces: Traces, depth: int) -> tuple[np.ndarray, list[str]]:
    """int64 (n_cases, depth): codes of the first events, ENDED, or OTHER; and the names behind the codes."""
    starts, lengths = traces.offsets[:-1], traces.lengths
    found = np.full((traces.n_cases, depth), ENDED, np.int64)
    for d in range(depth):
        there = lengths > d
        found[there, d] = traces.tokens[starts[there] + d]
    counts = np.bincount(found[found >= 0], minlength=len(traces.names))
    order = [int(i) for i in np.argsort(-counts, kind="stable")[:KNOWN] if counts[i]]
    code = np.full(len(traces.names) + 2, OTHER, np.int64)
    for place, token in enumerate(order):
        code[token] = place
    code[ENDED] = ENDED  # the last of the array: what ENDED = -1 points at
    return code[found], [traces.names[i] for i in order]


def answered_after(traces: Traces, depth: int) -> np.ndarray | None:
    """bool (n_cases, depth): something inbound within 30 days after the d-th event; None without directions.

    Without a clock: anything inbound later.
    """
    if traces.inbound is None:
        return None
    places = np.flatnonzero(traces.inbound)
    found = np.zeros((traces.n_cases, depth), bool)
    if not len(places):
        return found
    starts, ends = traces.offsets[:-1], traces.offsets[1:]
    for d in range(depth):
        there = np.flatnonzero(traces.lengths > d)
        event = starts[there] + d
        following = np.searchsorted(places, event, side="right")
        after = places[np.minimum(following, len(places) - 1)]
        hit = (following < len(places)) & (after < ends[there])
        if traces.timed:
            hit &= traces.times[after] - traces.times[event] <= ANSWER_DAYS * DAY
        found[there, d] = hit
    return found


def prefix_tree(traces: Traces, depth: int, k: int, least: float = 0.015, most: int = 6) -> Node:
    """The first `depth` steps of all journeys as a tree.

    A step keeps its name when at least k journeys and `least` of all take it there, and it is among the
    `most` commonest of its branch; the others are one node without a name and without children.
    """
    codes, names = first_tokens(traces, depth)
    hits = answered_after(traces, depth)
    answers = np.zeros(codes.shape, np.int64) if hits is None else hits.astype(np.int64)
    keys = np.zeros(len(codes), np.int64)
    for d in range(depth):
        keys = keys * (KNOWN + 2) + codes[:, d] + 2
    _, first, inverse = np.unique(keys, return_index=True, return_inverse=True)
    weight = np.bincount(inverse)
    told = np.stack([np.bincount(inverse, weights=answers[:, d]) for d in range(depth)], axis=1)
    rows = codes[first]
    floor = max(k, least * len(codes))

    def grow(inside: np.ndarray, d: int) -> tuple[Node, ...]:
        if d == depth:
            return ()
        here = rows[inside, d]
        total = {int(c): int(weight[inside[here == c]].sum()) for c in np.unique(here)}
        ranked = sorted((c for c in total if c >= 0), key=lambda c: (-total[c], names[c]))
        kept = [c for c in ranked if total[c] >= floor][:most]
        made = []
        for c in kept:
            mine = inside[here == c]
            made.append(Node(names[c], False, total[c], int(told[mine, d].sum()), grow(mine, d + 1)))
        rest = inside[~np.isin(here, [*kept, ENDED])]
        if len(rest):
            made.append(Node(None, False, int(weight[rest].sum()), int(told[rest, d].sum())))
        if ENDED in total:
            made.append(Node(None, True, total[ENDED], 0))
        return tuple(made)

    return Node(None, False, len(codes), 0, grow(np.arange(len(rows)), 0))


@dataclass(frozen=True, slots=True, eq=False)
class Flow:
    """Which step follows which among the first ones.

    names   per step the names kept, then None for all others
    counts  per step from the second: int64 (names before + 1, names here + 2), the last row and the last but
            one column are all others, the last column no further event
    sizes   per step how many journeys stand at each name, all others last
    """

    names: tuple[tuple[str, ...], ...]
    counts: tuple[np.ndarray, ...]
    sizes: tuple[np.ndarray, ...]


def flow(traces: Traces, depth: int, k: int, most: int = 5) -> Flow:
    """The first steps of all journeys, at most `most` names a step of at least k journeys each."""
    codes, names = first_tokens(traces, depth)
    kept: list[list[int]] = []
    places = np.empty_like(codes)
    for d in range(depth):
        here = codes[:, d]
        counts = np.bincount(here[here >= 0], minlength=len(names))
        top = [int(c) for c in np.argsort(-counts, kind="stable")[:most] if counts[c] >= max(k, 1)]
        kept.append(top)
        to = np.full(len(names) + 2, len(top), np.int64)
        for place, c in enumerate(top):
            to[c] = place
        to[ENDED] = len(top) + 1
        places[:, d] = to[here]
    tables = []
    for d, (before, here_top) in enumerate(pairwise(kept), start=1):
        there = places[:, d - 1] <= len(before)
        width = len(here_top) + 2
        cells = np.bincount(
            places[there, d - 1] * width + places[there, d], minlength=(len(before) + 1) * width
        )
        tables.append(cells.reshape(len(before) + 1, width))
    sizes = tuple(
        np.bincount(places[:, d], minlength=len(top) + 2)[: len(top) + 1] for d, top in enumerate(kept)
    )
    return Flow(tuple(tuple(names[c] for c in top) for top in kept), tuple(tables), sizes)


def walk(node: Node, path: tuple[str, ...] = ()) -> Iterator[tuple[int, tuple[str, ...], Node]]:
    """Every node below the root with its step (from 1) and the names before it."""
    for child in node.children:
        yield len(path) + 1, path, child
        if child.activity is not None:
            yield from walk(child, (*path, child.activity))


def states(
    traces: Traces, kind_of: np.ndarray, n_kinds: int, origin: int, length: int, bins: int, k: int
) -> np.ndarray:
    """float64 (bins, n_kinds): share of all journeys whose bin each kind took, NaN under k people.

    A journey whose bin holds two kinds counts half for each. kind_of: int (names,); times in µs; a negative
    origin counts from each journey's own first event.
    """
    people = np.zeros((bins, n_kinds), np.int64)
    weight = np.zeros((bins, n_kinds))
    for first in range(0, traces.n_cases, CHUNK):
        bounds = traces.offsets[first : first + CHUNK + 1]
        times, tokens = traces.times[bounds[0] : bounds[-1]], traces.tokens[bounds[0] : bounds[-1]]
        case = np.repeat(np.arange(len(bounds) - 1), np.diff(bounds))
        start = traces.times[bounds[:-1]][case] if origin < 0 else origin
        place = (times - start) // length
        inside = (place >= 0) & (place < bins)
        held = np.zeros((len(bounds) - 1, bins, n_kinds), bool)
        held[case[inside], place[inside], kind_of[tokens[inside]]] = True
        several = held.sum(axis=2, keepdims=True)
        people += held.sum(axis=0)
        weight += (held / np.maximum(several, 1)).sum(axis=0)
    share = weight / max(traces.n_cases, 1)
    share[(people > 0) & (people < k)] = np.nan
    return share
