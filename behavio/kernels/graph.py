"""Which activity comes right after which: one pass over flat traces.

A step is the pair of an event and the one before it in its case. Every kernel numbers it as
`codes[i - 1] * stride + codes[i]`: with the activities as codes and their number as stride that is the edge,
looked up in a square table; with edge numbers as codes and stride 0 it is the edge again, so 50,000
activities cost no 50,000 × 50,000 table; with the activities as codes and stride 0 it is the activity waited
for.

Indices are unsigned in the inner loops: numba then need not ask whether they count from the end, which is a
third of the time.
"""

from __future__ import annotations

import numpy as np

from behavio.kernels.arrays import grown, select
from behavio.kernels.ready import njit

MANTISSA = 5
"""A bucket of waiting times is 2**-5 of its lower end wide: about 3 %."""
_SHIFT = 52 - MANTISSA
_FIRST = 1_023 << MANTISSA
N_BUCKETS = 63 * 2**MANTISSA + 2
"""Enough for every int64."""


@njit(cache=True, nogil=True)
def _slot(table: np.ndarray, keys: np.ndarray, key: np.int64) -> np.int64:
    """Where `key` stands in an open-addressing table of edge numbers, or the free place for it."""
    mixed = np.uint64(key) * np.uint64(0x9E3779B97F4A7C15)
    mask = np.int64(len(table) - 1)
    place = np.int64(mixed >> np.uint64(20)) & mask
    while table[place] >= 0 and keys[table[place]] != key:
        place = (place + 1) & mask
    return place


@njit(cache=True, nogil=True)
def edges_by_hash(tokens: np.ndarray, offsets: np.ndarray, size: int) -> tuple[np.ndarray, np.ndarray]:
    """Edge number of each event, int32 (n_events,), 0 where a trace starts; and each edge's key.

    Numbers are in order of appearance; a key is source * size + target. Memory grows with the edges there
    are: for many activities.
    """
    table = np.full(4096, -1, np.int32)
    keys = np.empty(2048, np.int64)
    numbers = np.zeros(len(tokens), np.int32)
    n_edges = 0
    for c in range(len(offsets) - 1):
        before = np.int64(tokens[offsets[c]])
        for i in range(offsets[c] + 1, offsets[c + 1]):
            now = np.int64(tokens[i])
            key = before * size + now
            place = _slot(table, keys, key)
            if table[place] < 0:
                if n_edges == len(keys):
                    keys = grown(keys, n_edges, n_edges + 1)
                    table = np.full(4 * n_edges, -1, np.int32)
                    for e in range(n_edges):
                        table[_slot(table, keys, keys[e])] = np.int32(e)
                    place = _slot(table, keys, key)
                table[place] = np.int32(n_edges)
                keys[n_edges] = key
                n_edges += 1
            numbers[i] = table[place]
            before = now
    return numbers, keys[:n_edges]


@njit(cache=True, nogil=True)
def sum_steps(
    codes: np.ndarray,
    stride: int,
    tokens: np.ndarray,
    offsets: np.ndarray,
    times: np.ndarray,
    open_: np.ndarray,
    sizes: tuple[int, int],
) -> tuple[np.ndarray, np.ndarray, float]:
    """Everything that is a sum, in one pass.

    open_ bool (n_cases,): the case goes on; sizes: number of steps there may be, number of activities
    Returns
    steps       int64 (n_steps, 4)       frequency, (scratch), cases, sum of the waiting times in µs
    activities  int64 (n_activities, 8)  cases, (scratch), cases that come back to it, starts, last seen, ends
    and the sum of all waiting times: above 2**62 those of a step may have overflowed.
    """
    steps = np.zeros((sizes[0], 4), np.int64)
    activities = np.zeros((sizes[1], 8), np.int64)
    stride_, total = np.uint64(stride), 0.0
    for c in range(len(offsets) - 1):
        first, end = np.uint64(offsets[c]), np.uint64(offsets[c + 1])
        stamp = 2 * c + 2  # this case; odd: an activity seen more than once in it
        before, since = np.uint64(codes[first]), times[first]
        token = np.uint64(tokens[first])
        activities[token, 0] += 1
        activities[token, 1] = stamp
        activities[token, 3] += 1
        for i in range(first + np.uint64(1), end):
            now, time, token = np.uint64(codes[i]), times[i], np.uint64(tokens[i])
            step = before * stride_ + now
            steps[step, 0] += 1
            steps[step, 2] += steps[step, 1] != stamp
            steps[step, 1] = stamp
            steps[step, 3] += time - since
            seen = activities[token, 1]
            activities[token, 0] += seen < stamp
            activities[token, 2] += seen == stamp
            activities[token, 1] = stamp + (seen >= stamp)
            before, since = now, time
        total += since - times[first]
        activities[token, 4] += 1
        activities[token, 5] += not open_[c]
    return steps, activities, total


