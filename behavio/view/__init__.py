"""One case's whole story: every touchpoint of every team in order, and what is known and planned."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import polars as pl

from behavio.errors import JobError, RunError
from behavio.files import read_json
from behavio.log import ATTRIBUTES, EventLog
from behavio.suggest import SuggestSettings
from behavio.suggest.affinity import AFFINITY_SCHEMA, channel_affinity, content_affinity
from behavio.suggest.reasons import date
from behavio.suggest.settings import QUEUES
from behavio.suggest.timeline import PRESSURE_DAYS, is_touch, read_timeline
from behavio.view import page
from behavio.view.alike import alike
from behavio.words import CHANNELS, days, percent, touchpoint

SEARCHED = 20_000
"""At most so many ids are compared when looking for the nearest ones."""


@dataclass(frozen=True, slots=True, eq=False)
class CaseStory:
    """What is known about one case.

    events        every event in order: timestamp, touchpoint, activity, channel, direction, brand, message,
                  reaction, team, actor_id, row ("source:source_row"), then the log's other columns
    affinity      per channel: contacts, responses, affinity (0–1) with low and high, usual
    content       per kind of content: reactions, positive ones, affinity with low and high, usual
    stage         row of stages/stages.parquet, None without that stage
    pressure      row of pressure/cases.parquet: contacts against the band of the group, and the verdict
    alike         the cases most alike by the run's vectors, and what comes next for them
    perceptions   rows of perceptions/cases.parquet: what she said, or what is projected, and says so
    next_steps, suggestions, suppressed   this case's rows of the run; empty for a bare log
    queue         whose suggestions these are: commercial, or medical, which holds nothing promotional
    contacts_28d  contacts by the company in the 28 days before as_of
    ages          per source: days between its newest event and as_of (None where unknown)
    """

    case_id: str
    as_of: dt.datetime
    attributes: Mapping[str, Any]
    events: pl.DataFrame
    stage: Mapping[str, Any] | None = None
    pressure: Mapping[str, Any] | None = None
    segment: str | None = None
    strength: float | None = None
    contacts_28d: int = 0
    next_steps: pl.DataFrame = field(default_factory=pl.DataFrame)
    suggestions: pl.DataFrame = field(default_factory=pl.DataFrame)
    suppressed: pl.DataFrame = field(default_factory=pl.DataFrame)
    affinity: pl.DataFrame = field(default_factory=pl.DataFrame)
    content: pl.DataFrame = field(default_factory=pl.DataFrame)
    alike: pl.DataFrame = field(default_factory=pl.DataFrame)
    perceptions: pl.DataFrame = field(default_factory=pl.DataFrame)
    ages: Mapping[str, float | None] = field(default_factory=dict)
    queue: str = "commercial"

    def to_frame(self) -> pl.DataFrame:
        """The events of the case, in order."""
        return self.events

    @property
    def rows(self) -> list[tuple[str, ...]]:
        """The events as text: day, touchpoint, channel, what it was about, who, where it came from."""
        out: list[tuple[str, ...]] = []
        for e in self.events.iter_rows(named=True):
            about = " · ".join(str(e[c]) for c in ("brand", "message", "content") if e[c])
            who = " ".join(str(e[c]) for c in ("team", "actor_id") if e[c])
            when = e["timestamp"]
            day = f"{date(when.date())} {when:%H:%M}" if isinstance(when, dt.datetime) else str(when)
            out.append((day, e["touchpoint"], e["channel"] or "", about, who, e["row"]))
        return out

    @property
    def facts(self) -> list[tuple[str, str]]:
        """What stands above the story: (what, value) in words."""
        out = [(name, str(v)) for name, v in self.attributes.items() if v is not None]
        if self.segment is not None:
            sure = "" if self.strength is None else f" (strength {percent(self.strength)})"
            out.append(("group", f"{self.segment}{sure}"))
        if self.stage is not None:
            out.append(("stage", _standing(self.stage)))
        out.append((f"contacts in {PRESSURE_DAYS} days", str(self.contacts_28d)))
        if self.pressure is not None:
            out.append(("contact pressure", _pressed(self.pressure)))
        for table, column, what, name in (
            (self.affinity, "channel", "answered", "answers to"),
            (self.content, "content", "liked", "reactions to"),
        ):
            for a in table.iter_rows(named=True):
                told = f"{percent(a['affinity'])} {what} ({percent(a['low'])}–{percent(a['high'])})"
                of = CHANNELS.get(a[column], a[column]) if column == "channel" else a[column]
                out.append((f"{name} {of}", f"{told}, usual {percent(a['usual'])}"))
        out += page.said(self.perceptions)
        for source, age in self.ages.items():
            if age is not None:
                out.append((f"data of {source}", "up to date" if age < 1 else f"{days(age)} old"))
        return out

    def _repr_html_(self) -> str:
        return page.part(self)


def story(
    source: Path | EventLog,
    case_id: str,
    settings: SuggestSettings | None = None,
    queue: str = "commercial",
) -> CaseStory:
    """The story of one case from a run folder or a log, with the suggestions of one queue.

    In the medical queue stand the medical team's own suggestions; chances, affinities, bands and likeness,
    which promotion is planned by, are left out. Errors: RunError when the folder holds no log or the case is
    unknown (naming the nearest ids); JobError for a queue that is not there.
    """
    settings = settings or SuggestSettings()
    if queue not in QUEUES:
        raise JobError(f"there is no queue {queue!r}", hint=f"one of {', '.join(QUEUES)}")
    if isinstance(source, EventLog):
        told = _from_log(source, str(case_id), settings)
    else:
        told = _from_run(Path(source), str(case_id), settings, "" if queue == "commercial" else "medical")
    if queue == "commercial":
        return told
    none = pl.DataFrame()
    return replace(
        told, queue=queue, next_steps=none, affinity=none, content=none, alike=none, pressure=None, stage=None
    )


def _from_log(log: EventLog, case_id: str, settings: SuggestSettings) -> CaseStory:
    _check_known(case_id, log.events.lazy(), log.cases.lazy())
    own = log.events.filter(pl.col("case_id") == case_id)
    affinity = pl.DataFrame(schema=AFFINITY_SCHEMA)
    if log.timed:
        affinity = channel_affinity(read_timeline(log, settings), settings)
    content = content_affinity(log.events, settings)
    return _tell(
        case_id,
        own,
        log.cases.filter(pl.col("case_id").cast(pl.String) == case_id),
        _newest(log.events.lazy()),
        settings,
        affinity=affinity.filter(pl.col("case_id") == case_id),
        content=content.filter(pl.col("case_id") == case_id),
        ages={s.name: s.last for s in log.sources},
    )


def _from_run(run: Path, case_id: str, settings: SuggestSettings, queue: str) -> CaseStory:
    if not (run / "log" / "events.parquet").is_file():
        raise RunError(f"{run} holds no log", hint="give the folder that behavio run wrote")
    events, cases = (pl.scan_parquet(run / "log" / f"{n}.parquet") for n in ("events", "cases"))
    _check_known(case_id, events, cases)
    known = pl.col("case_id").cast(pl.String) == case_id

    def table(path: str) -> pl.DataFrame | None:
        file = run / path
        return pl.scan_parquet(file).filter(known).collect() if file.is_file() else None

    labels = table("segments/segments.parquet")
    standing = table("stages/stages.parquet")
    pressed = table("pressure/cases.parquet")
    affinity = table("suggestions/affinity.parquet")
    if affinity is None:
        log = EventLog.read(run / "log")
        whole = channel_affinity(read_timeline(log, settings), settings) if log.timed else None
        affinity = pl.DataFrame(schema=AFFINITY_SCHEMA) if whole is None else whole.filter(known)
    content = table("suggestions/content.parquet")
    if content is None:
        content = content_affinity(pl.read_parquet(run / "log" / "events.parquet"), settings).filter(known)
    sources = read_json(run / "log" / "readiness.json")["sources"]
    return _tell(
        case_id,
        events.filter(known).collect(),
        cases.filter(known).collect(),
        _newest(events),
        settings,
        affinity=affinity,
        content=content,
        alike=alike(run, case_id),
        pressure=pressed.row(0, named=True) if pressed is not None and pressed.height else None,
        ages={s["name"]: s["last"] for s in sources},
        stage=standing.row(0, named=True) if standing is not None and standing.height else None,
        segment=labels["segment"][0] if labels is not None and labels.height else None,
        strength=labels["strength"][0] if labels is not None and labels.height else None,
        next_steps=_or_empty(table("next/next_steps.parquet")),
        suggestions=_or_empty(table(f"suggestions/{queue or 'suggestions'}.parquet")),
        suppressed=_or_empty(table(f"suggestions/{queue}{'_' if queue else ''}suppressed.parquet")),
        perceptions=_or_empty(table("perceptions/cases.parquet")),
    )


def _standing(stage: Mapping[str, Any]) -> str:
    """The stage in words: since when, by what, how sure."""
    if stage["since"] is None:
        return f"{stage['stage']} ({percent(stage['probability'])} sure), since before the log begins"
    since = date(stage["since"].date())
    return f"{stage['stage']} ({percent(stage['probability'])} sure) since {since}, after {stage['evidence']}"


def _pressed(row: Mapping[str, Any]) -> str:
    """Contacts against the band in words."""
    if row["low"] is None:
        return f"{row['contacts']} contacts; no band is known for this group"
    band = f"{row['low']:.1f}–{row['high']:.1f}"
    return f"{row['verdict']}: {row['contacts']} contacts, the group answers best at {band}"


def _or_empty(frame: pl.DataFrame | None) -> pl.DataFrame:
    return pl.DataFrame() if frame is None else frame


def _newest(events: pl.LazyFrame) -> dt.datetime:
    """The time of the newest event."""
    return events.select(pl.col("timestamp").max()).collect().item()


def _tell(
    case_id: str,
    own: pl.DataFrame,
    case: pl.DataFrame,
    as_of: dt.datetime,
    settings: SuggestSettings,
    *,
    ages: Mapping[str, str],
    **known: Any,
) -> CaseStory:
    """Put the parts together."""
    missing = [pl.lit(None, dtype=t).alias(n) for n, t in ATTRIBUTES.items() if n not in own.columns]
    own = own.with_columns(missing)
    recent = pl.col("timestamp") > as_of - dt.timedelta(days=PRESSURE_DAYS)
    origin = pl.when(pl.col("source").is_not_null() & pl.col("source_row").is_not_null()).then(
        pl.format("{}:{}", "source", "source_row")
    )
    own = own.with_columns(
        touchpoint=pl.Series([touchpoint(a) for a in own["activity"]], dtype=pl.String),
        row=origin.otherwise(pl.format("event:{}", "event_index")),
    )
    first = ["timestamp", "touchpoint", "activity", "channel", "direction", "brand", "message", "reaction"]
    first += ["team", "actor_id", "row"]
    return CaseStory(
        case_id=case_id,
        as_of=as_of,
        attributes=case.drop("case_id").row(0, named=True) if case.height else {},
        events=own.select(*first, pl.exclude(*first, "case_id")),
        contacts_28d=own.filter(is_touch(settings) & recent).height,
        ages={name: _age(last, as_of) for name, last in ages.items()},
        **known,
    )


def _age(last: str, as_of: dt.datetime) -> float | None:
    """Days between the newest event of a source and as_of; None when the source has no time."""
    try:
        when = dt.datetime.fromisoformat(last)
    except ValueError:
        return None
    when = when if when.tzinfo else when.replace(tzinfo=dt.UTC)
    return max((as_of - when).total_seconds() / 86_400, 0.0)


def _check_known(case_id: str, events: pl.LazyFrame, cases: pl.LazyFrame) -> None:
    """RunError naming the nearest ids when neither the events nor the cases know the case."""
    name = pl.col("case_id").cast(pl.String)
    for frame in (events, cases):
        if frame.filter(name == case_id).head(1).collect().height:
            return
    ids = pl.concat([f.select(name.unique()) for f in (events, cases)]).unique().collect()["case_id"].sort()
    near = ids.filter(ids.str.contains(case_id, literal=True)) if case_id else ids.head(0)
    if near.is_empty():
        near = ids.filter(ids.str.starts_with(case_id[:3])) if len(ids) > SEARCHED else ids
    nearest = get_close_matches(case_id, near.head(SEARCHED).to_list(), 3, 0.4) or ids.head(3).to_list()
    raise RunError(f"there is no case {case_id!r}", hint=f"the nearest are: {', '.join(nearest)}")
