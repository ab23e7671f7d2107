"""One pattern of the language run over traces: an automaton without empty moves, with limits on its edges.

A state is a step of the pattern that has just been matched. For every state and event at most one way is
kept, the one with the latest start: every limit between two events depends on those two, and a limit on the
whole is met best by the latest start, so no other way can match where it does not.
"""

from __future__ import annotations

import numpy as np

from behavio.kernels.arrays import ones
from behavio.kernels.ready import njit

SOURCE, TARGET, MIN_TIME, MAX_TIME, MAX_EVENTS, BANS = 0, 1, 2, 3, 4, 5  # columns of the edges
PLACE, START, BACK, BEFORE, STATE = 0, 1, 2, 3, 4  # columns of the ways
NO, YES, UNKNOWN = 0, 1, 2


@njit(cache=True, nogil=True)
def _banned(bans: int, last_ban: np.ndarray, after: int) -> bool:
    """Does one of the banned kinds lie after this place?"""
    rest = np.uint64(bans)
    while rest != np.uint64(0):
        low = rest & (~rest + np.uint64(1))
        rest ^= low
        if last_ban[ones(low - np.uint64(1))] > after:
            return True
    return False


@njit(cache=True, nogil=True)
def _best(
    edge: np.ndarray,
    i: int,
    times: np.ndarray,
    ways: np.ndarray,
    newest: np.ndarray,
    rising: np.ndarray,
    last_ban: np.ndarray,
    whole: tuple[int, int],
) -> int:
    """The way into event i along one edge that starts latest; -1 for none."""
    best = -1
    k = newest[edge[SOURCE]]
    while k >= 0:
        place = ways[k, PLACE]
        wait = times[i] - times[place]
        if place < i and wait >= edge[MIN_TIME]:
            late = edge[MAX_TIME] >= 0 and wait > edge[MAX_TIME]
            far = edge[MAX_EVENTS] > 0 and i - place > edge[MAX_EVENTS]
            if late or far or _banned(edge[BANS], last_ban, place):
                break  # older ones lie farther back
            start = ways[k, START]
            fits = (whole[0] < 0 or times[i] - times[start] <= whole[0]) and (
                whole[1] == 0 or i - start <= whole[1]
            )
            if fits and (best < 0 or start > ways[best, START]):
                best = k
            if rising[edge[SOURCE]]:
                break  # older ones start no later
        k = ways[k, BEFORE]
    return best


@njit(cache=True, nogil=True)
def allowed_ends(
    offsets: np.ndarray, times: np.ndarray, banned: np.ndarray, bans: int, within: int, newest: int
) -> np.ndarray:
    """After which events none of the banned kinds comes (within so many µs; negative: at all), int8.

    newest  time of the newest event of the log: where the time is not over by then the answer is UNKNOWN
    """
    answer = np.empty(len(times), np.int8)
    for c in range(len(offsets) - 1):
        coming = -1
        for i in range(offsets[c + 1] - 1, offsets[c] - 1, -1):
            if coming >= 0 and (within < 0 or times[coming] - times[i] <= within):
                answer[i] = NO
            elif within >= 0 and times[i] + within > newest:
                answer[i] = UNKNOWN
            else:
                answer[i] = YES
            if banned[i] & np.uint64(bans):
                coming = i
    return answer


@njit(cache=True, nogil=True)
def _extend(
    i: int,
    log: tuple,
    accepted: np.uint64,
    automaton: tuple,
    may_start: bool,
    state: tuple,
    ways: np.ndarray,
    n_ways: int,
) -> tuple[np.ndarray, int]:
    """Add the ways that event i makes; returns the ways and how many there are."""
    edges, into, first_states, whole = automaton[0], automaton[1], automaton[2], automaton[4]
    newest, rising, last_ban = state
    while accepted != np.uint64(0):
        low = accepted & (~accepted + np.uint64(1))
        accepted ^= low
        target = ones(low - np.uint64(1))
        start, back = -1, -1
        if may_start and (first_states & low) != np.uint64(0):
            start = i
        else:
            for e in range(into[target], into[target + 1]):
                k = _best(edges[e], i, log[1], ways, newest, rising, last_ban, whole)
                if k >= 0 and ways[k, START] > start:
                    start, back = ways[k, START], k
        if start < 0:
            continue
        if n_ways == len(ways):
            larger = np.empty((2 * n_ways, 5), np.int64)
            larger[:n_ways] = ways
            ways = larger
        if newest[target] >= 0 and ways[newest[target], START] > start:
            rising[target] = False
        ways[n_ways, PLACE], ways[n_ways, START], ways[n_ways, BACK] = i, start, back
        ways[n_ways, BEFORE], ways[n_ways, STATE] = newest[target], target
        newest[target] = n_ways
        n_ways += 1
    return ways, n_ways


