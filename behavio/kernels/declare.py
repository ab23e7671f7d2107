"""Declare rules over distinct traces: what holds in each, from first and last places and two counts of pairs.

For a trace and two of its activities a and b let alternations be how often b occurs with an a since the b
before, and neighbours how often b comes right after a. Then every a is followed by a b before the next a
exactly when there are as many alternations as a's, every b is preceded by an a since the b before when there
are as many as b's, and neighbours say the same of direct succession.
"""

from __future__ import annotations

import numpy as np

from behavio.kernels.ready import njit

TEMPLATES = (
    "existence",
    "absence",
    "exactly_one",
    "init",
    "responded_existence",
    "coexistence",
    "not_coexistence",
    "response",
    "precedence",
    "succession",
    "alternate_response",
    "alternate_precedence",
    "alternate_succession",
    "chain_response",
    "chain_precedence",
    "chain_succession",
    "not_succession",
    "not_chain_succession",
)
"""Their places are the codes the kernels know them by; those from PAIRS on are about two activities."""
(
    EXISTENCE,
    ABSENCE,
    EXACTLY_ONE,
    INIT,
    RESPONDED_EXISTENCE,
    COEXISTENCE,
    NOT_COEXISTENCE,
    RESPONSE,
    PRECEDENCE,
    SUCCESSION,
    ALTERNATE_RESPONSE,
    ALTERNATE_PRECEDENCE,
    ALTERNATE_SUCCESSION,
    CHAIN_RESPONSE,
    CHAIN_PRECEDENCE,
    CHAIN_SUCCESSION,
    NOT_SUCCESSION,
    NOT_CHAIN_SUCCESSION,
) = range(len(TEMPLATES))
PAIRS = RESPONDED_EXISTENCE
CALLED_BY = np.array([0, 0, 0, 0, 0, 2, 2, 0, 1, 2, 0, 1, 2, 0, 1, 2, 0, 0])
"""0: the first activity calls for the rule, 1: the second, 2: either."""
NEGATIVE = np.isin(np.arange(len(TEMPLATES)), [NOT_COEXISTENCE, NOT_SUCCESSION, NOT_CHAIN_SUCCESSION])


@njit(cache=True, nogil=True)
def _measure(
    trace: np.ndarray,
    count: np.ndarray,
    first: np.ndarray,
    last: np.ndarray,
    alternations: np.ndarray,
    neighbours: np.ndarray,
    present: np.ndarray,
) -> int:
    """Fill what the rules look at for one trace; how many activities it has, listed in present."""
    n = 0
    for i in range(len(trace)):
        b = trace[i]
        if count[b] == 0:
            for k in range(n):
                alternations[present[k], b] = neighbours[present[k], b] = 0
                alternations[b, present[k]] = neighbours[b, present[k]] = 0
            present[n] = b
            n += 1
            first[b] = i
            last[b] = -1
        for k in range(n):
            a = present[k]
            if a != b and last[a] > last[b]:
                alternations[a, b] += 1
        if i > 0 and trace[i - 1] != b:
            neighbours[trace[i - 1], b] += 1
        count[b] += 1
        last[b] = i
    return n


@njit(cache=True, nogil=True)
def _alone(rule: int, n_a: int, first_a: int) -> int:
    """1 or −1 for a rule about one activity that occurs n_a times, first at first_a."""
    if rule == EXISTENCE:
        return 1 if n_a > 0 else -1
    if rule == ABSENCE:
        return -1 if n_a > 0 else 1
    if rule == EXACTLY_ONE:
        return 1 if n_a == 1 else -1
    return 1 if n_a > 0 and first_a == 0 else -1


@njit(cache=True, nogil=True)
def _fill(
    holds: np.ndarray,
    n_a: int,
    n_b: int,
    first_a: int,
    first_b: int,
    last_a: int,
    last_b: int,
    alternations: int,
    neighbours: int,
) -> None:
    """Which rules about two activities hold where both occur, uint8 (n_templates,)."""
    holds[RESPONDED_EXISTENCE] = holds[COEXISTENCE] = 1
    holds[NOT_COEXISTENCE] = 0
    holds[RESPONSE] = last_a < last_b
    holds[PRECEDENCE] = first_a < first_b
    holds[SUCCESSION] = holds[RESPONSE] & holds[PRECEDENCE]
    holds[ALTERNATE_RESPONSE] = alternations == n_a
    holds[ALTERNATE_PRECEDENCE] = alternations == n_b
    holds[ALTERNATE_SUCCESSION] = holds[ALTERNATE_RESPONSE] & holds[ALTERNATE_PRECEDENCE]
    holds[CHAIN_RESPONSE] = neighbours == n_a
    holds[CHAIN_PRECEDENCE] = neighbours == n_b
    holds[CHAIN_SUCCESSION] = holds[CHAIN_RESPONSE] & holds[CHAIN_PRECEDENCE]
    holds[NOT_SUCCESSION] = last_b < first_a
    holds[NOT_CHAIN_SUCCESSION] = neighbours == 0


