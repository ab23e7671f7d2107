"""The plan over the cycle: one to six steps per case with days, what she has not heard yet, whom to watch."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass

import numpy as np
import polars as pl

from behavio.errors import JobError
from behavio.kernels.agenda import fill_agenda
from behavio.suggest.plan import SATURDAY, day_of
from behavio.suggest.rules import CALLS
from behavio.suggest.settings import DAY_US, SuggestSettings, microseconds, moment
from behavio.suggest.timeline import PRESSURE_DAYS, Timeline, as_texts

PLAN_SCHEMA: dict[str, pl.DataType] = {
    "case_id": pl.String(),
    "step": pl.Int32(),
    "due": pl.Date(),
    "action": pl.String(),
    "channel": pl.String(),
    "message": pl.String(),
    "new_message": pl.Boolean(),
    "brand": pl.String(),
    "owner_id": pl.String(),
    "gain": pl.Float64(),
}
"""plan.parquet: step 1 is the first suggestion; new_message: she was never shown it."""

MISSING_SCHEMA: dict[str, pl.DataType] = {
    "case_id": pl.String(),
    "brand": pl.String(),
    "missing": pl.List(pl.String()),
    "n_missing": pl.Int64(),
    "n_messages": pl.Int64(),
}
"""missing.parquet: messages of the case's brand in use that she was never shown, best first."""

WATCH_SCHEMA: dict[str, pl.DataType] = {
    "case_id": pl.String(),
    "value": pl.Float64(),
    "owner_id": pl.String(),
    "last_contact": pl.Date(),
    "days": pl.Int64(),
    "actions_open": pl.Int64(),
    "why": pl.String(),
}
"""watch.parquet: cases of high value that are hardly reached, whether or not something is suggested."""

NO_LIMIT = 10**6
NO_ACCESS = ("no_consent", "do_not_call", "medical_firewall", "channel_policy", "dismissed_for_good")
"""Rules that close the door to a case, not only for the moment."""

OFFERED = (
    *("case", "rank", "action", "channel", "message", "brand", "case_brand", "owner_id", "gain"),
    *("channel_28d", "channel_cap", "team_28d", "team_cap", "calls_365d", "country_cap"),
)
"""What a step needs to know of an offer."""

LATER_RULES = ("max_per_owner_day", "max_per_case", "contact_cap", "pressure_band")
"""What does not fit into this week may fit later in the cycle."""


def cycle_days(as_of: int, settings: SuggestSettings) -> list[dt.date]:
    """The working days after as_of to the end of the cycle. JobError for a cycle that is over."""
    first = day_of(as_of) + dt.timedelta(days=1)
    if settings.cycle_end is not None:
        last = day_of(moment(settings.cycle_end))
        if last < first:
            raise JobError(f"the cycle ended on {last}, before {first}", hint="give a later cycle_end")
    else:
        month = (first.month - 1) // 3 * 3 + 4
        year, month = (first.year + 1, 1) if month > 12 else (first.year, month)
        last = dt.date(year, month, 1) - dt.timedelta(days=1)
    days = (first + dt.timedelta(days=i) for i in range((last - first).days + 1))
    return [d for d in days if d.weekday() < SATURDAY]


@dataclass(frozen=True, eq=False)
class Cycle:
    """Steps that found a day, before their messages.

    offers   what steps choose from, texts as categories
    steps    case, offer (row of `offers`), step, due, in order of case and step
    """

    offers: pl.DataFrame
    steps: pl.DataFrame

    def part(self, inside: pl.Expr, t: Timeline, shown: pl.DataFrame, usable: pl.DataFrame) -> pl.DataFrame:
        """PLAN_SCHEMA for some cases; `shown` holds theirs."""
        own = self.steps.filter(inside)
        own = own.with_columns(case_id=t.case_ids.gather(own["case"]))
        columns = ["action", "channel", "case_brand", "brand", "message", "owner_id", "gain"]
        rows = as_texts(self.offers.select(columns)[own["offer"]])
        return _messages(pl.concat([own.drop("offer"), rows], how="horizontal"), shown, usable)


