"""Journeys and patterns: what follows what, what differs, what was planned, what stands out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl

from behavio import sources
from behavio.api.data import Data, Frame, Note, journeys, like, read, sequences_of, settings_of, split
from behavio.errors import JobError
from behavio.files import read_json
from behavio.folder import refuse_settings, run_folder, table_of
from behavio.log import EventLog
from behavio.sequences import SequenceSet

if TYPE_CHECKING:
    from behavio.conformance import Conformance, Plan
    from behavio.journeys import Journeys
    from behavio.journeys.compare import Comparison
    from behavio.journeys.drift import Drift
    from behavio.patterns import Matches


CUTS = {"sessions", "groups"}
"""Options that change what is counted, so that a run's own table does not answer."""


def graph(data: Data, *, eventually: bool = False, note: Note = lambda text: None, **options: Any) -> Frame:
    """Directly-follows graph: source, target, frequency, cases, median_s, mean_s, p90_s, …

    `eventually` counts any later event instead of the next one. `options` are `sessions` and `groups` as
    for `journeys`, and the column names; `note` hears what they did.
    """
    table = None
    if not (options.keys() & CUTS):
        path = "journeys/eventually.parquet" if eventually else "journeys/graph.parquet"
        table = table_of(data, path, options)
    if table is None:
        asked = _journeys(data, note, options)
        table = asked.eventually() if eventually else asked.graph().to_frame()
    return like(data, table)


def variants(data: Data, *, top: int | None = None, note: Note = lambda text: None, **options: Any) -> Frame:
    """Distinct traces, most frequent first, with their share of cases and coverage."""
    table = None
    if not (options.keys() & CUTS):
        table = table_of(data, "journeys/variants.parquet", options)
    if table is None:
        table = _journeys(data, note, options).variants().to_frame(top)
    return like(data, table if top is None else table.head(top))


def steps(data: Data, *, n: int = 10, note: Note = lambda text: None, **options: Any) -> Frame:
    """Step matrix as a table: step, activity, cases, share of all cases."""
    return like(data, _journeys(data, note, options).steps(n))


def funnel(
    data: Data,
    steps: Sequence[str],
    *,
    within: str | None = None,
    note: Note = lambda text: None,
    **options: Any,
) -> Frame:
    """How many cases take these steps in this order, within a time, and how long each takes."""
    return like(data, _journeys(data, note, options).funnel(steps, within))


def retention(data: Data, *, activities: Sequence[str] | None = None, **options: Any) -> Frame:
    """Cases by first month and months since; `activities` say what counts as being active."""
    return like(data, _journeys(data, lambda text: None, options).retention(activities))


def lifecycle(data: Data, *, activities: Sequence[str] | None = None, **options: Any) -> Frame:
    """How many cases are new, active, returned, dormant (90 days) and lost (a year), month by month."""
    asked = _journeys(data, lambda text: None, options)
    return like(data, asked.lifecycle(activities=activities))


def waits(data: Data, *, note: Note = lambda text: None, **options: Any) -> Frame:
    """How long each activity is waited for, and its share of all the time that passes."""
    return like(data, _journeys(data, note, options).waiting())


def rework(data: Data, *, note: Note = lambda text: None, **options: Any) -> Frame:
    """What cases come back to, and how often: at once, or after something else."""
    return like(data, _journeys(data, note, options).rework())


def _journeys(data: Data, note: Note, options: Mapping[str, Any]) -> Journeys:
    """The log as `journeys` gives it; a run folder is asked by its encoded log."""
    columns = {k: v for k, v in options.items() if k not in CUTS}
    folder = run_folder(data)
    if folder:
        refuse_settings(folder, columns)
    asked = journeys(data, **options)
    for text in asked.notes:
        note(text)
    return asked


def compare(
    data: Data,
    other: Data | None = None,
    *,
    split: str | None = None,
    last: str | None = None,
    by: str | None = None,
    values: tuple[str, ...] = (),
    **columns: Any,
) -> Comparison:
    """Two groups of cases side by side, with intervals and control for many tests.

    Either two logs or runs; or one, cut by `split` (a date: cases that began before it against later ones),
    by `last` (a length of time: the newest "91d" against as long before, the same cases in both) or by `by`
    (a column of cases or events, with one or two `values` of it).
    """
    from behavio.journeys import compare as side

    if sum(v is not None for v in (other, split, last, by)) != 1:
        hint = "behavio compare A B · --split 2025-07-01 · --last 91d · --by specialty"
        raise JobError("say what to compare: a second log, a date or a column", hint=hint)
    if other is not None:
        names = tuple(
            Path(str(d)).name if isinstance(d, str | Path) else n for d, n in ((data, "a"), (other, "b"))
        )
        return side.compare(sequences_of(data, columns), sequences_of(other, columns), names)  # type: ignore[arg-type]
    if last is not None:
        from behavio.journeys.periods import periods

        return periods(sequences_of(data, columns), last)
    if split is not None:
        moment = sources.moment(split)
        return side.compare(
            *side.split_at(sequences_of(data, columns), moment), (f"before {split}", f"from {split}")
        )
    from behavio.journeys.groups_of import groups_by

    folder, rules = run_folder(data), columns.pop("groups", None)
    log = EventLog.read(folder / "log") if folder else read(data, **columns)
    found = SequenceSet.from_log(log)
    found = found if rules is None else journeys(found, groups=rules).sequences
    names, a, b = groups_by(_with_segments(log, folder), str(by), found.case_ids, values)
    return side.compare(found.select(a), found.select(b), names)


