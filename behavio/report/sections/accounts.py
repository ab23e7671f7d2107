"""Accounts: how many members are covered, which roles are missing, which answer together."""

from __future__ import annotations

from typing import Any

import polars as pl
from markupsafe import Markup

from behavio.report.blocks import Block, Section, Sheet
from behavio.report.context import Context, say
from behavio.report.tables import Column, Table


def section(c: Context) -> Section | None:
    """Roles over all accounts, then pairs of roles; nothing for a job without [accounts]."""
    found = c.run.accounts
    if found is None or found.get("accounts") is None or c.settings.group is not None:
        return None
    made = [_roles(c, found), _together(found["together"])]
    blocks: list[Block] = [b for b in made if b is not None]
    tables = tuple(b.table for b in blocks if isinstance(b, Sheet))
    return Section(
        "accounts", "Accounts", _heading(c, found["accounts"]), _sub(c, found), tuple(blocks), tables
    )


def _heading(c: Context, accounts: pl.DataFrame) -> Markup:
    lacking = accounts.filter(pl.col("missing").list.len() > 0).height
    add = c.facts.add
    return say(
        "{n} of {m} accounts lack a role",
        n=add("accounts_lacking", lacking, "count", "accounts that lack a role").shown,
        m=add("accounts", accounts.height, "count", "accounts with members").shown,
    )


def _sub(c: Context, found: dict[str, Any]) -> Markup:
    now = found["members"].filter("current")
    share = c.facts.add(
        "members_covered",
        float(now["covered"].mean() or 0.0),
        "share",
        "members of accounts contacted lately",
        n=now.height,
    )
    return say(
        "{s} of the members were contacted lately. Roles asked for: {w}.", s=share.shown, w=found["why"]
    )


def _roles(c: Context, found: dict[str, Any]) -> Sheet | None:
    accounts, now = found["accounts"], found["members"].filter("current")
    rows = []
    for role in sorted(set(now["role"]) | set(found["wanted"])):
        own = now.filter(role=role)
        people = own["case_id"].n_unique()
        if 0 < people < c.k:
            continue
        rows.append(
            {
                "role": role,
                "people": people,
                "accounts": own["account_id"].n_unique(),
                "covered": float(own["covered"].mean() or 0.0) if own.height else None,
                "missing": accounts.filter(pl.col("missing").list.contains(role)).height,
            }
        )
    if not rows:
        return None
    columns = (
        Column("role", "Role"),
        Column("people", "Members", "count"),
        Column("accounts", "Accounts with it", "count"),
        Column("covered", "Contacted lately", "share", bar=True),
        Column("missing", "Accounts without", "count"),
    )
    table = Table.of("account_roles", "Roles in accounts", columns, rows, "behavio accounts RUN --missing")
    return Sheet(table, say("Which roles are there, and which are missing"))


def _together(pairs: pl.DataFrame | None) -> Sheet | None:
    if pairs is None or not pairs.height:
        return None
    columns = (
        Column("role", "After an answer of"),
        Column("then", "Answers"),
        Column("n_accounts", "Accounts", "count"),
        Column("followed", "Followed", "share"),
        Column("by_chance", "By chance", "share"),
        Column("ratio", "Times as often", "ratio"),
        Column("low", "From", "ratio"),
        Column("high", "To", "ratio"),
        Column("verdict", "Verdict"),
    )
    table = Table.of(
        "account_together",
        "Roles that answer together",
        columns,
        pairs.iter_rows(named=True),
        "behavio accounts RUN --together",
    )
    note = say("An association between members, not an influence: one visit to all of them does the same.")
    return Sheet(table, say("Which roles answer soon after each other"), note)
