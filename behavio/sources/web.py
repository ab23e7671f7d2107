"""Web analytics: GA4 export rows as sessions.

GA4 writes one row per hit with its parameters in a list of key and value. One `portal_visit` stands for
each (user, session), at the session's first row; rows named in `session.apart` (downloads) stay events of
their own. Sessions with a burst of rows no person can click are a bot's.
Source of the fields: the GA4 BigQuery export schema (event_timestamp in µs UTC).
"""

from __future__ import annotations

from collections.abc import Sequence

import polars as pl

from behavio.durations import seconds
from behavio.sources.mapping import Session
from behavio.sources.sieve import Sieve, as_text


def flat_params(frame: pl.DataFrame, params: Sequence[str]) -> pl.DataFrame:
    """The wanted entries of the list `event_params` as text columns `param.<key>`."""
    kind = frame.schema["event_params"]
    if not isinstance(kind, pl.List) or not isinstance(kind.inner, pl.Struct):
        return frame
    value = next((f.dtype for f in kind.inner.fields if f.name == "value"), None)
    rows = frame.select(pl.int_range(pl.len()).alias("at"), pl.col("event_params").alias("p"))
    rows = rows.explode("p", empty_as_null=True).drop_nulls("p").unnest("p")
    rows = rows.filter(pl.col("key").is_in(list(params)))
    if isinstance(value, pl.Struct):
        rows = rows.with_columns(pl.col("value").struct.unnest())
        kinds = [f.name for f in value.fields]
        found = pl.coalesce([as_text(rows, k) for k in kinds]) if kinds else pl.lit(None, dtype=pl.String)
    else:
        found = as_text(rows, "value")
    rows = rows.select("at", "key", found.alias("value"))
    for name in params:
        column = rows.filter(pl.col("key") == name).unique("at", keep="first")
        at = pl.DataFrame({"at": pl.int_range(frame.height, eager=True)})
        filled = at.join(column, on="at", how="left", maintain_order="left")["value"]
        frame = frame.with_columns(filled.alias(f"param.{name}"))
    return frame.drop("event_params")


def to_sessions(sieve: Sieve, session: Session) -> None:
    """Leave one row per session in play, with __activity__, and __seconds__ where known.

    Needs __case__ and __time__; afterwards the visit's row carries the time of the session's first row.
    """
    keys = [as_text(sieve.frame, c).alias(f"__key{i}__") for i, c in enumerate(session.key)]
    name = as_text(sieve.frame, session.column).alias("__name__")
    sieve.frame = sieve.frame.with_columns(*keys, name)
    names = [f"__key{i}__" for i in range(len(session.key))]
    apart = pl.col("__name__").is_in(list(session.apart))
    known = pl.all_horizontal(pl.col(n).is_not_null() for n in names)
    sieve.reject(
        ~known & ~apart, session.key[-1], "the row belongs to no session", "export the session's number"
    )
    _leave_out_bursts(sieve, session, names)
    where = [*names, "__time__", "__name__"]
    again = apart & ~pl.struct(where).is_first_distinct()
    sieve.leave_out(again, "the same hit exported twice")
    spent = pl.lit(None, dtype=pl.Float64)
    if session.seconds in sieve.frame.columns:
        number = as_text(sieve.frame, session.seconds).cast(pl.Float64, strict=False)
        spent = pl.when(number.count().over(names) > 0).then(number.sum().over(names) / 1000.0)
    first = pl.col("__time__").min().over(names)
    sieve.frame = sieve.frame.with_columns(
        pl.when(apart).then(None).otherwise(spent).alias("__seconds__"),
        pl.when(apart)
        .then(pl.col("__name__").replace_strict(dict(session.apart), default=None, return_dtype=pl.String))
        .otherwise(pl.lit(session.activity))
        .alias("__activity__"),
        (~apart).alias("__visit__"),
        first.alias("__first__"),
    )
    rank = pl.struct("__time__", "__row__").rank("ordinal").over([*names, "__visit__"])
    sieve.leave_out(pl.col("__visit__") & (rank > 1), "a further row of a session that counts once")
    only = (
        sieve.frame.filter(~pl.col("__visit__").any().over(names)).select(pl.struct(names).n_unique()).item()
    )
    if only:
        sieve.notes.append(
            f"{only:,} sessions hold nothing but {', '.join(session.apart)}: no visit of their own"
        )
    visit = pl.when("__visit__").then("__first__").otherwise("__time__")
    sieve.frame = sieve.frame.with_columns(visit.alias("__time__")).drop(
        *names, "__name__", "__visit__", "__first__"
    )


def _leave_out_bursts(sieve: Sieve, session: Session, keys: list[str]) -> None:
    """A session with more than `burst` rows inside `burst_within` is no person."""
    ahead = pl.col("__time__").sort().shift(-session.burst) - pl.col("__time__").sort()
    fast = (ahead.dt.total_microseconds() < seconds(session.burst_within) * 1e6).any().over(keys)
    sieve.leave_out(
        fast,
        f"a bot: more than {session.burst} rows of one session within {session.burst_within}",
        filtered=True,
    )
