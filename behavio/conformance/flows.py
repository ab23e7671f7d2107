"""Events laid onto the steps of a flow: what was skipped, out of order, too late, extra, or still to come."""

from __future__ import annotations

import numpy as np

from behavio.conformance.choose import Chooser
from behavio.conformance.findings import (
    CONFORMS,
    DEVIATES,
    EXTRA,
    OPEN,
    SKIPPED,
    TOO_LATE,
    UNDER,
    WRONG_ORDER,
    Findings,
    Rows,
)
from behavio.conformance.plan import Flow, moment
from behavio.durations import seconds
from behavio.errors import JobError
from behavio.kernels import flow as kernel
from behavio.kernels.arrays import readonly

DAY = 86_400_000_000
FOREVER = np.iinfo(np.int64).max


def check_flow(chooser: Chooser, flow: Flow, still: np.ndarray) -> Findings:
    """One flow against every case.

    still  bool (n_cases,): cases that may go on after the newest event of the log
    As many required steps as possible are found in their order, then as many events as possible, then as few
    late ones; only then is judged what is missing. An event that fits a step but not in its place is out of
    order, one beyond what the steps ask for is extra. A required step that has not come is open, not skipped,
    while the case is open, no later step was taken, and its time has not run out.
    """
    s = chooser.sequences
    timed = flow.start or flow.end or any(p.within for p in flow.step)
    if timed and not s.timed:
        raise JobError(f"{flow.name} has time limits, but this log has no clock", hint="leave them out")
    times, offsets = readonly(s.times, np.int64), readonly(s.offsets, np.int64)
    now = int(np.asarray(times).max())
    fits, until = fits_of(chooser, flow), FOREVER
    if flow.end is not None:
        until = moment(flow.end) + DAY
        still = still & (now < until)
    places = _places(flow)
    placed = kernel.lay(fits, offsets, times, *places)
    step_of = places[0]
    n_cases, n_steps = s.n_cases, len(flow.step)
    case_of = s.case_of_event
    taken = np.flatnonzero(placed >= 0)
    step, case = step_of[placed[taken]], case_of[taken]
    count = np.bincount(case * n_steps + step, minlength=n_cases * n_steps).reshape(n_cases, n_steps)
    started = np.asarray(count.any(axis=1))
    if flow.applies == "all":
        started[:] = True
    deviations = Rows()
    late = _late(flow, count.shape, (taken, step, case, times), deviations)
    astray = _astray(flow, placed, fits, case_of, count, deviations)
    state, last = _missing(flow, count, astray, started, still, now, (taken, step, case, times), deviations)
    state = np.where((state == CONFORMS) & (late | astray), DEVIATES, state).astype(np.int8)
    kept = started[:, None] & (state != 0)
    who, what = np.nonzero(kept)
    least = np.array([p.times[0] for p in flow.step], dtype=float)
    done = np.minimum(count, least[None, :])
    return Findings(
        flow.name,
        "flow",
        tuple(p.shown for p in flow.step),
        s.case_ids,
        who,
        what,
        state[kept],
        np.broadcast_to(least, state.shape)[kept],
        done[kept],
        deviations,
        started,
        last,
    )


def fits_of(chooser: Chooser, flow: Flow) -> np.ndarray:
    """int64 (n_events,): bit k is set when the event may be step k."""
    s = chooser.sequences
    fits = np.zeros(s.n_events, dtype=np.int64)
    for k, step in enumerate(flow.step):
        fits |= chooser.events(step.activity, {**flow.where, **step.where}).astype(np.int64) << k
    if flow.start is not None:
        fits[np.asarray(s.times) < moment(flow.start)] = 0
    if flow.end is not None:
        fits[np.asarray(s.times) >= moment(flow.end) + DAY] = 0
    return readonly(fits, np.int64)


def _places(flow: Flow) -> tuple[np.ndarray, ...]:
    """Each step as often as it may come: step of the place, required, any number, time limit (µs)."""
    rows = []
    for k, step in enumerate(flow.step):
        least, most = step.times
        limit = -1 if step.within is None else round(seconds(step.within) * 1e6)
        rows += [(k, True, False, limit)] * least
        rows += [(k, False, True, limit)] if most == 0 else [(k, False, False, limit)] * (most - least)
    kinds = (np.int64, np.bool_, np.bool_, np.int64)
    return tuple(readonly(np.array(c), t) for c, t in zip(zip(*rows, strict=True), kinds, strict=True))


