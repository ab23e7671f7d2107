"""The library as people call it: one function per command, frames in and frames out.

`data` is a path of any log file, a run folder, a pandas, Polars or Arrow frame, or an EventLog. Column
names (`case_id`, `activity`, `timestamp`, `order`, `timezone`, …) go to `read` and are guessed when not
given. Tables come back as the kind of frame that was handed in, Polars for paths. A run folder answers
from its tables where it has them, so numbers are those of its report.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import date
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl

from behavio import sources
from behavio.errors import JobError, RunError
from behavio.files import read_json, write_json
from behavio.folder import checked_run, encoded_folder, needed, refuse_settings, run_folder, table_of
from behavio.log import EventLog
from behavio.sequences import SequenceSet

if TYPE_CHECKING:
    from behavio.audience import Audience
    from behavio.conformance import Conformance, Plan
    from behavio.erase import Erasure
    from behavio.holdout import Readout
    from behavio.journeys import Journeys
    from behavio.journeys.compare import Comparison
    from behavio.journeys.drift import Drift
    from behavio.models import Alike
    from behavio.patterns import Matches
    from behavio.perceptions import Perceptions
    from behavio.pressure import Pressure
    from behavio.report.serve import Server
    from behavio.run import Result, Watcher
    from behavio.segments.challenge import Challenge
    from behavio.stages import Stages
    from behavio.targets import CrmReceipt, Receipt
    from behavio.view import CaseStory

Frame = Any
Data = Any
Note = Callable[[str], None]
ASKED = ("as_of", "top", "min_history", "min_evidence")
"""Settings of models that say what is asked, not what is learnt."""
CUTS = {"sessions", "groups"}
"""Options that change what is counted, so that a run's own table does not answer."""


def read(data: Data, **columns: Any) -> EventLog:
    """An EventLog from a file, a run folder or a frame; wrong rows are kept in `.rejected`."""
    if isinstance(data, EventLog):
        return data
    folder = run_folder(data)
    if folder:
        refuse_settings(folder, columns)
        return EventLog.read(folder / "log")
    if encoded_folder(data):
        from behavio import encoding

        refuse_settings(Path(data), columns)
        return encoding.read_log(Path(data))
    if isinstance(data, str | Path) and str(data).endswith(".toml"):
        raise JobError(
            f"{data} is a job file, not a log", hint=f"behavio run {data}, then give its run folder"
        )
    return sources.read(data, **columns)


def encode(
    data: Data,
    out: str | Path | None = None,
    *,
    end: Sequence[str] = (),
    open_within: str | None = None,
    progress: Any = None,
    **columns: Any,
) -> SequenceSet:
    """The log as coded sequences, in the folder `out` or, without one, for this process only.

    Plain tables are streamed, so a log may be larger than memory. `end` and `open_within` say which cases are
    closed (see SequenceSet.open_cases). The folder answers every question that a log does.
    """
    from behavio import encoding
    from behavio.sources import LogSettings

    rule = LogSettings(keep_text=columns.pop("keep_text", False), end=tuple(end), open_within=open_within)
    target = None if out is None else Path(out)
    return encoding.encode(data, target, log=rule, progress=progress, **columns).sequences


def check(data: Data, **columns: Any) -> dict[str, Any]:
    """Data readiness of a log or of a job file (.toml): what is there, missing, rejected and why."""
    if isinstance(data, str | Path) and str(data).endswith(".toml"):
        from behavio.job import read_job

        return sources.readiness(sources.read_log(read_job(Path(data)).inputs))
    return sources.readiness(read(data, **columns))


def journeys(
    data: Data,
    *,
    sessions: str | None = None,
    groups: Mapping[str, str] | str | Path | int | None = None,
    **columns: Any,
) -> Journeys:
    """The log encoded once and ready to be asked about its journeys: graph, funnel, steps, retention, …

    `sessions` cuts cases at gaps ("30m"); `groups` are rules {"call_*": "rep contact"}, a file of them, or
    how many groups similar activities shall make.
    """
    from behavio.journeys import ask

    return ask(_sequences(data, columns), sessions, groups)


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
    return _like(data, table)


