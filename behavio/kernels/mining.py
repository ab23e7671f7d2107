"""Frequent sequential patterns by pseudo-projection (PrefixSpan: Pei et al. 2001), depth first.

A pattern's occurrences are the places where it can end: all of them when the next event must come within a
window, only the first of each trace when it may come any time later. All frequent continuations of a
pattern are projected in one pass.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from behavio.kernels.arrays import grown


@njit(cache=True, nogil=True)
def reach(offsets: np.ndarray, times: np.ndarray, max_gap: int, within: int) -> np.ndarray:
    """Where the window after each event ends (exclusive), int64 (n_events,).

    max_gap  the next event of a pattern lies at most so many events on; 0: any number
    within   and at most so many µs on; negative: any time
    """
    ends = np.empty(len(times), np.int64)
    for c in range(len(offsets) - 1):
        last = offsets[c + 1]
        end = offsets[c]
        for i in range(offsets[c], last):
            limit = last if max_gap == 0 else min(last, i + max_gap + 1)
            end = max(end, i + 1)
            if within < 0:
                end = limit
            else:
                while end < limit and times[end] - times[i] <= within:
                    end += 1
            ends[i] = end
    return ends


@njit(cache=True, nogil=True)
def item_cases(items: np.ndarray, offsets: np.ndarray, weights: np.ndarray, n_items: int) -> np.ndarray:
    """In how many (weighted) traces each item occurs, int64 (n_items,)."""
    cases = np.zeros(n_items, np.int64)
    last = np.full(n_items, -1, np.int64)
    for c in range(len(offsets) - 1):
        for i in range(offsets[c], offsets[c + 1]):
            if last[items[i]] != c:
                last[items[i]] = c
                cases[items[i]] += weights[c]
    return cases


@njit(cache=True, nogil=True)
def _count(
    items: np.ndarray,
    window: np.ndarray,
    weights: np.ndarray,
    cases_at: np.ndarray,
    ends_at: np.ndarray,
    span: tuple[int, int],
    first_only: bool,
    seen: np.ndarray,
    tick: int,
    support: np.ndarray,
    places: np.ndarray,
    touched: np.ndarray,
) -> tuple[int, int]:
    """Support of every item that may come next, and how many places its occurrences will take."""
    n_touched = 0
    i, last = span
    while i < last:
        case = cases_at[i]
        tick += 1
        scanned = np.int64(0)
        while i < last and cases_at[i] == case:
            end = np.int64(ends_at[i])
            stop = window[end]
            for p in range(max(end + 1, scanned), stop):
                item = items[p]
                if seen[item] != tick:
                    seen[item] = tick
                    if support[item] == 0:
                        touched[n_touched] = item
                        n_touched += 1
                    support[item] += weights[case]
                    places[item] += 1
                elif not first_only:
                    places[item] += 1
            scanned = max(scanned, stop)
            i += 1
    return n_touched, tick


@njit(cache=True, nogil=True)
def _project(
    items: np.ndarray,
    window: np.ndarray,
    cases_at: np.ndarray,
    ends_at: np.ndarray,
    span: tuple[int, int],
    first_only: bool,
    seen: np.ndarray,
    tick: int,
    slot: np.ndarray,
    cursor: np.ndarray,
) -> int:
    """Write the occurrences of every kept continuation behind the current ones."""
    i, last = span
    while i < last:
        case = cases_at[i]
        tick += 1
        scanned = np.int64(0)
        while i < last and cases_at[i] == case:
            end = np.int64(ends_at[i])
            stop = window[end]
            for p in range(max(end + 1, scanned), stop):
                item = items[p]
                child = slot[item]
                if child >= 0 and not (first_only and seen[item] == tick):
                    seen[item] = tick
                    cases_at[cursor[child]] = case
                    ends_at[cursor[child]] = p
                    cursor[child] += 1
            scanned = max(scanned, stop)
            i += 1
    return tick


@njit(cache=True, nogil=True)
def _roots(
    items: np.ndarray, offsets: np.ndarray, n_items: int, first_only: bool
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Occurrences of every single item, grouped by item: cases, ends, and where each group starts."""
    starts = np.zeros(n_items + 1, np.int64)
    last = np.full(n_items, -1, np.int64)
    for c in range(len(offsets) - 1):
        for i in range(offsets[c], offsets[c + 1]):
            item = items[i]
            if not (first_only and last[item] == c):
                starts[item + 1] += 1
                last[item] = c
    cursor = np.zeros(n_items, np.int64)
    for item in range(n_items):
        starts[item + 1] += starts[item]
        cursor[item] = starts[item]
        last[item] = -1
    cases_at = np.empty(starts[-1], np.int32)
    ends_at = np.empty(starts[-1], np.int32)
    for c in range(len(offsets) - 1):
        for i in range(offsets[c], offsets[c + 1]):
            item = items[i]
            if not (first_only and last[item] == c):
                last[item] = c
                cases_at[cursor[item]] = c
                ends_at[cursor[item]] = i
                cursor[item] += 1
    return cases_at, ends_at, starts


