"""Hits become visits: by the session number of the export, else cut where a person pauses too long.

One event stands for each session, at its first row; rows whose activity is in `apart` (downloads) stay
events of their own, and with `views` each topic looked at gives one event per session. A session with a
burst of rows that no person can click is a bot's. A gap must be *longer* than `session_gap` to start a new
session, as web analytics count ("30 minutes of inactivity").
"""

from __future__ import annotations

import polars as pl

from behavio.durations import seconds
from behavio.errors import JobError
from behavio.sources.mapping import SourceMapping
from behavio.sources.parts import Session
from behavio.sources.records import as_text
from behavio.sources.settings import SourceSettings
from behavio.sources.sieve import Sieve
from behavio.sources.topics import named, page_path, rules_of, unmatched_note

VIEW = "portal_view"
GROUP, PLACE = "__session__", "__place__"
AGAIN = "a further row of a session that counts once"


def session_numbers(case: pl.Series, time: pl.Series, gap_s: float) -> pl.Series:
    """Number of each row's session within its case, from 0: a pause longer than `gap_s` starts a new one.

    int64, in the order of the rows given; they need not be sorted.
    """
    rows = pl.DataFrame({"case": case, "time": time}).with_row_index("at")
    rows = rows.sort("case", "time", "at")
    pause = pl.col("time").diff().over("case").dt.total_microseconds()
    rows = rows.with_columns((pause > gap_s * 1e6).fill_null(False).alias("new"))
    rows = rows.with_columns(pl.col("new").cum_sum().over("case").alias("n"))
    return rows.sort("at")["n"].cast(pl.Int64)


def to_sessions(sieve: Sieve, mapping: SourceMapping, settings: SourceSettings) -> None:
    """Leave the rows in play that are events, with __activity__, and __seconds__ where known.

    Needs __case__ and __time__; afterwards the visit's row carries the time of the session's first row,
    and __topic__ what it was about where the mapping knows pages. Each topic of a session counts once: the
    first with the visit, with `views` the others as events of their own.
    """
    session = mapping.session
    assert session is not None
    if settings.activity is not None:
        raise JobError(
            f"[source.{sieve.name}] cannot name an activity: rows of a {settings.kind} become sessions",
            hint="rename it in values.activity, or edit [session] in a copy of the mapping",
        )
    sieve.frame = sieve.frame.with_columns(_name(sieve, session).fill_null("").alias("__name__"))
    sieve.frame = sieve.frame.with_columns(
        (~pl.col("__name__").is_in(list(session.apart))).alias("__visit__")
    )
    names = _keys(sieve, session, settings.session_gap or session.gap)
    _numbered(sieve, names)
    _leave_out_bursts(sieve, session)
    where = [GROUP, "__time__", "__name__", *_told(sieve, mapping)]
    sieve.leave_out(
        ~pl.col("__visit__") & ~pl.struct(where).is_first_distinct(), "the same hit exported twice"
    )
    _topics(sieve, mapping, settings)
    _events(sieve, session, views=settings.views)


def _name(sieve: Sieve, session: Session) -> pl.Expr:
    """What each row is; of several names in one cell, the first that is an event of its own."""
    if session.column not in sieve.frame.columns:
        return pl.lit("")
    name = as_text(sieve.frame, session.column)
    if not session.several:
        return name
    own = pl.element().filter(pl.element().is_in(list(session.apart)))
    return name.str.split(",").list.eval(own).list.first()


def _told(sieve: Sieve, mapping: SourceMapping) -> list[str]:
    """Columns that tell two downloads of one moment apart."""
    field = mapping.attributes.get("content")
    return [c for c in field.needs if c in sieve.frame.columns] if field is not None else []


