"""Frequent sequential patterns by pseudo-projection (PrefixSpan: Pei et al. 2001), depth first.

A pattern's occurrences are the places where it can end. When the next event must lie in a window, all of
them are kept, each with the latest start that leads there, since that start leaves most of the span; when
it may come any time later, only the first of each trace. All frequent continuations of a pattern are
projected in one pass.

Arrays that travel together:
log    items, first, last and span (from `windows`) int32 (n_events,), weights int64 (n_traces,)
lists  starts, item_at, list_at from `followers`, bits from `follower_bits`, the list after each event

An occurrence is one row. By windows: trace, first and last (exclusive) place that may come next, last
(exclusive) place of the whole pattern. By lists: weight of the trace, number of the list of what follows.
Occurrences that nothing can follow are left out.
"""

from __future__ import annotations

import numpy as np

from behavio.kernels.arrays import grown, ones
from behavio.kernels.ready import njit

WINDOWS, LISTS, BITS = 0, 1, 2
"""How continuations are counted: by walking windows, by lists of followers, by bit sets of followers."""
UNIT, LIGHT, HEAVY = 0, 1, 2
"""Weights of the traces: all 1, on average below 2, more."""
PLACES = 1 << 32
"""Support and number of occurrences are added up in one number: occurrences × PLACES + support."""
CASE, START, STOP, LIMIT = 0, 1, 2, 3  # columns of the occurrences, by windows
WEIGHT, LIST = 0, 1  # and by lists
ITEM, SUPPORT, FROM, TO = 0, 1, 2, 3  # columns of the children
FIRST, NEXT, LAST, TOP = 0, 1, 2, 3  # columns of the frames on the path


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
def places_of_items(
    items: np.ndarray, offsets: np.ndarray, n_items: int, first_only: bool
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Occurrences of every single item, grouped by item: traces, places (int32), where each group starts."""
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
    cases_at, places_at = np.empty(starts[-1], np.int32), np.empty(starts[-1], np.int32)
    for c in range(len(offsets) - 1):
        for i in range(offsets[c], offsets[c + 1]):
            item = items[i]
            if not (first_only and last[item] == c):
                last[item] = c
                cases_at[cursor[item]], places_at[cursor[item]] = c, i
                cursor[item] += 1
    return cases_at, places_at, starts


@njit(cache=True, nogil=True)
def _rows(table: np.ndarray, used: int, needed: int) -> np.ndarray:
    """The table with room for `needed` rows, the first `used` kept."""
    if needed <= len(table):
        return table
    size = len(table)
    while size < needed:
        size *= 2
    larger = np.empty((size, table.shape[1]), table.dtype)
    larger[:used] = table[:used]
    return larger


@njit(cache=True, nogil=True)
def _count_windows(
    log: tuple,
    occ: np.ndarray,
    span: tuple[int, int],
    seen: np.ndarray,
    both: np.ndarray,
    touched: np.ndarray,
) -> int:
    """Add up every item in the windows of the occurrences; returns how many items were touched."""
    items, weights = log[0], log[4]
    n_touched, case, tick, one = 0, -1, seen[-1], np.int64(PLACES)
    for i in range(span[0], span[1]):
        if occ[i, CASE] != case:
            case = occ[i, CASE]
            tick += 1
            one = PLACES + weights[case]
        stop = occ[i, STOP]
        if i + 1 < span[1] and occ[i + 1, CASE] == case:
            stop = min(stop, occ[i + 1, START])  # the next occurrence leads there with a later start
        for p in range(occ[i, START], stop):
            item = items[p]
            if seen[item] != tick:
                seen[item] = tick
                if both[item] == 0:
                    touched[n_touched] = item
                    n_touched += 1
                both[item] += one
            else:
                both[item] += PLACES
    seen[-1] = tick
    return n_touched


@njit(cache=True, nogil=True)
def _project_windows(
    log: tuple, occ: np.ndarray, span: tuple[int, int], slot: np.ndarray, children: np.ndarray
) -> None:
    """Write the occurrences of every kept continuation behind the current ones."""
    items, first, last = log[0], log[1], log[2]
    for i in range(span[0], span[1]):
        case, stop, limit = occ[i, CASE], occ[i, STOP], occ[i, LIMIT]
        if i + 1 < span[1] and occ[i + 1, CASE] == case:
            stop = min(stop, occ[i + 1, START])
        for p in range(occ[i, START], stop):
            child = slot[items[p]]
            if child >= 0 and first[p] < min(last[p], limit):
                to = children[child, TO]
                occ[to, CASE], occ[to, START] = case, first[p]
                occ[to, STOP], occ[to, LIMIT] = min(last[p], limit), limit
                children[child, TO] = to + 1


@njit(cache=True, nogil=True)
def _count_lists(
    lists: tuple, occ: np.ndarray, span: tuple[int, int], both: np.ndarray, touched: np.ndarray
) -> int:
    """Add up every follower of the occurrences; returns how many items were touched."""
    starts, item_at = lists[0], lists[1]
    n_touched = 0
    for i in range(span[0], span[1]):
        one, which = PLACES + np.int64(occ[i, WEIGHT]), occ[i, LIST]
        for k in range(starts[which], starts[which + 1]):
            item = item_at[k]
            if both[item] == 0:
                touched[n_touched] = item
                n_touched += 1
            both[item] += one
    return n_touched


@njit(cache=True, nogil=True)
def _project_lists(
    lists: tuple, occ: np.ndarray, span: tuple[int, int], slot: np.ndarray, children: np.ndarray
) -> None:
    """Write the first occurrence of every kept follower behind the current ones."""
    starts, item_at, list_at = lists[0], lists[1], lists[2]
    nothing = len(starts) - 2
    for i in range(span[0], span[1]):
        for k in range(starts[occ[i, LIST]], starts[occ[i, LIST] + 1]):
            child = slot[item_at[k]]
            if child >= 0 and list_at[k] != nothing:
                to = children[child, TO]
                occ[to, WEIGHT], occ[to, LIST] = occ[i, WEIGHT], list_at[k]
                children[child, TO] = to + 1


@njit(cache=True, nogil=True)
def _project_bits(
    lists: tuple,
    occ: np.ndarray,
    span: tuple[int, int],
    slot: np.ndarray,
    children: np.ndarray,
    kept: np.ndarray,
) -> None:
    """Like `_project_lists`, jumping to the kept items: an item's place in a list is its rank in the bits."""
    starts, list_at, bits = lists[0], lists[2], lists[3]
    nothing = len(starts) - 2
    for i in range(span[0], span[1]):
        which, weight = occ[i, LIST], occ[i, WEIGHT]
        base = starts[which]
        for w in range(bits.shape[1]):
            word = bits[which, w]
            rest = word & kept[w]
            while rest != np.uint64(0):
                low = rest & (~rest + np.uint64(1))
                rest ^= low
                below = low - np.uint64(1)
                then = list_at[base + ones(word & below)]
                if then != nothing:
                    child = slot[64 * w + ones(below)]
                    to = children[child, TO]
                    occ[to, WEIGHT], occ[to, LIST] = weight, then
                    children[child, TO] = to + 1
            base += ones(word)


@njit(cache=True, nogil=True)
def _add_bits(
    bits: np.ndarray, occ: np.ndarray, span: tuple[int, int], planes: np.ndarray, weighted: bool
) -> None:
    """Add 1, or its weight, to the counter of every follower; planes[w, k] hold bit k of 64 counters."""
    for i in range(span[0], span[1]):
        which = occ[i, LIST]
        left, level = np.int64(occ[i, WEIGHT]) if weighted else np.int64(1), 0
        while left > 0:
            if left & 1:
                for w in range(bits.shape[1]):
                    carry, k = bits[which, w], level
                    while carry != np.uint64(0):
                        more = planes[w, k] & carry
                        planes[w, k] ^= carry
                        carry = more
                        k += 1
            left >>= 1
            level += 1


@njit(cache=True, nogil=True)
def _at_least(planes: np.ndarray, w: int, least: int) -> np.uint64:
    """Which of 64 counters are at least `least`."""
    above, equal = np.uint64(0), ~np.uint64(0)
    for k in range(planes.shape[1] - 1, -1, -1):
        if (least >> k) & 1:
            equal &= planes[w, k]
        else:
            above |= equal & planes[w, k]
            equal &= ~planes[w, k]
    return above | equal


@njit(cache=True, nogil=True)
def _read_bits(planes: np.ndarray, w: int, kept: np.uint64, both: np.ndarray, unit: int) -> None:
    """Add unit × counter to both[item] for every kept item; clears the counters."""
    while kept != np.uint64(0):
        low = kept & (~kept + np.uint64(1))
        kept ^= low
        n = np.int64(0)
        for k in range(planes.shape[1]):
            if planes[w, k] & low:
                n += np.int64(1) << k
        both[64 * w + ones(low - np.uint64(1))] += unit * n
    for k in range(planes.shape[1]):
        planes[w, k] = np.uint64(0)


@njit(cache=True, nogil=True)
def _count_bits(
    bits: np.ndarray,
    occ: np.ndarray,
    span: tuple[int, int],
    planes: np.ndarray,
    limits: tuple[int, int],
    both: np.ndarray,
    touched: np.ndarray,
    kept: np.ndarray,
) -> int:
    """Like `_count_lists`, for items with support of at least limits[0] only; marks them in `kept`.

    limits[1] is UNIT, LIGHT or HEAVY weights: light ones stand for the number of places too, which they are
    never below, so that one pass is enough.
    """
    _add_bits(bits, occ, span, planes, limits[1] != UNIT)
    n_touched = 0
    for w in range(bits.shape[1]):
        kept[w] = rest = _at_least(planes, w, limits[0])
        _read_bits(planes, w, rest, both, 1 if limits[1] == HEAVY else 1 + PLACES)
        while rest != np.uint64(0):
            low = rest & (~rest + np.uint64(1))
            rest ^= low
            touched[n_touched] = 64 * w + ones(low - np.uint64(1))
            n_touched += 1
    if limits[1] == HEAVY and n_touched > 0:
        _add_bits(bits, occ, span, planes, False)
        for w in range(bits.shape[1]):
            _read_bits(planes, w, kept[w], both, PLACES)
    return n_touched


@njit(cache=True, nogil=True)
def _add_children(
    children: np.ndarray,
    n_children: int,
    touched: np.ndarray,
    both: np.ndarray,
    slot: np.ndarray,
    rules: tuple[int, int, int],
) -> tuple[int, int]:
    """Put continuations with at least rules[1] cases on the stack; rules: rare item, min_cases, first place.

    Clears the sums. Returns the height of the stack and where the occurrences will end.
    """
    to = rules[2]
    for t in range(len(touched)):
        item = touched[t]
        support = both[item] & (PLACES - 1)
        if support >= rules[1] and item != rules[0]:
            children[n_children, ITEM], children[n_children, SUPPORT] = item, support
            children[n_children, FROM] = children[n_children, TO] = to
            slot[item] = n_children
            to += both[item] >> 32
            n_children += 1
        both[item] = 0
    return n_children, to


@njit(cache=True, nogil=True)
def _next_child(frames: np.ndarray, children: np.ndarray, depth: int, min_cases: int) -> tuple[int, int]:
    """Depth and number of the next continuation to enter; depth -1 when there is none."""
    while depth >= 0:
        while frames[depth, NEXT] < frames[depth, LAST]:
            child = frames[depth, NEXT]
            frames[depth, NEXT] += 1
            if children[child, SUPPORT] >= min_cases:
                return depth, child
        depth -= 1
    return -1, -1


@njit(cache=True, nogil=True)
def _raised(histogram: np.ndarray, kept: int, min_cases: int, top: tuple[int, bool]) -> tuple[int, int]:
    """min_cases raised while there are too many patterns; top: how many, and do ties at the border stay."""
    while top[0] > 0 and kept > top[0]:
        border = histogram[min_cases]
        if top[1] and kept - border < top[0]:
            break
        kept -= border
        min_cases += 1
    return min_cases, kept


@njit(cache=True, nogil=True)
def _expand(
    log: tuple,
    lists: tuple,
    occ: np.ndarray,
    children: np.ndarray,
    frames: np.ndarray,
    depth: int,
    span: tuple[int, int],
    sums: tuple,
    rules: tuple[int, int, int, int],
) -> tuple[np.ndarray, np.ndarray]:
    """Count and project the continuations of the pattern at `depth`; occurrences and children may move.

    sums   both, touched, seen, slot, planes, kept
    rules  rare, min_cases, UNIT, LIGHT or HEAVY weights, way
    """
    both, touched, seen, slot, planes, kept = sums
    rare, min_cases, weighted, way = rules
    n_before, top = frames[depth, FIRST], frames[depth, TOP]
    if way == WINDOWS:
        n = _count_windows(log, occ, span, seen, both, touched)
    elif way == LISTS:
        n = _count_lists(lists, occ, span, both, touched)
    else:
        n = _count_bits(lists[3], occ, span, planes, (min_cases, weighted), both, touched, kept)
    children = _rows(children, n_before, n_before + n)
    n_after, to = _add_children(children, n_before, touched[:n], both, slot, (rare, min_cases, top))
    occ = _rows(occ, top, to)
    if n_after > n_before:
        if way == WINDOWS:
            _project_windows(log, occ, span, slot, children)
        elif way == LISTS:
            _project_lists(lists, occ, span, slot, children)
        else:
            _project_bits(lists, occ, span, slot, children, kept)
        for k in range(n_before, n_after):
            slot[children[k, ITEM]] = -1
    frames[depth + 1, FIRST], frames[depth + 1, TOP] = n_after, to
    frames[depth, LAST] = n_after
    return occ, children


@njit(cache=True, nogil=True)
def _root(log: tuple, lists: tuple, rooted: tuple, root: int, occ: np.ndarray, way: int) -> tuple[int, int]:
    """The occurrences of a single item; returns where they lie."""
    n, nothing = 0, len(lists[0]) - 2
    for i in range(rooted[2][root], rooted[2][root + 1]):
        case, place = rooted[0][i], rooted[1][i]
        if way == WINDOWS:
            stop = min(log[2][place], log[3][place])
            occ[n, CASE], occ[n, START], occ[n, STOP], occ[n, LIMIT] = (
                case,
                log[1][place],
                stop,
                log[3][place],
            )
            n += log[1][place] < stop
        else:
            occ[n, WEIGHT], occ[n, LIST] = log[4][case], lists[4][place]
            n += lists[4][place] != nothing
    return 0, n


@njit(cache=True, nogil=True)
def mine(
    log: tuple,
    lists: tuple,
    rooted: tuple,
    roots: np.ndarray,
    limits: tuple[int, int, int, int],
    top: tuple[int, bool],
    way: int,
) -> tuple[np.ndarray, np.ndarray, np.ndarray, int]:
    """Every pattern that starts with one of `roots` and at least `min_cases` traces hold.

    log     items run from 0 to rare; the number `rare` stands for all infrequent items together and is part
            of no pattern: it only keeps places, so that gaps stay what they are
    rooted  cases_at, places_at, starts from `places_of_items`, and the support of every item
    limits  rare, min_cases, max_length, least length that counts for `top`
    top     how many patterns are wanted (0: all) and whether those as good as the last of them stay: when
            more turn up, min_cases is raised
    way     WINDOWS, LISTS or BITS
    Returns the patterns' items flat, their offsets, their support and the min_cases that was reached; the
    caller drops patterns found before it was raised.
    """
    rare, min_cases, max_length, counted = limits
    total = log[4].sum()
    weighted = UNIT if log[4].max() == 1 else LIGHT if total < 2 * len(log[4]) else HEAVY
    found, n_items = np.empty(1 << 12, np.int32), 0
    supports, ends, n_found = np.empty(1 << 10, np.int64), np.zeros(1 << 10, np.int64), 0
    histogram, kept = np.zeros(total + 2, np.int64), 0
    occ = np.empty((1 << 14, 4 if way == WINDOWS else 2), np.int32)
    children = np.empty((1 << 10, 4), np.int64)
    frames, path = np.zeros((max_length + 1, 4), np.int64), np.zeros(max_length + 1, np.int32)
    words = lists[3].shape[1]
    planes, kept_bits = np.zeros((words, int(np.log2(total + 1)) + 2), np.uint64), np.zeros(words, np.uint64)
    both, touched = np.zeros(rare + 65, np.int64), np.empty(rare + 65, np.int32)
    sums = (both, touched, np.zeros(rare + 2, np.int64), np.full(rare + 65, -1, np.int64), planes, kept_bits)
    for root in roots:
        if rooted[3][root] < min_cases:
            continue
        occ = _rows(occ, 0, rooted[2][root + 1] - rooted[2][root])
        span = _root(log, lists, rooted, root, occ, way)
        depth, path[0], now = 0, root, rooted[3][root]
        frames[0, FIRST], frames[0, TOP] = 0, span[1]
        while depth >= 0:
            if n_items + depth + 1 > len(found):
                found = grown(found, n_items, n_items + depth + 1)
            if n_found + 2 > len(supports):
                supports, ends = grown(supports, n_found, n_found + 2), grown(ends, n_found + 1, n_found + 2)
            for k in range(depth + 1):
                found[n_items + k] = path[k]
            n_items += depth + 1
            supports[n_found], ends[n_found + 1] = now, n_items
            n_found += 1
            if depth + 1 >= counted:
                histogram[now] += 1
                min_cases, kept = _raised(histogram, kept + 1, min_cases, top)
            frames[depth, NEXT] = frames[depth, LAST] = frames[depth, FIRST]
            if depth + 1 < max_length:
                rules = (rare, min_cases, weighted, way)
                occ, children = _expand(log, lists, occ, children, frames, depth, span, sums, rules)
            depth, child = _next_child(frames, children, depth, min_cases)
            if depth >= 0:
                now, span = children[child, SUPPORT], (children[child, FROM], children[child, TO])
                depth += 1
                path[depth] = children[child, ITEM]
    return found[:n_items], ends[: n_found + 1], supports[:n_found], min_cases
