"""Next steps: what each case is likely to do next, when, and what was counted that says so."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import polars as pl

from behavio.kernels import scoring as kernel
from behavio.log import TIME
from behavio.models.base import Prefixes, SequenceModel
from behavio.models.clock import told
from behavio.models.few import PERSON
from behavio.models.gaps import DAY, GapModel
from behavio.models.ngram import Evidence, NGram
from behavio.models.settings import ModelSettings, moment
from behavio.models.training import Progress, silent
from behavio.sequences import UNKNOWN, SequenceSet

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
        "rests_on": pl.String(),  # person, or what stands in for her: group, base rate
    }
)
BATCH = 50_000
ABSTAINED = "not enough history"
"""How the evidence of a case without a next step begins; its rank is 0, its activity null."""
PROMISED = 0.9
"""Share of steps a set of likely activities holds, for models that have not measured theirs."""
MANY = 0.5
"""A set of likely activities that holds more than this share of all, and more than two, says nothing."""


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
    """Columns of SCHEMA, sorted by case and rank.

    A case of which too little is known has one row of rank 0 whose evidence says why: fewer events than
    `min_history`, or a newest activity after which nothing was
    ever seen while more than half of all activities could come.
    Days count from as_of (the newest event unless the settings name a moment); a time is null where
    nobody ever waited as long as this case, and in a log without a clock.
    """
    every, coded = Prefixes.last(sequences), model.coded(sequences)
    as_of = int(np.max(sequences.times)) if settings.as_of is None else moment(settings.as_of)
    frames = [pl.DataFrame(schema=SCHEMA)]
    for low in range(0, len(every), BATCH):
        some = every[low : low + BATCH]
        why = abstained(sequences, coded, some, model, ngram, settings.min_history)
        told = np.flatnonzero(why.is_null().to_numpy())
        rows = _steps_of(coded, some[told], as_of, model, ngram, gaps, settings, groups, clock)
        silent_rows = _without(sequences, some, why, as_of)
        place = np.concatenate([told[rows["place"].to_numpy()], silent_rows["place"].to_numpy()])
        both = pl.concat([rows, silent_rows]).with_columns(place=place).sort("place", "rank")
        frames.append(both.select(SCHEMA.names()))
        progress("next steps", min(low + BATCH, len(every)) / len(every))
    return pl.concat(frames)


def abstained(
    sequences: SequenceSet,
    coded: SequenceSet,
    prefixes: Prefixes,
    model: SequenceModel,
    ngram: NGram,
    min_history: int,
) -> pl.Series:
    """Why nothing is said of each case; null where something is. `coded`: the same traces as the model's."""
    n = prefixes.ends - prefixes.starts(sequences)
    why: list[str | None] = [None] * len(prefixes)
    for i in np.flatnonzero(n < min_history):
        why[i] = f"{ABSTAINED}: {n[i]} event{'s' if n[i] > 1 else ''}, {min_history} are needed"
    anything = np.full(len(prefixes), UNKNOWN, dtype=np.int64)
    lost = ngram.evidence(coded, prefixes, anything, 1).order == 0
    asked = np.flatnonzero(lost & (n >= min_history))
    kinds = len(model.vocabulary_) - 2
    names, total = sequences.vocabulary.names, float(getattr(model, "reach_", PROMISED))
    for part, some in prefixes[asked].batches(len(model.vocabulary_)):
        known = -np.sort(-model.rows(coded, some)[:, 2:], axis=1)
        wide = np.minimum(1 + (np.cumsum(known, axis=1) < total).sum(axis=1), kinds)
        for i, size, end in zip(asked[part], wide, some.ends, strict=True):
            if size > max(MANY * kinds, 2):
                last = names[sequences.tokens[end - 1]]
                could = f"{size} of {kinds} activities could come"
                why[i] = f"{ABSTAINED}: nothing was ever seen after {last}, {could}"
    return pl.Series(why, dtype=pl.String)


