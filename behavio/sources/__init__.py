"""Readers: files, folders and frames into one checked event log.

`read` is for one table, guessing its columns; `read_log` for the sources of a job. Every row that is read
becomes an event, is rejected with a reason, or is left out as no event of its own, and the three are
counted per source. New kinds of extracts need a mapping (TOML), no code: see `mapping`.
"""

from __future__ import annotations

import gzip
import re
import zlib
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import polars as pl

from behavio.errors import JobError, LogError
from behavio.log import (
    AFFILIATION_SCHEMA,
    PLAN_SCHEMA,
    SURVEY_SCHEMA,
    EventLog,
    SourceCount,
    SourceEvents,
    empty,
)
from behavio.sources.beside import join_files
from behavio.sources.dated import AFFILIATIONS, PLAN, SURVEY, dated_of
from behavio.sources.events import PLAIN, events_of
from behavio.sources.feed import feed_files
from behavio.sources.guess import guess
from behavio.sources.identities import Identities, read_identities
from behavio.sources.inputs import Input, find_inputs, shown
from behavio.sources.mapping import SourceMapping, built_in, load_mapping
from behavio.sources.patients import refuse_patient_keys
from behavio.sources.people import cases_of, consents_of, count_of
from behavio.sources.privacy import Privacy, privacy_of
from behavio.sources.raw import files_of, raw_table, wanted_columns
from behavio.sources.readiness import readiness
from behavio.sources.settings import (
    AffiliationSettings,
    CasesSettings,
    ConsentSettings,
    DatedSettings,
    IdentitySettings,
    LogInputs,
    LogSettings,
    PlanSettings,
    SourceSettings,
    SurveySettings,
    kinds,
    nearest,
)
from behavio.sources.smells import findings
from behavio.sources.tabular import RawTable, read_frame
from behavio.sources.times import read_times

__all__ = [
    "AffiliationSettings",
    "CasesSettings",
    "ConsentSettings",
    "IdentitySettings",
    "LogInputs",
    "LogSettings",
    "PlanSettings",
    "SourceSettings",
    "SurveySettings",
    "built_in",
    "findings",
    "input_files",
    "kinds",
    "read",
    "read_analog",
    "read_log",
    "read_planned",
    "read_survey",
    "readiness",
    "settings_of",
]

FILE_LINE = re.compile(r'^file = "([^".]+)', re.MULTILINE)
Progress = Callable[[str, float], None]
Counted = tuple[SourceCount, pl.DataFrame]


def read(data: Any, *, keep_text: bool = False, **settings: Any) -> EventLog:
    """The event log of one file, folder, pattern or frame.

    `data` is a path (CSV, TSV, JSON lines, Parquet, Arrow, Excel, XES, OCEL; packed with gzip or zstd
    too), a database URL with `table=` or `query=`, a folder that `EventLog.write` left, or a pandas, Polars
    or Arrow table, reader or dataset. Columns are guessed from the usual names
    or named: `case_id=`, `activity=` (a template such as "{activity}: {company}" works), `timestamp=`,
    `order=`, `timezone=`, and every other field of SourceSettings. A file that bears the usual name of a
    built-in kind (Call2_vod__c.csv, ga4_events.jsonl) is read by its mapping. Columns of free text, mail and
    postal addresses, signatures and the like stay out unless `keep=` names them or `keep_text` is true.

    Raises LogError when no log can be made of it; single wrong rows end in `.rejected`.

    >>> import polars as pl
    >>> log = read(pl.DataFrame({"case": ["a"], "event": ["x"], "time": ["2024-01-02 10:00"]}))
    >>> log.events.row(0)[:2]
    ('a', 'x')
    """
    if isinstance(data, EventLog):
        return data
    privacy = Privacy(keep_text)
    if isinstance(data, str | Path):
        for folder in (Path(data), Path(data) / "log"):
            if (folder / "readiness.json").is_file():
                return EventLog.read(folder)
        part = _read_source(*settings_of(data, **settings), Path(), privacy)
    else:
        own = _settings(path="(frame)", **settings)
        table = read_frame(data, f"a {type(data).__name__}")
        part = events_of(
            "frame", table, load_mapping(own.mapping, own.kind, Path()), own, Path(), (), privacy
        )
    return EventLog.assemble(_some([part]), consents=part.consents)


