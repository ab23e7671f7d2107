"""Slow, obvious answers for patterns under every limit."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations, pairwise

from behavio.patterns.nodes import Either, Item, Link, Pattern, Step, Steps
from behavio.patterns.rules import Rules


def slow_moments(stamps: Sequence[float], apart: int) -> list[int]:
    """Number of the moment of each event; only the very same time joins events here."""
    numbers: list[int] = []
    for i, stamp in enumerate(stamps):
        together = apart >= 0 and i > 0 and stamp == stamps[i - 1]
        numbers.append(numbers[-1] if together else (numbers[-1] + 1 if numbers else 0))
    return numbers


def slow_embedding(places: Sequence[int], stamps: Sequence[float], moments: Sequence[int], r: Rules) -> bool:
    """May these places, in rising order, be one occurrence? Stamps are seconds, rules µs."""
    for a, b in pairwise(places):
        step, wait = moments[b] - moments[a], (stamps[b] - stamps[a]) * 1e6
        if step < max(r.min_gap_events, 1) or (r.max_gap_events and step > r.max_gap_events):
            return False
        if wait < r.min_gap or (r.max_gap >= 0 and wait > r.max_gap):
            return False
    whole = moments[places[-1]] - moments[places[0]] + 1
    if r.max_span_events and whole > r.max_span_events:
        return False
    return r.max_span < 0 or (stamps[places[-1]] - stamps[places[0]]) * 1e6 <= r.max_span


def slow_ends(trace: Sequence[str], stamps: Sequence[float], pattern: Sequence[str], r: Rules) -> list[int]:
    """The moments in which an occurrence of the pattern ends; every choice of places is tried."""
    moments = slow_moments(stamps, r.apart)
    return [
        moments[places[-1]]
        for places in combinations(range(len(trace)), len(pattern))
        if [trace[p] for p in places] == list(pattern) and slow_embedding(places, stamps, moments, r)
    ]


def slow_frequent(
    traces: Sequence[Sequence[str]], times: Sequence[Sequence[float]], r: Rules
) -> dict[tuple[str, ...], int]:
    """Pattern → cases that hold it, of every subsequence that occurs in some case."""
    found: dict[tuple[str, ...], set[int]] = {}
    for c, (trace, stamps) in enumerate(zip(traces, times, strict=True)):
        moments = slow_moments(stamps, r.apart)
        for n in range(1, min(r.max_length or len(trace), len(trace)) + 1):
            for places in combinations(range(len(trace)), n):
                if slow_embedding(places, stamps, moments, r):
                    found.setdefault(tuple(trace[p] for p in places), set()).add(c)
    return {p: len(cases) for p, cases in found.items() if len(cases) >= r.min_cases}


def slow_expansions(part: object, longest: int) -> list[list[tuple[Step, Link]]]:
    """Every way to write a part of a pattern as single steps, each with what lies before it."""
    if isinstance(part, Step):
        return [[(part, Link())]]
    if isinstance(part, Either):
        return [way for option in part.options for way in slow_expansions(option, longest)]
    assert isinstance(part, Steps)
    ways: list[list[tuple[Step, Link]]] = [[]]
    for item in part.items:
        ways = slow_joined(ways, slow_item(item, longest), longest)
    return ways


def slow_joined(before: list[list], after: list[list], longest: int) -> list[list]:
    """Every way of one followed by every way of the other, cut where no trace can follow any more."""
    ways = [(a + b)[: longest + 1] for a in before for b in after]
    return list({tuple(id(step[0]) for step in way): way for way in ways}.values())


def slow_item(item: Item, longest: int) -> list[list[tuple[Step, Link]]]:
    """Every way to write an item with its repetitions."""
    ways: list[list[tuple[Step, Link]]] = []
    times: list[list[tuple[Step, Link]]] = [[]]
    for n in range(longest + 2):
        if item.most is not None and n > item.most:
            break
        if n >= item.least:
            ways += [[(way[0][0], item.link), *way[1:]] if way else [] for way in times]
        times = slow_joined(times, slow_expansions(item.part, longest), longest)
    return ways


def slow_is(name: str, step: Step) -> bool:
    """Is an event of this activity the step? Without conditions on attributes."""
    return step.names is None or name in step.names


def slow_match(
    pattern: Pattern, trace: Sequence[str], stamps: Sequence[int], newest: int
) -> tuple[tuple[int, int] | None, int]:
    """(end, start) of the match that ends first and starts last, or None; items done at best if none.

    Stamps are seconds. Every way to write the pattern and every choice of places is tried.
    """
    best: tuple[int, int] | None = None
    done = 0
    for written in slow_written(pattern, len(trace)):
        for n in range(1, len(written) + 1):
            for places in combinations(range(len(trace)), n):
                if not slow_holds_so_far(pattern, written[:n], places, trace, stamps):
                    continue
                number, complete = written[n - 1][2], written[n - 1][3]
                done = max(done, number + complete)
                if n == len(written) and slow_ends_well(pattern, places[-1], trace, stamps, newest):
                    end, start = places[-1], places[0]
                    if best is None or (end, -start) < (best[0], -best[1]):
                        best = (end, start)
    return best, done


def slow_written(pattern: Pattern, longest: int) -> list[list[tuple[Step, Link, int, bool]]]:
    """The pattern as single steps with link, item number, and whether the item is complete with it."""
    whole: list[list[tuple[Step, Link, int, bool]]] = [[]]
    for number, item in enumerate(pattern.steps.items):
        ways = slow_item(item, longest)
        full = {tuple(id(step) for step, _ in way) for way in ways}
        marked = [
            [
                (step, link, number, tuple(id(s) for s, _ in way[: k + 1]) in full)
                for k, (step, link) in enumerate(way)
            ]
            for way in ways
        ]
        whole = slow_joined(whole, marked, longest)
    return [w for w in whole if w]


def slow_holds_so_far(
    pattern: Pattern,
    written: Sequence[tuple[Step, Link, int, bool]],
    places: Sequence[int],
    trace: Sequence[str],
    stamps: Sequence[int],
) -> bool:
    """May these places be the start of a match?"""

    def banned(first: int, last: int, steps: Sequence[Step]) -> bool:
        return any(slow_is(trace[p], s) for p in range(first + 1, last) for s in steps)

    first, last = places[0], places[-1]
    if any(not slow_is(trace[p], step) for p, (step, *_) in zip(places, written, strict=True)):
        return False
    if pattern.at_start and first != 0:
        return False
    whole = pattern.whole
    if whole.max_time >= 0 and (stamps[last] - stamps[first]) * 1e6 > whole.max_time:
        return False
    if whole.max_events and last - first > whole.max_events:
        return False
    for k in range(1, len(places)):
        a, b, link = places[k - 1], places[k], written[k][1]
        wait = (stamps[b] - stamps[a]) * 1e6
        if (link.max_time >= 0 and wait > link.max_time) or wait < link.min_time:
            return False
        if link.max_events and b - a > link.max_events:
            return False
    numbers = [w[2] for w in written]
    for ban in pattern.bans:
        if ban.where == "start" and banned(-1, first, ban.steps):
            return False
        for k in range(1, len(places)):
            x, y = numbers[k - 1], numbers[k]
            holds = {
                "whole": True,
                "before": y < ban.last or x < y == ban.last,
                "between": ban.first < y < ban.last
                or (y == ban.last and x < y)
                or (x >= ban.first and y < ban.last and x < y),
            }.get(ban.where, False)
            if holds and banned(places[k - 1], places[k], ban.steps):
                return False
    return True


def slow_ends_well(
    pattern: Pattern, end: int, trace: Sequence[str], stamps: Sequence[int], newest: int
) -> bool:
    """Is the end of the match where and as it must be?"""
    if pattern.at_end and end != len(trace) - 1:
        return False
    for ban in pattern.bans:
        if ban.where == "end":
            if ban.within >= 0 and stamps[end] * 1_000_000 + ban.within > newest * 1_000_000:
                return False
            for p in range(end + 1, len(trace)):
                near = ban.within < 0 or (stamps[p] - stamps[end]) * 1_000_000 <= ban.within
                if near and any(slow_is(trace[p], s) for s in ban.steps):
                    return False
    return True
