"""Slow, obvious answers about plans: rules by their words, events laid onto steps by trying every way."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

Trace = Sequence[str]


def slow_rule(template: str, trace: Trace, a: str, b: str | None = None) -> int:
    """1 the rule holds, −1 it is broken, 0 nothing calls for it."""
    at_a = [i for i, x in enumerate(trace) if x == a]
    at_b = [i for i, x in enumerate(trace) if x == b]
    if template == "existence":
        return 1 if at_a else -1
    if template == "absence":
        return -1 if at_a else 1
    if template == "exactly_one":
        return 1 if len(at_a) == 1 else -1
    if template == "init":
        return 1 if trace[0] == a else -1
    response = {
        "response": lambda i: any(j > i for j in at_b),
        "alternate_response": lambda i: any(j > i and not any(i < k < j for k in at_a) for j in at_b),
        "chain_response": lambda i: i + 1 in at_b,
        "responded_existence": lambda i: bool(at_b),
        "not_succession": lambda i: not any(j > i for j in at_b),
        "not_chain_succession": lambda i: i + 1 not in at_b,
    }
    precedence = {
        "precedence": lambda j: any(i < j for i in at_a),
        "alternate_precedence": lambda j: any(i < j and not any(i < k < j for k in at_b) for i in at_a),
        "chain_precedence": lambda j: j - 1 in at_a,
    }
    if template in response:
        return 0 if not at_a else (1 if all(map(response[template], at_a)) else -1)
    if template in precedence:
        return 0 if not at_b else (1 if all(map(precedence[template], at_b)) else -1)
    if not at_a and not at_b:
        return 0
    if template == "coexistence":
        return 1 if at_a and at_b else -1
    if template == "not_coexistence":
        return -1 if at_a and at_b else 1
    kind = template.removesuffix("succession")
    parts = (slow_rule(f"{kind}response", trace, a, b), slow_rule(f"{kind}precedence", trace, a, b))
    return -1 if -1 in parts else 1


def slow_timed(
    template: str, trace: Trace, times: Sequence[int], a: str, b: str, within: int | None, open_at: int | None
) -> str:
    """conforms, deviates, open or "" of a rule about two activities; open_at: time now of an open case."""

    def near(i: int, j: int) -> bool:
        return within is None or abs(times[j] - times[i]) <= within

    def in_time(i: int) -> bool:
        return open_at is not None and (within is None or open_at - times[i] <= within)

    at_a = [i for i, x in enumerate(trace) if x == a]
    at_b = [i for i, x in enumerate(trace) if x == b]

    def forward(kind: str) -> list[str]:
        found = []
        for i in at_a:
            later = [j for j in at_b if j > i]
            again = [k for k in at_a if k > i]
            if kind == "alternate":
                later = [j for j in later if not any(k < j for k in again)]
            if kind == "chain":
                later = [j for j in later if j == i + 1]
            may = in_time(i)
            may = may and not (kind == "alternate" and again) and not (kind == "chain" and i < len(trace) - 1)
            kept = any(near(i, j) for j in later[:1])
            found.append("conforms" if kept else "open" if may else "deviates")
        return found

    def backward(kind: str) -> list[str]:
        found = []
        for j in at_b:
            earlier = [i for i in at_a if i < j]
            if kind == "alternate":
                earlier = [i for i in earlier if not any(i < k < j for k in at_b)]
            if kind == "chain":
                earlier = [i for i in earlier if i == j - 1]
            found.append("conforms" if any(near(i, j) for i in earlier) else "deviates")
        return found

    def beside(one: list[int], other: list[int]) -> list[str]:
        return [
            "conforms" if any(near(i, j) for j in other) else "open" if in_time(i) else "deviates"
            for i in one
        ]

    kind = template.partition("_")[0] if template.startswith(("alternate", "chain")) else ""
    found = []
    if template in ("responded_existence", "coexistence"):
        found += beside(at_a, at_b)
        if template == "coexistence":
            found += beside(at_b, at_a)
    elif template == "not_coexistence":
        wrong = any(near(i, j) for i in at_a for j in at_b)
        found += ["deviates" if wrong else "conforms"] if at_a or at_b else []
    elif template == "not_succession":
        found += ["deviates" if any(j > i and near(i, j) for j in at_b) else "conforms" for i in at_a]
    elif template == "not_chain_succession":
        found += ["deviates" if any(j == i + 1 and near(i, j) for j in at_b) else "conforms" for i in at_a]
    else:
        found += forward(kind) if template.endswith(("response", "succession")) else []
        found += backward(kind) if template.endswith(("precedence", "succession")) else []
    return next((s for s in ("deviates", "open", "conforms") if s in found), "")


Places = Sequence[tuple[int, bool, bool, int]]
"""step, required, any number of times, time limit (−1: none) of each place."""


def score(laid: Sequence[tuple[int, int]], times: Sequence[int], places: Places) -> tuple[int, int, int]:
    """Required places taken, events placed, and minus the late ones, of (event, place) pairs in order."""
    late = 0
    for (before, p), (event, q) in pairwise(laid):
        limit = places[q][3]
        late += places[p][0] != places[q][0] and limit >= 0 and times[event] - times[before] > limit
    return sum(places[p][1] for _, p in laid), len(laid), -late


def slow_lay(fits: Sequence[int], times: Sequence[int], places: Places) -> tuple[int, int, int]:
    """The best score of any way to lay events onto places in order; fits has bit k set for step k."""
    best = (0, 0, 0)

    def go_on(event: int, laid: list[tuple[int, int]]) -> None:
        nonlocal best
        best = max(best, score(laid, times, places))
        for j in range(event, len(fits)):
            for q, (step, _, again, _) in enumerate(places):
                later = not laid or q > laid[-1][1] or (q == laid[-1][1] and again)
                if later and fits[j] >> step & 1:
                    go_on(j + 1, [*laid, (j, q)])

    go_on(0, [])
    return best
