"""A job's sources on a cluster: checked and counted there, and as many whole cases here as models need."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields, replace
from datetime import UTC, datetime, timedelta
from functools import cached_property
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlparse

import polars as pl

from behavio.engine import spark_rows as on
from behavio.engine.spark import Facts, SparkEngine, SparkLog, facts_of, largest
from behavio.engine.spark_log import SparkSource, placed, sampled
from behavio.engine.spark_rows import FILE, ROW
from behavio.engine.spark_session import plain_errors
from behavio.errors import JobError, LogError
from behavio.files import read_json, write_json
from behavio.log import REJECTED_SCHEMA, EventLog, SourceCount, SourceEvents, empty
from behavio.sequences import SequenceSet
from behavio.sources.events import events_of
from behavio.sources.guess import guess, named_or_guessed
from behavio.sources.inputs import shown
from behavio.sources.mapping import load_mapping
from behavio.sources.privacy import Privacy
from behavio.sources.settings import LogInputs, LogSettings, SourceSettings
from behavio.sources.tabular import RawTable, _plain_types
from behavio.sources.times import ISO, ISO_ZONED, YEAR_FIRST, check_zone, read_times

KNOWN = (
    "path format case_id activity timestamp order timezone timestamp_format keep columns values repeats"
).split()
"""Settings of a source that mean the same on a cluster."""
KEPT = 100_000
"""So many rejected rows are listed; all are counted."""
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
HASHES = 2**32


def read_text_times(texts: pl.Series, zone: str, format: str) -> pl.Series:
    """Texts as times, one batch at a time: only what no other row of the column could change.

    Raises LogError for times that are read by looking at the whole column (31.01.2024, 01/31/2024).
    """
    texts = texts.cast(pl.String).str.strip_chars().alias("time")
    if format:
        return read_times(texts, zone, format).utc
    clear = pl.any_horizontal(pl.col("time").str.contains(shape) for shape in (ISO, ISO_ZONED, YEAR_FIRST))
    sure = texts.to_frame().select(clear.fill_null(False)).to_series()
    other = texts.filter(~sure & (texts != "").fill_null(False))
    if other.len():
        try:
            readable = read_times(other, zone).utc.is_not_null()
        except LogError:
            readable = pl.Series([True])
        if readable.any():
            example = other.filter(readable)[0] if readable.len() == other.len() else other[0]
            raise LogError(
                f"times such as {example!r} are read on a cluster only when their form is named",
                hint='set timestamp_format, for example "%d.%m.%Y %H:%M"',
            )
    return read_times(texts.set(~sure, None), zone).utc


@dataclass(frozen=True, eq=False)
class Opened:
    """One source on the cluster: its settings, meaning, table and the names of its files."""

    settings: SourceSettings
    source: SparkSource
    frame: Any
    files: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class ClusterLog:
    """What came back: the log or a sample of its cases, and the description every count is asked of.

    sample  None when the log is whole, else events, cases and share (0–1) of the sample
    """

    log: EventLog
    whole: SparkLog
    n_cases: int
    n_rejected: int
    sample: Mapping[str, Any] | None

    def write(self, folder: Path, base: Path) -> SequenceSet:
        """Write the log's tables, readiness.json about all of it, encoded/ and spark.json."""
        from behavio.sources import findings

        self.log.write(folder, {"findings": findings(self.log)})
        facts = dict(read_json(folder / "readiness.json")) | {"engine": "spark"}
        if self.sample is not None:
            facts |= {"n_events": self.whole.n_events, "n_cases": self.n_cases, "n_rejected": self.n_rejected}
            facts |= {"sample": dict(self.sample), "notes": [self.sample["note"]]}
        write_json(folder / "readiness.json", facts)
        sequences = self.sequences
        self.whole.write(folder / "spark.json", base)
        sequences.write(folder / "encoded")
        return sequences

    @cached_property
    def sequences(self) -> SequenceSet:
        """The log or its sample, coded under the vocabulary of the whole, cases marked as in the whole."""
        coded = SequenceSet.from_log(self.log)
        coded = coded if self.sample is None else coded.recode(self.whole.vocabulary)
        last = coded.offsets[1:] - 1
        return replace(coded, running=self.whole.running(coded.times[last], coded.tokens[last]))


