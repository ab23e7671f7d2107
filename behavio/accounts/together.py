"""Whether members of one account answer soon after each other: an association, nothing more."""

from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl

from behavio.accounts.members import NO_ROLE, within_affiliation
from behavio.accounts.settings import AccountSettings
from behavio.contrasts import false_discovery
from behavio.durations import seconds
from behavio.log import EventLog
from behavio.touches import SMALLEST, is_answer

TOGETHER = {
    "role": pl.String(),
    "then": pl.String(),
    "n_accounts": pl.Int64(),
    "n_answers": pl.Int64(),
    "followed": pl.Float64(),
    "by_chance": pl.Float64(),
    "ratio": pl.Float64(),
    "low": pl.Float64(),
    "high": pl.Float64(),
    "p_value": pl.Float64(),
    "q_value": pl.Float64(),
    "verdict": pl.String(),
}
TURNS = 199
WEEK = 7 * 86_400_000_000


def together(log: EventLog, settings: AccountSettings, seed: int) -> pl.DataFrame:
    """TOGETHER: answers of a role followed within `within` by one of another role in the same account.

    Expected is what is left when the times of each member of the second role are turned round the span of the
    log by a random number of whole weeks, so her own rhythm and her weekdays stay. low and high divide by the
    97.5 % and 2.5 % of the turned shares; p is that of the distance in their spread (t distribution). Pairs
    of roles that meet in fewer than 10 accounts are left out.
    """
    own = log.affiliations.select(
        pl.col("account_id", "case_id").cast(pl.String),
        pl.col("role").cast(pl.String).fill_null(NO_ROLE),
        pl.col("influence").cast(pl.String),
        since="start",
        until="end",
    ).with_row_index("row")
    answers = within_affiliation(log, own).filter(is_answer()).sort("account_id", "case_id", "timestamp")
    if answers.height == 0:
        return pl.DataFrame(schema=TOGETHER)
    time = answers["timestamp"].dt.epoch("us").to_numpy()
    time = time - time.min()
    span = (int(time.max()) // WEEK + 1) * WEEK
    within = round(seconds(settings.within) * 1e6)
    big = span + 2 * within
    account = answers["account_id"].rank("dense").to_numpy().astype(np.int64)
    member = answers.select(pl.struct("account_id", "case_id").rank("dense"))["account_id"].to_numpy()
    roles = answers["role"].to_numpy()
    rng = np.random.default_rng([seed, 41])
    weeks = rng.integers(1, max(span // WEEK, 2), (TURNS, int(member.max()) + 1))
    rows = []
    for first in np.unique(roles):
        for then in np.unique(roles):
            if first == then or NO_ROLE in (first, then):
                continue
            a, b = np.flatnonzero(roles == first), np.flatnonzero(roles == then)
            both = np.intersect1d(account[a], account[b])
            a, b = a[np.isin(account[a], both)], b[np.isin(account[b], both)]
            if len(both) < SMALLEST:
                continue
            asked = account[a] * big + time[a]
            seen = _followed(asked, account[b] * big + time[b], within)
            turned = np.array(
                [
                    _followed(asked, account[b] * big + (time[b] + weeks[t][member[b]] * WEEK) % span, within)
                    for t in range(TURNS)
                ]
            )
            rows.append(_row(str(first), str(then), len(both), len(a), seen, turned))
    if not rows:
        return pl.DataFrame(schema=TOGETHER)
    q = false_discovery(np.array([r["p_value"] for r in rows]))
    for row, value in zip(rows, q, strict=True):
        row["q_value"] = float(value)
        more = "more often than by chance" if row["ratio"] > 1 else "less often than by chance"
        row["verdict"] = more if value <= 0.05 else "no association seen"
    return pl.DataFrame(rows, schema=TOGETHER).sort("q_value", "role", "then")


def _followed(asked: np.ndarray, answers: np.ndarray, within: int) -> float:
    """Share of the moments after which an answer comes in time; keys are account · big + time."""
    ordered = np.sort(answers)
    at = np.minimum(np.searchsorted(ordered, asked, side="right"), len(ordered) - 1)
    wait = ordered[at] - asked
    return float(((wait > 0) & (wait <= within)).mean())


def _row(first: str, then: str, accounts: int, n: int, seen: float, turned: np.ndarray) -> dict[str, Any]:
    from scipy.stats import t as student

    expected = float(turned.mean())
    low, high = np.quantile(turned, [0.025, 0.975])
    spread = float(turned.std(ddof=1))
    off = abs(seen - expected) / spread if spread > 0 else 0.0
    tiny = 1e-9
    return {
        "role": first,
        "then": then,
        "n_accounts": accounts,
        "n_answers": n,
        "followed": seen,
        "by_chance": expected,
        "ratio": seen / max(expected, tiny),
        "low": seen / max(float(high), tiny),
        "high": seen / max(float(low), tiny),
        "p_value": float(2 * student.sf(off, TURNS - 1)),
    }
