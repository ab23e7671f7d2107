"""Records and their columns: cells as text, full ids, newest versions, names spelled differently."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from fnmatch import fnmatchcase

import numpy as np
import polars as pl

from behavio.errors import LogError
from behavio.sources.times import read_times

FEW = 1_000
"""Rows below which it does not matter how something is worked out."""
LETTERS = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ012345"


def as_text(frame: pl.DataFrame, column: str) -> pl.Expr:
    """A column as text, null where empty or blank; whole floats lose their ".0", times are ISO."""
    kind, found = frame.schema[column], pl.col(column)
    if kind.is_float():
        whole = (found == found.floor()) & (found.abs() < 2**53)
        found = (
            pl.when(found.is_nan())
            .then(None)
            .when(whole)
            .then(found.cast(pl.Int64, strict=False).cast(pl.String))
            .otherwise(found.cast(pl.String))
        )
    elif isinstance(kind, pl.Datetime):
        zone = "%:z" if kind.time_zone else ""
        found = found.dt.strftime(f"%Y-%m-%dT%H:%M:%S%.f{zone}")
    elif kind != pl.String:
        found = found.cast(pl.String)
    return pl.when(found.str.strip_chars() == "").then(None).otherwise(found)


def by_value(column: pl.Expr, answer: Callable[[pl.Expr], pl.Expr]) -> pl.Expr:
    """What `answer` makes of a text column (see as_text), worked out once per distinct value, not per row."""

    def answered(cells: pl.Series) -> pl.Series:
        table = pl.DataFrame({"v": cells})
        return table.select(answer(as_text(table, "v")).alias("v"))["v"]

    def looked_up(cells: pl.Series) -> pl.Series:
        distinct = cells.unique().drop_nulls() if cells.len() > FEW else cells
        if distinct.len() > cells.len() // 8:
            return answered(cells)
        codes = cells.cast(pl.Enum(distinct)).to_physical().fill_null(distinct.len())
        return answered(distinct.append(pl.Series([None], dtype=pl.String))).gather(codes)

    return column.map_batches(looked_up, return_dtype=pl.String, is_elementwise=True)


def full_ids(column: pl.Series) -> pl.Series:
    """Salesforce ids of 15 characters in their 18-character form, which survives case-blind tools.

    Each block of five gives one suffix letter: bit i is set where character i is upper case.
    """
    if column.dtype != pl.String or not (short := column.str.len_bytes() == 15).any():
        return column
    short = (short & column.str.contains(r"^[A-Za-z0-9]{15}$")).fill_null(False)
    if not short.any():
        return column
    ids = np.frombuffer(column.filter(short).str.join("").item().encode(), np.uint8).reshape(-1, 3, 5)
    upper = (ids >= ord("A")) & (ids <= ord("Z"))
    suffixes = np.frombuffer(LETTERS, np.uint8)[upper @ (1 << np.arange(5))]
    long = np.hstack([ids.reshape(-1, 15), suffixes]).view("S18").ravel()
    return column.scatter(short.arg_true(), pl.Series(long, dtype=pl.Binary).cast(pl.String))


def parts_of(key: str) -> list[str]:
    """The columns of a key: one, or several as "JobID + ListID"."""
    return [part.strip() for part in key.split("+")]


def joint(frame: pl.DataFrame, key: str) -> pl.Expr:
    """A key of one or several columns as one text; null where one of them is empty."""
    return pl.concat_str([as_text(frame, part) for part in parts_of(key)], separator="|")


def with_aliases(frame: pl.DataFrame, aliases: Mapping[str, str]) -> pl.DataFrame:
    """The columns under their other names too, where the file has nothing of that name."""
    new = [(old, n) for old, n in aliases.items() if old in frame.columns and n not in frame.columns]
    return frame.with_columns(pl.col(old).alias(n) for n, old in {n: old for old, n in reversed(new)}.items())


def older_copies(frame: pl.DataFrame, id: str, version: Sequence[str], *, first: bool = False) -> pl.Series:
    """True for each row whose id has a newer row; of equally new rows the last one stays.

    With `first` the oldest stays, and of equally old rows the first one.
    """
    ids = frame.select(as_text(frame, id).alias("id")).to_series()
    if all_differ(ids.drop_nulls().hash()):
        return pl.repeat(False, frame.height, eager=True, dtype=pl.Boolean)
    when = next((c for c in version if c in frame.columns), None)
    ages = _ages(frame[when]) if when else pl.repeat(0, frame.height, eager=True, dtype=pl.Int64)
    rows = pl.DataFrame({"id": ids, "age": ages, "at": pl.int_range(frame.height, eager=True)})
    rows = rows.drop_nulls("id").sort("age", "at", nulls_last=False)
    newest = rows.unique("id", keep="first" if first else "last")["at"]
    stays = ids.is_null().scatter(newest, True)
    return ~stays


def all_differ(hashes: pl.Series) -> bool:
    """True when no two are equal, and so nothing of which these are the hashes."""
    ordered = np.sort(hashes.to_numpy())
    return not (ordered[1:] == ordered[:-1]).any()


def _ages(column: pl.Series) -> pl.Series:
    try:
        return read_times(column).utc.dt.epoch("us").fill_null(-(2**62))
    except LogError:  # day and month cannot be told apart: then the text itself decides
        return column.cast(pl.String).rank("dense").cast(pl.Int64).fill_null(-1)


def spelled(
    frame: pl.DataFrame, wanted: Iterable[str], keep: Sequence[str], notes: list[str]
) -> pl.DataFrame:
    """Columns whose names differ from the wanted ones in capital letters only, under the wanted names.

    Warehouses write all names in small or in capital letters; two columns that would become one stay.
    """
    here = set(frame.columns)
    lacking = {w.lower(): w for w in sorted(wanted) if w not in here}
    asked = here & {*wanted, *keep}
    alike = {c: lacking[c.lower()] for c in frame.columns if c.lower() in lacking and c not in asked}
    alike = {c: w for c, w in alike.items() if list(alike.values()).count(w) == 1}
    if alike:
        notes.append(
            f"names of {len(alike)} columns differ in capital letters from the mapping's: read alike"
        )
    return frame.rename(alike)


def unwanted(column: str, drop: Sequence[str]) -> bool:
    """True for a column that `drop` names; names are compared without capital letters, * is anything."""
    return any(fnmatchcase(column.lower(), pattern.lower()) for pattern in drop)


def survivors(table: pl.DataFrame, id: str, chain: str, full: bool) -> dict[str, str]:
    """The id that each merged record ended in, following `chain`; a circle leads nowhere."""
    links = table.select(
        as_text(table, id).alias("__id__"), as_text(table, chain).alias("__next__")
    ).drop_nulls()
    if full:
        links = links.with_columns(full_ids(links["__id__"]), full_ids(links["__next__"]))
    following = dict(links.rows())
    ends: dict[str, str] = {}
    for start, here in following.items():
        seen = {start}
        while here in following and here not in seen:
            seen.add(here)
            here = following[here]
        if here not in seen:
            ends[start] = here
    return ends


def to_the_end(table: pl.DataFrame, id: str, chain: str, *, full: bool) -> pl.DataFrame:
    """Each row's `chain` as the last id it leads to."""
    ends = survivors(table, id, chain, full)
    own = full_ids(table[id].cast(pl.String)) if full else table[id].cast(pl.String)
    last = own.replace_strict(
        pl.Series(list(ends), dtype=pl.String),
        pl.Series(list(ends.values()), dtype=pl.String),
        default=None,
        return_dtype=pl.String,
    )
    return table.with_columns(last.alias(chain))
