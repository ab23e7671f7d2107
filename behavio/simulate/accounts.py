"""Who works where, in which role: accounts of four to eight HCPs, some of which lack a role on purpose."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl

from behavio.files import whole_file
from behavio.simulate.crm import DAY
from behavio.simulate.extracts import Tally, dates
from behavio.simulate.history import History
from behavio.simulate.ids import crm_ids

SALT = 20_262
"""Affiliations have random numbers of their own: they change nothing else."""
ROLES = ("decision maker", "pharmacist", "opinion leader")
REST = "prescriber"
LACKS = 0.2
"""Share of accounts that lack a role."""
MOVES = 0.1
"""Share of prescribers who change to another account half-way."""


def affiliations_of(history: History) -> tuple[pl.DataFrame, pl.DataFrame]:
    """case_id, account_id, role, start, end (days) of every HCP; account_id, lacks: what is planted.

    Each account has one of each role and prescribers; one in five lacks one role, held by nobody there.
    """
    people = history.people
    n, settings = len(people.archetype), history.settings
    rng = np.random.default_rng([settings.seed, SALT])
    order = np.argsort(people.territory, kind="stable")
    sizes: list[int] = []
    while sum(sizes) < n:
        sizes.append(int(rng.integers(4, 9)))
    account = np.repeat(np.arange(len(sizes)), sizes)[:n]
    place = np.arange(n) - np.searchsorted(account, account)
    lacks = np.where(rng.random(len(sizes)) < LACKS, rng.integers(0, len(ROLES), len(sizes)), -1)
    role = np.array(
        [ROLES[p] if p < len(ROLES) and lacks[a] != p else REST for a, p in zip(account, place, strict=True)]
    )
    whole = np.bincount(account, minlength=len(sizes)) >= len(ROLES) + 1
    first, half = settings.start_s - 200 * DAY, settings.start_s + settings.n_days * DAY // 2
    moved = (role == REST) & (rng.random(n) < MOVES)
    to = (account + rng.integers(1, max(len(sizes), 2), n)) % len(sizes)
    ids = crm_ids("Account", order)
    homes = np.array([f"ACC{a:05d}" for a in range(len(sizes))])
    base = pl.DataFrame(
        {
            "case_id": ids,
            "account_id": homes[account],
            "role": role,
            "start": dates(np.full(n, first)),
            "end": pl.Series(
                [str(d) if m else None for d, m in zip(dates(np.full(n, half)), moved, strict=True)],
                dtype=pl.String,
            ),
        }
    )
    again = base.filter(pl.Series(moved)).with_columns(
        account_id=pl.Series(homes[to[moved]]),
        start=pl.Series(dates(np.full(int(moved.sum()), half))),
        end=pl.lit(None, dtype=pl.String),
    )
    truth = pl.DataFrame(
        {
            "account_id": homes[whole],
            "lacks": pl.Series([ROLES[k] if k >= 0 else None for k in lacks[whole]], dtype=pl.String),
        }
    )
    return pl.concat([base, again.select(base.columns)], how="vertical_relaxed"), truth


def write_affiliations(history: History, folder: Path, tally: Tally) -> None:
    """Affiliations.csv: case_id, account_id, role, start, end."""
    table, _ = affiliations_of(history)
    with whole_file(folder / "Affiliations.csv") as draft:
        table.write_csv(draft)
    tally.wrote("Affiliations.csv", table.height, {})
