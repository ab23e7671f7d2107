"""Rows of a database as a frame: connect, choose, fetch in batches, say what went wrong."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import polars as pl

from behavio.errors import JobError, LogError
from behavio.sources.alike import alike
from behavio.sources.database import Address
from behavio.sources.settings import nearest
from behavio.sources.text import needed

if TYPE_CHECKING:
    from sqlalchemy import URL, Connection, Engine, Inspector

BATCH = 50_000
AS_TEXT = (
    "date",
    "timestamp",
    "timestamptz",
    "time",
    "timetz",
    "interval",
    "numeric",
    "json",
    "jsonb",
    "uuid",
)
"""PostgreSQL types taken as the text the server writes: nothing is rounded, no date is too early or late."""
NUMERIC, TIMED = 1700, {1082: "%Y-%m-%d", 1114: "%Y-%m-%d %H:%M:%S%.f", 1184: "%Y-%m-%d %H:%M:%S%.f%#z"}
MISSING_TABLE = re.compile(r'(?:relation "([^"]+)" does not exist|no such table: (\S+))')
MISSING_COLUMN = re.compile(r'(?:column "?([\w. ]+?)"? does not exist|no such column: (\S+))')
WORD = re.compile(r"\w+")


def fetch(
    address: Address, base: Path, columns: frozenset[str] | None
) -> tuple[pl.DataFrame, tuple[str, ...]]:
    """All rows of an address, and notes. Raises LogError, or JobError for a URL that cannot be."""
    engine, secret = _engine(address, base)
    parts: list[pl.DataFrame] = []
    try:
        with _in_words(address, engine, parts, secret), engine.connect() as connection:
            _prepare(connection)
            statement, notes = _statement(address, engine, connection, columns)
            for names, codes, rows in _batches(connection, statement):
                parts.append(_frame(names, codes, rows))
    finally:
        engine.dispose()
    frame = pl.concat(alike(parts), how="diagonal_relaxed")
    return frame, notes


def _engine(address: Address, base: Path) -> tuple[Engine, str]:
    """The engine, and the password, which no message may show."""
    try:
        import sqlalchemy as sa
        from sqlalchemy.pool import NullPool
    except ModuleNotFoundError:
        raise LogError("SQLAlchemy is not installed", hint="pip install 'behavio[sql]'") from None
    secret = ""
    try:
        url = sa.make_url(address.url)
        if url.get_backend_name() in ("postgres", "postgresql") and "+" not in url.drivername:
            url = url.set(drivername="postgresql+psycopg")
        if address.password_env is not None:
            secret = os.environ.get(address.password_env, "")
            if not secret:
                raise JobError(
                    f"the environment variable {address.password_env} is not set",
                    hint=f"export {address.password_env}=… before the run, or leave password_env out",
                )
            url = url.set(password=secret)
        if url.get_backend_name() == "sqlite":
            url = _sqlite(url, address, base)
        more = {"connect_timeout": 10} if url.get_backend_name() == "postgresql" else {}
        return sa.create_engine(url, poolclass=NullPool, hide_parameters=True, connect_args=more), secret
    except ModuleNotFoundError as problem:
        hint = "pip install 'behavio[sql]'" if problem.name == "psycopg" else f"pip install {problem.name}"
        raise LogError(f"{address.shown}: the driver {problem.name} is not installed", hint=hint) from None
    except (sa.exc.NoSuchModuleError, sa.exc.ArgumentError):
        raise JobError(
            f"{address.shown}: no such kind of database, or no database URL",
            hint='such as "postgresql://user@host/name" or "sqlite:///calls.db"',
        ) from None


def _sqlite(url: URL, address: Address, base: Path) -> URL:
    """An SQLite file opened read-only; paths are relative to the job file."""
    path = base / (url.database or "")
    if not path.is_file():
        near = nearest(path.name, [p.name for p in path.parent.glob("*")]) if path.parent.is_dir() else ""
        hint = f"did you mean {near!r}?" if near else "paths are relative to the job file"
        raise LogError(f"{address.shown}: there is no database file {path.name}", hint=hint)
    return url.set(database=f"file:{quote(str(path.resolve()))}", query={"mode": "ro", "uri": "true"})


def _prepare(connection: Connection) -> None:
    """PostgreSQL: a transaction that cannot write, times as UTC text."""
    if connection.dialect.name != "postgresql" or connection.dialect.driver != "psycopg":
        return
    from psycopg.types.string import TextLoader

    connection.execution_options(postgresql_readonly=True)
    driver: Any = connection.connection.driver_connection
    driver.execute("SET timezone = 'UTC'; SET datestyle = 'ISO, YMD'")
    for kind in AS_TEXT:
        driver.adapters.register_loader(kind, TextLoader)


def _statement(
    address: Address, engine: Engine, connection: Connection, columns: frozenset[str] | None
) -> tuple[str, tuple[str, ...]]:
    """The SELECT, and a note where nothing orders the rows."""
    if address.query is not None:
        ordered = re.search(r"\border\s+by\b", address.query, re.IGNORECASE)
        note = "the query has no ORDER BY: row numbers are those of this reading"
        return address.query.strip().rstrip(";"), () if ordered else (note,)
    import sqlalchemy as sa

    inspector = sa.inspect(connection)
    schema, _, name = (address.table or "").rpartition(".")
    names = [str(c["name"]) for c in inspector.get_columns(name, schema or None)]
    quoted = engine.dialect.identifier_preparer.quote_identifier
    wanted = [quoted(n) for n in needed(names, columns)]
    whole = ".".join(quoted(p) for p in (schema, name) if p)
    key = inspector.get_pk_constraint(name, schema or None).get("constrained_columns") or []
    order = key or [n for n in names if n == address.order]
    by = f" ORDER BY {', '.join(quoted(c) for c in order)}" if order else ""
    note = f"the table {name} has no primary key: row numbers are those of this reading"
    return f"SELECT {', '.join(wanted)} FROM {whole}{by}", () if order else (note,)


def _batches(
    connection: Connection, statement: str
) -> Iterator[tuple[list[str], list[Any], Sequence[Sequence[Any]]]]:
    """Names, type codes and rows of each batch; at least one, which may be empty."""
    options: dict[str, Any] = {"stream_results": True, "max_row_buffer": BATCH, "no_parameters": True}
    connection = connection.execution_options(**options)
    result = connection.exec_driver_sql(statement)
    cursor: Any = result.cursor
    names = list(result.keys())
    codes = [d[1] for d in cursor.description]
    try:
        rows = result.fetchmany(BATCH)
        yield names, codes, rows
        while rows := result.fetchmany(BATCH):
            yield names, codes, rows
    finally:  # of a broken connection SQLAlchemy leaves the cursor open
        with suppress(Exception):
            cursor.close()


def _frame(names: list[str], codes: list[Any], rows: Sequence[Sequence[Any]]) -> pl.DataFrame:
    columns: Sequence[Sequence[Any]] = list(zip(*rows, strict=True)) if rows else [()] * len(names)
    unique = [n if n not in names[:i] else f"{n} ({names[:i].count(n) + 1})" for i, n in enumerate(names)]
    found = [column_of(n, c) for n, c in zip(unique, columns, strict=True)]
    return pl.DataFrame([_by_code(s, c) for s, c in zip(found, codes, strict=True)])


def column_of(name: str, cells: Sequence[Any]) -> pl.Series:
    """Cells of one column as one kind; of several kinds as text, exactly."""
    kinds = {type(v) for v in cells if v is not None}
    if kinds == {Decimal}:
        return decimals(pl.Series(name, [None if v is None else str(v) for v in cells], dtype=pl.String))
    if kinds == {int} and all(v is None or -(2**63) <= v < 2**63 for v in cells):
        return pl.Series(name, cells, dtype=pl.Int64)
    for kind, dtype in ((float, pl.Float64), (bool, pl.Boolean), (str, pl.String), (date, pl.Date)):
        if kinds == {kind}:
            return pl.Series(name, cells, dtype=dtype)
    if kinds == {datetime} and len({v.tzinfo is None for v in cells if v is not None}) == 1:
        return pl.Series(name, cells).cast(
            pl.Datetime("us", getattr(pl.Series(cells).dtype, "time_zone", None))
        )
    if kinds and kinds <= {bytes, memoryview, bytearray}:
        return pl.Series(name, [None if v is None else bytes(v) for v in cells], dtype=pl.Binary)
    return pl.Series(name, [_written(v) for v in cells], dtype=pl.String if kinds else pl.Null)


def _written(value: Any) -> str | None:
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, datetime | date | time):
        return value.isoformat()
    if isinstance(value, timedelta):
        return str(value.total_seconds())
    if isinstance(value, bytes | memoryview | bytearray):
        return bytes(value).hex()
    return (
        json.dumps(value, ensure_ascii=False, default=str) if isinstance(value, list | dict) else str(value)
    )


def _by_code(column: pl.Series, code: Any) -> pl.Series:
    """Texts of a PostgreSQL number or time as such, where every one can be it."""
    if column.dtype != pl.String:
        return column
    if code == NUMERIC:
        return decimals(column)
    if code in TIMED:
        read = column.str.to_datetime(TIMED[code], strict=False, time_unit="us")
        return read if read.null_count() == column.null_count() else column
    return column


def decimals(column: pl.Series) -> pl.Series:
    """Exact numbers written as text: whole ones as integers, others as floats while 15 digits hold them."""
    values = column.drop_nulls()
    if values.str.contains(r"^-?\d{1,18}$").all():
        return column.cast(pl.Int64)
    plain = values.str.contains(r"^-?\d+(\.\d+)?$").all()
    short = (values.str.replace_all(r"[-.]", "").str.strip_chars_start("0").str.len_chars() <= 15).all()
    return column.cast(pl.Float64) if plain and short else column


# what went wrong, in words ---------------------------------------------------------------------------


@contextmanager
def _in_words(address: Address, engine: Engine, parts: list[pl.DataFrame], secret: str) -> Iterator[None]:
    """Errors of the database as LogErrors a user can act on, without secrets."""
    import sqlalchemy as sa

    try:
        yield
    except sa.exc.NoSuchTableError:
        raise _no_table(address, engine, address.table or "") from None
    except sa.exc.DBAPIError as problem:
        said = _first_line(problem.orig or problem, secret)
        state = getattr(problem.orig, "sqlstate", None) or ""
        raise _told(address, engine, said, state, sum(p.height for p in parts)) from None
    except (sa.exc.SQLAlchemyError, OverflowError, ValueError) as problem:
        said = _first_line(problem, secret)
        raise LogError(f"{address.shown} cannot be read: {said}", hint="mend the query") from None
    except Exception as problem:  # a driver's own errors come as they are while rows are fetched
        if type(problem).__module__.partition(".")[0] not in ("psycopg", "sqlite3"):
            raise
        said, state = _first_line(problem, secret), getattr(problem, "sqlstate", None) or ""
        raise _told(address, engine, said, state, sum(p.height for p in parts)) from None


def _told(address: Address, engine: Engine, said: str, state: str, n_rows: int) -> LogError:
    shown = address.shown
    if state.startswith("28") or "password" in said:
        hint = "check user and password_env (or ~/.pgpass)"
        return LogError(f"{shown}: the database refuses the user: {said}", hint=hint)
    if state == "42501" or "permission denied" in said:
        return LogError(f"{shown}: {said}", hint="ask for SELECT on it for this user")
    if found := MISSING_TABLE.search(said):
        return _no_table(address, engine, found[1] or found[2])
    if found := MISSING_COLUMN.search(said):
        return _no_column(address, engine, found[1] or found[2])
    if state == "3D000":
        return LogError(f"{shown}: {said}", hint="check the name behind the last / of the url")
    if n_rows or state.startswith(("08", "57P")) or "connection" in said.lower():
        what = f"the connection broke after {n_rows:,} rows" if n_rows else "no connection"
        return LogError(f"{shown}: {what}: {said}", hint="check host, port and network, then run again")
    if "locked" in said:
        return LogError(f"{shown}: {said}", hint="another program writes it: wait, then run again")
    return LogError(f"{shown} cannot be read: {said}", hint="mend the query, or try it in an SQL client")


def _no_table(address: Address, engine: Engine, name: str) -> LogError:
    known = _tables(engine, address)
    near = nearest(name.rpartition(".")[2], known)
    hint = f"did you mean {near!r}? " if near else ""
    listed = ", ".join(known[:30]) or "none that this user may see"
    return LogError(f"{address.shown}: there is no table {name}", hint=f"{hint}it has: {listed}")


def _no_column(address: Address, engine: Engine, name: str) -> LogError:
    import sqlalchemy as sa

    words = {w.lower() for w in WORD.findall(address.query or address.table or "")}
    known: list[str] = []
    for table in _tables(engine, address):
        if table.rpartition(".")[2].lower() in words:
            schema, _, short = table.rpartition(".")
            known += [str(c["name"]) for c in sa.inspect(engine).get_columns(short, schema or None)]
    near = nearest(name.rpartition(".")[2], known)
    hint = f"did you mean {near!r}? " if near else ""
    return LogError(
        f"{address.shown}: there is no column {name}", hint=f"{hint}known: {', '.join(known[:30])}"
    )


def _tables(engine: Engine, address: Address) -> list[str]:
    """Tables and views of the schema in question; none where they cannot be asked for."""
    import sqlalchemy as sa

    schema = (address.table or "").rpartition(".")[0] or None
    try:
        asked: Inspector = sa.inspect(engine)
        found = [*asked.get_table_names(schema), *asked.get_view_names(schema)]
    except sa.exc.SQLAlchemyError:
        return []
    return [f"{schema}.{n}" if schema else n for n in sorted(found)]


def _first_line(problem: BaseException, secret: str) -> str:
    said = next((line.strip() for line in str(problem).splitlines() if line.strip()), type(problem).__name__)
    return said.replace(secret, "***") if secret else said
