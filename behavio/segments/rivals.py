"""An existing segmentation held against the new one as part of a run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import polars as pl

from behavio.files import whole_file, write_json
from behavio.segments.challenge import Challenge, challenge
from behavio.segments.contract import Segmenter
from behavio.sequences import SequenceSet


def write_challenge(
    folder: Path,
    other: str,
    others: pl.DataFrame,
    labels: pl.DataFrame,
    names: tuple[str, ...],
    sequences: SequenceSet,
    model: Segmenter,
    seed: int,
) -> dict[str, Any]:
    """Write challenge.json, challenge.parquet and misplaced.parquet into `folder`; the facts of it.

    other   what `others` (case_id, other) was read from     labels  case_id, segment, strength
    challenge.json      other, agreement (adjusted Rand index), common, misplaced, explains (rows), notes
    challenge.parquet   segment, other, n_cases, share, share_of_other, partner
    misplaced.parquet   case_id, segment, other, expected, strength

    Raises LogError for another segmentation that has too many groups.
    """
    found = challenge(labels, names, others, sequences, model, seed)
    told = facts_of_challenge(found)
    write_json(folder / "challenge.json", {"other": Path(other).name, **told})
    for name, table in (("challenge", found.table), ("misplaced", found.misplaced)):
        with whole_file(folder / f"{name}.parquet") as draft:
            table.write_parquet(draft, compression="zstd")
    return {n: told[n] for n in ("agreement", "common", "misplaced")}


def facts_of_challenge(found: Challenge) -> dict[str, Any]:
    """What challenge.json holds of it."""
    return {
        "agreement": found.agreement,
        "common": found.common,
        "misplaced": found.misplaced.height,
        "explains": found.explains.to_dicts(),
        "notes": list(found.notes),
    }