def read_log(
    inputs: LogInputs,
    progress: Progress | None = None,
    *,
    part_of: Callable[[str, SourceSettings, Path, Privacy], SourceEvents] | None = None,
    salt: str = "",
    erased: frozenset[str] = frozenset(),
) -> EventLog:
    """The event log of a job: all sources in the order given, then the tables beside them.

    `part_of` reads a source where this machine does not.
    `erased` are salted hashes (`privacy.salted`) of people who were erased from a run and stay out.
    Raises LogError when a file cannot be read as a whole, when a source has no usable row, or when logs
    with and without a clock are mixed; JobError for a wrong setting.
    """
    tell = progress or (lambda _what, _share: None)
    steps = len(inputs.tables)
    privacy = privacy_of(inputs.log, inputs.base, salt, erased)
    beside, privacy = _beside(inputs, privacy, lambda what, place: tell(what, place / steps))
    parts: list[SourceEvents] = []
    for name, settings in inputs.source.items():
        if settings.analog:
            continue
        tell(f"reading {name}", (len(beside.counted) + len(parts)) / steps)
        read_one = part_of or partial(_read_source, identities=beside.identities)
        parts.append(read_one(name, settings, inputs.base, privacy))
    kinds = {p.timed for p in parts}
    if len(kinds) > 1:
        without = ", ".join(p.count.name for p in parts if not p.timed)
        raise LogError(f"{without} has no clock, other sources have", hint="read it in a job of its own")
    tell("sorting events", 1.0)
    return _whole(_some(parts), beside)


def read_analog(
    inputs: LogInputs,
    progress: Progress | None = None,
    *,
    salt: str = "",
    erased: frozenset[str] = frozenset(),
) -> EventLog | None:
    """The events of a job's sources that are `analog`, as a log of their own; None where it has none."""
    found = {n: replace(s, analog=False) for n, s in inputs.source.items() if s.analog}
    if not found:
        return None
    alone = LogInputs(found, inputs.base, identities=inputs.identities, log=inputs.log)
    return read_log(alone, progress, salt=salt, erased=erased)


@dataclass
class _Beside:
    """What stands beside the events: one table per role, and the counts and rejected rows of each."""

    cases: pl.DataFrame | None = None
    consents: list[pl.DataFrame] = field(default_factory=list)
    plan: list[pl.DataFrame] = field(default_factory=list)
    affiliations: list[pl.DataFrame] = field(default_factory=list)
    survey: list[pl.DataFrame] = field(default_factory=list)
    identities: Identities | None = None
    counted: list[Counted] = field(default_factory=list)


def _beside(inputs: LogInputs, privacy: Privacy, tell: Callable[[str, int], None]) -> tuple[_Beside, Privacy]:
    """Everything beside the events; ids come first, then cases, for they say who opted out."""
    found = _Beside()
    if inputs.identities is not None:
        tell("reading the identity map", 0)
        ids = raw_table(inputs.identities, inputs.base)[0]
        _about_hcps(ids, inputs.identities, "identities", privacy)
        found.identities, sieve = read_identities(ids, inputs.identities)
        count = count_of(sieve, "identities", inputs.identities.kind, sieve.frame.height)
        found.counted.append((count, sieve.all_rejected()))
    if inputs.cases is not None:
        tell("reading cases", len(found.counted))
        table, mapping, folder = raw_table(inputs.cases, inputs.base)
        found.cases, stated, count, rejected, privacy = cases_of(
            table, mapping, inputs.cases, inputs.base, folder, privacy
        )
        found.consents.append(stated)
        found.counted.append((count, rejected))
    for name, own in inputs.named("consents").items():
        tell(f"reading {name}", len(found.counted))
        table, mapping, folder = raw_table(own, inputs.base)
        _about_hcps(table, own, name, privacy)
        stated, count, rejected = consents_of(
            table, mapping, own, inputs.base, folder, privacy, found.identities, name=name
        )
        found.consents.append(stated)
        found.counted.append((count, rejected))
    shapes = ((PLAN, found.plan), (AFFILIATIONS, found.affiliations), (SURVEY, found.survey))
    for shape, dated in shapes:
        for name, own in inputs.named(shape.role).items():
            tell(f"reading {name}", len(found.counted))
            table, mapping, folder = raw_table(own, inputs.base)
            _about_hcps(table, own, name, privacy)
            rows, count, rejected = dated_of(
                shape, table, mapping, own, inputs.base, folder, privacy, name=name
            )
            dated.append(rows)
            found.counted.append((count, rejected))
    return found, privacy


