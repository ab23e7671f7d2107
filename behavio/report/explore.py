"""A live look at a run: the same page, its journeys counted again from the encoded log for a part of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import numpy as np
import polars as pl
from markupsafe import Markup

from behavio.errors import RunError
from behavio.report.blocks import Block, Figure, Kpi, Levels, Section
from behavio.report.context import Context, say
from behavio.report.kinds import Kinds
from behavio.report.language import language, speaking, spoken, t
from behavio.report.numbers import period, write
from behavio.report.page import Page, build, render
from behavio.report.run_tables import RunTables
from behavio.report.scene import Scene
from behavio.report.sections import journeys, mapped, running
from behavio.report.sections.headline import Headline
from behavio.report.settings import ReportSettings
from behavio.report.tables import Column, Facts, Table
from behavio.report.traces import Traces
from behavio.report.weekly import Calendar, midnight
from behavio.sequences import UNKNOWN, SequenceSet

FILTERS = ("from", "to", "brand", "specialty", "segment")
LEVELS = (4, 8)
"""Activities on the map of a look, at the settings of its slider."""
MOST = 60
"""Values of one filter that are offered."""


@dataclass(frozen=True, slots=True)
class Choice:
    """One filter of the page: a list of values, or a day."""

    name: str
    label: str
    values: tuple[str, ...]
    chosen: str
    kind: str = "list"
    low: str = ""
    high: str = ""


@dataclass(frozen=True, slots=True)
class Asked:
    """What part of the log is looked at; empty: all of it."""

    first: date | None = None
    last: date | None = None
    brand: str = ""
    specialty: str = ""
    segment: str = ""

    @property
    def all(self) -> bool:
        """True when nothing is left out."""
        return self == Asked()


class Refused(RunError):
    """A look that would show fewer than k people, or ask for what is not there."""


class Explorer:
    """One run, ready to be looked at from any side."""

    def __init__(self, run: Path, settings: ReportSettings | None = None) -> None:
        self.settings = settings or ReportSettings()
        self.language = language(self.settings.lang)
        self.tables = RunTables.read(run)
        encoded = run / "log" / "encoded"
        if not (encoded / "vocabulary.json").is_file():
            raise RunError(f"{run} holds no encoded log", hint="run the job again: behavio run JOB")
        self.log = SequenceSet.read(encoded)
        self.context = Context.of(self.tables, self.settings)
        self.specialty = _by_case(self.log, self.tables.cases, "specialty")
        self.segment = _by_case(self.log, _named(self.tables.segments), "segment")
        self.first = _moment(int(np.min(self.log.times)))
        self.last = _moment(int(np.max(self.log.times)))
        self._whole: str | None = None

    @property
    def k(self) -> int:
        """The fewest people anything is shown of."""
        return self.settings.k_anonymity

    def page(self, query: Mapping[str, str]) -> str:
        """The page for these filters, in the language asked for; without any the report itself."""
        with speaking(self.language):
            return self._page(query)

    def _page(self, query: Mapping[str, str]) -> str:
        asked = self.read(query)
        form = self.form(asked)
        if asked.all:
            if self._whole is None:
                page = build(Context.of(self.tables, self.settings), lambda _what, _share: None)
                self._whole = render(page, form)
            return self._whole
        return render(self.look(asked), form)

    def read(self, query: Mapping[str, str]) -> Asked:
        """Filters from the address; raises Refused for a day or a value that is not offered."""
        days: dict[str, date | None] = {}
        for name in ("from", "to"):
            text = query.get(name, "").strip()
            try:
                days[name] = date.fromisoformat(text) if text else None
            except ValueError:
                raise Refused(
                    _said("{day} is no day", day=repr(text)), hint=t("write it as 2026-03-31")
                ) from None
        if days["from"] is not None and days["from"] <= self.first.date():
            days["from"] = None
        if days["to"] is not None and days["to"] >= self.last.date():
            days["to"] = None
        chosen = {}
        for name in ("brand", "specialty", "segment"):
            value = query.get(name, "")
            if value and value not in self.values(name):
                what = _said(
                    "the run has no {name} {value} that may be shown", name=t(name), value=repr(value)
                )
                raise Refused(what, hint=t("choose from the list"))
            chosen[name] = value
        return Asked(days["from"], days["to"], **chosen)

    def values(self, name: str) -> tuple[str, ...]:
        """What a filter offers: values of at least k people, most frequent first."""
        if name == "brand":
            return self._brands()
        codes, names = self.specialty if name == "specialty" else self.segment
        counts = np.bincount(codes[codes >= 0], minlength=len(names)) if len(names) else np.zeros(0, int)
        order = sorted(range(len(names)), key=lambda i: (-int(counts[i]), names[i]))
        return tuple(names[i] for i in order if counts[i] >= self.k)[:MOST]

    def _brands(self) -> tuple[str, ...]:
        brand = self.log.fields.get("brand")
        if brand is None:
            return ()
        found = []
        for code, name in enumerate(brand.vocabulary.names):
            if code > UNKNOWN:
                held = np.asarray(brand.codes) == code
                people = int((np.add.reduceat(held, self.log.offsets[:-1], dtype=np.int64) > 0).sum())
                if people >= self.k:
                    found.append((-people, name))
        return tuple(name for _, name in sorted(found))[:MOST]

    def form(self, asked: Asked) -> tuple[Choice, ...]:
        """The filters as the page lays them out; those without anything to choose are left out."""
        low, high = str(self.first.date()), str(self.last.date())
        made = []
        if self.log.timed:
            made.append(Choice("from", "From", (), str(asked.first or ""), "date", low, high))
            made.append(Choice("to", "to", (), str(asked.last or ""), "date", low, high))
        for name, label in (("brand", "Brand"), ("specialty", "Specialty"), ("segment", "Group")):
            values = self.values(name)
            if len(values) > 1 or (values and name == "brand"):
                made.append(Choice(name, label, values, str(getattr(asked, name))))
        return tuple(made)

    def part(self, asked: Asked) -> SequenceSet:
        """The events that fit; raises Refused when they belong to fewer than k people."""
        mask = np.ones(self.log.n_events, bool)
        if asked.first is not None:
            mask &= self.log.times >= _micro(asked.first)
        if asked.last is not None:
            mask &= self.log.times < _micro(asked.last + timedelta(days=1))
        if asked.brand:
            brand = self.log.fields["brand"]
            mask &= brand.codes == brand.vocabulary.id(asked.brand)
        for value, (codes, names) in ((asked.specialty, self.specialty), (asked.segment, self.segment)):
            if value:
                mask &= np.repeat(codes == names.index(value), self.log.lengths)
        people = int((np.add.reduceat(mask, self.log.offsets[:-1], dtype=np.int64) > 0).sum())
        if people < self.k:
            what = _said("fewer than {k} {many} fit", k=self.k, many=t(self.context.many))
            raise Refused(what, hint=t("widen the period or take a filter away"))
        return self.log.keep(mask)

    def look(self, asked: Asked) -> Page:
        """The part of the page that can be counted again in a moment: numbers and journeys."""
        from behavio.journeys import directly_follows

        part = self.part(asked)
        graph = directly_follows(part)
        scene = self._scene(part, graph.activities, asked)
        edges = journeys.edge_table(graph.edges, scene.k, scene.many, part.timed)
        blocks: list[Block] = []
        if edges is not None:
            levels = mapped.map_levels(scene, graph.edges, graph.activities, edges, LEVELS)
            blocks += [levels] if levels is not None else []
        blocks += [b for b in (running.first_steps(scene), running.flows(scene)) if b is not None]
        if edges is not None and part.timed:
            blocks.append(journeys.times_between(edges))
        blocks += list(running.over_time(scene) or ())
        blocks = [_looked(b, asked) for b in blocks]
        tables = [b.table for b in blocks if isinstance(b, Figure | Levels) and b.table is not None]
        tables += [b.more for b in blocks if isinstance(b, Figure | Levels) and b.more is not None]
        kpis, table = _strip(part, graph.activities, scene)
        sub = say(
            "What directly follows what, counted again for this part of the log. Groups, patterns, "
            "outlook and "
            "suggestions were made from all of it: take the filters away to see them."
        )
        section = Section(
            "journeys", "Journeys", say("How these journeys run"), sub, tuple(blocks), tuple(tables)
        )
        head = Headline(self._title(asked, part.n_cases, scene), self._sub(asked, part), ())
        return Page(spoken().code, head, kpis, table, "", scene.facts.table(), [section], scene.kinds.hues)

    def _scene(self, part: SequenceSet, activities: pl.DataFrame, asked: Asked) -> Scene:
        starts, ends = part.offsets[:-1], part.offsets[1:] - 1
        spans = (part.times[ends] - part.times[starts]) / 1e6
        first = _moment(int(np.min(part.times[starts])))
        last = _moment(int(np.max(part.times[ends])))
        middle, upper = (float(v) for v in np.quantile(spans, [0.5, 0.75]))
        calendar = Calendar.over(middle, upper, max((last - first).total_seconds(), 1.0))
        origin = -1 if calendar.relative else int(midnight(first).timestamp()) * 1_000_000
        direction = part.fields.get("direction")
        inbound = None
        if direction is not None:
            inbound = direction.codes == direction.vocabulary.id("inbound")
        names = part.vocabulary.names
        traces = Traces(part.tokens, part.offsets, part.times, inbound, names, part.timed)
        kinds = Kinds.ranked(activities["activity"].to_list())
        ticks = tuple(calendar.ticks_from(midnight(first), part.timed))
        c = self.context
        return Scene(traces, kinds, c.one, c.many, self.k, Facts(), calendar, ticks, origin)

    def _title(self, asked: Asked, n: int, scene: Scene) -> Markup:
        fact = scene.facts.add("cases", n, "count", f"{scene.many} that fit")
        chosen = [x for x in (asked.segment, asked.specialty, asked.brand) if x]
        if chosen:
            return say("{what}: {n} {many}", what=", ".join(chosen), n=fact.shown, many=scene.many)
        return say("{n} {many}", n=fact.shown, many=scene.many)

    def _sub(self, asked: Asked, part: SequenceSet) -> Markup:
        events = say("{n} events", n=write(part.n_events, "count"))
        if not part.timed:
            return events
        days = period(asked.first or self.first.date(), asked.last or self.last.date())
        return Markup(" · ").join([Markup(days), events])


def _said(text: str, **places: object) -> str:
    """A plain text in the language that is being written."""
    return str(t(text)).format(**places)


def _looked(block: Block, asked: Asked) -> Block:
    """The block with the line that shows this very look again: a command for the whole log would not."""
    if not isinstance(block, Figure | Levels):
        return block
    days = {"from": asked.first, "to": asked.last}
    chosen = {"brand": asked.brand, "specialty": asked.specialty, "segment": asked.segment}
    line = f"behavio explore RUN, /?{urlencode({k: v for k, v in {**days, **chosen}.items() if v})}"

    def again(table: Table | None) -> Table | None:
        return None if table is None else replace(table, command=line)

    if isinstance(block, Levels):
        return replace(block, table=again(block.table), more=again(block.more))
    return replace(block, table=again(block.table), more=again(block.more))


def _strip(part: SequenceSet, activities: pl.DataFrame, s: Scene) -> tuple[list[Kpi], Table]:
    lengths = np.diff(part.offsets)
    rows: list[dict[str, Any]] = [
        {"kpi": s.many, "value": part.n_cases, "kind": "count"},
        {"kpi": "events", "value": part.n_events, "kind": "count"},
        {"kpi": f"events per {s.one}, median", "value": float(np.median(lengths)), "kind": "number"},
        {"kpi": "kinds of event", "value": activities.height, "kind": "count"},
    ]
    columns = (Column("kpi", "Number"), Column("value", "Value"), Column("kind", "Unit"))
    table = Table("kpis", "The strip of numbers", columns, tuple(rows), "behavio explore RUN")
    made = []
    for i, row in enumerate(rows):
        text = Markup('<data value="{}" data-cell="{}">{}</data>').format(
            row["value"], table.cell(i, "value"), write(row["value"], row["kind"])
        )
        made.append(Kpi(text, say("{what}", what=t(row["kpi"]))))
    return made, table


def _named(segments: pl.DataFrame | None) -> pl.DataFrame | None:
    """Cases with their group; those in none are left out."""
    return None if segments is None else segments.filter(pl.col("segment_id") >= 0)


def _by_case(log: SequenceSet, table: pl.DataFrame | None, column: str) -> tuple[np.ndarray, list[str]]:
    """Code of each case's value, -1 for none, and the values."""
    if table is None or column not in table.columns or not table.height:
        return np.full(log.n_cases, -1, np.int64), []
    values = table.select("case_id", pl.col(column).cast(pl.String)).unique("case_id", keep="first")
    ids = pl.DataFrame({"case_id": log.case_ids.cast(pl.String)})
    found = ids.join(values, on="case_id", how="left", maintain_order="left")[column]
    names = sorted(found.drop_nulls().unique().to_list())
    if not names:
        return np.full(log.n_cases, -1, np.int64), []
    codes = found.cast(pl.Enum(names)).to_physical().cast(pl.Int64).fill_null(-1)
    return codes.to_numpy(), names


def _moment(micro: int) -> datetime:
    return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=micro)


def _micro(day: date) -> int:
    return int((datetime(day.year, day.month, day.day, tzinfo=UTC) - _moment(0)).total_seconds()) * 1_000_000