@njit(cache=True, nogil=True)
def _add_sets(activities: np.ndarray, once: np.uint64, again: np.uint64, times: np.int64) -> None:
    """Add `times` cases that met the activities of one bit set, those of another more than once."""
    one = np.uint64(1)
    for k in range(len(activities)):
        activities[k, 0] += np.int64((once >> np.uint64(k)) & one) * times
        activities[k, 2] += np.int64((again >> np.uint64(k)) & one) * times


@njit(cache=True, nogil=True)
def sum_steps_of_few(
    tokens: np.ndarray,
    stride: int,
    offsets: np.ndarray,
    times: np.ndarray,
    open_: np.ndarray,
    sizes: tuple[int, int],
) -> tuple[np.ndarray, np.ndarray, float]:
    """`sum_steps` where codes are the activities and these at most 64, so that they fit a bit set: faster.

    Cases of the same two sets are many, so they are counted together (a small table, older ones give way)
    and taken apart once. Tables of their own for each number: they are written independently.
    """
    sums, cases = np.zeros((sizes[0], 2), np.int64), np.zeros(sizes[0], np.int32)
    stamps = np.zeros(sizes[0], np.int32)
    activities = np.zeros((sizes[1], 8), np.int64)
    sets, n_sets = np.zeros((512, 2), np.uint64), np.zeros(512, np.int64)
    stride_, one, total = np.uint64(stride), np.uint64(1), 0.0
    for c in range(len(offsets) - 1):
        first, end = np.uint64(offsets[c]), np.uint64(offsets[c + 1])
        stamp = np.int32(c + 1)
        before, since, again = np.uint64(tokens[first]), times[first], np.uint64(0)
        activities[before, 3] += 1
        once = one << before
        for i in range(first + one, end):
            now, time = np.uint64(tokens[i]), times[i]
            step = before * stride_ + now
            cases[step] += np.int32(stamps[step] != stamp)
            stamps[step] = stamp
            sums[step, 0] += 1
            sums[step, 1] += time - since
            again |= once & (one << now)
            once |= one << now
            before, since = now, time
        total += since - times[first]
        activities[before, 4] += 1
        activities[before, 5] += not open_[c]
        place = ((once + again * np.uint64(31)) * np.uint64(0x9E3779B97F4A7C15)) >> np.uint64(55)
        if sets[place, 0] != once or sets[place, 1] != again:
            _add_sets(activities, sets[place, 0], sets[place, 1], n_sets[place])
            sets[place, 0], sets[place, 1] = once, again
            n_sets[place] = 0
        n_sets[place] += 1
    for s in range(len(sets)):
        _add_sets(activities, sets[s, 0], sets[s, 1], n_sets[s])
    steps = np.zeros((sizes[0], 4), np.int64)
    steps[:, 0], steps[:, 2], steps[:, 3] = sums[:, 0], cases, sums[:, 1]
    return steps, activities, total


