"""The patterns stage: mine, compare with chance, with segments, with an outcome."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from behavio.contrasts import false_discovery
from behavio.files import whole_file, write_json
from behavio.log import EventLog
from behavio.patterns.chance import Chance, affordable_shuffles, against_chance
from behavio.patterns.communications import communications
from behavio.patterns.mine import Patterns, frequent
from behavio.patterns.outcome import precedes
from behavio.patterns.rules import Rules
from behavio.patterns.settings import PatternSettings
from behavio.patterns.tables import LATER, RATE, WHOLE, empty, frame, new_first
from behavio.patterns.telling import Place, telling, told_later
from behavio.sequences import SequenceSet
from behavio.words import percent


@dataclass(frozen=True, slots=True, eq=False)
class Findings:
    """The table of patterns, how it came about, and in words what a reader must know of that."""

    frame: pl.DataFrame
    facts: dict[str, Any]
    notes: tuple[str, ...] = ()


def patterns(
    log: EventLog | SequenceSet,
    settings: PatternSettings | None = None,
    seed: int = 0,
    segments: pl.DataFrame | None = None,
) -> pl.DataFrame:
    """Frequent patterns of at least two events with their lift over chance; columns of patterns.parquet.

    segments  case_id, segment: also the patterns that tell each segment from the other cases. Segments found
              in this very log are told by its noise, too; `find` with `place` is honest about them
    """
    sequences = log if isinstance(log, SequenceSet) else SequenceSet.from_log(log)
    return find(sequences, settings or PatternSettings(), seed, segments).frame


def find(
    sequences: SequenceSet,
    settings: PatternSettings,
    seed: int,
    segments: pl.DataFrame | None = None,
    progress: Callable[[str, float], None] = lambda what, share: None,
    place: Place | None = None,
) -> Findings:
    """Mine, compare with chance and with segments.

    place  the segments' model, where they were found in these very sequences; see `told_later`
    """
    progress("frequent patterns", 0.0)
    rules = settings.rules(sequences)
    mined = frequent(sequences, rules)
    several = mined.select(mined.lengths > 1)
    progress("patterns against chance", 0.2)
    facts: dict[str, Any] = {
        "n_cases": sequences.n_cases,
        "n_frequent": len(mined),
        "n_tested": len(several),
        "min_cases_asked": rules.min_cases,
        "min_cases": mined.rules.min_cases,
        "min_support": mined.rules.min_cases / sequences.n_cases,
        "max_length": mined.rules.max_length,
        "max_gap_used": settings.max_gap if rules.max_gap >= 0 else None,
    }
    frames = [empty()]
    if len(several):
        n_nodes = int(several.lengths.sum())
        n_shuffles = affordable_shuffles(sequences, n_nodes, settings.permutations)
        chance = against_chance(sequences, several, n_shuffles, seed)
        frames.append(_chance_rows(sequences, several, chance, settings.top))
        facts["permutations"] = n_shuffles
        facts["n_standing_out"] = int((false_discovery(chance.p_value) <= RATE).sum())
        progress("patterns against the rest", 0.8)
        if segments is not None and place is not None:
            later = told_later(sequences, segments, place, settings, seed)
            frames.append(later.frame)
            facts |= {"telling_cases": later.n_cases, "telling_same_segment": later.same}
            facts |= {"telling_counted_in": LATER if later.placed else None}
        elif segments is not None:
            frames.append(telling(sequences, several, segments, settings.top, n_shuffles, seed))
            facts["telling_counted_in"] = WHOLE
        if segments is not None:
            facts["n_telling_rows"] = frames[-1].height
    progress("patterns", 1.0)
    return Findings(pl.concat(frames), facts, _notes(sequences, settings, rules, mined, facts))


def _notes(
    sequences: SequenceSet, settings: PatternSettings, asked: Rules, mined: Patterns, facts: dict[str, Any]
) -> tuple[str, ...]:
    """What was not done as asked, and what nobody should read into the table."""
    notes = []
    kept = mined.rules
    if kept.min_cases > asked.min_cases:
        notes.append(
            f"patterns held by fewer than {kept.min_cases:,} cases ({percent(facts['min_support'])}) were "
            f"left out: at min_support {settings.min_support:g} there are more than max_patterns = "
            f"{settings.max_patterns:,}; raise max_patterns to see them"
        )
    longest = int(sequences.lengths.max())
    if kept.max_length < min(asked.max_length or longest, longest):
        notes.append(
            f"only patterns of up to {kept.max_length} events: longer ones are held by so many cases that "
            f"they alone are more than max_patterns = {settings.max_patterns:,}"
        )
    limits = (settings.max_gap, settings.min_gap, settings.max_span)
    if not sequences.timed and any(limits):
        notes.append("the log has no clock: limits in time are not applied")
    if facts.get("n_standing_out") == 0:
        notes.append("nothing stands out: no pattern is commoner or rarer than shuffling the events makes it")
    return (*notes, *_telling_notes(facts))


def _telling_notes(facts: dict[str, Any]) -> list[str]:
    """How the segments were held against each other, and when nothing came of it."""
    if "n_telling_rows" not in facts:
        return []
    if facts["telling_counted_in"] is None:
        said = "what tells the segments apart is not judged: they rest on what was learned of whole journeys"
        return [f"{said}, and in the very events that made them something always stands out"]
    notes = []
    if facts["telling_counted_in"] == LATER:
        n, same = facts["telling_cases"], facts["telling_same_segment"]
        notes.append(
            "what tells a segment is counted in the later half of each journey; who belongs to it was told "
            f"from the first half alone, for {n:,} cases ({percent(same / max(n, 1))} of them as by the "
            "whole journey), because events that made a segment cannot prove it"
        )
    if facts["n_telling_rows"] == 0:
        notes.append(
            "no order of steps tells a segment from the others beyond what its mix and pace of activities do"
        )
    return notes


def _chance_rows(sequences: SequenceSet, found: Patterns, chance: Chance, top: int) -> pl.DataFrame:
    """What stands out first, of that what says something new; then by cases more or less than chance."""
    q_value = false_discovery(chance.p_value)
    excess = np.abs(chance.n_cases - chance.expected)
    order = np.lexsort((np.arange(len(found)), -excess, q_value > RATE))
    index = new_first(found, order, int((q_value <= RATE).sum()), top)
    return frame(sequences, found, index, chance, chance.n_cases / sequences.n_cases, q_value, None)


def write_patterns(
    sequences: SequenceSet,
    settings: PatternSettings,
    seed: int,
    folder: Path,
    segments: pl.DataFrame | None = None,
    progress: Callable[[str, float], None] = lambda what, share: None,
    place: Place | None = None,
) -> dict[str, Any]:
    """Write patterns.parquet, notes.json and, where asked for or coded, outcomes and communications.

    place  the segments' model, where they were found in these very sequences
    Returns facts for the manifest and the closing summary.
    """
    found = find(sequences, settings, seed, segments, progress, place)
    tables, notes = {"patterns": found.frame}, {"patterns": found.notes}
    facts = {"rows_in": sequences.n_events, "rows_out": found.frame.height, **found.facts}
    if settings.outcome:
        before = precedes(sequences, settings.outcome, settings)
        tables["outcomes"], notes["outcomes"] = before.frame, before.notes
        facts["n_outcome_rows"] = before.frame.height
    sent = communications(sequences, settings)
    if sent.frame.height:
        tables["communications"], notes["communications"] = sent.frame, sent.notes
        facts["n_communications"] = sent.frame.height
    for name, table in tables.items():
        with whole_file(folder / f"{name}.parquet") as draft:
            table.write_parquet(draft, compression="zstd")
    write_json(folder / "notes.json", {name: list(said) for name, said in notes.items()})
    return facts
