"""Accounts and decision-making units: members, roles, coverage, what is missing, the account's own journey.

Influence between members is told only as an association: answers of two roles that come close together more
often than by chance. A common cause, such as one visit to all of them, does the same.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import polars as pl

from behavio.accounts.as_case import by_account
from behavio.accounts.members import members_of, overview, wanted_roles
from behavio.accounts.settings import AccountSettings
from behavio.accounts.together import together
from behavio.errors import LogError, RunError
from behavio.files import read_json, write_json
from behavio.log import EventLog

__all__ = [
    "AccountSettings",
    "AccountStory",
    "Accounts",
    "account_story",
    "accounts",
    "by_account",
    "read_accounts",
    "write_accounts",
]
TABLES = ("accounts", "members", "together")


@dataclass(frozen=True, eq=False)
class Accounts:
    """accounts: a row each · members: a row per affiliation · together: pairs of roles · wanted: roles an
    account should have, by what they are known in `why`."""

    accounts: pl.DataFrame
    members: pl.DataFrame
    together: pl.DataFrame
    wanted: tuple[str, ...]
    why: str

    def to_frame(self) -> pl.DataFrame:
        """One row per account."""
        return self.accounts


@dataclass(frozen=True, eq=False)
class AccountStory:
    """One account.

    facts    a row of `Accounts.accounts`        members   its members, those of the past too
    journey  timestamp, case_id, role, activity, channel, direction of every event while they belonged to it
    """

    account_id: str
    facts: dict[str, Any]
    members: pl.DataFrame
    journey: pl.DataFrame
    wanted: tuple[str, ...]
    why: str

    def to_frame(self) -> pl.DataFrame:
        """The journey."""
        return self.journey


def accounts(log: EventLog, settings: AccountSettings | None = None, seed: int = 7) -> Accounts:
    """Every account of a log with affiliations. Raises what `members_of` raises."""
    settings = settings or AccountSettings()
    members = members_of(log, settings)
    wanted, why = wanted_roles(members, settings)
    return Accounts(overview(members, wanted), members, together(log, settings, seed), wanted, why)


def write_accounts(
    log: EventLog, settings: AccountSettings, seed: int, folder: Path, progress: Callable[[str, float], None]
) -> dict[str, Any]:
    """accounts.parquet, members.parquet, together.parquet; facts.json with the roles wanted and notes."""
    progress("accounts", 0.0)
    try:
        found = accounts(log, settings, seed)
    except LogError as problem:
        write_json(folder / "facts.json", {"wanted": [], "why": "", "notes": [f"{problem}: {problem.hint}"]})
        return {"rows_in": log.affiliations.height, "rows_out": 0, "note": str(problem)}
    for name in TABLES:
        getattr(found, name).write_parquet(folder / f"{name}.parquet")
    unknown = int(
        log.affiliations.join(log.events.select("case_id").unique(), on="case_id", how="anti")[
            "case_id"
        ].n_unique()
    )
    notes = [f"{unknown:,} people with an affiliation have no event"] if unknown else []
    write_json(folder / "facts.json", {"wanted": list(found.wanted), "why": found.why, "notes": notes})
    lacking = found.accounts.filter(pl.col("missing").list.len() > 0).height
    facts = {"rows_in": log.affiliations.height, "rows_out": found.accounts.height}
    return facts | {"n_accounts": found.accounts.height, "n_lacking_a_role": lacking}


def read_accounts(folder: Path) -> Accounts:
    """What `write_accounts` left. Raises RunError with its reason when there was nothing to say."""
    told = read_json(folder / "facts.json")
    if not (folder / "accounts.parquet").is_file():
        raise RunError(told["notes"][0], hint="look at behavio check")
    every, members, pairs = (pl.read_parquet(folder / f"{t}.parquet") for t in TABLES)
    return Accounts(every, members, pairs, tuple(told["wanted"]), str(told["why"]))


def account_story(run: Path, account_id: str) -> AccountStory:
    """One account of a finished run. Raises RunError naming the nearest for an account it does not know."""
    found = read_accounts(run / "accounts")
    members = found.members.filter(account_id=account_id)
    if members.height == 0:
        known = found.members["account_id"].unique().sort().to_list()
        near = get_close_matches(account_id, known, 3, 0.4) or known[:3]
        raise RunError(f"there is no account {account_id!r}", hint=f"the nearest are: {', '.join(near)}")
    rows = found.accounts.filter(account_id=account_id)
    facts = rows.row(0, named=True) if rows.height else {"account_id": account_id, "members": 0}
    story = (found.wanted, found.why)
    return AccountStory(account_id, facts, _enriched(run, members), _journey(run, members), *story)


def _enriched(run: Path, members: pl.DataFrame) -> pl.DataFrame:
    """Members with their group and likeliest next step, where the run has them."""
    ids = members["case_id"].implode()
    for file, columns in (
        ("segments/segments.parquet", {"segment": "segment"}),
        ("next/next_steps.parquet", {"activity": "next", "probability": "next_probability"}),
    ):
        if (run / file).is_file():
            rows = pl.scan_parquet(run / file)
            if "rank" in rows.collect_schema().names():
                rows = rows.filter(pl.col("rank") == 1)
            own = rows.select(
                pl.col("case_id").cast(pl.String), *(pl.col(c).alias(n) for c, n in columns.items())
            )
            known = own.filter(pl.col("case_id").is_in(ids)).collect()
            members = members.join(known, on="case_id", how="left", maintain_order="left")
    return members


def _journey(run: Path, members: pl.DataFrame) -> pl.DataFrame:
    """What members did while they belonged to the account, in time order."""
    events = pl.scan_parquet(run / "log/events.parquet")
    have = events.collect_schema().names()
    extra = [c for c in ("channel", "direction", "brand", "message", "reaction") if c in have]
    own = members.select("case_id", "role", "since", "until")
    rows = (
        events.select(pl.col("case_id", "activity").cast(pl.String), "timestamp", "event_index", *extra)
        .filter(pl.col("case_id").is_in(own["case_id"].implode()))
        .collect()
        .join(own, on="case_id")
    )
    since = pl.col("since").is_null() | (pl.col("timestamp") >= pl.col("since"))
    until = pl.col("until").is_null() | (pl.col("timestamp") < pl.col("until"))
    rows = (
        rows.filter(since & until)
        .unique("event_index", keep="first")
        .sort("timestamp", "case_id", "event_index")
    )
    return rows.select("timestamp", "case_id", "role", "activity", *extra)