def _keys(sieve: Sieve, session: Session, gap: str) -> list[str]:
    """Columns that name the session of each row; without a gap, rows that belong to none are rejected."""
    have = [c for c in session.key if c in sieve.frame.columns]
    names = [f"__key{i}__" for i in range(len(have))]
    keys = [as_text(sieve.frame, c).alias(n) for n, c in zip(names, have, strict=True)]
    sieve.frame = sieve.frame.with_columns(*keys)
    needed = [c for c in session.key if c not in session.extra]
    known = pl.lit(False)
    if needed and all(c in have for c in needed):
        known = pl.all_horizontal(
            pl.col(n).is_not_null() for n, c in zip(names, have, strict=True) if c in needed
        )
    if not gap:
        sieve.require([c for c in needed if c not in have], "the session") if needed else None
        hint = 'export the session\'s number, or set session_gap = "30m"'
        lost = ~known & pl.col("__visit__")
        sieve.reject(lost, session.key[-1], "the row belongs to no session", hint)
        return names
    return _cut(sieve, names, known, gap)


def _cut(sieve: Sieve, names: list[str], known: pl.Expr, gap: str) -> list[str]:
    """Give the rows without a session of their own the number of one cut by the gap."""
    sieve.frame = sieve.frame.with_columns(known.alias("__known__"))
    lost = ~sieve.frame["__known__"]
    cut = pl.Series("cut", [None] * sieve.frame.height, dtype=pl.Int64)
    if lost.any():
        rows = sieve.frame.filter(lost)
        numbers = session_numbers(rows["__case__"], rows["__time__"], seconds(gap))
        cut = cut.scatter(lost.arg_true(), numbers)
        n = pl.DataFrame({"case": rows["__case__"], "cut": numbers}).n_unique()
        sessions = "1 session" if n == 1 else f"{n:,} sessions"
        sieve.notes.append(f"{sessions} cut where nothing happened for more than {gap}")
    own = pl.col("__known__")
    sieve.frame = sieve.frame.with_columns(
        cut.alias("__cut__"),
        pl.when(own).then(None).otherwise("__case__").alias("__whose__"),
        *(pl.when(own).then(n).alias(n) for n in names),
    ).drop("__known__")
    return [*names, "__cut__", "__whose__"]


def _topics(sieve: Sieve, mapping: SourceMapping, settings: SourceSettings) -> None:
    """Fill __topic__ by the rules; without rules the topic is the page itself."""
    have = [c for c in mapping.page.needs if c in sieve.frame.columns]
    rules = rules_of(settings.topics)
    if not have:
        if rules or settings.views:
            sieve.notes.append("no column of this source names a page: topics and views stay empty")
        sieve.frame = sieve.frame.with_columns(pl.lit(None, dtype=pl.String).alias("__topic__"))
        return
    pages = [sieve.frame.select(page_path(as_text(sieve.frame, c))).to_series() for c in have]
    topic = sieve.frame.select(pl.coalesce([pl.lit(p) for p in pages])).to_series()
    if rules:
        path = pl.coalesce([pl.when(pl.lit(p).str.starts_with("/")).then(pl.lit(p)) for p in pages])
        shown = sieve.frame.select(pl.coalesce(path, pl.lit(topic))).to_series()
        topic = named(rules, pages)
        visit = sieve.frame["__visit__"]
        if note := unmatched_note(shown.filter(visit), topic.filter(visit), "topics"):
            sieve.notes.append(note)
    sieve.frame = sieve.frame.with_columns(topic.alias("__topic__"))


