"""Who belongs to which account when, who of them is covered, which roles are missing."""

from __future__ import annotations

import datetime as dt

import polars as pl

from behavio.accounts.settings import AccountSettings
from behavio.durations import seconds
from behavio.errors import LogError
from behavio.log import EventLog
from behavio.suggest.consents import consent_states
from behavio.touches import SMALLEST, columns_of, is_answer

NO_ROLE = "(no role)"
USUAL = 0.5
"""A role is usual when more than this share of the accounts have it."""
WHOLE = 3
"""An account of fewer members is not asked for roles."""


def members_of(log: EventLog, settings: AccountSettings) -> pl.DataFrame:
    """One row per affiliation: account_id, case_id, role, influence, since, until, current, events, contacts,
    last_contact, last_answer, covered, closed (channels she may not be contacted through).

    current  on the day of the newest event; events count while she belonged to the account
    Raises LogError without a clock or affiliations.
    """
    if not log.timed:
        raise LogError("a log without a clock has no accounts", hint="leave [accounts] out")
    if log.affiliations.height == 0:
        raise LogError("the log has no affiliations", hint='add [affiliations] with path = "…" to the job')
    newest: dt.datetime = log.events["timestamp"].max()  # type: ignore[assignment]
    own = (
        log.affiliations.select(
            pl.col("account_id", "case_id").cast(pl.String),
            pl.col("role").cast(pl.String).fill_null(NO_ROLE),
            pl.col("influence").cast(pl.String),
            since="start",
            until="end",
        )
        .unique(["account_id", "case_id", "role", "since", "until"], maintain_order=True)
        .with_row_index("row")
    )
    inside = within_affiliation(log, own)
    contact = (pl.col("direction") == "outbound").fill_null(False)
    told = inside.group_by("row").agg(
        pl.len().alias("events"),
        contact.sum().alias("contacts"),
        pl.col("timestamp").filter(contact).max().alias("last_contact"),
        pl.col("timestamp").filter(is_answer()).max().alias("last_answer"),
    )
    table = own.join(told, on="row", how="left").with_columns(pl.col("events", "contacts").fill_null(0))
    started = pl.col("since").is_null() | (pl.col("since") <= newest)
    current = started & (pl.col("until").is_null() | (pl.col("until") > newest))
    recent = newest - dt.timedelta(seconds=seconds(settings.window))
    table = table.with_columns(
        current=current,
        covered=(current & (pl.col("last_contact") >= recent)).fill_null(False),
    )
    table = table.join(_closed(log, newest), on="case_id", how="left")
    return table.sort("account_id", "role", "case_id", "since").drop("row")


def within_affiliation(log: EventLog, own: pl.DataFrame) -> pl.DataFrame:
    """Every event with each affiliation (account_id, role, row) its case had at that time."""
    events = columns_of(log.events).join(own.drop("influence"), on="case_id")
    since = pl.col("since").is_null() | (pl.col("timestamp") >= pl.col("since"))
    until = pl.col("until").is_null() | (pl.col("timestamp") < pl.col("until"))
    return events.filter(since & until)


def _closed(log: EventLog, newest: dt.datetime) -> pl.DataFrame:
    """case_id, closed: channels with a refusal, or without the opt-in they ask for."""
    channels = log.consents["channel"].drop_nulls().unique().sort().to_list() if log.consents.height else []
    now = int(newest.timestamp() * 1_000_000)
    states = consent_states(log.consents, [c for c in channels if c != "*"], now, now)
    closed = states.filter(pl.col("consent") != "granted").sort("case_id", "channel")
    return closed.group_by("case_id").agg(pl.col("channel").str.join(", ").alias("closed"))


def wanted_roles(members: pl.DataFrame, settings: AccountSettings) -> tuple[tuple[str, ...], str]:
    """The roles an account should have, and why: declared, usual, or why there are none."""
    if settings.roles:
        return settings.roles, "declared by the job"
    now = members.filter("current")
    sizes = (
        now.group_by("account_id").agg(pl.col("case_id").n_unique().alias("n")).filter(pl.col("n") >= WHOLE)
    )
    if sizes.height < SMALLEST:
        return (), f"fewer than {SMALLEST} accounts of {WHOLE} members or more: declare [accounts] roles"
    roles = (
        now.filter(pl.col("role") != NO_ROLE)
        .join(sizes, on="account_id")
        .group_by("role")
        .agg((pl.col("account_id").n_unique() / sizes.height).alias("share"))
        .filter(pl.col("share") > USUAL)
        .sort("share", "role", descending=[True, False])
    )
    return tuple(roles["role"]), f"more than {USUAL:.0%} of {sizes.height:,} accounts have them"


def overview(members: pl.DataFrame, wanted: tuple[str, ...]) -> pl.DataFrame:
    """One row per account: members, covered, coverage, roles, missing, uncovered, events, last_contact."""
    now = members.filter("current")
    per = now.group_by("account_id").agg(
        pl.col("case_id").n_unique().alias("members"),
        pl.col("case_id").filter("covered").n_unique().alias("covered"),
        pl.col("role").unique().sort().alias("roles"),
        pl.col("role").filter("covered").unique().sort().alias("covered_roles"),
        pl.col("events").sum(),
        pl.col("last_contact").max(),
        pl.col("last_answer").max(),
    )
    asked = pl.lit(list(wanted), dtype=pl.List(pl.String))
    none = pl.lit([], dtype=pl.List(pl.String))
    return (
        per.with_columns(
            coverage=pl.col("covered") / pl.col("members"),
            missing=pl.when(pl.col("members") >= WHOLE)
            .then(asked.list.set_difference("roles"))
            .otherwise(none),
            uncovered=pl.col("roles").list.set_intersection(asked).list.set_difference("covered_roles"),
        )
        .with_columns(pl.col("missing", "uncovered").list.sort())
        .drop("covered_roles")
        .sort("account_id")
    )
