"""Take in a drawing another stage has made, keeping only what draws."""

from __future__ import annotations

import re
from collections.abc import Mapping
from xml.etree import ElementTree

from markupsafe import Markup, escape

from behavio.report.language import spoken

SVG = "{http://www.w3.org/2000/svg}"
SHAPES = ("g", "path", "line", "polyline", "polygon", "rect", "circle", "ellipse", "text", "tspan")
ELEMENTS = frozenset(["svg", *SHAPES, "title", "desc", "defs", "marker", "style"])
ATTRIBUTE = re.compile(r"^(?!on)[a-zA-Z_:][-\w:.]*$")
LEFT_OUT = {"svg": ("href", "id", "role", "aria-label")}
"""The page names the drawing itself."""
OUTSIDE = re.compile(r"url\(\s*['\"]?(?!#)|@import|expression\(|javascript:|</", re.IGNORECASE)


def embedded(source: str, names: Mapping[str, str] | None = None, cases: str | None = None) -> Markup | None:
    """The SVG as markup to stand inside the page, or None when it is no SVG.

    Scripts, event handlers, links and anything fetched are left out. names: activities to be said in other
    words; cases: what a case is called.
    """
    if "<!ENTITY" in source:
        return None
    try:
        root = ElementTree.fromstring(source)
    except ElementTree.ParseError:
        return None
    if root.tag not in (f"{SVG}svg", "svg"):
        return None
    _rename(root, names or {}, cases)
    return _element(root)


def _rename(root: ElementTree.Element, names: Mapping[str, str], cases: str | None) -> None:
    """Put the words of the page into the drawing; a name set in several lines becomes one."""
    for group in root.iter(f"{SVG}g"):
        title = group.find(f"{SVG}title")
        said = names.get((title.text or "") if title is not None else "")
        if title is None or said is None or said == title.text:
            continue
        lines = [t for t in group.iter(f"{SVG}text") if t.get("class") == "name"]
        for i, line in enumerate(lines):
            line.text = said if i == 0 else ""
        title.text = said
    for text in root.iter(f"{SVG}text"):
        if cases is not None and text.get("class") == "small" and text.text:
            text.text = re.sub(r"\bcases\b", cases, text.text)
        if text.get("class") == "small" and text.text:
            text.text = _in_words(text.text.replace("\u00a0", " ")) if spoken().texts else text.text


def _in_words(said: str) -> str:
    """A line of a drawing in the language of the page; what a catalogue says has its numbers right."""
    own = spoken()
    found = own.text(said)
    return own.number(said) if found == said else found


def _element(node: ElementTree.Element) -> Markup:
    name = str(node.tag).removeprefix(SVG)
    if name not in ELEMENTS:
        return Markup("")
    parts = [Markup(f"<{name}")]
    for key, value in node.attrib.items():
        if key.startswith("{") or not ATTRIBUTE.match(key) or key in LEFT_OUT.get(name, ("href",)):
            continue
        if not OUTSIDE.search(value):
            parts.append(Markup(' {}="{}"').format(Markup(key), value))
    parts.append(Markup(">"))
    if name == "style":
        text = node.text or ""
        parts.append(Markup("") if OUTSIDE.search(text) or "<" in text else Markup(text))
    else:
        parts.append(escape(node.text or ""))
        for child in node:
            parts.append(_element(child))
            parts.append(escape(child.tail or ""))
    parts.append(Markup(f"</{name}>"))
    return Markup("").join(parts)