def _events(sieve: Sieve, session: Session, *, views: bool) -> None:
    """The rows that are events, with their activity, time, topic and seconds."""
    in_time = sieve.frame.sort("__time__", "__row__", maintain_order=True)
    visits = in_time.filter("__visit__")
    first = visits.filter(pl.col(GROUP).is_first_distinct()).select(PLACE, pl.lit(True).alias("__begins__"))
    new = visits.filter(pl.struct(GROUP, "__topic__").is_first_distinct())
    new = new.select(PLACE, pl.lit(True).alias("__looks__"))
    about = visits.filter(pl.col("__topic__").is_not_null()).unique(GROUP, keep="first", maintain_order=True)
    about = about.select(GROUP, pl.col("__topic__").alias("__about__"))
    whole = sieve.frame.group_by(GROUP).agg(
        pl.min("__time__").alias("__first__"),
        _spent(sieve, session).alias("__seconds__"),
        (~pl.col("__visit__").any()).alias("__lone__"),
    )
    for part, key in ((first, PLACE), (new, PLACE), (about, GROUP), (whole, GROUP)):
        sieve.frame = sieve.frame.join(part, on=key, how="left", maintain_order="left")
    sieve.frame = sieve.frame.with_columns(pl.col("__begins__", "__looks__").fill_null(False))
    begins, visit = pl.col("__begins__"), pl.col("__visit__")
    looks = pl.lit(False)
    if views:
        other = pl.col("__topic__").is_not_null() & (pl.col("__topic__") != pl.col("__about__"))
        looks = pl.col("__looks__") & other & ~begins
    if lone := sieve.frame.filter("__lone__")[GROUP].n_unique():
        held = ", ".join(session.apart)
        sieve.notes.append(f"{lone:,} sessions hold nothing but {held}: no visit of their own")
    sieve.leave_out(visit & ~begins & ~looks, AGAIN)
    apart = pl.col("__name__").replace_strict(dict(session.apart), default=None, return_dtype=pl.String)
    activity = pl.when(begins).then(pl.lit(session.activity)).when(visit).then(pl.lit(VIEW)).otherwise(apart)
    topic = pl.when(begins).then("__about__").when(visit).then("__topic__")
    gone = [
        "__name__",
        "__visit__",
        "__begins__",
        "__looks__",
        "__about__",
        "__first__",
        "__lone__",
        GROUP,
        PLACE,
    ]
    sieve.frame = sieve.frame.with_columns(
        activity.alias("__activity__"),
        topic.alias("__topic__"),
        pl.when(begins).then("__first__").otherwise("__time__").alias("__time__"),
        pl.when(begins).then("__seconds__").alias("__seconds__"),
        (~visit).alias("__apart__"),
    ).drop(gone)


def _spent(sieve: Sieve, session: Session) -> pl.Expr:
    """Seconds of a session: as the export measured them, else from its first to its last row."""
    if session.seconds in sieve.frame.columns:
        number = as_text(sieve.frame, session.seconds).cast(pl.Float64, strict=False)
        total = number.max() if session.per_visit else number.sum()
        return pl.when(number.count() > 0).then(total * session.unit_s)
    if not session.span:
        return pl.lit(None, dtype=pl.Float64)
    lasted = (pl.max("__time__") - pl.min("__time__")).dt.total_microseconds() / 1e6
    return pl.when(lasted > 0).then(lasted)


def _numbered(sieve: Sieve, names: list[str]) -> None:
    """One number for each session instead of its key, and one for each row."""
    keys = sieve.frame.select(names).unique().with_row_index(GROUP)
    joined = sieve.frame.join(keys, on=names, how="left", nulls_equal=True, maintain_order="left")
    sieve.frame = joined.drop(names).with_row_index(PLACE)


def _leave_out_bursts(sieve: Sieve, session: Session) -> None:
    """A session with more than `burst` rows inside `burst_within` is no person."""
    rows = sieve.frame.select(GROUP, "__time__").sort(GROUP, "__time__")
    ahead = pl.col("__time__").shift(-session.burst) - pl.col("__time__")
    same = pl.col(GROUP).shift(-session.burst) == pl.col(GROUP)
    fast = same & (ahead.dt.total_microseconds() < seconds(session.burst_within) * 1e6)
    found = rows.filter(fast)[GROUP].unique()
    sieve.leave_out(
        pl.col(GROUP).is_in(found.implode()),
        f"a bot: more than {session.burst} rows of one session within {session.burst_within}",
        filtered=True,
    )
