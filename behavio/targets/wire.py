"""From our facts to the cells a system takes, and back: cells are compared by what they mean."""

from __future__ import annotations

import string
from collections.abc import Collection, Mapping

import polars as pl

from behavio.targets.crm import Field
from behavio.targets.mapping import Column, ObjectMapping

PROBLEM, CASE, CHANGED = "#problem", "#case", "#changed"
CUT = 1  # room for the ellipsis


def cells(facts: pl.DataFrame, mapping: ObjectMapping, fields: Mapping[str, Field]) -> pl.DataFrame:
    """One text column per column of the mapping, with #case and #problem; null: nothing to say."""
    columns = [_cell(facts, c, fields.get(c.name)).alias(c.name) for c in mapping.columns]
    made = facts.select(
        *columns, pl.col("case_id").alias(CASE), pl.col("problem").cast(pl.String).alias(PROBLEM)
    )
    problems = [pl.col(PROBLEM)]
    for c in mapping.columns:
        problems += _problems(c, fields.get(c.name), facts, made)
    made = made.with_columns(pl.coalesce(problems).alias(PROBLEM))
    again = pl.col(mapping.key).is_not_null() & ~pl.col(mapping.key).is_first_distinct()
    doubled = pl.when(again & pl.col(PROBLEM).is_null()).then(
        pl.lit("duplicate_key: an earlier row has the same key")
    )
    return made.with_columns(pl.coalesce(pl.col(PROBLEM), doubled).alias(PROBLEM))


def _cell(facts: pl.DataFrame, column: Column, field: Field | None) -> pl.Expr:
    parts: list[pl.Expr] = []
    for text, name, _, _ in string.Formatter().parse(column.source):
        if text:
            parts.append(pl.lit(text))
        if name is not None:
            parts.append(_named(facts, name, column.decimals))
    if not parts:
        return pl.lit(None, pl.String)
    made = parts[0] if len(parts) == 1 else pl.concat_str(parts)  # null when any part is
    if column.values:
        made = made.replace_strict(dict(column.values), default=None, return_dtype=pl.String)
    made = made.str.replace_all("\r\n", "\n", literal=True).str.strip_chars()
    made = pl.when(made != "").then(made)
    if column.cut and field is not None and field.length:
        short = made.str.slice(0, field.length - CUT).str.replace(r"\s+\S*$", "") + pl.lit("…")
        made = pl.when(made.str.len_chars() > field.length).then(short).otherwise(made)
    return made


def _named(facts: pl.DataFrame, name: str, decimals: int | None) -> pl.Expr:
    if name not in facts.columns:
        return pl.lit(None, pl.String)
    kind = facts.schema[name]
    if decimals is not None and kind.is_numeric():
        value = pl.col(name).cast(pl.Float64).round(decimals)
        return (value.cast(pl.Int64) if decimals == 0 else value).cast(pl.String)
    return pl.col(name).cast(pl.String)


def _problems(column: Column, field: Field | None, facts: pl.DataFrame, made: pl.DataFrame) -> list[pl.Expr]:
    """Why a cell may not go: refused nulls, unknown values, too long."""
    cell = pl.col(column.name)
    found: list[pl.Expr] = []
    if column.null == "refuse":
        found.append(pl.when(cell.is_null()).then(pl.lit(f"empty: {column.name} may not be empty")))
    if column.values and column.names:
        raw = facts.get_column(column.names[0], default=None)
        if raw is not None and (lost := raw.is_not_null() & made[column.name].is_null()).any():
            found.append(
                pl.when(pl.lit(lost)).then(pl.lit(f"unknown_value: {column.name} has no value for it"))
            )
    if field is not None and field.length and not column.cut:
        long = cell.str.len_chars() > field.length
        said = pl.format(
            f"too_long: {column.name} holds {{}} characters, {field.length} fit", cell.str.len_chars()
        )
        found.append(pl.when(long).then(said))
    if field is not None and field.kind in ("number", "date", "datetime"):
        wrong = cell.is_not_null() & meaning(cell, field.kind).is_null()
        found.append(pl.when(wrong).then(pl.format(f"wrong_type: {column.name} takes no {{}}", cell)))
    return found


def meaning(cell: pl.Expr, kind: str) -> pl.Expr:
    """A cell as something to compare: null where there is nothing, or nothing that reads as this kind."""
    text = cell.cast(pl.String)
    if kind == "number":
        return text.cast(pl.Float64, strict=False).round(9).cast(pl.String)
    if kind == "boolean":
        return text.str.to_lowercase().is_in(["true", "1", "1.0"]).fill_null(False).cast(pl.String)
    if kind == "date":
        return text.str.slice(0, 10).str.to_date("%Y-%m-%d", strict=False).cast(pl.String)
    if kind == "datetime":
        plain = text.str.replace(r"(?:Z|\+00:?00)$", "").str.replace("T", " ", literal=True).str.slice(0, 23)
        return plain.str.to_datetime(strict=False, time_unit="ms").cast(pl.String)
    plain = text.str.replace_all("\r\n", "\n", literal=True).str.strip_chars()
    return pl.when(plain != "").then(plain)


def differing(
    columns: Collection[str], clear: Collection[str], fields: Mapping[str, Field], there: str
) -> pl.Expr:
    """Names of the columns whose cell is not what column + `there` holds, joined by "; "; "" when all are.

    A null cell differs only where nulls clear.
    """
    names = []
    for c in columns:
        kind = fields[c].kind if c in fields else "text"
        want, has = meaning(pl.col(c), kind), meaning(pl.col(c + there), kind)
        other = want.ne_missing(has)
        if c not in clear or kind == "boolean":  # a checkbox has no null
            other = other & pl.col(c).is_not_null()
        names.append(pl.when(other).then(pl.lit(c)))
    if not names:
        return pl.lit("")
    return pl.concat_list(names).list.drop_nulls().list.join("; ")
