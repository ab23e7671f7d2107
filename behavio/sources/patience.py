"""Asking a server again while it is busy or out of reach, with growing, jittered waits."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from behavio.errors import JobError, LogError

if TYPE_CHECKING:
    import httpx

TRIES = 6
LONGEST_WAIT = 60.0
BUSY = (429, 500, 502, 503, 504)


class Patience:
    """One HTTP client. `transport` stands in for the network where given; `spent` counts the repeats."""

    def __init__(
        self, sleep: Callable[[float], None] = time.sleep, transport: httpx.BaseTransport | None = None
    ) -> None:
        try:
            import httpx
        except ImportError:
            raise JobError("this needs httpx", hint="pip install 'behavio[salesforce]'") from None
        self.sleep = sleep
        self.spent = 0
        self._jitter = random.Random()  # only spreads waits, never touches a result
        self.client = httpx.Client(timeout=httpx.Timeout(60.0, read=300.0), transport=transport)
        self._failures: tuple[type[Exception], ...] = (httpx.TransportError,)

    def close(self) -> None:
        """End the session."""
        self.client.close()

    def ask(self, ask: Callable[[], httpx.Response], where: str) -> httpx.Response:
        """The answer, asked for again while the server is busy or out of reach. Raises LogError."""
        for attempt in range(TRIES):
            last = attempt == TRIES - 1
            wait = min(LONGEST_WAIT, 2.0**attempt)
            try:
                answer = ask()
            except self._failures as problem:
                if last:
                    raise LogError(
                        f"{where} cannot be reached: {problem}", hint="look at network and address"
                    ) from None
            else:
                if answer.status_code not in BUSY or last:
                    return answer
                asked = answer.headers.get("Retry-After", "")
                wait = max(wait, min(float(asked), LONGEST_WAIT)) if asked.isdigit() else wait
            self.spent += 1
            self.sleep(wait * self._jitter.uniform(0.5, 1.0))
        raise AssertionError("unreachable")
