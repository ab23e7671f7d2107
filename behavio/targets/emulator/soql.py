"""SOQL and VQL as far as a loader asks: SELECT … FROM … WHERE …, made into SQL over the store."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from behavio.targets.emulator.schema import FieldSpec, ObjectSpec
from behavio.targets.emulator.store import Store, reference_of
from behavio.targets.emulator.values import RowError, long_id, stamp

TOKEN = re.compile(
    r"\s*(?:(?P<text>'(?:\\.|[^'\\])*')|(?P<time>\d{4}-\d\d-\d\dT[\d:.]+(?:Z|[+-]\d\d:?\d\d))|(?P<date>\d{4}-\d\d-\d\d)"
    r"|(?P<number>-?\d+(?:\.\d+)?)|(?P<name>[A-Za-z_][\w.]*)|(?P<mark><=|>=|!=|<>|[=<>(),]))"
)
COMPARE = {"=", "!=", "<>", "<", ">", "<=", ">="}
ESCAPED = {"n": "\n", "r": "\r", "t": "\t"}


class QueryError(Exception):
    """The question cannot be read; `code` as the CRM names it."""

    def __init__(self, message: str, code: str = "MALFORMED_QUERY") -> None:
        super().__init__(message)
        self.code = code


@dataclass(frozen=True, slots=True)
class Query:
    """A question ready to run: the columns it names and the SQL behind it. `count` asks only how many."""

    object: str
    columns: tuple[str, ...]
    kinds: tuple[str, ...]
    sql: str
    values: tuple[Any, ...]
    count: bool = False
    page: int = 0


@dataclass
class Reader:
    """Walks the tokens of one question."""

    store: Store
    text: str
    tokens: list[tuple[str, str]] = field(default_factory=list)
    place: int = 0
    joins: dict[str, str] = field(default_factory=dict)
    values: list[Any] = field(default_factory=list)

    def __post_init__(self) -> None:
        at, text = 0, self.text.strip()
        while at < len(text):
            found = TOKEN.match(text, at)
            if found is None or found.end() == at:
                raise QueryError(f"unexpected token: {text[at : at + 20]!r}")
            self.tokens.append((str(found.lastgroup), found[str(found.lastgroup)]))
            at = found.end()

    # tokens --------------------------------------------------------------------------------------

    def peek(self) -> str:
        """The next token in capitals, "" at the end."""
        return self.tokens[self.place][1].upper() if self.place < len(self.tokens) else ""

    def take(self, *wanted: str) -> str:
        """The next token; it must be one of `wanted` where given."""
        if self.place >= len(self.tokens):
            raise QueryError("unexpected end of the query")
        kind, token = self.tokens[self.place]
        if wanted and (kind == "text" or token.upper() not in wanted):
            raise QueryError(f"unexpected token: {token!r}, expected {' or '.join(wanted)}")
        self.place += 1
        return token

    def skip(self, *wanted: str) -> bool:
        """Take the next token if it is one of these."""
        if self.peek() in wanted and self.tokens[self.place][0] != "text":
            self.place += 1
            return True
        return False

    # grammar -------------------------------------------------------------------------------------

    def read(self, *, deleted: bool) -> Query:
        """The whole question."""
        self.take("SELECT")
        names = [self.take()]
        count = names[0].lower() == "count" and self.skip("(")
        if count:
            self.take(")")
        while self.skip(","):
            names.append(self.take())
        self.take("FROM")
        object = self.take()
        spec = self.store.schema.get(object)
        if spec is None:
            raise QueryError(f"sObject type '{object}' is not supported.", "INVALID_TYPE")
        fields = [] if count else [self.column(spec, n) for n in names]
        where = f"({self.either(spec)})" if self.skip("WHERE") else "1"
        bin = self.store.names.deleted
        if bin and not deleted:
            where += f' AND t."{bin}" = 0'
        order, limit, page = self.tail(spec)
        listed = "count(*)" if count else ", ".join(sql for sql, _ in fields)
        joins = " ".join(self.joins.values())
        sql = f'SELECT {listed} FROM "{object}" t {joins} WHERE {where}{order}{limit}'
        kinds = tuple(f.kind for _, f in fields)
        return Query(object, tuple(names), kinds, sql, tuple(self.values), count, page)

    def tail(self, spec: ObjectSpec) -> tuple[str, str, int]:
        """ORDER BY, LIMIT and their kin."""
        order, limit, page = f' ORDER BY t."{self.store.names.id}"', "", 0
        if self.skip("ORDER"):
            self.take("BY")
            parts = []
            while True:
                sql, _ = self.column(spec, self.take())
                parts.append(f"{sql} DESC" if self.skip("DESC") else sql)
                self.skip("ASC")
                if not self.skip(","):
                    break
            order = f" ORDER BY {', '.join(parts)}"
        while self.place < len(self.tokens):
            word = self.take("LIMIT", "OFFSET", "MAXROWS", "PAGESIZE", "PAGEOFFSET").upper()
            number = int(self.take())
            if word in ("LIMIT", "MAXROWS"):
                limit = f" LIMIT {number}" + limit
            elif word == "PAGESIZE":
                page = number or -1
            else:
                limit += f" OFFSET {number}" if "LIMIT" in limit else f" LIMIT -1 OFFSET {number}"
        return order, limit, page

    def column(self, spec: ObjectSpec, name: str) -> tuple[str, FieldSpec]:
        """SQL of a column, perhaps of a row that this one points to."""
        if "." not in name:
            found = spec.fields.get(name)
            if found is None:
                raise QueryError(f"No such column '{name}' on entity '{spec.name}'.", "INVALID_FIELD")
            return f't."{name}"', found
        try:
            reference, there = reference_of(spec, name)
            other = self.store.schema[reference.to]
            found = other.fields[there]
        except (RowError, KeyError):
            raise QueryError(f"Didn't understand relationship '{name}'.", "INVALID_FIELD") from None
        alias = f'"{reference.name}!"'
        key = self.store.names.id
        self.joins[alias] = f'LEFT JOIN "{other.name}" {alias} ON {alias}."{key}" = t."{reference.name}"'
        return f'{alias}."{there}"', found

    def either(self, spec: ObjectSpec) -> str:
        """Conditions joined by OR and AND, as they stand."""
        found = self.condition(spec)
        while self.peek() in ("AND", "OR"):
            found += f" {self.take().upper()} {self.condition(spec)}"
        return found

    def condition(self, spec: ObjectSpec) -> str:
        """One comparison, or some in parentheses."""
        if self.skip("NOT"):
            return f"NOT {self.condition(spec)}"
        if self.skip("("):
            inner = self.either(spec)
            self.take(")")
            return f"({inner})"
        sql, kind = self.column(spec, self.take())
        negated = self.skip("NOT")
        sign = self.take(*COMPARE, "IN", "LIKE", "CONTAINS").upper()
        if sign in ("IN", "CONTAINS"):
            self.take("(")
            marks = [self.value(kind)]
            while self.skip(","):
                marks.append(self.value(kind))
            self.take(")")
            self.values += marks
            return f"{sql} {'NOT ' if negated else ''}IN ({', '.join('?' * len(marks))})"
        value = self.value(kind)
        if value is None:
            return f"{sql} IS {'NOT ' if sign in ('!=', '<>') else ''}NULL"
        self.values.append(value)
        if sign == "!=":
            return f"({sql} IS NULL OR {sql} != ?)"
        return f"{sql} {sign} ?"

    def value(self, field: FieldSpec) -> Any:
        """A literal as the store keeps it."""
        kind = self.tokens[self.place][0] if self.place < len(self.tokens) else ""
        token = self.take()
        if kind == "text":
            inner = re.sub(r"\\(.)", lambda m: ESCAPED.get(m[1], m[1]), token[1:-1])
            return long_id(inner) if field.kind in ("id", "reference") else inner
        if kind == "time":
            return stamp(datetime.fromisoformat(token))
        if kind == "number":
            return float(token)
        word = token.upper()
        if kind == "name" and word in ("TRUE", "FALSE", "NULL"):
            return {"TRUE": 1, "FALSE": 0, "NULL": None}[word]
        if kind == "name" and word == "TODAY":
            return self.store.clock().date().isoformat()
        if kind == "date":
            return token
        raise QueryError(f"unexpected token: {token!r}")


def read_query(store: Store, text: str, *, deleted: bool = False) -> Query:
    """The question as SQL. Raises QueryError. `deleted`: rows of the bin come too (queryAll)."""
    return Reader(store, text).read(deleted=deleted)
