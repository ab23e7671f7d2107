"""A session with Veeva Vault: sign-in, calls whose answers say themselves whether they went well, VQL.

Source: Veeva Vault REST API ("Authentication", "Query", "Rate Limits"). HTTP says 200 even when a call is
refused: responseStatus decides. Past its burst limit a vault slows every call, so a session waits before.
"""

from __future__ import annotations

import csv
import io
import os
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from behavio.errors import JobError, LogError
from behavio.sources.patience import Patience

if TYPE_CHECKING:
    import httpx

VERSION = "24.3"
BURST_FLOOR = 50
BURST_WAIT = 60.0


@dataclass(frozen=True)
class VaultLogin:
    """Where the vault is and who asks."""

    url: str
    username: str
    password: str = field(repr=False)
    version: str = VERSION

    @classmethod
    def from_environment(cls, env: Mapping[str, str] | None = None) -> VaultLogin:
        """The vault that the environment names; raises JobError that says which variable is missing."""
        env = os.environ if env is None else env
        url, user = env.get("VAULT_URL", ""), env.get("VAULT_USERNAME", "")
        password, file = env.get("VAULT_PASSWORD", ""), env.get("VAULT_PASSWORD_FILE", "")
        if not password and file:
            try:
                password = Path(file).read_text(encoding="utf-8").strip()
            except OSError as problem:
                raise JobError(
                    f"the password file {file} cannot be read: {problem.strerror}",
                    hint="VAULT_PASSWORD_FILE names a text file",
                ) from None
        given = {
            "VAULT_URL": url,
            "VAULT_USERNAME": user,
            "VAULT_PASSWORD (or VAULT_PASSWORD_FILE)": password,
        }
        if missing := [k for k, v in given.items() if not v]:
            raise JobError(
                f"the environment lacks {', '.join(missing)}", hint="ask the vault's admin for an API user"
            )
        if not url.startswith(("https://", "http://127.0.0.1", "http://localhost")):
            raise JobError("VAULT_URL must start with https://", hint="https://acme.veevavault.com")
        return cls(url.rstrip("/"), user, password, env.get("VAULT_API_VERSION", VERSION))


