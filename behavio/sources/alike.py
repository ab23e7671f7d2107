"""Tables of several files as one: a column that differs in type becomes text, and no number is rounded."""

from __future__ import annotations

from collections.abc import Sequence

import polars as pl

EXACT = 2**53
"""Whole numbers below this are exact as floats."""


def alike(tables: Sequence[pl.DataFrame]) -> list[pl.DataFrame]:
    """The tables with types that can be joined without a wrong cast.

    Numbers stay numbers (whole ones beside floats too, unless a float could not hold them); where numbers,
    texts, times or truth values meet in one column, every cell becomes the text it would be alone.
    """
    kinds: dict[str, set[pl.DataType]] = {}
    for table in tables:
        for name, kind in table.schema.items():
            kinds.setdefault(name, set()).add(kind)
    mixed = [n for n, k in kinds.items() if _clash(k - {pl.Null()}, n, tables)]
    return [t.with_columns(text_of(t, c) for c in mixed if c in t.columns) for t in tables]


def _clash(kinds: set[pl.DataType], name: str, tables: Sequence[pl.DataFrame]) -> bool:
    if len(kinds) < 2:
        return False
    if all(isinstance(k, pl.Struct) for k in kinds):
        return False
    if not all(k.is_numeric() for k in kinds):
        return True
    if all(k.is_signed_integer() for k in kinds):
        return False
    columns = [t[name] for t in tables if name in t.columns]
    whole = [c for c in columns if c.dtype.is_integer()]
    return any(bool((c >= EXACT).any() or (c <= -EXACT).any()) for c in whole)


def text_of(table: pl.DataFrame, column: str) -> pl.Expr:
    """A column as the text its cells are when read alone: 7.0 is "7", times are ISO, lists are JSON."""
    kind, found = table.schema[column], pl.col(column)
    if kind.is_float():
        whole = (found == found.floor()) & (found.abs() < EXACT)
        text = pl.when(whole).then(found.cast(pl.Int64, strict=False).cast(pl.String))
        return text.otherwise(found.cast(pl.String)).alias(column)
    if isinstance(kind, pl.Datetime):
        zone = "%:z" if kind.time_zone else ""
        return found.dt.strftime(f"%Y-%m-%dT%H:%M:%S%.f{zone}")
    if kind.is_nested():
        return pl.struct(column).struct.json_encode().alias(column)
    if kind == pl.Binary:
        return found.bin.encode("hex")
    return found.cast(pl.String)
