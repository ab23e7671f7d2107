"""Settings of everything that is read: one frozen dataclass per table of the job file."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any, ClassVar

from behavio.durations import seconds
from behavio.errors import JobError
from behavio.sources.topics import Rules, rules_of

READERS = {
    "events": ("table", "xes", "ocel", "sql"),
    "cases": ("table", "sql"),
    "consents": ("table", "sql"),
    "plan": ("table", "sql"),
    "affiliations": ("table", "sql"),
    "survey": ("table", "sql"),
}
"""Kinds that need no mapping, by role: a plain table's columns are guessed or named."""
ROLE = re.compile(r'^role = "(\w+)"', re.MULTILINE)
FORMATS = ("csv", "tsv", "jsonl", "parquet", "arrow", "xlsx", "xes", "ocel")


@cache
def kinds(role: str) -> tuple[str, ...]:
    """Kinds a source of this role may have: those that need no mapping, then the built-in mappings.

    A mapping says its role itself (`role = "cases"`); without the line it is events.
    """
    folder = resources.files("behavio").joinpath("sources/mappings")
    found = []
    for file in sorted((f for f in folder.iterdir() if f.name.endswith(".toml")), key=lambda f: f.name):
        said = ROLE.search(file.read_text(encoding="utf-8"))
        if (said.group(1) if said else "events") == role:
            found.append(file.name.removesuffix(".toml"))
    return (*READERS.get(role, ("table",)), *found)


def nearest(word: str, known: tuple[str, ...] | list[str]) -> str:
    """The known word most like `word`, or "" when none is near; case is ignored."""
    lowered = {k.lower(): k for k in reversed(known)}
    found = get_close_matches(word.lower(), list(lowered), 1, 0.5)
    return lowered[found[0]] if found else ""


def one_of(value: str, known: tuple[str, ...], what: str) -> None:
    """Raise JobError unless `value` is one of `known`, naming the nearest."""
    if value not in known:
        near = nearest(value, known)
        hint = f"did you mean {near!r}? " if near else ""
        raise JobError(f"{what} {value!r} is not known", hint=f"{hint}known: {', '.join(known)}")


def _check(settings: SourceSettings | CasesSettings | DatedSettings, role: str) -> None:
    one_of(settings.kind, kinds(role), "kind")
    if settings.format is not None:
        one_of(settings.format, FORMATS, "format")
    if settings.kind == "sql" or settings.url is not None:
        from behavio.sources.database import check_address

        check_address(settings.url, settings.query, settings.table, settings.path)
    elif settings.query is not None or settings.table is not None:
        word = "query" if settings.query is not None else "table"
        raise JobError(f"{word} needs a database", hint='add url = "postgresql://user@host/name"')
    elif not settings.path.strip():
        raise JobError("path is empty", hint="name a file, a folder or a pattern such as calls/*.csv")


