"""Mappings: which columns of an extract become which attributes, as a TOML file anyone can copy and edit.

A mapping says everything a reader needs to know about one kind of extract, so that a new source needs a
mapping and no code. The built-in ones lie in behavio/sources/mappings; `docs` in each of them explain the
choices. Every key is checked: an unknown one is a JobError that names the nearest.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any

from behavio.errors import JobError
from behavio.sources.parts import Session, Shadow, TooSoon, Volley
from behavio.sources.settings import nearest
from behavio.sources.twins import PLACE as PLACE
from behavio.sources.twins import whole


@dataclass(frozen=True, slots=True)
class Field:
    """How one attribute is filled.

    column    the first of these columns that holds something
    template  text with columns in braces, "{activity}: {company}"
    constant  the same for every row
    values    what each value becomes ("" for nothing); a value not listed stays as it is, or becomes `other`
    empty     value where the columns hold nothing
    strict    a value that `values` does not list rejects the row
    times     factor for numbers (minutes to seconds: 60), or the column that holds it
    trim      characters taken off both ends (";North;" with ";" is "North")
    first_of  of a cell with several values, the first ("A;B" with ";" is "A")
    fold      values are compared in lower case, with "_" for blanks, dashes ("Hard Bounce" is "hard_bounce")
    """

    column: tuple[str, ...] = ()
    template: str = ""
    constant: str | None = None
    values: Mapping[str, str] = field(default_factory=dict)
    other: str | None = None
    empty: str | None = None
    strict: bool = False
    times: float | str | None = None
    trim: str = ""
    first_of: str = ""
    fold: bool = False

    @property
    def needs(self) -> tuple[str, ...]:
        """Columns this field looks at."""
        factor = (self.times,) if isinstance(self.times, str) else ()
        return (*self.column, *PLACE.findall(self.template), *factor)

    @classmethod
    def of(cls, value: Any, where: str) -> Field:
        """A field from TOML: a column, a list of columns, a template in braces, or a table."""
        if isinstance(value, str):
            return cls(template=value) if PLACE.search(value) else cls(column=(value,))
        if isinstance(value, list):
            return cls(column=_texts(value, where))
        return cls(**_checked(cls, value, where))


@dataclass(frozen=True, slots=True)
class Filter:
    """Rows that stay: those whose column is `in` these values, or `not_in` those.

    An empty cell passes `not_in`, and fails `in` unless `empty` is true. A column the file does not have
    lets every row pass when `optional`.
    """

    column: tuple[str, ...]
    why: str
    inside: tuple[str, ...] | None = None
    outside: tuple[str, ...] | None = None
    empty: bool = False
    optional: bool = False


@dataclass(frozen=True, slots=True)
class Join:
    """Columns of a second file, found by `key` here = `id` there, then named `<join>.<column>`.

    key       the first of these columns that the file has; several at once as "JobID + ListID", like `id`
    where     column = value: only these rows of the second file are looked at
    chain     a column of the second file that points to another of its rows, followed to the end (a
              merged account to the one that survived)
    optional  a file that is not there is no error
    quiet     nor worth a note, like rows whose key it does not hold
    first     of several rows with one id the oldest is taken, and not the newest
    also      other usual names of the file
    """

    file: str
    key: tuple[str, ...]
    columns: tuple[str, ...]
    id: str = "Id"
    version: tuple[str, ...] = ("LastModifiedDate", "SystemModstamp")
    where: Mapping[str, str] = field(default_factory=dict)
    chain: str = ""
    optional: bool = True
    quiet: bool = False
    first: bool = False
    also: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Statement:
    """A consent that stands in an account row: the column's value says what holds for a channel."""

    column: str
    inside: tuple[str, ...]
    channel: str
    state: str


@dataclass(frozen=True, slots=True)
class Remark:
    """Something a reader of the numbers should know, noted when the file gives cause.

    Says how many rows hold which value in the column, or with `missing` that no row holds any.
    """

    column: tuple[str, ...]
    why: str
    missing: bool = False


