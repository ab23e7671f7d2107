"""Rows a system wrote, no person: shadows of other rows, reactions faster than anybody, volleys of clicks."""

from __future__ import annotations

import polars as pl

from behavio.durations import seconds
from behavio.sources.mapping import Field, SourceMapping
from behavio.sources.parts import Shadow, TooSoon, Volley
from behavio.sources.records import as_text
from behavio.sources.sieve import Sieve
from behavio.sources.times import read_times


def leave_out_machines(sieve: Sieve, mapping: SourceMapping, zone: str) -> None:
    """Take them out of play; needs __time__. `zone` places the other times of the row that carry none."""
    for rule in mapping.shadow:
        _shadow(sieve, rule)
    for late in mapping.too_soon:
        _too_soon(sieve, late, zone, mapping.timestamp_format)
    for volley in mapping.volley:
        _volley(sieve, volley)


def _shadow(sieve: Sieve, rule: Shadow) -> None:
    same = [c for c in rule.same if c in sieve.frame.columns]
    if not _there(sieve, rule.column) or len(same) < len(rule.same):
        return
    keys = [pl.col(c) for c in same] + [pl.col("__time__")]
    value = sieve.text(Field(column=rule.column))
    known = pl.all_horizontal(pl.col(c).is_not_null() for c in same)
    beside = value.is_in(list(rule.beside)).fill_null(False).any().over(keys)
    sieve.leave_out(value.is_in(list(rule.value)) & known & beside, rule.why)


def _there(sieve: Sieve, columns: tuple[str, ...]) -> bool:
    return any(c in sieve.frame.columns for c in columns)


def _too_soon(sieve: Sieve, rule: TooSoon, zone: str, format: str | None) -> None:
    if rule.after not in sieve.frame.columns or (rule.column and not _there(sieve, rule.column)):
        return
    start = (
        _last_before(sieve, rule)
        if rule.after_value
        else read_times(sieve.frame[rule.after], zone, format).utc
    )
    soon = (sieve.frame["__time__"] - start).dt.total_microseconds()
    mask = (soon < int(seconds(rule.within) * 1e6)) & (soon >= 0)
    if rule.column:
        written = sieve.frame.select(sieve.text(Field(column=rule.column)).alias("v"))["v"]
        mask = mask & written.is_in(list(rule.value))
    sieve.leave_out(mask, rule.why, filtered=True)


def _last_before(sieve: Sieve, rule: TooSoon) -> pl.Series:
    """Time of the case's last row, up to each row, that holds the value."""
    when = pl.when(pl.col("value") == rule.after_value).then("__time__").forward_fill()
    rows = sieve.frame.select("__case__", "__time__", as_text(sieve.frame, rule.after).alias("value"))
    rows = rows.with_row_index("at").sort("__case__", "__time__", "at")
    return rows.with_columns(when.over("__case__").alias("start")).sort("at")["start"]


def _volley(sieve: Sieve, rule: Volley) -> None:
    have = [c for c in (rule.column, *rule.same) if c in sieve.frame.columns]
    if len(have) < 1 + len(rule.same):
        return
    keys = [pl.col(c) for c in rule.same] + [pl.col("__time__").dt.truncate("1s")]
    known = pl.all_horizontal(pl.col(c).is_not_null() for c in rule.same)
    different = pl.col(rule.column).drop_nulls().n_unique().over(keys)
    sieve.leave_out(known & (different > rule.most), rule.why, filtered=True)
