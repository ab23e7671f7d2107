"""One line of a model card."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from behavio.files import read_json


@dataclass(frozen=True, slots=True)
class Line:
    """part and what it is about, in words; value: the number or list behind it, None where there is none."""

    part: str
    what: str
    text: str
    value: Any = None


def told(run: Path, file: str) -> dict[str, Any]:
    """A JSON table of the run, empty where a stage left none."""
    path = run / file
    return dict(read_json(path)) if path.is_file() else {}


def table(run: Path, file: str) -> pl.DataFrame | None:
    """A Parquet table of the run, None where a stage left none."""
    path = run / file
    return pl.read_parquet(path) if path.is_file() else None
