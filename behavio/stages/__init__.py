"""Stages: where each case stands on an adoption ladder, since when, and what shows it.

Either rules say what lifts a case and what sets it back, or the stages are learned from what is talked about
(see `learn`). Steps back are allowed and shown; an open case stands where its last event left it.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from behavio.durations import seconds
from behavio.errors import JobError, ModelError
from behavio.files import read_json, write_json
from behavio.kernels import ladder
from behavio.log import ATTRIBUTES, EventLog
from behavio.stages.learn import Ladders, StageLadder, likeliest_count
from behavio.stages.settings import StageRule, StageSettings
from behavio.stages.tables import Stages, told
from behavio.words import touchpoint

__all__ = ["StageLadder", "StageRule", "StageSettings", "Stages", "read_stages", "stages", "write_stages"]

DEFAULT_SILENCE = "60d"
FEWEST = 50
"""Cases that show something; from fewer nothing is learned."""
Progress = Callable[[str, float], None]


def stages(log: EventLog, settings: StageSettings | None = None) -> Stages:
    """Where every case of a log stands.

    Raises ModelError when no stage can be learned: no clock, nothing talked about, too few cases; JobError
    for a rule that names an unknown activity.
    """
    settings = settings or StageSettings()
    if not log.timed:
        raise ModelError("a log without a clock has no stages", hint="leave [stages] out")
    events = _events(log)
    offsets = _offsets(events["case_id"])
    as_of = int(events["timestamp"].dt.epoch("us").max())  # type: ignore[arg-type]
    if settings.rule:
        path = _by_rules(events, offsets, settings)
        names = (settings.start, *(r.stage for r in settings.rule))
        return Stages(names, *told(events, offsets, path, names, None, as_of), False, pl.DataFrame())
    seen, marks = _seen(events, offsets, settings)
    notes: tuple[str, ...] = ()
    count = len(settings.names) or settings.count
    if not count:
        count, notes = _found(seen)
    model = StageLadder(count).fit(seen)
    path, now, _ = model.paths(seen)
    names = settings.names or tuple(f"stage {k}" for k in range(1, count + 1))
    found = told(events, offsets, path, names, now, as_of)
    return Stages(tuple(names), *found, True, _shown(model, marks, names), notes)


def write_stages(
    log: EventLog, settings: StageSettings, folder: Path, progress: Progress = lambda _w, _s: None
) -> dict[str, Any]:
    """stages.parquet, moves.parquet, ladder.parquet, shown.parquet (learned stages), facts.json."""
    progress("stages", 0.0)
    try:
        found = stages(log, settings)
    except ModelError as problem:
        write_json(
            folder / "facts.json", {"learned": False, "names": [], "notes": [f"{problem}: {problem.hint}"]}
        )
        return {"rows_in": log.events.height, "rows_out": 0, "note": str(problem)}
    found.cases.write_parquet(folder / "stages.parquet")
    found.moves.write_parquet(folder / "moves.parquet")
    found.ladder.write_parquet(folder / "ladder.parquet")
    if found.learned:
        found.shown.write_parquet(folder / "shown.parquet")
    facts = {"learned": found.learned, "names": list(found.names), "notes": list(found.notes)}
    write_json(folder / "facts.json", facts)
    return {"rows_in": log.events.height, "rows_out": found.cases.height, "n_stages": len(found.names)}


def read_stages(folder: Path) -> Stages:
    """What `write_stages` left; ModelError with its reason when no stage could be learned."""
    facts = read_json(folder / "facts.json")
    if not facts["names"]:
        raise ModelError(facts["notes"][0], hint="see [[stages.rule]] in the guide")
    cases, moves, rungs = (pl.read_parquet(folder / f"{t}.parquet") for t in ("stages", "moves", "ladder"))
    shown = pl.read_parquet(folder / "shown.parquet") if facts["learned"] else pl.DataFrame()
    return Stages(tuple(facts["names"]), cases, moves, rungs, facts["learned"], shown, tuple(facts["notes"]))


def _events(log: EventLog) -> pl.DataFrame:
    """Events with `__what__` (the touchpoint in words) and `__row__` (source:row)."""
    missing = [pl.lit(None, dtype=t).alias(n) for n, t in ATTRIBUTES.items() if n not in log.events.columns]
    events = log.events.with_columns(missing)
    names = events["activity"].cast(pl.String).unique().to_list()
    words = {a: touchpoint(a) for a in names}
    said = pl.col("activity").cast(pl.String).replace_strict(words, return_dtype=pl.String)
    about = pl.coalesce(pl.format(": {}", "message"), pl.lit(""))
    return events.with_columns(
        pl.col("case_id", "activity").cast(pl.String),
        __what__=said + about,
        __row__=pl.format("{}:{}", pl.col("source").fill_null("log"), pl.col("source_row").fill_null(0)),
    )


def _offsets(cases: pl.Series) -> np.ndarray:
    new = (cases != cases.shift(1)).fill_null(True).to_numpy()
    return np.append(np.flatnonzero(new), len(cases)).astype(np.int64)


def _seen(events: pl.DataFrame, offsets: np.ndarray, settings: StageSettings) -> tuple[Ladders, list[str]]:
    """What the ladder sees, and the names of the marks."""
    if settings.by not in events.columns:
        raise JobError(f"events have no column {settings.by!r}", hint='by = "message" or "content"')
    noted = pl.col("reaction").is_not_null()
    talks = list(settings.sources) or events.filter(noted)["source"].drop_nulls().unique().sort().to_list()
    known = events["source"].drop_nulls().unique().sort().to_list()
    if missing := [s for s in talks if s not in known]:
        raise JobError(f"there is no source {missing[0]!r}", hint=f"sources: {', '.join(map(str, known))}")
    mark = pl.when(pl.col("source").is_in(talks)).then(pl.col(settings.by).cast(pl.String))
    text = events.select(mark)[settings.by] if talks else pl.Series([None] * events.height, dtype=pl.String)
    marks = text.drop_nulls().unique().sort().to_list()
    showing = events["case_id"].filter(text.is_not_null()).n_unique()
    if len(marks) < 2 or showing < FEWEST:
        raise ModelError(
            f"nothing shows a stage: {showing} cases with talks about {len(marks)} different things",
            hint="learned stages need reactions to messages; write [[stages.rule]] instead",
        )
    codes = text.replace_strict(marks, range(len(marks)), default=-1, return_dtype=pl.Int32).fill_null(-1)
    activities = events["activity"].unique().sort().to_list()
    activity = events["activity"].replace_strict(activities, range(len(activities)), return_dtype=pl.Int32)
    times = events["timestamp"].dt.epoch("us").to_numpy()
    gap = np.diff(times, prepend=times[:1])
    gap[offsets[:-1]] = 0
    long = gap > seconds(settings.silence or DEFAULT_SILENCE) * 1e6
    reaction = events["reaction"].cast(pl.String).fill_null("").str.to_lowercase()
    favour = reaction.str.contains("positiv").cast(pl.Float64) - reaction.str.contains("negativ").cast(
        pl.Float64
    )
    return (
        Ladders(
            offsets,
            codes.to_numpy(),
            (activity.to_numpy() * 2 + long).astype(np.int32),
            favour.to_numpy(),
            len(marks),
            2 * len(activities),
        ),
        marks,
    )


def _found(seen: Ladders) -> tuple[int, tuple[str, ...]]:
    count, scores = likeliest_count(seen)
    listed = ", ".join(f"{k}: {v:.4f}" for k, v in scores.items())
    return count, (f"{count} stages predict held-out cases best (log likelihood per event {listed})",)


def _shown(model: StageLadder, marks: list[str], names: tuple[str, ...]) -> pl.DataFrame:
    """stage, what is talked about there, its share and how often more than over all stages (lift)."""
    usual = model.marks_.mean(axis=0)
    rows = [
        (name, mark, float(share), float(share / usual[k]))
        for name, shares in zip(names, model.marks_, strict=True)
        for k, (mark, share) in enumerate(zip(marks, shares, strict=True))
    ]
    table = pl.DataFrame(rows, schema=["stage", "about", "share", "lift"], orient="row")
    order = pl.col("stage").replace_strict(list(names), range(len(names)), return_dtype=pl.Int32)
    return table.sort(order, "share", "about", descending=[False, True, False])


def _by_rules(events: pl.DataFrame, offsets: np.ndarray, settings: StageSettings) -> np.ndarray:
    """Paths over the stages of the rules."""
    activities = events["activity"].unique().sort().to_list()
    for name in {*settings.back_on, *(a for r in settings.rule for a in r.when)}:
        if name not in activities:
            listed = ", ".join(activities[:20])
            raise JobError(f"a stage rule names {name!r}, which no event is", hint=f"activities: {listed}")
    fits = np.array([[a in r.when for a in activities] for r in settings.rule])
    within = [-1 if r.within is None else round(seconds(r.within) * 1e6) for r in settings.rule]
    path = np.zeros(events.height + len(offsets) - 1, np.int8)
    codes = events["activity"].replace_strict(activities, range(len(activities)), return_dtype=pl.Int64)
    ladder.follow_rules(
        offsets,
        codes.to_numpy(),
        events["timestamp"].dt.epoch("us").to_numpy(),
        fits,
        np.array([r.times for r in settings.rule], np.int64),
        np.array(within, np.int64),
        np.array([a in settings.back_on for a in activities]),
        -1 if settings.silence is None else round(seconds(settings.silence) * 1e6),
        path,
    )
    return path
