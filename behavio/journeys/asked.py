"""Questions to one log: encoded once, cut and grouped as wished, then asked again and again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from behavio.journeys.eventually import eventually_follows
from behavio.journeys.follows import DirectlyFollowsGraph, directly_follows
from behavio.journeys.funnel import funnel
from behavio.journeys.groups import group_activities, read_rules, similar_activities
from behavio.journeys.measures import durations, rework, waiting_times
from behavio.journeys.phases import PHASES, JourneyMap, journey_map
from behavio.journeys.retention import lifecycle, retention
from behavio.journeys.sessions import sessions
from behavio.journeys.steps import steps
from behavio.journeys.traces import Variants, variants
from behavio.sequences import SequenceSet


@dataclass(frozen=True, slots=True, eq=False)
class Journeys:
    """A log ready to be asked; every answer is a Polars frame, or draws itself in a notebook.

    sequences  the encoded log, cut into sessions and grouped where that was asked for
    notes      what was done to it, in words
    """

    sequences: SequenceSet
    notes: tuple[str, ...] = ()

    def graph(self, quantiles: bool = True) -> DirectlyFollowsGraph:
        """What directly follows what; `quantiles=False` is quicker and has only mean times."""
        return directly_follows(self.sequences, quantiles=quantiles)

    def eventually(self, activities: int = 1_024) -> pl.DataFrame:
        """What comes anywhere after what, with the temporal profile."""
        return eventually_follows(self.sequences, activities=activities)

    def variants(self) -> Variants:
        """Distinct traces and how many cases follow each."""
        return variants(self.sequences)

    def waiting(self) -> pl.DataFrame:
        """How long each activity was waited for."""
        return waiting_times(self.sequences)

    def rework(self) -> pl.DataFrame:
        """How often cases come back to an activity."""
        return rework(self.sequences)

    def durations(self) -> pl.DataFrame:
        """How long cases take."""
        return durations(self.sequences)

    def steps(self, n: int = 10) -> pl.DataFrame:
        """What the first n events of cases are."""
        return steps(self.sequences, n)

    def funnel(self, steps: Sequence[str], within: str | None = None) -> pl.DataFrame:
        """How many cases take these steps in this order, in which time."""
        return funnel(self.sequences, steps, within)

    def retention(self, activities: Sequence[str] | None = None) -> pl.DataFrame:
        """Who is still active how many months after the first event."""
        return retention(self.sequences, activities)

    def lifecycle(
        self, dormant: str = "90d", lost: str = "365d", activities: Sequence[str] | None = None
    ) -> pl.DataFrame:
        """How many cases are new, active, returned, dormant and lost, month by month."""
        return lifecycle(self.sequences, dormant, lost, activities)

    def map(
        self, segments: pl.DataFrame | None = None, phases: Sequence[str] = PHASES, within: str = "14d"
    ) -> JourneyMap:
        """Phases, touchpoints and what is answered, per segment."""
        return journey_map(self.sequences, segments, phases, within)


def ask(
    sequences: SequenceSet,
    sessions_gap: str | None = None,
    groups: Mapping[str, str] | str | Path | int | None = None,
) -> Journeys:
    """The log as `Journeys`.

    sessions_gap  cut cases where nothing happens for longer than this ("30m")
    groups        rules pattern → group, a file of them, or how many groups similar activities shall make
    """
    notes = []
    if groups is not None:
        if isinstance(groups, int):
            rules: Mapping[str, str] = similar_activities(sequences, groups)
        else:
            rules = groups if isinstance(groups, Mapping) else read_rules(Path(groups))
        before = len(sequences.own_vocabulary().activities)
        grouped = group_activities(sequences, rules)
        sequences = grouped.sequences
        alone = grouped.table["rule"].null_count()
        made = grouped.table.filter(pl.col("rule").is_not_null())["group"].n_unique()
        notes.append(f"{before - alone:,} of {before:,} activities in {made:,} group{'s' * (made != 1)}")
    if sessions_gap is not None:
        n_cases = sequences.n_cases
        sequences = sessions(sequences, sessions_gap).sequences
        notes.append(f"{sequences.n_cases:,} sessions of {n_cases:,} cases, cut at gaps above {sessions_gap}")
    return Journeys(sequences, tuple(notes))
