"""Bulk API 2.0 query jobs: ask a Salesforce org (Veeva CRM, Life Sciences Cloud) for whole objects as CSV.

A job is created (UploadComplete), works (InProgress) and ends (JobComplete, Failed or Aborted); its rows come
in pages, each naming the locator of the next. Source: Salesforce, Bulk API 2.0 and Bulk API Developer Guide,
"Query Jobs" and "Get Results for a Query Job". Nothing here writes to an org.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from behavio.errors import JobError, LogError
from behavio.sources.patience import Patience

if TYPE_CHECKING:
    import httpx

VERSION = "64.0"


@dataclass(frozen=True)
class Org:
    """Where the org is and who asks: OAuth client credentials, or a signed assertion (JWT bearer).

    url          login or My Domain address, https://acme.my.salesforce.com
    secret       client secret; without it `username` and `private_key` (PEM text) sign an assertion
    audience     for whom the assertion is meant: the login host unless named
    """

    url: str
    client_id: str
    secret: str = field(default="", repr=False)
    username: str = ""
    private_key: str = field(default="", repr=False)
    audience: str = "https://login.salesforce.com"
    version: str = VERSION

    @classmethod
    def from_environment(cls, env: Mapping[str, str] | None = None) -> Org:
        """The org that the environment names; raises JobError that says which variable is missing."""
        env = os.environ if env is None else env
        given = {k: env.get(f"SALESFORCE_{k.upper()}", "") for k in ("url", "client_id", "client_secret")}
        key_file, username = env.get("SALESFORCE_PRIVATE_KEY_FILE", ""), env.get("SALESFORCE_USERNAME", "")
        missing = [f"SALESFORCE_{k.upper()}" for k in ("url", "client_id") if not given[k]]
        if not given["client_secret"] and not (key_file and username):
            missing.append(
                "SALESFORCE_CLIENT_SECRET (or SALESFORCE_USERNAME and SALESFORCE_PRIVATE_KEY_FILE)"
            )
        if missing:
            raise JobError(
                f"the environment lacks {', '.join(missing)}", hint="ask the CRM's admin for a connected app"
            )
        if not given["url"].startswith(("https://", "http://127.0.0.1", "http://localhost")):
            raise JobError("SALESFORCE_URL must start with https://", hint="https://acme.my.salesforce.com")
        key = ""
        if not given["client_secret"]:
            try:
                key = Path(key_file).read_text(encoding="utf-8")
            except OSError as problem:
                raise JobError(
                    f"the private key {key_file} cannot be read: {problem.strerror}",
                    hint="SALESFORCE_PRIVATE_KEY_FILE names a PEM file",
                ) from None
        return cls(
            url=given["url"].rstrip("/"),
            client_id=given["client_id"],
            secret=given["client_secret"],
            username=username,
            private_key=key,
            audience=env.get("SALESFORCE_AUDIENCE", cls.audience),
            version=env.get("SALESFORCE_API_VERSION", VERSION),
        )


class Salesforce:
    """A session with one org. Busy answers are asked again with growing, jittered waits; an expired session
    logs in once more; anything else is a LogError with the org's own words."""

    always = ("Id", "IsDeleted", "CreatedDate", "LastModifiedDate", "SystemModstamp")

    def __init__(
        self,
        org: Org,
        *,
        sleep: Callable[[float], None] = time.sleep,
        patience: float = 4 * 3600.0,
        transport: httpx.BaseTransport | None = None,
    ) -> None:
        self.org = org
        self.patience = patience
        self.usage = (0, 0)
        self.sleep = sleep
        self._http = Patience(sleep, transport)
        self._token = ""
        self._instance = org.url

    def close(self) -> None:
        """End the session."""
        self._http.close()

    # one request ---------------------------------------------------------------------------------

    def _login(self) -> None:
        form = {"grant_type": "client_credentials", "client_id": self.org.client_id}
        if self.org.secret:
            form["client_secret"] = self.org.secret
        else:
            form = {
                "grant_type": "urn:ietf:params:oauth:grant-type:jwt-bearer",
                "assertion": self._assertion(),
            }
        address = f"{self.org.url}/services/oauth2/token"
        answer = self._http.ask(lambda: self._http.client.post(address, data=form), self.org.url)
        if answer.status_code != 200:
            words = said(answer)
            raise LogError(f"{self.org.url} refused the login: {words}", hint="look at the connected app")
        token = answer.json()
        self._token = str(token["access_token"])
        self._instance = str(token.get("instance_url") or self.org.url).rstrip("/")

    def _assertion(self) -> str:
        try:
            import jwt
        except ImportError:
            raise JobError("signing needs pyjwt", hint="pip install 'behavio[salesforce]'") from None
        claims = {
            "iss": self.org.client_id,
            "sub": self.org.username,
            "aud": self.org.audience,
            "exp": int(time.time()) + 180,
        }
        try:
            return str(jwt.encode(claims, self.org.private_key, algorithm="RS256"))
        except (ValueError, TypeError, jwt.PyJWTError):
            raise JobError(
                "the private key cannot sign", hint="it must be an RSA key in PEM, without a password"
            ) from None

    def _ask(self, method: str, path: str, **more: Any) -> httpx.Response:
        """One request to the API; raises LogError for any answer that is no success."""
        answer = self.answer(method, path, **more)
        if answer.is_success:
            return answer
        raise LogError(
            f"{method} {path} gave {answer.status_code}: {said(answer)}",
            hint=HINTS.get(answer.status_code, "the words are the CRM's own"),
        )

    def answer(self, method: str, path: str, **more: Any) -> httpx.Response:
        """The answer to one request, whatever it says; `usage` holds API calls used and allowed since.

        A path that starts with /services/ stands as it is. Raises LogError when nobody answers.
        """
        if not self._token:
            self._login()
        answer = self._once(method, path, more)
        if answer.status_code == 401:
            self._login()
            answer = self._once(method, path, more)
        used, _, most = answer.headers.get("Sforce-Limit-Info", "").removeprefix("api-usage=").partition("/")
        if used.isdigit() and most.isdigit():
            self.usage = (int(used), int(most))
        return answer

    def _once(self, method: str, path: str, more: dict[str, Any]) -> httpx.Response:
        root = "" if path.startswith("/services/") else f"/services/data/v{self.org.version}"
        url, given = f"{self._instance}{root}{path}", dict(more)
        head = given.pop("headers", {})

        def ask() -> httpx.Response:
            return self._http.client.request(method, url, headers={**head, **self._headers()}, **given)

        return self._http.ask(ask, self._instance)

    def _headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self._token}"}

    # what is asked -------------------------------------------------------------------------------

    def describe(self, object: str) -> dict[str, Any]:
        """An object as the org describes it to this user."""
        return dict(self._ask("GET", f"/sobjects/{object}/describe").json())

    def names(self, object: str) -> tuple[set[str], set[str]]:
        """Fields and relationships of an object, as the org describes it."""
        fields = [f for f in self.describe(object)["fields"] if isinstance(f, dict)]
        return {str(f["name"]) for f in fields}, {
            str(f["relationshipName"]) for f in fields if f.get("relationshipName")
        }

    def since(self, moment: str) -> str:
        """The condition that a row changed after a UTC time."""
        return f" WHERE SystemModstamp > {moment}"

    def start(self, soql: str, operation: str = "queryAll") -> dict[str, Any]:
        """Create a job for every row, deleted ones too (queryAll); its facts, `id` and `createdDate`."""
        wanted = {"operation": operation, "query": soql, "contentType": "CSV", "lineEnding": "LF"}
        return dict(self._ask("POST", "/jobs/query", json=wanted).json())

    def look(self, job: str) -> dict[str, Any]:
        """The job's facts now."""
        return dict(self._ask("GET", f"/jobs/query/{job}").json())

    def wait(self, job: str) -> dict[str, Any]:
        """The job's facts once it is complete. Raises LogError when it failed or takes too long."""
        waited, pause = 0.0, 1.0
        while True:
            facts = self.look(job)
            state = facts.get("state")
            if state == "JobComplete":
                return facts
            if state in ("Failed", "Aborted"):
                said = facts.get("errorMessage") or "no reason given"
                raise LogError(f"the query job {job} {str(state).lower()}: {said}", hint=FAILED)
            if waited > self.patience:
                raise LogError(f"the query job {job} is still {state}", hint="run the command again later")
            self.sleep(pause)
            waited += pause
            pause = min(pause * 1.5, 30.0)

    def pages(self, job: str, locator: str = "", size: int = 100_000) -> Iterator[tuple[bytes, int, str]]:
        """CSV of each page with its header, its rows, and the locator of the next page ("" at the end)."""
        while True:
            ask: dict[str, str] = {"maxRecords": str(size)} | ({"locator": locator} if locator else {})
            answer = self._ask("GET", f"/jobs/query/{job}/results", params=ask)
            following = answer.headers.get("Sforce-Locator", "null")
            locator = "" if following == "null" else following
            yield answer.content, int(answer.headers.get("Sforce-NumberOfRecords", "-1")), locator
            if not locator:
                return


HINTS = {
    400: "a name the org does not know, or a query it cannot run",
    401: "the session is refused even after a new login: look at the connected app's policies",
    403: "the user lacks the right (API enabled, view all data), or the org's daily limit is used up",
    404: "the object or the job is not there; a job is kept for seven days",
    429: "the org is busy: run the command again later",
    503: "the org is busy: run the command again later",
}
FAILED = "the words are the CRM's own; a smaller object, or fewer columns in a copy of the mapping, may help"


def said(answer: httpx.Response) -> str:
    """The org's own words in a refusal."""
    try:
        body = answer.json()
    except ValueError:
        return answer.text[:200] or answer.reason_phrase
    first = body[0] if isinstance(body, list) and body else body
    if not isinstance(first, dict):
        return str(first)[:200]
    words = [first.get(k) for k in ("errorCode", "error", "message", "error_description")]
    return ": ".join(str(w) for w in words if w)[:300]
