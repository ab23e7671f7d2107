"""Would following the suggestions bring more answers than what the company did? Against the known truth.

    python experiments/policy.py --seeds 401 402 403 --cases 2000 --out experiments/results/policy.json

For each seed a year of HCPs is simulated, the log is cut one month before its end (`as_of`), groups are found
and suggestions are made from what was known by then. The simulator says exactly what each action at that
moment would do to the chance of an answer within 14 days (`effect`: answer with it minus without it). Three
questions, each with the mean effect per contact of four choices:

    same_people   for the very HCPs whom the company contacted in the week after: its action, the first
                  suggested one, the best allowed one, any allowed one
    rep_caps      who and what together, under the caps of the plan (one action per HCP, 15 per rep and week):
                  the first suggestions; the best by the truth; any; beside the company's contacts of the week
    same_number   the same with only as many contacts as the company made: its scarce contacts, spent best

`estimated` is what the off-policy estimate said from the log alone. "Allowed" is everything that no rule
forbids, leaving out the rules about evidence and about who comes first.
"""

from __future__ import annotations

import argparse
import datetime as dt
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from behavio.files import write_json
from behavio.log import CONSENT_SCHEMA, EventLog
from behavio.pressure import PressureSettings, pressure
from behavio.segments import SegmentSettings, find_segments
from behavio.simulate import SimulateSettings, simulate_log
from behavio.sources import read
from behavio.stages import StageSettings, stages
from behavio.suggest import Found, SuggestSettings
from behavio.suggest.make import make_suggestions

WEEK = dt.timedelta(days=7)
SOFT_RULES = ("no_evidence", "max_per_owner_day", "max_per_case", "conflicting", "not_enough_history")
"""Reasons that say nothing about what is allowed."""


@dataclass(frozen=True, eq=False)
class World:
    """One simulated year, cut before its last month."""

    log: EventLog
    later: pl.DataFrame
    effects: pl.DataFrame
    as_of: dt.datetime


def make_world(seed: int, cases: int) -> World:
    """Simulate, cut, and give the log its consents."""
    events, truth = simulate_log(SimulateSettings(n_cases=cases, seed=seed))
    moments = truth.action_effects["as_of"].unique().sort()
    as_of = moments[-2]
    known = events.filter(pl.col("timestamp") < as_of)
    people = truth.archetypes
    granted = people.filter("consent").select(
        "case_id",
        channel=pl.lit("email"),
        state=pl.lit("opt_in"),
        timestamp=pl.lit(events["timestamp"].min()),
    )
    gone = known.filter(pl.col("activity") == "email_unsubscribe").select(
        "case_id", channel=pl.lit("email"), state=pl.lit("opt_out"), timestamp="timestamp"
    )
    said = pl.concat([granted, gone], how="vertical_relaxed")
    missing = [pl.lit(None, dtype=k).alias(c) for c, k in CONSENT_SCHEMA.items() if c not in said.columns]
    said = said.with_columns(missing).select(pl.col(c).cast(k) for c, k in CONSENT_SCHEMA.items())
    log = read(known)
    log = EventLog(**{**{f: getattr(log, f) for f in log.__dataclass_fields__}, "consents": said})
    after = events.filter((pl.col("timestamp") >= as_of) & (pl.col("timestamp") < as_of + WEEK))
    effects = truth.action_effects.filter(pl.col("as_of") == as_of)
    return World(log, after, effects, as_of)


def judge(seed: int, cases: int, k: Any, settings: SuggestSettings) -> dict[str, Any]:
    """One seed."""
    world = make_world(seed, cases)
    labels = find_segments(world.log, SegmentSettings(k=k), seed=7)
    ladder = stages(world.log, StageSettings())
    pressed = pressure(world.log, labels, PressureSettings())
    found = Found(stages=ladder.cases, moves=ladder.moves, pressure=pressed.cases)
    made = make_suggestions(world.log, None, labels, settings, lambda _w, _s: None, found)
    groups = labels.filter(pl.col("segment_id") >= 0)["segment_id"].n_unique()
    held_against = compare(world, made.tables["suggestions"], made.tables["suppressed"], settings, seed)
    return {"seed": seed, "n_groups": groups, **held_against, "estimated": made.facts["policy"]}


