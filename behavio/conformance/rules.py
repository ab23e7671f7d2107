"""Rules with time limits, checked on every case with the events that keep or break them.

Templates and their meaning: Pesic, Schonenberg & van der Aalst 2007; time limits as in Westergaard & Maggi
2012, counted from the event that calls for another. Without a limit `declare.check_rules` says the same of
distinct traces, much faster and without evidence.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from behavio.conformance.choose import Chooser
from behavio.conformance.findings import (
    CONFORMS,
    DEVIATES,
    EXTRA,
    OPEN,
    OVER,
    SKIPPED,
    TOO_LATE,
    UNDER,
    WRONG_ORDER,
    Findings,
    Rows,
)
from behavio.conformance.plan import Rule
from behavio.durations import seconds
from behavio.errors import JobError
from behavio.kernels import obligations as kernel
from behavio.kernels.arrays import readonly

MODES = {"alternate": kernel.ALTERNATE, "chain": kernel.CHAIN}


@dataclass(slots=True, eq=False)
class Bench:
    """What every rule is checked on, and where what it finds is put.

    called, broken, pending  bool (n_cases,) of the rule at work
    """

    chooser: Chooser
    still: np.ndarray
    now: int
    offsets: np.ndarray
    times: np.ndarray
    case_of: np.ndarray
    rows: Rows
    step: int
    called: np.ndarray
    broken: np.ndarray
    pending: np.ndarray

    @property
    def starts(self) -> np.ndarray:
        """int64 (n_cases,): µs of the first event of each case."""
        return self.times[self.offsets[:-1]]

    def blame(
        self,
        case: np.ndarray,
        kind: int | np.ndarray,
        event: int | np.ndarray = -1,
        due: int | np.ndarray = -1,
    ) -> None:
        """These cases break the rule."""
        self.broken[case] = True
        self.rows.add(case, self.step, kind, event, due)


def check_rules(chooser: Chooser, rules: Sequence[Rule], still: np.ndarray, name: str = "rules") -> Findings:
    """Every rule against every case; still bool (n_cases,): cases that may go on.

    An event that still waits for another, in an open case and within its time, makes the rule open. A rule
    that forbids something is kept as long as it did not happen.
    """
    s = chooser.sequences
    if not s.timed and any(r.within for r in rules):
        raise JobError("a rule has a time limit, but this log has no clock", hint="leave out within")
    times, offsets = readonly(s.times, np.int64), readonly(s.offsets, np.int64)
    n, rows = s.n_cases, Rows()
    states = np.zeros((n, len(rules)), dtype=np.int8)
    case_of, now = s.case_of_event, int(np.asarray(times).max())
    for k, rule in enumerate(rules):
        masks = (np.zeros(n, dtype=bool) for _ in range(3))
        bench = Bench(chooser, still, now, offsets, times, case_of, rows, k, *masks)
        (_alone if rule.target is None else _pair)(bench, rule)
        choices = [bench.broken, bench.pending, bench.called]
        states[:, k] = np.select(choices, [DEVIATES, OPEN, CONFORMS], default=0)
    case, step = np.nonzero(states)
    state = states[case, step]
    return Findings(
        name,
        "rule",
        tuple(r.shown for r in rules),
        s.case_ids,
        case,
        step,
        state,
        np.ones(len(case)),
        (state == CONFORMS).astype(float),
        rows,
        np.ones(n, dtype=bool),
    )


def _limit(rule: Rule) -> int:
    return -1 if rule.within is None else round(seconds(rule.within) * 1e6)


def _alone(b: Bench, rule: Rule) -> None:
    """at_least, at_most, exactly, init, end: every case is called."""
    marked = b.chooser.events(rule.activity, rule.where)
    b.called[:] = True
    if rule.template in ("init", "end"):
        edge = b.offsets[:-1] if rule.template == "init" else b.offsets[1:] - 1
        wrong = ~marked[edge]
        if rule.template == "end":
            b.pending |= wrong & b.still
            wrong &= ~b.still
        anywhere = kernel.nth(marked, b.offsets, 1)
        case = np.flatnonzero(wrong)
        b.blame(case, np.where(anywhere[case] >= 0, WRONG_ORDER, SKIPPED), anywhere[case])
        return
    limit = _limit(rule)
    due = b.starts + limit if limit >= 0 else np.full(len(b.starts), -1)
    if rule.template in ("at_least", "exactly") and rule.n > 0:
        _enough(b, marked, rule.n, due)
    if rule.template in ("at_most", "exactly"):
        beyond = kernel.nth(marked, b.offsets, rule.n + 1)
        case = np.flatnonzero((beyond >= 0) & ((due < 0) | (b.times[beyond] <= due)))
        b.blame(case, EXTRA if rule.n == 0 else OVER, beyond[case])


def _enough(b: Bench, marked: np.ndarray, n: int, due: np.ndarray) -> None:
    """The n-th event has come, in time; else it is open, too late, or missing."""
    found = kernel.nth(marked, b.offsets, n)
    there = found >= 0
    late = there & (due >= 0) & (b.times[found] > due)
    may = ~there & b.still & ((due < 0) | (b.now <= due))
    b.pending |= may
    case = np.flatnonzero(late)
    b.blame(case, TOO_LATE, found[case], due[case])
    case = np.flatnonzero(~there & ~may)
    some = np.bincount(b.case_of[marked], minlength=len(found))[case] > 0
    b.blame(case, np.where(some, UNDER, SKIPPED), -1, due[case])


def _pair(b: Bench, rule: Rule) -> None:
    """Rules about two activities."""
    assert rule.target is not None
    first, second = b.chooser.events(rule.activity, rule.where), b.chooser.events(rule.target, rule.where)
    limit, template = _limit(rule), rule.template
    mode = MODES.get(template.partition("_")[0], kernel.ANYWHERE)
    if template.startswith("not_"):
        _forbidden(b, template, first, second, limit)
        return
    if template in ("responded_existence", "coexistence"):
        _beside(b, first, second, limit)
        if template == "coexistence":
            _beside(b, second, first, limit)
        return
    if template.endswith(("response", "succession")):
        _forward(b, first, second, mode, limit)
    if template.endswith(("precedence", "succession")):
        _backward(b, first, second, mode, limit)


def _forward(b: Bench, first: np.ndarray, second: np.ndarray, mode: int, limit: int) -> None:
    """Every first is followed by a second."""
    fixed = (b.offsets, b.times)
    state, _ = kernel.after(first, second, *fixed, b.still, b.now, mode, limit)
    _judge(b, state)
    wrong = np.flatnonzero(state == kernel.BROKEN)
    _, later = kernel.after(first, second, *fixed, b.still, b.now, kernel.ANYWHERE, -1)
    came = later[wrong]
    due = b.times[wrong] + limit if limit >= 0 else np.full(len(wrong), -1)
    late = (came >= 0) & (due >= 0) & (b.times[came] > due)
    kind = np.select([came < 0, late], [SKIPPED, TOO_LATE], default=WRONG_ORDER)
    b.blame(b.case_of[wrong], kind, np.where(came >= 0, came, wrong), due)


def _backward(b: Bench, first: np.ndarray, second: np.ndarray, mode: int, limit: int) -> None:
    """Every second is preceded by a first."""
    state, _ = kernel.before(second, first, b.offsets, b.times, mode, limit)
    _judge(b, state)
    wrong = np.flatnonzero(state == kernel.BROKEN)
    _, cause = kernel.before(second, first, b.offsets, b.times, kernel.ANYWHERE, -1)
    never = np.zeros(len(b.still), dtype=bool)
    _, later = kernel.after(second, first, b.offsets, b.times, never, b.now, kernel.ANYWHERE, -1)
    before, after = cause[wrong], later[wrong]
    due = np.where((before >= 0) & (limit >= 0), b.times[before] + limit, -1)
    late = (due >= 0) & (b.times[wrong] > due)
    kind = np.select([late, (before >= 0) | (after >= 0)], [TOO_LATE, WRONG_ORDER], default=SKIPPED)
    b.blame(b.case_of[wrong], kind, wrong, due)


def _beside(b: Bench, first: np.ndarray, second: np.ndarray, limit: int) -> None:
    """Every first has a second before or after it, within the limit."""
    after, _ = kernel.after(first, second, b.offsets, b.times, b.still, b.now, kernel.ANYWHERE, limit)
    before, _ = kernel.before(first, second, b.offsets, b.times, kernel.ANYWHERE, limit)
    state = np.where(before == kernel.KEPT, before, after)
    _judge(b, state)
    wrong = np.flatnonzero(state == kernel.BROKEN)
    there = np.bincount(b.case_of[second], minlength=len(b.still))[b.case_of[wrong]] > 0
    due = b.times[wrong] + limit if limit >= 0 else np.full(len(wrong), -1)
    b.blame(b.case_of[wrong], np.where(there, TOO_LATE, SKIPPED), wrong, due)


def _forbidden(b: Bench, template: str, first: np.ndarray, second: np.ndarray, limit: int) -> None:
    """No second after a first; right after it; or anywhere in the same case."""
    mode = kernel.CHAIN if template == "not_chain_succession" else kernel.ANYWHERE
    never = np.zeros(len(b.still), dtype=bool)
    fixed = (b.offsets, b.times)
    state, other = kernel.after(first, second, *fixed, never, b.now, mode, limit)
    if template == "not_coexistence":
        earlier, cause = kernel.before(first, second, *fixed, kernel.ANYWHERE, limit)
        found = earlier == kernel.KEPT
        state, other = np.where(found, earlier, state), np.where(found, cause, other)
        b.called[b.case_of[second]] = True
    b.called[b.case_of[first]] = True
    wrong = np.flatnonzero(state == kernel.KEPT)
    pairs = np.unique(np.stack([b.case_of[wrong], other[wrong]]), axis=1)
    b.blame(pairs[0], EXTRA, pairs[1])


def _judge(b: Bench, state: np.ndarray) -> None:
    b.called[b.case_of[state != 0]] = True
    b.pending[b.case_of[state == kernel.PENDING]] = True