@dataclass(frozen=True, slots=True)
class SourceMapping:
    """Everything about one kind of extract; see the module's text and the built-in files.

    also      other usual names of the file, in folders and zip archives
    header    file with the column names, for tables that come without (Adobe's data feed)
    explode   list column whose elements become rows of their own (the actions of a visit)
    aliases   column as some exports call it = column as this mapping calls it
    loose     columns are found whatever their case, blanks, dots and dashes
    record    columns that tell one record where no single `id` does, joined with " + "; of several lines
              the first whose columns are all there counts
    timezone  zone of times that carry none, unless the job names one
    page      what a page, or a mail, is called: matched against the topics and brands of the job
    opt_out   activity = channel that it opts the case out of, as a consent statement of its own
    notes     what everybody who reads the numbers should know about this kind
    patients  the rows are about single patients: no job about HCPs takes them
    """

    title: str = ""
    role: str = "events"
    file: str = ""
    id: str = ""
    version: tuple[str, ...] = ()
    salesforce_ids: bool = False
    case_id: Field = field(default_factory=Field)
    nobody: str = ""
    activity: Field = field(default_factory=Field)
    timestamp: Field = field(default_factory=Field)
    timestamp_format: str | None = None
    order: tuple[str, ...] = ()
    attributes: Mapping[str, Field] = field(default_factory=dict)
    keep: tuple[str, ...] = ()
    drop: tuple[str, ...] = ()
    params: tuple[str, ...] = ()
    filter: tuple[Filter, ...] = ()
    join: Mapping[str, Join] = field(default_factory=dict)
    merged_into: str = ""
    parent: str = ""
    once: tuple[str, ...] = ()
    shadow: tuple[Shadow, ...] = ()
    too_soon: tuple[TooSoon, ...] = ()
    session: Session | None = None
    consent: tuple[Statement, ...] = ()
    remark: tuple[Remark, ...] = ()
    also: tuple[str, ...] = ()
    header: str = ""
    explode: str = ""
    aliases: Mapping[str, str] = field(default_factory=dict)
    loose: bool = False
    record: tuple[str, ...] = ()
    timezone: str = ""
    page: Field = field(default_factory=Field)
    volley: tuple[Volley, ...] = ()
    opt_out: Mapping[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    patients: bool = False

    @property
    def parts(self) -> set[str]:
        """Columns that tell one record together."""
        return {part.strip() for line in self.record for part in line.split("+")}

    @property
    def joins(self) -> dict[str, Join]:
        """The joins, each after those whose columns its key names; else as written."""
        left, found = dict(self.join), dict[str, Join]()
        while left:
            ready = [
                n for n, j in left.items() if not {k.partition(".")[0] for k in j.key} & (left.keys() - {n})
            ]
            for name in ready or list(left):  # a circle is joined as written: its keys are not there
                found[name] = left.pop(name)
        return found

    @property
    def needs(self) -> set[str]:
        """Columns of the file itself that the mapping looks at."""
        every = [self.case_id, self.activity, self.timestamp, self.page, *self.attributes.values()]
        found = {c for f in every for c in f.needs} | {
            self.id,
            self.parent,
            self.merged_into,
            *self.order,
            *self.version,
            *self.once,
        }
        found |= {c for f in self.filter for c in f.column} | {
            part.strip() for j in self.join.values() for key in j.key for part in key.split("+")
        }
        found |= {c for s in self.shadow for c in (*s.column, *s.same)} | {s.column for s in self.consent}
        found |= {c for s in self.too_soon for c in (*s.column, s.after)}
        found |= {c for r in self.remark for c in r.column}
        found |= {c for v in self.volley for c in (v.column, *v.same)}
        if self.session is not None:
            found |= {*self.session.key, self.session.column, self.session.seconds}
        return {c for c in found if c and not c.startswith("__") and c.partition(".")[0] not in self.join}


def zone_of(settings: Any, mapping: SourceMapping) -> str:
    """Zone of times that carry none: the one the job names, else the mapping's, else UTC."""
    return str(settings.timezone or mapping.timezone or "UTC")


RENAMED = {"in": "inside", "not_in": "outside"}
PARTS: dict[str, type] = {
    "shadow": Shadow,
    "too_soon": TooSoon,
    "filter": Filter,
    "consent": Statement,
    "remark": Remark,
    "volley": Volley,
}


def load_mapping(named: str | None, kind: str, base: Path) -> SourceMapping:
    """The mapping of a user's file, or the built-in one of a kind; a plain table has an empty one."""
    if named is not None:
        path = base / named
        try:
            return parse_mapping(path.read_text(encoding="utf-8"), named)
        except OSError as problem:
            near = nearest(path.name, [p.name for p in path.parent.glob("*.toml")])
            hint = f"did you mean {near}?" if near else "copy one of " + ", ".join(sorted(built_in()))
            raise JobError(f"the mapping {named} cannot be read: {problem.strerror}", hint=hint) from None
    return _built_in_mapping(kind)


@cache
def _built_in_mapping(kind: str) -> SourceMapping:
    text = built_in().get(kind)
    return parse_mapping(text, kind) if text is not None else SourceMapping()


@cache
def built_in() -> dict[str, str]:
    """Text of every built-in mapping by its kind."""
    folder = resources.files("behavio").joinpath("sources/mappings")
    found = sorted((p for p in folder.iterdir() if p.name.endswith(".toml")), key=lambda p: p.name)
    return {p.name.removesuffix(".toml"): p.read_text(encoding="utf-8") for p in found}


def parse_mapping(text: str, where: str) -> SourceMapping:
    """A mapping from TOML text. Raises JobError for a word it does not know or a wrong type."""
    try:
        table = tomllib.loads(text)
    except tomllib.TOMLDecodeError as problem:
        raise JobError(
            f"mapping {where} is not valid TOML: {problem}", hint="quote names with dots"
        ) from None
    whole_table = whole(table, f"mapping {where}", built_in())
    return SourceMapping(**_checked(SourceMapping, whole_table, f"mapping {where}"))


def _checked(kind: type, table: Any, where: str) -> dict[str, Any]:
    """The arguments for one dataclass of this module, each checked against its kind."""
    if not isinstance(table, dict):
        raise JobError(f"{where} must be a table, not {table!r}", hint="write key = value lines below [name]")
    known = [f.name for f in fields(kind)]
    arguments: dict[str, Any] = {}
    for key, value in table.items():
        name = RENAMED.get(key, key)
        if name not in known or key in RENAMED.values():
            shown = [next((k for k, v in RENAMED.items() if v == n), n) for n in known]
            near = nearest(key, shown)
            hint = f"did you mean {near!r}? " if near else ""
            raise JobError(f"{where} has an unknown key {key!r}", hint=f"{hint}known: {', '.join(shown)}")
        arguments[name] = _value(kind, name, value, f"{where}, {key}")
    for f in fields(kind):
        if f.name not in arguments and f.default is f.default_factory:  # both MISSING: it has no default
            raise JobError(f"{where} lacks the key {f.name!r}", hint=f"add {f.name} = …")
    return arguments


def _value(kind: type, name: str, value: Any, where: str) -> Any:
    annotation = str({f.name: f.type for f in fields(kind)}[name])
    if annotation == "Field":
        return Field.of(value, where)
    if annotation.startswith("Mapping"):
        if not isinstance(value, dict):
            raise JobError(f"{where} must be a table", hint="write name = value lines")
        if "Field" in annotation:
            return {k: Field.of(v, f"{where}.{k}") for k, v in value.items()}
        if "Join" in annotation:
            return {k: Join(**_checked(Join, v, f"{where}.{k}")) for k, v in value.items()}
        return {k: _text(v, where) for k, v in value.items()}
    if name in PARTS and annotation.startswith("tuple"):
        entries = value if isinstance(value, list) else [value]
        return tuple(PARTS[name](**_checked(PARTS[name], v, where)) for v in entries)
    if name == "session":
        return Session(**_checked(Session, value, where))
    if annotation.startswith("tuple"):
        return _texts(value if isinstance(value, list) else [value], where)
    if annotation.startswith("str"):
        return _text(value, where)
    if "str" in annotation and isinstance(value, str):
        return value
    wanted = {"bool": bool, "int": int}.get(annotation, (int, float))
    if not isinstance(value, wanted) or (isinstance(value, bool) and wanted is not bool):
        raise JobError(f"{where} = {value!r} has the wrong type", hint=f"expected {annotation}")
    return value


def _text(value: Any, where: str) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str | int | float):
        return str(value)
    raise JobError(f"{where} = {value!r} has the wrong type", hint="expected text in quotes")


def _texts(values: list[Any], where: str) -> tuple[str, ...]:
    return tuple(_text(v, where) for v in values)
