"""Who and what may not enter: people who opted out or are excluded, free text, what identifies a person.

A barred person leaves no event, no case, no consent and no rejected row's text; what was left out is counted
with its reason. Free text can hold patient data and adverse events, so a column that looks like text stays
out unless the job names it.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from pathlib import Path

import polars as pl

from behavio.errors import LogError
from behavio.sources.guess import guess, plain
from behavio.sources.inputs import decode, find_inputs, load
from behavio.sources.settings import LogSettings
from behavio.sources.tabular import read_inputs

OPT_OUT = ("dataprivacyoptoutv", "dataprivacyoptoutvodc", "dataprivacyoptoutc", "dataprivacyoptout")
"""Columns of a case table that say a person may not be processed at all (PDRP only concerns Rx data)."""
YES = ("true", "1", "1.0", "yes", "y", "yes_vod", "yes__v", "t")
OPTED_OUT = "the person opted out of data processing"
EXCLUDED = "the person is on the exclusion list"
ERASED = "the person was erased from this run"
HIDDEN = "(not shown: it names a person who may not enter)"

WORDS = (
    "note notes comment comments remark remarks memo freetext narrative description descriptions body html "
    "signature signatures address addresses street email mail phone mobile "
    "fax telephone licence license licences licenses dea birthdate birthday dob firstname lastname surname "
    "ip ssn"
).split()
PAIRS = (
    "free text", "first name", "last name", "middle name", "birth date",
    "date birth", "e mail", "user agent",
)  # fmt: skip
PARTS = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+")
ADDRESS = r"^[^@\s]+@[^@\s]+\.[^@\s]+$"
FLAG = r"(?i)^\s*(-?\d{1,5}(\.\d+)?|true|false|yes|no|y|n)?\s*$"
LOOKED_AT = 2_000


@dataclass(frozen=True)
class Privacy:
    """Who may not enter (id → reason; erased people only as salted hashes), whether text and patients may."""

    keep_text: bool = False
    barred: Mapping[str, str] = field(default_factory=dict)
    salt: str = ""
    hashes: frozenset[str] = frozenset()
    patients: bool = True

    def among(self, ids: pl.Series) -> dict[str, str]:
        """The barred ids among these, with the reason."""
        if not self.barred and not self.hashes:
            return {}
        known = ids.drop_nulls().unique()
        found: dict[str, str] = {}
        if self.barred:
            listed = pl.Series(list(self.barred), dtype=pl.String)
            found = {i: self.barred[i] for i in known.filter(known.is_in(listed.implode())).to_list()}
        if self.hashes:
            found |= {i: ERASED for i in known.to_list() if salted(i, self.salt) in self.hashes}
        return found

    def also(self, ids: Iterable[str], reason: str) -> Privacy:
        """The same with more people barred."""
        return replace(self, barred={**dict.fromkeys(ids, reason), **self.barred})

    def names_somebody(self, text: pl.Series, more: Iterable[str] = ()) -> pl.Series:
        """True for each text that holds the id of a barred person."""
        ids = [i for i in {*self.barred, *more} if i]
        hit = text.str.contains_any(ids) if ids else pl.repeat(False, text.len(), eager=True)
        if self.hashes:
            tokens = text.fill_null("").str.extract_all(r"[^\s,;|\"'{}:\[\]\t]+")
            named = [any(salted(t, self.salt) in self.hashes for t in row) for row in tokens.to_list()]
            hit = hit | pl.Series(named, dtype=pl.Boolean)
        return hit.fill_null(False)


EVERYBODY = Privacy()


def salted(id: str, salt: str) -> str:
    """SHA-256 of an id with a salt: enough to know a person again, not to read who it was."""
    return hashlib.sha256(f"{salt}\x1f{id}".encode()).hexdigest()


def privacy_of(
    settings: LogSettings, base: Path, salt: str = "", hashes: frozenset[str] = frozenset()
) -> Privacy:
    """What the [log] table says about people and text, with the people erased from a run."""
    found = Privacy(settings.keep_text, {}, salt, hashes, settings.patients)
    return found if settings.exclude is None else found.also(read_ids(settings.exclude, base), EXCLUDED)


def read_ids(named: str, base: Path) -> list[str]:
    """Case ids of a file: one per line, or the case column of a table. LogError when it holds none."""
    item = find_inputs(named, base)[0]
    columnar = item.path.suffix.lower() in (".parquet", ".arrow", ".feather", ".jsonl", ".xlsx")
    lines = [] if columnar else decode(load(item), item, None)[0].decode().splitlines()
    lines = [line.strip() for line in lines]
    head = next(iter(lines), "")
    if columnar or re.search(r"[,;\t|]", head):
        table = read_inputs([item])
        column = guess("case_id", table.columns)
        if column is None:
            hint = "one id per line, or a table with a column case_id"
            raise LogError(f"{item.shown} has no column of ids", hint=hint)
        ids = table.frame[column].cast(pl.String).str.strip_chars().drop_nulls().to_list()
    else:
        ids = [line.strip('"') for line in lines if not line.startswith("#")]
        ids = ids[1:] if ids and guess("case_id", [ids[0]]) is not None else ids
    ids = [i for i in dict.fromkeys(ids) if i]
    if not ids:
        raise LogError(f"{item.shown} holds no id", hint="write one id per line")
    from behavio.sources.records import full_ids

    long = full_ids(pl.Series(ids, dtype=pl.String)).to_list()  # 15-character ids also in their long form
    return list(dict.fromkeys([*ids, *long]))


def opted_out(frame: pl.DataFrame, case: pl.Expr) -> list[str]:
    """Cases whose row says that the person may not be processed; `case` gives the row's case id."""
    from behavio.sources.records import as_text

    flags = [as_text(frame, c).str.to_lowercase().is_in(YES) for c in frame.columns if plain(c) in OPT_OUT]
    if not flags:
        return []
    return (
        frame.filter(pl.any_horizontal(flags))
        .select(case.alias("c").drop_nulls().unique(maintain_order=True))["c"]
        .to_list()
    )


