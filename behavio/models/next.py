"""Next steps: what each case is likely to do next, when, and what was counted that says so."""

from __future__ import annotations

import numpy as np
import polars as pl

from behavio.kernels import scoring as kernel
from behavio.log import TIME
from behavio.models.base import Prefixes, SequenceModel
from behavio.models.clock import told
from behavio.models.gaps import DAY, GapModel
from behavio.models.ngram import NGram
from behavio.models.settings import ModelSettings, moment
from behavio.models.training import Progress, silent
from behavio.sequences import SequenceSet

SCHEMA: pl.Schema = pl.Schema(
    {
        "case_id": pl.String(),
        "as_of": TIME,
        "rank": pl.Int32(),
        "activity": pl.String(),
        "probability": pl.Float64(),
        "median_days": pl.Float64(),
        "low_days": pl.Float64(),
        "high_days": pl.Float64(),
        "evidence_n": pl.Int64(),
        "evidence": pl.String(),
    }
)
BATCH = 200_000


def next_steps(
    sequences: SequenceSet,
    model: SequenceModel,
    ngram: NGram,
    gaps: GapModel,
    settings: ModelSettings,
    groups: np.ndarray | None = None,
    progress: Progress = silent,
    clock: SequenceModel | None = None,
) -> pl.DataFrame:
    """Columns of SCHEMA, sorted by case and rank; cases with less than `min_history` events have no row.

    Days count from as_of (the newest event unless the settings name a moment); a time is null where
    nobody ever waited as long as this case, and in a log without a clock.
    """
    known = sequences.lengths >= settings.min_history
    prefixes = Prefixes.last(sequences)[np.flatnonzero(known)]
    as_of = int(np.max(sequences.times)) if settings.as_of is None else moment(settings.as_of)
    frames = [pl.DataFrame(schema=SCHEMA)]
    for low in range(0, len(prefixes), BATCH):
        some = prefixes[low : low + BATCH]
        frames.append(_steps_of(sequences, some, as_of, model, ngram, gaps, settings, groups, clock))
        progress("next steps", min(low + BATCH, len(prefixes)) / len(prefixes))
    return pl.concat(frames)


def _steps_of(
    sequences: SequenceSet,
    prefixes: Prefixes,
    as_of: int,
    model: SequenceModel,
    ngram: NGram,
    gaps: GapModel,
    settings: ModelSettings,
    groups: np.ndarray | None,
    clock: SequenceModel | None,
) -> pl.DataFrame:
    """The table of a batch of cases; times are the clock's, and the counted ones where it has none."""
    coded = model.coded(sequences)
    activity, probability = likeliest(model, coded, prefixes, settings.top)
    keep = activity >= 0
    which, rank = np.nonzero(keep)
    activity, probability = activity[keep], probability[keep]
    some = prefixes[which]
    last = coded.tokens[some.ends - 1]
    waited = as_of - np.asarray(coded.times)[some.ends - 1]
    of = None if groups is None else groups[some.cases]
    days = np.full((len(some), 3), np.nan)
    if sequences.timed:
        days = gaps.quantiles(last, activity, waited, groups=of) / DAY
        if clock is not None:
            names = [model.vocabulary_.names[i] for i in activity]
            own = told(clock, sequences, some, names, np.maximum(waited, 0)) / DAY
            days = np.where(np.isnan(own), days, own)
    seen, text = evidence(coded, ngram, gaps, some, activity, waited, settings.min_evidence)
    known = pl.Series(model.vocabulary_.names, dtype=pl.String)
    table = pl.DataFrame(
        {
            "case_id": sequences.case_ids.gather(pl.Series(some.cases)),
            "as_of": pl.repeat(
                as_of if sequences.timed else None, len(some), dtype=pl.Int64, eager=True
            ).cast(TIME),
            "rank": rank + 1,
            "activity": known.gather(pl.Series(activity)),
            "probability": probability,
            "median_days": days[:, 1],
            "low_days": days[:, 0],
            "high_days": days[:, 2],
            "evidence_n": seen,
            "evidence": text,
        }
    )
    return table.with_columns(pl.col("median_days", "low_days", "high_days").fill_nan(None)).cast(SCHEMA)


