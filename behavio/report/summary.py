"""The page as Markdown: what was found, with the numbers behind it, for a wiki or a mail."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from markupsafe import Markup

from behavio.report.blocks import Block, Card, Definitions, Figure, Levels, Prose, Sheet
from behavio.report.language import t
from behavio.report.tables import Table

if TYPE_CHECKING:
    from behavio.report.page import Page

ROWS, COLUMNS = 10, 7


def markdown(page: Page) -> str:
    """The whole page; tables at their first ten rows, each with the command that prints it."""
    lines = [f"# {plain(page.head.title)}", "", f"_{plain(page.head.sub)}_", ""]
    lines += [f"{i}. {plain(said)}" for i, said in enumerate(page.head.sentences, start=1)]
    lines += ["", f"| {plain(t('Number'))} | {plain(t('Whole period'))} | |", "| --- | ---: | --- |"]
    lines += [f"| {plain(t(k.label))} | {plain(k.value)} | {plain(k.change)} |" for k in page.kpis]
    for section in page.sections:
        lines += ["", f"## {plain(t(section.title))}", ""]
        if section.sub:
            lines += [plain(t(section.sub)), ""]
        for block in section.blocks:
            lines += _block(block)
    return re.sub(r"\n{3,}", "\n\n", "\n".join(lines)).rstrip() + "\n"


def _block(block: Block) -> list[str]:
    if isinstance(block, Figure | Levels | Sheet):
        lines = [f"### {plain(t(block.title))}", ""] if block.title else []
        note = block.note if isinstance(block, Sheet) else block.caption
        if note:
            lines += [plain(t(note)), ""]
        shown = block.table is not None and not (isinstance(block, Figure) and block.again)
        return lines + (_table(block.table) if shown and block.table is not None else [])
    if isinstance(block, Card):
        lines = [f"### {plain(block.name)}", "", plain(block.size), "", plain(t(block.sentence)), ""]
        return lines + [f"- {plain(t(q))}: {plain(t(a))}" for q, a in block.answers] + [""]
    if isinstance(block, Prose):
        head = [f"### {plain(t(block.title))}", ""] if block.title else []
        return head + [line for p in block.paragraphs for line in (plain(t(p)), "")]
    if isinstance(block, Definitions):
        return [*(f"- {plain(t(term))}: {plain(t(said))}" for term, said in block.items), ""]
    return []


def _table(table: Table) -> list[str]:
    columns = table.columns[:COLUMNS]
    lines = [
        "| " + " | ".join(plain(t(c.title)) for c in columns) + " |",
        "| " + " | ".join("---" if c.kind == "text" else "---:" for c in columns) + " |",
    ]
    for i in range(min(ROWS, len(table.rows))):
        lines.append("| " + " | ".join(plain(table.text(i, c.name)) for c in columns) + " |")
    if len(table.rows) > ROWS:
        lines += ["", f"`tables/{table.name}.csv`: {len(table.rows)}"]
    return [*lines, "", f"`{table.command}`" if table.command else "", ""]


def plain(text: object) -> str:
    """Text without markup, safe inside Markdown and its tables."""
    said = Markup(text).striptags() if isinstance(text, Markup) else re.sub(r"\s+", " ", str(text)).strip()
    said = re.sub(r"([\\`*_\[\]<>|#])", r"\\\1", said)
    return said
