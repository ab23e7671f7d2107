"""Pulling by Bulk API 2.0 query jobs, against a small server that lives the documented life of a job."""

from __future__ import annotations

import csv
import io
import json
import re
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from click.testing import CliRunner

from behavio.cli import cli
from behavio.errors import JobError, LogError
from behavio.sources import LogInputs, SourceSettings, read_log
from behavio.sources.pull import needed, pull, query
from behavio.sources.salesforce import Org, Salesforce

pytest.importorskip("httpx", reason="the salesforce extra is not installed")

FIELDS = {
    "Call2_vod__c": [
        "Id", "IsDeleted", "LastModifiedDate", "SystemModstamp", "Account_vod__c", "Call_Datetime_vod__c",
        "Status_vod__c", "Call_Channel_vod__c", "OwnerId", "Next_Call_Notes_vod__c", "Signature_vod__c",
    ],
    "Account": ["Id", "IsDeleted", "SystemModstamp", "MasterRecordId", "IsPersonAccount", "LastName"],
    "Product_vod__c": ["Id", "IsDeleted", "SystemModstamp", "Name"],
    "RecordType": ["Id", "SystemModstamp", "DeveloperName"],
}  # fmt: skip


class FakeOrg:
    """What the server holds and what it was asked; `trouble` holds answers to give before the right one."""

    def __init__(self) -> None:
        self.rows: dict[str, list[dict[str, str]]] = {name: [] for name in FIELDS}
        self.jobs: dict[str, dict[str, Any]] = {}
        self.asked: list[tuple[str, str]] = []
        self.tokens: list[dict[str, list[str]]] = []
        self.trouble: list[tuple[str, int, dict[str, str]]] = []
        self.polls = 1
        self.page = 2
        self.clock = "2026-02-01T12:00:00.000+0000"
        self.fail = ""
        self.lose = 0

    def call(self, number: int, changed: str = "2026-01-05T10:00:00.000Z", **more: str) -> None:
        row = {
            "Id": f"c{number}",
            "IsDeleted": "false",
            "LastModifiedDate": changed,
            "SystemModstamp": changed,
            "Account_vod__c": "A1",
            "Call_Datetime_vod__c": f"2026-01-{number:02d}T09:00:00.000Z",
            "Status_vod__c": "Submitted_vod",
            "Call_Channel_vod__c": "Phone_vod",
            "OwnerId": "U1",
            "Next_Call_Notes_vod__c": "a secret, with\na line break",
        }
        self.rows["Call2_vod__c"].append(row | more)

    def answer(self, method: str, path: str, ask: dict[str, list[str]], body: str) -> tuple[int, Any, dict]:
        if path == "/services/oauth2/token":
            self.tokens.append(parse_qs(body))
            return 200, {"access_token": f"t{len(self.tokens)}", "instance_url": ""}, {}
        if m := re.fullmatch(r"/services/data/v[\d.]+/sobjects/(\w+)/describe", path):
            if m[1] not in FIELDS:
                return 404, [{"errorCode": "NOT_FOUND", "message": "no such object"}], {}
            relation = {"RecordTypeId": "RecordType", "Account_vod__c": "Account_vod__r"}
            fields = [{"name": n, "relationshipName": relation.get(n)} for n in FIELDS[m[1]]]
            return 200, {"fields": fields}, {}
        if method == "POST" and path.endswith("/jobs/query"):
            wanted = json.loads(body)
            assert wanted["operation"] == "queryAll"
            job = {"id": f"750{len(self.jobs)}", "state": "UploadComplete", "createdDate": self.clock}
            self.jobs[job["id"]] = job | {"query": wanted["query"], "polls": self.polls}
            return 200, job, {}
        m = re.fullmatch(r"/services/data/v[\d.]+/jobs/query/(\w+)(/results)?", path)
        assert m, path
        if m[1] not in self.jobs:
            return 404, [{"errorCode": "NOT_FOUND", "message": "no such job"}], {}
        job = self.jobs[m[1]]
        return self.results(job, ask) if m[2] else (200, self.look(job), {})

    def look(self, job: dict[str, Any]) -> dict[str, Any]:
        if job["polls"] > 0:
            job["polls"] -= 1
            job["state"] = "InProgress"
        elif self.fail:
            job |= {"state": "Failed", "errorMessage": self.fail}
        else:
            job |= {"state": "JobComplete", "numberRecordsProcessed": len(self.found(job)) + self.lose}
        return {k: v for k, v in job.items() if k not in ("polls", "query")}

    def found(self, job: dict[str, Any]) -> list[list[str]]:
        m = re.fullmatch(r"SELECT (.+) FROM (\w+)(?: WHERE SystemModstamp > (\S+))?", job["query"])
        assert m, job["query"]
        names = m[1].split(", ")
        assert not set(names) - set(FIELDS[m[2]]), "a column the object does not have"
        rows = [r for r in self.rows[m[2]] if not m[3] or r["SystemModstamp"] > m[3]]
        return [[r.get(n, "") for n in names] for r in rows]

    def results(self, job: dict[str, Any], ask: dict[str, list[str]]) -> tuple[int, Any, dict]:
        at = int(ask.get("locator", ["0"])[0])
        rows = self.found(job)
        out = io.StringIO()
        writer = csv.writer(out, quoting=csv.QUOTE_ALL, lineterminator="\n")
        writer.writerow(job["query"].split(" FROM ")[0].removeprefix("SELECT ").split(", "))
        writer.writerows(rows[at : at + self.page])
        more = str(at + self.page) if at + self.page < len(rows) else "null"
        head = {"Sforce-Locator": more, "Sforce-NumberOfRecords": str(len(rows[at : at + self.page]))}
        return 200, out.getvalue(), head


