"""SQL databases: SQLite everywhere, a real PostgreSQL server where Debian's package is installed."""

from __future__ import annotations

import os
import shutil
import socket
import sqlite3
import subprocess
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import polars as pl
import pytest

from behavio.errors import BehavioError, JobError, LogError
from behavio.job import job_from
from behavio.run import run
from behavio.sources import CasesSettings, LogInputs, SourceSettings, query, read, read_log
from behavio.sources.database import Address

PASSWORD = "s3cret/word"
CALLS = [
    (1, "007", "call", "2025-01-02 09:30:00"),
    (2, "007", "email", "2025-01-03 00:00:00"),
    (3, "8", "call", None),
]


@pytest.fixture
def base(tmp_path: Path) -> Path:
    """A folder with calls.db: three calls, one without a time."""
    with sqlite3.connect(tmp_path / "calls.db") as con:
        con.execute(
            "CREATE TABLE calls (id INTEGER PRIMARY KEY, case_id TEXT, activity TEXT, timestamp TEXT)"
        )
        con.executemany("INSERT INTO calls VALUES (?, ?, ?, ?)", CALLS)
    con.close()
    return tmp_path


def log_of(base: Path, **settings):
    return read_log(LogInputs({"calls": SourceSettings(kind="sql", **settings)}, base))


def refused(base: Path, **settings) -> tuple[str, str]:
    with pytest.raises(BehavioError) as caught:
        log_of(base, **settings)
    assert caught.value.hint
    return str(caught.value), caught.value.hint


def test_sqlite_golden_table(base):
    # read 3 = 2 accepted + 1 without a time; rows by primary key
    log = log_of(base, url="sqlite:///calls.db", table="calls", keep=("id",))
    assert log.events.select("case_id", "activity", "id", "source_row").rows() == [
        ("007", "call", 1, 1),
        ("007", "email", 2, 2),
    ]
    assert log.rejected.select("file", "row", "reason").rows() == [
        ("sqlite:///calls.db calls", 3, "the time is empty")
    ]
    count = log.sources[0]
    assert (count.read, count.accepted, count.rejected, count.merged, count.kind) == (3, 2, 1, 0, "sql")
    assert not any("no primary key" in n for n in count.notes)


def test_sqlite_query_and_the_library(base):
    found = read(
        f"sqlite:///{base}/calls.db", query="SELECT * FROM calls WHERE activity LIKE 'c%' ORDER BY id DESC"
    )
    assert found.events["source_row"].to_list() == [2] and found.sources[0].read == 2
    with sqlite3.connect(base / "calls.db") as con:
        con.execute("CREATE VIEW latest AS SELECT * FROM calls")
    con.close()
    log = log_of(base, url="sqlite:///calls.db", table="latest")
    assert any("no primary key" in n for n in log.sources[0].notes)


def test_settings_that_cannot_be():
    for settings, message in (
        ({}, "needs the key url"),
        ({"url": "sqlite:///a.db"}, "neither is given"),
        ({"url": "sqlite:///a.db", "table": "t", "query": "q"}, "both are given"),
        ({"url": "sqlite:///a.db", "table": "t", "path": "a.csv"}, "path and url"),
        ({"url": "calls.db", "table": "t"}, "no database URL"),
        ({"url": f"postgresql://u:{PASSWORD}@host/db", "table": "t"}, "holds a password"),
        ({"url": "postgresql://host/db?password=x", "table": "t"}, "holds a password"),
    ):
        with pytest.raises(JobError, match=message) as caught:
            SourceSettings(kind="sql", **settings)
        assert PASSWORD not in str(caught.value) + caught.value.hint
    with pytest.raises(JobError, match="table needs a database"):
        SourceSettings(path="a.csv", table="t")


