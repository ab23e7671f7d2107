"""From the log to suggestions and suppressions: every candidate ends in exactly one of the two."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from behavio.log import EventLog
from behavio.suggest.affinity import AFFINITY_SCHEMA, channel_affinity, content_affinity
from behavio.suggest.candidates import Offers, read_actions, read_offers
from behavio.suggest.channels import add_policy, case_values, check_policy, policy_conflicts, read_policy
from behavio.suggest.cycle import PART, fresh_messages, make_cycle, missing_messages, watch_list
from behavio.suggest.feedback import adherence, read_feedback, unwanted_messages
from behavio.suggest.found import Found
from behavio.suggest.messages import choose_messages, message_scores, shown_messages
from behavio.suggest.objectives import OPENS_ONLY
from behavio.suggest.offpolicy import STANDING_RULES, judge_policy
from behavio.suggest.plan import day_of, give_days, rank_within
from behavio.suggest.reasons import add_reasons
from behavio.suggest.rules import apply_rules
from behavio.suggest.scoring import score
from behavio.suggest.settings import SuggestSettings
from behavio.suggest.situations import Situations, read_situations
from behavio.suggest.standing import add_standing
from behavio.suggest.timeline import Timeline, read_timeline
from behavio.suggest.triggers import triggered
from behavio.suggest.uplift import holdout_uplift

SUGGESTION_SCHEMA: dict[str, pl.DataType] = {
    "suggestion_id": pl.String(),
    "case_id": pl.String(),
    "rank": pl.Int32(),
    "action": pl.String(),
    "channel": pl.String(),
    "message": pl.String(),
    "brand": pl.String(),
    "due_from": pl.Date(),
    "due_to": pl.Date(),
    "expires_on": pl.Date(),
    "probability": pl.Float64(),
    "base_probability": pl.Float64(),
    "low": pl.Float64(),
    "high": pl.Float64(),
    "evidence_n": pl.Int64(),
    "reason": pl.String(),
    "evidence_rows": pl.List(pl.String()),
    "priority": pl.String(),
    "segment": pl.String(),
    "owner_id": pl.String(),
    # how the numbers came about, so that anybody can count them again
    "gain": pl.Float64(),
    "gain_low": pl.Float64(),
    "gain_high": pl.Float64(),
    "q_value": pl.Float64(),
    "responses": pl.Int64(),
    "share": pl.Float64(),
    "base_n": pl.Int64(),
    "base_share": pl.Float64(),
    "level": pl.String(),
    "pressure": pl.Int64(),
    "seen": pl.String(),
    "contacts_28d": pl.Int64(),
    "next_activity": pl.String(),
    "next_probability": pl.Float64(),
    # where the case stands, and who asked
    "stage": pl.String(),
    "stage_since": pl.Datetime("us", "UTC"),
    "contacts": pl.Int64(),
    "band_low": pl.Float64(),
    "band_high": pl.Float64(),
    "cost": pl.Float64(),
    "trigger": pl.String(),
    "ignored": pl.Int64(),
}
"""suggestions.parquet. ignored says how often in a row this action was passed over for this case."""

SUPPRESSED_SCHEMA: dict[str, pl.DataType] = {
    "case_id": pl.String(),
    "action": pl.String(),
    "channel": pl.String(),
    "reason": pl.String(),
    "detail": pl.String(),
    "probability": pl.Float64(),
    "base_probability": pl.Float64(),
    "evidence_n": pl.Int64(),
}
"""suppressed.parquet: `reason` is the name of the rule."""

NO_OUTBOUND = "no outbound activity is marked: set [source.x.values.direction]"
NO_CLOCK = "the log has an order but no times: nothing can fall due"
NO_SUCCESS = "no inbound activity is marked: set [source.x.values.direction] or name activities as objective"


@dataclass(frozen=True, eq=False)
class Suggestions:
    """What the stage makes.

    tables   suggestions, suppressed, affinity, content, plan, missing; feedback and adherence where the log
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
    if not log.timed:
        return _nothing(log, NO_CLOCK, pl.DataFrame(schema=AFFINITY_SCHEMA))
    timeline = read_timeline(log, settings, found.moves)
    affinity = channel_affinity(timeline, settings)
    actions = read_actions(timeline, settings)
    if actions.height == 0:
        return _nothing(log, NO_OUTBOUND, affinity)
    if len(timeline.success) == 0:
        return _nothing(log, NO_SUCCESS, affinity)
    situations = read_situations(timeline, segments, settings)
    names = actions["action"].to_list()
    cells, now, counts = score(situations, names, settings, progress)
    feedback = read_feedback(timeline, settings, found.previous)
    offers = read_offers(situations, actions, cells, now, log, settings)
    offers = add_standing(offers, timeline, log, settings, found, feedback)
    offers = _asked_for(offers, situations, log, settings, found)
    shown = shown_messages(situations, names, settings)
    scores = message_scores(shown)
    ruled = _ruled(offers, shown, scores, feedback, timeline, settings, progress)
    progress("planning", 0.5)
    plan = give_days(ruled.ranked, timeline.as_of, settings)
    chosen = _with_next_step(plan.filter(pl.col("rule").is_null()), next_steps)
    made = add_reasons(chosen, situations, settings)
    left_out = pl.concat([ruled.forbidden, _narrow(plan.filter(pl.col("rule").is_not_null()))])
    left_out = left_out.sort("case", "action")
    facts = _facts(timeline, situations, actions, offers, made, left_out, counts, log, settings)
    tables = {"suggestions": _suggestions(made), "suppressed": _suppressed(left_out), "affinity": affinity}
    tables["content"] = content_affinity(timeline.events, settings)
    progress("judging the policy", 0.7)
    facts["policy"] = judge_policy(situations, actions, ruled.closed, settings)
    if settings.holdout_column is not None:
        facts["policy"]["holdout"] = holdout_uplift(timeline, offers.cases["holdout"])
    progress("planning the cycle", 0.9)
    tables["plan"] = make_cycle(plan, timeline, shown, scores, settings)
    tables["missing"] = ruled.missing
    facts["n_planned_steps"] = tables["plan"].height
    if settings.value_column is not None:
        tables["watch"] = ruled.watch.sort("value", "case_id", descending=[True, False])
        facts["n_watched"] = ruled.watch.height
    if feedback.height:
        tables |= {"feedback": feedback, "adherence": adherence(feedback)}
        facts["feedback"] = tables["adherence"].drop("owner_id").row(0, named=True)
    if settings.policy is not None:
        tables["conflicts"] = policy_conflicts(ruled.bound, affinity)
        facts["n_policy_conflicts"] = tables["conflicts"].height
    return Suggestions(tables, facts)


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
    return Offers(cases, offers.actions, lookups, offers.finish)


