"""Two real checks of direction: detailing and prescriptions, campaigns and coupons.

    python experiments/dose_response.py DATA --out experiments/results/dose_response.json

physician_detailing   Manchanda, Rossi & Chintagunta (JMR 2004) publish that more detailing means more new
                      prescriptions, with a diminishing return. Here: prescriptions of a month by calls of
                      the month, each physician compared with herself (fixed-effects Poisson; months as
                      dummies, so no trend of the product is taken for an effect), by number of calls, by
                      the logarithm of one plus calls, and by calls squared; each physician is one unit.
complete_journey      who redeems a coupon within 45 days of a campaign, by what the household did before:
                      any redemption, visits in the 60 days before; bootstrap over households.

Both are associations: who is visited, and when, was somebody's choice.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from behavio.files import write_json

MOST = 6
"""Months with more calls count as so many."""
DRAWS = 500
DAY = 86_400_000_000


def fitted(x: np.ndarray, y: np.ndarray, case: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Fixed-effects Poisson: coefficients and their covariance with each case as one."""
    n = int(case.max()) + 1
    total = np.bincount(case, y, n)
    beta = np.zeros(x.shape[1])
    for _ in range(50):
        weight = np.exp(x @ beta)
        mean = weight * (total / np.bincount(case, weight, n))[case]
        centre = (
            np.stack([np.bincount(case, mean * c, n) for c in x.T], 1) / np.maximum(total, 1e-12)[:, None]
        )
        apart = x - centre[case]
        inverse = np.linalg.inv((apart * mean[:, None]).T @ apart)
        step = inverse @ (apart.T @ (y - mean))
        beta += step
        if np.abs(step).max() < 1e-8:
            break
    scores = np.stack([np.bincount(case, c * (y - mean), n) for c in apart.T], 1)
    return beta, inverse @ (scores.T @ scores) @ inverse


def detailing(panel: pl.DataFrame) -> dict[str, Any]:
    """Prescriptions against calls of the same month."""
    panel = panel.filter(pl.col("scripts").sum().over("case_id") > 0).sort("case_id", "month")
    case = panel["case_id"].rank("dense").to_numpy().astype(np.int64) - 1
    y, calls = panel["scripts"].to_numpy().astype(float), panel["detailing"].to_numpy()
    months = np.eye(int(panel["month"].max()) + 1)[panel["month"].to_numpy()][:, 2:]  # type: ignore[arg-type]
    level = np.minimum(calls, MOST)
    steps = np.eye(MOST + 1)[level][:, 1:]
    beta, cov = fitted(np.hstack([steps, months]), y, case)
    error = np.sqrt(np.diag(cov))
    curve = [{"calls": "0", "n": int((level == 0).sum()), "relative": 1.0, "low": 1.0, "high": 1.0}]
    for k in range(MOST):
        low, high = np.exp(beta[k] - 1.96 * error[k]), np.exp(beta[k] + 1.96 * error[k])
        name = f"{k + 1}" if k + 1 < MOST else f"{MOST} or more"
        told = {"calls": name, "n": int((level == k + 1).sum()), "relative": float(np.exp(beta[k]))}
        curve.append(told | {"low": float(low), "high": float(high)})
    smooth, spread = fitted(np.hstack([np.log1p(calls)[:, None], months]), y, case)
    half = 1.96 * float(np.sqrt(spread[0, 0]))
    slope = {"elasticity": float(smooth[0]), "low": float(smooth[0] - half), "high": float(smooth[0] + half)}
    # by how much each further call raises prescriptions, of those without a call
    grown = {k: float((k + 1) ** smooth[0]) for k in (0, 1, 2, 4, 8)}
    first, later = grown[1] - grown[0], (grown[8] - grown[4]) / 4
    square, wide = fitted(np.hstack([calls[:, None], (calls**2)[:, None], months]), y, case)
    curved = 1.96 * float(np.sqrt(wide[1, 1]))
    return {
        "n_physicians": int(case.max()) + 1,
        "n_months": panel.height,
        "curve": curve,
        "log_calls": slope,
        "first_call": first,
        "later_call": later,
        "squared_calls": {
            "linear": float(square[0]),
            "squared": float(square[1]),
            "low": float(square[1] - curved),
            "high": float(square[1] + curved),
        },
        "more_is_more": slope["low"] > 0,
        "diminishing": float(square[1] + curved) < 0,
    }