def _late(
    flow: Flow,
    shape: tuple[int, ...],
    events: tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray],
    rows: Rows,
) -> np.ndarray:
    """bool (n_cases, n_steps): the step came later than it may after the step taken before it."""
    taken, step, case, times = events
    limits, marked = limits_of(flow), np.zeros(shape, dtype=bool)
    follows = np.flatnonzero((case[1:] == case[:-1]) & (step[1:] != step[:-1])) + 1
    due = times[taken[follows - 1]] + limits[step[follows]]
    over = (limits[step[follows]] >= 0) & (times[taken[follows]] > due)
    index = follows[over]
    rows.add(case[index], step[index], TOO_LATE, taken[index], due[over])
    marked[case[index], step[index]] = True
    return marked


def limits_of(flow: Flow) -> np.ndarray:
    """int64 (n_steps,): µs since the step before, −1 for any time."""
    return np.array([-1 if p.within is None else round(seconds(p.within) * 1e6) for p in flow.step], np.int64)


def _astray(
    flow: Flow, placed: np.ndarray, fits: np.ndarray, case_of: np.ndarray, count: np.ndarray, rows: Rows
) -> np.ndarray:
    """Events that fit a step but have no place: out of order where the step had room, extra where not.

    Returns bool (n_cases, n_steps): the step came, but in another place or once more than planned.
    """
    events = np.flatnonzero(placed == -1)
    case = case_of[events]
    astray = np.zeros(count.shape, dtype=bool)
    free, extra = np.full(len(events), -1), np.full(len(events), -1)
    for missing in (True, False):  # a step that lacks something has the first claim
        for k, step in enumerate(flow.step):
            least, most = step.times
            fitting = (fits[events] >> k) & 1 == 1
            room = count[case, k] < least if missing else (most == 0) | (count[case, k] < most)
            free = np.where((free < 0) & fitting & room, k, free)
            extra = np.where((extra < 0) & fitting, k, extra)
    out = free >= 0
    rows.add(case[out], free[out], WRONG_ORDER, events[out])
    astray[case[out], free[out]] = True
    if not flow.allow_extra:
        rows.add(case[~out], extra[~out], EXTRA, events[~out])
        astray[case[~out], extra[~out]] = True
    return astray


def _missing(
    flow: Flow,
    count: np.ndarray,
    astray: np.ndarray,
    started: np.ndarray,
    still: np.ndarray,
    now: int,
    events: tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray],
    rows: Rows,
) -> tuple[np.ndarray, np.ndarray]:
    """State of each case and step, int8, 0 where an optional step was left out; and when the case last moved.

    Steps that lack something, and came in no other place, are open or deviations.
    """
    taken, step, case, times = events
    limits = limits_of(flow)
    n_cases = len(count)
    last = np.full(n_cases, -1, dtype=np.int64)
    furthest = np.full(n_cases, -1, dtype=np.int64)
    last[case], furthest[case] = times[taken], step  # events rise within a case: the last one stays
    state = np.zeros(count.shape, dtype=np.int8)
    for k, part in enumerate(flow.step):
        least = part.times[0]
        state[(count[:, k] > 0) & (count[:, k] >= least), k] = CONFORMS
        lacking = started & (count[:, k] < least)
        due = np.where((limits[k] >= 0) & (last >= 0) & (furthest < k), last + limits[k], -1)
        may = still & (furthest <= k) & ~astray[:, k] & ((due < 0) | (now <= due))
        state[lacking & may, k] = OPEN
        gone = lacking & ~may
        state[gone, k] = DEVIATES
        state[astray[:, k] & started, k] = DEVIATES
        silent = np.flatnonzero(gone & ~astray[:, k])
        kind = np.where(count[silent, k] > 0, UNDER, SKIPPED)
        rows.add(silent, k, kind, -1, due[silent])
    return state, last