def _marked(whole: SparkLog, log: EventLog, facts: Facts, settings: LogSettings) -> SparkLog:
    """The description with the rule for open cases; of a sample, its gaps say how long a silence is usual."""
    rule = SequenceSet.from_log(log).open_cases(settings.end, settings.open_within)
    newest = facts.sources["last"].max()
    return replace(whole, newest=int(newest), within_s=rule.within_s, end=rule.end)  # type: ignore[arg-type]


def read_cluster_log(
    inputs: LogInputs,
    engine: SparkEngine,
    progress: Callable[[str, float], None] | None = None,
    *,
    salt: str = "",
    erased: frozenset[str] = frozenset(),
) -> ClusterLog:
    """The event log of a job whose sources are Parquet tables on a cluster.

    A log of at most `[log] sample_events` events comes here as it is and goes through the very code that
    reads local files; of a larger one every row is checked and counted on the cluster, and a sample of whole
    cases, chosen by a hash of their ids, comes here. Raises JobError for what only a local log can have.
    """
    tell = progress or (lambda _what, _share: None)
    base, most = inputs.base, inputs.log.sample_events
    tell("checking columns", 0.0)
    opened = [open_source(name, given, base, engine) for name, given in inputs.source.items()]
    clocks = {o.source.timestamp is not None for o in opened}
    if len(clocks) > 1:
        without = ", ".join(o.source.name for o in opened if o.source.timestamp is None)
        raise LogError(f"{without} has no clock, other sources have", hint="read it in a job of its own")
    whole = SparkLog(tuple(o.source for o in opened), timed=clocks == {True})
    tell("checking rows", 0.2)
    early, late = (_micros(t) for t in (datetime(1990, 1, 1, tzinfo=UTC), datetime.now(UTC)))
    facts = facts_of(engine, whole, [o.frame for o in opened], early, late)
    whole = replace(whole, vocabulary=facts.vocabulary, n_events=int(facts.sources["accepted"].sum()))
    if whole.n_events == 0:
        raise LogError("no row could become an event", hint=_why(facts))
    small = whole.n_events <= most
    limit = HASHES if small else max(1, int(most / whole.n_events * HASHES))
    by_name = {o.source.name: o for o in opened}

    def part_of(name: str, given: SourceSettings, base: Path, privacy: Privacy) -> SourceEvents:
        if privacy.barred or privacy.hashes:
            raise JobError(
                'people who may not enter (opt-out, [log] exclude, erased) need engine = "local"',
                hint="or take their rows out of the files first: the cluster counts every row it is given",
            )
        table = _collected(by_name[name], None if small else limit)
        return events_of(name, table, load_mapping(None, "table", base), given, base, (), privacy)

    from behavio.sources import read_log

    tell("fetching cases", 0.5)
    log = read_log(inputs, part_of=part_of, salt=salt, erased=erased)
    whole = _marked(whole, log, facts, inputs.log)
    if small:
        return ClusterLog(log, whole, log.n_cases, log.rejected.height, None)
    tell("counting cases", 0.7)
    n_cases, n_events, repeats = engine.cases(whole)
    whole = replace(whole, n_events=n_events)
    log = _as_sample(log, opened, facts, repeats, engine.rejected(whole, KEPT), limit)
    note = (
        f"the log has {n_events:,} events of {n_cases:,} cases; journeys are counted over all of them, "
        f"everything that learns uses a sample of {log.n_events:,} events of {log.n_cases:,} whole cases, "
        "chosen by a hash of the case id ([log] sample_events)"
    )
    sample = {"n_events": log.n_events, "n_cases": log.n_cases, "share": limit / HASHES, "note": note}
    return ClusterLog(log, whole, n_cases, int(facts.reasons["rows"].sum() or 0), sample)