@dataclass(frozen=True, eq=False)
class _Ruled:
    """Candidates after the rules.

    ranked     those no rule forbids, in the order of each case (PLANNED)
    forbidden  the others, narrow
    closed     case, action of those closed for good (STANDING_RULES)
    bound      case_id, policy_cell, policy_channels of cases bound by the channel policy
    missing, watch   see `cycle`
    """

    ranked: pl.DataFrame
    forbidden: pl.DataFrame
    closed: pl.DataFrame
    bound: pl.DataFrame
    missing: pl.DataFrame
    watch: pl.DataFrame


def _ruled(
    offers: Offers,
    shown: pl.DataFrame,
    scores: pl.DataFrame,
    feedback: pl.DataFrame,
    t: Timeline,
    settings: SuggestSettings,
    progress: Callable[[str, float], None],
) -> _Ruled:
    """Ask the rules, part by part."""
    cells = read_policy(Path(settings.policy)) if settings.policy is not None else ()
    usable = fresh_messages(scores, t.as_of, settings)
    numbers = offers.cases.select("case", "case_id")
    unwanted = unwanted_messages(feedback).join(numbers, on="case_id", how="inner").select("case", "message")
    parts: list[tuple[pl.DataFrame, ...]] = []
    for start in range(0, offers.cases.height, PART):
        progress("asking the rules", start / offers.cases.height)
        inside = pl.col("case").is_between(start, start + PART - 1)
        own = shown.filter(inside)
        frame = add_policy(offers.part(start, start + PART), cells)
        frame = choose_messages(frame, own, t.as_of, settings, unwanted, scores)
        frame = apply_rules(frame, settings)
        ranked = rank_within(frame.filter(pl.col("rule").is_null()), settings).select(PLANNED)
        conflicts = (pl.col("rule") == "conflicting").fill_null(False)
        forbidden = (frame.filter(pl.col("rule").is_not_null()), ranked.filter(conflicts))
        closed = pl.col("rule").is_in(STANDING_RULES).fill_null(False)
        bound = frame.filter(pl.col("policy_cell").is_not_null())
        parts.append(
            (
                ranked.filter(~conflicts),
                pl.concat([_narrow(f) for f in forbidden]),
                frame.filter(closed).select("case", "action"),
                bound.select(BOUND).unique("case_id", maintain_order=True),
                missing_messages(offers.cases.slice(start, PART), own, usable),
                watch_list(frame, t, settings),
            )
        )
    return _Ruled(*(pl.concat(tables) for tables in zip(*parts, strict=True)))


