"""How the emulated CRM reads a value that it is sent, by the kind of the field."""

from __future__ import annotations

import re
from datetime import UTC, date, datetime
from typing import Any

from behavio.targets.emulator.schema import FieldSpec

ID = re.compile(r"[A-Za-z0-9]{15}(?:[A-Za-z0-9]{3})?")
LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ012345"
DIGITS = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"


class RowError(Exception):
    """One row cannot be written; `code` as the CRM names it."""

    def __init__(self, code: str, message: str, fields: tuple[str, ...] = ()) -> None:
        super().__init__(message)
        self.code, self.message, self.fields = code, message, fields


def canonical(field: FieldSpec, value: Any) -> Any:
    """The value as the store keeps it: text, float, 0 or 1, or None. Raises RowError."""
    if value is None or value == "":
        if field.required:
            raise RowError(
                "REQUIRED_FIELD_MISSING", f"Required fields are missing: [{field.name}]", (field.name,)
            )
        return 0 if field.kind == "boolean" else None
    try:
        return READERS.get(field.kind, _text)(field, value)
    except (ValueError, TypeError):
        raise RowError(
            "INVALID_TYPE_ON_FIELD_IN_RECORD",
            f"{field.name}: value not of required type: {value}",
            (field.name,),
        ) from None


def _text(field: FieldSpec, value: Any) -> str:
    text = str(value).strip()
    if field.length and len(text) > field.length:
        raise RowError(
            "STRING_TOO_LONG",
            f"{field.name}: data value too large: {text[:40]} (max length={field.length})",
            (field.name,),
        )
    return text


def _number(field: FieldSpec, value: Any) -> float:
    if isinstance(value, bool):
        raise ValueError
    return float(value)


def _boolean(field: FieldSpec, value: Any) -> int:
    found = {"true": 1, "1": 1, "false": 0, "0": 0}.get(str(value).lower())
    if found is None:
        raise ValueError
    return found


def _date(field: FieldSpec, value: Any) -> str:
    return date.fromisoformat(str(value)[:10]).isoformat()


def _datetime(field: FieldSpec, value: Any) -> str:
    return stamp(datetime.fromisoformat(str(value).replace("+0000", "+00:00")))


def _picklist(field: FieldSpec, value: Any) -> str:
    text = str(value)
    if text not in field.values:
        raise RowError(
            "INVALID_OR_NULL_FOR_RESTRICTED_PICKLIST",
            f"{field.name}: bad value for restricted picklist field: {text}",
            (field.name,),
        )
    return text


def _reference(field: FieldSpec, value: Any) -> str:
    if not ID.fullmatch(str(value)):
        raise RowError("MALFORMED_ID", f"{field.name}: id value of incorrect type: {value}", (field.name,))
    return long_id(str(value))


READERS = {
    "number": _number,
    "boolean": _boolean,
    "date": _date,
    "datetime": _datetime,
    "picklist": _picklist,
    "reference": _reference,
    "id": _reference,
}


def stamp(moment: datetime) -> str:
    """A time as the CRM writes it: UTC, milliseconds, Z."""
    aware = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return aware.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.") + f"{aware.microsecond // 1000:03d}Z"


def long_id(text: str) -> str:
    """An id of 15 characters with the 3 that make it safe where case is lost; longer ones as they are."""
    if len(text) != 15:
        return text
    tail = ""
    for start in (0, 5, 10):
        bits = sum(1 << i for i, c in enumerate(text[start : start + 5]) if "A" <= c <= "Z")
        tail += LETTERS[bits]
    return text + tail


def numbered_id(prefix: str, number: int) -> str:
    """The id of the nth row of an object."""
    digits = ""
    for _ in range(12):
        number, rest = divmod(number, 62)
        digits = DIGITS[rest] + digits
    return long_id(prefix + digits)
