"""The documents are true: README blocks run, every command has a page and an example, every job runs."""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner

from behavio.cli import COMMANDS, SHORT, cli
from docs.reference import TARGET, reference

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", README, flags=re.S)


def test_the_reference_is_the_help_of_the_commands() -> None:
    assert TARGET.read_text(encoding="utf-8") == reference(), "run make docs"


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_help_with_an_example(name: str) -> None:
    shown = CliRunner().invoke(cli, [name, "--help"])
    assert shown.exit_code == 0
    assert f"behavio {name}" in shown.output.partition("Example:")[2]
    assert name in SHORT


@pytest.fixture
def five_minutes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder with the README's own visits.csv."""
    (csv,) = blocks("csv")
    (tmp_path / "visits.csv").write_text(csv, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_readme_commands_run(five_minutes: Path) -> None:
    lines = [line for block in blocks("sh") for line in block.splitlines() if line.startswith("behavio ")]
    quick = [line for line in lines if "visits.csv" in line]
    assert len(quick) >= 4
    for line in quick:
        words = shlex.split(line.partition("#")[0])[1:]
        done = CliRunner().invoke(cli, words)
        assert done.exit_code == 0, f"{line}: {done.output} {done.exception}"


def test_readme_python_runs(five_minutes: Path) -> None:
    quick = [block for block in blocks("python") if "visits.csv" in block]
    assert quick
    for block in quick:
        names: dict[str, object] = {}
        exec(compile(block, "README.md", "exec"), names)
        assert "behavio" in names


def test_readme_names_only_commands_that_exist() -> None:
    for line in re.findall(r"^behavio (\w+)", "\n".join(blocks("sh")), flags=re.M):
        assert line in COMMANDS


GUIDES = sorted((ROOT / "docs" / "guides").glob("*.md"))


@pytest.mark.parametrize("guide", GUIDES, ids=lambda p: p.stem)
def test_guides_run(
    guide: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, real_log: Callable[[str], Path]
) -> None:
    """Blocks in their order: one with a file name is that file, python and sh are run.

    A guide that names real logs (<!-- log: FILE = NAME -->) gets them, and what its text blocks show must
    have been printed by the commands before.
    """
    monkeypatch.chdir(tmp_path)
    text = guide.read_text(encoding="utf-8")
    logs = re.findall(r"<!-- log: (\S+) = (\S+) -->", text)
    for file, log in logs:
        (tmp_path / file).symlink_to(real_log(log))
    monkeypatch.setenv("COLUMNS", "140")
    n_run, printed = 0, ""
    for language, name, block in re.findall(r"^```(\w+) ?(\S*)\n(.*?)^```", text, flags=re.S | re.M):
        if name:
            (tmp_path / name).write_text(block, encoding="utf-8")
        elif language == "python":
            exec(compile(block, guide.name, "exec"), {})
            n_run += 1
        elif language == "sh":
            printed = ""
            for line in block.splitlines():
                words = shlex.split(line.partition("#")[0])[1:]
                done = CliRunner().invoke(cli, words)
                assert done.exit_code == 0, f"{line}: {done.output} {done.exception}"
                printed += done.output
                n_run += 1
        elif language == "text" and logs:
            seen = {" ".join(line.split()) for line in printed.splitlines()}
            shown = [" ".join(line.split()) for line in block.splitlines() if line != "…"]
            assert not [line for line in shown if line not in seen], printed
    assert n_run


def test_the_guide_names_every_kind() -> None:
    from behavio.sources import built_in

    guide = (ROOT / "docs" / "guides" / "sources.md").read_text(encoding="utf-8")
    every = list(built_in())
    assert not [k for k in every if f"`{k}`" not in guide]