def _about_hcps(table: RawTable, settings: DatedSettings, name: str, privacy: Privacy) -> None:
    """Raise JobError when a plain table beside the events has a key of patients, in a job about HCPs."""
    own = settings.kind in PLAIN or settings.mapping is not None
    if own and not privacy.patients:
        refuse_patient_keys(table.columns, f"[{name}]")


def _whole(parts: list[SourceEvents], beside: _Beside) -> EventLog:
    """The log with cases for every event, and the counts and rejected rows of what stands beside."""
    people = beside.cases
    if people is not None:
        seen = pl.concat([p.events["case_id"] for p in parts]).unique(maintain_order=True)
        known = set(people["case_id"].to_list())
        unknown = seen.filter(~seen.is_in(list(known))) if known else seen
        if unknown.len():
            people = pl.concat([people, unknown.to_frame("case_id")], how="diagonal_relaxed")
    given = None
    said = [*beside.consents, *(p.consents for p in parts if p.consents.height)]
    if said:
        given = pl.concat(said).sort("case_id", "channel", "timestamp", "source", "source_row")
    log = EventLog.assemble(parts, people, given)
    if not beside.counted:
        return log
    counts = [c for c, _ in beside.counted]
    if people is not None and unknown.len():
        note = f"{unknown.len():,} cases with events are not in the case table: their attributes stay empty"
        at = next(i for i, c in enumerate(counts) if c.role == "cases")
        counts[at] = replace(counts[at], notes=(*counts[at].notes, note), unmatched=unknown.len())
    return replace(
        log,
        rejected=pl.concat([log.rejected, *(r for _, r in beside.counted)]),
        sources=(*log.sources, *counts),
        plan=pl.concat([empty(PLAN_SCHEMA), *beside.plan]).sort("case_id", maintain_order=True),
        affiliations=pl.concat([empty(AFFILIATION_SCHEMA), *beside.affiliations]).sort(
            "case_id", maintain_order=True
        ),
        survey=pl.concat([empty(SURVEY_SCHEMA), *beside.survey]).sort("case_id", maintain_order=True),
    )


def _some(parts: list[SourceEvents]) -> list[SourceEvents]:
    """The parts, unless none holds an event: then a LogError that says where the rows went."""
    if any(p.events.height for p in parts):
        return parts
    why = "; ".join(f"{n:,} × {w}" for p in parts for w, n in p.count.left_out.items())
    raise LogError(
        "the log has no event", hint=f"all rows were left out: {why}" if why else "no source has a row"
    )


def _read_source(
    name: str, settings: SourceSettings, base: Path, privacy: Privacy, identities: Identities | None = None
) -> SourceEvents:
    table, mapping, beside = raw_table(settings, base)
    try:
        return events_of(name, table, mapping, settings, base, beside, privacy, identities)
    except LogError:
        if wanted_columns(mapping, settings) is None:
            raise
    table, mapping, beside = raw_table(settings, base, whole=True)  # so that the message knows all columns
    return events_of(name, table, mapping, settings, base, beside, privacy, identities)


def moment(text: str) -> int:
    """A date or time as people write it, in µs since 1970 UTC. Raises JobError when it is none."""
    try:
        found = read_times(pl.Series([text])).utc[0]
    except LogError:
        found = None
    if found is None:
        raise JobError(f"{text!r} is no date", hint="write 2026-01-31 or 2026-01-31 14:05")
    return int(found.timestamp() * 1_000_000)