def text_columns(frame: pl.DataFrame, columns: Sequence[str]) -> list[str]:
    """Columns that hold free text or what identifies a person: by their name, or by what stands in them."""
    texts = [c for c in columns if frame.schema[c] == pl.String]
    return [c for c in texts if (_named_so(c) and not _counts(frame[c])) or _reads_so(frame[c])]


def _named_so(column: str) -> bool:
    """True for Pre_Call_Notes_vod__c, emailAddress, "Signature"; not for email_count or note_id."""
    words = [p.lower() for p in PARTS.findall(column)]
    tails = ("vod", "c", "v", "pc", "s", "text", "value", "line")
    while words and (words[-1] in tails or words[-1].isdigit()):
        words.pop()
    if not words:
        return False
    pairs = {" ".join(pair) for pair in pairwise(words)}
    last = words[-1]
    return (
        last in WORDS
        or "".join(words) in WORDS
        or bool(pairs & set(PAIRS))
        or words[0] in ("signature", "dea")
    )


def _counts(column: pl.Series) -> bool:
    """True when a column named like a text holds flags or small numbers: phone = 0 | 1."""
    values = column.drop_nulls().head(LOOKED_AT).unique()
    return values.len() > 0 and bool(values.str.contains(FLAG).all())


def _reads_so(column: pl.Series) -> bool:
    """True when most values are sentences that hardly repeat, or mail addresses."""
    values = column.drop_nulls().head(LOOKED_AT)
    values = values.filter(values.str.strip_chars() != "")
    if values.len() == 0:
        return False
    if values.str.contains(ADDRESS).mean() > 0.5:  # type: ignore[operator]
        return True
    distinct = values.unique()
    if distinct.len() < max(5, 0.3 * values.len()):
        return False
    words = distinct.str.count_matches(r"\p{L}{2,}")
    blanks = distinct.str.count_matches(r"\s")
    return float(words.median()) >= 5 and float(blanks.median()) >= 4  # type: ignore[arg-type]
