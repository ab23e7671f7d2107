"""Faults on demand: what a CRM and the network between do to a loader, by schedule or by seeded chance."""

from __future__ import annotations

import random
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from behavio.errors import JobError

KINDS = {
    "429": "too many requests, with Retry-After",
    "500": "the server fails before it does anything",
    "503": "the server is down for a moment",
    "timeout": "no answer for `seconds`, then the connection is closed; nothing was done",
    "reset": "the connection breaks before anything is done",
    "lost": "the request is carried out, then the connection breaks before the answer",
    "cut": "the request is carried out, then the connection breaks inside the answer",
    "expired": "the session ends: this and every later request with it is refused",
    "rows": "some rows of this write are refused for a reason that passes",
    "lock": "some rows of this write cannot be locked",
    "stuck": "the jobs now at work never end by themselves",
    "fail": "the next job fails half way",
    "abort": "the next job is aborted by somebody",
}
ALL = tuple(KINDS)


class Drop(Exception):
    """The connection ends without an answer; `part` of the answer may have gone, after `seconds`."""

    def __init__(self, seconds: float = 0.0, part: bytes = b"") -> None:
        super().__init__("the connection was closed")
        self.seconds, self.part = seconds, part


@dataclass(frozen=True, slots=True)
class Fault:
    """One fault: at request number `at` (from 0; None: the next one whose path fits `path`)."""

    kind: str
    at: int | None = None
    path: str = ""
    method: str = ""
    times: int = 1
    seconds: float = 2.0
    share: float = 0.3

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise JobError(f"there is no fault {self.kind!r}", hint=f"faults: {', '.join(KINDS)}")

    def fits(self, number: int, method: str, path: str) -> bool:
        """Whether it strikes this request."""
        if self.at is not None and self.at != number:
            return False
        return (not self.method or self.method == method) and re.search(self.path, path) is not None


@dataclass
class Schedule:
    """What goes wrong and when: faults given one by one, and chance with a seed.

    `rate` is the share of requests that chance strikes, `most` how often at most, so that a run can end.
    """

    faults: list[Fault] = field(default_factory=list)
    seed: int = 0
    rate: float = 0.0
    kinds: Sequence[str] = ALL
    most: int = 50
    number: int = 0
    struck: list[tuple[int, str, str]] = field(default_factory=list)

    def __post_init__(self) -> None:
        for kind in self.kinds:
            Fault(kind)
        self._chance = random.Random(self.seed)

    def next(self, method: str, path: str) -> Fault | None:
        """The fault of this request, if any."""
        number, self.number = self.number, self.number + 1
        found = None
        for fault in self.faults:
            if fault.fits(number, method, path):
                found = fault
                self.faults.remove(fault)
                if fault.times > 1:
                    left = {f: getattr(fault, f) for f in ("kind", "path", "method", "seconds", "share")}
                    self.faults.insert(0, Fault(**left, times=fault.times - 1))
                break
        draw = self._chance.random()  # drawn every time, so that a fault by hand does not shift the others
        kind = self._chance.choice(self.kinds)
        if found is None and draw < self.rate and len(self.struck) < self.most:
            found = Fault(kind, seconds=0.0)
        if found is not None:
            self.struck.append((number, f"{method} {path}", found.kind))
        return found

    def facts(self) -> dict[str, Any]:
        """JSON-able: how many requests came and what struck them."""
        return {"requests": self.number, "struck": [list(one) for one in self.struck]}
