"""Contacts of a log as the estimates need them: pressure, answer, and what else may explain the answer."""

from __future__ import annotations

from dataclasses import dataclass
from difflib import get_close_matches

import numpy as np
import polars as pl

from behavio.durations import seconds
from behavio.errors import JobError, ModelError
from behavio.log import ATTRIBUTES, EventLog
from behavio.pressure.settings import PressureSettings
from behavio.pressure.within import Contacts

DAY_US = 86_400_000_000
RECENT = (2, 5, 9, 14, 28)
"""Days since the last contact or answer, in bins: an answer to the last one is no answer to this one."""
MONTH_US = 30 * DAY_US
MOST = 200_000
"""Contacts of a group that are looked at; of more, those of every k-th case."""
BIN = 0.25
"""Days of one step of the hazard."""
PARTS = 28
"""Parts of a week, of one step each."""
ROUNDS = 20
CHANNELS = 4
"""So many channels are told apart; the others count as one."""


@dataclass(frozen=True, eq=False)
class ContactTable:
    """Every contact of the log in order of cases and time.

    case_ids           (cases,)
    case, channel      int64 (n,)
    level              int64 (n,) contacts in the window, this one included
    answered           bool (n,)
    whole              bool (n,) the window and the time to answer lie inside the log
    given              float64 (n, k) what else may explain an answer
    wait               float64 (n,) days until the first answer, or until nobody watches any more
    at                 float64 (n,) days since a Monday at 0:00 UTC
    today              int64 (cases,) contacts in the window before the newest event
    """

    case_ids: pl.Series
    case: np.ndarray
    channel: np.ndarray
    level: np.ndarray
    answered: np.ndarray
    whole: np.ndarray
    given: np.ndarray
    wait: np.ndarray
    at: np.ndarray
    today: np.ndarray

    def of(self, cases: np.ndarray) -> Contacts:
        """Contacts that count, of these cases (bool per case)."""
        keep = np.flatnonzero(self.whole & cases[self.case])
        keep = _some(keep, self.case)
        own, stratum = np.unique(self.case[keep] * (CHANNELS + 1) + self.channel[keep], return_inverse=True)
        ids, owner = np.unique(own // (CHANNELS + 1), return_inverse=True)
        return Contacts(
            np.searchsorted(ids, self.case[keep]),
            stratum,
            owner,
            self.level[keep].astype(np.float64),
            self.answered[keep].astype(np.float64),
            self.given[keep],
            _exposure(self.channel[keep], self.wait[keep], self.answered[keep], self.at[keep]),
        )


def read_contacts(log: EventLog, settings: PressureSettings) -> ContactTable:
    """The contacts of a log. ModelError without a clock or contacts; JobError for an unknown response."""
    if not log.timed:
        raise ModelError("a log without a clock has no contact pressure", hint="leave [pressure] out")
    events = _events(log)
    ids = events["case_id"].unique().sort()
    case = events["case_id"].replace_strict(ids, range(len(ids)), return_dtype=pl.Int64).to_numpy()
    time = events["timestamp"].dt.epoch("us").to_numpy()
    start, end = int(time.min()), int(time.max())
    window, within = (round(seconds(getattr(settings, n)) * 1e6) for n in ("window", "response_within"))
    key = case * (end - start + 2 * window) + (time - start)
    masks = _masks(events, settings)
    touch, answer = masks["touch"].to_numpy(), masks["answer"].to_numpy()
    if not touch.any():
        raise ModelError("the log holds no outbound contact", hint="pressure needs the column direction")
    at, answers = key[touch], key[answer]
    since = time[touch] - start
    number, channel = _channels(events.filter(masks["touch"])["channel"])
    # a contact is watched until the next one comes: what comes then may answer either
    watched = np.minimum(np.diff(at, append=np.iinfo(np.int64).max), within)
    next_one = np.searchsorted(answers, at, side="right")
    came = np.searchsorted(answers, at + watched, side="right") > next_one
    wait = watched.astype(np.float64)
    wait[came] = answers[next_one[came]] - at[came]
    whole = (watched > 0) & (since >= window) & (time[touch] + within <= end)
    others = masks["inbound"].to_numpy() & ~answer
    lasts = [key[touch][channel == k] for k in range(number)] + [answers, key[others]]
    first = channel == 0
    # two calls open no door twice: the last contact that was none of the most frequent channel counts once
    lasts += [at[~first]]
    recent = np.hstack([_bins(at, last) for last in lasts])
    month = (since // MONTH_US).astype(np.int64)
    months = np.eye(int(month.max()) + 1)[month][:, 1:]
    # who reads at weekends answers within days what came late in the week
    weekday = np.eye(7)[(time[touch] // DAY_US + 3) % 7][:, 1:]
    newest = np.arange(len(ids)) * (end - start + 2 * window) + (end - start)
    return ContactTable(
        case_ids=ids,
        case=case[touch],
        channel=channel,
        level=np.arange(1, len(at) + 1) - np.searchsorted(at, at - window, side="right"),
        answered=came,
        whole=whole,
        given=np.hstack([recent, recent * first[:, None], weekday, weekday * first[:, None], months]),
        wait=wait / DAY_US,
        at=(time[touch] / DAY_US + 3) % 7,  # 1 January 1970 was a Thursday
        today=np.searchsorted(at, newest, side="right") - np.searchsorted(at, newest - window, side="right"),
    )


def _some(keep: np.ndarray, case: np.ndarray) -> np.ndarray:
    """All of these contacts, or those of every k-th case where there are more than MOST."""
    every = -(-len(keep) // MOST)
    return keep if every < 2 else keep[np.unique(case[keep], return_inverse=True)[1] % every == 0]


def _exposure(channel: np.ndarray, wait: np.ndarray, answered: np.ndarray, at: np.ndarray) -> np.ndarray:
    """How much of the chance of an answer each contact has waited through: float64 (n,), > 0.

    wait   days until the first answer or until nobody watches any more
    at     days since a Monday at 0:00 at which the contact was made

    The hazard of a first answer after contacts of a channel is taken as a step function of the days since the
    contact times one of the hour of the week: who reads at weekends cannot have answered by Wednesday what
    came on Monday. Both are fitted in turn (a Poisson model of answers per time at risk); a contact's
    exposure is their product over its wait, 1 on average.
    """
    found = np.ones(len(wait))
    n_bins = max(int(np.ceil(wait.max(initial=0.0) / BIN)), 1)
    for one in np.unique(channel):
        own = np.flatnonzero(channel == one)
        if not answered[own].any():
            continue
        first = np.arange(n_bins) * BIN
        watched = np.clip(wait[own][:, None] - first, 0.0, BIN)
        part = (np.floor((at[own][:, None] + first + BIN / 2) / BIN) % PARTS).astype(np.int64)
        came = np.flatnonzero(answered[own])
        last = np.maximum(np.ceil(wait[own][came] / BIN).astype(np.int64) - 1, 0)
        won = np.zeros((n_bins, PARTS))
        np.add.at(won, (last, part[came, last]), 1.0)
        risk = np.zeros((n_bins, PARTS))
        np.add.at(risk, (np.broadcast_to(np.arange(n_bins), part.shape), part), watched)
        since, week = np.ones(n_bins), np.ones(PARTS)
        for _ in range(ROUNDS):
            since = won.sum(axis=1) / np.maximum(risk @ week, 1e-9)
            # as if each part had seen one answer more at the usual rate: a quiet part is never wholly shut
            week = (won.sum(axis=0) + 1) / (since @ risk + 1)
        passed = (watched * since * week[part]).sum(axis=1)
        found[own] = np.maximum(passed / passed.mean(), 1e-3)
    return found


def _events(log: EventLog) -> pl.DataFrame:
    missing = [pl.lit(None, dtype=t).alias(n) for n, t in ATTRIBUTES.items() if n not in log.events.columns]
    return log.events.with_columns(missing).with_columns(pl.col("case_id", "activity").cast(pl.String))


def _masks(events: pl.DataFrame, settings: PressureSettings) -> pl.DataFrame:
    """touch, answer, inbound: bool (events,)."""
    inbound = (pl.col("direction") == "inbound").fill_null(False)
    touch = (pl.col("direction") == "outbound").fill_null(False)
    touch &= ~pl.col("activity").is_in(settings.parts_of_contact)
    answer = inbound & pl.col("reaction").is_null() & ~pl.col("activity").is_in(settings.refusals)
    if settings.responses is not None:
        known = events["activity"].unique().sort().to_list()
        for name in settings.responses:
            if name not in known:
                near = get_close_matches(name, known, 1, 0.4)
                hint = f"did you mean {near[0]!r}?" if near else f"activities: {', '.join(known[:20])}"
                raise JobError(f"the response {name!r} is no activity of this log", hint=hint)
        answer = pl.col("activity").is_in(settings.responses)
    return events.select(touch=touch, answer=answer, inbound=inbound)


def _channels(names: pl.Series) -> tuple[int, np.ndarray]:
    """Number of channels told apart and the channel of each contact, the most frequent 0."""
    known = names.fill_null("?").value_counts(sort=True).sort("count", names.name, descending=[True, False])
    order = known[names.name].to_list()
    place = {name: min(k, CHANNELS) for k, name in enumerate(order)}
    codes = names.fill_null("?").replace_strict(place, return_dtype=pl.Int64).to_numpy()
    return min(len(order), CHANNELS + 1), codes


def _bins(at: np.ndarray, last: np.ndarray) -> np.ndarray:
    """float64 (n, bins): in which bin the last of these moments before each contact lies."""
    place = np.searchsorted(last, at, side="left") - 1
    gap = np.where(place >= 0, at - last[np.maximum(place, 0)], np.iinfo(np.int64).max) if len(last) else None
    if gap is None:
        return np.zeros((len(at), len(RECENT)))
    days, low = gap / DAY_US, 0.0
    found = []
    for high in RECENT:
        found.append((days > low) & (days <= high))
        low = high
    return np.stack(found, axis=1).astype(np.float64)
