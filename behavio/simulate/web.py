"""Portal traffic as a GA4 export, and attended events."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl

from behavio.files import whole_file
from behavio.simulate.clean import CleanLog, moments
from behavio.simulate.extracts import Tally, some, stamp, system_columns, write_table
from behavio.simulate.history import History
from behavio.simulate.ids import crm_ids
from behavio.simulate.vocabulary import ASSETS, DOWNLOAD, EVENT, PAGES, VISIT

BURST = 110
"""Events of a bot that does not call itself one."""


def hit_rows(
    case: np.ndarray,
    session: np.ndarray,
    micros: np.ndarray,
    name: np.ndarray,
    page: np.ndarray,
    **more: object,
) -> pl.DataFrame:
    """Rows of the export before they become text; case -1 is an anonymous visitor."""
    columns = {"case": case, "session": session, "micros": micros, "name": name, "page": page}
    return pl.DataFrame(columns).with_columns(
        pl.lit(more.get("device", "desktop")).alias("device"), pl.lit(None, dtype=pl.String).alias("file")
    )


def views(
    case: np.ndarray, start: np.ndarray, page: np.ndarray, rng: np.random.Generator, device: str = "desktop"
) -> pl.DataFrame:
    """session_start and page views of sessions that begin at `start` (s) on `page`."""
    n_pages = rng.integers(1, 4, len(start))
    which = np.repeat(np.arange(len(start)), n_pages)
    place = np.arange(len(which)) - np.repeat(np.cumsum(n_pages) - n_pages, n_pages)
    later = place * 40_000_000 + np.where(place > 0, rng.integers(0, 20_000_000, len(which)), 0)
    at = start * 1_000_000
    begin = hit_rows(case, start, at, np.full(len(start), "session_start"), page, device=device)
    name = np.full(len(which), "page_view")
    seen = np.where(place == 0, page[which], rng.integers(0, len(PAGES), len(which)))
    look = hit_rows(case[which], start[which], at[which] + later, name, seen, device=device)
    return pl.concat([begin, look])


def downloads(clean: CleanLog) -> pl.DataFrame:
    """One file_download per download, in the session of its visit."""
    rows = np.flatnonzero(clean.what == DOWNLOAD)
    visit, micros = clean.time[clean.parent[rows]], clean.time[rows] * 1_000_000
    hits = hit_rows(clean.case[rows], visit, micros, np.full(len(rows), "file_download"), clean.page[rows])
    return hits.with_columns(pl.Series(ASSETS).gather(clean.asset[rows]).alias("file"))


def bots(history: History, clean: CleanLog, rng: np.random.Generator) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Sessions of bots that say so, and bursts of more than a hundred views within a minute."""
    settings = history.settings
    visits = np.flatnonzero(clean.what == VISIT)
    n_cases = settings.n_cases
    span = settings.n_days * 86_400
    said = len(some(len(visits), 0.004, settings.dirt, rng))
    when = settings.start_s + rng.integers(0, span, said)
    named = views(rng.integers(0, n_cases, said), when, np.zeros(said, dtype=np.int64), rng, "bot")
    quick = len(some(len(visits), 0.001, settings.dirt, rng))
    case = np.repeat(rng.integers(0, n_cases, quick), BURST)
    start = np.repeat(settings.start_s + rng.integers(0, span, quick), BURST)
    step = np.tile(np.arange(BURST), quick)
    name = np.where(step == 0, "session_start", "page_view")
    return named, hit_rows(case, start, start * 1_000_000 + step * 300_000, name, step % len(PAGES))


