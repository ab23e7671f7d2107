"""What smells in a log: each detector looks for one thing and changes nothing.

Thresholds are set so that a log without the fault stays silent; they are arguments, so that they can be
tested and moved. What a finding means for results stands in `findings`.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Sequence
from dataclasses import asdict
from typing import Any

import polars as pl

from behavio.log import ATTRIBUTES, EventLog
from behavio.sources.clocks import clock_shifts
from behavio.sources.findings import Finding, found

DEFAULT_DAYS = ("1899-12-30", "1899-12-31", "1900-01-01", "1970-01-01", "1980-01-01", "9999-12-31")
CALL = pl.col("activity").str.starts_with("call_")
SHOWN = pl.col("activity") == "message_shown"
SENT = pl.col("activity") == "email_sent"
ANSWERED = pl.col("activity").is_in(["email_open", "email_click"])
TIME = pl.col("timestamp")
SOURCE = pl.col("source").str.extract(r"^([^/]*)")
"""Name of the source without the file that stands behind it where there are several."""


def findings(log: EventLog) -> list[dict[str, Any]]:
    """Everything that smells in a log, as the rows of a table; empty when nothing does."""
    missing = [pl.lit(None, dtype=t).alias(n) for n, t in ATTRIBUTES.items() if n not in log.events.columns]
    events = log.events.with_columns(missing).with_columns(SOURCE.fill_null("(log)").alias("source"))
    every = [*unmatched(log), *nameless(log), *late_sources(log)]
    for detect in (*(TIMED if log.timed else ()), *UNTIMED):
        every += detect(events)
    return [asdict(f) for f in every]


# time ----------------------------------------------------------------------------------------------


def shifted_clocks(events: pl.DataFrame) -> list[Finding]:
    """Sources that run whole hours before or after the others."""
    out = []
    for s in clock_shifts(events):
        words = {
            "source": s.source,
            "against": s.against,
            "hours": abs(s.hours),
            "side": "later" if s.hours > 0 else "earlier",
            "proof": f"{s.n:,} of {s.of:,} pairs say so" if s.by == "pairs" else "its day begins then",
            "doubt": "" if s.sure else f", unless the clock of {s.against} is the wrong one",
        }
        name = f"clock shifted by {s.hours:+d} h"
        out.append(found("clock shifted", s.source, s.n, s.of, name, **words))
    return out


def default_dates(events: pl.DataFrame) -> list[Finding]:
    """Times a system writes when it knows none: 1900-01-01, 1970-01-01, 9999-12-31, New Year at midnight."""
    known = TIME.dt.strftime("%Y-%m-%d").is_in(DEFAULT_DAYS)
    midnight = TIME.dt.time() == dt.time(0)
    new_year = midnight & (TIME.dt.ordinal_day() == 1) & ~known
    firsts = midnight & (TIME.dt.day() == 1) & (TIME.dt.month() > 1)  # monthly data stand on them too
    counts = [e.sum().alias(f"n{i}") for i, e in enumerate((known, new_year, midnight, firsts))]
    out = []
    for name, n, year, midnights, months, size in _per_source(events, *counts):
        n += year if year >= max(3, 5 * midnights / 365, 3 * months / 11) else 0
        if n:
            out.append(found("default dates", name, n, size))
    return out


def odd_years(events: pl.DataFrame, now: dt.datetime | None = None) -> list[Finding]:
    """Events before 1990 and in the future."""
    early = (dt.datetime(1990, 1, 1, tzinfo=dt.UTC) > TIME).sum().alias("early")
    late = ((now or dt.datetime.now(dt.UTC)) < TIME).sum().alias("late")
    out = []
    for name, before, after, size in _per_source(events, early, late):
        out += [found("events before 1990", name, before, size)] if before else []
        out += [found("events in the future", name, after, size)] if after else []
    return out


def midnight_bursts(events: pl.DataFrame, least: int = 20) -> list[Finding]:
    """Sources with dates only, and sources where too many events stand at exactly midnight."""
    out = []
    for name, n, size in _per_source(events, (TIME.dt.time() == dt.time(0)).sum().alias("n")):
        if n == size and size > 1:
            out.append(found("dates without a time", name, n, size))
        elif n >= least and n > 0.02 * size:
            out.append(found("burst at midnight", name, n, size))
    return out


def odd_hours(events: pl.DataFrame, least: int = 5) -> list[Finding]:
    """Calls at weekends or at night in a team that otherwise works neither."""
    calls = events.filter(CALL)
    if calls.height < 100:
        return []
    hours = calls.group_by(TIME.dt.hour().alias("h")).len()
    busy = hours.filter(pl.col("len") > 0.02 * calls.height)["h"].to_list()
    rare = {
        "calls at the weekend": TIME.dt.weekday() > 5,
        "calls outside the usual hours": ~TIME.dt.hour().is_in(busy),
    }
    out = []
    for kind, when in rare.items():
        odd = calls.filter(when)
        if least <= odd.height < 0.05 * calls.height:
            out.append(found(kind, _most(odd, "actor_id"), odd.height, calls.height))
    return out


def same_minute(events: pl.DataFrame, least: int = 4) -> list[Finding]:
    """Calls of one rep with several people in one minute; attendees of a group call share the second."""
    calls = events.filter(CALL & pl.col("actor_id").is_not_null())
    groups = calls.group_by("actor_id", TIME.dt.truncate("1m").alias("minute"), maintain_order=True).agg(
        TIME.n_unique().alias("moments"), pl.col("case_id").n_unique().alias("cases"), pl.len()
    )
    odd = groups.filter((pl.col("cases") >= least) & (pl.col("moments") >= 2))
    where = _names(odd["actor_id"].unique(maintain_order=True))
    n = int(odd["len"].sum())
    return [found("calls logged in the same minute", where, n, calls.height)] if n else []


def equal_times(events: pl.DataFrame, share: float = 0.2) -> list[Finding]:
    """Many events at the very time of the case's event before."""
    same = (pl.col("case_id") == pl.col("case_id").shift()) & (
        pl.col("timestamp").diff().dt.total_microseconds() == 0
    )
    n = events.select(same.sum()).item()
    if n <= share * events.height:
        return []
    return [found("order of equal times", _most(events.filter(same), "source"), n, events.height)]


