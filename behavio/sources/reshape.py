"""What a raw table needs before its rows are looked at: names, rows inside rows, the key of a record.

Everything here is asked for by the mapping (`aliases`, `loose`, `explode`, `record`); a table without them
passes as it is.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import fields, replace

import polars as pl

from behavio.sources.mapping import Field, SourceMapping
from behavio.sources.records import as_text, older_copies, spelled, with_aliases
from behavio.sources.sieve import Sieve
from behavio.sources.tabular import FILE, ROW, RawTable

RECORD = "__record__"


def folded(name: str) -> str:
    """A column's name without case, blanks, dots, dashes and underscores."""
    return re.sub(r"[\s._\-]+", "", name).lower()


def reshaped(table: RawTable, mapping: SourceMapping, named: Iterable[str]) -> tuple[RawTable, SourceMapping]:
    """The table and the mapping, made to fit each other; `named` are columns the job asks for."""
    frame, notes = table.frame, list(table.notes)
    if mapping.explode and mapping.explode in frame.columns:
        frame = _rows_inside(frame, mapping.explode, notes)
    if mapping.params and "event_params" in frame.columns:
        from behavio.sources.web import flat_params

        frame = flat_params(frame, mapping.params)
    frame = with_aliases(frame, mapping.aliases)
    if mapping.loose:
        mapping = _found(mapping, [c for c in frame.columns if c not in (ROW, FILE)])
    wanted = set(named)
    frame = spelled(frame, mapping.needs | mapping.parts, list(wanted), notes)
    mapping = replace(mapping, drop=tuple(c for c in mapping.drop if c not in wanted))
    if (key := _record(frame, mapping)) is not None:
        frame = frame.with_columns(key.alias(RECORD))
    return replace(table, frame=frame, notes=tuple(notes)), mapping


def leave_out_copies(sieve: Sieve, mapping: SourceMapping) -> None:
    """Of several rows with the same `record` the newest stays, of equally new ones the last one read."""
    if RECORD in sieve.frame.columns:
        old = older_copies(sieve.frame, RECORD, mapping.version)
        sieve.leave_out(old, "the same record exported again: the last copy counts")
        sieve.frame = sieve.frame.drop(RECORD)


def _rows_inside(frame: pl.DataFrame, column: str, notes: list[str]) -> pl.DataFrame:
    """One row per element of a list column, its fields as `column.field`; an empty list keeps its row."""
    if not isinstance(frame.schema[column], pl.List):
        return frame
    rows = frame.explode(column, empty_as_null=True)
    notes.append(f"{frame.height:,} records hold {rows.height:,} rows in {column}")
    return rows


def _record(frame: pl.DataFrame, mapping: SourceMapping) -> pl.Expr | None:
    """The columns that tell one record, as one text; null where the first of them is empty."""
    for line in mapping.record:
        parts = [part.strip() for part in line.split("+")]
        if all(part in frame.columns for part in parts):
            texts = [as_text(frame, part).fill_null("") for part in parts]
            return pl.when(texts[0] != "").then(pl.concat_str(texts, separator="|"))
    return None


def _found(mapping: SourceMapping, columns: list[str]) -> SourceMapping:
    """The mapping with its columns spelt as the file spells them, and what it drops too."""
    here = {folded(c): c for c in reversed(columns)}

    def spelt(field: Field) -> Field:
        names = (c if c in columns else here.get(folded(c), c) for c in field.column)
        return replace(field, column=tuple(dict.fromkeys(names)))

    changes: dict[str, object] = {
        f.name: spelt(value) for f in fields(mapping) if isinstance(value := getattr(mapping, f.name), Field)
    }
    gone = {folded(c) for c in mapping.drop}
    rules = [replace(r, column=spelt(Field(column=r.column)).column) for r in mapping.filter]
    shadows = [
        replace(s, column=_all(s.column, here, columns), same=_all(s.same, here, columns))
        for s in mapping.shadow
    ]
    session = mapping.session
    if session is not None:
        session = replace(
            session,
            key=_all(session.key, here, columns),
            extra=_all(session.extra, here, columns),
            column=_spelt(session.column, here, columns),
            seconds=_spelt(session.seconds, here, columns),
        )
    return replace(
        mapping,
        session=session,
        id=_spelt(mapping.id, here, columns),
        join={n: replace(j, key=_all(j.key, here, columns)) for n, j in mapping.join.items()},
        record=_all(mapping.record, here, columns),
        attributes={a: spelt(f) for a, f in mapping.attributes.items()},
        drop=tuple(c for c in columns if folded(c) in gone),
        filter=tuple(rules),
        shadow=tuple(shadows),
        **changes,  # type: ignore[arg-type]
    )


def _spelt(column: str, here: dict[str, str], columns: list[str]) -> str:
    return column if column in columns else here.get(folded(column), column)


def _all(names: tuple[str, ...], here: dict[str, str], columns: list[str]) -> tuple[str, ...]:
    return tuple(_spelt(c, here, columns) for c in names)