def test_what_goes_wrong_says_what_to_do(base):
    message, hint = refused(base, url="sqlite:///cals.db", table="calls")
    assert "no database file cals.db" in message and "did you mean 'calls.db'" in hint
    assert not (base / "cals.db").exists()
    message, hint = refused(base, url="sqlite:///calls.db", table="cals")
    assert "there is no table cals" in message and "did you mean 'calls'?" in hint
    message, hint = refused(base, url="sqlite:///calls.db", query="SELECT activty FROM calls")
    assert "there is no column activty" in message and "did you mean 'activity'?" in hint
    assert "cannot be read" in refused(base, url="sqlite:///calls.db", query="SELEKT 1")[0]
    assert "readonly" in refused(base, url="sqlite:///calls.db", query="DELETE FROM calls RETURNING *")[0]
    (base / "no.db").write_bytes(b"hello world, this is no database" * 100)
    assert "not a database" in refused(base, url="sqlite:///no.db", table="calls")[0]
    assert "has no row" in refused(base, url="sqlite:///calls.db", query="SELECT * FROM calls WHERE 0")[0]
    message, hint = refused(base, url="nosuchsql://host/db", table="calls")
    assert "no such kind of database" in message
    message, hint = refused(base, url="mysql+pymysql://host/db", table="calls")
    assert "the driver pymysql is not installed" in message and "pip install pymysql" in hint
    message, hint = refused(
        base, url="postgresql://u@localhost/db", table="t", password_env="NOT_SET_ANYWHERE"
    )
    assert "NOT_SET_ANYWHERE is not set" in message


def test_cells_of_several_kinds_stay_what_they_are(base, monkeypatch):
    monkeypatch.setattr(query, "BATCH", 2)  # the kind changes between batches and inside one
    with sqlite3.connect(base / "calls.db") as con:
        con.execute("CREATE TABLE odd (case_id, activity, timestamp, value, big, blob)")
        for case, value, big in ((7, 1.5, 2**60), (8, "007", 0.5), ("007", None, 3), (9, 2, None)):
            con.execute("INSERT INTO odd VALUES (?, 'a', '2025-01-01', ?, ?, x'00ff')", (case, value, big))
    con.close()
    log = log_of(base, url="sqlite:///calls.db", table="odd")
    rows = log.events.sort("source_row").select("case_id", "value", "big").rows()
    assert rows == [("7", "1.5", str(2**60)), ("8", "007", "0.5"), ("007", None, "3"), ("9", "2", None)]
    assert any("unreadable type left out: blob" in n for n in log.sources[0].notes)


def test_a_mapping_reads_a_database_too_and_only_its_columns(base, monkeypatch):
    with sqlite3.connect(base / "calls.db") as con:
        con.execute(
            "CREATE TABLE call2_vod__c (id TEXT PRIMARY KEY, account_vod__c TEXT, call_datetime_vod__c TEXT, "
            "status_vod__c TEXT, call_channel_vod__c TEXT, call_comments_vod__c TEXT)"
        )
        con.execute(
            "INSERT INTO call2_vod__c VALUES "
            "('c1', 'a1', '2025-01-02T09:30:00.000Z', 'Submitted_vod', 'Video', 'private')"
        )
    con.close()
    fetched = []
    monkeypatch.setattr(pl.DataFrame, "write_parquet", spy(pl.DataFrame.write_parquet, fetched))
    source = SourceSettings(kind="veeva.call", url="sqlite:///calls.db", table="call2_vod__c")
    log = read_log(LogInputs({"calls": source}, base))
    assert log.events.select("case_id", "activity").rows() == [("a1", "call_video")]
    wanted = ["id", "account_vod__c", "call_datetime_vod__c", "status_vod__c", "call_channel_vod__c"]
    assert fetched == [wanted]


def spy(method, columns):
    def told(self, *args, **kwargs):
        columns.append(self.columns)
        return method(self, *args, **kwargs)

    return told


def test_cases_from_a_database(base):
    with sqlite3.connect(base / "calls.db") as con:
        con.execute("CREATE TABLE hcp (case_id TEXT, region TEXT)")
        con.execute("INSERT INTO hcp VALUES ('007', 'North')")
    con.close()
    source = SourceSettings(kind="sql", url="sqlite:///calls.db", table="calls")
    cases = CasesSettings(kind="sql", url="sqlite:///calls.db", table="hcp")
    assert read_log(LogInputs({"calls": source}, base, cases)).cases.rows() == [("007", "North")]


def test_a_run_notices_changed_rows_and_reuses_unchanged_ones(base):
    table = {
        "source": {"calls": {"kind": "sql", "url": "sqlite:///calls.db", "table": "calls"}},
        "journeys": {},
    }
    job = job_from(table, name="job", base=base)
    first = run(job, base / "out")
    assert first.manifest["inputs"][0]["file"] == "sqlite:///calls.db calls"
    assert set(run(job, base / "out").reused) == {"log", "journeys", "card"}
    with sqlite3.connect(base / "calls.db") as con:
        con.execute("UPDATE calls SET activity = 'visit' WHERE id = 1")
    con.close()
    second = run(job, base / "out")
    assert second.reused == () and "visit" in second.table("log/events.parquet")["activity"].to_list()


