"""The clean log: what a perfect reader gets out of the extracts, and how its events belong together."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import polars as pl

from behavio.log import ATTRIBUTES, EVENT_SCHEMA
from behavio.simulate.history import History
from behavio.simulate.ids import crm_ids
from behavio.simulate.vocabulary import (
    ACTIVITIES,
    ASSET_PAGES,
    ASSETS,
    BRANDS,
    CATEGORIES,
    CHANNELS,
    CLICK,
    DOWNLOAD,
    EVENT,
    EVENTS,
    MESSAGES,
    NEGATIVE,
    OPEN,
    OUTBOUND,
    PAGES,
    PHONE,
    POSITIVE,
    REGIONS,
    SENT,
    SHOWN,
    UNSUBSCRIBE,
    VISIT,
)
from behavio.simulate.world import TERRITORIES_PER_REGION

N_REPS = len(REGIONS) * TERRITORIES_PER_REGION
MARKETING = N_REPS
"""Number of the user who sends the campaign waves."""

QUICKEST_S = 5
"""Seconds after which a person can have answered an email; readers take faster ones for machines."""


@dataclass(frozen=True, slots=True, eq=False)
class CleanLog:
    """Events of all HCPs in order, as arrays, with the event each one belongs to.

    what      int8 activity code          time      int64 seconds since 1970-01-01 UTC
    case      int64 HCP                   wave      int16 campaign wave of an email, -1 otherwise
    parent    int64 row of the call, email or visit an event belongs to (itself for those), -1 for events
    message   int64 brand · 6 + place, -1 without one
    brand     int64 -1 without one
    minutes   int64 duration of a call     seconds   int64 how long a key message was shown
    asset     int64 downloaded file        page      int64 portal page landed on or downloaded from
    actor     int64 user who acted         events    the same as a table, EVENT_SCHEMA and ATTRIBUTES
    """

    what: np.ndarray
    time: np.ndarray
    case: np.ndarray
    wave: np.ndarray
    parent: np.ndarray
    message: np.ndarray
    brand: np.ndarray
    minutes: np.ndarray
    seconds: np.ndarray
    asset: np.ndarray
    page: np.ndarray
    actor: np.ndarray
    events: pl.DataFrame


def parents(what: np.ndarray, time: np.ndarray, case: np.ndarray) -> np.ndarray:
    """int64: row of the last call, email or visit before each key message, mail answer or download.

    Nobody answers an email within seconds: such an answer belongs to the email before it.
    """
    rows = np.arange(len(what))
    parent = np.full(len(what), -1, dtype=np.int64)
    call, mail, visit = what <= PHONE, what == SENT, what == VISIT
    talk = (what >= POSITIVE) & (what <= SHOWN)
    answer = (what == OPEN) | (what == CLICK) | (what == UNSUBSCRIBE)
    for head, tail in ((call, talk), (mail, answer), (visit, what == DOWNLOAD)):
        last = np.maximum.accumulate(np.where(head, rows, -1))
        if head is mail:
            before = np.concatenate([[-1], last[:-1]])[last]
            at_once = (last >= 0) & (time - time[last] < QUICKEST_S) & (before >= 0)
            last = np.where(at_once & answer & (case[before] == case), before, last)
        parent[head | tail] = last[head | tail]
    return parent


def wave_message(wave: np.ndarray) -> np.ndarray:
    """Key message of a campaign wave: brands take turns, messages rotate."""
    return (wave % 2) * 6 + (wave // 2) % 6


def durations(
    what: np.ndarray, time: np.ndarray, parent: np.ndarray, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Minutes of each call, long enough for its messages, and seconds of each message; 0 elsewhere."""
    minutes = np.where(what <= PHONE, rng.integers(3, 16, len(what)), 0)
    talk = (what >= POSITIVE) & (what <= SHOWN)
    since = (time[talk] - time[parent[talk]]) // 60 + 2
    np.maximum.at(minutes, parent[talk], since)
    seconds = np.where(talk, rng.integers(20, 120, len(what)), 0)
    return minutes, seconds