def lay_out(plan: pl.DataFrame, t: Timeline, settings: SuggestSettings) -> Cycle:
    """The first suggestion of each case and what follows it within the cycle.

    `plan` is what `give_days` made of the allowed candidates. Steps take the allowed actions of a case in
    turn, `step_gap` apart, so that no 28 days hold more contacts than cap and band allow, no channel, team or
    country more than its own cap, and no owner more than `max_per_owner_day` on a day.
    """
    kept = pl.col("rule").is_null() & (pl.col("rank") == 1)
    first = (
        plan.filter(kept).select("case", "owner_id", "due_from", "cap", "band_high").sort("due_from", "case")
    )
    days = cycle_days(t.as_of, settings)
    if first.height == 0 or not days:
        kinds = {"case": pl.Int64(), "offer": pl.Int64(), "step": pl.Int32(), "due": pl.Date()}
        return Cycle(plan.head(0), pl.DataFrame(schema=kinds))
    offers = plan.filter(pl.col("rule").is_null() | pl.col("rule").is_in(LATER_RULES)).select(OFFERED)
    number = first.select("case", place=pl.int_range(pl.len(), dtype=pl.Int64))
    offers = offers.join(number, on="case", how="inner").sort("place", "rank", "action", maintain_order=True)
    epoch = dt.date(1970, 1, 1)
    open_days = np.array([(d - epoch).days for d in days])
    due = np.full((first.height, settings.steps), -1, dtype=np.int64)
    chosen = np.full((first.height, settings.steps), -1, dtype=np.int64)
    at = np.searchsorted(offers["place"].to_numpy(), np.arange(first.height + 1))
    due[:, 0] = first["due_from"].cast(pl.Int32).to_numpy()
    chosen[:, 0] = at[:-1]
    owners, load = _loads(plan, first, open_days)
    past, past_at = _past(t, first["case"].to_numpy())
    fill_agenda(
        open_days,
        owners,
        load,
        settings.max_per_owner_day,
        _cap(first),
        max(1, -(-microseconds(settings.step_gap) // DAY_US)),
        past,
        past_at,
        at.astype(np.int64),
        *_limits(offers, settings),
        int(t.as_of // DAY_US) + PRESSURE_DAYS,
        due,
        chosen,
    )
    return Cycle(offers, _steps(first["case"].to_numpy(), due, chosen))


def _loads(plan: pl.DataFrame, first: pl.DataFrame, open_days: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The number of each first suggestion's owner, -1 without one; what falls due, (owners, days)."""
    owners = first["owner_id"].rank("dense").cast(pl.Int64).fill_null(0).to_numpy() - 1
    load = np.zeros((int(owners.max()) + 2, len(open_days)), dtype=np.int64)
    taken = plan.filter(pl.col("rule").is_null() & pl.col("owner_id").is_not_null())
    taken = taken.select("owner_id", "due_from").join(
        first.select("owner_id", owner=owners).unique(), on="owner_id", how="inner"
    )
    slot = np.searchsorted(open_days, taken["due_from"].cast(pl.Int32).to_numpy())
    inside = slot < len(open_days)
    np.add.at(load, (taken["owner"].to_numpy()[inside], slot[inside]), 1)
    return owners, load


def _cap(first: pl.DataFrame) -> np.ndarray:
    band = pl.col("band_high").floor().cast(pl.Int64).fill_null(NO_LIMIT)
    return (
        first.select(pl.min_horizontal(pl.col("cap").cast(pl.Int64), band))["cap"].to_numpy().astype(np.int64)
    )


def _past(t: Timeline, cases: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Days of the contacts of the last 28 days of each case, and where those of each begin."""
    recent = t.touches.time > t.as_of - PRESSURE_DAYS * DAY_US
    place = np.full(t.n_cases, -1)
    place[cases] = np.arange(len(cases))
    own = place[t.touches.case[recent]]
    day = t.touches.time[recent] // DAY_US
    day, own = day[own >= 0], own[own >= 0]
    order = np.argsort(own, kind="stable")
    return day[order].astype(np.int64), np.searchsorted(own[order], np.arange(len(cases) + 1)).astype(
        np.int64
    )


def _limits(offers: pl.DataFrame, settings: SuggestSettings) -> tuple[np.ndarray, np.ndarray]:
    """How often each offer may be made in 28 days from now and in all (n, 2), in any 28 days later (n,)."""
    cap = pl.min_horizontal(pl.col("channel_cap").fill_null(NO_LIMIT), pl.col("team_cap").fill_null(NO_LIMIT))
    now = pl.min_horizontal(
        pl.col("channel_cap").fill_null(NO_LIMIT) - pl.col("channel_28d"),
        pl.col("team_cap").fill_null(NO_LIMIT) - pl.col("team_28d"),
    )
    call = pl.col("channel").is_in(CALLS).fill_null(False)
    year = pl.when(call).then(pl.col("country_cap").fill_null(NO_LIMIT) - pl.col("calls_365d"))
    found = offers.select(now=now, year=year.otherwise(NO_LIMIT), cap=cap).cast(pl.Int64)
    return found.select("now", "year").to_numpy().astype(np.int64).copy(), found["cap"].to_numpy().astype(
        np.int64
    )


def _steps(case: np.ndarray, due: np.ndarray, chosen: np.ndarray) -> pl.DataFrame:
    """One row per step that found a day, in order of case and step."""
    order = np.argsort(case, kind="stable")
    case, due, chosen = case[order], due[order], chosen[order]
    made = due.ravel() >= 0
    return pl.DataFrame(
        {
            "case": np.repeat(case, due.shape[1])[made],
            "offer": chosen.ravel()[made],
            "step": np.tile(np.arange(1, due.shape[1] + 1, dtype=np.int32), len(due))[made],
            "due": pl.Series(due.ravel()[made]).cast(pl.Int32).cast(pl.Date),
        }
    )


def fresh_messages(scores: pl.DataFrame, as_of: int, settings: SuggestSettings) -> pl.DataFrame:
    """action, brand, message, score of what may still be used, best first; see `message_scores`."""
    usable = (pl.col("last_us") > as_of - microseconds(settings.message_fresh)) & ~pl.col("message").is_in(
        settings.expired_messages
    )
    found = scores.filter(usable).select("action", "brand", "message", "score")
    return found.sort(["action", "score", "message"], descending=[False, True, False])


def _messages(steps: pl.DataFrame, shown: pl.DataFrame, usable: pl.DataFrame) -> pl.DataFrame:
    """A message for every step: first what she was never shown of the brand, then the best of the others."""
    heard = shown.select("case", "message").unique().with_columns(heard=pl.lit(True))
    # her brand, or the one an action is about instead; the same for every step of the action
    brand = pl.when(pl.col("case_brand").is_not_null()).then("brand")
    keys = steps.select("case", "action", brand=brand).unique()
    lists = keys.join(usable, on=["action", "brand"], how="inner")
    lists = lists.join(heard, on=["case", "message"], how="left").with_columns(
        pl.col("heard").fill_null(False)
    )
    lists = lists.sort(
        ["case", "action", "heard", "score", "message"], descending=[False] * 3 + [True, False]
    )
    lists = lists.with_columns(
        turn=pl.int_range(pl.len()).over("case", "action"), many=pl.len().over("case", "action")
    )
    turns = steps.with_columns(turn=pl.int_range(pl.len()).over("case", "action"))
    many = lists.select("case", "action", "many").unique()
    turns = turns.join(many, on=["case", "action"], how="left", maintain_order="left")
    turns = turns.with_columns(turn=pl.col("turn") % pl.col("many").fill_null(1))
    named = lists.select("case", "action", "turn", planned="message", planned_brand="brand", was="heard")
    out = turns.join(named, on=["case", "action", "turn"], how="left", maintain_order="left")
    # the first step keeps what its suggestion says
    keeps = (pl.col("step") == 1) | pl.col("planned").is_null()
    first = steps.filter(step=1).join(heard, on=["case", "message"], how="left")
    first = first.select("case", own_heard=pl.col("heard").fill_null(False))
    out = out.join(first, on="case", how="left", maintain_order="left")
    out = out.with_columns(
        message=pl.when(keeps).then("message").otherwise("planned"),
        brand=pl.when(keeps).then("brand").otherwise("planned_brand"),
        new_message=pl.when(keeps).then(~pl.col("own_heard")).otherwise(~pl.col("was")),
    ).with_columns(new_message=pl.col("new_message") & pl.col("message").is_not_null())
    return out.sort("case", "step").select(pl.col(c).cast(k) for c, k in PLAN_SCHEMA.items())


def missing_messages(cases: pl.DataFrame, shown: pl.DataFrame, usable: pl.DataFrame) -> pl.DataFrame:
    """MISSING_SCHEMA, for every case with a brand; `cases` has case, case_id and case_brand."""
    usable = usable.sort("score", "message", descending=[True, False])
    usable = usable.unique(["brand", "message"], keep="first", maintain_order=True).drop("action")
    usable = usable.filter(pl.col("brand").is_not_null())
    cases = cases.select("case", "case_id", brand="case_brand").drop_nulls("brand")
    every = usable.group_by("brand").agg(pl.len().cast(pl.Int64).alias("n_messages"))
    offers = cases.join(usable.select("brand", "message", "score"), on="brand", how="inner")
    offers = offers.join(shown.select("case", "message").unique(), on=["case", "message"], how="anti")
    lists = offers.sort(["case", "score", "message"], descending=[False, True, False])
    lists = lists.group_by("case", "case_id", "brand", maintain_order=True).agg(
        pl.col("message").alias("missing")
    )
    out = lists.join(every, on="brand", how="left", maintain_order="left")
    out = out.with_columns(n_missing=pl.col("missing").list.len().cast(pl.Int64)).sort("case")
    return out.select(pl.col(c).cast(k) for c, k in MISSING_SCHEMA.items())


def watch_list(judged: pl.DataFrame, t: Timeline, settings: SuggestSettings) -> pl.DataFrame:
    """WATCH_SCHEMA: cases of high value without contact for `low_access`, or for whom nothing is allowed."""
    closed = pl.col("rule").is_in(NO_ACCESS).fill_null(False)
    judged = judged.filter(~pl.col("inactive") & ~pl.col("privacy_opt_out"))
    cases = judged.group_by("case", "case_id").agg(
        pl.col("value").first(),
        pl.col("worth").first(),
        pl.col("owner_id").first(),
        pl.col("last_contact").first().dt.date(),
        pl.len().alias("n"),
        closed.sum().alias("shut"),
        pl.col("rule").filter(closed).unique().sort().str.join(", ").alias("rules"),
    )
    cases = cases.filter(pl.col("worth") == "high")
    today = day_of(t.as_of)
    days = (pl.lit(today) - pl.col("last_contact")).dt.total_days()
    limit = microseconds(settings.low_access) // DAY_US
    long = pl.col("last_contact").is_null() | (days >= limit)
    shut = pl.col("shut") == pl.col("n")
    never = pl.when(pl.col("last_contact").is_null()).then(pl.lit("never contacted"))
    silent = never.when(long).then(pl.format("no contact for {} days", days))
    barred = pl.when(shut).then(pl.format("nothing is allowed: {}", "rules"))
    out = cases.filter(long | shut).with_columns(
        days=days,
        actions_open=pl.col("n").cast(pl.Int64) - pl.col("shut").cast(pl.Int64),
        why=pl.concat_str([silent, barred], separator="; ", ignore_nulls=True),
    )
    out = out.sort("value", "case", descending=[True, False])
    return out.select(pl.col(c).cast(k) for c, k in WATCH_SCHEMA.items())