def compare(
    world: World, suggested: pl.DataFrame, held: pl.DataFrame, settings: SuggestSettings, seed: int
) -> dict[str, Any]:
    """The three questions."""
    effect = world.effects.select("case_id", "action", "effect")
    first = world.later.filter(pl.col("activity").is_in(effect["action"].unique().implode()))
    first = first.unique("case_id", keep="first", maintain_order=True)
    done = first.select("case_id", pl.col("activity").alias("action"))
    done = done.join(effect, on=["case_id", "action"], how="inner").sort("case_id")
    open_ones = pl.concat(
        [
            suggested.select("case_id", "action"),
            held.filter(pl.col("reason").is_in(SOFT_RULES)).select("case_id", "action"),
        ]
    ).join(effect, on=["case_id", "action"], how="inner")
    owners = world.log.events.filter(pl.col("team") == "sales").sort("timestamp").group_by("case_id")
    owner = owners.agg(pl.col("actor_id").last().alias("owner_id"))
    open_ones = open_ones.join(owner, on="case_id", how="left").sort("case_id", "action")
    one = suggested.filter(rank=1).sort("due_from", "gain", "case_id", descending=[False, True, False])
    one = one.select("case_id", "action", "due_from", "gain").join(
        effect, on=["case_id", "action"], how="left"
    )
    drawn = open_ones.sample(fraction=1.0, shuffle=True, seed=seed)
    drawn = drawn.unique("case_id", keep="first", maintain_order=True)
    cap = 5 * settings.max_per_owner_day
    told: dict[str, Any] = {"same_people": _same_people(done, one, open_ones)}
    for name, n in (("rep_caps", one.height), ("same_number", min(done.height, one.height))):
        by_gain = one.sort("gain", "case_id", descending=[True, False])
        told[name] = {
            "n": n,
            "company": _mean(done),
            "suggested": _mean(by_gain.head(n)),
            "best": _mean(_best(open_ones, n, cap)),
            "random": _mean(drawn.head(n)),
        }
    told["same_number"]["in_order_of_days"] = _mean(one.head(min(done.height, one.height)))
    return told


def _best(offers: pl.DataFrame, n: int, per_owner: int) -> pl.DataFrame:
    """The n largest true effects, one per case and at most so many per owner (greedy is exact here)."""
    top = offers.sort("effect", "case_id", "action", descending=[True, False, False])
    top = top.unique("case_id", keep="first", maintain_order=True)
    place = pl.int_range(pl.len()).over("owner_id")
    return top.filter(pl.col("owner_id").is_null() | (place < per_owner)).head(n)


def _same_people(done: pl.DataFrame, one: pl.DataFrame, offers: pl.DataFrame) -> dict[str, float]:
    both = done.join(one.select("case_id", suggested="effect"), on="case_id", how="inner")
    own = offers.group_by("case_id").agg(
        pl.col("effect").max().alias("best"), pl.col("effect").mean().alias("any")
    )
    both = both.join(own, on="case_id", how="inner")
    return {
        "n": both.height,
        "company": _mean(both),
        "suggested": _mean(both, "suggested"),
        "best": _mean(both, "best"),
        "random": _mean(both, "any"),
    }


def _mean(frame: pl.DataFrame, column: str = "effect") -> float:
    return round(float(frame[column].mean() or 0.0), 4)  # type: ignore[arg-type]


def summed(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Gains over the company and shares of the best, over all seeds, with a 95 % interval over seeds."""
    told: dict[str, Any] = {}
    for question in ("same_people", "rep_caps", "same_number"):
        gain = np.array([r[question]["suggested"] / r[question]["company"] - 1 for r in rows])
        share = np.array([r[question]["suggested"] / r[question]["best"] for r in rows])
        told[question] = {"gain": _interval(gain), "share_of_best": _interval(share)}
    return told


def _interval(values: np.ndarray) -> dict[str, float]:
    error = 1.96 * values.std(ddof=1) / np.sqrt(len(values)) if len(values) > 1 else float("nan")
    told = {"mean": values.mean(), "low": values.mean() - error, "high": values.mean() + error}
    return {k: round(float(v), 4) for k, v in (told | {"least": values.min()}).items()}


def main() -> None:
    """Print each seed and write the summary."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--seeds", type=int, nargs="+", required=True)
    parser.add_argument("--cases", type=int, default=2000)
    parser.add_argument("--k", default="auto")
    parser.add_argument("--out", type=Path)
    asked = parser.parse_args()
    k = asked.k if asked.k == "auto" else int(asked.k)
    rows = []
    for seed in asked.seeds:
        rows.append(judge(seed, asked.cases, k, SuggestSettings()))
        print(json.dumps(rows[-1]), flush=True)
    told = {"cases": asked.cases, "k": asked.k, "summary": summed(rows), "seeds": rows}
    print(json.dumps(told["summary"], indent=1))
    if asked.out:
        write_json(asked.out, told)


if __name__ == "__main__":
    main()