def campaigns(events: pl.DataFrame) -> dict[str, Any]:
    """Redemption within 45 days of each campaign, by the household's history."""
    events = events.with_columns(us=pl.col("timestamp").dt.epoch("us")).sort("case_id", "us")
    case = events["case_id"].rank("dense").to_numpy().astype(np.int64) - 1
    us = events["us"].to_numpy()
    span = int(us.max() - us.min()) + 400 * DAY
    key = case * span + (us - us.min())
    name = events["activity"].cast(pl.String)
    sent = name.str.starts_with("campaign_received").to_numpy()
    redeemed, visits = key[(name == "coupon_redeemed").to_numpy()], key[(name == "store_visit").to_numpy()]
    at, who, kind = key[sent], case[sent], name.filter(pl.Series(sent)).str.slice(-1).to_numpy()
    whole = us[sent] + 45 * DAY <= us.max()

    def within(moments: np.ndarray, first: int, last: int) -> np.ndarray:
        until, since = at + last * DAY, at + first * DAY
        return np.searchsorted(moments, until, "right") - np.searchsorted(moments, since, "right")

    won = (within(redeemed, 0, 45) > 0).astype(float)
    before = within(redeemed, -365, 0) > 0
    busy = np.digitize(within(visits, -60, 0), (1, 4))
    rng = np.random.default_rng(7)
    n = int(case.max()) + 1
    draws = [np.bincount(rng.integers(0, n, n), minlength=n)[who] for _ in range(DRAWS)]

    def drawn_share(times: np.ndarray, mask: np.ndarray) -> float:
        return float((times * won)[mask].sum() / max(times[mask].sum(), 1))

    def share(mask: np.ndarray) -> dict[str, Any]:
        mask = mask & whole
        drawn = [drawn_share(d, mask) for d in draws]
        low, high = np.quantile(drawn, (0.025, 0.975))
        told = {"n": int(mask.sum()), "redeemed": float(won[mask].mean()) if mask.any() else 0.0}
        return told | {"low": float(low), "high": float(high)}

    def gap(a: np.ndarray, b: np.ndarray) -> dict[str, float]:
        a, b = a & whole, b & whole
        drawn = [drawn_share(d, a) - drawn_share(d, b) for d in draws]
        low, high = np.quantile(drawn, (0.025, 0.975))
        return {"difference": float(won[a].mean() - won[b].mean()), "low": float(low), "high": float(high)}

    words = ("no visit in 60 days", "1 to 3 visits", "4 visits or more")
    return {
        "n_campaigns_received": int(whole.sum()),
        "redeemed_before": share(before),
        "never_redeemed": share(~before),
        "redeemers_against_others": gap(before, ~before),
        "by_visits": {words[k]: share(busy == k) for k in range(3)},
        "busy_against_absent": gap(busy == 2, busy == 0),
        "by_type": {k: share(kind == k) for k in ("A", "B", "C")},
        "same_visits": {words[k]: gap(before & (busy == k), ~before & (busy == k)) for k in range(3)},
    }


def rounded(told: Any) -> Any:
    """Numbers to four digits."""
    if isinstance(told, dict):
        return {k: rounded(v) for k, v in told.items()}
    if isinstance(told, list):
        return [rounded(v) for v in told]
    return round(told, 4) if isinstance(told, float) else told


def main() -> None:
    """Print and write both."""
    parser = argparse.ArgumentParser()
    parser.add_argument("data", type=Path)
    parser.add_argument("--out", type=Path)
    asked = parser.parse_args()
    panel = pl.read_parquet(asked.data / "physician_detailing" / "monthly_panel.parquet")
    events = pl.read_parquet(asked.data / "complete_journey" / "events.parquet")
    told = rounded({"physician_detailing": detailing(panel), "complete_journey": campaigns(events)})
    print(json.dumps(told, indent=1))
    if asked.out:
        write_json(asked.out, told)


if __name__ == "__main__":
    main()
