"""A run folder as one that asks meets it: what it holds, and what may still be set."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import polars as pl

from behavio.errors import JobError, RunError


def run_folder(data: Any) -> Path | None:
    """The folder when `data` names a run, even an unfinished one with a log; else None."""
    if not isinstance(data, str | Path):
        return None
    folder = Path(data)
    if (folder / "manifest.json").is_file() and (folder / ".stages").is_dir():
        needed(folder, "log/events.parquet")
    return folder if (folder / "log" / "events.parquet").is_file() else None


def checked_run(folder: str | Path) -> Path:
    """The folder of a finished run; RunError when it is none."""
    from behavio.run import read_manifest

    read_manifest(Path(folder))
    return Path(folder)


def table_of(data: Any, table: str, settings: Mapping[str, Any]) -> pl.DataFrame | None:
    """The table of a run folder; None when `data` is a log. RunError when the run lacks it."""
    folder = run_folder(data)
    if folder is None:
        return None
    refuse_settings(folder, settings)
    return pl.read_parquet(needed(folder, table))


def encoded_folder(data: Any) -> bool:
    """True when `data` names a folder that `encode` left."""
    folder = Path(data) if isinstance(data, str | Path) else None
    return folder is not None and (folder / "tokens.npy").is_file()


def refuse_settings(folder: Path, settings: Mapping[str, Any]) -> None:
    """A run answers as it was made: a setting that would change nothing is an error."""
    if settings:
        what = "an encoded log" if encoded_folder(folder) else "a finished run"
        raise JobError(
            f"{folder} is {what}: {', '.join(settings)} would change nothing",
            hint="give the log itself, or change the job (behavio run … --set) and run it again",
        )


def needed(folder: Path, table: str) -> Path:
    """The path of a table of a run; RunError that says which stage makes it when it is not there."""
    path = folder / table
    if not path.is_file():
        stage = table.partition("/")[0]
        removed = (folder / ".stages" / f"{stage}.json").is_file()
        hint = (
            "it was removed: run the job again, which makes only that stage anew"
            if removed
            else f"its job does not have that stage: add it and run ({stage})"
        )
        raise RunError(f"{folder} has no {table}", hint=hint)
    return path