CASE = (
    "case",
    "case_id",
    "owner_id",
    "case_brand",
    "segment",
    "waiting",
    "stage",
    "stage_sure",
    "stage_since",
)
LIMITS = ("touches_28d", "cap", "contacts", "band_low", "band_high", "channel_28d", "channel_cap")
CAPS = ("team_28d", "team_cap", "calls_365d", "country_cap")
OFFER = (
    "action",
    "channel",
    "message",
    "brand",
    "trigger",
    "policy_place",
    "cost",
    "ignored",
    "rank",
    "rule",
)
EVIDENCE = (
    "level",
    "pressure",
    "seen",
    "n",
    "k",
    "share",
    "probability",
    "low",
    "high",
    "base_n",
    "base_share",
)
GAIN = ("base_probability", "gain", "gain_low", "gain_high", "q_value", "detail")
PLANNED = (*CASE, *LIMITS, *CAPS, *OFFER, *EVIDENCE, *GAIN)
"""Columns of an allowed candidate that the plan, its reasons and its tables need."""

BOUND = ("case_id", "policy_cell", "policy_channels")
NARROW = (
    "case",
    "case_id",
    "action",
    "channel",
    "rule",
    "detail",
    "level",
    "probability",
    "base_probability",
    "n",
)


def _narrow(frame: pl.DataFrame) -> pl.DataFrame:
    return frame.select(NARROW)


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


def _with_next_step(chosen: pl.DataFrame, next_steps: pl.DataFrame | None) -> pl.DataFrame:
    """What the model expects next anyway, beside each suggestion."""
    if next_steps is None or next_steps.height == 0:
        return chosen.with_columns(
            next_activity=pl.lit(None, dtype=pl.String), next_probability=pl.lit(None, dtype=pl.Float64)
        )
    if "rests_on" in next_steps.columns:  # what stands in for a person is no reason for one
        next_steps = next_steps.filter(rests_on="person")
    first = next_steps.filter(pl.col("rank") == 1).unique("case_id", keep="first", maintain_order=True)
    first = first.select(
        "case_id", pl.col("activity").alias("next_activity"), pl.col("probability").alias("next_probability")
    )
    return chosen.join(first, on="case_id", how="left", maintain_order="left")


def _facts(
    timeline: Timeline,
    situations: Situations,
    actions: pl.DataFrame,
    offers: Offers,
    made: pl.DataFrame,
    left_out: pl.DataFrame,
    counts: dict[str, int],
    log: EventLog,
    settings: SuggestSettings,
) -> dict[str, Any]:
    n_candidates = offers.cases.height * actions.height
    per_owner = made.filter(pl.col("owner_id").is_not_null())["owner_id"]
    notes = []
    kinds = timeline.events["activity"].gather(timeline.touches.position).n_unique()
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
        "n_suppressed": left_out.height,
        "n_cases": timeline.n_cases,
        "n_cases_with_suggestion": made["case"].n_unique(),
        "n_owners": per_owner.n_unique(),
        "n_urgent": int((made["priority"] == "urgent").sum()),
        "suppressed_by_rule": _counts(left_out["rule"]),
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


def _nothing(log: EventLog, note: str, affinity: pl.DataFrame) -> Suggestions:
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
    empty = {"suggestions": SUGGESTION_SCHEMA, "suppressed": SUPPRESSED_SCHEMA}
    return Suggestions({n: pl.DataFrame(schema=s) for n, s in empty.items()} | {"affinity": affinity}, facts)