def open_source(name: str, settings: SourceSettings, base: Path, engine: SparkEngine) -> Opened:
    """Find a source's files and columns. JobError for another kind, LogError for a missing column."""
    plain = SourceSettings(path=settings.path)
    odd = [
        f.name
        for f in fields(settings)
        if f.name not in KNOWN and getattr(settings, f.name) != getattr(plain, f.name)
    ]
    odd += ["format"] if settings.format not in (None, "parquet") else []
    if odd:
        what = f"kind {settings.kind!r}" if "kind" in odd else odd[0]
        raise JobError(
            f'[source.{name}] has {what}: engine = "spark" reads tables in Parquet only',
            hint='convert the source once (a local run leaves log/events.parquet), or write engine = "local"',
        )
    if not settings.path:
        raise JobError(f"[source.{name}] has no path", hint="name Parquet files that every worker can read")
    check_zone(settings.timezone or "UTC")
    path = placed(settings.path, base)
    source = SparkSource(name, path, "", "", None)
    frame, names = on.open_files(engine.spark, source)
    files = tuple(_shown(f, base, settings.path) for f in names)
    columns = [c for c in frame.columns if c not in (FILE, ROW)]
    case = named_or_guessed("case_id", settings.case_id, columns, files[0])
    activity = settings.activity
    if activity is not None and (pieces := on.pieces_of(activity)[1::2]):
        for piece in pieces:
            named_or_guessed("activity", piece, columns, files[0])
    else:
        activity = named_or_guessed("activity", activity, columns, files[0])
    source = replace(source, case_id=case, activity=activity, zone=(settings.timezone or "UTC"))
    renames = settings.values.get("activity", {})
    if isinstance(renames, str):
        raise JobError("values.activity must be a table of old = new names", hint='"Call" = "call"')
    compare = None if not settings.keep or "*" in settings.keep else tuple(settings.keep)
    source = replace(source, renames=tuple(renames.items()), compare=compare, repeats=settings.repeats)
    return Opened(settings, _clocked(source, settings, frame, columns, files[0]), frame, files)


def _clocked(
    source: SparkSource, settings: SourceSettings, frame: Any, columns: list[str], file: str
) -> SparkSource:
    """The source with its time column and how it is written, or with the order it has instead."""
    order = settings.order or guess("order", columns)
    if settings.order not in (None, "source_row"):
        named_or_guessed("order", settings.order, columns, file)
    if settings.timestamp is None and guess("timestamp", columns) is None and order:
        return replace(source, order=order)
    column = named_or_guessed("timestamp", settings.timestamp, columns, file)
    source = replace(source, timestamp=column, order=settings.order)
    kind = on.type_of(frame, column)
    n, top = largest(frame, column, kind)
    if n == 0:
        if not order:
            hint = 'name another column, or order="…" for a log that has an order but no clock'
            raise LogError(f"{file} has no times: every cell of {column!r} is empty", hint=hint)
        return replace(source, timestamp=None, order=order)
    format = settings.timestamp_format or ""
    if kind == "text":
        if format in on.SCALES or format in ("unix_ns", "excel"):
            raise LogError(f"{column!r} holds texts, not numbers", hint=f"write {format} times as numbers")
        return replace(source, clock="text", format=format)
    if kind not in ("whole", "number"):
        return source
    if not format and top >= 1e8:
        format = (
            "unix_s" if top < 1e11 else "unix_ms" if top < 1e14 else "unix_us" if top < 1e17 else "unix_ns"
        )
    if format not in (*on.SCALES, "unix_ns"):
        raise LogError(
            f"the numbers in {column!r} are no times that can be read on a cluster",
            hint="write them as times, or name unix_s, unix_ms, unix_us or unix_ns in timestamp_format",
        )
    if format == "unix_ns" and (settings.timezone or "UTC") != "UTC" and not settings.timestamp_format:
        raise LogError(
            f"{column!r} holds nanoseconds, and Spark does not tell whether they carry a zone",
            hint='write the column in microseconds, or set timestamp_format = "unix_ns" when they are UTC',
        )
    return replace(source, clock=format)


def on_cluster_only(path: str, base: Path) -> bool:
    """True for addresses, and for folders whose files lie in further folders."""
    place = base / path
    return "://" in path or (place.is_dir() and not any(p.suffix == ".parquet" for p in place.iterdir()))


def remote_files(
    source: Mapping[str, SourceSettings], base: Path, engine: SparkEngine
) -> list[dict[str, Any]]:
    """Name, bytes and time of change of every file that only the cluster sees, in order."""
    found = []
    for settings in source.values():
        with plain_errors(settings.path):
            rows = engine.spark.read.parquet(placed(settings.path, base)).selectExpr(
                "_metadata.file_path file",
                "_metadata.file_size bytes",
                "string(_metadata.file_modification_time) modified",
            )
            found += [r.asDict() for r in rows.distinct().collect()]
    return sorted(found, key=lambda f: str(f["file"]))


