"""Thrift's compact protocol, as far as the headers of Parquet files need it: structs as field id → value.

Source: Apache Thrift, "Thrift Compact protocol encoding"; parquet-format's parquet.thrift names the fields.
"""

from __future__ import annotations

import struct as packed
from typing import Any

TRUE, FALSE, BYTE, DOUBLE, BINARY, LIST, SET, MAP, STRUCT = 1, 2, 3, 7, 8, 9, 10, 11, 12
Fields = dict[int, Any]


class Damaged(Exception):
    """The bytes are no struct of this protocol."""


def read_struct(data: bytes | memoryview, at: int = 0) -> tuple[Fields, int]:
    """The struct that begins at `at`, and where it ends. Raises Damaged."""
    try:
        return _struct(data, at)
    except (IndexError, RecursionError, packed.error, KeyError) as problem:
        raise Damaged(str(problem)) from None


def _number(data: Any, at: int) -> tuple[int, int]:
    found, shift = 0, 0
    while True:
        byte = data[at]
        at += 1
        found |= (byte & 127) << shift
        if byte < 128:
            return found, at
        shift += 7


def _signed(data: Any, at: int) -> tuple[int, int]:
    found, at = _number(data, at)
    return (found >> 1) ^ -(found & 1), at


def _struct(data: Any, at: int) -> tuple[Fields, int]:
    fields: Fields = {}
    name = 0
    while True:
        head = data[at]
        at += 1
        if head == 0:
            return fields, at
        step, kind = head >> 4, head & 15
        if step:
            name += step
        else:
            name, at = _signed(data, at)
        if kind <= FALSE:
            fields[name] = kind == TRUE
        else:
            fields[name], at = _value(data, at, kind)


def _value(data: Any, at: int, kind: int) -> tuple[Any, int]:
    if BYTE < kind < DOUBLE:
        return _signed(data, at)
    if kind == BINARY:
        n, at = _number(data, at)
        if at + n > len(data):
            raise IndexError("a text beyond the end")
        return bytes(data[at : at + n]), at + n
    if kind == STRUCT:
        return _struct(data, at)
    if kind in (LIST, SET):
        return _list(data, at)
    if kind <= BYTE:
        return data[at], at + 1
    if kind == DOUBLE:
        return packed.unpack_from("<d", data, at)[0], at + 8
    if kind == MAP:
        return _map(data, at)
    raise KeyError(f"type {kind}")


def _list(data: Any, at: int) -> tuple[list[Any], int]:
    head = data[at]
    at += 1
    n, kind = head >> 4, head & 15
    if n == 15:
        n, at = _number(data, at)
    found = []
    for _ in range(n):
        value, at = _value(data, at, kind)
        found.append(value)
    return found, at


def _map(data: Any, at: int) -> tuple[dict[Any, Any], int]:
    n, at = _number(data, at)
    found: dict[Any, Any] = {}
    if n:
        kinds = data[at]
        at += 1
        for _ in range(n):
            key, at = _value(data, at, kinds >> 4)
            found[key], at = _value(data, at, kinds & 15)
    return found, at
