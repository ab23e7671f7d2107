"""Which of our facts goes into which column of the CRM: a TOML file, versioned, read strictly.

```toml
version = 1
system = "salesforce"
title = "Veeva CRM"

[[object]]
rows = "labels"                        # labels | affinity | suggestions | tags | scores | message_scores
object = "Product_Metrics_vod__c"
key = "External_ID_vod__c"             # an external id; rows are found by it
parent = "Account_vod__c"              # rows are sorted by it, so that one account's rows lock together
owned = "Behavio_Run__c"               # filled in every row that behavio wrote
[object.columns]
External_ID_vod__c = "{case_id}__behavio"
Segment__c = { from = "{segment}", null = "clear" }
```

Objects are written in the order of the file: parents first.
"""

from __future__ import annotations

import hashlib
import string
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from behavio.errors import JobError
from behavio.files import whole_file

VERSION = 1
FOLDER = Path(__file__).parent / "mappings"
SYSTEMS = ("salesforce", "vault", "sql")
ROW_SETS = ("labels", "affinity", "suggestions", "tags", "scores", "message_scores")
NULLS = ("keep", "clear", "refuse")
RETIRES = ("", "expire", "clear")
OPERATIONS = ("upsert", "update")


@dataclass(frozen=True, slots=True)
class Column:
    """One column of the CRM.

    source    text with our names in braces, "{case_id}__{brand}"; without braces the same in every row
    null      what an empty value does: keep what is there, clear it, or refuse the row
    values    our value → theirs; a value that is not named is refused
    decimals  of a number
    cut       a text too long for the column is cut at a word with an ellipsis, instead of refused
    stamp     says when and by what: alone no reason to write a row again
    resolve   (object, column): the value is the name of a row there, whose id is written
    """

    name: str
    source: str
    null: str = "keep"
    values: Mapping[str, str] = field(default_factory=dict)
    decimals: int | None = None
    cut: bool = False
    stamp: bool = False
    resolve: tuple[str, str] | None = None

    @property
    def names(self) -> list[str]:
        """Our names in the source."""
        return [n for _, n, _, _ in string.Formatter().parse(self.source) if n is not None]


@dataclass(frozen=True, slots=True)
class ObjectMapping:
    """One object of the CRM and its columns.

    key, parent   column by which rows are found; column by which they are sorted, against row locks
    operation     "update" where no row may be made
    owned         column that is filled in every row that behavio wrote
    protect       columns that are set once a rep has acted ("Status:Done|Gone": have one of these
                  values): such a row is never touched again
    expires       date column after which a row no longer shows
    retire        what happens to rows of ours that this run no longer wants: nothing, "expire", "clear"
    owner         the column of the rep; with `expires` at most `max_per_owner` open rows go to one
    same          columns that make two rows the same to a rep: where `dismissed` is set and `changed` is less
                  than 30 days ago, such a row is not made again
    title         column that names a row to people
    """

    rows: str
    object: str
    key: str
    columns: tuple[Column, ...]
    operation: str = "upsert"
    parent: str = ""
    owned: str = ""
    owner: str = ""
    protect: tuple[str, ...] = ()
    dismissed: str = ""
    changed: str = ""
    expires: str = ""
    retire: str = ""
    same: tuple[str, ...] = ()
    title: str = ""

    @property
    def names(self) -> tuple[str, ...]:
        """Columns of the CRM in the order of the file."""
        return tuple(c.name for c in self.columns)

    @property
    def case(self) -> str:
        """The column that holds the account and nothing else, "" when there is none."""
        return next((c.name for c in self.columns if c.source == "{case_id}"), "")

    @property
    def stamps(self) -> tuple[str, ...]:
        """Columns that are no reason to write."""
        return tuple(c.name for c in self.columns if c.stamp)


@dataclass(frozen=True, slots=True)
class CrmMapping:
    """A whole mapping file."""

    name: str
    title: str
    system: str
    version: int
    objects: tuple[ObjectMapping, ...]
    sha256: str
    text: str = field(default="", repr=False)

    def write(self, folder: Path) -> None:
        """Keep the file as it is beside what was done with it."""
        with whole_file(folder / "mapping.toml") as draft:
            draft.write_text(self.text, encoding="utf-8")


def ready_made() -> dict[str, str]:
    """Names and titles of the mappings that ship with behavio."""
    return {
        p.stem: str(tomllib.loads(p.read_text("utf-8")).get("title", ""))
        for p in sorted(FOLDER.glob("*.toml"))
    }


