"""Small building blocks for drawings: tags whose text and attributes are escaped."""

from __future__ import annotations

from collections.abc import Iterable

from markupsafe import Markup, escape


def tag(name: str, *children: object, **attributes: object) -> Markup:
    """An element; `_` in an attribute name is written as `-`, a trailing one is dropped, None left out."""
    parts = [Markup(f"<{name}")]
    for key, value in attributes.items():
        if value is not None:
            parts.append(Markup(' {}="{}"').format(Markup(key.rstrip("_").replace("_", "-")), number(value)))
    parts.append(Markup(">"))
    parts.extend(escape(child) for child in children)
    parts.append(Markup(f"</{name}>"))
    return Markup("").join(parts)


def join(parts: Iterable[Markup]) -> Markup:
    """Several elements one after the other."""
    return Markup("").join(parts)


def number(value: object) -> object:
    """A coordinate with at most one decimal, so that drawings stay light; anything else as it is."""
    if isinstance(value, float):
        text = f"{value:.1f}"
        return text[:-2] if text.endswith(".0") else text
    return value


def text_width(text: str, size: float) -> float:
    """About how wide a text is drawn, in the unit of its size; wide scripts and emoji count double."""
    return sum(1.05 if ord(c) > 0x2E80 else 0.56 for c in text) * size


def wrapped(text: str, room: float, size: float) -> list[str]:
    """The name in lines that fit; a word too long is broken, never cut."""
    lines = [""]
    for word in text.split(" "):
        while text_width(word, size) > room:
            cut = max(1, int(room / (size * 0.6)))
            lines.append(word[:cut])
            word = word[cut:]
        longer = f"{lines[-1]} {word}".strip()
        if text_width(longer, size) <= room:
            lines[-1] = longer
        else:
            lines.append(word)
    return [line for line in lines if line]


def for_widths(wide: Markup, middle: Markup, narrow: Markup) -> Markup:
    """Three drawings of one chart; the page shows the one that fits the reader's width."""
    drawings = {"wide": wide, "middle": middle, "narrow": narrow}
    return join(tag("div", drawing, class_=name) for name, drawing in drawings.items())
