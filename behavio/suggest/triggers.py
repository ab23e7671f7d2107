"""Rules of the users: "portal_visit and no call in 30d".

    trigger     condition { and condition }
    condition   [no] PATTERN [in 30d]

PATTERN is written in the language of patterns (`behavio.patterns.language`); it holds when it matches the
events of the time before the plan is made. "in 30d" at the end of a condition holds for the conditions
before it that say nothing themselves. A word that is no activity stands for those that begin with it: call
is call_*.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from typing import Literal

import polars as pl

from behavio.durations import seconds
from behavio.errors import JobError
from behavio.log import EventLog
from behavio.suggest.settings import DAY_US, SuggestSettings, TriggerRule
from behavio.suggest.timeline import Timeline

DEFAULT_US = 30 * DAY_US
"""How far a trigger looks back when it does not say."""

PROBE = "\0vocabulary"
"""A case that knows every activity: names without a recent event are no error."""

IN = re.compile(r"\s+in\s+(\d+(?:\.\d+)?\s*[a-z]+)\s*$")
WORD = re.compile(r"[A-Za-z_][\w.]*")
KEYWORDS = {"within", "after", "before", "between", "of", "events", "event", "no", "and"}


@dataclass(frozen=True)
class Condition:
    """One condition: the pattern holds (or, with `absent`, does not) within `us` before the plan."""

    pattern: str
    absent: bool
    us: int


def read_conditions(when: str, activities: list[str]) -> tuple[Condition, ...]:
    """The conditions of a trigger. JobError for an empty one; names are completed as said above."""
    found: list[Condition] = []
    span: int | None = None
    for part in reversed(re.split(r"\s+and\s+", when.strip())):
        said = IN.search(f" {part}")
        text = part.strip()
        if said:
            span = round(seconds(said.group(1).replace(" ", "")) * 1e6)
            text = IN.sub("", f" {part}").strip()
        absent = text == "no" or text.startswith("no ")
        text = text.removeprefix("no").strip() if absent else text
        if not text:
            raise JobError(
                f"the trigger {when!r} has an empty condition", hint='"portal_visit and no call in 30d"'
            )
        found.append(Condition(_completed(text, activities), absent, span or DEFAULT_US))
    return tuple(reversed(found))


def _completed(pattern: str, activities: list[str]) -> str:
    """Words that are no activity, but the beginning of some, get their star; quoted names stay."""

    def star(word: re.Match[str]) -> str:
        name = word.group(0)
        after = pattern[word.end() : word.end() + 1]
        known = name in activities or name in KEYWORDS or after == "*"
        inside = pattern[: word.start()].count("[") > pattern[: word.start()].count("]")
        if known or inside or pattern[: word.start()].count('"') % 2:
            return name
        return f"{name}_*" if any(fnmatchcase(a, f"{name}_*") for a in activities) else name

    return WORD.sub(star, pattern)


def holding(log: EventLog, t: Timeline, rule: TriggerRule) -> pl.DataFrame:
    """case_id of everybody for whom a trigger holds when the plan is made.

    A commercial trigger does not see the medical team's events, a medical one no contact by the others.
    """
    from behavio.patterns import match
    from behavio.sequences import SequenceSet

    activities = log.events["activity"].cast(pl.String).unique().sort().to_list()
    seen = pl.lit(True)
    if "team" in log.events.columns:
        medical = (pl.col("team") == "medical").fill_null(False)
        outbound = pl.lit(False)
        if "direction" in log.events.columns:
            outbound = (pl.col("direction") == "outbound").fill_null(False)
        seen = medical | ~outbound if rule.queue == "medical" else ~medical
    cases = t.case_ids.to_frame("case_id")
    for condition in read_conditions(rule.when, activities):
        us = pl.col("timestamp").dt.epoch("us")
        recent = log.events.filter(seen & (us > t.as_of - condition.us) & (us <= t.as_of))
        known = log.events.unique("activity", keep="first", maintain_order=True)
        probe = known.with_columns(case_id=pl.lit(PROBE))
        events = pl.concat(
            [probe, recent.with_columns(pl.col("case_id").cast(pl.String))], how="vertical_relaxed"
        )
        events = events.sort("case_id", "timestamp", "event_index")
        found = match(SequenceSet.from_log(replace(log, events=events)), condition.pattern).cases
        found = found.filter(pl.col("case_id") != PROBE)
        how: Literal["anti", "semi"] = "anti" if condition.absent else "semi"
        cases = cases.join(found.select("case_id").unique(), on="case_id", how=how, maintain_order="left")
    return cases


def triggered(log: EventLog, t: Timeline, actions: pl.DataFrame, settings: SuggestSettings) -> pl.DataFrame:
    """case_id, action, trigger: the name of the first trigger that asks for an action of a case now."""
    asked = pl.DataFrame(schema={"case_id": pl.String, "action": pl.String, "trigger": pl.String})
    known = actions["action"].unique().sort().to_list()
    for rule in (r for r in settings.trigger if r.queue == "commercial"):
        if rule.action not in known:
            raise JobError(
                f"the trigger {rule.when!r} asks for {rule.action!r}, which is not weighed",
                hint=f"actions: {', '.join(known)}",
            )
        own = holding(log, t, rule).with_columns(
            action=pl.lit(rule.action), trigger=pl.lit(rule.name or rule.when)
        )
        asked = pl.concat([asked, own])
    return asked.unique(["case_id", "action"], keep="first", maintain_order=True)
