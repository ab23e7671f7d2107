"""The emulated CRMs, asked by clients that are not ours: simple-salesforce, and plain HTTP."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from behavio.errors import JobError
from behavio.targets.emulator import (
    Fault,
    Keys,
    SalesforceEmulator,
    Schedule,
    VaultEmulator,
    load_extracts,
    new_org,
    serving,
)
from behavio.targets.emulator.values import long_id, numbered_id

httpx = pytest.importorskip("httpx", reason="the salesforce extra is not installed")


def org_with_people(**more: Any) -> SalesforceEmulator:
    """An org with one rep, two accounts (ids end 01 and 02), one product."""
    org = SalesforceEmulator(**more)
    for number in (1, 2):
        org.store.save("Account", {"Name": f"HCP {number}"})
    org.store.save("User", {"Name": "Rep"})
    org.store.save("Product_vod__c", {"Name": "Cardiovia", "External_ID_vod__c": "cardiovia"})
    return org


@pytest.fixture
def org() -> Iterator[SalesforceEmulator]:
    found = org_with_people()
    yield found
    found.close()


@pytest.fixture
def url(org: SalesforceEmulator) -> Iterator[str]:
    with serving(org) as address:
        yield address


def signed_in(url: str) -> Any:
    form = {"grant_type": "client_credentials", "client_id": "behavio", "client_secret": "emulator"}
    token = httpx.post(f"{url}/services/oauth2/token", data=form).json()
    assert token["instance_url"] == url
    return httpx.Client(
        base_url=f"{url}/services/data/v64.0",
        headers={"Authorization": f"Bearer {token['access_token']}"},
        timeout=5,
    )


def ids(org: SalesforceEmulator, object: str) -> list[str]:
    return [r["Id"] for r in org.store.rows(object)]


def test_ids_are_made_as_the_system_makes_them() -> None:
    # 15 characters safe only by case, 3 more say which were capitals
    assert long_id("0015g000000001f") == "0015g000000001fAAA"
    assert long_id("0055g000000000C") == "0055g000000000CAAQ"
    assert len({numbered_id("a02", n) for n in range(200)}) == 200


# simple-salesforce: an independent client ------------------------------------------------------------


@pytest.fixture
def sf(url: str) -> Iterator[Any]:
    """Its addresses are https://….my.salesforce.com by nature: an adapter carries them to this machine."""
    requests = pytest.importorskip("requests", reason="simple-salesforce is not installed")
    simple = pytest.importorskip("simple_salesforce", reason="simple-salesforce is not installed")

    class Near(requests.adapters.HTTPAdapter):
        def send(self, request: Any, **more: Any) -> Any:
            host, _, rest = request.url.removeprefix("https://").partition("/")
            request.headers["Host"] = host
            request.url = f"{url}/{rest}"
            return super().send(request, **more)

    with requests.Session() as session:
        session.mount("https://", Near())
        yield simple.Salesforce(
            consumer_key="behavio",
            consumer_secret="emulator",
            domain="acme.my",
            session=session,
            version="64.0",
        )


def test_simple_salesforce_reads_and_writes_rows(sf: Any, org: SalesforceEmulator) -> None:
    account, _ = ids(org, "Account")
    (rep,) = ids(org, "User")
    row = {"OwnerId": rep, "Account_vod__c": account, "Title_vod__c": "Rep visit “now” 🎁"}
    row |= {"Record_Type_Name_vod__c": "Call_vod", "Priority_vod__c": "Urgent_vod"}
    key = "Suggestion_External_Id_vod__c"
    assert sf.Suggestion_vod__c.upsert(f"{key}/s1", row) == 201
    assert sf.Suggestion_vod__c.upsert(f"{key}/s1", {"Title_vod__c": "Later"}) == 200
    found = sf.query("SELECT Id, Title_vod__c, RecordType.DeveloperName FROM Suggestion_vod__c")
    assert found["totalSize"] == 1
    assert found["records"][0]["Title_vod__c"] == "Later"
    assert found["records"][0]["RecordType"]["DeveloperName"] == "Call_vod"
    fields = {f["name"]: f for f in sf.Suggestion_vod__c.describe()["fields"]}
    assert fields["Title_vod__c"]["length"] == 255 and not fields["Actioned_vod__c"]["updateable"]
    assert fields["Account_vod__c"]["referenceTo"] == ["Account"]
    assert sf.limits()["DailyApiRequests"]["Remaining"] > 0
    with pytest.raises(Exception, match="INVALID_OR_NULL_FOR_RESTRICTED_PICKLIST"):
        sf.Suggestion_vod__c.upsert(f"{key}/s1", {"Priority_vod__c": "Hurry"})
    with pytest.raises(Exception, match="INVALID_FIELD_FOR_INSERT_UPDATE"):
        sf.Suggestion_vod__c.upsert(f"{key}/s1", {"Actioned_vod__c": 1})


