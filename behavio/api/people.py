"""Groups and single cases: segments, stages, pressure, perceptions, holdouts, audiences, stories."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl

from behavio import sources
from behavio.api.data import Data, Frame, like, optional, read, settings_of, split
from behavio.errors import RunError
from behavio.files import read_json
from behavio.folder import checked_run, needed, refuse_settings, run_folder, table_of

if TYPE_CHECKING:
    from behavio.accounts import Accounts, AccountStory
    from behavio.audience import Audience
    from behavio.goals import Goals
    from behavio.holdout import Readout
    from behavio.perceptions import Combined, Perceptions
    from behavio.pressure import Pressure
    from behavio.segments.challenge import Challenge
    from behavio.stages import Stages
    from behavio.value import Value
    from behavio.view import CaseStory


def segments(data: Data, *, seed: int = 7, **settings: Any) -> Frame:
    """Groups of cases that interact alike: case_id, segment_id, segment, strength."""
    from behavio.segments import SegmentSettings, find_segments

    table = table_of(data, "segments/segments.parquet", settings)
    if table is None:
        own, columns = split(SegmentSettings, settings)
        table = find_segments(read(data, **columns), settings_of(SegmentSettings, own), seed=seed)
    return like(data, table)


def stages(data: Data, **settings: Any) -> Stages:
    """Where every case stands on the adoption ladder, every move, and the ladder itself."""
    from behavio import stages as room

    folder = run_folder(data)
    if folder:
        refuse_settings(folder, settings)
        needed(folder, "stages/facts.json")
        return room.read_stages(folder / "stages")
    own, columns = split(room.StageSettings, settings)
    return room.stages(read(data, **columns), settings_of(room.StageSettings, own))


def pressure(data: Data, *, seed: int = 7, **settings: Any) -> Pressure:
    """How answers depend on recent contact, per group of a run, and who gets too much or too little."""
    from behavio import pressure as room

    folder = run_folder(data)
    if folder and (folder / "pressure" / "facts.json").is_file():
        refuse_settings(folder, settings)
        return room.read_pressure(folder / "pressure")
    own, columns = split(room.PressureSettings, settings)
    groups = optional(folder, "segments/segments")
    return room.pressure(read(data, **columns), groups, settings_of(room.PressureSettings, own), seed)


def perceptions(
    data: Data, survey: str | Path | None = None, *, seed: int = 7, **settings: Any
) -> tuple[Perceptions, tuple[str, ...]]:
    """What a sample answered in market research, projected where behaviour tells it; and notes.

    survey  a table of case_id, question, answer (rater, timestamp), for a log or a run without one
    """
    from behavio import perceptions as room

    folder = run_folder(data)
    if folder and survey is None:
        refuse_settings(folder, settings)
        needed(folder, "perceptions/facts.json")
        return room.read_perceptions(folder / "perceptions"), ()
    own, columns = split(room.PerceptionSettings, settings)
    log = read(data, **columns)
    notes: tuple[str, ...] = ()
    if survey is not None:
        answers, notes = sources.read_survey(Path(survey))
        log = replace(log, survey=answers)
    vectors, labels = optional(folder, "models/embeddings"), optional(folder, "segments/segments")
    return room.perceptions(log, vectors, labels, settings_of(room.PerceptionSettings, own), seed), notes


def combined(folder: str | Path, research: float, *, seed: int = 7) -> Combined:
    """Profiles of a run's groups and its answers together; `research` is the weight of answers, 0 to 1."""
    from behavio import perceptions as room

    run = checked_run(folder)
    needed(run, "perceptions/facts.json")
    found = room.read_perceptions(run / "perceptions")
    labels = pl.read_parquet(needed(run, "segments/segments.parquet"))
    return room.combined(found.cases, found.questions, labels, research, seed)


def holdout(
    data: Data,
    out: str | Path,
    *,
    share: float = 0.1,
    by: Sequence[str] = (),
    day: date,
    seed: int = 7,
    **columns: Any,
) -> tuple[pl.DataFrame, int]:
    """Draw a group that is left alone into the file `out`, going on from what it holds; how many are new.

    by  columns of the cases, or "segment" for the segments of a run
    """
    from behavio import holdout as room

    log, folder, path = read(data, **columns), run_folder(data), Path(out)
    cases = log.cases.with_columns(pl.col("case_id").cast(pl.String))
    labels = optional(folder, "segments/segments")
    if "segment" in by and labels is not None and "segment" not in cases.columns:
        own = labels.select(pl.col("case_id").cast(pl.String), "segment")
        cases = cases.join(own, on="case_id", how="left")
    kept = room.read_holdout(path) if path.is_file() else None
    table = room.draw(cases, share=share, by=by, seed=seed, day=day, kept=kept)
    room.write_holdout(table, path)
    return table, table.height - (0 if kept is None else kept.height)


def readout(
    data: Data, drawn: str | Path, outcome: Sequence[str], since: date | None = None, **columns: Any
) -> Readout:
    """What contacts caused: those left alone by lot against the others, everybody as she was drawn."""
    from behavio import holdout as room

    return room.read_out(read(data, **columns), room.read_holdout(Path(drawn)), outcome, since)