def variants(data: Data, *, top: int | None = None, note: Note = lambda text: None, **options: Any) -> Frame:
    """Distinct traces, most frequent first, with their share of cases and coverage."""
    table = None
    if not (options.keys() & CUTS):
        table = table_of(data, "journeys/variants.parquet", options)
    if table is None:
        table = _journeys(data, note, options).variants().to_frame(top)
    return _like(data, table if top is None else table.head(top))


def steps(data: Data, *, n: int = 10, note: Note = lambda text: None, **options: Any) -> Frame:
    """Step matrix as a table: step, activity, cases, share of all cases."""
    return _like(data, _journeys(data, note, options).steps(n))


def funnel(
    data: Data,
    steps: Sequence[str],
    *,
    within: str | None = None,
    note: Note = lambda text: None,
    **options: Any,
) -> Frame:
    """How many cases take these steps in this order, within a time, and how long each takes."""
    return _like(data, _journeys(data, note, options).funnel(steps, within))


def retention(data: Data, *, activities: Sequence[str] | None = None, **options: Any) -> Frame:
    """Cases by first month and months since; `activities` say what counts as being active."""
    return _like(data, _journeys(data, lambda text: None, options).retention(activities))


def lifecycle(data: Data, *, activities: Sequence[str] | None = None, **options: Any) -> Frame:
    """How many cases are new, active, returned, dormant (90 days) and lost (a year), month by month."""
    asked = _journeys(data, lambda text: None, options)
    return _like(data, asked.lifecycle(activities=activities))


def waits(data: Data, *, note: Note = lambda text: None, **options: Any) -> Frame:
    """How long each activity is waited for, and its share of all the time that passes."""
    return _like(data, _journeys(data, note, options).waiting())