def test_simple_salesforce_loads_and_queries_in_bulk(
    sf: Any, org: SalesforceEmulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("simple_salesforce.bulk2.sleep", lambda _: None)
    one, two = ids(org, "Account")
    bulk = sf.bulk2.Product_Metrics_vod__c
    rows = [
        {
            "External_ID_vod__c": f"k{n}",
            "Account_vod__c": one if n % 2 else two,
            "Segment__c": f'say "{n}",\n',
        }
        for n in range(30)
    ]
    rows.append({"External_ID_vod__c": "bad", "Account_vod__c": "0015g000000009f", "Segment__c": "x"})
    (job,) = bulk.upsert(records=rows, external_id_field="External_ID_vod__c", wait=0.01)
    assert (job["numberRecordsProcessed"], job["numberRecordsFailed"]) == (31, 1)
    assert "INVALID_CROSS_REFERENCE_KEY" in bulk.get_failed_records(job["job_id"])
    assert bulk.get_successful_records(job["job_id"]).count("sf__Created") == 1
    pages = list(
        bulk.query(
            "SELECT External_ID_vod__c, Account_vod__r.Name FROM Product_Metrics_vod__c", max_records=12
        )
    )
    assert len(pages) == 3
    assert sum(page.count("HCP") for page in pages) == 30
    assert {r["Segment__c"] for r in org.store.rows("Product_Metrics_vod__c")} == {
        f'say "{n}",' for n in range(30)
    }


def test_a_signed_assertion_is_verified() -> None:
    jwt = pytest.importorskip("jwt")
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import rsa

    private, other = (rsa.generate_private_key(public_exponent=65537, key_size=2048) for _ in "ab")
    public = private.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    org = org_with_people(keys=Keys(public_key=public.decode()))
    claims = {"iss": "behavio", "sub": "loader@example.com", "aud": "https://login.salesforce.com"}
    with serving(org) as url:
        for key, change, status in (
            (private, {}, 200),
            (other, {}, 400),
            (private, {"exp": int(time.time()) - 100}, 400),
            (private, {"aud": "https://elsewhere"}, 400),
            (private, {"sub": "somebody"}, 400),
        ):
            signed = jwt.encode({"exp": int(time.time()) + 180, **claims, **change}, key, algorithm="RS256")
            form = {"grant_type": "urn:ietf:params:oauth:grant-type:jwt-bearer", "assertion": signed}
            assert httpx.post(f"{url}/services/oauth2/token", data=form).status_code == status
    org.close()


# the life of a job -----------------------------------------------------------------------------------


def ingest(http: Any, csv: str, **more: Any) -> str:
    asked = {
        "object": "Product_Metrics_vod__c",
        "operation": "upsert",
        "externalIdFieldName": "External_ID_vod__c",
    }
    job = http.post("/jobs/ingest", json=asked | {"contentType": "CSV", "lineEnding": "LF"} | more).json()
    assert job["state"] == "Open"
    put = http.put(
        f"/jobs/ingest/{job['id']}/batches", content=csv.encode(), headers={"Content-Type": "text/csv"}
    )
    assert put.status_code == 201
    return str(job["id"])


def close(http: Any, job: str) -> list[str]:
    http.patch(f"/jobs/ingest/{job}", json={"state": "UploadComplete"})
    states: list[str] = []
    while not states or states[-1] not in ("JobComplete", "Failed"):
        states.append(http.get(f"/jobs/ingest/{job}").json()["state"])
    return states


def test_a_job_from_open_to_its_results(org: SalesforceEmulator, url: str) -> None:
    one, two = ids(org, "Account")
    with signed_in(url) as http:
        first = ingest(http, f"External_ID_vod__c,Account_vod__c,Segment__c\nk1,{one},A\nk2,{two},B\n")
        again = http.put(f"/jobs/ingest/{first}/batches", content=b"x")
        assert again.json()[0]["errorCode"] == "INVALIDJOBSTATE"  # one upload for each job
        assert close(http, first) == ["InProgress", "JobComplete"]
        done = http.get(f"/jobs/ingest/{first}/successfulResults/").text
        assert (
            done.splitlines()[0]
            == '"sf__Id","sf__Created","External_ID_vod__c","Account_vod__c","Segment__c"'
        )
        assert done.count('"true"') == 2
        # an empty cell leaves the value, #N/A takes it away
        close(http, ingest(http, "External_ID_vod__c,Segment__c\nk1,\nk2,#N/A\n"))
    rows = {r["External_ID_vod__c"]: r["Segment__c"] for r in org.store.rows("Product_Metrics_vod__c")}
    assert rows == {"k1": "A", "k2": None}


def test_what_makes_a_job_or_a_row_fail(org: SalesforceEmulator, url: str) -> None:
    one, _ = ids(org, "Account")
    with signed_in(url) as http:
        job = ingest(http, "External_ID_vod__c,Nope__c\nk1,x\n")
        assert close(http, job)[-1] == "Failed"
        assert "Field name not found : Nope__c" in http.get(f"/jobs/ingest/{job}").json()["errorMessage"]
        job = ingest(http, "External_ID_vod__c,Segment__c\r\nk1,x\r\n")
        assert close(http, job)[-1] == "Failed"  # the line ending must match
        lines = [
            f"k1,{one},x",
            f"k1,{one},y",
            f"k3,{one},{'z' * 121}",
            "k4,,x",
            f"k5,{one}",
            f"k6,{one},fine",
        ]
        job = ingest(
            http,
            "External_ID_vod__c|Account_vod__c|Segment__c\r\n".replace("|", ",") + "\r\n".join(lines),
            lineEnding="CRLF",
        )
        assert close(http, job)[-1] == "JobComplete"
        said = http.get(f"/jobs/ingest/{job}/failedResults/").text
    for code in ("DUPLICATE_EXTERNAL_ID", "STRING_TOO_LONG", "REQUIRED_FIELD_MISSING", "INVALID_ROW"):
        assert code in said
    assert [r["External_ID_vod__c"] for r in org.store.rows("Product_Metrics_vod__c")] == ["k6"]


def test_a_job_that_fails_half_way_tells_what_it_left(org: SalesforceEmulator, url: str) -> None:
    one, _ = ids(org, "Account")
    with signed_in(url) as http:
        rows = "\n".join(f"k{n},{one},x" for n in range(10))
        job = ingest(http, f"External_ID_vod__c,Account_vod__c,Segment__c\n{rows}\n")
        org.schedule.faults.append(Fault("fail"))
        assert close(http, job)[-1] == "Failed"
        left = http.get(f"/jobs/ingest/{job}/unprocessedrecords/").text.splitlines()
        assert len(left) == 6 and len(org.store.rows("Product_Metrics_vod__c")) == 5
        # aborted before it starts: every row is unprocessed
        job = ingest(http, f"External_ID_vod__c,Account_vod__c,Segment__c\n{rows}\n")
        assert http.patch(f"/jobs/ingest/{job}", json={"state": "Aborted"}).json()["state"] == "Aborted"


# collections, queries, triggers ----------------------------------------------------------------------


def test_collections_keep_the_order_and_write_all_or_none(org: SalesforceEmulator, url: str) -> None:
    one, two = ids(org, "Account")
    path = "/composite/sobjects/Product_Metrics_vod__c/External_ID_vod__c"

    def records(*rows: tuple[str, str]) -> list[dict[str, Any]]:
        kind = {"attributes": {"type": "Product_Metrics_vod__c"}}
        return [kind | {"External_ID_vod__c": k, "Account_vod__c": a} for k, a in rows]

    with signed_in(url) as http:
        rows = records(("a", one), ("b", "001000000000000AAA"), ("c", two))
        told = http.patch(path, json={"allOrNone": True, "records": rows}).json()
        assert [r["success"] for r in told] == [False] * 3
        assert [r["errors"][0]["statusCode"] for r in told][1:] == [
            "INVALID_CROSS_REFERENCE_KEY",
            "ALL_OR_NONE_OPERATION_ROLLED_BACK",
        ]
        assert org.store.rows("Product_Metrics_vod__c") == []
        told = http.patch(path, json={"allOrNone": False, "records": rows}).json()
        assert [r["success"] for r in told] == [True, False, True] and told[0]["created"]
        known = {
            "attributes": {"type": "Product_Metrics_vod__c"},
            "External_ID_vod__c": "c",
        }  # its account stays
        told = http.patch(path, json={"records": [*records(("a", one), ("a", one)), known]}).json()
        assert [r["success"] for r in told] == [False, False, True] and not told[2]["created"]
        assert http.patch(path, json={"records": records(*[("x", one)] * 201)}).status_code == 400
        both = [r["Id"] for r in org.store.rows("Product_Metrics_vod__c")]
        gone = http.delete("/composite/sobjects", params={"ids": ",".join(both)}).json()
        assert all(r["success"] for r in gone)
        assert (
            http.get("/query", params={"q": "SELECT count() FROM Product_Metrics_vod__c"}).json()["totalSize"]
            == 0
        )


def test_what_reps_do_sets_the_flags_of_a_suggestion(org: SalesforceEmulator, url: str) -> None:
    one, _ = ids(org, "Account")
    (rep,) = ids(org, "User")
    made, _ = org.store.save(
        "Suggestion_vod__c", {"OwnerId": rep, "Account_vod__c": one, "Title_vod__c": "x"}
    )
    with signed_in(url) as http:
        body = {"Suggestion_vod__c": made, "Record_Type_Name_vod__c": "Dismiss_vod"}
        assert http.post("/sobjects/Suggestion_Feedback_vod__c", json=body).status_code == 201
        (row,) = http.get(
            "/query",
            params={
                "q": "SELECT Dismissed_vod__c, Actioned_vod__c, Dismiss_Count_vod__c FROM Suggestion_vod__c"
            },
        ).json()["records"]
    assert (row["Dismissed_vod__c"], row["Actioned_vod__c"], row["Dismiss_Count_vod__c"]) == (1.0, None, 1.0)


@pytest.mark.parametrize(
    ("where", "keys"),
    [
        ("", "abcd"),
        ("WHERE Segment__c = 'it\\'s'", "b"),
        ("WHERE Segment_Strength__c >= 0.5 AND Segment__c != null", "bd"),
        ("WHERE Segment__c = null OR Segment_Strength__c < 0.5", "ac"),
        ("WHERE External_ID_vod__c IN ('a', 'd') AND Consent_Checked_At__c > 2026-01-01", "d"),
        ("WHERE (Segment__c LIKE 'th%') AND Account_vod__r.Name = 'HCP 1'", "d"),
        ("WHERE SystemModstamp > 2026-01-01T00:00:00.000Z ORDER BY External_ID_vod__c DESC LIMIT 2", "dc"),
        ("WHERE NOT External_ID_vod__c NOT IN ('c')", "c"),
    ],
)
def test_small_soql(org: SalesforceEmulator, url: str, where: str, keys: str) -> None:
    one, _ = ids(org, "Account")
    rows = {
        "a": (None, 0.1, "2025-01-01"),
        "b": ("it's", 0.5, None),
        "c": (None, 0.9, None),
        "d": ("that", 1, "2026-02-03"),
    }
    for key, (segment, strength, day) in rows.items():
        row = {"External_ID_vod__c": key, "Account_vod__c": one, "Segment__c": segment}
        org.store.save(
            "Product_Metrics_vod__c", row | {"Segment_Strength__c": strength, "Consent_Checked_At__c": day}
        )
    with signed_in(url) as http:
        asked = f"SELECT External_ID_vod__c FROM Product_Metrics_vod__c {where}"
        found = http.get("/query", params={"q": asked}).json()
        assert "".join(r["External_ID_vod__c"] for r in found["records"]) == keys
        for wrong in (
            "SELECT FROM",
            "SELECT Nope FROM Account",
            "SELECT Id FROM Nope",
            "SELECT Id FROM Account WHERE Id ~ 1",
        ):
            assert http.get("/query", params={"q": wrong}).status_code == 400


def test_exports_fill_the_store_and_a_file_keeps_it(tmp_path: Path) -> None:
    (tmp_path / "Account.csv").write_text(
        "Id,Name,SystemModstamp,Odd__c,RecordType.DeveloperName\n"
        "0015g0000000001AAA,=1+1,2026-01-02T00:00:00.000Z,new,Y\n"
        "0015g0000000001AAA,=1+1,2026-01-01T00:00:00.000Z,old,Y\n"
    )
    (tmp_path / "Call2_vod__c.csv").write_text(
        "Id,Status_vod__c,RecordTypeId,RecordType.DeveloperName\na07000000000001,Submitted_vod,0125g0000000001AAA,Brief_vod\n"
    )
    (tmp_path / "Survey.csv").write_text("account,answer\n1,yes\n")  # no object: it has no ids
    store = new_org(path=tmp_path / "org.db")
    assert load_extracts(store, tmp_path) == {"Account": 1, "Call2_vod__c": 1}
    store.close()
    again = new_org(path=tmp_path / "org.db")
    assert (again.row("Account", "0015g0000000001AAA") or {})["Odd__c"] == "new"
    assert again.rows("Call2_vod__c")[0]["Status_vod__c"] == "Submitted_vod"
    kind = again.row("RecordType", "0125g0000000001AAA") or {}
    assert (kind["DeveloperName"], kind["SobjectType"]) == ("Brief_vod", "Call2_vod__c")
    again.close()
    with pytest.raises(JobError, match="no CSV"):
        load_extracts(again, tmp_path / "nowhere")


# faults ----------------------------------------------------------------------------------------------


def test_faults_strike_where_they_are_told(org: SalesforceEmulator, url: str) -> None:
    one, _ = ids(org, "Account")
    body = {"External_ID_vod__c": "k", "Account_vod__c": one}
    path = "/sobjects/Product_Metrics_vod__c"
    with signed_in(url) as http:
        httpx.post(f"{url}/emulator/faults", json=[{"kind": "429"}, {"kind": "500"}])
        assert http.get("/limits").headers["retry-after"] == "1"
        assert http.get("/limits").status_code == 500
        for kind, written in (("reset", 0), ("timeout", 0), ("lost", 1)):
            httpx.post(f"{url}/emulator/faults", json={"kind": kind, "seconds": 0, "path": "sobjects"})
            with pytest.raises(httpx.TransportError):
                http.post(path, json=body)
            assert len(org.store.rows("Product_Metrics_vod__c")) == written
        httpx.post(f"{url}/emulator/faults", json={"kind": "cut"})
        with pytest.raises(httpx.RemoteProtocolError):
            http.get("/limits")
        httpx.post(f"{url}/emulator/faults", json={"kind": "rows", "share": 1.0})
        assert (
            http.post(path, json=body | {"External_ID_vod__c": "l"}).json()[0]["errorCode"]
            == "SERVER_UNAVAILABLE"
        )
        httpx.post(f"{url}/emulator/faults", json={"kind": "expired"})
        assert http.get("/limits").json()[0]["errorCode"] == "INVALID_SESSION_ID"
        told = httpx.get(f"{url}/emulator/requests").json()
        assert [s[2] for s in told["struck"]] == [
            "429",
            "500",
            "reset",
            "timeout",
            "lost",
            "cut",
            "rows",
            "expired",
        ]
        assert httpx.post(f"{url}/emulator/faults", json={"kind": "nope"}).status_code == 400
        assert httpx.get(f"{url}/emulator/objects").json()["Account"] == 2


def test_chance_with_a_seed_strikes_the_same_requests_again() -> None:
    def struck(seed: int) -> list[Any]:
        schedule = Schedule(seed=seed, rate=0.2)
        for _ in range(100):
            schedule.next("GET", "/x")
        return schedule.struck

    assert struck(1) == struck(1) != struck(2)
    assert 8 <= len(struck(1)) <= 35
    with pytest.raises(JobError, match="no fault"):
        Schedule(kinds=("nope",))


# Vault -----------------------------------------------------------------------------------------------


@pytest.fixture
def vault() -> Iterator[VaultEmulator]:
    found = VaultEmulator()
    found.store.save("account__v", {"external_id__v": "A1"})
    found.store.save("user__sys", {"username__sys": "rep"})
    yield found
    found.close()


def test_vault_says_200_and_refuses_in_words(vault: VaultEmulator) -> None:
    with serving(vault) as url, httpx.Client(base_url=f"{url}/api/v24.3", timeout=5) as http:
        wrong = http.post("/auth", data={"username": "x", "password": "y"})
        assert (wrong.status_code, wrong.json()["responseStatus"]) == (200, "FAILURE")
        said = http.get("/metadata/vobjects/suggestion__v").json()
        assert said["errors"][0]["type"] == "INVALID_SESSION_ID"
        login = {"username": "loader@example.com", "password": "emulator"}
        http.headers["Authorization"] = http.post("/auth", data=login).json()["sessionId"]
        fields = {
            f["name"]: f for f in http.get("/metadata/vobjects/suggestion__v").json()["object"]["fields"]
        }
        assert fields["suggestion_external_id__v"]["unique"] and not fields["actioned__v"]["editable"]
        path = "/vobjects/product_metrics__v?idParam=external_id__v"
        rows = [{"external_id__v": f"k{n}", "account__v.external_id__v": "A1"} for n in range(3)]
        rows.append({"external_id__v": "bad", "account__v.external_id__v": "A2"})
        told = http.post(path, json=rows)
        assert "x-vaultapi-burstlimitremaining" in told.headers
        assert [r["responseStatus"] for r in told.json()["data"]] == ["SUCCESS"] * 3 + ["FAILURE"]
        assert [r.get("event") for r in told.json()["data"][:3]] == ["created"] * 3
        # one key twice fails the whole call; too many rows too
        assert http.post(path, json=[rows[0], rows[0]]).json()["responseStatus"] == "FAILURE"
        assert http.post(path, json=[rows[0]] * 501).json()["responseStatus"] == "FAILURE"
        csv = "external_id__v,segment__c\nk0,Readers\n"
        put = http.put(path, content=csv, headers={"Content-Type": "text/csv"}).json()
        assert put["data"][0]["event"] == "updated"
        asked = {
            "q": "SELECT external_id__v, segment__c FROM product_metrics__v WHERE segment__c = 'Readers'"
        }
        assert http.post("/query", data=asked).json()["data"] == [
            {"external_id__v": "k0", "segment__c": "Readers"}
        ]


def test_vault_pages_and_feedback(vault: VaultEmulator) -> None:
    account = vault.store.rows("account__v")[0]["id"]
    user = vault.store.rows("user__sys")[0]["id"]
    for n in range(1500):
        row = {"ownerid__v": user, "account__v": account, "record_type_name__v": "call__v"}
        vault.store.save(
            "suggestion__v", row | {"suggestion_external_id__v": f"s{n}", "priority__v": "urgent__v"}
        )
    one = vault.store.rows("suggestion__v")[0]["id"]
    vault.store.save("suggestion_feedback__v", {"suggestion__v": one, "record_type_name__v": "dismiss__v"})
    with serving(vault) as url, httpx.Client(base_url=url, timeout=5) as http:
        login = {"username": "loader@example.com", "password": "emulator"}
        http.headers["Authorization"] = http.post("/api/v24.3/auth", data=login).json()["sessionId"]
        first = http.post("/api/v24.3/query", data={"q": "SELECT id, priority__v FROM suggestion__v"}).json()
        assert first["responseDetails"]["size"] == 1000 and first["data"][0]["priority__v"] == ["urgent__v"]
        second = http.get(first["responseDetails"]["next_page"]).json()
        assert second["responseDetails"]["size"] == 500 and "next_page" not in second["responseDetails"]
        asked = {"q": "SELECT id FROM suggestion__v WHERE dismissed__v = 1 PAGESIZE 0"}
        assert http.post("/api/v24.3/query", data=asked).json()["responseDetails"]["total"] == 1