def accounts(folder: str | Path) -> Accounts:
    """The accounts of a run: members, roles, coverage, what is missing, roles that answer together."""
    from behavio.accounts import read_accounts

    needed(checked_run(folder), "accounts/facts.json")
    return read_accounts(Path(folder) / "accounts")


def account(folder: str | Path, account_id: str) -> AccountStory:
    """One account of a run: its members and its journey."""
    from behavio.accounts import account_story

    needed(checked_run(folder), "accounts/facts.json")
    return account_story(Path(folder), account_id)


def accounts_log(data: Data, out: str | Path, **columns: Any) -> dict[str, int]:
    """Write the log of a run with accounts as cases (Parquet), for any other command; counts."""
    from behavio.accounts import by_account
    from behavio.files import whole_file

    log, counts = by_account(read(data, **columns))
    with whole_file(Path(out)) as draft:
        log.events.write_parquet(draft, compression="zstd")
    return counts


def value(folder: str | Path) -> Value:
    """What the cases of a run are worth beside how they behave; costs; a targeting policy."""
    from behavio.value import read_value

    needed(checked_run(folder), "value/facts.json")
    return read_value(Path(folder) / "value")


def goals(folder: str | Path) -> Goals:
    """The goals of a run: met, not met or not measurable; the run before against what happened since."""
    from behavio.goals import read_goals

    needed(checked_run(folder), "goals/facts.json")
    return read_goals(Path(folder) / "goals")


def segments_page(folder: str | Path) -> dict[str, Any]:
    """What a run says of its segments: sizes, names, what sets each apart, the curve of k, the proof."""
    return dict(read_json(needed(checked_run(folder), "segments/profiles.json")))


def segment_rules(folder: str | Path) -> dict[str, Any]:
    """The typing tool of a run: at most seven questions that tell the segment, with their accuracy."""
    path = checked_run(folder) / "segments" / "rules.json"
    needed(Path(folder), "segments/segments.parquet")
    if not path.is_file():
        raise RunError(
            "this run has no rules: one segment, or too few cases", hint="look at behavio segments"
        )
    return dict(read_json(path))


def challenge(folder: str | Path, other: str, *, seed: int = 7) -> Challenge:
    """Another segmentation beside that of a run.

    other  a file of case_id and segment, a column of the cases, another number of segments ("5"), or
           another kind ("kmeans")
    """
    from behavio.segments.asked import challenged

    needed(checked_run(folder), "segments/segments.parquet")
    return challenged(Path(folder), other, seed)


def segment_alike(folder: str | Path, case: str, *, n: int = 10, seed: int = 7) -> Frame:
    """The cases of the same segment whose journeys are most like that of one case: case_id, distance."""
    from behavio.segments.asked import nearest

    needed(checked_run(folder), "segments/segments.parquet")
    return nearest(Path(folder), case, n, seed)


def segment_changes(folder: str | Path, other: str | Path) -> dict[str, Any] | None:
    """How the segments of one run became those of another: kept, split, merged, new, gone, and who moved.

    None unless both are runs with segments.
    """
    from behavio.segments.asked import changed

    runs = [r for r in (run_folder(folder), run_folder(other)) if r is not None]
    if len(runs) < 2 or not all((r / "segments" / "segments.parquet").is_file() for r in runs):
        return None
    return changed(runs[0], runs[1])


def view(folder: str | Path, case_id: str, queue: str = "commercial") -> CaseStory:
    """One case's whole story from a finished run, with the suggestions of a queue: commercial or medical."""
    from behavio.view import story

    return story(checked_run(folder), case_id, queue=queue)


def suggestions(folder: str | Path, table: str = "suggestions") -> pl.DataFrame:
    """A table of a run's suggestions.

    table  suggestions, suppressed, plan, missing, affinity or content; watch with a value column, conflicts
           with a channel policy, feedback and adherence with feedback in the log; medical and
           medical_suppressed, the queue of the medical team, where there is one
    """
    path = checked_run(folder) / "suggestions" / f"{table}.parquet"
    needed(Path(folder), "suggestions/suggestions.parquet")
    if not path.is_file():
        wants = {
            "watch": "name value_column in [suggest]",
            "conflicts": "name a policy in [suggest]",
            "medical": "no event is of the team medical: say so in the source, or name requests in [suggest]",
            "medical_suppressed": "no event is of the team medical",
            "feedback": "add a source of feedback, or name previous in [suggest]",
            "adherence": "add a source of feedback, or name previous in [suggest]",
        }
        raise RunError(f"this run has no table {table!r}", hint=wants.get(table, "run the job again"))
    return pl.read_parquet(path)


def policy(folder: str | Path) -> dict[str, Any]:
    """The off-policy estimate of a run: what the suggested actions would have brought, from the log alone."""
    return dict(read_json(needed(checked_run(folder), "suggestions/policy.json")))


def audience(folder: str | Path, where: str) -> Audience:
    """The cases of a finished run that fit a question (the WHERE of SQL), or a saved question's name."""
    from behavio import audience as room

    return room.audience(checked_run(folder), where)


def audience_columns(folder: str | Path) -> pl.DataFrame:
    """What a question about the cases of a run may name: column, meaning, example."""
    from behavio import audience as room

    return room.audience_columns(checked_run(folder))