def _with_segments(log: EventLog, folder: Path | None) -> EventLog:
    """The log with the segment of each case among its attributes, where the run has segments."""
    path = folder / "segments" / "segments.parquet" if folder else None
    if path is None or not path.is_file() or "segment" in log.cases.columns:
        return log
    labels = pl.read_parquet(path, columns=["case_id", "segment"])
    return replace(log, cases=log.cases.join(labels, on="case_id", how="left").sort("case_id"))


def drift(data: Data, *, every: str | None = None, seed: int = 7, **columns: Any) -> Drift:
    """When the journey changed, which steps, and since when; None of it by chance (permutation test)."""
    from behavio.journeys.drift import drift as look

    return look(sequences_of(data, columns), every, seed=seed)


def conform(
    data: Data,
    plan: str | Path | Mapping[str, Any] | Plan | None = None,
    *,
    rules: Sequence[str] = (),
    **options: Any,
) -> Conformance:
    """What was planned against what happened: cases, steps, deviations, attainment beside response.

    `plan` is a file (.toml, .bpmn, .pnml, a table of planned contacts) or the content of a .toml as a dict;
    `rules` are texts like "response(portal_visit, call_*) within 14d". `options` are those of [conformance]
    and the column names. A run without a plan given answers from its tables, else with its planned contacts.
    """
    from behavio import conformance as room

    folder = run_folder(data)
    if folder and plan is None and not rules and (folder / "journeys/conformance.parquet").is_file():
        refuse_settings(folder, options)
        return room.read_conformance(folder / "journeys")
    own, columns = split(room.ConformanceSettings, options)
    if folder:
        refuse_settings(folder, columns)
    settings = settings_of(room.ConformanceSettings, {**own, "rules": tuple(rules)})
    wanted = room.Plan()
    if isinstance(plan, room.Plan):
        wanted = plan
    elif isinstance(plan, Mapping):
        wanted = room.plan_of(plan)
    elif plan is not None:
        wanted = room.read_plan(Path(plan))
    elif folder and not rules:
        wanted = room.planned_contacts(folder / "log")
    return room.conform(sequences_of(data, columns), wanted, settings)


def rules(
    data: Data,
    *,
    min_support: float = 0.1,
    min_confidence: float = 0.9,
    templates: Sequence[str] | None = None,
    top: int | None = None,
    **columns: Any,
) -> Frame:
    """Declare rules with this support and confidence or more: template, activity, target, cases, …"""
    from behavio.conformance import discover_rules

    folder = run_folder(data)
    if folder:
        refuse_settings(folder, columns)
    found = discover_rules(sequences_of(data, columns), min_support, min_confidence, templates)
    return like(data, found if top is None else found.head(top))


def patterns(data: Data, *, top: int | None = None, seed: int = 7, **settings: Any) -> Frame:
    """Frequent subsequences with support, lift over chance and its interval.

    `settings` are those of [patterns] (min_support, max_length, …) and the column names. With `outcome` the
    table is what comes before it instead (columns of `behavio.patterns.OUTCOME_SCHEMA`).
    """
    what = "outcomes" if settings.get("outcome") else "patterns"
    table, _ = pattern_findings(data, what, seed=seed, **settings)
    return like(data, table if top is None else table.head(top))


def pattern_findings(
    data: Data, what: str = "patterns", *, seed: int = 7, **settings: Any
) -> tuple[pl.DataFrame, tuple[str, ...]]:
    """`patterns`, `outcomes` (needs outcome=…) or `communications`, with the notes that belong to them."""
    from behavio.patterns import PatternSettings, communications, find, precedes

    folder = run_folder(data)
    if folder:
        asked = settings.get("outcome") if what == "outcomes" else None
        table = table_of(
            data, f"patterns/{what}.parquet", {k: v for k, v in settings.items() if k != "outcome"}
        )
        assert table is not None
        held = table["outcome"].unique().sort().to_list() if asked is not None else []
        if asked is not None and held and asked not in held:
            raise JobError(
                f"{folder} holds what comes before {', '.join(held)}, not {asked!r}",
                hint="give the log itself, or change the job (behavio run … --set) and run it again",
            )
        notes = folder / "patterns/notes.json"
        return table, tuple(read_json(notes).get(what, ())) if notes.is_file() else ()
    own, columns = split(PatternSettings, settings)
    wanted: PatternSettings = settings_of(PatternSettings, own)
    sequences = sequences_of(data, columns)
    if what == "communications":
        sent = communications(sequences, wanted)
        return sent.frame, sent.notes
    if what == "outcomes":
        before = precedes(sequences, str(wanted.outcome), wanted)
        return before.frame, before.notes
    found = find(sequences, wanted, seed)
    return found.frame, found.notes


def match(data: Data, pattern: str, **columns: Any) -> Matches:
    """Who matches a pattern ("email_sent -> portal_visit within 14d, no call_f2f"), and who nearly does.

    The language is described in `behavio.patterns.language` and docs/guides/patterns-language.md.
    """
    import re

    from behavio.patterns import match as find
    from behavio.sequences import FIELDS

    asked = set(re.findall(r"[\[,]\s*([^\s\[\],=!~<>]+)\s*(?:=|!=|~|<|>)", pattern)) - set(FIELDS)
    if isinstance(data, SequenceSet) or not asked:
        return find(sequences_of(data, columns), pattern)
    return find(SequenceSet.from_log(read(data, **columns), (*FIELDS, *sorted(asked))), pattern)
