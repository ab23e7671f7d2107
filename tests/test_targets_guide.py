"""The guide is true: its curl walk-through runs, its columns are those of the mappings."""

from __future__ import annotations

import os
import re
import shutil
import sqlite3
import subprocess
from pathlib import Path

import pytest

from behavio.targets.emulator import SalesforceEmulator, serving
from behavio.targets.facts import NAMES
from behavio.targets.mapping import load_mapping, ready_made
from behavio.targets.sql import SqlCrm

GUIDE = (Path(__file__).parents[1] / "docs" / "guides" / "crm.md").read_text(encoding="utf-8")


def block(language: str) -> str:
    (found,) = re.findall(rf"^```{language}\n(.*?)^```", GUIDE, flags=re.S | re.M)
    return str(found)


def test_the_walk_through_with_curl(tmp_path: Path) -> None:
    if shutil.which("curl") is None:
        pytest.skip("curl is not installed")
    org = SalesforceEmulator()
    with serving(org) as url:
        env = os.environ | {"SALESFORCE_URL": url}
        done = subprocess.run(
            ["bash", "-eu", "-c", block("bash")], env=env, capture_output=True, text=True, timeout=60
        )
    assert done.returncode == 0, done.stderr
    assert '"sf__Created"' in done.stdout and "MALFORMED_ID" in done.stdout
    assert '"Segment__c": "Portal readers"' in done.stdout and '"SERVER_UNAVAILABLE"' in done.stdout
    assert [r["Segment__c"] for r in org.store.rows("Product_Metrics_vod__c")] == ["Portal readers"]
    org.close()


def test_the_guide_names_every_column_an_admin_must_make() -> None:
    for name in ready_made():
        mapping = load_mapping(name)
        assert f"`{name}`" in GUIDE
        for one in mapping.objects:
            if mapping.system == "sql":
                continue
            assert f"`{one.object}`" in GUIDE
            own = [c for c in one.names if c.endswith("__c") and not c.endswith("_vod__c") and "." not in c]
            assert not [c for c in own if f"`{c}`" not in GUIDE]


def test_the_tables_of_the_guide_fit_the_sql_mapping(tmp_path: Path) -> None:
    with sqlite3.connect(tmp_path / "x.db") as connection:
        connection.executescript(block("sql"))
    connection.close()
    from behavio.targets.preflight import preflight

    crm = SqlCrm(f"sqlite:///{tmp_path / 'x.db'}")
    assert preflight(load_mapping("sql"), crm) == []
    crm.close()
    assert "case_id" in NAMES
