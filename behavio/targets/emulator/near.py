"""An emulator inside this process: httpx asks it without a socket, faults and kills included."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from urllib.parse import parse_qsl

import httpx

from behavio.targets.emulator.faults import Drop
from behavio.targets.emulator.web import App, Request


class Killed(BaseException):
    """The process would be dead now."""


class Near(httpx.BaseTransport):
    """Carries requests to an app. `kill(number)` says "before" or "after" where the process shall die."""

    def __init__(self, app: App, kill: Callable[[int], str] | None = None) -> None:
        self.app = app
        self.kill = kill
        self.number = 0
        self.asked: list[tuple[str, str]] = []

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """One request."""
        when = self.kill(self.number) if self.kill is not None else ""
        self.number += 1
        if when == "before":
            raise Killed
        path = request.url.path
        self.asked.append((request.method, path))
        head = {k.lower(): v for k, v in request.headers.items()}
        query = dict(parse_qsl(request.url.query.decode(), keep_blank_values=True))
        try:
            answer = self.app(Request(request.method, path, query, head, request.read()))
        except Drop as drop:
            if when == "after":
                raise Killed from None
            kinds: tuple[Any, ...] = (httpx.RemoteProtocolError, httpx.ReadTimeout)
            raise kinds[drop.seconds > 0]("the connection was closed", request=request) from None
        if when == "after":
            raise Killed
        return httpx.Response(answer.status, headers=dict(answer.headers), content=answer.body)
