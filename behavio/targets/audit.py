"""The audit log: append-only, each line carries the hash of the line before, so that a change shows."""

from __future__ import annotations

import getpass
import hashlib
import json
import os
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from behavio.errors import RunError

FIRST = "0" * 64


def who() -> str:
    """Who runs this: the variable BEHAVIO_USER, else the login name."""
    try:
        return os.environ.get("BEHAVIO_USER") or getpass.getuser()
    except (KeyError, OSError):
        return "unknown"


def append(path: Path, what: str, **facts: Any) -> None:
    """Add one line to the log: when, who, what and the facts, chained to the line before."""
    path.parent.mkdir(parents=True, exist_ok=True)
    line: dict[str, Any] = {
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "who": who(),
        "what": what,
        **facts,
    }
    with path.open("a+b") as log:
        log.seek(0)
        last, torn = FIRST, False
        for one in log:
            torn = not one.endswith(b"\n")
            last = hashlib.sha256(one.rstrip(b"\n")).hexdigest()
        if torn:
            log.write(b"\n")
        line["before"] = last
        log.write(json.dumps(line, ensure_ascii=False).encode() + b"\n")
        log.flush()
        os.fsync(log.fileno())


def verify(path: Path) -> int:
    """How many lines the log has. Raises RunError where the chain is broken."""
    last, count = FIRST, 0
    for number, one in enumerate(path.read_bytes().splitlines(), start=1):
        try:
            before = json.loads(one).get("before")
        except ValueError:
            before = None
        if before != last:
            raise RunError(
                f"line {number} of {path} does not follow the line before", hint="the log was changed or cut"
            )
        last, count = hashlib.sha256(one).hexdigest(), number
    return count