def _shown(address: str, base: Path, named: str) -> str:
    """A file's address as messages and tables name it."""
    if not address.startswith("file:"):
        return unquote(address)
    return shown(Path(unquote(urlparse(address).path)), Path(os.path.normpath(base.absolute())), named)


def _collected(opened: Opened, limit: int | None) -> RawTable:
    """The rows of a source (None) or of its sampled cases, as if their files had been read here."""
    with plain_errors(f"fetching {opened.settings.path}"):
        frame = opened.frame
        if limit is not None:
            frame = frame.filter(on.in_sample(on.case_of(frame, opened.source), limit))
        table = pl.DataFrame(pl.from_arrow(frame.toArrow())).sort(FILE, ROW)
    own, notes = _plain_types(table)
    kinds = {n: t for n, t in REJECTED_SCHEMA.items() if n != "source"}
    order = [c for c in own.columns if c not in (FILE, ROW)]
    return RawTable(own.select(*order, ROW, FILE), opened.files, empty(kinds), notes, True)


def _as_sample(
    log: EventLog,
    opened: list[Opened],
    facts: Facts,
    repeats: Mapping[int, int],
    rejected: pl.DataFrame,
    limit: int,
) -> EventLog:
    """The sampled cases with the counts and rejected rows of all of the log."""
    counts = [_count(o, facts, number, repeats.get(number, 0)) for number, o in enumerate(opened)]
    beside = log.sources[len(opened) :]
    others = {c.name for c in counts}
    rows = [
        (
            opened[r["source"]].source.name,
            opened[r["source"]].files[r[FILE]],
            r[ROW],
            r["column"],
            r["reason"],
            r["hint"],
            (r["raw"] or "")[:500],
        )
        for r in rejected.iter_rows(named=True)
    ]
    table = pl.DataFrame(rows, schema=REJECTED_SCHEMA, orient="row")
    stays = sampled(log.cases["case_id"], limit)
    return replace(
        log,
        cases=log.cases.filter(stays),
        rejected=pl.concat([table, log.rejected.filter(~pl.col("source").is_in(list(others)))]),
        sources=(*counts, *beside),
    )


def _count(opened: Opened, facts: Facts, number: int, repeats: int) -> SourceCount:
    """Rows of one source as the cluster counted them."""
    row = facts.sources.filter(pl.col("source") == number).row(0, named=True)
    source, files = opened.source, opened.files
    merging = source.repeats == "merge"
    notes = []
    kind = on.type_of(opened.frame, source.timestamp) if source.timestamp else ""
    if kind in ("naive", "date"):
        notes.append(f"times without a zone are taken as {source.zone}")
    if source.timestamp is None:
        notes.append(f"no clock: events are ordered by {source.order}, times only count positions")
    for n, what in ((row["early"], "before 1990: a default date?"), (row["late"], "in the future")):
        if n and source.timestamp:
            notes.append(f"{n:,} events lie {what}")
    n_rejected = row["read"] - row["accepted"]
    if n_rejected > KEPT:
        notes.append(f"{n_rejected:,} rows are rejected, the first {KEPT:,} are listed")
    span = [_iso(row[c]) if source.timestamp else "" for c in ("first", "last")]
    return SourceCount(
        name=source.name,
        kind="table",
        file=files[0] if len(files) == 1 else f"{len(files)} files, {files[0]} first",
        read=row["read"],
        accepted=row["accepted"] - (repeats if merging else 0),
        rejected=n_rejected,
        merged=repeats if merging else 0,
        repeats=0 if merging else repeats,
        first=span[0],
        last=span[1],
        left_out={"an equal row stands above": repeats} if merging and repeats else {},
        notes=tuple(notes),
    )


def _why(facts: Facts) -> str:
    """The most frequent reasons, for a message."""
    rows = facts.reasons.sort("rows", descending=True).head(3).iter_rows(named=True)
    return "; ".join(f"{r['rows']:,} × {r['reason']} (column {r['column']})" for r in rows)


def _micros(time: datetime) -> int:
    return (time - EPOCH) // timedelta(microseconds=1)


def _iso(micros: int | None) -> str:
    return "" if micros is None else (EPOCH + timedelta(microseconds=micros)).isoformat()
