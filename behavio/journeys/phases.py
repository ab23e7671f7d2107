"""The customer-journey map: what happens in each phase of a journey, and what is answered, per segment."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl

from behavio.distances.medoids import central
from behavio.durations import seconds
from behavio.errors import JobError
from behavio.journeys.traces import ARROW
from behavio.kernels.arrays import readonly
from behavio.kernels.responses import first_responses
from behavio.sequences import SequenceSet

PHASES = ("30d", "90d", "180d")
POSITIONS = (3, 10, 30)
"""Where phases end in a log without a clock: after so many events."""

PHASE_SCHEMA: dict[str, pl.DataType] = {
    "segment": pl.String(),
    "phase": pl.Int64(),
    "from": pl.String(),
    "until": pl.String(),
    "activity": pl.String(),
    "direction": pl.String(),
    "events": pl.Int64(),
    "cases": pl.Int64(),
    "phase_cases": pl.Int64(),
    "share": pl.Float64(),
    "reach": pl.Float64(),
    "answered": pl.Int64(),
    "answered_share": pl.Float64(),
    "answer": pl.String(),
    "median_answer_s": pl.Float64(),
}

REPRESENTATIVE_SCHEMA: dict[str, pl.DataType] = {
    "segment": pl.String(),
    "variant": pl.String(),
    "activities": pl.List(pl.String()),
    "case_id": pl.String(),
    "cases": pl.Int64(),
    "share": pl.Float64(),
    "mean_distance": pl.Float64(),
}


@dataclass(frozen=True, slots=True, eq=False)
class JourneyMap:
    """Phases × touchpoints × what is answered, and a representative journey, per segment.

    phases           PHASE_SCHEMA
    representatives  REPRESENTATIVE_SCHEMA
    """

    phases: pl.DataFrame
    representatives: pl.DataFrame


def journey_map(
    sequences: SequenceSet,
    segments: pl.DataFrame | None = None,
    phases: Sequence[str] = PHASES,
    within: str = "14d",
) -> JourneyMap:
    """Customer-journey map of a log, for all cases (segment null) and for each segment.

    segments  case_id and segment; None: only all cases
    phases    time since a case's first event at which one phase ends and the next begins; a log without a
              clock is cut after 3, 10 and 30 events
    within    an inbound event so soon after an outbound one, with no other outbound in between, answers it

    Per phase and activity: events, cases that have it, phase_cases (cases with any event in the phase), its
    share of the phase's events, reach (share of phase_cases); for outbound activities how many were answered,
    mostly by what, and after how long. Without directions in the log nothing is called an answer. What
    follows is not thereby caused: an association. The representative is a real case, the medoid: the one
    whose journey is nearest to all others (`distances.medoids.central`); it is typical, not one to copy.
    """
    place, names = _phases(sequences, phases)
    label, groups = _segments(sequences, segments)
    direction = directions(sequences)
    events = pl.DataFrame(
        {
            "segment": label[sequences.case_of_event],
            "phase": place + 1,
            "token": sequences.tokens,
            "case": sequences.case_of_event,
            **_answers(sequences, direction, within),
        }
    )
    found = [_table(events, None)] + [_table(events, g) for g in range(len(groups))]
    spoken = pl.Series([None, *groups], dtype=pl.String)
    frames = [frame.with_columns(segment=pl.lit(spoken[k], pl.String)) for k, frame in enumerate(found)]
    words = pl.Series(sequences.vocabulary.names, dtype=pl.String)
    side = pl.Series(direction, dtype=pl.String)
    table = pl.concat(frames)
    table = table.with_columns(
        words.gather(table["token"]).alias("activity"),
        side.gather(table["token"]).alias("direction"),
        words.gather(table["answer"]).alias("answer"),
        *(pl.Series(n, [names[p - 1][k] for p in table["phase"]], pl.String)
          for k, n in enumerate(("from", "until"))),
    )  # fmt: skip
    if not sequences.timed:
        table = table.with_columns(median_answer_s=pl.lit(None, pl.Float64))
    order = table.sort("phase", "events", "activity", descending=[False, True, False], maintain_order=True)
    order = order.sort("segment", maintain_order=True)
    chosen: list[tuple[str | None, np.ndarray]] = [(None, np.ones(sequences.n_cases, dtype=bool))]
    chosen += [(name, label == g) for g, name in enumerate(groups)]
    rows = [_representative(sequences.select(mine), name) for name, mine in chosen]
    return JourneyMap(
        order.select(pl.col(n).cast(k) for n, k in PHASE_SCHEMA.items()),
        pl.DataFrame(rows, schema=REPRESENTATIVE_SCHEMA, orient="row"),
    )


def _phases(sequences: SequenceSet, phases: Sequence[str]) -> tuple[np.ndarray, list[tuple[str | None, ...]]]:
    """Phase of each event, from 0, and where each phase begins and ends."""
    if not sequences.timed:
        position = np.arange(sequences.n_events) - np.repeat(sequences.offsets[:-1], sequences.lengths)
        cuts = [f"{n} events" for n in POSITIONS]
        return np.searchsorted(POSITIONS, position, side="right"), _named(cuts)
    ends = [seconds(p) * 1e6 for p in phases]
    if ends != sorted(set(ends)) or not ends or ends[0] <= 0:
        raise JobError(f"the phases {', '.join(phases)} do not rise", hint='write them like "30d", "90d"')
    since = sequences.times - np.repeat(sequences.times[sequences.offsets[:-1]], sequences.lengths)
    return np.searchsorted(ends, since, side="right"), _named(list(phases))


def _named(cuts: list[str]) -> list[tuple[str | None, ...]]:
    return list(zip([None, *cuts], [*cuts, None], strict=True))


def _segments(sequences: SequenceSet, segments: pl.DataFrame | None) -> tuple[np.ndarray, list[str]]:
    """Index of each case's segment, −1 without one, and the segments' names, the largest first."""
    if segments is None:
        return np.full(sequences.n_cases, -1), []
    known = segments.select(pl.col("case_id").cast(pl.String), "segment")
    cases = pl.DataFrame({"case_id": sequences.case_ids.cast(pl.String)})
    mine = cases.join(known, on="case_id", how="left", maintain_order="left")["segment"]
    sizes = mine.drop_nulls().value_counts(sort=False).sort("count", "segment", descending=[True, False])
    names = sizes["segment"].to_list()
    place = {name: i for i, name in enumerate(names)}
    return np.array([place.get(name, -1) for name in mine]), names


def directions(sequences: SequenceSet) -> list[str | None]:
    """The usual direction of each activity, null where the log has none."""
    names = sequences.vocabulary.names
    field = sequences.fields.get("direction")
    if field is None:
        return [None] * len(names)
    count = np.zeros((len(names), len(field.vocabulary)), dtype=np.int64)
    np.add.at(count, (sequences.tokens, field.codes), 1)
    count[:, 0] = 0
    best = count.argmax(axis=1)
    return [field.vocabulary.names[b] if count[i, b] else None for i, b in enumerate(best)]


def _answers(sequences: SequenceSet, direction: list[str | None], within: str) -> dict[str, pl.Series]:
    """Per event: the token that answers it (null: none, or it is no touch), and seconds until then."""
    side = np.array([{"outbound": 1, "inbound": 2}.get(d or "", 0) for d in direction])[sequences.tokens]
    limit = round(seconds(within) * 1e6) if sequences.timed else -1
    answer = first_responses(
        side == 2,
        side == 1,
        readonly(sequences.offsets, np.int64),
        readonly(sequences.times, np.int64),
        limit,
    )
    has = answer >= 0
    waited = np.where(has, sequences.times[answer] - sequences.times, 0) / 1e6
    token = pl.Series(sequences.tokens[answer])
    return {
        "touch": pl.Series(side == 1),
        "by": pl.select(pl.when(pl.Series(has)).then(token)).to_series(),
        "waited_s": pl.select(pl.when(pl.Series(has)).then(pl.Series(waited))).to_series(),
    }


def _table(events: pl.DataFrame, group: int | None) -> pl.DataFrame:
    """Counts of one segment, or of all cases."""
    mine = events if group is None else events.filter(pl.col("segment") == group)
    phase = mine.group_by("phase").agg(
        pl.len().alias("phase_events"), pl.col("case").n_unique().alias("phase_cases")
    )
    answers = mine.drop_nulls("by").group_by("phase", "token", "by").len()
    answers = answers.sort("len", "by", descending=[True, False]).group_by("phase", "token").first()
    table = mine.group_by("phase", "token").agg(
        pl.len().alias("events"),
        pl.col("case").n_unique().alias("cases"),
        pl.when(pl.col("touch").any()).then(pl.col("by").count()).alias("answered"),
        pl.col("waited_s").median().alias("median_answer_s"),
    )
    return (
        table.join(phase, on="phase")
        .join(
            answers.select("phase", "token", pl.col("by").alias("answer")), on=["phase", "token"], how="left"
        )
        .with_columns(
            share=pl.col("events") / pl.col("phase_events"),
            reach=pl.col("cases") / pl.col("phase_cases"),
            answered_share=pl.col("answered") / pl.col("events"),
        )
        .drop("phase_events")
    )


def _representative(sequences: SequenceSet, segment: str | None) -> tuple[object, ...]:
    """The medoid of these cases: a real one, with its whole journey and how many have the very same."""
    case, distance = central(sequences)
    trace = sequences.tokens[sequences.offsets[case] : sequences.offsets[case + 1]]
    names = [sequences.vocabulary.names[t] for t in trace]
    alike = sequences.distinct().of_case
    n = int((alike == alike[case]).sum())
    return (
        segment, ARROW.join(names), names, str(sequences.case_ids[case]), n, n / sequences.n_cases, distance
    )  # fmt: skip
