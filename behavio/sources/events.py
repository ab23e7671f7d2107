"""From raw rows to events: case, time, activity, attributes, each row accounted for."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import polars as pl

from behavio.errors import JobError, LogError
from behavio.log import ATTRIBUTES, EVENT_SCHEMA, TIME, SourceCount, SourceEvents
from behavio.sources.guess import guess
from behavio.sources.identities import Identities, identify, most_of, note_addresses
from behavio.sources.inputs import Folders
from behavio.sources.latency import latency
from behavio.sources.machines import leave_out_machines
from behavio.sources.mapping import Field, SourceMapping, zone_of
from behavio.sources.named import named_columns, with_settings
from behavio.sources.patients import refuse_patient_keys, refuse_patient_source
from behavio.sources.privacy import EVERYBODY, Privacy
from behavio.sources.records import all_differ, as_text
from behavio.sources.reshape import leave_out_copies, reshaped
from behavio.sources.rules import by_rules, opted_out
from behavio.sources.sessions import to_sessions
from behavio.sources.settings import SourceSettings
from behavio.sources.sieve import LONGEST, NOTHING, Sieve
from behavio.sources.tabular import FILE, ROW, RawTable
from behavio.sources.times import read_times

PLAIN = ("table", "xes", "ocel", "sql")
FEW = 1_000
"""Rows looked at before all of them are."""
HIDDEN = ("__case__", "__time__", "__activity__", "__order__", "__seconds__")


def events_of(
    name: str,
    table: RawTable,
    mapping: SourceMapping,
    settings: SourceSettings,
    base: Path,
    beside: Folders,
    privacy: Privacy = EVERYBODY,
    identities: Identities | None = None,
) -> SourceEvents:
    """The events of one source. Raises LogError when a column is missing or every row is rejected."""
    plain = settings.kind in PLAIN and settings.mapping is None
    table, mapping = reshaped(table, mapping, named_columns(settings))
    mapping = with_settings(mapping, settings, table, plain=plain)
    if not privacy.patients:
        _refuse_patients(name, table, mapping, settings)
    sieve = Sieve(name, table, mapping, private=not plain, keep=mapping.keep, privacy=privacy)
    leave_out_copies(sieve, mapping)
    sieve.prepare(mapping, settings.joins, base, beside)
    timed = _times(sieve, mapping, settings)
    _cases(sieve, mapping)
    if settings.identity is not None:
        identify(sieve, identities, settings.identity, mapping.case_id.needs, timed=timed)
    else:
        note_addresses(sieve)
    sieve.bar()
    _moments(sieve, mapping, timed=timed)
    if mapping.session is None:
        _activities(sieve, mapping)
    leave_out_machines(sieve, mapping, zone_of(settings, mapping))
    if mapping.session is not None:
        to_sessions(sieve, mapping, settings)
    sieve.frame = sieve.frame.with_columns(_renamed(pl.col("__activity__"), settings.values))
    events = _assembled(sieve, mapping, settings)
    return _counted(sieve, events, mapping, settings, timed=timed)


def _refuse_patients(name: str, table: RawTable, mapping: SourceMapping, settings: SourceSettings) -> None:
    """A mapping of behavio's own knows whose ids it reads; what a job or a guess chose is looked at."""
    refuse_patient_source(mapping.patients, f"[source.{name}]")
    if settings.kind not in PLAIN and settings.mapping is None:
        return
    fields = (mapping.case_id, *mapping.attributes.values())
    read = {c for f in fields for c in f.needs} | {c for c in mapping.keep if c != "*"}
    refuse_patient_keys([c for c in table.columns if c in read or "*" in mapping.keep], f"[source.{name}]")


