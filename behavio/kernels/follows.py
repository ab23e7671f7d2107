"""What follows what, and after how long, summed per group of cases in one pass; distances of traces."""

from __future__ import annotations

import numpy as np

from behavio.kernels.ready import njit


@njit(cache=True, nogil=True)
def _count_case(
    codes: np.ndarray,
    times: np.ndarray,
    first: int,
    last: int,
    floor_s: float,
    n_left: np.ndarray,
    n_after: np.ndarray,
    n_until: np.ndarray,
    wait: np.ndarray,
) -> None:
    """One case's own counts, into arrays that are reset here: what `pair_sums` adds up."""
    n_left[:] = 0.0
    n_after[:] = 0.0
    n_until[:] = 0.0
    wait[:] = 0.0
    n_codes = len(n_left)
    since = np.zeros(n_codes, np.int64)
    open_ = np.zeros((n_codes, n_codes), np.bool_)
    for place in range(first, last):
        b = codes[place]
        if b < 0:
            continue
        for a in range(n_codes):
            if open_[a, b]:
                open_[a, b] = False
                n_until[a, b] += 1.0
                seconds = np.log(max((times[place] - since[a]) / 1e6, floor_s))
                wait[a, b, 0] += seconds
                wait[a, b, 1] += seconds * seconds
        if place + 1 < last:
            n_left[b] += 1.0
            since[b] = times[place]
            open_[b, :] = True
            open_[b, b] = False
            if codes[place + 1] >= 0:
                n_after[b, codes[place + 1]] += 1.0


@njit(cache=True, nogil=True)
def _add_pair(
    after: np.ndarray,
    until: np.ndarray,
    waits: np.ndarray,
    n_a: float,
    n_after: float,
    n_until: float,
    total: float,
    squares: float,
) -> None:
    """Add one case's weighted counts of one pair to the sums of its group."""
    after[0] += n_after
    after[1] += n_after * n_after
    after[2] += n_after * n_a
    until[0] += n_until
    until[1] += n_until * n_until
    until[2] += n_until * n_a
    waits[0] += n_until
    waits[1] += n_until * n_until
    waits[2] += total
    waits[3] += total * total
    waits[4] += n_until * total
    waits[5] += squares
    waits[6] += n_until > 0.0


@njit(cache=True, nogil=True)
def pair_sums(
    codes: np.ndarray,
    offsets: np.ndarray,
    times: np.ndarray,
    group: np.ndarray,
    weight: np.ndarray,
    floor_s: float,
    n_groups: int,
    n_codes: int,
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Sums over cases that estimate ratios and their errors (cases, not events, are independent).

    codes int64 (n_events,) 0 … n_codes − 1, or −1 for an activity not looked at; times int64 µs
    group int64 (n_cases,) or −1; weight float64 (n_cases,) of one event of the case
    floor_s: shorter waits count as this long

    Gives, a before b, sums over the cases of a group:
    left    (n_groups, a, 3)     n_a = events a that are not the last; n, n², cases that have any
    after   (n_groups, a, b, 3)  events a with b as the very next event; n, n², n·n_a
    until   (n_groups, a, b, 3)  events a with b before the next a; n, n², n·n_a
    waits   (n_groups, a, b, 7)  log seconds from a to that b: n, n², sum, sum², n·sum, squares, cases
    """
    left = np.zeros((n_groups, n_codes, 3))
    after, until = np.zeros((2, n_groups, n_codes, n_codes, 3))
    waits = np.zeros((n_groups, n_codes, n_codes, 7))
    n_left = np.zeros(n_codes)
    n_after, n_until = np.zeros((2, n_codes, n_codes))
    wait = np.zeros((n_codes, n_codes, 2))
    for case in range(len(offsets) - 1):
        g, w = group[case], weight[case]
        if g < 0:
            continue
        _count_case(codes, times, offsets[case], offsets[case + 1], floor_s, n_left, n_after, n_until, wait)
        for a in range(n_codes):
            n_a = w * n_left[a]
            if n_a == 0.0:
                continue
            left[g, a, 0] += n_a
            left[g, a, 1] += n_a * n_a
            left[g, a, 2] += 1.0
            for b in range(n_codes):
                _add_pair(
                    after[g, a, b],
                    until[g, a, b],
                    waits[g, a, b],
                    n_a,
                    w * n_after[a, b],
                    w * n_until[a, b],
                    w * wait[a, b, 0],
                    w * wait[a, b, 1],
                )
    return left, after, until, waits


@njit(cache=True, nogil=True)
def waits_of(
    codes: np.ndarray, offsets: np.ndarray, times: np.ndarray, a: int, b: int
) -> tuple[np.ndarray, np.ndarray]:
    """Case int64 and seconds float64 of every event a that is followed by b before the next a."""
    case_of = np.empty(len(codes), np.int64)
    seconds = np.empty(len(codes))
    n = 0
    for case in range(len(offsets) - 1):
        since = -1
        for place in range(offsets[case], offsets[case + 1]):
            if codes[place] == b and since >= 0 and a != b:
                case_of[n] = case
                seconds[n] = (times[place] - times[since]) / 1e6
                n += 1
                since = -1
            if codes[place] == a:
                since = place
    return case_of[:n], seconds[:n]


@njit(cache=True, nogil=True)
def edit_distances(tokens: np.ndarray, offsets: np.ndarray, longest: int) -> np.ndarray:
    """float64 (n, n): edits that turn one trace into another, over the longer one's length.

    Only the first `longest` events of each trace are compared. Levenshtein (1966).
    """
    n = len(offsets) - 1
    far = np.zeros((n, n))
    above = np.zeros(longest + 1, np.int64)
    for i in range(n):
        x = tokens[offsets[i] : min(offsets[i + 1], offsets[i] + longest)]
        for j in range(i):
            y = tokens[offsets[j] : min(offsets[j + 1], offsets[j] + longest)]
            for v in range(len(y) + 1):
                above[v] = v
            for u in range(len(x)):
                corner, above[0] = above[0], u + 1
                for v in range(len(y)):
                    change = corner + (x[u] != y[v])
                    corner = above[v + 1]
                    above[v + 1] = min(change, above[v] + 1, corner + 1)
            far[i, j] = far[j, i] = above[len(y)] / max(len(x), len(y))
    return far
