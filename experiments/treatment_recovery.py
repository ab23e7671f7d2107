"""Are planted lines, medians and endings found? Several simulated worlds against the process they come from.

python experiments/treatment_recovery.py [worlds] writes experiments/results/treatment_recovery.json
"""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path

import numpy as np
import polars as pl

from behavio import api
from behavio.simulate.patients import PatientSettings, simulate_patients

DRUGS = {"alvastin*": "Alvastin", "beloxan*": "Beloxan", "corvidal*": "Corvidal"}
PATIENTS, HCPS = 1_000, 12


def main(worlds: int) -> None:
    """One world after the other; the truth is that of all worlds together."""
    found, truths, same = [], [], []
    for seed in range(worlds):
        with tempfile.TemporaryDirectory() as folder:
            world = Path(folder)
            simulate_patients(PatientSettings(PATIENTS, HCPS, seed=seed), world)
            told = api.treatment(world / "omop", drugs=DRUGS, focus="Alvastin")
            truth = pl.read_parquet(world / "truth" / "lines.parquet")
        both = truth.filter("in_tables").join(told.lines, on=["case_id", "line"], how="full", suffix="_f")
        alike = (pl.col("regimen") == pl.col("regimen_f")) & (pl.col("begun_by") == pl.col("begun_by_f"))
        same.append(float(both.select(alike.fill_null(False).mean()).item()))
        found.append((told.time.times, told.time.endings))
        truths.append(truth)
        print(seed, f"{same[-1]:.4f}", flush=True)
    planted = pl.concat(truths)
    medians, shares, off = [], [], []
    for times, endings in found:
        for row in times.iter_rows(named=True):
            middle = float(np.median(planted.filter(regimen=row["regimen"])["days"].to_numpy()))
            if row["median_days"] is not None:
                medians.append(row["low"] <= middle <= (row["high"] or np.inf))
                off.append(row["median_days"] / middle - 1)
        for row in endings.iter_rows(named=True):
            own = planted.filter(regimen=row["regimen"])
            share = ((own["ended_by"] == row["ended_by"]) & (own["days"] <= row["days"])).mean()
            shares.append(row["low"] <= share <= row["high"])
    result = {
        "worlds": worlds,
        "patients": PATIENTS,
        "lines_found_as_planted": round(float(np.mean(same)), 5),
        "medians": len(medians),
        "medians_in_interval": round(float(np.mean(medians)), 3),
        "median_off_by": round(float(np.mean(off)), 4),
        "endings": len(shares),
        "endings_in_interval": round(float(np.mean(shares)), 3),
    }
    target = Path(__file__).parent / "results" / "treatment_recovery.json"
    target.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    print(json.dumps(result, indent=2))


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 20)
