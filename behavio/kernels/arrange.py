"""From the order of reading to the order of cases, range by range: counting, placing, mending times."""

from __future__ import annotations

import numpy as np

from behavio.kernels.arrays import grown
from behavio.kernels.clock import MISSING
from behavio.kernels.raw import signed
from behavio.kernels.ready import njit, ready


@ready
def tally(
    cases: np.ndarray,
    tokens: np.ndarray,
    times: np.ndarray,
    rank: np.ndarray,
    known: np.ndarray,
    per_case: np.ndarray,
    per_token: np.ndarray,
) -> tuple[int, int]:
    """Turn case codes into ranks, -1 for an event that does not stay, and count those that do.

    rank      int32 per raw case code, -1 for one that is no case
    known     bool per raw token
    per_case, per_token   int64, added to: events per rank, and per raw token
    Returns the first and the last time of an event that stays.
    """
    low, high = signed(2**63 - 1), signed(-(2**63))
    for i in range(len(cases)):
        case, token = cases[i], tokens[i]
        cases[i] = -1
        if case >= 0 and token >= 0 and times[i] != MISSING and known[token]:
            r = rank[case]
            cases[i] = r
            if r >= 0:
                per_case[r] += 1
                per_token[token] += 1
                low = min(low, times[i])
                high = max(high, times[i])
    return low, high


@ready
def mark(cases: np.ndarray, codes: np.ndarray, seen: np.ndarray) -> None:
    """Set seen[code] for every code of an event that stays."""
    for i in range(len(cases)):
        if cases[i] >= 0 and codes[i] >= 0:
            seen[codes[i]] = True


@ready
def places(ranks: np.ndarray, low: int, high: int, cursor: np.ndarray, first: int, out: np.ndarray) -> int:
    """Where each event goes in the range of ranks low … high - 1, -1 for events of other ranges.

    cursor int64 (n_ranks,): next free place of each case in the whole log, moved on; `first` is subtracted.
    Returns how many events lie in the range.
    """
    n = 0
    for i in range(len(ranks)):
        r = ranks[i]
        if low <= r < high:
            out[i] = cursor[r] - first
            cursor[r] += 1
            n += 1
        else:
            out[i] = -1
    return n


@ready
def put_codes(codes: np.ndarray, ids: np.ndarray, where: np.ndarray, out: np.ndarray) -> None:
    """out[where[i]] = ids[codes[i]], 0 for a code below zero; nothing where `where` is -1."""
    for i in range(len(codes)):
        if where[i] >= 0:
            out[where[i]] = ids[codes[i]] if codes[i] >= 0 else 0


@ready
def put(values: np.ndarray, where: np.ndarray, out: np.ndarray) -> None:
    """out[where[i]] = values[i]; nothing where `where` is -1."""
    for i in range(len(values)):
        if where[i] >= 0:
            out[where[i]] = values[i]


@ready
def falling(times: np.ndarray, offsets: np.ndarray) -> bool:
    """Whether the times of any case fall."""
    for c in range(len(offsets) - 1):
        for i in range(offsets[c] + 1, offsets[c + 1]):
            if times[i] < times[i - 1]:
                return True
    return False


@njit(cache=True, nogil=True)
def mend(times: np.ndarray, offsets: np.ndarray, order: np.ndarray) -> int:
    """Put the times of each case in rising order, equal ones as they stood; returns the cases changed.

    order int64 (n_events,): filled with where each event stood, whole only when a case changed.
    A falling case is sorted by insertion when short, by merging when long.
    """
    changed = 0
    for c in range(len(offsets) - 1):
        first, last = offsets[c], offsets[c + 1]
        falls = False
        for i in range(first + 1, last):
            if times[i] < times[i - 1]:
                falls = True
                break
        if not falls:
            continue
        if changed == 0:
            for i in range(len(order)):
                order[i] = i
        changed += 1
        if last - first > 64:
            moved = np.argsort(times[first:last], kind="mergesort")
            sorted_times = times[first:last][moved]
            for i in range(first, last):
                order[i] = first + moved[i - first]
                times[i] = sorted_times[i - first]
            continue
        for i in range(first + 1, last):
            time, place, at = times[i], order[i], i
            while at > first and times[at - 1] > time:
                times[at] = times[at - 1]
                order[at] = order[at - 1]
                at -= 1
            times[at] = time
            order[at] = place
    return changed