def read_planned(path: Path) -> tuple[pl.DataFrame, tuple[str, ...]]:
    """The planned contacts of a table as PLAN_SCHEMA, and what was rejected, in words.

    An extract that bears the usual name of a built-in plan (MC_Cycle_Plan_Channel_vod__c.csv) is read by its
    mapping; of any other table the columns are guessed, `activity` stands for a missing `channel`.
    Raises LogError when it cannot be read as a whole.
    """
    named_files = {kind: FILE_LINE.search(text) for kind, text in built_in().items() if kind in kinds("plan")}
    usual = {found[1].lower(): kind for kind, found in named_files.items() if found is not None}
    settings = PlanSettings(path=path.name, kind=usual.get(path.stem.lower(), "table"))
    table, mapping, folder = raw_table(settings, path.parent, whole=True)
    if settings.kind == "table" and guess("channel", table.columns) is None:
        named = guess("activity", table.columns)
        settings = replace(settings, columns={} if named is None else {"channel": named})
    rows, count, rejected = dated_of(PLAN, table, mapping, settings, path.parent, folder)
    notes = [f"{path.name}: {n}" for n in count.notes if "without a zone" not in n]  # days need none
    for why, n in rejected.group_by("reason").len().sort("len", descending=True).iter_rows():
        notes.append(f"{n:,} of {count.read:,} rows of {path.name} are left out: {why}")
    return rows, tuple(notes)


def read_survey(path: Path) -> tuple[pl.DataFrame, tuple[str, ...]]:
    """The answers of a table as SURVEY_SCHEMA, columns guessed, and what was rejected, in words."""
    settings = SurveySettings(path=path.name)
    table, mapping, folder = raw_table(settings, path.parent, whole=True)
    rows, count, rejected = dated_of(SURVEY, table, mapping, settings, path.parent, folder)
    lost = rejected.group_by("reason").len().sort("len", descending=True)
    return rows, tuple(f"{n:,} of {count.read:,} answers are left out: {why}" for why, n in lost.iter_rows())


def input_files(inputs: LogInputs) -> list[tuple[str, Path]]:
    """Name and path of every file a log is made of, joined files and mappings too, each once, in order."""
    base = inputs.base
    found: dict[Path, Input] = {}
    if inputs.log.exclude is not None:
        found[base / inputs.log.exclude] = Input(base / inputs.log.exclude, inputs.log.exclude)
    for settings in inputs.tables.values():
        mapping = load_mapping(settings.mapping, settings.kind, base)
        if settings.mapping is not None:
            found.setdefault(base / settings.mapping, Input(base / settings.mapping, settings.mapping))
        files, beside = files_of(settings, mapping, base, wanted_columns(mapping, settings), hold=True)
        for name, join in mapping.join.items():
            if name in settings.joins:
                files += find_inputs(settings.joins[name], base, join.file)
            else:
                near = join_files(join, beside)
                files += [Input(p, shown(p, base, settings.path or p.name)) for p in near]
        if mapping.header and settings.url is None:
            files += feed_files(files[0], mapping.header, settings.joins.get("header"), base)
        for item in files:
            found.setdefault(item.path.resolve(), item)
    return [(item.shown, item.path) for item in found.values()]


def settings_of(data: str | Path, **settings: Any) -> tuple[str, SourceSettings]:
    """Name and settings under which `read` takes a path; a wrong setting is a JobError."""
    name = Path(data).name.partition(".")[0] or "log"
    if "://" in str(data):
        return name, _settings(url=str(data), **({"kind": "sql"} | settings))
    kind = settings.pop("kind", None) or _kind_of(Path(data))
    return name, _settings(path=str(data), kind=kind, **settings)


def _kind_of(path: Path) -> str:
    """Kind of an extract that bears its object's usual name (Call2_vod__c.csv), else "table".

    Somebody's own visit.csv is no Visit of the CRM: text files must name a column the mapping looks at.
    """
    stem = path.name.partition(".")[0].lower()
    for kind, text in built_in().items():
        named = FILE_LINE.search(text)  # twins take their files from another mapping: those say them again
        if named and named.group(1).lower() == stem and kind in kinds("events"):
            mapping = load_mapping(None, kind, Path())
            if _names_one_of(path, mapping):
                return kind
    return "table"


def _names_one_of(path: Path, mapping: SourceMapping) -> bool:
    """True when the head of a text file names a column of case, time or activity; of other files, True."""
    try:
        with gzip.open(path) if path.name.endswith(".gz") else path.open("rb") as file:
            head = file.read(20_000)
    except (OSError, EOFError, zlib.error):
        return True  # told when it is read
    if b"\x00" in head:
        return True
    text = head.decode("utf-8", "replace").lower()
    fields = (mapping.case_id, mapping.timestamp, mapping.activity)
    own = {c for f in fields for c in f.needs if c in mapping.needs}
    return any(c.lower() in text for c in own if len(c) > 3)


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
