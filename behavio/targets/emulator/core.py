"""What both emulated systems share: faults before, around and after a request, and a control door."""

from __future__ import annotations

import random
import shutil
import tempfile
import threading
import weakref
from pathlib import Path
from typing import Any

from behavio.errors import JobError
from behavio.targets.emulator.faults import Drop, Fault, Schedule
from behavio.targets.emulator.store import Store
from behavio.targets.emulator.values import RowError
from behavio.targets.emulator.web import Answer, Request, say

CONTROL = "/emulator/"
PASSING = ("UNABLE_TO_LOCK_ROW", "SERVER_UNAVAILABLE")
"""Codes of rows that fail for a while: tried again they go through."""


class Emulator:
    """An app: give it a Request, get an Answer or a Drop. One request at a time, as one thread sees it."""

    def __init__(self, store: Store, schedule: Schedule | None = None) -> None:
        self.store = store
        self.schedule = schedule or Schedule()
        self.lock = threading.RLock()
        self.folder = Path(tempfile.mkdtemp(prefix="behavio-emulator-"))
        self._end = weakref.finalize(self, _tidy, store, self.folder)
        self.sessions: set[str] = set()
        self._issued = 0
        self._spoiled: Fault | None = None
        self._chance = random.Random(self.schedule.seed)

    def close(self) -> None:
        """Let go of files."""
        self._end()

    def __call__(self, request: Request) -> Answer:
        """Answer one request. Raises Drop where the connection ends instead."""
        with self.lock:
            if request.path.startswith(CONTROL):
                return self.control(request)
            fault = self.schedule.next(request.method, request.path)
            self.tick()
            return self.handle(request) if fault is None else self._struck(request, fault)

    # what the systems say differently ------------------------------------------------------------

    def handle(self, request: Request) -> Answer:
        """The answer when nothing goes wrong."""
        raise NotImplementedError

    def busy(self, status: int) -> Answer:
        """The answer of an overloaded system."""
        raise NotImplementedError

    def tick(self) -> None:
        """Time passes: work in the background goes on."""

    def trouble(self, kind: str) -> None:
        """A fault of a kind only this system has."""

    # faults --------------------------------------------------------------------------------------

    def _struck(self, request: Request, fault: Fault) -> Answer:
        if fault.kind in ("429", "500", "503"):
            return self.busy(int(fault.kind))
        if fault.kind in ("timeout", "reset"):
            raise Drop(fault.seconds if fault.kind == "timeout" else 0.0)
        if fault.kind == "expired":
            self.sessions.clear()
        elif fault.kind in ("rows", "lock"):
            self._spoiled = fault
        elif fault.kind in ("stuck", "fail", "abort"):
            self.trouble(fault.kind)
        answer = self.handle(request)
        if fault.kind == "lost":
            raise Drop
        if fault.kind == "cut":
            raise Drop(part=answer.body[: len(answer.body) // 2] or b" ")
        return answer

    def spoiled(self) -> Fault | None:
        """The fault that strikes rows of the write that begins now."""
        found, self._spoiled = self._spoiled, None
        return found

    def strike(self, fault: Fault | None) -> None:
        """Raise RowError for a row that the fault meets."""
        if fault is not None and self._chance.random() < fault.share:
            if fault.kind == "lock":
                raise RowError("UNABLE_TO_LOCK_ROW", "unable to obtain exclusive access to this record")
            raise RowError("SERVER_UNAVAILABLE", "the row could not be written just now")

    # sessions ------------------------------------------------------------------------------------

    def issue(self, prefix: str) -> str:
        """A new session."""
        self._issued += 1
        token = f"{prefix}{self._issued:06d}{self._chance.getrandbits(64):016x}"
        self.sessions.add(token)
        return token

    # the control door ----------------------------------------------------------------------------

    def control(self, request: Request) -> Answer:
        """Add faults, expire sessions, look at requests and rows: for rehearsals and tests."""
        what = request.path.removeprefix(CONTROL)
        try:
            if what == "faults" and request.method == "POST":
                given = request.json()
                added = [Fault(**one) for one in (given if isinstance(given, list) else [given])]
                self.schedule.faults += added
                return say({"waiting": len(self.schedule.faults)})
            if what == "requests":
                return say(self.schedule.facts())
            if what.startswith("rows/"):
                return say(self.store.rows(what.removeprefix("rows/")))
            if what == "objects":
                count = {o: self.store.query(f'SELECT count(*) FROM "{o}"')[0][0] for o in self.store.schema}
                return say(count)
        except (ValueError, TypeError, KeyError, JobError) as problem:
            return say({"error": str(problem), "hint": getattr(problem, "hint", "")}, 400)
        return say({"doors": ["faults", "requests", "objects", "rows/OBJECT"]}, 404)

    # files of background work --------------------------------------------------------------------

    def scratch(self, name: str) -> Path:
        """A file of the emulator's own."""
        return self.folder / name


def _tidy(store: Store, folder: Path) -> None:
    store.close()
    shutil.rmtree(folder, ignore_errors=True)


def shuffled(rows: list[Any], seed: int) -> list[Any]:
    """The rows in another order: results come back as they please."""
    random.Random(seed).shuffle(rows)
    return rows