def _times(sieve: Sieve, mapping: SourceMapping, settings: SourceSettings) -> bool:
    """Fill __time__ and __order__; False when the log has an order but no clock."""
    field = mapping.timestamp
    sieve.require(field.needs, "timestamp")
    order = next((c for c in mapping.order if c in sieve.frame.columns), next(iter(mapping.order), ""))
    if order == "source_row":
        order = ROW
    elif order:
        sieve.require([order], "order") if settings.order else None
    have = [c for c in field.needs if c in sieve.frame.columns]
    empty = all(_nothing_in(sieve.frame, c) for c in have)
    if empty and sieve.frame.height:
        found = order or guess("order", sieve.columns)
        if not found:
            what = f"every cell of {have[0]!r} is empty" if have else "there is no time"
            raise LogError(
                f"{sieve.files[0]} has no times: {what}",
                hint='name another column, or order="…" for a log that has an order but no clock',
            )
        _positions(sieve, found)
        return False
    sieve.frame = sieve.frame.with_columns(_read_columns(sieve, have, mapping, settings).alias("__time__"))
    place = pl.lit(None, dtype=pl.Float64)
    if order in sieve.frame.columns:
        place = as_text(sieve.frame, order).cast(pl.Float64, strict=False)
    sieve.frame = sieve.frame.with_columns(place.alias("__order__"))
    return True


def _nothing_in(frame: pl.DataFrame, column: str) -> bool:
    if frame.schema[column] != pl.String:
        return frame[column].null_count() == frame.height
    if frame.height > FEW and not _nothing_in(frame.head(FEW), column):
        return False
    return bool(frame.select(as_text(frame, column).is_null().all()).item())


def _read_columns(
    sieve: Sieve, columns: list[str], mapping: SourceMapping, settings: SourceSettings
) -> pl.Series:
    """The first of these columns that holds a time, for each row; a later one is read where needed only."""
    time = pl.Series("time", [None], dtype=TIME).new_from_index(0, sieve.frame.height)
    for column in columns:
        left = time.is_null()
        if not left.any():
            break
        try:
            cells = sieve.frame[column] if left.all() else sieve.frame[column].filter(left)
            read = read_times(cells, zone_of(settings, mapping), mapping.timestamp_format)
        except LogError as problem:
            hint = problem.hint
            raise LogError(f"{sieve.files[0]}, column {column!r}: {problem}", hint=hint) from None
        time = read.utc if left.all() else time.scatter(left.arg_true(), read.utc)
        sieve.notes += [f"{n} ({column})" if len(columns) > 1 else n for n in read.notes]
    return time


def _positions(sieve: Sieve, column: str) -> None:
    place = as_text(sieve.frame, column).cast(pl.Float64, strict=False)
    sieve.frame = sieve.frame.with_columns(place.alias("__order__"))
    odd = ~pl.col("__order__").is_between(-1e12, 1e12)
    sieve.reject(
        pl.col("__order__").is_null() | odd,
        column,
        "the position is no number",
        "number the events of each case",
    )
    micros = (pl.col("__order__") * 1_000_000).round().cast(pl.Int64)
    sieve.frame = sieve.frame.with_columns(micros.cast(TIME).alias("__time__"))
    shown = "the order of reading" if column == ROW else f"the column {column}"
    sieve.notes.append(f"no clock: events are ordered by {shown}, times only count positions")


def _cases(sieve: Sieve, mapping: SourceMapping) -> None:
    sieve.require(mapping.case_id.needs, "case_id")
    _key(sieve, "__case__", sieve.text(mapping.case_id), mapping.case_id, "case id", mapping.nobody)