@njit(cache=True, nogil=True)
def spread_steps(
    codes: np.ndarray,
    stride: int,
    offsets: np.ndarray,
    times: np.ndarray,
    row: np.ndarray,
    mean: np.ndarray,
    n_heavy: int,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Least and largest waiting time, squares around the mean, and a histogram of frequent steps.

    row   int32, of each step that occurs; rows below n_heavy get a histogram
    mean  float64 (n_rows,), µs
    Returns extremes int64 (n_rows, 2), squares float64 (n_rows,), histogram int32 (n_heavy, N_BUCKETS).
    """
    extremes = np.empty((len(mean), 2), np.int64)
    extremes[:, 0], extremes[:, 1] = np.iinfo(np.int64).max, -1
    squares = np.zeros(len(mean))
    histogram = np.zeros((n_heavy, N_BUCKETS), np.int32)
    number = np.zeros(1)  # the bits of a float64 are its bucket: exponent, then leading digits
    bits = number.view(np.int64)
    stride_ = np.uint64(stride)
    for c in range(len(offsets) - 1):
        first, end = np.uint64(offsets[c]), np.uint64(offsets[c + 1])
        before, since = np.uint64(codes[first]), times[first]
        for i in range(first + np.uint64(1), end):
            now, time = np.uint64(codes[i]), times[i]
            r, wait = np.uint64(row[before * stride_ + now]), time - since
            before, since = now, time
            extremes[r, 0] = min(extremes[r, 0], wait)
            extremes[r, 1] = max(extremes[r, 1], wait)
            far = wait - mean[r]
            squares[r] += far * far
            if r < n_heavy:
                number[0] = wait
                histogram[r, np.uint64(max((bits[0] >> _SHIFT) - _FIRST + 1, 0))] += 1
    return extremes, squares, histogram


@njit(cache=True, nogil=True)
def gather_steps(
    codes: np.ndarray,
    stride: int,
    offsets: np.ndarray,
    times: np.ndarray,
    row: np.ndarray,
    wanted: np.ndarray,
    groups: np.ndarray,
) -> tuple[np.ndarray, np.ndarray]:
    """Waiting times of the wanted buckets of frequent steps, and all of the others, with their group.

    wanted  int32 (n_heavy, N_BUCKETS)  group, −1: not wanted
    groups  int32 (n_rows,)             group of a row from n_heavy on
    Returns the groups (int32) and the waiting times (int64, µs) in log order.
    """
    group, value = np.empty(1024, np.int32), np.empty(1024, np.int64)
    number = np.zeros(1)
    bits = number.view(np.int64)
    stride_, n_heavy, n = np.uint64(stride), np.uint64(len(wanted)), 0
    for c in range(len(offsets) - 1):
        first, end = np.uint64(offsets[c]), np.uint64(offsets[c + 1])
        room = n + np.int64(end - first)
        if room > len(group):
            group, value = grown(group, int(n), int(room)), grown(value, int(n), int(room))
        before, since = np.uint64(codes[first]), times[first]
        for i in range(first + np.uint64(1), end):
            now, time = np.uint64(codes[i]), times[i]
            r, wait = np.uint64(row[before * stride_ + now]), time - since
            before, since = now, time
            g = groups[r]
            if r < n_heavy:
                number[0] = wait
                g = wanted[r, np.uint64(max((bits[0] >> _SHIFT) - _FIRST + 1, 0))]
            group[n], value[n] = g, wait
            n += g >= 0
    return group[:n], value[:n]


@njit(cache=True, nogil=True)
def by_group(group: np.ndarray, values: np.ndarray, n_groups: int) -> tuple[np.ndarray, np.ndarray]:
    """The values sorted by group, in order within one (counting sort), and the groups' offsets."""
    ends = np.zeros(n_groups + 1, np.int64)
    for i in range(len(group)):
        ends[group[i] + 1] += 1
    for g in range(n_groups):
        ends[g + 1] += ends[g]
    cursor = ends[:-1].copy()
    out = np.empty(len(values), values.dtype)
    for i in range(len(group)):
        out[cursor[group[i]]] = values[i]
        cursor[group[i]] += 1
    return out, ends


@njit(cache=True, nogil=True)
def order_statistics(
    values: np.ndarray, offsets: np.ndarray, group: np.ndarray, rank: np.ndarray
) -> np.ndarray:
    """The rank-th smallest (from 0) of values[offsets[group]:offsets[group + 1]], int64, one per question.

    values is reordered within groups; questions about one group stand together, ranks rising.
    """
    answer = np.empty(len(group), np.int64)
    start = np.int64(0)
    for q in range(len(group)):
        first, last = offsets[group[q]], offsets[group[q] + 1]
        start = start if q > 0 and group[q] == group[q - 1] else first
        select(values, int(start), last, first + rank[q])
        answer[q] = values[first + rank[q]]
        start = first + rank[q]
    return answer
