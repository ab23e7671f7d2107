"""Page → topic (and email → topic or brand) by ordered rules: the first that fits wins, the rest is listed.

A rule is a pattern and a name. A pattern is a glob over the whole text (`/products/*/efficacy*`; `*` stands
for anything, also for slashes, `?` for one character) or, after `regex:`, a regular expression that may be
found anywhere. Case is ignored. A web address is offered as its path without host, question mark and hash
(`/products/x`); any other text, such as a page name or title, as it is.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from fnmatch import translate

import polars as pl

from behavio.errors import JobError

REGEX = "regex:"
LISTED = 10


@dataclass(frozen=True, slots=True)
class Rules:
    """Ordered pairs of pattern and name. Raises JobError for a pattern that cannot be used."""

    rules: tuple[tuple[str, str], ...] = ()

    def __post_init__(self) -> None:
        for pattern, name in self.rules:
            if not pattern.strip() or not name.strip():
                raise JobError(
                    f"the rule {pattern!r} = {name!r} is empty", hint='write "/products/*" = "products"'
                )
            try:
                re.compile(_source(pattern))
            except re.error as problem:
                raise JobError(
                    f"the rule {pattern!r} is no regular expression: {problem}",
                    hint=f"without {REGEX} it is a glob such as /products/*",
                ) from None

    def __bool__(self) -> bool:
        return bool(self.rules)

    def name_of(self, *texts: str | None) -> str | None:
        """The name of the first rule that fits one of the texts, else None."""
        for pattern, name in self.rules:
            fits = re.compile(_source(pattern), re.IGNORECASE | re.DOTALL)
            look = fits.search if pattern.startswith(REGEX) else fits.match
            if any(text is not None and look(text) for text in texts):
                return name
        return None


def rules_of(given: Mapping[str, str] | Rules) -> Rules:
    """Rules from a table of the job, in the order they are written."""
    return given if isinstance(given, Rules) else Rules(tuple(given.items()))


def _source(pattern: str) -> str:
    return pattern.removeprefix(REGEX) if pattern.startswith(REGEX) else translate(pattern)


def page_path(text: pl.Expr) -> pl.Expr:
    """Path of a web address, "/" for a bare host; what is no address stays as it is.

    Addresses are texts with a scheme, and texts whose first part before a slash holds a dot (Matomo stores
    `portal.example/studies`).
    """
    address = text.str.contains(r"^(?:[A-Za-z][A-Za-z0-9+.-]*:)?//") | text.str.contains(
        r"^[^/\s?#]+\.[^/\s?#]+/"
    )
    rest = text.str.replace(r"^(?:[A-Za-z][A-Za-z0-9+.-]*:)?//", "").str.replace(r"^[^/?#]*", "")
    rest = pl.when(address).then(rest).otherwise(text)
    cut = pl.when(address | text.str.starts_with("/")).then(rest.str.replace(r"[?#].*$", "")).otherwise(rest)
    return pl.when(address & (cut == "")).then(pl.lit("/")).otherwise(cut)


def named(rules: Rules, columns: list[pl.Series]) -> pl.Series:
    """The rules' name for each row of these texts, null where no rule fits.

    Each distinct row is looked at once, so the cost grows with the number of pages, not of hits.
    """
    table = pl.DataFrame([c.alias(f"t{i}") for i, c in enumerate(columns)])
    distinct = table.unique(maintain_order=True)
    found = [rules.name_of(*row) for row in distinct.iter_rows()]
    distinct = distinct.with_columns(pl.Series("name", found, dtype=pl.String))
    joined = table.join(distinct, on=table.columns, how="left", maintain_order="left", nulls_equal=True)
    return joined["name"]


def unmatched_note(texts: pl.Series, names: pl.Series, what: str) -> str | None:
    """What no rule fits, counted and listed, most frequent first; None when everything fits."""
    lost = texts.filter(names.is_null() & texts.is_not_null())
    if lost.len() == 0:
        return None
    table = lost.alias("text").value_counts().sort("count", "text", descending=[True, False])
    listed = [f"{text} ({n:,})" for text, n in table.head(LISTED).iter_rows()]
    more = f" and {table.height - LISTED:,} more" if table.height > LISTED else ""
    rows = "1 row fits" if lost.len() == 1 else f"{lost.len():,} rows fit"
    return f"{rows} no rule for {what}: {', '.join(listed)}{more}"