class Vault:
    """A session with one vault. An ended session signs in once more; what is refused is a LogError in the
    vault's own words."""

    always = ("id", "created_date__v", "modified_date__v")
    modified = "modified_date__v"

    def __init__(
        self,
        login: VaultLogin,
        *,
        sleep: Callable[[float], None] = time.sleep,
        transport: httpx.BaseTransport | None = None,
    ) -> None:
        self.login = login
        self.address = login.url
        self.sent = 0
        self.burst_left = -1
        self.clock = ""
        self._http = Patience(sleep, transport)
        self._session = ""

    def close(self) -> None:
        """End the session."""
        self._http.close()

    # asking --------------------------------------------------------------------------------------

    def _sign_in(self) -> None:
        form = {"username": self.login.username, "password": self.login.password}
        answer = self._carry("POST", "/auth", data=form)
        body = answer.json() if answer.is_success else {}
        if body.get("responseStatus") != "SUCCESS":
            raise LogError(
                f"{self.address} refused the login: {_words(body)}",
                hint="look at VAULT_USERNAME and VAULT_PASSWORD",
            )
        self._session = str(body["sessionId"])

    def _carry(self, method: str, path: str, **more: Any) -> httpx.Response:
        root = "" if path.startswith("/api/") else f"/api/v{self.login.version}"
        head = {
            "Authorization": self._session,
            "Accept": "application/json",
            "X-VaultAPI-ClientID": "behavio",
            "X-VaultAPI-UnchangedFieldBehavior": "AlwaysIgnore",
        }
        head = {k: v for k, v in head.items() if v}
        url = f"{self.address}{root}{path}"
        answer = self._http.ask(
            lambda: self._http.client.request(method, url, headers=head, **more), self.address
        )
        self.sent += 1
        moment = answer.headers.get("Date")
        now = parsedate_to_datetime(moment) if moment else datetime.now(UTC)
        self.clock = now.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.000Z")
        left = answer.headers.get("X-VaultAPI-BurstLimitRemaining", "")
        if left.isdigit():
            self.burst_left = int(left)
            if self.burst_left < BURST_FLOOR:  # past it the vault would slow every call
                self._http.sleep(BURST_WAIT)
        return answer

    def ask(self, method: str, path: str, *, fine: Collection[str] = (), **more: Any) -> dict[str, Any]:
        """The body of an answer that went well, or was refused in a fine way. Raises LogError."""
        for attempt in (0, 1):
            if not self._session:
                self._sign_in()
            answer = self._carry(method, path, **more)
            try:
                body: dict[str, Any] = dict(answer.json())
            except ValueError:
                body = {}
            kinds = {str(e.get("type")) for e in body.get("errors") or ()}
            if "INVALID_SESSION_ID" in kinds and attempt == 0:
                self._session = ""
                continue
            if body.get("responseStatus") in ("SUCCESS", "WARNING") or kinds & set(fine):
                return body
            raise LogError(
                f"{method} {path} gave {answer.status_code} {body.get('responseStatus', '')}: {_words(body)}",
                hint="the words are the vault's own",
            )
        raise AssertionError("unreachable")

    # what a pull asks ----------------------------------------------------------------------------

    def names(self, object: str) -> tuple[set[str], set[str]]:
        """Fields and relationships of an object, as the vault describes it."""
        body = self.ask("GET", f"/metadata/vobjects/{object}", fine=("INVALID_DATA", "MALFORMED_URL"))
        if "object" not in body:
            raise LogError(f"{object} gave 404: {_words(body)}", hint="look at the object's name")
        fields = body["object"]["fields"]
        name = "relationship_outbound_name"
        related = {str(f.get(name) or f"{f['name']}r") for f in fields if f.get("object")}
        return {str(f["name"]) for f in fields}, related

    def since(self, moment: str) -> str:
        """The condition that a row changed after a UTC time."""
        return f" WHERE {self.modified} > '{moment}'"

    def start(self, vql: str) -> dict[str, Any]:
        """Nothing starts: a question is answered page by page. Its time is the vault's own."""
        self.ask("POST", "/query", data={"q": f"{vql} PAGESIZE 0"})
        return {"id": vql}

    def look(self, vql: str) -> dict[str, Any]:
        """A question of an earlier attempt is asked anew."""
        return {"state": "Aborted"}

    def wait(self, vql: str) -> dict[str, Any]:
        """When the question was asked."""
        return {"state": "JobComplete", "createdDate": self.clock}

    def pages(self, vql: str, locator: str = "", size: int = 0) -> Iterator[tuple[bytes, int, str]]:
        """CSV of each page with its header, its rows, and where the next one is ("" at the end)."""
        columns = vql.split(" FROM ")[0].removeprefix("SELECT ").split(", ")
        asked = self.clock
        body = self.ask("GET", locator) if locator else self.ask("POST", "/query", data={"q": vql})
        while True:
            rows = [[plain(r.get(c)) or "" for c in columns] for r in body.get("data", ())]
            locator = str(body.get("responseDetails", {}).get("next_page") or "")
            self.clock = asked  # rows that change while pages come belong to the next pull
            yield _csv(columns, rows), len(rows), locator
            if not locator:
                return
            body = self.ask("GET", locator)


def plain(value: Any) -> str | None:
    """A value of an answer as text; picklists come as lists."""
    if isinstance(value, list):
        value = value[0] if value else None
    if value is None or value == "":
        return None
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value)


def _csv(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> bytes:
    out = io.StringIO()
    writer = csv.writer(out, quoting=csv.QUOTE_ALL, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows(rows)
    return out.getvalue().encode()


def _words(body: dict[str, Any]) -> str:
    errors = [f"{e.get('type')}: {e.get('message')}" for e in body.get("errors") or ()]
    return "; ".join(errors)[:300] or str(body.get("responseMessage") or "no reason given")
