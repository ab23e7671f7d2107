"""The identity map: which case a subscriber key, a user id or an old CRM id belongs to, and since when.

A row of the map names one person in any number of columns; every column but the case's own and the dates is
a kind of id. An id leads to the case of its row, or, where that cell is empty, to the CRM id of its row. A
case that stands as a CRM id in another row (a merged account) is followed to where it went. Nothing is
guessed: an id without a case, and an id of two cases at the same moment, are rejected and listed.

Ids are compared trimmed; e-mail addresses and hashes in lower case; Salesforce ids of 15 and 18 characters
as one. A row holds from `valid_from` until just before `valid_to`; a `valid_to` written as a day holds until
its end.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import polars as pl

from behavio.errors import JobError, LogError
from behavio.log import TIME
from behavio.sources.guess import named_or_guessed
from behavio.sources.mapping import SourceMapping
from behavio.sources.records import as_text, full_ids
from behavio.sources.settings import IdentitySettings, nearest
from behavio.sources.sieve import NOTHING, Sieve
from behavio.sources.tabular import ROW, RawTable
from behavio.sources.times import read_times

FROM, TO = "valid_from", "valid_to"
DAY = r"^\d{1,4}[-./]\d{1,2}[-./]\d{1,4}$"
SALESFORCE = r"^(?:0|a)[A-Za-z0-9]{14}$"
LISTED = 10
FURTHEST = 50


@dataclass(frozen=True, slots=True, eq=False)
class Identities:
    """An identity map, ready to be asked.

    links   kind, id (as compared), case_id, start, end (UTC, null: open); where both are open the link
            always held
    file    how messages name the map
    follow  the kind whose ids are case ids themselves: links of this kind are followed on
    """

    links: pl.DataFrame
    file: str
    follow: str

    @property
    def kinds(self) -> list[str]:
        """Kinds of ids the map knows."""
        return self.links["kind"].unique(maintain_order=True).to_list()

    def cases(self, kind: str, ids: pl.Series, times: pl.Series | None = None) -> pl.DataFrame:
        """Columns `case_id` and `why` for each id: why is null where exactly one case was found.

        `why` is "none" or "several"; without times only what holds at any time counts, so an id whose
        case changed is "several". Raises JobError for a kind that the map does not have.
        """
        if kind not in self.kinds:
            near = nearest(kind, self.kinds)
            hint = f"did you mean {near!r}? " if near else ""
            raise JobError(
                f"the identity map {self.file} has no column {kind!r}",
                hint=f"{hint}it has: {', '.join(self.kinds)}",
            )
        asked = pl.DataFrame({"id": compared(ids, kind)})
        at = pl.Series("at", [None] * ids.len(), dtype=TIME)
        if times is not None and self.links["start"].count() + self.links["end"].count():
            at = times.alias("at")
        asked = asked.with_columns(at)
        distinct = asked.unique(maintain_order=True)
        found = self._resolved(kind, distinct)
        both = asked.join(found, on=["id", "at"], how="left", maintain_order="left", nulls_equal=True)
        return both.select("case_id", "why")

    def _resolved(self, kind: str, asked: pl.DataFrame) -> pl.DataFrame:
        """One row per asked (id, at): the case, or why there is none."""
        asked = asked.with_row_index("n")
        now = self._step(asked.select("n", "id", "at"), kind).select("n", "case_id", "at").unique()
        for _ in range(FURTHEST):
            moved = self._step(
                now.select("n", pl.col("case_id").alias("id"), "at"), self.follow, compare=True
            )
            ahead = (
                moved.filter(pl.col("case_id") != pl.col("id")).select("n", "id", "case_id", "at").unique()
            )
            if ahead.height == 0:
                break
            stays = now.join(ahead, left_on=["n", "case_id"], right_on=["n", "id"], how="anti")
            now = pl.concat([stays, ahead.select("n", "case_id", "at")]).unique()
        ends = now.unique(["n", "case_id"]).group_by("n").agg(pl.len().alias("many"), pl.first("case_id"))
        told = asked.join(ends, on="n", how="left", maintain_order="left")
        one = pl.col("many") == 1
        return told.select(
            "id",
            "at",
            pl.when(one).then("case_id").alias("case_id"),
            pl.when(pl.col("many").is_null())
            .then(pl.lit("none"))
            .when(~one)
            .then(pl.lit("several"))
            .alias("why"),
        )

    def _step(self, asked: pl.DataFrame, kind: str, *, compare: bool = False) -> pl.DataFrame:
        """Rows (n, id, at, case_id) of every link of this kind that holds at the time asked."""
        links = self.links.filter(pl.col("kind") == kind).drop("kind").rename({"id": "key"})
        key = asked.select(compared_text(pl.col("id"), kind)).to_series() if compare else asked["id"]
        asked = asked.with_columns((full_ids(key) if compare else key).alias("key"))
        both = asked.join(links, on="key", how="inner", maintain_order="left")
        at, start, end = pl.col("at"), pl.col("start"), pl.col("end")
        holds = at.is_null() | ((start.is_null() | (at >= start)) & (end.is_null() | (at < end)))
        return both.filter(holds).select("n", "id", "case_id", "at")


def compared_text(text: pl.Expr, kind: str) -> pl.Expr:
    """Ids as they are compared, but for Salesforce's two lengths."""
    plain = text.str.strip_chars()
    blind = plain.str.contains("@", literal=True) | pl.lit(bool(re.search("mail|hash", kind, re.IGNORECASE)))
    return pl.when(blind).then(plain.str.to_lowercase()).otherwise(plain)