def _key(sieve: Sieve, target: str, found: pl.Expr, field: Field, what: str, nobody: str = "") -> None:
    """Fill one key column; rows where it is empty, too long or damaged are rejected.

    The checks look at each distinct value once; most columns have few and all are sound.
    """
    column = " or ".join(sieve.known(field.needs)[:3])
    sieve.frame = sieve.frame.with_columns(found.alias(target))
    distinct = sieve.frame.select(pl.col(target).unique()).to_series()
    clean = distinct.str.strip_chars()
    if not (clean == distinct).all():
        if n := sieve.frame[target].is_in(distinct.filter(clean != distinct).to_list()).sum():
            sieve.notes.append(f"{n:,} {what}s had blanks around them: removed")
        sieve.frame = sieve.frame.with_columns(pl.col(target).str.strip_chars())
    missing = clean.is_null() | clean.is_in(list(NOTHING))
    if not (missing | (clean.str.len_bytes() > LONGEST) | clean.str.contains("\x00", literal=True)).any():
        return
    value = pl.col(target)
    empty = nobody or f"the {what} is empty"
    hint = f"fill {column}, or leave such rows out"
    sieve.reject(value.is_null() | value.is_in(sieve.nothing), column, empty, hint)
    if odd := sieve.frame[target].is_in(list(NOTHING)).sum():
        sieve.notes.append(f"{odd:,} rows have a {what} such as nan or None: is it missing there?")
    reason = f"the {what} is longer than {LONGEST:,} characters"
    hint = "is it free text? choose a column of short names"
    sieve.reject(value.str.len_chars() > LONGEST, column, reason, hint)
    hint = "the file is damaged here; export it again"
    sieve.reject(value.str.contains("\x00", literal=True), column, f"the {what} holds a NUL byte", hint)


def _moments(sieve: Sieve, mapping: SourceMapping, *, timed: bool) -> None:
    if not timed:
        return
    have = [c for c in mapping.timestamp.needs if c in sieve.frame.columns]
    column = " or ".join(have)
    if sieve.frame["__time__"].null_count():
        written = pl.coalesce([as_text(sieve.frame, c) for c in have])
        nothing = written.is_null() | written.str.strip_chars().is_in(sieve.nothing)
        unread = pl.col("__time__").is_null()
        sieve.reject(unread & nothing, column, "the time is empty", "an event needs a time")
        hint = "write 2026-01-31 14:05 (with +01:00 for a zone), or set timestamp_format"
        sieve.reject(unread, column, "the time cannot be read", hint)
    odd_times(sieve)


def odd_times(sieve: Sieve) -> None:
    """Note times before 1990 and times in the future: default dates, wrong clocks, plans."""
    time = sieve.frame["__time__"]
    early, late = time < datetime(1990, 1, 1, tzinfo=UTC), time > datetime.now(UTC)
    if n := int(early.sum()):
        first = time.filter(early).dt.strftime("%Y-%m-%d").min()
        sieve.notes.append(f"{n:,} events lie before 1990 ({first!s} is the first): a default date?")
    if n := int(late.sum()):
        last = time.filter(late).dt.strftime("%Y-%m-%d").max()
        sieve.notes.append(f"{n:,} events lie in the future ({last!s} is the last)")


def _activities(sieve: Sieve, mapping: SourceMapping) -> None:
    field = mapping.activity
    if field.empty is None:
        sieve.require(field.needs, "activity")
    elif not any(c in sieve.frame.columns for c in field.column):
        sieve.notes.append(f"there is no column {field.needs[0]!r}: every row is taken as {field.empty}")
    sieve.frame = sieve.frame.with_columns(sieve.text(field).alias("__activity__"))
    found = pl.col("__activity__")
    if field.strict and sieve.frame["__activity__"].null_count():
        raw = sieve.text(replace(field, values={}, strict=False))
        column = " or ".join(field.needs[:3])
        known = ", ".join(field.values)
        sieve.reject(
            raw.is_not_null() & found.is_null(),
            column,
            "no activity is mapped to this value",
            f"add it to [activity.values] in a copy of the mapping; known: {known}",
        )
    _key(sieve, "__activity__", found, field, "activity")


def _renamed(found: pl.Expr, values: Mapping[str, str | Mapping[str, str]]) -> pl.Expr:
    """Activities under the names that `values.activity` gives them."""
    renamed = values.get("activity")
    if isinstance(renamed, str):
        raise JobError("values.activity must be a table of old = new names", hint='"Call" = "call"')
    return found.replace(dict(renamed)) if renamed else found


