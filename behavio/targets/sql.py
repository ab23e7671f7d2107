"""Deliver into tables of a SQL database: PostgreSQL and SQLite, by INSERT … ON CONFLICT.

The tables must be there, with the key as primary key or unique. Rows go in transactions of a thousand; where
one is refused, its thousand go one by one, so that every row has its own answer.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import date, datetime
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl

from behavio.errors import DeliveryError, JobError
from behavio.targets.crm import Field, Note, Tally, Where, Write, outcome

if TYPE_CHECKING:
    from sqlalchemy import Engine, Table

BATCH = 1_000
PAGE = 50_000
PASSING = "SERVER_UNAVAILABLE"


class SqlCrm:
    """One database. `address` shows neither user nor password."""

    system, id = "sql", ""

    def __init__(self, url: str, password: str = "") -> None:
        self._engine = _engine(url, password)
        parts = self._engine.url
        self.address = f"{parts.get_backend_name()}://{parts.host or ''}/{parts.database or ''}"
        self.tally = Tally()
        self._tables: dict[str, Table | None] = {}

    @classmethod
    def from_environment(cls, env: Mapping[str, str] | None = None) -> SqlCrm:
        """The database that SQL_URL names, its password in SQL_PASSWORD or SQL_PASSWORD_FILE."""
        env = os.environ if env is None else env
        url, password, file = (env.get(f"SQL_{n}", "") for n in ("URL", "PASSWORD", "PASSWORD_FILE"))
        if not url:
            raise JobError("the environment lacks SQL_URL", hint="SQL_URL=postgresql://user@host/name")
        if not password and file:
            try:
                password = Path(file).read_text(encoding="utf-8").strip()
            except OSError as problem:
                raise JobError(
                    f"the password file {file} cannot be read: {problem.strerror}",
                    hint="SQL_PASSWORD_FILE names a text file",
                ) from None
        return cls(url, password)

    def close(self) -> None:
        """End the session."""
        self._engine.dispose()

    def usage(self) -> dict[str, Any]:
        """Statements of this session."""
        return {"requests": self.tally.sent}

    # describing ----------------------------------------------------------------------------------

    def _table(self, object: str) -> Table | None:
        import sqlalchemy as sa

        if object not in self._tables:
            schema, _, name = object.rpartition(".")
            with self._told():
                there = sa.inspect(self._engine).has_table(name, schema or None)
                found = (
                    sa.Table(name, sa.MetaData(), schema=schema or None, autoload_with=self._engine)
                    if there
                    else None
                )
            self._tables[object] = found
        return self._tables[object]

    def fields(self, object: str) -> dict[str, Field]:
        """Columns of a table; empty when there is none."""
        import sqlalchemy as sa

        table = self._table(object)
        if table is None:
            return {}
        with self._told():
            unique = sa.inspect(self._engine).get_unique_constraints(table.name, table.schema)
        keys = {tuple(c.name for c in table.primary_key.columns)}
        keys |= {tuple(u["column_names"]) for u in unique if None not in u["column_names"]}
        return {c.name: _field(c, (c.name,) in keys) for c in table.columns}

    def refers(self, fields: dict[str, Field], column: str) -> tuple[Field, str] | None:
        """Rows are found by their own columns only."""
        return None

    # reading -------------------------------------------------------------------------------------

    def read(
        self,
        object: str,
        columns: Sequence[str],
        key: str = "",
        values: Collection[str] = (),
        where: Where = (),
    ) -> Iterator[pl.DataFrame]:
        """Rows as text, in pages."""
        import sqlalchemy as sa

        table = self._needed(object)
        asked = sa.select(*(table.c[c] for c in columns))
        if where:
            column = table.c[where[0]]
            kind = _kind(column)
            asked = asked.where(column >= _bound(kind, where[1]) if len(where) > 1 else column.is_not(None))
        wanted = sorted(values) if key else []
        for start in range(0, len(wanted), BATCH) if key else (0,):
            one = asked
            if key:
                some = [_bound(_kind(table.c[key]), v) for v in wanted[start : start + BATCH]]
                one = asked.where(table.c[key].in_(some))
            with self._told(), self._engine.connect() as connection:
                self.tally.sent += 1
                for rows in connection.execution_options(yield_per=PAGE).execute(one).partitions():
                    cells = [[_text(v) for v in row] for row in rows]
                    yield pl.DataFrame(cells, schema=dict.fromkeys(columns, pl.String), orient="row")

    # writing -------------------------------------------------------------------------------------

    def write(self, what: Write, rows: pl.DataFrame, note: Note) -> Iterator[pl.DataFrame]:
        """Rows in transactions of a thousand; those of a refused one by one."""
        import sqlalchemy as sa

        table = self._needed(what.object)
        statement = _upsert(table, what, rows.columns, self._engine.dialect.name)
        kinds = {c: _kind(table.c[c]) for c in rows.columns}
        for start in range(0, rows.height, BATCH):
            some = [
                {f"v_{c}": _bound(kinds[c], v) for c, v in row.items()}
                for row in rows.slice(start, BATCH).iter_rows(named=True)
            ]
            try:
                with self._engine.begin() as connection:
                    self.tally.sent += 1
                    connection.execute(statement, some)
                answers = [(r[f"v_{what.key}"], None, False, None, None) for r in some]
            except sa.exc.SQLAlchemyError:
                answers = [self._one(statement, row, what.key) for row in some]
            yield outcome([(str(a[0]), *a[1:]) for a in answers])

    def _one(self, statement: Any, row: dict[str, Any], key: str) -> tuple[Any, ...]:
        import sqlalchemy as sa

        try:
            with self._engine.begin() as connection:
                self.tally.sent += 1
                found = connection.execute(statement, row).rowcount
        except sa.exc.OperationalError as problem:
            return row[f"v_{key}"], None, False, PASSING, _words(problem)
        except sa.exc.SQLAlchemyError as problem:
            return row[f"v_{key}"], None, False, type(problem).__name__, _words(problem)
        code = None if found else "NOT_FOUND"
        return row[f"v_{key}"], None, False, code, None if found else "there is no such row"

    def delete(self, object: str, ids: Sequence[str]) -> dict[str, str]:
        """Delete rows by the primary key."""
        import sqlalchemy as sa

        table = self._needed(object)
        (key,) = table.primary_key.columns
        with self._told(), self._engine.begin() as connection:
            for start in range(0, len(ids), BATCH):
                some = [_bound(_kind(key), v) for v in ids[start : start + BATCH]]
                connection.execute(sa.delete(table).where(key.in_(some)))
        return {}

    def settle(self, journal: Sequence[dict[str, Any]]) -> None:
        """Nothing runs behind our back: a transaction that was not committed is gone."""

    def _needed(self, object: str) -> Table:
        table = self._table(object)
        if table is None:
            raise DeliveryError(f"there is no table {object}", hint="create it: docs/guides/crm.md")
        return table

    @contextmanager
    def _told(self) -> Iterator[None]:
        import sqlalchemy as sa

        try:
            yield
        except sa.exc.SQLAlchemyError as problem:
            raise DeliveryError(
                f"{self.address}: {_words(problem)}", hint="the words are the database's"
            ) from None


def _engine(url: str, password: str) -> Engine:
    try:
        import sqlalchemy as sa
        from sqlalchemy.pool import NullPool
    except ModuleNotFoundError:
        raise JobError("SQLAlchemy is not installed", hint="pip install 'behavio[sql]'") from None
    try:
        made = sa.make_url(url)
        if made.get_backend_name() in ("postgres", "postgresql") and "+" not in made.drivername:
            made = made.set(drivername="postgresql+psycopg")
        if password:
            made = made.set(password=password)
        if made.get_backend_name() not in ("postgresql", "sqlite"):
            raise JobError(f"{made.get_backend_name()} is no target", hint="postgresql or sqlite")
        return sa.create_engine(made, poolclass=NullPool, hide_parameters=True)
    except (sa.exc.ArgumentError, sa.exc.NoSuchModuleError):
        raise JobError("SQL_URL is no database URL", hint="postgresql://user@host/name") from None


def _upsert(table: Table, what: Write, columns: Sequence[str], dialect: str) -> Any:
    """The statement: a null leaves what is there, except where it clears."""
    import sqlalchemy as sa
    from sqlalchemy.dialects import postgresql, sqlite

    marks = {c: sa.bindparam(f"v_{c}", type_=table.c[c].type) for c in columns}
    rest = [c for c in columns if c != what.key]
    if what.only == "update" or not what.new:
        values = {c: marks[c] if c in what.clear else sa.func.coalesce(marks[c], table.c[c]) for c in rest}
        return sa.update(table).where(table.c[what.key] == marks[what.key]).values(values)
    insert: Any = (postgresql if dialect == "postgresql" else sqlite).insert(table).values(marks)
    new = insert.excluded
    values = {c: new[c] if c in what.clear else sa.func.coalesce(new[c], table.c[c]) for c in rest}
    return insert.on_conflict_do_update(index_elements=[table.c[what.key]], set_=values)


def _field(column: Any, key: bool) -> Field:
    length = getattr(column.type, "length", None) or 0
    required = not column.nullable and column.server_default is None and column.autoincrement is not True
    return Field(column.name, _kind(column), int(length), required=required, key=key)


def _kind(column: Any) -> str:
    import sqlalchemy as sa

    kinds = (
        (sa.Boolean, "boolean"),
        (sa.DateTime, "datetime"),
        (sa.Date, "date"),
        (sa.Numeric, "number"),
        (sa.Integer, "number"),
    )
    return next((name for kind, name in kinds if isinstance(column.type, kind)), "text")


def _bound(kind: str, value: str | None) -> Any:
    """A cell as the driver takes it."""
    if value is None:
        return None
    if kind == "number":
        return Decimal(value)
    if kind == "boolean":
        return value.lower() in ("true", "1")
    if kind == "date":
        return date.fromisoformat(value[:10])
    if kind == "datetime":
        return datetime.fromisoformat(value)
    return value


def _text(value: Any) -> str | None:
    if value is None or value == "":
        return None
    if isinstance(value, bool):
        return "true" if value else "false"
    return value.isoformat() if isinstance(value, date) else str(value)


def _words(problem: Exception) -> str:
    return str(getattr(problem, "orig", None) or problem).split("\n")[0][:300]