def compared(ids: pl.Series, kind: str) -> pl.Series:
    """Ids as they are compared: trimmed, e-mail addresses in lower case, Salesforce ids at full length."""
    return full_ids(ids.to_frame("id").select(compared_text(pl.col("id"), kind)).to_series())


def read_identities(table: RawTable, settings: IdentitySettings) -> tuple[Identities, Sieve]:
    """The identity map of a table, and what became of its rows: one that names no case is rejected.

    Raises LogError for a map that goes round in circles or names no case at all.
    """
    sieve = Sieve("identities", table, SourceMapping(), private=True)
    shown, frame = table.files[0], sieve.frame
    named = dict(settings.columns)
    case = named_or_guessed("case_id", named.pop("case_id", settings.case_id), table.columns, shown)
    dates = {d: named.pop(d, d) for d in (FROM, TO)}
    kinds = {kind: named_or_guessed(kind, c, table.columns, shown) for kind, c in named.items()}
    if not kinds:
        kinds = {_plain(c): c for c in table.columns if c != case and c not in dates.values()}
    if not kinds:
        raise LogError(
            f"the identity map {shown} has no column of ids beside {case!r}",
            hint="add a column such as subscriber_key or user_id",
        )
    notes = sieve.notes
    frame = frame.with_columns(
        _filled(frame, case).alias("__case__"),
        _moment(frame, dates[FROM], settings, notes, end=False).alias("__start__"),
        _moment(frame, dates[TO], settings, notes, end=True).alias("__end__"),
    )
    frame = frame.with_columns(_salesforce(frame["__case__"]))
    if settings.follow in kinds:
        old = _salesforce(frame.select(_filled(frame, kinds[settings.follow])).to_series())
        frame = frame.with_columns(pl.coalesce("__case__", pl.lit(old)).alias("__case__"))
    sieve.frame = frame
    sieve.reject(
        pl.col("__case__").is_null(), case, "the row names no case", f"fill {case}, or remove the row"
    )
    links = _links(sieve.frame, kinds)
    if links.height == 0:
        raise LogError(
            f"the identity map {shown} has no row with an id and a case", hint="look at its columns"
        )
    _refuse_circles(links.filter(pl.col("kind") == settings.follow), shown)
    return Identities(links, shown, settings.follow), sieve


def _plain(column: str) -> str:
    """A header as a name: "SFMC Subscriber Key" is sfmc_subscriber_key."""
    return re.sub(r"[\s.\-]+", "_", column.strip()).lower()


def _filled(frame: pl.DataFrame, column: str) -> pl.Expr:
    text = as_text(frame, column).str.strip_chars()
    return pl.when(~text.is_in(list(NOTHING))).then(text)


def _salesforce(cases: pl.Series) -> pl.Series:
    """Case ids that look like Salesforce ids of 15 characters at full length, others as they are."""
    short = cases.str.contains(SALESFORCE) & cases.str.contains(r"[A-Za-z]")
    return cases.zip_with(~short.fill_null(False), full_ids(cases))


def _moment(
    frame: pl.DataFrame, column: str, settings: IdentitySettings, notes: list[str], *, end: bool
) -> pl.Series:
    if column not in frame.columns:
        return pl.Series("moment", [None] * frame.height, dtype=TIME)
    written = frame.select(_filled(frame, column)).to_series()
    times = read_times(written, settings.timezone or "UTC", settings.timestamp_format)
    wrong = written.is_not_null() & times.utc.is_null()
    if wrong.any():
        row = frame[ROW].filter(wrong)[0]
        raise LogError(
            f"the identity map's {column} cannot be read: {written.filter(wrong)[0]!r} in row {row:,}",
            hint="write 2026-01-31, or set timestamp_format",
        )
    notes += [f"{n} ({column})" for n in times.notes]
    if end:
        days = written.str.contains(DAY).fill_null(False)
        return times.utc.zip_with(~days, times.utc.dt.offset_by("1d"))
    return times.utc


def _links(frame: pl.DataFrame, kinds: dict[str, str]) -> pl.DataFrame:
    parts = []
    for kind, column in kinds.items():
        ids = compared(frame.select(_filled(frame, column)).to_series(), kind)
        part = frame.select(
            pl.lit(kind).alias("kind"),
            pl.lit(ids).alias("id"),
            pl.col("__case__").alias("case_id"),
            pl.col("__start__").alias("start"),
            pl.col("__end__").alias("end"),
        )
        parts.append(part.filter(pl.col("id").is_not_null()))
    return pl.concat(parts).unique(maintain_order=True)


