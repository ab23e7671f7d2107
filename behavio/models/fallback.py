"""What stands in for a person of whom too little is known: her group, then everybody.

So it is where nothing could be said of her, and where a history as short as hers told held-out events no
better than the base rate does.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl

from behavio.models.baselines import steps
from behavio.models.few import EVERYBODY, FEW_CASES, GROUP
from behavio.models.next import SCHEMA, group_codes
from behavio.models.settings import ModelSettings
from behavio.sequences import SequenceSet

LEAST = 100
"""Steps a group needs before it speaks for its members."""
PULL = 20.0
"""Steps' worth by which a group's shares are drawn to those of everybody."""


def fallen_back(
    table: pl.DataFrame,
    known: SequenceSet,
    segments: pl.DataFrame | None,
    settings: ModelSettings,
    bands: list[dict[str, Any]],
) -> pl.DataFrame:
    """The next steps with rows of the group, or of everybody, for cases whose history does not carry them.

    A case of which nothing is said keeps its row of rank 0 that says why.
    """
    short = [b for b in bands if b.get("rests_on") == EVERYBODY]
    lengths = np.asarray(known.lengths)
    weak = np.zeros(known.n_cases, dtype=bool)
    for band in short:
        weak |= (lengths >= band["low"]) & (lengths <= (band["high"] or np.iinfo(np.int64).max))
    ids = known.case_ids.cast(pl.String)
    silent = table.filter(pl.col("rank") == 0)["case_id"]
    left = ids.is_in(silent.implode()).to_numpy() | weak
    if not left.any():
        return table
    replaced = pl.col("case_id").is_in(ids.filter(pl.Series(weak)).implode()) & (pl.col("rank") > 0)
    rows = _rows(known, group_codes(known, segments), _names(segments), left, settings.top)
    as_of = table["as_of"][0]
    rows = rows.with_columns(as_of=pl.lit(as_of, dtype=SCHEMA["as_of"]))
    missing = [pl.lit(None, dtype=t).alias(c) for c, t in SCHEMA.items() if c not in rows.columns]
    rows = rows.with_columns(missing).select(SCHEMA.names()).cast(SCHEMA)
    place = pl.DataFrame({"case_id": ids, "place": np.arange(len(ids))})
    whole = pl.concat([table.filter(~replaced), rows]).join(place, on="case_id", how="left")
    return whole.sort("place", "rank").drop("place")


def _names(segments: pl.DataFrame | None) -> dict[int, str]:
    if segments is None or "segment" not in segments.columns:
        return {}
    return dict(segments.select("segment_id", pl.col("segment").cast(pl.String)).unique().iter_rows())


def _rows(
    known: SequenceSet, groups: np.ndarray | None, names: dict[int, str], left: np.ndarray, top: int
) -> pl.DataFrame:
    """case_id, rank, activity, probability, evidence_n, evidence, rests_on of the cases `left`."""
    size = len(known.vocabulary)
    owner = np.repeat(np.arange(known.n_cases), known.lengths)
    first = np.zeros(known.n_events, dtype=bool)
    first[np.asarray(known.offsets[:-1])] = True
    target, case = steps(known)[1], owner[~first]
    everybody = np.bincount(target, minlength=size).astype(float)
    share = everybody / max(everybody.sum(), 1.0)
    of = np.full(known.n_cases, -1) if groups is None else groups
    parts = []
    for group in np.unique(of[left]):
        own = np.bincount(target[of[case] == group], minlength=size).astype(float)
        people = int((of == group).sum())
        speaks = group >= 0 and own.sum() >= LEAST and people >= FEW_CASES
        told = (own + PULL * share) / (own.sum() + PULL) if speaks else share
        n = int(own.sum() if speaks else everybody.sum())
        where = f"of the group “{names.get(int(group), group)}”" if speaks else "of everybody"
        ranked = np.argsort(-told, kind="stable")[:top]
        ranked = ranked[told[ranked] > 0]
        some = np.flatnonzero(left & (of == group))
        activity = [known.vocabulary.names[i] for i in ranked]
        evidence = [
            f"all {n:,} steps {where}: {told[i]:.0%} {known.vocabulary.names[i]}".replace("%", " %")
            for i in ranked
        ]
        parts.append(
            pl.DataFrame(
                {
                    "case_id": known.case_ids.cast(pl.String).gather(pl.Series(np.repeat(some, len(ranked)))),
                    "rank": np.tile(np.arange(1, len(ranked) + 1), len(some)),
                    "activity": activity * len(some),
                    "probability": np.tile(told[ranked], len(some)),
                    "evidence_n": np.full(len(some) * len(ranked), n),
                    "evidence": evidence * len(some),
                    "rests_on": GROUP if speaks else EVERYBODY,
                }
            )
        )
    return pl.concat(parts)
