"""The stage: every table of suggestions, written whole or not at all."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl

from behavio.files import write_json
from behavio.log import EventLog
from behavio.sequences import SequenceSet
from behavio.suggest.found import Found
from behavio.suggest.make import make_suggestions, make_tables
from behavio.suggest.settings import SuggestSettings
from behavio.suggest.tables import OnDisk


def write_suggestions(
    log: EventLog,
    sequences: SequenceSet,
    next_steps: pl.DataFrame | None,
    segments: pl.DataFrame | None,
    settings: SuggestSettings,
    seed: int,
    folder: Path,
    progress: Callable[[str, float], None] = lambda what, share: None,
    found: Found | None = None,
) -> dict[str, Any]:
    """Write the tables of `Suggestions` as Parquet; return facts for the closing summary.

    Nothing here is random: `seed` is taken because every stage takes it, `sequences` likewise. Errors:
    JobError for an objective, action or column that the log does not have.
    """
    with OnDisk(folder) as keep:
        facts = make_tables(log, next_steps, segments, settings, progress, found or Found(), keep)
    if "policy" in facts:
        write_json(folder / "policy.json", facts["policy"])
    progress("suggestions", 1.0)
    return facts


def suggest(
    log: EventLog,
    next_steps: pl.DataFrame | None,
    segments: pl.DataFrame | None,
    settings: SuggestSettings,
    progress: Callable[[str, float], None] = lambda what, share: None,
    found: Found | None = None,
) -> tuple[pl.DataFrame, pl.DataFrame, dict[str, Any]]:
    """Suggestions, suppressions and facts of a log."""
    made = make_suggestions(log, next_steps, segments, settings, progress, found or Found())
    return made.tables["suggestions"], made.tables["suppressed"], made.facts
