"""Take in a drawing another stage has made, keeping only what draws."""

from __future__ import annotations

import re
from collections.abc import Mapping
from xml.etree import ElementTree

from markupsafe import Markup, escape

SVG = "{http://www.w3.org/2000/svg}"
SHAPES = ("g", "path", "line", "polyline", "polygon", "rect", "circle", "ellipse", "text", "tspan")
ELEMENTS = frozenset(["svg", *SHAPES, "title", "desc", "defs", "marker", "style"])
ATTRIBUTE = re.compile(r"^(?!on)[a-zA-Z_:][-\w:.]*$")
OUTSIDE = re.compile(r"url\(\s*['\"]?(?!#)|@import|expression\(|javascript:|</", re.IGNORECASE)


def embedded(source: str, names: Mapping[str, str] | None = None) -> Markup | None:
    """The SVG as markup to stand inside the page, or None when it is no SVG.

    Scripts, event handlers, links and anything fetched are left out. names: texts to be said in other words.
    """
    if "<!ENTITY" in source:
        return None
    try:
        root = ElementTree.fromstring(source)
    except ElementTree.ParseError:
        return None
    if root.tag not in (f"{SVG}svg", "svg"):
        return None
    return _element(root, names or {})


def _element(node: ElementTree.Element, names: Mapping[str, str]) -> Markup:
    name = node.tag.removeprefix(SVG)
    if name not in ELEMENTS:
        return Markup("")
    parts = [Markup(f"<{name}")]
    for key, value in node.attrib.items():
        if (
            key.startswith("{")
            or not ATTRIBUTE.match(key)
            or key in ("href", "id" if name == "svg" else "href")
        ):
            continue
        if not OUTSIDE.search(value):
            parts.append(Markup(' {}="{}"').format(Markup(key), value))
    parts.append(Markup(">"))
    if name == "style":
        text = node.text or ""
        parts.append(Markup("") if OUTSIDE.search(text) or "<" in text else Markup(text))
    else:
        text = node.text or ""
        parts.append(escape(names.get(text.strip(), text)))
        for child in node:
            parts.append(_element(child, names))
            parts.append(escape(child.tail or ""))
    parts.append(Markup(f"</{name}>"))
    return Markup("").join(parts)
