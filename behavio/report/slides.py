"""The page as slides: one finding each, charts that stay charts, in a company's own template if given."""

from __future__ import annotations

import io
import re
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from markupsafe import Markup

from behavio.errors import JobError
from behavio.report.blocks import Card, Figure, Levels, Sheet
from behavio.report.language import t
from behavio.report.slide_charts import add_chart, add_table
from behavio.report.tables import Table

if TYPE_CHECKING:
    from behavio.report.page import Page

LEFT_OUT = ("method", "glossary", "readiness")
STAMP = (1980, 1, 1, 0, 0, 0)
DATE = re.compile(rb"(<dcterms:(?:created|modified)[^>]*>)[^<]*(<)")


@dataclass(frozen=True, slots=True)
class Place:
    """Where the body of a slide stands, in EMU, and the layouts used."""

    left: int
    top: int
    width: int
    height: int
    foot: int
    title_layout: Any
    body_layout: Any
    own: bool = True  # no company template: everything is placed here


def write_slides(page: Page, path: Path, template: Path | None = None) -> int:
    """Write the slides; returns how many there are. Raises JobError for a template that is none."""
    deck = _deck(template)
    place = _place(deck, template is None)
    _title_slide(deck, place, page)
    _sentences(deck, place, page)
    _numbers(deck, place, page)
    seen: set[str] = set()
    for section in page.sections:
        if section.id in LEFT_OUT:
            continue
        for block in section.blocks:
            if isinstance(block, Card):
                _card(deck, place, page, block)
            elif isinstance(block, Figure | Levels | Sheet):
                table = block.table
                if table is not None and table.rows and table.name not in seen:
                    seen.add(table.name)
                    _finding(deck, place, page, block, t(block.title) or t(section.title))
    _last(deck, place, page)
    buffer = io.BytesIO()
    deck.save(buffer)
    path.write_bytes(_same_bytes(buffer.getvalue()))
    return len(deck.slides)


def _deck(template: Path | None) -> Any:
    try:
        from pptx import Presentation
        from pptx.exc import PackageNotFoundError
    except ImportError:
        raise JobError("slides need the package python-pptx", hint="pip install 'behavio[pptx]'") from None
    from pptx.util import Inches

    if template is None:
        deck = Presentation()
        deck.slide_width, deck.slide_height = Inches(13.333), Inches(7.5)
        return deck
    try:
        deck = Presentation(str(template))
    except (PackageNotFoundError, KeyError, ValueError, zipfile.BadZipFile) as problem:
        raise JobError(
            f"{template} is no PowerPoint file: {problem}", hint="name a .pptx with the company's layouts"
        ) from None
    listed = deck.slides._sldIdLst
    for slide in list(listed):  # what the template shows as an example is not part of the report
        deck.part.drop_rel(slide.rId)
        listed.remove(slide)
    return deck


def _place(deck: Any, own: bool) -> Place:
    layouts = list(deck.slide_layouts)
    with_title = [x for x in layouts if _has_title(x)] or layouts
    body = min(with_title, key=lambda x: len(list(x.placeholders)))
    width, height = int(deck.slide_width), int(deck.slide_height)
    edge = width // 20
    top, tall, foot = height * 22 // 100, height * 64 // 100, height * 92 // 100
    return Place(edge, top, width - 2 * edge, tall, foot, layouts[0], body, own)


def _has_title(layout: Any) -> bool:
    return any(p.placeholder_format.type in (1, 3) for p in layout.placeholders)


