"""Every action for every case, with all that the rules and the plan need to know, one row each.

Columns: case, case_id, action, channel, message, brand, segment, pressure, seen; from scoring n, k,
probability, base_probability, gain, …; for the rules n_events, touches_28d, cap, hours_since_other,
hours_since_own, cooldown_h, consent, consent_needed, do_not_call, inactive, status, privacy_opt_out,
holdout, action_medical, only_medical, messages, channel_touches, channel_answers, other_answers,
channel_answers_anybody; owner_id, waiting (the case acted and nobody has been in contact since); from
`standing.py` stage, band, contacts by channel, team and country, what was turned down; from `channels.py`
what the channel policy says; from `triggers.py` which rule of the users asks for the action.
"""

from __future__ import annotations

from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path

import numpy as np
import polars as pl

from behavio.durations import seconds
from behavio.errors import JobError
from behavio.holdout import read_holdout
from behavio.log import EventLog
from behavio.suggest.consents import consent_states, product_states, spoken_of
from behavio.suggest.scoring import SITUATION
from behavio.suggest.settings import SuggestSettings, microseconds
from behavio.suggest.situations import Situations
from behavio.suggest.timeline import Timeline, is_touch

HOUR_US = 3_600_000_000.0
FLAGS: dict[str, tuple[str, ...]] = {
    "do_not_call": ("do_not_call",),
    "privacy_opt_out": ("data_privacy_opt_out", "privacy_opt_out"),
    "status": ("status", "account_status", "customer_master_status"),
    "email_opt_type": ("email_opt_type", "approved_email_opt_type"),
    "pdrp_opt_out": ("pdrp_opt_out",),
}
"""Case columns the rules read; vendor endings such as `_vod__c` do not matter."""

YES = ("yes", "yes_vod", "true", "1", "1.0", "y")
MOST_ACTIONS = 20
"""Unless the actions are named, so many of the most frequent ones are weighed."""

INACTIVE = ("inactive", "closed", "merged", "deceased", "deleted")


def read_actions(timeline: Timeline, settings: SuggestSettings) -> pl.DataFrame:
    """The actions: action, channel and team (its most common ones), action_medical (mostly by medical).

    Those of the settings, else the MOST_ACTIONS most frequent ones.
    """
    touches = timeline.of(timeline.touches, "activity", "channel", "team")
    actions = touches.group_by(pl.col("activity").alias("action")).agg(
        pl.col("channel").drop_nulls().mode().sort().first().alias("channel"),
        pl.col("team").drop_nulls().mode().sort().first().alias("team"),
        ((pl.col("team") == "medical").fill_null(False).mean() > 0.5).alias("action_medical"),
        pl.len().alias("contacts"),
    )
    if settings.actions is not None:
        known = actions["action"].sort().to_list()
        for name in settings.actions:
            if known and name not in known:
                near = get_close_matches(name, known, 1, 0.4)
                hint = f"did you mean {near[0]!r}?" if near else f"outbound activities: {', '.join(known)}"
                raise JobError(f"action {name!r} is no outbound activity of this log", hint=hint)
        actions = actions.filter(pl.col("action").is_in(settings.actions))
    else:
        actions = actions.sort(["contacts", "action"], descending=[True, False]).head(MOST_ACTIONS)
    return actions.drop("contacts").sort("action")


@dataclass(frozen=True, eq=False)
class Offers:
    """Candidates that are made part by part, so that a million cases never stand in memory at once.

    cases     what is known per case, in order of `case`, 0 to n − 1
    actions   what can be done
    lookups   tables by keys of a candidate: (table, keys), joined in this order
    finish    made of the joined columns, one group after the other
    products  what cases said about single products, see `consents.product_states`
    """

    cases: pl.DataFrame
    actions: pl.DataFrame
    lookups: tuple[tuple[pl.DataFrame, list[str]], ...]
    finish: tuple[dict[str, pl.Expr], ...]
    products: pl.DataFrame

    def part(self, first: int = 0, stop: int | None = None) -> pl.DataFrame:
        """The candidates of the cases from `first` to before `stop`, in order of case and action."""
        cases = self.cases.slice(first, None if stop is None else stop - first)
        frame = cases.join(self.actions, how="cross")
        for table, keys in self.lookups:
            frame = frame.join(table, on=keys, how="left", maintain_order="left")
        for columns in self.finish:
            frame = frame.with_columns(**columns)
        return frame.sort("case", "action")


