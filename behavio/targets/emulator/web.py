"""One request, one answer; and the loopback server that carries them."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from behavio.errors import JobError
from behavio.targets.emulator.faults import Drop


@dataclass(frozen=True, slots=True)
class Request:
    """What came: header names in small letters, `query` the last value of each name."""

    method: str
    path: str
    query: Mapping[str, str] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""

    def json(self) -> Any:
        """The body as JSON; raises ValueError."""
        return json.loads(self.body or b"null")

    def form(self) -> dict[str, str]:
        """The body as a form."""
        return dict(parse_qsl(self.body.decode("utf-8", "replace"), keep_blank_values=True))


@dataclass(frozen=True, slots=True)
class Answer:
    """What goes back."""

    status: int
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)


App = Callable[[Request], Answer]


def say(value: Any, status: int = 200, **headers: str) -> Answer:
    """JSON; header names with underscores for dashes."""
    named = {k.replace("_", "-"): v for k, v in headers.items()}
    body = b"" if status == 204 else json.dumps(value, ensure_ascii=False).encode()
    return Answer(status, body, {"Content-Type": "application/json;charset=UTF-8", **named})


class Handler(BaseHTTPRequestHandler):
    """Carries requests to the server's app."""

    protocol_version = "HTTP/1.1"
    wbufsize = -1  # headers and body leave together, or the other side's delayed acknowledgement costs 40 ms
    disable_nagle_algorithm = True
    app: App

    def handle_one_request(self) -> None:
        """As the base class, without a word when the other side has gone."""
        with suppress(ConnectionError):
            super().handle_one_request()

    def date_time_string(self, timestamp: float | None = None) -> str:
        """The Date of an answer: the emulated system's own clock, where it has one."""
        store = getattr(self.app, "store", None)
        return formatdate(store.clock().timestamp() if store else timestamp, usegmt=True)

    def carry(self) -> None:
        """One request."""
        parts = urlsplit(self.path)
        body = self._body()
        asked = Request(
            self.command,
            parts.path,
            dict(parse_qsl(parts.query, keep_blank_values=True)),
            {k.lower(): v for k, v in self.headers.items()},
            body,
        )
        try:
            answer = self.app(asked)
        except Drop as drop:
            time.sleep(drop.seconds)
            if drop.part:
                self.send_response(200)
                self.send_header("Content-Length", str(len(drop.part) * 2 + 10))
                self.end_headers()
                self.wfile.write(drop.part)
            self.close_connection = True
            self.connection.shutdown(socket.SHUT_RDWR)
            return
        self.send_response(answer.status)
        for name, value in answer.headers.items():
            self.send_header(name, value)
        if answer.status != 204:
            self.send_header("Content-Length", str(len(answer.body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(answer.body)

    def _body(self) -> bytes:
        if self.headers.get("Transfer-Encoding", "").lower() != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length") or 0))
        parts = []
        while size := int(self.rfile.readline().split(b";")[0], 16):
            parts.append(self.rfile.read(size))
            self.rfile.readline()
        self.rfile.readline()
        return b"".join(parts)

    do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = carry

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing: the emulator counts requests itself."""


class Server(ThreadingHTTPServer):
    """Threads that end with the program."""

    daemon_threads = True
    request_queue_size = 64

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that goes away is no error of the server."""


def listen(app: App, port: int = 0) -> Server:
    """A server on this machine only; port 0 takes a free one. Raises JobError when the port is taken."""
    handler = type("Bound", (Handler,), {"app": staticmethod(app)})
    try:
        return Server(("127.0.0.1", port), handler)
    except (OSError, OverflowError) as problem:
        raise JobError(f"port {port} cannot be used: {problem}", hint="--port 0 takes a free one") from None


@contextmanager
def serving(app: App, port: int = 0) -> Iterator[str]:
    """The address of a server that runs until the block ends."""
    server = listen(app, port)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join(5)