def _assembled(sieve: Sieve, mapping: SourceMapping, settings: SourceSettings) -> pl.DataFrame:
    """The event table, ordered as read; ties of a case and a time go by the order column."""
    if sieve.frame["__order__"].null_count() < sieve.frame.height:
        sieve.frame = sieve.frame.sort(
            "__case__", "__time__", "__order__", nulls_last=True, maintain_order=True
        )
    columns: dict[str, pl.Expr] = {
        "case_id": pl.col("__case__"),
        "activity": pl.col("__activity__"),
        "timestamp": pl.col("__time__"),
    }
    for attribute, field in mapping.attributes.items():
        if sieve.can_fill(field):
            columns[attribute] = _typed(sieve, attribute, field)
    columns |= by_rules(sieve, mapping, settings, columns)
    if "__seconds__" in sieve.frame.columns:
        columns["duration_s"] = pl.col("__seconds__")
    for attribute, value in settings.values.items():
        if attribute != "activity":
            columns[attribute] = _by_activity(value, columns.get(attribute))
    columns |= _where(sieve)
    columns["source_row"] = pl.col(ROW).cast(pl.Int64)
    columns |= _extras(sieve, mapping, columns)
    return sieve.frame.select(e.alias(n) for n, e in columns.items())


def _where(sieve: Sieve) -> dict[str, pl.Expr]:
    """Which source and file a row came from; a source of several files names the file too, so that source
    and row say where an event stands."""
    files = list(dict.fromkeys(sieve.files))
    kind = pl.Enum(files)
    if len(sieve.files) == 1:
        return {"source": pl.lit(sieve.name), "source_file": pl.lit(files[0], dtype=kind)}
    common = os.path.commonpath([str(Path(f).parent) for f in files])
    names = [f"{sieve.name}/{os.path.relpath(f, common or '.')}" for f in sieve.files]
    place = list(range(len(names)))
    return {
        "source": pl.col(FILE).replace_strict(place, names, return_dtype=pl.String),
        "source_file": pl.col(FILE)
        .replace_strict(place, list(sieve.files), return_dtype=pl.String)
        .cast(kind),
    }


def _typed(sieve: Sieve, attribute: str, field: Field) -> pl.Expr:
    text = sieve.text(field)
    if ATTRIBUTES.get(attribute) == pl.Float64():
        return text.cast(pl.Float64, strict=False)
    return text


def _by_activity(value: str | Mapping[str, str], before: pl.Expr | None) -> pl.Expr:
    """A constant, or what the activity says; "*" stands for every other activity."""
    if isinstance(value, str):
        return pl.lit(value)
    listed = {k: v for k, v in value.items() if k != "*"}
    rest: pl.Expr = pl.lit(value.get("*"), dtype=pl.String)
    if before is not None:
        rest = before if "*" not in value else pl.coalesce(before, rest)
    return pl.col("__activity__").replace_strict(
        pl.Series(list(listed), dtype=pl.String),
        pl.Series(list(listed.values()), dtype=pl.String),
        default=rest,
        return_dtype=pl.String,
    )


def _extras(sieve: Sieve, mapping: SourceMapping, taken: Mapping[str, object]) -> dict[str, pl.Expr]:
    """Further columns that travel along; one whose name is taken gets `_source` behind it."""
    fields = [mapping.case_id, mapping.activity, mapping.timestamp, *mapping.attributes.values()]
    used = {f.column[0] for f in fields if len(f.column) == 1 and not f.values and f.times is None}
    everything = [c for c in sieve.columns if c not in used] if "*" in mapping.keep else []
    named = [c for c in mapping.keep if c != "*"]
    for column in named:
        sieve.require([column], "keep")
    extras: dict[str, pl.Expr] = {}
    for column in dict.fromkeys([*everything, *named]):
        name = column
        while (
            name in taken
            or name in extras
            or name in EVENT_SCHEMA
            or name in ("source", "source_file", "source_row")
        ):
            name += "_source"
        text = sieve.frame.schema[column] == pl.String
        extras[name] = as_text(sieve.frame, column) if text else pl.col(column)
    return extras


