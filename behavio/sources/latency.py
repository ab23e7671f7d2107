"""How late records come: from the event to the making of its record, and to the newest export."""

from __future__ import annotations

import re
from typing import Any

import polars as pl

from behavio.errors import LogError
from behavio.sources.guess import plain
from behavio.sources.sieve import Sieve
from behavio.sources.times import read_times

CREATED = ("createddate", "createddatev", "createdat", "creationdate", "created")
CHANGED = ("systemmodstamp", "lastmodifieddate", "modifieddatev", "updatedat", "modifiedat", "lastmodified")
SAMPLE = 100_000
DATED_NAME = re.compile(r"(?<!\d)(20\d\d)[-_.]?(0[1-9]|1[0-2])[-_.]?(0[1-9]|[12]\d|3[01])(?!\d)")


def latency(sieve: Sieve, zone: str) -> dict[str, Any]:
    """`delay` and `exported` of a source (see SourceCount), from the rows that became events.

    Nothing is measured where the extract has no such columns; of long extracts an even sample is.
    Negative delays are kept: a record made
    before its event was planned, or one of the two clocks is wrong.
    """
    delay: dict[str, float] = {}
    newest = ""
    for what, names in (("created", CREATED), ("changed", CHANGED)):
        column = next((c for n in names for c in sieve.columns if plain(c) == n), None)
        if column is None:
            continue
        rows = sieve.frame.select(pl.col(column), "__time__").gather_every(1 + sieve.frame.height // SAMPLE)
        times = _times(rows[column], zone)
        if times is None or times.null_count() == times.len():
            continue
        seconds = (times - rows["__time__"]).dt.total_microseconds() / 1e6
        for part, at in (("median", 0.5), ("p90", 0.9)):
            value = seconds.quantile(at, "nearest")
            if value is not None:
                delay[f"{what}_{part}"] = round(float(value), 3)
        if rows.height < sieve.frame.height and sieve.frame.schema[column] == pl.String:
            last = _times(pl.Series([sieve.frame[column].max()], dtype=pl.String), zone)
            times = times if last is None else times.append(last)
        newest = max(newest, times.max().date().isoformat())  # type: ignore[union-attr]
    said = [m for f in sieve.files if (m := DATED_NAME.search(f.rpartition("/")[2]))]
    exported = max(("-".join(m.groups()) for m in said), default=newest)
    return {"delay": delay, "exported": exported}


def _times(column: pl.Series, zone: str) -> pl.Series | None:
    try:
        return read_times(column, zone).utc
    except LogError:
        return None