def likeliest(
    model: SequenceModel, coded: SequenceSet, prefixes: Prefixes, top: int
) -> tuple[np.ndarray, np.ndarray]:
    """Ids (-1 fills) and probabilities of the `top` known activities after each prefix, best first."""
    ids, p = np.full((len(prefixes), top), -1), np.zeros((len(prefixes), top))
    for part, some in prefixes.batches(len(model.vocabulary_)):
        rows = model.rows(coded, some)
        ids[part] = kernel.top_columns(rows, top)
        p[part] = np.take_along_axis(rows, np.maximum(ids[part], 0), axis=1)
    return ids, p


def evidence(
    coded: SequenceSet,
    ngram: NGram,
    gaps: GapModel,
    prefixes: Prefixes,
    activity: np.ndarray,
    waited: np.ndarray,
    at_least: int,
) -> tuple[np.ndarray, pl.Series]:
    """Times the context was seen and the sentence that says so, for each prefix and activity.

    The usual time is told only to those who have waited less (µs): for the others it has passed.
    """
    found = ngram.evidence(coded, prefixes, activity, at_least)
    usual = np.full(len(prefixes), np.nan)
    if coded.timed:
        usual = gaps.usual(coded.tokens[prefixes.ends - 1], activity)
        usual[waited >= usual] = np.nan
    same = (found.node * len(ngram.vocabulary_) + activity) * 2 + np.isnan(usual)
    _, first, back = np.unique(same, return_index=True, return_inverse=True)
    ends, order, within = prefixes.ends[first], found.order[first], usual[first]
    names = ngram.vocabulary_.names
    sentences = [
        sentence(
            [names[t] for t in coded.tokens[ends[i] - order[i] : ends[i]]],
            names[activity[first[i]]],
            int(found.seen[first[i]]),
            int(found.followed[first[i]]),
            float(within[i]),
        )
        for i in range(len(first))
    ]
    return found.seen, pl.Series(sentences, dtype=pl.String).gather(pl.Series(back))


def sentence(context: list[str], activity: str, seen: int, followed: int, within: float) -> str:
    """For example: after portal_visit: seen 412 times, 61 % call_f2f, 9 in 10 within 12 days."""
    where = f"after {' → '.join(context)}" if context else "over all steps"
    share = followed / max(seen, 1)
    percent = f"{share:.0%}".replace("%", " %") if share >= 0.01 else "under 1 %" if followed else "never"
    text = f"{where}: seen {seen:,} times, {percent} {activity}"
    if context and followed and not np.isnan(within):
        start = "," if len(context) == 1 else f"; from {context[-1]},"
        text += f"{start} 9 in 10 within {spoken(within)}"
    return text


def spoken(duration_us: float) -> str:
    """A duration as a person says it, rounded up: "12 days", "3 hours", "1 minute"."""
    unit, size = "minute", DAY / 1440
    for longer, its_size in (("hour", DAY / 24), ("day", DAY)):
        if duration_us > its_size:
            unit, size = longer, its_size
    n = max(int(np.ceil(duration_us / size)), 1)
    return f"{n:,} {unit}{'s' if n > 1 else ''}"


def group_codes(sequences: SequenceSet, segments: pl.DataFrame | None) -> np.ndarray | None:
    """int64 (n_cases,): the segment of each case, -1 where it has none."""
    if segments is None:
        return None
    cases = pl.DataFrame({"case_id": sequences.case_ids})
    joined = cases.join(
        segments.select("case_id", "segment_id"), on="case_id", how="left", maintain_order="left"
    )
    return joined["segment_id"].fill_null(-1).cast(pl.Int64).to_numpy()
