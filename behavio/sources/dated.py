"""Dated tables beside the events: the plan, the affiliations, the survey, each with its own fixed columns."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import polars as pl

from behavio.log import AFFILIATION_SCHEMA, PLAN_SCHEMA, SURVEY_SCHEMA, TIME, SourceCount
from behavio.sources.guess import guess, named_or_guessed
from behavio.sources.inputs import Folders
from behavio.sources.mapping import Field, SourceMapping, zone_of
from behavio.sources.people import case_key, count_of
from behavio.sources.privacy import EVERYBODY, Privacy
from behavio.sources.settings import DatedSettings, one_of
from behavio.sources.sieve import Sieve, as_text
from behavio.sources.tabular import ROW, RawTable
from behavio.sources.times import read_times


@dataclass(frozen=True)
class Shape:
    """What a dated table must hold: its columns, which may not be empty, what stands for an empty one."""

    role: str
    schema: Mapping[str, pl.DataType]
    needed: tuple[str, ...]
    otherwise: Mapping[str, str] = field(default_factory=dict)

    @property
    def columns(self) -> tuple[str, ...]:
        """Columns a file can fill."""
        return tuple(c for c in self.schema if c not in ("source", "source_row"))


PLAN = Shape("plan", PLAN_SCHEMA, ("goal",), {"channel": "*"})
AFFILIATIONS = Shape("affiliations", AFFILIATION_SCHEMA, ("account_id",))
SURVEY = Shape("survey", SURVEY_SCHEMA, ("question", "answer"))


def dated_of(
    shape: Shape,
    table: RawTable,
    mapping: SourceMapping,
    settings: DatedSettings,
    base: Path,
    beside: Folders,
    privacy: Privacy = EVERYBODY,
    *,
    name: str = "",
) -> tuple[pl.DataFrame, SourceCount, pl.DataFrame]:
    """The rows of one dated table in the columns of its shape, counts, rejected rows.

    A mapping fills `case_id` as everywhere and the other columns in [attributes]. Rows without a needed
    value, with an unreadable date or number, or that end before they start are rejected.
    """
    name = name or shape.role
    mapping = _filled(shape, table, mapping, settings)
    sieve = Sieve(name, table, mapping, private=settings.kind != "table", privacy=privacy)
    sieve.prepare(mapping, settings.joins, base, beside)
    case_key(sieve, mapping)
    for column in shape.columns[1:]:
        _column(sieve, shape, column, mapping, settings)
    if "end" in shape.columns:
        sieve.reject(
            pl.col("__end__") < pl.col("__start__"),
            " or ".join(mapping.attributes["end"].needs),
            "the end lies before the start",
            "swap the dates, or leave the end empty",
        )
    rows = sieve.frame.select(
        pl.col("__case__").alias("case_id"),
        *(pl.col(f"__{c}__").alias(c) for c in shape.columns[1:]),
        pl.lit(name).alias("source"),
        pl.col(ROW).cast(pl.Int64).alias("source_row"),
    ).cast(dict(shape.schema))  # type: ignore[arg-type]
    texts = [c for c in shape.columns if shape.schema[c] == pl.String()]
    order = [*texts, next(c for c in shape.columns if shape.schema[c] == TIME)]
    rows = rows.sort(*order, maintain_order=True)
    return rows, count_of(sieve, name, settings.kind, rows.height), sieve.all_rejected()


def _filled(shape: Shape, table: RawTable, mapping: SourceMapping, settings: DatedSettings) -> SourceMapping:
    """The mapping with what the job names and, for a plain table, what can be guessed."""
    plain = settings.kind == "table" and settings.mapping is None
    named = dict(settings.columns)
    if settings.case_id is not None:
        named["case_id"] = settings.case_id
    for what in (*named, *settings.values):
        one_of(what, shape.columns, "column")
    fields = {"case_id": mapping.case_id, **mapping.attributes}
    for what in shape.columns:
        if what in settings.values:
            fields[what] = Field(constant=settings.values[what])
        elif what in named or (plain and what in ("case_id", *shape.needed)):
            column = named_or_guessed(what, named.get(what), table.columns, table.files[0])
            fields[what] = Field(column=(column,))
        elif plain and (usual := guess(what, table.columns)) is not None:
            fields[what] = Field(column=(usual,))
        fields.setdefault(what, Field())
    return replace(mapping, case_id=fields.pop("case_id"), attributes=fields)


def _column(sieve: Sieve, shape: Shape, name: str, mapping: SourceMapping, settings: DatedSettings) -> None:
    """Fill __name__ as the shape wants it; rows whose cell cannot be read are rejected."""
    field, kind, target = mapping.attributes[name], shape.schema[name], f"__{name}__"
    if name in shape.needed and field.constant is None:
        sieve.require(field.needs, name)
    text = sieve.text(field) if sieve.can_fill(field) else pl.lit(None, dtype=pl.String)
    if kind == TIME:
        have = [c for c in field.needs if c in sieve.frame.columns]
        known = sieve.frame.select(pl.coalesce([as_text(sieve.frame, c) for c in have]) if have else text)
        written = known.to_series()
        if written.len() != sieve.frame.height:
            written = pl.repeat(written[0], sieve.frame.height, eager=True, dtype=pl.String)
        times = read_times(
            written, zone_of(settings, mapping), settings.timestamp_format or mapping.timestamp_format
        )
        sieve.notes += [f"{n} ({name})" for n in times.notes] if have else []
        sieve.frame = sieve.frame.with_columns(times.utc.alias(target), written.alias("__written__"))
        hint = "write 2026-01-31, or set timestamp_format"
    else:
        sieve.frame = sieve.frame.with_columns(text.alias("__written__"))
        value = pl.col("__written__")
        if kind == pl.Float64():
            value = value.cast(pl.Float64, strict=False)
            value = pl.when(value.is_finite()).then(value)
        sieve.frame = sieve.frame.with_columns(value.alias(target))
        hint = "write a plain number such as 12"
    column, lost = " or ".join(field.needs) or name, pl.col(target).is_null()
    sieve.reject(lost & pl.col("__written__").is_not_null(), column, f"the {name} cannot be read", hint)
    if name in shape.needed:
        sieve.reject(lost, column, f"the {name} is empty", f"fill {column}")
    if name in shape.otherwise:
        sieve.frame = sieve.frame.with_columns(pl.col(target).fill_null(shape.otherwise[name]))
    sieve.frame = sieve.frame.drop("__written__")