def read_offers(
    situations: Situations,
    actions: pl.DataFrame,
    cells: pl.DataFrame,
    now: pl.DataFrame,
    log: EventLog,
    settings: SuggestSettings,
) -> Offers:
    """Every case with every action and what is known beside it; standing, policy and messages come later."""
    t = situations.timeline
    cases = _case_facts(log, situations, now, settings)
    cases = cases.join(_flags(log, t, settings), on="case_id", how="left", maintain_order="left")
    answers = t.of(t.inbound, "channel")["channel"].unique().drop_nulls().to_list()
    channels = actions["channel"].drop_nulls().unique().sort().to_list()
    until = t.as_of + microseconds(settings.expires)
    known = log.consents.filter(
        pl.col("timestamp").is_null() | (pl.col("timestamp").dt.epoch("us") <= t.as_of)
    )
    states = consent_states(known, channels, t.as_of, until).select("case_id", "channel", "consent")
    products = product_states(known, channels, t.as_of, until)
    needed = spoken_of(known) if settings.needs_consent is None else settings.needs_consent
    never = (pl.col("email_opt_type") == "never") & (pl.col("channel") == "email")
    first = {
        "channel_touches": pl.col("channel_touches").fill_null(0),
        "channel_answers": pl.col("channel_answers").fill_null(0),
        "consent": pl.when(never).then(pl.lit("never")).otherwise("consent"),
        "consent_needed": pl.col("channel").is_in(list(needed)).fill_null(False),
        "channel_answers_anybody": pl.col("channel").is_in(answers).fill_null(False),
        "cooldown_h": pl.lit(seconds(settings.cooldown) / 3600),
    }
    lookups = (
        (_channel_facts(t), ["case", "channel"]),
        (states, ["case_id", "channel"]),
        (cells, ["action", *SITUATION]),
    )
    then = {"other_answers": pl.col("answers") - pl.col("channel_answers")}
    return Offers(cases, actions, lookups, (first, then), products)


def _case_facts(
    log: EventLog, situations: Situations, now: pl.DataFrame, settings: SuggestSettings
) -> pl.DataFrame:
    """One row per case: owner, contacts, cap, brand, teams, answers."""
    t = situations.timeline
    facts = t.events.group_by("case").agg(
        pl.len().cast(pl.Int64).alias("n_events"),
        pl.col("brand").filter((pl.col("team") != "medical").fill_null(True)).drop_nulls().alias("brands"),
        (pl.col("team") == "medical").any().alias("knows_medical"),
        (is_touch(settings) & (pl.col("team") != "medical").fill_null(True)).any().alias("knows_others"),
    )
    facts = facts.with_columns(
        case_brand=pl.col("brands")
        .list.eval(pl.element().mode().sort().first())
        .list.first()
        .cast(pl.String),
        only_medical=(pl.col("knows_medical") & ~pl.col("knows_others")).fill_null(False),
    ).select("case", "n_events", "case_brand", "only_medical")
    base = now.select("case", *SITUATION, pl.col("touches").alias("touches_28d"))
    base = base.with_columns(case_id=t.case_ids, cap=pl.Series(_caps(situations, now, settings)))
    base = base.join(facts, on="case", how="left", maintain_order="left")
    base = base.join(_owners(t), on="case", how="left", maintain_order="left")
    if "owner_id" in log.cases.columns:
        known = log.cases.unique("case_id", keep="first", maintain_order=True)
        known = known.select(
            pl.col("case_id").cast(pl.String), account_owner=pl.col("owner_id").cast(pl.String)
        )
        base = base.join(known, on="case_id", how="left", maintain_order="left")
        base = base.with_columns(owner_id=pl.coalesce("owner_id", "account_owner")).drop("account_owner")
    base = base.join(last_hours(t, base), on="case", how="left", maintain_order="left")
    inbound = t.of(t.inbound, "case", "timestamp").group_by("case")
    answers = inbound.agg(pl.len().cast(pl.Int64).alias("answers"), pl.col("timestamp").max().alias("came"))
    base = base.join(answers, on="case", how="left", maintain_order="left")
    fresh = pl.col("came").dt.epoch("us") > t.as_of - situations.window_us
    waiting = fresh & (pl.col("touched").is_null() | (pl.col("came") > pl.col("touched")))
    return (
        base.with_columns(
            pl.col("n_events", "answers").fill_null(0),
            pl.col("only_medical").fill_null(False),
            waiting=waiting.fill_null(False),
        )
        .drop("came")
        .rename({"touched": "last_contact"})
    )


def _caps(situations: Situations, now: pl.DataFrame, settings: SuggestSettings) -> np.ndarray:
    """Most contacts in 28 days per case: the setting, else the 95th percentile of the segment, at least 2."""
    if settings.cap_per_28d is not None:
        return np.full(len(now), settings.cap_per_28d, dtype=np.int64)
    t = situations.timeline
    # seen at each contact, itself included: how dense contact was when there was contact
    m = t.touches
    count = np.maximum(np.arange(len(m)) + 1 - m.rank(m.case, m.time - 28 * 24 * round(HOUR_US)), 1)
    frame = pl.DataFrame({"segment": situations.segment[m.case].tolist(), "count": count})
    frame = frame.cast({"segment": pl.String, "count": pl.Int64})
    caps = frame.group_by("segment").agg(pl.col("count").quantile(0.95, "higher").alias("cap"))
    cap = now.select("segment").join(caps, on="segment", how="left", maintain_order="left")["cap"]
    return np.maximum(cap.fill_null(2).cast(pl.Int64).to_numpy(), 2)


