"""A server on this machine only, that shows one run to whoever sits before it."""

from __future__ import annotations

from contextlib import suppress
from html import escape
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Lock
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from behavio.errors import JobError
from behavio.report.explore import Explorer, Refused
from behavio.report.language import speaking, t

LOOPBACK = "127.0.0.1"
POLICY = (
    "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; img-src data:; "
    "base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
)
PROBLEM = (
    '<!doctype html><html lang="{lang}"><meta charset="utf-8"><title>{title}</title>'
    "<style>body{{font:17px/1.5 sans-serif;max-width:40em;margin:15vh auto;padding:0 20px;color:#1d2126;"
    "background:#fbfaf7}}@media(prefers-color-scheme:dark){{body{{color:#e9e6df;background:#191b1e}}"
    'a{{color:#7fb4dc}}}}</style><h1>{title}</h1><p>{hint}</p><p><a href="/">{back}</a></p>'
)


class Look(BaseHTTPRequestHandler):
    """Answers GET / with the page for the filters in the address."""

    protocol_version = "HTTP/1.1"
    explorer: Explorer
    lock: Lock

    def handle_one_request(self) -> None:
        """As the base class, without a word when the other side has gone."""
        with suppress(ConnectionError):
            super().handle_one_request()

    def do_GET(self) -> None:
        """One look."""
        if not self._own_name():
            self._problem(403, "Not from here", "Open it on the machine it runs on.")
            return
        parts = urlsplit(self.path)
        if parts.path != "/":
            self._problem(404, "Nothing here", "The report is one page.")
            return
        try:
            with self.lock:
                text = self.explorer.page(dict(parse_qsl(parts.query, keep_blank_values=True)))
        except Refused as refused:
            self._problem(422, str(refused), refused.hint)
            return
        self._send(200, text)

    do_HEAD = do_GET

    def _problem(self, status: int, title: str, hint: str) -> None:
        with speaking(self.explorer.language) as own:
            said = {"title": t(title), "hint": t(hint), "back": t("Back to the whole report")}
        self._send(status, PROBLEM.format(lang=own.code, **{k: escape(str(v)) for k, v in said.items()}))

    def _own_name(self) -> bool:
        """False when the page was asked for under another machine's name (DNS rebinding)."""
        host = (self.headers.get("Host") or "").rsplit(":", 1)[0]
        return host in (LOOPBACK, "localhost")

    def _send(self, status: int, text: str) -> None:
        body = text.encode("utf-8", "replace")
        self.send_response(status)
        for name, value in (
            ("Content-Type", "text/html; charset=utf-8"),
            ("Content-Length", str(len(body))),
            ("Content-Security-Policy", POLICY),
            ("Cache-Control", "no-store"),
            ("X-Content-Type-Options", "nosniff"),
            ("Referrer-Policy", "no-referrer"),
        ):
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing: what somebody looks at stays with them."""


class Server(ThreadingHTTPServer):
    """Threads that end with the program."""

    daemon_threads = True


def listen(explorer: Explorer, port: int = 0) -> Server:
    """A server on the loopback; port 0 takes a free one. Raises JobError when the port is taken."""
    handler = type("Bound", (Look,), {"explorer": explorer, "lock": Lock()})
    try:
        return Server((LOOPBACK, port), handler)
    except (OSError, OverflowError) as problem:
        raise JobError(f"port {port} cannot be used: {problem}", hint="--port 0 takes a free one") from None