@njit(cache=True, nogil=True)
def _finished(
    ways: np.ndarray, first: int, n_ways: int, last_states: np.uint64, end: int, depths: np.ndarray
) -> tuple[int, int]:
    """Of the ways made by one event: the finished one that starts latest (-1: none), and the deepest."""
    done, deepest = -1, -1
    for k in range(first, n_ways):
        last = end == YES and (last_states >> np.uint64(ways[k, STATE])) & np.uint64(1) != np.uint64(0)
        if last and (done < 0 or ways[k, START] > ways[done, START]):
            done = k
        if deepest < 0 or depths[ways[k, STATE]] > depths[ways[deepest, STATE]]:
            deepest = k
    return done, deepest


@njit(cache=True, nogil=True)
def _path(ways: np.ndarray, k: int, path: np.ndarray, n: int) -> tuple[np.ndarray, int]:
    """Append the events and states of one way, oldest first; path int64 (size, 2)."""
    length, at = 0, k
    while at >= 0:
        length += 1
        at = ways[at, BACK]
    if n + length > len(path):
        size = len(path)
        while size < n + length:
            size *= 2
        larger = np.empty((size, 2), np.int64)
        larger[:n] = path[:n]
        path = larger
    at = k
    for step in range(length - 1, -1, -1):
        path[n + step, 0], path[n + step, 1] = ways[at, PLACE], ways[at, STATE]
        at = ways[at, BACK]
    return path, n + length


@njit(cache=True, nogil=True)
def run(
    log: tuple, automaton: tuple, anchors: tuple[bool, bool, int], n_bans: int, ends: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Match every trace.

    log        offsets int64, times int64, accepted uint64 (n_events,): states an event may be, banned uint64
               (n_events,): kinds of banned events it is
    automaton  edges int64 (n_edges, 6) by target, where the edges into each state start, states that may
               come first and last (bits), (µs, events) of the whole, depth of every state
    anchors    only from the first event, only to the last, banned kinds before the first event
    ends       int8 (n_events,) from `allowed_ends`, or empty
    Returns per trace the number of matches that do not overlap, the depth reached, whether it is not known
    yet; and of the first match, else of the farthest way, the events and states with their offsets.
    """
    offsets, accepted, banned = log[0], log[2], log[3]
    depths, last_states = automaton[5], automaton[3]
    n_traces, n_states = len(offsets) - 1, len(depths)
    matches, reached = np.zeros(n_traces, np.int64), np.zeros(n_traces, np.int64)
    unknown, path_at = np.zeros(n_traces, np.bool_), np.zeros(n_traces + 1, np.int64)
    newest, rising = np.full(n_states, -1, np.int64), np.ones(n_states, np.bool_)
    last_ban = np.full(max(n_bans, 1), -1, np.int64)
    ways, path, n_path = np.empty((256, 5), np.int64), np.empty((1024, 2), np.int64), 0
    for c in range(n_traces):
        newest[:], rising[:], last_ban[:] = -1, True, -1
        n_ways, n_kept = 0, n_path
        for i in range(offsets[c], offsets[c + 1]):
            if accepted[i] != np.uint64(0):
                before = n_ways
                may_start = (not anchors[0] or i == offsets[c]) and not _banned(anchors[2], last_ban, -1)
                ways, n_ways = _extend(
                    i, log, accepted[i], automaton, may_start, (newest, rising, last_ban), ways, n_ways
                )
                end = ends[i] if len(ends) else YES
                if anchors[1] and i != offsets[c + 1] - 1:
                    end = NO
                done, deepest = _finished(ways, before, n_ways, last_states, end, depths)
                if end == UNKNOWN and _finished(ways, before, n_ways, last_states, YES, depths)[0] >= 0:
                    unknown[c] = True
                if (
                    matches[c] == 0
                    and deepest >= 0
                    and (done >= 0 or depths[ways[deepest, STATE]] > reached[c])
                ):
                    reached[c] = depths[ways[deepest, STATE]]
                    path, n_kept = _path(ways, done if done >= 0 else deepest, path, n_path)
                if done >= 0:
                    matches[c] += 1
                    newest[:], rising[:] = -1, True
                    n_ways = 0
            rest = banned[i]
            while rest != np.uint64(0):
                low = rest & (~rest + np.uint64(1))
                rest ^= low
                last_ban[ones(low - np.uint64(1))] = i
        n_path = n_kept
        path_at[c + 1] = n_path
    return matches, reached, unknown, path_at, path[:n_path].copy()