def _without(sequences: SequenceSet, prefixes: Prefixes, why: pl.Series, as_of: int) -> pl.DataFrame:
    """A row of rank 0 for every case of which nothing is said, and its place."""
    place = np.flatnonzero(why.is_not_null().to_numpy())
    return pl.DataFrame(
        {
            "case_id": sequences.case_ids.gather(pl.Series(prefixes.cases[place])),
            "as_of": _as_of(sequences, as_of, len(place)),
            "rank": np.zeros(len(place), dtype=np.int32),
            **dict.fromkeys(SCHEMA.names()[3:9]),
            "evidence": why.gather(pl.Series(place)),
            "rests_on": [None] * len(place),
            "place": place,
        },
        schema={**SCHEMA, "place": pl.Int64()},
    )


def _as_of(sequences: SequenceSet, as_of: int, n: int) -> pl.Series:
    """The moment days count from, n times; null in a log without a clock."""
    return pl.repeat(as_of if sequences.timed else None, n, dtype=pl.Int64, eager=True).cast(TIME)


def _steps_of(
    coded: SequenceSet,
    prefixes: Prefixes,
    as_of: int,
    model: SequenceModel,
    ngram: NGram,
    gaps: GapModel,
    settings: ModelSettings,
    groups: np.ndarray | None,
    clock: SequenceModel | None,
) -> pl.DataFrame:
    """The table of a batch of cases, with places in it; times are the clock's, else the counted ones."""
    with (clock or model).holding(coded, prefixes):
        activity, probability = likeliest(model, coded, prefixes, settings.top)
        keep = activity >= 0
        which, rank = np.nonzero(keep)
        activity, probability = activity[keep], probability[keep]
        some = prefixes[which]
        waited = as_of - np.asarray(coded.times)[some.ends - 1]
        days = _days(coded, some, activity, waited, model.vocabulary_.names, gaps, groups, clock)
    seen, text = evidence(coded, ngram, gaps, some, activity, waited, settings.min_evidence)
    known = pl.Series(model.vocabulary_.names, dtype=pl.String)
    table = pl.DataFrame(
        {
            "case_id": coded.case_ids.gather(pl.Series(some.cases)),
            "as_of": _as_of(coded, as_of, len(some)),
            "rank": rank + 1,
            "activity": known.gather(pl.Series(activity)),
            "probability": probability,
            "median_days": days[:, 1],
            "low_days": days[:, 0],
            "high_days": days[:, 2],
            "evidence_n": seen,
            "evidence": text,
            "rests_on": PERSON,
            "place": which,
        }
    )
    days_or_null = pl.col("median_days", "low_days", "high_days").fill_nan(None)
    kinds = pl.Schema({**SCHEMA, "place": pl.Int64()})
    return table.with_columns(days_or_null).cast(kinds)


def _days(
    coded: SequenceSet,
    prefixes: Prefixes,
    activity: np.ndarray,
    waited: np.ndarray,
    names: Sequence[str],
    gaps: GapModel,
    groups: np.ndarray | None,
    clock: SequenceModel | None,
) -> np.ndarray:
    """float64 (n, 3): low, median and high days from now until each activity; NaN where nothing is known."""
    if not coded.timed:
        return np.full((len(prefixes), 3), np.nan)
    of = None if groups is None else groups[prefixes.cases]
    days = gaps.quantiles(coded.tokens[prefixes.ends - 1], activity, waited, groups=of) / DAY
    if clock is None:
        return days
    own = told(clock, coded, prefixes, [names[i] for i in activity], np.maximum(waited, 0)) / DAY
    return np.where(np.isnan(own), days, own)


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
    rare = found.order == 0  # a last activity seen less often says more than the whole log, with its number
    few = ngram.evidence(coded, prefixes, activity, 1, 1)
    found = Evidence(*(np.where(rare, getattr(few, n), getattr(found, n)) for n in Evidence.__slots__))
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
