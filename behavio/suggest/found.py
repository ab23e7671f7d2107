"""What earlier stages of a run found and suggestions use."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import polars as pl

from behavio.errors import JobError
from behavio.suggest.settings import SuggestSettings


@dataclass(frozen=True, eq=False)
class Found:
    """Tables of a run; None where the run has no such stage.

    stages    stages/stages.parquet: where each case stands
    moves     stages/moves.parquet: every step up or back
    pressure  pressure/cases.parquet: contacts today and the band of the case's group
    previous  suggestions/suggestions.parquet of an earlier run
    """

    stages: pl.DataFrame | None = None
    moves: pl.DataFrame | None = None
    pressure: pl.DataFrame | None = None
    previous: pl.DataFrame | None = None


def files_of(settings: SuggestSettings, base: Path) -> list[tuple[str, Path]]:
    """The files the settings name, by the name the job gives them."""
    found = []
    if settings.policy is not None:
        found.append((settings.policy, base / settings.policy))
    if settings.previous is not None:
        found.append((settings.previous, _table(base / settings.previous)))
    if settings.holdout is not None:
        found.append((settings.holdout, base / settings.holdout))
    return [(name, path) for name, path in found if path.is_file()]


def read_previous(settings: SuggestSettings, base: Path) -> pl.DataFrame | None:
    """The suggestions of the earlier run that the settings name: its folder, or the table itself.

    JobError when there are none.
    """
    if settings.previous is None:
        return None
    table = _table(base / settings.previous)
    if not table.is_file():
        raise JobError(
            f"there are no suggestions in {base / settings.previous}",
            hint="previous names the folder of a finished run",
        )
    return pl.read_parquet(table)


def _table(path: Path) -> Path:
    return path / "suggestions" / "suggestions.parquet" if path.is_dir() else path