@dataclass(frozen=True)
class SourceSettings:
    """Where events come from and how their columns are to be understood.

    kind              "table" (columns guessed or named), "xes", "ocel", "sql" (a table by `url`), or a
                      built-in mapping ("veeva.…", "ga4"), which reads files and databases alike
    path              file, folder or pattern (`exports/*.csv`), relative to the job file; of several
                      exports the newest version of each record counts, so a new export is put beside the
                      earlier ones, and a folder may hold one folder per export
    mapping           TOML mapping used instead of the built-in one
    case_id, activity, timestamp   columns; `activity` may be a template: "{activity}: {company}"
    order             number column that breaks ties of time, and orders a log without a clock;
                      "source_row" takes the order of reading
    timezone          zone of times that carry none; without it the mapping's, else UTC
    timestamp_format  strptime format, or unix_s, unix_ms, unix_us, unix_ns, excel
    delimiter, encoding, format    as found in the file unless named
    keep              further columns to carry along; "*" for all of them
    columns           attribute ← column of the file, for the attributes in behavio.log.ATTRIBUTES or new ones
    values            attribute ← constant, or a table activity → value ("*" for every other activity);
                      `values.activity` renames activities
    joins             file of each joined table of the mapping, where it is not beside `path`
    repeats           "keep" counts equal rows, "merge" also leaves out all but the first
    sheet             sheet of an Excel workbook, where several hold a table
    url               a database instead of a path, "postgresql://user@host/name"; never with a password
    query, table      what to read from it: a SELECT, or a table ("schema.table")
    password_env      environment variable that holds the database's password; else ~/.pgpass
    object_type       kind "ocel": objects of this type are the cases
    session_gap       where an export has no session number, a longer pause starts a new one ("30m")
    topics            page or mail → content, by ordered rules: "/products/*" = "products", first match wins
    brands            page or mail → brand by such rules, where the export names no brand
    views             each further topic of a visit is an event of its own, portal_view
    identity          kind of id the source's cases are named by, a column of [identities]
    analog            events of another brand or area: models may learn from them where that helps to tell
                      the steps of this log; they are no events of it
    """

    path: str = ""
    kind: str = "table"
    mapping: str | None = None
    case_id: str | None = None
    activity: str | None = None
    timestamp: str | None = None
    order: str | None = None
    timezone: str = ""
    timestamp_format: str | None = None
    delimiter: str | None = None
    encoding: str | None = None
    format: str | None = None
    keep: tuple[str, ...] = ()
    columns: Mapping[str, str] = field(default_factory=dict)
    values: Mapping[str, str | Mapping[str, str]] = field(default_factory=dict)
    joins: Mapping[str, str] = field(default_factory=dict)
    repeats: str = "keep"
    sheet: str | None = None
    url: str | None = None
    query: str | None = None
    table: str | None = None
    password_env: str | None = None
    object_type: str | None = None
    session_gap: str | None = None
    topics: Mapping[str, str] | Rules = field(default_factory=dict)
    brands: Mapping[str, str] | Rules = field(default_factory=dict)
    views: bool = False
    identity: str | None = None
    analog: bool = False

    def __post_init__(self) -> None:
        _check(self, "events")
        one_of(self.repeats, ("keep", "merge"), "repeats =")
        if self.session_gap is not None:
            seconds(self.session_gap)
        object.__setattr__(self, "topics", rules_of(self.topics))  # a table forgets its order in keys
        object.__setattr__(self, "brands", rules_of(self.brands))


@dataclass(frozen=True)
class CasesSettings:
    """Where the cases' own attributes come from: one row per case (specialty, region, segment, owner).

    `columns` renames (attribute ← column); `keep` adds columns, "*" all of them. `sheet`, `url`, `query`,
    `table` and `password_env` are those of SourceSettings.
    """

    path: str = ""
    kind: str = "table"
    mapping: str | None = None
    case_id: str | None = None
    timezone: str = "UTC"
    delimiter: str | None = None
    encoding: str | None = None
    format: str | None = None
    keep: tuple[str, ...] = ()
    columns: Mapping[str, str] = field(default_factory=dict)
    joins: Mapping[str, str] = field(default_factory=dict)
    sheet: str | None = None
    url: str | None = None
    query: str | None = None
    table: str | None = None
    password_env: str | None = None

    def __post_init__(self) -> None:
        _check(self, "cases")


@dataclass(frozen=True)
class DatedSettings:
    """A dated table beside the events; its columns are guessed, or named in `columns` and `values`.

    `sheet`, `url`, `query`, `table` and `password_env` are those of SourceSettings.
    """

    path: str = ""
    kind: str = "table"
    mapping: str | None = None
    case_id: str | None = None
    timezone: str = ""
    timestamp_format: str | None = None
    delimiter: str | None = None
    encoding: str | None = None
    format: str | None = None
    columns: Mapping[str, str] = field(default_factory=dict)
    values: Mapping[str, str] = field(default_factory=dict)
    joins: Mapping[str, str] = field(default_factory=dict)
    sheet: str | None = None
    url: str | None = None
    query: str | None = None
    table: str | None = None
    password_env: str | None = None

    role: ClassVar[str] = ""

    def __post_init__(self) -> None:
        _check(self, self.role)


@dataclass(frozen=True)
class IdentitySettings(DatedSettings):
    """Where the identity map comes from: which case each subscriber key, user id or old CRM id belongs to.

    One row per person or id; the case in `case_id`, each other column a kind of id that a source can name
    as its `identity`. `columns` names them: subscriber_key = "SFMC Key"; without it every column counts.
    Optional dates: valid_from, valid_to. `follow` is the kind whose ids are case ids themselves: a case
    found there (a merged account) is followed on.
    """

    follow: str = "crm_id"

    role: ClassVar[str] = "identities"


