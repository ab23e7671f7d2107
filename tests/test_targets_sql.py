"""Labels and suggestions in SQL tables: SQLite everywhere, a real PostgreSQL server where there is one."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Any

import pytest
from crm_world import DAY, account, rep, suggestion, write_run
from test_sources_database import PASSWORD, Server, server  # noqa: F401 - a fixture

from behavio.errors import DeliveryError, JobError
from behavio.targets.delivery import Delivery, deliver_to, home_of
from behavio.targets.mapping import load_mapping
from behavio.targets.receipts import CrmReceipt
from behavio.targets.rollback import roll_back
from behavio.targets.settings import DeliverSettings
from behavio.targets.sql import SqlCrm

pytest.importorskip("sqlalchemy", reason="the sql extra is not installed")

TABLES = """
CREATE TABLE behavio_labels (case_id VARCHAR(40) PRIMARY KEY, segment VARCHAR(80), strength NUMERIC(6,4),
    run_id TEXT, model_version TEXT, note TEXT);
CREATE TABLE behavio_suggestions (suggestion_id VARCHAR(40) PRIMARY KEY, case_id TEXT NOT NULL,
    owner_id TEXT NOT NULL, title VARCHAR(120) NOT NULL, reason TEXT, priority TEXT,
    posted DATE, expires_on DATE, run_id TEXT, model_version TEXT);
"""


@pytest.fixture(params=["sqlite", "postgresql"])
def crm(request: pytest.FixtureRequest, tmp_path: Path) -> Any:
    """A database with the two empty tables."""
    if request.param == "sqlite":
        with sqlite3.connect(tmp_path / "crm.db") as connection:
            connection.executescript(TABLES)
        connection.close()
        made = SqlCrm(f"sqlite:///{tmp_path / 'crm.db'}")
    else:
        found: Server = request.getfixturevalue("server")
        found.psql("DROP TABLE IF EXISTS behavio_labels; DROP TABLE IF EXISTS behavio_suggestions;" + TABLES)
        made = SqlCrm.from_environment({"SQL_URL": found.url, "SQL_PASSWORD": PASSWORD})
        assert PASSWORD not in made.address and "boss" not in made.address
    yield made
    made.close()


def deliver(crm: SqlCrm, run: Path, home: Path, **settings: Any) -> CrmReceipt:
    wanted = DeliverSettings(target="sql", **{"dry_run": False, **settings})
    return deliver_to(Delivery(run, home_of(home, "sql"), crm, load_mapping("sql"), wanted, lambda _: None))


def rows(crm: SqlCrm, table: str, *columns: str) -> list[tuple[str | None, ...]]:
    return sorted((row for page in crm.read(table, columns) for row in page.iter_rows()), key=str)


def test_upsert_diff_retire_and_rollback(crm: SqlCrm, tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", 5)
    assert deliver(crm, run, tmp_path, dry_run=True).create == 8
    assert rows(crm, "behavio_labels", "case_id") == []
    first = deliver(crm, run, tmp_path)
    assert (first.status, first.create, first.confirmed) == ("confirmed", 8, 8)
    assert deliver(crm, run, tmp_path).sent == 0
    assert rows(crm, "behavio_labels", "segment", "strength")[0] == ("=HYPERLINK(1)", "0.5500")
    reason = "Because, she said “yes”\n0 times."
    assert rows(crm, "behavio_suggestions", "reason", "expires_on")[0] == (reason, "2025-02-19")
    before = [rows(crm, t, *crm.fields(t)) for t in ("behavio_labels", "behavio_suggestions")]
    later = write_run(
        tmp_path / "later",
        5,
        segments=lambda i: (
            "Quick" if i == 0 else None if i == 1 else ("Late", "“Late” openers 🎁", "x", "y")[i - 1]
        ),
        suggestions=[suggestion(0, account(0), rep(0), reason="New."), suggestion(8, account(1), rep(1))],
    )
    second = deliver(crm, later, tmp_path)
    assert second.status == "confirmed"
    assert second.objects["behavio_suggestions"] == {"create": 1, "retire": 2, "update": 1}
    last = dict(rows(crm, "behavio_suggestions", "suggestion_id", "expires_on"))
    assert last["s000002"] == last["s000004"] == "2025-02-05" and last["s000008"] == "2025-02-19"
    mapping = load_mapping(str(Path(second.folder) / "mapping.toml"))
    settings = DeliverSettings(target="sql", dry_run=False)
    made = Delivery(run, home_of(tmp_path, "sql"), crm, mapping, settings, lambda _: None)
    done = roll_back(made, second, delete_created=True)
    assert done.status == "confirmed"
    assert [rows(crm, t, *crm.fields(t)) for t in ("behavio_labels", "behavio_suggestions")] == before


def test_a_row_that_is_refused_does_not_take_others_along(crm: SqlCrm, tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", 4)
    text = "CHECK (segment <> 'Readers')"
    with crm._engine.begin() as connection:
        if crm._engine.dialect.name == "postgresql":
            connection.exec_driver_sql(
                "ALTER TABLE behavio_labels ADD CONSTRAINT no CHECK (segment <> 'Readers')"
            )
        else:
            connection.exec_driver_sql("DROP TABLE behavio_labels")
            connection.exec_driver_sql(TABLES.split(";")[0].replace("note TEXT", f"note TEXT, {text}"))
    receipt = deliver(crm, run, tmp_path)
    assert (receipt.status, receipt.rejected, receipt.confirmed) == ("partial", 1, 5)
    assert "IntegrityError" in (Path(receipt.folder) / "rejected.csv").read_text(encoding="utf-8")


def test_a_table_that_is_not_there_or_has_no_key_is_told(crm: SqlCrm, tmp_path: Path) -> None:
    with crm._engine.begin() as connection:
        connection.exec_driver_sql("DROP TABLE behavio_labels")
        connection.exec_driver_sql("DROP TABLE behavio_suggestions")
        connection.exec_driver_sql("CREATE TABLE behavio_suggestions (suggestion_id TEXT, expires_on TEXT)")
    with pytest.raises(JobError) as caught:
        deliver(crm, write_run(tmp_path / "run", 3), tmp_path)
    for text in (
        "behavio_labels.: there is no such object",
        "rows cannot be found by it",
        "owner_id: there is no",
    ):
        assert text in str(caught.value)


def test_an_environment_that_is_incomplete_is_named() -> None:
    for env, message in (
        ({}, "lacks SQL_URL"),
        ({"SQL_URL": "nonsense"}, "no database URL"),
        ({"SQL_URL": "mysql://x/y"}, "is no target|no database URL"),
    ):
        with pytest.raises((JobError, DeliveryError), match=message):
            SqlCrm.from_environment(env)
    assert DAY.isoformat() == "2025-02-06"
