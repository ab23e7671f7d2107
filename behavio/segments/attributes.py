"""Who the cases of a segment are: attributes as description only, never as a reason."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import polars as pl

MAX_VALUES = 30
MIN_CASES = 10
MIN_Z = 3.3
SHOWN = 6

PERSONAL = re.compile(
    r"(^|_)(id|key|uuid|npi|name|first|last|lastname|firstname|email|e_mail|phone|mobile|fax|zip|zip3|zipcode|"
    r"postal|postcode|postal_code|street|address|birth|birthdate|birthday|ssn|iban|url|external)(_|$)"
)
"""Columns that name or find a person, or only count rows: they describe nobody as a group."""


def describing_columns(cases: pl.DataFrame) -> list[str]:
    """Columns of few distinct values that say something about a group of people."""
    chosen = []
    for name, kind in cases.schema.items():
        plain = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).lower()
        whole = plain.removesuffix("__c").removesuffix("_vod")
        if name == "case_id" or PERSONAL.search(whole) or whole.endswith("id"):
            continue
        if not (kind == pl.String or kind == pl.Boolean or kind.is_integer() or kind == pl.Categorical):
            continue
        values = cases[name].drop_nulls()
        if 2 <= values.n_unique() <= min(MAX_VALUES, max(2, values.len() // 5)):
            chosen.append(name)
    return chosen


def attribute_facts(
    cases: pl.DataFrame, case_ids: pl.Series, label: np.ndarray, k: int
) -> list[list[dict[str, Any]]]:
    """For each segment the values that are clearly more or less frequent: attribute, value, share, rest."""
    columns = describing_columns(cases)
    found: list[list[tuple[float, dict[str, Any]]]] = [[] for _ in range(k)]
    known = case_ids.to_frame("case_id").with_columns(pl.Series("label", label))
    for name in columns:
        table = known.join(
            cases.select("case_id", pl.col(name).cast(pl.String)).unique("case_id"), on="case_id"
        )
        table = table.filter((pl.col("label") >= 0) & pl.col(name).is_not_null())
        counts = table.group_by("label", name).len().sort("label", name)
        n = np.zeros(k)
        per = dict.fromkeys(range(k), 0)
        for g, size in table.group_by("label").len().iter_rows():
            n[g] = per[g] = size
        for value in counts[name].unique().sort():
            rows = counts.filter(pl.col(name) == value)
            having = np.zeros(k)
            having[rows["label"].to_numpy()] = rows["len"].to_numpy()
            for g in range(k):
                rest = n.sum() - n[g]
                if n[g] < MIN_CASES or rest < MIN_CASES:
                    continue
                share, other = having[g] / n[g], (having.sum() - having[g]) / rest
                both = having.sum() / n.sum()
                error = np.sqrt(max(both * (1 - both), 1e-9) * (1 / n[g] + 1 / rest))
                z = abs(share - other) / error
                if z >= MIN_Z and max(having[g], other * n[g]) >= MIN_CASES:
                    fact = {
                        "attribute": name,
                        "value": value,
                        "share": round(share, 4),
                        "rest": round(other, 4),
                    }
                    found[g].append((z, fact))
    return [[f for _, f in sorted(own, key=lambda p: (-p[0], str(p[1])))[:SHOWN]] for own in found]
