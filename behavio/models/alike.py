"""What did those do next who were lately where this case is now? Others' journeys as the answer."""

from __future__ import annotations

from dataclasses import dataclass
from difflib import get_close_matches

import numpy as np
import polars as pl

from behavio.contrasts import wilson
from behavio.durations import seconds
from behavio.errors import JobError, ModelError
from behavio.kernels.arrays import readonly
from behavio.kernels.nearest import shared_suffix
from behavio.log import TIME
from behavio.models.base import Prefixes
from behavio.models.neighbours import Neighbours
from behavio.sequences import SequenceSet
from behavio.words import duration

MOMENTS = 1_000_000
"""Most moments compared with."""
OVERSAMPLE = 4
"""Moments looked at per case asked for: a case may be near with several, only its nearest counts."""
SHOWN = 6
"""Longest shared ending that is looked for."""


@dataclass(frozen=True, slots=True, eq=False)
class Alike:
    """The nearest moments of other cases, one per case, and what came next there.

    next     activity, n, share, low, high (95 % interval), median_days
    moments  case_id, at, distance, matched (the last activities both share), activity, days; nearest first
    """

    case_id: str
    as_of: str | None
    last: tuple[str, ...]
    compared: int
    next: pl.DataFrame
    moments: pl.DataFrame

    @property
    def sentence(self) -> str:
        """The answer in words."""
        n = self.moments.height
        best = self.next.row(0, named=True)
        text = (
            f"of the {n:,} cases most like {self.case_id} at a moment like this, {best['n']:,} had "
            f"{best['activity']} next ({best['share']:.0%}, {best['low']:.0%} to {best['high']:.0%})"
        ).replace("%", " %")
        if best["median_days"] is not None:
            text += f", half of them within {duration(best['median_days'] * 86_400)}"
        whole = int((self.moments["matched"].list.len() >= min(3, len(self.last))).sum())
        end = " → ".join(self.last[-3:])
        return f"{text}; {whole:,} of the {n:,} had just been through {end}"


def find_alike(sequences: SequenceSet, case_id: str, k: int = 100, within: str | None = None) -> Alike:
    """The `k` cases whose journeys had a moment most like this case's latest, and what followed it.

    `within` looks only at moments of the last "180d" before the newest event of the log.
    """
    if k < 1:
        raise JobError(f"k is {k}", hint="use 1 or more")
    coded = sequences.recode(sequences.own_vocabulary())
    case = _case(sequences, case_id)
    since = None
    if within is not None:
        if not sequences.timed:
            raise JobError("`within` needs a log with times", hint="leave it out")
        since = int(np.max(sequences.times)) - int(seconds(within) * 1e6)
    model = Neighbours(moments=MOMENTS, max_k=k * OVERSAMPLE)
    kept = model.remember(coded, since)
    now = Prefixes.last(coded)[np.array([case])]
    best, place = model.nearest(model.vectors(coded, now), np.array([case]))
    place, far = place[0][place[0] >= 0], best[0][place[0] >= 0]
    _, first = np.unique(kept.cases[place], return_index=True)
    first = np.sort(first)[:k]
    place, far = place[first], np.sqrt(np.maximum(far[first], 0.0))
    if len(place) == 0:
        raise ModelError(
            f"no other case has a moment to compare {case_id} with", hint="use a longer `within`"
        )
    moments = _moments(coded, kept[place], now, far)
    names = coded.vocabulary.names
    begin, end = int(coded.offsets[case]), int(coded.offsets[case + 1])
    last = tuple(names[t] for t in coded.tokens[max(begin, end - SHOWN) : end])
    when = pl.Series([int(coded.times[end - 1])]).cast(TIME)[0].isoformat() if coded.timed else None
    return Alike(case_id, when, last, len(kept), _next(moments), moments)


def _case(sequences: SequenceSet, case_id: str) -> int:
    """The number of a case; JobError that names the nearest id."""
    found = (sequences.case_ids == case_id).arg_true()
    if len(found):
        return int(found[0])
    near = (
        get_close_matches(case_id, sequences.case_ids.to_list(), 3, 0.4)
        or sequences.case_ids.head(3).to_list()
    )
    raise JobError(f"there is no case {case_id!r}", hint=f"for example: {', '.join(near)}")


def _moments(coded: SequenceSet, kept: Prefixes, now: Prefixes, far: np.ndarray) -> pl.DataFrame:
    """The table of moments."""
    n = len(kept)
    tokens, times = readonly(coded.tokens, np.int32), np.asarray(coded.times)
    starts, ends = np.repeat(now.starts(coded), n), np.repeat(now.ends, n)
    shared = shared_suffix(tokens, starts, ends, kept.starts(coded), kept.ends, SHOWN)
    names = coded.vocabulary.names
    matched = [[names[t] for t in tokens[e - s : e]] for e, s in zip(kept.ends, shared, strict=True)]
    timed = coded.timed
    return pl.DataFrame(
        {
            "case_id": coded.case_ids.gather(pl.Series(kept.cases)),
            "at": pl.Series(times[kept.ends - 1] if timed else [None] * n, dtype=pl.Int64).cast(TIME),
            "distance": far.astype(np.float64),
            "matched": pl.Series(matched, dtype=pl.List(pl.String)),
            "activity": pl.Series([names[t] for t in tokens[kept.ends]], dtype=pl.String),
            "days": pl.Series(
                (times[kept.ends] - times[kept.ends - 1]) / 8.64e10 if timed else [None] * n, dtype=pl.Float64
            ),
        }
    )


def _next(moments: pl.DataFrame) -> pl.DataFrame:
    """What came next: how often, its share with Wilson's 95 % interval, and the median wait."""
    table = (
        moments.group_by("activity")
        .agg(pl.len().cast(pl.Int64).alias("n"), pl.col("days").median().alias("median_days"))
        .sort(["n", "activity"], descending=[True, False])
    )
    n = table["n"].to_numpy()
    low, high = wilson(n, np.full(len(n), moments.height))
    return table.with_columns(
        (pl.col("n") / moments.height).alias("share"),
        pl.Series("low", low, dtype=pl.Float64),
        pl.Series("high", np.maximum(high, n / moments.height), dtype=pl.Float64),
    ).select("activity", "n", "share", "low", "high", "median_days")