def load_mapping(name: str, base: Path = Path()) -> CrmMapping:
    """A ready-made mapping by name, or a file. Raises JobError that says where and what is wrong."""
    own = name.endswith(".toml")
    path = base / name if own else FOLDER / f"{name}.toml"
    try:
        data = path.read_bytes()
        table = tomllib.loads(data.decode("utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as problem:
        hint = f"ready-made: {', '.join(ready_made())}; or a file that ends in .toml"
        why = "is not there" if isinstance(problem, FileNotFoundError) else f"cannot be read: {problem}"
        raise JobError(f"the mapping {name} {why}", hint=hint) from None
    made = _mapping(path.stem, table, hashlib.sha256(data).hexdigest())
    return replace(made, text=data.decode("utf-8"))


def _mapping(name: str, table: dict[str, Any], digest: str) -> CrmMapping:
    _known(table, ("version", "system", "title", "object"), name)
    if table.get("version") != VERSION:
        raise JobError(f"{name}: version = {table.get('version')} is not {VERSION}", hint="write version = 1")
    system = _one_of(table.get("system"), SYSTEMS, f"{name}: system")
    objects = tuple(_object(o, name) for o in table.get("object", ()))
    if not objects:
        raise JobError(f"{name}: there is no [[object]]", hint="see docs/guides/crm.md")
    return CrmMapping(name, str(table.get("title", name)), system, VERSION, objects, digest)


def _object(table: dict[str, Any], name: str) -> ObjectMapping:
    given = dict(table)
    where = f"{name}: {given.get('object', '[[object]]')}"
    _known(given, [f.name for f in fields(ObjectMapping)], where)
    lacking = [k for k in ("rows", "object", "key", "columns") if not given.get(k)]
    if lacking:
        raise JobError(f"{where} lacks {', '.join(lacking)}", hint="see docs/guides/crm.md")
    _one_of(given["rows"], ROW_SETS, f"{where}: rows")
    _one_of(given.get("retire", ""), RETIRES, f"{where}: retire")
    _one_of(given.get("operation", "upsert"), OPERATIONS, f"{where}: operation")
    given["columns"] = tuple(_column(c, v, where) for c, v in given["columns"].items())
    for name in ("protect", "same"):
        given[name] = tuple(given.get(name, ()))
    made = ObjectMapping(**given)
    for role in ("key", "parent", "owned", "owner", "expires"):
        column = getattr(made, role)
        if column and column not in made.names:
            raise JobError(
                f"{where}: {role} = {column!r} is no column of the mapping", hint="add it to [object.columns]"
            )
    if made.retire and not made.owned:
        raise JobError(
            f"{where}: retire needs owned", hint="name a column that says which rows are behavio's"
        )
    if made.retire and not made.case:
        raise JobError(
            f"{where}: retire needs a column with {{case_id}} alone", hint="it says whose row it is"
        )
    if made.retire == "expire" and not made.expires:
        raise JobError(f"{where}: retire = 'expire' needs expires", hint="name the column of the last day")
    return made


def _column(name: str, given: Any, where: str) -> Column:
    from behavio.targets.facts import NAMES

    table = dict(given) if isinstance(given, dict) else {"from": given}
    at = f"{where}.{name}"
    _known(table, ("from", "null", "values", "decimals", "cut", "stamp", "resolve"), at)
    source = table.pop("from", None)
    if not isinstance(source, str):
        raise JobError(f"{at} says not what goes there", hint='write "{segment}", or { from = "{segment}" }')
    _one_of(table.get("null", "keep"), NULLS, f"{at}: null")
    if "resolve" in table:
        object, _, column = str(table["resolve"]).partition(".")
        table["resolve"] = (object, column)
    made = Column(name, source, **table)
    try:
        used = made.names
    except ValueError as problem:
        raise JobError(f"{at}: {problem}", hint="braces come in pairs") from None
    for one in used:
        _one_of(one, NAMES, f"{at}: the name")
    return made


def _known(table: Mapping[str, Any], names: Any, where: str) -> None:
    for key in table:
        if key not in names:
            _one_of(key, names, f"{where}: the key")


def _one_of(value: Any, allowed: Any, what: str) -> str:
    if value not in allowed:
        near = get_close_matches(str(value), [str(a) for a in allowed], 1, 0.4)
        meant = f"did you mean {near[0]!r}? " if near else ""
        raise JobError(
            f"{what} {value!r} is not known", hint=f"{meant}known: {', '.join(a for a in allowed if a)}"
        )
    return str(value)