@pytest.fixture
def org() -> Iterator[FakeOrg]:
    """A server on a free port of this machine; `org.url` is where it is."""
    fake = FakeOrg()

    class Handler(BaseHTTPRequestHandler):
        def serve(self, method: str) -> None:
            parts = urlsplit(self.path)
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0)).decode()
            fake.asked.append((method, parts.path + (f"?{parts.query}" if parts.query else "")))
            head: dict[str, str] = {}
            token = f"Bearer t{len(fake.tokens)}"
            if fake.trouble and fake.trouble[0][0] in parts.path:
                _, code, head = fake.trouble.pop(0)
                answer: Any = [{"errorCode": "TROUBLE", "message": "not now"}]
            elif "oauth2" not in parts.path and self.headers.get("Authorization") != token:
                code, answer = 401, [{"errorCode": "INVALID_SESSION_ID", "message": "expired"}]
            else:
                code, answer, head = fake.answer(method, parts.path, parse_qs(parts.query), body)
            data = answer.encode() if isinstance(answer, str) else json.dumps(answer).encode()
            self.send_response(code)
            for name, value in {**head, "Content-Length": str(len(data))}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(data)

        def do_GET(self) -> None:
            self.serve("GET")

        def do_POST(self) -> None:
            self.serve("POST")

        def log_message(self, *args: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    fake.url = f"http://127.0.0.1:{server.server_address[1]}"  # type: ignore[attr-defined]
    yield fake
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture
def session(org: FakeOrg) -> Iterator[Salesforce]:
    naps: list[float] = []
    found = Salesforce(Org(org.url, "me", "secret"), sleep=naps.append)
    found.naps = naps  # type: ignore[attr-defined]
    yield found
    found.close()


def calls(folder: Path) -> list[dict[str, str]]:
    with (folder / "Call2_vod__c.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_only_what_the_mapping_needs_leaves_the_crm(org: FakeOrg, session: Salesforce, tmp_path: Path):
    # five calls come in pages of two and are one file; notes and names are never asked for
    for number in range(1, 6):
        org.call(number)
    org.rows["Account"].append({"Id": "A1", "IsPersonAccount": "true", "LastName": "Doe"})
    found = pull(["veeva.call"], tmp_path, session)
    assert {p.object: (p.rows, p.since) for p in found} == {
        "Call2_vod__c": (5, ""),
        "Account": (1, ""),
        "Product_vod__c": (0, ""),
        "RecordType": (0, ""),
    }
    assert [r["Id"] for r in calls(tmp_path)] == ["c1", "c2", "c3", "c4", "c5"]
    asked = " ".join(j["query"] for j in org.jobs.values())
    assert "Notes" not in asked and "Signature" not in asked and "LastName" not in asked
    names = sorted(p.name for p in tmp_path.iterdir())
    assert names == [
        ".pulled.json",
        "Account.csv",
        "Call2_vod__c.csv",
    ]
    log = read_log(LogInputs({"calls": SourceSettings(path=str(tmp_path), kind="veeva.call")}, tmp_path))
    assert log.n_events == 5


def test_the_next_pull_asks_only_for_what_changed(org: FakeOrg, session: Salesforce, tmp_path: Path):
    org.call(1)
    org.call(2)
    pull(["veeva.call"], tmp_path, session)
    # later c1 becomes a video call, c2 is deleted, c3 is new; the clock of the first job was noon
    later = "2026-02-01T13:00:00.000Z"
    org.rows["Call2_vod__c"][0] |= {
        "SystemModstamp": later,
        "LastModifiedDate": later,
        "Call_Channel_vod__c": "Video_vod",
    }
    org.rows["Call2_vod__c"][1] |= {"SystemModstamp": later, "LastModifiedDate": later, "IsDeleted": "true"}
    org.call(3, later)
    (second,) = [p for p in pull(["veeva.call"], tmp_path, session) if p.object == "Call2_vod__c"]
    assert (second.rows, second.since) == (3, "2026-02-01T11:55:00.000Z")
    assert len(calls(tmp_path)) == 5
    log = read_log(LogInputs({"calls": SourceSettings(path=str(tmp_path), kind="veeva.call")}, tmp_path))
    assert log.events.select("activity", "source_row").rows() == [("call_video", 3), ("call_phone", 5)]
    (third,) = [
        p for p in pull(["veeva.call"], tmp_path, session, everything=True) if p.object == "Call2_vod__c"
    ]
    assert (third.rows, third.since, len(calls(tmp_path))) == (3, "", 3)


def test_an_expired_session_logs_in_once_more(org: FakeOrg, session: Salesforce, tmp_path: Path):
    org.call(1)
    org.trouble = [("/results", 401, {})]
    pull(["veeva.call"], tmp_path, session)
    assert len(calls(tmp_path)) == 1 and len(org.tokens) == 2
    org.trouble = [("/describe", 401, {}), ("/describe", 401, {})]
    with pytest.raises(LogError, match="gave 401"):
        pull(["veeva.call"], tmp_path, session)


def test_a_busy_org_is_asked_again_after_growing_waits(org: FakeOrg, session: Salesforce, tmp_path: Path):
    org.call(1)
    org.polls = 0
    org.trouble = [("/describe", 429, {"Retry-After": "7"}), ("/describe", 503, {}), ("/describe", 503, {})]
    pull(["veeva.call"], tmp_path, session)
    first, second, third = session.naps[:3]  # type: ignore[attr-defined]
    assert 3.5 <= first <= 7 and 1 <= second <= 2 and 2 <= third <= 4
    org.trouble = [("/describe", 503, {})] * 6
    with pytest.raises(LogError, match="gave 503: TROUBLE: not now") as caught:
        pull(["veeva.call"], tmp_path, session)
    assert "run the command again later" in caught.value.hint


def test_a_failed_job_says_why(org: FakeOrg, session: Salesforce, tmp_path: Path):
    org.call(1)
    org.fail = "TooManyLockFailure"
    with pytest.raises(LogError, match="failed: TooManyLockFailure"):
        pull(["veeva.call"], tmp_path, session)
    assert not (tmp_path / "Call2_vod__c.csv").exists()
    org.fail = ""
    pull(["veeva.call"], tmp_path, session)
    assert len(calls(tmp_path)) == 1


def test_a_pull_that_was_cut_off_goes_on_with_its_page(org: FakeOrg, session: Salesforce, tmp_path: Path):
    # pages of two: the third of three is refused; the next try asks for that page of the same job only
    for number in range(1, 6):
        org.call(number)
    fine = org.results
    org.results = lambda job, ask: (  # type: ignore[method-assign]
        (400, [{"errorCode": "CUT", "message": "off"}], {}) if ask.get("locator") == ["4"] else fine(job, ask)
    )
    with pytest.raises(LogError, match="CUT"):
        pull(["veeva.call"], tmp_path, session)
    assert not (tmp_path / "Call2_vod__c.csv").exists()
    org.results = fine  # type: ignore[method-assign]
    org.asked.clear()
    pull(["veeva.call"], tmp_path, session)
    results = [path for _, path in org.asked if "/jobs/query/7500/results" in path]
    assert [parse_qs(urlsplit(p).query)["locator"] for p in results] == [["4"]]
    assert [r["Id"] for r in calls(tmp_path)] == ["c1", "c2", "c3", "c4", "c5"]


def test_fewer_rows_than_the_job_counted_are_not_kept(org: FakeOrg, session: Salesforce, tmp_path: Path):
    org.call(1)
    org.lose = 1
    with pytest.raises(LogError, match="1 of 2 rows came"):
        pull(["veeva.call"], tmp_path, session)
    assert not (tmp_path / "Call2_vod__c.csv").exists()


def test_a_job_that_never_ends_is_given_up(org: FakeOrg, tmp_path: Path):
    org.polls = 10**9
    impatient = Salesforce(Org(org.url, "me", "secret"), sleep=lambda _: None, patience=100.0)
    with pytest.raises(LogError, match="is still InProgress"):
        pull(["veeva.call"], tmp_path, impatient)
    impatient.close()


def test_an_object_this_org_does_not_use_is_done_without(org: FakeOrg, session: Salesforce, tmp_path: Path):
    # Key messages are not described by the server: the kind itself cannot be pulled, a join can be missing
    with pytest.raises(LogError, match="gave 404"):
        pull(["veeva.key_message"], tmp_path, session)
    found = pull(["veeva.account"], tmp_path, session)
    assert [p.object for p in found] == ["Account"]


def test_a_refused_login_is_told(org: FakeOrg, session: Salesforce, tmp_path: Path):
    org.trouble = [("/oauth2/token", 400, {})]
    with pytest.raises(LogError, match="refused the login: TROUBLE"):
        pull(["veeva.call"], tmp_path, session)


def test_a_signed_assertion_instead_of_a_secret(org: FakeOrg, tmp_path: Path):
    import jwt
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import rsa

    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    pem = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    (tmp_path / "key.pem").write_bytes(pem)
    env = {
        "SALESFORCE_URL": org.url,
        "SALESFORCE_CLIENT_ID": "me",
        "SALESFORCE_USERNAME": "loader@acme.example",
        "SALESFORCE_PRIVATE_KEY_FILE": str(tmp_path / "key.pem"),
    }
    signed = Salesforce(Org.from_environment(env), sleep=lambda _: None)
    assert "PRIVATE" not in repr(signed.org)
    signed.names("Account")
    signed.close()
    (form,) = org.tokens
    claims = jwt.decode(
        form["assertion"][0], key.public_key(), algorithms=["RS256"], audience="https://login.salesforce.com"
    )
    assert (claims["iss"], claims["sub"]) == ("me", "loader@acme.example")


@pytest.mark.parametrize(
    ("env", "message"),
    [
        ({}, "lacks SALESFORCE_URL, SALESFORCE_CLIENT_ID, SALESFORCE_CLIENT_SECRET"),
        ({"SALESFORCE_URL": "https://a", "SALESFORCE_CLIENT_ID": "b"}, "SALESFORCE_PRIVATE_KEY_FILE"),
        (
            {"SALESFORCE_URL": "http://a", "SALESFORCE_CLIENT_ID": "b", "SALESFORCE_CLIENT_SECRET": "c"},
            "must start with https",
        ),
    ],
)
def test_an_incomplete_environment_is_named(env, message):
    with pytest.raises(JobError, match=message):
        Org.from_environment(env)


def test_a_query_names_only_what_the_org_has():
    columns = ["Id", "Account_vod__c", "RecordType.DeveloperName", "RecordType", "Gone__c", "Other__r.Name"]
    fields, relations = {"Id", "Account_vod__c", "RecordTypeId"}, {"RecordType"}
    wanted = "SELECT Id, Account_vod__c, RecordType.DeveloperName FROM Call2_vod__c"
    assert query("Call2_vod__c", columns, fields, relations) == wanted
    since = query("X", ["Id"], {"Id"}, set(), Salesforce.since(None, "2026-01-01T00:00:00.000Z"))  # type: ignore[arg-type]
    assert since == "SELECT Id FROM X WHERE SystemModstamp > 2026-01-01T00:00:00.000Z"


def test_what_a_kind_needs_is_its_object_and_those_it_joins():
    found = needed(["veeva.call", "veeva.key_message"])
    assert next(iter(found)) == "Call2_vod__c" and "Call2_Key_Message_vod__c" in found
    assert "Reaction_vod__c" in found["Call2_Key_Message_vod__c"][0]
    assert not any("Notes" in c for columns, _ in found.values() for c in columns)
    with pytest.raises(JobError, match=r"kind 'vault\.call' is not known"):
        needed(["vault.call"])


def test_the_command_as_typed(org: FakeOrg, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    org.call(1)
    org.polls = 0
    for name, value in {"URL": org.url, "CLIENT_ID": "me", "CLIENT_SECRET": "s"}.items():
        monkeypatch.setenv(f"SALESFORCE_{name}", value)
    done = CliRunner().invoke(cli, ["pull", "veeva.call", "--to", str(tmp_path / "x"), "--json"])
    assert done.exit_code == 0, done.output
    rows = json.loads(done.stdout)
    assert rows[0]["object"] == "Call2_vod__c" and rows[0]["rows"] == 1
    assert rows[0]["since"] == "the beginning"
