"""Put the page together and write it with its tables."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from behavio.errors import RunError
from behavio.files import whole_file
from behavio.report.blocks import Kpi, Section
from behavio.report.context import Context
from behavio.report.run_tables import RunTables
from behavio.report.sections import (
    before,
    changes,
    groups,
    headline,
    journeys,
    kpis,
    method,
    outlook,
    patterns,
    plan,
    readiness,
    suggestions,
    trust,
)
from behavio.report.settings import ReportSettings
from behavio.report.tables import Table

SECTIONS: tuple[tuple[str, Callable[[Context], Section | None]], ...] = (
    ("groups", groups.section),
    ("trust", trust.section),
    ("journeys", journeys.section),
    ("plan", plan.section),
    ("patterns", patterns.section),
    ("before", before.section),
    ("outlook", outlook.section),
    ("suggestions", suggestions.section),
    ("changes", changes.section),
    ("readiness", readiness.section),
    ("method", method.section),
    ("glossary", method.glossary),
)


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
    for i, (name, section) in enumerate(SECTIONS):
        progress(name, 0.2 + 0.6 * i / len(SECTIONS))
        made = section(c)
        if made is not None:
            sections.append(made)
    return Page("en", head, strip, table, note, c.facts.table(), sections)


def render(page: Page) -> str:
    """The page as one HTML text; everything that is not markup of ours is escaped."""
    env = Environment(
        loader=PackageLoader("behavio.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    loader = env.loader
    assert loader is not None
    style, script = (Markup(loader.get_source(env, name)[0]) for name in ("style.css", "page.js"))
    return env.get_template("report.html").render(page=page, style=style, script=script)


def write(
    run: Path, settings: ReportSettings, folder: Path, progress: Callable[[str, float], None]
) -> dict[str, Any]:
    """Write report.html and tables/*.csv; give back what the closing summary may say."""
    previous = None if settings.previous is None else Path(settings.previous)
    if previous is not None and not previous.is_dir():
        raise RunError(
            f"the earlier run {previous} is not there", hint="leave report.previous out of the job"
        )
    progress("reading the run", 0.0)
    tables = RunTables.read(run, previous)
    context = Context.of(tables, settings)
    page = build(context, progress)
    progress("writing", 0.85)
    for table in page.tables:
        with whole_file(folder / "tables" / f"{table.name}.csv") as draft:
            draft.write_text(table.csv(), encoding="utf-8", newline="")
    text = render(page)
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
    }
