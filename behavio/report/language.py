"""The language of a page: texts from a catalogue file, numbers and dates as its readers write them.

The texts stand in the code in English. A catalogue is a TOML file:

    code = "de"            decimal = ","   thousands = "."   date = "{day}. {month} {year}"
    months = ["Jan.", …]   [texts] "English text with {places}" = "Text mit {places}"
    [units] days = "Tage"  [patterns] "{a} make up {b} of their events" = "…"

What a catalogue does not hold stays English: nothing is left out, and nothing is guessed.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from functools import cached_property
from importlib import resources
from pathlib import Path
from typing import Any

from markupsafe import Markup

from behavio.errors import JobError

BUILT_IN = ("en", "de")
ARROW = " → "
THEN, TIMES = ", then ", " × "
CLAUSES = re.compile(r"; (?:and )?")
PLURAL = "s"
"""The place of an English plural ending, which other languages may leave out."""
MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")


@dataclass(frozen=True, eq=False)
class Language:
    """One catalogue.

    texts     English text → text; places in braces stay as they are
    units     words inside a number, such as "days"
    patterns  sentences other stages write, with places for what changes in them
    endings   regular expression → replacement, for words that bend after what stands before their number
    """

    code: str = "en"
    decimal: str = "."
    thousands: str = ","
    date: str = "{day} {month} {year}"
    day_month: str = "{day} {month}"
    months: tuple[str, ...] = MONTHS
    texts: dict[str, str] = field(default_factory=dict)
    units: dict[str, str] = field(default_factory=dict)
    patterns: dict[str, str] = field(default_factory=dict)
    endings: dict[str, str] = field(default_factory=dict)

    def text(self, english: str) -> str:
        """The text in this language; a path of steps is said step by step."""
        if not self.texts or not english:
            return english
        said = english.strip()
        start = len(english) - len(english.lstrip())
        before, after = english[:start], english[start + len(said) :]
        return before + self._said(_joined(said)) + after

    def _said(self, english: str) -> str:
        known = self.texts.get(english)
        if known is not None:
            return known
        small = self.texts.get(english[:1].lower() + english[1:])
        if small is not None:
            return small[:1].upper() + small[1:]
        for between in (ARROW, THEN):
            if between in english:
                own = self.texts.get(between.strip(), between.strip())
                gap = between.replace(between.strip(), own)
                return gap.join(self._step(part) for part in english.split(between))
        if TIMES in english:
            return self._step(english)
        return self.sentence(english)

    def _step(self, text: str) -> str:
        name, times, count = text.partition(TIMES)
        return self.text(name) + times + count

    def sentence(self, english: str) -> str:
        """A sentence made elsewhere, clause by clause; as it is where one clause fits no pattern."""
        body, stop = (english[:-1], ".") if english.endswith(".") else (english, "")
        own = [self._clause(part) for part in CLAUSES.split(body)]
        said = [part for part in own if part is not None]
        if len(said) < len(own):
            return english
        whole = "; ".join(said)
        return (whole[:1].upper() + whole[1:] if body[:1].isupper() or len(own) > 1 else whole) + stop

    def _clause(self, english: str) -> str | None:
        """A clause by the first pattern it fits; its numbers are put into this language."""
        for expression, target in self._expressions:
            fits = expression.fullmatch(english)
            if fits:
                said = {k: self.number(self.text(_inner(v))) for k, v in fits.groupdict().items()}
                return self.bent(target.format(**said))
        return None

    @cached_property
    def _expressions(self) -> list[tuple[re.Pattern[str], str]]:
        found = []
        for source, target in self.patterns.items():
            parts = re.split(r"\{(\w+)\}", source)
            text = "".join(
                f"(?P<{part}>.+?)" if i % 2 else re.escape(part).replace(r"\ ", "[ \u00a0]")
                for i, part in enumerate(parts)
            )
            found.append((re.compile(text, re.DOTALL), target))
        return found

    def bent(self, said: str) -> str:
        """A text whose places are filled, its words bent as grammar asks."""
        for expression, own in self._bent:
            said = expression.sub(own, said)
        return said

    @cached_property
    def _bent(self) -> list[tuple[re.Pattern[str], str]]:
        return [(re.compile(expression), own) for expression, own in self.endings.items()]

    def number(self, written: str) -> str:
        """A number written the English way, in this language."""
        if self.code == "en":
            return written
        marks = {",": self.thousands, ".": self.decimal}
        text = re.sub(r"(?<=\d)[.,](?=\d)", lambda m: marks[m[0]], written)
        for english, own in self.units.items():
            text = re.sub(rf"(?<!\w){re.escape(english)}(?!\w)", own, text)
        return text


ENGLISH = Language()
_spoken: ContextVar[Language] = ContextVar("behavio_report_language", default=ENGLISH)


def spoken() -> Language:
    """The language that is being written."""
    return _spoken.get()


def t(text: Any) -> Any:
    """A text in the language that is being written; markup stays markup, anything else stays as it is."""
    if isinstance(text, Markup):
        own = _spoken.get()
        return text if "<" in text or not own.texts else Markup(own.text(str(text)))
    return _spoken.get().text(text) if isinstance(text, str) else text


@contextmanager
def speaking(language: Language) -> Iterator[Language]:
    """Write in this language until the block ends."""
    token = _spoken.set(language)
    try:
        yield language
    finally:
        _spoken.reset(token)


def language(name: str) -> Language:
    """A language by its code ("en", "de") or by the path of a catalogue file.

    Raises JobError when there is no such language, or the file is no catalogue.
    """
    if name == "en":
        return ENGLISH
    hint = f"{', '.join(BUILT_IN)}, or the path of a catalogue file (TOML), see docs/guides/report.md"
    if name in BUILT_IN:
        text = resources.files("behavio.report").joinpath(f"languages/{name}.toml").read_text("utf-8")
    elif Path(name).is_file():
        text = Path(name).read_text(encoding="utf-8")
    else:
        raise JobError(f"there is no language {name!r}", hint=hint)
    try:
        told = tomllib.loads(text)
    except tomllib.TOMLDecodeError as problem:
        raise JobError(f"{name} is no catalogue: {problem}", hint=hint) from None
    return _checked(name, told, hint)


def _checked(name: str, told: dict[str, Any], hint: str) -> Language:
    known = {
        "code",
        "decimal",
        "thousands",
        "date",
        "day_month",
        "months",
        "texts",
        "units",
        "patterns",
        "endings",
    }
    wrong = sorted(set(told) - known)
    if wrong:
        raise JobError(
            f"{name} holds {wrong[0]!r}, which no catalogue has", hint=f"known: {', '.join(sorted(known))}"
        )
    months = tuple(told.pop("months", MONTHS))
    if len(months) != 12 or not all(isinstance(m, str) for m in months):
        raise JobError(f"{name} needs twelve months", hint=hint)
    for expression in told.get("endings", {}):
        try:
            re.compile(expression)
        except re.error as problem:
            raise JobError(f"{name}: {expression!r} is no regular expression: {problem}", hint=hint) from None
    for table in ("texts", "patterns"):
        for english, own in told.get(table, {}).items():
            gone = set(places(english)) - set(places(own)) - {PLURAL}
            if gone or set(places(own)) - set(places(english)):
                raise JobError(
                    f"{name}: the places in {own!r} are not those of {english!r}",
                    hint="keep every {place} of the English text, each as often",
                )
    return Language(months=months, **told)


def _inner(text: str) -> str:
    """An article that began an English sentence need not begin the other."""
    return text[:1].lower() + text[1:] if text.startswith(("A ", "An ")) else text


def _joined(text: str) -> str:
    """One line of what stands on several in the code."""
    return re.sub(r"\s*\n\s*", " ", text)


def places(text: str) -> list[str]:
    """The places in braces of a text, sorted."""
    return sorted(set(re.findall(r"\{(\w+)\}", text)))