# PostgreSQL ------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Server:
    port: int
    url: str

    def psql(self, text: str) -> None:
        import psycopg

        where = f"host=127.0.0.1 port={self.port} user=boss dbname=postgres"
        with psycopg.connect(where, password=PASSWORD, autocommit=True) as connection:
            connection.execute(text)


@pytest.fixture(scope="session")
def server() -> Iterator[Server]:
    """A PostgreSQL server of its own in a temporary folder; it refuses to run as root."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    if not found:
        pytest.skip("no PostgreSQL server on this machine (apt-get install postgresql)")
    folder = Path(tempfile.mkdtemp(prefix="behavio-pg-"))
    bin, user = found[-1].parent, None
    if os.geteuid() == 0:
        import pwd

        try:
            user = pwd.getpwnam("postgres")
        except KeyError:
            pytest.skip("the user postgres, who may run the server, is not there")
        os.chown(folder, user.pw_uid, user.pw_gid)
    as_user = {} if user is None else {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    (folder / "pw").write_text(PASSWORD)
    (folder / "pw").chmod(0o644)
    init = [bin / "initdb", "-D", folder / "data", "-U", "boss", "-A", "scram-sha-256", "--no-sync"]
    done = subprocess.run([*init, f"--pwfile={folder / 'pw'}"], capture_output=True, cwd=folder, **as_user)
    assert done.returncode == 0, done.stderr
    options = ["-p", str(port), "-k", folder, "-c", "listen_addresses=127.0.0.1", "-c", "fsync=off"]
    with (folder / "server.log").open("w") as talk:
        process = subprocess.Popen(
            [bin / "postgres", "-D", folder / "data", *options],
            stdout=talk,
            stderr=talk,
            cwd=folder,
            **as_user,
        )
        try:
            one = Server(port, f"postgresql://boss@127.0.0.1:{port}/postgres")
            _wait(one)
            yield one
        finally:
            process.terminate()
            process.wait(20)
            shutil.rmtree(folder, ignore_errors=True)


def _wait(server: Server) -> None:
    import psycopg

    for _ in range(100):
        try:
            return server.psql("SELECT 1")
        except psycopg.OperationalError:
            time.sleep(0.1)
    raise AssertionError("the server did not start")


@pytest.fixture
def pg(server: Server, monkeypatch) -> Server:
    monkeypatch.setenv("PG_PASSWORD", PASSWORD)
    server.psql("DROP SCHEMA IF EXISTS crm CASCADE; CREATE SCHEMA crm")
    server.psql(
        "CREATE TABLE crm.calls (id bigint PRIMARY KEY, case_id numeric(18,0), activity text, at timestamptz,"
        " amount numeric(12,2), tags jsonb, key uuid, photo bytea)"
    )
    server.psql("CREATE SEQUENCE crm.n")
    server.psql(
        "INSERT INTO crm.calls VALUES"
        " (2, 123456789012345678, 'b', '2025-07-01 12:00+02', 10.5, '[1]', gen_random_uuid(), '\\x00'),"
        " (1, 123456789012345678, 'a', '2025-01-01 12:00+01', 0.25, NULL, gen_random_uuid(), NULL),"
        " (3, 7, 'c', 'infinity', 3, NULL, NULL, NULL),"
        " (4, 7, 'd', '0044-03-15 BC', 3, NULL, NULL, NULL)"
    )
    return server


def pg_log(server: Server, **settings):
    given = {
        "url": server.url,
        "table": "crm.calls",
        "password_env": "PG_PASSWORD",
        "timestamp": "at",
    } | settings
    given = {k: v for k, v in given.items() if v is not None}
    return read_log(LogInputs({"calls": SourceSettings(kind="sql", **given)}, Path()))


def test_postgres_golden_table(pg):
    # by primary key: 1 (11:00 UTC), 2 (10:00 UTC), then two times no calendar holds, rejected
    log = pg_log(pg)
    assert log.events.select("case_id", "activity", "amount", "tags", "source_row").rows() == [
        ("123456789012345678", "a", 0.25, None, 1),
        ("123456789012345678", "b", 10.5, "[1]", 2),
    ]
    assert log.events["timestamp"].dt.strftime("%m-%d %H:%M").to_list() == ["01-01 11:00", "07-01 10:00"]
    assert log.rejected.select("row", "reason").rows() == [
        (3, "the time cannot be read"),
        (4, "the time cannot be read"),
    ]
    count = log.sources[0]
    assert (count.read, count.accepted, count.rejected) == (4, 2, 2)
    assert count.file == f"postgresql://127.0.0.1:{pg.port}/postgres crm.calls"


def test_postgres_typed_times_and_batches(pg, monkeypatch):
    monkeypatch.setattr(query, "BATCH", 100)
    log = pg_log(
        pg,
        table=None,
        query="SELECT 'c' || n % 7 AS case_id, 'a%' AS activity, "
        "timestamp '2025-01-01' + n * interval '1 hour' AS at, date '2025-01-01' + n AS day, n::numeric AS n "
        "FROM generate_series(1, 1050) n ORDER BY n",
    )
    assert log.n_events == 1050 and log.events.sort("source_row")["n"].to_list() == list(range(1, 1051))
    assert log.events.schema["day"].is_temporal() and log.sources[0].notes == (
        "times without a zone are taken as UTC",
    )


def test_postgres_refusals(pg, tmp_path, monkeypatch):
    def told(**settings) -> tuple[str, str]:
        with pytest.raises(LogError) as caught:
            pg_log(pg, **settings)
        assert caught.value.hint and PASSWORD not in str(caught.value) + caught.value.hint
        return str(caught.value), caught.value.hint

    message, hint = told(table="crm.cals")
    assert "there is no table crm.cals" in message and "did you mean 'crm.calls'?" in hint
    message, hint = told(table=None, query="SELECT activty FROM crm.calls")
    assert "there is no column activty" in message
    message, hint = told(table=None, query="SELECT case_id, activity FROM crm.cals")
    assert "there is no table crm.cals" in message
    assert "cannot be read" in told(table=None, query="DELETE FROM crm.calls RETURNING *")[0]
    writing = "SELECT case_id, activity, nextval('crm.n') AS at FROM crm.calls"
    assert "read-only transaction" in told(table=None, query=writing)[0]
    pg.psql("DROP ROLE IF EXISTS reader")
    pg.psql(f"CREATE ROLE reader LOGIN PASSWORD '{PASSWORD}'")
    other = pg.url.replace("boss", "reader")
    message, hint = told(url=other)
    assert "permission denied" in message and "SELECT" in hint
    monkeypatch.setenv("PG_PASSWORD", "wrong")
    message, hint = told()
    assert "refuses the user" in message and "password_env" in hint
    monkeypatch.setenv("PG_PASSWORD", PASSWORD)
    assert "does not exist" in told(url=pg.url.replace("/postgres", "/nowhere"))[0]
    assert "no connection" in told(url="postgresql://boss@127.0.0.1:9/postgres")[0]
    monkeypatch.setenv("PGPASSFILE", str(tmp_path / "pgpass"))
    (tmp_path / "pgpass").write_text(f"127.0.0.1:{pg.port}:*:boss:{PASSWORD}\n")
    (tmp_path / "pgpass").chmod(0o600)
    assert pg_log(pg, password_env=None).n_events == 2


def test_postgres_a_connection_that_breaks(pg, monkeypatch):
    # after the first batch of 10 rows the server ends every other connection
    monkeypatch.setattr(query, "BATCH", 10)
    real, seen = query._frame, []

    def frame(*args):
        if not seen:
            pg.psql(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                "WHERE pid <> pg_backend_pid() AND usename = 'boss'"
            )
        seen.append(1)
        return real(*args)

    monkeypatch.setattr(query, "_frame", frame)
    text = "SELECT n AS case_id, 'a' AS activity, now() AS at, repeat('x', 9000) t "
    text += "FROM generate_series(1, 5000) n"
    with pytest.raises(LogError, match="the connection broke after 10 rows") as caught:
        pg_log(pg, table=None, query=text)
    assert "run again" in caught.value.hint


def test_an_address_is_shown_without_user_and_options():
    address = Address("postgresql+psycopg://me@host:5433/crm?sslmode=require", table="calls")
    assert address.shown == "postgresql://host:5433/crm calls"