def rework(data: Data, *, note: Note = lambda text: None, **options: Any) -> Frame:
    """What cases come back to, and how often: at once, or after something else."""
    return _like(data, _journeys(data, note, options).rework())


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
        return side.compare(_sequences(data, columns), _sequences(other, columns), names)  # type: ignore[arg-type]
    if last is not None:
        from behavio.journeys.periods import periods

        return periods(_sequences(data, columns), last)
    if split is not None:
        moment = sources.moment(split)
        return side.compare(
            *side.split_at(_sequences(data, columns), moment), (f"before {split}", f"from {split}")
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

    return look(_sequences(data, columns), every, seed=seed)


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
    own, columns = _split(room.ConformanceSettings, options)
    if folder:
        refuse_settings(folder, columns)
    settings = _settings(room.ConformanceSettings, {**own, "rules": tuple(rules)})
    wanted = room.Plan()
    if isinstance(plan, room.Plan):
        wanted = plan
    elif isinstance(plan, Mapping):
        wanted = room.plan_of(plan)
    elif plan is not None:
        wanted = room.read_plan(Path(plan))
    elif folder and not rules:
        wanted = room.planned_contacts(folder / "log")
    return room.conform(_sequences(data, columns), wanted, settings)


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
    found = discover_rules(_sequences(data, columns), min_support, min_confidence, templates)
    return _like(data, found if top is None else found.head(top))


def patterns(data: Data, *, top: int | None = None, seed: int = 7, **settings: Any) -> Frame:
    """Frequent subsequences with support, lift over chance and its interval.

    `settings` are those of [patterns] (min_support, max_length, …) and the column names. With `outcome` the
    table is what comes before it instead (columns of `behavio.patterns.OUTCOME_SCHEMA`).
    """
    what = "outcomes" if settings.get("outcome") else "patterns"
    table, _ = pattern_findings(data, what, seed=seed, **settings)
    return _like(data, table if top is None else table.head(top))


def pattern_findings(
    data: Data, what: str = "patterns", *, seed: int = 7, **settings: Any
) -> tuple[pl.DataFrame, tuple[str, ...]]:
    """`patterns`, `outcomes` (needs outcome=…) or `communications`, with the notes that belong to them."""
    from behavio.patterns import PatternSettings, communications, find, precedes

    folder = run_folder(data)
    if folder:
        table = table_of(data, f"patterns/{what}.parquet", settings)
        assert table is not None
        notes = folder / "patterns/notes.json"
        return table, tuple(read_json(notes).get(what, ())) if notes.is_file() else ()
    own, columns = _split(PatternSettings, settings)
    wanted: PatternSettings = _settings(PatternSettings, own)
    sequences = _sequences(data, columns)
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
        return find(_sequences(data, columns), pattern)
    return find(SequenceSet.from_log(read(data, **columns), (*FIELDS, *sorted(asked))), pattern)


def segments(data: Data, *, seed: int = 7, **settings: Any) -> Frame:
    """Groups of cases that interact alike: case_id, segment_id, segment, strength."""
    from behavio.segments import SegmentSettings, find_segments

    table = table_of(data, "segments/segments.parquet", settings)
    if table is None:
        own, columns = _split(SegmentSettings, settings)
        table = find_segments(read(data, **columns), _settings(SegmentSettings, own), seed=seed)
    return _like(data, table)


def stages(data: Data, **settings: Any) -> Stages:
    """Where every case stands on the adoption ladder, every move, and the ladder itself."""
    from behavio import stages as room

    folder = run_folder(data)
    if folder:
        refuse_settings(folder, settings)
        needed(folder, "stages/facts.json")
        return room.read_stages(folder / "stages")
    own, columns = _split(room.StageSettings, settings)
    return room.stages(read(data, **columns), _settings(room.StageSettings, own))


def pressure(data: Data, *, seed: int = 7, **settings: Any) -> Pressure:
    """How answers depend on recent contact, per group of a run, and who gets too much or too little."""
    from behavio import pressure as room

    folder = run_folder(data)
    if folder and (folder / "pressure" / "facts.json").is_file():
        refuse_settings(folder, settings)
        return room.read_pressure(folder / "pressure")
    own, columns = _split(room.PressureSettings, settings)
    groups = _optional(folder, "segments/segments")
    return room.pressure(read(data, **columns), groups, _settings(room.PressureSettings, own), seed)


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
    own, columns = _split(room.PerceptionSettings, settings)
    log = read(data, **columns)
    notes: tuple[str, ...] = ()
    if survey is not None:
        answers, notes = sources.read_survey(Path(survey))
        log = replace(log, survey=answers)
    vectors, labels = _optional(folder, "models/embeddings"), _optional(folder, "segments/segments")
    return room.perceptions(log, vectors, labels, _settings(room.PerceptionSettings, own), seed), notes


def _optional(folder: Path | None, name: str) -> pl.DataFrame | None:
    """A table of a run that may have none."""
    path = None if folder is None else folder / f"{name}.parquet"
    return pl.read_parquet(path) if path is not None and path.is_file() else None


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
    labels = _optional(folder, "segments/segments")
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


def predict(data: Data, *, model: str | Path | None = None, seed: int = 7, **settings: Any) -> Frame:
    """Next steps of every case: activity, probability, when (median and 80 % interval), evidence.

    A case with not enough history has one row of rank 0 that says so. `model` is a run whose models are
    asked instead of learning from `data`; ModelError where they do not fit it.
    """
    from behavio.models import ModelSettings, predict_next, predict_saved

    if model is not None:
        own, columns = _split(ModelSettings, settings)
        needed(Path(model), "models/metrics.json")
        idle = [name for name in own if name not in ASKED]
        if idle:
            raise JobError(
                f"{model} has learnt already: {', '.join(idle)} would change nothing",
                hint=f"leave it out (of use are {', '.join(ASKED)}), or leave out the model",
            )
        asked = _settings(ModelSettings, own)
        return _like(data, predict_saved(_sequences(data, columns), Path(model) / "models", asked))
    table = table_of(data, "next/next_steps.parquet", settings)
    if table is None:
        own, columns = _split(ModelSettings, settings)
        table = predict_next(_sequences(data, columns), _settings(ModelSettings, own), seed=seed)
    return _like(data, table)


def within(data: Data, *, seed: int = 7, **settings: Any) -> Frame:
    """The next 7, 30 and 90 days of every case: chance and expected number of each activity."""
    from behavio.models import ModelSettings, predict_within

    table = table_of(data, "next/horizons.parquet", settings)
    if table is None:
        own, columns = _split(ModelSettings, settings)
        table = predict_within(_sequences(data, columns), _settings(ModelSettings, own), seed=seed)
    return _like(data, table)


def evaluate(data: Data, *, seed: int = 7, **settings: Any) -> dict[str, Any]:
    """Every model against its baselines on the same held-out events.

    A run folder answers with its metrics.json. Of a log: without rules, one cut in time and the model that
    would be used; with any of the rules of `models.Protocol` (`split`, `column`, `end`, `first`,
    `min_prefix`, `seeds`, `models`, `fields`) all models under these rules, see `models.benchmark`.
    """
    from behavio import models

    folder = run_folder(data)
    if folder:
        refuse_settings(folder, settings)
        return dict(read_json(needed(folder, "models/metrics.json")))
    settings = {k: v for k, v in settings.items() if v is not None}
    known = models.Protocol.__dataclass_fields__
    rules = {k: v for k, v in settings.items() if k in known and k != "cut"}
    own, columns = _split(models.ModelSettings, {k: v for k, v in settings.items() if k not in rules})
    if not rules:
        return models.evaluate(_sequences(data, columns), _settings(models.ModelSettings, own), seed=seed)
    rules |= {k: v for k, v in own.items() if k == "cut"}
    protocol = _settings(models.Protocol, rules)
    chosen = _settings(models.ModelSettings, own)
    if isinstance(data, SequenceSet):
        return models.benchmark_log(data, protocol, chosen, seed)
    if not isinstance(data, EventLog):
        columns["keep"] = [*columns.get("keep", ()), *models.fields_asked(protocol)]
    return models.benchmark_log(read(data, **columns), protocol, chosen, seed)


def neighbours(data: Data, case_id: str, *, k: int = 100, within: str | None = None, **columns: Any) -> Alike:
    """What those did next who were lately where this case is now: `next`, `moments`, `sentence`.

    `k` cases are compared, each by its most similar moment; `within` looks only at the last "180d".
    """
    from behavio.models import find_alike

    return find_alike(_sequences(data, columns), case_id, k, within)


def view(folder: str | Path, case_id: str) -> CaseStory:
    """One case's whole story from a finished run."""
    from behavio.view import story

    return story(checked_run(folder), case_id)


def suggestions(folder: str | Path, table: str = "suggestions") -> pl.DataFrame:
    """A table of a run's suggestions.

    table  suggestions, suppressed, plan, missing, affinity or content; watch with a value column, conflicts
           with a channel policy, feedback and adherence with feedback in the log
    """
    path = checked_run(folder) / "suggestions" / f"{table}.parquet"
    needed(Path(folder), "suggestions/suggestions.parquet")
    if not path.is_file():
        wants = {
            "watch": "name value_column in [suggest]",
            "conflicts": "name a policy in [suggest]",
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


def run(
    job: str | Path,
    *,
    out: str | Path | None = None,
    changes: tuple[str, ...] = (),
    start: str | None = None,
    watcher: Watcher | None = None,
) -> Result:
    """Run a job file into `out` (default runs/<job>); unchanged stages are reused."""
    from behavio import run as room
    from behavio.job import read_job

    wanted = read_job(Path(job), changes)
    return room.run(wanted, Path(out or Path("runs") / wanted.name), start=start, watcher=watcher)


def simulate(out: str | Path, *, progress: Any = None, **settings: Any) -> dict[str, Any]:
    """Raw extracts as the CRM, the mailer and the web site would export them, plus the truth beside them."""
    from behavio.simulate import SimulateSettings
    from behavio.simulate import simulate as make

    return make(_settings(SimulateSettings, settings), Path(out), progress)


def demo(
    out: str | Path = "demo", *, n_cases: int = 10_000, seed: int = 7, watcher: Watcher | None = None
) -> Result:
    """Simulate a year of HCPs into out/data and run the whole demo job on it into out/run."""
    from behavio import run as room
    from behavio.job import demo_job

    extracts = demo_data(out, n_cases=n_cases, seed=seed, watcher=watcher)
    return room.run(demo_job(extracts, seed), Path(out) / "run", watcher=watcher)


def demo_data(
    out: str | Path = "demo", *, n_cases: int = 10_000, seed: int = 7, watcher: Watcher | None = None
) -> Path:
    """The folder of the demo's extracts, simulated unless they lie there already."""
    data = Path(out) / "data"
    settings, note = {"n_cases": n_cases, "seed": seed}, data / "settings.json"
    if not (note.is_file() and read_json(note) == settings):
        if watcher:
            watcher.stage("simulate", "started", 0.0)
        began = time.perf_counter()
        note.unlink(missing_ok=True)
        simulate(data, progress=watcher.progress if watcher else None, **settings)
        write_json(note, settings)
        if watcher:
            watcher.stage("simulate", "done", time.perf_counter() - began)
    return data / "extracts"


def report(folder: str | Path, *, out: str | Path | None = None, form: str = "html", **settings: Any) -> Path:
    """Write a finished run's report again; the path of what was asked for.

    form    "html", "pptx", "markdown", "csv" or "parquet" (the last two: the folder of tables)
    out     where to; default RUN/report, or RUN/reports/… for one group, role or language alone
    """
    from behavio.report import ReportSettings, forms, write_report

    run_folder = checked_run(folder)
    also = tuple(settings.pop("also", ()))
    wanted = _settings(ReportSettings, {**settings, "also": (*also, *(() if form == "html" else (form,)))})
    target = forms.place(run_folder, wanted) if out is None else Path(out)
    target.mkdir(parents=True, exist_ok=True)
    write_report(run_folder, wanted, target)
    return target / forms.NAMES[form]


def explore(folder: str | Path, *, port: int = 0, **settings: Any) -> Server:
    """A server on this machine that shows a finished run, filtered as asked; call its serve_forever()."""
    from behavio.report import ReportSettings
    from behavio.report.explore import Explorer
    from behavio.report.serve import listen

    return listen(Explorer(checked_run(folder), _settings(ReportSettings, settings)), port)


def deliver(
    folder: str | Path, *, progress: Callable[[str, float], None] | None = None, **settings: Any
) -> Receipt | CrmReceipt:
    """Bring labels and suggestions of a finished run into the CRM, or write them as files into its delivery/.

    `dry_run=True` (the default) only plans, into delivery-plan/, so that it never hides a real receipt.
    """
    from behavio.targets import DeliverSettings
    from behavio.targets import deliver as send

    run_folder, wanted = checked_run(folder), _settings(DeliverSettings, settings)
    target = run_folder / ("delivery-plan" if wanted.dry_run else "delivery")
    target.mkdir(exist_ok=True)
    return send(run_folder, wanted, target, progress)


def erase(folder: str | Path, ids: Sequence[str]) -> Erasure:
    """Remove people from a finished run and keep them out of it: rows, models, pages; see behavio.erase."""
    from behavio.erase import erase as remove

    return remove(checked_run(folder), list(ids))


def _sequences(data: Data, columns: Mapping[str, Any]) -> SequenceSet:
    if columns.get("groups"):
        rest = {k: v for k, v in columns.items() if k != "groups"}
        return journeys(_sequences(data, rest), groups=columns["groups"]).sequences
    if isinstance(data, SequenceSet):
        return data
    folder = run_folder(data)
    if folder:
        return SequenceSet.read(folder / "log" / "encoded")
    if encoded_folder(data):
        refuse_settings(Path(data), columns)
        return SequenceSet.read(Path(data))
    if isinstance(data, str | Path) and not str(data).endswith(".toml"):
        from behavio import encoding

        return encoding.encode(data, **columns).sequences
    return SequenceSet.from_log(read(data, **columns))


def _split(kind: type, options: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Options that are settings of `kind`, and the rest, which name columns."""
    known = kind.__dataclass_fields__  # type: ignore[attr-defined]
    own = {k: v for k, v in options.items() if k in known}
    columns = sources.SourceSettings.__dataclass_fields__
    for option in options:
        near = get_close_matches(option, [*known, *columns], 1, 0.4)
        if option not in known and option not in columns and option != "groups":
            hint = f"did you mean {near[0]!r}? " if near else ""
            raise JobError(f"there is no setting {option!r}", hint=f"{hint}known: {', '.join(known)}")
    return own, {k: v for k, v in options.items() if k not in own}


def _settings(kind: type, table: Mapping[str, Any]) -> Any:
    from behavio.job import settings_from

    where = kind.__name__.removesuffix("Settings").lower()
    return settings_from(kind, {k: v for k, v in table.items() if v is not None}, where)


def _like(data: Data, table: pl.DataFrame) -> Frame:
    """`table` as the kind of frame `data` is: pandas or Arrow where that was handed in, else Polars."""
    home = type(data).__module__.partition(".")[0]
    if home == "pandas":
        return table.to_pandas()
    return table.to_arrow() if home == "pyarrow" else table
