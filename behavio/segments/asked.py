"""Questions to a finished run's segments: another segmentation beside them, who is alike, what changed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from behavio.errors import RunError
from behavio.files import read_json
from behavio.log import EventLog
from behavio.segments.challenge import Challenge, challenge, other_labels
from behavio.segments.contract import Segmenter
from behavio.segments.finding import find
from behavio.segments.living import Previous, match
from behavio.segments.settings import KINDS, SegmentSettings
from behavio.segments.subgroups import likest
from behavio.sequences import SequenceSet


def challenged(run: Path, other: str, seed: int) -> Challenge:
    """`other`: a file of case_id and segment, a column of the cases, a number of segments, or a kind."""
    labels = pl.read_parquet(run / "segments" / "segments.parquet")
    model = Segmenter.load(run / "segments" / "model")
    sequences = SequenceSet.read(run / "log" / "encoded")
    if other.isdigit() or other in KINDS:
        own = SegmentSettings(k=int(other)) if other.isdigit() else SegmentSettings(kind=other)
        found = find(sequences, own, seed).segmentation.to_frame()
        others = found.filter(pl.col("segment_id") >= 0).select("case_id", other="segment")
    else:
        others = other_labels(other, EventLog.read(run / "log").cases)
    names = [s["segment"] for s in read_json(run / "segments" / "profiles.json")["segments"]]
    return challenge(labels, names, others, sequences, model, seed)


def nearest(run: Path, case: str, n: int, seed: int) -> pl.DataFrame:
    """case_id, distance: the cases of the same segment with the journeys most like that of one case."""
    labels = pl.read_parquet(run / "segments" / "segments.parquet")
    place = labels["case_id"].cast(pl.String).index_of(case)
    if place is None:
        raise RunError(f"no case {case!r} in {run}", hint="look at behavio segments RUN for the ids")
    mine = labels["segment_id"][place]
    among = labels.with_row_index("place").filter(pl.col("segment_id") == mine)["place"].to_numpy()
    sequences = SequenceSet.read(run / "log" / "encoded")
    return likest(sequences, int(place), among.astype(np.int64), n, seed)


def changed(earlier: Path, later: Path) -> dict[str, Any]:
    """How the segments of one run became those of another: changes, common cases, moved, churn."""
    then, now = Previous.read(earlier), Previous.read(later)
    ids = now.labels["case_id"]
    found = match(now.label_of(ids), now.names, then.label_of(ids), then.names)
    changes = pl.DataFrame(found.changes)
    return {"changes": changes, "common": found.common, "moved": found.moved, "churn": round(found.churn, 4)}
