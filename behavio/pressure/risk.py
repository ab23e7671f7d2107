"""Time at risk: a case's time cut into pieces, each with its pressure, answers and what else explains them.

Whoever reads slowly answers days after a contact, often after the next one, and by then older contacts have
left the window: so not contacts are judged but all the time of a case, and pressure is that of the moment.
Only time with at least LEAST contacts in the window counts. With one, pressure cannot be told from the time
since that contact; with none, nothing is left of any. What follows an answer within SESSION belongs to it.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

DAY_US = 86_400_000_000
PIECE = DAY_US // 4
SESSION = DAY_US // 24
MONTH = 30 * DAY_US
LEAST = 2
PARTS = 28
"""Parts of a week, one PIECE each."""
RECENT = np.round(np.array((0.02, 0.08, 0.25, 0.5, 1, 2, 4, 7, 11, 16, 28)) * DAY_US).astype(np.int64)
"""Time since something: these are the ends of the bins, and all longer is one more."""
COARSE = np.round(np.array((0.25, 1, 3, 7, 14, 30, 60)) * DAY_US).astype(np.int64)
GAP = np.array((1, 2, 4, 6, 8, 11, 16, 28)) * DAY_US
"""Time from the last other contact to one of the first channel: a mail after a call is opened more."""
ROW = 5
"""Contacts in a row without an answer, so many at most."""
KINDS, FEWEST = 3, 30
"""Kinds of answers that are judged, each with at least so many answers; rarer ones are left out."""
MOST_DAYS = 80_000
"""Days at risk of a group that are looked at; of more, those of every k-th case."""


@dataclass(frozen=True, slots=True, eq=False)
class Timeline:
    """What happened, sorted by case and time.

    case     int64 (n,)
    time     int64 (n,) µs since `start`
    channel  int64 (n,) channel of a contact from 0, the most frequent; -1 for no contact
    answer   int64 (n,) kind of an answer from 0, the most frequent; -1 for none
    inbound  int64 (n,) kind of what else came in from 0; -1 for nothing of it
    start    µs since 1970 of the first event of the log
    end      µs from there to the last one
    window   µs
    """

    case: np.ndarray
    time: np.ndarray
    channel: np.ndarray
    answer: np.ndarray
    inbound: np.ndarray
    start: int
    end: int
    window: int

    def of(self, cases: np.ndarray) -> Timeline:
        """The events of these cases (bool per case), of every k-th where their time exceeds MOST_DAYS."""
        keep = cases[self.case]
        days = _days_at_risk(
            self.case[keep & (self.channel >= 0)], self.time[keep & (self.channel >= 0)], self
        )
        every = max(int(-(-days // MOST_DAYS)), 1)
        if every > 1:
            some = np.zeros(len(cases), bool)
            some[np.flatnonzero(cases)[::every]] = True
            keep = some[self.case]
        return replace(
            self,
            case=self.case[keep],
            time=self.time[keep],
            channel=self.channel[keep],
            answer=self.answer[keep],
            inbound=self.inbound[keep],
        )


@dataclass(frozen=True, slots=True, eq=False)
class Pieces:
    """Time at risk by stratum: one kind of answer of one case.

    starts    int64 (strata + 1,) where the rows of each stratum begin
    owner     int64 (strata,) its case, numbered from 0, ascending
    codes     int32 (n, f) what explains answers, as numbers of coefficients; the last column is the level
    n_codes   how many coefficients there are, those of levels last
    level     int64 (n,) contacts in the window
    width     float64 (n,) days
    answered  float64 (n,) 1 where an answer of this kind ends the piece
    """

    starts: np.ndarray
    owner: np.ndarray
    codes: np.ndarray
    n_codes: int
    level: np.ndarray
    width: np.ndarray
    answered: np.ndarray


def _days_at_risk(case: np.ndarray, time: np.ndarray, line: Timeline) -> float:
    """Days with LEAST contacts in the window: from one contact while the one before it counts."""
    if len(case) < LEAST:
        return 0.0
    same = case[1:] == case[:-1]
    after = np.append(np.where(same[1:], time[2:], line.end), line.end) if len(case) > LEAST else [line.end]
    span = np.minimum(after, time[:-1] + line.window) - time[1:]
    return float(np.maximum(span, 0)[same].sum() / DAY_US)


def pieces_of(line: Timeline) -> Pieces | None:
    """The time at risk of a timeline; None where no kind of answer comes FEWEST times."""
    span = line.end + 2 * line.window + PIECE
    case, at = np.unique(line.case, return_inverse=True)[1].astype(np.int64), line.time
    key = case * span + at
    touch, answers = key[line.channel >= 0], key[line.answer >= 0]
    if not len(touch) or not len(answers):
        return None
    low, high = _cut(line, key, span, int(case[-1]) + 1)
    level = np.searchsorted(touch, low, side="right") - np.searchsorted(
        touch, low - line.window, side="right"
    )
    place = np.searchsorted(answers, low, side="right") - 1
    quiet = low - answers[np.maximum(place, 0)] >= SESSION
    keep = (level >= LEAST) & (quiet | (place < 0))
    low, high, level = low[keep], high[keep], level[keep]
    came = np.full(len(low), -1)
    ends = np.searchsorted(high, answers)
    inside = (
        (ends < len(high)) & (high[np.minimum(ends, len(high) - 1)] == answers) if len(high) else ends < 0
    )
    # of answers at the same moment the first counts
    came[ends[inside][::-1]] = line.answer[line.answer >= 0][inside][::-1]
    return _strata(low // span, level, (high - low) / DAY_US, came, _codes(line, key, low, high, span))


def _cut(line: Timeline, key: np.ndarray, span: int, n_cases: int) -> tuple[np.ndarray, np.ndarray]:
    """Where pieces begin and end: at events, steps of the clock, and where what explains changes fast."""
    touch, answers = key[line.channel >= 0], key[line.answer >= 0]
    first = -(-(line.window + line.start % PIECE) // PIECE) * PIECE - line.start % PIECE
    clock = np.append(np.arange(first, line.end, PIECE), line.end)
    grid = (np.arange(n_cases)[:, None] * span + np.append(line.window, clock)).ravel()
    fast = [touch + step for step in RECENT[:3]]
    cuts = np.unique(np.concatenate([grid, key, touch + line.window, answers + SESSION, *fast]))
    low, high = cuts[:-1], cuts[1:]
    own = (low % span >= line.window) & (high % span <= line.end) & (low // span == high // span)
    return low[own], high[own]


def _since(mid: np.ndarray, marked: np.ndarray, span: int, ends: np.ndarray) -> np.ndarray:
    """In which bin the time since the case's last marked moment lies, the last bin where there is none."""
    if not len(marked):
        return np.full(len(mid), len(ends))
    place = np.searchsorted(marked, mid) - 1
    last = marked[np.maximum(place, 0)]
    gap = np.where((place >= 0) & (last // span == mid // span), mid - last, np.iinfo(np.int64).max)
    return np.searchsorted(ends, gap)


def _last(mid: np.ndarray, marked: np.ndarray, span: int) -> np.ndarray:
    """Number of the case's last marked moment before each, -1 without."""
    if not len(marked):
        return np.full(len(mid), -1)
    place = np.searchsorted(marked, mid) - 1
    return np.where((place >= 0) & (marked[np.maximum(place, 0)] // span == mid // span), place, -1)


def _codes(line: Timeline, key: np.ndarray, low: np.ndarray, high: np.ndarray, span: int) -> np.ndarray:
    """int64 (n, f): what else may explain an answer in each piece."""
    mid = (low + high) // 2
    clock = mid % span + line.start
    answers, others = key[line.answer >= 0], key[line.inbound >= 0]
    first, rest = key[line.channel == 0], key[line.channel > 0]
    answered = _last(mid, answers, span)
    heard = np.where(answered >= 0, answers[np.maximum(answered, 0)], -1)
    part = (clock // PIECE + 3 * 4) % PARTS  # 1 January 1970 was a Thursday
    columns = [mid % span // MONTH, part]
    for marked in (first, rest):
        last = _last(mid, marked, span)
        done = (last >= 0) & (marked[np.maximum(last, 0)] < heard) if len(marked) else last >= 0
        columns.append(_since(mid, marked, span, RECENT) * 2 + done)
    # who was the other contact by, what else came in: while that is fresh
    for marked, kind in (
        (rest, line.channel[line.channel > 0]),
        (others, line.inbound[line.inbound >= 0] + 1),
    ):
        last = _last(mid, marked, span)
        fresh = (last >= 0) & (mid - marked[np.maximum(last, 0)] < 14 * DAY_US) if len(marked) else last >= 0
        columns.append(np.where(fresh, kind[np.maximum(last, 0)], 0) if len(marked) else np.zeros_like(mid))
    columns.append(_since(mid, others, span, RECENT))
    last = _last(mid, first, span)
    if len(first):
        newest = first[np.maximum(last, 0)]
        waits = (last >= 0) & (newest > heard) & (mid - newest < 7 * DAY_US)
        gap = _since(newest, rest, span, GAP) * 2 + (mid - newest < DAY_US) + 1
        columns.append(np.where(waits, gap, 0))
    touch = key[line.channel >= 0]
    since = np.maximum(heard, mid // span * span - 1)
    columns.append(np.minimum(np.searchsorted(touch, mid) - np.searchsorted(touch, since, side="right"), ROW))
    columns += [_since(mid, key[line.answer == k], span, COARSE) for k in range(int(line.answer.max()) + 1)]
    return np.stack(columns, axis=1)


def _strata(
    case: np.ndarray, level: np.ndarray, width: np.ndarray, came: np.ndarray, codes: np.ndarray
) -> Pieces | None:
    """One stratum per case and kind of answer she ever gives, each kind with coefficients of its own."""
    often = np.bincount(came[came >= 0], minlength=1)
    kinds = [int(k) for k in np.argsort(-often, kind="stable")[:KINDS] if often[k] >= FEWEST]
    if not kinds:
        return None
    size = codes.max(axis=0) + 1
    codes = codes + (np.cumsum(size) - size)
    per_kind, n_levels = int(size.sum()), int(level.max()) + 1
    rows, own, made = [], [], []
    for number, kind in enumerate(kinds):
        ever = np.bincount(case, came == kind) > 0
        keep = np.flatnonzero(ever[case])
        rows.append(keep)
        own.append(case[keep] * KINDS + number)
        made.append(np.column_stack([codes[keep] + number * per_kind, len(kinds) * per_kind + level[keep]]))
    stratum, row = np.concatenate(own), np.concatenate(rows)
    order = np.argsort(stratum, kind="stable")
    stratum, row = stratum[order], row[order]
    starts = np.append(np.flatnonzero(np.diff(stratum, prepend=-1)), len(row))
    return Pieces(
        starts,
        np.unique(stratum[starts[:-1]] // KINDS, return_inverse=True)[1],
        np.concatenate(made)[order].astype(np.int32),
        len(kinds) * per_kind + n_levels,
        level[row],
        width[row],
        (came[row] == np.array(kinds)[stratum % KINDS]).astype(np.float64),
    )