def _owners(t: Timeline) -> pl.DataFrame:
    """The last actor of sales per case; where no team is named at all, the last who made contact."""
    acting = t.of(t.touches, "case", "actor_id", "team").filter(pl.col("actor_id").is_not_null())
    if t.events["team"].null_count() < t.events.height:
        acting = acting.filter(pl.col("team") == "sales")
    return acting.group_by("case", maintain_order=True).agg(pl.col("actor_id").last().alias("owner_id"))


def last_hours(t: Timeline, cases: pl.DataFrame) -> pl.DataFrame:
    """hours_since_own and hours_since_other: since the owner's and anybody else's last contact; touched: when
    the last one was. `cases` has case and owner_id."""
    touches = t.of(t.touches, "case", "actor_id", "timestamp")
    touches = touches.join(cases.select("case", "owner_id"), on="case", how="left")
    own = (pl.col("actor_id") == pl.col("owner_id")).fill_null(False)
    when = pl.col("timestamp")
    last = touches.group_by("case").agg(
        when.filter(own).max().alias("own"),
        when.filter(~own).max().alias("other"),
        when.max().alias("touched"),
    )
    hours = {
        f"hours_since_{who}": (pl.lit(t.as_of) - pl.col(who).dt.epoch("us")) / HOUR_US
        for who in ("own", "other")
    }
    return last.select("case", "touched", **hours)


def _channel_facts(t: Timeline) -> pl.DataFrame:
    """Contacts and answers per case and channel."""
    out = t.of(t.touches, "case", "channel").group_by("case", "channel")
    back = t.of(t.inbound, "case", "channel").group_by("case", "channel")
    touches = out.agg(pl.len().cast(pl.Int64).alias("channel_touches"))
    answers = back.agg(pl.len().cast(pl.Int64).alias("channel_answers"))
    both = touches.join(answers, on=["case", "channel"], how="full", coalesce=True)
    return both.filter(pl.col("channel").is_not_null())


def privacy_flags(cases: pl.DataFrame) -> set[str]:
    """Ids of the cases that objected to the use of their personal data."""
    name = _column(cases, "privacy_opt_out")
    if name is None:
        return set()
    objected = pl.col(name).cast(pl.String).str.to_lowercase().is_in(YES).fill_null(False)
    return set(cases.filter(objected)["case_id"].cast(pl.String).to_list())


def _column(cases: pl.DataFrame, flag: str) -> str | None:
    """The column of the cases that carries a flag, whatever its vendor ending; the first spelling wins."""
    plain = {_plain(c): c for c in reversed(cases.columns)}
    return next((plain[s] for s in FLAGS[flag] if s in plain), None)


def case_flags(cases: pl.DataFrame) -> pl.DataFrame:
    """What the case table says about leaving somebody alone, one row per case.

    Columns case_id, status, do_not_call, privacy_opt_out, inactive; whatever their vendor endings were.
    """
    columns = {}
    for name in FLAGS:
        found = _column(cases, name)
        value = pl.lit(None, dtype=pl.String) if found is None else pl.col(found).cast(pl.String)
        columns[name] = value.str.to_lowercase().str.strip_suffix("_vod").str.strip_suffix("__v")
    once = cases.unique("case_id", keep="first", maintain_order=True)
    table = once.select(pl.col("case_id").cast(pl.String), **columns)
    return table.with_columns(
        *(pl.col(c).is_in(YES).fill_null(False) for c in ("do_not_call", "privacy_opt_out", "pdrp_opt_out")),
        inactive=pl.col("status").is_in(INACTIVE).fill_null(False),
    )


def _flags(log: EventLog, t: Timeline, settings: SuggestSettings) -> pl.DataFrame:
    """The flags of every case with events, and whether it is held out."""
    flags = case_flags(log.cases)
    column = settings.holdout_column
    if column is not None and column not in log.cases.columns:
        near = get_close_matches(column, log.cases.columns, 1, 0.4)
        hint = f"did you mean {near[0]!r}?" if near else f"columns: {', '.join(log.cases.columns)}"
        raise JobError(f"the cases have no column {column!r}", hint=hint)
    held = pl.lit("no") if column is None else pl.col(column).cast(pl.String)
    once = log.cases.unique("case_id", keep="first", maintain_order=True)
    kept = once.select(pl.col("case_id").cast(pl.String), holdout=held.str.to_lowercase().is_in(YES))
    everybody = t.case_ids.to_frame().join(flags, on="case_id", how="left", maintain_order="left")
    everybody = everybody.join(kept, on="case_id", how="left", maintain_order="left")
    if settings.holdout is not None:
        drawn = read_holdout(Path(settings.holdout)).filter("holdout")["case_id"]
        everybody = everybody.with_columns(pl.col("holdout") | pl.col("case_id").is_in(drawn.implode()))
    named = ("do_not_call", "privacy_opt_out", "pdrp_opt_out", "inactive", "holdout")
    return everybody.with_columns(pl.col(c).fill_null(False) for c in named)


def _plain(column: str) -> str:
    """A column name without its vendor ending."""
    name = column.lower()
    for ending in ("_vod__c", "__v", "__c", "_cda__v"):
        name = name.removesuffix(ending)
    return name
