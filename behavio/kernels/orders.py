"""What comes before what anywhere in a case, repeats, positions, funnels: one pass over flat traces each."""

from __future__ import annotations

import numpy as np

from behavio.kernels.ready import njit


@njit(cache=True, nogil=True)
def sum_pairs(
    codes: np.ndarray, offsets: np.ndarray, times: np.ndarray, size: int
) -> tuple[np.ndarray, np.ndarray]:
    """All pairs of an event and any later one of its case: how often, in how many cases, how far apart.

    codes  int32 (n_events,), 0 … size − 1, −1 for an activity not looked at
    Returns, row b * size + a for a before b:
    cases  int64 (size * size,)
    sums   float64 (size * size, 4)  shift, pairs, sum of (µs apart − shift), sum of its squares

    No pair is looked at one by one: what came earlier is kept per activity as number, mean and squares
    around the mean (Welford 1962). The shift is the first distance seen, so it lies among the values, and
    the squares around the mean lose at most a factor of the number of pairs in precision, never everything.
    A pair is new in a case only for activities first met since this one was last seen (`met`): the cases
    need no look at the others.
    """
    cases = np.zeros(size * size, np.int64)
    sums = np.zeros((size * size, 4))
    earlier = np.zeros((size, 4))  # number, mean time and squares of each activity seen in this case
    seen, met = np.empty(size, np.uint64), np.zeros(size, np.uint64)
    size_, zero, one = np.uint64(size), np.uint64(0), np.uint64(1)
    for c in range(len(offsets) - 1):
        n_seen = zero
        first, end = np.uint64(offsets[c]), np.uint64(offsets[c + 1])
        for i in range(first, end):
            if codes[i] < 0:
                continue
            now, time = np.uint64(codes[i]), np.float64(times[i] - times[first])
            row = now * size_
            for k in range(met[now], n_seen):
                pair = row + seen[k]
                if cases[pair] == 0:
                    sums[pair, 0] = np.rint(time - earlier[seen[k], 1])
                cases[pair] += 1
            for k in range(n_seen):
                before, pair = seen[k], row + seen[k]
                n, far = earlier[before, 0], time - earlier[before, 1] - sums[pair, 0]
                part = n * far
                sums[pair, 1] += n
                sums[pair, 2] += part
                sums[pair, 3] += earlier[before, 2] + part * far
            met[now] = n_seen
            if earlier[now, 0] == 0.0:
                seen[n_seen] = now
                n_seen += one
            earlier[now, 0] += 1.0
            off = time - earlier[now, 1]
            earlier[now, 1] += off / earlier[now, 0]
            earlier[now, 2] += off * (time - earlier[now, 1])
        for k in range(n_seen):
            earlier[seen[k]] = 0.0
            met[seen[k]] = zero
    return cases, sums


@njit(cache=True, nogil=True)
def count_repeats(tokens: np.ndarray, offsets: np.ndarray, size: int) -> np.ndarray:
    """Repeats per activity a, int64 (size, 8).

    frequency, cases, cases with a more than once, a right after a, cases with that, a after exactly one
    other activity (a b a), cases with that; the last column is scratch
    """
    found = np.zeros((size, 8), np.int64)
    stamps = np.full((size, 4), -1, np.int64)
    for c in range(len(offsets) - 1):
        first, end = offsets[c], offsets[c + 1]
        for i in range(first, end):
            a = tokens[i]
            found[a, 0] += 1
            found[a, 1] += stamps[a, 0] != c
            again = stamps[a, 0] == c
            found[a, 2] += again and stamps[a, 1] != c
            stamps[a, 0] = c
            if not again:
                continue
            stamps[a, 1] = c
            if tokens[i - 1] == a:
                found[a, 3] += 1
                found[a, 4] += stamps[a, 2] != c
                stamps[a, 2] = c
            elif i - first >= 2 and tokens[i - 2] == a:
                found[a, 5] += 1
                found[a, 6] += stamps[a, 3] != c
                stamps[a, 3] = c
    return found


@njit(cache=True, nogil=True)
def count_positions(tokens: np.ndarray, offsets: np.ndarray, size: int, n_steps: int) -> np.ndarray:
    """int64 (n_steps, size): in how many cases the event at each position, from the first on, is of what."""
    found = np.zeros((n_steps, size), np.int64)
    for c in range(len(offsets) - 1):
        first = offsets[c]
        for k in range(min(np.int64(n_steps), offsets[c + 1] - first)):
            found[k, tokens[first + k]] += 1
    return found


@njit(cache=True, nogil=True)
def follow_funnel(
    tokens: np.ndarray, offsets: np.ndarray, times: np.ndarray, member: np.ndarray, within: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """How far each case gets through ordered steps, other events in between allowed.

    member  bool (n_steps, n_activities): which activities count as which step
    within  µs from the first step to the one reached at most; −1: no limit
    Returns, int64
    started  (n_cases,)  time of the latest first step, −1 where there is none (times are never negative
             where it is compared); waits, totals (n_cases, n_steps): µs from the step before, and from the
             first step, when a step was reached for the first time; −1: not reached

    A case may begin anew any time. Kept for each step is the way there that began last: whatever a way that
    began earlier can still reach in time, that one can.
    """
    n_steps, n_cases = len(member), len(offsets) - 1
    waits = np.full((n_cases, n_steps), -1, np.int64)
    totals = np.full((n_cases, n_steps), -1, np.int64)
    latest = np.full(n_cases, -1, np.int64)
    begun, at = np.zeros(n_steps, np.int64), np.zeros(n_steps, np.int64)
    known = np.zeros(n_steps, np.bool_)
    used = np.zeros(member.shape[1], np.bool_)
    for k in range(n_steps):
        used |= member[k]
    for c in range(n_cases):
        known[:] = False
        for i in range(offsets[c], offsets[c + 1]):
            token, time = tokens[i], times[i]
            if not used[token]:
                continue
            for k in range(n_steps - 1, 0, -1):  # later steps first: one event is one step only
                if not (member[k, token] and known[k - 1]):
                    continue
                if within >= 0 and time - begun[k - 1] > within:
                    continue
                if not known[k] or begun[k - 1] > begun[k]:
                    begun[k], at[k], known[k] = begun[k - 1], time, True
                    if totals[c, k] < 0:
                        waits[c, k], totals[c, k] = time - at[k - 1], time - begun[k]
            if member[0, token]:
                begun[0], at[0], known[0] = time, time, True
                latest[c] = time
                waits[c, 0], totals[c, 0] = 0, 0
    return latest, waits, totals


@njit(cache=True, nogil=True)
def neighbours_without(
    codes: np.ndarray, offsets: np.ndarray, size: int, without: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Which activity comes right after which without the events of one, and which come first and last.

    bool (size, size), (size,), (size,)
    """
    edges = np.zeros((size, size), np.bool_)
    starts, ends = np.zeros(size, np.bool_), np.zeros(size, np.bool_)
    for c in range(len(offsets) - 1):
        before = np.int64(-1)
        for i in range(offsets[c], offsets[c + 1]):
            now = codes[i]
            if now == without:
                continue
            if before < 0:
                starts[now] = True
            else:
                edges[before, now] = True
            before = now
        if before >= 0:
            ends[before] = True
    return edges, starts, ends
