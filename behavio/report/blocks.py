"""The parts a page is laid out from. Each names the template macro that draws it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

from markupsafe import Markup

from behavio.report.tables import Table

EMPTY = Markup("")


@dataclass(frozen=True, slots=True)
class Figure:
    """A chart: heading that says the finding, the drawing, caption, and the table it is drawn from.

    alt is read aloud instead of the drawing and carries the finding. again: the table is printed further up.
    more: a second table it is drawn from.
    """

    macro: ClassVar[str] = "figure"
    title: Markup
    chart: Markup
    alt: str
    caption: Markup
    table: Table | None = None
    classes: str = ""
    again: bool = False
    more: Table | None = None


@dataclass(frozen=True, slots=True)
class Level:
    """One state of a chart that can be simplified: what the slider says, the drawing, its words."""

    said: Markup
    chart: Markup
    alt: str


@dataclass(frozen=True, slots=True)
class Levels:
    """A chart in several degrees of detail, from few to many; on paper `usual` stands."""

    macro: ClassVar[str] = "levels"
    id: str
    title: Markup
    levels: tuple[Level, ...]
    usual: int
    label: str
    caption: Markup
    table: Table | None = None
    more: Table | None = None
    classes: str = ""


@dataclass(frozen=True, slots=True)
class Sheet:
    """A table printed in the open, with an optional heading and note."""

    macro: ClassVar[str] = "sheet"
    table: Table
    title: Markup = EMPTY
    note: Markup = EMPTY


@dataclass(frozen=True, slots=True)
class Prose:
    """Paragraphs."""

    macro: ClassVar[str] = "prose"
    paragraphs: tuple[Markup, ...]
    title: Markup = EMPTY


@dataclass(frozen=True, slots=True)
class Definitions:
    """Terms and what they mean."""

    macro: ClassVar[str] = "definitions"
    items: tuple[tuple[str | Markup, str | Markup], ...]


@dataclass(frozen=True, slots=True)
class Key:
    """Which hue is which kind of event."""

    macro: ClassVar[str] = "key"
    items: tuple[tuple[str, str], ...]
    note: str = ""


@dataclass(frozen=True, slots=True)
class Card:
    """One group: name, size, sentence, typical journey, weeks, four answers."""

    macro: ClassVar[str] = "card"
    id: str
    name: str
    size: Markup
    sentence: str
    journey: Figure | None
    weeks: Figure | None
    answers: tuple[tuple[str, Markup], ...]
    links: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Index:
    """Links to parts of the section: where to, name, how much."""

    macro: ClassVar[str] = "index"
    links: tuple[tuple[str, str, Markup], ...]


Block = Index | Figure | Levels | Sheet | Prose | Definitions | Key | Card


@dataclass(frozen=True, slots=True)
class Section:
    """A part of the page: its heading is a finding, the line under it says what was counted."""

    id: str
    short: str
    title: Markup
    sub: Markup = EMPTY
    blocks: tuple[Block, ...] = ()
    tables: tuple[Table, ...] = field(default=())


def without(id: str, short: str, what: str, text: Markup) -> Section:
    """A section that has no data: what is missing and what it would take, in one line."""
    return Section(id, short, Markup("No {} in this run").format(what), blocks=(Prose((text,)),))


@dataclass(frozen=True, slots=True)
class Kpi:
    """One number of the strip: value, what it is, and how it moved."""

    value: Markup
    label: Markup
    change: Markup = EMPTY
    mood: str = ""
