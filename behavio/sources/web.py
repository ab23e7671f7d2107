"""Web analytics: the nested rows of a GA4 export as plain columns.

GA4 writes one row per hit with its parameters in a list of key and value; what becomes of the hits is said
in `sessions`. Source of the fields: the GA4 BigQuery export schema (event_timestamp in µs UTC).
"""

from __future__ import annotations

from collections.abc import Sequence

import polars as pl

from behavio.sources.records import as_text


def flat_params(frame: pl.DataFrame, params: Sequence[str]) -> pl.DataFrame:
    """The wanted entries of the list `event_params` as text columns `param.<key>`."""
    frame = _unwrapped(frame)
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


def _unwrapped(frame: pl.DataFrame) -> pl.DataFrame:
    """Lists as some Parquet writers nest them, {list: [{element: …}]}, as plain lists."""
    kind = frame.schema["event_params"]
    if isinstance(kind, pl.Struct) and [f.name for f in kind.fields] == ["list"]:
        frame = frame.with_columns(pl.col("event_params").struct.field("list").alias("event_params"))
        kind = frame.schema["event_params"]
    if isinstance(kind, pl.List) and isinstance(kind.inner, pl.Struct):
        names = [f.name for f in kind.inner.fields]
        if names in (["element"], ["item"]):
            inner = pl.element().struct.field(names[0])
            frame = frame.with_columns(pl.col("event_params").list.eval(inner))
    return frame
