"""The page on the pattern language is true: its commands and its Python run and say what it says."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

from click.testing import CliRunner

from behavio.cli import cli

PAGE = (Path(__file__).parents[1] / "docs/guides/patterns-language.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}[^\n]*\n(.*?)```", PAGE, flags=re.S)


def test_the_page_runs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (csv,) = blocks("csv")
    Path("visits.csv").write_text(csv, encoding="utf-8")
    lines = [line for block in blocks("sh") for line in block.splitlines()]
    assert len(lines) >= 8
    said = {}
    for line in lines:
        done = CliRunner().invoke(cli, shlex.split(line)[1:])
        assert done.exit_code == 0, f"{line}: {done.output} {done.exception}"
        said[line] = done.output
    assert "1 of 4 cases match" in said[lines[0]] and "outside the time allowed" in said[lines[0]]
    assert "1 of 4 cases match" in said[lines[1]]
    assert "anna" in said[lines[2]] and "ben" in said[lines[2]] and "cleo" not in said[lines[2]]
    assert Path("openers.csv").read_text().count("\n") == 4
    for block in blocks("python"):
        names: dict[str, object] = {}
        exec(compile(block, "patterns-language.md", "exec"), names)
        assert names["found"].n_matching == 1  # type: ignore[attr-defined]
