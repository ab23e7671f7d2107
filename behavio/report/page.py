"""Put the page together and write it with its tables."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from behavio.errors import RunError
from behavio.files import whole_file
from behavio.report import forms
from behavio.report.blocks import Card, Figure, Kpi, Section
from behavio.report.context import Context
from behavio.report.language import language, speaking, spoken, t
from behavio.report.roles import order
from behavio.report.run_tables import RunTables
from behavio.report.sections import (
    accounts,
    before,
    card,
    changes,
    content,
    goals,
    groups,
    headline,
    journeys,
    kpis,
    medical,
    method,
    outlook,
    patterns,
    perceptions,
    plan,
    pressure,
    readiness,
    suggestions,
    treated,
    trust,
    value,
)
from behavio.report.settings import ReportSettings
from behavio.report.subset import only_group
from behavio.report.tables import Table

SECTIONS: dict[str, Callable[[Context], Section | None]] = {
    "medical": medical.section,
    "groups": groups.section,
    "goals": goals.section,
    "trust": trust.section,
    "journeys": journeys.section,
    "patterns": patterns.section,
    "before": before.section,
    "perceptions": perceptions.section,
    "treated": treated.section,
    "value": value.section,
    "accounts": accounts.section,
    "plan": plan.section,
    "pressure": pressure.section,
    "content": content.section,
    "next": outlook.section,
    "suggestions": suggestions.section,
    "changes": changes.section,
    "readiness": readiness.section,
    "card": card.section,
    "method": method.section,
    "glossary": method.glossary,
}
LISTS = ("suggested_groups", "pressure", "journey_map", "telling")
"""Tables with a row a group, which its card leads to."""


@dataclass(frozen=True, slots=True)
class Page:
    """Everything the template lays out."""

    lang: str
    head: headline.Headline
    kpis: list[Kpi]
    kpi_table: Table
    kpi_note: str
    facts: Table
    sections: list[Section]
    hues: dict[str, str] = field(default_factory=dict)

    @property
    def anchors(self) -> dict[str, str]:
        """Where each group's card stands, by its name."""
        blocks = (block for section in self.sections for block in section.blocks)
        return {block.name: block.id for block in blocks if isinstance(block, Card)}

    @property
    def tables(self) -> list[Table]:
        """Every table of the page, in its order, each once."""
        found = {t.name: t for s in self.sections for t in s.tables}
        return [self.kpi_table, *found.values(), self.facts]


def build(c: Context, progress: Callable[[str, float], None]) -> Page:
    """Ask every section; the sentences of the first page come first."""
    progress("sentences", 0.05)
    head = headline.headline(c)
    strip, table, note = kpis.strip(c)
    sections = []
    names = order(c.settings.role, tuple(SECTIONS))
    for i, name in enumerate(names):
        progress(name, 0.2 + 0.6 * i / len(names))
        made = SECTIONS[name](c)
        if made is not None:
            sections.append(made)
    return Page(spoken().code, head, strip, table, note, c.facts.table(), sections, c.kinds.hues)


def _linked(page: Page) -> Page:
    """The page with links from each group's card to its bands of journeys and to the lists it stands in."""
    drawn = " ".join(b.chart for s in page.sections for b in s.blocks if isinstance(b, Figure))
    listed = [t for s in page.sections for t in s.tables if t.name in LISTS]

    def links(card: Card) -> tuple[tuple[str, str], ...]:
        own = f"journeys-of-{card.id.removeprefix('group-')}"
        found = [(own, "Its journeys in bands of like ones")] if f'id="{own}"' in drawn else []
        for table in listed:
            if any(card.name in (row.get("segment"), row.get("group")) for row in table.rows):
                found.append((f"table-{table.name}", table.title))
        return tuple(found)

    def with_links(section: Section) -> Section:
        blocks = tuple(replace(b, links=links(b)) if isinstance(b, Card) else b for b in section.blocks)
        return replace(section, blocks=blocks)

    return replace(page, sections=[with_links(s) for s in page.sections])


def render(page: Page, form: tuple[object, ...] = ()) -> str:
    """The page as one HTML text; everything that is not markup of ours is escaped.

    form: filters that stand on top, where a server answers them.
    """
    env, style, script = _environment()
    return env.get_template("report.html").render(
        page=_linked(page), form=form, anchors=page.anchors, style=style, script=script
    )


@cache
def _environment() -> tuple[Environment, Markup, Markup]:
    """The templates, compiled once; the style sheet and the script."""
    loader = PackageLoader("behavio.report")
    env = Environment(
        loader=loader,
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    env.filters["t"] = t
    style, script = (Markup(loader.get_source(env, name)[0]) for name in ("style.css", "page.js"))
    return env, style, script


def write(
    run: Path, settings: ReportSettings, folder: Path, progress: Callable[[str, float], None]
) -> dict[str, Any]:
    """Write report.html, tables/*.csv and what else was asked for; what the closing summary may say."""
    previous = None if settings.previous is None else Path(settings.previous)
    if previous is not None and not previous.is_dir():
        raise RunError(
            f"the earlier run {previous} is not there", hint="leave report.previous out of the job"
        )
    progress("reading the run", 0.0)
    tables = RunTables.read(run, previous)
    if settings.group is not None:
        tables = only_group(tables, settings.group, settings.k_anonymity)
    with speaking(language(settings.lang)):
        page = build(Context.of(tables, settings), progress)
        progress("writing", 0.85)
        text = render(page)
        written = forms.write(page, settings, folder)
    with whole_file(folder / "report.html") as draft:
        draft.write_text(text, encoding="utf-8", newline="")
    progress("writing", 1.0)
    return {
        "rows_in": tables.n_events,
        "rows_out": len(page.tables),
        "report": "report.html",
        "bytes": len(text.encode()),
        "tables": [t.name for t in page.tables],
        "sections": [s.id for s in page.sections],
        "title": page.head.title.striptags(),
        "sentences": [s.striptags() for s in page.head.sentences],
        "numbers": len(page.facts.rows),
        **({"also": written} if written else {}),
    }