def as_lines(hits: pl.DataFrame) -> pl.Series:
    """Each row as one line of JSON, as BigQuery exports it."""
    users = hits["case"].to_numpy()
    user = pl.select(
        pl.when(pl.Series(users) >= 0)
        .then(pl.format('"{}"', crm_ids("Account", np.maximum(users, 0))))
        .otherwise(pl.lit("null"))
    ).to_series()
    title = pl.Series(PAGES).gather(hits["page"].to_numpy())
    day = moments(hits["micros"].to_numpy() // 1_000_000).dt.strftime("%Y%m%d")
    file = (
        pl.when(hits["file"].is_null())
        .then(pl.lit(""))
        .otherwise(
            pl.concat_str(
                pl.lit(',{"key":"file_name","value":{"string_value":"'), hits["file"], pl.lit('"}}')
            )
        )
    )
    return pl.select(
        pl.concat_str(
            pl.lit('{"event_date":"'),
            day,
            pl.lit('","event_timestamp":'),
            hits["micros"].cast(pl.String),
            pl.lit(',"event_name":"'),
            hits["name"],
            pl.lit('","event_params":[{"key":"ga_session_id","value":{"int_value":'),
            hits["session"].cast(pl.String),
            pl.lit('}},{"key":"page_location","value":{"string_value":"https://portal.example/'),
            title.str.to_lowercase().str.replace(" ", "-"),
            pl.lit('"}},{"key":"page_title","value":{"string_value":"'),
            title,
            pl.lit('"}}'),
            file,
            pl.lit('],"user_id":'),
            user,
            pl.lit(',"user_pseudo_id":"'),
            (hits["session"] * 7 % 2_147_483_647).cast(pl.String),
            pl.lit('","device":{"category":"'),
            hits["device"],
            pl.lit('"}}'),
        )
    ).to_series()


def write_portal(history: History, clean: CleanLog, folder: Path, tally: Tally) -> None:
    """ga4_events.jsonl: visits of known HCPs, anonymous visitors and bots, in order of time."""
    settings = history.settings
    rng = np.random.default_rng([settings.seed, 17])
    visits = np.flatnonzero(clean.what == VISIT)
    known = pl.concat(
        [views(clean.case[visits], clean.time[visits], clean.page[visits], rng), downloads(clean)]
    )
    strangers = len(some(len(visits), 0.15, settings.dirt, rng))
    when = settings.start_s + rng.integers(0, settings.n_days * 86_400, strangers)
    anonymous = views(np.full(strangers, -1), when, np.zeros(strangers, dtype=np.int64), rng)
    named, quick = bots(history, clean, rng)
    hits = pl.concat([known, anonymous, named, quick]).sort(
        "micros", "case", "name", "page", maintain_order=True
    )
    with whole_file(folder / "ga4_events.jsonl") as draft:
        pl.DataFrame({"line": as_lines(hits)}).write_csv(draft, include_header=False, quote_style="never")
    tally.wrote(
        "ga4_events.jsonl",
        known.height,
        {"anonymous": anonymous.height, "bot_named": named.height, "bot_burst": quick.height},
        {
            "visits": len(visits),
            "downloads": int((clean.what == DOWNLOAD).sum()),
            "bot_sessions": pl.concat([named, quick]).filter(pl.col("name") == "session_start").height,
            "anonymous_sessions": strangers,
        },
    )


def write_attendance(history: History, clean: CleanLog, folder: Path, tally: Tally) -> None:
    """Event_Attendee_vod__c.csv: who came to which event, readable as a plain table."""
    rows = np.flatnonzero(clean.what == EVENT)
    n = len(rows)
    time = clean.time[rows]
    table = pl.DataFrame(
        {
            **system_columns(crm_ids("Event_Attendee_vod__c", np.arange(n)), time, time + 86_400),
            "Account_vod__c": crm_ids("Account", clean.case[rows]),
            "Status_vod__c": pl.repeat("Attended", n, eager=True),
            "Position_vod__c": pl.repeat("Participant_vod", n, eager=True),
            "Start_Datetime__c": stamp(time),
            "Event_Name__c": clean.events["content"].gather(rows) if n else pl.Series([], dtype=pl.String),
            "Activity__c": pl.repeat("event_attended", n, eager=True),
            "Channel__c": pl.repeat("event", n, eager=True),
            "Direction__c": pl.repeat("inbound", n, eager=True),
        }
    )
    write_table(folder / "Event_Attendee_vod__c.csv", [table])
    tally.wrote("Event_Attendee_vod__c.csv", n, {})