@njit(cache=True, nogil=True)
def mine(
    items: np.ndarray,
    offsets: np.ndarray,
    window: np.ndarray,
    weights: np.ndarray,
    roots: np.ndarray,
    limits: tuple[int, int, int, int],
    first_only: bool,
) -> tuple[np.ndarray, np.ndarray, np.ndarray, int]:
    """Every pattern that starts with one of `roots` and at least `min_cases` traces hold.

    items    int32 (n_events,), 0 to rare; the number `rare` stands for all infrequent items together and is
             part of no pattern: it only keeps places, so that gaps stay what they are
    window   int64 (n_events,) from `reach`
    weights  int64 (n_traces,)
    limits   rare, min_cases, max_length, max_patterns. When more patterns turn up, min_cases is raised to
             the smallest number that leaves at most max_patterns (0: never)
    Returns the patterns' items flat, their offsets, their support and the min_cases that was reached; the
    caller drops patterns found before it was raised.
    """
    rare, min_cases, max_length, max_patterns = limits
    n_items = rare + 1
    root_case, root_end, root_start = _roots(items, offsets, n_items, first_only)
    alone = item_cases(items, offsets, weights, n_items)
    found, n_found_items = np.empty(1 << 12, np.int32), 0
    supports, found_offsets, n_found = np.empty(1 << 10, np.int64), np.zeros(1 << 10, np.int64), 0
    histogram, n_kept = np.zeros(weights.sum() + 2, np.int64), 0
    cases_at, ends_at = np.empty(1 << 14, np.int32), np.empty(1 << 14, np.int32)
    # children of the patterns on the path, all depths in one stack
    child_item, child_support = np.empty(1 << 10, np.int32), np.empty(1 << 10, np.int64)
    child_first, child_last = np.empty(1 << 10, np.int64), np.empty(1 << 10, np.int64)
    next_child, last_child = np.zeros(max_length + 1, np.int64), np.zeros(max_length + 1, np.int64)
    first_child, top = np.zeros(max_length + 1, np.int64), np.zeros(max_length + 1, np.int64)
    path = np.zeros(max_length + 1, np.int32)
    support, places = np.zeros(n_items, np.int64), np.zeros(n_items, np.int64)
    seen, slot = np.full(n_items, -1, np.int64), np.full(n_items, -1, np.int64)
    touched = np.empty(n_items, np.int32)
    tick = 0
    for root in roots:
        if alone[root] < min_cases:
            continue
        first, last = root_start[root], root_start[root + 1]
        if last - first > len(cases_at):
            cases_at, ends_at = grown(cases_at, 0, last - first), grown(ends_at, 0, last - first)
        for i in range(first, last):
            cases_at[i - first] = root_case[i]
            ends_at[i - first] = root_end[i]
        first, last = np.int64(0), last - first
        depth, path[0], top[0], now, n_children = 0, root, last, alone[root], 0
        entering = True
        while depth >= 0:
            if not entering:
                if next_child[depth] >= last_child[depth]:
                    n_children = first_child[depth]
                    depth -= 1
                    continue
                child = next_child[depth]
                next_child[depth] += 1
                if child_support[child] < min_cases:
                    continue
                now, first, last = child_support[child], child_first[child], child_last[child]
                depth += 1
                path[depth] = child_item[child]
            entering = False
            if n_found + 2 > len(supports):
                supports = grown(supports, n_found, n_found + 2)
                found_offsets = grown(found_offsets, n_found + 1, n_found + 2)
            if n_found_items + depth + 1 > len(found):
                found = grown(found, n_found_items, n_found_items + depth + 1)
            for step in range(depth + 1):
                found[n_found_items] = path[step]
                n_found_items += 1
            supports[n_found] = now
            n_found += 1
            found_offsets[n_found] = n_found_items
            histogram[now] += 1
            n_kept += 1
            while max_patterns > 0 and n_kept > max_patterns:
                n_kept -= histogram[min_cases]
                min_cases += 1
            first_child[depth] = last_child[depth] = next_child[depth] = n_children
            if depth + 1 >= max_length:
                continue
            span = (first, last)
            n_touched, tick = _count(
                items,
                window,
                weights,
                cases_at,
                ends_at,
                span,
                first_only,
                seen,
                tick,
                support,
                places,
                touched,
            )
            if n_children + n_touched > len(child_item):
                child_item = grown(child_item, n_children, n_children + n_touched)
                child_support = grown(child_support, n_children, n_children + n_touched)
                child_first = grown(child_first, n_children, n_children + n_touched)
                child_last = grown(child_last, n_children, n_children + n_touched)
            needed = top[depth]
            for t in range(n_touched):
                item = touched[t]
                if support[item] >= min_cases and item != rare:
                    child_item[n_children] = item
                    child_support[n_children] = support[item]
                    child_first[n_children] = child_last[n_children] = needed
                    slot[item] = n_children
                    needed += places[item]
                    n_children += 1
                support[item] = places[item] = 0
            last_child[depth] = n_children
            top[depth + 1] = needed
            if needed > len(cases_at):
                cases_at, ends_at = (
                    grown(cases_at, top[depth], needed),
                    grown(ends_at, top[depth], needed),
                )
            if n_children > first_child[depth]:
                tick = _project(
                    items, window, cases_at, ends_at, span, first_only, seen, tick, slot, child_last
                )
                for k in range(first_child[depth], n_children):
                    slot[child_item[k]] = -1
    return found[:n_found_items], found_offsets[: n_found + 1], supports[:n_found], min_cases


