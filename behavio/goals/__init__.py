"""Goals declared up front and what came of them; the run before held against what happened since."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from behavio.errors import JobError, LogError, RunError
from behavio.files import read_json, write_json
from behavio.goals.measure import GOALS, MET, NOT_MEASURABLE, NOT_MET, Sight, judged
from behavio.goals.settings import Goal, GoalSettings
from behavio.goals.since import PERSISTED, SUGGESTED, cut_of, files_of, persisted, suggested
from behavio.log import EventLog

__all__ = [
    "MET",
    "NOT_MEASURABLE",
    "NOT_MET",
    "Goal",
    "GoalSettings",
    "Goals",
    "files_of",
    "goals",
    "read_goals",
    "write_goals",
]
TABLES = ("goals", "suggested", "groups")


@dataclass(frozen=True, eq=False)
class Goals:
    """goals: a row per goal · suggested, groups: the run before against what happened since · notes."""

    goals: pl.DataFrame
    suggested: pl.DataFrame
    groups: pl.DataFrame
    notes: tuple[str, ...] = ()

    def to_frame(self) -> pl.DataFrame:
        """One row per goal."""
        return self.goals


def goals(
    log: EventLog, groups: pl.DataFrame | None, settings: GoalSettings, previous: Path | None = None
) -> Goals:
    """Measure every goal on a log; hold the run in `previous` against what happened after it.

    groups  case_id, segment
    Raises LogError without a clock or contacts, JobError for responses that are no activity.
    """
    if not log.timed:
        raise LogError("a log without a clock has no goals", hint="leave [goals] out")
    sight = Sight.of(log, groups, settings)
    rows = [judged(sight, goal, settings) for goal in settings.goal]
    table = pl.DataFrame(rows, schema=GOALS)
    after, same = pl.DataFrame(schema=SUGGESTED), pl.DataFrame(schema=PERSISTED)
    notes: list[str] = []
    if len(rows) > 1:
        notes.append(f"each of the {len(rows)} goals has a 95 % interval of its own")
    if previous is not None:
        cut = cut_of(previous)
        newest = sight.events["timestamp"].max()
        if newest is None or cut >= newest:  # type: ignore[operator]
            notes.append(f"nothing happened since the run before, which ends on {cut.date()}")
        else:
            after, said = suggested(sight, previous, cut)
            same, more = persisted(sight, previous, cut, groups)
            notes += [*said, *more]
        if after.height:
            notes.append("what was suggested was chosen, not drawn by lot: an association")
    return Goals(table, after, same, tuple(notes))


def write_goals(
    log: EventLog,
    groups: pl.DataFrame | None,
    settings: GoalSettings,
    folder: Path,
    progress: Callable[[str, float], None],
    previous: Path | None = None,
) -> dict[str, Any]:
    """goals.parquet, suggested.parquet, groups.parquet; facts.json with notes."""
    progress("goals", 0.0)
    try:
        found = goals(log, groups, settings, previous)
    except (LogError, JobError) as problem:
        if isinstance(problem, JobError):
            raise
        write_json(folder / "facts.json", {"notes": [f"{problem}: {problem.hint}"]})
        return {"rows_in": log.n_events, "rows_out": 0, "note": str(problem)}
    for name in TABLES:
        getattr(found, name).write_parquet(folder / f"{name}.parquet")
    write_json(folder / "facts.json", {"notes": list(found.notes)})
    counted = dict(found.goals.group_by("verdict").len().sort("verdict").iter_rows())
    return {"rows_in": log.n_events, "rows_out": found.goals.height, "verdicts": counted}


def read_goals(folder: Path) -> Goals:
    """What `write_goals` left. Raises RunError with its reason when there was nothing to say."""
    notes = read_json(folder / "facts.json")["notes"]
    if not (folder / "goals.parquet").is_file():
        raise RunError(notes[0], hint="look at behavio check")
    wanted, after, same = (pl.read_parquet(folder / f"{t}.parquet") for t in TABLES)
    return Goals(wanted, after, same, tuple(notes))
