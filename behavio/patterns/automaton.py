"""A parsed pattern as states and edges (Glushkov 1961: one state per step, no empty moves)."""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import product

import numpy as np

from behavio.errors import JobError
from behavio.patterns.nodes import Either, Item, Link, Pattern, Step, Steps, Test
from behavio.sequences import SequenceSet

MOST_STATES = 64
ITEM = 1_000
"""Depth of a state: items of the pattern it completes, times ITEM, plus steps from the start."""


@dataclass(frozen=True, slots=True)
class Edge:
    """From one state to the next, with what lies between; bans are bits."""

    source: int
    target: int
    link: Link
    bans: int


@dataclass(frozen=True, slots=True)
class Automaton:
    """States are steps; `item_of` says to which part of the pattern's top level each belongs."""

    states: tuple[Step, ...]
    item_of: tuple[int, ...]
    edges: tuple[Edge, ...]
    first: frozenset[int]
    last: frozenset[int]
    depths: tuple[int, ...]
    start_bans: int
    end_bans: int
    end_within: int


@dataclass(slots=True)
class _Part:
    """A piece while it is put together: the states it may start and end with, whether it may be empty."""

    first: list[int] = field(default_factory=list)
    last: list[int] = field(default_factory=list)
    empty: bool = True


@dataclass(slots=True)
class _Builder:
    pattern: Pattern
    states: list[Step] = field(default_factory=list)
    item_of: list[int] = field(default_factory=list)
    edges: list[tuple[int, int, Link]] = field(default_factory=list)
    item: int = 0

    def build(self) -> Automaton:
        whole, completes = _Part(), set[int]()
        for number, item in enumerate(self.pattern.steps.items):
            self.item = number
            part = self.repeated(item)
            completes.update(part.last)
            whole = self.joined(whole, part, item.link)
        if whole.empty:
            raise JobError(
                f"the pattern {self.pattern.text!r} matches nothing at all",
                hint="at least one step must be needed: not every one may be optional",
            )
        bans = [
            sum(1 << b for b in range(len(self.pattern.bans)) if self.lies_in(b, source, target))
            for source, target, _ in self.edges
        ]
        edges = [Edge(*e, bits) for e, bits in zip(self.edges, bans, strict=True)]
        outside = [(b, ban) for b, ban in enumerate(self.pattern.bans)]
        ends = [(b, ban.within) for b, ban in outside if ban.where == "end"]
        if len({within for _, within in ends}) > 1:
            raise JobError("bans after the last step have different times", hint="give them the same")
        return Automaton(
            tuple(self.states),
            tuple(self.item_of),
            tuple(sorted(edges, key=lambda e: e.target)),
            frozenset(whole.first),
            frozenset(whole.last),
            tuple(self.depths(whole.first, completes)),
            sum(1 << b for b, ban in outside if ban.where == "start"),
            sum(1 << b for b, _ in ends),
            ends[0][1] if ends else -1,
        )

    def lies_in(self, number: int, source: int, target: int) -> bool:
        """Does this ban hold between these two states?"""
        ban, a, b = self.pattern.bans[number], self.item_of[source], self.item_of[target]
        if ban.where == "whole":
            return True
        if ban.where == "before":
            return b < ban.last or (b == ban.last and a < b)
        return ban.where == "between" and (
            ban.first < b < ban.last or (a <= ban.first < b == ban.last) or (ban.first <= a < b <= ban.last)
        )

    def depths(self, first: list[int], completes: set[int]) -> list[int]:
        steps, level = dict.fromkeys(first, 1), list(first)
        while level:
            following = [t for s, t, _ in self.edges if s in set(level) and t not in steps]
            for target in following:
                steps.setdefault(target, steps[level[0]] + 1)
            level = list(dict.fromkeys(following))
        return [
            ITEM * (self.item_of[s] + (s in completes)) + min(steps.get(s, 1), ITEM - 1)
            for s in range(len(self.states))
        ]

    def joined(self, before: _Part, after: _Part, link: Link) -> _Part:
        self.edges += [(a, b, link) for a, b in product(before.last, after.first)]
        return _Part(
            before.first + (after.first if before.empty else []),
            after.last + (before.last if after.empty else []),
            before.empty and after.empty,
        )

    def repeated(self, item: Item) -> _Part:
        part = _Part()
        copies = max(item.least, 1) if item.most is None else item.most
        for number in range(copies):
            one = self.single(item.part)
            one.empty = one.empty or number >= item.least
            if item.most is None and number == copies - 1:
                self.edges += [(a, b, Link()) for a, b in product(one.last, one.first)]
            part = self.joined(part, one, Link())
        return part

    def single(self, part: Step | Either | Steps) -> _Part:
        if isinstance(part, Step):
            if len(self.states) == MOST_STATES:
                raise JobError(
                    f"the pattern has more than {MOST_STATES} steps, repetitions written out",
                    hint="use {n,} instead of a large number of repetitions, or split the pattern",
                )
            self.states.append(part)
            self.item_of.append(self.item)
            return _Part([len(self.states) - 1], [len(self.states) - 1], False)
        if isinstance(part, Either):
            options = [self.single(o) for o in part.options]
            return _Part(
                [s for o in options for s in o.first],
                [s for o in options for s in o.last],
                any(o.empty for o in options),
            )
        whole = _Part()
        for item in part.items:
            whole = self.joined(whole, self.repeated(item), item.link)
        return whole


def build(pattern: Pattern) -> Automaton:
    """States and edges of a pattern. Raises JobError where it may be empty or is too long."""
    return _Builder(pattern).build()


def step_bits(sequences: SequenceSet, groups: list[tuple[Step, ...]]) -> np.ndarray:
    """For each event the numbers of the groups (bits) of which it is one of the steps, uint64 (n_events,)."""
    plain = np.zeros(len(sequences.vocabulary), dtype=np.uint64)
    found = np.zeros(0, dtype=np.uint64)
    for bit, steps in enumerate(groups):
        one = np.uint64(1 << bit)
        for step in steps:
            tokens = _tokens(sequences, step)
            if not step.tests:
                plain[tokens] |= one
                continue
            fits = tokens[sequences.tokens]
            for test in step.tests:
                fits &= _codes(sequences, test)[sequences.fields[test.field].codes]
            if not len(found):
                found = np.zeros(sequences.n_events, dtype=np.uint64)
            found[fits] |= one
    return plain[sequences.tokens] | found if len(found) else plain[sequences.tokens]


def _tokens(sequences: SequenceSet, step: Step) -> np.ndarray:
    """Which activities a step may be, bool (n_activities,)."""
    if step.names is None:
        return np.ones(len(sequences.vocabulary), dtype=bool)
    wanted = set(step.names)
    return np.array([name in wanted for name in sequences.vocabulary.names], dtype=bool)


def _codes(sequences: SequenceSet, test: Test) -> np.ndarray:
    """Which codes of the attribute pass the test, bool; a missing value passes only !=."""
    names = sequences.fields[test.field].vocabulary.names
    passes = np.array([_passes(name, test) for name in names], dtype=bool)
    passes[0] = test.sign == "!="
    return passes


def _passes(name: str, test: Test) -> bool:
    if test.sign in ("=", "!="):
        return (name in test.values) == (test.sign == "=")
    if test.sign == "~":
        return any(v.lower() in name.lower() for v in test.values)
    try:
        number, border = float(name), float(test.values[0])
    except ValueError:
        return False
    return {
        "<": number < border,
        "<=": number <= border,
        ">": number > border,
        ">=": number >= border,
    }[test.sign]
