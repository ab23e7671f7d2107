"""What a delivery asks of a system, whichever it is: describe, read, write."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import polars as pl

OUTCOME = {"key": pl.String, "id": pl.String, "created": pl.Boolean, "code": pl.String, "message": pl.String}
"""One row per row sent: `code` is null where it was written."""

PASSING = (
    "UNABLE_TO_LOCK_ROW",
    "SERVER_UNAVAILABLE",
    "REQUEST_LIMIT_EXCEEDED",
    "UNPROCESSED",
    "RECORD_LOCKED",
    "OPERATION_NOT_ALLOWED",
    "API_LIMIT_EXCEEDED",
    "DUPLICATE_RACE",
)
"""Codes of rows that may go through when sent again."""

KINDS = ("text", "number", "boolean", "date", "datetime", "picklist", "reference", "id")


@dataclass(frozen=True, slots=True)
class Field:
    """A column as the system describes it to this user.

    length 0: no limit; values: of a closed picklist; refers: object a reference points to
    """

    name: str
    kind: str
    length: int = 0
    values: tuple[str, ...] = ()
    create: bool = True
    update: bool = True
    required: bool = False
    key: bool = False
    refers: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Write:
    """Rows of one object to write: how, and what empty cells mean.

    key     column by which rows are found
    only    "update" where no row may be made
    new     whether these rows were not there when the plan was made
    clear   columns whose null clears; in all others null leaves what is there
    """

    object: str
    key: str
    fields: dict[str, Field]
    only: str = ""
    new: bool = True
    clear: frozenset[str] = frozenset()


Note = Callable[[dict[str, Any]], None]
"""Writes one fact to the journal, on disk before it returns."""


Where = tuple[str, ...]
"""(column,): it is filled; (column, day): it is that day or later; (): every row."""


class Crm(Protocol):
    """One system with a session; `id` is the name of its own key."""

    system: str
    address: str
    id: str

    def fields(self, object: str) -> dict[str, Field]:
        """Columns of an object by name, empty when the user sees no such object."""

    def refers(self, fields: dict[str, Field], column: str) -> tuple[Field, str] | None:
        """The reference and the column behind a dotted name, None when it is none."""

    def read(
        self,
        object: str,
        columns: Sequence[str],
        key: str = "",
        values: Collection[str] = (),
        where: Where = (),
    ) -> Iterator[pl.DataFrame]:
        """Rows as text: those whose `key` has one of the values, or those that fit `where`, or all."""

    def write(self, what: Write, rows: pl.DataFrame, note: Note) -> Iterator[pl.DataFrame]:
        """Write rows, OUTCOME of each as it becomes known. Raises DeliveryError when the system is gone."""

    def delete(self, object: str, ids: Sequence[str]) -> dict[str, str]:
        """Delete rows by id; code of those that could not be."""

    def settle(self, journal: Sequence[dict[str, Any]]) -> None:
        """Bring work of a killed delivery to an end: nothing may change behind our back."""

    def usage(self) -> dict[str, Any]:
        """Calls used and allowed, as far as the system tells."""

    def close(self) -> None:
        """End the session."""


@dataclass
class Tally:
    """Requests and repeats of one session."""

    sent: int = 0
    repeated: int = 0
    jobs: list[str] = field(default_factory=list)


def outcome(rows: Sequence[tuple[Any, ...]]) -> pl.DataFrame:
    """A frame of outcomes."""
    return pl.DataFrame(list(rows), schema=OUTCOME, orient="row")
