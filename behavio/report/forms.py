"""The page in other forms: tables as CSV and Parquet, a Markdown summary, slides."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path
from typing import TYPE_CHECKING

import polars as pl

from behavio.files import whole_file
from behavio.report.settings import ReportSettings
from behavio.report.tables import Table

if TYPE_CHECKING:
    from behavio.report.page import Page


NAMES = {
    "html": "report.html",
    "pptx": "report.pptx",
    "markdown": "report.md",
    "csv": "tables",
    "parquet": "tables",
}
"""What each form is called in the folder of a report."""


def place(run: Path, settings: ReportSettings) -> Path:
    """Where a report belongs: RUN/report, and RUN/reports/NAME for a part or another language of it."""
    parts = [settings.group, settings.role, None if settings.lang == "en" else Path(settings.lang).stem]
    named = "-".join(_slug(part) for part in parts if part)
    return run / "reports" / named if named else run / "report"


def _slug(text: str) -> str:
    """A text as a file name; the short hash keeps apart what letters alone would not."""
    plain = re.sub(r"[^a-z0-9]+", "-", text.casefold()).strip("-")[:60]
    short = hashlib.sha256(text.encode()).hexdigest()[:6]
    return plain if plain and plain == text.casefold().replace(" ", "-") else f"{plain}-{short}".strip("-")


def write(page: Page, settings: ReportSettings, folder: Path) -> list[str]:
    """Write tables/*.csv and what the settings name besides; the names of the latter."""
    made = []
    for table in page.tables:
        with whole_file(folder / "tables" / f"{table.name}.csv") as draft:
            draft.write_text(table.csv(), encoding="utf-8", newline="")
        if "parquet" in settings.also:
            with whole_file(folder / "tables" / f"{table.name}.parquet") as draft:
                frame(table).write_parquet(draft)
    if "parquet" in settings.also:
        made.append("tables/*.parquet")
    if "markdown" in settings.also:
        from behavio.report.summary import markdown

        with whole_file(folder / "report.md") as draft:
            draft.write_text(markdown(page), encoding="utf-8", newline="")
        made.append("report.md")
    if "pptx" in settings.also:
        from behavio.report.slides import write_slides

        template = None if settings.template is None else Path(settings.template)
        with whole_file(folder / "report.pptx") as draft:
            write_slides(page, draft, template)
        made.append("report.pptx")
    return made


def frame(table: Table) -> pl.DataFrame:
    """A table of the page as a frame; numbers stay numbers, mixed columns become texts."""
    columns = {}
    for c in table.columns:
        values = [row[c.name] for row in table.rows]
        kinds = {type(v) for v in values if v is not None}
        if kinds <= {int} or kinds <= {float} or kinds <= {bool} or kinds <= {str}:
            columns[c.name] = pl.Series(c.name, values)
        elif kinds <= {int, float}:
            columns[c.name] = pl.Series(c.name, values, dtype=pl.Float64, strict=False)
        else:
            texts = [None if v is None else str(v) for v in values]
            columns[c.name] = pl.Series(c.name, texts, dtype=pl.String)
    return pl.DataFrame(columns)