@njit(cache=True, nogil=True)
def tally(
    tokens: np.ndarray, offsets: np.ndarray, weights: np.ndarray, size: int
) -> tuple[np.ndarray, np.ndarray]:
    """Weights of the traces in which rules hold.

    tokens   int32 (n_events,), ids below size; offsets int64 (n_traces + 1,); weights int64 (n_traces,)
    Returns how many have each activity, have it once, start with it, int64 (3, size), and, for two activities
    that both occur, in how many each rule holds, int64 (size, size, n_templates).
    """
    count, first, last = np.zeros(size, np.int64), np.zeros(size, np.int64), np.zeros(size, np.int64)
    alternations, neighbours = np.zeros((size, size), np.int64), np.zeros((size, size), np.int64)
    present = np.zeros(size, np.int64)
    alone = np.zeros((3, size), np.int64)
    holds = np.zeros(len(CALLED_BY), np.uint8)
    pairs = np.zeros((size, size, len(holds)), np.int64)
    for t in range(len(offsets) - 1):
        trace = tokens[offsets[t] : offsets[t + 1]]
        n = _measure(trace, count, first, last, alternations, neighbours, present)
        weight = weights[t]
        if n:
            alone[2, trace[0]] += weight
        for i in range(n):
            a = present[i]
            alone[0, a] += weight
            alone[1, a] += weight if count[a] == 1 else 0
            for j in range(n):
                b = present[j]
                if a == b:
                    continue
                _fill(
                    holds, count[a], count[b], first[a], first[b], last[a], last[b],
                    alternations[a, b], neighbours[a, b],
                )  # fmt: skip
                for rule in range(PAIRS, len(holds)):
                    pairs[a, b, rule] += weight * holds[rule]
        for i in range(n):
            count[present[i]] = 0
    return alone, pairs


@njit(cache=True, nogil=True)
def states(
    tokens: np.ndarray,
    offsets: np.ndarray,
    size: int,
    rules: np.ndarray,
    first_of: np.ndarray,
    second_of: np.ndarray,
    by: np.ndarray,
    negative: np.ndarray,
) -> np.ndarray:
    """What each rule says of each trace, int8 (n_traces, n_rules): 1 holds, −1 broken, 0 not called for.

    rules     int64 (n_rules,) codes of templates; first_of, second_of int64 (n_rules,) ids below size
    by        int64 (n_templates,): what calls for a rule about two, CALLED_BY
    negative  bool (n_templates,): a rule that one of the two alone obeys
    """
    count, first, last = np.zeros(size, np.int64), np.zeros(size, np.int64), np.zeros(size, np.int64)
    alternations, neighbours = np.zeros((size, size), np.int64), np.zeros((size, size), np.int64)
    present = np.zeros(size, np.int64)
    holds = np.zeros(len(by), np.uint8)
    answer = np.zeros((len(offsets) - 1, len(rules)), np.int8)
    for t in range(len(offsets) - 1):
        trace = tokens[offsets[t] : offsets[t + 1]]
        n = _measure(trace, count, first, last, alternations, neighbours, present)
        for r in range(len(rules)):
            rule, a, b = rules[r], first_of[r], second_of[r]
            if rule < PAIRS:
                answer[t, r] = _alone(rule, count[a], first[a])
            elif count[a] > 0 and count[b] > 0:
                _fill(
                    holds, count[a], count[b], first[a], first[b], last[a], last[b],
                    alternations[a, b], neighbours[a, b],
                )  # fmt: skip
                answer[t, r] = 1 if holds[rule] else -1
            elif (count[a] > 0 and by[rule] != 1) or (count[b] > 0 and by[rule] != 0):
                answer[t, r] = 1 if negative[rule] else -1
        for i in range(n):
            count[present[i]] = 0
    return answer


@njit(cache=True, nogil=True)
def in_cases(found: np.ndarray, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """In how many cases each rule is called for, and in how many it holds, int64 (n_rules,).

    found int8 (n_traces, n_rules) from `states`; weights int64 (n_traces,): cases of each trace
    """
    cases, holds = np.zeros(found.shape[1], np.int64), np.zeros(found.shape[1], np.int64)
    for t in range(len(found)):
        weight = weights[t]
        for r in range(found.shape[1]):
            cases[r] += weight * (found[t, r] != 0)
            holds[r] += weight * (found[t, r] > 0)
    return cases, holds