# people --------------------------------------------------------------------------------------------


def all_positive(events: pl.DataFrame, least: int = 10, chance: float = 1e-3) -> list[Finding]:
    """Reps whose every reaction is positive although that is unlikely by their colleagues' share."""
    said = events.filter(pl.col("reaction").is_not_null() & pl.col("actor_id").is_not_null())
    good = (pl.col("reaction") == "positive").sum().alias("good")
    reps = said.group_by("actor_id", maintain_order=True).agg(good, pl.len())
    odd = reps.filter((pl.col("good") == pl.col("len")) & (pl.col("len") >= least))
    rest = reps.filter(pl.col("good") < pl.col("len"))
    usual = "nobody has another one"
    if rest.height:
        share = int(rest["good"].sum()) / int(rest["len"].sum())
        odd = odd.filter(pl.lit(share) ** pl.col("len") < chance)
        usual = f"others have {share:.0%}"
    if odd.height == 0:
        return []
    names = _names(odd["actor_id"])
    return [found("all reactions positive", names, int(odd["len"].sum()), said.height, usual=usual)]


def equal_durations(events: pl.DataFrame, least: int = 20) -> list[Finding]:
    """Reps whose calls all last equally long while those of others do not."""
    calls = events.filter(CALL & pl.col("actor_id").is_not_null() & (pl.col("duration_s") > 0))
    kinds = pl.col("duration_s").n_unique().alias("kinds")
    reps = calls.group_by("actor_id", maintain_order=True).agg(kinds, pl.len())
    odd = reps.filter((pl.col("kinds") == 1) & (pl.col("len") >= least))
    if odd.height in (0, reps.height):
        return []
    return [found("equal durations", _names(odd["actor_id"]), int(odd["len"].sum()), calls.height)]


def missing_reactions(events: pl.DataFrame, least: int = 20) -> list[Finding]:
    """Key messages without a recorded reaction, and reps who never record one."""
    talk = events.filter(SHOWN | pl.col("activity").str.starts_with("reaction_"))
    n = talk.select(SHOWN.sum()).item()
    if not n:
        return []
    none = SHOWN.mean().alias("none")
    reps = talk.drop_nulls("actor_id").group_by("actor_id", maintain_order=True).agg(none, pl.len())
    never = reps.filter((pl.col("none") == 1) & (pl.col("len") >= least))["actor_id"]
    where = f"{never.len()} never record one: {_names(never)}" if never.len() else _most(talk, "source")
    return [found("missing reactions", where, n, talk.height)]


# email ---------------------------------------------------------------------------------------------


def same_second(events: pl.DataFrame) -> list[Finding]:
    """An open and a click of one case in the same second."""
    mail = events.filter(ANSWERED)
    kinds = pl.col("activity").n_unique().alias("kinds")
    pairs = mail.group_by("case_id", TIME.dt.truncate("1s").alias("second")).agg(kinds)
    n = int((pairs["kinds"] == 2).sum())
    return [found("open and click in the same second", _most(mail, "source"), n, mail.height)] if n else []