@dataclass(frozen=True)
class ConsentSettings(DatedSettings):
    """Where dated consent statements come from: case, channel, state, since when, until when.

    For kind "table" the columns case_id, channel, state, timestamp and expires are guessed or named in
    `columns`; `channel` and `state` may be constants in `values`. `identity` is the kind of id that names
    the cases, a column of [identities].
    """

    identity: str | None = None

    role: ClassVar[str] = "consents"


@dataclass(frozen=True)
class PlanSettings(DatedSettings):
    """Where the plan comes from: how many touches (goal) per case, channel, brand, from start to end.

    For kind "table" the columns of behavio.log.PLAN_SCHEMA are guessed or named in `columns`; those that
    are the same in every row may be constants in `values`.
    """

    role: ClassVar[str] = "plan"


@dataclass(frozen=True)
class AffiliationSettings(DatedSettings):
    """Where affiliations come from: case, account_id, role, influence, since when, until when.

    For kind "table" the columns of behavio.log.AFFILIATION_SCHEMA are guessed or named in `columns`.
    """

    role: ClassVar[str] = "affiliations"


@dataclass(frozen=True)
class SurveySettings(DatedSettings):
    """Where answers of market research come from: case, question, answer, who rated, when.

    For kind "table" the columns of behavio.log.SURVEY_SCHEMA are guessed or named in `columns`; a table of
    one question names it in `values`: question = "Sees a need".
    """

    role: ClassVar[str] = "survey"


@dataclass(frozen=True)
class LogSettings:
    """What enters the log as a whole, whatever the source.

    exclude      file of case ids (one per line, or a table with a case column) that never enter
    keep_text    free text, signatures, addresses and mail bodies are dropped unless this is true, or a
                 source's `keep` names the column
    end          activities that close a case; every other case's last event is only the last one seen
    open_within  a case silent for longer than this before the newest event is closed ("90d"); by default
                 the 99 % quantile of the gaps inside cases
    sample_events  from a log with more events than this models and segments learn by a sample of whole cases,
                 where it is streamed or counted on a cluster; journeys are always counted over all of it
    case         "person"; "account": one journey per account, by [affiliations]; "patient": a job of its own
                 that neither suggests nor delivers
    stream_above_mb  a single plain table of at least this size is streamed, never held in memory as a whole
    """

    exclude: str | None = None
    keep_text: bool = False
    end: tuple[str, ...] = ()
    open_within: str | None = None
    sample_events: int = 2_000_000
    stream_above_mb: float = 100.0
    case: str = "person"

    def __post_init__(self) -> None:
        if not self.stream_above_mb >= 0:
            raise JobError(f"stream_above_mb is {self.stream_above_mb}", hint="it must be 0 or more")
        if self.case not in ("person", "account", "patient"):
            raise JobError(f"case is {self.case!r}", hint='write "person", "account" or "patient"')
        if self.sample_events < 1:
            raise JobError(f"sample_events is {self.sample_events}", hint="it must be 1 or more")
        if self.open_within is not None:
            seconds(self.open_within)

    @property
    def patients(self) -> bool:
        """Whether the cases are patients."""
        return self.case == "patient"


BESIDE = ("identities", "cases", "consents", "plan", "affiliations", "survey")
"""Tables of a job beside its sources that are read into the log, in the order they are counted."""


@dataclass(frozen=True)
class LogInputs:
    """Everything a log is made of, named as the tables of a job; paths are relative to `base`."""

    source: Mapping[str, SourceSettings]
    base: Path
    cases: CasesSettings | None = None
    consents: ConsentSettings | Mapping[str, ConsentSettings] | None = None
    plan: PlanSettings | Mapping[str, PlanSettings] | None = None
    affiliations: AffiliationSettings | Mapping[str, AffiliationSettings] | None = None
    survey: SurveySettings | Mapping[str, SurveySettings] | None = None
    identities: IdentitySettings | None = None
    log: LogSettings = field(default_factory=LogSettings)

    def named(self, role: str) -> dict[str, Any]:
        """The tables of one role by the name they are counted under: "plan", or "plan.calls" and so on."""
        given = getattr(self, role)
        if isinstance(given, Mapping):
            return {f"{role}.{n}": s for n, s in given.items()}
        return {} if given is None else {role: given}

    @property
    def tables(self) -> dict[str, SourceSettings | CasesSettings | DatedSettings]:
        """Settings of every table that is read, sources first, by the name it is counted under."""
        return {**self.source, **{n: s for role in BESIDE for n, s in self.named(role).items()}}
