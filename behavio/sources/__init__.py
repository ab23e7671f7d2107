"""Readers: files, folders and frames into one checked event log.

`read` is for one table, guessing its columns; `read_log` for the sources of a job. Every row that is read
becomes an event, is rejected with a reason, or is left out as no event of its own, and the three are
counted per source. New kinds of extracts need a mapping (TOML), no code: see `mapping`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import polars as pl

from behavio.errors import JobError, LogError
from behavio.log import EventLog, SourceCount, SourceEvents
from behavio.sources.events import events_of
from behavio.sources.inputs import Input, find_inputs, shown
from behavio.sources.mapping import SourceMapping, built_in, load_mapping
from behavio.sources.people import cases_of, consents_of
from behavio.sources.readiness import readiness
from behavio.sources.settings import (
    CasesSettings,
    ConsentSettings,
    LogSettings,
    SourceSettings,
    kinds,
    nearest,
    one_of,
)
from behavio.sources.sieve import join_file
from behavio.sources.tabular import RawTable, read_frame, read_inputs

__all__ = [
    "CasesSettings",
    "ConsentSettings",
    "LogSettings",
    "SourceSettings",
    "built_in",
    "input_files",
    "kinds",
    "read",
    "read_log",
    "readiness",
    "settings_of",
]

Progress = Callable[[str, float], None]
AnySettings = SourceSettings | CasesSettings | ConsentSettings


def read(data: Any, **settings: Any) -> EventLog:
    """The event log of one file, folder, pattern or frame.

    `data` is a path (CSV, TSV, JSON lines, Parquet, Arrow, XES; packed with gzip or zstd too), a folder
    that `EventLog.write` left, or a pandas, Polars or Arrow table. Columns are guessed from the usual names
    or named: `case_id=`, `activity=` (a template such as "{activity}: {company}" works), `timestamp=`,
    `order=`, `timezone=`, and every other field of SourceSettings. A file that bears the usual name of a
    built-in kind (Call2_vod__c.csv, ga4_events.jsonl) is read by its mapping.

    Raises LogError when no log can be made of it; single wrong rows end in `.rejected`.

    >>> import polars as pl
    >>> log = read(pl.DataFrame({"case": ["a"], "event": ["x"], "time": ["2024-01-02 10:00"]}))
    >>> log.events.row(0)[:2]
    ('a', 'x')
    """
    if isinstance(data, EventLog):
        return data
    if isinstance(data, str | Path):
        for folder in (Path(data), Path(data) / "log"):
            if (folder / "readiness.json").is_file():
                return EventLog.read(folder)
        part = _read_source(*settings_of(data, **settings), Path())
    else:
        own = _settings(path="(frame)", **settings)
        table = read_frame(data, f"a {type(data).__name__}")
        part = events_of("frame", table, load_mapping(own.mapping, own.kind, Path()), own, Path(), None)
    return EventLog.assemble(_some([part]))


def read_log(
    sources: Mapping[str, SourceSettings],
    cases: CasesSettings | None,
    consents: ConsentSettings | None,
    base: Path,
    progress: Progress | None = None,
) -> EventLog:
    """The event log of a job: all sources in the order given, then cases and consents.

    Paths are relative to `base`. Raises LogError when a file cannot be read as a whole, when a source has
    no usable row, or when logs with and without a clock are mixed; JobError for a wrong setting.
    """
    tell = progress or (lambda _what, _share: None)
    steps = len(sources) + (cases is not None) + (consents is not None)
    parts: list[SourceEvents] = []
    for name, settings in sources.items():
        tell(f"reading {name}", len(parts) / steps)
        parts.append(_read_source(name, settings, base))
    kinds = {p.timed for p in parts}
    if len(kinds) > 1:
        without = ", ".join(p.count.name for p in parts if not p.timed)
        raise LogError(f"{without} has no clock, other sources have", hint="read it in a job of its own")
    done = len(parts)
    people, given = None, []
    more: list[tuple[SourceCount, pl.DataFrame]] = []
    if cases is not None:
        tell("reading cases", done / steps)
        table, mapping, beside = _raw(cases, base)
        people, stated, count, rejected = cases_of(table, mapping, cases, base, beside)
        given.append(stated)
        more.append((count, rejected))
    if consents is not None:
        tell("reading consents", (done + 1) / steps)
        table, mapping, beside = _raw(consents, base)
        dated, count, rejected = consents_of(table, mapping, consents, base, beside)
        given.append(dated)
        more.append((count, rejected))
    tell("sorting events", 1.0)
    return _whole(_some(parts), people, given, more)


def _whole(
    parts: list[SourceEvents],
    people: pl.DataFrame | None,
    consents: list[pl.DataFrame],
    more: list[tuple[SourceCount, pl.DataFrame]],
) -> EventLog:
    """The log with cases for every event, and the counts and rejected rows of cases and consents."""
    if people is not None:
        seen = pl.concat([p.events["case_id"] for p in parts]).unique(maintain_order=True)
        known = set(people["case_id"].to_list())
        unknown = seen.filter(~seen.is_in(list(known))) if known else seen
        if unknown.len():
            people = pl.concat([people, unknown.to_frame("case_id")], how="diagonal_relaxed")
    given = (
        pl.concat(consents).sort("case_id", "channel", "timestamp", "source", "source_row")
        if consents
        else None
    )
    log = EventLog.assemble(parts, people, given)
    if not more:
        return log
    counts = [c for c, _ in more]
    if people is not None and unknown.len():
        note = f"{unknown.len():,} cases with events are not in the case table: their attributes stay empty"
        counts[0] = _noted(counts[0], note)
    return EventLog(
        events=log.events,
        cases=log.cases,
        consents=log.consents,
        rejected=pl.concat([log.rejected, *(r for _, r in more)]),
        sources=(*log.sources, *counts),
        timed=log.timed,
    )


def _noted(count: SourceCount, note: str) -> SourceCount:
    from dataclasses import replace

    return replace(count, notes=(*count.notes, note))


def _some(parts: list[SourceEvents]) -> list[SourceEvents]:
    """The parts, unless none holds an event: then a LogError that says where the rows went."""
    if any(p.events.height for p in parts):
        return parts
    why = "; ".join(f"{n:,} × {w}" for p in parts for w, n in p.count.left_out.items())
    raise LogError(
        "the log has no event", hint=f"all rows were left out: {why}" if why else "no source has a row"
    )


def _read_source(name: str, settings: SourceSettings, base: Path) -> SourceEvents:
    table, mapping, beside = _raw(settings, base)
    return events_of(name, table, mapping, settings, base, beside)


def _raw(settings: AnySettings, base: Path) -> tuple[RawTable, SourceMapping, Path]:
    mapping = load_mapping(settings.mapping, settings.kind, base)
    for name in settings.joins:
        one_of(name, tuple(mapping.join), "join")
    inputs = find_inputs(settings.path, base, mapping.file)
    wanted = "xes" if settings.kind == "xes" else settings.format
    table = read_inputs(inputs, format=wanted, delimiter=settings.delimiter, encoding=settings.encoding)
    return table, mapping, inputs[0].path.parent


def input_files(
    sources: Mapping[str, SourceSettings],
    cases: CasesSettings | None,
    consents: ConsentSettings | None,
    base: Path,
) -> list[tuple[str, Path]]:
    """Name and path of every file a job reads, joined files and mappings too, each once, in order."""
    found: dict[Path, Input] = {}
    every: list[AnySettings] = [*sources.values(), *(s for s in (cases, consents) if s is not None)]
    for settings in every:
        mapping = load_mapping(settings.mapping, settings.kind, base)
        if settings.mapping is not None:
            found.setdefault(base / settings.mapping, Input(base / settings.mapping, settings.mapping))
        inputs = find_inputs(settings.path, base, mapping.file)
        for name, join in mapping.join.items():
            if name in settings.joins:
                inputs += find_inputs(settings.joins[name], base, join.file)
            elif (near := join_file(join, inputs[0].path.parent)) is not None:
                inputs.append(Input(near, shown(near, base, settings.path)))
        for item in inputs:
            found.setdefault(item.path.resolve(), item)
    return [(item.shown, item.path) for item in found.values()]


def settings_of(data: str | Path, **settings: Any) -> tuple[str, SourceSettings]:
    """Name and settings under which `read` takes a path; a wrong setting is a JobError."""
    name = Path(data).name.partition(".")[0] or "log"
    return name, _settings(path=str(data), **({"kind": _kind_of(Path(data))} | settings))


def _kind_of(path: Path) -> str:
    """Kind of an extract that bears its object's usual name (Call2_vod__c.csv), else "table"."""
    stem = path.name.partition(".")[0].lower()
    for kind in kinds("events"):
        file = load_mapping(None, kind, Path()).file
        if file and stem == file.partition(".")[0].lower():
            return kind
    return "table"


def _settings(**values: Any) -> SourceSettings:
    """Settings from keyword arguments; an unknown one is a JobError naming the nearest."""
    known = list(SourceSettings.__dataclass_fields__)
    for key in values:
        if key not in known:
            near = nearest(key, known)
            hint = f"did you mean {near!r}? " if near else ""
            raise JobError(f"read has no argument {key!r}", hint=f"{hint}known: {', '.join(known)}")
    if isinstance(values.get("keep"), str):
        values["keep"] = (values["keep"],)
    if "keep" in values:
        values["keep"] = tuple(values["keep"])
    given = {k: v for k, v in values.items() if v is not None}
    return SourceSettings(**given)