def _counted(
    sieve: Sieve, events: pl.DataFrame, mapping: SourceMapping, settings: SourceSettings, *, timed: bool
) -> SourceEvents:
    repeats = _repeats(events)
    n_repeats = int(repeats.sum())
    if n_repeats and settings.repeats == "merge":
        sieve.leave_out(repeats, "an equal row stands above")
        events = events.filter(~repeats)
        n_repeats = 0
    rejected = sieve.all_rejected()
    events = events.drop(sieve.texts, strict=False)  # only now: rows that differ in a note are no repeats
    if events.height == 0 and rejected.height:
        raise LogError(f"no row of {sieve.files[0]} could become an event", hint=most_frequent(rejected))
    span = events.select(pl.col("timestamp").min().alias("a"), pl.col("timestamp").max().alias("b")).row(0)
    first, last = (s.isoformat() if s is not None and timed else "" for s in span)
    files = sieve.files[0] if len(sieve.files) == 1 else f"{len(sieve.files)} files, {sieve.files[0]} first"
    count = SourceCount(
        name=sieve.name,
        kind=settings.kind,
        file=files,
        read=sieve.n_read,
        accepted=events.height,
        rejected=rejected.height,
        merged=sum(sieve.left_out.values()),
        repeats=n_repeats,
        filtered=sieve.filtered,
        first=first,
        last=last,
        left_out=dict(sieve.left_out),
        notes=tuple(dict.fromkeys(sieve.notes)),
        unmatched_ids=most_of(sieve.unmatched),
        **(latency(sieve, zone_of(settings, mapping)) if timed else {}),
    )
    return SourceEvents(count, events, rejected, timed, opted_out(events, mapping, settings))


def _repeats(events: pl.DataFrame) -> pl.Series:
    """True for each row equal to an earlier one in everything but where it stood."""
    again = pl.repeat(False, events.height, eager=True, dtype=pl.Boolean)
    whole = [c for c in events.columns if c not in ("source", "source_file", "source_row")]
    for some in (["case_id", "timestamp"], whole):
        hashes = events.select(some).hash_rows()
        if all_differ(hashes):
            return again
    first = _first_of(hashes.to_numpy())
    rows = np.flatnonzero(first != np.arange(len(first)))
    again_at, first_at = pl.Series(rows), pl.Series(first[rows])
    if all(events[c].gather(again_at).equals(events[c].gather(first_at)) for c in whole):
        return again.scatter(again_at, True)
    short = hashes.is_duplicated()  # some unequal rows share a hash: the rows themselves decide
    equal = events.select(whole).filter(short).select(~pl.struct(whole).is_first_distinct()).to_series()
    return again.scatter(short.arg_true().filter(equal), True)


def _first_of(values: np.ndarray) -> np.ndarray:
    """For each value the place where it stands first, int64."""
    order = np.argsort(values)
    ordered = values[order]
    begins = np.flatnonzero(np.append(True, ordered[1:] != ordered[:-1]))
    first = np.empty(len(values), np.int64)
    first[order] = np.repeat(np.minimum.reduceat(order, begins), np.diff(begins, append=len(values)))
    return first


def most_frequent(rejected: pl.DataFrame, n: int = 3) -> str:
    """The n most frequent reasons, with an example, for a message."""
    counted = rejected.group_by("reason", "column", maintain_order=True).agg(
        pl.len().alias("n"), pl.first("row"), pl.first("hint")
    )
    top = counted.sort("n", "reason", descending=[True, False]).head(n)
    lines = [
        f"{r['n']:,} × {r['reason']} (column {r['column'] or '–'}, first in row {r['row']:,}): {r['hint']}"
        for r in top.to_dicts()
    ]
    return "; ".join(lines)
