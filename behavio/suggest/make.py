"""From the log to suggestions and suppressions: every candidate ends in exactly one of the two."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from behavio.log import EventLog
from behavio.suggest.affinity import AFFINITY_SCHEMA, channel_affinity, content_affinity
from behavio.suggest.candidates import Offers, read_actions, read_offers
from behavio.suggest.channels import case_values, check_policy, policy_conflicts, read_policy
from behavio.suggest.cycle import fresh_messages, lay_out
from behavio.suggest.feedback import adherence, read_feedback
from behavio.suggest.found import Found
from behavio.suggest.medical import has_medical, medical_queue
from behavio.suggest.messages import message_scores, shown_messages
from behavio.suggest.objectives import OPENS_ONLY
from behavio.suggest.offpolicy import judge_policy
from behavio.suggest.plan import day_of, give_days, with_dates
from behavio.suggest.reasons import add_reasons
from behavio.suggest.ruled import NARROW, PART, Ruled, ask_rules, parts_of
from behavio.suggest.scoring import SITUATION, score
from behavio.suggest.settings import SuggestSettings
from behavio.suggest.situations import Situations, read_situations
from behavio.suggest.standing import add_standing
from behavio.suggest.tables import SUGGESTION_SCHEMA, SUPPRESSED_SCHEMA, InMemory, Keep
from behavio.suggest.timeline import Timeline, as_texts, read_timeline
from behavio.suggest.triggers import triggered
from behavio.suggest.uplift import holdout_uplift

NO_OUTBOUND = "no outbound activity is marked: set [source.x.values.direction]"
NO_CLOCK = "the log has an order but no times: nothing can fall due"
NO_SUCCESS = "no inbound activity is marked: set [source.x.values.direction] or name activities as objective"


@dataclass(frozen=True, eq=False)
class Suggestions:
    """What the stage makes.

    tables   suggestions, suppressed, affinity, content, plan, missing; medical and medical_suppressed (see
             `medical`) where there is a medical team; feedback and adherence where the log
             holds feedback or an earlier run is named; watch with a value column; conflicts with a policy
    facts    for the closing summary
    """

    tables: dict[str, pl.DataFrame]
    facts: dict[str, Any]


def make_suggestions(
    log: EventLog,
    next_steps: pl.DataFrame | None,
    segments: pl.DataFrame | None,
    settings: SuggestSettings,
    progress: Callable[[str, float], None],
    found: Found,
) -> Suggestions:
    """Weigh every action for every case, ask the rules, plan what is left."""
    keep = InMemory()
    facts = make_tables(log, next_steps, segments, settings, progress, found, keep)
    return Suggestions(keep.tables(), facts)


def make_tables(
    log: EventLog,
    next_steps: pl.DataFrame | None,
    segments: pl.DataFrame | None,
    settings: SuggestSettings,
    progress: Callable[[str, float], None],
    found: Found,
    keep: Keep,
) -> dict[str, Any]:
    """Give every table of `Suggestions` to `keep`, part by part; returns the facts."""
    if not log.timed:
        return _nothing(log, NO_CLOCK, pl.DataFrame(schema=AFFINITY_SCHEMA), keep)
    timeline = read_timeline(log, settings, found.moves)
    affinity = channel_affinity(timeline, settings)
    actions = read_actions(timeline, settings)
    if actions.height == 0:
        return _nothing(log, NO_OUTBOUND, affinity, keep)
    if len(timeline.success) == 0:
        return _nothing(log, NO_SUCCESS, affinity, keep)
    keep.add("affinity", affinity)
    keep.add("content", _content(timeline, settings))
    situations = read_situations(timeline, segments, settings)
    names = actions["action"].to_list()
    promoting = actions.filter(~pl.col("action_medical"))
    cells, now, counts = score(situations, promoting["action"].to_list(), settings, progress)
    feedback = read_feedback(timeline, settings, found.previous)
    offers = read_offers(situations, actions, cells, now, log, settings)
    offers = add_standing(offers, timeline, log, settings, found, feedback)
    offers = _asked_for(offers, situations, log, settings, found)
    if has_medical(timeline, settings):
        queue, held = medical_queue(timeline, log, offers, settings)
        keep.add("medical", queue)
        keep.add("medical_suppressed", held)
        counts |= {"n_medical": queue.height, "n_medical_suppressed": held.height}
    shown = shown_messages(situations, names, settings)
    scores = message_scores(shown)
    ruled = ask_rules(offers, shown, scores, feedback, timeline, settings, progress, keep)
    held_out = offers.cases["holdout"]
    del offers  # what stood beside every case is not needed any more
    progress("judging the policy", 0.4)
    policy = judge_policy(situations, promoting, ruled.closed, settings)
    if settings.holdout_column is not None:
        policy["holdout"] = holdout_uplift(timeline, held_out)
    progress("planning", 0.6)
    plan = give_days(ruled.ranked, timeline.as_of, settings)
    facts = _facts(timeline, situations, actions, plan, ruled, counts, log, settings) | {"policy": policy}
    if settings.value_column is not None:
        keep.add("watch", ruled.watch.sort("value", "case_id", descending=[True, False]))
        facts["n_watched"] = ruled.watch.height
    if feedback.height:
        told = adherence(feedback)
        keep.add("feedback", feedback)
        keep.add("adherence", told)
        facts["feedback"] = told.drop("owner_id").row(0, named=True)
    if settings.policy is not None:
        conflicts = policy_conflicts(ruled.bound, affinity)
        keep.add("conflicts", conflicts)
        facts["n_policy_conflicts"] = conflicts.height
    return facts | _write_out(
        plan, ruled, cells, shown, scores, situations, next_steps, settings, progress, keep
    )


def _write_out(
    plan: pl.DataFrame,
    ruled: Ruled,
    cells: pl.DataFrame,
    shown: pl.DataFrame,
    scores: pl.DataFrame,
    situations: Situations,
    next_steps: pl.DataFrame | None,
    settings: SuggestSettings,
    progress: Callable[[str, float], None],
    keep: Keep,
) -> dict[str, int]:
    """Suggestions with their reasons, suppressions and the steps of the cycle, part by part."""
    t = situations.timeline
    cycle = lay_out(plan, t, settings)
    usable = fresh_messages(scores, t.as_of, settings)
    free = pl.col("rule").is_null()
    expected = _expected(next_steps, t)
    n_urgent = 0
    for start, inside in parts_of(t.n_cases):
        progress("giving reasons", start / t.n_cases)
        planned = plan.filter(inside)
        own = _known(planned.filter(free), cells, t)
        own = with_dates(own, t.as_of, settings)
        own = add_reasons(_with_next_step(own, expected), (start, start + PART), situations, settings)
        n_urgent += int((own["priority"] == "urgent").sum())
        keep.add("suggestions", _suggestions(own))
        held = pl.concat([ruled.forbidden.filter(inside), planned.filter(~free).select(NARROW)])
        keep.add(
            "suppressed", _suppressed(_known(held.sort("case", "action", maintain_order=True), cells, t))
        )
        keep.add("plan", cycle.part(inside, t, as_texts(shown.filter(inside)), usable))
    return {"n_urgent": n_urgent, "n_planned_steps": cycle.steps.height}


def _known(rows: pl.DataFrame, cells: pl.DataFrame, t: Timeline) -> pl.DataFrame:
    """Rows of candidates with their case ids and the evidence of their situation, as texts."""
    rows = as_texts(rows).with_columns(case_id=t.case_ids.gather(rows["case"]))
    evidence = cells.drop("gain") if "gain" in rows.columns else cells
    return rows.join(evidence, on=["action", *SITUATION], how="left", maintain_order="left")


def _content(t: Timeline, settings: SuggestSettings) -> pl.DataFrame:
    noted = t.moments(
        t.events.select(pl.col("content", "reaction").is_not_null())
        .select(pl.all_horizontal("*"))
        .to_series()
    )
    return content_affinity(t.of(noted, "case_id", "content", "reaction", "team"), settings)


def _asked_for(
    offers: Offers, situations: Situations, log: EventLog, settings: SuggestSettings, found: Found
) -> Offers:
    """What users ask for beside each candidate: the value of the case, and triggers."""
    cases = offers.cases.join(case_values(log, settings), on="case_id", how="left", maintain_order="left")
    asked = triggered(log, situations.timeline, offers.actions, settings)
    lookups = (*offers.lookups, (asked, ["case_id", "action"]))
    segments = sorted({str(s) for s in situations.segment})
    stages = [] if found.stages is None else found.stages["stage"].unique().sort().to_list()
    if settings.policy is not None:
        check_policy(read_policy(Path(settings.policy)), segments, stages)
    return replace(offers, cases=cases, lookups=lookups)


def _suggestions(made: pl.DataFrame) -> pl.DataFrame:
    names = {"n": "evidence_n", "k": "responses", "touches_28d": "contacts_28d"}
    out = made.sort("case", "rank").rename(names)
    return out.select(pl.col(c).cast(t) for c, t in SUGGESTION_SCHEMA.items())


def _suppressed(left_out: pl.DataFrame) -> pl.DataFrame:
    evidence = pl.when(pl.col("level").is_not_null())
    out = left_out.select(
        "case_id",
        "action",
        "channel",
        pl.col("rule").alias("reason"),
        "detail",
        evidence.then("probability").alias("probability"),
        evidence.then("base_probability").alias("base_probability"),
        pl.col("n").alias("evidence_n"),
    )
    return out.select(pl.col(c).cast(t) for c, t in SUPPRESSED_SCHEMA.items())


def _expected(next_steps: pl.DataFrame | None, t: Timeline) -> pl.DataFrame:
    """case_id, next_activity, next_probability: what the model expects next, medical activities left out."""
    if next_steps is None or next_steps.height == 0:
        kinds = {"case_id": pl.String(), "next_activity": pl.String(), "next_probability": pl.Float64()}
        return pl.DataFrame(schema=kinds)
    if "rests_on" in next_steps.columns:  # what stands in for a person is no reason for one
        next_steps = next_steps.filter(rests_on="person")
    medical = (pl.col("team") == "medical").fill_null(False).mean() > 0.5
    kept = t.events.group_by("activity").agg(medical.alias("medical")).filter("medical")["activity"]
    known = pl.col("activity").is_in(kept.cast(pl.String).sort().to_list())
    first = next_steps.filter(~known.fill_null(False)).sort("case_id", "rank")
    first = first.filter(pl.col("rank") > 0).unique("case_id", keep="first", maintain_order=True)
    return first.select(
        pl.col("case_id").cast(pl.String), next_activity="activity", next_probability="probability"
    )


def _with_next_step(chosen: pl.DataFrame, expected: pl.DataFrame) -> pl.DataFrame:
    """What the model expects next anyway, beside each suggestion."""
    return chosen.join(expected, on="case_id", how="left", maintain_order="left")


def _facts(
    timeline: Timeline,
    situations: Situations,
    actions: pl.DataFrame,
    plan: pl.DataFrame,
    ruled: Ruled,
    counts: dict[str, int],
    log: EventLog,
    settings: SuggestSettings,
) -> dict[str, Any]:
    n_candidates = timeline.n_cases * actions.height + ruled.n_instead
    made = plan.filter(pl.col("rule").is_null()).select("case", "owner_id", "action")
    left_out = pl.concat([t["rule"] for t in (ruled.forbidden, plan)]).drop_nulls()
    per_owner = made.filter(pl.col("owner_id").is_not_null())["owner_id"]
    notes = []
    kinds = timeline.of(timeline.touches, "activity")["activity"].n_unique()
    if kinds > actions.height:
        notes.append(f"{actions.height} of {kinds} outbound activities were weighed: name others in actions")
    if timeline.objective.opens:
        notes.append(OPENS_ONLY)
    if log.consents.height == 0:
        notes.append("the log holds no consents: consent was not checked")
    if per_owner.len() < made.height:
        notes.append(f"{made.height - per_owner.len()} suggestions have no owner: no sales contact so far")
    return {
        "rows_in": n_candidates,
        "rows_out": made.height,
        "n_candidates": n_candidates,
        "n_suggestions": made.height,
        "n_suppressed": left_out.len(),
        "n_cases": timeline.n_cases,
        "n_cases_with_suggestion": made["case"].n_unique(),
        "n_owners": per_owner.n_unique(),
        "suppressed_by_rule": _counts(left_out),
        "suggestions_by_action": _counts(made["action"]),
        "actions": actions["action"].to_list(),
        "objective": list(timeline.objective.names) or list(settings.objectives),
        "as_of": str(np.datetime64(timeline.as_of, "us")) + "Z",
        "as_of_day": day_of(timeline.as_of).isoformat(),
        "pressure_buckets": situations.bucket_names(),
        **counts,
        "notes": notes,
        "note": "" if made.height else "nothing is suggested: every candidate is held back with its reason",
    }


def _counts(values: pl.Series) -> dict[str, int]:
    """How often each value occurs, most often first, ties by name."""
    table = values.rename("value").value_counts().sort(["count", "value"], descending=[True, False])
    return {str(v): int(n) for v, n in table.iter_rows()}


def _nothing(log: EventLog, note: str, affinity: pl.DataFrame, keep: Keep) -> dict[str, Any]:
    """No suggestion, and why."""
    facts: dict[str, Any] = {
        "rows_in": 0,
        "rows_out": 0,
        "n_candidates": 0,
        "n_suggestions": 0,
        "n_suppressed": 0,
    }
    facts |= {"n_cases": log.n_cases, "n_cases_with_suggestion": 0, "n_owners": 0, "n_urgent": 0}
    facts |= {
        "suppressed_by_rule": {},
        "suggestions_by_action": {},
        "actions": [],
        "objective": [],
        "as_of": "",
    }
    facts |= {"notes": [note], "note": note}
    keep.add("suggestions", pl.DataFrame(schema=SUGGESTION_SCHEMA))
    keep.add("suppressed", pl.DataFrame(schema=SUPPRESSED_SCHEMA))
    keep.add("affinity", affinity)
    return facts
