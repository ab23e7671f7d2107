"""The tables of a run for one of its groups alone: counted again from the events of its members."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import polars as pl

from behavio.errors import RunError
from behavio.report.run_tables import RunTables
from behavio.sequences import Field, SequenceSet, Vocabulary


def only_group(run: RunTables, group: str, k: int) -> RunTables:
    """What the run holds of the members of one group.

    Journeys are counted again; patterns are those found for the group; what was fitted on everybody (models,
    outcomes, plan) is left out. Raises RunError for a group that is not there or has fewer than k members.
    """
    table = run.segments
    if table is None or not table.height:
        raise RunError("the run has no groups", hint="add a [segments] table to the job and run it again")
    sizes = dict(table.filter(pl.col("segment_id") >= 0).group_by("segment").len().iter_rows())
    shown = sorted(name for name, n in sizes.items() if n >= k)
    if group not in shown:
        known = ", ".join(shown) or "none"
        why = "is not in this run" if group not in sizes else f"has fewer than {k} members"
        raise RunError(f"the group {group!r} {why}", hint=f"groups that can be shown: {known}")
    own = table.filter((pl.col("segment") == group) & (pl.col("segment_id") >= 0))
    ids = own["case_id"]

    def kept(frame: pl.DataFrame | None) -> pl.DataFrame | None:
        return None if frame is None else frame.filter(pl.col("case_id").is_in(ids.implode()))

    events = run.events.filter(pl.col("case_id").is_in(ids.implode()))
    cases = run.cases.filter(pl.col("case_id").is_in(ids.implode()))
    part = replace(
        run,
        events=events,
        cases=cases,
        segments=own,
        map_svg=None,
        conformance=None,
        outcomes=None,
        communications=None,
        pattern_notes=None,
        metrics=None,
        changes=None,
        changed_steps=None,
        phases=None if run.phases is None else run.phases.filter(pl.col("segment") == group),
        patterns=_patterns(run.patterns, group),
        next_steps=kept(run.next_steps),
        suggestions=kept(run.suggestions),
        suppressed=kept(run.suppressed),
        profiles=_profile(run.profiles, group),
        pressure=_pressure(run.pressure, group),
        previous=None,
    )
    return replace(part, **_journeys(events, run))


def sequences_of(events: pl.DataFrame, timed: bool = True) -> SequenceSet:
    """The events of some cases, encoded; with their directions, if any."""
    case = events["case_id"]
    starts = (case != case.shift()).fill_null(True).arg_true()
    vocabulary = Vocabulary.of(events["activity"].unique().to_list())
    fields = {}
    if events["direction"].null_count() < events.height:
        known = Vocabulary.of(events["direction"].drop_nulls().unique().to_list())
        fields["direction"] = Field(known.encode(events["direction"]), known)
    return SequenceSet(
        tokens=vocabulary.encode(events["activity"]),
        offsets=np.append(starts.to_numpy(), events.height).astype(np.int64),
        times=events["timestamp"].cast(pl.Datetime("us", "UTC")).to_physical().to_numpy(),
        case_ids=case.gather(starts),
        vocabulary=vocabulary,
        fields=fields,
        timed=timed,
    )


def _journeys(events: pl.DataFrame, run: RunTables) -> dict[str, Any]:
    """The tables of journeys/ that the page shows, counted for these events; only those the run has."""
    from behavio import journeys

    if run.graph is None or not events.height:
        return {"graph": None, "activities": None, "variants": None, "case_times": None}
    log = sequences_of(events, run.timed)
    graph, found = journeys.directly_follows(log), journeys.variants(log)
    tables: dict[str, Any] = {
        "graph": graph.edges,
        "activities": graph.activities,
        "variants": found.to_frame(),
        "case_times": journeys.case_table(log, found),
        "rework": journeys.rework(log),
        "waiting": journeys.waiting_times(log) if run.timed else None,
        "retention": None,
    }
    if run.timed and run.retention is not None:
        acts = events.filter(pl.col("direction") == "inbound")["activity"].unique().sort().to_list()
        tables["retention"] = journeys.retention(log, acts or None)
    return tables


def _patterns(found: pl.DataFrame | None, group: str) -> pl.DataFrame | None:
    if found is None or "segment" not in found.columns:
        return None
    own = found.filter(pl.col("segment") == group)
    both = own.with_columns(pl.lit(None, dtype=pl.String).alias("segment"))
    return both if own.height else None


def _profile(profiles: dict[str, Any] | None, group: str) -> dict[str, Any] | None:
    if profiles is None:
        return None
    own = [p for p in profiles.get("segments", []) if p.get("segment") == group]
    return {**profiles, "segments": own}


def _pressure(found: dict[str, Any] | None, group: str) -> dict[str, Any] | None:
    """Bands and curves of the group, standing where those of everybody stood."""
    if found is None or found.get("bands") is None:
        return found
    as_all = pl.lit("everybody").alias("segment")
    own = {n: found[n].filter(pl.col("segment") == group) for n in ("bands", "curves", "cases")}
    return {
        **found,
        "bands": own["bands"].with_columns(as_all),
        "curves": own["curves"].with_columns(as_all),
        "cases": own["cases"],
    }