def _new(deck: Any, place: Place, title: object, layout: Any = None) -> Any:
    from pptx.util import Pt

    slide = deck.slides.add_slide(layout or place.body_layout)
    text = plain(title)
    head = slide.shapes.title
    if head is None:
        head = slide.shapes.add_textbox(place.left, place.top // 4, place.width, place.top // 2)
    elif layout is None:
        head.left, head.top, head.width, head.height = (
            place.left,
            place.top // 5,
            place.width,
            place.top * 7 // 10,
        )
    head.text_frame.text = text
    head.text_frame.word_wrap = True
    for paragraph in head.text_frame.paragraphs:
        paragraph.font.size = Pt(40 if layout is not None else 28 if len(text) < 90 else 22)
        paragraph.font.name = "Georgia"
        paragraph.font.bold = True
        if layout is None:
            paragraph.alignment = 1
    for other in list(slide.placeholders):
        if other.placeholder_format.type not in (1, 3) and layout is None:
            other._element.getparent().remove(other._element)
    return slide


def _text(
    slide: Any, lines: list[str], box: tuple[int, int, int, int], size: float, muted: bool = False
) -> None:
    from pptx.dml.color import RGBColor
    from pptx.util import Pt

    frame = slide.shapes.add_textbox(*box).text_frame
    frame.word_wrap = True
    for i, line in enumerate(lines):
        paragraph = frame.paragraphs[0] if i == 0 else frame.add_paragraph()
        paragraph.text = line
        paragraph.font.size = Pt(size)
        paragraph.space_after = Pt(size * 0.55)
        if muted:
            paragraph.font.color.rgb = RGBColor(0x6D, 0x6A, 0x63)


def _title_slide(deck: Any, place: Place, page: Page) -> None:
    slide = _new(deck, place, page.head.title, place.title_layout)
    others = [p for p in slide.placeholders if p.placeholder_format.type not in (1, 3)]
    if place.own:
        head = slide.shapes.title
        head.left, head.top, head.width, head.height = place.left, place.top, place.width, place.top * 3 // 2
        head.text_frame.paragraphs[0].alignment = 1
        for other in others:
            other._element.getparent().remove(other._element)
        box = (place.left, place.top * 11 // 4, place.width, place.top)
        _text(slide, [plain(page.head.sub)], box, 18, True)
    elif others:
        others[0].text_frame.text = plain(page.head.sub)
    else:
        _text(slide, [plain(page.head.sub)], (place.left, place.foot // 2, place.width, place.top), 18, True)


def _sentences(deck: Any, place: Place, page: Page) -> None:
    if not page.head.sentences:
        return
    slide = _new(deck, place, t("What was found"))
    said = [f"{i}  {plain(s)}" for i, s in enumerate(page.head.sentences, start=1)]
    size = 20 if sum(map(len, said)) < 900 else 16
    _text(slide, said, (place.left, place.top, place.width, place.height), size)


def _numbers(deck: Any, place: Place, page: Page) -> None:
    slide = _new(deck, place, t("The strip of numbers"))
    rows = [[plain(t(k.label)), plain(k.value), plain(k.change)] for k in page.kpis]
    head = [plain(t("Number")), plain(t("Whole period")), plain(t("Last 13 weeks"))]
    add_table(slide, head, rows, (place.left, place.top, place.width, place.height))
    _source(slide, place, page.kpi_table, plain(t(page.kpi_note)))


def _card(deck: Any, place: Place, page: Page, card: Card) -> None:
    slide = _new(deck, place, card.name)
    half = place.width * 48 // 100
    weekly = next((x for s in page.sections for x in s.tables if x.name == "weekly"), None)
    said = [
        plain(card.size),
        plain(t(card.sentence)),
        *(f"{plain(t(q))}: {plain(t(a))}" for q, a in card.answers),
    ]
    chart = weekly is not None and any(r.get("segment") == card.name for r in weekly.rows)
    _text(slide, said, (place.left, place.top, half if chart else place.width, place.height), 14)
    if weekly is not None and chart:
        rows = tuple(r for r in weekly.rows if r.get("segment") == card.name)
        box = (place.left + place.width - half, place.top, half, place.height)
        own = Table(weekly.name, weekly.title, weekly.columns, rows, weekly.command)
        add_chart(slide, own, box, page.hues, plain(t(weekly.title)))
        _source(slide, place, weekly, plain(t(weekly.title)))


def _finding(deck: Any, place: Place, page: Page, block: Figure | Levels | Sheet, title: object) -> None:
    assert block.table is not None
    slide = _new(deck, place, title)
    box = (place.left, place.top, place.width, place.height)
    note = block.note if isinstance(block, Sheet) else block.caption
    alt = block.alt if isinstance(block, Figure) else plain(title)
    add_chart(slide, block.table, box, page.hues, alt)
    _source(slide, place, block.table, plain(t(note)))


def _last(deck: Any, place: Place, page: Page) -> None:
    method = next((s for s in page.sections if s.id == "method"), None)
    if method is None:
        return
    slide = _new(deck, place, t(method.title))
    lines = [plain(t(p)) for b in method.blocks for p in getattr(b, "paragraphs", ())]
    _text(slide, lines, (place.left, place.top, place.width, place.height), 12)


def _source(slide: Any, place: Place, table: Table, note: str) -> None:
    said = [note] if note else []
    said.append(f"{plain(t('Source'))}: {table.command or 'behavio report RUN'} · tables/{table.name}.csv")
    height = place.top // 2
    _text(slide, said, (place.left, place.foot - height // 2, place.width, height), 10, True)


def plain(text: object) -> str:
    """Text without markup and without what XML cannot hold."""
    said = text.striptags() if isinstance(text, Markup) else str(text)
    return re.sub(r"[\x00-\x08\x0b\x0c\x0e-\x1f]", "", said).strip()


def _same_bytes(deck: bytes) -> bytes:
    """The file without the time it was made at: the same tables give the same bytes."""
    out = io.BytesIO()
    with (
        zipfile.ZipFile(io.BytesIO(deck)) as read,
        zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as written,
    ):
        for name in read.namelist():
            content = read.read(name)
            if name.endswith(".xlsx"):
                content = _same_bytes(content)
            elif name.endswith("core.xml"):
                content = DATE.sub(rb"\g<1>1980-01-01T00:00:00Z\g<2>", content)
            info = zipfile.ZipInfo(name, STAMP)
            info.compress_type = zipfile.ZIP_DEFLATED
            written.writestr(info, content)
    return out.getvalue()
