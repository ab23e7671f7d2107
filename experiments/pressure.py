"""Is the planted optimum of contact inside the band that is told? On fresh simulations, group by group.

    python experiments/pressure.py --seeds 501 502 … --cases 2000 --out experiments/results/pressure.json

Groups are the planted kinds of HCPs (so that no error of the grouping is mixed in). Every HCP of a kind has
an optimum of her own around that of the kind (a factor with a standard deviation of about 0.2). A group
counts where a fall of answers shows and therefore a band is told; the others are counted beside, as
`no_fall_shows` and by group in `abstained_by_group`.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from behavio.files import write_json
from behavio.pressure import PressureSettings, pressure
from behavio.simulate import SimulateSettings, simulate_log
from behavio.simulate.archetypes import ARCHETYPES
from behavio.sources import read

PLANTED = {a.name: a.optimum for a in ARCHETYPES}


def judge(seed: int, cases: int) -> list[dict[str, Any]]:
    """One row per planted kind."""
    events, truth = simulate_log(SimulateSettings(n_cases=cases, seed=seed))
    labels = truth.archetypes.select("case_id", segment="archetype")
    found = pressure(read(events), labels, PressureSettings())
    rows = []
    for band in found.bands.filter(pl.col("segment") != "everybody").iter_rows(named=True):
        planted = PLANTED[band["segment"]]
        inside = bool(band["low"] <= planted <= band["high"]) if band["sign"] else None
        told = {k: band[k] for k in ("optimum", "low", "high", "n_contacts")}
        rows.append({"seed": seed, "group": band["segment"], "planted": planted, "inside": inside, **told})
    return rows


def summed(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Share inside with its 95 % interval (Wilson), how wide bands are, how far the optimum is off."""
    told = [r for r in rows if r["inside"] is not None]
    silent = [r["group"] for r in rows if r["inside"] is None]
    n, k = len(told), sum(bool(r["inside"]) for r in told)
    z2 = 1.96**2
    centre, half = (k + z2 / 2) / (n + z2), 1.96 * np.sqrt(k * (n - k) / n + z2 / 4) / (n + z2)
    return {
        "groups": len(rows),
        "told": n,
        "no_fall_shows": len(rows) - n,
        "inside": k,
        "share": round(k / n, 4),
        "low": round(float(centre - half), 4),
        "high": round(float(centre + half), 4),
        "median_width": float(np.median([r["high"] - r["low"] for r in told])),
        "median_error": float(np.median([abs(r["optimum"] - r["planted"]) for r in told])),
        "abstained_by_group": {name: silent.count(name) for name in sorted(PLANTED)},
        "missed_by_group": {
            name: sum(not r["inside"] for r in told if r["group"] == name) for name in sorted(PLANTED)
        },
    }


def main() -> None:
    """Print each seed and write the summary."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--seeds", type=int, nargs="+", required=True)
    parser.add_argument("--cases", type=int, default=2000)
    parser.add_argument("--out", type=Path)
    asked = parser.parse_args()
    rows: list[dict[str, Any]] = []
    for seed in asked.seeds:
        rows += judge(seed, asked.cases)
        print(seed, summed(rows), flush=True)
    if asked.out:
        write_json(asked.out, {"cases": asked.cases, "summary": summed(rows), "rows": rows})


if __name__ == "__main__":
    main()
