"""The report: one page a brand manager reads, and the tables behind every number of it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from behavio.report.settings import ReportSettings

__all__ = ["ReportSettings", "write_report"]


def _quiet(what: str, share: float) -> None:
    """Tell nobody."""


def write_report(
    run: Path,
    settings: ReportSettings,
    folder: Path,
    progress: Callable[[str, float], None] = _quiet,
) -> dict[str, Any]:
    """Write report.html and tables/*.csv into `folder` from the tables of the run folder `run`.

    Only log/ must be there; a stage that has not run is said to be missing, with what it would take.
    The same tables give the same bytes. Raises RunError when there is no log.
    """
    from behavio.report.page import write

    return write(run, settings, folder, progress)
