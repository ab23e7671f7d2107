"""`behavio suggestions` as typed."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from oracles_suggest import log_of, opt_in
from test_suggest import LOOSE, world

from behavio.cli import cli
from behavio.errors import RunError
from behavio.suggest import write_suggestions


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("run")
    log = log_of(world(n=80), consents=[opt_in(f"h{i:02d}") for i in range(80)])
    log.write(folder / "log")
    (folder / "suggestions").mkdir()
    settings = replace(LOOSE, min_evidence=30)
    write_suggestions(log, None, None, None, settings, 7, folder / "suggestions")  # type: ignore[arg-type]
    (folder / "manifest.json").write_text("{}")
    return folder


def typed(*words: str) -> Result:
    return CliRunner().invoke(cli, ["suggestions", *words])


def test_suggestions_are_printed_with_their_reason(run: Path) -> None:
    found = typed(str(run))
    assert found.exit_code == 0 and "reason" in found.output and "call_f2f" in found.output
    rows = typed(str(run), "--csv").output.splitlines()
    assert rows[0].startswith("suggestion_id,case_id,rank,action") and "hand:" in rows[1]
    held = json.loads(typed(str(run), "--suppressed", "--json").output)
    assert {"case_id", "action", "reason", "detail"} <= set(held[0])
    assert typed(str(run), "--plan").output.splitlines()[0].split()[:3] == ["case_id", "step", "due"]


def test_the_policy_is_told_with_its_overlap(run: Path) -> None:
    told = json.loads(typed(str(run), "--policy", "--json").output)
    assert (
        told["overlap"]["effective_n"] > 0
        and told["doubly_robust"]["gain_low"] <= told["doubly_robust"]["gain"]
    )
    words = typed(str(run), "--policy").output
    assert "doubly robust" in words and "overlap:" in words and "An association" in words


def test_a_table_the_run_does_not_have_says_what_it_wants(run: Path, tmp_path: Path) -> None:
    found = typed(str(run), "--watch")
    assert isinstance(found.exception, RunError) and "value_column" in found.exception.hint
    assert typed(str(run), "--conflicts").exit_code == 1
    assert typed(str(tmp_path)).exit_code != 0
