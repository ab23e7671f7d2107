"""Contacts of a log: which were answered under what pressure, and the timeline that estimates are made of."""

from __future__ import annotations

from dataclasses import dataclass
from difflib import get_close_matches

import numpy as np
import polars as pl

from behavio.durations import seconds
from behavio.errors import JobError, ModelError
from behavio.log import ATTRIBUTES, EventLog
from behavio.pressure.risk import Timeline
from behavio.pressure.settings import PressureSettings

CHANNELS = 4
"""So many channels, and kinds of what comes in, are told apart; the others count as one."""


@dataclass(frozen=True, eq=False)
class ContactTable:
    """Every contact of the log in order of cases and time, and the time between them.

    case_ids           (cases,)
    case               int64 (n,)
    level              int64 (n,) contacts in the window, this one included
    answered           bool (n,) before the next contact and the end of `response_within`
    whole              bool (n,) the window and the time to answer lie inside the log
    today              int64 (cases,) contacts in the window before the newest event
    line               everything that happened, of which time at risk is made
    """

    case_ids: pl.Series
    case: np.ndarray
    level: np.ndarray
    answered: np.ndarray
    whole: np.ndarray
    today: np.ndarray
    line: Timeline


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
    # a contact is watched until the next one comes: what comes then may answer either
    watched = np.minimum(np.diff(at, append=np.iinfo(np.int64).max), within)
    next_one = np.searchsorted(answers, at, side="right")
    whole = (watched > 0) & (time[touch] - start >= window) & (time[touch] + within <= end)
    newest = np.arange(len(ids)) * (end - start + 2 * window) + (end - start)
    others = masks["inbound"].to_numpy() & ~answer
    line = Timeline(
        case,
        time - start,
        _kinds(events, "channel", touch),
        _kinds(events, "activity", answer),
        _kinds(events, "activity", others),
        start,
        end - start,
        window,
    )
    return ContactTable(
        case_ids=ids,
        case=case[touch],
        level=np.arange(1, len(at) + 1) - np.searchsorted(at, at - window, side="right"),
        answered=np.searchsorted(answers, at + watched, side="right") > next_one,
        whole=whole,
        today=np.searchsorted(at, newest, side="right") - np.searchsorted(at, newest - window, side="right"),
        line=line,
    )


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


def _kinds(events: pl.DataFrame, name: str, mask: np.ndarray) -> np.ndarray:
    """int64 (events,): which value of this column, the most frequent 0, rare ones alike; -1 off the mask."""
    found = np.full(len(mask), -1)
    values = events[name].cast(pl.String).filter(pl.Series(mask)).fill_null("?").alias("value")
    known = values.value_counts(sort=True).sort("count", "value", descending=[True, False])
    place = {value: min(k, CHANNELS) for k, value in enumerate(known["value"].to_list())}
    if place:
        found[mask] = values.replace_strict(place, return_dtype=pl.Int64).to_numpy()
    return found