@njit(cache=True, nogil=True)
def _alike(tokens: np.ndarray, fields: np.ndarray, i: int, j: int) -> bool:
    if tokens[i] != tokens[j]:
        return False
    for k in range(len(fields)):  # noqa: SIM110 – numba compiles loops, not generators
        if fields[k, i] != fields[k, j]:
            return False
    return True


@ready
def repeats(
    tokens: np.ndarray, times: np.ndarray, offsets: np.ndarray, fields: np.ndarray, long: np.ndarray
) -> tuple[int, int]:
    """Events equal to an earlier one of their case in time, token and every row of fields (k, n_events).

    Only ties of up to eight equal times are looked through. Returns how many repeats there are in those, and
    how many ties are longer; their beginnings are written to long int64 while there is room.
    """
    found, n_long = signed(0), signed(0)
    for c in range(len(offsets) - 1):
        first, end = offsets[c], offsets[c + 1]
        while first < end:
            last = first + 1
            while last < end and times[last] == times[first]:
                last += 1
            if last - first > 8:
                if n_long < len(long):
                    long[n_long] = first
                n_long += 1
            elif last - first > 1:
                for i in range(first + 1, last):
                    for j in range(first, i):
                        if _alike(tokens, fields, i, j):
                            found += 1
                            break
            first = last
    return found, n_long


@njit(cache=True, nogil=True)
def repeats_of(tokens: np.ndarray, fields: np.ndarray, first: int, last: int) -> int:
    """Events from first to last - 1 equal to an earlier one: brought together by a hash, then compared."""
    found = 0
    keys = np.empty(last - first, np.uint64)
    for i in range(first, last):
        key = np.uint64(tokens[i])
        for k in range(len(fields)):
            key = key * np.uint64(0x9E3779B97F4A7C15) + np.uint64(fields[k, i])
        keys[i - first] = key
    order = np.argsort(keys, kind="mergesort")
    for a in range(1, len(order)):
        b = a - 1
        while b >= 0 and keys[order[b]] == keys[order[a]]:
            if _alike(tokens, fields, first + order[a], first + order[b]):
                found += 1
                break
            b -= 1
    return found


@njit(cache=True, nogil=True)
def unsound(
    cases: np.ndarray, tokens: np.ndarray, times: np.ndarray, bad_case: np.ndarray, bad_token: np.ndarray
) -> np.ndarray:
    """Rows (int64) without a case, an activity or a time, or whose text is marked bad."""
    found = np.empty(16, np.int64)
    n = 0
    for i in range(len(cases)):
        case, token = cases[i], tokens[i]
        if case < 0 or token < 0 or times[i] == MISSING or bad_case[case] or bad_token[token]:
            if n == len(found):
                found = grown(found, n, n + 1)
            found[n] = i
            n += 1
    return found[:n].copy()


@ready
def outside(
    cases: np.ndarray, times: np.ndarray, bad_case: np.ndarray, early: int, late: int
) -> tuple[int, int, int, int]:
    """Events of sound cases before `early` and after `late`: how many; and the first and last time."""
    n_early, n_late, first, last = 0, 0, late, early
    for i in range(len(cases)):
        time = times[i]
        if time == MISSING or cases[i] < 0 or bad_case[cases[i]]:
            continue
        n_early += time < early
        n_late += time > late
        first = min(first, time)
        last = max(last, time)
    return n_early, n_late, first, last
