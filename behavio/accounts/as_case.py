"""The account as the case: one journey each, of what members did while they belonged to it."""

from __future__ import annotations

from dataclasses import replace

import polars as pl

from behavio.accounts.members import NO_ROLE
from behavio.errors import LogError
from behavio.log import CONSENT_SCHEMA, PLAN_SCHEMA, SURVEY_SCHEMA, EventLog, empty


def by_account(log: EventLog) -> tuple[EventLog, dict[str, int]]:
    """The log with accounts as cases, and counts: events, without an account, counted more than once.

    Each event goes to every account its member belonged to at that time, with `member` and `role`; events of
    people without an account are left out and counted. What is known of people only (consents, plan, survey)
    stays behind: an account gives no consent. Raises LogError without a clock or affiliations.
    """
    if not log.timed:
        raise LogError("a log without a clock has no accounts", hint="affiliations are dated")
    if log.affiliations.height == 0:
        raise LogError("the log has no affiliations", hint='add [affiliations] with path = "…" to the job')
    own = log.affiliations.select(
        pl.col("case_id").cast(pl.String).alias("member"),
        pl.col("account_id").cast(pl.String),
        pl.col("role").cast(pl.String).fill_null(NO_ROLE),
        "start",
        "end",
    ).unique(maintain_order=True)
    events = log.events.drop("role", strict=False).with_columns(pl.col("case_id").cast(pl.String))
    joined = events.join(own, left_on="case_id", right_on="member", maintain_order="left")
    since = pl.col("start").is_null() | (pl.col("timestamp") >= pl.col("start"))
    until = pl.col("end").is_null() | (pl.col("timestamp") < pl.col("end"))
    inside = joined.filter(since & until).drop("start", "end")
    inside = inside.unique(["event_index", "account_id"], keep="first", maintain_order=True)
    if inside.height == 0:
        raise LogError("no event falls into an affiliation", hint="are the ids those of the log?")
    kept = inside["event_index"].n_unique()
    table = (
        inside.rename({"case_id": "member", "account_id": "case_id"})
        .sort("case_id", "timestamp", "event_index", maintain_order=True)
        .select("case_id", pl.exclude("case_id"))
        .with_columns(event_index=pl.int_range(pl.len(), dtype=pl.Int64))
    )
    members = own.filter(pl.col("account_id").is_in(table["case_id"].unique().implode()))
    cases = (
        members.group_by("account_id")
        .agg(
            pl.col("member").n_unique().cast(pl.Int64).alias("n_members"),
            pl.col("role").n_unique().cast(pl.Int64).alias("n_roles"),
        )
        .rename({"account_id": "case_id"})
        .sort("case_id")
    )
    counts = {
        "events": table.height,
        "without_account": log.n_events - kept,
        "in_several_accounts": table.height - kept,
    }
    consents, plan, survey = (empty(s) for s in (CONSENT_SCHEMA, PLAN_SCHEMA, SURVEY_SCHEMA))
    found = replace(log, events=table, cases=cases, consents=consents, plan=plan, survey=survey)
    return found, counts