def bot_clicks(events: pl.DataFrame, burst: int = 3, within_s: float = 5.0) -> list[Finding]:
    """Clicks within seconds of the send, and several clicks within seconds: link scanners."""
    mail = events.filter(SENT | (pl.col("activity") == "email_click"))
    mail = mail.sort("case_id", "timestamp", "event_index")
    after_send = (pl.col("activity").shift() == "email_sent") & _within(1, within_s)
    clicks = mail.with_columns(after_send.fill_null(False).alias("bot"))
    clicks = clicks.filter(pl.col("activity") == "email_click")
    clicks = clicks.filter(pl.col("bot") | _within(burst - 1, within_s).fill_null(False))
    n = clicks.height
    of = mail.select((pl.col("activity") == "email_click").sum()).item()
    return [found("bot clicks", _most(clicks, "source"), n, of)] if n else []


def untracked_opens(events: pl.DataFrame, least: int = 5) -> list[Finding]:
    """Emails whose opens are not recorded; without that column, people who never opened any."""
    mail = events.filter(SENT | ANSWERED)
    if "opens_tracked" in mail.columns:
        tracked = pl.col("opens_tracked").str.to_lowercase().str.contains(r"^(identified|tracked|true|1)")
        odd = mail.filter(SENT & ~tracked.fill_null(True))
        if odd.height:
            sent = mail.select(SENT.sum()).item()
            return [found("untracked opens", _most(odd, "source"), odd.height, sent)]
    counts = [SENT.sum().alias("sent"), ANSWERED.sum().alias("opened")]
    people = mail.group_by("case_id").agg(counts).filter(pl.col("sent") >= least)
    n, size = int((people["opened"] == 0).sum()), people.height
    if not n or people["opened"].sum() == 0:
        return []
    where = _most(mail.filter(SENT), "source")
    return [found("never opened", where, n, size, people=f"{size:,}", least=least)]


# sources -------------------------------------------------------------------------------------------


def unmatched(log: EventLog) -> list[Finding]:
    """Cases with events that the case table does not know."""
    size = log.cases.height
    return [found("ids not in the case table", s.name, s.unmatched, size) for s in log.sources if s.unmatched]


def nameless(log: EventLog) -> list[Finding]:
    """Rows that name nobody: anonymous visitors, empty ids."""
    nobody = pl.col("reason").str.contains("anonymous|case id is empty|not in the identity map")
    counted = log.rejected.filter(nobody).group_by("source").len()
    n = dict(counted.rows())
    return [found("rows that name nobody", s.name, n[s.name], s.read) for s in log.sources if s.name in n]


def late_sources(log: EventLog, days: float = 14.0) -> list[Finding]:
    """Sources whose newest event lies far behind the newest of all."""
    return [
        found("source ends early", s.name, s.accepted, s.read, days=f"{s.behind_days:,.0f}")
        for s in log.sources
        if s.behind_days is not None and s.behind_days > days
    ]


TIMED: Sequence[Callable[[pl.DataFrame], list[Finding]]] = (
    *(shifted_clocks, default_dates, odd_years, midnight_bursts, odd_hours, same_minute, equal_times),
    *(same_second, bot_clicks),
)
UNTIMED: Sequence[Callable[[pl.DataFrame], list[Finding]]] = (
    *(all_positive, equal_durations, missing_reactions, untracked_opens),
)


def _per_source(events: pl.DataFrame, *counts: pl.Expr) -> list[tuple[Any, ...]]:
    """(source, counts …, number of events) in the order of the sources."""
    return events.group_by("source", maintain_order=True).agg(*counts, pl.len()).rows()


def _within(back: int, seconds: float) -> pl.Expr:
    """True where the case's row `back` rows before lies at most so many seconds before."""
    gap = (TIME - TIME.shift(back)).dt.total_microseconds()
    return (pl.col("case_id") == pl.col("case_id").shift(back)) & gap.is_between(0, int(seconds * 1e6))


def _names(values: pl.Series, n: int = 3) -> str:
    shown = ", ".join(str(v) for v in values.head(n))
    return shown + (f" and {values.len() - n} more" if values.len() > n else "")


def _most(rows: pl.DataFrame, column: str) -> str:
    """The most frequent values of a column, for a cell of a table."""
    counted = rows.drop_nulls(column).group_by(column).len().sort("len", column, descending=[True, False])
    return _names(counted[column].cast(pl.String)) or "(log)"