def _refuse_circles(links: pl.DataFrame, shown: str) -> None:
    """Raise LogError when following a case id can lead back to it at one and the same time."""
    ahead: dict[str, list[tuple[str, int, int]]] = defaultdict(list)
    micros = links.filter(pl.col("id") != pl.col("case_id")).with_columns(
        pl.col("start").dt.epoch("us").fill_null(-(2**62)), pl.col("end").dt.epoch("us").fill_null(2**62)
    )
    for old, new, start, end in micros.select("id", "case_id", "start", "end").iter_rows():
        ahead[old].append((new, start, end))
    for first in ahead:
        paths: list[tuple[tuple[str, ...], int, int]] = [((first,), -(2**62), 2**62)]
        while paths:
            path, start, end = paths.pop()
            for new, a, b in ahead.get(path[-1], ()):
                if max(a, start) >= min(b, end):
                    continue
                if new in path:
                    circle = " → ".join([*path[path.index(new) :], new])
                    raise LogError(
                        f"the identity map {shown} goes round in circles: {circle}",
                        hint="an account can be merged into another only once: remove one of these rows",
                    )
                paths.append(((*path, new), max(a, start), min(b, end)))


def identify(
    sieve: Sieve, identities: Identities | None, kind: str, columns: Sequence[str], *, timed: bool
) -> None:
    """Replace __case__ by the case each id belongs to; rows without exactly one are rejected and listed.

    Of rows that are `timed`, an id counts for who it belonged to at that moment.
    """
    if identities is None:
        raise JobError(
            f'[source.{sieve.name}] has identity = "{kind}", but the job has no identity map',
            hint='add a table [identities] with path = "…"',
        )
    times = sieve.frame["__time__"] if timed else None
    found = identities.cases(kind, sieve.frame["__case__"], times)
    sieve.frame = sieve.frame.with_columns(found["case_id"].alias("__found__"), found["why"].alias("__why__"))
    what, column = kind.replace("_", " "), " or ".join([c for c in columns if c in sieve.frame.columns][:3])
    texts = {
        "none": (f"no case has this {what}", f"add it to {identities.file}, or leave such rows out"),
        "several": (
            f"this {what} belongs to two cases at the same time",
            f"date its rows in {identities.file} with valid_from and valid_to, or remove one",
        ),
    }
    for why, (reason, hint) in texts.items():
        mask = (sieve.frame["__why__"] == why).fill_null(False)
        lost = sieve.frame.filter(mask)["__case__"]
        if lost.len():
            sieve.notes.append(_told(lost, reason))
            for id, n in _counted(lost):
                sieve.unmatched[hidden(id)] = sieve.unmatched.get(hidden(id), 0) + n
            _reject(sieve, mask, column, reason, hint, columns)
    sieve.frame = sieve.frame.with_columns(pl.col("__found__").alias("__case__")).drop("__found__", "__why__")


def _reject(
    sieve: Sieve, mask: pl.Series, column: str, reason: str, hint: str, columns: Sequence[str]
) -> None:
    """Reject rows; where ids are e-mail addresses, the raw row does not show them."""
    shown = sieve.shown
    if sieve.frame.filter(mask)["__case__"].str.contains("@", literal=True).any():
        sieve.shown = [c for c in shown if c not in columns]
    sieve.reject(mask, column, reason, hint)
    sieve.shown = shown


def _counted(ids: pl.Series) -> list[tuple[str, int]]:
    table = ids.alias("id").value_counts().sort("count", "id", descending=[True, False])
    return [(str(k), int(n)) for k, n in table.iter_rows()]


def _told(ids: pl.Series, reason: str) -> str:
    counted = _counted(ids)
    listed = ", ".join(f"{hidden(k)} ({n:,})" for k, n in counted[:LISTED])
    more = f" and {len(counted) - LISTED:,} more" if len(counted) > LISTED else ""
    rows = "1 row" if ids.len() == 1 else f"{ids.len():,} rows"
    known = "1 id" if len(counted) == 1 else f"{len(counted):,} ids"
    return f"{rows} of {known}: {reason}: {listed}{more}"


def note_addresses(sieve: Sieve) -> None:
    """Say that cases are named by e-mail addresses: personal data in every table that follows."""
    if not sieve.frame["__case__"].str.contains("@", literal=True).any():
        return
    ids = sieve.frame["__case__"].unique()
    if n := int(ids.str.contains(r"^[^@\s]+@[^@\s]+\.[^@\s]+$").sum()):
        sieve.notes.append(
            f"{n:,} of {ids.len():,} case ids are e-mail addresses, personal data in every result: "
            'translate them, identity = "…" with a table [identities]'
        )


def hidden(id: str) -> str:
    """An id as it may be shown: of an e-mail address only the first letter and the domain."""
    name, sign, domain = id.partition("@")
    return f"{name[:1]}…@{domain}" if sign else id


def most_of(unmatched: Mapping[str, int], n: int = 200) -> dict[str, int]:
    """The n ids with the most rows."""
    ordered = sorted(unmatched.items(), key=lambda item: (-item[1], item[0]))
    return dict(ordered[:n])
