"""Each goal measured: met, not met, or not measurable and why."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from typing import Any

import polars as pl

from behavio.contrasts import wilson
from behavio.durations import seconds
from behavio.goals.settings import Goal, GoalSettings
from behavio.log import EventLog
from behavio.touches import SMALLEST, columns_of, is_answer, mean, ratio, touches

MET, NOT_MET, NOT_MEASURABLE = "met", "not met", "not measurable"
GOALS = {
    "goal": pl.String(),
    "measure": pl.String(),
    "group": pl.String(),
    "channel": pl.String(),
    "wanted": pl.String(),  # at least | at most
    "target": pl.Float64(),
    "value": pl.Float64(),
    "low": pl.Float64(),
    "high": pl.Float64(),
    "n_cases": pl.Int64(),
    "verdict": pl.String(),
    "reason": pl.String(),
}


@dataclass(frozen=True, eq=False)
class Sight:
    """What goals are measured on: events (columns_of), contacts, the cases of each group."""

    events: pl.DataFrame
    contacts: pl.DataFrame
    cases: pl.Series
    groups: pl.DataFrame | None

    @classmethod
    def of(cls, log: EventLog, groups: pl.DataFrame | None, settings: GoalSettings) -> Sight:
        """Read a log. Raises what `touches` raises."""
        contacts = touches(log.events, settings.response_within, settings.responses)
        own = None
        if groups is not None:
            own = groups.select(pl.col("case_id").cast(pl.String), "segment").drop_nulls()
        cases = log.cases["case_id"].cast(pl.String).unique().sort()
        return cls(columns_of(log.events), contacts, cases, own)


def judged(sight: Sight, goal: Goal, settings: GoalSettings) -> dict[str, Any]:
    """One row of GOALS."""
    row: dict[str, Any] = dict.fromkeys(GOALS)
    row |= {"goal": goal.name, "measure": goal.measure, "group": goal.group, "channel": goal.channel}
    row |= {"wanted": "at least" if goal.at_least is not None else "at most", "target": goal.target}
    row |= {"verdict": NOT_MEASURABLE, "n_cases": 0}
    cases, why = _people(sight, goal)
    if why is None:
        why = _unknown(sight, goal)
    if why is not None:
        return row | {"reason": why}
    value, low, high, n, why = _measured(sight, goal, cases, settings)
    if why is not None:
        return row | {"reason": why, "n_cases": n if n >= SMALLEST else 0}
    row |= {"value": value, "low": low, "high": high, "n_cases": n}
    return row | _verdict(goal, low, high)


def _verdict(goal: Goal, low: float, high: float) -> dict[str, Any]:
    """The whole interval on one side of the goal, or nothing can be said."""
    above, below = low >= goal.target, high <= goal.target
    wanted, missed = (above, high < goal.target) if goal.at_least is not None else (below, low > goal.target)
    if wanted:
        return {"verdict": MET, "reason": "the whole interval keeps to it"}
    if missed:
        return {"verdict": NOT_MET, "reason": "the whole interval misses it"}
    return {"verdict": NOT_MEASURABLE, "reason": "the interval holds the goal: too few cases to say"}


def _people(sight: Sight, goal: Goal) -> tuple[pl.Series, str | None]:
    """The cases meant, or why there are none."""
    if goal.group is None:
        return sight.cases, None
    if sight.groups is None:
        return sight.cases.head(0), "the run has no groups"
    own = sight.groups.filter(segment=goal.group)["case_id"]
    if own.len() == 0:
        known = ", ".join(sight.groups["segment"].unique().sort().to_list())
        return own, f"no group is called so in this run: {known}"
    return own.unique().sort(), None


def _unknown(sight: Sight, goal: Goal) -> str | None:
    """A channel or an activity the log does not know."""
    if goal.channel is not None and goal.channel not in set(sight.events["channel"].drop_nulls()):
        known = ", ".join(sight.events["channel"].drop_nulls().unique().sort().to_list())
        return f"the log knows no such channel: {known or 'none'}"
    if goal.activity is not None and goal.activity not in set(sight.events["activity"]):
        return f"no event is a {goal.activity!r}"
    return None


def _measured(
    sight: Sight, goal: Goal, cases: pl.Series, settings: GoalSettings
) -> tuple[float, float, float, int, str | None]:
    """Value, interval, number of cases it stands on, and why it cannot be told."""
    newest: dt.datetime = sight.events["timestamp"].max()  # type: ignore[assignment]
    since = newest - dt.timedelta(seconds=seconds(goal.last))
    nothing = (float("nan"),) * 3
    if since < sight.events["timestamp"].min():  # type: ignore[operator]
        return *nothing, 0, f"the log is shorter than {goal.last}"
    own = pl.col("case_id").is_in(cases.implode()) & (pl.col("timestamp") > since)
    if goal.channel is not None:
        own &= pl.col("channel") == goal.channel
    if goal.measure == "answered":
        rows = sight.contacts.filter(own & pl.col("settled"))
        per = (
            rows.group_by("case_id")
            .agg(pl.col("answered").sum().alias("x"), pl.len().alias("n"))
            .sort("case_id")
        )
        if per.height < SMALLEST:
            return *nothing, per.height, f"fewer than {SMALLEST} cases were contacted long enough ago"
        x, n = per["x"].to_numpy(), per["n"].to_numpy()
        value, low, high = ratio(x, n)
        return value, low, min(high, 1.0), per.height, None
    if cases.len() < SMALLEST:
        return *nothing, cases.len(), f"fewer than {SMALLEST} cases"
    if goal.measure == "contacts":
        per = sight.contacts.filter(own).group_by("case_id").len()
        counts = cases.to_frame("case_id").join(per, on="case_id", how="left")["len"].fill_null(0)
        months = seconds(goal.last) / (28 * 86_400)
        return *mean(counts.to_numpy() / months), cases.len(), None
    chosen = {
        "reached": sight.contacts.filter(own),
        "active": sight.events.filter(own & is_answer(settings.responses)),
        "outcome": sight.events.filter(own & (pl.col("activity") == (goal.activity or ""))),
    }[goal.measure]
    hits, of = chosen["case_id"].n_unique(), cases.len()
    low, high = (float(v) for v in wilson(hits, of))  # type: ignore[arg-type]
    return hits / of, low, high, of, None