def build_clean(history: History) -> CleanLog:
    """Give every event its attributes."""
    track, people = history.track, history.people
    rng = np.random.default_rng([history.settings.seed, 2])
    what, case = track.what.astype(np.int64), track.case
    time = track.time + history.settings.start_s
    parent = parents(what, time, case)
    message = np.where(track.wave >= 0, wave_message(track.wave), track.message).astype(np.int64)
    answer = (what == OPEN) | (what == CLICK) | (what == UNSUBSCRIBE)
    message[answer] = message[parent[answer]]
    brand = np.where(message >= 0, message // 6, -1)
    call = what <= PHONE
    calls_before: np.ndarray = np.cumsum(call) - call
    first = np.searchsorted(case, case)
    nth = calls_before - calls_before[first] + 1
    brand[call] = ((people.offset[case] + nth) % 2)[call]
    minutes, seconds = durations(what, time, parent, rng)
    asset = np.where(what == DOWNLOAD, rng.integers(0, len(ASSETS), len(what)), -1)
    landing = np.where(rng.random(len(what)) < 0.6, 0, rng.integers(1, len(PAGES), len(what)))
    page = np.where(what == VISIT, landing, np.where(asset >= 0, np.array(ASSET_PAGES)[asset], -1))
    wave_mail = (what == SENT) & (track.wave >= 0)
    ours = np.isin(what, OUTBOUND) | ((what >= POSITIVE) & (what <= NEGATIVE))
    actor = np.where(wave_mail, MARKETING, np.where(ours, people.territory[case], -1))
    arrays = (what, time, case, track.wave, parent, message, brand, minutes, seconds, asset, page, actor)
    occasion = np.where(what == EVENT, rng.integers(0, len(EVENTS), len(what)), -1)
    return CleanLog(*arrays, events=clean_events(CleanLog(*arrays, events=pl.DataFrame()), occasion))


def lookup(names: list[str | None], codes: np.ndarray) -> pl.Series:
    """Names of codes; a code of -1 is the last name of the list."""
    return pl.Series(names, dtype=pl.String).gather(np.where(codes < 0, len(names) - 1, codes))


def contents(clean: CleanLog, occasion: np.ndarray) -> pl.Series:
    """Content of each event: category of its message, portal page, downloaded file, name of the event."""
    names: list[str | None] = [CATEGORIES[c] for brand in MESSAGES for _, c in brand]
    n = len(names)
    code = np.where(clean.message >= 0, clean.message, -1)
    code = np.where(clean.page >= 0, n + clean.page, code)
    code = np.where(clean.asset >= 0, n + len(PAGES) + clean.asset, code)
    code = np.where(occasion >= 0, n + len(PAGES) + len(ASSETS) + occasion, code)
    return lookup([*names, *PAGES, *ASSETS, *EVENTS, None], code)


def clean_events(clean: CleanLog, occasion: np.ndarray) -> pl.DataFrame:
    """The clean log as a table; `occasion` says which event was attended (-1: none)."""
    what = clean.what
    talk = (what >= POSITIVE) & (what <= SHOWN)
    mail = (what == SENT) | (what == OPEN) | (what == CLICK) | (what == UNSUBSCRIBE)
    names: list[str | None] = [m for brand in MESSAGES for m, _ in brand]
    reaction: list[str | None] = ["positive", "neutral", "negative", None]
    length = np.where(clean.minutes > 0, clean.minutes * 60.0, clean.seconds.astype(np.float64))
    frame = pl.DataFrame(
        {
            "case_id": crm_ids("Account", clean.case),
            "activity": lookup([*ACTIVITIES], what),
            "timestamp": moments(clean.time),
            "event_index": np.arange(len(what)),
            "channel": lookup([*CHANNELS], np.where(talk, what[clean.parent], what)),
            "direction": lookup(["inbound", "outbound"], np.isin(what, OUTBOUND).astype(np.int64)),
            "brand": lookup([*BRANDS, None], clean.brand),
            "message": lookup([*names, None], clean.message),
            "reaction": lookup(reaction, np.where(talk & (what < SHOWN), what - POSITIVE, -1)),
            "content": contents(clean, occasion),
            "duration_s": pl.Series(length).replace(0.0, None),
            "actor_id": lookup([*crm_ids("User", np.arange(N_REPS + 1)), None], clean.actor),
            "team": lookup(
                ["sales", "marketing", None], np.where(mail, 1, np.where((what <= PHONE) | talk, 0, -1))
            ),
        }
    )
    return frame.select(*EVENT_SCHEMA, *(c for c in ATTRIBUTES if c in frame.columns))


def moments(seconds: np.ndarray) -> pl.Series:
    """UTC times of seconds since 1970-01-01."""
    return pl.Series(seconds.astype(np.int64) * 1_000_000).cast(pl.Datetime("us")).dt.replace_time_zone("UTC")
