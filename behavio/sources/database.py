"""SQL databases by URL, through SQLAlchemy: a table or a query becomes a snapshot file, read as any file.

The rows are fetched once per run, in batches by a server-side cursor inside a read-only transaction, into
a Parquet file of the temporary folder that is removed after reading. Its SHA-256 is the fingerprint of the
source, so a run notices every change of the data: a database is always read, and where it gives the same
rows in the same order, all stages are reused. A table is ordered by its primary key; for a query, write
ORDER BY: without an order row numbers are those of one reading.

Passwords never stand in a job: they come from the environment variable `password_env`, or ~/.pgpass.
"""

from __future__ import annotations

import os
import re
import tempfile
from collections.abc import Collection
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl, urlsplit

from behavio.errors import JobError

if TYPE_CHECKING:
    from behavio.sources.inputs import Input

SECRET = re.compile(r"pass|pwd|token|secret", re.IGNORECASE)
EXAMPLE = 'url = "postgresql://user@host/name"'


@dataclass(frozen=True, slots=True)
class Address:
    """Where rows come from; `order` is the column that orders a table without a primary key."""

    url: str
    query: str | None = None
    table: str | None = None
    password_env: str | None = None
    order: str | None = None

    @property
    def shown(self) -> str:
        """The source as messages and tables name it: no user, no options, no secrets."""
        parts = urlsplit(self.url)
        host = parts.netloc.rpartition("@")[2]
        return f"{parts.scheme.partition('+')[0]}://{host}{parts.path} {self.table or 'query'}"


def check_address(url: str | None, query: str | None, table: str | None, path: str) -> None:
    """Raise JobError unless these settings name one table or query of one database, without a password."""
    if url is None:
        raise JobError('kind "sql" needs the key url', hint=f"{EXAMPLE}, sqlite:///calls.db, …")
    if path:
        raise JobError("path and url are both given", hint="a source is a file or a database: leave out one")
    if (query is None) == (table is None):
        what = "both are given" if query is not None else "neither is given"
        raise JobError(
            f"a database needs query or table: {what}",
            hint='table = "crm.calls", or query = "SELECT …" (--query)',
        )
    try:
        parts, user = urlsplit(url), url.partition("://")[2].rpartition("@")[0]
        given = ":" in user or any(SECRET.search(k) for k, _ in parse_qsl(parts.query))
    except ValueError:
        raise JobError("url is no database URL", hint=EXAMPLE) from None
    if given:
        raise JobError(
            "url holds a password or another secret",
            hint='take it out; password_env = "CRM_PASSWORD" names its variable, or use ~/.pgpass',
        )
    if not parts.scheme or "://" not in url:
        raise JobError("url is no database URL", hint=EXAMPLE)


_HELD: dict[tuple[Address, Path, frozenset[str] | None], Input] = {}


def snapshot(
    address: Address, base: Path, columns: Collection[str] | None = None, *, hold: bool = False
) -> Input:
    """The rows as a Parquet file, fetched now, unless a snapshot is held that was not read yet.

    `hold` keeps it for the next call: a run takes fingerprints first and reads the same rows later.
    `columns` are the only ones fetched of a table. Raises LogError when the
    database, the table or a column cannot be read, or the connection breaks.
    """
    wanted = None if columns is None or "*" in columns else frozenset(columns)
    key = (address, base.resolve(), wanted)
    found = None if hold else _HELD.pop(key, None)
    if found is None:
        from behavio.sources.inputs import Input
        from behavio.sources.query import fetch

        frame, notes = fetch(address, base, wanted)
        handle, name = tempfile.mkstemp(".parquet", dir=_folder().name)
        os.close(handle)
        path = Path(name)
        frame.write_parquet(path)
        found = Input(path, address.shown, notes)
    if hold:
        if key in _HELD:
            _HELD[key].path.unlink(missing_ok=True)
        _HELD[key] = found
    return found


@cache
def _folder() -> tempfile.TemporaryDirectory[str]:
    """One private folder per process, removed when it ends."""
    return tempfile.TemporaryDirectory(prefix="behavio-")