@njit(cache=True, nogil=True)
def _hash(tokens: np.ndarray, first: int, last: int, without: int) -> np.uint64:
    """FNV-1a over tokens[first:last], leaving out the place `without`."""
    mixed = np.uint64(14695981039346656037)
    for i in range(first, last):
        if i != without:
            mixed = (mixed ^ np.uint64(tokens[i])) * np.uint64(1099511628211)
    return (mixed ^ (mixed >> np.uint64(29))) * np.uint64(0x9E3779B97F4A7C15)


@njit(cache=True, nogil=True)
def closed(tokens: np.ndarray, offsets: np.ndarray, supports: np.ndarray) -> np.ndarray:
    """Which patterns no pattern one item longer holds with the same support, bool (n_patterns,).

    Looks up every pattern with one item left out among the patterns given; compares token by token.
    """
    n = len(supports)
    size = 16
    while size < 2 * n:
        size *= 2
    mask = size - 1
    table = np.full(size, -1, np.int64)
    for p in range(n):
        place = np.int64(_hash(tokens, offsets[p], offsets[p + 1], -1) >> np.uint64(16)) & mask
        while table[place] >= 0:
            place = (place + 1) & mask
        table[place] = p
    keep = np.ones(n, np.bool_)
    for p in range(n):
        first, last = offsets[p], offsets[p + 1]
        for without in range(first, last):
            if last - first == 1 or (without > first and tokens[without] == tokens[without - 1]):
                continue
            place = np.int64(_hash(tokens, first, last, without) >> np.uint64(16)) & mask
            while table[place] >= 0:
                q = table[place]
                same = supports[q] == supports[p] and offsets[q + 1] - offsets[q] == last - first - 1
                k = offsets[q]
                for i in range(first, last):
                    if same and i != without:
                        same = tokens[k] == tokens[i]
                        k += 1
                if same:
                    keep[q] = False
                    break
                place = (place + 1) & mask
    return keep
