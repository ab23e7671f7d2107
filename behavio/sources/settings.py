"""Settings of everything that is read: one frozen dataclass per table of the job file."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches

from behavio.errors import JobError

EVENT_KINDS = (
    "table",
    "xes",
    "veeva.call",
    "veeva.key_message",
    "veeva.sent_email",
    "veeva.email_activity",
    "veeva.event_attendee",
    "ga4",
)
CASE_KINDS = ("table", "veeva.account")
CONSENT_KINDS = ("table", "veeva.consent")
FORMATS = ("csv", "tsv", "jsonl", "parquet", "arrow", "xes")


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


def _check(kind: str, kinds: tuple[str, ...], path: str, format: str | None) -> None:
    one_of(kind, kinds, "kind")
    if not path.strip():
        raise JobError("path is empty", hint="name a file, a folder or a pattern such as calls/*.csv")
    if format is not None:
        one_of(format, FORMATS, "format")


@dataclass(frozen=True)
class SourceSettings:
    """Where events come from and how their columns are to be understood.

    kind              "table" (columns guessed or named), "xes", "veeva.…" or "ga4" (built-in mapping)
    path              file, folder or pattern (`exports/*.csv`), relative to the job file
    mapping           TOML mapping used instead of the built-in one
    case_id, activity, timestamp   columns; `activity` may be a template: "{activity}: {company}"
    order             number column that breaks ties of time, and orders a log without a clock;
                      "source_row" takes the order of reading
    timezone          zone of times that carry none
    timestamp_format  strptime format, or unix_s, unix_ms, unix_us, unix_ns, excel
    delimiter, encoding, format    as found in the file unless named
    keep              further columns to carry along; "*" for all of them
    columns           attribute ← column of the file, for the attributes in behavio.log.ATTRIBUTES or new ones
    values            attribute ← constant, or a table activity → value ("*" for every other activity);
                      `values.activity` renames activities
    joins             file of each joined table of the mapping, where it is not beside `path`
    repeats           "keep" counts equal rows, "merge" also leaves out all but the first
    """

    path: str
    kind: str = "table"
    mapping: str | None = None
    case_id: str | None = None
    activity: str | None = None
    timestamp: str | None = None
    order: str | None = None
    timezone: str = "UTC"
    timestamp_format: str | None = None
    delimiter: str | None = None
    encoding: str | None = None
    format: str | None = None
    keep: tuple[str, ...] = ()
    columns: Mapping[str, str] = field(default_factory=dict)
    values: Mapping[str, str | Mapping[str, str]] = field(default_factory=dict)
    joins: Mapping[str, str] = field(default_factory=dict)
    repeats: str = "keep"

    def __post_init__(self) -> None:
        _check(self.kind, EVENT_KINDS, self.path, self.format)
        one_of(self.repeats, ("keep", "merge"), "repeats =")


@dataclass(frozen=True)
class CasesSettings:
    """Where the cases' own attributes come from: one row per case (specialty, region, segment, owner).

    `columns` renames (attribute ← column); `keep` adds columns, "*" all of them.
    """

    path: str
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

    def __post_init__(self) -> None:
        _check(self.kind, CASE_KINDS, self.path, self.format)


@dataclass(frozen=True)
class ConsentSettings:
    """Where dated consent statements come from: case, channel, state, since when, until when.

    For kind "table" the columns case_id, channel, state, timestamp and expires are guessed or named in
    `columns`; `channel` and `state` may be constants in `values`.
    """

    path: str
    kind: str = "table"
    mapping: str | None = None
    case_id: str | None = None
    timezone: str = "UTC"
    timestamp_format: str | None = None
    delimiter: str | None = None
    encoding: str | None = None
    format: str | None = None
    columns: Mapping[str, str] = field(default_factory=dict)
    values: Mapping[str, str] = field(default_factory=dict)
    joins: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        _check(self.kind, CONSENT_KINDS, self.path, self.format)
