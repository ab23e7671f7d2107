"""Which sequences of communications are answered: response with its interval, and what it does not say."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import polars as pl

from behavio.durations import seconds
from behavio.kernels import strata
from behavio.patterns.outcome import (
    NEVER,
    OUTCOME_SCHEMA,
    Outcome,
    Study,
    arrays,
    cut,
    micro,
)
from behavio.patterns.rules import Moments
from behavio.patterns.settings import PatternSettings
from behavio.patterns.tables import RATE, known
from behavio.sequences import SequenceSet
from behavio.words import duration

WARNING = (
    "association, not effect: who gets which sequence was decided by people and rules who knew the customer; "
    "compare like with like, or test it with a random split before acting on it"
)


@dataclass(frozen=True, slots=True, eq=False)
class Communications:
    """Sequences of communications, best answered first (columns of OUTCOME_SCHEMA), and what to keep in mind.

    A row's `stands_out` is True where its false discovery rate is at most 5 %.
    """

    frame: pl.DataFrame
    notes: tuple[str, ...]


def communications(sequences: SequenceSet, settings: PatternSettings) -> Communications:
    """Frequent sequences of communications, ranked by how surely they are answered more than usual.

    An answer is any inbound event after the moment in which the sequence ends and within `within` of it:
    what is noted in the conversation itself is no answer to it. Compared are moments with the same last
    communication, of cases that have had as many of them, as many lately, and answered as often lately: lift
    says what the order before the last communication adds. A single communication therefore has none.
    """
    none = pl.DataFrame(schema=OUTCOME_SCHEMA | {"stands_out": pl.Boolean()})
    sides = _sides(sequences, settings)
    if sides is None or not sequences.timed:
        return Communications(
            none, ("communications cannot be told from answers: no direction, or no clock",)
        )
    sent, answered = sides
    if not sent.any() or not answered.any():
        return Communications(none, ("there are no communications, or no answers",))
    ended = _moment_ends(sequences, settings)
    outbound, _ = cut(replace(sequences, times=ended), sent)
    within = micro(settings.within)
    offsets, times = arrays(sequences)
    late = strata.next_times(offsets, arrays(replace(sequences, times=ended))[1], answered, NEVER)
    answers = strata.recent(offsets, times, answered, within)
    ours = strata.recent(*arrays(outbound), np.ones(outbound.n_events, dtype=bool), within)
    study = Study.of(
        outbound,
        late[sent],
        [ours, answers[sent]],
        settings,
        int(sequences.times.max()),
        Outcome("an answer", answered),
        same_moments=True,
    )
    found = study.compare("an inbound response", sequences.n_cases, (), everything=True)
    ranked = found.frame.with_columns(stands_out=pl.col("q_value") <= RATE).sort(
        [pl.col("stands_out"), pl.col("low"), pl.col("share_low"), pl.col("pattern")],
        descending=[True, True, True, False],
        nulls_last=True,
    )
    wait = duration(seconds(settings.within))
    compared = "lift is against the same last communication after other ones, with as many so far and lately"
    said = [f"answered: any inbound event within {wait} after the sequence ends", *found.notes[:-1]]
    said += [compared, WARNING]
    if not ranked["stands_out"].any():
        said.append(
            "nothing stands out: no sequence is answered more or less often than others at such moments"
        )
    return Communications(ranked.head(settings.top), tuple(said))


def _sides(sequences: SequenceSet, settings: PatternSettings) -> tuple[np.ndarray, np.ndarray] | None:
    """Which events are communications and which answers, bool (n_events,)."""
    direction = sequences.fields.get("direction")
    if settings.communications:
        sent = np.isin(sequences.tokens, known(sequences, settings.communications))
        if direction is None:
            return sent, ~sent
        return sent, direction.codes == direction.vocabulary.id("inbound")
    if direction is None or not {"outbound", "inbound"} <= set(direction.vocabulary.names):
        return None
    return tuple(direction.codes == direction.vocabulary.id(side) for side in ("outbound", "inbound"))


def _moment_ends(sequences: SequenceSet, settings: PatternSettings) -> np.ndarray:
    """For each event the time (µs) at which its moment ends."""
    when = Moments.of(sequences, settings.rules(sequences))
    return when.ends[when.of_event]
