"""Columns that say who a person is in ways that want a reason: used only where the job names them.

The kinds follow Article 9 GDPR, with age, sex and family beside them (Article 21 of the EU Charter).
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping

import polars as pl

from behavio.errors import JobError

WORDS: Mapping[str, frozenset[str]] = {
    "sex or gender": frozenset("sex gender male female geschlecht salutation anrede".split()),
    "age": frozenset("age birth birthdate birthday birthyear born dob yob geburtsdatum geburtsjahr".split()),
    "origin": frozenset(
        "race racial ethnicity ethnic ethnie nationality citizenship birthplace migration herkunft".split()
    ),
    "belief": frozenset("religion religious faith belief konfession politics political union".split()),
    "health": frozenset("disability disabled pregnant pregnancy behinderung".split()),
    "orientation": frozenset("orientation lgbt lgbtq".split()),
    "family": frozenset("marital married spouse familienstand".split()),
}


def sensitive_kind(column: str) -> str | None:
    """What a column seems to say of a person by its name ("Gender_vod__c": "sex or gender"), else None.

    Whole words count: "stage" holds no age, "trace" no race.
    """
    plain = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", " ", column)
    words = set(re.split(r"[^a-z]+", plain.lower()))
    return next((kind for kind, known in WORDS.items() if words & known), None)


def sensitive_columns(columns: Iterable[str]) -> dict[str, str]:
    """The sensitive ones among columns, with what they seem to say."""
    found = {c: sensitive_kind(c) for c in columns if c != "case_id"}
    return {c: kind for c, kind in found.items() if kind is not None}


def without_sensitive(cases: pl.DataFrame, allowed: Collection[str]) -> pl.DataFrame:
    """The cases without sensitive columns, but for those that the job allows by name."""
    return cases.drop(c for c in sensitive_columns(cases.columns) if c not in allowed)


def refuse_sensitive(where: str, columns: Iterable[str], allowed: Collection[str]) -> None:
    """JobError for a sensitive column that a table of the job asks for without allowing it."""
    for column, kind in sensitive_columns(columns).items():
        if column not in allowed:
            raise JobError(
                f"{where} names {column!r}, which seems to say the {kind} of a person",
                hint=f'leave it out, or allow it by name: [card] sensitive = ["{column}"]',
            )
